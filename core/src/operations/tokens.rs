//! Maps as sequences of tokens, and what transformers do with tokens beside attention.

#[cfg(feature = "burn")]
use burn::tensor::Tensor;
#[cfg(feature = "burn")]
use burn::tensor::ops::PadMode;

use super::Compute;
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
use crate::graph::{ClassToken, FirstToken, MergePatches, Node, PositionEmbedding, Tokens};
use crate::program::{CompileError, Lowering, Shape, ValueId, Work};

impl Compute for Tokens {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let shape = program.shape(inputs[0]);
        let tokens = Shape {
            rows: 1,
            columns: shape.positions(),
            ..shape
        };
        Ok(program.step(&node.name, Work::Reshape, inputs, tokens))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        let map = only(inputs).maps();
        Batch::Tokens(map.flatten::<3>(2, 3).swap_dims(1, 2))
    }
}

impl Compute for ClassToken {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let shape = program.shape(inputs[0]);
        let tokens = Shape {
            columns: shape.columns + 1,
            ..shape
        };
        let work = Work::ClassToken(program.table(self.layer)?.to_vec());
        Ok(program.step(&node.name, work, inputs, tokens))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        let tokens = only(inputs).tokens();
        let [n, _, width] = tokens.dims();
        let class = run.tensor::<3>(self.layer, 0).expand([n, 1, width]);
        Batch::Tokens(Tensor::cat(vec![class, tokens], 1))
    }
}

impl Compute for FirstToken {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let features = Shape {
            columns: 1,
            ..program.shape(inputs[0])
        };
        Ok(program.step(&node.name, Work::FirstToken, inputs, features))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        let tokens = only(inputs).tokens();
        let [n, _, width] = tokens.dims();
        Batch::Features(tokens.narrow(1, 0, 1).reshape([n, width]))
    }
}

impl Compute for PositionEmbedding {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let work = Work::Positions(program.table(self.layer)?.to_vec());
        let shape = program.shape(inputs[0]);
        Ok(program.step(&node.name, work, inputs, shape))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        Batch::Tokens(only(inputs).tokens() + run.tensor::<3>(self.layer, 0))
    }
}

impl Compute for MergePatches {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let shape = program.shape(inputs[0]);
        let merged = Shape {
            rows: shape.rows.div_ceil(2),
            columns: shape.columns.div_ceil(2),
            channels: 4 * shape.channels,
        };
        Ok(program.step(&node.name, Work::MergePatches, inputs, merged))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        Batch::Maps(merge_patches(only(inputs).maps()))
    }
}

/// `[N, H, W, C]` to `[N, ⌈H/2⌉, ⌈W/2⌉, 4C]`: the upper left, lower left, upper right and lower right
/// of each four positions; a missing last row or column is zero.
#[cfg(feature = "burn")]
pub(crate) fn merge_patches(map: Tensor<4>) -> Tensor<4> {
    let [n, height, width, channels] = map.dims();
    let map = match height % 2 + width % 2 {
        0 => map,
        _ => map.pad(
            [(0, 0), (0, height % 2), (0, width % 2), (0, 0)],
            PadMode::Constant(0.0),
        ),
    };
    let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
    // [N, rows, 2, columns, 2, C] → [N, rows, columns, 2 (column), 2 (row), C]
    map.reshape([n, rows, 2, columns, 2, channels])
        .permute([0, 1, 3, 4, 2, 5])
        .reshape([n, rows, columns, 4 * channels])
}
