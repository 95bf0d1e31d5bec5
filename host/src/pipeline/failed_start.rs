//! The report of a run that could not start: it had no plugins, no credentials, or nothing to import. Without it,
//! the run before would still be the last one.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::report::{Action, Problem, RunReport};
use crate::{
    config::HOST_VERSION,
    layout::{self, Key},
    store::{Store, StoreError},
};

/// The exit status of a run that could not try anything of what it was for.
pub const NOTHING_TRIED: u8 = 2;

/// A run that could not start.
#[derive(Clone, Debug)]
pub struct FailedStart<'r> {
    /// Its name.
    pub run_id: &'r str,
    /// What was asked for.
    pub command: &'r str,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// Why it could not start.
    pub error: String,
}

impl FailedStart<'_> {
    /// Stores the report, unless there is no store: a failed run does not create one. Returns whether a report of
    /// this run is there.
    ///
    /// # Errors
    ///
    /// If the store can't be read or written.
    pub async fn keep(self, store: &dyn Store) -> Result<bool, StoreError> {
        if !is_store(store).await? {
            return Ok(false);
        }
        let FailedStart { run_id, command, started_at, error } = self;
        let report = RunReport {
            run_id: run_id.to_owned(),
            command: command.to_owned(),
            store: store.location(""),
            host_version: HOST_VERSION.to_owned(),
            started_at: started_at.truncate_to_second().format(&Rfc3339).unwrap_or_default(),
            exit_status: NOTHING_TRIED,
            problems: vec![Problem::new(Action::Setup, error)],
            ..RunReport::default()
        };
        let key = Key::Run { run_id: run_id.to_owned() }.to_string();
        let bytes = serde_json::to_vec_pretty(&report).unwrap_or_default();
        store.put_new(&key, &bytes).await?;
        Ok(true)
    }
}

/// Returns whether a place has anything that a store has.
async fn is_store(store: &dyn Store) -> Result<bool, StoreError> {
    let prefixes = [
        layout::PLUGINS,
        layout::TABLES,
        layout::RUNS,
        layout::TO_PROCESS,
        layout::PROCESSED,
        layout::FAILED,
    ];
    if store.head(&Key::Playlists.to_string()).await?.is_some() {
        return Ok(true);
    }
    for prefix in prefixes {
        let page = store.list(prefix, None).await?;
        if page.objects.iter().any(|listed| listed.key.parse::<Key>().is_ok()) {
            return Ok(true);
        }
    }
    Ok(false)
}
