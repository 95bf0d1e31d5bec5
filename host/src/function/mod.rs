//! What a function does when it is woken: from an event to the pipeline, and from its report to an
//! answer that says what should be tried again.

mod trouble;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::Mutex;
use tracing::Instrument;

use crate::{
    athena::Athena,
    config::{HOST_VERSION, Limits},
    doctor::LOGIN_DAYS_LOW,
    document::{FutureTimes, PlaylistId},
    event::{Checked, Created, Event, Message, UnknownEvent},
    layout::{self, Format, Key, Stage},
    metrics,
    pipeline::{
        Arrival, Mode, PipelineError, Progress, Selection, Transform,
        active::{PluginPlace, Shelf, choose, load_ahead},
        cataloging::{Place, apply, is_applied},
        extract::{Condition, Extract},
        failed_start::NOTHING_TRIED,
        jobs::Until,
        listing::{REPORT_BYTES_MAX, ReportPages},
        playlists::{ListedPlaylist, meant, playlists},
        records::Records,
        replay::{Change, Filter, Replay, Which},
        report::{Action, DocumentReport, Empty, ExtractReport, PluginReport, Problem, RunReport},
    },
    remedy::Remedies,
    spotify::{
        Clock, CredentialError, CredentialSource, LoginPlace, Settings, Spotify, login_command,
    },
    status::{LoginStatus, Look, PlaylistStatus, Status},
    store::{Store, StoreAddress, StoreError, list_all},
    topic::Topic,
};
use trouble::{is_told, notice, troubles, unlisted};

/// What it takes to write the report and to tell people, which must not be cut off.
const REPORT_TAKES: Duration = Duration::from_secs(8);
/// How long the report may take of that.
const KEEPING_TAKES: Duration = Duration::from_secs(4);
/// How long the topic may take of that.
const TELLING_TAKES: Duration = Duration::from_secs(3);
/// How many problems an answer names; Lambda sends no more than 6 MB.
const PROBLEMS_ANSWERED_MAX: usize = 100;
/// What goes on for days is told of on the first of them, and then every so many.
const REMINDED_DAYS: i64 = 7;

/// A function that stays, and is woken again and again.
pub struct Function {
    /// Where the store is.
    pub address: StoreAddress,
    /// The store.
    pub store: Box<dyn Store>,
    /// The plugins that are loaded.
    pub shelf: Shelf,
    /// The limits.
    pub limits: Limits,
    /// How many documents are worked on at a time.
    pub jobs: usize,
    /// How the files of new tables are written, if somebody said so.
    pub formats: Option<Vec<Format>>,
    /// What it means that a document gave no row.
    pub empty: Empty,
    /// How Spotify is asked.
    pub settings: Settings,
    /// With which credentials, or why with none.
    pub credentials: Result<Arc<dyn CredentialSource>, CredentialError>,
    /// Where the login is kept that these are, if they are one.
    pub login: Option<Arc<dyn LoginPlace>>,
    /// Where the tables are had in SQL, if they are.
    pub catalog: Option<Catalog>,
    /// When a playlist is landed.
    pub condition: Condition,
    /// How old a playlist's last snapshot may be, in days.
    pub age_days_max: i64,
    /// Where people are told of what goes wrong.
    pub topic: Option<Topic>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether it was told to end: then no further document is begun.
    pub is_ending: Arc<AtomicBool>,
    /// Spotify as it was asked last, if that left a refresh token that could not be kept.
    pub unfinished: Mutex<Option<Spotify>>,
}

/// Where the tables are had in SQL.
pub struct Catalog {
    /// Athena.
    pub athena: Athena,
    /// The database, and where it finds the store.
    pub place: Place,
}

/// One time that it is woken.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its name among the runs.
    run_id: String,
    /// When it must be over.
    until: Instant,
    /// Where the details go that its report has no room for.
    pages: ReportPages,
}

impl Invocation {
    /// One with a name among the runs, that must be over by a time.
    pub fn new(run_id: String, until: Instant) -> Self {
        Invocation { pages: ReportPages::new(run_id.clone()), run_id, until }
    }

