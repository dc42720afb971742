//! Pools.

#[cfg(feature = "burn")]
use burn::tensor::Tensor;
#[cfg(feature = "burn")]
use burn::tensor::module::{adaptive_avg_pool2d, avg_pool2d, max_pool2d};
#[cfg(feature = "burn")]
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};

use super::Compute;
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
use crate::graph::{AdaptiveAvgPool, AvgPool, MaxPool, Node};
use crate::program::{CompileError, Lowering, ValueId, Work, maps};

impl Compute for MaxPool {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        Ok(program.step(&node.name, Work::MaxPool(self.0), inputs, maps(node)))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        let options = MaxPoolOptions::new([self.0.kernel; 2])
            .with_stride([self.0.stride; 2])
            .with_padding([self.0.padding; 2])
            .with_ceil_mode(self.0.ceil);
        Batch::Maps(max_pool2d(only(inputs).maps(), options))
    }
}

impl Compute for AvgPool {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        Ok(program.step(&node.name, Work::AvgPool(self.0), inputs, maps(node)))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        let options = AvgPoolOptions::new([self.0.kernel; 2])
            .with_stride([self.0.stride; 2])
            .with_padding([self.0.padding; 2])
            .with_count_include_pad(true)
            .with_ceil_mode(self.0.ceil);
        Batch::Maps(avg_pool2d(only(inputs).maps(), options))
    }
}

impl Compute for AdaptiveAvgPool {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let shape = program.shape(inputs[0]);
        match self.size == [shape.rows, shape.columns] {
            true => Ok(inputs[0]),
            false => Ok(program.step(&node.name, Work::AdaptiveAvgPool, inputs, maps(node))),
        }
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        let map = only(inputs).maps();
        let [_, _, height, width] = map.dims();
        Batch::Maps(match self.size {
            [1, 1] => global_average(map),
            size if size == [height, width] => map,
            size => adaptive_avg_pool2d(map, size),
        })
    }
}

/// The mean over each map, `[N, C, 1, 1]`.
#[cfg(feature = "burn")]
fn global_average(map: Tensor<4>) -> Tensor<4> {
    let [n, channels, height, width] = map.dims();
    let means = map.reshape([n, channels, height * width]).mean_dim(2);
    means.reshape([n, channels, 1, 1])
}
