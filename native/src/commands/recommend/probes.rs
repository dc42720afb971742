//! Tunings in small: the usual recipe, all its epochs, on some of the photos, from the head that was solved on the same
//! ones, and what comes of it on photos that neither has seen.

use std::time::Instant;

use rekindle_core::model::Model;
use rekindle_core::train::{FeatureCache, Split};
use rekindle_core::tune::{Aims, Labels, Plan, Recipe, Trainee, Trainer, Tune, TuneError, Wanted};

use super::candidates::Room;
use super::clock::Clock;
use super::cost::{self, Photos as Counts};
use super::heads;
use super::sample::stratified;
use crate::cli::CacheArgs;
use crate::commands::train::tune::source::{Photos, Showing};
use crate::commands::train::tune::supply::{Supplier, Supply};
use crate::context::Context;
use crate::dataset::Dataset;
use crate::memory;
use crate::size::size;
use crate::ui::Unit;

/// What a probe works on.
pub struct Work<'a> {
    pub dataset: &'a Dataset,
    pub model: &'a Model,
    pub cache: &'a FeatureCache,
    pub kept: &'a CacheArgs,
    pub seed: u64,
    pub room: Room,
    /// Seconds that a photo takes in the compiled network.
    pub forward: f64,
    pub clock: &'a Clock,
    pub context: &'a Context,
}

/// What came of a probe.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The photos that were asked about, and whether the tuned network is right about each, and the head alone.
    pub asked: Vec<usize>,
    pub tuned: Vec<bool>,
    pub head: Vec<bool>,
    /// Photos that it learnt from.
    pub trained: usize,
    /// Epochs that were made.
    pub epochs: usize,
    /// Seconds a step.
    pub step: f64,
}

/// A probe, or why it was not made.
pub enum Outcome {
    Done(Probe),
    LeftOut(String),
}

/// Some of the photos of a split: as many as a probe has room for.
pub fn portion(split: &Split, labels: &[usize], contents: &[u64], seed: u64, room: Room) -> Split {
    let some = |photos: &[usize], most: usize| -> Vec<usize> {
        let labels: Vec<usize> = photos.iter().map(|&photo| labels[photo]).collect();
        let keys: Vec<u64> = photos.iter().map(|&photo| contents[photo]).collect();
        let chosen = stratified(&labels, &keys, seed, most);
        chosen.into_iter().map(|place| photos[place]).collect()
    };
    Split {
        train: some(&split.train, room.tuned),
        valid: some(&split.valid, room.held),
    }
}

/// Makes a probe, unless it is seen that the time or the memory that is left does not do.
///
/// # Errors
///
/// When the device fails, or the work is [halted](Clock::halted).
pub fn probe(work: &Work<'_>, tune: Tune, split: &Split) -> anyhow::Result<Outcome> {
    let Work {
        dataset,
        model,
        cache,
        seed,
        clock,
        ..
    } = *work;
    let contents: Vec<u64> = dataset.items.iter().map(|item| item.hash.key()).collect();
    let split = portion(split, cache.labels(), &contents, seed, work.room);
    let classes = dataset.classes.len();
    let train = cache.all_views(&split.train);
    let fitted = heads::solve(model, train, classes, seed, clock)?;
    let head = heads::answers(model, &fitted, cache, &split)?;
    clock.check()?;

    let base = model.with_head(fitted.kind, fitted.head.clone(), dataset.classes.clone());
    let recipe = Recipe::of(tune);
    let plan = match Plan::new(&recipe, base.graph()) {
        Ok(plan) => plan,
        Err(error) => return Ok(Outcome::LeftOut(error.to_string())),
    };
    let counts = Counts {
        train: split.train.len(),
        held: split.valid.len(),
    };
    let needed = cost::memory(
        base.graph(),
        counts,
        Some(&plan),
        memory::place(base.device()),
    );
    if memory::free_bytes().is_some_and(|free| needed > free) {
        return Ok(Outcome::LeftOut(format!(
            "it needs about {} of memory, more than is free",
            size(needed)
        )));
    }
    let least = cost::least_seconds(work.forward, counts, &plan);
    if least > clock.left() {
        return Ok(Outcome::LeftOut(too_long(least, clock)));
    }
    let photos = Photos::of(dataset, &split.train, &split.valid);
    let aims = Aims {
        labels: Labels::Classes(split.train.iter().map(|&row| cache.labels()[row]).collect()),
        answers: classes,
        weights: vec![1.0; classes],
        smoothing: recipe.label_smoothing,
    };
    let graph = base
        .graph()
        .with_chance(recipe.dropout, recipe.stochastic_depth);
    let engine = Trainee::new(graph, &base.state_dict(), base.device())?;
    let showing = Showing {
        photos: &photos,
        preset: base.card.preset,
        augment: &recipe.augment,
        seed,
    };
    let mut going = Going {
        work,
        base: &base,
        showing,
        trainer: Trainer::new(engine, plan, aims, seed),
        steps: 0,
        seconds: 0.0,
    };
    let answers = match going.all_phases()? {
        Ok(answers) => answers,
        Err(why) => return Ok(Outcome::LeftOut(why)),
    };
    let of_held = split.valid.iter();
    let wanted: Vec<usize> = of_held.map(|&row| cache.labels()[row]).collect();
    Ok(Outcome::Done(Probe {
        tuned: heads::are_right(&answers, &wanted, classes),
        head,
        trained: split.train.len(),
        epochs: going.trainer.plan().epochs(),
        step: going.seconds / going.steps.max(1) as f64,
        asked: split.valid,
    }))
}

