//! The playlists of a store: those with snapshots, and those that its list names, read or not.

use std::collections::BTreeMap;

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::each;
use crate::{
    config::Limits,
    document::{Document, DocumentId, StoredHeader, stored_header},
    layout::{self, Key, Stage},
    pipeline::playlists::{PlaylistsError, listed_since},
    sources::{self, Origin},
    store::{Store, StoreError},
};

/// A playlist in a store.
#[derive(Debug, Default, Serialize)]
pub struct PlaylistStatus {
    /// Its id.
    pub playlist_id: String,
    /// Its name, where known; else its label.
    pub name: Option<String>,
    /// How many snapshots have tables.
    pub snapshots: usize,
    /// When the last of these was read, RFC 3339; none if there is no snapshot.
    pub last_extracted_at: Option<String>,
    /// How long ago that is, in days.
    pub age_days: Option<i64>,
    /// How many snapshots have a time in the future.
    #[serde(skip_serializing_if = "is_zero")]
    pub in_future: usize,
    /// The newest of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_in_future: Option<String>,
    /// What the last snapshot lacks, if it is known not to be the whole playlist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<Incomplete>,
    /// What the store's list says of it; none if it is not on the list, as after an import of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed: Option<Listing>,
    /// The last extraction, if that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<ExtractFailure>,
}

/// What a store's list says of a playlist.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// When it was put on the list, RFC 3339, where that is known.
    pub since: Option<String>,
    /// How long ago that is, in days.
    pub days: Option<i64>,
}

/// A snapshot that is a part of its playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// How many items it has.
    pub items: Option<u64>,
    /// How many items the playlist had, as Spotify said.
    pub of: Option<u64>,
}

/// An extraction that failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExtractFailure {
    /// The run.
    pub run_id: String,
    /// When the run began, RFC 3339.
    pub started_at: String,
    /// How long ago that is, in days.
    pub age_days: i64,
    /// What went wrong.
    pub problem: String,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl PlaylistStatus {
    /// Returns for how many days there has been no new snapshot: since the last one, or else since the playlist
    /// was put on the list.
    pub fn days_without_snapshot(&self) -> Option<i64> {
        self.age_days.or_else(|| self.listed.as_ref()?.days)
    }

    /// Returns whether it is on the store's list, and its last snapshot is older than a number of days. An imported
    /// history is not expected to go on.
    pub fn is_old(&self, age_days_max: i64) -> bool {
        self.listed.is_some() && self.age_days.is_some_and(|days| days > age_days_max)
    }

    /// Returns its name and id, for a sentence.
    pub fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.playlist_id),
            None => self.playlist_id.clone(),
        }
    }
}

impl std::fmt::Display for Incomplete {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.items, self.of) {
            (Some(items), Some(of)) if items < of => {
                write!(f, "incomplete: {items} of {of} items")
            }
            (Some(items), _) => write!(f, "incomplete: {items} items"),
            _ => f.write_str("incomplete"),
        }
    }
}

/// The playlists of a store, and why its list can't be read, if so.
#[derive(Debug, Default)]
pub(super) struct Playlists {
    /// By id.
    pub(super) found: Vec<PlaylistStatus>,
    /// What is wrong with the list.
    pub(super) list_problem: Option<String>,
}

/// Finds the playlists of a store.
///
/// # Errors
///
/// If the store can't be read.
pub(super) async fn playlists(
    store: &dyn Store,
    now: OffsetDateTime,
) -> Result<Playlists, StoreError> {
    let mut found = with_snapshots(store, now).await?;
    let list = match listed_since(store).await {
        Ok(list) => list,
        Err(PlaylistsError::Store(error)) => return Err(error),
        Err(error) => {
            let list_problem = Some(error.to_string());
            return Ok(Playlists { found: found.into_values().collect(), list_problem });
        }
    };
    for (listed, since) in list {
        let playlist = found.entry(listed.id.to_string()).or_insert_with(|| PlaylistStatus {
            playlist_id: listed.id.to_string(),
            ..PlaylistStatus::default()
        });
        playlist.name = playlist.name.take().or(listed.label);
        playlist.listed = Some(Listing {
            since: since.and_then(|moment| moment.format(&Rfc3339).ok()),
            days: since.map(|moment| (now - moment).whole_days()),
        });
    }
    Ok(Playlists { found: found.into_values().collect(), list_problem: None })
}

