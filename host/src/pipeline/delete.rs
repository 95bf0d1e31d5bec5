//! Deletes documents with everything derived from them: raw documents in all stages, table files in all
//! generations and formats, and lineage. Plugins, table records and run reports are not touched.
//!
//! The order is: raw objects first, in the order in which documents move between stages, so that no later run
//! or replay makes rows of them; then table files; then lineage. Each object is deleted only if it is still
//! the one that was looked at. Then all keys are looked at again, until none of them is in the store: a run
//! that had read the document before may write it again meanwhile. If the program is killed, the same command
//! continues, since a document is found by any object that is left of it.

use std::collections::BTreeMap;

use futures_util::{
    StreamExt, TryStreamExt,
    future::{join_all, try_join_all},
    stream,
};

use super::{
    Mode, PipelineError, Progress,
    listing::{Listing, ReportPages},
    playlists::{PlaylistsError, playlists},
    report::{Action, DeleteReport, DocumentReport, DocumentStatus, Problem},
    table_folders::{partitions, table_folders},
};
use crate::{
    document::{DocumentId, PlaylistId},
    layout::{Key, Stage, TableFolder, lineage_prefix, raw_prefix},
    store::{Store, StoreError, list_all},
};

/// The stages of raw documents, in the order in which documents move.
const STAGES: [Stage; 3] = [Stage::ToProcess, Stage::Failed, Stage::Processed];
/// How many documents are looked up or deleted at a time.
const DOCUMENTS_AT_ONCE: usize = 8;
/// How many prefixes are listed at a time.
const LISTINGS_AT_ONCE: usize = 16;
/// How often an object is looked at again because another program changed it.
const ATTEMPTS_MAX: usize = 20;
/// How often the keys of a document are looked at until none is in the store.
const PASSES_MAX: usize = 5;

/// What is deleted as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// A file of another program that waits or failed, by key.
    File(String),
    /// A document.
    Document(DocumentId),
}

/// A document or a file, with the keys that are in the store.
struct Found {
    subject: Subject,
    keys: Vec<String>,
}

/// What a command is to delete, as it was found in the store. Nothing is deleted yet.
pub struct Deletion<'s> {
    store: &'s dyn Store,
    folders: Vec<TableFolder>,
    found: Vec<Found>,
    /// Reports on names that mean no document.
    unknown: Vec<DocumentReport>,
    playlist: Option<PlaylistId>,
}

/// How a deletion is carried out.
pub struct Execution<'s> {
    /// Whether anything is deleted.
    pub mode: Mode,
    /// Where details go that the report has no room for.
    pub pages: Option<&'s ReportPages>,
    /// Shows how far it is.
    pub progress: &'s dyn Progress,
}

/// What a deletion did.
pub struct Deleted {
    /// The numbers.
    pub report: DeleteReport,
    /// The documents.
    pub documents: Listing<DocumentReport>,
    /// What may come again.
    pub warnings: Vec<String>,
}

impl<'s> Deletion<'s> {
    /// Finds documents by name or key, and files of other programs by key.
    ///
    /// # Errors
    ///
    /// If the store fails, or none of them is in it.
    pub async fn of_names(store: &'s dyn Store, names: &[String]) -> Result<Self, PipelineError> {
        let mut subjects: BTreeMap<Subject, &String> = BTreeMap::new();
        let mut unknown = Vec::new();
        for name in names {
            match subject(store, name) {
                Ok(subject) => drop(subjects.insert(subject, name)),
                Err(problem) => unknown.push(not_found(name, problem)),
            }
        }
        let folders = table_folders(store).await?;
        let present = stream::iter(subjects).map(|(subject, name)| {
            let steps = subject.steps(&folders);
            async move {
                let keys = present(store, steps.concat()).await?;
                Ok::<_, StoreError>((Found { subject, keys }, name))
            }
        });
        let present: Vec<_> = present.buffered(DOCUMENTS_AT_ONCE).try_collect().await?;
        let mut found = Vec::new();
        for (one, name) in present {
            match one.keys.is_empty() {
                true => unknown.push(not_found(name, no_such_document(store, name))),
                false => found.push(one),
            }
        }
        let problems = unknown.iter().flat_map(|report| &report.problems);
        if found.is_empty() {
            let problems = problems.map(ToString::to_string).collect();
            return Err(PipelineError::NothingToDelete { problems });
        }
        Ok(Deletion { store, folders, found, unknown, playlist: None })
    }

