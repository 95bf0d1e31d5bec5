//! Real responses, which are not part of the project: `SPOTIFY_ETL_SAMPLES` names a folder with
//! some, or this is skipped, and says so.

use std::{fs, path::PathBuf};

use spotify_etl::pipeline::report::{DocumentStatus, ImportStatus};

use crate::support::{Place, json_files, skipped};

#[test]
fn real_responses_give_rows_or_a_reason() {
    let Some(folder) = std::env::var_os("SPOTIFY_ETL_SAMPLES").map(PathBuf::from) else {
        skipped("SPOTIFY_ETL_SAMPLES names no folder with real responses");
        return;
    };
    let (place, paths) = (Place::new(), json_files(&folder));
    let (imports, transformed) = place.run(&paths);
    assert_eq!(imports.len(), paths.len());
    let mut stored = 0;
    for import in &imports {
        let text = fs::read_to_string(&import.source).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let refused = value.get("error").is_some() || lists_playlists(&value);
        assert_eq!(
            import.status == ImportStatus::Refused,
            refused,
            "{}: {:?}",
            import.source,
            import.problem
        );
        if let Some(problem) = &import.problem {
            let named = problem.message.contains("an error that Spotify answered with")
                || problem.message.contains("a page of playlists (48 of them)");
            assert!(named, "{problem}");
            continue;
        }
        // A page of a playlist whose other pages are files as well: its entries are the document's.
        if import.status == ImportStatus::Joined {
            continue;
        }
        let key = import.key.as_deref().unwrap();
        let document = transformed.documents.iter().find(|document| document.key == key).unwrap();
        assert_eq!(
            document.status,
            DocumentStatus::Stored,
            "{}: {:?}",
            import.source,
            document.problems
        );
        let rows =
            |name: &str| document.tables.iter().find(|table| table.table == name).unwrap().rows;
        let skipped: usize = document.skipped.values().sum();
        let parts = imports.iter().filter(|other| {
            other.status == ImportStatus::Joined && other.document == import.document
        });
        let others = parts.map(|part| {
            let text = fs::read_to_string(&part.source).unwrap();
            entries(&serde_json::from_str(&text).unwrap())
        });
        let expected = entries(&value) + others.sum::<usize>();
        assert_eq!(rows("song") as usize + skipped, expected, "{}", import.source);
        assert_eq!(rows("snapshot"), 1);
        stored += 1;
    }
    assert!(stored > 20, "{stored} of {} stored", imports.len());
}

fn lists_playlists(value: &serde_json::Value) -> bool {
    value["items"][0]["type"] == "playlist"
}

/// The entries as a reader of the documentation would count them.
fn entries(value: &serde_json::Value) -> usize {
    if let Some(elements) = value.as_array() {
        let holds_playlists = elements[0].get("tracks").is_some();
        return if holds_playlists { elements.iter().map(entries).sum() } else { elements.len() };
    }
    let found = [&value["items"], &value["items"]["items"], &value["tracks"]["items"]];
    found.into_iter().find_map(serde_json::Value::as_array).unwrap().len()
}
