//! CSV as RFC 4180 has it, with what Athena can't read made readable and counted.

use std::{borrow::Cow, fmt::Write, iter};

use time::{Date, OffsetDateTime};

use super::{Table, Values, WriteError, Written};
use crate::{document::DocumentId, schema::LINEAGE_COLUMNS};

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
    for row in 0..table.rows {
        text.push_str(&lineage);
        for column in &table.columns {
            text.push(',');
            match column {
                Values::Text { .. } => {
                    let cell = column.cell(row).unwrap_or_default();
                    line_breaks_replaced += u64::from(write_text(&cell, &mut text));
                }
                // What all others are spelled with is never quoted.
                _ => drop(column.spell(row, &mut text)),
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
        if let Values::Text { text, ranges } = self {
            return Some(Cow::Borrowed(text.get(ranges[row].clone()?).unwrap_or_default()));
        }
        let mut text = String::new();
        self.spell(row, &mut text)?;
        Some(Cow::Owned(text))
    }

    /// Writes a value as text; none where it is null.
    fn spell(&self, row: usize, text: &mut String) -> Option<()> {
        // Writing to memory doesn't fail.
        let _ = match self {
            Values::Text { text: all, ranges } => text.write_str(all.get(ranges[row].clone()?)?),
            Values::Int64(values) => write!(text, "{}", values[row]?),
            // Rust's shortest spelling that reads back as the same number; and Debug, since Display
            // spells out hundreds of zeros.
            Values::Float64(values) => write!(text, "{:?}", values[row]?),
            Values::Boolean(values) => write!(text, "{}", values[row]?),
            Values::Date(values) => text.write_str(&date(values[row]?)),
            Values::Timestamp(values) => text.write_str(&timestamp(values[row]?)),
        };
        Some(())
    }
}

pub(super) fn date(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// `YYYY-MM-DD HH:MM:SS`, and milliseconds where there are some.
pub(super) fn timestamp(moment: OffsetDateTime) -> String {
    let (hour, minute, second, millisecond) = moment.time().as_hms_milli();
    let whole = format!("{} {hour:02}:{minute:02}:{second:02}", date(moment.date()));
    if millisecond == 0 { whole } else { format!("{whole}.{millisecond:03}") }
}

/// Athena's CSV readers end a row at every line break, quoted or not, and take DEL for the escape
/// character, which has to be some character.
pub(super) fn on_one_line(cell: Cow<'_, str>) -> (Cow<'_, str>, bool) {
    if !cell.contains(['\r', '\n', '\u{7f}']) {
        return (cell, false);
    }
    (Cow::Owned(cell.replace("\r\n", " ").replace(['\r', '\n', '\u{7f}'], " ")), true)
}
