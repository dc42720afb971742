//! The command line end to end, as a new user runs it: in an empty folder, with the bundled weights.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rekindle_core::weights::{StorageDtype, WeightFile, state_dict, write_safetensors};
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

/// The head's weights in a run's model file.
fn head_of(shell: &Shell, result: &Value) -> Vec<f32> {
    let model = shell.path(result["model"].as_str().unwrap());
    let bytes = std::fs::read(model).unwrap();
    let file = rekindle_core::weights::WeightFile::parse(&bytes).unwrap();
    let head = file.tensors().get("classifier.1.weight").unwrap();
    head.to_f32().unwrap()
}

#[test]
fn views_follow_from_the_photos_content_not_from_its_name_or_place() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 4);
    let renamed = shell.path("renamed");
    for class in ["fish", "windmill"] {
        std::fs::create_dir_all(renamed.join(class)).unwrap();
        // In the opposite order, behind one another.
        for (number, photo) in photos_of(class).into_iter().take(4).enumerate() {
            let name = format!("{}.webp", 9 - number);
            copy(&photo, &renamed.join(class).join(name));
        }
    }
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
        head_of(&shell, &shell.json(&[&plain[..], more].concat())[0])
    };
    let far = |a: &[f32], b: &[f32]| rekindle_tests::relative_error(a, b);
    let views = head(&data, &["--views", "1"]);
    // The same views, summed in another order.
    assert!(far(&views, &head(&renamed, &["--views", "1"])) < 1e-2);
    // One view is one augmented view.
    assert!(far(&views, &head(&data, &[])) > 0.1);
    assert!(far(&views, &head(&data, &["--views", "1", "--seed", "1"])) > 0.1);
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
fn a_network_answers_by_name_with_its_own_classes() {
    let shell = Shell::new();
    let panda = root().join("assets/photos/animal/panda.webp");
    let answers = shell.json(&[
        "predict",
        "squeezenet1_1",
        text(&panda),
        "--json",
        "--top",
        "3",
    ]);
    assert_eq!(answers[0]["top"].as_array().unwrap().len(), 3);
    assert!(answers[0]["top"][0]["index"].is_u64());
}

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

#[test]
fn two_images_in_a_class_are_enough_and_warned_about() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let output = shell.run(&["train", text(&data), "--model", "squeezenet1_1", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("warning:"), "{}", stderr(&output));
}

#[test]
fn a_wrong_weight_file_is_named_with_what_does_not_fit() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let weights = root().join("assets/weights/squeezenet1_1.safetensors");
    let other = [
        "train",
        text(&data),
        "--model",
        "resnet18",
        "--weights",
        text(&weights),
    ];
    shell.fails(&other, 3, &["resnet18", "missing", "unexpected"]);

    let page = shell.path("weights.pth");
    std::fs::write(&page, "<html>sign in</html>").unwrap();
    shell.fails(
        &["train", text(&data), "--weights", text(&page)],
        3,
        &["HTML"],
    );
    // Weights that do not say which network they belong to are no model.
    let plain = root().join("core/tests/fixtures/weights/block_zip.pth");
    let arguments = ["predict", text(&plain), text(&data)];
    shell.fails(&arguments, 3, &["no model file", "--weights"]);
}

/// The bundled SqueezeNet's tensors, each as `change` makes it, in a file of the shell's folder.
fn changed_squeezenet(
    shell: &Shell,
    name: &str,
    metadata: bool,
    change: impl Fn(&str, Vec<f32>) -> Vec<(String, Vec<f32>)>,
) -> PathBuf {
    let bytes = std::fs::read(root().join("assets/weights/squeezenet1_1.safetensors")).unwrap();
    let file = WeightFile::parse(&bytes).unwrap();
    let changed = file.tensors().iter().flat_map(|(name, view)| {
        let tensors = change(name, view.to_f32().unwrap());
        let shape = |values: &[f32]| match values.len() == view.len() {
            true => view.shape().to_vec(),
            // Another number of classes.
            false => {
                let row: usize = view.shape()[1..].iter().product();
                [&[values.len() / row], &view.shape()[1..]].concat()
            }
        };
        let tensors = tensors.into_iter();
        let tensors = tensors.map(|(name, values)| (name, (shape(&values), values.into())));
        tensors.collect::<Vec<_>>()
    });
    let changed = changed.collect();
    let card = if metadata {
        file.metadata().clone()
    } else {
        Default::default()
    };
    let written = write_safetensors(&state_dict([&changed]), &card, StorageDtype::F32);
    let path = shell.path(name);
    std::fs::write(&path, written.unwrap()).unwrap();
    path
}

