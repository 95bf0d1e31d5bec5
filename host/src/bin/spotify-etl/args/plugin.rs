//! What can be typed about plugins.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use spotify_etl::{config::amount, document::PlaylistId};
use time::Date;

use super::{AthenaArgs, day, playlist};

/// The memory of the deployment template's function.
pub const FUNCTION_MEMORY: &str = "512MiB";

/// What to do with a plugin.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Begin a plugin: a project in Rust that builds and tests as it is
    #[command(
        after_help = "Inside this project's repository it uses the SDK there, elsewhere it brings the SDK along.\n\nExample:\n  spotify-etl plugin new added_by && cd added_by && cat README.md"
    )]
    New {
        /// Its name, and that of its table: lower-case letters, digits and `_`
        #[arg(value_name = "NAME", value_parser = plugin_name)]
        name: String,
        /// The folder to make [default: one of its name, here]
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
    },
    /// Hand a plugin one document, and see the rows
    #[command(
        after_help = "Needs no store. What the plugin logs goes to standard error.\n\nExamples:\n  spotify-etl plugin run song.wasm playlist.json\n  spotify-etl plugin run song.wasm playlist.json --table song_artist --csv\n  spotify-etl plugin run song.wasm my_list-20260706T060000Z-0123abcd    a document of the store"
    )]
    Run {
        /// The plugin's file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// A JSON file, - for standard input, or a document of the store
        #[arg(value_name = "DOCUMENT")]
        document: String,
        /// This table alone
        #[arg(long, value_name = "NAME")]
        table: Option<String>,
        /// Print the rows as CSV, as a table's file has them
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
    /// Say whether a plugin is fit to be active: by itself, in the store, in a function
    #[command(
        after_help = "Example:\n  spotify-etl plugin check target/wasm32-wasip2/release/song.wasm"
    )]
    Check {
        /// The plugin's file, or s3://bucket/plugins/NAME.wasm
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The plugin it is a version of [default: the file's name]
        #[arg(long, value_name = "NAME", value_parser = plugin_name)]
        name: Option<String>,
        /// The memory of the function that is to run it, which decides what it can compile in time
        #[arg(long, value_name = "BYTES", default_value = FUNCTION_MEMORY, value_parser = bytes)]
        function_memory: u64,
    },
    /// Run plugins over fixtures, against golden tables and a budget
    #[command(
        after_help = "tests/fixtures/*.json are the documents, tests/golden/FIXTURE/TABLE.csv what comes out, and\ntests/budget.json what it may take: the test fails at 10 % more. Instructions, memory and output are the\nsame on every machine; the time is only shown.\n\nExamples:\n  spotify-etl plugin test .                 the plugin built in this folder\n  spotify-etl plugin test song.wasm --tests tests\n  spotify-etl plugin test . --update        keep what comes out; look at the difference before you commit"
    )]
    Test {
        /// Files of plugins, or the folder of one
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The folder with fixtures, golden and budget.json [default: the nearest `tests` around the file]
        #[arg(long, value_name = "FOLDER")]
        tests: Option<PathBuf>,
        /// Keep what comes out as golden tables and budget
        #[arg(long)]
        update: bool,
    },
    /// Make a fixture of a document in the store
    #[command(
        after_help = "Examples:\n  spotify-etl plugin capture raw_data/to_process/my_list/20260706T060000Z-0123abcd.json\n  spotify-etl plugin capture my_list-20260706T060000Z-0123abcd --entries 3,17-20 --name null_album"
    )]
    Capture {
        /// The document: its key, or its name
        #[arg(value_name = "KEY")]
        key: String,
        /// These entries alone, by position
        #[arg(long, value_name = "POSITIONS", value_parser = positions)]
        entries: Option<Positions>,
        /// The fixture's name [default: the document's]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// The folder for it
        #[arg(long, value_name = "FOLDER", default_value = "tests/fixtures")]
        to: PathBuf,
    },
    /// Show what would change in the tables if this version were active, row by row
    #[command(
        after_help = "Both versions are run over the documents of history and those that wait. Nothing is written.\n\nRows that are new, gone or changed are shown; values of a new column are only counted.\n\nExamples:\n  spotify-etl plugin diff song.wasm\n  spotify-etl plugin diff song.wasm --since 2026-01-01 --sample 20\n  spotify-etl plugin diff song.wasm --csv > every_change.csv\n\nExit status: 1 if a document fails that did not before."
    )]
    Diff {
        /// The candidate's file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The plugin it is a version of [default: the file's name]
        #[arg(long, value_name = "NAME", value_parser = plugin_name)]
        name: Option<String>,
        #[command(flatten)]
        which: DiffArgs,
        /// Print every change as CSV, a line for each value
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
    /// Check, test and compare a version, then make it the active one
    #[command(
        after_help = "Examples:\n  spotify-etl plugin publish song.wasm             shows the difference, then asks\n  spotify-etl plugin publish song.wasm --replay    and takes all of history through it\n  spotify-etl plugin publish song.wasm --yes --max-changed 5%"
    )]
    Publish {
        /// The candidate's file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The plugin it is a version of [default: the file's name]
        #[arg(long, value_name = "NAME", value_parser = plugin_name)]
        name: Option<String>,
        /// Don't ask
        #[arg(long)]
        yes: bool,
        /// Publish only if no more rows than so many would change, of those compared: a number, or a share
        /// such as 5%
        #[arg(long, value_name = "ROWS", value_parser = gate)]
        max_changed: Option<Gate>,
        /// Publish even if documents fail that did not before
        #[arg(long)]
        allow_failing: bool,
        /// Leave out the tests that lie beside the plugin
        #[arg(long)]
        no_test: bool,
        #[command(flatten)]
        which: DiffArgs,
        #[command(flatten)]
        switch: SwitchArgs,
    },
    /// List the active plugins and all versions that were
    #[command(after_help = "Examples:\n  spotify-etl plugin list\n  spotify-etl plugin list song")]
    List {
        /// This plugin alone
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Go back to the version before, or to any of history
    #[command(
        after_help = "Run again it goes no further back, and brings to its end what was stopped.\n\nExamples:\n  spotify-etl plugin rollback song\n  spotify-etl plugin rollback song 7fd4c2e1 --replay"
    )]
    Rollback {
        /// The plugin
        #[arg(value_name = "NAME", value_parser = plugin_name)]
        name: String,
        /// The beginning of the version's SHA-256 [default: the version that was active before]
        #[arg(value_name = "SHA256", value_parser = sha256)]
        sha256: Option<String>,
        #[command(flatten)]
        switch: SwitchArgs,
    },
    /// Take a plugin away; its tables and its history stay
    #[command(after_help = "Example:\n  spotify-etl plugin remove preview")]
    Remove {
        /// The plugin
        #[arg(value_name = "NAME", value_parser = plugin_name)]
        name: String,
        /// Who does it [default: the user's name]
        #[arg(long, value_name = "WHO", env = "SPOTIFY_ETL_BY", value_parser = somebody)]
        by: Option<String>,
    },
    /// Have the store pass over versions that nobody published, or take uploads again
    #[command(
        after_help = "A .wasm that is only copied to plugins/ is then refused, and the newest version of history stands in.\n\nExample:\n  spotify-etl plugin require-publish on"
    )]
    RequirePublish {
        /// on: only what was published counts; off: uploads count, too [default: show which it is]
        #[arg(value_enum, hide_possible_values = true)]
        state: Option<OnOff>,
    },
    /// Show what a plugin is: its tables and columns, what it imports, its size and SHA-256
    #[command(
        after_help = "Example:\n  spotify-etl plugin inspect target/wasm32-wasip2/plugin/song.wasm"
    )]
    Inspect {
        /// The plugin's file, or s3://bucket/plugins/NAME.wasm
        file: PathBuf,
    },
    /// Compile plugins ahead, for the zip of the function: it then loads them without compiling
    #[command(
        after_help = "The code is for Linux on this machine's kind of processor, and for this very version of spotify-etl.\nIt goes into the folder `compiled` beside `bootstrap`. A plugin without such code is compiled when it is\nmet first.\n\nExample:\n  spotify-etl plugin compile --to compiled target/wasm32-wasip2/plugin/*.wasm"
    )]
    Compile {
        /// The plugins' files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The folder for the code, each file named for its plugin's SHA-256
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
    },
}

