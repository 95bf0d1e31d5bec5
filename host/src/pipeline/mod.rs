//! The order of things.
//!
//! A run gets its documents, chooses its plugins, hands each document to each plugin, stores what
//! is fit to be stored, and moves the document. How a step is done is known elsewhere; this is
//! the only place that knows which comes after which.

pub mod active;
pub mod cataloging;
pub mod check;
pub mod delete;
pub mod diff;
mod earlier;
pub mod explain;
pub mod extract;
pub mod failed_start;
pub mod install;
pub mod jobs;
pub mod landing;
pub mod lineage;
pub mod listing;
pub mod loads;
mod moves;
mod owners;
pub mod playlists;
pub mod plugin_files;
pub mod publish;
pub mod records;
pub mod replay;
pub mod report;
pub mod required;
pub mod runs;
pub mod strays;
pub mod survey;
mod table_files;
mod table_folders;
pub mod tables;
pub mod totals;
mod transform;
pub mod trial;
pub mod tried;
pub mod verify;
pub mod versions;

use std::sync::Arc;

use futures_util::{StreamExt, future::join, stream};
use time::OffsetDateTime;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    config::Limits,
    document::{DocumentId, FutureTimes},
    layout::{self, Format, Key, Stage},
    plugin::EngineError,
    sources::files::SourceError,
    spotify::TokenError,
    store::{Listed, Store, StoreError, list_all, list_readable},
};
use active::{ActiveSet, PluginPlace, Shelf, activate};
use earlier::Earlier;
use jobs::{Jobs, Until, hand_over};
use lineage::InvalidLineage;
use listing::{Listing, ReportPages};
use plugin_files::{IgnoredFiles, PluginFiles, plugin_files};
use records::Records;
use report::{Action, DocumentReport, DocumentStatus, Empty, PluginReport, Problem};
use transform::{Crew, Outcome, Workshop, transform};

/// What a transform needs.
#[derive(Clone)]
pub struct Transform<'s> {
    /// The store.
    pub store: &'s dyn Store,
    /// Where the plugins are.
    pub plugins: PluginPlace<'s>,
    /// Those that are loaded already.
    pub shelf: &'s Shelf,
    /// The limits.
    pub limits: Limits,
    /// How many documents are worked on at a time.
    pub jobs: usize,
    /// How the files of new tables are written, if somebody said so.
    pub formats: Option<Vec<Format>>,
    /// The time.
    pub now: OffsetDateTime,
    /// When no further document is begun.
    pub until: Until,
    /// Whether files that are no stored documents may have a time in the future.
    pub future: FutureTimes,
    /// What happens to a document of which no entry gives a row.
    pub empty: Empty,
    /// Where the details of documents go that the report has no room for; they are left out if there are none.
    pub pages: Option<ReportPages>,
    /// Who watches.
    pub progress: &'s dyn Progress,
}

/// How many documents are finished before they are compared with earlier ones and handed on: what a run keeps
/// of each until then is kilobytes.
const HANDED_ON_AT_ONCE: usize = 1_000;
/// How many documents there are at most between being begun and being handed on.
const UNFINISHED_MAX: usize = 2 * HANDED_ON_AT_ONCE;

/// Which documents.
#[derive(Clone, Debug)]
pub enum Selection {
    /// All that wait.
    Waiting,
    /// Those that were brought in just now.
    Landed(Vec<Arrival>),
    /// These: keys, or documents by name, wherever they are.
    Named(Vec<String>),
}

/// A document that was brought in just now.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// Its key.
    pub key: String,
    /// Its size in bytes, where somebody said it.
    pub size: Option<u64>,
}

/// Whether anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What is to be written is.
    Write,
    /// Nothing is: what would be is only said.
    DryRun,
}

