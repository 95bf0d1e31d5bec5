//! History, taken to its tables again: what changed is written, what is equal is left as it is.
//!
//! Which is which is told by lineage, so that a replay that was stopped goes on where it was, with
//! nothing kept of it. A table that changes as a whole (a new generation, other formats) is filled
//! beside the one that counts; then its record is switched.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use time::Date;

use super::{
    Mode, PipelineError, Selection, Transform, Transformed,
    active::{ActivePlugin, ActiveSet, activate, choose},
    jobs::{Jobs, hand_over},
    lineage::{Lineage, TableFile},
    moves::{read_listed, why_lost},
    records::{GENERATION_MAX, Records, TableRecord, switch, table_records},
    report::{
        Action, DocumentReport, DocumentStatus, Empty, Problem, ProblemKind, ReplayReport,
        TableReport,
    },
    table_files::{Before, StoredFile, StoredFiles, TableWriter, files_of},
    transform::{Crew, Worked, describe, not_begun, report_stored, sort_results, work},
};
use crate::{
    config::{HOST_VERSION, LINEAGE_BYTES_MAX, Limits},
    document::{self, DocumentId, PlaylistId, Refused},
    layout::{self, Format, Key, Stage, table_folder},
    schema::{Fit, TableSchema, fit},
    store::{Listed, Store, StoreError, Tag, list_all},
};

/// After so many passes over history it is said that others land faster than it can be filled.
const PASSES_MAX: usize = 10;
/// How many documents are looked up at a time.
const HEADS_AT_ONCE: usize = 16;

/// What a replay needs.
pub struct Replay<'s> {
    /// The store, the plugins, and how to go about it.
    pub transform: Transform<'s>,
    /// Which documents.
    pub which: Which,
    /// These plugins alone, by name; none means all.
    pub plugins: Vec<String>,
    /// What tables are to be changed as a whole.
    pub change: Change,
    /// What happens to a document whose entries give no row any more.
    pub empty: Empty,
    /// Whether anything is written.
    pub mode: Mode,
}

/// Documents of history.
#[derive(Clone, Debug, PartialEq)]
pub enum Which {
    /// Those that all of this is true for.
    Matching(Filter),
    /// These, by key.
    Keys(Vec<String>),
}

impl Which {
    /// Whether less than all of history is meant.
    fn is_filtered(&self) -> bool {
        matches!(self, Which::Matching(filter) if *filter != Filter::default())
    }
}

/// What a document must be like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Extracted on this day or later, UTC.
    pub since: Option<Date>,
    /// Extracted on this day or earlier, UTC.
    pub until: Option<Date>,
    /// Of this playlist.
    pub playlist: Option<PlaylistId>,
}

impl Filter {
    /// Whether a document is like that.
    pub fn takes(&self, id: &DocumentId) -> bool {
        let day = id.extracted_at.moment().date();
        self.since.is_none_or(|since| day >= since)
            && self.until.is_none_or(|until| day <= until)
            && self.playlist.as_ref().is_none_or(|playlist| *playlist == id.playlist_id)
    }
}

/// How tables are changed as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Not at all.
    None,
    /// The tables of the plugins that are meant are written as these from now on.
    Formats(Vec<Format>),
    /// These tables begin anew, with the columns that their plugins declare now, if these don't fit the
    /// stored ones.
    Generations(Vec<String>),
}

/// The documents of history that are meant, with their ids.
///
/// # Errors
///
/// If the store fails.
pub async fn history(
    store: &dyn Store,
    which: &Which,
) -> Result<Vec<(DocumentId, Listed)>, StoreError> {
    let of = |listed: Listed| match listed.key.parse() {
        Ok(Key::Raw { stage: Stage::Processed, document }) => Some((document, listed)),
        _ => None,
    };
    match which {
        Which::Matching(filter) => {
            let prefix = match &filter.playlist {
                Some(playlist) => format!("{}{playlist}/", layout::PROCESSED),
                None => layout::PROCESSED.to_owned(),
            };
            let listed = list_all(store, &prefix).await?;
            Ok(listed.into_iter().filter_map(of).filter(|(id, _)| filter.takes(id)).collect())
        }
        Which::Keys(keys) => {
            let is_raw = |key: &&String| matches!(key.parse(), Ok(Key::Raw { .. }));
            let found = stream::iter(keys.iter().filter(is_raw)).map(|key| store.head(key));
            let found: Vec<_> = found.buffered(HEADS_AT_ONCE).try_collect().await?;
            Ok(found.into_iter().flatten().filter_map(of).collect())
        }
    }
}

