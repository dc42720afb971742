//! MobileNet v2 and v3: inverted residuals, wide inside and narrow between.
//!
//! Sandler et al., *MobileNetV2: Inverted Residuals and Linear Bottlenecks*,
//! <https://arxiv.org/abs/1801.04381>; Howard et al., *Searching for MobileNetV3*,
//! <https://arxiv.org/abs/1905.02244>; layer for layer torchvision's `mobilenetv2.py` and
//! `mobilenetv3.py`.

use super::architecture::{Architecture, HeadSlot};
use super::parts::{conv_norm_act, make_divisible, skip, squeeze_excite, stem_norm_act};
use super::published;
use crate::graph::Nonlinearity::{HardSigmoid, HardSwish, Relu, Relu6};
use crate::graph::{Conv, Init, InitRules, Norm, Value};

/// A group of v2's blocks: how much they widen, their channels, how many, the first one's stride.
const V2: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

fn mobilenet_v2(image: Value) -> Value {
    image.within("features", |x| {
        let first = Conv::new(32, 3).stride(2);
        let mut x = stem_norm_act(x, 0, first, Norm::TORCH, Relu6).stage("stem");
        let mut index = 1;
        for (group, (expansion, channels, repeats, stride)) in V2.into_iter().enumerate() {
            for block in 0..repeats {
                let stride = if block == 0 { stride } else { 1 };
                x = x.within(index, |x| v2_block(x, expansion, channels, stride));
                index += 1;
            }
            x = x.stage(format!("stage{}", group + 1));
        }
        conv_norm_act(&x, index, Conv::new(1280, 1), Norm::TORCH, Some(Relu6)).stage("conv_head")
    })
}

fn v2_block(x: &Value, expansion: usize, channels: usize, stride: usize) -> Value {
    let wide = x.channels() * expansion;
    let y = x.within("conv", |x| {
        let mut index = 0;
        let mut y = x.clone();
        if expansion != 1 {
            y = conv_norm_act(&y, index, Conv::new(wide, 1), Norm::TORCH, Some(Relu6));
            index += 1;
        }
        let depthwise = Conv::new(wide, 3).stride(stride).groups(wide);
        conv_norm_act(&y, index, depthwise, Norm::TORCH, Some(Relu6))
            .conv(&(index + 1).to_string(), Conv::new(channels, 1))
            .batch_norm(&(index + 2).to_string(), Norm::TORCH)
    });
    skip(x, y, stride)
}

/// A block of v3: kernel, channels inside, channels it puts out, whether it squeezes and excites,
/// whether it uses hard swish, stride.
pub(super) type V3Block = (usize, usize, usize, bool, bool, usize);

pub(super) const V3_LARGE: &[V3Block] = &[
    (3, 16, 16, false, false, 1),
    (3, 64, 24, false, false, 2),
    (3, 72, 24, false, false, 1),
    (5, 72, 40, true, false, 2),
    (5, 120, 40, true, false, 1),
    (5, 120, 40, true, false, 1),
    (3, 240, 80, false, true, 2),
    (3, 200, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 184, 80, false, true, 1),
    (3, 480, 112, true, true, 1),
    (3, 672, 112, true, true, 1),
    (5, 672, 160, true, true, 2),
    (5, 960, 160, true, true, 1),
    (5, 960, 160, true, true, 1),
];

const V3_SMALL: &[V3Block] = &[
    (3, 16, 16, true, false, 2),
    (3, 72, 24, false, false, 2),
    (3, 88, 24, false, false, 1),
    (5, 96, 40, true, true, 2),
    (5, 240, 40, true, true, 1),
    (5, 240, 40, true, true, 1),
    (5, 120, 48, true, true, 1),
    (5, 144, 48, true, true, 1),
    (5, 288, 96, true, true, 2),
    (5, 576, 96, true, true, 1),
    (5, 576, 96, true, true, 1),
];

const V3_NORM: Norm = Norm::new(1e-3, 0.01);

