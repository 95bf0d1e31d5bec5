//! What an entry of a playlist is, and why it may give no row.
//!
//! Entries are parsed one by one, so that an odd one is passed over, with its reason, and the
//! others are not. All plugins judge an entry by the same [`Track`]: what one counts as a track,
//! all do. Pages and entries in which nothing is odd are read in one go; everything else is read again,
//! with a closer look.

use std::{borrow::Cow, fmt, marker::PhantomData, mem, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

use crate::{
    containers::{self, NoEntries},
    plugin::{Document, Extraction, Failure, Skip},
    quick::{self, After, Json, Quick, named, quick},
    table::Batch,
};

/// What [`Playlist`] and [`Track`] look at, as patterns for `reads`. Those that begin with `items`
/// also keep containers without entries.
pub const TRACK_READS: &[&str] = &[
    "pages.items.is_local",
    "items.items.is_local",
    "tracks.items.is_local",
    "offset",
    "added_at",
    "is_local",
    "item.id",
    "item.type",
    "item.name",
    "item.duration_ms",
    "item.popularity",
    "item.explicit",
    "item.disc_number",
    "item.track_number",
    "item.external_urls.spotify",
    "item.external_ids.isrc",
    "track.id",
    "track.type",
    "track.name",
    "track.duration_ms",
    "track.popularity",
    "track.explicit",
    "track.disc_number",
    "track.track_number",
    "track.external_urls.spotify",
    "track.external_ids.isrc",
    "album.id",
    "album.name",
    "album.album_type",
    "album.release_date",
    "album.release_date_precision",
    "album.total_tracks",
    "album.external_urls.spotify",
    "artists.id",
    "artists.name",
    "artists.external_urls.spotify",
];

/// Most entries that hold a track have more bytes, of what is looked at alone.
const ENTRY_BYTES: usize = 512;

/// A track as Spotify describes it. Anything may be missing, as anything is, somewhere.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Track<'a> {
    /// Spotify's id. [`Playlist::tracks`] has only tracks with one.
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    /// The track's name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// Its length in milliseconds.
    #[serde(deserialize_with = "integer")]
    pub duration_ms: Option<i64>,
    /// 0 to 100. Apps in development mode no longer get it.
    #[serde(deserialize_with = "integer")]
    pub popularity: Option<i64>,
    /// Whether its lyrics are marked as explicit.
    pub explicit: Option<bool>,
    /// The disc it is on, from 1.
    #[serde(deserialize_with = "integer")]
    pub disc_number: Option<i64>,
    /// Its number on that disc, from 1.
    #[serde(deserialize_with = "integer")]
    pub track_number: Option<i64>,
    /// Addresses.
    #[serde(borrow, deserialize_with = "object")]
    pub external_urls: Option<ExternalUrls<'a>>,
    /// Ids that others gave it.
    #[serde(borrow, deserialize_with = "object")]
    pub external_ids: Option<ExternalIds<'a>>,
    /// The album it is on.
    #[serde(borrow, deserialize_with = "object")]
    pub album: Option<Album<'a>>,
    /// Who performs it, in order.
    #[serde(borrow, deserialize_with = "objects")]
    pub artists: Option<Vec<Option<Artist<'a>>>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    is_local: Option<bool>,
}

/// An album as Spotify describes it inside a track.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Album<'a> {
    /// Spotify's id.
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    /// The album's name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// `album`, `single` or `compilation`.
    #[serde(borrow)]
    pub album_type: Option<Text<'a>>,
    /// `1981`, `1981-12` or `1981-12-15`.
    #[serde(borrow)]
    pub release_date: Option<Text<'a>>,
    /// `year`, `month` or `day`.
    #[serde(borrow)]
    pub release_date_precision: Option<Text<'a>>,
    /// How many tracks it has.
    #[serde(deserialize_with = "integer")]
    pub total_tracks: Option<i64>,
    /// Addresses.
    #[serde(borrow, deserialize_with = "object")]
    pub external_urls: Option<ExternalUrls<'a>>,
    /// Whose album it is, in order. Not necessarily who performs the track.
    #[serde(borrow, deserialize_with = "objects")]
    pub artists: Option<Vec<Option<Artist<'a>>>>,
}

