//! The Lambda function: takes events from Lambda's runtime and hands them to the library. What is
//! set is set by the environment, with the names that the command has.

use std::{
    num::NonZero,
    panic::{self, PanicHookInfo},
    path::PathBuf,
    pin::pin,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use async_trait::async_trait;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use spotify_etl::{
    athena::{Athena, AthenaSettings},
    aws::SDK_TARGETS,
    catalog::DatabaseName,
    config::{self, Limits, jobs_in, variable},
    files::survive_file_size_limit,
    function::{Catalog, Failure, Function, Invocation},
    layout::{self, formats},
    pipeline::{
        active::Shelf, cataloging::Place, extract::Condition, failed_start::FailedStart,
        loads::LoadRecords, report::Empty,
    },
    plugin::check_cache,
    spotify::{
        ACCOUNTS_URL, API_URL, Clock, Given, LoginPlace, SLIM_FIELDS, Settings, Url, source,
    },
    status::SNAPSHOT_AGE_DAYS_MAX,
    store::StoreAddress,
    topic::Topic,
    vault,
};
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;
use tracing_subscriber::{
    Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// Quicker than the system's where several threads take and give back much.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The only folder that a function can write to.
const CACHE: &str = "/tmp/spotify-etl";
/// Lambda gives no function more time than this.
const INVOCATION_MAX: Duration = Duration::from_secs(900);
/// What it takes to send an answer off.
const ANSWER_TAKES: Duration = Duration::from_millis(50);
/// How long the report of a function that could not start may take: Lambda gives 10 seconds for all of the start.
const KEEPING_MAX: Duration = Duration::from_secs(5);
/// As much as Spotify gives at a time.
const PAGE_ENTRIES: u32 = 50;

struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where time enters")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn main() -> ExitCode {
    let level = set("SPOTIFY_ETL_LOG", |text| text.parse().ok()).ok().flatten();
    let level = level.unwrap_or(Level::INFO);
    // What libraries trace has secrets in it.
    let shown = Targets::new().with_target("spotify_etl", level).with_target("bootstrap", level);
    let shown = shown.with_default(level.min(Level::DEBUG)).with_target(SDK_TARGETS, Level::ERROR);
    let log = fmt::layer().json().with_target(false).without_time();
    tracing_subscriber::registry().with(log.with_filter(shown)).init();
    panic::set_hook(Box::new(log_panic));
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Logs a panic as everything else is logged, a line of JSON. What it says is cut: it may quote what came from
/// outside.
fn log_panic(panic: &PanicHookInfo<'_>) {
    const CHARACTERS_MAX: usize = 500;
    let message: String =
        panic.payload_as_str().unwrap_or("no message").chars().take(CHARACTERS_MAX).collect();
    let at = panic.location().map(ToString::to_string);
    let thread = thread::current().name().map(str::to_owned);
    tracing::error!(at, thread, "a panic inside the function: {message}");
}

fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Err(error) = survive_file_size_limit() {
            tracing::debug!("SIGXFSZ is not handled: {error}");
        }
        let function = match function().await {
            Ok(function) => function,
            Err(error) => {
                keep_failed_start(&error).await;
                return Err(error);
            }
        };
        // One that only asks Spotify needs no plugins, and may have no right to them.
        if set("SPOTIFY_ETL_LOAD_AHEAD", flag)?.unwrap_or(true) {
            function.warm_up().await;
        }
        let (function, is_busy) = (&function, &AtomicBool::new(false));
        let handler = move |event: LambdaEvent<Value>| async move {
            is_busy.store(true, Ordering::Relaxed);
            let _free = Free(is_busy);
            answer(function, event).await
        };
        let mut running = pin!(lambda_runtime::run(service_fn(handler)));
        let mut told_to_end = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = &mut running => return ended.map_err(anyhow::Error::from_boxed),
            _ = told_to_end.recv() => {}
        }
        tracing::info!("told to end: no further document is begun");
        function.is_ending.store(true, Ordering::Relaxed);
        // What is under way comes to its end, and its answer to whoever waits for it.
        let mut was_busy = true;
        while was_busy || is_busy.load(Ordering::Relaxed) {
            was_busy = is_busy.load(Ordering::Relaxed);
            if let Ok(ended) = tokio::time::timeout(ANSWER_TAKES, &mut running).await {
                return ended.map_err(anyhow::Error::from_boxed);
            }
        }
        Ok(())
    })
}

