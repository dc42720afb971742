//! The trainer: a state machine that says what it wants next, takes it, and can be saved and taken up at any step.
//!
//! It has no clock, no files and no hidden state. Which examples make up a step, in which of their views, how they are
//! mixed and what dropout leaves out follow from the seed and the position; everything else is in [`TrainerState`].

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::engine::{Descent, Draws, Engine, EngineState, Enough, Goal, WrongState};
use super::labels::Aims;
use super::mixing::Mix;
use super::order;
use super::plan::{Phase, Plan};
use super::recipe::Recipe;
use super::schedule::{Moment, PlateauState};
use super::watch::{Judgement, Watch};
use crate::device::DeviceError;
use crate::random::Random;
use crate::weights::Tensors;

/// Why a training stopped.
#[derive(Debug, Error)]
pub enum TuneError {
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The loss is no longer a number.
    #[error("the loss became {loss} at step {step}")]
    Diverged {
        /// What it became.
        loss: f32,
        /// The step, counted from 1 over all phases.
        step: u64,
    },
    /// A state that was saved by another training.
    #[error(transparent)]
    State(#[from] WrongState),
}

/// An example, and which of its views is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The example's number.
    pub example: usize,
    /// The epoch, counted over all phases: random views are drawn anew for each.
    pub epoch: u64,
}

/// What the trainer wants next.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// The batches of a step, one for each part that goes through the network at a time.
    Step(Vec<Vec<Shown>>),
    /// A judgement of the network as it stands, at the end of an epoch.
    Judgement,
    /// Nothing: it is over.
    Nothing,
}

/// Where a training stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The phase.
    pub phase: usize,
    /// The epoch in it.
    pub epoch: usize,
    /// The step in the epoch.
    pub step: usize,
    /// The steps of all phases.
    pub steps: u64,
    /// The batches that went through the network in all phases.
    pub batches: u64,
}

/// From a step on, in how many parts the photos of each go through the network at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parting {
    /// The step, counted over all phases from 0.
    pub from: u64,
    /// The parts.
    pub parts: usize,
}

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EpochEnd {
    /// The phase.
    pub phase: usize,
    /// The epoch, counted over all phases from 0.
    pub epoch: usize,
    /// The mean loss of its steps.
    pub loss: f64,
    /// Whether it is the best so far.
    pub is_best: bool,
    /// Whether the phase ends with it, by number or for want of better epochs.
    pub ends_phase: bool,
}

/// The sum of losses since an epoch began, read back so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Sum {
    losses: f64,
    steps: u64,
}

/// All of a training but its network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Where it stands.
    pub position: Position,
    /// The epochs' judgements.
    pub watch: Watch,
    /// Where steps were divided further, for want of memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parted: Vec<Parting>,
    plateau: PlateauState,
    sum: Sum,
    /// The steps that each parameter has taken.
    steps: BTreeMap<String, u64>,
}

/// All that is needed to go on later.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainerState {
    /// All but numbers of the network.
    pub standing: Standing,
    /// The engine's.
    pub engine: EngineState,
    /// The networks of the best epochs, in the order of [`Watch::best`].
    pub best: Vec<Tensors>,
}

/// Tunes a network.
pub struct Trainer<E: Engine> {
    engine: E,
    plan: Plan,
    aims: Aims,
    seed: u64,
    standing: Standing,
    /// The steps of the epoch that it is in.
    epoch: Vec<Vec<Shown>>,
    /// The networks of the best epochs, in the order of [`Watch::best`].
    best: Vec<Tensors>,
    /// The batches that are left of the step that is being made.
    making: Option<VecDeque<(E::Input, Goal, Draws)>>,
}

/// The streams of a seed, apart from those of [`crate::network::Chance`] and of the epochs' orders.
const MIXING: u64 = 0x6d69_7869_6e67;

