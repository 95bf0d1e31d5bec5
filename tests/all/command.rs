//! The command as a process, as people and scripts use it: what it takes, what it says, and how it
//! ends.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    desk::{Desk, Said, said, text},
    support::{command_file, files_below, fixture, guest_file, link, skipped},
};

#[test]
fn a_playlist_goes_all_the_way_and_a_second_time_nothing_changes() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    let first = desk.say(&["run", "--from", text(&demo)]);
    first.ends(
        0,
        &["1 file: 1 brought in", "✓ Summer Evenings (", "50 entries", "50 rows", "all done in"],
    );
    assert_eq!(first.err, "");
    let stored = files_below(&desk.path("data"));
    let document = "-20260706T060000Z-";
    assert!(stored.keys().any(|key| key.starts_with("raw_data/processed/") && key.contains("/20260706T060000Z-")));
    assert_eq!(
        stored
            .keys()
            .filter(|key| key.starts_with("transformed_data/") && key.contains(document))
            .count(),
        5
    );
    let again = desk.say(&["run", "--from", text(&demo)]);
    again.ends(0, &["1 there already, with their tables", "nothing to do"]);
    assert_eq!(files_below(&desk.path("data")), stored);
}

#[test]
fn reports_are_json_for_scripts_and_kept() {
    let desk = Desk::new();
    let no_payload = fixture("playlists/no_payload.json");
    let said = desk.say(&[
        "run",
        "--json",
        "--from",
        text(&no_payload),
        "--extracted-at",
        "2026-07-06T06:00:00Z",
    ]);
    said.ends(0, &[]);
    let report = said.json();
    let document = &report["documents"][0];
    assert_eq!((&document["status"], &document["entries"]), (&"stored".into(), &9.into()));
    assert_eq!(document["skipped"], serde_json::json!({ "no_payload": 8 }));
    assert_eq!(document["tables"].as_array().unwrap().len(), 5);
    let run_id = report["run_id"].as_str().unwrap();
    let kept = fs::read(desk.path("data/runs").join(format!("{run_id}.json"))).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&kept).unwrap(), report);
    desk.say(&["runs"]).ends(0, &[run_id, "all done"]);
    desk.say(&["runs", run_id]).ends(0, &["skipped: 8 no_payload"]);
    assert_eq!(desk.say(&["runs", "last", "--json"]).json(), report);
    desk.say(&["runs", "nothing"]).ends(2, &["no run `nothing`", "`spotify-etl runs` lists them"]);
    assert_eq!(desk.say(&["status", "--json"]).json()["playlists"].as_array().unwrap().len(), 1);
}

#[test]
fn a_store_without_plugins_is_named_and_nothing_is_brought_in() {
    let desk = Desk::without_plugins();
    let demo = fixture("playlists/both_keys.json");
    desk.say(&["run", "--from", text(&demo)]).ends(
        2,
        &["no plugins in ./data/plugins/", "`spotify-etl init --store STORE --from FOLDER`"],
    );
    assert!(!desk.path("data").exists());
    desk.say(&["transform"]).ends(2, &["no plugins in ./data/plugins/"]);
    let alone = desk.path("alone/bin/spotify-etl");
    fs::create_dir_all(alone.parent().unwrap()).unwrap();
    // By another process: a file that is open for writing here, while another test starts a program, can't
    // be started itself.
    assert!(Command::new("cp").args([command_file(), alone.clone()]).status().unwrap().success());
    let mut command = Command::new(alone);
    command.arg("init").current_dir(desk.folder.path()).env_clear();
    said_by(command).ends(2, &["no plugins were installed or built with this program", "--from"]);
    desk.say(&["init", "--store", "other"]).ends(0, &["song_artist", "new"]);
    desk.say(&["init", "--from", "nowhere"]).ends(2, &["no plugins in nowhere/"]);
    desk.say(&["run", "--from", text(&demo), "--plugins", "built"]).ends(0, &["all done"]);
}

