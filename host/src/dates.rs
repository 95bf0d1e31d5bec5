//! Finds dates and times in names of files and folders.
//!
//! Values in, values out: nothing here knows what a file holds, or asks for the time.

use std::ops::Range;

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

/// The years that tables have partitions for.
const YEARS: std::ops::RangeInclusive<i32> = 2006..=2060;
/// The separators that may stand around a date in a name.
const SEPARATORS: [char; 4] = ['-', '_', ' ', '.'];

/// How exact a time in a name is. The more exact is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// A date: the time of day is not known, and midnight UTC stands for it.
    Date,
    /// A date and a time of day, or seconds since 1970.
    Time,
}

/// A date or time in a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The time, UTC unless the name gives another offset.
    pub moment: OffsetDateTime,
    /// How exact it is.
    pub precision: Precision,
    /// Where it stands, in bytes.
    pub range: Range<usize>,
}

/// Returns all dates and times in a name, in their order. These are `2026-10-05`, `2026_10_05`, `2026.10.05` and
/// `20261005`, each also with a time of day (`T06:00:00Z`, ` 06-00-00.123`, `_060000`, `T0600+0200`), 14 digits, and
/// seconds or milliseconds since 1970 as a number of 10 or 13 digits that stands alone.
pub fn find_all(name: &str) -> Vec<Found> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < name.len() {
        match found_at(name, at) {
            Some(one) => {
                at = one.range.end;
                found.push(one);
            }
            None => at += 1,
        }
    }
    found
}

/// Returns the most exact date or time in a name, of equally exact ones the first.
pub fn find(name: &str) -> Option<Found> {
    let mut best: Option<Found> = None;
    for found in find_all(name) {
        if best.as_ref().is_none_or(|best| found.precision > best.precision) {
            best = Some(found);
        }
    }
    best
}

/// Returns the date or time that a text is as a whole.
pub fn whole(text: &str) -> Option<Found> {
    found_at(text, 0).filter(|found| found.range == (0..text.len()))
}

/// Returns a file's name without its extension and without the dates in it and the separators around these.
pub fn without_dates(name: &str) -> String {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let (mut kept, mut begin) = (None, 0);
    for found in find_all(name) {
        kept = Some(joined(kept, &name[begin..found.range.start]));
        begin = found.range.end;
    }
    let rest = &name[begin..];
    joined(kept, rest.rsplit_once('.').map_or(rest, |(stem, _)| stem))
}

/// Joins two parts of a name between which a date stood, by the separator that stood there. A part alone stays as
/// it is.
fn joined(kept: Option<String>, next: &str) -> String {
    let Some(kept) = kept else { return next.to_owned() };
    let (before, after) = (kept.trim_end_matches(SEPARATORS), next.trim_start_matches(SEPARATORS));
    if before.is_empty() || after.is_empty() {
        return before.to_owned() + after;
    }
    let separators = kept[before.len()..].chars().chain(next.chars());
    let separator = separators.take(1).find(|one| SEPARATORS.contains(one));
    before.chars().chain(separator).chain(after.chars()).collect()
}

fn found_at(name: &str, start: usize) -> Option<Found> {
    let bytes = name.as_bytes();
    let follows_digit = start > 0 && bytes[start - 1].is_ascii_digit();
    if follows_digit || !bytes.get(start)?.is_ascii_digit() {
        return None;
    }
    dated(name, start).or_else(|| epoch(name, start))
}

/// A date, with a time of day or without.
fn dated(name: &str, start: usize) -> Option<Found> {
    let mut cursor = Cursor { bytes: name.as_bytes(), at: start };
    let date = date(&mut cursor)?;
    let end_of_date = cursor.at;
    if let Some(moment) = time_of_day(&mut cursor, date) {
        return Some(Found { moment, precision: Precision::Time, range: start..cursor.at });
    }
    let next = name.as_bytes().get(end_of_date);
    if next.is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let moment = date.midnight().assume_utc();
    Some(Found { moment, precision: Precision::Date, range: start..end_of_date })
}

fn date(cursor: &mut Cursor<'_>) -> Option<Date> {
    let year = cursor.digits(4)?;
    let separator = cursor.one_of(b"-_.");
    let month = cursor.digits(2)?;
    if let Some(separator) = separator {
        cursor.one_of(&[separator])?;
    }
    let day = cursor.digits(2)?;
    let year = i32::try_from(year).ok().filter(|year| YEARS.contains(year))?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()
}

