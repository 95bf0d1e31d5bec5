//! Athena: the command against moto's, which takes statements and runs none, and against answers that
//! are scripted, for what moto never says.

use std::{
    collections::VecDeque,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::{
    aws,
    desk::{Desk, Said, said},
    support::{Site, fixture, guest_file},
};

/// A region that nothing else here is asked in: its answers are put into a queue for all.
const REGION: &str = "eu-central-1";

fn desk(arguments: &[&str], environment: &[(&str, &str)]) -> Said {
    let desk = Desk::without_plugins();
    let mut command = desk.command(arguments);
    command.envs(environment.iter().copied());
    said(command.output().unwrap())
}

fn on_moto(arguments: &[&str]) -> Said {
    let desk = Desk::without_plugins();
    let mut command = desk.command(arguments);
    command.envs(aws::environment()).env("AWS_REGION", REGION);
    said(command.output().unwrap())
}

/// What moto is to give for the next statements.
fn expect(results: &[(&[&str], &[&[&str]])]) {
    let result = |(columns, rows): &(&[&str], &[&[&str]])| {
        let info = |name: &&str| {
            let (name, kind) = name.split_once(':').unwrap_or((name, "varchar"));
            json!({ "Name": name, "Label": name, "Type": kind, "CatalogName": "", "SchemaName": "",
                "TableName": "", "Precision": 0, "Scale": 0, "Nullable": "UNKNOWN", "CaseSensitive": true })
        };
        let row = |row: &&[&str]| {
            let cell = |text: &&str| match *text {
                "NULL" => json!({}),
                text => json!({ "VarCharValue": text }),
            };
            json!({ "Data": row.iter().map(cell).collect::<Vec<_>>() })
        };
        json!({
            "rows": rows.iter().map(row).collect::<Vec<_>>(),
            "column_info": columns.iter().map(info).collect::<Vec<_>>(),
        })
    };
    let all: Vec<Value> = results.iter().map(result).collect();
    aws::moto(
        "/moto-api/static/athena/query-results",
        &json!({ "region": REGION, "results": all }),
    );
}

#[test]
fn a_catalog_is_made_compared_and_asked() {
    let Some(site) = Site::bucket() else { return };
    let store = site.place().to_string();
    let built = Desk::without_plugins();
    let plugins = built.path("built");
    let plugins = plugins.to_str().unwrap();
    on_moto(&["init", "--store", &store, "--from", plugins]).ends(0, &[]);
    on_moto(&["catalog", "ddl", "--store", &store])
        .ends(2, &["no tables in s3://", "spotify-etl run"]);
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    let run = ["run", "--store", &store, "--format", "parquet", "--from", demo.to_str().unwrap()];
    on_moto(&run).ends(0, &["song_parquet/snapshot_year=2026/"]);

    let ddl = on_moto(&["catalog", "ddl", "--store", &store, "--json"]);
    let expected: Vec<Value> = serde_json::from_str(&ddl.out).unwrap();
    assert_eq!(expected.len(), 1 + 5 + 5 + 5 + 2);
    let apply = ["catalog", "apply", "--store", &store, "--output", "s3://test-bucket/results/"];
    let old: &[&[&str]] = &[&["files_song_csv_0123abcd"], &["files_other_csv_0123abcd"]];
    // moto gives a result to each statement, whatever it is: the listing is after those of the catalog.
    let after = |listing: &[&[&str]]| {
        let none: (&[&str], &[&[&str]]) = (&[], &[]);
        let mut results = vec![none; expected.len()];
        results.push((&["tab_name"], listing));
        expect(&results);
    };
    after(old);
    on_moto(&apply).ends(
        0,
        &[
            "chart_out",
            "view is there",
            "files_song_csv_0123abcd",
            "old table taken away",
            "SELECT * FROM chart",
        ],
    );
    let ran = aws::statements(REGION);
    for statement in &expected {
        assert!(ran.iter().any(|sql| statement["sql"] == **sql), "{statement}");
    }
    let place = |what: &str| ran.iter().position(|sql| sql.contains(what)).unwrap();
    assert!(place("CREATE DATABASE") < place("CREATE EXTERNAL TABLE"));
    assert!(place("CREATE EXTERNAL TABLE") < place("CREATE OR REPLACE VIEW"));
    assert!(place(".\"chart\" AS") < place(".\"chart_out\" AS"));
    assert!(
        ran.iter().any(|sql| sql == "DROP TABLE IF EXISTS `spotify_etl`.`files_song_csv_0123abcd`")
    );
    assert!(!ran.iter().any(|sql| sql.contains("files_other_csv")));

    // Once more, with nothing to take away.
    after(&[]);
    on_moto(&apply).ends(0, &["view is there"]);

    let mut rows: Vec<[String; 3]> = Vec::new();
    for statement in &expected {
        for column in statement["columns"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            // As Athena tells them.
            let kind = text(&column[1]).replace("timestamp", "timestamp(3)");
            rows.push([text(&statement["name"]), text(&column[0]), kind]);
        }
    }
    let header = ["table_name", "column_name", "data_type"];
    let given = |rows: &[[String; 3]]| {
        let rows: Vec<Vec<&str>> =
            rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let mut all: Vec<&[&str]> = vec![&header];
        all.extend(rows.iter().map(Vec::as_slice));
        expect(&[(&header, &all)]);
    };
    let check = ["catalog", "check", "--store", &store];
    given(&rows);
    on_moto(&check).ends(0, &["Athena's `spotify_etl` has the tables of the store"]);
    rows.retain(|row| !(row[0] == "song" && row[1] == "isrc") && row[0] != "chart");
    rows.iter_mut().find(|row| row[0] == "album" && row[1] == "total_tracks").unwrap()[2] =
        "varchar".to_owned();
    rows.push(["album".to_owned(), "genre".to_owned(), "varchar".to_owned()]);
    rows.push(["files_song_csv_0123abcd".to_owned(), "x".to_owned(), "varchar".to_owned()]);
    given(&rows);
    on_moto(&check).ends(
        1,
        &[
            "chart is missing",
            "song has no column isrc",
            "album.total_tracks is varchar, and should be bigint",
            "album has a column genre that no plugin declares",
            "files_song_csv_0123abcd is of an older catalog",
            "spotify-etl catalog apply",
        ],
    );

    let columns = ["song_name:varchar", "position:bigint", "share:double", "is_latest:boolean"];
    let header = ["song_name", "position", "share", "is_latest"];
    expect(&[(
        &columns,
        &[&header, &["A, B", "1", "0.5", "true"], &["NULL", "2", "NULL", "false"]],
    )]);
    let found = on_moto(&["query", "--athena", "--json", "SELECT something"]);
    assert_eq!(
        found.json(),
        json!([
            { "song_name": "A, B", "position": 1, "share": 0.5, "is_latest": "true" },
            { "song_name": null, "position": 2, "share": null, "is_latest": "false" },
        ]),
        "{}",
        found.err
    );
    found.ends(0, &["Athena read "]);
    // Some statements give a row as one text, and some rows are short.
    expect(&[(&["col_name", "data_type", "comment"], &[&["song_id\tstring\t"], &["# Partition"]])]);
    on_moto(&["query", "--athena", "--csv", "DESCRIBE song"])
        .ends(0, &["song_id,string,\n# Partition,,"]);
}

/// Answers, each with its status.
type Script = Vec<(u16, Value)>;

/// A server that gives one answer after another, whatever it is asked; the last one again and again.
fn scripted(answers: &[(u16, Value)]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let mut answers: VecDeque<(u16, Value)> = answers.iter().cloned().collect();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
            let head = loop {
                let read = stream.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..read]);
                let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
                if let Some(end) = end {
                    break String::from_utf8_lossy(&bytes[..end]).to_lowercase();
                }
            };
            let value = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name));
                line.map(|value| value.trim().to_owned()).unwrap_or_default()
            };
            let length: usize = value("content-length:").parse().unwrap_or_default();
            while bytes.len() < head.len() + 4 + length {
                let read = stream.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..read]);
            }
            shared.lock().unwrap().push(value("x-amz-target:"));
            let (status, body) =
                if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
                    .unwrap();
            let body = body.to_string();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        }
    });
    (address, asked)
}

