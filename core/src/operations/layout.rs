//! Axes in another order. Frozen programs keep everything channels last, so that most of these steps are nothing there.

#[cfg(feature = "burn")]
use burn::tensor::Tensor;

use super::Compute;
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
use crate::graph::{ChannelsFirst, ChannelsLast, Flatten, Node};
use crate::program::{CompileError, Lowering, Shape, ValueId, Work};

/// `[N, C, H, W]` to `[N, H, W, C]`.
#[cfg(feature = "burn")]
pub(super) fn channels_last(map: Tensor<4>) -> Tensor<4> {
    map.permute([0, 2, 3, 1])
}

/// `[N, H, W, C]` to `[N, C, H, W]`.
#[cfg(feature = "burn")]
pub(super) fn channels_first(map: Tensor<4>) -> Tensor<4> {
    map.permute([0, 3, 1, 2])
}

impl Compute for ChannelsLast {
    fn lower<'t>(
        &self,
        _node: &Node,
        inputs: &[ValueId],
        _program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        Ok(inputs[0])
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        Batch::Maps(channels_last(only(inputs).maps()))
    }
}

impl Compute for ChannelsFirst {
    fn lower<'t>(
        &self,
        _node: &Node,
        inputs: &[ValueId],
        _program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        Ok(inputs[0])
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        Batch::Maps(channels_first(only(inputs).maps()))
    }
}

impl Compute for Flatten {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let shape = program.shape(inputs[0]);
        let features = Shape {
            rows: 1,
            columns: 1,
            channels: shape.numbers(),
        };
        let work = match shape.positions() {
            1 if shape == features => return Ok(inputs[0]),
            1 => Work::Reshape,
            _ => Work::FlattenMaps,
        };
        Ok(program.step(&node.name, work, inputs, features))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        Batch::Features(match only(inputs) {
            Batch::Maps(map) => map.flatten(1, 3),
            Batch::Tokens(tokens) => tokens.flatten(1, 2),
            Batch::Features(features) => features,
        })
    }
}
