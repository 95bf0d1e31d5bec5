//! A playlist, whole: what it is, then its pages one after another, and whether these are all.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    Settings, Spotify,
    error::SpotifyError,
    http::{Answer, Budget},
};
use crate::document::PlaylistId;

macro_rules! slim_track {
    () => {
        "id,name,type,uri,is_local,duration_ms,explicit,popularity,disc_number,track_number,\
         external_ids,external_urls,artists(id,name,type,uri,external_urls),\
         album(id,name,type,uri,album_type,release_date,release_date_precision,total_tracks,\
         external_urls,artists(id,name,type,uri,external_urls))"
    };
}

/// What is asked of the playlist itself.
const FIELDS: &str = "id,name,owner(id,display_name),snapshot_id,tracks.total,items.total";
/// That takes some hundred bytes.
const METADATA_BYTES_MAX: u64 = 1024 * 1024;
/// Without it, episodes would come as made-up tracks.
const TYPES: &str = "track,episode";

/// A filter that leaves out what takes most room and no table has: the markets that a track is
/// available in, images, the profile of who added it. Asks for both spellings of an entry's
/// content; names that aren't there are ignored.
pub const SLIM_FIELDS: &str = concat!(
    "href,limit,next,offset,total,items(added_at,added_by.id,is_local,item(",
    slim_track!(),
    "),track(",
    slim_track!(),
    "))"
);

/// What a playlist is, beside its entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Its name.
    pub name: Option<String>,
    /// Its owner's display name, else id.
    pub owner: Option<String>,
    /// The mark of its state: another state, another mark.
    pub snapshot_id: Option<String>,
    /// How many items it has, where this account and app are told.
    pub total: Option<u64>,
}

/// A playlist's entries, all of them.
#[derive(Debug)]
pub struct Pages {
    /// The response bodies as received, without BOM and outer white space.
    pub bodies: Vec<String>,
    /// How many entries are in them.
    pub entries: u64,
}

/// What a page says beside its entries.
#[derive(Deserialize)]
struct Page {
    next: Option<String>,
    total: Option<u64>,
    items: Vec<IgnoredAny>,
}

/// What one attempt to read a playlist came to.
enum Attempt {
    Whole(Pages),
    /// Why it is not.
    Partial(String),
}

impl Spotify {
    /// What a playlist is, without its entries. The cheap way to see whether it changed.
    ///
    /// # Errors
    ///
    /// If it isn't shown.
    pub async fn metadata(
        &self,
        id: &PlaylistId,
        budget: &mut Budget,
    ) -> Result<Metadata, SpotifyError> {
        let mut url = self.api.address(&["playlists", id.as_str()]);
        url.query_pairs_mut().append_pair("fields", FIELDS);
        let answer = self.get(url, budget, METADATA_BYTES_MAX).await?;
        self.check_clock(&answer)?;
        if answer.status == 400 {
            return Err(SpotifyError::BadId { id: id.clone(), said: answer.said() });
        }
        if !answer.is_success() {
            return Err(answer.said().about(id));
        }
        let body: Value = answer.json()?;
        if body.get("error").is_some() || !body.is_object() {
            return Err(answer.unusable(&format!("no playlist ({})", answer.said())));
        }
        let text = |value: &Value| {
            value.as_str().filter(|text| !text.is_empty()).map(|text| answer.clean(text))
        };
        let owner = &body["owner"];
        Ok(Metadata {
            name: body["name"].as_str().map(|name| answer.clean(name)),
            owner: text(&owner["display_name"]).or_else(|| text(&owner["id"])),
            snapshot_id: text(&body["snapshot_id"]),
            total: body["items"]["total"].as_u64().or_else(|| body["tracks"]["total"].as_u64()),
        })
    }

    /// The entries of a playlist, whole. If it changed while it was read, it is read once more.
    /// `read` is called with the number of pages there will be, and for each that is there.
    ///
    /// # Errors
    ///
    /// If they aren't shown, or are not whole the second time either.
    pub async fn pages(
        &self,
        id: &PlaylistId,
        metadata: &mut Metadata,
        budget: &mut Budget,
        read: &(dyn Fn(PageRead) + Sync),
    ) -> Result<Pages, SpotifyError> {
        let why = match self.attempt(id, metadata, budget, read).await? {
            Attempt::Whole(pages) => return Ok(pages),
            Attempt::Partial(why) => why,
        };
        tracing::warn!("playlist `{id}` was not whole: {why}; it is read once more");
        *metadata = self.metadata(id, budget).await?;
        match self.attempt(id, metadata, budget, read).await? {
            Attempt::Whole(pages) => Ok(pages),
            Attempt::Partial(why) => Err(SpotifyError::Incomplete { id: id.clone(), why }),
        }
    }

