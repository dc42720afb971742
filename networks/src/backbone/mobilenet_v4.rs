//! MobileNetV4: one universal block for every phone.
//!
//! Qin et al., *MobileNetV4: Universal Models for the Mobile Ecosystem*,
//! <https://arxiv.org/abs/2404.10518>; layer for layer timm's `mobilenetv4_conv_small` and
//! `mobilenetv4_conv_medium`.

use super::architecture::{Architecture, HeadSlot};
use super::parts::{make_divisible, skip};
use super::pretrained::PretrainedWeights;
use super::published;
use crate::graph::{Conv, Init, InitRules, Norm, Value};

/// A block; its first number is its output's channels.
#[derive(Clone, Copy)]
enum Block {
    /// A plain convolution: channels, kernel, stride.
    Conv(usize, usize, usize),
    /// One full convolution that expands fourfold with stride 2, then a projection.
    Fused(usize),
    /// The universal inverted bottleneck: channels, kernels of the depthwise convolutions before and
    /// within the expansion (0 for none), stride, expansion.
    Universal(usize, usize, usize, usize, usize),
}

use Block::{Conv as Plain, Fused, Universal};

const SMALL: [&[Block]; 5] = [
    &[Plain(32, 3, 2), Plain(32, 1, 1)],
    &[Plain(96, 3, 2), Plain(64, 1, 1)],
    &[
        Universal(96, 5, 5, 2, 3),
        Universal(96, 0, 3, 1, 2),
        Universal(96, 0, 3, 1, 2),
        Universal(96, 0, 3, 1, 2),
        Universal(96, 0, 3, 1, 2),
        Universal(96, 3, 0, 1, 4),
    ],
    &[
        Universal(128, 3, 3, 2, 6),
        Universal(128, 5, 5, 1, 4),
        Universal(128, 0, 5, 1, 4),
        Universal(128, 0, 5, 1, 3),
        Universal(128, 0, 3, 1, 4),
        Universal(128, 0, 3, 1, 4),
    ],
    &[Plain(960, 1, 1)],
];

const MEDIUM: [&[Block]; 5] = [
    &[Fused(48)],
    &[Universal(80, 3, 5, 2, 4), Universal(80, 3, 3, 1, 2)],
    &[
        Universal(160, 3, 5, 2, 6),
        Universal(160, 3, 3, 1, 4),
        Universal(160, 3, 3, 1, 4),
        Universal(160, 3, 5, 1, 4),
        Universal(160, 3, 3, 1, 4),
        Universal(160, 3, 0, 1, 4),
        Universal(160, 0, 0, 1, 2),
        Universal(160, 3, 0, 1, 4),
    ],
    &[
        Universal(256, 5, 5, 2, 6),
        Universal(256, 5, 5, 1, 4),
        Universal(256, 3, 5, 1, 4),
        Universal(256, 3, 5, 1, 4),
        Universal(256, 0, 0, 1, 4),
        Universal(256, 3, 0, 1, 4),
        Universal(256, 3, 5, 1, 2),
        Universal(256, 5, 5, 1, 4),
        Universal(256, 0, 0, 1, 4),
        Universal(256, 0, 0, 1, 4),
        Universal(256, 5, 0, 1, 2),
    ],
    &[Plain(960, 1, 1)],
];

fn mobilenet_v4(image: Value, stages: [&[Block]; 5]) -> Value {
    let mut x = image
        .stem_conv("conv_stem", Conv::new(32, 3).stride(2))
        .batch_norm("bn1", Norm::TORCH)
        .relu()
        .stage("stem");
    for (stage, blocks) in stages.into_iter().enumerate() {
        let name = format!("blocks.{stage}");
        x = x.within(&name, |x| {
            let blocks = blocks.iter().enumerate();
            blocks.fold(x.clone(), |x, (index, &block)| {
                x.within(index, |x| match block {
                    Plain(channels, kernel, stride) => x
                        .conv("conv", Conv::new(channels, kernel).stride(stride))
                        .batch_norm("bn1", Norm::TORCH)
                        .relu(),
                    Fused(channels) => x
                        .conv("conv_exp", Conv::new(4 * x.channels(), 3).stride(2))
                        .batch_norm("bn1", Norm::TORCH)
                        .relu()
                        .conv("conv_pwl", Conv::new(channels, 1))
                        .batch_norm("bn2", Norm::TORCH),
                    Universal(channels, before, middle, stride, expansion) => {
                        universal(x, channels, [before, middle], stride, expansion)
                    }
                })
            })
        });
        x = x.stage(name);
    }
    x.global_average()
        .conv("conv_head", Conv::new(1280, 1))
        .batch_norm("norm_head", Norm::TORCH)
        .relu()
        .flatten()
        .stage("conv_head")
}

fn universal(
    x: &Value,
    channels: usize,
    [before, middle]: [usize; 2],
    stride: usize,
    expansion: usize,
) -> Value {
    let normed = |x: &Value, name: &str, conv: Conv| {
        x.within(name, |x| x.conv("conv", conv).batch_norm("bn", Norm::TORCH))
    };
    let depthwise = |x: &Value, kernel: usize, stride: usize| {
        let channels = x.channels();
        Conv::new(channels, kernel).stride(stride).groups(channels)
    };
    let wide = make_divisible((x.channels() * expansion) as f64, 8);
    let mut y = x.clone();
    if before > 0 {
        // The stride sits in the middle, where there is one.
        let stride = if middle > 0 { 1 } else { stride };
        y = normed(&y, "dw_start", depthwise(&y, before, stride));
    }
    y = normed(&y, "pw_exp", Conv::new(wide, 1)).relu();
    if middle > 0 {
        y = normed(&y, "dw_mid", depthwise(&y, middle, stride)).relu();
    }
    y = normed(&y, "pw_proj", Conv::new(channels, 1));
    skip(x, y, stride)
}

const INIT: InitRules = InitRules {
    conv: Init::KaimingNormalFanOut,
    linear: Init::UniformFanOut,
    linear_bias: Init::Constant(0.0),
    ..InitRules::TORCH
};

const fn entry(
    name: &'static str,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    let head = HeadSlot::linear("classifier");
    Architecture::new(name, "MobileNetV4", head, describe, weights)
        .timm(name)
        .init(INIT)
}

/// The convolutional members as timm publishes them.
pub(super) const MOBILENETS_V4: [Architecture; 2] = [
    entry(
        "mobilenetv4_conv_small",
        |x| mobilenet_v4(x, SMALL),
        published::MOBILENETV4_CONV_SMALL,
    ),
    Architecture {
        input_size: 256,
        ..entry(
            "mobilenetv4_conv_medium",
            |x| mobilenet_v4(x, MEDIUM),
            published::MOBILENETV4_CONV_MEDIUM,
        )
    },
];
