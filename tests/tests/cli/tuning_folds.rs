//! Cross-validation of ways to tune: what each fold is measured on, what is chosen on what, and folds that are stopped.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Shell, kill, stderr, text};

/// A training of two classes by the smallest network, at a size that takes seconds, in two folds.
fn train<'a>(data: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    train_on("squeezenet1_1", data, more)
}

fn train_on<'a>(model: &'a str, data: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", text(data), "--model", model];
    arguments.extend(["--input", "64", "--device", "cpu", "--folds", "2", "--json"]);
    arguments.extend(more);
    arguments
}

/// Whether a part of a run is done, as its file of parts says.
fn is_done(parts: &Path, part: &str) -> bool {
    let Ok(bytes) = fs::read(parts) else {
        return false;
    };
    let told: Value = serde_json::from_slice(&bytes).unwrap();
    told["parts"].get(part).is_some()
}

/// How many shelves hold values that were computed once.
fn shelves(shell: &Shell) -> usize {
    let shelves = fs::read_dir(shell.path("cache/rekindle/activations")).unwrap();
    let rows = shelves.map(|shelf| shelf.unwrap().path().join("rows"));
    rows.filter(|rows| rows.is_file()).count()
}

#[test]
fn a_way_to_tune_is_measured_on_photos_that_nothing_was_chosen_on() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 12);
    let head = shell
        .json(&train(&data, &["--name", "head"]))
        .pop()
        .unwrap();
    let more = [
        "--tune", "last:1", "--epochs", "3", "--batch", "8", "--views", "2",
    ];
    let tuned = [&more[..], &["--name", "tuned"]].concat();
    let summary = shell.json(&train(&data, &tuned)).pop().unwrap();

    // The head beside it is the one that folds without tuning have.
    assert_eq!(summary["accuracy_head"], head["cv_accuracy"]);
    let accuracy = |key: &str| summary[key].as_f64().unwrap();
    assert!(
        accuracy("cv_accuracy") >= accuracy("accuracy_head"),
        "{summary}"
    );
    assert_eq!(summary["measured_on"], "cross-validation");
    assert_eq!(
        (&summary["folds"], &summary["trained_on"]),
        (&2.into(), &24.into())
    );
    let crossed = &summary["cross_validation"];
    assert_eq!(crossed["score_is"], "accuracy");
    let folds = crossed["folds"].as_array().unwrap();
    let number = |fold: &Value, key: &str| fold[key].as_u64().unwrap();
    let (mut right, mut all) = (0.0, 0);
    for fold in folds {
        let (photos, trained_on) = (number(fold, "photos"), number(fold, "trained_on"));
        assert_eq!(photos + trained_on, 24, "{fold}");
        assert!(
            (1..trained_on).contains(&number(fold, "chosen_on")),
            "{fold}"
        );
        let kept = fold["kept"].as_str().unwrap();
        assert_eq!(kept == "head", fold["best_epoch"].is_null(), "{fold}");
        if kept == "head" {
            assert_eq!(fold["score"], fold["score_head"], "{fold}");
        }
        right += fold["score"].as_f64().unwrap() * photos as f64;
        all += photos;
    }
    assert_eq!((folds.len(), all), (2, 24));
    assert!((right / 24.0 - accuracy("cv_accuracy")).abs() < 1e-9);
    let mean = |key: &str| crossed[key]["mean"].as_f64().unwrap();
    assert!((mean("score") - mean("score_head") - mean("difference")).abs() < 1e-9);
    assert!(crossed["difference"]["standard_error"].as_f64().unwrap() >= 0.0);

    // Every epoch that chose is told, with the fold that it belongs to.
    let metrics = shell.metrics("tuned");
    for fold in ["fold 1 of 2", "fold 2 of 2"] {
        let part = format!("{fold}, choosing");
        let epochs = metrics.iter().filter(|line| line["part"] == *part);
        assert_eq!(epochs.count(), 3, "{fold}");
        // What came of that is not judged on the fold's own photos before the end.
        let mut after = metrics.iter().filter(|line| line["part"] == *fold);
        assert!(after.all(|line| line["score"].is_null()), "{fold}");
    }
    // Folds share what stands before the cut: one shelf of it, beside the one of the features.
    assert_eq!(shelves(&shell), 2);
    // What is left of no use is not left.
    assert!(!shell.path("runs/tuned/parts.json").exists());
    assert!(!shell.path("runs/tuned/checkpoint.safetensors").exists());

    // Where the last epoch is kept, nothing is chosen.
    let last = [&more[..], &["--keep", "last", "--name", "last"]].concat();
    let summary = shell.json(&train(&data, &last)).pop().unwrap();
    for fold in summary["cross_validation"]["folds"].as_array().unwrap() {
        assert_eq!(
            (number(fold, "chosen_on"), number(fold, "best_epoch")),
            (0, 3)
        );
    }
    assert_eq!(
        (&summary["kept"], &summary["epochs"]),
        (&"tuned".into(), &3.into())
    );
}

