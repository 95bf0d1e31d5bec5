//! Documents are deleted with everything derived from them, and nothing else is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use serde_json::json;
use spotify_etl::{
    config::Limits,
    document::PlaylistId,
    layout::{Format, Key, Stage},
    pipeline::{
        Mode, Selection,
        delete::{Deleted, Deletion, Execution},
        replay::Change,
        report::DocumentStatus,
        strays::strays,
    },
    store::{Object, Page, Store, StoreError, Tag, Written},
};

use crate::{
    crash::contents,
    desk::{Desk, text},
    support::{
        EXTRACTED_AT, Nobody, PLUGINS, Site, files_below, fixture, guest_file, land, plugin_file,
        query, replay, transform, wait,
    },
};

/// The playlists of fixtures: same_track_twice and both_keys.
const TWICE: &str = "d2jM0xnghJE1tQWDEPlXcS";
const BOTH_KEYS: &str = "TXNzUi1H5J08HiIaeRa2EH";

type Contents = BTreeMap<String, Vec<u8>>;

/// Documents with tables of two generations and formats, one that waits, and files of other programs that wait
/// and failed.
async fn build(store: &dyn Store) {
    for name in PLUGINS {
        let bytes = fs::read(plugin_file(name)).unwrap();
        store.put(&format!("plugins/{name}.wasm"), &bytes).await.unwrap();
    }
    let thing = |name: &str| fs::read(guest_file(name)).unwrap();
    store.put("plugins/thing.wasm", &thing("thing_1")).await.unwrap();
    let paths = ["same_track_twice", "release_dates"];
    let paths = paths.map(|name| fixture(&format!("playlists/{name}.json")));
    land(store, &paths, EXTRACTED_AT).await.unwrap();
    land(store, &paths[..1], "20250106T060000Z").await.unwrap();
    let broken = fs::read(fixture("refused/truncated.json")).unwrap();
    store.put("raw_data/to_process/older/broken.json", &broken).await.unwrap();
    transform(store, &Selection::Waiting, &Limits::default()).await.unwrap();
    store.put("plugins/thing.wasm", &thing("thing_3")).await.unwrap();
    for change in [
        Change::Generations(vec!["thing".to_owned()]),
        Change::Formats(vec![Format::Csv, Format::Parquet]),
    ] {
        replay(store, change, Mode::Write).await.unwrap();
    }
    land(store, &[fixture("playlists/both_keys.json")], EXTRACTED_AT).await.unwrap();
    let foreign = fs::read(fixture("playlists/bom.json")).unwrap();
    store.put("raw_data/to_process/old 2026-07-06 05:00:00.json", &foreign).await.unwrap();
}

fn document_of(key: &str) -> Option<String> {
    match key.parse() {
        Ok(
            Key::Raw { document, .. } | Key::TableFile { document, .. } | Key::Lineage { document },
        ) => Some(document.to_string()),
        _ => None,
    }
}

/// The name of the document whose raw object is in a stage, and whose name has these parts.
fn named(contents: &Contents, stage: Stage, parts: &[&str]) -> String {
    let raw = contents.keys().filter(|key| key.starts_with(stage.prefix()));
    let mut names = raw.filter_map(|key| document_of(key));
    names.find(|name| parts.iter().all(|part| name.contains(part))).unwrap()
}

async fn delete(store: &dyn Store, names: &[&str]) -> Deleted {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let deletion = Deletion::of_names(store, &names).await.unwrap();
    deletion.run(&Execution { mode: Mode::Write, pages: None, progress: &Nobody }).await
}

