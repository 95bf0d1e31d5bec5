//! Raw documents: one playlist as read at one time, with the response bodies as received.
//!
//! Makes documents of bytes, whether the host landed them or somebody else's pipeline left them,
//! and refuses what no plugin could read. What an entry means is not known here.

use std::{fmt, hash::Hasher, str::FromStr, sync::OnceLock};

use bytes::Bytes as RawBytes;
use bytestring::ByteString;
use memchr::{memchr_iter, memmem};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use spotify_etl_plugin::containers;

pub use crate::refused::Refused;
use time::{
    OffsetDateTime, PrimitiveDateTime,
    format_description::BorrowedFormatItem,
    format_description::well_known::Rfc3339,
    macros::{datetime, format_description},
};
use twox_hash::XxHash3_64;

use crate::{
    config::{HOST_VERSION, Limits},
    dates,
    pages::arranged,
    projection::string_end,
};

/// What stands between header and pages. In a text of the header it can't be: quotes are escaped there.
const PAGES_BEGIN: &str = ",\"pages\":[\n";
/// What stands between two pages.
const PAGES_BETWEEN: &str = ",\n";
/// What stands after the pages.
const PAGES_END: &str = "\n]}\n";
/// The last field of a header. No text of the header can hold this: quotes are escaped there.
const HEADER_CHECKSUM: &str = "\"header_xxh3\":";
/// The format of the documents that this host writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// A playlist's id as keys carry it: Spotify's, or what stood in for it on import.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct PlaylistId(String);

impl PlaylistId {
    /// Makes an id of any text: each run of characters outside `[A-Za-z0-9_]` becomes `-`. None
    /// if no letter or digit is in it, or more than 128 characters are left.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut id = String::new();
        for character in text.chars() {
            if character.is_ascii_alphanumeric() || character == '_' {
                id.push(character);
            } else if !id.ends_with('-') {
                id.push('-');
            }
        }
        let usable = id.len() <= 128 && id.contains(|c: char| c.is_ascii_alphanumeric());
        usable.then_some(PlaylistId(id))
    }

    /// The same for a playlist that is new here, without a `_` at its beginning: table files are named
    /// for it, and Athena sees none whose name begins so.
    pub(crate) fn visible(text: &str) -> Option<Self> {
        Self::from_text(text.trim_start_matches('_'))
    }

    /// Makes an id of what a person gives: an id, an address on open.spotify.com, or a URI.
    pub fn from_reference(text: &str) -> Option<Self> {
        let text = text.trim_matches(|c: char| c.is_whitespace() || "<>()\"'".contains(c));
        let lower = text.to_ascii_lowercase();
        let address = lower.find("open.spotify.com/").map(|at| &text[at..]);
        let in_address = address.and_then(|rest| rest.split_once("playlist/"));
        let in_uri = text.strip_prefix("spotify:").and_then(|rest| rest.split_once("playlist:"));
        match in_address.or(in_uri) {
            Some((_, rest)) => Self::at_start_of(rest),
            None if text.contains(['/', ':', '?']) => None,
            None => Self::visible(text),
        }
    }

    /// The id at the start of what follows in an address; none if it goes on with something else
    /// than a query, or what a sentence puts behind an address.
    fn at_start_of(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (id, rest) = text.split_at(end.unwrap_or(text.len()));
        let ends_there = rest.starts_with(['?', '#', '/', '&'])
            || rest.chars().all(|c| c.is_ascii_punctuation() && c != ':');
        (ends_there && !id.is_empty()).then(|| Self::visible(id)).flatten()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PlaylistId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// When a playlist was read: whole seconds, UTC, in the years 2006 to 2060 that tables have
/// partitions for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtractedAt(OffsetDateTime);

const COMPACT: &[BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

impl ExtractedAt {
    /// The first.
    pub const MIN: ExtractedAt = ExtractedAt(datetime!(2006-01-01 00:00:00 UTC));

    /// Floors a moment to whole seconds.
    ///
    /// # Errors
    ///
    /// Outside the years 2006 to 2060.
    pub fn new(moment: OffsetDateTime) -> Result<Self, Refused> {
        let moment = moment.to_offset(time::UtcOffset::UTC).truncate_to_second();
        let known = (2006..=2060).contains(&moment.year());
        known.then_some(ExtractedAt(moment)).ok_or(Refused::TimeOutOfRange { moment })
    }

    /// The moment.
    pub fn moment(self) -> OffsetDateTime {
        self.0
    }

    /// Returns whether the time is in the future: more than a day after `now`.
    pub fn is_in_future(self, now: OffsetDateTime) -> bool {
        self.0 - now > FUTURE_MAX
    }
}

impl fmt::Display for ExtractedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(COMPACT).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for ExtractedAt {
    type Err = String;

    /// Reads `20230927T095334Z`, RFC 3339, or what [`dates`] finds in names, UTC.
    fn from_str(text: &str) -> Result<Self, String> {
        let moment = PrimitiveDateTime::parse(text, COMPACT)
            .map(PrimitiveDateTime::assume_utc)
            .or_else(|_| OffsetDateTime::parse(text, &Rfc3339))
            .ok()
            .or_else(|| dates::whole(text).map(|found| found.moment))
            .ok_or_else(|| {
                format!("`{text}` is not a time such as 2023-09-27T09:53:34Z or 20230927T095334Z")
            })?;
        Self::new(moment).map_err(|_| {
            format!("`{text}` is outside the years 2006 to 2060, which tables have partitions for")
        })
    }
}

/// What tells documents apart, and joins their rows: `<playlist_id>-<extracted_at>-<hash8>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentId {
    /// Whose entries it holds.
    pub playlist_id: PlaylistId,
    /// When they were read.
    pub extracted_at: ExtractedAt,
    /// The first 8 hexadecimal digits of the hash of its pages.
    pub hash8: String,
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.playlist_id, self.extracted_at, self.hash8)
    }
}

