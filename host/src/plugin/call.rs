//! One call of a plugin: a fresh instance, the limits on, and an end that has a name.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtime::{Store, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::{
    Plugin,
    bindings::{
        exports::spotify_etl::plugin::transform as exported, spotify_etl::plugin::types as wit,
    },
    sandbox::{self, Guest, Seed, Surroundings},
};
use crate::{
    batch::{RawBatch, RawColumn, RawExtraction, RawValues},
    config::Bytes,
    document::Document,
};

/// As many instructions as a call may run where they are counted: its end is the time limit's affair.
const FUEL_MAX: u64 = u64::MAX;
/// What Linux and macOS call it if there is no more memory, or no more addresses.
const ENOMEM: i32 = 12;
/// How many of a plugin's functions an error names.
const FRAMES_MAX: usize = 6;
/// How much of a function's name an error quotes, in characters.
const FRAME_CHARACTERS_MAX: usize = 120;
/// How much an error quotes of what a plugin wrote before it ended, or of a name in it, in characters.
const QUOTE_CHARACTERS_MAX: usize = 600;

/// What a call took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// How long it took, the making of the instance included.
    pub time: Duration,
    /// The most memory that the plugin had, in bytes.
    pub memory_bytes: u64,
    /// How many instructions it ran, about: the same for the same plugin and document on every machine.
    /// None where the engine doesn't count them.
    pub fuel: Option<u64>,
}

impl Plugin {
    /// Hands a document to the plugin, of its pages what it reads. Blocks while it works.
    ///
    /// # Errors
    ///
    /// What the plugin says of the document, or how the call ended.
    pub fn extract(&self, document: &Document) -> Result<RawExtraction, CallError> {
        let cut = self.projection.cut(document.arranged_pages());
        self.extract_from(document, &cut.pages_for(0), None).0
    }

    /// The same of pages that were cut already, or not at all; and what it took. It ends when the limit for a
    /// call or the time of the run is up, whichever comes first.
    pub fn extract_from(
        &self,
        document: &Document,
        pages: &[&str],
        until: Option<Instant>,
    ) -> (Result<RawExtraction, CallError>, Usage) {
        let id = document.id();
        let seconds = id.extracted_at.moment().unix_timestamp();
        let surroundings = Surroundings {
            unix_seconds: u64::try_from(seconds).unwrap_or(0),
            seed: Seed::Document(id.clone(), document.sha256().to_owned()),
        };
        let handed = wit::Document {
            playlist_id: id.playlist_id.as_str(),
            playlist_name: document.playlist_name(),
            playlist_owner: document.playlist_owner(),
            snapshot_id: document.snapshot_id(),
            extracted_at: seconds,
            complete: document.complete(),
            media_type: wit::MediaType::Json,
            pages,
        };
        let end = End { limit: self.limits.call_duration(), setting: "call_seconds", until };
        let (extraction, usage) =
            self.call(surroundings, end, |transform, store| transform.call_extract(store, handed));
        let extraction = extraction.and_then(|extraction| match extraction {
            Ok(extraction) => Ok(extraction.into()),
            Err(wit::Failure::Malformed(reason)) => Err(CallError::Malformed { reason }),
            Err(wit::Failure::Unsupported(reason)) => Err(CallError::Unsupported { reason }),
        });
        (extraction, usage)
    }

    /// Asks the plugin what it is.
    pub(super) fn describe(&self) -> Result<wit::Info, CallError> {
        let surroundings = Surroundings { unix_seconds: 0, seed: Seed::Describe };
        let limit = self.limits.describe_duration();
        let setting =
            if limit == self.limits.call_duration() { "call_seconds" } else { "describe_seconds" };
        let end = End { limit, setting, until: None };
        self.call(surroundings, end, |transform, store| transform.call_describe(store)).0
    }

