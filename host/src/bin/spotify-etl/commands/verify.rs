//! A store, verified and repaired.

use std::time::Duration;

use anyhow::Result;
use spotify_etl::{
    pipeline::verify::{Effect, JournalPlace, Start, Verify},
    store::StoreAddress,
};

use super::Session;
use crate::{progress::Bar, render};

/// How long a problem must last to be reported: a program that replaces files needs less to record them.
const PATIENCE: Duration = Duration::from_secs(1);

impl Session {
    /// Verifies a store, and repairs it if that was asked for.
    pub async fn verify(&self, start: Start, effect: Effect) -> Result<u8> {
        self.require_store()?;
        let journal = self
            .cache
            .as_ref()
            .map(|cache| JournalPlace { folder: cache.clone(), store: self.identity() });
        let verify = Verify {
            store: self.store(),
            name: self.common.store.to_string(),
            plugins: self.plugins(),
            shelf: &self.shelf,
            limits: self.limits.clone(),
            jobs: self.jobs(),
            now: self.now,
            progress: &Bar,
            journal,
            start,
            effect,
            patience: PATIENCE,
        };
        let report = verify.run().await?;
        self.print(&report, || render::verified(&report))?;
        Ok(report.exit_status)
    }

    /// What tells the store from all others, wherever this program is started.
    fn identity(&self) -> String {
        match &self.common.store {
            StoreAddress::Folder(path) => {
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                path.display().to_string()
            }
            bucket @ StoreAddress::Bucket { .. } => bucket.to_string(),
        }
    }
}
