//! WebAssembly plugins: the engine that runs them, what one is before it runs, and one call.
//!
//! The only module that knows `wasmtime`. It knows nothing of table files: what a call returns is
//! handed on as it is.

mod call;
mod code_cache;
mod conformance;
mod cost;
mod extent;
mod runner;
mod sandbox;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use wasmtime::{Config, component::Component};

use crate::{
    config::{Bytes, Limits},
    document::sha256,
    projection::Projection,
    room::Room,
    schema::{self, Column, ColumnType, Scope, TableSchema},
};

pub use call::{CallError, Usage};
use code_cache::CodeCache;
pub use cost::Cost;
use extent::Extent;
use runner::{Runner, Runners, settings};
use sandbox::Guest;

/// The bindings of `wit/plugin.wit`, host side.
mod bindings {
    #![allow(missing_docs, reason = "generated")]
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "plugin",
        include_component_type: true,
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::spotify_etl::plugin::types as wit;

/// The interface that plugins implement, as they must name it.
pub const INTERFACE: &str = "spotify-etl:plugin/transform@0.1.0";

/// How many patterns a plugin may say it reads.
const READS_MAX: usize = 1_000;
/// How many names all of them together may have.
const READ_NAMES_MAX: usize = 2_000;

/// The unit that WebAssembly's memory is counted in.
const WASM_PAGE_BYTES: u64 = 64 * 1024;

fn open_cache(folder: &Path) -> Result<CodeCache, EngineError> {
    let error = |cause| EngineError::Cache { folder: folder.display().to_string(), cause };
    CodeCache::open(folder).map_err(error)
}

/// Checks whether a folder can be used to keep compiled plugins, and creates it if it does not exist. A program
/// that chose the folder itself, without being asked to, goes on without one if this fails.
///
/// # Errors
///
/// [`EngineError::Cache`].
pub fn check_cache(folder: &Path) -> Result<(), EngineError> {
    open_cache(folder).map(drop)
}

/// What runs plugins.
pub struct Engine {
    runners: Runners,
    counts: bool,
    limits: Limits,
    cache: Option<CodeCache>,
    shipped: Option<PathBuf>,
    /// The memory for compiling, in bytes.
    compiling: Arc<Room>,
}

/// A plugin that was compiled, checked, and has said what it is.
pub struct Plugin {
    name: String,
    sha256: String,
    bytes: u64,
    cost: Cost,
    initial_memory_bytes: u64,
    compiled_in: Duration,
    imports: Vec<String>,
    info: Info,
    projection: Projection,
    counts: bool,
    engine: wasmtime::Engine,
    pre: bindings::PluginPre<Guest>,
    limits: Limits,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq)]
struct Info {
    version: String,
    reads: Option<Vec<String>>,
    tables: Vec<Arc<TableSchema>>,
}

impl Engine {
    /// An engine that keeps compiled plugins in a folder, if one is given.
    ///
    /// # Errors
    ///
    /// If the folder can't be used, or the machine can't run WebAssembly.
    pub fn new(limits: &Limits, cache: Option<&Path>) -> Result<Self, EngineError> {
        Self::with(settings(), limits, cache)
    }

    /// One that counts the instructions which plugins run, and is slower for it.
    ///
    /// # Errors
    ///
    /// As for [`Engine::new`].
    pub fn counting(limits: &Limits, cache: Option<&Path>) -> Result<Self, EngineError> {
        let mut config = settings();
        config.consume_fuel(true);
        Ok(Engine { counts: true, ..Self::with(config, limits, cache)? })
    }

    fn with(config: Config, limits: &Limits, cache: Option<&Path>) -> Result<Self, EngineError> {
        let cache = cache.map(open_cache).transpose()?;
        let runners =
            Runners::new(config).map_err(|error| EngineError::Setup(format!("{error:#}")))?;
        let compiling = Room::new(limits.compile_memory_bytes);
        let limits = limits.clone();
        Ok(Engine { runners, counts: false, limits, cache, shipped: None, compiling })
    }

    /// The same, with a folder of compiled plugins that came with this program (see [`precompile`]).
    ///
    /// What lies there is run as it is, as trusted as the program itself: nobody else may be able to
    /// write there.
    #[must_use]
    pub fn with_shipped(mut self, folder: Option<PathBuf>) -> Self {
        self.shipped = folder;
        self
    }

