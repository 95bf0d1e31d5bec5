//! What a plugin may cost the host: compiling it, calling it, and loading it again after that ended badly.

use std::{
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use spotify_etl::{
    config::Limits,
    document::FutureTimes,
    document::{Document, sha256},
    layout,
    pipeline::{
        PipelineError, Selection, Transform,
        active::{ActiveSet, PluginPlace, Shelf, choose},
        check::{CheckReport, Verdict, check_alone},
        jobs::Until,
        loads::{Load, LoadRecords},
        records::Records,
        report::{Action, DocumentStatus, Empty, PluginStatus},
    },
    plugin::{CallError, Engine, Refusal},
    sources::{self, Origin},
    store::Store,
};
use time::OffsetDateTime;

use crate::{
    support::{EXTRACTED_AT, NOW, Nobody, PLUGINS, Place, fixture, land, plugin_file, wait},
    wat::assembled,
};

const MIB: u64 = 1 << 20;

fn functions(count: usize) -> Vec<u8> {
    assembled(&format!(";; repeat {count} FUNCTIONS: (func)\n(core module FUNCTIONS)\n")).unwrap()
}

/// A plugin of which one export never returns.
fn endless(export: &str) -> Vec<u8> {
    let parameters = if export == "extract" { "(param i32)" } else { "" };
    let text = format!(
        r#"(core module $hostile
          (func (export "{export}") {parameters} (result i32) (loop $again (br $again)) unreachable))
        (core instance $hostile (instantiate $hostile))
        (alias core export $hostile "{export}" (core func ${export}))
        "#
    );
    assembled(&text).unwrap()
}

/// A plugin whose file is another one for each number.
fn good(number: u32) -> Vec<u8> {
    assembled(&format!("(core module (func (drop (i32.const {number}))))\n")).unwrap()
}

fn demo() -> Document {
    let bytes = fs::read(fixture("playlists/demo_2026-07-06_06-00-00.json")).unwrap();
    sources::read(&bytes.into(), &Origin::of("a", NOW), &Limits::default()).unwrap().document
}

#[test]
fn a_small_file_with_many_functions_is_refused_by_a_function_before_it_is_compiled() {
    let bytes = functions(90_000);
    assert!(bytes.len() < 400_000);
    let limits = Limits::of_function(512 * MIB);
    let engine = Engine::new(&limits, None).unwrap();
    let started = Instant::now();
    let refusal = engine.load("hostile", &bytes).err().unwrap();
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert!(matches!(refusal, Refusal::TooCostly { .. }), "{refusal}");
    let words = refusal.to_string();
    for part in [
        "of memory and ",
        "functions with",
        "--limit compile_memory_bytes=",
        "give it more memory",
        "spotify-etl plugin compile",
    ] {
        assert!(words.contains(part), "`{part}` in {words}");
    }
    // The limit that it names is one that will do.
    let setting = words.split("--limit ").nth(1).unwrap().split(';').next().unwrap();
    let mut raised = Limits { compile_cpu_milliseconds: 600_000, ..limits };
    raised.set(&setting.parse().unwrap());
    assert!(Engine::new(&raised, None).unwrap().must_compile(&bytes, &sha256(&bytes)));
    // Processor time has a limit of its own.
    let slow = Limits { compile_cpu_milliseconds: 100, ..Limits::default() };
    let refusal = Engine::new(&slow, None).unwrap().load("hostile", &bytes).err().unwrap();
    assert!(refusal.to_string().contains("--limit compile_cpu_milliseconds="), "{refusal}");
}

