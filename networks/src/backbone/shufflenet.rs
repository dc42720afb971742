//! ShuffleNet v2: half of the channels pass untouched, and a shuffle lets the halves meet.
//!
//! Ma et al., *ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design*,
//! <https://arxiv.org/abs/1807.11164>; layer for layer torchvision's `shufflenetv2.py`.

use super::architecture::{Architecture, HeadSlot};
use super::pretrained::PretrainedWeights;
use super::published;
use crate::graph::{Conv, Norm, Pool, Value};

const STEM: usize = 24;
const REPEATS: [usize; 3] = [4, 8, 4];

fn shufflenet(image: Value, [two, three, four, last]: [usize; 4]) -> Value {
    let mut x = image
        .within("conv1", |x| {
            x.stem_conv("0", Conv::new(STEM, 3).stride(2))
                .batch_norm("1", Norm::TORCH)
                .relu()
        })
        .stem_pool(Pool::new(3, 2).padding(1))
        .stage("stem");
    for (index, (repeats, channels)) in REPEATS.into_iter().zip([two, three, four]).enumerate() {
        let name = format!("stage{}", index + 2);
        x = x.within(&name, |x| {
            (0..repeats).fold(x.clone(), |x, unit| {
                let stride = if unit == 0 { 2 } else { 1 };
                x.within(unit, |x| shuffle_unit(x, channels, stride))
            })
        });
        x = x.stage(name);
    }
    x.within("conv5", |x| {
        x.conv("0", Conv::new(last, 1))
            .batch_norm("1", Norm::TORCH)
            .relu()
    })
    .stage("conv5")
}

fn shuffle_unit(x: &Value, channels: usize, stride: usize) -> Value {
    let half = channels / 2;
    let depthwise = |x: &Value, name: &str| {
        let channels = x.channels();
        let conv = Conv::new(channels, 3).stride(stride).groups(channels);
        x.conv(name, conv)
    };
    let worked = |x: &Value| {
        x.within("branch2", |x| {
            let x = x
                .conv("0", Conv::new(half, 1))
                .batch_norm("1", Norm::TORCH)
                .relu();
            depthwise(&x, "3")
                .batch_norm("4", Norm::TORCH)
                .conv("5", Conv::new(half, 1))
                .batch_norm("6", Norm::TORCH)
                .relu()
        })
    };
    let both = if stride == 1 {
        let (kept, taken) = x.halves();
        [kept, worked(&taken)]
    } else {
        let shrunk = x.within("branch1", |x| {
            depthwise(x, "0")
                .batch_norm("1", Norm::TORCH)
                .conv("2", Conv::new(half, 1))
                .batch_norm("3", Norm::TORCH)
                .relu()
        });
        [shrunk, worked(x)]
    };
    Value::concat(&both).shuffle(2)
}

const fn entry(
    name: &'static str,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    let head = HeadSlot::linear("fc");
    Architecture::new(name, "ShuffleNet v2", head, describe, weights)
}

/// The family as torchvision publishes it.
pub(super) const SHUFFLENETS: [Architecture; 4] = [
    entry(
        "shufflenet_v2_x0_5",
        |x| shufflenet(x, [48, 96, 192, 1024]),
        published::SHUFFLENET_V2_X0_5,
    ),
    entry(
        "shufflenet_v2_x1_0",
        |x| shufflenet(x, [116, 232, 464, 1024]),
        published::SHUFFLENET_V2_X1_0,
    ),
    entry(
        "shufflenet_v2_x1_5",
        |x| shufflenet(x, [176, 352, 704, 1024]),
        published::SHUFFLENET_V2_X1_5,
    ),
    entry(
        "shufflenet_v2_x2_0",
        |x| shufflenet(x, [244, 488, 976, 2048]),
        published::SHUFFLENET_V2_X2_0,
    ),
];