impl FromStr for DocumentId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (rest, hash8) = text.rsplit_once('-').ok_or(())?;
        let (playlist_id, extracted_at) = rest.rsplit_once('-').ok_or(())?;
        let is_hash =
            hash8.len() == 8 && hash8.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let id = DocumentId {
            playlist_id: PlaylistId::from_text(playlist_id).ok_or(())?,
            extracted_at: extracted_at.parse().map_err(|_| ())?,
            hash8: hash8.to_owned(),
        };
        // Only what renders to the same text is an id: times have several spellings.
        (is_hash && id.to_string() == text).then_some(id).ok_or(())
    }
}

impl Serialize for DocumentId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What stands before the pages in a landed document.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Header {
    format: u32,
    playlist_id: String,
    playlist_name: Option<String>,
    playlist_owner: Option<String>,
    snapshot_id: Option<String>,
    extracted_at: String,
    market: Option<String>,
    /// The filter that Spotify was asked with, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<String>,
    complete: Option<bool>,
    /// How many items the playlist has, as Spotify says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    /// Whether pages overlap or are out of order, so that they have to be arranged before they are read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    arrange: bool,
    sha256: String,
    /// A checksum of the pages and their hash; none in documents of older hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xxh3: Option<String>,
    host_version: String,
    /// A checksum of the header's text before this field, which is the last one. It is computed when the header
    /// is written; documents of older hosts have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header_xxh3: Option<String>,
}

impl Header {
    /// Compares the text that the header was read from with its checksum, if it has one.
    fn check(&self, text: &str) -> Result<(), Refused> {
        let found = header_checksum(text).map(|(_, xxh3)| xxh3);
        match &self.header_xxh3 {
            expected if *expected == found => Ok(()),
            expected => Err(Refused::HeaderChanged {
                expected: expected.clone().unwrap_or_default(),
                found: found.unwrap_or_default(),
            }),
        }
    }
}

/// One playlist as read at one time.
#[derive(Debug)]
pub struct Document {
    id: DocumentId,
    header: Header,
    /// Parts of the bytes that it was read from.
    pages: Vec<ByteString>,
    /// The pages in order and without overlaps, where that differs; computed on first use.
    arranged: OnceLock<Vec<ByteString>>,
    /// The number of entries; computed on first use.
    entries: OnceLock<usize>,
}

/// How far after the current time a document's time may be: clocks differ, and so do time zones.
const FUTURE_MAX: time::Duration = time::Duration::days(1);

/// Whether documents with a time in the future are accepted from outside the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FutureTimes {
    /// They are rejected: one of them would be the newest snapshot of its playlist until that time.
    #[default]
    Rejected,
    /// They are accepted.
    Allowed,
}

/// What is known of a playlist that was found in a file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The playlist's id.
    pub playlist_id: PlaylistId,
    /// The playlist's name.
    pub name: Option<String>,
    /// The owner's display name, else id.
    pub owner: Option<String>,
    /// Spotify's mark of the playlist's state.
    pub snapshot_id: Option<String>,
    /// When the playlist was read.
    pub extracted_at: ExtractedAt,
    /// Whether the pages hold all items, where that can be told.
    pub complete: Option<bool>,
    /// How many items the playlist has, as Spotify says it.
    pub total: Option<u64>,
    /// Whether pages overlap or are out of order.
    pub arrange: bool,
    /// How many entries the pages hold, overlaps counted once.
    pub entries: usize,
}

/// What is known of a playlist that was read from Spotify, whole.
#[derive(Clone, Debug)]
pub struct Extracted {
    /// Which.
    pub playlist_id: PlaylistId,
    /// Its name.
    pub name: Option<String>,
    /// Its owner's display name, else id.
    pub owner: Option<String>,
    /// Spotify's mark of its state.
    pub snapshot_id: Option<String>,
    /// When it was read.
    pub extracted_at: ExtractedAt,
    /// The country whose catalogue was asked for, if one was.
    pub market: Option<String>,
    /// The filter that was asked with, if one was.
    pub fields: Option<String>,
}

