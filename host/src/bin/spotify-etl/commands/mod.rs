//! What each command does.

mod delete;
mod plugin;
mod spotify;
mod sql;
mod verify;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use spotify_etl::{
    config::{HOST_VERSION, Limits, cache_folder, jobs_in, memory_limit},
    document::FutureTimes,
    files::{advice, require_open_files, survive_file_size_limit},
    layout::{self, Format, Key},
    pipeline::{
        Mode, PipelineError, Progress as _, Selection, Transform, Transformed,
        active::{PluginPlace, Shelf},
        failed_start::{FailedStart, NOTHING_TRIED},
        install::install,
        jobs::Until,
        landing::{ImportMode, ImportOptions, Imported, Incoming, import, json_objects},
        listing::{Listing, ReportPages},
        publish::PublishReport,
        replay::{Change, Filter, Replay, Which, history},
        report::{
            Action, DeleteReport, Empty, ExtractReport, ImportReport, Problem, ReplayReport,
            RunReport,
        },
        runs::Runs,
        strays::strays,
        survey::Unclear,
        verify::{Effect, Start},
    },
    plugin::check_cache,
    queue::Queue,
    remedy::quoted,
    sources::files::{self, SourceError},
    status::{LoginStatus, Look, SNAPSHOT_AGE_DAYS_MAX},
    store::{Listed, Store, StoreAddress},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    args::{
        Cli, Command, Common, ImportArgs, LoginArgs, PlaylistFromArg, ReplayArgs, TransformArgs,
    },
    progress::Bar,
    render,
};
use spotify::Browser;
use sql::Form;

/// So many documents go into one message of a queue: as many as a function replays in its time.
const DOCUMENTS_A_MESSAGE: usize = 20;
/// How many runs are listed.
const RUNS_LISTED_MAX: usize = 20;

/// Does what was asked for, and says the exit status.
pub fn run(cli: Cli) -> Result<u8> {
    require_open_files()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| match advice(&error) {
        Some(advice) => anyhow!("could not start: {error} ({advice})"),
        None => error.into(),
    })?;
    let done = runtime.block_on(async {
        if let Err(error) = survive_file_size_limit() {
            tracing::debug!("SIGXFSZ is not handled: {error}");
        }
        let mut session = Session::new(cli.common).await?;
        session.future = future_times(&cli.command);
        let reported = reported(&cli.command);
        let done = session.command(cli.command).await;
        if let (Err(error), Some(command)) = (&done, reported) {
            session.keep_failed_start(command, error).await;
        }
        done
    });
    // A look-up of a name that nobody answers must not keep the program.
    runtime.shutdown_background();
    done
}

/// Returns what the reports of a command's runs call it; none of a command that leaves no report.
fn reported(command: &Command) -> Option<&'static str> {
    match command {
        Command::Run { .. } => Some("run"),
        Command::Extract { .. } => Some("extract"),
        Command::Import { dry_run: false, .. } => Some("import"),
        Command::Transform { .. } => Some("transform"),
        Command::Replay { replay } if !replay.dry_run => Some("replay"),
        _ => None,
    }
}

fn future_times(command: &Command) -> FutureTimes {
    let future = match command {
        Command::Run { future, .. }
        | Command::Import { future, .. }
        | Command::Transform { future, .. } => future,
        _ => return FutureTimes::Rejected,
    };
    if future.allow_future { FutureTimes::Allowed } else { FutureTimes::Rejected }
}

/// What a run has done.
#[derive(Default)]
struct Work {
    extracts: Vec<ExtractReport>,
    imports: Listing<ImportReport>,
    replay: Option<ReplayReport>,
    deleted: Option<DeleteReport>,
    published: Option<PublishReport>,
    transformed: Transformed,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    access: Access,
}

impl Work {
    /// Says that a part of it came to nothing.
    fn fail(&mut self, error: PipelineError) {
        self.problems.push(Problem::new(Action::Setup, error));
    }

    /// Says that nothing of it was tried.
    fn leave(&mut self, unclear: Unclear) {
        self.problems.push(Problem::new(Action::Setup, unclear));
        self.access = Access::None;
    }
}

/// What an import came to, and what the user should know besides.
struct BroughtIn {
    imported: Imported,
    warnings: Vec<String>,
}

