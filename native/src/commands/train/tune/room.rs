//! Whether there is memory for a tuning: predicted before its first step, and into how many parts its steps are divided
//! so that it fits.

use rekindle_core::device::{Device, DeviceError, shares_memory};
use rekindle_core::graph::Graph;
use rekindle_core::tune::{
    Footprint, NormMode, Phase, Plan, Recipe, Shown, Trainee, TuneError, halved, largest_step,
};

use super::ledger::Ledger;
use super::work::{Training, Work};
use crate::memory;
use crate::runs::Run;
use crate::size::size;
use crate::ui::{ExitCode, Failure, print_warning};

/// The memory that a tuning needs, as predicted, and what there was before it; in bytes.
#[derive(Default)]
pub struct Room {
    pub needed: u64,
    pub free: Option<u64>,
}

/// What can be done about it.
const HELP: &str = "give a smaller --input, tune less by --tune last, or take a smaller --model";

/// Divides the steps of each phase of a plan into as many parts as memory makes necessary, and says so. It is decided
/// once for all trainings of a run, by the memory that is free at its beginning: a run that goes on, or is made again,
/// has the parts it began with.
///
/// # Errors
/// When not even the smallest parts would fit, or the decision cannot be kept.
pub fn divide(
    work: &Work<'_>,
    plan: &mut Plan,
    graph: &Graph,
    device: &Device,
    ledger: &mut Ledger,
    run: &Run,
) -> anyhow::Result<Room> {
    let space = Space::of(work, plan, graph, device);
    let is_known = |training: &Training| {
        let known = ledger.divided().of(training.part.as_deref());
        known.is_some_and(|known| known.phases.len() == plan.phases.len())
    };
    if !work.trainings.iter().all(is_known) {
        let mut divided = ledger.divided().clone();
        let unknown = work.trainings.iter().filter(|training| !is_known(training));
        let unknown: Vec<&Training> = unknown.collect();
        let photos: Vec<usize> = unknown.iter().map(|training| training.photos).collect();
        for (training, phases) in unknown.into_iter().zip(space.parts(&photos)?) {
            divided.of_mut(training.part.as_deref()).phases = phases;
        }
        let most = divided.most();
        let step = photos.iter().copied().max().unwrap_or(0);
        let step = largest_step(step, plan.recipe.batch);
        if plan.recipe.mixing.is_on() && most > 1 {
            work.context.console.note(&format!(
                "photos are mixed with those that go through the network with them: {} of the {step} of a step",
                step.div_ceil(most)
            ));
        }
        ledger.divide(divided, run)?;
    }
    let own = ledger.divided().of(work.part);
    let own = own.map_or_else(Vec::new, |own| own.phases.clone());
    let room = space.room(work.learnt.split.train.len(), &own, ledger.is_taken_over());
    for (phase, parts) in plan.phases.iter_mut().zip(own) {
        phase.parts = parts.max(1);
    }
    Ok(room)
}

/// Lets an engine keep little and compute much again, if that is asked for.
///
/// # Errors
/// When it is asked for and the engine cannot.
pub fn recompute(engine: &mut Trainee, is_asked: bool) -> Result<(), Failure> {
    engine.recompute(is_asked).map_err(|error| {
        let message = format!("--recompute does not apply here: {error}");
        Failure::new(ExitCode::Usage, message)
            .with_help("leave it out, or train on the processor by --device cpu")
    })
}

/// The same for a look at the steps of a plan's last phase alone: in how many parts they go through the network.
///
/// # Errors
/// When not even the smallest parts would fit.
pub fn parts_of_last(
    work: &Work<'_>,
    plan: &Plan,
    graph: &Graph,
    device: &Device,
) -> anyhow::Result<usize> {
    let last = Plan {
        phases: plan.phases.last().cloned().into_iter().collect(),
        ..plan.clone()
    };
    let photos = work.learnt.split.train.len();
    let parts = Space::of(work, &last, graph, device).parts(&[photos])?;
    Ok(parts.into_iter().flatten().next().unwrap_or(1))
}

/// What the phases of a plan need, and what memory there is.
struct Space<'a> {
    work: &'a Work<'a>,
    plan: &'a Plan,
    footprints: Vec<Footprint<'a>>,
    free: Option<u64>,
    /// Whether it is the machine's.
    is_own: bool,
    /// What the process held when that was seen.
    taken: Option<u64>,
}

