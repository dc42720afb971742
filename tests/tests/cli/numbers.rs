//! Numbers that no network can answer with, cards that contradict their tensors, sizes that no memory holds, and
//! which of several dictionaries is meant.

use std::path::{Path, PathBuf};

use rekindle_core::weights::{StorageDtype, WeightFile, state_dict, write_safetensors};
use rekindle_tests::root;
use serde_json::{Value, json};

use super::weights::changed_squeezenet;
use super::{Shell, copy, photos_of, stderr, text};

/// The bundled SqueezeNet under a card of another wording.
fn with_card(shell: &Shell, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let plain = changed_squeezenet(shell, "plain.safetensors", true, |name, values| {
        vec![(name.to_owned(), values)]
    });
    let bytes = std::fs::read(plain).unwrap();
    let file = WeightFile::parse(&bytes).unwrap();
    let mut metadata = file.metadata().clone();
    let card = metadata.get_mut("rekindle").unwrap();
    let mut said: Value = serde_json::from_str(card).unwrap();
    change(&mut said);
    *card = said.to_string();
    let tensors = file.tensors().iter();
    let tensors = tensors.map(|(name, view)| {
        let values = view.to_f32().unwrap().into();
        (name.clone(), (view.shape().to_vec(), values))
    });
    let tensors = tensors.collect();
    let written = write_safetensors(&state_dict([&tensors]), &metadata, StorageDtype::F32);
    let path = shell.path(name);
    std::fs::write(&path, written.unwrap()).unwrap();
    path
}

/// PyTorch's logits with these weights are infinities and NaN, and its softmax of them NaN.
#[test]
fn a_network_whose_numbers_run_over_has_no_answer() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let photo = photos_of("fish").remove(0);
    for class in ["tench", "goldfish"] {
        let folder = shell.path("imagenet").join(class);
        std::fs::create_dir_all(&folder).unwrap();
        copy(&photo, &folder.join("photo.webp"));
    }
    // In the last layer, so that features are fine, and in the first.
    for (layer, number) in [("classifier.1.weight", 3e38), ("features.0.weight", 3e38)] {
        let large = changed_squeezenet(&shell, "large.safetensors", true, |name, mut values| {
            if name == layer {
                let signs = values.iter().map(|value| number * value.signum());
                values = signs.collect();
            }
            vec![(name.to_owned(), values)]
        });
        let (large, photo, data) = (text(&large), text(&photo), text(&data));
        let words = [
            "squeezenet1_1 has no answer for",
            ".webp",
            "run over",
            "help:",
        ];
        shell.fails(&["predict", large, photo], 3, &words);
        let answer = shell.run(&["predict", large, photo, "--json"]);
        assert!(answer.stdout.is_empty(), "{:?}", answer.stdout);
        shell.fails(&["evaluate", large, "imagenet"], 3, &words);
        shell.fails(&["bench", large, "--runs", "1"], 3, &["run over", "help:"]);
        let compare = ["compare", large, "--runs", "1"];
        shell.fails(&compare, 3, &["cannot measure", "run over", "help:"]);
        if layer.starts_with("features") {
            let mut train = vec!["train", data, "--model", "squeezenet1_1"];
            train.extend(["--weights", large]);
            shell.fails(&train, 3, &words);
            let left = std::fs::read_dir(shell.path("runs")).map_or(0, Iterator::count);
            assert_eq!(left, 0);
        }
    }
}

#[test]
fn whole_numbers_for_a_parameter_are_refused_by_its_name() {
    let shell = Shell::new();
    let photo = photos_of("fish").remove(0);
    let plain = changed_squeezenet(&shell, "plain.safetensors", true, |name, values| {
        vec![(name.to_owned(), values)]
    });
    let mut bytes = std::fs::read(plain).unwrap();
    let find = |bytes: &[u8], words: &[u8]| {
        let mut windows = bytes.windows(words.len());
        windows.position(|window| window == words).unwrap()
    };
    // The same four bytes each, called whole numbers.
    let entry = find(&bytes, b"\"features.0.bias\"");
    let dtype = entry + find(&bytes[entry..], b"\"F32\"");
    bytes[dtype + 1] = b'I';
    let path = shell.path("whole.safetensors");
    std::fs::write(&path, bytes).unwrap();
    let words = ["`features.0.bias` holds int32 numbers", "help:"];
    for arguments in [
        &["predict", text(&path), text(&photo)][..],
        &["summary", text(&path)],
        &[
            "predict",
            "squeezenet1_1",
            text(&photo),
            "--weights",
            text(&path),
        ],
    ] {
        shell.fails(arguments, 3, &words);
    }
}

