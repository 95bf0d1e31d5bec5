//! Trino's everyday functions, for SQLite: over days and moments as ISO text, and over arrays as JSON
//! text. What they mean is Trino's: <https://trino.io/docs/current/functions/datetime.html>.

use rusqlite::{
    Connection, Error, Result,
    functions::{Aggregate, Context, FunctionFlags},
    types::Value,
};
use time::{Date, Duration, Month, PrimitiveDateTime, Time};

/// Makes them known.
pub fn register(connection: &Connection) -> Result<()> {
    // Innocuous: they depend on their arguments alone.
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    type Part = fn(PrimitiveDateTime) -> i64;
    let parts: [(&str, Part); 8] = [
        ("year", |moment| moment.year().into()),
        ("quarter", |moment| (i64::from(u8::from(moment.month())) + 2) / 3),
        ("month", |moment| u8::from(moment.month()).into()),
        ("week", |moment| moment.iso_week().into()),
        ("day", |moment| moment.day().into()),
        ("day_of_week", |moment| moment.weekday().number_from_monday().into()),
        ("day_of_year", |moment| moment.ordinal().into()),
        ("hour", |moment| moment.hour().into()),
    ];
    for (name, part) in parts {
        connection.create_scalar_function(name, 1, flags, move |context| {
            Ok(moment(context, 0)?.map(|(moment, _)| part(moment)))
        })?;
    }
    type Case = fn(&str) -> String;
    let cases: [(&str, Case); 2] = [("upper", str::to_uppercase), ("lower", str::to_lowercase)];
    for (name, case) in cases {
        connection.create_scalar_function(name, 1, flags, move |context| {
            Ok(context.get::<Option<String>>(0)?.map(|text| case(&text)))
        })?;
    }
    connection.create_scalar_function("date_trunc", 2, flags, |context| {
        let unit = unit(context, 0)?;
        let Some((moment, is_day)) = moment(context, 1)? else { return Ok(None) };
        Ok(Some(text(truncated(unit, moment), is_day)))
    })?;
    connection.create_scalar_function("date_diff", 3, flags, |context| {
        let unit = unit(context, 0)?;
        let (Some((from, _)), Some((to, _))) = (moment(context, 1)?, moment(context, 2)?) else {
            return Ok(None);
        };
        Ok(Some(difference(unit, from, to)))
    })?;
    connection.create_scalar_function("date_add", 3, flags, |context| {
        let (unit, count) = (unit(context, 0)?, context.get::<Option<i64>>(1)?);
        let (Some(count), Some((moment, is_day))) = (count, moment(context, 2)?) else {
            return Ok(None);
        };
        let added = added(unit, count, moment);
        added.map(|moment| Some(text(moment, is_day))).ok_or_else(|| {
            failure("date_add: the result is outside the years 1 to 9999".to_owned())
        })
    })?;
    connection.create_scalar_function("array_join", 2, flags, |context| {
        let (array, between) = (context.get::<Option<String>>(0)?, context.get::<String>(1)?);
        let Some(array) = array else { return Ok(None) };
        let values: Vec<serde_json::Value> = serde_json::from_str(&array)
            .map_err(|_| failure("array_join: takes what array_agg gives".to_owned()))?;
        let plain = |value: serde_json::Value| match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        Ok(Some(values.into_iter().filter_map(plain).collect::<Vec<_>>().join(&between)))
    })?;
    connection.create_aggregate_function("array_agg", 1, flags, Gather)?;
    connection.create_aggregate_function(
        "max_by",
        2,
        flags,
        Best { is_better: |one| one.is_gt() },
    )?;
    connection.create_aggregate_function("min_by", 2, flags, Best { is_better: |one| one.is_lt() })
}

/// The units that days and moments are counted in.
#[derive(Clone, Copy)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

fn unit(context: &Context<'_>, index: usize) -> Result<Unit> {
    let name = context.get::<String>(index)?;
    Ok(match name.to_ascii_lowercase().as_str() {
        "second" => Unit::Second,
        "minute" => Unit::Minute,
        "hour" => Unit::Hour,
        "day" => Unit::Day,
        "week" => Unit::Week,
        "month" => Unit::Month,
        "quarter" => Unit::Quarter,
        "year" => Unit::Year,
        _ => {
            return Err(failure(format!(
                "`{name}` is no unit: there are second, minute, hour, day, week, month, quarter, year"
            )));
        }
    })
}

/// An argument as a moment, and whether it is a day.
fn moment(context: &Context<'_>, index: usize) -> Result<Option<(PrimitiveDateTime, bool)>> {
    let value = context.get::<Value>(index)?;
    let text = match value {
        Value::Null => return Ok(None),
        Value::Text(text) => text,
        other => {
            return Err(failure(format!("{other:?} is no day or moment, such as '2026-07-06'")));
        }
    };
    read(&text)
        .map(Some)
        .ok_or_else(|| failure(format!("`{text}` is no day or moment, such as '2026-07-06'")))
}