/// An artist as Spotify describes them inside a track or an album.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Artist<'a> {
    /// Spotify's id.
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
    /// The artist's name.
    #[serde(borrow)]
    pub name: Option<Text<'a>>,
    /// Addresses.
    #[serde(borrow, deserialize_with = "object")]
    pub external_urls: Option<ExternalUrls<'a>>,
}

/// Addresses of a thing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ExternalUrls<'a> {
    /// Its page on open.spotify.com.
    #[serde(borrow)]
    pub spotify: Option<Text<'a>>,
}

/// Ids that others gave a track.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ExternalIds<'a> {
    /// The International Standard Recording Code.
    #[serde(borrow)]
    pub isrc: Option<Text<'a>>,
}

quick!(Track {
    b"id" => id,
    b"name" => name,
    b"duration_ms" => duration_ms,
    b"popularity" => popularity,
    b"explicit" => explicit,
    b"disc_number" => disc_number,
    b"track_number" => track_number,
    b"external_urls" => external_urls,
    b"external_ids" => external_ids,
    b"album" => album,
    b"artists" => artists,
    b"type" => kind,
    b"is_local" => is_local,
} else { b"track" });

quick!(Album {
    b"id" => id,
    b"name" => name,
    b"album_type" => album_type,
    b"release_date" => release_date,
    b"release_date_precision" => release_date_precision,
    b"total_tracks" => total_tracks,
    b"external_urls" => external_urls,
    b"artists" => artists,
});

quick!(Artist { b"id" => id, b"name" => name, b"external_urls" => external_urls });

quick!(ExternalUrls { b"spotify" => spotify });

quick!(ExternalIds { b"isrc" => isrc });

/// An entry that holds a track.
#[derive(Debug)]
pub struct TrackEntry<'a> {
    /// Its place in the playlist, from 1.
    pub position: u32,
    /// When it was added, as Spotify writes it.
    pub added_at: Option<Text<'a>>,
    /// The track.
    pub track: Track<'a>,
    json: &'a str,
}

impl<'a> TrackEntry<'a> {
    /// An entry that is yet to be read.
    fn at(position: u32) -> Self {
        TrackEntry { position, added_at: None, track: Track::default(), json: "" }
    }

    /// The track's id, which every track entry has.
    pub fn id(&self) -> Option<&str> {
        id(&self.track.id)
    }

    /// Reads of the track what [`Track`] doesn't know. None if it is not as `T` has it.
    pub fn read<T: Deserialize<'a>>(&self) -> Option<T> {
        let members: Entry<'a> = serde_json::from_str(self.json).ok()?;
        parse(payload(&members)?)
    }
}

/// A document's entries, each judged.
#[derive(Debug, Default)]
pub struct Playlist<'a> {
    tracks: Vec<TrackEntry<'a>>,
    skips: Vec<Skip>,
}

impl<'a> Playlist<'a> {
    /// Walks the entries of all pages.
    ///
    /// # Errors
    ///
    /// [`Failure::Malformed`] if a page is not one of those that [`containers`] knows.
    pub fn read(document: &'a Document) -> Result<Playlist<'a>, Failure> {
        let mut playlist = Playlist::default();
        let mut position = 0;
        for (index, json) in document.pages.iter().enumerate() {
            let parts = match sound_page(json) {
                Some(page) => vec![page],
                None => parts(json)
                    .map_err(|error| Failure::Malformed(format!("page {}: {error}", index + 1)))?,
            };
            for page in parts {
                position = playlist.add(page, position);
            }
        }
        Ok(playlist)
    }

    /// Adds the entries of a page after those up to a position, and says up to which there are some then.
    fn add(&mut self, mut page: Page<'a>, position: u32) -> u32 {
        let before = position.max(page.offset.and_then(place).unwrap_or(0));
        let entries = (page.tracks.len() + page.skips.len()) as u32;
        page.tracks.iter_mut().for_each(|track| track.position += before);
        match self.tracks.is_empty() {
            true => self.tracks = page.tracks,
            false => self.tracks.append(&mut page.tracks),
        }
        let skips = page.skips.into_iter();
        self.skips.extend(skips.map(|(place, reason)| Skip::new(before + place, reason.as_str())));
        if entries == 0 { position } else { before + entries }
    }

    /// The entries that hold a track, in order, each with an id.
    pub fn tracks(&self) -> &[TrackEntry<'a>] {
        &self.tracks
    }

    /// How many entries there are, also those passed over.
    pub fn entries(&self) -> i64 {
        (self.tracks.len() + self.skips.len()) as i64
    }

    /// How many entries were passed over for a reason.
    pub fn skipped(&self, reason: SkipReason) -> i64 {
        self.skips.iter().filter(|skip| skip.reason == reason.as_str()).count() as i64
    }

    /// The extraction: one batch for each table, and the entries passed over.
    pub fn extraction<const N: usize>(self, batches: [Batch; N]) -> Extraction {
        if cfg!(target_family = "wasm") {
            // The instance ends with the call, and all that it has with it.
            mem::forget(self.tracks);
        }
        Extraction { batches: batches.into(), skips: self.skips }
    }
}

/// Why an entry holds no track. The first that applies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SkipReason {
    /// Neither `item` nor `track` is an object: removed, or not available any more.
    NoPayload,
    /// An episode of a podcast.
    Episode,
    /// Something that is neither track nor episode.
    OtherType,
    /// A file on somebody's own disk, without an id.
    LocalFile,
    /// A track without an id.
    NoId,
    /// A field has a type that it should not have.
    Unreadable,
}

