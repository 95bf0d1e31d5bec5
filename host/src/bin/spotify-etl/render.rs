//! Reports as text, for people.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
};

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use spotify_etl::{
    config::{Bytes, LimitSetting},
    pipeline::{
        install::{InstallReport, InstallStatus},
        report::{
            DocumentReport, DocumentStatus, Empty, ImportReport, ImportStatus, PluginReport,
            PluginStatus, RunReport,
        },
    },
    plugin::Plugin,
    schema::TableSchema,
    status::{RunSummary, Status, Stuck},
};

/// So many documents are shown one by one; of more than that, the tables in total, and only those
/// that somebody should look at.
const SHOWN_WHOLE_MAX: usize = 5;
/// So many lines of a kind.
const LINES_MAX: usize = 20;

/// Writes text for people to standard output.
///
/// # Errors
///
/// The system's. Whoever reads it may stop, which is none.
pub fn data(text: &str) -> io::Result<()> {
    json(&tame(text.trim_end()))
}

/// Writes data for scripts to standard output, as it is.
///
/// # Errors
///
/// The system's. Whoever reads it may stop, which is none.
pub fn json(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Names come from anywhere: none of them steers a terminal or turns a line around.
fn tame(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(steers, "\u{fffd}")
}

/// Writes an error and its causes to standard error.
pub fn error(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some errors say what caused them themselves.
        if !text.contains(&cause) {
            let colon = if text.is_empty() { "" } else { ": " };
            let _ = write!(text, "{colon}{cause}");
        }
    }
    let _ = writeln!(io::stderr().lock(), "error: {}", tame(&text));
}

/// The summary of a run, whose report is kept somewhere.
pub fn run(report: &RunReport, kept_at: Option<&str>) -> String {
    let mut text = String::new();
    // Whoever judged the run knew.
    let accepted = if report.exit_status == 0 { Empty::Allowed } else { Empty::Fails };
    imports(&mut text, &report.imports);
    plugins(&mut text, &report.plugins);
    for problem in &report.problems {
        let _ = writeln!(text, "✗ {problem}\n");
    }
    if report.documents.len() <= SHOWN_WHOLE_MAX {
        for document in &report.documents {
            document_whole(&mut text, document, &report.store, accepted);
        }
    } else {
        documents_in_total(&mut text, &report.documents, &report.store, accepted);
    }
    let done = match (report.exit_status, report.documents.is_empty()) {
        (0, true) if report.command == "import" => "done",
        (0, true) => "nothing to do",
        (0, false) => "all done",
        _ => "not all done",
    };
    let seconds = report.milliseconds as f64 / 1000.0;
    let _ = write!(text, "{done} in {seconds:.2} s");
    if let Some(location) = kept_at {
        let _ = write!(text, "; the report is {location}");
    }
    text
}

fn imports(text: &mut String, imports: &[ImportReport]) {
    if imports.is_empty() {
        return;
    }
    let count = |status| imports.iter().filter(|import| import.status == status).count();
    let parts: Vec<String> = [
        (ImportStatus::Landed, "brought in"),
        (ImportStatus::Waiting, "there already, waiting"),
        (ImportStatus::Processed, "there already, with their tables"),
        (ImportStatus::Refused, "refused"),
    ]
    .into_iter()
    .filter(|(status, _)| count(*status) > 0)
    .map(|(status, words)| format!("{} {words}", count(status)))
    .collect();
    let files = if imports.len() == 1 { "file" } else { "files" };
    let _ = writeln!(text, "{} {files}: {}", imports.len(), parts.join(", "));
    let refused: Vec<_> = imports.iter().filter(|import| import.problem.is_some()).collect();
    for import in refused.iter().take(LINES_MAX) {
        if let Some(problem) = &import.problem {
            let _ = writeln!(text, "  ✗ {}: {problem}", shown_source(&import.source));
        }
    }
    more(text, refused.len());
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
    let name = document.playlist_name.as_deref().unwrap_or_default();
    let id = document.document.as_deref().unwrap_or(&document.key);
    if name.is_empty() { id.to_owned() } else { format!("{name} ({id})") }
}

fn mark(document: &DocumentReport, accepted: Empty) -> &'static str {
    let empty = document.is_empty() && accepted == Empty::Fails;
    if document.problems.is_empty() && !empty { "✓" } else { "✗" }
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
    }
}

