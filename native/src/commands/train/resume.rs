//! Going on with a run that was stopped: by the command that began it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::FromArgMatches as _;
use serde::{Deserialize, Serialize};

use crate::cli::{self, Cli, Command, TrainArgs};
use crate::runs::{self, COMMAND, Run, RunError};
use crate::ui::{ExitCode, Failure};

/// The command that began a run.
#[derive(Serialize, Deserialize)]
struct Began {
    /// Where it was given.
    folder: PathBuf,
    /// Where the run lies from there, if it lies in there: both may be moved together.
    #[serde(default)]
    run: Option<PathBuf>,
    /// What was given, the program's name first.
    arguments: Vec<Word>,
}

/// A word of a command: text, but for the rare one that is none.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Other(OsString),
}

impl From<OsString> for Word {
    fn from(word: OsString) -> Self {
        word.into_string().map_or_else(Self::Other, Self::Text)
    }
}

impl From<Word> for OsString {
    fn from(word: Word) -> Self {
        match word {
            Word::Text(text) => text.into(),
            Word::Other(word) => word,
        }
    }
}

/// A command, as it is kept in the run's folder.
pub fn command(words: &[OsString], run: &Path) -> anyhow::Result<String> {
    let folder = std::env::current_dir().context("cannot tell the current folder")?;
    let whole = |path: &Path| path.canonicalize().ok();
    let relative = whole(run).zip(whole(&folder));
    let relative = relative.and_then(|(run, folder)| Some(run.strip_prefix(folder).ok()?.into()));
    let began = Began {
        folder,
        run: relative,
        arguments: words.iter().cloned().map(Word::from).collect(),
    };
    Ok(serde_json::to_string_pretty(&began)?)
}

/// The command that began a run, as it could be given again, but for what quotes a shell wants.
pub fn told(run: &Run) -> Option<String> {
    let began: Began = serde_json::from_slice(&run.read(COMMAND).ok()??).ok()?;
    let mut words = began.arguments.into_iter().skip(1).map(|word| {
        let word = OsString::from(word).to_string_lossy().into_owned();
        match word.is_empty() || word.contains(char::is_whitespace) {
            true => format!("'{word}'"),
            false => word,
        }
    });
    let words: Vec<String> = std::iter::once("rekindle".to_owned())
        .chain(&mut words)
        .collect();
    Some(words.join(" "))
}

/// Goes to the folder where the command of a run was given; where that is no more, to the one that lies as it did to
/// the run's.
fn go_back(began: &Began, run: &Path) -> anyhow::Result<()> {
    let Err(cause) = std::env::set_current_dir(&began.folder) else {
        return Ok(());
    };
    // Under another name a run is found as well.
    let moved = began.run.as_deref().and_then(|relative| {
        let (runs, of_then) = (run.parent()?, relative.parent()?);
        let depth = of_then.components().count();
        runs.ends_with(of_then)
            .then(|| runs.ancestors().nth(depth))
            .flatten()
    });
    if moved.is_some_and(|folder| std::env::set_current_dir(folder).is_ok()) {
        return Ok(());
    }
    let folder = began.folder.display();
    let message = format!("cannot go to {folder}, where this run was begun: {cause}");
    let help = match &began.run {
        Some(relative) => format!(
            "what its command says of files is meant from there; move the folder back, or the run to {} in the folder \
             that holds its photos now",
            relative.display()
        ),
        None => {
            "what its command says of files is meant from there; move the folder back".to_owned()
        }
    };
    Err(Failure::new(ExitCode::Data, message).with_help(help).into())
}

/// The arguments of a run, to go on with it, with another limit of memory if one is given, and with less of it if that is
/// asked for now: neither changes what comes out.
pub fn arguments(
    run: &Path,
    memory_limit: Option<u64>,
    recompute: bool,
) -> anyhow::Result<TrainArgs> {
    let (mut args, run) = began(run)?;
    args.tuning.resume = Some(run);
    args.tuning.memory_limit = memory_limit.or(args.tuning.memory_limit);
    args.tuning.recompute |= recompute;
    Ok(args)
}

/// The arguments that a run began with, and its folder, whole, whatever the environment says today. From now on this
/// process is in the folder where that was, so that what was said of files means the same.
pub fn began(run: &Path) -> anyhow::Result<(TrainArgs, PathBuf)> {
    let no_run = || RunError::NoRun(run.to_owned());
    let run = run.canonicalize().map_err(|_| no_run())?;
    let text = std::fs::read_to_string(run.join(COMMAND)).map_err(|_| no_run())?;
    let damaged = || {
        let message = format!("{} is damaged", run.join(COMMAND).display());
        Failure::new(ExitCode::Data, message).with_help("begin the run anew")
    };
    let began: Began = serde_json::from_str(&text).map_err(|_| damaged())?;
    let here = std::env::current_dir().ok();
    go_back(&began, &run)?;
    // What is told of the run is as short as it was given, where that means the same.
    let now = std::env::current_dir()
        .ok()
        .filter(|now| here.as_ref() == Some(now));
    let matches = cli::command_alone()
        .try_get_matches_from(began.arguments.into_iter().map(OsString::from))?;
    match Cli::from_arg_matches(&matches)?.command {
        Command::Train(mut args) if args.tuning.resume.is_none() => {
            // The recipe as it was then, whatever became of its file.
            let kept = run.join(runs::GIVEN_RECIPE);
            if args.tuning.recipe.is_some() && kept.is_file() {
                args.tuning.recipe = Some(kept);
            }
            let short = now.and_then(|now| run.strip_prefix(now).ok().map(Path::to_owned));
            let run = short.unwrap_or(run);
            Ok((args, run))
        }
        _ => Err(damaged().into()),
    }
}
