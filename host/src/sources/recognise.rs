//! Recognises what is not a playlist, so that a rejection can say what it is instead.
//!
//! A file that holds entries is a playlist only if one of its entries carries a `track` or an `item`. What a file is
//! instead is looked into only then, so that it costs nothing for playlists.

use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::{error::Category, value::RawValue};

use crate::{
    pages::Part,
    refused::{NotAPlaylist, Refused},
};

/// What a member's value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    #[default]
    Absent,
    Null,
    Object,
    Array,
    Other,
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = <&RawValue>::deserialize(deserializer)?;
        Ok(match value.get().as_bytes().first() {
            Some(b'n') => Member::Null,
            Some(b'{') => Member::Object,
            Some(b'[') => Member::Array,
            _ => Member::Other,
        })
    }
}

/// What tells an entry of a playlist.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    track: Member,
    item: Member,
    played_at: Member,
}

/// Checks that each part holds entries of a playlist: none at all, or at least one with `track` or `item`, or that
/// is null.
///
/// # Errors
///
/// What the text is instead.
pub fn check(text: &str, parts: &[Part<'_>]) -> Result<(), NotAPlaylist> {
    for part in parts {
        let mut has_payload = part.entries() == 0;
        for entry in part.raw_entries() {
            match payload(entry) {
                Payload::None => {}
                Payload::Played => return Err(NotAPlaylist::Plays),
                Payload::Some => {
                    has_payload = true;
                    break;
                }
            }
        }
        if !has_payload {
            let found = diagnose(part.text).or_else(|| diagnose(text));
            return Err(found.unwrap_or(NotAPlaylist::FlatRecords));
        }
    }
    Ok(())
}

enum Payload {
    Some,
    None,
    Played,
}

fn payload(entry: &RawValue) -> Payload {
    if entry.get() == "null" {
        return Payload::Some;
    }
    if !entry.get().starts_with('{') {
        return Payload::None;
    }
    // An entry with a member twice is judged by the plugins.
    let Ok(entry) = serde_json::from_str::<Entry>(entry.get()) else { return Payload::Some };
    if entry.played_at != Member::Absent {
        return Payload::Played;
    }
    let carries = |member: Member| matches!(member, Member::Null | Member::Object);
    if carries(entry.track) || carries(entry.item) { Payload::Some } else { Payload::None }
}

/// The members that tell what an object is.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Shape<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    href: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    tracks: Option<&'a RawValue>,
    #[serde(borrow)]
    albums: Option<&'a RawValue>,
    #[serde(borrow)]
    artists: Option<&'a RawValue>,
    #[serde(borrow)]
    playlists: Option<&'a RawValue>,
    track: Member,
    item: Member,
    album: Member,
    artist: Member,
    uri: Member,
    episode: Member,
    show: Member,
    played_at: Member,
    seeds: Member,
    queue: Member,
    is_playing: Member,
    cursors: Member,
    #[serde(rename = "endTime")]
    end_time: Member,
    #[serde(rename = "msPlayed")]
    milliseconds_played: Member,
    ms_played: Member,
    #[serde(rename = "trackName")]
    track_name: Member,
}

/// Returns what a JSON text is that holds no entries of a playlist, where that can be told.
pub fn diagnose(text: &str) -> Option<NotAPlaylist> {
    if text.starts_with('[') {
        let first = first_object(text)?;
        let is_container = first.items.or(first.tracks).or(first.playlists).is_some();
        return if is_container { of_container(&first) } else { of_entry(&first) };
    }
    of_container(&shape(text)?)
}

fn of_container(shape: &Shape<'_>) -> Option<NotAPlaylist> {
    let inner = [shape.tracks, shape.albums, shape.artists, shape.playlists];
    let paging = || inner.iter().flatten().filter_map(|value| self::shape(value.get()));
    if names(shape.href, "/recently-played")
        || shape.cursors == Member::Object && shape.items.is_some()
    {
        return Some(NotAPlaylist::Plays);
    }
    if names(shape.href, "/search") || paging().any(|paging| names(paging.href, "/search")) {
        return Some(NotAPlaylist::SearchResults);
    }
    if shape.seeds != Member::Absent {
        return Some(NotAPlaylist::Recommendations);
    }
    if shape.queue != Member::Absent || shape.is_playing != Member::Absent {
        return Some(NotAPlaylist::Player);
    }
    if let Some(found) = of_kind(shape) {
        return Some(found);
    }
    if shape.playlists.is_some_and(is_array) {
        return Some(NotAPlaylist::ExportedPlaylists);
    }
    if let Some(tracks) = shape.tracks.filter(|tracks| is_array(tracks)) {
        return Some(of_tracks(shape, tracks));
    }
    for (list, found) in
        [(shape.albums, NotAPlaylist::Albums), (shape.artists, NotAPlaylist::Artists)]
    {
        if list.is_some() && shape.items.is_none() && shape.tracks.is_none() {
            return Some(found);
        }
    }
    let items = shape.items.into_iter().chain(shape.tracks);
    items.filter_map(|items| of_items(items.get())).next()
}

/// By the type that an object says it has.
fn of_kind(shape: &Shape<'_>) -> Option<NotAPlaylist> {
    let kind: String = serde_json::from_str(shape.kind?.get()).ok()?;
    match kind.as_str() {
        "album" => Some(NotAPlaylist::Album),
        "track" | "artist" | "user" | "show" | "episode" => Some(NotAPlaylist::OneObject),
        _ => None,
    }
}

