//! A table of tracks, and what versions of its plugin have in common.

use spotify_etl_plugin::{Document, Extraction, Failure, Playlist, Table, table::Batch};

/// What a row is made of.
#[derive(Clone)]
pub struct Row {
    /// The place in the playlist.
    pub position: i64,
    /// Spotify's id.
    pub song_id: String,
    /// The name, where there is one.
    pub name: Option<String>,
    /// The length, where it is known.
    pub duration_ms: Option<i64>,
}

/// The key that all versions have.
pub fn keyed() -> Table<Row> {
    Table::<Row>::snapshot("tracks", "A track of the playlist")
        .key(["position"])
        .int64("position", "place in the playlist", |row| Some(row.position))
        .required()
        .text("song_id", "Spotify's id", |row| Some(&row.song_id))
        .required()
}

/// The first version's columns.
pub fn first() -> Table<Row> {
    keyed().text("name", "its name", |row| row.name.as_deref()).int64(
        "duration_ms",
        "its length",
        |row| row.duration_ms,
    )
}

/// Makes rows, each of which may be changed or left out.
///
/// # Errors
///
/// As the SDK says.
pub fn extract(
    document: &Document,
    table: Table<Row>,
    change: impl Fn(Row) -> Option<Row>,
) -> Result<Extraction, Failure> {
    let playlist = Playlist::read(document)?;
    let row = |entry: &spotify_etl_plugin::TrackEntry<'_>| Row {
        position: entry.position.into(),
        song_id: entry.id().unwrap_or_default().to_owned(),
        name: entry.track.name.as_deref().map(str::to_owned),
        duration_ms: entry.track.duration_ms,
    };
    let rows: Vec<Row> = playlist.tracks().iter().map(row).filter_map(change).collect();
    let batch: Batch = table.of(&rows);
    Ok(playlist.extraction([batch]))
}
