//! Bringing in what people have: files become documents that wait, unless they are there already.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use futures_util::StreamExt;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::{Mutex, oneshot};

use super::{
    Arrival, Progress,
    jobs::{Jobs, Until, hand_over},
    listing::{Listing, ReportPages},
    report::{Action, ImportReport, ImportStatus, Problem},
};
use crate::{
    config::Limits,
    document::{
        Document, DocumentId, ExtractedAt, FutureTimes, Origin, PlaylistId, Refused, TimeSource,
    },
    layout::{Key, Stage},
    source::{Source, SourceError},
    store::{Listed, Store, StoreError, list_all, list_readable},
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
    /// How many are worked on at a time.
    pub jobs: usize,
    /// Whether a time in the future is accepted.
    pub future: FutureTimes,
    /// Where the details go that the report has no room for; they are left out if there are none.
    pub pages: Option<ReportPages>,
}

/// What an import came to.
#[derive(Debug, Default)]
pub struct Imported {
    /// What became of each file.
    pub reports: Listing<ImportReport>,
    /// The documents that wait for being transformed, because of this import or of one before.
    pub arrivals: Vec<Arrival>,
}

/// Whether anything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportMode {
    /// It is.
    Land,
    /// It is only said what would be.
    DryRun,
}

/// Something to bring in.
pub enum Incoming<'s> {
    /// A file.
    File(&'s Source),
    /// An object of another store.
    Object {
        /// That store.
        store: &'s dyn Store,
        /// Which.
        listed: &'s Listed,
    },
}

/// The bytes of something to bring in, and what is known of them.
struct Content {
    name: String,
    bytes: Bytes,
    modified: Option<OffsetDateTime>,
}

impl Incoming<'_> {
    fn location(&self) -> String {
        match self {
            Incoming::File(source) => source.path.display().to_string(),
            Incoming::Object { store, listed } => store.location(&listed.key),
        }
    }

    /// How many bytes it has, as far as is known.
    fn size(&self) -> u64 {
        match self {
            Incoming::File(source) => source.size().unwrap_or(u64::MAX),
            Incoming::Object { listed, .. } => listed.size,
        }
    }

    /// Reads it, as far as a limit on documents makes sense.
    async fn read(&self, bytes_max: u64) -> Result<Content, Problem> {
        match self {
            Incoming::File(source) => {
                let content = source.read(bytes_max);
                let content = content.map_err(|error| Problem::new(Action::Setup, error))?;
                let name = source.name.clone();
                Ok(Content { name, bytes: content.bytes.into(), modified: content.modified })
            }
            Incoming::Object { listed, .. } if listed.size > bytes_max => {
                let error = Refused::TooLarge { max: bytes_max };
                Err(Problem::new(Action::Document, error))
            }
            Incoming::Object { store, listed } => {
                let object = store.get(&listed.key).await;
                let object = object.map_err(|error| Problem::new(Action::Setup, error))?;
                let gone = || Problem::new(Action::Setup, "it is gone meanwhile");
                let object = object.ok_or_else(gone)?;
                let name = listed.key.rsplit('/').next().unwrap_or_default().to_owned();
                Ok(Content { name, bytes: object.bytes, modified: Some(object.modified) })
            }
        }
    }
}

/// The objects of another store that may be playlists: all JSON below its prefix. With it, why others can't
/// be read.
///
/// # Errors
///
/// If it can't be read.
pub async fn json_objects(
    store: &dyn Store,
) -> Result<(Vec<Listed>, Vec<SourceError>), StoreError> {
    let (mut listed, unreadable) = list_readable(store, "").await?;
    listed.retain(|listed| listed.key.to_ascii_lowercase().ends_with(".json"));
    let place = store.location("");
    let problem = |source| SourceError::Object { place: place.clone(), source };
    Ok((listed, unreadable.into_iter().map(problem).collect()))
}

