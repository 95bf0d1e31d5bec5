//! Checks a store as a whole: folders that nothing reads, tables without a record, plugins that are missing,
//! and what was noticed in many documents and is reported once.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        Mode, PipelineError,
        active::ActivePlugin,
        list,
        replay::{Change, Replay, Which},
        report::{Empty, PluginStatus},
    },
    Verify,
    checker::Checker,
    context::Context,
    listing::Listing,
    mend::{Step, Way},
    report::{Fact, Finding, Kind},
};
use crate::{
    config::Bytes,
    document::DocumentId,
    layout::{Format, Key, Stage, table_folder},
};

/// What was noticed, and in which documents.
pub type Facts = BTreeMap<Fact, Vec<DocumentId>>;

/// The files of a table in one folder.
#[derive(Default)]
struct Folder {
    files: usize,
    bytes: u64,
}

impl Checker<'_> {
    /// The ways to get a new record for a table, from the files that it has.
    pub fn new_record(&self, table: &str, finding: Finding, first: Option<Step>) -> Finding {
        let folders = folders(self.listing);
        let own: BTreeSet<(u32, Format)> = folders
            .keys()
            .filter(|(name, _, _)| name == table)
            .map(|(_, generation, format)| (*generation, *format))
            .collect();
        // A new record is of the first generation: with a later one, readers would get the old rows.
        if own.iter().any(|(generation, _)| *generation > 1) || !self.context.is_declared(table) {
            let key = Key::TableRecord { table: table.to_owned() }.to_string();
            return finding.or(Step::Restore { key });
        }
        let formats: Vec<Format> = own.into_iter().map(|(_, format)| format).collect();
        let mut steps: Vec<Step> = first.into_iter().collect();
        steps.push(Step::Replay { plugin: None });
        if !formats.is_empty() && formats != [Format::Csv] {
            steps.push(Step::ReplayFormat { formats: list(&formats) });
        }
        finding.or(Way(steps))
    }

    /// Checks what no single object shows.
    pub fn overview(&self, facts: &Facts) -> Vec<Finding> {
        let listing = self.listing;
        let mut findings = Vec::new();
        let mut without_record = BTreeSet::new();
        for ((table, generation, format), folder) in folders(listing) {
            let Some(record) = self.context.records.get(&table) else {
                without_record.insert(table);
                continue;
            };
            if self.context.is_read(&table, generation, format) {
                continue;
            }
            let prefix = table_folder(&table, generation, format);
            let (files, bytes) = (folder.files, Bytes(folder.bytes));
            let (now, formats) = (record.generation, list(&record.formats));
            let message = format!(
                "is read by nothing, as table `{table}` is of generation {now}, written as {formats} ({files} files, {bytes})"
            );
            let finding = Finding::note(Kind::Leftover, &prefix, message);
            let finding = match generation > now {
                true => finding.or(Step::NewGeneration { table }),
                false => finding,
            };
            findings.push(finding.or(Step::DeleteFolder { prefix }));
        }
        for table in without_record {
            let key = Key::TableRecord { table: table.clone() }.to_string();
            // One that is there and can't be read is reported itself.
            if listing.find(&key).is_none() {
                let message = format!("is missing, although table `{table}` has files");
                let finding = Finding::problem(Kind::Missing, &key, message);
                findings.push(self.new_record(&table, finding, None));
            }
        }
        findings.extend(self.absent_plugins());
        findings.extend(facts.iter().filter_map(|(fact, ids)| self.reported(fact, ids)));
        findings
    }

    fn absent_plugins(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for report in &self.context.reports {
            if report.status != PluginStatus::Missing {
                continue;
            }
            let name = &report.name;
            let key = Key::Plugin { name: name.clone() };
            let tables = report.tables.join("`, `");
            let message = format!("is missing: table `{tables}` belongs to it");
            let mut finding = Finding::problem(Kind::Missing, key, message);
            // A version without tables is a file that was no plugin, kept when it was replaced.
            let versions = self.context.history.values();
            let versions = versions.filter(|one| one.name == *name && !one.tables.is_empty());
            if let Some(last) = versions.max_by_key(|one| one.active_since().to_owned()) {
                let (name, sha256) = (name.clone(), last.sha256.clone());
                finding = finding.or(Step::Rollback { name, sha256 });
            }
            findings.push(finding.or(Step::RemovePlugin { name: name.clone() }));
        }
        for (table, record) in &self.context.records {
            if record.owner_removed {
                let key = Key::TableRecord { table: table.clone() };
                let message = format!(
                    "gets no more rows, since plugin `{}` was removed by a command",
                    record.owner
                );
                findings.push(Finding::note(Kind::Unknown, key, message));
            }
        }
        findings
    }

    fn reported(&self, fact: &Fact, ids: &[DocumentId]) -> Option<Finding> {
        let (first, count) = (ids.first()?, ids.len());
        let replay = |plugin: &String| Step::Replay { plugin: Some(plugin.clone()) };
        Some(match fact {
            Fact::UnknownMaker { plugin, sha256 } => {
                let key = Key::History { name: plugin.clone(), sha256: sha256.clone() };
                let message = format!(
                    "is not in the history of plugins, although {count} lineage records name it, such as that of {first}"
                );
                let finding = Finding::problem(Kind::Unknown, key, message);
                let is_active = self.context.active.iter().any(|one| one.plugin.name() == plugin);
                match is_active {
                    true => finding.or(replay(plugin)),
                    false => finding.or(Step::Publish { name: plugin.clone() }),
                }
            }
            Fact::OutOfDate { plugin } => {
                let key = Key::Plugin { name: plugin.clone() };
                let message = format!(
                    "did not make all of its files in this version and in this host: {count} documents have others, such as {first}"
                );
                Finding::note(Kind::OutOfDate, key, message).or(replay(plugin))
            }
            Fact::Without { plugin } => {
                let key = Key::Plugin { name: plugin.clone() };
                let message = format!(
                    "has made no tables of {count} processed documents, such as {first}: it is newer than they are, or they are not for it"
                );
                Finding::note(Kind::OutOfDate, key, message).or(replay(plugin))
            }
            // Whether these are missing is found out by a replay.
            Fact::OnlyOld { .. } => return None,
        })
    }
}