fn mobilenet_v3(image: Value, blocks: &[V3Block], hidden: usize) -> Value {
    let x = image.within("features", |x| v3_trunk(x, blocks, false));
    x.global_average()
        .flatten()
        .hidden_layers("classifier", |x| {
            x.linear("0", hidden).activate(HardSwish).dropout(0.2)
        })
}

/// The network without its classifier. A dilated one keeps the resolution in its last stage and looks twice as
/// far there instead, as networks do that answer for each pixel. What a block that halves the map puts out can be
/// tapped: `c1` is a quarter of the image's height, `c2` an eighth.
pub(super) fn v3_trunk(image: &Value, blocks: &[V3Block], dilated: bool) -> Value {
    let halves = |&(.., stride): &V3Block| stride == 2;
    let last_stage = blocks.iter().rposition(halves).unwrap_or(blocks.len());
    let first = Conv::new(16, 3).stride(2);
    let mut x = stem_norm_act(image, 0, first, V3_NORM, HardSwish).stage("stem");
    let (mut stage, mut halvings) = (1, 0);
    for (index, block) in blocks.iter().enumerate() {
        // A stage ends before the next block that halves the resolution.
        if index > 0 && halves(block) {
            x = x.stage(format!("stage{stage}"));
            stage += 1;
        }
        let dilation = if dilated && index >= last_stage { 2 } else { 1 };
        x = x.within(index + 1, |x| v3_block(x, *block, dilation));
        if halves(block) {
            halvings += 1;
            x = x.tap(format!("c{halvings}"));
        }
    }
    x = x.stage(format!("stage{stage}"));
    let last = Conv::new(6 * x.channels(), 1);
    conv_norm_act(&x, blocks.len() + 1, last, V3_NORM, Some(HardSwish)).stage("conv_head")
}

fn v3_block(x: &Value, block: V3Block, dilation: usize) -> Value {
    let (kernel, wide, channels, excites, hard, stride) = block;
    let step = if dilation > 1 { 1 } else { stride };
    let function = if hard { HardSwish } else { Relu };
    let y = x.within("block", |x| {
        let mut index = 0;
        let mut y = x.clone();
        if wide != x.channels() {
            y = conv_norm_act(&y, index, Conv::new(wide, 1), V3_NORM, Some(function));
            index += 1;
        }
        let depthwise = Conv::new(wide, kernel)
            .stride(step)
            .dilation(dilation)
            .groups(wide);
        y = conv_norm_act(&y, index, depthwise, V3_NORM, Some(function));
        index += 1;
        if excites {
            let squeeze = make_divisible((wide / 4) as f64, 8);
            y = squeeze_excite(&y, index, squeeze, Relu, HardSigmoid);
            index += 1;
        }
        conv_norm_act(&y, index, Conv::new(channels, 1), V3_NORM, None)
    });
    skip(x, y, stride)
}

pub(super) const INIT: InitRules = InitRules {
    conv: Init::KaimingNormalFanOut,
    conv_bias: Init::Constant(0.0),
    linear: Init::Normal(0.01),
    linear_bias: Init::Constant(0.0),
    special: &[],
    parts: &[],
};

/// The family as torchvision publishes it.
pub(super) const MOBILENETS: [Architecture; 3] = [
    Architecture::new(
        "mobilenet_v2",
        "MobileNet v2",
        HeadSlot::linear("classifier.1").dropout(0.2),
        mobilenet_v2,
        published::MOBILENET_V2,
    )
    .init(INIT),
    Architecture::new(
        "mobilenet_v3_large",
        "MobileNet v3",
        HeadSlot::linear("classifier.3").bare("classifier"),
        |x| mobilenet_v3(x, V3_LARGE, 1280),
        published::MOBILENET_V3_LARGE,
    )
    .init(INIT),
    Architecture::new(
        "mobilenet_v3_small",
        "MobileNet v3",
        HeadSlot::linear("classifier.3").bare("classifier"),
        |x| mobilenet_v3(x, V3_SMALL, 1024),
        published::MOBILENET_V3_SMALL,
    )
    .init(INIT),
];
