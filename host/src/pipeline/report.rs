//! What a run did, as data: for people to read as text, for scripts as JSON, and kept under
//! `runs/`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    listing::{Listing, PageReport, Parts},
    publish::PublishReport,
    totals::Totals,
};
use crate::sources::Identity;

/// Returns how much of a playlist a document holds that is known to be a part of it.
pub fn incomplete(entries: usize, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("incomplete: {entries} of {total} items"),
        None => format!("incomplete: {entries} items, and more exist"),
    }
}

/// What can be done about a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Run the same command again.
    Retry,
    /// Look at this document.
    Document,
    /// Mend this plugin.
    Plugin,
    /// Change a setting, a right, the place of something.
    Setup,
}

/// Something that went wrong, in words, and who can do something about it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Problem {
    /// What can be done.
    pub action: Action,
    /// The plugin, if it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
    /// Its kind, where that decides which commands help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ProblemKind>,
}

/// The kind of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// No entry of a document gave a row, and the run does not accept that.
    NoRows,
}

impl Problem {
    /// A problem that is not a plugin's.
    pub fn new(action: Action, error: impl ToString) -> Self {
        Problem { action, plugin: None, message: error.to_string(), kind: None }
    }

    /// A plugin's problem.
    pub fn of_plugin(name: &str, error: impl ToString) -> Self {
        let plugin = Some(name.to_owned());
        Problem { action: Action::Plugin, plugin, message: error.to_string(), kind: None }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(plugin) = &self.plugin {
            write!(f, "plugin `{plugin}` ")?;
        }
        f.write_str(&self.message)
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct RunReport {
    /// The run's name.
    pub run_id: String,
    /// What was asked for: `run`, `transform`, `publish` and their kind.
    pub command: String,
    /// Where the store is.
    pub store: String,
    /// The host's version.
    pub host_version: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// What it ended with: 0 all done, 1 something failed, 2 what it was for could not be tried.
    pub exit_status: u8,
    /// What was read from Spotify.
    #[serde(default)]
    pub extracts: Vec<ExtractReport>,
    /// The first failing imports and the first others; the rest is on pages.
    pub imports: Vec<ImportReport>,
    /// What was done about history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayReport>,
    /// What was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<DeleteReport>,
    /// What became of a plugin's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishReport>,
    /// The plugins it had.
    pub plugins: Vec<PluginReport>,
    /// The first failing documents and the first others; the rest is on pages.
    pub documents: Vec<DocumentReport>,
    /// The numbers of all imports and documents, listed or not.
    #[serde(default)]
    pub totals: Totals,
    /// Where the imports and documents are that are not listed here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<PageReport>,
    /// What went wrong beside all these.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// What will go wrong unless somebody does something.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What became of a playlist to extract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtractStatus {
    /// It waits now.
    Landed,
    /// The same was landed in the same second, and waits.
    Waiting,
    /// The same was landed in the same second, and its tables are stored.
    Processed,
    /// It didn't change since it was landed last, and was not read.
    Unchanged,
    /// It was landed since the time that this was planned for, and was not read again.
    Done,
    /// Nothing was landed.
    Failed,
}

/// One playlist to extract.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ExtractReport {
    /// The playlist.
    pub playlist_id: String,
    /// What the store's list calls it.
    pub label: Option<String>,
    /// Its name, where known.
    pub playlist_name: Option<String>,
    /// What became of it.
    pub status: ExtractStatus,
    /// The document it became; of an unchanged one the last.
    pub document: Option<String>,
    /// That one's key.
    pub key: Option<String>,
    /// Spotify's mark of its state.
    pub snapshot_id: Option<String>,
    /// Its entries.
    pub entries: Option<usize>,
    /// The pages they came in.
    pub pages: Option<usize>,
    /// How many bytes these have.
    pub bytes: Option<u64>,
    /// How many requests it took.
    pub requests: u32,
    /// What is odd.
    pub warnings: Vec<String>,
    /// Why it failed.
    pub problem: Option<Problem>,
}

/// What became of something to import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportStatus {
    /// It waits now.
    Landed,
    /// It is there and waits already.
    Waiting,
    /// It is there and its tables are stored.
    Processed,
    /// It would land.
    WouldLand,
    /// It is a part of a document that another file begins.
    Joined,
    /// It was not imported, as it is not clear which playlist or time it is of.
    Unclear,
    /// It was left alone.
    Refused,
}

/// One thing to import.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ImportReport {
    /// The file.
    pub source: String,
    /// What became of it.
    pub status: ImportStatus,
    /// The document it is.
    pub document: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// The playlist.
    pub playlist_id: Option<String>,
    /// The playlist's name, where known.
    pub playlist_name: Option<String>,
    /// When it was read, RFC 3339.
    pub extracted_at: Option<String>,
    /// Its entries.
    pub entries: Option<usize>,
    /// Whether these are all, where that can be told.
    pub complete: Option<bool>,
    /// How many items the playlist has, as Spotify says it.
    #[serde(default)]
    pub total: Option<u64>,
    /// Where playlist and time come from.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// Why it was refused.
    pub problem: Option<Problem>,
}

