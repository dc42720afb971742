//! Networks in training on the processor: a program with its way back.
//!
//! A network is data, so its backward pass follows from it. [`Course::new`] lowers the graph as for a frozen network
//! (channels last, nothing that only turns axes), joins each product with the batch norm, the sum and the function behind
//! it, and knows for each of these jobs how gradients go back through it. [`Course::plan`] is told what
//! learns, and decides once what is kept on the way forward and how far back anything has to go: no gradient of what is
//! frozen is ever computed, and a batch norm that keeps its statistics is part of the weights before it.
//!
//! Numbers stand in [`Parameters`], by PyTorch's names and in its order. The kernels are `rekindle-cpu`'s; buffers are taken
//! from a [`Pool`] that lives as long as the training. What has no way back here yet (transposed convolutions, group
//! norms, resizing, cosine attention) is said by [`Course::new`]; such networks train step by step (`network::Network`).

mod attention;
mod course;
mod job;
mod join;
mod memory;
mod moves;
mod norm;
mod parameters;
mod pass;
mod plan;
mod pool;
mod product;
mod way;

pub use course::{Course, NoWayBack};
pub use memory::pass_bytes;
pub use parameters::Parameters;
pub use pass::{Gradients, Pass, Waiting, Watch};
pub use plan::Plan;
pub use pool::Pool;

#[cfg(test)]
mod tests;
