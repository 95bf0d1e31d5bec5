//! Making a version of a plugin the active one: kept in history, switched on condition that nobody else did
//! meanwhile, and carried through history if somebody wants that.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;

use super::{
    Mode, PipelineError, Transform, Transformed,
    active::load,
    records::{mark_removed, misfits, table_records},
    replay::{Change, Filter, Replay, Which, history},
    report::{Action, Empty, PluginStatus, Problem, ReplayReport},
    required::Required,
    versions::{
        Activation, HistoryRecord, IsSo, UPLOAD, VersionError, Way, file_of, keep, note, versions,
        was_published,
    },
};
use crate::{
    document::sha256,
    layout::Key,
    plugin::Plugin,
    store::{Store, StoreError, Tag},
};

/// The file of a plugin as it lies in the store, if there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The plugin's name.
    pub name: String,
    /// The SHA-256 and the mark of its file.
    file: Option<(String, Tag)>,
}

impl Standing {
    /// How it is now.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn of(store: &dyn Store, name: &str) -> Result<Self, StoreError> {
        let object = store.get(&Key::Plugin { name: name.to_owned() }.to_string()).await?;
        let file = object.map(|object| (sha256(&object.bytes), object.tag()));
        Ok(Standing { name: name.to_owned(), file })
    }

    /// The SHA-256 of its file.
    pub fn sha256(&self) -> Option<&str> {
        self.file.as_ref().map(|(sha256, _)| sha256.as_str())
    }

    fn raced(self) -> PublishError {
        let is =
            self.sha256().map_or("nothing any more".to_owned(), |sha256| short(sha256).to_owned());
        PublishError::Raced { name: self.name, is }
    }
}

/// What became of a plugin's place.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PublishReport {
    /// The plugin's name.
    pub plugin: String,
    /// The version that is active now; none if it was taken away.
    pub version: Option<String>,
    /// The SHA-256 of its file.
    pub sha256: Option<String>,
    /// The SHA-256 of the file that was active before.
    pub sha256_before: Option<String>,
    /// Who did it.
    pub by: String,
    /// What tables show now, in words.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// What was looked at before: check, tests, difference.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub looked_at: serde_json::Value,
}

/// A version that is to be the active one.
pub struct Switch<'s> {
    /// The store, with its own plugins.
    pub transform: Transform<'s>,
    /// The version.
    pub plugin: Arc<Plugin>,
    /// Its file.
    pub bytes: Vec<u8>,
    /// What it takes the place of, as it was when that was compared with it.
    pub standing: Standing,
    /// In which way.
    pub way: Way,
    /// Who does it.
    pub by: String,
    /// Whether history is taken to its tables again.
    pub history: History,
}

/// What becomes of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// It stays as it is.
    Stays,
    /// It is taken to its tables again, in new generations of those whose columns don't fit.
    Follows,
}

/// What came of a switch.
pub struct Switched {
    /// What became of the plugin's place.
    pub published: PublishReport,
    /// What was done about history.
    pub replay: Option<ReplayReport>,
    /// The plugins, and documents that failed.
    pub transformed: Transformed,
    /// What went wrong once the version was the active one.
    pub problems: Vec<Problem>,
}

