//! Reports of runs over more documents than a report lists, and of stores whose reports are too large.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, macros::datetime};

use crate::{
    desk::{Desk, text},
    support::plugin_file,
};

/// How many documents or imports a report lists of those that fail, and of the others.
const LISTED_MAX: usize = 1_000;
/// The size above which a report is not read.
const REPORT_BYTES_MAX: u64 = 8 << 20;

/// A store with one plugin, so that many documents take little time.
fn desk() -> Desk {
    let desk = Desk::bare();
    desk.write("built/song.wasm", &fs::read(plugin_file("song")).unwrap());
    desk.say(&["init", "--from", "built"]).ends(0, &[]);
    desk
}

fn playlist(tracks: usize) -> Vec<u8> {
    let track =
        |number| json!({ "track": { "type": "track", "id": format!("t{number}"), "name": "a" } });
    let items: Vec<Value> = (0..tracks).map(track).collect();
    json!({ "items": items }).to_string().into_bytes()
}

/// Writes a file with a time in its name.
fn write_dated(desk: &Desk, name: &str, moment: OffsetDateTime, bytes: &[u8]) {
    let format = time::macros::format_description!("[year]-[month]-[day]_[hour]-[minute]-[second]");
    desk.write(&format!("in/{name}_{}.json", moment.format(&format).unwrap()), bytes);
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn names(documents: &Value) -> Vec<String> {
    let name = |one: &Value| one["document"].as_str().unwrap().to_owned();
    documents.as_array().unwrap().iter().map(name).collect()
}

#[test]
fn a_report_of_many_documents_lists_the_first_and_counts_all() {
    const DAYS: usize = 1_102;
    const BAD: usize = 1_100;
    let desk = desk();
    let day = |number: usize| {
        datetime!(2020-01-01 06:00:00 UTC) + Duration::days(i64::try_from(number).unwrap())
    };
    for number in 0..DAYS {
        // One differs from the one before it, where documents are handed on.
        let tracks = if number < LISTED_MAX { 8 } else { 2 };
        write_dated(&desk, "weekly", day(number), &playlist(tracks));
    }
    write_dated(&desk, "zz-without-tracks", day(0), br#"{"items":[{"track":null}]}"#);
    for number in 0..BAD {
        desk.write(&format!("in/bad/{number:04}.json"), b"no");
    }
    let said = desk.say(&["run", "--json", "--from", "in"]);
    said.ends(1, &[]);
    let report = said.json();

    let run_id = report["run_id"].as_str().unwrap();
    let file = desk.path("data/runs").join(format!("{run_id}.json"));
    assert_eq!(read_json(&file), report);
    assert!(fs::metadata(&file).unwrap().len() < REPORT_BYTES_MAX);

    let (documents, imports) = (&report["totals"]["documents"], &report["totals"]["imports"]);
    assert_eq!(documents["count"], DAYS + 1);
    assert_eq!(documents["by_status"], json!({ "stored": DAYS, "waiting": 1 }));
    assert_eq!(documents["entries"], LISTED_MAX * 8 + (DAYS - LISTED_MAX) * 2 + 1);
    let song = &documents["tables"]["song"];
    assert_eq!(song["rows"], LISTED_MAX * 8 + (DAYS - LISTED_MAX) * 2);
    assert_eq!(song["files"], DAYS + 1);
    assert_eq!(documents["skipped"], json!({ "no_payload": 1 }));
    assert_eq!((&documents["empty"], &documents["warnings"]), (&json!(1), &json!(1)));
    assert_eq!(imports["count"], DAYS + 1 + BAD);
    assert_eq!(imports["by_status"], json!({ "landed": DAYS + 1, "refused": BAD }));
    assert_eq!(imports["problems"], json!({ "document": BAD }));

    // The document that fails is listed, though it is the last one.
    let listed = names(&report["documents"]);
    assert_eq!(listed.len(), LISTED_MAX + 1);
    assert!(listed.last().unwrap().starts_with("zz-without-tracks-"), "{listed:?}");
    assert_eq!(report["imports"].as_array().unwrap().len(), 2 * LISTED_MAX);

    // Everything else is on a page, once.
    let pages = report["pages"].as_array().unwrap();
    let page = |of: &str| {
        let mut found = pages.iter().filter(|page| page["key"].as_str().unwrap().contains(of));
        let page = found.next().unwrap();
        assert_eq!(found.next(), None);
        (page.clone(), read_json(&desk.path("data").join(page["key"].as_str().unwrap())))
    };
    let (about, content) = page("/documents-");
    assert_eq!(about["key"], format!("runs/{run_id}/documents-0001.json"));
    let on_page = names(&content["documents"]);
    assert_eq!((on_page.len(), &about["count"]), (DAYS - LISTED_MAX, &json!(on_page.len())));
    assert_eq!(about["first"], on_page[0]);
    let all: BTreeSet<_> = listed.iter().chain(&on_page).collect();
    assert_eq!(all.len(), DAYS + 1);
    let (about, content) = page("/imports-");
    assert_eq!(about["count"], DAYS + 1 - LISTED_MAX + BAD - LISTED_MAX);
    assert_eq!(content["imports"].as_array().unwrap().len(), about["count"]);

    // The comparison with the last snapshot doesn't end where documents are handed on.
    let first = &page("/documents-").1["documents"][0];
    assert_eq!(first["warnings"], json!(["song: 8 to 2 rows since the last snapshot"]));

    desk.say(&["runs"]).ends(0, &[run_id, "2203", "not all done"]);
    assert_eq!(desk.say(&["runs", "--json"]).json().as_array().unwrap().len(), 1);
    assert_eq!(desk.say(&["runs", "last", "--json"]).json(), report);
    desk.say(&["runs", run_id]).ends(
        0,
        &[
            "2203 files: 1103 brought in, 1100 rejected",
            "1102 of 1103 documents stored, 8205 entries",
            "✗ zz-without-tracks-",
            "more details are on 2 pages in ./data/runs/",
        ],
    );
    // A document on a page was made by this run, too.
    desk.say(&["explain", &on_page[3]])
        .ends(0, &[run_id, "imported it from in/weekly", "made song"]);
    desk.say(&["status"]).ends(1, &["not all done", run_id]);
}

#[test]
fn a_small_run_has_no_pages() {
    let desk = desk();
    write_dated(&desk, "weekly", datetime!(2020-01-01 06:00:00 UTC), &playlist(3));
    let report = desk.say(&["run", "--json", "--from", "in"]).json();
    assert_eq!(
        (&report["pages"], report["documents"].as_array().unwrap().len()),
        (&Value::Null, 1)
    );
    assert_eq!(fs::read_dir(desk.path("data/runs")).unwrap().count(), 1);
}

#[test]
fn a_report_that_is_too_large_is_named_and_not_read() {
    let desk = desk();
    let key = "raw_data/to_process/p/20200101T060000Z-01234567.json";
    desk.write(&format!("data/{key}"), b"no");
    desk.say(&["transform"]).ends(1, &[]);
    let small = desk.say(&["runs", "--json"]).json()[0]["run_id"].as_str().unwrap().to_owned();
    // It takes no room on the disk, and a gigabyte of memory.
    let large = desk.write("data/runs/20990101T000000Z-00000000.json", b"{");
    fs::File::options().write(true).open(&large).unwrap().set_len(1 << 30).unwrap();
    // Pages are no reports.
    desk.write("data/runs/20990101T000000Z-00000000/documents-0001.json", b"{}");

    let why = "has 1024.0 MiB, over the limit of 8.0 MiB for a report, and was not read";
    desk.say(&["runs"]).ends(0, &["20990101T000000Z-00000000", why, &small]);
    assert_eq!(desk.say(&["runs", "--json"]).json().as_array().unwrap().len(), 2);
    for named in ["last", "20990101T000000Z-00000000"] {
        let said = desk.say(&["runs", named]);
        said.ends(2, &["./data/runs/20990101T000000Z-00000000.json", why, "jq"]);
    }
    desk.say(&["runs", &small]).ends(0, &["not all done"]);

    fs::write(desk.path("data").join(key), b"[]").unwrap();
    desk.say(&["transform", "--limit", "document_bytes=1"]).ends(1, &[]);
    let status = desk.say(&["status"]);
    status
        .ends(1, &["1 waiting", "larger than the limit of 1 B", "last run 20990101T000000Z", why]);
    let status = desk.say(&["status", "--json"]).json();
    assert_eq!(status["last_run"]["exit_status"], Value::Null);
    assert_eq!(status["unread_reports"][0]["bytes"], 1 << 30);
    assert_eq!(status["waiting_count"], 1);
}

#[test]
fn status_names_some_of_many_failed_documents_and_counts_all() {
    let desk = desk();
    for number in 0..150 {
        desk.write(&format!("data/raw_data/failed/{number:04}.json"), b"no");
    }
    desk.say(&["status"]).ends(1, &["150 failed", "... and 130 more"]);
    let status = desk.say(&["status", "--json"]).json();
    assert_eq!(status["failed_count"], 150);
    assert_eq!(status["failed"].as_array().unwrap().len(), 100);
    assert_eq!(status["failed"][0]["key"], "raw_data/failed/0000.json");
}

#[test]
fn reports_of_older_hosts_are_read() {
    let desk = desk();
    write_dated(&desk, "weekly", datetime!(2020-01-01 06:00:00 UTC), &playlist(3));
    desk.say(&["run", "--from", "in"]).ends(0, &[]);
    let run_id = desk.say(&["runs", "--json"]).json()[0]["run_id"].as_str().unwrap().to_owned();
    let shown = desk.say(&["runs", &run_id]).out;
    let file = desk.path("data/runs").join(format!("{run_id}.json"));
    let mut report = read_json(&file);
    report.as_object_mut().unwrap().remove("totals").unwrap();
    desk.write(text(&file), report.to_string().as_bytes());
    assert_eq!(desk.say(&["runs", &run_id]).out, shown);
    assert_eq!(desk.say(&["runs", "--json"]).json()[0]["documents"], 1);
}
