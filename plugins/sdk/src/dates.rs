//! Spotify's dates and times, as the tables hold them.

use time::{Date, Month, OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A release date as days since 1970-01-01. A year or a month stands for its first day; what is
/// no day (`0000`, empty, February 30) is none.
pub fn release_date(text: &str) -> Option<i32> {
    let (year, rest) = text.as_bytes().split_first_chunk::<4>()?;
    let (month, day) = match rest {
        [] => (1, 1),
        [b'-', month @ ..] if month.len() == 2 => (digits(month)?, 1),
        [b'-', month @ .., b'-', _, _] if month.len() == 2 => (digits(month)?, digits(&rest[4..])?),
        _ => return None,
    };
    day_of(digits(year)?, month, day)
}

/// A moment such as `2023-09-22T15:45:51Z`, as milliseconds since 1970-01-01T00:00:00Z, floored; none
/// outside the years 1 to 9999, UTC, which a table takes.
pub fn timestamp(text: &str) -> Option<i64> {
    usual_timestamp(text).or_else(|| any_timestamp(text))
}

/// One that is written as Spotify does: `2023-09-22T15:45:51Z`.
fn usual_timestamp(text: &str) -> Option<i64> {
    let text: &[u8; 20] = text.as_bytes().try_into().ok()?;
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _, b'Z'] = text
    else {
        return None;
    };
    let number = |at: usize| digits(&text[at..at + 2]).map(i64::from);
    let (hour, minute, second) = (number(11)?, number(14)?, number(17)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = day_of(digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..10])?)?;
    Some((i64::from(days) * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000)
}

#[cold]
fn any_timestamp(text: &str) -> Option<i64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
    if !(1..=9999).contains(&moment.year()) {
        return None;
    }
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

/// Days since 1970-01-01; none for the year 0, and what is no day.
fn day_of(year: u16, month: u16, day: u16) -> Option<i32> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()?;
    (year > 0).then(|| date.to_julian_day() - OffsetDateTime::UNIX_EPOCH.to_julian_day())
}

/// The number that a few digits make.
fn digits(text: &[u8]) -> Option<u16> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    text.iter().try_fold(0, |number, byte| Some(number * 10 + digit(byte)?))
}

#[cfg(test)]
mod tests {
    use super::{release_date, timestamp};

    #[test]
    fn a_release_date_is_a_day_or_the_first_day_of_its_month_or_year() {
        for (text, days) in [
            ("1970-01-02", Some(1)),
            ("1970-02", Some(31)),
            ("1971", Some(365)),
            ("1969-12-31", Some(-1)),
            ("2000-02-29", Some(11016)),
            ("0001-01-01", Some(-719_162)),
        ] {
            assert_eq!(release_date(text), days, "{text}");
        }
        for text in ["", "0000", "0000-00-00", "1981-00", "2023-02-30", "2023-13-01", "81"] {
            assert_eq!(release_date(text), None, "{text}");
        }
        for text in
            ["1981-1-1", "1981-12-15T00:00:00Z", "+981", " 1981", "1981-12-15-1", "１９８１"]
        {
            assert_eq!(release_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_timestamp_is_floored_to_milliseconds_in_utc() {
        for (text, milliseconds) in [
            ("1970-01-01T00:00:01Z", Some(1_000)),
            ("2023-09-22T15:45:51Z", Some(1_695_397_551_000)),
            ("2024-02-29T23:59:59Z", Some(1_709_251_199_000)),
            ("0001-01-01T00:00:00z", Some(-62_135_596_800_000)),
            ("2023-02-29T00:00:00Z", None),
            ("2023-09-22T24:00:00Z", None),
            ("2023-09-22T15:60:00Z", None),
            ("2023-09-2 T15:45:51Z", None),
            ("2023-09-22 15:45:51Z", Some(1_695_397_551_000)),
            ("1970-01-01T00:00:00.9999Z", Some(999)),
            ("1969-12-31T23:59:59.9999Z", Some(-1)),
            ("1970-01-01T02:00:00+02:00", Some(0)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("9999-12-31T23:59:59-01:00", None),
            ("0001-01-01T00:00:00Z", Some(-62_135_596_800_000)),
            ("0001-01-01T00:00:00+01:00", None),
            ("0000-06-01T00:00:00Z", None),
            ("1970-01-01", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(timestamp(text), milliseconds, "{text}");
        }
    }
}
