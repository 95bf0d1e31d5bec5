//! Who fills a table that more than one plugin declares: the owner that the table's record names.

use std::collections::BTreeSet;

use super::{active::Candidate, records::Records, report::Problem};
use crate::store::StoreError;

/// A table that is filled by another plugin of the same folder.
struct Taken {
    table: String,
    owner: String,
}

/// Finds plugins that can't be used and that declare a table of another plugin of the same folder. Says so in
/// their problems, and returns their names. The owner goes on as if they were not there.
///
/// # Errors
///
/// If the store fails.
pub(super) async fn reject_newcomers(
    records: &Records<'_>,
    candidates: &mut [Candidate],
) -> Result<BTreeSet<String>, StoreError> {
    let names: BTreeSet<String> =
        candidates.iter().map(|candidate| candidate.name.clone()).collect();
    let mut newcomers = BTreeSet::new();
    for candidate in candidates.iter_mut().filter(|candidate| candidate.problem.is_some()) {
        let Some(Taken { table, owner }) = taken(records, candidate, &names).await? else {
            continue;
        };
        let message = format!(
            "is refused: table `{table}` belongs to plugin `{owner}`, which goes on (delete {name}.wasm; or, to replace `{owner}`, rename it to {owner}.wasm; or declare another table)",
            name = candidate.name,
        );
        candidate.problem = Some(Problem::of_plugin(&candidate.name, message));
        newcomers.insert(candidate.name.clone());
    }
    Ok(newcomers)
}

async fn taken(
    records: &Records<'_>,
    candidate: &Candidate,
    names: &BTreeSet<String>,
) -> Result<Option<Taken>, StoreError> {
    for table in candidate.tables() {
        if let Some(owner) = records.owner(&table).await?
            && owner != candidate.name
            && names.contains(&owner)
        {
            return Ok(Some(Taken { table, owner }));
        }
    }
    Ok(None)
}
