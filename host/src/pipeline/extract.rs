//! Reading playlists from Spotify and landing them: each whole, or not at all.

use std::time::Instant;

use futures_util::{StreamExt, stream};
use time::OffsetDateTime;
use tokio::time::timeout_at;
use tracing::Instrument;

use super::{
    PipelineError, Progress,
    landing::{ImportMode, Known, land},
    playlists::ListedPlaylist,
    report::{Action, ExtractReport, ExtractStatus, ImportStatus, Problem},
};
use crate::{
    config::Limits,
    document::{Document, DocumentId, Extracted, ExtractedAt, Refused},
    layout::{Key, Stage},
    sources::{self, Origin, TimeSource},
    spotify::{Budget, CredentialError, Metadata, PageRead, Spotify, SpotifyError},
    store::{Store, StoreError},
};

/// So many playlists are read at a time: enough to hide the way to Spotify and back, few enough
/// not to be a burden.
const PLAYLISTS_AT_ONCE: usize = 3;
/// After so many equal snapshots somebody may have forgotten to refresh a copy.
const EQUAL_SNAPSHOTS: usize = 3;

/// What an extraction needs.
pub struct Extract<'s> {
    /// The store.
    pub store: &'s dyn Store,
    /// Spotify.
    pub spotify: &'s Spotify,
    /// Whether a playlist is landed though it didn't change.
    pub condition: Condition,
    /// When this was planned for, if it was: what was landed since is done.
    pub scheduled_at: Option<OffsetDateTime>,
    /// The limits.
    pub limits: Limits,
    /// The time: of all documents of this run.
    pub now: OffsetDateTime,
    /// When it must be over, if there is such a time.
    pub until: Option<Instant>,
    /// Who watches.
    pub progress: &'s dyn Progress,
}

/// When a playlist is landed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Every time: a week without a snapshot is a gap in a chart.
    Always,
    /// If Spotify's mark of its state is another one than that of the last document.
    IfChanged,
}

/// What became of the playlists.
#[derive(Debug, Default)]
pub struct Extraction {
    /// Each of them, in the order in which they were asked for.
    pub extracts: Vec<ExtractReport>,
    /// What went wrong beside them.
    pub problems: Vec<Problem>,
}

/// Why one playlist was not landed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Spotify(#[from] SpotifyError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    InTheWay(String),
    #[error(
        "there was no time left for it: nothing was landed (run it again, for fewer playlists at a time or with a longer time limit)"
    )]
    NoTime,
}

impl Failure {
    fn action(&self) -> Action {
        match self {
            Failure::Spotify(error) if error.is_transient() => Action::Retry,
            Failure::Store(_) | Failure::NoTime => Action::Retry,
            Failure::Spotify(_) => Action::Setup,
            Failure::Refused(_) | Failure::InTheWay(_) => Action::Document,
        }
    }
}

