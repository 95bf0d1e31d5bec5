//! All tables and views in one file for other programs.

use std::{
    io::Read as _,
    path::{Path, absolute},
};

use rusqlite::{Connection, OpenFlags};

use super::{QueryError, Rows, columns, rows::APPLICATION, sqlite_type};
use crate::{
    catalog::{View, quoted},
    schema::{ColumnType, TableSchema},
};

/// What a file of SQLite's begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

impl Rows {
    /// Keeps all of it in a file: the views as tables, since not every SQLite has what they are made with.
    /// The file appears whole, and replaces one that was kept before.
    ///
    /// # Errors
    ///
    /// If something else is there, or it can't be written.
    pub fn save(
        self,
        tables: &[&TableSchema],
        views: &[View],
        path: &Path,
    ) -> Result<(), QueryError> {
        let shown = || path.display().to_string();
        let failed = |source| QueryError::Save { path: shown(), source };
        require_own(path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = absolute(folder.unwrap_or(Path::new("."))).map_err(failed)?;
        if !folder.is_dir() {
            let words = format!("there is no folder {}", folder.display());
            return Err(failed(std::io::Error::other(words)));
        }
        let whole = tempfile::tempdir_in(&folder).map_err(failed)?;
        let whole_path = whole.path().join("whole.sqlite");
        let target = whole_path.to_str().ok_or_else(|| QueryError::Path { path: shown() })?;
        let connection = self.with_views(tables, views)?;
        connection.execute("ATTACH DATABASE ? AS saved", [target])?;
        connection.execute_batch(&format!(
            "PRAGMA saved.journal_mode = OFF; PRAGMA saved.application_id = {APPLICATION}; BEGIN"
        ))?;
        for table in tables {
            save_table(&connection, &table.name, columns(table))?;
        }
        for View { name, columns, .. } in views {
            let columns = columns.iter().map(|(name, kind)| (name.as_str(), *kind));
            save_table(&connection, name, columns)?;
        }
        connection.execute_batch("COMMIT; DETACH DATABASE saved")?;
        // Read once, so that what is kept is known to be a database.
        Connection::open_with_flags(&whole_path, OpenFlags::SQLITE_OPEN_READ_ONLY)?.query_row(
            "SELECT count(*) FROM sqlite_master",
            [],
            |_| Ok(()),
        )?;
        std::fs::rename(&whole_path, path).map_err(failed)
    }
}

/// Fails if something is there that this program did not save.
fn require_own(path: &Path) -> Result<(), QueryError> {
    let Ok(mut file) = std::fs::File::open(path) else { return Ok(()) };
    let mut start = [0; 72];
    let is_own = file.read_exact(&mut start).is_ok()
        && start.starts_with(MAGIC)
        && start[68..] == APPLICATION.to_be_bytes();
    if is_own { Ok(()) } else { Err(QueryError::InTheWay { path: path.display().to_string() }) }
}

/// Copies a table or a view as a table whose columns have declared types.
fn save_table<'c>(
    connection: &Connection,
    name: &str,
    columns: impl Iterator<Item = (&'c str, ColumnType)>,
) -> Result<(), QueryError> {
    let column = |(name, kind): (&str, _)| format!("{} {}", quoted(name), sqlite_type(kind));
    let declared: Vec<String> = columns.map(column).collect();
    let (name, declared) = (quoted(name), declared.join(", "));
    Ok(connection.execute_batch(&format!(
        "CREATE TABLE saved.{name} ({declared}); INSERT INTO saved.{name} SELECT * FROM temp.{name}"
    ))?)
}
