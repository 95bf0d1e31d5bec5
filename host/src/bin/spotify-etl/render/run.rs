//! What a run did.

use std::fmt::Write as _;

use spotify_etl::{
    pipeline::{
        report::{
            DocumentReport, DocumentStatus, ExtractReport, ExtractStatus, ImportReport,
            ImportStatus, PluginReport, PluginStatus, ReplayReport, RunReport, incomplete,
        },
        totals::TableTotals,
    },
    remedy::quoted,
    sources::Identity,
};

use super::{
    LINES_MAX, counted, delete::deletion, one_line, plain_table, plugin::published, right, rows,
    trimmed,
};

/// So many documents are shown one by one; of more than that, the tables in total, and only those
/// that somebody should look at.
const SHOWN_WHOLE_MAX: usize = 5;
/// How many files are named of which something is assumed.
const NOTES_MAX: usize = 5;

/// The summary of a run, whose report is kept somewhere.
pub fn run(report: &RunReport, kept_at: Option<&str>) -> String {
    let mut text = String::new();
    extracts(&mut text, &report.extracts);
    imports(&mut text, report);
    plugins(&mut text, &report.plugins);
    for problem in &report.problems {
        let _ = writeln!(text, "✗ {problem}\n");
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "! {warning}\n");
    }
    if let Some(report) = &report.published {
        published(&mut text, report);
    }
    if let Some(replayed) = &report.replay {
        replay(&mut text, replayed, &report.store);
    }
    let documents = &report.totals.documents;
    if let Some(deleted) = &report.deleted {
        deletion(&mut text, report, deleted);
    } else if documents.count <= SHOWN_WHOLE_MAX {
        for document in &report.documents {
            document_whole(&mut text, document, &report.store);
        }
    } else {
        documents_in_total(&mut text, report);
    }
    let done = match (report.exit_status, documents.count == 0) {
        (0, true) if matches!(report.command.as_str(), "run" | "transform") => "nothing to do",
        (0, true) => "done",
        (0, false) => "all done",
        _ => "not all done",
    };
    let seconds = report.milliseconds as f64 / 1000.0;
    let _ = write!(text, "{done} in {seconds:.2} s");
    if let Some(location) = kept_at {
        let _ = write!(text, "; the report is {location}");
        pages(&mut text, report, location);
    }
    text
}

fn extracts(text: &mut String, extracts: &[ExtractReport]) {
    for extract in extracts {
        let mark = if extract.problem.is_some() { "✗" } else { "✓" };
        let became = match (extract.status, &extract.problem) {
            (_, Some(problem)) => problem.to_string(),
            (ExtractStatus::Done, None) => "landed already since it was planned".to_owned(),
            (ExtractStatus::Unchanged, None) => "unchanged since it was landed last".to_owned(),
            (status, None) => {
                let count = |count: Option<usize>, one: &str, more: &str| match count {
                    Some(1) => format!("1 {one}"),
                    count => format!("{} {more}", count.unwrap_or_default()),
                };
                let entries = count(extract.entries, "entry", "entries");
                let pages = count(extract.pages, "page", "pages");
                let already = if status == ExtractStatus::Landed {
                    ""
                } else {
                    " before, in the same second"
                };
                format!("{entries} in {pages}, landed{already}")
            }
        };
        let id = &extract.playlist_id;
        let title = match extract.playlist_name.as_deref().or(extract.label.as_deref()) {
            Some(name) => format!("{} ({id})", one_line(name)),
            None => id.clone(),
        };
        let _ = writeln!(text, "{mark} {title}: {became}");
        for warning in &extract.warnings {
            let _ = writeln!(text, "  ! {warning}");
        }
    }
    if !extracts.is_empty() {
        text.push('\n');
    }
}

/// Says where the documents and imports are that a report doesn't list.
fn pages(text: &mut String, report: &RunReport, location: &str) {
    if report.pages.is_empty() {
        return;
    }
    let (count, pages) = (report.count_on_pages(), counted(report.pages.len(), "page"));
    let folder = location.strip_suffix(".json").unwrap_or(location);
    let _ = write!(text, ", and {count} more details are on {pages} in {folder}/");
}

fn imports(text: &mut String, report: &RunReport) {
    let totals = &report.totals.imports;
    if totals.count == 0 {
        return;
    }
    let parts: Vec<String> = [
        (ImportStatus::Landed, "brought in"),
        (ImportStatus::Waiting, "there already, waiting"),
        (ImportStatus::Processed, "there already, with their tables"),
        (ImportStatus::Joined, "joined to the page before"),
        (ImportStatus::Refused, "rejected"),
        (ImportStatus::Unclear, "not imported"),
    ]
    .into_iter()
    .filter(|(status, _)| totals.with_status(*status) > 0)
    .map(|(status, words)| format!("{} {words}", totals.with_status(status)))
    .collect();
    let files = if totals.files == 1 { "file" } else { "files" };
    let _ = writeln!(text, "{} {files}: {}", totals.files, parts.join(", "));
    let refused = report.imports.iter().filter(|import| import.problem.is_some());
    for import in refused.take(LINES_MAX) {
        if let Some(problem) = &import.problem {
            let _ = writeln!(text, "  ✗ {}: {problem}", shown_source(&import.source));
        }
    }
    more(text, totals.problem_count());
    notes(text, &report.imports);
    text.push('\n');
}

