//! Folders as people have them: parts, links, too little in them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rekindle_tests::root;
use serde_json::Value;

use super::{Shell, copy, photos_of, stderr, text};

#[test]
fn folders_with_train_and_val_are_measured_on_val() {
    let shell = Shell::new();
    let whole = shell.two_classes("whole", 8);
    for class in ["fish", "windmill"] {
        for (index, entry) in std::fs::read_dir(whole.join(class)).unwrap().enumerate() {
            let part = shell
                .path("data")
                .join(if index < 6 { "train" } else { "val" })
                .join(class);
            std::fs::create_dir_all(&part).unwrap();
            let entry = entry.unwrap();
            copy(&entry.path(), &part.join(entry.file_name()));
        }
    }
    let result = shell.json(&["train", "data", "--model", "squeezenet1_1", "--json"]);
    assert_eq!(
        (&result[0]["images"], &result[0]["trained_on"]),
        (&16.into(), &12.into())
    );
}

#[test]
fn broken_photos_are_skipped_listed_and_counted_and_strict_fails() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 4);
    std::fs::write(data.join("fish/empty.jpg"), b"").unwrap();
    std::fs::write(data.join("fish/page.png"), b"<!doctype html><html>").unwrap();
    let whole = std::fs::read(&photos_of("fish")[0]).unwrap();
    std::fs::write(data.join("fish/cut.webp"), &whole[..whole.len() / 2]).unwrap();
    copy(&photos_of("fish")[5], &data.join("fish/really_a_webp.jpg"));

    let output = shell.run(&["train", text(&data), "--model", "squeezenet1_1", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&result["images"], &result["skipped"]),
        (&9.into(), &3.into())
    );
    for name in ["empty.jpg", "page.png", "cut.webp"] {
        assert!(stderr(&output).contains(name), "{name} is listed");
    }
    shell.fails(
        &["train", text(&data), "--model", "squeezenet1_1", "--strict"],
        3,
        &["error:"],
    );
    shell.fails(
        &[
            "predict",
            "squeezenet1_1",
            text(&data.join("fish/empty.jpg")),
        ],
        3,
        &["empty.jpg"],
    );
}

#[test]
fn folders_that_make_no_classes_are_refused_with_advice() {
    let shell = Shell::new();
    let train = |folder: &str| ["train", folder, "--model", "squeezenet1_1"].map(str::to_owned);
    let refuse = |folder: &str, words: &[&str]| {
        let arguments = train(folder);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        shell.fails(&arguments, 3, words);
        assert!(!shell.path("runs").exists(), "nothing is left behind");
    };
    refuse("nowhere", &["error:", "nowhere", "help:"]);

    std::fs::create_dir(shell.path("none")).unwrap();
    refuse("none", &["class", "help:"]);

    let one = shell.two_classes("one", 3);
    std::fs::remove_dir_all(one.join("fish")).unwrap();
    refuse("one", &["windmill", "help:"]);

    let hollow = shell.two_classes("hollow", 3);
    std::fs::create_dir(hollow.join("boats")).unwrap();
    refuse("hollow", &["boats", "help:"]);
}

/// A divided folder: six photos of each class to learn from, two and three others to measure on.
fn divided(shell: &Shell) -> PathBuf {
    let folder = shell.path("divided");
    for class in ["fish", "windmill"] {
        for (index, photo) in photos_of(class).iter().take(11).enumerate() {
            let part = ["train", "val", "test"][usize::from(index >= 6) + usize::from(index >= 8)];
            let place = folder.join(part).join(class);
            std::fs::create_dir_all(&place).unwrap();
            copy(photo, &place.join(photo.file_name().unwrap()));
        }
    }
    folder
}

