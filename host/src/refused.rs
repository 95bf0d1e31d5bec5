//! Why bytes are rejected as a document: what is wrong, where, and what to do.

use std::fmt;

use spotify_etl_plugin::containers::NoEntries;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{config::Bytes, pages::Span};

/// Why bytes are not taken as a document.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// No bytes, or nothing but white space.
    #[error("empty: there is nothing in it (get it again)")]
    Empty,
    /// Not text.
    #[error("not UTF-8: the first bad byte is number {byte}, counted from 0 (save it as UTF-8)")]
    NotUtf8 {
        /// The offset of the first bad byte.
        byte: usize,
    },
    /// Text, and no entries in it.
    #[error("{0}")]
    NoEntries(NoEntries),
    /// JSON that is something else than a playlist.
    #[error("{0}")]
    NotAPlaylist(#[from] NotAPlaylist),
    /// Another format than JSON.
    #[error("{what} ({hint})")]
    OtherFormat {
        /// Which.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Not JSON.
    #[error("not JSON: {error} ({hint})")]
    NotJson {
        /// Where, and why.
        error: serde_json::Error,
        /// What to do.
        hint: &'static str,
    },
    /// Bytes that begin like gzip's, and can't be decompressed.
    #[error("compressed with gzip, and damaged: {what} (get it again)")]
    Gzip {
        /// What is wrong.
        what: String,
    },
    /// More than one playlist where one is expected.
    #[error("holds {count} playlists: {names} ({hint})")]
    SeveralPlaylists {
        /// How many.
        count: usize,
        /// The first of them.
        names: String,
        /// What to do.
        hint: &'static str,
    },
    /// More playlists than a file may hold.
    #[error("holds more than {max} playlists (divide it)")]
    TooManyPlaylists {
        /// How many a file may hold.
        max: usize,
    },
    /// Pages of one playlist that give the same items differently.
    #[error(
        "holds {} more than once, with different content (save each snapshot of a playlist as a file of its own)", items(*.span)
    )]
    Overlap {
        /// Which items.
        span: Span,
    },
    /// Files that hold pages of one playlist, but not all of them.
    #[error("{} of {total} are missing (add the file that holds them)", items(*.span))]
    MissingPages {
        /// The first items that are missing.
        span: Span,
        /// How many items the playlist has.
        total: u64,
    },
    /// A file that changed between two looks at it.
    #[error("the file changed while it was imported (import it again)")]
    ChangedMeanwhile,
    /// Nothing says which playlist it is.
    #[error("neither its content nor its name says which playlist it is (give it with --playlist)")]
    PlaylistUnknown,
    /// Over the limit.
    #[error("larger than the limit of {} for a document (raise it with --limit document_bytes=...)", Bytes(*.max))]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// Nested beyond the limit.
    #[error(
        "arrays and objects nested more than {levels} levels deep, at byte {byte} (raise it with --limit json_levels=...)"
    )]
    TooDeep {
        /// The limit.
        levels: u64,
        /// Where it is met.
        byte: usize,
    },
    /// A time that no partition stands for.
    #[error(
        "its time, {}, is outside the years 2006 to 2060 (say when it was read: spotify-etl import --extracted-at ...)",
        .moment.date()
    )]
    TimeOutOfRange {
        /// The time.
        moment: OffsetDateTime,
    },
    /// A time in the future.
    #[error(
        "its time, {}, is more than a day after the time on this machine, {} (give the right one: spotify-etl import --extracted-at ..., or accept it with --allow-future)",
        rfc3339(*.moment), rfc3339(*.now)
    )]
    InFuture {
        /// The time.
        moment: OffsetDateTime,
        /// The current time.
        now: OffsetDateTime,
    },
    /// A playlist id that can't be part of a key.
    #[error(
        "no playlist id of at most 128 characters can be made of `{text}` (give one with --playlist)"
    )]
    PlaylistId {
        /// What it would be made of.
        text: String,
    },
    /// A landed document of another format.
    #[error(
        "a document of format {found}, and this host reads format {known} (use a newer spotify-etl)"
    )]
    Format {
        /// The format.
        found: u32,
        /// The format that this host reads.
        known: u32,
    },
    /// A landed document whose header can't be read.
    #[error(
        "a landed document with a damaged header: {what} (take it away, and land it again from its source)"
    )]
    Header {
        /// What is wrong.
        what: String,
    },
    /// A landed document whose header was changed.
    #[error(
        "a landed document whose header was changed: its checksum is {found}, `header_xxh3` says {expected} (restore it from a backup; or correct the header, delete `header_xxh3` from it, and import it again)"
    )]
    HeaderChanged {
        /// What the header says.
        expected: String,
        /// What the header has.
        found: String,
    },
    /// A landed document that is said to be another one.
    #[error("a landed document, which stays {id} (leave --playlist and --extracted-at out)")]
    Settled {
        /// What it is.
        id: String,
    },
    /// The host's own fault.
    #[error("working on it failed inside the host: {what} (please report it, with the document)")]
    Panic {
        /// What is known.
        what: String,
    },
    /// A landed document that was edited.
    #[error(
        "a landed document whose pages were changed: their SHA-256 is {found}, the header says {expected} (take it away, and land it again from its source)"
    )]
    Changed {
        /// What the header says.
        expected: String,
        /// What the pages have.
        found: String,
    },
}

