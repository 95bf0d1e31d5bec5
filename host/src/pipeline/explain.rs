//! Where rows come from: from a table file to the plugin, the host and the runs that made it, and to the
//! raw response it was made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    PipelineError, find,
    lineage::Lineage,
    publish::Standing,
    report::{DocumentReport, DocumentStatus, ImportReport, PluginReport, RunReport},
    runs::Runs,
    versions::{HistoryRecord, versions},
};
use crate::{
    config::{LINEAGE_BYTES_MAX, Limits},
    document::{DocumentId, sha256},
    layout::Key,
    sources::{self, Origin},
    store::{Store, StoreError},
};

/// So many runs are looked through for the document.
const RUNS_MAX: usize = 500;
/// The size of all reports and pages that are read for it, in bytes.
const RUNS_BYTES_MAX: u64 = 256 << 20;

/// Where rows come from.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The document.
    pub document: String,
    /// The raw response.
    pub raw: Option<Raw>,
    /// The table files that are meant: one, or all of the document.
    pub files: Vec<FileFacts>,
    /// The runs that had to do with the document, newest first.
    pub runs: Vec<RunFacts>,
    /// How many runs were looked through.
    pub runs_searched: usize,
}

/// A raw response.
#[derive(Debug, Serialize)]
pub struct Raw {
    /// Its key.
    pub key: String,
    /// Its playlist's name, where known.
    pub playlist_name: Option<String>,
    /// Spotify's mark of the playlist's state, where known.
    pub snapshot_id: Option<String>,
    /// How many pages it has.
    pub pages: usize,
    /// How many entries.
    pub entries: usize,
    /// The SHA-256 of its pages, which it still has.
    pub sha256: String,
    /// Why it can't be read, if so.
    pub problem: Option<String>,
}

/// A table file.
#[derive(Debug, Serialize)]
pub struct FileFacts {
    /// Its key.
    pub key: String,
    /// The table.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// Its SHA-256, as lineage has it.
    pub sha256: String,
    /// Whether it is what lineage says, in words if not.
    pub problem: Option<String>,
    /// The plugin that made it.
    pub plugin: String,
    /// That one's version.
    pub plugin_version: String,
    /// The SHA-256 of its file.
    pub plugin_sha256: String,
    /// When that version was seen first, and who brought it.
    pub plugin_seen: Option<HistoryRecord>,
    /// Whether it is the active version.
    pub plugin_is_active: bool,
    /// The host's version.
    pub host_version: String,
}

/// A run.
#[derive(Debug, Serialize)]
pub struct RunFacts {
    /// Its name.
    pub run_id: String,
    /// What was asked for.
    pub command: String,
    /// When it began.
    pub started_at: String,
    /// What it did with the document, in words.
    pub did: Vec<String>,
}

/// Says where a table file's, or a document's, rows come from.
///
/// # Errors
///
/// If the store fails, or has neither.
pub async fn explain(store: &dyn Store, what: &str) -> Result<Explanation, PipelineError> {
    let meant = what.parse::<Key>().ok();
    let id = match &meant {
        Some(
            Key::TableFile { document, .. } | Key::Lineage { document } | Key::Raw { document, .. },
        ) => Some(document.clone()),
        _ => what.parse::<DocumentId>().ok(),
    };
    let none = || PipelineError::NoSuchOrigin { name: what.to_owned(), store: store.location("") };
    let id = id.ok_or_else(none)?;
    let raw = raw(store, &id).await?;
    let mut files = files(store, &id).await?;
    if let Some(Key::TableFile { .. }) = &meant {
        files.retain(|file| file.key == what);
        if files.is_empty() && store.get(what).await?.is_some() {
            return Err(PipelineError::NoLineage { location: store.location(what) });
        }
        if files.is_empty() {
            return Err(none());
        }
    }
    if raw.is_none() && files.is_empty() {
        return Err(none());
    }
    let document = id.to_string();
    let (runs, runs_searched) = runs_of(store, &document, &files).await?;
    Ok(Explanation { raw, runs, runs_searched, files, document })
}

/// What runs had to do with a document, newest first, and how many were looked through.
async fn runs_of(
    store: &dyn Store,
    document: &str,
    files: &[FileFacts],
) -> Result<(Vec<RunFacts>, usize), StoreError> {
    let mut runs = Runs::of(store).await?.within(RUNS_MAX, RUNS_BYTES_MAX);
    let (mut facts, mut searched) = (Vec::new(), 0);
    while let Some(mut run) = runs.next_report().await? {
        for page in std::mem::take(&mut run.pages) {
            let may_list = page.first.as_str() <= document && document <= page.last.as_str();
            if !may_list {
                continue;
            }
            if let Some(Page { documents, imports }) = runs.read::<Page>(&page.key).await? {
                run.documents.extend(documents);
                run.imports.extend(imports);
            }
        }
        facts.extend(run_facts(&run, document, files));
        searched += 1;
    }
    Ok((facts, searched))
}

/// What a page of a run's report lists.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Page {
    documents: Vec<DocumentReport>,
    imports: Vec<ImportReport>,
}

