//! A bucket as the store: Amazon S3, or a server that speaks its protocol.
//!
//! Creation and change on condition are the service's own (`If-None-Match`, `If-Match`). An answer
//! that was lost on its way makes the client ask again, and then its own first attempt is in its
//! way: each write carries a mark, by which it knows it again.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{
            BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
        },
    },
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    operation::put_object::builders::PutObjectFluentBuilder,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use rand::TryRng;
use time::OffsetDateTime;
use tokio::sync::OnceCell;

use super::{Listed, Object, Page, Store, StoreError, Tag, Written, is_sound, probe};
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
            source: Box::new(Refusal::of(&error, |code, status| advice(verb, code, status))),
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

    /// Writes an object if the condition holds.
    async fn write(
        &self,
        key: &str,
        bytes: &[u8],
        condition: Condition<'_>,
    ) -> Result<Written, StoreError> {
        let name = self.name(key)?;
        if matches!(condition, Condition::Unchanged(tag) if etag(tag).is_none()) {
            return Ok(Written::Refused);
        }
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
                let sent = sent.map(|stored| stored.e_tag);
                let outcome = self.outcome("write", key, condition, sent)?;
                self.require_stored(key, &outcome, &attempts)?;
                outcome
            };
            match written {
                Outcome::Done(tag) => return Ok(Written::Done(Some(self.tag("write", key, tag)?))),
                Outcome::Refused if attempts.is_first() => {
                    return self.confirm_refusal(key, condition).await;
                }
                // It may be our own, of an attempt whose answer was lost.
                Outcome::Refused => return self.find_marked(key, &name, &mark).await,
                Outcome::Conflict => {}
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
    ) -> Result<Outcome, StoreError> {
        let (client, bucket) = (&self.client, &self.bucket);
        let begun = client.create_multipart_upload().bucket(bucket).key(name).metadata(MARK, mark);
        let begun = begun.send().await.map_err(self.error("write", key))?;
        let upload = begun.upload_id().unwrap_or_default();
        let done = self.finish_parts(key, name, bytes, condition, upload).await;
        if !matches!(done, Ok(Outcome::Done(_))) {
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
    ) -> Result<Outcome, StoreError> {
        let (client, bucket) = (&self.client, &self.bucket);
        let (mut parts, attempts) = (CompletedMultipartUpload::builder(), Attempts::default());
        for (number, part) in (1..).zip(bytes.chunks(PART_BYTES)) {
            let sent = client.upload_part().bucket(bucket).key(name).upload_id(upload);
            let sent = sent.part_number(number).body(ByteStream::from(part.to_vec()));
            let sent = sent.customize().interceptor(attempts.clone()).send().await;
            let sent = sent.map_err(self.error("write", key))?;
            self.require_stored(key, &Outcome::Done(None), &attempts)?;
            // Without its ETag the part can't be told from another one.
            self.tag("write", key, sent.e_tag.clone())?;
            let part = CompletedPart::builder().part_number(number);
            parts = parts
                .parts(part.set_e_tag(sent.e_tag).set_checksum_crc32(sent.checksum_crc32).build());
        }
        let complete = client.complete_multipart_upload().bucket(bucket).key(name);
        let complete = complete.upload_id(upload).multipart_upload(parts.build());
        let complete = match condition {
            Condition::None => complete,
            Condition::Absent => complete.if_none_match("*"),
            Condition::Unchanged(tag) => complete.set_if_match(etag(tag).map(str::to_owned)),
        };
        let sent = complete.customize().interceptor(attempts.clone()).send().await;
        let sent = sent.map(|stored| stored.e_tag);
        let outcome = self.outcome("write", key, condition, sent)?;
        self.require_stored(key, &outcome, &attempts)?;
        Ok(outcome)
    }

    /// Fails if the answer to a write that is done has another status than 200. S3 answers no write with 201, 202
    /// or 204, so that something else has answered, and the object may not be stored.
    fn require_stored(
        &self,
        key: &str,
        outcome: &Outcome,
        attempts: &Attempts,
    ) -> Result<(), StoreError> {
        match (outcome, attempts.status()) {
            (Outcome::Done(_), status) if status != 200 => Err(StoreError::Service {
                verb: "write",
                location: self.location(key),
                source: format!("the answer has status {status}, {NOT_OK}").into(),
            }),
            _ => Ok(()),
        }
    }

    /// Reads an answer to a write or a deletion. Only an answer to a condition means that the condition did
    /// not hold: 412, or "no such key" where the object was to have a certain tag. Anything else but
    /// success is an error, also a 404 of something between this program and the service.
    fn outcome<E>(
        &self,
        verb: &'static str,
        key: &str,
        condition: Condition<'_>,
        sent: Result<Option<String>, SdkError<E>>,
    ) -> Result<Outcome, StoreError>
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let error = match sent {
            Ok(tag) => return Ok(Outcome::Done(tag)),
            Err(error) => error,
        };
        match (condition, status(&error), code(&error)) {
            (Condition::Absent | Condition::Unchanged(_), Some(412), _)
            | (Condition::Unchanged(_), Some(404), Some("NoSuchKey")) => Ok(Outcome::Refused),
            (
                Condition::Absent | Condition::Unchanged(_),
                Some(409),
                Some("ConditionalRequestConflict"),
            ) => Ok(Outcome::Conflict),
            _ => Err(self.error(verb, key)(error)),
        }
    }

    /// Returns the tag that an answer has. An answer without one is an error: S3 always sends an ETag, so
    /// that something else has answered.
    fn tag(&self, verb: &'static str, key: &str, tag: Option<String>) -> Result<Tag, StoreError> {
        match tag {
            Some(tag) if !tag.trim_matches('"').is_empty() => Ok(Tag::Mark(tag)),
            _ => Err(StoreError::Service {
                verb,
                location: self.location(key),
                source: NO_TAG.into(),
            }),
        }
    }

    /// Makes sure that an object which is said to exist does: otherwise nothing would be stored, and the
    /// caller would go on as if it were.
    async fn confirm_refusal(
        &self,
        key: &str,
        condition: Condition<'_>,
    ) -> Result<Written, StoreError> {
        match condition {
            Condition::Absent if self.head(key).await?.is_none() => Err(StoreError::Service {
                verb: "write",
                location: self.location(key),
                source: NOT_THERE.into(),
            }),
            _ => Ok(Written::Refused),
        }
    }

    /// Returns whether the object under a key was written with this mark, as the outcome of that write.
    async fn find_marked(&self, key: &str, name: &str, mark: &str) -> Result<Written, StoreError> {
        let head = self.client.head_object().bucket(&self.bucket).key(name).send().await;
        match head {
            Ok(head) => {
                let found = head.metadata().and_then(|metadata| metadata.get(MARK));
                if found.is_none_or(|found| found != mark) {
                    return Ok(Written::Refused);
                }
                Ok(Written::Done(Some(self.tag("read", key, head.e_tag)?)))
            }
            Err(error) if status(&error) == Some(404) => Ok(Written::Refused),
            Err(error) => Err(self.error("read", key)(error)),
        }
    }
}

