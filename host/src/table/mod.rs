//! Rows that are fit to be stored, and how they are written.
//!
//! [`validate()`] is the only way from what a plugin returned to a [`Table`], and writers take
//! nothing else.

mod csv;
mod moments;
mod parquet;
mod read;
mod validate;

use std::{borrow::Cow, sync::Arc};

use crate::{
    batch::RawValues,
    config::Bytes,
    document::DocumentId,
    layout::Format,
    schema::{Column, TableSchema},
};

pub use read::{count_rows, read};
pub use validate::{Invalid, validate};

/// The rows of one table from one document, each as its schema says.
#[derive(Debug)]
pub struct Table {
    schema: Arc<TableSchema>,
    rows: usize,
    columns: Vec<Values>,
    /// How many columns at the end of the schema the plugin doesn't know.
    missing: usize,
}

/// A table file, before it is stored.
#[derive(Debug)]
pub struct Written {
    /// The file.
    pub bytes: Vec<u8>,
    /// How many values had line breaks, which became a space.
    pub line_breaks_replaced: u64,
}

/// Which plugin's rows these are.
#[derive(Clone, Copy, Debug)]
pub struct MadeBy<'a> {
    /// Its name.
    pub name: &'a str,
    /// The SHA-256 of its file.
    pub sha256: &'a str,
}

/// Writes the rows of a document. The same table gives the same bytes.
///
/// # Errors
///
/// If the file gets larger than so many bytes.
pub fn write(
    table: &Table,
    document: &DocumentId,
    format: Format,
    made_by: MadeBy<'_>,
    bytes_max: u64,
) -> Result<Written, WriteError> {
    match format {
        Format::Csv => csv::write(table, document, bytes_max),
        Format::Parquet => parquet::write(table, document, made_by, bytes_max),
    }
}

/// Why rows can't be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// They would make too large a file.
    #[error(
        "table `{table}`: its file would be larger than {}, the limit for output (raise it with --limit output_bytes=...)",
        Bytes(*.bytes_max)
    )]
    TooLarge {
        /// The table.
        table: String,
        /// The limit.
        bytes_max: u64,
    },
    /// The encoder of Parquet failed.
    #[error(
        "table `{table}`: its rows can't be written as Parquet: {problem} (have its author look, or write CSV)"
    )]
    Parquet {
        /// The table.
        table: String,
        /// What it says.
        problem: ::parquet::errors::ParquetError,
    },
}

/// The values of a column, as its plugin returned them and [`validate()`] found them fit.
#[derive(Debug)]
struct Values {
    all: RawValues,
    /// For each row, whether it is null; nothing if none is.
    nulls: Vec<bool>,
}

impl Values {
    fn is_null(&self, row: usize) -> bool {
        self.nulls.get(row).copied().unwrap_or(false)
    }

    fn nulls(&self) -> usize {
        self.nulls.iter().filter(|null| **null).count()
    }
}

/// A row's value in a column of text.
fn text_at<'t>(text: &'t str, ends: &[u32], row: usize) -> &'t str {
    let (begin, end) = text_range(ends, row);
    text.get(begin..end).unwrap_or_default()
}

/// Where a row's value begins and ends in a column of text.
fn text_range(ends: &[u32], row: usize) -> (usize, usize) {
    let begin = row.checked_sub(1).map_or(0, |before| ends[before]);
    (begin as usize, ends[row] as usize)
}

impl Table {
    /// What the table is called and what its columns are.
    pub fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Each of the plugin's columns with how many of its values are null.
    pub fn nulls(&self) -> impl Iterator<Item = (&str, usize)> {
        self.schema
            .columns
            .iter()
            .zip(&self.columns)
            .map(|(column, values)| (column.name.as_str(), values.nulls()))
    }

    /// A value of one of the plugin's columns as the files have it, but for line breaks; none where it
    /// is null.
    pub fn cell(&self, row: usize, column: usize) -> Option<Cow<'_, str>> {
        self.columns.get(column)?.cell(row)
    }

    /// Adds columns that the stored table has and the plugin doesn't know: null in every row.
    pub fn with_missing(mut self, columns: &[Column]) -> Self {
        if !columns.is_empty() {
            Arc::make_mut(&mut self.schema).columns.extend_from_slice(columns);
            self.missing += columns.len();
        }
        self
    }
}