#[test]
fn init_says_what_became_of_each_plugin() {
    let desk = Desk::without_plugins();
    desk.say(&["init", "--from", "built"])
        .ends(0, &["song_artist", "new", "next: spotify-etl run"]);
    fs::copy(guest_file("decade"), desk.path("built/album.wasm")).unwrap();
    desk.write("built/broken.wasm", b"no");
    let said = desk.say(&["init", "--from", "built"]);
    said.ends(
        1,
        &["unchanged", "replaced", "refused", "plugin `broken` is refused: not WebAssembly"],
    );
    assert!(!desk.path("data/plugins/broken.wasm").exists());
}

#[test]
fn bad_input_is_a_sentence_stops_nothing_else_and_is_left_alone() {
    let desk = Desk::new();
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    desk.write("in/deep.json", deep.as_bytes());
    desk.write("in/empty.json", b"");
    desk.write("in/cut.json", br#"{"items":[{"track":{"#);
    desk.write("in/latin.json", b"{\"items\":[\"\xe9\"]}");
    desk.write("in/notes.txt", b"not looked at");
    desk.write("in/big.json", format!("[{}null]", "null,".repeat(300_000)).as_bytes());
    std::os::unix::fs::symlink("nowhere", desk.path("unreadable.json")).unwrap();
    fs::copy(fixture("playlists/bom.json"), desk.path("in/good.json")).unwrap();
    let before = files_below(&desk.path("in"));
    let said =
        desk.say(&["run", "--from", "in", "unreadable.json", "--limit", "document_bytes=1MiB"]);
    said.ends(1, &[
        "7 files: 1 brought in, 6 rejected",
            "unreadable.json: could not read `unreadable.json`: No such file or directory (os error 2) (is the path right, and may this user read it?)",
        "in/deep.json: arrays and objects nested more than 128 levels deep, at byte 128",
        "in/empty.json: empty: there is nothing in it",
        "in/cut.json: not JSON: EOF while parsing an object at line 1 column 20",
        "in/latin.json: not UTF-8: the first bad byte is number 11",
        "in/big.json: larger than the limit of 1.0 MiB for a document (raise it with --limit document_bytes=...)",
        "not all done",
    ]);
    assert_eq!(files_below(&desk.path("in")), before);
    assert_eq!((desk.count("raw_data/processed/"), desk.count("raw_data/failed/")), (1, 0));
}

#[test]
fn what_is_not_there_or_not_meant_ends_with_two_and_says_what_to_do() {
    let desk = Desk::new();
    fs::create_dir(desk.path("hollow")).unwrap();
    for (arguments, parts) in [
        (&["import", "nowhere.json"][..], &["could not read `nowhere.json`: No such file"][..]),
        (&["import", "hollow"], &["no JSON files in `hollow` or below it"]),
        (
            &["transform", "raw_data/to_process/x/y.json"],
            &["no document `raw_data/to_process/x/y.json` in ./data/", "status"],
        ),
        (&["transform", "tables/song.json"], &["no document `tables/song.json`"]),
        (&["run"], &["--from"]),
        (
            &["run", "--from", "x", "--limit", "bytes=3"],
            &["no limit `bytes`; there are document_bytes"],
        ),
        (
            &["import", "x", "--extracted-at", "noon"],
            &["`noon` is not a time such as 2023-09-27T09:53:34Z"],
        ),
        (
            &["import", "x", "--extracted-at", "1999-01-01T00:00:00Z"],
            &["outside the years 2006 to 2060"],
        ),
        (&["import", "x", "--playlist", "!!"], &["`!!` is not a playlist: give an id"]),
        (&["plugin", "inspect", "nowhere.wasm"], &["could not read `nowhere.wasm`"]),
    ] {
        desk.say(arguments).ends(2, parts);
    }
    desk.say(&["plugin", "inspect", "built"]).ends(2, &["could not read `built`"]);
    assert_eq!(desk.count("raw_data/"), 0);
}

#[test]
fn standard_input_is_a_file_too() {
    let desk = Desk::new();
    let bytes = fs::read(fixture("playlists/bare_array_from_a_fields_filter.json")).unwrap();
    let said = desk.say_with_input(
        &[
            "run",
            "--from",
            "-",
            "--playlist",
            "https://open.spotify.com/playlist/abc?si=1",
            "--extracted-at",
            "20190203T000000Z",
        ],
        &bytes,
    );
    said.ends(0, &["abc-20190203T000000Z-"]);
    let again = desk.say_with_input(&["import", "-", "--dry-run"], b"nonsense");
    again.ends(1, &["standard input", "not JSON", "nothing was written"]);
    let unnamed = desk.say_with_input(&["import", "-"], &bytes);
    unnamed.ends(1, &["neither its content nor its name says which playlist it is"]);
}

#[test]
fn what_an_older_pipeline_left_keeps_its_time_and_a_file_without_one_comes_once() {
    let desk = Desk::new();
    let bytes = fs::read(fixture("playlists/bare_array_from_a_fields_filter.json")).unwrap();
    desk.write("old/spotify_raw_2023-09-27 09:53:34.123456.json", &bytes);
    let plain = desk.write("plain.json", &fs::read(fixture("playlists/bom.json")).unwrap());
    desk.say(&["run", "--from", "old", text(&plain)]).ends(0, &["2 files: 2 brought in"]);
    assert_eq!(desk.count("raw_data/processed/spotify_raw/20230927T095334Z-"), 1);
    // The same bytes at another time of change.
    desk.write("plain.json", &fs::read(&plain).unwrap());
    let touched = fs::File::options().append(true).open(&plain).unwrap();
    touched
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000))
        .unwrap();
    desk.say(&["run", "--from", text(&plain)]).ends(0, &["1 there already, with their tables"]);
    assert_eq!(desk.count("raw_data/processed/"), 2);
    // And lying in the store, where it would be a third.
    desk.write("data/raw_data/to_process/copy.json", &fs::read(&plain).unwrap());
    desk.say(&["transform"]).ends(0, &["there already under another time; the copy is gone"]);
    assert_eq!((desk.count("raw_data/processed/"), desk.count("raw_data/to_process/")), (2, 0));
}

