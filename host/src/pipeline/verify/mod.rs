//! Verifies a store: reads every object, and finds what is not what it should be.
//!
//! A pass lists the store, checks each document with everything derived from it, then every other object,
//! then the store as a whole. Other programs may change the store at the same time: a problem is reported
//! only if it is there again when the objects are read a second time. Nothing is written, except by a
//! repair, which makes again what can be made from raw documents and deletes what nothing needs. It never
//! deletes a raw document, a plugin, or rows that can't be made again.
//!
//! What no checksum covers is not found: the texts in the header of a raw document that an older host stored
//! (the playlist's name and owner, Spotify's mark of its state), and the counts of nulls in lineage.

mod checker;
mod context;
mod documents;
mod journal;
mod listing;
pub mod mend;
mod objects;
mod overview;
mod plugins;
mod raw;
mod repair;
pub mod report;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use futures_util::{StreamExt, stream};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::report::Empty;
use super::{
    PipelineError, Progress, Transform,
    active::{PluginPlace, Shelf},
    jobs::{Jobs, Until},
};
use crate::{
    config::Limits,
    layout,
    remedy::Remedies,
    store::{Store, StoreError},
};
use checker::{Checker, Look};
use context::Context;
use journal::Journal;
use listing::{Listing, Unit};
use overview::{Facts, unread};
use repair::{Whys, repair};
use report::{Checked, Finding, Outcome, Reported, Resumed, VerifyReport};

/// What a verification needs.
pub struct Verify<'s> {
    /// The store.
    pub store: &'s dyn Store,
    /// What to call the store in a command.
    pub name: String,
    /// Where the plugins are.
    pub plugins: PluginPlace<'s>,
    /// Those that are loaded already.
    pub shelf: &'s Shelf,
    /// The limits.
    pub limits: Limits,
    /// How many objects are hashed and parsed at a time.
    pub jobs: usize,
    /// The time.
    pub now: OffsetDateTime,
    /// Shows how far it is.
    pub progress: &'s dyn Progress,
    /// Where to keep what is checked, so that an interrupted pass is continued.
    pub journal: Option<JournalPlace>,
    /// Whether an interrupted pass is continued.
    pub start: Start,
    /// Whether anything is repaired.
    pub effect: Effect,
    /// How long a problem must last to be reported.
    pub patience: Duration,
}

/// Where to keep what is checked.
#[derive(Clone, Debug)]
pub struct JournalPlace {
    /// The cache folder, in which journals have a folder of their own.
    pub folder: PathBuf,
    /// What tells the store from all others, wherever this program is started.
    pub store: String,
}

/// Where a pass begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Where an interrupted one ended.
    Continue,
    /// At the start.
    Restart,
}

/// Whether anything is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing is written to the store.
    Check,
    /// What is safe is repaired.
    Repair,
}

/// What came of one pass.
struct Pass {
    context: Context,
    listing: Listing,
    facts: Facts,
    findings: Vec<Finding>,
    documents: usize,
    objects_read: u64,
    bytes_read: u64,
    /// How many units the journal knew.
    known: usize,
}

/// A unit that is to be checked.
struct Due {
    unit: Unit,
    keys: Vec<String>,
    stamp: String,
    /// The size of its largest object.
    bytes: u64,
}

