//! Components that no compiler would write: every way out or up that WebAssembly's own text can say,
//! one file each in `guests/wat`, where it is said how each must end.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use spotify_etl::{
    config::Limits,
    document::Document,
    plugin::{CallError, Engine, Refusal},
    sources::{self, Origin},
    table::validate,
};

use crate::support::{NOW, fixture, plugin_file, tests};

/// Limits that make the tests short.
fn tight() -> Limits {
    Limits {
        call_seconds: 1,
        guest_memory_bytes: 128 << 20,
        output_bytes: 16 << 20,
        ..Limits::default()
    }
}

/// What a component may take of the host, its own memory among it, while others have their tests.
const GROWTH_BYTES_MAX: u64 = 1 << 30;
/// How long one may take, compiling and all, where a call has a second.
const DURATION_MAX: Duration = Duration::from_secs(10);
/// How long a message may be. Most are far shorter; the longest has a hundred differences.
const MESSAGE_BYTES_MAX: usize = 20_000;

/// A document that leaves the one page of memory that most of them have.
const SMALL: &[u8] = br#"{"id":"p","name":"n","items":{"items":[null],"total":1}}"#;

/// A component as a file in `guests/wat` has it: what it says itself, with the frame around it.
struct Text {
    path: PathBuf,
    /// How it must end: the first line.
    expected: String,
    bytes: Vec<u8>,
}

