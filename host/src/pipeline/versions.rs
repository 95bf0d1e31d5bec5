//! The versions of plugins that a store keeps: each with when it was seen, who brought it, and when it was
//! made the active one.

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::active::pretty;
use crate::{
    document::sha256,
    layout::{self, Key},
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

    /// When it became the active one last, as far as that is known.
    pub fn active_since(&self) -> &str {
        self.activations.last().map_or(&self.seen_at, |last| &last.at)
    }

    fn key(&self) -> String {
        Key::HistoryRecord { name: self.name.clone(), sha256: self.sha256.clone() }.to_string()
    }
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
/// If the store fails.
pub async fn note(
    store: &dyn Store,
    record: &HistoryRecord,
    activation: &Activation,
    is_so: IsSo,
) -> Result<(), StoreError> {
    update(store, &record.key(), |current| {
        let current = current.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let before: HistoryRecord = current.unwrap_or_else(|| record.clone());
        let mut after = before.clone();
        after.activations.retain(|one| one != activation);
        if is_so == IsSo::Yes {
            after.activations.push(activation.clone());
        }
        Ok::<_, StoreError>((after.activations != before.activations).then(|| pretty(&after)))
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
        if let Ok(Key::HistoryRecord { .. }) = listed.key.parse()
            && let Some(object) = store.get(&listed.key).await?
        {
            found.extend(serde_json::from_slice::<HistoryRecord>(&object.bytes).ok());
        }
    }
    let order = |one: &HistoryRecord| (one.name.clone(), one.active_since().to_owned());
    found.sort_by_key(order);
    Ok(found)
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
