//! Stores the table files of a document, and its lineage with them.
//!
//! Lineage names the plugin that made each file, and the file's hash. Programs that work on one document at
//! the same time, with different versions of a plugin, must not leave the lineage of one beside the files
//! of another. So a file is created only where none is, or replaced only if it did not change since it was
//! looked at, and a writer that replaces files first claims them: it removes them from the lineage and puts
//! a token there. It records files as its own only if the lineage did not change in between; otherwise it
//! starts again.
//! A program that is killed in between leaves files without lineage, which the next run stores again.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use rand::TryRng;

use super::{
    active::ActivePlugin,
    lineage::{Lineage, TableFile},
};
use crate::{
    document::{DocumentId, sha256},
    layout::{Format, Key, table_folder},
    store::{Listed, Object, Store, StoreError, Tag, Written, list_all},
};

/// How often a writer starts again because another program changed the same files.
const ATTEMPTS_MAX: usize = 20;

/// The table files that a plugin made of a document.
pub struct PluginFiles {
    /// The plugin's name.
    pub plugin: String,
    /// The files, with their content.
    pub files: Vec<(TableFile, Vec<u8>)>,
}

/// A table file in the store.
#[derive(Clone, Debug)]
pub struct StoredFile {
    /// The SHA-256 of its content.
    pub sha256: String,
    /// Its tag.
    pub tag: Tag,
}

impl StoredFile {
    fn of(object: &Object) -> Self {
        StoredFile { sha256: sha256(&object.bytes), tag: object.tag() }
    }
}

/// Table files by key, as they were looked at; none where there is no file.
pub type StoredFiles = BTreeMap<String, Option<StoredFile>>;

/// What is known of a document before its files are written. The lineage was read before the files.
#[derive(Debug)]
pub struct Before {
    /// Its stored lineage.
    pub lineage: Option<Object>,
    /// Its files, as far as they are known.
    pub files: StoredFiles,
}

/// The outcome of writing a document's files.
#[derive(Debug, Default)]
pub struct Recorded {
    /// The lineage that is stored now, if there is one.
    pub lineage: Option<Lineage>,
    /// The plugins whose files could not be stored.
    pub failed: Vec<(String, StoreError)>,
}

/// Writes the table files of one document.
pub struct TableWriter<'s> {
    /// The store.
    pub store: &'s dyn Store,
    /// The document.
    pub document: &'s DocumentId,
}

