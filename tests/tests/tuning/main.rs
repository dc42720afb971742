//! Fine-tuning moves numbers as PyTorch does: ten steps of whole networks with every optimiser, schedule, mode of batch
//! norm, loss and way to freeze (`tests/parity/make_tuning_goldens.py`), and trainings that were interrupted end as
//! those that were not.
//!
//! Each kind runs at least once always; cases that repeat a kind on another network run with `REKINDLE_NIGHTLY=1`.

#![allow(clippy::unwrap_used)] // tests, where a panic is the report

mod follow;
mod golden;
mod memory;
mod page;
mod resume;
mod schedules;
mod trainer;

use std::collections::BTreeSet;

use burn::tensor::Device;
use follow::{PROCESSOR, WGSL, follows};
use golden::Told;
use rekindle_tests::{is_nightly, test_adapter};

/// Cases of a kind: those that always run, and those that run at night.
type Cases = (&'static [&'static str], &'static [&'static str]);

const SGD: Cases = (
    &["sgd_vit", "sgd_plain", "nesterov_mobilenet"],
    &["nesterov_vit", "sgd_convnext", "sgd_swin"],
);
const ADAM: Cases = (
    &["adamw_mobilenet", "adam_vit"],
    &[
        "adamw_vit",
        "adamw_convnext",
        "adamw_swin",
        "adamw_resnet18",
        "adam_mobilenet",
        "adamw_defaults",
    ],
);
const OTHER_RULES: Cases = (
    &[
        "lamb_vit",
        "lamb_mobilenet",
        "rmsprop_mobilenet",
        "rmsprop_centered",
    ],
    &["rmsprop_vit"],
);
const SCHEDULES: Cases = (
    &[
        "cosine",
        "one_cycle",
        "one_cycle_fastai",
        "step",
        "polynomial",
        "plateau",
        "one_cycle_adamw",
    ],
    &[],
);
const BATCH_NORM: Cases = (
    &[
        "sgd_resnet18",
        "sgd_mobilenet",
        "statistics_batch_affine_frozen",
        "statistics_running_affine_trained",
        "statistics_running_affine_frozen",
    ],
    &[
        "statistics_running_affine_trained_resnet18",
        "statistics_running_affine_frozen_resnet18",
    ],
);
const LAYER_DECAY: Cases = (&["layer_decay_vit", "layer_decay_resnet18"], &[]);
const CLIPPED_AND_ACCUMULATED: Cases = (
    &[
        "clip",
        "accumulated_unevenly",
        "accumulated_by_the_batch",
        "accumulated_and_clipped",
    ],
    &["clip_adamw", "accumulated"],
);
const MIXED: Cases = (&["mixup_smoothed", "cutmix", "weighted_mixup"], &["mixup"]);
const LOSSES: Cases = (
    &[
        "smoothed",
        "weighted_smoothed",
        "multi_label",
        "mse",
        "huber",
    ],
    &["weighted", "smooth_l1"],
);
const AVERAGED: Cases = (&["ema", "everything"], &[]);
const FROZEN: Cases = (
    &[
        "last_resnet18",
        "last_mobilenet",
        "last_mobilenet_spared",
        "last_mobilenet_by_the_batch",
        "last_vit",
        "last_convnext",
        "last_swin",
    ],
    &[],
);
/// What we do not offer: no recipe asks for dampening.
const NOT_OURS: &[&str] = &["sgd_dampened"];

fn all_follow((always, at_night): Cases) {
    let at_night = if is_nightly() { at_night } else { &[] };
    for name in always.iter().chain(at_night) {
        follows(name, &Device::flex(), PROCESSOR);
    }
}

#[test]
fn sgd_moves_as_pytorchs() {
    all_follow(SGD);
}

#[test]
fn adam_and_adamw_move_as_pytorchs() {
    all_follow(ADAM);
}

#[test]
fn lamb_and_rmsprop_move_as_timms_and_pytorchs() {
    all_follow(OTHER_RULES);
}

#[test]
fn every_schedule_moves_numbers_as_pytorchs_and_fastais() {
    all_follow(SCHEDULES);
}

#[test]
fn batch_norms_follow_the_batch_or_keep_what_they_have() {
    all_follow(BATCH_NORM);
}

#[test]
fn rates_fall_by_layer_as_timms() {
    all_follow(LAYER_DECAY);
}

#[test]
fn gradients_are_clipped_and_added_up_as_pytorchs() {
    all_follow(CLIPPED_AND_ACCUMULATED);
}

#[test]
fn images_and_targets_are_mixed_as_torchvisions() {
    all_follow(MIXED);
}

#[test]
fn losses_are_pytorchs() {
    all_follow(LOSSES);
}

#[test]
fn moving_averages_are_timms() {
    all_follow(AVERAGED);
}

#[test]
fn what_is_frozen_stays_and_the_rest_moves_as_pytorchs() {
    all_follow(FROZEN);
}

#[test]
fn a_network_with_batch_norm_and_one_with_adamw_follow_on_wgsl() {
    let Some(adapter) = test_adapter() else {
        return;
    };
    follows("sgd_mobilenet", &adapter.device, WGSL);
    follows("adamw_mobilenet", &adapter.device, WGSL);
}

#[test]
fn clipping_averages_and_lambs_lengths_follow_on_wgsl() {
    // Otherwise `core/tests/stepwise.rs` holds adapters against the processor, on a network that takes less.
    let Some(adapter) = is_nightly().then(test_adapter).flatten() else {
        return;
    };
    follows("everything", &adapter.device, WGSL);
    follows("lamb_vit", &adapter.device, WGSL);
}

#[test]
fn no_case_of_the_golden_is_left_out() {
    let groups = [
        SGD,
        ADAM,
        OTHER_RULES,
        SCHEDULES,
        BATCH_NORM,
        LAYER_DECAY,
        CLIPPED_AND_ACCUMULATED,
        MIXED,
        LOSSES,
        AVERAGED,
        FROZEN,
        (NOT_OURS, &[]),
    ];
    let named = groups
        .iter()
        .flat_map(|(always, at_night)| always.iter().chain(*at_night));
    let named: Vec<&str> = named.copied().collect();
    let told = Told::read();
    let known: BTreeSet<&str> = told.cases().collect();
    assert_eq!(named.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(named.len(), known.len(), "a case stands in two groups");
}
