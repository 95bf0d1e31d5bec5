//! Rows that are fit to be stored, and how they are written.
//!
//! [`validate()`] is the only way from what a plugin returned to a [`Table`], and writers take
//! nothing else.

mod csv;
mod validate;

use std::ops::Range;

use crate::schema::{Column, TableSchema};

pub use csv::{TooLarge, Written, write_csv};
pub use validate::{Invalid, validate};

/// The rows of one table from one document, each as its schema says.
#[derive(Debug)]
pub struct Table {
    schema: TableSchema,
    rows: usize,
    columns: Vec<Values>,
    /// How many columns at the end of the schema the plugin doesn't know.
    missing: usize,
}

/// The values of a column, null or not.
#[derive(Debug)]
enum Values {
    Text { text: String, ranges: Vec<Option<Range<usize>>> },
    Int64(Vec<Option<i64>>),
    Float64(Vec<Option<f64>>),
    Boolean(Vec<Option<bool>>),
    Date(Vec<Option<time::Date>>),
    Timestamp(Vec<Option<time::OffsetDateTime>>),
}

impl Values {
    fn nulls(&self) -> usize {
        fn count<T>(values: &[Option<T>]) -> usize {
            values.iter().filter(|value| value.is_none()).count()
        }
        match self {
            Values::Text { ranges, .. } => count(ranges),
            Values::Int64(values) => count(values),
            Values::Float64(values) => count(values),
            Values::Boolean(values) => count(values),
            Values::Date(values) => count(values),
            Values::Timestamp(values) => count(values),
        }
    }
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

    /// Adds columns that the stored table has and the plugin doesn't know: null in every row.
    pub fn with_missing(mut self, columns: &[Column]) -> Self {
        self.schema.columns.extend_from_slice(columns);
        self.missing += columns.len();
        self
    }
}
