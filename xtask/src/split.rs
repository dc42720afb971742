//! One WebAssembly module made two: what every visitor downloads, and what is fetched when somebody trains.
//!
//! The second is no module of its own but a part of the first: it has its memory, its tables and its functions, and puts
//! its own into places of the table that were left for them. So nothing is there twice. What belongs to it is not said but
//! found: all that is reached from the exports that train, and from nothing else.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use walrus::ir::{Visitor, dfs_in_order};
use walrus::{
    ConstExpr, ElementItems, ElementKind, ExportItem, FunctionBuilder, FunctionId, FunctionKind,
    GlobalKind, ImportKind, ImportedFunction, LocalFunction, Module, ModuleConfig, TableId,
    ir::Value,
};

/// The name under which the second module takes what the first one has.
const FIRST: &str = "first";

/// Instructions of a function in a table below which it stays in the first module. The compiler may use one function for two
/// that are alike, which small ones may be: then its name says only half of whom it serves.
const LARGE: u64 = 200;

/// Which part of a module is to be fetched later.
pub struct Later<'a> {
    /// Whether an export is one of its doors.
    pub is_door: &'a dyn Fn(&str) -> bool,
    /// Whether a function that is called through a table is one of its own, by its name.
    pub is_own: &'a dyn Fn(&str) -> bool,
}

/// The bytes of the two modules. The module must have its functions' names; they are left out of both.
///
/// # Errors
///
/// When it is no module, or has nothing that could be fetched later.
pub fn split(bytes: &[u8], later: &Later<'_>) -> Result<[Vec<u8>; 2]> {
    let plan = Plan::of(&parsed(bytes)?, later)?;
    Ok([first(parsed(bytes)?, &plan), second(parsed(bytes)?, &plan)])
}

fn parsed(bytes: &[u8]) -> Result<Module> {
    let mut config = ModuleConfig::new();
    config
        .generate_name_section(false)
        .generate_producers_section(false);
    config.parse(bytes).context("reading the module")
}

/// What goes where. Functions and the like are known by their places: modules that are read from the same bytes have them
/// in the same order.
struct Plan {
    /// The functions that are fetched later.
    later: BTreeSet<usize>,
    /// Those of them that are exported, and those that stand in the table, with their places in it.
    doors: Vec<usize>,
    in_table: BTreeMap<u32, usize>,
    /// What of the first module they use.
    functions: BTreeSet<usize>,
    globals: BTreeSet<usize>,
    /// The first place in the table that is free.
    free: u32,
}

/// What a function uses.
#[derive(Default)]
struct Uses {
    functions: Vec<usize>,
    globals: Vec<usize>,
}

impl<'i> Visitor<'i> for Uses {
    fn visit_function_id(&mut self, function: &FunctionId) {
        self.functions.push(function.index());
    }

    fn visit_global_id(&mut self, global: &walrus::GlobalId) {
        self.globals.push(global.index());
    }
}

fn uses(function: &LocalFunction) -> Uses {
    let mut uses = Uses::default();
    dfs_in_order(&mut uses, function, function.entry_block());
    uses
}

/// The table that functions are called through, and where its functions stand.
fn table(module: &Module) -> Result<(TableId, BTreeMap<u32, FunctionId>)> {
    let mut places = BTreeMap::new();
    let mut tables = BTreeSet::new();
    for element in module.elements.iter() {
        let ElementKind::Active { table, offset } = &element.kind else {
            continue;
        };
        let (ConstExpr::Value(Value::I32(from)), ElementItems::Functions(functions)) =
            (offset, &element.items)
        else {
            bail!("a table is filled in a way that is not known here");
        };
        tables.insert(*table);
        places.extend((*from as u32..).zip(functions.iter().copied()));
    }
    match tables.first() {
        Some(&table) if tables.len() == 1 => Ok((table, places)),
        _ => bail!("functions are called through {} tables", tables.len()),
    }
}

impl Plan {
    fn of(module: &Module, later: &Later<'_>) -> Result<Self> {
        let (table, places) = table(module)?;
        let own = |function: FunctionId| {
            let function = module.funcs.get(function);
            let name = function.name.as_deref().unwrap_or_default();
            let is_large =
                matches!(&function.kind, FunctionKind::Local(own) if own.size() >= LARGE);
            is_large && (later.is_own)(name)
        };
        let mut doors = Vec::new();
        let mut roots: Vec<usize> = module.start.iter().map(|start| start.index()).collect();
        for export in module.exports.iter() {
            match export.item {
                ExportItem::Function(door) if (later.is_door)(&export.name) => {
                    doors.push(door.index());
                }
                ExportItem::Function(root) => roots.push(root.index()),
                _ => {}
            }
        }
        let held = places.values().filter(|&&function| !own(function));
        roots.extend(held.map(|function| function.index()));
        let all: BTreeMap<usize, &LocalFunction> = module
            .funcs
            .iter_local()
            .map(|(id, function)| (id.index(), function))
            .collect();
        let mut stays = BTreeSet::new();
        while let Some(function) = roots.pop() {
            if stays.insert(function)
                && let Some(function) = all.get(&function)
            {
                roots.extend(uses(function).functions);
            }
        }
        doors.retain(|door| !stays.contains(door));
        doors.sort_unstable();
        doors.dedup();
        let later: BTreeSet<usize> = all
            .keys()
            .copied()
            .filter(|id| !stays.contains(id))
            .collect();
        if doors.is_empty() {
            bail!("nothing of the module could be fetched later");
        }
        let (mut functions, mut globals) = (BTreeSet::new(), BTreeSet::new());
        for function in &later {
            let uses = uses(all[function]);
            functions.extend(uses.functions.into_iter().filter(|id| !later.contains(id)));
            globals.extend(uses.globals);
        }
        Ok(Self {
            in_table: places
                .into_iter()
                .map(|(place, function)| (place, function.index()))
                .filter(|(_, function)| later.contains(function))
                .collect(),
            free: u32::try_from(module.tables.get(table).initial)?,
            later,
            doors,
            functions,
            globals,
        })
    }

