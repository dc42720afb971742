//! Training: runs, heads, views, what belongs together, gates and interrupts.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Shell, copy, photos_of, stderr, text};

#[test]
fn training_leaves_a_run_that_predicts_evaluates_and_summarises() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    let small = ["--model", "squeezenet1_1", "--folds", "4", "--json"];
    let result = shell.json(&[&["train", text(&data)], &small[..]].concat());
    let result = result.last().unwrap();
    assert_eq!(result["images"], 16);
    assert_eq!(result["skipped"], 0);
    assert!(result["cv_accuracy"].as_f64().unwrap() > 0.8, "{result}");
    assert!(result["train_seconds"].as_f64().unwrap() > 0.0);

    let run = shell.path(result["run"].as_str().unwrap());
    for file in [
        "recipe.toml",
        "manifest.json",
        "metrics.jsonl",
        "model.safetensors",
        "report.html",
    ] {
        assert!(run.join(file).is_file(), "{file} is in the run folder");
    }
    let model = run.join("model.safetensors");

    let photo = photos_of("windmill").pop().unwrap();
    let answers = shell.json(&["predict", text(&model), text(&photo), "--json"]);
    let [answer] = &answers[..] else {
        panic!("one photo, one line")
    };
    assert_eq!(answer["path"], text(&photo));
    assert_eq!(answer["top"][0]["class"], "windmill");
    let sum: f64 = answer["top"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["probability"].as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-5);

    let judged = shell.json(&["evaluate", text(&model), text(&data), "--json"]);
    assert_eq!(judged[0]["images"], 16);
    assert!(judged[0]["accuracy"].as_f64().unwrap() > 0.9);

    let summary = shell.json(&["summary", text(&model), "--json"]);
    assert_eq!(
        summary[0]["card"]["classes"],
        serde_json::json!(["fish", "windmill"])
    );
    let stages = summary[0]["stages"].as_array().unwrap();
    assert_eq!(stages.last().unwrap()["params"], 2 * 513);
}

#[test]
fn the_same_training_twice_gives_the_same_bytes_and_two_folders() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 4);
    let arguments = [
        "train",
        text(&data),
        "--model",
        "squeezenet1_1",
        "--views",
        "1",
        "--name",
        "same",
        "--json",
    ];
    let first = shell.json(&arguments);
    let second = shell.json(&arguments);
    assert_ne!(
        first[0]["run"], second[0]["run"],
        "a run is never overwritten"
    );
    let bytes =
        |result: &Value| std::fs::read(shell.path(result["model"].as_str().unwrap())).unwrap();
    assert!(
        bytes(&first[0]) == bytes(&second[0]),
        "the same seed, the same bytes"
    );
}

/// The head's weights in a run's model file, and the photos that it was trained on.
fn trained(shell: &Shell, result: &Value) -> (Vec<f32>, String) {
    let model = shell.path(result["model"].as_str().unwrap());
    let bytes = std::fs::read(model).unwrap();
    let file = rekindle_core::weights::WeightFile::parse(&bytes).unwrap();
    let weights = file.tensors().iter();
    let weights =
        weights.filter(|(name, _)| name.starts_with("classifier") && name.ends_with("weight"));
    let weights = weights.flat_map(|(_, tensor)| tensor.to_f32().unwrap());
    let card: Value = serde_json::from_str(&file.metadata()["rekindle"]).unwrap();
    (weights.collect(), card["trained_on"].to_string())
}

/// The first photos of each of two classes under other names, in the opposite order.
fn renamed(shell: &Shell, count: usize) -> PathBuf {
    let renamed = shell.path("renamed");
    for class in ["fish", "windmill"] {
        std::fs::create_dir_all(renamed.join(class)).unwrap();
        for (number, photo) in photos_of(class).into_iter().take(count).enumerate() {
            let name = format!("{}.webp", 99 - number);
            copy(&photo, &renamed.join(class).join(name));
        }
    }
    renamed
}

#[test]
fn views_follow_from_the_photos_content_not_from_its_name_or_place() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 4);
    let renamed = renamed(&shell, 4);
    // With folds all photos train, whatever their order.
    let head = |data: &Path, more: &[&str]| {
        let plain = [
            "train",
            text(data),
            "--model",
            "squeezenet1_1",
            "--folds",
            "2",
            "--json",
        ];
        trained(&shell, &shell.json(&[&plain[..], more].concat())[0]).0
    };
    let far = |a: &[f32], b: &[f32]| rekindle_tests::relative_error(a, b);
    let views = head(&data, &["--views", "1"]);
    assert!(far(&views, &head(&renamed, &["--views", "1"])) < 1e-5);
    // One view is one augmented view.
    assert!(far(&views, &head(&data, &[])) > 0.1);
    assert!(far(&views, &head(&data, &["--views", "1", "--seed", "1"])) > 0.1);
}

