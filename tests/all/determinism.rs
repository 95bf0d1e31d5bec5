//! The same document and plugin give the same bytes: however the plugin's code came about, whatever
//! the engine did before, however many documents are worked on at a time, in whichever process.

use std::{collections::BTreeMap, fs, path::PathBuf};

use spotify_etl::{
    config::Limits,
    document::FutureTimes,
    layout::{self, Format},
    pipeline::{
        Selection, Transform,
        active::{PluginPlace, Shelf},
        jobs::Until,
        report::Empty,
    },
    plugin::precompile,
};
use tempfile::TempDir;

use crate::{
    desk::{Desk, text},
    support::{
        NOW, Nobody, PLUGINS, Place, files_below, fixture, json_files, land_as_named, plugin_file,
        problems, wait,
    },
};

type Files = BTreeMap<String, Vec<u8>>;

/// Documents that have their times in their names.
fn documents() -> Vec<PathBuf> {
    let mut paths = json_files(&fixture("history"));
    paths.push(fixture("playlists/demo_2026-07-06_06-00-00.json"));
    paths
}

/// The files of tables, and what says what they were made of.
fn tables(mut files: Files) -> Files {
    files.retain(|key, _| key.starts_with("transformed_data/") || key.starts_with("lineage/"));
    files
}

/// The tables of all documents in a new store.
fn made(shelf: &Shelf, jobs: usize) -> Files {
    let place = Place::new();
    let store = &place.store;
    wait(land_as_named(store, &documents())).unwrap();
    let transform = Transform {
        store,
        plugins: PluginPlace { store, prefix: layout::PLUGINS },
        shelf,
        limits: Limits::default(),
        jobs,
        formats: Some(Format::ALL.to_vec()),
        now: NOW,
        until: Until::default(),
        future: FutureTimes::Allowed,
        empty: Empty::Allowed,
        pages: None,
        progress: &Nobody,
    };
    let transformed = wait(transform.run(&Selection::Waiting)).unwrap();
    assert_eq!(problems(&transformed), "");
    tables(place.files())
}

/// Says which files differ, as their bytes would fill the screen.
fn same(how: &str, expected: &Files, found: &Files) {
    let keys = expected.keys().chain(found.keys());
    let differ: Vec<_> = keys.filter(|key| expected.get(*key) != found.get(*key)).collect();
    assert!(differ.is_empty(), "{how}: {differ:?}");
}

#[test]
fn tables_have_the_same_bytes_however_their_plugins_are_compiled_and_run() {
    let limits = Limits::default();
    let folder = TempDir::new().unwrap();
    let (cache, shipped) = (folder.path().join("cache"), folder.path().join("shipped"));
    fs::create_dir(&shipped).unwrap();
    for plugin in PLUGINS {
        let (file, code) = precompile(&fs::read(plugin_file(plugin)).unwrap(), &limits).unwrap();
        fs::write(shipped.join(file), code).unwrap();
    }
    let without = Shelf::new(&limits, None);
    let expected = made(&without, 1);
    let files = |part: &str| expected.keys().filter(|key| key.contains(part)).count();
    let documents = documents().len();
    assert!(files(".csv") >= 5 * documents && files(".parquet") == files(".csv"));
    assert_eq!(files("lineage/"), documents);
    for (how, shelf, jobs) in [
        ("the same engine again", without, 1),
        ("eight jobs", Shelf::new(&limits, None), 8),
        ("an empty cache", Shelf::new(&limits, Some(cache.clone())), 1),
        ("a cache that has them", Shelf::new(&limits, Some(cache)), 8),
        ("code that was shipped", Shelf::new(&limits, None).with_shipped(shipped.clone()), 1),
        ("the same with eight jobs", Shelf::new(&limits, None).with_shipped(shipped), 8),
    ] {
        same(how, &expected, &made(&shelf, jobs));
    }
}

#[test]
fn tables_have_the_same_bytes_in_another_process() {
    let expected = made(&Shelf::new(&Limits::default(), None), 1);
    for (jobs, cache) in [("1", "none"), ("8", "cache"), ("8", "cache")] {
        let desk = Desk::new();
        let documents = documents();
        let mut arguments = vec!["run", "--jobs", jobs, "--cache-dir", cache];
        arguments.extend(["--format", "csv,parquet", "--from"]);
        arguments.extend(documents.iter().map(|path| text(path)));
        desk.say(&arguments).ends(0, &["all done"]);
        same(jobs, &expected, &tables(files_below(&desk.path("data"))));
    }
}