impl Replay<'_> {
    /// Takes history to its tables.
    ///
    /// # Errors
    ///
    /// If nothing could be tried. What goes wrong with one document or plugin is in the report.
    pub async fn run(&self) -> Result<(ReplayReport, Transformed), PipelineError> {
        let mut report = ReplayReport { dry_run: self.mode == Mode::DryRun, ..Default::default() };
        let mut transformed = Transformed::default();
        let plan = self.plan(&mut transformed).await?;
        let mut records = self.transform.records();
        records.planned =
            plan.iter().map(|(_, next)| (next.schema.name.clone(), next.clone())).collect();
        // What changes as a whole doesn't wait for plugins that have nothing to do with it.
        let owners: Vec<String> = plan.iter().map(|(_, next)| next.owner.clone()).collect();
        let only = if owners.is_empty() { &self.plugins } else { &owners };
        self.pass(&records, only, &mut report, &mut transformed).await?;
        let is_filtered = self.which.is_filtered();
        if report.documents == 0 && is_filtered {
            return Err(PipelineError::NoHistory);
        }
        if self.mode == Mode::DryRun {
            let would = |(_, next): &(TableRecord, TableRecord)| {
                format!("{} would be switched when all of it is written", next.schema.name)
            };
            transformed.warnings.extend(plan.iter().map(would));
        } else if self.change != Change::None {
            // What is done by now is told, whatever comes.
            let changed = self.change_tables(&records, only, &plan, &mut report, &mut transformed);
            report.stopped = match changed.await {
                Ok(stopped) => stopped,
                Err(error) => Some(format!("{error}; run the same command again, which goes on")),
            };
        }
        Ok((report, transformed))
    }

    /// Fills tables, switches them, and catches up. Says why that came to no end, if so.
    async fn change_tables(
        &self,
        records: &Records<'_>,
        only: &[String],
        plan: &[(TableRecord, TableRecord)],
        report: &mut ReplayReport,
        transformed: &mut Transformed,
    ) -> Result<Option<String>, PipelineError> {
        if !plan.is_empty()
            && let Some(stopped) = self.fill(records, only, report, transformed).await?
        {
            return Ok(Some(stopped));
        }
        for (from, next) in plan {
            if let Some(stopped) = self.missing_raw(from, next).await? {
                return Ok(Some(stopped));
            }
        }
        if let Some(stopped) = self.switch(plan, report).await? {
            return Ok(Some(stopped));
        }
        self.catch_up(report, transformed).await?;
        Ok(None)
    }

    /// Finds documents with rows in the old table that would be missing in the new one, since they are not
    /// in `processed`. Says what to do about them; none if there are none.
    async fn missing_raw(
        &self,
        from: &TableRecord,
        next: &TableRecord,
    ) -> Result<Option<String>, PipelineError> {
        let store = self.transform.store;
        let (old, new) = (documents_of(store, from).await?, documents_of(store, next).await?);
        // In the order in which documents move, so that one that moves is seen at least once.
        let mut stages: [BTreeSet<String>; 3] = Default::default();
        for (found, stage) in stages.iter_mut().zip(STAGES) {
            *found = documents_in(store, stage).await?;
        }
        let [waiting, failed, processed] = stages;
        let is_missing = |id: &&String| !new.contains(*id) && !processed.contains(*id);
        let missing: Vec<&String> = old.iter().filter(is_missing).collect();
        let table = &from.schema.name;
        let say = |found: Vec<&&String>, why: &str| {
            let first = found.first()?;
            Some(format!(
                "nothing was switched: {} documents with rows in table `{table}` {why}, such as {first}",
                found.len()
            ))
        };
        let mut interrupted = Vec::new();
        for id in missing.iter().filter(|id| waiting.contains(**id)) {
            // A document of which no entry gave a row waits for a person, and a table does not wait for that.
            if !has_no_rows(store, id).await? {
                interrupted.push(id);
            }
        }
        if let Some(said) = say(interrupted, "are still in raw_data/to_process/") {
            return Ok(Some(format!(
                "{said}: a transform was interrupted, or runs now (finish it: spotify-etl transform; then run the same command again)"
            )));
        }
        let set_aside = missing.iter().filter(|id| failed.contains(**id)).collect();
        if let Some(said) = say(set_aside, "are in raw_data/failed/") {
            return Ok(Some(format!(
                "{said} (see why: spotify-etl status; then spotify-etl transform KEY)"
            )));
        }
        let lost = missing.iter().filter(|id| !waiting.contains(**id)).collect();
        Ok(say(lost, "have no raw response any more").map(|said| {
            format!(
                "{said}, and would be lost (bring the responses back to raw_data/processed/; or delete the documents, if they are not wanted: spotify-etl delete DOCUMENT)"
            )
        }))
    }

    /// Goes over history until nothing is left to be written, as others may land more meanwhile. Says
    /// why it could not be filled, if so.
    async fn fill(
        &self,
        records: &Records<'_>,
        only: &[String],
        report: &mut ReplayReport,
        transformed: &mut Transformed,
    ) -> Result<Option<String>, PipelineError> {
        for _ in 0..PASSES_MAX {
            let mut again = ReplayReport::default();
            if transformed.is_whole() {
                self.pass(records, only, &mut again, transformed).await?;
                report.add_written(&again);
            }
            if !transformed.is_whole() {
                return Ok(Some(
                    "nothing was switched: mend what failed, then run the same command again (what is done is not done twice)".to_owned(),
                ));
            }
            if again.files_written == 0 {
                return Ok(None);
            }
        }
        Ok(Some(format!(
            "nothing was switched: after {PASSES_MAX} passes there were still new documents (run it again when less is landed)"
        )))
    }

    /// Makes the filled tables the ones that count. Says why one could not be, if so.
    async fn switch(
        &self,
        plan: &[(TableRecord, TableRecord)],
        report: &mut ReplayReport,
    ) -> Result<Option<String>, PipelineError> {
        for (from, next) in plan {
            if !switch(self.transform.store, from, next).await? {
                return Ok(Some(format!(
                    "the record of table `{}` was changed by others meanwhile, so it was not switched (run the same command again)",
                    next.schema.name
                )));
            }
            report.switched.push(said(from, next));
        }
        Ok(None)
    }

    /// Takes to the new tables what others have still taken to the old ones, and what waited for them.
    async fn catch_up(
        &self,
        report: &mut ReplayReport,
        transformed: &mut Transformed,
    ) -> Result<(), PipelineError> {
        let waited = self.transform.run(&Selection::Waiting).await?;
        let records = self.transform.records();
        let mut again = ReplayReport::default();
        self.pass(&records, &self.plugins, &mut again, transformed).await?;
        report.add_written(&again);
        transformed.documents.append(waited.documents);
        let pages = self.transform.pages.as_ref();
        transformed.documents.save_pages(self.transform.store, pages).await;
        transformed.warnings.extend(waited.warnings);
        transformed.problems.extend(waited.problems);
        Ok(())
    }

    /// The records that tables are to have, each with the one it has.
    async fn plan(
        &self,
        transformed: &mut Transformed,
    ) -> Result<Vec<(TableRecord, TableRecord)>, PipelineError> {
        let Transform { store, plugins, shelf, now, .. } = &self.transform;
        let current = Records::of(*store);
        let set = match (&self.change, self.mode) {
            (Change::None, _) => return Ok(Vec::new()),
            // A column that is new, too, is to be in the record before it is in a file.
            (Change::Formats(_), Mode::Write) => activate(&current, *plugins, shelf, *now).await?,
            _ => choose(&current, *plugins, shelf).await?,
        };
        let (records, _) = table_records(*store).await?;
        match &self.change {
            Change::None => Ok(Vec::new()),
            Change::Formats(formats) => Ok(self.other_formats(formats, records, &set)),
            Change::Generations(tables) => {
                self.next_generations(tables, &records, &set, &mut transformed.warnings)
            }
        }
    }

    fn other_formats(
        &self,
        formats: &[Format],
        records: Vec<TableRecord>,
        set: &ActiveSet,
    ) -> Vec<(TableRecord, TableRecord)> {
        let is_meant = |record: &TableRecord| {
            (self.plugins.is_empty() || self.plugins.contains(&record.owner))
                && record.formats != *formats
        };
        let is_filled = |record: &TableRecord| {
            set.plugins.iter().any(|active| active.plugin.fills(&record.schema.name))
        };
        let meant = records.into_iter().filter(|record| is_meant(record) && is_filled(record));
        let next = |record: TableRecord| {
            let next = TableRecord { formats: formats.to_vec(), ..record.clone() };
            (record, next)
        };
        meant.map(next).collect()
    }

    fn next_generations(
        &self,
        tables: &[String],
        records: &[TableRecord],
        set: &ActiveSet,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<(TableRecord, TableRecord)>, PipelineError> {
        let mut plan = Vec::new();
        for table in tables {
            let declared = set.seen.iter().find_map(|plugin| {
                let mut declared = plugin.tables().iter();
                Some((plugin, declared.find(|schema| schema.name == *table)?))
            });
            let record = records.iter().find(|record| record.schema.name == *table);
            let (Some((plugin, schema)), Some(record)) = (declared, record) else {
                return Err(PipelineError::NoSuchTable { table: table.clone() });
            };
            let is_owner = record.owner == plugin.name();
            // This was run before, and is only to be finished; or there is no need for it.
            let formats = self.transform.formats.as_ref().unwrap_or(&record.formats);
            if is_owner && !matches!(fit(&record.schema, schema), Fit::Differs(_)) {
                if *formats != record.formats {
                    let next = TableRecord { formats: formats.clone(), ..record.clone() };
                    plan.push((record.clone(), next));
                    continue;
                }
                warnings.push(format!(
                    "table `{table}` is of generation {}, which fits what its plugin declares: there is no need for another",
                    record.generation
                ));
                continue;
            }
            if record.generation >= GENERATION_MAX {
                return Err(PipelineError::NoMoreGenerations { table: table.clone() });
            }
            let next = TableRecord {
                owner: plugin.name().to_owned(),
                schema: TableSchema::clone(schema),
                generation: record.generation + 1,
                formats: formats.clone(),
                ..record.clone()
            };
            plan.push((record.clone(), next));
        }
        Ok(plan)
    }

    /// Once over all of history that is meant. Problems are those of the last time.
    async fn pass(
        &self,
        records: &Records<'_>,
        only: &[String],
        report: &mut ReplayReport,
        transformed: &mut Transformed,
    ) -> Result<(), PipelineError> {
        let Transform { store, plugins, shelf, now, progress, .. } = &self.transform;
        let set = match self.mode {
            Mode::Write => activate(records, *plugins, shelf, *now).await?,
            Mode::DryRun => choose(records, *plugins, shelf).await?,
        };
        let ActiveSet { mut plugins, reports, .. } = set;
        let keyed = keyed_tables(&plugins);
        let is_meant = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
        for name in only {
            if reports.iter().all(|report| report.name != *name) {
                return Err(PipelineError::NoSuchPlugin { name: name.clone() });
            }
        }
        plugins.retain(|active| is_meant(active.plugin.name()));
        transformed.plugins = reports.into_iter().filter(|report| is_meant(&report.name)).collect();
        let documents = history(*store, &self.which).await?;
        let desk = Desk {
            store: *store,
            files: files_of(*store, &plugins).await?,
            crew: Arc::new(Crew::of(plugins)),
            keyed,
            empty: self.empty,
            limits: &self.transform.limits,
            jobs: Jobs::new(
                self.transform.jobs,
                self.transform.until.clone(),
                &self.transform.limits,
            ),
            mode: self.mode,
        };
        report.documents = documents.len();
        transformed.documents.clear();
        // A dry run writes nothing.
        let pages = self.transform.pages.as_ref().filter(|_| self.mode == Mode::Write);
        progress.begin("replay", documents.len());
        let done = stream::iter(&documents).map(|(id, listed)| async {
            let done = match desk.jobs.is_over() {
                true => Done { report: not_begun(listed).report, ..Done::default() },
                false => desk.replay(id, listed).await,
            };
            progress.advance();
            done
        });
        hand_over(done.buffer_unordered(desk.jobs.on_the_way()), async |done| {
            report.add(&done);
            // Those that are as they should be are only counted.
            if !done.report.problems.is_empty() {
                transformed.documents.push(done.report);
                transformed.documents.save_full_pages(*store, pages).await;
            }
        })
        .await;
        progress.end();
        transformed.documents.save_pages(*store, pages).await;
        transformed.documents.sort_by(|one, other| one.key.cmp(&other.key));
        report.documents_failed = transformed.documents.totals().failing;
        Ok(())
    }
}

