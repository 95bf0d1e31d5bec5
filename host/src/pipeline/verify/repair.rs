//! Repairs what is safe: makes tables and lineage again from processed raw documents, completes the history
//! of plugins from the active ones, and deletes what nothing needs.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        Mode, PipelineError,
        lineage::Lineage,
        replay::{Change, Replay, Which},
        report::Empty,
        versions::{HistoryRecord, UPLOAD, keep},
    },
    Pass, Verify,
    report::{Finding, Kind},
};
use crate::{
    document::{DocumentId, sha256},
    layout::{Key, Stage},
    store::{StoreError, Written},
};

/// Why problems were not repaired.
#[derive(Debug, Default)]
pub struct Whys {
    by_finding: BTreeMap<(Kind, String), String>,
    by_document: BTreeMap<String, String>,
}

impl Whys {
    /// Why a problem is still there.
    pub fn of(&self, finding: &Finding) -> String {
        let why = self.by_finding.get(&(finding.kind, finding.key.clone()));
        let document = document(&finding.key).map(|id| id.to_string());
        let why = why.or_else(|| self.by_document.get(&document?));
        why.cloned().unwrap_or_else(|| "the repair did not change it".to_owned())
    }

    fn decline(&mut self, finding: &Finding, why: impl ToString) {
        self.by_finding.insert((finding.kind, finding.key.clone()), why.to_string());
    }
}

/// The document that a derived object belongs to.
fn document(key: &str) -> Option<DocumentId> {
    match key.parse() {
        Ok(Key::TableFile { document, .. } | Key::Lineage { document }) => Some(document),
        _ => None,
    }
}

/// What is to be made again for a document.
#[derive(Default)]
struct Work {
    /// Table files that lineage is not to vouch for any more.
    files: BTreeSet<String>,
    /// The plugins that make them.
    plugins: BTreeSet<String>,
    /// Whether the lineage itself is to be made again, by all plugins.
    lineage: bool,
}

/// Repairs what is safe of what a pass found.
///
/// # Errors
///
/// If the store can't be reached, or plugins can't be run.
pub async fn repair(verify: &Verify<'_>, pass: &Pass) -> Result<Whys, PipelineError> {
    let mut whys = Whys::default();
    let mut work: BTreeMap<DocumentId, Work> = BTreeMap::new();
    let blocked = blocked(pass);
    let damaged = damaged(pass);
    for finding in pass.findings.iter().filter(|finding| finding.is_problem()) {
        match (finding.key.parse(), finding.kind) {
            (Ok(Key::Probe { .. }), Kind::Leftover)
            | (Ok(Key::PluginError { .. } | Key::FailedReason { .. }), Kind::Orphan) => {
                delete(verify, &finding.key).await?;
            }
            (Ok(Key::History { name, sha256 } | Key::HistoryRecord { name, sha256 }), _) => {
                if let Err(why) = complete(verify, pass, &name, &sha256).await? {
                    whys.decline(finding, why);
                }
            }
            (
                Ok(Key::TableFile { table, document, .. }),
                Kind::Hash | Kind::Size | Kind::Missing | Kind::Unknown,
            ) => {
                let why = blocked.clone().or(raw_fault(verify, &damaged, &document).await?);
                let filler = pass.context.filler(&table);
                let why = why.or_else(|| filler.is_none().then(|| no_plugin(&table)));
                if let Some(why) = why {
                    whys.decline(finding, why);
                    continue;
                }
                let work = work.entry(document).or_default();
                work.files.insert(finding.key.clone());
                work.plugins.extend(filler.map(|active| active.plugin.name().to_owned()));
            }
            (
                Ok(Key::Lineage { document }),
                Kind::Missing | Kind::Unreadable | Kind::Inconsistent,
            ) => {
                let why = blocked.clone().or(raw_fault(verify, &damaged, &document).await?);
                if let Some(why) = why.or_else(|| unmakeable(pass, &document)) {
                    whys.decline(finding, why);
                    continue;
                }
                work.entry(document).or_default().lineage = true;
            }
            _ => whys.decline(finding, "only you can decide this: run one of the commands"),
        }
    }
    remake(verify, work, &mut whys).await?;
    Ok(whys)
}

/// Why no tables are made again at all, if so: a replay would use, and record, plugins that may be damaged.
fn blocked(pass: &Pass) -> Option<String> {
    let is_in_the_way = |finding: &&Finding| {
        finding.is_problem()
            && matches!(finding.key.parse(), Ok(Key::Plugin { .. } | Key::TableRecord { .. }))
    };
    let finding = pass.findings.iter().find(is_in_the_way)?;
    Some(format!("{} has a problem of its own, which has to be mended first", finding.key))
}

/// The raw documents that have a problem, by document.
fn damaged(pass: &Pass) -> BTreeMap<DocumentId, &str> {
    let problems = pass.findings.iter().filter(|finding| finding.is_problem());
    let raw = problems.filter_map(|finding| match finding.key.parse() {
        Ok(Key::Raw { document, .. }) => Some((document, finding.key.as_str())),
        _ => None,
    });
    raw.collect()
}

