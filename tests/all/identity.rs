//! Which playlist a file holds, of when, and how much of it: cases as rows, and what the command says of each.

use std::{fmt::Write as _, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::desk::Desk;

/// An entry of a track.
fn entry(number: u64) -> Value {
    json!({
        "added_at": "2026-01-01T00:00:00Z",
        "track": { "id": number.to_string(), "type": "track", "name": format!("Song {number}") },
    })
}

/// A page of playlist `PL`: so many tracks from a place.
fn page(offset: u64, count: u64, total: u64) -> Value {
    json!({
        "href": format!("https://api.spotify.com/v1/playlists/PL/items?offset={offset}"),
        "items": (offset..offset + count).map(entry).collect::<Vec<_>>(),
        "offset": offset,
        "total": total,
        "next": null,
    })
}

/// Items that don't say which playlist they are of.
fn items(number: u64) -> Value {
    json!({ "items": [entry(number)], "total": 1 })
}

/// A playlist object.
fn playlist(id: &str, tracks: &[u64], total: u64) -> Value {
    json!({
        "type": "playlist",
        "id": id,
        "name": format!("Name of {id}"),
        "owner": { "id": "o" },
        "snapshot_id": "s",
        "tracks": { "items": tracks.iter().copied().map(entry).collect::<Vec<_>>(), "total": total, "offset": 0 },
    })
}

/// Files, further arguments, and what a dry run says of each document: file, playlist and time, items, notes. In
/// place of the time of an assumed time stands `?`.
struct Case {
    about: &'static str,
    files: Vec<(&'static str, Value)>,
    arguments: &'static [&'static str],
    status: i32,
    documents: &'static [&'static str],
    error: &'static str,
}

const ASSUMED: &str = " [name]";

