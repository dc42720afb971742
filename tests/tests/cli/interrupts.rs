//! Ctrl-C, and readers that have seen enough: what is done is there, nothing half done stays, and nobody waits.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rekindle_tests::root;
use serde_json::Value;

use super::{Shell, photos_of, text};

fn send(signal: &str, child: &Child) {
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &id])
            .status()
            .unwrap()
            .success()
    );
}

/// Waits until Ctrl-C is listened to: `SigCgt` in what Linux tells of a process has a bit for each signal.
fn listens(child: &Child) {
    let path = format!("/proc/{}/status", child.id());
    let is_heard = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
        mask.is_none_or(|mask| mask & 2 != 0)
    };
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until && std::fs::read_to_string(&path).is_ok_and(|s| !is_heard(&s)) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn answers_are_printed_as_they_come_and_stay_when_it_is_stopped() {
    let shell = Shell::new();
    let photos: Vec<_> = photos_of("fish")
        .into_iter()
        .chain(photos_of("windmill"))
        .collect();
    let photos: Vec<&str> = photos.iter().map(|photo| text(photo)).collect();
    // Some thousand: far more than are looked at before the first answer is here.
    let many = photos.repeat(2000 / photos.len());
    let predict = ["predict", "squeezenet1_1", "--json", "--device", "cpu"];
    let start = || {
        let mut command = shell.command(&[&predict[..], &many].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        answers.read_line(&mut first).unwrap();
        assert!(first.contains("\"top\""), "{first}");
        assert!(
            child.try_wait().unwrap().is_none(),
            "it has not looked at all photos yet"
        );
        (child, answers)
    };
    let (child, mut answers) = start();
    send("-INT", &child);
    let mut rest = String::new();
    answers.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = super::stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(
        said.contains("stopping after this step; Ctrl-C again stops at once"),
        "{said}"
    );
    assert!(rest.lines().count() + 1 < many.len());
    for line in rest.lines() {
        let answer: Value = serde_json::from_str(line).unwrap();
        assert!(answer["top"].is_array());
    }

    // `| head -1`
    let (child, answers) = start();
    drop(answers);
    let output = child.wait_with_output().unwrap();
    let said = super::stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains("error"), "{said}");
}

#[test]
fn a_long_step_is_not_waited_for() {
    let shell = Shell::new();
    // A pass of so many images takes half a minute.
    let network = ["vit_b_16", "--batch", "128"];
    for command in ["bench", "compare"] {
        let mut arguments = vec![command];
        arguments.extend(network);
        if command == "bench" {
            arguments.extend(["--weights", "random", "--device", "cpu"]);
        }
        let mut child = shell.command(&arguments);
        let child = child
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        listens(&child);
        std::thread::sleep(Duration::from_millis(300));
        let asked = Instant::now();
        send("-INT", &child);
        let output = child.wait_with_output().unwrap();
        let said = super::stderr(&output);
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(
            asked.elapsed() < Duration::from_secs(4),
            "{:?}",
            asked.elapsed()
        );
    }
}

#[test]
fn the_second_stops_at_once_and_takes_back_what_is_half_done() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 14);
    let stopped = |signals: &[&str]| {
        let mut train = shell.command(&["train", text(&data), "--views", "100"]);
        train.env("REKINDLE_ASSETS", root().join("assets"));
        let child = train
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // The run folder is made after the signal handler is in place and before the long work.
        let runs = shell.path("runs");
        while !std::fs::read_dir(&runs).is_ok_and(|mut runs| runs.next().is_some()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let asked = Instant::now();
        for signal in signals {
            send(signal, &child);
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = child.wait_with_output().unwrap();
        let said = super::stderr(&output);
        assert_eq!(output.status.code(), Some(130), "{said}");
        let left = std::fs::read_dir(&runs).unwrap().count();
        assert_eq!(left, 0, "an empty run folder is taken back");
        asked.elapsed()
    };
    let took = stopped(&["-INT", "-INT"]);
    assert!(took < Duration::from_secs(2), "{took:?}");
    // What ends programs otherwise leaves nothing behind either.
    let took = stopped(&["-TERM"]);
    assert!(took < Duration::from_secs(4), "{took:?}");
}
