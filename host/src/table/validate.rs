//! Whether rows are what the plugin declared. Every violation is found; as many as the limit
//! allows are told, the others counted.

use std::{fmt, sync::Arc};

use super::{
    Table, Values,
    moments::{DAYS, MILLISECONDS},
    text_at,
};
use crate::{
    batch::{RawBatch, RawColumn, RawExtraction, RawValues},
    config::Limits,
    schema::{Column, ColumnType, TableSchema},
};

/// How much of a value a violation quotes, in characters.
const VALUE_CHARACTERS_MAX: usize = 60;

/// Makes tables of what a plugin returned.
///
/// # Errors
///
/// All violations of what it declared.
pub fn validate(
    schemas: &[Arc<TableSchema>],
    extraction: RawExtraction,
    limits: &Limits,
) -> Result<Vec<Table>, Invalid> {
    let mut violations = Violations { shown: Vec::new(), found: 0, max: limits.violations_shown };
    let (declared, found) = (schemas.len(), extraction.batches.len());
    if declared != found {
        violations.add(|| format!("{found} batches for {declared} declared tables"));
    }
    let (skips, skips_max) = (extraction.skips.len(), limits.table_rows);
    if skips as u64 > skips_max {
        violations.add(|| format!("{skips} skipped entries, and {skips_max} are the limit (raise it with --limit table_rows=...)"));
        return Err(Invalid { violations: violations.shown, found: violations.found });
    }
    for (position, reason) in &extraction.skips {
        let is_word = !reason.is_empty()
            && reason.len() <= 64
            && reason.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
        if !is_word {
            let reason = quoted(reason);
            violations.add(|| format!("the reason {reason} of skipped entry {position} is not a word of a to z and `_`"));
        }
    }
    let mut tables = Vec::new();
    for (schema, batch) in schemas.iter().zip(extraction.batches) {
        tables.extend(table(schema, batch, limits, &mut violations));
    }
    if violations.found == 0 {
        return Ok(tables);
    }
    Err(Invalid { violations: violations.shown, found: violations.found })
}

struct Violations {
    shown: Vec<String>,
    found: u64,
    max: u64,
}

impl Violations {
    fn add(&mut self, violation: impl FnOnce() -> String) {
        if self.found < self.max {
            self.shown.push(violation());
        }
        self.found += 1;
    }
}

fn table(
    schema: &Arc<TableSchema>,
    batch: RawBatch,
    limits: &Limits,
    violations: &mut Violations,
) -> Option<Table> {
    let before = violations.found;
    let name = &schema.name;
    let (declared, found) = (schema.columns.len(), batch.columns.len());
    if declared != found {
        violations.add(|| format!("table `{name}`: {found} columns, and {declared} are declared"));
    }
    let rows = batch.columns.first().map_or(0, |column| column.values.len());
    if rows as u64 > limits.table_rows {
        let max = limits.table_rows;
        violations.add(|| {
            format!("table `{name}`: {rows} rows, and {max} are the limit (raise it with --limit table_rows=...)")
        });
        return None;
    }
    let mut columns = Vec::new();
    for (column, raw) in schema.columns.iter().zip(batch.columns) {
        let place = Place { table: name, column: &column.name };
        columns.extend(checked(column, raw, rows, place, violations));
    }
    if violations.found == before {
        let key: Option<Vec<&Values>> = schema
            .key
            .iter()
            .map(|name| columns.get(schema.columns.iter().position(|column| column.name == *name)?))
            .collect();
        check_key(schema, &key.unwrap_or_default(), rows, violations);
    }
    (violations.found == before).then(|| Table {
        schema: Arc::clone(schema),
        rows,
        columns,
        missing: 0,
    })
}

#[derive(Clone, Copy)]
struct Place<'a> {
    table: &'a str,
    column: &'a str,
}

impl Place<'_> {
    fn row(self, row: usize) -> String {
        format!("table `{}`, column `{}`, row {}", self.table, self.column, row + 1)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table `{}`, column `{}`", self.table, self.column)
    }
}

fn checked(
    column: &Column,
    raw: RawColumn,
    rows: usize,
    place: Place<'_>,
    violations: &mut Violations,
) -> Option<Values> {
    let before = violations.found;
    let (found, declared) = (raw.values.column_type(), column.column_type);
    if found != declared {
        violations.add(|| format!("{place}: the values are {found}, and {declared} is declared"));
    }
    let length = raw.values.len();
    if length != rows {
        violations
            .add(|| format!("{place}: {length} values, and the table's first column has {rows}"));
    }
    let nulls = null_rows(&raw.nulls, length, place, violations);
    if violations.found != before {
        return None;
    }
    if !column.nullable {
        for row in nulls.iter().enumerate().filter_map(|(row, null)| null.then_some(row)) {
            violations
                .add(|| format!("{}: null, and the column is declared not null", place.row(row)));
        }
    }
    let values = Values { all: raw.values, nulls };
    match &values.all {
        RawValues::Text { text, ends } => check_texts(text, ends, place, violations),
        RawValues::Int64(_) | RawValues::Boolean(_) => {}
        RawValues::Float64(all) => check_each(all, &values, place, violations, float),
        RawValues::Date(all) => check_each(all, &values, place, violations, date),
        RawValues::Timestamp(all) => check_each(all, &values, place, violations, timestamp),
    }
    (violations.found == before).then_some(values)
}

