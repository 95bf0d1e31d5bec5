//! The documents or imports of a run, one by one, in bounded memory: the report lists the first failing
//! ones and the first others, the rest is written to pages beside the report while the run goes on.

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::{
    report::{Action, DocumentReport, ImportReport, Problem, SkipReport},
    totals::{DocumentTotals, ImportTotals},
};
use crate::{
    layout::{Key, PageOf},
    store::{Store, StoreError},
};

/// The size of a report above which nothing reads it. What this host writes stays below.
pub const REPORT_BYTES_MAX: u64 = 8 << 20;

/// How many failing documents or imports a report lists, and how many others.
const LISTED_MAX: usize = 1_000;
/// How many documents or imports a page lists.
const PAGE_LISTED_MAX: usize = 1_000;
/// The size of what a page lists, in bytes; one more may exceed it.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// The size of the skipped entries that a report or a page names one by one, in bytes.
const SKIPS_BYTES_MAX: usize = 1 << 20;
/// The size of a document or import in a report without its skipped entries, in bytes.
const ONE_BYTES_MAX: usize = 256 << 10;
/// How many messages of a kind are left of a document that exceeds this size.
const MESSAGES_LEFT_MAX: usize = 20;
/// How many characters are left of each of its texts.
const TEXT_CHARS_MAX: usize = 1_000;

/// What a listing holds: a document or an import.
pub trait Detail: Serialize {
    /// The numbers of all of them.
    type Totals: Default + std::fmt::Debug;
    /// What pages of them are called.
    const OF: PageOf;
    /// How many bytes a report has for the failing ones, and as many again for the others.
    const BYTES_MAX: usize;

    /// Whether something went wrong with it.
    fn is_failing(&self) -> bool;
    /// The document it is about, or else where it comes from.
    fn name(&self) -> &str;
    /// Adds it to the numbers.
    fn add_to(&self, totals: &mut Self::Totals);
    /// Adds numbers to others.
    fn add_totals(totals: &mut Self::Totals, more: Self::Totals);
    /// Leaves out what there are no bytes for among the skipped entries. Returns the bytes that are left.
    fn cut_skips(&mut self, bytes: usize) -> usize;
    /// Cuts its texts.
    fn cut_texts(&mut self);
}

/// A page of a run's report.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct PageReport {
    /// Its key.
    pub key: String,
    /// How many documents or imports it lists.
    pub count: usize,
    /// The first of their names in alphabetical order.
    pub first: String,
    /// The last of their names in alphabetical order.
    pub last: String,
}

/// The pages of one run's report: under which keys they are written.
#[derive(Clone, Debug)]
pub struct ReportPages {
    run_id: String,
    written: Arc<[AtomicU32; 2]>,
}

impl ReportPages {
    /// Those of a run.
    pub fn new(run_id: String) -> Self {
        ReportPages { run_id, written: Arc::default() }
    }

    /// Writes a page.
    async fn write<T: Detail>(
        &self,
        store: &dyn Store,
        details: &[T],
    ) -> Result<PageReport, StoreError> {
        let number = self.written[T::OF as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let key = Key::RunPage { run_id: self.run_id.clone(), of: T::OF, number }.to_string();
        let page = serde_json::json!({ "run_id": self.run_id, T::OF.word(): details });
        let mut bytes = serde_json::to_vec_pretty(&page).unwrap_or_default();
        bytes.push(b'\n');
        store.put(&key, &bytes).await?;
        let name = |found: Option<&str>| found.unwrap_or_default().to_owned();
        Ok(PageReport {
            key,
            count: details.len(),
            first: name(details.iter().map(Detail::name).min()),
            last: name(details.iter().map(Detail::name).max()),
        })
    }
}

/// What a report has room for.
#[derive(Debug)]
struct Room {
    count: usize,
    bytes: usize,
    skips: usize,
}

impl Room {
    fn of<T: Detail>() -> Self {
        Room { count: LISTED_MAX, bytes: T::BYTES_MAX, skips: SKIPS_BYTES_MAX }
    }

