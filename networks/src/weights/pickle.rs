//! A machine for the small part of Python's pickle language that `torch.save` speaks.
//!
//! A pickle is a program: its instructions build values on a stack, and some of them import and call
//! Python functions. This machine knows a fixed list of those functions by name and builds plain data
//! for them. It has no means of calling anything: an object of a class that is not on the list is kept as
//! its name and its attributes, and a name that is there to run code ends the parse.
//! The instruction set is that of Python's `pickletools`, protocols 2 to 5; which functions
//! `torch.save` refers to is set out in PyTorch's `torch/_utils.py` and `torch/_weights_only_unpickler.py`.
//!
//! Values live in one flat list and refer to each other by position. So a value that holds itself
//! is harmless, nothing recurses, however deep the data nests, and memory is bounded by the number of
//! instructions, which is capped. Plain numbers in lists, such as the losses of a training, are not kept, and
//! not counted either.

mod build;
mod globals;
mod input;
mod op;

use std::collections::BTreeMap;

pub(super) use globals::Element;
use globals::Global;
use input::Input;

use super::file::{MAX_RANK, WeightsError, shown};

/// How many instructions any pickle may have. A network of a thousand tensors takes some 50 000.
const FEW_STEPS: usize = 1 << 17;

/// How many a pickle may have if its file is large.
const MANY_STEPS: usize = 1 << 21;

/// How many bytes of a file allow one instruction more than the few that any may have. One makes the machine take
/// some 48 bytes, so that its memory is a dozen times the file at most.
const STEP_BYTES: usize = 4;

/// How many plain numbers of a list or tuple are kept: enough for a shape, and to see that one is too long.
const NUMBERS_KEPT: usize = MAX_RANK + 1;

/// Values that are the same wherever they stand, at the places they have in every pickle: one of no interest, no
/// and yes, then the integers of one byte.
const INERT: ValueId = ValueId(0);
const FALSE: ValueId = ValueId(1);
const TRUE: ValueId = ValueId(2);
const BYTES: u32 = 3;
const SHARED: u32 = BYTES + 256;

fn shared_values<'a>() -> Vec<Value<'a>> {
    let plain = [Value::Inert, Value::Bool(false), Value::Bool(true)];
    plain.into_iter().chain((0..=255).map(Value::Int)).collect()
}

/// The most collections that may be open at once.
const MAX_DEPTH: usize = 256;

/// The place of a value in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ValueId(u32);

/// The place of a class's name in its [`Pickle`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ClassId(u32);

/// What a dictionary holds.
pub(super) type Entries = [(ValueId, ValueId)];

/// A Python value, as far as weights need it.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Bool(bool),
    Int(i64),
    /// An integer of more than eight bytes, little-endian two's complement.
    Long(&'a [u8]),
    Str(&'a str),
    Tuple(Vec<ValueId>),
    List(Vec<ValueId>),
    /// In the order written; of equal keys the last counts.
    Dict(Vec<(ValueId, ValueId)>),
    /// A function or class, by name.
    Global(Global),
    /// An index into [`Pickle::storages`].
    Storage(usize),
    Tensor(TensorSpec),
    /// A tensor made by a function that is not read here.
    StrangeTensor(ClassId),
    /// An index into [`Pickle::objects`].
    Object(usize),
    /// Known to be of no interest: `None`, a float, bytes.
    Inert,
}

/// An object of a class that is not known here.
#[derive(Debug)]
pub(super) struct Object {
    class: ClassId,
    /// What it was made of.
    args: ValueId,
    /// What its attributes were set to, mostly a dictionary.
    state: Option<ValueId>,
    /// What it holds where its class is a kind of dictionary.
    entries: Vec<(ValueId, ValueId)>,
}

/// How a tensor lies in a storage.
#[derive(Debug, Clone, Copy)]
pub(super) struct TensorSpec {
    /// An index into [`Pickle::storages`].
    pub storage: usize,
    /// Of the first element, in elements.
    pub offset: usize,
    pub shape: ValueId,
    pub strides: ValueId,
}

/// A storage as the pickle names it; its bytes are elsewhere in the file.
#[derive(Debug, Clone)]
pub(super) struct StorageSpec<'a> {
    pub key: &'a str,
    pub element: Element,
    /// The elements of the whole storage.
    pub len: usize,
    /// For a storage that is a part of another: its first element and its length.
    pub part: Option<(usize, usize)>,
}

