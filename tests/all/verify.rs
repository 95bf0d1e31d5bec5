//! A store that is damaged in every way is found out, exactly, and mended by what the report says; one that
//! is not damaged has no problem, whatever was done with it. In a folder, and in a bucket.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use spotify_etl::{
    config::Limits,
    document::PlaylistId,
    layout::{self, Format},
    pipeline::{
        Mode, PipelineError, Selection,
        active::{PluginPlace, Shelf},
        playlists,
        replay::Change,
        report::RunReport,
        verify::{
            Effect, JournalPlace, Start, Verify,
            report::{Outcome, Severity, VerifyReport},
        },
    },
    store::{Object, Page, Store, StoreError, Tag, Written},
};
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::{
    crash::contents,
    desk::{Desk, text},
    support::{
        EXTRACTED_AT, NOW, Nobody, PLUGINS, Site, cache, command_file, files_below, fixture,
        guest_file, land, plugin_file, problems, replay, transform, wait,
    },
};

type Contents = BTreeMap<String, Vec<u8>>;

/// A store with plugins of several versions, tables of several generations and formats, documents that are
/// processed, failed and waiting.
async fn build(store: &dyn Store) {
    for name in PLUGINS {
        put(store, &format!("plugins/{name}.wasm"), &fs::read(plugin_file(name)).unwrap()).await;
    }
    put(store, "plugins/thing.wasm", &fs::read(guest_file("thing_1")).unwrap()).await;
    let paths = ["same_track_twice", "release_dates"];
    let paths = paths.map(|name| fixture(&format!("playlists/{name}.json")));
    land(store, &paths, EXTRACTED_AT).await.unwrap();
    land(store, &paths[..1], "20250106T060000Z").await.unwrap();
    let broken = fs::read(fixture("refused/truncated.json")).unwrap();
    put(store, "raw_data/to_process/older/broken.json", &broken).await;
    transform(store, &Selection::Waiting, &Limits::default()).await.unwrap();
    put(store, "plugins/thing.wasm", &fs::read(guest_file("thing_3")).unwrap()).await;
    for change in [
        Change::Generations(vec!["thing".to_owned()]),
        Change::Formats(vec![Format::Csv, Format::Parquet]),
    ] {
        let (report, transformed) = replay(store, change, Mode::Write).await.unwrap();
        assert_eq!((problems(&transformed), report.stopped), (String::new(), None));
    }
    let foreign = fs::read(fixture("playlists/bom.json")).unwrap();
    put(store, "raw_data/to_process/old 2026-07-06 05:00:00.json", &foreign).await;
    let id = PlaylistId::from_reference("37i9dQZEVXbMDoHDwVN2tF").unwrap();
    playlists::add(store, &id, Some("top"), NOW).await.unwrap();
    let run = RunReport { run_id: "20260706T060030Z-00000001".to_owned(), ..RunReport::default() };
    let key = format!("runs/{}.json", run.run_id);
    put(store, &key, &serde_json::to_vec_pretty(&run).unwrap()).await;
    let catalog = br#"{"format":1,"database":"spotify_etl","sha256":"0"}"#;
    put(store, "catalog.json", catalog).await;
}

async fn put(store: &dyn Store, key: &str, bytes: &[u8]) {
    store.put(key, bytes).await.unwrap();
}

async fn get(store: &dyn Store, key: &str) -> Vec<u8> {
    let object = store.get(key).await.unwrap();
    object.unwrap_or_else(|| panic!("{key} is not there")).bytes.into()
}

async fn delete(store: &dyn Store, key: &str) {
    let object = store.get(key).await.unwrap().unwrap();
    assert!(store.delete_if(key, &object.tag()).await.unwrap());
}

async fn restore(store: &dyn Store, contents: &Contents) {
    join_all(contents.iter().map(|(key, bytes)| put(store, key, bytes))).await;
}

/// How a store is verified in these tests.
struct Way<'w> {
    effect: Effect,
    journal: Option<&'w TempDir>,
    jobs: usize,
}

const CHECK: Way<'_> = Way { effect: Effect::Check, journal: None, jobs: 2 };

async fn verify(store: &dyn Store, way: Way<'_>) -> Result<VerifyReport, PipelineError> {
    let shelf = Shelf::new(&Limits::default(), Some(cache()));
    let verify = Verify {
        store,
        name: "STORE".to_owned(),
        plugins: PluginPlace { store, prefix: layout::PLUGINS },
        shelf: &shelf,
        limits: Limits::default(),
        jobs: way.jobs,
        // What was left behind is older than this test.
        now: OffsetDateTime::now_utc() + time::Duration::hours(1),
        progress: &Nobody,
        journal: way.journal.map(|folder| JournalPlace {
            folder: folder.path().to_owned(),
            store: store.location(""),
        }),
        start: Start::Continue,
        effect: way.effect,
        patience: Duration::ZERO,
    };
    verify.run().await
}

/// What is left, as `kind key`, sorted.
fn left(report: &VerifyReport) -> Vec<String> {
    let left = report.findings.iter().filter(|finding| finding.is_left());
    let mut lines: Vec<_> =
        left.map(|finding| format!("{} {}", finding.kind.name(), finding.key)).collect();
    lines.sort();
    lines
}

