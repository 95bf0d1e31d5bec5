//! How objects are looked at: as a listing has them, or, when a finding is confirmed, as the store has them
//! at that moment.

use super::{
    super::jobs::{Jobs, Undone},
    Verify,
    context::Context,
    listing::{Entry, Listing},
    mend::Step,
    report::{Checked, Finding, Kind},
};
use crate::{
    config::Bytes,
    store::{Object, StoreError},
};

/// What checks need.
pub struct Checker<'v> {
    /// The store, and the limits.
    pub verify: &'v Verify<'v>,
    /// What is checked against.
    pub context: &'v Context,
    /// What the store listed.
    pub listing: &'v Listing,
    /// Whether the listing is believed.
    pub look: Look,
    /// Who hashes and parses.
    pub jobs: &'v Jobs,
}

/// Whether a listing is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is.
    Listed,
    /// The store is asked about each object: programs may have changed it since.
    Now,
}

/// An object that exists.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its size in bytes.
    pub size: u64,
    /// The store's mark of its content, where it has one.
    pub etag: Option<String>,
}

/// What came of reading an object.
pub enum Read {
    /// Its content.
    Object(Object),
    /// It is not there, or not any more.
    Gone,
    /// It can't be read, which is reported.
    Failed,
}

impl Checker<'_> {
    /// Looks whether an object exists.
    ///
    /// # Errors
    ///
    /// If the store can't be asked.
    pub async fn see(&self, key: &str) -> Result<Option<Seen>, StoreError> {
        if self.look == Look::Listed {
            let entry = self.listing.find(key);
            return Ok(entry.map(|entry| Seen {
                size: entry.size,
                etag: entry.etag.as_deref().map(str::to_owned),
            }));
        }
        match self.verify.store.head(key).await {
            Ok(Some(listed)) => {
                let entry = Entry::from(listed);
                Ok(Some(Seen { size: entry.size, etag: entry.etag.map(String::from) }))
            }
            Ok(None) => Ok(None),
            // Reading it says what is wrong with it.
            Err(StoreError::Io { .. }) => Ok(Some(Seen { size: 0, etag: None })),
            Err(error) => Err(error),
        }
    }

    /// Reads an object. What the system says about a single file is a finding.
    ///
    /// # Errors
    ///
    /// If the store can't be reached.
    pub async fn read(&self, key: &str, checked: &mut Checked) -> Result<Read, StoreError> {
        match self.verify.store.get(key).await {
            Ok(Some(object)) => {
                checked.objects += 1;
                checked.bytes += object.bytes.len() as u64;
                Ok(Read::Object(object))
            }
            Ok(None) => Ok(Read::Gone),
            Err(error @ StoreError::Io { .. }) => {
                checked.findings.push(Finding::problem(Kind::Unreadable, key, error));
                Ok(Read::Failed)
            }
            Err(error) => Err(error),
        }
    }

    /// Has a thread do something that takes time. A panic is returned as text.
    pub async fn work<T: Send + 'static>(
        &self,
        action: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        self.jobs.run(move || Ok(action())).await.map_err(|undone| match undone {
            Undone::Refused(refused) => refused.to_string(),
            Undone::NoTime => "there was no time left for it".to_owned(),
        })
    }
}

/// Returns the finding that an object is larger than a limit, and so was not checked.
pub fn too_large(key: &str, limit: &str, max: u64) -> Finding {
    let message = format!(
        "was not checked, since it is larger than {}, the limit {limit} (raise it)",
        Bytes(max)
    );
    let step = Step::VerifyWithLimit { limit: limit.to_owned() };
    Finding::problem(Kind::Unreadable, key, message).or(step)
}