#[test]
fn a_divided_folder_is_measured_on_test_and_training_photos_are_told() {
    let shell = Shell::new();
    let data = divided(&shell);
    let output = shell.run(&["train", text(&data), "--model", "squeezenet1_1", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("test/ (6 photos) is not used"),
        "{}",
        stderr(&output)
    );
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |key: &str| result[key].as_u64().unwrap();
    assert_eq!(
        (count("trained_on"), count("images"), count("unused")),
        (12, 16, 6)
    );
    assert_eq!(result["measured_on"], "val/");

    let model = result["model"].as_str().unwrap();
    let measure = |folder: &Path, part: &[&str]| {
        let arguments = [&["evaluate", model, text(folder), "--json"], part].concat();
        let output = shell.run(&arguments);
        let said = stderr(&output);
        assert!(output.status.success(), "{arguments:?}\n{said}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let figures = ["split", "images", "trained_on"].map(|key| result[key].clone());
        let warned = said.contains("that the model was trained on");
        assert_eq!(warned, result["trained_on"] != 0, "{said}");
        (figures, said)
    };
    let figures = |part: &str, images: usize, trained_on: usize| {
        [Value::from(part), images.into(), trained_on.into()]
    };
    let (best, said) = measure(&data, &[]);
    assert_eq!(best, figures("test", 6, 0));
    assert!(said.contains("measured on test/: 6 photos"), "{said}");
    assert_eq!(measure(&data, &["--split", "val"]).0, figures("val", 4, 0));
    assert_eq!(
        measure(&data, &["--split", "train"]).0,
        figures("train", 12, 12)
    );
    let all = [Value::Null, 22.into(), 12.into()];
    assert_eq!(measure(&data, &["--split", "all"]).0, all);
    let undivided = [Value::Null, 12.into(), 12.into()];
    assert_eq!(measure(&data.join("train"), &[]).0, undivided);

    let val = data.join("val");
    let part = ["evaluate", model, text(&val), "--split", "val"];
    shell.fails(&part, 2, &["no val/", "not divided"]);
    std::fs::remove_dir_all(data.join("train")).unwrap();
    std::fs::remove_dir_all(data.join("test")).unwrap();
    assert_eq!(measure(&data, &[]).0, figures("val", 4, 0));
    let part = ["evaluate", model, text(&data), "--split", "test"];
    shell.fails(&part, 2, &["no test/", "val/"]);
}

#[test]
fn tables_show_the_classes_that_were_measured_and_wordnet_ids_name_them() {
    let shell = Shell::new();
    let panda = root().join("assets/photos/animal/panda.webp");
    let data = shell.path("data");
    for (class, name) in [
        ("n02510455", "no extension"),
        ("n02123045-tabby", "cat.webp"),
    ] {
        std::fs::create_dir_all(data.join(class)).unwrap();
        copy(&panda, &data.join(class).join(name));
    }
    let output = shell.run(&["evaluate", "squeezenet1_1", text(&data)]);
    assert!(output.status.success(), "{}", stderr(&output));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        table.contains("giant panda") && table.contains("tabby"),
        "{table}"
    );
    assert!(table.contains("accuracy 50.0 % on 2 photos"), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");
    let figures = shell.json(&["evaluate", "squeezenet1_1", text(&data), "--json"]);
    assert_eq!(
        figures[0]["classes"],
        serde_json::json!(["tabby", "giant panda"])
    );
    let rows = serde_json::json!([[0, 1], [0, 1]]);
    assert_eq!(figures[0]["report"]["confusion"]["rows"], rows);
    assert!(figures[0]["report"]["per_class"][0]["precision"].is_null());
}

#[test]
fn one_photo_a_class_measures_nothing_and_says_so() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 1);
    let output = shell.run(&["train", text(&data), "--model", "squeezenet1_1"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        table.contains("accuracy –: nothing was held back"),
        "{table}"
    );
    assert!(
        stderr(&output).contains("nothing is held back"),
        "{}",
        stderr(&output)
    );
    let run = std::fs::read_dir(shell.path("runs")).unwrap().next();
    let run = run.unwrap().unwrap().path();
    let read = |file: &str| std::fs::read_to_string(run.join(file)).unwrap();
    let manifest: Value = serde_json::from_str(&read("manifest.json")).unwrap();
    assert!(
        manifest["result"]["accuracy"].is_null() && manifest["result"]["measured_on"].is_null()
    );
    assert!(manifest["report"]["per_class"][0]["recall"].is_null());
    for said in [
        &table,
        &stderr(&output),
        &read("report.html"),
        &read("manifest.json"),
    ] {
        assert!(!said.contains("NaN"), "{said}");
    }
    let gate = [
        "train",
        text(&data),
        "--model",
        "squeezenet1_1",
        "--min-accuracy",
        "0.1",
    ];
    shell.fails(&gate, 1, &["nothing was measured"]);
}

#[test]
fn folds_that_cannot_be_made_are_refused_before_any_photo_is_read() {
    let shell = Shell::new();
    let refuse = |data: &Path, folds: &str, words: &[&str]| {
        let arguments = [
            "train",
            text(data),
            "--model",
            "squeezenet1_1",
            "--folds",
            folds,
        ];
        shell.fails(&arguments, 2, words);
        assert!(!stderr(&shell.run(&arguments)).contains("features"));
        assert!(!shell.path("runs").exists(), "nothing is left behind");
    };
    refuse(
        &shell.two_classes("six", 6),
        "20",
        &["--folds 20", "12 photos", "help:"],
    );
    let one = shell.two_classes("one", 1);
    refuse(&one, "2", &["two classes", "help:"]);
    // Every photo twice: still one a class.
    for class in ["fish", "windmill"] {
        let photo = photos_of(class).remove(0);
        copy(&photo, &one.join(class).join("again.webp"));
    }
    let words = [
        "--folds 2: no class has two photos that do not belong together",
        "help: copies",
    ];
    refuse(&one, "2", &words);
}

#[test]
#[cfg(unix)]
fn links_in_a_circle_are_walked_once_by_every_command() {
    use std::os::unix::fs::symlink;
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    for place in ["itself", "fish/root", "fish/again", "windmill/root"] {
        symlink(&data, data.join(place)).unwrap();
    }
    symlink(data.join("fish"), data.join("windmill/fish")).unwrap();
    symlink(data.join("windmill"), data.join("fish/windmill")).unwrap();
    let answers = shell.json(&["predict", "squeezenet1_1", text(&data), "--json"]);
    let paths: HashSet<_> = answers
        .iter()
        .map(|answer| answer["path"].to_string())
        .collect();
    assert_eq!((answers.len(), paths.len()), (4, 4));

    // What lies in a circle is counted elsewhere, so nothing is skipped; what several arguments name is answered
    // once, in the order in which it is named first; an empty folder among photos is skipped like a file.
    let empty = shell.path("empty");
    std::fs::create_dir_all(&empty).unwrap();
    let mut photos: Vec<PathBuf> = std::fs::read_dir(data.join("fish"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    photos.sort();
    let named = [text(&photos[1]), "data/fish", text(&data), "empty"];
    let predict = ["predict", "squeezenet1_1", "--json", "--top", "1"];
    let answers = shell.json(&[&predict[..], &named].concat());
    assert_eq!(answers.len(), 5);
    assert_eq!(answers[0]["path"], text(&photos[1]));
    assert!(
        answers[1]["path"]
            .as_str()
            .unwrap()
            .starts_with("data/fish/")
    );
    assert_eq!(answers[4]["path"], "empty");
    assert_eq!(answers[4]["skipped"]["kind"], "no_photos");
    assert!(
        shell
            .run(&[&predict[..], &named[..3], &["--strict"]].concat())
            .status
            .success()
    );
    let words = ["there are no photos in empty", "TIFF and PNM files"];
    shell.fails(&["predict", "squeezenet1_1", "empty"], 3, &words);
    std::fs::remove_file(data.join("windmill/fish")).unwrap();
    std::fs::remove_file(data.join("fish/windmill")).unwrap();
    let result = shell.json(&["train", text(&data), "--model", "squeezenet1_1", "--json"]);
    assert_eq!(result[0]["images"], 4);
    let figures = shell.json(&[
        "evaluate",
        result[0]["model"].as_str().unwrap(),
        "data",
        "--json",
    ]);
    assert_eq!(figures[0]["images"], 4);
}

#[test]
#[cfg(unix)]
fn what_is_skipped_is_said_and_counted_alike_by_every_command() {
    use std::os::unix::fs::symlink;
    let shell = Shell::new();
    let data = shell.two_classes("data", 3);
    std::fs::write(data.join("fish/empty.jpg"), b"").unwrap();
    let whole = std::fs::read(&photos_of("fish")[0]).unwrap();
    std::fs::write(data.join("fish/cut.webp"), &whole[..whole.len() / 2]).unwrap();
    symlink("gone.jpg", data.join("windmill/gone.jpg")).unwrap();
    symlink(&data, data.join("windmill/all")).unwrap();
    let said = |arguments: &[&str]| {
        let output = shell.run(arguments);
        let said = stderr(&output);
        assert!(output.status.success(), "{arguments:?}\n{said}");
        assert!(said.contains(": 6 read, 3 skipped"), "{said}");
        assert!(!said.contains("named like"), "{said}");
        for (place, reason) in [
            ("fish/empty.jpg", "the file is empty"),
            (
                "fish/cut.webp",
                "the file is cut off: the picture ends early",
            ),
            (
                "windmill/gone.jpg",
                "the link leads nowhere, or in a circle",
            ),
        ] {
            let lines = said.lines().filter(|line| {
                line.starts_with("warning: skipped ")
                    && line.ends_with(&format!("{place}: {reason}"))
            });
            assert_eq!(lines.count(), 1, "{arguments:?} {place}\n{said}");
        }
        let values = String::from_utf8(output.stdout).unwrap();
        let values = values
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        values.collect::<Vec<Value>>()
    };
    let run = &said(&["train", "data", "--model", "squeezenet1_1", "--json"])[0];
    assert_eq!(run["skipped"], 3);
    let model = run["model"].as_str().unwrap();
    assert_eq!(
        said(&["evaluate", model, "data", "--json"])[0]["skipped"],
        3
    );
    let manifest = shell
        .path(run["run"].as_str().unwrap())
        .join("manifest.json");
    let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    let listed = &manifest["data"]["skipped"];
    let answers = said(&["predict", model, "data", "--json"]);
    for (place, kind) in [
        ("fish/cut.webp", "truncated"),
        ("windmill/gone.jpg", "bad_link"),
    ] {
        let mut listed = listed.as_array().unwrap().iter();
        let listed = listed.find(|one| one["path"] == place).unwrap();
        let mut answers = answers.iter();
        let answer = answers
            .find(|one| one["path"] == format!("data/{place}"))
            .unwrap();
        let why = &answer["skipped"];
        assert_eq!(
            (&why["kind"], &why["reason"]),
            (&listed["kind"], &listed["reason"])
        );
        assert_eq!(why["kind"], kind);
        assert!(answer["top"].is_null());
    }
    for command in ["train", "predict"] {
        let strict: &[&str] = match command {
            "train" => &["train", "data", "--model", "squeezenet1_1", "--strict"],
            _ => &["predict", "squeezenet1_1", "data", "--strict"],
        };
        shell.fails(strict, 3, &["cannot be used", "link", "--strict"]);
    }
}

#[test]
fn a_folder_that_vanishes_is_said_in_a_sentence() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 14);
    let child = shell
        .command(&["train", text(&data), "--model", "squeezenet1_1"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The folder has been listed when the run folder appears, and no photo has been read yet.
    while !shell.path("runs").is_dir() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    std::fs::remove_dir_all(&data).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("no such folder"),
        "{}",
        stderr(&output)
    );
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}

#[test]
fn a_class_that_the_model_does_not_know_is_told_with_those_it_knows() {
    let shell = Shell::new();
    for class in ["goldfish", "no such thing"] {
        let folder = shell.path("divided/val").join(class);
        std::fs::create_dir_all(&folder).unwrap();
        copy(&photos_of("fish")[0], &folder.join("photo.webp"));
    }
    let arguments = ["evaluate", "squeezenet1_1", "divided"];
    shell.fails(
        &arguments,
        3,
        &["no class 'no such thing'", "it knows tench"],
    );
}
