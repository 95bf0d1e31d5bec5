//! Whether a component is a plugin: what it imports and exports against `wit/plugin.wit`, before
//! anything of it runs.

use std::sync::OnceLock;

use wac_types::{ItemKind, Package, Types, WorldId, validate_target};

use super::{INTERFACE, Refusal, bindings, call::quote};

/// How many departures from the interface are told.
const PROBLEMS_MAX: usize = 100;

/// The parts of WASI that are there to import, with nothing behind them.
const WASI_PACKAGES: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// Refuses a component that departs from the interface, and says in which ways and who can do
/// something about each.
pub fn check(bytes: &[u8]) -> Result<(), Refusal> {
    let (mut types, plugin) = target()?;
    let component = Package::from_bytes("plugin", None, bytes, &mut types).map_err(invalid)?;
    let Err(report) = validate_target(&types, plugin, component.ty()) else {
        return Ok(());
    };
    let exports: Vec<String> = types[component.ty()].exports.keys().cloned().collect();
    let imports = report.imports_not_in_target().filter(|import| !is_offered(import));
    let mut problems: Vec<String> = imports.map(foreign_import).collect();
    problems.extend(report.missing_exports().map(|(name, _)| missing_export(name, &exports)));
    let mismatches = report.mismatched_types().filter(|(name, ..)| !is_offered(name));
    problems.extend(mismatches.map(|(name, kind, error)| {
        let kind = format!("{kind:?}").to_lowercase();
        format!(
            "its {kind} `{name}` has another type than the host's: {} (its author builds it against \
             this host's wit/)",
            quote(&format!("{error:#}"))
        )
    }));
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    if more > 0 {
        problems.truncate(PROBLEMS_MAX);
        problems.push(format!("and {more} more"));
    }
    if problems.is_empty() { Ok(()) } else { Err(Refusal::Interface { problems }) }
}

/// The world that plugins are built for, as the host was compiled with it.
fn target() -> Result<(Types, WorldId), Refusal> {
    static TARGET: OnceLock<(Types, WorldId)> = OnceLock::new();
    if let Some((types, world)) = TARGET.get() {
        return Ok((types.clone(), *world));
    }
    let mut types = Types::default();
    let package =
        Package::from_bytes("wit", None, bindings::COMPONENT_TYPE, &mut types).map_err(invalid)?;
    // A world is encoded twice wrapped: in a component of its name, and that in the package.
    let world = world_in(&types, package.ty())
        .and_then(|named| world_in(&types, named))
        .ok_or_else(|| invalid(anyhow::anyhow!("no world in the host's own interface")))?;
    Ok(TARGET.get_or_init(|| (types, world)).clone())
}

/// The world of the component that this one exports.
fn world_in(types: &Types, outer: WorldId) -> Option<WorldId> {
    types[outer].exports.values().find_map(|item| match item {
        ItemKind::Type(wac_types::Type::World(world)) | ItemKind::Component(world) => Some(*world),
        _ => None,
    })
}

/// WASI's types are checked when the component is linked.
fn is_offered(import: &str) -> bool {
    WASI_PACKAGES.iter().any(|package| import.starts_with(package)) && import.contains("@0.2.")
}

fn foreign_import(import: &str) -> String {
    let why = if import.starts_with("wasi:http/") {
        "a plugin has no network; its author builds it without HTTP"
    } else if import.starts_with("spotify-etl:") {
        "another version of this interface; its author builds it against this host's wit/, or the \
         host is updated"
    } else {
        "its author builds it without, since a plugin sees nothing but its document"
    };
    let import = quote(import);
    format!("it imports `{import}`, which the host does not offer ({why})")
}

fn missing_export(name: &str, exports: &[String]) -> String {
    let interface = |name: &str| name.split('@').next().map(str::to_owned);
    let other = exports.iter().find(|export| interface(export) == interface(INTERFACE));
    match other {
        Some(other) => format!(
            "it exports `{}`, and the host accepts `{name}` (build it against this host's wit/, or \
             update the host)",
            quote(other)
        ),
        None => format!(
            "it does not export `{name}` (its author implements the interface in this host's wit/)"
        ),
    }
}

fn invalid(error: anyhow::Error) -> Refusal {
    Refusal::Invalid(wasmtime::Error::from_anyhow(error))
}
