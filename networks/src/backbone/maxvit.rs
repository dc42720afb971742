//! MaxViT and CoAtNet: convolutions first, attention after.
//!
//! Tu et al., *MaxViT: Multi-Axis Vision Transformer*, <https://arxiv.org/abs/2204.01697>, layer for
//! layer torchvision's `maxvit.py`; Dai et al., *CoAtNet: Marrying Convolution and Attention for All
//! Data Sizes*, <https://arxiv.org/abs/2106.04803>, layer for layer timm's `maxxvit.py` with the
//! settings of its own weights (`coatnet_0_rw_224`).

use super::architecture::{Architecture, HeadSlot};
use super::parts::{conv_norm_act, depth_share, perceptron, squeeze_excite};
use super::published;
use crate::graph::Nonlinearity::{Gelu, Relu, Sigmoid, Silu, Tanh};
use crate::graph::{
    AttentionParts, Conv, Init, InitRules, Neighbourhood, Norm, Packing, Pool, PositionBias, Value,
    relative_position_index,
};

const HEAD_DEPTH: usize = 32;
const MAXVIT_NORM: Norm = Norm::new(1e-3, 0.01);
/// Side of MaxViT's windows and grids.
const PARTITION: usize = 7;

fn maxvit(image: Value, stem: usize, widths: [usize; 4], depths: [usize; 4], drop: f64) -> Value {
    let mut x = image.within("stem", |x| {
        let first = Conv::new(stem, 3).stride(2);
        let x = conv_norm_act(x, 0, first, MAXVIT_NORM, Some(Gelu));
        x.conv("1.0", Conv::new(stem, 3).bias()).stage("stem")
    });
    let total: usize = depths.iter().sum();
    let mut done = 0;
    for (block, (width, depth)) in widths.into_iter().zip(depths).enumerate() {
        for layer in 0..depth {
            let share = depth_share(drop, done, total - 1);
            let stride = if layer == 0 { 2 } else { 1 };
            let side = PARTITION;
            x = x.within(format!("blocks.{block}.layers.{layer}.layers"), |x| {
                let x = x.within("MBconv", |x| mbconv(x, width, stride, share));
                let x = x.channels_last();
                let x = x.within("window_attention", |x| {
                    partition_attention(x, Neighbourhood::Block { side }, share)
                });
                let x = x.within("grid_attention", |x| {
                    partition_attention(x, Neighbourhood::Grid { side }, share)
                });
                x.channels_first()
            });
            done += 1;
        }
        x = x.stage(format!("block{}", block + 1));
    }
    x.global_average()
        .flatten()
        .hidden_layers("classifier", |x| {
            let width = x.width();
            x.layer_norm("2", 1e-5).linear("3", width).activate(Tanh)
        })
}

fn mbconv(x: &Value, width: usize, stride: usize, share: f64) -> Value {
    let shortcut = x.within("proj", |x| match (stride, x.channels() == width) {
        (1, true) => x.clone(),
        (1, false) => x.conv("0", Conv::new(width, 1).bias()),
        _ => x
            .avg_pool(Pool::new(3, stride).padding(1))
            .conv("1", Conv::new(width, 1).bias()),
    });
    let wide = 4 * width;
    let y = x.within("layers", |x| {
        let depthwise = Conv::new(wide, 3).stride(stride).groups(wide);
        let y = x.batch_norm("pre_norm", MAXVIT_NORM);
        let y = conv_norm_act(&y, "conv_a", Conv::new(wide, 1), MAXVIT_NORM, Some(Gelu));
        let y = conv_norm_act(&y, "conv_b", depthwise, MAXVIT_NORM, Some(Gelu));
        squeeze_excite(&y, "squeeze_excitation", width / 4, Silu, Sigmoid)
            .conv("conv_c", Conv::new(width, 1).bias())
    });
    shortcut + y.stochastic_depth(share)
}

/// Attention within windows or across a grid, then a perceptron. Both see each position's channels
/// only, so that the map need not be cut up for the norms and the perceptron.
fn partition_attention(x: &Value, neighbourhood: Neighbourhood, share: f64) -> Value {
    let width = x.width();
    let parts = AttentionParts {
        neighbourhood,
        names: ["to_qkv", ".", "merge"],
        bias: PositionBias::Table {
            side: PARTITION,
            name: "relative_position_bias_table",
        },
        // By the whole width, not by a head's: so it was trained.
        scale: (width as f64).powf(-0.5),
        ..AttentionParts::new(width / HEAD_DEPTH, width)
    };
    let attended = x.within("attn_layer", |x| {
        let positions = PARTITION * PARTITION;
        let index = relative_position_index(PARTITION);
        let index = index.into_iter().map(|row| row as f32).collect();
        x.constant(
            "1.relative_position_index",
            vec![positions, positions],
            index,
        );
        x.layer_norm("0", 1e-5).attention("1", &parts)
    });
    let x = x.clone() + attended.stochastic_depth(share);
    let y = x.within("mlp_layer", |x| {
        perceptron(&x.layer_norm("0", 1e-5), ["1", "3"], 4 * width)
    });
    x + y.stochastic_depth(share)
}