/// What was done about history.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ReplayReport {
    /// Whether it was only tried, and nothing written.
    pub dry_run: bool,
    /// How many documents were meant.
    pub documents: usize,
    /// Of how many lineage said that all is as it should be.
    pub documents_equal: usize,
    /// Of how many a file is another one now.
    pub documents_rewritten: usize,
    /// How many a plugin failed on, whose old files stay.
    pub documents_failed: usize,
    /// How many files are others now.
    pub files_written: usize,
    /// How many of each table.
    #[serde(default)]
    pub files_by_table: BTreeMap<String, usize>,
    /// How many were made again, and are the same as before.
    pub files_equal: usize,
    /// How many documents were sent to a queue instead.
    #[serde(default)]
    pub documents_queued: usize,
    /// What tables changed as a whole, in words.
    pub switched: Vec<String>,
    /// Why they did not, in words.
    pub stopped: Option<String>,
}

/// What a `delete` command deleted. The documents are among those of the run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct DeleteReport {
    /// Whether nothing was deleted, and the numbers say what would be.
    pub dry_run: bool,
    /// The playlist, if all its documents were named by it.
    pub playlist_id: Option<String>,
    /// Whether that playlist is still on the list of playlists, so that the next run extracts it again.
    pub is_listed: bool,
    /// The number of documents, and of other programs' files.
    pub documents: usize,
    /// The number of raw objects.
    pub raw_objects: usize,
    /// The number of table files, in all generations and formats.
    pub table_files: usize,
    /// The number of table files of each table.
    pub files_by_table: BTreeMap<String, usize>,
    /// The number of lineage records.
    pub lineage_records: usize,
}

/// How a plugin took part in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginStatus {
    /// As it lies among the plugins.
    Active,
    /// An older version stood in for the one there.
    Fallback,
    /// Not at all.
    Refused,
    /// Not at all: its file is not there, although tables of the store are its own.
    Missing,
}

/// One plugin.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PluginReport {
    /// Its name.
    pub name: String,
    /// How it took part.
    pub status: PluginStatus,
    /// The version that ran.
    pub version: Option<String>,
    /// The SHA-256 of the file that ran, or that was refused.
    pub sha256: String,
    /// The SHA-256 of the file that was refused, if another one ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_sha256: Option<String>,
    /// The tables it fills.
    pub tables: Vec<String>,
    /// Why the file among the plugins was refused.
    pub problem: Option<Problem>,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentStatus {
    /// Its tables are stored.
    Stored,
    /// It waits, as before.
    Waiting,
    /// No plugin could read it; it was put aside.
    Failed,
    /// It is there already, under another time; the copy was taken away.
    Known,
    /// Another run moved it meanwhile.
    Gone,
    /// It was deleted, with everything derived from it.
    Deleted,
    /// It would be deleted.
    WouldDelete,
    /// It was to be deleted, and some of its objects are still in the store.
    NotDeleted,
}

/// One document.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DocumentReport {
    /// Where it was.
    pub key: String,
    /// Where it is.
    pub now_at: Option<String>,
    /// What became of it.
    pub status: DocumentStatus,
    /// The document, if it is one.
    pub document: Option<String>,
    /// The playlist's name, where known.
    pub playlist_name: Option<String>,
    /// Its entries.
    pub entries: usize,
    /// Whether these are all, where that can be told.
    #[serde(default)]
    pub complete: Option<bool>,
    /// How many items the playlist has, as Spotify says it.
    #[serde(default)]
    pub total: Option<u64>,
    /// The tables stored.
    pub tables: Vec<TableReport>,
    /// The plugins that said it is not for them.
    pub unsupported: Vec<String>,
    /// How many entries were passed over, by reason.
    pub skipped: BTreeMap<String, usize>,
    /// Which, up to the limit.
    pub skips: Vec<SkipReport>,
    /// How many more of these a report had no room for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skips_omitted: usize,
    /// What is odd.
    pub warnings: Vec<String>,
    /// What went wrong.
    pub problems: Vec<Problem>,
    /// The keys of the objects that were deleted, or would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<String>,
}

/// An entry that was passed over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct SkipReport {
    /// Its position, from 1.
    pub position: u32,
    /// Why.
    pub reason: String,
}

/// The rows of one table.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// Who made them.
    pub plugin: String,
    /// How many.
    pub rows: u64,
    /// Whether its rows are told apart by a key: one that has none is about the whole document.
    pub keyed: bool,
    /// Where they are.
    pub key: String,
    /// Where they are in further formats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_at: Vec<String>,
    /// Values of which line breaks became a space.
    pub line_breaks_replaced: u64,
}