    /// Compiles a plugin, checks it against the interface, and asks it what it is.
    ///
    /// # Errors
    ///
    /// Says why it can't be used, and who can do something about it.
    pub fn load(&self, name: &str, bytes: &[u8]) -> Result<Plugin, Refusal> {
        let started = Instant::now();
        let extent = check(bytes, &self.limits)?;
        let sha256 = sha256(bytes);
        let (runner, component) = self.component(bytes, &sha256, extent)?;
        let pages = component.resources_required().and_then(|needs| needs.max_initial_memory_size);
        let wanted = pages.unwrap_or(0).saturating_mul(WASM_PAGE_BYTES);
        if wanted > self.limits.guest_memory_bytes {
            let max = self.limits.guest_memory_bytes;
            return Err(Refusal::InitialMemory { bytes: wanted, max });
        }
        let pre = runner.linker.instantiate_pre(&component).map_err(Refusal::Link)?;
        let pre = bindings::PluginPre::new(pre).map_err(Refusal::Link)?;
        let types = component.component_type();
        let imports = types.imports(&runner.engine).map(|(name, _)| name.to_owned()).collect();
        let mut plugin = Plugin {
            name: name.to_owned(),
            sha256,
            bytes: bytes.len() as u64,
            cost: extent.cost,
            initial_memory_bytes: wanted,
            compiled_in: started.elapsed(),
            imports,
            info: Info { version: String::new(), reads: None, tables: Vec::new() },
            projection: Projection::of([None]),
            counts: self.counts,
            engine: runner.engine.clone(),
            pre,
            limits: self.limits.clone(),
        };
        plugin.info = plugin.describe().map_err(Refusal::Describe)?.into();
        let faults = plugin.info.faults();
        if !faults.is_empty() {
            return Err(Refusal::Schema { faults });
        }
        plugin.projection = Projection::of([plugin.info.reads.as_deref()]);
        Ok(plugin)
    }

    /// Refuses a file for its size, before it is read.
    ///
    /// # Errors
    ///
    /// If it is over the limit.
    pub fn check_size(&self, bytes: u64) -> Result<(), Refusal> {
        let max = self.limits.plugin_bytes;
        if bytes > max { Err(Refusal::TooLarge { max }) } else { Ok(()) }
    }

    /// Whether loading this file means compiling it: it can be a plugin, and its code neither came with the
    /// program nor was kept.
    pub fn must_compile(&self, bytes: &[u8], sha256: &str) -> bool {
        let is_shipped =
            self.shipped.as_ref().is_some_and(|folder| folder.join(code_file(sha256)).is_file());
        let is_kept = || {
            let cache = self.cache.as_ref().zip(self.runners.any().ok());
            cache.is_some_and(|(cache, maker)| cache.find(maker, sha256).is_some())
        };
        !is_shipped
            && !is_kept()
            && check(bytes, &self.limits)
                .is_ok_and(|extent| self.can_compile(bytes, extent).is_ok())
    }

    /// Refuses what is too much to be compiled here.
    fn can_compile(&self, bytes: &[u8], extent: Extent) -> Result<(), Refusal> {
        let (size, max) = (bytes.len() as u64, self.limits.compile_bytes);
        if size > max {
            return Err(Refusal::TooLargeToCompile { bytes: size, max });
        }
        check_cost(extent.cost, &self.limits)
    }

