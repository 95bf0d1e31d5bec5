//! The rows of table files in a database of SQLite's, and which files they are of.
//!
//! The database is a file that later questions find, or a temporary one. What is in it is told apart by file:
//! each has a stamp, and is loaded again if that is another one. Rows are in the order of documents, whenever
//! they were loaded. Statements of users see views over the tables here, under the tables' names.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, ffi::ErrorCode,
    params, types::Value,
};

use super::{QueryError, ask, columns, functions, guard, sqlite_type, typed_select};
use crate::{
    answer::{Answer, Cell},
    catalog::{View, quoted},
    schema::{PARTITION_COLUMN, TableSchema},
};

/// What a file of this program has for its application's id, by which it is known again.
pub(super) const APPLICATION: i32 = 0x5350_4554;
/// The number of the layout of these databases. Another release may have another one.
const LAYOUT: i32 = 1;
/// How large a file of rows may be, in bytes.
pub(super) const FILE_BYTES_MAX: i64 = 4 << 30;
/// How long one program waits for another one that writes.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// How many rows are written before others may write.
const ROWS_AT_ONCE: usize = 50_000;
/// How much of a database is kept in memory, in KiB.
const MEMORY_KIB: i64 = 64 << 10;
/// The column by which every row is found, and which every file is read with.
const DOCUMENT: &str = "document";

/// A table, as much of it as a statement reads.
#[derive(Clone, Debug)]
pub struct WantedTable<'t> {
    /// The table.
    pub schema: &'t TableSchema,
    /// What tells its files from those of an earlier generation or another format.
    pub definition: String,
    /// The columns that are read.
    pub columns: BTreeSet<String>,
    /// All of its files.
    pub files: Vec<WantedFile>,
}

impl<'t> WantedTable<'t> {
    /// Returns the columns that its files are read with, in order; the first is the document.
    pub fn read_columns(&self) -> Vec<&'t str> {
        let is_read = |name: &&str| *name == DOCUMENT || self.columns.contains(*name);
        self.schema.all_columns().map(|(name, _)| name).filter(is_read).collect()
    }
}

/// A table file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedFile {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// What tells it from the file that another write leaves under its key.
    pub stamp: String,
    /// The document whose rows it has.
    pub document: String,
    /// The year that the document is of.
    pub year: i64,
    /// Whether the statement reads it.
    pub is_needed: bool,
}

/// A database of rows.
pub struct Rows {
    connection: Connection,
    /// Where it is, if it is one that stays.
    path: Option<PathBuf>,
    /// How many rows were written since others could write.
    rows_written: usize,
}

