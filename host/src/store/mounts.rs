//! Folders of a store that are on other file systems, such as a volume mounted at `raw_data/`.
//!
//! A file can't be renamed or linked from one file system to another, so the temporary files for these
//! folders are in the folders themselves, under hidden names that no listing shows. Each folder is recorded
//! before the first such file is created, so that the files of a killed process are found and deleted.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    folder::{create_folder, is_unfinished_name},
    is_sound,
};
use crate::files::{open_own, open_regular};

/// What the names of temporary files beside the store's data begin with.
const HIDDEN: &str = ".spotify-etl-";
/// More of a record is not read: it has a line for each folder.
const RECORD_BYTES_MAX: u64 = 8 << 20;

/// The folders of a store that are on other file systems.
#[derive(Debug)]
pub(super) struct Mounts {
    root: PathBuf,
    /// Lists the folders that may have temporary files in them, one JSON string a line.
    record: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The store's own folders in which, or below which, another file system begins.
    tops: HashSet<OsString>,
    /// The folders that this process recorded.
    recorded: HashSet<PathBuf>,
}

impl Mounts {
    /// The folders of a store, of which none is known yet.
    pub fn new(root: &Path, record: PathBuf) -> Self {
        Mounts { root: root.to_owned(), record, known: Mutex::default() }
    }

    /// Remembers that a file could not be moved to its place from the store's own folder.
    pub fn add(&self, place: &Path) {
        self.known().tops.extend(self.top(place));
    }

    /// Returns where a temporary file for a place is to be created, if that is beside the place. Creates and
    /// records that folder.
    pub fn path_beside(&self, place: &Path, name: &str) -> io::Result<Option<PathBuf>> {
        let mut known = self.known();
        if self.top(place).is_none_or(|top| !known.tops.contains(&top)) {
            return Ok(None);
        }
        let folder = place.parent().unwrap_or(&self.root);
        if !known.recorded.contains(folder) {
            create_folder(folder)?;
            self.record(folder)?;
            known.recorded.insert(folder.to_owned());
        }
        Ok(Some(folder.join(format!("{HIDDEN}{name}"))))
    }

    /// Deletes the temporary files that killed processes left. Only a process that is the only one to write
    /// may do that.
    pub fn clear(&self) -> io::Result<()> {
        let mut record = Vec::new();
        match open_regular(&self.record) {
            Ok((file, _)) => file.take(RECORD_BYTES_MAX).read_to_end(&mut record)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&record);
        let folders = text.lines().filter_map(|line| serde_json::from_str::<String>(line).ok());
        let folders: BTreeSet<String> = folders.filter(|folder| is_sound(folder)).collect();
        let is_hidden = |name: &str| name.strip_prefix(HIDDEN).is_some_and(is_unfinished_name);
        // What is not mounted today is cleared another day.
        let left = folders
            .into_iter()
            .filter(|folder| remove_files(&self.root.join(folder), is_hidden).is_err());
        let lines: String = left.map(|folder| line(&folder)).collect();
        if lines.is_empty() {
            return fs::remove_file(&self.record);
        }
        let next = self.record.with_extension("next");
        open_own(&next, OpenOptions::new().write(true).create(true).truncate(true))?
            .write_all(lines.as_bytes())?;
        fs::rename(next, &self.record)
    }

    fn record(&self, folder: &Path) -> io::Result<()> {
        let below = folder.strip_prefix(&self.root).ok().and_then(Path::to_str);
        let Some(below) = below.filter(|below| !below.is_empty()) else { return Ok(()) };
        let mut record = open_own(&self.record, OpenOptions::new().append(true).create(true))?;
        record.write_all(line(below).as_bytes())?;
        record.sync_all()
    }

    /// The folder directly below the store's in which a place is.
    fn top(&self, place: &Path) -> Option<OsString> {
        let below = place.strip_prefix(&self.root).ok()?;
        let mut parts = below.iter();
        let top = parts.next()?.to_owned();
        parts.next().map(|_| top)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(folder: &str) -> String {
    format!("{}\n", serde_json::Value::from(folder))
}

/// Deletes the regular files of a folder whose names are of one kind; others stay.
pub(super) fn remove_files(folder: &Path, is_own: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_own = entry.file_name().to_str().is_some_and(&is_own);
        if is_own && entry.file_type()?.is_file() {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
