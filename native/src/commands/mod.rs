//! The table of commands: one file each.

mod bench;
mod compare;
mod completions;
mod diagram;
mod doctor;
mod evaluate;
mod export;
mod kernels;
mod list;
mod predict;
mod recommend;
mod segment;
mod serve;
mod steps;
mod suggested;
mod summary;
mod targets;
mod train;

use crate::cli::Command;
use crate::context::Context;
use crate::tasks;
use crate::ui::ExitCode;

pub use train::recipe_file::{environment_words, words as recipe_words};

/// Runs a command.
pub fn run(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    tasks::check(&command)?;
    match command {
        Command::Train(args) => match &args.tuning.resume {
            Some(run) => {
                let (limit, recompute) = (args.tuning.memory_limit, args.tuning.recompute);
                train::run(&train::resume::arguments(run, limit, recompute)?, context)
            }
            None => train::run(&args, context),
        },
        Command::LrFind(args) => train::lr_find::run(&args, context),
        Command::Recommend(args) => recommend::run(&args, context),
        Command::Predict(args) => predict::run(&args, context),
        Command::Evaluate(args) => evaluate::run(&args, context),
        Command::Models => list::run(context),
        Command::Summary(args) => summary::run(&args, context),
        Command::Diagram(args) => diagram::run(&args, context),
        Command::Replay(args) => train::replay::run(&args, context),
        Command::Export(args) => export::run(&args, context),
        Command::Compare(args) => compare::run(&args, context),
        Command::Bench(args) => bench::run(&args, context),
        Command::Doctor(args) => match &args.kernels {
            Some(network) => kernels::run(network, &args, context),
            None => doctor::run(context),
        },
        Command::Serve(args) => serve::run(&args, context),
        Command::Completions { shell } => completions::run(shell),
    }
}
