//! Opens files without hanging on what is not a file, and says what helps when the system refuses.
//!
//! It does not know what the bytes of a file mean, or which files belong to a store.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read},
    path::Path,
};

use crate::remedy::MORE_MEMORY;

/// How many folders may be nested in one another.
const FOLDER_LEVELS_MAX: usize = 16;

/// Something other than a regular file, where one is required.
#[derive(Debug, thiserror::Error)]
#[error("it is a {kind}, and only regular files are read or written")]
struct NotRegular {
    kind: &'static str,
}

/// Opens a regular file for reading, following links, and returns its metadata with it.
///
/// # Errors
///
/// The system's; [`ErrorKind::IsADirectory`] for a folder; for a named pipe, a socket or a device
/// an error that [`is_not_regular`] recognizes. It never waits for the other end of a pipe.
pub fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    // Opening a device can have effects of its own, so its type is checked before.
    require_regular(&fs::metadata(path)?)?;
    let file = without_waiting(OpenOptions::new().read(true)).open(path)?;
    let metadata = file.metadata()?;
    require_regular(&metadata)?;
    Ok((file, metadata))
}

/// Opens a regular file for writing, as the options say, and may create it.
///
/// # Errors
///
/// As for [`open_regular`].
pub fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    match fs::metadata(path) {
        Ok(metadata) => require_regular(&metadata)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = without_waiting(options).open(path)?;
    require_regular(&file.metadata()?)?;
    Ok(file)
}

/// Opens a file to hold a lock on, and creates it if it does not exist.
///
/// # Errors
///
/// As for [`open_regular`].
pub fn open_lock(path: &Path) -> io::Result<File> {
    open_own(path, OpenOptions::new().write(true).create(true).truncate(false))
}

/// Reads a regular file as a whole, and returns its metadata with it.
///
/// # Errors
///
/// As for [`open_regular`], and [`ErrorKind::OutOfMemory`].
pub fn read_regular(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    let (mut file, metadata) = open_regular(path)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(metadata.len()).unwrap_or(usize::MAX))?;
    file.read_to_end(&mut bytes)?;
    Ok((bytes, metadata))
}

/// Whether an error says that a named pipe, a socket or a device is where a file should be.
pub fn is_not_regular(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NotRegular>())
}

/// Fails unless this is the metadata of a regular file.
///
/// # Errors
///
/// As for [`open_regular`].
pub fn require_regular(metadata: &Metadata) -> io::Result<()> {
    match metadata.file_type() {
        kind if kind.is_file() => Ok(()),
        kind if kind.is_dir() => Err(ErrorKind::IsADirectory.into()),
        kind => Err(io::Error::other(NotRegular { kind: name_of(kind) })),
    }
}

#[cfg(unix)]
fn name_of(kind: fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_fifo() => "named pipe",
        kind if kind.is_socket() => "socket",
        _ => "device",
    }
}

#[cfg(not(unix))]
fn name_of(_kind: fs::FileType) -> &'static str {
    "special file"
}

/// Makes sure that opening returns at once, even if a named pipe replaced the file a moment ago.
#[cfg(unix)]
fn without_waiting(options: &mut OpenOptions) -> &OpenOptions {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(flags.bits().cast_signed())
}

#[cfg(not(unix))]
fn without_waiting(options: &mut OpenOptions) -> &OpenOptions {
    options
}

/// What helps when the system refuses to read or write a file, wherever that file is.
pub fn advice(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::OutOfMemory => Some(MORE_MEMORY),
        ErrorKind::FileTooLarge => Some(
            "raise the limit on the size of a file, see `ulimit -f`, then run the same command again: nothing is lost",
        ),
        _ if is_not_regular(error) => Some("move it away"),
        _ => advice_by_number(error),
    }
}

/// What helps when too many files are open.
pub const MORE_FILES: &str =
    "raise the limit of open files, see `ulimit -n`, or open fewer at a time with --jobs 1";

/// How many open files a program needs at least, its standard streams and the runtime's own files included.
#[cfg(unix)]
const OPEN_FILES_MIN: u64 = 12;

/// Checks the limit of open files. With fewer than these the runtime can't start, and panics.
///
/// # Errors
///
/// Names the limit.
#[cfg(unix)]
pub fn require_open_files() -> io::Result<()> {
    match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(limit) if limit < OPEN_FILES_MIN => Err(io::Error::other(format!(
            "the limit of open files is {limit}, and at least {OPEN_FILES_MIN} are needed (raise the limit of open files, see `ulimit -n`)"
        ))),
        _ => Ok(()),
    }
}

/// Does nothing: there is no such limit.
///
/// # Errors
///
/// None.
#[cfg(not(unix))]
pub fn require_open_files() -> io::Result<()> {
    Ok(())
}

/// What helps with errors that [`ErrorKind`] does not tell apart.
#[cfg(unix)]
fn advice_by_number(error: &io::Error) -> Option<&'static str> {
    use rustix::io::Errno;
    match Errno::from_io_error(error)? {
        Errno::MFILE | Errno::NFILE => Some(MORE_FILES),
        Errno::LOOP => Some("remove the link that leads to itself"),
        _ => None,
    }
}

#[cfg(not(unix))]
fn advice_by_number(_error: &io::Error) -> Option<&'static str> {
    None
}

/// Makes a write beyond the limit of `ulimit -f` fail with an error, instead of ending the program.
/// Needs a tokio runtime.
///
/// # Errors
///
/// If the signal can't be handled.
#[cfg(unix)]
pub fn survive_file_size_limit() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    // The handler stays when what listens to it is dropped.
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map(drop)
}

/// Does nothing: there is no such limit.
///
/// # Errors
///
/// None.
#[cfg(not(unix))]
pub fn survive_file_size_limit() -> io::Result<()> {
    Ok(())
}

/// The folders that a walk is in, to notice a link that leads back to one of them.
#[derive(Debug, Default)]
pub struct Trail {
    /// Identifies each folder; none where the system does not say.
    folders: Vec<Option<FolderId>>,
}

/// Device and number of a folder.
type FolderId = (u64, u64);

impl Trail {
    /// Goes into a folder.
    ///
    /// # Errors
    ///
    /// If the walk is in that folder already, or in too many.
    pub fn enter(&mut self, metadata: &Metadata) -> io::Result<()> {
        let id = folder_id(metadata);
        if id.is_some() && self.folders.contains(&id) {
            return Err(io::Error::other("a link leads back to a folder above it"));
        }
        if self.folders.len() > FOLDER_LEVELS_MAX {
            return Err(io::Error::other("folders too deep in one another: a link to one above?"));
        }
        self.folders.push(id);
        Ok(())
    }

    /// Leaves the folder that was entered last.
    pub fn leave(&mut self) {
        self.folders.pop();
    }
}

#[cfg(unix)]
fn folder_id(metadata: &Metadata) -> Option<FolderId> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn folder_id(_metadata: &Metadata) -> Option<FolderId> {
    None
}
