//! Where everything is kept: one trait over keys and bytes, and the folder and the bucket that
//! implement it.
//!
//! What the bytes mean is not known here. The operations are those that a bucket has too:
//! creation that fails if the key exists, and changes on condition of a tag.

mod bucket;
mod folder;
mod mounts;

use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr};

use async_trait::async_trait;
use bytes::Bytes;
use time::{Duration, OffsetDateTime};

use crate::{config, files, layout::Key};

pub use bucket::Bucket;
pub use folder::Folder;

/// Where a store is.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreAddress {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket, below a prefix, which is empty or ends with a slash.
    Bucket {
        /// The bucket's name.
        bucket: String,
        /// The prefix.
        prefix: String,
    },
}

impl StoreAddress {
    /// Gets the store ready. A folder need not be there yet.
    ///
    /// # Errors
    ///
    /// If the system has no way to it.
    pub async fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            StoreAddress::Folder(path) => Box::new(Folder::new(path)),
            StoreAddress::Bucket { bucket, prefix } => {
                Box::new(Bucket::open(bucket, prefix).await?)
            }
        })
    }
}

impl StoreAddress {
    /// Returns what tells this store from others on this machine, however its address is written.
    pub fn identity(&self) -> Vec<u8> {
        match self {
            StoreAddress::Folder(path) => {
                let whole = path.canonicalize().or_else(|_| std::path::absolute(path));
                let whole = whole.unwrap_or_else(|_| path.clone());
                [b"folder ", whole.as_os_str().as_encoded_bytes()].concat()
            }
            StoreAddress::Bucket { .. } => {
                let server = config::endpoint().unwrap_or_default();
                format!("bucket {self} {server}").into_bytes()
            }
        }
    }

    /// Whether neither of two places is in the other.
    pub fn is_apart_from(&self, other: &StoreAddress) -> bool {
        match (self, other) {
            (StoreAddress::Folder(one), StoreAddress::Folder(other)) => {
                let whole = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
                let (one, other) = (whole(one), whole(other));
                !one.starts_with(&other) && !other.starts_with(&one)
            }
            (
                StoreAddress::Bucket { bucket: one, prefix },
                StoreAddress::Bucket { bucket: other, prefix: others },
            ) => one != other || !(prefix.starts_with(others) || others.starts_with(prefix)),
            _ => true,
        }
    }
}

impl FromStr for StoreAddress {
    type Err = String;

    /// Reads `s3://bucket/prefix`; anything else is a folder's path.
    fn from_str(text: &str) -> Result<Self, String> {
        let rest = match text.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("s3") => rest.strip_prefix("//"),
            // What was meant as an address must not become a folder of that name.
            Some((_, rest)) if rest.starts_with("//") => None,
            _ => return Ok(StoreAddress::Folder(PathBuf::from(text))),
        };
        let rest = rest.ok_or_else(|| {
            format!(
                "`{text}` is neither a folder nor a bucket's address, such as s3://my-bucket/prefix"
            )
        })?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        if bucket.is_empty() || prefix.split('/').any(|part| part == "." || part == "..") {
            return Err(format!(
                "`{text}` is not a bucket's address, such as s3://my-bucket/prefix"
            ));
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(StoreAddress::Bucket { bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreAddress::Folder(path) => write!(f, "{}", path.display()),
            StoreAddress::Bucket { bucket, prefix } => {
                write!(f, "s3://{bucket}/{}", prefix.trim_end_matches('/'))
            }
        }
    }
}

/// An object with what is needed to change it only if nobody else has.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its content.
    pub bytes: Bytes,
    /// When it was last written.
    pub modified: OffsetDateTime,
    /// Its content's mark, where the store has one.
    tag: Option<Tag>,
}

impl Object {
    /// Returns an object as it was just written, with the tag that it has since.
    pub fn with_tag(bytes: Vec<u8>, tag: Tag) -> Self {
        Object { bytes: bytes.into(), modified: OffsetDateTime::UNIX_EPOCH, tag: Some(tag) }
    }

    /// What tells its content from every other.
    pub fn tag(&self) -> Tag {
        self.tag.clone().unwrap_or_else(|| Tag::Content(self.bytes.clone()))
    }
}

