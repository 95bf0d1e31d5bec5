//! The folders that table files are in: of all tables that have a record or once had one, in all generations
//! and formats. They are found by listing folders, so that their number of files does not matter.

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    layout::{TRANSFORMED, TableFolder},
    store::{Store, StoreError},
};

/// How many folders are listed at a time.
const LISTINGS_AT_ONCE: usize = 16;

/// Returns all folders of table files in a store.
///
/// # Errors
///
/// If the store can't be listed.
pub async fn table_folders(store: &dyn Store) -> Result<Vec<TableFolder>, StoreError> {
    let folders = store.folders(TRANSFORMED).await?;
    Ok(folders.iter().filter_map(|prefix| TableFolder::parse(prefix)).collect())
}

/// Returns the prefixes of the years in each folder of table files, with the folder.
///
/// # Errors
///
/// If the store can't be listed.
pub async fn partitions(
    store: &dyn Store,
    folders: &[TableFolder],
) -> Result<Vec<(TableFolder, String)>, StoreError> {
    let years = stream::iter(folders).map(|folder| async move {
        let years = store.folders(&folder.prefix()).await?;
        Ok::<_, StoreError>((folder, years))
    });
    let found: Vec<_> = years.buffered(LISTINGS_AT_ONCE).try_collect().await?;
    let each = |(folder, years): (&TableFolder, Vec<String>)| {
        let folder = folder.clone();
        years.into_iter().map(move |prefix| (folder.clone(), prefix))
    };
    Ok(found.into_iter().flat_map(each).collect())
}
