//! Frozen networks, compiled once.
//!
//! A network that no longer changes need not be run step by step as it was written. [`lower()`] turns
//! its graph and its numbers into a [`Program`] in which everything lies channels last and nothing is
//! left that only training needs; [`fuse()`] folds batch norms and learnt factors into the weights
//! before them and lets a step apply the activation and add the residual that follow it. A program
//! then runs on the [`Processor`], with packed weights and buffers that are reused, or on a graphics
//! `Adapter` (with the feature `burn`), with weights laid out for our kernels and nothing read back in
//! between.
//!
//! A network in training never comes here: it keeps its exact steps (`network::Network`).

#[cfg(feature = "burn")]
mod adapter;
mod fuse;
#[cfg(feature = "burn")]
mod listing;
mod lower;
mod pairs;
mod place;
mod precision;
mod processor;
#[cfg(feature = "burn")]
mod upload;

pub use crate::lower::blanks;
pub use crate::program::{
    CompileError, Ending, Program, SelfAttention, Shape, Step, Timing, ValueId, Weight, Work,
};
#[cfg(feature = "burn")]
pub use adapter::Adapter;
pub use fuse::fuse;
#[cfg(feature = "burn")]
pub use listing::{Listed, listing, processor_listing};
pub use lower::lower;
pub use precision::Precision;
pub use processor::Processor;
pub(crate) use processor::{activation, geometry, pool};
