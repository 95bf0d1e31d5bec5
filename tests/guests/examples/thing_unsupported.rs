//! A version that has no use for any document.
use guests::thing;
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin};

struct Thing;
spotify_etl_plugin::register!(Thing);

impl Plugin for Thing {
    fn describe() -> Info {
        Info::new("4").table(thing::first())
    }
    fn extract(_: &Document) -> Result<Extraction, Failure> {
        Err(Failure::Unsupported("no longer for it".to_owned()))
    }
}
