//! A cache of compiled code on disk, in a folder that only this user can write to.
//!
//! Machine code runs without further checks, so a file counts only if it was written by this user, is whole, and was
//! made of this very plugin by an engine like this one: its beginning says so, and its name must agree.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    io,
    path::Path,
};

use twox_hash::XxHash3_64;
use wasmtime::{Engine, Result, component::Component};

use super::INTERFACE;
use crate::config::HOST_VERSION;

/// The folder in the one that is given. Its name is the program's, since files in it are deleted.
const FOLDER: &str = "spotify-etl-code";
/// The cache's size at most, in bytes; the oldest files are deleted first.
const BYTES_MAX: u64 = 512 << 20;
/// The cache may take this fraction (1/n) of the bytes that are free on its disk without it.
const SHARE: u64 = 4;
/// A file begins with a checksum of all that follows it, which begins with the file's name.
const SUM_BYTES: usize = size_of::<u64>();
/// A plugin's SHA-256 and an engine's mark, in hexadecimal, and a `-` between them.
const NAME_BYTES: usize = 64 + 1 + 16;

/// Code that was found.
pub(super) struct CachedCode(Vec<u8>);

impl CachedCode {
    /// Gets it ready.
    pub fn component(&self, engine: &Engine) -> Result<Component> {
        // SAFETY: only this user can have written the file, and this program wrote it for this plugin and an
        // engine like this one: who can write there can replace the program as well.
        unsafe { Component::deserialize(engine, self.code()) }
    }

    fn code(&self) -> &[u8] {
        &self.0[SUM_BYTES + NAME_BYTES..]
    }
}

/// The cache.
pub(super) struct CodeCache(PrivateFolder);

impl CodeCache {
    /// Opens the cache in a folder, and creates both if they do not exist.
    ///
    /// # Errors
    ///
    /// If another user could put code there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        PrivateFolder::open(folder, FOLDER).map(CodeCache)
    }

    /// Returns the code of a plugin as an engine like this one made it, if it is there and whole.
    pub fn find(&self, engine: &Engine, sha256: &str) -> Option<CachedCode> {
        let name = file_name(engine, sha256);
        let bytes = match self.0.read(&name) {
            Ok(bytes) => bytes?,
            Err(error) => {
                let folder = self.0.path().display();
                tracing::warn!("compiled code is not used, `{folder}/{name}`: {error}");
                return None;
            }
        };
        let (sum, rest) = bytes.split_first_chunk::<SUM_BYTES>()?;
        let is_whole = XxHash3_64::oneshot(rest) == u64::from_le_bytes(*sum);
        (is_whole && rest.starts_with(name.as_bytes())).then_some(CachedCode(bytes))
    }

    /// Keeps code. A cache that can't take it only costs time.
    pub fn keep(&self, engine: &Engine, sha256: &str, component: &Component) {
        let code = component.serialize().map_err(io::Error::other);
        if let Err(error) = code.and_then(|code| self.write(&file_name(engine, sha256), &code)) {
            tracing::warn!("compiled code is not kept in `{}`: {error}", self.0.path().display());
        }
    }

    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let named = [name.as_bytes(), code].concat();
        let file = [&XxHash3_64::oneshot(&named).to_le_bytes()[..], &named].concat();
        if self.make_room(name, file.len() as u64)? {
            self.0.write(name, &file)?;
            self.0.remove_temporaries(name, is_file_name)?;
        }
        Ok(())
    }

    /// Deletes the oldest files until there is room for one more. Says whether there is.
    fn make_room(&self, name: &str, bytes: u64) -> io::Result<bool> {
        let mut files = self.0.files(is_file_name)?;
        files.retain(|file| file.name != name);
        files.sort();
        let mut taken: u64 = files.iter().map(|file| file.bytes).sum();
        let max = BYTES_MAX.min(self.0.free_bytes()?.saturating_add(taken) / SHARE);
        if bytes > max {
            return Ok(false);
        }
        for file in files {
            if taken + bytes <= max {
                break;
            }
            // Another process may have deleted it since.
            let _ = self.0.remove(&file.name);
            taken -= file.bytes;
        }
        Ok(true)
    }
}

