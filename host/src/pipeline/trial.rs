//! A plugin by itself: over documents that are files, against golden tables and a budget. No store.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    Progress,
    active::pretty,
    report::{Problem, SkipReport},
    tried::{Tried, judge},
};
use crate::{
    batch::RawExtraction,
    config::Limits,
    document::{Document, Refused},
    layout::Format,
    plugin::{CallError, Engine, Plugin, Refusal, Usage},
    projection::Projection,
    sources::{self, Origin},
    table::{MadeBy, Table, WriteError, write},
};

/// When fixtures were read that don't say it themselves: 2026-07-06T06:00:00Z.
const FIXTURES_READ_AT: i64 = 1_783_317_600;
/// Where a golden folder has the entries that were passed over.
const SKIPPED: &str = "skipped.txt";
/// Where a golden folder has what plugins say that make nothing of the document.
const FAILED: &str = "failed.txt";
/// By how much a case may go over its budget, as a part of it: compilers are not to the instruction alike.
const SLACK: f64 = 0.1;
/// How far above a plugin's file its tests may be: it is in `target/wasm32-wasip2/release`.
const FOLDERS_MAX: usize = 5;
/// How many lines of a difference are told.
const LINES_SHOWN: usize = 5;

/// A plugin that can be tried: as it will run, and with its instructions counted.
pub struct Trial {
    /// The plugin.
    pub plugin: Plugin,
    counting: Plugin,
    limits: Limits,
}

/// What a plugin made of a document, and what it took.
pub struct Attempt {
    /// What it made.
    pub tried: Result<Tried, Problem>,
    /// What it took.
    pub budget: Budget,
    /// How long it took, in milliseconds: on this machine, now.
    pub milliseconds: f64,
    /// In which way it does not do what it must, if so.
    pub fault: Option<&'static str>,
}

/// What a document takes: the same on every machine, for the same plugin and host.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Budget {
    /// Instructions, about.
    pub fuel: u64,
    /// Instructions for each byte of the document's pages.
    pub fuel_per_byte: f64,
    /// The most memory that the plugin had, in bytes.
    pub memory_bytes: u64,
    /// What it returned, in bytes.
    pub output_bytes: u64,
}

impl Trial {
    /// Loads a plugin, twice.
    ///
    /// # Errors
    ///
    /// Why it can't be used.
    pub fn load(
        engine: &Engine,
        counting: &Engine,
        name: &str,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let (plugin, counting) = (engine.load(name, bytes)?, counting.load(name, bytes)?);
        Ok(Trial { plugin, counting, limits: limits.clone() })
    }

    /// Hands a document to the plugin. Blocks while it works.
    pub fn run(&self, document: &Document) -> Attempt {
        let projection = Projection::of([self.plugin.reads(), None]);
        let cut = projection.cut(document.arranged_pages());
        let (extracted, Usage { time, memory_bytes, .. }) =
            self.plugin.extract_from(document, &cut.pages_for(0), None);
        let (again, counted) = self.counting.extract_from(document, &cut.pages_for(0), None);
        let (whole, _) = self.plugin.extract_from(document, &cut.pages_for(1), None);
        let is_other = |other: &Result<RawExtraction, CallError>| matches!((&extracted, other), (Ok(one), Ok(other)) if one != other);
        let fault = if is_other(&again) {
            Some("gave other rows when it ran again (the same document must give the same rows)")
        } else if is_other(&whole) {
            Some(
                "gives other rows of whole pages than of what it says it reads (name in `reads` all that it looks at)",
            )
        } else {
            None
        };
        let output_bytes = extracted.as_ref().map_or(0, |extraction| extraction.bytes());
        let page_bytes: usize = document.pages().iter().map(|page| page.len()).sum();
        let fuel = counted.fuel.unwrap_or_default();
        let fuel_per_byte = (fuel as f64 / page_bytes.max(1) as f64 * 10.0).round() / 10.0;
        Attempt {
            tried: judge(&self.plugin, extracted, &self.limits),
            budget: Budget { fuel, fuel_per_byte, memory_bytes, output_bytes },
            milliseconds: time.as_secs_f64() * 1e3,
            fault,
        }
    }
}

