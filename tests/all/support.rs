//! What the tests have in common: places, a store with plugins in it, a run.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use spotify_etl::{
    answer::Answer,
    config::Limits,
    document::{ExtractedAt, FutureTimes},
    layout,
    pipeline::{
        Mode, PipelineError, Progress, Selection, Transform, Transformed,
        active::{PluginPlace, Shelf},
        jobs::Until,
        landing::{ImportMode, ImportOptions, Incoming, import},
        replay::{Change, Filter, Replay, Which},
        report::{Empty, ImportReport, ReplayReport},
        tables::{LocalSql, Tables, TablesError, tables},
    },
    sources::{PlaylistFrom, files},
    store::{Folder, Store, StoreAddress, StoreError},
};
use tempfile::TempDir;
use time::{OffsetDateTime, macros::datetime};

/// The time that tests happen at.
pub const NOW: OffsetDateTime = datetime!(2026-07-06 06:00:30 UTC);

/// The time that fixtures are read at.
pub const EXTRACTED_AT: &str = "20260706T060000Z";

/// The plugins of the project.
pub const PLUGINS: [&str; 4] = ["album", "artist", "snapshot", "song"];

/// The folder with the tests' data.
pub fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn target() -> PathBuf {
    // This program is in target/release/deps.
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().to_owned()
}

fn built(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is not built: ./build.sh test builds it", path.display());
    path
}

/// A built plugin.
pub fn plugin_file(name: &str) -> PathBuf {
    built(target().join(format!("wasm32-wasip2/plugin/{name}.wasm")))
}

/// A plugin that is only for tests.
pub fn guest_file(name: &str) -> PathBuf {
    built(target().join(format!("wasm32-wasip2/plugin/examples/{name}.wasm")))
}

/// The command.
pub fn command_file() -> PathBuf {
    built(target().join("release/spotify-etl"))
}

/// Where compiled plugins are kept between tests.
pub fn cache() -> PathBuf {
    target().join("test-cache")
}

/// The bytes of a fixture.
pub fn fixture(name: &str) -> PathBuf {
    tests().join("fixtures").join(name)
}

/// The JSON files of a folder, sorted.
pub fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
    files.sort();
    assert!(!files.is_empty(), "no fixtures in {}", folder.display());
    files
}

/// A store in a folder of its own, which goes with it.
pub struct Place {
    pub folder: TempDir,
    pub store: Folder,
}

impl Place {
    /// A store without plugins.
    pub fn empty() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Folder::new(folder.path());
        Place { folder, store }
    }

    /// A store with the project's plugins.
    pub fn new() -> Self {
        let place = Self::empty();
        for name in PLUGINS {
            place.upload(name, &fs::read(plugin_file(name)).unwrap());
        }
        place
    }

    /// Puts a file among the plugins, as a copy would.
    pub fn upload(&self, name: &str, bytes: &[u8]) {
        self.write(&format!("plugins/{name}.wasm"), bytes);
    }

    pub fn write(&self, key: &str, bytes: &[u8]) {
        let path = self.path(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join(key)
    }

    pub fn read(&self, key: &str) -> String {
        fs::read_to_string(self.path(key)).unwrap_or_else(|error| panic!("{key}: {error}"))
    }

    pub fn read_json(&self, key: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(key)).unwrap()
    }

    /// Every file of the store, but for what its runs report and its own folder.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files_below(self.folder.path())
    }

    /// The only file whose key begins and ends like this.
    pub fn only(&self, prefix: &str, suffix: &str) -> String {
        let matches = |key: &String| key.starts_with(prefix) && key.ends_with(suffix);
        let found: Vec<_> = self.files().into_keys().filter(matches).collect();
        assert_eq!(found.len(), 1, "{prefix}...{suffix}: {found:?}");
        found[0].clone()
    }

    pub fn run(&self, paths: &[PathBuf]) -> (Vec<ImportReport>, Transformed) {
        self.run_with(paths, &Limits::default())
    }

    pub fn run_with(&self, paths: &[PathBuf], limits: &Limits) -> (Vec<ImportReport>, Transformed) {
        let imports = wait(land(&self.store, paths, EXTRACTED_AT)).unwrap();
        (imports, wait(transform(&self.store, &Selection::Waiting, limits)).unwrap())
    }

    pub fn transform(&self) -> Transformed {
        wait(transform(&self.store, &Selection::Waiting, &Limits::default())).unwrap()
    }
}

