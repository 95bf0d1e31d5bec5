//! Where the entries are in Spotify's JSON, and what else it says of their playlist.
//!
//! A page may be a paging object, a playlist object, a bare array of entries, an array of any of
//! these, or an object that holds them under `pages`. This module finds the entries and leaves
//! them unparsed; what an entry means is in `entries`. The host uses it to count, and to refuse
//! at the door what holds no entries.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{error::Category, value::RawValue};

/// How deep containers may lie in one another.
const CONTAINER_DEPTH_MAX: usize = 8;

/// Entries that were read together, with what the object around them says.
#[derive(Debug, Default)]
pub struct Page<'a> {
    /// The place of the first entry, counted from 0, as Spotify gives it.
    pub offset: Option<u64>,
    /// How many entries the whole playlist has, as Spotify gives it.
    pub total: Option<u64>,
    /// Whether Spotify names a next page.
    pub has_next: bool,
    /// The entries, unparsed.
    pub entries: Vec<&'a RawValue>,
}

/// What a page says of the playlist as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlaylistFacts {
    /// Spotify's id, from `id`, `playlist_id` or the address in `href`.
    pub id: Option<String>,
    /// The playlist's name.
    pub name: Option<String>,
    /// The owner's display name, or else id.
    pub owner: Option<String>,
    /// Spotify's mark of this state of the playlist.
    pub snapshot_id: Option<String>,
}

/// What was found in a page.
#[derive(Debug, Default)]
pub struct Contents<'a> {
    /// The pages in the order of the text.
    pub pages: Vec<Page<'a>>,
    /// The first facts found.
    pub playlist: PlaylistFacts,
}

impl Contents<'_> {
    /// How many entries there are.
    pub fn entries(&self) -> usize {
        self.pages.iter().map(|page| page.entries.len()).sum()
    }

    /// Whether these are all entries of the playlist: as many as `total`, which is the same on
    /// every page. None where neither a total nor a next page tells.
    pub fn complete(&self) -> Option<bool> {
        let Some(total) = self.pages.iter().find_map(|page| page.total) else {
            let goes_on = self.pages.last().is_some_and(|page| page.has_next);
            return goes_on.then_some(false);
        };
        let same = self.pages.iter().all(|page| page.total == Some(total));
        Some(same && self.entries() as u64 == total)
    }
}

/// Why a JSON text holds no entries.
#[derive(Debug)]
pub enum NoEntries {
    /// It is not JSON.
    NotJson(serde_json::Error),
    /// It is an error that Spotify answered with.
    ApiError {
        /// The HTTP status, where the body says it.
        status: Option<u64>,
        /// Spotify's words.
        message: String,
    },
    /// It lists playlists, not entries.
    PageOfPlaylists {
        /// How many it lists.
        playlists: usize,
    },
    /// It is a playlist object that only tells about the playlist.
    PlaylistWithoutEntries,
    /// It is something else.
    NotAPlaylist {
        /// What it is, in words.
        found: String,
    },
    /// Containers lie deeper in one another than any real page has them.
    TooDeep,
}

impl fmt::Display for NoEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoEntries::NotJson(error) => {
                write!(f, "not JSON: {error} (is it cut off, or no answer of Spotify's at all?)")
            }
            NoEntries::ApiError { status, message } => {
                let status = status.map(|status| format!("{status} ")).unwrap_or_default();
                write!(f, "an error that Spotify answered with: {status}`{message}` (ask again)")
            }
            NoEntries::PageOfPlaylists { playlists } => write!(
                f,
                "a page of playlists ({playlists} of them), not of a playlist's entries (those are at \
                 /playlists/{{id}}/items)"
            ),
            NoEntries::PlaylistWithoutEntries => write!(
                f,
                "a playlist object without its entries (Spotify may give them only to the \
                 playlist's owner; they are at /playlists/{{id}}/items)"
            ),
            NoEntries::NotAPlaylist { found } => {
                write!(f, "not a playlist: {found} (give a playlist object or a page of entries)")
            }
            NoEntries::TooDeep => write!(
                f,
                "not a playlist: arrays and objects around the entries more than \
                 {CONTAINER_DEPTH_MAX} levels deep (give the pages themselves)"
            ),
        }
    }
}

