//! Whole networks train as PyTorch trains them: the same weights and batches give the same losses.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use burn::tensor::{Device, Int, Tensor, TensorData};
use rekindle_core::backbone::find;
use rekindle_core::graph::Options;
use rekindle_core::network::Network;
use rekindle_core::random::{Random, hash};
use rekindle_core::train::{Classifier, Sgd, SgdConfig};
use rekindle_core::weights::{Generated, state_dict, take};
use rekindle_tests::{root, test_adapter};
use serde_json::Value;

const CLASSES: usize = 1000;

/// A network with generated weights.
fn generated(name: &str, side: usize, device: &Device) -> Classifier {
    let architecture = find(name).unwrap();
    let graph = architecture.whole_graph([3, side, side], &Options::default(), CLASSES);
    // No two libraries draw the same dropout.
    let graph = graph.unwrap().without_randomness();
    let (tensors, report) = take(graph.tensors(), &Generated).unwrap();
    assert!(report.missing.is_empty(), "{report:?}");
    let network = Network::new(graph, &state_dict([&tensors]), device).unwrap();
    Classifier::new(network, 0)
}

/// The batch of a step, as `tests/parity/make_sgd_goldens.py` makes it.
fn batch(step: usize, count: usize, side: usize, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let mut random = Random::new(hash(&format!("batch.{step}")));
    let shape = [count, 3, side, side];
    let images: Vec<f32> = (0..shape.iter().product())
        .map(|_| (2.0 * random.uniform() - 1.0) * 2.0)
        .collect();
    let labels: Vec<i32> = (0..count)
        .map(|image| ((step * 37 + image * 101) % CLASSES) as i32)
        .collect();
    (
        Tensor::from_data(TensorData::new(images, shape), device),
        Tensor::from_data(TensorData::new(labels, [count]), device),
    )
}

fn follows_pytorch(name: &str, device: &Device, allowed: f64) {
    let text = std::fs::read_to_string(root().join("tests/goldens/sgd.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let number = |key: &str| golden[key].as_f64().unwrap();
    let (count, side) = (number("batch") as usize, number("side") as usize);
    let curve = &golden["networks"][name];
    let floats = |key: &str| -> Vec<f64> { serde_json::from_value(curve[key].clone()).unwrap() };

    let mut model = generated(name, side, device);
    let device = device.clone().autodiff();
    let mut sgd = Sgd::new(SgdConfig {
        momentum: number("momentum"),
        weight_decay: number("decay"),
    });
    let rate = curve["rate"].as_f64().unwrap();
    let mut worst = 0.0_f64;
    for (step, expected) in floats("losses").into_iter().enumerate() {
        let (images, labels) = batch(step, count, side, &device);
        let loss = model.loss(images, labels);
        let found = pollster::block_on(loss.clone().into_data_async()).unwrap();
        let found = f64::from(found.iter::<f32>().next().unwrap());
        let error = (found - expected).abs() / expected;
        println!("{name} step {step}: {found:.5}, PyTorch {expected:.5}, off by {error:.1e}");
        assert!(error < allowed, "{name} step {step}: off by {error:.1e}");
        worst = worst.max(error);
        model.descend(&loss, &mut sgd, rate);
    }
    println!("{name}: worst relative difference of the loss {worst:.1e}");

    // Where batch norm ended up: the running variance is of the unbiased kind.
    let norm = curve["norm"].as_str().unwrap();
    let numbers = pollster::block_on(model.network().tensors()).unwrap();
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