impl Switch<'_> {
    /// Makes the version the active one, with all that follows from it.
    ///
    /// Stopped anywhere, it is or it isn't; the same again brings it to its end.
    ///
    /// # Errors
    ///
    /// If it did not become the active one.
    pub async fn run(self) -> Result<Switched, PublishError> {
        let store = self.transform.store;
        let record = HistoryRecord::of(&self.plugin, &self.by, self.transform.now);
        self.activate(&record).await?;
        let mut published = PublishReport {
            plugin: self.standing.name.clone(),
            version: Some(self.plugin.version().to_owned()),
            sha256: Some(self.plugin.sha256().to_owned()),
            sha256_before: self.standing.sha256().map(str::to_owned),
            by: self.by.clone(),
            remarks: Vec::new(),
            looked_at: serde_json::Value::Null,
        };
        let (mut replay, mut transformed, mut problems) =
            (None, Transformed::default(), Vec::new());
        // Whatever goes wrong from here on, the version is the active one, which is told.
        let followed = match self.history {
            History::Follows => self.follow().await.map(|(replayed, done)| {
                (replay, transformed) = (Some(replayed), done);
            }),
            History::Stays => self.transform.adopt().await.map(|reports| {
                transformed.plugins = reports;
                transformed.plugins.retain(|report| report.name == self.standing.name);
            }),
        };
        problems.extend(followed.err().map(|error| Problem::new(Action::Setup, error)));
        let all = Which::Matching(Filter::default());
        match history(store, &all).await {
            Ok(documents) => {
                let is_whole = problems.is_empty()
                    && transformed.plugins.iter().all(|one| one.status == PluginStatus::Active)
                    && replay.as_ref().is_none_or(|replay| {
                        replay.stopped.is_none() && replay.documents_failed == 0
                    });
                published.remarks.push(self.remark(documents.len(), is_whole));
            }
            Err(error) => problems.push(Problem::new(Action::Retry, error)),
        }
        Ok(Switched { published, replay, transformed, problems })
    }

    async fn activate(&self, record: &HistoryRecord) -> Result<(), PublishError> {
        let (store, standing) = (self.transform.store, &self.standing);
        keep(store, record, &self.bytes).await?;
        let is_there = standing.sha256() == Some(self.plugin.sha256());
        let before = standing.sha256().filter(|_| !is_there);
        let activation = Activation {
            at: self.transform.now.format(&Rfc3339).unwrap_or_default(),
            by: self.by.clone(),
            way: self.way,
            before: before.map(str::to_owned),
        };
        if is_there {
            let now = Standing::of(store, &standing.name).await?;
            if now != *standing {
                return Err(now.raced());
            }
            // An upload that is published where it is: from now on it counts as published.
            if !was_published(store, &record.name, &record.sha256).await? {
                note(store, record, &activation, IsSo::Yes).await?;
            }
            return Ok(());
        }
        // What it takes the place of may be an upload that nobody has kept yet.
        let key = Key::Plugin { name: standing.name.clone() }.to_string();
        if let Some((_, tag)) = &standing.file
            && let Some(object) = store.get(&key).await?.filter(|object| object.tag() == *tag)
        {
            keep_file(&self.transform, &standing.name, &object.bytes).await?;
        }
        // Before it is so: whoever finds the version active finds out how it came to be.
        note(store, record, &activation, IsSo::Yes).await?;
        let written = match &standing.file {
            Some((_, tag)) => store.put_if(&key, &self.bytes, tag).await?,
            None => store.put_new(&key, &self.bytes).await?,
        };
        if !written.is_done() {
            let found = Standing::of(store, &standing.name).await?;
            // An answer that was lost on the way: it is ours.
            if found.sha256() != Some(self.plugin.sha256()) {
                note(store, record, &activation, IsSo::No).await?;
                return Err(found.raced());
            }
        }
        Ok(())
    }

    async fn follow(&self) -> Result<(ReplayReport, Transformed), PipelineError> {
        let (records, _) = table_records(self.transform.store).await?;
        let change = match misfits(self.plugin.tables(), &records) {
            tables if tables.is_empty() => Change::None,
            tables => Change::Generations(tables),
        };
        let replay = Replay {
            transform: self.transform.clone(),
            which: Which::Matching(Filter::default()),
            plugins: vec![self.standing.name.clone()],
            change,
            // Which rows go was shown before the version was published.
            empty: Empty::Allowed,
            mode: Mode::Write,
        };
        replay.run().await
    }

    /// What old snapshots show now.
    fn remark(&self, documents: usize, is_whole: bool) -> String {
        let (name, version) = (&self.standing.name, self.plugin.version());
        match (self.history, is_whole) {
            (_, false) => "not all of it is through: mend what is named here, then run the same command again, which goes on".to_owned(),
            (_, true) if documents == 0 => {
                "there is no history yet: its first rows come with the next run".to_owned()
            }
            (History::Follows, true) => {
                format!("all {documents} snapshots of history show what version {version} makes of them")
            }
            (History::Stays, true) => format!(
                "the next run uses it; the {documents} snapshots of history stay as they are, until: spotify-etl replay --plugin {name}"
            ),
        }
    }
}

