//! What plugins are.

use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;
use spotify_etl::{
    config::Bytes,
    pipeline::{
        explain::{Explanation, FileFacts, Raw},
        install::{InstallReport, InstallStatus},
        publish::{PublishReport, short},
        report::{PluginReport, PluginStatus},
        versions::{Activation, HistoryRecord, Way},
    },
    plugin::Plugin,
    remedy::quoted,
    scaffold::Scaffolded,
    schema::TableSchema,
    store::StoreAddress,
};

use super::{counted, entries as count_entries, one_line, plain_table, rows, trimmed};

/// The plugins that were put into a store.
pub fn installed(store: &StoreAddress, reports: &[InstallReport]) -> String {
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

    format!(
        "plugins in {store}/plugins:\n{}\nnext: spotify-etl run --from playlist.json --store {}",
        trimmed(&table),
        quoted(&store.to_string())
    )
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
            tables: plugin.tables().iter().map(|table| TableSchema::clone(table)).collect(),
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

/// A plugin that was compiled ahead.
#[derive(Debug, Serialize)]
pub struct Compiled {
    /// Its file.
    pub file: PathBuf,
    /// How large that is.
    pub bytes: u64,
    /// The file with its code.
    pub code_file: PathBuf,
    /// How large that is.
    pub code_bytes: u64,
}

/// Plugins that were compiled ahead.
pub fn compiled(plugins: &[Compiled]) -> String {
    let lines = plugins.iter().map(|plugin| {
        let (file, code) = (plugin.file.display(), plugin.code_file.display());
        format!("✓ {file} ({}): {code} ({})", Bytes(plugin.bytes), Bytes(plugin.code_bytes))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What was made for a new plugin.
pub fn scaffolded(made: &Scaffolded) -> String {
    let Scaffolded { folder, files, name } = made;
    let folder = folder.display();
    format!(
        "{folder}: {} files\nnext:\n    cd {folder}\n    cargo build --release --target wasm32-wasip2\n    spotify-etl plugin test .\n    spotify-etl plugin run target/wasm32-wasip2/release/{name}.wasm tests/fixtures/playlist.json",
        files.len()
    )
}

/// What became of a plugin's place.
pub fn published(text: &mut String, report: &PublishReport) {
    let PublishReport { plugin, version, sha256, sha256_before, by, remarks, .. } = report;
    let before = sha256_before.as_deref().map(short);
    let _ = match (version, sha256.as_deref()) {
        (Some(version), Some(sha256)) if *sha256_before == report.sha256 => {
            writeln!(
                text,
                "✓ {plugin} {version} ({}) is the active version, and was there already; by {by}",
                short(sha256)
            )
        }
        (Some(version), Some(sha256)) => {
            let before = before.map_or(String::new(), |before| format!(", it was {before}"));
            writeln!(
                text,
                "✓ {plugin} {version} ({}) is the active version{before}; by {by}",
                short(sha256)
            )
        }
        _ => writeln!(text, "✓ {plugin} ({}) is taken away; by {by}", before.unwrap_or_default()),
    };
    for remark in remarks {
        let _ = writeln!(text, "  {remark}");
    }
    text.push('\n');
}

/// The active plugins, and all versions that were.
#[derive(Debug, Serialize)]
pub struct PluginList {
    active: Vec<PluginReport>,
    history: Vec<HistoryRecord>,
}

impl PluginList {
    /// Those of one plugin, or all.
    pub fn of(
        mut active: Vec<PluginReport>,
        history: Vec<HistoryRecord>,
        name: Option<&str>,
    ) -> Self {
        active.retain(|report| name.is_none_or(|name| report.name == name));
        PluginList { active, history }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty() && self.history.is_empty()
    }

    /// On a screen.
    pub fn text(&self) -> String {
        if self.is_empty() {
            return "no plugins yet (put some in: spotify-etl init, or spotify-etl plugin publish FILE)".to_owned();
        }
        let mut table = plain_table();
        table.set_header([
            "",
            "plugin",
            "version",
            "sha256",
            "seen",
            "by",
            "made active",
            "tables",
        ]);
        for record in &self.history {
            let report = self.active.iter().find(|report| report.name == record.name);
            let is_active = report.is_some_and(|report| report.sha256 == record.sha256);
            let mark = match report.map(|report| report.status) {
                Some(PluginStatus::Active) if is_active => "active",
                Some(PluginStatus::Fallback) if is_active => "stands in",
                Some(PluginStatus::Refused) if is_active => "refused",
                _ => "",
            };
            table.add_row([
                mark.to_owned(),
                record.name.clone(),
                record.version.clone(),
                short(&record.sha256).to_owned(),
                moment(&record.seen_at),
                record.by.clone(),
                record.activations.last().map(activated).unwrap_or_default(),
                record.tables.join(", "),
            ]);
        }
        let is_known = |report: &&PluginReport| {
            self.history
                .iter()
                .any(|record| record.name == report.name && record.sha256 == report.sha256)
        };
        for report in self.active.iter().filter(|report| !is_known(report)) {
            let mark = if report.problem.is_some() { "refused" } else { "active" };
            table.add_row([
                mark.to_owned(),
                report.name.clone(),
                report.version.clone().unwrap_or_default(),
                short(&report.sha256).to_owned(),
                String::new(),
                "upload, not yet recorded".to_owned(),
                String::new(),
                report.tables.join(", "),
            ]);
        }
        let mut text = trimmed(&table);
        for problem in self.active.iter().filter_map(|report| report.problem.as_ref()) {
            let _ = write!(text, "\n✗ {problem}");
        }
        text
    }
}

/// A moment to the second.
fn moment(rfc3339: &str) -> String {
    rfc3339.get(..19).unwrap_or(rfc3339).replace('T', " ")
}

fn activated(activation: &Activation) -> String {
    let way = match activation.way {
        Way::Publish => "published",
        Way::Rollback => "gone back to",
    };
    format!("{} {way} by {}", moment(&activation.at), activation.by)
}

/// Where rows come from.
pub fn explanation(explanation: &Explanation) -> String {
    let mut text = String::new();
    let Explanation { document, raw, files, runs, runs_searched } = explanation;
    let _ = writeln!(text, "document {document}");
    match raw {
        None => text.push_str("  ✗ its raw response is gone, so its rows can't be made again\n"),
        Some(Raw { key, problem: Some(problem), .. }) => {
            let _ = writeln!(text, "  ✗ {key}: {problem}");
        }
        Some(raw) => {
            let name = raw.playlist_name.as_deref().map(one_line).unwrap_or_default();
            let Raw { key, pages, entries, sha256, .. } = raw;
            let (pages, entries) = (counted(*pages, "page"), count_entries(*entries));
            let _ = writeln!(
                text,
                "  raw response {key}\n    {name}: {entries} in {pages}, SHA-256 {} as it was landed",
                short(sha256)
            );
        }
    }
    for file in files {
        let FileFacts { key, table, plugin, plugin_version, host_version, .. } = file;
        let _ = writeln!(text, "\n{table}: {}, {key}", rows(file.rows));
        let _ = match &file.problem {
            None => writeln!(text, "  ✓ it is what lineage says: SHA-256 {}", short(&file.sha256)),
            Some(problem) => writeln!(text, "  ✗ {problem}"),
        };
        let is_active = if file.plugin_is_active {
            "the active version"
        } else {
            "not the active version any more"
        };
        let seen = file.plugin_seen.as_ref().map_or(String::new(), |record| {
            format!(
                ", seen {} by {}",
                record.seen_at.get(..19).unwrap_or(&record.seen_at).replace('T', " "),
                record.by
            )
        });
        let _ = writeln!(
            text,
            "  made by plugin {plugin} {plugin_version} ({}), {is_active}{seen}\n  in spotify-etl {host_version}",
            short(&file.plugin_sha256)
        );
    }
    text.push('\n');
    for run in runs {
        let _ = writeln!(
            text,
            "run {} ({}, {}): {}",
            run.run_id,
            run.command,
            run.started_at,
            run.did.join("; ")
        );
    }
    if runs.is_empty() {
        let _ = writeln!(text, "none of the newest {runs_searched} runs tells of it");
    }
    text
}
