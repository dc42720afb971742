//! SqueezeNet: AlexNet's accuracy with fifty times fewer parameters, out of squeeze-and-expand
//! "fire" modules.
//!
//! Iandola et al., *SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model
//! size*, <https://arxiv.org/abs/1602.07360>; layer for layer torchvision's `squeezenet.py`.

use super::architecture::{Architecture, HeadSlot};
use super::classes::Classes;
use super::pretrained::{License, PretrainedWeights};
use super::published;
use crate::graph::{Conv, Init, InitRules, Pool, Value};

/// Fire modules between two pools: squeeze filters, expand filters of either kind.
type FireGroup = &'static [(usize, usize)];

/// The paper's.
fn v1_0(image: Value) -> Value {
    let groups: [FireGroup; 3] = [
        &[(16, 64), (16, 64), (32, 128)],
        &[(32, 128), (48, 192), (48, 192), (64, 256)],
        &[(64, 256)],
    ];
    squeezenet(image, Conv::new(96, 7), groups)
}

/// The authors' later one: 2.4 times less computation, slightly fewer parameters.
fn v1_1(image: Value) -> Value {
    let groups: [FireGroup; 3] = [
        &[(16, 64), (16, 64)],
        &[(32, 128), (32, 128)],
        &[(48, 192), (48, 192), (64, 256), (64, 256)],
    ];
    squeezenet(image, Conv::new(64, 3), groups)
}

fn squeezenet(image: Value, first: Conv, groups: [FireGroup; 3]) -> Value {
    // torchvision rounds the pools' output up, and so counts windows that hang over the edge.
    let pool = Pool::new(3, 2).ceil();
    image.within("features", |x| {
        let mut x = x
            .stem_conv("0", first.stride(2).padding(0).bias())
            .relu()
            .stem_pool(pool)
            .stage("stem");
        let mut index = 3;
        for (number, group) in groups.iter().enumerate() {
            for &(squeeze, expand) in *group {
                x = x.within(index, |x| fire(x, squeeze, expand));
                index += 1;
            }
            if number + 1 < groups.len() {
                x = x.max_pool(pool);
                index += 1;
            }
            x = x.stage(format!("stage{}", number + 1));
        }
        x
    })
}

/// A squeeze layer of 1×1 filters that feeds an expand layer of 1×1 and 3×3 ones side by side.
fn fire(x: &Value, squeeze: usize, expand: usize) -> Value {
    let x = x.conv("squeeze", Conv::new(squeeze, 1).bias()).relu();
    Value::concat(&[
        x.conv("expand1x1", Conv::new(expand, 1).bias()).relu(),
        x.conv("expand3x3", Conv::new(expand, 3).bias()).relu(),
    ])
}

const INIT: InitRules = InitRules {
    conv: Init::KaimingUniform,
    conv_bias: Init::Constant(0.0),
    linear: Init::Normal(0.01),
    linear_bias: Init::Constant(0.0),
    special: &[("classifier.1.weight", Init::Normal(0.01))],
    parts: &[],
};

/// The file that comes with Rekindle, then torchvision's.
const V1_1_WEIGHTS: [PretrainedWeights; 2] = [
    PretrainedWeights {
        name: "BUNDLED",
        file_name: "squeezenet1_1.safetensors",
        url: None,
        license: License::Mit,
        source: "bundled, from the Python package ndf 0.1.4",
        preset: published::SQUEEZENET1_1[0].preset,
        accuracy: None,
        classes: Classes::ImageNet,
    },
    published::SQUEEZENET1_1[0],
];

const fn entry(
    name: &'static str,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    let head = HeadSlot::pooled_conv("classifier.1").dropout(0.5);
    Architecture::new(name, "SqueezeNet", head, describe, weights).init(INIT)
}

/// SqueezeNet 1.0 and 1.1 as torchvision publishes them.
pub(super) const SQUEEZENETS: [Architecture; 2] = [
    entry("squeezenet1_0", v1_0, published::SQUEEZENET1_0),
    entry("squeezenet1_1", v1_1, &V1_1_WEIGHTS),
];
