//! How a store is doing: what is in it, what waits or failed and why, and what mends it.
//! Reads only.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    config::{Limits, STORED_JSON_BYTES_MAX},
    document::{DocumentId, stored_playlist_name},
    layout::{self, Key, Stage},
    pipeline::{
        PipelineError,
        active::{PluginPlace, Shelf, active_plugins, choose, missing_plugins},
        records::Records,
        report::{PluginReport, Problem},
        runs::{RunSummary, Runs, UnreadReport},
        strays::Strays,
    },
    sources::{self, Origin},
    spotify::{Account, CredentialError, Login, LoginPlace, login_days_left, login_ends},
    store::{Listed, Store, StoreError},
};

/// How many runs are looked through for why a document waits.
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
    /// Its playlists, by id.
    pub playlists: Vec<PlaylistStatus>,
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
    /// Who is logged in to Spotify, if anybody.
    pub login: Option<LoginStatus>,
    /// The newest run.
    pub last_run: Option<RunSummary>,
    /// Reports of runs that may say why a document waits, and were not read as they are too large.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread_reports: Vec<UnreadReport>,
    /// What somebody deleted by hand. [`status()`] leaves it empty: the search lists all derived objects.
    pub strays: Strays,
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
    /// How many snapshots have a time in the future.
    #[serde(skip_serializing_if = "is_zero")]
    pub in_future: usize,
    /// The newest of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_in_future: Option<String>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A raw document that is not where it should end up.
#[derive(Debug, Serialize)]
pub struct Stuck {
    /// Its key.
    pub key: String,
    /// Why, if a run said.
    pub why: Option<String>,
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
    let runs = Runs::of(store).await?;
    let last_run = runs.summaries(1).await?.pop();
    let mut runs = runs.within(RUNS_READ_MAX, RUNS_BYTES_MAX);
    let plugins = if active_plugins(place).await?.is_empty() {
        missing_plugins(store, place, &[]).await?
    } else {
        choose(&Records::of(store), place, shelf).await?.reports
    };
    let (waiting, waiting_count) = waiting(store, &mut runs).await?;
    let (failed, failed_count) = failed(store).await?;
    Ok(Status {
        store: store.location(""),
        playlists: playlists(store, now).await?,
        waiting,
        waiting_count,
        failed,
        failed_count,
        plugins,
        login,
        last_run,
        unread_reports: runs.into_unread(),
        strays: Strays::default(),
    })
}

impl Status {
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

/// What is counted of a playlist.
struct Counted {
    snapshots: usize,
    /// The newest that is not in the future, else the newest; and its size in bytes.
    last: DocumentId,
    last_bytes: u64,
    in_future: usize,
    newest: DocumentId,
}

impl Counted {
    fn add(&mut self, document: DocumentId, bytes: u64, now: OffsetDateTime) {
        self.snapshots += 1;
        self.in_future += usize::from(document.extracted_at.is_in_future(now));
        if document.extracted_at > self.newest.extracted_at {
            self.newest = document.clone();
        }
        // One that is dated in the future is the last only if there is no other.
        let rank = |one: &DocumentId| {
            let moment = one.extracted_at.moment();
            (moment <= now, moment)
        };
        if rank(&document) > rank(&self.last) {
            (self.last, self.last_bytes) = (document, bytes);
        }
    }
}

async fn playlists(
    store: &dyn Store,
    now: OffsetDateTime,
) -> Result<Vec<PlaylistStatus>, StoreError> {
    let mut counted: BTreeMap<String, Counted> = BTreeMap::new();
    let count = |listed: Listed| {
        let Ok(Key::Raw { document, .. }) = listed.key.parse() else { return };
        let playlist = counted.entry(document.playlist_id.to_string()).or_insert_with(|| Counted {
            snapshots: 0,
            last: document.clone(),
            last_bytes: listed.size,
            in_future: 0,
            newest: document.clone(),
        });
        playlist.add(document, listed.size, now);
    };
    each(store, layout::PROCESSED, count).await?;
    let mut playlists = Vec::new();
    for (playlist_id, counted) in counted {
        let Counted { snapshots, last, last_bytes, in_future, newest } = counted;
        let moment = last.extracted_at.moment();
        playlists.push(PlaylistStatus {
            playlist_id,
            name: name(store, &last, last_bytes).await?,
            snapshots,
            last_extracted_at: moment.format(&Rfc3339).unwrap_or_default(),
            age_days: (now - moment).whole_days(),
            in_future,
            newest_in_future: (in_future > 0).then(|| newest.to_string()),
        });
    }
    Ok(playlists)
}

async fn name(
    store: &dyn Store,
    id: &DocumentId,
    bytes: u64,
) -> Result<Option<String>, StoreError> {
    let limits = Limits::default();
    if bytes > limits.document_bytes {
        return Ok(None);
    }
    let key = Key::Raw { stage: Stage::Processed, document: id.clone() }.to_string();
    let Some(object) = store.get(&key).await? else { return Ok(None) };
    let name = stored_playlist_name(&object.bytes);
    if name.is_some() {
        return Ok(name);
    }
    let origin = Origin::of(&key, object.modified);
    let read = sources::read(&object.bytes, &origin, &limits);
    Ok(read.ok().and_then(|read| read.document.playlist_name().map(str::to_owned)))
}

/// What a report says of documents that wait.
#[derive(Deserialize)]
struct Reasons {
    documents: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    key: String,
    problems: Vec<Problem>,
}

/// The first documents that wait and how many wait in all. Reports are read while one of the first has no reason.
async fn waiting(
    store: &dyn Store,
    runs: &mut Runs<'_>,
) -> Result<(Vec<Stuck>, usize), StoreError> {
    let (mut waiting, mut count) = (Vec::new(), 0);
    let stuck = |listed: Listed| {
        count += 1;
        if waiting.len() < WAITING_NAMED_MAX {
            waiting.push(Stuck { key: listed.key, why: None });
        }
    };
    each(store, layout::TO_PROCESS, stuck).await?;
    let mut unexplained: BTreeMap<String, usize> =
        waiting.iter().enumerate().map(|(place, stuck)| (stuck.key.clone(), place)).collect();
    while !unexplained.is_empty()
        && let Some(Reasons { documents }) = runs.next::<Reasons>().await?
    {
        for Reason { key, problems } in documents {
            if !problems.is_empty()
                && let Some(place) = unexplained.remove(&key)
            {
                let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
                waiting[place].why = Some(problems.join("; "));
            }
        }
    }
    Ok((waiting, count))
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
        failed.push(Stuck { key, why });
    }
    Ok((failed, count))
}