fn notes(report: &VerifyReport) -> Vec<String> {
    let notes = report.findings.iter().filter(|finding| finding.severity == Severity::Note);
    notes.map(|finding| format!("{} {}", finding.kind.name(), finding.key)).collect()
}

/// The keys that damage is done to.
struct Keys {
    all: Vec<String>,
    /// A document of which there is another with files of the same size.
    id: String,
    twin: String,
    raw: String,
    lineage: String,
}

impl Keys {
    fn of(contents: &Contents) -> Self {
        let all: Vec<String> = contents.keys().cloned().collect();
        let lineages = all.iter().filter(|key| key.starts_with("lineage/"));
        let ids: Vec<_> = lineages
            .map(|key| key.trim_start_matches("lineage/").trim_end_matches(".json").to_owned())
            .collect();
        let twin = ids.iter().find(|id| id.contains("-20250106T")).unwrap().clone();
        let playlist = twin.split("-20250106T").next().unwrap();
        let id = ids.iter().find(|id| id.starts_with(playlist) && **id != twin).unwrap().clone();
        let raw = all
            .iter()
            .find(|key| key.starts_with(&format!("raw_data/processed/{playlist}/20260706T")));
        let raw = raw.unwrap().clone();
        let lineage = format!("lineage/{id}.json");
        Keys { all, id, twin, raw, lineage }
    }

    /// The file of a table, in its current generation.
    fn table(&self, folder: &str, id: &str) -> String {
        let found = self.all.iter().find(|key| {
            key.starts_with(&format!("transformed_data/{folder}/")) && key.contains(id)
        });
        found.unwrap().clone()
    }

    /// All files of a document in the tables, those that nothing reads included if so wished.
    fn files(&self, with_old: &str) -> Vec<String> {
        let is_old = |key: &str| key.starts_with("transformed_data/thing_data/");
        let files = self.all.iter().filter(|key| {
            key.starts_with("transformed_data/")
                && key.contains(&self.id)
                && (with_old == "old too" || !is_old(key))
        });
        files.cloned().collect()
    }

    fn only(&self, prefix: &str, suffix: &str) -> String {
        let found: Vec<_> = self
            .all
            .iter()
            .filter(|key| key.starts_with(prefix) && key.ends_with(suffix))
            .collect();
        assert_eq!(found.len(), 1, "{prefix}...{suffix}: {found:?}");
        found[0].clone()
    }

    /// The version of a plugin in the history that is, or is not, the active one.
    fn version(&self, contents: &Contents, name: &str, is_active: bool) -> String {
        let active = &contents[&format!("plugins/{name}.wasm")];
        let prefix = format!("plugins/history/{name}/");
        let found = self.all.iter().find(|key| {
            key.starts_with(&prefix)
                && key.ends_with(".wasm")
                && (contents[*key] == *active) == is_active
        });
        found.unwrap().clone()
    }
}

/// What is done to an object.
#[derive(Clone, Debug)]
enum Damage {
    /// A byte is changed, at the place where a text first is, or in the middle.
    Flip(Option<&'static str>),
    /// A text is replaced by another one.
    Replace(&'static str, &'static str),
    Truncate,
    Delete,
    /// Something is put there.
    Put(Vec<u8>),
    /// It exchanges its content with another one.
    Swap(String),
}

impl Damage {
    async fn apply(&self, store: &dyn Store, key: &str) {
        match self {
            Damage::Flip(at) => {
                let mut bytes = get(store, key).await;
                let place = at.map_or(bytes.len() / 2, |text| {
                    let mut windows = bytes.windows(text.len());
                    windows.position(|window| window == text.as_bytes()).unwrap()
                });
                bytes[place] ^= 1;
                put(store, key, &bytes).await;
            }
            Damage::Replace(from, to) => {
                let bytes = get(store, key).await;
                let changed = String::from_utf8(bytes.clone()).unwrap().replacen(from, to, 1);
                assert_ne!(changed.as_bytes(), bytes, "{from}");
                put(store, key, changed.as_bytes()).await;
            }
            Damage::Truncate => {
                let bytes = get(store, key).await;
                put(store, key, &bytes[..bytes.len() / 2]).await;
            }
            Damage::Delete => delete(store, key).await,
            Damage::Put(bytes) => put(store, key, bytes).await,
            Damage::Swap(other) => {
                let (one, two) = (get(store, key).await, get(store, other).await);
                assert!(one.len() == two.len() && one != two, "{key} {other}");
                put(store, key, &two).await;
                put(store, other, &one).await;
            }
        }
    }
}

/// What a repair comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Repair {
    /// Everything is as it was.
    Whole,
    /// The store is without a problem.
    Clean,
    /// Nothing changes.
    None,
}

struct Case {
    damage: Vec<(String, Damage)>,
    expected: Vec<String>,
    repair: Repair,
}

fn case(key: &str, damage: Damage, expected: &[&str], repair: Repair) -> Case {
    let expected = expected.iter().map(|line| (*line).to_owned()).collect();
    Case { damage: vec![(key.to_owned(), damage)], expected, repair }
}

/// Every kind of damage, with exactly what is to be found.
fn cases(contents: &Contents) -> Vec<Case> {
    let mut cases = raw_cases(contents);
    cases.extend(derived_cases(contents));
    cases.extend(plugin_cases(contents));
    cases.extend(other_cases(contents));
    cases
}