    /// When there is just time left for the report.
    fn work_ends(&self) -> Instant {
        self.until.checked_sub(REPORT_TAKES).unwrap_or(self.until)
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What the caller is told.
    pub answer: Value,
    /// Metrics, to be logged.
    pub metrics: Vec<Value>,
}

/// Why an invocation fails. Who called tries again.
#[derive(Debug)]
pub struct Failure {
    /// The kind, for alarms to go by.
    pub error_type: String,
    /// In words.
    pub message: String,
    /// Metrics, to be logged.
    pub metrics: Vec<Value>,
}

/// What a check found.
#[derive(Default)]
struct Found {
    metrics: Vec<Value>,
    status: Option<Status>,
    login: Option<LoginStatus>,
}

struct Nobody;

impl Progress for Nobody {
    fn begin(&self, _: &'static str, _: usize) {}
    fn expect(&self, _: usize) {}
    fn advance(&self) {}
    fn end(&self) {}
}

impl Function {
    /// Gets ready for the first event: loads the plugins, as far as that can be done now. What can't
    /// will be said when an event needs it.
    pub async fn warm_up(&self) {
        if let Err(error) = load_ahead(self.plugins(), &self.shelf).await {
            tracing::debug!("no plugins were loaded ahead: {error}");
        }
    }

    /// Does what an event asks for.
    ///
    /// # Errors
    ///
    /// What should be tried again, or be looked at.
    pub async fn handle(&self, event: &Value, invocation: &Invocation) -> Result<Outcome, Failure> {
        let event = Event::read(event).map_err(Failure::of_event)?;
        let span = tracing::info_span!("run", run_id = invocation.run_id);
        // Boxed, as futures within futures grow beyond what the compiler follows.
        Box::pin(self.work(&event, invocation)).instrument(span).await
    }

    async fn work(&self, event: &Event, invocation: &Invocation) -> Result<Outcome, Failure> {
        let mut report = self.blank(event, invocation);
        let mut found = Found::default();
        self.shelf.set_end(Some(invocation.work_ends()));
        match event {
            Event::Extract { playlists, scheduled_at } => {
                self.extract(playlists, *scheduled_at, invocation, &mut report).await;
            }
            Event::Created { objects, replays, unread } => {
                report.problems.extend(unread.iter().map(|one| Problem::of_setup(&one.error)));
                if !objects.is_empty() || replays.is_empty() {
                    self.look_at(objects, invocation, &mut report).await;
                }
                if !replays.is_empty() {
                    let keys = replays.iter().map(|replayed| replayed.key.clone()).collect();
                    self.replay(Which::Keys(keys), invocation, &mut report).await;
                }
            }
            Event::Transform { keys } if keys.is_empty() => {
                self.transform(&Selection::Waiting, invocation, &mut report).await;
            }
            Event::Transform { keys } => {
                let selection = Selection::Named(keys.clone());
                self.transform(&selection, invocation, &mut report).await;
            }
            Event::Replay { keys } if keys.is_empty() => {
                let which = Which::Matching(Filter::default());
                self.replay(which, invocation, &mut report).await;
            }
            Event::Replay { keys } => {
                self.replay(Which::Keys(keys.clone()), invocation, &mut report).await;
                let meant = report.replay.as_ref().map_or(0, |replay| replay.documents);
                if meant < keys.len() && report.problems.is_empty() {
                    let message = format!(
                        "{meant} of {} documents were found: name them by key, as raw_data/processed/PLAYLIST/....json",
                        keys.len()
                    );
                    report.problems.push(Problem::of_setup(message));
                }
            }
            Event::Check(checked) => {
                let wants = |what| checked.is_empty() || checked.contains(&what);
                if wants(Checked::Store) {
                    self.check_store(invocation, &mut report, &mut found).await;
                }
                if wants(Checked::Login) {
                    self.check_login(invocation, &mut report, &mut found).await;
                }
            }
        }
        self.finish(event, report, found).await
    }

    fn blank(&self, event: &Event, invocation: &Invocation) -> RunReport {
        let now = self.clock.now();
        RunReport {
            run_id: invocation.run_id.clone(),
            command: match event {
                Event::Extract { .. } => "extract",
                Event::Created { objects, replays, .. }
                    if objects.is_empty() && !replays.is_empty() =>
                {
                    "replay"
                }
                Event::Created { .. } | Event::Transform { .. } => "transform",
                Event::Replay { .. } => "replay",
                Event::Check(_) => "check",
            }
            .to_owned(),
            store: self.store.location(""),
            host_version: HOST_VERSION.to_owned(),
            started_at: now.truncate_to_second().format(&Rfc3339).unwrap_or_default(),
            ..RunReport::default()
        }
    }

    async fn extract(
        &self,
        names: &[String],
        scheduled_at: Option<OffsetDateTime>,
        invocation: &Invocation,
        report: &mut RunReport,
    ) {
        let extracted = async {
            let playlists = self.playlists(names).await?;
            let mut unfinished = self.unfinished.lock().await;
            let spotify = unfinished.take().map_or_else(|| self.spotify(), Ok)?;
            let extract = Extract {
                store: self.store.as_ref(),
                spotify: &spotify,
                condition: self.condition,
                scheduled_at,
                limits: self.limits.clone(),
                now: self.clock.now(),
                until: Some(invocation.work_ends()),
                progress: &Nobody,
            };
            let extracted = extract.run(&playlists).await;
            if spotify.problem().await.is_some() {
                *unfinished = Some(spotify);
            }
            extracted.map_err(Problem::of_pipeline)
        };
        match extracted.await {
            Ok(extraction) => {
                report.extracts = extraction.extracts;
                report.problems = extraction.problems;
            }
            Err(problem) => report.problems.push(problem),
        }
    }

