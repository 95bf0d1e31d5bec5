//! How a store is doing: what is in it, what waits or failed and why, and what mends it.
//! Reads only.

mod attention;
mod playlists;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    config::STORED_JSON_BYTES_MAX,
    layout::{self, Key},
    pipeline::{
        PipelineError,
        active::{PluginPlace, Shelf, choose, missing_plugins},
        plugin_files::{IgnoredFiles, PluginFiles, plugin_files},
        records::Records,
        report::{PluginReport, Problem, ProblemKind},
        runs::{RunSummary, Runs, UnreadReport},
        strays::Strays,
    },
    spotify::{Account, CredentialError, Login, LoginPlace, login_days_left, login_ends},
    store::{Listed, Store, StoreError},
};

pub use attention::{Attention, Cause};
pub use playlists::{ExtractFailure, Incomplete, Listing, PlaylistStatus};
use playlists::{Playlists, playlists};

/// How many days old the last snapshot of a playlist on the list may be: a week, and a day for a run that starts
/// late.
pub const SNAPSHOT_AGE_DAYS_MAX: i64 = 8;
/// How many runs are looked through for why a document waits and whether an extraction failed.
const RUNS_READ_MAX: usize = 20;
/// The size of all reports that are read for that, in bytes.
const RUNS_BYTES_MAX: u64 = 32 << 20;
/// How many waiting documents are named.
const WAITING_NAMED_MAX: usize = 1_000;
/// How many failed documents are named: the reason of each is an object of its own.
const FAILED_NAMED_MAX: usize = 100;

/// How a store is doing.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Where it is.
    pub store: String,
    /// Its playlists, by id: those with snapshots, and those of its list.
    pub playlists: Vec<PlaylistStatus>,
    /// Why its list of playlists can't be read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_problem: Option<String>,
    /// How many days old the last snapshot of a playlist on the list may be.
    pub age_days_max: i64,
    /// The first of the raw documents that wait.
    pub waiting: Vec<Stuck>,
    /// How many wait in all.
    pub waiting_count: usize,
    /// The first of the raw documents that no plugin could read.
    pub failed: Vec<Stuck>,
    /// How many these are in all.
    pub failed_count: usize,
    /// The plugins.
    pub plugins: Vec<PluginReport>,
    /// The files among the plugins that are ignored because of their names.
    pub ignored_files: IgnoredFiles,
    /// Who is logged in to Spotify, if anybody.
    pub login: Option<LoginStatus>,
    /// The newest run.
    pub last_run: Option<RunSummary>,
    /// Reports of runs that may say why a document waits, and were not read as they are too large.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread_reports: Vec<UnreadReport>,
    /// What was deleted by hand. [`Look::status`] leaves it empty: the search lists all derived objects.
    pub strays: Strays,
    /// What needs a person's attention.
    pub attention: Vec<Attention>,
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

/// A raw document that is not where it should end up.
#[derive(Debug, Serialize)]
pub struct Stuck {
    /// Its key.
    pub key: String,
    /// Why, if a run said.
    pub why: Option<String>,
    /// The kind of that problem, where it decides which commands help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ProblemKind>,
}

/// What a store's status is made of.
pub struct Look<'s> {
    /// The store.
    pub store: &'s dyn Store,
    /// Where the plugins are.
    pub plugins: PluginPlace<'s>,
    /// Those that are loaded already.
    pub shelf: &'s Shelf,
    /// Who is logged in to Spotify.
    pub login: Option<LoginStatus>,
    /// How many days old the last snapshot of a playlist on the list may be.
    pub age_days_max: i64,
    /// The time.
    pub now: OffsetDateTime,
}

impl Look<'_> {
    /// Looks at the store.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub async fn status(self) -> Result<Status, PipelineError> {
        let Look { store, plugins: place, shelf, login, age_days_max, now } = self;
        let runs = Runs::of(store).await?;
        let last_run = runs.summaries(1).await?.pop();
        let mut runs = runs.within(RUNS_READ_MAX, RUNS_BYTES_MAX);
        let PluginFiles { plugins: files, ignored } = plugin_files(place).await?;
        let plugins = if files.is_empty() {
            missing_plugins(store, place, &[]).await?
        } else {
            choose(&Records::of(store), place, shelf).await?.reports
        };
        let (mut waiting, waiting_count) = waiting(store).await?;
        let (failed, failed_count) = failed(store).await?;
        let Playlists { found: mut playlists, list_problem } = playlists(store, now).await?;
        explain(&mut runs, &mut waiting, &mut playlists, now).await?;
        let mut status = Status {
            store: store.location(""),
            playlists,
            list_problem,
            age_days_max,
            waiting,
            waiting_count,
            failed,
            failed_count,
            plugins,
            ignored_files: ignored,
            login,
            last_run,
            unread_reports: runs.into_unread(),
            strays: Strays::default(),
            attention: Vec::new(),
        };
        status.attention = status.find_attention();
        Ok(status)
    }
}

impl Status {
    /// Adds what a search for strays found.
    pub fn add_strays(&mut self, strays: Strays) {
        self.strays = strays;
        self.attention = self.find_attention();
    }