fn raw_cases(contents: &Contents) -> Vec<Case> {
    let keys = Keys::of(contents);
    let raw = keys.raw.as_str();
    let own = |kind: &str| format!("{kind} {raw}");
    let mut cases = Vec::new();
    for (damage, kind) in [
        (Damage::Flip(Some("added_at")), "hash"),
        (Damage::Truncate, "unreadable"),
        (Damage::Replace("\"format\":1", "\"format\":2"), "unreadable"),
        (Damage::Replace("\"format\":1", "\"fermat\":1"), "unreadable"),
        (Damage::Replace("\"market\"", "\"narket\""), "inconsistent"),
        (Damage::Replace("\"xxh3\":\"", "\"xxh3\":\"x"), "inconsistent"),
        (Damage::Replace("2026-07-06T06:00:00Z", "2026-07-06T06:00:01Z"), "inconsistent"),
        (Damage::Replace("\"playlist_owner\":", "\"playlist_owner\": "), "inconsistent"),
        (Damage::Replace("\"playlist_name\":", "\"playlist_name\":\"x\",\"x\":"), "inconsistent"),
        (Damage::Replace("\"complete\":", "\"completf\":"), "inconsistent"),
        (Damage::Replace("\"host_version\":\"", "\"host_version\":\"1"), "inconsistent"),
        (Damage::Replace("\"header_xxh3\":\"", "\"header_xxh3\":\"1"), "inconsistent"),
        (Damage::Put(fs::read(fixture("playlists/bom.json")).unwrap()), "unreadable"),
        (Damage::Put(Vec::new()), "unreadable"),
    ] {
        cases.push(case(raw, damage, &[&own(kind)], Repair::None));
    }
    // No tables are made of a changed header.
    let snapshot = keys.table("snapshot_data", &keys.id);
    let renamed = Damage::Replace("\"playlist_name\":", "\"playlist_name\":\"x\",\"x\":");
    let expected = vec![own("inconsistent"), format!("missing {snapshot}")];
    let damage = vec![(keys.raw.clone(), renamed), (snapshot, Damage::Delete)];
    cases.push(Case { damage, expected, repair: Repair::None });
    let mut orphans: Vec<String> =
        keys.files("old too").iter().map(|key| format!("orphan {key}")).collect();
    orphans.push(format!("orphan {}", keys.lineage));
    orphans.sort();
    let damage = vec![(keys.raw.clone(), Damage::Delete)];
    cases.push(Case { damage, expected: orphans, repair: Repair::None });
    let waiting = raw.replace("/processed/", "/to_process/");
    let duplicate = format!("duplicate {waiting}");
    let copy = Damage::Put(contents[raw].clone());
    cases.push(case(&waiting, copy.clone(), &[&duplicate], Repair::None));
    let failed = raw.replace("/processed/", "/failed/");
    let reason = failed.replace(".json", ".error.json");
    let (duplicate, missing) = (format!("duplicate {failed}"), format!("missing {reason}"));
    cases.push(case(&failed, copy, &[&duplicate, &missing], Repair::None));
    cases
}

fn derived_cases(contents: &Contents) -> Vec<Case> {
    let keys = Keys::of(contents);
    let (id, twin, lineage) = (&keys.id, &keys.twin, keys.lineage.as_str());
    let mut cases = Vec::new();
    for folder in ["song_data", "song_parquet", "thing_data_g2", "thing_parquet_g2", "album_data"] {
        let file = keys.table(folder, id);
        for (damage, kind) in
            [(Damage::Flip(None), "hash"), (Damage::Truncate, "size"), (Damage::Delete, "missing")]
        {
            cases.push(case(&file, damage, &[&format!("{kind} {file}")], Repair::Whole));
        }
    }
    let (one, two) = (keys.table("song_data", id), keys.table("song_data", twin));
    let both = [format!("hash {two}"), format!("hash {one}")];
    cases.push(case(&one, Damage::Swap(two), &[&both[0], &both[1]], Repair::Whole));
    // Those that nothing reads are not needed.
    let old = keys.table("thing_data", id);
    cases.push(case(&old, Damage::Flip(None), &[], Repair::Whole));
    cases.push(case(&old, Damage::Delete, &[], Repair::Whole));
    let files = keys.files("");
    let all = |kind: &str| files.iter().map(|key| format!("{kind} {key}")).collect::<Vec<_>>();
    let damage = files.iter().map(|key| (key.clone(), Damage::Delete)).collect();
    cases.push(Case { damage, expected: all("missing"), repair: Repair::Whole });
    let expected = [vec![format!("missing {lineage}")], all("unknown")].concat();
    let damage = vec![(lineage.to_owned(), Damage::Delete)];
    cases.push(Case { damage, expected, repair: Repair::Clean });
    for damage in [
        Damage::Truncate,
        Damage::Flip(Some("{")),
        Damage::Replace("\"format\": 1", "\"format\": 2"),
        Damage::Replace("\"document\": \"", "\"document\": \"x"),
        Damage::Replace("transformed_data/album_data", "transformed_data/album_dato"),
        Damage::Replace("\"bytes\"", "\"bytex\""),
        Damage::Put(b"{}".to_vec()),
    ] {
        cases.push(case(lineage, damage, &[&format!("unreadable {lineage}")], Repair::Clean));
    }
    for damage in [
        Damage::Replace("\"rows\": ", "\"rows\": 1"),
        Damage::Replace("\"version\": \"", "\"version\": \"9"),
    ] {
        cases.push(case(lineage, damage, &[&format!("inconsistent {lineage}")], Repair::Clean));
    }
    let album = keys.table("album_data", id);
    let damage = Damage::Replace("\"sha256\": \"", "\"sha256\": \"g");
    cases.push(case(lineage, damage, &[&format!("unreadable {lineage}")], Repair::Clean));
    let sha256 = spotify_etl::document::sha256(&contents[&album]);
    let other: &'static str = String::leak(format!("{}0", &sha256[..63]));
    let other = if other == sha256 { String::leak(format!("{}1", &sha256[..63])) } else { other };
    let damage = Damage::Replace(String::leak(sha256), other);
    cases.push(case(lineage, damage, &[&format!("hash {album}")], Repair::Whole));
    let stranger = one.replace("20260706T060000Z", "20260706T060001Z");
    let copy = Damage::Put(contents[&one].clone());
    cases.push(case(&stranger, copy, &[&format!("orphan {stranger}")], Repair::None));
    cases
}