impl ReplayReport {
    /// Counts a document.
    fn add(&mut self, done: &Done) {
        for table in &done.tables {
            *self.files_by_table.entry(table.clone()).or_default() += 1;
        }
        self.documents_equal += usize::from(done.is_equal);
        self.documents_rewritten += usize::from(done.written > 0);
        self.files_written += done.written;
        self.files_equal += done.equal;
    }

    /// Adds what a further pass wrote: the rest was counted by the first.
    fn add_written(&mut self, again: &ReplayReport) {
        self.files_written += again.files_written;
        // A document may be another one twice.
        let rewritten = self.documents_rewritten + again.documents_rewritten;
        self.documents_rewritten = rewritten.min(self.documents.max(again.documents));
        for (table, files) in &again.files_by_table {
            *self.files_by_table.entry(table.clone()).or_default() += files;
        }
        self.documents_failed = again.documents_failed;
    }
}

impl Transformed {
    /// Whether nothing went wrong.
    fn is_whole(&self) -> bool {
        self.documents.totals().failing == 0
            && self.plugins.iter().all(|plugin| plugin.problem.is_none())
            && self.problems.is_empty()
    }
}

fn said(from: &TableRecord, next: &TableRecord) -> String {
    let table = &next.schema.name;
    if from.generation == next.generation {
        let (was, is) = (super::list(&from.formats), super::list(&next.formats));
        return format!("{table} is written as {is} from now on (it was {was})");
    }
    let folders = |record: &TableRecord| {
        let folder = |format: &Format| table_folder(table, record.generation, *format);
        record.formats.iter().map(folder).collect::<Vec<_>>().join(", ")
    };
    format!(
        "{table} is of generation {} from now on, in {} (nothing reads {} any more)",
        next.generation,
        folders(next),
        folders(from)
    )
}

