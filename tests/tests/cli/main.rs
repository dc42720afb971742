//! The command line end to end, as a new user runs it: in an empty folder, with the bundled weights.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

mod cache;
mod fashion;
mod folders;
mod interrupts;
mod labels;
mod lr_find;
mod memory;
mod networks;
mod numbers;
mod options;
mod pictures;
mod recipes;
mod recommend;
mod segment;
mod telling;
mod tensorboard;
mod training;
mod tuning;
mod tuning_folds;
mod weights;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rekindle_tests::{TempDir, photos, program, root};
use serde_json::Value;

/// An empty folder and the program to run in it.
struct Shell {
    folder: TempDir,
}

impl Shell {
    fn new() -> Self {
        Self {
            folder: TempDir::new(),
        }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("REKINDLE_ASSETS", root().join("assets"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env_remove("TORCH_HOME");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and returns the JSON values it prints.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}\n{}",
            stderr(&output)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Runs a command that must fail with this exit code and say these words.
    fn fails(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let output = self.run(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{text}");
        for word in words {
            assert!(text.contains(word), "{arguments:?}: no '{word}' in\n{text}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }

    /// A file that a run in `runs/` left behind.
    fn of_run(&self, run: &str, file: &str) -> Vec<u8> {
        std::fs::read(self.path("runs").join(run).join(file)).unwrap()
    }

    /// What a run in `runs/` told of itself as it went on.
    fn metrics(&self, run: &str) -> Vec<Value> {
        let text = String::from_utf8(self.of_run(run, "metrics.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// A command that has begun, and come so far that `is_reached`.
    fn begun(&self, arguments: &[&str], is_reached: impl Fn() -> bool) -> Child {
        let mut command = self.command(arguments);
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while !is_reached() {
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            std::thread::sleep(Duration::from_millis(2));
        }
        child
    }

    /// A small data set: `count` bundled photos in each of two classes.
    fn two_classes(&self, name: &str, count: usize) -> PathBuf {
        let folder = self.path(name);
        for class in ["fish", "windmill"] {
            std::fs::create_dir_all(folder.join(class)).unwrap();
            for photo in photos_of(class).into_iter().take(count) {
                copy(&photo, &folder.join(class).join(photo.file_name().unwrap()));
            }
        }
        folder
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Kills a command as `kill -9` does, and waits until it is gone.
fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn photos_of(class: &str) -> Vec<PathBuf> {
    photos()
        .into_iter()
        .filter(|path| path.parent().unwrap().ends_with(class))
        .collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
