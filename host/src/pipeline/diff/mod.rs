//! What would change in the tables if another version of a plugin were active: both versions over the
//! documents of the store, row by row. Nothing is written.

mod rows;

use std::{collections::BTreeMap, sync::Arc};

use futures_util::StreamExt;
use serde::Serialize;

use super::{
    PipelineError, Progress,
    active::{PluginPlace, Shelf, choose},
    jobs::{Jobs, Undone, Until},
    records::{Records, TableRecord, misfits, table_records},
    replay::{Filter, Which, history},
    report::Problem,
    tried::{Tried, judge},
};
use crate::{
    batch::RawExtraction,
    config::Limits,
    document::{Document, Refused},
    layout::{self, Key, Stage},
    plugin::{CallError, Plugin},
    projection::Projection,
    schema::{self, TableSchema},
    sources::{self, Origin},
    store::{Listed, Store, StoreError, list_all},
    table::Table,
};

pub use rows::{CellChange, Kind, RowChange, TableDiff};

/// What a comparison needs.
pub struct Diff<'s> {
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
    /// The version that is to be active.
    pub candidate: Arc<Plugin>,
    /// Which documents.
    pub filter: Filter,
    /// No more documents than so many, spread over all of them.
    pub sample: Option<usize>,
    /// Who watches.
    pub progress: &'s dyn Progress,
}

/// Which version of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Version {
    /// As its author counts.
    pub version: String,
    /// The SHA-256 of its file.
    pub sha256: String,
}

impl From<&Plugin> for Version {
    fn from(plugin: &Plugin) -> Self {
        Version { version: plugin.version().to_owned(), sha256: plugin.sha256().to_owned() }
    }
}

/// What would change.
#[derive(Clone, Debug, Serialize)]
pub struct DiffReport {
    /// The plugin's name.
    pub plugin: String,
    /// The version that is active, or stands in for one that can't be used; none if the plugin is new.
    pub active: Option<Version>,
    /// The version that is to be.
    pub candidate: Version,
    /// How many documents were compared.
    pub documents: usize,
    /// Of how many.
    pub documents_in_all: usize,
    /// How many would have other rows.
    pub documents_changed: usize,
    /// What would change in what tables are, in words.
    pub schema: Vec<String>,
    /// Tables that would have to begin anew, since the stored columns don't fit.
    pub new_generations: Vec<String>,
    /// Each table.
    pub tables: Vec<TableDiff>,
    /// How many entries are passed over, by reason.
    pub skips: BTreeMap<String, SkipDiff>,
    /// Documents that the candidate fails on, and the active version doesn't.
    pub now_failing: Vec<Failing>,
    /// Documents that the active version fails on, and the candidate doesn't.
    pub no_longer_failing: Vec<Failing>,
    /// Documents that both fail on.
    pub still_failing: Vec<Failing>,
    /// Documents that the candidate says are not for it, and the active version made rows of.
    pub now_unsupported: Vec<Failing>,
    /// Documents that no plugin could read.
    pub unread: Vec<Failing>,
}

/// Entries passed over for a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SkipDiff {
    /// By the active version.
    pub before: u64,
    /// By the candidate.
    pub after: u64,
}

/// A document, and why nothing is made of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failing {
    /// The document, or its key if it is none.
    pub document: String,
    /// Why.
    pub problem: String,
}

impl DiffReport {
    /// How many rows are not the same, in tables that there are.
    pub fn rows_differing(&self) -> u64 {
        let there = self.tables.iter().filter(|table| !table.is_new);
        there.map(TableDiff::rows_differing).sum()
    }

    /// How many rows the active version makes.
    pub fn rows_before(&self) -> u64 {
        self.tables.iter().map(|table| table.rows_before).sum()
    }

    /// Whether the candidate makes what the active version makes, as far as was looked.
    pub fn is_equal(&self) -> bool {
        let is_column_s = |table: &TableDiff| {
            table.new_columns.is_empty()
                && table.gone_columns.is_empty()
                && table.renamed.is_empty()
        };
        self.tables.iter().all(|table| table.rows_differing() == 0)
            && self.schema.is_empty()
            && self.tables.iter().all(is_column_s)
            && self.skips.values().all(|skips| skips.before == skips.after)
            && [
                &self.now_failing,
                &self.no_longer_failing,
                &self.now_unsupported,
                &self.still_failing,
                &self.unread,
            ]
            .into_iter()
            .all(Vec::is_empty)
    }

