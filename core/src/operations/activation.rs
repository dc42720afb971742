//! Elementwise functions.

#[cfg(feature = "burn")]
use burn::tensor::Tensor;
#[cfg(feature = "burn")]
use burn::tensor::activation::{gelu, hard_sigmoid, hard_swish, relu, relu6, sigmoid, silu, tanh};

use super::Compute;
#[cfg(feature = "burn")]
use super::run::each_rank;
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
#[cfg(feature = "burn")]
use crate::graph::Nonlinearity;
use crate::graph::{Activate, Node};
use crate::program::{CompileError, Lowering, ValueId, Work};

impl Compute for Activate {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let shape = program.shape(inputs[0]);
        Ok(program.step(&node.name, Work::Activate(self.0), inputs, shape))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        each_rank!(only(inputs), x => activate(self.0, x))
    }
}

#[cfg(feature = "burn")]
fn activate<const D: usize>(function: Nonlinearity, x: Tensor<D>) -> Tensor<D> {
    match function {
        Nonlinearity::Relu => relu(x),
        Nonlinearity::Relu6 => relu6(x),
        Nonlinearity::Silu => silu(x),
        Nonlinearity::HardSwish => hard_swish(x),
        Nonlinearity::HardSigmoid => hard_sigmoid(x, 1.0 / 6.0, 0.5),
        Nonlinearity::Sigmoid => sigmoid(x),
        Nonlinearity::Gelu => gelu(x),
        Nonlinearity::Tanh => tanh(x),
    }
}
