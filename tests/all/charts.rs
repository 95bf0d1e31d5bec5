//! What `chart`, `chart_out` and the `_latest` views conclude from a history, one rule for each playlist of
//! `tests/fixtures/charts`, and how their columns compare.

use std::fs;

use spotify_etl::{
    answer::Cell,
    layout::Format,
    pipeline::{Mode, replay::Change, tables::tables},
};

use crate::{
    sql::{expected, history, opened, rows},
    support::{Place, fixture, json_files, land_as_named, replay, wait},
};

/// Returns a store with the playlists of `tests/fixtures/charts`.
fn charts(format: Format) -> Place {
    let place = Place::new();
    wait(land_as_named(&place.store, &json_files(&fixture("charts")))).unwrap();
    place.transform();
    if format == Format::Parquet {
        let change = Change::Formats(vec![Format::Parquet]);
        wait(replay(&place.store, change, Mode::Write)).unwrap();
    }
    place
}

#[test]
fn each_rule_of_the_charts_gives_the_rows_worked_out_by_hand() {
    let latest = "SELECT playlist_id, snapshot_date, complete,
          (SELECT count(*) FROM song_latest WHERE song_latest.document = snapshot_latest.document) AS songs
        FROM snapshot_latest ORDER BY playlist_id";
    for format in Format::ALL {
        let place = charts(format);
        for (name, order) in [
            ("chart", "playlist_id, week, position"),
            ("chart_out", "playlist_id, week, last_position"),
            ("snapshot_latest", ""),
        ] {
            let file = fixture("charts").join(format!("{name}.csv"));
            let (header, expected) = expected(&fs::read_to_string(file).unwrap());
            let columns = header.join(", ");
            let sql = match order {
                "" => latest.to_owned(),
                order => format!("SELECT {columns} FROM {name} ORDER BY {order}"),
            };
            let found = opened(&place).ask(&sql).unwrap();
            assert_eq!(found.columns, header, "{name}");
            let found = rows(&found);
            for (row, other) in found.iter().zip(&expected) {
                assert_eq!(row, other, "{name} over {format}");
            }
            assert_eq!(found.len(), expected.len(), "{name} over {format}");
        }
        // A document without songs is in no view of the newest state.
        let sql = "SELECT count(*) FROM snapshot WHERE tracks = 0 AND entries > 0";
        assert_eq!(rows(&opened(&place).ask(sql).unwrap()), [["2"]]);
    }
}

#[test]
fn a_document_has_one_row_of_each_song_whatever_its_ids() {
    let place = charts(Format::Csv);
    for key in ["song_id", "first_song_id", "position"] {
        let sql = format!("SELECT count(*) - count(DISTINCT document || ' ' || {key}) FROM chart");
        assert_eq!(rows(&opened(&place).ask(&sql).unwrap()), [["0"]], "{key}");
    }
}

/// Returns conditions that a value meets in a column with a declared type: a number compares as a number with a
/// text, and a text as a text with a number.
fn conditions(column: &str, value: &Cell) -> Vec<String> {
    match value {
        Cell::Integer(number) if *number >= 0 => vec![
            format!("{column} = {number}"),
            format!("{column} = '{number}'"),
            format!("{column} = '0{number}'"),
            format!("{column} < '{}'", i64::MAX),
            format!("{column} IN ('{number}')"),
        ],
        Cell::Integer(number) => vec![format!("{column} = '{number}'"), format!("{column} < '0'")],
        Cell::Text(value) => {
            let mut conditions = vec![format!("{column} = '{}'", value.replace('\'', "''"))];
            if value.starts_with(|first: char| matches!(first, '0'..='8')) {
                conditions.push(format!("{column} < 9"));
            }
            conditions
        }
        other => panic!("{column}: {other:?}"),
    }
}

#[test]
fn a_column_of_a_view_compares_like_one_of_a_table() {
    for place in [history(Format::Csv), charts(Format::Csv)] {
        let database = opened(&place);
        let ask = |sql: &str| database.ask(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let found = wait(tables(&place.store)).unwrap().tables;
        let mut names = vec!["chart".to_owned(), "chart_out".to_owned()];
        for table in &found {
            names.extend([table.schema.name.clone(), format!("{}_latest", table.schema.name)]);
        }
        for name in names {
            let all = ask(&format!("SELECT * FROM {name}"));
            for (place, column) in all.columns.iter().enumerate() {
                let values = all.rows.iter().map(|row| &row[place]);
                let Some(value) = values.into_iter().find(|value| **value != Cell::Null) else {
                    continue;
                };
                for condition in conditions(column, value) {
                    let sql = format!("SELECT count(*) > 0 FROM {name} WHERE {condition}");
                    assert_eq!(rows(&ask(&sql)), [["1"]], "{sql}");
                }
            }
        }
    }
}
