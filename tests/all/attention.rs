//! What needs a person's attention: documents without a row, playlists that are not read, runs that could not
//! start, and files among the plugins that are not used. `status` shows it and exits with 1.

use std::fs;

use serde_json::{Value, json};
use spotify_etl::layout;

use crate::{
    desk::{Desk, Said, said, text},
    runtime_api::Lambda,
    support::{Site, fixture, guest_file, plugin_file, wait},
    web_api::{CLIENT_ID, CLIENT_SECRET, Mode, WebApi},
};

const LOCAL_FILES: &[u8] = br#"{"items":[
    {"is_local":true,"track":{"id":null,"is_local":true,"type":"track","name":"a"}},
    {"is_local":true,"track":{"id":null,"is_local":true,"type":"track","name":"b"}}]}"#;
const ID: &str = "3cEYpjA9oz9GiPac4AsH4n";

/// The causes and subjects of what needs attention.
fn attention(status: &Value) -> Vec<(String, String)> {
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = status["attention"].as_array().unwrap();
    all.iter().map(|one| (word(&one["cause"]), word(&one["subject"]))).collect()
}

fn causes(status: &Value) -> Vec<String> {
    attention(status).into_iter().map(|(cause, _)| cause).collect()
}

fn waiting_key(desk: &Desk) -> String {
    desk.keys().into_iter().find(|key| key.starts_with(layout::TO_PROCESS)).unwrap()
}

#[test]
fn a_document_without_a_row_waits_until_it_is_accepted() {
    let desk = Desk::new();
    let file = desk.write("mix_2026-07-06_06-00-00.json", LOCAL_FILES);
    let run = ["run", "--from", text(&file)];
    let why = "no entry gave a row: 2 entries, 2 skipped: 2 local_file (delete the document: spotify-etl delete mix-20260706T060000Z-";
    desk.say(&run).ends(1, &["1 brought in", "stays where it is", why, "not all done"]);
    let key = waiting_key(&desk);
    let csv = desk.keys().into_iter().find(|key| key.contains("song_data")).unwrap();
    assert_eq!(fs::read_to_string(desk.path("data").join(csv)).unwrap().lines().count(), 1);

    // The same file again, and whatever waits: each run fails for the same reason.
    desk.say(&run).ends(1, &["1 there already, waiting", why]);
    desk.say(&["transform"]).ends(1, &[why]);
    let delete = "spotify-etl delete --store ./data mix-20260706T060000Z-";
    let accept = format!("spotify-etl transform --allow-empty --store ./data {key}");
    desk.say(&["status"]).ends(1, &["1 waiting", why, delete, &accept]);
    let status = desk.say(&["status", "--json"]).json();
    assert_eq!(causes(&status), ["waiting", "last_run"]);
    assert_eq!(status["waiting"][0]["kind"], "no_rows");

    // It is not in the way of a table that changes as a whole.
    let formats = ["replay", "--format", "csv,parquet"];
    desk.say(&formats).ends(1, &["✓ song is written as csv,parquet from now on", why]);
    assert_eq!(desk.count("transformed_data/song_parquet/"), 1);

    let accepted = desk.say(&["transform", "--allow-empty", &key]);
    accepted.ends(0, &["no entry gave a row; accepted", "skipped: 2 local_file", "all done"]);
    assert_eq!((desk.count(layout::TO_PROCESS), desk.count(layout::PROCESSED)), (0, 1));
    desk.say(&run).ends(0, &["1 there already, with their tables", "nothing to do"]);
    desk.say(&["status"]).ends(0, &["last run", "all done"]);
    // What was accepted stays accepted, whoever makes its tables again.
    desk.say(&["replay"]).ends(0, &["0 failed"]);
    let others = Desk::new();
    let file = others.write("mix_2026-07-06_06-00-00.json", LOCAL_FILES);
    let mut command = others.command(&["run", "--from", text(&file)]);
    said(command.env("SPOTIFY_ETL_ALLOW_EMPTY", "true").output().unwrap()).ends(0, &["accepted"]);
}

