//! How a store is doing: what is in it, what waits or failed and why, and what mends it.
//! Reads only.

use std::collections::BTreeMap;

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    config::{Bytes, Limits, RUN_REPORT_BYTES_MAX, STORED_JSON_BYTES_MAX},
    document::{Document, DocumentId, Origin},
    layout::{self, Key, Stage},
    pipeline::{
        PipelineError,
        active::{PluginPlace, Shelf, active_plugins, choose, missing_plugins},
        records::Records,
        report::{PluginReport, RunReport},
    },
    spotify::{Account, CredentialError, Login, LoginPlace, login_days_left, login_ends},
    store::{Listed, Store, StoreError, list_all},
};

/// How many runs are looked through for why a document waits.
const RUNS_READ_MAX: usize = 20;

/// How a store is doing.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Where it is.
    pub store: String,
    /// Its playlists, by id.
    pub playlists: Vec<PlaylistStatus>,
    /// Raw documents that wait.
    pub waiting: Vec<Stuck>,
    /// Raw documents that no plugin could read.
    pub failed: Vec<Stuck>,
    /// The plugins.
    pub plugins: Vec<PluginReport>,
    /// Who is logged in to Spotify, if anybody.
    pub login: Option<LoginStatus>,
    /// The newest run.
    pub last_run: Option<RunSummary>,
}

/// Who is logged in to Spotify, and for how long.
#[derive(Debug, Serialize)]
pub struct LoginStatus {
    /// Where the login is kept.
    pub location: String,
    /// Whose account.
    pub account: Option<Account>,
    /// The app.
    pub client_id: String,
    /// What was consented to.
    pub scopes: Vec<String>,
    /// When, RFC 3339, if that is known.
    pub consented_at: Option<String>,
    /// When the consent ends, RFC 3339.
    pub ends_at: Option<String>,
    /// How many whole days that is from now; below 0 if it has ended.
    pub days_left: Option<i64>,
    /// Whether others may read the file.
    pub open_to_others: bool,
}

impl LoginStatus {
    /// Looks at a login, if there is one.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub async fn of(
        place: &dyn LoginPlace,
        now: OffsetDateTime,
    ) -> Result<Option<Self>, CredentialError> {
        let Some(login) = place.login().await? else { return Ok(None) };
        let Login { client_id, scopes, consented_at, account, .. } = login;
        let text = |moment: OffsetDateTime| moment.format(&Rfc3339).unwrap_or_default();
        Ok(Some(LoginStatus {
            location: place.name(),
            account,
            client_id,
            scopes,
            consented_at: consented_at.map(text),
            ends_at: consented_at.map(login_ends).map(text),
            days_left: consented_at.map(|moment| login_days_left(moment, now)),
            open_to_others: place.is_open_to_others(),
        }))
    }

    /// When it ends, in words that follow its name; none if that is not known.
    pub fn ends(&self) -> Option<String> {
        Some(match self.days_left? {
            ..0 => "ended, six months after the consent".to_owned(),
            0 => "ends today".to_owned(),
            1 => "ends tomorrow".to_owned(),
            days => format!("ends in {days} days"),
        })
    }

    /// Whose it is.
    pub fn who(&self) -> String {
        match &self.account {
            Some(Account { name: Some(name), .. }) => name.clone(),
            Some(account) => account.id.clone(),
            None => format!("somebody of app {}", self.client_id),
        }
    }
}

/// A playlist in a store.
#[derive(Debug, Serialize)]
pub struct PlaylistStatus {
    /// Its id.
    pub playlist_id: String,
    /// Its name, where known.
    pub name: Option<String>,
    /// How many snapshots have tables.
    pub snapshots: usize,
    /// When the last of these was read, RFC 3339.
    pub last_extracted_at: String,
    /// How long ago that is, in days.
    pub age_days: i64,
}

/// A raw document that is not where it should end up.
#[derive(Debug, Serialize)]
pub struct Stuck {
    /// Its key.
    pub key: String,
    /// Why, if a run said.
    pub why: Option<String>,
}

/// A run in a line.
#[derive(Debug, Serialize)]
pub struct RunSummary {
    /// The run.
    pub run_id: String,
    /// What it was.
    pub command: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// How many documents it had.
    pub documents: usize,
    /// What it ended with.
    pub exit_status: u8,
}

impl From<&RunReport> for RunSummary {
    fn from(report: &RunReport) -> Self {
        RunSummary {
            run_id: report.run_id.clone(),
            command: report.command.clone(),
            started_at: report.started_at.clone(),
            milliseconds: report.milliseconds,
            documents: report.documents.len().max(report.imports.len()).max(report.extracts.len()),
            exit_status: report.exit_status,
        }
    }
}

/// Looks at a store.
///
/// # Errors
///
/// If it can't be read.
pub async fn status(
    store: &dyn Store,
    place: PluginPlace<'_>,
    shelf: &Shelf,
    login: Option<LoginStatus>,
    now: OffsetDateTime,
) -> Result<Status, PipelineError> {
    let runs = newest_runs(store, RUNS_READ_MAX).await?;
    let plugins = if active_plugins(place).await?.is_empty() {
        missing_plugins(store, place, &[]).await?
    } else {
        choose(&Records::of(store), place, shelf).await?.reports
    };
    Ok(Status {
        store: store.location(""),
        playlists: playlists(store, now).await?,
        waiting: waiting(store, &runs).await?,
        failed: failed(store).await?,
        plugins,
        login,
        last_run: runs.first().map(RunSummary::from),
    })
}