/// Says how many files of folders were not looked at.
fn ignored(count: usize) -> Option<String> {
    let files = if count == 1 { "1 other file".to_owned() } else { format!("{count} other files") };
    (count > 0)
        .then(|| format!("{files} ignored: of a folder, only .json and .json.gz are imported"))
}

/// Whether Spotify could be asked, if it had to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Access {
    #[default]
    Given,
    None,
}

/// Another store, and the objects of it that are meant.
type Objects = (Box<dyn Store>, Vec<Listed>);

/// What paths to import name, besides files.
#[derive(Default)]
struct OtherStores {
    objects: Vec<Objects>,
    /// Objects that can't be read.
    problems: Vec<SourceError>,
    /// The paths that are no stores.
    files: Vec<PathBuf>,
}

/// What all commands share.
struct Session {
    common: Common,
    store: Box<dyn Store>,
    plugin_place: Option<Box<dyn Store>>,
    limits: Limits,
    /// Where compiled plugins are kept.
    cache: Option<PathBuf>,
    shelf: Shelf,
    now: OffsetDateTime,
    started: Instant,
    /// Whether files may have a time in the future.
    future: FutureTimes,
    run_id: String,
    /// Where the details of this run go that its report has no room for.
    pages: ReportPages,
}

impl Session {
    async fn new(common: Common) -> Result<Self> {
        let mut limits = Limits::of_process(memory_limit());
        for setting in &common.limits {
            limits.set(setting);
        }
        let cache = cache(&common);
        let now = now();
        let run_id = layout::run_id(now, std::process::id() ^ now.nanosecond());
        Ok(Session {
            store: common.store.open().await?,
            plugin_place: match &common.plugins {
                Some(place) => Some(place.open().await?),
                None => None,
            },
            shelf: Shelf::new(&limits, cache.clone()),
            limits,
            cache,
            now,
            started: Instant::now(),
            future: FutureTimes::Rejected,
            pages: ReportPages::new(run_id.clone()),
            run_id,
            common,
        })
    }

    async fn command(&self, command: Command) -> Result<u8> {
        match command {
            Command::Init { from } => self.init(from).await,
            Command::Run { playlists, from, import, extract, spotify, transform, .. } => {
                if from.is_empty() {
                    import.require_files()?;
                    self.run(&playlists, &extract, &spotify, &transform).await
                } else {
                    self.import_and_transform(&from, &import, &transform).await
                }
            }
            Command::Extract { playlists, extract, spotify } => {
                self.extract(&playlists, &extract, &spotify).await
            }
            Command::Playlist(command) => self.playlist(command).await,
            Command::Login { status: true, spotify, .. } => self.login_status(&spotify.login).await,
            Command::Login { save, paste, no_browser, redirect_uri, spotify, .. } => {
                let browser = Browser::of(paste, no_browser);
                self.login(&spotify, save, &redirect_uri, browser).await
            }
            Command::Logout { login } => self.logout(&login).await,
            Command::Doctor { playlists, spotify } => self.doctor(&playlists, &spotify).await,
            Command::Verify { repair, restart } => {
                let start = if restart { Start::Restart } else { Start::Continue };
                let effect = if repair { Effect::Repair } else { Effect::Check };
                self.verify(start, effect).await
            }
            Command::Import { paths, import, dry_run, .. } => {
                let mode = if dry_run { ImportMode::DryRun } else { ImportMode::Land };
                self.import(&paths, &import, mode).await
            }
            Command::Transform { keys, transform, .. } => self.transform(keys, &transform).await,
            Command::Replay { replay } => self.replay(&replay).await,
            Command::Delete { delete } => self.delete(&delete).await,
            Command::Status { login, exit_zero } => self.status(&login, exit_zero).await,
            Command::Query { save: Some(path), .. } => self.save(&path).await,
            Command::Query { sql, file, csv, athena, max_scan, database, athena_args, .. } => {
                let form = if csv { Form::Csv } else { Form::Table };
                let sql = sql::sentence(sql.as_deref(), file.as_deref())?;
                match athena {
                    true => self.ask_athena(&sql, form, database, &athena_args, max_scan).await,
                    false => self.query(&sql, form).await,
                }
            }
            Command::Catalog(command) => self.catalog(command).await,
            Command::Runs { run_id } => self.runs(run_id.as_deref()).await,
            Command::Explain { what } => self.explain(what).await,
            Command::Plugin(command) => self.plugin(command).await,
        }
    }