impl Rows {
    /// Opens a database that stays, or makes it. The file is there already, and may be empty.
    ///
    /// # Errors
    ///
    /// If it is not one of this program's, or can't be opened.
    pub fn in_file(path: &Path) -> Result<Self, QueryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_WAIT)?;
        guard::harden(&connection)?;
        let page: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages_max = FILE_BYTES_MAX / page.max(1);
        connection.execute_batch(&format!("PRAGMA max_page_count = {pages_max}"))?;
        connection.execute_batch("PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = NORMAL")?;
        Self::made(connection, Some(path.to_owned()))
    }

    /// Makes a database that goes with this program. It is a file of the system's, in a temporary folder, as
    /// far as it doesn't fit in memory.
    ///
    /// # Errors
    ///
    /// If SQLite fails.
    pub fn temporary() -> Result<Self, QueryError> {
        let connection = Connection::open("")?;
        guard::harden(&connection)?;
        connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
        Self::made(connection, None)
    }

    fn made(connection: Connection, path: Option<PathBuf>) -> Result<Self, QueryError> {
        connection.execute_batch(&format!("PRAGMA cache_size = -{MEMORY_KIB}"))?;
        let rows = Rows { connection, path, rows_written: 0 };
        if !rows.is_laid_out()? {
            rows.change(|change| {
                // Another program may have made it by now.
                if rows.is_laid_out()? {
                    return Ok(());
                }
                let count = "SELECT count(*) FROM main.sqlite_master";
                if change.query_row(count, [], |row| row.get::<_, i64>(0))? > 0 {
                    return Err(QueryError::Foreign);
                }
                Ok(change.execute_batch(&layout())?)
            })?;
        }
        Ok(rows)
    }

    fn is_laid_out(&self) -> Result<bool, QueryError> {
        let number = |name: &str| {
            let pragma = format!("PRAGMA main.{name}");
            self.connection.query_row(&pragma, [], |row| row.get::<_, i32>(0))
        };
        Ok((number("application_id")?, number("user_version")?) == (APPLICATION, LAYOUT))
    }

    /// Runs something as one change, or not at all.
    fn change<T>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let immediate = TransactionBehavior::Immediate;
        let transaction = Transaction::new_unchecked(&self.connection, immediate)?;
        let done = change(&self.connection)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Makes tables ready for rows, and deletes rows of files that are gone or others by now. Adds to what is
    /// wanted what the database has of it: columns that its files were read with, and files. Returns the
    /// places of the files that are to be loaded, by table.
    ///
    /// # Errors
    ///
    /// If SQLite fails, or another program keeps writing.
    pub fn prepare(&self, wanted: &mut [WantedTable<'_>]) -> Result<Vec<Vec<usize>>, QueryError> {
        self.change(|connection| {
            wanted.iter_mut().map(|table| prepare_table(connection, table)).collect()
        })
    }

    /// Puts the rows of a file into its table, each with a cell for each of the columns that are read.
    ///
    /// # Errors
    ///
    /// If SQLite fails, or another program changed the table since it was prepared.
    pub fn load(
        &mut self,
        table: &WantedTable<'_>,
        file: &WantedFile,
        rows: Vec<Vec<Cell>>,
    ) -> Result<(), QueryError> {
        if self.connection.is_autocommit() {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        self.rows_written += rows.len() + 1;
        load_file(&self.connection, table, file, rows)?;
        if self.rows_written >= ROWS_AT_ONCE { self.finish() } else { Ok(()) }
    }

    /// Keeps what was loaded.
    ///
    /// # Errors
    ///
    /// If SQLite fails, or another program keeps reading.
    pub fn finish(&mut self) -> Result<(), QueryError> {
        self.rows_written = 0;
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("COMMIT")?;
        }
        Ok(())
    }

    /// Answers a statement over exactly what is wanted, if that is what the database has now; none if
    /// another program changed it.
    ///
    /// # Errors
    ///
    /// If the statement is not a single `SELECT`, or SQLite fails.
    pub fn ask(
        self,
        wanted: &[WantedTable<'_>],
        views: &[View],
        sql: &str,
    ) -> Result<Option<Answer>, QueryError> {
        let Rows { connection, path, .. } = self;
        let reader = match path {
            Some(path) => reading(&path)?,
            None => connection,
        };
        functions::register(&reader)?;
        make_views(&reader, wanted.iter().map(|table| table.schema), views)?;
        // What is found here is what the statement sees, whatever others write.
        reader.execute_batch("BEGIN; PRAGMA query_only = ON")?;
        for table in wanted {
            if !is_as_wanted(&reader, table)? {
                return Ok(None);
            }
        }
        guard::allow_reading(&reader, |_, _| {})?;
        ask::ask(&reader, sql).map(Some)
    }

    /// Returns the connection, with all tables and views as statements see them.
    pub(super) fn with_views(
        self,
        tables: &[&TableSchema],
        views: &[View],
    ) -> Result<Connection, QueryError> {
        functions::register(&self.connection)?;
        make_views(&self.connection, tables.iter().copied(), views)?;
        Ok(self.connection)
    }
}

fn layout() -> String {
    format!(
        "CREATE TABLE main.loaded_tables (
           name TEXT PRIMARY KEY, definition TEXT NOT NULL, columns TEXT NOT NULL
         ) WITHOUT ROWID;
         CREATE TABLE main.loaded_files (
           name TEXT, key TEXT, size INTEGER NOT NULL, stamp TEXT NOT NULL, document TEXT NOT NULL,
           PRIMARY KEY (name, key)
         ) WITHOUT ROWID;
         PRAGMA main.application_id = {APPLICATION};
         PRAGMA main.user_version = {LAYOUT};"
    )
}

