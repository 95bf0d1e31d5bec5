//! Lineage says what made each table file, whatever runs at the same time and whatever is killed, and a
//! replay finds and mends files that are not what their lineage says.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use spotify_etl::{
    config::Limits,
    document::{FutureTimes, sha256},
    pipeline::{
        Mode, PipelineError, Selection, Transform,
        active::{PluginPlace, Shelf},
        jobs::Until,
        replay::{Change, Filter, Replay, Which},
        report::Empty,
    },
    store::{Object, Page, Store, StoreAddress, StoreError, Tag, Written, list_all},
};

use crate::support::{
    EXTRACTED_AT, NOW, Nobody, Site, cache, fixture, guest_file, land, problems, replay, transform,
    wait,
};

const RAW: &str = "raw_data/processed/";

/// A store on which something else happens before the n-th operation, and that fails from another one on,
/// as for a process that is killed.
struct Disturbed<'s> {
    store: &'s dyn Store,
    operations: AtomicUsize,
    disturbed_at: usize,
    killed_at: usize,
    disturbance: &'s (dyn Fn() + Sync),
}

impl Disturbed<'_> {
    fn step(&self, key: &str) -> Result<(), StoreError> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst) + 1;
        if number == self.disturbed_at {
            std::thread::scope(|scope| scope.spawn(self.disturbance).join().unwrap());
        }
        if number >= self.killed_at {
            let source = std::io::Error::other("killed");
            return Err(StoreError::Io { verb: "reach", location: key.to_owned(), source });
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Disturbed<'_> {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.step(key)?;
        self.store.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.step(prefix)?;
        self.store.list(prefix, after).await
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Written, StoreError> {
        self.step(key)?;
        self.store.put_new(key, bytes).await
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.step(key)?;
        self.store.put(key, bytes).await
    }
    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<Written, StoreError> {
        self.step(key)?;
        self.store.put_if(key, bytes, tag).await
    }
    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<bool, StoreError> {
        self.step(key)?;
        self.store.delete_if(key, tag).await
    }
    fn location(&self, key: &str) -> String {
        self.store.location(key)
    }
}

fn guest(name: &str) -> Vec<u8> {
    fs::read(guest_file(name)).unwrap()
}

/// Transforms what waits, or replays what is processed, with a version of the plugin that is not the store's
/// own: as a program does that began before the plugin was switched.
async fn work_with(store: &dyn Store, version: &str, is_replay: bool) -> Result<(), PipelineError> {
    let folder = tempfile::TempDir::new().unwrap();
    fs::write(folder.path().join("tracks.wasm"), guest(version)).unwrap();
    let place = StoreAddress::Folder(folder.path().to_owned()).open().await?;
    let shelf = Shelf::new(&Limits::default(), Some(cache()));
    let work = Transform {
        store,
        plugins: PluginPlace { store: place.as_ref(), prefix: "" },
        shelf: &shelf,
        limits: Limits::default(),
        jobs: 1,
        formats: None,
        now: NOW,
        until: Until::default(),
        future: FutureTimes::default(),
        empty: Empty::Allowed,
        pages: None,
        progress: &Nobody,
    };
    if is_replay {
        let which = Which::Matching(Filter::default());
        let (plugins, change, mode) = (Vec::new(), Change::None, Mode::Write);
        let replay =
            Replay { transform: work, which, plugins, change, empty: Empty::Allowed, mode };
        return replay.run().await.map(drop);
    }
    work.run(&Selection::Waiting).await.map(drop)
}

async fn prepare(store: &dyn Store) {
    store.put("plugins/tracks.wasm", &guest("tracks_1")).await.unwrap();
    let paths = [fixture("playlists/same_track_twice.json")];
    land(store, &paths, EXTRACTED_AT).await.unwrap();
}

/// The files of which lineage says something that is not so.
async fn disagreements(store: &dyn Store) -> Vec<String> {
    let mut wrong = Vec::new();
    for listed in list_all(store, "lineage/").await.unwrap() {
        let lineage = store.get(&listed.key).await.unwrap().unwrap().bytes;
        let lineage: serde_json::Value = serde_json::from_slice(&lineage).unwrap();
        for file in lineage["files"].as_array().unwrap() {
            let key = file["key"].as_str().unwrap();
            let found = store.get(key).await.unwrap().map(|object| sha256(&object.bytes));
            if found.as_deref() != file["sha256"].as_str() {
                wrong.push(format!("{key} is not what {} made", file["plugin"]["version"]));
            }
        }
    }
    wrong
}

