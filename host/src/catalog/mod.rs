//! The tables as SQL sees them: statements for Athena, and the views that answer what people ask, for
//! Athena and for SQLite.
//!
//! In Athena a table's files are an external table, which nobody needs to know: its name ends with a
//! mark of its own definition, so that another definition is another table. What people query are views
//! over them, typed, and alike whichever format the files have. A view is replaced at once, so whoever
//! reads sees the old table or the new one and never a mix.
//!
//! Text is made here, and not run.

mod names;
mod views;

use std::fmt::Write as _;

use crate::{
    document::sha256,
    layout::{Format, table_folder},
    schema::{Column, ColumnType, LINEAGE_COLUMNS, PARTITION_COLUMN, Scope, TableSchema},
};

pub use names::{DatabaseName, InvalidDatabaseName, backticked, literal, quoted};
pub use views::{Dialect, View, views};

/// The years that partitions are looked for in: the first that a document can be of, and one that
/// nobody will live to see pass unnoticed.
const YEARS: &str = "2006,2060";
/// How long the mark of a definition is, in hexadecimal digits.
const MARK_LENGTH: usize = 8;
/// What the names of external tables begin with.
pub const FILES_PREFIX: &str = "files_";

/// A table of the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogTable {
    /// Its columns, without those of the host.
    pub schema: TableSchema,
    /// The generation that counts.
    pub generation: u32,
    /// How the files are written that are read.
    pub format: Format,
}

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// To have the database.
    Database,
    /// To have an external table.
    Table,
    /// To have a view, or to replace it.
    View,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Statement {
    /// What it makes.
    pub name: String,
    /// What that is.
    pub kind: Kind,
    /// It needs those of lower steps, and none of its own.
    pub step: u8,
    /// The statement, without a semicolon.
    pub sql: String,
    /// The columns that it has then, with their types as Athena's SELECT calls them.
    pub columns: Vec<(String, &'static str)>,
}

/// The statements that make the catalog, in the order in which they run.
pub fn statements(
    tables: &[CatalogTable],
    database: &DatabaseName,
    location: &str,
) -> Vec<Statement> {
    let sql = format!("CREATE DATABASE IF NOT EXISTS {}", backticked(database.as_str()));
    let name = database.to_string();
    let kind = Kind::Database;
    let mut all = vec![Statement { name, kind, step: 0, sql, columns: Vec::new() }];
    let mut typed = Vec::new();
    for table in tables {
        let files = external_table(table, database, location);
        typed.push(typed_view(table, database, &files.name));
        all.push(files);
    }
    all.extend(typed);
    let schemas: Vec<&TableSchema> = tables.iter().map(|table| &table.schema).collect();
    let dialect = Dialect::Athena(database);
    for View { name, select, step, columns } in views(&schemas, dialect) {
        let (database, view) = (quoted(database.as_str()), quoted(&name));
        let sql = format!("CREATE OR REPLACE VIEW {database}.{view} AS\n{select}");
        let columns = columns.into_iter().map(|(name, kind)| (name, view_type(kind))).collect();
        all.push(Statement { name, kind: Kind::View, step: 2 + step, sql, columns });
    }
    all
}

/// The catalog as text to be pasted.
pub fn script(statements: &[Statement], remark: Option<&str>) -> String {
    let mut text = String::from(
        "-- The catalog of a store, for Athena: run the statements in this order.\n\
         -- Running them again changes nothing. `spotify-etl catalog apply` does it by itself.\n",
    );
    for line in remark.into_iter().flat_map(str::lines) {
        let _ = writeln!(text, "-- {line}");
    }
    for Statement { sql, .. } in statements {
        let _ = write!(text, "\n{sql};\n");
    }
    text
}

/// The mark of a whole catalog: another one, another mark.
pub fn mark(statements: &[Statement]) -> String {
    let all: Vec<&str> = statements.iter().map(|statement| statement.sql.as_str()).collect();
    sha256(all.join(";\n").as_bytes())
}

/// Whether an external table is one that an earlier catalog had for one of these tables.
pub fn is_outdated(name: &str, statements: &[Statement]) -> bool {
    let base = |name: &str| {
        let (base, mark) = name.strip_prefix(FILES_PREFIX)?.rsplit_once('_')?;
        let (table, format) = base.rsplit_once('_')?;
        let is_mark = mark.len() == MARK_LENGTH
            && mark.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_mark && format.parse::<Format>().is_ok()).then(|| table.to_owned())
    };
    let tables = || statements.iter().filter(|statement| statement.kind == Kind::Table);
    let Some(table) = base(name) else { return false };
    tables().any(|statement| base(&statement.name).as_ref() == Some(&table))
        && tables().all(|statement| statement.name != name)
}

