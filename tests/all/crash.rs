//! Nothing lost, nothing twice: the pipeline stopped at every store operation, by a failure and
//! by the end of the process, and run again; and several of them on one store at once. In a folder,
//! and in a bucket.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use spotify_etl::{
    answer::Cell,
    config::Limits,
    document::FutureTimes,
    layout::{self, Format},
    pipeline::{
        Mode, PipelineError, Selection, Transform,
        active::{PluginPlace, Shelf},
        delete::{Deletion, Execution},
        jobs::Until,
        publish::{History, PublishError, Standing, Switch},
        replay::Change,
        report::{DocumentStatus, Empty},
        tables::tables,
        versions::{VersionError, Way},
    },
    store::{Folder, Object, Page, Store, StoreAddress, StoreError, Tag, Written, list_all},
};
use tempfile::TempDir;

use crate::support::{
    EXTRACTED_AT, NOW, Nobody, PLUGINS, Site, cache, fixture, guest_file, land, plugin_file,
    problems, query, replay, transform, wait,
};

/// What happens at the operation that is counted down to.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is not done, and says so.
    FailsBefore,
    /// It is done, and says that it is not.
    FailsAfter,
    /// The process ends before it.
    EndsBefore,
    /// The process ends after it.
    EndsAfter,
}

const FAULTS: [Fault; 4] =
    [Fault::FailsBefore, Fault::FailsAfter, Fault::EndsBefore, Fault::EndsAfter];

/// A store of which the n-th operation goes wrong.
pub struct Faulty {
    store: Box<dyn Store>,
    left: AtomicUsize,
    fault: Fault,
}

impl Faulty {
    pub async fn new(address: &StoreAddress, operation: usize, fault: Fault) -> Self {
        let store = address.open().await.unwrap();
        Faulty { store, left: AtomicUsize::new(operation), fault }
    }

    async fn through<T>(
        &self,
        key: &str,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let failure = || StoreError::Io {
            verb: "reach",
            location: key.to_owned(),
            source: std::io::Error::other("injected"),
        };
        if self.left.fetch_sub(1, Ordering::SeqCst) != 1 {
            return operation.await;
        }
        match self.fault {
            Fault::FailsBefore => Err(failure()),
            Fault::EndsBefore => std::process::abort(),
            Fault::FailsAfter => operation.await.and_then(|_| Err(failure())),
            Fault::EndsAfter => {
                let _ = operation.await;
                std::process::abort()
            }
        }
    }
}

/// What is stopped, and run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Documents are brought in and taken to tables.
    Run,
    /// History is taken to a plugin's new columns.
    Columns,
    /// And to columns that don't fit the old ones.
    Generation,
    /// And to another format.
    Formats,
    /// A version is published, and carried through history.
    Publish,
    /// The version before is made the active one again, and carried through history.
    Rollback,
    /// A document with files of two generations is deleted, and a file that failed.
    Delete,
}

const SCENES: [Scene; 7] = [
    Scene::Run,
    Scene::Columns,
    Scene::Generation,
    Scene::Formats,
    Scene::Publish,
    Scene::Rollback,
    Scene::Delete,
];

impl Scene {
    async fn prepare(self, store: &dyn Store) {
        match self {
            Scene::Run => prepare(store).await,
            _ => history(store, self).await,
        }
    }

    async fn run(self, store: &dyn Store) -> Result<(), PipelineError> {
        let change = match self {
            Scene::Run => return whole_run(store).await,
            Scene::Publish => return switch(store, "tracks_column").await,
            Scene::Rollback => return switch(store, "tracks_1").await,
            Scene::Delete => return delete_two(store).await,
            Scene::Columns => Change::None,
            Scene::Generation => Change::Generations(vec!["thing".to_owned()]),
            Scene::Formats => Change::Formats(vec![Format::Parquet]),
        };
        let (report, replayed) = replay(store, change, Mode::Write).await?;
        // Otherwise the plugin of before would take what waits to the old table.
        if report.stopped.is_some() || !problems(&replayed).is_empty() {
            return Ok(());
        }
        transform(store, &Selection::Waiting, &Limits::default()).await?;
        Ok(())
    }