/// Says what is assumed of files, and which hold only a part of a playlist.
fn notes(text: &mut String, imports: &[ImportReport]) {
    let noted = imports.iter().filter_map(|import| {
        let notes: Vec<String> = import_notes(import).collect();
        (!notes.is_empty()).then(|| (&import.source, notes.join(", ")))
    });
    let noted: Vec<_> = noted.collect();
    for (source, notes) in noted.iter().take(NOTES_MAX) {
        let _ = writeln!(text, "  ! {}: {notes}", shown_source(source));
    }
    if noted.len() > NOTES_MAX {
        let more = noted.len() - NOTES_MAX;
        let _ = writeln!(text, "  ! and {more} more such files (--json lists them)");
    }
}

/// Returns what is assumed of a file, and whether it is a part of a playlist.
fn import_notes(import: &ImportReport) -> impl Iterator<Item = String> {
    let assumed = import.identity.into_iter().flat_map(Identity::assumptions);
    let part = match import.complete {
        Some(false) => Some(incomplete(import.entries.unwrap_or_default(), import.total)),
        _ => None,
    };
    assumed.map(str::to_owned).chain(part)
}

fn replay(text: &mut String, replay: &ReplayReport, store: &str) {
    let ReplayReport { documents, documents_equal, documents_rewritten, .. } = replay;
    if replay.documents_queued > 0 {
        let documents = counted(replay.documents_queued, "document");
        let _ =
            writeln!(text, "{documents} sent to the queue; the function's runs report on them\n");
        return;
    }
    let would = if replay.dry_run { "would change" } else { "changed" };
    let _ = writeln!(
        text,
        "{}: {documents_rewritten} {would} ({}), {documents_equal} were as they should be, {} failed",
        counted(*documents, "document"),
        counted(replay.files_written, "file"),
        replay.documents_failed,
    );
    if !replay.files_by_table.is_empty() {
        let tables = replay.files_by_table.iter();
        let tables: Vec<_> = tables.map(|(table, files)| format!("{table} {files}")).collect();
        let _ = writeln!(text, "  files by table: {}", tables.join(", "));
    }
    if replay.files_equal > 0 {
        let files = counted(replay.files_equal, "file");
        let _ = writeln!(text, "  made again and the same as before: {files}");
    }
    for sentence in &replay.switched {
        let _ = writeln!(text, "✓ {sentence}");
    }
    if !replay.switched.is_empty() && store.starts_with("s3://") {
        let store = quoted(store.trim_end_matches('/'));
        let _ =
            writeln!(text, "  where Athena has them: spotify-etl catalog apply --store {store}");
    }
    if let Some(sentence) = &replay.stopped {
        let _ = writeln!(text, "✗ {sentence}");
    }
    if replay.dry_run {
        let _ = writeln!(text, "nothing was written");
    }
    text.push('\n');
}

fn more(text: &mut String, count: usize) {
    if count > LINES_MAX {
        let _ = writeln!(text, "    ... and {} more, in the report", count - LINES_MAX);
    }
}

fn shown_source(source: &str) -> &str {
    if source == "-" { "standard input" } else { source }
}

fn plugins(text: &mut String, plugins: &[PluginReport]) {
    let mut any = false;
    for plugin in plugins {
        let Some(problem) = &plugin.problem else { continue };
        any = true;
        let _ = writeln!(text, "✗ {problem}");
        if plugin.status == PluginStatus::Fallback {
            let version = plugin.version.as_deref().unwrap_or("an older one");
            let _ = writeln!(text, "  version {version} from its history stood in for it");
        }
    }
    if any {
        text.push('\n');
    }
}

fn title(document: &DocumentReport) -> String {
    let name = one_line(document.playlist_name.as_deref().unwrap_or_default());
    let id = document.document.as_deref().unwrap_or(&document.key);
    if name.is_empty() { id.to_owned() } else { format!("{name} ({id})") }
}

fn mark(document: &DocumentReport) -> &'static str {
    if document.problems.is_empty() { "✓" } else { "✗" }
}

fn became(document: &DocumentReport) -> String {
    match document.status {
        DocumentStatus::Stored => match document.entries {
            1 => "1 entry".to_owned(),
            entries => format!("{entries} entries"),
        },
        DocumentStatus::Waiting => "stays where it is".to_owned(),
        DocumentStatus::Failed => {
            format!("put aside as {}", document.now_at.as_deref().unwrap_or("failed"))
        }
        DocumentStatus::Known => "there already under another time; the copy is gone".to_owned(),
        DocumentStatus::Gone if document.problems.is_empty() => {
            "taken by another run meanwhile".to_owned()
        }
        DocumentStatus::Gone => "not there".to_owned(),
        DocumentStatus::Deleted => "deleted".to_owned(),
        DocumentStatus::WouldDelete => "would be deleted".to_owned(),
        DocumentStatus::NotDeleted => "not deleted".to_owned(),
    }
}