#[test]
fn several_labels_and_values_are_cross_validated_too() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 14);
    let mut rows = ["path,label,size".to_owned()].to_vec();
    for (number, class) in ["fish", "windmill"].into_iter().enumerate() {
        let mut names: Vec<String> = fs::read_dir(data.join(class))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let row = |(at, name): (usize, &String)| {
            format!("{class}/{name},{class},{}", 10 * number + at % 3)
        };
        rows.extend(names.iter().enumerate().map(row));
    }
    fs::write(shell.path("labels.csv"), rows.join("\n")).unwrap();
    for (task, column, score) in [("multilabel", "label", "mAP"), ("regress", "size", "R²")] {
        let more = [
            "--labels",
            "labels.csv",
            "--label-column",
            column,
            "--task",
            task,
            "--tune",
            "last:1",
            "--epochs",
            "2",
            "--keep",
            "tuned",
            "--batch",
            "8",
            "--views",
            "1",
            "--name",
            column,
        ];
        let summary = shell
            .json(&train_on("efficientnet_lite0", &data, &more))
            .pop()
            .unwrap();
        let crossed = &summary["cross_validation"];
        assert_eq!(crossed["score_is"], score, "{summary}");
        for fold in crossed["folds"].as_array().unwrap() {
            assert!(
                fold["score"].is_f64() && fold["score_head"].is_f64(),
                "{fold}"
            );
            assert_eq!(fold["kept"], "tuned");
        }
        // Losses are losses, of every task.
        for line in shell
            .metrics(column)
            .iter()
            .filter(|line| !line["score"].is_null())
        {
            assert!(line["held_out_loss"].as_f64().unwrap() > 0.0, "{line}");
        }
    }
}

#[test]
fn folds_that_are_killed_go_on_to_the_same_bytes_and_none_is_done_twice() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    let options = [
        "--tune",
        "last:1",
        "--epochs",
        "4",
        "--batch",
        "4",
        "--views",
        "1",
        "--keep",
        "tuned",
        "--checkpoint-every",
        "0",
        "--name",
    ];
    let whole = [&options[..], &["whole"]].concat();
    assert!(shell.run(&train(&data, &whole)).status.success());
    let killed = [&options[..], &["killed"]].concat();
    let parts = shell.path("runs/killed/parts.json");
    let resume = ["train", "--resume", "runs/killed"];
    let first = train(&data, &killed);
    // In the midst of what chooses in the first fold, and when that fold is done.
    let done = |part: &str| is_done(&parts, part);
    let moments: [(&[&str], &dyn Fn() -> bool); 2] = [
        (&first, &|| {
            shell.path("runs/killed/checkpoint.safetensors").exists()
        }),
        (&resume, &|| done("fold 1 of 2")),
    ];
    for (arguments, is_reached) in moments {
        kill(shell.begun(arguments, is_reached));
    }
    // Photos that it did not begin with are refused, and nothing is lost by it.
    let photo = fs::read_dir(data.join("fish"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let bytes = fs::read(&photo).unwrap();
    fs::remove_file(&photo).unwrap();
    shell.fails(&resume, 3, &["cannot go on", "photos"]);
    fs::write(&photo, bytes).unwrap();

    let output = shell.run(&resume);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("fold 1 of 2 is done already"), "{said}");
    assert!(
        !said.contains("fold 1 of 2: ") && said.contains("fold 2 of 2: "),
        "{said}"
    );
    for file in ["model.safetensors", "metrics.jsonl"] {
        let bytes = |run: &str| shell.of_run(run, file);
        assert!(bytes("whole") == bytes("killed"), "{file}");
    }
    assert!(!parts.exists());
    shell.fails(&resume, 2, &["this run is finished"]);
}

