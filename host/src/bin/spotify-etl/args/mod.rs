//! What can be typed, and what it means.

mod delete;
mod plugin;

use std::{num::NonZero, path::PathBuf, sync::Arc};

use clap::{Args, Parser, Subcommand, ValueEnum};
use spotify_etl::{
    catalog::DatabaseName,
    config::LimitSetting,
    document::{ExtractedAt, PlaylistId},
    layout::{self, Format},
    sources::PlaylistFrom,
    spotify::{ACCOUNTS_URL, API_URL, Flow, LoginPlace, REDIRECT_URI, SLIM_FIELDS, Url},
    store::StoreAddress,
    vault,
};
use time::Date;

pub use delete::DeleteArgs;
pub use plugin::{
    DiffArgs, FUNCTION_MEMORY, Gate, OnOff, PluginCommand, Positions, SwitchArgs, bytes,
    plugin_name,
};

/// Takes Spotify playlists to tables that SQL can query.
///
/// Raw JSON is kept as it is. What a row looks like is up to plugins, WebAssembly components that
/// lie in the store: another plugin.wasm there, and the next run makes another table.
#[derive(Debug, Parser)]
#[command(name = "spotify-etl", version, long_version = VERSION, max_term_width = 100, after_long_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), "\naccepts plugins of spotify-etl:plugin/transform@0.1.0");

const EXAMPLES: &str = "\
Examples:
  A store in ./data, with the plugins that were built:
      spotify-etl init --from target/wasm32-wasip2/plugin
  JSON that you have, all the way to tables:
      spotify-etl run --from playlist.json
      spotify-etl run --from years_of_raw_json/
      curl ... | spotify-etl run --from - --playlist 37i9dQZEVXbMDoHDwVN2tF
  From Spotify, every week (README.md says who can):
      spotify-etl login --client-id ID
      spotify-etl playlist add https://open.spotify.com/playlist/...
      spotify-etl run
  What would be brought in, before anything is:
      spotify-etl import --dry-run years_of_raw_json/
  How things are, and what mends them:
      spotify-etl status
      spotify-etl doctor

A bucket is found as by all AWS programs: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and their kind.

Exit status: 0 all done; 1 something failed, the rest is done; 2 nothing could be tried.

Limits, with their defaults: document_bytes=64MiB json_levels=128 plugin_bytes=32MiB
compile_bytes=32MiB compile_memory_bytes=1024MiB compile_cpu_milliseconds=60000
compile_seconds=60 describe_seconds=2 guest_memory_bytes=256MiB output_bytes=128MiB call_seconds=10
table_rows=1000000 skips_kept=10000 violations_shown=100 log_bytes=64KiB playlist_pages=1000
playlist_seconds=900 request_seconds=30 request_attempts=5 retry_wait_seconds=60
retry_total_seconds=180 query_seconds=600 login_seconds=300

Secrets are never given as arguments, which all programs see: SPOTIFY_CLIENT_SECRET and
SPOTIFY_REFRESH_TOKEN in the environment, or files. Proxies are taken from HTTPS_PROXY and NO_PROXY,
further certificates from SSL_CERT_FILE.";

const STATUS_HELP: &str = "\
Exit status: 0 nothing needs attention; 1 something does; 2 the store can't be read. These need
attention (`attention` in the JSON lists them):
  - a playlist of the list (`spotify-etl playlist list`) was never read, its last extraction failed, its
    last snapshot is more than 8 days old, or that snapshot is incomplete
  - snapshots are dated in the future
  - the list of playlists can't be read
  - documents wait, and a run said why; documents could not be read
  - no plugin, a plugin that is refused or missing, or a file such as SONG.WASM that is ignored
  - the login has ended or ends within 14 days
  - the last run failed or could not start
  - table files, lineage or raw documents were deleted by hand

Examples:
  spotify-etl status
  spotify-etl status --json --exit-zero | jq -r '.attention[].message'
  spotify-etl status || mail -s 'playlists need attention' me@example.org < /dev/null";