#[test]
fn a_card_that_contradicts_its_tensors_is_refused_by_every_command_that_shows_it() {
    let shell = Shell::new();
    let photo = photos_of("fish").remove(0);
    let classes = with_card(&shell, "classes.safetensors", |card| {
        card["classes"].as_array_mut().unwrap().pop();
    });
    let head = with_card(&shell, "head.safetensors", |card| {
        card["head"] = json!({ "kind": "mlp", "hidden": 64, "dropout": 0.5 });
    });
    let network = with_card(&shell, "network.safetensors", |card| {
        card["architecture"] = json!("resnet18");
    });
    for (path, words) in [
        (&classes, "classifier.1.weight is [1000"),
        (&head, "classifier.2.weight"),
        (&network, "not resnet18's"),
    ] {
        let path = text(path);
        for arguments in [
            &["predict", path, text(&photo)][..],
            &["summary", path],
            &["summary", path, "--json"],
            &["diagram", path],
            &["compare", path, "--no-measure"],
            &["doctor", "--kernels", path, "--tier", "cpu"],
        ] {
            shell.fails(arguments, 3, &[words, "help:"]);
        }
    }
    shell.fails(
        &["summary", "no/such.safetensors"],
        3,
        &["does not exist", "help:"],
    );
    assert!(!shell.path("squeezenet1_1.svg").exists());
}

#[test]
fn sizes_that_cannot_be_are_usage_errors_that_name_the_option_and_the_smallest() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let data = text(&data);
    let train = ["train", data, "--model", "alexnet", "--offline", "--input"];
    let train = |side| [&train[..], &[side]].concat();
    let huge = "4294967296x4294967296";
    for (arguments, words) in [
        (&["summary", "resnet18", "--input", huge][..], "16384"),
        (
            &["summary", "resnet18", "--input", "18446744073709551616"],
            "16384",
        ),
        (&["diagram", "resnet18", "--input", huge], "16384"),
        (&["summary", "alexnet", "--input", "10"], "--input 63"),
        (&["summary", "vit_b_16", "--input", "100"], "multiple of 16"),
        // Though its weights are not here: the size comes first.
        (&train("10"), "--input 63"),
        (&train("4000"), "--input"),
        (&train("4294967295"), "--input"),
    ] {
        shell.fails(arguments, 2, &["--input", words, "help:"]);
    }
    let photo = photos_of("fish").remove(0);
    let mut predict = vec!["predict", "squeezenet1_1", text(&photo), "--json"];
    predict.extend(["--max-pixels", "18446744073709551615"]);
    assert!(shell.json(&predict)[0]["top"].is_array());
    // The largest that is counted: nothing has wrapped.
    let largest = [
        "summary", "vgg16", "--input", "16384", "--batch", "8192", "--json",
    ];
    let summary = &shell.json(&largest)[0]["summary"];
    let times = (16384.0 / 224.0_f64).powi(2);
    assert!(summary["macs"].as_f64().unwrap() > 15.3e9 * times);
    assert!(summary["pass_mb"].as_f64().unwrap() > 8192.0 * 100.0 * times);
    assert!(!shell.path("resnet18.svg").exists());
}