/// The folders of tables, with what is in them.
fn folders(listing: &Listing) -> BTreeMap<(String, u32, Format), Folder> {
    let mut folders: BTreeMap<(String, u32, Format), Folder> = BTreeMap::new();
    let begin = listing.entries().partition_point(|entry| entry.key.as_ref() < TRANSFORMED);
    let entries = listing.entries().get(begin..).unwrap_or_default();
    for entry in entries.iter().take_while(|entry| entry.key.starts_with(TRANSFORMED)) {
        if let Ok(Key::TableFile { table, generation, format, .. }) = entry.key.parse() {
            let folder = folders.entry((table, generation, format)).or_default();
            folder.files += 1;
            folder.bytes += entry.size;
        }
    }
    folders
}

/// What the keys of all table files begin with.
const TRANSFORMED: &str = "transformed_data/";

/// Finds the documents whose rows are only where nothing reads them: a replay, which writes nothing, says
/// whether their plugin would make files of them.
///
/// # Errors
///
/// If the store fails.
pub async fn unread(
    verify: &Verify<'_>,
    context: &Context,
    facts: &Facts,
) -> Result<Vec<Finding>, PipelineError> {
    let mut findings = Vec::new();
    for (fact, ids) in facts {
        let Fact::OnlyOld { table } = fact else { continue };
        let Some(active) = context.filler(table) else { continue };
        if !would_write(verify, active, ids).await? {
            continue;
        }
        for id in ids {
            for key in context.current_keys(table, id) {
                let message = format!(
                    "is missing: the document has rows in an earlier generation or another format of table `{table}`, which nothing reads"
                );
                let finding = Finding::problem(Kind::Missing, key, message);
                findings.push(finding.or(Step::replay(id)));
            }
        }
    }
    Ok(findings)
}

/// Whether a plugin would make files of any of these documents.
async fn would_write(
    verify: &Verify<'_>,
    active: &ActivePlugin,
    ids: &[DocumentId],
) -> Result<bool, PipelineError> {
    let key = |id: &DocumentId| Key::Raw { stage: Stage::Processed, document: id.clone() };
    let replay = Replay {
        transform: verify.transform(),
        which: Which::Keys(ids.iter().map(|id| key(id).to_string()).collect()),
        plugins: vec![active.plugin.name().to_owned()],
        change: Change::None,
        empty: Empty::Allowed,
        mode: Mode::DryRun,
    };
    let (report, transformed) = replay.run().await?;
    Ok(report.files_written > 0 || !transformed.documents.is_empty())
}
