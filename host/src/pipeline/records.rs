//! The records of tables: what columns a table has, which plugin fills it, and which of its folders is
//! the one that counts. They change by compare-and-swap.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{
    PipelineError,
    active::pretty,
    report::{PluginReport, Problem},
};
use crate::{
    document::DocumentId,
    layout::{self, Format, Key},
    plugin::Plugin,
    schema::{Column, Fit, TableSchema, fit},
    store::{Store, StoreError, list_all, update},
};

/// The format of records.
pub(super) const FORMAT: u32 = 1;

/// Where the rows of a table go.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The table's generation.
    pub generation: u32,
    /// How its files are written.
    pub formats: Vec<Format>,
    /// The columns that the table has and the plugin doesn't know.
    pub missing: Vec<Column>,
    /// Whether the table's record says all that the plugin declares.
    pub is_recorded: bool,
}

impl Target {
    /// Where a document's rows go.
    pub fn file(&self, table: &str, format: Format, document: &DocumentId) -> String {
        let (table, document) = (table.to_owned(), document.clone());
        Key::TableFile { table, generation: self.generation, format, document }.to_string()
    }
}

/// What is known of a table.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct TableRecord {
    /// The format of this object.
    pub format: u32,
    /// The plugin that fills it.
    pub owner: String,
    /// Its generation, from 1.
    pub generation: u32,
    /// How its files are written.
    pub formats: Vec<Format>,
    /// Its columns, without those of the host.
    pub schema: TableSchema,
    /// Whether the plugin was removed by a command, so that a run without it is complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owner_removed: bool,
}

/// The records of a store, as a run sees them.
pub struct Records<'s> {
    /// The store.
    pub store: &'s dyn Store,
    /// How the files of a table are written that has no record yet.
    pub formats: Vec<Format>,
    /// Records that tables are to have: their files are made by these, whatever the store has.
    pub planned: BTreeMap<String, TableRecord>,
}

impl<'s> Records<'s> {
    /// As they are in a store.
    pub fn of(store: &'s dyn Store) -> Self {
        Records { store, formats: vec![Format::Csv], planned: BTreeMap::new() }
    }

    /// Writes the records of a plugin's tables where it adds tables, columns or descriptions.
    pub(super) async fn extend(
        &self,
        plugin: &Plugin,
    ) -> Result<Result<(), Problem>, PipelineError> {
        for table in plugin.tables() {
            if self.planned.contains_key(&table.name) {
                continue;
            }
            let key = Key::TableRecord { table: table.name.clone() }.to_string();
            let mut problem = None;
            update(self.store, &key, |current| {
                let Some(bytes) = current else {
                    return Ok(Some(pretty(&new_record(plugin, table, &self.formats))));
                };
                let extended = parse_record(self.store, &key, bytes, plugin)
                    .and_then(|record| Ok((compare(&record, table, plugin)?, record)));
                match extended {
                    Ok((fit, record)) => {
                        let schema = match fit {
                            Fit::Appends | Fit::Equal => TableSchema::clone(table),
                            _ => record.schema.clone(),
                        };
                        let next = TableRecord { schema, owner_removed: false, ..record.clone() };
                        Ok((next != record).then(|| pretty(&next)))
                    }
                    Err(found) => {
                        problem = Some(found);
                        Ok::<_, PipelineError>(None)
                    }
                }
            })
            .await?;
            if let Some(problem) = problem {
                return Ok(Err(problem));
            }
        }
        Ok(Ok(()))
    }

    /// Where a plugin's rows go, as the records have it now; or why it can't fill its tables.
    pub(super) async fn targets(
        &self,
        plugin: &Plugin,
    ) -> Result<Result<Vec<Target>, Problem>, StoreError> {
        let found = plugin.tables().iter().map(|table| self.target(plugin, table));
        Ok(try_join_all(found).await?.into_iter().collect())
    }