#[test]
fn what_is_held_out_and_what_is_learnt_follow_from_the_photos_content_not_from_their_names() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 7);
    let renamed = renamed(&shell, 7);
    let mlp = [
        "--head", "mlp", "--epochs", "3", "--batch", "4", "--hidden", "16",
    ];
    let run = |data: &Path, more: &[&str]| {
        let plain = ["train", text(data), "--model", "squeezenet1_1", "--json"];
        let result = shell.json(&[&plain[..], more].concat()).remove(0);
        let (weights, photos) = trained(&shell, &result);
        (weights, photos, result["accuracy"].clone())
    };
    for more in [&["--split", "0.4"][..], &mlp] {
        let (here, there) = (run(&data, more), run(&renamed, more));
        assert_eq!(here.1, there.1, "the same photos are learnt from");
        assert_eq!(here.2, there.2, "the same accuracy");
        let far = rekindle_tests::relative_error(&here.0, &there.0);
        assert!(far < 1e-5, "{more:?}: {far}");
    }
    // Another seed draws others.
    let seeded = ["--split", "0.4", "--seed", "1"];
    assert_ne!(run(&data, &seeded).1, run(&data, &["--split", "0.4"]).1);
}

/// A photo as somebody saved it again: smaller, as a JPEG.
fn saved_again(photo: &Path, to: &Path) {
    let picture = image::open(photo).unwrap().to_rgb8();
    let (width, height) = (picture.width() * 2 / 3, picture.height() * 2 / 3);
    let small = image::imageops::thumbnail(&picture, width, height);
    let jpeg = libjpeg_turbo_rs::compress(
        &small,
        width as usize,
        height as usize,
        libjpeg_turbo_rs::PixelFormat::Rgb,
        80,
        libjpeg_turbo_rs::Subsampling::S420,
    );
    std::fs::write(to, jpeg.unwrap()).unwrap();
}

/// A photo as a camera takes it several times: the hand moves a little.
fn burst(photo: &Path, folder: &Path, frames: u32) {
    let picture = image::open(photo).unwrap().to_rgb8();
    let (width, height) = picture.dimensions();
    for frame in 0..frames {
        let (left, top) = (width * frame / 150, height * (frame % 3) / 100);
        let size = [width * 9 / 10, height * 9 / 10];
        let view = image::imageops::crop_imm(&picture, left, top, size[0], size[1]).to_image();
        view.save(folder.join(format!("burst_{frame:03}.png")))
            .unwrap();
    }
}

#[test]
fn copies_near_copies_and_bursts_stay_on_one_side_and_are_counted() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    let train = ["train", text(&data), "--model", "squeezenet1_1", "--json"];
    let groups = |more: &[&str]| {
        let output = shell.run(&[&train[..], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        (result, stderr(&output))
    };
    // Photos that have nothing to do with one another.
    assert_eq!(groups(&[]).0["groups"]["groups"], 0);

    let fish = photos_of("fish");
    copy(&fish[0], &data.join("fish/again.webp"));
    saved_again(&fish[1], &data.join("fish/smaller.jpg"));
    burst(&fish[20], &data.join("fish"), 6);
    let (result, said) = groups(&["--folds", "4"]);
    let found = &result["groups"];
    assert_eq!(
        (&found["groups"], &found["photos"]),
        (&3.into(), &10.into()),
        "{found}"
    );
    assert_eq!(
        (&found["copies"], &found["largest"]),
        (&1.into(), &6.into()),
        "{found}"
    );
    assert!(
        said.contains("10 photos belong together in 3 groups"),
        "{said}"
    );

    // What a network that was never trained sees tells nothing of likeness.
    let (result, said) = groups(&["--weights", "random"]);
    let found = &result["groups"];
    assert_eq!(
        (&found["groups"], &found["copies"], &found["photos"]),
        (&1.into(), &1.into(), &2.into()),
        "{found}"
    );
    assert!(said.contains("the network was never trained"), "{said}");

    // The same picture under two names is said, and stays on one side all the same.
    saved_again(&fish[1], &data.join("windmill/no_windmill.jpg"));
    let (_, said) = groups(&[]);
    assert!(
        said.contains("of another class: windmill/no_windmill.jpg is like fish/"),
        "{said}"
    );
    std::fs::remove_file(data.join("windmill/no_windmill.jpg")).unwrap();

    // A class that is one recording cannot be measured.
    for entry in std::fs::read_dir(data.join("fish")).unwrap() {
        let path = entry.unwrap().path();
        if !path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("burst")
        {
            std::fs::remove_file(path).unwrap();
        }
    }
    let (result, said) = groups(&["--folds", "4"]);
    assert!(said.contains("class `fish` belong together"), "{said}");
    assert_eq!(result["trained_on"], 14);
    shell.fails(
        &[&train[..], &["--folds", "9"]].concat(),
        3,
        &["9 folds for 8", "help"],
    );

    // The folder's own parts stand; that one photo is in both is said.
    for part in ["train", "val"] {
        for class in ["fish", "windmill"] {
            let folder = shell.path("parts").join(part).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            let from = if part == "train" { 0 } else { 4 };
            for photo in &photos_of(class)[from..from + 4] {
                copy(photo, &folder.join(photo.file_name().unwrap()));
            }
        }
    }
    saved_again(&fish[0], &shell.path("parts/val/fish/again.jpg"));
    let output = shell.run(&["train", "parts", "--model", "squeezenet1_1", "--json"]);
    let said = stderr(&output);
    assert!(
        said.contains("1 photo looks the same as photos of another part"),
        "{said}"
    );
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["trained_on"], 8);
}