impl Text {
    fn of(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let expected = text.lines().next().and_then(|line| line.strip_prefix(";; ")).unwrap();
        let expected = expected.to_owned();
        let bytes = assembled(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Text { path, expected, bytes }
    }

    fn named(name: &str) -> Self {
        Self::of(tests().join("guests/wat").join(name).with_extension("wat"))
    }
}

/// The files in `guests/wat`.
pub fn texts() -> Vec<PathBuf> {
    let entries = fs::read_dir(tests().join("guests/wat")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// Puts a component's text into the frame. A line `;; repeat 3 NAME: text` makes `NAME` the text three
/// times, with its number for each `{n}`.
pub fn assembled(text: &str) -> Result<Vec<u8>, wat::Error> {
    let mut guest = text.to_owned();
    let setting = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name));
    for line in text.lines() {
        let Some(repeat) = line.trim().strip_prefix(";; repeat ") else { continue };
        let (head, what) = repeat.split_once(": ").unwrap();
        let (count, name) = head.split_once(' ').unwrap();
        let copies =
            (0..count.parse::<u32>().unwrap()).map(|n| what.replace("{n}", &n.to_string()));
        guest = guest.replace(line, "").replace(name, &copies.collect::<String>());
    }
    for (kind, name) in
        [("memory", "memory"), ("func", "realloc"), ("func", "describe"), ("func", "extract")]
    {
        if !guest.contains(&format!("(core {kind} ${name})")) {
            guest += &format!("(alias core export $good \"{name}\" (core {kind} ${name}))\n");
        }
    }
    let frame = fs::read_to_string(tests().join("guests/frame.wat")).unwrap();
    let whole = frame
        .replace(";; GUEST", &guest)
        .replace("(;ENCODING;)", setting(";; encoding: ").unwrap_or("utf8"))
        .replace("(;LIFTED WITH;)", setting(";; lifted with: ").unwrap_or_default());
    wat::parse_str(whole)
}

fn document(json: &[u8]) -> Document {
    let read = sources::read(&json.to_vec().into(), &Origin::of("a", NOW), &Limits::default());
    read.unwrap().document
}

/// What comes of a component: `refused: why`, `ended: how`, or `kept`.
fn outcome(engine: &Engine, bytes: &[u8], document: &Document) -> String {
    let plugin = match engine.load("hostile", bytes) {
        Ok(plugin) => plugin,
        Err(refusal) => return format!("refused: {refusal}"),
    };
    match plugin.extract(document) {
        Err(end) => format!("ended: {end}"),
        Ok(extraction) => match validate(plugin.tables(), extraction, &tight()) {
            Err(invalid) => format!("ended: {invalid}"),
            Ok(_) => "kept".to_owned(),
        },
    }
}

/// The most memory that this process had since the last time this was asked; 0 where only Linux would
/// tell.
fn peak_bytes() -> u64 {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    // Where it can't be set back it only grows, and what grows is told all the same.
    let _ = fs::write("/proc/self/clear_refs", "5");
    kibibytes << 10
}

#[test]
fn every_way_out_or_up_ends_with_its_own_words_in_time_and_memory_and_hurts_no_other() {
    let engine = Engine::new(&tight(), None).unwrap();
    let song = engine.load("song", &fs::read(plugin_file("song")).unwrap()).unwrap();
    let demo = fs::read(fixture("playlists/demo_2026-07-06_06-00-00.json")).unwrap();
    let (demo, small) = (document(&demo), document(SMALL));
    let rows = song.extract(&demo).unwrap();
    let mut faults = Vec::new();
    for Text { path, expected, bytes } in texts().into_iter().map(Text::of) {
        let name = path.file_stem().unwrap().display();
        peak_bytes();
        let (before, started) = (peak_bytes(), Instant::now());
        let found = outcome(&engine, &bytes, &small);
        let (took, grew) = (started.elapsed(), peak_bytes().saturating_sub(before));
        let (how, words) = expected.split_once(": ").unwrap_or((&expected, ""));
        if !found.starts_with(how) || !found.contains(words) {
            faults.push(format!("{name}: expected `{expected}`, found `{found:.600}`"));
        }
        if found.len() > MESSAGE_BYTES_MAX || found.contains(char::is_control) {
            faults.push(format!("{name}: the message has {} bytes: {found:.600?}", found.len()));
        }
        if took > DURATION_MAX || grew > GROWTH_BYTES_MAX {
            faults.push(format!("{name}: took {took:?} and {grew} bytes"));
        }
        if song.extract(&demo).unwrap() != rows {
            faults.push(format!("{name}: a good plugin gives other rows after it"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_call_that_traps_leaves_nothing_to_the_next_one_nor_does_one_that_returns() {
    let engine = Engine::new(&tight(), None).unwrap();
    let plugin = engine.load("hostile", &Text::named("keeps_state").bytes).unwrap();
    let unnamed = document(br#"{"id":"p","items":{"items":[null],"total":1}}"#);
    let named = document(SMALL);
    let first = plugin.extract(&named).unwrap();
    for _ in 0..3 {
        assert!(matches!(plugin.extract(&unnamed), Err(CallError::Trap { .. })));
        assert_eq!(plugin.extract(&named).unwrap(), first);
    }
}

/// The text format has an end to its levels, and the binary one has none: 3 bytes a level.
#[test]
fn types_that_lie_in_one_another_without_end_are_refused_before_they_are_followed() {
    let engine = Engine::new(&tight(), None).unwrap();
    let component = |levels: usize| {
        let mut section = vec![1];
        section.extend([0x41, 1, 1].repeat(levels));
        section.extend([0x41, 0]);
        let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
        let mut length = section.len();
        while length > 0x7f {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(section);
        bytes
    };
    for (levels, words) in [
        (40, "it does not export"),
        (1_000, "lie in one another more than 50 levels deep"),
        (5_000_000, "lie in one another more than 50 levels deep"),
    ] {
        let refusal = engine.load("hostile", &component(levels)).err().unwrap().to_string();
        assert!(refusal.contains(words), "{levels}: {refusal}");
    }
}

#[test]
fn code_that_takes_the_compiler_too_long_is_not_waited_for() {
    let text = fs::read_to_string(Text::named("variables_in_loops").path).unwrap();
    let bytes = assembled(&text.replace("repeat 40 ", "repeat 150 ")).unwrap();
    let limits = Limits { compile_seconds: 1, ..tight() };
    let started = Instant::now();
    let refusal = Engine::new(&limits, None).unwrap().load("hostile", &bytes).err().unwrap();
    assert!(matches!(refusal, Refusal::CompileTime { seconds_max: 1 }), "{refusal}");
    assert!(refusal.to_string().contains("--limit compile_seconds=..."), "{refusal}");
    assert!(started.elapsed() < DURATION_MAX);
}
