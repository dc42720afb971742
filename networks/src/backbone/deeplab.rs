//! DeepLab v3: convolutions side by side that see the same map at several distances.
//!
//! Chen et al., *Rethinking Atrous Convolution for Semantic Image Segmentation*,
//! <https://arxiv.org/abs/1706.05587>; layer for layer torchvision's `segmentation/deeplabv3.py`.

use super::architecture::{Architecture, HeadSlot};
use super::fcn::{answers, auxiliary};
use super::pretrained::PretrainedWeights;
use super::{fcn, mobilenet, published};
use crate::graph::{Conv, InitRules, Norm, Outputs, Resample, Value};
use crate::task::Task;

/// Channels of each of the convolutions side by side, and of what is made of them.
const WIDTH: usize = 256;

/// Distances between the kernels' elements, in positions of the map.
const RATES: [usize; 3] = [12, 24, 36];

pub(super) fn mobilenet_v3_large(image: Value) -> Value {
    image.within("backbone", |x| {
        mobilenet::v3_trunk(x, mobilenet::V3_LARGE, true)
    })
}

/// Atrous spatial pyramid pooling: each position by itself, its surroundings at three distances, and the mean
/// of the whole map.
fn pyramid_pooling(x: &Value) -> Value {
    let unit = |x: &Value, first: usize, conv: Conv| {
        x.conv(&first.to_string(), conv)
            .batch_norm(&(first + 1).to_string(), Norm::TORCH)
            .relu()
    };
    let mut views = vec![x.within("convs.0", |x| unit(x, 0, Conv::new(WIDTH, 1)))];
    for (index, rate) in RATES.into_iter().enumerate() {
        let conv = Conv::new(WIDTH, 3).dilation(rate);
        views.push(x.within(format!("convs.{}", index + 1), |x| unit(x, 0, conv)));
    }
    let mean = x.within(format!("convs.{}", RATES.len() + 1), |x| {
        unit(&x.global_average(), 1, Conv::new(WIDTH, 1))
    });
    views.push(mean.resize(x.size(), Resample::Bilinear));
    Value::concat(&views)
        .within("project", |x| unit(x, 0, Conv::new(WIDTH, 1)))
        .dropout(0.5)
}

fn head(x: &Value, classes: usize, seen: &str) -> Outputs {
    auxiliary(x, seen);
    answers(x.within("classifier", |x| {
        x.within("0", pyramid_pooling)
            .conv("1", Conv::new(WIDTH, 3))
            .batch_norm("2", Norm::TORCH)
            .relu()
            .conv("4", Conv::new(classes, 1).bias())
    }))
}

const fn entry(
    name: &'static str,
    head: fn(&Value, usize) -> Outputs,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    Architecture::new(
        name,
        "DeepLab v3",
        HeadSlot::own("classifier", head),
        describe,
        weights,
    )
    .whole_photos(520)
    .task(Task::Segment)
    .auxiliary(&["aux_classifier."], true)
}

/// The family as torchvision publishes it.
pub(super) const DEEPLABS: [Architecture; 3] = [
    entry(
        "deeplabv3_mobilenet_v3_large",
        |x, classes| head(x, classes, "c2"),
        mobilenet_v3_large,
        published::DEEPLABV3_MOBILENET_V3_LARGE,
    )
    .init(INIT),
    entry(
        "deeplabv3_resnet50",
        |x, classes| head(x, classes, "layer3"),
        fcn::resnet50,
        published::DEEPLABV3_RESNET50,
    )
    .init(fcn::INIT),
    entry(
        "deeplabv3_resnet101",
        |x, classes| head(x, classes, "layer3"),
        fcn::resnet101,
        published::DEEPLABV3_RESNET101,
    )
    .init(fcn::INIT),
];

/// Of a segmentation network on a MobileNet: torchvision initialises the MobileNet alone.
pub(super) const INIT: InitRules = InitRules {
    parts: &[("backbone", &mobilenet::INIT)],
    ..InitRules::TORCH
};
