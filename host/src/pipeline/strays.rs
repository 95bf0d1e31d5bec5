//! Finds what somebody deleted by hand: rows whose raw document is gone, and processed documents of which a
//! table file or the lineage is gone. Both are found by listings alone, of which a few bytes are kept for each
//! document. Lineage is read only of documents that lack a file of some table, and only of some of these:
//! a document may lack one because no plugin ever made it.
//!
//! What is derived is listed before raw documents, and raw documents in the order in which they move, so that
//! a run at the same time is not mistaken for damage. What is named is looked at once more.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use serde::Serialize;
use twox_hash::XxHash3_64;

use super::{
    lineage::Lineage,
    records::table_records,
    table_folders::{partitions, table_folders},
};
use crate::{
    config::LINEAGE_BYTES_MAX,
    document::DocumentId,
    layout::{Key, LINEAGE, Stage, TableFolder},
    store::{Page, Store, StoreError},
};

/// The stages of raw documents, in the order in which documents move.
const STAGES: [Stage; 3] = [Stage::ToProcess, Stage::Failed, Stage::Processed];
/// How many documents without a raw document are named.
const WITHOUT_RAW_NAMED_MAX: usize = 100;
/// How many lineage records are read.
const LINEAGE_READ_MAX: usize = 100;
/// How many sets of missing files are told apart.
const GROUPS_MAX: usize = 100;
/// How many prefixes are listed, or documents are looked at, at a time.
const AT_ONCE: usize = 8;

/// What does not fit together in a store.
#[derive(Debug, Default, Serialize)]
pub struct Strays {
    /// The first documents with table files or lineage and without a raw document in any stage.
    pub without_raw: Vec<String>,
    /// How many these are in all.
    pub without_raw_count: usize,
    /// How many files of other programs wait. A transform of one that was interrupted leaves rows whose raw
    /// document is still under the name of that file.
    pub foreign_waiting: usize,
    /// Processed documents without their lineage, or without table files that their lineage names.
    pub incomplete: Vec<Incomplete>,
    /// How many further processed documents lack a file of some table, and were not looked at.
    pub incomplete_unknown: usize,
    /// Why nothing of this is known, if so: what can't be read may be the object that seems to be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A processed document of which something is missing.
#[derive(Debug, Serialize)]
pub struct Incomplete {
    /// The document.
    pub document: String,
    /// The keys of the missing table files, or the one of its lineage.
    pub missing: Vec<String>,
}

impl Strays {
    /// Returns whether there is something to repair.
    pub fn is_empty(&self) -> bool {
        self.without_raw_count == 0 && self.incomplete.is_empty() && self.problem.is_none()
    }
}

/// Searches a store.
///
/// # Errors
///
/// If the store fails.
pub async fn strays(store: &dyn Store) -> Result<Strays, StoreError> {
    let mut search = Search::of(store).await?;
    search.list_derived().await?;
    let (candidates, foreign_waiting) = search.list_raw().await?;
    if search.unreadable.is_some() {
        return Ok(Strays { problem: search.unreadable, ..Strays::default() });
    }
    let (without_raw, without_raw_count) = search.name_without_raw().await?;
    let (incomplete, incomplete_unknown) = search.look_at(candidates).await?;
    let problem = search.unreadable;
    Ok(Strays {
        without_raw,
        without_raw_count,
        foreign_waiting,
        incomplete,
        incomplete_unknown,
        problem,
    })
}

/// What is known of a document from listings.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The sum of the weights of the current folders that have a file of it.
    files: u64,
    has_lineage: bool,
    has_raw: bool,
}

/// A listing of derived objects.
#[derive(Clone)]
struct Source {
    prefix: String,
    /// What the name of each object ends with.
    suffix: String,
    /// The weight of a folder that readers of its table use; 0 of any other.
    weight: u64,
    is_lineage: bool,
}

/// The processed documents that have files in the same folders.
#[derive(Default)]
struct Group {
    count: usize,
    /// The first of them.
    first: Vec<DocumentId>,
}

/// Processed documents without a file of some table, by what they have.
type Candidates = BTreeMap<(u64, bool), Group>;

struct Search<'s> {
    store: &'s dyn Store,
    /// The folders that readers of tables use.
    current: BTreeSet<TableFolder>,
    sources: Vec<Source>,
    /// By the hash of the document's name.
    documents: HashMap<u64, Known>,
    unreadable: Option<String>,
}