#[test]
fn nan_in_weights_is_refused_by_every_command_that_opens_them() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let photo = photos_of("fish").remove(0);
    let tensor = "features.12.expand3x3.weight";
    for (file, number, word) in [
        ("nan.safetensors", f32::NAN, "NaN"),
        ("infinity.safetensors", f32::INFINITY, "infinity"),
    ] {
        let path = changed_squeezenet(&shell, file, true, |name, mut values| {
            if name == tensor {
                values[1234] = number;
            }
            vec![(name.to_owned(), values)]
        });
        let (file, data, photo) = (text(&path), text(&data), text(&photo));
        let by_name = ["--model", "squeezenet1_1", "--weights", file];
        for arguments in [
            vec!["predict", file, photo],
            vec!["predict", "squeezenet1_1", photo, "--weights", file],
            [&["train", data][..], &by_name].concat(),
            vec!["evaluate", file, data],
            vec!["export", file, "--onnx"],
            vec!["compare", file],
            vec!["compare", file, "--no-measure"],
            vec!["summary", file],
        ] {
            shell.fails(&arguments, 3, &[tensor, word, "element 1234 of", "help:"]);
        }
        assert!(!shell.path("squeezenet1_1.onnx").exists());
    }
}

#[test]
fn other_peoples_checkpoints_answer_as_the_network_in_them() {
    let shell = Shell::new();
    let photo = photos_of("windmill").remove(0);
    let answer = |weights: &str| {
        let mut arguments = vec!["predict", "squeezenet1_1", text(&photo), "--json"];
        if !weights.is_empty() {
            arguments.extend(["--weights", weights]);
        }
        let output = shell.run(&arguments);
        assert!(output.status.success(), "{weights}: {}", stderr(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (answer["top"].clone(), stderr(&output))
    };
    let (truth, _) = answer("");

    // A wrapped network beside a running average of itself, and a loss.
    let both = changed_squeezenet(&shell, "both.safetensors", false, |name, values| {
        let average = values.iter().map(|value| 0.5 * value).collect();
        let mut tensors = vec![
            (format!("module.model.{name}"), values),
            (format!("ema.{name}"), average),
        ];
        if name == "classifier.1.bias" {
            tensors.push(("criterion.weight".to_owned(), vec![1.0; 1000]));
        }
        tensors
    });
    let both = text(&both);
    let (found, said) = answer(both);
    assert_eq!(found, truth);
    assert!(
        said.contains(&format!("--weights {both}#ema` takes them")),
        "{said}"
    );
    assert!(said.contains("left aside"), "{said}");
    assert_eq!(answer(&format!("{both}#module.model")).0, truth);
    let (averaged, said) = answer(&format!("{both}#ema"));
    assert_ne!(averaged, truth);
    assert!(said.contains("averages over their training"), "{said}");

    let nowhere = format!("{both}#swa");
    let arguments = [
        "predict",
        "squeezenet1_1",
        text(&photo),
        "--weights",
        &nowhere,
    ];
    shell.fails(
        &arguments,
        3,
        &["no tensors under `swa`", "`ema`", "`module`", "help:"],
    );
    let nothing = format!("{both}#");
    let arguments = [
        "predict",
        "squeezenet1_1",
        text(&photo),
        "--weights",
        &nothing,
    ];
    shell.fails(&arguments, 2, &["nothing stands behind the #"]);
}

#[test]
fn a_checkpoint_with_another_head_is_a_start_for_training_and_no_answer() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 3);
    let photo = photos_of("fish").remove(0);
    let seven = changed_squeezenet(&shell, "seven.safetensors", false, |name, values| {
        let row = values.len() / 1000;
        let values = match name.starts_with("classifier") {
            true => values[..7 * row].to_vec(),
            false => values,
        };
        vec![(format!("model.{name}"), values)]
    });
    let headless = changed_squeezenet(&shell, "none.safetensors", false, |name, values| {
        let is_head = name.starts_with("classifier");
        if is_head {
            vec![]
        } else {
            vec![(name.to_owned(), values)]
        }
    });
    let accuracy = |weights: &[&str]| {
        let mut arguments = vec!["train", text(&data), "--model", "squeezenet1_1", "--json"];
        arguments.extend(["--folds", "3"]);
        let result = shell.json(&[&arguments[..], weights].concat());
        let result = result.last().unwrap();
        (result["loss"].clone(), result["cv_accuracy"].clone())
    };
    let truth = accuracy(&["--name", "plain"]);
    for (name, path, words) in [
        ("seven", &seven, "a head for 7 classes"),
        ("none", &headless, "without its classifier"),
    ] {
        assert_eq!(accuracy(&["--name", name, "--weights", text(path)]), truth);
        let arguments = [
            "predict",
            "squeezenet1_1",
            text(&photo),
            "--weights",
            text(path),
        ];
        shell.fails(&arguments, 3, &[words, "rekindle train"]);
    }
    // A model of ours is a start too, and answers with its own classes.
    let model = shell.path("runs/plain/model.safetensors");
    assert_eq!(
        accuracy(&["--name", "again", "--weights", text(&model)]),
        truth
    );
    let arguments = [
        "predict",
        "squeezenet1_1",
        text(&photo),
        "--json",
        "--weights",
        text(&model),
    ];
    assert_eq!(shell.json(&arguments)[0]["top"][0]["class"], "fish");
}

