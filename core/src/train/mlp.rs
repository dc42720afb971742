//! Training the two-layer head on cached features.

use std::f64::consts::PI;
use std::sync::Arc;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::adamw::{AdamW, AdamWConfig, Moments};
use super::features::Examples;
use super::recipe::MlpRecipe;
use crate::device::DeviceError;
use crate::graph::{Graph, LayerKind, Options, sketch};
use crate::head::{HeadKind, HeadSlot, MlpConfig};
use crate::network::{Batch, Chance, Network};
use crate::random::Random;
use crate::weights::{Tensors, state_dict};

/// What one step brought.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MlpProgress {
    /// Epochs finished.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Mean training loss of the epoch that this step finished; `None` in the midst of one.
    pub loss: Option<f32>,
    /// Whether training is over.
    pub done: bool,
}

/// Why training stopped.
#[derive(Debug, Error)]
pub enum MlpError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The loss is no longer a number.
    #[error("the loss became {loss} in epoch {epoch}: lower the learning rate")]
    Diverged {
        /// What it became.
        loss: f32,
        /// When.
        epoch: usize,
    },
    /// A state of another training.
    #[error("this state does not belong to this training: {0}")]
    State(String),
    /// Nothing to train on.
    #[error("there is nothing to train on: {0}")]
    Empty(&'static str),
}

/// All that is needed to go on as if nothing had happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MlpState {
    step: usize,
    losses: Vec<f32>,
    tensors: Tensors,
    moments: Moments,
}

/// Trains a two-layer head, a batch a step.
///
/// The order in which images are taken, of those in the examples' order, and what dropout drops follow from the
/// seed and the step alone, so a training that is interrupted and [restored](Self::restore) goes the same way as one that is not.
pub struct MlpTrainer {
    head: Network,
    optimiser: AdamW,
    recipe: MlpRecipe,
    examples: Examples,
    class_weights: Vec<f32>,
    seed: u64,
    step: usize,
    device: Device,
    losses: Vec<Tensor<1>>,
}

impl MlpTrainer {
    /// Sets up the training of a head for this place in a network.
    ///
    /// # Errors
    ///
    /// When there are no images or no epochs.
    pub fn new(
        config: MlpConfig,
        slot: HeadSlot,
        recipe: MlpRecipe,
        examples: Examples,
        class_weights: Vec<f32>,
        seed: u64,
        device: &Device,
    ) -> Result<Self, MlpError> {
        if examples.is_empty() {
            return Err(MlpError::Empty("no images"));
        }
        if recipe.epochs == 0 || recipe.batch == 0 {
            return Err(MlpError::Empty("epochs and batch must be at least 1"));
        }
        let kind = HeadKind::Mlp(config);
        let classes = class_weights.len();
        let graph = sketch([examples.width], &Options::default(), |features| {
            kind.on_features(slot, features, classes).stage("head")
        });
        let graph = graph.map_err(|error| MlpError::State(error.to_string()))?;
        let start = initial(&graph, &mut Random::new(seed));
        let head = network(graph, &start, device)?;
        let adamw = AdamWConfig {
            weight_decay: recipe.weight_decay,
            ..AdamWConfig::default()
        };
        Ok(Self {
            head,
            optimiser: AdamW::new(adamw),
            recipe,
            examples,
            class_weights,
            seed,
            step: 0,
            device: device.clone(),
            losses: Vec::new(),
        })
    }

    /// Steps of an epoch. A last image that would be alone joins the batch before it: batch norm
    /// learns nothing from one.
    fn steps_per_epoch(&self) -> usize {
        let (count, batch) = (self.examples.len(), self.recipe.batch);
        let full = count.div_ceil(batch);
        if full > 1 && count % batch == 1 {
            full - 1
        } else {
            full
        }
    }

    fn steps(&self) -> usize {
        self.recipe.epochs * self.steps_per_epoch()
    }

    /// Whether all epochs are done.
    pub fn is_done(&self) -> bool {
        self.step >= self.steps()
    }

    /// Trains on one batch.
    ///
    /// # Errors
    ///
    /// When the device fails or the loss stops being a number.
    pub async fn step(&mut self) -> Result<MlpProgress, MlpError> {
        let per_epoch = self.steps_per_epoch();
        let (epoch, index) = (self.step / per_epoch, self.step % per_epoch);
        if !self.is_done() {
            let rows = self.batch_rows(epoch, index, per_epoch);
            let (features, targets, total) = self.tensors(&rows);
            let logits = self.logits(features);
            let loss = (log_softmax(logits, 1) * targets).sum() * (-1.0 / f64::from(total));
            let gradients = loss.backward();
            self.losses.push(loss.without_autodiff());
            let progress = self.step as f64 / self.steps() as f64;
            let rate = self.recipe.rate * 0.5 * (1.0 + (PI * progress).cos());
            self.optimiser.step(&mut self.head, &gradients, rate);
            self.step += 1;
        }
        let finished = self.step / per_epoch;
        let loss = match (self.step % per_epoch, self.losses.is_empty()) {
            (0, false) => Some(self.epoch_loss(epoch).await?),
            _ => None,
        };
        Ok(MlpProgress {
            epoch: finished,
            epochs: self.recipe.epochs,
            loss,
            done: self.is_done(),
        })
    }

    /// Logits in training: batch norms use and take in the batch's statistics, and what is dropped follows from the
    /// seed and the step, so that it repeats after a restore.
    fn logits(&mut self, features: Tensor<2>) -> Tensor<2> {
        let mut chance = Chance::at(self.seed, self.step as u64);
        let wanted = [self.head.graph().output()];
        let given = [(0, Batch::Features(features))];
        let made = self.head.train(given, &wanted, &mut chance);
        match made.map(|mut made| made.pop()) {
            Ok(Some(logits)) => logits.features(),
            other => unreachable!("logits follow from the features: {other:?}"),
        }
    }

