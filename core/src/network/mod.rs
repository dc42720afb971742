//! Networks with numbers on a device: run from any values to any others, and trained.
//!
//! A frozen network that only answers is compiled instead (`crate::compiled`).

use std::sync::Arc;

use burn::tensor::{DType, Device, Gradients, Tensor, Transaction};
use thiserror::Error;

use crate::device::DeviceError;
use crate::graph::{Graph, LayerId, Unreachable};
use crate::operations::{Run, Statistics, compute};
use crate::weights::{Numbers, StateDict, Tensors};

pub use crate::operations::{Batch, Chance, Mode, Parameter};

/// A tensor that a network has and its numbers lack.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("there is no tensor called '{0}'")]
pub struct MissingTensor(pub(crate) String);

/// A graph and its numbers on a device.
#[derive(Debug, Clone)]
pub struct Network {
    graph: Arc<Graph>,
    /// For each layer of the graph, its parameters and running statistics.
    layers: Vec<Vec<Parameter>>,
    /// For each node, how many before it draw at random: its own place among those.
    places: Vec<usize>,
}

impl Network {
    /// The network of these tensors, which bear PyTorch's names. It records no gradients.
    ///
    /// # Errors
    ///
    /// When a tensor is missing.
    pub fn new(
        graph: impl Into<Arc<Graph>>,
        tensors: &StateDict<'_>,
        device: &Device,
    ) -> Result<Self, MissingTensor> {
        let graph = graph.into();
        let numbers = |name: &str, _: &[usize]| match tensors.get(name) {
            Some((_, values)) => Ok(values.to_vec()),
            None => Err(MissingTensor(name.to_owned())),
        };
        let layers = graph.layers().iter();
        let layers = layers.map(|spec| Parameter::of_layer(spec, device, numbers));
        let layers = layers.collect::<Result<_, _>>()?;
        Ok(Self {
            places: graph.random_places(),
            layers,
            graph,
        })
    }