fn items(span: Span) -> String {
    match span {
        Span { first, last } if first == last => format!("item {first}"),
        Span { first, last } => format!("items {first} to {last}"),
    }
}

fn rfc3339(moment: OffsetDateTime) -> String {
    moment.truncate_to_second().format(&Rfc3339).unwrap_or_default()
}

impl Refused {
    /// Whether no plugin, limit or newer host could ever make a table of it.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Refused::Empty
                | Refused::NotUtf8 { .. }
                | Refused::NoEntries(_)
                | Refused::NotAPlaylist(_)
                | Refused::OtherFormat { .. }
                | Refused::NotJson { .. }
                | Refused::Gzip { .. }
                | Refused::SeveralPlaylists { .. }
                | Refused::TooManyPlaylists { .. }
                | Refused::Overlap { .. }
        )
    }
}

/// What a file is, as it is not a playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAPlaylist {
    /// `/me/player/recently-played`.
    Plays,
    /// Streaming history of an account export.
    StreamingHistory,
    /// `Playlist1.json` of an account export.
    ExportedPlaylists,
    /// `YourLibrary.json` of an account export.
    ExportedLibrary,
    /// Tracks without an entry around them.
    BareTracks,
    /// An album.
    Album,
    /// Albums, for example saved ones.
    Albums,
    /// Artists.
    Artists,
    /// Episodes or shows.
    Episodes,
    /// Search results.
    SearchResults,
    /// Recommendations.
    Recommendations,
    /// What a player plays or has queued.
    Player,
    /// One object of the Web API that is no list.
    OneObject,
    /// Another program's export.
    OtherProgram,
    /// Records that another program made of tracks.
    FlatRecords,
}

impl std::error::Error for NotAPlaylist {}

impl fmt::Display for NotAPlaylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ITEMS: &str = "save what /playlists/{id}/items answers";
        let (what, hint) = match self {
            NotAPlaylist::Plays => ("recently played tracks (`played_at`)", ITEMS),
            NotAPlaylist::StreamingHistory => ("the streaming history of an account export", ITEMS),
            NotAPlaylist::ExportedPlaylists => (
                "the playlists of an account export, which have no track ids, positions or albums as the Web API has them",
                ITEMS,
            ),
            NotAPlaylist::ExportedLibrary => ("the library of an account export", ITEMS),
            NotAPlaylist::BareTracks => {
                ("bare tracks, such as top tracks or tracks of an album", ITEMS)
            }
            NotAPlaylist::Album => ("an album", ITEMS),
            NotAPlaylist::Albums => ("albums", ITEMS),
            NotAPlaylist::Artists => ("artists", ITEMS),
            NotAPlaylist::Episodes => ("episodes or shows", ITEMS),
            NotAPlaylist::SearchResults => ("search results", ITEMS),
            NotAPlaylist::Recommendations => ("recommendations", ITEMS),
            NotAPlaylist::Player => ("the state of a player", ITEMS),
            NotAPlaylist::OneObject => ("one track, artist, user or show", ITEMS),
            NotAPlaylist::OtherProgram => (
                "another program's export: its `tracks` is an array",
                "the Web API has the items in `tracks.items` or `items`",
            ),
            NotAPlaylist::FlatRecords => (
                "records in which no entry has `track` or `item`",
                "import the raw answers of the Web API instead of rows made of them",
            ),
        };
        write!(f, "not a playlist: {what} ({hint})")
    }
}
