//! Convolutions.

use super::Compute;
#[cfg(feature = "burn")]
use super::run::joined;
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
use crate::graph::{Convolution, Node};
#[cfg(feature = "burn")]
use crate::kernels;
use crate::program::{CompileError, Ending, Lowering, ValueId, Work, maps};

impl Compute for Convolution {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let (weight, bias) = program.weights(self.layer)?;
        let work = Work::Conv {
            conv: self.conv.clone(),
            input: program.shape(inputs[0]).channels,
            weight,
            bias,
            ending: Ending::default(),
        };
        Ok(program.step(&node.name, work, inputs, maps(node)))
    }

    /// By our own kernels where the device runs them.
    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        let x = only(inputs).maps();
        let [_, _, height, width] = x.dims();
        let options = kernels::conv_options(&self.conv, [height, width]);
        let mut weights = run.weights(self.layer);
        let bias = run.bias(self.layer);
        if weights.len() == 1 {
            let weight = weights.remove(0);
            return Batch::Maps(kernels::conv2d(x, weight, bias, options));
        }
        let parts = weights.into_iter();
        let parts = parts.map(|weight| kernels::conv2d(x.clone(), weight, None, options.clone()));
        let maps = joined(parts.collect(), 1);
        Batch::Maps(kernels::plus_bias(maps, bias))
    }
}
