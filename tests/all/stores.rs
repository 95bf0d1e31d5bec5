//! What any store must do, and what keys must be.

use async_trait::async_trait;
use futures_util::{
    FutureExt,
    future::{join_all, join3},
};
use proptest::prelude::*;
use spotify_etl::{
    document::{DocumentId, ExtractedAt, PlaylistId},
    layout::{Format, Key, PageOf, Stage},
    store::{
        Folder, Object, Page, Store, StoreAddress, StoreError, Tag, Written, list_all,
        list_readable, probe, update,
    },
};
use time::OffsetDateTime;

use crate::support::{Site, wait};

#[test]
fn a_folder_is_a_store() {
    let folder = tempfile::TempDir::new().unwrap();
    wait(keeps_the_contract(&Folder::new(folder.path().join("not/there/yet"))));
}

#[test]
fn a_folder_with_folders_of_another_file_system_in_it_is_a_store() {
    let Some(site) = Site::mounted() else { return };
    let address = site.place();
    let store = wait(address.open()).unwrap();
    wait(keeps_the_contract(store.as_ref()));
}

/// A store that shows some of its objects as old.
struct Aged<'s>(&'s dyn Store);

#[async_trait]
impl Store for Aged<'_> {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.0.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        let mut page = self.0.list(prefix, after).await?;
        for listed in page.objects.iter_mut().filter(|listed| listed.key.contains("old")) {
            listed.modified -= time::Duration::hours(2);
        }
        Ok(page)
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Written, StoreError> {
        self.0.put_new(key, bytes).await
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.put(key, bytes).await
    }
    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<Written, StoreError> {
        self.0.put_if(key, bytes, tag).await
    }
    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<bool, StoreError> {
        self.0.delete_if(key, tag).await
    }
    fn location(&self, key: &str) -> String {
        self.0.location(key)
    }
}

#[test]
fn probing_a_store_deletes_what_killed_probes_left() {
    for site in Site::all() {
        wait(async {
            let store = site.place().open().await.unwrap();
            for key in ["probe-old.json", "probe-running.json", "probe-old.txt", "p/probe-old.json"]
            {
                store.put(key, b"one").await.unwrap();
            }
            probe(&Aged(store.as_ref()), "probe-1.json").await.unwrap();
            let listed = list_all(store.as_ref(), "").await.unwrap();
            let keys: Vec<_> = listed.iter().map(|listed| listed.key.as_str()).collect();
            assert_eq!(keys, ["p/probe-old.json", "probe-old.txt", "probe-running.json"]);
        });
    }
}

/// A key with an empty part can be made by other programs, and read by none of ours.
#[test]
fn an_object_whose_key_has_an_empty_part_is_not_hidden() {
    let Some(site) = Site::bucket() else { return };
    wait(async {
        let address = site.place();
        let StoreAddress::Bucket { bucket, prefix } = &address else { unreachable!() };
        let odd = StoreAddress::Bucket { bucket: bucket.clone(), prefix: format!("{prefix}a//") };
        odd.open().await.unwrap().put("x", b"1").await.unwrap();
        let store = address.open().await.unwrap();
        store.put("a/y", b"1").await.unwrap();
        let (listed, unreadable) = list_readable(store.as_ref(), "a/").await.unwrap();
        assert_eq!(listed.len(), 1);
        assert!(unreadable[0].to_string().contains("`a//x` can't be a key"), "{unreadable:?}");
        assert!(list_all(store.as_ref(), "a/").await.is_err());
    });
}

#[test]
fn what_nobody_waits_for_any_more_is_in_nobodys_way() {
    let folder = tempfile::TempDir::new().unwrap();
    let store = Folder::new(folder.path());
    for number in 0..50 {
        let key = format!("a/{number}");
        // Given up at once, together with whatever was to be done for it.
        assert!(wait(async { store.put(&key, b"one").now_or_never() }).is_none());
        if number % 10 == 0 {
            wait(store.put("b", b"two")).unwrap();
        }
    }
    wait(store.put("b", b"three")).unwrap();
    assert_eq!(wait(store.get("b")).unwrap().unwrap().bytes, b"three"[..]);
    let unfinished = std::fs::read_dir(folder.path().join(".store/unfinished")).unwrap();
    assert_eq!(unfinished.count(), 0);
}

