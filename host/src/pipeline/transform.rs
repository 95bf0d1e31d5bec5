//! One document: its rows to the tables, then its move. The move is the commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::resume_unwind,
    sync::Arc,
    thread::{self, ScopedJoinHandle},
    time::Instant,
};

use time::OffsetDateTime;
use tracing::{Instrument, Span};

use super::{
    active::ActivePlugin,
    jobs::{Jobs, Undone},
    landing::came_before,
    lineage::{Lineage, Maker, TableFile},
    moves::{commit, leave, put_aside, read_listed, read_twice, why_lost},
    records::Target,
    report::{
        Action, DocumentReport, DocumentStatus, Empty, Problem, ProblemKind, SkipReport,
        TableReport, incomplete,
    },
    table_files::{PluginFiles, TableWriter},
    tried::{Tried, judge},
};
use crate::{
    config::{FILES_OF_DOCUMENT, HOST_VERSION, Limits},
    document::{Document, DocumentId, FutureTimes, Refused, sha256},
    layout::{Format, Key, Stage},
    plugin::Plugin,
    projection::Projection,
    room::Part,
    sources::{self, Identity, Origin, Read},
    store::{Listed, Object, Store, StoreError},
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
    /// The current time.
    pub now: OffsetDateTime,
    /// Whether files that are no stored documents may have a time in the future.
    pub future: FutureTimes,
    /// What happens to a document of which no entry gives a row.
    pub empty: Empty,
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
    if listed.size > limits.document_bytes {
        let error = Refused::TooLarge { max: limits.document_bytes };
        report.problems.push(Problem::new(Action::Document, error));
        return Ok(());
    }
    let _room = workshop.jobs.room(listed.size).await;
    let Ok(key) = listed.key.parse::<Key>() else { return Ok(()) };
    let read = match key {
        // It has no checksum of its own.
        Key::Foreign { .. } => read_twice(store, listed).await?,
        _ => read_listed(store, listed).await?,
    };
    let Some(object) = read else {
        report.status = DocumentStatus::Gone;
        report.problems.extend(why_lost(store, &key).await?);
        return Ok(());
    };
    let Worked { document, identity, results, room: _files_room } =
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
    report.warnings.extend(identity.assumptions().map(str::to_owned));
    if document.complete() == Some(false) {
        report.warnings.push(incomplete(document.entries(), document.total()));
    }
    if matches!(key, Key::Foreign { .. })
        && let Err(refused) = document.check_time(workshop.now, workshop.future)
    {
        report.problems.push(Problem::new(Action::Document, refused));
        return Ok(());
    }
    if identity.time.assumption().is_some()
        && matches!(key, Key::Foreign { .. })
        && let Some(there) = came_before(store, &document).await?
    {
        return leave(store, &key, &object, DocumentStatus::Known, &there, report).await;
    }
    let made = sort_results(results, limits, report);
    let writer = TableWriter { store, document: document.id() };
    let recorded = match key {
        Key::Raw { stage: Stage::Processed, .. } => writer.replace(made.files, &[], None).await?,
        _ => writer.create(made.files).await?,
    };
    report_stored(made.reports, recorded.failed, report);
    outcome.lineage = recorded.lineage.map(|lineage| (document.id().clone(), lineage));
    report.problems.extend(why_not_whole(workshop, report));
    if report.problems.is_empty() {
        commit(store, &key, &object, &document, report).await?;
    }
    Ok(())
}