    /// Whether every reader sees the old rows of all documents or the new ones, and nothing else.
    async fn check_readers(self, store: &dyn Store) {
        if !matches!(self, Scene::Generation | Scene::Formats) {
            return;
        }
        let found = tables(store).await.unwrap().tables;
        let sql = "SELECT count(DISTINCT document), typeof(id) FROM thing GROUP BY 2";
        let rows = query(store, sql).await.unwrap().rows;
        let is_new = found[0].generation == 2;
        let kind = if is_new { "integer" } else { "text" };
        // The third waits for the new columns.
        let counts: Vec<Cell> = (2..=3).map(Cell::Integer).collect();
        let [row] = rows.as_slice() else { panic!("{self:?}: {rows:?}") };
        assert!(counts.contains(&row[0]), "{self:?}: {rows:?}");
        assert_eq!(row[1], Cell::Text(kind.to_owned()), "{self:?}");
    }
}

fn guest(name: &str) -> Vec<u8> {
    fs::read(guest_file(name)).unwrap()
}

/// Makes a version the active one, and takes history and what waits through it.
async fn switch(store: &dyn Store, version: &str) -> Result<(), PipelineError> {
    let standing = Standing::of(store, "tracks").await?;
    let bytes = guest(version);
    let shelf = Shelf::new(&Limits::default(), Some(cache()));
    let plugin = Arc::new(shelf.engine()?.load("tracks", &bytes).unwrap());
    let switch = Switch {
        transform: Transform {
            store,
            plugins: PluginPlace { store, prefix: layout::PLUGINS },
            shelf: &shelf,
            limits: Limits::default(),
            jobs: 2,
            formats: None,
            now: NOW,
            until: Until::default(),
            future: FutureTimes::Allowed,
            empty: Empty::Allowed,
            pages: None,
            progress: &Nobody,
        },
        plugin,
        bytes,
        standing,
        way: if version == "tracks_1" { Way::Rollback } else { Way::Publish },
        by: "test".to_owned(),
        history: History::Follows,
    };
    match switch.run().await {
        Ok(_) => {}
        Err(PublishError::Store(error) | PublishError::Version(VersionError::Store(error))) => {
            return Err(error.into());
        }
        Err(PublishError::Pipeline(error)) => return Err(error),
        Err(error) => panic!("{error}"),
    }
    transform(store, &Selection::Waiting, &Limits::default()).await?;
    Ok(())
}

/// The document that is deleted: same_track_twice.
const DELETED: &str = "d2jM0xnghJE1tQWDEPlXcS-20260706T060000Z-b11c240b";
/// The file of another program that is deleted.
const FAILED: &str = "raw_data/failed/older/broken.json";