/// What all commands understand.
#[derive(Debug, Args)]
pub struct Common {
    /// The store: a folder, or a bucket (s3://bucket/prefix)
    #[arg(
        long,
        global = true,
        value_name = "STORE",
        env = "SPOTIFY_ETL_STORE",
        default_value = "./data"
    )]
    pub store: StoreAddress,

    /// Where the plugins are, a folder or s3://bucket/prefix [default: plugins/ in the store]
    #[arg(long, global = true, value_name = "PLACE", env = "SPOTIFY_ETL_PLUGINS")]
    pub plugins: Option<StoreAddress>,

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

    /// Where compiled plugins and rows that queries loaded are kept, or `none` [default: the user's cache folder]
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
        /// Where the built plugins (*.wasm) are [default: those that were installed or built with this
        /// program]
        #[arg(long, value_name = "PLACE")]
        from: Option<StoreAddress>,
    },
    /// Extract and transform in one go: the weekly run. With --from, from files instead
    #[command(
        after_help = "Without a playlist, those that `playlist add` listed are extracted. Then all documents that wait are\ntaken to tables; with --from only those that were brought in.\n\nExamples:\n  spotify-etl run\n  spotify-etl run https://open.spotify.com/playlist/... --if-changed\n  spotify-etl run --from playlist.json\n  spotify-etl run --from raw_json/ --store music\n  cat page.json | spotify-etl run --from - --playlist my_list --extracted-at 2026-07-06T06:00:00Z"
    )]
    Run {
        /// What to extract: an id, a spotify: URI, an open.spotify.com address, or a label of the list
        #[arg(value_name = "PLAYLIST", conflicts_with = "from")]
        playlists: Vec<String>,
        /// Files, folders and s3:// prefixes (every .json in them), or - for standard input
        #[arg(long, num_args = 1.., value_name = "PATH")]
        from: Vec<PathBuf>,
        #[command(flatten)]
        import: ImportArgs,
        #[command(flatten)]
        future: FutureArgs,
        #[command(flatten)]
        transform: TransformArgs,
        #[command(flatten)]
        extract: ExtractArgs,
        #[command(flatten)]
        spotify: SpotifyArgs,
    },
    /// Read playlists from Spotify, to wait for `transform`
    #[command(
        after_help = "A playlist is landed whole, as Spotify sends it, or not at all.\n\nExamples:\n  spotify-etl extract https://open.spotify.com/playlist/...\n  spotify-etl extract spotify:playlist:... --market FR --fields slim\n  spotify-etl extract --if-changed"
    )]
    Extract {
        /// An id, a spotify: URI, an open.spotify.com address, or a label of the list [default: the list]
        #[arg(value_name = "PLAYLIST")]
        playlists: Vec<String>,
        #[command(flatten)]
        extract: ExtractArgs,
        #[command(flatten)]
        spotify: SpotifyArgs,
    },
    /// List the playlists that `run` and `extract` take
    #[command(subcommand)]
    Playlist(PlaylistCommand),
    /// Log in to Spotify, so that your playlists can be read
    #[command(
        after_help = "Make an app on developer.spotify.com/dashboard (Web API, redirect address http://127.0.0.1/callback), and give its client id. The consent is kept in a file that only you can read, and lasts six months. With the app's secret (SPOTIFY_CLIENT_SECRET or --client-secret-file) several machines can use one login; without, each new token ends the last one.\n\nExamples:\n  spotify-etl login --client-id ID\n  spotify-etl login --paste          on a machine without a browser\n  spotify-etl login --save ssm:/spotify-etl/login    for the function that reads it there\n  spotify-etl login --status"
    )]
    Login {
        /// Show who is logged in, to what, and for how long
        #[arg(long)]
        status: bool,
        /// Keep it there: a file, ssm:/NAME (Systems Manager) or secretsmanager:NAME
        /// [default: --credentials]
        #[arg(long, value_name = "PLACE", value_parser = place, conflicts_with = "status")]
        save: Option<Place>,
        /// The browser is on another machine: paste the address it ends at
        #[arg(long, conflicts_with = "status")]
        paste: bool,
        /// Show the address, and open no browser
        #[arg(long)]
        no_browser: bool,
        /// The redirect address that the app has; without a port, any free one is used
        #[arg(long, value_name = "URI", env = "SPOTIFY_REDIRECT_URI", default_value = REDIRECT_URI)]
        redirect_uri: Url,
        #[command(flatten)]
        spotify: SpotifyArgs,
    },
    /// Forget the login
    Logout {
        #[command(flatten)]
        login: LoginArgs,
    },
    /// Try everything that a run needs: store, plugins, credentials, token, playlists
    #[command(
        after_help = "Examples:\n  spotify-etl doctor\n  spotify-etl doctor https://open.spotify.com/playlist/..."
    )]
    Doctor {
        /// The playlists to try [default: the list]
        #[arg(value_name = "PLAYLIST")]
        playlists: Vec<String>,
        #[command(flatten)]
        spotify: SpotifyArgs,
    },
    /// Verify every object of a store, and repair what is safe
    #[command(
        after_help = "Reads every raw document, table file, lineage record, plugin and report, and says what is not what it\nshould be, with the command that mends it. A pass that was interrupted is continued for 7 days.\n--repair makes tables and lineage again from raw documents, and deletes what nothing needs; it never\ndeletes a raw document, a plugin, or rows that can't be made again.\n\nExit status: 0 no problem is left, whatever the notes say; 1 there are problems; 2 it could not be tried.\n\nExamples:\n  spotify-etl verify\n  spotify-etl verify --store s3://music --repair\n  spotify-etl verify --json | jq '.findings[] | select(.severity == \"problem\") | .commands[0]'"
    )]
    Verify {
        /// Repair what is safe, and say what became of each problem
        #[arg(long)]
        repair: bool,
        /// Begin at the start, even if a pass was interrupted
        #[arg(long)]
        restart: bool,
    },
    /// Bring JSON in, to wait for `transform`
    #[command(
        after_help = "Playlist id, the first that applies:\n  --playlist; `id`, `playlist_id` or `href` in the JSON; a folder playlist_id=...; --playlist-from;\n  else the file's name without its date, which is assumed\nTime, the first that applies:\n  --extracted-at; a date or time in the file's name (2026-10-05, 20261005_060000, 1790000000);\n  one in its folders (dt=2026-10-05, year=2026/month=10/day=05, 2026/10/05);\n  else the file's modification time, which is assumed\nWhat is assumed is marked. If assumed playlists or times collide, nothing is imported.\n\nA file may hold several playlists, and pages of one playlist may be in several files. Of a folder, .json\nand .json.gz files are imported.\n\nExamples:\n  spotify-etl import --dry-run raw_json/\n  spotify-etl import --playlist-from folder raw_json/\n  spotify-etl import 'spotify_raw_2023-09-27 09:53:34.123456.json'\n  spotify-etl import --store s3://new-bucket 's3://old-bucket/raw data/processed/'"
    )]
    Import {
        /// Files, folders and s3:// prefixes (every .json in them), or - for standard input
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        import: ImportArgs,
        #[command(flatten)]
        future: FutureArgs,
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
        future: FutureArgs,
        #[command(flatten)]
        transform: TransformArgs,
    },
    /// Take history to its tables again: after a transform changed
    #[command(
        after_help = "Documents whose files are all as the active plugins make them are left alone, which lineage tells,\nso a replay that was stopped goes on where it was. Files that come out the same are not written.\n\nExamples:\n  spotify-etl replay --dry-run\n  spotify-etl replay --plugin song --since 2026-01-01\n  spotify-etl replay --format parquet        all of history as Parquet, then switched at once\n  spotify-etl replay --new-generation song   for columns that don't fit the old ones\n  spotify-etl replay --store s3://music --queue https://sqs.eu-west-1.amazonaws.com/1/music"
    )]
    Replay {
        #[command(flatten)]
        replay: ReplayArgs,
    },
    /// Delete documents with their rows and lineage
    #[command(
        after_help = "Deletes the raw document in each stage, its files in all generations and formats of all tables, and its lineage; not plugins, and not the reports of runs. It cannot be undone. If it is interrupted, run the same command again. A run that has read the document at the same time may store it again: delete when no run is active.\n\nExit status: 0 all is deleted; 1 something is not; 2 there is no such document, or nothing was tried.\n\nExamples:\n  spotify-etl delete my_list-20260706T060000Z-0123abcd\n  spotify-etl delete raw_data/failed/older/broken.json --yes\n  spotify-etl delete --playlist 37i9dQZEVXbMDoHDwVN2tF --dry-run"
    )]
    Delete {
        #[command(flatten)]
        delete: DeleteArgs,
    },
    /// Show the state of a store, and what needs attention
    #[command(after_help = STATUS_HELP)]
    Status {
        #[command(flatten)]
        login: LoginArgs,
        /// Exit with 0 even if something needs attention
        #[arg(long, env = "SPOTIFY_ETL_EXIT_ZERO")]
        exit_zero: bool,
    },
    /// Ask the tables, in SQL: at home, or with --athena there
    #[command(
        after_help = "Tables and views have the names that they have in Athena: album, artist, song, song_artist,\nsnapshot; album_latest and their kind; chart, chart_out. Days and moments are text, such as\n'2026-07-06'; true and false are 1 and 0 at home. Athena's functions year, month, date_trunc,\ndate_diff, date_add, max_by, min_by, array_agg and array_join are known.\n\nWeeks of chart and chart_out are Monday to Sunday in UTC; week is the Monday. is_latest marks each\nplaylist's own last week, however old it is.\n\nExamples:\n  spotify-etl query \"SELECT position, song_name, status FROM chart WHERE playlist_name = 'Top' AND week = '2026-07-06'\"\n  spotify-etl query --file climbers.sql --csv > climbers.csv\n  spotify-etl query --save music.sqlite\n  spotify-etl query --store s3://music --athena \"SELECT count(*) FROM song\""
    )]
    Query {
        /// A SELECT, or - for standard input
        #[arg(value_name = "SQL", required_unless_present_any = ["file", "save"])]
        sql: Option<String>,
        /// Read it from a file
        #[arg(long, value_name = "FILE", conflicts_with = "sql")]
        file: Option<PathBuf>,
        /// Print the rows as CSV
        #[arg(long, conflicts_with = "json")]
        csv: bool,
        /// Keep all tables and views in one file, for any program that reads SQLite
        #[arg(long, value_name = "FILE", conflicts_with_all = ["sql", "file", "athena"])]
        save: Option<PathBuf>,
        /// Ask Athena, of the database that `catalog apply` filled
        #[arg(long)]
        athena: bool,
        /// As much as Athena may read for it, such as 100MiB; then it is stopped
        #[arg(long, value_name = "BYTES", env = "SPOTIFY_ETL_MAX_SCAN", value_parser = bytes)]
        max_scan: Option<u64>,
        /// The database in Athena
        #[arg(long, value_name = "NAME", env = "SPOTIFY_ETL_DATABASE", default_value = DATABASE)]
        database: DatabaseName,
        #[command(flatten)]
        athena_args: AthenaArgs,
    },
    /// Have the tables in Athena
    #[command(
        subcommand,
        after_help = "Weeks of the views chart and chart_out are Monday to Sunday in UTC."
    )]
    Catalog(CatalogCommand),
    /// List runs, or show the report of one
    #[command(after_help = "Examples:\n  spotify-etl runs\n  spotify-etl runs last")]
    Runs {
        /// A run, or `last`
        #[arg(value_name = "ID")]
        run_id: Option<String>,
    },
    /// Say where rows come from: plugin, host, runs and raw response
    #[command(
        after_help = "Examples:\n  spotify-etl explain my_list-20260706T060000Z-0123abcd\n  spotify-etl explain data/transformed_data/song_data/snapshot_year=2026/NAME.csv"
    )]
    Explain {
        /// A table file's key or path, or a document's name
        #[arg(value_name = "FILE|DOCUMENT")]
        what: String,
    },
    /// Write, try, compare, publish and roll back plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
}

