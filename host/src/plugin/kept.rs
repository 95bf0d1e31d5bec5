//! Compiled code that is kept between runs, in a folder that is this user's alone.
//!
//! A file begins with a checksum of the code in it: a disk that lost some bits must not have them run.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    io::{self, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use twox_hash::XxHash3_64;
use wasmtime::{Engine, Result, component::Component};

use super::INTERFACE;
use crate::config::HOST_VERSION;

/// How much is kept, in bytes; what was written first goes first.
const BYTES_MAX: u64 = 512 << 20;
const SUM_BYTES: usize = size_of::<u64>();

/// Code that was found.
pub(super) struct Code(Vec<u8>);

impl Code {
    /// Gets it ready.
    pub fn component(&self, engine: &Engine) -> Result<Component> {
        // SAFETY: it is what this program wrote, whole, into a folder of its user's own: whoever can write
        // there can as well replace the program.
        unsafe { Component::deserialize(engine, &self.0[SUM_BYTES..]) }
    }
}

/// The folder.
pub(super) struct Kept(PathBuf);

impl Kept {
    /// Makes sure that there is a folder of its own in another one, and that nobody else can write to it.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let folder = folder.join("code");
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&folder)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let about = fs::metadata(&folder)?;
            if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o022 != 0 {
                return Err(io::Error::other("others can write to the folder `code` in it"));
            }
        }
        Ok(Kept(folder))
    }

    /// The code of a plugin as an engine made it, if it is there and whole.
    pub fn find(&self, engine: &Engine, sha256: &str) -> Option<Code> {
        let file = fs::read(self.file(engine, sha256)).ok()?;
        let (sum, code) = file.split_first_chunk::<SUM_BYTES>()?;
        (XxHash3_64::oneshot(code) == u64::from_le_bytes(*sum)).then_some(Code(file))
    }

    /// Keeps code. A folder that can't take it only costs time.
    pub fn keep(&self, engine: &Engine, sha256: &str, component: &Component) {
        let kept = component.serialize().map_err(io::Error::other).and_then(|code| {
            let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
            file.write_all(&XxHash3_64::oneshot(&code).to_le_bytes())?;
            file.write_all(&code)?;
            file.persist(self.file(engine, sha256))?;
            self.make_room()
        });
        if let Err(error) = kept {
            tracing::warn!("compiled code is not kept in `{}`: {error}", self.0.display());
        }
    }

    fn file(&self, engine: &Engine, sha256: &str) -> PathBuf {
        let mut mark = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut mark);
        // What was checked against another interface, or otherwise, is checked again.
        (INTERFACE, HOST_VERSION).hash(&mut mark);
        self.0.join(format!("{sha256}-{:016x}", mark.finish()))
    }

    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for file in fs::read_dir(&self.0)? {
            let file = file?;
            // Somebody else may clear up as well.
            let Ok(about) = file.metadata() else { continue };
            if about.is_file() {
                let written = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((written, about.len(), file.path()));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in files {
            if bytes <= BYTES_MAX {
                break;
            }
            let _ = fs::remove_file(path);
            bytes -= size;
        }
        Ok(())
    }
}
