//! Spotify's dates and times, as the tables hold them.

use time::{Date, Month, OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A release date as days since 1970-01-01. A year or a month stands for its first day; what is
/// no day (`0000`, empty, February 30) is none.
pub fn release_date(text: &str) -> Option<i32> {
    let mut parts = text.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |month| digits(month, 2))?;
    let day = parts.next().map_or(Some(1), |day| digits(day, 2))?;
    if parts.next().is_some() || year == 0 {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::from(year), month, u8::try_from(day).ok()?).ok()?;
    Some((date - OffsetDateTime::UNIX_EPOCH.date()).whole_days() as i32)
}

/// A moment such as `2023-09-22T15:45:51Z`, as milliseconds since 1970-01-01T00:00:00Z, floored; none
/// outside the years 1 to 9999, UTC, which a table takes.
pub fn timestamp(text: &str) -> Option<i64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
    if !(1..=9999).contains(&moment.year()) {
        return None;
    }
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

fn digits(text: &str, length: usize) -> Option<u16> {
    let all_digits = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
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