/// What to do with the list of playlists.
#[derive(Debug, Subcommand)]
pub enum PlaylistCommand {
    /// Put a playlist on the list
    #[command(
        after_help = "Example:\n  spotify-etl playlist add https://open.spotify.com/playlist/... --label france"
    )]
    Add {
        /// An id, a spotify: URI, or an open.spotify.com address
        #[arg(value_name = "PLAYLIST")]
        playlist: String,
        /// What you call it
        #[arg(long, value_name = "NAME")]
        label: Option<String>,
    },
    /// Show the list
    List,
    /// Take a playlist off the list; what was landed of it stays
    Remove {
        /// An id, a spotify: URI, an open.spotify.com address, or a label
        #[arg(value_name = "PLAYLIST")]
        name: String,
    },
}

/// What to do about the catalog.
#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// Print it as SQL, to be pasted into Athena
    #[command(after_help = "Example:\n  spotify-etl catalog ddl --store s3://music > catalog.sql")]
    Ddl {
        #[command(flatten)]
        place: CatalogArgs,
    },
    /// Compare what Athena has with the tables of the store
    Check {
        #[command(flatten)]
        place: CatalogArgs,
        #[command(flatten)]
        athena: AthenaArgs,
    },
    /// Make what Athena has like the tables of the store; again and again if you like
    #[command(
        after_help = "Example:\n  spotify-etl catalog apply --store s3://music --output s3://my-query-results/"
    )]
    Apply {
        #[command(flatten)]
        place: CatalogArgs,
        #[command(flatten)]
        athena: AthenaArgs,
    },
}