#[test]
fn what_is_derived_from_a_document_goes_with_it_and_nothing_else() {
    for site in Site::all() {
        wait(async {
            let store = site.place().open().await.unwrap();
            let store = store.as_ref();
            build(store).await;
            let before = contents(store).await;
            let processed = named(&before, Stage::Processed, &[TWICE, "2026"]);
            let waiting = named(&before, Stage::ToProcess, &[BOTH_KEYS]);
            let others = [
                "raw_data/to_process/old 2026-07-06 05:00:00.json",
                "raw_data/failed/older/broken.json",
            ];
            let reason = "raw_data/failed/older/broken.error.json";
            let names = [&processed, &waiting, others[0], others[1]];
            let is_meant = |key: &str| {
                document_of(key).is_some_and(|id| id == processed || id == waiting)
                    || others.contains(&key)
                    || key == reason
            };
            let mut expected = before.clone();
            expected.retain(|key, _| !is_meant(key));
            let folders: BTreeSet<&str> = before
                .keys()
                .filter(|key| is_meant(key))
                .filter_map(|key| key.strip_prefix("transformed_data/")?.split('/').next())
                .collect();
            assert!(folders.contains("thing_data") && folders.contains("thing_parquet_g2"));

            let done = delete(store, &names).await;
            assert!(contents(store).await == expected);
            let deleted: BTreeSet<&String> =
                done.documents.iter().flat_map(|document| &document.deleted).collect();
            assert_eq!(deleted, before.keys().filter(|key| is_meant(key)).collect());
            let report = &done.report;
            assert_eq!((report.documents, report.raw_objects, report.lineage_records), (4, 4, 1));
            assert_eq!(report.table_files, report.files_by_table.values().sum::<usize>());
            assert!(strays(store).await.unwrap().is_empty());
            let left = "SELECT count(DISTINCT document) FROM song";
            let rows = query(store, left).await.unwrap().rows;
            assert_eq!(rows[0][0], spotify_etl::answer::Cell::Integer(2));
        });
    }
}

#[test]
fn a_playlist_goes_with_all_its_documents_and_not_one_whose_id_begins_alike() {
    for site in Site::all() {
        wait(async {
            let store = site.place().open().await.unwrap();
            let store = store.as_ref();
            build(store).await;
            let before = contents(store).await;
            let playlist_id = PlaylistId::from_text(TWICE).unwrap();
            let name = "20260101T000000Z-0123abcd";
            let failed = format!("raw_data/failed/{TWICE}/{name}.json");
            let reason = failed.replace(".json", ".error.json");
            let lineage = format!("lineage/{TWICE}-{name}.json");
            let others =
                [failed.as_str(), &lineage].map(|key| key.replace(TWICE, &format!("{TWICE}-2")));
            for key in [&failed, &reason, &lineage].into_iter().chain(&others) {
                store.put(key, b"{}").await.unwrap();
            }
            let deletion = Deletion::of_playlist(store, &playlist_id).await.unwrap();
            let execution = Execution { mode: Mode::Write, pages: None, progress: &Nobody };
            let done = deletion.run(&execution).await;
            assert_eq!(done.report.documents, 3);
            let mut expected = before;
            expected.retain(|key, _| !key.contains(TWICE));
            expected.extend(others.into_iter().map(|key| (key, b"{}".to_vec())));
            assert!(contents(store).await == expected);
        });
    }
}

/// Writes a table file again whenever the lineage is deleted, as a run that has read the document before does.
struct Rewriting<'s> {
    store: &'s dyn Store,
    key: String,
    times: AtomicUsize,
}

#[async_trait]
impl Store for Rewriting<'_> {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.store.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.store.list(prefix, after).await
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Written, StoreError> {
        self.store.put_new(key, bytes).await
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.put(key, bytes).await
    }
    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<Written, StoreError> {
        self.store.put_if(key, bytes, tag).await
    }
    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<bool, StoreError> {
        let deleted = self.store.delete_if(key, tag).await?;
        let is_due =
            self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if key.starts_with("raw_data/") || is_due.is_err() {
            return Ok(deleted);
        }
        self.store.put(&self.key, b"again").await?;
        Ok(deleted)
    }
    fn location(&self, key: &str) -> String {
        self.store.location(key)
    }
}

#[test]
fn what_a_run_writes_again_meanwhile_is_deleted_or_reported() {
    for (times, status) in [(3, DocumentStatus::Deleted), (1000, DocumentStatus::NotDeleted)] {
        wait(async {
            let site = Site::folder();
            let store = site.place().open().await.unwrap();
            build(store.as_ref()).await;
            let before = contents(store.as_ref()).await;
            let id = named(&before, Stage::Processed, &[TWICE, "2026"]);
            let key = before.keys().find(|key| key.contains("song_data") && key.contains(&id));
            let (key, times) = (key.unwrap().clone(), AtomicUsize::new(times));
            let rewriting = Rewriting { store: store.as_ref(), key, times };
            let done = delete(&rewriting, &[&id]).await;
            let document = &done.documents[0];
            assert_eq!(document.status, status, "{document:?}");
            let left = contents(store.as_ref()).await.into_keys();
            let left = left.filter(|key| document_of(key).is_some_and(|of| of == id)).count();
            assert_eq!(left > 0, status == DocumentStatus::NotDeleted);
            if status == DocumentStatus::NotDeleted {
                let problem = document.problems[0].to_string();
                assert!(problem.contains("run the same command again"), "{problem}");
            }
        });
    }
}

