//! Checks the objects that belong to no document: what waits or failed under another program's name, table
//! records, run reports, lists, and what should not be there.

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;
use time::Duration;

use super::{
    super::{
        cataloging::check_applied,
        playlists::{PlaylistsError, playlists},
        records::TableRecord,
        report::RunReport,
    },
    checker::{Checker, Read, too_large},
    listing::related,
    mend::Step,
    report::{Checked, Finding, Kind},
};
use crate::{
    config::Limits,
    document::Refused,
    layout::{Key, Stage},
    sources::{self, Origin},
    store::{Object, StoreError},
};

/// What tries whether a store keeps its conditions is there for less than this.
const PROBE_LASTS: Duration = Duration::minutes(10);

impl Checker<'_> {
    /// Checks an object that belongs to no document.
    ///
    /// # Errors
    ///
    /// If the store can't be reached.
    pub async fn object(&self, text: &str) -> Result<Checked, StoreError> {
        let mut checked = Checked::default();
        // It may be gone since it was listed.
        let Some(seen) = self.see(text).await? else { return Ok(checked) };
        let Ok(key) = text.parse::<Key>() else {
            if let Read::Object(_) = self.exists(text).await? {
                let message = "is no key of a store: nothing reads it";
                let finding = Finding::problem(Kind::Unknown, text, message);
                checked.findings.push(finding.or(Step::MoveOut { key: text.to_owned() }));
            }
            return Ok(checked);
        };
        let (limit, max) = match key {
            Key::Plugin { .. } | Key::History { .. } => {
                ("plugin_bytes", self.verify.limits.plugin_bytes)
            }
            _ => ("document_bytes", self.verify.limits.document_bytes),
        };
        if seen.size > max {
            checked.findings.push(too_large(text, limit, max));
            return Ok(checked);
        }
        let object = match self.read(text, &mut checked).await? {
            Read::Object(object) => object,
            Read::Gone | Read::Failed => return Ok(checked),
        };
        match &key {
            Key::Foreign { stage: Stage::Failed, .. } => self.failed(&key, &mut checked).await?,
            Key::Foreign { .. } => {
                let limits = self.verify.limits.clone();
                let name = key.file_name();
                let found = self.work(move || foreign(&object, &name, &limits)).await;
                checked.findings.push(foreign_finding(text, found));
            }
            Key::FailedReason { .. } => self.reason(&key, &object.bytes, &mut checked).await?,
            Key::TableRecord { table } => {
                let found =
                    TableRecord::parse(table, &object.bytes).err().map(|why| why.to_string());
                checked.findings.extend(found.map(|why| self.bad_record(text, table, &why)));
            }
            Key::Run { run_id } => checked.findings.extend(run(&object.bytes, text, run_id)),
            Key::Playlists => checked.findings.extend(self.playlists(text).await?),
            Key::Catalog => {
                checked.findings.extend(check_applied(&object.bytes).err().map(|why| {
                    let message = format!("does not say which catalog Athena has: {why}");
                    let finding = Finding::problem(Kind::Unreadable, text, message);
                    finding.or([Step::delete(text), Step::ApplyCatalog])
                }))
            }
            Key::Probe { .. } => {
                if self.verify.now - object.modified > PROBE_LASTS {
                    let message = "was left behind when a program was killed: nothing reads it";
                    let finding = Finding::problem(Kind::Leftover, text, message);
                    checked.findings.push(finding.or(Step::delete(text)));
                }
            }
            Key::Plugin { .. }
            | Key::PluginError { .. }
            | Key::History { .. }
            | Key::HistoryRecord { .. }
            | Key::RequirePublish => self.of_plugins(&key, &object.bytes, &mut checked).await?,
            Key::RunPage { .. } | Key::LoadRecord { .. } => {
                if let Err(error) = serde_json::from_slice::<IgnoredAny>(&object.bytes) {
                    let finding = Finding::problem(Kind::Unreadable, text, error);
                    checked.findings.push(finding.or(Step::delete(text)));
                }
            }
            // They are checked with their document.
            Key::Raw { .. } | Key::Lineage { .. } | Key::TableFile { .. } => {}
        }
        Ok(checked)
    }

    /// Whether an object of which only the name matters is there, read only if the listing may be wrong.
    async fn exists(&self, key: &str) -> Result<Read, StoreError> {
        let empty = || Object::with_tag(Vec::new(), crate::store::Tag::Content(Bytes::new()));
        Ok(self.see(key).await?.map_or(Read::Gone, |_| Read::Object(empty())))
    }

    async fn reason(
        &self,
        key: &Key,
        bytes: &[u8],
        checked: &mut Checked,
    ) -> Result<(), StoreError> {
        let text = key.to_string();
        let mut owner = None;
        for candidate in related(key) {
            if owner.is_none() && self.see(&candidate).await?.is_some() {
                owner = Some(candidate);
            }
        }
        let Some(owner) = owner else {
            let message = "says why an object failed that is not there any more";
            let finding = Finding::problem(Kind::Orphan, &text, message);
            checked.findings.push(finding.or(Step::delete(&text)));
            return Ok(());
        };
        let read = serde_json::from_slice::<Value>(bytes).ok();
        if read.is_none_or(|reason| !reason["problem"].is_string()) {
            let message = format!("does not say why {owner} failed");
            let finding = Finding::problem(Kind::Unreadable, &text, message);
            let path = owner.strip_prefix(Stage::Failed.prefix()).unwrap_or(&owner);
            let to = format!("{}{path}", Stage::ToProcess.prefix());
            let back = Step::Move { key: owner.clone(), to: to.clone() };
            checked.findings.push(finding.or([Step::delete(&text), back, Step::transform(to)]));
        }
        Ok(())
    }

    fn bad_record(&self, key: &str, table: &str, why: &str) -> Finding {
        let message = format!("is not the record of table `{table}`: {why}");
        let finding = Finding::problem(Kind::Unreadable, key, message);
        self.new_record(table, finding, Some(Step::delete(key)))
    }

    async fn playlists(&self, key: &str) -> Result<Option<Finding>, StoreError> {
        match playlists(self.verify.store).await {
            Ok(_) => Ok(None),
            Err(PlaylistsError::Store(error)) => Err(error),
            Err(error) => {
                let finding = Finding::problem(Kind::Unreadable, key, error);
                Ok(Some(finding.or([Step::delete(key), Step::AddPlaylist])))
            }
        }
    }
}