    /// Finds all documents of a playlist.
    ///
    /// # Errors
    ///
    /// If the store fails, or there are none.
    pub async fn of_playlist(
        store: &'s dyn Store,
        playlist: &PlaylistId,
    ) -> Result<Self, PipelineError> {
        let id = playlist.as_str();
        let folders = table_folders(store).await?;
        let years = partitions(store, &folders).await?;
        let raw = STAGES.map(|stage| raw_prefix(stage, id));
        let files = years.iter().map(|(_, prefix)| format!("{prefix}{id}-"));
        let prefixes: Vec<String> =
            raw.into_iter().chain(files).chain([lineage_prefix(id)]).collect();
        let listed = stream::iter(&prefixes).map(|prefix| list_all(store, prefix));
        let listed: Vec<_> = listed.buffered(LISTINGS_AT_ONCE).try_collect().await?;
        let mut documents: BTreeMap<DocumentId, Vec<String>> = BTreeMap::new();
        for key in listed.into_iter().flatten().map(|listed| listed.key) {
            // The id of another playlist may begin with this one and a `-`.
            match document_of(&key) {
                Some(id) if id.playlist_id == *playlist => {
                    documents.entry(id).or_default().push(key);
                }
                _ => {}
            }
        }
        if documents.is_empty() {
            let problem = format!(
                "no document of playlist `{playlist}` in {} (`spotify-etl status` names the playlists)",
                store.location("")
            );
            return Err(PipelineError::NothingToDelete { problems: vec![problem] });
        }
        let found = documents.into_iter();
        let found = found.map(|(id, keys)| Found { subject: Subject::Document(id), keys });
        let (found, playlist) = (found.collect(), Some(playlist.clone()));
        Ok(Deletion { store, folders, found, unknown: Vec::new(), playlist })
    }

    /// Deletes what was found, or says what would be deleted. What goes wrong with one document is in its
    /// report.
    pub async fn run(self, execution: &Execution<'_>) -> Deleted {
        let Execution { mode, pages, progress } = execution;
        let mut report = DeleteReport {
            dry_run: *mode == Mode::DryRun,
            playlist_id: self.playlist.as_ref().map(ToString::to_string),
            ..DeleteReport::default()
        };
        // A dry run writes nothing.
        let pages = pages.filter(|_| *mode == Mode::Write);
        let mut documents = Listing::default();
        if *mode == Mode::Write {
            progress.begin("delete", self.found.len());
        }
        let done = stream::iter(&self.found).map(|found| async {
            match mode {
                Mode::Write => {
                    let done = self.delete(found).await;
                    progress.advance();
                    done
                }
                Mode::DryRun => found.report(DocumentStatus::WouldDelete, found.keys.clone()),
            }
        });
        let mut done = done.buffered(DOCUMENTS_AT_ONCE);
        while let Some(document) = done.next().await {
            report.add(&document);
            documents.push(document);
            documents.save_full_pages(self.store, pages).await;
        }
        drop(done);
        if *mode == Mode::Write {
            progress.end();
        }
        for document in self.unknown {
            documents.push(document);
        }
        documents.save_pages(self.store, pages).await;
        let mut warnings = Vec::new();
        if let Some(playlist) = &self.playlist {
            warnings.extend(listed_still(self.store, playlist, &mut report).await);
        }
        Deleted { report, documents, warnings }
    }

    /// Deletes one document.
    async fn delete(&self, found: &Found) -> DocumentReport {
        let steps = found.subject.steps(&self.folders);
        let mut deleted = Vec::new();
        for _ in 0..PASSES_MAX {
            let mut is_gone = true;
            for step in &steps {
                let removed = join_all(step.iter().map(|key| remove(self.store, key))).await;
                let mut problems = Vec::new();
                for (key, removed) in step.iter().zip(removed) {
                    match removed {
                        Ok(false) => {}
                        Ok(true) => {
                            is_gone = false;
                            deleted.push(key.clone());
                        }
                        Err(error) => problems.push(Problem::new(Action::Retry, error)),
                    }
                }
                // The steps after this one must not come before it.
                if !problems.is_empty() {
                    let report = found.report(DocumentStatus::NotDeleted, deleted);
                    return DocumentReport { problems, ..report };
                }
            }
            if is_gone {
                return found.report(DocumentStatus::Deleted, deleted);
            }
        }
        let message = "another program keeps writing it (wait until all runs have ended, then run the same command again)";
        let report = found.report(DocumentStatus::NotDeleted, deleted);
        DocumentReport { problems: vec![Problem::new(Action::Retry, message)], ..report }
    }
}

impl Subject {
    /// Returns the keys that it may have, in the order in which they are deleted: those of a step at the same
    /// time.
    fn steps(&self, folders: &[TableFolder]) -> Vec<Vec<String>> {
        let id = match self {
            Subject::Document(id) => id,
            Subject::File(key) => return file_steps(key),
        };
        let raw = |stage| Key::Raw { stage, document: id.clone() };
        let reason = raw(Stage::Failed).failed_reason();
        let [waiting, failed, processed] = STAGES.map(raw);
        let single = [waiting, reason, failed, processed].map(|key| vec![key.to_string()]);
        let files = folders.iter().map(|folder| folder.file(id).to_string()).collect();
        let lineage = Key::Lineage { document: id.clone() }.to_string();
        single.into_iter().chain([files, vec![lineage]]).collect()
    }
}