impl<'a> Space<'a> {
    fn of(work: &'a Work<'a>, plan: &'a Plan, graph: &'a Graph, device: &Device) -> Self {
        let place = memory::place(device);
        let recomputes = work.args.tuning.recompute;
        let footprint = |phase| Footprint::new(graph, plan, phase, place).recomputing(recomputes);
        let (free, is_own) = free(work, device);
        Self {
            work,
            plan,
            footprints: plan.phases.iter().map(footprint).collect(),
            free,
            is_own,
            taken: memory::resident_bytes(),
        }
    }

    /// What a phase may take. Photos that wait decoded have an eighth of what is free, values that are kept in memory a
    /// quarter.
    fn left(&self, phase: &Phase) -> Option<u64> {
        self.free.map(|free| match phase.cut {
            _ if !self.is_own => free,
            0 => free / 8 * 7,
            _ if self.work.args.cache.no_cache => free / 4 * 3,
            _ => free,
        })
    }

    /// In how many parts the steps of each phase go through the network, in trainings of so many photos; says so where
    /// they are more than was asked for.
    fn parts(&self, photos: &[usize]) -> anyhow::Result<Vec<Vec<usize>>> {
        let mut told = Vec::new();
        let all = photos.iter().map(|&photos| {
            let step = largest_step(photos, self.plan.recipe.batch);
            let phases = self.plan.phases.iter().zip(&self.footprints);
            phases
                .map(|(phase, footprint)| self.parts_of(phase, footprint, step, &mut told))
                .collect::<anyhow::Result<Vec<usize>>>()
        });
        let all = all.collect::<anyhow::Result<_>>()?;
        if !told.is_empty() {
            self.work.context.console.note(&told.join("; "));
        }
        Ok(all)
    }

    fn parts_of(
        &self,
        phase: &Phase,
        footprint: &Footprint<'_>,
        step: usize,
        told: &mut Vec<String>,
    ) -> anyhow::Result<usize> {
        let needed = |images: usize| footprint.bytes(images, step);
        let left = self.left(phase);
        let fits = |images: usize| left.is_none_or(|left| needed(images) <= left);
        let least = least_images(&self.plan.recipe, phase);
        let Some(parts) = halved(step, phase.parts, least, fits) else {
            let message = format!(
                "about {} more of memory are needed to tune {} of {} with {}, and {}",
                size(needed(least)),
                phase.name,
                self.work.material.model.card.architecture,
                match least {
                    1 => "a single photo at a time".to_owned(),
                    least => format!("{least} photos at a time"),
                },
                self.has_left(left.unwrap_or(0)),
            );
            return Err(self.too_little(message, least));
        };
        if parts == phase.parts {
            return Ok(parts);
        }
        let of_phase = match self.plan.phases.len() {
            1 => String::new(),
            _ => format!("tuning {}: ", phase.name),
        };
        let (asked, images) = (step.div_ceil(phase.parts), step.div_ceil(parts));
        let line = format!(
            "{of_phase}about {} more would be needed for batches of {asked}, and {}: batches of {images}, gradients of \
             {parts} added up",
            size(needed(asked)),
            self.has_left(left.unwrap_or(0)),
        );
        // Trainings whose steps are as large are divided alike.
        if !told.contains(&line) {
            told.push(line);
            if !phase.learning.statistics.is_empty() {
                warn_of_norms(images);
            }
        }
        Ok(parts)
    }

    /// The memory that a training of so many photos needs in these parts, and what there is; says so where what was
    /// decided elsewhere needs more.
    fn room(&self, photos: usize, parts: &[usize], is_taken_over: bool) -> Room {
        let step = largest_step(photos, self.plan.recipe.batch);
        let mut most = 0;
        let phases = self.plan.phases.iter().zip(&self.footprints);
        for ((phase, footprint), &parts) in phases.zip(parts) {
            let images = step.div_ceil(parts.max(1));
            let needed = footprint.bytes(images, step);
            most = most.max(needed);
            let left = self.left(phase).unwrap_or(u64::MAX);
            if is_taken_over && needed > left {
                let message = format!(
                    "about {} more are needed to go on as this run began, in batches of {images}, and {}",
                    size(needed),
                    self.has_left(left),
                );
                print_warning(&message, Some("free some memory, or begin a new run"));
            }
        }
        Room {
            needed: most,
            free: self.free,
        }
    }

