//! Looking into networks: what they are made of, as tables, drawings and ONNX.
//!
//! All of it is read off the [`crate::graph::Graph`]: nothing here knows a family.

mod diagram;
pub mod onnx;
mod summary;

pub use diagram::{Diagram, diagram, escape};
pub use summary::{Row, Summary, grouped};