/// Brings files and objects in. One that can't be is reported and left alone.
///
/// # Errors
///
/// If the store takes none of them.
pub async fn import(
    store: &dyn Store,
    incoming: &[Incoming<'_>],
    problems: &[SourceError],
    options: &ImportOptions,
    limits: &Limits,
    now: OffsetDateTime,
    progress: &dyn Progress,
) -> Result<Imported, StoreError> {
    let (known, pages) = (Known::default(), options.pages.as_ref());
    let mut imported = Imported::default();
    if options.mode == ImportMode::DryRun {
        // It is what was asked for, and is kept nowhere.
        imported.reports = Listing::complete();
    }
    for error in problems {
        imported.reports.push(of_no_source(error));
        imported.reports.save_full_pages(store, pages).await;
    }
    let mut store_error = None;
    progress.begin("import", incoming.len());
    let jobs = Jobs::new(options.jobs, Until::default(), limits);
    let with_room = jobs.one_by_one(incoming, |source| source.size());
    let read = with_room.map(|(source, room)| async {
        let (report, read) = read_one(source, &jobs, options, limits, now).await;
        (report, read, room)
    });
    let mut turns = Turns::default();
    let landed = read.buffered(jobs.on_the_way()).map(|(mut report, read, room)| {
        let turn = read.as_ref().map(|(document, _)| turns.after_equal_ones(document));
        let known = &known;
        async move {
            let _room = room;
            let (Some(read), Some(mut turn)) = (read, turn) else { return (report, Ok(None)) };
            turn.wait().await;
            let landed = land_one(store, &read, options.mode, known, &mut report).await;
            (report, landed)
        }
    });
    hand_over(landed.buffered(jobs.on_the_way()), async |(mut report, landed)| {
        match landed {
            Ok(arrival) => imported.arrivals.extend(arrival),
            Err(error) => {
                report.problem = Some(Problem::new(Action::Retry, &error));
                store_error.get_or_insert(error);
            }
        }
        imported.reports.push(report);
        imported.reports.save_full_pages(store, pages).await;
        progress.advance();
    })
    .await;
    progress.end();
    let totals = imported.reports.totals();
    let of_the_store = totals.problems.get(&Action::Retry).copied().unwrap_or_default();
    if let Some(error) = store_error.filter(|_| of_the_store == totals.count) {
        return Err(error);
    }
    imported.reports.save_pages(store, pages).await;
    Ok(imported)
}

/// A document that is brought in, and how sure its time is.
type Read = (Document, TimeSource);

/// Reads something that is brought in, or says in its report why it can't be.
async fn read_one(
    source: &Incoming<'_>,
    jobs: &Jobs,
    options: &ImportOptions,
    limits: &Limits,
    now: OffsetDateTime,
) -> (ImportReport, Option<Read>) {
    let mut report = blank(source.location());
    let content = match source.read(limits.document_bytes).await {
        Ok(content) => content,
        Err(problem) => {
            report.problem = Some(problem);
            return (report, None);
        }
    };
    let (options, limits) = (options.clone(), limits.clone());
    let read = jobs.run(move || {
        let origin = Origin {
            name: &content.name,
            modified: content.modified.unwrap_or(now),
            playlist: options.playlist.as_ref(),
            extracted_at: options.extracted_at,
        };
        let (document, time) = Document::read(&content.bytes, &origin, &limits)?;
        document.check_time(now, options.future)?;
        // To count them takes time, too.
        document.entries();
        Ok((document, time))
    });
    match read.await {
        Ok(read) => {
            describe(&mut report, &read.0);
            (report, Some(read))
        }
        Err(undone) => {
            report.problem = Some(undone.problem());
            (report, None)
        }
    }
}

/// Of equal documents the first one is landed: each waits for those that came before it.
#[derive(Default)]
struct Turns {
    /// Who came last, by what equal ones have in common.
    last: HashMap<String, oneshot::Receiver<()>>,
    /// How many of these waited when it was last looked.
    waiting: usize,
}

struct Turn {
    before: Option<oneshot::Receiver<()>>,
    /// Tells the one after it, when it is dropped.
    _done: oneshot::Sender<()>,
}

/// How many documents there are at least before those that are done are forgotten.
const TURNS_KEPT: usize = 1_000;

impl Turns {
    fn after_equal_ones(&mut self, document: &Document) -> Turn {
        if self.last.len() >= TURNS_KEPT.max(2 * self.waiting) {
            let is_waiting = |last: &mut oneshot::Receiver<()>| {
                matches!(last.try_recv(), Err(oneshot::error::TryRecvError::Empty))
            };
            self.last.retain(|_, last| is_waiting(last));
            self.waiting = self.last.len();
        }
        let (done, is_done) = oneshot::channel();
        let before = self.last.insert(document.id().hash8.clone(), is_done);
        Turn { before, _done: done }
    }
}

impl Turn {
    async fn wait(&mut self) {
        if let Some(before) = self.before.take() {
            // It tells nothing but that it is done.
            let _ = before.await;
        }
    }
}

async fn land_one(
    store: &dyn Store,
    (document, time): &Read,
    mode: ImportMode,
    known: &Known,
    report: &mut ImportReport,
) -> Result<Option<Arrival>, StoreError> {
    match land(store, document, *time, mode, known).await? {
        Ok((status, id, key)) => {
            report.status = status;
            report.document = Some(id.to_string());
            report.key = Some(key.to_string());
            let waits = matches!(status, ImportStatus::Landed | ImportStatus::Waiting);
            // An equal document may have a header of another size, by some bytes.
            let size = Some(document.stored_bytes());
            Ok(waits.then(|| Arrival { key: key.to_string(), size }))
        }
        Err(in_the_way) => {
            report.problem = Some(Problem::new(Action::Document, in_the_way));
            Ok(None)
        }
    }
}

fn of_no_source(error: &SourceError) -> ImportReport {
    let mut report = blank(error.path().to_owned());
    report.problem = Some(Problem::new(Action::Setup, error));
    report
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
/// assumed may come again with another one. Some tens of bytes are kept of each.
#[derive(Default)]
pub struct Known {
    documents: Mutex<KnownDocuments>,
}

#[derive(Default)]
struct KnownDocuments {
    /// The number that stands for a playlist.
    playlists: HashMap<PlaylistId, u32>,
    documents: BTreeSet<KnownDocument>,
}

/// A document: by its playlist's number, its hash, its stage and its time.
type KnownDocument = (u32, u32, Stage, ExtractedAt);

impl KnownDocuments {
    /// The number that stands for a playlist from now on.
    fn number(&mut self, playlist: &PlaylistId) -> u32 {
        let next = u32::try_from(self.playlists.len()).unwrap_or(u32::MAX);
        *self.playlists.entry(playlist.clone()).or_insert(next)
    }

    fn add(&mut self, playlist: u32, stage: Stage, id: &DocumentId) {
        // Eight hexadecimal digits, as an id has them.
        let hash = u32::from_str_radix(&id.hash8, 16).unwrap_or_default();
        self.documents.insert((playlist, hash, stage, id.extracted_at));
    }

    /// A playlist's documents, or those of them with a hash.
    fn of(&self, playlist: &PlaylistId, hash8: Option<&str>) -> Vec<(Stage, DocumentId)> {
        let Some(&number) = self.playlists.get(playlist) else { return Vec::new() };
        let hash = hash8.map(|hash8| u32::from_str_radix(hash8, 16).unwrap_or_default());
        let from = (number, hash.unwrap_or(0), Stage::ToProcess, ExtractedAt::MIN);
        let to =
            |found: &&KnownDocument| found.0 == number && hash.is_none_or(|hash| found.1 == hash);
        let document = |&(_, hash, stage, extracted_at): &KnownDocument| {
            let (playlist_id, hash8) = (playlist.clone(), format!("{hash:08x}"));
            (stage, DocumentId { playlist_id, extracted_at, hash8 })
        };
        self.documents.range(from..).take_while(to).map(document).collect()
    }
}

impl Known {
    /// A playlist's documents that wait or have their tables.
    ///
    /// # Errors
    ///
    /// The store's.
    pub(super) async fn of(
        &self,
        store: &dyn Store,
        playlist: &PlaylistId,
    ) -> Result<Vec<(Stage, DocumentId)>, StoreError> {
        self.some(store, playlist, None).await
    }

    async fn some(
        &self,
        store: &dyn Store,
        playlist: &PlaylistId,
        hash8: Option<&str>,
    ) -> Result<Vec<(Stage, DocumentId)>, StoreError> {
        let mut known = self.documents.lock().await;
        if !known.playlists.contains_key(playlist) {
            let mut found = Vec::new();
            // In the order in which documents move, so that none is missed between the two.
            for stage in [Stage::ToProcess, Stage::Processed] {
                let prefix = format!("{}{playlist}/", stage.prefix());
                for listed in list_all(store, &prefix).await? {
                    if let Ok(Key::Raw { document, .. }) = listed.key.parse() {
                        found.push((stage, document));
                    }
                }
            }
            let number = known.number(playlist);
            found.iter().for_each(|(stage, document)| known.add(number, *stage, document));
        }
        Ok(known.of(playlist, hash8))
    }

    async fn add(&self, id: &DocumentId) {
        let mut known = self.documents.lock().await;
        let number = known.number(&id.playlist_id);
        known.add(number, Stage::ToProcess, id);
    }

    /// The document among them that is the same: the same pages at the same time, or at any time if this
    /// one's is only assumed.
    async fn equal(
        &self,
        store: &dyn Store,
        document: &Document,
        time: TimeSource,
    ) -> Result<Option<(Stage, DocumentId)>, StoreError> {
        let id = document.id();
        let may_be = |other: &DocumentId| time == TimeSource::Assumed || other == id;
        let alike = self.some(store, &id.playlist_id, Some(&id.hash8)).await?;
        for (stage, other) in alike.into_iter().filter(|(_, other)| may_be(other)) {
            let key = Key::Raw { stage, document: other.clone() };
            if matches!(compare(store, &key, document).await?, Standing::Same) {
                return Ok(Some((stage, other)));
            }
        }
        Ok(None)
    }
}

/// Lands a document unless it is there already. The first stays, whatever a later header says.
///
/// # Errors
///
/// The store's; inside, what is in its place.
pub(super) async fn land(
    store: &dyn Store,
    document: &Document,
    time: TimeSource,
    mode: ImportMode,
    known: &Known,
) -> Result<Result<(ImportStatus, DocumentId, Key), String>, StoreError> {
    let id = document.id();
    if let Some((stage, there)) = known.equal(store, document, time).await? {
        let status = match stage {
            Stage::Processed => ImportStatus::Processed,
            _ => ImportStatus::Waiting,
        };
        let key = Key::Raw { stage, document: there.clone() };
        return Ok(Ok((status, there, key)));
    }
    let key = Key::Raw { stage: Stage::ToProcess, document: id.clone() };
    if mode == ImportMode::DryRun {
        return Ok(Ok((ImportStatus::WouldLand, id.clone(), key)));
    }
    let mut status = ImportStatus::Landed;
    if !store.put_new(&key.to_string(), &document.to_bytes()).await?.is_done() {
        status = ImportStatus::Waiting;
        if let Standing::Other(why) = compare(store, &key, document).await? {
            return Ok(Err(why));
        }
    }
    known.add(id).await;
    Ok(Ok((status, id.clone(), key)))
}

/// The document that is the same as one whose time is only assumed, if it came before.
///
/// # Errors
///
/// The store's.
pub async fn came_before(
    store: &dyn Store,
    document: &Document,
) -> Result<Option<Key>, StoreError> {
    let found = Known::default().equal(store, document, TimeSource::Assumed).await?;
    Ok(found.map(|(stage, document)| Key::Raw { stage, document }))
}

/// What is under a key, compared with a document.
pub enum Standing {
    /// The same pages.
    Same,
    /// Something else, or nothing that could be read, in words.
    Other(String),
}

/// Compares what is under a key with a document.
///
/// # Errors
///
/// The store's.
pub async fn compare(
    store: &dyn Store,
    key: &Key,
    document: &Document,
) -> Result<Standing, StoreError> {
    let key = key.to_string();
    let location = store.location(&key);
    let Some(object) = store.get(&key).await? else {
        let why =
            format!("something that is no document is in its place: {location} (take it away)");
        return Ok(Standing::Other(why));
    };
    let origin =
        Origin { name: &key, modified: object.modified, playlist: None, extracted_at: None };
    // What is in the store was once within the limits.
    let limits = Limits { document_bytes: u64::MAX, json_levels: u64::MAX, ..Limits::default() };
    Ok(match Document::read(&object.bytes, &origin, &limits) {
        Ok((other, _)) if other.sha256() == document.sha256() => Standing::Same,
        Ok(_) => Standing::Other(format!(
            "another document is in its place: {location} (compare the two, and take one away)"
        )),
        Err(error) => {
            Standing::Other(format!("what is in its place can't be read: {location}: {error}"))
        }
    })
}
