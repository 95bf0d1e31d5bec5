//! The pages of a playlist in order: which playlist each is of, where they overlap, whether they are all there.
//!
//! Values in, values out. What an entry means is not known here, except that two entries can be the same one.

use std::collections::HashMap;

use bytestring::ByteString;
use serde::Deserialize;
use serde_json::value::RawValue;
use spotify_etl_plugin::containers::{self, NoEntries, Page, PlaylistFacts};

/// How deep arrays of pages may be nested.
const DEPTH_MAX: usize = 8;
/// How many parts a text may have.
const PARTS_MAX: usize = 100_000;
/// The largest offset that positions follow. Plugins ignore larger ones, too.
const OFFSET_MAX: u64 = (u32::MAX / 2 - 1) as u64;

/// A part of a text that holds entries of one playlist: a page, a playlist object, or an array of entries.
#[derive(Debug)]
pub struct Part<'t> {
    /// Its text.
    pub text: &'t str,
    /// What it says of its playlist.
    pub facts: PlaylistFacts,
    page: Page<'t>,
}

/// The items that two overlapping pages give differently, or that no page gives; counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// The parts of a playlist, in order.
#[derive(Debug)]
pub struct Arranged<'t> {
    /// The parts in the order of their offsets.
    pub parts: Vec<Part<'t>>,
    /// How many entries they hold, overlaps counted once.
    pub entries: usize,
    /// How many items the playlist has, as its first part says it.
    pub total: Option<u64>,
    /// Whether all items are there, where that can be told.
    pub complete: Option<bool>,
    /// Whether the parts overlap, or were not in order.
    pub is_changed: bool,
    /// Of each part, how many of its entries an earlier part has, too: the first ones.
    repeated: Vec<usize>,
}

impl Part<'_> {
    /// Returns whether it is a playlist object rather than a page of one.
    pub fn is_playlist(&self) -> bool {
        self.facts.name.is_some() || self.facts.snapshot_id.is_some()
    }

    /// Returns how many entries it holds.
    pub fn entries(&self) -> usize {
        self.page.entries.len()
    }

    /// Returns its entries, unparsed.
    pub fn raw_entries(&self) -> &[&RawValue] {
        &self.page.entries
    }

    /// Returns the place of its first entry, counted from 0. A playlist object begins at its beginning.
    pub fn offset(&self) -> Option<u64> {
        let offset = self.page.offset.filter(|offset| *offset <= OFFSET_MAX);
        offset.or_else(|| self.is_playlist().then_some(0))
    }

    /// Returns how many items the whole playlist has, as it says it.
    pub fn total(&self) -> Option<u64> {
        self.page.total
    }
}

/// Returns the parts of a JSON text, in its order.
///
/// # Errors
///
/// If the text holds no entries.
pub fn parts(text: &str) -> Result<Vec<Part<'_>>, NoEntries> {
    let mut found = Vec::new();
    collect(text, 0, &mut found)?;
    Ok(found)
}

fn collect<'t>(text: &'t str, depth: usize, found: &mut Vec<Part<'t>>) -> Result<(), NoEntries> {
    let mut contents = containers::read(text)?;
    if contents.pages.len() > PARTS_MAX {
        let found = format!("more than {PARTS_MAX} pages in one file");
        return Err(NoEntries::NotAPlaylist { found });
    }
    if contents.pages.len() <= 1 || depth > DEPTH_MAX {
        // An array without a page holds no entries, and is a page of none.
        let page = contents.pages.pop().unwrap_or_default();
        found.push(Part { text, facts: contents.playlist, page });
        return Ok(());
    }
    for element in elements(text) {
        collect(element, depth + 1, found)?;
    }
    Ok(())
}

/// Returns the texts of an array's elements, or of those in `pages` of an object, without nulls.
fn elements(text: &str) -> Vec<&str> {
    #[derive(Deserialize)]
    struct Pages<'a> {
        #[serde(borrow)]
        pages: Vec<&'a RawValue>,
    }
    let array = if text.starts_with('{') {
        serde_json::from_str::<Pages<'_>>(text).map(|object| object.pages)
    } else {
        serde_json::from_str(text)
    };
    let elements = array.unwrap_or_default().into_iter().map(RawValue::get);
    elements.filter(|element| *element != "null").collect()
}

