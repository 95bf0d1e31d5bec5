//! Which versions of plugins may run in a store that doesn't take uploads as they come.
//!
//! A version may run if a command published it, which its record in history says, or if it was active when
//! the setting was turned on, which the setting's own object lists. That a version is in history means
//! nothing: refused uploads are kept there too. An object without a list is from an earlier release, and
//! accepts what was published alone.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    PipelineError,
    active::{Shelf, pretty},
    versions::{HistoryRecord, was_published},
};
use crate::{
    config::STORED_JSON_BYTES_MAX,
    layout::{Key, is_plugin_name, is_sha256},
    plugin::Plugin,
    store::{Store, StoreError, update},
};

/// A version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Version {
    /// The plugin's name.
    pub name: String,
    /// The SHA-256 of its file.
    pub sha256: String,
}

/// The stored setting.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Setting {
    require_publish: bool,
    /// The versions that were active when it was turned on, and those that `init` installed since.
    #[serde(default)]
    accepted: BTreeSet<Version>,
}

/// The setting of a store that only takes published versions.
#[derive(Clone, Debug)]
pub struct Required {
    accepted: BTreeSet<Version>,
}

impl Required {
    /// Reads the setting; none if the store takes uploads as they come.
    ///
    /// # Errors
    ///
    /// If the store fails, or the setting can't be read.
    pub async fn of(store: &dyn Store) -> Result<Option<Self>, PipelineError> {
        let object = store.get_within(&key(), STORED_JSON_BYTES_MAX).await?;
        let Some(object) = object else { return Ok(None) };
        let setting = parse(store, &object.bytes)?;
        Ok(Some(Required { accepted: setting.accepted }))
    }

    /// Whether a version of history may run.
    pub fn takes(&self, record: &HistoryRecord) -> bool {
        record.was_published() || self.accepts(&record.name, &record.sha256)
    }

    /// Whether a plugin may run. What was published is remembered on the shelf.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn takes_plugin(
        &self,
        store: &dyn Store,
        shelf: &Shelf,
        plugin: &Plugin,
    ) -> Result<bool, StoreError> {
        let (name, sha256) = (plugin.name(), plugin.sha256());
        if self.accepts(name, sha256) || shelf.is_published(plugin) {
            return Ok(true);
        }
        let is_published = was_published(store, name, sha256).await?;
        if is_published {
            shelf.remember_published(plugin);
        }
        Ok(is_published)
    }

    fn accepts(&self, name: &str, sha256: &str) -> bool {
        self.accepted.contains(&Version { name: name.to_owned(), sha256: sha256.to_owned() })
    }
}

/// Has a store take only versions that are published from now on, and those that are given. If it does so
/// already, nothing changes.
///
/// # Errors
///
/// If the store fails.
pub async fn require(
    store: &dyn Store,
    accepted: impl IntoIterator<Item = Version>,
) -> Result<(), StoreError> {
    let accepted = accepted.into_iter().collect();
    store.put_new(&key(), &pretty(&Setting { require_publish: true, accepted })).await?;
    Ok(())
}

/// Has a store take uploads as they come.
///
/// # Errors
///
/// If the store fails.
pub async fn require_no_more(store: &dyn Store) -> Result<(), StoreError> {
    if let Some(object) = store.get(&key()).await? {
        store.delete_if(&key(), &object.tag()).await?;
    }
    Ok(())
}

/// Accepts a version that a command installs, if the store only takes published ones.
///
/// # Errors
///
/// If the store fails, or the setting can't be read.
pub async fn accept(store: &dyn Store, version: &Version) -> Result<(), PipelineError> {
    update(store, &key(), |current| {
        let Some(bytes) = current else { return Ok(None) };
        let mut setting = parse(store, bytes)?;
        Ok::<_, PipelineError>(setting.accepted.insert(version.clone()).then(|| pretty(&setting)))
    })
    .await
}

fn key() -> String {
    Key::RequirePublish.to_string()
}

fn parse(store: &dyn Store, bytes: &[u8]) -> Result<Setting, PipelineError> {
    let bad =
        |problem: String| PipelineError::Setting { location: store.location(&key()), problem };
    let setting: Setting = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
    if !setting.require_publish {
        return Err(bad("`require_publish` is not true in it".to_owned()));
    }
    let is_version = |one: &Version| is_plugin_name(&one.name) && is_sha256(&one.sha256);
    match setting.accepted.iter().all(is_version) {
        true => Ok(setting),
        false => Err(bad("it accepts something that is no version of a plugin".to_owned())),
    }
}