    async fn target(
        &self,
        plugin: &Plugin,
        table: &TableSchema,
    ) -> Result<Result<Target, Problem>, StoreError> {
        let key = Key::TableRecord { table: table.name.clone() }.to_string();
        let known = match self.planned.get(&table.name) {
            Some(planned) => Some(Ok(planned.clone())),
            None => self
                .store
                .get(&key)
                .await?
                .map(|object| parse_record(self.store, &key, &object.bytes, plugin)),
        };
        let record = match known {
            None => Ok((new_record(plugin, table, &self.formats), false)),
            Some(record) => record.and_then(|record| {
                // A rolled-back plugin knows less than the record, which stays.
                let is_behind = compare(&record, table, plugin)? == Fit::Prefix;
                let is_recorded = self.planned.contains_key(&table.name)
                    || (!record.owner_removed && (is_behind || record.schema == *table));
                Ok((record, is_recorded))
            }),
        };
        Ok(record.map(|(record, is_recorded)| {
            let known = table.columns.len().min(record.schema.columns.len());
            Target {
                generation: record.generation,
                formats: record.formats,
                missing: record.schema.columns[known..].to_vec(),
                is_recorded,
            }
        }))
    }
}

/// The records of all tables of a store, by name; those that can't be read are told.
///
/// # Errors
///
/// If the store fails.
pub async fn table_records(
    store: &dyn Store,
) -> Result<(Vec<TableRecord>, Vec<String>), StoreError> {
    let listed = list_all(store, layout::TABLES).await?;
    let is_record = |key: &str| matches!(key.parse(), Ok(Key::TableRecord { .. }));
    let keys = listed.into_iter().map(|listed| listed.key).filter(|key| is_record(key));
    let read = keys.map(|key| async move { Ok((store.get(&key).await?, key)) });
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    for (object, key) in try_join_all(read).await? {
        let Some(object) = object else { continue };
        match serde_json::from_slice::<TableRecord>(&object.bytes) {
            Ok(record) if record.format == FORMAT => records.push(record),
            Ok(record) => problems.push(format!(
                "{} is a table's record of format {}, and this host reads format {FORMAT} (use a newer spotify-etl)",
                store.location(&key),
                record.format
            )),
            Err(error) => problems.push(format!(
                "{} is not a table's record: {error} (restore it)",
                store.location(&key)
            )),
        }
    }
    Ok((records, problems))
}

/// Notes in the records of a plugin's tables that it was removed by a command. Returns the tables of which
/// that was not noted before.
///
/// # Errors
///
/// If the store fails.
pub async fn mark_removed(store: &dyn Store, owner: &str) -> Result<Vec<String>, StoreError> {
    let (records, _) = table_records(store).await?;
    let mut tables = Vec::new();
    let is_due = |record: &TableRecord| record.owner == owner && !record.owner_removed;
    for record in records.into_iter().filter(is_due) {
        let table = record.schema.name;
        let key = Key::TableRecord { table: table.clone() }.to_string();
        update(store, &key, |current| {
            let read = |bytes| serde_json::from_slice::<TableRecord>(bytes).ok();
            let due = current.and_then(read).filter(is_due);
            let removed = due.map(|record| TableRecord { owner_removed: true, ..record });
            Ok::<_, StoreError>(removed.as_ref().map(pretty))
        })
        .await?;
        tables.push(table);
    }
    Ok(tables)
}

