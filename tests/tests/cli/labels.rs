//! Labels from a file: classes, several labels a photo, values; groups that stay on one side; bad files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::*;

/// Twelve photos of each of two classes, and their places in order.
fn folder(shell: &Shell) -> (PathBuf, Vec<String>) {
    let folder = shell.two_classes("photos", 12);
    let mut places = Vec::new();
    for class in ["fish", "windmill"] {
        let files = std::fs::read_dir(folder.join(class)).unwrap();
        let name = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().file_name();
        let mut names: Vec<_> = files.map(name).collect();
        names.sort();
        let place = |name: std::ffi::OsString| format!("{class}/{}", name.to_str().unwrap());
        places.extend(names.into_iter().map(place));
    }
    (folder, places)
}

/// Writes a file of a head and a line for each photo.
fn write(
    shell: &Shell,
    name: &str,
    head: &str,
    places: &[String],
    line: impl Fn(usize, &str) -> String,
) {
    let lines = places.iter().enumerate().map(|(at, place)| line(at, place));
    let text: Vec<String> = std::iter::once(head.to_owned()).chain(lines).collect();
    std::fs::write(shell.path(name), text.join("\n")).unwrap();
}

fn class(place: &str) -> &str {
    place.split('/').next().unwrap()
}

#[test]
fn classes_from_a_file_are_those_of_folders_and_groups_stay_on_one_side() {
    let shell = Shell::new();
    let (_, places) = folder(&shell);
    write(
        &shell,
        "l.csv",
        "path,label,animal",
        &places,
        |at, place| format!("{place},{},a{}", class(place), at / 3),
    );
    let train = |more: &[&str]| {
        let start = ["train", "photos", "--device", "cpu", "--json", "--offline"];
        let all: Vec<&str> = start.iter().chain(more).copied().collect();
        shell.json(&all).remove(0)
    };
    let folders = train(&["--folds", "3"]);
    let file = train(&["--labels", "l.csv", "--folds", "3"]);
    for key in ["classes", "accuracy", "images", "loss"] {
        assert_eq!(folders[key], file[key], "{key}");
    }
    let groups = ["--labels", "l.csv", "--group-column", "animal"];
    let grouped = train(&groups);
    assert_eq!(grouped["groups"]["largest"], 3, "{grouped}");
    // Whole groups of three are held out of each class.
    let held = 24 - grouped["trained_on"].as_u64().unwrap();
    assert!(held > 0 && held % 3 == 0, "{grouped}");
    let model = grouped["model"].as_str().unwrap();
    let measured = shell.json(&[
        "evaluate", model, "photos", "--labels", "l.csv", "--device", "cpu", "--json",
    ]);
    assert_eq!(measured[0]["images"], 24);
    // Whoever tears a group apart is told.
    write(
        &shell,
        "torn.csv",
        "path,label,animal,part",
        &places,
        |at, place| {
            let part = ["train", "val"][at % 2];
            format!("{place},{},a{},{part}", class(place), at / 3)
        },
    );
    let parts = [
        "train",
        "photos",
        "--labels",
        "torn.csv",
        "--split-column",
        "part",
        "--group-column",
        "animal",
    ];
    shell.fails(
        &parts,
        3,
        &["torn.csv, line 3", "`a0`", "line 2", "--split-column"],
    );
    let parted = train(&["--labels", "torn.csv", "--split-column", "part"]);
    assert_eq!(
        (&parted["trained_on"], &parted["measured_on"]),
        (&json!(12), &json!("val"))
    );
}

#[test]
fn several_labels_a_photo_are_learnt_measured_predicted_and_exported() {
    let shell = Shell::new();
    let (_, places) = folder(&shell);
    write(&shell, "l.csv", "file,tags", &places, |at, place| {
        let even = if at % 2 == 0 { ";even" } else { "" };
        format!("{place},{}{even}", class(place))
    });
    let train = [
        "train",
        "photos",
        "--labels",
        "l.csv",
        "--device",
        "cpu",
        "--json",
        "--offline",
    ];
    let trained = shell.json(&train).remove(0);
    assert_eq!(trained["task"], "multilabel");
    assert_eq!(trained["classes"], json!(["even", "fish", "windmill"]));
    assert!(trained["mean_average_precision"].is_f64(), "{trained}");
    let report = PathBuf::from(trained["run"].as_str().unwrap()).join("report.html");
    let page = std::fs::read_to_string(shell.path(text(&report))).unwrap();
    assert!(page.contains("mAP") && page.contains("windmill"));
    let model = trained["model"].as_str().unwrap();
    let labels = ["--labels", "l.csv", "--device", "cpu", "--json"];
    let evaluate: Vec<&str> = ["evaluate", model, "photos"]
        .into_iter()
        .chain(labels)
        .collect();
    let measured = shell.json(&evaluate).remove(0);
    let per_label = measured["report"]["per_label"].as_array().unwrap();
    assert_eq!(per_label.len(), 3);
    // Fish and windmills are told apart.
    assert!(
        per_label[1]["average_precision"].as_f64().unwrap() > 0.95,
        "{measured}"
    );
    let photo = format!("photos/{}", places[0]);
    let said = shell.json(&[
        "predict", model, &photo, "--top", "3", "--device", "cpu", "--json",
    ]);
    let said = said[0]["labels"].as_array().unwrap();
    assert_eq!(said.len(), 3);
    let fish = said.iter().find(|one| one["label"] == "fish").unwrap();
    assert_eq!(fish["on"], true, "{said:?}");
    shell.json(&["export", model, "--onnx", "--json", "--out", "m.onnx"]);
    shell.fails(&["evaluate", model, "photos"], 2, &["--labels"]);
    shell.fails(
        &["evaluate", model, "photos", "--min-accuracy", "0.5"],
        2,
        &["--min-accuracy"],
    );
    for (option, words) in [("--head", "mlp"), ("--min-accuracy", "0.5")] {
        let mut refused = train.to_vec();
        refused.extend([option, words]);
        shell.fails(&refused, 2, &[option, "belongs to classes"]);
    }
    let mut other = train.to_vec();
    other.extend(["-m", "squeezenet1_1"]);
    shell.fails(&other, 2, &["below zero", "--model"]);
}

