//! The function as Lambda runs it: the built `bootstrap`, events through the Runtime API, a bucket
//! over the wire, and the Web API on loopback.

use std::{fs, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use spotify_etl::document::sha256;
use spotify_etl::{
    config::Limits,
    spotify::{Account, Login},
    vault::login_place,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    aws,
    desk::{Desk, said},
    runtime_api::Lambda,
    support::{Site, command_file, fixture, guest_file, land, plugin_file, wait},
    wat::assembled,
    web_api::{CLIENT_ID, Mode, WebApi},
};

const ID: &str = "3cEYpjA9oz9GiPac4AsH4n";

#[test]
fn from_a_schedule_to_tables_with_a_plugin_swapped_in_between() {
    let Some(site) = Site::bucket() else { return };
    let api = WebApi::new(Mode::Extended);
    api.playlist(ID, 60);
    let lambda = Lambda::start(&site, &api);

    let scheduled = json!({ "extract": [ID], "scheduled_at": "2026-07-06T06:00:00Z" });
    let answer = lambda.invoke(scheduled.clone()).unwrap();
    assert_eq!((&answer["exit_status"], &answer["playlists"]), (&json!(0), &json!(1)));
    let landed = lambda.keys("raw_data/to_process/");
    assert_eq!(landed.len(), 1);
    // The same schedule again, as it comes twice: nothing is asked.
    api.forget_requests();
    lambda.invoke(scheduled).unwrap();
    assert_eq!(api.paths(), ["api/token"]);
    assert_eq!(lambda.keys("raw_data/to_process/"), landed);

    lambda.invoke(lambda.created(&landed[0])).unwrap();
    assert_eq!(lambda.keys("raw_data/to_process/"), [""; 0]);
    assert_eq!(lambda.keys("transformed_data/").len(), 5);
    // The event comes late once more, and one of another bucket, and one about nothing of ours.
    lambda.invoke(lambda.created(&landed[0])).unwrap();
    let mut foreign = lambda.created(&landed[0]);
    foreign["Records"][0]["s3"]["bucket"]["name"] = json!("another");
    lambda.invoke(foreign).unwrap();
    lambda.invoke(lambda.created("transformed_data/x.csv")).unwrap();

    // A plugin that is none: said beside it at once, and documents go on with the one before.
    lambda.put("plugins/song.wasm", b"not a plugin");
    lambda.invoke(lambda.created("plugins/song.wasm")).unwrap();
    let said = wait(lambda.store.get("plugins/song.wasm.error.json")).unwrap().unwrap().bytes;
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(
        (&said["sha256"], &said["used_instead"]),
        (&json!(sha256(b"not a plugin")), &json!("0.1.0"))
    );
    let fixture_of = |name: &str| fs::read(fixture(&format!("playlists/{name}.json"))).unwrap();
    let key = "raw_data/to_process/été x 2026-07-13 06-00-00.json";
    lambda.put(key, &fixture_of("same_track_twice"));
    lambda.invoke(lambda.created(key)).unwrap();
    assert_eq!(lambda.keys("transformed_data/song_data/").len(), 2);

    // Another plugin beside them, warm: the next event uses it.
    lambda.put("plugins/song.wasm", &fs::read(plugin_file("song")).unwrap());
    lambda.put("plugins/decade.wasm", &fs::read(guest_file("decade")).unwrap());
    lambda.invoke(lambda.created("plugins/decade.wasm")).unwrap();
    lambda.invoke(lambda.created("plugins/song.wasm")).unwrap();
    assert_eq!(lambda.keys("plugins/song.wasm.error.json"), [""; 0]);
    let key = "raw_data/to_process/x_2026-07-20_06-00-00.json";
    lambda.put(key, &fixture_of("no_payload"));
    lambda.invoke(lambda.created(key)).unwrap();
    assert_eq!(lambda.keys("raw_data/to_process/"), [""; 0]);
    assert_eq!(lambda.keys("transformed_data/song_data/").len(), 3);
    assert!(lambda.keys("transformed_data/").iter().any(|key| key.contains("decade")));
    let check = lambda.invoke(json!({ "check": {} })).unwrap();
    assert_eq!(check["status"]["playlists"].as_array().unwrap().len(), 3);

    let refused = lambda.invoke(json!({ "source": "aws.ec2" })).unwrap_err();
    assert_eq!(refused["errorType"], "UnknownEvent");
    let failed = lambda.invoke(json!({ "extract": ["37i9dQZEVXbIPWwFssbupI"] })).unwrap_err();
    assert_eq!(failed["errorType"], "SetupProblem");
    assert!(failed["errorMessage"].as_str().unwrap().contains("2024-11-27"), "{failed}");
    // A schedule would only try it again, in vain.
    let editorial = "37i9dQZEVXbIPWwFssbupI";
    let scheduled = json!({ "extract": [editorial], "scheduled_at": "2026-07-06T06:00:00Z" });
    let answer = lambda.invoke(scheduled).unwrap();
    assert_eq!(answer["exit_status"], 1);
    assert!(answer["problems"][0].as_str().unwrap().contains("2024-11-27"), "{answer}");
    // One that somebody dated in the future takes no week's place.
    let key = "raw_data/processed/3cEYpjA9oz9GiPac4AsH4n/20590706T060000Z-01234567.json";
    lambda.put(key, b"{}");
    // Another entry, or within one second it would be the document of before.
    api.playlist(ID, 61);
    let scheduled = json!({ "extract": [ID], "scheduled_at": now().format(&Rfc3339).unwrap() });
    lambda.invoke(scheduled).unwrap();
    assert_eq!(lambda.keys("raw_data/to_process/").len(), 1);
}

/// As a file that grows beyond a limit of the system sends it.
#[test]
fn the_signal_of_a_file_beyond_the_limit_does_not_end_the_function() {
    let api = WebApi::new(Mode::Extended);
    api.playlist(ID, 3);
    let lambda = Lambda::start(&Site::folder(), &api);
    for _ in 0..2 {
        lambda.invoke(json!({ "extract": [ID] })).unwrap();
        lambda.signal("XFSZ");
    }
}

#[test]
fn a_queue_gets_back_only_what_a_second_try_may_mend() {
    let Some(site) = Site::bucket() else { return };
    let api = WebApi::new(Mode::Extended);
    let lambda = Lambda::start(&site, &api);
    let good = "raw_data/to_process/good_2026-07-13_06-00-00.json";
    let bad = "raw_data/to_process/bad_2026-07-13_06-00-00.json";
    lambda.put(good, &fs::read(fixture("playlists/same_track_twice.json")).unwrap());
    lambda.put(bad, b"{ not json");
    let message = |id: &str, key: &str| {
        let body = lambda.created(key).to_string();
        json!({ "messageId": id, "eventSource": "aws:sqs", "body": body })
    };
    let batch = json!({ "Records": [message("1", good), message("2", bad)] });
    // With no time left for a document, both come again; with time, neither.
    let answer = lambda.invoke_within(batch.clone(), Duration::from_secs(1)).unwrap();
    let again = json!([{ "itemIdentifier": "1" }, { "itemIdentifier": "2" }]);
    assert_eq!(answer, json!({ "batchItemFailures": again }));
    assert_eq!(lambda.keys("raw_data/to_process/").len(), 2);
    for _ in 0..2 {
        let answer = lambda.invoke(batch.clone()).unwrap();
        assert_eq!(answer, json!({ "batchItemFailures": [] }));
        assert_eq!(lambda.keys("raw_data/to_process/"), [""; 0]);
        assert_eq!(lambda.keys("raw_data/failed/").len(), 2);
    }
}

#[test]
fn a_new_column_is_in_athena_and_history_has_it_with_nothing_else_to_do() {
    let Some(site) = Site::bucket() else { return };
    // Nobody else asks Athena there.
    let region = "eu-north-1";
    let environment = [
        ("SPOTIFY_ETL_FORMAT", "parquet"),
        ("SPOTIFY_ETL_DATABASE", "music"),
        ("SPOTIFY_ETL_QUERY_OUTPUT", "s3://test-bucket/results/"),
        ("AWS_REGION", region),
    ];
    let api = WebApi::new(Mode::Extended);
    let lambda = Lambda::start_in(site.place(), &api, &environment);
    let guest = |name: &str| fs::read(guest_file(name)).unwrap();
    let count = || aws::statements(region).len();
    lambda.put("plugins/thing.wasm", &guest("thing_1"));
    lambda.invoke(lambda.created("plugins/thing.wasm")).unwrap();
    // Before there is a row: six tables, their views, and what lists old ones.
    let all = 1 + 6 + 6 + 6 + 2 + 1;
    assert_eq!(count(), all);
    for (name, week) in [("same_track_twice", "06"), ("no_payload", "13")] {
        let key = format!("raw_data/to_process/x_2026-07-{week}_06-00-00.json");
        lambda.put(&key, &fs::read(fixture(&format!("playlists/{name}.json"))).unwrap());
        lambda.invoke(lambda.created(&key)).unwrap();
    }
    assert_eq!(lambda.keys("transformed_data/thing_parquet/").len(), 2);
    assert_eq!(lambda.keys("transformed_data/").len(), 12);
    lambda.invoke(json!({ "check": "store" })).unwrap();
    assert_eq!(count(), all, "nothing changed");

    lambda.put("plugins/thing.wasm", &guest("thing_2"));
    lambda.invoke(lambda.created("plugins/thing.wasm")).unwrap();
    assert_eq!(count(), 2 * all);
    let has_column = |sql: &String| sql.contains("\"thing\" AS") && sql.contains("\"length\"");
    assert!(aws::statements(region).iter().any(has_column));

    // History by way of the queue.
    let queue = aws::queue("replays");
    let desk = Desk::without_plugins();
    let store = lambda.address.to_string();
    let mut command = desk.command(&["replay", "--store", &store, "--queue", &queue]);
    let said = said(command.envs(aws::environment()).output().unwrap());
    said.ends(0, &["2 documents sent to the queue"]);
    let lineage = |lambda: &Lambda| {
        let keys = lambda.keys("lineage/");
        let get = |key: &String| wait(lambda.store.get(key)).unwrap().unwrap().bytes;
        keys.iter().map(|key| String::from_utf8(get(key).into()).unwrap()).collect::<String>()
    };
    assert!(!lineage(&lambda).contains("\"length\""));
    let batch = aws::messages(&queue);
    // Without time it comes again, with time it is done.
    let answer = lambda.invoke_within(batch.clone(), Duration::from_secs(1)).unwrap();
    assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 1, "{answer}");
    for _ in 0..2 {
        let answer = lambda.invoke(batch.clone()).unwrap();
        assert_eq!(answer, json!({ "batchItemFailures": [] }));
    }
    assert_eq!(lineage(&lambda).matches("\"length\"").count(), 2);
    assert_eq!(lambda.keys("transformed_data/").len(), 12);
    assert_eq!(count(), 2 * all);
    lambda.invoke(json!({ "replay": {} })).unwrap();
    let run = lambda.keys("runs/").pop().unwrap();
    let run = wait(lambda.store.get(&run)).unwrap().unwrap().bytes;
    let run: Value = serde_json::from_slice(&run).unwrap();
    assert_eq!((&run["command"], &run["replay"]["documents_equal"]), (&json!("replay"), &json!(2)));
}