/// Finds plugins that fill a table of the store and are not among these, although no command removed them:
/// each with its tables.
///
/// # Errors
///
/// If the store fails.
pub async fn missing_owners(
    store: &dyn Store,
    plugins: &[PluginReport],
) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
    let is_filled = |table: &str| {
        plugins.iter().any(|plugin| plugin.tables.iter().any(|filled| filled == table))
    };
    let listed = list_all(store, layout::TABLES).await?;
    let keys = listed.into_iter().filter_map(|listed| match listed.key.parse() {
        Ok(Key::TableRecord { table }) if !is_filled(&table) => Some(listed.key),
        _ => None,
    });
    let read = keys.map(|key| async move { store.get(&key).await });
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for object in try_join_all(read).await?.into_iter().flatten() {
        // What is no record is reported by those who read the table.
        let Ok(record) = serde_json::from_slice::<TableRecord>(&object.bytes) else { continue };
        let is_there = plugins.iter().any(|plugin| plugin.name == record.owner);
        if !is_there && !record.owner_removed {
            missing.entry(record.owner).or_default().push(record.schema.name);
        }
    }
    Ok(missing)
}

/// The tables whose stored columns don't fit the declared ones.
pub fn misfits(declared: &[Arc<TableSchema>], records: &[TableRecord]) -> Vec<String> {
    let is_misfit = |table: &&Arc<TableSchema>| {
        let mut records = records.iter().filter(|record| record.schema.name == table.name);
        records.any(|record| matches!(fit(&record.schema, table), Fit::Differs(_)))
    };
    declared.iter().filter(is_misfit).map(|table| table.name.clone()).collect()
}

/// Makes a table's record the planned one, if it still is the one that the plan was made from.
///
/// # Errors
///
/// If the store fails.
pub async fn switch(
    store: &dyn Store,
    from: &TableRecord,
    planned: &TableRecord,
) -> Result<bool, StoreError> {
    let key = Key::TableRecord { table: planned.schema.name.clone() }.to_string();
    let mut is_done = true;
    update(store, &key, |current| {
        let current = current.and_then(|bytes| serde_json::from_slice::<TableRecord>(bytes).ok());
        is_done = current.as_ref() == Some(from) || current.as_ref() == Some(planned);
        let is_due = is_done && current.as_ref() != Some(planned);
        Ok::<_, StoreError>(is_due.then(|| pretty(planned)))
    })
    .await?;
    Ok(is_done)
}

fn parse_record(
    store: &dyn Store,
    key: &str,
    bytes: &[u8],
    plugin: &Plugin,
) -> Result<TableRecord, Problem> {
    let location = store.location(key);
    let refused = |message: String| Problem::of_plugin(plugin.name(), message);
    let record: TableRecord = serde_json::from_slice(bytes).map_err(|error| {
        refused(format!(
            "is refused: {location} is not a table's record: {error} (restore it; to start the \
             table anew, take it away together with the table's files)"
        ))
    })?;
    match record.format {
        FORMAT => Ok(record),
        found => Err(refused(format!(
            "is refused: {location} is a table's record of format {found}, and this host reads \
             format {FORMAT} (use a newer spotify-etl)"
        ))),
    }
}

fn compare(record: &TableRecord, table: &TableSchema, plugin: &Plugin) -> Result<Fit, Problem> {
    let (name, owner) = (&table.name, &record.owner);
    if owner != plugin.name() {
        let message = format!(
            "is refused: table `{name}` belongs to plugin `{owner}` (name the file {owner}.wasm, \
             or declare another table)"
        );
        return Err(Problem::of_plugin(plugin.name(), message));
    }
    match fit(&record.schema, table) {
        Fit::Differs(differences) => {
            let message = format!(
                "is refused: its table `{name}` does not fit the stored one: {}. Stored: {}. \
                 Declared: {table} (append nullable columns only; or begin the table anew: \
                 spotify-etl replay --new-generation {name})",
                differences.join(", "),
                record.schema
            );
            Err(Problem::of_plugin(plugin.name(), message))
        }
        fit => Ok(fit),
    }
}

fn new_record(plugin: &Plugin, table: &TableSchema, formats: &[Format]) -> TableRecord {
    TableRecord {
        format: FORMAT,
        owner: plugin.name().to_owned(),
        generation: 1,
        formats: formats.to_vec(),
        schema: table.clone(),
        owner_removed: false,
    }
}
