//! Deletes documents, after asking.

use std::io::IsTerminal as _;

use anyhow::{Result, bail};
use spotify_etl::pipeline::{
    Mode,
    delete::{Deleted, Deletion, Execution},
};

use super::{Session, Transformed, Work};
use crate::{args::DeleteArgs, progress::Bar, render};

impl Session {
    /// Deletes documents with everything derived from them.
    pub async fn delete(&self, args: &DeleteArgs) -> Result<u8> {
        self.require_store()?;
        let mode = if args.dry_run { Mode::DryRun } else { Mode::Write };
        if mode == Mode::Write && !args.yes {
            let shown = self.deletion(args).await?.run(&self.execution(Mode::DryRun)).await;
            self.require_consent(&shown)?;
        }
        let Deleted { report, documents, warnings } =
            self.deletion(args).await?.run(&self.execution(mode)).await;
        if mode == Mode::Write {
            self.forget_rows();
        }
        let transformed = Transformed { documents, ..Transformed::default() };
        let work = Work { deleted: Some(report), transformed, warnings, ..Work::default() };
        self.finish("delete", work).await
    }

    async fn deletion(&self, args: &DeleteArgs) -> Result<Deletion<'_>> {
        Ok(match &args.playlist {
            Some(playlist) => Deletion::of_playlist(self.store(), playlist).await?,
            None => Deletion::of_names(self.store(), &self.keys(args.documents.clone())).await?,
        })
    }

    fn execution(&self, mode: Mode) -> Execution<'_> {
        Execution { mode, pages: Some(&self.pages), progress: &Bar }
    }

    /// Asks whether what is shown should be deleted.
    fn require_consent(&self, shown: &Deleted) -> Result<()> {
        if self.common.json || !std::io::stdin().is_terminal() {
            bail!(
                "nothing was deleted: without a terminal, or with --json, there is no question (--dry-run shows what would be deleted; --yes deletes it)"
            );
        }
        render::ask(&render::deletion_question(&shown.documents, &shown.report))?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("nothing was deleted: the answer was not `y`");
        }
        Ok(())
    }

    /// Deletes the rows that queries keep on this machine.
    fn forget_rows(&self) {
        let Some(cache) = self.row_cache() else { return };
        if let Err(error) = cache.forget(&self.common.store.identity()) {
            tracing::warn!("rows that queries keep on this machine were not deleted: {error}");
        }
    }
}
