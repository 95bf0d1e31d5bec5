//! What compiling a component takes of memory and processor time, estimated from what is in it before
//! the compiler sees it.
//!
//! The size of a file says little: 150 KB of blocks that pass values on take the compiler 20 GB. The
//! estimate adds up what each kind of item was measured to take (wasmtime 48 on x86-64, one kind at a
//! time, from a hundred to a million items). Use it for bounds: real plugins take about two thirds
//! of the memory it says.

use std::fmt;

use wasmparser::{
    BlockType, CompositeInnerType, ElementItems, FunctionBody, Operator, Payload, Result, TypeRef,
};

use crate::config::{Bytes, Limits};

/// How many of the largest functions may be in the compiler's hands at the same time. More processors
/// than this come with more memory.
const COMPILED_AT_ONCE: usize = 8;
/// How much of what a function takes while it is compiled stays until all of them are.
const KEPT_DIVISOR: u64 = 10;
/// What a byte of the file takes: it is held several times, and data is copied into the code.
const OF_FILE_BYTE: Take = Take::new(4, 20);
/// What a byte of a function takes until all functions are compiled.
const OF_CODE_BYTE: Take = Take::new(12, 100);
const OF_FUNCTION: Take = Take::new(7_000, 70_000);
const OF_TYPE: Take = Take::new(10_500, 140_000);
const OF_IMPORT: Take = Take::new(1_100, 6_500);
const OF_EXPORT: Take = Take::new(750, 1_600);
const OF_GLOBAL: Take = Take::new(400, 3_500);
const OF_TABLE: Take = Take::new(2_000, 10_000);
const OF_DATA_SEGMENT: Take = Take::new(350, 2_600);
const OF_ELEMENT_SEGMENT: Take = Take::new(3_100, 9_000);
/// An element is a function that can be called from outside.
const OF_ELEMENT: Take = Take::new(2_650, 14_000);
/// Types, aliases, exports and adapters of the component itself.
const OF_COMPONENT_ITEM: Take = Take::new(1_500, 5_000);
const OF_LOCAL: Take = Take::new(8, 30);
/// An instruction that is one of the machine's, or none.
const OF_LIGHT: Take = Take::new(200, 400);
/// One with checks or conversions, and whatever is not known to be light.
const OF_INSTRUCTION: Take = Take::new(1_650, 4_600);
/// One that copies or fills memory.
const OF_BULK: Take = Take::new(4_500, 14_000);
const OF_CALL: Take = Take::new(2_000, 7_000);
/// One that the host helps with: growing memories, access to tables, calls through them.
const OF_HOST_CALL: Take = Take::new(20_000, 130_000);
/// A loop looks at the clock.
const OF_LOOP: Take = Take::new(13_000, 100_000);
const OF_BRANCH: Take = Take::new(1_500, 4_500);
const OF_JUMP_TARGET: Take = Take::new(300, 1_000);
/// A parameter or result of a call.
const OF_CALL_VALUE: Take = Take::new(600, 5_000);
/// A value that a block, loop or branch passes on.
const OF_BLOCK_VALUE: Take = Take::new(2_500, 8_000);
/// A variable in a loop.
const OF_LOOP_VARIABLE: Take = Take::new(130, 1_000);
/// The same once more for each loop that the loop is in.
const OF_NESTED_VARIABLE: Take = Take::new(25, 3_500);
/// A variable at a branch.
const OF_BRANCH_VARIABLE: Take = Take::new(8, 50);

/// Memory in bytes, processor time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Take {
    memory: u64,
    nanoseconds: u64,
}

impl Take {
    const fn new(memory: u64, nanoseconds: u64) -> Self {
        Take { memory, nanoseconds }
    }

    fn add(&mut self, count: u64, each: Take) {
        self.memory = self.memory.saturating_add(count.saturating_mul(each.memory));
        self.nanoseconds = self.nanoseconds.saturating_add(count.saturating_mul(each.nanoseconds));
    }
}

/// What compiling a component takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The most memory at a time, in bytes.
    pub memory_bytes: u64,
    /// Processor time, in milliseconds of a processor as Lambda has them.
    pub cpu_milliseconds: u64,
    /// Functions in all of its modules.
    pub functions: u64,
    /// The size of all functions, in bytes.
    pub code_bytes: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { memory_bytes, cpu_milliseconds, functions, code_bytes } = self;
        let (memory, code) = (Bytes(*memory_bytes), Bytes(*code_bytes));
        let seconds = *cpu_milliseconds as f64 / 1000.0;
        write!(
            f,
            "about {memory} of memory and {seconds:.1} s of processor time ({functions} functions with {code} of code)"
        )
    }
}