impl Verify<'_> {
    /// Verifies the store.
    ///
    /// # Errors
    ///
    /// If the store can't be reached, or this machine can't run plugins. A pass that was interrupted this
    /// way is continued by the next one.
    pub async fn run(&self) -> Result<VerifyReport, PipelineError> {
        let place = self.journal.as_ref();
        let folder = place.map(|place| place.folder.as_path());
        let store = place.map_or("", |place| place.store.as_str());
        let mut journal = Journal::open(folder, store, self.start, self.now);
        let continues = journal.continues();
        let first = self.pass(&mut journal).await?;
        let resumed = continues.map(|began| Resumed {
            started_at: began.format(&Rfc3339).unwrap_or_default(),
            checked: first.known,
        });
        let is_due =
            self.effect == Effect::Repair && first.findings.iter().any(Finding::is_problem);
        let report = if is_due {
            let whys = repair(self, &first).await?;
            let second = self.pass(&mut journal).await?;
            self.report(second, Some((first.findings, whys)))
        } else {
            self.report(first, None)
        };
        journal.finish();
        Ok(VerifyReport { resumed, ..report })
    }

    /// Whether the plugins are those of the store.
    fn has_own_plugins(&self) -> bool {
        self.plugins.prefix == layout::PLUGINS
    }

    /// What a replay needs.
    fn transform(&self) -> Transform<'_> {
        Transform {
            store: self.store,
            plugins: self.plugins,
            shelf: self.shelf,
            limits: self.limits.clone(),
            jobs: self.jobs,
            formats: None,
            now: self.now,
            until: Until::default(),
            future: crate::document::FutureTimes::Allowed,
            // A repair makes tables again and decides nothing.
            empty: Empty::Allowed,
            pages: None,
            progress: self.progress,
        }
    }

    /// Goes once over the store.
    async fn pass(&self, journal: &mut Journal) -> Result<Pass, PipelineError> {
        let context = Context::load(self).await?;
        let listing = Listing::of(self.store, self.progress).await?;
        let jobs = Jobs::new(self.jobs, Until::default(), &self.limits);
        let units = listing.units();
        self.progress.begin("verify", units.len());
        let documents = units.keys().filter(|unit| matches!(unit, Unit::Document(_))).count();
        let mut pass = Pass { documents, ..Pass::new(context, listing) };
        let mut due = Vec::new();
        for (unit, places) in units {
            let stamp = pass.listing.stamp(&unit, &places, &pass.context.digest);
            if let Some(checked) = journal.find(&unit.name(), &stamp) {
                pass.known += 1;
                pass.add(&unit, checked.clone());
                self.progress.advance();
                continue;
            }
            due.push((unit, places, stamp));
        }
        if let Some(began) = journal.continues() {
            let (known, began) = (pass.known, began.format(&Rfc3339).unwrap_or_default());
            tracing::info!("continues the pass of {began}: {known} checked before");
        }
        let doubtful = self.check(due, &mut pass, &jobs, journal).await?;
        self.progress.end();
        let is_whole = |pass: &Pass| {
            let findings = self.checker(pass, &jobs, Look::Listed).overview(&pass.facts);
            !findings.iter().any(Finding::is_problem)
        };
        if !doubtful.is_empty() || !is_whole(&pass) {
            tokio::time::sleep(self.patience).await;
            pass.context = Context::load(self).await?;
            self.confirm(doubtful, &mut pass, &jobs, journal).await?;
        }
        let overview = self.checker(&pass, &jobs, Look::Listed).overview(&pass.facts);
        pass.findings.extend(overview);
        let unread = unread(self, &pass.context, &pass.facts).await?;
        pass.findings.extend(unread);
        pass.findings.sort_by(|one, other| {
            let order = |finding: &Finding| (finding.severity, finding.key.clone(), finding.kind);
            order(one).cmp(&order(other))
        });
        Ok(pass)
    }

    fn checker<'v>(&'v self, pass: &'v Pass, jobs: &'v Jobs, look: Look) -> Checker<'v> {
        Checker { verify: self, context: &pass.context, listing: &pass.listing, look, jobs }
    }

    /// Checks units. Returns those of which something was found that may have passed by now.
    async fn check(
        &self,
        due: Vec<(Unit, listing::Places, String)>,
        pass: &mut Pass,
        jobs: &Jobs,
        journal: &mut Journal,
    ) -> Result<Vec<Due>, StoreError> {
        let (mut doubtful, mut certain) = (Vec::new(), Vec::new());
        let checker = self.checker(pass, jobs, Look::Listed);
        let checks = stream::iter(due).map(|(unit, places, stamp)| {
            let checker = &checker;
            async move {
                let due = Due::of(unit, &places, stamp, checker.listing);
                let checked = checker.unit(&due).await;
                (due, checked)
            }
        });
        let mut checks = checks.buffer_unordered(jobs.on_the_way());
        while let Some((due, checked)) = checks.next().await {
            let checked = checked?;
            self.progress.advance();
            if !checked.is_certain() {
                doubtful.push(due);
                continue;
            }
            journal.note(due.unit.name(), due.stamp, checked.clone());
            certain.push((due.unit, checked));
        }
        drop(checks);
        certain.into_iter().for_each(|(unit, checked)| pass.add(&unit, checked));
        Ok(doubtful)
    }

    /// Checks units again, with what the store has now.
    async fn confirm(
        &self,
        doubtful: Vec<Due>,
        pass: &mut Pass,
        jobs: &Jobs,
        journal: &mut Journal,
    ) -> Result<(), StoreError> {
        self.progress.begin("confirm", doubtful.len());
        let mut confirmed = Vec::new();
        let checker = self.checker(pass, jobs, Look::Now);
        let checks = stream::iter(doubtful).map(|due| {
            let checker = &checker;
            async move {
                let checked = checker.unit(&due).await;
                (due, checked)
            }
        });
        let mut checks = checks.buffer_unordered(jobs.on_the_way());
        while let Some((due, checked)) = checks.next().await {
            let checked = checked?;
            self.progress.advance();
            journal.note(due.unit.name(), due.stamp, checked.clone());
            confirmed.push((due.unit, checked));
        }
        drop(checks);
        self.progress.end();
        confirmed.into_iter().for_each(|(unit, checked)| pass.add(&unit, checked));
        Ok(())
    }

    /// The report of a pass; after a repair, with what was found before and why it was not repaired.
    fn report(&self, pass: Pass, repaired: Option<(Vec<Finding>, Whys)>) -> VerifyReport {
        let root = self.store.location("");
        let remedies = Remedies { root: &root, store: &self.name };
        let mut findings = Vec::new();
        let (before, whys) = repaired.unwrap_or_default();
        let now: BTreeSet<_> = pass.findings.iter().map(Finding::subject).collect();
        for finding in before.iter().filter(|finding| finding.is_problem()) {
            let outcome = match now.contains(&finding.subject()) {
                true => Outcome::NotRepaired { why: whys.of(finding) },
                false => Outcome::Repaired,
            };
            findings.push(Reported::of(finding.clone(), Some(outcome), remedies));
        }
        let known: BTreeSet<_> = before.iter().map(Finding::subject).collect();
        let is_new = |now: &&Finding| !now.is_problem() || !known.contains(&now.subject());
        let new = pass.findings.iter().filter(is_new);
        findings.extend(new.map(|finding| Reported::of(finding.clone(), None, remedies)));
        findings.sort_by_key(|finding| finding.severity);
        let problems = findings.iter().filter(|finding| finding.is_left()).count();
        let is_repaired = |finding: &&Reported| finding.repair == Some(Outcome::Repaired);
        let repaired = findings.iter().filter(is_repaired).count();
        VerifyReport {
            store: root.clone(),
            resumed: None,
            documents: pass.documents,
            objects: pass.listing.len(),
            objects_read: pass.objects_read,
            bytes_read: pass.bytes_read,
            problems,
            repaired,
            notes: findings.len() - problems - repaired,
            findings,
            exit_status: u8::from(problems > 0),
        }
    }
}

