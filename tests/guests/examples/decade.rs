//! A good plugin that the host has never heard of: tracks by the decade of their album.
use std::collections::BTreeMap;

use spotify_etl_plugin::{Document, Extraction, Failure, Info, Playlist, Plugin, Table};

struct Decade;
spotify_etl_plugin::register!(Decade);

type Row = (i64, i64);

fn decade() -> Table<Row> {
    Table::<Row>::snapshot("decade", "How many tracks are on albums of a decade")
        .key(["decade"])
        .int64("decade", "its first year", |row| Some(row.0))
        .required()
        .int64("tracks", "how many", |row| Some(row.1))
        .required()
        .float64("share", "of all rows' tracks, roughly", |row| Some(row.1 as f64 / 10.0))
}

impl Plugin for Decade {
    fn describe() -> Info {
        Info::new("0.1.0").table(decade())
    }
    fn extract(document: &Document) -> Result<Extraction, Failure> {
        let playlist = Playlist::read(document)?;
        let mut tracks = BTreeMap::new();
        for entry in playlist.tracks() {
            let date = entry.track.album.as_ref().and_then(|album| album.release_date.as_deref());
            if let Some(year) = date.and_then(|date| date.get(..4)?.parse::<i64>().ok()) {
                *tracks.entry(year / 10 * 10).or_insert(0) += 1;
            }
        }
        spotify_etl_plugin::plugin::log(&format!("{} decades", tracks.len()));
        let rows: Vec<Row> = tracks.into_iter().collect();
        let batch = decade().of(&rows);
        Ok(playlist.extraction([batch]))
    }
}