/// For each row, whether it is null; nothing if none is.
fn null_rows(
    nulls: &[u32],
    rows: usize,
    place: Place<'_>,
    violations: &mut Violations,
) -> Vec<bool> {
    let mut is_null = vec![false; if nulls.is_empty() { 0 } else { rows }];
    for (index, null) in nulls.iter().enumerate() {
        let ascending = index == 0 || nulls[index - 1] < *null;
        match is_null.get_mut(*null as usize) {
            Some(flag) if ascending => *flag = true,
            Some(_) => violations.add(|| format!("{place}: the rows that are null don't ascend at {null}")),
            None => violations.add(|| format!("{place}: row {null}, counted from 0, is said to be null, and there are {rows} rows")),
        }
    }
    is_null
}

fn check_texts(text: &str, ends: &[u32], place: Place<'_>, violations: &mut Violations) {
    let mut start = 0;
    for (row, end) in ends.iter().enumerate() {
        let end = *end as usize;
        if end < start || !text.is_char_boundary(end) {
            let length = text.len();
            violations.add(|| {
                format!(
                    "{}: its text is said to go from byte {start} to byte {end} of {length}",
                    place.row(row)
                )
            });
            return;
        }
        start = end;
    }
    if start != text.len() {
        let length = text.len();
        violations.add(|| format!("{place}: the last value ends at byte {start} of {length}"));
    }
}

fn check_each<T: Copy>(
    all: &[T],
    values: &Values,
    place: Place<'_>,
    violations: &mut Violations,
    check: impl Fn(T) -> Result<(), String>,
) {
    for (row, value) in all.iter().enumerate() {
        if !values.is_null(row)
            && let Err(fault) = check(*value)
        {
            violations.add(|| format!("{}: {fault}", place.row(row)));
        }
    }
}

fn float(value: f64) -> Result<(), String> {
    let fault = || format!("`{value}` is not a finite number");
    value.is_finite().then_some(()).ok_or_else(fault)
}

fn date(days: i32) -> Result<(), String> {
    let fault = || format!("`{days}` days since 1970-01-01 is not a day of the years 1 to 9999");
    DAYS.contains(&days).then_some(()).ok_or_else(fault)
}

fn timestamp(milliseconds: i64) -> Result<(), String> {
    let fault =
        || format!("`{milliseconds}` milliseconds since 1970-01-01 is not in the years 1 to 9999");
    MILLISECONDS.contains(&milliseconds).then_some(()).ok_or_else(fault)
}

/// A key tells the rows of a document apart; without one there is one row at most.
fn check_key(schema: &TableSchema, key: &[&Values], rows: usize, violations: &mut Violations) {
    let name = &schema.name;
    if key.is_empty() {
        if rows > 1 {
            violations.add(|| format!("table `{name}`: {rows} rows, and a table without a key has at most one a document"));
        }
        return;
    }
    let compare = |one: usize, other: usize| {
        let parts = |row| key.iter().map(move |column| column.key_part(row));
        parts(one).cmp(parts(other))
    };
    // Sorted, those that are equal stand side by side; nobody can make that slow, as they can with hashes.
    let head = |row| key.first().map_or(0, |column| column.key_part(row).head());
    let mut sorted: Vec<(u64, usize)> = (0..rows).map(|row| (head(row), row)).collect();
    sorted.sort_unstable();
    let mut again: Vec<(usize, usize)> = Vec::new();
    for alike in sorted.chunk_by_mut(|one, other| one.0 == other.0).filter(|all| all.len() > 1) {
        alike.sort_unstable_by(|(_, one), (_, other)| compare(*one, *other).then(one.cmp(other)));
        let equal = alike.windows(2).filter(|pair| compare(pair[0].1, pair[1].1).is_eq());
        again.extend(equal.map(|pair| (pair[1].1, pair[0].1)));
    }
    again.sort_unstable();
    for (row, first) in again {
        violations.add(|| {
            let columns = schema.key.join(", ");
            let shown = key.iter().map(|column| column.key_part(row).to_string());
            let shown = shown.collect::<Vec<_>>().join(", ");
            format!(
                "table `{name}`, row {}: its key ({columns}) = ({shown}) is that of row {}",
                row + 1,
                first + 1
            )
        });
    }
}

/// A value of a key, to compare and to show.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum KeyPart<'a> {
    Text(&'a str),
    Number(i128),
}

impl KeyPart<'_> {
    /// What most keys can be told apart by; equal ones have the same.
    fn head(&self) -> u64 {
        match self {
            KeyPart::Text(text) => match text.as_bytes().first_chunk() {
                Some(eight) => u64::from_be_bytes(*eight),
                None => text.bytes().fold(0, |head, byte| head << 8 | u64::from(byte)),
            },
            KeyPart::Number(number) => *number as u64,
        }
    }
}