fn file_name(engine: &Engine, sha256: &str) -> String {
    let mut mark = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut mark);
    // What was checked against another interface, or otherwise, is checked again.
    (INTERFACE, HOST_VERSION).hash(&mut mark);
    format!("{sha256}-{:016x}", mark.finish())
}

/// Whether a file may be one of the cache's.
fn is_file_name(name: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let parts = name.split_once('-').filter(|(sha256, _)| sha256.len() == 64);
    parts.is_some_and(|(sha256, mark)| name.len() == NAME_BYTES && is_hex(sha256) && is_hex(mark))
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
        path::PathBuf,
        sync::atomic::{AtomicBool, Ordering},
        time::{Duration, SystemTime},
    };

    use tempfile::TempDir;

    use super::*;

    const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
    const NO_ONE: u32 = 65534;

    fn file(folder: &Path, name: &str) -> PathBuf {
        folder.join(FOLDER).join(name)
    }

    fn found(folder: &Path, sha256: &str) -> Option<Vec<u8>> {
        let cache = CodeCache::open(folder).unwrap();
        cache.find(&Engine::default(), sha256).map(|code| code.code().to_vec())
    }

    fn error(folder: &Path) -> String {
        CodeCache::open(folder).err().unwrap().to_string()
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Makes a path another user's. Only root can.
    fn give_away(path: &Path) -> bool {
        std::os::unix::fs::chown(path, Some(NO_ONE), None).is_ok()
    }

    #[test]
    fn code_is_bound_to_its_plugin_and_engine() {
        let folder = TempDir::new().unwrap();
        let (cache, engine) = (CodeCache::open(folder.path()).unwrap(), Engine::default());
        let name = file_name(&engine, SHA256);
        cache.write(&name, b"code").unwrap();
        assert_eq!(found(folder.path(), SHA256).unwrap(), b"code");
        let (path, other) = (file(folder.path(), &name), file_name(&engine, OTHER));
        fs::copy(&path, file(folder.path(), &other)).unwrap();
        assert_eq!(found(folder.path(), OTHER), None, "a file of another name was used");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(found(folder.path(), SHA256), None, "byte {at} was not checked");
        }
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(found(folder.path(), SHA256), None, "{length} bytes were enough");
        }
    }

    #[test]
    fn a_file_that_another_user_could_have_written_is_not_used() {
        let folder = TempDir::new().unwrap();
        let cache = CodeCache::open(folder.path()).unwrap();
        let name = file_name(&Engine::default(), SHA256);
        let path = file(folder.path(), &name);
        for open in [0o620, 0o602] {
            cache.write(&name, b"code").unwrap();
            mode(&path, open);
            assert_eq!(found(folder.path(), SHA256), None, "mode {open:o}");
            fs::remove_file(&path).unwrap();
        }
        cache.write(&name, b"code").unwrap();
        let whole = folder.path().join("whole");
        fs::rename(&path, &whole).unwrap();
        symlink(&whole, &path).unwrap();
        assert_eq!(found(folder.path(), SHA256), None, "a link was followed");
        fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(found(folder.path(), SHA256), None, "a named pipe was read");
        fs::remove_file(&path).unwrap();
        fs::rename(&whole, &path).unwrap();
        assert!(found(folder.path(), SHA256).is_some());
        if give_away(&path) {
            assert_eq!(found(folder.path(), SHA256), None, "another user's file was used");
        }
    }

    #[test]
    fn a_folder_that_another_user_could_change_is_refused() {
        let place = TempDir::new().unwrap();
        let folder = place.path().join("above/cache");
        CodeCache::open(&folder).unwrap();
        for path in [folder.join(FOLDER), folder.clone(), place.path().join("above")] {
            for open in [0o720, 0o702, 0o777] {
                mode(&path, open);
                assert!(error(&folder).contains("others can write to"), "{}", path.display());
            }
            mode(&path, 0o700);
        }
        // As in /tmp: only its owner can rename what is in it.
        mode(&place.path().join("above"), 0o1777);
        CodeCache::open(&folder).unwrap();
        mode(&folder.join(FOLDER), 0o1777);
        assert!(error(&folder).contains("others can write to"));
        mode(&folder.join(FOLDER), 0o700);
        for path in [folder.join(FOLDER), folder.clone(), place.path().join("above")] {
            if give_away(&path) {
                assert!(error(&folder).contains("is another user's"), "{}", path.display());
                std::os::unix::fs::chown(&path, Some(0), None).unwrap();
            }
        }
        CodeCache::open(&folder).unwrap();
    }

    #[test]
    fn a_link_in_the_place_of_the_folder_is_not_followed() {
        let (place, folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::create_dir(place.path().join("target")).unwrap();
        symlink(place.path().join("target"), folder.path().join(FOLDER)).unwrap();
        assert!(error(folder.path()).contains("is a link"));
        fs::remove_file(folder.path().join(FOLDER)).unwrap();
        fs::write(folder.path().join(FOLDER), b"").unwrap();
        assert!(error(folder.path()).contains("is not a folder"));
    }

    #[test]
    fn a_link_that_is_changed_all_the_time_never_leads_to_foreign_code() {
        let place = TempDir::new().unwrap();
        let [mine, theirs] = ["mine", "theirs"].map(|name| place.path().join(name));
        let name = file_name(&Engine::default(), SHA256);
        CodeCache::open(&mine).unwrap().write(&name, b"mine").unwrap();
        CodeCache::open(&theirs).unwrap().write(&name, b"theirs").unwrap();
        let is_root = [theirs.clone(), theirs.join(FOLDER), file(&theirs, &name)]
            .iter()
            .all(|path| give_away(path));
        if !is_root {
            mode(&theirs.join(FOLDER), 0o777);
        }
        let (link, ends) = (place.path().join("link"), AtomicBool::new(false));
        symlink(&theirs, &link).unwrap();
        assert!(CodeCache::open(&link).is_err());
        let engine = Engine::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let next = place.path().join("next");
                for target in [&mine, &theirs].into_iter().cycle() {
                    symlink(target, &next).unwrap();
                    fs::rename(&next, &link).unwrap();
                    if ends.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            for _ in 0..20_000 {
                if let Ok(cache) = CodeCache::open(&link) {
                    assert_eq!(cache.find(&engine, SHA256).unwrap().code(), b"mine");
                }
            }
            ends.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn only_the_cache_s_own_files_are_deleted() {
        let folder = TempDir::new().unwrap();
        let cache = CodeCache::open(folder.path()).unwrap();
        let name = file_name(&Engine::default(), SHA256);
        let [old, older] =
            [OTHER, &SHA256.replace('0', "9")].map(|sha256| format!("{sha256}-{}", "0".repeat(16)));
        let left = format!("{name}.1-2.tmp");
        let foreign = ["thesis.doc", "0-0", "a.1-2.tmp", &old[1..], &format!("{old}x")];
        let write = |name: &str, hour: u64| {
            let file = fs::File::create(file(folder.path(), name)).unwrap();
            // It has no bytes on the disk.
            file.set_len(BYTES_MAX - 100).unwrap();
            let then = SystemTime::UNIX_EPOCH + Duration::from_secs(hour * 3600);
            file.set_modified(then).unwrap();
        };
        foreign.iter().for_each(|name| write(name, 1));
        write(&older, 2);
        write(&old, 3);
        write(&left, 4);
        fs::write(file(folder.path(), &format!("{name}.3-4.tmp")), b"co").unwrap();
        fs::create_dir(file(folder.path(), &older.replace('1', "8"))).unwrap();
        cache.write(&name, b"code").unwrap();
        let is_there = |name: &str| file(folder.path(), name).exists();
        assert!(foreign.iter().all(|name| is_there(name)));
        assert!(is_there(&name) && is_there(&format!("{name}.3-4.tmp")));
        assert!(!is_there(&older) && !is_there(&left));
        assert!(is_there(&older.replace('1', "8")));
        // Of code that would take too much of the disk nothing is kept, and nothing is deleted for it.
        assert!(!cache.make_room("x", BYTES_MAX + 1).unwrap());
        assert!(is_there(&name));
    }
}