#[test]
fn a_plugin_that_reads_a_waiting_document_ends_the_wait() {
    let desk = Desk::bare();
    let install = |guest: &str| {
        desk.write("data/plugins/tracks.wasm", &fs::read(guest_file(guest)).unwrap());
    };
    install("tracks_fewer");
    let track = json!({ "items": [{ "track": { "type": "track", "id": "a", "name": "x" } }] });
    let file = desk.write("mix_2026-07-06_06-00-00.json", track.to_string().as_bytes());
    desk.say(&["run", "--from", text(&file)])
        .ends(1, &["no entry gave a row: 1 entry, none skipped"]);
    install("tracks_1");
    desk.say(&["transform"]).ends(0, &["1 row", "all done"]);
    assert_eq!((desk.count(layout::TO_PROCESS), desk.count(layout::PROCESSED)), (0, 1));
    let stored = desk.keys();

    // A version that takes all rows of a snapshot away fails the replay, and the rows stay.
    install("tracks_fewer");
    let why =
        "no entry gives a row any more with the active version of `tracks`; the stored rows stay";
    for _ in 0..2 {
        desk.say(&["replay"]).ends(1, &[why, "1 failed"]);
    }
    let csv = stored.iter().find(|key| key.contains("tracks_data")).unwrap();
    let lines = || fs::read_to_string(desk.path("data").join(csv)).unwrap().lines().count();
    assert_eq!(lines(), 2);
    desk.say(&["replay", "--allow-empty"]).ends(0, &["1 changed"]);
    assert_eq!(lines(), 1);
    desk.say(&["replay"]).ends(0, &["1 were as they should be"]);
}

#[test]
fn only_documents_without_problems_count_as_stored() {
    let desk = Desk::new();
    for day in 1..=6 {
        let name = format!("in/good_2026-07-0{day}_06-00-00.json");
        desk.write(&name, &fs::read(fixture("playlists/both_keys.json")).unwrap());
        desk.write(&format!("in/mix_2026-07-0{day}_06-00-00.json"), LOCAL_FILES);
    }
    let said = desk.say(&["run", "--from", "in"]);
    said.ends(1, &["6 of 12 documents stored", "not all done"]);
    assert_eq!(said.out.matches("✗ no entry gave a row").count(), 6);
}

/// A store that lists playlists of a Web API.
struct Listed {
    desk: Desk,
    api: WebApi,
}

impl Listed {
    fn new() -> Self {
        let listed = Listed { desk: Desk::new(), api: WebApi::new(Mode::Extended) };
        listed.api.playlist(ID, 60);
        listed.say(&["playlist", "add", ID, "--label", "France"]).ends(0, &[]);
        listed
    }

    fn say(&self, arguments: &[&str]) -> Said {
        let mut command = self.desk.command(arguments);
        command
            .env("HOME", self.desk.folder.path())
            .env("SPOTIFY_API_URL", self.api.api_url().as_str())
            .env("SPOTIFY_ACCOUNTS_URL", self.api.accounts_url().as_str())
            .env("SPOTIFY_CLIENT_ID", CLIENT_ID)
            .env("SPOTIFY_CLIENT_SECRET", CLIENT_SECRET);
        said(command.output().unwrap())
    }
}

