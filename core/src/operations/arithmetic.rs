//! Sums, products, factors and summands.

#[cfg(feature = "burn")]
use burn::tensor::{Tensor, TensorData};

use super::Compute;
#[cfg(feature = "burn")]
use super::{Activation, Run, both, only};
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
    fn run(&self, inputs: Vec<Activation>, _run: &mut Run<'_>) -> Activation {
        match both(inputs) {
            [Activation::Map(a), Activation::Map(b)] => Activation::Map(a + b),
            [Activation::Tokens(a), Activation::Tokens(b)] => Activation::Tokens(a + b),
            [Activation::Features(a), Activation::Features(b)] => Activation::Features(a + b),
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
    fn run(&self, inputs: Vec<Activation>, _run: &mut Run<'_>) -> Activation {
        let [x, gate] = both(inputs);
        Activation::Map(x.map() * gate.map())
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
    fn run(&self, inputs: Vec<Activation>, run: &mut Run<'_>) -> Activation {
        let factors = run.tensor::<3>(self.layer, 0).unsqueeze::<4>();
        Activation::Map(only(inputs).map() * factors)
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
    fn run(&self, inputs: Vec<Activation>, _run: &mut Run<'_>) -> Activation {
        let map = only(inputs).map();
        let constant = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [1, values.len(), 1, 1]);
            Tensor::<4>::from_data(data, &map.device())
        };
        let (scale, shift) = (constant(&self.scale), constant(&self.shift));
        Activation::Map(map * scale + shift)
    }
}