#[test]
fn a_check_says_of_a_function_what_the_function_does() {
    let bytes = functions(30_000);
    let engine = Engine::new(&Limits::default(), None).unwrap();
    let plugin = Arc::new(engine.load("hostile", &bytes).unwrap());
    let found = |memory: u64| {
        let mut report = CheckReport::new("hostile");
        check_alone(&mut report, &Ok(Arc::clone(&plugin)), memory);
        let finding = report.findings.into_iter().find(|finding| finding.what == "function");
        finding.map(|finding| (finding.verdict, finding.words)).unwrap()
    };
    let (verdict, words) = found(256 * MIB);
    assert_eq!(verdict, Verdict::Warning, "{words}");
    assert!(words.contains("a function of 256.0 MiB refuses to compile it"), "{words}");
    let needed = words.split("give the function ").nth(1).unwrap();
    let needed: f64 = needed.split(" MiB of memory").next().unwrap().parse().unwrap();
    assert_eq!(found(needed as u64 * MIB).0, Verdict::Good);
    assert_eq!(found((needed as u64 - 64) * MIB).0, Verdict::Warning);
    for (memory, is_loaded) in [(256, false), (needed as u64, true)] {
        let engine = Engine::new(&Limits::of_function(memory * MIB), None).unwrap();
        assert_eq!(engine.must_compile(&bytes, &sha256(&bytes)), is_loaded, "{memory} MB");
    }
}

#[test]
fn the_plugins_of_the_project_are_compiled_by_the_smallest_function() {
    let engine = Engine::new(&Limits::of_function(128 * MIB), None).unwrap();
    for name in PLUGINS {
        let loaded = engine.load(name, &fs::read(plugin_file(name)).unwrap());
        assert!(loaded.is_ok(), "{name}: {}", loaded.err().unwrap());
    }
}

#[test]
fn plugins_are_compiled_one_after_the_other_where_there_is_memory_for_only_one() {
    let files = ["album", "song"].map(|name| fs::read(plugin_file(name)).unwrap());
    let limits = Limits { compile_memory_bytes: 40 * MIB, ..Limits::default() };
    let engine = Engine::new(&limits, None).unwrap();
    thread::scope(|scope| {
        let loads = files.each_ref().map(|file| scope.spawn(|| engine.load("one", file).map(drop)));
        for load in loads {
            load.join().unwrap().unwrap();
        }
    });
}

