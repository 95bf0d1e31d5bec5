//! The folders that table files are in, rendered and parsed.

use super::{Format, Key, TRANSFORMED, is_plain_segment};
use crate::document::DocumentId;

/// Splits the generation from the name of a table's folder.
pub(super) fn split_generation(name: &str) -> (&str, u32) {
    let split = name.rsplit_once("_g");
    let split = split.and_then(|(stem, digits)| Some((stem, digits.parse().ok()?)));
    split.unwrap_or((name, 1))
}

/// The prefix of a table's files.
pub fn table_folder(table: &str, generation: u32, format: Format) -> String {
    let folder = format.folder();
    match generation {
        1 => format!("{TRANSFORMED}{table}_{folder}/"),
        later => format!("{TRANSFORMED}{table}_{folder}_g{later}/"),
    }
}

/// A folder with the files of a table: of one generation, in one format.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableFolder {
    /// The table's name.
    pub table: String,
    /// The generation, from 1.
    pub generation: u32,
    /// The format of the files.
    pub format: Format,
}

impl TableFolder {
    /// Returns the folder with a prefix such as `transformed_data/song_parquet_g2/`; none if no table has
    /// such a folder.
    pub fn parse(prefix: &str) -> Option<Self> {
        let name = prefix.strip_prefix(TRANSFORMED)?.strip_suffix('/')?;
        let (stem, generation) = split_generation(name);
        let (table, format) = Format::ALL.into_iter().find_map(|format| {
            let table = stem.strip_suffix(format.folder())?.strip_suffix('_')?;
            Some((table.to_owned(), format))
        })?;
        let folder = TableFolder { table, generation, format };
        (generation > 0 && is_plain_segment(&folder.table) && folder.prefix() == prefix)
            .then_some(folder)
    }

    /// Returns the prefix of its files.
    pub fn prefix(&self) -> String {
        table_folder(&self.table, self.generation, self.format)
    }

    /// Returns the key of a document's file in it.
    pub fn file(&self, document: &DocumentId) -> Key {
        let TableFolder { table, generation, format } = self.clone();
        Key::TableFile { table, generation, format, document: document.clone() }
    }
}