/// Which catalog.
#[derive(Debug, Args)]
pub struct CatalogArgs {
    /// The database in Athena
    #[arg(long, value_name = "NAME", env = "SPOTIFY_ETL_DATABASE", default_value = DATABASE)]
    pub database: DatabaseName,

    /// Where Athena finds the store, such as s3://bucket/prefix [default: the store's own address]
    #[arg(long, value_name = "PLACE")]
    pub location: Option<String>,
}

/// How Athena is asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Athena")]
pub struct AthenaArgs {
    /// The workgroup that statements run in [default: the account's primary one]
    #[arg(long, value_name = "NAME", env = "SPOTIFY_ETL_WORKGROUP")]
    pub workgroup: Option<String>,

    /// Where Athena keeps results, s3://bucket/prefix/ [default: where the workgroup says]
    #[arg(long, value_name = "PLACE", env = "SPOTIFY_ETL_QUERY_OUTPUT")]
    pub output: Option<String>,
}

/// What of history is replayed, and how.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Documents extracted on this day or later, UTC
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub since: Option<Date>,

    /// Documents extracted on this day or earlier, UTC
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub until: Option<Date>,

    /// Documents of this playlist: an id, a spotify: URI or an open.spotify.com address
    #[arg(long, value_name = "PLAYLIST", value_parser = playlist)]
    pub playlist: Option<PlaylistId>,

    /// Through this plugin alone; may be given more than once
    #[arg(long = "plugin", value_name = "NAME")]
    pub only: Vec<String>,

    /// Say what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Write tables as these from now on: csv, parquet, or csv,parquet. All of history is written, then
    /// the tables are switched
    #[arg(long, value_name = "FORMATS", value_parser = formats, conflicts_with_all = ["since", "until", "playlist"])]
    pub format: Option<Formats>,

    /// Begin this table anew, if the columns that its plugin declares now don't fit the old ones: its files
    /// are made beside the old ones, then it is switched. May be given more than once
    #[arg(long = "new-generation", value_name = "TABLE", conflicts_with_all = ["since", "until", "playlist", "only"])]
    pub new_generations: Vec<String>,

    /// Accept documents whose entries give no row any more
    #[arg(long, env = "SPOTIFY_ETL_ALLOW_EMPTY")]
    pub allow_empty: bool,

    /// Send the documents to the queue that the function reads, which replays them
    #[arg(long, value_name = "URL", conflicts_with_all = ["dry_run", "format", "new_generations", "only"])]
    pub queue: Option<String>,
}

