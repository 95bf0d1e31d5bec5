//! Table files, read again: each value as the views have it, whichever format the file has. Days and
//! moments are ISO text, empty text is nothing, a line break is a space.

use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::{Field, Row},
    schema::types::Type,
};

use super::{
    csv::{date, on_one_line, timestamp},
    moments::{date_of, moment_of},
};
use crate::{
    answer::Cell,
    layout::Format,
    schema::{ColumnType, TableSchema},
};

/// Returns the rows of a file, each with a cell for each of these columns, in their order. They are among the
/// host's columns and the table's own.
///
/// # Errors
///
/// If it is no such file.
pub fn read(
    bytes: Vec<u8>,
    format: Format,
    schema: &TableSchema,
    columns: &[&str],
) -> Result<Vec<Vec<Cell>>, String> {
    match format {
        Format::Csv => read_csv(&bytes, schema, columns),
        Format::Parquet => read_parquet(bytes, schema, columns),
    }
}

/// Counts the rows of a file that this program wrote, without reading their values.
///
/// # Errors
///
/// If it is no such file.
pub fn count_rows(bytes: &bytes::Bytes, format: Format) -> Result<u64, String> {
    match format {
        // A header and rows are a line each: line breaks inside values are replaced when they are written.
        Format::Csv => {
            let lines = memchr::memchr_iter(b'\n', bytes).count() as u64;
            lines.checked_sub(1).ok_or_else(|| "it has no header".to_owned())
        }
        Format::Parquet => {
            let reader = SerializedFileReader::new(bytes.clone());
            let reader = reader.map_err(|error| error.to_string())?;
            let rows = reader.metadata().file_metadata().num_rows();
            u64::try_from(rows).map_err(|error| error.to_string())
        }
    }
}

/// By place, as Athena does: a file from before columns were added has fewer of them.
fn read_csv(bytes: &[u8], schema: &TableSchema, wanted: &[&str]) -> Result<Vec<Vec<Cell>>, String> {
    let columns: Vec<_> = schema.all_columns().collect();
    let place = |name: &&str| {
        let mut places = columns.iter().enumerate();
        places.find(|(_, (known, _))| known == name).map(|(place, (_, kind))| (place, *kind))
    };
    let places: Vec<(usize, ColumnType)> = wanted.iter().filter_map(place).collect();
    let mut reader = ::csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header = reader.headers().map_err(|error| error.to_string())?;
    // One that is written meanwhile may have more columns already.
    if header.iter().zip(&columns).any(|(found, (name, _))| found != *name) || header.is_empty() {
        return Err("its header does not name the columns of the table".to_owned());
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let cell = |(place, kind): &(usize, ColumnType)| {
            let text = record.get(*place).unwrap_or_default();
            if text.is_empty() { Cell::Null } else { of_text(text, *kind) }
        };
        rows.push(places.iter().map(cell).collect());
    }
    Ok(rows)
}

fn of_text(text: &str, kind: ColumnType) -> Cell {
    match kind {
        ColumnType::Text | ColumnType::Date | ColumnType::Timestamp => Cell::Text(text.to_owned()),
        ColumnType::Int64 => text.parse().map_or(Cell::Null, Cell::Integer),
        ColumnType::Float64 => text.parse().map_or(Cell::Null, Cell::Real),
        ColumnType::Boolean => {
            text.parse().map_or(Cell::Null, |is: bool| Cell::Integer(i64::from(is)))
        }
    }
}

/// By name, as Athena does.
fn read_parquet(
    bytes: Vec<u8>,
    schema: &TableSchema,
    wanted: &[&str],
) -> Result<Vec<Vec<Cell>>, String> {
    // What no column of the table is called is nothing to read.
    let is_known = |name: &str| schema.all_columns().any(|(known, _)| known == name);
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes));
    let reader = reader.map_err(|error| error.to_string())?;
    let stored = reader.metadata().file_metadata().schema();
    let read = stored
        .get_fields()
        .iter()
        .filter(|field| wanted.contains(&field.name()) && is_known(field.name()));
    let read = Type::group_type_builder(stored.name()).with_fields(read.cloned().collect());
    let read = read.build().map_err(|error| error.to_string())?;
    let rows = reader.get_row_iter(Some(read)).map_err(|error| error.to_string())?;
    let cells = |row: Row| {
        let mut cells = vec![Cell::Null; wanted.len()];
        for (name, field) in row.into_columns() {
            if let Some(index) = wanted.iter().position(|known| *known == name) {
                cells[index] = of_field(field);
            }
        }
        cells
    };
    rows.map(|row| row.map(cells).map_err(|error| error.to_string())).collect()
}

fn of_field(field: Field) -> Cell {
    match field {
        Field::Str(text) if text.is_empty() => Cell::Null,
        Field::Str(text) => Cell::Text(on_one_line(text.into()).0.into_owned()),
        Field::Long(number) => Cell::Integer(number),
        Field::Double(number) => Cell::Real(number),
        Field::Bool(is) => Cell::Integer(i64::from(is)),
        Field::Date(days) => date_of(days).map_or(Cell::Null, |day| Cell::Text(date(day))),
        Field::TimestampMillis(moment) => {
            moment_of(moment).map_or(Cell::Null, |(date, time)| Cell::Text(timestamp(date, time)))
        }
        _ => Cell::Null,
    }
}
