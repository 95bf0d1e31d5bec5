//! Decides what files become before any of them is imported.
//!
//! All files are looked at once: which playlists they hold, of when, and how much of them. Pages of one playlist in
//! several files are planned as one document. If identities that are only assumed collide or fall apart, nothing is
//! imported, and the error names the flag that settles it.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
};

use time::Duration;

use crate::{
    document::{Document, DocumentId, ExtractedAt, PlaylistId},
    pages::{self, Part},
    sources::{Identity, PlaylistSource, Read, TimeSource, identity::dateless_folders},
};

/// How many files or playlists a message names.
const NAMED_MAX: usize = 4;
/// Files whose times are assumed from their modification times and differ by less were probably copied together.
const COPIED_WITHIN: Duration = Duration::hours(1);

/// What was found in one file.
#[derive(Debug, Default)]
pub struct FileFound {
    /// Its path or key.
    pub location: String,
    /// The documents in it; none if it is rejected.
    pub documents: Vec<Candidate>,
}

/// A document that a file would become.
#[derive(Debug)]
pub struct Candidate {
    /// Which.
    pub id: DocumentId,
    /// Where its playlist and time come from.
    pub identity: Identity,
    /// The playlist's id in the content.
    pub content_id: Option<String>,
    /// How much of the playlist it holds, if it is known to be a part.
    pub part: Option<Extent>,
}

/// Which items of a playlist a document holds.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The place of the first, counted from 0.
    pub offset: u64,
    /// The number of items.
    pub count: u64,
    /// How many the whole playlist has.
    pub total: u64,
}

/// What to import: files by their number, of which several become one document.
pub type Units = Vec<Vec<usize>>;

/// Why nothing is imported.
#[derive(Clone, Debug, PartialEq)]
pub enum Unclear {
    /// Each file would become a playlist of its own.
    EachItsOwn {
        /// The folder.
        folder: String,
        /// Their ids.
        playlists: Vec<String>,
    },
    /// Files of one name in different folders would become one playlist.
    SameName {
        /// The playlist.
        playlist: String,
        /// The files.
        files: Vec<String>,
    },
    /// Several documents of one playlist would have one time.
    SameTime {
        /// The playlist.
        playlist: String,
        /// The time.
        at: ExtractedAt,
        /// Where the times come from.
        source: TimeSource,
        /// The files.
        files: Vec<String>,
    },
    /// Files hold parts of a playlist that don't make a whole.
    Parts {
        /// The playlist.
        playlist: String,
        /// The files.
        files: Vec<String>,
        /// Which items are missing.
        missing: String,
    },
}

impl Candidate {
    /// Describes a document that was read.
    pub fn of(read: &Read) -> Self {
        let Read { document, identity, content_id } = read;
        Candidate {
            id: document.id().clone(),
            identity: *identity,
            content_id: content_id.clone(),
            part: extent(document),
        }
    }
}

/// Returns which items an incomplete document holds, if its first page says where it begins.
fn extent(document: &Document) -> Option<Extent> {
    let total = document.total().filter(|_| document.complete() == Some(false))?;
    let first = document.arranged_pages().first()?;
    let parts = pages::parts(first).ok()?;
    let offset = parts.iter().filter_map(Part::offset).min()?;
    Some(Extent { offset, count: document.entries() as u64, total })
}

/// Plans the import of files.
///
/// # Errors
///
/// Why nothing of them can be imported.
pub fn plan(files: &[FileFound]) -> Result<Units, Unclear> {
    each_its_own(files)?;
    same_name(files)?;
    let joined = join(files)?;
    let in_joined: HashSet<usize> = joined.iter().flatten().copied().collect();
    same_time(files, &in_joined)?;
    let mut units = joined;
    units.extend((0..files.len()).filter(|file| !in_joined.contains(file)).map(|file| vec![file]));
    units.sort();
    Ok(units)
}

