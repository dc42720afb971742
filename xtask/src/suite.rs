//! `cargo xtask test`: every test there is, and an honest account of what was run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::page;
use crate::process::{Counts, Missing, cargo, program, run, run_tests, seconds};
use crate::system;
use crate::tools;
use crate::wasm::Wasm;
use crate::workspace::{NATIVE, Workspace};

/// A part of the suite, done.
struct Part {
    name: &'static str,
    outcome: Outcome,
    counts: Counts,
    elapsed: Duration,
}

enum Outcome {
    Passed(String),
    Failed(String),
    Skipped(String),
}

/// What a part that came to its end has to say.
struct Finished {
    counts: Counts,
    failures: Vec<String>,
    note: String,
}

/// Runs every part, a failed one notwithstanding, and prints what happened.
///
/// # Errors
///
/// When anything failed, and, where `CI` is set, when anything was skipped.
pub fn run_all(workspace: &Workspace) -> Result<()> {
    let mut parts = vec![
        part("a Vulkan driver", || vulkan(workspace)),
        part("Fashion-MNIST", || fashion_mnist(workspace)),
        part("native", || native(workspace)),
    ];
    let page = part("the page", || page(workspace));
    let built = matches!(page.outcome, Outcome::Passed(_));
    parts.push(page);
    parts.push(part("the web crate in a browser", || web_crate(workspace)));
    parts.push(part("HEIC and AVIF", || heif(workspace)));
    parts.push(part("the page in a browser", || match built {
        true => browser(workspace),
        false => Err(Missing("the page was not built".into()).into()),
    }));
    conclude(&parts, std::env::var_os("CI").is_some())
}

fn part(name: &'static str, work: impl FnOnce() -> Result<Finished>) -> Part {
    println!("\n── {name}");
    let started = Instant::now();
    let (outcome, counts) = match work() {
        Ok(Finished {
            counts,
            failures,
            note,
        }) if failures.is_empty() => (Outcome::Passed(note), counts),
        Ok(Finished {
            counts, failures, ..
        }) => (Outcome::Failed(failures.join("; ")), counts),
        Err(error) => match error.downcast_ref::<Missing>() {
            Some(missing) => (Outcome::Skipped(missing.to_string()), Counts::default()),
            None => (Outcome::Failed(format!("{error:#}")), Counts::default()),
        },
    };
    Part {
        name,
        outcome,
        counts,
        elapsed: started.elapsed(),
    }
}

/// Prints the account, its last line in the form every test runner has: `N passed, N failed`.
fn conclude(parts: &[Part], strict: bool) -> Result<()> {
    println!("\n── summary");
    let mut sum = Counts::default();
    let mut skipped_parts = 0;
    for Part {
        name,
        outcome,
        counts,
        elapsed,
    } in parts
    {
        sum += *counts;
        let time = seconds(*elapsed);
        match outcome {
            Outcome::Passed(note) => println!("  ok       {name}: {note} ({time})"),
            Outcome::Failed(why) => {
                // A part that broke down before any test of it failed still counts as one.
                sum.failed += usize::from(counts.failed == 0);
                println!("  FAILED   {name}: {why} ({time})");
            }
            Outcome::Skipped(why) => {
                skipped_parts += 1;
                println!("  SKIPPED  {name}, because {why}");
            }
        }
    }
    sum.skipped += skipped_parts;
    if strict && skipped_parts > 0 {
        println!("  in CI a part that was skipped counts as failed");
        sum.failed += skipped_parts;
        sum.skipped -= skipped_parts;
    }
    println!(
        "{} passed, {} failed, {} skipped",
        sum.passed, sum.failed, sum.skipped
    );
    match sum.failed {
        0 => Ok(()),
        n => bail!("{n} failed"),
    }
}

/// The WGSL tests run on a software adapter where there is no GPU.
fn vulkan(workspace: &Workspace) -> Result<Finished> {
    system::vulkan(workspace)?;
    Ok(Finished::new("found"))
}

/// The pictures that tests of fine-tuning learn from.
fn fashion_mnist(workspace: &Workspace) -> Result<Finished> {
    system::fashion_mnist(workspace)?;
    Ok(Finished::new("found"))
}

fn native(workspace: &Workspace) -> Result<Finished> {
    let environment = environment(workspace)?;
    let mut finished = Finished::new("");
    for (name, packages) in ["tests", "shader tests"].into_iter().zip(NATIVE) {
        // Some tests run the program: with all targets it is built from what they are built from.
        run(cargo(workspace)
            .arg("build")
            .args(packages)
            .arg("--all-targets"))?;
        let mut command = cargo(workspace);
        command
            .args(["test", "--no-fail-fast"])
            .args(packages)
            .envs(environment.clone());
        finished.add(name, run_tests(&mut command)?);
    }
    Ok(finished)
}

/// The photos' feature `heif`, with a libheif that is built along: by themselves, for they need no Burn.
fn heif(workspace: &Workspace) -> Result<Finished> {
    system::heif(workspace)?;
    let mut command = cargo(workspace);
    command.args(["test", "--release", "--package=rekindle-photos"]);
    command.args(["--features=heif-embedded", "heif"]);
    let mut finished = Finished::new("");
    finished.add("the feature heif", run_tests(&mut command)?);
    Ok(finished)
}

