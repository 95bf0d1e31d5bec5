//! What can be typed, and what it means.

use std::{num::NonZero, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use spotify_etl::{
    config::LimitSetting,
    document::{ExtractedAt, PlaylistId},
};

/// Takes Spotify playlists to tables that SQL can query.
///
/// Raw JSON is kept as it is. What a row looks like is up to plugins, WebAssembly components that
/// lie in the store: another plugin.wasm there, and the next run makes another table.
#[derive(Debug, Parser)]
#[command(name = "spotify-etl", version, max_term_width = 100, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  A store in ./data, with the plugins that were built:
      spotify-etl init --from target/wasm32-wasip2/plugin
  JSON that you have, all the way to tables:
      spotify-etl run --from playlist.json
      spotify-etl run --from years_of_raw_json/
      curl ... | spotify-etl run --from - --playlist 37i9dQZEVXbMDoHDwVN2tF
  What would be brought in, before anything is:
      spotify-etl import --dry-run years_of_raw_json/
  How things are, and what mends them:
      spotify-etl status

Exit status: 0 all done; 1 something failed, the rest is done; 2 nothing could be tried.

Limits, with their defaults: document_bytes=64MiB json_levels=128 plugin_bytes=32MiB
guest_memory_bytes=256MiB output_bytes=128MiB call_seconds=10 table_rows=1000000 skips_kept=10000
violations_shown=100 log_bytes=64KiB";

/// What all commands understand.
#[derive(Debug, Args)]
pub struct Common {
    /// The store: a folder
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "SPOTIFY_ETL_STORE",
        default_value = "./data"
    )]
    pub store: PathBuf,

    /// The folder with the plugins [default: plugins/ in the store]
    #[arg(long, global = true, value_name = "DIR", env = "SPOTIFY_ETL_PLUGINS")]
    pub plugins: Option<PathBuf>,

    /// Print the report as JSON, for scripts
    #[arg(long, global = true)]
    pub json: bool,

    /// Documents worked on at a time [default: one for each processor]
    #[arg(long, global = true, value_name = "N", env = "SPOTIFY_ETL_JOBS", value_parser = jobs)]
    pub jobs: Option<NonZero<usize>>,

    /// Set a limit, such as document_bytes=128MiB; --help lists them
    #[arg(
        long = "limit",
        global = true,
        value_name = "NAME=VALUE",
        env = "SPOTIFY_ETL_LIMIT",
        value_delimiter = ','
    )]
    pub limits: Vec<LimitSetting>,

    /// Where compiled plugins are kept, or `none` [default: the user's cache folder]
    #[arg(long, global = true, value_name = "DIR", env = "SPOTIFY_ETL_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,

    /// What is logged to standard error: error, warn, info, debug. Plugins log too
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "SPOTIFY_ETL_LOG",
        default_value = "info"
    )]
    pub log: tracing::Level,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a store and put plugins into it
    #[command(
        after_help = "Example:\n  spotify-etl init --store music --from target/wasm32-wasip2/plugin"
    )]
    Init {
        /// The folder with the built plugins (*.wasm) [default: those that were installed or built
        /// with this program]
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
    /// Bring JSON in and take it to tables, in one go
    #[command(
        after_help = "Examples:\n  spotify-etl run --from playlist.json\n  spotify-etl run --from raw_json/ --store music\n  cat page.json | spotify-etl run --from - --playlist my_list --extracted-at 2026-07-06T06:00:00Z"
    )]
    Run {
        /// Files, folders (every .json in them), or - for standard input
        #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
        from: Vec<PathBuf>,
        #[command(flatten)]
        import: ImportArgs,
        #[command(flatten)]
        transform: TransformArgs,
    },
    /// Bring JSON in, to wait for `transform`
    #[command(
        after_help = "The playlist's id is, first that applies: --playlist, the id in the JSON, the file's name.\nThe time is: --extracted-at, the one in the file's name (2023-09-27 09:53:34), the file's own.\n\nExamples:\n  spotify-etl import --dry-run raw_json/\n  spotify-etl import 'spotify_raw_2023-09-27 09:53:34.123456.json'"
    )]
    Import {
        /// Files, folders (every .json in them), or - for standard input
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        import: ImportArgs,
        /// Show what would be brought in, and write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take documents to tables: all that wait, or those named
    #[command(
        after_help = "Examples:\n  spotify-etl transform\n  spotify-etl transform raw_data/failed/my_list/20230927T095334Z-0123abcd.json\n  spotify-etl transform my_list-20230927T095334Z-0123abcd"
    )]
    Transform {
        /// Keys, or documents by name; also under failed or processed
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
        #[command(flatten)]
        transform: TransformArgs,
    },
    /// Show how things are, and what mends them
    Status,
    /// List runs, or show the report of one
    #[command(after_help = "Examples:\n  spotify-etl runs\n  spotify-etl runs last")]
    Runs {
        /// A run, or `last`
        #[arg(value_name = "ID")]
        run_id: Option<String>,
    },
    /// Look at plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
}

/// What to do with a plugin.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Show what a plugin is: its tables and columns, what it imports, its size and SHA-256
    #[command(
        after_help = "Example:\n  spotify-etl plugin inspect target/wasm32-wasip2/plugin/song.wasm"
    )]
    Inspect {
        /// The plugin's file
        file: PathBuf,
    },
}

/// How things are brought in.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The playlist: an id, a spotify: URI or an open.spotify.com address
    #[arg(long, value_name = "PLAYLIST", value_parser = playlist)]
    pub playlist: Option<PlaylistId>,

    /// When it was read, UTC: 2023-09-27T09:53:34Z or 20230927T095334Z
    #[arg(long, value_name = "TIME")]
    pub extracted_at: Option<ExtractedAt>,
}

/// How documents are taken to tables.
#[derive(Debug, Args)]
pub struct TransformArgs {
    /// Don't fail if no entry of a document gave a row
    #[arg(long, env = "SPOTIFY_ETL_ALLOW_EMPTY")]
    pub allow_empty: bool,
}

fn jobs(text: &str) -> Result<NonZero<usize>, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number from 1 up"))
}

fn playlist(text: &str) -> Result<PlaylistId, String> {
    PlaylistId::from_reference(text).ok_or_else(|| {
        format!(
            "`{text}` is not a playlist: give an id, spotify:playlist:ID or \
             https://open.spotify.com/playlist/ID"
        )
    })
}

#[cfg(test)]
mod tests {
    use spotify_etl::config::{LimitSetting, Limits};

    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_limits_that_are_listed_are_the_defaults() {
        let settings =
            EXAMPLES.split_whitespace().filter_map(|word| word.parse::<LimitSetting>().ok());
        let mut limits = Limits::default();
        assert_eq!(settings.map(|setting| limits.set(&setting)).count(), 10);
        assert_eq!(limits, Limits::default());
    }
}
