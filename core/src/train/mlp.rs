//! Training the two-layer head on cached features.

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::features::Examples;
use super::recipe::MlpRecipe;
use crate::device::DeviceError;
use crate::graph::{Graph, LayerKind, Options, sketch};
use crate::head::{HeadKind, HeadSlot, MlpConfig};
use crate::random::Random;
use crate::tune::{
    Descent, Draws, Engine, EngineState, Given, Goal, Loss, Optimizer, Planned, Rate, WrongState,
};
use crate::weights::{StateDict, Tensors, state_dict};

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
    #[error(transparent)]
    State(#[from] WrongState),
    /// A head that cannot be.
    #[error("there is no such head: {0}")]
    Head(String),
    /// Nothing to train on.
    #[error("there is nothing to train on: {0}")]
    Empty(&'static str),
}

/// All that is needed to go on as if nothing had happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MlpState {
    step: usize,
    losses: Vec<f32>,
    engine: EngineState,
}

/// Trains a two-layer head, a batch a step.
///
/// The order in which images are taken, of those in the examples' order, and what dropout drops follow from the
/// seed and the step alone, so a training that is interrupted and [restored](Self::restore) goes the same way as one that is not.
pub struct MlpTrainer<'a, E: Engine<Input = Given> = Planned> {
    engine: E,
    rates: BTreeMap<String, Rate>,
    recipe: MlpRecipe,
    examples: Examples<'a>,
    class_weights: Vec<f32>,
    seed: u64,
    step: usize,
    /// An epoch, and the order in which it takes the images.
    order: (usize, Vec<usize>),
    /// Those of this epoch that have been read.
    losses: Vec<f32>,
}

impl<'a> MlpTrainer<'a> {
    /// Sets up the training of a head for this place in a network, on the processor.
    ///
    /// # Errors
    ///
    /// When there are no images or no epochs.
    pub fn new(
        config: MlpConfig,
        slot: HeadSlot,
        recipe: MlpRecipe,
        examples: Examples<'a>,
        class_weights: Vec<f32>,
        seed: u64,
    ) -> Result<Self, MlpError> {
        let engine = |graph, tensors: &StateDict<'_>| {
            Planned::new(Arc::new(graph), tensors)
                .map_err(|error| MlpError::Head(error.to_string()))
        };
        Self::by(engine, config, slot, recipe, examples, class_weights, seed)
    }
}

