//! A machine for the small part of Python's pickle language that `torch.save` speaks.
//!
//! A pickle is a program: its instructions build values on a stack, and some of them import and call
//! Python functions. This machine knows a fixed list of those functions by name and builds plain data
//! for them. It has no means of calling anything, and a name that is not on the list ends the parse.
//! The instruction set is that of Python's `pickletools`, protocols 2 to 5; which functions
//! `torch.save` refers to is set out in PyTorch's `torch/_utils.py` and `torch/_weights_only_unpickler.py`.
//!
//! Values live in one flat list and refer to each other by position. So a value that holds itself
//! is harmless, nothing recurses, however deep the data nests, and memory is bounded by the number of
//! instructions, which is capped.

mod globals;
mod input;
mod op;

use std::collections::BTreeMap;

use globals::{Global, global};
use input::Input;

use super::file::{Dtype, MAX_RANK, WeightsError};

/// How many instructions any pickle may have. A network of a thousand tensors takes some 50 000.
const FEW_STEPS: usize = 1 << 17;

/// How many a pickle may have if its file is large.
const MANY_STEPS: usize = 1 << 21;

/// About how many bytes one instruction can make the machine take: a larger file may have more of them.
const STEP_MEMORY: usize = 48;

/// The most collections that may be open at once.
const MAX_DEPTH: usize = 256;

