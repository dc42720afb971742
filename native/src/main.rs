//! `rekindle`, the command line: a thin shell over `rekindle-core` that adds files, decoding,
//! downloads, progress and reports.

mod cli;
mod commands;
mod dataset;
mod features;
mod fetch;
mod interrupt;
mod memory;
mod models;
mod options;
mod photos;
mod report;
mod runs;
mod serve;
mod skipped;
mod ui;
mod walk;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _};

use crate::cli::Cli;
use crate::interrupt::Interrupt;
use crate::ui::Console;

fn main() -> ExitCode {
    photos::hush_decoder_panics();
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let outcome = options::check(&cli, &matches).map_err(anyhow::Error::new);
    match outcome.and_then(|()| run(cli)) {
        Ok(code) => code.into(),
        Err(error) => ui::print_error(&error).into(),
    }
}

fn run(cli: Cli) -> anyhow::Result<ui::ExitCode> {
    let interrupt = Interrupt::install().context("cannot listen for Ctrl-C")?;
    let console = Console::new(cli.global.quiet);
    let limits = cli.command.limits();
    commands::run(
        cli.command,
        &commands::Context {
            global: cli.global,
            console,
            interrupt,
            limits,
        },
    )
}
