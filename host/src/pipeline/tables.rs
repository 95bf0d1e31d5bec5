//! The tables of a store as a whole: for the catalog, and taken to a database at home.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Progress,
    records::{TableRecord, table_records},
};
use crate::{
    answer::Cell,
    catalog::{CatalogTable, Dialect, View, views},
    layout::{Format, Key, table_folder},
    query::{Database, QueryError},
    remedy::quoted,
    schema::TableSchema,
    store::{Listed, Store, StoreError, list_all},
    table::read,
};

/// So many files are read at a time.
const READS_AT_ONCE: usize = 16;

/// The tables of a store as its records have them, and what is wrong with records.
///
/// # Errors
///
/// If there are none, or the store fails.
pub async fn tables(store: &dyn Store) -> Result<Vec<CatalogTable>, TablesError> {
    let (records, problems) = table_records(store).await?;
    if !problems.is_empty() {
        return Err(TablesError::Records { problems });
    }
    if records.is_empty() {
        return Err(TablesError::None { store: store.location("") });
    }
    Ok(records.into_iter().map(catalog_table).collect())
}

/// Both formats have the same rows; Parquet has less to read.
fn catalog_table(record: TableRecord) -> CatalogTable {
    let TableRecord { schema, generation, formats, .. } = record;
    let is_parquet = formats.contains(&Format::Parquet);
    let format = if is_parquet { Format::Parquet } else { Format::Csv };
    CatalogTable { schema, generation, format }
}

/// All rows of all tables in a database, with the views over them.
///
/// # Errors
///
/// If the store fails, or a file is no table file.
pub async fn database(
    store: &dyn Store,
    tables: &[CatalogTable],
    progress: &dyn Progress,
) -> Result<(Database, Vec<View>), TablesError> {
    let schemas: Vec<&TableSchema> = tables.iter().map(|table| &table.schema).collect();
    let views = views(&schemas, Dialect::Sqlite, "");
    let database = Database::new(&schemas, &views)?;
    let mut files = Vec::new();
    for table in tables {
        let folder = table_folder(&table.schema.name, table.generation, table.format);
        let listed = list_all(store, &folder).await?;
        files.extend(listed.into_iter().filter_map(|listed| Some((table, year(&listed)?, listed))));
    }
    progress.begin("read", files.len());
    let rows = stream::iter(&files).map(|(table, year, listed)| async move {
        let rows = rows(store, table, *year, &listed.key).await?;
        Ok::<_, TablesError>((*table, rows))
    });
    let mut rows = rows.buffered(READS_AT_ONCE);
    while let Some((table, rows)) = rows.try_next().await? {
        database.insert(&table.schema, rows)?;
        progress.advance();
    }
    progress.end();
    Ok((database, views))
}

/// The partition that a file is in, if it is a table file.
fn year(listed: &Listed) -> Option<i64> {
    match listed.key.parse() {
        Ok(Key::TableFile { document, .. }) => Some(document.extracted_at.moment().year().into()),
        _ => None,
    }
}

async fn rows(
    store: &dyn Store,
    table: &CatalogTable,
    year: i64,
    key: &str,
) -> Result<Vec<Vec<Cell>>, TablesError> {
    // Another run may have replaced the table since it was listed.
    let Some(object) = store.get(key).await? else { return Ok(Vec::new()) };
    let (format, schema) = (table.format, table.schema.clone());
    let read =
        tokio::task::spawn_blocking(move || read(object.bytes.into(), format, &schema)).await;
    let read = read.unwrap_or_else(|panic| Err(panic.to_string()));
    let mut rows = read.map_err(|problem| TablesError::File {
        location: store.location(key),
        format,
        problem,
    })?;
    rows.iter_mut().for_each(|row| row.push(Cell::Integer(year)));
    Ok(rows)
}

/// Why the tables can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database fails.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// There are none.
    #[error(
        "no tables in {store} yet (take something to them: `spotify-etl run --store {} --from playlist.json`, or extract a playlist)",
        quoted(.store)
    )]
    None {
        /// The store.
        store: String,
    },
    /// Records can't be read.
    #[error("{}", .problems.join("; "))]
    Records {
        /// Why, each.
        problems: Vec<String>,
    },
    /// A file is no table file.
    #[error(
        "{location} can't be read as {format}: {problem} (delete it, then `spotify-etl replay` makes it again)"
    )]
    File {
        /// Where it is.
        location: String,
        /// What it should be.
        format: Format,
        /// What is wrong with it.
        problem: String,
    },
}