/// What a replay works with.
struct Desk<'s> {
    store: &'s dyn Store,
    crew: Arc<Crew>,
    /// The tables of all active plugins whose rows are about entries.
    keyed: BTreeSet<String>,
    /// What happens to a document of which no entry gives a row any more.
    empty: Empty,
    /// All files of their tables, by key.
    files: BTreeMap<String, Listed>,
    limits: &'s Limits,
    jobs: Jobs,
    mode: Mode,
}

/// What became of one document of history.
struct Done {
    report: DocumentReport,
    /// Whether there was nothing to do.
    is_equal: bool,
    /// How many files are others now.
    written: usize,
    /// How many were made again and are the same.
    equal: usize,
    /// The table of each that is another.
    tables: Vec<String>,
}

impl Default for Done {
    fn default() -> Self {
        let report = DocumentReport::new(String::new());
        Done { report, is_equal: false, written: 0, equal: 0, tables: Vec::new() }
    }
}

impl Desk<'_> {
    async fn replay(&self, id: &DocumentId, listed: &Listed) -> Done {
        let report = DocumentReport::new(listed.key.clone());
        let mut done = Done { report, ..Done::default() };
        if let Err(error) = self.steps(id, listed, &mut done).await {
            done.report.problems.push(Problem::new(Action::Retry, error));
        }
        done
    }

    async fn steps(
        &self,
        id: &DocumentId,
        listed: &Listed,
        done: &mut Done,
    ) -> Result<(), StoreError> {
        // The lineage before the files: a writer that replaces files changes the lineage first.
        let key = Key::Lineage { document: id.clone() }.to_string();
        let stored = self.store.get(&key).await?;
        let lineage = stored.as_ref().and_then(|object| Lineage::parse(&object.bytes, id).ok());
        let seen = self.matching_files(lineage.as_ref()).await?;
        let stale = |active: &&ActivePlugin| !is_current(active, id, lineage.as_ref(), &seen);
        let stale: Vec<ActivePlugin> = self.crew.plugins.iter().filter(stale).cloned().collect();
        if stale.is_empty() {
            done.is_equal = true;
            return Ok(());
        }
        let _room = self.jobs.room(listed.size.min(self.limits.document_bytes)).await;
        let Some(Worked { document, results, room: _room_of_files, .. }) =
            self.worked(id, listed, &stale, &mut done.report).await?
        else {
            return Ok(());
        };
        let made = sort_results(results, self.limits, &mut done.report);
        if done.report.problems.is_empty()
            && let Some(problem) = self.lost_rows(&made.reports, lineage.as_ref())
        {
            done.report.problems.push(problem);
            describe(&mut done.report, &document);
            return Ok(());
        }
        let gone = self.unsupported(&stale, id, lineage.as_ref(), &done.report);
        let is_same = |file: &TableFile| {
            let stored = seen.get(&file.key).and_then(Option::as_ref);
            stored.is_some_and(|stored| stored.sha256 == file.sha256)
        };
        let files: Vec<(String, String, bool)> = made
            .files
            .iter()
            .flat_map(|made| made.files.iter().map(|(file, _)| (&made.plugin, file)))
            .map(|(plugin, file)| (plugin.clone(), file.table.clone(), is_same(file)))
            .collect();
        let mut failed = Vec::new();
        if self.mode == Mode::Write && !(files.is_empty() && gone.is_empty()) {
            let before = Before { lineage: stored, files: seen };
            let writer = TableWriter { store: self.store, document: id };
            failed = writer.replace(made.files, &gone, Some(before)).await?.failed;
        }
        let is_stored = |plugin: &str| failed.iter().all(|(name, _)| name != plugin);
        let stored = files.iter().filter(|(plugin, _, _)| is_stored(plugin));
        for (_, table, is_same) in stored {
            match is_same {
                true => done.equal += 1,
                false => done.tables.push(table.clone()),
            }
        }
        done.written = done.tables.len() + gone.len();
        report_stored(made.reports, failed, &mut done.report);
        if !done.report.problems.is_empty() {
            describe(&mut done.report, &document);
        }
        done.is_equal = files.is_empty() && gone.is_empty() && done.report.problems.is_empty();
        Ok(())
    }

    /// Reads a document and runs plugins on it. None if that failed, which is in the report then.
    async fn worked(
        &self,
        id: &DocumentId,
        listed: &Listed,
        plugins: &[ActivePlugin],
        report: &mut DocumentReport,
    ) -> Result<Option<Worked>, StoreError> {
        if listed.size > self.limits.document_bytes {
            let error = Refused::TooLarge { max: self.limits.document_bytes };
            report.problems.push(Problem::new(Action::Document, error));
            return Ok(None);
        }
        let key = Key::Raw { stage: Stage::Processed, document: id.clone() };
        let Some(object) = read_listed(self.store, listed).await? else {
            report.status = DocumentStatus::Gone;
            report.problems.extend(why_lost(self.store, &key).await?);
            return Ok(None);
        };
        match work(self.crew_of(plugins), &self.jobs, self.limits, &key, &object).await {
            Ok(worked) => Ok(Some(worked)),
            Err(undone) => {
                report.problems.push(undone.problem());
                Ok(None)
            }
        }
    }

    /// Says that no entry of a document gives a row any more, although its lineage has rows. The stored rows stay.
    fn lost_rows(
        &self,
        made: &[(String, Vec<TableReport>)],
        lineage: Option<&Lineage>,
    ) -> Option<Problem> {
        let tables: BTreeMap<&str, u64> = made
            .iter()
            .flat_map(|(_, tables)| tables)
            .filter(|table| table.keyed)
            .map(|table| (table.table.as_str(), table.rows))
            .collect();
        let stored = |file: &&TableFile| self.keyed.contains(&file.table) && file.rows > 0;
        let (before, others): (Vec<_>, Vec<_>) = lineage?
            .files
            .iter()
            .filter(stored)
            .partition(|file| tables.contains_key(file.table.as_str()));
        let rows: u64 = tables.values().sum();
        if self.empty == Empty::Allowed || rows > 0 || before.is_empty() || !others.is_empty() {
            return None;
        }
        let names: Vec<&str> = made.iter().map(|(plugin, _)| plugin.as_str()).collect();
        let message = format!(
            "no entry gives a row any more with the active version of `{}`; the stored rows stay (change the plugin; or accept it: spotify-etl replay --allow-empty)",
            names.join("`, `")
        );
        Some(Problem { kind: Some(ProblemKind::NoRows), ..Problem::new(Action::Plugin, message) })
    }

    /// Some of the plugins, most often all.
    fn crew_of(&self, some: &[ActivePlugin]) -> Arc<Crew> {
        match some.len() == self.crew.plugins.len() {
            true => Arc::clone(&self.crew),
            false => Arc::new(Crew::of(some.to_vec())),
        }
    }

    /// Finds the files of a document whose content is what its lineage says: by the ETag of the listing, or
    /// by reading them where the store has no ETags.
    async fn matching_files(&self, lineage: Option<&Lineage>) -> Result<StoredFiles, StoreError> {
        let files = lineage.into_iter().flat_map(|lineage| &lineage.files);
        let is_whole = |size: u64, file: &TableFile| file.bytes == 0 || size == file.bytes;
        let found = files.filter_map(|file| {
            let listed = self.files.get(&file.key)?;
            is_whole(listed.size, file).then_some((file, listed))
        });
        let looked_at = found.map(|(file, listed)| async move {
            let TableFile { key, sha256, etag, .. } = file;
            let tag = match (etag, &listed.tag) {
                (Some(etag), Some(Tag::Mark(mark))) if etag == mark => listed.tag.clone(),
                _ => self.store.get(key).await?.and_then(|object| {
                    (document::sha256(&object.bytes) == *sha256).then(|| object.tag())
                }),
            };
            let stored = tag.map(|tag| StoredFile { sha256: sha256.clone(), tag });
            Ok::<_, StoreError>(stored.map(|stored| (key.clone(), Some(stored))))
        });
        Ok(try_join_all(looked_at).await?.into_iter().flatten().collect())
    }

    /// Files of a document that is not for their plugin any more.
    fn unsupported(
        &self,
        stale: &[ActivePlugin],
        id: &DocumentId,
        lineage: Option<&Lineage>,
        report: &DocumentReport,
    ) -> Vec<String> {
        let is_not_for = |active: &&ActivePlugin| {
            report.unsupported.iter().any(|name| name == active.plugin.name())
        };
        let files = stale.iter().filter(is_not_for).flat_map(|active| keys(active, id));
        let is_said = |key: &String| {
            lineage.is_some_and(|lineage| lineage.files.iter().any(|file| file.key == *key))
        };
        files.filter(|key| self.files.contains_key(key) || is_said(key)).collect()
    }
}

