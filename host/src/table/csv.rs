//! CSV as RFC 4180 has it, with what Athena can't read made readable and counted.

use std::{borrow::Cow, iter};

use time::{Date, Time};

use super::{
    Table, Values, WriteError, Written,
    moments::{date_of, moment_of},
    text_at, text_range,
};
use crate::{batch::RawValues, document::DocumentId, schema::LINEAGE_COLUMNS};

/// How many bytes of a column are looked at together for those that can't be written as they are.
const WINDOW_BYTES: usize = 4 << 10;

/// Writes the rows of a document.
pub(super) fn write(
    table: &Table,
    document: &DocumentId,
    bytes_max: u64,
) -> Result<Written, WriteError> {
    let names = table.schema.columns.iter().map(|column| column.name.as_str());
    let header: Vec<&str> = LINEAGE_COLUMNS.iter().map(|(name, _)| *name).chain(names).collect();
    let moment = document.extracted_at.moment();
    // None of these is ever quoted.
    let lineage = [
        document.to_string(),
        document.playlist_id.to_string(),
        timestamp(moment.date(), moment.time()),
        date(moment.date()),
    ];
    let lineage = lineage.join(",");
    let mut columns: Vec<_> = table.columns.iter().map(|values| (values, 0)).collect();
    let mut quotes = Quotes::default();
    let mut lines = (header.join(",") + "\n").into_bytes();
    lines.reserve(room(table, lineage.len()).min(usize::try_from(bytes_max).unwrap_or(usize::MAX)));
    for row in 0..table.rows {
        lines.extend_from_slice(lineage.as_bytes());
        for (values, plain_to) in &mut columns {
            lines.push(b',');
            match &values.all {
                _ if values.is_null(row) => {}
                RawValues::Text { text, ends } => {
                    let (begin, end) = text_range(ends, row);
                    if end > *plain_to {
                        *plain_to = begin + plain_bytes(&text.as_bytes()[begin..]);
                    }
                    let cell = text.get(begin..end).unwrap_or_default();
                    lines.extend_from_slice(match end > *plain_to {
                        true => quotes.quoted(cell),
                        false => cell.as_bytes(),
                    });
                }
                _ => drop(values.spell(row, &mut lines)),
            }
        }
        lines.extend(iter::repeat_n(b',', table.missing));
        lines.push(b'\n');
        if lines.len() as u64 > bytes_max {
            return Err(WriteError::TooLarge { table: table.schema.name.clone(), bytes_max });
        }
    }
    let line_breaks_replaced = quotes.line_breaks_replaced;
    Ok(Written { bytes: lines, line_breaks_replaced })
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

/// How many bytes at the beginning of a text can be written as they are, of those that are looked at together.
fn plain_bytes(text: &[u8]) -> usize {
    let window = text.get(..WINDOW_BYTES).unwrap_or(text);
    let before = memchr::memchr3(b'"', b',', b'\n', window).unwrap_or(window.len());
    memchr::memchr2(b'\r', 0x7f, &window[..before]).unwrap_or(before)
}

/// Quotes cells that may have something in them which can't be written as it is.
#[derive(Default)]
struct Quotes {
    writer: Option<csv::Writer<Vec<u8>>>,
    line_breaks_replaced: u64,
}

impl Quotes {
    fn quoted(&mut self, cell: &str) -> &[u8] {
        let (cell, is_replaced) = on_one_line(Cow::Borrowed(cell));
        self.line_breaks_replaced += u64::from(is_replaced);
        // It keeps all that it wrote.
        self.writer.take_if(|writer| writer.get_ref().len() > WINDOW_BYTES);
        let writer = self.writer.get_or_insert_with(|| csv::Writer::from_writer(Vec::new()));
        let before = writer.get_ref().len();
        // Writing to memory doesn't fail.
        let _ = writer.write_record([cell.as_bytes()]);
        let _ = writer.flush();
        let written = writer.get_ref().get(before..).unwrap_or_default();
        written.strip_suffix(b"\n").unwrap_or(written)
    }
}

impl Values {
    /// A value as text; none where it is null.
    pub(super) fn cell(&self, row: usize) -> Option<Cow<'_, str>> {
        if let RawValues::Text { text, ends } = &self.all {
            return (!self.is_null(row)).then(|| Cow::Borrowed(text_at(text, ends, row)));
        }
        let mut text = Vec::new();
        self.spell(row, &mut text)?;
        String::from_utf8(text).ok().map(Cow::Owned)
    }

    /// Writes a value that is no text; none where it is null.
    fn spell(&self, row: usize, text: &mut Vec<u8>) -> Option<()> {
        if self.is_null(row) {
            return None;
        }
        match &self.all {
            RawValues::Text { .. } => return None,
            RawValues::Int64(values) => {
                text.extend_from_slice(itoa::Buffer::new().format(values[row]).as_bytes());
            }
            // Rust's shortest spelling that reads back as the same number; and Debug, since Display
            // spells out hundreds of zeros.
            RawValues::Float64(values) => {
                text.extend_from_slice(format!("{:?}", values[row]).as_bytes())
            }
            RawValues::Boolean(values) => {
                text.extend_from_slice(if values[row] { b"true" } else { b"false" })
            }
            RawValues::Date(values) => spell_date(date_of(values[row])?, text),
            RawValues::Timestamp(values) => {
                let (date, time) = moment_of(values[row])?;
                spell_date(date, text);
                spell_time(time, text);
            }
        }
        Some(())
    }
}

pub(super) fn date(date: Date) -> String {
    let mut text = Vec::new();
    spell_date(date, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// `YYYY-MM-DD HH:MM:SS`, and milliseconds where there are some.
pub(super) fn timestamp(date: Date, time: Time) -> String {
    let mut text = Vec::new();
    spell_date(date, &mut text);
    spell_time(time, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

fn spell_date(date: Date, text: &mut Vec<u8>) {
    // There are the years 1 to 9999 (see `moments`).
    let (year, month, day) = date.to_calendar_date();
    let year = year.unsigned_abs();
    let [[y, yy], [yyy, yyyy]] = [year / 100, year % 100].map(two_digits);
    let [[m, mm], [d, dd]] = [u8::from(month), day].map(|part| two_digits(part.into()));
    text.extend_from_slice(&[y, yy, yyy, yyyy, b'-', m, mm, b'-', d, dd]);
}

fn spell_time(time: Time, text: &mut Vec<u8>) {
    let (hour, minute, second, millisecond) = time.as_hms_milli();
    let [[h, hh], [m, mm], [s, ss]] = [hour, minute, second].map(|part| two_digits(part.into()));
    text.extend_from_slice(&[b' ', h, hh, b':', m, mm, b':', s, ss]);
    if millisecond > 0 {
        text.extend_from_slice(format!(".{millisecond:03}").as_bytes());
    }
}

fn two_digits(number: u32) -> [u8; 2] {
    [number / 10 % 10, number % 10].map(|digit| b'0' + digit as u8)
}

/// Athena's CSV readers end a row at every line break, quoted or not, and take DEL for the escape
/// character, which has to be some character.
pub(super) fn on_one_line(cell: Cow<'_, str>) -> (Cow<'_, str>, bool) {
    if !cell.contains(['\r', '\n', '\u{7f}']) {
        return (cell, false);
    }
    (Cow::Owned(cell.replace("\r\n", " ").replace(['\r', '\n', '\u{7f}'], " ")), true)
}
