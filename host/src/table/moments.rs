//! Days and moments as plugins and Parquet have them: counted from the beginning of 1970.

use std::ops::RangeInclusive;

use time::{Date, OffsetDateTime, Time};

/// The days that there are here: of the years 1 to 9999, which four digits spell.
pub(super) const DAYS: RangeInclusive<i32> = -719_162..=2_932_896;
/// The moments, in milliseconds: from the first one of these days to the last.
pub(super) const MILLISECONDS: RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

const DAY_MILLISECONDS: i64 = 86_400_000;
/// The Julian day of 1970-01-01.
const EPOCH_JULIAN_DAY: i32 = 2_440_588;

/// The day that is so many days after 1970-01-01, if it is one of these.
pub(super) fn date_of(days: i32) -> Option<Date> {
    let julian_day = days.checked_add(EPOCH_JULIAN_DAY).filter(|_| DAYS.contains(&days))?;
    Date::from_julian_day(julian_day).ok()
}

/// The inverse of [`date_of`].
pub(super) fn days(date: Date) -> i32 {
    date.to_julian_day() - EPOCH_JULIAN_DAY
}

/// The day and the time that are so many milliseconds after 1970-01-01T00:00:00Z, if they are among these.
pub(super) fn moment_of(milliseconds: i64) -> Option<(Date, Time)> {
    let day = i32::try_from(milliseconds.div_euclid(DAY_MILLISECONDS)).ok()?;
    let of_day = milliseconds.rem_euclid(DAY_MILLISECONDS) as u32;
    let (seconds, millisecond) = (of_day / 1_000, (of_day % 1_000) as u16);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let time = Time::from_hms_milli(hour as u8, minute as u8, second as u8, millisecond).ok()?;
    Some((date_of(day)?, time))
}

/// So many milliseconds after 1970-01-01T00:00:00Z a moment is.
pub(super) fn milliseconds(moment: OffsetDateTime) -> i64 {
    moment.unix_timestamp() * 1_000 + i64::from(moment.millisecond())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn days_and_moments_are_those_of_the_years_1_to_9999() {
        let (first, last) =
            (datetime!(0001-01-01 00:00 UTC), datetime!(9999-12-31 23:59:59.999 UTC));
        assert_eq!((days(first.date()), days(last.date())), (*DAYS.start(), *DAYS.end()));
        let ends = (milliseconds(first), milliseconds(last));
        assert_eq!(ends, (*MILLISECONDS.start(), *MILLISECONDS.end()));
        for moment in
            [first, last, datetime!(1969-12-31 23:59:59.001 UTC), datetime!(2026-07-06 06:00 UTC)]
        {
            assert_eq!(moment_of(milliseconds(moment)), Some((moment.date(), moment.time())));
            assert_eq!(date_of(days(moment.date())), Some(moment.date()));
            let midnight = moment.replace_time(Time::MIDNIGHT);
            assert_eq!(milliseconds(midnight), i64::from(days(moment.date())) * DAY_MILLISECONDS);
        }
        for (day, moment) in [
            (DAYS.start() - 1, MILLISECONDS.start() - 1),
            (DAYS.end() + 1, MILLISECONDS.end() + 1),
            (i32::MIN, i64::MIN),
            (i32::MAX, i64::MAX),
        ] {
            assert_eq!((date_of(day), moment_of(moment)), (None, None));
        }
    }
}
