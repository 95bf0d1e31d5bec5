//! Parquet: every value as the plugin returned it, with its type.
//!
//! Days are INT32, moments INT64 in milliseconds UTC, which Athena, Spark and DuckDB read alike. The
//! file says in its metadata whose rows it has.

use std::sync::Arc;

use bytes::Bytes;
use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::{ColumnPath, Type, TypePtr},
};

use super::{
    MadeBy, Table, Values, WriteError, Written,
    moments::{days, milliseconds},
    text_range,
};
use crate::{
    batch::RawValues,
    config::HOST_VERSION,
    document::DocumentId,
    schema::{ColumnType, LINEAGE_COLUMNS, TableSchema},
};

/// A column is compressed from so many bytes on. To get ready for that takes more than to write some kilobytes.
const COMPRESSED_BYTES_MIN: usize = 4 << 10;

/// Writes the rows of a document.
pub(super) fn write(
    table: &Table,
    document: &DocumentId,
    made_by: MadeBy<'_>,
    bytes_max: u64,
) -> Result<Written, WriteError> {
    let name = &table.schema.name;
    let bytes = encode(table, document, made_by)
        .map_err(|problem| WriteError::Parquet { table: name.clone(), problem })?;
    if bytes.len() as u64 > bytes_max {
        return Err(WriteError::TooLarge { table: name.clone(), bytes_max });
    }
    Ok(Written { bytes, line_breaks_replaced: 0 })
}

fn encode(
    table: &Table,
    document: &DocumentId,
    made_by: MadeBy<'_>,
) -> Result<Vec<u8>, ParquetError> {
    let said = [
        ("document", document.to_string()),
        ("plugin", made_by.name.to_owned()),
        ("plugin_sha256", made_by.sha256.to_owned()),
    ];
    let said = said.map(|(key, value)| KeyValue::new(format!("spotify_etl.{key}"), value));
    let mut properties = WriterProperties::builder()
        // Columns of a page or two: dictionaries and indexes find nothing faster there, and take time.
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_created_by(format!("spotify-etl version {HOST_VERSION}"))
        .set_key_value_metadata(Some(said.into()));
    for (name, _) in LINEAGE_COLUMNS {
        // The same in each row, so that a dictionary leaves next to nothing of it.
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), true);
    }
    for (column, values) in table.schema.columns.iter().zip(&table.columns) {
        let path = || ColumnPath::from(column.name.as_str());
        if column.column_type == ColumnType::Text {
            // Ids and names from one end of the alphabet to the other: no file is passed over for these.
            properties = properties.set_column_statistics_enabled(path(), EnabledStatistics::None);
        }
        if bytes(values) >= COMPRESSED_BYTES_MIN {
            // What Athena, Spark and pandas take by default. Zstandard takes even longer to get ready, anew for
            // each column.
            properties = properties.set_column_compression(path(), Compression::SNAPPY);
        }
    }
    let properties = properties.build();
    let schema = message(&table.schema)?;
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    // A group without rows is what some readers trip over.
    if table.rows > 0 {
        let mut group = writer.next_row_group()?;
        write_lineage(&mut group, document, table.rows)?;
        let columns = table.schema.columns.iter().zip(&table.columns);
        for (column, values) in columns {
            write_values(&mut group, values, column.nullable)?;
        }
        let missing = table.schema.columns.len() - table.columns.len();
        for column in table.schema.columns.iter().skip(table.schema.columns.len() - missing) {
            write_nulls(&mut group, column.column_type, table.rows)?;
        }
        group.close()?;
    }
    writer.into_inner()
}

/// About how many bytes a column takes as it is.
fn bytes(values: &Values) -> usize {
    match &values.all {
        RawValues::Text { text, .. } => text.len(),
        RawValues::Int64(all) | RawValues::Timestamp(all) => size_of_val(all.as_slice()),
        RawValues::Float64(all) => size_of_val(all.as_slice()),
        RawValues::Date(all) => size_of_val(all.as_slice()),
        RawValues::Boolean(all) => all.len() / 8,
    }
}

fn message(schema: &TableSchema) -> Result<TypePtr, ParquetError> {
    let lineage = LINEAGE_COLUMNS.iter().map(|(name, kind)| field(name, *kind, false));
    let columns = schema
        .columns
        .iter()
        .map(|column| field(&column.name, column.column_type, column.nullable));
    let fields = lineage.chain(columns).collect::<Result<_, _>>()?;
    Type::group_type_builder(&schema.name).with_fields(fields).build().map(Arc::new)
}

