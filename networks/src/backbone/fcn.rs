//! FCN: a classifier of two convolutions over a ResNet that keeps an eighth of the resolution.
//!
//! Long, Shelhamer and Darrell, *Fully Convolutional Networks for Semantic Segmentation*,
//! <https://arxiv.org/abs/1411.4038>; layer for layer torchvision's `segmentation/fcn.py`.

use super::architecture::{Architecture, HeadSlot};
use super::pretrained::PretrainedWeights;
use super::{published, resnet};
use crate::graph::{Conv, InitRules, Norm, Outputs, Resample, Value};
use crate::task::Task;

/// ResNet-50 and ResNet-101, whose last two layers look further instead of halving the map.
pub(super) fn resnet50(image: Value) -> Value {
    dilated(&image, [3, 4, 6, 3])
}

/// See [`resnet50`].
pub(super) fn resnet101(image: Value) -> Value {
    dilated(&image, [3, 4, 23, 3])
}

fn dilated(image: &Value, depths: [usize; 4]) -> Value {
    image.within("backbone", |x| {
        resnet::trunk(x, resnet::BOTTLENECK, depths, [false, false, true, true])
    })
}

/// Logits for each position of a map.
pub(super) fn classifier(x: &Value, classes: usize) -> Value {
    x.conv("0", Conv::new(x.channels() / 4, 3))
        .batch_norm("1", Norm::TORCH)
        .relu()
        .dropout(0.1)
        .conv("4", Conv::new(classes, 1).bias())
}

/// Logits for each pixel of the image, out of those for each position of a map.
fn at_image_size(logits: &Value) -> Value {
    logits.resize(logits.input_size(), Resample::Bilinear)
}

/// The classifier that helps in training: it sees the map of this stage or tap.
pub(super) fn auxiliary(x: &Value, seen: &str) {
    x.tapped(seen)
        .auxiliary_output("aux", "aux_classifier", |x, classes| {
            at_image_size(&classifier(x, classes))
        });
}

fn head(x: &Value, classes: usize) -> Outputs {
    auxiliary(x, "layer3");
    answers(x.within("classifier", |x| classifier(x, classes)))
}

/// A segmentation network's end: `classifier` is the map of logits, and `out` the same for each pixel.
pub(super) fn answers(logits: Value) -> Outputs {
    let out = at_image_size(&logits.stage("classifier"));
    Outputs::named([("out", out.stage("out"))])
}

/// Of a segmentation network on a ResNet: torchvision initialises the ResNet alone.
pub(super) const INIT: InitRules = InitRules {
    parts: &[("backbone", &resnet::INIT)],
    ..InitRules::TORCH
};

const fn entry(
    name: &'static str,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    Architecture::new(
        name,
        "FCN",
        HeadSlot::own("classifier", head),
        describe,
        weights,
    )
    .whole_photos(520)
    .task(Task::Segment)
    .init(INIT)
    .auxiliary(&["aux_classifier."], true)
}

/// The family as torchvision publishes it.
pub(super) const FCNS: [Architecture; 2] = [
    entry("fcn_resnet50", resnet50, published::FCN_RESNET50),
    entry("fcn_resnet101", resnet101, published::FCN_RESNET101),
];