/// The database where nobody names one.
const DATABASE: &str = "spotify_etl";

/// How things are brought in.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The playlist: an id, a spotify: URI or an open.spotify.com address
    #[arg(long, value_name = "PLAYLIST", value_parser = playlist)]
    pub playlist: Option<PlaylistId>,

    /// Where the playlist's id comes from if the content has none: file names without their dates, or folders
    #[arg(long, value_name = "WHERE", value_enum, env = "SPOTIFY_ETL_PLAYLIST_FROM")]
    pub playlist_from: Option<PlaylistFromArg>,

    /// Allow files to come from the store itself, or from a place that holds it
    #[arg(long)]
    pub in_place: bool,

    /// When it was read, UTC: 2023-09-27T09:53:34Z, 20230927T095334Z or 2023-09-27
    #[arg(long, value_name = "TIME")]
    pub extracted_at: Option<ExtractedAt>,
}

/// Where ids of playlists come from if the content has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlaylistFromArg {
    /// File names without their dates
    Name,
    /// The nearest folder that is not a date
    Folder,
}

impl PlaylistFromArg {
    /// What the library calls it.
    pub fn of(given: Option<Self>) -> PlaylistFrom {
        match given {
            None => PlaylistFrom::Assumed,
            Some(PlaylistFromArg::Name) => PlaylistFrom::Name,
            Some(PlaylistFromArg::Folder) => PlaylistFrom::Folder,
        }
    }
}