/// Who watches a run.
pub trait Progress: Sync {
    /// So many things of a kind begin.
    fn begin(&self, what: &'static str, count: usize);
    /// So many more of them are found.
    fn expect(&self, more: usize);
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
    /// The documents: those of others first, then by playlist and time.
    pub documents: Listing<DocumentReport>,
    /// What somebody may not expect.
    pub warnings: Vec<String>,
    /// What went wrong beside these, such as a folder that could not be read.
    pub problems: Vec<Problem>,
}

impl Transform<'_> {
    /// Takes documents to their tables.
    ///
    /// # Errors
    ///
    /// If nothing could be tried. What goes wrong with one document or plugin is in the report.
    pub async fn run(&self, selection: &Selection) -> Result<Transformed, PipelineError> {
        // Before the records are read, in `work`: whoever switches a table to another generation takes
        // to it afterwards what waited by then, so that none of these is left with the old one.
        let Selected { documents, missing, problems } = select(self.store, selection).await?;
        if documents.is_empty() {
            let warnings = self.require_plugins().await?.warnings();
            return Ok(Transformed { problems, warnings, ..Transformed::default() });
        }
        // Whatever the store has to find out before it can be trusted it finds out meanwhile; the
        // first write that needs it waits, and says what is wrong.
        let (_, done) = join(self.store.make_ready(), self.work(documents, selection)).await;
        let mut transformed = done?;
        for report in missing {
            transformed.documents.push(report);
            transformed.documents.save_full_pages(self.store, self.pages.as_ref()).await;
        }
        transformed.problems.extend(problems);
        transformed.documents.save_pages(self.store, self.pages.as_ref()).await;
        Ok(transformed)
    }

    async fn work(
        &self,
        documents: Vec<Listed>,
        selection: &Selection,
    ) -> Result<Transformed, PipelineError> {
        let set = activate(&self.records(), self.plugins, self.shelf, self.now).await?;
        let (refused, mut warnings) = (set.refused(), set.ignored.warnings());
        warnings.extend(self.other_formats(&set));
        let ActiveSet { plugins, reports, .. } = set;
        let workshop = Workshop {
            store: self.store,
            crew: Arc::new(Crew::of(plugins)),
            refused,
            limits: self.limits.clone(),
            jobs: Jobs::new(self.jobs, self.until.clone(), &self.limits),
            now: self.now,
            future: self.future,
            empty: self.empty,
        };
        self.progress.begin("transform", documents.len());
        // Of equal files whose time is only assumed the first is kept, so they go one by one.
        let is_ours = |listed: &Listed| matches!(listed.key.parse(), Ok(Key::Raw { .. }));
        let (mut ours, foreign): (Vec<_>, Vec<_>) = documents.into_iter().partition(is_ours);
        // Whatever stage a document is in: each is compared with those before it.
        ours.sort_by(|one, other| in_stage(&one.key).cmp(in_stage(&other.key)));
        let mut earlier = Earlier::new(self.store, self.now);
        let mut listing = Listing::default();
        let unfinished = Semaphore::new(UNFINISHED_MAX);
        let one = |listed| {
            let (workshop, unfinished) = (&workshop, &unfinished);
            async move {
                // Before anything else, so that a document that waits here holds nothing.
                let permit = unfinished.acquire().await.ok();
                let outcome = match workshop.jobs.is_over() {
                    true => transform::not_begun(listed),
                    false => transform(workshop, listed).await,
                };
                self.progress.advance();
                (outcome, permit)
            }
        };
        let foreign = stream::iter(&foreign).map(one).buffered(1);
        let ours = stream::iter(&ours).map(one).buffered(workshop.jobs.on_the_way());
        let mut outcomes = Vec::new();
        hand_over(foreign.chain(ours), async |outcome| {
            outcomes.push(outcome);
            if outcomes.len() >= HANDED_ON_AT_ONCE {
                let some = std::mem::take(&mut outcomes);
                self.hand_on(some, selection, &mut earlier, &mut listing).await;
            }
        })
        .await;
        self.hand_on(outcomes, selection, &mut earlier, &mut listing).await;
        self.progress.end();
        let warnings = warnings.into_iter().chain(earlier.future_warning()).collect();
        let plugins = reports;
        Ok(Transformed { plugins, documents: listing, warnings, problems: Vec::new() })
    }