/// A parsed pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    pub storages: Vec<StorageSpec<'a>>,
    objects: Vec<Object>,
    /// Modules and names of classes that are not known here.
    classes: Vec<(&'a str, &'a str)>,
    root: ValueId,
    /// Where the pickle ends, in bytes from the start of the file.
    pub end: usize,
}

impl<'a> Pickle<'a> {
    /// Parses the pickle that starts at `start`; `bytes` may go on behind it.
    pub fn parse(bytes: &'a [u8], start: usize) -> Result<Self, WeightsError> {
        Machine {
            input: Input { bytes, at: start },
            steps: 0,
            limit: (bytes.len() / STEP_BYTES).clamp(FEW_STEPS, MANY_STEPS),
            values: shared_values(),
            remembered: 0,
            storages: Vec::new(),
            objects: Vec::new(),
            classes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: BTreeMap::new(),
        }
        .run()
    }

    pub fn root(&self) -> &Value<'a> {
        self.value(self.root)
    }

    pub fn root_id(&self) -> ValueId {
        self.root
    }

    pub fn value(&self, id: ValueId) -> &Value<'a> {
        // Ids come from the machine that filled this list, which never shrinks.
        &self.values[id.0 as usize]
    }

    /// What a dictionary holds under a string key.
    pub fn entry(&self, dict: &Entries, key: &str) -> Option<&Value<'a>> {
        let found = dict
            .iter()
            .rfind(|(k, _)| matches!(self.value(*k), Value::Str(s) if *s == key));
        found.map(|(_, value)| self.value(*value))
    }

    /// What a dictionary holds, or an object that is a kind of dictionary.
    pub fn entries<'p>(&'p self, value: &'p Value<'a>) -> Option<&'p Entries> {
        match value {
            Value::Dict(entries) => Some(entries),
            Value::Object(object) => {
                let entries = &self.objects[*object].entries;
                (!entries.is_empty()).then_some(entries)
            }
            _ => None,
        }
    }

    /// An object's attributes by name.
    pub fn attributes<'p>(&'p self, value: &'p Value<'a>) -> Option<&'p Entries> {
        let Value::Object(object) = value else {
            return None;
        };
        match self.value(self.objects[*object].state?) {
            Value::Dict(attributes) => Some(attributes),
            // Beside them those that have slots.
            Value::Tuple(parts) => match self.value(*parts.first()?) {
                Value::Dict(attributes) => Some(attributes),
                _ => None,
            },
            _ => None,
        }
    }

    /// The first of what an object was made of.
    pub fn made_of(&self, value: &Value<'a>) -> Option<ValueId> {
        let Value::Object(object) = value else {
            return None;
        };
        match self.value(self.objects[*object].args) {
            Value::Tuple(args) => args.first().copied(),
            _ => None,
        }
    }

    /// The class of an object that is not known here, fit for a message.
    pub fn class_of(&self, value: &Value<'a>) -> Option<String> {
        match value {
            Value::Object(object) => Some(self.class_name(self.objects[*object].class)),
            Value::StrangeTensor(class) => Some(self.class_name(*class)),
            _ => None,
        }
    }

    fn class_name(&self, class: ClassId) -> String {
        let (module, name) = self.classes[class.0 as usize];
        format!("{}.{}", shown(module), shown(name))
    }

    /// A shape or strides.
    pub fn extents(&self, id: ValueId) -> Result<Vec<usize>, &'static str> {
        let (Value::Tuple(items) | Value::List(items)) = self.value(id) else {
            return Err("its shape is not a tuple");
        };
        if items.len() > MAX_RANK {
            return Err("it has too many dimensions");
        }
        let extents = items.iter().map(|&item| match self.value(item) {
            Value::Int(n) => usize::try_from(*n).map_err(|_| "an extent is negative or too large"),
            _ => Err("an extent is not an integer"),
        });
        extents.collect()
    }
}

/// The state of a parse.
struct Machine<'a> {
    input: Input<'a>,
    steps: usize,
    /// The most steps that may be taken.
    limit: usize,
    values: Vec<Value<'a>>,
    storages: Vec<StorageSpec<'a>>,
    objects: Vec<Object>,
    classes: Vec<(&'a str, &'a str)>,
    stack: Vec<ValueId>,
    /// The height of the stack at each mark.
    marks: Vec<usize>,
    memo: BTreeMap<u32, ValueId>,
    /// The values from this place on are in no memo: each is on the stack, or in one other value.
    remembered: u32,
}

