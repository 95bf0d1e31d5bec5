//! What another version of a plugin would change.

use std::{
    fmt::Write as _,
    io::{self, BufWriter, StdoutLock, Write as _},
};

use anyhow::Result;
use spotify_etl::{
    pipeline::{
        diff::{DiffReport, Failing, Kind, RowChange, TableDiff, Version},
        publish::short,
    },
    store::StoreAddress,
};

use super::{LINES_MAX, counted, one_line, plain_table, right, rows, trimmed};

/// The summary, on a screen or two.
pub fn difference(report: &DiffReport) -> String {
    let mut text = String::new();
    let DiffReport { plugin, active, candidate, documents, documents_in_all, .. } = report;
    let version = |version: &Version| format!("{} ({})", version.version, short(&version.sha256));
    let active = active.as_ref().map_or("nothing".to_owned(), version);
    let _ = writeln!(text, "{plugin}: {active} -> {}", version(candidate));
    let of = if documents == documents_in_all {
        counted(*documents, "document")
    } else {
        format!("{documents} of {}", counted(*documents_in_all, "document"))
    };
    let _ = writeln!(text, "{of} compared, {} with other rows\n", report.documents_changed);
    for change in &report.schema {
        let _ = writeln!(text, "! {change}");
    }
    for table in &report.new_generations {
        let _ = writeln!(
            text,
            "! the stored columns of `{table}` don't fit: it begins anew, filled from all of history (plugin publish --replay)"
        );
    }
    if !report.schema.is_empty() || !report.new_generations.is_empty() {
        text.push('\n');
    }
    tables(&mut text, &report.tables);
    let changed: Vec<_> =
        report.skips.iter().filter(|(_, skips)| skips.before != skips.after).collect();
    for (reason, skips) in changed {
        let _ = writeln!(text, "skipped as {reason}: {} -> {}", skips.before, skips.after);
    }
    for (what, mark, failing) in [
        ("fails now, and did not", "✗", &report.now_failing),
        ("is not for it any more", "✗", &report.now_unsupported),
        ("does not fail any more, as it did", "✓", &report.no_longer_failing),
        ("still fails", "!", &report.still_failing),
        ("can't be read by any plugin", "!", &report.unread),
    ] {
        failures(&mut text, what, mark, failing);
    }
    if report.is_equal() && report.documents > 0 {
        text.push_str("✓ it makes the same of every document\n");
    }
    if report.documents == 0 {
        text.push_str("there is no document in the store to compare with\n");
    }
    text
}

fn tables(text: &mut String, tables: &[TableDiff]) {
    let mut shown = plain_table();
    shown.set_header(["table", "rows", "", "added", "removed", "changed", "columns"]);
    for table in tables {
        let renamed = table.renamed.iter().map(|(old, new)| format!("{old} is called {new}"));
        let cells = table.cells_changed.iter().map(|(column, count)| format!("{column} {count}"));
        let new = table.new_columns.iter().map(|(column, values)| {
            format!("{column} new, {values} of {} filled", table.rows_after)
        });
        let gone = table
            .gone_columns
            .iter()
            .map(|(column, values)| format!("{column} gone, {values} values"));
        let columns: Vec<_> = cells.chain(renamed).chain(new).chain(gone).collect();
        shown.add_row([
            table.table.clone(),
            table.rows_before.to_string(),
            format!("-> {}", table.rows_after),
            table.rows_added.to_string(),
            table.rows_removed.to_string(),
            table.rows_changed.to_string(),
            columns.join(", "),
        ]);
    }
    for column in [1, 3, 4, 5] {
        right(&mut shown, column);
    }
    let _ = writeln!(text, "{}\n", trimmed(&shown));
    for table in tables.iter().filter(|table| table.matched_by_order) {
        let _ = writeln!(
            text,
            "! rows of `{}` are matched by their order, since its key is another one",
            table.table
        );
    }
    let examples: Vec<_> = tables.iter().flat_map(|table| &table.examples).collect();
    for change in &examples {
        let _ = writeln!(text, "  {}", example(change));
    }
    let differing: u64 = tables.iter().map(TableDiff::rows_differing).sum();
    let more = differing.saturating_sub(examples.len() as u64);
    if more > 0 {
        let _ = writeln!(text, "  ... and {} more (--csv and --json have them all)", rows(more));
    }
    if !examples.is_empty() {
        text.push('\n');
    }
}

