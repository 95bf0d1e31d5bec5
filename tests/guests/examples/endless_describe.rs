//! Never says what it is.
use spotify_etl_plugin::{Document, Extraction, Failure, Info, Plugin};

struct Endless;
spotify_etl_plugin::register!(Endless);

impl Plugin for Endless {
    fn describe() -> Info {
        loop {
            std::hint::black_box(0);
        }
    }
    fn extract(_document: &Document) -> Result<Extraction, Failure> {
        Ok(Extraction::default())
    }
}
