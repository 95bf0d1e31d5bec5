//! Every key of a store, rendered and parsed. No other module knows a path.

mod table_folder;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use time::Date;

use crate::document::DocumentId;
use table_folder::split_generation;

pub use table_folder::{TableFolder, table_folder};

/// Where raw documents wait.
pub const TO_PROCESS: &str = "raw_data/to_process/";
/// Where they are once their tables are stored.
pub const PROCESSED: &str = "raw_data/processed/";
/// Where they are that no plugin could read.
pub const FAILED: &str = "raw_data/failed/";
/// Where plugins are, their history below.
pub const PLUGINS: &str = "plugins/";
/// Where every version of a plugin is kept.
pub const HISTORY: &str = "plugins/history/";
/// Where it is recorded how loading files of plugins ended.
const LOADS: &str = "plugins/loads/";
/// Where table files are.
pub const TRANSFORMED: &str = "transformed_data/";
/// Where the records of tables are.
pub const TABLES: &str = "tables/";
/// Where it is kept what each table file was made of.
pub const LINEAGE: &str = "lineage/";
/// Where runs report.
pub const RUNS: &str = "runs/";
/// What stands behind a plugin's name where it is said what is wrong with it.
const PLUGIN_ERROR: &str = ".wasm.error.json";
/// What says, if it is there, that only versions count which somebody published.
const REQUIRE_PUBLISH: &str = "plugins/require_publish.json";
/// How many characters the name of a plugin may have.
const PLUGIN_NAME_LENGTH_MAX: usize = 64;
/// Where the playlists to extract are listed.
const PLAYLISTS: &str = "playlists.json";
/// Where it is kept which catalog Athena has.
const CATALOG: &str = "catalog.json";

/// What a raw document's place says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It waits.
    ToProcess,
    /// Its tables are stored.
    Processed,
    /// No plugin could read it.
    Failed,
}

impl Stage {
    /// The prefix of its keys.
    pub fn prefix(self) -> &'static str {
        match self {
            Stage::ToProcess => TO_PROCESS,
            Stage::Processed => PROCESSED,
            Stage::Failed => FAILED,
        }
    }
}

/// How a table's files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// RFC 4180.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// All there are.
    pub const ALL: [Format; 2] = [Format::Csv, Format::Parquet];

    fn folder(self) -> &'static str {
        match self {
            Format::Csv => "data",
            Format::Parquet => "parquet",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Parquet => "parquet",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut known = Format::ALL.into_iter();
        known.find(|format| format.extension() == text).ok_or_else(|| {
            format!("`{text}` is no format of table files: there are csv and parquet")
        })
    }
}

/// Reads formats such as `csv,parquet`.
///
/// # Errors
///
/// What is no format, or there twice.
pub fn formats(text: &str) -> Result<Vec<Format>, String> {
    let named = text.split(',').map(|name| name.trim().parse::<Format>());
    let mut formats = named.collect::<Result<Vec<_>, _>>()?;
    formats.sort_unstable();
    match formats.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("{} is named twice", pair[0])),
        None => Ok(formats),
    }
}

/// What a page of a run's report lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOf {
    /// Documents.
    Documents,
    /// Imported files.
    Imports,
}

impl PageOf {
    /// The word that its keys and its content have for it.
    pub fn word(self) -> &'static str {
        match self {
            PageOf::Documents => "documents",
            PageOf::Imports => "imports",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        [PageOf::Documents, PageOf::Imports].into_iter().find(|of| of.word() == word)
    }
}

/// A key of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// An active plugin.
    Plugin {
        /// Its name.
        name: String,
    },
    /// What is wrong with an active plugin, as it was found when it was put there.
    PluginError {
        /// The plugin's name.
        name: String,
    },
    /// A version of a plugin.
    History {
        /// The plugin's name.
        name: String,
        /// The SHA-256 of the file.
        sha256: String,
    },
    /// When a version was seen, and from whom.
    HistoryRecord {
        /// The plugin's name.
        name: String,
        /// The SHA-256 of the file.
        sha256: String,
    },
    /// How loading a plugin's file ended: an attempt that did not come to an end, or a refusal.
    LoadRecord {
        /// The SHA-256 of the file.
        sha256: String,
    },
    /// Says, if it is there, that only versions of plugins count which somebody published.
    RequirePublish,
    /// A raw document as this host keeps it.
    Raw {
        /// Where it is.
        stage: Stage,
        /// Which one.
        document: DocumentId,
    },
    /// Anything else under a stage's prefix: what older pipelines left.
    Foreign {
        /// Where it is; never [`Stage::Processed`].
        stage: Stage,
        /// The rest of the key.
        path: String,
    },
    /// Why an object under `failed` is there.
    FailedReason {
        /// That object's key after the prefix, without `.json`.
        path: String,
    },
    /// What is known of a table.
    TableRecord {
        /// Its name.
        table: String,
    },
    /// The rows of one document.
    TableFile {
        /// The table's name.
        table: String,
        /// The table's generation, from 1.
        generation: u32,
        /// How the file is written.
        format: Format,
        /// Whose rows.
        document: DocumentId,
    },
    /// What a document's table files were made of.
    Lineage {
        /// Which document.
        document: DocumentId,
    },
    /// What a run did.
    Run {
        /// The run.
        run_id: String,
    },
    /// A part of a run's report that the report itself has no room for.
    RunPage {
        /// The run.
        run_id: String,
        /// What it lists.
        of: PageOf,
        /// Its number, from 1.
        number: u32,
    },
    /// The playlists to extract.
    Playlists,
    /// Which catalog Athena has.
    Catalog,
    /// Written and deleted at once, to see whether that is allowed.
    Probe {
        /// Told apart by this.
        run_id: String,
    },
}