/// Says what is unusual about files that can be imported: one playlist was given for files that name several.
pub fn warnings(files: &[FileFound], given: Option<&PlaylistId>) -> Vec<String> {
    let Some(given) = given else { return Vec::new() };
    let documents = files.iter().flat_map(|file| &file.documents);
    let ids: BTreeSet<&String> = documents.filter_map(|one| one.content_id.as_ref()).collect();
    if ids.len() < 2 {
        return Vec::new();
    }
    let ids: Vec<String> = ids.into_iter().cloned().collect();
    vec![format!(
        "--playlist {given} is given for files whose contents name {} playlists: {} (leave --playlist out to import each as its own)",
        ids.len(),
        few(&ids)
    )]
}

/// The files whose playlist is assumed from their name, with it.
fn named(files: &[FileFound]) -> impl Iterator<Item = (&FileFound, &PlaylistId)> {
    files.iter().filter_map(|file| match file.documents.as_slice() {
        [only] if only.identity.playlist == PlaylistSource::Name => {
            Some((file, &only.id.playlist_id))
        }
        _ => None,
    })
}

fn each_its_own(files: &[FileFound]) -> Result<(), Unclear> {
    let mut in_folders: BTreeMap<String, usize> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.documents.is_empty()) {
        *in_folders.entry(folder(&file.location)).or_default() += 1;
    }
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, playlist) in named(files) {
        folders.entry(folder(&file.location)).or_default().insert(playlist.to_string());
    }
    for (folder, playlists) in folders {
        if playlists.len() > 1 && Some(&playlists.len()) == in_folders.get(&folder) {
            return Err(Unclear::EachItsOwn { folder, playlists: playlists.into_iter().collect() });
        }
    }
    Ok(())
}

fn same_name(files: &[FileFound]) -> Result<(), Unclear> {
    let mut first: BTreeMap<&PlaylistId, (String, &FileFound)> = BTreeMap::new();
    for (file, playlist) in named(files) {
        let folder = folder(&file.location);
        let (known, other) = first.entry(playlist).or_insert_with(|| (folder.clone(), file));
        if *known != folder {
            return Err(Unclear::SameName {
                playlist: playlist.to_string(),
                files: vec![other.location.clone(), file.location.clone()],
            });
        }
    }
    Ok(())
}

/// The folders of a file without those that are dates.
fn folder(location: &str) -> String {
    let mut folders = dateless_folders(location);
    folders.reverse();
    folders.join("/")
}

/// A document of a file.
#[derive(Clone, Copy)]
struct Placed<'f> {
    file: usize,
    location: &'f str,
    document: &'f Candidate,
}

impl Placed<'_> {
    /// Whether it may have been read at the same time as another one that is not earlier.
    fn is_at_the_time_of(&self, later: &Placed<'_>) -> bool {
        let time = |one: &Placed<'_>| one.document.id.extracted_at.moment();
        let is_modified = |one: &Placed<'_>| one.document.identity.time.assumption().is_some();
        let between = time(later) - time(self);
        between.is_zero() || is_modified(self) && is_modified(later) && between < COPIED_WITHIN
    }
}

/// The different documents of each playlist, by time; of equal ones the first.
fn by_playlist(files: &[FileFound]) -> Vec<Vec<Placed<'_>>> {
    let mut playlists: BTreeMap<&PlaylistId, Vec<Placed<'_>>> = BTreeMap::new();
    for (number, file) in files.iter().enumerate() {
        for document in &file.documents {
            let placed = Placed { file: number, location: &file.location, document };
            playlists.entry(&document.id.playlist_id).or_default().push(placed);
        }
    }
    let sorted = playlists.into_values().map(|mut documents| {
        let mut known = HashSet::new();
        documents.retain(|one| {
            known.insert(&one.document.id.hash8) || one.document.identity.time.is_exact()
        });
        documents.sort_by_key(|one| one.document.id.extracted_at);
        documents
    });
    sorted.collect()
}

/// Finds files that hold the pages of one playlist at one time: together they become one document.
fn join(files: &[FileFound]) -> Result<Units, Unclear> {
    let mut units = Units::new();
    for documents in by_playlist(files) {
        let parts: Vec<Placed<'_>> =
            documents.into_iter().filter(|one| one.document.part.is_some()).collect();
        let groups = parts.chunk_by(|one, next| one.is_at_the_time_of(next));
        for group in groups.filter(|group| group.len() > 1) {
            units.extend(whole(group)?);
        }
    }
    Ok(units)
}