    /// A plugin's code, and where it runs: as it came with the program, or as it was compiled before, for
    /// which it was checked against the interface then; or compiled now.
    fn component(
        &self,
        bytes: &[u8],
        sha256: &str,
        extent: Extent,
    ) -> Result<(&Runner, Component), Refusal> {
        if let Some(file) = self.shipped.as_ref().map(|folder| folder.join(code_file(sha256)))
            && file.is_file()
        {
            // SAFETY: the file came with this program, which is no more to be trusted, and lies where
            // nobody else writes.
            let read = |engine: &_| unsafe { Component::deserialize_file(engine, &file) };
            match self.runners.make(extent, |engine| read(engine).map_err(Refusal::Invalid)) {
                Ok(made) => return Ok(made),
                Err(refusal) => tracing::warn!("`{}` is of no use: {refusal}", file.display()),
            }
        }
        self.can_compile(bytes, extent)?;
        let maker = self.runners.any().map_err(Refusal::Invalid)?;
        if let Some(code) = self.cache.as_ref().and_then(|cache| cache.find(maker, sha256)) {
            let read = |engine: &_| code.component(engine).map_err(Refusal::Invalid);
            if let Ok(made) = self.runners.make(extent, read) {
                return Ok(made);
            }
        }
        conformance::check(bytes)?;
        let whole: Arc<[u8]> = bytes.into();
        let made =
            self.runners.make(extent, |engine| self.compiled(engine, &whole, extent.cost))?;
        if let Some(cache) = &self.cache {
            cache.keep(maker, sha256, &made.1);
        }
        Ok(made)
    }

    /// Compiles a plugin when there is memory for it beside the others that are being compiled. That can't be
    /// interrupted: what takes too long goes on in its own thread, to no effect, for as long as the program
    /// runs, and keeps its part of the memory for as long.
    fn compiled(
        &self,
        engine: &wasmtime::Engine,
        bytes: &Arc<[u8]>,
        cost: Cost,
    ) -> Result<Component, Refusal> {
        let (engine, bytes) = (engine.clone(), Arc::clone(bytes));
        let seconds_max = self.limits.compile_seconds;
        let patience = Duration::from_secs(seconds_max);
        let memory = self.compiling.take(cost.memory_bytes, patience);
        let memory = memory.ok_or(Refusal::CompilerBusy { seconds_max })?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let component = Component::from_binary(&engine, &bytes);
            drop(memory);
            sender.send(component)
        });
        match receiver.recv_timeout(patience) {
            Ok(component) => component.map_err(Refusal::Invalid),
            Err(RecvTimeoutError::Timeout) => Err(Refusal::CompileTime { seconds_max }),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Refusal::Invalid(wasmtime::Error::msg("the compiler panics over it")))
            }
        }
    }
}

/// Compiles a plugin for every machine with this one's kind of processor, whatever this one can do
/// beyond the others. Gives the name and the content of the file that [`Engine::with_shipped`] finds.
///
/// # Errors
///
/// Says why it can't be a plugin.
pub fn precompile(bytes: &[u8], limits: &Limits) -> Result<(String, Vec<u8>), Refusal> {
    let extent = check(bytes, limits)?;
    check_cost(extent.cost, limits)?;
    conformance::check(bytes)?;
    let mut config = settings();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let engine = config.target(&target).and_then(|config| wasmtime::Engine::new(config));
    let code = engine.and_then(|engine| engine.precompile_component(bytes));
    Ok((code_file(&sha256(bytes)), code.map_err(Refusal::Invalid)?))
}

fn code_file(sha256: &str) -> String {
    format!("{sha256}.cwasm")
}

/// Refuses what can't be a plugin, as far as that is known without compiling it.
fn check(bytes: &[u8], limits: &Limits) -> Result<Extent, Refusal> {
    check_bytes(bytes, limits)?;
    extent::check(bytes, limits.plugin_bytes)
}

/// Refuses what takes too much to compile.
fn check_cost(cost: Cost, limits: &Limits) -> Result<(), Refusal> {
    match cost.exceeded(limits) {
        Some(setting) => Err(Refusal::TooCostly { cost, setting }),
        None => Ok(()),
    }
}

/// What can be told without compiling.
fn check_bytes(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let max = limits.plugin_bytes;
    if bytes.len() as u64 > max {
        return Err(Refusal::TooLarge { max });
    }
    if bytes.is_empty() {
        return Err(Refusal::Empty);
    }
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        return Err(Refusal::Precompiled);
    }
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(Refusal::CoreModule),
        _ => Err(Refusal::NotWasm),
    }
}

impl Plugin {
    /// Its name: that of its file, without `.wasm`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The SHA-256 of its file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The size of its file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What compiling it takes, as estimated.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// The memory that it begins with, in bytes.
    pub fn initial_memory_bytes(&self) -> u64 {
        self.initial_memory_bytes
    }

