//! Checks a document as a whole: its raw objects, its lineage, and its table files against both.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    super::lineage::{Lineage, TableFile},
    checker::{Checker, Read, Seen, too_large},
    listing::related,
    mend::{Step, Way},
    raw::Raw,
    report::{Checked, Fact, Finding, Kind},
};
use crate::{
    config::HOST_VERSION,
    document::{DocumentId, sha256},
    layout::{Format, Key, Stage},
    store::StoreError,
    table::count_rows,
};

/// The lineage of a document, as far as it can be used.
enum Said {
    /// There is none.
    Nothing,
    /// It can't be used.
    Damaged,
    /// It is this one.
    Lineage(Lineage),
}

/// A document that is checked.
struct Subject<'d> {
    id: &'d DocumentId,
    raw: Raw,
    lineage_key: String,
}

impl Subject<'_> {
    /// The commands that make the lineage again.
    fn new_lineage(&self) -> Way {
        [Step::delete(&self.lineage_key), self.raw.remake()].into()
    }
}

impl Checker<'_> {
    /// Checks a document, whose listed objects are given by key.
    ///
    /// # Errors
    ///
    /// If the store can't be reached.
    pub async fn document(&self, id: &DocumentId, keys: &[String]) -> Result<Checked, StoreError> {
        let mut checked = Checked::default();
        let lineage_key = Key::Lineage { document: id.clone() }.to_string();
        // The lineage before the files: programs that replace files change the lineage first.
        let raw = self.raw(id, &mut checked).await?;
        let subject = Subject { id, raw, lineage_key };
        let said = self.lineage(&subject, &mut checked).await?;
        let mut files: BTreeSet<String> =
            keys.iter().filter(|key| is_table_file(key)).cloned().collect();
        if let Said::Lineage(lineage) = &said {
            let current = lineage.files.iter().filter(|file| self.is_current(file));
            files.extend(current.map(|file| file.key.clone()));
        }
        if !subject.raw.exists() {
            self.orphans(&subject, &files, &mut checked).await?;
            return Ok(checked);
        }
        match &said {
            Said::Lineage(lineage) => {
                let lineage_files: BTreeMap<&str, &TableFile> =
                    lineage.files.iter().map(|file| (file.key.as_str(), file)).collect();
                files.extend(self.declared(&subject, lineage));
                for key in &files {
                    let file = lineage_files.get(key.as_str()).copied();
                    self.file(&subject, key, file, &mut checked).await?;
                }
                self.makers(&subject, lineage, &mut checked);
            }
            Said::Nothing => {
                for key in &files {
                    self.file(&subject, key, None, &mut checked).await?;
                }
            }
            // The files are checked when the lineage can be read again.
            Said::Damaged => {}
        }
        Ok(checked)
    }

    async fn lineage(
        &self,
        subject: &Subject<'_>,
        checked: &mut Checked,
    ) -> Result<Said, StoreError> {
        let key = &subject.lineage_key;
        let Some(seen) = self.see(key).await? else {
            if subject.raw.is_in(Stage::Processed) {
                let message = "is missing: nothing says what made the tables of this document";
                let finding = Finding::problem(Kind::Missing, key, message);
                checked.findings.push(finding.or(subject.raw.remake()));
            }
            return Ok(Said::Nothing);
        };
        let max = self.verify.limits.document_bytes;
        if seen.size > max {
            checked.findings.push(too_large(key, "document_bytes", max));
            return Ok(Said::Damaged);
        }
        let object = match self.read(key, checked).await? {
            Read::Object(object) => object,
            Read::Gone => return Ok(Said::Nothing),
            Read::Failed => return Ok(Said::Damaged),
        };
        let (id, bytes) = (subject.id.clone(), object.bytes);
        let read = self.work(move || read_lineage(&bytes, &id)).await;
        match read.and_then(|read| read) {
            Ok(lineage) => Ok(Said::Lineage(lineage)),
            // An orphan is reported as such.
            Err(_) if !subject.raw.exists() => Ok(Said::Damaged),
            Err(why) => {
                let message = format!("is not the lineage of this document: {why}");
                let finding = Finding::problem(Kind::Unreadable, key, message);
                checked.findings.push(finding.or(subject.new_lineage()));
                Ok(Said::Damaged)
            }
        }
    }

    /// Reports what was derived from a raw document that is not in the store.
    async fn orphans(
        &self,
        subject: &Subject<'_>,
        files: &BTreeSet<String>,
        checked: &mut Checked,
    ) -> Result<(), StoreError> {
        for key in files.iter().chain([&subject.lineage_key]) {
            if self.see(key).await?.is_none() {
                continue;
            }
            let message =
                "has no raw document in the store: bring that back, or delete the document";
            let finding = Finding::problem(Kind::Orphan, key, message);
            let finding =
                finding.or(Step::run_again(subject.id)).or(Step::delete_document(subject.id));
            checked.findings.push(finding);
        }
        Ok(())
    }

    /// Checks a table file against what lineage says about it.
    async fn file(
        &self,
        subject: &Subject<'_>,
        key: &str,
        file: Option<&TableFile>,
        checked: &mut Checked,
    ) -> Result<(), StoreError> {
        let Ok(Key::TableFile { table, generation, format, .. }) = key.parse() else {
            return Ok(());
        };
        // Those that nothing reads are reported by folder.
        if !self.context.is_read(&table, generation, format) {
            return Ok(());
        }
        let report = |kind, message: String| {
            Finding::problem(kind, key, message).or(self.remake(subject, &table))
        };
        let finding = match (file, self.see(key).await?) {
            (None, None) => Some(report(
                Kind::Missing,
                "is missing, and so is its lineage, although the plugin made other tables of this document".to_owned(),
            )),
            (Some(_), None) => {
                Some(report(Kind::Missing, "is missing, although lineage has it".to_owned()))
            }
            (None, Some(_)) if !subject.raw.is_in(Stage::Processed) => {
                let message = "has no lineage yet, as its document has not been processed";
                Some(Finding::note(Kind::Unknown, key, message).or(subject.raw.remake()))
            }
            (None, Some(_)) => Some(report(
                Kind::Unknown,
                "has no lineage, so nothing says what made it".to_owned(),
            )),
            (Some(file), Some(seen)) => {
                return self.content(subject, (file, &seen), format, checked).await;
            }
        };
        checked.findings.extend(finding);
        Ok(())
    }

    /// Checks the content of a table file.
    async fn content(
        &self,
        subject: &Subject<'_>,
        (file, seen): (&TableFile, &Seen),
        format: Format,
        checked: &mut Checked,
    ) -> Result<(), StoreError> {
        let (key, table) = (&file.key, &file.table);
        let report = |kind, message: String| {
            Finding::problem(kind, key, message).or(self.remake(subject, table))
        };
        if file.bytes != 0 && seen.size != file.bytes {
            let (is, should) = (seen.size, file.bytes);
            let message = format!("has {is} bytes, and lineage says {should}");
            checked.findings.push(report(Kind::Size, message));
            return Ok(());
        }
        let max = self.verify.limits.output_bytes;
        if seen.size > max {
            checked.findings.push(too_large(key, "output_bytes", max));
            return Ok(());
        }
        let object = match self.read(key, checked).await? {
            Read::Object(object) => object,
            Read::Failed => return Ok(()),
            Read::Gone => {
                let message = "is missing, although lineage has it".to_owned();
                checked.findings.push(report(Kind::Missing, message));
                return Ok(());
            }
        };
        let expected = file.sha256.clone();
        let found = self.work(move || {
            let is = sha256(&object.bytes);
            let rows = (is == expected).then(|| count_rows(&object.bytes, format));
            (is, rows)
        });
        match found.await {
            Err(panic) => checked.findings.push(report(Kind::Unreadable, panic)),
            Ok((is, None)) => {
                let message = format!(
                    "has the SHA-256 {}..., and lineage says {}...",
                    is.get(..12).unwrap_or(&is),
                    file.sha256.get(..12).unwrap_or(&file.sha256)
                );
                let finding = Finding::problem(Kind::Hash, key, message);
                // A replay takes a bucket's word for content whose mark did not change.
                let is_trusted = file.etag.is_some() && file.etag == seen.etag;
                let way = self.remake(subject, table);
                checked.findings.push(match is_trusted {
                    true => finding.or(Way([vec![Step::delete(key)], way.0].concat())),
                    false => finding.or(way),
                });
            }
            Ok((_, Some(Ok(rows)))) if rows == file.rows => {}
            Ok((_, Some(Ok(rows)))) => {
                let said = file.rows;
                let message = format!("says that {key} has {said} rows, and it has {rows}");
                checked.findings.push(self.wrong_lineage(subject, message));
            }
            Ok((_, Some(Err(why)))) => {
                let message = format!("has the right SHA-256, but can't be read: {why}");
                checked.findings.push(report(Kind::Unreadable, message));
            }
        }
        Ok(())
    }

    fn wrong_lineage(&self, subject: &Subject<'_>, message: String) -> Finding {
        let finding = Finding::problem(Kind::Inconsistent, &subject.lineage_key, message);
        finding.or(subject.new_lineage())
    }

    /// The commands that make the file of a table again. Its plugin has to be active for that.
    fn remake(&self, subject: &Subject<'_>, table: &str) -> Way {
        let remake = subject.raw.remake();
        let owner = self.context.records.get(table).map(|record| record.owner.clone());
        match (self.context.filler(table), owner) {
            (None, Some(name)) => [Step::Publish { name }, remake].into(),
            _ => remake.into(),
        }
    }

    fn is_current(&self, file: &TableFile) -> bool {
        match file.key.parse() {
            Ok(Key::TableFile { table, generation, format, .. }) => {
                self.context.is_read(&table, generation, format)
            }
            _ => false,
        }
    }

    /// The files that must be there: those of all tables that a plugin has declared, if it made any of them.
    fn declared(&self, subject: &Subject<'_>, lineage: &Lineage) -> BTreeSet<String> {
        let current = lineage.files.iter().filter(|file| self.is_current(file));
        let makers: BTreeSet<(&str, &str)> =
            current.map(|file| (file.plugin.name.as_str(), file.plugin.sha256.as_str())).collect();
        let tables =
            makers.into_iter().flat_map(|(name, sha256)| self.context.tables_of(name, sha256));
        tables.flat_map(|table| self.context.current_keys(table, subject.id)).collect()
    }

    /// Checks what lineage says about the plugins that made the files.
    fn makers(&self, subject: &Subject<'_>, lineage: &Lineage, checked: &mut Checked) {
        let mut facts = BTreeSet::new();
        for file in lineage.files.iter().filter(|file| self.is_current(file)) {
            let maker = &file.plugin;
            let (plugin, sha256) = (maker.name.clone(), maker.sha256.clone());
            let wrong = match self.context.history.get(&(plugin.clone(), sha256.clone())) {
                // A version of which something is left is reported itself.
                None if self.has_version(&plugin, &sha256) => None,
                None => {
                    facts.insert(Fact::UnknownMaker { plugin, sha256 });
                    None
                }
                Some(record) if record.version != maker.version => Some(format!(
                    "says that version {} of plugin `{plugin}` made {}, whose SHA-256 is that of version {}",
                    maker.version.escape_debug(),
                    file.key,
                    record.version
                )),
                Some(_) => None,
            };
            let owner = self.context.records.get(&file.table).map(|record| &record.owner);
            let wrong = wrong.or_else(|| {
                let owner = owner.filter(|owner| **owner != maker.name)?;
                let (made, table) = (maker.name.escape_debug(), &file.table);
                Some(format!(
                    "says that plugin `{made}` made {}, and table `{table}` belongs to `{owner}`",
                    file.key
                ))
            });
            let wrong = wrong.or_else(|| {
                let (column, nulls) = file.nulls.iter().find(|(_, nulls)| **nulls > file.rows)?;
                Some(format!(
                    "says that {nulls} values of {column} are null in {}, which has {} rows",
                    file.key, file.rows
                ))
            });
            checked.findings.extend(wrong.map(|message| self.wrong_lineage(subject, message)));
        }
        if subject.raw.is_in(Stage::Processed) {
            self.versions(lineage, &mut facts);
        }
        checked.facts.extend(facts);
        checked.findings.dedup_by(|one, other| one.subject() == other.subject());
    }

    /// Whether the history of plugins lists the file of a version, or its record.
    fn has_version(&self, name: &str, sha256: &str) -> bool {
        let key = Key::History { name: name.to_owned(), sha256: sha256.to_owned() };
        let keys = related(&key).into_iter().chain([key.to_string()]);
        keys.into_iter().any(|key| self.listing.find(&key).is_some())
    }

    /// Notes which plugins would make other files than those that are there.
    fn versions(&self, lineage: &Lineage, facts: &mut BTreeSet<Fact>) {
        for active in &self.context.active {
            let (name, sha256) = (active.plugin.name(), active.plugin.sha256());
            let all: Vec<_> =
                lineage.files.iter().filter(|file| active.plugin.fills(&file.table)).collect();
            let current: Vec<_> = all.iter().filter(|file| self.is_current(file)).collect();
            if all.is_empty() {
                facts.insert(Fact::Without { plugin: name.to_owned() });
            } else if current.is_empty() {
                facts.extend(all.first().map(|file| Fact::OnlyOld { table: file.table.clone() }));
            } else if current
                .iter()
                .any(|file| file.plugin.sha256 != sha256 || file.host_version != HOST_VERSION)
            {
                facts.insert(Fact::OutOfDate { plugin: name.to_owned() });
            }
        }
    }
}

/// Reads a lineage, which must be as this program writes it.
fn read_lineage(bytes: &[u8], id: &DocumentId) -> Result<Lineage, String> {
    let lineage = Lineage::parse(bytes, id).map_err(|error| error.to_string())?;
    let is_same = lineage.to_bytes() == bytes
        || serde_json::from_slice(bytes).is_ok_and(|stored: Value| {
            without_sizes(stored)
                == without_sizes(serde_json::to_value(&lineage).unwrap_or_default())
        });
    match is_same {
        true => Ok(lineage),
        false => Err("it has something that this program does not write".to_owned()),
    }
}

/// A lineage without the sizes that are not known: earlier hosts did not record them.
fn without_sizes(mut lineage: Value) -> Value {
    let files = lineage.get_mut("files").and_then(Value::as_array_mut);
    for file in files.into_iter().flatten().filter_map(Value::as_object_mut) {
        if file.get("bytes") == Some(&0.into()) {
            file.remove("bytes");
        }
    }
    lineage
}

fn is_table_file(key: &str) -> bool {
    matches!(key.parse(), Ok(Key::TableFile { .. }))
}