impl DocumentReport {
    /// A document of which nothing is known but its key.
    pub fn new(key: String) -> Self {
        DocumentReport {
            now_at: Some(key.clone()),
            key,
            status: DocumentStatus::Waiting,
            document: None,
            playlist_name: None,
            entries: 0,
            complete: None,
            total: None,
            tables: Vec::new(),
            unsupported: Vec::new(),
            skipped: BTreeMap::new(),
            skips: Vec::new(),
            skips_omitted: 0,
            warnings: Vec::new(),
            problems: Vec::new(),
            deleted: Vec::new(),
        }
    }

    /// Returns the skipped entries in words, such as `2 episode, 5 local_file`.
    pub fn skipped_by_reason(&self) -> String {
        let reasons = self.skipped.iter().map(|(reason, count)| format!("{count} {reason}"));
        reasons.collect::<Vec<_>>().join(", ")
    }

    /// Returns whether its tables have no row of any of its entries. Tables without a key don't count: they have
    /// a row about the document, whatever its entries are.
    pub fn has_no_rows(&self) -> bool {
        let only_unkeyed = self.tables.iter().all(|table| !table.keyed);
        let mut counted = self.tables.iter().filter(|table| table.keyed || only_unkeyed);
        self.entries > 0 && !self.tables.is_empty() && counted.all(|table| table.rows == 0)
    }

    /// Returns whether it was rejected or accepted although no entry gave a row.
    pub fn is_empty(&self) -> bool {
        let is_no_rows = |problem: &Problem| problem.kind == Some(ProblemKind::NoRows);
        let is_judged =
            self.status == DocumentStatus::Stored || self.problems.iter().any(is_no_rows);
        is_judged && self.has_no_rows()
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl RunReport {
    /// Reads a stored report. Reports of older hosts have no totals: they list everything.
    ///
    /// # Errors
    ///
    /// If the bytes are no report.
    pub fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut report: RunReport = serde_json::from_slice(bytes)?;
        if report.totals == Totals::default() {
            report.documents.iter().for_each(|document| report.totals.documents.add(document));
            report.imports.iter().for_each(|import| report.totals.imports.add(import));
        }
        Ok(report)
    }

    /// Adds documents.
    pub fn add_documents(&mut self, documents: Listing<DocumentReport>) {
        let Parts { listed, totals, pages, problem } = documents.into_parts();
        self.documents.extend(listed);
        self.totals.documents.add_all(totals);
        self.pages.extend(pages);
        self.problems.extend(problem);
    }

    /// Adds imports.
    pub fn add_imports(&mut self, imports: Listing<ImportReport>) {
        let Parts { listed, totals, pages, problem } = imports.into_parts();
        self.imports.extend(listed);
        self.totals.imports.add_all(totals);
        self.pages.extend(pages);
        self.problems.extend(problem);
    }

    /// The listed problems.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let extracts = self.extracts.iter().filter_map(|extract| extract.problem.as_ref());
        let imports = self.imports.iter().filter_map(|import| import.problem.as_ref());
        let plugins = self.plugins.iter().filter_map(|plugin| plugin.problem.as_ref());
        let documents = self.documents.iter().flat_map(|document| &document.problems);
        self.problems.iter().chain(extracts).chain(imports).chain(plugins).chain(documents)
    }

    /// The number of problems, listed or not.
    pub fn problem_count(&self) -> usize {
        let Totals { documents, imports } = &self.totals;
        let extracts = self.extracts.iter().filter(|extract| extract.problem.is_some()).count();
        let plugins = self.plugins.iter().filter(|plugin| plugin.problem.is_some()).count();
        self.problems.len()
            + extracts
            + plugins
            + documents.problem_count()
            + imports.problem_count()
    }

    /// The first problem that a retry may solve, listed or not.
    pub fn first_retry(&self) -> Option<&Problem> {
        let mut listed = self.problems();
        let listed = listed.find(|problem| problem.action == Action::Retry);
        listed.or(self.totals.documents.first_retry.as_ref())
    }

    /// The documents and imports that are on pages.
    pub fn count_on_pages(&self) -> usize {
        self.pages.iter().map(|page| page.count).sum()
    }

    /// Returns whether it failed before it tried any playlist, document or plugin.
    pub fn could_not_start(&self) -> bool {
        let RunReport { problems, extracts, plugins, replay, published, totals, .. } = self;
        !problems.is_empty()
            && extracts.is_empty()
            && plugins.is_empty()
            && replay.is_none()
            && published.is_none()
            && totals.documents.count + totals.imports.count == 0
    }

    /// The exit status that this run has earned.
    pub fn judge(&self) -> u8 {
        let stopped = self.replay.as_ref().is_some_and(|replay| replay.stopped.is_some());
        u8::from(stopped || self.problem_count() > 0)
    }
}

/// What happens to a document of which no entry gives a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// It is a problem: the document waits for a plugin that reads it, or for a person who accepts or deletes it.
    Fails,
    /// It is accepted.
    Allowed,
}