impl Document {
    /// Makes a document of all pages of a playlist.
    ///
    /// # Errors
    ///
    /// If a page holds no entries, or a limit is broken.
    pub fn extracted(
        about: Extracted,
        pages: Vec<String>,
        limits: &Limits,
    ) -> Result<Self, Refused> {
        let pages: Vec<ByteString> = pages.into_iter().map(ByteString::from).collect();
        let mut entries = 0;
        for page in &pages {
            let text = json_text(page, limits)?;
            entries += containers::read(text).map_err(Refused::NoEntries)?.entries();
        }
        let Extracted { playlist_id, name, owner, snapshot_id, extracted_at, market, fields } =
            about;
        let about = Imported {
            playlist_id,
            name,
            owner,
            snapshot_id,
            extracted_at,
            complete: Some(true),
            total: Some(entries as u64),
            arrange: false,
            entries,
        };
        let mut document = Self::imported(about, pages);
        (document.header.market, document.header.fields) = (market, fields);
        if document.stored_bytes() > limits.document_bytes {
            return Err(Refused::TooLarge { max: limits.document_bytes });
        }
        Ok(document)
    }

    /// Makes a document of the pages that were found in files.
    pub fn imported(about: Imported, pages: Vec<ByteString>) -> Self {
        let sha256 = hash(pages.iter().map(AsRef::as_ref));
        let xxh3 = Some(checksum(&sha256, pages.iter().map(AsRef::as_ref)));
        let Imported { playlist_id, extracted_at, entries, .. } = about;
        let header = Header {
            format: FORMAT,
            playlist_id: playlist_id.to_string(),
            playlist_name: about.name,
            playlist_owner: about.owner,
            snapshot_id: about.snapshot_id,
            extracted_at: extracted_at.moment().format(&Rfc3339).unwrap_or_default(),
            market: None,
            fields: None,
            complete: about.complete,
            total: about.total,
            arrange: about.arrange,
            sha256: sha256.clone(),
            xxh3,
            host_version: HOST_VERSION.to_owned(),
            header_xxh3: Some(String::new()),
        };
        let id = DocumentId { playlist_id, extracted_at, hash8: sha256[..8].to_owned() };
        let arranged = OnceLock::new();
        Document { id, header, pages, arranged, entries: entries.into() }
    }

    /// Reads a stored document. Returns none if the text is something else.
    ///
    /// # Errors
    ///
    /// If it is a stored document and damaged, changed, or of another format.
    pub fn stored(text: &ByteString) -> Result<Option<Self>, Refused> {
        let Some((header, before_pages, pages)) = landed(text)? else { return Ok(None) };
        // Other faults say more.
        let checked = header.check(before_pages);
        let document = Self::of_landed(header, &pages, text)?;
        checked.map(|()| Some(document))
    }

    /// Reads a document whose bytes are exactly as a host wrote them, going by the checksum of its pages or, where it
    /// has none, by their hash. Such a document was checked when it was stored, so its pages are not parsed again.
    /// Whoever can forge the checksum could as well store another document. Returns none if anything differs.
    pub fn unchanged(bytes: &RawBytes, limits: &Limits) -> Option<Self> {
        let text = decoded(bytes, limits).ok()?;
        let at = text.find(PAGES_BEGIN)?;
        let header: Header = serde_json::from_str(&format!("{}}}", &text[..at])).ok()?;
        header.check(&text[..at]).ok()?;
        let rest = text[at + PAGES_BEGIN.len()..].strip_suffix(PAGES_END)?;
        let pages = divided(rest);
        let is_as_it_was = match &header.xxh3 {
            Some(xxh3) => {
                is_hash(&header.sha256) && *xxh3 == checksum(&header.sha256, pages.iter().copied())
            }
            None => hash(pages.iter().copied()) == header.sha256,
        };
        if !is_as_it_was {
            return None;
        }
        let pages = pages.into_iter().map(|page| text.slice_ref(page)).collect();
        Self::of_checked(header, pages, OnceLock::new()).ok()
    }

    fn of_landed(
        mut header: Header,
        pages: &[&RawValue],
        whole: &ByteString,
    ) -> Result<Self, Refused> {
        let sha256 = hash(pages.iter().map(|page| page.get()));
        if sha256 != header.sha256 {
            return Err(Refused::Changed { expected: header.sha256, found: sha256 });
        }
        // The hash is what counts.
        header.xxh3 = header.xxh3.map(|_| checksum(&sha256, pages.iter().map(|page| page.get())));
        let pages: Vec<_> = pages.iter().map(|page| whole.slice_ref(page.get())).collect();
        let entries = pages.iter().try_fold(0, |entries, page| {
            let contents = containers::read(page).map_err(Refused::NoEntries)?;
            Ok::<_, Refused>(entries + contents.entries())
        })?;
        // Entries in overlaps count once, which takes a closer look.
        let entries = if header.arrange { OnceLock::new() } else { entries.into() };
        Self::of_checked(header, pages, entries)
    }

