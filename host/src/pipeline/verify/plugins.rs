//! Checks plugins: the active ones, and every version that the history keeps.

use bytes::Bytes;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    super::{active::pretty, versions::HistoryRecord},
    checker::Checker,
    listing::related,
    mend::{Step, Way},
    report::{Checked, Finding, Kind},
};
use crate::{document::sha256, layout::Key, store::StoreError};

impl Checker<'_> {
    /// Checks an object among the plugins.
    ///
    /// # Errors
    ///
    /// If the store can't be reached.
    pub async fn of_plugins(
        &self,
        key: &Key,
        bytes: &Bytes,
        checked: &mut Checked,
    ) -> Result<(), StoreError> {
        let text = key.to_string();
        let finding = match key {
            Key::Plugin { name } => match self.hash(bytes).await {
                Ok(is) => self.active_plugin(&text, name, &is).await?,
                Err(panic) => Some(Finding::problem(Kind::Unreadable, &text, panic)),
            },
            Key::PluginError { name } => {
                let is_stray = self.see(&related(key)[0]).await?.is_none();
                let message =
                    format!("says what is wrong with plugin `{name}`, which is not there");
                let finding = Finding::problem(Kind::Orphan, &text, message);
                is_stray.then(|| finding.or(Step::delete(&text)))
            }
            Key::History { name, sha256 } => {
                let missing = self.missing_half(key, name, sha256).await?;
                checked.findings.extend(missing);
                let message = match self.hash(bytes).await {
                    Ok(is) if is == *sha256 => None,
                    Ok(is) => Some((Kind::Hash, wrong_hash(&is))),
                    Err(panic) => Some((Kind::Unreadable, panic)),
                };
                message.map(|(kind, message)| {
                    let finding = Finding::problem(kind, &text, message);
                    self.new_version(finding, name, sha256)
                })
            }
            Key::HistoryRecord { name, sha256 } => {
                let missing = self.missing_half(key, name, sha256).await?;
                checked.findings.extend(missing);
                record_fault(bytes, name, sha256).map(|why| {
                    let message = format!("is not the record of this version: {why}");
                    let finding = Finding::problem(Kind::Unreadable, &text, message);
                    self.new_version(finding, name, sha256)
                })
            }
            _ => None,
        };
        checked.findings.extend(finding);
        Ok(())
    }

    async fn hash(&self, bytes: &Bytes) -> Result<String, String> {
        let bytes = bytes.clone();
        self.work(move || sha256(&bytes)).await
    }

    /// Checks that a version has both its file and its record, of which one is there.
    async fn missing_half(
        &self,
        key: &Key,
        name: &str,
        sha256: &str,
    ) -> Result<Option<Finding>, StoreError> {
        let other = &related(key)[0];
        if self.see(other).await?.is_some() {
            return Ok(None);
        }
        let message = format!("is missing from the history of plugins, which has {key}");
        let finding = Finding::problem(Kind::Missing, other, message);
        Ok(Some(self.new_version(finding, name, sha256)))
    }

    async fn active_plugin(
        &self,
        key: &str,
        name: &str,
        is: &str,
    ) -> Result<Option<Finding>, StoreError> {
        let report = self.context.reports.iter().find(|report| report.name == name);
        let last = self.last_version(name, is);
        let back = |finding: Finding| match &last {
            Some(sha256) => {
                finding.or(Step::Rollback { name: name.to_owned(), sha256: sha256.clone() })
            }
            None => finding,
        };
        // Plugins that are taken from elsewhere are not looked at here.
        let problem = report.and_then(|report| report.problem.as_ref());
        if let Some(problem) = problem.filter(|_| self.verify.has_own_plugins()) {
            let finding = Finding::problem(Kind::Unreadable, key, &problem.message);
            let check = Step::CheckPlugin { name: name.to_owned() };
            return Ok(Some(back(finding).or(check)));
        }
        // One of both that is damaged or missing is reported itself.
        let version = Key::History { name: name.to_owned(), sha256: is.to_owned() };
        for known in related(&version).into_iter().chain([version.to_string()]) {
            if self.see(&known).await?.is_some() {
                return Ok(None);
            }
        }
        let short = is.get(..12).unwrap_or(is);
        let message = format!(
            "is not in the history of plugins (SHA-256 {short}...): it was uploaded and no run has used it, or it was damaged"
        );
        let finding = Finding::problem(Kind::Unknown, key, message);
        Ok(Some(back(finding).or(Step::RecordPlugins)))
    }

    /// The version of a plugin that was active last, other than this one.
    fn last_version(&self, name: &str, other: &str) -> Option<String> {
        // A version without tables is a file that was no plugin, kept when it was replaced.
        let is_other = |one: &&HistoryRecord| {
            one.name == name && one.sha256 != other && !one.tables.is_empty()
        };
        let versions = self.context.history.values().filter(is_other);
        versions.max_by_key(|one| one.active_since().to_owned()).map(|one| one.sha256.clone())
    }

    /// The ways to complete a version of the history: from the active plugin, or from where its file is.
    fn new_version(&self, finding: Finding, name: &str, sha256: &str) -> Finding {
        let is_missing = finding.kind == Kind::Missing;
        let damaged = (!is_missing).then(|| Step::delete(&finding.key));
        let is_active = self.verify.has_own_plugins()
            && self.context.reports.iter().any(|report| {
                report.name == name && report.sha256 == sha256 && report.problem.is_none()
            });
        if is_active {
            let steps = damaged.into_iter().chain([Step::RecordPlugins]).collect();
            return finding.or(Way(steps));
        }
        let (name, sha256) = (name.to_owned(), sha256.to_owned());
        let file = Key::History { name: name.clone(), sha256: sha256.clone() }.to_string();
        let record = Key::HistoryRecord { name, sha256 }.to_string();
        let is_file = finding.key == file;
        let finding = match is_file {
            true => finding.or(Step::Restore { key: file.clone() }),
            false => finding,
        };
        // Else it is no version any more.
        let other = if is_file { record } else { file };
        finding.or(Way(damaged.into_iter().chain([Step::delete(other)]).collect()))
    }
}

fn wrong_hash(is: &str) -> String {
    let short = is.get(..12).unwrap_or(is);
    format!("has the SHA-256 {short}..., and its name says another")
}

/// Returns what is wrong with the record of a version, if anything.
fn record_fault(bytes: &[u8], name: &str, sha256: &str) -> Option<String> {
    let record = match HistoryRecord::parse(name, sha256, bytes) {
        Ok(record) => record,
        Err(error) => return Some(error.to_string()),
    };
    let times = record.activations.iter().map(|one| &one.at).chain([&record.seen_at]);
    for text in times {
        if OffsetDateTime::parse(text, &Rfc3339).is_err() {
            return Some(format!("`{}` is not a time", text.escape_debug()));
        }
    }
    // Earlier hosts did not record the tables.
    let is_earlier = record.tables.is_empty();
    (!is_earlier && pretty(&record) != bytes)
        .then(|| "it has something that this program does not write".to_owned())
}
