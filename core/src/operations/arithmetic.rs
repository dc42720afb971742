//! Sums, products, factors and summands.

#[cfg(feature = "burn")]
use burn::tensor::{Tensor, TensorData};

use super::Compute;
#[cfg(feature = "burn")]
use super::{Batch, Run, both, only};
use crate::graph::{Add, Affine, Multiply, Node, Scale};
use crate::program::{CompileError, Lowering, ValueId, Work};

impl Compute for Add {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let shape = program.shape(inputs[0]);
        let work = Work::Add { activation: None };
        Ok(program.step(&node.name, work, inputs, shape))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        match both(inputs) {
            [Batch::Maps(a), Batch::Maps(b)] => Batch::Maps(a + b),
            [Batch::Tokens(a), Batch::Tokens(b)] => Batch::Tokens(a + b),
            [Batch::Features(a), Batch::Features(b)] => Batch::Features(a + b),
            [a, b] => unreachable!("the graph adds {:?} and {:?}", a.dims(), b.dims()),
        }
    }
}

impl Compute for Multiply {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let shape = program.shape(inputs[0]);
        Ok(program.step(&node.name, Work::Gate, inputs, shape))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        let [x, gate] = both(inputs);
        Batch::Maps(x.maps() * gate.maps())
    }
}

impl Compute for Scale {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let shape = program.shape(inputs[0]);
        let work = Work::Affine {
            scale: program.table(self.layer)?.to_vec(),
            shift: vec![0.0; shape.channels],
            activation: None,
        };
        Ok(program.step(&node.name, work, inputs, shape))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        let factors = run.tensor::<3>(self.layer, 0).unsqueeze::<4>();
        Batch::Maps(only(inputs).maps() * factors)
    }
}

impl Compute for Affine {
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let work = Work::Affine {
            scale: self.scale.clone(),
            shift: self.shift.clone(),
            activation: None,
        };
        let shape = program.shape(inputs[0]);
        Ok(program.step(&node.name, work, inputs, shape))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, _run: &mut Run<'_>) -> Batch {
        let map = only(inputs).maps();
        let constant = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [1, values.len(), 1, 1]);
            Tensor::<4>::from_data(data, &map.device())
        };
        let (scale, shift) = (constant(&self.scale), constant(&self.shift));
        Batch::Maps(map * scale + shift)
    }
}
