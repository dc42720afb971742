//! Transposed convolutions.

use super::Compute;
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
use crate::graph::{Node, TransposedConvolution};
#[cfg(feature = "burn")]
use crate::kernels;
use crate::program::{CompileError, Ending, Lowering, ValueId, Work, maps};

impl Compute for TransposedConvolution {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let work = Work::ConvTranspose {
            conv: self.conv.clone(),
            input: program.shape(inputs[0]).channels,
            weight: program.tensor(self.layer, "weight")?,
            bias: match self.conv.bias {
                true => program.tensor(self.layer, "bias")?.to_vec(),
                false => vec![0.0; self.conv.filters],
            },
            ending: Ending::default(),
        };
        Ok(program.step(&node.name, work, inputs, maps(node)))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        let weight = run.tensor(self.layer, 0);
        let bias = run.bias(self.layer);
        let map = only(inputs).maps();
        Batch::Maps(kernels::conv_transpose2d(map, weight, bias, &self.conv))
    }
}