impl SkipReason {
    /// The word that is reported and counted.
    pub fn as_str(self) -> &'static str {
        match self {
            SkipReason::NoPayload => "no_payload",
            SkipReason::Episode => "episode",
            SkipReason::OtherType => "other_type",
            SkipReason::LocalFile => "local_file",
            SkipReason::NoId => "no_id",
            SkipReason::Unreadable => "unreadable",
        }
    }
}

/// An offset that positions can follow, which a playlist of any size has.
fn place(offset: u64) -> Option<u32> {
    u32::try_from(offset).ok().filter(|offset| *offset < u32::MAX / 2)
}

/// Entries that were read together, each judged. Their positions are counted from 1 here.
#[derive(Default)]
struct Page<'a> {
    /// The place of the first, counted from 0, where Spotify gives it.
    offset: Option<u64>,
    tracks: Vec<TrackEntry<'a>>,
    skips: Vec<(u32, SkipReason)>,
}

/// What an entry is.
type Verdict<'a> = Result<TrackEntry<'a>, SkipReason>;

/// The entries of a page of whatever shape.
fn parts(json: &str) -> Result<Vec<Page<'_>>, NoEntries> {
    let parts = containers::read(json)?.pages.into_iter().map(|part| {
        let mut page = Page { offset: part.offset, ..Page::default() };
        for entry in part.entries {
            if page.add_entry(Json::of(entry.get()), 0).is_none() {
                page.add(judge_odd(entry.get()));
            }
        }
        page
    });
    Ok(parts.collect())
}

/// A page of entries, a playlist object with one in it, or the entries alone; none if something is odd.
fn sound_page(text: &str) -> Option<Page<'_>> {
    let tracks = Vec::with_capacity(text.len() / ENTRY_BYTES);
    let mut page = Page { tracks, ..Page::default() };
    quick::whole(text, |json, at| match json.byte(at) {
        b'[' => page.sound_entries(json, at),
        _ => page.sound_object(json, at, true),
    })?;
    Some(page)
}

/// What of an entry says which of its members count.
#[derive(Default)]
struct Seen {
    item: Option<Holds>,
    track: Option<Holds>,
    added_at: bool,
    is_local: Option<Option<bool>>,
}

/// What a member of an entry holds in which a track may be.
#[derive(PartialEq)]
enum Holds {
    Nothing,
    Object,
}

impl<'a> Page<'a> {
    /// Reads an object with entries, or one with such an object in it.
    fn sound_object(&mut self, json: Json<'a>, at: usize, may_be_playlist: bool) -> Option<After> {
        let (mut offset, mut has_entries) = (None::<Option<i64>>, false);
        let mut of_inner = None;
        let after = json.object(at, |at| {
            let (name, at) = json.name(at)?;
            let at = json.begin(at);
            match name {
                b"items" | b"tracks" | b"pages" if has_entries => None,
                b"items" if json.byte(at) == b'[' => {
                    has_entries = true;
                    self.sound_entries(json, at)
                }
                b"items" | b"tracks" if may_be_playlist => {
                    has_entries = true;
                    let after = self.sound_object(json, at, false)?;
                    of_inner = Some(self.offset);
                    Some(after)
                }
                b"items" | b"tracks" | b"pages" => None,
                b"offset" if offset.is_some() => None,
                b"offset" => offset.insert(None).fill(json, at),
                _ => json.skip(at),
            }
        })?;
        let own = || offset.flatten().map(i64::unsigned_abs);
        self.offset = of_inner.unwrap_or_else(own);
        has_entries.then_some(after)
    }

