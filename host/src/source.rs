//! Files that people have: which ones a path means, and their bytes.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use time::OffsetDateTime;

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

/// The files that paths mean: a file is itself, a folder all JSON files in it and below, `-` is
/// standard input.
///
/// # Errors
///
/// If a path is not there, or a folder holds no JSON.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Source>, SourceError> {
    let mut sources = Vec::new();
    for path in paths {
        if is_standard_input(path) {
            sources.push(Source { path: path.clone(), name: String::new() });
            continue;
        }
        let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        if !metadata.is_dir() {
            sources.push(source(path.clone()));
            continue;
        }
        let mut found = Vec::new();
        walk(path, &mut found)?;
        if found.is_empty() {
            return Err(SourceError::NoJson { path: path.display().to_string() });
        }
        found.sort();
        sources.extend(found.into_iter().map(source));
    }
    Ok(sources)
}

fn source(path: PathBuf) -> Source {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Source { path, name }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    let entries = fs::read_dir(folder).map_err(|source| unreadable(folder, source))?;
    for entry in entries {
        let path = entry.map_err(|source| unreadable(folder, source))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_json = path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("json"));
        if hidden {
            continue;
        } else if path.is_dir() {
            walk(&path, found)?;
        } else if is_json {
            found.push(path);
        }
    }
    Ok(())
}

impl Source {
    /// Reads it, up to one byte more than a limit: enough to tell that it is over.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn read(&self, bytes_max: u64) -> Result<Content, SourceError> {
        let read = || -> io::Result<Content> {
            let mut bytes = Vec::new();
            if is_standard_input(&self.path) {
                io::stdin().lock().take(bytes_max + 1).read_to_end(&mut bytes)?;
                return Ok(Content { bytes, modified: None });
            }
            let file = fs::File::open(&self.path)?;
            let modified = file.metadata()?.modified()?.into();
            file.take(bytes_max + 1).read_to_end(&mut bytes)?;
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

/// Why there is nothing to import.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The system refused.
    #[error("could not read `{path}`: {source}")]
    Unreadable {
        /// The path.
        path: String,
        /// What the system says.
        source: io::Error,
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
