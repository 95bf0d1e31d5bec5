//! The second version: a nullable column more.
use guests::thing::{self, Row};
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin, Table};

struct Thing;
spotify_etl_plugin::register!(Thing);

fn second() -> Table<Row> {
    thing::first().int64("length", "how long its id is", |row| Some(row.len() as i64))
}

impl Plugin for Thing {
    fn describe() -> Info {
        Info::new("2").table(second())
    }
    fn extract(document: &Document) -> Result<Extraction, Failure> {
        thing::extract(document, second())
    }
}
