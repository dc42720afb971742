//! Whether there is memory for a tuning: predicted before its first step, and into how many parts its steps are divided
//! so that it fits.

use rekindle_core::device::{Device, DeviceError, shares_memory};
use rekindle_core::graph::Graph;
use rekindle_core::tune::{
    Footprint, NormMode, Phase, Plan, Recipe, Shown, TuneError, halved, largest_step,
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
    let (free, is_own) = free(work, device);
    let place = memory::place(device);
    let footprints: Vec<Footprint> = (plan.phases.iter())
        .map(|phase| Footprint::new(graph, plan, phase, place))
        .collect();
    // Photos that wait decoded have an eighth of what is free, values that are kept in memory a quarter.
    let left = |phase: &Phase| {
        free.map(|free| match phase.cut {
            _ if !is_own => free,
            0 => free / 8 * 7,
            _ if work.args.cache.no_cache => free / 4 * 3,
            _ => free,
        })
    };
    let is_known = |training: &Training| {
        let known = ledger.divided().of(training.part.as_deref());
        known.is_some_and(|known| known.phases.len() == plan.phases.len())
    };
    if !work.trainings.iter().all(is_known) {
        let mut divided = ledger.divided().clone();
        let mut told = Vec::new();
        for training in work.trainings.iter().filter(|training| !is_known(training)) {
            let step = largest_step(training.photos, plan.recipe.batch);
            let mut parts = Vec::with_capacity(plan.phases.len());
            for (phase, footprint) in plan.phases.iter().zip(&footprints) {
                let needed = |images: usize| footprint.bytes(images, step);
                let left = left(phase);
                let fits = |images: usize| left.is_none_or(|left| needed(images) <= left);
                let least = least_images(&plan.recipe, phase);
                let Some(of_phase) = halved(step, phase.parts, least, fits) else {
                    let left = left.unwrap_or(0);
                    return Err(too_little(work, phase, least, &needed, left, is_own));
                };
                if of_phase > phase.parts {
                    let asked = needed(step.div_ceil(phase.parts));
                    let line = Smaller {
                        phase,
                        step,
                        parts: of_phase,
                    };
                    let left = has_left(work, left.unwrap_or(0), is_own);
                    let line = line.told(plan.phases.len(), asked, &left);
                    // Trainings whose steps are as large are divided alike.
                    if !told.contains(&line) {
                        told.push(line);
                        if !phase.learning.statistics.is_empty() {
                            warn_of_norms(step.div_ceil(of_phase));
                        }
                    }
                }
                parts.push(of_phase);
            }
            divided.of_mut(training.part.as_deref()).phases = parts;
        }
        if !told.is_empty() {
            work.context.console.note(&told.join("; "));
        }
        let most = divided.most();
        let step = work.trainings.iter().map(|training| training.photos);
        let step = largest_step(step.max().unwrap_or(0), plan.recipe.batch);
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
    let step = largest_step(work.learnt.split.train.len(), plan.recipe.batch);
    let mut most = 0;
    for ((phase, footprint), &parts) in plan.phases.iter().zip(&footprints).zip(&own) {
        let images = step.div_ceil(parts.max(1));
        let needed = footprint.bytes(images, step);
        most = most.max(needed);
        let left = left(phase).unwrap_or(u64::MAX);
        if ledger.is_taken_over() && needed > left {
            let message = format!(
                "about {} more are needed to go on as this run began, in batches of {images}, and {}",
                size(needed),
                has_left(work, left, is_own),
            );
            print_warning(&message, Some("free some memory, or begin a new run"));
        }
    }
    for (phase, parts) in plan.phases.iter_mut().zip(own) {
        phase.parts = parts.max(1);
    }
    Ok(Room { needed: most, free })
}

/// A phase whose steps are divided further than was asked for.
struct Smaller<'a> {
    phase: &'a Phase,
    step: usize,
    parts: usize,
}

impl Smaller<'_> {
    /// What is said of it, where so much would be needed without, and so much is free.
    fn told(&self, phases: usize, needed: u64, left: &str) -> String {
        let Self { phase, step, parts } = *self;
        let of_phase = match phases {
            1 => String::new(),
            _ => format!("tuning {}: ", phase.name),
        };
        format!(
            "{of_phase}about {} more would be needed for batches of {}, and {left}: batches of {}, gradients of {parts} \
             added up",
            size(needed),
            step.div_ceil(phase.parts),
            step.div_ceil(parts),
        )
    }
}

/// What memory is left, and, of a process that was allowed so much, why no more.
fn has_left(work: &Work<'_>, left: u64, is_own: bool) -> String {
    let free = format!("{} are free", size(left));
    match (work.args.tuning.memory_limit, memory::resident_bytes()) {
        (Some(limit), Some(taken)) if is_own => format!(
            "{free} (--memory-limit is {}, of which the process has {} already)",
            size(limit),
            size(taken),
        ),
        (Some(limit), _) if !is_own => format!("{free} of the {} of --memory-limit", size(limit)),
        _ => free,
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

fn too_little(
    work: &Work<'_>,
    phase: &Phase,
    least: usize,
    needed: &dyn Fn(usize) -> u64,
    left: u64,
    is_own: bool,
) -> anyhow::Error {
    let photos = match least {
        1 => "a single photo at a time".to_owned(),
        least => format!("{least} photos at a time"),
    };
    let message = format!(
        "about {} more of memory are needed to tune {} of {} with {photos}, and {}",
        size(needed(least)),
        phase.name,
        work.material.model.card.architecture,
        has_left(work, left, is_own),
    );
    let help = match least {
        NormMode::LEAST_BATCH => {
            "give a smaller --input or a smaller --model; batch norms that learn want 16 photos, and --bn train does \
             with fewer"
        }
        _ => HELP,
    };
    let raise = match work.args.tuning.memory_limit {
        Some(_) => "raise --memory-limit, or ",
        None => "",
    };
    Failure::new(ExitCode::Device, message)
        .with_help(format!("{raise}{help}"))
        .into()
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