    fn call<T>(
        &self,
        surroundings: Surroundings,
        end: End,
        call: impl FnOnce(&exported::Guest, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> (Result<T, CallError>, Usage) {
        let started = Instant::now();
        let time = end.time_from(started);
        if time.is_zero() {
            return (Err(CallError::NoTime), Usage::default());
        }
        let mut store =
            sandbox::store(&self.engine, &self.name, surroundings, (&self.limits, time));
        if self.counts {
            // An engine that counts takes it.
            let _ = store.set_fuel(FUEL_MAX);
        }
        let result = self
            .pre
            .instantiate(&mut store)
            .and_then(|plugin| call(plugin.spotify_etl_plugin_transform(), &mut store));
        let usage = Usage {
            time: started.elapsed(),
            memory_bytes: store.data().memory.bytes,
            fuel: self.counts.then(|| store.get_fuel().ok()).flatten().map(|left| FUEL_MAX - left),
        };
        let written = String::from_utf8_lossy(&store.data().output.contents()).into_owned();
        let result = match result {
            Ok(value) => {
                for line in written.lines() {
                    tracing::info!(plugin = self.name, "{}", line.escape_debug());
                }
                Ok(value)
            }
            Err(error) if is_interrupt(&error) => Err(end.error(time, frames(&error))),
            Err(error) => Err(self.ending(error, &store, &written)),
        };
        (result, usage)
    }

    /// Gives a name to the end of a call.
    fn ending(&self, error: wasmtime::Error, store: &Store<Guest>, written: &str) -> CallError {
        let at = frames(&error);
        if let Some(cause) = of_machine(&error) {
            return CallError::Machine { cause };
        }
        if error.downcast_ref::<I32Exit>().is_some() {
            return CallError::Exit { at, written: quote(written) };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => return CallError::Stack { at },
            Some(Trap::MemoryOutOfBounds) if at.len() >= FRAMES_MAX => {
                return CallError::Stack { at };
            }
            _ => {}
        }
        if let Some(bytes) = store.data().memory.refused_bytes {
            return CallError::Memory { bytes, max: self.limits.guest_memory_bytes, at };
        }
        // The type of this error is not public.
        if error.root_cause().to_string().contains("fuel allocated for hostcalls") {
            return CallError::Output { max: self.limits.output_bytes };
        }
        if written.len() as u64 >= self.limits.log_bytes {
            return CallError::Chatter { max: self.limits.log_bytes, at };
        }
        if let Some((message, before)) = panic_message(written) {
            return CallError::Panic { message, at, written: quote_end(before) };
        }
        CallError::Trap { cause: Arc::new(error), at, written: quote(written) }
    }
}

/// When a call ends at the latest.
#[derive(Clone, Copy)]
struct End {
    /// How long it may take.
    limit: Duration,
    /// The name of that limit.
    setting: &'static str,
    /// When the time of the run is up.
    until: Option<Instant>,
}

impl End {
    /// How long a call may take that begins now.
    fn time_from(&self, now: Instant) -> Duration {
        let left = self.until.map(|until| until.saturating_duration_since(now));
        left.map_or(self.limit, |left| left.min(self.limit))
    }

    /// Why a call ended that was given so much time.
    fn error(&self, time: Duration, at: Vec<String>) -> CallError {
        if time < self.limit {
            return CallError::NoTime;
        }
        CallError::Time { seconds_max: self.limit.as_secs(), setting: self.setting, at }
    }
}

fn is_interrupt(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref::<Trap>(), Some(Trap::Interrupt))
}

/// What a panic in Rust leaves on standard error, and what was written before it: the traceback of a
/// language that runs on Rust.
fn panic_message(written: &str) -> Option<(String, &str)> {
    let (before, message) = written.split_once("panicked at ")?;
    let before = before.rsplit_once("thread '").map_or(before, |(before, _)| before);
    let message = message.split("\nnote: ").next().unwrap_or(message).trim();
    let (place, message) = message.split_once(":\n").unwrap_or(("", message));
    let place = if place.is_empty() { String::new() } else { format!(" at {place}") };
    Some((format!("`{}`{place}", quote(message)), before))
}

/// The end of a text, which says what came last.
fn quote_end(text: &str) -> String {
    let text = text.trim().replace(char::is_control, " ");
    let more = text.chars().count().saturating_sub(QUOTE_CHARACTERS_MAX);
    if more == 0 { text } else { format!("...{}", text.chars().skip(more).collect::<String>()) }
}

/// A plugin's words on one line, cut to a length that an error can bear, with no way to steer a terminal.
pub(super) fn quote(text: &str) -> String {
    let text = text.trim();
    let cut: String = text.chars().take(QUOTE_CHARACTERS_MAX).collect();
    let more = if cut.len() < text.len() { "..." } else { "" };
    format!("{}{more}", cut.replace(char::is_control, " "))
}

/// What the operating system says, if it is that the process may have no more memory or addresses. The type of
/// these errors is not public; nothing but its very words will do, since others can hold a plugin's.
pub(super) fn of_machine(error: &wasmtime::Error) -> Option<String> {
    let no_room = io::Error::from_raw_os_error(ENOMEM).to_string();
    (error.root_cause().to_string() == no_room).then_some(no_room)
}

/// The plugin's own functions that were running, innermost first.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let name = |frame: &wasmtime::FrameInfo| {
        // Without the hash that compilers add.
        let name = frame.func_name().map(|name| format!("{:#}", rustc_demangle::demangle(name)));
        let name = name.unwrap_or_else(|| format!("function {}", frame.func_index()));
        name.chars().filter(|c| !c.is_control()).take(FRAME_CHARACTERS_MAX).collect::<String>()
    };
    let of_runtime = |name: &String| {
        ["std::", "core::", "alloc::", "__rust", "rust_", "abort", "<alloc::", "<std::", "<core::"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    let names = backtrace.frames().iter().map(name).filter(|name| !of_runtime(name));
    names.take(FRAMES_MAX).collect()
}

impl From<wit::Extraction> for RawExtraction {
    fn from(extraction: wit::Extraction) -> Self {
        let skip = |wit::Skip { position, reason }| (position, reason);
        RawExtraction {
            batches: extraction.batches.into_iter().map(RawBatch::from).collect(),
            skips: extraction.skips.into_iter().map(skip).collect(),
        }
    }
}

impl From<wit::Batch> for RawBatch {
    fn from(batch: wit::Batch) -> Self {
        let column = |column: wit::PackedColumn| RawColumn {
            values: match column.values {
                wit::Values::Text(wit::TextValues { text, ends }) => RawValues::Text { text, ends },
                wit::Values::Int64(values) => RawValues::Int64(values),
                wit::Values::Float64(values) => RawValues::Float64(values),
                wit::Values::Boolean(values) => RawValues::Boolean(values),
                wit::Values::Date(values) => RawValues::Date(values),
                wit::Values::Timestamp(values) => RawValues::Timestamp(values),
            },
            nulls: column.nulls,
        };
        RawBatch { columns: batch.columns.into_iter().map(column).collect() }
    }
}

/// How a call ended, other than with rows. Reads on after the plugin's name.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The plugin can't read the document.
    #[error("says the document is malformed: `{}`", quote(.reason))]
    Malformed {
        /// The plugin's words.
        reason: String,
    },
    /// The document is not for this plugin.
    #[error("says the document is not for it: `{}`", quote(.reason))]
    Unsupported {
        /// The plugin's words.
        reason: String,
    },
    /// A panic.
    #[error("panicked: {message}{}{}", within(.at), after(.written))]
    Panic {
        /// What it said, and where.
        message: String,
        /// The functions that were running.
        at: Vec<String>,
        /// What it had written before.
        written: String,
    },
    /// Over the time limit.
    #[error("was stopped after {seconds_max} s, the limit for a call (raise it with --limit {setting}=...){}", within(.at))]
    Time {
        /// The limit.
        seconds_max: u64,
        /// Its name.
        setting: &'static str,
        /// The functions that were running.
        at: Vec<String>,
    },
    /// The time of the run is up, which says nothing about the plugin.
    #[error(
        "was not finished: there was no time left for it in this run (the next run tries it again)"
    )]
    NoTime,
    /// Over the memory limit.
    #[error("wanted {} of memory, and the limit is {} (raise it with --limit guest_memory_bytes=...){}", Bytes(*.bytes), Bytes(*.max), within(.at))]
    Memory {
        /// What it wanted in all.
        bytes: u64,
        /// The limit.
        max: u64,
        /// The functions that were running.
        at: Vec<String>,
    },
    /// Calls within calls without end.
    #[error("overflowed its stack: functions call one another without end{}", within(.at))]
    Stack {
        /// The functions that were running.
        at: Vec<String>,
    },
    /// Over the output limit.
    #[error("returned more than {}, the limit for the output of a call (raise it with --limit output_bytes=...)", Bytes(*.max))]
    Output {
        /// The limit.
        max: u64,
    },
    /// Over the limit for what it writes.
    #[error("wrote more than {} to standard output and error, the limit (raise it with --limit log_bytes=...){}", Bytes(*.max), within(.at))]
    Chatter {
        /// The limit.
        max: u64,
        /// The functions that were running.
        at: Vec<String>,
    },
    /// The machine has no room for it.
    #[error(
        "could not be run: {cause} (that is this machine's doing, not the plugin's: give the process more memory and address space, see `ulimit -v`, or have it do less at a time with --jobs 1)"
    )]
    Machine {
        /// What the operating system says.
        cause: String,
    },
    /// It ended the program.
    #[error("ended itself instead of returning{}{}", within(.at), after(.written))]
    Exit {
        /// The functions that were running.
        at: Vec<String>,
        /// What it had written.
        written: String,
    },
    /// Any other trap.
    #[error("failed: {}{}{}", .cause.root_cause(), within(.at), after(.written))]
    Trap {
        /// What WebAssembly says.
        cause: Arc<wasmtime::Error>,
        /// The functions that were running.
        at: Vec<String>,
        /// What it had written.
        written: String,
    },
}

fn within(at: &[String]) -> String {
    if at.is_empty() { String::new() } else { format!(", in {}", at.join(" < ")) }
}

fn after(written: &str) -> String {
    if written.is_empty() { String::new() } else { format!(", having written `{written}`") }
}
