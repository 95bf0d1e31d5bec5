//! What nobody thought of: documents and components that were changed by chance. Each is made of a
//! number, which a failure names; `SPOTIFY_ETL_TEST_SEED=7` tries that one alone, and
//! `SPOTIFY_ETL_TEST_SECONDS=600` more of them.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use serde_json::Value;
use spotify_etl::{
    config::Limits,
    document::Document,
    plugin::{CallError, Engine, Plugin},
    sources::{self, Origin},
    table::validate,
};

use crate::{
    support::{NOW, PLUGINS, cache, fixture, json_files, plugin_file},
    wat::{assembled, texts},
};

/// How long each of the tests goes on, unless somebody says.
const SECONDS: u64 = 3;
/// How many documents and components are tried at least, however slow the machine.
const CASES_MIN: u64 = 20;

fn limits() -> Limits {
    Limits {
        call_seconds: 1,
        compile_seconds: 10,
        guest_memory_bytes: 128 << 20,
        ..Limits::default()
    }
}

/// Tries one number after another, for as long as there is time.
fn each_seed(mut test: impl FnMut(&mut Chance)) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("SPOTIFY_ETL_TEST_SEED") {
        return test(&mut Chance(seed));
    }
    let seconds = Duration::from_secs(number("SPOTIFY_ETL_TEST_SECONDS").unwrap_or(SECONDS));
    let started = Instant::now();
    for seed in (0..).take_while(|seed| *seed < CASES_MIN || started.elapsed() < seconds) {
        let tried = catch_unwind(AssertUnwindSafe(|| test(&mut Chance(seed))));
        assert!(tried.is_ok(), "again with SPOTIFY_ETL_TEST_SEED={seed}");
    }
}

/// Numbers that follow from the first one (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Anything below.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }

    /// A part of so many bytes, more often a small one.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        let long = self.below(length - start + 1);
        let short = 1 << self.below(12);
        start..start + long.min(short)
    }
}

/// Values that stand where another one is expected.
const ODD: &str = r#"[null, true, 0, -1, 1.5, 1e300, -0.0, 9223372036854775807, 9223372036854775808,
    18446744073709551615, 4294967296, "", " ", "\u0000", "\ud83d\ude00", "spotify:track:x", "2026-02-30",
    "0000", "9999-12-31", "10000-01-01", "2026-07-06T06:00:00Z", "0001-01-01T00:00:00Z", "2026-07-06T24:00:60Z",
    "\u202e", "a\r\nb", [], [[]], [null], {}, {"id": null}, {"id": "x"}, {"track": {}},
    {"items": [null]}, "track", "episode", "local", "NaN", "Infinity", "000000000000000000000000000000"]"#;

fn change(value: &mut Value, chance: &mut Chance, odd: &[Value]) {
    let mut place = value;
    // Down to somewhere.
    loop {
        let children = match place {
            Value::Array(values) => values.len(),
            Value::Object(members) => members.len(),
            _ => 0,
        };
        if children == 0 || chance.below(6) == 0 {
            break;
        }
        let child = chance.below(children);
        place = match place {
            Value::Array(values) => &mut values[child],
            Value::Object(members) => members.values_mut().nth(child).unwrap(),
            _ => return,
        };
    }
    let other = chance.one_of(odd).clone();
    match (chance.below(4), &mut *place) {
        (0, Value::Array(values)) if !values.is_empty() => {
            let again = chance.one_of(values).clone();
            let at = chance.below(values.len());
            values.insert(at, again);
        }
        (1, Value::Array(values)) if !values.is_empty() => {
            values.swap_remove(chance.below(values.len()));
        }
        (0 | 1, Value::Object(members)) if !members.is_empty() => {
            let name = members.keys().nth(chance.below(members.len())).unwrap().clone();
            members.remove(&name);
        }
        (2, Value::Object(members)) => {
            let names = ["id", "type", "track", "item", "items", "name", "artists", "total", "uri"];
            members.insert((*chance.one_of(&names)).to_owned(), other);
        }
        (2, Value::String(text)) => *text = text.repeat(chance.below(50)),
        (_, place) => *place = other,
    }
}

fn document(bytes: &[u8]) -> Option<Document> {
    let read = sources::read(&bytes.to_vec().into(), &Origin::of("a", NOW), &limits());
    read.ok().map(|read| read.document)
}

fn plugins() -> Vec<Plugin> {
    let engine = Engine::new(&limits(), Some(&cache())).unwrap();
    let plugin = |name: &str| engine.load(name, &fs::read(plugin_file(name)).unwrap()).unwrap();
    PLUGINS.iter().map(|name| plugin(name)).collect()
}

