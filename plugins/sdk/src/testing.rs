//! Fixtures against golden tables, without the host and without WebAssembly.
//!
//! A fixture is a JSON file as Spotify might have sent it; its golden tables are
//! `<fixture's stem>/<table>.csv`, as the host writes them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    bindings::spotify_etl::plugin::types as wit,
    containers,
    plugin::{Document, Failure, Plugin},
    table::Batch,
};

/// The time that fixtures are read at: 2026-07-06T06:00:00Z.
pub const EXTRACTED_AT: i64 = 1_783_317_600;

/// How many columns the host puts before the plugin's.
const LINEAGE_COLUMNS: usize = 4;

/// Runs the plugin over every fixture in a folder, and compares its tables with the golden ones.
/// Each fixture is handed over twice, whole and cut down to what the plugin says it reads: the
/// rows must be the same.
///
/// # Panics
///
/// If anything differs, with all differences, or if there is no fixture.
pub fn check_fixtures<P: Plugin>(fixtures: &Path, golden: &Path) {
    let info = P::describe().into_wit();
    let mut faults = String::new();
    let paths = json_files(fixtures);
    assert!(!paths.is_empty(), "no fixtures in {}", fixtures.display());
    for path in &paths {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let document = document(path);
        if overlaps(&document) {
            continue;
        }
        let extraction = match P::extract(&document) {
            Ok(extraction) => extraction,
            Err(failure) => {
                if !is_expected(&failure, &golden.join(&*stem).join("failed.txt")) {
                    let _ = writeln!(faults, "{stem}: {failure:?}, which is not in its failed.txt");
                }
                continue;
            }
        };
        if let Some(reads) = &info.reads {
            let pages = document.pages.iter().map(|page| prune(page, reads)).collect();
            let pruned = P::extract(&Document { pages, ..document.clone() });
            if pruned.as_ref() != Ok(&extraction) {
                let _ = writeln!(faults, "{stem}: other rows if only `reads` is handed over");
            }
        }
        for (table, batch) in info.tables.iter().zip(&extraction.batches) {
            let golden = golden.join(&*stem).join(format!("{}.csv", table.name));
            let (found, expected) = (to_csv(table, batch), without_lineage(&golden));
            if found != expected {
                let golden = golden.display();
                let _ = writeln!(faults, "{golden}\n--- expected\n{expected}\n--- found\n{found}");
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// Returns whether pages overlap. The host arranges such pages before a plugin reads them, so that the golden tables
/// are not those of the pages as they are; `spotify-etl plugin test` covers them.
fn overlaps(document: &Document) -> bool {
    let mut end = 0;
    document.pages.iter().filter_map(|page| containers::read(page).ok()).any(|contents| {
        contents.pages.iter().any(|page| {
            let begin = page.offset.unwrap_or(end);
            let is_before = begin < end && !page.entries.is_empty();
            end = end.max(begin.saturating_add(page.entries.len() as u64));
            is_before
        })
    })
}

/// Whether a golden file has what a plugin says that makes nothing of a document.
fn is_expected(failure: &Failure, golden: &Path) -> bool {
    let (Failure::Malformed(reason) | Failure::Unsupported(reason)) = failure;
    fs::read_to_string(golden).is_ok_and(|expected| expected.contains(reason.as_str()))
}

/// What a document of a store says of itself before its pages.
#[derive(serde::Deserialize)]
struct Landed<'a> {
    playlist_id: String,
    playlist_name: Option<String>,
    playlist_owner: Option<String>,
    snapshot_id: Option<String>,
    extracted_at: String,
    complete: Option<bool>,
    #[serde(borrow)]
    pages: Vec<&'a RawValue>,
}

impl From<Landed<'_>> for Document {
    fn from(landed: Landed<'_>) -> Self {
        let at = OffsetDateTime::parse(&landed.extracted_at, &Rfc3339);
        Document {
            playlist_id: landed.playlist_id,
            playlist_name: landed.playlist_name,
            playlist_owner: landed.playlist_owner,
            snapshot_id: landed.snapshot_id,
            extracted_at: at.map_or(EXTRACTED_AT, OffsetDateTime::unix_timestamp),
            complete: landed.complete,
            pages: landed.pages.into_iter().map(|page| page.get().to_owned()).collect(),
        }
    }
}

/// The document that a fixture stands for: one of a store, or JSON as Spotify sends it.
///
/// # Panics
///
/// If it is not one.
pub fn document(path: &Path) -> Document {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = text.trim_start_matches('\u{feff}').trim();
    if let Ok(landed) = serde_json::from_str::<Landed<'_>>(text) {
        return landed.into();
    }
    Document::of_page(text, EXTRACTED_AT)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect();
    paths.sort();
    paths
}

fn without_lineage(golden: &Path) -> String {
    let Ok(mut reader) = csv::ReaderBuilder::new().has_headers(false).from_path(golden) else {
        return "no such file".to_owned();
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in reader.records() {
        let record = record.unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
        let _ = writer.write_record(record.iter().skip(LINEAGE_COLUMNS));
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// A batch as the host writes it, without the host's columns.
fn to_csv(table: &wit::Table, Batch(batch): &Batch) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let _ = writer.write_record(table.columns.iter().map(|column| &column.name));
    let rows = batch.columns.first().map_or(0, |column| length(&column.values));
    for row in 0..rows {
        let cells = batch.columns.iter().map(|column| {
            let is_null = column.nulls.contains(&(row as u32));
            if is_null { String::new() } else { cell(&column.values, row) }
        });
        let _ = writer.write_record(cells);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn length(values: &wit::Values) -> usize {
    match values {
        wit::Values::Text(values) => values.ends.len(),
        wit::Values::Int64(values) | wit::Values::Timestamp(values) => values.len(),
        wit::Values::Float64(values) => values.len(),
        wit::Values::Boolean(values) => values.len(),
        wit::Values::Date(values) => values.len(),
    }
}

fn cell(values: &wit::Values, row: usize) -> String {
    match values {
        wit::Values::Text(values) => {
            let start = if row == 0 { 0 } else { values.ends[row - 1] as usize };
            let text = &values.text[start..values.ends[row] as usize];
            text.replace("\r\n", " ").replace(['\r', '\n', '\u{7f}'], " ")
        }
        wit::Values::Int64(values) => values[row].to_string(),
        wit::Values::Float64(values) => format!("{:?}", values[row]),
        wit::Values::Boolean(values) => values[row].to_string(),
        wit::Values::Date(values) => {
            let day = OffsetDateTime::UNIX_EPOCH.date().to_julian_day() + values[row];
            Date::from_julian_day(day).map_or_else(|error| error.to_string(), |day| day.to_string())
        }
        wit::Values::Timestamp(values) => timestamp(values[row]),
    }
}

fn timestamp(milliseconds: i64) -> String {
    match OffsetDateTime::from_unix_timestamp(milliseconds.div_euclid(1000)) {
        Ok(moment) => {
            let (date, (hour, minute, second)) = (moment.date(), moment.time().as_hms());
            let rest = match milliseconds.rem_euclid(1000) {
                0 => String::new(),
                rest => format!(".{rest:03}"),
            };
            format!("{date} {hour:02}:{minute:02}:{second:02}{rest}")
        }
        Err(error) => error.to_string(),
    }
}

/// Cuts a page down to what patterns keep: what they name, whole, and the way to it.
///
/// # Panics
///
/// If the page is not JSON.
pub fn prune(page: &str, patterns: &[String]) -> String {
    let patterns: Vec<Vec<&str>> =
        patterns.iter().map(|pattern| pattern.split('.').collect()).collect();
    let value: &RawValue = serde_json::from_str(page).unwrap_or_else(|error| panic!("{error}"));
    let mut pruned = String::new();
    prune_value(value, &patterns, &[], &mut pruned);
    pruned
}

/// A pattern, and how much of it the way so far has matched.
type Matched<'p> = (&'p [&'p str], usize);

/// Writes what is kept of a value, and says whether that is anything.
fn prune_value<'p>(
    value: &RawValue,
    patterns: &'p [Vec<&'p str>],
    matched: &[Matched<'p>],
    out: &mut String,
) -> bool {
    let text = value.get();
    if text.starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        let mut kept = false;
        out.push('[');
        for (index, element) in elements.into_iter().enumerate() {
            out.push_str(if index == 0 { "" } else { "," });
            kept |= prune_value(element, patterns, matched, out);
        }
        out.push(']');
        return kept;
    }
    if !text.starts_with('{') {
        out.push_str(text);
        return false;
    }
    out.push('{');
    let mut first = true;
    for (name, member) in members(text) {
        let begun = patterns.iter().map(|pattern| (pattern.as_slice(), 0));
        let next: Vec<Matched<'p>> = matched
            .iter()
            .copied()
            .chain(begun)
            .filter(|(pattern, at)| pattern[*at] == name)
            .map(|(pattern, at)| (pattern, at + 1))
            .collect();
        let mut inner = String::new();
        let whole = next.iter().any(|(pattern, at)| pattern.len() == *at);
        let kept = if whole {
            inner.push_str(member.get());
            true
        } else {
            prune_value(member, patterns, &next, &mut inner) || !next.is_empty()
        };
        if kept {
            let comma = if first { "" } else { "," };
            let name = serde_json::to_string(&name).unwrap_or_default();
            let _ = write!(out, "{comma}{name}:{inner}");
            first = false;
        }
    }
    out.push('}');
    !first
}

fn members(object: &str) -> Vec<(String, &RawValue)> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(object).deserialize_map(Members).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::prune;

    #[test]
    fn a_pattern_keeps_what_it_names_and_the_way_to_it() {
        for (page, patterns, expected) in [
            (r#"{"a":{"b":1,"c":2},"d":3}"#, "a.b", r#"{"a":{"b":1}}"#),
            (r#"{"x":{"a":{"b":1}},"b":2}"#, "a.b", r#"{"x":{"a":{"b":1}}}"#),
            (r#"[{"a":[{"b":{"c":1}},null,5]}]"#, "a.b", r#"[{"a":[{"b":{"c":1}},null,5]}]"#),
            (r#"{"a":{},"b":[],"c":5}"#, "a.x b.x c.x", r#"{"a":{},"b":[],"c":5}"#),
            (r#"{"items":[{"m":["DE","FR"]},null]}"#, "items.id", r#"{"items":[{},null]}"#),
            (r#"{"m":["DE","FR"],"n":{"o":1}}"#, "id", "{}"),
        ] {
            let patterns: Vec<_> = patterns.split(' ').map(str::to_owned).collect();
            assert_eq!(prune(page, &patterns), expected, "{patterns:?}");
        }
    }
}