    /// Spotify afresh: a token of the last invocation is of no use to the next, a week later.
    fn spotify(&self) -> Result<Spotify, Problem> {
        let source = self.credentials.as_ref().map_err(Problem::of_setup)?;
        let (settings, source) = (self.settings.clone(), Arc::clone(source));
        Spotify::new(settings, source, Arc::clone(&self.clock)).map_err(Problem::of_setup)
    }

    async fn playlists(&self, names: &[String]) -> Result<Vec<ListedPlaylist>, Problem> {
        let list = playlists(self.store.as_ref()).await.map_err(Problem::of_setup)?;
        let found = meant(list, names, |name| {
            let id = PlaylistId::from_reference(name);
            id.ok_or_else(|| Problem::of_setup(format!("`{name}` is no playlist")))
        })?;
        if found.is_empty() {
            let message = "no playlist to extract (list some: spotify-etl playlist add --store STORE ADDRESS; or name them: {\"extract\": [...]})";
            return Err(Problem::of_setup(message));
        }
        Ok(found)
    }

    /// Transforms documents, and checks plugins; a good plugin is followed by all that waits.
    async fn look_at(&self, created: &[Created], invocation: &Invocation, report: &mut RunReport) {
        let mut plugins = Vec::new();
        let mut documents = Vec::new();
        for created in created {
            let Some(key) = self.own_key(created) else {
                tracing::warn!("not of this store: s3://{}/{}", created.bucket, created.key);
                continue;
            };
            match key.parse() {
                Ok(Key::Plugin { name }) => plugins.push(name),
                Ok(
                    Key::Raw { stage: Stage::ToProcess, .. }
                    | Key::Foreign { stage: Stage::ToProcess, .. },
                ) => documents.push(Arrival { key, size: created.size }),
                _ => tracing::info!("nothing to do about {key}"),
            }
        }
        let mut selection = Selection::Landed(documents);
        let mut checked = Vec::new();
        if !plugins.is_empty() {
            match self.check_plugins(&plugins).await {
                Ok(reports) => checked = reports,
                Err(error) => report.problems.push(Problem::of_pipeline(error)),
            }
            selection = Selection::Waiting;
        }
        self.transform(&selection, invocation, report).await;
        // With nothing to transform, nobody else says how they are, nor gives their tables a record.
        if report.plugins.is_empty() && !plugins.is_empty() {
            report.plugins = checked;
            self.adopt(invocation, report).await;
        }
    }

    /// Lets new plugins have their tables, and Athena know of them, before there is a row.
    async fn adopt(&self, invocation: &Invocation, report: &mut RunReport) {
        match self.transformer(invocation).adopt().await {
            Ok(_) => report.problems.extend(self.check_catalog(invocation).await.err()),
            Err(error) => report.problems.push(Problem::of_pipeline(error)),
        }
    }

    /// The key in this store of an object that was created, if it is in this store.
    fn own_key(&self, created: &Created) -> Option<String> {
        let StoreAddress::Bucket { bucket, prefix } = &self.address else { return None };
        let key = created.key.strip_prefix(prefix.as_str())?;
        (created.bucket == *bucket).then(|| key.to_owned())
    }

    /// The messages of a queue, those that can be read by the key in this store that each brought; none if no
    /// queue did.
    fn messages(&self, event: &Event) -> Option<Messages> {
        let Event::Created { objects, replays, unread } = event else { return None };
        let is_queue = !replays.is_empty() || objects.iter().any(|one| one.message.is_some());
        let brought = objects
            .iter()
            .filter_map(|created| Some((self.own_key(created)?, created.message.clone()?)))
            .chain(replays.iter().map(|one| (one.key.clone(), one.message.clone())));
        let unread: Vec<Message> = unread.iter().filter_map(|one| one.message.clone()).collect();
        (is_queue || !unread.is_empty()).then(|| Messages { by_key: brought.collect(), unread })
    }

    /// Says beside each plugin what is wrong with it, or takes that away.
    async fn check_plugins(&self, names: &[String]) -> Result<Vec<PluginReport>, PipelineError> {
        let store = self.store.as_ref();
        let mut reports = choose(&Records::of(store), self.plugins(), &self.shelf).await?.reports;
        reports.retain(|report| names.contains(&report.name));
        self.note_plugins(&reports).await?;
        Ok(reports)
    }

