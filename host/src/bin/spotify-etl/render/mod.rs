//! Reports as text, for people, and where output goes.

mod delete;
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
    io::{self, IsTerminal as _, Write as _},
};

use comfy_table::{CellAlignment, Table, presets};
use spotify_etl::catalog::is_steering;

pub use delete::deletion_question;
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

/// Writes JSON to standard output. Characters that steer a terminal, or change the direction of the text around
/// them, are written as escapes, which every reader of JSON turns back into the same text.
///
/// # Errors
///
/// The system's. A reader that ends early is none.
pub fn json(text: &str) -> io::Result<()> {
    write(&escaped_json(text))
}

/// Writes CSV or SQL to standard output: unchanged to a pipe or a file, and with escapes in the place of control
/// characters to a terminal.
///
/// # Errors
///
/// The system's. A reader that ends early is none.
pub fn csv(text: &str) -> io::Result<()> {
    match io::stdout().is_terminal() {
        true => write(&escaped(text)),
        false => write(text),
    }
}

/// Returns JSON with the same meaning and no character that steers a terminal.
fn escaped_json(text: &str) -> String {
    // Line breaks are between tokens; any other such character is in a string.
    with_escapes(text, |letter| {
        let mut units = [0; 2];
        letter.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    })
}

fn escaped(text: &str) -> String {
    with_escapes(text, |letter| letter.escape_unicode().to_string())
}

fn with_escapes(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_steering(letter) && letter != '\n' {
            true => escaped.push_str(&escape(letter)),
            false => escaped.push(letter),
        }
    }
    escaped
}

fn write(text: &str) -> io::Result<()> {
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
    text.replace(|letter| is_steering(letter) && letter != '\n', "\u{fffd}")
}

/// Returns an error and its causes as one sentence.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some errors say what caused them themselves.
        if !text.contains(&cause) {
            let colon = if text.is_empty() { "" } else { ": " };
            let _ = write!(text, "{colon}{cause}");
        }
    }
    text
}

/// Writes an error and its causes to standard error.
pub fn error(error: &anyhow::Error) {
    let _ = writeln!(io::stderr().lock(), "error: {}", tame(&sentence(error)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_meaning_and_steers_no_terminal() {
        let name = "a\u{9b}2J\u{7f} \u{202e}b\u{2066}\u{200f} \u{1b}[0m é";
        let text = serde_json::to_string_pretty(&serde_json::json!({ "name": name })).unwrap();
        let escaped = escaped_json(&text);
        assert!(!escaped.chars().any(|letter| is_steering(letter) && letter != '\n'), "{escaped}");
        assert!(escaped.contains("\\u202e") && escaped.contains("\\u009b"), "{escaped}");
        let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read["name"], name);
    }

    #[test]
    fn a_terminal_gets_escapes_and_line_breaks() {
        assert_eq!(escaped("a,\u{1b}[2J\n\u{202e}é"), "a,\\u{1b}[2J\n\\u{202e}é");
    }
}