/// Where stores can be made for a test: in a folder that goes with it, in one with folders of another file
/// system in it, or in the bucket of the S3 server that `tests/with_s3.py` started.
pub enum Site {
    Folder(TempDir),
    Mounted { folder: TempDir, other: TempDir },
    Bucket,
}

/// The folders of a store that are on another file system in [`Site::mounted`]: a store's own, and some that
/// tests of stores use.
const MOUNTED: [&str; 8] =
    ["raw_data", "transformed_data", "lineage", "a", "c", "p", "own", "rounds"];

/// How many places there are in this process.
static PLACES: AtomicUsize = AtomicUsize::new(0);

impl Site {
    pub fn folder() -> Self {
        Site::Folder(TempDir::new().unwrap())
    }

    /// None where only one file system can be written to.
    #[cfg(unix)]
    pub fn mounted() -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let folder = TempDir::new().unwrap();
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
        let other = TempDir::new_in("/dev/shm").ok();
        let other = other.filter(|other| device(other.path()) != device(folder.path()));
        let Some(other) = other else {
            skipped("/dev/shm is not a file system of its own that can be written to");
            return None;
        };
        Some(Site::Mounted { folder, other })
    }

    #[cfg(not(unix))]
    pub fn mounted() -> Option<Self> {
        skipped("there is no second file system to test with");
        None
    }

    /// All that there are on this machine.
    pub fn all() -> Vec<Self> {
        [Some(Site::folder()), Site::mounted(), Site::bucket()].into_iter().flatten().collect()
    }

    /// None where there is no server.
    pub fn bucket() -> Option<Self> {
        if std::env::var_os("SPOTIFY_ETL_TEST_BUCKET").is_none() {
            skipped("no S3 server was started (build.sh test does, with tests/with_s3.py)");
            return None;
        }
        Some(Site::Bucket)
    }

    /// A new place for a store, with nothing in it.
    pub fn place(&self) -> StoreAddress {
        let number = PLACES.fetch_add(1, Ordering::SeqCst).to_string();
        match self {
            Site::Folder(folder) => StoreAddress::Folder(folder.path().join(number)),
            Site::Mounted { folder, other } => {
                let (root, other) = (folder.path().join(&number), other.path().join(&number));
                fs::create_dir(&root).unwrap();
                for name in MOUNTED {
                    fs::create_dir_all(other.join(name)).unwrap();
                    link(&other.join(name), &root.join(name));
                }
                StoreAddress::Folder(root)
            }
            Site::Bucket => {
                let bucket = std::env::var("SPOTIFY_ETL_TEST_BUCKET").unwrap();
                let test = std::thread::current().name().unwrap_or("test").replace("::", "-");
                let process = std::process::id();
                StoreAddress::Bucket { bucket, prefix: format!("{test}-{process}/{number}/") }
            }
        }
    }
}

/// Makes a link. Links to folders on another file system are to the store what mounts are: nothing can be
/// moved through them.
pub fn link(to: &Path, at: &Path) {
    #[cfg(unix)]
    std::os::unix::fs::symlink(to, at).unwrap();
    #[cfg(not(unix))]
    panic!("no links: {} {}", to.display(), at.display());
}

/// Makes a named pipe, which nothing ever writes to.
pub fn named_pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

