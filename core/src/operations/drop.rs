//! What is left out at random in training. In a frozen network it is nothing.

#[cfg(feature = "burn")]
use burn::tensor::{Tensor, TensorData};

use super::Compute;
#[cfg(feature = "burn")]
use super::run::each_rank;
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
use crate::graph::{Dropout, Node, StochasticDepth};
use crate::program::{CompileError, Condition, Lowering, ValueId, Work};

impl Compute for Dropout {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        Ok(lowered(self.share, true, node, inputs, program))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        each_rank!(only(inputs), x => {
            let shape = x.dims();
            left_out(x, shape, self.share, run)
        })
    }
}

impl Compute for StochasticDepth {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        Ok(lowered(self.share, false, node, inputs, program))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        each_rank!(only(inputs), x => {
            let mut shape = x.dims();
            shape[1..].fill(1);
            left_out(x, shape, self.share, run)
        })
    }
}

/// A step of its own in training, unless nothing is left out; nothing otherwise.
fn lowered(
    share: f64,
    each: bool,
    node: &Node,
    inputs: &[ValueId],
    program: &mut Lowering<'_, '_>,
) -> ValueId {
    let value = inputs[0];
    if program.condition() == Condition::Frozen || share == 0.0 {
        return value;
    }
    let work = Work::LeaveOut { share, each };
    program.step(&node.name, work, inputs, program.shape(value))
}

/// Multiplies values with factors of this shape, of which a share is zero and the others make up for it.
#[cfg(feature = "burn")]
fn left_out<const D: usize>(
    x: Tensor<D>,
    shape: [usize; D],
    share: f64,
    run: &mut Run<'_>,
) -> Tensor<D> {
    if share == 0.0 {
        return x;
    }
    let Some(draws) = run.draws(shape[0], shape[1..].iter().product()) else {
        return x;
    };
    let kept = (1.0 / (1.0 - share)) as f32;
    let factor = |draw: f32| if f64::from(draw) < share { 0.0 } else { kept };
    let factors: Vec<f32> = draws.into_iter().map(factor).collect();
    let factors = Tensor::from_data(TensorData::new(factors, shape), &x.device());
    x * factors
}