    /// How long checking and compiling took, or fetching what was compiled before.
    pub fn compiled_in(&self) -> Duration {
        self.compiled_in
    }

    /// What it imports.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Its version, as its author counts.
    pub fn version(&self) -> &str {
        &self.info.version
    }

    /// What it looks at in a page; none: at everything.
    pub fn reads(&self) -> Option<&[String]> {
        self.info.reads.as_deref()
    }

    /// The tables that it fills.
    pub fn tables(&self) -> &[Arc<TableSchema>] {
        &self.info.tables
    }

    /// Whether it fills a table of this name.
    pub fn fills(&self, table: &str) -> bool {
        self.info.tables.iter().any(|schema| schema.name == table)
    }
}

impl Info {
    fn faults(&self) -> Vec<String> {
        let mut faults = schema::faults(&self.tables);
        let plain = |text: &str| !text.chars().any(char::is_control) && text.len() <= 64;
        if self.version.is_empty() || !plain(&self.version) {
            faults.push("the version must be a word of 1 to 64 characters".to_owned());
        }
        let patterns = self.reads.as_deref().unwrap_or_default();
        let names: usize = patterns.iter().map(|pattern| pattern.split('.').count()).sum();
        if patterns.len() > READS_MAX
            || patterns.iter().any(|pattern| pattern.len() > 256)
            || names > READ_NAMES_MAX
        {
            faults.push(format!("`reads` may have {READS_MAX} patterns of 256 characters each, and {READ_NAMES_MAX} names in all of them"));
        }
        faults
    }
}

impl From<wit::Info> for Info {
    fn from(info: wit::Info) -> Self {
        let tables = info.tables.into_iter().map(|table| Arc::new(table.into())).collect();
        Info { version: info.version, reads: info.reads, tables }
    }
}

impl From<wit::Table> for TableSchema {
    fn from(table: wit::Table) -> Self {
        let column = |column: wit::Column| Column {
            name: column.name,
            column_type: match column.type_ {
                wit::ColumnType::Text => ColumnType::Text,
                wit::ColumnType::Int64 => ColumnType::Int64,
                wit::ColumnType::Float64 => ColumnType::Float64,
                wit::ColumnType::Boolean => ColumnType::Boolean,
                wit::ColumnType::Date => ColumnType::Date,
                wit::ColumnType::Timestamp => ColumnType::Timestamp,
            },
            nullable: column.nullable,
            description: column.description,
        };
        TableSchema {
            name: table.name,
            description: table.description,
            scope: match table.scope {
                wit::Scope::Snapshot => Scope::Snapshot,
                wit::Scope::Entity => Scope::Entity,
            },
            columns: table.columns.into_iter().map(column).collect(),
            key: table.key,
        }
    }
}

/// Why plugins can't be run at all.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The folder for compiled plugins.
    #[error(
        "could not use `{folder}` ({cause}) to keep compiled plugins (name another with --cache-dir, or `none`)"
    )]
    Cache {
        /// The folder.
        folder: String,
        /// Why.
        cause: io::Error,
    },
    /// The machine.
    #[error(
        "WebAssembly can't be run on this machine: {0} (it needs address space, see `ulimit -v`, and a processor that wasmtime knows)"
    )]
    Setup(String),
}

