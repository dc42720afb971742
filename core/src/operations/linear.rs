//! Linear maps.

#[cfg(feature = "burn")]
use burn::tensor::Tensor;

use super::Compute;
#[cfg(feature = "burn")]
use super::run::{each_rank, joined};
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
#[cfg(feature = "burn")]
use crate::graph::LayerId;
use crate::graph::{Linear, Node};
#[cfg(feature = "burn")]
use crate::kernels::linear;
use crate::program::{CompileError, Lowering, ValueId};

impl Compute for Linear {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let work = program.linear(self.layer)?;
        let channels = node.shape[node.shape.len() - 1];
        let shape = program.shape(inputs[0]).with_channels(channels);
        Ok(program.step(&node.name, work, inputs, shape))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        each_rank!(only(inputs), x => in_parts(x, self.layer, run))
    }
}

/// A linear layer, kept in as many parts as it takes.
#[cfg(feature = "burn")]
fn in_parts<const D: usize>(x: Tensor<D>, layer: LayerId, run: &Run<'_>) -> Tensor<D> {
    let mut weights = run.weights::<2>(layer);
    let bias = run.bias(layer);
    if weights.len() == 1 {
        return linear(x, weights.remove(0), bias);
    }
    let parts = weights
        .into_iter()
        .map(|weight| linear(x.clone(), weight, None));
    let made = joined(parts.collect(), D - 1);
    match bias {
        Some(bias) => made + bias.unsqueeze(),
        None => made,
    }
}