impl Key {
    /// Where an object that waits goes if no plugin could ever read it.
    pub fn failed(&self) -> Key {
        match self {
            Key::Raw { document, .. } => {
                Key::Raw { stage: Stage::Failed, document: document.clone() }
            }
            // What is named like a reason must not be taken for one, nor be overwritten by one.
            Key::Foreign { path, .. } if path.ends_with(".error.json") => {
                Key::Foreign { stage: Stage::Failed, path: format!("{path}.json") }
            }
            Key::Foreign { path, .. } => Key::Foreign { stage: Stage::Failed, path: path.clone() },
            other => Key::Foreign { stage: Stage::Failed, path: other.to_string() },
        }
    }

    /// Where it is said why an object under `failed` is there.
    pub fn failed_reason(&self) -> Key {
        let rendered = self.failed().to_string();
        let path = rendered.strip_prefix(FAILED).unwrap_or(&rendered);
        Key::FailedReason { path: path.strip_suffix(".json").unwrap_or(path).to_owned() }
    }

    /// Returns what follows the stage in the key of a raw object, else the whole key.
    pub fn raw_path(&self) -> String {
        match self {
            Key::Foreign { path, .. } => path.clone(),
            _ => self.file_name(),
        }
    }

    /// The last part of the key.
    pub fn file_name(&self) -> String {
        let rendered = self.to_string();
        rendered.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Plugin { name } => write!(f, "{PLUGINS}{name}.wasm"),
            Key::PluginError { name } => write!(f, "{PLUGINS}{name}{PLUGIN_ERROR}"),
            Key::History { name, sha256 } => write!(f, "{HISTORY}{name}/{sha256}.wasm"),
            Key::HistoryRecord { name, sha256 } => write!(f, "{HISTORY}{name}/{sha256}.json"),
            Key::LoadRecord { sha256 } => write!(f, "{LOADS}{sha256}.json"),
            Key::RequirePublish => f.write_str(REQUIRE_PUBLISH),
            Key::Raw { stage, document } => {
                let DocumentId { playlist_id, extracted_at, hash8 } = document;
                write!(f, "{}{playlist_id}/{extracted_at}-{hash8}.json", stage.prefix())
            }
            Key::Foreign { stage, path } => write!(f, "{}{path}", stage.prefix()),
            Key::FailedReason { path } => write!(f, "{FAILED}{path}.error.json"),
            Key::TableRecord { table } => write!(f, "{TABLES}{table}.json"),
            Key::TableFile { table, generation, format, document } => {
                let folder = table_folder(table, *generation, *format);
                let year = document.extracted_at.moment().year();
                write!(f, "{folder}snapshot_year={year}/{document}.{format}")
            }
            Key::Lineage { document } => write!(f, "{LINEAGE}{document}.json"),
            Key::Run { run_id } => write!(f, "{RUNS}{run_id}.json"),
            Key::RunPage { run_id, of, number } => {
                write!(f, "{RUNS}{run_id}/{}-{number:04}.json", of.word())
            }
            Key::Playlists => f.write_str(PLAYLISTS),
            Key::Catalog => f.write_str(CATALOG),
            Key::Probe { run_id } => write!(f, "probe-{run_id}.json"),
        }
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let key = if text == REQUIRE_PUBLISH {
            Some(Key::RequirePublish)
        } else if let Some(rest) = text.strip_prefix(HISTORY) {
            parse_history(rest)
        } else if let Some(rest) = text.strip_prefix(LOADS) {
            rest.strip_suffix(".json").map(|sha256| Key::LoadRecord { sha256: sha256.to_owned() })
        } else if let Some(rest) = text.strip_prefix(PLUGINS) {
            match rest.strip_suffix(PLUGIN_ERROR) {
                Some(name) => Some(Key::PluginError { name: name.to_owned() }),
                None => {
                    rest.strip_suffix(".wasm").map(|name| Key::Plugin { name: name.to_owned() })
                }
            }
        } else if let Some(rest) = text.strip_prefix(TO_PROCESS) {
            parse_raw(Stage::ToProcess, rest)
        } else if let Some(rest) = text.strip_prefix(PROCESSED) {
            parse_raw(Stage::Processed, rest)
        } else if let Some(rest) = text.strip_prefix(FAILED) {
            match rest.strip_suffix(".error.json") {
                Some(path) => Some(Key::FailedReason { path: path.to_owned() }),
                None => parse_raw(Stage::Failed, rest),
            }
        } else if let Some(rest) = text.strip_prefix(TABLES) {
            rest.strip_suffix(".json").map(|table| Key::TableRecord { table: table.to_owned() })
        } else if let Some(rest) = text.strip_prefix(TRANSFORMED) {
            parse_table_file(rest)
        } else if let Some(rest) = text.strip_prefix(LINEAGE) {
            let document = rest.strip_suffix(".json").and_then(|text| text.parse().ok());
            document.map(|document| Key::Lineage { document })
        } else if let Some(rest) = text.strip_prefix(RUNS) {
            rest.strip_suffix(".json").and_then(parse_run)
        } else if let Some(rest) = text.strip_prefix("probe-") {
            rest.strip_suffix(".json").map(|run_id| Key::Probe { run_id: run_id.to_owned() })
        } else {
            [(PLAYLISTS, Key::Playlists), (CATALOG, Key::Catalog)]
                .into_iter()
                .find_map(|(known, key)| (text == known).then_some(key))
        };
        key.filter(|key| key.is_sound() && key.to_string() == text).ok_or(())
    }
}

