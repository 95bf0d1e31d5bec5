//! What an entry of a playlist is, and why it may give no row.
//!
//! Entries are parsed one by one, so that an odd one is passed over, with its reason, and the
//! others are not. All plugins judge an entry by the same [`Track`]: what one counts as a track,
//! all do.

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

use crate::{
    containers,
    plugin::{Document, Extraction, Failure, Skip},
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

/// An entry that holds a track.
#[derive(Debug)]
pub struct TrackEntry<'a> {
    /// Its place in the playlist, from 1.
    pub position: u32,
    /// When it was added, as Spotify writes it.
    pub added_at: Option<Text<'a>>,
    /// The track.
    pub track: Track<'a>,
    entry: &'a RawValue,
}

impl<'a> TrackEntry<'a> {
    /// The track's id, which every track entry has.
    pub fn id(&self) -> Option<&str> {
        id(&self.track.id)
    }

    /// Reads of the track what [`Track`] doesn't know. None if it is not as `T` has it.
    pub fn read<T: Deserialize<'a>>(&self) -> Option<T> {
        parse(payload(&parse(self.entry)?)?)
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
            let contents = containers::read(json)
                .map_err(|error| Failure::Malformed(format!("page {}: {error}", index + 1)))?;
            for page in contents.pages {
                let offset = page.offset.and_then(place).unwrap_or(0);
                for entry in page.entries {
                    position = position.max(offset) + 1;
                    match judge(position, entry) {
                        Ok(track) => playlist.tracks.push(track),
                        Err(reason) => playlist.skips.push(Skip::new(position, reason.as_str())),
                    }
                }
            }
        }
        Ok(playlist)
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

/// An entry in which everything has the type that it should have: nearly all of them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SoundEntry<'a> {
    #[serde(borrow)]
    item: Option<SoundPayload<'a>>,
    #[serde(borrow)]
    track: Option<SoundPayload<'a>>,
    #[serde(borrow)]
    added_at: Option<Text<'a>>,
    is_local: Option<bool>,
}

/// The payload if it is an object.
struct SoundPayload<'a>(Option<Box<Track<'a>>>);

impl<'de: 'a, 'a> Deserialize<'de> for SoundPayload<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PayloadVisitor;
        impl<'de> Visitor<'de> for PayloadVisitor {
            type Value = SoundPayload<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a track")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let track = Track::deserialize(MapAccessDeserializer::new(map))?;
                Ok(SoundPayload(Some(Box::new(track))))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(SoundPayload(None))
            }
        }
        deserializer.deserialize_any(PayloadVisitor)
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
struct Payload<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    artists: Option<&'a RawValue>,
    #[serde(borrow)]
    is_local: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

fn judge<'a>(position: u32, entry: &'a RawValue) -> Result<TrackEntry<'a>, SkipReason> {
    if !is_object(entry) {
        return Err(SkipReason::NoPayload);
    }
    let Some(sound) = parse::<SoundEntry<'a>>(entry) else {
        return judge_odd(position, entry);
    };
    let payload = sound.item.and_then(|item| item.0).or(sound.track.and_then(|track| track.0));
    let track = *payload.ok_or(SkipReason::NoPayload)?;
    judge_track(&track, sound.is_local == Some(true))?;
    Ok(TrackEntry { position, added_at: sound.added_at, track, entry })
}

/// An entry of which something has another type than it should: not necessarily what counts.
fn judge_odd<'a>(position: u32, entry: &'a RawValue) -> Result<TrackEntry<'a>, SkipReason> {
    let members: Entry<'a> = parse(entry).ok_or(SkipReason::Unreadable)?;
    let json = payload(&members).ok_or(SkipReason::NoPayload)?;
    let in_playlist = members.is_local.is_some_and(|flag| flag.get() == "true");
    let Some(track) = parse::<Track<'a>>(json) else {
        return Err(judge_unparsed(json, in_playlist));
    };
    judge_track(&track, in_playlist)?;
    let flag = members.is_local.map_or(Some(None), parse::<Option<bool>>);
    flag.ok_or(SkipReason::Unreadable)?;
    let added_at = members.added_at.map_or(Some(None), parse).ok_or(SkipReason::Unreadable)?;
    Ok(TrackEntry { position, added_at, track, entry })
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
    let Some(payload) = parse::<Payload<'_>>(json) else { return SkipReason::Unreadable };
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
#[derive(Clone, PartialEq)]
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
