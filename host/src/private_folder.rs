//! A folder that only this user can write to, and files in it that only this user can have written.
//!
//! The folder is opened once, component by component, and everything in it is opened relative to it without
//! following a link, so that what was checked is what is read. It does not know what the files mean.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fd::OwnedFd,
    fs::{
        AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, fstatvfs, mkdirat, openat,
        renameat, statat, unlinkat,
    },
    io::Errno,
};

/// A temporary file of this age, in seconds, is not being written any more.
const TEMPORARY_AGE_MAX: i64 = 3600;
/// What temporary files end with, after the name of the file that they become.
const TEMPORARY: &str = ".tmp";

/// The folder.
pub(crate) struct PrivateFolder {
    folder: OwnedFd,
    path: PathBuf,
}

/// A regular file in the folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PrivateFile {
    /// When it was written, in seconds since 1970.
    pub modified: i64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its name.
    pub name: String,
}

impl PrivateFolder {
    /// Opens a folder of this name in another one, and creates both if they do not exist.
    ///
    /// # Errors
    ///
    /// If it is a link, or others could write to it or rename it, or a folder above it.
    pub fn open(parent: &Path, name: &str) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700).create(parent)?;
        // Links on the way are read here. The path that comes of it has none, which opening it makes sure of.
        let parent = fs::canonicalize(parent)?;
        let above = open_parent(&parent)?;
        let path = parent.join(name);
        match mkdirat(&above, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let folder = open_folder(&above, OsStr::new(name), OFlags::RDONLY, &path)?;
        let stat = fstat(&folder)?;
        if stat.st_uid != user() {
            return Err(io::Error::other(format!("`{}` is another user's", path.display())));
        }
        if is_open_to_others(&stat) {
            return Err(open_to_others(&path));
        }
        Ok(PrivateFolder { folder, path })
    }

    /// Where it is, for people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a file, if it exists.
    ///
    /// # Errors
    ///
    /// The system's, or if another user could have written the file.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = require_own(&file)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(stat.st_size).unwrap_or_default())?;
        File::from(file).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Opens a file to read and write it in place, and creates it if it does not exist. No link is followed.
    ///
    /// # Errors
    ///
    /// The system's, or if it is not a regular file, or another user could have written it.
    pub fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = match openat(&self.folder, name, flags | OFlags::CLOEXEC, mode) {
            Ok(file) => file,
            Err(Errno::LOOP | Errno::MLINK) => return Err(io::Error::other("it is a link")),
            Err(error) => return Err(error.into()),
        };
        require_own(&file)?;
        Ok(File::from(file))
    }

    /// Writes a file that appears at once and whole, and replaces one of that name.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        static TEMPORARIES: AtomicU64 = AtomicU64::new(0);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let (file, temporary) = loop {
            let number = TEMPORARIES.fetch_add(1, Ordering::Relaxed);
            let temporary = format!("{name}.{}-{number}{TEMPORARY}", std::process::id());
            let mode = Mode::RUSR | Mode::WUSR;
            match openat(&self.folder, &temporary, flags | OFlags::CLOEXEC, mode) {
                Ok(file) => break (file, temporary),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let written = File::from(file)
            .write_all(bytes)
            .and_then(|()| Ok(renameat(&self.folder, &temporary, &self.folder, name)?));
        if written.is_err() {
            let _ = self.remove(&temporary);
        }
        written
    }

    /// Lists the regular files whose names are of one kind.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn files(&self, is_meant: impl Fn(&str) -> bool) -> io::Result<Vec<PrivateFile>> {
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().ok().filter(|name| is_meant(name)) else {
                continue;
            };
            // Another process may have deleted it since.
            let Ok(stat) = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if is_regular(&stat) {
                files.push(PrivateFile {
                    modified: stat.st_mtime,
                    bytes: u64::try_from(stat.st_size).unwrap_or_default(),
                    name: name.to_owned(),
                });
            }
        }
        Ok(files)
    }

    /// Deletes temporary files that killed processes left: those that are much older than a file which was
    /// written just now.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn remove_temporaries(
        &self,
        written: &str,
        is_own: impl Fn(&str) -> bool,
    ) -> io::Result<()> {
        let now = statat(&self.folder, written, AtFlags::SYMLINK_NOFOLLOW)?.st_mtime;
        for file in self.files(|name| is_temporary(name, &is_own))? {
            if file.modified < now - TEMPORARY_AGE_MAX {
                self.remove(&file.name)?;
            }
        }
        Ok(())
    }

    /// Deletes a file.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.folder, name, AtFlags::empty())?)
    }

    /// How many bytes are free where the folder is.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let about = fstatvfs(&self.folder)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }
}

/// Opens a folder by a path without links in it, and checks it and each folder above it.
fn open_parent(path: &Path) -> io::Result<OwnedFd> {
    let mut walked = PathBuf::from("/");
    let mut folder = open_folder(CWD, OsStr::new("/"), LOOKUP, &walked)?;
    require_parent(&folder, &walked)?;
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        walked.push(name);
        folder = open_folder(&folder, name, LOOKUP, &walked)?;
        require_parent(&folder, &walked)?;
    }
    Ok(folder)
}

/// Opens a folder only to open others in it, for which no right to read it is needed.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LOOKUP: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const LOOKUP: OFlags = OFlags::RDONLY;

fn open_folder(
    above: impl rustix::fd::AsFd,
    name: &OsStr,
    flags: OFlags,
    path: &Path,
) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(above, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP | Errno::NOTDIR | Errno::MLINK => {
            io::Error::other(format!("`{}` is not a folder, or is a link", path.display()))
        }
        _ => error.into(),
    })
}

/// Fails if another user could put something else in the place of what is in a folder.
fn require_parent(folder: &OwnedFd, path: &Path) -> io::Result<()> {
    let stat = fstat(folder)?;
    if stat.st_uid != 0 && stat.st_uid != user() {
        return Err(io::Error::other(format!("`{}` is another user's", path.display())));
    }
    let is_sticky = Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX);
    if is_open_to_others(&stat) && !is_sticky {
        return Err(open_to_others(path));
    }
    Ok(())
}

/// Fails if a file is not a regular one that only this user can write to.
fn require_own(file: &OwnedFd) -> io::Result<Stat> {
    let stat = fstat(file)?;
    if !is_regular(&stat) || stat.st_uid != user() || is_open_to_others(&stat) {
        return Err(io::Error::other("it is not a file that only this user can write to"));
    }
    Ok(stat)
}

fn open_to_others(path: &Path) -> io::Error {
    let path = path.display();
    io::Error::other(format!("others can write to `{path}`: chmod go-w `{path}`"))
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn is_open_to_others(stat: &Stat) -> bool {
    Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH)
}

/// Whether a name is that of a temporary file for a file of one kind.
fn is_temporary(name: &str, is_own: impl Fn(&str) -> bool) -> bool {
    let rest = name.strip_suffix(TEMPORARY).and_then(|rest| rest.rsplit_once('.'));
    let Some((own, mark)) = rest else { return false };
    let is_mark = |mark: &str| mark.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_own(own) && is_mark(mark)
}