fn reading(path: &Path) -> Result<Connection, QueryError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    guard::harden(&connection)?;
    connection.execute_batch(&format!("PRAGMA cache_size = -{MEMORY_KIB}"))?;
    Ok(connection)
}

/// The table that has a table's rows. Statements see a view over it, without the place of each row.
fn rows_of(table: &TableSchema) -> String {
    format!("main.{}", quoted(&format!("rows of {}", table.name)))
}

fn make_views<'t>(
    connection: &Connection,
    tables: impl Iterator<Item = &'t TableSchema>,
    views: &[View],
) -> Result<(), QueryError> {
    for table in tables {
        let names: Vec<String> = columns(table).map(|(name, _)| quoted(name)).collect();
        let (name, rows, names) = (quoted(&table.name), rows_of(table), names.join(", "));
        connection
            .execute_batch(&format!("CREATE TEMP VIEW {name} AS SELECT {names} FROM {rows}"))?;
    }
    for view in views {
        let (name, select) = (quoted(&view.name), typed_select(view));
        connection.execute_batch(&format!("CREATE TEMP VIEW {name} AS\n{select}"))?;
    }
    Ok(())
}

/// What is loaded of a table: its definition, and the columns that its files were read with.
fn loaded_table(
    connection: &Connection,
    name: &str,
) -> Result<Option<(String, BTreeSet<String>)>, QueryError> {
    let sql = "SELECT definition, columns FROM main.loaded_tables WHERE name = ?";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let found = connection.query_row(sql, [name], read).optional()?;
    Ok(found.map(|(definition, columns)| {
        // Names of columns have no space in them.
        (definition, columns.split_whitespace().map(str::to_owned).collect())
    }))
}

/// The files that are loaded of a table: size and stamp by key, and the document.
type LoadedFiles = BTreeMap<String, ((u64, String), String)>;

fn loaded_files(connection: &Connection, name: &str) -> Result<LoadedFiles, QueryError> {
    let sql = "SELECT key, size, stamp, document FROM main.loaded_files WHERE name = ?";
    let mut statement = connection.prepare(sql)?;
    let files = statement.query_map([name], |row| {
        let size = u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default();
        Ok((row.get(0)?, ((size, row.get(2)?), row.get(3)?)))
    })?;
    Ok(files.collect::<Result<_, _>>()?)
}

fn prepare_table(
    connection: &Connection,
    table: &mut WantedTable<'_>,
) -> Result<Vec<usize>, QueryError> {
    let name = &table.schema.name;
    let found = loaded_table(connection, name)?;
    let found = found.filter(|(definition, _)| *definition == table.definition);
    let mut loaded = match &found {
        Some(_) => loaded_files(connection, name)?,
        None => LoadedFiles::new(),
    };
    let has_all = found.as_ref().is_some_and(|(_, columns)| columns.is_superset(&table.columns));
    table.columns.extend(found.into_iter().flat_map(|(_, columns)| columns));
    if !has_all {
        // Files that were loaded are loaded again with more columns.
        for file in &mut table.files {
            file.is_needed |= loaded.contains_key(&file.key);
        }
        loaded.clear();
        make_table(connection, table)?;
    }
    let mut stale = Vec::new();
    let current: BTreeMap<&str, (u64, &str)> =
        table.files.iter().map(|file| (file.key.as_str(), (file.size, &*file.stamp))).collect();
    loaded.retain(|key, ((size, stamp), document)| {
        let is_same = current.get(key.as_str()) == Some(&(*size, stamp.as_str()));
        if !is_same {
            stale.push((key.clone(), document.clone()));
        }
        is_same
    });
    for (key, document) in stale {
        forget(connection, table.schema, &key, &document)?;
    }
    let is_due = |file: &WantedFile| file.is_needed && !loaded.contains_key(&file.key);
    Ok((0..table.files.len()).filter(|place| is_due(&table.files[*place])).collect())
}

