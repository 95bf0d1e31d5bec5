//! The catalog in Athena: made like the store's tables, or held against them.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{
    active::pretty,
    tables::{Tables, TablesError, tables},
};
use crate::{
    answer::{Answer, Cell},
    athena::{Athena, AthenaError},
    catalog::{
        DatabaseName, FILES_PREFIX, InvalidDatabaseName, Kind, Statement, backticked, is_outdated,
        literal, mark, statements,
    },
    config::STORED_JSON_BYTES_MAX,
    layout::Key,
    store::{Store, StoreError, update},
};

/// So many statements run at a time; Athena takes about twenty.
const AT_ONCE: usize = 5;
/// How often it is begun anew because a table changed meanwhile.
const ATTEMPTS_MAX: usize = 3;
/// The format of what is kept of an applied catalog.
const FORMAT: u32 = 1;

/// A database of Athena's, and the place of the files it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The database.
    pub database: DatabaseName,
    /// Where the store is, as Athena finds it, with a slash at its end.
    pub location: String,
}

/// What is kept of the catalog that was applied last.
#[derive(Debug, PartialEq, Deserialize, Serialize)]
struct Applied {
    format: u32,
    database: String,
    /// The mark of its statements.
    sha256: String,
}

/// One statement that ran.
#[derive(Clone, Debug, Serialize)]
pub struct Ran {
    /// What it was about.
    pub name: String,
    /// What was done about it.
    pub done: String,
}

/// What was done to have the catalog.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ApplyReport {
    /// The statements that ran, in order.
    pub ran: Vec<Ran>,
    /// The tables that were left out, since their records can't be read: why, each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// Makes Athena's catalog like the store's tables: what is new, then the views over it, all at once for
/// whoever reads; then what nothing reads any more is taken away.
///
/// # Errors
///
/// If the store or Athena fails. What ran by then harms nobody, and runs again.
pub async fn apply(
    store: &dyn Store,
    athena: &Athena,
    place: &Place,
) -> Result<ApplyReport, CatalogError> {
    for _ in 0..ATTEMPTS_MAX {
        let Tables { tables: found, left_out } = tables(store).await?;
        let wanted = statements(&found, &place.database, &place.location);
        let mut report = run_all(store, athena, place, &wanted).await?;
        // Whoever changed a table meanwhile has run other statements; the last ones are those that count.
        let now = tables(store).await?.tables;
        if mark(&statements(&now, &place.database, &place.location)) == mark(&wanted) {
            for problem in &left_out {
                tracing::warn!("a table is left out of the catalog: {problem}");
            }
            report.left_out = left_out;
            let applied = pretty(&applied(place, &wanted));
            update(store, &Key::Catalog.to_string(), |current| {
                Ok::<_, StoreError>((current != Some(applied.as_slice())).then(|| applied.clone()))
            })
            .await?;
            return Ok(report);
        }
    }
    Err(CatalogError::Contended)
}

async fn run_all(
    store: &dyn Store,
    athena: &Athena,
    place: &Place,
    statements: &[Statement],
) -> Result<ApplyReport, CatalogError> {
    let mut report = ApplyReport::default();
    let run = |statement: Statement| async move {
        athena.execute(&statement.sql).await.map_err(|source| {
            let name = statement.name.clone();
            CatalogError::Statement { name, source }
        })?;
        let done = match statement.kind {
            Kind::Database => "database",
            Kind::Table => "table",
            Kind::View => "view",
        };
        Ok::<_, CatalogError>(Ran { name: statement.name, done: format!("{done} is there") })
    };
    for step in statements.chunk_by(|one, next| one.step == next.step) {
        let ran = stream::iter(step).map(|one| run(one.clone())).buffered(AT_ONCE);
        report.ran.extend(ran.try_collect::<Vec<_>>().await?);
    }
    let Place { database, .. } = place;
    let schema = backticked(database.as_str());
    let sql = format!("SHOW TABLES IN {schema} {}", literal(&format!("{FILES_PREFIX}*")));
    let found = athena.ask(&sql).await.map_err(|source| CatalogError::Statement {
        name: "tables that are there".to_owned(),
        source,
    })?;
    // What another run made for a newer table is not an old one.
    let newest = self::statements(&tables(store).await?.tables, &place.database, &place.location);
    let is_old = |name: &String| is_outdated(name, statements) && is_outdated(name, &newest);
    for name in names(&found.answer).filter(is_old) {
        let sql = format!("DROP TABLE IF EXISTS {schema}.{}", backticked(&name));
        let dropped = athena.execute(&sql).await;
        dropped.map_err(|source| CatalogError::Statement { name: name.clone(), source })?;
        report.ran.push(Ran { name, done: "old table taken away; its files stay".to_owned() });
    }
    Ok(report)
}