    /// Whether this account and app are shown a playlist's entries: the smallest page of them.
    ///
    /// # Errors
    ///
    /// If not.
    pub async fn peek(&self, id: &PlaylistId, budget: &mut Budget) -> Result<u64, SpotifyError> {
        let settings = Settings { page_entries: 1, fields: None, ..self.settings.clone() };
        let answer = self.first_page(id, &settings, budget).await?;
        Ok(page(&answer)?.total.unwrap_or_default())
    }

    async fn attempt(
        &self,
        id: &PlaylistId,
        metadata: &Metadata,
        budget: &mut Budget,
        read: &(dyn Fn(PageRead) + Sync),
    ) -> Result<Attempt, SpotifyError> {
        let limits = &self.settings.limits;
        let mut bytes_left = limits.document_bytes;
        let mut pages = Pages { bodies: Vec::new(), entries: 0 };
        let mut total = None;
        let mut asked = Vec::new();
        let mut answer = self.first_page(id, &self.settings, budget).await?;
        loop {
            if answer.body.len() as u64 > bytes_left {
                return Err(SpotifyError::TooLarge { id: id.clone(), max: limits.document_bytes });
            }
            bytes_left -= answer.body.len() as u64;
            let Page { next, total: now, items } = page(&answer)?;
            pages.bodies.push(answer.text()?.to_owned());
            pages.entries += items.len() as u64;
            let Some(now) = now else { return Err(answer.unusable("a page without `total`")) };
            let first = *total.get_or_insert(now);
            if first != now {
                let why = format!("its total went from {first} to {now} entries");
                return Ok(Attempt::Partial(why));
            }
            if pages.bodies.len() == 1 {
                let each = u64::from(self.settings.page_entries).max(1);
                read(PageRead::Of(first.div_ceil(each).max(1)));
            }
            read(PageRead::One);
            let next = next.filter(|next| !next.is_empty() && pages.entries <= first);
            let Some(next) = next else { break };
            let url = self.api.own(&answer, &next, &format!("/playlists/{id}/"))?;
            if asked.contains(&url) {
                return Err(SpotifyError::Circle { next: answer.shown(&next) });
            }
            if pages.bodies.len() as u64 >= limits.playlist_pages {
                let max = limits.playlist_pages;
                return Err(SpotifyError::TooManyPages { id: id.clone(), max });
            }
            asked.push(url.clone());
            answer = self.get(url, budget, bytes_left).await?;
            if !answer.is_success() {
                return Err(answer.said().about(id));
            }
        }
        // A filter may leave out what says that there are more pages.
        let whole = metadata.total.filter(|_| self.settings.fields.is_some());
        let (entries, total) = (pages.entries, whole.or(total).unwrap_or_default());
        if entries == total {
            return Ok(Attempt::Whole(pages));
        }
        Ok(Attempt::Partial(format!("{entries} entries came, and its total is {total}")))
    }

    /// The first page: from the address that all apps have, or, where only that one works, from the
    /// older one.
    async fn first_page(
        &self,
        id: &PlaylistId,
        settings: &Settings,
        budget: &mut Budget,
    ) -> Result<Answer, SpotifyError> {
        let answer = self.entries_at("items", id, settings, budget).await?;
        if answer.is_success() {
            return Ok(answer);
        }
        let said = answer.said();
        if said.may_differ_elsewhere() {
            let older = self.entries_at("tracks", id, settings, budget).await?;
            if older.is_success() {
                tracing::debug!("playlist `{id}`: {said}; the older address works");
                return Ok(older);
            }
        }
        Err(said.about(id))
    }

    async fn entries_at(
        &self,
        address: &str,
        id: &PlaylistId,
        settings: &Settings,
        budget: &mut Budget,
    ) -> Result<Answer, SpotifyError> {
        let mut url = self.api.address(&["playlists", id.as_str(), address]);
        url.query_pairs_mut()
            .append_pair("limit", &settings.page_entries.to_string())
            .append_pair("additional_types", TYPES)
            .extend_pairs(settings.market.as_ref().map(|market| ("market", market)))
            .extend_pairs(settings.fields.as_ref().map(|fields| ("fields", fields)));
        self.get(url, budget, settings.limits.document_bytes).await
    }
}

/// What there is to tell somebody who watches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PageRead {
    /// So many pages will come.
    Of(u64),
    /// One is there.
    One,
}

fn page(answer: &Answer) -> Result<Page, SpotifyError> {
    #[derive(Deserialize)]
    struct Marks {
        error: Option<IgnoredAny>,
        items: Option<IgnoredAny>,
    }
    let text = answer.text()?;
    serde_json::from_str(text).map_err(|error| match serde_json::from_str::<Marks>(text) {
        Ok(Marks { error: Some(_), .. }) if text.starts_with('{') => {
            answer.unusable(&format!("an error ({})", answer.said()))
        }
        Ok(Marks { items: None, .. }) if text.starts_with('{') => {
            answer.unusable("a page without `items`")
        }
        _ => answer.not_json(&error),
    })
}