/// Why the tables of a document can't be made from its raw document, if so.
async fn raw_fault(
    verify: &Verify<'_>,
    damaged: &BTreeMap<DocumentId, &str>,
    id: &DocumentId,
) -> Result<Option<String>, StoreError> {
    if let Some(key) = damaged.get(id) {
        return Ok(Some(format!("its raw document has a problem of its own: {key}")));
    }
    let processed = Key::Raw { stage: Stage::Processed, document: id.clone() }.to_string();
    Ok(match verify.store.head(&processed).await? {
        Some(_) => None,
        None => Some("its document is not processed: transform it first".to_owned()),
    })
}

fn no_plugin(table: &str) -> String {
    format!("no active plugin fills table `{table}`")
}

/// Why the lineage of a document can't be made again as a whole, if so.
fn unmakeable(pass: &Pass, id: &DocumentId) -> Option<String> {
    pass.context.records.keys().find_map(|table| {
        let keys = pass.context.current_keys(table, id);
        let has_files = keys.iter().any(|key| pass.listing.find(key).is_some());
        (has_files && pass.context.filler(table).is_none()).then(|| no_plugin(table))
    })
}

/// Deletes an object that nothing needs.
async fn delete(verify: &Verify<'_>, key: &str) -> Result<(), StoreError> {
    if let Some(object) = verify.store.get(key).await? {
        verify.store.delete_if(key, &object.tag()).await?;
    }
    Ok(())
}

/// Completes a version of the history from the active plugin. Returns why that is not possible, if so.
async fn complete(
    verify: &Verify<'_>,
    pass: &Pass,
    name: &str,
    expected: &str,
) -> Result<Result<(), String>, StoreError> {
    let store = verify.store;
    let why = || Ok(Err("it is not the active version, whose file is in the store".to_owned()));
    let mut active = pass.context.active.iter();
    let Some(active) = active.find(|one| one.plugin.sha256() == expected) else { return why() };
    let key = Key::Plugin { name: name.to_owned() }.to_string();
    let Some(object) = store.get(&key).await? else { return why() };
    if active.plugin.name() != name || sha256(&object.bytes) != expected {
        return why();
    }
    let (name, sha256) = (name.to_owned(), expected.to_owned());
    let file = Key::History { name: name.clone(), sha256: sha256.clone() }.to_string();
    if let Some(kept) = store.get(&file).await?
        && kept.bytes != object.bytes
        && store.put_if(&file, &object.bytes, &kept.tag()).await? == Written::Refused
    {
        return Ok(Err("it was changed by another program".to_owned()));
    }
    let record = Key::HistoryRecord { name: name.clone(), sha256: sha256.clone() }.to_string();
    let kept = store.get(&record).await?;
    let is_readable = |bytes: &[u8]| HistoryRecord::parse(&name, &sha256, bytes).is_ok();
    if kept.is_some_and(|kept| !is_readable(&kept.bytes)) {
        delete(verify, &record).await?;
    }
    keep(store, &HistoryRecord::of(&active.plugin, UPLOAD, verify.now), &object.bytes).await?;
    Ok(Ok(()))
}

/// Makes tables and lineage again.
async fn remake(
    verify: &Verify<'_>,
    work: BTreeMap<DocumentId, Work>,
    whys: &mut Whys,
) -> Result<(), PipelineError> {
    // By the plugins that have to make them; none stands for all.
    let mut groups: BTreeMap<BTreeSet<String>, Vec<String>> = BTreeMap::new();
    for (document, work) in work {
        let lineage = Key::Lineage { document: document.clone() }.to_string();
        let plugins = match work.lineage {
            true => {
                delete(verify, &lineage).await?;
                BTreeSet::new()
            }
            false => {
                forget(verify, &document, &lineage, &work.files).await?;
                work.plugins
            }
        };
        let key = Key::Raw { stage: Stage::Processed, document }.to_string();
        groups.entry(plugins).or_default().push(key);
    }
    for (plugins, keys) in groups {
        let replay = Replay {
            transform: verify.transform(),
            which: Which::Keys(keys),
            plugins: plugins.into_iter().collect(),
            change: Change::None,
            empty: Empty::Allowed,
            mode: Mode::Write,
        };
        let (_, transformed) = replay.run().await?;
        for report in transformed.documents.iter() {
            let problems: Vec<_> = report.problems.iter().map(ToString::to_string).collect();
            if let Ok(Key::Raw { document, .. }) = report.key.parse() {
                whys.by_document.insert(document.to_string(), problems.join("; "));
            }
        }
    }
    Ok(())
}

/// Removes files from the lineage of a document, so that a replay makes them again whatever marks the store
/// has for them. If that is not followed by a replay, they are reported as of unknown origin.
async fn forget(
    verify: &Verify<'_>,
    id: &DocumentId,
    key: &str,
    files: &BTreeSet<String>,
) -> Result<(), StoreError> {
    let Some(object) = verify.store.get(key).await? else { return Ok(()) };
    let Ok(mut lineage) = Lineage::parse(&object.bytes, id) else { return Ok(()) };
    let before = lineage.files.len();
    lineage.files.retain(|file| !files.contains(&file.key));
    if lineage.files.len() < before {
        // If another program changed it, that one takes care of the files.
        verify.store.put_if(key, &lineage.to_bytes(), &object.tag()).await?;
    }
    Ok(())
}