fn document_whole(text: &mut String, document: &DocumentReport, store: &str, accepted: Empty) {
    let _ =
        writeln!(text, "{} {}: {}", mark(document, accepted), title(document), became(document));
    let mut table = plain_table();
    for file in &document.tables {
        // The files are named for the document, which the line above names.
        let folder = file.key.rsplit_once('/').map_or("", |(folder, _)| folder);
        table.add_row([
            format!("  {}", file.table),
            rows(file.rows),
            format!("in {store}{folder}/"),
        ]);
    }
    right(&mut table, 1);
    if !document.tables.is_empty() {
        let _ = writeln!(text, "{}", trimmed(&table));
    }
    remarks(text, document, accepted);
    text.push('\n');
}

fn remarks(text: &mut String, document: &DocumentReport, accepted: Empty) {
    if !document.skipped.is_empty() {
        let reasons: Vec<_> =
            document.skipped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let _ = writeln!(text, "  skipped: {}", reasons.join(", "));
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
    match (document.is_empty(), accepted) {
        (true, Empty::Fails) => {
            text.push_str("  ✗ no entry gave a row (--allow-empty accepts that)\n")
        }
        (true, Empty::Allowed) => text.push_str("  no entry gave a row\n"),
        (false, _) => {}
    }
    for problem in &document.problems {
        let _ = writeln!(text, "  ✗ {problem}");
    }
}

fn documents_in_total(
    text: &mut String,
    documents: &[DocumentReport],
    store: &str,
    accepted: Empty,
) {
    let mut tables: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for file in documents.iter().flat_map(|document| &document.tables) {
        let (rows, files) = tables.entry(&file.table).or_default();
        (*rows, *files) = (*rows + file.rows, *files + 1);
    }
    let stored =
        documents.iter().filter(|document| document.status == DocumentStatus::Stored).count();
    let entries: usize = documents.iter().map(|document| document.entries).sum();
    let _ = writeln!(text, "{stored} of {} documents stored, {entries} entries", documents.len());
    let mut table = plain_table();
    for (name, (count, files)) in tables {
        let place = format!("{store}transformed_data/{name}_data/");
        table.add_row([format!("  {name}"), rows(count), format!("{files} files in {place}")]);
    }
    right(&mut table, 1);
    let _ = writeln!(text, "{}", trimmed(&table));
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    for (reason, count) in documents.iter().flat_map(|document| &document.skipped) {
        *skipped.entry(reason).or_default() += count;
    }
    if !skipped.is_empty() {
        let reasons: Vec<_> =
            skipped.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let _ = writeln!(text, "  skipped: {}", reasons.join(", "));
    }
    text.push('\n');
    let odd = |document: &&DocumentReport| {
        !document.problems.is_empty() || !document.warnings.is_empty() || document.is_empty()
    };
    let odd: Vec<_> = documents.iter().filter(odd).collect();
    for document in odd.iter().take(LINES_MAX) {
        let _ = writeln!(
            text,
            "{} {}: {}",
            mark(document, accepted),
            title(document),
            became(document)
        );
        remarks(text, document, accepted);
    }
    more(text, odd.len());
    if !odd.is_empty() {
        text.push('\n');
    }
}

/// What an import would bring in.
pub fn dry_run(imports: &[ImportReport]) -> String {
    let mut table = plain_table();
    table.set_header(["file", "playlist", "read at", "entries", "becomes"]);
    for import in imports {
        let complete = match import.complete {
            Some(false) => " (not all)",
            _ => "",
        };
        let becomes = match (&import.problem, import.status) {
            (Some(problem), _) => format!("✗ {problem}"),
            (None, ImportStatus::Waiting) => "there already, waiting".to_owned(),
            (None, ImportStatus::Processed) => "there already, with its tables".to_owned(),
            (None, _) => import.document.clone().unwrap_or_default(),
        };
        let name = import.playlist_name.as_deref().map(|name| format!(" ({name})"));
        table.add_row([
            shown_source(&import.source).to_owned(),
            import.playlist_id.clone().unwrap_or_default() + &name.unwrap_or_default(),
            import.extracted_at.clone().unwrap_or_default(),
            import.entries.map(|entries| format!("{entries}{complete}")).unwrap_or_default(),
            becomes,
        ]);
    }
    right(&mut table, 3);
    format!("{}\nnothing was written", trimmed(&table))
}

/// The plugins that were put into a store.
pub fn installed(store: &Path, reports: &[InstallReport]) -> String {
    let mut table = plain_table();
    for report in reports {
        let became = match report.status {
            InstallStatus::New => "new",
            InstallStatus::Replaced => "replaced",
            InstallStatus::Unchanged => "unchanged",
            InstallStatus::Refused => "refused",
        };
        let what = match &report.problem {
            Some(problem) => format!("✗ {problem}"),
            None => format!("fills {}", report.tables.join(", ")),
        };
        let version = report.version.clone().unwrap_or_default();
        table.add_row([format!("  {}", report.name), version, became.to_owned(), what]);
    }
    let store = store.display();
    format!(
        "plugins in {store}/plugins:\n{}\nnext: spotify-etl run --from playlist.json --store {store}",
        trimmed(&table)
    )
}

/// How a store is doing, on a screen.
pub fn status(status: &Status, store: &Path) -> String {
    let store = quoted(&store.display().to_string());
    let mut text = format!("store {}\n\n", status.store);
    playlists(&mut text, status, &store);
    stuck(&mut text, "waiting", &status.waiting, &|document| {
        let why = document.why.as_deref().unwrap_or_default();
        mend(why, document, &status.store, &store)
    });
    stuck(
        &mut text,
        "failed: look at it, then repair it and transform it, or delete it",
        &status.failed,
        &|document| {
            let key = quoted(&document.key);
            let file = quoted(&format!("{}{}", status.store, document.key));
            vec![format!("spotify-etl transform --store {store} {key}"), format!("rm {file}")]
        },
    );
    if status.plugins.is_empty() {
        let _ = writeln!(
            text,
            "✗ no plugins\n      spotify-etl init --store {store} --from FOLDER_WITH_PLUGINS\n"
        );
    } else {
        let _ = writeln!(text, "plugins");
        for plugin in &status.plugins {
            plugin_line(&mut text, plugin, &status.store);
        }
        text.push('\n');
    }
    match &status.last_run {
        Some(run) if run.exit_status == 0 => {
            let _ = write!(text, "last run {}, {}: all done", run.started_at, run.command);
        }
        Some(run) => {
            let RunSummary { started_at, command, run_id, .. } = run;
            let _ = write!(
                text,
                "✗ last run {started_at}, {command}: not all done\n      spotify-etl runs --store {store} {run_id}"
            );
        }
        None => text.push_str("no runs yet"),
    }
    text
}

fn playlists(text: &mut String, status: &Status, store: &str) {
    if status.playlists.is_empty() {
        text.push_str("no playlist has tables yet\n");
        if status.waiting.is_empty() {
            let _ = writeln!(text, "      spotify-etl run --store {store} --from playlist.json");
        }
        text.push('\n');
        return;
    }
    let mut table = plain_table();
    table.set_header(["playlist", "id", "snapshots", "last", "age"]);
    for playlist in &status.playlists {
        table.add_row([
            playlist.name.clone().unwrap_or_default(),
            playlist.playlist_id.clone(),
            playlist.snapshots.to_string(),
            playlist.last_extracted_at.clone(),
            days(playlist.age_days),
        ]);
    }
    right(&mut table, 2);
    let _ = writeln!(text, "{}\n", trimmed(&table));
}

/// The commands that help a document on: what failed, with what its error asks for.
fn mend(why: &str, document: &Stuck, root: &str, store: &str) -> Vec<String> {
    let (key, file) = (quoted(&document.key), quoted(&format!("{root}{}", document.key)));
    if why.contains("spotify-etl import --extracted-at") {
        let import = format!("spotify-etl import --store {store} --extracted-at TIME {file}");
        return vec![import, format!("rm {file}")];
    }
    let limit = why.split_once("--limit ").and_then(|(_, rest)| rest.split_once("=..."));
    // The name may be a plugin's invention.
    let known = limit.filter(|(name, _)| format!("{name}=1").parse::<LimitSetting>().is_ok());
    vec![match known {
        Some((name, _)) => {
            format!("spotify-etl transform --store {store} --limit {name}=MORE {key}")
        }
        None => format!("spotify-etl transform --store {store} {key}"),
    }]
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn plugin_line(text: &mut String, plugin: &PluginReport, store: &str) {
    let version = plugin.version.as_deref().unwrap_or("-");
    let sha256 = plugin.sha256.get(..12).unwrap_or_default();
    let tables = plugin.tables.join(", ");
    let name = &plugin.name;
    let state = match plugin.status {
        PluginStatus::Active => format!("✓ {name} {version} ({sha256}): {tables}"),
        PluginStatus::Fallback => {
            format!("! {name} {version} ({sha256}) from its history: {tables}")
        }
        PluginStatus::Refused => format!("✗ {name} ({sha256})"),
    };
    let _ = writeln!(text, "  {state}");
    if let Some(problem) = &plugin.problem {
        let file = quoted(&format!("{store}plugins/{name}.wasm"));
        let _ = writeln!(text, "      {problem}");
        let _ = writeln!(text, "      spotify-etl plugin inspect {file}");
    }
}

fn stuck(
    text: &mut String,
    what: &str,
    documents: &[Stuck],
    commands: &dyn Fn(&Stuck) -> Vec<String>,
) {
    if documents.is_empty() {
        return;
    }
    let _ = writeln!(text, "{} {what}", documents.len());
    for document in documents.iter().take(LINES_MAX) {
        let _ = writeln!(text, "  ✗ {}", document.key);
        if let Some(why) = &document.why {
            let _ = writeln!(text, "      {why}");
        }
        for command in commands(document) {
            let _ = writeln!(text, "      {command}");
        }
    }
    if documents.len() > LINES_MAX {
        let _ = writeln!(text, "    ... and {} more", documents.len() - LINES_MAX);
    }
    text.push('\n');
}

fn days(days: i64) -> String {
    match days {
        ..=0 => "today".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// The newest runs.
pub fn runs(runs: &[RunSummary]) -> String {
    if runs.is_empty() {
        return "no runs yet".to_owned();
    }
    let mut table = plain_table();
    table.set_header(["run", "what", "documents", "seconds", "ended"]);
    for run in runs {
        table.add_row([
            run.run_id.clone(),
            run.command.clone(),
            run.documents.to_string(),
            format!("{:.2}", run.milliseconds as f64 / 1000.0),
            if run.exit_status == 0 { "all done" } else { "not all done" }.to_owned(),
        ]);
    }
    right(&mut table, 2);
    right(&mut table, 3);
    trimmed(&table)
}

/// What a plugin is.
#[derive(Debug, Serialize)]
pub struct Inspection {
    name: String,
    version: String,
    interface: &'static str,
    bytes: u64,
    sha256: String,
    load_milliseconds: f64,
    imports: Vec<String>,
    reads: Option<Vec<String>>,
    tables: Vec<TableSchema>,
}

impl Inspection {
    pub fn of(plugin: &Plugin) -> Self {
        Inspection {
            name: plugin.name().to_owned(),
            version: plugin.version().to_owned(),
            interface: spotify_etl::plugin::INTERFACE,
            bytes: plugin.bytes(),
            sha256: plugin.sha256().to_owned(),
            load_milliseconds: plugin.compiled_in().as_secs_f64() * 1000.0,
            imports: plugin.imports().to_vec(),
            reads: plugin.reads().map(<[String]>::to_vec),
            tables: plugin.tables().to_vec(),
        }
    }
}

/// What a plugin is, on a screen.
pub fn inspection(plugin: &Inspection) -> String {
    let mut text = String::new();
    let Inspection { name, version, interface, sha256, .. } = plugin;
    let _ = writeln!(text, "{name} {version}");
    let _ = writeln!(text, "  interface  {interface}");
    let _ = writeln!(text, "  size       {}", Bytes(plugin.bytes));
    let _ = writeln!(text, "  sha256     {sha256}");
    let _ = writeln!(text, "  loaded in  {:.1} ms", plugin.load_milliseconds);
    let imports =
        if plugin.imports.is_empty() { "nothing".to_owned() } else { plugin.imports.join(", ") };
    let _ = writeln!(text, "  imports    {imports}");
    let reads = plugin.reads.as_ref().map_or("whole pages".to_owned(), |reads| reads.join(", "));
    let _ = writeln!(text, "  reads      {reads}");
    for table in &plugin.tables {
        let key = match table.key.as_slice() {
            [] => "one row a document".to_owned(),
            key => format!("key {}", key.join(" + ")),
        };
        let _ = writeln!(
            text,
            "\ntable {} ({}, {key}): {}",
            table.name, table.scope, table.description
        );
        let mut columns = plain_table();
        for column in &table.columns {
            let null = if column.nullable { "" } else { "not null" };
            let (name, kind) = (format!("  {}", column.name), column.column_type.to_string());
            columns.add_row([name, kind, null.to_owned(), column.description.clone()]);
        }
        let _ = writeln!(text, "{}", trimmed(&columns));
    }
    text
}

fn rows(count: u64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

fn right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
