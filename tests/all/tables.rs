//! Rows by chance, written in each format and read again: the same cells, and the same bytes each time.

use proptest::prelude::*;
use spotify_etl::{
    answer::Cell,
    batch::{RawBatch, RawColumn, RawExtraction, RawValues},
    config::Limits,
    document::DocumentId,
    layout::Format,
    schema::{Column, ColumnType, Scope, TableSchema},
    table::{MadeBy, Table, read, validate, write},
};

const TYPES: [ColumnType; 6] = [
    ColumnType::Text,
    ColumnType::Int64,
    ColumnType::Float64,
    ColumnType::Boolean,
    ColumnType::Date,
    ColumnType::Timestamp,
];

/// The first and last day of the years 1 to 9999, as days since 1970.
const DAYS: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;

/// What CSV can't carry where Athena reads it.
const BREAKS: [char; 3] = ['\r', '\n', '\u{7f}'];

/// A row: each value there or not.
type Row = (Option<String>, Option<i64>, Option<f64>, Option<bool>, Option<i32>, Option<i64>);

fn nasty() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "",
        " ",
        "NULL",
        "\\N",
        "\\",
        "a\\",
        "\"",
        "\"\"",
        ",",
        "a,b\"c",
        "\t",
        "=1+1",
        "-x",
        "@a",
        "\u{2028}",
        "\u{0}",
        "\u{feff}",
        "😀",
        "\u{202e}abc",
        "é\u{301}",
        "line\nbreak",
        "a\r\nb",
        "\r",
        "del\u{7f}ete",
        "'",
        ";",
        "--",
    ]);
    prop_oneof![odd.prop_map(str::to_owned), ".{0,20}", Just("x".repeat(10_000))]
}

fn row() -> impl Strategy<Value = Row> {
    let milliseconds = *DAYS.start() as i64 * 86_400_000..(*DAYS.end() as i64 + 1) * 86_400_000;
    let float = prop_oneof![
        any::<f64>().prop_filter("finite", |number| number.is_finite()),
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(-0.0),
    ];
    (
        prop::option::of(nasty()),
        prop::option::of(prop_oneof![any::<i64>(), Just(i64::MAX), Just(i64::MIN)]),
        prop::option::of(float),
        prop::option::of(any::<bool>()),
        prop::option::of(prop_oneof![DAYS, Just(*DAYS.start()), Just(*DAYS.end())]),
        prop::option::of(milliseconds),
    )
}

fn schema(nullable: bool) -> TableSchema {
    let column = |kind: ColumnType| Column {
        name: format!("a_{kind}"),
        column_type: kind,
        nullable,
        description: String::new(),
    };
    let place = Column {
        name: "place".to_owned(),
        column_type: ColumnType::Int64,
        nullable: false,
        description: String::new(),
    };
    TableSchema {
        name: "t".to_owned(),
        description: String::new(),
        scope: Scope::Snapshot,
        columns: [place].into_iter().chain(TYPES.map(column)).collect(),
        key: vec!["place".to_owned()],
    }
}

fn packed<T: Clone>(
    rows: &[Row],
    value: impl Fn(&Row) -> Option<T>,
    blank: &T,
    pack: impl Fn(Vec<T>) -> RawValues,
) -> RawColumn {
    let values: Vec<Option<T>> = rows.iter().map(value).collect();
    let nulls = (0..).zip(&values).filter(|(_, value)| value.is_none()).map(|(row, _)| row);
    let nulls = nulls.collect();
    let filled = values.into_iter().map(|value| value.unwrap_or_else(|| blank.clone()));
    RawColumn { values: pack(filled.collect()), nulls }
}

fn table(rows: &[Row]) -> Table {
    let text = |values: Vec<String>| {
        let mut ends = Vec::new();
        let mut text = String::new();
        for value in values {
            text.push_str(&value);
            ends.push(u32::try_from(text.len()).unwrap());
        }
        RawValues::Text { text, ends }
    };
    let places =
        RawColumn { values: RawValues::Int64((0..).take(rows.len()).collect()), nulls: Vec::new() };
    let columns = vec![
        places,
        // What stands where a value is null counts for nothing, and need not even be one.
        packed(rows, |row| row.0.clone(), &"null, \"or\"\n\u{e9}".to_owned(), text),
        packed(rows, |row| row.1, &5, RawValues::Int64),
        packed(rows, |row| row.2, &f64::NAN, RawValues::Float64),
        packed(rows, |row| row.3, &true, RawValues::Boolean),
        packed(rows, |row| row.4, &i32::MAX, RawValues::Date),
        packed(rows, |row| row.5, &i64::MIN, RawValues::Timestamp),
    ];
    let extraction = RawExtraction { batches: vec![RawBatch { columns }], skips: Vec::new() };
    validate(&[schema(true).into()], extraction, &Limits::default()).unwrap().remove(0)
}

fn document() -> DocumentId {
    "my_list-20260706T060000Z-01234567".parse().unwrap()
}

/// Reads all columns.
fn all(bytes: Vec<u8>, format: Format, schema: &TableSchema) -> Result<Vec<Vec<Cell>>, String> {
    let columns: Vec<&str> = schema.all_columns().map(|(name, _)| name).collect();
    read(bytes, format, schema, &columns)
}

