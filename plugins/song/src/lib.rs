//! What was in a playlist, at which place, and who performs it.

use rustc_hash::{FxBuildHasher, FxHashSet};
use spotify_etl_plugin::{
    Document, Extraction, Failure, Info, Playlist, Plugin, Table, TrackEntry, dates, entries,
    table::Id,
};

/// Fills `song` and `song_artist`.
pub struct Song;

spotify_etl_plugin::register!(Song);

impl Plugin for Song {
    fn describe() -> Info {
        Info::new(env!("CARGO_PKG_VERSION")).table(song()).table(song_artist())
    }

    fn extract(document: &Document) -> Result<Extraction, Failure> {
        let playlist = Playlist::read(document)?;
        let mut performers: Vec<_> = playlist.tracks().iter().flat_map(performers).collect();
        let mut seen = FxHashSet::with_capacity_and_hasher(performers.len(), FxBuildHasher);
        performers.retain(|row| seen.insert((Id(row.song_id), row.position)));
        let batches = [song().of(playlist.tracks()), song_artist().of(&performers)];
        Ok(playlist.extraction(batches))
    }
}

#[rustfmt::skip]
fn song<'a>() -> Table<TrackEntry<'a>> {
    Table::<TrackEntry<'a>>::snapshot("song", "A track of a playlist at its place; a track that is there twice has two rows")
        .key(["position"])
        .text("song_id", "Spotify's id of the track", |entry| entry.id()).required()
        .text("song_name", "the track's name", |entry| entry.track.name.as_deref())
        .int64("duration_ms", "length in milliseconds", |entry| entry.track.duration_ms)
        .text("url", "the track's page on open.spotify.com", |entry| entry.track.external_urls.as_ref()?.spotify.as_deref())
        .int64("popularity", "0 to 100; apps in development mode no longer get it", |entry| entry.track.popularity)
        .timestamp("song_added", "when it was added to the playlist, where that is known", |entry| added_at(entry))
        .text("album_id", "Spotify's id of the album", |entry| entry.track.album.as_ref()?.id.as_deref())
        .text("artist_id", "the album's first artist, not the singer: who performs the track is in song_artist", |entry| album_artist(entry))
        .int64("position", "place in the playlist, from 1; every entry counts, also those without a row", |entry| Some(entry.position.into())).required()
        .boolean("explicit", "whether the lyrics are marked as explicit", |entry| entry.track.explicit)
        .int64("disc_number", "the disc it is on, from 1", |entry| entry.track.disc_number)
        .int64("track_number", "its number on the disc, from 1", |entry| entry.track.track_number)
        .text("isrc", "International Standard Recording Code", |entry| entry.track.external_ids.as_ref()?.isrc.as_deref())
}

#[rustfmt::skip]
fn song_artist<'a>() -> Table<Performer<'a>> {
    Table::<Performer<'a>>::snapshot("song_artist", "Who performs a track, in order; an artist without an id leaves a gap")
        .key(["song_id", "artist_position"])
        .text("song_id", "Spotify's id of the track", |row| Some(row.song_id)).required()
        .text("artist_id", "Spotify's id of the artist", |row| Some(row.artist_id)).required()
        .int64("artist_position", "place among the track's artists, from 1", |row| Some(row.position)).required()
}

struct Performer<'a> {
    song_id: &'a str,
    artist_id: &'a str,
    position: i64,
}

fn performers<'t>(entry: &'t TrackEntry<'_>) -> impl Iterator<Item = Performer<'t>> {
    let artists = entry.track.artists.iter().flatten();
    artists.zip(1..).filter_map(|(artist, position)| {
        let artist_id = entries::id(&artist.as_ref()?.id)?;
        Some(Performer { song_id: entry.id()?, artist_id, position })
    })
}

/// Returns when an entry was added. Spotify says 1970-01-01T00:00:00Z where it doesn't know.
fn added_at(entry: &TrackEntry<'_>) -> Option<i64> {
    dates::timestamp(entry.added_at.as_deref()?).filter(|milliseconds| *milliseconds != 0)
}

fn album_artist<'t>(entry: &'t TrackEntry<'_>) -> Option<&'t str> {
    let artists = entry.track.album.as_ref()?.artists.as_ref()?;
    artists.first()?.as_ref()?.id.as_deref()
}
