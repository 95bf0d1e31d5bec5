//! Which playlist a file holds, and of when.
//!
//! Both come from what the user says, else from the content, else from folders, else from the file's name or
//! modification time. The last choice of each is an assumption, and whoever shows the identity says so.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    dates::{self, Precision},
    document::{ExtractedAt, PlaylistId},
    refused::Refused,
};

/// Where a playlist's id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaylistSource {
    /// The user gave it.
    Flag,
    /// The content names it.
    Content,
    /// A folder `playlist_id=...` names it.
    KeyedFolder,
    /// The user said that file names are playlists.
    ChosenName,
    /// The user said that folder names are playlists.
    ChosenFolder,
    /// The file's name without its date. It is assumed.
    Name,
    /// The folder's name, as the file's name is only a date. It is assumed.
    Folder,
}

/// Where the time of a document comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeSource {
    /// The user gave it.
    Flag,
    /// The content names it.
    Content,
    /// The file's name has a date and a time of day.
    Name,
    /// The file's name has a date; midnight UTC stands for the time of day.
    DateInName,
    /// A folder has a date and a time of day.
    Folder,
    /// Folders have a date; midnight UTC stands for the time of day.
    DateInFolder,
    /// The file's modification time. It is assumed.
    Modified,
    /// The current time, as standard input has no other. It is assumed.
    Now,
}

/// Where playlist and time of a document come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Identity {
    /// The playlist's source.
    pub playlist: PlaylistSource,
    /// The time's source.
    pub time: TimeSource,
}

/// Where ids of playlists come from if neither a flag nor the content nor a folder `playlist_id=...` gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlaylistFrom {
    /// The file's name without its date, as an assumption.
    #[default]
    Assumed,
    /// The file's name without its date.
    Name,
    /// The nearest folder that is not a date.
    Folder,
}

/// What is known of bytes that are not yet a document, besides the bytes.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// The path of the file, or the key of the object, as far as it says anything; the last part is the name. Empty
    /// for standard input.
    pub path: &'a str,
    /// The file's modification time; none for standard input.
    pub modified: Option<OffsetDateTime>,
    /// The current time.
    pub now: OffsetDateTime,
    /// The playlist that the user gave.
    pub playlist: Option<&'a PlaylistId>,
    /// The time that the user gave.
    pub extracted_at: Option<ExtractedAt>,
    /// Where else the playlist's id comes from.
    pub playlist_from: PlaylistFrom,
}

impl<'a> Origin<'a> {
    /// The origin of a file that was modified at some time, about which the user says nothing.
    pub fn of(path: &'a str, modified: OffsetDateTime) -> Self {
        Origin {
            path,
            modified: Some(modified),
            now: modified,
            playlist: None,
            extracted_at: None,
            playlist_from: PlaylistFrom::Assumed,
        }
    }

    fn name(&self) -> &'a str {
        self.path.rsplit(['/', '\\']).next().unwrap_or_default()
    }

    /// The folders above the file, the nearest first.
    fn folders(&self) -> impl Iterator<Item = &'a str> {
        folders(self.path)
    }
}

impl PlaylistSource {
    /// Returns what the id is assumed from; none if it is known.
    pub fn assumption(self) -> Option<&'static str> {
        match self {
            PlaylistSource::Name => Some("playlist assumed from the file's name"),
            PlaylistSource::Folder => Some("playlist assumed from the folder's name"),
            _ => None,
        }
    }
}

impl TimeSource {
    /// Returns what the time is assumed from; none if it is known.
    pub fn assumption(self) -> Option<&'static str> {
        match self {
            TimeSource::Modified => Some("time assumed from the file's modification time"),
            TimeSource::Now => Some("time assumed to be now"),
            _ => None,
        }
    }

    /// Returns whether the time of day is known.
    pub fn is_exact(self) -> bool {
        matches!(
            self,
            TimeSource::Flag | TimeSource::Content | TimeSource::Name | TimeSource::Folder
        )
    }
}

