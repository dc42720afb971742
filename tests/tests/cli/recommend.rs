//! Which network to train, and how much of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rekindle_tests::program;
use serde_json::Value;

use super::{Shell, copy, photos_of, stderr, text};

/// Options that make it quick.
const SMALL: [&str; 6] = [
    "--model",
    "squeezenet1_1",
    "--input",
    "64",
    "--device",
    "cpu",
];

/// Two classes of which some photos are in the wrong one, so that no head is right about all.
fn confused(shell: &Shell, name: &str) -> PathBuf {
    let folder = shell.two_classes(name, 10);
    for photo in photos_of("windmill").into_iter().skip(10).take(3) {
        copy(
            &photo,
            &folder.join("fish").join(photo.file_name().unwrap()),
        );
    }
    folder
}

fn recommended(shell: &Shell, folder: &Path, more: &[&str]) -> Value {
    let arguments = [&["recommend", text(folder)], &SMALL[..], &["--json"], more].concat();
    let mut all = shell.json(&arguments);
    assert_eq!(all.len(), 1, "one object");
    all.remove(0)
}

/// Runs the command that was printed, as a shell takes it.
fn run_in_a_shell(shell: &Shell, found: &Value, more: &str) -> Value {
    let line = found["command"].as_str().unwrap();
    let rest = line.strip_prefix("rekindle ").unwrap();
    let ready = shell.command(&[]);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("'{}' {rest} {more}", text(&program()))]);
    command.current_dir(shell.path("."));
    for (name, value) in ready.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{line}\n{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The same without what a clock says.
fn without_times(mut found: Value) -> Value {
    for key in ["seconds", "budget_seconds"] {
        found.as_object_mut().unwrap().remove(key);
    }
    for candidate in found["candidates"].as_array_mut().unwrap() {
        candidate
            .as_object_mut()
            .unwrap()
            .remove("predicted_seconds");
    }
    found
}

fn candidate<'a>(found: &'a Value, tune: &str) -> Option<&'a Value> {
    let all = found["candidates"].as_array().unwrap();
    all.iter().find(|one| one["tune"] == tune)
}

#[test]
fn candidates_are_measured_ranked_and_the_command_runs_as_printed() {
    let shell = Shell::new();
    let data = confused(&shell, "my photos");
    let begun = Instant::now();
    let found = recommended(&shell, &data, &["--budget", "5m", "--seed", "4"]);
    assert!(begun.elapsed() < Duration::from_secs(300));
    assert_eq!(found["ended"], "done", "{found}");

    let data_of = &found["data"];
    assert_eq!(data_of["photos"], 23);
    assert_eq!(data_of["classes"], 2);
    assert_eq!(data_of["largest_class"]["class"], "fish");
    assert_eq!(data_of["smallest_class"]["photos"], 10);
    assert_eq!(data_of["sizes"]["looked_at"], 23);
    assert_eq!(found["matrix"]["size"], "small");
    assert_eq!(
        found["matrix"]["cell"], "small_similar",
        "{}",
        found["similarity"]
    );
    let similarity = &found["similarity"];
    for key in [
        "top_probability",
        "entropy",
        "variance_between_classes",
        "head_accuracy",
    ] {
        let share = similarity[key].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&share), "{key}: {similarity}");
    }

    // The head's figure is that of `train` over the same folds.
    let folds = found["folds"].to_string();
    let head = candidate(&found, "head").unwrap();
    let arguments = [
        &["train", text(&data)],
        &SMALL[..],
        &["--folds", &folds, "--seed", "4", "--json", "--quiet"],
    ];
    let trained = shell.json(&arguments.concat()).remove(0);
    assert_eq!(head["accuracy"], trained["accuracy"]);
    assert_eq!(head["held_out"]["photos"], 23);

    // Tunings were probed on photos that they had not seen, beside the head on the same.
    for tune in ["last", "full"] {
        let tuned = candidate(&found, tune).unwrap_or_else(|| panic!("{tune}: {found}"));
        let (probe, held_out) = (&tuned["probe"], &tuned["held_out"]);
        let photos = held_out["photos"].as_f64().unwrap();
        let right = |of: &Value, key: &str| of[key].as_f64().unwrap() / photos;
        let gain = right(held_out, "right") - right(probe, "head_right");
        assert!(
            (probe["gain"].as_f64().unwrap() - gain).abs() < 1e-9,
            "{tuned}"
        );
        assert!(probe["epochs"].as_u64().unwrap() >= 5 && photos >= 4.0);
        assert!(tuned["predicted_seconds"].as_f64() > head["predicted_seconds"].as_f64());
        assert!(tuned["memory_bytes"].as_u64() > head["memory_bytes"].as_u64());
    }
    let not_measured = found["not_measured"].as_array().unwrap();
    assert!(not_measured.iter().any(|left| left["tune"] == "scratch"));

    // The first is what is recommended, and its command is one.
    let first = &found["candidates"][0];
    assert_eq!(first["rank"], 1);
    assert_eq!(first["tied"], true);
    for one in found["candidates"].as_array().unwrap() {
        assert_eq!(
            one["tied"] == true,
            one["clearly_better"].is_null(),
            "{one}"
        );
    }
    assert_eq!(first["tune"], found["recommended"]["tune"]);
    let line = found["command"].as_str().unwrap();
    assert!(line.starts_with("rekindle train '"), "{line}");
    assert!(
        line.contains("--input 64") && line.contains("--seed 4"),
        "{line}"
    );
    let run = run_in_a_shell(&shell, &found, "--json --quiet");
    assert_eq!(run["architecture"], found["recommended"]["network"]);
    assert_eq!(run["tune"], found["recommended"]["tune"]);
}