/// Returns the files of parts that make a whole; none if they are not parts of one snapshot.
fn whole(parts: &[Placed<'_>]) -> Result<Option<Vec<usize>>, Unclear> {
    let mut placed: Vec<(Extent, &Placed<'_>)> =
        parts.iter().filter_map(|one| Some((one.document.part?, one))).collect();
    placed.sort_by_key(|(extent, one)| (extent.offset, one.file));
    let offsets: BTreeSet<u64> = placed.iter().map(|(extent, _)| extent.offset).collect();
    if offsets.len() < 2 {
        return Ok(None);
    }
    let total = placed[0].0.total;
    let mut end = 0;
    let mut missing = None;
    for (extent, _) in &placed {
        if extent.offset > end {
            missing.get_or_insert((end + 1, extent.offset));
        }
        end = end.max(extent.offset + extent.count);
    }
    if end < total {
        missing.get_or_insert((end + 1, total));
    }
    let same_total = placed.iter().all(|(extent, _)| extent.total == total);
    let missing = match missing {
        _ if !same_total => "their totals differ, so that they are of different times".to_owned(),
        Some((first, last)) => format!("items {first} to {last} of {total} are missing"),
        None => return Ok(Some(placed.iter().map(|(_, one)| one.file).collect())),
    };
    // Stated times are the user's word that these are different snapshots.
    if parts.iter().any(|one| one.document.identity.time.assumption().is_none()) {
        return Ok(None);
    }
    let files = placed.iter().map(|(_, one)| one.location.to_owned()).collect();
    let playlist = parts[0].document.id.playlist_id.to_string();
    Err(Unclear::Parts { playlist, files, missing })
}

/// Checks that no two documents of a playlist have one time that is only assumed.
fn same_time(files: &[FileFound], joined: &HashSet<usize>) -> Result<(), Unclear> {
    for documents in by_playlist(files) {
        let documents: Vec<Placed<'_>> =
            documents.into_iter().filter(|one| !joined.contains(&one.file)).collect();
        let groups = documents.chunk_by(|one, next| {
            let is_assumed = next.document.identity.time.assumption().is_some();
            is_assumed && one.is_at_the_time_of(next)
        });
        let mut several = groups.filter(|group| group.len() > 1);
        if let Some(group) = several.next() {
            let last = group[group.len() - 1].document;
            return Err(Unclear::SameTime {
                playlist: last.id.playlist_id.to_string(),
                at: last.id.extracted_at,
                source: last.identity.time,
                files: group.iter().map(|one| one.location.to_owned()).collect(),
            });
        }
    }
    Ok(())
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing was imported: ")?;
        match self {
            Unclear::EachItsOwn { folder, playlists } => {
                let place =
                    if folder.is_empty() { String::new() } else { format!(" in {folder}/") };
                write!(
                    f,
                    "each of {} files{place} would become a playlist of its own, as only their names could say which they are of: {} (if they are snapshots of one playlist, name it with --playlist; if each is a playlist of its own, add --playlist-from name; if folders are named for playlists, add --playlist-from folder)",
                    playlists.len(),
                    few(playlists)
                )
            }
            Unclear::SameName { playlist, files } => write!(
                f,
                "{} would become one playlist `{playlist}` (if folders are named for playlists, add --playlist-from folder; if it is one playlist, add --playlist-from name)",
                few(files)
            ),
            Unclear::SameTime { playlist, at, source, files } => write!(
                f,
                "{} documents of playlist `{playlist}` would have one time, {at}, {}: {} (put date and time into each file's name, such as top50_2026-10-05_06-00-00.json, or import them one at a time with --extracted-at)",
                files.len(),
                source.assumption().unwrap_or_default(),
                few(files)
            ),
            Unclear::Parts { playlist, files, missing } => write!(
                f,
                "{} hold parts of playlist `{playlist}` at one time, and {missing} (add the missing file; or put different times into the names if these are different snapshots)",
                few(files)
            ),
        }
    }
}

impl std::error::Error for Unclear {}

fn few(names: &[String]) -> String {
    let mut text: Vec<String> =
        names.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect();
    if names.len() > NAMED_MAX {
        text.push(format!("and {} more", names.len() - NAMED_MAX));
    }
    text.join(", ")
}
