//! Nothing lost, nothing twice: the pipeline stopped at every store operation, by a failure and
//! by the end of the process, and run again; and two of them on one store at once.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use spotify_etl::{
    config::Limits,
    pipeline::{PipelineError, Selection},
    store::{Created, Folder, Object, Page, Store, StoreError, Tag},
};
use tempfile::TempDir;

use crate::support::{
    EXTRACTED_AT, PLUGINS, files_below, fixture, land, plugin_file, transform, wait,
};

/// What happens at the operation that is counted down to.
#[derive(Clone, Copy, Debug)]
enum Fault {
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
struct Faulty {
    store: Folder,
    left: AtomicUsize,
    fault: Fault,
}

impl Faulty {
    fn new(root: &Path, operation: usize, fault: Fault) -> Self {
        Faulty { store: Folder::new(root), left: AtomicUsize::new(operation), fault }
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

#[async_trait]
impl Store for Faulty {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.through(key, self.store.get(key)).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.through(prefix, self.store.list(prefix, after)).await
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Created, StoreError> {
        self.through(key, self.store.put_new(key, bytes)).await
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.through(key, self.store.put(key, bytes)).await
    }
    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<bool, StoreError> {
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
fn prepare(root: &Path) {
    for name in PLUGINS {
        write(root, &format!("plugins/{name}.wasm"), &fs::read(plugin_file(name)).unwrap());
    }
    let foreign = fs::read(fixture("playlists/track_key_with_markets.json")).unwrap();
    write(root, "raw_data/to_process/raw_2026-07-06 05:00:00.123.json", &foreign);
    let broken = fs::read(fixture("refused/truncated.json")).unwrap();
    write(root, "raw_data/to_process/older/broken.json", &broken);
}

fn write(root: &Path, key: &str, bytes: &[u8]) {
    let path = root.join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The whole way: files brought in, and everything that waits taken to tables.
async fn whole_run(store: &dyn Store) -> Result<(), PipelineError> {
    let paths: Vec<PathBuf> = ["same_track_twice", "no_payload"]
        .map(|name| fixture(&format!("playlists/{name}.json")))
        .into();
    land(store, &paths, EXTRACTED_AT).await?;
    transform(store, &Selection::Waiting, &Limits::default()).await?;
    Ok(())
}

fn undisturbed() -> (BTreeMap<String, Vec<u8>>, usize) {
    let folder = TempDir::new().unwrap();
    prepare(folder.path());
    let store = Faulty::new(folder.path(), usize::MAX, Fault::FailsBefore);
    wait(whole_run(&store)).unwrap();
    let operations = usize::MAX - store.left.load(Ordering::SeqCst);
    (files_below(folder.path()), operations)
}

#[test]
fn stopped_at_any_operation_and_run_again_the_store_is_as_if_nothing_had_happened() {
    let (expected, operations) = undisturbed();
    assert!(expected.keys().any(|key| key.starts_with("raw_data/failed/")));
    assert!(expected.keys().filter(|key| key.starts_with("raw_data/processed/")).count() == 3);
    assert!(operations > 60, "only {operations} operations");
    for operation in 1..=operations {
        for fault in FAULTS {
            let folder = TempDir::new().unwrap();
            prepare(folder.path());
            stop_at(folder.path(), operation, fault);
            wait(whole_run(&Folder::new(folder.path()))).unwrap();
            let found = files_below(folder.path());
            let keys =
                |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(&found), keys(&expected), "{fault:?} at operation {operation}");
            for (key, bytes) in &expected {
                assert!(found[key] == *bytes, "{fault:?} at operation {operation}: {key} differs");
            }
        }
    }
}

fn stop_at(root: &Path, operation: usize, fault: Fault) {
    match fault {
        Fault::FailsBefore | Fault::FailsAfter => {
            let _ = wait(whole_run(&Faulty::new(root, operation, fault)));
        }
        Fault::EndsBefore | Fault::EndsAfter => {
            let ended = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "crash::in_a_process_of_its_own", "--nocapture"])
                .env("CRASH_STORE", root)
                .env("CRASH_AT", format!("{operation} {fault:?}"))
                .output()
                .unwrap();
            assert!(!ended.status.success(), "the process was to end at operation {operation}");
        }
    }
}

/// Not a test: what the test above starts, to be ended by a fault.
#[test]
fn in_a_process_of_its_own() {
    let Some(root) = std::env::var_os("CRASH_STORE") else { return };
    let at = std::env::var("CRASH_AT").unwrap();
    let (operation, fault) = at.split_once(' ').unwrap();
    let fault = FAULTS.into_iter().find(|known| format!("{known:?}") == fault).unwrap();
    let store = Faulty::new(Path::new(&root), operation.parse().unwrap(), fault);
    let _ = wait(whole_run(&store));
}

#[test]
fn several_processes_on_one_store_at_once_do_no_harm() {
    let (expected, _) = undisturbed();
    for _ in 0..5 {
        let folder = TempDir::new().unwrap();
        prepare(folder.path());
        let start = || {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "crash::in_a_process_of_its_own", "--nocapture"])
                .env("CRASH_STORE", folder.path())
                .env("CRASH_AT", format!("{} {:?}", usize::MAX, Fault::FailsBefore))
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        };
        let processes: Vec<_> = (0..3).map(|_| start()).collect();
        for mut process in processes {
            assert!(process.wait().unwrap().success());
        }
        assert_eq!(files_below(folder.path()), expected);
    }
}

#[test]
fn what_a_killed_process_left_unfinished_is_cleared_away() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), ".store/unfinished/left", b"half");
    wait(Folder::new(folder.path()).put("tables/x.json", b"{}")).unwrap();
    assert_eq!(fs::read_dir(folder.path().join(".store/unfinished")).unwrap().count(), 0);
}
