//! The tables in SQL: at home, and in Athena.

use std::{
    io::Read as _,
    path::{Path, PathBuf, absolute},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use spotify_etl::{
    answer::Answer,
    athena::{Athena, AthenaSettings},
    catalog::{CatalogTable, DatabaseName, is_steering, script, statements},
    config::Bytes,
    pipeline::{
        cataloging::{Place, apply, check},
        tables::{LocalSql, Tables, tables},
    },
    query::CacheFolder,
    store::StoreAddress,
};

use super::Session;
use crate::{
    args::{AthenaArgs, CatalogArgs, CatalogCommand},
    progress::Bar,
    render,
};

/// How an answer is shown, unless as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// To people.
    Table,
    /// To programs.
    Csv,
}

impl Session {
    /// Answers a `SELECT` over the store's tables.
    pub async fn query(&self, sql: &str, form: Form) -> Result<u8> {
        self.require_store()?;
        let tables = self.tables().await?;
        let cache = self.row_cache();
        let store = self.common.store.identity();
        let cache = cache.as_ref().map(|folder| (folder, store.as_slice()));
        let answer = self.local_sql(&tables, cache).ask(sql).await?;
        self.show_answer(&answer, form)?;
        Ok(0)
    }

    /// The tables of the store. Says which ones are left out, and why.
    async fn tables(&self) -> Result<Vec<CatalogTable>> {
        let Tables { tables, left_out } = tables(self.store()).await?;
        for problem in left_out {
            render::error_text(&format!("warning: a table is left out: {problem}"));
        }
        Ok(tables)
    }

