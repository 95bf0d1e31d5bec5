//! Plugins that loop, lie, flood, crash, or are none at all: each ends with a sentence, stores
//! nothing, and stops nobody else.

use std::{fs, path::Path, time::Instant};

use spotify_etl::{
    config::Limits,
    pipeline::report::{DocumentStatus, PluginStatus},
    plugin::{Engine, Refusal},
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::{
    desk::Desk,
    support::{EXTRACTED_AT, Place, cache, fixture, guest_file, plugin_file, problems, tests},
};

/// Limits that make the tests short.
fn tight() -> Limits {
    Limits {
        call_seconds: 1,
        guest_memory_bytes: 128 << 20,
        output_bytes: 16 << 20,
        table_rows: 10_000,
        violations_shown: 3,
        ..Limits::default()
    }
}

/// What comes of a document whose playlist has the name of a way to misbehave.
fn behave(how: &str) -> (Place, String) {
    let place = Place::new();
    place.upload("misbehaves", &fs::read(guest_file("misbehaves")).unwrap());
    let path = place.folder.path().join("input.json");
    let playlist =
        serde_json::json!({ "id": "p", "name": how, "items": { "items": [null], "total": 1 } });
    fs::write(&path, playlist.to_string()).unwrap();
    let started = Instant::now();
    let (_, transformed) = place.run_with(std::slice::from_ref(&path), &tight());
    assert!(started.elapsed().as_secs() < 20, "{how} took {:?}", started.elapsed());
    fs::remove_file(path).unwrap();
    let [document] = transformed.documents.as_slice() else { panic!("{how}: not one document") };
    let others: Vec<_> = document.tables.iter().map(|table| table.table.as_str()).collect();
    let stored = ["album", "artist", "snapshot", "song", "song_artist"];
    for table in stored {
        assert!(others.contains(&table), "{how}: the other plugins were stopped");
    }
    (place, problems(&transformed))
}

#[test]
fn a_plugin_that_misbehaves_is_ended_with_a_sentence_and_stores_nothing() {
    for (how, sentence) in [
        (
            "loops",
            "was stopped after 1 s, the limit for a call (raise it with --limit call_seconds=...), in ",
        ),
        (
            "allocates",
            "of memory, and the limit is 128.0 MiB (raise it with --limit guest_memory_bytes=...)",
        ),
        ("recurses", "overflowed its stack: functions call one another without end, in "),
        (
            "panics",
            "panicked: `index out of bounds: the len is 0 but the index is 7` at tests/guests/examples/misbehaves.rs:",
        ),
        ("exits", "ended itself instead of returning"),
        ("aborts", "failed: wasm trap: wasm `unreachable` instruction executed"),
        ("logs without end", "was stopped after 1 s"),
        (
            "prints without end",
            "wrote more than 64.0 KiB to standard output and error, the limit (raise it with --limit log_bytes=...)",
        ),
        (
            "returns much",
            "returned more than 16.0 MiB, the limit for the output of a call (raise it with --limit output_bytes=...)",
        ),
        ("says it is malformed", "says the document is malformed: `no rhythm`"),
        ("too few batches", "0 batches for 1 declared tables"),
        ("too many batches", "2 batches for 1 declared tables"),
        ("too few columns", "table `misbehaves`: 4 columns, and 5 are declared"),
        ("too many columns", "table `misbehaves`: 6 columns, and 5 are declared"),
        (
            "another type",
            "table `misbehaves`, column `number`: the values are boolean, and int64 is declared",
        ),
        (
            "unequal lengths",
            "table `misbehaves`, column `number`: 2 values, and the table's first column has 1",
        ),
        (
            "null where it must not be",
            "table `misbehaves`, column `id`, row 1: null, and the column is declared not null",
        ),
        (
            "null beyond the rows",
            "column `number`: row 7, counted from 0, is said to be null, and there are 1 rows",
        ),
        ("nulls out of order", "column `number`: the rows that are null don't ascend at 0"),
        (
            "text ends before it begins",
            "column `id`, row 2: its text is said to go from byte 3 to byte 1 of 4",
        ),
        (
            "text ends inside a character",
            "column `id`, row 1: its text is said to go from byte 0 to byte 1 of 2",
        ),
        ("text is left over", "column `id`: the last value ends at byte 0 of 4"),
        (
            "the same key twice",
            "table `misbehaves`, row 2: its key (id) = (`same`) is that of row 1",
        ),
        ("not a number", "column `ratio`, row 1: `NaN` is not a finite number"),
        ("infinite", "column `ratio`, row 1: `-inf` is not a finite number"),
        (
            "day out of range",
            "column `day`, row 1: `2147483647` days since 1970-01-01 is not a day of the years 1 to 9999",
        ),
        (
            "moment out of range",
            "column `moment`, row 1: `-9223372036854775808` milliseconds since 1970-01-01 is not in the years 1 to 9999",
        ),
        (
            "many rows",
            "table `misbehaves`: 10001 rows, and 10000 are the limit (raise it with --limit table_rows=...)",
        ),
        ("many violations", "broke its word in 999 places: "),
        (
            "a reason that is no word",
            "the reason `Bad Reason!` of skipped entry 1 is not a word of a to z and `_`",
        ),
    ] {
        let (place, problems) = behave(how);
        assert!(problems.contains(sentence), "{how}: {problems}");
        assert!(problems.contains("plugin `misbehaves` "), "{how}: {problems}");
        let files = place.files();
        let kept = |part: &str| files.keys().filter(|key| key.contains(part)).count();
        assert_eq!(kept("misbehaves_data"), 0, "{how}: rows were stored");
        assert_eq!(kept("raw_data/to_process/p/"), 1, "{how}: the document moved");
    }
}

#[test]
fn all_violations_are_counted_and_as_many_shown_as_the_limit_allows() {
    let (_, problems) = behave("many violations");
    assert_eq!(problems.matches("its key (id)").count(), 3, "{problems}");
    assert!(problems.contains("; and 996 more (show them with --limit violations_shown=...)"));
}

#[test]
fn a_plugin_that_behaves_or_passes_a_document_over_holds_nothing_up() {
    for how in ["behaves", "says it is not for it", "sleeps", "logs much"] {
        let (place, problems) = behave(how);
        assert_eq!(problems, "", "{how}");
        assert!(place.only("raw_data/", ".json").starts_with("raw_data/processed/p/"), "{how}");
    }
}

#[test]
fn a_plugin_sees_nothing_of_the_host_and_the_same_at_every_call() {
    let rows = |place: &Place| {
        let key = place.only("transformed_data/misbehaves_data/", ".csv");
        place.read(&key)
    };
    let ((one, problems), (other, _)) = (behave("looks around"), behave("looks around"));
    assert_eq!(problems, "");
    let seen = rows(&one);
    assert_eq!(seen, rows(&other));
    // The clock, no files, no network, no variables, no arguments, and time that stands still.
    let extracted_at = 1_783_317_600;
    assert!(
        seen.contains(&format!("Ok({extracted_at}) [false, false, false] false 0 0 ")),
        "{seen}"
    );
    assert!(seen.contains("Some(0) ["), "{seen}");
    assert!(EXTRACTED_AT.starts_with("20260706T06"));
}

fn refusal(bytes: &[u8]) -> String {
    let engine = Engine::new(&tight(), None).unwrap();
    match engine.load("guest", bytes) {
        Ok(_) => panic!("it was taken"),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn what_is_no_plugin_is_refused_for_what_it_is() {
    let song = fs::read(plugin_file("song")).unwrap();
    let mut flipped = song.clone();
    flipped[song.len() / 2] ^= 0xff;
    let engine = wasmtime::Engine::default();
    let precompiled = engine.precompile_component(&song).unwrap();
    for (bytes, sentence) in [
        (Vec::new(), "the file is empty"),
        (b"#!/bin/sh\n".to_vec(), "not WebAssembly: it does not begin with `\\0asm`"),
        (wat::parse_str("(module)").unwrap(), "a core module, not a component"),
        (precompiled, "precompiled machine code, which is never run"),
        (song[..song.len() / 2].to_vec(), "not a whole or valid component"),
        (song[..8].to_vec(), "it does not export `spotify-etl:plugin/transform@0.1.0`"),
        (
            vec![0; 33 << 20],
            "larger than the limit of 32.0 MiB for a plugin (raise it with --limit plugin_bytes=...)",
        ),
    ] {
        let found = refusal(&bytes);
        assert!(found.contains(sentence), "{sentence}: {found}");
    }
}

#[test]
fn a_plugin_that_never_says_what_it_is_is_refused() {
    let found = refusal(&fs::read(guest_file("endless_describe")).unwrap());
    assert!(found.starts_with("asked what it is, it was stopped after 1 s"), "{found}");
}

#[test]
fn tables_that_can_not_be_are_refused_with_all_their_faults() {
    let found = refusal(&fs::read(guest_file("bad_schema")).unwrap());
    for fault in [
        "table `Bad Name`: a name that Athena takes",
        "the name of column `document` is reserved",
        "column `twice` is declared twice",
        "key column `nowhere` is not declared",
        "key column `document` is nullable",
        "table `empty` has no columns",
    ] {
        assert!(found.contains(fault), "{fault}: {found}");
    }
}

/// A component of a few lines of WebAssembly text, for a world of its own beside the contract's.
fn component(world: &str, core: &str) -> Vec<u8> {
    component_of(&(contract() + world), core)
}

fn contract() -> String {
    fs::read_to_string(tests().join("../wit/plugin.wit")).unwrap()
}

/// A component of a few lines of WebAssembly text, for the world `guest` of a contract.
fn component_of(contract: &str, core: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", contract).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = wat::parse_str(core).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

const EXPORTS: &str = r#"
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 8)
    (func (export "spotify-etl:plugin/transform@0.1.0#describe") (result i32) unreachable)
    (func (export "spotify-etl:plugin/transform@0.1.0#extract") (param i32) (result i32) unreachable)
"#;

#[test]
fn a_start_function_that_never_ends_is_ended() {
    let core = format!("(module {EXPORTS} (func $start (loop br 0)) (start $start))");
    let found = refusal(&component("world guest { export transform; }", &core));
    assert!(found.starts_with("asked what it is, it was stopped after 1 s"), "{found}");
}

#[test]
fn a_plugin_that_asks_for_too_much_memory_at_once_is_refused() {
    let core = format!("(module {} )", EXPORTS.replace(r#""memory") 1"#, r#""memory") 60000"#));
    let found = refusal(&component("world guest { export transform; }", &core));
    assert!(
        found.contains("it asks for 3750.0 MiB of memory at once, and the limit is 128.0 MiB"),
        "{found}"
    );
}

#[test]
fn a_component_of_another_interface_is_refused_with_every_difference_before_it_runs() {
    let world = r#"
        interface transform-me { run: func(); }
        interface printer { print: func(); }
        world guest { import printer; export transform-me; }"#;
    let core = r#"(module
        (import "spotify-etl:plugin/printer@0.1.0" "print" (func))
        (func (export "spotify-etl:plugin/transform-me@0.1.0#run") unreachable))"#;
    let found = refusal(&component(world, core));
    assert!(
        found.contains(
            "it imports `spotify-etl:plugin/printer@0.1.0`, which the host does not offer"
        ),
        "{found}"
    );
    assert!(found.contains("it does not export `spotify-etl:plugin/transform@0.1.0`"), "{found}");
}

#[test]
fn another_version_of_the_interface_is_refused_as_that() {
    let (newer, next) = ("@0.1.0", "@0.2.0");
    let changed = contract().replace(newer, next) + "world guest { export transform; }";
    let core = format!("(module {})", EXPORTS.replace(newer, next));
    let found = refusal(&component_of(&changed, &core));
    assert!(
        found.contains("it exports `spotify-etl:plugin/transform@0.2.0`, and the host accepts `spotify-etl:plugin/transform@0.1.0`"),
        "{found}"
    );
}

#[test]
fn the_same_names_with_other_types_are_refused_as_that() {
    let changed = contract().replace("version: string,", "version: u32,");
    let changed = changed + "world guest { export transform; }";
    let bytes = component_of(&changed, &format!("(module {EXPORTS})"));
    let engine = Engine::new(&tight(), None).unwrap();
    let Err(refusal) = engine.load("guest", &bytes) else { panic!("it was taken") };
    assert!(matches!(refusal, Refusal::Interface { .. }), "{refusal}");
    assert!(refusal.to_string().contains("has another type than the host's"), "{refusal}");
}

#[test]
fn a_refused_plugin_does_not_stop_the_others_and_keeps_the_document_waiting() {
    let place = Place::new();
    place.upload("broken", b"\0asm but not really");
    let (_, transformed) = place.run(&[fixture("playlists/both_keys.json")]);
    let broken = transformed.plugins.iter().find(|plugin| plugin.name == "broken").unwrap();
    assert_eq!(broken.status, PluginStatus::Refused);
    let document = &transformed.documents[0];
    assert_eq!((document.status, document.tables.len()), (DocumentStatus::Waiting, 5));
    fs::remove_file(place.path("plugins/broken.wasm")).unwrap();
    assert_eq!(place.transform().documents[0].status, DocumentStatus::Stored);
}

#[test]
fn compiled_plugins_are_found_again() {
    let folder = tempfile::TempDir::new().unwrap();
    let bytes = fs::read(plugin_file("song")).unwrap();
    let load = || {
        let engine = Engine::new(&Limits::default(), Some(folder.path())).unwrap();
        engine.load("song", &bytes).unwrap();
        // Beside what was compiled there are notes on its use, written whenever.
        let files = crate::support::files_below(folder.path());
        files.into_keys().filter(|key| !key.rsplit('/').next().unwrap().contains('.')).count()
    };
    let files = load();
    assert!(files > 0 && cache() != folder.path());
    assert_eq!(load(), files);
}

/// Code of one plugin under the name of another is what a user of the same machine could put there.
#[test]
fn compiled_code_of_another_plugin_is_not_run() {
    let place = tempfile::TempDir::new().unwrap();
    let [mine, theirs, link] = ["mine", "theirs", "link"].map(|name| place.path().join(name));
    let bytes = |name: &str| fs::read(plugin_file(name)).unwrap();
    let engine = |cache: &Path| Engine::new(&Limits::default(), Some(cache)).unwrap();
    let only = |cache: &Path| {
        let mut files = crate::support::files_below(cache);
        assert_eq!(files.len(), 1);
        let (name, content) = files.pop_first().unwrap();
        (cache.join(name), content)
    };
    engine(&mine).load("song", &bytes("song")).unwrap();
    engine(&theirs).load("album", &bytes("album")).unwrap();
    let ((song, _), (album, code)) = (only(&mine), only(&theirs));
    let foreign = album.with_file_name(song.file_name().unwrap());
    fs::rename(album, &foreign).unwrap();
    // A link is changed between the opening of the cache and its use.
    crate::support::link(&mine, &link);
    let open = engine(&link);
    fs::remove_file(&link).unwrap();
    crate::support::link(&theirs, &link);
    assert!(open.load("song", &bytes("song")).unwrap().fills("song"));
    // The file was only renamed.
    assert!(engine(&theirs).load("song", &bytes("song")).unwrap().fills("song"));
    fs::write(&song, code).unwrap();
    assert!(engine(&mine).load("song", &bytes("song")).unwrap().fills("song"));
}

#[test]
fn kept_code_that_is_not_whole_is_made_again() {
    let folder = tempfile::TempDir::new().unwrap();
    let bytes = fs::read(plugin_file("song")).unwrap();
    let load = || {
        let engine = Engine::new(&Limits::default(), Some(folder.path())).unwrap();
        engine.load("song", &bytes).unwrap();
        let mut files = crate::support::files_below(folder.path());
        assert_eq!(files.len(), 1);
        files.pop_first().unwrap()
    };
    let (name, whole) = load();
    let middle = whole.len() / 2;
    let mut flipped = whole.clone();
    flipped[middle] ^= 1;
    for damaged in [&flipped[..], &whole[..middle], &whole[..20], b""] {
        fs::write(folder.path().join(&name), damaged).unwrap();
        assert!(load() == (name.clone(), whole.clone()));
    }
}

#[test]
fn function_tables_count_as_memory() {
    let core = format!("(module {EXPORTS} (table 20000000 funcref))");
    let found = refusal(&component("world guest { export transform; }", &core));
    assert!(found.contains("of memory, and the limit is 128.0 MiB"), "{found}");
}

#[test]
fn rows_that_would_make_too_large_files_are_refused_before_they_do() {
    let place = Place::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    let mut found = String::new();
    // What a call returns is smaller than the files it makes: there is a limit between the two.
    for kibibytes in 8..24 {
        let limits = Limits { output_bytes: kibibytes << 10, ..Limits::default() };
        found += &problems(&place.run_with(std::slice::from_ref(&demo), &limits).1);
    }
    assert!(found.contains("its file would be larger than"), "{found}");
    assert!(
        found.contains("the limit for output (raise it with --limit output_bytes=...)"),
        "{found}"
    );
}

#[test]
fn a_document_that_is_made_to_be_slow_is_done_in_time() {
    let many =
        |count: u32, item: fn(u32) -> String| (0..count).map(item).collect::<Vec<_>>().join(",");
    let track = |members: &str| format!(r#"{{"track":{{"id":"t","name":"n",{members}}}}}"#);
    for (what, entries) in [
        ("names of members", track(&many(200_000, |n| format!("\"key{n}\":{n}")))),
        ("a name again and again", track(&many(200_000, |_| "\"id\":\"t\"".to_owned()))),
        ("digits", track(&format!("\"duration_ms\":{}", "9".repeat(1 << 20)))),
        ("digits after the point", track(&format!("\"popularity\":0.{}", "3".repeat(1 << 20)))),
        ("escapes", track(&format!("\"type\":\"{}\"", "\\u0041".repeat(1 << 18)))),
        (
            "artists",
            track(&format!("\"artists\":[{}]", many(50_000, |n| format!("{{\"id\":\"{n}\"}}")))),
        ),
        ("levels", track(&format!("\"album\":{}1{}", "[".repeat(100), "]".repeat(100)))),
        ("entries", many(100_000, |_| "null".to_owned())),
        ("tracks", many(20_000, |n| format!(r#"{{"track":{{"id":"t{n}","name":"n"}}}}"#))),
    ] {
        let place = Place::new();
        let path = place.folder.path().join("input.json");
        fs::write(&path, format!(r#"{{"id":"p","name":"n","items":{{"items":[{entries}]}}}}"#))
            .unwrap();
        let started = Instant::now();
        let (_, transformed) = place.run(std::slice::from_ref(&path));
        assert!(started.elapsed().as_secs() < 10, "{what} took {:?}", started.elapsed());
        let [document] = transformed.documents.as_slice() else {
            panic!("{what}: not one document")
        };
        let found = problems(&transformed);
        assert_eq!((document.status, found.as_str()), (DocumentStatus::Stored, ""), "{what}");
    }
}

#[test]
fn what_is_stored_steers_no_terminal_and_leads_nowhere() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.say(&["run", "--from", demo.to_str().unwrap()]).ends(0, &[]);
    let evil = "\u{1b}[2J\u{9b}x\u{202e}";
    let sha256 = "a".repeat(64);
    let version = serde_json::json!({
        "name": "song", "version": evil, "sha256": sha256, "seen_at": evil, "by": evil,
        "activations": [{ "at": evil, "by": evil, "way": "publish", "before": null }],
    });
    let history = format!("data/plugins/history/song/{sha256}.json");
    desk.write(&history, version.to_string().as_bytes());
    let list = serde_json::json!({ "format": 1, "playlists": [{ "id": "abc", "label": evil }] });
    desk.write("data/playlists.json", list.to_string().as_bytes());
    desk.write("data/raw_data/failed/x.json", b"{");
    let reason = serde_json::json!({ "problem": evil });
    desk.write("data/raw_data/failed/x.error.json", reason.to_string().as_bytes());
    let name = newest(&desk);
    let run = fs::read_to_string(desk.path("data/runs").join(&name)).unwrap();
    let run = run.replace("\"song\"", "\"song \\u001b[2J\"");
    let run = run.replace(name.trim_end_matches(".json"), "99990101T000000Z-00000000");
    desk.write("data/runs/99990101T000000Z-00000000.json", run.as_bytes());
    desk.write("data/runs/99990102T000000Z-00000000.json", b"[\"\x1b[2J\"]");
    let steers = |letter: char| {
        (letter.is_control() && letter != '\n') || ('\u{202a}'..='\u{202e}').contains(&letter)
    };
    for command in [
        &["plugin", "list"][..],
        &["playlist", "list"],
        &["status"],
        &["runs"],
        &["runs", "last"],
        &["query", "SELECT '\u{1b}[2J\u{202e}' AS x"],
    ] {
        for json in [false, true] {
            let mut command = command.to_vec();
            command.extend(json.then_some("--json"));
            let said = desk.say(&command);
            assert!(said.status < 2 && !said.out.is_empty(), "{command:?}: {}", said.err);
            assert!(!said.out.contains(steers), "{command:?}: {:?}", said.out);
            assert!(!said.err.contains(steers), "{command:?}: {:?}", said.err);
            if json {
                said.json();
            }
        }
    }
    // A pipe gets the bytes unchanged.
    let said = desk.say(&["query", "--csv", "SELECT '\u{1b}[2J' AS x"]);
    assert_eq!(said.out, "x\n\u{1b}[2J\n");
    desk.say(&["runs", "../tables/song"]).ends(2, &[]);
}

fn newest(desk: &Desk) -> String {
    let runs = fs::read_dir(desk.path("data/runs")).unwrap();
    runs.map(|run| run.unwrap().file_name().into_string().unwrap()).max().unwrap()
}

#[test]
fn a_plugin_whose_name_could_not_be_kept_is_refused() {
    let place = Place::new();
    place.upload("od\u{202e}d", &fs::read(plugin_file("song")).unwrap());
    let path = fixture("playlists/both_keys.json");
    let transformed = problems(&place.run(&[path]).1);
    assert!(transformed.contains("a plugin's file is named with letters"), "{transformed}");
    assert!(!place.files().keys().any(|key| key.starts_with("plugins/history/od")));
}

#[test]
fn stored_json_has_a_limit() {
    let desk = Desk::new();
    desk.write("data/playlists.json", &vec![b' '; (4 << 20) + 1]);
    desk.say(&["playlist", "list"])
        .ends(2, &["playlists.json has 4.0 MiB, and the limit for what is read there is 4.0 MiB"]);
}