/// Says that nothing is under way any more, however that came.
struct Free<'b>(&'b AtomicBool);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// What is done before the first event: settings read, the store found, plugins looked for.
async fn function() -> Result<Function> {
    let memory = set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", |text| text.parse::<u64>().ok())?;
    let mut limits = memory.map_or_else(Limits::default, |mib| Limits::of_function(mib << 20));
    for setting in text("SPOTIFY_ETL_LIMIT")?.iter().flat_map(|all| all.split(',')) {
        let setting =
            setting.parse().map_err(|error| anyhow::anyhow!("SPOTIFY_ETL_LIMIT: {error}"))?;
        limits.set(&setting);
    }
    let address = text("SPOTIFY_ETL_STORE")?;
    let address =
        address.context("SPOTIFY_ETL_STORE is not set (name the bucket: s3://bucket/prefix)")?;
    let address: StoreAddress = address.parse().map_err(anyhow::Error::msg)?;
    let url = |name, default: &str| -> Result<Url> {
        let url = set(name, |text| Url::parse(text).ok())?;
        Ok(url.map_or_else(|| Url::parse(default), Ok)?)
    };
    let settings = Settings {
        api_url: url("SPOTIFY_API_URL", API_URL)?,
        accounts_url: url("SPOTIFY_ACCOUNTS_URL", ACCOUNTS_URL)?,
        page_entries: set("SPOTIFY_ETL_PAGE_SIZE", |text| text.parse().ok())?
            .unwrap_or(PAGE_ENTRIES),
        market: text("SPOTIFY_ETL_MARKET")?,
        fields: text("SPOTIFY_ETL_FIELDS")?.map(|fields| match fields.as_str() {
            "slim" => SLIM_FIELDS.to_owned(),
            _ => fields,
        }),
        limits: limits.clone(),
    };
    let login_place = text("SPOTIFY_CREDENTIALS")?.map(|place| vault::login_place(&place));
    let login_place =
        login_place.transpose().map_err(|error| anyhow::anyhow!("SPOTIFY_CREDENTIALS: {error}"))?;
    let credentials = source(Given {
        client_id: text("SPOTIFY_CLIENT_ID")?,
        client_secret: config::secret("SPOTIFY_CLIENT_SECRET"),
        refresh_token: config::secret("SPOTIFY_REFRESH_TOKEN"),
        login: login_place.clone(),
        flow: None,
    });
    let is_login = |place: &Arc<dyn LoginPlace>| {
        credentials.as_ref().is_ok_and(|source| source.name() == place.name())
    };
    let login = login_place.filter(is_login);
    let is_set = |name| Ok::<_, anyhow::Error>(set(name, flag)?.unwrap_or_default());
    let if_changed = is_set("SPOTIFY_ETL_IF_CHANGED")?;
    let allow_empty = is_set("SPOTIFY_ETL_ALLOW_EMPTY")?;
    let jobs = set("SPOTIFY_ETL_JOBS", |text| text.parse::<NonZero<usize>>().ok())?;
    Ok(Function {
        store: address.open().await?,
        catalog: catalog(&address, &limits).await?,
        address,
        shelf: Shelf::new(&limits, cache())
            .with_shipped(shipped()?)
            .with_records(LoadRecords { now }),
        limits,
        jobs: jobs.map_or_else(|| jobs_for(memory), NonZero::get),
        formats: set("SPOTIFY_ETL_FORMAT", |text| formats(text).ok())?,
        empty: if allow_empty { Empty::Allowed } else { Empty::Fails },
        settings,
        credentials,
        login,
        condition: if if_changed { Condition::IfChanged } else { Condition::Always },
        age_days_max: set("SPOTIFY_ETL_AGE_DAYS", |text| text.parse().ok())?
            .unwrap_or(SNAPSHOT_AGE_DAYS_MAX),
        topic: topic().await?,
        clock: Arc::new(SystemClock),
        is_ending: Arc::default(),
        unfinished: tokio::sync::Mutex::default(),
    })
}

