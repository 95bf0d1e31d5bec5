//! Records of how loading a plugin's file ended, kept in the store by the file's SHA-256, so that a function
//! doesn't repeat what ended it, or what it refused before.
//!
//! A function that runs out of memory while it compiles is killed and can say nothing. So it notes what it is
//! about to compile, and takes the note away afterwards: a note that is still there belongs to a process that
//! was killed, or that compiles at this moment. Which of the two it is follows from its age. Nothing is noted
//! where the code was compiled before. A store that can't be written to only loses this protection.

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::active::pretty;
use crate::{
    config::{HOST_VERSION, Limits},
    layout::Key,
    store::{Store, StoreError, update},
};

/// After this number of attempts that did not end, a file is not compiled again. A single one may have been cut off
/// for another reason, such as the ten seconds that Lambda gives a function to start.
const ATTEMPTS_MAX: u32 = 2;
/// A refusal that was found this often in a row is not looked for again.
const REFUSALS_MAX: u32 = 2;
/// What loading takes beside waiting for the compiler and compiling, in seconds.
const REST_SECONDS: u64 = 30;

/// How loads of files are recorded.
#[derive(Clone, Copy, Debug)]
pub struct LoadRecords {
    /// The time.
    pub now: fn() -> OffsetDateTime,
}

/// What is known about loading a file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
struct LoadRecord {
    /// The plugin's name.
    plugin: String,
    /// The host's version and the limits: under others, all of this means nothing.
    conditions: String,
    /// How many attempts began and did not end.
    attempts: u32,
    /// When the last of them began, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begun_at: Option<String>,
    /// Why it was refused the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// How often in a row.
    refusals: u32,
}

/// A file that is about to be loaded.
#[derive(Clone, Copy)]
pub struct Load<'l> {
    /// The store that has its record.
    pub store: &'l dyn Store,
    /// The limits.
    pub limits: &'l Limits,
    /// The plugin's name.
    pub name: &'l str,
    /// The SHA-256 of the file.
    pub sha256: &'l str,
}

/// How a load ended.
pub enum Ended<'e> {
    /// With a plugin.
    Loaded,
    /// With a reason that is the file's own.
    Refused(&'e str),
    /// With one that may pass.
    Passing,
}

impl Load<'_> {
    /// Notes that it begins.
    ///
    /// # Errors
    ///
    /// Why it must not, in words that follow the plugin's name.
    pub async fn begin(&self, records: LoadRecords) -> Result<(), String> {
        let now = (records.now)();
        let mut known = None;
        let noted = self.change(|record| {
            known = self.why_not(&record, now);
            if known.is_some() {
                return record;
            }
            let begun_at = now.format(&Rfc3339).ok();
            LoadRecord { attempts: record.attempts.saturating_add(1), begun_at, ..record }
        });
        if let Err(error) = noted.await {
            tracing::warn!("what is compiled is not noted: {error}");
        }
        known.map_or(Ok(()), Err)
    }

    /// Notes that it ended.
    pub async fn end(&self, how: Ended<'_>) {
        let noted = self.change(|record| {
            let record = LoadRecord { attempts: record.attempts.saturating_sub(1), ..record };
            match &how {
                Ended::Loaded => LoadRecord::default(),
                Ended::Passing => record,
                Ended::Refused(why) => {
                    let is_same = record.refusal.as_deref() == Some(*why);
                    LoadRecord {
                        refusals: if is_same { record.refusals.saturating_add(1) } else { 1 },
                        refusal: Some((*why).to_owned()),
                        attempts: 0,
                        ..record
                    }
                }
            }
        });
        if let Err(error) = noted.await {
            tracing::warn!("what was compiled is not noted: {error}");
        }
    }

    fn key(&self) -> String {
        Key::LoadRecord { sha256: self.sha256.to_owned() }.to_string()
    }

    fn why_not(&self, record: &LoadRecord, now: OffsetDateTime) -> Option<String> {
        let location = self.store.location(&self.key());
        if let (Some(why), REFUSALS_MAX..) = (&record.refusal, record.refusals) {
            return Some(format!(
                "is refused: {why}; this was found {} times, so it is not loaded again (replace the file, change the limits, or delete {location})",
                record.refusals
            ));
        }
        let begun_at = record.begun_at.as_deref()?;
        let age = OffsetDateTime::parse(begun_at, &Rfc3339).map_or(Duration::MAX, |at| now - at);
        // Twice: it may wait as long for other plugins that are being compiled.
        let seconds_max =
            self.limits.compile_seconds.saturating_mul(2).saturating_add(REST_SECONDS);
        let is_over = age > Duration::seconds(i64::try_from(seconds_max).unwrap_or(i64::MAX));
        (record.attempts >= ATTEMPTS_MAX && is_over).then(|| {
            format!(
                "is refused: compiling it ended the function the last {} times, or did not come to an end, last at {begun_at} (give the function more memory; or send the compiled code with it: `spotify-etl plugin compile`; or replace the file; or have it tried again: delete {location})",
                record.attempts
            )
        })
    }

    /// Changes the record, or deletes it if nothing is left to say.
    async fn change(
        &self,
        mut change: impl FnMut(LoadRecord) -> LoadRecord,
    ) -> Result<(), StoreError> {
        let key = self.key();
        let mut is_empty = false;
        let conditions = self.conditions();
        update(self.store, &key, |current| {
            let before: Option<LoadRecord> =
                current.and_then(|bytes| serde_json::from_slice(bytes).ok());
            let valid = before.clone().filter(|record| record.conditions == conditions);
            let blank = LoadRecord {
                plugin: self.name.to_owned(),
                conditions: conditions.clone(),
                ..LoadRecord::default()
            };
            let after = change(valid.unwrap_or(blank));
            is_empty = after.attempts == 0 && after.refusal.is_none();
            Ok::<_, StoreError>(
                (!is_empty && Some(&after) != before.as_ref()).then(|| pretty(&after)),
            )
        })
        .await?;
        if is_empty && let Some(object) = self.store.get(&key).await? {
            self.store.delete_if(&key, &object.tag()).await?;
        }
        Ok(())
    }

    fn conditions(&self) -> String {
        let Limits {
            compile_bytes,
            compile_memory_bytes,
            compile_cpu_milliseconds,
            compile_seconds,
            describe_seconds,
            guest_memory_bytes,
            ..
        } = self.limits;
        format!(
            "host {HOST_VERSION}, compile_bytes={compile_bytes}, compile_memory_bytes={compile_memory_bytes}, compile_cpu_milliseconds={compile_cpu_milliseconds}, compile_seconds={compile_seconds}, describe_seconds={describe_seconds}, guest_memory_bytes={guest_memory_bytes}"
        )
    }
}