/// The place of a value in its [`Pickle`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueId(u32);

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
    /// Known to be of no interest: `None`, a float, bytes, a set, the arguments of a training script.
    Inert,
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
    pub dtype: Dtype,
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
            limit: (bytes.len() / STEP_MEMORY).clamp(FEW_STEPS, MANY_STEPS),
            values: Vec::new(),
            storages: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: BTreeMap::new(),
        }
        .run()
    }

    pub fn root(&self) -> &Value<'a> {
        self.value(self.root)
    }

    pub fn value(&self, id: ValueId) -> &Value<'a> {
        // Ids come from the machine that filled this list, which never shrinks.
        &self.values[id.0 as usize]
    }

    /// What a dictionary holds under a string key.
    pub fn entry(&self, dict: &[(ValueId, ValueId)], key: &str) -> Option<&Value<'a>> {
        let found = dict
            .iter()
            .rfind(|(k, _)| matches!(self.value(*k), Value::Str(s) if *s == key));
        found.map(|(_, value)| self.value(*value))
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
    stack: Vec<ValueId>,
    /// The height of the stack at each mark.
    marks: Vec<usize>,
    memo: BTreeMap<u32, ValueId>,
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
                        input,
                        ..
                    } = self;
                    return Ok(Pickle {
                        values,
                        storages,
                        root,
                        end: input.at,
                    });
                }
                op::PROTO => self.input.skip(1)?,
                op::FRAME => self.input.skip(8)?,

                op::NONE => self.push(Value::Inert),
                op::NEWTRUE => self.push(Value::Bool(true)),
                op::NEWFALSE => self.push(Value::Bool(false)),
                op::BININT => {
                    let value = i32::from_le_bytes(self.input.array()?);
                    self.push(Value::Int(value.into()));
                }
                op::BININT1 => {
                    let [value] = self.input.array()?;
                    self.push(Value::Int(value.into()));
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
                    self.push(Value::Inert);
                }
                op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8 => {
                    let len = match opcode {
                        op::SHORT_BINUNICODE => self.input.len8()?,
                        op::BINUNICODE => self.input.len32()?,
                        _ => self.input.len64()?,
                    };
                    let text = std::str::from_utf8(self.input.take(len)?)
                        .map_err(|_| WeightsError::corrupt("a string is not UTF-8", at))?;
                    self.push(Value::Str(text));
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
                    self.push(Value::Inert);
                }

                op::EMPTY_TUPLE => self.push(Value::Tuple(Vec::new())),
                op::EMPTY_LIST => self.push(Value::List(Vec::new())),
                op::EMPTY_DICT => self.push(Value::Dict(Vec::new())),
                op::EMPTY_SET => self.push(Value::Inert),
                op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                    let items = self.pop_last(usize::from(opcode - op::TUPLE1) + 1)?;
                    self.push(Value::Tuple(items));
                }
                op::TUPLE => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items));
                }
                op::FROZENSET => {
                    self.pop_to_mark()?;
                    self.push(Value::Inert);
                }
                op::APPEND => {
                    let item = self.pop()?;
                    self.extend_list(vec![item], at)?;
                }
                op::APPENDS => {
                    let items = self.pop_to_mark()?;
                    self.extend_list(items, at)?;
                }
                op::ADDITEMS => {
                    self.pop_to_mark()?;
                }
                op::SETITEM => {
                    let items = self.pop_last(2)?;
                    self.extend_dict(&items, at)?;
                }
                op::SETITEMS => {
                    let items = self.pop_to_mark()?;
                    self.extend_dict(&items, at)?;
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
                    self.push(Value::Global(global(module, name)?));
                }
                op::STACK_GLOBAL => {
                    let names = self.pop_last(2)?;
                    let [&Value::Str(module), &Value::Str(name)] =
                        [self.value(names[0]), self.value(names[1])]
                    else {
                        return Err(WeightsError::corrupt("a name is not a string", at));
                    };
                    self.push(Value::Global(global(module, name)?));
                }
                op::REDUCE | op::NEWOBJ => {
                    let call = self.pop_last(2)?;
                    let result = self.call(call[0], call[1], at)?;
                    self.stack.push(result);
                }
                op::BUILD => {
                    // Attributes set on an object, such as a state dict's `_metadata`, are dropped.
                    self.pop()?;
                    let object = *self.top()?;
                    if !matches!(
                        self.value(object),
                        Value::Dict(_) | Value::Tensor(_) | Value::Inert
                    ) {
                        return Err(WeightsError::corrupt("attributes set on a plain value", at));
                    }
                }
                op::BINPERSID => {
                    let id = self.pop()?;
                    let storage = self.storage(id, at)?;
                    self.storages.push(storage);
                    self.push(Value::Storage(self.storages.len() - 1));
                }
                op::INST | op::OBJ | op::NEWOBJ_EX | op::EXT1 | op::EXT2 | op::EXT4 => {
                    let what = format!("an object built by pickle instruction 0x{opcode:02X}");
                    return Err(WeightsError::Refused { what });
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

    fn extend_list(&mut self, items: Vec<ValueId>, at: usize) -> Result<(), WeightsError> {
        let ValueId(list) = *self.top()?;
        match &mut self.values[list as usize] {
            Value::List(list) => list.extend(items),
            Value::Inert => {}
            _ => {
                return Err(WeightsError::corrupt(
                    "items appended to what is not a list",
                    at,
                ));
            }
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[ValueId], at: usize) -> Result<(), WeightsError> {
        let ValueId(dict) = *self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(WeightsError::corrupt("a dictionary's key has no value", at));
        };
        match &mut self.values[dict as usize] {
            Value::Dict(dict) => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
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

    /// What the call of a known function would give. Nothing is called.
    fn call(
        &mut self,
        function: ValueId,
        args: ValueId,
        at: usize,
    ) -> Result<ValueId, WeightsError> {
        let corrupt = |what: &str| WeightsError::corrupt(what, at);
        let (&Value::Global(function), Value::Tuple(args)) =
            (self.value(function), self.value(args))
        else {
            return Err(corrupt("a call of what is not a function"));
        };
        let result = match function {
            Global::Inert => Value::Inert,
            Global::StorageType(_) => {
                return Err(WeightsError::unsupported("a storage inside the pickle"));
            }
            Global::OrderedDict => return self.ordered_dict(args.first().copied(), at),
            Global::Size => match args.as_slice() {
                [] => Value::Tuple(Vec::new()),
                &[extents] => return Ok(extents),
                _ => return Err(corrupt("a torch.Size of several arguments")),
            },
            Global::RebuildTensor => Value::Tensor(self.tensor(args, at)?),
            Global::RebuildParameter => match args.first() {
                Some(&data) if matches!(self.value(data), Value::Tensor(_)) => return Ok(data),
                _ => return Err(corrupt("a parameter without a tensor")),
            },
            Global::RebuildFromType => {
                let &[inner, _, inner_args, ..] = args.as_slice() else {
                    return Err(corrupt("a tensor subclass with too few arguments"));
                };
                // One level only, as PyTorch writes it: a call inside this one could nest without end.
                if matches!(self.value(inner), Value::Global(Global::RebuildFromType)) {
                    return Err(corrupt("a tensor subclass inside another"));
                }
                return self.call(inner, inner_args, at);
            }
        };
        Ok(self.add(result))
    }

    /// `OrderedDict()`, or `OrderedDict([[key, value], …])` as Python 2 wrote it.
    fn ordered_dict(&mut self, pairs: Option<ValueId>, at: usize) -> Result<ValueId, WeightsError> {
        let Some(pairs) = pairs else {
            return Ok(self.add(Value::Dict(Vec::new())));
        };
        let not_pairs = || WeightsError::corrupt("an OrderedDict of what are not pairs", at);
        let count = match self.value(pairs) {
            Value::List(pairs) => pairs.len(),
            _ => return Err(not_pairs()),
        };
        // The one place where a single instruction copies a list: it is charged by its length.
        self.charge(count)?;
        let mut dict = Vec::with_capacity(count);
        if let Value::List(pairs) = self.value(pairs) {
            for &pair in pairs {
                match self.value(pair) {
                    Value::List(pair) | Value::Tuple(pair) if pair.len() == 2 => {
                        dict.push((pair[0], pair[1]));
                    }
                    _ => return Err(not_pairs()),
                }
            }
        }
        Ok(self.add(Value::Dict(dict)))
    }

    /// The arguments `(storage, offset, shape, strides, requires_grad, hooks, metadata)`; the last
    /// three may be absent.
    fn tensor(&self, args: &[ValueId], at: usize) -> Result<TensorSpec, WeightsError> {
        let corrupt = |what: &str| WeightsError::corrupt(what, at);
        let &[storage, offset, shape, strides, ref rest @ ..] = args else {
            return Err(corrupt("a tensor with too few arguments"));
        };
        let (&Value::Storage(storage), &Value::Int(offset)) =
            (self.value(storage), self.value(offset))
        else {
            return Err(corrupt("a tensor without storage or offset"));
        };
        let offset = usize::try_from(offset)
            .map_err(|_| corrupt("a tensor's offset is negative or too large"))?;
        if let Some(Value::Dict(flags)) = rest.get(2).map(|&flags| self.value(flags))
            && flags
                .iter()
                .any(|&(_, on)| matches!(self.value(on), Value::Bool(true)))
        {
            return Err(WeightsError::unsupported(
                "a tensor stored negated or conjugated",
            ));
        }
        Ok(TensorSpec {
            storage,
            offset,
            shape,
            strides,
        })
    }

    /// The persistent id `("storage", type, key, location, length)`, with a part in legacy files.
    fn storage(&self, id: ValueId, at: usize) -> Result<StorageSpec<'a>, WeightsError> {
        let corrupt = |what: &str| WeightsError::corrupt(what, at);
        let Value::Tuple(fields) = self.value(id) else {
            return Err(corrupt("a persistent id is not a tuple"));
        };
        let &[kind, dtype, key, _location, len, ref rest @ ..] = fields.as_slice() else {
            return Err(corrupt("a persistent id is too short"));
        };
        let (
            Value::Str("storage"),
            &Value::Global(Global::StorageType(dtype)),
            &Value::Str(key),
            Some(len),
        ) = (
            self.value(kind),
            self.value(dtype),
            self.value(key),
            self.size(len),
        )
        else {
            return Err(corrupt("a persistent id does not name a storage"));
        };
        let part = match rest.first().map(|&part| self.value(part)) {
            None | Some(Value::Inert) => None,
            Some(Value::Tuple(part)) => {
                let &[_key, offset, len] = part.as_slice() else {
                    return Err(corrupt("a part of a storage is not a triple"));
                };
                let (Some(offset), Some(len)) = (self.size(offset), self.size(len)) else {
                    return Err(corrupt("a part of a storage has no size"));
                };
                Some((offset, len))
            }
            Some(_) => return Err(corrupt("a part of a storage is not a tuple")),
        };
        Ok(StorageSpec {
            key,
            dtype,
            len,
            part,
        })
    }

    fn size(&self, id: ValueId) -> Option<usize> {
        match self.value(id) {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        }
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
