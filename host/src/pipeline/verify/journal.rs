//! What a pass has checked so far, in a file for this user alone: a pass that is interrupted is continued.
//!
//! A line for each unit, with a checksum. The file belongs to one store, and is removed when a pass is
//! complete. One that is too old, of another release, or damaged is ignored.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{Start, report::Checked};
use crate::{config::HOST_VERSION, document::sha256};

/// The format of journals.
const FORMAT: u32 = 1;
/// A journal that is older begins a new pass.
const AGE_MAX: Duration = Duration::days(7);
/// A journal that is larger is ignored.
const BYTES_MAX: u64 = 512 * 1024 * 1024;
/// How many hexadecimal digits of a line's SHA-256 are before it.
const CHECKSUM_DIGITS: usize = 16;

/// The first line.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Header {
    format: u32,
    store: String,
    host_version: String,
    /// In seconds since 1970.
    started_at: i64,
}

/// Any other line.
#[derive(Debug, Deserialize, Serialize)]
struct Line {
    unit: String,
    stamp: String,
    #[serde(flatten)]
    checked: Checked,
}

/// Units that are checked, by name: each with the stamp that its objects had.
type Known = HashMap<String, (String, Checked)>;

/// What a pass has checked so far.
#[derive(Debug, Default)]
pub struct Journal {
    known: Known,
    file: Option<(File, PathBuf)>,
    /// When the pass that is continued began.
    continues: Option<OffsetDateTime>,
}

impl Journal {
    /// Opens the journal of a store in a folder. Without one, or if that is not possible, what is checked is
    /// only kept in memory.
    pub fn open(folder: Option<&Path>, store: &str, start: Start, now: OffsetDateTime) -> Self {
        let Some(folder) = folder else { return Journal::default() };
        let path = folder.join(format!("{}.journal", &sha256(store.as_bytes())[..32]));
        match Self::open_file(&path, store, start, now) {
            Ok(journal) => journal,
            Err(error) => {
                let path = path.display();
                tracing::warn!(
                    "if this is interrupted, it begins from the start again: {path}: {error} (name another folder with --cache-dir, or wait for the other program that verifies this store)"
                );
                Journal::default()
            }
        }
    }

    fn open_file(path: &Path, store: &str, start: Start, now: OffsetDateTime) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(folder)?;
        }
        let mut file = private(path)?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::other("another program has it open"),
            fs::TryLockError::Error(error) => error,
        })?;
        let kept = match start {
            Start::Continue => read(&mut file, store, now)?,
            Start::Restart => None,
        };
        if let Some((known, began, end)) = kept {
            file.set_len(end)?;
            file.seek(io::SeekFrom::Start(end))?;
            let continues = (!known.is_empty()).then_some(began);
            return Ok(Journal { known, file: Some((file, path.to_owned())), continues });
        }
        file.set_len(0)?;
        file.rewind()?;
        let header = Header {
            format: FORMAT,
            store: store.to_owned(),
            host_version: HOST_VERSION.to_owned(),
            started_at: now.unix_timestamp(),
        };
        file.write_all(line(&header)?.as_bytes())?;
        Ok(Journal { known: Known::new(), file: Some((file, path.to_owned())), continues: None })
    }

    /// When the pass that is continued began, if one is.
    pub fn continues(&self) -> Option<OffsetDateTime> {
        self.continues
    }

    /// What came of a unit, if it was checked and its objects did not change since.
    pub fn find(&self, unit: &str, stamp: &str) -> Option<&Checked> {
        let (known, checked) = self.known.get(unit)?;
        (known == stamp).then_some(checked)
    }

    /// Notes what came of a unit.
    pub fn note(&mut self, unit: String, stamp: String, checked: Checked) {
        let line = Line { unit, stamp, checked };
        if let Some((file, path)) = &mut self.file {
            // A line at a time: whatever ends the program, what is written by then is kept.
            let written = self::line(&line).and_then(|text| file.write_all(text.as_bytes()));
            if let Err(error) = written {
                let path = path.display();
                tracing::warn!(
                    "if this is interrupted, not all of it is continued: could not write {path}: {error}"
                );
                self.file = None;
            }
        }
        self.known.insert(line.unit, (line.stamp, line.checked));
    }

    /// Removes the file, now that the pass is complete.
    pub fn finish(self) {
        if let Some((_, path)) = &self.file
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!("could not delete {}: {error}", path.display());
        }
    }
}