    /// Deletes what is said beside plugins that are gone, or that are good by now.
    async fn forget_plugins(&self, reports: &[PluginReport]) -> Result<(), StoreError> {
        let store = self.store.as_ref();
        for listed in list_all(store, layout::PLUGINS).await? {
            let Ok(Key::PluginError { name }) = listed.key.parse() else { continue };
            let is_wrong = |report: &PluginReport| report.name == name && report.problem.is_some();
            if !reports.iter().any(is_wrong)
                && let Some(object) = store.get(&listed.key).await?
            {
                store.delete_if(&listed.key, &object.tag()).await?;
            }
        }
        Ok(())
    }

    async fn note_plugins(&self, reports: &[PluginReport]) -> Result<(), StoreError> {
        let store = self.store.as_ref();
        for report in reports {
            let key = Key::PluginError { name: report.name.clone() }.to_string();
            match &report.problem {
                Some(problem) => {
                    let text = json!({
                        "plugin": report.name,
                        "sha256": report.refused_sha256.as_ref().unwrap_or(&report.sha256),
                        "problem": problem.message,
                        "used_instead": report.refused_sha256.as_ref().and(report.version.as_ref()),
                        "host_version": HOST_VERSION,
                    });
                    let mut bytes = serde_json::to_vec_pretty(&text).unwrap_or_default();
                    bytes.push(b'\n');
                    store.put(&key, &bytes).await?;
                }
                None => {
                    if let Some(object) = store.get(&key).await? {
                        store.delete_if(&key, &object.tag()).await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn plugins(&self) -> PluginPlace<'_> {
        PluginPlace { store: self.store.as_ref(), prefix: layout::PLUGINS }
    }

    async fn transform(
        &self,
        selection: &Selection,
        invocation: &Invocation,
        report: &mut RunReport,
    ) {
        match self.transformer(invocation).run(selection).await {
            Ok(transformed) => {
                report.plugins = transformed.plugins;
                for warning in &transformed.warnings {
                    tracing::warn!("{warning}");
                }
                report.problems.extend(transformed.problems);
                report.add_documents(transformed.documents);
                // Whoever runs this command somewhere else may have changed a table, too.
                report.problems.extend(self.check_catalog(invocation).await.err());
            }
            Err(error) => report.problems.push(Problem::of_pipeline(error)),
        }
    }

    fn transformer(&self, invocation: &Invocation) -> Transform<'_> {
        let until = invocation.work_ends();
        Transform {
            store: self.store.as_ref(),
            plugins: self.plugins(),
            shelf: &self.shelf,
            limits: self.limits.clone(),
            jobs: self.jobs,
            formats: self.formats.clone(),
            now: self.clock.now(),
            until: Until { at: Some(until), is_ending: Arc::clone(&self.is_ending) },
            future: FutureTimes::Rejected,
            empty: self.empty,
            pages: Some(invocation.pages.clone()),
            progress: &Nobody,
        }
    }

    /// Takes documents of history to their tables again.
    async fn replay(&self, which: Which, invocation: &Invocation, report: &mut RunReport) {
        let replay = Replay {
            transform: self.transformer(invocation),
            which,
            plugins: Vec::new(),
            change: Change::None,
            empty: self.empty,
            mode: Mode::Write,
        };
        match replay.run().await {
            Ok((replayed, transformed)) => {
                report.replay = Some(replayed);
                report.plugins = transformed.plugins;
                report.problems.extend(transformed.problems);
                report.add_documents(transformed.documents);
                report.problems.extend(self.check_catalog(invocation).await.err());
            }
            Err(error) => report.problems.push(Problem::of_pipeline(error)),
        }
    }

    /// Makes Athena's catalog like the tables. If that fails, the daily check does it: what brought a
    /// change about need not be brought again.
    async fn have_catalog(&self, invocation: &Invocation) -> Result<(), Problem> {
        let Some(Catalog { athena, place }) = &self.catalog else { return Ok(()) };
        let applied = apply(self.store.as_ref(), athena, place);
        match tokio::time::timeout_at(invocation.work_ends().into(), applied).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Problem::of_setup(format!(
                "the tables changed, and Athena's catalog did not follow: {error}; the daily check tries again"
            ))),
            Err(_) => Err(Problem::of_setup(
                "the tables changed, and there was no time left for Athena's catalog; the daily check makes it",
            )),
        }
    }

    /// Makes the catalog if it is not that of the tables, whoever changed them and whatever failed.
    async fn check_catalog(&self, invocation: &Invocation) -> Result<(), Problem> {
        let Some(Catalog { place, .. }) = &self.catalog else { return Ok(()) };
        match is_applied(self.store.as_ref(), place).await {
            Ok(true) => Ok(()),
            Ok(false) => self.have_catalog(invocation).await,
            Err(error) => Err(Problem::of_setup(error)),
        }
    }

    /// Says how the store is; what waits is tried once more, whatever kept it.
    async fn check_store(
        &self,
        invocation: &Invocation,
        report: &mut RunReport,
        found: &mut Found,
    ) {
        let (store, now) = (self.store.as_ref(), self.clock.now());
        let look = Look {
            store,
            plugins: self.plugins(),
            shelf: &self.shelf,
            login: None,
            age_days_max: self.age_days_max,
            now,
        };
        let mut status = match look.status().await {
            Ok(status) => status,
            Err(error) => return report.problems.push(Problem::of_pipeline(error)),
        };
        if let Err(error) = self.forget_plugins(&status.plugins).await {
            report.problems.push(Problem::of_pipeline(error.into()));
        }
        if status.waiting_count == 0 {
            report.plugins.clone_from(&status.plugins);
        } else {
            self.transform(&Selection::Waiting, invocation, report).await;
        }
        report.problems.extend(self.check_catalog(invocation).await.err());
        if status.waiting_count > 0
            && let Err(error) = status.forget_processed(store).await
        {
            report.problems.push(Problem::of_setup(error));
        }
        report.problems.extend(status.list_problem.iter().map(Problem::of_setup));
        let looked_after = looked_after(&status);
        let name = self.address.to_string();
        let remedies = self.remedies(&name);
        let old = looked_after.iter().filter_map(|one| too_old(one, self.age_days_max, remedies));
        report.warnings.extend(old);
        found.metrics.extend(metrics::of_store(&status, &looked_after, now));
        found.status = Some(status);
    }

    /// Says how long the login lasts, and tries it.
    async fn check_login(
        &self,
        invocation: &Invocation,
        report: &mut RunReport,
        found: &mut Found,
    ) {
        let looked_at = self.look_at_login(report, found).await;
        if let Err(problem) = looked_at {
            return report.problems.push(problem);
        }
        if self.credentials.is_err() {
            return;
        }
        // That Spotify still takes it can only be tried.
        let tried = async {
            let mut unfinished = self.unfinished.lock().await;
            let spotify = unfinished.take().map_or_else(|| self.spotify(), Ok)?;
            let tried = tokio::time::timeout_at(invocation.work_ends().into(), spotify.authorize());
            let tried = tried.await.map_err(|_| PipelineError::NoTime);
            if let Some(problem) = spotify.problem().await {
                *unfinished = Some(spotify);
                return Err(Problem::of_credentials(problem));
            }
            tried
                .and_then(|tried| tried.map_err(PipelineError::Token))
                .map_err(Problem::of_pipeline)
        };
        report.problems.extend(tried.await.err());
    }

    async fn look_at_login(
        &self,
        report: &mut RunReport,
        found: &mut Found,
    ) -> Result<(), Problem> {
        let Some(place) = &self.login else { return Ok(()) };
        let (location, now) = (place.name(), self.clock.now());
        let login = match LoginStatus::of(place.as_ref(), now).await {
            Ok(Some(login)) => login,
            Ok(None) => {
                let again = login_command(&location);
                let message = format!("no login in {location} ({again} --client-id ID)");
                return Err(Problem::of_setup(message));
            }
            Err(error) => return Err(Problem::of_credentials(error)),
        };
        report.warnings.extend(ends_soon(&login));
        found.metrics.extend(metrics::of_login(&login, &self.store.location(""), now));
        found.login = Some(login);
        Ok(())
    }

    fn remedies<'s>(&self, store: &'s str) -> Remedies<'s> {
        Remedies { root: store, store }
    }

