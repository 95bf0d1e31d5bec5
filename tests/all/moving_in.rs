//! From an older pipeline's bucket into a store of its own: what such pipelines left, where and under
//! which names they left it.

use std::{collections::BTreeMap, fs};

use spotify_etl::store::{Store, StoreAddress, list_all};

use crate::{
    aws,
    desk::{Desk, Said, said},
    support::{Site, fixture, wait},
};

/// Raw responses in an older pipeline's bucket, each with the document that it becomes.
const OLD: [(&str, &str, &str); 4] = [
    (
        "raw data/processed/spotify_raw_2023-09-27 09:53:34.123456.json",
        "track_key_with_markets",
        "20230927T095334Z",
    ),
    (
        "raw data/to_process/spotify_raw_2023-10-04 09:53:34.json",
        "same_track_twice",
        "20231004T095334Z",
    ),
    (
        "raw_data/to_processed/spotify_raw_2024-01-01T06:00:00.json",
        "no_payload",
        "20240101T060000Z",
    ),
    (
        "raw_data/processed/spotify_raw_2026-08-17_11-02-03.json",
        "bare_array_from_a_fields_filter",
        "20260817T110203Z",
    ),
];

fn ask(desk: &Desk, arguments: &[&str]) -> Said {
    said(desk.command(arguments).envs(aws::environment()).output().unwrap())
}

async fn contents(store: &dyn Store) -> BTreeMap<String, Vec<u8>> {
    let mut contents = BTreeMap::new();
    for listed in list_all(store, "").await.unwrap() {
        contents.insert(
            listed.key.clone(),
            store.get(&listed.key).await.unwrap().unwrap().bytes.into(),
        );
    }
    contents
}

#[test]
fn what_older_pipelines_left_becomes_a_store_and_stays_where_it_is() {
    let Some(site) = Site::bucket() else { return };
    let (desk, old_address, address) = (Desk::without_plugins(), site.place(), site.place());
    let old = wait(old_address.open()).unwrap();
    for (key, name, _) in OLD {
        let bytes = fs::read(fixture(&format!("playlists/{name}.json"))).unwrap();
        wait(old.put(key, &bytes)).unwrap();
    }
    // What lies beside it: tables, and what is no response.
    wait(old.put("transformed_data/songs_data/songs_transformed_2023-09-27.csv", b"song_id\n"))
        .unwrap();
    wait(old.put("raw data/processed/notes.json", b"{ \"hello\": 1 }")).unwrap();
    let before = wait(contents(old.as_ref()));

    let (from, store) = (old_address.to_string(), address.to_string());
    ask(&desk, &["init", "--store", &store, "--from", "built"]).ends(0, &["song"]);
    let dry = ask(&desk, &["import", "--store", &store, "--dry-run", &format!("{from}/raw data/")]);
    dry.ends(1, &["2023-09-27", "2023-10-04", "notes.json"]);
    for folder in [
        "raw data/processed/",
        "raw data/to_process/",
        "raw_data/to_processed/",
        "raw_data/processed/",
    ] {
        let run = ask(&desk, &["run", "--store", &store, "--from", &format!("{from}/{folder}")]);
        // The notes are refused by name, and stop nothing.
        let is_odd = folder == "raw data/processed/";
        run.ends(i32::from(is_odd), if is_odd { &["notes.json"] } else { &["all done"] });
    }
    let new = wait(address.open()).unwrap();
    let keys: Vec<String> = wait(contents(new.as_ref())).into_keys().collect();
    for (_, _, extracted_at) in OLD {
        let is_of =
            |key: &&String| key.starts_with("raw_data/processed/") && key.contains(extracted_at);
        assert_eq!(keys.iter().filter(is_of).count(), 1, "{extracted_at} in {keys:?}");
    }
    // A bare array says nothing of its playlist: the file's name does.
    assert!(keys.iter().any(|key| key.starts_with("raw_data/processed/spotify_raw/")), "{keys:?}");

    // A second time, all at once: all of it is known.
    let again = ask(&desk, &["run", "--store", &store, "--from", &format!("{from}/")]);
    again.ends(1, &["4 there already, with their tables", "notes.json"]);
    assert_eq!(wait(contents(old.as_ref())), before);
}

#[test]
fn a_store_is_not_brought_into_itself_by_mistake() {
    let Some(site) = Site::bucket() else { return };
    let (desk, address) = (Desk::without_plugins(), site.place());
    let StoreAddress::Bucket { bucket, prefix } = &address else { unreachable!() };
    let bytes = fs::read(fixture("playlists/same_track_twice.json")).unwrap();
    let store = wait(address.open()).unwrap();
    wait(store.put("raw data/to_process/spotify_raw_2023-10-04 09:53:34.json", &bytes)).unwrap();
    let name = address.to_string();
    ask(&desk, &["init", "--store", &name, "--from", "built"]).ends(0, &[]);
    for from in [format!("{name}/raw data/"), name.clone(), format!("s3://{bucket}/")] {
        let refused = ask(&desk, &["run", "--store", &name, "--from", &from]);
        refused.ends(2, &["hold one another", "--in-place"]);
    }
    let beside = format!("s3://{bucket}/{}-beside/", prefix.trim_end_matches('/'));
    ask(&desk, &["run", "--store", &name, "--from", &beside]).ends(2, &[]);
    let run = ask(
        &desk,
        &["run", "--store", &name, "--in-place", "--from", &format!("{name}/raw data/")],
    );
    run.ends(0, &["1 brought in", "all done"]);
}
