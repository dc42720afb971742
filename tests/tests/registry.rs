//! What holds for every network in the registry, and which none can escape.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use std::path::PathBuf;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rekindle_core::backbone::{Accuracy, Architecture, architectures, find, raw};
use rekindle_core::graph::{Options, Scratch};
use rekindle_core::model::Model;
use rekindle_core::network::{Batch, Chance, Network, Parameter};
use rekindle_core::preprocess::Interpolation;
use rekindle_core::task::Task;
use rekindle_core::weights::{Generated, TensorSource, WeightsError, state_dict, take};
use rekindle_tests::is_nightly;
use serde_json::Value;

/// Networks of more parameters than this take part only with `REKINDLE_NIGHTLY`.
const MANY_PARAMETERS: u64 = 30_000_000;

/// Tensors of more numbers than this are not drawn.
const MANY_NUMBERS: usize = 3_000_000;

/// torchvision's own table: one object per classifier.
fn torchvision() -> serde_json::Map<String, Value> {
    let path = rekindle_tests::root().join("tests/goldens/torchvision_models.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_torchvision_classifier_is_there_with_its_numbers() {
    let table = torchvision();
    assert_eq!(table.len(), 80);
    let mut wrong = Vec::new();
    for (name, entry) in &table {
        let architecture = find(name).unwrap();
        assert_eq!(architecture.name, name);
        assert_eq!(
            architecture.params(),
            entry["params"].as_u64().unwrap(),
            "{name}: parameters"
        );
        assert_eq!(
            architecture.input_size,
            entry["input"].as_u64().unwrap() as usize,
            "{name}"
        );
        // torchvision rounds to thousandths of a billion.
        let billions = architecture.macs() as f64 / 1e9;
        let expected = entry["ops"].as_f64().unwrap();
        if (billions - expected).abs() > 0.000_51 {
            wrong.push(format!(
                "{name}: {billions:.4} G multiply-adds, torchvision {expected}"
            ));
        }
        let smallest = entry["min_size"].as_u64().unwrap() as usize;
        if architecture.min_input() > smallest {
            let ours = architecture.min_input();
            wrong.push(format!(
                "{name}: from {ours} pixels, torchvision {smallest}"
            ));
        }
        check_weights(architecture, entry["weights"].as_array().unwrap());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn networks_that_torchvision_lacks_say_what_timm_calls_them() {
    let torchvision = torchvision();
    for architecture in architectures() {
        let name = architecture.name;
        // The tables of weights are made from torchvision and timm themselves.
        let is_of = |source| architecture.weights.iter().any(|w| w.source == source);
        let is_torchvisions = torchvision.contains_key(name) || is_of("torchvision");
        assert_eq!(architecture.timm.is_none(), is_torchvisions, "{name}");
        // timm's files are called as its networks are, with the tag of their training behind.
        let timms = architecture.weights.iter().filter(|w| w.source == "timm");
        for weights in timms {
            let called = architecture.timm.unwrap();
            assert!(
                weights.file_name.starts_with(called) || weights.file_name.starts_with(name),
                "{name}: {}",
                weights.file_name
            );
        }
    }
}

fn check_weights(architecture: &Architecture, published: &[Value]) {
    let name = architecture.name;
    let ours = architecture.weights.iter();
    let ours: Vec<_> = ours.filter(|w| w.source == "torchvision").collect();
    assert_eq!(ours.len(), published.len(), "{name}");
    for entry in published {
        let tag = entry["name"].as_str().unwrap();
        let weights = ours.iter().find(|w| w.name == tag).unwrap();
        let preset = &weights.preset;
        let is = |key: &str, value: Value| assert_eq!(entry[key], value, "{name} {tag}: {key}");
        is("url", weights.url.into());
        is("resize", preset.resize().into());
        is("crop", preset.crop().into());
        is(
            "interpolation",
            match preset.interpolation() {
                Interpolation::Bilinear => "bilinear",
                Interpolation::Bicubic => "bicubic",
            }
            .into(),
        );
        // torchvision's GoogLeNet and Inception v3 rescale their own input; our preset does it.
        let rescales = ["googlenet", "inception_v3"].contains(&name);
        let close = |ours: [f32; 3], key: &str| {
            let theirs: Vec<f32> = serde_json::from_value(entry[key].clone()).unwrap();
            let theirs = if rescales { vec![0.5; 3] } else { theirs };
            assert_eq!(ours.to_vec(), theirs, "{name} {tag}: {key}");
        };
        close(preset.mean(), "mean");
        close(preset.std(), "std");
        let accuracy = |key: &str| entry[key].as_f64().map(|share| share as f32);
        let figures = weights.accuracy.map(Accuracy::figures).unwrap_or_default();
        let figures: Vec<_> = figures
            .iter()
            .map(|figure| (figure.key, Some(figure.percent)))
            .collect();
        for key in ["acc1", "acc5", "miou", "pixel_acc", "box_map"] {
            let ours = figures.iter().find(|figure| figure.0 == key);
            assert_eq!(
                ours.and_then(|figure| figure.1),
                accuracy(key),
                "{name} {tag}: {key}"
            );
        }
        is("license", weights.license.spdx().into());
        let file = weights.url.unwrap().rsplit('/').next().unwrap();
        assert_eq!(weights.file_name, file);
    }
    let default = ours[0];
    let is_default = |entry: &&Value| entry["default"] == true;
    let expected = published.iter().find(is_default).unwrap();
    assert_eq!(
        expected["name"], default.name,
        "{name}: the default weights"
    );
}

/// The networks that fit into a quick run: those that are not large, and the smallest of each family.
fn quick() -> impl Iterator<Item = &'static Architecture> {
    architectures().filter(|architecture| {
        let family = architectures().filter(|other| other.family == architecture.family);
        let smallest = family.map(|other| other.params()).min();
        let params = architecture.params();
        is_nightly() || params <= MANY_PARAMETERS || Some(params) == smallest
    })
}

/// What the tests of gradients build: everything there is, auxiliary classifiers too.
const EVERYTHING: Options = Options {
    auxiliary: Some(3),
    small_stem: false,
    bare: false,
    transform_input: false,
};

/// The smallest images that leave a network's normalisations something to do, and its auxiliary
/// classifiers a map large enough.
fn small_image(architecture: &Architecture) -> [usize; 3] {
    let step = architecture.input_multiple;
    let smallest = architecture.min_input().max(64).next_multiple_of(step);
    let sides = (smallest..=architecture.input_size.max(smallest)).step_by(step);
    let images = sides.map(|side| [3, side, side]);
    images
        .into_iter()
        .find(|&image| architecture.whole_graph(image, &EVERYTHING, 3).is_ok())
        .unwrap()
}

/// With `REKINDLE_KEEP_MODELS` naming a folder the files stay there, for
/// `tests/parity/check_registry.py` to open in PyTorch.
#[test]
fn a_model_reads_what_it_wrote_and_writes_it_again() {
    let keep = std::env::var_os("REKINDLE_KEEP_MODELS").map(PathBuf::from);
    for architecture in quick() {
        let name = architecture.name;
        let weights = &architecture.weights[0];
        let device = Device::flex();
        let model = Model::pretrained(architecture, weights, &Generated, &device).unwrap();
        let side = architecture.input_size;
        let backbone = architecture.graph([3, side, side], &Options::default());
        let by_stage: usize = model.stage_parameters().iter().sum();
        assert_eq!(backbone.unwrap().parameter_count(), by_stage, "{name}");
        let head = model.head_parameters();
        assert_eq!(by_stage + head, model.parameters(), "{name}");
        if architecture.task == Task::Classify {
            assert!(head >= 1000 * model.graph().features(), "{name}");
        }
        let bytes = model.save().unwrap();
        drop(model);
        let reopened = Model::open(bytes.clone(), &device);
        let reopened = reopened.unwrap_or_else(|error| panic!("{name}: {error}"));
        let again = reopened.save().unwrap();
        assert!(bytes == again, "{name}: the same bytes");
        if let Some(folder) = &keep {
            std::fs::write(folder.join(format!("{name}.safetensors")), &bytes).unwrap();
        }
    }
}

/// A published file as it is: old names, and tensors of auxiliary classifiers that nobody asked for.
struct Published {
    names: Vec<String>,
}

impl Published {
    fn new(name: &str, rename: impl Fn(&str) -> String, more: &[&str]) -> Self {
        let architecture = find(name).unwrap();
        let device = Device::flex();
        let weights = &architecture.weights[0];
        let model = Model::pretrained(architecture, weights, &Generated, &device).unwrap();
        let names = model.graph().tensors().map(|(name, _)| rename(&name));
        let more = more.iter().map(|name| (*name).to_owned());
        Self {
            names: names.chain(more).collect(),
        }
    }
}

impl TensorSource for Published {
    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn shape(&self, name: &str, wanted: &[usize]) -> Option<Vec<usize>> {
        let is_there = self.names.iter().any(|known| known == name);
        is_there.then(|| wanted.to_vec())
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        Ok(Generated::tensor(name, shape))
    }
}

#[test]
fn published_files_load_under_their_old_names() {
    let densenet = |name: &str| {
        if !name.contains("denselayer") {
            return name.to_owned();
        }
        name.replace(".norm1.", ".norm.1.")
            .replace(".norm2.", ".norm.2.")
            .replace(".conv1.", ".conv.1.")
            .replace(".conv2.", ".conv.2.")
    };
    let vit = |name: &str| {
        name.replace("mlp.0.", "mlp.linear_1.")
            .replace("mlp.3.", "mlp.linear_2.")
    };
    let cases = [
        ("densenet121", Published::new("densenet121", densenet, &[])),
        ("vit_b_32", Published::new("vit_b_32", vit, &[])),
        (
            "googlenet",
            Published::new(
                "googlenet",
                str::to_owned,
                &["aux1.fc1.weight", "aux2.fc1.weight"],
            ),
        ),
        (
            "lraspp_mobilenet_v3_large",
            Published::new("lraspp_mobilenet_v3_large", str::to_owned, &[]),
        ),
        (
            "deeplabv3_mobilenet_v3_large",
            Published::new(
                "deeplabv3_mobilenet_v3_large",
                str::to_owned,
                &["aux_classifier.0.weight", "aux_classifier.4.bias"],
            ),
        ),
        (
            "swin_t",
            Published::new(
                "swin_t",
                str::to_owned,
                &["features.1.0.attn.relative_position_index"],
            ),
        ),
    ];
    for (name, published) in cases {
        let architecture = find(name).unwrap();
        let weights = &architecture.weights[0];
        let loaded = Model::pretrained(architecture, weights, &published, &Device::flex());
        assert!(loaded.is_ok(), "{name}: {:?}", loaded.err());
        // What does not belong there is still told.
        let mut stranger = published;
        stranger.names.push("stranger.weight".to_owned());
        let refused = Model::pretrained(architecture, weights, &stranger, &Device::flex());
        let error = refused.err().map(|error| error.to_string());
        assert!(error.is_some_and(|e| e.contains("stranger")), "{name}");
    }
}

/// The names of the parameters, with and without a gradient.
fn names(network: &Network, gradients: &Gradients) -> (Vec<String>, Vec<String>) {
    let parameters = network
        .parameters()
        .filter(|parameter| !parameter.is_statistic());
    let has = |parameter: &&Parameter| {
        let mut parts = parameter.parts().iter();
        parts.all(|part| part.grad(gradients).is_some())
    };
    let (with, without): (Vec<_>, Vec<_>) = parameters.partition(has);
    let names = |some: Vec<&Parameter>| some.iter().map(|p| p.name().to_owned()).collect();
    (names(with), names(without))
}

/// Runs a batch of two through the network in training and follows the squares of all it puts out.
fn gradients(network: &mut Network, image: [usize; 3], device: &Device) -> Gradients {
    let [channels, height, width] = image;
    let shape = [2, channels, height, width];
    let input = TensorData::new(Generated::input(&shape), shape);
    let input = Batch::Maps(Tensor::<4>::from_data(input, device).autodiff());
    let outputs = network.graph().outputs().iter();
    let wanted: Vec<usize> = outputs.map(|output| output.value).collect();
    let made = network
        .train([(0, input)], &wanted, &mut Chance::new(1))
        .unwrap();
    let squares = made
        .into_iter()
        .map(|made| made.flatten().powi_scalar(2).sum());
    squares.reduce(|all, one| all + one).unwrap().backward()
}

fn trainable(architecture: &Architecture, image: [usize; 3], device: &Device) -> Network {
    let graph = architecture.whole_graph(image, &EVERYTHING, 3).unwrap();
    let (tensors, _) = take(graph.tensors(), &Generated).unwrap();
    let network = Network::new(graph, &state_dict([&tensors]), device).unwrap();
    network.trainable()
}

#[test]
fn every_parameter_gets_a_gradient_and_every_stage_can_be_frozen() {
    let device = Device::flex();
    for architecture in quick() {
        let name = architecture.name;
        let image = small_image(architecture);
        let mut backbone = trainable(architecture, image, &device);
        let found = gradients(&mut backbone, image, &device);
        let (with, without) = names(&backbone, &found);
        assert!(without.is_empty(), "{name}: no gradient for {without:?}");
        let expected: usize = backbone
            .graph()
            .layers()
            .iter()
            .map(|layer| layer.parameters().len())
            .sum();
        assert_eq!(with.len(), expected, "{name}");

        // Freezing more and more from the front: what is frozen, and nothing else, gets none.
        let stages = backbone.graph().stages().len();
        for frozen in [1, backbone.graph().backbone_stages()] {
            let mut backbone = backbone.clone().freeze_stages(frozen);
            let found = gradients(&mut backbone, image, &device);
            let (with, without) = names(&backbone, &found);
            let graph = backbone.graph();
            let is_frozen = |name: &String| graph.stage_of(name).unwrap() < frozen;
            assert!(
                without.iter().all(is_frozen),
                "{name}: {frozen} of {stages} frozen"
            );
            assert!(
                !with.iter().any(is_frozen),
                "{name}: {frozen} of {stages} frozen"
            );
        }
    }
}

/// A tensor's mean, deviation and length.
fn moments(values: &[f32]) -> (f64, f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let squares = values.iter().map(|&v| (f64::from(v) - mean).powi(2));
    (mean, (squares.sum::<f64>() / count).sqrt(), count)
}

/// For one member of each family, what torchvision drew for each tensor: both are samples, so they
/// may differ by what samples of that length differ by.
#[test]
fn untrained_networks_are_drawn_as_torchvision_draws_them() {
    let path = rekindle_tests::root().join("tests/goldens/init.json");
    let drawn: serde_json::Map<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(drawn.len() >= 20);
    let mut wrong = Vec::new();
    for (name, tensors) in &drawn {
        let unread = raw().find(|architecture| architecture.name == name);
        let architecture = unread.unwrap_or_else(|| find(name).unwrap());
        let side = architecture.input_size;
        let classes = architecture.classes().count();
        let options = Options {
            auxiliary: Some(classes),
            ..Options::default()
        };
        let whole = architecture.whole_graph([3, side, side], &options, classes);
        let whole = whole.unwrap();
        let scratch = Scratch::new(&whole, architecture.init, 7);
        let parameters: Vec<_> = whole.layers().iter().flat_map(|l| l.parameters()).collect();
        let tensors = tensors.as_object().unwrap();
        assert_eq!(parameters.len(), tensors.len(), "{name}");
        for (parameter, shape) in parameters {
            // The giants among them say nothing that others of their layers do not.
            if shape.iter().product::<usize>() > MANY_NUMBERS {
                continue;
            }
            let expected = &tensors[&parameter];
            let number = |key: &str| expected[key].as_f64().unwrap();
            let (mean, deviation, count) = moments(&scratch.values(&parameter, &shape).unwrap());
            assert_eq!(count, number("numel"), "{name} {parameter}");
            let rounding = 1e-5 * number("mean").abs() + 1e-7;
            let sample = 6.0 * number("std") / count.sqrt() + rounding;
            if (mean - number("mean")).abs() > 1.5 * sample
                || (deviation - number("std")).abs() > sample
            {
                wrong.push(format!(
                    "{name} {parameter}: mean {mean:.2e}, deviation {deviation:.2e}; torchvision {:.2e}, {:.2e}",
                    number("mean"),
                    number("std"),
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// He et al.'s layout for CIFAR: nothing strides before the first block.
#[test]
fn small_stems_keep_the_resolution() {
    let small = Options {
        small_stem: true,
        ..Options::default()
    };
    for name in [
        "resnet18",
        "densenet121",
        "shufflenet_v2_x0_5",
        "mobilenet_v2",
    ] {
        let graph = find(name).unwrap().graph([3, 32, 32], &small).unwrap();
        let stem = &graph.stages()[0];
        assert_eq!(stem.stride, Some(1), "{name}");
        assert_eq!(stem.shape[1..], [32, 32], "{name}");
        let (kernel, shape) = graph.layers()[0].parameters().swap_remove(0);
        assert_eq!(shape[1..], [3, 3, 3], "{name} {kernel}");
    }
}

/// A first convolution may see any number of channels, and hidden layers before the classifier may be
/// left out: the head is then rebuilt for the flattened maps.
#[test]
fn networks_take_other_channels_and_give_up_their_hidden_layers() {
    let resnet = find("resnet18").unwrap();
    let graph = resnet.graph([5, 64, 64], &Options::default()).unwrap();
    let (name, shape) = graph.layers()[0].parameters().swap_remove(0);
    assert_eq!(
        (name.as_str(), &shape[..]),
        ("conv1.weight", &[64, 5, 7, 7][..])
    );

    let bare = Options {
        bare: true,
        ..Options::default()
    };
    // torchvision: 256·6·6, 512·7·7, 960 and 512.
    for (name, features) in [
        ("alexnet", 9216),
        ("vgg16", 25_088),
        ("mobilenet_v3_large", 960),
        ("maxvit_t", 512),
    ] {
        let architecture = find(name).unwrap();
        let side = architecture.input_size;
        let graph = architecture.graph([3, side, side], &bare).unwrap();
        assert_eq!(graph.features(), features, "{name}");
        assert_eq!(architecture.head.for_options(&bare).name, "classifier");
    }
}
