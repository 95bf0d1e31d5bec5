//! The tables of a store as a whole: for the catalog, and for SQL on this machine.
//!
//! A statement is answered in four steps: what it reads is found out over empty tables; the files of these
//! tables are listed; those that are not in the database of rows yet, or not as they are now, are read; the
//! statement runs. The database stays between questions, if there is a folder for it. If it can't be used,
//! because it is damaged or another program writes to it, a temporary one takes its place.

use std::{collections::BTreeMap, path::Path};

use futures_util::{StreamExt, TryStreamExt, stream};
use rand::TryRng;
use time::OffsetDateTime;

use super::{
    Progress,
    records::{TableRecord, UnreadRecord, table_records},
};
use crate::{
    answer::{Answer, Cell},
    catalog::{CatalogTable, Dialect, View, views},
    layout::{Format, Key, table_folder},
    query::{CacheFolder, Need, Probe, QueryError, Rows, WantedFile, WantedTable, is_damage},
    remedy::quoted,
    schema::TableSchema,
    store::{Listed, Store, StoreError, list_all},
    table::read,
};

/// So many files are read at a time.
const READS_AT_ONCE: usize = 16;
/// How often the database of rows is tried while other programs change it.
const ATTEMPTS_MAX: usize = 3;
/// The table that other tables' views look into, so that none of them is right without it.
const DOCUMENTS: &str = "snapshot";

/// The tables of a store.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Those whose records can be read, by name.
    pub tables: Vec<CatalogTable>,
    /// Why others are left out, each.
    pub left_out: Vec<String>,
}

/// The tables of a store as its records have them. A table whose record can't be read is left out.
///
/// # Errors
///
/// If there are none, if one can't be read that views of other tables depend on, or if the store fails.
pub async fn tables(store: &dyn Store) -> Result<Tables, TablesError> {
    let (records, unread) = table_records(store).await?;
    let is_crucial = |unread: &UnreadRecord| unread.table == DOCUMENTS;
    if !unread.is_empty() && (records.is_empty() || unread.iter().any(is_crucial)) {
        let problems = unread.into_iter().map(|unread| unread.problem).collect();
        return Err(TablesError::Records { problems });
    }
    if records.is_empty() {
        return Err(TablesError::None { store: store.location("") });
    }
    Ok(Tables {
        tables: records.into_iter().map(catalog_table).collect(),
        left_out: unread.into_iter().map(|unread| unread.problem).collect(),
    })
}

/// Both formats have the same rows; Parquet has less to read.
fn catalog_table(record: TableRecord) -> CatalogTable {
    let TableRecord { schema, generation, formats, .. } = record;
    let is_parquet = formats.contains(&Format::Parquet);
    let format = if is_parquet { Format::Parquet } else { Format::Csv };
    CatalogTable { schema, generation, format }
}

/// SQL over the tables of a store.
pub struct LocalSql<'s> {
    /// The store.
    pub store: &'s dyn Store,
    /// Its tables.
    pub tables: &'s [CatalogTable],
    /// Where rows are kept between questions, and the name of the store there; none keeps none.
    pub cache: Option<(&'s CacheFolder, &'s [u8])>,
    /// The time. A file that was written shortly before may be written again without a trace in its times.
    pub now: OffsetDateTime,
    /// Who watches.
    pub progress: &'s dyn Progress,
}

/// How long before now a file must have been written for its times to tell it from a later one. Some file
/// systems count in steps of two seconds.
const SETTLED_AFTER: time::Duration = time::Duration::seconds(3);