    fn sound_entries(&mut self, json: Json<'a>, at: usize) -> Option<After> {
        let mut is_first = true;
        json.array(at, |at| {
            let is_object = json.byte(at) == b'{';
            let (reason, after) = self.add_entry(json, at)?;
            // A list of playlists, or of pages, has a first object without a track.
            let is_other = is_object && is_first && reason == Some(SkipReason::NoPayload);
            is_first &= !is_object;
            (!is_other).then_some(after)
        })
    }

    /// Adds an entry, and says why it holds no track if so, and where it ends; none if it is no JSON.
    fn add_entry(&mut self, json: Json<'a>, at: usize) -> Option<(Option<SkipReason>, After)> {
        // Nearly all hold a track, and it is large: it is read in its place.
        let position = self.position();
        let entry = self.tracks.push_mut(TrackEntry::at(position));
        let mut seen = Seen::default();
        let sound = entry
            .read_sound(&mut seen, json, at)
            .and_then(|after| Some((json.between(at, after)?, after)));
        if let Some((text, after)) = sound {
            entry.json = text;
            let Err(reason) = judge_sound(entry, &seen) else { return Some((None, after)) };
            self.tracks.pop();
            return Some((self.add(Err(reason)), after));
        }
        self.tracks.pop();
        let after = json.skip(at)?;
        let verdict = judge_odd(json.between(at, after)?);
        Some((self.add(verdict), after))
    }

    /// Adds an entry that was judged, and says why it holds no track if so.
    fn add(&mut self, verdict: Verdict<'a>) -> Option<SkipReason> {
        let position = self.position();
        match verdict {
            Ok(track) => self.tracks.push(TrackEntry { position, ..track }),
            Err(reason) => {
                self.skips.push((position, reason));
                return Some(reason);
            }
        }
        None
    }

    /// The place of the next entry, counted from 1.
    fn position(&self) -> u32 {
        (self.tracks.len() + self.skips.len()) as u32 + 1
    }
}

impl<'a> TrackEntry<'a> {
    /// Reads an entry in which everything has the type that it should have: nearly all of them.
    fn read_sound(&mut self, seen: &mut Seen, json: Json<'a>, at: usize) -> Option<After> {
        const ADDED_AT: u32 = 0;
        const IS_LOCAL: u32 = 1;
        const ITEM: u32 = 2;
        const TRACK: u32 = 3;
        json.object(at, |at| {
            let (place, at) = named!(json, at, [
                b"added_at" => ADDED_AT, b"is_local" => IS_LOCAL, b"item" => ITEM, b"track" => TRACK,
            ]);
            match place {
                ADDED_AT if mem::replace(&mut seen.added_at, true) => None,
                ADDED_AT => self.added_at.fill(json, at),
                IS_LOCAL if seen.is_local.is_some() => None,
                IS_LOCAL => seen.is_local.insert(None).fill(json, at),
                ITEM if seen.item.is_some() => None,
                ITEM => {
                    if seen.track == Some(Holds::Object) && json.byte(json.begin(at)) == b'{' {
                        // The item counts, and not what was read there.
                        self.track = Track::default();
                    }
                    self.payload(seen.item.insert(Holds::Nothing), json, at)
                }
                TRACK if seen.track.is_some() => None,
                TRACK => {
                    let holds = seen.track.insert(Holds::Nothing);
                    match seen.item {
                        // It would count only if there were no item.
                        Some(Holds::Object) => json.skip(at),
                        _ => self.payload(holds, json, at),
                    }
                }
                _ => json.skip(at),
            }
        })
    }