/// The document that a file stands for: read when it or its name says, or else when all fixtures were.
///
/// # Errors
///
/// Why it is none.
pub fn document(name: &str, bytes: impl Into<Bytes>, limits: &Limits) -> Result<Document, Refused> {
    let modified = OffsetDateTime::from_unix_timestamp(FIXTURES_READ_AT);
    let modified = modified.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let origin = Origin::of(name, modified);
    Ok(sources::read(&bytes.into(), &origin, limits)?.document)
}

/// A table as CSV.
///
/// # Errors
///
/// If it gets too large.
pub fn to_csv(
    table: &Table,
    document: &Document,
    plugin: &Plugin,
    limits: &Limits,
) -> Result<Vec<u8>, WriteError> {
    let made_by = MadeBy { name: plugin.name(), sha256: plugin.sha256() };
    let written = write(table, document.id(), Format::Csv, made_by, limits.output_bytes)?;
    Ok(written.bytes)
}

/// Where the tests of plugins are.
#[derive(Clone, Debug)]
pub struct Tests {
    /// The folder with the documents, JSON.
    pub fixtures: PathBuf,
    /// The folder with a folder for each: its tables, and what was passed over.
    pub golden: PathBuf,
    /// The file with what each may take.
    pub budget: PathBuf,
}

impl Tests {
    /// Where they are in a folder of tests: this repository's has playlists among other fixtures.
    pub fn of(tests: &Path) -> Self {
        let (fixtures, golden) = (tests.join("fixtures"), tests.join("golden"));
        let playlists = fixtures.join("playlists");
        let fixtures = if playlists.is_dir() { playlists } else { fixtures };
        Tests { fixtures, golden, budget: tests.join("budget.json") }
    }

    /// Those of the nearest folder around a plugin's file that has some, no further up than a build puts
    /// it.
    pub fn around(file: &Path) -> Option<Self> {
        // Where it is, by the way it was named: what is built may be linked from somewhere else.
        let file = std::path::absolute(file).ok().filter(|file| file.is_file())?;
        let mut folders = file
            .ancestors()
            .skip(1)
            .take(FOLDERS_MAX)
            .map(|folder| Self::of(&folder.join("tests")));
        folders.find(|tests| tests.fixtures.is_dir())
    }
}

/// Whether what comes out is compared, or kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestMode {
    /// It is held against golden tables and budget.
    Compare,
    /// It becomes them.
    Update,
}

/// One document through all plugins that are tested.
#[derive(Debug, Serialize)]
pub struct CaseReport {
    /// The fixture's name.
    pub case: String,
    /// What each plugin took, by name.
    pub budgets: BTreeMap<String, Budget>,
    /// How long each took, in milliseconds.
    pub milliseconds: BTreeMap<String, f64>,
    /// How many rows there are of each table.
    pub rows: BTreeMap<String, u64>,
    /// What is wrong, in words.
    pub faults: Vec<String>,
}

/// What a test found.
#[derive(Debug, Serialize)]
pub struct TestReport {
    /// Each fixture.
    pub cases: Vec<CaseReport>,
    /// Golden files that nothing gave.
    pub unreferenced: Vec<PathBuf>,
    /// Plugins that were not tested and that the budget names: golden files that nothing gave may be
    /// theirs.
    pub others: Vec<String>,
    /// Whether there is a budget.
    pub has_budget: bool,
    /// Files that were written.
    pub written: usize,
}

impl TestReport {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.unreferenced.is_empty() && self.cases.iter().all(|case| case.faults.is_empty())
    }
}

/// The budgets of a folder of fixtures: by fixture, then by plugin.
type Budgets = BTreeMap<String, BTreeMap<String, Budget>>;