impl Identity {
    /// The identity of a document that says both itself.
    pub const STATED: Identity =
        Identity { playlist: PlaylistSource::Content, time: TimeSource::Content };

    /// Returns what is assumed of it.
    pub fn assumptions(self) -> impl Iterator<Item = &'static str> {
        [self.playlist.assumption(), self.time.assumption()].into_iter().flatten()
    }
}

/// Returns a playlist's id, given the one in the content.
///
/// # Errors
///
/// If nothing names one, or no id can be made of what does.
pub fn playlist(
    origin: &Origin<'_>,
    content: Option<&str>,
) -> Result<(PlaylistId, PlaylistSource), Refused> {
    if let Some(given) = origin.playlist {
        return Ok((given.clone(), PlaylistSource::Flag));
    }
    if let Some(id) = content {
        return Ok((usable(id)?, PlaylistSource::Content));
    }
    if let Some(id) = origin.folders().find_map(playlist_in_folder) {
        return Ok((usable(id)?, PlaylistSource::KeyedFolder));
    }
    let name = dates::without_dates(origin.name());
    // In `2026/10/05.json` the name is the day.
    let named = Some(name.as_str()).filter(|name| has_letters(name) && !is_day(origin));
    let folder = || dateless_folders(origin.path).into_iter().find(|folder| has_letters(folder));
    let (text, source) = match origin.playlist_from {
        PlaylistFrom::Folder => (folder(), PlaylistSource::ChosenFolder),
        PlaylistFrom::Name => (named, PlaylistSource::ChosenName),
        PlaylistFrom::Assumed if named.is_some() => (named, PlaylistSource::Name),
        PlaylistFrom::Assumed => (folder(), PlaylistSource::Folder),
    };
    let text = text.ok_or(Refused::PlaylistUnknown)?;
    Ok((usable(text)?, source))
}

/// Returns the time of a document whose content has none.
///
/// # Errors
///
/// If the time is outside the years that tables have partitions for.
pub fn time(origin: &Origin<'_>) -> Result<(ExtractedAt, TimeSource), Refused> {
    if let Some(given) = origin.extracted_at {
        return Ok((given, TimeSource::Flag));
    }
    if let Some(found) = dates::find(origin.name()) {
        let source = match found.precision {
            Precision::Time => TimeSource::Name,
            Precision::Date => TimeSource::DateInName,
        };
        return Ok((ExtractedAt::new(found.moment)?, source));
    }
    if let Some((moment, precision)) = time_in_folders(origin) {
        let source = match precision {
            Precision::Time => TimeSource::Folder,
            Precision::Date => TimeSource::DateInFolder,
        };
        return Ok((ExtractedAt::new(moment)?, source));
    }
    match origin.modified {
        Some(modified) => Ok((ExtractedAt::new(modified)?, TimeSource::Modified)),
        None => Ok((ExtractedAt::new(origin.now)?, TimeSource::Now)),
    }
}

fn usable(text: &str) -> Result<PlaylistId, Refused> {
    let id = PlaylistId::from_reference(text).or_else(|| PlaylistId::visible(text));
    id.ok_or_else(|| Refused::PlaylistId { text: text.to_owned() })
}

fn has_letters(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_alphanumeric())
}

/// Returns whether a folder can be a part of a date, such as `2026`, `2026-10` or `W41`.
fn may_be_date(folder: &str) -> bool {
    let folder = folder.trim_start_matches(['w', 'W']);
    let mut bytes = folder.bytes();
    !folder.is_empty()
        && bytes.all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'W'))
}

/// Returns the folders above a file that say neither a date nor anything else by a key, the nearest first.
pub fn dateless_folders(path: &str) -> Vec<&str> {
    let all: Vec<&str> = folders(path).collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(folder) = all.get(at) {
        let date = plain_date(&all[at..]);
        let is_dated = date.is_some() || dates::whole(folder).is_some() || may_be_date(folder);
        if !is_dated && !folder.contains('=') {
            kept.push(*folder);
        }
        at += date.map_or(1, |(_, folders)| folders);
    }
    kept
}