    /// Reads what a member holds, if that is an object. The track is as it was made before that.
    fn payload(&mut self, holds: &mut Holds, json: Json<'a>, at: usize) -> Option<After> {
        let at = json.begin(at);
        match json.byte(at) {
            b'{' => {
                *holds = Holds::Object;
                self.track.fill(json, at)
            }
            b'n' | b't' | b'f' => json.skip(at),
            _ => None,
        }
    }
}

/// An entry, its members unparsed, since each of them may be of any type.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry<'a> {
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    track: Option<&'a RawValue>,
    #[serde(borrow)]
    added_at: Option<&'a RawValue>,
    #[serde(borrow)]
    is_local: Option<&'a RawValue>,
}

/// What an entry's reason is decided by, where it can't be read as a track.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Marks<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    artists: Option<&'a RawValue>,
    #[serde(borrow)]
    is_local: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

fn judge_sound(entry: &TrackEntry<'_>, seen: &Seen) -> Result<(), SkipReason> {
    if ![&seen.item, &seen.track].contains(&&Some(Holds::Object)) {
        return Err(SkipReason::NoPayload);
    }
    judge_track(&entry.track, seen.is_local == Some(Some(true)))
}

/// An entry of which something has another type than it should: not necessarily what counts.
fn judge_odd(json: &str) -> Verdict<'_> {
    if !json.starts_with('{') {
        return Err(SkipReason::NoPayload);
    }
    let members: Entry<'_> = serde_json::from_str(json).map_err(|_| SkipReason::Unreadable)?;
    let held = payload(&members).ok_or(SkipReason::NoPayload)?;
    let in_playlist = members.is_local.is_some_and(|flag| flag.get() == "true");
    let Some(track) = parse::<Track<'_>>(held) else {
        return Err(judge_unparsed(held, in_playlist));
    };
    judge_track(&track, in_playlist)?;
    let flag = members.is_local.map_or(Some(None), parse::<Option<bool>>);
    flag.ok_or(SkipReason::Unreadable)?;
    let added_at = members.added_at.map_or(Some(None), parse).ok_or(SkipReason::Unreadable)?;
    Ok(TrackEntry { position: 0, added_at, track, json })
}

fn payload<'a>(entry: &Entry<'a>) -> Option<&'a RawValue> {
    [entry.item, entry.track].into_iter().flatten().find(|payload| is_object(payload))
}

fn judge_track(track: &Track<'_>, in_playlist: bool) -> Result<(), SkipReason> {
    let kind = track.kind.as_deref().map(str::as_bytes);
    let is_local = in_playlist || track.is_local == Some(true);
    let has_id = id(&track.id).is_some();
    reason(kind, track.artists.is_some(), is_local, has_id).map_or(Ok(()), Err)
}

/// The reason of an entry of which some field can't be read: another one may come before that.
fn judge_unparsed(json: &RawValue, in_playlist: bool) -> SkipReason {
    let Some(payload) = parse::<Marks<'_>>(json) else { return SkipReason::Unreadable };
    let kind: Option<Text<'_>> = payload.kind.and_then(parse);
    // A type that is not text is not `track` either.
    let kind = payload.kind.map(|_| kind.as_deref().map_or(&b""[..], str::as_bytes));
    let is_local = in_playlist || payload.is_local.is_some_and(|flag| flag.get() == "true");
    let has_id = payload.id.is_some_and(|id| id.get() != "\"\"");
    reason(kind, payload.artists.is_some(), is_local, has_id).unwrap_or(SkipReason::Unreadable)
}

fn reason(
    kind: Option<&[u8]>,
    has_artists: bool,
    is_local: bool,
    has_id: bool,
) -> Option<SkipReason> {
    let is_track = match kind {
        Some(b"track") => true,
        Some(kind) if kind.eq_ignore_ascii_case(b"episode") => return Some(SkipReason::Episode),
        Some(kind) => kind.eq_ignore_ascii_case(b"track"),
        None => has_artists,
    };
    if !is_track {
        return Some(SkipReason::OtherType);
    }
    if is_local {
        return Some(SkipReason::LocalFile);
    }
    (!has_id).then_some(SkipReason::NoId)
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// An id, unless it is missing or empty.
pub fn id<'t>(text: &'t Option<Text<'_>>) -> Option<&'t str> {
    text.as_deref().filter(|id| !id.is_empty())
}

/// Text that is borrowed from the page where it has no escapes.
#[derive(Clone, Default, PartialEq)]
pub struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'a> Quick<'a> for Text<'a> {
    fn fill(&mut self, json: Json<'a>, at: usize) -> Option<After> {
        if let Some((text, after)) = json.plain(at) {
            quick::set(&mut self.0, Cow::Borrowed(text));
            return Some(after);
        }
        self.fill_odd(json, at)
    }
}