pub fn files_below(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let key = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if key == ".store" || key == "runs" {
                continue;
            } else if path.is_dir() {
                walk(root, &path, files);
            } else {
                files.insert(key, fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(root, root, &mut files);
    files
}

/// Runs a future to its end.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

pub struct Nobody;

impl Progress for Nobody {
    fn begin(&self, _what: &'static str, _count: usize) {}
    fn expect(&self, _more: usize) {}
    fn advance(&self) {}
    fn end(&self) {}
}

/// Brings files in.
pub async fn land(
    store: &dyn Store,
    paths: &[PathBuf],
    extracted_at: &str,
) -> Result<Vec<ImportReport>, StoreError> {
    land_at(store, paths, Some(extracted_at.parse().unwrap())).await
}

/// Brings files in that have the time in their names.
pub async fn land_as_named(
    store: &dyn Store,
    paths: &[PathBuf],
) -> Result<Vec<ImportReport>, StoreError> {
    land_at(store, paths, None).await
}

async fn land_at(
    store: &dyn Store,
    paths: &[PathBuf],
    extracted_at: Option<ExtractedAt>,
) -> Result<Vec<ImportReport>, StoreError> {
    let options = ImportOptions {
        playlist: None,
        extracted_at,
        // Many fixtures are a playlist each.
        playlist_from: PlaylistFrom::Name,
        mode: ImportMode::Land,
        jobs: 2,
        future: FutureTimes::Allowed,
        pages: None,
    };
    let found = files::find(paths);
    let incoming: Vec<Incoming<'_>> = found.sources.iter().map(Incoming::File).collect();
    let limits = Limits::default();
    let imported = import(store, &incoming, &found.problems, &options, &limits, NOW, &Nobody);
    Ok(imported.await?.reports.into_parts().listed)
}

/// Takes documents to tables, with the plugins of the store.
pub async fn transform(
    store: &dyn Store,
    selection: &Selection,
    limits: &Limits,
) -> Result<Transformed, PipelineError> {
    let plugins = PluginPlace { store, prefix: layout::PLUGINS };
    let shelf = Shelf::new(limits, Some(cache()));
    let (shelf, limits, progress) = (&shelf, limits.clone(), &Nobody);
    let until = Until::default();
    let transform = Transform {
        store,
        plugins,
        shelf,
        limits,
        jobs: 2,
        formats: None,
        now: NOW,
        until,
        future: FutureTimes::Allowed,
        empty: Empty::Allowed,
        pages: None,
        progress,
    };
    transform.run(selection).await
}

/// Takes all of history to its tables again, with the plugins of the store.
pub async fn replay(
    store: &dyn Store,
    change: Change,
    mode: Mode,
) -> Result<(ReplayReport, Transformed), PipelineError> {
    let shelf = Shelf::new(&Limits::default(), Some(cache()));
    let transform = Transform {
        store,
        plugins: PluginPlace { store, prefix: layout::PLUGINS },
        shelf: &shelf,
        limits: Limits::default(),
        jobs: 2,
        formats: match &change {
            Change::Formats(formats) => Some(formats.clone()),
            _ => None,
        },
        now: NOW,
        until: Until::default(),
        future: FutureTimes::Allowed,
        empty: Empty::Allowed,
        pages: None,
        progress: &Nobody,
    };
    let which = Which::Matching(Filter::default());
    Replay { transform, which, plugins: Vec::new(), change, empty: Empty::Allowed, mode }
        .run()
        .await
}

/// Answers a statement over the tables of a store, with nothing kept between questions.
pub async fn query(store: &dyn Store, sql: &str) -> Result<Answer, TablesError> {
    let Tables { tables, left_out } = tables(store).await?;
    assert!(left_out.is_empty(), "{left_out:?}");
    let sources = LocalSql { store, tables: &tables, cache: None, now: NOW, progress: &Nobody };
    sources.ask(sql).await
}

/// Says that a check was skipped, and why, past the capture of a test's output.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// The problems of a run, in lines.
pub fn problems(transformed: &Transformed) -> String {
    let plugins = transformed.plugins.iter().filter_map(|plugin| plugin.problem.as_ref());
    let documents = transformed.documents.iter().flat_map(|document| &document.problems);
    plugins.chain(documents).map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