const COATNET_EPSILON: f64 = 1e-6;

fn coatnet(image: Value, widths: [usize; 4], depths: [usize; 4]) -> Value {
    let mut x = image.within("stem", |x| {
        x.stem_conv("conv1", Conv::new(32, 3).stride(2))
            .batch_norm("norm1", Norm::TORCH)
            .activate(Silu)
            .conv("conv2", Conv::new(64, 3))
            .stage("stem")
    });
    for (stage, (width, depth)) in widths.into_iter().zip(depths).enumerate() {
        let name = format!("stages.{stage}");
        for block in 0..depth {
            let shrinks = block == 0;
            x = x.within(format!("{name}.blocks.{block}"), |x| match stage {
                0 | 1 => coatnet_mbconv(x, width, shrinks),
                _ => coatnet_transformer(x, width, shrinks),
            });
        }
        x = x.stage(name);
    }
    x.channel_layer_norm("norm", COATNET_EPSILON).stage("norm")
}

/// Half the resolution by means of two by two, then, for a shortcut, other channels.
fn coatnet_shortcut(x: &Value, width: usize, shrinks: bool) -> Value {
    if !shrinks {
        return x.clone();
    }
    let pooled = x.avg_pool(Pool::new(2, 2));
    match x.channels() == width {
        true => pooled,
        false => pooled.conv("shortcut.expand", Conv::new(width, 1)),
    }
}

fn coatnet_mbconv(x: &Value, width: usize, shrinks: bool) -> Value {
    let wide = 4 * x.channels();
    let shortcut = coatnet_shortcut(x, width, shrinks);
    let y = x.batch_norm("pre_norm", Norm::TORCH).activate(Silu);
    let y = if shrinks {
        y.avg_pool(Pool::new(2, 2))
    } else {
        y
    };
    let y = y
        .conv("conv1_1x1", Conv::new(wide, 1))
        .batch_norm("norm1", Norm::TORCH)
        .activate(Silu)
        .conv("conv2_kxk", Conv::new(wide, 3).groups(wide));
    let y = squeeze_excite(&y, "se_early", wide / 4, Relu, Sigmoid)
        .batch_norm("norm2", Norm::TORCH)
        .activate(Silu)
        .conv("conv3_1x1", Conv::new(width, 1));
    y + shortcut
}

fn coatnet_transformer(x: &Value, width: usize, shrinks: bool) -> Value {
    let shortcut = coatnet_shortcut(x, width, shrinks);
    let norm = if shrinks { "norm1.norm" } else { "norm1" };
    let y = x.channel_layer_norm(norm, COATNET_EPSILON);
    let y = if shrinks {
        y.avg_pool(Pool::new(2, 2))
    } else {
        y
    };
    let side = y.shape()[1];
    let parts = AttentionParts {
        packing: Packing::Head,
        bias: PositionBias::Table {
            side,
            name: "rel_pos.relative_position_bias_table",
        },
        pointwise: true,
        output: Some(width),
        ..AttentionParts::new(y.channels() / HEAD_DEPTH, y.channels())
    };
    let y = y.channels_last().attention("attn", &parts).channels_first();
    let x = shortcut + y;
    let y = x
        .channel_layer_norm("norm2", COATNET_EPSILON)
        .conv("mlp.fc1", Conv::new(4 * width, 1).bias())
        .activate(Gelu)
        .conv("mlp.fc2", Conv::new(width, 1).bias());
    x + y
}

const MAXVIT_INIT: InitRules = InitRules {
    conv: Init::Normal(0.02),
    conv_bias: Init::Constant(0.0),
    linear: Init::Normal(0.02),
    linear_bias: Init::Constant(0.0),
    special: &[("relative_position_bias_table", Init::Truncated(0.02))],
    parts: &[],
};

/// timm's by name: Glorot for convolutions, as in the papers' code.
const COATNET_INIT: InitRules = InitRules {
    conv: Init::Normal(0.02),
    conv_bias: Init::Constant(0.0),
    linear: Init::Normal(0.02),
    linear_bias: Init::Constant(0.0),
    special: &[("relative_position_bias_table", Init::Truncated(0.02))],
    parts: &[],
};

/// MaxViT as torchvision publishes it, CoAtNet as timm does.
pub(super) const MAXVITS: [Architecture; 2] = [
    Architecture {
        // Four halvings after the stem's leave windows of seven whole.
        input_multiple: 224,
        ..Architecture::new(
            "maxvit_t",
            "MaxViT",
            HeadSlot::linear_without_bias("classifier.5").bare("classifier"),
            |x| maxvit(x, 64, [64, 128, 256, 512], [2, 2, 5, 2], 0.2),
            published::MAXVIT_T,
        )
        .init(MAXVIT_INIT)
    },
    Architecture {
        input_multiple: 32,
        ..Architecture::new(
            "coatnet_0_rw_224",
            "CoAtNet",
            HeadSlot::linear("head.fc"),
            |x| coatnet(x, [96, 192, 384, 768], [2, 3, 7, 2]),
            published::COATNET_0_RW_224,
        )
        .timm("coatnet_0_rw_224")
        .init(COATNET_INIT)
    },
];
