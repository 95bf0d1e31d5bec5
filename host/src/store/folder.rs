//! A folder as the store: a file for each key.
//!
//! A file appears or changes at once and whole: it is written beside the store's data, synced,
//! and renamed to its place. Files that are written at the same time are synced together. Changes that have
//! a tag as their condition are made under a lock that all processes share, so that two of them on one
//! folder are as safe as two on one bucket.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use tokio::sync::{Semaphore, oneshot};

use super::{
    Listed, Object, Page, Store, StoreError, Tag, Written, is_sound,
    mounts::{Mounts, remove_files},
};
use crate::files::{Trail, open_lock, open_regular, read_regular};

/// The folder inside the store that is the store's own. Hidden, so that nothing lists it.
const OWN: &str = ".store";

/// So much of a file is compared at a time.
const COMPARED_BYTES: usize = 64 << 10;

/// A listing with more files and folders that can't be read fails as a whole.
const UNREADABLE_MAX: usize = 100;

/// A folder as the store.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Where files are until they are under their keys.
    unfinished_folder: PathBuf,
    /// Kept locked while this process may write, which keeps its unfinished files from others.
    writing: OnceLock<File>,
    unfinished: AtomicU64,
    /// The folders that a file can't be moved to from the store's own one.
    mounts: Mounts,
    line: Arc<Mutex<Line>>,
    /// How many more files may be open for writing.
    open: Semaphore,
}

/// Files that are written and wait for being put in their places.
#[derive(Debug, Default)]
struct Line {
    waiting: Vec<Waiting>,
    /// Whether somebody puts them there.
    is_seen_to: bool,
}

/// A file that is not yet under its key. What doesn't get there goes.
#[derive(Debug)]
struct Unfinished {
    path: PathBuf,
    file: File,
    is_there: bool,
    /// Whether it is in the folder of its place, as that is on another file system than the store.
    is_beside: bool,
}

/// A file that is written, and where it is to go.
#[derive(Debug)]
struct Waiting {
    unfinished: Unfinished,
    place: PathBuf,
    condition: Condition,
    done: oneshot::Sender<io::Result<Placed>>,
}

/// When a file is put in its place.
#[derive(Clone, Debug)]
enum Condition {
    /// Always.
    None,
    /// If no file is there.
    Absent,
    /// If the file there has this tag.
    Unchanged(Tag),
}

/// Whether a file was put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placed {
    Yes,
    /// The condition did not hold.
    Refused,
}

/// A file in its place, or what became of it, whose name is not yet sure to stay.
struct Named {
    folder: PathBuf,
    is_beside: bool,
    placed: io::Result<Placed>,
    done: oneshot::Sender<io::Result<Placed>>,
}

/// So many files are open for writing at a time: systems have a limit, and some a low one.
const OPEN_MAX: usize = 128;