fn cases() -> Vec<Case> {
    let case = |about, files, documents| Case {
        about,
        files,
        arguments: &[],
        status: 0,
        documents,
        error: "",
    };
    let rejected = |about, files, error| Case {
        about,
        files,
        arguments: &[],
        status: 2,
        documents: &[],
        error,
    };
    let (two, both) = (
        || vec![playlist("A", &[1], 1), playlist("B", &[2, 3], 2)],
        || vec![("top50/raw.json", items(1)), ("viral/raw.json", items(2))],
    );
    vec![
        case(
            "two playlists in one file are two documents",
            vec![("x_2026-10-05.json", json!(two()))],
            &["x_2026-10-05.json A-20261005T000000Z 1", "x_2026-10-05.json B-20261005T000000Z 2"],
        ),
        case(
            "pages with addresses of two playlists are two documents",
            vec![(
                "x_2026-10-05.json",
                json!([page(0, 2, 2), { "href": "https://api.spotify.com/v1/playlists/Q/items", "items": [entry(9)] }]),
            )],
            &["x_2026-10-05.json PL-20261005T000000Z 2", "x_2026-10-05.json Q-20261005T000000Z 1"],
        ),
        case(
            "a page that doesn't say belongs to the playlist before it",
            vec![(
                "x_2026-10-05.json",
                json!([playlist("PL", &[0, 1], 3), { "items": [entry(2)], "offset": 2, "total": 3 }, playlist("B", &[5], 1)]),
            )],
            &["x_2026-10-05.json PL-20261005T000000Z 3", "x_2026-10-05.json B-20261005T000000Z 1"],
        ),
        Case {
            arguments: &["--playlist", "P"],
            status: 1,
            ..rejected(
                "one playlist is given for a file of two",
                vec![("x_2026-10-05.json", json!(two()))],
                "holds 2 playlists: `A`, `B` (--playlist is for one playlist",
            )
        },
        case(
            "dates in many forms are not part of the playlist's name",
            vec![
                ("spotify_raw_20260919_210000.json", items(1)),
                ("spotify_raw_2026-10-03.json", items(2)),
                ("spotify_raw_1790000000.json", items(3)),
                ("2026-11-01_spotify_raw.json", items(4)),
            ],
            &[
                "2026-11-01_spotify_raw.json spotify_raw-20261101T000000Z 1 [name]",
                "spotify_raw_1790000000.json spotify_raw-20260921T141320Z 1 [name]",
                "spotify_raw_2026-10-03.json spotify_raw-20261003T000000Z 1 [name]",
                "spotify_raw_20260919_210000.json spotify_raw-20260919T210000Z 1 [name]",
            ],
        ),
        case(
            "folders name dates and playlists",
            vec![
                ("dt=2026-10-05/top50.json", items(1)),
                ("dt=2026-10-12/top50.json", items(2)),
                ("year=2026/month=10/day=19/top50.json", items(3)),
                ("raw/playlist_id=A/ingest_ts=20261005T060000Z/payload.json", items(4)),
                (
                    "raw/playlist_id=A/ingest_ts=20261012T060000Z/payload.json",
                    json!({ "playlist_id": "B", "items": [entry(5)] }),
                ),
            ],
            &[
                "dt=2026-10-05/top50.json top50-20261005T000000Z 1 [name]",
                "dt=2026-10-12/top50.json top50-20261012T000000Z 1 [name]",
                "raw/playlist_id=A/ingest_ts=20261005T060000Z/payload.json A-20261005T060000Z 1",
                "raw/playlist_id=A/ingest_ts=20261012T060000Z/payload.json B-20261012T060000Z 1",
                "year=2026/month=10/day=19/top50.json top50-20261019T000000Z 1 [name]",
            ],
        ),
        rejected(
            "files of one name in several folders",
            both(),
            "`files/top50/raw.json`, `files/viral/raw.json` would become one playlist `raw` (if folders are named for playlists, add --playlist-from folder",
        ),
        Case {
            arguments: &["--playlist-from", "folder"],
            ..case(
                "the same, by folder",
                both(),
                &["top50/raw.json top50-? 1 [modified]", "viral/raw.json viral-? 1 [modified]"],
            )
        },
        rejected(
            "each file would be a playlist of its own",
            vec![
                ("week 38.json", items(1)),
                ("week 39.json", items(2)),
                ("week 40.json", items(3)),
            ],
            "each of 3 files in files/ would become a playlist of its own, as only their names could say which they are of: `week-38`, `week-39`, `week-40`",
        ),
        Case {
            arguments: &["--playlist-from", "name", "--extracted-at", "2026-10-05"],
            ..case(
                "the same, as it is meant",
                vec![("rock.json", items(1)), ("jazz.json", items(2))],
                &["jazz.json jazz-20261005T000000Z 1", "rock.json rock-20261005T000000Z 1"],
            )
        },
        rejected(
            "several documents of one playlist at one assumed time",
            vec![("a/1.json", playlist("A", &[1], 1)), ("a/2.json", playlist("A", &[2], 1))],
            "2 documents of playlist `A` would have one time",
        ),
        Case {
            arguments: &["--playlist", "A", "--extracted-at", "2026-10-05T06:00:00Z"],
            ..case(
                "several documents at the one time that was given",
                vec![("1.json", items(1)), ("2.json", items(2))],
                &["1.json A-20261005T060000Z 1", "2.json A-20261005T060000Z 1"],
            )
        },
        case(
            "the same file twice is one document",
            vec![
                ("a/A_2026-10-05.json", playlist("A", &[1], 1)),
                ("b/A_2026-10-05.json", playlist("A", &[1], 1)),
            ],
            &[
                "a/A_2026-10-05.json A-20261005T000000Z 1",
                "b/A_2026-10-05.json A-20261005T000000Z 1",
            ],
        ),
        case(
            "page 1 of 2 is marked",
            vec![("x_2026-10-05.json", page(0, 3, 5))],
            &["x_2026-10-05.json PL-20261005T000000Z 3/5"],
        ),
        case(
            "pages in files of their own are one document",
            vec![("page2.json", page(3, 2, 5)), ("page1.json", page(0, 3, 5))],
            &["page1.json PL-? 5 [modified]", "page2.json joined"],
        ),
        case(
            "pages of two dates are two documents",
            vec![
                ("page1_2026-10-05.json", page(0, 3, 5)),
                ("page2_2026-10-05.json", page(3, 2, 5)),
                ("x_2026-10-12.json", page(0, 5, 5)),
            ],
            &[
                "page1_2026-10-05.json PL-20261005T000000Z 5",
                "page2_2026-10-05.json joined",
                "x_2026-10-12.json PL-20261012T000000Z 5",
            ],
        ),
        rejected(
            "a page is missing",
            vec![("page1.json", page(0, 3, 9)), ("page3.json", page(6, 3, 9))],
            "hold parts of playlist `PL` at one time, and items 4 to 6 of 9 are missing",
        ),
        case(
            "a playlist object and pages that overlap it",
            vec![(
                "x_2026-10-05.json",
                json!([playlist("PL", &[0, 1, 2, 3], 7), page(2, 3, 7), page(5, 2, 7)]),
            )],
            &["x_2026-10-05.json PL-20261005T000000Z 7"],
        ),
        case(
            "pages out of order",
            vec![("x_2026-10-05.json", json!([page(3, 2, 5), page(0, 3, 5)]))],
            &["x_2026-10-05.json PL-20261005T000000Z 5"],
        ),
    ]
}

