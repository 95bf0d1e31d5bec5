//! What each table file was made of, and whether it looks like the one before.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Bytes, LINEAGE_BYTES_MAX},
    document::DocumentId,
    layout::{Format, Key, is_plugin_name, is_sha256},
    plugin::Plugin,
};

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
    /// The token of a program that is replacing files of this document. It is left behind if that program
    /// is killed, and means nothing then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writing: Option<String>,
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
    /// The ETag that a bucket gave to it when it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
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
    /// Reads the stored lineage of a document. What is stored may have been written by anything, so that
    /// only a lineage which is about this document's table files is taken.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(bytes: &[u8], document: &DocumentId) -> Result<Self, InvalidLineage> {
        if bytes.len() as u64 > LINEAGE_BYTES_MAX {
            return Err(InvalidLineage::TooLarge { bytes: bytes.len() as u64 });
        }
        let lineage: Lineage = serde_json::from_slice(bytes)?;
        if lineage.format != FORMAT {
            return Err(InvalidLineage::Format { found: lineage.format });
        }
        if lineage.document != document.to_string() {
            return Err(InvalidLineage::Document { found: lineage.document });
        }
        let mut keys = BTreeSet::new();
        for file in &lineage.files {
            let is_of_document = matches!(
                file.key.parse(),
                Ok(Key::TableFile { table, format, document: of, .. })
                    if of == *document && table == file.table && format == file.format
            );
            let Maker { name, sha256, .. } = &file.plugin;
            let is_maker = is_plugin_name(name) && is_sha256(sha256);
            if !is_of_document || !is_maker || !is_sha256(&file.sha256) || !keys.insert(&file.key) {
                return Err(InvalidLineage::File { key: file.key.clone() });
            }
        }
        Ok(lineage)
    }

    /// The lineage of a document that has these files.
    pub fn of(document: &str, mut files: Vec<TableFile>) -> Self {
        files.sort_by(|one, other| one.key.cmp(&other.key));
        Lineage { format: FORMAT, document: document.to_owned(), files, writing: None }
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Why a stored object is not the lineage of a document.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLineage {
    /// It is larger than a lineage can be.
    #[error("it has {}, and the limit is {}", Bytes(*.bytes), Bytes(LINEAGE_BYTES_MAX))]
    TooLarge {
        /// Its size in bytes.
        bytes: u64,
    },
    /// It is no lineage at all.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It has a format that this program does not know.
    #[error("it has format {found}, and this program reads format {FORMAT}")]
    Format {
        /// The format.
        found: u32,
    },
    /// It is about another document.
    #[error("it is about another document: `{}`", .found.escape_debug())]
    Document {
        /// The document.
        found: String,
    },
    /// One of its files is not a table file of the document, has no SHA-256 or no plugin, or is there twice.
    #[error("`{}` is not a file of this document, has no SHA-256 or no plugin, or is named twice", .key.escape_debug())]
    File {
        /// The file's key.
        key: String,
    },
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
            etag: None,
            plugin: maker,
            host_version: String::new(),
        };
        Lineage { format: FORMAT, document: "d".into(), files: vec![file], writing: None }
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
    fn a_lineage_of_anything_else_is_refused() {
        let document: DocumentId = "p-20260706T060000Z-0123abcd".parse().unwrap();
        let key = "transformed_data/song_data/snapshot_year=2026/p-20260706T060000Z-0123abcd.csv";
        let mut good = lineage(1, 0);
        good.document = document.to_string();
        good.files[0].key = key.to_owned();
        good.files[0].sha256 = "a".repeat(64);
        good.files[0].plugin.sha256 = "b".repeat(64);
        assert_eq!(Lineage::parse(&good.to_bytes(), &document).unwrap(), good);
        let change = |change: &dyn Fn(&mut Lineage)| {
            let mut bad = good.clone();
            change(&mut bad);
            Lineage::parse(&bad.to_bytes(), &document).unwrap_err().to_string()
        };
        for (error, part) in [
            (change(&|bad| bad.format = 2), "format 2"),
            (change(&|bad| bad.document = "x\u{1b}[2J".into()), "another document: `x\\u{1b}[2J`"),
            (change(&|bad| bad.files[0].key = "plugins/song.wasm".into()), "plugins/song.wasm"),
            (change(&|bad| bad.files[0].key = key.replace("-0123abcd", "-ffffffff")), "ffffffff"),
            (change(&|bad| bad.files[0].table = "album".into()), key),
            (change(&|bad| bad.files[0].format = Format::Parquet), key),
            (change(&|bad| bad.files[0].sha256 = "A".repeat(64)), key),
            (change(&|bad| bad.files[0].plugin.name = "../x".into()), key),
            (change(&|bad| bad.files[0].plugin.sha256.truncate(63)), key),
            (change(&|bad| bad.files.push(bad.files[0].clone())), "named twice"),
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let large = vec![b' '; LINEAGE_BYTES_MAX as usize + 1];
        let error = Lineage::parse(&large, &document).unwrap_err();
        assert!(matches!(error, InvalidLineage::TooLarge { .. }), "{error}");
    }
}
