//! The learning-rate range test (Smith, <https://arxiv.org/abs/1506.01186>), as fastai's `lr_find` makes it (fastai
//! 2.8: `callback/schedule.py`, `LRFinder`, `lr_find`, `valley` and `steep`; `learner.py`, `AvgSmoothLoss`): some steps
//! are taken at rates that grow exponentially, the loss is smoothed, and the rates at which it falls are suggested.
//! Afterwards the network, what the optimiser keeps and the averages are what they were.

use serde::Serialize;

use super::engine::{Descent, Engine, EngineState};
use super::labels::Aims;
use super::plan::{Phase, Plan};
use super::trainer::{self, Shown, TuneError};

/// The rates that are tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RateRange {
    /// The rate of the first step.
    pub low: f64,
    /// The rate that the step after the last would have.
    pub high: f64,
    /// The steps, at most.
    pub steps: usize,
}

impl RateRange {
    /// fastai's.
    pub const USUAL: Self = Self {
        low: 1e-7,
        high: 10.0,
        steps: 100,
    };

    /// The fewest steps from which anything can be told: fewer leave no curve once its ends are cut off.
    pub const LEAST_STEPS: usize = 10;

    /// The rate of a step, counted from 0: fastai's `SchedExp` at the share of the steps before it.
    pub fn rate(&self, step: usize) -> f64 {
        let share = step as f64 / self.steps.max(1) as f64;
        self.low * (self.high / self.low).powf(share)
    }
}

/// How much of the smoothed loss stays at each step.
const BETA: f64 = 0.98;
/// The smoothed loss above which nothing is to be learnt any more, as a multiple of the best.
const TOO_HIGH: f64 = 4.0;
/// The last losses, which are left out of the curve from which rates are suggested.
const LEFT_OUT: usize = 5;
/// Losses stay on the device for this many steps and are then read together. What was stepped beyond the end of the
/// test until then is left out of the curve, so that the curve does not depend on it.
const READ_EVERY: usize = 5;

/// Why a test came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All steps were taken.
    Steps,
    /// The smoothed loss was above four times the best.
    LossRose,
    /// The loss was no number.
    LossIsNoNumber,
}

/// The loss at rising rates.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RateCurve {
    /// The rate of each step.
    pub rates: Vec<f64>,
    /// The loss before each step.
    pub losses: Vec<f64>,
    /// The mean of the losses so far, in which each counts 0.98 times as much as the one behind it, made up for the
    /// short beginning.
    pub smoothed: Vec<f64>,
    /// Why it ended, once it has.
    pub ended: Option<Ended>,
    /// The range that is tried.
    #[serde(skip)]
    range: RateRange,
    /// The smoothed loss before the beginning is made up for, and the best one.
    #[serde(skip)]
    mean: f64,
    #[serde(skip)]
    best: f64,
}

impl Default for RateRange {
    fn default() -> Self {
        Self::USUAL
    }
}

impl RateCurve {
    /// An empty curve.
    pub fn new(range: RateRange) -> Self {
        Self {
            range,
            best: f64::INFINITY,
            ..Self::default()
        }
    }

    /// Takes note of the loss of the next step. What comes behind the end of the test is not taken.
    pub fn push(&mut self, loss: f64) {
        if self.ended.is_some() {
            return;
        }
        let step = self.rates.len();
        self.mean = BETA * self.mean + (1.0 - BETA) * loss;
        let smooth = self.mean / (1.0 - BETA.powi(step as i32 + 1));
        self.rates.push(self.range.rate(step));
        self.losses.push(loss);
        self.smoothed.push(smooth);
        self.best = self.best.min(smooth);
        self.ended = if smooth.is_nan() {
            Some(Ended::LossIsNoNumber)
        } else if smooth > TOO_HIGH * self.best {
            Some(Ended::LossRose)
        } else if step + 1 >= self.range.steps {
            Some(Ended::Steps)
        } else {
            None
        };
    }

    /// The part from which rates are suggested: without the first tenth of the steps that were to be taken, without
    /// the last five that were taken, and up to the first loss that is no number. fastai goes on behind such a loss,
    /// so that the five are then those of the whole range.
    fn looked_at(&self) -> (&[f64], &[f64]) {
        let taken = match self.ended {
            Some(Ended::LossIsNoNumber) => self.range.steps,
            _ => self.smoothed.len(),
        };
        let numbers = self.smoothed.iter().take_while(|loss| !loss.is_nan());
        let end = taken.saturating_sub(LEFT_OUT).min(numbers.count());
        let start = (self.range.steps / 10).min(end);
        (&self.rates[start..end], &self.smoothed[start..end])
    }

