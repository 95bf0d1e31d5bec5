//! Making a version of a plugin the active one: looked at first, kept in history, switched on condition
//! that nobody else did meanwhile, and carried through history if somebody wants that.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    Mode, PipelineError, Transform, Transformed,
    active::{HistoryRecord, keep},
    replay::{Change, Filter, Replay, Which},
    report::ReplayReport,
};
use crate::{
    document::sha256,
    layout::{self, Key},
    plugin::Plugin,
    store::{Created, Store, StoreError, Tag, list_all},
};

/// The file of a plugin as it lies in the store, if there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The plugin's name.
    pub name: String,
    /// The SHA-256 and the mark of its file.
    file: Option<(String, Tag)>,
}

impl Standing {
    /// How it is now.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn of(store: &dyn Store, name: &str) -> Result<Self, StoreError> {
        let object = store.get(&Key::Plugin { name: name.to_owned() }.to_string()).await?;
        let file = object.map(|object| (sha256(&object.bytes), object.tag));
        Ok(Standing { name: name.to_owned(), file })
    }

    /// The SHA-256 of its file.
    pub fn sha256(&self) -> Option<&str> {
        self.file.as_ref().map(|(sha256, _)| sha256.as_str())
    }
}

/// What became of a plugin's place.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PublishReport {
    /// The plugin's name.
    pub plugin: String,
    /// The version that is active now; none if it was taken away.
    pub version: Option<String>,
    /// The SHA-256 of its file.
    pub sha256: Option<String>,
    /// The SHA-256 of the file that was active before.
    pub sha256_before: Option<String>,
    /// Who did it.
    pub by: String,
    /// What tables show now, in words.
    #[serde(default)]
    pub remarks: Vec<String>,
}

/// Makes a version the active one.
///
/// Stopped anywhere, it is or it isn't; the same again brings it to its end.
///
/// # Errors
///
/// If the store fails, or the plugin's place is not any more as it was looked at.
pub async fn activate_version(
    store: &dyn Store,
    plugin: &Plugin,
    bytes: &[u8],
    standing: &Standing,
    by: &str,
    now: OffsetDateTime,
) -> Result<PublishReport, PublishError> {
    keep(store, plugin, bytes, by, now).await?;
    let key = Key::Plugin { name: standing.name.clone() }.to_string();
    let is_done = match &standing.file {
        Some((there, _)) if there == plugin.sha256() => true,
        Some((_, tag)) => store.put_if(&key, bytes, tag).await?,
        None => store.put_new(&key, bytes).await? == Created::New,
    };
    if !is_done {
        let found = Standing::of(store, &standing.name).await?;
        // An answer that was lost on the way: it is ours.
        if found.sha256() != Some(plugin.sha256()) {
            return Err(raced(found));
        }
    }
    Ok(PublishReport {
        plugin: standing.name.clone(),
        version: Some(plugin.version().to_owned()),
        sha256: Some(plugin.sha256().to_owned()),
        sha256_before: standing.sha256().map(str::to_owned),
        by: by.to_owned(),
        remarks: Vec::new(),
    })
}

/// Takes a plugin away from among the active ones. Its versions stay in history.
///
/// # Errors
///
/// If the store fails, or the plugin's place is not any more as it was looked at.
pub async fn remove(
    store: &dyn Store,
    standing: &Standing,
    by: &str,
) -> Result<PublishReport, PublishError> {
    let Standing { name, file } = standing;
    let Some((there, tag)) = file else {
        return Err(PublishError::NotThere { name: name.clone() });
    };
    let key = Key::Plugin { name: name.clone() }.to_string();
    let Some(object) = store.get(&key).await?.filter(|object| sha256(&object.bytes) == *there)
    else {
        return Err(raced(Standing::of(store, name).await?));
    };
    // Also one that is no plugin, and that nobody has kept.
    let kept = Key::History { name: name.clone(), sha256: there.clone() }.to_string();
    store.put_new(&kept, &object.bytes).await?;
    if !store.delete_if(&key, tag).await? {
        let found = Standing::of(store, name).await?;
        if found.file.is_some() {
            return Err(raced(found));
        }
    }
    let error = Key::PluginError { name: name.clone() }.to_string();
    if let Some(object) = store.get(&error).await? {
        store.delete_if(&error, &object.tag).await?;
    }
    Ok(PublishReport {
        plugin: name.clone(),
        version: None,
        sha256: None,
        sha256_before: Some(there.clone()),
        by: by.to_owned(),
        remarks: Vec::new(),
    })
}

fn raced(found: Standing) -> PublishError {
    let is =
        found.sha256().map_or("nothing any more".to_owned(), |sha256| short(sha256).to_owned());
    PublishError::Raced { name: found.name, is }
}

/// As much of a SHA-256 as people compare.
pub fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

/// The records of history, of one plugin or all: by name, then by when they were seen.
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
    let mut found = Vec::new();
    for listed in list_all(store, &prefix).await? {
        if !matches!(listed.key.parse(), Ok(Key::HistoryRecord { .. })) {
            continue;
        }
        let object = store.get(&listed.key).await?;
        let record = object.and_then(|object| serde_json::from_slice(&object.bytes).ok());
        found.extend(record);
    }
    found.sort_by(|one: &HistoryRecord, other| {
        (&one.name, &one.seen_at).cmp(&(&other.name, &other.seen_at))
    });
    Ok(found)
}