/// A consent of so many days ago, for an app whose secret is not known.
fn consent(api: &WebApi, days: i64) -> Login {
    Login {
        client_id: CLIENT_ID.to_owned(),
        client_secret: None,
        refresh_token: Some(SecretString::from(api.consent(true))),
        scopes: Vec::new(),
        consented_at: Some(now() - time::Duration::days(days)),
        account: Some(Account { id: "somebody".to_owned(), name: None }),
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[test]
fn a_login_that_amazon_keeps_gets_every_new_refresh_token() {
    let Some(site) = Site::bucket() else { return };
    for place in ["ssm:/spotify-etl/test/login", "secretsmanager:spotify-etl-test"] {
        let api = WebApi::new(Mode::Development);
        api.playlist(ID, 3);
        let vault = login_place(place).unwrap();
        let lambda = Lambda::start_in(site.place(), &api, &[("SPOTIFY_CREDENTIALS", place)]);
        let extract = json!({ "extract": [ID] });
        let failed = lambda.invoke(extract.clone()).unwrap_err();
        assert_eq!(failed["errorType"], "SetupProblem");
        let message = failed["errorMessage"].as_str().unwrap();
        assert!(message.contains(&format!("no login in {place}")), "{message}");

        wait(vault.keep(&consent(&api, 10))).unwrap();
        for _ in 0..3 {
            let before = api.refresh_token();
            lambda.invoke(extract.clone()).unwrap();
            assert_ne!(api.refresh_token(), before);
            let kept = wait(vault.login()).unwrap().unwrap().refresh_token.unwrap();
            assert_eq!(Some(kept.expose_secret().to_owned()), api.refresh_token());
        }
        let check = lambda.invoke(json!({ "check": "login" })).unwrap();
        assert_eq!((&check["login"]["location"], &check["status"]), (&json!(place), &json!(null)));
        let days = check["login"]["days_left"].as_i64().unwrap();
        assert!((160..=175).contains(&days), "{days}");
        // It was tried, and what that left is kept.
        let kept = wait(vault.login()).unwrap().unwrap().refresh_token.unwrap();
        assert_eq!(Some(kept.expose_secret().to_owned()), api.refresh_token());
        lambda.logs(|line| line["ConsentDaysLeft"] == json!(days as f64));

        assert!(wait(vault.forget()).unwrap());
        assert!(!wait(vault.forget()).unwrap());
        let failed = lambda.invoke(json!({ "check": "login" })).unwrap();
        let message = failed["problems"][0].as_str().unwrap();
        assert!(message.contains(&format!("spotify-etl login --save {place}")), "{message}");
    }
}

#[test]
fn what_somebody_else_keeps_there_is_left_alone_and_not_shown() {
    let Some(_) = Site::bucket() else { return };
    let put = |name: &str, kind: &str| {
        let body = json!({ "Name": name, "Value": "pr3cious {", "Type": kind });
        aws::json("ssm", "AmazonSSM.PutParameter", &body);
    };
    put("/spotify-etl/test/notes", "SecureString");
    put("/spotify-etl/test/clear", "String");
    for (name, part) in [("notes", "is no login of this program"), ("clear", "SecureString")] {
        let vault = login_place(&format!("ssm:/spotify-etl/test/{name}")).unwrap();
        let said = [wait(vault.prepare()).unwrap_err(), wait(vault.forget()).unwrap_err()];
        for said in said.map(|error| error.to_string()) {
            assert!(said.contains(part) && !said.contains("pr3cious"), "{said}");
        }
    }
    let written = r#"{ "client_id": "app", "client_secret": "s3cret" }"#;
    let body = json!({ "Name": "spotify-etl-by-hand", "SecretString": written });
    aws::json("secretsmanager", "secretsmanager.CreateSecret", &body);
    let vault = login_place("secretsmanager:spotify-etl-by-hand").unwrap();
    let login = wait(vault.login()).unwrap().unwrap();
    assert_eq!((login.client_id.as_str(), login.refresh_token.is_none()), ("app", true));
}

#[test]
fn people_are_told_the_sentence_and_the_command() {
    let Some(site) = Site::bucket() else { return };
    let (topic, queue) = aws::topic();
    let api = WebApi::new(Mode::Extended);
    let vault = login_place("ssm:/spotify-etl/test/ending").unwrap();
    wait(vault.keep(&consent(&api, 300))).unwrap();
    let environment =
        [("SPOTIFY_CREDENTIALS", "ssm:/spotify-etl/test/ending"), ("SPOTIFY_ETL_TOPIC", &topic)];
    let lambda = Lambda::start_in(site.place(), &api, &environment);
    let store = lambda.address.to_string();

    let id = "37i9dQZEVXbIPWwFssbupI";
    lambda.invoke(json!({ "extract": [id] })).unwrap_err();
    let run = lambda.keys("runs/").pop().unwrap();
    let run = run.trim_start_matches("runs/").trim_end_matches(".json").to_owned();
    let told = aws::told(&queue);
    assert_eq!(
        told.subject,
        format!("spotify-etl: a problem in {store}/")[..].chars().take(100).collect::<String>()
    );
    for part in [
        id,
        "closed to apps on 2024-11-27",
        &format!("spotify-etl extract --store {store} {id}"),
        &format!("spotify-etl runs --store {store} {run}"),
    ] {
        assert!(told.text.contains(part), "`{part}` in {}", told.text);
    }
    let logged = lambda.logs(|line| line["level"] == "ERROR");
    assert_eq!(
        (&logged["span"]["run_id"], &logged["fields"]["playlist"]),
        (&json!(run), &json!(id))
    );

    // A document by way of a queue: a problem that no second try mends is told at once.
    let key = "raw_data/to_process/bad_2026-07-13_06-00-00.json";
    lambda.put(key, b"{ not json");
    let body = lambda.created(key).to_string();
    let message = json!({ "messageId": "1", "eventSource": "aws:sqs", "body": body });
    lambda.invoke(json!({ "Records": [message] })).unwrap();
    let told = aws::told(&queue);
    assert!(
        told.text.contains("raw_data/failed/") && told.text.contains("spotify-etl delete --store"),
        "{}",
        told.text
    );
    // One that does is told of only when it keeps coming.
    lambda.put(key, &fs::read(fixture("playlists/same_track_twice.json")).unwrap());
    for (tries, is_told) in [("1", false), ("3", true)] {
        let attributes = json!({ "ApproximateReceiveCount": tries });
        let message = json!({
            "messageId": "1", "eventSource": "aws:sqs", "body": body, "attributes": attributes,
        });
        lambda.invoke_within(json!({ "Records": [message] }), Duration::from_secs(1)).unwrap();
        if is_told {
            assert!(aws::told(&queue).text.contains("no time left"));
        }
    }
    // A plugin that is none, whether something waits or not: once, with the command that is about it.
    lambda.invoke(json!({ "transform": {} })).unwrap();
    assert_eq!(lambda.keys("raw_data/to_process/"), [""; 0]);
    for bytes in [&b"not a plugin"[..], b"nor this"] {
        lambda.put("plugins/song.wasm", bytes);
        lambda.invoke(lambda.created("plugins/song.wasm")).unwrap();
        let told = aws::told(&queue).text;
        assert!(told.contains("spotify-etl plugin check --store s3://"), "{told}");
        assert!(told.contains("version 0.1.0 from its history stands in"), "{told}");
        assert_eq!(told.matches("plugin `song`").count(), 1, "{told}");
        lambda.put(key, &fs::read(fixture("playlists/no_payload.json")).unwrap());
    }
    // A message that nobody understands keeps no other waiting.
    lambda.put("plugins/song.wasm", &fs::read(plugin_file("song")).unwrap());
    let odd = json!({ "messageId": "2", "eventSource": "aws:sqs", "body": "hello" });
    // It is never acknowledged, so that the queue keeps it with its dead letters.
    let unknown = json!({ "messageId": "3", "eventSource": "aws:sqs", "body": "{\"play\": 1}" });
    let answer = lambda.invoke(json!({ "Records": [odd, message, unknown] })).unwrap();
    let failed = json!([{ "itemIdentifier": "2" }, { "itemIdentifier": "3" }]);
    assert_eq!(answer, json!({ "batchItemFailures": failed }));
    assert_eq!(lambda.keys("raw_data/to_process/"), [""; 0]);
    assert!(aws::told(&queue).text.contains("an event of no known kind"));
}

#[test]
fn documents_that_arrive_while_a_plugin_is_gone_wait_for_it() {
    let Some(site) = Site::bucket() else { return };
    let lambda = Lambda::start(&site, &WebApi::new(Mode::Extended));
    let document = |at: usize| format!("raw_data/to_process/list_2026-07-{at:02}_06-00-00.json");
    let bytes = fs::read(fixture("playlists/same_track_twice.json")).unwrap();
    let arrive = |at: usize| {
        lambda.put(&document(at), &bytes);
        lambda.invoke(lambda.created(&document(at))).unwrap()
    };
    assert_eq!(arrive(1)["exit_status"], 0);
    let song = "plugins/song.wasm";
    let object = wait(lambda.store.get(song)).unwrap().unwrap();
    assert!(wait(lambda.store.delete_if(song, &object.tag())).unwrap());
    for at in 2..5 {
        let answer = arrive(at);
        assert_eq!(answer["exit_status"], 1);
        assert!(answer["problems"].to_string().contains("`song` is missing"), "{answer}");
    }
    assert_eq!(lambda.keys("raw_data/to_process/").len(), 3);
    let check = lambda.invoke(json!({ "check": ["store"] })).unwrap();
    assert!(check["problems"].to_string().contains("`song` is missing"), "{check}");
    // It is there again: what waited is transformed with it.
    lambda.put(song, &object.bytes);
    assert_eq!(lambda.invoke(lambda.created(song)).unwrap()["exit_status"], 0);
    assert_eq!(lambda.keys("raw_data/to_process/"), [""; 0]);
    assert_eq!(lambda.keys("transformed_data/song_data/").len(), 4);
}

#[test]
fn told_to_end_it_finishes_what_is_under_way_and_leaves_the_rest() {
    let Some(site) = Site::bucket() else { return };
    let api = WebApi::new(Mode::Extended);
    let mut lambda = Lambda::start(&site, &api);
    let bytes = fs::read(fixture("playlists/same_track_twice.json")).unwrap();
    let count = 60;
    for day in 0..count {
        let key = format!(
            "raw_data/to_process/x_2026-{:02}-{:02}_06-00-00.json",
            1 + day / 28,
            1 + day % 28
        );
        lambda.put(&key, &bytes);
    }
    lambda.begin(json!({ "transform": {} }), Duration::from_secs(60));
    while lambda.keys("raw_data/processed/").is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(lambda.end().success());
    // It says what it left, so that somebody comes back for it.
    let answer = lambda.answer().unwrap_err();
    assert_eq!(answer["errorType"], "RetryProblem");
    let (done, left) = (lambda.keys("raw_data/processed/"), lambda.keys("raw_data/to_process/"));
    assert!(!done.is_empty() && !left.is_empty());
    assert_eq!(done.len() + left.len(), count);
    assert_eq!(lambda.keys("lineage/").len(), done.len());
    assert_eq!(lambda.keys("transformed_data/song_data/").len(), done.len());

    let again = Lambda::start_in(lambda.address.clone(), &api, &[]);
    again.invoke(json!({ "transform": {} })).unwrap();
    assert_eq!(again.keys("raw_data/to_process/"), [""; 0]);
    assert_eq!(again.keys("transformed_data/song_data/").len(), count);
}

#[test]
fn a_plugin_that_a_function_can_t_compile_in_time_is_refused_by_name() {
    let Some(site) = Site::bucket() else { return };
    let api = WebApi::new(Mode::Extended);
    let limit = [("SPOTIFY_ETL_LIMIT", "compile_bytes=16KiB")];
    let lambda = Lambda::start_in(site.place(), &api, &limit);
    lambda.invoke(lambda.created("plugins/song.wasm")).unwrap();
    let said = wait(lambda.store.get("plugins/song.wasm.error.json")).unwrap().unwrap().bytes;
    let said: Value = serde_json::from_slice(&said).unwrap();
    let problem = said["problem"].as_str().unwrap();
    for part in ["16.0 KiB", "spotify-etl plugin compile", "compile_bytes"] {
        assert!(problem.contains(part), "`{part}` in {problem}");
    }
}

/// A plugin that takes all the memory that it gets, writes to it, and returns a text of this size.
fn greedy(bytes: u64) -> Vec<u8> {
    let text = format!(
        r#"(core module $hostile
          (import "good" "memory" (memory 1))
          (func (export "extract") (param i32) (result i32)
            (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
            (memory.fill (i32.const 65536) (i32.const 120)
              (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 65536)))
            (i32.store (i32.const 288) (i32.const 65536))(i32.store (i32.const 292) (i32.const {bytes}))
            (i32.store (i32.const 312) (i32.const {bytes}))
            (i32.const 256)))
        (core instance $hostile (instantiate $hostile (with "good" (instance $good))))
        (alias core export $hostile "extract" (core func $extract))
        "#
    );
    assembled(&text).unwrap()
}

/// A playlist of nearly so many bytes.
fn large(bytes: u64) -> String {
    let name = "x".repeat(200);
    let track = |n| format!(r#"{{"track":{{"id":"{n}","name":"{name}","type":"track"}}}}"#);
    let tracks: Vec<String> = (0..bytes / 260).map(track).collect();
    format!(r#"{{"id":"p","name":"n","items":{{"items":[{}]}}}}"#, tracks.join(","))
}

#[cfg(target_os = "linux")]
#[test]
fn whatever_plugins_and_documents_take_a_function_stays_within_its_memory() {
    let Some(site) = Site::bucket() else { return };
    let api = WebApi::new(Mode::Extended);
    for mebibytes in [256, 512] {
        let memory = mebibytes << 20;
        let size = [("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &*mebibytes.to_string())];
        let lambda = Lambda::start_in(site.place(), &api, &size);
        let limits = Limits::of_function(memory);
        // A plugin that uses up every limit, beside those that do not.
        lambda.put("plugins/greedy.wasm", &greedy(limits.output_bytes * 9 / 10));
        // Large documents, whose tables are within the limit for the files of a plugin.
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("large.json");
        fs::write(&path, large(2 << 20)).unwrap();
        for week in ["06", "13", "20"] {
            let at = format!("202607{week}T060000Z");
            let landed = land(lambda.store.as_ref(), std::slice::from_ref(&path), &at);
            assert!(wait(landed).unwrap()[0].problem.is_none());
        }
        let answer = lambda.invoke(json!({ "transform": {} }));
        let stored = lambda.keys("transformed_data/song_data/").len();
        let peak = lambda.peak_bytes();
        assert!(peak < memory, "{mebibytes} MB: {} MB", peak >> 20);
        assert_eq!(stored, 3, "{mebibytes} MB: {answer:?}");
    }
}

#[test]
fn what_was_wrong_with_a_plugin_goes_with_the_plugin() {
    let Some(site) = Site::bucket() else { return };
    let api = WebApi::new(Mode::Extended);
    let lambda = Lambda::start(&site, &api);
    for name in ["first", "second", "third"] {
        lambda.put(&format!("plugins/{name}.wasm"), b"not a plugin");
        lambda.invoke(lambda.created(&format!("plugins/{name}.wasm"))).unwrap();
    }
    let errors = || {
        let mut keys = lambda.keys("plugins/");
        keys.retain(|key| key.ends_with(".error.json"));
        keys
    };
    assert_eq!(errors().len(), 3);
    wait(async {
        let object = lambda.store.get("plugins/first.wasm").await.unwrap().unwrap();
        lambda.store.delete_if("plugins/first.wasm", &object.tag()).await.unwrap();
    });
    // Its event was lost.
    lambda.put("plugins/second.wasm", &fs::read(guest_file("decade")).unwrap());
    lambda.invoke(json!({ "check": "store" })).unwrap();
    assert_eq!(errors(), ["plugins/third.wasm.error.json"]);
}

#[test]
fn a_file_that_was_compiled_leaves_no_record_in_the_bucket() {
    let Some(site) = Site::bucket() else { return };
    let api = WebApi::new(Mode::Extended);
    let lambda = Lambda::start(&site, &api);
    let bytes = [&fs::read(guest_file("decade")).unwrap()[..], b"\0\x02\x01x"].concat();
    lambda.put("plugins/decade.wasm", &bytes);
    lambda.invoke(lambda.created("plugins/decade.wasm")).unwrap();
    assert_eq!(lambda.keys("plugins/loads/"), [""; 0]);
}

#[test]
fn a_panic_is_a_line_of_json_in_the_log() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut command = std::process::Command::new(command_file().with_file_name("bootstrap"));
    // Lambda sets more variables than this.
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")
        .env("SPOTIFY_ETL_STORE", folder.path());
    let ended = command.output().unwrap();
    assert!(!ended.status.success());
    let log = String::from_utf8(ended.stdout).unwrap() + &String::from_utf8(ended.stderr).unwrap();
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let message = |line: &Value| line["fields"]["message"].as_str().unwrap_or_default().to_owned();
    let panic = lines.iter().find(|line| message(line).contains("AWS_LAMBDA_FUNCTION_NAME"));
    let panic = panic.unwrap_or_else(|| panic!("{log}"));
    assert_eq!(panic["level"], "ERROR");
    assert!(panic["fields"]["at"].as_str().is_some_and(|at| at.contains(".rs:")), "{panic}");
}
