//! Declares tables that can't be.
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin, Table};

struct BadSchema;
spotify_etl_plugin::register!(BadSchema);

impl Plugin for BadSchema {
    fn describe() -> Info {
        let table = Table::<()>::entity("Bad Name", "")
            .key(["nowhere", "document"])
            .text("document", "reserved", |()| None)
            .text("twice", "", |()| None)
            .text("twice", "", |()| None);
        Info::new("1").table(table).table(Table::<()>::snapshot("empty", ""))
    }
    fn extract(_document: &Document) -> Result<Extraction, Failure> {
        Ok(Extraction::default())
    }
}