/// Which times are accepted.
#[derive(Clone, Copy, Debug, Args)]
pub struct FutureArgs {
    /// Accept files with a time more than a day in the future
    #[arg(long)]
    pub allow_future: bool,
}

/// How playlists are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Extraction")]
pub struct ExtractArgs {
    /// Don't land what didn't change since it was landed last. A chart then misses that week (Monday to
    /// Sunday, UTC)
    #[arg(long, env = "SPOTIFY_ETL_IF_CHANGED")]
    pub if_changed: bool,

    /// The country whose catalogue is meant, such as FR; a user's own country wins
    #[arg(long, value_name = "COUNTRY", env = "SPOTIFY_ETL_MARKET", value_parser = market)]
    pub market: Option<String>,

    /// Entries to ask for at a time; Spotify allows 50, and some apps 100
    #[arg(
        long,
        value_name = "N",
        env = "SPOTIFY_ETL_PAGE_SIZE",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=100)
    )]
    pub page_size: u32,

    /// Ask for less: `slim`, about half of it and enough for the tables, or a filter in Spotify's own
    /// words that names items, total and next
    #[arg(long, value_name = "FILTER", env = "SPOTIFY_ETL_FIELDS", value_parser = fields)]
    pub fields: Option<String>,
}

/// A place for a login.
#[derive(Clone, Debug)]
pub struct Place(pub Arc<dyn LoginPlace>);

fn place(text: &str) -> Result<Place, String> {
    vault::login_place(text).map(Place)
}

/// Where the login is kept.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Spotify")]
pub struct LoginArgs {
    /// Where the login is kept: a file, ssm:/NAME (Systems Manager) or secretsmanager:NAME
    /// [default: spotify-etl/login.json in ~/.config]
    #[arg(long, value_name = "PLACE", env = "SPOTIFY_CREDENTIALS", value_parser = place)]
    pub credentials: Option<Place>,
}

/// Who asks Spotify, and where it is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Spotify")]
pub struct SpotifyArgs {
    #[command(flatten)]
    pub login: LoginArgs,

