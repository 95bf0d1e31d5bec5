//! What a store lists, in little memory, divided into units that are checked one by one: a document with
//! everything that is derived from it, or a single other object.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::super::Progress;
use crate::{
    document::{DocumentId, sha256},
    layout::{FAILED, Key, Stage},
    store::{Listed, Store, StoreError, Tag},
};

/// One object of a listing.
#[derive(Debug)]
pub struct Entry {
    /// Its key.
    pub key: Box<str>,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: OffsetDateTime,
    /// The store's mark of its content, if a listing has it.
    pub etag: Option<Box<str>>,
}

impl From<Listed> for Entry {
    fn from(listed: Listed) -> Self {
        let etag = match listed.tag {
            Some(Tag::Mark(mark)) => Some(mark.into()),
            _ => None,
        };
        Entry { key: listed.key.into(), size: listed.size, modified: listed.modified, etag }
    }
}

/// All objects of a store, by key.
#[derive(Debug, Default)]
pub struct Listing {
    entries: Vec<Entry>,
}

/// What is checked at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A document: its raw objects in all stages, its lineage, its table files.
    Document(DocumentId),
    /// Any other object, by key.
    Object(String),
}

impl Unit {
    /// The name that a journal uses.
    pub fn name(&self) -> String {
        match self {
            Unit::Document(id) => format!("document:{id}"),
            Unit::Object(key) => format!("object:{key}"),
        }
    }
}

/// The places of a unit's objects in a listing.
pub type Places = Vec<u32>;

impl Listing {
    /// Lists a store.
    ///
    /// # Errors
    ///
    /// If the store can't be listed.
    pub async fn of(store: &dyn Store, progress: &dyn Progress) -> Result<Self, StoreError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut after: Option<String> = None;
        progress.begin("list", 0);
        loop {
            let page = store.list("", after.as_deref()).await?;
            progress.expect(page.objects.len());
            page.objects.iter().for_each(|_| progress.advance());
            entries.extend(page.objects.into_iter().map(Entry::from));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        progress.end();
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        entries.dedup_by(|one, other| one.key == other.key);
        Ok(Listing { entries })
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All objects, by key.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The object under a key.
    pub fn find(&self, key: &str) -> Option<&Entry> {
        let place = self.entries.binary_search_by(|entry| entry.key.as_ref().cmp(key)).ok()?;
        self.entries.get(place)
    }

    /// The object at a place.
    pub fn at(&self, place: u32) -> Option<&Entry> {
        self.entries.get(place as usize)
    }

    /// Divides the listing into units.
    pub fn units(&self) -> BTreeMap<Unit, Places> {
        let mut units: BTreeMap<Unit, Places> = BTreeMap::new();
        for (place, entry) in (0..).zip(&self.entries) {
            let unit = match entry.key.parse() {
                Ok(
                    Key::Raw { document, .. }
                    | Key::Lineage { document }
                    | Key::TableFile { document, .. },
                ) => Unit::Document(document),
                _ => Unit::Object(entry.key.to_string()),
            };
            units.entry(unit).or_default().push(place);
        }
        units
    }

    /// Returns a text that changes whenever an object of a unit does, or one that it is checked against.
    pub fn stamp(&self, unit: &Unit, places: &[u32], context: &str) -> String {
        let own = places.iter().filter_map(|place| self.at(*place));
        let related: Vec<String> = match unit {
            Unit::Document(document) => {
                let failed = Key::Raw { stage: Stage::Failed, document: document.clone() };
                vec![failed.failed_reason().to_string()]
            }
            Unit::Object(key) => key.parse().map_or(Vec::new(), |key| related(&key)),
        };
        let related = related.iter().filter_map(|key| self.find(key));
        let mut text = context.to_owned();
        for Entry { key, size, modified, etag } in own.chain(related) {
            let modified = modified.unix_timestamp_nanos();
            let etag = etag.as_deref().unwrap_or_default();
            text.push_str(&format!("\n{key} {size} {modified} {etag}"));
        }
        let mut stamp = sha256(text.as_bytes());
        stamp.truncate(32);
        stamp
    }
}

/// Returns the keys that an object is checked against.
pub fn related(key: &Key) -> Vec<String> {
    match key {
        Key::Foreign { stage: Stage::Failed, .. } => vec![key.failed_reason().to_string()],
        Key::FailedReason { path } => {
            vec![format!("{FAILED}{path}.json"), format!("{FAILED}{path}")]
        }
        Key::PluginError { name } => vec![Key::Plugin { name: name.clone() }.to_string()],
        Key::History { name, sha256 } => {
            let (name, sha256) = (name.clone(), sha256.clone());
            vec![Key::HistoryRecord { name, sha256 }.to_string()]
        }
        Key::HistoryRecord { name, sha256 } => {
            let (name, sha256) = (name.clone(), sha256.clone());
            vec![Key::History { name, sha256 }.to_string()]
        }
        _ => Vec::new(),
    }
}
