//! Changing a transform: what a candidate would change, how it becomes the active version, and how it is
//! taken back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use futures_util::future::join;
use serde_json::Value;
use spotify_etl::{
    config::Limits,
    document::FutureTimes,
    pipeline::{
        Transform,
        active::{PluginPlace, Shelf},
        diff::Diff,
        jobs::Until,
        publish::{History, PublishError, Standing, Switch, Switched},
        replay::Filter,
        report::Empty,
        versions::{Way, versions},
    },
    store::{Folder, Object, Page, Store, StoreError, Tag, Written},
};

use crate::{
    desk::{Desk, Said},
    support::{
        NOW, Nobody, Site, cache, files_below, fixture, guest_file, plugin_file, tests, wait,
    },
};

const DOCUMENTS: [&str; 4] = ["both_keys", "same_track_twice", "bom", "no_payload"];
const CANDIDATES: [&str; 6] =
    ["tracks_rule", "tracks_column", "tracks_fewer", "tracks_renamed", "tracks_traps", "tracks_1"];

/// A store with one plugin, and a history that went through it.
fn history(version: &str) -> Desk {
    let desk = Desk::bare();
    desk.write("built/tracks.wasm", &guest(version));
    desk.say(&["init", "--from", "built"]).ends(0, &["tracks"]);
    for name in DOCUMENTS {
        let file = fixture(&format!("playlists/{name}.json"));
        desk.write(&format!("raw/{name}.json"), &fs::read(file).unwrap());
    }
    let at = "2026-07-06T06:00:00Z";
    desk.say(&["run", "--from", "raw", "--extracted-at", at, "--allow-empty"]).ends(0, &[]);
    desk
}

fn guest(name: &str) -> Vec<u8> {
    fs::read(guest_file(name)).unwrap()
}

fn candidate(desk: &Desk, version: &str) -> PathBuf {
    desk.write("new/tracks.wasm", &guest(version))
}

fn say(desk: &Desk, command: &[&str], file: &Path) -> Said {
    let mut arguments = vec!["plugin"];
    arguments.extend(command);
    arguments.insert(2, file.to_str().unwrap());
    desk.say(&arguments)
}

/// The tables alone.
fn tables(desk: &Desk) -> BTreeMap<String, Vec<u8>> {
    let mut files = files_below(&desk.path("data"));
    files.retain(|key, _| key.starts_with("transformed_data/"));
    files
}

fn all_of(desk: &Desk) -> BTreeMap<String, Vec<u8>> {
    files_below(&desk.path("data"))
}

/// A file's SHA-256 is another one with each compiler.
fn without_sha256(mut report: Value) -> Value {
    for version in ["active", "candidate"] {
        report[version]["sha256"] = "...".into();
    }
    report
}

#[test]
fn a_plugin_that_was_removed_by_the_command_is_not_missed() {
    let desk = history("tracks_1");
    let document = fixture("playlists/episodes.json");
    let run = || desk.say(&["run", "--from", document.to_str().unwrap(), "--allow-empty"]);
    desk.write("built/decade.wasm", &guest("decade"));
    desk.say(&["init", "--from", "built"]).ends(0, &[]);
    fs::remove_file(desk.path("data/plugins/tracks.wasm")).unwrap();
    run().ends(1, &["plugin `tracks` is missing", "plugin remove tracks"]);
    desk.say(&["status"]).ends(1, &["✗ tracks (no file): tracks"]);
    desk.say(&["doctor"]).ends(1, &["plugin `tracks` is missing"]);
    desk.say(&["plugin", "remove", "tracks"]).ends(0, &["its file was gone already"]);
    desk.say(&["transform", "--allow-empty"]).ends(0, &["all done"]);
    // It is missed again once it was there again.
    desk.say(&["plugin", "rollback", "tracks"]).ends(0, &[]);
    fs::remove_file(desk.path("data/plugins/tracks.wasm")).unwrap();
    desk.say(&["doctor"]).ends(1, &["plugin `tracks` is missing"]);
    desk.say(&["plugin", "rollback", "tracks"]).ends(0, &[]);
    desk.say(&["plugin", "remove", "tracks"]).ends(0, &[]);
    desk.say(&["doctor"]).ends(1, &["decade"]);
}