impl<'s> Search<'s> {
    async fn of(store: &'s dyn Store) -> Result<Self, StoreError> {
        let (records, _) = table_records(store).await?;
        let current = records.iter().flat_map(|record| {
            let folder = |format| TableFolder {
                table: record.schema.name.clone(),
                generation: record.generation,
                format,
            };
            record.formats.iter().copied().map(folder)
        });
        let current: BTreeSet<TableFolder> = current.collect();
        let years = partitions(store, &table_folders(store).await?).await?;
        let files = years.into_iter().map(|(folder, prefix)| Source {
            prefix,
            suffix: format!(".{}", folder.format),
            weight: if current.contains(&folder) { weight(&folder) } else { 0 },
            is_lineage: false,
        });
        let lineage = Source { is_lineage: true, ..Source::json(LINEAGE) };
        let sources = [lineage].into_iter().chain(files).collect();
        Ok(Search { store, current, sources, documents: HashMap::new(), unreadable: None })
    }

    async fn list_derived(&mut self) -> Result<(), StoreError> {
        let store = self.store;
        let listings = self.sources.clone().into_iter().map(|source| pages(store, source));
        let mut pages = stream::iter(listings).flatten_unordered(AT_ONCE);
        while let Some((source, page)) = pages.try_next().await? {
            note_unreadable(&mut self.unreadable, &page);
            for listed in &page.objects {
                let Some(name) = source.name(&listed.key) else { continue };
                let known = self.documents.entry(hash(name)).or_default();
                known.files = known.files.wrapping_add(source.weight);
                known.has_lineage |= source.is_lineage;
            }
        }
        Ok(())
    }

    /// Lists raw documents. Returns the processed ones that lack a file, and how many files of other programs
    /// wait.
    async fn list_raw(&mut self) -> Result<(Candidates, usize), StoreError> {
        let whole = self.current.iter().map(weight).fold(0, u64::wrapping_add);
        let (mut candidates, mut foreign) = (Candidates::new(), 0);
        for stage in STAGES {
            let mut pages = pages(self.store, Source::json(stage.prefix()));
            while let Some((_, page)) = pages.try_next().await? {
                note_unreadable(&mut self.unreadable, &page);
                for listed in page.objects {
                    match listed.key.parse() {
                        Ok(Key::Raw { document, .. }) => {
                            let known =
                                self.documents.entry(hash(&document.to_string())).or_default();
                            known.has_raw = true;
                            let is_whole = known.files == whole && known.has_lineage;
                            if stage == Stage::Processed && !is_whole {
                                add(&mut candidates, (known.files, known.has_lineage), document);
                            }
                        }
                        Ok(Key::Foreign { stage: Stage::ToProcess, .. }) => foreign += 1,
                        _ => {}
                    }
                }
            }
        }
        Ok((candidates, foreign))
    }

    /// Names documents without a raw document. Returns the first of them, and how many there are.
    async fn name_without_raw(&mut self) -> Result<(Vec<String>, usize), StoreError> {
        let mut count = self.documents.values().filter(|known| !known.has_raw).count();
        let mut named = BTreeSet::new();
        for source in self.sources.clone() {
            let mut pages = pages(self.store, source);
            while named.len() < count.min(WITHOUT_RAW_NAMED_MAX)
                && let Some((source, page)) = pages.try_next().await?
            {
                for listed in page.objects {
                    let Some(name) = source.name(&listed.key) else { continue };
                    let hash = hash(name);
                    if self.documents.get(&hash).is_none_or(|known| known.has_raw) {
                        continue;
                    }
                    match derived_from(&listed.key) {
                        Some(id) if named.len() < WITHOUT_RAW_NAMED_MAX => drop(named.insert(id)),
                        Some(_) => {}
                        // It is no object of a document.
                        None => {
                            self.documents.remove(&hash);
                            count -= 1;
                        }
                    }
                }
            }
        }
        let search = &*self;
        let looked_at = stream::iter(named).map(|id| async move {
            let has_raw = search.has_raw(&id).await?;
            Ok::<_, StoreError>((!has_raw).then(|| id.to_string()))
        });
        let looked_at: Vec<_> = looked_at.buffered(AT_ONCE).try_collect().await?;
        let still = looked_at.iter().flatten().count();
        count -= (looked_at.len() - still).min(count);
        Ok((looked_at.into_iter().flatten().collect(), count))
    }

