//! Putting plugins into a store.

use std::sync::Arc;

use serde::Serialize;
use time::OffsetDateTime;

use super::{
    PipelineError,
    active::{PluginPlace, load},
    plugin_files::{PluginFiles, plugin_files},
    report::Problem,
    required::{Version, accept},
    versions::{HistoryRecord, keep},
};
use crate::{layout::Key, plugin::Engine, store::Store};

/// Who brought the plugins that are put in this way.
const BY: &str = "init";

/// What became of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InstallStatus {
    /// It was not there before.
    New,
    /// It took the place of another version.
    Replaced,
    /// It was there.
    Unchanged,
    /// It is no plugin.
    Refused,
}

/// One plugin.
#[derive(Debug, Serialize)]
pub struct InstallReport {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub status: InstallStatus,
    /// Its version.
    pub version: Option<String>,
    /// The tables it fills.
    pub tables: Vec<String>,
    /// Why it was refused.
    pub problem: Option<Problem>,
}

/// Copies plugins into a store, each after it was checked.
///
/// # Errors
///
/// If there are none, or a store fails.
pub async fn install(
    store: &dyn Store,
    from: PluginPlace<'_>,
    engine: &Arc<Engine>,
    now: OffsetDateTime,
) -> Result<Vec<InstallReport>, PipelineError> {
    let PluginFiles { plugins: found, ignored } = plugin_files(from).await?;
    if found.is_empty() {
        return Err(PipelineError::no_plugins(from, &ignored));
    }
    let mut reports = Vec::new();
    for (name, listed) in found {
        if let Err(refusal) = engine.check_size(listed.size) {
            let problem = Problem::of_plugin(&name, format!("is refused: {refusal}"));
            reports.push(refused(name, problem));
            continue;
        }
        let Some(object) = from.store.get(&listed.key).await? else { continue };
        reports.push(install_one(store, engine, name, &object.bytes, now).await?);
    }
    Ok(reports)
}

fn refused(name: String, problem: Problem) -> InstallReport {
    let (status, problem) = (InstallStatus::Refused, Some(problem));
    InstallReport { name, status, version: None, tables: Vec::new(), problem }
}

async fn install_one(
    store: &dyn Store,
    engine: &Arc<Engine>,
    name: String,
    bytes: &[u8],
    now: OffsetDateTime,
) -> Result<InstallReport, PipelineError> {
    let plugin = match load(engine, &name, bytes.to_vec()).await? {
        Ok(plugin) => plugin,
        Err(problem) => return Ok(refused(name, problem)),
    };
    let key = Key::Plugin { name: name.clone() }.to_string();
    let status = match store.get(&key).await? {
        Some(there) if there.bytes == bytes => InstallStatus::Unchanged,
        Some(_) => InstallStatus::Replaced,
        None => InstallStatus::New,
    };
    // First, since a store may take only versions that it was told to take.
    accept(store, &Version { name: name.clone(), sha256: plugin.sha256().to_owned() }).await?;
    keep(store, &HistoryRecord::of(&plugin, BY, now), bytes).await?;
    if status != InstallStatus::Unchanged {
        store.put(&key, bytes).await?;
    }
    Ok(InstallReport {
        name,
        status,
        version: Some(plugin.version().to_owned()),
        tables: plugin.tables().iter().map(|table| table.name.clone()).collect(),
        problem: None,
    })
}