/// The steps of an epoch, counted over all phases: the examples of each.
pub(super) fn steps(recipe: &Recipe, aims: &Aims, seed: u64, epoch: u64) -> Vec<Vec<Shown>> {
    let everyone = vec![0; aims.len()];
    let classes = aims.classes().unwrap_or(&everyone);
    let order = order::epoch(seed, epoch, classes, recipe.sampler);
    let show = |&example: &usize| Shown { example, epoch };
    let steps = order::batches(order.len(), recipe.batch);
    steps
        .map(|range| order[range].iter().map(show).collect())
        .collect()
}

/// The examples of a step in so many batches, as nearly alike as they can be but for the last.
pub(super) fn parted(step: &[Shown], parts: usize) -> Vec<Vec<Shown>> {
    let each = step.len().div_ceil(parts.max(1)).max(1);
    step.chunks(each).map(<[Shown]>::to_vec).collect()
}

/// What a step is made of.
pub(super) struct Made<'a> {
    pub recipe: &'a Recipe,
    pub aims: &'a Aims,
    pub seed: u64,
    /// The number of the step.
    pub step: u64,
    /// The number of the step's first batch.
    pub first: u64,
}

impl Made<'_> {
    /// The batches of a step, with what they should come to and what is drawn for them.
    pub fn batches<I>(
        &self,
        step: &[Vec<Shown>],
        inputs: Vec<I>,
        size: Option<[usize; 2]>,
    ) -> VecDeque<(I, Goal, Draws)> {
        let examples: Vec<Vec<usize>> = step
            .iter()
            .map(|batch| batch.iter().map(|shown| shown.example).collect())
            .collect();
        let whole: Vec<&[usize]> = examples.iter().map(Vec::as_slice).collect();
        let mut before = 0;
        let each = (self.first..).zip(&examples).zip(inputs);
        each.map(|((number, batch), input)| {
            let mix = self.mix(number, size);
            let goal = self.aims.goal(batch, &whole, mix.as_ref());
            let draws = Draws {
                seed: self.seed,
                batch: self.step,
                first: before,
                mix,
            };
            before += batch.len();
            (input, goal, draws)
        })
        .collect()
    }

    /// How a batch's images are mixed, if they are.
    fn mix(&self, batch: u64, size: Option<[usize; 2]>) -> Option<Mix> {
        let [height, width] = size.unwrap_or([1, 1]);
        let mut random = Random::new(self.seed).fork(MIXING).fork(batch);
        self.recipe.mixing.draw(&mut random, height, width)
    }
}

/// The photos of the largest step of an epoch.
pub fn largest_step(photos: usize, batch: usize) -> usize {
    let steps = order::batches(photos, batch);
    steps.map(|step| step.len()).max().unwrap_or(1)
}

impl<E: Engine> Trainer<E> {
    /// Sets up a training of these examples.
    pub fn new(engine: E, plan: Plan, aims: Aims, seed: u64) -> Self {
        let mut trainer = Self {
            engine,
            plan,
            aims,
            seed,
            standing: Standing::default(),
            epoch: Vec::new(),
            best: Vec::new(),
            making: None,
        };
        trainer.begin_phase();
        trainer
    }

    /// What it follows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What computes it.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// Where it stands.
    pub fn position(&self) -> Position {
        self.standing.position
    }

    /// The phase it is in; none at the end.
    pub fn phase(&self) -> Option<&Phase> {
        self.plan.phases.get(self.standing.position.phase)
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        order::batches(self.aims.len(), self.plan.recipe.batch).count()
    }

    /// Whether what is judged and kept is a moving average.
    pub fn is_averaged(&self) -> bool {
        self.plan.recipe.ema.is_some()
    }

    /// In how many parts the photos of the next step go through the network.
    pub fn parts(&self) -> usize {
        let usual = self.phase().map_or(1, |phase| phase.parts);
        let steps = self.standing.position.steps;
        let begun = self.parted().iter().filter(|one| one.from <= steps);
        begun.map(|one| one.parts).fold(usual, usize::max)
    }

