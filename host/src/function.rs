//! What a function does when it is woken: from an event to the pipeline, and from its report to an
//! answer that says what should be tried again.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    config::{HOST_VERSION, Limits},
    document::PlaylistId,
    event::{Created, Event, UnknownEvent},
    layout::{self, Key, Stage},
    metrics,
    pipeline::{
        PipelineError, Progress, Selection, Transform,
        active::{PluginPlace, Shelf, choose},
        extract::{Condition, Extract},
        playlists::{ListedPlaylist, named, playlists},
        report::{Action, Empty, Problem, RunReport},
    },
    spotify::{Clock, CredentialError, CredentialSource, Settings, Spotify},
    status::status,
    store::{Store, StoreAddress, StoreError},
};

/// What it takes to write the report, which must not be cut off.
const REPORT_TAKES: Duration = Duration::from_secs(3);

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
    /// What it means that a document gave no row.
    pub empty: Empty,
    /// How Spotify is asked.
    pub settings: Settings,
    /// With which credentials, or why with none.
    pub credentials: Result<Arc<dyn CredentialSource>, CredentialError>,
    /// When a playlist is landed.
    pub condition: Condition,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// One time that it is woken.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Its name among the runs.
    pub run_id: String,
    /// When it must be over.
    pub until: Instant,
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

struct Nobody;

impl Progress for Nobody {
    fn begin(&self, _: &'static str, _: usize) {}
    fn expect(&self, _: usize) {}
    fn advance(&self) {}
    fn end(&self) {}
}

impl Function {
    /// Does what an event asks for.
    ///
    /// # Errors
    ///
    /// What should be tried again, or be looked at.
    pub async fn handle(&self, event: &Value, invocation: &Invocation) -> Result<Outcome, Failure> {
        let event = Event::read(event).map_err(Failure::of_event)?;
        let mut report = self.blank(&event, invocation);
        match &event {
            Event::Extract { playlists, scheduled_at } => {
                self.extract(playlists, *scheduled_at, &mut report).await;
            }
            Event::Created(created) => self.look_at(created, invocation, &mut report).await,
            Event::Transform { keys } if keys.is_empty() => {
                self.transform(&Selection::Waiting, invocation, &mut report).await;
            }
            Event::Transform { keys } => {
                let selection = Selection::Named(keys.clone());
                self.transform(&selection, invocation, &mut report).await;
            }
            Event::Check => return self.check(invocation).await,
        }
        self.finish(&event, report).await
    }

    fn blank(&self, event: &Event, invocation: &Invocation) -> RunReport {
        let now = self.clock.now();
        RunReport {
            run_id: invocation.run_id.clone(),
            command: match event {
                Event::Extract { .. } => "extract",
                Event::Created(_) | Event::Transform { .. } => "transform",
                Event::Check => "check",
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
        report: &mut RunReport,
    ) {
        let extracted = async {
            let playlists = self.playlists(names).await?;
            let source = self.credentials.as_ref().map_err(Problem::of_setup)?;
            let (settings, source) = (self.settings.clone(), Arc::clone(source));
            // Afresh each time: what one invocation learned of its token is of no use to the next.
            let spotify = Spotify::new(settings, source, Arc::clone(&self.clock));
            let spotify = spotify.map_err(Problem::of_setup)?;
            let extract = Extract {
                store: self.store.as_ref(),
                spotify: &spotify,
                condition: self.condition,
                scheduled_at,
                limits: self.limits.clone(),
                now: self.clock.now(),
                progress: &Nobody,
            };
            extract.run(&playlists).await.map_err(Problem::of_pipeline)
        };
        match extracted.await {
            Ok(extraction) => {
                report.extracts = extraction.extracts;
                report.problems = extraction.problems;
            }
            Err(problem) => report.problems.push(problem),
        }
    }

    async fn playlists(&self, names: &[String]) -> Result<Vec<ListedPlaylist>, Problem> {
        let list = playlists(self.store.as_ref()).await.map_err(Problem::of_setup)?;
        let mut found = if names.is_empty() { list.clone() } else { Vec::new() };
        for name in names {
            let meant = named(&list, name);
            if meant.is_empty() {
                let id = PlaylistId::from_reference(name);
                let id = id.ok_or_else(|| Problem::of_setup(format!("`{name}` is no playlist")))?;
                found.push(ListedPlaylist { id, label: None });
            }
            found.extend(meant.into_iter().cloned());
        }
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
                ) => documents.push(key),
                _ => tracing::info!("nothing to do about {key}"),
            }
        }
        let mut selection = Selection::Landed(documents);
        if !plugins.is_empty() {
            match self.check_plugins(&plugins).await {
                Ok(problems) => report.problems.extend(problems),
                Err(error) => report.problems.push(Problem::of_pipeline(error)),
            }
            selection = Selection::Waiting;
        }
        self.transform(&selection, invocation, report).await;
    }

    /// The key in this store of an object that was created, if it is in this store.
    fn own_key(&self, created: &Created) -> Option<String> {
        let StoreAddress::Bucket { bucket, prefix } = &self.address else { return None };
        let key = created.key.strip_prefix(prefix.as_str())?;
        (created.bucket == *bucket).then(|| key.to_owned())
    }