/// Runs plugins over fixtures, and holds what comes out against golden tables and budget, or keeps it.
///
/// # Errors
///
/// If files can't be read or written, or there is no fixture.
pub fn test(
    trials: &[Arc<Trial>],
    tests: &Tests,
    limits: &Limits,
    mode: TestMode,
    progress: &dyn Progress,
) -> Result<TestReport, TestError> {
    let mut names: Vec<&str> = trials.iter().map(|trial| trial.plugin.name()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(TestError::Twice { name: pair[0].to_owned() });
    }
    let fixtures = json_files(&tests.fixtures)?;
    if fixtures.is_empty() {
        return Err(TestError::NoFixtures { folder: tests.fixtures.clone() });
    }
    let budgets = budgets(&tests.budget)?;
    let (mut golden, mut cases, mut taken) = (BTreeMap::new(), Vec::new(), Budgets::new());
    progress.begin("test", fixtures.len());
    for path in fixtures {
        let case = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (report, files) = run_case(trials, &path, &case, limits)?;
        taken.insert(case.clone(), report.budgets.clone());
        golden.extend(files.into_iter().map(|(name, bytes)| (Path::new(&case).join(name), bytes)));
        cases.push(report);
        progress.advance();
    }
    progress.end();
    let mut report = TestReport {
        cases,
        unreferenced: Vec::new(),
        others: others(trials, budgets.as_ref()),
        has_budget: budgets.is_some() || mode == TestMode::Update,
        written: 0,
    };
    match mode {
        // What is not right is not kept.
        TestMode::Update if report.cases.iter().any(|case| !case.faults.is_empty()) => {}
        TestMode::Update if report.others.is_empty() => {
            report.written = keep(tests, &golden, &taken, &tables_of(trials))?;
        }
        TestMode::Update => return Err(TestError::Shared { others: report.others }),
        TestMode::Compare => {
            compare(tests, &golden, &mut report)?;
            for case in &mut report.cases {
                let Some(budgets) = &budgets else { continue };
                let faults = over_budget(&case.budgets, budgets.get(&case.case));
                case.faults.extend(faults);
            }
        }
    }
    Ok(report)
}

/// The tables that plugins fill.
fn tables_of(trials: &[Arc<Trial>]) -> BTreeSet<String> {
    let tables = trials.iter().flat_map(|trial| trial.plugin.tables());
    tables.map(|table| table.name.clone()).collect()
}

/// The plugins of a budget that are not tested.
fn others(trials: &[Arc<Trial>], budgets: Option<&Budgets>) -> Vec<String> {
    let named = budgets.into_iter().flat_map(|budgets| budgets.values().flat_map(BTreeMap::keys));
    let is_tested = |name: &&String| trials.iter().any(|trial| trial.plugin.name() == *name);
    let others: BTreeSet<String> = named.filter(|name| !is_tested(name)).cloned().collect();
    others.into_iter().collect()
}

