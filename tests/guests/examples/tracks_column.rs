//! A nullable column more.
use guests::tracks::{self, Row};
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin, Table};

struct Tracks;
spotify_etl_plugin::register!(Tracks);

fn table() -> Table<Row> {
    tracks::first().int64("seconds", "its length", |row| Some(row.duration_ms? / 1000))
}

impl Plugin for Tracks {
    fn describe() -> Info {
        Info::new("2").table(table())
    }
    fn extract(document: &Document) -> Result<Extraction, Failure> {
        tracks::extract(document, table(), Some)
    }
}
