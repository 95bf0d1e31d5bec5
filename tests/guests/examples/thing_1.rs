//! The first version.
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin};

struct Thing;
spotify_etl_plugin::register!(Thing);

impl Plugin for Thing {
    fn describe() -> Info {
        Info::new("1").table(guests::thing::first())
    }
    fn extract(document: &Document) -> Result<Extraction, Failure> {
        guests::thing::extract(document, guests::thing::first())
    }
}