impl Extract<'_> {
    /// Lands playlists. What goes wrong with one is in the report, and stops no other.
    ///
    /// # Errors
    ///
    /// If no access token is to be had.
    pub async fn run(&self, playlists: &[ListedPlaylist]) -> Result<Extraction, PipelineError> {
        let extracted_at =
            ExtractedAt::new(self.now).map_err(|_| PipelineError::Clock { now: self.now })?;
        match self.until {
            Some(until) => timeout_at(until.into(), self.spotify.authorize())
                .await
                .map_err(|_| PipelineError::NoTime)??,
            None => self.spotify.authorize().await?,
        };
        self.progress.begin("extract", 0);
        let each = stream::iter(playlists).map(|playlist| {
            let span = tracing::info_span!("playlist", playlist = %playlist.id);
            self.one(playlist, extracted_at).instrument(span)
        });
        let extracts = each.buffered(PLAYLISTS_AT_ONCE).collect().await;
        self.progress.end();
        let problem = self.spotify.problem().await;
        let action = |error: &CredentialError| {
            if error.is_transient() { Action::Retry } else { Action::Setup }
        };
        let problems = problem.iter().map(|error| Problem::new(action(error), error)).collect();
        Ok(Extraction { extracts, problems })
    }

    async fn one(&self, playlist: &ListedPlaylist, extracted_at: ExtractedAt) -> ExtractReport {
        let mut report = blank(playlist);
        let mut budget = self.spotify.budget();
        let steps = self.steps(playlist, extracted_at, &mut budget, &mut report);
        let done = match self.until {
            Some(until) => timeout_at(until.into(), steps).await,
            None => Ok(steps.await),
        };
        report.requests = budget.requests;
        if let Err(failure) = done.unwrap_or(Err(Failure::NoTime)) {
            report.problem = Some(Problem::new(failure.action(), failure));
        }
        report
    }

    async fn steps(
        &self,
        playlist: &ListedPlaylist,
        extracted_at: ExtractedAt,
        budget: &mut Budget,
        report: &mut ExtractReport,
    ) -> Result<(), Failure> {
        let id = &playlist.id;
        let known = Known::default();
        let newest = newest(&known.of(self.store, id).await?, extracted_at);
        if let (Some((stage, last)), Some(scheduled_at)) = (&newest, self.scheduled_at)
            && last.extracted_at.moment() >= scheduled_at
        {
            report.status = ExtractStatus::Done;
            name(report, *stage, last);
            return Ok(());
        }
        let mut metadata = self.spotify.metadata(id, budget).await?;
        describe(report, &metadata);
        if self.condition == Condition::IfChanged
            && let Some((stage, last)) = newest
            && metadata.snapshot_id.is_some()
            && metadata.snapshot_id == self.comparable_snapshot_id(stage, &last).await?
        {
            report.status = ExtractStatus::Unchanged;
            name(report, stage, &last);
            return Ok(());
        }
        let pages = self.spotify.pages(id, &mut metadata, budget, &|read| self.watch(read)).await?;
        describe(report, &metadata);
        let Metadata { name, owner, snapshot_id, .. } = metadata;
        let market = self.spotify.market().map(str::to_owned);
        let fields = self.spotify.fields().map(str::to_owned);
        let about = Extracted {
            playlist_id: id.clone(),
            name,
            owner,
            snapshot_id,
            extracted_at,
            market,
            fields,
        };
        report.pages = Some(pages.bodies.len());
        report.bytes = Some(pages.bodies.iter().map(|body| body.len() as u64).sum());
        let document = Document::extracted(about, pages.bodies, &self.limits)?;
        report.entries = Some(document.entries());
        let landed =
            land(self.store, &document, TimeSource::Content, ImportMode::Land, &known).await?;
        let (status, id, key) = landed.map_err(Failure::InTheWay)?;
        report.status = match status {
            ImportStatus::Waiting => ExtractStatus::Waiting,
            ImportStatus::Processed => ExtractStatus::Processed,
            _ => ExtractStatus::Landed,
        };
        report.document = Some(id.to_string());
        report.key = Some(key.to_string());
        report.warnings.extend(standing_still(&known.of(self.store, &id.playlist_id).await?));
        Ok(())
    }

    fn watch(&self, read: PageRead) {
        match read {
            PageRead::Of(pages) => self.progress.expect(usize::try_from(pages).unwrap_or(0)),
            PageRead::One => self.progress.advance(),
        }
    }

    /// Spotify's mark of a playlist's state when a document was landed, if that one is whole and of
    /// the same country, as the next would be.
    async fn comparable_snapshot_id(
        &self,
        stage: Stage,
        document: &DocumentId,
    ) -> Result<Option<String>, StoreError> {
        // It may be moved meanwhile.
        for stage in [stage, Stage::Processed] {
            let key = Key::Raw { stage, document: document.clone() }.to_string();
            let Some(object) = self.store.get(&key).await? else { continue };
            let origin = Origin::of(&key, object.modified);
            let read = sources::read(&object.bytes, &origin, &self.limits);
            let alike = |document: &Document| {
                document.complete() == Some(true)
                    && document.market() == self.spotify.market()
                    && document.fields() == self.spotify.fields()
            };
            let document = read.ok().map(|read| read.document).filter(alike);
            return Ok(document.and_then(|document| document.snapshot_id().map(str::to_owned)));
        }
        Ok(None)
    }
}

fn blank(playlist: &ListedPlaylist) -> ExtractReport {
    ExtractReport {
        playlist_id: playlist.id.to_string(),
        label: playlist.label.clone(),
        playlist_name: None,
        status: ExtractStatus::Failed,
        document: None,
        key: None,
        snapshot_id: None,
        entries: None,
        pages: None,
        bytes: None,
        requests: 0,
        warnings: Vec::new(),
        problem: None,
    }
}

fn describe(report: &mut ExtractReport, metadata: &Metadata) {
    report.playlist_name = metadata.name.clone();
    report.snapshot_id = metadata.snapshot_id.clone();
}

fn name(report: &mut ExtractReport, stage: Stage, document: &DocumentId) {
    report.key = Some(Key::Raw { stage, document: document.clone() }.to_string());
    report.document = Some(document.to_string());
}

/// The newest until now: one that somebody dated in the future takes no week's place.
fn newest(documents: &[(Stage, DocumentId)], now: ExtractedAt) -> Option<(Stage, DocumentId)> {
    let past = documents.iter().filter(|(_, document)| document.extracted_at <= now);
    past.max_by_key(|(_, document)| document.extracted_at).cloned()
}

/// Says if the newest snapshots of a playlist have the same pages.
fn standing_still(documents: &[(Stage, DocumentId)]) -> Option<String> {
    let mut snapshots: Vec<&DocumentId> = documents.iter().map(|(_, document)| document).collect();
    snapshots.sort_by_key(|document| document.extracted_at);
    snapshots.dedup();
    let newest = snapshots.last()?;
    let equal = snapshots.iter().rev().take_while(|other| other.hash8 == newest.hash8);
    let (count, first) = equal.fold((0, None), |(count, _), other| (count + 1, Some(other)));
    let since = first?.extracted_at.moment().date();
    (count >= EQUAL_SNAPSHOTS).then(|| {
        format!(
            "its last {count} snapshots are the same, since {since} (if this is your copy of a chart, refresh the copy)"
        )
    })
}