/// A store in a folder with a playlist of three weeks.
pub fn desk() -> Desk {
    let desk = Desk::new();
    fs::copy(fixture("playlists/same_track_twice.json"), desk.path("original.json")).unwrap();
    for time in ["20260101T000000Z", "20260201T000000Z", "20260301T000000Z"] {
        let time = ["--extracted-at", time, "--playlist", "list"];
        desk.say(&[&["run", "--from", "original.json"], &time[..]].concat()).ends(0, &[]);
    }
    desk
}

/// The document of a month.
pub fn of_month(desk: &Desk, month: &str) -> String {
    let key =
        desk.keys().into_iter().find(|key| key.starts_with("lineage/") && key.contains(month));
    document_of(&key.unwrap()).unwrap()
}

fn documents(desk: &Desk) -> usize {
    desk.count("raw_data/processed/")
}

#[test]
fn a_document_is_named_by_its_name_its_key_or_a_path() {
    let desk = desk();
    let id = of_month(&desk, "202602");
    let whole = files_below(&desk.path("data"));
    let raw = whole.keys().find(|key| key.contains("processed/list/20260201")).unwrap();
    let waiting = raw.replace("processed", "to_process");
    let absolute = desk.path("data").join(raw);
    for name in
        [&id, raw, &waiting, &format!("data/{raw}"), &format!("./data/{raw}"), text(&absolute)]
    {
        for (key, bytes) in &whole {
            desk.write(&format!("data/{key}"), bytes);
        }
        // What is left of an interrupted deletion is found under each name.
        for left in ["all", "rows", "lineage"] {
            if left != "all" {
                let lineage = format!("data/lineage/{id}.json");
                let _ = fs::remove_file(desk.path(&lineage));
                let key = if left == "rows" {
                    whole.keys().find(|key| key.contains("song_data") && key.contains(&id)).unwrap()
                } else {
                    whole.keys().find(|key| key.contains("lineage/") && key.contains(&id)).unwrap()
                };
                desk.write(&format!("data/{key}"), &whole[key]);
            }
            desk.say(&["delete", name, "--yes"])
                .ends(0, &[&id, "all done", "the report is ./data/runs/"]);
            let expected = whole.iter().filter(|(key, _)| document_of(key).as_ref() != Some(&id));
            let expected: Contents = expected.map(|(k, v)| (k.clone(), v.clone())).collect();
            assert!(files_below(&desk.path("data")) == expected, "{name} {left}");
        }
    }
}