    /// Keeps the report, tells people, and says what should be tried again.
    async fn finish(
        &self,
        event: &Event,
        mut report: RunReport,
        found: Found,
    ) -> Result<Outcome, Failure> {
        let started = OffsetDateTime::parse(&report.started_at, &Rfc3339);
        let now = self.clock.now();
        let took = started.map_or(0, |started| (now - started).whole_milliseconds());
        report.milliseconds = u64::try_from(took).unwrap_or_default();
        // A check reads the store whatever else fails, and a message that can't be read is not a run.
        let may_start =
            matches!(event, Event::Extract { .. } | Event::Transform { .. } | Event::Replay { .. });
        report.exit_status = match may_start && report.could_not_start() {
            true => NOTHING_TRIED,
            false => report.judge(),
        };
        let kept = tokio::time::timeout(KEEPING_TAKES, self.keep(event, &report)).await;
        self.tell(event, &report).await;
        let mut metrics = metrics::of_run(&report, now);
        metrics.extend(found.metrics);
        let messages = self.messages(event);
        let mut answer = answer(messages.as_ref(), &report);
        if let Event::Check(_) = event {
            answer["status"] = serde_json::to_value(&found.status).unwrap_or_default();
            answer["login"] = serde_json::to_value(&found.login).unwrap_or_default();
        }
        let failure = match kept {
            Err(_) => {
                Some(Problem::new(Action::Retry, "there was no time left to keep the report"))
            }
            Ok(Err(problem)) => Some(problem),
            // A queue is told by message.
            Ok(Ok(())) if messages.is_some() => None,
            Ok(Ok(())) => failure(event, &report),
        };
        match failure {
            Some(problem) => Err(Failure { metrics, ..Failure::of_problem(&problem) }),
            None => Ok(Outcome { answer, metrics }),
        }
    }

