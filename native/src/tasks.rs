//! Which commands and options belong to networks of one task: one table for all of them.

use std::path::Path;

use rekindle_core::backbone::find;
use rekindle_core::task::Task;

use crate::cli::Command;
use crate::models;
use crate::ui::{ExitCode, Failure};

/// What the command line asks for that only networks of some tasks do: the network, in the user's words; what is asked
/// for; the tasks, of which a message names the first.
fn bound(command: &Command) -> Option<(&str, &'static str, &'static [Task])> {
    const CLASSIFY: &[Task] = &[Task::Classify];
    match command {
        Command::Train(args) => Some((&args.model, "`train`", CLASSIFY)),
        Command::LrFind(args) => Some((&args.model, "`lr-find`", CLASSIFY)),
        Command::Bench(args) if args.train => Some((&args.model, "`bench --train`", CLASSIFY)),
        Command::Evaluate(args) if args.min_accuracy.is_some() => {
            Some((&args.model, "`evaluate --min-accuracy`", CLASSIFY))
        }
        Command::Predict(args) if args.out.is_some() => {
            Some((&args.model, "`predict --out`", &[Task::Segment]))
        }
        Command::Predict(args) if args.top.is_some() => Some((
            &args.model,
            "`predict --top`",
            &[Task::Classify, Task::MultiLabel, Task::Segment],
        )),
        Command::Evaluate(args) if args.labels.labels.is_some() => Some((
            &args.model,
            "`evaluate --labels`",
            &[Task::Classify, Task::MultiLabel, Task::Regress],
        )),
        // All tasks have the others. What there is for each is told apart where it is done.
        Command::Bench(_)
        | Command::Predict(_)
        | Command::Evaluate(_)
        | Command::Models
        | Command::Summary(_)
        | Command::Diagram(_)
        | Command::Replay(_)
        | Command::Recommend(_)
        | Command::Export(_)
        | Command::Compare(_)
        | Command::Doctor(_)
        | Command::Serve(_)
        | Command::Completions { .. } => None,
    }
}

/// The task of a network by its name, or of a model file; nothing where it is not known.
pub fn of(network: &str) -> Option<Task> {
    if !Path::new(network).is_file() {
        return find(network).ok().map(|found| found.task);
    }
    let contents = models::from_model_file(Path::new(network)).ok()?;
    Some(contents.card.task)
}

/// Refuses a command, or an option of it, that the network's task does not have. A network that there is not, or a
/// file that cannot be opened, is for the command to tell.
///
/// # Errors
///
/// A usage error that names the command, the network and their tasks.
pub fn check(command: &Command) -> Result<(), Failure> {
    let Some((network, work, wanted)) = bound(command) else {
        return Ok(());
    };
    let Some(found) = of(network) else {
        return Ok(());
    };
    if wanted.contains(&found) {
        return Ok(());
    }
    found.must_be(wanted[0], work, network).map_err(|error| {
        let help = match work.contains("--") {
            true => "leave the option out: `rekindle models` says what each network is for",
            false => "take another network: `rekindle models` says what each is for",
        };
        Failure::new(ExitCode::Usage, error).with_help(help)
    })
}