impl Folder {
    /// The store in a folder, which need not exist before something is written.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Folder {
            unfinished_folder: root.join(OWN).join("unfinished"),
            mounts: Mounts::new(&root, root.join(OWN).join("mounted_folders")),
            root,
            writing: OnceLock::new(),
            unfinished: AtomicU64::new(0),
            line: Arc::default(),
            open: Semaphore::new(OPEN_MAX),
        }
    }

    fn path(&self, key: &str) -> Result<PathBuf, StoreError> {
        if !is_sound(key) {
            return Err(StoreError::Key { key: key.to_owned() });
        }
        Ok(self.root.join(key))
    }

    fn error(&self, verb: &'static str, key: &str) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::Io { verb, location: self.location(key), source }
    }

    /// Makes the store's own folder, and clears it of what killed processes left unfinished:
    /// whoever holds its lock alone is the only one who writes.
    fn prepare(&self) -> io::Result<()> {
        if self.writing.get().is_some() {
            return Ok(());
        }
        let unfinished = &self.unfinished_folder;
        create_folder(unfinished)?;
        let lock = open_lock(&self.root.join(OWN).join("writers.lock"))?;
        if lock.try_lock().is_ok() {
            let cleared = remove_files(unfinished, is_unfinished_name);
            if let Err(error) = cleared.and_then(|()| self.mounts.clear()) {
                tracing::warn!(
                    "temporary files of a killed process were not deleted in {}: {error}",
                    self.root.display()
                );
            }
            lock.unlock()?;
        }
        lock.lock_shared()?;
        let _ = self.writing.set(lock);
        Ok(())
    }

    /// Where a temporary file for a place is created, and whether that is beside the place.
    fn unfinished(&self, place: &Path) -> io::Result<(PathBuf, bool)> {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        Ok(match self.mounts.path_beside(place, &name)? {
            Some(path) => (path, true),
            None => (self.unfinished_folder.join(name), false),
        })
    }

    /// Writes bytes to a temporary file, which is then to be put in its place.
    fn write_unfinished(&self, bytes: &[u8], place: &Path) -> io::Result<Unfinished> {
        self.prepare()?;
        let mut unfinished = loop {
            let (path, is_beside) = self.unfinished(place)?;
            match File::create_new(&path) {
                Ok(file) => break Unfinished { path, file, is_there: true, is_beside },
                // Another store of this process, or a process elsewhere with the same id.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        unfinished.file.write_all(bytes)?;
        Ok(unfinished)
    }

    /// Another name for a file that has these bytes; none if it hasn't, or can't have one.
    fn link_unfinished(&self, bytes: &[u8], from: &Path, place: &Path) -> Option<Unfinished> {
        self.prepare().ok()?;
        let (path, is_beside) = self.unfinished(place).ok()?;
        fs::hard_link(from, &path).ok()?;
        let Ok((file, _)) = open_regular(&path) else {
            let _ = fs::remove_file(&path);
            return None;
        };
        // Whatever has that name later, what is looked at here is what was linked.
        let linked = Unfinished { path, file, is_there: true, is_beside };
        let metadata = fs::symlink_metadata(&linked.path).ok()?;
        let is_own = metadata.is_file() && has_two_names(&metadata);
        (is_own && holds(&linked.path, bytes).ok()?).then_some(linked)
    }

    /// Writes bytes to a file that appears in its place at once and whole.
    async fn write(&self, bytes: &[u8], place: &Path, condition: Condition) -> io::Result<Placed> {
        let written = self.write_unfinished(bytes, place)?;
        let was_beside = written.is_beside;
        match self.place(written, place, condition.clone()).await {
            Err(error) if is_of_mount(&error) && !was_beside => {
                self.mounts.add(place);
                self.place(self.write_unfinished(bytes, place)?, place, condition).await
            }
            placed => placed,
        }
    }

    /// Puts a file in its place, together with whatever else is written meanwhile.
    async fn place(
        &self,
        unfinished: Unfinished,
        place: &Path,
        condition: Condition,
    ) -> io::Result<Placed> {
        let (waiting, is_done) = Waiting::of(unfinished, place, condition);
        let is_first = {
            let mut line = lock(&self.line);
            line.waiting.push(waiting);
            !std::mem::replace(&mut line.is_seen_to, true)
        };
        if is_first {
            let (root, line) = (self.root.clone(), Arc::clone(&self.line));
            let placing = Placing { root, line, has_ended: false };
            tokio::task::spawn_blocking(move || placing.run());
        }
        is_done.await.map_err(io::Error::other)?
    }

    /// Runs something while no other process changes objects on condition.
    fn exclusively<T>(&self, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.prepare()?;
        let _lock = lock_changes(&self.root)?;
        action()
    }

    /// Reads the outcome of a creation.
    fn created(
        &self,
        key: &str,
        path: &Path,
        placed: io::Result<Placed>,
    ) -> Result<Written, StoreError> {
        match placed.map_err(self.error("write", key))? {
            Placed::Yes => Ok(Written::Done(None)),
            Placed::Refused => self.exists(path, key),
        }
    }

    /// Somebody else's object is there to stay, even if they didn't live to make sure of it.
    fn exists(&self, path: &Path, key: &str) -> Result<Written, StoreError> {
        let folder = path.parent().unwrap_or(&self.root);
        sync_folder(folder).map_err(self.error("write", key))?;
        Ok(Written::Refused)
    }

    /// Whether the store is a folder, or not there yet.
    fn root_is_sound(&self) -> bool {
        match fs::metadata(&self.root) {
            Ok(metadata) => metadata.is_dir(),
            Err(error) => error.kind() == ErrorKind::NotFound,
        }
    }

    /// Adds what is below a folder. Fails if the folder itself can't be read; what can't be read in it is
    /// found as unreadable.
    fn walk(
        &self,
        folder: &Path,
        prefix: &str,
        trail: &mut Trail,
        found: &mut Page,
    ) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // A file may lie where a folder would: then nothing is below it.
            Err(error) if is_absence(&error) && self.root_is_sound() => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let Err(source) = self.visit(&path, prefix, trail, found) else { continue };
            if found.unreadable.len() >= UNREADABLE_MAX {
                return Err(source);
            }
            let location = path.display().to_string();
            found.unreadable.push(StoreError::Io { verb: "read", location, source });
        }
        Ok(())
    }

    /// Adds a file, or what is below a folder.
    fn visit(
        &self,
        path: &Path,
        prefix: &str,
        trail: &mut Trail,
        found: &mut Page,
    ) -> io::Result<()> {
        let key = self.key_of(path).filter(|key| key.starts_with(prefix));
        let Some(key) = key.filter(|_| !is_hidden(path)) else { return Ok(()) };
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // Moved or deleted by another process since, or a link to nothing.
            Err(error) if is_absence(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if path.strip_prefix(&self.root).is_ok_and(|below| below.to_str().is_none()) {
            return Err(io::Error::other(
                "its name is not UTF-8, so it can't be a key (rename it)",
            ));
        }
        if metadata.is_dir() {
            trail.enter(&metadata)?;
            let walked = self.walk(path, prefix, trail, found);
            trail.leave();
            return walked;
        }
        if metadata.is_file() {
            found.objects.push(listed(key, &metadata)?);
        }
        Ok(())
    }

    /// Goes into a folder of the store, and into those above it first.
    fn trail_to(&self, folder: &Path) -> io::Result<Trail> {
        let mut trail = Trail::default();
        let below = folder.strip_prefix(&self.root).unwrap_or(Path::new(""));
        let mut path = self.root.clone();
        for part in [Path::new("")].into_iter().chain(below.iter().map(Path::new)) {
            path.push(part);
            match fs::metadata(&path) {
                Ok(metadata) => trail.enter(&metadata)?,
                Err(error) if is_absence(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(trail)
    }

    /// The key of a path. A name that is not UTF-8 has replacement characters in it.
    fn key_of(&self, path: &Path) -> Option<String> {
        let below = path.strip_prefix(&self.root).ok()?;
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        Some(parts.join("/"))
    }
}

#[async_trait]
impl Store for Folder {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        let path = self.path(key)?;
        let read = read_regular(&path).and_then(|(bytes, metadata)| {
            let modified = metadata.modified()?.into();
            Ok(Object { bytes: bytes.into(), modified, tag: None })
        });
        match read {
            Ok(object) => Ok(Some(object)),
            Err(error) if is_absence(&error) && self.root_is_sound() => Ok(None),
            Err(error) if error.kind() == ErrorKind::IsADirectory => Ok(None),
            Err(error) => Err(self.error("read", key)(error)),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<Listed>, StoreError> {
        let path = self.path(key)?;
        let found = fs::metadata(&path).and_then(|metadata| {
            metadata.is_file().then(|| listed(key.to_owned(), &metadata)).transpose()
        });
        match found {
            Err(error) if is_absence(&error) && self.root_is_sound() => Ok(None),
            found => found.map_err(self.error("read", key)),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let folder = match prefix.rsplit_once('/') {
            Some((folder, _)) => self.path(folder)?,
            None => self.root.clone(),
        };
        // All come at once.
        let mut found = Page::default();
        let walked = self
            .trail_to(&folder)
            .and_then(|mut trail| self.walk(&folder, prefix, &mut trail, &mut found));
        walked.map_err(self.error("list", prefix))?;
        found.objects.sort_by(|one, other| one.key.cmp(&other.key));
        found.objects.retain(|listed| after.is_none_or(|after| listed.key.as_str() > after));
        found.unreadable.sort_by_cached_key(ToString::to_string);
        Ok(found)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let folder = self.path(prefix.trim_end_matches('/'))?;
        let read = || {
            let entries = match fs::read_dir(&folder) {
                Err(error) if is_absence(&error) && self.root_is_sound() => return Ok(Vec::new()),
                entries => entries?,
            };
            let mut folders = Vec::new();
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() && !is_hidden(&path) {
                    folders.extend(self.key_of(&path).map(|key| format!("{key}/")));
                }
            }
            folders.sort();
            Ok(folders)
        };
        read().map_err(self.error("list", prefix))
    }

    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Written, StoreError> {
        let path = self.path(key)?;
        if path.try_exists().map_err(self.error("write", key))? {
            return self.exists(&path, key);
        }
        let _open = self.open.acquire().await;
        self.created(key, &path, self.write(bytes, &path, Condition::Absent).await)
    }

    async fn copy_new(&self, key: &str, bytes: &[u8], from: &str) -> Result<Written, StoreError> {
        let (path, from) = (self.path(key)?, self.path(from)?);
        if path.try_exists().map_err(self.error("write", key))? {
            return self.exists(&path, key);
        }
        let open = self.open.acquire().await;
        if let Some(linked) = self.link_unfinished(bytes, &from, &path) {
            match self.place(linked, &path, Condition::Absent).await {
                Err(error) if is_of_mount(&error) => {}
                placed => return self.created(key, &path, placed),
            }
        }
        drop(open);
        self.put_new(key, bytes).await
    }

    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(key)?;
        let _open = self.open.acquire().await;
        let placed = self.write(bytes, &path, Condition::None).await;
        placed.map(drop).map_err(self.error("write", key))
    }

    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<Written, StoreError> {
        let path = self.path(key)?;
        // Most often this tells it already, without a file that is written in vain.
        if !has_tag(&path, tag).map_err(self.error("read", key))? {
            return Ok(Written::Refused);
        }
        let _open = self.open.acquire().await;
        let placed = self.write(bytes, &path, Condition::Unchanged(tag.clone())).await;
        Ok(match placed.map_err(self.error("write", key))? {
            Placed::Yes => Written::Done(None),
            Placed::Refused => Written::Refused,
        })
    }

    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<bool, StoreError> {
        let path = self.path(key)?;
        self.exclusively(|| {
            let same = has_tag(&path, tag)?;
            if same {
                fs::remove_file(&path)?;
                sync_folder(path.parent().unwrap_or(&self.root))?;
            }
            Ok(same)
        })
        .map_err(self.error("delete", key))
    }

    fn location(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }
}

/// So many files are synced one by one; from there on all at once is quicker, even if others write to the
/// same disk.
const SYNCED_ALONE_MAX: usize = 8;

/// Puts files in their places until none waits any more.
struct Placing {
    root: PathBuf,
    line: Arc<Mutex<Line>>,
    /// Whether it came to its end, from where on others may do it.
    has_ended: bool,
}

impl Placing {
    fn run(mut self) {
        let mut named = Vec::new();
        while let Some(next) = self.next(named.is_empty()) {
            named = place_synced(&self.root, named, next);
        }
    }

    /// Those that wait; none if nothing is left to be done.
    fn next(&mut self, all_have_ended: bool) -> Option<Vec<Waiting>> {
        let mut line = lock(&self.line);
        if line.waiting.is_empty() && all_have_ended {
            line.is_seen_to = false;
            self.has_ended = true;
            return None;
        }
        Some(std::mem::take(&mut line.waiting))
    }
}

impl Drop for Placing {
    fn drop(&mut self) {
        if !self.has_ended {
            // It was not begun, or panicked: nobody else sees to those that wait.
            *lock(&self.line) = Line::default();
        }
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes sure that the names of some files stay, and the content of others, which then get their names.
/// Where there are many, one sync does for both.
fn place_synced(root: &Path, named: Vec<Named>, mut next: Vec<Waiting>) -> Vec<Named> {
    // Whoever asked may have gone: then it is not wanted any more.
    next.retain(|waiting| !waiting.done.is_closed());
    // That one is of the store's own disk.
    let is_elsewhere = named.iter().any(|named| named.is_beside)
        || next.iter().any(|waiting| waiting.unfinished.is_beside);
    let at_once = named.len() + next.len() > SYNCED_ALONE_MAX && !is_elsewhere;
    let synced = at_once.then(|| sync_disk(root)).flatten();
    let stay = synced.as_ref().map_or_else(|| sync_names(&named), again);
    for Named { placed, done, .. } in named {
        let _ = done.send(placed.and_then(|placed| again(&stay).map(|()| placed)));
    }
    let content = |waiting: &Waiting| {
        synced.as_ref().map_or_else(|| waiting.unfinished.file.sync_all(), again)
    };
    // All of them, before the first gets its name.
    let content: Vec<io::Result<()>> = next.iter().map(content).collect();
    // Held until the last of them has its name.
    let is_conditional = |waiting: &Waiting| matches!(waiting.condition, Condition::Unchanged(_));
    let lock = next.iter().any(is_conditional).then(|| lock_changes(root)).transpose();
    let is_locked = match &lock {
        Ok(_) => Ok(()),
        Err(error) => Err(copy_of(error)),
    };
    let put = |(waiting, content): (Waiting, io::Result<()>)| {
        let is_free = if is_conditional(&waiting) { again(&is_locked) } else { Ok(()) };
        waiting.put(root, content.and(is_free))
    };
    next.into_iter().zip(content).map(put).collect()
}

/// Waits until no other process changes objects on condition, and keeps it so while the file is open.
fn lock_changes(root: &Path) -> io::Result<File> {
    let lock = open_lock(&root.join(OWN).join("changes.lock"))?;
    lock.lock()?;
    Ok(lock)
}

fn sync_names(named: &[Named]) -> io::Result<()> {
    let there = named.iter().filter(|named| matches!(named.placed, Ok(Placed::Yes)));
    let folders: BTreeSet<&Path> = there.map(|named| named.folder.as_path()).collect();
    folders.into_iter().try_for_each(sync_folder)
}

impl Waiting {
    /// A file that is to go to its place, and who learns when it is there to stay.
    fn of(
        unfinished: Unfinished,
        place: &Path,
        condition: Condition,
    ) -> (Self, oneshot::Receiver<io::Result<Placed>>) {
        let (done, is_done) = oneshot::channel();
        (Waiting { unfinished, place: place.to_owned(), condition, done }, is_done)
    }

    fn put(mut self, root: &Path, synced: io::Result<()>) -> Named {
        let folder = self.place.parent().unwrap_or(root).to_owned();
        let placed = synced.and_then(|()| match self.name() {
            // Most often the folder is there.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                create_folder(&folder)?;
                self.name()
            }
            named => named,
        });
        Named { folder, is_beside: self.unfinished.is_beside, placed, done: self.done }
    }

    fn name(&mut self) -> io::Result<Placed> {
        match &self.condition {
            Condition::None => self.unfinished.rename(&self.place).map(|()| Placed::Yes),
            // Unlike a rename, a link fails if a file is there.
            Condition::Absent => match fs::hard_link(&self.unfinished.path, &self.place) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Placed::Refused),
                linked => linked.map(|()| Placed::Yes),
            },
            Condition::Unchanged(tag) if !has_tag(&self.place, tag)? => Ok(Placed::Refused),
            Condition::Unchanged(_) => self.unfinished.rename(&self.place).map(|()| Placed::Yes),
        }
    }
}

impl Unfinished {
    fn rename(&mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        // Somebody else may have a file of that name by now.
        self.is_there = false;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.is_there {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a file that was linked has no third name, by which it could be changed later.
#[cfg(unix)]
fn has_two_names(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) == 2
}

#[cfg(not(unix))]
fn has_two_names(_metadata: &fs::Metadata) -> bool {
    false
}

/// Syncs the disk that a store is on, where that is known to tell of every failure.
#[cfg(target_os = "linux")]
fn sync_disk(root: &Path) -> Option<io::Result<()>> {
    const TELLING: [u64; 4] = [EXT4, XFS, BTRFS, TMPFS];
    const EXT4: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const TMPFS: u64 = 0x0102_1994;
    let root = File::open(root).ok()?;
    let kind = rustix::fs::fstatfs(&root).ok()?.f_type;
    // Older kernels don't tell.
    let is_told = TELLING.contains(&u64::try_from(kind).ok()?) && kernel()? >= (5, 8);
    is_told.then(|| Ok(rustix::fs::syncfs(&root)?))
}

#[cfg(not(target_os = "linux"))]
fn sync_disk(_root: &Path) -> Option<io::Result<()>> {
    None
}

/// The kernel's version.
#[cfg(target_os = "linux")]
fn kernel() -> Option<(u32, u32)> {
    let about = rustix::system::uname();
    let mut parts = about.release().to_str().ok()?.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What became of something that several wait for.
fn again(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(copy_of(error)),
    }
}

fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

fn listed(key: String, metadata: &fs::Metadata) -> io::Result<Listed> {
    let modified = metadata.modified()?.into();
    Ok(Listed { key, size: metadata.len(), modified, tag: None, stamp: stamp(metadata) })
}

/// Returns what tells a file from the one that another write leaves: its inode and its times.
#[cfg(unix)]
fn stamp(metadata: &fs::Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let (modified, changed) = (metadata.mtime_nsec(), metadata.ctime_nsec());
    let (seconds, change_seconds) = (metadata.mtime(), metadata.ctime());
    Some(format!("{seconds}.{modified:09} {change_seconds}.{changed:09} {}", metadata.ino()))
}

#[cfg(not(unix))]
fn stamp(metadata: &fs::Metadata) -> Option<String> {
    let modified = time::OffsetDateTime::from(metadata.modified().ok()?);
    Some(modified.unix_timestamp_nanos().to_string())
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Whether a file could not be moved or linked since its place is on another file system.
fn is_of_mount(error: &io::Error) -> bool {
    error.kind() == ErrorKind::CrossesDevices
}

/// Whether a name is one of the store's own temporary files: two numbers.
pub(super) fn is_unfinished_name(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.split_once('-').is_some_and(|(process, number)| is_number(process) && is_number(number))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn has_tag(path: &Path, tag: &Tag) -> io::Result<bool> {
    match tag {
        Tag::Content(bytes) => holds(path, bytes),
        // A bucket's.
        Tag::Mark(_) => Ok(false),
    }
}

/// Whether a file is there and has these bytes.
fn holds(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = match open_regular(path) {
        Ok((file, _)) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let (mut rest, mut part) = (bytes, vec![0; COMPARED_BYTES.min(bytes.len() + 1)]);
    loop {
        let length = match file.read(&mut part) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if length == 0 {
            return Ok(rest.is_empty());
        }
        match rest.strip_prefix(&part[..length]) {
            Some(after) => rest = after,
            None => return Ok(false),
        }
    }
}

/// Makes a folder and those above it, each of which stays if the machine stops.
pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        create_folder(above)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }?;
    sync_folder(above.unwrap_or(Path::new(".")))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