fn make_table(connection: &Connection, table: &WantedTable<'_>) -> Result<(), QueryError> {
    let (name, rows) = (&table.schema.name, rows_of(table.schema));
    let column = |(name, kind): (&str, _)| format!("{} {}", quoted(name), sqlite_type(kind));
    let declared: Vec<String> = columns(table.schema).map(column).collect();
    let columns: Vec<&str> = table.columns.iter().map(String::as_str).collect();
    connection.execute_batch(&format!(
        "DROP TABLE IF EXISTS {rows};
         CREATE TABLE {rows} (
           {}, \"place of the row\" INTEGER, PRIMARY KEY ({}, \"place of the row\")
         ) WITHOUT ROWID",
        declared.join(", "),
        quoted(DOCUMENT)
    ))?;
    connection.execute("DELETE FROM main.loaded_files WHERE name = ?", [name])?;
    connection.execute(
        "INSERT OR REPLACE INTO main.loaded_tables VALUES (?, ?, ?)",
        params![name, table.definition, columns.join(" ")],
    )?;
    Ok(())
}

/// Deletes the rows of a file.
fn forget(
    connection: &Connection,
    table: &TableSchema,
    key: &str,
    document: &str,
) -> Result<(), QueryError> {
    let sql = format!("DELETE FROM {} WHERE {} = ?", rows_of(table), quoted(DOCUMENT));
    connection.execute(&sql, [document])?;
    let sql = "DELETE FROM main.loaded_files WHERE name = ? AND key = ?";
    connection.execute(sql, [&table.name, key])?;
    Ok(())
}

fn load_file(
    connection: &Connection,
    table: &WantedTable<'_>,
    file: &WantedFile,
    rows: Vec<Vec<Cell>>,
) -> Result<(), QueryError> {
    let name = &table.schema.name;
    // With other columns, rows of this file would lack what another statement reads.
    let expected = Some((table.definition.clone(), table.columns.clone()));
    if loaded_table(connection, name)? != expected {
        return Err(QueryError::Changed);
    }
    let known = "SELECT 1 FROM main.loaded_files WHERE name = ? AND key = ?";
    if connection.query_row(known, [name, &file.key], |_| Ok(())).optional()?.is_some() {
        forget(connection, table.schema, &file.key, &file.document)?;
    }
    let mut names: Vec<String> = table.read_columns().into_iter().map(quoted).collect();
    names.extend([quoted(PARTITION_COLUMN), quoted("place of the row")]);
    let places = vec!["?"; names.len()].join(", ");
    let (rows_of, names) = (rows_of(table.schema), names.join(", "));
    let mut insert =
        connection.prepare(&format!("INSERT INTO {rows_of} ({names}) VALUES ({places})"))?;
    for (place, row) in (0_i64..).zip(rows) {
        let cells = row.into_iter().map(value);
        let cells = cells.chain([Value::Integer(file.year), Value::Integer(place)]);
        insert.execute(rusqlite::params_from_iter(cells))?;
    }
    let size = i64::try_from(file.size).unwrap_or(i64::MAX);
    connection.execute(
        "INSERT INTO main.loaded_files VALUES (?, ?, ?, ?, ?)",
        params![name, file.key, size, file.stamp, file.document],
    )?;
    Ok(())
}

/// Whether the database has all that is wanted of a table, and no rows of a file that is gone or another one.
fn is_as_wanted(connection: &Connection, table: &WantedTable<'_>) -> Result<bool, QueryError> {
    let name = &table.schema.name;
    let is_same = loaded_table(connection, name)?.is_some_and(|(definition, columns)| {
        definition == table.definition && columns.is_superset(&table.columns)
    });
    if !is_same {
        return Ok(false);
    }
    let loaded = loaded_files(connection, name)?;
    let mut known = 0;
    for file in &table.files {
        match loaded.get(&file.key) {
            Some(((size, stamp), _)) if *size == file.size && *stamp == file.stamp => known += 1,
            Some(_) => return Ok(false),
            None if file.is_needed => return Ok(false),
            None => {}
        }
    }
    Ok(known == loaded.len())
}

/// Whether an error says that a file is not a whole database of this program's, so that it is of no use.
pub fn is_damage(error: &QueryError) -> bool {
    match error {
        QueryError::Foreign => true,
        QueryError::Sqlite(problem) | QueryError::Sql { problem, .. } => matches!(
            problem.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
            )
        ),
        _ => false,
    }
}

fn value(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => Value::Integer(number),
        Cell::Real(number) => Value::Real(number),
        Cell::Text(text) => Value::Text(text),
    }
}
