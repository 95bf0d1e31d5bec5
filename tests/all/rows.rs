//! What a question reads of a store, what is kept for the next one, and that an answer is never an old one.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use async_trait::async_trait;
use spotify_etl::{
    answer::Answer,
    layout::Format,
    pipeline::{
        Mode,
        replay::Change,
        tables::{LocalSql, TablesError, tables},
    },
    query::CacheFolder,
    store::{Folder, Listed, Object, Page, Store, StoreError, Tag, Written},
};
use tempfile::TempDir;
use time::{OffsetDateTime, macros::datetime};

use crate::{
    desk::Desk,
    sql::history,
    support::{EXTRACTED_AT, NOW, Nobody, Place, fixture, land, query, replay, wait},
};

/// A time at which every file was written long ago.
const LATER: OffsetDateTime = datetime!(2100-01-01 00:00 UTC);

/// The folder of rows in the folder of a cache.
const ROWS: &str = "spotify-etl-rows";

const STATEMENTS: [&str; 7] = [
    "SELECT * FROM song ORDER BY document, position",
    "SELECT count(*) FROM song_artist",
    "SELECT * FROM chart ORDER BY playlist_id, week, position",
    "SELECT * FROM chart_out ORDER BY playlist_id, week, last_position",
    "SELECT artist_name, count(*) FROM artist GROUP BY 1 ORDER BY 1",
    "SELECT * FROM album_latest ORDER BY album_id",
    "SELECT document FROM snapshot WHERE snapshot_year = 2026 ORDER BY 1",
];

/// A store that notes which objects are read.
struct Watched<'s> {
    store: &'s Folder,
    read: Mutex<BTreeSet<String>>,
}

impl<'s> Watched<'s> {
    fn of(place: &'s Place) -> Self {
        Watched { store: &place.store, read: Mutex::default() }
    }

    /// The table files that were read since it was asked last: what comes before and after the document.
    fn taken(&self) -> BTreeSet<String> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let read = std::mem::take(&mut *read).into_iter();
        read.filter(|key| key.starts_with("transformed_data/")).collect()
    }
}