fn folders(path: &str) -> impl Iterator<Item = &str> {
    let folders = path.rsplit(['/', '\\']).skip(1);
    folders.filter(|folder| !matches!(*folder, "" | "." | ".."))
}

/// Returns the value of a folder such as `playlist_id=37i9dQ`.
fn playlist_in_folder(folder: &str) -> Option<&str> {
    let (key, value) = folder.split_once('=')?;
    let is_playlist = ["playlist_id", "playlist"].iter().any(|name| key.eq_ignore_ascii_case(name));
    (is_playlist && has_letters(value)).then_some(value)
}

/// Returns the time that folders name: `dt=2026-10-05`, `year=2026/month=10/day=05`, `2026/10/05`, `2026-10-05`.
fn time_in_folders(origin: &Origin<'_>) -> Option<(OffsetDateTime, Precision)> {
    let all = with_name(origin);
    let nearest = (0..all.len()).find_map(|at| {
        let value = all[at].split_once('=').map_or(all[at], |(_, value)| value);
        let whole = dates::whole(value).map(|found| (found.moment, found.precision));
        whole.or_else(|| plain_date(&all[at..]).map(|(moment, _)| (moment, Precision::Date)))
    });
    nearest.or_else(|| keyed_date(&all))
}

/// The name of a file without its extension, and the folders above it, the nearest first.
fn with_name<'a>(origin: &Origin<'a>) -> Vec<&'a str> {
    let stem = origin.name().split('.').next().unwrap_or_default();
    std::iter::once(stem).chain(origin.folders()).collect()
}

/// Returns whether a file's name is the day or hour of a date in the folders above it.
fn is_day(origin: &Origin<'_>) -> bool {
    plain_date(&with_name(origin)).is_some()
}

/// Returns the date of folders `2026/10/05`, which may have an hour below them, the nearest first; with their count.
fn plain_date(folders: &[&str]) -> Option<(OffsetDateTime, usize)> {
    let is_number = |folder: &str, digits: usize| {
        folder.len() == digits && folder.bytes().all(|byte| byte.is_ascii_digit())
    };
    let date = |folders: &[&str]| {
        let [day, month, year, ..] = folders else { return None };
        if !is_number(year, 4) || !is_number(month, 2) || !is_number(day, 2) {
            return None;
        }
        Some(dates::whole(&format!("{year}-{month}-{day}"))?.moment)
    };
    if folders.first().is_some_and(|folder| is_number(folder, 2))
        && let Some(moment) = date(&folders[1..])
    {
        return Some((moment, 4));
    }
    date(folders).map(|moment| (moment, 3))
}

