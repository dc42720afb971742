//! Memory: what a training needs is said before its first step, and where there is less it goes on in smaller parts.

use std::fs;

use serde_json::Value;

use super::{Shell, kill, stderr, text};

/// A tuning whose steps take much more than the network.
fn train<'a>(data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "train",
        data,
        "--model",
        "squeezenet1_1",
        "--input",
        "160",
        "--device",
        "cpu",
        "--tune",
        "full",
        "--epochs",
        "2",
        "--batch",
        "16",
        "--keep",
        "last",
        "--split",
        "0.2",
    ];
    arguments.extend(more);
    arguments
}

fn losses(shell: &Shell, run: &str) -> Vec<f64> {
    let lines = shell.metrics(run).into_iter();
    let epochs = lines.filter(|line| line.get("epoch").is_some());
    epochs.map(|line| line["loss"].as_f64().unwrap()).collect()
}

fn bytes(shell: &Shell, run: &str) -> Vec<u8> {
    shell.of_run(run, "model.safetensors")
}

#[test]
fn a_limit_divides_steps_and_changes_nothing_else_and_a_run_goes_on_as_it_began() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 12);
    let data = text(&data);
    const AMPLE: u64 = 3_000_000_000;
    let ample = AMPLE.to_string();
    let whole = train(
        data,
        &["--memory-limit", &ample, "--name", "whole", "--json"],
    );
    let whole = shell.json(&whole).pop().unwrap();
    assert_eq!(
        (&whole["batch"], &whole["accumulate"]),
        (&16.into(), &1.into()),
        "{whole}"
    );
    let needed = whole["predicted_memory_bytes"].as_u64().unwrap();
    let taken = AMPLE - whole["free_memory_bytes"].as_u64().unwrap();
    assert!(needed > 50_000_000, "{whole}");

    // Not enough, and an eighth of it is for photos that wait.
    let limit = (taken + needed / 5 * 4).to_string();
    let options = [
        "--memory-limit",
        &limit,
        "--checkpoint-every",
        "0",
        "--name",
    ];
    let divided = [&options[..], &["divided", "--json"]].concat();
    let output = shell.run(&train(data, &divided));
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    for words in [
        "would be needed for batches of 16",
        "are free (--memory-limit is ",
        " of which the process has ",
        "batches of 8, gradients of 2 added up",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["batch"], 16);
    assert_eq!(summary["accumulate"], 2);
    assert_eq!(summary["images_at_once"], 8);
    let recipe = fs::read_to_string(shell.path("runs/divided/recipe.toml")).unwrap();
    assert!(
        recipe.contains("batch = 16") && recipe.contains("accumulate = 2"),
        "{recipe}"
    );
    let (one, other) = (losses(&shell, "whole"), losses(&shell, "divided"));
    assert_eq!(one.len(), 2);
    for (one, other) in one.iter().zip(&other) {
        assert!((one - other).abs() < 1e-3 * one, "{one} {other}");
    }

    // Killed in its midst, it goes on in the same parts however much memory there is then.
    let killed = [&options[..], &["killed"]].concat();
    let checkpoint = shell.path("runs/killed/checkpoint.safetensors");
    kill(shell.begun(&train(data, &killed), || checkpoint.exists()));
    let resume = ["train", "--resume", "runs/killed", "--memory-limit", &ample];
    let output = shell.run(&resume);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(bytes(&shell, "killed") == bytes(&shell, "divided"));
    // And so it does when it is made again.
    let mut replay = shell.command(&["replay", "runs/divided", "--json"]);
    let output = replay
        .env("REKINDLE_MEMORY_LIMIT", &ample)
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["repeats"], true, "{told}");
}

#[test]
fn a_device_that_runs_out_of_memory_goes_on_in_smaller_parts() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 6);
    let data = text(&data);
    let small = ["--input", "64", "--batch", "8", "--epochs", "2", "--name"];
    let train = |more: &[&str]| {
        let base = [
            "train",
            data,
            "--model",
            "squeezenet1_1",
            "--device",
            "cpu",
            "--tune",
            "full",
        ];
        let all = [&base[..], &["--keep", "last"], &small, more].concat();
        all.into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    let run = |more: &[&str], fit: Option<&str>| {
        let arguments = train(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = shell.command(&arguments);
        if let Some(fit) = fit {
            command.env("REKINDLE_TEST_PHOTOS_THAT_FIT", fit);
        }
        command.output().unwrap()
    };
    let output = run(&["narrow", "--json"], Some("4"));
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("the device ran out of memory: going on from step 0 with batches of 4, gradients of 2 added up"),
        "{told}"
    );
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["accumulate"], 2);
    assert_eq!(summary["divided"]["further"][0]["parts"], 2);
    assert_eq!(losses(&shell, "narrow").len(), 2);
    // As if that had been asked for.
    assert!(run(&["asked", "--accumulate", "2"], None).status.success());
    assert!(bytes(&shell, "asked") == bytes(&shell, "narrow"));
    let told = shell
        .json(&["replay", "runs/narrow", "--json"])
        .pop()
        .unwrap();
    assert_eq!(told["repeats"], true, "{told}");
    // Not even one.
    let output = run(&["none"], Some("0"));
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("too little memory"), "{told}");
}