    /// Makes a document of a header and the pages that belong to it.
    fn of_checked(
        header: Header,
        pages: Vec<ByteString>,
        entries: OnceLock<usize>,
    ) -> Result<Self, Refused> {
        if header.format != FORMAT {
            return Err(Refused::Format { found: header.format, known: FORMAT });
        }
        let bad = |what: &str| Refused::Header { what: what.to_owned() };
        let playlist_id = PlaylistId::from_text(&header.playlist_id)
            .filter(|id| id.as_str() == header.playlist_id)
            .ok_or_else(|| bad("`playlist_id` holds characters outside `[A-Za-z0-9_-]`"))?;
        let extracted_at = header.extracted_at.parse().map_err(|error: String| bad(&error))?;
        let id = DocumentId { playlist_id, extracted_at, hash8: header.sha256[..8].to_owned() };
        Ok(Document { id, header, pages, arranged: OnceLock::new(), entries })
    }

    /// What tells it from others.
    pub fn id(&self) -> &DocumentId {
        &self.id
    }

    /// Returns the number of entries of whatever kind; an entry in two overlapping pages counts once.
    pub fn entries(&self) -> usize {
        let count =
            |page: &ByteString| containers::read(page).map_or(0, |contents| contents.entries());
        *self.entries.get_or_init(|| self.arranged_pages().iter().map(count).sum())
    }

    /// Checks the document's time against the current time.
    ///
    /// # Errors
    ///
    /// If the time is in the future and that is not allowed.
    pub fn check_time(&self, now: OffsetDateTime, future: FutureTimes) -> Result<(), Refused> {
        let extracted_at = self.id.extracted_at;
        if future == FutureTimes::Rejected && extracted_at.is_in_future(now) {
            return Err(Refused::InFuture { moment: extracted_at.moment(), now });
        }
        Ok(())
    }

    /// The SHA-256 of its pages.
    pub fn sha256(&self) -> &str {
        &self.header.sha256
    }

    /// The playlist's name, where known.
    pub fn playlist_name(&self) -> Option<&str> {
        self.header.playlist_name.as_deref()
    }

    /// The owner's display name or id, where known.
    pub fn playlist_owner(&self) -> Option<&str> {
        self.header.playlist_owner.as_deref()
    }

    /// Spotify's mark of the playlist's state, where known.
    pub fn snapshot_id(&self) -> Option<&str> {
        self.header.snapshot_id.as_deref()
    }

    /// Whether all entries of the playlist are here, where that can be told.
    pub fn complete(&self) -> Option<bool> {
        self.header.complete
    }

    /// Returns how many items the playlist has, as Spotify says it.
    pub fn total(&self) -> Option<u64> {
        self.header.total
    }

    /// Returns the pages as plugins read them: in the order of their offsets, and each entry once.
    pub fn arranged_pages(&self) -> &[ByteString] {
        if !self.header.arrange {
            return &self.pages;
        }
        // Pages that don't fit are rejected when they are imported.
        self.arranged.get_or_init(|| arranged(&self.pages).unwrap_or_else(|_| self.pages.clone()))
    }

    /// The response bodies as received.
    pub fn pages(&self) -> &[ByteString] {
        &self.pages
    }

    /// The size of the bytes that are kept, or a few bytes more.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_capacity(&self.header_text()) as u64
    }

    fn stored_capacity(&self, header: &str) -> usize {
        let pages: usize = self.pages.iter().map(|page| page.len() + PAGES_BETWEEN.len()).sum();
        header.len() + pages + PAGES_BEGIN.len() + PAGES_END.len()
    }

    /// The bytes that are kept: the header, then the pages byte for byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = self.header_text();
        let mut text = String::with_capacity(self.stored_capacity(&header));
        text.push_str(header.trim_end_matches('}'));
        text.push_str(PAGES_BEGIN);
        for (number, page) in self.pages.iter().enumerate() {
            text.push_str(if number > 0 { PAGES_BETWEEN } else { "" });
            text.push_str(page);
        }
        text.push_str(PAGES_END);
        text.into_bytes()
    }

    /// The same with some of its entries alone, those whose position is meant: another document.
    #[must_use]
    pub fn trimmed(&self, is_meant: impl Fn(u32) -> bool) -> Self {
        let (mut position, mut entries) = (0, 0);
        let pages: Vec<ByteString> = self
            .arranged_pages()
            .iter()
            .map(|page| trim(page, &mut position, &mut entries, &is_meant).into())
            .collect();
        let sha256 = hash(pages.iter().map(AsRef::as_ref));
        let id = DocumentId { hash8: sha256[..8].to_owned(), ..self.id.clone() };
        let complete = self.header.complete.map(|complete| complete && entries == self.entries());
        let xxh3 = Some(checksum(&sha256, pages.iter().map(AsRef::as_ref)));
        let header = Header { sha256, xxh3, complete, arrange: false, ..self.header.clone() };
        Document { id, header, pages, arranged: OnceLock::new(), entries: entries.into() }
    }

    fn header_text(&self) -> String {
        let text = serde_json::to_string(&self.header).unwrap_or_default();
        match header_checksum(&text) {
            Some((covered, xxh3)) => format!("{covered}{HEADER_CHECKSUM}\"{xxh3}\"}}"),
            None => text,
        }
    }

    /// The filter that Spotify was asked with, if it was.
    pub fn fields(&self) -> Option<&str> {
        self.header.fields.as_deref()
    }

    /// The country whose catalogue was asked for, if one was.
    pub fn market(&self) -> Option<&str> {
        self.header.market.as_deref()
    }
}