#[test]
fn a_bucket_is_a_store() {
    let Some(site) = Site::bucket() else { return };
    wait(async {
        let store = site.place().open().await.unwrap();
        keeps_the_contract(store.as_ref()).await;
        let store = site.place().open().await.unwrap();
        probe(store.as_ref(), "probe-1.json").await.unwrap();
        assert!(list_all(store.as_ref(), "").await.unwrap().is_empty());
        // More than come at a time, and one that is sent in parts.
        for number in 0..1003 {
            store.put(&format!("many/{number:04}"), b"x").await.unwrap();
        }
        let listed = list_all(store.as_ref(), "many/").await.unwrap();
        assert_eq!(listed.len(), 1003);
        assert!(listed.is_sorted_by_key(|listed| listed.key.clone()));
        for key in ["folders/b/1", "folders/b0", "folders/b0/2", "folders/b-1/3", "folders/c/4"] {
            store.put(key, b"x").await.unwrap();
        }
        let folders = store.folders("folders/").await.unwrap();
        assert_eq!(folders, ["folders/b-1/", "folders/b/", "folders/b0/", "folders/c/"]);
        let large: Vec<u8> = (0..70_000_000_u32).map(|at| (at % 251) as u8).collect();
        assert!(store.put_new("large", &large).await.unwrap().is_done());
        assert!(!store.put_new("large", b"small").await.unwrap().is_done());
        assert!(!store.put_new("large", &large).await.unwrap().is_done());
        assert!(store.get("large").await.unwrap().unwrap().bytes == large);
    });
}

#[test]
fn of_several_who_create_or_change_an_object_one_does() {
    for site in Site::all() {
        let address = site.place();
        let one = || {
            let address = address.clone();
            std::thread::spawn(move || wait(create_and_count(&address)))
        };
        let threads: Vec<_> = (0..4).map(|_| one()).collect();
        let created: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(created, 10);
        let store = wait(address.open()).unwrap();
        assert_eq!(wait(store.get("count")).unwrap().unwrap().bytes, b"40"[..]);
    }
}

/// In a folder, what is written at the same time is put in its place together: each still gets its own
/// answer.
#[test]
fn of_many_who_write_at_once_each_is_told_what_became_of_theirs() {
    for site in Site::all() {
        wait(async {
            let store = site.place().open().await.unwrap();
            let store = store.as_ref();
            let of_its_own = (0..40).map(|number| async move {
                let key = format!("own/{}/{number}", number % 3);
                store.put(&key, key.as_bytes()).await.unwrap();
            });
            let the_same = (0..40).map(|number| async move {
                store.put_new("same", format!("{number}").as_bytes()).await.unwrap()
            });
            let no_key = async { store.put("a//b", b"x").await.is_err() };
            let (_, created, is_refused) =
                join3(join_all(of_its_own), join_all(the_same), no_key).await;
            let new = created.iter().position(Written::is_done).unwrap();
            assert_eq!(created.iter().filter(|created| created.is_done()).count(), 1);
            assert!(is_refused);
            let same = store.get("same").await.unwrap().unwrap();
            assert_eq!(same.bytes, new.to_string().into_bytes());
            for listed in list_all(store, "own/").await.unwrap() {
                let object = store.get(&listed.key).await.unwrap().unwrap();
                assert_eq!(object.bytes, listed.key.into_bytes());
            }
            assert_eq!(list_all(store, "").await.unwrap().len(), 41);
        });
    }
}

/// Where one of many can't be written, the others are.
#[test]
fn a_file_in_the_way_of_one_is_in_the_way_of_no_other() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("way"), b"a file where a folder would be").unwrap();
    let store = Folder::new(folder.path());
    wait(async {
        let written = (0..30).map(|number| {
            let (store, key) =
                (&store, format!("{}/{number}", if number % 10 == 0 { "way" } else { "free" }));
            async move { store.put(&key, b"x").await.is_ok() }
        });
        let written = join_all(written).await;
        assert!(
            written.iter().enumerate().all(|(number, is_there)| *is_there == (number % 10 != 0))
        );
        assert_eq!(list_all(&store, "free/").await.unwrap().len(), 27);
    });
}

/// Creates ten objects that others create as well, and counts to ten more than there was.
async fn create_and_count(address: &StoreAddress) -> usize {
    let store = address.open().await.unwrap();
    let mut created = 0;
    for round in 0..10 {
        let thread = format!("{:?}", std::thread::current().id());
        let new = store.put_new(&format!("rounds/{round}"), thread.as_bytes()).await.unwrap();
        created += usize::from(new.is_done());
        let added = update(store.as_ref(), "count", |bytes| {
            let count = bytes.map_or("0", |bytes| str::from_utf8(bytes).unwrap());
            let count = count.parse::<u32>().unwrap() + 1;
            Ok::<_, StoreError>(Some(count.to_string().into_bytes()))
        });
        added.await.unwrap();
    }
    created
}

/// A store that takes conditions for wishes, as some S3 servers do.
struct Careless(Folder);