/// What tells an object's content from every other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The store's mark of it.
    Mark(String),
    /// The content itself, for a store that has no marks.
    Content(Bytes),
}

/// An object in a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: OffsetDateTime,
    /// Its content's mark, where a listing has it.
    pub tag: Option<Tag>,
    /// A text that changes when the object is written, as far as a listing shows: an ETag, or what a file
    /// system says of a file. None where a listing has nothing of that kind.
    pub stamp: Option<String>,
}

/// A part of a listing.
#[derive(Debug, Default)]
pub struct Page {
    /// The objects, in the order of their keys.
    pub objects: Vec<Listed>,
    /// Files and folders below the prefix that could not be read. Each may hide objects, so a caller that
    /// needs all of them must fail if there is one.
    pub unreadable: Vec<StoreError>,
    /// The key after which the next part begins; none if this is the last.
    pub next: Option<String>,
}

/// The outcome of a write that has a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The object is stored, with the store's mark of its content if the store has marks.
    Done(Option<Tag>),
    /// The condition did not hold. The stored object, if any, did not change.
    Refused,
}

impl Written {
    /// Returns whether the object was stored.
    pub fn is_done(&self) -> bool {
        matches!(self, Written::Done(_))
    }

    /// Returns the tag of what was stored, given the bytes; none if the write was refused.
    pub fn tag_of(self, bytes: &[u8]) -> Option<Tag> {
        match self {
            Written::Done(tag) => {
                Some(tag.unwrap_or_else(|| Tag::Content(Bytes::copy_from_slice(bytes))))
            }
            Written::Refused => None,
        }
    }
}

/// Keys and bytes. What an operation reports as done survives a crash.
#[async_trait]
pub trait Store: Send + Sync {
    /// Finds out what the first write on condition would find out otherwise, if anything.
    async fn make_ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The object under a key, if there is one.
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError>;

    /// Returns the object under a key, if there is one and it is not larger than a limit in bytes.
    ///
    /// # Errors
    ///
    /// If it is larger, or the store fails.
    async fn get_within(&self, key: &str, bytes_max: u64) -> Result<Option<Object>, StoreError> {
        let too_large =
            |bytes| StoreError::TooLarge { location: self.location(key), bytes, bytes_max };
        match self.head(key).await? {
            Some(listed) if listed.size > bytes_max => Err(too_large(listed.size)),
            Some(_) => match self.get(key).await? {
                Some(object) if object.bytes.len() as u64 > bytes_max => {
                    Err(too_large(object.bytes.len() as u64))
                }
                found => Ok(found),
            },
            None => Ok(None),
        }
    }

    /// The objects whose keys begin with a prefix, from the one after `after` on, or as many of them
    /// as come at a time.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError>;

    /// Returns the folders directly below a prefix that ends with a slash, each with a slash at its end. A
    /// bucket has as many requests for them as there are folders, whatever the number of objects.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let (mut folders, mut after) = (BTreeSet::new(), None);
        loop {
            let page = self.list(prefix, after.as_deref()).await?;
            if let Some(error) = page.unreadable.into_iter().next() {
                return Err(error);
            }
            let folder_of = |key: &str| {
                let (name, _) = key.strip_prefix(prefix)?.split_once('/')?;
                Some(format!("{prefix}{name}/"))
            };
            folders.extend(page.objects.iter().filter_map(|listed| folder_of(&listed.key)));
            let Some(last) = page.next else { return Ok(folders.into_iter().collect()) };
            // The character after `/` is `0`: what comes after that is not in the folder any more.
            let end = |folder: String| format!("{}0", folder.trim_end_matches('/'));
            after = Some(folder_of(&last).map_or(last, end));
        }
    }

    /// Returns size, time and tag of the object under a key, without its content.
    async fn head(&self, key: &str) -> Result<Option<Listed>, StoreError> {
        let listed = self.list(key, None).await?.objects;
        Ok(listed.into_iter().find(|listed| listed.key == key))
    }

    /// Creates an object, unless there is one.
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Written, StoreError>;

    /// Creates an object of bytes that were read from another one, unless there is one. While the other
    /// still has them they need not be written again; it is never changed in its place, only replaced or
    /// deleted.
    async fn copy_new(&self, key: &str, bytes: &[u8], from: &str) -> Result<Written, StoreError> {
        let _ = from;
        self.put_new(key, bytes).await
    }

    /// Creates or replaces an object.
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Replaces an object if it still has this tag.
    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<Written, StoreError>;

    /// Deletes an object if it still has this tag. Says whether it did.
    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<bool, StoreError>;

    /// Where a person finds a key.
    fn location(&self, key: &str) -> String;
}