impl Checker<'_> {
    /// Checks a unit, when there is room for its largest object.
    async fn unit(&self, due: &Due) -> Result<Checked, StoreError> {
        let _room = self.jobs.room(due.bytes).await;
        match &due.unit {
            Unit::Document(id) => self.document(id, &due.keys).await,
            Unit::Object(key) => self.object(key).await,
        }
    }
}

impl Due {
    fn of(unit: Unit, places: &[u32], stamp: String, listing: &Listing) -> Self {
        let entries: Vec<_> = places.iter().filter_map(|place| listing.at(*place)).collect();
        let bytes = entries.iter().map(|entry| entry.size).max().unwrap_or_default();
        let keys = entries.iter().map(|entry| entry.key.to_string()).collect();
        Due { unit, keys, stamp, bytes }
    }
}

impl Pass {
    fn new(context: Context, listing: Listing) -> Self {
        let (facts, findings) = (Facts::new(), Vec::new());
        let (documents, objects_read, bytes_read, known) = (0, 0, 0, 0);
        Pass { context, listing, facts, findings, documents, objects_read, bytes_read, known }
    }

    fn add(&mut self, unit: &Unit, checked: Checked) {
        self.objects_read += checked.objects;
        self.bytes_read += checked.bytes;
        self.findings.extend(checked.findings);
        if let Unit::Document(id) = unit {
            for fact in checked.facts {
                self.facts.entry(fact).or_default().push(id.clone());
            }
        }
    }
}
