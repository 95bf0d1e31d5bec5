//! The albums that a playlist's tracks are on.

use spotify_etl_plugin::{
    Album, Document, Extraction, Failure, Info, Playlist, Plugin, Table, dates, entries,
    first_named,
};

/// Fills `album`.
pub struct AlbumPlugin;

spotify_etl_plugin::register!(AlbumPlugin);

impl Plugin for AlbumPlugin {
    fn describe() -> Info {
        Info::new(env!("CARGO_PKG_VERSION")).table(album())
    }

    fn extract(document: &Document) -> Result<Extraction, Failure> {
        let playlist = Playlist::read(document)?;
        let albums = playlist.tracks().iter().filter_map(|entry| entry.track.album.as_ref());
        let albums =
            first_named(albums, |album| entries::id(&album.id), |album| album.name.as_deref());
        let batch = album().of(albums);
        Ok(playlist.extraction([batch]))
    }
}

#[rustfmt::skip]
fn album<'a>() -> Table<Album<'a>> {
    Table::<Album<'a>>::entity("album", "An album that a track of the playlist is on")
        .key(["album_id"])
        .text("album_id", "Spotify's id of the album", |album| entries::id(&album.id)).required()
        .text("name", "the album's name", |album| album.name.as_deref())
        .date("release_date", "the day it came out; the first one of it where only month or year is known", |album| dates::release_date(album.release_date.as_deref()?))
        .int64("total_tracks", "how many tracks it has", |album| album.total_tracks)
        .text("url", "the album's page on open.spotify.com", |album| album.external_urls.as_ref()?.spotify.as_deref())
        .text("release_date_precision", "how exactly the release date is known: year, month or day", |album| album.release_date_precision.as_deref())
        .text("album_type", "album, single or compilation", |album| album.album_type.as_deref())
}