/// All objects whose keys begin with a prefix.
///
/// # Errors
///
/// If the store can't be read, or a part of it can't.
pub async fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<Listed>, StoreError> {
    let (all, unreadable) = list_readable(store, prefix).await?;
    unreadable.into_iter().next().map_or(Ok(all), Err)
}

/// Returns the objects whose keys begin with a prefix, as far as they can be read, and why others can't.
///
/// # Errors
///
/// If the store can't be read at all.
pub async fn list_readable(
    store: &dyn Store,
    prefix: &str,
) -> Result<(Vec<Listed>, Vec<StoreError>), StoreError> {
    let (mut all, mut unreadable, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = store.list(prefix, after.as_deref()).await?;
        all.extend(page.objects);
        unreadable.extend(page.unreadable);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok((all, unreadable)),
        }
    }
}

/// Tries whether a store keeps what it promises on conditions. Writes under a key that nobody has,
/// and takes that away again, together with what earlier probes left that did not end.
///
/// # Errors
///
/// The store's, or [`StoreError::Unconditional`], naming what it doesn't keep.
pub async fn probe(store: &dyn Store, key: &str) -> Result<(), StoreError> {
    let broken = |what| StoreError::Unconditional { location: store.location(""), what };
    let alien = Tag::Mark("\"00000000000000000000000000000000\"".to_owned());
    store.put_new(key, b"one").await?;
    if store.put_new(key, b"two").await?.is_done() {
        return Err(broken("refuses to create an object twice (If-None-Match)"));
    }
    if store.put_if(key, b"three", &alien).await?.is_done() {
        return Err(broken("refuses to replace an object that has changed (If-Match)"));
    }
    if store.delete_if(key, &alien).await? {
        return Err(broken("refuses to delete an object that has changed (If-Match)"));
    }
    let Some(one) = store.get(key).await? else {
        return Err(broken("gives back what was written"));
    };
    store.delete_if(key, &one.tag()).await?;
    if let Err(error) = delete_old_probes(store, one.modified).await {
        tracing::debug!("objects of earlier probes were not deleted: {error}");
    }
    Ok(())
}

/// What the keys of probes begin with.
const PROBES: &str = "probe-";
/// A probe of this age is not running any more.
const PROBE_AGE_MAX: Duration = Duration::hours(1);
/// How many old probes are deleted at a time.
const OLD_PROBES_MAX: usize = 100;

/// Deletes the objects of probes whose process was killed. `now` is the store's own time.
async fn delete_old_probes(store: &dyn Store, now: OffsetDateTime) -> Result<(), StoreError> {
    let listed = store.list(PROBES, None).await?.objects.into_iter();
    let is_old = |listed: &Listed| {
        listed.modified < now - PROBE_AGE_MAX && matches!(listed.key.parse(), Ok(Key::Probe { .. }))
    };
    for Listed { key, .. } in listed.filter(is_old).take(OLD_PROBES_MAX) {
        if let Some(object) = store.get(&key).await? {
            store.delete_if(&key, &object.tag()).await?;
        }
    }
    Ok(())
}