fn plugin_cases(contents: &Contents) -> Vec<Case> {
    let keys = Keys::of(contents);
    let song = "plugins/song.wasm";
    let mut cases = vec![
        // Where nothing but the hash tells.
        case(
            song,
            Damage::Flip(Some("processed-by")),
            &["unknown plugins/song.wasm"],
            Repair::None,
        ),
        case(song, Damage::Flip(Some("\0asm")), &["unreadable plugins/song.wasm"], Repair::None),
        case(song, Damage::Truncate, &["unreadable plugins/song.wasm"], Repair::None),
        case(song, Damage::Delete, &["missing plugins/song.wasm"], Repair::None),
    ];
    let active = keys.version(contents, "song", true);
    let record = active.replace(".wasm", ".json");
    for damage in [Damage::Flip(None), Damage::Truncate] {
        cases.push(case(&active, damage, &[&format!("hash {active}")], Repair::Whole));
    }
    cases.push(case(&active, Damage::Delete, &[&format!("missing {active}")], Repair::Whole));
    cases.push(case(&record, Damage::Delete, &[&format!("missing {record}")], Repair::Clean));
    let unreadable = format!("unreadable {record}");
    cases.push(case(&record, Damage::Truncate, &[&unreadable], Repair::Clean));
    for (damage, repair) in [
        (Damage::Replace("\"seen_at\": \"2", "\"seen_at\": \"x"), Repair::None),
        (Damage::Replace("\"name\": \"", "\"name\": \"x"), Repair::Clean),
    ] {
        cases.push(case(&record, damage, &[&unreadable], repair));
    }
    let earlier = keys.version(contents, "thing", false);
    cases.push(case(&earlier, Damage::Flip(None), &[&format!("hash {earlier}")], Repair::None));
    cases.push(case(&earlier, Damage::Delete, &[&format!("missing {earlier}")], Repair::None));
    let stray = "plugins/gone.wasm.error.json";
    let whole = Damage::Put(b"{}".to_vec());
    cases.push(case(stray, whole, &[&format!("orphan {stray}")], Repair::Whole));
    cases
}

fn other_cases(contents: &Contents) -> Vec<Case> {
    let keys = Keys::of(contents);
    let mut cases = Vec::new();
    for key in [
        "notes.txt",
        "plugins/readme.md",
        "lineage/odd.json",
        "raw_data/processed/x/odd.json",
        "tables/deep/er.json",
        "transformed_data/song_data/snapshot_year=2026/odd.csv",
    ] {
        let damage = Damage::Put(b"x".to_vec());
        cases.push(case(key, damage, &[&format!("unknown {key}")], Repair::None));
    }
    let probe = "probe-1234.json";
    let leftover = format!("leftover {probe}");
    cases.push(case(probe, Damage::Put(b"one".to_vec()), &[&leftover], Repair::Whole));
    let (failed, reason) =
        ("raw_data/failed/older/broken.json", "raw_data/failed/older/broken.error.json");
    cases.push(case(reason, Damage::Delete, &[&format!("missing {reason}")], Repair::None));
    cases.push(case(failed, Damage::Delete, &[&format!("orphan {reason}")], Repair::Clean));
    cases.push(case(reason, Damage::Truncate, &[&format!("unreadable {reason}")], Repair::None));
    let waiting = keys.only("raw_data/to_process/", ".json");
    for damage in [Damage::Truncate, Damage::Put(Vec::new())] {
        let expected = format!("unreadable {waiting}");
        cases.push(case(&waiting, damage, &[&expected], Repair::None));
    }
    let run = keys.only("raw_data/to_process/", ".json");
    assert!(run.contains("old 2026"), "{run}");
    for key in ["playlists.json", "catalog.json", "runs/20260706T060030Z-00000001.json"] {
        let expected = format!("unreadable {key}");
        cases.push(case(key, Damage::Truncate, &[&expected], Repair::None));
        cases.push(case(key, Damage::Delete, &[], Repair::None));
    }
    let record = "tables/song.json";
    // The plugin that fills the table can't be used without it.
    for damage in [Damage::Truncate, Damage::Replace("\"format\": 1", "\"format\": 2")] {
        let expected = ["unreadable plugins/song.wasm", "unreadable tables/song.json"];
        cases.push(case(record, damage, &expected, Repair::None));
    }
    cases.push(case(record, Damage::Delete, &["missing tables/song.json"], Repair::None));
    cases
}