/// What is made of one fixture: a report, and its golden files by name.
fn run_case(
    trials: &[Arc<Trial>],
    path: &Path,
    case: &str,
    limits: &Limits,
) -> Result<(CaseReport, BTreeMap<String, Vec<u8>>), TestError> {
    let mut report = CaseReport {
        case: case.to_owned(),
        budgets: BTreeMap::new(),
        milliseconds: BTreeMap::new(),
        rows: BTreeMap::new(),
        faults: Vec::new(),
    };
    let bytes = read(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let document = match document(&name, bytes, limits) {
        Ok(document) => document,
        Err(refused) => {
            report.faults.push(format!("it is refused before a plugin sees it: {refused}"));
            return Ok((report, BTreeMap::new()));
        }
    };
    let (mut files, mut skipped, mut failed) = (BTreeMap::new(), BTreeSet::new(), String::new());
    for trial in trials {
        let plugin = &trial.plugin;
        let Attempt { tried, budget, milliseconds, fault } = trial.run(&document);
        report.budgets.insert(plugin.name().to_owned(), budget);
        report.milliseconds.insert(plugin.name().to_owned(), milliseconds);
        report.faults.extend(fault.map(|fault| format!("plugin `{}` {fault}", plugin.name())));
        match tried {
            Ok(Tried::Tables(tables, skips)) => {
                skipped.extend(skips);
                for table in tables {
                    let name = &table.schema().name;
                    report.rows.insert(name.clone(), table.rows() as u64);
                    match to_csv(&table, &document, plugin, limits) {
                        Ok(csv) => drop(files.insert(format!("{name}.csv"), csv)),
                        Err(error) => report.faults.push(error.to_string()),
                    }
                }
            }
            Ok(Tried::Unsupported(why)) => {
                failed.push_str(&format!("plugin `{}` {why}\n", plugin.name()));
            }
            Err(problem) => failed.push_str(&format!("{problem}\n")),
        }
    }
    let lines =
        skipped.iter().map(|SkipReport { position, reason }| format!("{position} {reason}\n"));
    files.insert(SKIPPED.to_owned(), lines.collect::<String>().into_bytes());
    if !failed.is_empty() {
        files.insert(FAILED.to_owned(), failed.into_bytes());
    }
    Ok((report, files))
}

fn compare(
    tests: &Tests,
    golden: &BTreeMap<PathBuf, Vec<u8>>,
    report: &mut TestReport,
) -> Result<(), TestError> {
    let there = files_below(&tests.golden)?;
    let is_shared = !report.others.is_empty();
    for case in &mut report.cases {
        let of_case = golden.iter().filter(|(path, _)| path.starts_with(&case.case));
        for (path, found) in of_case {
            let file = path.strip_prefix(&case.case).unwrap_or(path).display();
            let expected = there.contains(path).then(|| read(&tests.golden.join(path)));
            match expected.transpose()? {
                // What there is nothing of needs no file.
                None if found.is_empty() => {}
                None => case.faults.push(format!("{file}: there is no such golden file (look at what comes out, then keep it with --update)\n{}", told(found))),
                // Where several plugins say what they pass over, each says a part of it.
                Some(expected) if is_shared && path.extension().is_some_and(|kind| kind == "txt") && has_lines(&expected, found) => {}
                Some(expected) if expected != *found => {
                    case.faults.push(format!("{file}:\n{}", difference(&expected, found)));
                }
                Some(_) => {}
            }
        }
    }
    let is_case = |path: &Path| report.cases.iter().any(|case| path.starts_with(&case.case));
    let is_unreferenced =
        |path: &&PathBuf| !(golden.contains_key(*path) || (is_shared && is_case(path)));
    report.unreferenced = there.iter().filter(is_unreferenced).cloned().collect();
    Ok(())
}

/// Whether a text has all lines of another one.
fn has_lines(text: &[u8], part: &[u8]) -> bool {
    let lines = |text: &[u8]| -> BTreeSet<Vec<u8>> {
        text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    };
    lines(part).is_subset(&lines(text))
}

/// What goes over its budget, in words.
fn over_budget(
    taken: &BTreeMap<String, Budget>,
    allowed: Option<&BTreeMap<String, Budget>>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, taken) in taken {
        let Some(allowed) = allowed.and_then(|allowed| allowed.get(name)) else {
            faults.push(format!("plugin `{name}` has no budget for it (keep one with --update)"));
            continue;
        };
        let measures = [
            ("instructions", taken.fuel as f64, allowed.fuel as f64),
            ("instructions a byte", taken.fuel_per_byte, allowed.fuel_per_byte),
            ("bytes of memory", taken.memory_bytes as f64, allowed.memory_bytes as f64),
            ("bytes returned", taken.output_bytes as f64, allowed.output_bytes as f64),
        ];
        for (what, taken, allowed) in measures {
            if taken > allowed * (1.0 + SLACK) {
                let percent = (taken / allowed.max(1.0) - 1.0) * 100.0;
                faults.push(format!("plugin `{name}` took {taken} {what}, {percent:.0} % over the budget of {allowed} (make it do less; or accept it with --update)"));
            }
        }
    }
    faults
}