/// Deletes the document with a row, and a file that failed.
async fn delete_two(store: &dyn Store) -> Result<(), PipelineError> {
    let names = [DELETED.to_owned(), FAILED.to_owned()];
    let execution = Execution { mode: Mode::Write, pages: None, progress: &Nobody };
    match Deletion::of_names(store, &names).await {
        Ok(deletion) => drop(deletion.run(&execution).await),
        Err(PipelineError::NothingToDelete { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Documents with files of two generations and in two formats, and a file that failed.
async fn generations(store: &dyn Store) {
    history(store, Scene::Generation).await;
    let broken = fs::read(fixture("refused/truncated.json")).unwrap();
    store.put("raw_data/to_process/older/broken.json", &broken).await.unwrap();
    for change in [
        Change::Generations(vec!["thing".to_owned()]),
        Change::Formats(vec![Format::Csv, Format::Parquet]),
    ] {
        replay(store, change, Mode::Write).await.unwrap();
    }
    transform(store, &Selection::Waiting, &Limits::default()).await.unwrap();
}

/// Two documents that were taken to tables by a plugin, which has another version now; one waits.
async fn history(store: &dyn Store, scene: Scene) {
    if scene == Scene::Delete {
        return Box::pin(generations(store)).await;
    }
    if matches!(scene, Scene::Publish | Scene::Rollback) {
        return tracks_history(store, scene).await;
    }
    store.put("plugins/thing.wasm", &guest("thing_1")).await.unwrap();
    let paths = ["same_track_twice", "no_payload"];
    let paths = paths.map(|name| fixture(&format!("playlists/{name}.json")));
    land(store, &paths, EXTRACTED_AT).await.unwrap();
    transform(store, &Selection::Waiting, &Limits::default()).await.unwrap();
    let next = match scene {
        Scene::Columns => "thing_2",
        Scene::Generation => "thing_3",
        _ => return,
    };
    store.put("plugins/thing.wasm", &guest(next)).await.unwrap();
    let waiting = [fixture("playlists/both_keys.json")];
    land(store, &waiting, EXTRACTED_AT).await.unwrap();
}

/// The same, of a plugin whose other version is yet to be published, or is to be taken back.
async fn tracks_history(store: &dyn Store, scene: Scene) {
    store.put("plugins/tracks.wasm", &guest("tracks_1")).await.unwrap();
    let paths = ["same_track_twice", "no_payload"];
    let paths = paths.map(|name| fixture(&format!("playlists/{name}.json")));
    land(store, &paths, EXTRACTED_AT).await.unwrap();
    transform(store, &Selection::Waiting, &Limits::default()).await.unwrap();
    if scene == Scene::Rollback {
        switch(store, "tracks_column").await.unwrap();
    }
    let waiting = [fixture("playlists/both_keys.json")];
    land(store, &waiting, EXTRACTED_AT).await.unwrap();
}

#[async_trait]
impl Store for Faulty {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.through(key, self.store.get(key)).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.through(prefix, self.store.list(prefix, after)).await
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Written, StoreError> {
        self.through(key, self.store.put_new(key, bytes)).await
    }
    async fn copy_new(&self, key: &str, bytes: &[u8], from: &str) -> Result<Written, StoreError> {
        self.through(key, self.store.copy_new(key, bytes, from)).await
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.through(key, self.store.put(key, bytes)).await
    }
    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<Written, StoreError> {
        self.through(key, self.store.put_if(key, bytes, tag)).await
    }
    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<bool, StoreError> {
        self.through(key, self.store.delete_if(key, tag)).await
    }
    fn location(&self, key: &str) -> String {
        self.store.location(key)
    }
}

/// A store with plugins, something older to process, and something that can't be.
pub async fn prepare(store: &dyn Store) {
    for name in PLUGINS {
        let bytes = fs::read(plugin_file(name)).unwrap();
        store.put(&format!("plugins/{name}.wasm"), &bytes).await.unwrap();
    }
    let foreign = fs::read(fixture("playlists/track_key_with_markets.json")).unwrap();
    let key = "raw_data/to_process/raw_2026-07-06 05:00:00.123.json";
    store.put(key, &foreign).await.unwrap();
    let broken = fs::read(fixture("refused/truncated.json")).unwrap();
    store.put("raw_data/to_process/older/broken.json", &broken).await.unwrap();
}

/// Everything in a store but what its runs report.
pub async fn contents(store: &dyn Store) -> BTreeMap<String, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for listed in list_all(store, "").await.unwrap() {
        if !listed.key.starts_with("runs/") {
            let object = store.get(&listed.key).await.unwrap().unwrap();
            contents.insert(listed.key, object.bytes.into());
        }
    }
    contents
}

/// The whole way: files brought in, and everything that waits taken to tables.
pub async fn whole_run(store: &dyn Store) -> Result<(), PipelineError> {
    run_and_report(store).await.map(drop)
}

/// The same. Returns whether the run reports no problem but the one that is expected.
async fn run_and_report(store: &dyn Store) -> Result<bool, PipelineError> {
    let paths: Vec<PathBuf> = ["same_track_twice", "no_payload"]
        .map(|name| fixture(&format!("playlists/{name}.json")))
        .into();
    let imports = land(store, &paths, EXTRACTED_AT).await?;
    let transformed = transform(store, &Selection::Waiting, &Limits::default()).await?;
    let is_broken = |key: &str| key.ends_with("older/broken.json");
    let mut documents = transformed.documents.iter();
    let are_stored = documents.all(|document| match is_broken(&document.key) {
        true => document.status == DocumentStatus::Failed,
        false => document.status == DocumentStatus::Stored && document.problems.is_empty(),
    });
    let are_loaded = transformed.plugins.iter().all(|plugin| plugin.problem.is_none());
    let are_imported = imports.iter().all(|import| import.problem.is_none());
    Ok(transformed.documents.len() == 4 && are_stored && are_loaded && are_imported)
}

async fn undisturbed(site: &Site, scene: Scene) -> (BTreeMap<String, Vec<u8>>, usize) {
    let store = Faulty::new(&site.place(), usize::MAX, Fault::FailsBefore).await;
    scene.prepare(store.store.as_ref()).await;
    scene.run(&store).await.unwrap();
    let operations = usize::MAX - store.left.load(Ordering::SeqCst);
    (contents(store.store.as_ref()).await, operations)
}

#[test]
fn stopped_at_any_operation_and_run_again_the_store_is_as_if_nothing_had_happened() {
    wait(stop_everywhere(&Site::folder(), Scene::Run, 1));
}

#[test]
fn a_replay_stopped_at_any_operation_goes_on_where_it_was() {
    wait(stop_everywhere(&Site::folder(), Scene::Columns, 1));
}

#[test]
fn a_new_generation_stopped_at_any_operation_is_the_old_table_or_the_new_one() {
    wait(stop_everywhere(&Site::folder(), Scene::Generation, 1));
}

#[test]
fn another_format_stopped_at_any_operation_is_the_old_table_or_the_new_one() {
    wait(stop_everywhere(&Site::folder(), Scene::Formats, 1));
}

#[test]
fn a_publication_stopped_at_any_operation_is_there_or_not() {
    wait(stop_everywhere(&Site::folder(), Scene::Publish, 1));
}

#[test]
fn a_rollback_stopped_at_any_operation_is_there_or_not() {
    wait(stop_everywhere(&Site::folder(), Scene::Rollback, 1));
}

#[test]
fn a_deletion_stopped_at_any_operation_is_finished_by_the_same_command() {
    wait(stop_everywhere(&Site::folder(), Scene::Delete, 1));
}

#[test]
fn stopped_at_operations_on_a_bucket_it_is_as_if_nothing_had_happened() {
    let Some(site) = Site::bucket() else { return };
    // Each takes about a second there; `build.sh test --all` takes all of them.
    let every = std::env::var("SPOTIFY_ETL_TEST_EVERY").map_or(29, |every| every.parse().unwrap());
    for scene in SCENES {
        wait(stop_everywhere(&site, scene, every));
    }
}

async fn stop_everywhere(site: &Site, scene: Scene, every: usize) {
    let (expected, operations) = undisturbed(site, scene).await;
    assert!(!expected.keys().any(|key| key.starts_with("raw_data/to_process/")));
    let processed = expected.keys().filter(|key| key.starts_with("raw_data/processed/")).count();
    assert_eq!(processed, if matches!(scene, Scene::Formats | Scene::Delete) { 2 } else { 3 });
    assert!(operations > 20, "only {operations} operations");
    let faults = (1..=operations).flat_map(|operation| FAULTS.map(|fault| (operation, fault)));
    for (operation, fault) in faults.step_by(every) {
        let address = site.place();
        let store = address.open().await.unwrap();
        scene.prepare(store.as_ref()).await;
        stop_at(&address, scene, operation, fault).await;
        scene.check_readers(store.as_ref()).await;
        scene.run(store.as_ref()).await.unwrap();
        let mut found = contents(store.as_ref()).await;
        // What tries whether a server keeps conditions may be left of a process that ended meanwhile.
        found.retain(|key, _| !key.starts_with("probe-"));
        let keys = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&found), keys(&expected), "{fault:?} at operation {operation}");
        for (key, bytes) in &expected {
            assert!(found[key] == *bytes, "{fault:?} at operation {operation}: {key} differs");
        }
    }
}

async fn stop_at(address: &StoreAddress, scene: Scene, operation: usize, fault: Fault) {
    match fault {
        Fault::FailsBefore | Fault::FailsAfter => {
            let _ = scene.run(&Faulty::new(address, operation, fault).await).await;
        }
        Fault::EndsBefore | Fault::EndsAfter => {
            let ended = process(address, scene, operation, fault).output().unwrap();
            assert!(!ended.status.success(), "the process was to end at operation {operation}");
        }
    }
}

fn process(address: &StoreAddress, scene: Scene, operation: usize, fault: Fault) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::in_a_process_of_its_own", "--nocapture"])
        .env("CRASH_STORE", address.to_string())
        .env("CRASH_SCENE", format!("{scene:?}"))
        .env("CRASH_AT", format!("{operation} {fault:?}"));
    command
}