/// The error of an object that is said to exist and does not.
const NOT_THERE: &str = "the answer says that it exists already, and it does not (run the same command again; check AWS_ENDPOINT_URL and proxies if that goes on)";
/// The error of an answer to a write whose status is not 200.
const NOT_OK: &str = "and S3 answers a write with 200 (check AWS_ENDPOINT_URL and proxies, then run the same command again)";
/// The error of an answer that has no ETag.
const NO_TAG: &str = "the answer has no ETag, as every answer of S3 has (check AWS_ENDPOINT_URL and proxies, then run the same command again)";

#[async_trait]
impl Store for Bucket {
    async fn make_ready(&self) -> Result<(), StoreError> {
        self.require_conditions().await
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.get_within(key, u64::MAX).await
    }

    async fn get_within(&self, key: &str, bytes_max: u64) -> Result<Option<Object>, StoreError> {
        let name = self.name(key)?;
        let found = self.client.get_object().bucket(&self.bucket).key(name).send().await;
        let found = match found {
            Ok(found) => found,
            Err(error) if code(&error) == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(self.error("read", key)(error)),
        };
        let size = u64::try_from(found.content_length().unwrap_or_default()).unwrap_or_default();
        if size > bytes_max {
            let location = self.location(key);
            return Err(StoreError::TooLarge { location, bytes: size, bytes_max });
        }
        let tag = self.tag("read", key, found.e_tag.clone())?;
        let modified = found.last_modified().map(moment);
        let body = found.body.collect().await.map_err(|error| StoreError::Service {
            verb: "read",
            location: self.location(key),
            source: format!("{} (run the same command again)", DisplayErrorContext(error)).into(),
        })?;
        let modified = modified.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Ok(Some(Object { bytes: body.into_bytes(), modified, tag: Some(tag) }))
    }