#[async_trait]
impl Store for Watched<'_> {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
        self.store.get(key).await
    }
    async fn head(&self, key: &str) -> Result<Option<Listed>, StoreError> {
        self.store.head(key).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.store.list(prefix, after).await
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

/// Answers a statement with rows kept in a folder.
fn ask_at(
    store: &dyn Store,
    folder: &Path,
    now: OffsetDateTime,
    sql: &str,
) -> Result<Answer, TablesError> {
    let cache = CacheFolder::new(folder).unwrap();
    wait(async {
        let tables = tables(store).await?.tables;
        let cache = Some((&cache, &b"store"[..]));
        LocalSql { store, tables: &tables, cache, now, progress: &Nobody }.ask(sql).await
    })
}

fn ask(store: &dyn Store, folder: &Path, sql: &str) -> Answer {
    ask_at(store, folder, LATER, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The file that rows are kept in.
fn cache_file(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder.join(ROWS)).unwrap().map(|file| file.unwrap().path());
    let files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|kind| kind == "sqlite")).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

/// Compares every statement's answer with the one that is made of all files anew.
#[track_caller]
fn all_are_current(place: &Place, folder: &Path, what: &str) {
    for sql in STATEMENTS {
        let expected = wait(query(&place.store, sql)).unwrap();
        assert_eq!(ask(&place.store, folder, sql), expected, "{what}: {sql}");
    }
}

#[test]
fn a_question_reads_what_it_needs_and_the_next_one_reads_nothing() {
    for format in Format::ALL {
        let (place, folder) = (history(format), TempDir::new().unwrap());
        let store = Watched::of(&place);
        let ask = |sql| ask(&store, folder.path(), sql);
        let sql = "SELECT count(*) FROM song WHERE snapshot_year = 2025";
        ask(sql);
        let read = store.taken();
        let is_it = |key: &String| key.contains("/song_") && key.contains("=2025/");
        assert!(!read.is_empty() && read.iter().all(is_it), "{read:?}");
        ask(sql);
        assert_eq!(store.taken(), BTreeSet::new());
        // The other years come to those that are there.
        ask("SELECT count(*) FROM song");
        let read = store.taken();
        assert!(!read.is_empty() && read.iter().all(|key| key.contains("=2026/")), "{read:?}");
        // Another column is read of the same files, and of no others.
        ask("SELECT count(song_id) FROM song WHERE snapshot_year >= 2026");
        let read = store.taken();
        assert_eq!(read.len(), 14, "{read:?}");
        ask("SELECT count(song_id) FROM song");
        assert_eq!(store.taken(), BTreeSet::new());
        ask("SELECT * FROM chart");
        store.taken();
        for sql in ["SELECT * FROM chart", "SELECT * FROM chart_out", "SELECT position FROM song"] {
            ask(sql);
            assert_eq!(store.taken(), BTreeSet::new(), "{sql}");
        }
        ask("SELECT 1");
        assert_eq!(store.taken(), BTreeSet::new());
    }
}

#[test]
fn years_are_told_apart_only_where_every_row_that_counts_is_of_them() {
    let (place, folder) = (history(Format::Csv), TempDir::new().unwrap());
    for sql in [
        "SELECT snapshot_year, count(*) FROM song GROUP BY 1 ORDER BY 1",
        "SELECT count(*) FROM song WHERE snapshot_year = 2025 OR position = 1",
        "SELECT count(*) FROM song WHERE snapshot_year IN (2025, 2026)",
        "SELECT count(*) FROM song WHERE snapshot_year > 2024 AND snapshot_year < 2026",
        "SELECT count(*) FROM song WHERE snapshot_year = '2026'",
        "SELECT count(*) FROM song WHERE NOT snapshot_year = 2025",
        "SELECT count(*) FROM song AS a JOIN song AS b ON a.song_id = b.song_id WHERE a.snapshot_year = 2025",
        "SELECT count(b.document) FROM song AS a LEFT JOIN song AS b ON a.song_id = b.song_id AND b.snapshot_year = 2025",
        "SELECT count(*) FROM song AS a WHERE snapshot_year = 2026 AND EXISTS (SELECT 1 FROM song AS b WHERE b.song_id = a.song_id AND b.snapshot_year = 2025)",
        // In the ON of an outer join it doesn't filter the left table.
        "SELECT count(*) FROM snapshot AS a LEFT JOIN album AS b ON b.document = a.document AND a.snapshot_year = 2025",
        "SELECT count(*) FROM snapshot AS a LEFT JOIN album AS b ON b.document = a.document AND a.snapshot_year > 2025",
        "SELECT count(*) FROM song AS a JOIN album AS c ON c.document = a.document LEFT JOIN album AS b ON b.document = a.document AND a.snapshot_year = 2025",
        "SELECT count(*) FROM snapshot AS a RIGHT JOIN album AS b ON b.document = a.document AND b.snapshot_year = 2025",
        "SELECT count(*) FROM snapshot AS a FULL JOIN album AS b ON b.document = a.document AND a.snapshot_year = 2025",
        "SELECT count(*) FROM (SELECT * FROM song WHERE snapshot_year = 2025 UNION ALL SELECT * FROM song WHERE snapshot_year = 2026)",
        "SELECT count(*) FROM song NATURAL JOIN song_artist WHERE snapshot_year = 2026",
    ] {
        fs::remove_dir_all(folder.path().join(ROWS)).ok();
        // What all rows give, in a database that has them.
        ask(&place.store, folder.path(), "SELECT * FROM song, snapshot LIMIT 1");
        let expected = ask(&place.store, folder.path(), sql);
        assert_eq!(wait(query(&place.store, sql)).unwrap(), expected, "{sql}");
        fs::remove_dir_all(folder.path().join(ROWS)).ok();
        assert_eq!(ask(&place.store, folder.path(), sql), expected, "{sql}");
    }
}

#[test]
fn an_answer_is_of_the_files_as_they_are_now() {
    let (place, folder) = (history(Format::Csv), TempDir::new().unwrap());
    let folder = folder.path();
    all_are_current(&place, folder, "first");
    all_are_current(&place, folder, "again");
    let key = place.files().into_keys().rfind(|key| key.contains("song_data/")).unwrap();
    let text = place.read(&key);
    // Of the same size, in its place.
    place.write(&key, text.replacen(",1,", ",7,", 1).as_bytes());
    assert_eq!(place.read(&key).len(), text.len());
    all_are_current(&place, folder, "changed in its place");
    wait(place.store.put(&key, text.as_bytes())).unwrap();
    all_are_current(&place, folder, "replaced");
    fs::remove_file(place.path(&key)).unwrap();
    all_are_current(&place, folder, "deleted");
    place.write(&key, text.as_bytes());
    all_are_current(&place, folder, "restored");
    wait(land(&place.store, &[fixture("playlists/both_keys.json")], EXTRACTED_AT)).unwrap();
    place.transform();
    all_are_current(&place, folder, "another document");
    let change = Change::Formats(vec![Format::Parquet]);
    let (report, _) = wait(replay(&place.store, change, Mode::Write)).unwrap();
    assert_eq!(report.switched.len(), 5, "{:?}", report.stopped);
    all_are_current(&place, folder, "other formats");
    fs::remove_dir_all(place.path("transformed_data")).unwrap();
    all_are_current(&place, folder, "nothing");
}

#[test]
fn a_file_that_was_just_written_is_read_again() {
    let (place, folder) = (history(Format::Csv), TempDir::new().unwrap());
    let (store, sql) = (Watched::of(&place), "SELECT count(*) FROM song");
    for _ in 0..2 {
        // By the clock of a test, all files are from the future.
        ask_at(&store, folder.path(), NOW, sql).unwrap();
        assert_eq!(store.taken().len(), 14);
    }
}

#[test]
fn a_cache_that_is_of_no_use_is_made_again_without_a_word() {
    let (place, folder) = (history(Format::Csv), TempDir::new().unwrap());
    let folder = folder.path();
    all_are_current(&place, folder, "first");
    let file = cache_file(folder);
    let whole = fs::read(&file).unwrap();
    let sqlite_of_others = {
        let saved = folder.join("saved.sqlite");
        let found = wait(tables(&place.store)).unwrap().tables;
        let store = &place.store;
        let sources = LocalSql { store, tables: &found, cache: None, now: NOW, progress: &Nobody };
        wait(sources.save(&saved)).unwrap();
        fs::read(saved).unwrap()
    };
    let middle = whole.len() / 2;
    let mut broken = whole.clone();
    broken[4096..middle].fill(0xff);
    for (what, bytes) in [
        ("garbage", b"garbage".repeat(1000)),
        ("cut", whole[..middle].to_vec()),
        ("cut to a header", whole[..50].to_vec()),
        ("empty", Vec::new()),
        ("broken", broken),
        ("another program's", sqlite_of_others),
    ] {
        fs::write(&file, bytes).unwrap();
        all_are_current(&place, folder, what);
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    all_are_current(&place, folder, "a folder in its place");
}

#[cfg(unix)]
#[test]
fn a_cache_is_private_and_follows_no_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let (place, folder) = (history(Format::Csv), TempDir::new().unwrap());
    let folder = folder.path();
    all_are_current(&place, folder, "first");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = cache_file(folder);
    assert_eq!((mode(&folder.join(ROWS)), mode(&file)), (0o700, 0o600));

    let other = folder.join("other.txt");
    fs::write(&other, "mine").unwrap();
    fs::remove_file(&file).unwrap();
    symlink(&other, &file).unwrap();
    all_are_current(&place, folder, "a link in its place");
    assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
    assert!(!fs::symlink_metadata(cache_file(folder)).unwrap().is_symlink());

    fs::set_permissions(folder.join(ROWS), fs::Permissions::from_mode(0o777)).unwrap();
    CacheFolder::new(folder).unwrap_err();
    fs::rename(folder.join(ROWS), folder.join("elsewhere")).unwrap();
    fs::set_permissions(folder.join("elsewhere"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(folder.join("elsewhere"), folder.join(ROWS)).unwrap();
    CacheFolder::new(folder).unwrap_err();
}

#[test]
fn many_questions_at_once_get_the_same_answers() {
    let (place, folder) = (history(Format::Csv), TempDir::new().unwrap());
    let expected: Vec<Answer> =
        STATEMENTS.iter().map(|sql| wait(query(&place.store, sql)).unwrap()).collect();
    let (store, folder, expected) = (&place.store, folder.path(), &expected);
    thread::scope(|scope| {
        for first in 0..6 {
            scope.spawn(move || {
                for place in 0..STATEMENTS.len() {
                    let place = (first + place * 3) % STATEMENTS.len();
                    let answer = ask(store, folder, STATEMENTS[place]);
                    assert_eq!(answer, expected[place], "{}", STATEMENTS[place]);
                }
            });
        }
    });
}

#[test]
fn rows_of_another_document_are_not_taken() {
    let (place, folder) = (history(Format::Csv), TempDir::new().unwrap());
    let mut keys = place.files().into_keys().filter(|key| key.contains("song_data/"));
    let (one, other) = (keys.next().unwrap(), keys.next().unwrap());
    fs::copy(place.path(&one), place.path(&other)).unwrap();
    let error = ask_at(&place.store, folder.path(), LATER, "SELECT count(*) FROM song");
    let error = error.unwrap_err().to_string();
    assert!(error.contains(&other) && error.contains("is not of document"), "{error}");
}

#[test]
fn the_command_answers_with_and_without_a_place_for_rows() {
    let desk = Desk::new();
    let demo = fixture("playlists/demo_2026-07-06_06-00-00.json");
    desk.say(&["run", "--from", demo.to_str().unwrap()]).ends(0, &[]);
    let ask = |cache: &str| {
        let said =
            desk.say(&["query", "--csv", "--cache-dir", cache, "SELECT count(*) FROM chart"]);
        said.ends(0, &[]);
        said.out
    };
    let expected = ask("none");
    desk.write("file", b"x");
    for cache in ["cache", "cache", "file", "none"] {
        assert_eq!(ask(cache), expected, "{cache}");
    }
    assert!(desk.path("cache").join(ROWS).is_dir());
}