#[test]
fn each_listed_playlist_has_a_row_whatever_became_of_it() {
    let listed = Listed::new();
    let other = "37i9dQZEVXbIPWwFssbupI";
    listed.say(&["playlist", "add", other, "--label", "Gone"]).ends(0, &[]);
    let status = listed.say(&["status"]);
    status.ends(1, &["France", ID, "never read", "needs attention", "playlist France (3cEY"]);
    let status = listed.say(&["status", "--json"]).json();
    let never = |id: &str| ("never_read".to_owned(), id.to_owned());
    assert_eq!(attention(&status), [never(other), never(ID)]);

    // One is read, the other one is refused.
    listed.say(&["run"]).ends(1, &["60 entries", "2024-11-27"]);
    let status = listed.say(&["status"]);
    status.ends(1, &["✗ 37i9dQZEVXbIPWwFssbupI: the last extraction failed today: ", "2024-11-27"]);
    status.ends(1, &["spotify-etl run --store ./data 37i9dQZEVXbIPWwFssbupI", "✗ failed"]);
    let status = listed.say(&["status", "--json"]).json();
    let failed = ("extraction_failed".to_owned(), other.to_owned());
    let last_run = status["last_run"]["run_id"].as_str().unwrap().to_owned();
    let last_run = ("last_run".to_owned(), last_run);
    assert_eq!(attention(&status), [never(other), failed, last_run]);
    let row = &status["playlists"][0];
    assert_eq!((&row["snapshots"], &row["age_days"]), (&json!(0), &Value::Null));
    assert_eq!((&row["listed"]["days"], &row["last_failure"]["age_days"]), (&json!(0), &json!(0)));
    assert_eq!(listed.say(&["status", "--exit-zero"]).status, 0);

    // Without the one that can't be read, all is well.
    listed.say(&["playlist", "remove", other]).ends(0, &[]);
    listed.say(&["run", "--if-changed"]).ends(0, &[]);
    let status = listed.say(&["status"]);
    status.ends(0, &[ID, "today"]);
    assert!(!status.out.contains("attention"), "{}", status.out);
    // A list that can't be read is said.
    listed.desk.write("data/playlists.json", b"[");
    listed.say(&["status"]).ends(1, &["✗ ./data/playlists.json is not a list of playlists"]);
}

#[test]
fn only_a_listed_playlist_gets_old_or_needs_to_be_whole() {
    let desk = Desk::new();
    let page = |total: usize| {
        let items = json!([{ "track": { "type": "track", "id": "a", "name": "x" } }]);
        json!({ "items": items, "total": total, "offset": 0 }).to_string().into_bytes()
    };
    desk.write("top_2026-07-06_06-00-00.json", &page(3));
    desk.say(&["run", "--from", "top_2026-07-06_06-00-00.json"]).ends(0, &[]);
    let status = desk.say(&["status"]);
    status.ends(0, &["top", " days; ! incomplete: 1 of 3 items"]);
    assert!(!status.out.contains("old"), "{}", status.out);
    let listed = json!({ "format": 1, "playlists": [{ "id": "top" }] });
    desk.write("data/playlists.json", listed.to_string().as_bytes());
    desk.say(&["status"]).ends(
        1,
        &[
            " days, old; ! incomplete: 1 of 3 items",
            "playlist top: the last snapshot is incomplete",
        ],
    );
    assert_eq!(causes(&desk.say(&["status", "--json"]).json()), ["old", "incomplete"]);
    let mut command = desk.command(&["status"]);
    assert_eq!(command.env("SPOTIFY_ETL_EXIT_ZERO", "true").status().unwrap().code(), Some(0));
    // A whole one of today.
    desk.write("top.json", &page(1));
    desk.say(&["run", "--from", "top.json"]).ends(0, &[]);
    let status = desk.say(&["status"]);
    status.ends(0, &["today"]);
    assert!(!status.out.contains("incomplete"), "{}", status.out);
}

