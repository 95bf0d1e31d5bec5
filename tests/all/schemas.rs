//! What a table's record allows, and which plugins get to run.

use std::fs;

use spotify_etl::{
    config::Limits,
    layout,
    pipeline::{
        Transformed,
        active::{PluginPlace, Shelf},
        report::{DocumentStatus, PluginReport, PluginStatus},
    },
    status::{Look, SNAPSHOT_AGE_DAYS_MAX},
};

use crate::support::{
    EXTRACTED_AT, NOW, Place, cache, fixture, guest_file, land, plugin_file, problems, wait,
};

fn guest(name: &str) -> Vec<u8> {
    fs::read(guest_file(name)).unwrap()
}

fn plugin<'t>(transformed: &'t Transformed, name: &str) -> &'t PluginReport {
    transformed.plugins.iter().find(|plugin| plugin.name == name).unwrap()
}

/// Brings in another document, so that there is something to do.
fn next(place: &Place, name: &str) -> Transformed {
    let path = fixture(&format!("playlists/{name}.json"));
    wait(land(&place.store, &[path], EXTRACTED_AT)).unwrap();
    place.transform()
}

fn thing(place: &Place, transformed: &Transformed) -> String {
    let document = transformed.documents.last().unwrap().document.clone().unwrap();
    place.read(&format!("transformed_data/thing_data/snapshot_year=2026/{document}.csv"))
}

fn columns(csv: &str) -> &str {
    csv.lines()
        .next()
        .unwrap()
        .strip_prefix("document,playlist_id,extracted_at,snapshot_date,")
        .unwrap()
}

#[test]
fn a_plugin_that_the_host_has_never_heard_of_just_works() {
    let place = Place::new();
    place.upload("decade", &guest("decade"));
    let transformed = next(&place, "demo_2026-07-06_06-00-00");
    assert_eq!(problems(&transformed), "");
    let csv = place.read(&place.only("transformed_data/decade_data/", ".csv"));
    let rows: Vec<_> =
        csv.lines().skip(1).map(|line| line.splitn(5, ',').last().unwrap()).collect();
    assert_eq!(rows, ["1990,4,0.4", "2010,5,0.5", "2020,41,4.1"]);
    assert_eq!(place.read_json("tables/decade.json")["owner"], "decade");
}

#[test]
fn a_plugin_may_append_nullable_columns_and_be_rolled_back() {
    let place = Place::empty();
    place.upload("thing", &guest("thing_1"));
    let first = next(&place, "both_keys");
    assert_eq!(columns(&thing(&place, &first)), "id");

    place.upload("thing", &guest("thing_2"));
    let second = next(&place, "no_entries");
    let csv = thing(&place, &second);
    assert_eq!(columns(&csv), "id,length");
    assert!(csv.lines().nth(1).unwrap().ends_with(",22"), "{csv}");
    let record = place.read_json("tables/thing.json");
    assert_eq!(record["schema"]["columns"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&record["generation"], &record["formats"]),
        (&1.into(), &serde_json::json!(["csv"]))
    );

    place.upload("thing", &guest("thing_1"));
    let third = next(&place, "bom");
    assert_eq!(problems(&third), "");
    let csv = thing(&place, &third);
    assert_eq!(columns(&csv), "id,length");
    assert!(
        csv.lines().nth(1).unwrap().ends_with(','),
        "the column that it doesn't know is null: {csv}"
    );
    assert_eq!(place.read_json("tables/thing.json"), record);
}

