//! What was deleted by hand is found, and repaired by the commands that `status` names.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use serde_json::{Value, json};
use spotify_etl::{
    pipeline::strays::strays,
    store::{Object, Page, Store, StoreError, Tag, Written},
};

use crate::{
    delete::{desk, of_month},
    support::{Site, files_below, wait},
};

/// Counts requests.
struct Counting<'s> {
    store: &'s dyn Store,
    lists: AtomicUsize,
    others: AtomicUsize,
}

#[async_trait]
impl Store for Counting<'_> {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.others.fetch_add(1, Ordering::SeqCst);
        self.store.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        let mut page = self.store.list(prefix, after).await?;
        if page.objects.len() > 10 {
            page.objects.truncate(10);
            page.next = page.objects.last().map(|listed| listed.key.clone());
        }
        Ok(page)
    }
    async fn put_new(&self, key: &str, _: &[u8]) -> Result<Written, StoreError> {
        panic!("{key} was written")
    }
    async fn put(&self, key: &str, _: &[u8]) -> Result<(), StoreError> {
        panic!("{key} was written")
    }
    async fn put_if(&self, key: &str, _: &[u8], _: &Tag) -> Result<Written, StoreError> {
        panic!("{key} was written")
    }
    async fn delete_if(&self, key: &str, _: &Tag) -> Result<bool, StoreError> {
        panic!("{key} was deleted")
    }
    fn location(&self, key: &str) -> String {
        self.store.location(key)
    }
}

/// Puts documents with all files of table `song` and, of those after the first `old` ones, of table `new`.
async fn many(store: &dyn Store, count: usize, old: usize) {
    for table in ["song", "new"] {
        let schema = json!({ "name": table, "description": "", "scope": "entity", "key": [], "columns": [
            { "name": "x", "type": "text", "nullable": true, "description": "" } ] });
        let record = json!({ "format": 1, "owner": table, "generation": 1, "formats": ["csv"], "schema": schema });
        let bytes = serde_json::to_vec(&record).unwrap();
        spotify_etl::pipeline::records::TableRecord::parse(table, &bytes).unwrap();
        store.put(&format!("tables/{table}.json"), &bytes).await.unwrap();
    }
    for number in 0..count {
        let id = format!("list-20260706T060000Z-{number:08x}");
        let raw = format!("raw_data/processed/list/20260706T060000Z-{number:08x}.json");
        let file = |table: &str| {
            let key = format!("transformed_data/{table}_data/snapshot_year=2026/{id}.csv");
            json!({ "key": key, "table": table, "format": "csv", "rows": 0, "nulls": {},
                "sha256": "0".repeat(64), "host_version": "0",
                "plugin": { "name": table, "version": "1", "sha256": "0".repeat(64) } })
        };
        let tables = if number < old { &["song"][..] } else { &["song", "new"] };
        let files: Vec<Value> = tables.iter().map(|table| file(table)).collect();
        for file in &files {
            store.put(file["key"].as_str().unwrap(), b"").await.unwrap();
        }
        let lineage = json!({ "format": 1, "document": id, "files": files });
        let lineage = serde_json::to_vec(&lineage).unwrap();
        store.put(&format!("lineage/{id}.json"), &lineage).await.unwrap();
        store.put(&raw, b"{}").await.unwrap();
    }
}

#[test]
fn the_search_for_strays_reads_listings_and_few_lineage_records() {
    wait(async {
        let site = Site::folder();
        let store = site.place().open().await.unwrap();
        let (count, old) = (300, 200);
        many(store.as_ref(), count, old).await;
        let counting = |store| Counting { store, lists: 0.into(), others: 0.into() };
        let counted = counting(store.as_ref());
        let found = strays(&counted).await.unwrap();
        assert!(found.is_empty(), "{found:?}");
        // 200 lack a file that no plugin ever made; the lineage of 100 of them was read.
        assert_eq!(found.incomplete_unknown, 100);
        let lists = counted.lists.into_inner();
        // Pages of 10: raw documents, lineage, two tables. A `head` is a list here: of 100 lineage records, and
        // of the file that each of them names.
        let pages = 30 + 30 + 30 + 10;
        assert!(lists <= pages + 200 + 20, "{lists} lists");
        assert!(counted.others.into_inner() <= 102);

        // A file that was deleted by hand is found among those that never had one.
        let gone =
            "transformed_data/song_data/snapshot_year=2026/list-20260706T060000Z-00000105.csv";
        let raw = "raw_data/processed/list/20260706T060000Z-00000011.json";
        for odd in ["lineage/odd.json", "transformed_data/song_data/snapshot_year=2026/odd.csv"] {
            store.put(odd, b"").await.unwrap();
        }
        for key in [gone, raw] {
            let object = store.get(key).await.unwrap().unwrap();
            assert!(store.delete_if(key, &object.tag()).await.unwrap());
        }
        let found = strays(&counting(store.as_ref())).await.unwrap();
        assert_eq!(found.without_raw, ["list-20260706T060000Z-00000011"]);
        assert_eq!(found.without_raw_count, 1);
        let [incomplete] = &found.incomplete[..] else { panic!("{found:?}") };
        assert_eq!(incomplete.missing, [gone]);
    });
}