/// Why a file is not used as a plugin.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No bytes.
    #[error("the file is empty (upload it again)")]
    Empty,
    /// Not WebAssembly at all.
    #[error(
        "not WebAssembly: it does not begin with `\\0asm` (a plugin is a component built for wasm32-wasip2)"
    )]
    NotWasm,
    /// WebAssembly of the older kind.
    #[error(
        "a core module, not a component (its author builds it for wasm32-wasip2, or wraps it with `wasm-tools component new`)"
    )]
    CoreModule,
    /// Machine code.
    #[error("precompiled machine code, which is never run (upload the .wasm that it was made of)")]
    Precompiled,
    /// Over the limit.
    #[error("larger than the limit of {} for a plugin (raise it with --limit plugin_bytes=...)",
        Bytes(*.max))]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// More than this machine can compile in time.
    #[error(
        "its file has {}, and no more than {} are compiled here, for want of time and memory (raise it with --limit compile_bytes=...; for a function, give it more memory, or send the compiled code with it: `spotify-etl plugin compile`)", Bytes(*.bytes), Bytes(*.max)
    )]
    TooLargeToCompile {
        /// What it has.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// More than may be spent on compiling it.
    #[error(
        "compiling it takes {cost}, which exceeds a limit (raise it with --limit {setting}; for a function, give it more memory, or send the compiled code with it: `spotify-etl plugin compile`; its author makes it smaller)"
    )]
    TooCostly {
        /// What it takes.
        cost: Cost,
        /// The limit to set, and the least value that will do.
        setting: String,
    },
    /// Other plugins were being compiled for too long.
    #[error(
        "it was not compiled, since there was no memory left beside other plugins that are being compiled, for {seconds_max} s (try again, or raise --limit compile_memory_bytes=...)"
    )]
    CompilerBusy {
        /// How long it waited.
        seconds_max: u64,
    },
    /// Parts in parts, or types in types.
    #[error(
        "its parts, or their types, lie in one another more than {max} levels deep (its author composes it of fewer)"
    )]
    TooDeep {
        /// How deep they may lie.
        max: usize,
    },
    /// Small as a file, and not once it is put together.
    #[error(
        "put together, with each of its parts as often as it is instantiated, it has more than {}, the limit for a plugin, or can't be told (its author composes it of fewer)", Bytes(*.max)
    )]
    Unfolds {
        /// The limit.
        max: u64,
    },
    /// Its code takes the compiler too long.
    #[error(
        "its code was not compiled after {seconds_max} s, the limit (raise it with --limit compile_seconds=...; its author makes its functions smaller)"
    )]
    CompileTime {
        /// The limit.
        seconds_max: u64,
    },
    /// Damaged.
    #[error(
        "not a whole or valid component: {} (upload it again, or have its author build it again)", call::quote(&format!("{:#}", .0))
    )]
    Invalid(wasmtime::Error),
    /// It is a component, of another interface.
    #[error("{}", .problems.join("; "))]
    Interface {
        /// Everything that departs from the interface, in words.
        problems: Vec<String>,
    },
    /// It conforms, and yet can't be linked.
    #[error(
        "it can't be linked with this host: {} (have its author build it against this host's wit/)", call::quote(&format!("{:#}", .0))
    )]
    Link(wasmtime::Error),
    /// It asks for more memory than it may have.
    #[error("it asks for {} of memory at once, and the limit is {} (raise it with --limit guest_memory_bytes=...)", Bytes(*.bytes), Bytes(*.max))]
    InitialMemory {
        /// What it asks for.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// It could not say what it is.
    #[error("asked what it is, it {0}")]
    Describe(CallError),
    /// What it says it is makes no tables.
    #[error("it declares tables that can't be: {}", .faults.join("; "))]
    Schema {
        /// Every fault.
        faults: Vec<String>,
    },
}

impl Refusal {
    /// Whether it says nothing about the plugin: another time, or on another machine, it may be accepted.
    pub fn is_transient(&self) -> bool {
        let is_in_time =
            !matches!(self, Refusal::CompilerBusy { .. } | Refusal::Describe(CallError::NoTime));
        !is_in_time || self.of_machine().is_some()
    }

    /// What keeps the machine from running it, if that is why: what the plugin is was not found out.
    pub fn of_machine(&self) -> Option<String> {
        match self {
            Refusal::Describe(CallError::Machine { cause }) => Some(cause.clone()),
            Refusal::Invalid(error) => call::of_machine(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_reads_has_a_limit_that_the_host_can_bear() {
        let faults = |reads: &[String]| {
            let reads = Some(reads.to_vec());
            Info { version: "1".to_owned(), reads, tables: Vec::new() }.faults().join("; ")
        };
        let most = vec!["a.b".to_owned(); READS_MAX];
        assert!(!faults(&most).contains("`reads`"));
        let longer = vec!["a.b.c".to_owned(); READS_MAX];
        for reads in [[most, vec!["a".to_owned()]].concat(), longer, vec!["a".repeat(257)]] {
            assert!(faults(&reads).contains("`reads` may have 1000 patterns"));
        }
    }
}