/// A document of a dry run, as a line.
fn line(import: &Value) -> String {
    let file = import["source"].as_str().unwrap().strip_prefix("files/").unwrap();
    let mut text = file.to_owned();
    if import["status"] == "joined" {
        return text + " joined";
    }
    let Some(document) = import["document"].as_str() else {
        return format!("{file} {}", import["problem"]["message"]);
    };
    let identity = |of: &str| import["identity"][of].as_str().unwrap().to_owned();
    let (id, _) = document.rsplit_once('-').unwrap();
    let is_modified = identity("time") == "modified";
    let id =
        if is_modified { format!("{}-?", id.rsplit_once('-').unwrap().0) } else { id.to_owned() };
    let _ = write!(text, " {id} {}", import["entries"]);
    if import["complete"] == false {
        let _ = write!(text, "/{}", import["total"]);
    }
    if identity("playlist") == "name" {
        text.push_str(ASSUMED);
    }
    if is_modified {
        text.push_str(" [modified]");
    }
    text
}

#[test]
fn files_become_the_playlists_and_times_that_they_state() {
    for Case { about, files, arguments, status, documents, error } in cases() {
        let desk = Desk::new();
        for (name, content) in &files {
            desk.write(&format!("files/{name}"), content.to_string().as_bytes());
        }
        let before = desk.keys();
        let all = [&["import", "--dry-run", "--json", "files"], arguments].concat();
        let said = desk.say(&all);
        if error.is_empty() {
            assert_eq!(said.status, status, "{about}: {}", said.err);
            let imports = said.json();
            let lines: Vec<_> = imports.as_array().unwrap().iter().map(line).collect();
            assert_eq!(lines, documents, "{about}");
        } else {
            said.ends(status, &[error]);
            desk.say(&[&["import", "files"], arguments].concat()).ends(status, &[error]);
            assert!(!desk.keys().iter().any(|key| key.starts_with("raw_data/")), "{about}");
        }
        assert!(before.iter().all(|key| desk.keys().contains(key)), "{about}");
    }
}

#[test]
fn one_playlist_for_files_that_name_several_is_warned_of() {
    let desk = Desk::new();
    for id in ["A", "B"] {
        let name = format!("files/{id}_2026-10-05.json");
        desk.write(&name, playlist(id, &[1], 1).to_string().as_bytes());
    }
    desk.say(&["import", "--dry-run", "files", "--playlist", "P"]).ends(
        0,
        &["! --playlist P is given for files whose contents name 2 playlists: `A`, `B` (leave"],
    );
}

