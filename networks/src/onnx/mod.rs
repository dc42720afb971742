//! Writing ONNX files: protocol buffers, operators and constants. It knows tensors, but no network: what a step of a
//! network becomes is said by the step itself ([`crate::graph::Op`]).

mod proto;
mod writer;

pub use proto::{Attribute, Message, value_info};
pub use writer::{Name, OnnxError, Writer};