#[test]
fn a_two_layer_head_trains_and_predicts() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 8);
    let result = shell.json(&[
        "train",
        text(&data),
        "--model",
        "squeezenet1_1",
        "--head",
        "mlp",
        "--epochs",
        "10",
        "--hidden",
        "64",
        "--json",
    ]);
    assert_eq!(result[0]["head"], "mlp");
    let judged = shell.json(&[
        "evaluate",
        result[0]["model"].as_str().unwrap(),
        text(&data),
        "--json",
    ]);
    assert!(
        judged[0]["accuracy"].as_f64().unwrap() > 0.8,
        "{}",
        judged[0]["accuracy"]
    );
}

#[test]
fn two_images_in_a_class_are_enough_and_warned_about() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let output = shell.run(&["train", text(&data), "--model", "squeezenet1_1", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("warning:"), "{}", stderr(&output));
}

#[test]
fn a_gate_that_is_missed_ends_with_one() {
    // What is held back bears the other class's name.
    let shell = Shell::new();
    let learnt = shell.two_classes("data/train", 4);
    for (class, photos) in [("fish", "windmill"), ("windmill", "fish")] {
        let folder = shell.path("data/val").join(class);
        std::fs::create_dir_all(&folder).unwrap();
        copy(&photos_of(photos)[5], &folder.join("other.webp"));
    }
    let data = learnt.parent().unwrap();
    let arguments = [
        "train",
        text(data),
        "--model",
        "squeezenet1_1",
        "--min-accuracy",
        "0.9",
    ];
    shell.fails(&arguments, 1, &["--min-accuracy"]);
}

#[test]
#[cfg(unix)]
fn an_interrupt_stops_in_order_and_leaves_no_half_run() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 14);
    let child = shell
        .command(&[
            "train",
            text(&data),
            "--model",
            "efficientnet_lite0",
            "--views",
            "20",
        ])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The run folder is made after the signal handler is in place and before the long work.
    while !shell.path("runs").is_dir() {
        std::thread::sleep(std::time::Duration::from_millis(20));
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
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let left = std::fs::read_dir(shell.path("runs")).unwrap().count();
    assert_eq!(left, 0, "an empty run folder is taken back");
}

/// The three ways to take grey pictures, another size, a network without its hidden layers: each gives a model
/// that predicts after it was saved.
#[test]
fn grey_pictures_other_sizes_and_bare_networks_are_learnt_from() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 6);
    let photo = photos_of("fish").remove(0);
    let cases: [&[&str]; 5] = [
        &["squeezenet1_1", "--grey", "repeat"],
        &["squeezenet1_1", "--grey", "mean"],
        &["squeezenet1_1", "--grey", "luminance"],
        &["squeezenet1_1", "--grey", "adapter"],
        &["squeezenet1_1", "--input", "96"],
    ];
    for (index, case) in cases.into_iter().enumerate() {
        let name = format!("run{index}");
        let train = ["train", text(&data), "--json", "--name", &name, "--model"];
        let result = shell.json(&[&train[..], case].concat());
        assert!(result.last().unwrap()["run"].is_string(), "{case:?}");
        let model = shell.path(&format!("runs/{name}/model.safetensors"));
        let answer = shell.json(&["predict", text(&model), text(&photo), "--json"]);
        // Photos that it was trained on, or as good as: a network that saw nothing fails.
        assert_eq!(answer[0]["top"][0]["class"], "fish", "{case:?}");
    }
    let bare = [
        "train",
        text(&data),
        "--json",
        "--name",
        "bare",
        "--model",
        "mobilenet_v3_small",
        "--bare",
        "--weights",
        "random",
    ];
    shell.json(&bare);
    let model = shell.path("runs/bare/model.safetensors");
    let summary = shell.json(&["summary", text(&model), "--json"]);
    let last = summary[0]["parameters"].as_array().unwrap().last().unwrap();
    assert_eq!(last["name"], "classifier.bias");
}
