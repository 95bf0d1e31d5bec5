//! Reports as text, for people, and where output goes.

mod diff;
mod plugin;
mod run;
mod spotify;
mod sql;
mod status;
mod trial;
mod verify;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use comfy_table::{CellAlignment, Table, presets};

pub use diff::{ChangeArray, ChangeLines, difference, question};
pub use plugin::{
    Compiled, Inspection, PluginList, compiled, explanation, inspection, installed, scaffolded,
};
pub use run::{dry_run, run};
pub use spotify::{ROTATES, added, finding, listed, logged_in, login};
pub use sql::{answer, answer_csv, answer_json, applied};
pub use status::{runs, status};
pub use trial::{Shown, checked, tested};
pub use verify::verified;

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

/// A name in one line, and no longer than a line.
fn one_line(name: &str) -> String {
    const LENGTH_MAX: usize = 80;
    let mut name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = name.char_indices().nth(LENGTH_MAX) {
        name.truncate(cut);
        name.push('…');
    }
    name
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

/// Writes text for people to standard error, where standard output has data.
pub fn error_text(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", tame(text.trim_end()));
}

/// Asks a person, who answers on the same line.
///
/// # Errors
///
/// The system's.
pub fn ask(question: &str) -> io::Result<()> {
    let mut out = io::stderr().lock();
    write!(out, "{question} [y/N] ")?;
    out.flush()
}

/// So many documents.
pub fn documents(count: usize) -> String {
    counted(count, "document")
}

/// So many entries.
pub fn entries(count: usize) -> String {
    counted_as(count, "entry", "entries")
}

fn counted(count: usize, one: &str) -> String {
    counted_as(count, one, &format!("{one}s"))
}

fn counted_as(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
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