    /// The functions of the second module with their places in the table.
    fn filled(&self) -> impl Iterator<Item = (u32, usize)> {
        let doors = (self.free..).zip(self.doors.iter().copied());
        let in_table = self
            .in_table
            .iter()
            .map(|(&place, &function)| (place, function));
        in_table.chain(doors)
    }
}

/// The module without what is fetched later: its doors lead to places of the table that are empty until then.
fn first(mut module: Module, plan: &Plan) -> Vec<u8> {
    let ids: BTreeMap<usize, FunctionId> = ids(&module);
    let globals: Vec<_> = module.globals.iter().map(|global| global.id()).collect();
    let tables: Vec<TableId> = module.tables.iter().map(|table| table.id()).collect();
    let memories: Vec<_> = module.memories.iter().map(|memory| memory.id()).collect();
    let Ok((table, _)) = table(&module) else {
        unreachable!("the plan knows the table");
    };
    let places = plan.doors.len() as u64;
    let held = module.tables.get_mut(table);
    held.initial += places;
    held.maximum = held.maximum.map(|most| most + places);
    for (place, &door) in (plan.free..).zip(&plan.doors) {
        let ty = module.funcs.get(ids[&door]).ty();
        let (takes, gives) = module.types.params_results(ty);
        let (takes, gives) = (takes.to_vec(), gives.to_vec());
        let arguments: Vec<_> = takes.iter().map(|&ty| module.locals.add(ty)).collect();
        let mut builder = FunctionBuilder::new(&mut module.types, &takes, &gives);
        let mut body = builder.func_body();
        for &argument in &arguments {
            body.local_get(argument);
        }
        body.i32_const(place as i32).call_indirect(ty, table);
        let hop = builder.finish(arguments, &mut module.funcs);
        for export in module.exports.iter_mut() {
            if matches!(export.item, ExportItem::Function(id) if id == ids[&door]) {
                export.item = ExportItem::Function(hop);
            }
        }
    }
    // What stands in the place of a function that is not there yet.
    let mut builder = FunctionBuilder::new(&mut module.types, &[], &[]);
    builder.func_body().unreachable();
    let absent = builder.finish(Vec::new(), &mut module.funcs);
    for element in module.elements.iter_mut() {
        if let ElementItems::Functions(functions) = &mut element.items {
            for function in functions {
                if plan.later.contains(&function.index()) {
                    *function = absent;
                }
            }
        }
    }
    for function in &plan.functions {
        module.exports.add(&name("f", *function), ids[function]);
    }
    for global in globals
        .into_iter()
        .filter(|id| plan.globals.contains(&id.index()))
    {
        module.exports.add(&name("g", global.index()), global);
    }
    for table in tables {
        module.exports.add(&name("t", table.index()), table);
    }
    for memory in memories {
        module.exports.add(&name("m", memory.index()), memory);
    }
    walrus::passes::gc::run(&mut module);
    module.emit_wasm()
}