impl<'a, E: Engine<Input = Given>> MlpTrainer<'a, E> {
    /// The same by another engine, which is made of the head's graph and tensors.
    ///
    /// # Errors
    ///
    /// When there are no images or no epochs, and those of `engine`.
    pub fn by(
        engine: impl FnOnce(Graph, &StateDict<'_>) -> Result<E, MlpError>,
        config: MlpConfig,
        slot: HeadSlot,
        recipe: MlpRecipe,
        examples: Examples<'a>,
        class_weights: Vec<f32>,
        seed: u64,
    ) -> Result<Self, MlpError> {
        if examples.is_empty() {
            return Err(MlpError::Empty("no images"));
        }
        if recipe.epochs == 0 || recipe.batch == 0 {
            return Err(MlpError::Empty("epochs and batch must be at least 1"));
        }
        let kind = HeadKind::Mlp(config);
        let classes = class_weights.len();
        let graph = sketch([examples.width()], &Options::default(), |features| {
            kind.on_features(slot, features, classes).stage("head")
        });
        let graph = graph.map_err(|error| MlpError::Head(error.to_string()))?;
        let start = initial(&graph, &mut Random::new(seed));
        let rate = Rate {
            rate: recipe.rate,
            decays: true,
        };
        let rates = start.keys().map(|name| (name.clone(), rate)).collect();
        Ok(Self {
            engine: engine(graph, &state_dict([&start]))?,
            rates,
            recipe,
            examples,
            class_weights,
            seed,
            step: 0,
            order: (usize::MAX, Vec::new()),
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
            // What is dropped follows from the seed and the step, so that it repeats after a restore.
            let draws = Draws {
                first: 0,
                seed: self.seed,
                batch: self.step as u64,
                mix: None,
            };
            let given = self.given(&rows);
            self.engine.accumulate(given, &self.goal(&rows), &draws);
            let progress = self.step as f64 / self.steps() as f64;
            let optimizer = Optimizer::ADAMW.with_weight_decay(self.recipe.weight_decay);
            self.engine.descend(&Descent {
                optimizer: &optimizer,
                rates: &self.rates,
                factor: 0.5 * (1.0 + (PI * progress).cos()),
                momentum: None,
                clip: None,
            });
            self.step += 1;
        }
        let finished = self.step / per_epoch;
        let loss = match self.step % per_epoch {
            0 => self.epoch_loss(epoch).await?,
            _ => None,
        };
        Ok(MlpProgress {
            epoch: finished,
            epochs: self.recipe.epochs,
            loss,
            done: self.is_done(),
        })
    }

    /// One read for a whole epoch's losses; their mean, if there are any.
    async fn epoch_loss(&mut self, epoch: usize) -> Result<Option<f32>, MlpError> {
        self.losses.extend(self.engine.losses().await?);
        let losses = std::mem::take(&mut self.losses);
        let loss = losses.iter().sum::<f32>() / losses.len() as f32;
        match losses.is_empty() || loss.is_finite() {
            true => Ok((!losses.is_empty()).then_some(loss)),
            false => Err(MlpError::Diverged { loss, epoch }),
        }
    }

    fn batch_rows(&mut self, epoch: usize, index: usize, per_epoch: usize) -> Vec<usize> {
        if self.order.0 != epoch {
            let mut order: Vec<usize> = (0..self.examples.len()).collect();
            Random::new(self.seed)
                .fork(1 + epoch as u64)
                .shuffle(&mut order);
            self.order = (epoch, order);
        }
        let order = &self.order.1;
        let start = index * self.recipe.batch;
        let end = if index + 1 == per_epoch {
            order.len()
        } else {
            start + self.recipe.batch
        };
        order[start..end].to_vec()
    }

    /// The features of some rows.
    fn given(&self, rows: &[usize]) -> Given {
        let all = self.examples.rows();
        let mut numbers = Vec::with_capacity(rows.len() * self.examples.width());
        rows.iter()
            .for_each(|&row| numbers.extend_from_slice(all.row(row)));
        Given::rows(0, numbers)
    }

    /// What they are: the loss is a mean, weighted as their classes are.
    fn goal(&self, rows: &[usize]) -> Goal {
        let classes = self.class_weights.len();
        let mut wanted = vec![0.0_f32; rows.len() * classes];
        let mut total = 0.0;
        for (row, &example) in wanted.chunks_exact_mut(classes).zip(rows) {
            let label = self.examples.labels[example];
            row[label] = self.class_weights[label];
            total += self.class_weights[label];
        }
        Goal {
            loss: Loss::CrossEntropy,
            wanted,
            counts: None,
            answers: classes,
            share: 1.0 / f64::from(total.max(f32::MIN_POSITIVE)),
        }
    }

    /// The head's numbers as they stand, under their names in the network's state_dict.
    ///
    /// # Errors
    ///
    /// When the device fails to hand them over.
    pub async fn head(&self) -> Result<Tensors, DeviceError> {
        self.engine.tensors(false).await
    }

    /// All that is needed to go on later.
    ///
    /// # Errors
    ///
    /// When the device fails to hand it over.
    pub async fn state(&mut self) -> Result<MlpState, MlpError> {
        self.losses.extend(self.engine.losses().await?);
        Ok(MlpState {
            step: self.step,
            losses: self.losses.clone(),
            engine: self.engine.state().await?,
        })
    }

    /// Goes back to a state taken from a training with the same settings and images.
    ///
    /// # Errors
    ///
    /// When the state is of a head of another shape.
    pub fn restore(&mut self, state: &MlpState) -> Result<(), MlpError> {
        self.engine.restore(&state.engine)?;
        self.losses.clone_from(&state.losses);
        self.step = state.step;
        Ok(())
    }
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