/// Leaves out the entries of a page that are not meant, and counts those that are.
fn trim(
    page: &str,
    position: &mut u32,
    entries: &mut usize,
    is_meant: &impl Fn(u32) -> bool,
) -> String {
    // It was read before.
    let Ok(contents) = containers::read(page) else { return page.to_owned() };
    // The entries are parts of the page's own text.
    let start = |entry: &RawValue| entry.get().as_ptr() as usize - page.as_ptr() as usize;
    let (mut trimmed, mut at) = (String::new(), 0);
    for part in &contents.pages {
        let (Some(first), Some(last)) = (part.entries.first(), part.entries.last()) else {
            continue;
        };
        let offset = part.offset.and_then(|offset| u32::try_from(offset).ok());
        *position = (*position).max(offset.unwrap_or_default());
        let mut kept = Vec::new();
        for entry in &part.entries {
            *position = position.saturating_add(1);
            if is_meant(*position) {
                kept.push(entry.get());
            }
        }
        *entries += kept.len();
        trimmed.push_str(&page[at..start(first)]);
        trimmed.push_str(&kept.join(","));
        at = start(last) + last.get().len();
    }
    trimmed + &page[at..]
}

/// Returns bytes as text.
pub(crate) fn decoded(bytes: &RawBytes, limits: &Limits) -> Result<ByteString, Refused> {
    if bytes.len() as u64 > limits.document_bytes {
        return Err(Refused::TooLarge { max: limits.document_bytes });
    }
    match simdutf8::compat::from_utf8(bytes) {
        // SAFETY: It was just found to be UTF-8.
        Ok(_) => Ok(unsafe { ByteString::from_bytes_unchecked(bytes.clone()) }),
        Err(error) => Err(Refused::NotUtf8 { byte: error.valid_up_to() }),
    }
}

/// The text of a JSON file, without BOM and outer white space.
pub(crate) fn json_text<'a>(text: &'a str, limits: &Limits) -> Result<&'a str, Refused> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if text.is_empty() {
        return Err(Refused::Empty);
    }
    if let Some(byte) = deeper_than(limits.json_levels, text.as_bytes()) {
        return Err(Refused::TooDeep { levels: limits.json_levels, byte });
    }
    Ok(text)
}

/// The pages of a text in which they stand one after another, going by what is between two objects there
/// and, as JSON is commonly laid out, nowhere else.
fn divided(text: &str) -> Vec<&str> {
    let is_seam = |line_feed: &usize| {
        let (before, after) = text.split_at(line_feed + 1);
        let page = before.strip_suffix(PAGES_BETWEEN);
        page.is_some_and(|page| page.ends_with('}')) && after.starts_with('{')
    };
    let (mut pages, mut begun) = (Vec::new(), 0);
    // Hardly anything else ends a line.
    for line_feed in memchr_iter(b'\n', text.as_bytes()).filter(is_seam) {
        pages.push(&text[begun..=line_feed - PAGES_BETWEEN.len()]);
        begun = line_feed + 1;
    }
    pages.push(&text[begun..]);
    pages
}

/// Where arrays and objects lie deeper in one another than so many levels.
fn deeper_than(levels: u64, json: &[u8]) -> Option<usize> {
    let levels = i64::try_from(levels).unwrap_or(i64::MAX);
    let mut depth = 0;
    let too_deep = structure(json).find(|(_, byte)| {
        depth += if matches!(byte, b'[' | b'{') { 1 } else { -1 };
        depth > levels
    });
    too_deep.map(|(at, _)| at)
}

/// The brackets of a JSON text that are in none of its strings, each with its place.
fn structure(json: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let byte = *json.get(at)?;
            at += 1;
            match byte {
                b'[' | b'{' | b']' | b'}' => return Some((at - 1, byte)),
                b'"' => at = string_end(json, at).0,
                _ => {}
            }
        }
    })
}

