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
    config::{Bytes, STORED_JSON_BYTES_MAX},
    document::DocumentId,
    layout::{self, Format, Key, is_plugin_name},
    plugin::Plugin,
    schema::{Column, Fit, TableSchema, faults_of, fit},
    store::{Store, StoreError, list_all, update},
};

/// The format of records.
pub(super) const FORMAT: u32 = 1;
/// The highest generation of a table. Each is begun by a command.
pub const GENERATION_MAX: u32 = 1_000_000;

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

impl TableRecord {
    /// Reads the stored record of a table. What is stored may have been written by anything, and its names
    /// go into keys and SQL: only a record whose schema a plugin could declare is taken.
    ///
    /// # Errors
    ///
    /// Says everything that is wrong with it.
    pub fn parse(table: &str, bytes: &[u8]) -> Result<Self, InvalidRecord> {
        if bytes.len() as u64 > STORED_JSON_BYTES_MAX {
            return Err(InvalidRecord::TooLarge { bytes: bytes.len() as u64 });
        }
        let record: TableRecord = serde_json::from_slice(bytes)?;
        if record.format != FORMAT {
            return Err(InvalidRecord::Format { found: record.format });
        }
        let faults = record.faults(table);
        if faults.is_empty() { Ok(record) } else { Err(InvalidRecord::Content { faults }) }
    }

    fn faults(&self, table: &str) -> Vec<String> {
        let mut faults = Vec::new();
        if self.schema.name != table {
            let name: String = self.schema.name.chars().take(100).collect();
            faults.push(format!("it is about table `{}`", name.escape_debug()));
        }
        faults.extend(faults_of(&self.schema));
        if !(1..=GENERATION_MAX).contains(&self.generation) {
            let found = self.generation;
            faults.push(format!("its generation is {found}, which is not in 1..={GENERATION_MAX}"));
        }
        if self.formats.is_empty() {
            faults.push("it names no format of table files".to_owned());
        }
        let is_twice =
            |format: &&Format| self.formats.iter().filter(|one| one == format).count() > 1;
        if let Some(format) = self.formats.iter().find(is_twice) {
            faults.push(format!("it names the format {format} twice"));
        }
        if !is_plugin_name(&self.owner) {
            let owner: String = self.owner.chars().take(100).collect();
            faults.push(format!("its owner `{}` is no name of a plugin", owner.escape_debug()));
        }
        faults
    }
}

