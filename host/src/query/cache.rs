//! The folder where databases of rows are kept between questions: one file for each store, which this user
//! alone can read. A file that can't be used only costs time.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::rows::FILE_BYTES_MAX;
use crate::{document::sha256, private_folder::PrivateFolder};

/// The folder in the one that is given. Its name is the program's, since files in it are deleted.
const FOLDER: &str = "spotify-etl-rows";
/// How many digits the name of a file has.
const NAME_DIGITS: usize = 32;
/// How much is kept of all stores, in bytes; what was written first goes first.
const BYTES_MAX: u64 = 2 * FILE_BYTES_MAX.unsigned_abs();

/// A folder of databases.
#[derive(Debug)]
pub struct CacheFolder(PathBuf);

impl CacheFolder {
    /// Makes sure that there is a folder of its own in another one, and that no other user can write to it or
    /// read in it.
    ///
    /// # Errors
    ///
    /// If there is none, or other users can.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let folder = PrivateFolder::open(folder, FOLDER)?;
        if !is_private(&fs::symlink_metadata(folder.path())?) {
            let path = folder.path().display();
            return Err(io::Error::other(format!(
                "others can read `{path}`: chmod go-rwx `{path}`"
            )));
        }
        // Its path has no link in it. SQLite follows none.
        Ok(CacheFolder(folder.path().to_owned()))
    }

    /// Returns the file for a store, which is made if there is none. Anything else in its place goes.
    ///
    /// # Errors
    ///
    /// If it can't be made.
    pub fn file(&self, store: &[u8]) -> io::Result<PathBuf> {
        let path = self.path_of(store);
        match fs::symlink_metadata(&path) {
            Ok(about) if about.is_file() && is_private(&about) => return Ok(path),
            Ok(_) => self.discard(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.make_room()?;
        let mut options = File::options();
        options.write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(path),
        }
    }

    /// Deletes what is kept of a store: nothing of its rows is left on this machine.
    ///
    /// # Errors
    ///
    /// If it can't be deleted.
    pub fn forget(&self, store: &[u8]) -> io::Result<()> {
        self.discard(&self.path_of(store))
    }

    fn path_of(&self, store: &[u8]) -> PathBuf {
        self.0.join(format!("{}.sqlite", &sha256(store)[..NAME_DIGITS]))
    }

    /// Deletes the file of a store, whatever it is.
    ///
    /// # Errors
    ///
    /// If it can't be deleted.
    pub fn discard(&self, path: &Path) -> io::Result<()> {
        for path in [path.to_owned(), path.with_extension("sqlite-journal")] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for file in fs::read_dir(&self.0)? {
            let file = file?;
            // Another program may clear up as well.
            let Ok(about) = file.metadata() else { continue };
            if !about.is_file() || !is_own(&file.path()) {
                continue;
            }
            let written = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.push((written, about.len(), file.path()));
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in files {
            if bytes <= BYTES_MAX {
                break;
            }
            let _ = self.discard(&path);
            bytes -= size;
        }
        Ok(())
    }
}

/// Whether a file has the name of a database of rows.
fn is_own(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    path.extension().is_some_and(|kind| kind == "sqlite")
        && name.len() == NAME_DIGITS
        && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether this user alone can read and write something.
fn is_private(about: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o077 == 0
}
