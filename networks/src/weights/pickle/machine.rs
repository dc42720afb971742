//! The machine's memory: its values, its stack and its memo, and what they may take.

use std::collections::BTreeMap;

use super::input::Input;
use super::value::{Object, StorageSpec, Value, ValueId};
use crate::weights::error::WeightsError;
use crate::weights::view::MAX_RANK;

/// How many instructions any pickle may have. A network of a thousand tensors takes some 50 000.
const FEW_STEPS: usize = 1 << 17;

/// How many a pickle may have if its file is large.
const MANY_STEPS: usize = 1 << 21;

/// How many bytes of a file allow one instruction more than the few that any may have. One makes the machine take
/// some 48 bytes, so that its memory is a dozen times the file at most.
const STEP_BYTES: usize = 4;

/// How many plain numbers of a list or tuple are kept: enough for a shape, and to see that one is too long.
pub const NUMBERS_KEPT: usize = MAX_RANK + 1;

/// Values that are the same wherever they stand, at the places they have in every pickle: one of no interest, no
/// and yes, then the integers of one byte.
pub const INERT: ValueId = ValueId(0);
pub const FALSE: ValueId = ValueId(1);
pub const TRUE: ValueId = ValueId(2);
pub const BYTES: u32 = 3;
pub const SHARED: u32 = BYTES + 256;

fn shared_values<'a>() -> Vec<Value<'a>> {
    let plain = [Value::Inert, Value::Bool(false), Value::Bool(true)];
    plain.into_iter().chain((0..=255).map(Value::Int)).collect()
}

/// The state of a parse.
pub struct Machine<'a> {
    pub input: Input<'a>,
    pub steps: usize,
    /// The most steps that may be taken.
    pub limit: usize,
    pub values: Vec<Value<'a>>,
    pub storages: Vec<StorageSpec<'a>>,
    pub objects: Vec<Object>,
    pub classes: Vec<(&'a str, &'a str)>,
    pub stack: Vec<ValueId>,
    /// The height of the stack at each mark.
    pub marks: Vec<usize>,
    pub memo: BTreeMap<u32, ValueId>,
    /// The values from this place on are in no memo: each is on the stack, or in one other value.
    pub remembered: u32,
}

impl<'a> Machine<'a> {
    /// Before the first instruction of the pickle that starts at `start`.
    pub fn new(bytes: &'a [u8], start: usize) -> Self {
        Self {
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
    }

    /// Counts work done and memory taken, and stops a file that asks for too much of either.
    pub fn charge(&mut self, steps: usize) -> Result<(), WeightsError> {
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

    pub fn add(&mut self, value: Value<'a>) -> ValueId {
        // One step adds one value at most, and steps are capped far below 2^32.
        let id = ValueId(self.values.len() as u32);
        self.values.push(value);
        id
    }

    pub fn push(&mut self, value: Value<'a>) {
        let id = self.add(value);
        self.stack.push(id);
    }

    pub fn value(&self, id: ValueId) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    pub fn underflow(&self) -> WeightsError {
        WeightsError::corrupt(
            "the pickle takes more values than it has made",
            self.input.at,
        )
    }

    /// The height of the stack at the last mark: what lies below is out of reach until the mark goes.
    pub fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub fn top(&self) -> Result<&ValueId, WeightsError> {
        self.stack[self.floor()..]
            .last()
            .ok_or_else(|| self.underflow())
    }

    pub fn pop(&mut self) -> Result<ValueId, WeightsError> {
        let top = *self.top()?;
        self.stack.pop();
        Ok(top)
    }

    pub fn pop_last(&mut self, count: usize) -> Result<Vec<ValueId>, WeightsError> {
        if self.stack.len() - self.floor() < count {
            return Err(self.underflow());
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    pub fn pop_to_mark(&mut self) -> Result<Vec<ValueId>, WeightsError> {
        let height = self.marks.pop().ok_or_else(|| self.underflow())?;
        Ok(self.stack.split_off(height))
    }

    pub fn remember(&mut self, index: u32) -> Result<(), WeightsError> {
        let top = *self.top()?;
        self.memo.insert(index, top);
        self.remembered = self.remembered.max(top.0 + 1);
        Ok(())
    }

    pub fn recall(&mut self, index: u32) -> Result<(), WeightsError> {
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
    pub fn forget_numbers(&mut self, items: &mut Vec<ValueId>, kept: usize) {
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
    pub fn is_number(&self, id: ValueId) -> bool {
        matches!(
            self.value(id),
            Value::Inert | Value::Bool(_) | Value::Int(_) | Value::Long(_)
        )
    }

    /// Gives back the room of numbers that were on the stack and go nowhere.
    pub fn free(&mut self, numbers: &[ValueId]) {
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

    pub fn extend_list(&mut self, mut items: Vec<ValueId>, at: usize) -> Result<(), WeightsError> {
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

    pub fn extend_dict(&mut self, items: Vec<ValueId>, at: usize) -> Result<(), WeightsError> {
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