    fn of_page() -> Self {
        Room { count: PAGE_LISTED_MAX, bytes: PAGE_BYTES_MAX, skips: SKIPS_BYTES_MAX }
    }

    /// Makes something fit and takes its room. Says whether there was enough.
    fn take(&mut self, size: usize, skips_left: usize) -> bool {
        if self.count == 0 || size > self.bytes {
            return false;
        }
        *self = Room { count: self.count - 1, bytes: self.bytes - size, skips: skips_left };
        true
    }

    fn is_full(&self) -> bool {
        self.count == 0 || self.bytes < ONE_BYTES_MAX
    }
}

/// The documents or imports of a run: those that its report lists, and the numbers of all of them. It can be
/// used like a slice of the listed ones.
#[derive(Debug)]
pub struct Listing<T: Detail> {
    listed: Vec<T>,
    totals: T::Totals,
    pages: Vec<PageReport>,
    /// None if everything is listed.
    room: Option<(Room, Room)>,
    /// What waits for being written to a page, and what room that page has left.
    unwritten: Vec<T>,
    page_room: Room,
    /// The first error of a page that could not be written, and how many were lost by that.
    lost: Option<(StoreError, usize)>,
}

impl<T: Detail> Default for Listing<T> {
    fn default() -> Self {
        let room = Some((Room::of::<T>(), Room::of::<T>()));
        Listing { room, ..Self::complete() }
    }
}

impl<T: Detail> Listing<T> {
    /// One that lists everything, whatever memory that takes.
    pub fn complete() -> Self {
        Listing {
            listed: Vec::new(),
            totals: T::Totals::default(),
            pages: Vec::new(),
            room: None,
            unwritten: Vec::new(),
            page_room: Room::of_page(),
            lost: None,
        }
    }

    /// Adds a document or an import. Call [`Listing::save_full_pages`] after it.
    pub fn push(&mut self, detail: T) {
        detail.add_to(&mut self.totals);
        self.place(detail);
    }

    fn place(&mut self, mut detail: T) {
        let Some((failing, others)) = &mut self.room else { return self.listed.push(detail) };
        let room = if detail.is_failing() { failing } else { others };
        if room.count > 0 {
            let skips_left = detail.cut_skips(room.skips);
            let size = size_within(&mut detail, room.skips - skips_left);
            if room.take(size, skips_left) {
                return self.listed.push(detail);
            }
            // Those that come later are not listed instead: the first ones are.
            room.count = 0;
        }
        let skips_left = detail.cut_skips(self.page_room.skips);
        let size = size_within(&mut detail, self.page_room.skips - skips_left);
        let Room { count, bytes, .. } = self.page_room;
        self.page_room = Room {
            count: count.saturating_sub(1),
            bytes: bytes.saturating_sub(size),
            skips: skips_left,
        };
        self.unwritten.push(detail);
    }

    /// Writes what the report doesn't list to a page, if it is enough for one.
    pub async fn save_full_pages(&mut self, store: &dyn Store, pages: Option<&ReportPages>) {
        if self.page_room.is_full() {
            self.save_pages(store, pages).await;
        }
    }

    /// Writes what the report doesn't list to a page. Without pages, it is counted and left out.
    pub async fn save_pages(&mut self, store: &dyn Store, pages: Option<&ReportPages>) {
        let details = std::mem::take(&mut self.unwritten);
        self.page_room = Room::of_page();
        let Some(pages) = pages.filter(|_| !details.is_empty()) else { return };
        match pages.write(store, &details).await {
            Ok(page) => self.pages.push(page),
            Err(error) => {
                let lost = self.lost.get_or_insert((error, 0));
                lost.1 += details.len();
            }
        }
    }

    /// The listed ones.
    pub fn as_slice(&self) -> &[T] {
        &self.listed
    }

