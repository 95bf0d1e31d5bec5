//! The order of things.
//!
//! A run gets its documents, chooses its plugins, hands each document to each plugin, stores what
//! is fit to be stored, and moves the document. How a step is done is known elsewhere; this is
//! the only place that knows which comes after which.

pub mod active;
pub mod install;
pub mod landing;
pub mod lineage;
pub mod report;
mod transform;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use futures_util::{StreamExt, stream};
use time::OffsetDateTime;

use crate::{
    config::Limits,
    document::DocumentId,
    layout::{self, Key, Stage},
    plugin::{Engine, EngineError},
    source::SourceError,
    store::{Listed, Store, StoreError, list_all},
};
use active::{ActiveSet, PluginPlace, activate, active_keys};
use lineage::{Lineage, jumps};
use report::{Action, DocumentReport, DocumentStatus, PluginReport, Problem};
use transform::{Outcome, Workshop, transform};

/// What a transform needs.
pub struct Transform<'s> {
    /// The store.
    pub store: &'s dyn Store,
    /// Where the plugins are.
    pub plugins: PluginPlace<'s>,
    /// Where they are kept once compiled, if anywhere.
    pub cache: Option<PathBuf>,
    /// The limits.
    pub limits: Limits,
    /// How many documents are worked on at a time.
    pub jobs: usize,
    /// The time.
    pub now: OffsetDateTime,
    /// Who watches.
    pub progress: &'s dyn Progress,
}

/// Which documents.
#[derive(Clone, Debug)]
pub enum Selection {
    /// All that wait.
    Waiting,
    /// Those that were brought in just now, by key.
    Landed(Vec<String>),
    /// These: keys, or documents by name, wherever they are.
    Named(Vec<String>),
}

/// Who watches a run.
pub trait Progress: Sync {
    /// So many things of a kind begin.
    fn begin(&self, what: &'static str, count: usize);
    /// One is done.
    fn advance(&self);
    /// All are.
    fn end(&self);
}

/// What became of the plugins and the documents of a run.
#[derive(Debug, Default)]
pub struct Transformed {
    /// The plugins.
    pub plugins: Vec<PluginReport>,
    /// The documents, in the order of their keys.
    pub documents: Vec<DocumentReport>,
}

impl Transform<'_> {
    /// Takes documents to their tables.
    ///
    /// # Errors
    ///
    /// If nothing could be tried. What goes wrong with one document or plugin is in the report.
    pub async fn run(&self, selection: &Selection) -> Result<Transformed, PipelineError> {
        self.require_plugins().await?;
        let (documents, missing) = select(self.store, selection).await?;
        if documents.is_empty() {
            return Ok(Transformed::default());
        }
        let engine = Arc::new(Engine::new(&self.limits, self.cache.as_deref())?);
        let set = activate(self.store, self.plugins, &engine, self.now).await?;
        let refused = set.refused();
        let ActiveSet { plugins, reports, .. } = set;
        let workshop = Workshop {
            store: self.store,
            plugins: Arc::new(plugins),
            refused,
            limits: self.limits.clone(),
        };
        self.progress.begin("transform", documents.len());
        let outcomes: Vec<Outcome> = stream::iter(&documents)
            .map(|listed| async {
                let outcome = transform(&workshop, listed).await;
                self.progress.advance();
                outcome
            })
            .buffered(self.jobs.max(1))
            .collect()
            .await;
        self.progress.end();
        let mut documents = compare_with_last(self.store, outcomes).await?;
        documents.extend(missing);
        Ok(Transformed { plugins: reports, documents })
    }

    /// Fails if there are no plugins, before anything is done for them.
    ///
    /// # Errors
    ///
    /// If there are none, or the store fails.
    pub async fn require_plugins(&self) -> Result<(), PipelineError> {
        if active_keys(self.plugins).await?.is_empty() {
            let location = self.plugins.store.location(self.plugins.prefix);
            return Err(PipelineError::NoPlugins { location });
        }
        Ok(())
    }
}

/// The documents that are meant, and what is to be said of those that are not there.
async fn select(
    store: &dyn Store,
    selection: &Selection,
) -> Result<(Vec<Listed>, Vec<DocumentReport>), PipelineError> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    match selection {
        Selection::Waiting => {
            found = list_all(store, layout::TO_PROCESS).await?;
            found.retain(|listed| listed.key.parse::<Key>().is_ok());
        }
        Selection::Landed(keys) => {
            for key in keys {
                // Another run may have taken it already.
                found.extend(find(store, key).await?);
            }
        }
        Selection::Named(names) => {
            for name in names {
                match find(store, name).await? {
                    Some(listed) => found.push(listed),
                    None => missing.push(not_there(store, name)),
                }
            }
            if found.is_empty() {
                let (name, store) = (names.join("`, `"), store.location(""));
                return Err(PipelineError::NoSuchKey { name, store });
            }
        }
    }
    found.sort_by(|one, other| one.key.cmp(&other.key));
    found.dedup_by(|one, other| one.key == other.key);
    Ok((found, missing))
}

