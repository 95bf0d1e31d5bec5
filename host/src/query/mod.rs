//! SQL at home: SQLite in memory, with the tables and views under the names that they have in Athena.
//!
//! Days and moments are ISO text, as in Athena's views, so that one sentence runs on both. Where rows
//! come from is not known here.

mod functions;

use std::{io::Read as _, path::Path};

use rusqlite::{
    Connection, OpenFlags,
    config::DbConfig,
    types::{Value, ValueRef},
};

use crate::{
    answer::{Answer, Cell},
    catalog::View,
    schema::{ColumnType, PARTITION_COLUMN, TableSchema},
};

/// What a file of SQLite's begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What a file of this program has for its application's id, by which it is known again.
const APPLICATION: i32 = 0x5350_4554;

/// A database in memory.
pub struct Database {
    connection: Connection,
}

impl Database {
    /// One with these tables, empty, and these views over them.
    ///
    /// # Errors
    ///
    /// If SQLite takes none of them.
    pub fn new(tables: &[&TableSchema], views: &[View]) -> Result<Self, QueryError> {
        let connection = Connection::open_in_memory()?;
        functions::register(&connection)?;
        // As in Athena: letters differ by case, and what is in double quotes is a name.
        connection.execute_batch("PRAGMA case_sensitive_like = ON")?;
        connection.execute_batch(&format!("PRAGMA application_id = {APPLICATION}"))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        for table in tables {
            let columns: Vec<String> = columns(table)
                .map(|(name, kind)| format!("\"{name}\" {}", sqlite_type(kind)))
                .collect();
            let columns = columns.join(", ");
            connection.execute_batch(&format!("CREATE TABLE \"{}\" ({columns})", table.name))?;
        }
        for View { name, select, .. } in views {
            connection.execute_batch(&format!("CREATE VIEW \"{name}\" AS\n{select}"))?;
        }
        Ok(Database { connection })
    }

    /// Puts rows into a table, each with a cell for each of its columns: those of the host, its own,
    /// and the year.
    ///
    /// # Errors
    ///
    /// If there are more or fewer cells than columns.
    pub fn insert(&self, table: &TableSchema, rows: Vec<Vec<Cell>>) -> Result<(), QueryError> {
        let places = vec!["?"; columns(table).count()].join(", ");
        let sql = format!("INSERT INTO \"{}\" VALUES ({places})", table.name);
        let change = self.connection.unchecked_transaction()?;
        {
            let mut insert = change.prepare(&sql)?;
            for row in rows {
                insert.execute(rusqlite::params_from_iter(row.into_iter().map(value)))?;
            }
        }
        change.commit()?;
        Ok(())
    }

