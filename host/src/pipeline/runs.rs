//! The reports of runs, read one by one: newest first, no more of them than asked for, and none that is too large.

use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IgnoredAny};

use super::{
    listing::REPORT_BYTES_MAX,
    report::{Problem, RunReport},
    totals::Totals,
};
use crate::{
    config::Bytes,
    layout::{self, Key},
    store::{Listed, Store, StoreError, list_all},
};

/// The reports of a store that are still to be read.
pub struct Runs<'s> {
    store: &'s dyn Store,
    /// Oldest first.
    listed: Vec<Listed>,
    /// How many bytes may still be read.
    bytes_left: u64,
    /// Those that were not read.
    unread: Vec<UnreadReport>,
}

/// A report that was not read because it is too large.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnreadReport {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub bytes: u64,
}

impl UnreadReport {
    /// Why it was not read, in words that follow its key.
    pub fn why(&self) -> String {
        let (size, max) = (Bytes(self.bytes), Bytes(REPORT_BYTES_MAX));
        format!("has {size}, over the limit of {max} for a report, and was not read")
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is too large.
    #[error("{location} {} (read it with another program, such as jq)", .report.why())]
    TooLarge {
        /// Where it is.
        location: String,
        /// Which.
        report: UnreadReport,
    },
    /// It is none.
    #[error("{location} is no report of a run: {source} (delete it)")]
    Damaged {
        /// Where it is.
        location: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A run in a line.
#[derive(Clone, Debug, Serialize)]
pub struct RunSummary {
    /// The run.
    pub run_id: String,
    /// What it was.
    pub command: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// How many documents it had.
    pub documents: usize,
    /// What it ended with, if its report was read.
    pub exit_status: Option<u8>,
    /// The first problem of the run as a whole, such as why it could not start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Why its report was not read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// What a summary needs of a report: documents are counted and not kept.
#[derive(Deserialize)]
struct Head {
    run_id: String,
    command: String,
    started_at: String,
    milliseconds: u64,
    exit_status: u8,
    #[serde(default)]
    problems: Vec<Problem>,
    #[serde(default)]
    extracts: Vec<IgnoredAny>,
    #[serde(default)]
    imports: Vec<IgnoredAny>,
    #[serde(default)]
    documents: Vec<IgnoredAny>,
    #[serde(default)]
    totals: Totals,
}

impl From<Head> for RunSummary {
    fn from(head: Head) -> Self {
        let Totals { documents, imports } = head.totals;
        let counts = [
            documents.count.max(head.documents.len()),
            imports.count.max(head.imports.len()),
            head.extracts.len(),
        ];
        RunSummary {
            run_id: head.run_id,
            command: head.command,
            started_at: head.started_at,
            milliseconds: head.milliseconds,
            documents: counts.into_iter().max().unwrap_or_default(),
            exit_status: Some(head.exit_status),
            problem: head.problems.first().map(ToString::to_string),
            unread: None,
        }
    }
}

impl<'s> Runs<'s> {
    /// Lists the reports of a store.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub async fn of(store: &'s dyn Store) -> Result<Self, StoreError> {
        let mut listed = list_all(store, layout::RUNS).await?;
        listed.retain(|listed| matches!(listed.key.parse(), Ok(Key::Run { .. })));
        Ok(Runs { store, listed, bytes_left: u64::MAX, unread: Vec::new() })
    }

    /// Limits what is read to the newest reports, and to a number of bytes.
    #[must_use]
    pub fn within(mut self, count: usize, bytes: u64) -> Self {
        let older = self.listed.len().saturating_sub(count);
        self.listed.drain(..older);
        self.bytes_left = bytes;
        self
    }

    /// Those that were not read so far, as they are too large.
    pub fn into_unread(self) -> Vec<UnreadReport> {
        self.unread
    }

    /// The next report, as something that is read from JSON. Reports that are too large, or none, are left out.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StoreError> {
        self.next_with(|bytes| serde_json::from_slice(bytes)).await
    }

    /// The next report.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub async fn next_report(&mut self) -> Result<Option<RunReport>, StoreError> {
        self.next_with(RunReport::read).await
    }

    async fn next_with<T>(
        &mut self,
        read: impl Fn(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<Option<T>, StoreError> {
        while let Some(listed) = self.listed.pop() {
            if let Err(unread) = of_size(&listed) {
                self.unread.push(unread);
                continue;
            }
            let Some(left) = self.bytes_left.checked_sub(listed.size) else { break };
            self.bytes_left = left;
            if let Some(object) = self.store.get(&listed.key).await?
                && let Ok(read) = read(&object.bytes)
            {
                return Ok(Some(read));
            }
        }
        Ok(None)
    }

    /// What is under another key, a page of a report, within the same number of bytes.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub async fn read<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, StoreError> {
        let listed = list_all(self.store, key).await?;
        let Some(listed) = listed.into_iter().find(|listed| listed.key == key) else {
            return Ok(None);
        };
        if of_size(&listed).is_err() || listed.size > self.bytes_left {
            return Ok(None);
        }
        self.bytes_left -= listed.size;
        let object = self.store.get(key).await?;
        Ok(object.and_then(|object| serde_json::from_slice(&object.bytes).ok()))
    }

    /// The newest run.
    ///
    /// # Errors
    ///
    /// If its report can't be read.
    pub async fn last_report(&self) -> Result<Option<RunReport>, RunError> {
        match self.listed.last() {
            Some(listed) => self.read_report(listed).await,
            None => Ok(None),
        }
    }

    /// A run by its name.
    ///
    /// # Errors
    ///
    /// If its report can't be read.
    pub async fn report(&self, run_id: &str) -> Result<Option<RunReport>, RunError> {
        let key = Key::Run { run_id: run_id.to_owned() }.to_string();
        match self.listed.iter().find(|listed| listed.key == key) {
            Some(listed) => self.read_report(listed).await,
            None => Ok(None),
        }
    }

    async fn read_report(&self, listed: &Listed) -> Result<Option<RunReport>, RunError> {
        let location = self.store.location(&listed.key);
        if let Err(report) = of_size(listed) {
            return Err(RunError::TooLarge { location, report });
        }
        let Some(object) = self.store.get(&listed.key).await? else { return Ok(None) };
        let read = RunReport::read(&object.bytes);
        read.map(Some).map_err(|source| RunError::Damaged { location, source })
    }

    /// The newest runs in a line each, newest first.
    ///
    /// # Errors
    ///
    /// If the store can't be read.
    pub async fn summaries(&self, count: usize) -> Result<Vec<RunSummary>, StoreError> {
        let mut summaries = Vec::new();
        for listed in self.listed.iter().rev() {
            if summaries.len() == count {
                break;
            }
            if let Err(report) = of_size(listed) {
                summaries.push(unread(&report));
            } else if let Some(object) = self.store.get(&listed.key).await?
                && let Ok(head) = serde_json::from_slice::<Head>(&object.bytes)
            {
                summaries.push(head.into());
            }
        }
        Ok(summaries)
    }
}

fn unread(report: &UnreadReport) -> RunSummary {
    let run_id = match report.key.parse() {
        Ok(Key::Run { run_id }) => run_id,
        _ => String::new(),
    };
    RunSummary {
        run_id,
        command: String::new(),
        started_at: String::new(),
        milliseconds: 0,
        documents: 0,
        exit_status: None,
        problem: None,
        unread: Some(report.why()),
    }
}

/// Whether a report is small enough to be read.
fn of_size(listed: &Listed) -> Result<(), UnreadReport> {
    if listed.size <= REPORT_BYTES_MAX {
        return Ok(());
    }
    Err(UnreadReport { key: listed.key.clone(), bytes: listed.size })
}
