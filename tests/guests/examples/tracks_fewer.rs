//! Without the track that comes first.
use guests::tracks::{self, Row};
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin, Table};

struct Tracks;
spotify_etl_plugin::register!(Tracks);

fn table() -> Table<Row> {
    tracks::first()
}

impl Plugin for Tracks {
    fn describe() -> Info {
        Info::new("3").table(table())
    }
    fn extract(document: &Document) -> Result<Extraction, Failure> {
        tracks::extract(document, table(), |row| (row.position > 1).then_some(row))
    }
}
