//! What each table file was made of, and whether it looks like the one before.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{layout::Format, plugin::Plugin};

/// The format of lineage objects.
pub const FORMAT: u32 = 1;

/// A share of nulls that differs by this much from the last snapshot's is a jump.
const NULL_SHARE_JUMP: f64 = 0.25;
/// Rows that changed by this share of the last snapshot's are a jump.
const ROWS_JUMP: f64 = 0.5;
/// Fewer rows than this more or less are none.
const ROWS_JUMP_MIN: u64 = 3;

/// What the table files of a document were made of.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Lineage {
    /// The format of this object.
    pub format: u32,
    /// The document.
    pub document: String,
    /// Its table files, by key.
    pub files: Vec<TableFile>,
}

/// One table file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct TableFile {
    /// Its key.
    pub key: String,
    /// The table.
    pub table: String,
    /// How it is written.
    pub format: Format,
    /// Its rows.
    pub rows: u64,
    /// How many values of each of the plugin's columns are null.
    pub nulls: BTreeMap<String, u64>,
    /// The SHA-256 of its bytes.
    pub sha256: String,
    /// How many these are; 0 if that was not kept.
    #[serde(default)]
    pub bytes: u64,
    /// What made the rows.
    pub plugin: Maker,
    /// The host that wrote them.
    pub host_version: String,
}

/// The plugin that made rows.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Maker {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SHA-256 of its file.
    pub sha256: String,
}

impl From<&Plugin> for Maker {
    fn from(plugin: &Plugin) -> Self {
        Maker {
            name: plugin.name().to_owned(),
            version: plugin.version().to_owned(),
            sha256: plugin.sha256().to_owned(),
        }
    }
}

impl Lineage {
    /// The lineage of a document that has these files.
    pub fn of(document: &str, mut files: Vec<TableFile>) -> Self {
        files.sort_by(|one, other| one.key.cmp(&other.key));
        Lineage { format: FORMAT, document: document.to_owned(), files }
    }

    /// The lineage of a document after these files were written: files of other tables stay.
    pub fn merged(current: Option<&[u8]>, document: &str, written: &[TableFile]) -> Self {
        let current = current.and_then(|bytes| serde_json::from_slice::<Lineage>(bytes).ok());
        let mut files = current.map(|lineage| lineage.files).unwrap_or_default();
        files.retain(|file| written.iter().all(|new| new.key != file.key));
        files.extend_from_slice(written);
        Self::of(document, files)
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Where a snapshot's tables differ so much from the one before that somebody should look.
pub fn jumps(before: &Lineage, now: &Lineage) -> Vec<String> {
    let mut jumps = Vec::new();
    let mut compared = BTreeSet::new();
    for file in &now.files {
        // A generation has its own columns; other formats have the same rows.
        let same = |other: &&TableFile| other.table == file.table && folder(other) == folder(file);
        let Some(last) = before.files.iter().find(same) else { continue };
        let table = &file.table;
        if !compared.insert(table) {
            continue;
        }
        if rows_jumped(last.rows, file.rows) {
            jumps.push(format!(
                "{table}: {} to {} rows since the last snapshot",
                last.rows, file.rows
            ));
        }
        for (column, nulls) in &file.nulls {
            let Some(nulls_before) = last.nulls.get(column) else { continue };
            let (was, is) = (share(*nulls_before, last.rows), share(*nulls, file.rows));
            if let (Some(was), Some(is)) = (was, is)
                && (is - was).abs() >= NULL_SHARE_JUMP
            {
                let (was, is) = ((was * 100.0).round(), (is * 100.0).round());
                jumps.push(format!(
                    "{table}.{column}: {was} % to {is} % null since the last snapshot"
                ));
            }
        }
    }
    jumps
}

/// The table's folder.
fn folder(file: &TableFile) -> &str {
    file.key.split("/snapshot_year=").next().unwrap_or_default()
}

fn share(nulls: u64, rows: u64) -> Option<f64> {
    (rows > 0).then(|| nulls as f64 / rows as f64)
}

fn rows_jumped(was: u64, is: u64) -> bool {
    let difference = was.abs_diff(is);
    let vanished = was > 0 && is == 0;
    let share = difference as f64 >= was as f64 * ROWS_JUMP;
    vanished || (was > 0 && difference >= ROWS_JUMP_MIN && share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(rows: u64, nulls: u64) -> Lineage {
        let maker = Maker { name: "p".into(), version: "1".into(), sha256: String::new() };
        let file = TableFile {
            key: "k".into(),
            table: "song".into(),
            format: Format::Csv,
            rows,
            nulls: [("popularity".to_owned(), nulls)].into(),
            sha256: String::new(),
            bytes: 0,
            plugin: maker,
            host_version: String::new(),
        };
        Lineage { format: FORMAT, document: "d".into(), files: vec![file] }
    }

    #[test]
    fn a_jump_is_told_in_words() {
        for (before, now, expected) in [
            ((50, 0), (50, 50), "song.popularity: 0 % to 100 % null since the last snapshot"),
            ((50, 0), (50, 12), ""),
            ((50, 50), (50, 0), "song.popularity: 100 % to 0 % null since the last snapshot"),
            ((50, 0), (20, 0), "song: 50 to 20 rows since the last snapshot"),
            ((50, 0), (40, 0), ""),
            ((1, 0), (3, 0), ""),
            ((1, 0), (0, 0), "song: 1 to 0 rows since the last snapshot"),
            ((0, 0), (50, 0), ""),
        ] {
            let found = jumps(&lineage(before.0, before.1), &lineage(now.0, now.1)).join("; ");
            assert_eq!(found, expected, "{before:?} {now:?}");
        }
    }

    #[test]
    fn files_of_other_tables_stay() {
        let mut other = lineage(1, 0);
        other.files[0].key = "other".into();
        let merged = Lineage::merged(Some(&other.to_bytes()), "d", &lineage(2, 0).files);
        let keys: Vec<_> = merged.files.iter().map(|file| file.key.as_str()).collect();
        assert_eq!(keys, ["k", "other"]);
    }
}