    /// Keeps a report of a run that could not start. The error itself is shown by the caller.
    async fn keep_failed_start(&self, command: &str, error: &anyhow::Error) {
        let (run_id, started_at) = (self.run_id.as_str(), self.now);
        let failed = FailedStart { run_id, command, started_at, error: render::sentence(error) };
        if let Err(error) = failed.keep(self.store()).await {
            tracing::debug!("the report of this run could not be kept: {error}");
        }
    }

    fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    fn plugins(&self) -> PluginPlace<'_> {
        match &self.plugin_place {
            Some(place) => PluginPlace { store: place.as_ref(), prefix: "" },
            None => PluginPlace { store: self.store(), prefix: layout::PLUGINS },
        }
    }

    async fn init(&self, from: Option<StoreAddress>) -> Result<u8> {
        let Some(from) = from.or_else(|| built_plugins().map(StoreAddress::Folder)) else {
            bail!(
                "no plugins were installed or built with this program: name the folder with the \
                 built ones (`spotify-etl init --from target/wasm32-wasip2/plugin`)"
            );
        };
        let from = from.open().await?;
        let place = PluginPlace { store: from.as_ref(), prefix: "" };
        let engine = self.shelf.engine()?;
        let reports = install(self.store(), place, &engine, self.now).await?;
        let refused = reports.iter().any(|report| report.problem.is_some());
        self.print(&reports, || render::installed(&self.common.store, &reports))?;
        Ok(u8::from(refused))
    }

    async fn import_and_transform(
        &self,
        paths: &[PathBuf],
        import: &ImportArgs,
        options: &TransformArgs,
    ) -> Result<u8> {
        let transform = self.transformer(options);
        transform.require_plugins().await?;
        let BroughtIn { imported, warnings } =
            self.bring_in(paths, import, ImportMode::Land).await?;
        let Imported { reports: imports, arrivals, unclear, .. } = imported;
        let mut work = Work { imports, warnings, ..Work::default() };
        if let Some(unclear) = unclear {
            work.leave(unclear);
            return self.finish("run", work).await;
        }
        self.transform_and_finish(&transform, Selection::Landed(arrivals), work).await
    }

    /// Transforms what was landed, and reports both: what was landed stays, whatever comes then.
    async fn transform_and_finish(
        &self,
        transform: &Transform<'_>,
        selection: Selection,
        mut work: Work,
    ) -> Result<u8> {
        match transform.run(&selection).await {
            Ok(transformed) => work.transformed = transformed,
            Err(error) => work.fail(error),
        }
        self.finish("run", work).await
    }

    async fn import(&self, paths: &[PathBuf], args: &ImportArgs, mode: ImportMode) -> Result<u8> {
        let BroughtIn { imported, warnings } = self.bring_in(paths, args, mode).await?;
        let Imported { reports: imports, unclear, .. } = imported;
        if mode == ImportMode::DryRun {
            let failed = imports.iter().any(|import| import.problem.is_some());
            self.print(&&imports[..], || render::dry_run(&imports, &warnings))?;
            return match unclear {
                Some(unclear) => Err(unclear.into()),
                None => Ok(u8::from(failed)),
            };
        }
        let mut work = Work { imports, warnings, ..Work::default() };
        if let Some(unclear) = unclear {
            work.leave(unclear);
        }
        self.finish("import", work).await
    }

    async fn bring_in(
        &self,
        paths: &[PathBuf],
        args: &ImportArgs,
        mode: ImportMode,
    ) -> Result<BroughtIn> {
        if !args.in_place {
            self.require_apart(paths)?;
        }
        let OtherStores { objects, problems, files: paths_of_files } =
            self.other_stores(paths).await?;
        let mut found = files::find(&paths_of_files);
        found.problems.extend(problems);
        let mut incoming: Vec<Incoming<'_>> = found.sources.iter().map(Incoming::File).collect();
        for (store, listed) in &objects {
            let object = |listed| Incoming::Object { store: store.as_ref(), listed };
            incoming.extend(listed.iter().map(object));
        }
        if incoming.is_empty() {
            let problems: Vec<_> = found.problems.iter().map(ToString::to_string).collect();
            bail!("nothing to import: {}", problems.join("; "));
        }
        let options = ImportOptions {
            playlist: args.playlist.clone(),
            extracted_at: args.extracted_at,
            playlist_from: PlaylistFromArg::of(args.playlist_from),
            mode,
            jobs: self.jobs(),
            future: self.future,
            pages: (mode == ImportMode::Land).then(|| self.pages.clone()),
        };
        let (problems, limits) = (&found.problems, &self.limits);
        let imported =
            import(self.store(), &incoming, problems, &options, limits, self.now, &Bar).await?;
        let mut warnings = imported.warnings.clone();
        warnings.extend(ignored(found.ignored));
        Ok(BroughtIn { imported, warnings })
    }

    /// What is to be brought in from buckets, and the paths that are none.
    async fn other_stores(&self, paths: &[PathBuf]) -> Result<OtherStores> {
        let mut others = OtherStores::default();
        for path in paths {
            let address = path.to_str().and_then(|text| text.parse().ok());
            let Some(StoreAddress::Bucket { bucket, prefix }) = address else {
                others.files.push(path.clone());
                continue;
            };
            // One object, or all below a prefix.
            let object = prefix.strip_suffix('/').filter(|name| files::is_imported(name));
            let (prefix, name) =
                match object.map(|name| name.rsplit_once('/').unwrap_or(("", name))) {
                    Some(("", name)) => (String::new(), Some(name)),
                    Some((above, name)) => (format!("{above}/"), Some(name)),
                    None => (prefix.clone(), None),
                };
            let store = StoreAddress::Bucket { bucket, prefix: prefix.clone() }.open().await?;
            let (mut listed, unreadable) = json_objects(store.as_ref()).await?;
            listed.retain(|listed| name.is_none_or(|name| listed.key == name));
            if name.is_none() {
                others.problems.extend(unreadable);
            }
            if listed.is_empty() {
                bail!(
                    "no JSON objects in {} (compare the prefix with `aws s3 ls`)",
                    path.display()
                );
            }
            others.objects.push((store, listed));
        }
        Ok(others)
    }

    /// Fails if what is to be brought in is in the store, or around it: it would come in again with
    /// every run.
    fn require_apart(&self, paths: &[PathBuf]) -> Result<()> {
        for path in paths {
            let address = path.to_str().and_then(|text| text.parse::<StoreAddress>().ok());
            // One file is what somebody means, wherever it is.
            let is_file = path.is_file() || path.to_str().is_some_and(files::is_imported);
            let is_apart = address.is_none_or(|address| address.is_apart_from(&self.common.store));
            if !is_apart && !is_file {
                bail!(
                    "`{}` and the store {} hold one another (bring it into another bucket, folder or prefix with --store, so that neither reads the other's files; or say --in-place)",
                    path.display(),
                    self.common.store
                );
            }
        }
        Ok(())
    }

    async fn transform(&self, keys: Vec<String>, options: &TransformArgs) -> Result<u8> {
        let selection =
            if keys.is_empty() { Selection::Waiting } else { Selection::Named(self.keys(keys)) };
        let transformed = self.transformer(options).run(&selection).await?;
        let work = Work { transformed, ..Work::default() };
        self.finish("transform", work).await
    }

    async fn replay(&self, args: &ReplayArgs) -> Result<u8> {
        self.require_store()?;
        let ReplayArgs { since, until, playlist, .. } = args;
        if let (Some(since), Some(until)) = (since, until)
            && since > until
        {
            bail!("no day is both --since {since} and --until {until} (exchange them)");
        }
        let filter = Filter { since: *since, until: *until, playlist: playlist.clone() };
        let which = Which::Matching(filter);
        if let Some(queue) = &args.queue {
            if let StoreAddress::Folder(path) = &self.common.store {
                bail!(
                    "a queue is read by a function, whose store is a bucket, and this one is the folder {} (name the bucket with --store s3://bucket)",
                    path.display()
                );
            }
            return self.replay_by_queue(queue, &which).await;
        }
        let formats = args.format.as_ref().map(|formats| formats.0.clone());
        let replay = Replay {
            which,
            plugins: args.only.clone(),
            change: match (args.new_generations.as_slice(), &formats) {
                ([], None) => Change::None,
                ([], Some(formats)) => Change::Formats(formats.clone()),
                (tables, _) => Change::Generations(tables.to_vec()),
            },
            transform: self.transformer_to(formats, empty(args.allow_empty)),
            empty: empty(args.allow_empty),
            mode: if args.dry_run { Mode::DryRun } else { Mode::Write },
        };
        let (replayed, transformed) = replay.run().await?;
        let work = Work { replay: Some(replayed), transformed, ..Work::default() };
        self.finish("replay", work).await
    }

    async fn replay_by_queue(&self, queue: &str, which: &Which) -> Result<u8> {
        let documents = history(self.store(), which).await?;
        if documents.is_empty() {
            bail!("no document of history is meant, so nothing was sent");
        }
        let queue = Queue::open(queue).await?;
        Bar.begin("send", documents.len());
        for some in documents.chunks(DOCUMENTS_A_MESSAGE) {
            let keys: Vec<&str> = some.iter().map(|(_, listed)| listed.key.as_str()).collect();
            queue.send(&serde_json::json!({ "replay": keys })).await?;
            some.iter().for_each(|_| Bar.advance());
        }
        Bar.end();
        let replay = ReplayReport {
            documents: documents.len(),
            documents_queued: documents.len(),
            ..ReplayReport::default()
        };
        let work = Work { replay: Some(replay), ..Work::default() };
        self.finish("replay", work).await
    }

    /// Keys may be typed as paths in the store's folder.
    fn keys(&self, typed: Vec<String>) -> Vec<String> {
        let root = plain(Path::new(&self.store.location("")));
        let key = |text: &String| {
            let path = plain(Path::new(text));
            Some(path.strip_prefix(&root).ok()?.to_str()?.to_owned())
        };
        typed.iter().map(|text| key(text).unwrap_or_else(|| text.clone())).collect()
    }

    fn transformer(&self, options: &TransformArgs) -> Transform<'_> {
        let formats = options.format.as_ref().map(|formats| formats.0.clone());
        self.transformer_to(formats, empty(options.allow_empty))
    }

    fn transformer_to(&self, formats: Option<Vec<Format>>, empty: Empty) -> Transform<'_> {
        Transform {
            store: self.store(),
            plugins: self.plugins(),
            shelf: &self.shelf,
            limits: self.limits.clone(),
            jobs: self.jobs(),
            formats,
            now: self.now,
            until: Until::default(),
            future: self.future,
            empty,
            pages: Some(self.pages.clone()),
            progress: &Bar,
        }
    }

    /// How many documents are worked on at a time.
    fn jobs(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let fitting = memory_limit().and_then(|bytes| usize::try_from(jobs_in(bytes)).ok());
        let most = fitting.unwrap_or(usize::MAX);
        self.common.jobs.map_or_else(|| processors().min(most), usize::from)
    }

    fn require_store(&self) -> Result<()> {
        match &self.common.store {
            StoreAddress::Folder(path) if !path.is_dir() => {
                let (place, store) = (path.display(), quoted(&path.to_string_lossy()));
                bail!("no store in {place} (make one: spotify-etl init --store {store})");
            }
            // One that isn't there says so itself.
            _ => Ok(()),
        }
    }

    /// Keeps the report of a run, and prints it.
    async fn finish(&self, command: &str, work: Work) -> Result<u8> {
        let Work {
            extracts,
            imports,
            replay,
            deleted,
            published,
            transformed,
            mut problems,
            access,
            mut warnings,
        } = work;
        warnings.extend(transformed.warnings);
        problems.extend(transformed.problems);
        let mut report = RunReport {
            run_id: self.run_id.clone(),
            command: command.to_owned(),
            store: self.store.location(""),
            host_version: HOST_VERSION.to_owned(),
            started_at: self.now.truncate_to_second().format(&Rfc3339)?,
            milliseconds: u64::try_from(self.started.elapsed().as_millis())?,
            exit_status: 0,
            extracts,
            replay,
            deleted,
            published,
            plugins: transformed.plugins,
            problems,
            warnings,
            ..RunReport::default()
        };
        report.add_imports(imports);
        report.add_documents(transformed.documents);
        report.exit_status = match access {
            Access::Given => report.judge(),
            Access::None => NOTHING_TRIED,
        };
        let key = Key::Run { run_id: report.run_id.clone() }.to_string();
        let bytes = serde_json::to_vec_pretty(&report)?;
        let is_dry_run = report.replay.as_ref().is_some_and(|replay| replay.dry_run)
            || report.deleted.as_ref().is_some_and(|deleted| deleted.dry_run);
        if is_dry_run {
            self.print(&report, || render::run(&report, None))?;
            return Ok(report.exit_status);
        }
        let kept = self.store.put_new(&key, &bytes).await;
        let location = kept.is_ok().then(|| self.store.location(&key));
        self.print(&report, || render::run(&report, location.as_deref()))?;
        match kept {
            Ok(_) => Ok(report.exit_status),
            Err(error) => {
                let error = anyhow::Error::new(error).context("the report could not be kept");
                render::error(&error);
                Ok(1)
            }
        }
    }

    async fn status(&self, login: &LoginArgs, exit_zero: bool) -> Result<u8> {
        self.require_store()?;
        // A login that can't be read is the doctor's affair.
        let login = match spotify::login_place(login) {
            Some(place) => LoginStatus::of(place.as_ref(), self.now).await.ok().flatten(),
            None => None,
        };
        let look = Look {
            store: self.store(),
            plugins: self.plugins(),
            shelf: &self.shelf,
            login,
            age_days_max: SNAPSHOT_AGE_DAYS_MAX,
            now: self.now,
        };
        let mut status = look.status().await?;
        status.add_strays(strays(self.store()).await?);
        self.print(&status, || render::status(&status, &self.common.store))?;
        Ok(u8::from(!status.attention.is_empty() && !exit_zero))
    }

    async fn runs(&self, run_id: Option<&str>) -> Result<u8> {
        self.require_store()?;
        let runs = Runs::of(self.store()).await?;
        let Some(run_id) = run_id else {
            let runs = runs.summaries(RUNS_LISTED_MAX).await?;
            self.print(&runs, || render::runs(&runs))?;
            return Ok(0);
        };
        let report = match run_id {
            "last" => runs.last_report().await?,
            run_id => runs.report(run_id).await?,
        };
        let location = self.store.location(layout::RUNS);
        let report = report.with_context(|| {
            format!("no run `{run_id}` in {location} (`spotify-etl runs` lists them)")
        })?;
        let location = self.store.location(&Key::Run { run_id: report.run_id.clone() }.to_string());
        self.print(&report, || render::run(&report, Some(&location)))?;
        Ok(0)
    }

    /// Prints a report: as JSON for scripts, else as text.
    fn print<T: Serialize>(&self, report: &T, text: impl FnOnce() -> String) -> Result<()> {
        let printed = if self.common.json {
            render::json(&serde_json::to_string_pretty(report)?)
        } else {
            render::data(&text())
        };
        printed.context("could not write to standard output")
    }
}

