//! Bringing in what people have: files become documents that wait, unless they are there already.

use std::collections::HashMap;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Progress,
    report::{Action, ImportReport, ImportStatus, Problem},
};
use crate::{
    config::Limits,
    document::{Document, DocumentId, ExtractedAt, Origin, PlaylistId, Refused, TimeSource},
    layout::{Key, Stage},
    source::{Found, Source},
    store::{Created, Store, StoreError, list_all},
};

/// What is said of everything that is brought in.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The playlist, where the content should not say.
    pub playlist: Option<PlaylistId>,
    /// When it was read, where the name should not say.
    pub extracted_at: Option<ExtractedAt>,
    /// Whether anything is written.
    pub mode: ImportMode,
}

/// Whether anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportMode {
    /// It is.
    Land,
    /// It is only said what would be.
    DryRun,
}

/// Brings files in. One that can't be is reported and left alone.
///
/// # Errors
///
/// If the store takes none of them.
pub async fn import(
    store: &dyn Store,
    found: &Found,
    options: &ImportOptions,
    limits: &Limits,
    now: OffsetDateTime,
    progress: &dyn Progress,
) -> Result<Vec<ImportReport>, StoreError> {
    let mut known = Known::default();
    let (mut reports, mut store_error) = (Vec::new(), None);
    for error in &found.problems {
        let mut report = blank(error.path().to_owned());
        report.problem = Some(Problem::new(Action::Setup, error));
        reports.push(report);
    }
    progress.begin("import", found.sources.len());
    for source in &found.sources {
        let mut report = blank(source.path.display().to_string());
        let imported =
            import_one(store, source, options, limits, now, &mut known, &mut report).await;
        if let Err(error) = imported {
            report.problem = Some(Problem::new(Action::Retry, &error));
            store_error = store_error.or(Some(error));
        }
        reports.push(report);
        progress.advance();
    }
    progress.end();
    let any_taken = reports.iter().any(|report| report.status != ImportStatus::Refused);
    store_error.filter(|_| !any_taken).map_or(Ok(reports), Err)
}

async fn import_one(
    store: &dyn Store,
    source: &Source,
    options: &ImportOptions,
    limits: &Limits,
    now: OffsetDateTime,
    known: &mut Known,
    report: &mut ImportReport,
) -> Result<(), StoreError> {
    let content = match source.read(limits.document_bytes) {
        Ok(content) => content,
        Err(error) => {
            report.problem = Some(Problem::new(Action::Setup, error));
            return Ok(());
        }
    };
    let origin = Origin {
        name: &source.name,
        modified: content.modified.unwrap_or(now),
        playlist: options.playlist.as_ref(),
        extracted_at: options.extracted_at,
    };
    let (document, time) = match Document::read(&content.bytes, &origin, limits) {
        Ok(read) => read,
        Err(error) => {
            report.problem = Some(Problem::new(Action::Document, error));
            return Ok(());
        }
    };
    describe(report, &document);
    let message = match land(store, &document, time, options.mode, known).await {
        Ok((status, id, key)) => {
            report.status = status;
            report.document = Some(id.to_string());
            report.key = Some(key.to_string());
            return Ok(());
        }
        Err(LandError::Store(error)) => return Err(error),
        Err(other) => other.in_the_way(store),
    };
    report.problem = Some(Problem::new(Action::Document, message));
    Ok(())
}

fn blank(source: String) -> ImportReport {
    ImportReport {
        source,
        status: ImportStatus::Refused,
        document: None,
        key: None,
        playlist_id: None,
        playlist_name: None,
        extracted_at: None,
        entries: None,
        complete: None,
        problem: None,
    }
}

fn describe(report: &mut ImportReport, document: &Document) {
    let id = document.id();
    report.document = Some(id.to_string());
    report.playlist_id = Some(id.playlist_id.to_string());
    report.playlist_name = document.playlist_name().map(str::to_owned);
    report.extracted_at = id.extracted_at.moment().format(&Rfc3339).ok();
    report.entries = Some(document.entries());
    report.complete = document.complete();
}

/// The documents of playlists, as far as they were asked for: by hash, since a file whose time is
/// assumed may come again with another one.
#[derive(Default)]
pub struct Known {
    documents: HashMap<PlaylistId, Vec<(Stage, DocumentId)>>,
}