#[async_trait]
impl Store for Careless {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.0.get(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.0.list(prefix, after).await
    }
    async fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Written, StoreError> {
        self.0.put(key, bytes).await.map(|()| Written::Done(None))
    }
    async fn put(&self, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.put(key, bytes).await
    }
    async fn put_if(&self, key: &str, bytes: &[u8], tag: &Tag) -> Result<Written, StoreError> {
        self.0.put_if(key, bytes, tag).await
    }
    async fn delete_if(&self, key: &str, tag: &Tag) -> Result<bool, StoreError> {
        self.0.delete_if(key, tag).await
    }
    fn location(&self, key: &str) -> String {
        self.0.location(key)
    }
}

#[test]
fn a_store_that_takes_conditions_for_wishes_is_refused_by_name() {
    let folder = tempfile::TempDir::new().unwrap();
    let error = wait(probe(&Careless(Folder::new(folder.path())), "probe-1.json")).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("refuses to create an object twice (If-None-Match)"), "{message}");
    assert!(message.contains(folder.path().to_str().unwrap()), "{message}");
}

/// What every store has to hold to.
async fn keeps_the_contract(store: &dyn Store) {
    assert!(store.get("a/b").await.unwrap().is_none());
    assert!(list_all(store, "").await.unwrap().is_empty());

    assert!(store.put_new("a/b", b"one").await.unwrap().is_done());
    assert!(!store.put_new("a/b", b"two").await.unwrap().is_done());
    let first = store.get("a/b").await.unwrap().unwrap();
    assert_eq!(first.bytes, b"one"[..]);

    store.put("a/b", b"three").await.unwrap();
    assert!(!store.put_if("a/b", b"four", &first.tag()).await.unwrap().is_done());
    let third = store.get("a/b").await.unwrap().unwrap();
    assert_eq!(third.bytes, b"three"[..]);
    assert!(store.put_if("a/b", b"four", &third.tag()).await.unwrap().is_done());
    assert!(!store.put_if("no/such", b"x", &third.tag()).await.unwrap().is_done());
    assert!(store.get("no/such").await.unwrap().is_none());

    assert!(!store.delete_if("a/b", &third.tag()).await.unwrap());
    let fourth = store.get("a/b").await.unwrap().unwrap();
    assert!(store.delete_if("a/b", &fourth.tag()).await.unwrap());
    assert!(!store.delete_if("a/b", &fourth.tag()).await.unwrap());
    assert!(store.get("a/b").await.unwrap().is_none());

    // Content of which only the end is another, or that goes on or stops short, is another.
    let large = vec![7; 200_000];
    store.put("large", &large).await.unwrap();
    let was = store.get("large").await.unwrap().unwrap();
    let other_end = [&large[1..], b"8"].concat();
    for other in [&other_end[..], &[&large[..], b"7"].concat(), &large[1..], b""] {
        store.put("large", other).await.unwrap();
        assert!(!store.put_if("large", b"x", &was.tag()).await.unwrap().is_done());
        assert!(!store.delete_if("large", &was.tag()).await.unwrap());
        assert_eq!(store.get("large").await.unwrap().unwrap().bytes, other);
    }
    store.put("large", &large).await.unwrap();
    assert!(store.delete_if("large", &was.tag()).await.unwrap());

    store.put("from", b"five").await.unwrap();
    for (key, bytes, from) in
        [("c/1", "five", "from"), ("c/2", "six", "from"), ("c/3", "six", "no")]
    {
        let copied = store.copy_new(key, bytes.as_bytes(), from).await.unwrap();
        assert!(copied.is_done(), "{key}");
        let again = store.copy_new(key, b"seven", from).await.unwrap();
        assert!(!again.is_done(), "{key}");
    }
    // A copy is one of its own, whatever becomes of what it was made from.
    store.put("from", b"eight").await.unwrap();
    let eight = store.get("from").await.unwrap().unwrap();
    assert!(store.put_if("from", b"nine", &eight.tag()).await.unwrap().is_done());
    let nine = store.get("from").await.unwrap().unwrap();
    assert!(store.delete_if("from", &nine.tag()).await.unwrap());
    for (key, bytes) in [("c/1", "five"), ("c/2", "six"), ("c/3", "six")] {
        assert_eq!(store.get(key).await.unwrap().unwrap().bytes, bytes);
        let there = store.get(key).await.unwrap().unwrap();
        assert!(store.delete_if(key, &there.tag()).await.unwrap());
    }

    for key in ["p/2", "p/10", "p/1/x", "pq", "p/1-x", "p/e é+"] {
        store.put(key, b"x").await.unwrap();
    }
    assert_eq!(store.folders("p/").await.unwrap(), ["p/1/"]);
    assert_eq!(store.folders("no/").await.unwrap(), Vec::<String>::new());
    let keys = |prefix: &'static str| async move {
        let listed = list_all(store, prefix).await.unwrap();
        listed.into_iter().map(|listed| listed.key).collect::<Vec<_>>()
    };
    assert_eq!(keys("p/").await, ["p/1-x", "p/1/x", "p/10", "p/2", "p/e é+"]);
    assert_eq!(keys("p/1").await, ["p/1-x", "p/1/x", "p/10"]);
    assert_eq!(keys("p").await.len(), 6);
    assert_eq!(keys("q").await.len(), 0);

    for key in ["", "/a", "a//b", "../a", "a/../b", "a/", ".hidden", "a/.b"] {
        assert!(store.put(key, b"x").await.is_err(), "`{key}` was taken as a key");
        assert!(store.get(key).await.is_err(), "`{key}` was taken as a key");
        assert!(store.delete_if(key, &Tag::Mark(String::new())).await.is_err(), "`{key}`");
    }
}

