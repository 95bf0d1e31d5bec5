//! Whether a plugin is fit to be active: by itself, among the others, for its stored tables, and for a
//! function. Nothing is written.

use std::sync::Arc;

use serde::Serialize;

use super::{
    PipelineError,
    active::{PluginPlace, Shelf, choose},
    records::{Records, table_records},
};
use crate::{
    config::{Bytes, Limits},
    plugin::{Cost, INTERFACE, Plugin, Refusal},
    schema::{Fit, fit},
};

/// What a look at one side of a plugin came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Good.
    Good,
    /// It will do, and somebody should know.
    Warning,
    /// It can't be active like this.
    Bad,
}

/// One side of a plugin, looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Which side.
    pub what: &'static str,
    /// What it came to.
    pub verdict: Verdict,
    /// In words.
    pub words: String,
}

/// A plugin, looked at.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// Its name.
    pub plugin: String,
    /// Each side.
    pub findings: Vec<Finding>,
    /// Tables that would have to begin anew.
    pub new_generations: Vec<String>,
}

impl CheckReport {
    /// Says that there is no store to fit.
    pub fn without_store(&mut self, store: &str) {
        let words =
            format!("there is no store in {store}, so nothing was held against stored tables");
        self.add("tables", Verdict::Warning, words);
    }

    /// One that has nothing yet.
    pub fn new(name: &str) -> Self {
        CheckReport { plugin: name.to_owned(), findings: Vec::new(), new_generations: Vec::new() }
    }

    fn add(&mut self, what: &'static str, verdict: Verdict, words: impl Into<String>) {
        self.findings.push(Finding { what, verdict, words: words.into() });
    }

    /// Whether it can be active.
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Bad)
    }
}

/// Looks at what a plugin is by itself.
pub fn check_alone(
    report: &mut CheckReport,
    loaded: &Result<Arc<Plugin>, Refusal>,
    function_memory: u64,
) {
    let plugin = match loaded {
        Ok(plugin) => plugin,
        Err(Refusal::Interface { problems }) => {
            for problem in problems {
                report.add("interface", Verdict::Bad, problem);
            }
            return;
        }
        Err(Refusal::Schema { faults }) => {
            for fault in faults {
                report.add("schema", Verdict::Bad, fault);
            }
            return;
        }
        Err(refusal) => return report.add("file", Verdict::Bad, refusal.to_string()),
    };
    let seconds = plugin.compiled_in().as_secs_f64();
    report.add(
        "file",
        Verdict::Good,
        format!(
            "{}, compiled here in {seconds:.2} s, SHA-256 {}",
            Bytes(plugin.bytes()),
            plugin.sha256()
        ),
    );
    report.add("interface", Verdict::Good, format!("it exports {INTERFACE}, as the host needs it"));
    let (wasi, others): (Vec<_>, Vec<_>) =
        plugin.imports().iter().map(String::as_str).partition(|name| name.starts_with("wasi:"));
    let of_wasi = match wasi.len() {
        0 => "nothing of WASI".to_owned(),
        count => format!("{count} parts of WASI, with nothing behind any of them"),
    };
    let others =
        if others.is_empty() { String::new() } else { format!("{}, and ", others.join(", ")) };
    report.add("imports", Verdict::Good, format!("it imports {others}{of_wasi}"));
    let memory = Bytes(plugin.initial_memory_bytes());
    report.add("memory", Verdict::Good, format!("it begins with {memory}"));
    let tables: Vec<_> = plugin.tables().iter().map(ToString::to_string).collect();
    report.add("schema", Verdict::Good, tables.join("; "));
    for_function(report, plugin, function_memory);
}