/// Not a test: what the tests here start, to be ended by a fault.
#[test]
fn in_a_process_of_its_own() {
    let Ok(address) = std::env::var("CRASH_STORE") else { return };
    let at = std::env::var("CRASH_AT").unwrap();
    let (operation, fault) = at.split_once(' ').unwrap();
    let fault = FAULTS.into_iter().find(|known| format!("{known:?}") == fault).unwrap();
    wait(async {
        let address = address.parse().unwrap();
        let store = Faulty::new(&address, operation.parse().unwrap(), fault).await;
        if std::env::var_os("CRASH_MUST_BE_WHOLE").is_some() {
            assert!(run_and_report(&store).await.unwrap());
            return;
        }
        let scene = std::env::var("CRASH_SCENE").unwrap_or_else(|_| format!("{:?}", Scene::Run));
        let scene = SCENES.into_iter().find(|known| format!("{known:?}") == scene).unwrap();
        let _ = scene.run(&store).await;
    });
}

#[test]
fn several_processes_on_one_store_at_once_do_no_harm() {
    for site in Site::all() {
        let (expected, _) = wait(undisturbed(&site, Scene::Run));
        for _ in 0..5 {
            let address = site.place();
            let store = wait(address.open()).unwrap();
            wait(prepare(store.as_ref()));
            let start = || {
                let mut process = process(&address, Scene::Run, usize::MAX, Fault::FailsBefore);
                process.stdout(Stdio::null()).spawn().unwrap()
            };
            let processes: Vec<_> = (0..3).map(|_| start()).collect();
            for mut process in processes {
                assert!(process.wait().unwrap().success());
            }
            assert_eq!(wait(contents(store.as_ref())), expected);
        }
    }
}