/// Whether a key's parts are such that every store can have it, and none hides it.
fn is_sound(key: &str) -> bool {
    key.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

/// How often an object is read again because somebody else changed it meanwhile.
const UPDATE_ATTEMPTS_MAX: usize = 20;

/// Changes an object by compare-and-swap: `change` gets the content there is, and says the
/// content to have, or none if there is nothing to do.
///
/// # Errors
///
/// The store's, or what `change` says.
pub async fn update<E: From<StoreError>>(
    store: &dyn Store,
    key: &str,
    mut change: impl FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>, E>,
) -> Result<(), E> {
    for _ in 0..UPDATE_ATTEMPTS_MAX {
        let current = store.get(key).await?;
        let Some(bytes) = change(current.as_ref().map(|object| object.bytes.as_ref()))? else {
            return Ok(());
        };
        let done = match current {
            Some(object) => store.put_if(key, &bytes, &object.tag()).await?,
            None => store.put_new(key, &bytes).await?,
        };
        if done.is_done() {
            return Ok(());
        }
    }
    Err(StoreError::Contended { location: store.location(key) }.into())
}

/// What a store can't do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("could not {verb} {location}: {source}{}", advice(.source))]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        location: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A key that would leave the store, or that nobody could list.
    #[error("`{key}` can't be a key: its parts must not be empty or begin with a dot (rename it)")]
    Key {
        /// The key.
        key: String,
    },
    /// The service refused, or could not be reached.
    #[error("could not {verb} {location}: {source}")]
    Service {
        /// What was tried.
        verb: &'static str,
        /// On what.
        location: String,
        /// What it says, with what to do.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A store that others could overwrite things in.
    #[error(
        "{location} can't be a store: not every request to it {what}, so that two runs at a time could lose data (use Amazon S3, or a server that honours conditional writes and deletes)"
    )]
    Unconditional {
        /// Where.
        location: String,
        /// What it doesn't keep.
        what: &'static str,
    },
    /// An object is larger than what may be read.
    #[error(
        "{location} has {}, and the limit for what is read there is {} (look at who wrote it, and restore or delete it)",
        config::Bytes(*.bytes), config::Bytes(*.bytes_max)
    )]
    TooLarge {
        /// Where it is.
        location: String,
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        bytes_max: u64,
    },
    /// The store answered with something that is not the object.
    #[error(
        "could not read {location}: the answer has {bytes} bytes or another ETag, and the store lists an object of {expected} bytes (check AWS_ENDPOINT_URL and proxies, then run the same command again)"
    )]
    WrongContent {
        /// Where.
        location: String,
        /// How many bytes the answer has.
        bytes: u64,
        /// How many bytes the object has.
        expected: u64,
    },
    /// The store answered two requests for one object with different content.
    #[error(
        "could not read {location}: reading it again gives other content (run the same command again)"
    )]
    Unsteady {
        /// Where.
        location: String,
    },
    /// Others keep changing an object.
    #[error("{location} was changed by others {UPDATE_ATTEMPTS_MAX} times in a row (try again)")]
    Contended {
        /// Where.
        location: String,
    },
}

/// What to do about a system's refusal, in parentheses, where that is known.
fn advice(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => {
            "give this user the right to it, or name another store with --store"
        }
        ErrorKind::ReadOnlyFilesystem => "name a store that can be written to with --store",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room, then run the same command again: nothing is lost"
        }
        ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            "a store is a folder with folders in it: move away the file that is in the way"
        }
        ErrorKind::CrossesDevices => "mount whole folders below a store, not single files",
        _ => match files::advice(error) {
            Some(advice) => advice,
            None => return String::new(),
        },
    };
    format!(" ({advice})")
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn what_the_system_refuses_comes_with_what_to_do() {
        for (errno, hint) in [
            (Errno::NOSPC, "(make room, then run the same command again: nothing is lost)"),
            (Errno::DQUOT, "(make room, then run the same command again: nothing is lost)"),
            (Errno::FBIG, "(raise the limit on the size of a file, see `ulimit -f`, then run"),
            (Errno::MFILE, "(raise the limit of open files, see `ulimit -n`, or open fewer at a"),
            (Errno::NFILE, "(raise the limit of open files, see `ulimit -n`, or open fewer at a"),
            (Errno::LOOP, "(remove the link that leads to itself)"),
            (Errno::XDEV, "(mount whole folders below a store, not single files)"),
            (Errno::ROFS, "(name a store that can be written to with --store)"),
        ] {
            let (location, source) = ("data/x".to_owned(), errno.into());
            let error = StoreError::Io { verb: "write", location, source }.to_string();
            assert!(error.starts_with("could not write data/x: "), "{error}");
            assert!(error.contains(hint), "{error}");
        }
    }
}
