//! A column with another name, which does not fit the stored ones.
use guests::tracks::{self, Row};
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin, Table};

struct Tracks;
spotify_etl_plugin::register!(Tracks);

fn table() -> Table<Row> {
    tracks::keyed().text("title", "its name", |row| row.name.as_deref()).int64(
        "duration_ms",
        "its length",
        |row| row.duration_ms,
    )
}

impl Plugin for Tracks {
    fn describe() -> Info {
        Info::new("4").table(table())
    }
    fn extract(document: &Document) -> Result<Extraction, Failure> {
        tracks::extract(document, table(), Some)
    }
}