/// Writes golden files and budget, and takes away what nothing gives any more. Says how many files are
/// others now.
fn keep(
    tests: &Tests,
    golden: &BTreeMap<PathBuf, Vec<u8>>,
    taken: &Budgets,
    tables: &BTreeSet<String>,
) -> Result<usize, TestError> {
    let mut written = 0;
    let mut put = |path: &Path, bytes: &[u8]| {
        if fs::read(path).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        let failed = |source| TestError::Io { verb: "write", path: path.to_owned(), source };
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        written += 1;
        fs::write(path, bytes).map_err(failed)
    };
    for (path, bytes) in golden {
        put(&tests.golden.join(path), bytes)?;
    }
    put(&tests.budget, &pretty(taken))?;
    // Those of a table that no plugin here fills may be another plugin's.
    let is_ours = |path: &Path| {
        let has_case =
            path.parent().and_then(Path::to_str).is_some_and(|case| taken.contains_key(case));
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        !has_case || path.extension().is_some_and(|kind| kind == "txt") || tables.contains(&*stem)
    };
    for path in files_below(&tests.golden)? {
        if !golden.contains_key(&path) && is_ours(&path) {
            let path = tests.golden.join(path);
            let gone = fs::remove_file(&path);
            gone.map_err(|source| TestError::Io { verb: "delete", path: path.clone(), source })?;
            // Its folder goes with its last file.
            let _ = path.parent().map(fs::remove_dir);
            written += 1;
        }
    }
    Ok(written)
}

fn budgets(path: &Path) -> Result<Option<Budgets>, TestError> {
    if !path.exists() {
        return Ok(None);
    }
    let parsed = serde_json::from_slice(&read(path)?);
    parsed.map(Some).map_err(|source| TestError::Budget { path: path.to_owned(), source })
}

/// The lines that are not the same, the first few.
fn difference(expected: &[u8], found: &[u8]) -> String {
    let (expected, found) = (String::from_utf8_lossy(expected), String::from_utf8_lossy(found));
    let (expected, found): (Vec<_>, Vec<_>) = (expected.lines().collect(), found.lines().collect());
    let mut told = String::new();
    let mut differing = 0;
    for line in 0..expected.len().max(found.len()) {
        let (was, is) = (expected.get(line), found.get(line));
        if was == is {
            continue;
        }
        differing += 1;
        if differing <= LINES_SHOWN {
            let text = |line: Option<&&str>| line.map_or("(no such line)", |line| *line).to_owned();
            told.push_str(&format!(
                "  line {}, expected: {}\n  line {}, found:    {}\n",
                line + 1,
                text(was),
                line + 1,
                text(is)
            ));
        }
    }
    if differing > LINES_SHOWN {
        told.push_str(&format!("  and {} more lines\n", differing - LINES_SHOWN));
    }
    if differing == 0 {
        told.push_str("  line ends are others\n");
    }
    told.trim_end().to_owned()
}

fn told(found: &[u8]) -> String {
    let found = String::from_utf8_lossy(found);
    let lines = found.lines().take(LINES_SHOWN).map(|line| format!("  {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn json_files(folder: &Path) -> Result<Vec<PathBuf>, TestError> {
    let failed = |source| TestError::Io { verb: "read", path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_file() && path.extension().is_some_and(|kind| kind == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The golden files, below their folder.
fn files_below(golden: &Path) -> Result<BTreeSet<PathBuf>, TestError> {
    let mut files = BTreeSet::new();
    if !golden.exists() {
        return Ok(files);
    }
    let failed = |source| TestError::Io { verb: "read", path: golden.to_owned(), source };
    for entry in fs::read_dir(golden).map_err(failed)? {
        let folder = entry.map_err(failed)?.path();
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            files.extend(path.strip_prefix(golden).ok().map(Path::to_owned));
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, TestError> {
    fs::read(path).map_err(|source| TestError::Io { verb: "read", path: path.to_owned(), source })
}

/// Why a test could not be run.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The system refused.
    #[error("could not {verb} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is nothing to test with.
    #[error("no fixtures (*.json) in `{}` (make one of a document in the store: spotify-etl plugin capture KEY)", .folder.display())]
    NoFixtures {
        /// Where they should be.
        folder: PathBuf,
    },
    /// Two files are one plugin.
    #[error("two of the files are named `{name}` (test them one after another)")]
    Twice {
        /// The plugin.
        name: String,
    },
    /// What is kept is that of several plugins.
    #[error("the golden tables and the budget are those of {} too, so they are kept together (name the files of all these plugins; or delete budget.json, if there are no such plugins any more)", .others.join(", "))]
    Shared {
        /// The plugins that were not named.
        others: Vec<String>,
    },
    /// The budget is no budget.
    #[error("`{}` is no budget: {source} (restore it, or make it anew with --update)", .path.display())]
    Budget {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}
