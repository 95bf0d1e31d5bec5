//! The plugins of a run: those that lie among the plugins, each checked against its tables'
//! records; where one is refused, the newest version in history that fits.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    PipelineError,
    report::{PluginReport, PluginStatus, Problem},
};
use crate::{
    document::sha256,
    layout::{self, Format, Key},
    plugin::{Engine, Plugin},
    schema::{Column, Fit, TableSchema, fit},
    store::{Store, StoreError, list_all, update},
};

/// The format of records.
const FORMAT: u32 = 1;

/// Where plugins come from.
#[derive(Clone, Copy)]
pub struct PluginPlace<'s> {
    /// The store that they lie in.
    pub store: &'s dyn Store,
    /// The prefix of their keys there.
    pub prefix: &'s str,
}

/// A plugin that takes part in a run.
#[derive(Clone)]
pub struct ActivePlugin {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Where the rows of each of its tables go, in its order.
    pub targets: Vec<Target>,
}

/// Where the rows of a table go.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The table's generation.
    pub generation: u32,
    /// How its files are written.
    pub formats: Vec<Format>,
    /// The columns that the table has and the plugin doesn't know.
    pub missing: Vec<Column>,
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
}

/// When a version of a plugin was seen first.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct HistoryRecord {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 of its file.
    pub sha256: String,
    /// When, RFC 3339.
    pub seen_at: String,
    /// Who brought it: `upload` if nobody said.
    pub by: String,
}

/// The plugins of a run, and what became of all that were found.
pub struct ActiveSet {
    /// Those that take part, by name.
    pub plugins: Vec<ActivePlugin>,
    /// All that were found, by name.
    pub reports: Vec<PluginReport>,
    /// All that were found and are plugins, fit for their tables or not.
    pub seen: Vec<Arc<Plugin>>,
}

impl ActiveSet {
    /// The names of those that don't take part, in whichever version.
    pub fn refused(&self) -> Vec<String> {
        let refused = self.reports.iter().filter(|report| report.status == PluginStatus::Refused);
        refused.map(|report| report.name.clone()).collect()
    }
}

/// Loads the plugins, and writes what that changes: table records and history.
///
/// # Errors
///
/// If there are none, or the store fails.
pub async fn activate(
    store: &dyn Store,
    place: PluginPlace<'_>,
    engine: &Arc<Engine>,
    now: OffsetDateTime,
) -> Result<ActiveSet, PipelineError> {
    let mut set = choose(store, place, engine).await?;
    let taking_part = set.plugins.iter().map(|active| active.plugin.clone());
    for plugin in taking_part.collect::<Vec<_>>() {
        let extended = extend_records(store, &plugin).await?;
        if let Err(problem) = extended {
            set.plugins.retain(|active| active.plugin.name() != plugin.name());
            for report in set.reports.iter_mut().filter(|report| report.name == plugin.name()) {
                report.status = PluginStatus::Refused;
                report.problem = Some(problem.clone());
            }
        }
    }
    let history = list_all(store, layout::HISTORY).await?;
    for plugin in &set.seen {
        let (name, sha256) = (plugin.name().to_owned(), plugin.sha256().to_owned());
        let record = Key::HistoryRecord { name, sha256 }.to_string();
        if history.iter().all(|listed| listed.key != record) {
            remember(store, place, plugin, "upload", now).await?;
        }
    }
    Ok(set)
}

