//! A table that looks different in each version of its plugin.

use spotify_etl_plugin::{Document, Extraction, Failure, Playlist, Table, table::Batch};

/// What a row is made of.
pub type Row = String;

/// The rows: one, made of the playlist's id.
///
/// # Errors
///
/// Never.
pub fn extract(document: &Document, table: Table<Row>) -> Result<Extraction, Failure> {
    let batch: Batch = table.of([&document.playlist_id]);
    Ok(Playlist::default().extraction([batch]))
}

/// The first version's columns.
pub fn first() -> Table<Row> {
    Table::<Row>::snapshot("thing", "A thing")
        .key(["id"])
        .text("id", "its id", |row| Some(row))
        .required()
}