    async fn has_raw(&self, id: &DocumentId) -> Result<bool, StoreError> {
        for stage in STAGES {
            let key = Key::Raw { stage, document: id.clone() }.to_string();
            if self.store.head(&key).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the lineage of documents that lack a file, of the smallest groups first: a file that was deleted
    /// by hand is missing in few documents, the ones of a new plugin in most.
    async fn look_at(
        &mut self,
        candidates: Candidates,
    ) -> Result<(Vec<Incomplete>, usize), StoreError> {
        let mut groups: Vec<Group> = candidates.into_values().collect();
        groups.sort_by_key(|group| group.count);
        let count: usize = groups.iter().map(|group| group.count).sum();
        let mut chosen: Vec<DocumentId> =
            groups.into_iter().flat_map(|group| group.first).collect();
        chosen.truncate(LINEAGE_READ_MAX);
        let unknown = count - chosen.len();
        let looked_at = stream::iter(chosen).map(|id| self.incomplete(id));
        let looked_at: Vec<_> = looked_at.buffered(AT_ONCE).try_collect().await?;
        let mut incomplete: Vec<Incomplete> = looked_at.into_iter().flatten().collect();
        incomplete.sort_by(|one, other| one.document.cmp(&other.document));
        Ok((incomplete, unknown))
    }

    /// Looks at a processed document. Returns what is missing of it, if anything.
    async fn incomplete(&self, id: DocumentId) -> Result<Option<Incomplete>, StoreError> {
        let key = Key::Lineage { document: id.clone() }.to_string();
        let mut missing = Vec::new();
        match self.store.get_within(&key, LINEAGE_BYTES_MAX).await {
            Ok(None) => missing.push(key),
            // `verify` says what is wrong with it.
            Err(StoreError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error),
            Ok(Some(object)) => {
                let Ok(lineage) = Lineage::parse(&object.bytes, &id) else { return Ok(None) };
                for file in lineage.files {
                    if self.is_current(&file.key) && self.store.head(&file.key).await?.is_none() {
                        missing.push(file.key);
                    }
                }
            }
        }
        // It may be deleted by now.
        let processed = Key::Raw { stage: Stage::Processed, document: id.clone() }.to_string();
        let is_there = !missing.is_empty() && self.store.head(&processed).await?.is_some();
        Ok(is_there.then(|| Incomplete { document: id.to_string(), missing }))
    }

    fn is_current(&self, key: &str) -> bool {
        match key.parse() {
            Ok(Key::TableFile { table, generation, format, .. }) => {
                self.current.contains(&TableFolder { table, generation, format })
            }
            _ => false,
        }
    }
}

impl Source {
    fn json(prefix: &str) -> Self {
        let (prefix, suffix) = (prefix.to_owned(), ".json".to_owned());
        Source { prefix, suffix, weight: 0, is_lineage: false }
    }

    /// Returns what the key of an object has in the place of the document's name. To find out whether it is
    /// one takes much longer, and is done for few.
    fn name<'k>(&self, key: &'k str) -> Option<&'k str> {
        let name = key.strip_prefix(&self.prefix)?.strip_suffix(&self.suffix)?;
        (!name.contains('/')).then_some(name)
    }
}

fn add(candidates: &mut Candidates, group: (u64, bool), document: DocumentId) {
    if candidates.len() >= GROUPS_MAX && !candidates.contains_key(&group) {
        // Documents of all further groups are only counted.
        candidates.entry((0, false)).or_default().count += 1;
        return;
    }
    let group = candidates.entry(group).or_default();
    group.count += 1;
    if group.first.len() < LINEAGE_READ_MAX {
        group.first.push(document);
    }
}

/// Lists a prefix, page by page.
fn pages(
    store: &dyn Store,
    source: Source,
) -> impl Stream<Item = Result<(Source, Page), StoreError>> + Unpin {
    let begin = Some((source, None::<String>));
    Box::pin(stream::try_unfold(begin, move |state| async move {
        let Some((source, after)) = state else { return Ok(None) };
        let mut page = store.list(&source.prefix, after.as_deref()).await?;
        let next = page.next.take().map(|next| (source.clone(), Some(next)));
        Ok(Some(((source, page), next)))
    }))
}

fn note_unreadable(unreadable: &mut Option<String>, page: &Page) {
    if unreadable.is_none() {
        *unreadable = page.unreadable.first().map(ToString::to_string);
    }
}

fn derived_from(key: &str) -> Option<DocumentId> {
    match key.parse() {
        Ok(Key::TableFile { document, .. } | Key::Lineage { document }) => Some(document),
        _ => None,
    }
}

fn hash(document: &str) -> u64 {
    XxHash3_64::oneshot(document.as_bytes())
}

/// Returns a number whose sums tell sets of folders apart.
fn weight(folder: &TableFolder) -> u64 {
    XxHash3_64::oneshot(folder.prefix().as_bytes())
}
