//! How far a component goes once it is put together, told before anything else is done with it.
//!
//! A few lines can ask for a part twice that asks for a part twice, and so on: whoever puts that
//! together runs out of memory, the compiler first. And whoever follows types that lie in one another
//! without end runs out of stack, which ends the host.

use wasmparser::{
    BinaryReader, ComponentAlias, ComponentExternalKind, ComponentImport, ComponentInstance,
    ComponentOuterAliasKind, ComponentType, ComponentTypeRef, CoreType, Encoding, FromReader,
    Instance, Parser, Payload, Result,
};

use super::{
    Refusal,
    cost::{Cost, Estimate},
};

/// How deep components, or types, may lie in one another. What compilers write has a handful of
/// levels.
const LEVELS_MAX: usize = 50;
/// What an instance takes beside the bytes of what it is made of.
const INSTANCE_BYTES: u64 = 1024;
/// How far goes what is handed in from outside: it may be anything.
const UNKNOWN: u64 = u64::MAX;

/// What a component may take beside memory.
#[derive(Clone, Copy, Default)]
pub struct Extent {
    /// How many elements the largest of its function tables may come to have.
    pub table_elements: u64,
    /// What compiling it takes.
    pub cost: Cost,
}

/// Refuses a component that is too deep, or too much with each part as often as it is asked for.
pub fn check(bytes: &[u8], max: u64) -> Result<Extent, Refusal> {
    let mut extent = Extent::default();
    let mut open: Vec<Part> = Vec::new();
    let mut estimate = Estimate::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        estimate.note(&payload).map_err(invalid)?;
        match payload {
            Payload::Version { .. } if open.len() >= LEVELS_MAX => return Err(TOO_DEEP),
            Payload::Version { encoding, .. } => {
                let is_component = encoding == Encoding::Component;
                open.push(Part { is_component, ..Part::default() });
            }
            Payload::End(_) => {
                let Some(done) = open.pop() else { break };
                match open.last_mut() {
                    Some(around) if done.is_component => around.components.push(done.extent),
                    None if done.extent > max => return Err(Refusal::Unfolds { max }),
                    _ => {}
                }
            }
            payload => {
                if let Payload::TableSection(tables) = &payload {
                    for table in tables.clone() {
                        let elements = table.map_err(invalid)?.ty.maximum.unwrap_or(u64::MAX);
                        extent.table_elements = extent.table_elements.max(elements);
                    }
                }
                if let Some((part, around)) = open.split_last_mut() {
                    part.note(&payload, around).map_err(invalid)?;
                }
                if are_types_too_deep(&payload, bytes).map_err(invalid)? {
                    return Err(TOO_DEEP);
                }
            }
        }
    }
    extent.cost = estimate.cost(bytes.len() as u64);
    Ok(extent)
}

const TOO_DEEP: Refusal = Refusal::TooDeep { max: LEVELS_MAX };

fn invalid(error: wasmparser::Error) -> Refusal {
    Refusal::Invalid(wasmtime::Error::new(error))
}

/// A component that is being read; or a module, of which nothing is to be known.
#[derive(Default)]
struct Part {
    is_component: bool,
    /// How far each of its components goes, in the order in which it counts them.
    components: Vec<u64>,
    /// The same of its modules.
    modules: Vec<u64>,
    /// How far it goes itself.
    extent: u64,
}