#[test]
fn values_are_learnt_measured_and_predicted() {
    let shell = Shell::new();
    let (_, places) = folder(&shell);
    let value = |at: usize, place: &str| {
        let base = if class(place) == "fish" { 10.0 } else { 20.0 };
        base + 0.1 * (at % 5) as f64
    };
    let values: BTreeMap<&String, f64> = places
        .iter()
        .enumerate()
        .map(|(at, place)| (place, value(at, place)))
        .collect();
    let lines = values
        .iter()
        .map(|(place, kilos)| json!({"path": place, "kilos": kilos}).to_string());
    let lines: Vec<String> = lines.collect();
    std::fs::write(shell.path("l.jsonl"), lines.join("\n")).unwrap();
    let trained = shell.json(&[
        "train",
        "photos",
        "--labels",
        "l.jsonl",
        "--device",
        "cpu",
        "--json",
        "--offline",
    ]);
    let trained = &trained[0];
    assert_eq!(
        (&trained["task"], &trained["classes"]),
        (&json!("regress"), &json!(["kilos"]))
    );
    assert!(trained["r2"].as_f64().unwrap() > 0.5, "{trained}");
    let model = trained["model"].as_str().unwrap();
    let measured = shell.json(&[
        "evaluate", model, "photos", "--labels", "l.jsonl", "--device", "cpu", "--json",
    ]);
    assert!(measured[0]["mae"].as_f64().unwrap() < 3.0, "{measured:?}");
    let photo = format!("photos/{}", places[0]);
    let said = shell.json(&["predict", model, &photo, "--device", "cpu", "--json"]);
    let kilos = said[0]["values"]["kilos"].as_f64().unwrap();
    assert!((5.0..15.0).contains(&kilos), "{said:?}");
    shell.fails(&["predict", model, &photo, "--top", "3"], 2, &["--top"]);
}

#[test]
fn bad_files_are_refused_by_line_and_missing_photos_are_skipped() {
    let shell = Shell::new();
    let (_, places) = folder(&shell);
    let train = |file: &str, more: &[&'static str]| {
        let start = [
            "train",
            "photos",
            "--device",
            "cpu",
            "--offline",
            "--labels",
        ];
        let words = start
            .into_iter()
            .map(str::to_owned)
            .chain([file.to_owned()]);
        words
            .chain(more.iter().map(|word| (*word).to_owned()))
            .collect::<Vec<String>>()
    };
    let fails = |text: &str, more: &[&'static str], words: &[&str]| {
        std::fs::write(shell.path("bad.csv"), text).unwrap();
        let line = train("bad.csv", more);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        shell.fails(&line, 3, words);
    };
    let (a, b) = (&places[0], &places[23]);
    fails(
        "path,label\n../x.jpg,a\n",
        &[],
        &["line 2", "leads out of photos", "help:"],
    );
    fails(
        "path,label\nnone.jpg,a\n",
        &[],
        &["line 2", "there is no photo `none.jpg`"],
    );
    fails(
        &format!("path,label\n{a},a\n{a},b\n"),
        &[],
        &["line 3", "line 2", "--task multilabel"],
    );
    fails(&format!("path,label\n{a},\n"), &[], &["line 2", "no label"]);
    fails(
        &format!("path,label\n{a},x\n{b},x\n"),
        &[],
        &["only one class"],
    );
    fails(
        &format!("path,label\n{a},2\n{b},2\n"),
        &["--task", "regress"],
        &["the same of every photo"],
    );
    fails(
        &format!("path,label\n{a},1000000000\n{b},1000000000.5\n"),
        &[],
        &["`label` in bad.csv", "32 bits", "take 1000000000 away"],
    );
    fails(
        &format!("path,label\n{a},0.5e-30\n{b},2e-30\n"),
        &[],
        &["`label` in bad.csv", "help: give it in another unit"],
    );
    fails(
        "path,label\n",
        &["--path-column", "p"],
        &["names no photos"],
    );
    fails(
        &format!("path,label\n{a},x\n"),
        &["--path-column", "p"],
        &["no column `p`", "`label`"],
    );
    let missing = train("none.csv", &[]);
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    shell.fails(&missing, 3, &["none.csv"]);
    write(
        &shell,
        "l.csv",
        "path,label\nnone.jpg,fish",
        &places,
        |_, place| format!("{place},{}", class(place)),
    );
    let line = train("l.csv", &["--json"]);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    assert_eq!(shell.json(&line)[0]["skipped"], 1);
    let strict = train("l.csv", &["--strict"]);
    let strict: Vec<&str> = strict.iter().map(String::as_str).collect();
    shell.fails(&strict, 3, &["line 2 of l.csv"]);
}
