//! What documents and other objects are checked against: table records, the history of plugins, and the
//! active plugins.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        PipelineError,
        active::{ActivePlugin, active_plugins, choose, missing_plugins},
        records::{Records, TableRecord},
        report::{PluginReport, PluginStatus},
        versions::HistoryRecord,
    },
    Verify,
};
use crate::{
    config::HOST_VERSION,
    document::{DocumentId, sha256},
    layout::{self, Format, Key},
    store::{Object, Store, StoreError, list_all},
};

/// What is known of a store as a whole.
pub struct Context {
    /// The table records that can be read, by table.
    pub records: BTreeMap<String, TableRecord>,
    /// The records of versions of plugins that can be read, by name and SHA-256.
    pub history: BTreeMap<(String, String), HistoryRecord>,
    /// The plugins that a run would use.
    pub active: Vec<ActivePlugin>,
    /// All plugins that were found or are missing.
    pub reports: Vec<PluginReport>,
    /// A text that changes whenever anything of this does.
    pub digest: String,
}

impl Context {
    /// Reads it from a store.
    ///
    /// # Errors
    ///
    /// If the store fails, or this machine can't run plugins.
    pub async fn load(verify: &Verify<'_>) -> Result<Self, PipelineError> {
        let Verify { store, plugins, shelf, limits, .. } = verify;
        let records = table_records(*store).await?;
        let history = history(*store).await?;
        let (active, reports) = if active_plugins(*plugins).await?.is_empty() {
            (Vec::new(), missing_plugins(*store, *plugins, &[]).await?)
        } else {
            let set = choose(&Records::of(*store), *plugins, shelf).await?;
            (set.plugins, set.reports)
        };
        let versions: Vec<_> = history.values().map(|one| (&one.sha256, &one.version)).collect();
        let limits = (limits.document_bytes, limits.json_levels, limits.output_bytes);
        let known = (HOST_VERSION, &records, versions, &reports, limits);
        let digest = sha256(&serde_json::to_vec(&known).unwrap_or_default());
        Ok(Context { records, history, active, reports, digest })
    }

    /// Whether readers of a table read these files. Of a table without a record, all files count.
    pub fn is_read(&self, table: &str, generation: u32, format: Format) -> bool {
        self.records.get(table).is_none_or(|record| {
            record.generation == generation && record.formats.contains(&format)
        })
    }

    /// The key of a document's file as readers of the table find it, in each format.
    pub fn current_keys(&self, table: &str, id: &DocumentId) -> Vec<String> {
        let Some(record) = self.records.get(table) else { return Vec::new() };
        let key = |format: &Format| {
            let (table, generation, format) = (table.to_owned(), record.generation, *format);
            Key::TableFile { table, generation, format, document: id.clone() }.to_string()
        };
        record.formats.iter().map(key).collect()
    }

    /// The active plugin that fills a table.
    pub fn filler(&self, table: &str) -> Option<&ActivePlugin> {
        self.active.iter().find(|active| active.plugin.fills(table))
    }

    /// Whether a plugin that is in the store has declared a table, also if it can't be used now.
    pub fn is_declared(&self, table: &str) -> bool {
        let is_there = |name: &str| {
            let mut reports = self.reports.iter();
            reports.any(|report| report.name == name && report.status != PluginStatus::Missing)
        };
        let mut versions = self.history.values().filter(|record| is_there(&record.name));
        self.filler(table).is_some()
            || versions.any(|record| record.tables.iter().any(|declared| declared == table))
    }

    /// The tables that a version of a plugin declared, as far as they belong to it now.
    pub fn tables_of(&self, plugin: &str, sha256: &str) -> BTreeSet<&str> {
        let is_own =
            |table: &&str| self.records.get(*table).is_some_and(|record| record.owner == plugin);
        let key = (plugin.to_owned(), sha256.to_owned());
        let recorded = self.history.get(&key).into_iter().flat_map(|record| &record.tables);
        let loaded = self.active.iter().filter(|active| active.plugin.sha256() == sha256);
        let loaded = loaded.flat_map(|active| active.plugin.tables());
        let declared = recorded.map(String::as_str).chain(loaded.map(|table| table.name.as_str()));
        declared.filter(is_own).collect()
    }
}

async fn table_records(store: &dyn Store) -> Result<BTreeMap<String, TableRecord>, StoreError> {
    let mut found = BTreeMap::new();
    for listed in list_all(store, layout::TABLES).await? {
        let Ok(Key::TableRecord { table }) = listed.key.parse() else { continue };
        let Some(object) = readable(store, &listed.key).await? else { continue };
        if let Ok(record) = TableRecord::parse(&table, &object.bytes) {
            found.insert(table, record);
        }
    }
    Ok(found)
}

async fn history(
    store: &dyn Store,
) -> Result<BTreeMap<(String, String), HistoryRecord>, StoreError> {
    let mut found = BTreeMap::new();
    for listed in list_all(store, layout::HISTORY).await? {
        let Ok(Key::HistoryRecord { name, sha256 }) = listed.key.parse() else { continue };
        let Some(object) = readable(store, &listed.key).await? else { continue };
        if let Ok(record) = HistoryRecord::parse(&name, &sha256, &object.bytes) {
            found.insert((name, sha256), record);
        }
    }
    Ok(found)
}

/// Reads an object. One that the system can't read is reported when it is checked itself.
async fn readable(store: &dyn Store, key: &str) -> Result<Option<Object>, StoreError> {
    match store.get(key).await {
        Err(StoreError::Io { .. }) => Ok(None),
        read => read,
    }
}