#[test]
fn stopped_at_operations_on_several_file_systems_it_is_as_if_nothing_had_happened() {
    let Some(site) = Site::mounted() else { return };
    wait(stop_everywhere(&site, Scene::Run, 1));
    wait(stop_everywhere(&site, Scene::Generation, 7));
}

#[test]
fn what_a_killed_process_left_unfinished_is_cleared_away() {
    let folder = TempDir::new().unwrap();
    let unfinished = folder.path().join(".store/unfinished");
    fs::create_dir_all(unfinished.join("1-1")).unwrap();
    fs::create_dir_all(unfinished.join("@eaDir/2-2")).unwrap();
    for name in ["123-4", "notes.txt", "1-2-3", "5-x", "-"] {
        fs::write(unfinished.join(name), b"half").unwrap();
    }
    wait(Folder::new(folder.path()).put("tables/x.json", b"{}")).unwrap();
    let left = fs::read_dir(&unfinished).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.map(|name| name.into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["-", "1-1", "1-2-3", "5-x", "@eaDir", "notes.txt"]);
}

/// The temporary files of folders on another file system are in these folders.
#[test]
fn what_a_killed_process_left_on_another_file_system_is_cleared_away() {
    let Some(site) = Site::mounted() else { return };
    let StoreAddress::Folder(root) = site.place() else { unreachable!() };
    wait(async {
        let store = Folder::new(&root);
        store.put("raw_data/x/1.json", b"{}").await.unwrap();
        for name in [".spotify-etl-1-2", ".spotify-etl-notes", ".other-1-2"] {
            fs::write(root.join("raw_data/x").join(name), b"half").unwrap();
        }
        fs::create_dir(root.join("raw_data/x/.spotify-etl-3-4")).unwrap();
        // Another process may be the one that writes them.
        Folder::new(&root).put("raw_data/x/2.json", b"{}").await.unwrap();
        assert!(root.join("raw_data/x/.spotify-etl-1-2").exists());
        assert_eq!(list_all(&store, "raw_data/").await.unwrap().len(), 2);
        drop(store);
        Folder::new(&root).put("raw_data/x/3.json", b"{}").await.unwrap();
        let left = fs::read_dir(root.join("raw_data/x")).unwrap();
        let mut left: Vec<_> =
            left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let expected =
            [".other-1-2", ".spotify-etl-3-4", ".spotify-etl-notes", "1.json", "2.json", "3.json"];
        assert_eq!(left, expected);
    });
}