impl Key {
    /// Names are one path segment; paths have no empty, hidden or upward ones.
    fn is_sound(&self) -> bool {
        let segment = |name: &str| is_plain_segment(name);
        match self {
            Key::Plugin { name } | Key::PluginError { name } => segment(name),
            Key::History { name, sha256 } | Key::HistoryRecord { name, sha256 } => {
                segment(name) && segment(sha256)
            }
            Key::Foreign { path, .. } | Key::FailedReason { path } => path.split('/').all(segment),
            Key::LoadRecord { sha256: name }
            | Key::TableRecord { table: name }
            | Key::Run { run_id: name }
            | Key::Probe { run_id: name } => segment(name),
            Key::RunPage { run_id, number, .. } => segment(run_id) && *number > 0,
            Key::TableFile { table, generation, .. } => segment(table) && *generation > 0,
            Key::RequirePublish
            | Key::Raw { .. }
            | Key::Lineage { .. }
            | Key::Playlists
            | Key::Catalog => true,
        }
    }
}

/// Whether a plugin can have this name: its file in the store, its history and the owner of its tables are
/// named by it, and messages and commands name it.
pub fn is_plugin_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte);
    name.len() <= PLUGIN_NAME_LENGTH_MAX
        && name.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && !name.ends_with(' ')
        && name.bytes().all(is_plain)
}

/// Whether a text is a SHA-256 in lower-case hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Neither empty nor hidden nor more than one segment.
fn is_plain_segment(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains('/')
}

fn parse_history(rest: &str) -> Option<Key> {
    let (name, file) = rest.split_once('/')?;
    let name = name.to_owned();
    if let Some(sha256) = file.strip_suffix(".wasm") {
        return Some(Key::History { name, sha256: sha256.to_owned() });
    }
    let sha256 = file.strip_suffix(".json")?.to_owned();
    Some(Key::HistoryRecord { name, sha256 })
}

fn parse_run(name: &str) -> Option<Key> {
    let Some((run_id, page)) = name.split_once('/') else {
        return Some(Key::Run { run_id: name.to_owned() });
    };
    let (word, number) = page.split_once('-')?;
    let (of, number) = (PageOf::of_word(word)?, number.parse().ok()?);
    Some(Key::RunPage { run_id: run_id.to_owned(), of, number })
}

fn parse_raw(stage: Stage, rest: &str) -> Option<Key> {
    let document = rest.strip_suffix(".json").and_then(|path| {
        let (playlist_id, name) = path.split_once('/')?;
        format!("{playlist_id}-{name}").parse::<DocumentId>().ok()
    });
    match document.map(|document| Key::Raw { stage, document }) {
        Some(key) if key.to_string() == format!("{}{rest}", stage.prefix()) => Some(key),
        _ if stage == Stage::Processed => None,
        _ => Some(Key::Foreign { stage, path: rest.to_owned() }),
    }
}

fn parse_table_file(rest: &str) -> Option<Key> {
    let (folder, rest) = rest.split_once('/')?;
    let (_, file) = rest.split_once('/')?;
    let (document, extension) = file.rsplit_once('.')?;
    let format: Format = extension.parse().ok()?;
    let (table, generation) = split_generation(folder);
    let table = table.strip_suffix(format.folder())?.strip_suffix('_')?.to_owned();
    Some(Key::TableFile { table, generation, format, document: document.parse().ok()? })
}

/// Returns the prefix of the raw documents of a playlist in a stage.
pub fn raw_prefix(stage: Stage, playlist_id: &str) -> String {
    format!("{}{playlist_id}/", stage.prefix())
}

/// The prefix of the lineage of all documents whose playlist id begins like this one.
pub fn lineage_prefix(playlist_id: &str) -> String {
    format!("{LINEAGE}{playlist_id}-")
}

/// The name of a run that began then: sorted by time, told apart by what the caller adds.
pub fn run_id(started: time::OffsetDateTime, distinct: u32) -> String {
    let date: Date = started.date();
    let (hour, minute, second) = started.time().as_hms();
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z-{distinct:08x}")
}
