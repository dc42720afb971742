//! One file a command.

mod bench;
mod compare;
mod completions;
mod diagram;
mod doctor;
mod evaluate;
mod export;
mod groups;
mod inspect;
mod kernels;
mod list;
mod measured;
mod predict;
mod serve;
mod summary;
mod train;

use std::io::{self, Write as _};

use anyhow::Context as _;
use rekindle_core::device::{self, DeviceError, OpenDevice, Preference};
use serde::Serialize;

use crate::cli::{Command, Global};
use crate::interrupt::Interrupt;
use crate::photos::Limits;
use crate::ui::{Console, ExitCode, hushed, plain};

/// What every command is given.
pub struct Context {
    /// Options of every command.
    pub global: Global,
    /// Where progress goes.
    pub console: Console,
    /// Ctrl-C.
    pub interrupt: Interrupt,
    /// Bounds on each photo.
    pub limits: Limits,
}

impl Context {
    /// Opens the device that was asked for.
    fn open_device(&self) -> anyhow::Result<OpenDevice> {
        open_quietly(self.global.device)
    }
}

/// Opens a device. What its driver says meanwhile stays off the terminal; it is part of the error if there is one.
fn open_quietly(preference: Preference) -> anyhow::Result<OpenDevice> {
    // The processor has no driver.
    if preference == Preference::Cpu {
        return Ok(device::cpu());
    }
    let (opened, said) = hushed(|| pollster::block_on(device::open(preference)));
    // A driver that refuses may have said why. Where there is no adapter, there is nothing to say.
    let said: Vec<&str> = said.lines().map(str::trim).collect();
    match opened {
        Err(error @ DeviceError::Open(_)) if !said.is_empty() => {
            let whole = format!("{error} (its driver said: {})", said.join("; "));
            Err(anyhow::Error::from(error).context(whole))
        }
        opened => Ok(opened?),
    }
}

/// Runs a command.
pub fn run(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command {
        Command::Train(args) => train::run(&args, context),
        Command::Predict(args) => predict::run(&args, context),
        Command::Evaluate(args) => evaluate::run(&args, context),
        Command::Models => list::run(context),
        Command::Summary(args) => summary::run(&args, context),
        Command::Diagram(args) => diagram::run(&args, context),
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

/// Prints one JSON value on a line of its own.
fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_whole(serde_json::to_string(value)?)
}

/// Prints text to stdout.
fn print_text(text: &str) -> anyhow::Result<()> {
    print_whole(plain(text).into_owned())
}

/// Prints lines in one piece: whoever ends us or stops reading never sees half of one.
fn print_whole(mut text: String) -> anyhow::Result<()> {
    text.push('\n');
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.context("cannot print the results")
}

/// A table without lines but for one under the head.
fn table(head: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(head.to_vec());
    table
}

/// A share as people write it: `93.8 %`.
fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