impl TableWriter<'_> {
    /// Stores the files of a document of which none is expected to be there, and records them.
    ///
    /// # Errors
    ///
    /// If the lineage can't be stored. A plugin whose files can't be stored is in the outcome.
    pub async fn create(&self, mut plugins: Vec<PluginFiles>) -> Result<Recorded, StoreError> {
        let mut recorded = Recorded::default();
        let created = join_all(plugins.iter_mut().map(|made| self.create_files(made))).await;
        let mut are_new = true;
        let mut created = created.into_iter();
        plugins.retain(|made| match created.next() {
            Some(Err(error)) => {
                recorded.failed.push((made.plugin.clone(), error));
                false
            }
            outcome => {
                are_new &= matches!(outcome, Some(Ok(true)));
                true
            }
        });
        if plugins.iter().all(|made| made.files.is_empty()) {
            return Ok(recorded);
        }
        if are_new {
            let lineage = Lineage::of(&self.document.to_string(), files(&plugins).collect());
            if self.store.put_new(&self.lineage_key(), &lineage.to_bytes()).await?.is_done() {
                recorded.lineage = Some(lineage);
                return Ok(recorded);
            }
        }
        self.record(plugins, &[], None, &mut recorded).await?;
        Ok(recorded)
    }

    /// Creates the files of a plugin. Returns whether all of them are new.
    async fn create_files(&self, made: &mut PluginFiles) -> Result<bool, StoreError> {
        let created = made.files.iter().map(|(file, bytes)| self.store.put_new(&file.key, bytes));
        let mut are_new = true;
        // All are tried before the first error is returned.
        let created = join_all(created).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        for ((file, _), written) in made.files.iter_mut().zip(created) {
            match written {
                Written::Done(tag) => file.etag = etag(tag.as_ref()),
                Written::Refused => are_new = false,
            }
        }
        Ok(are_new)
    }

    /// Stores the files of a document that may have some, deletes those that are `gone`, and records both.
    ///
    /// # Errors
    ///
    /// If the store fails, or other programs keep changing the same files. A plugin whose files can't be
    /// stored is in the outcome.
    pub async fn replace(
        &self,
        plugins: Vec<PluginFiles>,
        gone: &[String],
        before: Option<Before>,
    ) -> Result<Recorded, StoreError> {
        let mut recorded = Recorded::default();
        self.record(plugins, gone, before, &mut recorded).await?;
        Ok(recorded)
    }

    async fn record(
        &self,
        mut plugins: Vec<PluginFiles>,
        gone: &[String],
        mut before: Option<Before>,
        recorded: &mut Recorded,
    ) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            let Before { lineage, files: mut seen } = match before.take() {
                Some(before) => before,
                None => self.look_at_lineage().await?,
            };
            self.look_at_files(&plugins, gone, &mut seen).await?;
            let due = due(&plugins, gone, &seen);
            let is_stored = |key: &String| seen.get(key).is_some_and(Option::is_some);
            // A file that is created can't be another writer's, which the store tells.
            let claimed = match due.iter().any(is_stored) {
                true => self.claim(lineage, &due).await?,
                false => Some(lineage),
            };
            let Some(base) = claimed else { continue };
            if !self.write_files(&mut plugins, gone, (&due, &seen), recorded).await? {
                continue;
            }
            if let Some(lineage) = self.say(base, &plugins, gone).await? {
                recorded.lineage = lineage;
                return Ok(());
            }
        }
        Err(StoreError::Contended { location: self.store.location(&self.lineage_key()) })
    }

    fn lineage_key(&self) -> String {
        Key::Lineage { document: self.document.clone() }.to_string()
    }

    async fn look_at_lineage(&self) -> Result<Before, StoreError> {
        let lineage = self.store.get(&self.lineage_key()).await?;
        Ok(Before { lineage, files: StoredFiles::new() })
    }

    /// Looks at the files that are not known yet.
    async fn look_at_files(
        &self,
        plugins: &[PluginFiles],
        gone: &[String],
        seen: &mut StoredFiles,
    ) -> Result<(), StoreError> {
        let keys = files(plugins).map(|file| file.key).chain(gone.iter().cloned());
        let unknown: Vec<String> = keys.filter(|key| !seen.contains_key(key)).collect();
        let found = join_all(unknown.iter().map(|key| self.store.get(key))).await;
        for (key, object) in unknown.into_iter().zip(found) {
            seen.insert(key, object?.as_ref().map(StoredFile::of));
        }
        Ok(())
    }

    /// Removes files from the lineage and puts a token there. Returns the lineage that is stored then; none
    /// if another program changed it.
    async fn claim(
        &self,
        lineage: Option<Object>,
        due: &BTreeSet<String>,
    ) -> Result<Option<Option<Object>>, StoreError> {
        let mut claimed = self.read(lineage.as_ref());
        claimed.files.retain(|file| !due.contains(&file.key));
        claimed.writing = Some(token());
        let bytes = claimed.to_bytes();
        let written = self.put_lineage(lineage.as_ref(), &bytes).await?;
        Ok(written.tag_of(&bytes).map(|tag| Some(Object::with_tag(bytes, tag))))
    }

    /// Writes the files that are due, and deletes those that are gone. Returns whether no other program
    /// changed any of them.
    async fn write_files(
        &self,
        plugins: &mut Vec<PluginFiles>,
        gone: &[String],
        work: (&BTreeSet<String>, &StoredFiles),
        recorded: &mut Recorded,
    ) -> Result<bool, StoreError> {
        let (due, seen) = work;
        let written = plugins.iter_mut().map(|made| self.write_plugin(made, due, seen));
        let mut written = join_all(written).await.into_iter();
        let mut are_unchanged = true;
        plugins.retain(|made| match written.next() {
            Some(Err(error)) => {
                recorded.failed.push((made.plugin.clone(), error));
                false
            }
            outcome => {
                are_unchanged &= matches!(outcome, Some(Ok(true)));
                true
            }
        });
        for key in gone {
            if let Some(Some(old)) = seen.get(key) {
                are_unchanged &= self.store.delete_if(key, &old.tag).await?;
            }
        }
        Ok(are_unchanged)
    }

    /// Writes the files of a plugin that are due. Returns whether no other program changed any of them.
    async fn write_plugin(
        &self,
        made: &mut PluginFiles,
        due: &BTreeSet<String>,
        seen: &StoredFiles,
    ) -> Result<bool, StoreError> {
        let written = made.files.iter_mut().map(|(file, bytes)| async {
            let stored = seen.get(&file.key).and_then(Option::as_ref);
            let written = match stored {
                Some(same) if !due.contains(&file.key) => Written::Done(Some(same.tag.clone())),
                Some(old) => self.store.put_if(&file.key, bytes, &old.tag).await?,
                None => self.store.put_new(&file.key, bytes).await?,
            };
            if let Written::Done(tag) = &written {
                file.etag = etag(tag.as_ref());
            }
            Ok(written.is_done())
        });
        // All are tried before the first error is returned.
        let written = join_all(written).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(written.into_iter().all(|is_done| is_done))
    }

    /// Records files in the lineage, if it still is the one that is given. Returns the lineage that is
    /// stored then; none if another program changed it.
    async fn say(
        &self,
        base: Option<Object>,
        plugins: &[PluginFiles],
        gone: &[String],
    ) -> Result<Option<Option<Lineage>>, StoreError> {
        let mut lineage = self.read(base.as_ref());
        let new: Vec<TableFile> = files(plugins).collect();
        lineage.files.retain(|file| new.iter().all(|new| new.key != file.key));
        lineage.files.retain(|file| !gone.contains(&file.key));
        let lineage = Lineage::of(&self.document.to_string(), [lineage.files, new].concat());
        let bytes = lineage.to_bytes();
        let is_same = match &base {
            Some(base) => base.bytes == bytes,
            None => lineage.files.is_empty(),
        };
        if is_same {
            return Ok(Some(base.map(|_| lineage)));
        }
        let written = self.put_lineage(base.as_ref(), &bytes).await?;
        Ok(written.is_done().then_some(Some(lineage)))
    }

    /// Reads a stored lineage. What can't be read names no files: they are stored again.
    fn read(&self, lineage: Option<&Object>) -> Lineage {
        let read = lineage.and_then(|object| Lineage::parse(&object.bytes, self.document).ok());
        read.unwrap_or_else(|| Lineage::of(&self.document.to_string(), Vec::new()))
    }

    async fn put_lineage(
        &self,
        before: Option<&Object>,
        bytes: &[u8],
    ) -> Result<Written, StoreError> {
        let key = self.lineage_key();
        match before {
            Some(before) => self.store.put_if(&key, bytes, &before.tag()).await,
            None => self.store.put_new(&key, bytes).await,
        }
    }
}

