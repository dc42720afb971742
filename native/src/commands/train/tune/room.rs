//! Whether there is memory for a tuning: predicted before its first step, and into how many parts its steps are divided
//! so that it fits.

use rekindle_core::device::{Device, DeviceError, shares_memory};
use rekindle_core::graph::Graph;
use rekindle_core::tune::{
    Footprint, NormMode, Phase, Plan, Recipe, Shown, TuneError, halved, largest_step,
};

use super::checkpoint;
use super::work::Work;
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

/// Divides the steps of each phase of a plan into as many parts as memory makes necessary, and says so: a run that goes
/// on, or is made again, has those it began with.
///
/// # Errors
/// When not even the smallest parts would fit.
pub fn divide(
    work: &Work<'_>,
    plan: &mut Plan,
    graph: &Graph,
    device: &Device,
    run: &Run,
) -> anyhow::Result<Room> {
    let place = memory::place(device);
    let step = largest_step(work.learnt.split.train.len(), plan.recipe.batch);
    let (free, is_own) = free(work, device);
    let began = match &work.args.tuning.divided {
        Some(divided) => Some(divided.phases.clone()),
        None => checkpoint::parts(run)?,
    };
    let mut most = 0;
    let mut told = Vec::new();
    for index in 0..plan.phases.len() {
        let phase = &plan.phases[index];
        let footprint = Footprint::new(graph, plan, phase, place);
        let needed = |images: usize| footprint.bytes(images, step);
        // Photos that wait decoded have an eighth of what is free, values that are kept in memory a quarter.
        let left = free.map(|free| match phase.cut {
            _ if !is_own => free,
            0 => free / 8 * 7,
            _ if work.args.cache.no_cache => free / 4 * 3,
            _ => free,
        });
        let fits = |images: usize| left.is_none_or(|left| needed(images) <= left);
        let asked = step.div_ceil(phase.parts);
        let least = least_images(&plan.recipe, phase);
        let parts = match began.as_ref().and_then(|parts| parts.get(index)) {
            Some(&parts) => parts.max(1),
            None => match halved(step, phase.parts, least, fits) {
                Some(parts) => parts,
                None => return Err(too_little(work, phase, least, &needed, left.unwrap_or(0))),
            },
        };
        let images = step.div_ceil(parts);
        most = most.max(needed(images));
        let is_taken_over = began.is_some();
        if is_taken_over && !fits(images) {
            let message = format!(
                "about {} are needed to go on as this run began, in batches of {images}, and {} are free",
                size(needed(images)),
                size(left.unwrap_or(0)),
            );
            print_warning(&message, Some("free some memory, or begin a new run"));
        } else if !is_taken_over && parts > phase.parts {
            let of_phase = match plan.phases.len() {
                1 => String::new(),
                _ => format!("tuning {}: ", phase.name),
            };
            told.push(format!(
                "{of_phase}about {} would be needed for batches of {asked}, {} are free: batches of {images}, \
                 gradients of {parts} added up",
                size(needed(asked)),
                size(left.unwrap_or(0)),
            ));
            if !phase.learning.statistics.is_empty() {
                warn_of_norms(images);
            }
        }
        plan.phases[index].parts = parts;
    }
    if !told.is_empty() {
        work.context.console.note(&told.join("; "));
    }
    Ok(Room { needed: most, free })
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
    free: u64,
) -> anyhow::Error {
    let photos = match least {
        1 => "a single photo at a time".to_owned(),
        least => format!("{least} photos at a time"),
    };
    let message = format!(
        "about {} of memory are needed to tune {} of {} with {photos}, and {} are free",
        size(needed(least)),
        phase.name,
        work.material.model.card.architecture,
        size(free),
    );
    let help = match least {
        NormMode::LEAST_BATCH => {
            "give a smaller --input or a smaller --model; batch norms that learn want 16 photos, and --bn train does \
             with fewer"
        }
        _ => HELP,
    };
    Failure::new(ExitCode::Device, message)
        .with_help(help)
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