/// What a store has, but for what a repair does not have to bring back.
fn comparable(mut contents: Contents, repair: Repair) -> Contents {
    if repair != Repair::Whole {
        contents.retain(|key, _| {
            key.starts_with("transformed_data/") || key.starts_with("raw_data/processed/")
        });
    }
    contents.retain(|key, _| !key.starts_with("transformed_data/thing_data/"));
    contents
}

async fn find_every_damage(site: &Site, every: usize) {
    let store = site.place().open().await.unwrap();
    build(store.as_ref()).await;
    let mut whole = contents(store.as_ref()).await;
    let run = "runs/20260706T060030Z-00000001.json";
    whole.insert(run.to_owned(), get(store.as_ref(), run).await);
    let report = verify(store.as_ref(), CHECK).await.unwrap();
    assert_eq!(left(&report), Vec::<String>::new());
    assert_eq!(
        notes(&report),
        [
            "foreign raw_data/to_process/old 2026-07-06 05:00:00.json",
            "leftover transformed_data/thing_data/"
        ]
    );
    for Case { damage, mut expected, repair } in cases(&whole).into_iter().step_by(every) {
        let store = site.place().open().await.unwrap();
        let store = store.as_ref();
        restore(store, &whole).await;
        for (key, damage) in &damage {
            damage.apply(store, key).await;
        }
        let damaged = contents(store).await;
        let report = verify(store, CHECK).await.unwrap();
        expected.sort();
        assert_eq!(left(&report), expected, "{damage:?}");
        assert_eq!(report.exit_status, u8::from(!expected.is_empty()));
        assert_eq!(contents(store).await, damaged, "a check wrote: {damage:?}");
        let is_helpful = |finding: &&_| -> bool {
            let finding: &spotify_etl::pipeline::verify::report::Reported = finding;
            finding.severity == Severity::Note || !finding.commands.is_empty()
        };
        assert!(
            report.findings.iter().all(|finding| is_helpful(&finding)),
            "{:?}",
            report.findings
        );

        let way = Way { effect: Effect::Repair, ..CHECK };
        let report = verify(store, way).await.unwrap();
        let now = contents(store).await;
        match repair {
            Repair::None => {
                assert_eq!(left(&report), expected, "{damage:?}");
                assert_eq!(now, damaged, "{damage:?}");
                let why = |outcome: &Option<Outcome>| match outcome {
                    Some(Outcome::NotRepaired { why }) => !why.is_empty(),
                    outcome => outcome.is_none(),
                };
                assert!(report.findings.iter().all(|finding| why(&finding.repair)));
            }
            Repair::Whole | Repair::Clean => {
                assert_eq!(
                    left(&report),
                    Vec::<String>::new(),
                    "{damage:?}: {:?}",
                    report.findings
                );
                assert_eq!(report.repaired, expected.len());
                let (now, whole) = (comparable(now, repair), comparable(whole.clone(), repair));
                let changed: Vec<_> = whole
                    .iter()
                    .filter(|(key, bytes)| {
                        now.get(*key) != Some(*bytes) && !key.starts_with("runs/")
                    })
                    .collect();
                assert!(
                    changed.is_empty(),
                    "{damage:?}: {:?}",
                    changed.iter().map(|(key, _)| key).collect::<Vec<_>>()
                );
            }
        }
    }
}

#[test]
fn every_damage_in_a_folder_is_found_exactly_and_repaired_where_that_is_safe() {
    wait(find_every_damage(&Site::folder(), 1));
}

#[test]
fn every_damage_in_a_bucket_is_found_exactly_and_repaired_where_that_is_safe() {
    let Some(site) = Site::bucket() else { return };
    wait(find_every_damage(&site, 3));
}

/// A store whose reads are counted, and go wrong in some way.
struct Reads<'s> {
    store: &'s dyn Store,
    fault: Fault,
    /// How often an object of a document was read.
    count: AtomicUsize,
    seen: Mutex<BTreeSet<String>>,
}

enum Fault {
    None,
    /// From this read on, the store can't be reached.
    Ends(usize),
    /// The first read of each object gives something else.
    FirstIsOther,
    /// An object can't be read.
    Unreadable(String),
}

impl<'s> Reads<'s> {
    fn of(store: &'s dyn Store, fault: Fault) -> Self {
        Reads { store, fault, count: AtomicUsize::new(0), seen: Mutex::default() }
    }
}