/// The newest runs, newest first.
///
/// # Errors
///
/// If the store can't be read.
pub async fn newest_runs(store: &dyn Store, count: usize) -> Result<Vec<RunReport>, StoreError> {
    let listed = list_all(store, layout::RUNS).await?;
    let mut runs: Vec<RunReport> = Vec::new();
    let reports = listed.iter().rev().filter_map(|listed| match listed.key.parse() {
        Ok(Key::Run { run_id }) => Some((listed, run_id)),
        _ => None,
    });
    for (Listed { key, size, .. }, run_id) in reports.take(count) {
        if *size > RUN_REPORT_BYTES_MAX {
            let (size, max) = (Bytes(*size), Bytes(RUN_REPORT_BYTES_MAX));
            let location = store.location(key);
            tracing::warn!("{location} is not read: it has {size}, and the limit is {max}");
            continue;
        }
        if let Some(object) = store.get(key).await? {
            match serde_json::from_slice::<RunReport>(&object.bytes) {
                Ok(run) if run.run_id == run_id => runs.push(run),
                Ok(_) => tracing::warn!("{} is the report of another run", store.location(key)),
                Err(error) => {
                    tracing::warn!("{} is not a run's report: {error}", store.location(key));
                }
            }
        }
    }
    Ok(runs)
}

/// One run's report.
///
/// # Errors
///
/// If the store can't be read.
pub async fn run_report(store: &dyn Store, run_id: &str) -> Result<Option<RunReport>, StoreError> {
    let key = Key::Run { run_id: run_id.to_owned() };
    // What names no run, such as a path that leads elsewhere, is none.
    if key.to_string().parse() != Ok(key.clone()) {
        return Ok(None);
    }
    let object = store.get_within(&key.to_string(), RUN_REPORT_BYTES_MAX).await?;
    let report = object.and_then(|object| serde_json::from_slice(&object.bytes).ok());
    Ok(report.filter(|report: &RunReport| report.run_id == run_id))
}

async fn playlists(
    store: &dyn Store,
    now: OffsetDateTime,
) -> Result<Vec<PlaylistStatus>, StoreError> {
    let mut newest: BTreeMap<String, (usize, DocumentId)> = BTreeMap::new();
    for listed in list_all(store, layout::PROCESSED).await? {
        let Ok(Key::Raw { document, .. }) = listed.key.parse() else { continue };
        let playlist = document.playlist_id.to_string();
        let (count, last) = newest.entry(playlist).or_insert((0, document.clone()));
        *count += 1;
        // One that somebody dated in the future is the last only if there is no other.
        let rank = |one: &DocumentId| {
            let moment = one.extracted_at.moment();
            (moment <= now, moment)
        };
        if rank(&document) > rank(last) {
            *last = document;
        }
    }
    let mut playlists = Vec::new();
    for (playlist_id, (snapshots, last)) in newest {
        let moment = last.extracted_at.moment();
        playlists.push(PlaylistStatus {
            playlist_id,
            name: name(store, &last).await?,
            snapshots,
            last_extracted_at: moment.format(&Rfc3339).unwrap_or_default(),
            age_days: (now - moment).whole_days(),
        });
    }
    Ok(playlists)
}

async fn name(store: &dyn Store, id: &DocumentId) -> Result<Option<String>, StoreError> {
    let key = Key::Raw { stage: Stage::Processed, document: id.clone() }.to_string();
    let Some(object) = store.get(&key).await? else { return Ok(None) };
    let origin =
        Origin { name: &key, modified: object.modified, playlist: None, extracted_at: None };
    let read = Document::read(&object.bytes, &origin, &Limits::default());
    Ok(read.ok().and_then(|(document, _)| document.playlist_name().map(str::to_owned)))
}

async fn waiting(store: &dyn Store, runs: &[RunReport]) -> Result<Vec<Stuck>, StoreError> {
    let stuck = |key: String| {
        let documents = runs.iter().flat_map(|run| &run.documents);
        let known = documents.filter(|document| document.key == key).find_map(|document| {
            let problems: Vec<_> = document.problems.iter().map(ToString::to_string).collect();
            (!problems.is_empty()).then(|| problems.join("; "))
        });
        Stuck { key, why: known }
    };
    let listed = list_all(store, layout::TO_PROCESS).await?;
    Ok(listed.into_iter().map(|listed| stuck(listed.key)).collect())
}

async fn failed(store: &dyn Store) -> Result<Vec<Stuck>, StoreError> {
    let mut failed = Vec::new();
    for Listed { key, .. } in list_all(store, layout::FAILED).await? {
        let Ok(parsed @ (Key::Raw { .. } | Key::Foreign { .. })) = key.parse::<Key>() else {
            continue;
        };
        let reason = parsed.failed_reason().to_string();
        let reason = store.get_within(&reason, STORED_JSON_BYTES_MAX).await?;
        let why = reason.and_then(|object| {
            let reason: serde_json::Value = serde_json::from_slice(&object.bytes).ok()?;
            reason["problem"].as_str().map(str::to_owned)
        });
        failed.push(Stuck { key, why });
    }
    Ok(failed)
}