fn document() -> impl Strategy<Value = DocumentId> {
    let seconds = 1_136_073_600_i64..2_871_763_200;
    ("[A-Za-z0-9_]{1,5}(-[A-Za-z0-9_]{1,5}){0,3}-?", seconds, "[0-9a-f]{8}").prop_filter_map(
        "a letter or digit",
        |(playlist, seconds, hash8)| {
            let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            Some(DocumentId {
                playlist_id: PlaylistId::from_text(&playlist)?,
                extracted_at: ExtractedAt::new(moment).unwrap(),
                hash8,
            })
        },
    )
}

fn stage() -> impl Strategy<Value = Stage> {
    prop_oneof![Just(Stage::ToProcess), Just(Stage::Processed), Just(Stage::Failed)]
}

fn key() -> impl Strategy<Value = Key> {
    let name = || "[a-z][a-z0-9_-]{0,12}";
    prop_oneof![
        name().prop_map(|name| Key::Plugin { name }),
        name().prop_map(|name| Key::PluginError { name }),
        (name(), "[0-9a-f]{64}").prop_map(|(name, sha256)| Key::History { name, sha256 }),
        (name(), "[0-9a-f]{64}").prop_map(|(name, sha256)| Key::HistoryRecord { name, sha256 }),
        (stage(), document()).prop_map(|(stage, document)| Key::Raw { stage, document }),
        "[a-z]{1,5}(/[a-zA-Z0-9 :.+é]{1,9}x){0,2}"
            .prop_map(|path| Key::Foreign { stage: Stage::ToProcess, path }),
        "[a-z]{1,5}(/[a-z0-9 :]{1,9}){0,2}".prop_map(|path| Key::FailedReason { path }),
        name().prop_map(|table| Key::TableRecord { table }),
        ("[a-z][a-z0-9_]{0,8}(_g[0-9]|_data|_data_g2)?", 1..5_u32, document()).prop_map(
            |(table, generation, document)| {
                let format = Format::Csv;
                Key::TableFile { table, generation, format, document }
            }
        ),
        document().prop_map(|document| Key::Lineage { document }),
        name().prop_map(|run_id| Key::Run { run_id }),
        (name(), prop_oneof![Just(PageOf::Documents), Just(PageOf::Imports)], 1..20_000_u32)
            .prop_map(|(run_id, of, number)| Key::RunPage { run_id, of, number }),
        name().prop_map(|run_id| Key::Probe { run_id }),
        Just(Key::Playlists),
    ]
}

proptest! {
    #[test]
    fn a_key_reads_back_as_what_it_was_rendered_from(key in key()) {
        let text = key.to_string();
        let hidden = text.split('/').any(|part| part.starts_with('.'));
        prop_assert_eq!(text.parse::<Key>(), if hidden { Err(()) } else { Ok(key) });
    }

    #[test]
    fn text_that_is_no_key_is_none_and_no_text_reads_as_another_key(text in "[a-z_]{0,12}/?[a-z_]{0,14}/?.{0,30}") {
        if let Ok(key) = text.parse::<Key>() {
            prop_assert_eq!(key.to_string(), text);
        }
    }
}

#[test]
fn keys_are_where_the_design_says() {
    let document: DocumentId = "my_list-20230927T095334Z-0123abcd".parse().unwrap();
    let raw = |stage| Key::Raw { stage, document: document.clone() }.to_string();
    assert_eq!(raw(Stage::ToProcess), "raw_data/to_process/my_list/20230927T095334Z-0123abcd.json");
    let table = |generation| {
        let (table, format) = ("song".to_owned(), Format::Csv);
        Key::TableFile { table, generation, format, document: document.clone() }.to_string()
    };
    let file = "snapshot_year=2023/my_list-20230927T095334Z-0123abcd.csv";
    assert_eq!(table(1), format!("transformed_data/song_data/{file}"));
    assert_eq!(table(3), format!("transformed_data/song_data_g3/{file}"));
}