/// The version of history that is meant: the one whose SHA-256 begins like this, or the one that was seen
/// before the active one.
///
/// # Errors
///
/// If the store fails, or none or several are meant.
pub async fn version_meant(
    store: &dyn Store,
    standing: &Standing,
    sha256: Option<&str>,
) -> Result<(HistoryRecord, Vec<u8>), PublishError> {
    let name = &standing.name;
    let all = versions(store, Some(name)).await?;
    let Some(begins) = sha256 else {
        let active = all.iter().position(|one| Some(one.sha256.as_str()) == standing.sha256());
        let before = match active {
            Some(active) => &all[..active],
            None => &all[..],
        };
        let others =
            before.iter().rev().filter(|one| Some(one.sha256.as_str()) != standing.sha256());
        let Some(record) = others.into_iter().next() else {
            return Err(PublishError::NoneBefore { name: name.clone() });
        };
        return bytes_of(store, record.clone()).await;
    };
    let mut meant = all.into_iter().filter(|one| one.sha256.starts_with(begins));
    let none = || PublishError::NoSuchVersion { name: name.clone(), sha256: begins.to_owned() };
    let record = meant.next().ok_or_else(none)?;
    if meant.next().is_some() {
        let (name, sha256) = (name.clone(), begins.to_owned());
        return Err(PublishError::Ambiguous { name, sha256 });
    }
    bytes_of(store, record).await
}

async fn bytes_of(
    store: &dyn Store,
    record: HistoryRecord,
) -> Result<(HistoryRecord, Vec<u8>), PublishError> {
    let HistoryRecord { name, sha256: expected, .. } = record.clone();
    let key = Key::History { name, sha256: expected.clone() }.to_string();
    match store.get(&key).await? {
        Some(object) if sha256(&object.bytes) == expected => Ok((record, object.bytes)),
        Some(_) => Err(PublishError::Damaged {
            location: store.location(&key),
            what: "is another file than its name says",
        }),
        None => Err(PublishError::Damaged { location: store.location(&key), what: "is gone" }),
    }
}

/// Whether versions that nobody published are passed over.
///
/// # Errors
///
/// If the store fails.
pub async fn require_publish(
    store: &dyn Store,
    is_required: Option<bool>,
) -> Result<bool, StoreError> {
    let key = Key::RequirePublish.to_string();
    let there = store.get(&key).await?;
    match (is_required, there) {
        (None, there) => return Ok(there.is_some()),
        (Some(true), None) => {
            store.put_new(&key, b"{ \"require_publish\": true }\n").await?;
        }
        (Some(false), Some(object)) => {
            store.delete_if(&key, &object.tag).await?;
        }
        _ => {}
    }
    Ok(is_required.unwrap_or_default())
}

/// Takes history through a version that has just become active, if wanted with new generations of its
/// tables.
///
/// # Errors
///
/// If nothing could be tried.
pub async fn carry_through(
    transform: Transform<'_>,
    plugin: &Arc<Plugin>,
    new_generations: &[String],
) -> Result<(ReplayReport, Transformed), PipelineError> {
    let change = match new_generations {
        [] => Change::None,
        tables => Change::Generations(tables.to_vec()),
    };
    let replay = Replay {
        transform,
        which: Which::Matching(Filter::default()),
        plugins: vec![plugin.name().to_owned()],
        change,
        mode: Mode::Write,
    };
    replay.run().await
}

/// Why a version did not become active.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody else was quicker.
    #[error(
        "plugin `{name}` was changed by somebody else meanwhile: active is now {is} (look at the difference to that one, then publish again: spotify-etl plugin diff)"
    )]
    Raced {
        /// The plugin.
        name: String,
        /// The SHA-256 of what is there, or that nothing is.
        is: String,
    },
    /// There is no such plugin.
    #[error("no plugin `{name}` is active in the store (spotify-etl plugin list names them)")]
    NotThere {
        /// What was asked for.
        name: String,
    },
    /// There is nothing to go back to.
    #[error(
        "history has no version of plugin `{name}` from before the active one (spotify-etl plugin list names them all)"
    )]
    NoneBefore {
        /// The plugin.
        name: String,
    },
    /// No version begins like that.
    #[error(
        "history has no version of plugin `{name}` whose SHA-256 begins with {sha256} (spotify-etl plugin list names them all)"
    )]
    NoSuchVersion {
        /// The plugin.
        name: String,
        /// What was asked for.
        sha256: String,
    },
    /// Several versions begin like that.
    #[error(
        "several versions of plugin `{name}` have a SHA-256 that begins with {sha256} (give more of it)"
    )]
    Ambiguous {
        /// The plugin.
        name: String,
        /// What was asked for.
        sha256: String,
    },
    /// History is not what it was.
    #[error(
        "{location} {what}, so that version can't be had any more (publish it from its file: spotify-etl plugin publish FILE)"
    )]
    Damaged {
        /// Which object.
        location: String,
        /// What is wrong with it.
        what: &'static str,
    },
}