/// A header, the text before the pages, and the pages.
type Landed<'t> = (Header, &'t str, Vec<&'t RawValue>);

/// The header and pages of a document that a host landed; none if it is something else.
fn landed(text: &str) -> Result<Option<Landed<'_>>, Refused> {
    #[derive(Deserialize)]
    struct Marks<'a> {
        #[serde(borrow)]
        format: Option<&'a RawValue>,
        #[serde(borrow)]
        sha256: Option<&'a RawValue>,
        #[serde(borrow)]
        pages: Option<&'a RawValue>,
    }
    // Spotify has no such word, and a search is quicker than a look at every member.
    if !text.starts_with('{') || memmem::find(text.as_bytes(), b"\"sha256\"").is_none() {
        return Ok(None);
    }
    let Ok(marks) = serde_json::from_str::<Marks<'_>>(text) else { return Ok(None) };
    let (Some(format), Some(_), Some(pages)) = (marks.format, marks.sha256, marks.pages) else {
        return Ok(None);
    };
    // What else another format has, this host doesn't know.
    if let Ok(found) = format.get().parse::<u32>()
        && found != FORMAT
    {
        return Err(Refused::Format { found, known: FORMAT });
    }
    let bad = |error: serde_json::Error| Refused::Header { what: error.to_string() };
    let start = pages.get().as_ptr().addr() - text.as_ptr().addr();
    let around = format!("{}null{}", &text[..start], &text[start + pages.get().len()..]);
    let header = serde_json::from_str(&around).map_err(bad)?;
    Ok(Some((header, &text[..start], serde_json::from_str(pages.get()).map_err(bad)?)))
}

/// SHA-256 over each page's bytes, each followed by a line feed.
fn hash<'a>(pages: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for page in pages {
        hasher.update(page);
        hasher.update(b"\n");
    }
    hex(&hasher.finalize())
}

/// A checksum over the pages and their hash. It tells whether something happened to either, in a twentieth of the
/// time.
fn checksum<'a>(sha256: &str, pages: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = XxHash3_64::new();
    hasher.write(sha256.as_bytes());
    for page in pages {
        hasher.write(page.as_bytes());
        hasher.write(b"\n");
    }
    hex(&hasher.finish().to_be_bytes())
}

/// Splits the text of a header before its checksum. Returns what the checksum covers, and what it has to be.
fn header_checksum(text: &str) -> Option<(&str, String)> {
    let (covered, _) = text.rsplit_once(HEADER_CHECKSUM)?;
    Some((covered, hex(&XxHash3_64::oneshot(covered.as_bytes()).to_be_bytes())))
}

/// Whether a text may be a hash.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// What the header of a stored document says of its playlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHeader {
    /// The playlist's name, where known.
    pub playlist_name: Option<String>,
    /// Whether the document has all items of the playlist, where known.
    pub complete: Option<bool>,
}