    /// Keeps the report; of a check only if there is something in it.
    async fn keep(&self, event: &Event, report: &RunReport) -> Result<(), Problem> {
        let is_empty = report.totals.documents.count == 0 && report.warnings.is_empty();
        if matches!(event, Event::Check(_)) && is_empty && report.exit_status == 0 {
            return Ok(());
        }
        let key = Key::Run { run_id: report.run_id.clone() }.to_string();
        let bytes = serde_json::to_vec_pretty(report).map_err(|error| {
            Problem::of_setup(format!("the report can't be written as JSON: {error}"))
        })?;
        if bytes.len() as u64 > REPORT_BYTES_MAX {
            tracing::warn!("the report has {} bytes, which `status` doesn't read", bytes.len());
        }
        self.store.put(&key, &bytes).await.map_err(|error| Problem::new(Action::Retry, error))
    }

    /// Logs what was done and what went wrong, and tells people of that, but for what a queue brings
    /// again.
    async fn tell(&self, event: &Event, report: &RunReport) {
        let (root, store) = (self.store.location(""), self.address.to_string());
        let remedies = Remedies { root: &root, store: &store };
        for extract in &report.extracts {
            let ExtractReport { playlist_id, status, key, entries, .. } = extract;
            tracing::info!(playlist = playlist_id, key, entries, ?status, "extract");
        }
        for document in &report.documents {
            let DocumentReport { key, status, entries, .. } = document;
            let rows: u64 = document.tables.iter().map(|table| table.rows).sum();
            tracing::info!(key, entries, rows, ?status, "transform");
        }
        for page in &report.pages {
            tracing::info!(key = page.key, documents = page.count, "more documents");
        }
        let troubles = troubles(report, remedies);
        for trouble in &troubles {
            let (playlist, key) = (trouble.playlist.as_deref(), trouble.key.as_deref());
            let command = trouble.commands.join("; ");
            tracing::error!(playlist, key, command, "{}", trouble.sentence);
        }
        for warning in &report.warnings {
            tracing::warn!("{warning}");
        }
        let Some(topic) = &self.topic else { return };
        let messages = self.messages(event);
        let tries =
            messages.as_ref().and_then(|all| all.by_key.values().map(|one| one.tries).max());
        let told: Vec<_> =
            troubles.into_iter().filter(|trouble| is_told(trouble.action, tries)).collect();
        let more = unlisted(report).into_iter().filter(|(action, _)| is_told(*action, tries));
        let more = more.map(|(_, count)| count).sum();
        let Some(notice) = notice(report, &told, more, remedies) else { return };
        match tokio::time::timeout(TELLING_TAKES, topic.tell(&notice)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("{error}"),
            Err(_) => tracing::error!("the topic took too long to be told"),
        }
    }
}

/// Returns the playlists that should go on: those of the list, or all if it names none.
fn looked_after(status: &Status) -> Vec<&PlaylistStatus> {
    let has_list = status.playlists.iter().any(|playlist| playlist.listed.is_some());
    let is_meant = |playlist: &&PlaylistStatus| !has_list || playlist.listed.is_some();
    status.playlists.iter().filter(is_meant).collect()
}

/// Says that a playlist has had no snapshot for too long, on some of the days that this lasts.
fn too_old(playlist: &PlaylistStatus, days_max: i64, remedies: Remedies<'_>) -> Option<String> {
    let PlaylistStatus { playlist_id, name, .. } = playlist;
    let age_days = playlist.days_without_snapshot()?;
    let beyond = age_days - days_max;
    if beyond < 1 || beyond % REMINDED_DAYS != 1 {
        return None;
    }
    let name = name.as_deref().unwrap_or("a playlist");
    Some(format!(
        "{name} ({playlist_id}) has had no snapshot for {age_days} days (see why: {}; if it is no longer wanted, take it off the list: {})",
        remedies.command("extract", playlist_id),
        remedies.command("playlist remove", playlist_id),
    ))
}

/// Says that a login ends soon, or has ended, on some of the days that it does.
fn ends_soon(login: &LoginStatus) -> Option<String> {
    let days = login.days_left.filter(|days| *days <= LOGIN_DAYS_LOW)?;
    let is_due = days % REMINDED_DAYS == 0 || (-1..=3).contains(&days);
    let (ends, location) = (login.ends()?, &login.location);
    let again = login_command(location);
    is_due.then(|| {
        format!("the login of {} in {location} {ends} (log in again: {again})", login.who())
    })
}

/// The messages of a queue.
#[derive(Default)]
struct Messages {
    /// By the key that each brought.
    by_key: HashMap<String, Message>,
    /// Those that can't be read. They are reported as failed each time, so that the queue gives them up and
    /// keeps them with its dead letters: acknowledged, they would be lost.
    unread: Vec<Message>,
}

/// What the caller is told: a queue which messages to bring again, anybody else what was done.
fn answer(messages: Option<&Messages>, report: &RunReport) -> Value {
    let Some(messages) = messages else {
        let RunReport { run_id, exit_status, extracts, .. } = report;
        let documents = report.totals.documents.count;
        let problems = report.problems().take(PROBLEMS_ANSWERED_MAX);
        return json!({
            "run_id": run_id, "exit_status": exit_status,
            "playlists": extracts.len(),
            "documents": report.replay.as_ref().map_or(documents, |replay| replay.documents),
            "problems": problems.map(ToString::to_string).collect::<Vec<_>>(),
            "problem_count": report.problem_count(),
        });
    };
    let again = |problem: &Problem| problem.action == Action::Retry;
    // All of them: a report lists only the first.
    let failed = report.totals.documents.retry_keys.iter();
    let failed = failed.filter_map(|key| messages.by_key.get(key));
    // If none could be worked on, all come again.
    let all = report.problems.iter().any(again).then(|| messages.by_key.values());
    let again = failed.chain(all.into_iter().flatten()).chain(&messages.unread);
    let ids: BTreeSet<&str> = again.map(|message| message.id.as_str()).collect();
    let items: Vec<Value> = ids.into_iter().map(|id| json!({ "itemIdentifier": id })).collect();
    json!({ "batchItemFailures": items })
}

/// The problem that an invocation fails with. What no second try mends is in the answer and the
/// metrics, and fails only where a person waits: whatever else called would try again in vain.
fn failure(event: &Event, report: &RunReport) -> Option<Problem> {
    let is_by_hand = matches!(
        event,
        Event::Extract { scheduled_at: None, .. } | Event::Transform { .. } | Event::Replay { .. }
    );
    let lasting = || report.problems().next().filter(|_| is_by_hand);
    report.first_retry().or_else(lasting).cloned()
}

impl Failure {
    fn of_event(error: UnknownEvent) -> Self {
        Failure {
            error_type: "UnknownEvent".to_owned(),
            message: error.to_string(),
            metrics: Vec::new(),
        }
    }