#[test]
fn whatever_athena_says_the_error_says_what_to_do() {
    let started = (200, json!({ "QueryExecutionId": "q1" }));
    let state = |state: &str, reason: &str, scanned: u64| {
        (
            200,
            json!({ "QueryExecution": {
            "QueryExecutionId": "q1",
            "Status": { "State": state, "StateChangeReason": reason },
            "Statistics": { "DataScannedInBytes": scanned },
        } }),
        )
    };
    let refused = |kind: &str, message: &str| (400, json!({ "__type": kind, "message": message }));
    let cases: Vec<(Script, Vec<&str>)> = vec![
        (
            vec![
                started.clone(),
                state("FAILED", "TABLE_NOT_FOUND: line 1:15: Table 'x' does not exist", 0),
            ],
            vec!["TABLE_NOT_FOUND", "spotify-etl catalog apply"],
        ),
        (
            vec![started.clone(), state("FAILED", "Access Denied (Service: S3)", 0)],
            vec!["Access Denied", "must be allowed to read the store"],
        ),
        (
            vec![started.clone(), state("CANCELLED", "Query cancelled by user", 0)],
            vec!["was cancelled in Athena: Query cancelled by user", "run it again"],
        ),
        (
            vec![refused("TooManyRequestsException", "Rate exceeded")],
            vec!["TooManyRequestsException: Rate exceeded", "only so many statements at a time"],
        ),
        (
            vec![refused(
                "AccessDeniedException",
                "not authorized to perform: athena:StartQueryExecution",
            )],
            vec!["must be allowed athena:StartQueryExecution"],
        ),
        (
            vec![refused("InvalidRequestException", "No output location provided.")],
            vec!["No output location", "--output s3://bucket/prefix/"],
        ),
        (
            vec![refused("InvalidRequestException", "WorkGroup x is not found.")],
            vec!["name a workgroup that is there"],
        ),
        (
            vec![started.clone(), state("RUNNING", "", 200 << 20)],
            vec!["stopped after it had read 200.0 MiB, and 100.0 MiB is the most"],
        ),
        (
            vec![started.clone(), state("RUNNING", "", 5)],
            vec!["was not done after 1 seconds", "--limit query_seconds="],
        ),
    ];
    for (answers, parts) in cases {
        let (address, asked) = scripted(&answers);
        let arguments =
            ["query", "--athena", "--max-scan", "100MiB", "--limit", "query_seconds=1", "SELECT 1"];
        let environment = [
            ("AWS_ENDPOINT_URL", address.as_str()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", REGION),
            ("AWS_MAX_ATTEMPTS", "1"),
        ];
        let said = desk(&arguments, &environment);
        said.ends(2, &parts);
        let asked = asked.lock().unwrap();
        if said.err.contains("stopped") {
            assert_eq!(asked.last().unwrap(), "amazonathena.stopqueryexecution", "{}", said.err);
        }
    }
}

#[test]
fn the_catalog_of_a_folder_can_be_printed_for_a_bucket_and_not_applied() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.say(&["run", "--from", demo.to_str().unwrap()]).ends(0, &[]);
    let said =
        desk.say(&["catalog", "ddl", "--location", "s3://music/lists", "--database", "music"]);
    said.ends(
        0,
        &[
            "CREATE DATABASE IF NOT EXISTS `music`;",
            "LOCATION 's3://music/lists/transformed_data/song_data/'",
            "'escapeChar' = '\\u007f'",
            "CREATE OR REPLACE VIEW \"music\".\"chart\" AS",
            "COMMENT 'the artist\u{2019}s name'",
        ],
    );
    assert!(!said.out.contains("reads buckets alone"), "{}", said.out);
    desk.say(&["catalog", "ddl"]).ends(0, &["Athena reads buckets alone", "LOCATION 'file:///"]);
    for name in ["My-Music", "x`; DROP TABLE y; --", "a\"b", "", &"a".repeat(256)] {
        desk.say(&["catalog", "ddl", "--database", name]).ends(2, &["is no name for a database"]);
        let mut command = desk.command(&["query", "--athena", "SELECT 1"]);
        command.env("SPOTIFY_ETL_DATABASE", name).env("AWS_REGION", REGION);
        let said = said_of(command);
        // An empty variable is none.
        if !name.is_empty() {
            said.ends(2, &["is no name for a database"]);
        }
    }
    desk.write("data/tables/odd.json", b"{}");
    desk.say(&["catalog", "ddl", "--location", "s3://music"])
        .ends(0, &["a table is left out", "odd.json is not a table's record", "chart_out"]);
    desk.say(&["catalog", "ddl", "--location", "s3://it's"]).ends(2, &["has a quote"]);
    let mut command = desk.command(&["catalog", "apply"]);
    command.env("AWS_REGION", REGION);
    said_of(command).ends(2, &["Athena reads buckets alone", "spotify-etl query"]);
}

