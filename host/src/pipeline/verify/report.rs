//! What a verification found, as data: for people to read as text, for scripts as JSON, and kept in the
//! journal of a pass that was interrupted.

use serde::{Deserialize, Serialize};

use super::mend::Way;
use crate::remedy::Remedies;

/// What is wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its content does not have the SHA-256 that is recorded for it.
    Hash,
    /// It does not have the size that is recorded for it.
    Size,
    /// It is not there, although something else needs it.
    Missing,
    /// It can't be read, or is not what its key says.
    Unreadable,
    /// It contradicts its key, or another object.
    Inconsistent,
    /// What it was made from, or belongs to, is not there.
    Orphan,
    /// The same raw document is in two stages.
    Duplicate,
    /// Nothing says what it is, or what made it.
    Unknown,
    /// It was put there by another program, and waits for a transform.
    Foreign,
    /// It was left behind, and nothing reads it.
    Leftover,
    /// It was made by another version than the active one.
    OutOfDate,
}

impl Kind {
    /// The name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Hash => "hash",
            Kind::Size => "size",
            Kind::Missing => "missing",
            Kind::Unreadable => "unreadable",
            Kind::Inconsistent => "inconsistent",
            Kind::Orphan => "orphan",
            Kind::Duplicate => "duplicate",
            Kind::Unknown => "unknown",
            Kind::Foreign => "foreign",
            Kind::Leftover => "leftover",
            Kind::OutOfDate => "out of date",
        }
    }
}

/// Whether a finding changes the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something is not what it should be.
    Problem,
    /// Something that may be as it should be.
    Note,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Finding {
    /// Whether it changes the exit status.
    pub severity: Severity,
    /// What is wrong.
    pub kind: Kind,
    /// The key of the object, or of the one that is missing.
    pub key: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What mends it: one of these is enough.
    pub ways: Vec<Way>,
}

impl Finding {
    /// Returns a finding that changes the exit status.
    pub fn problem(kind: Kind, key: impl ToString, message: impl ToString) -> Self {
        let (key, message) = (key.to_string(), message.to_string());
        Finding { severity: Severity::Problem, kind, key, message, ways: Vec::new() }
    }

    /// Returns a finding that does not change the exit status.
    pub fn note(kind: Kind, key: impl ToString, message: impl ToString) -> Self {
        Finding { severity: Severity::Note, ..Self::problem(kind, key, message) }
    }

    /// Returns the same finding with one more way to mend it.
    #[must_use]
    pub fn or(mut self, way: impl Into<Way>) -> Self {
        self.ways.push(way.into());
        self
    }

    /// Returns whether it changes the exit status.
    pub fn is_problem(&self) -> bool {
        self.severity == Severity::Problem
    }

    /// Returns what tells it from other findings.
    pub fn subject(&self) -> (Kind, &str) {
        (self.kind, &self.key)
    }
}

/// Something that was noticed in one object, and is reported once for all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Lineage names a version that the history of plugins does not have.
    UnknownMaker {
        /// The plugin.
        plugin: String,
        /// The SHA-256 of its file.
        sha256: String,
    },
    /// Files were made by another version of the plugin, or by another host.
    OutOfDate {
        /// The plugin.
        plugin: String,
    },
    /// A processed document has no files of the plugin's tables.
    Without {
        /// The plugin.
        plugin: String,
    },
    /// A document has rows in an earlier generation or another format of a table, and none in the one that
    /// is read.
    OnlyOld {
        /// The table.
        table: String,
    },
}

/// What came of checking one unit.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Checked {
    /// What was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What was noticed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// How many objects were read.
    pub objects: u64,
    /// How many bytes these have.
    pub bytes: u64,
}

impl Checked {
    /// Returns whether nothing was found that another program may have caused by changing the store at the
    /// same time.
    pub fn is_certain(&self) -> bool {
        let is_doubtful =
            |fact: &Fact| matches!(fact, Fact::UnknownMaker { .. } | Fact::OnlyOld { .. });
        !self.findings.iter().any(Finding::is_problem) && !self.facts.iter().any(is_doubtful)
    }
}

/// What became of a problem that was to be repaired.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is gone.
    Repaired,
    /// It is still there.
    NotRepaired {
        /// Why.
        why: String,
    },
}

/// A finding with the commands that mend it.
#[derive(Clone, Debug, Serialize)]
pub struct Reported {
    /// Whether it changes the exit status.
    pub severity: Severity,
    /// What is wrong.
    pub kind: Kind,
    /// The key of the object, or of the one that is missing.
    pub key: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The commands that mend it: one of these lines is enough.
    pub commands: Vec<String>,
    /// What became of it, if it was to be repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Outcome>,
}

impl Reported {
    /// Returns a finding in the form in which it is reported about a store.
    pub fn of(finding: Finding, repair: Option<Outcome>, remedies: Remedies<'_>) -> Self {
        let Finding { severity, kind, key, message, ways } = finding;
        let commands = ways.iter().map(|way| way.command(remedies)).collect();
        Reported { severity, kind, key, message, commands, repair }
    }

    /// Returns whether it is a problem that is still there.
    pub fn is_left(&self) -> bool {
        self.severity == Severity::Problem && self.repair != Some(Outcome::Repaired)
    }
}

/// An interrupted pass that was continued.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resumed {
    /// When it began, RFC 3339.
    pub started_at: String,
    /// How many documents and other objects had been checked, and did not change since.
    pub checked: usize,
}

/// What a verification found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifyReport {
    /// Where the store is.
    pub store: String,
    /// The interrupted pass that was continued, if there was one.
    pub resumed: Option<Resumed>,
    /// How many documents there are, in all stages.
    pub documents: usize,
    /// How many objects the store lists.
    pub objects: usize,
    /// How many objects were read, those of an interrupted pass included.
    pub objects_read: u64,
    /// How many bytes these have.
    pub bytes_read: u64,
    /// What was found: problems first, each by key.
    pub findings: Vec<Reported>,
    /// How many problems are left.
    pub problems: usize,
    /// How many problems were repaired.
    pub repaired: usize,
    /// How many notes there are.
    pub notes: usize,
    /// 0 if no problem is left, else 1.
    pub exit_status: u8,
}
