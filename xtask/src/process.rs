//! Running other programs: said aloud, waited for, and their test counts read.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::ops::AddAssign;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// A part cannot be done on this machine: something it needs is not there and cannot be had.
///
/// `cargo xtask test` reports such a part as skipped, where any other error is a failure.
#[derive(Debug)]
pub struct Missing(pub String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// How many tests ran and how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// A command in the workspace's folder that never waits for a person to type something.
pub fn program(name: impl AsRef<OsStr>, workspace: &Workspace) -> Command {
    let mut command = Command::new(name);
    command.current_dir(workspace.root()).stdin(Stdio::null());
    command
}

/// Cargo, as the person who typed `cargo xtask` has it.
pub fn cargo(workspace: &Workspace) -> Command {
    program("cargo", workspace)
}

/// Runs a command and fails if it does.
pub fn run(command: &mut Command) -> Result<()> {
    let line = announce(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a command that may hang (a download), and ends it after `limit`.
pub fn run_within(limit: Duration, command: &mut Command) -> Result<()> {
    let line = announce(command);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                bail!("`{line}` failed ({status})");
            }
            return Ok(());
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("`{line}` did not end within {}", seconds(limit));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs a command silently and returns what it printed, if it exists and succeeds.
pub fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Runs a test runner, passes its output on, and adds up the counts in it.
///
/// Returns whether the runner succeeded, and the counts.
pub fn run_tests(command: &mut Command) -> Result<(bool, Counts)> {
    let line = announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        let mut reader = BufReader::new(stdout);
        let mut bytes = Vec::new();
        let mut out = std::io::stdout();
        while reader.read_until(b'\n', &mut bytes)? > 0 {
            out.write_all(&bytes)?;
            counts += counts_in(&String::from_utf8_lossy(&bytes));
            bytes.clear();
        }
        out.flush()?;
    }
    Ok((child.wait()?.success(), counts))
}

/// The counts in one line of cargo's, wasm-bindgen's or Node's test output.
fn counts_in(line: &str) -> Counts {
    let line = line.trim();
    let mut counts = Counts::default();
    if let Some(result) = line.strip_prefix("test result: ") {
        let fields = result.split_once(". ").map_or(result, |(_, fields)| fields);
        for field in fields.split(';') {
            match field
                .trim()
                .split_once(' ')
                .map(|(n, word)| (n.parse(), word))
            {
                Some((Ok(n), "passed")) => counts.passed = n,
                Some((Ok(n), "failed")) => counts.failed = n,
                Some((Ok(n), "ignored")) => counts.skipped = n,
                _ => {}
            }
        }
    } else if let Some(field) = line.strip_prefix("ℹ ").or_else(|| line.strip_prefix("# ")) {
        match field.split_once(' ').map(|(word, n)| (word, n.parse())) {
            Some(("pass", Ok(n))) => counts.passed = n,
            Some(("fail" | "cancelled", Ok(n))) => counts.failed = n,
            Some(("skipped" | "todo", Ok(n))) => counts.skipped = n,
            _ => {}
        }
    }
    counts
}

fn announce(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect();
    let line = words.join(" ");
    println!("$ {line}");
    line
}

/// A duration for people: `7.3 s`, `12 min 5 s`.
pub fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!(
            "{} min {} s",
            duration.as_secs() / 60,
            duration.as_secs() % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_cargo_and_wasm_bindgen() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 5 filtered \
                    out; finished in 0.03s";
        assert_eq!(
            counts_in(line),
            Counts {
                passed: 12,
                failed: 3,
                skipped: 1
            }
        );
        let line = "test result: ok. 5 passed; 0 failed; 0 ignored; 0 filtered out";
        assert_eq!(
            counts_in(line),
            Counts {
                passed: 5,
                failed: 0,
                skipped: 0
            }
        );
    }

    #[test]
    fn counts_are_read_from_node() {
        let mut counts = Counts::default();
        for line in [
            "ℹ tests 6",
            "ℹ pass 4",
            "ℹ fail 1",
            "ℹ cancelled 0",
            "ℹ skipped 1",
        ] {
            counts += counts_in(line);
        }
        assert_eq!(
            counts,
            Counts {
                passed: 4,
                failed: 1,
                skipped: 1
            }
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in [
            "",
            "running 3 tests",
            "test a::b ... ok",
            "# a heading",
            "ℹ duration_ms 9",
        ] {
            assert_eq!(counts_in(line), Counts::default(), "{line}");
        }
    }

    #[test]
    fn durations_are_readable() {
        assert_eq!(seconds(Duration::from_millis(7310)), "7.3 s");
        assert_eq!(seconds(Duration::from_secs(725)), "12 min 5 s");
    }
}