#[test]
fn files_of_other_programs_are_called_by_their_names() {
    let shell = Shell::new();
    let photo = photos_of("fish").remove(0);
    let folder = root().join("core/tests/fixtures/weights/foreign");
    for (file, words) in [
        ("model.onnx", "an ONNX model"),
        ("model.h5", "a Keras file"),
        ("model.gguf", "a GGUF file"),
        ("model.tflite", "a TensorFlow Lite model"),
        ("saved_model.pb", "a TensorFlow SavedModel"),
    ] {
        let path = folder.join(file);
        let arguments = [
            "predict",
            "squeezenet1_1",
            text(&photo),
            "--weights",
            text(&path),
        ];
        shell.fails(&arguments, 3, &[words, "help:"]);
        shell.fails(
            &["predict", text(&path), text(&photo)],
            3,
            &[words, "help:"],
        );
    }
    // A SavedModel is a folder, and the numbers of a checkpoint have nothing but their name.
    std::fs::create_dir(shell.path("saved")).unwrap();
    copy(
        &folder.join("saved_model.pb"),
        &shell.path("saved/saved_model.pb"),
    );
    std::fs::write(shell.path("m.ckpt.data-00000-of-00001"), [7; 64]).unwrap();
    for (weights, words) in [
        ("saved", "a TensorFlow SavedModel"),
        ("m.ckpt.data-00000-of-00001", "a TensorFlow checkpoint"),
    ] {
        let arguments = [
            "predict",
            "squeezenet1_1",
            text(&photo),
            "--weights",
            weights,
        ];
        shell.fails(&arguments, 3, &[words, "help:"]);
    }
}

#[test]
fn weights_that_are_not_here_say_which_file_to_put_where() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let arguments = ["train", text(&data), "--model", "resnet18", "--offline"];
    shell.fails(&arguments, 5, &["resnet18-f37072fd.pth", "help:"]);
}

#[test]
#[cfg(unix)]
fn a_read_only_output_folder_is_found_out_before_the_work() {
    use std::os::unix::fs::PermissionsExt as _;
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    // A file where the folder should be stops even the superuser, whom permissions do not.
    std::fs::write(shell.path("occupied"), b"").unwrap();
    let out = [
        "train",
        text(&data),
        "--model",
        "squeezenet1_1",
        "--out",
        "occupied",
    ];
    shell.fails(&out, 5, &["occupied", "help:"]);

    let locked = shell.path("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(locked.join("probe"), b"").is_err() {
        let out = [
            "train",
            text(&data),
            "--model",
            "squeezenet1_1",
            "--out",
            "locked",
        ];
        shell.fails(&out, 5, &["locked", "help:"]);
    }
}

