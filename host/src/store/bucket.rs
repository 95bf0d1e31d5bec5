//! A bucket as the store: Amazon S3, or a server that speaks its protocol.
//!
//! Creation and change on condition are the service's own (`If-None-Match`, `If-Match`). An answer
//! that was lost on its way makes the client ask again, and then its own first attempt is in its
//! way: each write carries a mark, by which it knows it again.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef,
    },
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::put_object::builders::PutObjectFluentBuilder,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use rand::TryRng;
use time::OffsetDateTime;
use tokio::sync::OnceCell;

use super::{Created, Listed, Object, Page, Store, StoreError, Tag, is_sound, probe};
use crate::{
    aws::{self, Refusal, code, status},
    config,
    layout::Key,
};

/// How often a request is made again that met another one for the same key.
const CONFLICTS_MAX: usize = 10;
/// An object of more than this is sent in parts of this size.
const PART_BYTES: usize = 64 * 1024 * 1024;
/// The name of a write's mark in the object's metadata.
const MARK: &str = "spotify-etl-write";

/// A bucket, below a prefix.
pub struct Bucket {
    client: Client,
    bucket: String,
    prefix: String,
    /// Whether a server other than Amazon's keeps its conditions, once somebody asked.
    conditions: Option<OnceCell<()>>,
}

/// On what condition an object is written.
#[derive(Clone, Copy)]
enum Condition<'a> {
    None,
    Absent,
    Unchanged(&'a Tag),
}

impl Bucket {
    /// Gets a bucket ready. Nothing is asked of it yet.
    ///
    /// # Errors
    ///
    /// If no region is known to look for it in.
    pub async fn open(bucket: &str, prefix: &str) -> Result<Self, StoreError> {
        let aws = aws::settings().await.map_err(|error| StoreError::Service {
            verb: "find",
            location: format!("s3://{bucket}/{prefix}"),
            source: error.into(),
        })?;
        let is_other = aws.endpoint_url().is_some() || config::is_endpoint_set();
        let config = aws_sdk_s3::config::Builder::from(&aws)
            // Other servers seldom have a host name for each bucket.
            .force_path_style(is_other)
            .build();
        Ok(Bucket {
            client: Client::from_conf(config),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            conditions: is_other.then(OnceCell::new),
        })
    }

    fn name(&self, key: &str) -> Result<String, StoreError> {
        if !is_sound(key) {
            return Err(StoreError::Key { key: key.to_owned() });
        }
        Ok(format!("{}{key}", self.prefix))
    }

    fn error<E>(&self, verb: &'static str, key: &str) -> impl FnOnce(SdkError<E>) -> StoreError
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let location = self.location(key);
        move |error| StoreError::Service {
            verb,
            location,
            source: Box::new(Refusal::of(&error, advice)),
        }
    }

    /// Tries once whether conditions hold, where that can't be taken for granted.
    async fn require_conditions(&self) -> Result<(), StoreError> {
        let Some(known) = &self.conditions else { return Ok(()) };
        let unchecked = Bucket {
            client: self.client.clone(),
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            conditions: None,
        };
        let key = Key::Probe { run_id: mark() }.to_string();
        known.get_or_try_init(|| probe(&unchecked, &key)).await.copied()
    }

    /// Writes an object. Says whether the condition was met.
    async fn write(
        &self,
        key: &str,
        bytes: &[u8],
        condition: Condition<'_>,
    ) -> Result<bool, StoreError> {
        let name = self.name(key)?;
        let (mark, attempts) = (mark(), Attempts::default());
        for _ in 0..CONFLICTS_MAX {
            let written = if bytes.len() > PART_BYTES {
                self.write_in_parts(key, &name, bytes, condition, &mark).await?
            } else {
                let request = self
                    .client
                    .put_object()
                    .bucket(&self.bucket)
                    .key(&name)
                    .metadata(MARK, &mark)
                    .body(ByteStream::from(bytes.to_vec()));
                let request = conditional(request, condition).customize();
                let sent = request.interceptor(attempts.clone()).send().await;
                self.outcome("write", key, sent)?
            };
            match written {
                Written::Done => return Ok(true),
                Written::Refused if attempts.is_first() => return Ok(false),
                // It may be our own, of an attempt whose answer was lost.
                Written::Refused => return self.is_marked(key, &name, &mark).await,
                Written::Conflict => {}
            }
        }
        Err(StoreError::Contended { location: self.location(key) })
    }

