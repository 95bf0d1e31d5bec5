//! The tables in SQL: the views' rows as somebody worked them out by hand, and the catalog's text.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use spotify_etl::{
    answer::{Answer, Cell},
    catalog::{
        CatalogTable, DatabaseName, Dialect, Kind, is_outdated, mark, script, statements, views,
    },
    layout::Format,
    pipeline::{
        Mode,
        replay::Change,
        tables::{LocalSql, TablesError, tables},
    },
    query::QueryError,
    schema::{Column, ColumnType, Scope, TableSchema},
};

use crate::support::{
    NOW, Nobody, Place, fixture, json_files, land_as_named, query, replay, tests, wait,
};

/// A history of three playlists: what is in it is told in `tests/fixtures/history/README.md`.
pub fn history(format: Format) -> Place {
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

/// SQL over a store, with nothing kept between questions.
pub struct Opened<'p>(&'p Place);

impl Opened<'_> {
    pub fn ask(&self, sql: &str) -> Result<Answer, TablesError> {
        wait(query(&self.0.store, sql))
    }
}

pub fn opened(place: &Place) -> Opened<'_> {
    Opened(place)
}

fn save(place: &Place, path: &Path) -> Result<usize, TablesError> {
    let tables = wait(tables(&place.store)).unwrap().tables;
    let store = &place.store;
    let sources = LocalSql { store, tables: &tables, cache: None, now: NOW, progress: &Nobody };
    wait(sources.save(path))
}

fn text(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => format!("{number:?}"),
        Cell::Text(text) => text.clone(),
    }
}

/// Returns the rows of an answer as text.
pub fn rows(answer: &Answer) -> Vec<Vec<String>> {
    answer.rows.iter().map(|row| row.iter().map(text).collect()).collect()
}

/// Returns the header and the rows of a CSV text; true and false are 1 and 0, as in local answers.
pub fn expected(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
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
    let place = history(Format::Csv);
    let database = opened(&place);
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
    let folder = tempfile::TempDir::new().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "mine").unwrap();
    let error = save(&place, &text).unwrap_err();
    let is_in_the_way =
        |error: &TablesError| matches!(error, TablesError::Query(QueryError::InTheWay { .. }));
    assert!(is_in_the_way(&error), "{error}");
    assert_eq!(fs::read_to_string(&text).unwrap(), "mine");

    let other = folder.path().join("other.sqlite");
    fs::write(&other, [&b"SQLite format 3\0"[..], &[0; 200]].concat()).unwrap();
    assert!(is_in_the_way(&save(&place, &other).unwrap_err()));
    fs::remove_file(&other).unwrap();
    let missing = folder.path().join("missing/music.sqlite");
    let error = save(&place, &missing).unwrap_err().to_string();
    assert!(error.contains("there is no folder"), "{error}");

    let file = folder.path().join("music.sqlite");
    assert_eq!(save(&place, &file).unwrap(), 7);
    let first = fs::read(&file).unwrap();
    assert!(first.starts_with(b"SQLite format 3\0"));
    save(&place, &file).unwrap();
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
    let database: DatabaseName = "db".parse().unwrap();
    let of = |table: &CatalogTable| statements(std::slice::from_ref(table), &database, "s3://b/");
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
        let views = views(schemas, Dialect::Sqlite);
        views.into_iter().map(|view| view.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&schemas), ["a_latest_latest", "b_latest"]);

    let place = history(Format::Csv);
    let found = wait(tables(&place.store)).unwrap().tables;
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
    let error = opened(&place).ask("SELECT * FROM song").unwrap_err().to_string();
    assert!(error.contains(&key) && error.contains("replay"), "{error}");
    fs::remove_file(place.path(&key)).unwrap();
    let (report, _) = wait(replay(&place.store, Change::None, Mode::Write)).unwrap();
    assert_eq!((report.documents_rewritten, report.documents_equal), (1, 13));
    assert_eq!(opened(&place).ask("SELECT count(*) FROM song").unwrap(), before);
}

/// Writes a table record that another program may have left.
fn record(place: &Place, key: &str, name: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let mut record = place.read_json("tables/artist.json");
    record["schema"]["name"] = name.into();
    change(&mut record);
    place.write(&format!("tables/{key}.json"), record.to_string().as_bytes());
}

