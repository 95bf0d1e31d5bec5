//! Checks raw documents: the SHA-256 of their pages, their header, their key, and that each is in one stage.

use bytes::Bytes;
use time::OffsetDateTime;

use super::{
    checker::{Checker, Read, too_large},
    mend::Step,
    report::{Checked, Finding, Kind, Severity},
};
use crate::{
    config::Limits,
    document::{DocumentId, Refused},
    layout::{Key, Stage},
    sources::{self, Identity, Origin},
    store::StoreError,
};

/// The stages of raw documents, in the order in which documents move.
const STAGES: [Stage; 3] = [Stage::ToProcess, Stage::Failed, Stage::Processed];

/// The raw objects of a document.
#[derive(Debug)]
pub struct Raw {
    id: DocumentId,
    stages: Vec<Stage>,
}

impl Raw {
    /// Whether there is one in any stage.
    pub fn exists(&self) -> bool {
        !self.stages.is_empty()
    }

    /// Whether there is one in a stage.
    pub fn is_in(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }

    /// The command that makes the tables of the document again.
    pub fn remake(&self) -> Step {
        match self.stages.last() {
            Some(Stage::Processed) | None => Step::replay(&self.id),
            Some(stage) => Step::transform(key(*stage, &self.id)),
        }
    }
}

/// What is wrong with the content of a raw object.
struct Fault {
    severity: Severity,
    kind: Kind,
    message: String,
    /// Whether a transform sets the object aside.
    is_set_aside: bool,
    /// Whether its header was changed, so that an import rejects it, too.
    is_header_changed: bool,
}

impl Fault {
    fn new(kind: Kind, message: impl ToString) -> Self {
        let message = message.to_string();
        let severity = Severity::Problem;
        Fault { severity, kind, message, is_set_aside: false, is_header_changed: false }
    }
}

fn key(stage: Stage, id: &DocumentId) -> Key {
    Key::Raw { stage, document: id.clone() }
}

impl Checker<'_> {
    /// Checks the raw objects of a document.
    ///
    /// # Errors
    ///
    /// If the store can't be reached.
    pub async fn raw(&self, id: &DocumentId, checked: &mut Checked) -> Result<Raw, StoreError> {
        let (mut stages, mut faults) = (Vec::new(), Vec::new());
        for stage in STAGES {
            let text = key(stage, id).to_string();
            let Some(seen) = self.see(&text).await? else { continue };
            if stage == Stage::Failed {
                stages.push(stage);
                continue;
            }
            let max = self.verify.limits.document_bytes;
            if seen.size > max {
                stages.push(stage);
                checked.findings.push(too_large(&text, "document_bytes", max));
                continue;
            }
            match self.read(&text, checked).await? {
                Read::Gone => continue,
                Read::Failed => {}
                Read::Object(object) => {
                    let (id, limits) = (id.clone(), self.verify.limits.clone());
                    let found = self.work(move || fault(&object.bytes, &id, stage, &limits)).await;
                    let found =
                        found.unwrap_or_else(|panic| Some(Fault::new(Kind::Unreadable, panic)));
                    faults.extend(found.map(|fault| (stage, fault)));
                }
            }
            stages.push(stage);
        }
        let raw = Raw { id: id.clone(), stages };
        if raw.is_in(Stage::Failed) {
            self.failed(&key(Stage::Failed, id), checked).await?;
        }
        checked.findings.extend(raw.duplicate());
        let damaged: Vec<Stage> = faults.iter().map(|(stage, _)| *stage).collect();
        let faults = faults.into_iter().map(|(stage, fault)| raw.finding(stage, fault, &damaged));
        checked.findings.extend(faults);
        Ok(raw)
    }

    /// Checks that it is said why an object failed.
    ///
    /// # Errors
    ///
    /// If the store can't be reached.
    pub async fn failed(&self, key: &Key, checked: &mut Checked) -> Result<(), StoreError> {
        let reason = key.failed_reason().to_string();
        if self.see(&reason).await?.is_some() {
            return Ok(());
        }
        let text = key.to_string();
        let Some(path) = text.strip_prefix(Stage::Failed.prefix()) else { return Ok(()) };
        // What is named like a reason has `.json` more in this stage.
        let path = match path.strip_suffix(".json") {
            Some(shorter) if shorter.ends_with(".error.json") => shorter,
            _ => path,
        };
        let waiting = format!("{}{path}", Stage::ToProcess.prefix());
        let message = format!("is missing, which says why {text} failed");
        let finding = Finding::problem(Kind::Missing, &reason, message);
        checked.findings.push(match self.see(&waiting).await? {
            Some(_) => finding.or(Step::transform(waiting)),
            None => {
                let (key, to) = (text, waiting.clone());
                finding.or([Step::Move { key, to }, Step::transform(waiting)])
            }
        });
        Ok(())
    }
}

