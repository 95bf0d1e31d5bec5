//! Bringing in what people have: files become documents that wait, unless they are there already.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::{Mutex, oneshot};

use super::{
    Arrival, Progress,
    jobs::{Jobs, Until, hand_over},
    listing::{Listing, ReportPages},
    report::{Action, ImportReport, ImportStatus, Problem},
    survey::{Candidate, FileFound, Unclear, Units, plan, warnings},
};
use crate::{
    config::Limits,
    document::{Document, DocumentId, ExtractedAt, FutureTimes, PlaylistId},
    layout::{Key, Stage},
    refused::Refused,
    sources::{
        self, Origin, PlaylistFrom, Read, TimeSource,
        files::{Source, SourceError},
    },
    store::{Listed, Store, StoreError, list_all, list_readable},
};

/// What is said of everything that is brought in.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The playlist, where the content should not say.
    pub playlist: Option<PlaylistId>,
    /// When it was read, where the name should not say.
    pub extracted_at: Option<ExtractedAt>,
    /// Where the playlist's id comes from if the content has none.
    pub playlist_from: PlaylistFrom,
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
    /// Why nothing was imported: which playlists or times the files are of is not clear.
    pub unclear: Option<Unclear>,
    /// What is unusual about the files.
    pub warnings: Vec<String>,
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
    path: String,
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

    /// Returns whether its bytes can be read only once.
    fn is_read_once(&self) -> bool {
        matches!(self, Incoming::File(source) if source.size().is_none())
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
                let is_file = content.modified.is_some();
                let path = if is_file {
                    source.path.to_string_lossy().into_owned()
                } else {
                    String::new()
                };
                Ok(Content { path, bytes: content.bytes.into(), modified: content.modified })
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
                let path = listed.key.clone();
                Ok(Content { path, bytes: object.bytes, modified: Some(object.modified) })
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
    listed.retain(|listed| sources::files::is_imported(&listed.key));
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
    let jobs = Jobs::new(options.jobs, Until::default(), limits);
    let door = Door { jobs: &jobs, options, limits, now, progress };
    let mut kept = Kept::default();
    let files = door.survey(incoming, &mut kept).await;
    let units = match plan(&files) {
        Ok(units) => units,
        Err(unclear) => {
            imported.unclear = Some(unclear);
            for report in kept.into_unclear(&files) {
                imported.reports.push(report);
                imported.reports.save_full_pages(store, pages).await;
            }
            imported.reports.save_pages(store, pages).await;
            return Ok(imported);
        }
    };
    imported.warnings = warnings(&files, options.playlist.as_ref());
    drop(files);
    let mut store_error = None;
    progress.begin("import", incoming.len());
    let sizes = |(unit, _): &(Vec<usize>, _)| unit.iter().map(|file| incoming[*file].size()).sum();
    let with_kept = kept.with_units(units);
    let with_room = jobs.one_by_one(with_kept, sizes);
    let read = with_room.map(|((unit, kept), room)| {
        let door = &door;
        async move {
            let read = door.read_unit(&unit, incoming, kept).await;
            let room = Arc::new(room);
            stream::iter(read.into_iter().map(move |(report, read)| (report, read, room.clone())))
        }
    });
    let mut turns = Turns::default();
    let read = read.buffered(jobs.on_the_way()).flatten();
    let landed = read.map(|(mut report, read, room)| {
        let turn = read.as_ref().map(|read| turns.after_equal_ones(&read.document));
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

/// How many bytes of documents are kept between the survey and the import; others are read again.
const KEPT_BYTES_MAX: u64 = 16 << 20;

/// What a file was found to hold: its report for each document, and the document, unless it is rejected.
type OfFile = Vec<(ImportReport, Option<Read>)>;

/// What the survey read and the import needs.
#[derive(Default)]
struct Kept {
    files: Vec<KeptFile>,
}

enum KeptFile {
    /// What is in it.
    Whole(OfFile),
    /// It is read again; these were its documents.
    Again(Vec<DocumentId>),
}

impl Kept {
    /// Goes through planned units, each with what was kept of its files.
    fn with_units(self, units: Units) -> impl Iterator<Item = (Vec<usize>, Vec<KeptFile>)> {
        let mut files: Vec<Option<KeptFile>> = self.files.into_iter().map(Some).collect();
        units.into_iter().map(move |unit| {
            let kept = unit.iter().filter_map(|file| files[*file].take()).collect();
            (unit, kept)
        })
    }

    /// The reports of files of which none is imported.
    fn into_unclear(self, files: &[FileFound]) -> impl Iterator<Item = ImportReport> {
        let unclear = |mut report: ImportReport| {
            if report.problem.is_none() {
                report.status = ImportStatus::Unclear;
            }
            report
        };
        let reports = self.files.into_iter().zip(files).flat_map(|(kept, found)| match kept {
            KeptFile::Whole(all) => all.into_iter().map(|(report, _)| report).collect::<Vec<_>>(),
            KeptFile::Again(_) => {
                found.documents.iter().map(|one| of_candidate(found, one)).collect()
            }
        });
        reports.map(unclear)
    }
}

fn of_candidate(file: &FileFound, candidate: &Candidate) -> ImportReport {
    let mut report = blank(file.location.clone());
    report.document = Some(candidate.id.to_string());
    report.playlist_id = Some(candidate.id.playlist_id.to_string());
    report.extracted_at = candidate.id.extracted_at.moment().format(&Rfc3339).ok();
    report.identity = Some(candidate.identity);
    report
}

/// What reading files needs.
struct Door<'d> {
    jobs: &'d Jobs,
    options: &'d ImportOptions,
    limits: &'d Limits,
    now: OffsetDateTime,
    progress: &'d dyn Progress,
}

impl Door<'_> {
    /// Reads all files, and keeps their documents as far as there is room.
    async fn survey(&self, incoming: &[Incoming<'_>], kept: &mut Kept) -> Vec<FileFound> {
        self.progress.begin("read", incoming.len());
        let room_left = AtomicU64::new(KEPT_BYTES_MAX);
        let with_room = self.jobs.one_by_one(incoming, |source| source.size());
        let read = with_room.map(|(source, _room)| {
            let room_left = &room_left;
            async move {
                let all = self.read_file(source).await;
                let documents = all.iter().filter_map(|(_, read)| read.as_ref());
                let documents: Vec<_> = documents.map(Candidate::of).collect();
                let found = FileFound { location: source.location(), documents };
                let bytes =
                    all.iter().filter_map(|(_, read)| Some(read.as_ref()?.document.stored_bytes()));
                let bytes: u64 = bytes.sum();
                let take = |left: u64| left.checked_sub(bytes);
                let is_kept = source.is_read_once()
                    || room_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
                if is_kept {
                    return (found, KeptFile::Whole(all));
                }
                let ids = found.documents.iter().map(|one| one.id.clone()).collect();
                (found, KeptFile::Again(ids))
            }
        });
        let mut files = Vec::new();
        hand_over(read.buffered(self.jobs.on_the_way()), async |(found, of_file)| {
            files.push(found);
            kept.files.push(of_file);
            self.progress.advance();
        })
        .await;
        self.progress.end();
        files
    }

    /// Reads what is in a file, or says in its report why that can't be.
    async fn read_file(&self, source: &Incoming<'_>) -> OfFile {
        let mut report = blank(source.location());
        let content = match source.read(self.limits.document_bytes).await {
            Ok(content) => content,
            Err(problem) => {
                report.problem = Some(problem);
                return vec![(report, None)];
            }
        };
        let (options, limits, now) = (self.options.clone(), self.limits.clone(), self.now);
        let read = self.jobs.run(move || {
            let origin = Origin {
                path: &content.path,
                modified: content.modified,
                now,
                playlist: options.playlist.as_ref(),
                extracted_at: options.extracted_at,
                playlist_from: options.playlist_from,
            };
            let all = sources::read_all(&content.bytes, &origin, &limits)?;
            for Read { document, .. } in &all {
                document.check_time(now, options.future)?;
                // Counting them takes time, too.
                document.entries();
            }
            Ok(all)
        });
        let all = match read.await {
            Ok(all) => all,
            Err(undone) => {
                report.problem = Some(undone.problem());
                return vec![(report, None)];
            }
        };
        let described = all.into_iter().map(|read| {
            let mut report = report.clone();
            describe(&mut report, &read);
            (report, Some(read))
        });
        described.collect()
    }

    /// Reads the files of a unit again, unless what they hold was kept, and makes one document of several.
    async fn read_unit(
        &self,
        unit: &[usize],
        incoming: &[Incoming<'_>],
        kept: Vec<KeptFile>,
    ) -> OfFile {
        let mut all = Vec::new();
        for (file, kept) in unit.iter().zip(kept) {
            all.extend(match kept {
                KeptFile::Whole(of_file) => of_file,
                KeptFile::Again(ids) => self.read_again(&incoming[*file], &ids).await,
            });
        }
        if unit.len() > 1 { joined(all) } else { all }
    }

    async fn read_again(&self, source: &Incoming<'_>, ids: &[DocumentId]) -> OfFile {
        let all = self.read_file(source).await;
        let found = all.iter().filter_map(|(_, read)| Some(read.as_ref()?.document.id()));
        if found.eq(ids) {
            return all;
        }
        let mut report = blank(source.location());
        report.problem = Some(Problem::new(Action::Retry, Refused::ChangedMeanwhile));
        vec![(report, None)]
    }
}

/// Makes one document of files that hold the pages of one playlist. The first file's report is about it.
fn joined(mut files: OfFile) -> OfFile {
    let documents: Vec<&Document> =
        files.iter().filter_map(|(_, read)| Some(&read.as_ref()?.document)).collect();
    let document = match sources::joined(&documents) {
        Ok(document) => document,
        Err(refused) => {
            for (report, read) in &mut files {
                report.problem = Some(Problem::new(Action::Document, &refused));
                *read = None;
            }
            return files;
        }
    };
    let id = document.id().to_string();
    let mut whole = Some(document);
    for (report, read) in &mut files {
        let first = read.take();
        if let (Some(document), Some(first)) = (whole.take(), first) {
            let read = read.insert(Read { document, ..first });
            describe(report, read);
        } else {
            report.status = ImportStatus::Joined;
            // What it lacks is in the other files.
            report.complete = None;
            report.document = Some(id.clone());
        }
    }
    files
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
    Read { document, identity, .. }: &Read,
    mode: ImportMode,
    known: &Known,
    report: &mut ImportReport,
) -> Result<Option<Arrival>, StoreError> {
    match land(store, document, identity.time, mode, known).await? {
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
        total: None,
        identity: None,
        problem: None,
    }
}

fn describe(report: &mut ImportReport, Read { document, identity, .. }: &Read) {
    let id = document.id();
    report.identity = Some(*identity);
    report.total = document.total();
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
        let may_be = |other: &DocumentId| time.assumption().is_some() || other == id;
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
    let found = Known::default().equal(store, document, TimeSource::Modified).await?;
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
    let origin = Origin::of(&key, object.modified);
    // What is in the store was once within the limits.
    let limits = Limits { document_bytes: u64::MAX, json_levels: u64::MAX, ..Limits::default() };
    Ok(match sources::read(&object.bytes, &origin, &limits) {
        Ok(other) if other.document.sha256() == document.sha256() => Standing::Same,
        Ok(_) => Standing::Other(format!(
            "another document is in its place: {location} (compare the two, and take one away)"
        )),
        Err(error) => {
            Standing::Other(format!("what is in its place can't be read: {location}: {error}"))
        }
    })
}