/// Whether the catalog that was applied last is that of the store's tables as they are now.
///
/// # Errors
///
/// If the store fails.
pub async fn is_applied(store: &dyn Store, place: &Place) -> Result<bool, CatalogError> {
    let tables = match tables(store).await {
        // Nothing is due before there is a table.
        Err(TablesError::None { .. }) => return Ok(true),
        tables => tables?.tables,
    };
    let wanted = applied(place, &statements(&tables, &place.database, &place.location));
    // One that can't be read is written again, as if there were none.
    let kept = store.get_within(&Key::Catalog.to_string(), STORED_JSON_BYTES_MAX).await?;
    let kept = kept.and_then(|object| serde_json::from_slice::<Applied>(&object.bytes).ok());
    Ok(kept == Some(wanted))
}

/// The database whose catalog was applied last, if one was.
///
/// # Errors
///
/// If the store fails.
pub async fn applied_database(store: &dyn Store) -> Result<Option<DatabaseName>, CatalogError> {
    let key = Key::Catalog.to_string();
    let kept = store.get_within(&key, STORED_JSON_BYTES_MAX).await?;
    let Some(object) = kept else { return Ok(None) };
    let damaged =
        |problem: String| CatalogError::Damaged { location: store.location(&key), problem };
    let kept: Applied =
        serde_json::from_slice(&object.bytes).map_err(|error| damaged(error.to_string()))?;
    kept.database.parse().map(Some).map_err(|error: InvalidDatabaseName| damaged(error.to_string()))
}

/// Checks what is kept of the catalog that was applied last.
///
/// # Errors
///
/// Says what is wrong with it.
pub(super) fn check_applied(bytes: &[u8]) -> Result<(), String> {
    let applied: Applied = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match applied.format {
        FORMAT => Ok(()),
        found => Err(format!("it has format {found}, and this program reads format {FORMAT}")),
    }
}

fn applied(place: &Place, statements: &[Statement]) -> Applied {
    Applied { format: FORMAT, database: place.database.to_string(), sha256: mark(statements) }
}

/// Where Athena's catalog departs from the store's tables, in words; empty if it doesn't.
///
/// # Errors
///
/// If the store or Athena fails.
pub async fn check(
    store: &dyn Store,
    athena: &Athena,
    place: &Place,
) -> Result<Vec<String>, CatalogError> {
    let Tables { tables, left_out } = tables(store).await?;
    let statements = statements(&tables, &place.database, &place.location);
    let sql = format!(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = {} ORDER BY table_name, ordinal_position",
        literal(place.database.as_str())
    );
    let found = athena.ask(&sql).await.map_err(|source| CatalogError::Statement {
        name: "columns that are there".to_owned(),
        source,
    })?;
    let mut differences = differences(&statements, &found.answer);
    differences.extend(left_out);
    Ok(differences)
}

fn differences(statements: &[Statement], found: &Answer) -> Vec<String> {
    let mut there: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for row in &found.rows {
        if let [Cell::Text(table), Cell::Text(column), Cell::Text(kind)] = row.as_slice() {
            // timestamp(3) and varchar(10) are timestamp and varchar.
            let kind = kind.split('(').next().unwrap_or_default();
            there.entry(table).or_default().push((column, kind));
        }
    }
    let mut differences = Vec::new();
    for Statement { name, columns, .. } in statements.iter().filter(|one| !one.columns.is_empty()) {
        let Some(found) = there.get(name.as_str()) else {
            differences.push(format!("{name} is missing"));
            continue;
        };
        for (column, kind) in columns {
            match found.iter().find(|(found, _)| found == column) {
                None => differences.push(format!("{name} has no column {column}")),
                Some((_, is)) if is != kind => {
                    differences.push(format!("{name}.{column} is {is}, and should be {kind}"));
                }
                Some(_) => {}
            }
        }
        let is_known = |column: &str| columns.iter().any(|(known, _)| known == column);
        let more = found.iter().filter(|(column, _)| !is_known(column));
        differences.extend(
            more.map(|(column, _)| format!("{name} has a column {column} that no plugin declares")),
        );
    }
    let old = there.keys().filter(|name| is_outdated(name, statements));
    differences.extend(old.map(|name| format!("{name} is of an older catalog")));
    differences
}

fn names(answer: &Answer) -> impl Iterator<Item = String> {
    answer.rows.iter().filter_map(|row| match row.first() {
        Some(Cell::Text(name)) => Some(name.trim().to_owned()),
        _ => None,
    })
}

/// Why the catalog can't be had.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Tables keep changing.
    #[error("tables changed {ATTEMPTS_MAX} times while Athena was told of them (run it again)")]
    Contended,
    /// The tables can't be had.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is kept of the applied catalog can't be read.
    #[error(
        "{location} is not what `catalog apply` writes: {problem} (delete it, then run it again: spotify-etl catalog apply)"
    )]
    Damaged {
        /// Where it is.
        location: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A statement came to nothing.
    #[error("{name}: {source}")]
    Statement {
        /// What it was about.
        name: String,
        /// Why.
        source: AthenaError,
    },
}
