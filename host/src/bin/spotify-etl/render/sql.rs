//! What SQL gave back.

use std::io::IsTerminal as _;

use anyhow::{Result, bail};
use serde_json::Value;
use spotify_etl::{
    answer::{Answer, Cell},
    pipeline::cataloging::ApplyReport,
};

use super::{one_line, plain_table, right, rows, trimmed};

/// As a table for people.
pub fn answer(answer: &Answer) -> String {
    let mut table = plain_table();
    table.set_header(answer.columns.iter());
    let is_watched = std::io::stdout().is_terminal();
    for row in &answer.rows {
        // What is piped goes to a program, or to somebody who wants all of it.
        let shown = |cell| if is_watched { one_line(&text(cell)) } else { text(cell) };
        table.add_row(row.iter().map(shown));
    }
    let is_number = |cell: &Cell| matches!(cell, Cell::Integer(_) | Cell::Real(_));
    for column in 0..answer.columns.len() {
        let mut cells = answer.rows.iter().map(|row| &row[column]);
        if cells.any(is_number) {
            right(&mut table, column);
        }
    }
    format!("{}\n\n{}", trimmed(&table), rows(answer.rows.len() as u64))
}

/// As CSV for programs.
///
/// # Errors
///
/// None that happens in memory.
pub fn answer_csv(answer: &Answer) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&answer.columns)?;
    for row in &answer.rows {
        writer.write_record(row.iter().map(text))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// As an array of objects.
///
/// # Errors
///
/// If two columns have one name.
pub fn answer_json(answer: &Answer) -> Result<String> {
    for (index, name) in answer.columns.iter().enumerate() {
        if answer.columns[..index].contains(name) {
            bail!(
                "two columns are called `{name}`, and an object has each name once (name them apart with AS)"
            );
        }
    }
    // In the order of the columns, which a map would not keep.
    let member = |(name, cell): (&String, &Cell)| {
        format!("    {}: {}", Value::from(name.as_str()), value(cell))
    };
    let object = |row: &Vec<Cell>| {
        let members: Vec<_> = answer.columns.iter().zip(row).map(member).collect();
        format!("  {{\n{}\n  }}", members.join(",\n"))
    };
    let rows: Vec<_> = answer.rows.iter().map(object).collect();
    Ok(if rows.is_empty() { "[]".to_owned() } else { format!("[\n{}\n]", rows.join(",\n")) })
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => format!("{number:?}"),
        Cell::Text(text) => text.clone(),
    }
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => (*number).into(),
        Cell::Real(number) => (*number).into(),
        Cell::Text(text) => text.clone().into(),
    }
}

/// What was done to have the catalog.
pub fn applied(report: &ApplyReport, database: &str) -> String {
    let mut table = plain_table();
    for ran in &report.ran {
        table.add_row([format!("  {}", ran.name), ran.done.clone()]);
    }
    format!(
        "{}\n\nAthena's `{database}` has the tables of the store (try: spotify-etl query --athena \"SELECT * FROM chart WHERE is_latest ORDER BY playlist_name, position\")",
        trimmed(&table)
    )
}