impl Cost {
    /// The limit that it exceeds, if it does: as a setting that would do, such as
    /// `compile_memory_bytes=300MiB`.
    pub fn exceeded(&self, limits: &Limits) -> Option<String> {
        const MIB: u64 = 1 << 20;
        if self.memory_bytes > limits.compile_memory_bytes {
            return Some(format!("compile_memory_bytes={}MiB", self.memory_bytes.div_ceil(MIB)));
        }
        let milliseconds = self.cpu_milliseconds;
        (milliseconds > limits.compile_cpu_milliseconds)
            .then(|| format!("compile_cpu_milliseconds={milliseconds}"))
    }
}

/// Adds up what a component's parts take, one after the other as they are read.
#[derive(Default)]
pub struct Estimate {
    modules: Vec<Module>,
    total: Take,
    /// What the largest functions take while they are compiled, the smallest of them first.
    largest: Vec<u64>,
    functions: u64,
    code_bytes: u64,
}

/// What has to be known of a module to estimate its functions.
#[derive(Default)]
struct Module {
    /// Parameters and results of each type; none for what is not a function's.
    types: Vec<(u32, u32)>,
    /// The types of all its functions, those that it imports first.
    functions: Vec<u32>,
    /// How many functions it imports.
    imported: usize,
    /// How many of its functions were looked at.
    done: usize,
}

impl Module {
    fn values(&self, type_index: u32) -> (u32, u32) {
        self.types.get(type_index as usize).copied().unwrap_or_default()
    }

    fn of_function(&self, index: u32) -> (u32, u32) {
        self.functions.get(index as usize).map_or((0, 0), |type_index| self.values(*type_index))
    }

    fn of_block(&self, block: BlockType) -> (u32, u32) {
        match block {
            BlockType::Empty => (0, 0),
            BlockType::Type(_) => (0, 1),
            BlockType::FuncType(index) => self.values(index),
        }
    }
}

impl Estimate {
    /// Takes a part into account.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn note(&mut self, payload: &Payload<'_>) -> Result<()> {
        match payload {
            Payload::Version { .. } => self.modules.push(Module::default()),
            Payload::End(_) => {
                self.modules.pop();
            }
            Payload::CodeSectionEntry(body) => self.note_function(body)?,
            _ => self.note_section(payload)?,
        }
        Ok(())
    }

    fn note_section(&mut self, payload: &Payload<'_>) -> Result<()> {
        let module = self.modules.last_mut();
        match payload {
            Payload::TypeSection(types) => {
                self.total.add(types.count().into(), OF_TYPE);
                let Some(module) = module else { return Ok(()) };
                for group in types.clone() {
                    for one in group?.types() {
                        module.types.push(match &one.composite_type.inner {
                            CompositeInnerType::Func(function) => {
                                (length(function.params()), length(function.results()))
                            }
                            _ => (0, 0),
                        });
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    self.total.add(1, OF_IMPORT);
                    if let TypeRef::Func(index) | TypeRef::FuncExact(index) = import?.ty
                        && let Some(module) = self.modules.last_mut()
                    {
                        module.functions.push(index);
                        module.imported += 1;
                    }
                }
            }
            Payload::FunctionSection(functions) => {
                let Some(module) = module else { return Ok(()) };
                for index in functions.clone() {
                    module.functions.push(index?);
                }
            }
            Payload::ElementSection(segments) => {
                for segment in segments.clone() {
                    let count = match segment?.items {
                        ElementItems::Functions(items) => items.count(),
                        ElementItems::Expressions(_, items) => items.count(),
                    };
                    self.total.add(1, OF_ELEMENT_SEGMENT);
                    self.total.add(count.into(), OF_ELEMENT);
                }
            }
            Payload::ExportSection(all) => self.total.add(all.count().into(), OF_EXPORT),
            Payload::GlobalSection(all) => self.total.add(all.count().into(), OF_GLOBAL),
            Payload::TableSection(all) => self.total.add(all.count().into(), OF_TABLE),
            Payload::DataSection(all) => self.total.add(all.count().into(), OF_DATA_SEGMENT),
            Payload::ComponentTypeSection(all) => self.note_items(all.count()),
            Payload::ComponentAliasSection(all) => self.note_items(all.count()),
            Payload::ComponentExportSection(all) => self.note_items(all.count()),
            Payload::ComponentImportSection(all) => self.note_items(all.count()),
            Payload::ComponentCanonicalSection(all) => self.note_items(all.count()),
            Payload::ComponentInstanceSection(all) => self.note_items(all.count()),
            Payload::InstanceSection(all) => self.note_items(all.count()),
            Payload::CoreTypeSection(all) => self.note_items(all.count()),
            _ => {}
        }
        Ok(())
    }

    fn note_items(&mut self, count: u32) {
        self.total.add(count.into(), OF_COMPONENT_ITEM);
    }

    fn note_function(&mut self, body: &FunctionBody<'_>) -> Result<()> {
        let Some(module) = self.modules.last_mut() else { return Ok(()) };
        let index = u32::try_from(module.imported + module.done).unwrap_or(u32::MAX);
        module.done += 1;
        let take = Function::of(module, index, body)?.take();
        let range = body.range();
        let bytes = range.end.saturating_sub(range.start);
        self.functions += 1;
        self.code_bytes = self.code_bytes.saturating_add(bytes);
        self.total.add(1, OF_FUNCTION);
        self.total.add(bytes, OF_CODE_BYTE);
        self.total.add(1, Take::new(take.memory / KEPT_DIVISOR, take.nanoseconds));
        let place = self.largest.partition_point(|memory| *memory < take.memory);
        self.largest.insert(place, take.memory);
        if self.largest.len() > COMPILED_AT_ONCE {
            self.largest.remove(0);
        }
        Ok(())
    }

    /// Returns what all of it takes, in a file of this size in bytes.
    pub fn cost(&self, file_bytes: u64) -> Cost {
        let mut total = self.total;
        total.add(file_bytes, OF_FILE_BYTE);
        for memory in &self.largest {
            total.add(1, Take::new(*memory, 0));
        }
        Cost {
            memory_bytes: total.memory,
            cpu_milliseconds: total.nanoseconds / 1_000_000,
            functions: self.functions,
            code_bytes: self.code_bytes,
        }
    }
}

