//! Files that people have: which ones a path means, and their bytes.

use std::{
    fs,
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

use time::OffsetDateTime;

use crate::{
    files::{self, Trail, open_regular, require_regular},
    store::StoreError,
};

/// Bytes to import, and what their place says of them.
#[derive(Debug)]
pub struct Source {
    /// The path, or `-` for standard input.
    pub path: PathBuf,
    /// The file's name.
    pub name: String,
}

/// A file's content.
#[derive(Debug)]
pub struct Content {
    /// Its bytes; one more than the limit at most.
    pub bytes: Vec<u8>,
    /// When it was last changed; for standard input, none.
    pub modified: Option<OffsetDateTime>,
}

/// What paths mean.
#[derive(Debug, Default)]
pub struct Found {
    /// The files, a folder's in the order of their names.
    pub sources: Vec<Source>,
    /// The paths that mean nothing.
    pub problems: Vec<SourceError>,
    /// How many files of folders are not JSON, and ignored.
    pub ignored: usize,
}

/// Returns whether a file in a folder, or an object below a prefix, is imported: `.json`, also compressed as
/// `.json.gz`.
pub fn is_imported(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".json") || name.ends_with(".json.gz")
}

/// The files that paths mean: a file is itself, a folder all JSON files in it and below, `-` is
/// standard input. Only regular files are read: a named pipe, a socket or a device is a problem.
pub fn find(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        if is_standard_input(path) {
            found.sources.push(Source { path: path.clone(), name: String::new() });
            continue;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => find_in_folder(path, &metadata, &mut found),
            Ok(metadata) => match require_regular(&metadata) {
                Ok(()) => found.sources.push(source(path.clone())),
                Err(error) => found.problems.push(unreadable(path, error)),
            },
            Err(error) => found.problems.push(unreadable(path, error)),
        }
    }
    found
}

fn find_in_folder(folder: &Path, metadata: &fs::Metadata, found: &mut Found) {
    let mut walk = Walk { problems: std::mem::take(&mut found.problems), ..Walk::default() };
    let before = walk.problems.len();
    walk.enter(folder, metadata);
    let Walk { mut files, mut problems, ignored, .. } = walk;
    found.ignored += ignored;
    problems[before..].sort_by(|one, other| one.path().cmp(other.path()));
    if files.is_empty() && problems.len() == before {
        problems.push(SourceError::NoJson { path: folder.display().to_string() });
    }
    files.sort();
    found.sources.extend(files.into_iter().map(source));
    found.problems = problems;
}

fn source(path: PathBuf) -> Source {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Source { path, name }
}

/// The JSON files below a folder, and what could not be read there.
#[derive(Default)]
struct Walk {
    trail: Trail,
    files: Vec<PathBuf>,
    problems: Vec<SourceError>,
    ignored: usize,
}

impl Walk {
    fn enter(&mut self, folder: &Path, metadata: &fs::Metadata) {
        if let Err(error) = self.trail.enter(metadata) {
            return self.problems.push(unreadable(folder, error));
        }
        if let Err(error) = self.read(folder) {
            self.problems.push(unreadable(folder, error));
        }
        self.trail.leave();
    }

    fn read(&mut self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if !is_hidden(&path) {
                self.visit(path);
            }
        }
        Ok(())
    }

    fn visit(&mut self, path: PathBuf) {
        let is_json = path.file_name().is_some_and(|name| is_imported(&name.to_string_lossy()));
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => self.enter(&path, &metadata),
            Ok(metadata) if is_json => match require_regular(&metadata) {
                Ok(()) => self.files.push(path),
                Err(error) => self.problems.push(unreadable(&path, error)),
            },
            Ok(_) => self.ignored += 1,
            // A link to nothing, or something deleted since: it is not known to be JSON.
            Err(error) if error.kind() == ErrorKind::NotFound && !is_json => {}
            Err(error) => self.problems.push(unreadable(&path, error)),
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

impl SourceError {
    /// The path.
    pub fn path(&self) -> &str {
        match self {
            SourceError::Unreadable { path, .. } | SourceError::NoJson { path } => path,
            SourceError::Object { place, .. } => place,
        }
    }
}

impl Source {
    /// How many bytes it has; none if only reading it can tell.
    pub fn size(&self) -> Option<u64> {
        // One that has no size will have no bytes.
        let size = || fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        (!is_standard_input(&self.path)).then(size)
    }

    /// Reads it, up to one byte more than a limit: enough to tell that it is over.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn read(&self, bytes_max: u64) -> Result<Content, SourceError> {
        let read = || -> io::Result<Content> {
            let mut bytes = Vec::new();
            if is_standard_input(&self.path) {
                io::stdin().lock().take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
                return Ok(Content { bytes, modified: None });
            }
            let (file, metadata) = open_regular(&self.path)?;
            let modified = metadata.modified()?.into();
            // Memory that grows bit by bit is moved each time, and twice as much is had in the end.
            let expected = metadata.len().min(bytes_max).saturating_add(1);
            bytes.try_reserve_exact(usize::try_from(expected).unwrap_or(0))?;
            file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
            Ok(Content { bytes, modified: Some(modified) })
        };
        read().map_err(|source| unreadable(&self.path, source))
    }
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn unreadable(path: &Path, source: io::Error) -> SourceError {
    SourceError::Unreadable { path: path.display().to_string(), source }
}

/// What to do about a system's refusal.
fn advice(error: &io::Error) -> &'static str {
    if files::is_not_regular(error) {
        return "name a file, a folder, or `-` for standard input";
    }
    files::advice(error).unwrap_or("is the path right, and may this user read it?")
}

/// Why a path means nothing that could be imported.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system refused.
    #[error("could not read `{path}`: {source} ({})", advice(.source))]
    Unreadable {
        /// The path.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// An object of another store can't be read.
    #[error("{source}")]
    Object {
        /// That store.
        place: String,
        /// Why not.
        source: StoreError,
    },
    /// Nothing to import.
    #[error(
        "no JSON files in `{path}` or below it (name a folder that holds some, or the files themselves)"
    )]
    NoJson {
        /// The folder.
        path: String,
    },
}