#[test]
fn a_landed_document_comes_back_as_itself() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.say(&["run", "--from", text(&demo)]).ends(0, &[]);
    let stored = files_below(&desk.path("data"));
    let other = Desk::new();
    let backup = desk.path("data/raw_data/processed");
    other.say(&["run", "--from", text(&backup)]).ends(0, &["1 brought in"]);
    let (mut found, mut expected) = (files_below(&other.path("data")), stored);
    // When a plugin was seen is the only thing that may differ.
    found.retain(|key, _| !key.starts_with("plugins/history/"));
    expected.retain(|key, _| !key.starts_with("plugins/history/"));
    assert_eq!(found, expected);
    let key = expected.keys().find(|key| key.starts_with("raw_data/")).unwrap();
    let changed =
        fs::read_to_string(desk.path("data").join(key)).unwrap().replace("Lanternfly", "Fly");
    let changed = other.write("changed.json", changed.as_bytes());
    other.say(&["import", text(&changed)]).ends(1, &["a landed document whose pages were changed"]);
}

#[test]
fn a_dry_run_shows_everything_and_writes_nothing() {
    let desk = Desk::without_plugins();
    let folder = fixture("playlists");
    let at = ["--extracted-at", "2026-07-06T06:00:00Z"];
    let said = desk
        .say(&[&["import", "--dry-run", text(&folder), "--store", "nothing"], &at[..]].concat());
    said.ends(
        0,
        &[
            "file",
            "playlist",
            "Summer Evenings",
            "2026-07-06T06:00:00Z",
            "! incomplete: ",
            "nothing was written",
        ],
    );
    assert!(!desk.path("nothing").exists());
}

