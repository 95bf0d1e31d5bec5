//! What one plugin makes of a document, looked at and not yet written.

use super::report::{Action, Problem, SkipReport};
use crate::{
    batch::RawExtraction,
    config::Limits,
    plugin::{CallError, Plugin},
    table::{Table, validate},
};

/// What a plugin makes of a document, fit for its tables.
pub enum Tried {
    /// The rows of each of its tables, and the entries that it passed over.
    Tables(Vec<Table>, Vec<SkipReport>),
    /// Nothing: it says why the document is not for it.
    Unsupported(String),
}

/// Looks at what a plugin gave back.
///
/// # Errors
///
/// Why none of it can be stored.
pub fn judge(
    plugin: &Plugin,
    extracted: Result<RawExtraction, CallError>,
    limits: &Limits,
) -> Result<Tried, Problem> {
    let extraction = match extracted {
        Ok(extraction) => extraction,
        Err(error @ CallError::Unsupported { .. }) => {
            return Ok(Tried::Unsupported(error.to_string()));
        }
        Err(error @ CallError::Machine { .. }) => {
            let problem = Problem::of_plugin(plugin.name(), error);
            return Err(Problem { action: Action::Setup, ..problem });
        }
        Err(error @ CallError::NoTime) => {
            let problem = Problem::of_plugin(plugin.name(), error);
            return Err(Problem { action: Action::Retry, ..problem });
        }
        Err(error) => return Err(Problem::of_plugin(plugin.name(), error)),
    };
    let skip = |(position, reason): &(u32, String)| SkipReport {
        position: *position,
        reason: reason.clone(),
    };
    let skips = extraction.skips.iter().map(skip).collect();
    let tables = validate(plugin.tables(), extraction, limits)
        .map_err(|invalid| Problem::of_plugin(plugin.name(), invalid))?;
    Ok(Tried::Tables(tables, skips))
}
