//! MNASNet: a mobile network found by search, the B1 variant.
//!
//! Tan et al., *MnasNet: Platform-Aware Neural Architecture Search for Mobile*,
//! <https://arxiv.org/abs/1807.11626>; layer for layer torchvision's `mnasnet.py`.

use super::architecture::{Architecture, HeadSlot};
use super::parts::{make_divisible, skip};
use super::pretrained::PretrainedWeights;
use super::published;
use crate::graph::{Conv, Init, InitRules, Norm, Value};

/// TensorFlow's 0.9997, seen from PyTorch's side.
const NORM: Norm = Norm::new(1e-5, 1.0 - 0.9997);

/// A stack of blocks: kernel, the first one's stride, how much they widen, how many, channels.
const STACKS: [(usize, usize, usize, usize, usize); 6] = [
    (3, 2, 3, 3, 24),
    (5, 2, 3, 3, 40),
    (5, 2, 6, 3, 80),
    (3, 1, 6, 2, 96),
    (5, 2, 6, 4, 192),
    (3, 1, 6, 1, 320),
];

fn mnasnet(image: Value, alpha: f64) -> Value {
    let scaled = |channels: usize| make_divisible(channels as f64 * alpha, 8);
    image.within("layers", |x| {
        let first = scaled(32);
        let mut x = x
            .stem_conv("0", Conv::new(first, 3).stride(2))
            .batch_norm("1", NORM)
            .relu()
            .conv("3", Conv::new(first, 3).groups(first))
            .batch_norm("4", NORM)
            .relu()
            .conv("6", Conv::new(scaled(16), 1))
            .batch_norm("7", NORM)
            .stage("stem");
        for (index, (kernel, stride, expansion, repeats, channels)) in
            STACKS.into_iter().enumerate()
        {
            x = x.within(index + 8, |x| {
                (0..repeats).fold(x.clone(), |x, block| {
                    let stride = if block == 0 { stride } else { 1 };
                    x.within(format!("{block}.layers"), |x| {
                        inverted_residual(x, kernel, stride, expansion, scaled(channels))
                    })
                })
            });
            x = x.stage(format!("stage{}", index + 1));
        }
        x.conv("14", Conv::new(1280, 1))
            .batch_norm("15", NORM)
            .relu()
            .stage("conv_head")
    })
}

fn inverted_residual(
    x: &Value,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
) -> Value {
    let wide = x.channels() * expansion;
    let y = x
        .conv("0", Conv::new(wide, 1))
        .batch_norm("1", NORM)
        .relu()
        .conv("3", Conv::new(wide, kernel).stride(stride).groups(wide))
        .batch_norm("4", NORM)
        .relu()
        .conv("6", Conv::new(channels, 1))
        .batch_norm("7", NORM);
    skip(x, y, stride)
}

const INIT: InitRules = InitRules {
    conv: Init::KaimingNormalFanOut,
    conv_bias: Init::Constant(0.0),
    linear: Init::LecunUniformFanOut,
    linear_bias: Init::Constant(0.0),
    special: &[],
    parts: &[],
};

const fn entry(
    name: &'static str,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    let head = HeadSlot::linear("classifier.1").dropout(0.2);
    Architecture::new(name, "MNASNet", head, describe, weights).init(INIT)
}

/// The family as torchvision publishes it.
pub(super) const MNASNETS: [Architecture; 4] = [
    entry("mnasnet0_5", |x| mnasnet(x, 0.5), published::MNASNET0_5),
    entry("mnasnet0_75", |x| mnasnet(x, 0.75), published::MNASNET0_75),
    entry("mnasnet1_0", |x| mnasnet(x, 1.0), published::MNASNET1_0),
    entry("mnasnet1_3", |x| mnasnet(x, 1.3), published::MNASNET1_3),
];
