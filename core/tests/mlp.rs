//! The two-layer head trains as PyTorch trains it, and an interrupted training goes on as if nothing
//! had happened.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use std::collections::BTreeMap;

use rekindle_core::device::Device;
use rekindle_core::head::HeadSlot;
use rekindle_core::head::MlpConfig;
use rekindle_core::random::Random;
use rekindle_core::train::MlpRecipe;
use rekindle_core::train::mlp::MlpTrainer;
use rekindle_core::train::{ClassWeights, Examples, HeadRecipe, HeadTrainer};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    images: usize,
    features: usize,
    hidden: usize,
    classes: usize,
    epochs: usize,
    batch: usize,
    rate: f64,
    weight_decay: f64,
    seed: u64,
    class_weights: Vec<f32>,
    losses: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    /// Mean and variance of both norms, by their place in the head.
    running: BTreeMap<String, Vec<f32>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("fixtures/mlp.json")).unwrap()
}

/// The features and labels that the Python script makes.
fn examples(golden: &Golden) -> Examples<'static> {
    let mut data = Random::new(99);
    let count = golden.images * golden.features;
    let draw = |_| data.uniform() * 4.0 - 1.0;
    let features: Vec<f32> = (0..count).map(draw).collect();
    let labels = (0..golden.images)
        .map(|_| data.below(golden.classes))
        .collect();
    Examples::new(golden.features, features, labels)
}

fn trainer(golden: &Golden, dropout: f64) -> MlpTrainer<'static> {
    let config = MlpConfig {
        hidden: golden.hidden,
        dropout,
    };
    let recipe = MlpRecipe {
        epochs: golden.epochs,
        batch: golden.batch,
        rate: golden.rate,
        weight_decay: golden.weight_decay,
    };
    let weights = golden.class_weights.clone();
    MlpTrainer::new(
        config,
        HeadSlot::linear("layers"),
        recipe,
        examples(golden),
        weights,
        golden.seed,
    )
    .unwrap()
}

fn close(found: &[f32], truth: &[f32], allowed: f32, what: &str) {
    assert_eq!(found.len(), truth.len(), "{what}");
    for (a, b) in found.iter().zip(truth) {
        assert!(
            (a - b).abs() <= allowed * (1.0 + b.abs()),
            "{what}: {a} where PyTorch has {b}"
        );
    }
}

#[test]
fn the_loss_curve_the_weights_and_the_running_statistics_are_pytorchs() {
    let golden = golden();
    let mut trainer = trainer(&golden, 0.0);
    let mut losses = Vec::new();
    pollster::block_on(async {
        loop {
            let progress = trainer.step().await.unwrap();
            losses.extend(progress.loss);
            if progress.done {
                break;
            }
        }
    });
    close(&losses, &golden.losses, 1e-4, "losses");
    let tensors = pollster::block_on(trainer.head()).unwrap();
    close(
        &tensors["layers.5.weight"].1,
        &golden.weight,
        1e-3,
        "weight",
    );
    close(&tensors["layers.5.bias"].1, &golden.bias, 1e-3, "bias");
    assert_eq!(golden.running.len(), 4);
    for (name, truth) in &golden.running {
        close(&tensors[name].1, truth, 1e-3, name);
    }
}

#[test]
fn an_interrupted_training_equals_an_uninterrupted_one() {
    let golden = golden();
    let run = |interrupt_at: Option<usize>| {
        pollster::block_on(async {
            let mut current = trainer(&golden, 0.5);
            let mut losses = Vec::new();
            for step in 0.. {
                if Some(step) == interrupt_at {
                    let state = serde_json::to_string(&current.state().await.unwrap()).unwrap();
                    current = trainer(&golden, 0.5);
                    current
                        .restore(&serde_json::from_str(&state).unwrap())
                        .unwrap();
                }
                let progress = current.step().await.unwrap();
                losses.extend(progress.loss);
                if progress.done {
                    break;
                }
            }
            (losses, current.head().await.unwrap())
        })
    };
    let whole = run(None);
    for step in [1, 4, 7] {
        assert!(run(Some(step)) == whole, "interrupted at step {step}");
    }
}

#[test]
fn a_head_trainer_of_either_kind_goes_on_where_it_was() {
    let golden = golden();
    let slot = HeadSlot::linear("fc");
    for recipe in [HeadRecipe::default(), HeadRecipe::mlp()] {
        let recipe = recipe.with_class_weights(ClassWeights::Balanced);
        let new = || {
            let examples = examples(&golden);
            HeadTrainer::new(
                &recipe,
                examples,
                golden.classes,
                slot,
                3,
                None,
                &Device::flex(),
            )
            .unwrap()
        };
        pollster::block_on(async {
            let mut whole = new();
            let mut first = new();
            for _ in 0..3 {
                whole.step().await.unwrap();
                first.step().await.unwrap();
            }
            let state = first.state().await.unwrap();
            let mut second = new();
            second.restore(&state).unwrap();
            for _ in 0..3 {
                assert_eq!(
                    whole.step().await.unwrap().loss,
                    second.step().await.unwrap().loss
                );
            }
        });
    }
}