/// Why a stored object is not the record of a table.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRecord {
    /// It is larger than a record can be.
    #[error("it has {}, and the limit is {}", Bytes(*.bytes), Bytes(STORED_JSON_BYTES_MAX))]
    TooLarge {
        /// Its size in bytes.
        bytes: u64,
    },
    /// It is not JSON of a record.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It has a format that this program does not know.
    #[error(
        "it has format {found}, and this program reads format {FORMAT} (use a newer spotify-etl)"
    )]
    Format {
        /// The format.
        found: u32,
    },
    /// It says something that no record says.
    #[error("{}", .faults.join("; "))]
    Content {
        /// Everything that is wrong with it.
        faults: Vec<String>,
    },
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
                let extended = parse_record(self.store, &table.name, bytes, plugin)
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

    /// Returns the plugin that a table belongs to; none if the table has no record that can be read.
    pub(super) async fn owner(&self, table: &str) -> Result<Option<String>, StoreError> {
        if let Some(planned) = self.planned.get(table) {
            return Ok(Some(planned.owner.clone()));
        }
        let key = Key::TableRecord { table: table.to_owned() }.to_string();
        let object = self.store.get_within(&key, STORED_JSON_BYTES_MAX).await?;
        let record = object.and_then(|object| TableRecord::parse(table, &object.bytes).ok());
        Ok(record.map(|record| record.owner))
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
                .get_within(&key, STORED_JSON_BYTES_MAX)
                .await?
                .map(|object| parse_record(self.store, &table.name, &object.bytes, plugin)),
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

/// A table whose record can't be read.
#[derive(Clone, Debug, PartialEq)]
pub struct UnreadRecord {
    /// The table's name, as the record's key has it. It may be anything.
    pub table: String,
    /// Where the record is, what is wrong with it, and what to do.
    pub problem: String,
}

/// Returns the records of all tables of a store, by name, and what is wrong with those that can't be read.
///
/// # Errors
///
/// If the store fails.
pub async fn table_records(
    store: &dyn Store,
) -> Result<(Vec<TableRecord>, Vec<UnreadRecord>), StoreError> {
    let listed = list_all(store, layout::TABLES).await?;
    let keys = listed.into_iter().filter_map(|listed| match listed.key.parse() {
        Ok(Key::TableRecord { table }) => Some((table, listed)),
        _ => None,
    });
    let read = keys.map(|(table, listed)| async move {
        if listed.size > STORED_JSON_BYTES_MAX {
            return Ok((
                table,
                listed.key,
                Some(Err(InvalidRecord::TooLarge { bytes: listed.size })),
            ));
        }
        let object = store.get(&listed.key).await?;
        let record = object.map(|object| TableRecord::parse(&table, &object.bytes));
        Ok::<_, StoreError>((table, listed.key, record))
    });
    let (mut records, mut unread) = (Vec::new(), Vec::new());
    for (table, key, record) in try_join_all(read).await? {
        match record {
            None => {}
            Some(Ok(record)) => records.push(record),
            Some(Err(error)) => {
                let location = store.location(&key);
                let problem = format!("{location} is not a table's record: {error} (restore it)");
                unread.push(UnreadRecord { table, problem });
            }
        }
    }
    Ok((records, unread))
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
            let read = |bytes| TableRecord::parse(&table, bytes).ok();
            let due = current.and_then(read).filter(is_due);
            let removed = due.map(|record| TableRecord { owner_removed: true, ..record });
            Ok::<_, StoreError>(removed.as_ref().map(pretty))
        })
        .await?;
        tables.push(table);
    }
    Ok(tables)
}

/// Returns whether a plugin was removed by a command, and has filled none of its tables since.
///
/// # Errors
///
/// If the store fails.
pub async fn is_removed(store: &dyn Store, owner: &str) -> Result<bool, StoreError> {
    let (records, _) = table_records(store).await?;
    let mut owned = records.iter().filter(|record| record.owner == owner).peekable();
    Ok(owned.peek().is_some() && owned.all(|record| record.owner_removed))
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
        Ok(Key::TableRecord { table }) if !is_filled(&table) => Some((table, listed)),
        _ => None,
    });
    let keys = keys.filter(|(_, listed)| listed.size <= STORED_JSON_BYTES_MAX);
    let read = keys.map(|(table, listed)| async move {
        let object = store.get(&listed.key).await?;
        Ok::<_, StoreError>(object.map(|object| TableRecord::parse(&table, &object.bytes)))
    });
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // What is no record is reported by those who read the table.
    for record in try_join_all(read).await?.into_iter().flatten().flatten() {
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
        let read = |bytes| TableRecord::parse(&planned.schema.name, bytes).ok();
        let current = current.and_then(read);
        is_done = current.as_ref() == Some(from) || current.as_ref() == Some(planned);
        let is_due = is_done && current.as_ref() != Some(planned);
        Ok::<_, StoreError>(is_due.then(|| pretty(planned)))
    })
    .await?;
    Ok(is_done)
}

fn parse_record(
    store: &dyn Store,
    table: &str,
    bytes: &[u8],
    plugin: &Plugin,
) -> Result<TableRecord, Problem> {
    TableRecord::parse(table, bytes).map_err(|error| {
        let location = store.location(&Key::TableRecord { table: table.to_owned() }.to_string());
        let message = format!(
            "is refused: {location} is not a table's record: {error} (restore it; to start the \
             table again from nothing, delete it together with the table's files)"
        );
        Problem::of_plugin(plugin.name(), message)
    })
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