/// The stages of raw documents, in the order in which documents move.
const STAGES: [Stage; 3] = [Stage::ToProcess, Stage::Failed, Stage::Processed];

/// Lists the documents of a stage.
async fn documents_in(store: &dyn Store, stage: Stage) -> Result<BTreeSet<String>, StoreError> {
    let listed = list_all(store, stage.prefix()).await?;
    let document = |listed: Listed| match listed.key.parse() {
        Ok(Key::Raw { document, .. }) => Some(document.to_string()),
        _ => None,
    };
    Ok(listed.into_iter().filter_map(document).collect())
}

/// The documents that have a file in each folder of a table.
async fn documents_of(
    store: &dyn Store,
    record: &TableRecord,
) -> Result<BTreeSet<String>, StoreError> {
    let mut all: Option<BTreeSet<String>> = None;
    for format in &record.formats {
        let folder = table_folder(&record.schema.name, record.generation, *format);
        let of = |listed: Listed| match listed.key.parse() {
            Ok(Key::TableFile { document, .. }) => Some(document.to_string()),
            _ => None,
        };
        let found: BTreeSet<String> =
            list_all(store, &folder).await?.into_iter().filter_map(of).collect();
        all = Some(match all {
            Some(all) => all.intersection(&found).cloned().collect(),
            None => found,
        });
    }
    Ok(all.unwrap_or_default())
}

