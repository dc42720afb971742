//! The trainer of heads: a state machine over the linear solver and the two-layer one.

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::error::TrainError;
use super::features::Examples;
use super::fitted::Fitted;
use super::linear::LinearTrainer;
use super::logistic::{LinearSolution, LogisticError, LogisticState};
use super::mlp::{MlpError, MlpState, MlpTrainer};
use super::recipe::HeadRecipe;
use crate::device::DeviceError;
use crate::graph::{Options, sketch};
use crate::head::{HeadKind, HeadSlot, MlpConfig};
use crate::network::{Batch, Network};
use crate::tune::Trainee;
use crate::weights::{StateDict, state_dict};

/// Examples that a two-layer head answers together.
const TOGETHER: usize = 1024;

/// Where training stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TrainProgress {
    /// Iterations of the solver, or epochs.
    pub done: usize,
    /// Epochs in all; a solver does not know how many iterations it will take.
    pub total: Option<usize>,
    /// The objective, or an epoch's mean loss; not every step knows it.
    pub loss: Option<f64>,
    /// Whether training is over.
    pub finished: bool,
}

/// What an interrupted training needs to go on, besides its recipe and features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum TrainState {
    /// The linear solver's.
    Linear(LogisticState),
    /// The two-layer trainer's.
    Mlp(MlpState),
}

enum Inner<'a> {
    Linear(Box<LinearTrainer<'a>>),
    Mlp(Box<MlpTrainer<'a, Trainee>>, MlpConfig),
}

/// Trains a head on examples, a step at a time.
pub struct HeadTrainer<'a> {
    inner: Inner<'a>,
    classes: usize,
    slot: HeadSlot,
    last: TrainProgress,
}

impl<'a> HeadTrainer<'a> {
    /// Sets up a training.
    ///
    /// `start` is the solution of a similar problem, such as the same photos and one more: the
    /// optimum does not depend on it, only the time to get there.
    ///
    /// # Errors
    ///
    /// When the recipe or the examples make no sense: fewer than two classes with images, features
    /// that are not finite, weights for another number of classes.
    pub fn new(
        recipe: &HeadRecipe,
        examples: Examples<'a>,
        classes: usize,
        slot: HeadSlot,
        seed: u64,
        start: Option<&LinearSolution>,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let inner = match recipe {
            HeadRecipe::Linear(linear) => {
                let trainer = LinearTrainer::new(linear, examples, classes, start)?;
                Inner::Linear(Box::new(trainer))
            }
            HeadRecipe::Mlp {
                hidden,
                dropout,
                training,
                class_weights,
            } => {
                let weights = class_weights
                    .resolve(&examples.labels, classes)
                    .map_err(LogisticError::from)?
                    .into_iter()
                    .map(|weight| weight as f32)
                    .collect();
                let config = MlpConfig {
                    hidden: hidden.unwrap_or(MlpConfig::WIDENING * examples.width()),
                    dropout: *dropout,
                };
                let by = |graph, tensors: &StateDict<'_>| {
                    let engine = Trainee::new(graph, tensors, device);
                    engine.map_err(|error| MlpError::Head(error.to_string()))
                };
                let trainer = MlpTrainer::by(by, config, slot, *training, examples, weights, seed)?;
                Inner::Mlp(Box::new(trainer), config)
            }
        };
        let last = TrainProgress {
            done: 0,
            total: None,
            loss: None,
            finished: false,
        };
        Ok(Self {
            inner,
            classes,
            slot,
            last,
        })
    }

    /// One iteration of the solver, or one batch.
    ///
    /// # Errors
    ///
    /// When the objective overflows or the device fails.
    pub async fn step(&mut self) -> Result<TrainProgress, TrainError> {
        self.last = match &mut self.inner {
            Inner::Linear(solver) => {
                let progress = solver.step()?;
                TrainProgress {
                    done: progress.iteration,
                    total: None,
                    loss: Some(progress.objective),
                    finished: progress.done(),
                }
            }
            Inner::Mlp(trainer, _) => {
                let progress = trainer.step().await?;
                TrainProgress {
                    done: progress.epoch,
                    total: Some(progress.epochs),
                    loss: progress.loss.map(f64::from).or(self.last.loss),
                    finished: progress.done,
                }
            }
        };
        Ok(self.last)
    }

    /// All that is needed to go on later.
    ///
    /// # Errors
    ///
    /// When the device fails to hand it over.
    pub async fn state(&mut self) -> Result<TrainState, TrainError> {
        Ok(match &mut self.inner {
            Inner::Linear(solver) => TrainState::Linear(solver.state()),
            Inner::Mlp(trainer, _) => TrainState::Mlp(trainer.state().await?),
        })
    }

    /// Goes back to a state of a training with the same recipe, examples and seed.
    ///
    /// # Errors
    ///
    /// When the state belongs to another training.
    pub fn restore(&mut self, state: &TrainState) -> Result<(), TrainError> {
        match (&mut self.inner, state) {
            (Inner::Linear(solver), TrainState::Linear(state)) => {
                solver.restore(state.clone())?;
            }
            (Inner::Mlp(trainer, _), TrainState::Mlp(state)) => trainer.restore(state)?,
            _ => return Err(TrainError::State),
        }
        Ok(())
    }

    /// The head as it stands.
    ///
    /// # Errors
    ///
    /// When the device fails to hand it over.
    pub async fn head(&self) -> Result<Fitted, TrainError> {
        Ok(match &self.inner {
            Inner::Linear(solver) => Fitted::linear(solver.solution(), solver.rows(), self.slot),
            Inner::Mlp(trainer, config) => Fitted {
                kind: HeadKind::Mlp(*config),
                classes: self.classes,
                head: trainer.head().await?,
                solution: None,
                iterations: self.last.done,
                loss: self.last.loss.unwrap_or(f64::NAN),
            },
        })
    }
}

