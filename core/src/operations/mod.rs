//! What networks' steps compute: for each kind, how it runs on tensors and what it is compiled to. A file here has the
//! name of the one in `rekindle_networks::graph::op` that says what the step is.

mod activation;
mod arithmetic;
mod attention;
mod chance;
mod channels;
mod conv;
mod conv_transpose;
mod drop;
mod layout;
mod linear;
mod norm;
mod pool;
mod resize;
#[cfg(feature = "burn")]
mod run;
mod tokens;

#[cfg(feature = "burn")]
pub(crate) use attention::unit;
pub use chance::Chance;
#[cfg(feature = "burn")]
pub use run::{Batch, Mode, Parameter};
#[cfg(feature = "burn")]
pub(crate) use run::{Run, Statistics};
#[cfg(feature = "burn")]
pub(crate) use tokens::merge_patches;

use crate::graph::{Node, Op};
use crate::program::{CompileError, Lowering, ValueId};

/// What every kind of step computes. There are no defaults: a new kind does not compile before both questions are
/// answered.
pub(crate) trait Compute {
    /// Adds what a frozen step does to a program, and returns the value that stands for its output.
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError>;

    /// Does it, on tensors that may record gradients.
    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch;
}

/// What this kind of step computes.
pub(crate) fn compute(op: &Op) -> &dyn Compute {
    match op {
        Op::Convolution(op) => op,
        Op::TransposedConvolution(op) => op,
        Op::Resize(op) => op,
        Op::BatchNorm(op) => op,
        Op::GroupNorm(op) => op,
        Op::LayerNorm(op) => op,
        Op::ChannelLayerNorm(op) => op,
        Op::Linear(op) => op,
        Op::Activate(op) => op,
        Op::MaxPool(op) => op,
        Op::AvgPool(op) => op,
        Op::AdaptiveAvgPool(op) => op,
        Op::Add(op) => op,
        Op::Multiply(op) => op,
        Op::Concat(op) => op,
        Op::Chunk(op) => op,
        Op::ChannelShuffle(op) => op,
        Op::Scale(op) => op,
        Op::Affine(op) => op,
        Op::Dropout(op) => op,
        Op::StochasticDepth(op) => op,
        Op::ChannelsLast(op) => op,
        Op::ChannelsFirst(op) => op,
        Op::Flatten(op) => op,
        Op::Tokens(op) => op,
        Op::ClassToken(op) => op,
        Op::FirstToken(op) => op,
        Op::PositionEmbedding(op) => op,
        Op::MergePatches(op) => op,
        Op::Attention(op) => op,
    }
}

/// The only input of a step that takes one.
#[cfg(feature = "burn")]
fn only(inputs: Vec<Batch>) -> Batch {
    let count = inputs.len();
    match inputs.into_iter().next() {
        Some(input) if count == 1 => input,
        _ => unreachable!("a step of one input was given {count}"),
    }
}

/// The two inputs of a step that takes two.
#[cfg(feature = "burn")]
fn both(inputs: Vec<Batch>) -> [Batch; 2] {
    match inputs.try_into() {
        Ok(inputs) => inputs,
        Err(inputs) => unreachable!("a step of two inputs was given {}", inputs.len()),
    }
}