/// What is counted of a playlist.
struct Counted {
    snapshots: usize,
    /// The newest that is not in the future, else the newest; and its size in bytes.
    last: DocumentId,
    last_bytes: u64,
    in_future: usize,
    newest: DocumentId,
}

impl Counted {
    fn add(&mut self, document: DocumentId, bytes: u64, now: OffsetDateTime) {
        self.snapshots += 1;
        self.in_future += usize::from(document.extracted_at.is_in_future(now));
        if document.extracted_at > self.newest.extracted_at {
            self.newest = document.clone();
        }
        // One that is dated in the future is the last only if there is no other.
        let rank = |one: &DocumentId| {
            let moment = one.extracted_at.moment();
            (moment <= now, moment)
        };
        if rank(&document) > rank(&self.last) {
            (self.last, self.last_bytes) = (document, bytes);
        }
    }
}

async fn with_snapshots(
    store: &dyn Store,
    now: OffsetDateTime,
) -> Result<BTreeMap<String, PlaylistStatus>, StoreError> {
    let mut counted: BTreeMap<String, Counted> = BTreeMap::new();
    let count = |listed: crate::store::Listed| {
        let Ok(Key::Raw { document, .. }) = listed.key.parse() else { return };
        let playlist = counted.entry(document.playlist_id.to_string()).or_insert_with(|| Counted {
            snapshots: 0,
            last: document.clone(),
            last_bytes: listed.size,
            in_future: 0,
            newest: document.clone(),
        });
        playlist.add(document, listed.size, now);
    };
    each(store, layout::PROCESSED, count).await?;
    let mut playlists = BTreeMap::new();
    for (playlist_id, counted) in counted {
        let Counted { snapshots, last, last_bytes, in_future, newest } = counted;
        let moment = last.extracted_at.moment();
        let Read { name, incomplete } = read(store, &last, last_bytes).await?;
        let playlist = PlaylistStatus {
            playlist_id: playlist_id.clone(),
            name,
            snapshots,
            last_extracted_at: Some(moment.format(&Rfc3339).unwrap_or_default()),
            age_days: Some((now - moment).whole_days()),
            in_future,
            newest_in_future: (in_future > 0).then(|| newest.to_string()),
            incomplete,
            ..PlaylistStatus::default()
        };
        playlists.insert(playlist_id, playlist);
    }
    Ok(playlists)
}

/// What a playlist's last document says.
#[derive(Default)]
struct Read {
    name: Option<String>,
    incomplete: Option<Incomplete>,
}

async fn read(store: &dyn Store, id: &DocumentId, bytes: u64) -> Result<Read, StoreError> {
    let limits = Limits::default();
    if bytes > limits.document_bytes {
        return Ok(Read::default());
    }
    let key = Key::Raw { stage: Stage::Processed, document: id.clone() }.to_string();
    let Some(object) = store.get(&key).await? else { return Ok(Read::default()) };
    if let Some(StoredHeader { playlist_name: name @ Some(_), complete }) =
        stored_header(&object.bytes)
        && complete != Some(false)
    {
        return Ok(Read { name, incomplete: None });
    }
    let origin = Origin::of(&key, object.modified);
    let Ok(sources::Read { document, .. }) = sources::read(&object.bytes, &origin, &limits) else {
        return Ok(Read::default());
    };
    let incomplete = (document.complete() == Some(false)).then(|| counts(&document));
    Ok(Read { name: document.playlist_name().map(str::to_owned), incomplete })
}

fn counts(document: &Document) -> Incomplete {
    Incomplete { items: Some(document.entries() as u64), of: document.total() }
}
