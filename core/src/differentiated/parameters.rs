//! A network's numbers on the host.

use std::collections::BTreeMap;
use std::convert::Infallible;

use crate::graph::{Graph, LayerId};
use crate::weights::{StateDict, Tensors};

/// A tensor of a network by its place among all of them.
pub(super) type TensorId = usize;

/// The tensors of a network, in the order of its layers: parameters and running statistics.
#[derive(Debug, Clone)]
pub struct Parameters {
    names: Vec<String>,
    shapes: Vec<Vec<usize>>,
    values: Vec<Vec<f32>>,
    /// Of each layer, its first tensor.
    first: Vec<TensorId>,
    places: BTreeMap<String, TensorId>,
}

impl Parameters {
    /// Those of a graph.
    ///
    /// # Errors
    ///
    /// The name of a tensor that is missing.
    pub fn new(graph: &Graph, tensors: &StateDict<'_>) -> Result<Self, String> {
        Self::with(graph, |name, _| match tensors.get(name) {
            Some((_, values)) => Ok(values.to_vec()),
            None => Err(name.to_owned()),
        })
    }

    fn with<E>(
        graph: &Graph,
        mut values: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let mut all = Self {
            names: Vec::new(),
            shapes: Vec::new(),
            values: Vec::new(),
            first: Vec::with_capacity(graph.layers().len()),
            places: BTreeMap::new(),
        };
        for layer in graph.layers() {
            all.first.push(all.names.len());
            for (name, shape) in layer.tensors() {
                let values = values(&name, &shape)?;
                all.places.insert(name.clone(), all.names.len());
                all.names.push(name);
                all.shapes.push(shape);
                all.values.push(values);
            }
        }
        Ok(all)
    }

    /// Those of a graph, all zero: for who asks about a training, and trains nothing.
    pub(crate) fn zeros(graph: &Graph) -> Self {
        // Zeros that nobody reads take no memory.
        let zeros =
            |_: &str, shape: &[usize]| Ok::<_, Infallible>(vec![0.0; shape.iter().product()]);
        let Ok(all) = Self::with(graph, zeros);
        all
    }

    /// A layer's tensor by its place in the layer: weight, bias, running mean, running variance.
    pub(super) fn of_layer(&self, layer: LayerId, index: usize) -> TensorId {
        self.first[layer.0] + index
    }

    /// A tensor by its name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// Of each tensor, whether it is a parameter, and no running statistic.
    pub fn learnable(&self) -> Vec<bool> {
        let mut all = vec![false; self.names.len()];
        for (layer, &first) in self.first.iter().enumerate() {
            let next = self.first.get(layer + 1).copied().unwrap_or(all.len());
            // Weight and bias come first.
            all[first..next.min(first + 2)].fill(true);
        }
        all
    }

    /// How many tensors there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// A tensor's name in the state_dict.
    pub fn name(&self, tensor: usize) -> &str {
        &self.names[tensor]
    }

    /// Its shape, as PyTorch gives it.
    pub fn shape(&self, tensor: usize) -> &[usize] {
        &self.shapes[tensor]
    }

    /// Its numbers, row-major.
    pub fn values(&self, tensor: usize) -> &[f32] {
        &self.values[tensor]
    }

    /// Its numbers, to be changed.
    pub fn values_mut(&mut self, tensor: usize) -> &mut Vec<f32> {
        &mut self.values[tensor]
    }

    /// All tensors by their names, where they lie.
    pub(super) fn state_dict(&self) -> StateDict<'_> {
        let all = self.names.iter().zip(&self.shapes).zip(&self.values);
        all.map(|((name, shape), values)| (name.as_str(), (&shape[..], &values[..])))
            .collect()
    }

    /// All tensors by their names.
    pub fn tensors(&self) -> Tensors {
        let all = self.names.iter().zip(&self.shapes).zip(&self.values);
        all.map(|((name, shape), values)| (name.clone(), (shape.clone(), values.clone().into())))
            .collect()
    }
}