#[test]
fn a_document_without_rows_fails_unless_that_is_accepted() {
    let desk = Desk::new();
    let only_null = desk.write("null.json", br#"{"items":[{"track":null}]}"#);
    let said = desk.say(&["run", "--from", text(&only_null)]);
    said.ends(1, &["no entry gave a row: 1 entry, 1 skipped: 1 no_payload", "--allow-empty"]);
    let key = desk.keys().into_iter().find(|key| key.starts_with("raw_data/to_process/")).unwrap();
    desk.say(&["transform", &key, "--allow-empty"]).ends(0, &["all done"]);
    let empty = fixture("playlists/no_entries.json");
    desk.say(&["run", "--from", text(&empty)]).ends(0, &["0 entries"]);
    let csv = desk.keys().into_iter().filter(|key| key.contains("song_data")).collect::<Vec<_>>();
    assert_eq!(csv.len(), 2, "a table without rows is still written: {csv:?}");
}

#[test]
fn a_document_is_named_by_key_by_path_or_by_name_wherever_it_is() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.say(&["run", "--from", text(&demo)]).ends(0, &[]);
    let stored = files_below(&desk.path("data"));
    let key = stored.keys().find(|key| key.starts_with("raw_data/processed/")).unwrap();
    let table = stored.keys().find(|key| key.contains("/song_data/")).unwrap();
    let name = Path::new(table).file_stem().unwrap().to_str().unwrap().to_owned();
    fs::remove_file(desk.path("data").join(table)).unwrap();
    for typed in [key.clone(), format!("./data/{key}"), format!("data/{key}"), name] {
        desk.say(&["transform", &typed]).ends(0, &["all done"]);
        assert_eq!(files_below(&desk.path("data")), stored, "{typed}");
    }
    // What was put aside may be read by a later host: here it was mended by hand.
    desk.write("data/raw_data/to_process/mended.json", b"oops");
    desk.say(&["transform"]).ends(1, &["not JSON", "put aside"]);
    assert_eq!(desk.count("raw_data/failed/"), 2);
    fs::copy(fixture("playlists/bom.json"), desk.path("data/raw_data/failed/mended.json")).unwrap();
    desk.say(&["transform", "raw_data/failed/mended.json"]).ends(0, &["all done"]);
    assert_eq!((desk.count("raw_data/failed/"), desk.count("raw_data/processed/")), (0, 2));
}

#[test]
fn status_is_one_screen_and_every_bad_line_has_its_command() {
    let desk = Desk::new();
    desk.say(&["status"]).ends(
        0,
        &[
            "no playlist has tables yet",
            "spotify-etl run --store ./data --from playlist.json",
            "no runs yet",
        ],
    );
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.say(&["run", "--from", text(&demo)]).ends(0, &[]);
    desk.write("data/plugins/broken.wasm", b"no");
    desk.write("data/raw_data/to_process/bad.json", b"no");
    let good = fixture("playlists/bom.json");
    desk.say(&["import", text(&good)]).ends(0, &[]);
    desk.say(&["transform"]).ends(1, &[]);
    desk.say(&["status"]).ends(
        1,
        &[
            "Summer Evenings",
            "1 waiting",
            "stays where it is until `broken` can be used",
            "spotify-etl transform --store ./data raw_data/to_process/",
            "1 failed",
            "not JSON",
            "spotify-etl transform --store ./data raw_data/failed/bad.json",
            "✗ broken",
            "spotify-etl plugin check --store ./data ./data/plugins/broken.wasm",
            "✓ song 0.1.0",
            "not all done",
            "spotify-etl runs --store ./data 2026",
        ],
    );
}

#[test]
fn a_plugin_tells_what_it_is() {
    let desk = Desk::without_plugins();
    let said = desk.say(&["plugin", "inspect", "built/song.wasm"]);
    said.ends(
        0,
        &[
            "song 0.1.0",
            "spotify-etl:plugin/transform@0.1.0",
            "sha256",
            "wasi:cli/",
            "table song (snapshot, key position)",
            "song_added",
            "timestamp",
            "not null",
        ],
    );
    let json = desk.say(&["plugin", "inspect", "built/song.wasm", "--json"]).json();
    assert_eq!(
        (&json["tables"][1]["name"], &json["tables"][0]["columns"][5]["type"]),
        (&"song_artist".into(), &"timestamp".into())
    );
    desk.write("text.wasm", b"hello");
    desk.say(&["plugin", "inspect", "text.wasm"])
        .ends(1, &["`text.wasm` is refused as a plugin: not WebAssembly"]);
}