    /// Where steps were divided further than the plan has it.
    pub fn parted(&self) -> &[Parting] {
        &self.standing.parted
    }

    /// The same training with steps divided further where another one was: it comes to the same numbers.
    pub fn divided(mut self, parted: Vec<Parting>) -> Self {
        self.standing.parted = parted;
        self
    }

    /// The photos of its largest step.
    pub fn largest_step(&self) -> usize {
        largest_step(self.aims.len(), self.plan.recipe.batch)
    }

    /// Goes on from an earlier state with steps in twice as many parts as at the last step, because the device had no
    /// memory for it. Says how many photos are a part now; nothing is changed, and nothing said, where they would be
    /// fewer than `least`.
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    pub fn halve(&mut self, state: TrainerState, least: usize) -> Result<Option<usize>, TuneError> {
        let (step, parts) = (self.largest_step(), self.parts());
        let images = step.div_ceil(2 * parts);
        if step.div_ceil(parts) <= 1 || images < least {
            return Ok(None);
        }
        self.engine.let_go();
        self.restore(state)?;
        let from = self.standing.position.steps;
        self.standing.parted.push(Parting {
            from,
            parts: 2 * parts,
        });
        Ok(Some(images))
    }

    /// What it wants next.
    pub fn wanted(&self) -> Wanted {
        match (self.phase(), self.epoch.get(self.standing.position.step)) {
            (None, _) => Wanted::Nothing,
            (Some(_), Some(step)) => Wanted::Step(parted(step, self.parts())),
            (Some(_), None) => Wanted::Judgement,
        }
    }

    /// The steps that are left of this phase, in order: what a loader may prepare ahead. A phase that ends early does
    /// not take all of them.
    pub fn ahead(&self) -> impl Iterator<Item = Vec<Vec<Shown>>> + Send + use<E> {
        let Position { epoch, step, .. } = self.standing.position;
        let epochs = self.phase().map_or(0, |phase| phase.epochs);
        let before = self.plan.epochs_before(self.standing.position.phase);
        let (recipe, aims, seed) = (self.plan.recipe.clone(), self.aims.clone(), self.seed);
        // An epoch's steps at a time, however many epochs there are.
        let each = (epoch..epochs)
            .flat_map(move |epoch| steps(&recipe, &aims, seed, (before + epoch) as u64));
        let parts = self.parts();
        each.skip(step).map(move |step| parted(&step, parts))
    }

    /// The steps of an epoch of this phase.
    fn steps_of(&self, epoch: usize) -> Vec<Vec<Shown>> {
        let before = self.plan.epochs_before(self.standing.position.phase);
        let epoch = (before + epoch) as u64;
        steps(&self.plan.recipe, &self.aims, self.seed, epoch)
    }

    /// Takes the step that was [wanted](Self::wanted): `inputs` are its batches, `size` their height and width, where
    /// they are images. Nothing is read back.
    ///
    /// # Panics
    ///
    /// When no step is wanted, or one is being made.
    pub fn step(&mut self, inputs: Vec<E::Input>, size: Option<[usize; 2]>) {
        self.begin(inputs, size);
        self.go_on(&mut || false);
    }

    /// Begins what [`step`](Self::step) does, for [`go_on`](Self::go_on) to end. Until then the network is as it was, but
    /// that running statistics follow each batch.
    ///
    /// # Panics
    ///
    /// As there.
    pub fn begin(&mut self, inputs: Vec<E::Input>, size: Option<[usize; 2]>) {
        let Wanted::Step(batches) = self.wanted() else {
            panic!("a step is taken where none is wanted");
        };
        assert!(self.making.is_none(), "a step is being made already");
        let made = Made {
            recipe: &self.plan.recipe,
            aims: &self.aims,
            seed: self.seed,
            step: self.standing.position.steps,
            first: self.standing.position.batches,
        };
        self.making = Some(made.batches(&batches, inputs, size));
    }

