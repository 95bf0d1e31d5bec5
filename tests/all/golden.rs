//! Every fixture to its tables, byte for byte. `UPDATE_GOLDEN=1 cargo test --release -p tests golden` writes what comes
//! out; look at the difference before it is committed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use spotify_etl::pipeline::report::DocumentStatus;

use crate::support::{Place, fixture, json_files, tests};

#[test]
fn every_fixture_gives_its_golden_tables_and_skips() {
    let golden = tests().join("golden");
    let mut found = BTreeMap::new();
    for path in json_files(&fixture("playlists")) {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let place = Place::new();
        let (_, transformed) = place.run(&[path]);
        let [document] = transformed.documents.as_slice() else {
            panic!("{stem}: not one document")
        };
        assert_eq!(document.status, DocumentStatus::Stored, "{stem}: {:?}", document.problems);
        let mut skips = String::new();
        for skip in &document.skips {
            writeln!(skips, "{} {}", skip.position, skip.reason).unwrap();
        }
        found.insert(format!("{stem}/skipped.txt"), skips.into_bytes());
        for (key, bytes) in place.files() {
            let Some(rest) = key.strip_prefix("transformed_data/") else { continue };
            let table = rest.split("_data/").next().unwrap();
            found.insert(format!("{stem}/{table}.csv"), bytes);
        }
    }
    compare(&golden, &found);
}

#[test]
fn every_refused_file_gives_its_reason_and_stays_where_it_is() {
    let mut found = BTreeMap::new();
    for path in json_files(&fixture("refused")) {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let place = Place::new();
        let before = place.files();
        let (imports, _) = place.run(std::slice::from_ref(&path));
        let problem = imports[0].problem.as_ref().unwrap_or_else(|| panic!("{stem} was taken"));
        found.insert(format!("{stem}.txt"), format!("{problem}\n").into_bytes());
        assert_eq!(place.files(), before, "{stem}: something was written");
        assert!(path.exists(), "{stem}");
    }
    compare(&tests().join("golden-refused"), &found);
}

#[test]
fn what_is_refused_at_the_door_is_put_aside_if_it_lies_in_the_store() {
    for path in json_files(&fixture("refused")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let stem = name.strip_suffix(".json").unwrap();
        let place = Place::new();
        let bytes = fs::read(&path).unwrap();
        place.write(&format!("raw_data/to_process/older/{name}"), &bytes);
        let transformed = place.transform();
        let document = &transformed.documents[0];
        assert_eq!(document.status, DocumentStatus::Failed, "{name}");
        let files = place.files();
        assert_eq!(files[&format!("raw_data/failed/older/{name}")], bytes);
        let reason = place.read_json(&format!("raw_data/failed/older/{stem}.error.json"));
        assert_eq!(reason["problem"], document.problems[0].message);
        assert!(!files.keys().any(|key| key.starts_with("raw_data/to_process/")), "{name}");
    }
}

/// Compares files with those of a folder; a golden file that nothing gives is a fault too.
fn compare(golden: &Path, found: &BTreeMap<String, Vec<u8>>) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let _ = fs::remove_dir_all(golden);
        for (name, bytes) in found {
            let path = golden.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    let expected =
        if golden.exists() { crate::support::files_below(golden) } else { BTreeMap::new() };
    let mut faults = String::new();
    for name in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
        if expected.get(name) != found.get(name) {
            let text = |bytes: Option<&Vec<u8>>| {
                bytes.map_or("(none)".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
            };
            let (expected, found) = (text(expected.get(name)), text(found.get(name)));
            writeln!(faults, "{name}\n--- expected\n{expected}--- found\n{found}").unwrap();
        }
    }
    assert!(faults.is_empty(), "{faults}");
}