#[async_trait]
impl Store for Reads<'_> {
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        let is_counted = !key.starts_with("plugins/") && !key.starts_with("tables/");
        if !is_counted {
            return self.store.get(key).await;
        }
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        match &self.fault {
            Fault::Ends(at) if count >= *at => Err(StoreError::Service {
                verb: "read",
                location: key.to_owned(),
                source: "connection refused".into(),
            }),
            // Without its lineage, the files of a document would be read later for the first time.
            Fault::FirstIsOther
                if !key.starts_with("lineage/")
                    && self.seen.lock().unwrap().insert(key.to_owned()) =>
            {
                let object = self.store.get(key).await?;
                Ok(object.map(|object| {
                    let mut bytes = object.bytes.to_vec();
                    if let Some(byte) = bytes.first_mut() {
                        *byte ^= 1;
                    }
                    let tag = object.tag();
                    Object::with_tag(bytes, tag)
                }))
            }
            Fault::Unreadable(unreadable) if key == unreadable => Err(StoreError::Io {
                verb: "read",
                location: key.to_owned(),
                source: std::io::Error::other("input/output error"),
            }),
            _ => self.store.get(key).await,
        }
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StoreError> {
        self.store.list(prefix, after).await
    }
    async fn head(&self, key: &str) -> Result<Option<spotify_etl::store::Listed>, StoreError> {
        self.store.head(key).await
    }
    async fn put_new(&self, key: &str, _: &[u8]) -> Result<Written, StoreError> {
        panic!("{key} was to be written")
    }
    async fn put(&self, key: &str, _: &[u8]) -> Result<(), StoreError> {
        panic!("{key} was to be written")
    }
    async fn put_if(&self, key: &str, _: &[u8], _: &Tag) -> Result<Written, StoreError> {
        panic!("{key} was to be written")
    }
    async fn delete_if(&self, key: &str, _: &Tag) -> Result<bool, StoreError> {
        panic!("{key} was to be deleted")
    }
    fn location(&self, key: &str) -> String {
        self.store.location(key)
    }
}