    async fn write_in_parts(
        &self,
        key: &str,
        name: &str,
        bytes: &[u8],
        condition: Condition<'_>,
        mark: &str,
    ) -> Result<Written, StoreError> {
        let (client, bucket) = (&self.client, &self.bucket);
        let begun = client.create_multipart_upload().bucket(bucket).key(name).metadata(MARK, mark);
        let begun = begun.send().await.map_err(self.error("write", key))?;
        let upload = begun.upload_id().unwrap_or_default();
        let done = self.finish_parts(key, name, bytes, condition, upload).await;
        if !matches!(done, Ok(Written::Done)) {
            // Parts that nobody needs cost money until they are taken away.
            let abort = client.abort_multipart_upload().bucket(bucket).key(name);
            let _ = abort.upload_id(upload).send().await;
        }
        done
    }

    async fn finish_parts(
        &self,
        key: &str,
        name: &str,
        bytes: &[u8],
        condition: Condition<'_>,
        upload: &str,
    ) -> Result<Written, StoreError> {
        let (client, bucket) = (&self.client, &self.bucket);
        let mut parts = CompletedMultipartUpload::builder();
        for (number, part) in (1..).zip(bytes.chunks(PART_BYTES)) {
            let sent = client.upload_part().bucket(bucket).key(name).upload_id(upload);
            let sent = sent.part_number(number).body(ByteStream::from(part.to_vec())).send().await;
            let sent = sent.map_err(self.error("write", key))?;
            let part = CompletedPart::builder().part_number(number);
            parts = parts
                .parts(part.set_e_tag(sent.e_tag).set_checksum_crc32(sent.checksum_crc32).build());
        }
        let complete = client.complete_multipart_upload().bucket(bucket).key(name);
        let complete = complete.upload_id(upload).multipart_upload(parts.build());
        let complete = match condition {
            Condition::None => complete,
            Condition::Absent => complete.if_none_match("*"),
            Condition::Unchanged(tag) => complete.if_match(etag(tag)),
        };
        self.outcome("write", key, complete.send().await)
    }

    fn outcome<T, E>(
        &self,
        verb: &'static str,
        key: &str,
        sent: Result<T, SdkError<E>>,
    ) -> Result<Written, StoreError>
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let error = match sent {
            Ok(_) => return Ok(Written::Done),
            Err(error) => error,
        };
        match (status(&error), code(&error)) {
            (Some(412), _) => Ok(Written::Refused),
            (Some(404), Some("NoSuchBucket")) => Err(self.error(verb, key)(error)),
            // A condition on what is not there.
            (Some(404), _) => Ok(Written::Refused),
            (Some(409), Some("ConditionalRequestConflict")) => Ok(Written::Conflict),
            _ => Err(self.error(verb, key)(error)),
        }
    }

    /// Whether what is under a key is what was written with this mark.
    async fn is_marked(&self, key: &str, name: &str, mark: &str) -> Result<bool, StoreError> {
        let head = self.client.head_object().bucket(&self.bucket).key(name).send().await;
        match head {
            Ok(head) => {
                let found = head.metadata().and_then(|metadata| metadata.get(MARK));
                Ok(found.is_some_and(|found| found == mark))
            }
            Err(error) if status(&error) == Some(404) => Ok(false),
            Err(error) => Err(self.error("read", key)(error)),
        }
    }
}