/// Returns the date of folders `year=2026`, `month=10` and `day=05`, in whatever order they are nested.
fn keyed_date(folders: &[&str]) -> Option<(OffsetDateTime, Precision)> {
    let number = |name: &str| {
        let value = |folder: &&str| {
            let (key, value) = folder.split_once('=')?;
            key.eq_ignore_ascii_case(name).then(|| value.parse::<u32>().ok()).flatten()
        };
        folders.iter().find_map(value)
    };
    let (year, month, day) = (number("year")?, number("month")?, number("day")?);
    let found = dates::whole(&format!("{year:04}-{month:02}-{day:02}"))?;
    Some((found.moment, Precision::Date))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// Paths, the id in the content, and what they are.
    #[rustfmt::skip]
    const PATHS: [(&str, Option<&str>, &str, PlaylistSource, TimeSource); 21] = [
        ("x/spotify_raw_20260919_210000.json", None, "spotify_raw-20260919T210000Z", PlaylistSource::Name, TimeSource::Name),
        ("2026-09-14_top50.json", None, "top50-20260914T000000Z", PlaylistSource::Name, TimeSource::DateInName),
        ("dt=2026-10-05/top50.json", None, "top50-20261005T000000Z", PlaylistSource::Name, TimeSource::DateInFolder),
        ("year=2026/month=10/day=05/x.json", None, "x-20261005T000000Z", PlaylistSource::Name, TimeSource::DateInFolder),
        ("year=2026/month=1/day=5/hour=6/x.json", None, "x-20260105T000000Z", PlaylistSource::Name, TimeSource::DateInFolder),
        ("raw/2026/10/05/06/x.json", None, "x-20261005T000000Z", PlaylistSource::Name, TimeSource::DateInFolder),
        ("raw/2026/10/05/x.json", None, "x-20261005T000000Z", PlaylistSource::Name, TimeSource::DateInFolder),
        ("raw/playlist_id=A/ingest_ts=20261005T060000Z/payload.json", None, "A-20261005T060000Z", PlaylistSource::KeyedFolder, TimeSource::Folder),
        ("raw/playlist_id=A/payload.json", Some("B"), "B-20261130T120000Z", PlaylistSource::Content, TimeSource::Modified),
        ("top50/2026-10-05.json", None, "top50-20261005T000000Z", PlaylistSource::Folder, TimeSource::DateInName),
        ("top50/2026-10-05/raw_20261006T000000Z.json", None, "raw-20261006T000000Z", PlaylistSource::Name, TimeSource::Name),
        ("top50/dt=2026-10-05/2026-10-06.json", None, "top50-20261006T000000Z", PlaylistSource::Folder, TimeSource::DateInName),
        ("a.json", Some("spotify:playlist:37i9dQ"), "37i9dQ-20261130T120000Z", PlaylistSource::Content, TimeSource::Modified),
        ("a.json", Some("https://open.spotify.com/playlist/37i9dQ?si=1"), "37i9dQ-20261130T120000Z", PlaylistSource::Content, TimeSource::Modified),
        ("a.json", None, "a-20261130T120000Z", PlaylistSource::Name, TimeSource::Modified),
        ("a.json.gz", None, "a-20261130T120000Z", PlaylistSource::Name, TimeSource::Modified),
        ("2026/10/05.json", None, "", PlaylistSource::Name, TimeSource::Modified),
        ("top50/2026/10/05.json", None, "top50-20261005T000000Z", PlaylistSource::Folder, TimeSource::DateInFolder),
        ("top50/2026/10/05/top50.json", None, "top50-20261005T000000Z", PlaylistSource::Name, TimeSource::DateInFolder),
        ("05.json", None, "05-20261130T120000Z", PlaylistSource::Name, TimeSource::Modified),
        ("", None, "", PlaylistSource::Name, TimeSource::Modified),
    ];

    #[test]
    fn paths_and_contents_give_playlist_and_time() {
        for (path, content, expected, by, at) in PATHS {
            let origin = Origin::of(path, datetime!(2026-11-30 12:00 UTC));
            let Ok((id, playlist_source)) = playlist(&origin, content) else {
                assert_eq!("", expected, "{path}");
                continue;
            };
            let (extracted_at, time_source) = time(&origin).unwrap();
            assert_eq!(format!("{id}-{extracted_at}"), expected, "{path}");
            assert_eq!((playlist_source, time_source), (by, at), "{path}");
        }
    }

    #[test]
    fn folders_are_told_apart_without_their_dates() {
        for (path, expected) in [
            ("a/dt=2026-10-05/x.json", "a"),
            ("a/2026/10/05/x.json", "a"),
            ("b/a/2026-10-05/x.json", "a/b"),
            ("./x.json", ""),
            ("top50/raw.json", "top50"),
            ("top50/2026/W41/raw.json", "top50"),
            ("80s/raw.json", "80s"),
        ] {
            assert_eq!(dateless_folders(path).join("/"), expected, "{path}");
        }
    }
}