    /// The place of a point, counted from the first step.
    fn point(&self, place: usize) -> Suggestion {
        let place = place + self.range.steps / 10;
        Suggestion {
            rate: self.rates[place],
            loss: self.smoothed[place],
        }
    }

    /// fastai's `valley`: the longest chain of points each of which lies lower than the one before, and the rate two
    /// thirds into the stretch from its beginning to its end, but for roundings; nothing of too short a curve.
    pub fn valley(&self) -> Option<Suggestion> {
        let (_, losses) = self.looked_at();
        valley(losses).map(|place| self.point(place))
    }

    /// fastai's `steep`: where the loss falls most per factor of the rate; nothing of too short a curve.
    pub fn steepest(&self) -> Option<Suggestion> {
        let (rates, losses) = self.looked_at();
        steepest(rates, losses).map(|(place, _)| self.point(place))
    }

    /// Whether the loss falls anywhere. Where it does not, what is suggested means nothing.
    pub fn falls(&self) -> bool {
        let (rates, losses) = self.looked_at();
        steepest(rates, losses).is_some_and(|(_, slope)| slope < 0.0)
    }
}

/// A rate that the curve suggests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Suggestion {
    /// The rate.
    pub rate: f64,
    /// The smoothed loss there.
    pub loss: f64,
}

/// The place that fastai's `valley` chooses. The stretch begins as many places before its end as it has points that
/// fall, be it one before the first place; places below zero count from the end, as in Python.
fn valley(losses: &[f64]) -> Option<usize> {
    // For each point, of the longest chain that falls to it, how many points it has.
    let mut lengths: Vec<usize> = Vec::with_capacity(losses.len());
    for (place, loss) in losses.iter().enumerate() {
        let higher = (0..place).filter(|&before| losses[before] > *loss);
        let longest = higher.map(|before| lengths[before]).max();
        lengths.push(longest.unwrap_or(0) + 1);
    }
    let longest = lengths.iter().copied().max()?;
    let end = lengths.iter().position(|&length| length == longest)?;
    let (start, third) = match longest {
        1 => (0, 0.0),
        _ => (end as isize - longest as isize, longest as f64 / 3.0),
    };
    let place = start + third as isize + (third / 2.0) as isize;
    Some(place.rem_euclid(losses.len() as isize) as usize)
}

/// fastai's `steep`: the first of the points behind which the loss falls most, and its slope.
fn steepest(rates: &[f64], losses: &[f64]) -> Option<(usize, f64)> {
    let slopes = rates.windows(2).zip(losses.windows(2));
    let slopes =
        slopes.map(|(rates, losses)| (losses[1] - losses[0]) / (rates[1].ln() - rates[0].ln()));
    // Of equal ones the first.
    slopes
        .enumerate()
        .min_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// The test: a state machine that says which examples it wants next and takes a step with them.
///
/// What the engine was is kept when it begins and given back when it ends, be it by [`finish`](Self::finish), by a
/// failure or by being dropped. Who trains next says what learns, as [`Trainer`](super::Trainer) does. Examples, their
/// order and what is drawn for them follow from the seed and the step alone, so that it leaves no trace in what is
/// drawn later.
pub struct Finder<'a, E: Engine> {
    engine: &'a mut E,
    before: EngineState,
    plan: Plan,
    phase: Phase,
    /// The learning rate to which those of the phase belong.
    base: f64,
    aims: Aims,
    seed: u64,
    curve: RateCurve,
    taken: usize,
    batches: u64,
    epoch: Vec<Vec<Vec<Shown>>>,
    is_restored: bool,
}

impl<'a, E: Engine> Finder<'a, E> {
    /// Begins a test of what trains in a phase of a plan. Each parameter's rate keeps its proportion to the phase's
    /// learning rate.
    ///
    /// Losses of steps before it must have been read.
    ///
    /// # Errors
    ///
    /// When the device fails.
    ///
    /// # Panics
    ///
    /// When the plan has no such phase.
    pub async fn begin(
        engine: &'a mut E,
        plan: &Plan,
        phase: usize,
        aims: Aims,
        seed: u64,
        range: RateRange,
    ) -> Result<Self, TuneError> {
        let before = engine.state().await?;
        let listed = plan.recipe.phases.get(phase).and_then(|phase| phase.lr);
        let mut finder = Self {
            engine,
            before,
            plan: plan.clone(),
            phase: plan.phases[phase].clone(),
            base: listed.unwrap_or(plan.recipe.lr),
            aims,
            seed,
            curve: RateCurve::new(range),
            taken: 0,
            batches: 0,
            epoch: Vec::new(),
            is_restored: false,
        };
        finder.engine.learns(&finder.phase.learning);
        finder.epoch = finder.steps_of(0);
        Ok(finder)
    }

