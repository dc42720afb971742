//! The training that is recommended, as a command.

use rekindle_core::tune::Tune;

use super::candidates::{self, Candidate};
use crate::cli::{RecommendArgs, TrainArgs};
use crate::commands::suggested;
use crate::context::Context;

/// The training that reads the folder so.
pub fn training(args: &RecommendArgs) -> anyhow::Result<TrainArgs> {
    let mut training = TrainArgs::plain(&args.dir)?;
    training.data = args.data.clone();
    Ok(training)
}

/// The command. `divides` where the folder says itself what is held back.
pub fn command(
    args: &RecommendArgs,
    candidate: &Candidate,
    tune: Tune,
    divides: bool,
    context: &Context,
) -> anyhow::Result<String> {
    let mut training = training(args)?;
    training.model = candidate.name().to_owned();
    training.weights.weights = candidate.weights_option().map(str::to_owned);
    training.pictures = candidates::pictures(args);
    training.tuning.tune = tune;
    // A head alone draws nothing where the folder is divided.
    let draws = !tune.is_head() || !divides;
    training.seed = training.seed.filter(|_| draws);
    Ok(suggested::command(&training, context.global.device))
}
