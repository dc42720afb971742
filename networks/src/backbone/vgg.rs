//! VGG: nothing but 3×3 convolutions, and many of them.
//!
//! Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale Image Recognition*,
//! <https://arxiv.org/abs/1409.1556>; layer for layer torchvision's `vgg.py`.

use super::architecture::{Architecture, HeadSlot};
use super::pretrained::PretrainedWeights;
use super::published;
use crate::graph::{Conv, Init, InitRules, Norm, Pool, Value};

/// Filters of each block and convolutions in it.
const FILTERS: [usize; 5] = [64, 128, 256, 512, 512];
const A: [usize; 5] = [1, 1, 2, 2, 2];
const B: [usize; 5] = [2, 2, 2, 2, 2];
const D: [usize; 5] = [2, 2, 3, 3, 3];
const E: [usize; 5] = [2, 2, 4, 4, 4];

fn vgg(image: Value, blocks: [usize; 5], normed: bool) -> Value {
    let x = image.within("features", |x| {
        let mut x = x.clone();
        let mut index = 0;
        for (block, (convolutions, filters)) in blocks.into_iter().zip(FILTERS).enumerate() {
            for _ in 0..convolutions {
                x = x.conv(&index.to_string(), Conv::new(filters, 3).bias());
                if normed {
                    index += 1;
                    x = x.batch_norm(&index.to_string(), Norm::TORCH);
                }
                x = x.relu();
                index += 2;
            }
            x = x
                .max_pool(Pool::new(2, 2))
                .stage(format!("block{}", block + 1));
            index += 1;
        }
        x
    });
    x.adaptive_avg_pool(7, 7)
        .flatten()
        .hidden_layers("classifier", |x| {
            x.linear("0", 4096)
                .relu()
                .dropout(0.5)
                .linear("3", 4096)
                .relu()
                .dropout(0.5)
        })
}

const INIT: InitRules = InitRules {
    conv: Init::KaimingNormalFanOut,
    conv_bias: Init::Constant(0.0),
    linear: Init::Normal(0.01),
    linear_bias: Init::Constant(0.0),
    special: &[],
    parts: &[],
};

const fn entry(
    name: &'static str,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    let head = HeadSlot::linear("classifier.6").bare("classifier");
    Architecture::new(name, "VGG", head, describe, weights).init(INIT)
}

/// The family as torchvision publishes it.
pub(super) const VGGS: [Architecture; 8] = [
    entry("vgg11", |x| vgg(x, A, false), published::VGG11),
    entry("vgg11_bn", |x| vgg(x, A, true), published::VGG11_BN),
    entry("vgg13", |x| vgg(x, B, false), published::VGG13),
    entry("vgg13_bn", |x| vgg(x, B, true), published::VGG13_BN),
    entry("vgg16", |x| vgg(x, D, false), published::VGG16),
    entry("vgg16_bn", |x| vgg(x, D, true), published::VGG16_BN),
    entry("vgg19", |x| vgg(x, E, false), published::VGG19),
    entry("vgg19_bn", |x| vgg(x, E, true), published::VGG19_BN),
];
