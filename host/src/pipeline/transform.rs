//! One document: its rows to the tables, then its move. The move is the commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    sync::Arc,
    thread::{self, ScopedJoinHandle},
    time::Instant,
};

use futures_util::future::join_all;
use tracing::{Instrument, Span};

use super::{
    active::ActivePlugin,
    jobs::{Jobs, Undone},
    landing::{Standing, came_before, compare},
    lineage::{Lineage, Maker, TableFile},
    records::Target,
    report::{Action, DocumentReport, DocumentStatus, Problem, SkipReport, TableReport},
    tried::{Tried, judge},
};
use crate::{
    config::{FILES_OF_DOCUMENT, HOST_VERSION, Limits},
    document::{Document, DocumentId, Origin, Refused, TimeSource, sha256},
    layout::{Format, Key, Stage, table_folder},
    plugin::Plugin,
    projection::Projection,
    room::Part,
    store::{Created, Listed, Object, Store, StoreError, list_all, update},
    table::{MadeBy, Table, WriteError, write},
};

/// What all documents of a run have in common.
pub struct Workshop<'s> {
    /// The store.
    pub store: &'s dyn Store,
    /// The plugins.
    pub crew: Arc<Crew>,
    /// The plugins that should take part and can't.
    pub refused: Vec<String>,
    /// The limits.
    pub limits: Limits,
    /// Who works on them.
    pub jobs: Jobs,
}

/// Plugins that look at a document together.
pub struct Crew {
    /// The plugins.
    pub plugins: Vec<ActivePlugin>,
    /// What each of them reads.
    projection: Projection,
}

impl Crew {
    /// Plugins, in their order.
    pub fn of(plugins: Vec<ActivePlugin>) -> Self {
        let projection = Projection::of(plugins.iter().map(|active| active.plugin.reads()));
        Crew { plugins, projection }
    }
}

/// What became of a document, and what its table files were made of.
pub struct Outcome {
    /// For the report.
    pub report: DocumentReport,
    /// The lineage, if tables were stored.
    pub lineage: Option<(DocumentId, Lineage)>,
}

/// Takes a document to its tables.
pub async fn transform(workshop: &Workshop<'_>, listed: &Listed) -> Outcome {
    let mut outcome = Outcome { report: DocumentReport::new(listed.key.clone()), lineage: None };
    let span = tracing::info_span!("document", key = listed.key);
    if let Err(error) = steps(workshop, listed, &mut outcome).instrument(span).await {
        outcome.report.problems.push(Problem::new(Action::Retry, error));
    }
    outcome
}

/// Leaves a document for the next run, as there is no time for it in this one.
pub fn not_begun(listed: &Listed) -> Outcome {
    let mut report = DocumentReport::new(listed.key.clone());
    report.problems.push(Undone::NoTime.problem());
    Outcome { report, lineage: None }
}

async fn steps(
    workshop: &Workshop<'_>,
    listed: &Listed,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    let (store, limits, report) = (workshop.store, &workshop.limits, &mut outcome.report);
    let max = limits.document_bytes;
    if listed.size > max {
        let error = Refused::TooLarge { max };
        report.problems.push(Problem::new(Action::Document, error));
        return Ok(());
    }
    let _room = workshop.jobs.room(listed.size).await;
    let Some(object) = store.get(&listed.key).await? else {
        report.status = DocumentStatus::Gone;
        return Ok(());
    };
    let Ok(key) = listed.key.parse::<Key>() else { return Ok(()) };
    let Worked { document, time, results, room: _files_room } =
        match work(workshop.crew.clone(), &workshop.jobs, limits, &key, &object).await {
            Ok(worked) => worked,
            Err(Undone::Refused(refused)) => {
                return put_aside(store, &key, &object, refused, report).await;
            }
            Err(undone) => {
                report.problems.push(undone.problem());
                return Ok(());
            }
        };
    describe(report, &document);
    if time == TimeSource::Assumed
        && matches!(key, Key::Foreign { .. })
        && let Some(there) = came_before(store, &document).await?
    {
        return leave(store, &key, &object, DocumentStatus::Known, &there, report).await;
    }
    if matches!(key, Key::Raw { stage: Stage::Processed, .. }) {
        // Before a file is another one, nothing says any more what it was made of.
        let keys: Vec<String> = made(&results).map(|file| file.key.clone()).collect();
        change_lineage(store, document.id(), &[], &keys).await?;
    }
    let files = store_tables(Some(store), results, &There::new(), limits, report).await;
    if !files.is_empty() {
        let lineage = keep_lineage(store, document.id(), files).await?;
        outcome.lineage = Some((document.id().clone(), lineage));
    }
    report.problems.extend(why_not_whole(workshop, report));
    if report.problems.is_empty() {
        commit(store, &key, &object, &document, report).await?;
    }
    Ok(())
}

