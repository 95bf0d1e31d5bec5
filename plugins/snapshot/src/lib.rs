//! One row for each document: what it is a snapshot of, and how much of it gave rows.

use spotify_etl_plugin::{
    Document, Extraction, Failure, Info, Playlist, Plugin, Table, entries::SkipReason,
};

/// Fills `snapshot`.
pub struct Snapshot;

spotify_etl_plugin::register!(Snapshot);

impl Plugin for Snapshot {
    fn describe() -> Info {
        Info::new(env!("CARGO_PKG_VERSION")).table(snapshot())
    }

    fn extract(document: &Document) -> Result<Extraction, Failure> {
        let row = (document, Playlist::read(document)?);
        let batch = snapshot().of([&row]);
        Ok(row.1.extraction([batch]))
    }
}

type Row<'a> = (&'a Document, Playlist<'a>);

#[rustfmt::skip]
fn snapshot<'a>() -> Table<Row<'a>> {
    Table::<Row<'a>>::snapshot("snapshot", "A playlist as read at one time: exactly one row for each document")
        .text("playlist_name", "the playlist's name", |(document, _)| document.playlist_name.as_deref())
        .text("playlist_owner", "the owner's display name, or else id", |(document, _)| document.playlist_owner.as_deref())
        .text("spotify_snapshot_id", "Spotify's mark of this state of the playlist", |(document, _)| document.snapshot_id.as_deref())
        .boolean("complete", "whether all entries of the playlist are here, where that can be told", |(document, _)| document.complete)
        .int64("entries", "entries in the document", |(_, playlist)| Some(playlist.entries())).required()
        .int64("tracks", "entries that hold a track", |(_, playlist)| Some(playlist.tracks().len() as i64)).required()
        .int64("skipped_no_payload", "entries without a track: removed, or not available any more", |(_, playlist)| Some(playlist.skipped(SkipReason::NoPayload))).required()
        .int64("skipped_episode", "entries that are episodes of podcasts", |(_, playlist)| Some(playlist.skipped(SkipReason::Episode))).required()
        .int64("skipped_other_type", "entries that are neither track nor episode", |(_, playlist)| Some(playlist.skipped(SkipReason::OtherType))).required()
        .int64("skipped_local_file", "entries that are files on somebody's own disk", |(_, playlist)| Some(playlist.skipped(SkipReason::LocalFile))).required()
        .int64("skipped_no_id", "tracks without an id", |(_, playlist)| Some(playlist.skipped(SkipReason::NoId))).required()
        .int64("skipped_unreadable", "entries of which a field has a type it should not have", |(_, playlist)| Some(playlist.skipped(SkipReason::Unreadable))).required()
}
