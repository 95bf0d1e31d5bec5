//! The artists of a playlist: who performs its tracks, and whose albums they are on.

use spotify_etl_plugin::{
    Artist, Document, Extraction, Failure, Info, Playlist, Plugin, Table, TrackEntry, entries,
    first_named,
};

/// Fills `artist`.
pub struct ArtistPlugin;

spotify_etl_plugin::register!(ArtistPlugin);

impl Plugin for ArtistPlugin {
    fn describe() -> Info {
        Info::new(env!("CARGO_PKG_VERSION")).table(artist())
    }

    fn extract(document: &Document) -> Result<Extraction, Failure> {
        let playlist = Playlist::read(document)?;
        let artists = playlist.tracks().iter().flat_map(artists);
        let artists =
            first_named(artists, |artist| entries::id(&artist.id), |artist| artist.name.as_deref());
        let batch = artist().of(artists);
        Ok(playlist.extraction([batch]))
    }
}

#[rustfmt::skip]
fn artist<'a>() -> Table<Artist<'a>> {
    Table::<Artist<'a>>::entity("artist", "An artist of a track of the playlist, or of the album it is on")
        .key(["artist_id"])
        .text("artist_id", "Spotify's id of the artist", |artist| entries::id(&artist.id)).required()
        .text("artist_name", "the artist's name", |artist| artist.name.as_deref())
        .text("external_url", "the artist's page on open.spotify.com", |artist| artist.external_urls.as_ref()?.spotify.as_deref())
}

/// The track's artists, then the album's.
fn artists<'t, 'a>(entry: &'t TrackEntry<'a>) -> impl Iterator<Item = &'t Artist<'a>> {
    let of_track = entry.track.artists.iter().flatten();
    let of_album = entry.track.album.iter().filter_map(|album| album.artists.as_ref()).flatten();
    of_track.chain(of_album).flatten()
}
