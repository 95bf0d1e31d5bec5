//! The tables in SQL: the views' rows as somebody worked them out by hand, and the catalog's text.

use std::{collections::BTreeMap, fs, path::PathBuf};

use spotify_etl::{
    answer::{Answer, Cell},
    catalog::{CatalogTable, Dialect, Kind, is_outdated, mark, script, statements, views},
    layout::Format,
    pipeline::{
        Mode,
        replay::Change,
        tables::{TablesError, database, tables},
    },
    query::{Database, QueryError},
    schema::{Column, ColumnType, Scope, TableSchema},
};

use crate::support::{Nobody, Place, fixture, json_files, land_as_named, replay, tests, wait};

/// A history of three playlists: what is in it is told in `tests/fixtures/history/README.md`.
fn history(format: Format) -> Place {
    let place = Place::new();
    wait(land_as_named(&place.store, &json_files(&fixture("history")))).unwrap();
    assert_eq!(place.transform().documents.len(), 14);
    if format == Format::Parquet {
        let change = Change::Formats(vec![Format::Parquet]);
        let (report, _) = wait(replay(&place.store, change, Mode::Write)).unwrap();
        assert_eq!((report.files_written, report.switched.len()), (70, 5), "{:?}", report.stopped);
    }
    place
}

fn opened(place: &Place) -> Database {
    let found = wait(tables(&place.store)).unwrap();
    wait(database(&place.store, &found, &Nobody)).unwrap().0
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => format!("{number:?}"),
        Cell::Text(text) => text.clone(),
    }
}

fn rows(answer: &Answer) -> Vec<Vec<String>> {
    answer.rows.iter().map(|row| row.iter().map(text).collect()).collect()
}

/// What a CSV file has; true and false are 1 and 0 at home.
fn expected(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let plain = |cell: &str| match cell {
        "true" => "1".to_owned(),
        "false" => "0".to_owned(),
        other => other.to_owned(),
    };
    let rows = reader.records().map(|row| row.unwrap().iter().map(plain).collect()).collect();
    (header, rows)
}

#[test]
fn views_have_the_rows_that_were_worked_out_by_hand() {
    let order = BTreeMap::from([
        ("album_latest", "album_id"),
        ("artist_latest", "artist_id"),
        ("song_latest", "playlist_id, position"),
        ("song_artist_latest", "playlist_id, song_id, artist_position"),
        ("snapshot_latest", "playlist_id"),
        ("chart", "playlist_id, week, position"),
        ("chart_out", "playlist_id, week, last_position"),
    ]);
    for format in Format::ALL {
        let place = history(format);
        let database = opened(&place);
        for (view, order) in &order {
            let file = tests().join(format!("fixtures/history/expected/{view}.csv"));
            let (header, expected) = expected(&fs::read_to_string(file).unwrap());
            let found = database.ask(&format!("SELECT * FROM {view} ORDER BY {order}")).unwrap();
            assert_eq!(found.columns, header, "{view}");
            assert_eq!(rows(&found), expected, "{view} over {format}");
        }
    }
}

#[test]
fn the_ten_questions_are_answered_as_written() {
    let place = history(Format::Csv);
    let database = opened(&place);
    let file = tests().join("../host/src/catalog/QUESTIONS.md");
    let text = fs::read_to_string(file).unwrap();
    let block = |part: &str, kind: &str| {
        let (_, after) = part.split_once(&format!("```{kind}\n")).unwrap();
        after.split_once("```").unwrap().0.to_owned()
    };
    let questions: Vec<&str> = text.split("\n## ").skip(1).collect();
    assert_eq!(questions.len(), 10);
    for question in questions {
        let title = question.lines().next().unwrap();
        let (header, expected) = expected(&block(question, "csv"));
        let found = database.ask(&block(question, "sql")).unwrap_or_else(|error| {
            panic!("{title}: {error}");
        });
        assert_eq!((found.columns.clone(), rows(&found)), (header, expected), "{title}");
    }
}

