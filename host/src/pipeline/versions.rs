//! The versions of plugins that a store keeps: each with when it was seen, who brought it, and when it was
//! made the active one.

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::active::pretty;
use crate::{
    config::{Bytes, STORED_JSON_BYTES_MAX},
    document::sha256,
    layout::{self, Key, is_plugin_name, is_sha256},
    plugin::Plugin,
    store::{Store, StoreError, list_all, update},
};

/// Who brought a version, if nobody said.
pub const UPLOAD: &str = "upload";

/// What is kept of a version.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct HistoryRecord {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// When it was seen first, RFC 3339.
    pub seen_at: String,
    /// Who brought it: `upload` if nobody said.
    pub by: String,
    /// The tables that it fills.
    #[serde(default)]
    pub tables: Vec<String>,
    /// When it was made the active one; nothing of uploads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub activations: Vec<Activation>,
}

/// A time that a version was made the active one.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Activation {
    /// When, RFC 3339.
    pub at: String,
    /// Who did it.
    pub by: String,
    /// In which way.
    pub way: Way,
    /// The SHA-256 of the version that was active before.
    pub before: Option<String>,
}

/// How a version came to be the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Somebody published it.
    Publish,
    /// Somebody went back to it.
    Rollback,
}

impl HistoryRecord {
    /// A version that is seen for the first time.
    pub fn of(plugin: &Plugin, by: &str, now: OffsetDateTime) -> Self {
        HistoryRecord {
            name: plugin.name().to_owned(),
            version: plugin.version().to_owned(),
            sha256: plugin.sha256().to_owned(),
            seen_at: now.format(&Rfc3339).unwrap_or_default(),
            by: by.to_owned(),
            tables: plugin.tables().iter().map(|table| table.name.clone()).collect(),
            activations: Vec::new(),
        }
    }

    /// Reads the stored record of a version. What is stored may have been written by anything, and its names
    /// go into keys: only a record of the version that its key names is taken.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(name: &str, sha256: &str, bytes: &[u8]) -> Result<Self, InvalidHistory> {
        if bytes.len() as u64 > STORED_JSON_BYTES_MAX {
            return Err(InvalidHistory::TooLarge { bytes: bytes.len() as u64 });
        }
        let record: HistoryRecord = serde_json::from_slice(bytes)?;
        let is_of_key = record.name == name && record.sha256 == sha256;
        if !is_of_key || !is_plugin_name(name) || !is_sha256(sha256) {
            return Err(InvalidHistory::Other { name: record.name, sha256: record.sha256 });
        }
        let mut before = record.activations.iter().filter_map(|one| one.before.as_ref());
        if before.any(|sha256| !is_sha256(sha256)) {
            return Err(InvalidHistory::Before);
        }
        Ok(record)
    }

    /// Whether a command made it the active version: `publish`, or `rollback`.
    pub fn was_published(&self) -> bool {
        !self.activations.is_empty()
    }

    /// When it became the active one last, as far as that is known.
    pub fn active_since(&self) -> &str {
        self.activations.last().map_or(&self.seen_at, |last| &last.at)
    }

    fn key(&self) -> String {
        Key::HistoryRecord { name: self.name.clone(), sha256: self.sha256.clone() }.to_string()
    }
}

/// Why a stored object is not the record of a version.
#[derive(Debug, thiserror::Error)]
pub enum InvalidHistory {
    /// It is larger than a record can be.
    #[error("it has {}, and the limit is {}", Bytes(*.bytes), Bytes(STORED_JSON_BYTES_MAX))]
    TooLarge {
        /// Its size in bytes.
        bytes: u64,
    },
    /// It is not JSON of a record.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It is not about the version that its key names.
    #[error(
        "it is about plugin `{}`, SHA-256 `{}`, and its key names another one or none",
        .name.escape_debug(), .sha256.escape_debug()
    )]
    Other {
        /// The plugin that it is about.
        name: String,
        /// The SHA-256 that it is about.
        sha256: String,
    },
    /// It says of a version before it what is no SHA-256.
    #[error("it names a version before it by something that is no SHA-256")]
    Before,
}