#[test]
fn a_run_that_can_not_start_leaves_a_report() {
    let cases: [(&[&str], &str, &str); 6] = [
        (&["run"], "run", "no playlist to extract"),
        (&["run", ID], "run", "credentials"),
        (&["extract", ID], "extract", "credentials"),
        (&["import", "nowhere.json"], "import", "could not read `nowhere.json`"),
        (&["run", "--from", "nowhere.json"], "run", "nothing to import"),
        (&["transform", "raw_data/to_process/x/y.json"], "transform", "no document `raw_data/"),
    ];
    for (arguments, command, why) in cases {
        let desk = Desk::new();
        let failed = desk.say(arguments);
        failed.ends(2, &[why]);
        desk.say(&["status"]).ends(
            1,
            &[
                "✗ last run 2",
                &format!("{command}: could not start: "),
                why,
                "spotify-etl runs --store ./data ",
            ],
        );
        assert_eq!(causes(&desk.say(&["status", "--json"]).json()), ["last_run"]);
        desk.say(&["runs"]).ends(0, &[command, "could not start"]);
        let report = desk.say(&["runs", "last", "--json"]).json();
        assert_eq!((&report["exit_status"], &report["command"]), (&json!(2), &json!(command)));
        let problem = report["problems"][0]["message"].as_str().unwrap();
        assert_eq!(failed.err.trim_end(), format!("error: {problem}"));
    }
    // No plugins, in a store that had some.
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.say(&["run", "--from", text(&demo)]).ends(0, &[]);
    for name in ["album", "artist", "snapshot", "song"] {
        fs::remove_file(desk.path(&format!("data/plugins/{name}.wasm"))).unwrap();
    }
    desk.say(&["transform"]).ends(2, &["no plugins in ./data/plugins/"]);
    desk.say(&["status"]).ends(1, &["transform: could not start: no plugins in ./data/plugins/"]);
    // What is typed wrong is no run, nor is what would write nothing.
    for arguments in [&["run", "--limit", "x"][..], &["import", "--dry-run", "nowhere.json"]] {
        desk.say(arguments).ends(2, &[]);
    }
    assert_eq!(fs::read_dir(desk.path("data/runs")).unwrap().count(), 2);
    // No store is made by a failed run, nor is another folder taken for one.
    fs::create_dir(desk.path("photos")).unwrap();
    for store in ["nothing", "photos"] {
        desk.say(&["run", "--store", store, ID]).ends(2, &[]);
        desk.say(&["import", "--store", store, "nowhere.json"]).ends(2, &[]);
    }
    assert!(!desk.path("nothing").exists());
    assert_eq!(fs::read_dir(desk.path("photos")).unwrap().count(), 0);
}

#[test]
fn a_copy_of_a_plugin_does_not_stop_the_owner_of_its_table() {
    let song = fs::read(plugin_file("song")).unwrap();
    for copy in ["song (1)", "song copy", "melody"] {
        let desk = Desk::new();
        let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
        desk.say(&["run", "--from", text(&demo)]).ends(0, &[]);
        desk.write(&format!("data/plugins/{copy}.wasm"), &song);
        let why = format!(
            "plugin `{copy}` is refused: table `song` belongs to plugin `song`, which goes on"
        );
        let bom = fixture("playlists/bom.json");
        desk.say(&["run", "--from", text(&bom)]).ends(1, &[&why, "1 entry", "not all done"]);
        assert_eq!((desk.count(layout::TO_PROCESS), desk.count(layout::PROCESSED)), (0, 2));
        assert_eq!(desk.count("transformed_data/song_data/"), 2);
        desk.say(&["status"]).ends(1, &[&why, "✓ song 0.1.0"]);
        desk.say(&["doctor"]).ends(1, &[&why]);
        // The owner goes on as well if its next version is broken.
        desk.write("data/plugins/song.wasm", b"no");
        let both = fixture("playlists/both_keys.json");
        let said = desk.say(&["run", "--from", text(&both)]);
        said.ends(1, &[&why, "version 0.1.0 from its history stood in for it"]);
        assert_eq!(desk.count("transformed_data/song_data/"), 3);
    }
}