impl Known {
    async fn of(
        &mut self,
        store: &dyn Store,
        playlist: &PlaylistId,
    ) -> Result<&mut Vec<(Stage, DocumentId)>, StoreError> {
        if !self.documents.contains_key(playlist) {
            let mut found = Vec::new();
            for stage in [Stage::Processed, Stage::ToProcess] {
                let prefix = format!("{}{playlist}/", stage.prefix());
                for listed in list_all(store, &prefix).await? {
                    if let Ok(Key::Raw { document, .. }) = listed.key.parse() {
                        found.push((stage, document));
                    }
                }
            }
            self.documents.insert(playlist.clone(), found);
        }
        Ok(self.documents.entry(playlist.clone()).or_default())
    }
}

/// Why a document does not land.
pub enum LandError {
    /// The store fails.
    Store(StoreError),
    /// Another document has its key.
    Other {
        /// The key.
        key: String,
    },
    /// What has its key is no document.
    Unreadable {
        /// The key.
        key: String,
        /// Why not.
        error: Refused,
    },
}

impl LandError {
    /// What is in a document's place, in words.
    pub fn in_the_way(&self, store: &dyn Store) -> String {
        match self {
            LandError::Store(error) => error.to_string(),
            LandError::Other { key } => format!(
                "another document has its name already: {} (compare the two; take one away, or \
                 bring it in with another --extracted-at)",
                store.location(key)
            ),
            LandError::Unreadable { key, error } => {
                format!("{} is in its place and can't be read: {error}", store.location(key))
            }
        }
    }
}

impl From<StoreError> for LandError {
    fn from(error: StoreError) -> Self {
        LandError::Store(error)
    }
}

/// Lands a document unless it is there already. The first stays, whatever a later header says.
async fn land(
    store: &dyn Store,
    document: &Document,
    time: TimeSource,
    mode: ImportMode,
    known: &mut Known,
) -> Result<(ImportStatus, DocumentId, Key), LandError> {
    let id = document.id();
    let found = known.of(store, &id.playlist_id).await?;
    let same = |(_, other): &&(Stage, DocumentId)| {
        other.hash8 == id.hash8 && (time == TimeSource::Assumed || other == id)
    };
    let matching: Vec<_> = found.iter().filter(same).cloned().collect();
    for (stage, other) in matching {
        let key = Key::Raw { stage, document: other.clone() };
        if is_same(store, &key, document).await? {
            let status = match stage {
                Stage::Processed => ImportStatus::Processed,
                _ => ImportStatus::Waiting,
            };
            return Ok((status, other, key));
        }
    }
    let key = Key::Raw { stage: Stage::ToProcess, document: id.clone() };
    if mode == ImportMode::DryRun {
        found.push((Stage::ToProcess, id.clone()));
        return Ok((ImportStatus::WouldLand, id.clone(), key));
    }
    if store.put_new(&key.to_string(), &document.to_bytes()).await? == Created::Exists {
        is_same(store, &key, document).await?;
        return Ok((ImportStatus::Waiting, id.clone(), key));
    }
    found.push((Stage::ToProcess, id.clone()));
    Ok((ImportStatus::Landed, id.clone(), key))
}

/// Whether the document under a key has the same pages. None under it: moved meanwhile, not same.
///
/// # Errors
///
/// If it has the same id and other pages.
pub async fn is_same(store: &dyn Store, key: &Key, document: &Document) -> Result<bool, LandError> {
    let key = key.to_string();
    let Some(object) = store.get(&key).await? else { return Ok(false) };
    let origin =
        Origin { name: &key, modified: object.modified, playlist: None, extracted_at: None };
    // What is in the store was once within the limits.
    let limits = Limits { document_bytes: u64::MAX, json_levels: u64::MAX, ..Limits::default() };
    let other = Document::read(&object.bytes, &origin, &limits);
    let (other, _) = other.map_err(|error| LandError::Unreadable { key: key.clone(), error })?;
    if other.sha256() == document.sha256() {
        return Ok(true);
    }
    if other.id() == document.id() { Err(LandError::Other { key }) } else { Ok(false) }
}
