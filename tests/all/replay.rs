//! History taken to its tables again: what changed is written, what is equal is left alone, and the
//! tables are those of a history that was undisturbed.

use std::{
    collections::BTreeMap,
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use spotify_etl::{
    answer::Cell,
    config::Limits,
    layout::Format,
    pipeline::{
        Mode, PipelineError, Selection, Transformed,
        replay::Change,
        report::{DocumentStatus, ReplayReport},
        tables::tables as all_tables,
    },
    store::{Object, Page, Store, StoreAddress, StoreError, Tag, Written},
};

use crate::{
    crash::{Fault, Faulty},
    support::{
        EXTRACTED_AT, Place, fixture, guest_file, land, problems, query, replay, transform, wait,
    },
};

const DOCUMENTS: [&str; 3] = ["both_keys", "no_entries", "bom"];

fn guest(name: &str) -> Vec<u8> {
    fs::read(guest_file(name)).unwrap()
}

/// A store whose history was taken to tables by a plugin.
fn history(version: &str) -> Place {
    let place = Place::empty();
    place.upload("thing", &guest(version));
    let paths = DOCUMENTS.map(|name| fixture(&format!("playlists/{name}.json")));
    wait(land(&place.store, &paths, EXTRACTED_AT)).unwrap();
    assert_eq!(problems(&place.transform()), "");
    place
}

fn go(place: &Place, change: Change) -> (ReplayReport, Transformed) {
    wait(replay(&place.store, change, Mode::Write)).unwrap()
}

/// Tables and lineage, but for what is kept of versions that were there before.
fn tables(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let mut files = place.files();
    files.retain(|key, _| !key.starts_with("plugins/"));
    files
}

#[test]
fn after_a_replay_history_is_as_if_the_plugin_had_always_been_there() {
    let place = history("thing_1");
    let (report, _) = go(&place, Change::None);
    assert_eq!((report.documents, report.documents_equal, report.files_written), (3, 3, 0));

    place.upload("thing", &guest("thing_2"));
    let before = place.files();
    let (report, transformed) = wait(replay(&place.store, Change::None, Mode::DryRun)).unwrap();
    assert_eq!((report.documents_rewritten, report.files_written), (3, 3));
    assert_eq!((report.dry_run, problems(&transformed).as_str()), (true, ""));
    assert_eq!(place.files(), before, "a dry run wrote");

    let (report, _) = go(&place, Change::None);
    assert_eq!((report.documents_rewritten, report.files_written), (3, 3));
    assert_eq!(tables(&place), tables(&history("thing_2")));
    let (report, _) = go(&place, Change::None);
    assert_eq!((report.documents_equal, report.files_written, report.files_equal), (3, 0, 0));

    // A file that was cut is not the one that lineage tells of.
    let key = place.files().into_keys().find(|key| key.ends_with(".csv")).unwrap();
    place.write(&key, b"");
    assert_eq!(go(&place, Change::None).0.files_written, 1);
    assert_eq!(tables(&place), tables(&history("thing_2")));

    // And back: the column stays, with nothing in it.
    place.upload("thing", &guest("thing_1"));
    go(&place, Change::None);
    let csv = place.files().into_iter().find(|(key, _)| key.ends_with(".csv")).unwrap().1;
    let csv = String::from_utf8(csv).unwrap();
    assert!(csv.lines().nth(1).unwrap().ends_with(','), "{csv}");
}

#[test]
fn rows_that_come_out_the_same_are_not_written_and_what_made_them_is_said_anew() {
    let place = Place::empty();
    place.upload("song", &fs::read(crate::support::plugin_file("song")).unwrap());
    place.run(&[fixture("playlists/release_dates.json")]);
    // The same plugin as another file: what is appended says nothing.
    let mut other = fs::read(crate::support::plugin_file("song")).unwrap();
    other.extend_from_slice(b"\x00\x06\x05other");
    place.upload("song", &other);
    let (report, transformed) = go(&place, Change::None);
    assert_eq!(problems(&transformed), "");
    assert_eq!((report.files_written, report.files_equal), (0, 2));
    let lineage = place.read_json(&place.only("lineage/", ".json"));
    let sha256 = spotify_etl::document::sha256(&other);
    assert_eq!(lineage["files"][0]["plugin"]["sha256"], sha256);
    let (report, _) = go(&place, Change::None);
    assert_eq!(report.documents_equal, 1);
}

#[test]
fn a_new_generation_takes_the_place_of_the_old_one_with_what_waited_for_it() {
    let place = history("thing_1");
    place.upload("thing", &guest("thing_3"));
    fs::remove_dir_all(place.path("plugins/history")).unwrap();
    // Nothing stands in for it, so this one waits.
    let waiting = fixture("playlists/episodes.json");
    wait(land(&place.store, &[waiting], EXTRACTED_AT)).unwrap();
    assert_eq!(place.transform().documents[0].status, DocumentStatus::Waiting);

    let (report, transformed) = go(&place, Change::Generations(vec!["thing".to_owned()]));
    assert_eq!(problems(&transformed), "");
    assert_eq!(report.stopped, None);
    assert_eq!(report.switched.len(), 1, "{report:?}");
    assert!(report.switched[0].contains("generation 2"), "{report:?}");
    let files = place.files();
    let of = |folder: &str| files.keys().filter(|key| key.contains(folder)).count();
    assert_eq!((of("thing_data/"), of("thing_data_g2/"), of("to_process/")), (3, 4, 0));
    let record = place.read_json("tables/thing.json");
    assert_eq!(
        (&record["generation"], &record["schema"]["columns"][0]["type"]),
        (&2.into(), &"int64".into())
    );

    // Run again there is nothing to do.
    let (report, _) = go(&place, Change::Generations(vec!["thing".to_owned()]));
    assert_eq!((report.files_written, report.switched.len(), report.documents_equal), (0, 0, 4));

    let error =
        wait(replay(&place.store, Change::Generations(vec!["nothing".to_owned()]), Mode::Write));
    assert!(matches!(error, Err(PipelineError::NoSuchTable { .. })));
}

#[test]
fn nothing_is_switched_while_a_document_fails() {
    let place = history("thing_1");
    let before = place.read_json("tables/thing.json");
    let broken = "raw_data/processed/x/20260706T060000Z-01234567.json";
    place.write(broken, b"{\"pages\": [nonsense");
    for change in [Change::Formats(vec![Format::Parquet]), Change::Formats(Format::ALL.to_vec())] {
        let (report, transformed) = go(&place, change);
        assert!(report.stopped.as_ref().unwrap().contains("nothing was switched"), "{report:?}");
        assert_eq!((report.documents_failed, report.switched.len()), (1, 0));
        assert!(problems(&transformed).contains("JSON"), "{}", problems(&transformed));
        assert_eq!(place.read_json("tables/thing.json"), before);
    }
    fs::remove_file(place.path(broken)).unwrap();
    let (report, _) = go(&place, Change::Formats(vec![Format::Parquet]));
    assert_eq!((report.files_written, report.switched.len()), (0, 1), "{report:?}");
    assert_eq!(place.read_json("tables/thing.json")["formats"], serde_json::json!(["parquet"]));
}

#[test]
fn a_plugin_that_has_no_use_for_a_document_any_more_takes_its_rows_away() {
    let place = Place::empty();
    place.upload("picky", &guest("thing_1"));
    let paths = DOCUMENTS.map(|name| fixture(&format!("playlists/{name}.json")));
    wait(land(&place.store, &paths, EXTRACTED_AT)).unwrap();
    place.transform();
    place.upload("picky", &guest("thing_unsupported"));
    let (report, transformed) = go(&place, Change::None);
    assert_eq!(problems(&transformed), "");
    assert_eq!(report.files_written, 3, "{report:?}");
    assert!(!place.files().keys().any(|key| key.starts_with("transformed_data/")));
    let lineage = place.files().into_iter().filter(|(key, _)| key.starts_with("lineage/"));
    for (key, bytes) in lineage {
        let lineage: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(lineage["files"], serde_json::json!([]), "{key}");
    }
}

#[test]
fn rows_whose_raw_response_is_gone_are_not_lost_by_a_switch() {
    let place = history("thing_1");
    let gone = place.files().into_keys().find(|key| key.contains("/processed/")).unwrap();
    fs::remove_file(place.path(&gone)).unwrap();
    let change = || Change::Formats(vec![Format::Parquet]);
    let (report, _) = go(&place, change());
    let stopped = report.stopped.unwrap();
    let says_so = stopped.contains("have no raw response any more");
    assert!(says_so && report.switched.is_empty(), "{stopped}");
    assert_eq!(place.read_json("tables/thing.json")["formats"], serde_json::json!(["csv"]));
    // Whoever doesn't want them says so.
    let name = gone.trim_end_matches(".json").rsplit_once('/').unwrap().1.to_owned();
    let file = place.files().into_keys().find(|key| key.ends_with(&format!("{name}.csv"))).unwrap();
    fs::remove_file(place.path(&file)).unwrap();
    assert_eq!(go(&place, change()).0.switched.len(), 1);
}

/// A document whose tables are stored and that was not moved, as a transform leaves it that was killed, or
/// has it that runs at the same time.
#[test]
fn a_document_that_was_not_moved_yet_is_not_taken_for_lost() {
    for (stage, advice) in [
        ("to_process", "finish it: spotify-etl transform"),
        ("failed", "then spotify-etl transform KEY"),
    ] {
        for change in
            [Change::Formats(vec![Format::Parquet]), Change::Generations(vec!["thing".to_owned()])]
        {
            let place = history("thing_1");
            if let Change::Generations(_) = change {
                place.upload("thing", &guest("thing_3"));
            }
            let key = place.files().into_keys().find(|key| key.contains("/processed/")).unwrap();
            let there = key.replace("/processed/", &format!("/{stage}/"));
            place.write(&there, &fs::read(place.path(&key)).unwrap());
            fs::remove_file(place.path(&key)).unwrap();
            let (report, _) = go(&place, change.clone());
            let stopped = report.stopped.unwrap();
            assert!(stopped.contains(advice) && report.switched.is_empty(), "{stopped}");
            assert!(!stopped.contains("delete"), "{stopped}");
            fs::rename(place.path(&there), place.path(&key)).unwrap();
            let (report, transformed) = go(&place, change);
            assert_eq!(problems(&transformed), "");
            assert_eq!(report.switched.len(), 1, "{report:?}");
        }
    }
}

/// What each document's rows are, as whoever reads finds them.
fn read(place: &Place) -> Vec<Vec<Cell>> {
    let found = wait(all_tables(&place.store)).unwrap().tables;
    let columns = found[0].schema.columns.iter().map(|column| column.name.as_str());
    let columns = columns.collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT playlist_id, {columns} FROM thing ORDER BY 1");
    wait(query(&place.store, &sql)).unwrap().rows
}

#[test]
fn a_replay_that_was_stopped_leaves_nothing_behind_after_a_rollback() {
    for operation in 1.. {
        let place = history("thing_1");
        place.upload("thing", &guest("thing_2"));
        let address = StoreAddress::Folder(place.folder.path().to_owned());
        let faulty = wait(Faulty::new(&address, operation, Fault::FailsBefore));
        let stopped = wait(replay(&faulty, Change::None, Mode::Write));
        place.upload("thing", &guest("thing_1"));
        let (_, transformed) = go(&place, Change::None);
        assert_eq!(problems(&transformed), "");
        for row in read(&place) {
            assert!(row[2..].iter().all(|cell| *cell == Cell::Null), "{operation}: {row:?}");
        }
        if stopped.is_ok_and(|(_, transformed)| problems(&transformed).is_empty()) {
            assert!(operation > 15, "only {operation} operations");
            return;
        }
    }
}

/// A store on which somebody else takes one more document to its tables just before a record is switched.
struct Meanwhile<'s> {
    place: &'s Place,
    is_done: AtomicBool,
}

