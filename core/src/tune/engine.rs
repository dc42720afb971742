//! What computes a training: gradients, and numbers moved along them. The trainer knows parameters, gradients and what
//! optimisers keep by name only; what they are made of is the engine's business.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::mixing::Mix;
use super::optimizer::{Optimizer, Pace};
use super::rates::Rate;
use crate::device::DeviceError;
use crate::weights::Tensors;

/// Which numbers of a network change in training.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learning {
    /// The parameters that gradients move, by their names in the state_dict.
    pub parameters: BTreeSet<String>,
    /// Whether batch norms use the statistics of the batch and take them into their running ones, of layers that stand
    /// in a stage that trains; all others use their running statistics and keep them.
    pub statistics: BTreeSet<String>,
}

/// How far answers are from what they should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cross-entropy of the softmax: `−Σ t·log p`.
    #[default]
    CrossEntropy,
    /// Binary cross-entropy of each answer's sigmoid: `−Σ (t·log σ + (1−t)·log(1−σ))`.
    BinaryCrossEntropy,
    /// The squared difference.
    MeanSquare,
    /// The squared difference halved up to a distance of `delta`, `delta` times the distance less half of `delta`
    /// beyond: PyTorch's `huber_loss`.
    Huber {
        /// The distance from which on it grows no faster: above 0; 1 in PyTorch where nobody says otherwise.
        delta: f64,
    },
}

/// What the network should say of a batch, and what that counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// How far off an answer is.
    pub loss: Loss,
    /// What should come out, `[N, answers]`, row-major; for classes, a weight for the logarithm of each probability.
    pub wanted: Vec<f32>,
    /// Of labels, what their presence and their absence count together, `[N, answers]`, row-major: `wanted` is the part of
    /// it that presence has. Nothing where each counts one.
    pub counts: Option<Vec<f32>>,
    /// Answers for each example.
    pub answers: usize,
    /// What each term counts: the batch's part of a step's loss is the sum of all terms times this.
    pub share: f64,
}

/// What is drawn for a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draws {
    /// What dropout and stochastic depth leave out follows from the training's seed
    pub seed: u64,
    /// and from the number of the batch in the training,
    pub batch: u64,
    /// of which these are the images behind so many others: in how many parts a batch goes through the network does not
    /// change what is left out.
    pub first: usize,
    /// How its images are mixed, if they are.
    pub mix: Option<Mix>,
}

/// How numbers move in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Descent<'a> {
    /// The rule.
    pub optimizer: &'a Optimizer,
    /// Each parameter's learning rate and whether it decays, before the schedule.
    pub rates: &'a BTreeMap<String, Rate>,
    /// What the schedule multiplies rates by now.
    pub factor: f64,
    /// The momentum, where the schedule changes it.
    pub momentum: Option<f64>,
    /// The greatest norm of all gradients together; longer ones are shortened to it.
    pub clip: Option<f64>,
}

impl Descent<'_> {
    /// How a parameter of this rate moves in its step of this number, from 1.
    pub(super) fn pace(&self, rate: &Rate, step: u64) -> Pace {
        Pace {
            rate: rate.rate * self.factor,
            decay: match rate.decays {
                true => self.optimizer.weight_decay(),
                false => 0.0,
            },
            step,
            momentum: self.momentum,
        }
    }
}

/// Whether it is enough for now, asked between pieces of work.
pub type Enough<'a> = &'a mut dyn FnMut() -> bool;

/// Why a saved state could not be taken up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this state belongs to another training: {0}")]
pub struct WrongState(pub String);

/// A network in training, on some device.
#[allow(async_fn_in_trait)] // one thread owns an engine, in a page as natively
pub trait Engine {
    /// A batch as the engine takes it: images, or values at a cut, on its device.
    type Input;

    /// Says what changes from now on. What optimisers keep of parameters that no longer train is forgotten.
    fn learns(&mut self, learning: &Learning);

    /// Runs a batch forward and back, and adds its gradients to those of the step. The loss is kept on the device.
    fn accumulate(&mut self, input: Self::Input, goal: &Goal, draws: &Draws);

    /// Begins what [`accumulate`](Self::accumulate) does, for [`go_on`](Self::go_on) to end. An engine that only tells a
    /// device what to do does all of it at once.
    fn begin(&mut self, input: Self::Input, goal: &Goal, draws: &Draws) {
        self.accumulate(input, goal, draws);
    }

    /// Goes on with the batch that was begun until it is enough; says whether it has been there and back. Gradients and
    /// losses are the same in however many pieces.
    fn go_on(&mut self, enough: Enough<'_>) -> bool {
        let _ = enough;
        true
    }

    /// Moves the parameters along the gradients that were added up, and forgets these.
    fn descend(&mut self, descent: &Descent<'_>);

    /// Takes the numbers as they stand into their moving average, of which `kept` stays; without one yet, they become
    /// it.
    fn average(&mut self, kept: f64);

    /// The losses of all steps since they were last asked for, read in one go.
    async fn losses(&mut self) -> Result<Vec<f32>, DeviceError>;

    /// What the network answers for a batch, `[N, answers]`, as it stands or as it is on average.
    async fn answers(&self, input: Self::Input, averaged: bool) -> Result<Vec<f32>, DeviceError>;

    /// The network's tensors, as they stand or as they are on average; on average they are as they stand as long as
    /// there is no average.
    async fn tensors(&self, averaged: bool) -> Result<Tensors, DeviceError>;

    /// All that is needed to go on later: tensors, averages, what the optimiser keeps. Losses must have been read and
    /// gradients used.
    async fn state(&self) -> Result<EngineState, DeviceError>;

    /// Lets go of all numbers, so that the device has its memory back. Nothing may be asked of it then but to
    /// [restore](Self::restore) a state.
    fn let_go(&mut self);

    /// Goes back to a state.
    ///
    /// # Errors
    ///
    /// When the state is of another network.
    fn restore(&mut self, state: &EngineState) -> Result<(), WrongState>;
}

/// What an engine needs to go on, on the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineState {
    /// The network's tensors.
    pub tensors: Tensors,
    /// Their moving averages, if they are kept.
    pub averages: Tensors,
    /// What the optimiser keeps: `exp_avg.fc.weight` and the like, in the engine's own order.
    pub slots: Tensors,
    /// The steps that each parameter has taken.
    pub steps: BTreeMap<String, u64>,
}