impl std::error::Error for NoEntries {}

/// Finds the entries in a page's JSON text.
///
/// # Errors
///
/// Says what the text is where it holds no entries.
pub fn read(json: &str) -> Result<Contents<'_>, NoEntries> {
    let mut contents = Contents::default();
    collect(node(json)?, 0, &mut contents)?;
    Ok(contents)
}

/// A value, of which containers are taken apart and everything else is left as it is: one look at
/// the text finds the entries.
enum Node<'a> {
    Array(Vec<&'a RawValue>),
    Object(Box<Members<'a>>),
    Other(&'static str),
}

/// The members that say what an object is. Other members are passed over.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Members<'a> {
    #[serde(borrow)]
    pages: Option<Node<'a>>,
    #[serde(borrow)]
    items: Option<Node<'a>>,
    #[serde(borrow)]
    tracks: Option<Node<'a>>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    track: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    error_description: Option<&'a RawValue>,
    #[serde(borrow)]
    offset: Option<&'a RawValue>,
    #[serde(borrow)]
    total: Option<&'a RawValue>,
    #[serde(borrow)]
    next: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    playlist_id: Option<&'a RawValue>,
    #[serde(borrow)]
    href: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    owner: Option<&'a RawValue>,
    #[serde(borrow)]
    snapshot_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Node::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Node<'de>, A::Error> {
        let members = Members::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Node::Object(Box::new(members)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node<'de>, E> {
        Ok(Node::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node<'de>, E> {
        Ok(Node::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node<'de>, E> {
        Ok(Node::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node<'de>, E> {
        Ok(Node::Other("a number"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Node<'de>, E> {
        Ok(Node::Other("a string"))
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Other("null"))
    }
}

fn node(json: &str) -> Result<Node<'_>, NoEntries> {
    serde_json::from_str(json).map_err(|error| match error.classify() {
        // The text is sound; what it says is not.
        Category::Data => NoEntries::NotAPlaylist { found: error.to_string() },
        _ => NoEntries::NotJson(error),
    })
}

impl Members<'_> {
    fn is_playlist(&self) -> bool {
        self.kind.and_then(text).is_some_and(|kind| kind.eq_ignore_ascii_case("playlist"))
            || (self.owner.is_some() && self.snapshot_id.is_some())
    }

    fn is_container(&self) -> bool {
        let is_entry = self.item.is_some() || self.track.is_some();
        let holds = self.pages.is_some() || self.items.is_some() || self.tracks.is_some();
        !is_entry && (holds || self.error.is_some() || self.is_playlist())
    }
}

/// Walks a container and what lies in it.
fn collect<'a>(node: Node<'a>, depth: usize, found: &mut Contents<'a>) -> Result<(), NoEntries> {
    if depth > CONTAINER_DEPTH_MAX {
        return Err(NoEntries::TooDeep);
    }
    let mut members = match node {
        Node::Array(elements) => return collect_array(elements, depth, found),
        Node::Object(members) => members,
        Node::Other(kind) => return Err(NoEntries::NotAPlaylist { found: kind.to_owned() }),
    };
    note_facts(&members, &mut found.playlist);
    if let Some(Node::Array(pages)) = members.pages {
        return pages.into_iter().try_for_each(|page| collect(inner(page)?, depth + 1, found));
    }
    if let Some(Node::Array(entries)) = members.items.take_if(|items| items.is_array()) {
        return push_page(&members, entries, found);
    }
    for paging in [&mut members.items, &mut members.tracks] {
        let Some(Node::Object(paging)) = paging else { continue };
        if let Some(Node::Array(entries)) = paging.items.take_if(|items| items.is_array()) {
            note_facts(&Members { href: paging.href, ..Members::default() }, &mut found.playlist);
            return push_page(paging, entries, found);
        }
    }
    Err(without_entries(&members))
}

impl Node<'_> {
    fn is_array(&self) -> bool {
        matches!(self, Node::Array(_))
    }
}

/// A value inside a text that is known to be sound.
fn inner(value: &RawValue) -> Result<Node<'_>, NoEntries> {
    node(value.get())
}

