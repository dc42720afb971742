//! Networks in training on the processor: a program with its way back.
//!
//! A network is data, so its backward pass follows from it. [`Course::new`] lowers the graph as for a frozen network
//! (channels last, nothing that only turns axes), joins each product with the batch norm, the sum and the function behind
//! it, and knows for each of these jobs how gradients go back through it. [`Course::plan`] is told what
//! learns, and decides once what is kept on the way forward and how far back anything has to go: no gradient of what is
//! frozen is ever computed, and a batch norm that keeps its statistics is part of the weights before it.
//!
//! Numbers stand in [`Parameters`], by PyTorch's names and in its order. The kernels are `rekindle-cpu`'s. Before a way is gone
//! it is rehearsed ([`Pass::rehearse`]): when each buffer is taken and given back is known then, and so where all of them lie
//! in one memory, the [`Ground`]. What has no way back here yet (transposed convolutions, group
//! norms, resizing, cosine attention) is said by [`Course::new`]; such networks train step by step (`network::Network`).

mod attention;
mod course;
mod job;
mod join;
mod layout;
mod memory;
mod moves;
mod needs;
mod norm;
#[cfg(feature = "burn")]
pub(crate) mod on_adapter;
mod parameters;
mod parting;
mod pass;
mod plan;
mod price;
mod product;
mod segments;
mod way;

pub use course::{Course, NoWayBack};
pub use layout::{Ground, Layout};
pub use memory::pass_bytes;
pub use parameters::Parameters;
pub use pass::{Gradient, Gradients, Pass, Waiting, Watch};
pub use plan::Plan;

#[cfg(test)]
mod tests;