/// An object whose `tracks` is an array.
fn of_tracks(shape: &Shape<'_>, tracks: &RawValue) -> NotAPlaylist {
    let Some(first) = first_object(tracks.get()) else { return NotAPlaylist::OtherProgram };
    if first.artist == Member::Other && first.track == Member::Other {
        return NotAPlaylist::ExportedLibrary;
    }
    let is_dump = shape.items.is_some() || first.track == Member::Object;
    if !is_dump && (first.kind.is_some() || first.artists.is_some()) {
        return NotAPlaylist::BareTracks;
    }
    NotAPlaylist::OtherProgram
}

/// The entries of a page, or a page.
fn of_items(items: &str) -> Option<NotAPlaylist> {
    if items.starts_with('[') {
        return of_entry(&first_object(items)?);
    }
    let paging = shape(items)?;
    of_entry(&first_object(paging.items?.get())?)
}

fn of_entry(first: &Shape<'_>) -> Option<NotAPlaylist> {
    let is_given = |member: Member| member != Member::Absent;
    if is_given(first.played_at) {
        return Some(NotAPlaylist::Plays);
    }
    if is_given(first.milliseconds_played) || is_given(first.ms_played) || is_given(first.end_time)
    {
        return Some(NotAPlaylist::StreamingHistory);
    }
    if is_given(first.track_name) {
        return Some(NotAPlaylist::ExportedPlaylists);
    }
    if is_given(first.track) || is_given(first.item) {
        return Some(NotAPlaylist::FlatRecords);
    }
    let kind = first.kind.and_then(|kind| serde_json::from_str::<String>(kind.get()).ok());
    match kind.as_deref() {
        Some("track") => return Some(NotAPlaylist::BareTracks),
        Some("album") => return Some(NotAPlaylist::Albums),
        Some("artist") => return Some(NotAPlaylist::Artists),
        Some("episode" | "show") => return Some(NotAPlaylist::Episodes),
        _ => {}
    }
    if first.artists.is_some_and(is_array) && is_given(first.uri) {
        return Some(NotAPlaylist::BareTracks);
    }
    if first.album == Member::Object && first.artists.is_none() {
        return Some(NotAPlaylist::Albums);
    }
    if first.episode == Member::Object || first.show == Member::Object {
        return Some(NotAPlaylist::Episodes);
    }
    Some(NotAPlaylist::FlatRecords)
}

fn shape(text: &str) -> Option<Shape<'_>> {
    text.starts_with('{').then(|| serde_json::from_str(text).ok()).flatten()
}

fn first_object(array: &str) -> Option<Shape<'_>> {
    let elements: Vec<&RawValue> = serde_json::from_str(array).ok()?;
    elements.into_iter().find_map(|element| shape(element.get()))
}

fn is_array(value: &RawValue) -> bool {
    value.get().starts_with('[')
}

fn names(href: Option<&RawValue>, part: &str) -> bool {
    href.is_some_and(|href| href.get().contains(part))
}

/// Rejects bytes that are known not to be JSON text, by their first bytes.
///
/// # Errors
///
/// What they are.
pub fn check_bytes(bytes: &[u8]) -> Result<(), Refused> {
    let rejected = |what, hint| Err(Refused::OtherFormat { what, hint });
    match bytes {
        [b'P', b'K', 3 | 5, ..] => rejected("a zip archive", "unpack it, and import what is in it"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => rejected("UTF-16 text", "save it as UTF-8"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => rejected("compressed with zstd", "unpack it"),
        [b'B', b'Z', b'h', ..] => rejected("compressed with bzip2", "unpack it"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => rejected("compressed with xz", "unpack it"),
        [b'P', b'A', b'R', b'1', ..] => {
            rejected("a Parquet file", "import the JSON that it was made of")
        }
        _ => Ok(()),
    }
}

/// Returns why a text that is not JSON is rejected: what it is, where that can be told.
pub fn not_json(text: &str, error: serde_json::Error) -> Refused {
    let known = |what, hint| Refused::OtherFormat { what, hint };
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let (first, second) = (lines.next().unwrap_or_default(), lines.next());
    let is_json = |line: &str| serde_json::from_str::<IgnoredAny>(line).is_ok();
    if text.starts_with('<') {
        return known("HTML or XML, not JSON", "save the answer of the Web API, not a web page");
    }
    if is_json(first) && second.is_some_and(is_json) {
        return known("JSON lines: a JSON text in each line", "save each as a file of its own");
    }
    let starts = text.trim_start_matches(['[', '(', ' ', '\n', '\r']);
    if starts.starts_with("{'") || starts.starts_with("{u'") {
        return known(
            "a Python object as `print` or `str` writes it, not JSON",
            "write it with json.dump",
        );
    }
    if error.classify() == Category::Eof {
        return Refused::NotJson { error, hint: "it is cut off: save it again" };
    }
    if names_not_a_number(text) {
        return known("JSON with NaN or Infinity, which JSON doesn't have", "write null instead");
    }
    let is_row = |line: &str| line.contains([',', ';', '\t']) && !line.starts_with(['{', '[']);
    if is_row(first) && second.is_some_and(is_row) {
        return known("CSV, not JSON", "import the JSON answers of the Web API");
    }
    Refused::NotJson { error, hint: "save an answer of the Web API as it came" }
}

/// Returns whether a value in a text is one of the numbers that JSON doesn't have.
fn names_not_a_number(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(':') {
        rest = rest[at + 1..].trim_start();
        if ["NaN", "Infinity", "-Infinity"].iter().any(|number| rest.starts_with(number)) {
            return true;
        }
    }
    false
}
