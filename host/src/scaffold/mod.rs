//! A new plugin's project: source, a fixture, its golden table, a screen of how to go on. It builds and
//! tests as it is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::config::variable;

/// What stands for the plugin's name in what is written.
const NAME: &str = "__name__";
/// What stands for its name as a type.
const TYPE: &str = "__Name__";
/// Where a build puts plugins, below its target folder: a project's own, and those of this repository.
const BUILT: [&str; 2] = ["wasm32-wasip2/release", "wasm32-wasip2/plugin"];

/// Names that mean something else to Rust, or to the project's other packages.
const TAKEN: [&str; 47] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "if", "impl", "in",
    "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "serde", "static", "struct", "super", "test", "trait", "true", "type", "use",
    "where", "while", "yield",
];

/// The files of every project.
const FILES: [(&str, &str); 6] = [
    ("src/lib.rs", include_str!("plugin.rs.in")),
    ("tests/golden.rs", include_str!("golden.rs.in")),
    ("tests/fixtures/playlist.json", include_str!("playlist.json")),
    ("tests/golden/playlist/__name__.csv", include_str!("playlist.csv")),
    ("tests/golden/playlist/skipped.txt", include_str!("skipped.txt")),
    ("README.md", include_str!("README.md.in")),
];

/// The SDK, for a project outside of its repository.
const SDK: [(&str, &str); 13] = [
    ("wit/plugin.wit", include_str!("../../../wit/plugin.wit")),
    ("vendor/sdk/Cargo.toml", include_str!("../../../plugins/sdk/Cargo.toml")),
    ("vendor/sdk/README.md", include_str!("../../../plugins/sdk/README.md")),
    ("vendor/sdk/src/lib.rs", include_str!("../../../plugins/sdk/src/lib.rs")),
    ("vendor/sdk/src/containers.rs", include_str!("../../../plugins/sdk/src/containers.rs")),
    ("vendor/sdk/src/dates.rs", include_str!("../../../plugins/sdk/src/dates.rs")),
    ("vendor/sdk/src/entries.rs", include_str!("../../../plugins/sdk/src/entries.rs")),
    ("vendor/sdk/src/memory.rs", include_str!("../../../plugins/sdk/src/memory.rs")),
    ("vendor/sdk/src/plugin.rs", include_str!("../../../plugins/sdk/src/plugin.rs")),
    ("vendor/sdk/src/quick.rs", include_str!("../../../plugins/sdk/src/quick.rs")),
    ("vendor/sdk/src/strings.rs", include_str!("../../../plugins/sdk/src/strings.rs")),
    ("vendor/sdk/src/table.rs", include_str!("../../../plugins/sdk/src/table.rs")),
    ("vendor/sdk/src/testing.rs", include_str!("../../../plugins/sdk/src/testing.rs")),
];
/// What else a project outside needs.
const OUTSIDE: [(&str, &str); 3] = [
    (".cargo/config.toml", include_str!("../../../.cargo/config.toml")),
    ("rust-toolchain.toml", include_str!("../../../rust-toolchain.toml")),
    (".gitignore", "/target\n"),
];
/// This project's own settings, some of which the SDK is built with.
const WORKSPACE: &str = include_str!("../../../Cargo.toml");

/// What was made.
#[derive(Debug, Serialize)]
pub struct Scaffolded {
    /// The plugin's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// The files in it.
    pub files: Vec<PathBuf>,
}

/// Makes a plugin's project in a folder that is not there yet, or empty.
///
/// # Errors
///
/// If something is there, or the system refuses.
pub fn make(name: &str, folder: &Path) -> Result<Scaffolded, ScaffoldError> {
    let is_plain = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && name.starts_with(|letter: char| letter.is_ascii_lowercase());
    if TAKEN.contains(&name) {
        return Err(ScaffoldError::Taken { name: name.to_owned() });
    }
    if !is_plain {
        return Err(ScaffoldError::Name { name: name.to_owned() });
    }
    if fs::read_dir(folder).is_ok_and(|mut there| there.next().is_some()) {
        return Err(ScaffoldError::NotEmpty { folder: folder.to_owned() });
    }
    let sdk = sdk_around(folder);
    let mut files = FILES.to_vec();
    if sdk.is_none() {
        files.extend(SDK.into_iter().chain(OUTSIDE));
    }
    let manifest = manifest(sdk.as_deref());
    files.push(("Cargo.toml", &manifest));
    let mut made = Vec::new();
    for (path, text) in files {
        let path = PathBuf::from(path.replace(NAME, name));
        let is_own = !path.starts_with("vendor") && !path.starts_with("wit");
        let text = if is_own { filled(text, name) } else { text.to_owned() };
        write(&folder.join(&path), &text)?;
        made.push(path);
    }
    made.sort();
    Ok(Scaffolded { name: name.to_owned(), folder: folder.to_owned(), files: made })
}

fn filled(text: &str, name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
    };
    let type_name: String = name.split('_').map(word).collect();
    text.replace(NAME, name).replace(TYPE, &type_name)
}

fn manifest(sdk: Option<&Path>) -> String {
    let sdk_path = sdk.map_or("vendor/sdk".to_owned(), |sdk| sdk.display().to_string());
    let manifest = include_str!("Cargo.toml.in").replace("__sdk__", &sdk_path);
    match sdk {
        Some(_) => manifest + "\n[workspace]\n",
        None => {
            format!("{manifest}\n[workspace]\nmembers = [\"vendor/sdk\"]\n\n{}", shared_settings())
        }
    }
}