fn bytes(table: &Table, format: Format) -> (Vec<u8>, u64) {
    let made_by = MadeBy { name: "p", sha256: "0123" };
    let written = write(table, &document(), format, made_by, u64::MAX).unwrap();
    (written.bytes, written.line_breaks_replaced)
}

/// What is there to be read, by the rules that are told: nothing where there was none or no letter, and a
/// space for each line break.
fn expected(row: &Row) -> Vec<Cell> {
    let (text, integer, float, is, ..) = row.clone();
    let text = text.filter(|text| !text.is_empty());
    let text = text.map(|text| text.replace("\r\n", " ").replace(BREAKS, " "));
    vec![
        text.map_or(Cell::Null, Cell::Text),
        integer.map_or(Cell::Null, Cell::Integer),
        float.map_or(Cell::Null, Cell::Real),
        is.map_or(Cell::Null, |is| Cell::Integer(i64::from(is))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_written_is_read_again_whichever_format(rows in prop::collection::vec(row(), 0..30)) {
        let table = table(&rows);
        let (csv, breaks) = bytes(&table, Format::Csv);
        let (parquet, none) = bytes(&table, Format::Parquet);
        let has_break = |row: &&Row| row.0.as_ref().is_some_and(|text| text.contains(BREAKS));
        prop_assert_eq!(breaks, rows.iter().filter(has_break).count() as u64);
        prop_assert_eq!(none, 0);
        prop_assert_eq!(&bytes(&table, Format::Csv).0, &csv, "not the same bytes again");
        prop_assert_eq!(&bytes(&table, Format::Parquet).0, &parquet, "not the same bytes again");

        let from_csv = all(csv, Format::Csv, &schema(true)).unwrap();
        let from_parquet = all(parquet, Format::Parquet, &schema(true)).unwrap();
        prop_assert_eq!(&from_csv, &from_parquet);
        prop_assert_eq!(from_csv.len(), rows.len());
        for (place, (found, row)) in from_csv.iter().zip(&rows).enumerate() {
            prop_assert_eq!(&found[..4], &[
                Cell::Text(document().to_string()),
                Cell::Text("my_list".to_owned()),
                Cell::Text("2026-07-06 06:00:00".to_owned()),
                Cell::Text("2026-07-06".to_owned()),
            ]);
            prop_assert_eq!(&found[4], &Cell::Integer(place as i64));
            prop_assert_eq!(&found[5..9], expected(row));
            prop_assert_eq!(found[9] == Cell::Null, row.4.is_none());
            prop_assert_eq!(found[10] == Cell::Null, row.5.is_none());
        }
    }
}

#[test]
fn columns_large_enough_to_be_compressed_are_the_same_and_smaller() {
    const ROWS: i64 = 2_000;
    let row = |number: i64| {
        let text = (number % 7 > 0).then(|| format!("number {}", number % 100));
        let is = (number % 3 > 0).then_some(number % 2 == 0);
        (text, Some(number % 9), Some(0.5), is, Some(number as i32 % 5), Some(number % 4))
    };
    let table = table(&(0..ROWS).map(row).collect::<Vec<_>>());
    let (csv, parquet) = (bytes(&table, Format::Csv).0, bytes(&table, Format::Parquet).0);
    // All its columns have fewer bytes than one of numbers would as they are, and its lineage next to none.
    let one = ROWS as usize * size_of::<i64>();
    assert!(parquet.len() < one, "{} {one}", parquet.len());
    let read = |bytes, format| all(bytes, format, &schema(true)).unwrap();
    assert_eq!(read(csv, Format::Csv), read(parquet, Format::Parquet));
}

#[test]
fn days_and_moments_are_written_as_they_are() {
    let moment = |milliseconds| (None, None, None, None, None, Some(milliseconds));
    let day = |days| (None, None, None, None, Some(days), None);
    let rows = [
        day(0),
        day(*DAYS.start()),
        day(*DAYS.end()),
        moment(0),
        moment(-1),
        moment(253_402_300_799_999),
    ];
    for format in Format::ALL {
        let read = all(bytes(&table(&rows), format).0, format, &schema(true)).unwrap();
        let cell = |row: usize, column: usize| match &read[row][column] {
            Cell::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(cell(0, 9), "1970-01-01", "{format}");
        assert_eq!(cell(1, 9), "0001-01-01", "{format}");
        assert_eq!(cell(2, 9), "9999-12-31", "{format}");
        assert_eq!(cell(3, 10), "1970-01-01 00:00:00", "{format}");
        assert_eq!(cell(4, 10), "1969-12-31 23:59:59.999", "{format}");
        assert_eq!(cell(5, 10), "9999-12-31 23:59:59.999", "{format}");
    }
}

#[test]
fn an_older_file_has_nothing_in_columns_that_came_later() {
    let rows = [(Some("x".to_owned()), Some(1), None, None, None, None)];
    let mut later = schema(true);
    later.columns.push(Column {
        name: "later".to_owned(),
        column_type: ColumnType::Boolean,
        nullable: true,
        description: String::new(),
    });
    for format in Format::ALL {
        let read = all(bytes(&table(&rows), format).0, format, &later).unwrap();
        assert_eq!(read[0].len(), 4 + 8);
        assert_eq!((&read[0][5], &read[0][11]), (&Cell::Text("x".to_owned()), &Cell::Null));
    }
}
