//! The instructions of a pickle, one after another.

use super::input::Input;
use super::machine::{BYTES, FALSE, INERT, Machine, NUMBERS_KEPT, TRUE};
use super::op;
use super::value::{Pickle, Value, ValueId};
use crate::weights::error::WeightsError;

/// The most collections that may be open at once.
const MAX_DEPTH: usize = 256;

impl<'a> Pickle<'a> {
    /// Parses the pickle that starts at `start`; `bytes` may go on behind it.
    pub fn parse(bytes: &'a [u8], start: usize) -> Result<Self, WeightsError> {
        let mut machine = Machine::new(bytes, start);
        while machine.step()? {}
        let root = machine.pop()?;
        let Machine {
            values,
            storages,
            objects,
            classes,
            input: Input { at: end, .. },
            ..
        } = machine;
        Ok(Self {
            values,
            storages,
            objects,
            classes,
            root,
            end,
        })
    }
}

impl Machine<'_> {
    /// Takes one instruction; false if it was the last.
    fn step(&mut self) -> Result<bool, WeightsError> {
        self.charge(1)?;
        let at = self.input.at;
        let [opcode] = self.input.array()?;
        if opcode == op::STOP {
            return Ok(false);
        }
        let is_known = self.plain(opcode)?
            || self.collection(opcode, at)?
            || self.memory(opcode)?
            || self.built(opcode, at)?;
        if is_known {
            return Ok(true);
        }
        let what = format!("0x{opcode:02X} is not an instruction of the pickles read");
        Err(WeightsError::corrupt(what, at))
    }

    /// Numbers, text and bytes, and what only says how the pickle is written; false for other instructions.
    fn plain(&mut self, opcode: u8) -> Result<bool, WeightsError> {
        match opcode {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Tuples, lists, sets and dictionaries, made and extended; false for other instructions.
    fn collection(&mut self, opcode: u8, at: usize) -> Result<bool, WeightsError> {
        match opcode {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Marks, the stack and the memo; false for other instructions.
    fn memory(&mut self, opcode: u8) -> Result<bool, WeightsError> {
        match opcode {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Functions and classes, what comes of calling them, and storages; false for other instructions.
    fn built(&mut self, opcode: u8, at: usize) -> Result<bool, WeightsError> {
        match opcode {
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
                    Value::Dict(_) | Value::Tensor(_) | Value::StrangeTensor(_) | Value::Inert => {}
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
            _ => return Ok(false),
        }
        Ok(true)
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
