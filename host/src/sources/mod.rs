//! Source formats: what files hold playlists, and which documents they become.
//!
//! [`files`] finds files and reads them. [`read_all`] makes documents of bytes, whether the host stored them or
//! another program wrote them, and rejects what is not a playlist ([`recognise`]). Which playlist it is, and of when,
//! is the business of [`identity`]; in which order pages belong, of [`crate::pages`].

pub mod files;
pub mod identity;
pub mod recognise;

use std::{borrow::Cow, io::Read as _};

use bytes::Bytes as RawBytes;
use bytestring::ByteString;
use flate2::read::MultiGzDecoder;
use spotify_etl_plugin::containers::{NoEntries, PlaylistFacts};

use crate::{
    config::Limits,
    document::{Document, Imported, decoded, json_text},
    pages::{self, Part},
    refused::Refused,
};
pub use identity::{Identity, Origin, PlaylistFrom, PlaylistSource, TimeSource};

/// How many playlists a file may hold.
const PLAYLISTS_MAX: usize = 1_000;
/// How many playlists a message names.
const NAMED_MAX: usize = 5;

/// A document that bytes hold.
#[derive(Debug)]
pub struct Read {
    /// The document.
    pub document: Document,
    /// Where its playlist and time come from.
    pub identity: Identity,
    /// The playlist's id in the content, whatever the user gave.
    pub content_id: Option<String>,
}

/// Reads the one document in bytes: a stored one, or any JSON that holds the entries of one playlist.
///
/// # Errors
///
/// Why there is none, which limit is exceeded, or that there are several.
pub fn read(bytes: &RawBytes, origin: &Origin<'_>, limits: &Limits) -> Result<Read, Refused> {
    let mut all = read_all(bytes, origin, limits)?;
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => Ok(only),
        (last, _) => {
            all.extend(last);
            let ids: Vec<_> = all.iter().map(|read| &read.document.id().playlist_id).collect();
            let hint = "import the file, which makes a document of each: spotify-etl import FILE";
            Err(several(ids.len(), ids.iter().map(ToString::to_string), hint))
        }
    }
}

/// Reads a document in a store. One whose bytes are exactly as a host wrote them was checked when it was stored, and
/// is not parsed again.
///
/// # Errors
///
/// As for [`read`].
pub fn read_again(bytes: &RawBytes, origin: &Origin<'_>, limits: &Limits) -> Result<Read, Refused> {
    match Document::unchanged(bytes, limits) {
        Some(document) => settled(document, origin),
        None => read(bytes, origin, limits),
    }
}

/// Reads all documents in bytes: one for each playlist. The bytes may be compressed with gzip.
///
/// # Errors
///
/// Why there is none, or which limit is exceeded.
pub fn read_all(
    bytes: &RawBytes,
    origin: &Origin<'_>,
    limits: &Limits,
) -> Result<Vec<Read>, Refused> {
    let bytes = unpacked(bytes, limits)?;
    recognise::check_bytes(&bytes)?;
    let whole = decoded(&bytes, limits)?;
    let text = whole.slice_ref(json_text(&whole, limits)?);
    match Document::stored(&text)? {
        Some(document) => Ok(vec![settled(document, origin)?]),
        None => of_web_api(&text, origin),
    }
}

/// Returns bytes as they are, or what they are compressed.
fn unpacked<'b>(bytes: &'b RawBytes, limits: &Limits) -> Result<Cow<'b, RawBytes>, Refused> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut unpacked = Vec::new();
    let max = limits.document_bytes;
    let mut decoder = MultiGzDecoder::new(&bytes[..]).take(max.saturating_add(1));
    match decoder.read_to_end(&mut unpacked) {
        Ok(_) if unpacked.len() as u64 > max => Err(Refused::TooLarge { max }),
        Ok(_) => Ok(Cow::Owned(unpacked.into())),
        Err(error) => Err(Refused::Gzip { what: error.to_string() }),
    }
}

/// A stored document says itself which it is.
fn settled(document: Document, origin: &Origin<'_>) -> Result<Read, Refused> {
    let id = document.id();
    let other_playlist = origin.playlist.is_some_and(|given| *given != id.playlist_id);
    let other_time = origin.extracted_at.is_some_and(|given| given != id.extracted_at);
    if other_playlist || other_time {
        return Err(Refused::Settled { id: id.to_string() });
    }
    let content_id = Some(id.playlist_id.to_string());
    Ok(Read { document, identity: Identity::STATED, content_id })
}