#[test]
fn a_store_that_can_not_be_written_to_says_so_and_loses_nothing() {
    let desk = Desk::new();
    let demo = fixture("playlists/both_keys.json");
    desk.write("file", b"");
    desk.say(&["import", text(&demo), "--store", "file"])
        .ends(2, &["could not", "a store is a folder"]);
    // As a user who may not write; root may.
    let setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if !setpriv || !fs::metadata("/proc/self").is_ok_and(|_| is_root()) {
        skipped("a read-only store needs root and setpriv to become somebody else");
        return;
    }
    let before = files_below(&desk.path("data"));
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(command_file());
    command.args(["import", text(&demo), "--store", text(&desk.path("data"))]).env_clear();
    let reachable = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "test", "-x"])
        .arg(command_file())
        .status();
    if !reachable.is_ok_and(|status| status.success()) {
        skipped("the built command is in a folder that others can't enter");
        return;
    }
    said(command.output().unwrap()).ends(2, &["could not", "Permission denied"]);
    assert_eq!(files_below(&desk.path("data")), before);
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

#[test]
fn a_full_disk_loses_nothing_and_the_next_run_goes_on() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    // As near as it gets without a disk of its own: no file may grow beyond so many KiB.
    for kibibytes in [1, 4, 8, 16, 64] {
        let mut own = desk.command(&["run", "--from", text(&demo)]);
        own.env("SPOTIFY_ETL_CACHE_DIR", "none");
        // The signal that comes with it must not end the program either.
        let said = said_by(within(&format!("-f {kibibytes}"), &own));
        assert!([1, 2].contains(&said.status), "{kibibytes} KiB: {}, {}", said.status, said.out);
        let text = said.out + &said.err;
        assert!(
            text.contains("see `ulimit -f`, then run the same command again: nothing is lost)"),
            "{kibibytes} KiB: {text}"
        );
        assert_eq!(fs::read_dir(desk.path("data/.store/unfinished")).unwrap().count(), 0);
    }
    desk.say(&["run", "--from", text(&demo)]).ends(0, &["all done"]);
    assert_eq!((desk.count("raw_data/processed/"), desk.count("raw_data/to_process/")), (1, 0));
}

#[test]
fn help_teaches_with_examples() {
    let desk = Desk::without_plugins();
    desk.say(&["--help"]).ends(
        0,
        &[
            "Examples:",
            "spotify-etl run --from playlist.json",
            "Exit status: 0 all done",
            "document_bytes=64MiB",
        ],
    );
    for command in ["init", "run", "import", "transform", "runs"] {
        desk.say(&[command, "--help"]).ends(0, &["Example"]);
    }
}

#[test]
fn a_path_or_key_that_is_not_there_stops_none_of_the_others() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    let said = desk.say(&["run", "--from", "nowhere.json", text(&demo)]);
    said.ends(
        1,
        &["2 files: 1 brought in, 1 rejected", "could not read `nowhere.json`", "50 rows"],
    );
    let key = desk.keys().into_iter().find(|key| key.starts_with("raw_data/processed/")).unwrap();
    let said = desk.say(&["transform", "nothing", &key, &key]);
    said.ends(1, &["nothing: not there", "no document `nothing`", "50 rows"]);
    assert_eq!(said.out.matches("Summer Evenings").count(), 1);
}