#[test]
fn whatever_a_document_holds_plugins_give_rows_or_a_reason() {
    let plugins = plugins();
    let fixtures =
        json_files(&fixture("playlists")).into_iter().chain(json_files(&fixture("history")));
    let fixtures: Vec<String> = fixtures.map(|path| fs::read_to_string(path).unwrap()).collect();
    let odd: Vec<Value> = serde_json::from_str(ODD).unwrap();
    let (mut tried, mut rows) = (0, 0);
    each_seed(|chance| {
        let text = chance.one_of(&fixtures);
        let mut bytes = match serde_json::from_str::<Value>(text) {
            Ok(mut value) => {
                for _ in 0..1 + chance.below(8) {
                    change(&mut value, chance, &odd);
                }
                value.to_string().into_bytes()
            }
            Err(_) => text.clone().into_bytes(),
        };
        if chance.below(8) == 0 {
            let range = chance.range(bytes.len());
            bytes.splice(range, b"\"".repeat(chance.below(3)));
        }
        let Some(document) = document(&bytes) else { return };
        tried += 1;
        for plugin in &plugins {
            let name = plugin.name();
            match plugin.extract(&document) {
                Ok(extraction) => {
                    let tables = validate(plugin.tables(), extraction, &limits());
                    let tables = tables.unwrap_or_else(|invalid| panic!("`{name}` {invalid}"));
                    rows += tables.iter().map(|table| table.rows()).sum::<usize>();
                }
                Err(CallError::Malformed { .. } | CallError::Unsupported { .. }) => {}
                Err(end) => panic!("`{name}` {end}"),
            }
        }
    });
    assert!(std::env::var_os("SPOTIFY_ETL_TEST_SEED").is_some() || tried > 10 && rows > 100);
}

/// Where the sections of a component are.
fn sections(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let (mut found, mut start) = (Vec::new(), 8);
    while start < bytes.len() {
        let (mut at, mut length, mut shift) = (start + 1, 0, 0);
        while let Some(byte) = bytes.get(at).copied() {
            length |= usize::from(byte & 0x7f) << shift;
            (at, shift) = (at + 1, shift + 7);
            if byte < 0x80 || shift > 28 {
                break;
            }
        }
        let end = (at + length).min(bytes.len());
        found.push(start..end);
        start = end;
    }
    found
}

fn mutate(bytes: &mut Vec<u8>, chance: &mut Chance, others: &[Vec<u8>]) {
    let sections = sections(bytes);
    match chance.below(8) {
        0..3 => {
            for _ in 0..1 + chance.below(4) {
                let at = chance.below(bytes.len());
                bytes[at] ^= 1 << chance.below(8);
            }
        }
        3 => {
            let at = chance.below(bytes.len());
            bytes[at] = *chance.one_of(&[0, 1, 0x7f, 0x80, 0xff, 0x41, 0x42, 0x0b]);
        }
        4 => bytes.truncate(chance.below(bytes.len())),
        5 => {
            let other = chance.one_of(others);
            let (to, from) = (chance.range(bytes.len()), chance.range(other.len()));
            bytes.splice(to, other[from].iter().copied());
        }
        6 if sections.len() > 1 => {
            let (one, other) = (chance.one_of(&sections), chance.one_of(&sections));
            let (one, other) = (one.start.min(other.start), one.start.max(other.start));
            let one = sections.iter().find(|section| section.start == one).unwrap().clone();
            let other = sections.iter().find(|section| section.start == other).unwrap().clone();
            if one != other {
                let parts =
                    [&bytes[..one.start], &bytes[other.clone()], &bytes[one.end..other.start]];
                *bytes = [parts.concat().as_slice(), &bytes[one], &bytes[other.end..]].concat();
            }
        }
        _ if !sections.is_empty() => {
            let section = chance.one_of(&sections).clone();
            let again = match chance.below(2) {
                0 => Vec::new(),
                _ => bytes[section.clone()].repeat(2),
            };
            bytes.splice(section, again);
        }
        _ => {}
    }
}

#[test]
fn whatever_a_component_is_made_of_it_is_refused_or_runs_within_its_limits() {
    let real: Vec<Vec<u8>> =
        PLUGINS.iter().map(|name| fs::read(plugin_file(name)).unwrap()).collect();
    // Those are compiled in no time.
    let written = texts().into_iter().map(|path| fs::read_to_string(path).unwrap());
    let mut small: Vec<Vec<u8>> = written.map(|text| assembled(&text).unwrap()).collect();
    small.retain(|bytes| bytes.len() < 10_000);
    let engine = Engine::new(&limits(), None).unwrap();
    let demo = fs::read(fixture("playlists/both_keys.json")).unwrap();
    let demo = document(&demo).unwrap();
    let (mut refused, mut ran) = (0, 0);
    each_seed(|chance| {
        let pool = if chance.below(10) == 0 { &real } else { &small };
        let mut bytes = chance.one_of(pool).clone();
        for _ in 0..1 + chance.below(3) {
            if !bytes.is_empty() {
                mutate(&mut bytes, chance, pool);
            }
        }
        let started = Instant::now();
        match engine.load("mutant", &bytes) {
            Ok(plugin) => {
                ran += 1;
                if let Ok(extraction) = plugin.extract(&demo) {
                    let _ = validate(plugin.tables(), extraction, &limits());
                }
            }
            Err(refusal) => {
                refused += 1;
                let said = refusal.to_string();
                assert!(said.len() < 20_000, "{said}");
            }
        }
        // The compiler's limit, and those of two calls.
        assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
    });
    assert!(std::env::var_os("SPOTIFY_ETL_TEST_SEED").is_some() || refused > 5 && ran > 0);
}
