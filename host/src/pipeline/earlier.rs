//! Compares the documents of a run with the snapshots before them, some at a time.

use std::collections::HashMap;

use time::OffsetDateTime;

use super::{
    lineage::{Lineage, jumps},
    report::DocumentReport,
    transform::Outcome,
};
use crate::{
    config::LINEAGE_BYTES_MAX,
    document::{DocumentId, PlaylistId},
    layout::{self, Key},
    store::{Store, StoreError, list_all},
};

/// How many playlists a warning names.
const PLAYLISTS_NAMED_MAX: usize = 5;

/// What is known of earlier snapshots. Lineages are kept no longer than the documents that are compared at a time:
/// across these they are read from the store again.
pub struct Earlier<'s> {
    store: &'s dyn Store,
    now: OffsetDateTime,
    /// The snapshots of playlists that have tables, oldest first: those in the store, and those of this run.
    histories: HashMap<PlaylistId, Vec<DocumentId>>,
}

impl<'s> Earlier<'s> {
    /// Knows nothing yet.
    pub fn new(store: &'s dyn Store, now: OffsetDateTime) -> Self {
        Earlier { store, now, histories: HashMap::new() }
    }

    /// Warns of tables that differ much from those of the playlist's last snapshot.
    pub async fn compare(&mut self, outcomes: Vec<Outcome>) -> Vec<DocumentReport> {
        let (mut reports, mut stored, mut lineages) = (Vec::new(), Vec::new(), HashMap::new());
        for (place, Outcome { report, lineage }) in outcomes.into_iter().enumerate() {
            reports.push(report);
            if let Some((id, lineage)) = lineage {
                stored.push((place, id.clone()));
                lineages.insert(id, lineage);
            }
        }
        for (_, id) in &stored {
            self.add(id);
        }
        for (place, id) in stored {
            let warnings = &mut reports[place].warnings;
            match self.jumps(&id, &mut lineages).await {
                Ok(jumps) => warnings.extend(jumps),
                Err(error) => {
                    warnings.push(format!("not compared with the last snapshot: {error}"));
                }
            }
        }
        reports
    }

    /// Adds a snapshot of this run to the history of its playlist, if that was read before.
    fn add(&mut self, id: &DocumentId) {
        let Some(history) = self.histories.get_mut(&id.playlist_id) else { return };
        let order = |id: &DocumentId| (id.extracted_at, id.hash8.clone());
        if let Err(place) = history.binary_search_by_key(&order(id), order) {
            history.insert(place, id.clone());
        }
    }

    async fn jumps(
        &mut self,
        id: &DocumentId,
        lineages: &mut HashMap<DocumentId, Lineage>,
    ) -> Result<Vec<String>, StoreError> {
        let Some(last) = self.last_before(id).await? else { return Ok(Vec::new()) };
        if !lineages.contains_key(&last) {
            let key = Key::Lineage { document: last.clone() }.to_string();
            let object = self.store.get_within(&key, LINEAGE_BYTES_MAX).await?;
            let read = object.and_then(|object| Lineage::parse(&object.bytes, &last).ok());
            lineages.extend(read.map(|lineage| (last.clone(), lineage)));
        }
        let (last, now) = (lineages.get(&last), lineages.get(id));
        Ok(last.zip(now).map(|(last, now)| jumps(last, now)).unwrap_or_default())
    }

    /// The playlist's last snapshot before a document.
    async fn last_before(&mut self, id: &DocumentId) -> Result<Option<DocumentId>, StoreError> {
        if !self.histories.contains_key(&id.playlist_id) {
            let history = snapshots(self.store, id.playlist_id.as_str()).await?;
            self.histories.insert(id.playlist_id.clone(), history);
        }
        let history = self.histories.get(&id.playlist_id).map_or(&[][..], Vec::as_slice);
        let end = history.partition_point(|other| other.extracted_at < id.extracted_at);
        Ok(history[..end].last().cloned())
    }

    /// Warns of snapshots in the future, of the playlists that this run had to do with.
    pub fn future_warning(&self) -> Option<String> {
        let in_future = |id: &&DocumentId| id.extracted_at.is_in_future(self.now);
        let (mut count, mut newest) = (0, Vec::new());
        for history in self.histories.values() {
            let found = history.iter().rev().take_while(in_future).count();
            count += found;
            newest.extend(history.last().filter(|_| found > 0));
        }
        newest.sort();
        let names: Vec<_> =
            newest.iter().take(PLAYLISTS_NAMED_MAX).map(ToString::to_string).collect();
        let is_are = if count == 1 { "snapshot is" } else { "snapshots are" };
        (count > 0).then(|| {
            format!(
                "{count} {is_are} dated in the future, and stay the newest of their playlists until then: {}{} (`spotify-etl explain` says where they come from; import them again with the right --extracted-at, and delete these with their table files)",
                names.join(", "),
                if newest.len() > names.len() { ", ..." } else { "" }
            )
        })
    }
}

/// A playlist's snapshots that have tables, oldest first.
async fn snapshots(store: &dyn Store, playlist: &str) -> Result<Vec<DocumentId>, StoreError> {
    let listed = list_all(store, &layout::lineage_prefix(playlist)).await?;
    let document = |key: &str| match key.parse() {
        Ok(Key::Lineage { document }) if document.playlist_id.as_str() == playlist => {
            Some(document)
        }
        _ => None,
    };
    let mut found: Vec<_> = listed.iter().filter_map(|listed| document(&listed.key)).collect();
    found.sort_unstable();
    Ok(found)
}
