//! EfficientNet and EfficientNetV2: width, depth and resolution grown together.
//!
//! Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*,
//! <https://arxiv.org/abs/1905.11946>, and *EfficientNetV2: Smaller Models and Faster Training*,
//! <https://arxiv.org/abs/2104.00298>; layer for layer torchvision's `efficientnet.py`.

use super::architecture::{Architecture, HeadSlot};
use super::parts::{conv_norm_act, depth_share, make_divisible, squeeze_excite, stem_norm_act};
use super::pretrained::PretrainedWeights;
use super::published;
use crate::graph::Nonlinearity::{Sigmoid, Silu};
use crate::graph::{Conv, Init, InitRules, Norm, Value};

/// What a stage's blocks are.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Expand by 1×1, filter depthwise, squeeze and excite, project.
    Inverted,
    /// Expand and filter by one full convolution.
    Fused,
}

/// A stage: kind, expansion, kernel, the first block's stride, channels, blocks.
type StageRow = (Kind, usize, usize, usize, usize, usize);

const B0: [StageRow; 7] = [
    (Kind::Inverted, 1, 3, 1, 16, 1),
    (Kind::Inverted, 6, 3, 2, 24, 2),
    (Kind::Inverted, 6, 5, 2, 40, 2),
    (Kind::Inverted, 6, 3, 2, 80, 3),
    (Kind::Inverted, 6, 5, 1, 112, 3),
    (Kind::Inverted, 6, 5, 2, 192, 4),
    (Kind::Inverted, 6, 3, 1, 320, 1),
];

const V2_S: &[StageRow] = &[
    (Kind::Fused, 1, 3, 1, 24, 2),
    (Kind::Fused, 4, 3, 2, 48, 4),
    (Kind::Fused, 4, 3, 2, 64, 4),
    (Kind::Inverted, 4, 3, 2, 128, 6),
    (Kind::Inverted, 6, 3, 1, 160, 9),
    (Kind::Inverted, 6, 3, 2, 256, 15),
];

const V2_M: &[StageRow] = &[
    (Kind::Fused, 1, 3, 1, 24, 3),
    (Kind::Fused, 4, 3, 2, 48, 5),
    (Kind::Fused, 4, 3, 2, 80, 5),
    (Kind::Inverted, 4, 3, 2, 160, 7),
    (Kind::Inverted, 6, 3, 1, 176, 14),
    (Kind::Inverted, 6, 3, 2, 304, 18),
    (Kind::Inverted, 6, 3, 1, 512, 5),
];

const V2_L: &[StageRow] = &[
    (Kind::Fused, 1, 3, 1, 32, 4),
    (Kind::Fused, 4, 3, 2, 64, 7),
    (Kind::Fused, 4, 3, 2, 96, 7),
    (Kind::Inverted, 4, 3, 2, 192, 10),
    (Kind::Inverted, 6, 3, 1, 224, 19),
    (Kind::Inverted, 6, 3, 2, 384, 25),
    (Kind::Inverted, 6, 3, 1, 640, 7),
];

/// Share of residual branches dropped in training at the last block.
const STOCHASTIC_DEPTH: f64 = 0.2;

/// B0 widened and deepened; the large ones were trained by Google with another norm.
fn scaled(image: Value, width: f64, depth: f64, norm: Norm) -> Value {
    let wider = |channels: usize| make_divisible(channels as f64 * width, 8);
    let rows = B0.map(|(kind, expansion, kernel, stride, channels, blocks)| {
        let blocks = (blocks as f64 * depth).ceil() as usize;
        (kind, expansion, kernel, stride, wider(channels), blocks)
    });
    let last = 4 * wider(320);
    efficientnet(image, wider(32), &rows, last, norm)
}

fn v2(image: Value, rows: &[StageRow]) -> Value {
    efficientnet(image, rows[0].4, rows, 1280, V2_NORM)
}

fn efficientnet(image: Value, stem: usize, rows: &[StageRow], last: usize, norm: Norm) -> Value {
    let total: usize = rows.iter().map(|row| row.5).sum();
    image.within("features", |x| {
        let first = Conv::new(stem, 3).stride(2);
        let mut x = stem_norm_act(x, 0, first, norm, Silu).stage("stem");
        let mut done = 0;
        for (index, &(kind, expansion, kernel, stride, channels, blocks)) in rows.iter().enumerate()
        {
            for block in 0..blocks {
                let stride = if block == 0 { stride } else { 1 };
                let share = depth_share(STOCHASTIC_DEPTH, done, total);
                let name = format!("{}.{block}", index + 1);
                x = x.within(name, |x| {
                    let y = x.within("block", |x| match kind {
                        Kind::Inverted => inverted(x, expansion, kernel, stride, channels, norm),
                        Kind::Fused => fused(x, expansion, kernel, stride, channels, norm),
                    });
                    match stride == 1 && x.channels() == channels {
                        true => y.stochastic_depth(share) + x.clone(),
                        false => y,
                    }
                });
                done += 1;
            }
            x = x.stage(format!("stage{}", index + 1));
        }
        conv_norm_act(&x, rows.len() + 1, Conv::new(last, 1), norm, Some(Silu)).stage("conv_head")
    })
}

