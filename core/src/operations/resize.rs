//! Maps with other numbers of rows and columns.

use super::Compute;
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
use crate::graph::{Node, Resize};
#[cfg(feature = "burn")]
use crate::kernels;
use crate::program::{CompileError, Lowering, ValueId, Work, maps};

impl Compute for Resize {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let shape = program.shape(inputs[0]);
        match self.size == [shape.rows, shape.columns] {
            true => Ok(inputs[0]),
            false => Ok(program.step(&node.name, Work::Resize(self.resample), inputs, maps(node))),
        }
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        let map = only(inputs).maps();
        let [_, _, height, width] = map.dims();
        Batch::Maps(match self.size == [height, width] {
            true => map,
            false => kernels::resize(map, self.size, self.resample),
        })
    }
}