async fn interrupt(site: &Site) {
    let store = site.place().open().await.unwrap();
    let store = store.as_ref();
    build(store).await;
    let whole = contents(store).await;
    let keys = Keys::of(&whole);
    let damaged = keys.table("song_data", &keys.id);
    Damage::Flip(None).apply(store, &damaged).await;
    let (journal, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let counted = Reads::of(store, Fault::None);
    let way = |journal| Way { journal: Some(journal), jobs: 1, ..CHECK };
    let expected = verify(&counted, way(&other)).await.unwrap();
    let all = counted.count.load(Ordering::SeqCst);
    assert_eq!(left(&expected), [format!("hash {damaged}")]);
    assert_eq!(expected.resumed, None);
    let journals =
        |cache: &TempDir| fs::read_dir(cache.path().join("spotify-etl-verify")).unwrap().count();
    assert_eq!(journals(&other), 0, "a complete pass left its journal");

    for at in [0, all / 3, all / 3] {
        let ending = Reads::of(store, Fault::Ends(at));
        let error = verify(&ending, way(&journal)).await.unwrap_err();
        assert!(error.to_string().contains("connection refused"), "{error}");
        assert_eq!(journals(&journal), 1);
    }
    let rest = Reads::of(store, Fault::None);
    let report = verify(&rest, way(&journal)).await.unwrap();
    assert_eq!(left(&report), left(&expected));
    assert_eq!(notes(&report), notes(&expected));
    assert_eq!(
        (report.objects_read, report.bytes_read),
        (expected.objects_read, expected.bytes_read)
    );
    assert!(report.resumed.unwrap().checked > 0);
    let count = rest.count.load(Ordering::SeqCst);
    assert!(count < all * 3 / 4, "{count} of {all} were read again");
    assert_eq!(journals(&journal), 0);

    // What changes after it was checked is checked again.
    let ending = Reads::of(store, Fault::Ends(all - 1));
    verify(&ending, way(&journal)).await.unwrap_err();
    let twin = keys.table("song_data", &keys.twin);
    Damage::Flip(None).apply(store, &twin).await;
    put(store, &damaged, &whole[&damaged]).await;
    let report = verify(store, way(&journal)).await.unwrap();
    assert_eq!(left(&report), [format!("hash {twin}")]);
}

#[test]
fn an_interrupted_pass_is_continued() {
    for site in [Some(Site::folder()), Site::bucket()].into_iter().flatten() {
        wait(interrupt(&site));
    }
}

#[test]
fn what_another_program_changes_at_the_same_time_is_no_problem() {
    wait(async {
        let site = Site::folder();
        let store = site.place().open().await.unwrap();
        build(store.as_ref()).await;
        let changing = Reads::of(store.as_ref(), Fault::FirstIsOther);
        let report = verify(&changing, CHECK).await.unwrap();
        assert_eq!(left(&report), Vec::<String>::new());
    });
}

#[test]
fn a_file_that_the_disk_does_not_give_back_is_a_finding_and_stops_nothing() {
    wait(async {
        let site = Site::folder();
        let store = site.place().open().await.unwrap();
        build(store.as_ref()).await;
        let keys = Keys::of(&contents(store.as_ref()).await);
        for key in [keys.raw.clone(), keys.lineage.clone(), keys.table("song_data", &keys.id)] {
            let failing = Reads::of(store.as_ref(), Fault::Unreadable(key.clone()));
            let report = verify(&failing, CHECK).await.unwrap();
            assert_eq!(left(&report), [format!("unreadable {key}")]);
        }
    });
}

/// The command's report about the store of a desk.
fn report(desk: &Desk, arguments: &[&str]) -> (i32, serde_json::Value) {
    let said = desk.say(&[&["verify", "--json"], arguments].concat());
    (said.status, said.json())
}

#[track_caller]
fn has_no_problem(desk: &Desk, after: &str) {
    let (status, report) = report(desk, &[]);
    assert_eq!((status, &report["problems"]), (0, &0.into()), "{after}: {report:#}");
}

#[test]
fn after_every_command_a_store_has_no_problem() {
    let desk = Desk::without_plugins();
    for (arguments, status) in [
        (&["init", "--from", "built"][..], 0),
        (&["run", "--from", text(&fixture("history"))], 0),
        (&["import", text(&fixture("playlists/bom.json"))], 0),
        (&["transform"], 0),
        (&["replay", "--format", "parquet"], 0),
        (&["replay", "--format", "csv,parquet"], 0),
        (&["playlist", "add", "37i9dQZEVXbMDoHDwVN2tF"], 0),
        (&["import", text(&fixture("playlists/episodes.json"))], 0),
    ] {
        desk.say(arguments).ends(status, &[]);
        has_no_problem(&desk, &format!("{arguments:?}"));
    }
    let version = |name: &str| guest_file(name);
    for (name, file) in [("tracks", "tracks_1"), ("thing", "thing_1")] {
        let file = version(file);
        desk.say(&["plugin", "publish", "--yes", "--no-test", "--name", name, text(&file)])
            .ends(0, &[]);
        has_no_problem(&desk, &format!("publish {name}"));
    }
    desk.say(&["transform"]).ends(0, &[]);
    has_no_problem(&desk, "transform with plugins that did not replay");
    let column = version("tracks_column");
    let publish = ["plugin", "publish", "--yes", "--no-test", "--name", "tracks", text(&column)];
    desk.say(&publish).ends(0, &[]);
    has_no_problem(&desk, "another version");
    desk.say(&["replay"]).ends(0, &[]);
    has_no_problem(&desk, "replay");
    desk.say(&["plugin", "rollback", "tracks"]).ends(0, &[]);
    has_no_problem(&desk, "rollback");
    fs::copy(version("thing_3"), desk.path("data/plugins/thing.wasm")).unwrap();
    desk.say(&["replay", "--new-generation", "thing"]).ends(0, &["generation 2"]);
    has_no_problem(&desk, "a new generation");
    // A plugin that is not for any document any more.
    fs::copy(version("thing_unsupported"), desk.path("data/plugins/tracks.wasm")).unwrap();
    desk.say(&["replay", "--plugin", "tracks"]);
    desk.say(&["plugin", "rollback", "tracks"]);
    desk.say(&["replay"]).ends(0, &[]);
    has_no_problem(&desk, "a plugin that said unsupported, and its rollback");
    desk.say(&["plugin", "remove", "thing"]).ends(0, &[]);
    has_no_problem(&desk, "remove");
    desk.write("data/raw_data/to_process/older/broken.json", b"{\"items\":[");
    desk.say(&["transform"]).ends(1, &[]);
    has_no_problem(&desk, "a document that failed");
    desk.write(
        "data/raw_data/to_process/old 2024-01-01 00:00:00.json",
        &fs::read(fixture("playlists/bom.json")).unwrap(),
    );
    has_no_problem(&desk, "one of another program that waits");
    desk.say(&["verify"]).ends(
        0,
        &["no problem left", "foreign: 1 note", "leftover", "spotify-etl transform --store ./data"],
    );
    desk.say(&["plugin", "require-publish", "on"]).ends(0, &[]);
    has_no_problem(&desk, "require-publish");
}

/// Runs a line as a person would, with an answer to what only a person knows.
fn shell(desk: &Desk, line: &str, file: &str) {
    let folder = command_file().parent().unwrap().to_owned();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let line = line.replace(" FILE", &format!(" {file}")).replace("TIME", "20260706T060000Z");
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).current_dir(desk.folder.path());
    shell.env_clear().env("PATH", path).env("SPOTIFY_ETL_CACHE_DIR", cache());
    let said = shell.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    let may_fail = line.contains("transform");
    assert!(said.status.success() || may_fail, "{line}:\n{out}\n{err}");
}

/// A store in a folder, and the file that its documents came from.
fn desk() -> Desk {
    let desk = Desk::new();
    fs::copy(fixture("playlists/same_track_twice.json"), desk.path("original.json")).unwrap();
    for time in ["20260101T000000Z", "20260201T000000Z", "20260301T000000Z"] {
        let time = ["--extracted-at", time, "--playlist", "list"];
        desk.say(&[&["run", "--from", "original.json"], &time[..]].concat()).ends(0, &[]);
    }
    desk.write("data/raw_data/to_process/older/broken.json", b"{\"items\":[");
    desk.say(&["transform"]).ends(1, &[]);
    desk.say(&["playlist", "add", "37i9dQZEVXbMDoHDwVN2tF"]).ends(0, &[]);
    desk
}