/// Steps a training to its end.
///
/// # Errors
///
/// As [`HeadTrainer::new`] and [`HeadTrainer::step`].
pub async fn fit(
    recipe: &HeadRecipe,
    examples: Examples<'_>,
    classes: usize,
    slot: HeadSlot,
    seed: u64,
    device: &Device,
) -> Result<Fitted, TrainError> {
    let mut trainer = HeadTrainer::new(recipe, examples, classes, slot, seed, None, device)?;
    while !trainer.step().await?.finished {}
    trainer.head().await
}

/// Logits of examples under a head that was trained for this place.
///
/// # Shapes
///
/// - returns: `[N, classes]`, row-major
///
/// # Errors
///
/// When the device fails.
pub async fn evaluate(
    fitted: &Fitted,
    examples: &Examples<'_>,
    slot: HeadSlot,
    device: &Device,
) -> Result<Vec<f32>, TrainError> {
    if examples.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(solution) = &fitted.solution {
        return Ok(solution.logits_of(examples.rows()));
    }
    let width = examples.width();
    let graph = sketch([width], &Options::default(), |features| {
        let logits = fitted.kind.on_features(slot, features, fitted.classes);
        logits.stage("head")
    });
    let graph = graph.map_err(DeviceError::execution)?;
    let head = Network::new(graph, &state_dict([&fitted.head]), device);
    let head = head.map_err(DeviceError::execution)?;
    let wanted = [head.graph().output()];
    let mut answers = Vec::with_capacity(examples.len() * fitted.classes);
    for first in (0..examples.len()).step_by(TOGETHER) {
        let last = examples.len().min(first + TOGETHER);
        let some = examples.rows().part(first..last);
        let features: Vec<f32> = some.iter().flatten().copied().collect();
        let features = TensorData::new(features, [last - first, width]);
        let features = Batch::Features(Tensor::from_data(features, device));
        let logits = head
            .run([(0, features)], &wanted)
            .map_err(DeviceError::execution)?;
        let Some(logits) = logits.into_iter().next().map(Batch::flatten) else {
            continue;
        };
        let data = logits
            .into_data_async()
            .await
            .map_err(DeviceError::execution)?;
        answers.extend(data.iter::<f32>());
    }
    Ok(answers)
}
