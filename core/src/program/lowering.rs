//! Writing a program down, step by step, out of a network's graph and numbers.

use thiserror::Error;

use super::{Ending, Program, Shape, Step, ValueId, Weight, Work};
use crate::graph::{LayerId, LayerSpec, Node};
use crate::weights::StateDict;

/// Why a network could not be compiled.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum CompileError {
    /// A step whose numbers are not there.
    #[error("there is no tensor called '{0}'")]
    Missing(String),
    /// A value is asked for that does not follow from the image.
    #[error(transparent)]
    Unreachable(#[from] crate::graph::Unreachable),
}

/// Whether a network's numbers still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// They do not: what only training needs falls away.
    Frozen,
    /// They do: what is left out at random is a step, and which numbers a step has is looked up by its node.
    InTraining,
}

/// A program being written.
#[derive(Debug)]
pub struct Lowering<'a, 't> {
    condition: Condition,
    layers: &'a [LayerSpec],
    tensors: &'a StateDict<'t>,
    /// The node whose work is being written.
    node: usize,
    shapes: Vec<Shape>,
    steps: Vec<Step<'t>>,
}

impl<'a, 't> Lowering<'a, 't> {
    /// An empty program for a value of this shape, an image's if it begins at the beginning. Its numbers will be those
    /// of these layers.
    pub fn new(
        condition: Condition,
        given: Shape,
        layers: &'a [LayerSpec],
        tensors: &'a StateDict<'t>,
    ) -> Self {
        Self {
            condition,
            layers,
            tensors,
            node: 0,
            shapes: vec![given],
            steps: Vec::new(),
        }
    }

    /// The program that puts these values out.
    pub fn finish(self, outputs: Vec<ValueId>) -> Program<'t> {
        Program {
            outputs,
            shapes: self.shapes,
            steps: self.steps,
        }
    }

    /// Whether the network's numbers still change.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// Says whose work comes next.
    pub fn begin(&mut self, node: usize) {
        self.node = node;
    }

    /// The shape of a value.
    pub fn shape(&self, value: ValueId) -> Shape {
        self.shapes[value]
    }

    /// The network's layers.
    pub fn layers(&self) -> &'a [LayerSpec] {
        self.layers
    }

    /// Adds a step and returns the value that it puts out.
    pub fn step(
        &mut self,
        name: &str,
        work: Work<'t>,
        inputs: &[ValueId],
        shape: Shape,
    ) -> ValueId {
        let output = self.shapes.len();
        self.shapes.push(shape);
        self.steps.push(Step {
            name: name.to_owned(),
            node: self.node,
            work,
            inputs: inputs.to_vec(),
            output,
        });
        output
    }

    /// A linear layer, or a 1×1 convolution that some networks keep in its place.
    ///
    /// # Errors
    ///
    /// When its numbers are not there.
    pub fn linear(&self, layer: LayerId) -> Result<Work<'t>, CompileError> {
        let (weight, bias) = self.weights(layer)?;
        Ok(Work::Linear {
            weight,
            bias,
            ending: Ending::default(),
        })
    }

    /// Weight and bias of a layer; a bias that it does not have is zero.
    ///
    /// # Errors
    ///
    /// When they are not there.
    pub fn weights(&self, layer: LayerId) -> Result<(Weight<'t>, Vec<f32>), CompileError> {
        let parameters = self.layers[layer.0].parameters();
        let bias = match parameters.get(1) {
            Some((name, _)) => self.named(name)?.to_vec(),
            None => vec![0.0; parameters[0].1[0]],
        };
        Ok((Weight::new(self.tensor(layer, "weight")?), bias))
    }

    /// The tensor `weight`, `bias`, `running_mean` or `running_var` of a layer.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub fn tensor(&self, layer: LayerId, leaf: &str) -> Result<&'t [f32], CompileError> {
        self.named(&self.layers[layer.0].tensor(leaf))
    }

    /// A layer that is a bare parameter.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub fn table(&self, layer: LayerId) -> Result<&'t [f32], CompileError> {
        self.named(&self.layers[layer.0].name)
    }

    /// A tensor by its name in the state_dict.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub fn named(&self, name: &str) -> Result<&'t [f32], CompileError> {
        match self.tensors.get(name) {
            Some(&(_, values)) => Ok(values),
            None => Err(CompileError::Missing(name.to_owned())),
        }
    }
}

/// The shape of maps whose node is channels first in the graph, `[C, H, W]`.
pub fn maps(node: &Node) -> Shape {
    match node.shape[..] {
        [channels, rows, columns] => Shape {
            rows,
            columns,
            channels,
        },
        _ => unreachable!("'{}' puts out maps", node.name),
    }
}