    /// The numbers of all of them.
    pub fn totals(&self) -> &T::Totals {
        &self.totals
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        let room = self.room.as_ref().map(|_| (Room::of::<T>(), Room::of::<T>()));
        *self = Listing { room, ..Self::complete() };
    }

    /// Adds those of another listing. Call [`Listing::save_pages`] after it.
    pub fn append(&mut self, other: Listing<T>) {
        T::add_totals(&mut self.totals, other.totals);
        self.pages.extend(other.pages);
        self.lost = self.lost.take().or(other.lost);
        for detail in other.listed.into_iter().chain(other.unwritten) {
            self.place(detail);
        }
    }

    /// Takes it apart.
    pub fn into_parts(self) -> Parts<T> {
        let problem = self.lost.map(|(error, count)| {
            let message =
                format!("the details of {count} {} could not be saved: {error}", T::OF.word());
            Problem::new(Action::Retry, message)
        });
        Parts { listed: self.listed, totals: self.totals, pages: self.pages, problem }
    }
}

/// What a report has of a listing.
pub struct Parts<T: Detail> {
    /// The listed ones.
    pub listed: Vec<T>,
    /// The numbers of all of them.
    pub totals: T::Totals,
    /// Where the others are.
    pub pages: Vec<PageReport>,
    /// Why some of the others could not be saved, if so.
    pub problem: Option<Problem>,
}

impl<T: Detail> Deref for Listing<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.listed
    }
}

impl<T: Detail> DerefMut for Listing<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.listed
    }
}

/// The size of a document or import in a report. Its texts are cut if it is too large without its skipped entries.
fn size_within<T: Detail>(detail: &mut T, skips: usize) -> usize {
    let found = size(detail);
    if found.saturating_sub(skips) <= ONE_BYTES_MAX {
        return found;
    }
    detail.cut_texts();
    size(detail)
}

/// Counts the bytes that are written to it, and those of the indentation in a report.
#[derive(Default)]
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const INDENTATION: usize = 4;
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        self.0 += bytes.len() + lines * INDENTATION;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn size(detail: &impl Serialize) -> usize {
    let mut counter = Counter::default();
    // Neither the counter nor a report can fail.
    let _ = serde_json::to_writer_pretty(&mut counter, detail);
    counter.0
}

fn cut_text(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
}

impl Detail for DocumentReport {
    type Totals = DocumentTotals;
    const OF: PageOf = PageOf::Documents;
    const BYTES_MAX: usize = 11 << 18;

    fn is_failing(&self) -> bool {
        !self.problems.is_empty() || self.is_empty()
    }

    fn name(&self) -> &str {
        self.document.as_deref().unwrap_or(&self.key)
    }

    fn add_to(&self, totals: &mut DocumentTotals) {
        totals.add(self);
    }

    fn add_totals(totals: &mut DocumentTotals, more: DocumentTotals) {
        totals.add_all(more);
    }

    fn cut_skips(&mut self, bytes: usize) -> usize {
        let (mut left, mut fitting) = (bytes, 0);
        for skip in &self.skips {
            let Some(less) = left.checked_sub(skip_size(skip)) else { break };
            (left, fitting) = (less, fitting + 1);
        }
        self.skips_omitted += self.skips.len() - fitting;
        self.skips.truncate(fitting);
        left
    }

    fn cut_texts(&mut self) {
        self.problems.truncate(MESSAGES_LEFT_MAX);
        self.warnings.truncate(MESSAGES_LEFT_MAX);
        let messages = self.problems.iter_mut().map(|problem| &mut problem.message);
        messages.chain(&mut self.warnings).chain(&mut self.playlist_name).for_each(cut_text);
        let reasons = std::mem::take(&mut self.skipped);
        for (mut reason, count) in reasons.into_iter().take(MESSAGES_LEFT_MAX) {
            cut_text(&mut reason);
            *self.skipped.entry(reason).or_default() += count;
        }
    }
}

/// The size of a skipped entry in a report.
fn skip_size(skip: &SkipReport) -> usize {
    const WITHOUT_REASON: usize = 80;
    WITHOUT_REASON + size(&skip.reason)
}