#[test]
fn what_was_deleted_by_hand_is_in_status_with_the_command_that_repairs_it() {
    let desk = desk();
    let whole = files_below(&desk.path("data"));
    let find = |part: &str, month: &str| {
        whole.keys().find(|key| key.contains(part) && key.contains(month)).unwrap().clone()
    };
    let january = of_month(&desk, "202601");
    let february = of_month(&desk, "202602");
    let remove = |key: &str| fs::remove_file(desk.path("data").join(key)).unwrap();
    let replay =
        "spotify-etl replay --playlist=list --since 2026-02-01 --until 2026-02-01 --store ./data";
    // A table file, several, and the lineage: replay creates them again.
    for keys in [
        vec![find("song_data", "202602")],
        vec![find("song_data", "202602"), find("album_data", "202602")],
        vec![format!("lineage/{february}.json")],
    ] {
        keys.iter().for_each(|key| remove(key));
        let mut sorted = keys.clone();
        sorted.sort();
        let line = format!("✗ {february}: {}", sorted.join(", "));
        let said = desk.say(&["status"]);
        said.ends(said.status, &["1 document: processed, but files are missing", &line, replay]);
        let json = desk.say(&["status", "--json"]).json();
        assert_eq!(
            json["strays"]["incomplete"][0],
            json!({ "document": february, "missing": sorted })
        );
        let found = desk.say(&["verify", "--json"]).json();
        for key in &sorted {
            let mut findings = found["findings"].as_array().unwrap().iter();
            let finding = findings.find(|finding| finding["key"] == key.as_str()).unwrap();
            assert_eq!(finding["commands"][0], replay, "{finding:#}");
        }
        let arguments: Vec<&str> = replay.split(' ').skip(1).collect();
        desk.say(&arguments).ends(0, &[]);
        assert!(files_below(&desk.path("data")) == whole, "{keys:?}");
        let said = desk.say(&["status"]);
        assert!(!said.out.contains("missing"), "{}", said.out);
    }
    // The raw document: its rows are named, and deleted.
    remove(&find("raw_data/processed/", "20260101"));
    let said = desk.say(&["status"]);
    let command = format!("spotify-etl delete --store ./data {january}");
    said.ends(
        said.status,
        &["1 document: rows or lineage, but no raw document", &january, &command],
    );
    let json = desk.say(&["status", "--json"]).json();
    assert_eq!(json["strays"]["without_raw"], json!([january]));
    let found = desk.say(&["verify", "--json"]).json();
    let orphans = found["findings"].as_array().unwrap().iter();
    let orphans: Vec<_> = orphans.filter(|finding| finding["kind"] == "orphan").collect();
    assert_eq!(orphans.len(), 6);
    assert!(orphans.iter().all(|orphan| orphan["commands"][1] == command.as_str()), "{found:#}");
    desk.write("data/raw_data/to_process/other.json", b"{}");
    let said = desk.say(&["status"]);
    said.ends(
        said.status,
        &["transform first: the rows may be of files that wait under other names"],
    );
    remove("raw_data/to_process/other.json");
    let arguments: Vec<&str> = command.split(' ').skip(1).chain(["--yes"]).collect();
    desk.say(&arguments)
        .ends(0, &["deleted: 1 document (0 raw objects, 5 table files, 1 lineage record)"]);
    let said = desk.say(&["status"]);
    assert!(!said.out.contains("no raw document"), "{}", said.out);
    assert!(!desk.keys().iter().any(|key| key.contains("20260101")));
    desk.say(&["verify"]).ends(0, &["no problem"]);
}