#[test]
fn folds_from_which_nothing_can_be_held_back_once_more_are_refused() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let more = ["--tune", "last:1", "--epochs", "1"];
    shell.fails(&train(&data, &more), 2, &["--folds", "--keep last"]);
    assert!(
        !shell.path("runs").exists() || fs::read_dir(shell.path("runs")).unwrap().next().is_none()
    );
}

#[test]
fn folds_go_on_in_the_parts_that_memory_made_necessary_when_they_began() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 12);
    const AMPLE: u64 = 3_000_000_000;
    let ample = AMPLE.to_string();
    let start = [
        "train",
        text(&data),
        "--model",
        "squeezenet1_1",
        "--input",
        "160",
        "--device",
        "cpu",
        "--tune",
        "full",
        "--epochs",
        "1",
        "--batch",
        "8",
        "--keep",
        "last",
        "--json",
    ];
    // What steps of eight photos take, and what the process has taken before them.
    let whole = ["--memory-limit", &ample, "--name", "whole"];
    let whole = shell.json(&[&start[..], &whole].concat()).pop().unwrap();
    assert_eq!(whole["divided"]["phases"][0], 1, "{whole}");
    let needed = whole["predicted_memory_bytes"].as_u64().unwrap();
    let taken = AMPLE - whole["free_memory_bytes"].as_u64().unwrap();

    let limit = (taken + needed / 5 * 4).to_string();
    let options = ["--memory-limit", &limit, "--folds", "2"];
    let start = [&start[..], &options, &["--checkpoint-every", "0", "--name"]].concat();
    let output = shell.run(&[&start[..], &["divided"]].concat());
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    // All trainings have steps of one size: it is decided once, and said once.
    let line = "batches of 4, gradients of 2 added up";
    assert_eq!(said.matches(line).count(), 1, "{said}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of_all = &summary["divided"];
    assert_eq!(of_all["phases"][0], 2, "{summary}");
    for fold in ["fold 1 of 2", "fold 2 of 2"] {
        assert_eq!(of_all["parts"][fold]["phases"][0], 2, "{summary}");
    }

    // Stopped after its first fold, and gone on with when there is more memory than it could use.
    let killed = [&start[..], &["killed"]].concat();
    let parts = shell.path("runs/killed/parts.json");
    kill(shell.begun(&killed, || is_done(&parts, "fold 1 of 2")));
    let resume = [
        "train",
        "--resume",
        "runs/killed",
        "--memory-limit",
        &ample,
        "--json",
    ];
    let output = shell.run(&resume);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("fold 1 of 2 is done already") && !said.contains("would be needed"),
        "{said}"
    );
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(&summary["divided"], of_all);
    for file in ["model.safetensors", "metrics.jsonl"] {
        let bytes = |run: &str| shell.of_run(run, file);
        assert!(bytes("divided") == bytes("killed"), "{file}");
    }
    // And made again.
    let replay = shell.json(&["replay", "runs/divided", "--json"]);
    assert_eq!(replay[0]["repeats"], true, "{}", replay[0]);
}