    fn of_problem(problem: &Problem) -> Self {
        let error_type = format!("{:?}Problem", problem.action);
        Failure { error_type, message: problem.to_string(), metrics: Vec::new() }
    }
}

impl Problem {
    fn of_setup(error: impl ToString) -> Self {
        Problem::new(Action::Setup, error)
    }

    fn of_credentials(error: CredentialError) -> Self {
        let action = if error.is_transient() { Action::Retry } else { Action::Setup };
        Problem::new(action, error)
    }

    fn of_pipeline(error: PipelineError) -> Self {
        let action = match &error {
            PipelineError::Store(StoreError::Unconditional { .. } | StoreError::Key { .. }) => {
                Action::Setup
            }
            PipelineError::Store(_) => Action::Retry,
            PipelineError::Token(token) if token.is_transient() => Action::Retry,
            PipelineError::NoTime | PipelineError::NoTimeToLoad { .. } => Action::Retry,
            _ => Action::Setup,
        };
        Problem::new(action, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::listing::Listing;

    #[test]
    fn a_queue_is_told_just_the_messages_that_a_second_try_may_mend() {
        let (mut report, mut documents) = (RunReport::default(), Listing::default());
        for (key, action) in
            [("a.json", None), ("b.json", Some(Action::Retry)), ("c.json", Some(Action::Document))]
        {
            let mut document = DocumentReport::new(format!("raw_data/to_process/{key}"));
            document.problems.extend(action.map(|action| Problem::new(action, "a problem")));
            documents.push(document);
        }
        report.add_documents(documents);
        let message = |id: &str| Message { id: id.to_owned(), tries: 1 };
        let by_key =
            ["a", "b", "c"].map(|id| (format!("raw_data/to_process/{id}.json"), message(id)));
        let mut messages = Messages { by_key: by_key.into(), unread: Vec::new() };
        // Of another place in the same bucket.
        messages.by_key.insert("old/raw_data/to_process/b.json".to_owned(), message("other"));
        let told = answer(Some(&messages), &report);
        assert_eq!(told, json!({ "batchItemFailures": [{ "itemIdentifier": "b" }] }));
        report.problems.push(Problem::new(Action::Setup, "a problem that stays"));
        assert_eq!(answer(Some(&messages), &report), told);
        report.problems.push(Problem::new(Action::Retry, "nothing was tried"));
        let told = answer(Some(&messages), &report);
        assert_eq!(told["batchItemFailures"].as_array().unwrap().len(), 4);
        let unread = Messages { by_key: HashMap::new(), unread: vec![message("odd")] };
        let told = answer(Some(&unread), &RunReport::default());
        assert_eq!(told, json!({ "batchItemFailures": [{ "itemIdentifier": "odd" }] }));
    }

    #[test]
    fn a_queue_is_told_all_of_its_messages_however_few_a_report_lists() {
        const COUNT: usize = 4_000;
        let key = |number: usize| format!("raw_data/to_process/{number:04}.json");
        let mut documents = Listing::default();
        for number in 0..COUNT {
            let mut document = DocumentReport::new(key(number));
            let action = if number < COUNT / 2 { Action::Document } else { Action::Retry };
            document.problems.push(Problem::new(action, "a problem"));
            documents.push(document);
        }
        let mut report = RunReport::default();
        report.add_documents(documents);
        assert!(report.documents.len() < COUNT / 2);
        let message = |number: usize| Message { id: number.to_string(), tries: 1 };
        let by_key = (0..COUNT).map(|number| (key(number), message(number))).collect();
        let messages = Messages { by_key, unread: Vec::new() };
        let told = answer(Some(&messages), &report);
        assert_eq!(told["batchItemFailures"].as_array().unwrap().len(), COUNT / 2);

        // None of the listed problems may be solved by a retry.
        let event = Event::Created { objects: Vec::new(), replays: Vec::new(), unread: Vec::new() };
        assert_eq!(failure(&event, &report).unwrap().action, Action::Retry);
        assert_eq!(report.judge(), 1);
        let told = answer(None, &report);
        assert_eq!((&told["documents"], &told["problem_count"]), (&json!(COUNT), &json!(COUNT)));
        assert_eq!(told["problems"].as_array().unwrap().len(), PROBLEMS_ANSWERED_MAX);

        let unlisted = unlisted(&report);
        assert_eq!(unlisted.values().sum::<usize>(), COUNT - report.documents.len());
        assert_eq!(unlisted[&Action::Retry], COUNT / 2);
        let remedies = Remedies { root: "s3://music/", store: "s3://music" };
        let listed = troubles(&report, remedies);
        let notice = notice(&report, &listed, COUNT - listed.len(), remedies).unwrap();
        assert!(notice.subject.contains("4000 problems"), "{}", notice.subject);
        assert!(notice.text.contains("... and 3980 more"), "{}", notice.text);
    }

    #[test]
    fn people_are_reminded_of_what_lasts_and_not_every_day() {
        let remedies = Remedies { root: "s3://music/", store: "s3://music" };
        let told = |age_days| {
            let playlist = PlaylistStatus {
                playlist_id: "X".to_owned(),
                name: Some("France".to_owned()),
                snapshots: 3,
                age_days: Some(age_days),
                ..PlaylistStatus::default()
            };
            too_old(&playlist, 8, remedies)
        };
        let days: Vec<i64> = (0..30).filter(|days| told(*days).is_some()).collect();
        assert_eq!(days, [9, 16, 23]);
        let words = told(9).unwrap();
        for part in [
            "France (X) has had no snapshot for 9 days",
            "spotify-etl extract --store s3://music X",
            "spotify-etl playlist remove --store s3://music X",
        ] {
            assert!(words.contains(part), "`{part}` in {words}");
        }

        let told = |days_left| {
            ends_soon(&LoginStatus {
                location: "ssm:/login".to_owned(),
                account: None,
                client_id: "app".to_owned(),
                scopes: Vec::new(),
                consented_at: None,
                ends_at: None,
                days_left,
                open_to_others: false,
            })
        };
        let days: Vec<i64> = (-9..30).filter(|days| told(Some(*days)).is_some()).collect();
        assert_eq!(days, [-7, -1, 0, 1, 2, 3, 7, 14]);
        assert_eq!(told(None), None);
        assert!(
            told(Some(-1))
                .unwrap()
                .contains("after the consent (log in again: spotify-etl login --save")
        );
    }
}