fn too_long(seconds: f64, clock: &Clock) -> String {
    format!(
        "it would take some {seconds:.0} s more, and {:.0} s of the budget are left",
        clock.left()
    )
}

/// A probe that goes on.
struct Going<'a> {
    work: &'a Work<'a>,
    base: &'a Model,
    showing: Showing<'a>,
    trainer: Trainer<Trainee>,
    /// Steps whose time was taken, and what they took.
    steps: usize,
    seconds: f64,
}

impl Going<'_> {
    /// All phases. The logits of the photos held back, or why it was given up.
    fn all_phases(&mut self) -> anyhow::Result<Result<Vec<f32>, String>> {
        let mut answers = Ok(Vec::new());
        let Work { kept, context, .. } = *self.work;
        while let Some(supplier) =
            Supplier::of(&self.trainer, self.base, self.showing, kept, context)?
        {
            answers =
                supplier.bring(self.trainer.ahead().flatten(), |supply| self.steps(supply))?;
            if answers.is_err() {
                break;
            }
        }
        Ok(answers)
    }

    /// The steps of a phase. What the photos held back are is asked once, at its end.
    fn steps(&mut self, supply: &mut dyn Supply) -> anyhow::Result<Result<Vec<f32>, String>> {
        let Work { clock, context, .. } = *self.work;
        // Values at a cut may have taken what was left.
        clock.check()?;
        let per_epoch = self.trainer.steps_per_epoch();
        let epochs = self.trainer.phase().map_or(0, |phase| phase.epochs);
        let total = per_epoch * epochs;
        let mut progress = context
            .console
            .start("tuning", Unit::Items, Some(total as u64));
        let mut done = 0;
        loop {
            match self.trainer.wanted() {
                Wanted::Nothing => return Ok(Err("nothing trains".to_owned())),
                Wanted::Step(batches) => {
                    let begun = Instant::now();
                    let (given, images) = supply.step(&batches)?;
                    self.trainer.step(given, images);
                    // Reading the loss waits for the device, so that time and budget are told truly.
                    if let Err(error) = pollster::block_on(self.trainer.losses()) {
                        return given_up(error);
                    }
                    done += 1;
                    progress.advance();
                    // The first step compiles.
                    if done > 1 {
                        self.steps += 1;
                        self.seconds += begun.elapsed().as_secs_f64();
                    }
                    clock.check()?;
                    let each = self.seconds / self.steps.max(1) as f64;
                    let ahead = each * (total - done) as f64;
                    // Times vary: what is half done and may come in time goes on.
                    let is_early = 2 * done < total;
                    if self.steps >= 2 && is_early && ahead > 1.1 * clock.left() {
                        return Ok(Err(too_long(ahead, clock)));
                    }
                }
                Wanted::Judgement => {
                    let is_last = self.trainer.position().epoch + 1 >= epochs;
                    let answers = match is_last {
                        true => supply.answers(&self.trainer)?,
                        false => Vec::new(),
                    };
                    let end = match pollster::block_on(self.trainer.judged(None)) {
                        Ok(end) => end,
                        Err(error) => return given_up(error),
                    };
                    if end.ends_phase {
                        return Ok(Ok(answers));
                    }
                    clock.check()?;
                }
            }
        }
    }
}

/// Losses that run over say something of the candidate; anything else is an error.
fn given_up(error: TuneError) -> anyhow::Result<Result<Vec<f32>, String>> {
    match error {
        TuneError::Diverged { .. } => Ok(Err(error.to_string())),
        other => Err(other.into()),
    }
}
