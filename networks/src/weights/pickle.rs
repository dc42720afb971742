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
mod machine;
mod op;
mod run;
mod value;

pub(super) use globals::Element;
pub(super) use value::{Entries, Pickle, StorageSpec, Value, ValueId};