#[test]
fn what_can_not_be_answered_says_what_to_write_instead() {
    let database = opened(&history(Format::Csv));
    for (sql, part) in [
        ("SELECT * FROM song WHERE snapshot_date > DATE '2026-01-01'", "write '2026-07-06'"),
        ("SELECT snapshot_date + INTERVAL '7' DAY FROM song", "date_add('day', -7"),
        ("SELECT try_cast(position AS bigint) FROM song", "CAST does here what TRY_CAST does"),
        ("SELECT regexp_like(song_name, 'x') FROM song", "ask there with --athena"),
        ("SELECT CAST(snapshot_date AS date) FROM song", "write date(snapshot_date)"),
        ("SELECT \"no_such\" FROM song", "no such column: \"no_such\""),
        ("SELECT 1 FROM sng", "there are album, album_latest, artist"),
        ("PRAGMA table_info(song)", "only a SELECT can be asked"),
        ("SELECT no_such FROM song", "no such column: no_such"),
        ("SELECT year(song_name) FROM song", "is no day or moment, such as '2026-07-06'"),
        ("DELETE FROM song", "only a SELECT can be asked"),
        ("SELECT 1; SELECT 2", "only a SELECT can be asked, and a single one"),
    ] {
        let error = database.ask(sql).unwrap_err().to_string();
        assert!(error.contains(part), "{sql}: {error}");
    }
    let place = Place::new();
    let error = wait(tables(&place.store)).unwrap_err();
    assert!(matches!(error, TablesError::None { .. }), "{error}");
    assert!(error.to_string().contains("spotify-etl run --store"), "{error}");
}

#[test]
fn a_saved_database_is_one_for_any_program_and_replaces_only_its_like() {
    let place = history(Format::Csv);
    let found = wait(tables(&place.store)).unwrap();
    let (database, views) = wait(database(&place.store, &found, &Nobody)).unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "mine").unwrap();
    let error = database.save(&views, &text).unwrap_err();
    assert!(matches!(error, QueryError::InTheWay { .. }), "{error}");
    assert_eq!(fs::read_to_string(&text).unwrap(), "mine");

    let other = folder.path().join("other.sqlite");
    fs::write(&other, [&b"SQLite format 3\0"[..], &[0; 200]].concat()).unwrap();
    assert!(matches!(database.save(&views, &other), Err(QueryError::InTheWay { .. })));
    fs::remove_file(&other).unwrap();
    let missing = folder.path().join("missing/music.sqlite");
    let error = database.save(&views, &missing).unwrap_err().to_string();
    assert!(error.contains("there is no folder"), "{error}");

    let file = folder.path().join("music.sqlite");
    database.save(&views, &file).unwrap();
    let first = fs::read(&file).unwrap();
    assert!(first.starts_with(b"SQLite format 3\0"));
    opened(&place).save(&views, &file).unwrap();
    assert_eq!(fs::read(&file).unwrap().len(), first.len());
    let names: Vec<PathBuf> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

fn column(name: &str, column_type: ColumnType) -> Column {
    Column { name: name.to_owned(), column_type, nullable: true, description: "It's 'x\\;".into() }
}

fn table(name: &str, scope: Scope) -> CatalogTable {
    let schema = TableSchema {
        name: name.to_owned(),
        description: "A\nthing".to_owned(),
        scope,
        columns: vec![column("id", ColumnType::Text), column("order", ColumnType::Date)],
        key: vec!["id".to_owned()],
    };
    CatalogTable { schema, generation: 1, format: Format::Csv }
}

