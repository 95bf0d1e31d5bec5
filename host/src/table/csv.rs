//! CSV as RFC 4180 has it, with what Athena can't read made readable and counted.

use std::borrow::Cow;

use time::{Date, OffsetDateTime};

use super::{Table, Values, WriteError, Written};
use crate::{document::DocumentId, schema::LINEAGE_COLUMNS};

/// Writes the rows of a document.
pub(super) fn write(
    table: &Table,
    document: &DocumentId,
    bytes_max: u64,
) -> Result<Written, WriteError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut line_breaks_replaced = 0;
    let names = table.schema.columns.iter().map(|column| column.name.as_str());
    let header = LINEAGE_COLUMNS.iter().map(|(name, _)| *name).chain(names);
    // Writing to memory doesn't fail.
    let _ = writer.write_record(header);
    let moment = document.extracted_at.moment();
    let lineage = [
        document.to_string(),
        document.playlist_id.to_string(),
        timestamp(moment),
        date(moment.date()),
    ];
    for row in 0..table.rows {
        for value in &lineage {
            let _ = writer.write_field(value);
        }
        for column in &table.columns {
            let cell = column.cell(row).unwrap_or_default();
            let (cell, replaced) = on_one_line(cell);
            line_breaks_replaced += u64::from(replaced);
            let _ = writer.write_field(cell.as_bytes());
        }
        for _ in 0..table.missing {
            let _ = writer.write_field("");
        }
        let _ = writer.write_record(None::<&[u8]>);
        if writer.get_ref().len() as u64 > bytes_max {
            return Err(WriteError::TooLarge { table: table.schema.name.clone(), bytes_max });
        }
    }
    Ok(Written { bytes: writer.into_inner().unwrap_or_default(), line_breaks_replaced })
}

impl Values {
    /// A value as text; none where it is null.
    pub(super) fn cell(&self, row: usize) -> Option<Cow<'_, str>> {
        let owned = |text: String| Some(Cow::Owned(text));
        match self {
            Values::Text { text, ranges } => {
                Some(Cow::Borrowed(text.get(ranges[row].clone()?).unwrap_or_default()))
            }
            Values::Int64(values) => owned(values[row]?.to_string()),
            // Rust's shortest spelling that reads back as the same number; and Debug, since Display
            // spells out hundreds of zeros.
            Values::Float64(values) => owned(format!("{:?}", values[row]?)),
            Values::Boolean(values) => owned(values[row]?.to_string()),
            Values::Date(values) => owned(date(values[row]?)),
            Values::Timestamp(values) => owned(timestamp(values[row]?)),
        }
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
