//! What all documents and imports of a run came to, in numbers: a report lists only some of them one by
//! one, and whatever is summed over a run is summed here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::report::{
    Action, DocumentReport, DocumentStatus, ImportReport, ImportStatus, Problem, TableReport,
};

/// How many different names of skip reasons are counted apart.
const REASONS_MAX: usize = 100;
/// What the other reasons are counted as.
const OTHER_REASONS: &str = "other";

/// The numbers of a run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Totals {
    /// Those of its documents.
    pub documents: DocumentTotals,
    /// Those of its imports.
    pub imports: ImportTotals,
}

/// The numbers of a run's documents.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DocumentTotals {
    /// All documents.
    pub count: usize,
    /// Documents by status.
    pub by_status: BTreeMap<DocumentStatus, usize>,
    /// Their entries.
    pub entries: usize,
    /// Rows and files by table.
    pub tables: BTreeMap<String, TableTotals>,
    /// Skipped entries by reason.
    pub skipped: BTreeMap<String, usize>,
    /// Warnings about documents.
    pub warnings: usize,
    /// Problems of documents, by what can be done about them.
    pub problems: BTreeMap<Action, usize>,
    /// Documents with problems.
    pub failing: usize,
    /// Documents of which no entry gave a row, accepted or not.
    pub empty: usize,
    /// Documents with problems or warnings, or of which no entry gave a row.
    pub remarkable: usize,
    /// The keys of documents with a problem that a retry may solve: a queue delivers these again.
    #[serde(skip)]
    pub retry_keys: Vec<String>,
    /// The first problem that a retry may solve.
    #[serde(skip)]
    pub first_retry: Option<Problem>,
}

/// The numbers of one table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct TableTotals {
    /// The plugin that made the rows.
    pub plugin: String,
    /// The rows.
    pub rows: u64,
    /// The documents that have a file of this table.
    pub files: usize,
    /// The folder of the files, below the store; with several, the last.
    pub folder: String,
}

/// The numbers of a run's imports.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ImportTotals {
    /// All imports.
    pub count: usize,
    /// Imports by status.
    pub by_status: BTreeMap<ImportStatus, usize>,
    /// Problems, by what can be done about them.
    pub problems: BTreeMap<Action, usize>,
    /// Files; one may hold several documents.
    pub files: usize,
    /// The file that was counted last.
    #[serde(skip)]
    last_file: String,
}

impl DocumentTotals {
    /// Counts a document.
    pub fn add(&mut self, document: &DocumentReport) {
        let DocumentReport { key, status, entries, tables, skipped, warnings, problems, .. } =
            document;
        self.count += 1;
        *self.by_status.entry(*status).or_default() += 1;
        self.entries += entries;
        for table in tables {
            self.add_table(table);
        }
        for (reason, count) in skipped {
            add_to(&mut self.skipped, reason, *count);
        }
        self.warnings += warnings.len();
        for problem in problems {
            *self.problems.entry(problem.action).or_default() += 1;
        }
        let (is_failing, is_empty) = (!problems.is_empty(), document.is_empty());
        self.failing += usize::from(is_failing);
        self.empty += usize::from(is_empty);
        self.remarkable += usize::from(is_failing || is_empty || !warnings.is_empty());
        if let Some(retry) = problems.iter().find(|problem| problem.action == Action::Retry) {
            self.retry_keys.push(key.clone());
            self.first_retry.get_or_insert_with(|| retry.clone());
        }
    }

    fn add_table(&mut self, table: &TableReport) {
        let totals = self.tables.entry(table.table.clone()).or_default();
        totals.rows += table.rows;
        totals.files += 1;
        let folder = table.key.split("snapshot_year=").next().unwrap_or_default();
        if totals.folder != folder {
            folder.clone_into(&mut totals.folder);
        }
        if totals.plugin != table.plugin {
            totals.plugin.clone_from(&table.plugin);
        }
    }

    /// Adds the numbers of other documents.
    pub fn add_all(&mut self, other: DocumentTotals) {
        self.count += other.count;
        self.entries += other.entries;
        self.warnings += other.warnings;
        self.failing += other.failing;
        self.empty += other.empty;
        self.remarkable += other.remarkable;
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        for (action, count) in other.problems {
            *self.problems.entry(action).or_default() += count;
        }
        for (reason, count) in &other.skipped {
            add_to(&mut self.skipped, reason, *count);
        }
        for (table, more) in other.tables {
            let totals = self.tables.entry(table).or_default();
            let (rows, files) = (totals.rows + more.rows, totals.files + more.files);
            *totals = TableTotals { rows, files, ..more };
        }
        self.retry_keys.extend(other.retry_keys);
        self.first_retry = self.first_retry.take().or(other.first_retry);
    }

    /// The documents with a status.
    pub fn with_status(&self, status: DocumentStatus) -> usize {
        self.by_status.get(&status).copied().unwrap_or_default()
    }

    /// All problems.
    pub fn problem_count(&self) -> usize {
        self.problems.values().sum()
    }
}

impl ImportTotals {
    /// Counts an import.
    pub fn add(&mut self, import: &ImportReport) {
        self.count += 1;
        // The documents of a file follow one another.
        if self.files == 0 || self.last_file != import.source {
            self.files += 1;
            self.last_file.clone_from(&import.source);
        }
        *self.by_status.entry(import.status).or_default() += 1;
        if let Some(problem) = &import.problem {
            *self.problems.entry(problem.action).or_default() += 1;
        }
    }

    /// Adds the numbers of other imports.
    pub fn add_all(&mut self, other: ImportTotals) {
        self.count += other.count;
        self.files += other.files;
        for (status, count) in other.by_status {
            *self.by_status.entry(status).or_default() += count;
        }
        for (action, count) in other.problems {
            *self.problems.entry(action).or_default() += count;
        }
    }

    /// The imports with a status.
    pub fn with_status(&self, status: ImportStatus) -> usize {
        self.by_status.get(&status).copied().unwrap_or_default()
    }

    /// All problems.
    pub fn problem_count(&self) -> usize {
        self.problems.values().sum()
    }
}

fn add_to(skipped: &mut BTreeMap<String, usize>, reason: &str, count: usize) {
    let is_new = !skipped.contains_key(reason);
    let name = if is_new && skipped.len() >= REASONS_MAX { OTHER_REASONS } else { reason };
    *skipped.entry(name.to_owned()).or_default() += count;
}
