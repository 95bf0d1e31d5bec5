//! Times in the future: of files, of documents in a store, and of this machine's clock.

use std::{fs, time::SystemTime};

use crate::{
    desk::{Desk, text},
    support::fixture,
};

const TOO_LATE: [&str; 2] =
    ["is more than a day after the time on this machine", "accept it with --allow-future"];

/// A desk with a file of which neither name nor content says a time.
fn desk() -> (Desk, Vec<u8>) {
    let bytes = fs::read(fixture("playlists/bare_array_from_a_fields_filter.json")).unwrap();
    (Desk::new(), bytes)
}

#[test]
fn an_import_with_a_time_in_the_future_is_rejected_unless_that_is_accepted() {
    let (desk, bytes) = desk();
    desk.write("plain.json", &bytes);
    desk.write("named_2059-07-06_06-00-00.json", &bytes);
    let late = desk.write("late.json", &bytes);
    let in_years = SystemTime::now() + std::time::Duration::from_secs(3 * 365 * 86_400);
    fs::File::options().append(true).open(late).unwrap().set_modified(in_years).unwrap();
    for file in [
        &["plain.json", "--extracted-at", "2059-07-06T06:00:00Z"][..],
        &["named_2059-07-06_06-00-00.json"],
        &["late.json"],
    ] {
        desk.say(&[&["import", "--dry-run"], file].concat()).ends(1, &TOO_LATE);
        desk.say(&[&["import"], file].concat()).ends(1, &TOO_LATE);
        desk.say(&[&["run", "--from"], file].concat()).ends(1, &TOO_LATE);
        assert_eq!(desk.count("raw_data/"), 0, "{file:?}");
    }
    let named = ["named_2059-07-06_06-00-00.json", "--allow-future"];
    desk.say(&[&["import", "--dry-run"], &named[..]].concat()).ends(0, &["named-20590706T060000Z"]);
    desk.say(&[&["run", "--from"], &named[..]].concat()).ends(0, &["all done"]);
    assert_eq!(desk.count("raw_data/processed/named/20590706T060000Z-"), 1);
}

#[test]
fn a_stored_document_from_the_future_is_not_imported_into_another_store() {
    let (desk, bytes) = desk();
    desk.write("named_2059-07-06_06-00-00.json", &bytes);
    let import = ["import", "named_2059-07-06_06-00-00.json", "--allow-future"];
    desk.say(&import).ends(0, &[]);
    let other = Desk::new();
    let backup = desk.path("data/raw_data/to_process");
    other.say(&["import", text(&backup)]).ends(1, &TOO_LATE);
    assert_eq!(other.count("raw_data/"), 0);
    other.say(&["import", text(&backup), "--allow-future"]).ends(0, &["1 brought in"]);
}

#[test]
fn some_hours_are_no_future() {
    let (desk, bytes) = desk();
    let file = desk.write("soon.json", &bytes);
    let soon = SystemTime::now() + std::time::Duration::from_secs(23 * 3600);
    fs::File::options().append(true).open(file).unwrap().set_modified(soon).unwrap();
    desk.say(&["import", "soon.json"]).ends(0, &["1 brought in"]);
}

#[test]
fn a_file_in_the_store_with_a_time_in_the_future_stays_where_it_is() {
    let (desk, bytes) = desk();
    let key = "raw_data/to_process/top_2059-07-06_06-00-00.json";
    desk.write(&format!("data/{key}"), &bytes);
    desk.write("data/raw_data/to_process/top_2026-07-06_06-00-00.json", &bytes);
    desk.say(&["transform"]).ends(1, &TOO_LATE);
    assert_eq!(fs::read(desk.path("data").join(key)).unwrap(), bytes);
    assert_eq!(desk.count("raw_data/processed/top/20260706T060000Z-"), 1);
    assert!(!desk.keys().iter().any(|key| key.contains("2059") && !key.starts_with("raw_data/to")));
    let status = desk.say(&["status"]);
    status.ends(
        1,
        &["1 waiting", TOO_LATE[0], "spotify-etl import --store ./data --extracted-at TIME"],
    );
    assert!(!status.out.contains("dated in the future"));

    desk.say(&["transform", "--allow-future"]).ends(0, &["! 1 snapshot is dated in the future"]);
    let status = desk.say(&["status"]);
    let explain = "spotify-etl explain --store ./data top-20590706T060000Z-";
    status.ends(1, &["; ! 1 dated in the future", explain]);
    let playlist = &desk.say(&["status", "--json"]).json()["playlists"][0];
    assert_eq!((&playlist["in_future"], &playlist["snapshots"]), (&1.into(), &2.into()));
    assert!(playlist["last_extracted_at"].as_str().unwrap().starts_with("2026"), "{playlist}");

    // Whatever is new of that playlist, its charts don't show it.
    desk.write("data/raw_data/to_process/top_2026-07-13_06-00-00.json", &bytes);
    let run = desk.say(&["transform", "--json"]);
    run.ends(0, &[]);
    let warning = run.json()["warnings"][0].as_str().unwrap().to_owned();
    assert!(warning.starts_with("1 snapshot is dated in the future"), "{warning}");
    assert!(warning.contains("top-20590706T060000Z-"), "{warning}");
    // Of another playlist's run that is no matter.
    desk.write("data/raw_data/to_process/other_2026-07-13_06-00-00.json", &bytes);
    assert_eq!(desk.say(&["transform", "--json"]).json()["warnings"], serde_json::json!([]));
}