impl ImportArgs {
    /// Fails if something is said of files, and there are none.
    fn require_files(&self) -> Result<()> {
        if self.playlist.is_some() || self.extracted_at.is_some() || self.playlist_from.is_some() {
            bail!(
                "--playlist and --extracted-at are about files, and --from names none (a playlist of Spotify's is named without a flag: spotify-etl run PLAYLIST)"
            );
        }
        Ok(())
    }
}

/// Returns a path without links and dots. Its last parts need not be there: what was deleted is still named.
fn plain(path: &Path) -> PathBuf {
    let is_above = |above: &&Path| !above.as_os_str().is_empty();
    let whole = path.ancestors().take_while(is_above).find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        let whole = above.canonicalize().ok()?;
        // Joining nothing would add a slash.
        Some(if rest.as_os_str().is_empty() { whole } else { whole.join(rest) })
    });
    whole.unwrap_or_else(|| path.strip_prefix(".").unwrap_or(path).to_owned())
}

fn empty(allow_empty: bool) -> Empty {
    if allow_empty { Empty::Allowed } else { Empty::Fails }
}

#[expect(clippy::disallowed_methods, reason = "the one place where time enters")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// The folder for compiled plugins.
fn cache(common: &Common) -> Option<PathBuf> {
    match &common.cache_dir {
        Some(folder) if folder.as_os_str() == "none" => None,
        Some(folder) => std::path::absolute(folder).ok(),
        None => cache_folder().filter(|folder| {
            // This folder was not asked for, so the program can do without it.
            let checked = check_cache(folder);
            if let Err(error) = &checked {
                tracing::warn!("compiled plugins are not kept: {error}");
            }
            checked.is_ok()
        }),
    }
}

/// The plugins that were installed, or built, with this program.
fn built_plugins() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let above = program.parent()?.parent()?;
    let places = ["share/spotify-etl/plugins", "wasm32-wasip2/plugin"];
    places.map(|place| above.join(place)).into_iter().find(|place| place.is_dir())
}