fn read(text: &str) -> Option<(PrimitiveDateTime, bool)> {
    let day = time::macros::format_description!("[year]-[month]-[day]");
    let whole = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    if let Ok(day) = Date::parse(text, &day) {
        return Some((day.midnight(), true));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let moment = PrimitiveDateTime::parse(seconds, &whole).ok()?;
    let milliseconds = format!("{fraction:0<3}").get(..3)?.parse::<u16>().ok()?;
    let time = moment.time();
    let time =
        Time::from_hms_milli(time.hour(), time.minute(), time.second(), milliseconds).ok()?;
    Some((PrimitiveDateTime::new(moment.date(), time), false))
}

fn text(moment: PrimitiveDateTime, is_day: bool) -> String {
    let (year, month, day) = (moment.year(), u8::from(moment.month()), moment.day());
    let date = format!("{year:04}-{month:02}-{day:02}");
    if is_day {
        return date;
    }
    let (hour, minute, second, milli) = moment.time().as_hms_milli();
    let whole = format!("{date} {hour:02}:{minute:02}:{second:02}");
    if milli == 0 { whole } else { format!("{whole}.{milli:03}") }
}

fn truncated(unit: Unit, moment: PrimitiveDateTime) -> PrimitiveDateTime {
    let (date, time) = (moment.date(), moment.time());
    let first =
        |month: Month| Date::from_calendar_date(date.year(), month, 1).unwrap_or(date).midnight();
    let of_time = |hour, minute, second| {
        PrimitiveDateTime::new(date, Time::from_hms(hour, minute, second).unwrap_or(Time::MIDNIGHT))
    };
    match unit {
        Unit::Second => of_time(time.hour(), time.minute(), time.second()),
        Unit::Minute => of_time(time.hour(), time.minute(), 0),
        Unit::Hour => of_time(time.hour(), 0, 0),
        Unit::Day => date.midnight(),
        Unit::Week => {
            let back = Duration::days(date.weekday().number_days_from_monday().into());
            date.checked_sub(back).unwrap_or(date).midnight()
        }
        Unit::Month => first(date.month()),
        Unit::Quarter => {
            let month = (u8::from(date.month()) - 1) / 3 * 3 + 1;
            first(Month::try_from(month).unwrap_or(Month::January))
        }
        Unit::Year => first(Month::January),
    }
}

/// How many whole units lie between.
fn difference(unit: Unit, from: PrimitiveDateTime, to: PrimitiveDateTime) -> i64 {
    let seconds = (to - from).whole_seconds();
    match unit {
        Unit::Second => seconds,
        Unit::Minute => seconds / 60,
        Unit::Hour => seconds / 3_600,
        Unit::Day => seconds / 86_400,
        Unit::Week => seconds / (7 * 86_400),
        Unit::Month => months(from, to),
        Unit::Quarter => months(from, to) / 3,
        Unit::Year => months(from, to) / 12,
    }
}

fn months(from: PrimitiveDateTime, to: PrimitiveDateTime) -> i64 {
    if to < from {
        return -months(to, from);
    }
    let count = |moment: PrimitiveDateTime| {
        i64::from(moment.year()) * 12 + i64::from(u8::from(moment.month()))
    };
    let between = count(to) - count(from);
    // Not whole yet, if that many months later is beyond.
    match added(Unit::Month, between, from) {
        Some(reached) if between > 0 && reached > to => between - 1,
        _ => between,
    }
}

fn added(unit: Unit, count: i64, moment: PrimitiveDateTime) -> Option<PrimitiveDateTime> {
    let seconds = |each: i64| {
        let moment = moment.checked_add(Duration::seconds(count.checked_mul(each)?))?;
        (1..=9999).contains(&moment.year()).then_some(moment)
    };
    let months = |each: i64| {
        let months = i64::from(moment.year()) * 12 + i64::from(u8::from(moment.month())) - 1;
        let months = months.checked_add(count.checked_mul(each)?)?;
        let year = i32::try_from(months.div_euclid(12)).ok()?;
        let month = Month::try_from(u8::try_from(months.rem_euclid(12) + 1).ok()?).ok()?;
        let day = moment.day().min(month.length(year));
        let date = Date::from_calendar_date(year, month, day).ok()?;
        (1..=9999).contains(&year).then(|| PrimitiveDateTime::new(date, moment.time()))
    };
    match unit {
        Unit::Second => seconds(1),
        Unit::Minute => seconds(60),
        Unit::Hour => seconds(3_600),
        Unit::Day => seconds(86_400),
        Unit::Week => seconds(7 * 86_400),
        Unit::Month => months(1),
        Unit::Quarter => months(3),
        Unit::Year => months(12),
    }
}

/// All values, as a JSON array.
struct Gather;

impl Aggregate<Vec<serde_json::Value>, Option<String>> for Gather {
    fn init(&self, _: &mut Context<'_>) -> Result<Vec<serde_json::Value>> {
        Ok(Vec::new())
    }

    fn step(&self, context: &mut Context<'_>, all: &mut Vec<serde_json::Value>) -> Result<()> {
        all.push(match context.get::<Value>(0)? {
            Value::Integer(number) => number.into(),
            Value::Real(number) => number.into(),
            Value::Text(text) => text.into(),
            Value::Null | Value::Blob(_) => serde_json::Value::Null,
        });
        Ok(())
    }

    fn finalize(
        &self,
        _: &mut Context<'_>,
        all: Option<Vec<serde_json::Value>>,
    ) -> Result<Option<String>> {
        Ok(all.map(|all| serde_json::Value::from(all).to_string()))
    }
}

/// The value beside the best one of another column.
struct Best {
    is_better: fn(std::cmp::Ordering) -> bool,
}

impl Aggregate<Option<(Value, Value)>, Value> for Best {
    fn init(&self, _: &mut Context<'_>) -> Result<Option<(Value, Value)>> {
        Ok(None)
    }

    fn step(&self, context: &mut Context<'_>, best: &mut Option<(Value, Value)>) -> Result<()> {
        let (value, by) = (context.get::<Value>(0)?, context.get::<Value>(1)?);
        if by == Value::Null {
            return Ok(());
        }
        let is_best = best
            .as_ref()
            .is_none_or(|(_, so_far)| compare(&by, so_far).is_some_and(self.is_better));
        if is_best {
            *best = Some((value, by));
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, best: Option<Option<(Value, Value)>>) -> Result<Value> {
        Ok(best.flatten().map_or(Value::Null, |(value, _)| value))
    }
}

fn compare(one: &Value, other: &Value) -> Option<std::cmp::Ordering> {
    match (one, other) {
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        (Value::Integer(one), Value::Integer(other)) => Some(one.cmp(other)),
        (Value::Real(one), Value::Real(other)) => one.partial_cmp(other),
        (Value::Integer(one), Value::Real(other)) => (*one as f64).partial_cmp(other),
        (Value::Real(one), Value::Integer(other)) => one.partial_cmp(&(*other as f64)),
        _ => None,
    }
}

fn failure(message: String) -> Error {
    Error::UserFunctionError(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_give_what_trino_gives() {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        for (sql, expected) in [
            ("year('2026-07-06')", "2026"),
            ("month(date('2026-07-06'))", "7"),
            ("week('2026-01-01')", "1"),
            ("date_trunc('week', '2026-07-12')", "2026-07-06"),
            ("date_trunc('month', '2026-07-12 06:00:00.5')", "2026-07-01 00:00:00"),
            ("date_trunc('quarter', '2026-07-12')", "2026-07-01"),
            ("date_diff('day', '2026-07-06', '2026-07-12')", "6"),
            ("date_diff('week', '2026-07-06', '2026-07-12')", "0"),
            ("date_diff('week', '2026-07-12', '2026-07-05')", "-1"),
            ("date_diff('month', '2026-01-31', '2026-02-28')", "1"),
            ("date_diff('month', '2026-01-15', '2026-03-14')", "1"),
            ("date_diff('year', '2024-02-29', '2026-02-28')", "2"),
            ("date_diff('month', '2026-02-28', '2026-01-31')", "-1"),
            ("upper('yū é')", "YŪ É"),
            ("date_diff('hour', '2026-01-01 00:00:00', '2026-01-02')", "24"),
            ("date_add('month', 1, '2026-01-31')", "2026-02-28"),
            ("date_add('day', -7, '2026-01-03')", "2025-12-27"),
            ("coalesce(date_add('day', 1, NULL), 'none')", "none"),
        ] {
            let found = connection.query_row(&format!("SELECT CAST({sql} AS text)"), [], |row| {
                row.get::<_, String>(0)
            });
            assert_eq!(found.unwrap(), expected, "{sql}");
        }
        let table = "(VALUES ('a', 2, 'x'), ('b', 9, NULL), ('c', 3, 'y'), ('d', NULL, 'z')) AS t";
        for (sql, expected) in [
            ("max_by(column1, column2)", "b"),
            ("min_by(column1, column2)", "a"),
            ("array_join(array_agg(column3 ORDER BY column1 DESC), ', ')", "z, y, x"),
            ("array_agg(column2 ORDER BY column1)", "[2,9,3,null]"),
        ] {
            let sql = format!("SELECT {sql} FROM {table}");
            let found: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(found, expected, "{sql}");
        }
        let error = connection.query_row("SELECT year('July')", [], |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("`July` is no day or moment"), "{error}");
    }
}