/// A time of day after a date: hours and minutes, seconds and their fraction if there are some, and an offset.
fn time_of_day(cursor: &mut Cursor<'_>, date: Date) -> Option<OffsetDateTime> {
    let is_apart = cursor.one_of(b"Tt _-.").is_some();
    let hour = cursor.digits(2)?;
    let separator = cursor.one_of(b":-_.");
    let minute = cursor.digits(2)?;
    let before_seconds = cursor.at;
    let has_separator = separator.is_none_or(|separator| cursor.one_of(&[separator]).is_some());
    let second = if has_separator { cursor.digits(2) } else { None };
    if second.is_none() {
        cursor.at = before_seconds;
        // Four digits right after a date are something else.
        is_apart.then_some(())?;
    }
    let whole = |number: u32| u8::try_from(number).ok();
    let time = Time::from_hms(whole(hour)?, whole(minute)?, whole(second.unwrap_or(0))?).ok()?;
    if second.is_some() {
        cursor.fraction();
    }
    if cursor.bytes.get(cursor.at).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    Some(date.with_time(time).assume_offset(cursor.offset()))
}

/// Seconds or milliseconds since 1970.
fn epoch(name: &str, start: usize) -> Option<Found> {
    let bytes = name.as_bytes();
    let stands_alone = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at)).is_none_or(|byte| !byte.is_ascii_alphanumeric())
    };
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let range = start..start + digits;
    if !stands_alone(start.checked_sub(1)) || !stands_alone(Some(range.end)) {
        return None;
    }
    let number: i64 = name[range.clone()].parse().ok()?;
    let seconds = match digits {
        10 => number,
        13 => number / 1_000,
        _ => return None,
    };
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    YEARS.contains(&moment.year()).then_some(Found { moment, precision: Precision::Time, range })
}

/// A place in a name.
struct Cursor<'n> {
    bytes: &'n [u8],
    at: usize,
}

impl Cursor<'_> {
    /// Reads a number of exactly that many digits; more may follow.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + count)?;
        let number = digits.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        })?;
        self.at += count;
        Some(number)
    }

    fn one_of(&mut self, accepted: &[u8]) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        accepted.contains(&byte).then(|| {
            self.at += 1;
            byte
        })
    }

    /// Passes the fraction of a second.
    fn fraction(&mut self) {
        let rest = &self.bytes[self.at..];
        let digits = rest.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        if rest.first() == Some(&b'.') && digits > 0 {
            self.at += 1 + digits;
        }
    }

    /// Reads `Z`, `+02:00` or `+0200`; without any it is UTC.
    fn offset(&mut self) -> UtcOffset {
        if self.one_of(b"Zz").is_some() {
            return UtcOffset::UTC;
        }
        let begin = self.at;
        let read = self.signed_offset();
        if read.is_none() {
            self.at = begin;
        }
        read.unwrap_or(UtcOffset::UTC)
    }

    fn signed_offset(&mut self) -> Option<UtcOffset> {
        self.one_of(b"+")?;
        let hours = self.digits(2)?;
        let _ = self.one_of(b":-");
        let minutes = self.digits(2)?;
        let is_over = self.bytes.get(self.at).is_none_or(|byte| !byte.is_ascii_digit());
        let offset = UtcOffset::from_hms(hours.try_into().ok()?, minutes.try_into().ok()?, 0).ok();
        offset.filter(|_| is_over)
    }
}

#[cfg(test)]
mod tests {
    use time::format_description::well_known::Rfc3339;

    use super::*;