/// Takes a plugin away from among the active ones. Its versions stay in history.
///
/// # Errors
///
/// If the store fails, or the plugin's place is not any more as it was looked at.
pub async fn remove(
    transform: &Transform<'_>,
    standing: &Standing,
    by: &str,
) -> Result<PublishReport, PublishError> {
    let (store, Standing { name, file }) = (transform.store, standing);
    let Some((there, tag)) = file else {
        return remove_missing(store, name, by).await;
    };
    // Before the file is gone: a run without it must not take it for missing.
    mark_removed(store, name).await?;
    let key = Key::Plugin { name: name.clone() }.to_string();
    let object = store.get(&key).await?.filter(|object| object.tag() == *tag);
    let Some(object) = object else {
        return Err(Standing::of(store, name).await?.raced());
    };
    keep_file(transform, name, &object.bytes).await?;
    if !store.delete_if(&key, tag).await? {
        let found = Standing::of(store, name).await?;
        if found.file.is_some() {
            return Err(found.raced());
        }
    }
    let error = Key::PluginError { name: name.clone() }.to_string();
    if let Some(object) = store.get(&error).await? {
        store.delete_if(&error, &object.tag()).await?;
    }
    Ok(PublishReport {
        plugin: name.clone(),
        version: None,
        sha256: None,
        sha256_before: Some(there.clone()),
        by: by.to_owned(),
        remarks: vec![format!(
            "its tables stay as they are and get no more rows; it comes back with: spotify-etl plugin rollback {name} {}",
            short(there)
        )],
        looked_at: serde_json::Value::Null,
    })
}

/// Notes that a plugin whose file is gone already is not to be missed.
async fn remove_missing(
    store: &dyn Store,
    name: &str,
    by: &str,
) -> Result<PublishReport, PublishError> {
    let tables = mark_removed(store, name).await?;
    if tables.is_empty() {
        return Err(PublishError::NotThere { name: name.to_owned() });
    }
    Ok(PublishReport {
        plugin: name.to_owned(),
        version: None,
        sha256: None,
        sha256_before: None,
        by: by.to_owned(),
        remarks: vec![format!(
            "its file was gone already; its tables ({}) keep their rows and get no more",
            tables.join(", ")
        )],
        looked_at: serde_json::Value::Null,
    })
}

/// Keeps a file that lies among the plugins, also one that is none.
async fn keep_file(
    transform: &Transform<'_>,
    name: &str,
    bytes: &[u8],
) -> Result<(), PublishError> {
    let now = transform.now;
    let engine = transform.shelf.engine().map_err(PipelineError::from)?;
    let loaded = load(&engine, name, bytes.to_vec()).await.map_err(PipelineError::from)?;
    let record = match loaded {
        Ok(plugin) => HistoryRecord::of(&plugin, UPLOAD, now),
        Err(_) => HistoryRecord {
            name: name.to_owned(),
            version: String::new(),
            sha256: sha256(bytes),
            seen_at: now.format(&Rfc3339).unwrap_or_default(),
            by: UPLOAD.to_owned(),
            tables: Vec::new(),
            activations: Vec::new(),
        },
    };
    Ok(keep(transform.store, &record, bytes).await?)
}

/// As much of a SHA-256 as people compare.
pub fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

