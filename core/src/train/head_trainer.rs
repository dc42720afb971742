//! The trainer of heads: a state machine over the linear solver and the two-layer one.

use burn::module::Param;
use burn::nn::Linear;
use burn::nn::conv::Conv2dConfig;
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::features::{Examples, FeatureCache};
use super::logistic::{
    LinearSolution, LogisticError, LogisticOptions, LogisticProblem, LogisticSolver, LogisticState,
    Scaling,
};
use super::metrics::{MetricsError, Predictions, Report};
use super::mlp::{MlpError, MlpState, MlpTrainer};
use super::recipe::HeadRecipe;
use super::split::{SplitError, stratified_folds};
use crate::backbone::{HeadSlot, HeadStyle};
use crate::device::DeviceError;
use crate::head::{Head, HeadKind, MlpConfig, relu_lift};
use crate::postprocess::softmax;

/// Why a head could not be trained.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The linear solver's trouble.
    #[error(transparent)]
    Linear(#[from] LogisticError),
    /// The two-layer trainer's trouble.
    #[error(transparent)]
    Mlp(#[from] MlpError),
    /// The images cannot be split that way.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A state of another kind of training.
    #[error("this state belongs to a head of another kind")]
    State,
}

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

/// A trained head, ready for [`crate::model::Model::with_head`].
#[derive(Debug, Clone)]
pub struct Fitted {
    /// What kind it is, as the model file says it.
    pub kind: HeadKind,
    /// The head itself, on the device.
    pub head: Head,
    /// The linear solution, where that is what it is: a start for the next solve.
    pub solution: Option<LinearSolution>,
    /// Solver iterations or epochs.
    pub iterations: usize,
    /// The last objective or loss.
    pub loss: f64,
}

enum Inner {
    Linear(Box<LogisticSolver<'static>>),
    Mlp(Box<MlpTrainer>, MlpConfig),
}

/// Trains a head on examples, a step at a time.
pub struct HeadTrainer {
    inner: Inner,
    examples: Examples,
    slot: HeadSlot,
    device: Device,
    last: TrainProgress,
}

impl HeadTrainer {
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
        examples: Examples,
        classes: usize,
        slot: HeadSlot,
        seed: u64,
        start: Option<&LinearSolution>,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let inner = match recipe {
            HeadRecipe::Linear(linear) => {
                let options = LogisticOptions {
                    c: linear.c.unwrap_or(1.0),
                    scaling: if linear.c.is_some() {
                        Scaling::None
                    } else {
                        Scaling::Global
                    },
                    class_weights: linear.class_weights.clone(),
                    ..LogisticOptions::default()
                };
                let problem = LogisticProblem::new(
                    examples.features.clone(),
                    examples.width,
                    &examples.labels,
                    classes,
                    options,
                )?;
                let solver = match start {
                    Some(solution) => LogisticSolver::warm(problem, solution)?,
                    None => LogisticSolver::new(problem),
                };
                Inner::Linear(Box::new(solver))
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
                    hidden: hidden.unwrap_or(2 * examples.width),
                    dropout: *dropout,
                };
                let trainer =
                    MlpTrainer::new(config, *training, examples.clone(), weights, seed, device)?;
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
            examples,
            slot,
            device: device.clone(),
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
    pub async fn state(&self) -> Result<TrainState, TrainError> {
        Ok(match &self.inner {
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
                **solver = LogisticSolver::restore(solver.problem().clone(), state.clone())?;
            }
            (Inner::Mlp(trainer, _), TrainState::Mlp(state)) => trainer.restore(state)?,
            _ => return Err(TrainError::State),
        }
        Ok(())
    }

    /// The head as it stands.
    pub fn head(&self) -> Fitted {
        let (iterations, loss) = (self.last.done, self.last.loss.unwrap_or(f64::NAN));
        match &self.inner {
            Inner::Linear(solver) => {
                let solution = solver.solution();
                let (kind, head) = linear_head(&solution, &self.examples, self.slot, &self.device);
                Fitted {
                    kind,
                    head,
                    iterations: solution.iterations,
                    loss: solution.objective,
                    solution: Some(solution),
                }
            }
            Inner::Mlp(trainer, config) => Fitted {
                kind: HeadKind::Mlp(*config),
                head: Head::Mlp(trainer.head()),
                solution: None,
                iterations,
                loss,
            },
        }
    }
}

/// Puts a linear solution into the shape of the network's own last layer.
fn linear_head(
    solution: &LinearSolution,
    examples: &Examples,
    slot: HeadSlot,
    device: &Device,
) -> (HeadKind, Head) {
    let (width, classes) = (examples.width, solution.bias.len());
    match slot.style {
        HeadStyle::Linear { .. } => {
            // Burn keeps `[in, out]`.
            let weight: Vec<f32> = (0..width * classes)
                .map(|index| solution.weight[index % classes * width + index / classes])
                .collect();
            let bias = TensorData::new(solution.bias.clone(), [classes]);
            let head = Linear {
                weight: Param::from_data(TensorData::new(weight, [width, classes]), device),
                bias: Some(Param::from_data(bias, device)),
            };
            (HeadKind::Linear { lift: 0.0 }, Head::Linear(head))
        }
        HeadStyle::PooledConv => {
            let lift = relu_lift(&solution.weight, &solution.bias, &examples.features, width);
            let lifted: Vec<f32> = solution.bias.iter().map(|bias| bias + lift).collect();
            let weight = TensorData::new(solution.weight.clone(), [classes, width, 1, 1]);
            let mut conv = Conv2dConfig::new([width, classes], [1, 1]).init(device);
            conv.weight = Param::from_data(weight, device);
            conv.bias = Some(Param::from_data(TensorData::new(lifted, [classes]), device));
            (HeadKind::Linear { lift }, Head::PooledConv(conv))
        }
    }
}

/// Steps a training to its end.
///
/// # Errors
///
/// As [`HeadTrainer::new`] and [`HeadTrainer::step`].
pub async fn fit(
    recipe: &HeadRecipe,
    examples: Examples,
    classes: usize,
    slot: HeadSlot,
    seed: u64,
    device: &Device,
) -> Result<Fitted, TrainError> {
    let mut trainer = HeadTrainer::new(recipe, examples, classes, slot, seed, None, device)?;
    while !trainer.step().await?.finished {}
    Ok(trainer.head())
}

/// Logits of examples under a trained head.
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
    examples: &Examples,
    device: &Device,
) -> Result<Vec<f32>, TrainError> {
    if examples.is_empty() {
        return Ok(Vec::new());
    }
    let lift = match fitted.kind {
        HeadKind::Linear { lift } => lift,
        _ => 0.0,
    };
    let features = TensorData::new(examples.features.clone(), [examples.len(), examples.width]);
    let logits = fitted
        .head
        .forward_features(Tensor::from_data(features, device));
    let data = logits
        .into_data_async()
        .await
        .map_err(DeviceError::execution)?;
    Ok(data.iter::<f32>().map(|logit| logit - lift).collect())
}

/// Compares logits with the true classes.
///
/// # Shapes
///
/// - logits: `[N, classes]`, row-major
///
/// # Errors
///
/// When sizes do not fit or a label is out of range.
pub fn judge(logits: &[f32], labels: &[usize], classes: usize) -> Result<Report, MetricsError> {
    let probabilities: Vec<f32> = logits
        .chunks_exact(classes.max(1))
        .flat_map(softmax)
        .collect();
    Ok(Predictions::new(&probabilities, labels, classes)?.report())
}

/// Predicts every image by a head that has not seen it: stratified k-fold cross-validation.
///
/// `on_fold` hears of each fold as it ends; when it says `false` the rest is left out and `None`
/// comes back.
///
/// # Shapes
///
/// - returns: `[images, classes]`, row-major
///
/// # Errors
///
/// When the images cannot be split into that many folds, or a fold cannot be trained.
#[allow(clippy::too_many_arguments)] // a training's full circumstances, named one by one
pub async fn cross_validate(
    recipe: &HeadRecipe,
    cache: &FeatureCache,
    classes: usize,
    folds: usize,
    slot: HeadSlot,
    seed: u64,
    device: &Device,
    mut on_fold: impl FnMut(usize) -> bool,
) -> Result<Option<Vec<f32>>, TrainError> {
    let mut logits = vec![0.0; cache.len() * classes];
    let splits = stratified_folds(cache.labels(), classes, folds, seed)?;
    for (number, split) in splits.into_iter().enumerate() {
        let examples = cache.all_views(&split.train);
        let fitted = fit(recipe, examples, classes, slot, seed, device).await?;
        let answers = evaluate(&fitted, &cache.plain(&split.valid), device).await?;
        for (row, &image) in answers.chunks_exact(classes).zip(&split.valid) {
            logits[image * classes..(image + 1) * classes].copy_from_slice(row);
        }
        if !on_fold(number + 1) {
            return Ok(None);
        }
    }
    Ok(Some(logits))
}