/// Makes documents of answers of the Web API: playlist objects, pages of items, bare items, or arrays of these.
fn of_web_api(text: &ByteString, origin: &Origin<'_>) -> Result<Vec<Read>, Refused> {
    let parts = pages::parts(text).map_err(|error| explained(text, error))?;
    recognise::check(text, &parts)?;
    let groups = pages::by_playlist(parts);
    if let [parts] = groups.as_slice() {
        let facts = facts(parts);
        let is_whole = vec![text.clone()];
        let [parts] = <[_; 1]>::try_from(groups).unwrap_or_default();
        return Ok(vec![document(parts, &facts, origin, is_whole)?]);
    }
    if groups.len() > PLAYLISTS_MAX {
        return Err(Refused::TooManyPlaylists { max: PLAYLISTS_MAX });
    }
    let all: Vec<PlaylistFacts> = groups.iter().map(|parts| facts(parts)).collect();
    if origin.playlist.is_some() || all.iter().any(|facts| facts.id.is_none()) {
        let names = all.iter().map(|facts| {
            let name = facts.id.as_ref().or(facts.name.as_ref());
            name.cloned().unwrap_or_else(|| "one without id and name".to_owned())
        });
        let hint = match origin.playlist {
            Some(_) => "--playlist is for one playlist: leave it out",
            None => "not each has an `id`: save each as a file of its own",
        };
        return Err(several(all.len(), names, hint));
    }
    let of_group = |(parts, facts): (Vec<Part<'_>>, &PlaylistFacts)| {
        let pages = parts.iter().map(|part| text.slice_ref(part.text)).collect();
        document(parts, facts, origin, pages)
    };
    groups.into_iter().zip(&all).map(of_group).collect()
}

/// Makes the document of one playlist.
fn document(
    parts: Vec<Part<'_>>,
    facts: &PlaylistFacts,
    origin: &Origin<'_>,
    pages: Vec<ByteString>,
) -> Result<Read, Refused> {
    let arranged = pages::arrange(parts).map_err(|span| Refused::Overlap { span })?;
    let (playlist_id, playlist) = identity::playlist(origin, facts.id.as_deref())?;
    let (extracted_at, time) = identity::time(origin)?;
    let about = Imported {
        playlist_id,
        name: facts.name.clone(),
        owner: facts.owner.clone(),
        snapshot_id: facts.snapshot_id.clone(),
        extracted_at,
        complete: arranged.complete,
        total: arranged.total,
        arrange: arranged.is_changed,
        entries: arranged.entries,
    };
    let document = Document::imported(about, pages);
    Ok(Read { document, identity: Identity { playlist, time }, content_id: facts.id.clone() })
}

/// Makes one document of several that hold pages of one playlist, read at one time.
///
/// # Errors
///
/// If pages overlap with other items, or don't hold all items together.
pub fn joined(documents: &[&Document]) -> Result<Document, Refused> {
    let times = documents.iter().map(|document| document.id().extracted_at);
    let (first, extracted_at) = documents.first().zip(times.min()).ok_or(Refused::Empty)?;
    let mut all: Vec<&ByteString> =
        documents.iter().flat_map(|document| document.pages()).collect();
    let offset = |page: &&ByteString| {
        let parts = pages::parts(page).unwrap_or_default();
        parts.first().and_then(Part::offset).unwrap_or_default()
    };
    all.sort_by_cached_key(offset);
    let mut parts = Vec::new();
    for page in &all {
        parts.extend(pages::parts(page).map_err(Refused::NoEntries)?);
    }
    let facts = facts(&parts);
    let arranged = pages::arrange(parts).map_err(|span| Refused::Overlap { span })?;
    if let Some(span) = pages::missing(&arranged) {
        return Err(Refused::MissingPages { span, total: arranged.total.unwrap_or_default() });
    }
    let about = Imported {
        playlist_id: first.id().playlist_id.clone(),
        name: facts.name,
        owner: facts.owner,
        snapshot_id: facts.snapshot_id,
        extracted_at,
        complete: arranged.complete,
        total: arranged.total,
        arrange: arranged.is_changed,
        entries: arranged.entries,
    };
    Ok(Document::imported(about, all.into_iter().cloned().collect()))
}

/// Returns what the parts of a playlist say of it: of each fact the first.
fn facts(parts: &[Part<'_>]) -> PlaylistFacts {
    let mut all = PlaylistFacts::default();
    for Part { facts, .. } in parts {
        all.id = all.id.take().or_else(|| facts.id.clone());
        all.name = all.name.take().or_else(|| facts.name.clone());
        all.owner = all.owner.take().or_else(|| facts.owner.clone());
        all.snapshot_id = all.snapshot_id.take().or_else(|| facts.snapshot_id.clone());
    }
    all
}

fn explained(text: &str, error: NoEntries) -> Refused {
    match error {
        NoEntries::NotJson(error) => recognise::not_json(text, error),
        NoEntries::NotAPlaylist { .. } | NoEntries::PlaylistWithoutEntries => {
            recognise::diagnose(text).map_or(Refused::NoEntries(error), Refused::NotAPlaylist)
        }
        other => Refused::NoEntries(other),
    }
}

fn several(count: usize, names: impl Iterator<Item = String>, hint: &'static str) -> Refused {
    let mut named: Vec<String> = names.take(NAMED_MAX).map(|name| format!("`{name}`")).collect();
    if count > named.len() {
        named.push("...".to_owned());
    }
    Refused::SeveralPlaylists { count, names: named.join(", "), hint }
}
