//! Where everything is kept: one trait over keys and bytes, and the folder that implements it.
//!
//! What the bytes mean is not known here. The operations are those that a bucket has too:
//! creation that fails if the key exists, and changes on condition of a tag.

mod folder;

use async_trait::async_trait;
use time::OffsetDateTime;

pub use folder::Folder;

/// An object with what is needed to change it only if nobody else has.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its content's mark.
    pub tag: Tag,
    /// When it was last written.
    pub modified: OffsetDateTime,
}

/// The mark of an object's content: another content, another tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(pub String);

/// An object in a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: OffsetDateTime,
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
    /// The object under a key, if there is one.
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError>;

    /// The next objects whose keys begin with a prefix, in the order of their keys, from the one
    /// after `after` on. At most one page of them; none means that there are no more.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, StoreError>;

    /// Creates an object, unless there is one.
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Created, StoreError>;

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
/// If the store can't be read.
pub async fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<Listed>, StoreError> {
    let mut all: Vec<Listed> = Vec::new();
    loop {
        let page = store.list(prefix, all.last().map(|listed| listed.key.as_str())).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
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
        let Some(bytes) = change(current.as_ref().map(|object| object.bytes.as_slice()))? else {
            return Ok(());
        };
        let done = match current {
            Some(object) => store.put_if(key, &bytes, &object.tag).await?,
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
    #[error("`{key}` can't be a key: its parts must not be empty or begin with a dot")]
    Key {
        /// The key.
        key: String,
    },
    /// Others keep changing an object.
    #[error("{location} was changed by others {UPDATE_ATTEMPTS_MAX} times in a row (try again)")]
    Contended {
        /// Where.
        location: String,
    },
}

/// What to do about a system's refusal, in parentheses, where that is known.
fn advice(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::PermissionDenied => {
            " (give this user the right to it, or name another store with --store)"
        }
        ErrorKind::ReadOnlyFilesystem => " (name a store that can be written to with --store)",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            " (make room, then run the same command again: nothing is lost)"
        }
        ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            " (a store is a folder with folders in it: move away the file that is in the way)"
        }
        _ => "",
    }
}