#[test]
fn a_table_record_writes_no_sql() {
    let place = history(Format::Csv);
    let target = place.folder.path().join("planted.sqlite");
    let name = format!(
        "zz\" (a); ATTACH DATABASE '{}' AS p; CREATE TABLE p.q(a); CREATE TABLE \"y",
        target.display()
    );
    record(&place, "zz", &name, |_| {});
    record(&place, "generation", "generation", |record| record["generation"] = 0.into());
    record(&place, "many", "many", |record| record["generation"] = u32::MAX.into());
    record(&place, "formats", "formats", |record| record["formats"] = serde_json::json!([]));
    record(&place, "twice", "twice", |record| {
        record["formats"] = serde_json::json!(["csv", "csv"]);
    });
    record(&place, "owner", "owner", |record| record["owner"] = "../../x\u{1b}[2J".into());
    record(&place, "column", "column", |record| {
        record["schema"]["columns"][0]["name"] = "a\" TEXT); SELECT load_extension('x') --".into();
    });
    record(&place, "other", "song", |_| {});
    place.write("tables/large.json", &vec![b' '; 5 << 20]);
    place.write("tables/none.json", b"[]");
    let found = wait(tables(&place.store)).unwrap();
    let names: Vec<_> = found.tables.iter().map(|table| table.schema.name.as_str()).collect();
    assert_eq!(names, ["album", "artist", "snapshot", "song", "song_artist"]);
    let left_out = found.left_out.join("\n");
    for part in [
        "tables/zz.json is not a table's record: it is about table `zz\\\"",
        "its generation is 0",
        "its generation is 4294967295",
        "it names no format",
        "it names the format csv twice",
        "its owner `../../x\\u{1b}[2J` is no name of a plugin",
        "column `a\\\" TEXT); SELECT",
        "tables/other.json is not a table's record: it is about table `song`",
        "tables/large.json is not a table's record: it has 5.0 MiB, and the limit is 4.0 MiB",
        "tables/none.json is not a table's record",
    ] {
        assert!(left_out.contains(part), "{part} in {left_out}");
    }
    let store = &place.store;
    let sources =
        LocalSql { store, tables: &found.tables, cache: None, now: NOW, progress: &Nobody };
    assert!(!wait(sources.ask("SELECT * FROM song")).unwrap().rows.is_empty());
    let database: DatabaseName = "db".parse().unwrap();
    assert!(!script(&statements(&found.tables, &database, "s3://b/"), None).contains("ATTACH"));
    assert!(!target.exists());
}

#[test]
fn a_statement_of_a_user_only_reads() {
    let place = history(Format::Csv);
    let folder = tempfile::TempDir::new().unwrap();
    let target = folder.path().join("planted.sqlite");
    let at = target.display();
    for sql in [
        format!("ATTACH DATABASE '{at}' AS p"),
        format!("VACUUM INTO '{at}'"),
        "CREATE TEMP TABLE x AS SELECT * FROM song".to_owned(),
        "CREATE TABLE x (a)".to_owned(),
        "DROP TABLE song".to_owned(),
        "REPLACE INTO song (document) VALUES ('x')".to_owned(),
        "WITH x AS (SELECT 1) DELETE FROM song".to_owned(),
        "WITH x AS (SELECT 'x' AS d) INSERT INTO song (document) SELECT d FROM x RETURNING document"
            .to_owned(),
        "/* */ PRAGMA writable_schema = ON".to_owned(),
        "SELECT * FROM pragma_database_list".to_owned(),
        "SELECT * FROM pragma_table_info('song'), song".to_owned(),
        "REINDEX".to_owned(),
        "BEGIN".to_owned(),
        "SAVEPOINT x".to_owned(),
    ] {
        let error = opened(&place).ask(&sql).unwrap_err().to_string();
        let is_refused = error.contains("only a SELECT") || error.contains("not authorized");
        assert!(is_refused, "{sql}: {error}");
    }
    for sql in ["SELECT load_extension('x')", "SELECT load_extension('x', 'y') FROM song"] {
        opened(&place).ask(sql).unwrap_err();
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // Everything that only asks is answered.
    for (sql, expected) in [
        (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) FROM n",
            "15",
        ),
        ("SELECT sum(value) FROM json_each('[1,2,3]')", "6"),
        ("SELECT count(*) FROM sqlite_master WHERE name = 'song'", "1"),
        ("WITH song AS (SELECT 7 AS a) SELECT count(*) FROM song", "1"),
        ("SELECT count(*) > 0 FROM song AS a LEFT JOIN album AS b USING (document)", "1"),
        ("SELECT count(*) > 0 FROM song NATURAL JOIN song_artist", "1"),
        ("SELECT count(*) > 0 FROM (SELECT * FROM song) NATURAL LEFT JOIN artist", "1"),
    ] {
        let answer = opened(&place).ask(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows(&answer), [[expected]], "{sql}");
    }
    for sql in
        ["SELECT rowid FROM song", "SELECT * FROM loaded_files", "SELECT * FROM \"rows of song\""]
    {
        let error = opened(&place).ask(sql).unwrap_err().to_string();
        assert!(error.contains("no such"), "{sql}: {error}");
    }
    let error = opened(&place).ask("SELECT name FROM sqlite_master, song").unwrap_err().to_string();
    assert!(error.contains("SQLite's list of them"), "{error}");
}

