//! Another rule: a length is in whole seconds.
use guests::tracks::{self, Row};
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin, Table};

struct Tracks;
spotify_etl_plugin::register!(Tracks);

fn table() -> Table<Row> {
    tracks::first()
}

impl Plugin for Tracks {
    fn describe() -> Info {
        Info::new("1.1").table(table())
    }
    fn extract(document: &Document) -> Result<Extraction, Failure> {
        tracks::extract(document, table(), |row| {
            Some(Row { duration_ms: row.duration_ms.map(|length| length / 1000 * 1000), ..row })
        })
    }
}
