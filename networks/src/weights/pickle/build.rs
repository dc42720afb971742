//! What the calls in a pickle would give: tensors, storages, objects. Nothing is called.

use super::globals::{ClassId, Global, global};
use super::machine::Machine;
use super::value::{Entries, Object, StorageSpec, TensorSpec, Value, ValueId};
use crate::weights::error::WeightsError;

impl<'a> Machine<'a> {
    /// Puts a function or class on the stack.
    pub fn push_global(&mut self, module: &'a str, name: &'a str) -> Result<(), WeightsError> {
        let found = global(module, name, || self.intern(module, name))?;
        self.push(Value::Global(found));
        Ok(())
    }

    /// Keeps the name of a class or function.
    fn intern(&mut self, module: &'a str, name: &'a str) -> ClassId {
        self.classes.push((module, name));
        // One step adds one name at most, and steps are capped far below 2^32.
        ClassId(self.classes.len() as u32 - 1)
    }

    /// An object of a class, its attributes yet to be set.
    fn object(&mut self, class: ClassId, args: ValueId) -> Value<'a> {
        self.objects.push(Object {
            class,
            args,
            state: None,
            entries: Vec::new(),
        });
        Value::Object(self.objects.len() - 1)
    }

    /// What the call of a function or class would give.
    pub fn call(
        &mut self,
        function: ValueId,
        args: ValueId,
        at: usize,
    ) -> Result<ValueId, WeightsError> {
        let corrupt = |what: &str| WeightsError::corrupt(what, at);
        let tuple = args;
        let (function, args) = match (self.value(function), self.value(args)) {
            (&Value::Global(function), Value::Tuple(args)) => (function, args),
            // What an unknown call gave is called in turn: `getattr(…)(…)`.
            (Value::Inert | Value::Object(_), Value::Tuple(_)) => return Ok(self.add(Value::Inert)),
            _ => return Err(corrupt("a call of what is not a function")),
        };
        let result = match function {
            Global::Inert => Value::Inert,
            Global::Unknown(class) => self.object(class, tuple),
            Global::Reconstruct => match args.first().map(|&class| self.value(class)) {
                Some(&Value::Global(Global::Unknown(class))) => self.object(class, tuple),
                _ => Value::Inert,
            },
            Global::RebuildStrange(function) => Value::StrangeTensor(function),
            // A storage by itself, whose bytes are in the pickle.
            Global::Storage(_) => Value::Inert,
            Global::Dict => match args.first().map(|&of| (of, self.value(of))) {
                Some((of, Value::Dict(_))) => return Ok(of),
                _ => Value::Dict(Vec::new()),
            },
            Global::List => match args.first().map(|&of| (of, self.value(of))) {
                Some((of, Value::List(_) | Value::Tuple(_))) => return Ok(of),
                _ => Value::List(Vec::new()),
            },
            Global::OrderedDict => return self.ordered_dict(args.first().copied(), at),
            Global::Size => match args.as_slice() {
                [] => Value::Tuple(Vec::new()),
                &[extents] => return Ok(extents),
                _ => return Err(corrupt("a torch.Size of several arguments")),
            },
            Global::RebuildTensor => {
                let (tensor, flags) = (self.tensor(args, at)?, self.flags(args).len());
                // PyTorch gives a tensor two flags at most; here all may share one long dictionary of them.
                self.charge(flags)?;
                match tensor {
                    Some(tensor) => Value::Tensor(tensor),
                    None => Value::StrangeTensor(self.intern("torch", "conj or torch.neg")),
                }
            }
            Global::RebuildParameter => match args.first() {
                Some(&data)
                    if matches!(self.value(data), Value::Tensor(_) | Value::StrangeTensor(_)) =>
                {
                    return Ok(data);
                }
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
        // A single instruction copies a list: it is charged by its length.
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
    /// three may be absent. Nothing for a tensor that is stored negated or conjugated.
    fn tensor(&self, args: &[ValueId], at: usize) -> Result<Option<TensorSpec>, WeightsError> {
        let corrupt = |what: &str| WeightsError::corrupt(what, at);
        let &[storage, offset, shape, strides, ..] = args else {
            return Err(corrupt("a tensor with too few arguments"));
        };
        let (&Value::Storage(storage), &Value::Int(offset)) =
            (self.value(storage), self.value(offset))
        else {
            return Err(corrupt("a tensor without storage or offset"));
        };
        let offset = usize::try_from(offset)
            .map_err(|_| corrupt("a tensor's offset is negative or too large"))?;
        let set = |&(_, on): &(ValueId, ValueId)| matches!(self.value(on), Value::Bool(true));
        if self.flags(args).iter().any(set) {
            return Ok(None);
        }
        Ok(Some(TensorSpec {
            storage,
            offset,
            shape,
            strides,
        }))
    }

    /// What the last of a tensor's arguments says of its numbers beside their type: whether they are negated or
    /// conjugated.
    fn flags(&self, args: &[ValueId]) -> &Entries {
        match args.get(6).map(|&flags| self.value(flags)) {
            Some(Value::Dict(flags)) => flags,
            _ => &[],
        }
    }

    /// What a persistent id stands for: a storage, or a module's class beside its source.
    pub fn persistent(&mut self, id: ValueId, at: usize) -> Result<ValueId, WeightsError> {
        if let Value::Tuple(fields) = self.value(id)
            && let [kind, class, ..] = fields[..]
            && matches!(self.value(kind), Value::Str("module"))
        {
            return Ok(class);
        }
        let storage = self.storage(id, at)?;
        self.storages.push(storage);
        Ok(self.add(Value::Storage(self.storages.len() - 1)))
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
            &Value::Global(Global::Storage(element)),
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
        WeightsError::check_name(key)?;
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
            element,
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