fn document_whole(text: &mut String, document: &DocumentReport, store: &str) {
    let _ = writeln!(text, "{} {}: {}", mark(document), title(document), became(document));
    let mut table = plain_table();
    for file in &document.tables {
        // The files are named for the document, which the line above names.
        let folder = file.key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let also = if file.also_at.is_empty() { "" } else { " and as Parquet" };
        table.add_row([
            format!("  {}", file.table),
            rows(file.rows),
            format!("in {store}{folder}/{also}"),
        ]);
    }
    right(&mut table, 1);
    if !document.tables.is_empty() {
        let _ = writeln!(text, "{}", trimmed(&table));
    }
    remarks(text, document);
    text.push('\n');
}

fn remarks(text: &mut String, document: &DocumentReport) {
    if !document.skipped.is_empty() {
        let _ = writeln!(text, "  skipped: {}", document.skipped_by_reason());
    }
    let breaks: u64 = document.tables.iter().map(|table| table.line_breaks_replaced).sum();
    if breaks > 0 {
        let _ = writeln!(text, "  line breaks made spaces in {breaks} values");
    }
    for plugin in &document.unsupported {
        let _ = writeln!(text, "  not for plugin `{plugin}`");
    }
    for warning in &document.warnings {
        let _ = writeln!(text, "  ! {warning}");
    }
    if document.is_empty() && document.problems.is_empty() {
        text.push_str("  no entry gave a row; accepted\n");
    }
    for problem in &document.problems {
        let _ = writeln!(text, "  ✗ {problem}");
    }
}

fn documents_in_total(text: &mut String, report: &RunReport) {
    let (totals, store) = (&report.totals.documents, &report.store);
    let stored = totals.with_status(DocumentStatus::Stored);
    let _ =
        writeln!(text, "{stored} of {} documents stored, {} entries", totals.count, totals.entries);
    let mut table = plain_table();
    for (name, TableTotals { rows: count, files, folder, .. }) in &totals.tables {
        let place = format!("{store}{folder}");
        table.add_row([format!("  {name}"), rows(*count), format!("{files} files in {place}")]);
    }
    right(&mut table, 1);
    let _ = writeln!(text, "{}", trimmed(&table));
    if !totals.skipped.is_empty() {
        let reasons: Vec<_> =
            totals.skipped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let _ = writeln!(text, "  skipped: {}", reasons.join(", "));
    }
    text.push('\n');
    let odd = |document: &&DocumentReport| {
        !document.problems.is_empty() || !document.warnings.is_empty() || document.is_empty()
    };
    for document in report.documents.iter().filter(odd).take(LINES_MAX) {
        let _ = writeln!(text, "{} {}: {}", mark(document), title(document), became(document));
        remarks(text, document);
    }
    more(text, totals.remarkable);
    if totals.remarkable > 0 {
        text.push('\n');
    }
}

/// What an import would bring in.
pub fn dry_run(imports: &[ImportReport], warnings: &[String]) -> String {
    let mut table = plain_table();
    table.set_header(["file", "playlist", "read at", "items", "becomes"]);
    for import in imports {
        let complete = match (import.complete, import.total) {
            (Some(false), Some(total)) => format!(" of {total}"),
            (Some(false), None) => " (incomplete)".to_owned(),
            _ => String::new(),
        };
        let becomes = match (&import.problem, import.status) {
            (Some(problem), _) => format!("✗ {problem}"),
            (None, ImportStatus::Waiting) => "there already, waiting".to_owned(),
            (None, ImportStatus::Processed) => "there already, with its tables".to_owned(),
            (None, ImportStatus::Joined) => {
                format!("a part of {}", import.document.as_deref().unwrap_or_default())
            }
            (None, ImportStatus::Unclear) => "not imported".to_owned(),
            (None, _) => import.document.clone().unwrap_or_default(),
        };
        let notes: Vec<String> = import_notes(import).map(|note| format!("! {note}")).collect();
        let becomes = std::iter::once(becomes).chain(notes).collect::<Vec<_>>().join("\n");
        let name = import.playlist_name.as_deref().map(|name| format!(" ({})", one_line(name)));
        table.add_row([
            shown_source(&import.source).to_owned(),
            import.playlist_id.clone().unwrap_or_default() + &name.unwrap_or_default(),
            import.extracted_at.clone().unwrap_or_default(),
            import.entries.map(|entries| format!("{entries}{complete}")).unwrap_or_default(),
            becomes,
        ]);
    }
    right(&mut table, 3);
    let mut text = format!("{}\n", trimmed(&table));
    for warning in warnings {
        let _ = writeln!(text, "! {warning}");
    }
    text + "nothing was written"
}
