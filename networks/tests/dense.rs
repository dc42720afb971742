//! Networks that answer for every place of a picture: torchvision's own numbers, and where they look.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use std::collections::BTreeMap;
use std::path::Path;

use rekindle_networks::backbone::{Accuracy, Architecture, architectures, find, raw};
use rekindle_networks::graph::{LayerKind, Op, Options};
use rekindle_networks::preprocess::Interpolation;
use serde_json::{Map, Value};

/// torchvision's own table, one object a network.
fn torchvision() -> Map<String, Value> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/torchvision_dense.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn network(name: &str) -> &'static Architecture {
    let unread = raw().find(|architecture| architecture.name == name);
    unread.unwrap_or_else(|| find(name).unwrap())
}

#[test]
fn torchvisions_dense_networks_are_there_with_its_numbers() {
    let table = torchvision();
    assert_eq!(table.len(), 7);
    for (name, entry) in &table {
        let architecture = network(name);
        assert_eq!(architecture.name, name);
        let graph = architecture.published_whole_graph();
        let norms = graph
            .layers()
            .iter()
            .filter(|layer| matches!(layer.kind, LayerKind::BatchNorm { .. }));
        // torchvision keeps a detector's batch norms as they are: their numbers are no parameters there.
        let frozen: usize = match name.starts_with("fcos") {
            true => norms.map(|layer| layer.parameter_count()).sum(),
            false => 0,
        };
        let parameters = graph.parameter_count() - frozen;
        assert_eq!(
            parameters,
            entry["params"].as_u64().unwrap() as usize,
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
        assert!(
            (billions - expected).abs() <= 0.000_51,
            "{name}: {billions} G multiply-adds, torchvision {expected}"
        );
        assert_eq!(
            architecture.min_input(),
            1,
            "{name}: torchvision takes a single pixel"
        );
        check_weights(architecture, entry);
    }
    // What no task reads is not offered.
    assert!(raw().all(|unread| architectures().all(|known| known.name != unread.name)));
    assert!(find("fcos_resnet50_fpn").is_err());
}

fn check_weights(architecture: &Architecture, entry: &Value) {
    let name = architecture.name;
    let [weights] = architecture.weights else {
        panic!("{name}: {} sets of weights", architecture.weights.len());
    };
    let [published] = &entry["weights"].as_array().unwrap()[..] else {
        panic!("{name}: one set of weights is known");
    };
    let is = |key: &str, value: Value| assert_eq!(published[key], value, "{name}: {key}");
    is("name", weights.name.into());
    is("url", weights.url.into());
    is("license", weights.license.spdx().into());
    let file = weights.url.unwrap().rsplit('/').next().unwrap();
    assert_eq!(weights.file_name, file);
    assert_eq!(
        weights.classes.count(),
        entry["classes"].as_u64().unwrap() as usize
    );
    assert_eq!(weights.classes.names()[0], "__background__");
    let figures = weights.accuracy.map(Accuracy::figures).unwrap_or_default();
    for key in ["acc1", "acc5", "miou", "pixel_acc", "box_map"] {
        let ours = figures.iter().find(|figure| figure.key == key);
        let theirs = published[key].as_f64().map(|percent| percent as f32);
        assert_eq!(ours.map(|figure| figure.percent), theirs, "{name}: {key}");
    }
    let preset = &weights.preset;
    assert_eq!(preset.crop(), None, "{name} sees the whole photo");
    assert_eq!(preset.interpolation(), Interpolation::Bilinear);
    // A detector prepares its photos itself; torchvision's table says nothing of that.
    if published["resize"].is_null() {
        assert_eq!(preset.resize(), 800);
        return;
    }
    is("resize", preset.resize().into());
    for (ours, key) in [(preset.mean(), "mean"), (preset.std(), "std")] {
        let theirs: Vec<f32> = serde_json::from_value(published[key].clone()).unwrap();
        assert_eq!(ours.to_vec(), theirs, "{name}: {key}");
    }
}

/// The convolutions that look further than their neighbours, by name.
fn dilated(name: &str) -> BTreeMap<String, usize> {
    let graph = network(name).published_whole_graph();
    let steps = graph.nodes().iter().filter_map(|node| match &node.op {
        Op::Convolution(step) if step.conv.dilation != [1, 1] => {
            assert_eq!(step.conv.stride, [1, 1], "{name} {}", node.name);
            assert_eq!(step.conv.dilation[0], step.conv.dilation[1]);
            Some((node.name.clone(), step.conv.dilation[0]))
        }
        _ => None,
    });
    steps.collect()
}

#[test]
fn dilation_stands_where_torchvision_has_it() {
    // `[(n, m.dilation[0]) for n, m in network.named_modules() if getattr(m, "dilation", 1) not in (1, (1, 1))]`
    let of_resnet = |blocks: usize| {
        let layer3 = (1..blocks).map(|i| (format!("backbone.layer3.{i}.conv2"), 2));
        let layer4 = (0..3).map(|i| {
            (
                format!("backbone.layer4.{i}.conv2"),
                if i == 0 { 2 } else { 4 },
            )
        });
        layer3.chain(layer4).collect::<BTreeMap<_, _>>()
    };
    let of_mobilenet = || {
        (13..16)
            .map(|i| (format!("backbone.{i}.block.1.0"), 2))
            .collect::<BTreeMap<_, _>>()
    };
    let with_pyramid = |mut found: BTreeMap<String, usize>| {
        found.extend(
            [12, 24, 36]
                .into_iter()
                .enumerate()
                .map(|(i, rate)| (format!("classifier.0.convs.{}.0", i + 1), rate)),
        );
        found
    };
    for (name, expected) in [
        ("fcn_resnet50", of_resnet(6)),
        ("fcn_resnet101", of_resnet(23)),
        ("deeplabv3_resnet50", with_pyramid(of_resnet(6))),
        ("deeplabv3_resnet101", with_pyramid(of_resnet(23))),
        ("deeplabv3_mobilenet_v3_large", with_pyramid(of_mobilenet())),
        ("lraspp_mobilenet_v3_large", of_mobilenet()),
        ("fcos_resnet50_fpn", BTreeMap::new()),
    ] {
        assert_eq!(dilated(name), expected, "{name}");
    }
}

#[test]
fn auxiliary_answers_are_written_where_they_are_asked_for() {
    let outputs = |name: &str, auxiliary: Option<usize>| {
        let options = Options {
            auxiliary,
            ..Options::default()
        };
        let graph = network(name).whole_graph([3, 97, 81], &options, 5).unwrap();
        let told = |output: &rekindle_networks::graph::Output| {
            let shape = graph.shape_of(output.value).to_vec();
            (output.name.clone(), output.auxiliary, shape)
        };
        graph.outputs().iter().map(told).collect::<Vec<_>>()
    };
    let whole = |classes: usize| vec![classes, 97, 81];
    for name in [
        "fcn_resnet50",
        "deeplabv3_resnet50",
        "deeplabv3_mobilenet_v3_large",
    ] {
        assert_eq!(
            outputs(name, None),
            [("out".to_owned(), false, whole(5))],
            "{name}"
        );
        let both = [
            ("out".to_owned(), false, whole(5)),
            ("aux".to_owned(), true, whole(5)),
        ];
        assert_eq!(outputs(name, Some(5)), both, "{name}");
    }
    // torchvision has none there.
    let lraspp = "lraspp_mobilenet_v3_large";
    assert_eq!(outputs(lraspp, Some(5)), outputs(lraspp, None));
}

#[test]
fn a_detectors_heads_are_the_same_layers_on_every_level() {
    let architecture = network("fcos_resnet50_fpn");
    let graph = architecture
        .whole_graph([3, 137, 105], &Options::default(), 91)
        .unwrap();
    let shape = |name: &str| graph.shape_of(graph.value(name).unwrap());
    for (level, size) in [
        ("p3", [18, 14]),
        ("p4", [9, 7]),
        ("p5", [5, 4]),
        ("p6", [3, 2]),
        ("p7", [2, 1]),
    ] {
        let maps = |channels| [channels, size[0], size[1]];
        assert_eq!(shape(level), maps(256));
        assert_eq!(shape(&format!("cls_logits.{level}")), maps(91));
        assert_eq!(shape(&format!("bbox_regression.{level}")), maps(4));
        assert_eq!(shape(&format!("bbox_ctrness.{level}")), maps(1));
    }
    assert_eq!(graph.outputs().len(), 15);
    let of = |name: &str| {
        graph
            .nodes()
            .iter()
            .filter(|node| node.name == name)
            .count()
    };
    assert_eq!(of("head.classification_head.cls_logits"), 5);
    let written = |name: &str| {
        graph
            .layers()
            .iter()
            .filter(|layer| layer.name == name)
            .count()
    };
    assert_eq!(written("head.classification_head.cls_logits"), 1);
}