fn example(change: &RowChange) -> String {
    let key: Vec<_> =
        change.key.iter().map(|(column, value)| format!("{column}={value}")).collect();
    let value = |value: &Option<String>| match value {
        None => "null".to_owned(),
        Some(text) => format!("'{}'", one_line(text)),
    };
    let cells = change.cells.iter().map(|cell| match change.change {
        Kind::Changed => {
            format!("{} {} -> {}", cell.column, value(&cell.before), value(&cell.after))
        }
        Kind::Added => format!("{} {}", cell.column, value(&cell.after)),
        Kind::Removed => format!("{} {}", cell.column, value(&cell.before)),
    });
    let cells: Vec<_> = cells.collect();
    let RowChange { document, table, .. } = change;
    format!("{} {table} {} in {document}: {}", word(change.change), key.join(" "), cells.join(", "))
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Added => "added",
        Kind::Removed => "removed",
        Kind::Changed => "changed",
    }
}

fn failures(text: &mut String, what: &str, mark: &str, failing: &[Failing]) {
    for Failing { document, problem } in failing.iter().take(LINES_MAX) {
        let _ = writeln!(text, "{mark} {document} {what}: {problem}");
    }
    let more = failing.len().saturating_sub(LINES_MAX);
    if more > 0 {
        let _ = writeln!(text, "  ... and {more} more that {what}");
    }
}

/// What somebody is asked before a version becomes the active one.
pub fn question(report: &DiffReport, store: &StoreAddress) -> String {
    let DiffReport { plugin, active, candidate, .. } = report;
    let version = |version: &Version| format!("{} ({})", version.version, short(&version.sha256));
    let now = active
        .as_ref()
        .map_or("there is none now".to_owned(), |active| format!("now it is {}", version(active)));
    format!("make {plugin} {} the active version in {store}? ({now})", version(candidate))
}

/// Every change as CSV on standard output, a line for each value, written as it is found.
pub struct ChangeLines {
    writer: csv::Writer<StdoutLock<'static>>,
    problem: Option<io::Error>,
}

impl ChangeLines {
    /// Writes the header.
    ///
    /// # Errors
    ///
    /// If standard output takes nothing.
    pub fn begin() -> Result<Self> {
        let mut writer = csv::Writer::from_writer(io::stdout().lock());
        writer.write_record(["document", "table", "change", "key", "column", "before", "after"])?;
        Ok(ChangeLines { writer, problem: None })
    }

    /// Adds a row that is not the same.
    pub fn add(&mut self, change: &RowChange) {
        if self.problem.is_some() {
            return;
        }
        let key: Vec<_> =
            change.key.iter().map(|(column, value)| format!("{column}={value}")).collect();
        let (key, word) = (key.join(" "), word(change.change));
        for cell in &change.cells {
            let text = |value: &'_ Option<String>| value.clone().unwrap_or_default();
            let (before, after) = (text(&cell.before), text(&cell.after));
            let line = [&change.document, &change.table, word, &key, &cell.column, &before, &after];
            if let Err(problem) = self.writer.write_record(line) {
                self.problem = Some(match problem.into_kind() {
                    csv::ErrorKind::Io(problem) => problem,
                    other => io::Error::other(format!("{other:?}")),
                });
                return;
            }
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    ///
    /// If standard output did not take all of it.
    pub fn end(mut self) -> Result<()> {
        written(self.problem.or(self.writer.flush().err()))
    }
}

/// Every change as JSON on standard output, written as it is found, and then the summary.
pub struct ChangeArray {
    out: BufWriter<StdoutLock<'static>>,
    count: u64,
    problem: Option<io::Error>,
}

impl ChangeArray {
    /// Begins the object.
    pub fn begin() -> Self {
        let mut out = BufWriter::new(io::stdout().lock());
        let problem = out.write_all(b"{\"changes\": [").err();
        ChangeArray { out, count: 0, problem }
    }

    /// Adds a row that is not the same.
    pub fn add(&mut self, change: &RowChange) {
        if self.problem.is_some() {
            return;
        }
        let comma = if self.count == 0 { "\n" } else { ",\n" };
        self.count += 1;
        let text = serde_json::to_string(change).unwrap_or_default();
        self.problem = write!(self.out, "{comma}  {text}").err();
    }

    /// Ends it with what is known at the end.
    ///
    /// # Errors
    ///
    /// If standard output did not take all of it.
    pub fn end(mut self, report: &DiffReport) -> Result<()> {
        let report = serde_json::to_string_pretty(report)?;
        let rest = report.trim_start_matches('{');
        let problem = self.problem.take();
        let problem = problem
            .or_else(|| write!(self.out, "\n],{rest}\n").and_then(|()| self.out.flush()).err());
        written(problem)
    }
}

/// Whoever reads it may stop, which is no failure.
fn written(problem: Option<io::Error>) -> Result<()> {
    match problem {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