    /// Answers a `SELECT`.
    ///
    /// # Errors
    ///
    /// If it is none, or not one that SQLite understands.
    pub fn ask(&self, sql: &str) -> Result<Answer, QueryError> {
        let refused = |problem| match problem {
            rusqlite::Error::MultipleStatement => QueryError::NoSelect,
            problem => QueryError::Sql { hint: self.hint(sql, &problem), problem },
        };
        let first: String = sql.chars().take_while(|letter| letter.is_alphabetic()).collect();
        if ["pragma", "explain", "insert", "update", "delete"].contains(&&*first.to_lowercase()) {
            return Err(QueryError::NoSelect);
        }
        if casts_to_a_day(sql) {
            return Err(QueryError::Cast);
        }
        let mut statement = self.connection.prepare(sql).map_err(refused)?;
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(QueryError::NoSelect);
        }
        let columns: Vec<String> =
            statement.column_names().into_iter().map(str::to_owned).collect();
        let mut found = statement.query([]).map_err(refused)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(refused)? {
            let cells = (0..columns.len()).map(|index| row.get_ref(index).map(cell));
            rows.push(cells.collect::<Result<_, _>>().map_err(refused)?);
        }
        Ok(Answer { columns, rows })
    }

    /// What to write instead.
    fn hint(&self, sql: &str, problem: &rusqlite::Error) -> String {
        if !problem.to_string().contains("no such table") {
            return hint(sql).to_owned();
        }
        let names = self
            .connection
            .prepare("SELECT name FROM sqlite_master ORDER BY name")
            .and_then(|mut all| all.query_map([], |row| row.get(0))?.collect::<Result<_, _>>());
        let names: Vec<String> = names.unwrap_or_default();
        format!(" (there are {}, without a database's name before them)", names.join(", "))
    }

    /// Keeps all of it in a file for other programs: the views as tables, since not every SQLite has
    /// what they are made with. The file appears whole, and replaces one that was kept before.
    ///
    /// # Errors
    ///
    /// If something else is there, or it can't be written.
    pub fn save(&self, views: &[View], path: &Path) -> Result<(), QueryError> {
        let failed = |source| QueryError::Save { path: path.display().to_string(), source };
        if let Ok(mut file) = std::fs::File::open(path) {
            let mut start = [0; 72];
            let is_ours = file.read_exact(&mut start).is_ok()
                && start.starts_with(MAGIC)
                && start[68..] == APPLICATION.to_be_bytes();
            if !is_ours {
                return Err(QueryError::InTheWay { path: path.display().to_string() });
            }
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(failed(std::io::Error::other(format!(
                "there is no folder {}",
                folder.display()
            ))));
        }
        let whole = tempfile::tempdir_in(folder).map_err(failed)?;
        let whole_path = whole.path().join("whole.sqlite");
        let change = self.connection.unchecked_transaction()?;
        for View { name, .. } in views {
            change
                .execute_batch(&format!("CREATE TABLE \"_{name}\" AS SELECT * FROM \"{name}\""))?;
        }
        for View { name, .. } in views.iter().rev() {
            change.execute_batch(&format!("DROP VIEW \"{name}\""))?;
        }
        for View { name, .. } in views {
            change.execute_batch(&format!("ALTER TABLE \"_{name}\" RENAME TO \"{name}\""))?;
        }
        change.commit()?;
        let target = whole_path.to_string_lossy().into_owned();
        self.connection.execute("VACUUM INTO ?", [target])?;
        // Read once, so that what is kept is known to be a database.
        Connection::open_with_flags(&whole_path, OpenFlags::SQLITE_OPEN_READ_ONLY)?.query_row(
            "SELECT count(*) FROM sqlite_master",
            [],
            |_| Ok(()),
        )?;
        std::fs::rename(&whole_path, path).map_err(failed)
    }
}

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

fn value(cell: Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => Value::Integer(number),
        Cell::Real(number) => Value::Real(number),
        Cell::Text(text) => Value::Text(text),
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Cell::Text(String::from_utf8_lossy(text).into_owned())
        }
    }
}

/// Whether a text is made a day or a moment as Trino does; SQLite would make a number of it.
fn casts_to_a_day(sql: &str) -> bool {
    let words: Vec<&str> = sql.split_whitespace().collect();
    let text = words.join(" ").to_lowercase().replace(" )", ")");
    text.contains("cast(") && (text.contains(" as date)") || text.contains(" as timestamp)"))
}

/// What to write instead, where a sentence is one that only Athena understands.
fn hint(sql: &str) -> &'static str {
    let words: String = sql
        .to_lowercase()
        .chars()
        .map(|letter| if letter.is_whitespace() { ' ' } else { letter })
        .collect();
    let has = |word: &str| {
        words.match_indices(word).any(|(at, _)| {
            !words[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
        })
    };
    if has("date '") || has("timestamp '") {
        " (days and moments are text in these tables, here and in Athena: write '2026-07-06' instead of DATE '2026-07-06', and date('2026-07-06') where a function wants one)"
    } else if has("interval '") {
        " (there are no intervals here: date_add('day', -7, a_day) runs here and in Athena)"
    } else if has("try_cast") {
        " (CAST does here what TRY_CAST does in Athena)"
    } else if has("unnest") || has("approx_") || has("regexp_") {
        " (that is Athena's alone: ask there with --athena)"
    } else {
        ""
    }
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
    /// SQLite fails.
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
}