    fn local_sql<'s>(
        &'s self,
        tables: &'s [CatalogTable],
        cache: Option<(&'s CacheFolder, &'s [u8])>,
    ) -> LocalSql<'s> {
        LocalSql { store: self.store(), tables, cache, now: self.now, progress: &Bar }
    }

    /// Where rows are kept between questions.
    pub(super) fn row_cache(&self) -> Option<CacheFolder> {
        let folder = self.cache.as_deref()?;
        match CacheFolder::new(folder) {
            Ok(folder) => Some(folder),
            Err(error) => {
                tracing::debug!("rows are not cached in {}: {error}", folder.display());
                None
            }
        }
    }

    /// Has Athena answer a statement.
    pub async fn ask_athena(
        &self,
        sql: &str,
        form: Form,
        database: DatabaseName,
        args: &AthenaArgs,
        max_scan: Option<u64>,
    ) -> Result<u8> {
        let athena = self.athena(args, Some(database.to_string()), max_scan).await?;
        let found = athena.ask(sql).await?;
        let (read, seconds) = (Bytes(found.bytes_scanned), found.milliseconds as f64 / 1e3);
        let query_id = &found.query_id;
        tracing::info!("Athena read {read} in {seconds:.1} s for {query_id}");
        self.show_answer(&found.answer, form)?;
        Ok(0)
    }

    fn show_answer(&self, answer: &Answer, form: Form) -> Result<()> {
        if self.common.json {
            render::json(&render::answer_json(answer)?)?;
        } else if form == Form::Csv {
            let text = render::answer_csv(answer)?;
            render::csv(text.strip_suffix('\n').unwrap_or(&text))?;
        } else {
            render::data(&render::answer(answer))?;
        }
        Ok(())
    }

    /// Keeps all tables and views in a file.
    pub async fn save(&self, path: &Path) -> Result<u8> {
        self.require_store()?;
        let tables = self.tables().await?;
        let views = self.local_sql(&tables, None).save(path).await?;
        let tables = tables.len();
        let saved = serde_json::json!({ "file": path, "tables": tables, "views": views });
        self.print(&saved, || {
            format!("{}: {tables} tables, {views} views as tables", path.display())
        })?;
        Ok(0)
    }

    /// Prints the catalog, compares it, or makes it.
    pub async fn catalog(&self, command: CatalogCommand) -> Result<u8> {
        self.require_store()?;
        match command {
            CatalogCommand::Ddl { place } => self.ddl(&place).await,
            CatalogCommand::Check { place, athena } => {
                let athena = self.athena(&athena, None, None).await?;
                let place = self.place_in_a_bucket(&place)?;
                let differences = check(self.store(), &athena, &place).await?;
                self.print(&differences, || match differences.as_slice() {
                    [] => format!("Athena's `{}` has the tables of the store", place.database),
                    _ => format!(
                        "{}\n\nspotify-etl catalog apply makes it like the store's tables",
                        differences.join("\n")
                    ),
                })?;
                Ok(u8::from(!differences.is_empty()))
            }
            CatalogCommand::Apply { place, athena } => {
                let athena = self.athena(&athena, None, None).await?;
                let place = self.place_in_a_bucket(&place)?;
                let report = apply(self.store(), &athena, &place).await?;
                self.print(&report, || render::applied(&report, place.database.as_str()))?;
                Ok(0)
            }
        }
    }

    async fn ddl(&self, args: &CatalogArgs) -> Result<u8> {
        let tables = self.tables().await?;
        let place = self.place(args)?;
        let remark = (!place.location.starts_with("s3://")).then_some(
            "The store is a folder, and Athena reads buckets alone: --location s3://bucket/prefix\nsays where its folders will be.",
        );
        let statements = statements(&tables, &place.database, &place.location);
        if self.common.json {
            render::json(&serde_json::to_string_pretty(&statements)?)?;
        } else {
            render::csv(script(&statements, remark).trim_end())?;
        }
        Ok(0)
    }

    pub async fn athena(
        &self,
        args: &AthenaArgs,
        database: Option<String>,
        scan_bytes_max: Option<u64>,
    ) -> Result<Athena> {
        let AthenaArgs { workgroup, output } = args;
        let settings = AthenaSettings {
            workgroup: workgroup.clone(),
            output: output.clone(),
            database,
            scan_bytes_max,
            patience: Duration::from_secs(self.limits.query_seconds),
        };
        Ok(Athena::open(settings).await?)
    }

    fn place(&self, args: &CatalogArgs) -> Result<Place> {
        let address = match (&args.location, &self.common.store) {
            (Some(location), _) => location.clone(),
            (None, StoreAddress::Folder(path)) => format!("file://{}", whole(path)?.display()),
            (None, bucket) => bucket.to_string(),
        };
        let is_place = match address.parse() {
            Ok(StoreAddress::Bucket { .. }) => true,
            _ => address.starts_with("file:///"),
        };
        if !is_place {
            bail!("`{address}` is no place that Athena finds, such as s3://bucket/prefix");
        }
        if address.contains(|letter| letter == '\'' || is_steering(letter)) {
            bail!(
                "`{address}` can't stand in a statement: it has a quote or a control character in it"
            );
        }
        let location = format!("{}/", address.trim_end_matches('/'));
        Ok(Place { database: args.database.clone(), location })
    }

    fn place_in_a_bucket(&self, args: &CatalogArgs) -> Result<Place> {
        let place = self.place(args)?;
        if !place.location.starts_with("s3://") {
            bail!(
                "Athena reads buckets alone, and the store is {} (name one with --store s3://bucket/prefix; at home: spotify-etl query)",
                self.common.store
            );
        }
        Ok(place)
    }
}

fn whole(path: &Path) -> Result<PathBuf> {
    absolute(path).with_context(|| format!("{} is no place", path.display()))
}

/// What is asked: typed, in a file, or on standard input.
pub fn sentence(sql: Option<&str>, file: Option<&Path>) -> Result<String> {
    let text = match (sql, file) {
        (_, Some(path)) => std::fs::read_to_string(path)
            .with_context(|| format!("{} can't be read", path.display()))?,
        (Some("-"), None) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input can't be read")?;
            text
        }
        (sql, None) => sql.unwrap_or_default().to_owned(),
    };
    let text = text.trim().trim_end_matches(';').trim_end();
    if text.is_empty() {
        bail!("nothing is asked: give a SELECT, such as \"SELECT * FROM chart WHERE is_latest\"");
    }
    Ok(text.to_owned())
}