/// Sorts parts by the playlist that they are of. A part that doesn't say belongs to the one before it.
pub fn by_playlist(parts: Vec<Part<'_>>) -> Vec<Vec<Part<'_>>> {
    let (mut groups, mut by_id) = (Vec::<Vec<Part<'_>>>::new(), HashMap::new());
    // Pages that came before the first one with an id.
    let mut open = None;
    for part in parts {
        let known = part.facts.id.as_ref().map(|id| by_id.get(id).copied());
        let place = match known {
            Some(place) => place.or_else(|| open.take()),
            None if part.is_playlist() => None,
            None => groups.len().checked_sub(1),
        };
        let place = place.unwrap_or_else(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        if groups[place].is_empty() && known.is_none() && !part.is_playlist() {
            open = Some(place);
        }
        if let Some(id) = &part.facts.id {
            by_id.insert(id.clone(), place);
        }
        groups[place].push(part);
    }
    groups
}

/// Arranges the parts of one playlist by their offsets. A part without one follows the part before it.
///
/// # Errors
///
/// The first items that two parts give differently.
pub fn arrange(parts: Vec<Part<'_>>) -> Result<Arranged<'_>, Span> {
    let total = parts.iter().find_map(Part::total);
    let same_total = parts.iter().all(|part| part.total() == total);
    let goes_on = parts.last().is_some_and(|part| part.page.has_next);
    let mut placed = Vec::new();
    let mut end = 0;
    for (number, part) in parts.into_iter().enumerate() {
        let start = part.offset().unwrap_or(end);
        end = start.saturating_add(part.entries() as u64);
        placed.push((start, number, part));
    }
    placed.sort_by_key(|(start, number, _)| (*start, *number));
    let mut is_changed = placed.iter().enumerate().any(|(place, (_, number, _))| place != *number);
    let mut known: HashMap<u64, &RawValue> = HashMap::new();
    let (mut repeated, mut end) = (Vec::new(), 0_u64);
    for (start, _, part) in &placed {
        // No part begins before an earlier one, so what it repeats are its first entries.
        let overlap = usize::try_from(end.saturating_sub(*start)).unwrap_or(usize::MAX);
        let overlap = overlap.min(part.entries());
        for (position, entry) in (*start..).zip(&part.page.entries[..overlap]) {
            if known.get(&position).is_some_and(|known| !is_same(known, entry)) {
                return Err(Span { first: position + 1, last: end.min(start + overlap as u64) });
            }
        }
        if placed.len() > 1 {
            known.extend((*start..).zip(part.page.entries.iter().copied()));
        }
        end = end.max(start.saturating_add(part.entries() as u64));
        is_changed |= overlap > 0;
        repeated.push(overlap);
    }
    let parts: Vec<_> = placed.into_iter().map(|(_, _, part)| part).collect();
    let all: usize = parts.iter().map(Part::entries).sum();
    let entries = all - repeated.iter().sum::<usize>();
    let complete = match total {
        Some(total) => Some(same_total && entries as u64 == total),
        None => goes_on.then_some(false),
    };
    Ok(Arranged { parts, entries, total, complete, is_changed, repeated })
}

/// Returns the first items up to `total` that no part gives.
pub fn missing(arranged: &Arranged<'_>) -> Option<Span> {
    let mut end = 0;
    for part in &arranged.parts {
        let start = part.offset().unwrap_or(end);
        if start > end {
            return Some(Span { first: end + 1, last: start });
        }
        end = end.max(start.saturating_add(part.entries() as u64));
    }
    let total = arranged.total.unwrap_or_default();
    (end < total).then_some(Span { first: end + 1, last: total })
}

/// Returns pages as plugins read them: in the order of their offsets, each entry once.
///
/// # Errors
///
/// The first items that two pages give differently; for pages without entries the first item.
pub fn arranged(pages: &[ByteString]) -> Result<Vec<ByteString>, Span> {
    let none = Span { first: 1, last: 1 };
    let mut all = Vec::new();
    for page in pages {
        all.extend(parts(page).map_err(|_| none)?);
    }
    let arranged = arrange(all)?;
    let texts = arranged.parts.iter().zip(&arranged.repeated);
    Ok(texts.map(|(part, &repeated)| without_first(part, repeated).into()).collect())
}

/// Returns a part's text without its first entries.
fn without_first(part: &Part<'_>, count: usize) -> String {
    let Some(last) = count.checked_sub(1).and_then(|last| part.page.entries.get(last)) else {
        return part.text.to_owned();
    };
    // Entries are parts of the text.
    let place = |entry: &RawValue| entry.get().as_ptr().addr() - part.text.as_ptr().addr();
    let begin = place(part.page.entries[0]);
    let end = match part.page.entries.get(count) {
        Some(next) => place(next),
        None => place(last) + last.get().len(),
    };
    format!("{}{}", &part.text[..begin], &part.text[end..])
}

/// Returns whether two entries are the same one: equal texts, or the same track added at the same time.
fn is_same(one: &RawValue, other: &RawValue) -> bool {
    #[derive(Deserialize, PartialEq)]
    struct Track<'a> {
        #[serde(borrow)]
        id: Option<std::borrow::Cow<'a, str>>,
        #[serde(borrow)]
        uri: Option<std::borrow::Cow<'a, str>>,
    }
    #[derive(Deserialize)]
    struct Entry<'a> {
        #[serde(borrow)]
        added_at: Option<std::borrow::Cow<'a, str>>,
        #[serde(borrow)]
        item: Option<Track<'a>>,
        #[serde(borrow)]
        track: Option<Track<'a>>,
    }
    if one.get() == other.get() {
        return true;
    }
    let read = |entry: &RawValue| {
        let entry: Entry<'_> = serde_json::from_str(entry.get()).ok()?;
        let track = entry.item.or(entry.track)?;
        let id = track.id.or(track.uri)?;
        Some((entry.added_at.map(|time| time.into_owned()), id.into_owned()))
    };
    read(one).is_some_and(|one| read(other) == Some(one))
}
