//! What plugins are.

use std::{fmt::Write as _, path::PathBuf};

use serde::Serialize;
use spotify_etl::{
    config::Bytes,
    pipeline::install::{InstallReport, InstallStatus},
    plugin::Plugin,
    schema::TableSchema,
    store::StoreAddress,
};

use super::{plain_table, trimmed};

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
        "plugins in {store}/plugins:\n{}\nnext: spotify-etl run --from playlist.json --store {store}",
        trimmed(&table)
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