#[test]
fn a_call_ends_when_the_time_of_the_run_is_up_and_that_is_not_held_against_the_plugin() {
    let engine = Engine::new(&Limits::default(), None).unwrap();
    let plugin = engine.load("hostile", &endless("extract")).unwrap();
    let document = demo();
    let pages: Vec<&str> = document.pages().iter().map(|page| &**page).collect();
    for left in [Duration::from_millis(200), Duration::ZERO] {
        let started = Instant::now();
        let (ended, _) = plugin.extract_from(&document, &pages, Some(started + left));
        assert!(matches!(ended, Err(CallError::NoTime)), "{ended:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    // With more time than a call may take, the call's own limit counts.
    let limits = Limits { call_seconds: 1, ..Limits::default() };
    let plugin = Engine::new(&limits, None).unwrap().load("hostile", &endless("extract")).unwrap();
    let until = Instant::now() + Duration::from_secs(600);
    let (ended, _) = plugin.extract_from(&document, &pages, Some(until));
    assert!(matches!(ended, Err(CallError::Time { seconds_max: 1, .. })), "{ended:?}");
}

#[test]
fn a_document_that_a_run_has_no_time_left_for_is_tried_again() {
    let place = Place::empty();
    place.upload("hostile", &endless("extract"));
    wait(land(&place.store, &[fixture("playlists/both_keys.json")], EXTRACTED_AT)).unwrap();
    let limits = Limits { call_seconds: 60, ..Limits::default() };
    let shelf = Shelf::new(&limits, None);
    let started = Instant::now();
    let at = Some(started + Duration::from_secs(2));
    let transform = Transform {
        store: &place.store,
        plugins: PluginPlace { store: &place.store, prefix: layout::PLUGINS },
        shelf: &shelf,
        limits: limits.clone(),
        jobs: 1,
        formats: None,
        now: NOW,
        until: Until { at, ..Until::default() },
        future: FutureTimes::default(),
        empty: Empty::Allowed,
        pages: None,
        progress: &Nobody,
    };
    let transformed = wait(transform.run(&Selection::Waiting)).unwrap();
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let [document] = transformed.documents.as_slice() else { panic!("not one document") };
    assert_eq!(document.status, DocumentStatus::Waiting);
    let [problem] = document.problems.as_slice() else { panic!("{:?}", document.problems) };
    assert_eq!(problem.action, Action::Retry, "{problem}");
    assert!(problem.message.contains("no time left"), "{problem}");
}

#[test]
fn a_plugin_is_not_waited_for_when_the_time_of_the_run_is_up() {
    let place = Place::empty();
    place.upload("hostile", &endless("describe"));
    let shelf = Shelf::new(&Limits { describe_seconds: 10, ..Limits::default() }, None);
    shelf.set_end(Some(Instant::now() + Duration::from_millis(100)));
    let started = Instant::now();
    let error = chosen(&place, &shelf).err().unwrap();
    assert!(matches!(error, PipelineError::NoTimeToLoad { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_plugin_has_less_time_to_describe_itself_than_for_a_document() {
    let engine = Engine::new(&Limits::default(), None).unwrap();
    let started = Instant::now();
    let refusal = engine.load("hostile", &endless("describe")).err().unwrap().to_string();
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert!(refusal.contains("was stopped after 2 s"), "{refusal}");
    assert!(refusal.contains("--limit describe_seconds=..."), "{refusal}");
}

fn chosen(place: &Place, shelf: &Shelf) -> Result<ActiveSet, PipelineError> {
    let plugins = PluginPlace { store: &place.store, prefix: layout::PLUGINS };
    let found = async { choose(&Records::of(&place.store), plugins, shelf).await };
    // What is still loading in a thread is not waited for.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(found);
    runtime.shutdown_background();
    found
}

fn one_hour_later() -> OffsetDateTime {
    NOW + time::Duration::hours(1)
}

fn now() -> OffsetDateTime {
    NOW
}

fn record_of(place: &Place, bytes: &[u8]) -> Option<Vec<u8>> {
    fs::read(place.path(&format!("plugins/loads/{}.json", sha256(bytes)))).ok()
}

/// What a process leaves that is killed while it compiles.
fn die(place: &Place, limits: &Limits, bytes: &[u8]) {
    let (store, sha256) = (&place.store as &dyn Store, sha256(bytes));
    let load = Load { store, limits, name: "hostile", sha256: &sha256 };
    wait(load.begin(LoadRecords { now })).unwrap();
}

#[test]
fn a_version_that_ended_the_function_while_it_was_compiled_is_replaced_by_the_one_before() {
    let place = Place::empty();
    let limits = Limits::default();
    let shelf = |now| Shelf::new(&limits, None).with_records(LoadRecords { now });
    let (old, new) = (good(1), good(2));
    place.upload("hostile", &old);
    wait(land(&place.store, &[fixture("playlists/both_keys.json")], EXTRACTED_AT)).unwrap();
    place.transform();
    place.upload("hostile", &new);

    let is_new = |shelf: Shelf| {
        let set = chosen(&place, &shelf).unwrap();
        set.plugins[0].plugin.sha256() == sha256(&new)
    };
    // Once may be chance, and one that is a minute old may still be at it.
    die(&place, &limits, &new);
    assert!(is_new(shelf(one_hour_later)));
    assert!(record_of(&place, &new).is_none(), "a plugin that was loaded has no record");
    for _ in 0..2 {
        die(&place, &limits, &new);
    }
    assert!(is_new(shelf(now)));
    for _ in 0..2 {
        die(&place, &limits, &new);
    }
    let later = shelf(one_hour_later);
    for _ in 0..2 {
        let set = chosen(&place, &later).unwrap();
        let [report] = set.reports.as_slice() else { panic!("{:?}", set.reports) };
        assert_eq!(report.status, PluginStatus::Fallback);
        assert_eq!(report.sha256, sha256(&old));
        let words = report.problem.as_ref().unwrap().to_string();
        for part in [
            "ended the function the last 2 times",
            "give the function more memory",
            "delete ",
            "plugins/loads/",
        ] {
            assert!(words.contains(part), "`{part}` in {words}");
        }
    }
    // Other limits, as a function with more memory has them, give it another chance; so does deleting.
    let other = Limits { compile_memory_bytes: 2048 * MIB, ..Limits::default() };
    let record = record_of(&place, &new).unwrap();
    assert!(is_new(Shelf::new(&other, None).with_records(LoadRecords { now: one_hour_later })));
    assert!(record_of(&place, &new).is_none());
    place.write(&format!("plugins/loads/{}.json", sha256(&new)), &record);
    let set = chosen(&place, &later).unwrap();
    assert_eq!(set.reports[0].status, PluginStatus::Fallback);
    fs::remove_file(place.path(&format!("plugins/loads/{}.json", sha256(&new)))).unwrap();
    let set = chosen(&place, &later).unwrap();
    assert_eq!(set.reports[0].status, PluginStatus::Active);
}

#[test]
fn a_refusal_that_came_twice_is_not_looked_for_again() {
    let place = Place::empty();
    let bytes = endless("describe");
    place.upload("hostile", &bytes);
    let limits = Limits { describe_seconds: 1, ..Limits::default() };
    let refused = |limits: &Limits| {
        let shelf = Shelf::new(limits, None).with_records(LoadRecords { now });
        let started = Instant::now();
        let set = chosen(&place, &shelf).unwrap();
        (set.reports[0].problem.as_ref().unwrap().message.clone(), started.elapsed())
    };
    for _ in 0..2 {
        let (words, took) = refused(&limits);
        assert!(words.contains("was stopped after 1 s") && !words.contains("2 times"), "{words}");
        assert!(took >= Duration::from_millis(900), "{took:?}");
    }
    let (words, _) = refused(&limits);
    assert!(words.contains("was stopped after 1 s") && words.contains("2 times"), "{words}");
    // Under other limits it is.
    let (words, _) = refused(&Limits { describe_seconds: 2, ..limits });
    assert!(words.contains("was stopped after 2 s") && !words.contains("2 times"), "{words}");
}

#[test]
fn what_is_not_compiled_leaves_no_record() {
    let place = Place::empty();
    let cache = tempfile::TempDir::new().unwrap();
    for bytes in [&b"not a plugin"[..], &good(3), &functions(200_000)] {
        place.upload("hostile", bytes);
        for _ in 0..3 {
            let shelf = Shelf::new(&Limits::default(), Some(cache.path().to_owned()))
                .with_records(LoadRecords { now });
            chosen(&place, &shelf).unwrap();
            assert!(record_of(&place, bytes).is_none());
        }
    }
}

#[test]
fn plugins_share_the_room_for_the_files_of_a_document() {
    // Each makes a file of about 200 KB, and all together may make 800 KB: three of them fit, and of six
    // none may have more than a sixth.
    let rows = 200_000;
    let text = format!(
        r#"(core module $hostile
          (import "good" "memory" (memory 1))
          (func (export "extract") (param i32) (result i32)
            (drop (memory.grow (i32.const 8)))
            (memory.fill (i32.const 65536) (i32.const 120) (i32.const {rows}))
            (i32.store (i32.const 288) (i32.const 65536))(i32.store (i32.const 292) (i32.const {rows}))
            (i32.store (i32.const 312) (i32.const {rows}))
            (i32.const 256)))
        (core instance $hostile (instantiate $hostile (with "good" (instance $good))))
        (alias core export $hostile "extract" (core func $extract))
        "#
    );
    let limits = Limits { output_bytes: 400_000, ..Limits::default() };
    for (count, is_stored) in [(3, true), (6, false)] {
        let place = Place::empty();
        for number in 0..count {
            // Each has a table of its own: `ta`, `tb` and so on in the place of `t`.
            let table = char::from(b'a' + number);
            let own = assembled(&text).unwrap();
            let at = own.windows(5).position(|bytes| bytes == b"1tidx").unwrap();
            let own = [&own[..=at], &[table as u8], &own[at + 2..]].concat();
            place.upload(&format!("hostile{number}"), &own);
        }
        let (_, transformed) = place.run_with(&[fixture("playlists/both_keys.json")], &limits);
        let status = transformed.documents[0].status;
        let words = crate::support::problems(&transformed);
        assert_eq!(status == DocumentStatus::Stored, is_stored, "{count}: {words}");
        assert_eq!(words.contains("its file would be larger than"), !is_stored, "{count}: {words}");
    }
}