/// Why a document that no plugin failed on is not done all the same.
fn why_not_whole(workshop: &Workshop<'_>, report: &DocumentReport) -> Option<Problem> {
    let message = if !report.problems.is_empty() {
        return None;
    } else if workshop.crew.plugins.is_empty() {
        "stays where it is, since no plugin can be used".to_owned()
    } else if !workshop.refused.is_empty() {
        let names = workshop.refused.join("`, `");
        format!("stays where it is until `{names}` can be used; what the others made is stored")
    } else if report.unsupported.len() == workshop.crew.plugins.len() {
        "stays where it is, since every plugin says that it is not for it".to_owned()
    } else {
        return None;
    };
    Some(Problem::new(Action::Plugin, message))
}

/// What one plugin made of a document.
pub type ByPlugin = (ActivePlugin, Result<Made, Problem>);

/// Rows that are ready to be stored, or none since the document is not for the plugin.
pub enum Made {
    /// Rows.
    Tables {
        /// Those of each table.
        tables: Vec<Rows>,
        /// The entries that were passed over.
        skips: Vec<SkipReport>,
    },
    /// None.
    Unsupported,
}

/// The rows of a table, as files in each of its formats.
pub struct Rows {
    report: TableReport,
    files: Vec<(TableFile, Vec<u8>)>,
}

/// From this size on plugins look at a document side by side, as there are hardly as many others to look at
/// meanwhile.
const LARGE_BYTES: usize = 4 << 20;

/// A document that was worked on.
pub struct Worked {
    /// The document.
    pub document: Document,
    /// What its time is taken from.
    pub time: TimeSource,
    /// What each plugin made of it.
    pub results: Vec<ByPlugin>,
    /// The room that its table files take until they are stored.
    pub room: Option<Part>,
}

/// All that takes time and touches nothing: reading, the plugins, checking, encoding. A thread that is done
/// waits until there is room for its table files beside those that are not stored yet.
///
/// # Errors
///
/// What is wrong with the document, or that it is too late for it.
pub async fn work(
    crew: Arc<Crew>,
    jobs: &Jobs,
    limits: &Limits,
    key: &Key,
    object: &Object,
) -> Result<Worked, Undone> {
    let limits = limits.clone();
    let (memory, until) = (jobs.memory(), jobs.end());
    let (name, modified, bytes) = (key.file_name(), object.modified, object.bytes.clone());
    let at_once = if bytes.len() >= LARGE_BYTES { jobs.count() } else { 1 };
    jobs.run(move || {
        let origin = Origin { name: &name, modified, playlist: None, extracted_at: None };
        let (document, time) = Document::read_again(&bytes, &origin, &limits)?;
        let cut = crew.projection.cut(document.pages());
        let span = Span::current();
        let bytes_max = share(limits.output_bytes, crew.plugins.len());
        let run = |(place, active): (usize, &ActivePlugin)| {
            let pages = cut.pages_for(place);
            let turn = Turn { document: &document, pages: &pages, until, bytes_max };
            let _call = memory.for_call();
            (active.clone(), span.in_scope(|| run_plugin(active, &turn, &limits)))
        };
        let plugins: Vec<_> = crew.plugins.iter().enumerate().collect();
        let groups = plugins.chunks(at_once);
        let results: Vec<_> = groups.flat_map(|group| side_by_side(group, run)).collect();
        let room = memory.for_files(made(&results).map(|file| file.bytes).sum());
        Ok(Worked { document, time, results, room })
    })
    .await
}

