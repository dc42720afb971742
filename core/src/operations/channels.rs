//! Channels of maps put together, taken apart and turned around.

#[cfg(feature = "burn")]
use burn::tensor::Tensor;

use super::Compute;
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
use crate::graph::{ChannelShuffle, Chunk, Concat, Node};
use crate::program::{CompileError, Lowering, ValueId, Work, maps};

impl Compute for Concat {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        Ok(program.step(&node.name, Work::Concat, inputs, maps(node)))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        let maps = inputs.into_iter().map(Batch::maps);
        Batch::Maps(Tensor::cat(maps.collect(), 1))
    }
}

impl Compute for Chunk {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let shape = maps(node);
        let start = self.index * shape.channels;
        Ok(program.step(&node.name, Work::Chunk { start }, inputs, shape))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        let map = only(inputs).maps();
        let channels = map.dims()[1] / self.parts;
        Batch::Maps(map.narrow(1, self.index * channels, channels))
    }
}

impl Compute for ChannelShuffle {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let work = Work::Shuffle {
            groups: self.groups,
        };
        let shape = program.shape(inputs[0]);
        Ok(program.step(&node.name, work, inputs, shape))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        let map = only(inputs).maps();
        let [n, channels, rows, columns] = map.dims();
        let turned = map
            .reshape([n, self.groups, channels / self.groups, rows * columns])
            .swap_dims(1, 2);
        Batch::Maps(turned.reshape([n, channels, rows, columns]))
    }
}