/// Which documents are compared.
#[derive(Debug, Args)]
#[command(next_help_heading = "Documents to compare")]
pub struct DiffArgs {
    /// Documents extracted on this day or later, UTC
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub since: Option<Date>,

    /// Documents extracted on this day or earlier, UTC
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub until: Option<Date>,

    /// Documents of this playlist: an id, a spotify: URI or an open.spotify.com address
    #[arg(long, value_name = "PLAYLIST", value_parser = playlist)]
    pub playlist: Option<PlaylistId>,

    /// No more documents than so many, spread over all that are meant
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
}

/// How a version becomes the active one.
#[derive(Debug, Args)]
pub struct SwitchArgs {
    /// Take all of history to its tables again, with new generations of tables whose columns don't fit
    #[arg(long)]
    pub replay: bool,

    /// Who does it [default: the user's name]
    #[arg(long, value_name = "WHO", env = "SPOTIFY_ETL_BY", value_parser = somebody)]
    pub by: Option<String>,

    #[command(flatten)]
    pub athena: AthenaArgs,
}

/// Whether it is, or isn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// It is.
    On,
    /// It isn't.
    Off,
}

/// How much may change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    /// So many rows.
    Rows(u64),
    /// Such a share of the rows that the active version makes.
    Percent(f64),
}