#[test]
fn files_that_are_almost_plugins_are_named() {
    let desk = Desk::new();
    let song = fs::read(plugin_file("song")).unwrap();
    desk.write("data/plugins/SONG.WASM", &song);
    let misnamed = "./data/plugins/SONG.WASM is ignored: the name of a plugin's file ends in `.wasm`, in lower case (rename it to song.wasm)";
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.say(&["run", "--from", text(&demo)]).ends(0, &[misnamed, "all done"]);
    desk.say(&["transform"]).ends(0, &[misnamed, "nothing to do"]);
    desk.say(&["status"]).ends(1, &[misnamed, "plugins/SONG.WASM is ignored because of its name"]);
    desk.say(&["doctor"]).ends(1, &[misnamed]);
    let ignored = |status: &Value| status["ignored_files"].clone();
    let status = desk.say(&["status", "--json"]).json();
    assert_eq!(ignored(&status), json!({ "misnamed": ["SONG.WASM"], "others": 0 }));
    assert_eq!(attention(&status), [("ignored_file".to_owned(), "SONG.WASM".to_owned())]);

    // Backups and notes are only counted.
    fs::remove_file(desk.path("data/plugins/SONG.WASM")).unwrap();
    desk.write("data/plugins/song.wasm.bak", &song);
    let one = "1 other file in ./data/plugins/ is ignored: its name does not end in `.wasm`";
    desk.say(&["status"]).ends(0, &[one]);
    desk.write("data/plugins/song.wasm.txt", b"notes");
    desk.write("data/plugins/.DS_Store", b"");
    desk.write("data/plugins/old/song.wasm", b"");
    let two = "2 other files in ./data/plugins/ are ignored";
    desk.say(&["status"]).ends(0, &[two]);
    desk.say(&["transform"]).ends(0, &[two]);

    let alone = Desk::bare();
    alone.write("data/plugins/SONG.WASM", &song);
    alone.say(&["transform"]).ends(2, &["no plugins in ./data/plugins/; ", misnamed]);
}

#[test]
fn a_function_leaves_what_needs_a_person_to_a_person() {
    let Some(site) = Site::bucket() else { return };
    let lambda = Lambda::start(&site, &WebApi::new(Mode::Extended));
    let key = "raw_data/to_process/mix_2026-07-06_06-00-00.json";
    lambda.put(key, LOCAL_FILES);
    let why = "no entry gave a row: 2 entries, 2 skipped: 2 local_file";
    // Nothing is brought again by who called: neither once nor every day.
    for event in [lambda.created(key), json!({ "check": ["store"] })] {
        let answer = lambda.invoke(event).unwrap();
        assert_eq!(answer["exit_status"], 1);
        assert!(answer["problems"][0].as_str().unwrap().starts_with(why), "{answer}");
    }
    assert_eq!(lambda.keys("raw_data/to_process/"), [key]);
    let check = lambda.invoke(json!({ "check": ["store"] })).unwrap();
    assert!(causes(&check["status"]).contains(&"waiting".to_owned()), "{check}");

    // A run that can't start.
    let failed = lambda.invoke(json!({ "extract": {} })).unwrap_err();
    assert!(failed["errorMessage"].as_str().unwrap().contains("no playlist to extract"));
    // Runs of one second are in no order.
    let reports = lambda.keys("runs/").into_iter().map(|key| {
        let report = wait(lambda.store.get(&key)).unwrap().unwrap();
        serde_json::from_slice::<Value>(&report.bytes).unwrap()
    });
    let mut of_extract = reports.filter(|report| report["command"] == "extract");
    assert_eq!(of_extract.next().unwrap()["exit_status"], 2);
}

#[test]
fn a_function_that_can_not_start_leaves_a_report() {
    let Some(site) = Site::bucket() else { return };
    let environment = [("SPOTIFY_ETL_JOBS", "many")];
    let mut lambda = Lambda::start_in(site.place(), &WebApi::new(Mode::Extended), &environment);
    assert!(!lambda.wait_for_end().success());
    let keys = lambda.keys("runs/");
    assert_eq!(keys.len(), 1);
    let report = wait(lambda.store.get(&keys[0])).unwrap().unwrap();
    let report: Value = serde_json::from_slice(&report.bytes).unwrap();
    assert_eq!((&report["exit_status"], &report["command"]), (&json!(2), &json!("start")));
    assert_eq!(
        report["problems"][0]["message"],
        "SPOTIFY_ETL_JOBS is set to something it can't be"
    );
}