#[async_trait]
impl Store for Meanwhile<'_> {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.place.store.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.place.store.list(prefix, after).await
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Written, StoreError> {
        self.place.store.put_new(key, bytes).await
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.place.store.put(key, bytes).await
    }
    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<Written, StoreError> {
        if key.starts_with("tables/") && !self.is_done.swap(true, Ordering::SeqCst) {
            let somebody_else = || {
                wait(async {
                    let store = &self.place.store;
                    land(store, &[fixture("playlists/episodes.json")], EXTRACTED_AT).await.unwrap();
                    let limits = Limits::default();
                    let done = transform(store, &Selection::Waiting, &limits).await.unwrap();
                    assert_eq!(done.documents[0].status, DocumentStatus::Stored);
                });
            };
            std::thread::scope(|scope| scope.spawn(somebody_else).join().unwrap());
        }
        self.place.store.put_if(key, bytes, tag).await
    }
    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<bool, StoreError> {
        self.place.store.delete_if(key, tag).await
    }
    fn location(&self, key: &str) -> String {
        self.place.store.location(key)
    }
}

#[test]
fn what_is_taken_to_the_old_table_just_before_the_switch_is_in_the_new_one() {
    for change in
        [Change::Formats(vec![Format::Parquet]), Change::Generations(vec!["thing".to_owned()])]
    {
        let place = history("thing_1");
        if let Change::Generations(_) = change {
            // The version before stands in for it until the switch.
            place.upload("thing", &guest("thing_3"));
        }
        let store = Meanwhile { place: &place, is_done: AtomicBool::new(false) };
        let (report, _) = wait(replay(&store, change.clone(), Mode::Write)).unwrap();
        assert_eq!((report.switched.len(), report.stopped), (1, None), "{change:?}");
        assert!(store.is_done.load(Ordering::SeqCst));
        assert_eq!(read(&place).len(), 4, "{change:?}");
    }
}
