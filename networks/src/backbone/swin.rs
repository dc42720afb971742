//! Swin Transformer and Swin v2: attention within windows that shift from block to block.
//!
//! Liu et al., *Swin Transformer: Hierarchical Vision Transformer using Shifted Windows*,
//! <https://arxiv.org/abs/2103.14030>, and *Swin Transformer V2: Scaling Up Capacity and Resolution*,
//! <https://arxiv.org/abs/2111.09883>; layer for layer torchvision's `swin_transformer.py`.

use super::architecture::{Architecture, HeadSlot};
use super::parts::{depth_share, perceptron};
use super::pretrained::PretrainedWeights;
use super::published;
use crate::graph::{
    AttentionParts, Conv, Init, InitRules, Neighbourhood, PositionBias, Value, log_offsets,
    relative_position_index,
};

const EPSILON: f64 = 1e-5;

#[derive(Clone, Copy, PartialEq)]
enum Version {
    /// Norms before attention and perceptron, a table of biases by relative position.
    V1,
    /// Norms after them, cosine attention, biases from a perceptron over offsets.
    V2,
}

impl Version {
    /// Side of a window.
    const fn window(self) -> usize {
        match self {
            Self::V1 => 7,
            Self::V2 => 8,
        }
    }
}

/// `width` doubles from stage to stage, and so does the number of heads, each of depth 32.
fn swin(image: Value, version: Version, width: usize, depths: [usize; 4], drop: f64) -> Value {
    let total: usize = depths.iter().sum();
    let x = image.within("features", |x| {
        let patches = Conv::new(width, 4).stride(4).padding(0).bias();
        // Between stages maps are channels first; blocks work on channels last.
        let mut x = x.within("0", |x| {
            let x = x.conv("0", patches).channels_last();
            x.layer_norm("2", EPSILON).channels_first()
        });
        x = x.stage("stem");
        let mut done = 0;
        for (stage, depth) in depths.into_iter().enumerate() {
            x = x.channels_last();
            if stage > 0 {
                x = x.within(2 * stage, |x| merge(x, version));
            }
            let heads = x.width() / 32;
            for index in 0..depth {
                let share = depth_share(drop, done, total - 1);
                let shift = index % 2 * (version.window() / 2);
                x = x.within(format!("{}.{index}", 2 * stage + 1), |x| {
                    block(x, version, heads, shift, share)
                });
                done += 1;
            }
            x = x.channels_first().stage(format!("stage{}", stage + 1));
        }
        x
    });
    x.channels_last()
        .layer_norm("norm", EPSILON)
        .channels_first()
        .stage("norm")
}

/// Half the resolution, twice the channels.
fn merge(x: &Value, version: Version) -> Value {
    let width = 2 * x.width();
    let merged = x.merge_patches();
    match version {
        Version::V1 => merged
            .layer_norm("norm", EPSILON)
            .linear_with("reduction", width, false),
        Version::V2 => merged
            .linear_with("reduction", width, false)
            .layer_norm("norm", EPSILON),
    }
}

fn block(x: &Value, version: Version, heads: usize, shift: usize, share: f64) -> Value {
    let width = x.width();
    let attend = |x: &Value| attention(x, version, heads, shift);
    let think = |x: &Value| x.within("mlp", |x| perceptron(x, ["0", "3"], 4 * width));
    let norm1 = |x: &Value| x.layer_norm("norm1", EPSILON);
    let norm2 = |x: &Value| x.layer_norm("norm2", EPSILON);
    match version {
        Version::V1 => {
            let x = x.clone() + attend(&norm1(x)).stochastic_depth(share);
            let y = think(&norm2(&x)).stochastic_depth(share);
            x + y
        }
        Version::V2 => {
            let x = x.clone() + norm1(&attend(x)).stochastic_depth(share);
            let y = norm2(&think(&x)).stochastic_depth(share);
            x + y
        }
    }
}

fn attention(x: &Value, version: Version, heads: usize, shift: usize) -> Value {
    let side = version.window();
    let parts = AttentionParts {
        neighbourhood: Neighbourhood::Window { side, shift },
        bias: match version {
            Version::V1 => PositionBias::Table {
                side,
                name: "relative_position_bias_table",
            },
            Version::V2 => PositionBias::Cosine,
        },
        ..AttentionParts::new(heads, x.width())
    };
    x.within("attn", |x| {
        let index = relative_position_index(side);
        let shape = vec![index.len()];
        let index = index.into_iter().map(|row| row as f32).collect();
        x.constant("relative_position_index", shape, index);
        if version == Version::V2 {
            let offsets = 2 * side - 1;
            let shape = vec![1, offsets, offsets, 2];
            x.constant("relative_coords_table", shape, log_offsets(side));
        }
    });
    x.attention("attn", &parts)
}

const INIT: InitRules = InitRules {
    linear: Init::Truncated(0.02),
    linear_bias: Init::Constant(0.0),
    special: &[
        ("relative_position_bias_table", Init::Truncated(0.02)),
        // ln 10
        ("logit_scale", Init::Constant(std::f32::consts::LN_10)),
    ],
    ..InitRules::TORCH
};

const fn entry(
    name: &'static str,
    family: &'static str,
    input_size: usize,
    describe: fn(Value) -> Value,
    weights: &'static [PretrainedWeights],
) -> Architecture {
    Architecture {
        input_size,
        ..Architecture::new(name, family, HeadSlot::linear("head"), describe, weights).init(INIT)
    }
}

const SMALL: [usize; 4] = [2, 2, 6, 2];
const DEEP: [usize; 4] = [2, 2, 18, 2];

/// The family as torchvision publishes it.
pub(super) const SWINS: [Architecture; 6] = [
    entry(
        "swin_t",
        "Swin",
        224,
        |x| swin(x, Version::V1, 96, SMALL, 0.2),
        published::SWIN_T,
    ),
    entry(
        "swin_s",
        "Swin",
        224,
        |x| swin(x, Version::V1, 96, DEEP, 0.3),
        published::SWIN_S,
    ),
    entry(
        "swin_b",
        "Swin",
        224,
        |x| swin(x, Version::V1, 128, DEEP, 0.5),
        published::SWIN_B,
    ),
    entry(
        "swin_v2_t",
        "Swin v2",
        256,
        |x| swin(x, Version::V2, 96, SMALL, 0.2),
        published::SWIN_V2_T,
    ),
    entry(
        "swin_v2_s",
        "Swin v2",
        256,
        |x| swin(x, Version::V2, 96, DEEP, 0.3),
        published::SWIN_V2_S,
    ),
    entry(
        "swin_v2_b",
        "Swin v2",
        256,
        |x| swin(x, Version::V2, 128, DEEP, 0.5),
        published::SWIN_V2_B,
    ),
];
