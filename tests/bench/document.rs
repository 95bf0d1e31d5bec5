//! Where the time goes with one document, in microseconds of one processor: what the host does, and each
//! plugin as a component with all limits on beside the same code native.
//!
//! usage: document PLUGINS DOCUMENT... (the built components; files as `import` takes them)
//!
//! Round by round, with every document in turn: the native plugins, the components in their place, then all that a
//! replay does with CSV, then Parquet. What is beside a step is what is beside it there. Medians over the rounds are
//! shown.

#![allow(clippy::print_stdout, reason = "what is measured is said there")]

use std::{collections::BTreeMap, env, fs, hint::black_box, path::Path, time::Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use spotify_etl::{
    batch::RawExtraction,
    config::Limits,
    document::Document,
    layout::Format,
    pipeline::tried::{Tried, judge},
    plugin::{Engine, Plugin},
    projection::Projection,
    sources::{self, Origin},
    table::{MadeBy, Table, write},
};
use spotify_etl_plugin::{Plugin as NativePlugin, plugin::Document as NativeDocument};
use time::macros::datetime;

const ROUNDS: usize = 15;

fn main() -> Result<()> {
    // `cargo bench` and `cargo test` add options of their own.
    let arguments: Vec<String> = env::args().skip(1).filter(|one| !one.starts_with("--")).collect();
    let Some((plugins, files)) = arguments.split_first().filter(|(_, files)| !files.is_empty())
    else {
        println!("usage: document PLUGINS DOCUMENT...");
        return Ok(());
    };
    let limits = Limits::default();
    let landed = files.iter().map(|file| landed(Path::new(file), &limits));
    let landed = landed.collect::<Result<Vec<_>>>()?;
    let cache = tempfile::TempDir::new()?;
    let mut table = Times::default();
    let load = |name: &str| {
        let bytes = fs::read(Path::new(plugins).join(format!("{name}.wasm")))?;
        anyhow::Ok(Engine::new(&limits, Some(cache.path()))?.load(name, &bytes)?)
    };
    let names = ["album", "artist", "snapshot", "song"];
    for name in names {
        table.add("compile a plugin", || load(name))?;
    }
    let mut loaded = Vec::new();
    for _ in 0..ROUNDS {
        loaded.clear();
        for name in names {
            let bytes = fs::read(Path::new(plugins).join(format!("{name}.wasm")))?;
            let engine = Engine::new(&limits, Some(cache.path()))?;
            loaded.push(table.add("load a plugin that was compiled before", || {
                anyhow::Ok(engine.load(name, &bytes)?)
            })?);
        }
    }
    let projection = Projection::of(loaded.iter().map(Plugin::reads));
    let documents: Vec<_> =
        landed.iter().map(|bytes| read(bytes, &limits)).collect::<Result<_>>()?;
    for _ in 0..ROUNDS {
        for document in &documents {
            let cut = projection.cut(document.pages());
            table.native::<album::AlbumPlugin>("album", document, &cut.pages_for(0))?;
            table.native::<artist::ArtistPlugin>("artist", document, &cut.pages_for(1))?;
            table.native::<snapshot::Snapshot>("snapshot", document, &cut.pages_for(2))?;
            table.native::<song::Song>("song", document, &cut.pages_for(3))?;
        }
        let call = |plugin: &Plugin, document: &Document, pages: &[&str]| {
            anyhow::Ok(plugin.extract_from(document, pages, None).0?)
        };
        for document in &documents {
            let cut = projection.cut(document.pages());
            for (place, plugin) in loaded.iter().enumerate() {
                let (step, pages) =
                    (format!("{}, as a component", plugin.name()), cut.pages_for(place));
                table.add(&step, || call(plugin, document, &pages))?;
            }
        }
        let mut made = Vec::new();
        for bytes in &landed {
            let document = table.add("read and check the document", || read(bytes, &limits))?;
            let cut = table.add("cut its pages", || Ok(projection.cut(document.pages())))?;
            let mut all = Vec::new();
            for (place, plugin) in loaded.iter().enumerate() {
                let (step, pages) =
                    (format!("{}, in a replay", plugin.name()), cut.pages_for(place));
                all.push((plugin, table.add(&step, || call(plugin, &document, &pages))?));
            }
            let tables = table.add("check the rows", || check(all, &limits))?;
            table.add("write five tables as CSV", || encode(&tables, &document, Format::Csv))?;
            made.push(tables);
        }
        for (document, tables) in documents.iter().zip(&made) {
            table.add("write five tables as Parquet", || {
                encode(tables, document, Format::Parquet)
            })?;
        }
    }
    table.show(landed.len());
    Ok(())
}

fn landed(file: &Path, limits: &Limits) -> Result<Bytes> {
    let name = file.file_name().context("a file")?.to_string_lossy();
    let modified = datetime!(2026-07-06 06:00 UTC);
    let read = sources::read(&fs::read(file)?.into(), &Origin::of(&name, modified), limits)?;
    Ok(read.document.to_bytes().into())
}

fn read(bytes: &Bytes, limits: &Limits) -> Result<Document> {
    let modified = datetime!(2026-07-06 06:00 UTC);
    Ok(sources::read_again(bytes, &Origin::of("landed", modified), limits)?.document)
}

fn check<'p>(
    extractions: Vec<(&'p Plugin, RawExtraction)>,
    limits: &Limits,
) -> Result<Vec<(&'p Plugin, Vec<Table>)>> {
    let tables = extractions.into_iter().map(|(plugin, extraction)| {
        match judge(plugin, Ok(extraction), limits) {
            Ok(Tried::Tables(tables, _)) => Ok((plugin, tables)),
            Ok(Tried::Unsupported(why)) => anyhow::bail!(why),
            Err(problem) => anyhow::bail!(problem.message),
        }
    });
    tables.collect()
}

fn encode(tables: &[(&Plugin, Vec<Table>)], document: &Document, format: Format) -> Result<usize> {
    let mut bytes = 0;
    for (plugin, tables) in tables {
        let made_by = MadeBy { name: plugin.name(), sha256: plugin.sha256() };
        for table in tables {
            bytes += write(table, document.id(), format, made_by, u64::MAX)?.bytes.len();
        }
    }
    Ok(bytes)
}

/// Microseconds of each step, one for each time that it was done.
#[derive(Default)]
struct Times {
    order: Vec<String>,
    taken: BTreeMap<String, Vec<f64>>,
}

impl Times {
    fn add<T>(&mut self, step: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        let done = black_box(action()?);
        let taken = started.elapsed().as_secs_f64() * 1e6;
        if !self.taken.contains_key(step) {
            self.order.push(step.to_owned());
        }
        self.taken.entry(step.to_owned()).or_default().push(taken);
        Ok(done)
    }

    fn native<P: NativePlugin>(
        &mut self,
        name: &str,
        document: &Document,
        pages: &[&str],
    ) -> Result<()> {
        let handed = NativeDocument {
            playlist_id: document.id().playlist_id.to_string(),
            playlist_name: document.playlist_name().map(str::to_owned),
            playlist_owner: document.playlist_owner().map(str::to_owned),
            snapshot_id: document.snapshot_id().map(str::to_owned),
            extracted_at: document.id().extracted_at.moment().unix_timestamp(),
            complete: document.complete(),
            pages: pages.iter().map(ToString::to_string).collect(),
        };
        let extract = || P::extract(&handed).map_err(|why| anyhow::anyhow!("{why:?}"));
        self.add(&format!("{name}, native"), extract)?;
        Ok(())
    }

    fn median(&self, step: &str) -> f64 {
        let mut taken = self.taken.get(step).cloned().unwrap_or_default();
        taken.sort_by(f64::total_cmp);
        taken.get(taken.len() / 2).copied().unwrap_or_default()
    }

    fn show(&self, documents: usize) {
        println!("{documents} documents, {ROUNDS} rounds\n");
        println!("| step | µs |\n|---|---|");
        for step in &self.order {
            println!("| {step} | {:.0} |", self.median(step));
        }
        let sum = |end: &str| -> f64 {
            let steps = self.order.iter().filter(|step| step.ends_with(end));
            steps.map(|step| self.median(step)).sum()
        };
        let (native, component) = (sum(", native"), sum(", as a component"));
        let in_replay = sum(", in a replay");
        let host = ["read and check the document", "cut its pages", "check the rows"];
        let host: f64 = host.iter().map(|step| self.median(step)).sum();
        let host = host + self.median("write five tables as CSV");
        println!("\nthe host, without the store: {host:.0} µs");
        println!(
            "all plugins: {native:.0} µs native, {component:.0} as components: {:.2} times; {in_replay:.0} in a replay",
            component / native
        );
    }
}
