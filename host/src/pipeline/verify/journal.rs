//! What a pass has checked so far, in a file for this user alone: a pass that is interrupted is continued.
//!
//! The file is in a folder that only this user can write to, and links are not followed (`private_folder`).
//! A line for each unit, with a checksum. The file belongs to one store, and is removed when a pass is
//! complete. One that is too old, of another release, or damaged is ignored.

use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{Start, report::Checked};
use crate::{config::HOST_VERSION, document::sha256, private_folder::PrivateFolder};

/// The folder of journals in the folder that is given. It has the program's name, since files in it are
/// overwritten and deleted.
const FOLDER: &str = "spotify-etl-verify";
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

/// The open file of a journal.
struct JournalFile {
    file: File,
    folder: PrivateFolder,
    name: String,
}

/// What a pass has checked so far.
#[derive(Default)]
pub struct Journal {
    known: Known,
    file: Option<JournalFile>,
    /// When the pass that is continued began.
    continues: Option<OffsetDateTime>,
}

impl Journal {
    /// Opens the journal of a store in a cache folder. Without a folder, or if the journal can't be opened,
    /// what is checked is only kept in memory.
    pub fn open(cache: Option<&Path>, store: &str, start: Start, now: OffsetDateTime) -> Self {
        let Some(cache) = cache else { return Journal::default() };
        match Self::open_file(cache, store, start, now) {
            Ok(journal) => journal,
            Err(error) => {
                let folder = cache.join(FOLDER);
                tracing::warn!(
                    "an interrupted verification will begin from the start: no journal in `{}`: {error} (choose another folder with --cache-dir, or wait for the other program that verifies this store)",
                    folder.display()
                );
                Journal::default()
            }
        }
    }

    fn open_file(cache: &Path, store: &str, start: Start, now: OffsetDateTime) -> io::Result<Self> {
        let folder = PrivateFolder::open(cache, FOLDER)?;
        let name = format!("{}.journal", &sha256(store.as_bytes())[..32]);
        let mut file = folder
            .open_file(&name)
            .map_err(|error| io::Error::new(error.kind(), format!("`{name}`: {error}")))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another program has it open"),
            TryLockError::Error(error) => error,
        })?;
        let kept = match start {
            Start::Continue => read(&mut file, store, now)?,
            Start::Restart => None,
        };
        if let Some((known, began, end)) = kept {
            file.set_len(end)?;
            file.seek(io::SeekFrom::Start(end))?;
            let continues = (!known.is_empty()).then_some(began);
            return Ok(Journal {
                known,
                file: Some(JournalFile { file, folder, name }),
                continues,
            });
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
        let file = Some(JournalFile { file, folder, name });
        Ok(Journal { known: Known::new(), file, continues: None })
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
        if let Some(journal) = &mut self.file {
            // A line at a time: whatever ends the program, what is written by then is kept.
            let written =
                self::line(&line).and_then(|text| journal.file.write_all(text.as_bytes()));
            if let Err(error) = written {
                let path = journal.folder.path().join(&journal.name);
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
        if let Some(JournalFile { folder, name, .. }) = &self.file
            && let Err(error) = folder.remove(name)
        {
            tracing::warn!("could not delete {}: {error}", folder.path().join(name).display());
        }
    }
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
    use std::{fs, path::PathBuf};

    use tempfile::TempDir;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-07-06 06:00 UTC);

    fn written(folder: &Path) -> PathBuf {
        let mut journal = Journal::open(Some(folder), "s3://music/", Start::Continue, NOW);
        for unit in ["one", "two"] {
            journal.note(unit.to_owned(), "stamp".to_owned(), Checked::default());
        }
        let JournalFile { folder, name, .. } = journal.file.unwrap();
        folder.path().join(name)
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

    #[cfg(unix)]
    #[test]
    fn a_journal_follows_no_link_and_leaves_other_files_alone() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let name = written(TempDir::new().unwrap().path()).file_name().unwrap().to_owned();
        for case in ["link", "link to nothing", "named pipe", "folder", "writable", "linked folder"]
        {
            let place = TempDir::new().unwrap();
            let (cache, target) = (place.path().join("cache"), place.path().join("target"));
            let own = cache.join(FOLDER);
            fs::create_dir_all(&own).unwrap();
            fs::write(&target, "mine").unwrap();
            let path = own.join(&name);
            match case {
                "link" => symlink(&target, &path).unwrap(),
                "link to nothing" => symlink(place.path().join("new"), &path).unwrap(),
                "named pipe" => {
                    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
                }
                "folder" => fs::create_dir(&path).unwrap(),
                "writable" => {
                    fs::write(&path, "theirs").unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
                }
                _ => {
                    fs::remove_dir(&own).unwrap();
                    fs::create_dir(place.path().join("elsewhere")).unwrap();
                    symlink(place.path().join("elsewhere"), &own).unwrap();
                }
            }
            let journal = Journal::open(Some(&cache), "s3://music/", Start::Restart, NOW);
            assert!(journal.file.is_none(), "{case}");
            journal.finish();
            assert_eq!(fs::read_to_string(&target).unwrap(), "mine", "{case}");
            assert!(!place.path().join("new").exists(), "{case}");
            assert!(fs::symlink_metadata(&path).is_ok() || case == "linked folder", "{case}");
            let elsewhere = fs::read_dir(place.path().join("elsewhere"));
            assert_eq!(elsewhere.map_or(0, Iterator::count), 0, "{case}");
        }
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