#[async_trait]
impl Store for Bucket {
    async fn make_ready(&self) -> Result<(), StoreError> {
        self.require_conditions().await
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        let name = self.name(key)?;
        let found = self.client.get_object().bucket(&self.bucket).key(name).send().await;
        let found = match found {
            Ok(found) => found,
            Err(error) if code(&error) == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(self.error("read", key)(error)),
        };
        let tag = Tag::Mark(found.e_tag().unwrap_or_default().to_owned());
        let modified = found.last_modified().map(moment);
        let body = found.body.collect().await.map_err(|error| StoreError::Service {
            verb: "read",
            location: self.location(key),
            source: format!("{} (run the same command again)", DisplayErrorContext(error)).into(),
        })?;
        let modified = modified.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Ok(Some(Object { bytes: body.into_bytes(), modified, tag: Some(tag) }))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let page = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(format!("{}{prefix}", self.prefix))
            .set_start_after(after.map(|after| format!("{}{after}", self.prefix)))
            .send()
            .await
            .map_err(self.error("list", prefix))?;
        let key = |name: Option<&str>| Some(name?.strip_prefix(self.prefix.as_str())?.to_owned());
        let is_last = !page.is_truncated().unwrap_or_default();
        let last = page.contents().last().and_then(|object| key(object.key()));
        let names = page.contents().iter().filter_map(|object| key(object.key()));
        let unreadable =
            names.filter(|key| is_odd(key)).map(|key| StoreError::Key { key }).collect();
        let objects = page.contents().iter().filter_map(|object| {
            Some(Listed {
                key: key(object.key()).filter(|key| is_sound(key))?,
                size: u64::try_from(object.size().unwrap_or_default()).unwrap_or_default(),
                modified: object.last_modified().map(moment)?,
                tag: object.e_tag().map(|tag| Tag::Mark(tag.to_owned())),
            })
        });
        Ok(Page { objects: objects.collect(), unreadable, next: last.filter(|_| !is_last) })
    }

    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Created, StoreError> {
        self.require_conditions().await?;
        let is_new = self.write(key, bytes, Condition::Absent).await?;
        Ok(if is_new { Created::New } else { Created::Exists })
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(key, bytes, Condition::None).await?;
        Ok(())
    }

    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<bool, StoreError> {
        self.require_conditions().await?;
        self.write(key, bytes, Condition::Unchanged(tag)).await
    }

    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<bool, StoreError> {
        self.require_conditions().await?;
        let name = self.name(key)?;
        for _ in 0..CONFLICTS_MAX {
            let request = self.client.delete_object().bucket(&self.bucket).key(&name);
            let deleted = request.if_match(etag(tag)).send().await;
            match self.outcome("delete", key, deleted)? {
                Written::Done => return Ok(true),
                Written::Refused => return Ok(false),
                Written::Conflict => {}
            }
        }
        Err(StoreError::Contended { location: self.location(key) })
    }

    fn location(&self, key: &str) -> String {
        format!("s3://{}/{}{key}", self.bucket, self.prefix)
    }
}

/// Whether an object looks like one of the store's, but for an empty part of its key: a `//` that was typed by
/// mistake. Keys that end with a slash only mark folders, and hidden ones are ignored as in a folder.
fn is_odd(key: &str) -> bool {
    let is_hidden = key.split('/').any(|part| part.starts_with('.'));
    let is_marker = key.is_empty() || key.ends_with('/');
    key.split('/').any(str::is_empty) && !is_marker && !is_hidden
}

/// Counts how often a request is sent.
#[derive(Clone, Debug, Default)]
struct Attempts(Arc<AtomicU32>);

impl Attempts {
    /// Whether a single one was sent: then nothing that is there is of an earlier one.
    fn is_first(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// What became of a write or a deletion.
enum Written {
    Done,
    /// The condition was not met.
    Refused,
    /// Another request for the same key was under way.
    Conflict,
}

fn conditional(
    request: PutObjectFluentBuilder,
    condition: Condition<'_>,
) -> PutObjectFluentBuilder {
    match condition {
        Condition::None => request,
        Condition::Absent => request.if_none_match("*"),
        Condition::Unchanged(tag) => request.if_match(etag(tag)),
    }
}

/// A mark as a bucket gave it; no object has that of another store.
fn etag(tag: &Tag) -> &str {
    match tag {
        Tag::Mark(mark) => mark,
        Tag::Content(_) => "\"\"",
    }
}

/// What to do about the answers that only S3 gives.
fn advice(code: &str, status: Option<u16>) -> Option<&'static str> {
    Some(match (code, status) {
        ("NoSuchBucket", _) => "make the bucket, or name another one with --store",
        ("AccessDenied" | "AllAccessDisabled", _) => {
            "these credentials must be allowed s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject on what is in it"
        }
        (
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
            _,
        )
        | (_, Some(301)) => "the bucket is in another region: set AWS_REGION to that one",
        // An answer to HEAD has no code.
        ("", Some(403)) => return advice("AccessDenied", None),
        _ => return None,
    })
}

fn moment(moment: &aws_sdk_s3::primitives::DateTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(moment.as_nanos())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Told apart from all others by chance.
fn mark() -> String {
    let mut bytes = [0; 8];
    // Without randomness two writes are only told apart less well.
    let _ = rand::rngs::SysRng.try_fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