impl Gate {
    /// Whether so many rows of so many are too many.
    pub fn is_closed_for(self, differing: u64, before: u64) -> bool {
        match self {
            Gate::Rows(max) => differing > max,
            Gate::Percent(max) => differing as f64 * 100.0 > max * before as f64,
        }
    }
}

impl std::fmt::Display for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Gate::Rows(rows) => write!(f, "{rows}"),
            Gate::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

fn gate(text: &str) -> Result<Gate, String> {
    let percent = text.strip_suffix('%').map(|number| number.trim().parse::<f64>().ok());
    let gate = match percent {
        Some(percent) => percent.filter(|percent| *percent >= 0.0).map(Gate::Percent),
        None => text.parse().ok().map(Gate::Rows),
    };
    gate.ok_or_else(|| format!("`{text}` is neither a number of rows nor a share, such as 5%"))
}

/// Positions of entries, as ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct Positions(Vec<(u32, u32)>);

impl Positions {
    /// Whether a position is meant.
    pub fn has(&self, position: u32) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&position))
    }
}

fn positions(text: &str) -> Result<Positions, String> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (0 < first && first <= last).then_some((first, last))
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    ranges
        .map(Positions)
        .ok_or_else(|| format!("`{text}` is no list of positions, such as 3,17-20"))
}

/// A name that every command takes.
pub fn plugin_name(text: &str) -> Result<String, String> {
    let is_plain = text.starts_with(|letter: char| letter.is_ascii_lowercase())
        && text.len() <= 64
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    is_plain.then(|| text.to_owned()).ok_or_else(|| {
        format!("`{text}` is no name for a plugin: it has lower-case letters, digits, `_` and `-`, and begins with a letter")
    })
}

fn sha256(text: &str) -> Result<String, String> {
    let is_part = (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_part
        .then(|| text.to_ascii_lowercase())
        .ok_or_else(|| format!("`{text}` is no beginning of a SHA-256: four or more of its digits"))
}

fn somebody(text: &str) -> Result<String, String> {
    let is_plain = !text.trim().is_empty() && !text.chars().any(char::is_control);
    is_plain
        .then(|| text.to_owned())
        .ok_or_else(|| "a name is a few letters on one line".to_owned())
}

pub fn bytes(text: &str) -> Result<u64, String> {
    amount(text).ok_or_else(|| format!("`{text}` is no size, such as 100MiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_numbers_and_ranges() {
        let found = positions("3,17-20").unwrap();
        let meant: Vec<u32> = (1..30).filter(|position| found.has(*position)).collect();
        assert_eq!(meant, [3, 17, 18, 19, 20]);
        for bad in ["", "0", "5-3", "a", "1,,2"] {
            assert!(positions(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_gate_is_a_number_of_rows_or_a_share() {
        assert!(gate("5%").unwrap().is_closed_for(6, 100));
        assert!(!gate("5%").unwrap().is_closed_for(5, 100));
        assert!(gate("0").unwrap().is_closed_for(1, 100));
        assert!(gate("1%").unwrap().is_closed_for(1, 0));
        assert!(gate("many").is_err());
    }
}