#[test]
fn a_folder_s_own_division_is_measured_on_as_train_does() {
    let shell = Shell::new();
    let all = confused(&shell, "all");
    let data = shell.path("divided");
    for class in ["fish", "windmill"] {
        let mut photos: Vec<PathBuf> = std::fs::read_dir(all.join(class))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        photos.sort();
        for (number, photo) in photos.iter().enumerate() {
            let part = if number % 3 == 0 { "val" } else { "train" };
            let folder = data.join(part).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            copy(photo, &folder.join(photo.file_name().unwrap()));
        }
    }
    std::fs::write(
        data.join("train/fish/broken.jpg"),
        b"\xff\xd8\xff\xe0 no more",
    )
    .unwrap();
    let found = recommended(&shell, &data, &["--seed", "2", "--quiet"]);
    assert_eq!(found["folds"], 1);
    assert_eq!(found["data"]["skipped"], 1);
    let head = candidate(&found, "head").unwrap();
    let arguments = [&["train", text(&data)], &SMALL[..], &["--json", "--quiet"]].concat();
    let trained = shell.json(&arguments).remove(0);
    assert_eq!(head["accuracy"], trained["accuracy"]);
    run_in_a_shell(&shell, &found, "--json --quiet");
    let again = recommended(&shell, &data, &["--seed", "2", "--quiet"]);
    assert_eq!(without_times(again), without_times(found));
}

#[test]
fn the_budget_is_kept_and_what_there_is_no_time_for_is_said() {
    let shell = Shell::new();
    let data = confused(&shell, "data");
    let begun = Instant::now();
    let arguments = [
        "recommend",
        text(&data),
        "--device",
        "cpu",
        "--json",
        "--quiet",
    ];
    let found = shell
        .json(&[&arguments[..], &["--budget", "0.01s"]].concat())
        .remove(0);
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(found["ended"], "budget");
    assert_eq!(found["recommended"]["measured"], false);
    assert_eq!(found["candidates"], Value::Array(Vec::new()));
    let not_measured = found["not_measured"].as_array().unwrap();
    for network in ["efficientnet_lite0", "squeezenet1_1"] {
        assert!(
            not_measured.iter().any(|left| left["network"] == network),
            "{found}"
        );
    }
    assert_eq!(found["recommended"]["network"], "efficientnet_lite0");
    let why = found["recommended"]["why"].as_str().unwrap();
    assert!(why.contains("--budget"), "{why}");
    run_in_a_shell(&shell, &found, "--json --quiet");
    // For people it shows the matrix with a mark, and the command alone on its line.
    let output = shell.run(&[
        "recommend",
        text(&data),
        "--device",
        "cpu",
        "--budget",
        "0.01s",
    ]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("→ the head alone"), "{told}");
    let last = told.trim_end().lines().last().unwrap();
    assert_eq!(last, found["command"].as_str().unwrap());
}

