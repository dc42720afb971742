//! What is computed once is kept: a second training begins where it is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Shell, stderr, text};

const KEPT: &str = "cache/rekindle/activations";

/// Trains, and returns what was said and the model's bytes.
fn train(shell: &Shell, data: &Path, name: &str, more: &[&str]) -> (String, Vec<u8>) {
    let mut arguments = vec![
        "train",
        text(data),
        "--model",
        "squeezenet1_1",
        "--device",
        "cpu",
    ];
    arguments.extend(["--name", name]);
    arguments.extend(more);
    let output = shell.run(&arguments);
    let said = stderr(&output);
    assert!(output.status.success(), "{arguments:?}\n{said}");
    let model = shell.path("runs").join(name).join("model.safetensors");
    (said, fs::read(model).unwrap())
}

/// The files of this name on all shelves.
fn files(shell: &Shell, name: &str) -> Vec<PathBuf> {
    let shelves = fs::read_dir(shell.path(KEPT)).into_iter().flatten();
    let files = shelves.map(|shelf| shelf.unwrap().path().join(name));
    files.filter(|file| file.is_file()).collect()
}

#[test]
fn a_second_training_computes_only_what_was_changed_and_gives_the_same_bytes() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 6);
    let (said, alone) = train(&shell, &data, "alone", &["--no-cache"]);
    assert!(
        !said.contains("known") && !shell.path(KEPT).exists(),
        "{said}"
    );
    let (said, first) = train(&shell, &data, "first", &[]);
    assert!(
        said.contains("12 read, 0 skipped") && !said.contains("known"),
        "{said}"
    );
    let (said, second) = train(&shell, &data, "second", &[]);
    assert!(
        said.contains("12 read, 0 skipped (12 known from before)"),
        "{said}"
    );
    assert!(alone == first && first == second);
    // More views keep the ones that are there; other weights know nothing of these.
    let (said, views) = train(&shell, &data, "views", &["--views", "2"]);
    assert!(!said.contains("known"), "{said}");
    let (said, again) = train(&shell, &data, "again", &["--views", "2"]);
    assert!(said.contains("12 known") && views == again, "{said}");
    let (said, _) = train(&shell, &data, "random", &["--weights", "random"]);
    assert!(!said.contains("known"), "{said}");
    // A photo that was changed, and one that was damaged on the shelf.
    let photo = fs::read_dir(data.join("fish"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mut bytes = fs::read(photo.path()).unwrap();
    bytes.push(0);
    fs::write(photo.path(), bytes).unwrap();
    let (said, _) = train(&shell, &data, "changed", &[]);
    assert!(said.contains("11 known"), "{said}");
    for rows in files(&shell, "rows") {
        let mut bytes = fs::read(&rows).unwrap();
        bytes[2000] ^= 1;
        fs::write(&rows, bytes).unwrap();
    }
    let (said, damaged) = train(&shell, &data, "damaged", &[]);
    assert!(said.contains("11 known"), "{said}");
    assert!(train(&shell, &data, "check", &["--no-cache"]).1 == damaged);
}

#[test]
fn the_budget_holds_and_what_cannot_be_kept_costs_nothing_but_time() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 4);
    // A row takes 2 100 bytes.
    let (said, small) = train(&shell, &data, "small", &["--cache-budget", "10kB"]);
    assert!(said.contains("budget 10 kB; what finds no room"), "{said}");
    let kept: u64 = ["rows", "index"]
        .iter()
        .flat_map(|name| files(&shell, name))
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    assert!(kept > 0 && kept <= 10_000, "{kept} bytes");
    let (said, again) = train(&shell, &data, "again", &["--cache-budget", "10kB"]);
    assert!(
        said.contains("(4 known from before)") && small == again,
        "{said}"
    );
    // A file where the folder should be.
    fs::remove_dir_all(shell.path(KEPT)).unwrap();
    fs::write(shell.path(KEPT), "").unwrap();
    let (said, none) = train(&shell, &data, "none", &[]);
    assert_eq!(
        said.matches("cannot be kept on the disk").count(),
        1,
        "{said}"
    );
    assert!(none == small);
    let sizes = ["--cache-budget", "-1", "--json"];
    shell.fails(
        &[&["train", text(&data)][..], &sizes].concat(),
        2,
        &["it must be a size"],
    );
    let both = ["--no-cache", "--cache-budget", "1GB"];
    shell.fails(
        &[&["train", text(&data)][..], &both].concat(),
        2,
        &["--cache-budget"],
    );
}

#[test]
#[cfg(unix)]
fn a_training_that_was_killed_goes_on_where_it_was() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 12);
    let views = ["--views", "20"];
    let whole = train(
        &shell,
        &data,
        "whole",
        &[&views[..], &["--no-cache"]].concat(),
    )
    .1;
    let arguments = [
        "train",
        text(&data),
        "--model",
        "squeezenet1_1",
        "--device",
        "cpu",
    ];
    let mut command = shell.command(&[&arguments[..], &views].concat());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    // Two photos are done.
    let is_far = |file: &PathBuf| fs::metadata(file).unwrap().len() > 2 * 21 * 52;
    while !files(&shell, "index").iter().any(is_far) {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert!(
        !child.wait().unwrap().success(),
        "it was killed in its midst"
    );
    let (said, resumed) = train(&shell, &data, "resumed", &views);
    let known = said.split_once(" known from before").unwrap().0;
    let known: usize = known.rsplit_once('(').unwrap().1.parse().unwrap();
    assert!((2..24).contains(&known), "{said}");
    assert!(resumed == whole);
}