#[test]
fn a_plugin_that_does_not_fit_gives_way_to_the_newest_in_history_that_does() {
    let place = Place::empty();
    place.upload("thing", &guest("thing_1"));
    next(&place, "both_keys");
    place.upload("thing", &guest("thing_3"));
    let transformed = next(&place, "no_entries");
    let report = plugin(&transformed, "thing");
    assert_eq!((report.status, report.version.as_deref()), (PluginStatus::Fallback, Some("1")));
    let problem = report.problem.as_ref().unwrap().to_string();
    for part in [
        "plugin `thing` is refused: its table `thing` does not fit the stored one",
        "column 1 was `id text not null` and is `id int64 not null`",
        "Stored: thing (id text not null; key id; scope snapshot)",
        "Declared: thing (id int64 not null; key id; scope snapshot)",
    ] {
        assert!(problem.contains(part), "{part}: {problem}");
    }
    assert_eq!(transformed.documents[0].status, DocumentStatus::Stored);
    assert_eq!(columns(&thing(&place, &transformed)), "id");

    place.upload("thing", b"not a plugin");
    let transformed = next(&place, "bom");
    assert_eq!(plugin(&transformed, "thing").status, PluginStatus::Fallback);
    assert_eq!(transformed.documents[0].status, DocumentStatus::Stored);
}

#[test]
fn without_a_version_that_fits_the_document_waits() {
    let place = Place::empty();
    place.upload("thing", &guest("thing_1"));
    next(&place, "both_keys");
    fs::remove_dir_all(place.path("plugins/history")).unwrap();
    place.upload("thing", &guest("thing_3"));
    let transformed = next(&place, "no_entries");
    assert_eq!(plugin(&transformed, "thing").status, PluginStatus::Refused);
    assert_eq!(transformed.documents[0].status, DocumentStatus::Waiting);
    assert!(problems(&transformed).contains("stays where it is, since no plugin can be used"));
}

#[test]
fn two_plugins_that_declare_one_table_are_both_refused_by_name() {
    let place = Place::new();
    place.upload("melody", &fs::read(plugin_file("song")).unwrap());
    let transformed = next(&place, "both_keys");
    for name in ["song", "melody"] {
        let report = plugin(&transformed, name);
        assert_eq!(report.status, PluginStatus::Refused);
        let problem = report.problem.as_ref().unwrap().to_string();
        assert!(
            problem.contains("is declared by `melody` and `song`, and one table has one plugin"),
            "{problem}"
        );
    }
    assert_eq!(transformed.documents[0].status, DocumentStatus::Waiting);
    assert!(!place.files().keys().any(|key| key.contains("song_data")));
}

#[test]
fn a_table_stays_with_the_plugin_that_made_it() {
    let place = Place::empty();
    place.upload("thing", &guest("thing_1"));
    next(&place, "both_keys");
    fs::rename(place.path("plugins/thing.wasm"), place.path("plugins/gadget.wasm")).unwrap();
    let transformed = next(&place, "no_entries");
    let problems = problems(&transformed);
    assert!(
        problems.contains("plugin `gadget` is refused: table `thing` belongs to plugin `thing`"),
        "{problems}"
    );
}

#[test]
fn a_plugin_that_is_missing_is_a_failure_and_the_document_waits() {
    let place = Place::new();
    next(&place, "both_keys");
    let song = fs::read(place.path("plugins/song.wasm")).unwrap();
    fs::remove_file(place.path("plugins/song.wasm")).unwrap();
    let transformed = next(&place, "no_payload");
    let report = plugin(&transformed, "song");
    assert_eq!(report.status, PluginStatus::Missing);
    assert_eq!(report.tables, ["song", "song_artist"]);
    let problem = report.problem.as_ref().unwrap().to_string();
    let parts = ["plugin `song` is missing", "`song`, `song_artist`", "plugin remove song"];
    assert!(parts.iter().all(|part| problem.contains(part)), "{problem}");
    assert_eq!(transformed.documents[0].status, DocumentStatus::Waiting);
    let said = problems(&transformed);
    assert!(said.contains("stays where it is until `song` can be used"), "{said}");
    // With nothing else to do it is a failure, too.
    assert_eq!(plugin(&next(&place, "bom"), "song").status, PluginStatus::Missing);

    place.upload("song", &song);
    let transformed = place.transform();
    assert_eq!(problems(&transformed), "");
    assert_eq!(transformed.documents.len(), 2);
    assert!(transformed.documents.iter().all(|one| one.status == DocumentStatus::Stored));
}