#[test]
fn delete_says_what_it_does_and_why_not() {
    let desk = desk();
    let (january, february) = (of_month(&desk, "202601"), of_month(&desk, "202602"));
    let lineage = format!("lineage/{january}.json");
    let whole = files_below(&desk.path("data"));
    let unknown = "list-20260401T000000Z-0123abcd";
    for (arguments, status, parts) in [
        (&["delete"][..], 2, &["<DOCUMENT"][..]),
        (&["delete", &january, "--playlist", "list"], 2, &["cannot be used with"]),
        (
            &["delete", &january],
            2,
            &["nothing was deleted: without a terminal", "--dry-run", "--yes"],
        ),
        (
            &["delete", unknown, "--yes"],
            2,
            &[
                "nothing was deleted: no document `list-20260401T000000Z-0123abcd` in ./data/ (the column `document`",
            ],
        ),
        (&["delete", "plugins/song.wasm", "--yes"], 2, &["no document `plugins/song.wasm`"]),
        (&["delete", "raw_data/to_process/../../x", "--yes"], 2, &["no document"]),
        (
            &["delete", "raw_data/failed/x.json", "--yes"],
            2,
            &["no document `raw_data/failed/x.json`"],
        ),
        (
            &["delete", &lineage, "--yes"],
            2,
            &["is only a part", &format!("spotify-etl delete {january}")],
        ),
        (
            &["delete", "--playlist", "lis", "--yes"],
            2,
            &["no document of playlist `lis`", "spotify-etl status"],
        ),
        (&["delete", "--store", "nowhere", &january, "--yes"], 2, &["no store in nowhere"]),
        (
            &["delete", &january, &february, "--dry-run"],
            0,
            &[
                "would be deleted: 2 documents (2 raw objects, 10 table files, 2 lineage records)",
                "files by table: album 2, artist 2, snapshot 2, song 2, song_artist 2",
                "nothing was deleted",
            ],
        ),
    ] {
        desk.say(arguments).ends(status, parts);
        assert!(files_below(&desk.path("data")) == whole, "{arguments:?}");
    }
    let said = desk.say(&["delete", &january, unknown, "--yes"]);
    said.ends(
        1,
        &[
            &format!("✓ {january}: 7 objects deleted"),
            &format!("✗ {unknown}: not found"),
            "deleted: 1 document (1 raw object, 5 table files, 1 lineage record)",
            "not all done",
        ],
    );
    desk.say(&["runs"]).ends(0, &["delete"]);
    let report = desk.say(&["runs", "last", "--json"]).json();
    assert_eq!((&report["command"], &report["exit_status"]), (&json!("delete"), &json!(1)));
    assert_eq!(report["deleted"]["table_files"], 5);
    assert_eq!(report["documents"][0]["deleted"].as_array().unwrap().len(), 7);
    desk.say(&["runs", "last"]).ends(0, &[&format!("✓ {january}: 7 objects deleted")]);
    desk.say(&["playlist", "add", "list"]).ends(0, &[]);
    let dry = desk.say(&["delete", "--playlist", "list", "--dry-run", "--json"]);
    dry.ends(0, &[]);
    assert_eq!(dry.json()["documents"][0]["status"], "would_delete");
    assert_eq!(dry.json()["deleted"]["is_listed"], true);
    desk.say(&["delete", "--playlist", "list", "--yes"]).ends(
        0,
        &[
            "deleted: 2 documents",
            "still on the list, so the next run extracts it again",
            "spotify-etl playlist remove --store ./data list",
        ],
    );
    assert_eq!(
        (documents(&desk), desk.count("transformed_data/"), desk.count("lineage/")),
        (0, 0, 0)
    );
    desk.say(&["status", "--exit-zero"]).ends(0, &["no playlist has tables yet"]);
    desk.say(&["verify"]).ends(0, &["no problem"]);
    desk.say(&["run", "--from", "original.json", "--playlist", "list"]).ends(0, &["all done"]);
}

#[test]
fn a_file_of_another_program_goes_with_its_reason() {
    let desk = desk();
    desk.write("data/raw_data/to_process/older/broken.json", b"{\"items\":[");
    desk.say(&["transform"]).ends(1, &[]);
    desk.say(&["status"]).ends(
        1,
        &["1 failed", "spotify-etl delete --store ./data raw_data/failed/older/broken.json"],
    );
    desk.say(&["delete", "data/raw_data/failed/older/broken.json", "--yes"])
        .ends(0, &["✓ raw_data/failed/older/broken.json: 2 objects deleted"]);
    assert_eq!(desk.count("raw_data/failed/"), 0);
    assert_eq!(documents(&desk), 3);
}

#[test]
fn a_query_after_a_deletion_has_no_rows_of_it_and_keeps_none() {
    let desk = desk();
    let cache = desk.path("cache");
    fs::create_dir(&cache).unwrap();
    let say = |arguments: &[&str]| {
        let mut command = desk.command(arguments);
        command.env("SPOTIFY_ETL_CACHE_DIR", &cache);
        crate::desk::said(command.output().unwrap())
    };
    // Rows of files that were written just now are not kept.
    let settled = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    for key in desk.keys().iter().filter(|key| key.starts_with("transformed_data/")) {
        let file = fs::File::options().append(true).open(desk.path("data").join(key)).unwrap();
        file.set_modified(settled).unwrap();
    }
    let february = of_month(&desk, "202602");
    let sql = "SELECT count(*) AS n, count(DISTINCT document) AS d FROM song";
    let counts = |said: crate::desk::Said| said.json()[0]["d"].as_i64().unwrap();
    let kept = || {
        let files = files_below(&cache);
        let mut rows = files.iter().filter(|(key, _)| key.starts_with("spotify-etl-rows/"));
        rows.any(|(_, bytes)| bytes.windows(february.len()).any(|part| part == february.as_bytes()))
    };
    assert_eq!(counts(say(&["query", "--json", sql])), 3);
    assert!(kept());
    say(&["delete", &february, "--yes"]).ends(0, &["all done"]);
    assert!(!kept());
    assert_eq!(counts(say(&["query", "--json", sql])), 2);
    say(&["delete", "--playlist", "list", "--yes"]).ends(0, &["all done"]);
    assert_eq!(counts(say(&["query", "--json", sql])), 0);
    assert!(!kept());
}