fn said_of(mut command: std::process::Command) -> Said {
    said(command.output().unwrap())
}

#[test]
fn a_publication_ends_with_the_catalog_that_follows() {
    let Some(site) = Site::bucket() else { return };
    // Where no other test has put answers into the queue.
    const REGION: &str = "eu-south-1";
    let (store, desk) = (site.place().to_string(), Desk::bare());
    let say = |arguments: &[&str]| {
        let mut command = desk.command(arguments);
        command.envs(aws::environment()).env("AWS_REGION", REGION);
        command.env("SPOTIFY_ETL_STORE", &store);
        command.env("SPOTIFY_ETL_QUERY_OUTPUT", "s3://test-bucket/results/");
        said(command.output().unwrap())
    };
    let guest = |name: &str| std::fs::read(guest_file(name)).unwrap();
    desk.write("first/tracks.wasm", &guest("tracks_1"));
    desk.write("next/tracks.wasm", &guest("tracks_column"));
    say(&["init", "--from", "first"]).ends(0, &[]);
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    say(&["run", "--from", demo.to_str().unwrap()]).ends(0, &[]);
    // A store that has no catalog gets none.
    let publish = ["plugin", "publish", "next/tracks.wasm", "--yes", "--replay"];
    say(&publish).ends(0, &["is the active version"]);
    assert!(aws::statements(REGION).is_empty());
    say(&["plugin", "rollback", "tracks", "--replay"]).ends(0, &[]);
    say(&["catalog", "apply"]).ends(0, &["files_tracks_csv_"]);
    desk.write("next/tracks.wasm", &guest("tracks_renamed"));
    say(&publish)
        .ends(0, &["is of generation 2", "Athena's `spotify_etl` has its tables as they are now"]);
    assert!(aws::statements(REGION).iter().any(|sql| sql.contains("`title`")));
    let mut command = desk.command(&["plugin", "list", "--json", "--store", &store]);
    let list = said(command.envs(aws::environment()).output().unwrap()).json();
    assert_eq!(list["history"].as_array().unwrap().len(), 3);
}