impl Detail for ImportReport {
    type Totals = ImportTotals;
    const OF: PageOf = PageOf::Imports;
    const BYTES_MAX: usize = 3 << 18;

    fn is_failing(&self) -> bool {
        self.problem.is_some()
    }

    fn name(&self) -> &str {
        self.document.as_deref().unwrap_or(&self.source)
    }

    fn add_to(&self, totals: &mut ImportTotals) {
        totals.add(self);
    }

    fn add_totals(totals: &mut ImportTotals, more: ImportTotals) {
        totals.add_all(more);
    }

    fn cut_skips(&mut self, bytes: usize) -> usize {
        bytes
    }

    fn cut_texts(&mut self) {
        let message = self.problem.as_mut().map(|problem| &mut problem.message);
        message.into_iter().chain(&mut self.playlist_name).for_each(cut_text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(number: usize) -> DocumentReport {
        DocumentReport::new(format!("raw_data/to_process/p/{number:06}.json"))
    }

    #[test]
    fn failing_documents_are_listed_though_many_others_come_first() {
        let mut listing = Listing::default();
        for number in 0..5_000 {
            let mut document = document(number);
            if number >= 4_000 && number % 2 == 0 {
                document.problems.push(Problem::new(Action::Document, "bad"));
            }
            listing.push(document);
        }
        assert_eq!((listing.len(), listing.totals().count), (1_500, 5_000));
        assert_eq!(listing.totals().failing, 500);
        assert_eq!(listing.iter().filter(|document| document.is_failing()).count(), 500);
        assert!(listing.is_sorted_by_key(|document| &document.key));
    }

    #[test]
    fn a_listing_has_a_size_whatever_documents_hold() {
        let skip = |position| SkipReport { position, reason: "no_payload".to_owned() };
        for change in [
            (|document: &mut DocumentReport, skips: &[SkipReport]| {
                document.skips = skips.to_vec();
            }) as fn(&mut DocumentReport, &[SkipReport]),
            |document, _| document.playlist_name = Some("\u{7}".repeat(1 << 20)),
            |document, _| document.warnings = vec!["é".repeat(1 << 14); 100],
            |document, _| {
                let problem = Problem::new(Action::Document, "\"".repeat(1 << 14));
                document.problems = vec![problem; 100];
            },
            |document, _| {
                let reasons = (0..20_000).map(|number| (format!("reason {number}"), 1));
                document.skipped = reasons.collect();
            },
        ] {
            let skips: Vec<_> = (1..=10_000).map(skip).collect();
            let mut listing = Listing::default();
            for number in 0..40 {
                let mut document = document(number);
                change(&mut document, &skips);
                listing.push(document);
            }
            let written = serde_json::to_vec_pretty(&listing.listed).unwrap().len();
            assert!(written <= DocumentReport::BYTES_MAX, "{written}");
            let page = serde_json::to_vec_pretty(&listing.unwritten).unwrap().len();
            assert!(listing.unwritten.len() < 40, "the first one is listed");
            assert!(page < 40 * ONE_BYTES_MAX + SKIPS_BYTES_MAX, "{page}");
            let totals = serde_json::to_vec(&listing.totals).unwrap().len();
            assert!(totals < 10_000, "{totals}");
        }
    }

    #[test]
    fn a_document_alone_is_listed_with_all_of_its_skipped_entries() {
        let skip = |position| SkipReport { position, reason: "no_payload".to_owned() };
        let mut listing = Listing::default();
        let mut one = document(1);
        one.skips = (1..=10_000).map(skip).collect();
        listing.push(one.clone());
        listing.push(one);
        assert_eq!((listing[0].skips.len(), listing[0].skips_omitted), (10_000, 0));
        let second = &listing[1];
        assert!(second.skips.len() < 10_000);
        assert_eq!(second.skips.len() + second.skips_omitted, 10_000);
    }
}
