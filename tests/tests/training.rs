//! Whole networks train as PyTorch trains them: the same weights and batches give the same losses.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use burn::tensor::{Device, Tensor, TensorData};
use rekindle_core::backbone::find;
use rekindle_core::graph::Options;
use rekindle_core::network::Network;
use rekindle_core::random::{Random, hash};
use rekindle_core::tune::{
    Aims, Descent, Draws, Engine as _, Given, Labels, Optimizer, Rate, Stepwise,
};
use rekindle_core::weights::{Generated, state_dict, take};
use rekindle_tests::{root, test_adapter};
use serde_json::Value;

const CLASSES: usize = 1000;

/// A network with generated weights.
fn generated(name: &str, side: usize, device: &Device) -> Stepwise {
    let architecture = find(name).unwrap();
    let graph = architecture.whole_graph([3, side, side], &Options::default(), CLASSES);
    // No two libraries draw the same dropout.
    let graph = graph.unwrap().without_randomness();
    let (tensors, report) = take(graph.tensors(), &Generated).unwrap();
    assert!(report.missing.is_empty(), "{report:?}");
    let network = Network::new(graph, &state_dict([&tensors]), device).unwrap();
    Stepwise::new(network, device)
}

/// The batch of a step, as `tests/parity/make_sgd_goldens.py` makes it.
fn batch(step: usize, count: usize, side: usize, device: &Device) -> (Tensor<4>, Vec<usize>) {
    let mut random = Random::new(hash(&format!("batch.{step}")));
    let shape = [count, 3, side, side];
    let images: Vec<f32> = (0..shape.iter().product())
        .map(|_| (2.0 * random.uniform() - 1.0) * 2.0)
        .collect();
    let labels = (0..count).map(|image| (step * 37 + image * 101) % CLASSES);
    let images = Tensor::from_data(TensorData::new(images, shape), device);
    (images, labels.collect())
}

fn follows_pytorch(name: &str, device: &Device, allowed: f64) {
    let text = std::fs::read_to_string(root().join("tests/goldens/sgd.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let number = |key: &str| golden[key].as_f64().unwrap();
    let (count, side) = (number("batch") as usize, number("side") as usize);
    let curve = &golden["networks"][name];
    let floats = |key: &str| -> Vec<f64> { serde_json::from_value(curve[key].clone()).unwrap() };

    let mut engine = generated(name, side, device);
    let optimizer = Optimizer::Sgd {
        momentum: number("momentum"),
        nesterov: false,
        weight_decay: number("decay"),
    };
    let rate = Rate {
        rate: curve["rate"].as_f64().unwrap(),
        decays: true,
    };
    let names = engine.network().graph().tensors();
    let rates = names.map(|(name, _)| (name, rate)).collect();
    let mut worst = 0.0_f64;
    for (step, expected) in floats("losses").into_iter().enumerate() {
        let (images, labels) = batch(step, count, side, device);
        let aims = Aims {
            labels: Labels::Classes(labels),
            answers: CLASSES,
            weights: vec![1.0; CLASSES],
            smoothing: 0.0,
        };
        let all: Vec<usize> = (0..count).collect();
        let draws = Draws {
            seed: 0,
            batch: step as u64,
            mix: None,
        };
        engine.accumulate(
            Given::images(images),
            &aims.goal(&all, &[&all], None),
            &draws,
        );
        engine.descend(&Descent {
            optimizer: &optimizer,
            rates: &rates,
            factor: 1.0,
            momentum: None,
            clip: None,
        });
        let found = f64::from(pollster::block_on(engine.losses()).unwrap()[0]);
        let error = (found - expected).abs() / expected;
        println!("{name} step {step}: {found:.5}, PyTorch {expected:.5}, off by {error:.1e}");
        assert!(error < allowed, "{name} step {step}: off by {error:.1e}");
        worst = worst.max(error);
    }
    println!("{name}: worst relative difference of the loss {worst:.1e}");

    // Where batch norm ended up: the running variance is of the unbiased kind.
    let norm = curve["norm"].as_str().unwrap();
    let numbers = pollster::block_on(engine.tensors(false)).unwrap();
    for key in ["running_mean", "running_var"] {
        let found = &numbers[&format!("{norm}.{key}")].1;
        for (found, expected) in found.iter().zip(floats(key)) {
            let error = (f64::from(*found) - expected).abs() / (1.0 + expected.abs());
            assert!(
                error < 1e-4,
                "{name} {norm}.{key}: {found}, PyTorch {expected}"
            );
        }
    }
}

#[test]
fn resnet18_follows_pytorch_on_the_processor() {
    follows_pytorch("resnet18", &Device::flex(), 1e-4);
}

#[test]
fn mobilenet_v3_small_follows_pytorch_on_the_processor() {
    follows_pytorch("mobilenet_v3_small", &Device::flex(), 1e-4);
}

#[test]
fn both_follow_pytorch_on_wgsl() {
    let Some(adapter) = test_adapter() else {
        return;
    };
    follows_pytorch("resnet18", &adapter.device, 1e-3);
    follows_pytorch("mobilenet_v3_small", &adapter.device, 1e-3);
}
