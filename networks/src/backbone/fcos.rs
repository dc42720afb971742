//! FCOS: for each position of a feature pyramid the classes of what is there, the distances to its four sides,
//! and how near its centre the position is.
//!
//! Tian et al., *FCOS: Fully Convolutional One-Stage Object Detection*, <https://arxiv.org/abs/1904.01355>, and
//! <https://arxiv.org/abs/2006.09214>; layer for layer torchvision's `detection/fcos.py`, up to the maps that boxes
//! are read from.

use super::architecture::{Architecture, HeadSlot};
use super::{fpn, published, resnet};
use crate::graph::{Conv, Init, InitRules, Outputs, Value};

/// Channels of the pyramid and of the heads.
const WIDTH: usize = 256;

/// The pyramid's levels, finest first.
const LEVELS: [&str; 5] = ["p3", "p4", "p5", "p6", "p7"];

fn features(image: Value) -> Value {
    image.within("backbone", |x| {
        let top = x.within("body", |x| {
            resnet::trunk(x, resnet::BOTTLENECK, [3, 4, 6, 3], [false; 4])
        });
        top.within("fpn", |x| {
            let levels = fpn::pyramid(x, &["layer2", "layer3", "layer4"], WIDTH);
            let [_, coarsest] = fpn::two_coarser_levels(&levels[levels.len() - 1]);
            coarsest.stage("fpn")
        })
    })
}

/// Four convolutions, each followed by a norm over 32 groups of channels.
fn tower(x: &Value) -> Value {
    x.within("conv", |x| {
        (0..4).fold(x.clone(), |x, index| {
            x.conv(&(3 * index).to_string(), Conv::new(WIDTH, 3).bias())
                .group_norm(&(3 * index + 1).to_string(), 32, 1e-5)
                .relu()
        })
    })
}

/// The same layers look at every level. Per level: the classes' logits, distances in units of the level's stride,
/// and the logit of how central the position is.
fn head(x: &Value, classes: usize) -> Outputs {
    let conv = |filters: usize| Conv::new(filters, 3).bias();
    let mut outputs: Vec<(String, Value)> = Vec::new();
    for level in LEVELS {
        let x = x.tapped(level);
        x.within("head", |x| {
            let logits = x.within("classification_head", |x| {
                tower(x).conv("cls_logits", conv(classes))
            });
            outputs.push((format!("cls_logits.{level}"), logits));
            x.within("regression_head", |x| {
                let x = tower(x);
                let distances = x.conv("bbox_reg", conv(4)).relu();
                outputs.push((format!("bbox_regression.{level}"), distances));
                outputs.push((
                    format!("bbox_ctrness.{level}"),
                    x.conv("bbox_ctrness", conv(1)),
                ));
            });
        });
    }
    // A stage ends with one value; the others are outputs all the same.
    if let Some((_, last)) = outputs.last() {
        last.clone().stage("head");
    }
    Outputs::named(outputs)
}

/// One in a hundred positions is taken to show something (Lin et al., *Focal Loss for Dense Object Detection*,
/// <https://arxiv.org/abs/1708.02002>): −ln 99.
const RARE: f32 = -4.595_12;

const INIT: InitRules = InitRules {
    conv: Init::Normal(0.01),
    conv_bias: Init::Constant(0.0),
    special: &[("cls_logits.bias", Init::Constant(RARE))],
    parts: &[
        ("backbone.body", &resnet::INIT),
        ("backbone.fpn", &PYRAMID_INIT),
    ],
    ..InitRules::TORCH
};

const PYRAMID_INIT: InitRules = InitRules {
    conv: Init::LecunUniform,
    conv_bias: Init::Constant(0.0),
    ..InitRules::TORCH
};

/// The network as torchvision publishes it.
pub(super) const FCOSES: [Architecture; 1] = [Architecture::new(
    "fcos_resnet50_fpn",
    "FCOS",
    HeadSlot::own("head", head),
    features,
    published::FCOS_RESNET50_FPN,
)
.whole_photos(800)
.init(INIT)];