#[test]
fn what_does_not_fit_at_all_and_what_is_no_limit_is_refused() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 6);
    let data = text(&data);
    let little = train(data, &["--memory-limit", "1MB", "--name", "little"]);
    shell.fails(
        &little,
        4,
        &[
            "a single photo at a time",
            "--input",
            "--tune last",
            "--model",
        ],
    );
    assert!(!shell.path("runs/little").exists());
    // Batch norms that learn want sixteen at a time, and are not quietly given fewer.
    let more = shell.two_classes("more", 12);
    let scratch = [
        "train",
        text(&more),
        "--model",
        "mobilenet_v3_small",
        "--input",
        "64",
        "--device",
        "cpu",
        "--tune",
        "scratch",
        "--batch",
        "16",
        "--memory-limit",
        "1MB",
    ];
    shell.fails(&scratch, 4, &["16 photos at a time", "--bn train"]);
    for wrong in ["much", "0", "-1GB", "1e999GB", "nan"] {
        let limit = format!("--memory-limit={wrong}");
        let arguments = train(data, &[&limit]);
        shell.fails(&arguments, 2, &["--memory-limit", "a size above nothing"]);
    }
    let head = ["train", data, "--memory-limit", "2GB"];
    shell.fails(&head, 2, &["--memory-limit", "--tune"]);
}

#[test]
fn recipes_that_cannot_be_are_refused_at_their_line() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 4);
    let data = text(&data);
    let base = ["train", data, "--tune", "full", "--recipe", "r.toml"];
    for (recipe, words) in [
        (
            "[tuning]\nbatch = 1000000000\n",
            ["line 2", "`batch` is 1000000000"],
        ),
        (
            "[tuning]\nlr = 1e-3\n[tuning.augment.crop]\nscale = [0.5, 1.5]\n",
            ["line 4", "scale"],
        ),
        (
            "[tuning.augment.crop]\nratio = [0.0, 1.0]\n",
            ["line 2", "ratio"],
        ),
        (
            "[tuning.augment.crop]\nratio = [-2.0, -1.0]\n",
            ["line 2", "ratio"],
        ),
        (
            "seed = 1\nchannels = \"pink\"\n[tuning]\n",
            ["line 2", "`channels` is pink"],
        ),
    ] {
        fs::write(shell.path("r.toml"), recipe).unwrap();
        shell.fails(&base, 2, &words);
        let output = shell.run(&base);
        assert!(!stderr(&output).contains("--grey"));
    }
    let twice = [
        "train",
        data,
        "--tune",
        "full",
        "--lr-of",
        "head=1e-3,head=1e-4",
    ];
    shell.fails(&twice, 2, &["--lr-of gives head two rates"]);
    let apart = [
        "train",
        data,
        "--tune",
        "full",
        "--lr-of",
        "head=1e-3",
        "--lr-of",
        "head=1e-3",
    ];
    shell.fails(&apart, 2, &["--lr-of gives head two rates"]);
}

#[test]
fn gradual_says_that_each_phase_has_an_epoch_and_nothing_is_called_frozen_that_is_tuned() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 6);
    let gradual = [
        "train",
        text(&data),
        "--model",
        "squeezenet1_1",
        "--input",
        "64",
        "--device",
        "cpu",
        "--batch",
        "8",
        "--tune",
        "gradual",
        "--epochs",
        "1",
    ];
    let output = shell.run(&gradual);
    let told = stderr(&output);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("phases have an epoch each at least"),
        "{told}"
    );
    assert!(
        told.contains(" parameters)") && !told.contains("parameters frozen"),
        "{told}"
    );
    // From scratch the best epoch is left, whatever a head alone would be.
    let scratch = [
        "train",
        text(&data),
        "--model",
        "squeezenet1_1",
        "--input",
        "64",
        "--device",
        "cpu",
        "--batch",
        "8",
        "--tune",
        "scratch",
        "--epochs",
        "2",
        "--keep",
        "best",
    ];
    let output = shell.run(&scratch);
    assert!(output.status.success(), "{}", stderr(&output));
    let all = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
    assert!(all.contains("trained from scratch"), "{all}");
    assert!(!all.contains("the head alone"), "{all}");
}