#[test]
fn what_is_assumed_and_what_is_a_part_is_said_in_a_run() {
    let desk = Desk::new();
    desk.write("a.json", items(1).to_string().as_bytes());
    desk.say(&["run", "--from", "a.json"]).ends(
        0,
        &["! a.json: playlist assumed from the file's name, time assumed from the file's modification time"],
    );
    desk.write("b_2026-10-05.json", page(0, 3, 5).to_string().as_bytes());
    desk.say(&["run", "--from", "b_2026-10-05.json"]).ends(
        0,
        &["! b_2026-10-05.json: incomplete: 3 of 5 items", "\n  ! incomplete: 3 of 5 items\n"],
    );
    // What another program puts into the store is marked, too.
    desk.write("data/raw_data/to_process/c.json", items(3).to_string().as_bytes());
    desk.say(&["run", "--json", "--from", "a.json"]).ends(0, &[]);
    desk.say(&["transform"]).ends(0, &["! playlist assumed from the file's name"]);
}

#[test]
fn overlapping_pages_give_each_item_once_at_its_position() {
    let desk = Desk::new();
    let all = json!([playlist("PL", &[0, 1, 2, 3], 7), page(5, 2, 7), page(2, 3, 7)]);
    desk.write("x_2026-10-05.json", all.to_string().as_bytes());
    desk.say(&["run", "--from", "x_2026-10-05.json"]).ends(0, &["7 entries"]);
    let rows = "select position, song_id from song order by position";
    let expected = "position,song_id\n1,0\n2,1\n3,2\n4,3\n5,4\n6,5\n7,6\n";
    assert_eq!(desk.say(&["query", "--csv", rows]).out, expected);
    let whole = "select complete, entries, tracks from snapshot";
    assert_eq!(desk.say(&["query", "--csv", whole]).out, "complete,entries,tracks\n1,7,7\n");
    // The raw bytes stay as they came, and a replay reads them alike.
    let key = desk.keys().into_iter().find(|key| key.starts_with("raw_data/processed/")).unwrap();
    let stored = String::from_utf8(std::fs::read(desk.path("data").join(key)).unwrap()).unwrap();
    assert!(stored.contains(&all.to_string()), "{stored}");
    desk.say(&["replay"]).ends(0, &["1 were as they should be"]);
    assert_eq!(desk.say(&["query", "--csv", rows]).out, expected);
}

#[test]
fn joined_pages_are_the_same_document_again() {
    let desk = Desk::new();
    for (name, page) in [("page1.json", page(0, 3, 5)), ("page2.json", page(3, 2, 5))] {
        desk.write(&format!("files/{name}"), page.to_string().as_bytes());
    }
    desk.say(&["run", "--from", "files"])
        .ends(0, &["2 files: 1 brought in, 1 joined", "5 entries"]);
    desk.say(&["run", "--from", "files"]).ends(0, &["1 there already", "nothing to do"]);
    assert_eq!(desk.count("raw_data/processed/"), 1);
}

#[test]
fn standard_input_needs_a_playlist() {
    let desk = Desk::new();
    let bytes = items(1).to_string();
    desk.say_with_input(&["import", "-"], bytes.as_bytes()).ends(
        1,
        &["neither its content nor its name says which playlist it is (give it with --playlist)"],
    );
    desk.say_with_input(&["import", "-", "--playlist", "P"], bytes.as_bytes())
        .ends(0, &["standard input: time assumed to be now"]);
}

#[test]
fn files_that_are_not_json_are_counted_and_compressed_ones_read() {
    let desk = Desk::new();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(playlist("A", &[1], 1).to_string().as_bytes()).unwrap();
    desk.write("files/A_2026-10-05.json.gz", &encoder.finish().unwrap());
    for name in ["a.jsonl", "b.txt", "c", "d.csv"] {
        desk.write(&format!("files/{name}"), b"x");
    }
    for arguments in [&["import", "--dry-run", "files"][..], &["run", "--from", "files"]] {
        desk.say(arguments).ends(0, &["! 4 other files ignored", "A-20261005T000000Z"]);
    }
}
