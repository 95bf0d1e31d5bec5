//! The first version, which the others are held against.
use guests::tracks::{self, Row};
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin, Table};

struct Tracks;
spotify_etl_plugin::register!(Tracks);

fn table() -> Table<Row> {
    tracks::first()
}

impl Plugin for Tracks {
    fn describe() -> Info {
        Info::new("1").table(table())
    }
    fn extract(document: &Document) -> Result<Extraction, Failure> {
        tracks::extract(document, table(), Some)
    }
}
