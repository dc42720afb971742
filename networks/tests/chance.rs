//! What is dropped at random is what torchvision's argument `dropout` says, in whatever layers a network drops.

#![allow(clippy::unwrap_used)] // tests, where a panic is the report

use rekindle_networks::backbone::find;
use rekindle_networks::graph::{Graph, Op, Options};

fn shares(graph: &Graph) -> Vec<f64> {
    let shares = graph.nodes().iter().filter_map(|node| match &node.op {
        Op::Dropout(dropout) => Some(dropout.share),
        _ => None,
    });
    shares.collect()
}

#[test]
fn dropout_is_changed_in_hidden_layers_too_and_not_in_auxiliary_classifiers() {
    // As torchvision writes them: MobileNetV3's stands behind a hidden layer, VGG's are two, GoogLeNet's auxiliary
    // classifiers have a share of their own.
    let options = Options {
        auxiliary: Some(10),
        ..Options::default()
    };
    for (name, own, changed) in [
        ("mobilenet_v3_small", vec![0.2], vec![0.4]),
        ("efficientnet_b0", vec![0.2], vec![0.4]),
        ("vgg11", vec![0.5, 0.5], vec![0.4, 0.4]),
        ("googlenet", vec![0.7, 0.7, 0.2], vec![0.7, 0.7, 0.4]),
    ] {
        let architecture = find(name).unwrap();
        let graph = architecture.whole_graph([3, 224, 224], &options, 10);
        let graph = graph.unwrap();
        assert_eq!(sorted(shares(&graph)), sorted(own), "{name}");
        assert_eq!(shares(&graph.with_chance(None, None)), shares(&graph));
        let other = graph.with_chance(Some(0.4), None);
        assert_eq!(sorted(shares(&other)), sorted(changed), "{name}");
    }
}

fn sorted(mut shares: Vec<f64>) -> Vec<f64> {
    shares.sort_by(f64::total_cmp);
    shares
}
