//! DenseNet: every layer sees all that came before it.
//!
//! Huang et al., *Densely Connected Convolutional Networks*, <https://arxiv.org/abs/1608.06993>;
//! layer for layer torchvision's `densenet.py`.

use super::architecture::{Architecture, HeadSlot};
use super::pretrained::PretrainedWeights;
use super::published;
use crate::graph::{Conv, Init, InitRules, Norm, Pool, Value};

/// Channels of the bottleneck, in units of the growth.
const BOTTLENECK: usize = 4;

fn densenet(image: Value, growth: usize, stem: usize, depths: [usize; 4]) -> Value {
    image.within("features", |x| {
        let mut x = x
            .stem_conv("conv0", Conv::new(stem, 7).stride(2))
            .batch_norm("norm0", Norm::TORCH)
            .relu()
            .stem_pool(Pool::new(3, 2).padding(1))
            .stage("stem");
        for (block, depth) in depths.into_iter().enumerate() {
            if block > 0 {
                x = x.within(format!("transition{block}"), transition);
            }
            x = x.within(format!("denseblock{}", block + 1), |x| {
                dense_block(x, growth, depth)
            });
            if block == depths.len() - 1 {
                x = x.batch_norm("norm5", Norm::TORCH).relu();
            }
            x = x.stage(format!("denseblock{}", block + 1));
        }
        x
    })
}

fn dense_block(x: &Value, growth: usize, depth: usize) -> Value {
    let mut seen = vec![x.clone()];
    for layer in 1..=depth {
        let new = Value::concat(&seen).within(format!("denselayer{layer}"), |x| {
            x.batch_norm("norm1", Norm::TORCH)
                .relu()
                .conv("conv1", Conv::new(BOTTLENECK * growth, 1))
                .batch_norm("norm2", Norm::TORCH)
                .relu()
                .conv("conv2", Conv::new(growth, 3))
        });
        seen.push(new);
    }
    Value::concat(&seen)
}

/// Halves channels and resolution.
fn transition(x: &Value) -> Value {
    let channels = x.channels() / 2;
    x.batch_norm("norm", Norm::TORCH)
        .relu()
        .conv("conv", Conv::new(channels, 1))
        .avg_pool(Pool::new(2, 2))
}

const INIT: InitRules = InitRules {
    conv: Init::KaimingNormalFanIn,
    linear_bias: Init::Constant(0.0),
    ..InitRules::TORCH
};

/// The published files call `norm1` by the name `norm.1`, from before PyTorch forbade dots.
fn modern_name(name: String) -> String {
    if !name.contains("denselayer") {
        return name;
    }
    ["norm", "conv"].iter().fold(name, |name, part| {
        name.replace(&format!(".{part}.1."), &format!(".{part}1."))
            .replace(&format!(".{part}.2."), &format!(".{part}2."))
    })
}

const fn entry(
    name: &'static str,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    let head = HeadSlot::linear("classifier");
    Architecture {
        modern_name,
        ..Architecture::new(name, "DenseNet", head, describe, weights).init(INIT)
    }
}

/// The family as torchvision publishes it.
pub(super) const DENSENETS: [Architecture; 4] = [
    entry(
        "densenet121",
        |x| densenet(x, 32, 64, [6, 12, 24, 16]),
        published::DENSENET121,
    ),
    entry(
        "densenet161",
        |x| densenet(x, 48, 96, [6, 12, 36, 24]),
        published::DENSENET161,
    ),
    entry(
        "densenet169",
        |x| densenet(x, 32, 64, [6, 12, 32, 32]),
        published::DENSENET169,
    ),
    entry(
        "densenet201",
        |x| densenet(x, 32, 64, [6, 12, 48, 32]),
        published::DENSENET201,
    ),
];