#[test]
fn nonsense_on_the_command_line_is_a_usage_error() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    shell.fails(
        &["train", text(&data), "--model", "resnet19"],
        2,
        &["resnet18"],
    );
    shell.fails(&["train", text(&data), "--split", "1.5"], 2, &["--split"]);
    shell.fails(&["train", text(&data), "--device", "cuda"], 2, &["cuda"]);
    shell.fails(&["train"], 2, &["Usage"]);
}

/// The whole table is in `native/src/options.rs`; here is what depends on files and networks, and the way out.
#[test]
fn options_that_do_not_apply_are_usage_errors_that_say_what_they_belong_to() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let file = root().join("assets/weights/squeezenet1_1.safetensors");
    let photo = photos_of("fish").remove(0);
    std::fs::create_dir_all(shell.path("parts/train")).unwrap();
    std::fs::rename(data.join("fish"), shell.path("parts/train/fish")).unwrap();
    std::fs::create_dir_all(shell.path("parts/val/fish")).unwrap();
    copy(
        &photos_of("fish")[5],
        &shell.path("parts/val/fish/other.webp"),
    );
    std::fs::rename(data.join("windmill"), shell.path("parts/train/windmill")).unwrap();
    let cases: [(&[&str], &[&str]); 13] = [
        (
            &["train", "data", "--precision", "half"],
            &["--precision", "predict"],
        ),
        (
            &["--precision", "full", "train", "data"],
            &["--precision", "predict"],
        ),
        (
            &["train", "data", "--epochs", "3"],
            &["--epochs", "--head mlp"],
        ),
        (&["train", "data", "--lr", "0.1"], &["--lr", "--head mlp"]),
        (
            &["train", "data", "--head", "mlp", "--c", "1"],
            &["--c", "--head linear"],
        ),
        (&["train", "parts", "--split", "0.3"], &["--split", "val/"]),
        (
            &["train", "parts", "-m", "resnet18", "--bare"],
            &["--bare", "VGG"],
        ),
        (
            &["train", "parts", "-m", "vgg11", "--small-stem"],
            &["--small-stem", "ResNet"],
        ),
        (&["summary", "resnet18", "--bare"], &["--bare", "VGG"]),
        (
            &["predict", text(&file), text(&photo), "--weights", "random"],
            &["--weights", "file"],
        ),
        (
            &["predict", "squeezenet1_1", "parts", "--top", "0"],
            &["--top"],
        ),
        (
            &["evaluate", "squeezenet1_1", "parts", "--min-accuracy", "90"],
            &["--min-accuracy", "0.9"],
        ),
        (
            &["train", "parts", "--views", "100000"],
            &["--views", "1000"],
        ),
    ];
    for (arguments, words) in cases {
        shell.fails(arguments, 2, words);
    }
    let left = std::fs::read_dir(shell.path("runs")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing was begun");
    // Where it applies, it is obeyed: no processor computes in 16 bits.
    let compare = [
        "compare",
        "squeezenet1_1",
        "--device",
        "cpu",
        "--precision",
        "half",
    ];
    shell.fails(&compare, 4, &["half-precision"]);
}

#[test]
fn the_number_of_pixels_is_bounded_where_photos_are_read_and_nowhere_else() {
    let shell = Shell::new();
    let photo = photos()[0].clone();
    let predict = ["predict", "squeezenet1_1", text(&photo), "--max-pixels"];
    let words = ["at most 1000 pixels", "--max-pixels"];
    shell.fails(&[&predict[..], &["1000"]].concat(), 3, &words);
    let answers = shell.json(&[&predict[..], &["1M", "--json"]].concat());
    assert!(answers[0]["top"].is_array(), "{answers:?}");
    let data = shell.two_classes("data", 2);
    let train = ["train", text(&data), "--model", "squeezenet1_1"];
    let strict = ["--strict", "--max-pixels", "1000"];
    shell.fails(&[&train[..], &strict].concat(), 3, &["at most 1000 pixels"]);
    shell.fails(
        &["summary", "resnet18", "--max-pixels", "9"],
        2,
        &["--max-pixels"],
    );
    for nonsense in ["0", "many", "1.5", "99999999999999999999"] {
        shell.fails(&[&predict[..], &[nonsense]].concat(), 2, &["pixels"]);
    }
    // 60 000 × 60 000 pixels from a header: refused by the memory they would take, and named.
    let bomb = root().join("photos/tests/fixtures/bomb.ppm");
    let words = ["60000×60000", "GiB of memory", "--max-pixels"];
    shell.fails(&["predict", "squeezenet1_1", text(&bomb)], 3, &words);
    // Allowed, it is found to be too short before that memory is taken.
    let allowed = [
        "predict",
        "squeezenet1_1",
        text(&bomb),
        "--max-pixels",
        "3600M",
    ];
    shell.fails(&allowed, 3, &["cut off"]);
}