#[test]
fn a_file_where_a_playlist_s_folder_would_be_stops_none_of_the_others() {
    let desk = Desk::new();
    desk.write("one.json", br#"{"id":"ABC","items":{"items":[]}}"#);
    desk.write("data/raw_data/to_process/ABC", br#"{"items":[]}"#);
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    let said = desk.say(&["run", "--from", "one.json", text(&demo)]);
    said.ends(1, &["1 brought in, 1 rejected", "move away the file that is in the way", "50 rows"]);
    desk.say(&["transform"]).ends(0, &["ABC-"]);
    assert_eq!((desk.count("raw_data/to_process/"), desk.count("raw_data/processed/")), (0, 2));
}

#[test]
fn a_landed_document_keeps_its_playlist_and_its_time() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.say(&["import", text(&demo)]).ends(0, &[]);
    let key = desk.keys().into_iter().find(|key| key.starts_with("raw_data/")).unwrap();
    let landed = format!("data/{key}");
    desk.say(&["import", &landed, "--playlist", "other"])
        .ends(1, &["a landed document, which stays", "leave --playlist and --extracted-at out"]);
    desk.say(&["import", &landed]).ends(0, &["1 there already, waiting"]);
}

#[test]
fn names_do_not_steer_the_terminal() {
    let desk = Desk::new();
    let name = r#"{"id":"ABC","name":"\u001b[2Jred\u202e\nline","items":{"items":[]}}"#;
    desk.write("name.json", name.as_bytes());
    let said = desk.say(&["run", "--from", "name.json"]);
    said.ends(0, &["\u{fffd}[2Jred\u{fffd}"]);
    assert!(!said.out.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn a_document_stays_if_something_else_is_in_the_place_that_it_should_move_to() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.say(&["import", text(&demo)]).ends(0, &[]);
    let waiting = desk.keys().into_iter().find(|key| key.starts_with("raw_data/")).unwrap();
    let place = format!("data/{}", waiting.replace("to_process", "processed"));
    fs::create_dir_all(desk.path(&place)).unwrap();
    let said = desk.say(&["transform"]);
    said.ends(1, &["something that is no document is in its place", "take it away"]);
    assert!(desk.path("data").join(&waiting).exists());
    fs::remove_dir(desk.path(&place)).unwrap();
    // Another document, which somebody renamed.
    let other = Desk::new();
    let both = fixture("playlists/both_keys.json");
    other.say(&["import", text(&both)]).ends(0, &[]);
    let landed = other.keys().into_iter().find(|key| key.starts_with("raw_data/")).unwrap();
    fs::copy(other.path("data").join(landed), desk.path(&place)).unwrap();
    desk.say(&["transform"]).ends(1, &["another document is in its place"]);
    assert!(desk.path("data").join(&waiting).exists());
    fs::remove_file(desk.path(&place)).unwrap();
    desk.say(&["transform"]).ends(0, &["all done"]);
}

#[test]
fn a_file_named_like_a_reason_is_neither_taken_for_one_nor_overwritten() {
    let desk = Desk::new();
    desk.write("data/raw_data/to_process/a.error.json", b"first");
    desk.write("data/raw_data/to_process/a.json", b"second");
    desk.say(&["transform"]).ends(1, &[]);
    let read = |name: &str| fs::read(desk.path("data/raw_data/failed").join(name)).unwrap();
    assert_eq!((read("a.error.json.json"), read("a.json")), (b"first".into(), b"second".into()));
    assert!(read("a.error.json").starts_with(b"{"));
    desk.say(&["status"]).ends(1, &["2 failed", "2 documents could not be read"]);
}

#[test]
fn of_equal_files_without_a_time_the_first_is_kept() {
    let desk = Desk::new();
    for (name, seconds) in [("c", 1_700_000_000), ("a", 1_710_000_000), ("b", 1_720_000_000)] {
        let key = format!("data/raw_data/to_process/{name}.json");
        let path = desk.write(&key, &fs::read(fixture("playlists/bom.json")).unwrap());
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    }
    desk.say(&["transform", "--jobs", "4"]).ends(0, &["there already under another time"]);
    let kept: Vec<_> = desk.keys().into_iter().filter(|key| key.starts_with("raw_data/")).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert!(kept[0].contains("/20240309T160000Z-"), "{kept:?}");
}

#[test]
fn files_are_brought_in_as_if_one_by_one() {
    let desk = Desk::new();
    let large = fs::read(fixture("playlists/demo_2026-07-06_06-00-00.json")).unwrap();
    let small = fs::read(fixture("playlists/bom.json")).unwrap();
    for number in 0_u32..60 {
        // All even ones are equal, and only the time when they were written tells them apart.
        let path = desk.write(
            &format!("files/{number:02}.json"),
            if number % 2 == 0 { &small } else { &large },
        );
        let file = fs::File::options().append(true).open(path).unwrap();
        let seconds = std::time::Duration::from_secs(1_700_000_000 + u64::from(number) * 86_400);
        file.set_modified(std::time::UNIX_EPOCH + seconds).unwrap();
    }
    let brought_in = |jobs: &str| {
        let store = format!("store-{jobs}");
        let said = desk.say(&["import", "--store", &store, "--jobs", jobs, "--json", "files"]);
        said.ends(0, &[]);
        let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let told = report["imports"].as_array().unwrap().clone();
        assert_eq!(told.iter().filter(|one| one["status"] == "landed").count(), 2);
        (told, files_below(&desk.path(&store).join("raw_data")))
    };
    assert_eq!(brought_in("4"), brought_in("1"));
}

#[test]
fn more_than_there_is_room_for_is_brought_in_in_turn() {
    const MIB: usize = 1 << 20;
    let desk = Desk::new();
    let page = fs::read_to_string(fixture("playlists/bom.json")).unwrap();
    let page = page.trim_start_matches('\u{feff}');
    for (number, mib) in [1, 30, 40, 1, 63, 1, 20, 20, 20].into_iter().enumerate() {
        let name = format!("files/a_2026-07-{:02}_06-00-00.json", number + 1);
        desk.write(&name, (page.to_owned() + &" ".repeat(mib * MIB)).as_bytes());
    }
    desk.say(&["import", "--jobs", "4", "files"]).ends(0, &["9 files: 9 brought in"]);
}

#[cfg(unix)]
#[test]
fn few_open_files_are_enough() {
    const DOCUMENTS: usize = 60;
    let desk = Desk::new();
    let page = fs::read(fixture("playlists/both_keys.json")).unwrap();
    for number in 0..DOCUMENTS {
        desk.write(&format!("files/a_2026-07-06_06-00-{number:02}.json"), &page);
    }
    let own = desk.command(&["run", "--from", "files", "--jobs", "8"]);
    said_by(within("-n 200", &own)).ends(0, &["60 files: 60 brought in", "all done"]);
    let tables = desk.keys().into_iter().filter(|key| key.starts_with("transformed_data/"));
    assert_eq!(tables.count(), DOCUMENTS * 5);
}

/// The same command within a limit of the shell's `ulimit`.
pub fn within(limit: &str, own: &Command) -> Command {
    let mut command = Command::new("bash");
    let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(own.get_program());
    command.args(own.get_args()).current_dir(own.get_current_dir().unwrap()).env_clear();
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_room_for_plugins_is_not_held_against_them() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    let own = desk.command(&["run", "--from", text(&demo)]);
    said_by(within("-v 3000000", &own)).ends(
        1,
        &[
            "1 file: 1 brought in",
            "WebAssembly can't be run on this machine: Cannot allocate memory (os error 12) (it needs address space, see `ulimit -v`",
        ],
    );
    let made = |key: &String| key.starts_with("transformed_data/") || key.contains(".error.");
    assert_eq!(desk.keys().into_iter().filter(made).count(), 0);
    desk.say(&["transform"]).ends(0, &["all done"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_there_is_no_memory_for_is_told_as_that() {
    let desk = Desk::new();
    // It has no bytes on the disk.
    fs::File::create(desk.path("large.json")).unwrap().set_len(8 << 30).unwrap();
    let own = desk.command(&["import", "large.json", "--limit", "document_bytes=16GiB"]);
    let why = "out of memory (give the process more memory, see `ulimit -v`";
    said_by(within("-v 3000000", &own)).ends(1, &["could not read `large.json`", why]);
    assert_eq!(desk.count("raw_data/"), 0);
    // In the store, too.
    let key = "raw_data/to_process/large.json";
    fs::create_dir_all(desk.path("data/raw_data/to_process")).unwrap();
    fs::rename(desk.path("large.json"), desk.path("data").join(key)).unwrap();
    let own = desk.command(&["plugin", "capture", key, "--to", "fixtures"]);
    said_by(within("-v 3000000", &own)).ends(2, &["could not read", key, why]);
}

#[test]
fn what_was_brought_in_is_reported_even_if_nothing_can_be_made_of_it() {
    let desk = Desk::new();
    desk.write("file", b"");
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    let said = desk.say(&["run", "--from", text(&demo), "--cache-dir", "file/cache"]);
    said.ends(
        1,
        &[
            "1 file: 1 brought in",
            "to keep compiled plugins (name another with --cache-dir, or `none`)",
        ],
    );
    desk.say(&["runs", "last"]).ends(0, &["1 brought in", "to keep compiled plugins"]);
    // A folder that nobody asked for may be missed.
    let mut command = desk.command(&["transform"]);
    command.env_remove("SPOTIFY_ETL_CACHE_DIR").env("HOME", "/proc/nowhere");
    said_by(command).ends(0, &["compiled plugins are not kept", "50 rows"]);
}

#[test]
fn kept_code_that_was_damaged_is_compiled_again() {
    let desk = Desk::new();
    let demo = fixture("playlists/both_keys.json");
    desk.say(&["run", "--from", text(&demo), "--cache-dir", "cache"]).ends(0, &["all done"]);
    let kept = || -> Vec<PathBuf> {
        let files = fs::read_dir(desk.path("cache/spotify-etl-code")).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    };
    let whole: BTreeMap<PathBuf, Vec<u8>> =
        kept().into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect();
    assert_eq!(whole.len(), 4);
    for (number, (file, code)) in whole.iter().enumerate() {
        let mut damaged = code.clone();
        match number {
            0 => damaged.clear(),
            1 => damaged.truncate(3),
            2 => damaged.truncate(code.len() - 1),
            _ => damaged[code.len() / 2] ^= 1,
        }
        fs::write(file, damaged).unwrap();
    }
    desk.say(&["replay", "--cache-dir", "cache"]).ends(0, &["1 document"]);
    for (file, code) in whole {
        assert_eq!(fs::read(&file).unwrap().len(), code.len(), "{}", file.display());
    }
}

#[cfg(unix)]
#[test]
fn a_folder_for_code_that_others_can_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    let folder = desk.path("cache/spotify-etl-code");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let demo = fixture("playlists/both_keys.json");
    let said = desk.say(&["run", "--from", text(&demo), "--cache-dir", "cache"]);
    said.ends(
        1,
        &[
            "/cache` (others can write to `",
            "/cache/spotify-etl-code`: chmod go-w ",
            ") to keep compiled plugins (name another with --cache-dir, or `none`)",
        ],
    );
    // A link may lead elsewhere a moment later.
    fs::remove_dir(&folder).unwrap();
    fs::create_dir(desk.path("elsewhere")).unwrap();
    link(&desk.path("elsewhere"), &folder);
    let said = desk.say(&["transform", "--cache-dir", "cache"]);
    said.ends(2, &["spotify-etl-code` is not a folder, or is a link"]);
    // Without a folder that was asked for, the program goes on.
    let home = desk.path("home/.cache/spotify-etl");
    fs::create_dir_all(&home).unwrap();
    link(&desk.path("elsewhere"), &home.join("spotify-etl-code"));
    let mut command = desk.command(&["transform"]);
    command.env_remove("SPOTIFY_ETL_CACHE_DIR").env("HOME", desk.path("home"));
    said_by(command).ends(0, &["compiled plugins are not kept", "all done"]);
    assert_eq!(fs::read_dir(desk.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn the_cache_deletes_no_files_but_its_own() {
    let desk = Desk::new();
    let names = ["cache/thesis.doc", "cache/code/thesis.doc", "cache/spotify-etl-code/thesis.doc"];
    for name in names {
        // It has no bytes on the disk.
        let path = desk.write(name, b"");
        fs::File::options().write(true).open(path).unwrap().set_len(600 << 20).unwrap();
    }
    let demo = fixture("playlists/both_keys.json");
    desk.say(&["run", "--from", text(&demo), "--cache-dir", "cache"]).ends(0, &["all done"]);
    assert!(names.iter().all(|name| desk.path(name).exists()));
    assert_eq!(fs::read_dir(desk.path("cache/spotify-etl-code")).unwrap().count(), 5);
}

pub fn said_by(mut command: Command) -> Said {
    said(command.output().unwrap())
}

#[test]
fn a_damaged_table_record_is_its_plugin_s_problem_alone() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.write("data/tables/album.json", b"{}");
    let said = desk.say(&["run", "--from", text(&demo)]);
    said.ends(
        1,
        &[
            "plugin `album` is refused: ./data/tables/album.json is not a table's record",
            "song         50 rows",
            "until `album` can be used",
        ],
    );
    fs::remove_file(desk.path("data/tables/album.json")).unwrap();
    desk.say(&["transform"]).ends(0, &["all done"]);
}
