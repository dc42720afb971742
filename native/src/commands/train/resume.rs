//! Going on with a run that was stopped: by the command that began it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::FromArgMatches as _;
use serde::{Deserialize, Serialize};

use crate::cli::{self, Cli, Command, TrainArgs};
use crate::runs::{COMMAND, RunError};

/// The command that began a run.
#[derive(Serialize, Deserialize)]
struct Began {
    /// Where it was given.
    folder: PathBuf,
    /// What was given, the program's name first.
    arguments: Vec<OsString>,
}

/// The command that this process was given, as it is kept in the run's folder.
pub fn command() -> anyhow::Result<String> {
    let began = Began {
        folder: std::env::current_dir().context("cannot tell the current folder")?,
        arguments: std::env::args_os().collect(),
    };
    Ok(serde_json::to_string_pretty(&began)?)
}

/// The arguments that a run began with, to go on with it. From now on this process is in the folder where that was,
/// so that what was said of files means the same.
pub fn arguments(run: &Path) -> anyhow::Result<TrainArgs> {
    let no_run = || RunError::NoRun(run.to_owned());
    let run = run.canonicalize().map_err(|_| no_run())?;
    let text = std::fs::read_to_string(run.join(COMMAND)).map_err(|_| no_run())?;
    let began: Began = serde_json::from_str(&text)
        .with_context(|| format!("{} is damaged", run.join(COMMAND).display()))?;
    std::env::set_current_dir(&began.folder)
        .with_context(|| format!("cannot go to {}", began.folder.display()))?;
    let matches = cli::command().try_get_matches_from(&began.arguments)?;
    match Cli::from_arg_matches(&matches)?.command {
        Command::Train(mut args) => {
            args.tuning.resume = Some(run);
            Ok(args)
        }
        _ => Err(no_run().into()),
    }
}