#[test]
fn classes_too_small_to_hold_anything_back_are_not_measured() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 1);
    let found = recommended(&shell, &data, &["--quiet"]);
    assert_eq!(found["folds"], 0);
    assert_eq!(found["recommended"]["measured"], false);
    let why = found["recommended"]["why"].as_str().unwrap();
    assert!(why.contains("held back"), "{why}");
    let data = shell.two_classes("pairs", 2);
    let found = recommended(&shell, &data, &["--quiet"]);
    assert_eq!(found["folds"], 4);
    assert_eq!(candidate(&found, "head").unwrap()["held_out"]["photos"], 4);
}

#[test]
fn what_cannot_be_compared_is_refused_before_anything_is_measured() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let data = text(&data);
    let one = shell.path("one");
    std::fs::create_dir_all(one.join("fish")).unwrap();
    copy(&photos_of("fish")[0], &one.join("fish/fish.webp"));
    let labels = shell.path("data/labels.csv");
    let names: Vec<String> = photos_of("fish")[..2]
        .iter()
        .zip(["a;b", "b"])
        .map(|(photo, labels)| {
            let name = photo.file_name().unwrap().to_str().unwrap();
            format!("fish/{name},{labels}")
        })
        .collect();
    std::fs::write(&labels, format!("path,labels\n{}\n", names.join("\n"))).unwrap();
    let cases: [(&[&str], i32, &[&str]); 13] = [
        (&["recommend", data, "--budget", "0"], 2, &["90s"]),
        (&["recommend", data, "--budget", "-5"], 2, &["90s"]),
        (&["recommend", data, "--budget", "soon"], 2, &["90s"]),
        (
            &["recommend", data, "--model", "resnet5"],
            2,
            &["resnet5", "help:"],
        ),
        (
            &["recommend", data, "--model", "fcn_resnet50"],
            2,
            &["fcn_resnet50", "help:"],
        ),
        (
            &["recommend", data, "--model", "resnet50"],
            3,
            &["resnet50", "--download"],
        ),
        (
            &["recommend", data, "--download", "--offline"],
            2,
            &["--download", "help:"],
        ),
        (
            &[
                "recommend",
                data,
                "--download",
                "--model",
                "resnet50",
                "--offline",
            ],
            2,
            &["--offline"],
        ),
        (
            &[
                "recommend",
                data,
                "--model",
                "squeezenet1_1",
                "--input",
                "3",
            ],
            2,
            &["--input", "help:"],
        ),
        (&["recommend", "nowhere"], 3, &["nowhere", "help:"]),
        (&["recommend", text(&one)], 3, &["one class", "help:"]),
        (
            &["recommend", data, "--labels", text(&labels)],
            2,
            &["several labels", "--task classify"],
        ),
        (
            &[
                "recommend",
                data,
                "--labels",
                text(&labels),
                "--task",
                "regress",
            ],
            2,
            &["regress", "classify"],
        ),
    ];
    for (arguments, code, words) in cases {
        shell.fails(arguments, code, words);
    }
    assert!(!shell.path("runs").exists());
    // Nor is it offered.
    let help = shell.run(&["recommend", "--help"]).stdout;
    let help = String::from_utf8(help).unwrap();
    assert!(
        help.contains("--task") && !help.contains("multilabel"),
        "{help}"
    );
}

#[test]
#[cfg(unix)]
fn without_any_weights_it_says_how_to_get_some() {
    // Weights are sought beside the program, too.
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let alone = shell.path("rekindle");
    copy(&program(), &alone);
    let output = Command::new(&alone)
        .args(["recommend", text(&data), "--device", "cpu"])
        .current_dir(shell.path("."))
        .env("HOME", shell.path("home"))
        .env("XDG_CACHE_HOME", shell.path("cache"))
        .env_remove("REKINDLE_ASSETS")
        .env_remove("TORCH_HOME")
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for words in [
        "no network's weights",
        "--download",
        "efficientnet_lite0.safetensors",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
}

#[test]
#[cfg(unix)]
fn stopping_it_tells_what_was_measured_till_then() {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::Stdio;

    let shell = Shell::new();
    let data = confused(&shell, "data");
    let mut recommend = shell.command(&["recommend", text(&data), "--model", "squeezenet1_1"]);
    recommend.args(["--device", "cpu", "--json", "--budget", "1h"]);
    let mut child = recommend
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    // Heads come first: one is measured when tunings begin.
    let mut line = String::new();
    while !line.contains("--tune last") {
        line.clear();
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended");
    }
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["ended"], "interrupted");
    assert!(candidate(&found, "head").is_some(), "{found}");
    assert!(found["command"].as_str().unwrap().contains("squeezenet1_1"));
}