fn files(plugins: &[PluginFiles]) -> impl Iterator<Item = TableFile> + '_ {
    plugins.iter().flat_map(|made| made.files.iter().map(|(file, _)| file.clone()))
}

/// Returns the keys of files that are to be written, and of those that are to be deleted.
fn due(plugins: &[PluginFiles], gone: &[String], seen: &StoredFiles) -> BTreeSet<String> {
    let is_other = |file: &TableFile| {
        let stored = seen.get(&file.key).and_then(Option::as_ref);
        stored.is_none_or(|stored| stored.sha256 != file.sha256)
    };
    let written = files(plugins).filter(is_other).map(|file| file.key);
    let is_stored = |key: &&String| seen.get(*key).is_some_and(Option::is_some);
    written.chain(gone.iter().filter(is_stored).cloned()).collect()
}

/// Returns the ETag of a tag, where the store has ETags.
fn etag(tag: Option<&Tag>) -> Option<String> {
    match tag {
        Some(Tag::Mark(mark)) => Some(mark.clone()),
        _ => None,
    }
}

/// Returns a text that no other claim has.
fn token() -> String {
    let mut bytes = [0; 16];
    // A system without randomness only tells claims apart less well.
    let _ = rand::rngs::SysRng.try_fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lists all files of the tables of some plugins, by key.
///
/// # Errors
///
/// If the store fails.
pub async fn files_of(
    store: &dyn Store,
    plugins: &[ActivePlugin],
) -> Result<BTreeMap<String, Listed>, StoreError> {
    let folders = plugins.iter().flat_map(|active| {
        active.plugin.tables().iter().zip(&active.targets).flat_map(|(table, target)| {
            let folder = |format: &Format| table_folder(&table.name, target.generation, *format);
            target.formats.iter().map(folder)
        })
    });
    let mut files = BTreeMap::new();
    for folder in folders {
        let listed = list_all(store, &folder).await?;
        files.extend(listed.into_iter().map(|listed| (listed.key.clone(), listed)));
    }
    Ok(files)
}