fn inverted(
    x: &Value,
    expansion: usize,
    kernel: usize,
    stride: usize,
    channels: usize,
    norm: Norm,
) -> Value {
    let wide = make_divisible((x.channels() * expansion) as f64, 8);
    let squeeze = (x.channels() / 4).max(1);
    let mut index = 0;
    let mut y = x.clone();
    if wide != x.channels() {
        y = conv_norm_act(&y, index, Conv::new(wide, 1), norm, Some(Silu));
        index += 1;
    }
    let depthwise = Conv::new(wide, kernel).stride(stride).groups(wide);
    y = conv_norm_act(&y, index, depthwise, norm, Some(Silu));
    y = squeeze_excite(&y, index + 1, squeeze, Silu, Sigmoid);
    conv_norm_act(&y, index + 2, Conv::new(channels, 1), norm, None)
}

fn fused(
    x: &Value,
    expansion: usize,
    kernel: usize,
    stride: usize,
    channels: usize,
    norm: Norm,
) -> Value {
    let wide = make_divisible((x.channels() * expansion) as f64, 8);
    if wide == x.channels() {
        let conv = Conv::new(channels, kernel).stride(stride);
        return conv_norm_act(x, 0, conv, norm, Some(Silu));
    }
    let expanded = conv_norm_act(
        x,
        0,
        Conv::new(wide, kernel).stride(stride),
        norm,
        Some(Silu),
    );
    conv_norm_act(&expanded, 1, Conv::new(channels, 1), norm, None)
}

/// The norm of the weights that Google trained.
const GOOGLE: Norm = Norm::new(1e-3, 0.01);
/// The norm of the second generation: only epsilon differs from PyTorch's.
const V2_NORM: Norm = Norm::new(1e-3, 0.1);

const INIT: InitRules = InitRules {
    conv: Init::KaimingNormalFanOut,
    conv_bias: Init::Constant(0.0),
    linear: Init::UniformFanOut,
    linear_bias: Init::Constant(0.0),
    special: &[],
    parts: &[],
};

const fn entry(
    name: &'static str,
    family: &'static str,
    input_size: usize,
    dropout: f64,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    Architecture {
        input_size,
        ..Architecture::new(
            name,
            family,
            HeadSlot::linear("classifier.1").dropout(dropout),
            describe,
            weights,
        )
        .init(INIT)
    }
}

const V1: &str = "EfficientNet";
const V2: &str = "EfficientNetV2";

/// The family as torchvision publishes it.
pub(super) const EFFICIENTNETS: [Architecture; 11] = [
    entry(
        "efficientnet_b0",
        V1,
        224,
        0.2,
        |x| scaled(x, 1.0, 1.0, Norm::TORCH),
        published::EFFICIENTNET_B0,
    ),
    entry(
        "efficientnet_b1",
        V1,
        240,
        0.2,
        |x| scaled(x, 1.0, 1.1, Norm::TORCH),
        published::EFFICIENTNET_B1,
    ),
    entry(
        "efficientnet_b2",
        V1,
        288,
        0.3,
        |x| scaled(x, 1.1, 1.2, Norm::TORCH),
        published::EFFICIENTNET_B2,
    ),
    entry(
        "efficientnet_b3",
        V1,
        300,
        0.3,
        |x| scaled(x, 1.2, 1.4, Norm::TORCH),
        published::EFFICIENTNET_B3,
    ),
    entry(
        "efficientnet_b4",
        V1,
        380,
        0.4,
        |x| scaled(x, 1.4, 1.8, Norm::TORCH),
        published::EFFICIENTNET_B4,
    ),
    entry(
        "efficientnet_b5",
        V1,
        456,
        0.4,
        |x| scaled(x, 1.6, 2.2, GOOGLE),
        published::EFFICIENTNET_B5,
    ),
    entry(
        "efficientnet_b6",
        V1,
        528,
        0.5,
        |x| scaled(x, 1.8, 2.6, GOOGLE),
        published::EFFICIENTNET_B6,
    ),
    entry(
        "efficientnet_b7",
        V1,
        600,
        0.5,
        |x| scaled(x, 2.0, 3.1, GOOGLE),
        published::EFFICIENTNET_B7,
    ),
    entry(
        "efficientnet_v2_s",
        V2,
        384,
        0.2,
        |x| v2(x, V2_S),
        published::EFFICIENTNET_V2_S,
    ),
    entry(
        "efficientnet_v2_m",
        V2,
        480,
        0.3,
        |x| v2(x, V2_M),
        published::EFFICIENTNET_V2_M,
    ),
    entry(
        "efficientnet_v2_l",
        V2,
        480,
        0.4,
        |x| v2(x, V2_L),
        published::EFFICIENTNET_V2_L,
    ),
];