    /// Whether a step was begun and is not over.
    pub fn is_making(&self) -> bool {
        self.making.is_some()
    }

    /// Goes on with the step that was begun until it is enough, as far as the engine knows pieces; says whether the step
    /// is over. In however many pieces, the numbers are the same.
    pub fn go_on(&mut self, enough: Enough<'_>) -> bool {
        let Some(making) = &mut self.making else {
            return true;
        };
        while self.engine.go_on(enough) {
            let Some((input, goal, draws)) = making.pop_front() else {
                self.making = None;
                self.descend();
                return true;
            };
            self.engine.begin(input, &goal, &draws);
            self.standing.position.batches += 1;
        }
        false
    }

    /// Moves the network along the gradients of a step.
    fn descend(&mut self) {
        let Some(phase) = self.plan.phases.get(self.standing.position.phase) else {
            return;
        };
        let recipe = &self.plan.recipe;
        let setting = recipe
            .schedule
            .at(recipe.warmup, self.moment(phase), &self.standing.plateau);
        self.engine.descend(&Descent {
            optimizer: &recipe.optimizer,
            rates: &phase.rates,
            factor: setting.factor,
            momentum: setting.momentum,
            clip: recipe.clip,
        });
        let position = &mut self.standing.position;
        position.step += 1;
        position.steps += 1;
        if let Some(average) = recipe.ema {
            self.engine.average(average.kept(position.steps));
        }
    }

    /// The moment of the schedule: where the next step stands in its phase.
    fn moment(&self, phase: &Phase) -> Moment {
        let per_epoch = self.steps_per_epoch();
        let Position { epoch, step, .. } = self.standing.position;
        Moment {
            step: epoch * per_epoch + step,
            steps: phase.epochs * per_epoch,
            per_epoch,
        }
    }

    /// What the schedule multiplies rates by in the next step.
    pub fn factor(&self) -> f64 {
        let recipe = &self.plan.recipe;
        self.phase().map_or(0.0, |phase| {
            let moment = self.moment(phase);
            let setting = recipe
                .schedule
                .at(recipe.warmup, moment, &self.standing.plateau);
            setting.factor
        })
    }

    /// Reads the losses of the steps since they were last read: their mean, if there were any.
    ///
    /// # Errors
    ///
    /// When one is no number, or the device fails.
    pub async fn losses(&mut self) -> Result<Option<f64>, TuneError> {
        let losses = self.engine.losses().await?;
        let sum = &mut self.standing.sum;
        let before = self.standing.position.steps - losses.len() as u64;
        for (&loss, step) in losses.iter().zip(before + 1..) {
            if !loss.is_finite() {
                return Err(TuneError::Diverged { loss, step });
            }
            sum.losses += f64::from(loss);
            sum.steps += 1;
        }
        let mean = losses.iter().map(|&loss| f64::from(loss)).sum::<f64>() / losses.len() as f64;
        Ok((!losses.is_empty()).then_some(mean))
    }