fn external_table(table: &CatalogTable, database: &DatabaseName, location: &str) -> Statement {
    let CatalogTable { schema, generation, format } = table;
    let hive = |kind: ColumnType| match format {
        // The reader of CSV gives text, whatever is declared.
        Format::Csv => "string",
        Format::Parquet => hive_type(kind),
    };
    let lineage = lineage_columns();
    let columns: Vec<&Column> = lineage.iter().chain(&schema.columns).collect();
    let mut sql = String::new();
    for (index, column) in columns.iter().enumerate() {
        let comma = if index + 1 < columns.len() { "," } else { "" };
        let (name, kind) = (backticked(&column.name), hive(column.column_type));
        let comment = comment(&column.description);
        let _ = writeln!(sql, "  {name} {kind}{comment}{comma}");
    }
    let _ = writeln!(sql, "){}", comment(&schema.description));
    let _ = writeln!(sql, "PARTITIONED BY (`{PARTITION_COLUMN}` int)");
    sql.push_str(match format {
        // By default a backslash is the escape character and swallows what follows it; DEL is no
        // character of the files, as it is written as a space.
        Format::Csv => {
            "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde'\n\
             WITH SERDEPROPERTIES ('separatorChar' = ',', 'quoteChar' = '\"', 'escapeChar' = '\\u007f')\n\
             STORED AS TEXTFILE\n"
        }
        Format::Parquet => "STORED AS PARQUET\n",
    });
    let folder = table_folder(&schema.name, *generation, *format);
    let _ = writeln!(sql, "LOCATION {}", literal(&format!("{location}{folder}")));
    let header = match format {
        Format::Csv => "  'skip.header.line.count' = '1',\n",
        Format::Parquet => "",
    };
    let _ = write!(
        sql,
        "TBLPROPERTIES (\n{header}  'projection.enabled' = 'true',\n  \
         'projection.{PARTITION_COLUMN}.type' = 'integer',\n  \
         'projection.{PARTITION_COLUMN}.range' = '{YEARS}'\n)"
    );
    let mark = &sha256(sql.as_bytes())[..MARK_LENGTH];
    let name = format!("{FILES_PREFIX}{}_{format}_{mark}", schema.name);
    let (database, files) = (backticked(database.as_str()), backticked(&name));
    let sql = format!("CREATE EXTERNAL TABLE IF NOT EXISTS {database}.{files} (\n{sql}");
    let shown = |kind: ColumnType| match (format, kind) {
        (Format::Csv, _) | (_, ColumnType::Text) => "varchar",
        (_, kind) => hive_type(kind),
    };
    let columns = columns.iter().map(|column| (column.name.clone(), shown(column.column_type)));
    let columns = columns.chain([(PARTITION_COLUMN.to_owned(), "integer")]).collect();
    Statement { name, kind: Kind::Table, step: 1, sql, columns }
}