fn file_steps(key: &str) -> Vec<Vec<String>> {
    let reason = match key.parse::<Key>() {
        Ok(key @ Key::Foreign { stage: Stage::Failed, .. }) => Some(key.failed_reason()),
        _ => None,
    };
    reason.iter().map(ToString::to_string).chain([key.to_owned()]).map(|key| vec![key]).collect()
}

impl Found {
    fn report(&self, status: DocumentStatus, mut deleted: Vec<String>) -> DocumentReport {
        let is_raw =
            |key: &&String| matches!(key.parse(), Ok(Key::Raw { .. } | Key::Foreign { .. }));
        let document = match &self.subject {
            Subject::Document(id) => Some(id.to_string()),
            Subject::File(_) => None,
        };
        let name = match &self.subject {
            Subject::Document(id) => id.to_string(),
            Subject::File(key) => key.clone(),
        };
        let key = self.keys.iter().find(is_raw).cloned().unwrap_or(name);
        deleted.sort();
        deleted.dedup();
        let now_at = (status != DocumentStatus::Deleted).then(|| key.clone());
        DocumentReport { status, document, now_at, deleted, ..DocumentReport::new(key) }
    }
}

impl DeleteReport {
    fn add(&mut self, document: &DocumentReport) {
        self.documents += usize::from(document.status != DocumentStatus::NotDeleted);
        for key in &document.deleted {
            match key.parse() {
                Ok(Key::Raw { .. } | Key::Foreign { .. }) => self.raw_objects += 1,
                Ok(Key::Lineage { .. }) => self.lineage_records += 1,
                Ok(Key::TableFile { table, .. }) => {
                    self.table_files += 1;
                    *self.files_by_table.entry(table).or_default() += 1;
                }
                _ => {}
            }
        }
    }
}

/// Reads what somebody named.
fn subject(store: &dyn Store, name: &str) -> Result<Subject, String> {
    if let Ok(id) = name.parse() {
        return Ok(Subject::Document(id));
    }
    match name.parse::<Key>() {
        Ok(Key::Raw { document, .. }) => Ok(Subject::Document(document)),
        Ok(Key::Foreign { .. }) => Ok(Subject::File(name.to_owned())),
        Ok(Key::TableFile { document, .. } | Key::Lineage { document }) => Err(format!(
            "`{name}` is only a part of what is stored of document {document} (delete the whole document: spotify-etl delete {document})"
        )),
        _ => Err(no_such_document(store, name)),
    }
}

fn no_such_document(store: &dyn Store, name: &str) -> String {
    format!(
        "no document `{name}` in {} (the column `document` of each table has the names; a key begins with raw_data/to_process/, raw_data/processed/ or raw_data/failed/)",
        store.location("")
    )
}

fn not_found(name: &str, problem: String) -> DocumentReport {
    let problems = vec![Problem::new(Action::Setup, problem)];
    let status = DocumentStatus::Gone;
    DocumentReport { status, now_at: None, problems, ..DocumentReport::new(name.to_owned()) }
}

fn document_of(key: &str) -> Option<DocumentId> {
    match key.parse() {
        Ok(
            Key::Raw { document, .. } | Key::TableFile { document, .. } | Key::Lineage { document },
        ) => Some(document),
        Ok(Key::FailedReason { path }) => {
            let failed = format!("{}{path}.json", Stage::Failed.prefix());
            match failed.parse() {
                Ok(Key::Raw { document, .. }) => Some(document),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns those of some keys that are in the store.
async fn present(store: &dyn Store, keys: Vec<String>) -> Result<Vec<String>, StoreError> {
    let found = try_join_all(keys.iter().map(|key| store.head(key))).await?;
    let found = keys.into_iter().zip(found);
    Ok(found.filter_map(|(key, listed)| listed.map(|_| key)).collect())
}

/// Deletes an object, whatever it has become since it was looked at. Returns whether there was one.
async fn remove(store: &dyn Store, key: &str) -> Result<bool, StoreError> {
    for _ in 0..ATTEMPTS_MAX {
        let Some(listed) = store.head(key).await? else { return Ok(false) };
        let tag = match listed.tag {
            Some(tag) => tag,
            None => match store.get(key).await? {
                Some(object) => object.tag(),
                None => return Ok(false),
            },
        };
        if store.delete_if(key, &tag).await? {
            return Ok(true);
        }
    }
    Err(StoreError::Contended { location: store.location(key) })
}

/// Notes whether a playlist is still on the list. Returns why that is not known, if so.
async fn listed_still(
    store: &dyn Store,
    playlist: &PlaylistId,
    report: &mut DeleteReport,
) -> Option<String> {
    match playlists(store).await {
        Ok(list) => {
            report.is_listed = list.iter().any(|listed| listed.id == *playlist);
            None
        }
        Err(PlaylistsError::Store(error)) => Some(error.to_string()),
        Err(error) => {
            Some(format!("it is not known whether the playlist is extracted again: {error}"))
        }
    }
}