/// Every way of asking for nothing, too much or something that is not there ends with what to do.
#[test]
fn every_error_says_what_to_do() {
    let shell = Shell::new();
    let data = shell.two_classes("data", 2);
    let photo = photos_of("fish").remove(0);
    let (data, photo) = (text(&data), text(&photo));
    let net = "squeezenet1_1";
    std::fs::write(shell.path("file"), b"x").unwrap();
    let broken_card = with_card(&shell, "card.safetensors", |card| card["head"] = json!(7));
    let newer = with_card(&shell, "newer.safetensors", |card| {
        card["format"] = json!(99)
    });
    let unknown = with_card(&shell, "unknown.safetensors", |card| {
        card["architecture"] = json!("resnet19");
    });
    let small = with_card(&shell, "small.safetensors", |card| {
        card["preset"]["crop"] = json!(3)
    });
    let cases: [(i32, &[&str]); 34] = [
        (2, &["predict", net, photo, "--top", "0"]),
        (2, &["bench", net, "--batch", "0"]),
        (2, &["bench", net, "--runs", "0"]),
        (2, &["bench", net, "--runs", "99999999999999999999"]),
        (2, &["compare", net, "--batch", "0"]),
        (2, &["summary", net, "--batch", "0"]),
        (2, &["summary", net, "--classes", "0"]),
        (2, &["summary", net, "--input", "0"]),
        (2, &["summary", net, "--freeze", "nothing"]),
        (2, &["doctor", "--kernels", net, "--batch", "0"]),
        (2, &["train", data, "--split", "0"]),
        (2, &["train", data, "--folds", "0"]),
        (2, &["train", data, "--folds", "1"]),
        (2, &["train", data, "--c", "0"]),
        (2, &["train", data, "--head", "mlp", "--epochs", "0"]),
        (2, &["train", data, "--head", "mlp", "--batch", "1"]),
        (2, &["train", data, "--head", "mlp", "--hidden", "0"]),
        (2, &["train", data, "--head", "mlp", "--hidden", "65537"]),
        (2, &["train", data, "--head", "mlp", "--lr", "0"]),
        (2, &["train", data, "--head", "mlp", "--dropout", "1"]),
        (2, &["train", data, "--views", "1001"]),
        (2, &["train", data, "--input", "0"]),
        (2, &["train", data, "--name", "a/b"]),
        (2, &["train", data, "--device", "cuda"]),
        (2, &["train", data, "--max-pixels", "0"]),
        (2, &["frobnicate"]),
        (3, &["predict", net, "nowhere.jpg"]),
        (3, &["predict", text(&broken_card), photo]),
        (3, &["predict", text(&newer), photo]),
        (3, &["summary", text(&unknown)]),
        (3, &["predict", text(&small), photo]),
        (5, &["diagram", net, "--out", "no/such/folder/x.svg"]),
        (5, &["diagram", net, "--out", "file/x.svg"]),
        (5, &["export", net, "--onnx", "--out", data]),
    ];
    for (code, arguments) in cases {
        let output = shell.run(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{said}");
        let helped = said.lines().any(|line| line.starts_with("help: "));
        assert!(helped && said.contains("error: "), "{arguments:?}\n{said}");
    }
}

/// SqueezeNet in a legacy PyTorch file, once under each key.
fn checkpoint(path: &Path, keys: &[&str]) {
    let bytes = std::fs::read(root().join("assets/weights/squeezenet1_1.safetensors")).unwrap();
    let file = WeightFile::parse(&bytes).unwrap();
    let int = |value: usize| [&b"J"[..], &(value as u32).to_le_bytes()].concat();
    let ints = |values: &[usize]| {
        let values: Vec<_> = values.iter().map(|&value| int(value)).collect();
        [&b"("[..], &values.concat(), b"t"].concat()
    };
    let word = |word: &str| [&[b'U', word.len() as u8], word.as_bytes()].concat();
    let count = file.tensors().values().map(|view| view.len()).sum();
    let storage = [
        &b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpu"[..],
        &int(count),
        b"NtQ",
    ]
    .concat();
    let (mut numbers, mut dictionary) = (Vec::new(), b"}(".to_vec());
    for (name, view) in file.tensors() {
        let shape = view.shape();
        let strides: Vec<usize> = (1..=shape.len())
            .map(|axis| shape[axis..].iter().product())
            .collect();
        dictionary.extend(word(name));
        dictionary.extend(b"ctorch._utils\n_rebuild_tensor_v2\n(");
        dictionary.extend([&storage[..], &int(numbers.len()), &ints(shape)].concat());
        dictionary.extend([&ints(&strides)[..], b"\x89}tR"].concat());
        numbers.extend(view.to_f32().unwrap());
    }
    dictionary.push(b'u');
    let entries = keys
        .iter()
        .map(|key| [&word(key)[..], &dictionary].concat());
    let entries: Vec<_> = entries.collect();
    let file = [
        // The magic number, the version, the system.
        &b"\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.\x80\x02M\xE9\x03.\x80\x02}."[..],
        &[b"\x80\x02}(", &entries.concat()[..], b"u."].concat(),
        b"\x80\x02]U\x010a.",
        &(count as u64).to_le_bytes(),
        &numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect::<Vec<_>>(),
    ];
    std::fs::write(path, file.concat()).unwrap();
}

#[test]
fn of_several_dictionaries_it_is_said_which_is_taken_and_how_to_take_another() {
    let shell = Shell::new();
    let photo = photos_of("fish").remove(0);
    let said = |weights: &str| {
        let output = shell.run(&[
            "predict",
            "squeezenet1_1",
            text(&photo),
            "--weights",
            weights,
        ]);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let path = shell.path("both.pth");
    checkpoint(&path, &["net", "state_dict", "model"]);
    let both = text(&path);
    let told = said(both);
    for words in [
        "those under `state_dict` are taken",
        "`model`, `net`",
        &format!("--weights {both}#model` takes"),
    ] {
        assert!(told.contains(words), "no '{words}' in {told}");
    }
    // Who chooses knows; and of one there is nothing to say.
    assert!(!said(&format!("{both}#net")).contains("more than one"));
    checkpoint(&path, &["model"]);
    assert!(!said(both).contains("more than one"));
    checkpoint(&path, &["model", "ema"]);
    assert!(said(both).contains("averages over the training"));
}

#[test]
#[cfg(unix)]
fn a_file_that_cannot_be_written_whole_leaves_the_old_one_as_it_was() {
    let shell = Shell::new();
    std::fs::write(shell.path("old.onnx"), b"old").unwrap();
    std::fs::write(shell.path("old.svg"), b"old").unwrap();
    let program = rekindle_tests::program();
    let export = "export squeezenet1_1 --onnx --out old.onnx";
    let diagram = "diagram resnet152 --out old.svg";
    for (command, limit) in [(export, 64), (diagram, 1)] {
        // As on a full disk: the system refuses what goes beyond so many blocks of half a kibibyte.
        let script = format!("ulimit -f {limit}; exec '{}' {command}", text(&program));
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", &script]).current_dir(shell.path(""));
        limited.env("REKINDLE_ASSETS", root().join("assets"));
        let output = limited.output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(5), "{said}");
        assert!(
            said.contains("cannot write the file") && said.contains("help:"),
            "{said}"
        );
    }
    for (file, bytes) in [("old.onnx", &b"old"[..]), ("old.svg", b"old")] {
        assert_eq!(std::fs::read(shell.path(file)).unwrap(), bytes);
    }
    let left = std::fs::read_dir(shell.path("")).unwrap().count();
    assert_eq!(left, 2, "nothing is left beside them");
    // Nor is what a command reads written over, whatever it is called.
    let data = shell.two_classes("data", 3);
    let run = shell.json(&["train", text(&data), "--model", "squeezenet1_1", "--json"]);
    let model = run[0]["model"].as_str().unwrap().to_owned();
    let whole = std::fs::read(shell.path(&model)).unwrap();
    let model = text(&shell.path(&model)).to_owned();
    std::os::unix::fs::symlink(&model, shell.path("link.onnx")).unwrap();
    let weights = format!("{model}#");
    for arguments in [
        &["export", &model, "--onnx", "--out", &model][..],
        &["export", &model, "--onnx", "--out", "link.onnx"],
        &["diagram", &model, "--out", &model],
        &[
            "export",
            "squeezenet1_1",
            "--weights",
            &model,
            "--onnx",
            "--out",
            &model,
        ],
        &[
            "export",
            "squeezenet1_1",
            "--weights",
            &weights,
            "--onnx",
            "--out",
            &model,
        ],
    ] {
        let output = shell.run(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains("would overwrite what is read"), "{said}");
    }
    assert_eq!(std::fs::read(&model).unwrap(), whole);
    // And where there is room, the new one takes its place.
    assert!(
        shell
            .run(&["diagram", "resnet18", "--out", "old.svg"])
            .status
            .success()
    );
    assert!(
        std::fs::read(shell.path("old.svg"))
            .unwrap()
            .starts_with(b"<svg")
    );
}
