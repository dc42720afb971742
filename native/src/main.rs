//! `rekindle`, the command line: a thin shell over `rekindle-core` that adds files, decoding,
//! downloads, progress and reports.

mod activations;
mod awaited;
mod cli;
mod commands;
mod context;
mod curves;
mod dataset;
mod errors;
mod features;
mod fetch;
mod figures;
mod files;
mod groups;
mod hash;
mod inspected;
mod interrupt;
mod judged;
mod measured;
mod memory;
mod models;
mod options;
mod ordered;
mod photos;
mod prepared;
mod report;
mod runs;
mod segment;
mod serve;
mod size;
mod skipped;
mod tasks;
mod tensorboard;
mod ui;
mod usage;
mod walk;

use std::ffi::OsString;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::thread;

use anyhow::Context as _;
use clap::{ArgMatches, FromArgMatches as _};

use crate::cli::Cli;
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::ui::Console;

/// Room for the work's calls, at least what the systems give to first threads.
const STACK: usize = 16 << 20;

fn main() -> ExitCode {
    // Ctrl-C goes to the first thread, and not before what that asked of the system is done: a large file to be
    // written, say. So it does nothing but wait.
    match thread::Builder::new()
        .name("rekindle".to_owned())
        .stack_size(STACK)
        .spawn(work)
    {
        Ok(work) => work.join().unwrap_or_else(|panic| resume_unwind(panic)),
        Err(_) => work(),
    }
}

fn work() -> ExitCode {
    photos::hush_decoder_panics();
    let mut words: Vec<OsString> = arguments().collect();
    let (mut cli, mut matches) = match parse(words.clone()) {
        Ok(parsed) => parsed,
        Err(error) => return usage::print_usage(error).into(),
    };
    match commands::recipe_words(&matches) {
        Ok(more) if more.is_empty() => {}
        Ok(more) => {
            words.extend(more);
            match parse(words.clone()) {
                Ok(parsed) => (cli, matches) = parsed,
                Err(error) => return usage::print_usage(error).into(),
            }
        }
        Err(error) => return errors::print_error(&error).into(),
    }
    words.extend(commands::environment_words(&matches));
    let outcome = options::check(&cli, &matches).map_err(anyhow::Error::new);
    match outcome.and_then(|()| run(cli, words)) {
        Ok(code) => code.into(),
        Err(error) => {
            let code = errors::print_error(&error);
            let blamed = usage::blamed(&matches, &format!("{error:#}"));
            if let (ui::ExitCode::Usage, Some(names)) = (code, blamed) {
                ui::print_lines(
                    "note",
                    &format!("given by {names} in the environment"),
                    None,
                );
            }
            code.into()
        }
    }
}

fn parse(words: impl IntoIterator<Item = OsString>) -> Result<(Cli, ArgMatches), clap::Error> {
    let matches = cli::command().try_get_matches_from(words)?;
    Ok((Cli::from_arg_matches(&matches)?, matches))
}

/// The command line. `help --help` asks for no more than `help` does.
fn arguments() -> impl Iterator<Item = OsString> {
    let asks_for_help = std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == "help");
    std::env::args_os()
        .filter(move |argument| !(asks_for_help && (argument == "--help" || argument == "-h")))
}

fn run(cli: Cli, words: Vec<OsString>) -> anyhow::Result<ui::ExitCode> {
    let interrupt = Interrupt::install().context("cannot listen for Ctrl-C")?;
    let console = Console::new(cli.global.quiet);
    let limits = cli.command.limits();
    commands::run(
        cli.command,
        &Context {
            global: cli.global,
            console,
            interrupt,
            limits,
            words,
        },
    )
}