/// The version of history that is meant: the one whose SHA-256 begins like this; or else the one that was
/// active before the active one. After a rollback that is the active one itself, so that the same command
/// goes no further back when it is run again.
///
/// # Errors
///
/// If the store fails, or none or several are meant.
pub async fn version_meant(
    store: &dyn Store,
    standing: &Standing,
    begins: Option<&str>,
) -> Result<(HistoryRecord, Vec<u8>), PublishError> {
    let name = &standing.name;
    let all = versions(store, Some(name)).await?;
    if all.is_empty() {
        return Err(PublishError::Unknown { name: name.clone() });
    }
    let record = match begins {
        None => {
            let required = Required::of(store).await?;
            let found = before(&all, standing, required.as_ref());
            found.ok_or(PublishError::NoneBefore { name: name.clone() })?
        }
        Some(begins) => {
            let mut meant = all.into_iter().filter(|one| one.sha256.starts_with(begins));
            let (name, sha256) = (name.clone(), begins.to_owned());
            match (meant.next(), meant.next()) {
                (Some(record), None) => record,
                (None, _) => return Err(PublishError::NoSuchVersion { name, sha256 }),
                _ => return Err(PublishError::Ambiguous { name, sha256 }),
            }
        }
    };
    match file_of(store, &record).await? {
        Some(bytes) => Ok((record, bytes)),
        None => {
            let HistoryRecord { name, sha256, .. } = record;
            let location = store.location(&Key::History { name, sha256 }.to_string());
            Err(PublishError::Damaged { location })
        }
    }
}

fn before(
    all: &[HistoryRecord],
    standing: &Standing,
    required: Option<&Required>,
) -> Option<HistoryRecord> {
    // What was uploaded and refused never was active, so it is nothing to go back to.
    let may_run = |one: &&HistoryRecord| required.is_none_or(|required| required.takes(one));
    let find = |sha256: Option<&str>| all.iter().find(|one| Some(one.sha256.as_str()) == sha256);
    let Some(active) = find(standing.sha256()) else {
        // None is active, or one that nobody knows yet: back to the last that was.
        return all.iter().rev().find(may_run).cloned();
    };
    if !may_run(&active) {
        return all.iter().rev().find(may_run).cloned();
    }
    let earlier = || {
        let mut earlier = all.iter().rev().skip_while(|one| one.sha256 != active.sha256).skip(1);
        earlier.find(may_run).cloned()
    };
    match active.activations.last() {
        Some(Activation { way: Way::Rollback, .. }) => Some(active.clone()),
        Some(Activation { before: Some(before), .. }) => match find(Some(before)) {
            Some(before) if !may_run(&before) => earlier(),
            found => found.cloned(),
        },
        // An upload, or the first: the one that was active last before it.
        _ => earlier(),
    }
}

impl From<VersionError> for PublishError {
    fn from(error: VersionError) -> Self {
        match error {
            VersionError::Store(error) => PublishError::Store(error),
            damaged => PublishError::Version(damaged),
        }
    }
}

/// Why a version did not become active.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store has of a version can't be read.
    #[error(transparent)]
    Version(VersionError),
    /// Nothing could be tried.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// Somebody else was quicker.
    #[error(
        "plugin `{name}` was changed by somebody else meanwhile: active is now {is} (look at the difference to that one, then publish again: spotify-etl plugin diff)"
    )]
    Raced {
        /// The plugin.
        name: String,
        /// The SHA-256 of what is there, or that nothing is.
        is: String,
    },
    /// There is no such plugin.
    #[error("no plugin `{name}` is active in the store (spotify-etl plugin list names them)")]
    NotThere {
        /// What was asked for.
        name: String,
    },
    /// Nobody ever heard of it.
    #[error("no plugin `{name}` in the store's history (spotify-etl plugin list names them all)")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// There is nothing to go back to.
    #[error(
        "history has no version of plugin `{name}` from before the active one (spotify-etl plugin list names them all)"
    )]
    NoneBefore {
        /// The plugin.
        name: String,
    },
    /// No version begins like that.
    #[error(
        "history has no version of plugin `{name}` whose SHA-256 begins with {sha256} (spotify-etl plugin list names them all)"
    )]
    NoSuchVersion {
        /// The plugin.
        name: String,
        /// What was asked for.
        sha256: String,
    },
    /// Several versions begin like that.
    #[error(
        "several versions of plugin `{name}` have a SHA-256 that begins with {sha256} (give more of it)"
    )]
    Ambiguous {
        /// The plugin.
        name: String,
        /// What was asked for.
        sha256: String,
    },
    /// History is not what it was.
    #[error(
        "{location} is gone, or another file than its name says (bring the version's file back there, or publish it from where you have it: spotify-etl plugin publish FILE)"
    )]
    Damaged {
        /// Which object.
        location: String,
    },
}