impl<'a> Machine<'a> {
    fn run(mut self) -> Result<Pickle<'a>, WeightsError> {
        loop {
            self.charge(1)?;
            let at = self.input.at;
            let [opcode] = self.input.array()?;
            match opcode {
                op::STOP => {
                    let root = self.pop()?;
                    let Self {
                        values,
                        storages,
                        objects,
                        classes,
                        input,
                        ..
                    } = self;
                    return Ok(Pickle {
                        values,
                        storages,
                        objects,
                        classes,
                        root,
                        end: input.at,
                    });
                }
                op::PROTO => self.input.skip(1)?,
                op::FRAME => self.input.skip(8)?,

                op::NONE => self.stack.push(INERT),
                op::NEWTRUE => self.stack.push(TRUE),
                op::NEWFALSE => self.stack.push(FALSE),
                op::BININT => {
                    let value = i32::from_le_bytes(self.input.array()?);
                    self.push(Value::Int(value.into()));
                }
                op::BININT1 => {
                    let [value] = self.input.array()?;
                    self.stack.push(ValueId(BYTES + u32::from(value)));
                }
                op::BININT2 => {
                    let value = u16::from_le_bytes(self.input.array()?);
                    self.push(Value::Int(value.into()));
                }
                op::LONG1 | op::LONG4 => {
                    let len = if opcode == op::LONG1 {
                        self.input.len8()?
                    } else {
                        self.input.len32()?
                    };
                    let digits = self.input.take(len)?;
                    self.push(long(digits));
                }
                op::BINFLOAT => {
                    self.input.skip(8)?;
                    self.stack.push(INERT);
                }
                op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8 => {
                    let len = match opcode {
                        op::SHORT_BINUNICODE => self.input.len8()?,
                        op::BINUNICODE => self.input.len32()?,
                        _ => self.input.len64()?,
                    };
                    // Python lets strings hold halves of surrogate pairs, such as names of files that
                    // are not UTF-8; no tensor is called so.
                    let text = std::str::from_utf8(self.input.take(len)?);
                    self.push(text.map_or(Value::Inert, Value::Str));
                }
                // Python 2 wrote its names like this; they are text all the same, unless they are bytes.
                op::SHORT_BINSTRING | op::BINSTRING => {
                    let len = if opcode == op::SHORT_BINSTRING {
                        self.input.len8()?
                    } else {
                        self.input.len32()?
                    };
                    let text = std::str::from_utf8(self.input.take(len)?);
                    self.push(text.map_or(Value::Inert, Value::Str));
                }
                op::SHORT_BINBYTES | op::BINBYTES | op::BINBYTES8 | op::BYTEARRAY8 => {
                    let len = match opcode {
                        op::SHORT_BINBYTES => self.input.len8()?,
                        op::BINBYTES => self.input.len32()?,
                        _ => self.input.len64()?,
                    };
                    self.input.skip(len)?;
                    self.stack.push(INERT);
                }

                op::EMPTY_TUPLE => self.push(Value::Tuple(Vec::new())),
                // A set is as good as a list here.
                op::EMPTY_LIST | op::EMPTY_SET => self.push(Value::List(Vec::new())),
                op::EMPTY_DICT => self.push(Value::Dict(Vec::new())),
                op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                    let items = self.pop_last(usize::from(opcode - op::TUPLE1) + 1)?;
                    self.push(Value::Tuple(items));
                }
                op::TUPLE => {
                    let mut items = self.pop_to_mark()?;
                    self.forget_numbers(&mut items, NUMBERS_KEPT);
                    self.push(Value::Tuple(items));
                }
                op::FROZENSET => {
                    let mut items = self.pop_to_mark()?;
                    self.forget_numbers(&mut items, NUMBERS_KEPT);
                    self.push(Value::List(items));
                }
                op::APPEND => {
                    let item = self.pop()?;
                    self.extend_list(vec![item], at)?;
                }
                op::APPENDS | op::ADDITEMS => {
                    let items = self.pop_to_mark()?;
                    self.extend_list(items, at)?;
                }
                op::SETITEM => {
                    let items = self.pop_last(2)?;
                    self.extend_dict(items, at)?;
                }
                op::SETITEMS => {
                    let items = self.pop_to_mark()?;
                    self.extend_dict(items, at)?;
                }

                op::MARK => {
                    if self.marks.len() == MAX_DEPTH {
                        return Err(WeightsError::TooLarge {
                            what: "the nesting of the pickle".into(),
                            limit: MAX_DEPTH,
                        });
                    }
                    self.marks.push(self.stack.len());
                }
                op::POP => {
                    self.pop()?;
                }
                op::POP_MARK => {
                    self.pop_to_mark()?;
                }
                op::BINPUT => {
                    let [index] = self.input.array()?;
                    self.remember(index.into())?;
                }
                op::LONG_BINPUT => {
                    let index = u32::from_le_bytes(self.input.array()?);
                    self.remember(index)?;
                }
                op::MEMOIZE => {
                    let index = self.memo.len();
                    // The memo has at most as many entries as there were steps.
                    self.remember(index as u32)?;
                }
                op::BINGET => {
                    let [index] = self.input.array()?;
                    self.recall(index.into())?;
                }
                op::LONG_BINGET => {
                    let index = u32::from_le_bytes(self.input.array()?);
                    self.recall(index)?;
                }

                op::GLOBAL => {
                    let module = self.input.line()?;
                    let name = self.input.line()?;
                    self.push_global(module, name)?;
                }
                op::STACK_GLOBAL => {
                    let names = self.pop_last(2)?;
                    let [&Value::Str(module), &Value::Str(name)] =
                        [self.value(names[0]), self.value(names[1])]
                    else {
                        return Err(WeightsError::corrupt("a name is not a string", at));
                    };
                    self.push_global(module, name)?;
                }
                op::REDUCE | op::NEWOBJ => {
                    let call = self.pop_last(2)?;
                    let result = self.call(call[0], call[1], at)?;
                    self.stack.push(result);
                }
                op::NEWOBJ_EX => {
                    // The third are arguments by name.
                    let call = self.pop_last(3)?;
                    if !matches!(self.value(call[0]), Value::Global(_)) {
                        return Err(refused_object(opcode));
                    }
                    let result = self.call(call[0], call[1], at)?;
                    self.stack.push(result);
                }
                op::BUILD => {
                    let state = self.pop()?;
                    let object = *self.top()?;
                    match *self.value(object) {
                        Value::Object(object) => self.objects[object].state = Some(state),
                        // Attributes of what is known, such as a state dict's `_metadata`, are dropped.
                        Value::Dict(_)
                        | Value::Tensor(_)
                        | Value::StrangeTensor(_)
                        | Value::Inert => {}
                        _ => {
                            let what = "attributes set on a plain value";
                            return Err(WeightsError::corrupt(what, at));
                        }
                    }
                }
                op::BINPERSID => {
                    let id = self.pop()?;
                    let value = self.persistent(id, at)?;
                    self.stack.push(value);
                }
                op::INST | op::OBJ | op::EXT1 | op::EXT2 | op::EXT4 => {
                    return Err(refused_object(opcode));
                }
                op::PERSID => {
                    return Err(WeightsError::unsupported("a pickle of protocol 0"));
                }
                _ => {
                    let what = format!("0x{opcode:02X} is not an instruction of the pickles read");
                    return Err(WeightsError::corrupt(what, at));
                }
            }
        }
    }

    /// Counts work done and memory taken, and stops a file that asks for too much of either.
    fn charge(&mut self, steps: usize) -> Result<(), WeightsError> {
        self.steps += steps;
        if self.steps > self.limit {
            let what = "the number of instructions in the pickle".into();
            return Err(WeightsError::TooLarge {
                what,
                limit: self.limit,
            });
        }
        Ok(())
    }

    fn add(&mut self, value: Value<'a>) -> ValueId {
        // One step adds one value at most, and steps are capped far below 2^32.
        let id = ValueId(self.values.len() as u32);
        self.values.push(value);
        id
    }

    fn push(&mut self, value: Value<'a>) {
        let id = self.add(value);
        self.stack.push(id);
    }

    fn value(&self, id: ValueId) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    fn underflow(&self) -> WeightsError {
        WeightsError::corrupt(
            "the pickle takes more values than it has made",
            self.input.at,
        )
    }

    /// The height of the stack at the last mark: what lies below is out of reach until the mark goes.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<&ValueId, WeightsError> {
        self.stack[self.floor()..]
            .last()
            .ok_or_else(|| self.underflow())
    }

    fn pop(&mut self) -> Result<ValueId, WeightsError> {
        let top = *self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_last(&mut self, count: usize) -> Result<Vec<ValueId>, WeightsError> {
        if self.stack.len() - self.floor() < count {
            return Err(self.underflow());
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<ValueId>, WeightsError> {
        let height = self.marks.pop().ok_or_else(|| self.underflow())?;
        Ok(self.stack.split_off(height))
    }

    fn remember(&mut self, index: u32) -> Result<(), WeightsError> {
        let top = *self.top()?;
        self.memo.insert(index, top);
        self.remembered = self.remembered.max(top.0 + 1);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), WeightsError> {
        let id = *self.memo.get(&index).ok_or_else(|| {
            WeightsError::corrupt(
                "the pickle refers to a value it has not made",
                self.input.at,
            )
        })?;
        self.stack.push(id);
        Ok(())
    }

    /// Drops the plain numbers behind the first few of some items that were on the stack, for nobody asks what they
    /// are. They take no memory from here on, and the instructions that made them are not counted: a history of a
    /// million losses costs what it takes to read through it.
    fn forget_numbers(&mut self, items: &mut Vec<ValueId>, kept: usize) {
        if items.len() <= kept {
            return;
        }
        let mut dropped = Vec::new();
        let mut place = 0;
        items.retain(|&item| {
            place += 1;
            let keep = place <= kept || !self.is_number(item);
            if !keep {
                dropped.push(item);
            }
            keep
        });
        self.free(&dropped);
    }

    /// Whether a value says nothing but itself.
    fn is_number(&self, id: ValueId) -> bool {
        matches!(
            self.value(id),
            Value::Inert | Value::Bool(_) | Value::Int(_) | Value::Long(_)
        )
    }

    /// Gives back the room of numbers that were on the stack and go nowhere.
    fn free(&mut self, numbers: &[ValueId]) {
        for &ValueId(number) in numbers.iter().rev() {
            let is_last = number as usize + 1 == self.values.len();
            if number < SHARED {
                self.steps -= 1;
            } else if is_last && number >= self.remembered {
                self.values.pop();
                self.steps -= 1;
            }
        }
    }

    fn extend_list(&mut self, mut items: Vec<ValueId>, at: usize) -> Result<(), WeightsError> {
        let ValueId(list) = *self.top()?;
        let kept = match &self.values[list as usize] {
            Value::List(list) => NUMBERS_KEPT.saturating_sub(list.len()),
            Value::Inert | Value::Object(_) => 0,
            _ => {
                return Err(WeightsError::corrupt(
                    "items appended to what is not a list",
                    at,
                ));
            }
        };
        self.forget_numbers(&mut items, kept);
        if let Value::List(list) = &mut self.values[list as usize] {
            list.extend(items);
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: Vec<ValueId>, at: usize) -> Result<(), WeightsError> {
        let ValueId(dict) = *self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(WeightsError::corrupt("a dictionary's key has no value", at));
        };
        // A number under a number, such as the loss of an epoch, is never asked for.
        let is_dull = |&[key, value]: &[ValueId; 2]| {
            let is_flag = matches!(self.value(value), Value::Bool(_));
            matches!(self.value(key), Value::Int(_)) && self.is_number(value) && !is_flag
        };
        let (dull, pairs): (Vec<_>, Vec<_>) = pairs.iter().copied().partition(is_dull);
        self.free(dull.as_flattened());
        let pairs = pairs.into_iter().map(|[key, value]| (key, value));
        match &mut self.values[dict as usize] {
            Value::Dict(dict) => dict.extend(pairs),
            Value::Object(object) => self.objects[*object].entries.extend(pairs),
            Value::Inert => {}
            _ => {
                return Err(WeightsError::corrupt(
                    "entries set on what is not a dictionary",
                    at,
                ));
            }
        }
        Ok(())
    }
}

/// An integer from its little-endian two's complement digits.
fn long(digits: &[u8]) -> Value<'_> {
    let negative = digits.last().is_some_and(|&top| top >= 0x80);
    let mut bytes = [if negative { 0xFF } else { 0 }; 8];
    match bytes.get_mut(..digits.len()) {
        Some(low) => {
            low.copy_from_slice(digits);
            Value::Int(i64::from_le_bytes(bytes))
        }
        None => Value::Long(digits),
    }
}

/// An object that is made by other means than the call of a class by name.
fn refused_object(opcode: u8) -> WeightsError {
    let what = format!("an object built by pickle instruction 0x{opcode:02X}");
    WeightsError::Refused { what }
}
