//! `cargo xtask …`: set-up, tests, lints and the web build. What CI runs, a person runs.
//!
//! Every command gets or builds what it needs, says what it does, and does nothing twice. Tools it
//! installs for itself go into a cache folder (`~/.cache/rekindle`, or `REKINDLE_CACHE`); system
//! packages are installed only on Debian and only as root, otherwise the command to type is shown.

mod goldens;
mod lint;
mod page;
mod process;
mod split;
mod suite;
mod system;
mod tools;
mod wasm;
mod workspace;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process::{cargo, run, seconds};
use crate::workspace::Workspace;

const USAGE: &str = "\
Usage: cargo xtask <COMMAND>

Commands:
  setup          Get everything the other commands need
  test           Run every test: native, in the browser, and of the page
  web            Build the page into dist/
  serve [ARGS]   Build the page if need be and serve it (the arguments go to `rekindle serve`)
  lint           Check formatting, clippy (native and wasm32) and the documentation
  ci             lint, then test
  goldens        Make the reference numbers again with PyTorch, torchvision and timm

Environment:
  REKINDLE_CACHE   where tools are kept (default: ~/.cache/rekindle)
  CI               if set, `test` counts a part that could not be run as a failure";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let started = Instant::now();
    match dispatch(&command, &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            eprintln!("(cargo xtask {command}: {})", seconds(started.elapsed()));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: &str, rest: &[String]) -> Result<()> {
    if matches!(command, "" | "help" | "-h" | "--help") {
        println!("{USAGE}");
        return Ok(());
    }
    if command != "serve" && !rest.is_empty() {
        bail!(
            "`cargo xtask {command}` takes no arguments, but got `{}`",
            rest.join(" ")
        );
    }
    let workspace = Workspace::find()?;
    match command {
        "setup" => tools::set_up_all(&workspace),
        "test" => suite::run_all(&workspace),
        "web" => page::build(&workspace).map(|_| ()),
        "serve" => serve(&workspace, rest),
        "lint" => lint::check(&workspace),
        "ci" => {
            lint::check(&workspace)?;
            suite::run_all(&workspace)
        }
        "goldens" => goldens::run_scripts(&workspace),
        _ => bail!("there is no command `{command}`\n\n{USAGE}"),
    }
}

fn serve(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    if !workspace.page().join("index.html").is_file() {
        page::build(workspace)?;
    }
    let mut command = cargo(workspace);
    command.args(["run", "--release", "--package", "rekindle", "--", "serve"]);
    run(command.args(arguments)).context("`rekindle serve` ended with an error")
}