    /// The client id of the app
    #[arg(long, value_name = "ID", env = "SPOTIFY_CLIENT_ID")]
    pub client_id: Option<String>,

    /// A file with the app's secret, or - for standard input [env: SPOTIFY_CLIENT_SECRET holds it itself]
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: Option<PathBuf>,

    /// Ask as a user who logged in, or as the app alone, which is enough with extended quota
    /// [default: as a user if there is a login]
    #[arg(long, value_name = "WHO", env = "SPOTIFY_ETL_AUTH", value_parser = flow)]
    pub auth: Option<Flow>,

    /// Where the Web API is
    #[arg(long, value_name = "URL", env = "SPOTIFY_API_URL", default_value = API_URL)]
    pub api_url: Url,

    /// Where tokens come from
    #[arg(long, value_name = "URL", env = "SPOTIFY_ACCOUNTS_URL", default_value = ACCOUNTS_URL)]
    pub accounts_url: Url,
}

/// Formats of table files.
#[derive(Clone, Debug)]
pub struct Formats(pub Vec<Format>);

fn formats(text: &str) -> Result<Formats, String> {
    layout::formats(text).map(Formats)
}

fn day(text: &str) -> Result<Date, String> {
    let form = time::macros::format_description!("[year]-[month]-[day]");
    Date::parse(text, &form).map_err(|_| format!("`{text}` is not a day, such as 2026-07-06"))
}

/// How documents are taken to tables.
#[derive(Debug, Args)]
pub struct TransformArgs {
    /// How the files of new tables are written: csv, parquet, or csv,parquet [default: csv]. A table that
    /// is there already changes as a whole, by `replay --format`
    #[arg(long, value_name = "FORMATS", env = "SPOTIFY_ETL_FORMAT", value_parser = formats)]
    pub format: Option<Formats>,

    /// Accept documents whose entries give no row; else they wait, and each run fails
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

fn market(text: &str) -> Result<String, String> {
    let is_country = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_country
        .then(|| text.to_ascii_uppercase())
        .ok_or_else(|| format!("`{text}` is not a country of two letters (ISO 3166-1), such as FR"))
}

fn fields(text: &str) -> Result<String, String> {
    if text == "slim" {
        return Ok(SLIM_FIELDS.to_owned());
    }
    let names = outer_names(text);
    let leaves_out = text.starts_with('!');
    let missing: Vec<_> = ["items", "total", "next"]
        .into_iter()
        .filter(|word| names.contains(&word.to_string()) == leaves_out)
        .collect();
    if missing.is_empty() {
        return Ok(text.to_owned());
    }
    Err(format!(
        "without {} it can't be told whether a playlist is whole: name items, total and next, such as \
         total,next,items(added_at,item(id,name)), or use `slim`",
        missing.join(" and ")
    ))
}

/// The members that a filter names, without what is inside them.
fn outer_names(filter: &str) -> Vec<String> {
    let mut depth = 0;
    let outer: String = filter
        .chars()
        .filter(|character| {
            depth += i32::from(*character == '(') - i32::from(*character == ')');
            depth == 0
        })
        .collect();
    let name = |part: &str| {
        let name: String =
            part.trim_matches(['!', ' ', ')']).chars().take_while(|c| *c != '.').collect();
        name
    };
    outer.split(',').map(name).collect()
}

fn flow(text: &str) -> Result<Flow, String> {
    match text {
        "user" => Ok(Flow::User),
        "app" => Ok(Flow::App),
        _ => Err(format!("`{text}` is neither `user` nor `app`")),
    }
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
    fn the_version_names_the_interface() {
        assert!(VERSION.ends_with(spotify_etl::plugin::INTERFACE));
    }

    #[test]
    fn the_limits_that_are_listed_are_the_defaults() {
        let settings =
            EXAMPLES.split_whitespace().filter_map(|word| word.parse::<LimitSetting>().ok());
        let mut limits = Limits::default();
        assert_eq!(settings.map(|setting| limits.set(&setting)).count(), 23);
        assert_eq!(limits, Limits::default());
    }
}
