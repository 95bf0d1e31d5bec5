//! What runs code: wasmtime, set up for plugins of which each call has an instance of its own.

use std::{sync::OnceLock, thread, time::Duration};

use wasmtime::{
    Config, Enabled, Engine, PoolingAllocationConfig, Result,
    component::{Component, Linker},
};

use super::{
    Refusal,
    extent::Extent,
    sandbox::{self, Guest},
};

/// How often running plugins are looked at for their time being up.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// How many calls there is room for at a time: as many as threads that wait for one, at most (tokio's
/// limit).
const CALLS_MAX: u32 = 512;
/// How much of what was written to a memory stays for the next call, emptied, in bytes: what a plugin in
/// Rust takes for a playlist of some hundred entries. New memory costs more than all else in a short call.
const KEPT_BYTES: usize = 2 << 20;
/// The same of a function table: to give its pages back interrupts all processors.
const KEPT_TABLE_BYTES: usize = 16 << 10;
/// How many memories that nobody uses are kept for the component that used them before.
const KEPT_MAX: u32 = 16;

/// How many elements a function table may have that there is room for.
const ELEMENTS_MAX: u64 = 20_000;

/// An engine, with what plugins may import.
pub(super) struct Runner {
    pub engine: Engine,
    pub linker: Linker<Guest>,
}

/// Where plugins run: those of usual make in rooms that are ready, others in one that is built for each
/// call.
pub(super) struct Runners {
    config: Config,
    ready: Option<Runner>,
    built: OnceLock<Runner>,
}

impl Runners {
    pub fn new(config: Config) -> Result<Self> {
        // A machine may not have the addresses for it.
        let ready = Runner::new(config.clone().allocation_strategy(rooms())).ok();
        let runners = Runners { config, ready, built: OnceLock::new() };
        if runners.ready.is_none() {
            runners.built()?;
        }
        Ok(runners)
    }

    /// One of the engines: they make the same code.
    pub fn any(&self) -> Result<&Engine> {
        match &self.ready {
            Some(ready) => Ok(&ready.engine),
            None => Ok(&self.built()?.engine),
        }
    }

    /// Makes a component, and says where it runs.
    pub fn make(
        &self,
        extent: Extent,
        make: impl Fn(&Engine) -> Result<Component, Refusal>,
    ) -> Result<(&Runner, Component), Refusal> {
        if let Some(ready) = self.ready.as_ref().filter(|_| extent.table_elements <= ELEMENTS_MAX) {
            match make(&ready.engine) {
                Ok(component) => return Ok((ready, component)),
                // It has more parts than there is room for, or is none at all.
                Err(Refusal::Invalid(_)) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let built = self.built().map_err(Refusal::Invalid)?;
        Ok((built, make(&built.engine)?))
    }

    fn built(&self) -> Result<&Runner> {
        if let Some(built) = self.built.get() {
            return Ok(built);
        }
        let built = Runner::new(&self.config)?;
        Ok(self.built.get_or_init(|| built))
    }
}

impl Runner {
    fn new(config: &Config) -> Result<Self> {
        let engine = Engine::new(config)?;
        let linker = sandbox::linker(&engine)?;
        tick(&engine);
        Ok(Runner { engine, linker })
    }
}

/// What an engine is like. Whatever a later release of wasmtime has on by default, a plugin gets no
/// more than this. NaNs are made equal so that the same document gives the same bytes on every
/// processor.
pub(super) fn settings() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .wasm_relaxed_simd(false)
        .cranelift_nan_canonicalization(true)
        .epoch_interruption(true);
    config
}

/// Room for plugins of usual make: compilers give them a memory, and a handful of tables and modules.
fn rooms() -> PoolingAllocationConfig {
    const MEMORIES: u32 = 1;
    const TABLES: u32 = 4;
    const MODULES: u32 = 16;
    let mut rooms = PoolingAllocationConfig::new();
    rooms
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_core_instances_per_component(MODULES)
        .table_elements(ELEMENTS_MAX as usize)
        .total_component_instances(CALLS_MAX)
        .total_memories(CALLS_MAX * MEMORIES)
        .total_tables(CALLS_MAX * TABLES)
        .total_core_instances(CALLS_MAX * MODULES)
        .linear_memory_keep_resident(KEPT_BYTES)
        .table_keep_resident(KEPT_TABLE_BYTES)
        // What was never touched need not be emptied, where the kernel tells (Linux 6.7).
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(KEPT_MAX);
    rooms
}

/// Moves the engine's clock on, for as long as anybody uses it.
fn tick(engine: &Engine) {
    let engine = engine.weak();
    thread::spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    });
}
