//! CSV as RFC 4180 has it, with what Athena can't read made readable and counted.

use std::{borrow::Cow, fmt::Write, iter};

use time::{Date, OffsetDateTime};

use super::{
    Table, Values, WriteError, Written,
    moments::{date_of, moment_of},
    text_at,
};
use crate::{batch::RawValues, document::DocumentId, schema::LINEAGE_COLUMNS};

/// Writes the rows of a document.
pub(super) fn write(
    table: &Table,
    document: &DocumentId,
    bytes_max: u64,
) -> Result<Written, WriteError> {
    let names = table.schema.columns.iter().map(|column| column.name.as_str());
    let header: Vec<&str> = LINEAGE_COLUMNS.iter().map(|(name, _)| *name).chain(names).collect();
    let mut text = header.join(",") + "\n";
    let moment = document.extracted_at.moment();
    let mut line_breaks_replaced = 0;
    // None of these is ever quoted.
    let lineage = [
        document.to_string(),
        document.playlist_id.to_string(),
        timestamp(moment),
        date(moment.date()),
    ];
    let lineage = lineage.join(",");
    let columns: Vec<_> =
        table.columns.iter().map(|column| (column, has_odd_text(column))).collect();
    text.reserve(room(table, lineage.len()).min(usize::try_from(bytes_max).unwrap_or(usize::MAX)));
    for row in 0..table.rows {
        text.push_str(&lineage);
        for (column, is_odd) in &columns {
            text.push(',');
            // What is no text is never quoted.
            if *is_odd {
                let cell = column.cell(row).unwrap_or_default();
                line_breaks_replaced += u64::from(write_text(&cell, &mut text));
            } else {
                let _ = column.spell(row, &mut text);
            }
        }
        text.extend(iter::repeat_n(',', table.missing));
        text.push('\n');
        if text.len() as u64 > bytes_max {
            return Err(WriteError::TooLarge { table: table.schema.name.clone(), bytes_max });
        }
    }
    Ok(Written { bytes: text.into_bytes(), line_breaks_replaced })
}

/// About how many bytes the rows take.
fn room(table: &Table, lineage: usize) -> usize {
    let width = |column: &Values| match &column.all {
        RawValues::Text { text, .. } => text.len(),
        RawValues::Timestamp(_) => table.rows * 20,
        _ => table.rows * 8,
    };
    let columns: usize = table.columns.iter().map(width).sum();
    let separators = table.rows * (table.columns.len() + table.missing + 1);
    table.rows * lineage + columns + separators
}

/// Whether a column may have values that can't be written as they are.
fn has_odd_text(column: &Values) -> bool {
    let RawValues::Text { text, .. } = &column.all else { return false };
    let text = text.as_bytes();
    memchr::memchr3(b'"', b',', b'\n', text).is_some()
        || memchr::memchr2(b'\r', 0x7f, text).is_some()
}

/// Writes a field, and says whether line breaks in it were replaced. Nearly all fields are written as they
/// are.
fn write_text(cell: &str, text: &mut String) -> bool {
    if !cell.bytes().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n' | 0x7f)) {
        text.push_str(cell);
        return false;
    }
    let (cell, replaced) = on_one_line(Cow::Borrowed(cell));
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory doesn't fail, and what is text stays text.
    let _ = writer.write_record([cell.as_bytes()]);
    let quoted = String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default();
    text.push_str(quoted.strip_suffix('\n').unwrap_or(&quoted));
    replaced
}

impl Values {
    /// A value as text; none where it is null.
    pub(super) fn cell(&self, row: usize) -> Option<Cow<'_, str>> {
        if let RawValues::Text { text, ends } = &self.all {
            return (!self.is_null(row)).then(|| Cow::Borrowed(text_at(text, ends, row)));
        }
        let mut text = String::new();
        self.spell(row, &mut text)?;
        Some(Cow::Owned(text))
    }

    /// Writes a value as text; none where it is null.
    fn spell(&self, row: usize, text: &mut String) -> Option<()> {
        if self.is_null(row) {
            return None;
        }
        match &self.all {
            RawValues::Text { text: all, ends } => text.push_str(text_at(all, ends, row)),
            RawValues::Int64(values) => text.push_str(itoa::Buffer::new().format(values[row])),
            // Rust's shortest spelling that reads back as the same number; and Debug, since Display
            // spells out hundreds of zeros. Writing to memory doesn't fail.
            RawValues::Float64(values) => drop(write!(text, "{:?}", values[row])),
            RawValues::Boolean(values) => text.push_str(if values[row] { "true" } else { "false" }),
            RawValues::Date(values) => spell_date(date_of(values[row])?, text),
            RawValues::Timestamp(values) => spell_timestamp(moment_of(values[row])?, text),
        }
        Some(())
    }
}

pub(super) fn date(date: Date) -> String {
    let mut text = String::new();
    spell_date(date, &mut text);
    text
}

fn spell_date(date: Date, text: &mut String) {
    // There are the years 1 to 9999 (see `moments`).
    let year = date.year().unsigned_abs();
    two_digits(year / 100, text);
    two_digits(year % 100, text);
    for part in [u8::from(date.month()), date.day()] {
        text.push('-');
        two_digits(part.into(), text);
    }
}

fn two_digits(number: u32, text: &mut String) {
    for digit in [number / 10 % 10, number % 10] {
        text.push(char::from(b'0' + digit as u8));
    }
}

/// `YYYY-MM-DD HH:MM:SS`, and milliseconds where there are some.
pub(super) fn timestamp(moment: OffsetDateTime) -> String {
    let mut text = String::new();
    spell_timestamp(moment, &mut text);
    text
}

fn spell_timestamp(moment: OffsetDateTime, text: &mut String) {
    let (hour, minute, second, millisecond) = moment.time().as_hms_milli();
    spell_date(moment.date(), text);
    for (before, part) in [(' ', hour), (':', minute), (':', second)] {
        text.push(before);
        two_digits(part.into(), text);
    }
    if millisecond > 0 {
        // Writing to memory doesn't fail.
        let _ = write!(text, ".{millisecond:03}");
    }
}

/// Athena's CSV readers end a row at every line break, quoted or not, and take DEL for the escape
/// character, which has to be some character.
pub(super) fn on_one_line(cell: Cow<'_, str>) -> (Cow<'_, str>, bool) {
    if !cell.contains(['\r', '\n', '\u{7f}']) {
        return (cell, false);
    }
    (Cow::Owned(cell.replace("\r\n", " ").replace(['\r', '\n', '\u{7f}'], " ")), true)
}
