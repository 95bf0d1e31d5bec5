//! Where everything is kept: one trait over keys and bytes, and the folder and the bucket that
//! implement it.
//!
//! What the bytes mean is not known here. The operations are those that a bucket has too:
//! creation that fails if the key exists, and changes on condition of a tag.

mod bucket;
mod folder;
mod mounts;

use std::{fmt, path::PathBuf, str::FromStr};

use async_trait::async_trait;
use bytes::Bytes;
use time::{Duration, OffsetDateTime};

use crate::{files, layout::Key};

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

/// What became of a creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The object is there now.
    New,
    /// There was one under that key; it was left as it is.
    Exists,
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

    /// The objects whose keys begin with a prefix, from the one after `after` on, or as many of them
    /// as come at a time.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError>;

    /// Creates an object, unless there is one.
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Created, StoreError>;

    /// Creates an object of bytes that were read from another one, unless there is one. While the other
    /// still has them they need not be written again; it is never changed in its place, only replaced or
    /// deleted.
    async fn copy_new(&self, key: &str, bytes: &[u8], from: &str) -> Result<Created, StoreError> {
        let _ = from;
        self.put_new(key, bytes).await
    }

    /// Creates or replaces an object.
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// Replaces an object if it still has this tag. Says whether it did.
    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<bool, StoreError>;

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
    if store.put_new(key, b"two").await? == Created::New {
        return Err(broken("refuses to create an object twice (If-None-Match)"));
    }
    if store.put_if(key, b"three", &alien).await? {
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
            None => store.put_new(key, &bytes).await? == Created::New,
        };
        if done {
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