impl Part {
    /// Takes note of what a section says.
    fn note(&mut self, payload: &Payload<'_>, around: &[Part]) -> Result<()> {
        match payload {
            // What lies in it counts when it is instantiated.
            Payload::ComponentSection { .. } => return Ok(()),
            Payload::ModuleSection { unchecked_range: range, .. } => {
                self.modules.push(range.end.saturating_sub(range.start));
                return Ok(());
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    match import?.ty {
                        ComponentTypeRef::Component(_) => self.components.push(UNKNOWN),
                        ComponentTypeRef::Module(_) => self.modules.push(UNKNOWN),
                        _ => {}
                    }
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(&alias?, around);
                }
            }
            Payload::ComponentExportSection(section) => {
                // What is exported has an index more.
                for export in section.clone() {
                    let export = export?;
                    match export.kind {
                        ComponentExternalKind::Component => {
                            again(&mut self.components, export.index)
                        }
                        ComponentExternalKind::Module => again(&mut self.modules, export.index),
                        _ => {}
                    }
                }
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        self.instantiate(of(&self.modules, module_index));
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        self.instantiate(of(&self.components, component_index));
                    }
                }
            }
            _ => {}
        }
        let section = payload.as_section().map_or(0..0, |(_, range)| range);
        self.extent = self.extent.saturating_add(section.end.saturating_sub(section.start));
        Ok(())
    }

    fn instantiate(&mut self, extent: u64) {
        self.extent = self.extent.saturating_add(extent).saturating_add(INSTANCE_BYTES);
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>, around: &[Part]) {
        match *alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                self.components.push(UNKNOWN);
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => {
                self.modules.push(UNKNOWN);
            }
            ComponentAlias::Outer { kind, count, index } => {
                let outer = match (count as usize).checked_sub(1) {
                    None => Some(&*self),
                    Some(further) => around.iter().rev().nth(further),
                };
                let component = outer.map_or(UNKNOWN, |part| of(&part.components, index));
                let module = outer.map_or(UNKNOWN, |part| of(&part.modules, index));
                match kind {
                    ComponentOuterAliasKind::Component => self.components.push(component),
                    ComponentOuterAliasKind::CoreModule => self.modules.push(module),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn of(extents: &[u64], index: u32) -> u64 {
    extents.get(index as usize).copied().unwrap_or(UNKNOWN)
}

fn again(extents: &mut Vec<u64>, index: u32) {
    extents.push(of(extents, index));
}

/// Whether types of a section lie in one another too deep, found without a call in a call for each
/// level.
fn are_types_too_deep(payload: &Payload<'_>, bytes: &[u8]) -> Result<bool> {
    let Payload::ComponentTypeSection(section) = payload else { return Ok(false) };
    let range = section.range();
    let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    let section = bytes.get(place(range.start)..place(range.end)).unwrap_or_default();
    let mut reader = BinaryReader::new(section, range.start);
    // How many are still to be read on each level.
    let mut left = vec![reader.read_var_u32()?];
    while let Some(count) = left.last_mut() {
        if *count == 0 {
            left.pop();
            continue;
        }
        *count -= 1;
        let is_in_type = left.len() > 1;
        match if is_in_type { reader.read_u8()? } else { TYPE } {
            TYPE => {
                let mut inner = reader.clone();
                match inner.read_u8()? {
                    COMPONENT | INSTANCE if left.len() >= LEVELS_MAX => return Ok(true),
                    COMPONENT | INSTANCE => {
                        left.push(inner.read_var_u32()?);
                        reader = inner;
                    }
                    _ => skip::<ComponentType<'_>>(&mut reader)?,
                }
            }
            CORE_TYPE => skip::<CoreType<'_>>(&mut reader)?,
            ALIAS => skip::<ComponentAlias<'_>>(&mut reader)?,
            // An import, or an export, which is written alike.
            _ => skip::<ComponentImport<'_>>(&mut reader)?,
        }
    }
    Ok(false)
}

fn skip<'a, T: FromReader<'a>>(reader: &mut BinaryReader<'a>) -> Result<()> {
    reader.read::<T>().map(|_| ())
}

/// What a declaration in a type begins with.
const CORE_TYPE: u8 = 0x00;
const TYPE: u8 = 0x01;
const ALIAS: u8 = 0x02;
/// What a type begins with that has declarations.
const COMPONENT: u8 = 0x41;
const INSTANCE: u8 = 0x42;
