//! SQL on this machine: SQLite, with the tables and views under the names that they have in Athena.
//!
//! A statement is prepared over empty tables first ([`Probe`]), which says what it reads. Only that is loaded
//! into a database of rows ([`Rows`]), which is a file that later questions find, or a temporary one. Dates
//! and timestamps are ISO text, as in Athena's views, so that one statement runs on both. Where rows come from
//! is not known here.

mod ask;
mod cache;
mod functions;
mod guard;
mod probe;
mod rows;
mod save;

use crate::{
    catalog::{View, quoted},
    schema::{ColumnType, PARTITION_COLUMN, TableSchema},
};

pub use cache::CacheFolder;
pub use probe::{Need, Probe};
pub use rows::{Rows, WantedFile, WantedTable, is_damage};

fn columns(table: &TableSchema) -> impl Iterator<Item = (&str, ColumnType)> {
    table.all_columns().chain([(PARTITION_COLUMN, ColumnType::Int64)])
}

fn sqlite_type(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Text | ColumnType::Date | ColumnType::Timestamp => "TEXT",
        ColumnType::Int64 => "INTEGER",
        ColumnType::Float64 => "REAL",
        ColumnType::Boolean => "BOOLEAN",
    }
}

/// Returns a view as a `SELECT` whose columns compare like columns of a table with the declared types. In SQLite
/// an expression has no type affinity, so `position = '1'` is false for a computed number, but a `CAST` has.
fn typed_select(view: &View) -> String {
    let cast = |(name, kind): &(String, ColumnType)| {
        let name = quoted(name);
        format!("CAST({name} AS {}) AS {name}", sqlite_type(*kind))
    };
    let columns: Vec<String> = view.columns.iter().map(cast).collect();
    format!("SELECT {} FROM (\n{}\n)", columns.join(", "), view.select)
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It can't be answered.
    #[error("{problem}{hint}")]
    Sql {
        /// What to write instead.
        hint: String,
        /// What SQLite says.
        problem: rusqlite::Error,
    },
    /// A text is to be made a day.
    #[error(
        "CAST to a date or timestamp makes no sense here (days and moments are text in these tables: write date(snapshot_date), here and in Athena)"
    )]
    Cast,
    /// It asks for rows and for the names of tables at once.
    #[error(
        "a statement reads either tables or SQLite's list of them (ask for the names alone: SELECT name FROM sqlite_master)"
    )]
    Schema,
    /// It asks for nothing.
    #[error("only a SELECT can be asked, and a single one: what changes tables are the plugins")]
    NoSelect,
    /// Something else is where the database should be kept.
    #[error("{path} was not made by `query --save`, and is left as it is (name another file)")]
    InTheWay {
        /// Where.
        path: String,
    },
    /// The database can't be kept.
    #[error("the database can't be written to {path}: {source}")]
    Save {
        /// Where.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A folder's name can't be given to SQLite.
    #[error("{path} has a name that is not UTF-8 (name another file)")]
    Path {
        /// Where.
        path: String,
    },
    /// A cache of rows is not one that this program wrote, or of another release.
    #[error("a cache of rows is not one that this program reads")]
    Foreign,
    /// Another program changed the cache of rows.
    #[error("another program changed the cache of rows")]
    Changed,
    /// A cache of rows can't be where it should be.
    #[error("rows can't be cached: {0}")]
    Cache(#[from] std::io::Error),
    /// SQLite fails.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
}
