//! ConvNeXt: a convolutional network with a transformer's habits.
//!
//! Liu et al., *A ConvNet for the 2020s*, <https://arxiv.org/abs/2201.03545>; layer for layer
//! torchvision's `convnext.py`.

use super::architecture::{Architecture, HeadSlot};
use super::parts::{depth_share, perceptron};
use super::pretrained::PretrainedWeights;
use super::published;
use crate::graph::{Conv, Init, InitRules, Value};

const EPSILON: f64 = 1e-6;
const LAYER_SCALE: f32 = 1e-6;

fn convnext(image: Value, widths: [usize; 4], depths: [usize; 4], drop: f64) -> Value {
    let total: usize = depths.iter().sum();
    let x = image.within("features", |x| {
        let patches = Conv::new(widths[0], 4).stride(4).padding(0).bias();
        let mut x = x.within("0", |x| {
            x.conv("0", patches).channel_layer_norm("1", EPSILON)
        });
        x = x.stage("stem");
        let mut done = 0;
        for (stage, (width, depth)) in widths.into_iter().zip(depths).enumerate() {
            if stage > 0 {
                x = x.within(2 * stage, |x| {
                    let halve = Conv::new(width, 2).stride(2).padding(0).bias();
                    x.channel_layer_norm("0", EPSILON).conv("1", halve)
                });
            }
            for index in 0..depth {
                let share = depth_share(drop, done, total - 1);
                x = x.within(format!("{}.{index}", 2 * stage + 1), |x| block(x, share));
                done += 1;
            }
            x = x.stage(format!("stage{}", stage + 1));
        }
        x
    });
    x.global_average()
        .channel_layer_norm("classifier.0", EPSILON)
        .flatten()
        .stage("norm")
}

fn block(x: &Value, share: f64) -> Value {
    let width = x.channels();
    let y = x.within("block", |x| {
        let x = x
            .conv("0", Conv::new(width, 7).groups(width).bias())
            .channels_last()
            .layer_norm("2", EPSILON);
        perceptron(&x, ["3", "5"], 4 * width).channels_first()
    });
    y.scale("layer_scale").stochastic_depth(share) + x.clone()
}

const INIT: InitRules = InitRules {
    conv: Init::Truncated(0.02),
    conv_bias: Init::Constant(0.0),
    linear: Init::Truncated(0.02),
    linear_bias: Init::Constant(0.0),
    special: &[("layer_scale", Init::Constant(LAYER_SCALE))],
    parts: &[],
};

const fn entry(
    name: &'static str,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    let head = HeadSlot::linear("classifier.2");
    Architecture::new(name, "ConvNeXt", head, describe, weights).init(INIT)
}

/// The family as torchvision publishes it.
pub(super) const CONVNEXTS: [Architecture; 4] = [
    entry(
        "convnext_tiny",
        |x| convnext(x, [96, 192, 384, 768], [3, 3, 9, 3], 0.1),
        published::CONVNEXT_TINY,
    ),
    entry(
        "convnext_small",
        |x| convnext(x, [96, 192, 384, 768], [3, 3, 27, 3], 0.4),
        published::CONVNEXT_SMALL,
    ),
    entry(
        "convnext_base",
        |x| convnext(x, [128, 256, 512, 1024], [3, 3, 27, 3], 0.5),
        published::CONVNEXT_BASE,
    ),
    entry(
        "convnext_large",
        |x| convnext(x, [192, 384, 768, 1536], [3, 3, 27, 3], 0.5),
        published::CONVNEXT_LARGE,
    ),
];