    /// What memory is left, and, of a process that was allowed so much, why no more.
    fn has_left(&self, left: u64) -> String {
        let free = format!("{} are free", size(left));
        match (self.work.args.tuning.memory_limit, self.taken) {
            (Some(limit), Some(taken)) if self.is_own => format!(
                "{free} (--memory-limit is {}, of which the process has {} already)",
                size(limit),
                size(taken),
            ),
            (Some(limit), _) if !self.is_own => {
                format!("{free} of the {} of --memory-limit", size(limit))
            }
            _ => free,
        }
    }

    /// The failure where not even so few photos at a time would fit.
    fn too_little(&self, message: String, least: usize) -> anyhow::Error {
        let help = match least {
            NormMode::LEAST_BATCH => {
                "give a smaller --input or a smaller --model; batch norms that learn want 16 photos, and --bn train \
                 does with fewer"
            }
            _ => HELP,
        };
        let raise = match self.work.args.tuning.memory_limit {
            Some(_) => "raise --memory-limit, or ",
            None => "",
        };
        Failure::new(ExitCode::Device, message)
            .with_help(format!("{raise}{help}"))
            .into()
    }
}

/// Batch norms in training see no more than what goes through the network at a time.
fn warn_of_norms(images: usize) {
    let message = format!(
        "batch norms take their statistics from {images} photos at a time now, and learn something else"
    );
    let help = match images < NormMode::LEAST_BATCH {
        true => {
            "of fewer than 16 they are poor: --bn frozen keeps them, a smaller --input makes room"
        }
        false => "--bn frozen keeps them, a smaller --input makes room",
    };
    print_warning(&message, Some(help));
}

/// The bytes that a tuning may take: of the machine, its container and what was allowed, or of an adapter's own memory,
/// of which nobody tells more than what was allowed. And whether it is the machine's.
fn free(work: &Work<'_>, device: &Device) -> (Option<u64>, bool) {
    if shares_memory(device) {
        return (memory::free_bytes(), true);
    }
    let taken = device
        .memory_pool_usage()
        .map_or(0, |usage| usage.bytes_reserved);
    let allowed = work.args.tuning.memory_limit;
    (allowed.map(|allowed| allowed.saturating_sub(taken)), false)
}

/// The fewest photos that may go through the network at a time. What follows batches of at least 16 by `--bn auto` is
/// not made to follow smaller ones, and a photo is mixed with another one.
pub fn least_images(recipe: &Recipe, phase: &Phase) -> usize {
    let follows = !phase.learning.statistics.is_empty();
    if follows && recipe.bn == NormMode::Auto {
        NormMode::LEAST_BATCH
    } else if recipe.mixing.is_on() || follows {
        2
    } else {
        1
    }
}

/// What is said where a device had no memory for the smallest parts there can be.
pub fn too_small(error: &anyhow::Error) -> Failure {
    let message = format!("the device has too little memory for this training: {error}");
    Failure::new(ExitCode::Device, message).with_help(HELP)
}

/// Whether something failed because the device had too little memory.
pub fn is_want(error: &anyhow::Error) -> bool {
    let device = match error.downcast_ref::<TuneError>() {
        Some(TuneError::Device(device)) => Some(device),
        _ => error.downcast_ref::<DeviceError>(),
    };
    device.is_some_and(DeviceError::is_for_want_of_memory)
}

/// For tests, which have no adapter whose memory could be filled: with this in the environment the device has no memory
/// for more photos at a time than it says.
const PRETENCE: &str = "REKINDLE_TEST_PHOTOS_THAT_FIT";

/// Pretends that the device ran out of memory, where a test asks for it.
pub fn check_pretence(batches: &[Vec<Shown>]) -> Result<(), TuneError> {
    let fit = std::env::var(PRETENCE).ok();
    let fit: Option<usize> = fit.and_then(|fit| fit.parse().ok());
    match fit {
        Some(fit) if batches.iter().any(|batch| batch.len() > fit) => {
            Err(DeviceError::OutOfMemory.into())
        }
        _ => Ok(()),
    }
}