/// Reads the header of a stored document; none if it can't be found.
pub fn stored_header(bytes: &[u8]) -> Option<StoredHeader> {
    let end = memmem::find(bytes, PAGES_BEGIN.as_bytes())?;
    let header = format!("{}}}", str::from_utf8(&bytes[..end]).ok()?);
    let Header { playlist_name, complete, .. } = serde_json::from_str(&header).ok()?;
    Some(StoredHeader { playlist_name, complete })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{self, Origin};

    #[test]
    fn a_playlist_id_is_made_of_what_people_have() {
        for (reference, id) in [
            ("37i9dQZEVXbMDoHDwVN2tF", Some("37i9dQZEVXbMDoHDwVN2tF")),
            ("https://open.spotify.com/playlist/37i9dQ?si=e8e1", Some("37i9dQ")),
            ("spotify:playlist:37i9dQ", Some("37i9dQ")),
            ("https://open.spotify.com/intl-de/playlist/37i9dQ#x", Some("37i9dQ")),
            ("spotify:user:somebody:playlist:37i9dQ", Some("37i9dQ")),
            ("HTTPS://Open.Spotify.com/playlist/37i9dQ/", Some("37i9dQ")),
            (" <https://open.spotify.com/playlist/37i9dQ>. ", Some("37i9dQ")),
            ("https://open.spotify.com/playlist/37i9dQ&si=1", Some("37i9dQ")),
            ("https://open.spotify.com/playlist/37i9dQ%20", None),
            ("spotify:playlist:37i9dQ:x", None),
            ("spotify:playlist:a b", None),
            ("my  list, été", Some("my-list-t-")),
            ("https://open.spotify.com/album/xyz", None),
            ("https://example.com/playlist/xyz", None),
            ("spotify:album:xyz", None),
            ("..", None),
            ("", None),
        ] {
            let found = PlaylistId::from_reference(reference);
            assert_eq!(found.as_ref().map(PlaylistId::as_str), id, "{reference}");
        }
    }

    fn read(text: &str, name: &str) -> Result<Document, Refused> {
        let modified = OffsetDateTime::UNIX_EPOCH;
        let bytes = RawBytes::copy_from_slice(text.as_bytes());
        let read = sources::read(&bytes, &Origin::of(name, modified), &Limits::default());
        read.map(|read| read.document)
    }

    #[test]
    fn what_is_written_reads_back_with_its_pages_byte_for_byte() {
        let page = "{ \"items\" : [ null,\n 1.50 ] }";
        let document = read(page, "a 2023-09-27 09:53:34.json").unwrap();
        let written = String::from_utf8(document.to_bytes()).unwrap();
        let again = read(&written, "another name").unwrap();
        assert_eq!((again.id(), again.pages()), (document.id(), &[ByteString::from(page)][..]));
        assert_eq!((again.entries(), again.to_bytes()), (2, document.to_bytes()));
    }

    #[test]
    fn pages_are_told_apart_however_they_are_laid_out() {
        let about = || Extracted {
            playlist_id: PlaylistId::from_text("p").unwrap(),
            name: Some("a \",\"pages\":[\n".to_owned()),
            owner: None,
            snapshot_id: None,
            extracted_at: "20230927T095334Z".parse().unwrap(),
            market: None,
            fields: None,
        };
        for (pages, is_quick) in [
            (vec!["{\"items\":[]}"], true),
            (vec!["{\"items\":[{}]}", "{\"items\":[null,1]}", "{\"items\":[]}"], true),
            (vec!["{\n  \"items\": [\n    {\n    },\n    {\n    }\n  ]\n}"; 2], true),
            // An array of entries, and one entry after another at the beginning of a line.
            (vec!["[{}]", "[{},\n{}]"], false),
            (vec!["{\"items\":[{},\n{}]}"], false),
        ] {
            let pages: Vec<_> = pages.into_iter().map(str::to_owned).collect();
            let limits = Limits::default();
            let document = Document::extracted(about(), pages.clone(), &limits).unwrap();
            let written = String::from_utf8(document.to_bytes()).unwrap();
            let bytes = RawBytes::from(written.clone());
            assert_eq!(Document::unchanged(&bytes, &limits).is_some(), is_quick);
            let modified = OffsetDateTime::UNIX_EPOCH;
            let origin = Origin::of("x", modified);
            let again = sources::read_again(&bytes, &origin, &limits).unwrap().document;
            assert_eq!((again.id(), again.pages()), (document.id(), document.pages()));
            assert!(again.pages().iter().eq(&pages));
            assert_eq!(again.entries(), document.entries());
            // What somebody changed is looked at closely, and refused for what it is.
            let changed = written.replacen("items", "stems", 1);
            let error = sources::read_again(&changed.into(), &origin, &limits);
            let is_changed = matches!(error, Err(Refused::Changed { .. }));
            assert_eq!(is_changed, written.contains("items"), "{error:?}");
            let damaged = written.replacen("\"sha256\":\"", "\"sha256\":\"\u{e9}", 1);
            let error = sources::read_again(&damaged.into(), &origin, &limits);
            assert!(matches!(error, Err(Refused::Changed { .. })), "{error:?}");
        }
    }

    #[test]
    fn a_checksum_spares_the_hash_and_is_not_needed() {
        const NAME: &str = "a 2023-09-27 09:53:34.json";
        let origin = || Origin::of(NAME, OffsetDateTime::UNIX_EPOCH);
        let limits = Limits::default();
        let document = read(r#"{"items":[null]}"#, NAME).unwrap();
        let written = String::from_utf8(document.to_bytes()).unwrap();
        let xxh3 = checksum(document.sha256(), document.pages().iter().map(AsRef::as_ref));
        let xxh3 = format!("\"xxh3\":\"{xxh3}\",");
        assert!(written.contains(&xxh3), "{written}");
        let (_, header_xxh3) = header_checksum(&written).unwrap();
        let written = written.replace(&format!(",{HEADER_CHECKSUM}\"{header_xxh3}\""), "");
        assert!(!written.contains("header_xxh3"), "{written}");
        // Documents of older hosts have none, and stay as they are.
        let older = written.replace(&xxh3, "");
        let again =
            sources::read_again(&older.clone().into(), &origin(), &limits).unwrap().document;
        assert_eq!((again.id(), again.to_bytes()), (document.id(), older.clone().into_bytes()));
        let changed = older.replace("[null]", "[true]");
        let error = sources::read_again(&changed.into(), &origin(), &limits);
        assert!(matches!(error, Err(Refused::Changed { .. })), "{error:?}");
        // One that doesn't hold where the hash does is put right.
        let other = written.replace(&xxh3, "\"xxh3\":\"0000000000000000\",");
        assert!(Document::unchanged(&other.clone().into(), &limits).is_none());
        let again = sources::read_again(&other.into(), &origin(), &limits).unwrap().document;
        assert_eq!((again.id(), again.to_bytes()), (document.id(), written.clone().into_bytes()));
        // The hash that the header says is part of it; at the door it is looked at whatever the checksum is.
        let another = written.replace(document.sha256(), &"0".repeat(64));
        for error in [
            sources::read_again(&another.clone().into(), &origin(), &limits).map(drop),
            read(&another, NAME).map(drop),
        ] {
            assert!(matches!(error, Err(Refused::Changed { .. })), "{error:?}");
        }
        let pages = || document.pages().iter().map(AsRef::as_ref);
        let forged = another.replace(&xxh3, &format!("\"xxh3\":\"{}\",", checksum("0", pages())));
        let forged = forged.replace(&"0".repeat(64), "0");
        let error = sources::read_again(&forged.into(), &origin(), &limits);
        assert!(matches!(error, Err(Refused::Changed { .. })), "{error:?}");
    }

    #[test]
    fn every_changed_byte_of_a_header_is_found() {
        let limits = Limits::default();
        let about = Extracted {
            playlist_id: PlaylistId::from_text("p").unwrap(),
            name: Some("Su\\mmer \"header_xxh3\":".to_owned()),
            owner: Some("somebody".to_owned()),
            snapshot_id: Some("AAAAB".to_owned()),
            extracted_at: "20230927T095334Z".parse().unwrap(),
            market: Some("DE".to_owned()),
            fields: None,
        };
        let document = Document::extracted(about, vec!["{\"items\":[]}".to_owned()], &limits);
        let document = document.unwrap();
        let written = document.to_bytes();
        assert!(written.len() as u64 <= document.stored_bytes());
        assert!(Document::unchanged(&written.clone().into(), &limits).is_some());
        let modified = OffsetDateTime::UNIX_EPOCH + time::Duration::days(365 * 40);
        let origin = Origin::of("unknown.json", modified);
        let end = memmem::find(&written, PAGES_BEGIN.as_bytes()).unwrap();
        for at in 0..end {
            for bit in [0, 1, 5] {
                let mut changed = written.clone();
                changed[at] ^= 1 << bit;
                let bytes = RawBytes::from(changed.clone());
                // Without its checksum's name a header is that of an older host, but not as that writes it.
                let read = sources::read_again(&bytes, &origin, &limits);
                let is_found =
                    read.is_err() || read.is_ok_and(|read| read.document.to_bytes() != changed);
                assert!(is_found, "{}", String::from_utf8_lossy(&changed));
            }
        }
        let text = String::from_utf8(written).unwrap();
        let renamed = text.replace("somebody", "everybody");
        let error = sources::read_again(&renamed.into(), &origin, &limits).unwrap_err().to_string();
        let found = "a landed document whose header was changed: its checksum is ";
        assert!(error.starts_with(found), "{error}");
    }

    #[test]
    fn what_is_refused_says_why_and_what_to_do() {
        const NAME: &str = "a 2023-09-27 09:53:34.json";
        let written = read(r#"{"items":[]}"#, NAME).unwrap().to_bytes();
        let landed = String::from_utf8(written).unwrap();
        let long = format!("{} 2023-09-27 09:53:34.json", "a".repeat(200));
        let deep = format!("{}{}", "[{\"pages\":".repeat(9), "[]".to_owned() + &"}]".repeat(9));
        for (text, name, expected) in [
            (
                landed.replace("\"format\":1", "\"format\":2"),
                NAME,
                "a document of format 2, and this host reads format 1 (use a newer spotify-etl)",
            ),
            (
                r#"{"format":3,"sha256":{"of":"header"},"pages":{"first":0}}"#.to_owned(),
                NAME,
                "a document of format 3, and this host reads format 1 (use a newer spotify-etl)",
            ),
            (
                landed.replace("2023-09-27T", "then "),
                NAME,
                "a damaged header: `then 09:53:34Z` is not a time",
            ),
            (
                landed.replace("\"a\"", "\"a/b\""),
                NAME,
                "a damaged header: `playlist_id` holds characters outside",
            ),
            (landed.replace("[]", "[1]"), NAME, "pages were changed: their SHA-256 is"),
            (
                "[]".to_owned(),
                "a.json",
                "its time, 1970-01-01, is outside the years 2006 to 2060 (say when it was read: spotify-etl import --extracted-at ...)",
            ),
            ("[]".to_owned(), &long, "no playlist id of at most 128 characters can be made of"),
            (deep, NAME, "more than 8 levels deep (give the pages themselves)"),
        ] {
            let error = read(&text, name).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn depth_is_counted_outside_text() {
        assert_eq!(deeper_than(2, br#"{"a":["[[[[\"[[["]}"#), None);
        assert_eq!(deeper_than(2, br#"{"a":[{}]}"#), Some(6));
    }
}