fn field(name: &str, column_type: ColumnType, nullable: bool) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match column_type {
        ColumnType::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ColumnType::Int64 => (Physical::INT64, None),
        ColumnType::Float64 => (Physical::DOUBLE, None),
        ColumnType::Boolean => (Physical::BOOLEAN, None),
        ColumnType::Date => (Physical::INT32, Some(LogicalType::Date)),
        ColumnType::Timestamp => {
            let unit = TimeUnit::MILLIS;
            (Physical::INT64, Some(LogicalType::timestamp(true, unit)))
        }
    };
    let repetition = if nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let built = Type::primitive_type_builder(name, physical).with_repetition(repetition);
    built.with_logical_type(logical).build().map(Arc::new)
}

type Group<'w> = SerializedRowGroupWriter<'w, Vec<u8>>;

fn write_lineage(
    group: &mut Group<'_>,
    document: &DocumentId,
    rows: usize,
) -> Result<(), ParquetError> {
    let moment = document.extracted_at.moment();
    let text = |text: String| vec![ByteArray::from(text.into_bytes()); rows];
    column::<ByteArrayType>(group, &text(document.to_string()), None)?;
    column::<ByteArrayType>(group, &text(document.playlist_id.to_string()), None)?;
    column::<Int64Type>(group, &vec![milliseconds(moment); rows], None)?;
    column::<Int32Type>(group, &vec![days(moment.date()); rows], None)
}

fn write_values(
    group: &mut Group<'_>,
    values: &Values,
    nullable: bool,
) -> Result<(), ParquetError> {
    /// Each value; none where it is null.
    fn each<T: Copy>(all: &[T], values: &Values) -> impl Iterator<Item = Option<T>> {
        all.iter().enumerate().map(|(row, value)| (!values.is_null(row)).then_some(*value))
    }
    match &values.all {
        RawValues::Text { text, ends } => {
            // All of them are parts of one.
            let text = Bytes::copy_from_slice(text.as_bytes());
            let bytes = |row| {
                let (begin, end) = text_range(ends, row);
                ByteArray::from(text.slice(begin..end))
            };
            let value = |row| (!values.is_null(row)).then(|| bytes(row));
            optional::<ByteArrayType>(group, (0..ends.len()).map(value), nullable)
        }
        RawValues::Int64(all) | RawValues::Timestamp(all) => {
            optional::<Int64Type>(group, each(all, values), nullable)
        }
        RawValues::Float64(all) => optional::<DoubleType>(group, each(all, values), nullable),
        RawValues::Boolean(all) => optional::<BoolType>(group, each(all, values), nullable),
        RawValues::Date(all) => optional::<Int32Type>(group, each(all, values), nullable),
    }
}

fn write_nulls(
    group: &mut Group<'_>,
    column_type: ColumnType,
    rows: usize,
) -> Result<(), ParquetError> {
    let absent = Some(vec![0; rows]);
    match column_type {
        ColumnType::Text => column::<ByteArrayType>(group, &[], absent),
        ColumnType::Int64 | ColumnType::Timestamp => column::<Int64Type>(group, &[], absent),
        ColumnType::Float64 => column::<DoubleType>(group, &[], absent),
        ColumnType::Boolean => column::<BoolType>(group, &[], absent),
        ColumnType::Date => column::<Int32Type>(group, &[], absent),
    }
}

/// Writes the values that are there, and for each row whether there is one.
fn optional<T: DataType>(
    group: &mut Group<'_>,
    values: impl Iterator<Item = Option<T::T>>,
    nullable: bool,
) -> Result<(), ParquetError> {
    let rows = values.size_hint().0;
    let (mut there, mut levels) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for value in values {
        levels.push(i16::from(value.is_some()));
        there.extend(value);
    }
    column::<T>(group, &there, nullable.then_some(levels))
}

fn column<T: DataType>(
    group: &mut Group<'_>,
    values: &[T::T],
    levels: Option<Vec<i16>>,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("more columns than the schema has".to_owned()));
    };
    column.typed::<T>().write_batch(values, levels.as_deref(), None)?;
    column.close()
}