/// Says that no entry gave a row, and which were skipped. The document is not committed: it is no snapshot of its
/// playlist until a plugin reads it or a person accepts it.
fn no_rows(report: &DocumentReport) -> Problem {
    let skipped = match report.skipped.values().sum() {
        0 => "none skipped".to_owned(),
        count => format!("{count} skipped: {}", report.skipped_by_reason()),
    };
    let (entries, key) = (report.entries, &report.key);
    let document = report.document.as_ref().unwrap_or(key);
    let message = format!(
        "no entry gave a row: {entries} {}, {skipped} (delete the document: spotify-etl delete {document}; or accept it: spotify-etl transform --allow-empty {key})",
        if entries == 1 { "entry" } else { "entries" },
    );
    Problem { kind: Some(ProblemKind::NoRows), ..Problem::new(Action::Document, message) }
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
    } else if workshop.empty == Empty::Fails && report.has_no_rows() {
        return Some(no_rows(report));
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
    /// Where its playlist and time come from.
    pub identity: Identity,
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
    let (path, modified, bytes) = (key.raw_path(), object.modified, object.bytes.clone());
    let at_once = if bytes.len() >= LARGE_BYTES { jobs.count() } else { 1 };
    jobs.run(move || {
        let origin = Origin::of(&path, modified);
        let Read { document, identity, .. } = sources::read_again(&bytes, &origin, &limits)?;
        let cut = crew.projection.cut(document.arranged_pages());
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
        Ok(Worked { document, identity, results, room })
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
        etag: None,
        plugin: Maker::from(plugin),
        host_version: HOST_VERSION.to_owned(),
    }
}

/// The files that plugins made.
fn made(results: &[ByPlugin]) -> impl Iterator<Item = &TableFile> {
    let tables = results.iter().filter_map(|(_, result)| match result {
        Ok(Made::Tables { tables, .. }) => Some(tables),
        _ => None,
    });
    tables.flatten().flat_map(|rows| rows.files.iter().map(|(file, _)| file))
}

/// What plugins made of a document, apart from what is in the report already.
pub struct Sorted {
    /// The files of each plugin that made some.
    pub files: Vec<PluginFiles>,
    /// What the report says of the tables of each of these plugins, by name.
    pub reports: Vec<(String, Vec<TableReport>)>,
}

/// Sorts the results of all plugins: problems, skipped entries and plugins that the document is not for go
/// to the report, files to the store.
pub fn sort_results(
    results: Vec<ByPlugin>,
    limits: &Limits,
    report: &mut DocumentReport,
) -> Sorted {
    let mut sorted = Sorted { files: Vec::new(), reports: Vec::new() };
    let mut skipped = BTreeSet::new();
    for (active, result) in results {
        let plugin = active.plugin.name().to_owned();
        match result {
            Ok(Made::Tables { tables, skips }) => {
                skipped.extend(skips);
                let (mut files, mut reports) = (Vec::new(), Vec::new());
                for rows in tables {
                    files.extend(rows.files);
                    reports.push(rows.report);
                }
                sorted.files.push(PluginFiles { plugin: plugin.clone(), files });
                sorted.reports.push((plugin, reports));
            }
            Ok(Made::Unsupported) => report.unsupported.push(plugin),
            Err(problem) => report.problems.push(problem),
        }
    }
    // Plugins that walk the entries alike skip the same ones.
    for skip in &skipped {
        *report.skipped.entry(skip.reason.clone()).or_default() += 1;
    }
    let shown = usize::try_from(limits.skips_kept).unwrap_or(usize::MAX);
    report.skips = skipped.into_iter().take(shown).collect();
    sorted
}

/// Says in the report which tables are stored, and why those of other plugins are not.
pub fn report_stored(
    reports: Vec<(String, Vec<TableReport>)>,
    failed: Vec<(String, StoreError)>,
    report: &mut DocumentReport,
) {
    let is_stored = |plugin: &str| failed.iter().all(|(name, _)| name != plugin);
    let stored = reports.into_iter().filter(|(plugin, _)| is_stored(plugin));
    report.tables.extend(stored.flat_map(|(_, tables)| tables));
    let problems = failed.into_iter().map(|(_, error)| Problem::new(Action::Retry, error));
    report.problems.extend(problems);
}

/// Says in the report which document it is.
pub fn describe(report: &mut DocumentReport, document: &Document) {
    report.document = Some(document.id().to_string());
    report.playlist_name = document.playlist_name().map(str::to_owned);
    report.entries = document.entries();
    (report.complete, report.total) = (document.complete(), document.total());
}