/// What the SDK takes from its workspace.
fn shared_settings() -> String {
    let is_shared = |section: &str| {
        ["workspace.package]", "workspace.dependencies]", "workspace.lints."]
            .iter()
            .any(|name| section.starts_with(name))
    };
    let sections = WORKSPACE.split("\n[").filter(|section| is_shared(section));
    let sdk = SDK.iter().find(|(path, _)| path.ends_with("Cargo.toml"));
    let sdk = sdk.map(|(_, manifest)| *manifest).unwrap_or_default();
    let text = |section: &str| {
        let is_dependency = section.starts_with("workspace.dependencies");
        let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let is_used = |line: &&str| {
            line.starts_with("workspace") || sdk.contains(&format!("\n{} = ", name(line)))
        };
        let lines: Vec<_> = section.lines().filter(|line| !line.starts_with('#')).collect();
        let lines: Vec<_> =
            lines.into_iter().filter(|line| !is_dependency || is_used(line)).collect();
        format!("[{}\n", lines.join("\n").trim_end())
    };
    sections.map(text).collect::<Vec<_>>().join("\n")
}

/// The SDK of the repository that a folder is in, if it is in it.
fn sdk_around(folder: &Path) -> Option<PathBuf> {
    // Where it will be, whatever way leads there.
    let absolute = std::path::absolute(folder).ok()?;
    let there = absolute.ancestors().find(|above| above.exists())?;
    let folder = there.canonicalize().ok()?.join(absolute.strip_prefix(there).ok()?);
    let sdk = |above: &Path| {
        let sdk = above.join("plugins/sdk");
        let manifest = fs::read_to_string(sdk.join("Cargo.toml")).ok()?;
        manifest.contains("name = \"spotify-etl-plugin\"").then_some(sdk)
    };
    let (up, sdk) =
        folder.ancestors().enumerate().find_map(|(up, above)| Some((up, sdk(above)?)))?;
    let root = folder.ancestors().nth(up)?;
    let inner = sdk.strip_prefix(root).ok()?;
    // `plugins/name` is two steps from the root, and so on.
    Some(PathBuf::from("../".repeat(up)).join(inner))
}

/// The plugin that was built in a project's folder.
///
/// # Errors
///
/// If there is none.
pub fn built_in(folder: &Path) -> Result<Vec<PathBuf>, ScaffoldError> {
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest);
    let text = text.map_err(|source| ScaffoldError::Io { verb: "read", path: manifest, source })?;
    let (_, package) = text.split_once("[package]").unwrap_or_default();
    let name = package.lines().find_map(|line| line.strip_prefix("name = "));
    let name = name.unwrap_or_default().trim().trim_matches('"').replace('-', "_");
    // Its own, or that of the workspace that it is in.
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let targets: Vec<PathBuf> = match variable("CARGO_TARGET_DIR") {
        Some(target) => vec![PathBuf::from(target)],
        None => folder.ancestors().map(|above| above.join("target")).collect(),
    };
    let places = targets.iter().flat_map(|target| BUILT.map(|built| target.join(built)));
    let mut files = places.map(|place| place.join(format!("{name}.wasm")));
    files.find(|file| file.is_file()).map(|file| vec![file]).ok_or_else(|| {
        ScaffoldError::NotBuilt {
            file: folder.join("target").join(BUILT[0]).join(format!("{name}.wasm")),
        }
    })
}

fn write(path: &Path, text: &str) -> Result<(), ScaffoldError> {
    let failed = |source| ScaffoldError::Io { verb: "write", path: path.to_owned(), source };
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    fs::write(path, text).map_err(failed)
}

/// Why there is no project.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// A table could not be called like that.
    #[error(
        "`{name}` is no name for a table, which the plugin's is too: it has lower-case letters, digits and `_`, and begins with a letter"
    )]
    Name {
        /// What was asked for.
        name: String,
    },
    /// A package could not be called like that.
    #[error(
        "`{name}` means something else to Rust or cargo (name it otherwise, such as {name}_table)"
    )]
    Taken {
        /// What was asked for.
        name: String,
    },
    /// Something is there.
    #[error("`{}` is not empty (name another folder with --to)", .folder.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
    },
    /// Nothing was built.
    #[error("`{}` is not there (build it: cargo build --release --target wasm32-wasip2)", .file.display())]
    NotBuilt {
        /// What should be there.
        file: PathBuf,
    },
    /// The system refused.
    #[error("could not {verb} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_outside_brings_what_the_sdk_takes_from_its_workspace() {
        let manifest = manifest(None);
        for part in ["[workspace.package]", "serde_json = {", "[workspace.lints.rust]"] {
            assert!(manifest.contains(part), "{part} in {manifest}");
        }
        assert!(!manifest.contains("path = \"host\""), "{manifest}");
    }

    #[test]
    fn all_of_the_sdk_is_brought_along() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/sdk/src");
        for entry in fs::read_dir(folder).unwrap() {
            let name = format!("vendor/sdk/src/{}", entry.unwrap().file_name().display());
            assert!(SDK.iter().any(|(path, _)| *path == name), "{name}");
        }
    }
}