    /// What it is made of.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Its parameters and running statistics, in the order of the layers.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.layers.iter().flatten()
    }

    /// The same network made ready to train: whatever is not frozen takes gradients.
    pub fn trainable(mut self) -> Self {
        for parameter in self.layers.iter_mut().flatten() {
            let takes = parameter.is_trained();
            for part in &mut parameter.parts {
                *part = part.clone().autodiff().set_require_grad(takes);
            }
        }
        self
    }

    /// The same network as it answers: it records no gradients.
    pub fn answering(mut self) -> Self {
        for part in self
            .layers
            .iter_mut()
            .flatten()
            .flat_map(|parameter| &mut parameter.parts)
        {
            *part = part.clone().without_autodiff();
        }
        self
    }

    /// The same network whose first `count` stages no longer train: no gradients reach their
    /// parameters, and their batch norms use their running statistics and keep them.
    pub fn freeze_stages(mut self, count: usize) -> Self {
        for (index, layer) in self.layers.iter_mut().enumerate() {
            if self.graph.stage_of_layer(LayerId(index)) < count {
                for parameter in layer {
                    parameter.trains = false;
                    for part in &mut parameter.parts {
                        *part = part.clone().set_require_grad(false);
                    }
                }
            }
        }
        self
    }

    /// What the network makes of some values: from the image to the logits, from a stage's maps to the answers, from
    /// the image to several levels of a pyramid. Only the steps that are needed run.
    ///
    /// # Errors
    ///
    /// When a wanted value needs one that is not given.
    pub fn run(
        &self,
        given: impl IntoIterator<Item = (usize, Batch)>,
        wanted: &[usize],
    ) -> Result<Vec<Batch>, Unreachable> {
        self.go(given, wanted, Mode::Infer).map(|(made, _)| made)
    }

    /// The same in training: batch norms of layers that are not frozen use the statistics of the batch and take them
    /// in, and what is left out is drawn by `chance`.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn train(
        &mut self,
        given: impl IntoIterator<Item = (usize, Batch)>,
        wanted: &[usize],
        chance: &mut Chance,
    ) -> Result<Vec<Batch>, Unreachable> {
        let (made, statistics) = self.go(given, wanted, Mode::Train(chance))?;
        for (layer, tensors) in statistics {
            let running = self.layers[layer.0]
                .iter_mut()
                .filter(|tensor| tensor.is_statistic());
            for (running, tensor) in running.zip(tensors) {
                running.parts = vec![tensor];
            }
        }
        Ok(made)
    }

    fn go(
        &self,
        given: impl IntoIterator<Item = (usize, Batch)>,
        wanted: &[usize],
        mode: Mode<'_>,
    ) -> Result<(Vec<Batch>, Vec<Statistics>), Unreachable> {
        let given: Vec<(usize, Batch)> = given.into_iter().collect();
        let known: Vec<usize> = given.iter().map(|(value, _)| *value).collect();
        let schedule = self.graph.schedule(&known, wanted)?;
        let mut values = schedule.values();
        for (value, activation) in given {
            values.put(value, activation);
        }
        let mut run = Run::new(self.graph.layers(), &self.layers, mode);
        for &index in schedule.steps() {
            let node = &self.graph.nodes()[index];
            let inputs = node
                .inputs
                .iter()
                .map(|&value| values.take(value))
                .collect();
            run.place = self.places[index];
            values.put(index + 1, compute(&node.op).run(inputs, &mut run));
        }
        let made = wanted.iter().map(|&value| values.take(value)).collect();
        Ok((made, run.statistics))
    }

    /// What the network puts out first, for some images.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`, normalised
    pub fn forward(&self, images: Tensor<4>) -> Batch {
        let wanted = [self.graph.output()];
        let made = self.run([(0, Batch::Maps(images))], &wanted);
        match made.map(|mut made| made.pop()) {
            Ok(Some(output)) => output,
            other => unreachable!("outputs follow from the image: {other:?}"),
        }
    }

    /// Says which of its numbers change in training: which parameters take gradients, and which running statistics
    /// follow the batches.
    pub fn learns(&mut self, changes: impl Fn(&Parameter) -> bool) {
        for parameter in self.layers.iter_mut().flatten() {
            parameter.trains = changes(parameter);
            let takes = parameter.is_trained();
            for part in &mut parameter.parts {
                let plain = part.clone().without_autodiff();
                *part = plain.autodiff().set_require_grad(takes);
            }
        }
    }

    /// Its parameters and running statistics, to be changed.
    pub(crate) fn parameters_mut(&mut self) -> impl Iterator<Item = &mut Parameter> {
        self.layers.iter_mut().flatten()
    }

    /// Reads the gradients of all parameters that have one back to the host, under their names in the state_dict and in
    /// PyTorch's order, all in one go.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn gradients(&self, gradients: &Gradients) -> Result<Tensors, DeviceError> {
        let parts = |parameter: &Parameter| -> Option<Vec<Tensor<1>>> {
            let parts = parameter.parts.iter();
            parts.map(|part| part.grad(gradients)).collect()
        };
        let with = self.parameters();
        let with = with.filter_map(|parameter| Some((parameter, parts(parameter)?)));
        read(with).await
    }

    /// Reads all numbers back to the host, under their names in the state_dict, all in one go.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn tensors(&self) -> Result<Tensors, DeviceError> {
        let plain = |part: &Tensor<1>| part.clone().without_autodiff();
        let parts = |parameter: &Parameter| parameter.parts().iter().map(plain).collect();
        read(
            self.parameters()
                .map(|parameter| (parameter, parts(parameter))),
        )
        .await
    }
}

/// Reads what lies on the device in the parts of some parameters back to the host, all in one go.
async fn read<'a>(
    parameters: impl Iterator<Item = (&'a Parameter, Vec<Tensor<1>>)>,
) -> Result<Tensors, DeviceError> {
    let (parameters, parts): (Vec<_>, Vec<_>) = parameters.unzip();
    let counts: Vec<usize> = parts.iter().map(Vec::len).collect();
    let parts = parts.into_iter().flatten();
    let transaction = parts.fold(Transaction::default(), Transaction::register);
    let data = transaction.execute_async().await;
    let mut data = data.map_err(DeviceError::execution)?.into_iter();
    let mut tensors = Tensors::new();
    for (parameter, count) in parameters.into_iter().zip(counts) {
        let mut parts = Vec::with_capacity(count);
        for data in data.by_ref().take(count) {
            // Number by number only what is not f32 already: networks have millions.
            parts.push(match data.dtype() {
                DType::F32 => data.try_into_vec().map_err(DeviceError::execution)?,
                _ => data.iter::<f32>().collect(),
            });
        }
        let values = Numbers::from(parameter.in_order(parts));
        let shape = parameter.shape().to_vec();
        tensors.insert(parameter.name().to_owned(), (shape, values));
    }
    Ok(tensors)
}