/// Returns whether a document has table files, and no row of any of its entries. The rows of tables without a key
/// are about the document.
async fn has_no_rows(store: &dyn Store, document: &str) -> Result<bool, StoreError> {
    let Ok(id) = document.parse::<DocumentId>() else { return Ok(false) };
    let key = Key::Lineage { document: id.clone() }.to_string();
    let object = store.get_within(&key, LINEAGE_BYTES_MAX).await?;
    let Some(lineage) = object.and_then(|object| Lineage::parse(&object.bytes, &id).ok()) else {
        return Ok(false);
    };
    let (records, _) = table_records(store).await?;
    let is_keyed = |table: &str| {
        let mut records = records.iter().filter(|record| record.schema.name == table);
        records.any(|record| !record.schema.key.is_empty())
    };
    let mut keyed = lineage.files.iter().filter(|file| is_keyed(&file.table)).peekable();
    Ok(keyed.peek().is_some() && keyed.all(|file| file.rows == 0))
}

/// Returns the tables of plugins whose rows are about entries.
fn keyed_tables(plugins: &[ActivePlugin]) -> BTreeSet<String> {
    let schemas = plugins.iter().flat_map(|active| active.plugin.tables());
    let keyed = schemas.filter(|schema| !schema.key.is_empty());
    keyed.map(|schema| schema.name.clone()).collect()
}

/// The keys of a document's files of a plugin's tables.
fn keys(active: &ActivePlugin, id: &DocumentId) -> Vec<String> {
    let tables = active.plugin.tables().iter().zip(&active.targets);
    let keys = tables.flat_map(|(table, target)| {
        target.formats.iter().map(|format| target.file(&table.name, *format, id))
    });
    keys.collect()
}

/// Whether all files of a plugin are there as this version and this host make them.
fn is_current(
    active: &ActivePlugin,
    id: &DocumentId,
    lineage: Option<&Lineage>,
    seen: &StoredFiles,
) -> bool {
    let Some(lineage) = lineage else { return false };
    let made: BTreeMap<&str, _> =
        lineage.files.iter().map(|file| (file.key.as_str(), file)).collect();
    keys(active, id).iter().all(|key| {
        seen.contains_key(key)
            && made.get(key.as_str()).is_some_and(|file| {
                file.plugin.sha256 == active.plugin.sha256() && file.host_version == HOST_VERSION
            })
    })
}