impl<'a> Text<'a> {
    #[cold]
    #[inline(never)]
    fn fill_odd(&mut self, json: Json<'a>, at: usize) -> Option<After> {
        let (text, after) = json.text(at)?;
        self.0 = Cow::Owned(text);
        Some(after)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// A JSON object. Serde alone takes an array for one.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let object = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(object.map(|Object(value)| value))
}

fn objects<'de, D, T>(deserializer: D) -> Result<Option<Vec<Option<T>>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let objects = Option::<Vec<Option<Object<T>>>>::deserialize(deserializer)?;
    let value = |object: Option<Object<T>>| object.map(|Object(value)| value);
    Ok(objects.map(|objects| objects.into_iter().map(value).collect()))
}

/// Reads a whole number however JSON spells it: `210000`, `210000.0`, `2.1e5`.
fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    struct IntegerVisitor;
    impl<'de> Visitor<'de> for IntegerVisitor {
        type Value = Option<i64>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }
        fn visit_i64<E: Error>(self, number: i64) -> Result<Option<i64>, E> {
            Ok(Some(number))
        }
        fn visit_u64<E: Error>(self, number: u64) -> Result<Option<i64>, E> {
            let number = i64::try_from(number);
            number.map(Some).map_err(|_| E::custom("a number that no 64 bit integer holds"))
        }
        fn visit_f64<E: Error>(self, number: f64) -> Result<Option<i64>, E> {
            let whole = number.fract() == 0.0 && number.abs() < 9e15;
            let number = whole.then_some(number as i64);
            number.map(Some).ok_or_else(|| E::invalid_type(Unexpected::Other("a fraction"), &self))
        }
        fn visit_none<E: Error>(self) -> Result<Option<i64>, E> {
            Ok(None)
        }
        fn visit_unit<E: Error>(self) -> Result<Option<i64>, E> {
            Ok(None)
        }
        fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Option<i64>, D::Error> {
            inner.deserialize_any(self)
        }
    }
    deserializer.deserialize_option(IntegerVisitor)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What pages are, read in the quick way and in the slow one.
    fn assert_same(json: &str) {
        let shown = |page: Page<'_>| {
            (page.offset.and_then(place), format!("{:?} {:?}", page.tracks, page.skips))
        };
        let slow = |part: containers::Page<'_>| {
            let mut page = Page { offset: part.offset, ..Page::default() };
            for entry in &part.entries {
                page.add(judge_odd(entry.get()));
            }
            shown(page)
        };
        let quickly = sound_page(json);
        let slowly = match containers::read(json) {
            Ok(contents) => contents.pages.into_iter().map(slow).collect::<Vec<_>>(),
            Err(_) if quickly.is_none() => return,
            // Beside the entries: no host hands such a page over.
            Err(error) if error.to_string().contains("duplicate field") => return,
            Err(error) => panic!("{error}, and not in the quick way: {json}"),
        };
        let quickly = quickly.map_or_else(|| parts(json).unwrap(), |page| vec![page]);
        let quickly: Vec<_> = quickly.into_iter().map(shown).collect();
        assert_eq!(quickly, slowly, "{json}");
    }

    fn page() -> Value {
        let artists = json!([{"id": "r1", "name": "R", "external_urls": {"spotify": "u"}}, null]);
        let album = json!({
            "id": "a1", "name": "A", "album_type": "single", "release_date": "1981-12",
            "release_date_precision": "month", "total_tracks": 9, "artists": artists,
            "external_urls": {"spotify": "u"}, "images": [{"url": "x", "height": 1}],
        });
        let track = json!({
            "id": "t1", "type": "track", "name": "T\n\u{e9}", "duration_ms": 210_000, "popularity": 0,
            "explicit": false, "disc_number": 1, "track_number": 2, "is_local": false, "album": album,
            "artists": artists, "external_urls": {}, "external_ids": {"isrc": "I"},
        });
        let entry = json!({"added_at": "2023-09-22T15:45:51Z", "is_local": false, "item": track});
        json!({"href": "h", "items": [null, entry, {"track": track}, {"item": null}], "offset": 3})
    }

    /// All places in a value, as pointers.
    fn places(value: &Value, at: String, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => members
                .iter()
                .for_each(|(name, value)| places(value, format!("{at}/{name}"), found)),
            Value::Array(elements) => elements
                .iter()
                .enumerate()
                .for_each(|(index, value)| places(value, format!("{at}/{index}"), found)),
            _ => {}
        }
        found.push(at);
    }

    #[test]
    fn whatever_stands_anywhere_the_quick_way_gives_what_the_slow_one_does() {
        let odd = [
            "null",
            "true",
            "0",
            "-1",
            "1.0",
            "1.5",
            "1e3",
            "12345678901234567890",
            "\"\"",
            "\"x\"",
            "\"episode\"",
            "\"Track\"",
            "\"\\u00e9\\n\"",
            "[]",
            "{}",
            "[{}]",
            "[null]",
            "{\"id\":\"x\"}",
            "[{\"item\":{}}]",
            "{\"items\":[]}",
            "{\"items\":[{\"track\":{\"type\":\"track\"}}]}",
        ];
        for (name, page) in [
            ("page", page()),
            ("playlist", json!({"tracks": page(), "id": "p", "owner": {}, "snapshot_id": "s"})),
            ("playlist of 2026", json!({"items": page(), "id": "p"})),
            ("entries", page()["items"].clone()),
            ("pages", json!({"pages": [page(), page()]})),
        ] {
            let mut found = Vec::new();
            places(&page, String::new(), &mut found);
            assert!(name == "pages" || sound_page(&page.to_string()).is_some(), "{name}");
            for at in &found {
                let mut marked = page.clone();
                let Some(place) = marked.pointer_mut(at) else { continue };
                *place = json!("HERE");
                let pretty = serde_json::to_string_pretty(&marked).unwrap();
                let marked = marked.to_string();
                for odd in odd {
                    assert_same(&marked.replace("\"HERE\"", odd));
                    assert_same(&pretty.replace("\"HERE\"", odd));
                }
                // There twice, and not there at all.
                if let Some((_, name)) =
                    at.rsplit_once('/').filter(|_| marked.contains(":\"HERE\""))
                {
                    let member = format!("\"{name}\":\"HERE\"");
                    assert_same(&marked.replace(&member, &format!("{member},{member}")));
                    assert_same(&marked.replace(&member, "\"x\":[1,\"]\"]"));
                }
            }
        }
    }

    #[test]
    fn of_an_item_and_a_track_the_same_one_counts_in_any_order() {
        let held = [
            "null",
            "true",
            "5",
            "\"x\"",
            "{}",
            r#"{"id":"a","type":"track"}"#,
            r#"{"id":"b","type":"track","name":"\u0062"}"#,
            r#"{"id":"c","type":"track","name":5}"#,
            r#"{"id":"d","type":"episode"}"#,
        ];
        for (item, track) in held.iter().flat_map(|item| held.map(|track| (item, track))) {
            for entry in [
                format!(r#"{{"item":{item},"track":{track}}}"#),
                format!(r#"{{"track":{track},"item":{item}}}"#),
                format!(r#"{{"track":{track},"item":{item},"track":null}}"#),
            ] {
                assert_same(&format!("[null,{entry}]"));
            }
        }
    }

    #[test]
    fn text_that_is_no_json_is_not_read_in_the_quick_way() {
        let page = page().to_string();
        for end in (0..page.len()).filter(|end| page.is_char_boundary(*end)) {
            assert_same(&page[..end]);
        }
        for odd in
            ["", " ", "{", "[1,]", "[{},]", "{\"items\":[]}x", "{\"items\":[],}", "{\"items\" []}"]
        {
            assert!(sound_page(odd).is_none(), "{odd}");
        }
        assert_same(
            " { \"offset\" : 2 ,\t\"items\" :\r\n[ { \"track\" : { \"id\" : \"x\" } } ] } ",
        );
    }
}