#[test]
fn tables_with_reserved_names_are_left_out_and_end_no_other() {
    let place = history(Format::Csv);
    let expected = opened(&place).ask("SELECT * FROM chart ORDER BY 1, 3, 6").unwrap();
    let reserved =
        ["sqlite", "sqlite_x", "chart", "chart_out", "files", "files_song", "song_latest"];
    for name in reserved {
        record(&place, name, name, |_| {});
    }
    record(&place, "ranking", "ranking", |_| {});
    let found = wait(tables(&place.store)).unwrap();
    assert_eq!(
        (found.tables.len(), found.left_out.len()),
        (6, reserved.len()),
        "{:?}",
        found.left_out
    );
    assert!(found.left_out.iter().all(|problem| problem.contains("reserved")));
    let store = &place.store;
    let sources =
        LocalSql { store, tables: &found.tables, cache: None, now: NOW, progress: &Nobody };
    assert_eq!(wait(sources.ask("SELECT * FROM chart ORDER BY 1, 3, 6")).unwrap(), expected);
    // Views of other tables look into this one, and would be wrong without it.
    place.write("tables/snapshot.json", b"{}");
    let error = wait(tables(&place.store)).unwrap_err();
    assert!(matches!(error, TablesError::Records { .. }), "{error}");
}

#[test]
fn a_keyless_table_of_another_plugin_changes_no_latest_rows() {
    let place = history(Format::Csv);
    let found = wait(tables(&place.store)).unwrap().tables;
    let mut other = table("a_first", Scope::Snapshot);
    other.schema.key.clear();
    let database: DatabaseName = "db".parse().unwrap();
    for dialect in [Dialect::Sqlite, Dialect::Athena(&database)] {
        let of = |tables: &[&TableSchema]| -> BTreeMap<String, String> {
            views(tables, dialect).into_iter().map(|view| (view.name, view.select)).collect()
        };
        let all: Vec<&TableSchema> = found.iter().map(|table| &table.schema).collect();
        let before = of(&all);
        let with: Vec<&TableSchema> = [&other.schema].into_iter().chain(all.clone()).collect();
        let mut after = of(&with);
        assert!(after.remove("a_first_latest").unwrap().contains("snapshot"));
        assert_eq!(after, before);
        assert!(before["song_latest"].contains("UNION"));
        // Without the table of documents, none takes its place.
        let without: Vec<&TableSchema> =
            with.into_iter().filter(|table| table.name != "snapshot").collect();
        assert!(!of(&without)["song_latest"].contains("UNION"));
    }
}

#[test]
fn a_comment_of_the_catalog_turns_no_text_around() {
    let mut odd = table("thing", Scope::Entity);
    odd.schema.description = "a\u{202e}b\u{2066}c\u{9b}d\u{200f}e".to_owned();
    let database: DatabaseName = "db".parse().unwrap();
    let text = script(&statements(&[odd], &database, "s3://b/"), None);
    assert!(text.contains("COMMENT 'a b c d e'"), "{text}");
}