fn not_there(store: &dyn Store, name: &str) -> DocumentReport {
    let (name, store) = (name.to_owned(), store.location(""));
    let mut report = DocumentReport::new(name.clone());
    report.status = DocumentStatus::Gone;
    let problem = PipelineError::NoSuchKey { name, store };
    report.problems.push(Problem::new(Action::Setup, problem));
    report
}

/// Finds a document by its key, or by its name in whichever stage it is.
async fn find(store: &dyn Store, name: &str) -> Result<Option<Listed>, StoreError> {
    let stages = [Stage::ToProcess, Stage::Failed, Stage::Processed];
    let keys: Vec<String> = match name.parse::<DocumentId>() {
        Ok(document) => {
            stages.map(|stage| Key::Raw { stage, document: document.clone() }.to_string()).into()
        }
        Err(()) => vec![name.to_owned()],
    };
    for key in &keys {
        let is_raw = matches!(key.parse(), Ok(Key::Raw { .. } | Key::Foreign { .. }));
        if is_raw
            && let Some(listed) =
                list_all(store, key).await?.into_iter().find(|listed| listed.key == *key)
        {
            return Ok(Some(listed));
        }
    }
    Ok(None)
}

/// Warns of tables that differ much from those of the playlist's last snapshot.
async fn compare_with_last(
    store: &dyn Store,
    outcomes: Vec<Outcome>,
) -> Result<Vec<DocumentReport>, PipelineError> {
    let mut known: HashMap<DocumentId, Lineage> = HashMap::new();
    let mut histories: HashMap<String, Vec<DocumentId>> = HashMap::new();
    for (id, lineage) in outcomes.iter().filter_map(|outcome| outcome.lineage.as_ref()) {
        known.insert(id.clone(), lineage.clone());
        let playlist = id.playlist_id.as_str();
        if !histories.contains_key(playlist) {
            histories.insert(playlist.to_owned(), snapshots(store, playlist).await?);
        }
    }
    let mut reports = Vec::new();
    for Outcome { mut report, lineage } in outcomes {
        if let Some((id, lineage)) = lineage
            && let Some(history) = histories.get(id.playlist_id.as_str())
            && let Some(last) =
                history.iter().rev().find(|other| other.extracted_at < id.extracted_at)
        {
            if !known.contains_key(last)
                && let Some(object) =
                    store.get(&Key::Lineage { document: last.clone() }.to_string()).await?
                && let Ok(read) = serde_json::from_slice(&object.bytes)
            {
                known.insert(last.clone(), read);
            }
            report.warnings = known.get(last).map(|last| jumps(last, &lineage)).unwrap_or_default();
        }
        reports.push(report);
    }
    Ok(reports)
}

/// A playlist's snapshots that have tables, oldest first.
async fn snapshots(store: &dyn Store, playlist: &str) -> Result<Vec<DocumentId>, StoreError> {
    let listed = list_all(store, &layout::lineage_prefix(playlist)).await?;
    let document = |key: &str| match key.parse() {
        Ok(Key::Lineage { document }) if document.playlist_id.as_str() == playlist => {
            Some(document)
        }
        _ => None,
    };
    let mut found: Vec<_> = listed.iter().filter_map(|listed| document(&listed.key)).collect();
    found.sort_by_key(|id| id.extracted_at);
    Ok(found)
}

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Plugins can't be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is nothing to import.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No plugin.
    #[error(
        "no plugins in {location} (put some into a store with `spotify-etl init --store STORE --from FOLDER`, or copy a .wasm there)"
    )]
    NoPlugins {
        /// Where they should be.
        location: String,
    },
    /// No such document.
    #[error(
        "no document `{name}` in {store} (`spotify-etl status` names those that wait; a key begins with raw_data/to_process/, raw_data/failed/ or raw_data/processed/)"
    )]
    NoSuchKey {
        /// What was asked for.
        name: String,
        /// The store.
        store: String,
    },
    /// A table's record can't be read.
    #[error(
        "{location} is not a table's record: {source} (restore it; to start the table anew, take it away together with the table's files)"
    )]
    Record {
        /// Where.
        location: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// A table's record of another format.
    #[error(
        "{location} is a table's record of format {found}, and this host reads format 1 (use a newer spotify-etl)"
    )]
    RecordFormat {
        /// Where.
        location: String,
        /// Its format.
        found: u32,
    },
}