impl LocalSql<'_> {
    /// Answers a `SELECT`.
    ///
    /// # Errors
    ///
    /// If it is none, or not one that SQLite understands; if the store fails, or a file is no table file.
    pub async fn ask(&self, sql: &str) -> Result<Answer, TablesError> {
        let schemas: Vec<&TableSchema> = self.tables.iter().map(|table| &table.schema).collect();
        let views = views(&schemas, Dialect::Sqlite);
        let probe = Probe::new(&schemas, &views)?;
        let needs = probe.needs(sql)?;
        if needs.is_empty() {
            return Ok(probe.ask(sql)?);
        }
        let answer = self.answer(&needs, &views, sql).await;
        answer.map_err(|error| match error {
            TablesError::Query(error) => TablesError::Query(probe.with_names(error)),
            error => error,
        })
    }

    /// Loads everything, for all tables and views to be kept in one file. Returns how many views there are.
    ///
    /// # Errors
    ///
    /// If the store fails, a file is no table file, or the database can't be kept there.
    pub async fn save(&self, path: &Path) -> Result<usize, TablesError> {
        let schemas: Vec<&TableSchema> = self.tables.iter().map(|table| &table.schema).collect();
        let views = views(&schemas, Dialect::Sqlite);
        let all = |table: &CatalogTable| {
            let columns = table.schema.all_columns().map(|(name, _)| name.to_owned()).collect();
            (table.schema.name.clone(), Need { columns, years: i64::MIN..=i64::MAX })
        };
        let needs = self.tables.iter().map(all).collect();
        let mut wanted = self.wanted(&needs).await?;
        let rows = self.load(Rows::temporary()?, &mut wanted).await?;
        rows.save(&schemas, &views, path)?;
        Ok(views.len())
    }

    async fn answer(
        &self,
        needs: &BTreeMap<String, Need>,
        views: &[View],
        sql: &str,
    ) -> Result<Answer, TablesError> {
        let wanted = self.wanted(needs).await?;
        for _ in 0..ATTEMPTS_MAX {
            let mut wanted = wanted.clone();
            match self.cached_answer(&mut wanted, views, sql).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) | Err(TablesError::Query(QueryError::Changed)) => {}
                // What is wrong with the statement or the store is wrong without a cache too.
                Err(error) if !is_of_cache(&error) => return Err(error),
                Err(error) => {
                    tracing::debug!("rows are not cached: {error}");
                    break;
                }
            }
            if self.cache.is_none() {
                break;
            }
        }
        let mut wanted = wanted;
        let rows = self.load(Rows::temporary()?, &mut wanted).await?;
        let answer = rows.ask(&wanted, views, sql)?;
        answer.ok_or(TablesError::Query(QueryError::Changed))
    }

    /// Answers a statement from the cached rows; none if there is no cache, or another program changed it.
    async fn cached_answer(
        &self,
        wanted: &mut [WantedTable<'_>],
        views: &[View],
        sql: &str,
    ) -> Result<Option<Answer>, TablesError> {
        let Some((folder, store)) = self.cache else { return Ok(None) };
        let path = folder.file(store).map_err(QueryError::Cache)?;
        let answered = async {
            let rows = self.load(Rows::in_file(&path)?, wanted).await?;
            Ok(rows.ask(wanted, views, sql)?)
        };
        let answered = answered.await;
        if let Err(TablesError::Query(error)) = &answered
            && is_damage(error)
        {
            folder.discard(&path).map_err(QueryError::Cache)?;
            return Ok(None);
        }
        answered
    }

    /// Lists the files of the tables that are read.
    async fn wanted(
        &self,
        needs: &BTreeMap<String, Need>,
    ) -> Result<Vec<WantedTable<'_>>, TablesError> {
        // What is not sure to be told from a later file is read for this question alone.
        let passing = format!("for one question: {}", token());
        let settled_before = self.now - SETTLED_AFTER;
        let mut wanted = Vec::new();
        for table in self.tables {
            let Some(need) = needs.get(&table.schema.name) else { continue };
            let folder = table_folder(&table.schema.name, table.generation, table.format);
            let file = |listed: Listed| {
                let Ok(Key::TableFile { document, .. }) = listed.key.parse() else { return None };
                let year = i64::from(document.extracted_at.moment().year());
                // A tag follows from the content, times don't.
                let is_settled = listed.tag.is_some() || listed.modified < settled_before;
                let stamp = listed.stamp.filter(|_| is_settled).unwrap_or_else(|| passing.clone());
                Some(WantedFile {
                    key: listed.key,
                    size: listed.size,
                    stamp,
                    document: document.to_string(),
                    year,
                    is_needed: need.years.contains(&year),
                })
            };
            let files = list_all(self.store, &folder).await?.into_iter().filter_map(file);
            wanted.push(WantedTable {
                schema: &table.schema,
                definition: definition(table),
                columns: need.columns.iter().filter(|name| !name.is_empty()).cloned().collect(),
                files: files.collect(),
            });
        }
        Ok(wanted)
    }

    /// Loads the files that are not loaded yet.
    async fn load(
        &self,
        mut rows: Rows,
        wanted: &mut [WantedTable<'_>],
    ) -> Result<Rows, TablesError> {
        let due = rows.prepare(wanted)?;
        let count: usize = due.iter().map(Vec::len).sum();
        if count == 0 {
            return Ok(rows);
        }
        self.progress.begin("read", count);
        for (table, due) in wanted.iter_mut().zip(due) {
            self.load_table(&mut rows, table, &due).await?;
        }
        rows.finish()?;
        self.progress.end();
        Ok(rows)
    }

    async fn load_table(
        &self,
        rows: &mut Rows,
        wanted: &mut WantedTable<'_>,
        due: &[usize],
    ) -> Result<(), TablesError> {
        let table = self.tables.iter().find(|table| table.schema.name == wanted.schema.name);
        let Some(table) = table else { return Ok(()) };
        let mut gone = Vec::new();
        let columns = wanted.read_columns();
        let read = stream::iter(due).map(|place| {
            let file = &wanted.files[*place];
            let columns = &columns;
            async move { Ok::<_, TablesError>((*place, self.rows_of(table, columns, file).await?)) }
        });
        let mut read = read.buffered(READS_AT_ONCE);
        while let Some((place, found)) = read.try_next().await? {
            let file = &wanted.files[place];
            match found {
                Some(found) => rows.load(wanted, file, found)?,
                None => gone.push(file.key.clone()),
            }
            self.progress.advance();
        }
        drop(read);
        // Another run replaced the table since it was listed.
        wanted.files.retain(|file| !gone.contains(&file.key));
        Ok(())
    }

    /// Reads the rows of a file; none if it is gone.
    async fn rows_of(
        &self,
        table: &CatalogTable,
        columns: &[&str],
        file: &WantedFile,
    ) -> Result<Option<Vec<Vec<Cell>>>, TablesError> {
        let Some(object) = self.store.get(&file.key).await? else { return Ok(None) };
        let (format, schema) = (table.format, table.schema.clone());
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let read = tokio::task::spawn_blocking(move || {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            read(object.bytes.into(), format, &schema, &columns)
        });
        let read = read.await.unwrap_or_else(|panic| Err(panic.to_string()));
        // The first column is the document.
        let is_of_file = |row: &Vec<Cell>| matches!(row.first(), Some(Cell::Text(document)) if *document == file.document);
        let checked = read.and_then(|rows| match rows.iter().position(|row| !is_of_file(row)) {
            Some(place) => {
                Err(format!("its row {} is not of document {}", place + 1, file.document))
            }
            None => Ok(rows),
        });
        let location = self.store.location(&file.key);
        checked.map(Some).map_err(|problem| TablesError::File { location, format, problem })
    }
}

/// Returns what tells a table's files from those of an earlier generation, another format or other columns.
fn definition(table: &CatalogTable) -> String {
    let columns = table.schema.all_columns().map(|(name, kind)| format!("{name} {kind}"));
    let columns: Vec<String> = columns.collect();
    format!("generation {} {}: {}", table.generation, table.format, columns.join(", "))
}

/// Whether an error is about the cache alone.
fn is_of_cache(error: &TablesError) -> bool {
    use QueryError::{Cache, Changed, Foreign, Sqlite};
    matches!(error, TablesError::Query(Sqlite(_) | Cache(_) | Changed | Foreign))
}

/// Returns a text that no other question has.
fn token() -> String {
    let mut bytes = [0; 16];
    // A system without randomness only tells questions apart less well.
    let _ = rand::rngs::SysRng.try_fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