#[test]
fn all_plugins_missing_is_a_failure_too() {
    let place = Place::empty();
    place.upload("thing", &guest("thing_1"));
    place.upload("decade", &guest("decade"));
    next(&place, "both_keys");
    fs::remove_file(place.path("plugins/thing.wasm")).unwrap();
    fs::remove_file(place.path("plugins/decade.wasm")).unwrap();
    let shelf = Shelf::new(&Limits::default(), Some(cache()));
    let plugins = PluginPlace { store: &place.store, prefix: layout::PLUGINS };
    let look = Look {
        store: &place.store,
        plugins,
        shelf: &shelf,
        login: None,
        age_days_max: SNAPSHOT_AGE_DAYS_MAX,
        now: NOW,
    };
    let found = wait(look.status()).unwrap();
    let missing: Vec<_> = found.plugins.iter().map(|one| (&*one.name, one.status)).collect();
    let expected = [("decade", PluginStatus::Missing), ("thing", PluginStatus::Missing)];
    assert_eq!(missing, expected);
}

#[test]
fn every_version_is_kept_with_when_and_from_whom() {
    let place = Place::empty();
    for (version, documents) in
        [("thing_1", ["both_keys", "no_entries"]), ("thing_2", ["bom", "episodes"])]
    {
        place.upload("thing", &guest(version));
        for document in documents {
            next(&place, document);
        }
    }
    let history: Vec<_> = place
        .files()
        .into_iter()
        .filter(|(key, _)| key.starts_with("plugins/history/thing/"))
        .collect();
    assert_eq!(history.len(), 4);
    for (key, bytes) in history {
        let sha256 = key.rsplit('/').next().unwrap().split('.').next().unwrap();
        if key.ends_with(".wasm") {
            assert_eq!(spotify_etl::document::sha256(&bytes), sha256);
        } else {
            let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!((&record["sha256"], &record["by"]), (&sha256.into(), &"upload".into()));
            assert_eq!(record["seen_at"], "2026-07-06T06:00:30Z");
        }
    }
}

#[test]
fn lineage_says_what_each_table_file_was_made_of() {
    let place = Place::new();
    next(&place, "release_dates");
    let lineage = place.read_json(&place.only("lineage/", ".json"));
    let files = lineage["files"].as_array().unwrap();
    assert_eq!(files.len(), 5);
    for file in files {
        let bytes = fs::read(place.path(file["key"].as_str().unwrap())).unwrap();
        assert_eq!(file["sha256"], spotify_etl::document::sha256(&bytes));
        let name = file["plugin"]["name"].as_str().unwrap();
        let plugin = fs::read(plugin_file(name)).unwrap();
        assert_eq!(file["plugin"]["sha256"], spotify_etl::document::sha256(&plugin));
        assert_eq!(file["plugin"]["version"], "0.1.0");
        assert_eq!(file["host_version"], spotify_etl::config::HOST_VERSION);
    }
    let album = files.iter().find(|file| file["table"] == "album").unwrap();
    assert_eq!((&album["rows"], &album["nulls"]["release_date"]), (&13.into(), &7.into()));
}

#[test]
fn a_jump_since_the_last_snapshot_is_a_warning_in_words() {
    let place = Place::new();
    let write = |popularity: &str| {
        let tracks: Vec<String> = (0..8)
            .map(|n| {
                format!(r#"{{"track":{{"type":"track","id":"t{n}","artists":[]{popularity}}}}}"#)
            })
            .collect();
        let path = place.folder.path().join("input.json");
        fs::write(&path, format!(r#"{{"id":"p","items":{{"items":[{}]}}}}"#, tracks.join(",")))
            .unwrap();
        path
    };
    for (popularity, week, warnings) in [
        (r#","popularity":50"#, "20260706T060000Z", vec![]),
        (
            "",
            "20260713T060000Z",
            vec!["song.popularity: 0 % to 100 % null since the last snapshot"],
        ),
        (
            r#","name":"x""#,
            "20260720T060000Z",
            vec!["song.song_name: 100 % to 0 % null since the last snapshot"],
        ),
    ] {
        let path = write(popularity);
        wait(land(&place.store, &[path], week)).unwrap();
        let transformed = place.transform();
        assert_eq!(transformed.documents[0].warnings, warnings, "{week}");
    }
}
