//! The playlists that a store is for, as its `playlists.json` lists them. People may edit it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    config::{Bytes, STORED_JSON_BYTES_MAX},
    document::PlaylistId,
    layout::Key,
    store::{Store, StoreError, update},
};

/// The format of the list.
const FORMAT: u32 = 1;

/// One playlist of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedPlaylist {
    /// Which.
    pub id: PlaylistId,
    /// What its owner calls it here.
    pub label: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct List {
    #[serde(default = "format")]
    format: u32,
    playlists: Vec<Item>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

fn format() -> u32 {
    FORMAT
}

/// What stands in the list, with what others may have added to it.
#[derive(Deserialize, Serialize)]
struct Item {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// What became of a playlist that was put on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Addition {
    /// It is on it now.
    Added,
    /// It was on it, and has another label now.
    Relabelled,
    /// It was on it.
    There,
}

/// The playlists of a store, in the order in which they were added.
///
/// # Errors
///
/// If the list can't be read.
pub async fn playlists(store: &dyn Store) -> Result<Vec<ListedPlaylist>, PlaylistsError> {
    let key = Key::Playlists.to_string();
    let object = store.get_within(&key, STORED_JSON_BYTES_MAX).await?;
    let list = read(store, object.as_ref().map(|object| object.bytes.as_ref()))?;
    let mut found: Vec<ListedPlaylist> = Vec::new();
    for item in &list.playlists {
        let one = listed(store, item)?;
        if found.iter().all(|other| other.id != one.id) {
            found.push(one);
        }
    }
    Ok(found)
}

/// Since when each playlist is on the list, where that was noted.
///
/// # Errors
///
/// If the list can't be read.
pub async fn listed_since(
    store: &dyn Store,
) -> Result<Vec<(ListedPlaylist, Option<OffsetDateTime>)>, PlaylistsError> {
    let key = Key::Playlists.to_string();
    let object = store.get_within(&key, STORED_JSON_BYTES_MAX).await?;
    let list = read(store, object.as_ref().map(|object| object.bytes.as_ref()))?;
    let since = |item: &Item| {
        let added_at = item.more.get("added_at").and_then(Value::as_str);
        added_at.and_then(|moment| OffsetDateTime::parse(moment, &Rfc3339).ok())
    };
    list.playlists.iter().map(|item| Ok((listed(store, item)?, since(item)))).collect()
}

/// Puts a playlist on the list, or gives it a new label.
///
/// # Errors
///
/// If the list can't be read or written.
pub async fn add(
    store: &dyn Store,
    id: &PlaylistId,
    label: Option<&str>,
    now: OffsetDateTime,
) -> Result<Addition, PlaylistsError> {
    let mut addition = Addition::There;
    update(store, &Key::Playlists.to_string(), |bytes| {
        let mut list = read(store, bytes)?;
        let mut there = None;
        for item in &mut list.playlists {
            if listed(store, item)?.id == *id {
                there = Some(item);
                break;
            }
        }
        addition = match there {
            Some(item) if label.is_none() || item.label.as_deref() == label => Addition::There,
            Some(item) => {
                item.label = label.map(str::to_owned);
                Addition::Relabelled
            }
            None => {
                let added_at = now.truncate_to_second().format(&Rfc3339).unwrap_or_default();
                list.playlists.push(Item {
                    id: id.to_string(),
                    label: label.map(str::to_owned),
                    more: Map::from_iter([("added_at".to_owned(), Value::String(added_at))]),
                });
                Addition::Added
            }
        };
        let changed = addition != Addition::There;
        Ok::<_, PlaylistsError>(changed.then(|| write(&list)))
    })
    .await?;
    Ok(addition)
}

/// Takes a playlist off the list, named by id or label. What was landed of it stays.
///
/// # Errors
///
/// If it isn't on it, or several have the label.
pub async fn remove(store: &dyn Store, name: &str) -> Result<ListedPlaylist, PlaylistsError> {
    let mut removed = None;
    update(store, &Key::Playlists.to_string(), |bytes| {
        let mut list = read(store, bytes)?;
        let all: Vec<ListedPlaylist> =
            list.playlists.iter().map(|item| listed(store, item)).collect::<Result<_, _>>()?;
        let found = named(&all, name);
        let [one] = found.as_slice() else {
            let location = store.location(&Key::Playlists.to_string());
            return Err(match found.as_slice() {
                [] => PlaylistsError::Unknown { name: name.to_owned(), location },
                several => PlaylistsError::Several {
                    label: name.to_owned(),
                    ids: several
                        .iter()
                        .map(|listed| listed.id.to_string())
                        .collect::<Vec<_>>()
                        .join(", "),
                },
            });
        };
        let mut ids = all.iter().map(|listed| listed.id != one.id);
        list.playlists.retain(|_| ids.next().unwrap_or(true));
        removed = Some((*one).clone());
        Ok(Some(write(&list)))
    })
    .await?;
    removed.ok_or_else(|| PlaylistsError::Unknown {
        name: name.to_owned(),
        location: store.location(&Key::Playlists.to_string()),
    })
}

/// The playlists that somebody means by a name: the one with such an id, URI or address, else those
/// with such a label.
fn named<'l>(list: &'l [ListedPlaylist], name: &str) -> Vec<&'l ListedPlaylist> {
    let id = PlaylistId::from_reference(name);
    match list.iter().find(|listed| Some(&listed.id) == id.as_ref()) {
        Some(listed) => vec![listed],
        None => list.iter().filter(|listed| listed.label.as_deref() == Some(name)).collect(),
    }
}