    /// Compares finished documents with earlier ones, and adds them to the listing.
    async fn hand_on(
        &self,
        outcomes: Vec<(Outcome, Option<SemaphorePermit<'_>>)>,
        selection: &Selection,
        earlier: &mut Earlier<'_>,
        listing: &mut Listing<DocumentReport>,
    ) {
        let (mut outcomes, _permits): (Vec<_>, Vec<_>) = outcomes.into_iter().unzip();
        if matches!(selection, Selection::Landed(_)) {
            outcomes.retain(|Outcome { report, .. }| {
                report.status != DocumentStatus::Gone || !report.problems.is_empty()
            });
        }
        for report in earlier.compare(outcomes).await {
            listing.push(report);
            listing.save_full_pages(self.store, self.pages.as_ref()).await;
        }
    }

    /// The records as the store has them.
    fn records(&self) -> Records<'_> {
        let records = Records::of(self.store);
        match &self.formats {
            Some(formats) => Records { formats: formats.clone(), ..records },
            None => records,
        }
    }

    /// Says which tables are written in other formats than somebody asks for: a table changes its
    /// formats as a whole or not at all.
    fn other_formats(&self, set: &ActiveSet) -> Vec<String> {
        let Some(wanted) = &self.formats else { return Vec::new() };
        let targets = set.plugins.iter().flat_map(|active| {
            let names = active.plugin.tables().iter().map(|table| &table.name);
            names.zip(&active.targets)
        });
        let others = targets.filter(|(_, target)| target.formats != *wanted);
        let others: Vec<_> = others.map(|(name, target)| (name, list(&target.formats))).collect();
        let Some((_, formats)) = others.first() else { return Vec::new() };
        let names: Vec<_> = others.iter().map(|(name, _)| name.as_str()).collect();
        vec![format!(
            "{} stay written as {formats}, as their records have it (a table changes as a whole: spotify-etl replay --format {})",
            names.join(", "),
            list(wanted)
        )]
    }

    /// Writes what the plugins there are change even without a document: table records and history.
    ///
    /// # Errors
    ///
    /// If there are none, or the store fails.
    pub async fn adopt(&self) -> Result<Vec<PluginReport>, PipelineError> {
        Ok(activate(&self.records(), self.plugins, self.shelf, self.now).await?.reports)
    }

    /// Fails if there are no plugins, before anything is done for them. Returns the files that are none.
    ///
    /// # Errors
    ///
    /// If there are none, or the store fails.
    pub async fn require_plugins(&self) -> Result<IgnoredFiles, PipelineError> {
        let PluginFiles { plugins, ignored } = plugin_files(self.plugins).await?;
        if plugins.is_empty() {
            return Err(PipelineError::no_plugins(self.plugins, &ignored));
        }
        Ok(ignored)
    }
}