/// Why the versions of a plugin can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record can't be read, and writing it would lose what it says.
    #[error(
        "{location} is not the record of a plugin's version: {problem} (restore it, or delete it, then run the same command again)"
    )]
    Damaged {
        /// Where it is.
        location: String,
        /// What is wrong with it.
        problem: InvalidHistory,
    },
}

/// Keeps a version, unless it is there.
///
/// # Errors
///
/// If the store fails.
pub async fn keep(
    store: &dyn Store,
    record: &HistoryRecord,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let (name, sha256) = (record.name.clone(), record.sha256.clone());
    store.put_new(&Key::History { name, sha256 }.to_string(), bytes).await?;
    store.put_new(&record.key(), &pretty(record)).await?;
    Ok(())
}

/// Notes that a version was made the active one, once; or that it was not, after all.
///
/// # Errors
///
/// If the store fails, or what it has of the version can't be read.
pub async fn note(
    store: &dyn Store,
    record: &HistoryRecord,
    activation: &Activation,
    is_so: IsSo,
) -> Result<(), VersionError> {
    let read = |bytes: &[u8]| {
        HistoryRecord::parse(&record.name, &record.sha256, bytes).map_err(|problem| {
            VersionError::Damaged { location: store.location(&record.key()), problem }
        })
    };
    update(store, &record.key(), |current| {
        let current = current.map(read).transpose()?;
        let before: HistoryRecord = current.unwrap_or_else(|| record.clone());
        let mut after = before.clone();
        after.activations.retain(|one| one != activation);
        if is_so == IsSo::Yes {
            after.activations.push(activation.clone());
        }
        Ok::<_, VersionError>((after.activations != before.activations).then(|| pretty(&after)))
    })
    .await
}

/// Whether it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsSo {
    /// It is.
    Yes,
    /// It isn't.
    No,
}

/// The versions that are kept, of one plugin or all: by name, then by when they were active last.
///
/// # Errors
///
/// If the store fails.
pub async fn versions(
    store: &dyn Store,
    name: Option<&str>,
) -> Result<Vec<HistoryRecord>, StoreError> {
    let prefix =
        name.map_or(layout::HISTORY.to_owned(), |name| format!("{}{name}/", layout::HISTORY));
    let mut found: Vec<HistoryRecord> = Vec::new();
    for listed in list_all(store, &prefix).await? {
        let Ok(Key::HistoryRecord { name, sha256 }) = listed.key.parse() else { continue };
        let read = match listed.size > STORED_JSON_BYTES_MAX {
            true => Err(InvalidHistory::TooLarge { bytes: listed.size }),
            false => match store.get(&listed.key).await? {
                Some(object) => HistoryRecord::parse(&name, &sha256, &object.bytes),
                None => continue,
            },
        };
        match read {
            Ok(record) => found.push(record),
            Err(problem) => {
                let location = store.location(&listed.key);
                tracing::warn!("{}", VersionError::Damaged { location, problem });
            }
        }
    }
    let order = |one: &HistoryRecord| (one.name.clone(), one.active_since().to_owned());
    found.sort_by_key(order);
    Ok(found)
}

/// Whether a version was published by a command.
///
/// # Errors
///
/// If the store fails.
pub async fn was_published(
    store: &dyn Store,
    name: &str,
    sha256: &str,
) -> Result<bool, StoreError> {
    let key = Key::HistoryRecord { name: name.to_owned(), sha256: sha256.to_owned() }.to_string();
    let Some(object) = store.get_within(&key, STORED_JSON_BYTES_MAX).await? else {
        return Ok(false);
    };
    match HistoryRecord::parse(name, sha256, &object.bytes) {
        Ok(record) => Ok(record.was_published()),
        Err(problem) => {
            let location = store.location(&key);
            tracing::warn!("{}", VersionError::Damaged { location, problem });
            Ok(false)
        }
    }
}

/// A version's file, if it is still there and what its name says.
///
/// # Errors
///
/// If the store fails.
pub async fn file_of(
    store: &dyn Store,
    record: &HistoryRecord,
) -> Result<Option<Vec<u8>>, StoreError> {
    let key = Key::History { name: record.name.clone(), sha256: record.sha256.clone() };
    let object = store.get(&key.to_string()).await?;
    Ok(object.map(|object| Vec::from(object.bytes)).filter(|bytes| sha256(bytes) == record.sha256))
}