/// Loads the plugins and checks them against the records. Writes nothing.
///
/// # Errors
///
/// If there are none, or the store fails.
pub async fn choose(
    store: &dyn Store,
    place: PluginPlace<'_>,
    engine: &Arc<Engine>,
) -> Result<ActiveSet, PipelineError> {
    let mut found = Vec::new();
    for (name, key) in active_keys(place).await? {
        let Some(object) = place.store.get(&key).await? else { continue };
        let loaded = load(engine, &name, object.bytes.clone()).await;
        let problem = match &loaded {
            Ok(plugin) => misfit(store, plugin).await?,
            Err(problem) => Some(problem.clone()),
        };
        let sha256 = match &loaded {
            Ok(plugin) => plugin.sha256().to_owned(),
            Err(_) => sha256(&object.bytes),
        };
        found.push((name, sha256, loaded.ok(), problem));
    }
    if found.is_empty() {
        return Err(PipelineError::NoPlugins { location: place.store.location(place.prefix) });
    }
    refuse_shared_tables(&mut found);
    let mut set = ActiveSet { plugins: Vec::new(), reports: Vec::new(), seen: Vec::new() };
    for (name, sha256, loaded, problem) in found {
        set.seen.extend(loaded.clone());
        let (status, plugin) = match (problem.as_ref(), loaded) {
            (None, Some(plugin)) => (PluginStatus::Active, Some(plugin)),
            (Some(problem), _) if problem.message.contains(SHARED) => (PluginStatus::Refused, None),
            _ => match fallback(store, engine, &name, &sha256, &set).await? {
                Some(plugin) => (PluginStatus::Fallback, Some(plugin)),
                None => (PluginStatus::Refused, None),
            },
        };
        let ran = plugin.as_ref();
        set.reports.push(PluginReport {
            name,
            status,
            version: ran.map(|plugin| plugin.version().to_owned()),
            sha256: ran.map_or(sha256, |plugin| plugin.sha256().to_owned()),
            tables: ran.map_or(Vec::new(), |plugin| table_names(plugin)),
            problem,
        });
        if let Some(plugin) = plugin {
            let targets = targets(store, &plugin).await?;
            set.plugins.push(ActivePlugin { plugin, targets });
        }
    }
    Ok(set)
}

/// The names and keys of what lies among the plugins.
///
/// # Errors
///
/// If the store fails.
pub async fn active_keys(place: PluginPlace<'_>) -> Result<Vec<(String, String)>, StoreError> {
    let listed = list_all(place.store, place.prefix).await?;
    let name = |key: &str| {
        let rest = key.strip_prefix(place.prefix)?;
        match format!("{}{rest}", layout::PLUGINS).parse() {
            Ok(Key::Plugin { name }) => Some((name, key.to_owned())),
            _ => None,
        }
    };
    Ok(listed.iter().filter_map(|listed| name(&listed.key)).collect())
}

/// Keeps a version in history, with when it was seen and who brought it.
///
/// # Errors
///
/// If the store fails.
pub async fn remember(
    store: &dyn Store,
    place: PluginPlace<'_>,
    plugin: &Plugin,
    by: &str,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let (name, sha256) = (plugin.name().to_owned(), plugin.sha256().to_owned());
    let record = HistoryRecord {
        name: name.clone(),
        version: plugin.version().to_owned(),
        sha256: sha256.clone(),
        seen_at: now.format(&Rfc3339).unwrap_or_default(),
        by: by.to_owned(),
    };
    let active = format!("{}{name}.wasm", place.prefix);
    let kept = Key::History { name: name.clone(), sha256: sha256.clone() }.to_string();
    if let Some(object) = place.store.get(&active).await?
        && crate::document::sha256(&object.bytes) == sha256
    {
        store.put_new(&kept, &object.bytes).await?;
        let key = Key::HistoryRecord { name, sha256 }.to_string();
        store.put_new(&key, &pretty(&record)).await?;
    }
    Ok(())
}

