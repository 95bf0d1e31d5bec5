//! The third version: another type, which does not fit.
use guests::thing::{self, Row};
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin, Table};

struct Thing;
spotify_etl_plugin::register!(Thing);

fn third() -> Table<Row> {
    Table::<Row>::snapshot("thing", "A thing")
        .key(["id"])
        .int64("id", "its id", |row| Some(row.len() as i64))
        .required()
}

impl Plugin for Thing {
    fn describe() -> Info {
        Info::new("3").table(third())
    }
    fn extract(document: &Document) -> Result<Extraction, Failure> {
        thing::extract(document, third())
    }
}