#[test]
fn pictures_that_are_not_read_are_named_with_what_to_do() {
    let shell = Shell::new();
    let kinds: [(&str, &[u8], &str, &str); 5] = [
        (
            "a.jpg",
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "HEIC",
            "heif-convert",
        ),
        (
            "b.jpg",
            b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
            "AVIF",
            "avifdec",
        ),
        ("c.jpg", b"8BPS\0\x01\0\0\0\0\0\0", "Photoshop", "export"),
        (
            "d.jpg",
            b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
            "video",
            "ffmpeg",
        ),
        ("e.jpg", b"%PDF-1.7\n", "PDF", "pdftoppm"),
    ];
    for (name, content, kind, help) in kinds {
        std::fs::write(shell.path(name), content).unwrap();
        let arguments = ["predict", "squeezenet1_1", name];
        shell.fails(&arguments, 3, &[kind, help]);
    }
}

#[test]
fn the_list_of_models_is_data() {
    let shell = Shell::new();
    let models = shell.json(&["models", "--json"]);
    let models = models[0].as_array().unwrap();
    assert!(models.len() >= 90, "{}", models.len());
    for model in models {
        assert!(model["params"].as_u64().unwrap() > 1_000_000, "{model}");
        assert!(model["macs"].as_u64().unwrap() > 30_000_000, "{model}");
        for key in ["name", "license", "source"] {
            assert!(model[key].is_string(), "{model}");
        }
        let (smallest, own) = (&model["min_input_size"], &model["input_size"]);
        assert!(
            smallest.as_u64().unwrap() <= own.as_u64().unwrap(),
            "{model}"
        );
    }
    let inception = models.iter().find(|model| model["name"] == "inception_v3");
    assert_eq!(inception.unwrap()["input_size"], 299);
    assert_eq!(inception.unwrap()["min_input_size"], 75);
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
    refuse(&shell.two_classes("one", 1), "2", &["two classes", "help:"]);
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
fn completions_and_doctor_answer() {
    let shell = Shell::new();
    let script = shell.run(&["completions", "bash"]);
    assert!(String::from_utf8_lossy(&script.stdout).contains("rekindle"));
    let findings = shell.json(&["doctor", "--json"]);
    assert!(
        findings[0]["auto"]["self_test"].is_object(),
        "{}",
        findings[0]
    );
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

/// The tables of torchsummary that seed 002 prints for VGG-16, line for line.
#[test]
fn summary_prints_what_torchsummary_prints() {
    let shell = Shell::new();
    let vgg16 = ["summary", "vgg16", "--input", "32x32", "--batch", "64"];
    let cases: [(&str, &[&str]); 5] = [
        ("vgg16", &[]),
        ("vgg16_frozen", &["--freeze", "all"]),
        (
            "vgg16_three_classes",
            &["--classes", "3", "--freeze", "backbone"],
        ),
        (
            "vgg16_last_layers",
            &[
                "--classes",
                "3",
                "--freeze",
                "backbone",
                "--unfreeze",
                "classifier.3",
            ],
        ),
        ("vgg16_retrained", &["--classes", "3"]),
    ];
    for (table, more) in cases {
        let path = root().join(format!("tests/goldens/summary/{table}.txt"));
        let expected = std::fs::read_to_string(path).unwrap();
        let arguments: Vec<&str> = vgg16.iter().chain(more).copied().collect();
        let printed = shell.run(&arguments);
        let printed = String::from_utf8(printed.stdout).unwrap();
        assert_eq!(printed.trim_end(), expected.trim_end(), "{table}");
    }
}

#[test]
fn parts_that_a_network_does_not_have_are_named() {
    let shell = Shell::new();
    shell.fails(
        &["summary", "resnet18", "--freeze", "layer9"],
        2,
        &["layer9", "layer4"],
    );
    shell.fails(
        &["summary", "alexnet", "--input", "40"],
        2,
        &["40×40", "at least 63"],
    );
}

#[test]
fn a_drawing_tells_frozen_from_trainable() {
    let shell = Shell::new();
    shell.run(&["diagram", "resnet18", "--freeze", "stem,layer1"]);
    let svg = std::fs::read_to_string(shell.path("resnet18.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches("parameters, frozen").count(), 2);
    assert_eq!(svg.matches("parameters, trains").count(), 4);
}

#[test]
fn networks_are_compared_side_by_side() {
    let shell = Shell::new();
    let arguments = [
        "compare",
        "resnet18",
        "mobilenet_v3_small",
        "--runs",
        "1",
        "--json",
    ];
    let rows = shell.json(&arguments);
    let rows = rows[0].as_array().unwrap();
    assert_eq!(rows[0]["params"], 11_689_512);
    assert_eq!(rows[1]["acc1"], 67.668);
    for row in rows {
        assert_eq!(row["precision"], "full");
        assert!(row["ms_per_image"].as_f64().unwrap() > 0.0, "{row}");
    }
    if cfg!(target_os = "linux") {
        let memory = |row: &Value| row["peak_memory_mb"].as_f64().unwrap();
        assert!(memory(&rows[0]) > memory(&rows[1]), "{rows:?}");
    }
}

/// The three ways of seed 004, another size, a network without its hidden layers: each gives a model
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

#[test]
fn kernels_are_listed_for_any_class_of_adapters_and_always_the_same() {
    let shell = Shell::new();
    let list = |tier: &str| {
        let mut arguments = vec!["doctor", "--kernels", "resnet18", "--tier", tier];
        // Enough photos for large tiles, where there is room for them.
        arguments.extend(["--batch", "32", "--json"]);
        shell.json(&arguments)[0].as_array().unwrap().clone()
    };
    let desktop = list("roomy");
    assert_eq!(desktop, list("roomy"));
    // Twenty convolutions and the classifier, a text for each of their shapes.
    assert_eq!(desktop.len(), 21);
    let first = &desktop[0];
    assert_eq!(first["layer"], "conv1");
    assert!(first["kernel"].as_str().unwrap().starts_with("conv_7x7_s2"));
    assert_eq!(first["workgroup"].as_array().unwrap().len(), 3);
    assert_ne!(list("baseline"), desktop);

    let texts = |rows: &[Value]| -> HashSet<String> {
        rows.iter().map(|row| row["text"].to_string()).collect()
    };
    assert!(texts(&list("software")).len() < texts(&desktop).len());
    let processor = list("cpu");
    assert!(processor.iter().all(|row| row["text"].is_null()));
    shell.fails(&["doctor", "--kernels", "resnet"], 2, &["resnet18"]);
}

#[test]
fn a_benchmark_is_data_too() {
    let shell = Shell::new();
    let mut arguments = vec![
        "--device",
        "cpu",
        "bench",
        "squeezenet1_1",
        "--weights",
        "random",
    ];
    arguments.extend([
        "--batch", "2", "--runs", "2", "--train", "--layers", "--json",
    ]);
    let measured = &shell.json(&arguments)[0];
    let number = |key: &str| measured[key].as_f64().unwrap();
    assert_eq!(measured["model"], "squeezenet1_1");
    assert_eq!((number("batch"), number("runs")), (2.0, 2.0));
    assert!(number("fastest_ms") <= number("median_ms"));
    assert!(number("ms_per_image") > 0.0 && number("images_per_second") > 0.0);
    // A share is a share, also where Winograd's method leaves multiplications out.
    assert!((0.001..=1.0).contains(&number("share_of_peak")));
    assert!(number("executed_gflops") < number("gflops"));
    let share = number("executed_gflops") / number("peak_gflops");
    assert!((share - number("share_of_peak")).abs() < 1e-6);
    assert!(measured["training"]["step_ms"].as_f64().unwrap() > 0.0);
    let layers = measured["layers"].as_array().unwrap();
    assert!(layers.len() > 26);
    assert!(layers.iter().any(|layer| layer["kind"] == "winograd"));

    arguments.extend(["--precision", "half"]);
    shell.fails(&arguments, 4, &["half-precision", "--precision"]);
}
