//! EfficientNet-Lite: EfficientNet without squeeze-and-excitation and with ReLU6, so that phones and
//! quantisers like it.
//!
//! Google's release: <https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite>;
//! Tan and Le, *EfficientNet*, <https://arxiv.org/abs/1905.11946>. Names and layout are timm's
//! `tf_efficientnet_lite0`: TensorFlow's "SAME" padding and a batch-norm epsilon of 1e-3.

use super::architecture::{Architecture, HeadSlot};
use super::classes::Classes;
use super::parts::{make_divisible, skip};
use super::pretrained::{Accuracy, License, PretrainedWeights};
use super::published;
use crate::graph::Nonlinearity::Relu6;
use crate::graph::{Conv, Init, InitRules, Norm, Value};

const NORM: Norm = Norm::new(1e-3, 0.1);
const STEM: usize = 32;
const FEATURES: usize = 1280;

/// A stage: expansion, kernel, the first block's stride, channels, blocks.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

/// The larger ones keep the stem, the head, and the depth of the first and last stage.
fn lite(image: Value, width: f64, depth: f64) -> Value {
    let mut x = image
        .stem_conv("conv_stem", Conv::new(STEM, 3).stride(2).same())
        .batch_norm("bn1", NORM)
        .activate(Relu6)
        .stage("stem");
    let last = STAGES.len() - 1;
    for (index, (expansion, kernel, stride, channels, blocks)) in STAGES.into_iter().enumerate() {
        let channels = make_divisible(channels as f64 * width, 8);
        let blocks = match index {
            0 => blocks,
            n if n == last => blocks,
            _ => (blocks as f64 * depth).ceil() as usize,
        };
        for block in 0..blocks {
            let stride = if block == 0 { stride } else { 1 };
            x = x.within(format!("blocks.{index}.{block}"), |x| match expansion {
                1 => separable(x, kernel, stride, channels),
                _ => inverted(x, expansion, kernel, stride, channels),
            });
        }
        x = x.stage(format!("blocks.{index}"));
    }
    x.conv("conv_head", Conv::new(FEATURES, 1))
        .batch_norm("bn2", NORM)
        .activate(Relu6)
        .stage("conv_head")
}

/// Filter depthwise, project.
fn separable(x: &Value, kernel: usize, stride: usize, channels: usize) -> Value {
    let input = x.channels();
    let depthwise = Conv::new(input, kernel).stride(stride).groups(input).same();
    let y = x
        .conv("conv_dw", depthwise)
        .batch_norm("bn1", NORM)
        .activate(Relu6)
        .conv("conv_pw", Conv::new(channels, 1))
        .batch_norm("bn2", NORM);
    skip(x, y, stride)
}

/// Expand, filter depthwise, project.
fn inverted(x: &Value, expansion: usize, kernel: usize, stride: usize, channels: usize) -> Value {
    let wide = x.channels() * expansion;
    let depthwise = Conv::new(wide, kernel).stride(stride).groups(wide).same();
    let y = x
        .conv("conv_pw", Conv::new(wide, 1))
        .batch_norm("bn1", NORM)
        .activate(Relu6)
        .conv("conv_dw", depthwise)
        .batch_norm("bn2", NORM)
        .activate(Relu6)
        .conv("conv_pwl", Conv::new(channels, 1))
        .batch_norm("bn3", NORM);
    skip(x, y, stride)
}

/// The file that comes with Rekindle, Google's own, then timm's of the same.
const LITE0_WEIGHTS: [PretrainedWeights; 2] = [
    PretrainedWeights {
        name: "BUNDLED",
        file_name: "efficientnet_lite0.safetensors",
        url: None,
        license: License::Apache2,
        source: "bundled, from Google's tensorflow/tpu release",
        preset: published::EFFICIENTNET_LITE0[0].preset,
        accuracy: Some(Accuracy::Photos {
            top1: 74.83,
            top5: 92.17,
        }),
        classes: Classes::ImageNet,
    },
    published::EFFICIENTNET_LITE0[0],
];

const INIT: InitRules = InitRules {
    conv: Init::KaimingNormalFanOut,
    linear: Init::UniformFanOut,
    linear_bias: Init::Constant(0.0),
    ..InitRules::TORCH
};

/// The first of the aliases is timm's name.
const fn entry(
    name: &'static str,
    aliases: &'static [&'static str],
    input_size: usize,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    Architecture {
        aliases,
        input_size,
        ..Architecture::new(
            name,
            "EfficientNet-Lite",
            HeadSlot::linear("classifier"),
            describe,
            weights,
        )
        .timm(aliases[0])
        .init(INIT)
    }
}

/// The family, in the names of this project; timm prefixes them with `tf_`.
pub(super) const EFFICIENTNET_LITES: [Architecture; 5] = [
    entry(
        "efficientnet_lite0",
        &["tf_efficientnet_lite0", "efficientnetlite0"],
        224,
        |x| lite(x, 1.0, 1.0),
        &LITE0_WEIGHTS,
    ),
    entry(
        "efficientnet_lite1",
        &["tf_efficientnet_lite1"],
        240,
        |x| lite(x, 1.0, 1.1),
        published::EFFICIENTNET_LITE1,
    ),
    entry(
        "efficientnet_lite2",
        &["tf_efficientnet_lite2"],
        260,
        |x| lite(x, 1.1, 1.2),
        published::EFFICIENTNET_LITE2,
    ),
    entry(
        "efficientnet_lite3",
        &["tf_efficientnet_lite3"],
        300,
        |x| lite(x, 1.2, 1.4),
        published::EFFICIENTNET_LITE3,
    ),
    entry(
        "efficientnet_lite4",
        &["tf_efficientnet_lite4"],
        380,
        |x| lite(x, 1.4, 1.8),
        published::EFFICIENTNET_LITE4,
    ),
];