/// What is fetched later: all else is the first module's.
fn second(mut module: Module, plan: &Plan) -> Vec<u8> {
    let ids = ids(&module);
    module.start = None;
    let exports: Vec<_> = module.exports.iter().map(|export| export.id()).collect();
    exports.into_iter().for_each(|id| module.exports.delete(id));
    let data: Vec<_> = module.data.iter().map(|data| data.id()).collect();
    data.into_iter().for_each(|id| module.data.delete(id));
    let Ok((table, _)) = table(&module) else {
        unreachable!("the plan knows the table");
    };
    let elements: Vec<_> = module.elements.iter().map(|element| element.id()).collect();
    elements
        .into_iter()
        .for_each(|id| module.elements.delete(id));
    // What the first module imports it has from there, too.
    let imports: Vec<_> = module.imports.iter().map(|import| import.id()).collect();
    imports.into_iter().for_each(|id| module.imports.delete(id));
    for (&place, &id) in ids.iter().filter(|(place, _)| !plan.later.contains(place)) {
        let ty = module.funcs.get(id).ty();
        let import = module
            .imports
            .add(FIRST, &name("f", place), ImportKind::Function(id));
        module.funcs.get_mut(id).kind = FunctionKind::Import(ImportedFunction { import, ty });
    }
    let globals: Vec<_> = module.globals.iter().map(|global| global.id()).collect();
    for id in globals {
        let import = module
            .imports
            .add(FIRST, &name("g", id.index()), ImportKind::Global(id));
        module.globals.get_mut(id).kind = GlobalKind::Import(import);
    }
    let tables: Vec<_> = module.tables.iter().map(|table| table.id()).collect();
    for id in tables {
        let import = module
            .imports
            .add(FIRST, &name("t", id.index()), ImportKind::Table(id));
        let held = module.tables.get_mut(id);
        held.import = Some(import);
        held.elem_segments.clear();
        if id == table {
            held.initial += plan.doors.len() as u64;
            held.maximum = held.maximum.map(|most| most + plan.doors.len() as u64);
        }
    }
    let memories: Vec<_> = module.memories.iter().map(|memory| memory.id()).collect();
    for id in memories {
        let import = module
            .imports
            .add(FIRST, &name("m", id.index()), ImportKind::Memory(id));
        let held = module.memories.get_mut(id);
        held.import = Some(import);
        held.data_segments.clear();
    }
    for (place, function) in plan.filled() {
        let offset = ConstExpr::Value(Value::I32(place as i32));
        let kind = ElementKind::Active { table, offset };
        let items = ElementItems::Functions(vec![ids[&function]]);
        let element = module.elements.add(kind, items);
        module.tables.get_mut(table).elem_segments.insert(element);
    }
    walrus::passes::gc::run(&mut module);
    module.emit_wasm()
}

fn ids(module: &Module) -> BTreeMap<usize, FunctionId> {
    let functions = module.funcs.iter();
    functions
        .map(|function| (function.id().index(), function.id()))
        .collect()
}

/// What the second module calls something of the first.
fn name(kind: &str, index: usize) -> String {
    format!("{kind}{index}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrus::{RefType, ValType};

    /// `answer` and `train` both call `shared`; only `train` calls `backward`, and `poll` stands in the table.
    fn module() -> Vec<u8> {
        let mut module = Module::default();
        let constant = |module: &mut Module, name: &str, calls: &[FunctionId], pads: usize| {
            let mut builder = FunctionBuilder::new(&mut module.types, &[], &[ValType::I32]);
            builder.name(name.to_owned());
            let mut body = builder.func_body();
            for _ in 0..pads {
                body.i32_const(7).drop();
            }
            for &call in calls {
                body.call(call).drop();
            }
            body.i32_const(1);
            builder.finish(Vec::new(), &mut module.funcs)
        };
        let shared = constant(&mut module, "shared", &[], 0);
        let backward = constant(&mut module, "backward", &[shared], 0);
        let poll = constant(&mut module, "web::train::poll", &[backward], LARGE as usize);
        let small = constant(&mut module, "web::train::small", &[], 0);
        let answer = constant(&mut module, "answer", &[shared], 0);
        let train = constant(&mut module, "train", &[backward, shared], 0);
        module.exports.add("answer", answer);
        module.exports.add("train", train);
        let table = module.tables.add_local(false, 3, Some(3), RefType::FUNCREF);
        let offset = ConstExpr::Value(Value::I32(1));
        let kind = ElementKind::Active { table, offset };
        let items = ElementItems::Functions(vec![poll, small]);
        let element = module.elements.add(kind, items);
        module.tables.get_mut(table).elem_segments.insert(element);
        module.emit_wasm()
    }

    #[test]
    fn what_trains_alone_uses_is_in_the_second_module_and_nothing_is_in_both() {
        let later = Later {
            is_door: &|export| export == "train",
            is_own: &|function| function.contains("web::train"),
        };
        let [first, second] = split(&module(), &later).expect("it can be divided");
        let [first, second] = [first, second].map(|bytes| parsed(&bytes).expect("it is a module"));
        // answer, shared, small, the door, and what stands where poll will.
        assert_eq!(first.funcs.iter_local().count(), 5);
        // train, backward, poll; shared is the first one's.
        assert_eq!(second.funcs.iter_local().count(), 3);
        let imported = second.imports.iter().map(|import| &import.name[..1]);
        assert_eq!(imported.filter(|name| *name == "f").count(), 1);
        for import in second.imports.iter() {
            assert_eq!(import.module, FIRST);
            assert!(
                first
                    .exports
                    .iter()
                    .any(|export| export.name == import.name)
            );
        }
        // A door behind the three places that there were.
        assert_eq!(
            first.tables.iter().next().map(|table| table.initial),
            Some(4)
        );
        let (_, places) = table(&second).expect("it fills places");
        assert_eq!(places.keys().copied().collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_module_in_which_nothing_is_for_later_is_not_divided() {
        let later = Later {
            is_door: &|_| false,
            is_own: &|_| false,
        };
        assert!(split(&module(), &later).is_err());
    }
}