    /// Says beside each plugin what is wrong with it, or takes that away.
    async fn check_plugins(&self, names: &[String]) -> Result<Vec<Problem>, PipelineError> {
        let store = self.store.as_ref();
        let set = choose(store, self.plugins(), &self.shelf).await?;
        let mut problems = Vec::new();
        for report in set.reports.iter().filter(|report| names.contains(&report.name)) {
            let key = Key::PluginError { name: report.name.clone() }.to_string();
            match &report.problem {
                Some(problem) => {
                    let text = json!({
                        "plugin": report.name,
                        "sha256": report.sha256,
                        "problem": problem.message,
                        "host_version": HOST_VERSION,
                    });
                    let mut bytes = serde_json::to_vec_pretty(&text).unwrap_or_default();
                    bytes.push(b'\n');
                    store.put(&key, &bytes).await?;
                    problems.push(problem.clone());
                }
                None => {
                    if let Some(object) = store.get(&key).await? {
                        store.delete_if(&key, &object.tag).await?;
                    }
                }
            }
        }
        Ok(problems)
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
        let transform = Transform {
            store: self.store.as_ref(),
            plugins: self.plugins(),
            shelf: &self.shelf,
            limits: self.limits.clone(),
            jobs: self.jobs,
            now: self.clock.now(),
            until: invocation.until.checked_sub(REPORT_TAKES),
            progress: &Nobody,
        };
        match transform.run(selection).await {
            Ok(transformed) => {
                report.plugins = transformed.plugins;
                report.documents = transformed.documents;
            }
            Err(error) => report.problems.push(Problem::of_pipeline(error)),
        }
    }

    async fn check(&self, invocation: &Invocation) -> Result<Outcome, Failure> {
        let now = self.clock.now();
        let found = status(self.store.as_ref(), self.plugins(), &self.shelf, None, now).await;
        let found = found.map_err(|error| Failure::of_problem(&Problem::of_pipeline(error)))?;
        let mut report = self.blank(&Event::Check, invocation);
        // What waits may be done now, whatever kept it.
        if !found.waiting.is_empty() {
            self.transform(&Selection::Waiting, invocation, &mut report).await;
        }
        let mut outcome = self.finish(&Event::Check, report).await?;
        outcome.metrics.extend(metrics::of_status(&found, now));
        outcome.answer["status"] = serde_json::to_value(&found).unwrap_or_default();
        Ok(outcome)
    }

    /// Keeps the report, and says what should be tried again.
    async fn finish(&self, event: &Event, mut report: RunReport) -> Result<Outcome, Failure> {
        let started = OffsetDateTime::parse(&report.started_at, &Rfc3339);
        let now = self.clock.now();
        let took = started.map_or(0, |started| (now - started).whole_milliseconds());
        report.milliseconds = u64::try_from(took).unwrap_or_default();
        report.exit_status = report.judge(self.empty);
        let key = Key::Run { run_id: report.run_id.clone() }.to_string();
        let bytes = serde_json::to_vec_pretty(&report).unwrap_or_default();
        let kept = self.store.put(&key, &bytes).await;
        let metrics = metrics::of_run(&report, now);
        for problem in report.problems() {
            tracing::error!(run_id = report.run_id, "{problem}");
        }
        let answer = answer(event, &report);
        let failure = match kept {
            Err(error) => Some(Problem::new(Action::Retry, error)),
            Ok(()) => failure(event, &report),
        };
        match failure {
            Some(problem) => Err(Failure { metrics, ..Failure::of_problem(&problem) }),
            None => Ok(Outcome { answer, metrics }),
        }
    }
}

/// What the caller is told: a queue which messages to bring again, anybody else what was done.
fn answer(event: &Event, report: &RunReport) -> Value {
    let Some(messages) = messages(event) else {
        let RunReport { run_id, exit_status, extracts, documents, .. } = report;
        return json!({
            "run_id": run_id, "exit_status": exit_status,
            "playlists": extracts.len(), "documents": documents.len(),
        });
    };
    let again = |problem: &Problem| problem.action == Action::Retry;
    let failed = report.documents.iter().filter(|document| document.problems.iter().any(again));
    let failed = failed.filter_map(|document| {
        messages.iter().find(|(key, _)| key.ends_with(&document.key)).map(|(_, id)| *id)
    });
    // If none could be worked on, all come again.
    let all = report.problems.iter().any(again).then(|| messages.values().copied());
    let mut ids: Vec<&str> = failed.chain(all.into_iter().flatten()).collect();
    ids.sort_unstable();
    ids.dedup();
    let items: Vec<Value> = ids.into_iter().map(|id| json!({ "itemIdentifier": id })).collect();
    json!({ "batchItemFailures": items })
}

/// The messages of a queue, by the key that each brought; none if no queue did.
fn messages(event: &Event) -> Option<HashMap<&str, &str>> {
    let Event::Created(created) = event else { return None };
    let brought = created
        .iter()
        .filter_map(|created| Some((created.key.as_str(), created.message_id.as_deref()?)));
    let messages: HashMap<&str, &str> = brought.collect();
    (!messages.is_empty()).then_some(messages)
}

/// The problem that an invocation fails with. A queue is answered instead; and what no second try
/// mends fails only where somebody waits for the answer, or an alarm for the failure.
fn failure(event: &Event, report: &RunReport) -> Option<Problem> {
    if messages(event).is_some() {
        return None;
    }
    let first = |action: Option<Action>| {
        report.problems().find(|problem| action.is_none_or(|action| problem.action == action))
    };
    let found = match event {
        Event::Created(_) => first(Some(Action::Retry)),
        _ => first(Some(Action::Retry)).or_else(|| first(None)),
    };
    found.cloned()
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

    fn of_pipeline(error: PipelineError) -> Self {
        let action = match &error {
            PipelineError::Store(StoreError::Unconditional { .. } | StoreError::Key { .. }) => {
                Action::Setup
            }
            PipelineError::Store(_) => Action::Retry,
            PipelineError::Token(token) if token.is_transient() => Action::Retry,
            _ => Action::Setup,
        };
        Problem::new(action, error)
    }
}
