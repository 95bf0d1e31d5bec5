//! Days and moments as plugins and Parquet have them: counted from the beginning of 1970.

use std::ops::RangeInclusive;

use time::{Date, OffsetDateTime};

/// The years that there are here, which four digits spell.
const YEARS: RangeInclusive<i32> = 1..=9999;

/// The Julian day of 1970-01-01.
const EPOCH_JULIAN_DAY: i32 = 2_440_588;

/// The day that is so many days after 1970-01-01; none outside the years 1 to 9999.
pub(super) fn date_of(days: i32) -> Option<Date> {
    let date = Date::from_julian_day(days.checked_add(EPOCH_JULIAN_DAY)?).ok();
    date.filter(|date| YEARS.contains(&date.year()))
}

/// The inverse of [`date_of`].
pub(super) fn days(date: Date) -> i32 {
    date.to_julian_day() - EPOCH_JULIAN_DAY
}

/// The moment that is so many milliseconds after 1970-01-01T00:00:00Z; none outside the years 1 to 9999.
pub(super) fn moment_of(milliseconds: i64) -> Option<OffsetDateTime> {
    let second = OffsetDateTime::from_unix_timestamp(milliseconds.div_euclid(1_000)).ok()?;
    let moment = second.replace_millisecond(milliseconds.rem_euclid(1_000) as u16).ok();
    moment.filter(|moment| YEARS.contains(&moment.year()))
}

/// The inverse of [`moment_of`].
pub(super) fn milliseconds(moment: OffsetDateTime) -> i64 {
    moment.unix_timestamp() * 1_000 + i64::from(moment.millisecond())
}
