//! The command as a process, in a folder of its own.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

use crate::support::{PLUGINS, cache, command_file, files_below, plugin_file};

/// A folder to work in, with a store of all plugins in `data`.
pub struct Desk {
    pub folder: TempDir,
}

pub struct Said {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Desk {
    pub fn new() -> Self {
        let desk = Self::without_plugins();
        let said = desk.say(&["init", "--from", "built"]);
        assert_eq!(said.status, 0, "{}", said.err);
        desk
    }

    /// A folder with nothing in it.
    pub fn bare() -> Self {
        Desk { folder: TempDir::new().unwrap() }
    }

    pub fn without_plugins() -> Self {
        let desk = Self::bare();
        for name in PLUGINS {
            desk.write(&format!("built/{name}.wasm"), &fs::read(plugin_file(name)).unwrap());
        }
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(command_file());
        command.current_dir(self.folder.path()).args(arguments);
        command.env_clear().env("SPOTIFY_ETL_CACHE_DIR", cache());
        command
    }

    pub fn say(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().unwrap())
    }

    pub fn say_with_input(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        process.stdin.take().unwrap().write_all(input).unwrap();
        said(process.wait_with_output().unwrap())
    }

    pub fn keys(&self) -> Vec<String> {
        files_below(&self.path("data")).into_keys().collect()
    }

    pub fn count(&self, prefix: &str) -> usize {
        self.keys().iter().filter(|key| key.starts_with(prefix)).count()
    }
}

pub fn said(output: Output) -> Said {
    Said {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Said {
    #[track_caller]
    pub fn ends(&self, status: i32, parts: &[&str]) {
        let Said { out, err, .. } = self;
        assert_eq!(self.status, status, "\n{out}\n{err}");
        for part in parts {
            assert!(out.contains(part) || err.contains(part), "`{part}` in\n{out}\n{err}");
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