/// A table under its own name, its values typed, and alike whichever format its files have: days and
/// moments as ISO text, so that the same sentence runs on engines that have no type for them.
fn typed_view(table: &CatalogTable, database: &DatabaseName, files: &str) -> Statement {
    let (name, database) = (&table.schema.name, quoted(database.as_str()));
    let lineage = lineage_columns();
    let columns: Vec<&Column> = lineage.iter().chain(&table.schema.columns).collect();
    let mut sql = format!("CREATE OR REPLACE VIEW {database}.{} AS\nSELECT\n", quoted(name));
    for column in &columns {
        let value = typed(&column.name, column.column_type, table.format);
        let _ = writeln!(sql, "  {value} AS {},", quoted(&column.name));
    }
    let _ = write!(sql, "  {}\nFROM {database}.{}", quoted(PARTITION_COLUMN), quoted(files));
    let columns = columns.iter().map(|column| (column.name.clone(), view_type(column.column_type)));
    let columns = columns.chain([(PARTITION_COLUMN.to_owned(), "integer")]).collect();
    Statement { name: name.clone(), kind: Kind::View, step: 2, sql, columns }
}

fn typed(name: &str, column_type: ColumnType, format: Format) -> String {
    let name = quoted(name);
    match (format, column_type) {
        (Format::Csv, ColumnType::Text | ColumnType::Date | ColumnType::Timestamp) => {
            format!("nullif({name}, '')")
        }
        (Format::Csv, ColumnType::Int64) => format!("try_cast(nullif({name}, '') AS bigint)"),
        (Format::Csv, ColumnType::Float64) => {
            format!("try_cast(nullif({name}, '') AS double)")
        }
        (Format::Csv, ColumnType::Boolean) => {
            format!("try_cast(nullif({name}, '') AS boolean)")
        }
        (Format::Parquet, ColumnType::Text) => {
            format!("nullif(regexp_replace({name}, '\\r\\n|\\r|\\n|\\x7f', ' '), '')")
        }
        (Format::Parquet, ColumnType::Date) => format!("CAST({name} AS varchar)"),
        (Format::Parquet, ColumnType::Timestamp) => {
            format!("regexp_replace(CAST(CAST({name} AS timestamp(3)) AS varchar), '\\.000$', '')")
        }
        (Format::Parquet, ColumnType::Int64 | ColumnType::Float64 | ColumnType::Boolean) => name,
    }
}

fn hive_type(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Text => "string",
        ColumnType::Int64 => "bigint",
        ColumnType::Float64 => "double",
        ColumnType::Boolean => "boolean",
        ColumnType::Date => "date",
        ColumnType::Timestamp => "timestamp",
    }
}

fn view_type(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Text | ColumnType::Date | ColumnType::Timestamp => "varchar",
        ColumnType::Int64 => "bigint",
        ColumnType::Float64 => "double",
        ColumnType::Boolean => "boolean",
    }
}

/// The columns that the host writes, described.
fn lineage_columns() -> Vec<Column> {
    let described = |name: &str| match name {
        "document" => "the document that the row is from, which joins all tables",
        "playlist_id" => "the playlist",
        "extracted_at" => "when it was read from Spotify, UTC",
        _ => "the day of that, UTC",
    };
    let column = |(name, column_type): &(&str, ColumnType)| Column {
        name: (*name).to_owned(),
        column_type: *column_type,
        nullable: false,
        description: described(name).to_owned(),
    };
    LINEAGE_COLUMNS.iter().map(column).collect()
}

/// Returns whether a character steers a terminal or changes the direction of the text around it.
pub fn is_steering(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// A description as a comment, without what means something to somebody who parses it.
fn comment(description: &str) -> String {
    let plain = |letter: char| match letter {
        '\'' => '\u{2019}',
        '\\' => '/',
        ';' => ',',
        letter if is_steering(letter) => ' ',
        letter => letter,
    };
    let text: String = description.chars().map(plain).collect();
    if text.trim().is_empty() { String::new() } else { format!(" COMMENT '{}'", text.trim()) }
}
