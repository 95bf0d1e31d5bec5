//! What a plugin finds around it: memory up to a limit, a log, and a WASI with nothing behind it.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};
use wasmtime::{
    ResourceLimiter, Store,
    component::{HasData, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxView, WasiView,
    clocks::HostWallClock,
    p2::{
        DynPollable, Pollable, add_to_linker_sync, bindings::clocks::monotonic_clock,
        pipe::MemoryOutputPipe, subscribe,
    },
};

use super::bindings::spotify_etl::plugin::log;
use crate::{config::Limits, document::DocumentId};

/// How many ticks a call may take: more than a machine stays up.
const TICKS_MAX: u64 = u32::MAX as u64 * 100;
/// How many things (streams, timers) a plugin may hold open.
const RESOURCES_MAX: usize = 1_000;
/// What an element of a function table takes of the memory, at least.
const TABLE_ELEMENT_BYTES: u64 = 8;
/// How many memories, tables and instances a plugin may be made of.
const PARTS_MAX: usize = 1_000;
/// How many random bytes a plugin gets at once.
const RANDOM_BYTES_MAX: u64 = 64 * 1024;

/// What a call sees of the document before it reads it.
pub struct Surroundings {
    /// The time that its clock shows, in seconds since 1970-01-01T00:00:00Z.
    pub unix_seconds: u64,
    /// What its random numbers follow from.
    pub seed: Seed,
}

/// What random numbers follow from, as a text.
pub enum Seed {
    /// No document, always the same: the plugin is asked what it is.
    Describe,
    /// A document, by its id and the SHA-256 of its pages.
    Document(DocumentId, String),
}

/// The host's side of one call.
pub struct Guest {
    surroundings: Surroundings,
    /// Made when it is looked for: most calls never do.
    wasi: Option<WasiCtx>,
    resources: ResourceTable,
    /// What was written to standard output and error: where a panic leaves its message.
    pub output: MemoryOutputPipe,
    /// The memory it has, and what it was refused.
    pub memory: Memory,
    log: Log,
}

/// How much memory a plugin has and may have.
pub struct Memory {
    /// What it has. It never gives any back.
    pub bytes: u64,
    bytes_max: u64,
    /// What it would have had in all, when it was refused.
    pub refused_bytes: Option<u64>,
}

struct Log {
    plugin: String,
    bytes_left: usize,
}

/// The store of one call that may take this long, with all limits on.
pub fn store(
    engine: &wasmtime::Engine,
    plugin: &str,
    surroundings: Surroundings,
    (limits, time): (&Limits, Duration),
) -> Store<Guest> {
    let log_bytes = usize::try_from(limits.log_bytes).unwrap_or(usize::MAX);
    let output = MemoryOutputPipe::new(log_bytes);
    let mut resources = ResourceTable::new();
    resources.set_max_capacity(RESOURCES_MAX);
    let memory = Memory { bytes: 0, bytes_max: limits.guest_memory_bytes, refused_bytes: None };
    let log = Log { plugin: plugin.to_owned(), bytes_left: log_bytes };
    let mut store =
        Store::new(engine, Guest { surroundings, wasi: None, resources, output, memory, log });
    store.limiter(|guest| &mut guest.memory);
    store.set_hostcall_fuel(usize::try_from(limits.output_bytes).unwrap_or(usize::MAX));
    let ticks = time.as_millis() / super::runner::TICK.as_millis();
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX).clamp(1, TICKS_MAX));
    store
}

/// A WASI with nothing behind it.
fn nothing_behind(surroundings: &Surroundings, output: &MemoryOutputPipe) -> WasiCtx {
    let mut numbers = surroundings.seed.numbers();
    WasiCtx::builder()
        .wall_clock(StoppedClock(Duration::from_secs(surroundings.unix_seconds)))
        .insecure_random_seed(u128::from(numbers.next_u64()))
        .insecure_random(StdRng::seed_from_u64(numbers.next_u64()))
        .secure_random(numbers)
        .max_random_size(RANDOM_BYTES_MAX)
        .stdout(output.clone())
        .stderr(output.clone())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// Everything that a plugin may import.
pub fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    add_to_linker_sync(&mut linker)?;
    // WASI's own clock would let a plugin sleep in the host, where no deadline reaches it.
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<Guest, StoppedTime>(&mut linker, |guest| guest)?;
    linker.allow_shadowing(false);
    log::add_to_linker::<Guest, GuestLog>(&mut linker, |guest| guest)?;
    Ok(linker)
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Guest { surroundings, wasi, resources, output, .. } = self;
        let ctx = wasi.get_or_insert_with(|| nothing_behind(surroundings, output));
        WasiCtxView { ctx, table: resources }
    }
}

impl Memory {
    /// Adds to what the plugin has, if it may have it.
    fn grow(&mut self, by_bytes: u64) -> bool {
        let bytes = self.bytes.saturating_add(by_bytes);
        let granted = bytes <= self.bytes_max;
        if granted {
            self.bytes = bytes;
        } else {
            self.refused_bytes = Some(bytes);
        }
        granted
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow((desired - current) as u64))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow((desired - current) as u64 * TABLE_ELEMENT_BYTES))
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }
}

struct GuestLog;

impl HasData for GuestLog {
    type Data<'a> = &'a mut Guest;
}

impl log::Host for Guest {
    fn log(&mut self, level: log::Level, message: String) {
        let Log { plugin, bytes_left } = &mut self.log;
        if *bytes_left == 0 {
            return;
        }
        // A line costs something even if it is empty.
        let whole = message.len() < *bytes_left;
        let shown = message.get(..message.floor_char_boundary(*bytes_left)).unwrap_or_default();
        *bytes_left = bytes_left.saturating_sub(shown.len() + 1);
        // A plugin has one line for each call, and no way to steer a terminal.
        let shown: String = shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match level {
            log::Level::Debug => tracing::debug!(plugin, "{shown}"),
            log::Level::Info => tracing::info!(plugin, "{shown}"),
            log::Level::Warn => tracing::warn!(plugin, "{shown}"),
            log::Level::Error => tracing::error!(plugin, "{shown}"),
        }
        if !whole {
            *bytes_left = 0;
            tracing::warn!(plugin, "logged more than it may (raise it with --limit log_bytes=...)");
        }
    }
}

/// A clock that shows one time.
struct StoppedClock(Duration);

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

/// Time that stands still: whoever waits for a time has waited already.
struct StoppedTime;

impl HasData for StoppedTime {
    type Data<'a> = &'a mut Guest;
}

struct Always;

#[async_trait::async_trait]
impl Pollable for Always {
    async fn ready(&mut self) {}
}

impl monotonic_clock::Host for Guest {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(0)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_duration(0)
    }

    fn subscribe_duration(&mut self, _duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let always = self.resources.push(Always)?;
        subscribe(&mut self.resources, always)
    }
}

impl Seed {
    /// Numbers that look random, and follow from it.
    fn numbers(&self) -> StdRng {
        let text = match self {
            Seed::Describe => "describe".to_owned(),
            Seed::Document(id, sha256) => format!("{id}-{sha256}"),
        };
        let digest = Sha256::digest(text.as_bytes());
        StdRng::seed_from_u64(digest.first_chunk().copied().map_or(0, u64::from_be_bytes))
    }
}
