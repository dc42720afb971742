//! What a pickle says: Python values in one flat list, as far as weights need them.

use super::globals::{ClassId, Element, Global};
use crate::weights::error::shown;
use crate::weights::view::MAX_RANK;

/// The place of a value in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// What a dictionary holds.
pub type Entries = [(ValueId, ValueId)];

/// A Python value, as far as weights need it.
#[derive(Debug)]
pub enum Value<'a> {
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
pub struct Object {
    pub class: ClassId,
    /// What it was made of.
    pub args: ValueId,
    /// What its attributes were set to, mostly a dictionary.
    pub state: Option<ValueId>,
    /// What it holds where its class is a kind of dictionary.
    pub entries: Vec<(ValueId, ValueId)>,
}

/// How a tensor lies in a storage.
#[derive(Debug, Clone, Copy)]
pub struct TensorSpec {
    /// An index into [`Pickle::storages`].
    pub storage: usize,
    /// Of the first element, in elements.
    pub offset: usize,
    pub shape: ValueId,
    pub strides: ValueId,
}

/// A storage as the pickle names it; its bytes are elsewhere in the file.
#[derive(Debug, Clone)]
pub struct StorageSpec<'a> {
    pub key: &'a str,
    pub element: Element,
    /// The elements of the whole storage.
    pub len: usize,
    /// For a storage that is a part of another: its first element and its length.
    pub part: Option<(usize, usize)>,
}

/// A parsed pickle.
#[derive(Debug)]
pub struct Pickle<'a> {
    pub values: Vec<Value<'a>>,
    pub storages: Vec<StorageSpec<'a>>,
    pub objects: Vec<Object>,
    /// Modules and names of classes that are not known here.
    pub classes: Vec<(&'a str, &'a str)>,
    pub root: ValueId,
    /// Where the pickle ends, in bytes from the start of the file.
    pub end: usize,
}

impl<'a> Pickle<'a> {
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