/// Whether a document is processed, and lineage says of all its files what made them.
async fn is_complete(store: &dyn Store) -> bool {
    let raw = list_all(store, RAW).await.unwrap();
    let files = list_all(store, "transformed_data/").await.unwrap();
    let [lineage] = list_all(store, "lineage/").await.unwrap().try_into().unwrap();
    let lineage = store.get(&lineage.key).await.unwrap().unwrap().bytes;
    let lineage: serde_json::Value = serde_json::from_slice(&lineage).unwrap();
    let is_said = lineage["files"].as_array().unwrap().len() == files.len();
    raw.len() == 1 && is_said && lineage["writing"].is_null()
}

/// One writer does all of its work at each step of another, which goes on afterwards, or is killed after a
/// few more steps.
async fn disturb_everywhere(site: &Site, is_replay: bool) {
    let count = {
        let store = site.place().open().await.unwrap();
        prepare(store.as_ref()).await;
        if is_replay {
            transform(store.as_ref(), &Selection::Waiting, &Limits::default()).await.unwrap();
        }
        let nothing = || {};
        let store = Disturbed {
            store: store.as_ref(),
            operations: AtomicUsize::new(0),
            disturbed_at: usize::MAX,
            killed_at: usize::MAX,
            disturbance: &nothing,
        };
        work_with(&store, "tracks_rule", is_replay).await.unwrap();
        store.operations.into_inner()
    };
    assert!(count > 8, "only {count} operations");
    for disturbed_at in 1..=count {
        for lives in [usize::MAX, 1, 2, 3, 4, 5, 6] {
            let place = site.place();
            let store = place.open().await.unwrap();
            prepare(store.as_ref()).await;
            if is_replay {
                transform(store.as_ref(), &Selection::Waiting, &Limits::default()).await.unwrap();
            }
            let other = || {
                let store = wait(place.open()).unwrap();
                wait(work_with(store.as_ref(), "tracks_fewer", is_replay)).unwrap();
            };
            let disturbed = Disturbed {
                store: store.as_ref(),
                operations: AtomicUsize::new(0),
                disturbed_at,
                killed_at: disturbed_at.saturating_add(lives),
                disturbance: &other,
            };
            let _ = work_with(&disturbed, "tracks_rule", is_replay).await;
            let wrong = disagreements(store.as_ref()).await;
            assert!(wrong.is_empty(), "at {disturbed_at}, {lives} more: {wrong:?}");
            let (_, replayed) = replay(store.as_ref(), Change::None, Mode::Write).await.unwrap();
            assert_eq!(problems(&replayed), "");
            transform(store.as_ref(), &Selection::Waiting, &Limits::default()).await.unwrap();
            assert_eq!(disagreements(store.as_ref()).await, [""; 0]);
            assert!(is_complete(store.as_ref()).await, "at {disturbed_at}, {lives} more");
        }
    }
}

#[test]
fn lineage_and_files_agree_when_two_versions_transform_one_document() {
    wait(disturb_everywhere(&Site::folder(), false));
}

#[test]
fn lineage_and_files_agree_when_two_versions_replay_one_document() {
    wait(disturb_everywhere(&Site::folder(), true));
}

#[test]
fn a_replay_mends_files_that_are_not_what_their_lineage_says() {
    for site in [Some(Site::folder()), Site::bucket()].into_iter().flatten() {
        wait(async {
            let store = site.place().open().await.unwrap();
            let store = store.as_ref();
            prepare(store).await;
            transform(store, &Selection::Waiting, &Limits::default()).await.unwrap();
            let [file] = list_all(store, "transformed_data/").await.unwrap().try_into().unwrap();
            let good = store.get(&file.key).await.unwrap().unwrap().bytes;
            let (report, _) = replay(store, Change::None, Mode::Write).await.unwrap();
            assert_eq!((report.documents_equal, report.files_written), (1, 0));
            // Another file of the same size, as another version writes it.
            let mut other = good.to_vec();
            let last = other.iter().rposition(u8::is_ascii_alphanumeric).unwrap();
            other[last] ^= 1;
            store.put(&file.key, &other).await.unwrap();
            let (report, _) = replay(store, Change::None, Mode::DryRun).await.unwrap();
            assert_eq!((report.documents_equal, report.files_written), (0, 1));
            let (report, _) = replay(store, Change::None, Mode::Write).await.unwrap();
            assert_eq!((report.documents_rewritten, report.files_written), (1, 1));
            assert_eq!(store.get(&file.key).await.unwrap().unwrap().bytes, good);
            assert_eq!(disagreements(store).await, [""; 0]);
        });
    }
}