fn page(workspace: &Workspace) -> Result<Finished> {
    page::build(workspace).map(|size| Finished::new(&size))
}

/// The web crate's own tests, just as `wasm-pack test --headless --chrome web` builds and runs them: in the dev
/// profile, without Burn, in Chromium with the arguments of `web/webdriver.json`, within the runner's own time.
fn web_crate(workspace: &Workspace) -> Result<Finished> {
    let browser = tools::browser(workspace)?;
    let runner = tools::wasm_bindgen(workspace)?.join("wasm-bindgen-test-runner");
    let wasm = Wasm::find_or_install(workspace)?;
    let mut command = wasm.test(workspace);
    command
        .envs(environment(workspace)?)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner)
        .env("CHROMEDRIVER", browser.driver)
        .env("WASM_BINDGEN_TEST_ONLY_WEB", "1");
    let mut finished = Finished::new("");
    finished.add("the web crate", run_tests(&mut command)?);
    Ok(finished)
}

fn browser(workspace: &Workspace) -> Result<Finished> {
    let browser = tools::browser(workspace)?;
    let node = tools::node(workspace)?;
    tools::playwright(workspace)?;
    let mut command = program(node, workspace);
    command
        .envs(environment(workspace)?)
        .env("CHROMIUM", browser.chromium)
        .env("REKINDLE_EXPECTED", answers_of_the_command_line(workspace)?)
        .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .args(files(&workspace.root().join("tests/browser"), ".test.mjs")?);
    let mut finished = Finished::new("");
    finished.add("Playwright", run_tests(&mut command)?);
    Ok(finished)
}

/// A file with what `rekindle predict` says of every sample photo, for the page to agree with.
fn answers_of_the_command_line(workspace: &Workspace) -> Result<PathBuf> {
    let mut photos = Vec::new();
    for class in files(&workspace.root().join("assets/photos"), "")? {
        if class.is_dir() {
            photos.extend(files(&class, ".webp")?);
        }
    }
    let path = workspace.target().join("answers-of-the-command-line.json");
    let answers = File::create(&path).with_context(|| format!("creating {path:?}"))?;
    let mut command = program(workspace.program(), workspace);
    command
        .args(["predict", "efficientnet_lite0", "--device", "cpu", "--json"])
        .args(photos);
    run(command.stdout(answers))?;
    Ok(path)
}

/// What lies in a folder and ends in `suffix`, by name.
fn files(folder: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in folder
        .read_dir()
        .with_context(|| format!("reading {folder:?}"))?
    {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(suffix) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What the tests find in their environment.
fn environment(workspace: &Workspace) -> Result<Vec<(&'static str, PathBuf)>> {
    Ok(vec![
        ("REKINDLE_BIN", workspace.program()),
        ("REKINDLE_DIST", workspace.page()),
        // The shaders' own tests write it, a test in the browser reads it.
        ("REKINDLE_TEXTS", workspace.target().join("shader-texts")),
        // The same of the tests of tuning.
        ("REKINDLE_TUNING", workspace.target().join("tuning-case")),
        (
            "REKINDLE_SCREENSHOTS",
            workspace.target().join("browser-screenshots"),
        ),
        ("XDG_RUNTIME_DIR", system::runtime_folder(workspace)?),
    ])
}

impl Finished {
    fn new(note: &str) -> Self {
        Self {
            counts: Counts::default(),
            failures: Vec::new(),
            note: note.to_owned(),
        }
    }

    /// Takes in what a test runner said of itself and of its tests.
    fn add(&mut self, runner: &str, (succeeded, counts): (bool, Counts)) {
        if !succeeded {
            self.failures.push(match counts.failed {
                0 => format!("{runner}: the runner failed"),
                n => format!("{runner}: {n} failed"),
            });
        } else if counts == Counts::default() {
            self.failures.push(format!("{runner}: no test was run"));
        }
        self.counts += counts;
        self.note = format!("{} passed", self.counts.passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(outcome: Outcome, passed: usize, failed: usize) -> Part {
        let counts = Counts {
            passed,
            failed,
            skipped: 0,
        };
        Part {
            name: "some part",
            outcome,
            counts,
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn a_failed_part_fails_the_suite_even_without_a_failed_test() {
        assert!(conclude(&[done(Outcome::Failed("it broke".into()), 3, 0)], false).is_err());
        assert!(conclude(&[done(Outcome::Passed("3 passed".into()), 3, 0)], true).is_ok());
    }

    #[test]
    fn a_skipped_part_fails_the_suite_only_in_ci() {
        let parts = [done(Outcome::Skipped("there is no browser".into()), 0, 0)];
        assert!(conclude(&parts, false).is_ok());
        assert!(conclude(&parts, true).is_err());
    }

    #[test]
    fn what_is_missing_is_skipped_and_what_breaks_has_failed() {
        let missing = part("a", || Err(Missing("no browser".into()).into()));
        assert!(matches!(missing.outcome, Outcome::Skipped(_)));
        let broken = part("b", || bail!("broken"));
        assert!(matches!(broken.outcome, Outcome::Failed(_)));
    }

    #[test]
    fn a_runner_that_ran_no_test_has_failed() {
        let mut finished = Finished::new("");
        finished.add("a runner", (true, Counts::default()));
        assert!(!finished.failures.is_empty());
    }
}