impl Raw {
    fn duplicate(&self) -> Option<Finding> {
        let [first, .., last] = self.stages.as_slice() else { return None };
        let (first, last) = (key(*first, &self.id), key(*last, &self.id));
        let message = format!("is the same document as {last}: a transform was interrupted");
        let finding = Finding::problem(Kind::Duplicate, &first, message);
        Some(finding.or(Step::transform(&first)))
    }

    fn finding(&self, stage: Stage, fault: Fault, damaged: &[Stage]) -> Finding {
        let (id, key_of) = (&self.id, |stage: Stage| key(stage, &self.id));
        let own = key_of(stage);
        let Fault { severity, kind, message, is_set_aside, is_header_changed } = fault;
        let finding = Finding { severity, ..Finding::problem(kind, &own, message) };
        if severity == Severity::Note {
            return finding.or(Step::transform(&own));
        }
        let is_intact = |other: &&Stage| **other != Stage::Failed && !damaged.contains(other);
        match self.stages.iter().find(is_intact) {
            Some(Stage::Processed) => return finding.or(Step::delete(&own)),
            Some(other) => {
                return finding.or([Step::delete(&own), Step::transform(key_of(*other))]);
            }
            None => {}
        }
        if is_header_changed {
            // Its pages are intact, and may be the only copy.
            return finding.or([Step::MoveOut { key: own.to_string() }, Step::run_again(id)]);
        }
        if kind == Kind::Inconsistent {
            let file = own.file_name();
            return finding.or([Step::MoveOut { key: own.to_string() }, Step::Run { file }]);
        }
        let finding = match is_set_aside && stage == Stage::ToProcess {
            true => finding.or(Step::transform(&own)),
            false => finding,
        };
        finding.or([Step::delete(&own), Step::run_again(id)])
    }
}

/// Returns what is wrong with the content of a raw object, if anything.
fn fault(bytes: &Bytes, id: &DocumentId, stage: Stage, limits: &Limits) -> Option<Fault> {
    // What doesn't say itself which document it is was not stored by a host.
    let modified = OffsetDateTime::UNIX_EPOCH + time::Duration::days(365 * 40);
    let read = sources::read(bytes, &Origin::of("unknown.json", modified), limits);
    let sources::Read { document, identity, .. } = match read {
        Ok(read) => read,
        Err(refused @ Refused::Changed { .. }) => return Some(Fault::new(Kind::Hash, refused)),
        Err(refused @ Refused::HeaderChanged { .. }) => {
            let fault = Fault::new(Kind::Inconsistent, refused);
            return Some(Fault { is_header_changed: true, ..fault });
        }
        Err(refused) => {
            let is_set_aside = refused.is_final();
            return Some(Fault { is_set_aside, ..Fault::new(Kind::Unreadable, refused) });
        }
    };
    if identity != Identity::STATED {
        let message = "is a playlist, but not a document as this program stores it";
        let severity = match stage {
            Stage::ToProcess => Severity::Note,
            _ => Severity::Problem,
        };
        let kind = if stage == Stage::ToProcess { Kind::Foreign } else { Kind::Unreadable };
        return Some(Fault { severity, ..Fault::new(kind, message) });
    }
    if document.id() != id {
        let message = format!("holds another document than its key says: {}", document.id());
        return Some(Fault::new(Kind::Inconsistent, message));
    }
    (document.to_bytes() != *bytes).then(|| {
        let message = "has the right pages, but its header is not as this program writes it";
        Fault::new(Kind::Inconsistent, message)
    })
}