    /// One read for a whole epoch's losses.
    async fn epoch_loss(&mut self, epoch: usize) -> Result<f32, MlpError> {
        let losses = read_scalars(std::mem::take(&mut self.losses)).await?;
        let loss = losses.iter().sum::<f32>() / losses.len() as f32;
        if loss.is_finite() {
            Ok(loss)
        } else {
            Err(MlpError::Diverged { loss, epoch })
        }
    }

    fn batch_rows(&self, epoch: usize, index: usize, per_epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.examples.len()).collect();
        Random::new(self.seed)
            .fork(1 + epoch as u64)
            .shuffle(&mut order);
        let start = index * self.recipe.batch;
        let end = if index + 1 == per_epoch {
            order.len()
        } else {
            start + self.recipe.batch
        };
        order[start..end].to_vec()
    }

    /// Features, weighted one-hot targets, and the sum of the weights.
    fn tensors(&self, rows: &[usize]) -> (Tensor<2>, Tensor<2>, f32) {
        let (width, classes) = (self.examples.width, self.class_weights.len());
        let mut features = Vec::with_capacity(rows.len() * width);
        let mut targets = vec![0.0_f32; rows.len() * classes];
        let mut total = 0.0;
        for (position, &row) in rows.iter().enumerate() {
            features.extend_from_slice(&self.examples.features[row * width..(row + 1) * width]);
            let label = self.examples.labels[row];
            targets[position * classes + label] = self.class_weights[label];
            total += self.class_weights[label];
        }
        let device = self.device.clone().autodiff();
        let tensor = |values, columns: usize| {
            Tensor::<2>::from_data(TensorData::new(values, [rows.len(), columns]), &device)
        };
        (
            tensor(features, width),
            tensor(targets, classes),
            total.max(f32::MIN_POSITIVE),
        )
    }

    /// The head's numbers as they stand, under their names in the network's state_dict.
    ///
    /// # Errors
    ///
    /// When the device fails to hand them over.
    pub async fn head(&self) -> Result<Tensors, DeviceError> {
        self.head.tensors().await
    }

    /// All that is needed to go on later.
    ///
    /// # Errors
    ///
    /// When the device fails to hand it over.
    pub async fn state(&self) -> Result<MlpState, MlpError> {
        Ok(MlpState {
            step: self.step,
            losses: read_scalars(self.losses.clone()).await?,
            tensors: self.head.tensors().await?,
            moments: self.optimiser.moments().await?,
        })
    }

    /// Goes back to a state taken from a training with the same settings and images.
    ///
    /// # Errors
    ///
    /// When the state is of a head of another shape.
    pub fn restore(&mut self, state: &MlpState) -> Result<(), MlpError> {
        let graph = self.head.graph();
        let fits = |(name, shape): (String, Vec<usize>)| {
            state
                .tensors
                .get(&name)
                .is_some_and(|(found, _)| *found == shape)
        };
        if !graph.tensors().all(fits) {
            return Err(MlpError::State(
                "its tensors are of another shape".to_owned(),
            ));
        }
        let head = network(Arc::clone(graph), &state.tensors, &self.device)?;
        let config = AdamWConfig {
            weight_decay: self.recipe.weight_decay,
            ..AdamWConfig::default()
        };
        self.optimiser = AdamW::resume(config, state.step, &state.moments, &self.device);
        let loss = |&loss: &f32| Tensor::from_data(TensorData::new(vec![loss], [1]), &self.device);
        self.losses = state.losses.iter().map(loss).collect();
        self.head = head;
        self.step = state.step;
        Ok(())
    }
}

/// The head of these tensors, ready to train.
fn network(
    graph: impl Into<Arc<Graph>>,
    tensors: &Tensors,
    device: &Device,
) -> Result<Network, MlpError> {
    let network = Network::new(graph, &state_dict([tensors]), device);
    let network = network.map_err(|error| MlpError::State(error.to_string()))?;
    Ok(network.trainable())
}

/// What the head starts from, as PyTorch initialises it: `torch.nn.Linear` draws weights and biases alike
/// from U(−1/√fan_in, 1/√fan_in), norms are the identity. The same numbers on every device.
fn initial(graph: &Graph, random: &mut Random) -> Tensors {
    let mut tensors = Tensors::new();
    for layer in graph.layers() {
        for (name, shape) in layer.tensors() {
            let count: usize = shape.iter().product();
            let values = match (&layer.kind, &shape[..]) {
                (LayerKind::Linear { input, .. }, shape) => {
                    let bound = 1.0 / (*input as f32).sqrt();
                    let mut draw = || (2.0 * random.uniform() - 1.0) * bound;
                    let drawn: Vec<f32> = (0..count).map(|_| draw()).collect();
                    match *shape {
                        // Drawn input by input.
                        [output, input] => (0..count)
                            .map(|at| drawn[at % input * output + at / input])
                            .collect(),
                        _ => drawn,
                    }
                }
                _ if name.ends_with("weight") || name.ends_with("running_var") => vec![1.0; count],
                _ => vec![0.0; count],
            };
            tensors.insert(name, (shape, values.into()));
        }
    }
    tensors
}

async fn read_scalars(scalars: Vec<Tensor<1>>) -> Result<Vec<f32>, DeviceError> {
    if scalars.is_empty() {
        return Ok(Vec::new());
    }
    let all = Tensor::cat(scalars, 0);
    let data = all
        .into_data_async()
        .await
        .map_err(DeviceError::execution)?;
    Ok(data.iter::<f32>().collect())
}