fn list(formats: &[Format]) -> String {
    formats.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The documents of a run.
struct Selected {
    /// Those that were found.
    documents: Vec<Listed>,
    /// Reports of those that were named and were not found.
    missing: Vec<DocumentReport>,
    /// What could not be read, where more may be waiting.
    problems: Vec<Problem>,
}

/// Finds the documents of a selection.
async fn select(store: &dyn Store, selection: &Selection) -> Result<Selected, PipelineError> {
    let (mut found, mut missing, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    match selection {
        Selection::Waiting => {
            let (listed, unreadable) = list_readable(store, layout::TO_PROCESS).await?;
            problems.extend(unreadable.iter().map(|error| Problem::new(Action::Setup, error)));
            found = listed;
            found.retain(|listed| listed.key.parse::<Key>().is_ok());
        }
        Selection::Landed(arrivals) => {
            for Arrival { key, size } in arrivals {
                // Another run may have taken it already, which is seen when it is read.
                match size {
                    Some(size) => found.push(Listed {
                        key: key.clone(),
                        size: *size,
                        modified: OffsetDateTime::UNIX_EPOCH,
                        tag: None,
                        stamp: None,
                    }),
                    None => found.extend(find(store, key).await?),
                }
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
    Ok(Selected { documents: found, missing, problems })
}

/// The part of a raw document's key that is the same in each stage.
fn in_stage(key: &str) -> &str {
    let stages = [Stage::ToProcess, Stage::Failed, Stage::Processed];
    stages.iter().find_map(|stage| key.strip_prefix(stage.prefix())).unwrap_or(key)
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

/// The bytes of a document by its key, or by its name in whichever stage it is; with its key.
///
/// # Errors
///
/// If the store fails.
pub async fn document_bytes(
    store: &dyn Store,
    name: &str,
) -> Result<Option<(String, Vec<u8>)>, StoreError> {
    let Some(listed) = find(store, name).await? else { return Ok(None) };
    let object = store.get(&listed.key).await?;
    Ok(object.map(|object| (listed.key, object.bytes.into())))
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
    /// Spotify gives no access.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Spotify gave no access in the time that there was.
    #[error(
        "there was no time left to get an access token (run it again, with a longer time limit)"
    )]
    NoTime,
    /// Plugins could not be loaded in the time that there was.
    #[error(
        "there was no time left to load plugin `{name}` (run it again, with a longer time limit)"
    )]
    NoTimeToLoad {
        /// The plugin.
        name: String,
    },
    /// The time is outside the years that tables have.
    #[error("the clock of this machine says {}, which is outside the years 2006 to 2060 (set it)", .now.date())]
    Clock {
        /// What it says.
        now: OffsetDateTime,
    },
    /// No plugin.
    #[error(
        "no plugins in {location}{ignored} (put some into a store with `spotify-etl init --store STORE --from FOLDER`, or copy a .wasm there)"
    )]
    NoPlugins {
        /// Where they should be.
        location: String,
        /// What is said of files there that are ignored, if there are such files.
        ignored: String,
    },
    /// The setting that only published versions run can't be read.
    #[error(
        "{location} can't be read: {problem} (restore it; or turn it on again: spotify-etl plugin require-publish off, then on)"
    )]
    Setting {
        /// Where it is.
        location: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A table has no further generation.
    #[error(
        "table `{table}` has the last generation that a table can have (look at who wrote its record, and restore it)"
    )]
    NoMoreGenerations {
        /// The table.
        table: String,
    },
    /// No such table.
    #[error(
        "no table `{table}`: a new generation is of a table that has a record and that a plugin in the store declares (`spotify-etl plugin inspect` says what a plugin declares)"
    )]
    NoSuchTable {
        /// What was asked for.
        table: String,
    },
    /// No document of history is meant.
    #[error(
        "no document of history is of that playlist and those days (`spotify-etl status` names the playlists and their last days)"
    )]
    NoHistory,
    /// No such plugin.
    #[error("no plugin `{name}` in the store (`spotify-etl status` names them)")]
    NoSuchPlugin {
        /// What was asked for.
        name: String,
    },
    /// What is kept of a document's table files can't be read.
    #[error(
        "{location} is no lineage: {source} (take it away, then make it again: spotify-etl replay)"
    )]
    Lineage {
        /// Where it is.
        location: String,
        /// What is wrong with it.
        source: InvalidLineage,
    },
    /// Nothing is known of a table file.
    #[error(
        "lineage has nothing about {location}, so nobody can say what made it (make it again: delete it, then spotify-etl replay)"
    )]
    NoLineage {
        /// Which.
        location: String,
    },
    /// Neither a table file nor a document.
    #[error(
        "`{name}` is neither a table file nor a document of {store} (give a key such as transformed_data/song_data/..., or a document's name, as the column `document` has it)"
    )]
    NoSuchOrigin {
        /// What was asked for.
        name: String,
        /// The store.
        store: String,
    },
    /// There is no document to delete.
    #[error("nothing was deleted: {}", .problems.join("; "))]
    NothingToDelete {
        /// Why, for each name.
        problems: Vec<String>,
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
}

impl PipelineError {
    /// Says that there are no plugins in a place, and which files there are not plugins.
    pub fn no_plugins(place: PluginPlace<'_>, ignored: &IgnoredFiles) -> Self {
        let location = place.store.location(place.prefix);
        let ignored: String =
            ignored.warnings().iter().map(|warning| format!("; {warning}")).collect();
        PipelineError::NoPlugins { location, ignored }
    }
}