#[test]
fn another_definition_is_another_table_behind_the_same_name() {
    let of = |table: &CatalogTable| statements(std::slice::from_ref(table), "db", "s3://b/");
    let files = |table: &CatalogTable| {
        let all = of(table);
        all.into_iter().find(|statement| statement.kind == Kind::Table).unwrap()
    };
    let first = table("thing", Scope::Entity);
    let mut others = vec![first.clone(); 4];
    others[0].schema.columns.push(column("more", ColumnType::Int64));
    others[1].generation = 2;
    others[2].format = Format::Parquet;
    others[3].schema.columns[0].description = "other words".to_owned();
    for other in &others {
        assert_ne!(files(other).name, files(&first).name);
        assert!(is_outdated(&files(&first).name, &of(other)));
        assert!(!is_outdated(&files(other).name, &of(other)));
        assert_ne!(mark(&of(other)), mark(&of(&first)));
    }
    for name in ["thing", "files_thing_csv_zzzzzzzz", "files_other_csv_01234567", "mine"] {
        assert!(!is_outdated(name, &of(&first)), "{name}");
    }
    let names: Vec<_> =
        of(&first).into_iter().map(|statement| (statement.step, statement.name)).collect();
    assert_eq!(names[2..], [(2, "thing".to_owned()), (3, "thing_latest".to_owned())]);
    let text = script(&of(&first), Some("one\ntwo"));
    assert!(text.contains("\n-- one\n-- two\n"), "{text}");
    // What a statement is cut at, or a comment ended by, is not in it.
    assert!(text.contains("COMMENT 'It\u{2019}s \u{2019}x/,'"), "{text}");
    assert!(text.contains("COMMENT 'A thing'"), "{text}");
    assert_eq!(text.matches(";\n").count(), of(&first).len());
    assert!(text.contains("CAST(\"order\" AS") || text.contains("nullif(\"order\", '')"), "{text}");
}

#[test]
fn a_view_gives_way_to_a_table_of_its_name_and_is_not_made_of_columns_that_nobody_declares() {
    let made = ["a", "a_latest", "b"].map(|name| table(name, Scope::Snapshot));
    let schemas: Vec<_> = made.iter().map(|table| &table.schema).collect();
    let names = |schemas: &[&TableSchema]| {
        let views = views(schemas, Dialect::Sqlite, "");
        views.into_iter().map(|view| view.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&schemas), ["a_latest_latest", "b_latest"]);

    let place = history(Format::Csv);
    let found = wait(tables(&place.store)).unwrap();
    let all: Vec<&TableSchema> = found.iter().map(|table| &table.schema).collect();
    assert!(names(&all).ends_with(&["chart".to_owned(), "chart_out".to_owned()]));
    for without in ["album", "artist", "song", "song_artist", "snapshot"] {
        let some: Vec<_> = all.iter().copied().filter(|table| table.name != without).collect();
        assert!(!names(&some).iter().any(|name| name.starts_with("chart")), "{without}");
    }
    let chart = table("chart", Scope::Snapshot);
    let with: Vec<_> = all.iter().copied().chain([&chart.schema]).collect();
    assert!(!names(&with).iter().any(|name| name == "chart" || name == "chart_out"));
}

#[test]
fn no_table_is_read_that_a_record_does_not_name() {
    let place = history(Format::Csv);
    let before = opened(&place).ask("SELECT count(*) FROM song").unwrap();
    place.write("transformed_data/song_data_g2/snapshot_year=2026/x.csv", b"nonsense");
    place.write("transformed_data/song_data/notes.txt", b"nonsense");
    assert_eq!(opened(&place).ask("SELECT count(*) FROM song").unwrap(), before);
    // A table file that is none is told, with what to do.
    let key = place.files().into_keys().find(|key| key.contains("song_data/snapshot")).unwrap();
    place.write(&key, b"a,\xff\xfe\n\"");
    let found = wait(tables(&place.store)).unwrap();
    let error = wait(database(&place.store, &found, &Nobody)).err().unwrap().to_string();
    assert!(error.contains(&key) && error.contains("replay"), "{error}");
    fs::remove_file(place.path(&key)).unwrap();
    let (report, _) = wait(replay(&place.store, Change::None, Mode::Write)).unwrap();
    assert_eq!((report.documents_rewritten, report.documents_equal), (1, 13));
    assert_eq!(opened(&place).ask("SELECT count(*) FROM song").unwrap(), before);
}