/// What a function of such a size makes of it.
fn for_function(report: &mut CheckReport, plugin: &Plugin, memory_bytes: u64) {
    let (cost, limits) = (plugin.cost(), Limits::of_function(memory_bytes));
    let memory = Bytes(memory_bytes);
    if plugin.initial_memory_bytes() > limits.guest_memory_bytes {
        let words = format!(
            "a function of {memory} refuses it: it begins with {}, and a plugin may have {} there (give the function more memory)",
            Bytes(plugin.initial_memory_bytes()),
            Bytes(limits.guest_memory_bytes)
        );
        return report.add("function", Verdict::Warning, words);
    }
    if cost.exceeded(&limits).is_none() {
        let words = format!("a function of {memory} compiles it in time: that takes {cost}");
        return report.add("function", Verdict::Good, words);
    }
    let words = format!(
        "a function of {memory} refuses to compile it: that takes {cost}, and {} and {:.1} s are the limits there (send its compiled code with the function: spotify-etl plugin compile; or give the function {} of memory)",
        Bytes(limits.compile_memory_bytes),
        limits.compile_cpu_milliseconds as f64 / 1000.0,
        Bytes(function_memory_for(cost)),
    );
    report.add("function", Verdict::Warning, words);
}

/// The least memory, in whole multiples of 64 MiB, of a function that compiles this.
fn function_memory_for(cost: Cost) -> u64 {
    const STEP_BYTES: u64 = 64 << 20;
    const STEPS_MAX: u64 = 160;
    let sizes = (1..=STEPS_MAX).map(|steps| steps * STEP_BYTES);
    let mut enough = sizes.filter(|bytes| cost.exceeded(&Limits::of_function(*bytes)).is_none());
    enough.next().unwrap_or(STEPS_MAX * STEP_BYTES)
}

/// Looks at how it fits the store: its tables' records, and the other plugins.
///
/// # Errors
///
/// If the store fails.
pub async fn check_in_store(
    report: &mut CheckReport,
    plugin: &Plugin,
    place: PluginPlace<'_>,
    records: &Records<'_>,
    shelf: &Shelf,
) -> Result<(), PipelineError> {
    let (stored, problems) = table_records(records.store).await?;
    for unread in problems {
        report.add("tables", Verdict::Warning, unread.problem);
    }
    for table in plugin.tables() {
        let name = &table.name;
        let Some(record) = stored.iter().find(|record| record.schema.name == *name) else {
            report.add("tables", Verdict::Good, format!("`{name}` is new in this store"));
            continue;
        };
        if record.owner != plugin.name() {
            let words = format!(
                "`{name}` belongs to plugin `{}` (name the file {}.wasm, or declare another table)",
                record.owner, record.owner
            );
            report.add("tables", Verdict::Bad, words);
            continue;
        }
        let (verdict, words) = match fit(&record.schema, table) {
            Fit::Equal => (Verdict::Good, format!("`{name}` has the stored columns")),
            Fit::Appends => {
                let new = &table.columns[record.schema.columns.len()..];
                let new: Vec<_> = new.iter().map(ToString::to_string).collect();
                (Verdict::Good, format!("`{name}` gets new columns: {}", new.join(", ")))
            }
            Fit::Prefix => {
                let gone = &record.schema.columns[table.columns.len()..];
                let gone: Vec<_> = gone.iter().map(|column| column.name.as_str()).collect();
                let words = format!(
                    "`{name}` keeps columns that this version doesn't fill, empty from now on: {}",
                    gone.join(", ")
                );
                (Verdict::Warning, words)
            }
            Fit::Differs(differences) => {
                report.new_generations.push(name.clone());
                let words = format!(
                    "`{name}` does not fit the stored one: {} (it begins anew, filled from all of history: spotify-etl plugin publish --replay)",
                    differences.join(", ")
                );
                (Verdict::Warning, words)
            }
        };
        report.add("tables", verdict, words);
    }
    let others = match choose(records, place, shelf).await {
        Ok(set) => set.without_newcomers(),
        Err(PipelineError::NoPlugins { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    for other in others.iter().filter(|other| other.name() != plugin.name()) {
        for table in plugin.tables().iter().filter(|table| other.fills(&table.name)) {
            let words = format!(
                "`{}` is declared by the active plugin `{}` too, and one table has one plugin (take that one away, or declare another table)",
                table.name,
                other.name()
            );
            report.add("tables", Verdict::Bad, words);
        }
    }
    Ok(())
}