    /// The curve so far.
    pub fn curve(&self) -> &RateCurve {
        &self.curve
    }

    /// The steps that were taken.
    pub fn taken(&self) -> usize {
        self.taken
    }

    fn steps_per_epoch(&self) -> usize {
        self.epoch.len().max(1)
    }

    fn steps_of(&self, epoch: u64) -> Vec<Vec<Vec<Shown>>> {
        let recipe = &self.plan.recipe;
        let steps = trainer::steps(recipe, &self.aims, self.seed, epoch);
        let steps = steps.iter();
        steps
            .map(|step| trainer::parted(step, recipe.accumulate))
            .collect()
    }

    /// The examples of the next step, a batch for each part that goes through the network at a time; nothing when the
    /// test is over.
    pub fn wanted(&self) -> Option<&Vec<Vec<Shown>>> {
        match self.curve.ended.is_none() && self.taken < self.curve.range.steps {
            true => self.epoch.get(self.taken % self.steps_per_epoch()),
            false => None,
        }
    }

    /// The steps of the whole test, in order: what a loader may prepare ahead. A test that ends early does not take all
    /// of them.
    pub fn ahead(&self) -> impl Iterator<Item = Vec<Vec<Shown>>> + use<E> {
        let (recipe, aims, seed) = (self.plan.recipe.clone(), self.aims.clone(), self.seed);
        let parts = recipe.accumulate;
        let epochs = (0_u64..).map(move |epoch| trainer::steps(&recipe, &aims, seed, epoch));
        let epochs = epochs.take_while(|steps| !steps.is_empty());
        let steps = epochs.flatten().take(self.curve.range.steps);
        steps.map(move |step| trainer::parted(&step, parts))
    }

    /// Takes the step that is [wanted](Self::wanted): `inputs` are its batches, `size` their height and width, where
    /// they are images. Losses are read every five steps.
    ///
    /// # Errors
    ///
    /// When the device fails.
    ///
    /// # Panics
    ///
    /// When no step is wanted.
    pub async fn step(
        &mut self,
        inputs: Vec<E::Input>,
        size: Option<[usize; 2]>,
    ) -> Result<(), TuneError> {
        let Some(step) = self.wanted().cloned() else {
            panic!("a step is taken where none is wanted");
        };
        let recipe = &self.plan.recipe;
        let made = trainer::Made {
            recipe,
            aims: &self.aims,
            seed: self.seed,
            step: self.taken as u64,
            first: self.batches,
        };
        for (input, goal, draws) in made.batches(&step, inputs, size) {
            self.engine.accumulate(input, &goal, &draws);
            self.batches += 1;
        }
        self.engine.descend(&Descent {
            optimizer: &recipe.optimizer,
            rates: &self.phase.rates,
            factor: self.curve.range.rate(self.taken) / self.base,
            momentum: None,
            clip: recipe.clip,
        });
        self.taken += 1;
        let per_epoch = self.steps_per_epoch();
        if self.taken.is_multiple_of(per_epoch) {
            self.epoch = self.steps_of((self.taken / per_epoch) as u64);
        }
        match self.taken.is_multiple_of(READ_EVERY) || self.taken == self.curve.range.steps {
            true => self.read().await,
            false => Ok(()),
        }
    }

    /// Reads the losses that lie on the device.
    async fn read(&mut self) -> Result<(), TuneError> {
        for loss in self.engine.losses().await? {
            self.curve.push(f64::from(loss));
        }
        Ok(())
    }

    /// Ends the test: the engine is what it was before. Of a test that is not over, the curve is what there is of it.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn finish(mut self) -> Result<RateCurve, TuneError> {
        self.read().await?;
        self.is_restored = true;
        self.engine.restore(&self.before)?;
        Ok(std::mem::take(&mut self.curve))
    }
}

impl<E: Engine> Drop for Finder<'_, E> {
    fn drop(&mut self) {
        if !self.is_restored {
            // It fits: it is the engine's own.
            let _ = self.engine.restore(&self.before);
        }
    }
}

#[cfg(test)]
mod tests;