    fn skip(&mut self, reason: &str) -> &mut SkipDiff {
        self.skips.entry(reason.to_owned()).or_default()
    }
}

/// One document through both versions.
struct Compared {
    document: String,
    result: Result<Both, Undone>,
}

/// What both versions make of a document.
enum Both {
    /// The same: so many rows of each table, and so many skips of each reason.
    Same(Vec<usize>, BTreeMap<String, u64>),
    /// Perhaps not the same. There may be no active version.
    Each { before: Option<Result<Tried, Problem>>, after: Result<Tried, Problem> },
}

impl Diff<'_> {
    /// Compares. Each row that is not the same is handed to `each`, in the order of the documents.
    ///
    /// # Errors
    ///
    /// If the store can't be read, or no document is meant.
    pub async fn run(&self, mut each: impl FnMut(RowChange)) -> Result<DiffReport, PipelineError> {
        let pair = Arc::new(Pair::of(self.active().await?, Arc::clone(&self.candidate)));
        let documents = self.documents().await?;
        let in_all = documents.len();
        let documents = spread(documents, self.sample);
        let (records, _) = table_records(self.store).await?;
        let mut report = self.blank(pair.active.as_deref(), &records);
        (report.documents, report.documents_in_all) = (documents.len(), in_all);
        self.progress.begin("compare", documents.len());
        let jobs = Jobs::new(self.jobs, Until::default(), &self.limits);
        let with_room = jobs.one_by_one(&documents, |listed| listed.size);
        let compared = with_room.map(|(listed, room)| async {
            let compared = self.compare(&jobs, &pair, listed).await;
            self.progress.advance();
            (compared, room)
        });
        let mut compared = compared.buffered(jobs.on_the_way());
        while let Some((compared, _room)) = compared.next().await {
            for change in add(&mut report, compared?) {
                each(change);
            }
        }
        self.progress.end();
        report.tables.iter_mut().for_each(TableDiff::conclude);
        Ok(report)
    }

    /// The version that makes the rows now.
    async fn active(&self) -> Result<Option<Arc<Plugin>>, PipelineError> {
        let set = match choose(&Records::of(self.store), self.plugins, self.shelf).await {
            Ok(set) => set,
            Err(PipelineError::NoPlugins { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let name = self.candidate.name();
        let mut plugins = set.plugins.into_iter().map(|active| active.plugin);
        Ok(plugins.find(|plugin| plugin.name() == name))
    }

    /// The documents that are meant: of history, then those that wait.
    async fn documents(&self) -> Result<Vec<Listed>, PipelineError> {
        let which = Which::Matching(self.filter.clone());
        let found = history(self.store, &which).await?;
        let mut documents: Vec<Listed> = found.into_iter().map(|(_, listed)| listed).collect();
        let is_meant = |listed: &Listed| match listed.key.parse() {
            Ok(Key::Raw { stage: Stage::ToProcess, document }) => self.filter.takes(&document),
            // Which playlist it is of is only known when it is read.
            Ok(Key::Foreign { .. }) => self.filter == Filter::default(),
            _ => false,
        };
        let waiting = list_all(self.store, layout::TO_PROCESS).await?;
        documents.extend(waiting.into_iter().filter(is_meant));
        if documents.is_empty() && self.filter != Filter::default() {
            return Err(PipelineError::NoHistory);
        }
        Ok(documents)
    }

    fn blank(&self, active: Option<&Plugin>, records: &[TableRecord]) -> DiffReport {
        let declared = self.candidate.tables();
        let before = active.map(Plugin::tables).unwrap_or_default();
        let mut names: Vec<&str> = declared.iter().map(|table| table.name.as_str()).collect();
        let gone = before.iter().map(|table| table.name.as_str());
        names.extend(gone.filter(|name| declared.iter().all(|table| table.name != *name)));
        let owner = |table: &TableSchema| {
            let mut records = records.iter().filter(|record| record.schema.name == table.name);
            records
                .next()
                .map(|record| record.owner.clone())
                .filter(|owner| owner != self.candidate.name())
        };
        let owned = declared.iter().filter_map(|table| {
            let (name, owner) = (&table.name, owner(table)?);
            Some(format!("table `{name}` belongs to plugin `{owner}`, so this can't be published (say which plugin it is a version of: --name {owner})"))
        });
        let is_new = |name: &str| before.iter().all(|table| table.name != name);
        let is_left = |name: &str| declared.iter().all(|table| table.name != name);
        let table = |name: &str| {
            let mut table = TableDiff::new(name);
            (table.is_new, table.is_left) = (is_new(name), is_left(name));
            table
        };
        DiffReport {
            plugin: self.candidate.name().to_owned(),
            active: active.map(Version::from),
            candidate: Version::from(self.candidate.as_ref()),
            documents: 0,
            documents_in_all: 0,
            documents_changed: 0,
            schema: schema::changes(before, declared).into_iter().chain(owned).collect(),
            new_generations: misfits(declared, records),
            tables: names.into_iter().map(table).collect(),
            skips: BTreeMap::new(),
            now_failing: Vec::new(),
            no_longer_failing: Vec::new(),
            still_failing: Vec::new(),
            now_unsupported: Vec::new(),
            unread: Vec::new(),
        }
    }

    async fn compare(
        &self,
        jobs: &Jobs,
        pair: &Arc<Pair>,
        listed: &Listed,
    ) -> Result<Compared, StoreError> {
        let name = match listed.key.parse() {
            Ok(Key::Raw { document, .. }) => document.to_string(),
            _ => listed.key.clone(),
        };
        let max = self.limits.document_bytes;
        if listed.size > max {
            let result = Err(Refused::TooLarge { max }.into());
            return Ok(Compared { document: name, result });
        }
        let gone = || Ok(Compared { document: name.clone(), result: Ok(nothing()) });
        let Some(object) = self.store.get(&listed.key).await? else { return gone() };
        let (key, limits, pair) = (listed.key.clone(), self.limits.clone(), Arc::clone(pair));
        let both = jobs.run(move || {
            let origin = Origin::of(&key, object.modified);
            let read = sources::read_again(&object.bytes, &origin, &limits)?;
            Ok(pair.run(&read.document, &limits))
        });
        Ok(Compared { document: name, result: both.await })
    }
}

fn nothing() -> Both {
    Both::Same(Vec::new(), BTreeMap::new())
}

/// The two versions, and what they read.
struct Pair {
    active: Option<Arc<Plugin>>,
    candidate: Arc<Plugin>,
    projection: Projection,
}

impl Pair {
    fn of(active: Option<Arc<Plugin>>, candidate: Arc<Plugin>) -> Self {
        let plugins = [Some(&candidate), active.as_ref()].into_iter().flatten();
        let projection = Projection::of(plugins.map(|plugin| plugin.reads()));
        Pair { active, candidate, projection }
    }

    fn run(&self, document: &Document, limits: &Limits) -> Both {
        let cut = self.projection.cut(document.arranged_pages());
        let candidate = self.candidate.as_ref();
        let (after, _) = candidate.extract_from(document, &cut.pages_for(0), None);
        let Some(active) = &self.active else {
            return Both::Each { before: None, after: judge(candidate, after, limits) };
        };
        let (before, _) = active.extract_from(document, &cut.pages_for(1), None);
        both((active, before), (candidate, after), limits)
    }
}

/// What a plugin gave back.
type Extracted<'p> = (&'p Plugin, Result<RawExtraction, CallError>);

fn both(
    (active, before): Extracted<'_>,
    (candidate, after): Extracted<'_>,
    limits: &Limits,
) -> Both {
    let is_same = matches!((&before, &after), (Ok(was), Ok(is)) if was == is)
        && active.tables() == candidate.tables();
    if let (true, Ok(is)) = (is_same, &after) {
        let rows = is.rows().collect();
        let mut skips = BTreeMap::new();
        for (_, reason) in &is.skips {
            *skips.entry(reason.clone()).or_default() += 1;
        }
        return match judge(candidate, after, limits) {
            Ok(_) => Both::Same(rows, skips),
            after => Both::Each { before: Some(judge(active, before, limits)), after },
        };
    }
    Both::Each {
        before: Some(judge(active, before, limits)),
        after: judge(candidate, after, limits),
    }
}

/// Adds a document to the report, and gives the rows that are not the same.
fn add(report: &mut DiffReport, compared: Compared) -> Vec<RowChange> {
    let Compared { document, result } = compared;
    let failing = |problem: String| Failing { document: document.clone(), problem };
    let (before, after) = match result {
        // Something in the host that this document, or the candidate, brought about.
        Err(Undone::Refused(refused @ Refused::Panic { .. })) => {
            report.now_failing.push(failing(refused.to_string()));
            return Vec::new();
        }
        Err(undone) => {
            report.unread.push(failing(undone.problem().message));
            return Vec::new();
        }
        Ok(Both::Same(rows, skips)) => {
            for (table, rows) in report.tables.iter_mut().zip(rows) {
                table.add_equal(rows as u64);
            }
            for (reason, count) in skips {
                let skip = report.skip(&reason);
                skip.before += count;
                skip.after += count;
            }
            return Vec::new();
        }
        Ok(Both::Each { before, after }) => (before, after),
    };
    let was_failing = matches!(before, Some(Err(_)));
    let after = match (after, &before) {
        (Err(problem), Some(Err(_))) => {
            report.still_failing.push(failing(problem.to_string()));
            return Vec::new();
        }
        (Err(problem), _) => {
            report.now_failing.push(failing(problem.to_string()));
            return Vec::new();
        }
        (Ok(after), _) => after,
    };
    if let Some(Err(problem)) = &before {
        report.no_longer_failing.push(failing(problem.to_string()));
    }
    let before = before.and_then(Result::ok);
    if let (Some(Tried::Tables(..)), Tried::Unsupported(why)) = (&before, &after) {
        report.now_unsupported.push(failing(why.clone()));
    }
    let (before, after) =
        (tables(report, before, Side::Before), tables(report, Some(after), Side::After));
    let mut changes = Vec::new();
    for table in &mut report.tables {
        if table.is_left {
            // Its rows stay as they are.
            continue;
        }
        let of =
            |tables: &'_ [Table]| tables.iter().position(|one| one.schema().name == table.table);
        let (was, is) = (of(&before).map(|at| &before[at]), of(&after).map(|at| &after[at]));
        changes.extend(table.add(&document, was, is));
    }
    report.documents_changed += usize::from(!changes.is_empty() || was_failing);
    changes
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// The tables of one version, whose skips are counted.
fn tables(report: &mut DiffReport, tried: Option<Tried>, side: Side) -> Vec<Table> {
    let Some(Tried::Tables(tables, skips)) = tried else { return Vec::new() };
    for skip in skips {
        let counts = report.skip(&skip.reason);
        match side {
            Side::Before => counts.before += 1,
            Side::After => counts.after += 1,
        }
    }
    tables
}

/// No more of them than so many, spread over all of them, the first and the last among them.
fn spread<T>(all: Vec<T>, max: Option<usize>) -> Vec<T> {
    let Some(max) = max.filter(|max| *max < all.len()) else { return all };
    let last = all.len() - 1;
    let is_meant = |index: usize| match max {
        1 => index == last,
        // Those whose place in the sample is not that of the one before.
        _ => index == 0 || index * (max - 1) / last != (index - 1) * (max - 1) / last,
    };
    all.into_iter().enumerate().filter(|(index, _)| is_meant(*index)).map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn a_sample_is_spread_over_all_and_has_both_ends() {
        for (all, max, expected) in [
            (10, None, 10),
            (10, Some(20), 10),
            (10, Some(10), 10),
            (10, Some(3), 3),
            (10, Some(2), 2),
            (100, Some(7), 7),
            (1, Some(1), 1),
            (5, Some(1), 1),
        ] {
            let found = spread((0..all).collect(), max);
            assert_eq!(found.len(), expected, "{all} {max:?}: {found:?}");
            assert_eq!(found.last(), Some(&(all - 1)), "{found:?}");
            assert!(max == Some(1) || found[0] == 0, "{found:?}");
        }
    }
}