/// Keeps a report of a function that could not start, if its store can be written.
async fn keep_failed_start(error: &anyhow::Error) {
    let Ok(Some(Ok(address))) = text("SPOTIFY_ETL_STORE").map(|text| text.map(|text| text.parse()))
    else {
        return;
    };
    let address: StoreAddress = address;
    let now = now();
    let run_id = layout::run_id(now, std::process::id() ^ now.nanosecond());
    let keeping = async {
        let failed = FailedStart {
            run_id: &run_id,
            command: "start",
            started_at: now,
            error: format!("{error:#}"),
        };
        failed.keep(address.open().await?.as_ref()).await
    };
    match tokio::time::timeout(KEEPING_MAX, keeping).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!("the report of this failure could not be kept: {error}"),
        Err(_) => tracing::warn!("there was no time to keep the report of this failure"),
    }
}

/// How many documents are worked on at a time: as many as there are processors, and memory for them.
fn jobs_for(memory_mebibytes: Option<u64>) -> usize {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let fitting = memory_mebibytes.and_then(|mib| usize::try_from(jobs_in(mib << 20)).ok());
    processors.min(fitting.unwrap_or(usize::MAX))
}

/// Where people are told, if somewhere.
async fn topic() -> Result<Option<Topic>> {
    match text("SPOTIFY_ETL_TOPIC")? {
        Some(arn) => Ok(Some(Topic::open(&arn).await?)),
        None => Ok(None),
    }
}

/// Where the tables are had in SQL, if a database is named.
async fn catalog(address: &StoreAddress, limits: &Limits) -> Result<Option<Catalog>> {
    let Some(database) = text("SPOTIFY_ETL_DATABASE")? else { return Ok(None) };
    let database = database.parse::<DatabaseName>()?;
    let settings = AthenaSettings {
        workgroup: text("SPOTIFY_ETL_WORKGROUP")?,
        output: text("SPOTIFY_ETL_QUERY_OUTPUT")?,
        database: None,
        scan_bytes_max: None,
        patience: Duration::from_secs(limits.query_seconds),
    };
    let location = format!("{}/", address.to_string().trim_end_matches('/'));
    let place = Place { database, location };
    Ok(Some(Catalog { athena: Athena::open(settings).await?, place }))
}

/// The folder for plugins that this function compiles, if it can be used.
fn cache() -> Option<PathBuf> {
    let folder = PathBuf::from(CACHE);
    match check_cache(&folder) {
        Ok(()) => Some(folder),
        Err(error) => {
            tracing::warn!("compiled plugins are not kept: {error}");
            None
        }
    }
}

/// The folder with compiled plugins that lies beside this program.
fn shipped() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("compiled"))
}

async fn answer(function: &Function, event: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    let LambdaEvent { payload, context } = event;
    let now = function.clock.now();
    let now_milliseconds =
        u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    // An emulator may say anything; a moment that is over was not meant.
    let left = context.deadline.checked_sub(now_milliseconds);
    let left = left.map_or(INVOCATION_MAX, Duration::from_millis);
    // Told apart by the request, so that a second try doesn't hide the first one's report.
    let distinct = context
        .request_id
        .bytes()
        .fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let run_id = layout::run_id(now, distinct ^ now.nanosecond());
    let invocation = Invocation::new(run_id, Instant::now() + left);
    match function.handle(&payload, &invocation).await {
        Ok(outcome) => {
            log(&outcome.metrics);
            Ok(outcome.answer)
        }
        Err(Failure { error_type, message, metrics }) => {
            log(&metrics);
            Err(Diagnostic { error_type, error_message: message })
        }
    }
}

/// Metrics are lines of their own on standard output, which CloudWatch reads.
#[expect(clippy::print_stdout, reason = "where CloudWatch reads metrics")]
fn log(metrics: &[Value]) {
    for line in metrics {
        println!("{line}");
    }
}

/// A variable that is set to something.
fn text(name: &str) -> Result<Option<String>> {
    set(name, |text| Some(text.to_owned()))
}

fn set<T>(name: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
    let Some(value) = variable(name) else { return Ok(None) };
    let value = value.to_str().and_then(&read);
    value.map(Some).with_context(|| format!("{name} is set to something it can't be"))
}

fn flag(text: &str) -> Option<bool> {
    text.parse().ok()
}