/// Loads a plugin, away from what must not block.
pub(super) async fn load(
    engine: &Arc<Engine>,
    name: &str,
    bytes: Vec<u8>,
) -> Result<Arc<Plugin>, Problem> {
    let (engine, owned) = (engine.clone(), name.to_owned());
    match tokio::task::spawn_blocking(move || engine.load(&owned, &bytes)).await {
        Ok(Ok(plugin)) => Ok(Arc::new(plugin)),
        Ok(Err(refusal)) => Err(Problem::of_plugin(name, format!("is refused: {refusal}"))),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

type Found = (String, String, Option<Arc<Plugin>>, Option<Problem>);

const SHARED: &str = "one table has one plugin";

/// Nobody can say which of two plugins a table should be filled by, so neither does.
fn refuse_shared_tables(found: &mut [Found]) {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, _, plugin, _) in found.iter() {
        for table in plugin.iter().flat_map(|plugin| plugin.tables()) {
            owners.entry(table.name.clone()).or_default().push(name.clone());
        }
    }
    for (table, names) in owners.iter().filter(|(_, names)| names.len() > 1) {
        let both = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
        for (name, _, _, problem) in found.iter_mut().filter(|found| names.contains(&found.0)) {
            let message = format!(
                "is refused: table `{table}` is declared by {both}, and {SHARED} (take all but one of them away)"
            );
            *problem = Some(Problem::of_plugin(name, message));
        }
    }
}

/// The newest version in history that loads and fits, other than the one that was refused.
async fn fallback(
    store: &dyn Store,
    engine: &Arc<Engine>,
    name: &str,
    refused: &str,
    set: &ActiveSet,
) -> Result<Option<Arc<Plugin>>, PipelineError> {
    let prefix = format!("{}{name}/", layout::HISTORY);
    let mut records: Vec<HistoryRecord> = Vec::new();
    for listed in list_all(store, &prefix).await? {
        if let Ok(Key::HistoryRecord { .. }) = listed.key.parse()
            && let Some(object) = store.get(&listed.key).await?
        {
            records.extend(serde_json::from_slice::<HistoryRecord>(&object.bytes).ok());
        }
    }
    records.retain(|record| record.sha256 != refused);
    records.sort_by(|one, other| other.seen_at.cmp(&one.seen_at));
    let taken: Vec<String> =
        set.plugins.iter().flat_map(|active| table_names(&active.plugin)).collect();
    for HistoryRecord { sha256, .. } in records {
        let key = Key::History { name: name.to_owned(), sha256: sha256.clone() }.to_string();
        let Some(object) = store.get(&key).await? else { continue };
        if crate::document::sha256(&object.bytes) != sha256 {
            continue;
        }
        let Ok(plugin) = load(engine, name, object.bytes).await else { continue };
        let free = table_names(&plugin).iter().all(|table| !taken.contains(table));
        if free && misfit(store, &plugin).await?.is_none() {
            return Ok(Some(plugin));
        }
    }
    Ok(None)
}

fn table_names(plugin: &Plugin) -> Vec<String> {
    plugin.tables().iter().map(|table| table.name.clone()).collect()
}

/// Why a plugin can't fill its tables as they are, if it can't.
async fn misfit(store: &dyn Store, plugin: &Plugin) -> Result<Option<Problem>, PipelineError> {
    for table in plugin.tables() {
        let key = Key::TableRecord { table: table.name.clone() }.to_string();
        if let Some(object) = store.get(&key).await?
            && let Err(problem) = compare(&parse_record(store, &key, &object.bytes)?, table, plugin)
        {
            return Ok(Some(problem));
        }
    }
    Ok(None)
}

fn parse_record(store: &dyn Store, key: &str, bytes: &[u8]) -> Result<TableRecord, PipelineError> {
    let location = || store.location(key);
    let record: TableRecord = serde_json::from_slice(bytes)
        .map_err(|source| PipelineError::Record { location: location(), source })?;
    if record.format != FORMAT {
        return Err(PipelineError::RecordFormat { location: location(), found: record.format });
    }
    Ok(record)
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
                 Declared: {table} (append nullable columns only, or declare a table of another \
                 name)",
                differences.join(", "),
                record.schema
            );
            Err(Problem::of_plugin(plugin.name(), message))
        }
        fit => Ok(fit),
    }
}

/// Writes the records of a plugin's tables where it adds tables, columns or descriptions.
async fn extend_records(
    store: &dyn Store,
    plugin: &Plugin,
) -> Result<Result<(), Problem>, PipelineError> {
    for table in plugin.tables() {
        let key = Key::TableRecord { table: table.name.clone() }.to_string();
        let mut problem = None;
        update(store, &key, |current| {
            let Some(bytes) = current else { return Ok(Some(pretty(&new_record(plugin, table)))) };
            let mut record = parse_record(store, &key, bytes)?;
            match compare(&record, table, plugin) {
                Ok(Fit::Appends | Fit::Equal) if record.schema != *table => {
                    record.schema = table.clone();
                    Ok(Some(pretty(&record)))
                }
                Ok(_) => Ok(None),
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

fn new_record(plugin: &Plugin, table: &TableSchema) -> TableRecord {
    TableRecord {
        format: FORMAT,
        owner: plugin.name().to_owned(),
        generation: 1,
        formats: vec![Format::Csv],
        schema: table.clone(),
    }
}

/// Where a plugin's rows go, as the records have it now.
async fn targets(store: &dyn Store, plugin: &Plugin) -> Result<Vec<Target>, PipelineError> {
    let mut targets = Vec::new();
    for table in plugin.tables() {
        let key = Key::TableRecord { table: table.name.clone() }.to_string();
        let record = match store.get(&key).await? {
            Some(object) => parse_record(store, &key, &object.bytes)?,
            None => new_record(plugin, table),
        };
        let known = table.columns.len().min(record.schema.columns.len());
        targets.push(Target {
            generation: record.generation,
            formats: record.formats,
            missing: record.schema.columns[known..].to_vec(),
        });
    }
    Ok(targets)
}

fn pretty<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