fn length<T>(all: &[T]) -> u32 {
    u32::try_from(all.len()).unwrap_or(u32::MAX)
}

/// A function while its instructions are read.
struct Function<'m> {
    module: &'m Module,
    take: Take,
    /// Its variables, parameters included.
    variables: u64,
    /// What blocks pass on, all together.
    values: u64,
    loops: u64,
    branches: u64,
    /// Calls of the host.
    host_calls: u64,
    /// The blocks that are open: how many values a branch to each takes, and whether it is a loop.
    open: Vec<(u32, Kind)>,
    depth: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Loop,
}

impl<'m> Function<'m> {
    /// Reads the instructions of a function.
    fn of(module: &'m Module, index: u32, body: &FunctionBody<'_>) -> Result<Self> {
        let (parameters, results) = module.of_function(index);
        let mut function = Function {
            module,
            take: Take::default(),
            variables: parameters.into(),
            values: results.into(),
            loops: 0,
            branches: 0,
            host_calls: 0,
            open: vec![(results, Kind::Block)],
            depth: 0,
        };
        for group in body.get_locals_reader()? {
            let (count, _) = group?;
            function.variables = function.variables.saturating_add(count.into());
        }
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            function.note(&operators.read()?);
        }
        Ok(function)
    }

    fn note(&mut self, operator: &Operator<'_>) {
        use Operator as Op;
        match operator {
            Op::Block { blockty } => self.enter(*blockty, Kind::Block),
            Op::Loop { blockty } => self.enter(*blockty, Kind::Loop),
            Op::If { blockty } => {
                self.enter(*blockty, Kind::Block);
                self.branch(0);
            }
            Op::End => {
                if let Some((_, Kind::Loop)) = self.open.pop() {
                    self.depth -= 1;
                }
            }
            Op::Else => self.branch(0),
            Op::Br { relative_depth } | Op::BrIf { relative_depth } => {
                self.branch(self.of_label(*relative_depth));
            }
            Op::BrTable { targets } => {
                self.branch(self.of_label(targets.default()));
                for target in targets.targets().flatten() {
                    self.take.add(1, OF_JUMP_TARGET);
                    self.pass_on(self.of_label(target));
                }
            }
            Op::Call { function_index } | Op::ReturnCall { function_index } => {
                self.call(OF_CALL, self.module.of_function(*function_index));
            }
            Op::CallIndirect { type_index, .. } | Op::ReturnCallIndirect { type_index, .. } => {
                self.host_calls += 1;
                self.call(OF_HOST_CALL, self.module.values(*type_index));
            }
            Op::MemoryGrow { .. }
            | Op::MemoryInit { .. }
            | Op::TableGet { .. }
            | Op::TableSet { .. }
            | Op::TableGrow { .. }
            | Op::TableFill { .. }
            | Op::TableCopy { .. }
            | Op::TableInit { .. }
            | Op::ElemDrop { .. }
            | Op::DataDrop { .. }
            | Op::RefFunc { .. } => {
                self.host_calls += 1;
                self.take.add(1, OF_HOST_CALL);
            }
            Op::MemoryCopy { .. } | Op::MemoryFill { .. } => self.take.add(1, OF_BULK),
            light if is_light(light) => self.take.add(1, OF_LIGHT),
            _ => self.take.add(1, OF_INSTRUCTION),
        }
    }

    fn enter(&mut self, block: BlockType, kind: Kind) {
        let (parameters, results) = self.module.of_block(block);
        self.pass_on(parameters);
        self.pass_on(results);
        self.take.add(1, OF_LIGHT);
        let branch_takes = match kind {
            Kind::Block => results,
            Kind::Loop => parameters,
        };
        self.open.push((branch_takes, kind));
        if kind == Kind::Loop {
            self.loops += 1;
            self.depth += 1;
            self.take.add(1, OF_LOOP);
            self.take.add(self.variables, OF_LOOP_VARIABLE);
            self.take.add(self.variables.saturating_mul(self.depth), OF_NESTED_VARIABLE);
        }
    }

    fn branch(&mut self, values: u32) {
        self.branches += 1;
        self.take.add(1, OF_BRANCH);
        self.pass_on(values);
    }

    fn pass_on(&mut self, values: u32) {
        self.values = self.values.saturating_add(values.into());
        self.take.add(values.into(), OF_BLOCK_VALUE);
    }

    fn of_label(&self, relative_depth: u32) -> u32 {
        let place = self.open.len().checked_sub(relative_depth as usize + 1);
        place.and_then(|place| self.open.get(place)).map_or(0, |(values, _)| *values)
    }

    fn call(&mut self, each: Take, (parameters, results): (u32, u32)) {
        self.take.add(1, each);
        self.take.add(u64::from(parameters) + u64::from(results), OF_CALL_VALUE);
    }

    /// What all of it takes. Some things take the compiler the more time the more of them there are in
    /// one function.
    fn take(mut self) -> Take {
        let square = |count: u64| count.saturating_mul(count);
        self.take.add(self.variables, OF_LOCAL);
        self.take.add(self.variables.saturating_mul(self.branches), OF_BRANCH_VARIABLE);
        self.take.add(square(self.values) / 40, Take::new(1, 2));
        self.take.add(square(self.loops), Take::new(0, 45));
        self.take.add(square(self.host_calls), Take::new(0, 11));
        self.take
    }
}

/// Whether an instruction is known to become one of the machine's, or none.
fn is_light(operator: &Operator<'_>) -> bool {
    use Operator as Op;
    matches!(
        operator,
        Op::LocalGet { .. }
            | Op::LocalSet { .. }
            | Op::LocalTee { .. }
            | Op::GlobalGet { .. }
            | Op::GlobalSet { .. }
            | Op::I32Const { .. }
            | Op::I64Const { .. }
            | Op::F32Const { .. }
            | Op::F64Const { .. }
            | Op::Drop
            | Op::Nop
            | Op::Select
            | Op::Unreachable
            | Op::Return
            | Op::I32Add
            | Op::I32Sub
            | Op::I32Mul
            | Op::I32And
            | Op::I32Or
            | Op::I32Xor
            | Op::I32Shl
            | Op::I32ShrU
            | Op::I32ShrS
            | Op::I64Add
            | Op::I64Sub
            | Op::I64Mul
            | Op::I64And
            | Op::I64Or
            | Op::I64Xor
            | Op::I64Shl
            | Op::I64ShrU
            | Op::I64ShrS
            | Op::I32WrapI64
            | Op::I64ExtendI32U
            | Op::I64ExtendI32S
    )
}