impl fmt::Display for KeyPart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyPart::Text(text) => f.write_str(&quoted(text)),
            KeyPart::Number(number) => write!(f, "`{number}`"),
        }
    }
}

impl Values {
    fn key_part(&self, row: usize) -> KeyPart<'_> {
        let number = match &self.all {
            _ if self.is_null(row) => return KeyPart::Text(""),
            RawValues::Text { text, ends } => return KeyPart::Text(text_at(text, ends, row)),
            RawValues::Int64(all) | RawValues::Timestamp(all) => all[row].into(),
            // Zero has two signs and is one number.
            RawValues::Float64(all) => (all[row] + 0.0).to_bits().into(),
            RawValues::Boolean(all) => all[row].into(),
            RawValues::Date(all) => all[row].into(),
        };
        KeyPart::Number(number)
    }
}

fn quoted(text: &str) -> String {
    let cut: String =
        text.chars().take(VALUE_CHARACTERS_MAX).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(VALUE_CHARACTERS_MAX).is_some() { "..." } else { "" };
    format!("`{cut}{more}`")
}

impl RawValues {
    fn len(&self) -> usize {
        match self {
            RawValues::Text { ends, .. } => ends.len(),
            RawValues::Int64(values) | RawValues::Timestamp(values) => values.len(),
            RawValues::Float64(values) => values.len(),
            RawValues::Boolean(values) => values.len(),
            RawValues::Date(values) => values.len(),
        }
    }

    fn column_type(&self) -> ColumnType {
        match self {
            RawValues::Text { .. } => ColumnType::Text,
            RawValues::Int64(_) => ColumnType::Int64,
            RawValues::Float64(_) => ColumnType::Float64,
            RawValues::Boolean(_) => ColumnType::Boolean,
            RawValues::Date(_) => ColumnType::Date,
            RawValues::Timestamp(_) => ColumnType::Timestamp,
        }
    }
}

/// Rows that are not what the plugin declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    /// The violations, in words, up to the limit.
    pub violations: Vec<String>,
    /// How many there are.
    pub found: u64,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Invalid { violations, found } = self;
        let plural = if *found == 1 { "" } else { "s" };
        write!(f, "broke its word in {found} place{plural}: {}", violations.join("; "))?;
        let more = found - violations.len() as u64;
        if more > 0 {
            write!(f, "; and {more} more (show them with --limit violations_shown=...)")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Scope;

    fn faults(values: RawValues, column_type: ColumnType) -> Vec<String> {
        let column = Column {
            name: "id".to_owned(),
            column_type,
            nullable: false,
            description: "its id".to_owned(),
        };
        let schema = TableSchema {
            name: "thing".to_owned(),
            description: "A thing".to_owned(),
            scope: Scope::Entity,
            columns: vec![column],
            key: vec!["id".to_owned()],
        };
        let batch = RawBatch { columns: vec![RawColumn { values, nulls: Vec::new() }] };
        let extraction = RawExtraction { batches: vec![batch], skips: Vec::new() };
        let checked = validate(&[schema.into()], extraction, &Limits::default());
        checked.map_or_else(|invalid| invalid.violations, |_| Vec::new())
    }

    #[test]
    fn rows_with_the_key_of_another_are_told_in_order() {
        let pairs = |faults: Vec<String>| -> Vec<(String, String)> {
            let pair = |fault: &String| {
                let row = fault.split([',', ':']).nth(1).unwrap_or_default();
                let first = fault.rsplit(' ').next().unwrap_or_default();
                (row.trim().to_owned(), first.to_owned())
            };
            faults.iter().map(pair).collect()
        };
        // The first eight bytes alike, and not; the later rows with the smaller keys.
        let texts = ["z", "z", "beginning-b", "beginning-b", "beginning-a", "a", "a", "z"];
        let ends = texts.iter().scan(0, |end, text| {
            *end += text.len() as u32;
            Some(*end)
        });
        let texts = RawValues::Text { text: texts.concat(), ends: ends.collect() };
        let expected = [("row 2", "1"), ("row 4", "3"), ("row 7", "6"), ("row 8", "2")]
            .map(|(row, first)| (row.to_owned(), first.to_owned()));
        assert_eq!(pairs(faults(texts, ColumnType::Text)), expected);
        let numbers = RawValues::Int64(vec![5, 5, -1, -1, 0, i64::MIN, i64::MIN, 5]);
        let expected = [("row 2", "1"), ("row 4", "3"), ("row 7", "6"), ("row 8", "2")]
            .map(|(row, first)| (row.to_owned(), first.to_owned()));
        assert_eq!(pairs(faults(numbers, ColumnType::Int64)), expected);
        assert!(faults(RawValues::Int64(vec![1, -1, 0]), ColumnType::Int64).is_empty());
    }
}