/// Does something with each of a few things at the same time, or by itself with the only one.
fn side_by_side<T: Copy + Send, R: Send>(all: &[T], run: impl Fn(T) -> R + Copy + Send) -> Vec<R> {
    if let [only] = all {
        return vec![run(*only)];
    }
    thread::scope(|scope| {
        let running = all.iter().copied().map(|one| scope.spawn(move || run(one)));
        let running: Vec<_> = running.collect();
        let ended = running.into_iter().map(ScopedJoinHandle::join);
        ended.map(|ended| ended.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// How many bytes of table files each of these plugins may make of a document: what one call may return,
/// or less where there are many.
fn share(output_bytes: u64, plugins: usize) -> u64 {
    let all = output_bytes.saturating_mul(FILES_OF_DOCUMENT);
    output_bytes.min(all / plugins.max(1) as u64)
}

/// What a plugin is handed.
struct Turn<'d> {
    document: &'d Document,
    pages: &'d [&'d str],
    /// When the time of the run is up.
    until: Option<Instant>,
    /// How many bytes its table files may have.
    bytes_max: u64,
}

fn run_plugin(active: &ActivePlugin, turn: &Turn<'_>, limits: &Limits) -> Result<Made, Problem> {
    let Turn { document, pages, until, bytes_max } = *turn;
    let plugin = &active.plugin;
    let (extracted, _) = plugin.extract_from(document, pages, until);
    let (tables, skips) = match judge(plugin, extracted, limits)? {
        Tried::Tables(tables, skips) => (tables, skips),
        Tried::Unsupported(why) => {
            tracing::info!(plugin = plugin.name(), "{why}");
            return Ok(Made::Unsupported);
        }
    };
    let (mut made, mut bytes_left) = (Vec::new(), bytes_max);
    for (target, table) in active.targets.iter().zip(tables) {
        let table = table.with_missing(&target.missing);
        let rows = rows(plugin, target, &table, document.id(), bytes_left)
            .map_err(|error| Problem::of_plugin(plugin.name(), error))?;
        let bytes: usize = rows.files.iter().map(|(_, bytes)| bytes.len()).sum();
        bytes_left = bytes_left.saturating_sub(bytes as u64);
        made.push(rows);
    }
    Ok(Made::Tables { tables: made, skips })
}

/// Writes the rows of a table in each of its formats.
fn rows(
    plugin: &Plugin,
    target: &Target,
    table: &Table,
    document: &DocumentId,
    bytes_max: u64,
) -> Result<Rows, WriteError> {
    let made_by = MadeBy { name: plugin.name(), sha256: plugin.sha256() };
    let mut files = Vec::new();
    let mut line_breaks_replaced = 0;
    for format in &target.formats {
        let written = write(table, document, *format, made_by, bytes_max)?;
        let key = target.file(&table.schema().name, *format, document);
        line_breaks_replaced += written.line_breaks_replaced;
        files.push((table_file(key, table, *format, &written.bytes, plugin), written.bytes));
    }
    let mut keys = files.iter().map(|(file, _)| file.key.clone());
    let report = TableReport {
        table: table.schema().name.clone(),
        plugin: plugin.name().to_owned(),
        rows: table.rows() as u64,
        keyed: !table.schema().key.is_empty(),
        key: keys.next().unwrap_or_default(),
        also_at: keys.collect(),
        line_breaks_replaced,
    };
    Ok(Rows { report, files })
}

fn table_file(
    key: String,
    table: &Table,
    format: Format,
    bytes: &[u8],
    plugin: &Plugin,
) -> TableFile {
    let nulls: BTreeMap<_, _> =
        table.nulls().map(|(column, nulls)| (column.to_owned(), nulls as u64)).collect();
    TableFile {
        key,
        table: table.schema().name.clone(),
        format,
        rows: table.rows() as u64,
        nulls,
        sha256: sha256(bytes),
        bytes: bytes.len() as u64,
        plugin: Maker::from(plugin),
        host_version: HOST_VERSION.to_owned(),
    }
}

/// The files that plugins made.
pub fn made(results: &[ByPlugin]) -> impl Iterator<Item = &TableFile> {
    let tables = results.iter().filter_map(|(_, result)| match result {
        Ok(Made::Tables { tables, .. }) => Some(tables),
        _ => None,
    });
    tables.flatten().flat_map(|rows| rows.files.iter().map(|(file, _)| file))
}

/// Table files that are in the store already: their SHA-256 by key.
pub type There = BTreeMap<String, String>;

/// Stores what the plugins made, all at once, if there is a store to write to; what is there already is
/// left as it is. A plugin whose tables can't all be stored has stored none, as far as lineage and report
/// go.
pub async fn store_tables(
    store: Option<&dyn Store>,
    results: Vec<ByPlugin>,
    there: &There,
    limits: &Limits,
    report: &mut DocumentReport,
) -> Vec<TableFile> {
    let stored = results.into_iter().map(|(active, result)| async move {
        let stored = match (&result, store) {
            (Ok(Made::Tables { tables, .. }), Some(store)) => {
                store_files(store, there, tables).await
            }
            _ => Ok(()),
        };
        (active, result, stored)
    });
    let (mut kept, mut skipped) = (Vec::new(), BTreeSet::new());
    for (active, result, stored) in join_all(stored).await {
        match (result, stored) {
            (Ok(Made::Tables { tables, skips }), stored) => {
                skipped.extend(skips);
                match stored {
                    Ok(()) => {
                        for rows in tables {
                            kept.extend(rows.files.into_iter().map(|(file, _)| file));
                            report.tables.push(rows.report);
                        }
                    }
                    Err(error) => report.problems.push(Problem::new(Action::Retry, error)),
                }
            }
            (Ok(Made::Unsupported), _) => {
                report.unsupported.push(active.plugin.name().to_owned());
            }
            (Err(problem), _) => report.problems.push(problem),
        }
    }
    // Plugins that walk the entries alike pass over the same ones.
    for skip in &skipped {
        *report.skipped.entry(skip.reason.clone()).or_default() += 1;
    }
    let shown = usize::try_from(limits.skips_kept).unwrap_or(usize::MAX);
    report.skips = skipped.into_iter().take(shown).collect();
    kept
}

async fn store_files(store: &dyn Store, there: &There, tables: &[Rows]) -> Result<(), StoreError> {
    let files = tables.iter().flat_map(|rows| &rows.files);
    let stored = files.map(|(file, bytes)| async move {
        if there.get(&file.key) == Some(&file.sha256) {
            return Ok(());
        }
        store.put(&file.key, bytes).await
    });
    // Each is begun, whatever becomes of the others.
    join_all(stored).await.into_iter().collect()
}

/// Says for a document what these files of its were made of.
pub async fn keep_lineage(
    store: &dyn Store,
    document: &DocumentId,
    files: Vec<TableFile>,
) -> Result<Lineage, StoreError> {
    let key = Key::Lineage { document: document.clone() }.to_string();
    let kept = Lineage::of(&document.to_string(), files);
    // Most often there is none yet.
    if store.put_new(&key, &kept.to_bytes()).await? == Created::New {
        return Ok(kept);
    }
    change_lineage(store, document, &kept.files, &[]).await
}

/// Says for a document what these files of its were made of, and that others are gone.
pub async fn change_lineage(
    store: &dyn Store,
    document: &DocumentId,
    files: &[TableFile],
    gone: &[String],
) -> Result<Lineage, StoreError> {
    let key = Key::Lineage { document: document.clone() }.to_string();
    let id = document.to_string();
    let mut kept = Lineage::merged(None, &id, files);
    update(store, &key, |current| {
        kept = Lineage::merged(current, &id, files);
        kept.files.retain(|file| !gone.contains(&file.key));
        let bytes = kept.to_bytes();
        let is_due = match current {
            Some(current) => current != bytes,
            None => !files.is_empty(),
        };
        Ok::<_, StoreError>(is_due.then_some(bytes))
    })
    .await?;
    Ok(kept)
}

/// All files that the tables of some plugins have: their sizes by key.
pub async fn files_of(
    store: &dyn Store,
    plugins: &[ActivePlugin],
) -> Result<BTreeMap<String, u64>, StoreError> {
    let folders = plugins.iter().flat_map(|active| {
        active.plugin.tables().iter().zip(&active.targets).flat_map(|(table, target)| {
            let folder = |format: &Format| table_folder(&table.name, target.generation, *format);
            target.formats.iter().map(folder)
        })
    });
    let mut files = BTreeMap::new();
    for folder in folders {
        let listed = list_all(store, &folder).await?;
        files.extend(listed.into_iter().map(|listed| (listed.key, listed.size)));
    }
    Ok(files)
}

/// Moves the document to where its tables say it is.
async fn commit(
    store: &dyn Store,
    key: &Key,
    object: &Object,
    document: &Document,
    report: &mut DocumentReport,
) -> Result<(), StoreError> {
    let processed = Key::Raw { stage: Stage::Processed, document: document.id().clone() };
    if *key == processed {
        report.status = DocumentStatus::Stored;
        return Ok(());
    }
    let place = processed.to_string();
    let created = match key {
        Key::Raw { document: id, .. } if id == document.id() => {
            store.copy_new(&place, &object.bytes, &key.to_string()).await?
        }
        _ => store.put_new(&place, &document.to_bytes()).await?,
    };
    if created == Created::Exists
        && let Standing::Other(why) = compare(store, &processed, document).await?
    {
        report.problems.push(Problem::new(Action::Document, why));
        return Ok(());
    }
    leave(store, key, object, DocumentStatus::Stored, &processed, report).await
}

/// Takes an object away from where it was, now that it is elsewhere.
async fn leave(
    store: &dyn Store,
    key: &Key,
    object: &Object,
    status: DocumentStatus,
    now_at: &Key,
    report: &mut DocumentReport,
) -> Result<(), StoreError> {
    let gone = store.delete_if(&key.to_string(), &object.tag()).await?;
    if !gone && store.get(&key.to_string()).await?.is_some() {
        let message = "changed while it was read (transform it again)";
        report.problems.push(Problem::new(Action::Retry, message));
        return Ok(());
    }
    let was_failed = key.to_string().starts_with(Stage::Failed.prefix());
    if was_failed && status != DocumentStatus::Failed {
        let reason = key.failed_reason().to_string();
        if let Some(object) = store.get(&reason).await? {
            store.delete_if(&reason, &object.tag()).await?;
        }
    }
    report.status = status;
    report.now_at = Some(now_at.to_string());
    Ok(())
}

/// Deals with bytes that are no document: aside with what no plugin could ever read, the rest
/// stays where it is.
async fn put_aside(
    store: &dyn Store,
    key: &Key,
    object: &Object,
    refused: Refused,
    report: &mut DocumentReport,
) -> Result<(), StoreError> {
    let problem = Problem::new(Action::Document, &refused);
    report.problems.push(problem.clone());
    let waits = key.to_string().starts_with(Stage::ToProcess.prefix());
    if !waits || !refused.is_final() {
        return Ok(());
    }
    let failed = key.failed();
    let created = store.put_new(&failed.to_string(), &object.bytes).await?;
    let there = store.get(&failed.to_string()).await?;
    if created == Created::Exists && there.is_none_or(|there| there.bytes != object.bytes) {
        let location = store.location(&failed.to_string());
        let message = format!(
            "it can't be put aside, since something else is at {location} (take that away)"
        );
        report.problems.push(Problem::new(Action::Document, message));
        return Ok(());
    }
    let reason = serde_json::json!({
        "key": key.to_string(),
        "problem": problem.message,
        "host_version": HOST_VERSION,
    });
    let mut reason = serde_json::to_vec_pretty(&reason).unwrap_or_default();
    reason.push(b'\n');
    store.put(&key.failed_reason().to_string(), &reason).await?;
    leave(store, key, object, DocumentStatus::Failed, &failed, report).await
}

/// Says in the report which document it is.
pub fn describe(report: &mut DocumentReport, document: &Document) {
    report.document = Some(document.id().to_string());
    report.playlist_name = document.playlist_name().map(str::to_owned);
    report.entries = document.entries();
}