/// Opens a file that only its owner can read.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Reads a journal: what it knows, when it began, and where its last whole line ends. None if it can't be
/// used.
fn read(
    file: &mut File,
    store: &str,
    now: OffsetDateTime,
) -> io::Result<Option<(Known, OffsetDateTime, u64)>> {
    if file.metadata()?.len() > BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(parse(&bytes, store, now))
}

fn parse(bytes: &[u8], store: &str, now: OffsetDateTime) -> Option<(Known, OffsetDateTime, u64)> {
    // A program that was killed may have written half a line.
    let end = bytes.iter().rposition(|byte| *byte == b'\n')? + 1;
    let mut lines = bytes.get(..end)?.split_inclusive(|byte| *byte == b'\n');
    let header: Header = content(lines.next()?)?;
    let began = OffsetDateTime::from_unix_timestamp(header.started_at).ok()?;
    let is_recent = (Duration::ZERO..AGE_MAX).contains(&(now - began).max(Duration::ZERO));
    let is_own = header.format == FORMAT
        && header.store == store
        && header.host_version == HOST_VERSION
        && began <= now + Duration::days(1);
    if !is_own || !is_recent {
        return None;
    }
    let mut known = Known::new();
    for line in lines {
        let Line { unit, stamp, checked } = content(line)?;
        known.insert(unit, (stamp, checked));
    }
    Some((known, began, end as u64))
}

/// A value as a line.
fn line<T: Serialize>(value: &T) -> io::Result<String> {
    let text = serde_json::to_string(value)?;
    let checksum = &sha256(text.as_bytes())[..CHECKSUM_DIGITS];
    Ok(format!("{checksum} {text}\n"))
}

/// The value of a line, if its checksum is right.
fn content<'l, T: Deserialize<'l>>(line: &'l [u8]) -> Option<T> {
    let text = str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (checksum, text) = text.split_once(' ')?;
    let is_whole = sha256(text.as_bytes()).get(..CHECKSUM_DIGITS) == Some(checksum);
    is_whole.then(|| serde_json::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-07-06 06:00 UTC);

    fn written(folder: &Path) -> PathBuf {
        let mut journal = Journal::open(Some(folder), "s3://music/", Start::Continue, NOW);
        for unit in ["one", "two"] {
            journal.note(unit.to_owned(), "stamp".to_owned(), Checked::default());
        }
        let path = journal.file.as_ref().unwrap().1.clone();
        drop(journal);
        path
    }

    fn units(folder: &Path, store: &str, start: Start, now: OffsetDateTime) -> usize {
        Journal::open(Some(folder), store, start, now).known.len()
    }

    #[test]
    fn a_journal_is_continued_only_by_the_same_store_and_for_seven_days() {
        for (store, start, now, expected) in [
            ("s3://music/", Start::Continue, NOW, 2),
            ("s3://music/", Start::Continue, NOW + Duration::days(6), 2),
            ("s3://music/", Start::Continue, NOW + Duration::days(7), 0),
            ("s3://music/", Start::Continue, NOW - Duration::days(2), 0),
            ("s3://music/", Start::Restart, NOW, 0),
            ("s3://other/", Start::Continue, NOW, 0),
        ] {
            let folder = TempDir::new().unwrap();
            written(folder.path());
            assert_eq!(units(folder.path(), store, start, now), expected, "{store} {now}");
        }
    }

    #[test]
    fn a_damaged_journal_is_ignored_and_half_a_line_is_dropped() {
        let folder = TempDir::new().unwrap();
        let path = written(folder.path());
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let found = units(folder.path(), "s3://music/", Start::Continue, NOW);
            // The last byte is the end of the last line, which then is half a line.
            assert_eq!(found, usize::from(at == whole.len() - 1), "byte {at}");
        }
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        assert_eq!(units(folder.path(), "s3://music/", Start::Continue, NOW), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_a_journal() {
        use std::os::unix::fs::PermissionsExt;
        let folder = TempDir::new().unwrap();
        let path = written(folder.path());
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn two_programs_do_not_share_a_journal() {
        let folder = TempDir::new().unwrap();
        let first = Journal::open(Some(folder.path()), "s", Start::Continue, NOW);
        assert!(first.file.is_some());
        let second = Journal::open(Some(folder.path()), "s", Start::Continue, NOW);
        assert!(second.file.is_none());
    }
}