/// Tries to read what another program put among the documents that wait.
fn foreign(object: &Object, name: &str, limits: &Limits) -> Result<(), Refused> {
    let origin = Origin::of(name, object.modified);
    sources::read(&object.bytes, &origin, limits).map(drop)
}

fn foreign_finding(key: &str, found: Result<Result<(), Refused>, String>) -> Finding {
    let refused = match found {
        Ok(Ok(())) => {
            let message = "was put there by another program, and waits for a transform";
            return Finding::note(Kind::Foreign, key, message).or(Step::transform(key));
        }
        Ok(Err(refused)) => refused,
        Err(panic) => return Finding::problem(Kind::Unreadable, key, panic),
    };
    let finding = Finding::problem(Kind::Unreadable, key, &refused);
    let (limit, key) = (|limit: &str| limit.to_owned(), key.to_owned());
    match refused {
        Refused::TooLarge { .. } => {
            finding.or(Step::TransformWithLimit { limit: limit("document_bytes"), key })
        }
        Refused::TooDeep { .. } => {
            finding.or(Step::TransformWithLimit { limit: limit("json_levels"), key })
        }
        Refused::TimeOutOfRange { .. } => {
            finding.or([Step::ImportAt { key: key.clone() }, Step::Delete { key }])
        }
        refused if refused.is_final() => finding.or(Step::transform(&key)).or(Step::delete(&key)),
        _ => finding.or(Step::MoveOut { key }),
    }
}

fn run(bytes: &[u8], key: &str, run_id: &str) -> Option<Finding> {
    let why = match serde_json::from_slice::<RunReport>(bytes) {
        Ok(report) if report.run_id == run_id => return None,
        Ok(report) => format!("it is about run `{}`", report.run_id.escape_debug()),
        Err(error) => error.to_string(),
    };
    let message = format!("is not the report of this run: {why}");
    let finding = Finding::problem(Kind::Unreadable, key, message);
    Some(finding.or(Step::delete(key)))
}