/// The playlists that are meant by names, each once; all of a list if nothing is named. What is on
/// the list under no such name is read as an id.
///
/// # Errors
///
/// What reading an id comes to.
pub fn meant<E>(
    list: Vec<ListedPlaylist>,
    names: &[String],
    id: impl Fn(&str) -> Result<PlaylistId, E>,
) -> Result<Vec<ListedPlaylist>, E> {
    if names.is_empty() {
        return Ok(list);
    }
    let mut found: Vec<ListedPlaylist> = Vec::new();
    for name in names {
        let mut meant: Vec<_> = named(&list, name).into_iter().cloned().collect();
        if meant.is_empty() {
            meant.push(ListedPlaylist { id: id(name)?, label: None });
        }
        meant.retain(|one| found.iter().all(|other| other.id != one.id));
        found.extend(meant);
    }
    Ok(found)
}

fn read(store: &dyn Store, bytes: Option<&[u8]>) -> Result<List, PlaylistsError> {
    let Some(bytes) = bytes else {
        return Ok(List { format: FORMAT, playlists: Vec::new(), more: Map::new() });
    };
    let bad = |problem: String| PlaylistsError::Damaged {
        location: store.location(&Key::Playlists.to_string()),
        problem,
    };
    if bytes.len() as u64 > STORED_JSON_BYTES_MAX {
        return Err(bad(format!("it has more than {}, the limit", Bytes(STORED_JSON_BYTES_MAX))));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let list: List = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
    match list.format {
        FORMAT => Ok(list),
        format => Err(bad(format!("its format is {format}, and this host reads {FORMAT}"))),
    }
}

fn listed(store: &dyn Store, item: &Item) -> Result<ListedPlaylist, PlaylistsError> {
    match PlaylistId::from_reference(&item.id) {
        Some(id) => Ok(ListedPlaylist { id, label: item.label.clone() }),
        None => Err(PlaylistsError::Damaged {
            location: store.location(&Key::Playlists.to_string()),
            problem: format!("`{}` is not a playlist's id or address", item.id),
        }),
    }
}

fn write(list: &List) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(list).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// What is wrong with the list.
#[derive(Debug, thiserror::Error)]
pub enum PlaylistsError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It can't be read.
    #[error(
        "{location} is not a list of playlists: {problem} (mend it: {{\"format\": 1, \"playlists\": [{{\"id\": \"...\", \"label\": \"...\"}}]}}; or delete it, and add them again with `spotify-etl playlist add`)"
    )]
    Damaged {
        /// Where.
        location: String,
        /// What is wrong.
        problem: String,
    },
    /// Not on it.
    #[error("`{name}` is not in {location} (`spotify-etl playlist list` shows what is)")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Where.
        location: String,
    },
    /// More than one.
    #[error("several playlists have the label `{label}` (name one by its id: {ids})")]
    Several {
        /// The label.
        label: String,
        /// Those that have it.
        ids: String,
    },
}