async fn raw(store: &dyn Store, id: &DocumentId) -> Result<Option<Raw>, StoreError> {
    let Some(listed) = find(store, &id.to_string()).await? else { return Ok(None) };
    let Some(object) = store.get(&listed.key).await? else { return Ok(None) };
    let origin = Origin::of(&listed.key, object.modified);
    let limits = Limits { document_bytes: u64::MAX, json_levels: u64::MAX, ..Limits::default() };
    let read = sources::read(&object.bytes, &origin, &limits);
    let key = listed.key;
    Ok(Some(match read {
        Ok(sources::Read { document, .. }) => Raw {
            key,
            playlist_name: document.playlist_name().map(str::to_owned),
            snapshot_id: document.snapshot_id().map(str::to_owned),
            pages: document.pages().len(),
            entries: document.entries(),
            sha256: document.sha256().to_owned(),
            problem: None,
        },
        Err(refused) => Raw {
            key,
            playlist_name: None,
            snapshot_id: None,
            pages: 0,
            entries: 0,
            sha256: String::new(),
            problem: Some(refused.to_string()),
        },
    }))
}

async fn files(store: &dyn Store, id: &DocumentId) -> Result<Vec<FileFacts>, PipelineError> {
    let key = Key::Lineage { document: id.clone() }.to_string();
    let Some(object) = store.get_within(&key, LINEAGE_BYTES_MAX).await? else {
        return Ok(Vec::new());
    };
    let lineage = Lineage::parse(&object.bytes, id)
        .map_err(|source| PipelineError::Lineage { location: store.location(&key), source })?;
    let mut facts = Vec::new();
    // By name: what is known of the plugins that made the files.
    let mut makers: BTreeMap<String, (Standing, Vec<HistoryRecord>)> = BTreeMap::new();
    for file in lineage.files {
        let problem = match store.get(&file.key).await? {
            None => Some("it is gone (make it again: spotify-etl replay)"),
            Some(there) if sha256(&there.bytes) != file.sha256 => Some(
                "it is not any more what lineage says (delete it, then make it again: spotify-etl replay)",
            ),
            Some(_) => None,
        };
        let maker = file.plugin;
        if !makers.contains_key(&maker.name) {
            let standing = Standing::of(store, &maker.name).await?;
            let known = versions(store, Some(&maker.name)).await?;
            makers.insert(maker.name.clone(), (standing, known));
        }
        let (standing, known) = &makers[&maker.name];
        facts.push(FileFacts {
            key: file.key,
            table: file.table,
            rows: file.rows,
            sha256: file.sha256,
            problem: problem.map(str::to_owned),
            plugin_is_active: standing.sha256() == Some(maker.sha256.as_str()),
            plugin_seen: known.iter().find(|one| one.sha256 == maker.sha256).cloned(),
            plugin: maker.name,
            plugin_version: maker.version,
            plugin_sha256: maker.sha256,
            host_version: file.host_version,
        });
    }
    Ok(facts)
}

impl Explanation {
    /// Whether everything is there and as it was made.
    pub fn is_whole(&self) -> bool {
        self.raw.as_ref().is_some_and(|raw| raw.problem.is_none())
            && self.files.iter().all(|file| file.problem.is_none())
    }
}

/// What a run had to do with a document, if anything.
fn run_facts(run: &RunReport, document: &str, files: &[FileFacts]) -> Option<RunFacts> {
    let mut did = Vec::new();
    let is_it = |found: &Option<String>| found.as_deref() == Some(document);
    for extract in run.extracts.iter().filter(|extract| is_it(&extract.document)) {
        did.push(format!("extracted it: {} requests", extract.requests));
    }
    for import in run.imports.iter().filter(|import| is_it(&import.document)) {
        did.push(format!("imported it from {}", import.source));
    }
    for transformed in run.documents.iter().filter(|one| is_it(&one.document)) {
        let tables: Vec<_> = transformed.tables.iter().map(|table| table.table.as_str()).collect();
        did.push(match (tables.as_slice(), transformed.problems.first()) {
            (_, Some(problem)) => format!("failed on it: {problem}"),
            _ if transformed.status == DocumentStatus::Deleted => "deleted it".to_owned(),
            ([], None) => "made nothing of it".to_owned(),
            (tables, None) => format!("made {}", tables.join(", ")),
        });
    }
    // A replay names the documents that failed alone; what it did may have been about others.
    let is_maker =
        |plugin: &PluginReport| files.iter().any(|file| file.plugin_sha256 == plugin.sha256);
    let replayed = run.replay.as_ref().filter(|replay| replay.files_written > 0 && !replay.dry_run);
    if let Some(replay) = replayed.filter(|_| run.plugins.iter().any(is_maker)) {
        did.push(format!(
            "took {} documents of history to their tables again, with a version that made these files",
            replay.documents_rewritten
        ));
    }
    (!did.is_empty()).then(|| RunFacts {
        run_id: run.run_id.clone(),
        command: run.command.clone(),
        started_at: run.started_at.clone(),
        did,
    })
}
