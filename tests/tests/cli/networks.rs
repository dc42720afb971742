//! Networks: answers by name, tables, drawings, kernels, speed.

use std::collections::HashSet;

use rekindle_core::backbone::find;
use rekindle_core::model::{Contents, ModelCard};
use rekindle_core::weights::Generated;
use rekindle_tests::root;
use serde_json::{Value, json};

use super::{Shell, stderr, text};

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

/// The tables that torchsummary prints for VGG-16, line for line.
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
    let pattern = ["summary", "resnet18", "--freeze", "*.ln.*"];
    shell.fails(&pattern, 2, &["*.ln.*", "fc.bias", "layer4"]);
    let nothing = ["summary", "vgg11", "--bare", "--freeze", "flatten"];
    shell.fails(&nothing, 2, &["holds no parameters", "block5"]);
    shell.fails(
        &["summary", "alexnet", "--input", "40"],
        2,
        &["40×40", "at least 63"],
    );
}

#[test]
fn single_tensors_are_frozen_by_patterns() {
    let shell = Shell::new();
    let arguments = ["summary", "resnet18", "--freeze", "all", "--json"];
    let arguments = [&arguments[..], &["--unfreeze", "layer4.*.bias,fc"]].concat();
    let summary = shell.json(&arguments).remove(0);
    // Five batch norms of 512 channels, and the classifier.
    assert_eq!(summary["summary"]["trainable_params"], 5 * 512 + 513_000);
    let parameters = summary["parameters"].as_array().unwrap();
    let trainable = parameters.iter().filter(|row| row["trainable"] == true);
    assert_eq!(trainable.count(), 7);
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

#[test]
fn kernels_are_listed_for_any_class_of_adapters_and_always_the_same() {
    let shell = Shell::new();
    let list = |tier: &str| {
        let mut arguments = vec!["doctor", "--kernels", "resnet18", "--tier", tier];
        // Enough photos for large tiles, where there is room for them; the processor has none.
        if tier != "cpu" {
            arguments.extend(["--batch", "32"]);
        }
        arguments.push("--json");
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
fn what_a_training_step_is_made_of_is_listed() {
    let shell = Shell::new();
    let list = |device: &str| {
        let line = [
            "doctor",
            "--kernels",
            "squeezenet1_1",
            "--train",
            "--device",
            device,
            "--json",
        ];
        shell.json(&line)[0].as_array().unwrap().clone()
    };
    let jobs = list("cpu");
    assert!(jobs.iter().all(|job| job["ms"].as_f64().unwrap() >= 0.0));
    // 26 convolutions, each with the function behind it; 8 joints, 3 pools, dropout and the mean.
    let names: Vec<&str> = jobs
        .iter()
        .map(|job| job["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"features.3.expand3x3"), "{names:?}");
    if std::env::var_os("REKINDLE_NO_SOFTWARE_GPU").is_some() {
        return;
    }
    let kernels = list("software");
    let launches = |what: &str| -> u64 {
        let named = kernels
            .iter()
            .filter(|kernel| kernel["name"].as_str().unwrap().starts_with(what));
        named
            .map(|kernel| kernel["launches"].as_u64().unwrap())
            .sum()
    };
    // Of each of 26 convolutions the gradient of the weights, in one pass or two.
    assert!(
        (26..=52).contains(&launches("conv_weight_gradient")),
        "{kernels:?}"
    );
    // The three pools of the network, as they go back.
    assert_eq!(launches("max_pool_gradient"), 3);
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
    let share = number("share_of_peak");
    assert!(share > 0.0 && share <= 1.0, "{measured}");
    assert!(number("lowest_peak_gflops") <= number("peak_gflops"));
    assert!(number("executed_gflops") < number("gflops"));
    let share = number("executed_gflops") / number("peak_gflops");
    assert!((share - number("share_of_peak")).abs() < 1e-6);
    assert!(measured["training"]["step_ms"].as_f64().unwrap() > 0.0);
    let layers = measured["layers"].as_array().unwrap();
    assert!(layers.len() > 26);
    assert!(layers.iter().any(|layer| layer["kind"] == "winograd"));
    // Nor does any layer do more than the device can: what Winograd's method saves is not counted as done.
    for layer in layers {
        let rate = |key: &str| layer[key].as_f64();
        assert!(
            rate("share_of_peak").is_none_or(|share| share > 0.0 && share <= 1.0),
            "{layer}"
        );
        let (done, written) = (rate("executed_gflops"), rate("gflops"));
        let is_less = done.unwrap_or(0.0) < 0.9 * written.unwrap_or(0.0);
        assert_eq!(is_less, layer["kind"] == "winograd", "{layer}");
    }

    arguments.extend(["--precision", "half"]);
    shell.fails(&arguments, 4, &["half-precision", "--precision"]);
}

#[test]
fn onnx_files_are_for_the_size_that_is_asked_for() {
    let shell = Shell::new();
    let export = |network: &str, more: &[&str]| {
        let arguments = ["export", network, "--weights", "random", "--onnx", "--json"];
        shell.json(&[&arguments[..], more].concat()).remove(0)
    };
    let own = export("lraspp_mobilenet_v3_large", &[]);
    assert_eq!(own["input"], json!(["batch", 3, 520, 520]));
    let wide = ["--input", "96x128", "--out", "wide.onnx"];
    let wide = export("lraspp_mobilenet_v3_large", &wide);
    assert_eq!(wide["input"], json!(["batch", 3, 96, 128]));
    assert_eq!(wide["output"], json!(["batch", 21, 96, 128]));
    let classifies = export("squeezenet1_1", &["--input", "96x128"]);
    // What nobody named is not written over.
    let again = ["export", "squeezenet1_1", "--weights", "random", "--onnx"];
    shell.fails(&again, 2, &["squeezenet1_1.onnx exists", "--out"]);
    std::fs::remove_file(shell.path("squeezenet1_1.onnx")).unwrap();
    assert_eq!(classifies["input"], json!(["batch", 3, 96, 128]));
    assert_eq!(classifies["output"], json!(["batch", 1000]));
    let refused = |network: &str, size: &str, words: &[&str]| {
        let arguments = ["export", network, "--onnx", "--weights", "random"];
        let words = [words, &["--input", "help:"]].concat();
        shell.fails(&[&arguments[..], &["--input", size]].concat(), 2, &words);
    };
    refused("squeezenet1_1", "4", &["4×4"]);
    refused("vit_b_16", "256", &["positions", "224×224"]);
}

/// Only published weights have a published accuracy, whatever the classes are called.
#[test]
fn a_file_has_the_published_accuracy_if_it_says_it_holds_the_published_weights() {
    let shell = Shell::new();
    let network = find("mobilenet_v3_small").unwrap();
    let weights = &network.weights[0];
    let card = ModelCard::published(network, weights);
    let mut model = Contents::ported(network, card, &Generated).unwrap();
    let accuracy = |model: &Contents| {
        std::fs::write(shell.path("m.safetensors"), model.save().unwrap()).unwrap();
        shell.json(&["compare", "m.safetensors", "--no-measure", "--json"])[0][0]["acc1"].clone()
    };
    assert_eq!(accuracy(&model), Value::Null);
    let provenance = &mut model.card.provenance;
    provenance.insert("weights".into(), json!(weights.name));
    provenance.insert("weights_sha256".into(), json!("0".repeat(64)));
    assert_eq!(accuracy(&model), Value::Null);
    let url = weights.url.unwrap();
    let hash = url.rsplit_once('-').unwrap().1.trim_end_matches(".pth");
    let hash = json!(format!("{hash:0<64}"));
    model.card.provenance.insert("weights_sha256".into(), hash);
    assert_eq!(accuracy(&model), 67.668);
}

#[test]
fn summary_says_which_parameters_it_does_not_count() {
    let shell = Shell::new();
    let said = stderr(&shell.run(&["summary", "fcn_resnet50"]));
    // torchvision states 35,322,218; without `aux_classifier` there are 32,957,013.
    assert!(
        said.contains("2,365,205 parameters") && said.contains("`rekindle models`"),
        "{said}"
    );
    assert_eq!(stderr(&shell.run(&["summary", "resnet18"])), "");
}