    /// Ends an epoch, as was [wanted](Self::wanted): with how good the network is on examples held back, if there are
    /// any.
    ///
    /// # Errors
    ///
    /// As [`losses`](Self::losses).
    pub async fn judged(&mut self, judgement: Option<Judgement>) -> Result<EpochEnd, TuneError> {
        self.losses().await?;
        let Position { phase, epoch, .. } = self.standing.position;
        let number = self.plan.epochs_before(phase) + epoch;
        let recipe = &self.plan.recipe;
        let kept = if recipe.soup { 3 } else { 1 };
        // Without any, the last epoch is the best.
        let judged = judgement.unwrap_or(Judgement {
            score: number as f64,
            loss: 0.0,
        });
        let place = self.standing.watch.observe(number, judged, kept);
        if let Some(place) = place {
            let tensors = self.engine.tensors(recipe.ema.is_some()).await?;
            self.best.insert(place, tensors);
            self.best.truncate(kept);
        }
        let sum = std::mem::take(&mut self.standing.sum);
        let loss = sum.losses / sum.steps.max(1) as f64;
        // Where nothing is held back, a plateau is one of the steps' own losses.
        let watched = judgement.map_or(loss, |judgement| judgement.loss);
        self.standing.plateau.observe(&recipe.schedule, watched);
        let is_enough = recipe
            .patience
            .is_some_and(|patience| self.standing.watch.waited >= patience);
        let epochs = self.plan.phases.get(phase).map_or(0, |phase| phase.epochs);
        let ends_phase = epoch + 1 >= epochs || is_enough;
        let position = &mut self.standing.position;
        position.step = 0;
        position.epoch += 1;
        if ends_phase {
            position.epoch = 0;
            position.phase += 1;
            self.begin_phase();
        } else {
            self.begin_epoch();
        }
        Ok(EpochEnd {
            phase,
            epoch: number,
            loss,
            is_best: place == Some(0),
            ends_phase,
        })
    }

    /// Tells the engine what trains now.
    fn begin_phase(&mut self) {
        self.standing.watch.waited = 0;
        self.standing.plateau = PlateauState::default();
        if let Some(phase) = self.plan.phases.get(self.standing.position.phase) {
            self.engine.learns(&phase.learning);
        }
        self.begin_epoch();
    }

    /// Puts the examples of the epoch in their order.
    fn begin_epoch(&mut self) {
        self.epoch = match self.phase() {
            Some(_) => self.steps_of(self.standing.position.epoch),
            None => Vec::new(),
        };
    }

    /// All epochs that were made, in order, and how good they were; where nothing is held back, the later the better.
    pub fn seen(&self) -> &[(usize, Judgement)] {
        &self.standing.watch.seen
    }

    /// What its examples are.
    pub fn aims(&self) -> &Aims {
        &self.aims
    }

    /// The networks of the best epochs, the best first.
    pub fn best(&self) -> impl Iterator<Item = (usize, Judgement, &Tensors)> {
        let best = self.standing.watch.best.iter().zip(&self.best);
        best.map(|((epoch, judgement), tensors)| (*epoch, *judgement, tensors))
    }

    /// All that is needed to go on later.
    ///
    /// # Errors
    ///
    /// When the device fails, or a loss is no number.
    pub async fn state(&mut self) -> Result<TrainerState, TuneError> {
        // Between steps alone there is nothing but numbers by name.
        self.go_on(&mut || false);
        self.losses().await?;
        let engine = self.engine.state().await?;
        let mut standing = self.standing.clone();
        standing.steps.clone_from(&engine.steps);
        Ok(TrainerState {
            standing,
            engine,
            best: self.best.clone(),
        })
    }

    /// Goes back to a state of a training with the same plan, examples and seed.
    ///
    /// # Errors
    ///
    /// When the state is of another network, or no state of such a training.
    pub fn restore(&mut self, state: TrainerState) -> Result<(), TuneError> {
        let TrainerState {
            standing,
            mut engine,
            best,
        } = state;
        let Position {
            phase, epoch, step, ..
        } = standing.position;
        let epochs = self.plan.phases.get(phase).map(|phase| phase.epochs);
        let is_within = match epochs {
            Some(epochs) => epoch < epochs && step <= self.steps_per_epoch(),
            None => phase == self.plan.phases.len(),
        };
        if !is_within || best.len() != standing.watch.best.len() {
            return Err(WrongState("it stands where this training has no step".to_owned()).into());
        }
        engine.steps.clone_from(&standing.steps);
        self.making = None;
        if let Some(phase) = self.plan.phases.get(phase) {
            self.engine.learns(&phase.learning);
        }
        self.engine.restore(&engine)?;
        self.standing = standing;
        self.best = best;
        self.begin_epoch();
        Ok(())
    }
}