#[test]
fn a_difference_is_the_golden_one_and_nothing_is_written() {
    let desk = history("tracks_1");
    let before = all_of(&desk);
    let mut faults = String::new();
    for version in CANDIDATES {
        let said = say(&desk, &["diff", "--json"], &candidate(&desk, version));
        assert_eq!(said.status, i32::from(version == "tracks_traps"), "{version}: {}", said.err);
        let found = serde_json::to_string_pretty(&without_sha256(said.json())).unwrap() + "\n";
        let golden = tests().join(format!("golden-diff/{version}.json"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::create_dir_all(golden.parent().unwrap()).unwrap();
            fs::write(&golden, &found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if found != expected {
            faults.push_str(&format!("{version}\n--- expected\n{expected}--- found\n{found}"));
        }
    }
    assert!(faults.is_empty(), "{faults}");
    assert_eq!(all_of(&desk), before);
}

#[test]
fn a_difference_reads_well_and_has_every_change_as_csv() {
    let desk = history("tracks_1");
    let file = candidate(&desk, "tracks_rule");
    say(&desk, &["diff"], &file).ends(
        0,
        &[
            "tracks: 1 (",
            "-> 1.1 (",
            "4 documents compared, 4 with other rows",
            "duration_ms",
            "changed tracks position=1 in",
        ],
    );
    let said = say(&desk, &["diff", "--csv"], &file);
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(lines[0], "document,table,change,key,column,before,after");
    let whole = say(&desk, &["diff", "--json"], &file).json();
    assert_eq!(lines.len() - 1, whole["changes"].as_array().unwrap().len());
    assert!(said.err.contains("4 documents compared"), "{}", said.err);

    let file = candidate(&desk, "tracks_column");
    say(&desk, &["diff"], &file)
        .ends(0, &["table `tracks` gets column `seconds int64`", "seconds new"]);
    let file = candidate(&desk, "tracks_renamed");
    say(&desk, &["diff"], &file).ends(0, &["name is called title", "don't fit: it begins anew"]);
    let file = candidate(&desk, "tracks_traps");
    say(&desk, &["diff"], &file).ends(1, &["fails now, and did not", "panicked"]);
    let file = candidate(&desk, "tracks_rule");
    say(&desk, &["diff", "--sample", "2"], &file)
        .ends(0, &["2 of 4 documents compared, 2 with other rows"]);
    say(&desk, &["diff", "--since", "2027-01-01"], &file).ends(2, &["no document of history"]);
}

#[test]
fn a_difference_writes_nothing_to_the_store() {
    let desk = history("tracks_1");
    let store = ReadOnly(Folder::new(desk.path("data")));
    let shelf = Shelf::new(&Limits::default(), Some(cache()));
    let candidate = shelf.engine().unwrap().load("tracks", &guest("tracks_rule")).unwrap();
    let diff = Diff {
        store: &store,
        plugins: PluginPlace { store: &store, prefix: "plugins/" },
        shelf: &shelf,
        limits: Limits::default(),
        jobs: 2,
        candidate: Arc::new(candidate),
        filter: Filter::default(),
        sample: None,
        progress: &Nobody,
    };
    let mut changes = 0;
    let report = wait(diff.run(|_| changes += 1)).unwrap();
    assert_eq!((report.documents_changed, report.rows_differing()), (4, changes));
}

/// A store that can't be written to.
struct ReadOnly(Folder);

#[async_trait]
impl Store for ReadOnly {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.0.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.0.list(prefix, after).await
    }
    async fn put_new(&self, key: &str, _: &[u8]) -> Result<Written, StoreError> {
        panic!("{key} was to be written")
    }
    async fn put(&self, key: &str, _: &[u8]) -> Result<(), StoreError> {
        panic!("{key} was to be written")
    }
    async fn put_if(&self, key: &str, _: &[u8], _: &Tag) -> Result<Written, StoreError> {
        panic!("{key} was to be written")
    }
    async fn delete_if(&self, key: &str, _: &Tag) -> Result<bool, StoreError> {
        panic!("{key} was to be deleted")
    }
    fn location(&self, key: &str) -> String {
        self.0.location(key)
    }
}

#[test]
fn published_and_replayed_history_is_as_if_the_version_had_always_been_there() {
    for version in ["tracks_rule", "tracks_column", "tracks_fewer"] {
        let desk = history("tracks_1");
        let said = say(&desk, &["publish", "--yes", "--replay"], &candidate(&desk, version));
        said.ends(0, &["is the active version", "all 4 snapshots of history show"]);
        assert_eq!(tables(&desk), tables(&history(version)), "{version}");
    }
    // What doesn't fit begins anew, in another folder.
    let desk = history("tracks_1");
    let file = candidate(&desk, "tracks_renamed");
    let before = all_of(&desk);
    say(&desk, &["publish", "--yes"], &file).ends(1, &["nothing was published", "say --replay"]);
    assert_eq!(all_of(&desk), before);
    say(&desk, &["publish", "--yes", "--replay"], &file).ends(0, &["is of generation 2"]);
    let said = desk.say(&[
        "query",
        "SELECT count(*) AS titles FROM tracks WHERE title IS NOT NULL",
        "--csv",
    ]);
    assert_ne!(said.out.lines().nth(1), Some("0"), "{}", said.out);
}

#[test]
fn one_command_takes_it_back() {
    let desk = history("tracks_1");
    let first = tables(&desk);
    say(&desk, &["publish", "--yes", "--replay"], &candidate(&desk, "tracks_rule")).ends(0, &[]);
    assert_ne!(tables(&desk), first);
    desk.say(&["plugin", "rollback", "tracks"]).ends(
        0,
        &["tracks 1 (", "is the active version", "until: spotify-etl replay --plugin tracks"],
    );
    desk.say(&["replay", "--plugin", "tracks"]).ends(0, &["4 changed"]);
    assert_eq!(tables(&desk), first);
    // Again: no further back.
    desk.say(&["plugin", "rollback", "tracks"])
        .ends(0, &["was there already", "to go further back"]);
    let sha256 = spotify_etl::document::sha256(&guest("tracks_rule"));
    desk.say(&["plugin", "rollback", "tracks", &sha256[..8], "--replay"])
        .ends(0, &["tracks 1.1 ("]);
    assert_eq!(tables(&desk), tables(&history("tracks_rule")));
    desk.say(&["plugin", "rollback", "tracks", "ffffffff"])
        .ends(2, &["SHA-256 begins with ffffffff"]);
    desk.say(&["plugin", "list"]).ends(0, &["active", "1.1", "tracks"]);
}

#[test]
fn what_would_do_harm_is_not_published() {
    let desk = history("tracks_1");
    let before = all_of(&desk);
    let file = candidate(&desk, "tracks_traps");
    say(&desk, &["publish", "--yes"], &file)
        .ends(1, &["nothing was published: 1 document would give no rows any more"]);
    let file = candidate(&desk, "tracks_fewer");
    say(&desk, &["publish", "--yes", "--max-changed", "5%"], &file)
        .ends(1, &["nothing was published", "over --max-changed 5%"]);
    say(&desk, &["publish", "--yes", "--max-changed", "0"], &file)
        .ends(1, &["over --max-changed 0"]);
    // Nobody is there to be asked.
    say(&desk, &["publish"], &file).ends(2, &["say --yes"]);
    let other = desk.write("new/other.wasm", &guest("tracks_1"));
    say(&desk, &["publish", "--yes"], &other).ends(1, &["`tracks` belongs to plugin `tracks`"]);
    let bad = desk.write("new/bad.wasm", b"\0asm");
    say(&desk, &["publish", "--yes"], &bad).ends(1, &["mend what is wrong"]);
    assert_eq!(all_of(&desk), before);
    say(&desk, &["publish", "--yes", "--max-changed", "5"], &file)
        .ends(0, &["3 (", "is the active version"]);
}

#[test]
fn a_candidate_is_tested_if_its_tests_lie_beside_it() {
    let desk = history("tracks_1");
    desk.write(
        "project/tests/fixtures/bom.json",
        &fs::read(fixture("playlists/bom.json")).unwrap(),
    );
    let file =
        desk.write("project/target/wasm32-wasip2/release/tracks.wasm", &guest("tracks_rule"));
    say(&desk, &["publish", "--yes"], &file).ends(1, &["no such golden file", "its tests fail"]);
    say(&desk, &["test", "--update"], &file).ends(0, &["kept as golden tables and budget"]);
    say(&desk, &["publish", "--yes"], &file).ends(0, &["1 fixture good", "is the active version"]);
}

#[test]
fn only_published_versions_count_where_somebody_wants_that() {
    let desk = history("tracks_1");
    desk.say(&["plugin", "require-publish"]).ends(0, &["off"]);
    desk.say(&["plugin", "require-publish", "on"]).ends(0, &["on"]);
    desk.write("data/plugins/tracks.wasm", &guest("tracks_rule"));
    desk.write(
        "more/no_entries.json",
        &fs::read(fixture("playlists/demo_2026-07-06_06-00-00.json")).unwrap(),
    );
    desk.say(&["run", "--from", "more"])
        .ends(1, &["nobody published this version", "version 1 from its history stood in"]);
    assert_eq!(desk.count("plugins/history/tracks/"), 2, "{:?}", desk.keys());
    let file = candidate(&desk, "tracks_rule");
    say(&desk, &["publish", "--yes"], &file).ends(0, &["is the active version"]);
    desk.say(&["transform"]).ends(0, &[]);
    desk.say(&["plugin", "require-publish", "off"]).ends(0, &["off"]);
}

/// A store that only takes published versions, in which a refused upload was replaced by a published version.
fn after_a_refused_upload() -> Desk {
    let desk = history("tracks_1");
    desk.say(&["plugin", "require-publish", "on"]).ends(0, &["on", "tracks"]);
    desk.write("data/plugins/tracks.wasm", &guest("tracks_rule"));
    next(&desk).ends(1, &["nobody published this version", "version 1 from its history stood in"]);
    // The refused file is kept in history when another one takes its place.
    say(&desk, &["publish", "--yes"], &candidate(&desk, "tracks_fewer")).ends(0, &["3 ("]);
    assert_eq!(desk.count("plugins/history/tracks/"), 6, "{:?}", desk.keys());
    next(&desk).ends(0, &[]);
    desk
}

/// Imports another document, so that plugins run.
fn next(desk: &Desk) -> Said {
    let fixtures = ["no_entries", "demo_2026-07-06_06-00-00", "episodes", "release_dates"];
    let number = desk.count("raw_data/") % fixtures.len();
    let file = fixture(&format!("playlists/{}.json", fixtures[number]));
    let at = format!("2026-08-{:02}T06:00:00Z", 1 + desk.count("raw_data/"));
    desk.say(&["run", "--allow-empty", "--from", file.to_str().unwrap(), "--extracted-at", &at])
}

#[test]
fn an_upload_that_was_refused_is_refused_again() {
    let desk = after_a_refused_upload();
    desk.write("data/plugins/tracks.wasm", &guest("tracks_rule"));
    next(&desk).ends(1, &["nobody published this version", "version 3 from its history stood in"]);
    // It is none that another refused upload falls back to, either.
    desk.write("data/plugins/tracks.wasm", &guest("tracks_column"));
    next(&desk).ends(1, &["version 3 from its history stood in"]);
    // A publisher who means it publishes it where it is.
    desk.write("data/plugins/tracks.wasm", &guest("tracks_rule"));
    say(&desk, &["publish", "--yes"], &candidate(&desk, "tracks_rule")).ends(0, &[]);
    next(&desk).ends(0, &[]);
}

#[test]
fn a_rollback_goes_to_no_version_that_was_refused() {
    let desk = after_a_refused_upload();
    desk.say(&["plugin", "rollback", "tracks"]).ends(0, &["tracks 1 ("]);
    next(&desk).ends(0, &[]);
    let active = fs::read(desk.path("data/plugins/tracks.wasm")).unwrap();
    assert!(active == guest("tracks_1"));
}

#[test]
fn versions_that_commands_install_count_as_published() {
    let desk = history("tracks_1");
    desk.say(&["plugin", "require-publish", "on"]).ends(0, &["on"]);
    desk.write("built/tracks.wasm", &guest("tracks_rule"));
    desk.say(&["init", "--from", "built"]).ends(0, &["tracks"]);
    next(&desk).ends(0, &[]);
    // Turned on once more, what was uploaded since counts no more than before.
    desk.write("data/plugins/tracks.wasm", &guest("tracks_fewer"));
    desk.say(&["plugin", "require-publish", "on"]).ends(0, &["on"]);
    next(&desk).ends(1, &["nobody published this version"]);
}

#[test]
fn a_setting_of_an_earlier_release_takes_what_was_published_alone() {
    let desk = history("tracks_1");
    desk.write("data/plugins/require_publish.json", b"{ \"require_publish\": true }\n");
    next(&desk).ends(1, &["nobody published this version"]);
    say(&desk, &["publish", "--yes"], &candidate(&desk, "tracks_1")).ends(0, &[]);
    next(&desk).ends(0, &[]);
    for damaged in [
        &b"{"[..],
        b"{}",
        b"{\"require_publish\": true, \"accepted\": [{\"name\": \"../x\", \"sha256\": \"y\"}]}",
    ] {
        desk.write("data/plugins/require_publish.json", damaged);
        next(&desk).ends(1, &["require_publish.json can't be read"]);
    }
}

#[test]
fn a_damaged_record_of_history_is_not_overwritten() {
    let desk = history("tracks_1");
    let sha256 = spotify_etl::document::sha256(&guest("tracks_rule"));
    let key = format!("data/plugins/history/tracks/{sha256}.json");
    let other = br#"{"name":"other","version":"1","sha256":"0","seen_at":"","by":"x"}"#;
    for damaged in [&b"half a rec"[..], other] {
        desk.write(&key, damaged);
        say(&desk, &["publish", "--yes"], &candidate(&desk, "tracks_rule"))
            .ends(2, &[&format!("{sha256}.json is not the record of a plugin's version")]);
        assert_eq!(fs::read(desk.path(&key)).unwrap(), damaged);
        assert!(fs::read(desk.path("data/plugins/tracks.wasm")).unwrap() == guest("tracks_1"));
        desk.say(&["plugin", "list"]).ends(0, &["is not the record of a plugin's version"]);
    }
}

#[test]
fn a_plugin_that_is_taken_away_comes_back() {
    let desk = history("tracks_1");
    let before = tables(&desk);
    desk.say(&["plugin", "remove", "tracks", "--by", "anna"])
        .ends(0, &["taken away; by anna", "get no more rows"]);
    desk.say(&["plugin", "remove", "tracks"]).ends(2, &["no plugin `tracks` is active"]);
    desk.say(&["transform"]).ends(2, &["no plugins"]);
    desk.say(&["plugin", "rollback", "tracks"]).ends(0, &["tracks 1 ("]);
    assert_eq!(tables(&desk), before);
}

#[test]
fn a_rejected_upload_revives_no_plugin_that_was_removed() {
    let desk = history("tracks_1");
    let before = tables(&desk);
    desk.say(&["plugin", "require-publish", "on"]).ends(0, &["on", "tracks"]);
    desk.say(&["plugin", "remove", "tracks"]).ends(0, &["get no more rows"]);
    let truncated = guest("tracks_1")[..1000].to_vec();
    for (upload, why) in
        [(guest("tracks_rule"), "nobody published this version"), (truncated, "is refused")]
    {
        desk.write("data/plugins/tracks.wasm", &upload);
        let said = next(&desk);
        said.ends(1, &[why]);
        assert!(!said.out.contains("stood in"), "{}", said.out);
        assert_eq!(tables(&desk), before, "{why}");
    }
    // Once it is published again, an earlier version stands in for a rejected upload as before.
    fs::remove_file(desk.path("data/plugins/tracks.wasm")).unwrap();
    desk.say(&["plugin", "rollback", "tracks"]).ends(0, &["tracks 1 ("]);
    desk.write("data/plugins/tracks.wasm", &guest("tracks_rule"));
    next(&desk).ends(1, &["version 1 from its history stood in"]);
    assert_ne!(tables(&desk), before);
}

#[test]
fn of_two_publishers_one_is_told_to_look_again() {
    for site in [Some(Site::folder()), Site::bucket()].into_iter().flatten() {
        wait(async {
            let store = site.place().open().await.unwrap();
            store.put("plugins/tracks.wasm", &guest("tracks_1")).await.unwrap();
            let seen_by_both = Standing::of(store.as_ref(), "tracks").await.unwrap();
            let publish = |version| publish(store.as_ref(), version, seen_by_both.clone());
            let (one, other) = join(publish("tracks_rule"), publish("tracks_fewer")).await;
            let (won, lost) = match (one, other) {
                (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
                _ => panic!("both or none were published"),
            };
            assert!(lost.to_string().contains("publish again"), "{lost}");
            let now = Standing::of(store.as_ref(), "tracks").await.unwrap();
            assert_eq!(now.sha256(), won.published.sha256.as_deref());
            // What was active before, an upload, is kept as well; and of the one that lost no trace that it was.
            let all = versions(store.as_ref(), Some("tracks")).await.unwrap();
            assert_eq!(
                (all.len(), all.iter().filter(|one| !one.activations.is_empty()).count()),
                (3, 1)
            );
        });
    }
}

async fn publish(
    store: &dyn Store,
    version: &str,
    standing: Standing,
) -> Result<Switched, PublishError> {
    let shelf = Shelf::new(&Limits::default(), Some(cache()));
    let bytes = guest(version);
    let plugin = shelf.engine().unwrap().load("tracks", &bytes).unwrap();
    let switch = Switch {
        transform: Transform {
            store,
            plugins: PluginPlace { store, prefix: "plugins/" },
            shelf: &shelf,
            limits: Limits::default(),
            jobs: 1,
            formats: None,
            now: NOW,
            until: Until::default(),
            future: FutureTimes::Allowed,
            empty: Empty::Allowed,
            pages: None,
            progress: &Nobody,
        },
        plugin: Arc::new(plugin),
        bytes,
        standing,
        way: Way::Publish,
        by: version.to_owned(),
        history: History::Stays,
    };
    switch.run().await
}

#[test]
fn rows_are_explained_down_to_the_raw_response() {
    let desk = history("tracks_1");
    let key = desk.keys().into_iter().find(|key| key.ends_with(".csv")).unwrap();
    let said = desk.say(&["explain", &key]);
    said.ends(
        0,
        &[
            "raw response raw_data/processed/",
            "made by plugin tracks 1 (",
            "the active version",
            "(run, ",
            "imported it from",
            "made tracks",
        ],
    );
    let document =
        desk.say(&["explain", "--json", &key]).json()["document"].as_str().unwrap().to_owned();
    desk.say(&["explain", &document]).ends(0, &["it is what lineage says"]);
    desk.say(&[
        "explain",
        desk.path("data").join(&key).to_str().unwrap(),
        "--store",
        desk.path("data").to_str().unwrap(),
    ])
    .ends(0, &["made by plugin tracks"]);
    say(&desk, &["publish", "--yes"], &candidate(&desk, "tracks_rule")).ends(0, &[]);
    desk.write(&format!("data/{key}"), b"x");
    desk.say(&["explain", &document])
        .ends(1, &["not the active version any more", "not any more what lineage says"]);
    desk.say(&["explain", "nothing"]).ends(2, &["neither a table file nor a document"]);
}

#[test]
fn a_plugin_is_run_on_one_document_without_a_store() {
    let desk = Desk::bare();
    let file = fixture("playlists/same_track_twice.json");
    let (song, document) = (plugin_file("song"), file.to_str().unwrap());
    let said = say(&desk, &["run", document], &song);
    said.ends(0, &["song, ", "song_artist, ", "million instructions", "of memory"]);
    say(&desk, &["run", document, "--csv"], &song)
        .ends(2, &["CSV is of one table: name it with --table (song, song_artist)"]);
    let said = say(&desk, &["run", document, "--table", "song", "--csv"], &song);
    let golden = fs::read_to_string(tests().join("golden/same_track_twice/song.csv")).unwrap();
    assert_eq!(said.out, golden);
    let shown = say(&desk, &["run", document, "--json"], &song).json();
    assert_eq!(shown["tables"][0]["rows"][0]["position"], 1);
    say(&desk, &["run", document, "--table", "nope"], &song).ends(2, &["no table `nope`"]);
    say(&desk, &["run", "missing.json"], &song).ends(2, &["neither a file nor a document"]);
    assert!(!desk.path("data").exists());
    let refused = fixture("refused/truncated.json");
    say(&desk, &["run", refused.to_str().unwrap()], &song)
        .ends(2, &["can't be handed to a plugin"]);
}

#[test]
fn the_projects_own_plugins_pass_their_tests_as_an_author_runs_them() {
    let desk = Desk::bare();
    let files = crate::support::PLUGINS.map(plugin_file);
    let folder = tests();
    let mut arguments = vec!["plugin", "test", "--tests", folder.to_str().unwrap()];
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    desk.say(&arguments).ends(0, &["fixtures good"]);
    // One alone: the others' golden tables are not its affair.
    let song = files[3].to_str().unwrap();
    desk.say(&["plugin", "test", song, "--tests", folder.to_str().unwrap()])
        .ends(0, &["golden tables of other plugins"]);
}

#[test]
fn a_regression_a_difference_and_a_forgotten_golden_file_fail_a_test() {
    let desk = Desk::bare();
    let file = desk.write("tracks.wasm", &guest("tracks_1"));
    for name in ["bom", "episodes"] {
        let from = fixture(&format!("playlists/{name}.json"));
        desk.write(&format!("tests/fixtures/{name}.json"), &fs::read(from).unwrap());
    }
    say(&desk, &["test"], &file).ends(1, &["no such golden file", "no budget in"]);
    say(&desk, &["test", "--update"], &file).ends(0, &["files kept"]);
    say(&desk, &["test"], &file).ends(0, &["2 fixtures good"]);
    let budget = fs::read_to_string(desk.path("tests/budget.json")).unwrap();
    let mut smaller: Value = serde_json::from_str(&budget).unwrap();
    let fuel = smaller["bom"]["tracks"]["fuel"].as_u64().unwrap();
    smaller["bom"]["tracks"]["fuel"] = (fuel * 3 / 4).into();
    desk.write("tests/budget.json", smaller.to_string().as_bytes());
    say(&desk, &["test"], &file).ends(1, &["instructions, 33 % over the budget"]);
    desk.write("tests/budget.json", budget.as_bytes());
    let golden = desk.path("tests/golden/bom/tracks.csv");
    let text = fs::read_to_string(&golden).unwrap();
    fs::write(&golden, text.replace(",1,", ",9,")).unwrap();
    say(&desk, &["test"], &file).ends(1, &["bom: tracks.csv:", "line 2, expected:"]);
    fs::write(&golden, text).unwrap();
    desk.write("tests/golden/gone/tracks.csv", b"x");
    say(&desk, &["test"], &file).ends(1, &["nothing gives this golden file"]);
    say(&desk, &["test", "--update"], &file).ends(0, &[]);
    assert!(!desk.path("tests/golden/gone").exists());
    // What fails is a golden sentence, too.
    let file = desk.write("tracks.wasm", &guest("tracks_traps"));
    say(&desk, &["test"], &file).ends(1, &["failed.txt: there is no such golden file", "panicked"]);
}

#[test]
fn a_document_of_the_store_becomes_a_fixture_whole_or_in_part() {
    let desk = history("tracks_1");
    let keys = desk.keys();
    let key = keys
        .iter()
        .find(|key| key.starts_with("raw_data/processed/d2jM0xnghJE1tQWDEPlXcS"))
        .unwrap();
    desk.say(&["plugin", "capture", key]).ends(0, &["tests/fixtures/d2jM0xnghJE1tQWDEPlXcS-"]);
    desk.say(&["plugin", "capture", key]).ends(2, &["is there already"]);
    let said = desk.say(&["plugin", "capture", key, "--entries", "2-3", "--name", "two", "--json"]);
    assert_eq!(said.json()["entries"], 2);
    desk.say(&["plugin", "capture", key, "--entries", "999"])
        .ends(2, &["none of the document's entries"]);
    let file = desk.write("tracks.wasm", &guest("tracks_1"));
    desk.say(&["plugin", "capture", "nothing"]).ends(2, &["neither a file nor a document"]);
    let whole = say(&desk, &["run", key, "--json"], &file).json();
    let two = say(&desk, &["run", "tests/fixtures/two.json", "--json"], &file).json();
    let names = |shown: &Value, from: usize| -> Vec<Value> {
        let rows = shown["tables"][0]["rows"].as_array().unwrap();
        rows.iter().skip(from).take(2).map(|row| row["song_id"].clone()).collect()
    };
    assert_eq!(names(&whole, 1), names(&two, 0));
}

#[test]
fn a_check_says_what_is_right_and_what_is_wrong() {
    let desk = history("tracks_1");
    let song = plugin_file("song");
    say(&desk, &["check"], &song).ends(
        0,
        &[
            "✓  interface",
            "`song` is new in this store",
            "a function of 512.0 MiB compiles it in time",
        ],
    );
    say(&desk, &["check", "--function-memory", "1MiB"], &song)
        .ends(0, &["a function of 1.0 MiB refuses to compile it"]);
    let file = candidate(&desk, "tracks_renamed");
    say(&desk, &["check"], &file)
        .ends(0, &["does not fit the stored one", "column 3 was `name text` and is `title text`"]);
    let file = candidate(&desk, "bad_schema");
    say(&desk, &["check"], &file).ends(1, &["✗  schema"]);
    let file = desk.write("new/thing.wasm", b"nothing");
    say(&desk, &["check"], &file).ends(1, &["not WebAssembly"]);
}

#[test]
fn a_replay_of_nothing_says_what_to_name() {
    let desk = history("tracks_1");
    let queue = "https://sqs.eu-west-1.amazonaws.com/1/music";
    for (arguments, part) in [
        (&["--queue", queue][..], "a queue is read by a function, whose store is a bucket"),
        (&["--since", "2026-02-01", "--until", "2026-01-01"], "exchange them"),
        (&["--playlist", "nobody"], "no document of history is of that playlist"),
        (&["--plugin", "nobody"], "no plugin `nobody` in the store"),
        (&["--new-generation", "nothing"], "no table `nothing`"),
    ] {
        let mut all = vec!["replay"];
        all.extend(arguments);
        desk.say(&all).ends(2, &[part]);
    }
}

#[test]
fn a_rollback_goes_to_what_was_active_before_and_loses_no_upload() {
    let desk = history("tracks_1");
    let sha256 = |version: &str| spotify_etl::document::sha256(&guest(version))[..12].to_owned();
    let is_active = |version: &str| {
        let active = fs::read(desk.path("data/plugins/tracks.wasm")).unwrap();
        assert!(active == guest(version), "{version} is not the active one");
    };
    // Back to the first, which was seen before the second.
    say(&desk, &["publish", "--yes"], &candidate(&desk, "tracks_rule")).ends(0, &[]);
    say(&desk, &["publish", "--yes"], &candidate(&desk, "tracks_1")).ends(0, &[]);
    desk.say(&["plugin", "rollback", "tracks"]).ends(0, &[&sha256("tracks_rule")]);
    is_active("tracks_rule");
    // An upload that no run has seen is kept when something takes its place.
    desk.write("data/plugins/tracks.wasm", &guest("tracks_fewer"));
    say(&desk, &["publish", "--yes"], &candidate(&desk, "tracks_1")).ends(0, &[]);
    desk.say(&["plugin", "rollback", "tracks"]).ends(0, &[]);
    is_active("tracks_fewer");
    desk.write("data/plugins/tracks.wasm", &guest("tracks_column"));
    desk.say(&["plugin", "remove", "tracks"])
        .ends(0, &[&format!("rollback tracks {}", sha256("tracks_column"))]);
    desk.say(&["plugin", "rollback", "tracks"]).ends(0, &[]);
    is_active("tracks_column");
    desk.say(&["plugin", "list"]).ends(0, &["gone back to by", "upload"]);
}

#[test]
fn values_that_go_with_a_column_are_shown_and_counted() {
    let desk = history("tracks_column");
    let file = candidate(&desk, "tracks_1");
    say(&desk, &["diff"], &file).ends(0, &["seconds gone, 7 values", "seconds '", "-> null"]);
    let whole = say(&desk, &["diff", "--json"], &file).json();
    assert_eq!(whole["changes"].as_array().unwrap().len(), 7);
    say(&desk, &["publish", "--yes", "--max-changed", "6"], &file)
        .ends(1, &["7 rows would change"]);
    // A table that is new takes nothing away.
    let other = desk.write("new/thing.wasm", &guest("thing_1"));
    say(&desk, &["publish", "--yes", "--max-changed", "0"], &other)
        .ends(0, &["is the active version"]);
    let report = say(&desk, &["publish", "--yes", "--json", "--max-changed", "0"], &file).json();
    assert_eq!(report["looked_at"]["difference"]["tables"][0]["rows_changed"], 7);
}

#[test]
fn a_test_keeps_no_faults_and_deletes_nothing_of_others() {
    let desk = Desk::bare();
    let file = desk.write("tracks.wasm", &guest("tracks_1"));
    let bom = fs::read(fixture("playlists/bom.json")).unwrap();
    desk.write("tests/fixtures/bom.json", &bom);
    desk.write("tests/golden/bom/other.csv", b"x");
    desk.write("tests/golden/gone/tracks.csv", b"x");
    say(&desk, &["test", "--update"], &file).ends(0, &["files kept"]);
    say(&desk, &["test"], &file).ends(1, &["other.csv: nothing gives this golden file"]);
    assert!(desk.path("tests/golden/bom/other.csv").exists());
    assert!(!desk.path("tests/golden/gone").exists());
    desk.write("tests/fixtures/cut.json", &bom[..300]);
    let budget = fs::read(desk.path("tests/budget.json")).unwrap();
    say(&desk, &["test", "--update"], &file).ends(1, &["it is refused before a plugin sees it"]);
    assert_eq!(fs::read(desk.path("tests/budget.json")).unwrap(), budget);
    let twice = desk.write("more/tracks.wasm", &guest("tracks_rule"));
    say(&desk, &["test", twice.to_str().unwrap()], &file)
        .ends(2, &["two of the files are named `tracks`"]);
}

#[test]
fn names_that_lead_nowhere_are_refused() {
    let desk = history("tracks_1");
    let odd = desk.write("new/Odd Name.wasm", &guest("tracks_rule"));
    say(&desk, &["publish", "--yes"], &odd)
        .ends(2, &["`Odd Name` is no name for a plugin", "--name"]);
    say(&desk, &["publish", "--yes", "--name", "tracks"], &odd).ends(0, &["is the active version"]);
    for (name, part) in
        [("type", "means something else"), ("a-b", "no name for a table"), ("9", "no name")]
    {
        desk.say(&["plugin", "new", name]).ends(2, &[part]);
    }
    let keys = desk.keys();
    let key = keys.iter().find(|key| key.starts_with("raw_data/processed/")).unwrap();
    desk.say(&["plugin", "capture", key, "--name", "../evil"]).ends(2, &["no file's name"]);
}
