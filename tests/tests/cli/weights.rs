//! Weights of other people: what fits, what is said where it does not.

use std::path::{Path, PathBuf};

use rekindle_core::backbone::find;
use rekindle_core::model::{Contents, ModelCard};
use rekindle_core::weights::{Generated, StorageDtype, WeightFile, state_dict, write_safetensors};
use rekindle_tests::root;
use serde_json::Value;

use super::{Shell, copy, photos_of, stderr, text};

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
    let plain = root().join("networks/tests/fixtures/weights/block_zip.pth");
    let arguments = ["predict", text(&plain), text(&data)];
    shell.fails(&arguments, 3, &["no model file", "--weights"]);
    let told = stderr(&shell.run(&arguments));
    assert_eq!(told.matches(text(&plain)).count(), 1, "{told}");
}

/// As `torch.save(deeplabv3(num_classes=5).state_dict())` names them: nobody says what the classes are called.
#[test]
fn a_segmentation_head_of_any_number_of_classes_answers_by_numbers() {
    let shell = Shell::new();
    let name = "lraspp_mobilenet_v3_large";
    let network = find(name).unwrap();
    let plain = |classes: usize| {
        let card = ModelCard {
            classes: (0..classes).map(|class| class.to_string()).collect(),
            ..ModelCard::published(network, &network.weights[0])
        };
        let contents = Contents::ported(network, card, &Generated).unwrap();
        let mut tensors = contents.state_dict();
        let auxiliary = (&[2_usize][..], &[0.0_f32, 1.0][..]);
        tensors.insert("aux_classifier.4.bias", auxiliary);
        let written = write_safetensors(&tensors, &Default::default(), StorageDtype::F32);
        let path = shell.path(&format!("{classes}.safetensors"));
        std::fs::write(&path, written.unwrap()).unwrap();
        path
    };
    let photo = photos_of("fish").remove(0);
    let five = plain(5);
    let told = |file: &Path| {
        let arguments = ["predict", name, text(&photo), "--json", "--weights"];
        shell.run(&[&arguments[..], &[text(file)]].concat())
    };
    let output = told(&five);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("the 5 classes of its head"), "{said}");
    assert!(
        said.contains("the auxiliary classifier, which only helps"),
        "{said}"
    );
    assert!(
        !said.contains("warning") && !said.contains("left aside"),
        "{said}"
    );
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    for share in answer["shares"].as_array().unwrap() {
        let class = share["class"].as_str().unwrap();
        let number: usize = class.strip_prefix("class ").unwrap().parse().unwrap();
        assert!(number < 5, "{class}");
    }
    let many = told(&plain(256));
    assert_eq!(many.status.code(), Some(3));
    let said = stderr(&many);
    assert!(
        said.contains("a head for 256 classes") && !said.contains("train"),
        "{said}"
    );
    // Another network than the one that is asked for.
    let other = [
        "predict",
        "deeplabv3_mobilenet_v3_large",
        text(&photo),
        "--weights",
    ];
    shell.fails(
        &[&other[..], &[text(&five)]].concat(),
        3,
        &["the file is lraspp_mobilenet_v3_large's: name that network"],
    );
}

/// The bundled SqueezeNet's tensors, each as `change` makes it, in a file of the shell's folder.
pub fn changed_squeezenet(
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
    // Two networks behind a wrapper: the hint works as it is typed.
    let pair = changed_squeezenet(&shell, "pair.safetensors", false, |name, values| {
        let halved = values.iter().map(|value| 0.5 * value).collect();
        vec![
            (format!("module.student.{name}"), values),
            (format!("module.teacher.{name}"), halved),
        ]
    });
    let pair = text(&pair);
    let said = answer(pair).1;
    let words = format!(
        "those under `teacher.` are taken, there are others under `student.`; `--weights {pair}#student`"
    );
    assert!(said.contains(&words), "{said}");
    assert_eq!(answer(&format!("{pair}#student")).0, truth);
    let nowhere = format!("{pair}#ema");
    let arguments = [
        "predict",
        "squeezenet1_1",
        text(&photo),
        "--weights",
        &nowhere,
    ];
    shell.fails(&arguments, 3, &["`student`, `teacher`"]);

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
        let measures = stderr(&shell.run(&arguments)).contains("rekindle evaluate");
        assert_eq!(measures, name == "seven");
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
fn a_checkpoint_is_measured_on_a_folder_that_says_what_its_classes_are_called() {
    let shell = Shell::new();
    shell.two_classes("data", 4);
    // ImageNet's goldfish and windmill, in the order of the folders' names.
    let [fish, windmill] = [1, 716];
    let two = changed_squeezenet(&shell, "two.safetensors", false, |name, values| {
        let row = values.len() / 1000;
        let values = match name.starts_with("classifier") {
            true => [fish, windmill]
                .iter()
                .flat_map(|class| values[class * row..(class + 1) * row].to_vec())
                .collect(),
            false => values,
        };
        vec![(format!("model.{name}"), values)]
    });
    let arguments = [
        "evaluate",
        "squeezenet1_1",
        "data",
        "--weights",
        text(&two),
        "--json",
    ];
    let output = shell.run(&arguments);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("as ImageFolder numbers them: fish, windmill"),
        "{said}"
    );
    assert!(
        said.contains("does not tell which photos it was trained on"),
        "{said}"
    );
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The same two logits of the whole network.
    let whole = [
        "predict",
        "squeezenet1_1",
        "data",
        "--top",
        "1000",
        "--json",
    ];
    let mut rows = [[0, 0], [0, 0]];
    for answer in shell.json(&whole) {
        let logit = |class: usize| {
            let mut top = answer["top"].as_array().unwrap().iter();
            top.find(|one| one["index"] == class).unwrap()["logit"]
                .as_f64()
                .unwrap()
        };
        let is_windmill = answer["path"].as_str().unwrap().contains("/windmill/");
        rows[usize::from(is_windmill)][usize::from(logit(windmill) > logit(fish))] += 1;
    }
    assert_eq!(found["images"], 8);
    assert_eq!(
        found["report"]["confusion"]["rows"],
        serde_json::json!(rows)
    );
    assert!(rows[0][0] > 2 && rows[1][1] > 2, "{rows:?}");

    // ImageNet's own head needs no names, whatever stands in front of its tensors'.
    let panda = shell.path("pandas/giant panda");
    std::fs::create_dir_all(&panda).unwrap();
    copy(
        &root().join("assets/photos/animal/panda.webp"),
        &panda.join("1.webp"),
    );
    let wrapped = changed_squeezenet(&shell, "wrapped.safetensors", false, |name, values| {
        vec![(format!("module.{name}"), values)]
    });
    let arguments = [
        "evaluate",
        "squeezenet1_1",
        "pandas",
        "--weights",
        text(&wrapped),
        "--json",
    ];
    assert_eq!(shell.json(&arguments)[0]["accuracy"], 1.0);

    // Neither fits a folder of other classes.
    let words = [
        "tells 2 classes apart",
        "the folder has 1: giant panda",
        "help:",
    ];
    let arguments = [
        "evaluate",
        "squeezenet1_1",
        "pandas",
        "--weights",
        text(&two),
    ];
    shell.fails(&arguments, 3, &words);
    let arguments = ["evaluate", text(&two), "data", "--weights", text(&two)];
    shell.fails(&arguments, 2, &["--weights", "file"]);
}

#[test]
fn files_of_other_programs_are_called_by_their_names() {
    let shell = Shell::new();
    let photo = photos_of("fish").remove(0);
    let folder = root().join("networks/tests/fixtures/weights/foreign");
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