    /// Looks again which documents wait.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub async fn forget_processed(&mut self, store: &dyn Store) -> Result<(), StoreError> {
        let mut keys = BTreeSet::new();
        let keep = |listed: Listed| {
            keys.insert(listed.key);
        };
        each(store, layout::TO_PROCESS, keep).await?;
        self.waiting.retain(|stuck| keys.contains(&stuck.key));
        self.waiting_count = keys.len();
        self.attention = self.find_attention();
        Ok(())
    }
}

/// Does something with each object below a prefix: a store may have more of them than memory.
async fn each(
    store: &dyn Store,
    prefix: &str,
    mut action: impl FnMut(Listed),
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.list(prefix, after.as_deref()).await?;
        page.objects.into_iter().for_each(&mut action);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// What a report says of documents that wait and of playlists that were extracted.
#[derive(Deserialize)]
struct Reasons {
    run_id: String,
    started_at: String,
    documents: Vec<Reason>,
    #[serde(default)]
    extracts: Vec<Extracted>,
}

#[derive(Deserialize)]
struct Reason {
    key: String,
    problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct Extracted {
    playlist_id: String,
    problem: Option<Problem>,
}

/// The first documents that wait and how many wait in all.
async fn waiting(store: &dyn Store) -> Result<(Vec<Stuck>, usize), StoreError> {
    let (mut waiting, mut count) = (Vec::new(), 0);
    let stuck = |listed: Listed| {
        count += 1;
        if waiting.len() < WAITING_NAMED_MAX {
            waiting.push(Stuck { key: listed.key, why: None, kind: None });
        }
    };
    each(store, layout::TO_PROCESS, stuck).await?;
    Ok((waiting, count))
}

/// Says why documents wait, and which playlists of the list could not be read the last time. Reports are read
/// while one of these is not known: a playlist's, until a report is older than its last snapshot.
async fn explain(
    runs: &mut Runs<'_>,
    waiting: &mut [Stuck],
    playlists: &mut [PlaylistStatus],
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let mut unexplained: BTreeMap<String, &mut Stuck> =
        waiting.iter_mut().map(|stuck| (stuck.key.clone(), stuck)).collect();
    let listed = playlists.iter_mut().filter(|playlist| playlist.listed.is_some());
    let mut unknown: BTreeMap<String, &mut PlaylistStatus> =
        listed.map(|playlist| (playlist.playlist_id.clone(), playlist)).collect();
    while !(unexplained.is_empty() && unknown.is_empty())
        && let Some(reasons) = runs.next::<Reasons>().await?
    {
        for Reason { key, problems } in &reasons.documents {
            if !problems.is_empty()
                && let Some(stuck) = unexplained.remove(key)
            {
                let whys: Vec<_> = problems.iter().map(ToString::to_string).collect();
                stuck.why = Some(whys.join("; "));
                stuck.kind = problems.iter().find_map(|problem| problem.kind);
            }
        }
        for Extracted { playlist_id, problem } in &reasons.extracts {
            if let Some(playlist) = unknown.remove(playlist_id) {
                playlist.last_failure =
                    problem.as_ref().map(|problem| failure(&reasons, problem, now));
            }
        }
        unknown.retain(|_, playlist| !is_before(&reasons.started_at, playlist));
    }
    Ok(())
}

fn failure(run: &Reasons, problem: &Problem, now: OffsetDateTime) -> ExtractFailure {
    let started = OffsetDateTime::parse(&run.started_at, &Rfc3339);
    ExtractFailure {
        run_id: run.run_id.clone(),
        started_at: run.started_at.clone(),
        age_days: started.map_or(0, |started| (now - started).whole_days()),
        problem: problem.to_string(),
    }
}

/// Returns whether a run began before a playlist's last snapshot: a failure of then is of no interest any more.
fn is_before(started_at: &str, playlist: &PlaylistStatus) -> bool {
    let moment = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let last = playlist.last_extracted_at.as_deref().and_then(moment);
    moment(started_at).zip(last).is_some_and(|(started, last)| started < last)
}

/// The first failed documents, and how many there are in all.
async fn failed(store: &dyn Store) -> Result<(Vec<Stuck>, usize), StoreError> {
    let (mut first, mut count) = (Vec::new(), 0);
    let parsed = |listed: Listed| {
        if let Ok(key @ (Key::Raw { .. } | Key::Foreign { .. })) = listed.key.parse::<Key>() {
            count += 1;
            if first.len() < FAILED_NAMED_MAX {
                first.push((listed.key, key));
            }
        }
    };
    each(store, layout::FAILED, parsed).await?;
    let mut failed = Vec::new();
    for (key, parsed) in first {
        let reason = parsed.failed_reason().to_string();
        let reason = store.get_within(&reason, STORED_JSON_BYTES_MAX).await?;
        let why = reason.and_then(|object| {
            let reason: serde_json::Value = serde_json::from_slice(&object.bytes).ok()?;
            reason["problem"].as_str().map(str::to_owned)
        });
        failed.push(Stuck { key, why, kind: None });
    }
    Ok((failed, count))
}