    /// Names, the time in each, and what is left of the name.
    const NAMES: [(&str, Option<&str>, &str); 41] = [
        (
            "spotify_raw_2023-09-27 09:53:34.123456.json",
            Some("2023-09-27T09:53:34Z"),
            "spotify_raw",
        ),
        ("charts 2023-09-27T09-53-34Z.json", Some("2023-09-27T09:53:34Z"), "charts"),
        ("weekly-2023-09-27_09-53-34_fr.json", Some("2023-09-27T09:53:34Z"), "weekly-fr"),
        ("2023-09-27_09-53-34 - top.50.json", Some("2023-09-27T09:53:34Z"), "top.50"),
        ("a2023-09-27_09-53-34_b", Some("2023-09-27T09:53:34Z"), "a_b"),
        ("top_ 2023-09-27_09-53-34", Some("2023-09-27T09:53:34Z"), "top"),
        ("_a__2023-09-27_09-53-34", Some("2023-09-27T09:53:34Z"), "_a"),
        ("weekly_.json", None, "weekly_"),
        ("2023-09-27_09:53:34.json", Some("2023-09-27T09:53:34Z"), ""),
        ("top.50.json", None, "top.50"),
        ("é2023-09-27", Some("2023-09-27T00:00:00Z"), "é"),
        ("spotify_raw_20260919_210000.json", Some("2026-09-19T21:00:00Z"), "spotify_raw"),
        ("spotify_raw_2026-10-03.json", Some("2026-10-03T00:00:00Z"), "spotify_raw"),
        ("2026-09-14_top50.json", Some("2026-09-14T00:00:00Z"), "top50"),
        ("top50_1790000000.json", Some("2026-09-21T14:13:20Z"), "top50"),
        ("top50_1790000000123.json", Some("2026-09-21T14:13:20Z"), "top50"),
        ("spotify_raw_2026-08-17_11-02-03.json", Some("2026-08-17T11:02:03Z"), "spotify_raw"),
        ("20261005T060000Z.json", Some("2026-10-05T06:00:00Z"), ""),
        ("top50.20261005.json", Some("2026-10-05T00:00:00Z"), "top50"),
        ("top50-20261005060000.json.gz", Some("2026-10-05T06:00:00Z"), "top50"),
        ("top50_2026_10_05.json", Some("2026-10-05T00:00:00Z"), "top50"),
        ("top50 2026.10.05 06.30.json", Some("2026-10-05T06:30:00Z"), "top50"),
        ("top50_2026-10-05T0630+0200.json", Some("2026-10-05T06:30:00+02:00"), "top50"),
        ("top50_2026-10-05T06:30:00+02:00.json", Some("2026-10-05T06:30:00+02:00"), "top50"),
        ("regional-2020-01-03--2020-01-10.json", Some("2020-01-03T00:00:00Z"), "regional"),
        ("top50_2026-10-05_export_20261005T061500Z", Some("2026-10-05T06:15:00Z"), "top50_export"),
        ("raw20261005.json", Some("2026-10-05T00:00:00Z"), "raw"),
        // None of these is a date or a time.
        ("top50-2023-13-27 09:53:34.json", None, "top50-2023-13-27 09:53:34"),
        ("top50_2026-02-30.json", None, "top50_2026-02-30"),
        ("37i9dQZEVXbMDoHDwVN2tF.json", None, "37i9dQZEVXbMDoHDwVN2tF"),
        ("120261005.json", None, "120261005"),
        ("top50_202610051.json", None, "top50_202610051"),
        ("a1790000000.json", None, "a1790000000"),
        ("top50_17900000001.json", None, "top50_17900000001"),
        ("top50_0000000001.json", None, "top50_0000000001"),
        ("top50_2004-10-05.json", None, "top50_2004-10-05"),
        ("top50.json", None, "top50"),
        // What follows a date and is no time of day stays in the name.
        ("top50_20261005_1.json", Some("2026-10-05T00:00:00Z"), "top50_1"),
        ("top50_2026-10-05_25-00-00.json", Some("2026-10-05T00:00:00Z"), "top50_25-00-00"),
        ("top50_2026-10-05 (1).json", Some("2026-10-05T00:00:00Z"), "top50_(1)"),
        ("", None, ""),
    ];

    #[test]
    fn names_give_a_time_and_the_rest() {
        for (name, time, rest) in NAMES {
            let found = find(name).map(|found| found.moment.format(&Rfc3339).unwrap());
            assert_eq!(found.as_deref(), time, "{name}");
            assert_eq!(without_dates(name), rest, "{name}");
        }
    }

    #[test]
    fn a_text_is_a_time_as_a_whole_or_not_at_all() {
        for text in ["2026-10-05", "20261005T060000Z", "2026-10-05 06:00:00.5", "1790000000"] {
            assert!(whole(text).is_some(), "{text}");
        }
        for text in ["", "x2026-10-05", "2026-10-05x", "week 41", "2026-10"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }
}