/// Damages stores, runs the first command of every problem, and looks again.
#[test]
fn the_commands_of_a_report_mend_what_it_found() {
    let desk = desk();
    let whole = files_below(&desk.path("data"));
    let find = |part: &str, and: &str| {
        whole.keys().find(|key| key.contains(part) && key.contains(and)).unwrap().clone()
    };
    let raw = find("processed/list/", "20260101");
    let (csv, other) = (find("song_data", "20260201"), find("album_data", "20260201"));
    let record = find("history/song/", ".json");
    let version = find("history/song/", ".wasm");
    let lineage = find("lineage/", "20260301");
    let waiting = raw.replace("processed", "to_process");
    let reason = "raw_data/failed/older/broken.error.json".to_owned();
    let flip = |key: &str| {
        let mut bytes = whole[key].clone();
        let place = bytes.len() / 2;
        bytes[place] ^= 1;
        (key.to_owned(), Some(bytes))
    };
    let cut = |key: &str| (key.to_owned(), Some(whole[key][..whole[key].len() / 2].to_vec()));
    let new = |key: &str, bytes: &[u8]| (key.to_owned(), Some(bytes.to_vec()));
    let gone = |key: &str| (key.to_owned(), None);
    let header =
        String::from_utf8(whole[&raw].clone()).unwrap().replace("\"market\"", "\"narket\"");
    let numbers = String::from_utf8(whole[&lineage].clone()).unwrap().replacen(
        "\"rows\": ",
        "\"rows\": 1",
        1,
    );
    for damage in [
        vec![flip(&raw)],
        vec![gone(&raw)],
        vec![new(&raw, header.as_bytes())],
        vec![new(&waiting, &whole[&raw])],
        vec![flip(&raw), new(&waiting, &whole[&raw])],
        vec![flip(&csv), gone(&other), cut(&lineage), gone(&reason), new("probe-1.json", b"one")],
        vec![new(&lineage, numbers.as_bytes())],
        vec![gone(&lineage)],
        vec![
            cut("playlists.json"),
            new("catalog.json", b"{"),
            new("runs/1.json", b"{"),
            new("notes.txt", b""),
        ],
        vec![new("plugins/x.wasm.error.json", b"{}"), flip(&version)],
        vec![gone(&version)],
        vec![gone(&record)],
        vec![gone("tables/song.json")],
        vec![cut("tables/album.json")],
        vec![cut("plugins/song.wasm")],
        vec![gone("plugins/song.wasm")],
        vec![gone(&version), gone(&record)],
        vec![new("raw_data/to_process/bad.json", b"{\"items\":[")],
    ] {
        for (key, bytes) in &damage {
            let path = desk.path("data").join(key);
            match bytes {
                Some(bytes) => drop(desk.write(path.to_str().unwrap(), bytes)),
                None => fs::remove_file(path).unwrap(),
            }
            if key.starts_with("probe") {
                let file =
                    fs::File::options().append(true).open(desk.path("data").join(key)).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }
        }
        let names: Vec<_> = damage.iter().map(|(key, _)| key).collect();
        let (status, found) = report(&desk, &[]);
        assert_eq!(status, 1, "{names:?}: {found:#}");
        let mut lines: Vec<String> = Vec::new();
        for finding in found["findings"].as_array().unwrap() {
            let Some(line) = finding["commands"][0].as_str() else { panic!("{finding:#}") };
            let is_known = lines.iter().any(|known| known == line);
            if finding["severity"] == "problem"
                && !is_known
                && !line.contains("catalog apply")
                && !line.contains("playlist add")
            {
                lines.push(line.to_owned());
            }
            if line.contains("catalog apply") || line.contains("playlist add") {
                // What only Athena or a person has.
                lines.push(line.split(" && ").next().unwrap().to_owned());
            }
        }
        for line in &lines {
            shell(&desk, line, "original.json");
        }
        let (status, found) = report(&desk, &[]);
        assert_eq!(status, 0, "{names:?}: {lines:#?}: {found:#}");
        let now = files_below(&desk.path("data"));
        let rows = |files: &Contents| {
            let mut files = files.clone();
            files.retain(|key, _| {
                key.starts_with("transformed_data/") || key.contains("/processed/")
            });
            files
        };
        assert!(rows(&now) == rows(&whole), "{names:?}: {lines:#?}");
    }
}

#[test]
fn the_command_says_what_it_found_and_what_became_of_it() {
    let desk = desk();
    let whole = files_below(&desk.path("data"));
    let csv = whole.keys().find(|key| key.contains("song_data") && key.contains("202602")).unwrap();
    let path = desk.path("data").join(csv);
    let mut bytes = whole[csv].clone();
    bytes[40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    desk.write("data/notes.txt", b"x");
    let said = desk.say(&["verify"]);
    said.ends(1, &[
        "hash: 1 problem",
        &format!("✗ {csv}"),
        "and lineage says",
        "spotify-etl replay --playlist=list --since 2026-02-01 --until 2026-02-01 --store ./data",
        "unknown: 1 problem",
        "mv ./data/notes.txt .",
        "✗ 2 problems left, 0 notes",
    ]);
    let said = desk.say(&["verify", "--repair"]);
    said.ends(
        1,
        &[
            &format!("✓ {csv}"),
            "repaired",
            "not repaired: only you can decide this",
            "✗ 1 repaired, 1 problem left, 0 notes",
        ],
    );
    assert_eq!(fs::read(&path).unwrap(), whole[csv]);
    fs::remove_file(desk.path("data/notes.txt")).unwrap();
    desk.say(&["verify", "--repair"]).ends(0, &["✓ no problem left, 0 notes"]);
    desk.say(&["verify", "--store", "nowhere"]).ends(2, &["no store in nowhere"]);
}
