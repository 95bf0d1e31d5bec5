//! One that fails on one playlist, that of the fixture `bom`.
use guests::tracks::{self, Row};
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin, Table};

struct Tracks;
spotify_etl_plugin::register!(Tracks);

fn table() -> Table<Row> {
    tracks::first()
}

impl Plugin for Tracks {
    fn describe() -> Info {
        Info::new("5").table(table())
    }
    fn extract(document: &Document) -> Result<Extraction, Failure> {
        assert_ne!(document.playlist_id, "4hr8MgZrucKidu494er4zV", "no use for it");
        tracks::extract(document, table(), Some)
    }
}