    async fn head(&self, key: &str) -> Result<Option<Listed>, StoreError> {
        let name = self.name(key)?;
        let found = self.client.head_object().bucket(&self.bucket).key(name).send().await;
        let found = match found {
            Ok(found) => found,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(self.error("read", key)(error)),
        };
        Ok(Some(Listed {
            key: key.to_owned(),
            size: u64::try_from(found.content_length().unwrap_or_default()).unwrap_or_default(),
            modified: found.last_modified().map_or(OffsetDateTime::UNIX_EPOCH, moment),
            stamp: found.e_tag.clone(),
            tag: Some(self.tag("read", key, found.e_tag)?),
        }))
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
                modified: object.last_modified().map_or(OffsetDateTime::UNIX_EPOCH, moment),
                tag: object.e_tag().map(|tag| Tag::Mark(tag.to_owned())),
                stamp: object.e_tag().map(str::to_owned),
            })
        });
        Ok(Page { objects: objects.collect(), unreadable, next: last.filter(|_| !is_last) })
    }

    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Written, StoreError> {
        self.require_conditions().await?;
        self.write(key, bytes, Condition::Absent).await
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.write(key, bytes, Condition::None).await?;
        Ok(())
    }

    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<Written, StoreError> {
        self.require_conditions().await?;
        self.write(key, bytes, Condition::Unchanged(tag)).await
    }

    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<bool, StoreError> {
        self.require_conditions().await?;
        let name = self.name(key)?;
        // A server could take an empty tag for no condition at all.
        let Some(expected) = etag(tag) else { return Ok(false) };
        for _ in 0..CONFLICTS_MAX {
            let request = self.client.delete_object().bucket(&self.bucket).key(&name);
            let deleted = request.if_match(expected).send().await.map(|_| None);
            match self.outcome("delete", key, Condition::Unchanged(tag), deleted)? {
                Outcome::Done(_) => return Ok(true),
                Outcome::Refused => return Ok(false),
                Outcome::Conflict => {}
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

/// Counts how often a request is sent, and keeps the status of the last answer.
#[derive(Clone, Debug, Default)]
struct Attempts(Arc<(AtomicU32, AtomicU16)>);

impl Attempts {
    /// Whether a single one was sent: then nothing that is there is of an earlier one.
    fn is_first(&self) -> bool {
        self.0.0.load(Ordering::Relaxed) == 1
    }

    /// Returns the HTTP status of the last answer.
    fn status(&self) -> u16 {
        self.0.1.load(Ordering::Relaxed)
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
        self.0.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.1.store(context.response().status().as_u16(), Ordering::Relaxed);
        Ok(())
    }
}

/// What the service answers to a write or a deletion.
enum Outcome {
    /// It is done; of a write, with the ETag of the answer.
    Done(Option<String>),
    /// The condition did not hold.
    Refused,
    /// Another request for the same key was running.
    Conflict,
}

fn conditional(
    request: PutObjectFluentBuilder,
    condition: Condition<'_>,
) -> PutObjectFluentBuilder {
    match condition {
        Condition::None => request,
        Condition::Absent => request.if_none_match("*"),
        Condition::Unchanged(tag) => request.set_if_match(etag(tag).map(str::to_owned)),
    }
}

/// Returns the ETag of a tag that a bucket gave; none for an empty one, or one of another kind of store,
/// which no object of a bucket has.
fn etag(tag: &Tag) -> Option<&str> {
    match tag {
        Tag::Mark(mark) if !mark.trim_matches('"').is_empty() => Some(mark),
        _ => None,
    }
}

/// What to do about the answers that only S3 gives, to a request that reads, lists, writes or deletes.
fn advice(verb: &str, code: &str, status: Option<u16>) -> Option<&'static str> {
    Some(match (code, status) {
        ("NoSuchBucket", _) => "make the bucket, or name another one with --store",
        ("AccessDenied" | "AllAccessDisabled", _) if matches!(verb, "read" | "list") => {
            "to read the store, these credentials must be allowed s3:ListBucket on the bucket, and s3:GetObject on what is in it"
        }
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
        ("", Some(403)) => return advice(verb, "AccessDenied", None),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_read_asks_for_rights_to_read_alone() {
        for verb in ["read", "list"] {
            for (code, status) in [("AccessDenied", Some(403)), ("", Some(403))] {
                let advice = advice(verb, code, status).unwrap();
                assert!(advice.contains("s3:GetObject") && advice.contains("s3:ListBucket"));
                assert!(!advice.contains("Put") && !advice.contains("Delete"), "{advice}");
            }
        }
        assert!(advice("write", "AccessDenied", Some(403)).unwrap().contains("s3:PutObject"));
    }
}