/// An array holds containers if its first object is one, entries otherwise.
fn collect_array<'a>(
    elements: Vec<&'a RawValue>,
    depth: usize,
    found: &mut Contents<'a>,
) -> Result<(), NoEntries> {
    let first = elements.iter().find_map(|element| object(element));
    if !first.is_some_and(|members| members.is_container()) {
        found.pages.push(Page { entries: elements, ..Page::default() });
        return Ok(());
    }
    let mut containers = elements.into_iter().filter(|element| element.get() != "null");
    containers.try_for_each(|element| collect(inner(element)?, depth + 1, found))
}

fn push_page<'a>(
    paging: &Members<'_>,
    entries: Vec<&'a RawValue>,
    found: &mut Contents<'a>,
) -> Result<(), NoEntries> {
    let mut objects = entries.iter().filter_map(|entry| object(entry)).peekable();
    let lists_playlists = objects.peek().is_some()
        && objects.all(|members| members.is_playlist() && members.is_container());
    if lists_playlists {
        return Err(NoEntries::PageOfPlaylists { playlists: entries.len() });
    }
    found.pages.push(Page {
        offset: paging.offset.and_then(number),
        total: paging.total.and_then(number),
        has_next: paging.next.and_then(text).is_some(),
        entries,
    });
    Ok(())
}

fn note_facts(members: &Members<'_>, facts: &mut PlaylistFacts) {
    let id = || {
        let ids = [members.id, members.playlist_id].into_iter().flatten();
        ids.filter_map(text).find(|id| !id.is_empty())
    };
    let from_href = || members.href.and_then(text).as_deref().and_then(id_in_address);
    facts.id = facts.id.take().or_else(id).or_else(from_href);
    facts.name = facts.name.take().or_else(|| members.name.and_then(text));
    facts.owner = facts.owner.take().or_else(|| members.owner.and_then(owner));
    facts.snapshot_id = facts.snapshot_id.take().or_else(|| members.snapshot_id.and_then(text));
}

fn owner(value: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Owner {
        id: Option<String>,
        display_name: Option<String>,
    }
    let is_object = value.get().starts_with('{');
    let owner: Owner = serde_json::from_str(value.get()).ok().filter(|_| is_object)?;
    owner.display_name.filter(|name| !name.is_empty()).or(owner.id)
}

/// The id in an address such as `https://api.spotify.com/v1/playlists/<id>/items?limit=50`.
fn id_in_address(address: &str) -> Option<String> {
    let (_, rest) = address.split_once("/playlists/")?;
    let id = rest.split(['/', '?', '#']).next()?;
    (!id.is_empty()).then(|| id.to_owned())
}

fn without_entries(members: &Members<'_>) -> NoEntries {
    if let Some(error) = members.error {
        return api_error(error, members.error_description);
    }
    if members.is_playlist() || members.items.is_some() || members.tracks.is_some() {
        return NoEntries::PlaylistWithoutEntries;
    }
    let found = "an object with none of `pages`, `items`, `items.items`, `tracks.items`";
    NoEntries::NotAPlaylist { found: found.to_owned() }
}

/// The API says `{"error": {"status", "message"}}`, the accounts service
/// `{"error": "invalid_grant", "error_description": "..."}`.
fn api_error(error: &RawValue, description: Option<&RawValue>) -> NoEntries {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Error {
        status: Option<u64>,
        message: Option<String>,
    }
    if let Some(kind) = text(error) {
        let message = match description.and_then(text) {
            Some(description) => format!("{kind}: {description}"),
            None => kind,
        };
        return NoEntries::ApiError { status: None, message };
    }
    let parsed: Error = serde_json::from_str(error.get()).unwrap_or_default();
    let message = parsed.message.unwrap_or_else(|| error.get().chars().take(200).collect());
    NoEntries::ApiError { status: parsed.status, message }
}

fn object(value: &RawValue) -> Option<Box<Members<'_>>> {
    match value.get().starts_with('{').then(|| inner(value).ok()).flatten()? {
        Node::Object(members) => Some(members),
        _ => None,
    }
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// A whole number, however JSON spells it.
fn number(value: &RawValue) -> Option<u64> {
    let whole = || {
        let number: f64 = serde_json::from_str(value.get()).ok()?;
        ((0.0..9e15).contains(&number) && number.fract() == 0.0).then_some(number as u64)
    };
    serde_json::from_str(value.get()).ok().or_else(whole)
}
