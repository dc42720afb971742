//! What turns features into logits: the part that is always trained anew.

mod mlp;

pub use mlp::{MAX_HIDDEN, MlpConfig};

use serde::{Deserialize, Serialize};

use crate::backbone::{HeadSlot, HeadStyle};
use crate::graph::{Conv, Value};

/// What kind of head a model carries, as its file says it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum HeadKind {
    /// The classifier the network was published with.
    Original,
    /// One linear layer on pooled features.
    Linear {
        /// A constant added to every class's bias, zero for most networks. SqueezeNet applies a ReLU
        /// after its last convolution; a bias lifted far enough passes it untouched, and softmax does
        /// not see a common constant. Logits are reported without it.
        #[serde(default)]
        lift: f32,
    },
    /// BatchNorm–Linear–ReLU–BatchNorm–Dropout–Linear on pooled features.
    Mlp(MlpConfig),
}

impl HeadKind {
    /// The word used for it on the command line and in files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Linear { .. } => "linear",
            Self::Mlp(_) => "mlp",
        }
    }

    /// Writes such a head for that place down, from the features to the logits.
    pub fn describe(&self, slot: HeadSlot, features: Value, classes: usize) -> Value {
        let pooled = |x: &Value| match x.shape().len() {
            3 => x.global_average().flatten(),
            2 => x.first_token(),
            _ => x.clone(),
        };
        let thinned = |x: Value| match slot.dropout {
            0.0 => x,
            share => x.dropout(share),
        };
        let logits = match (self, slot.style) {
            (Self::Mlp(config), style) => {
                let (name, first) = match style {
                    HeadStyle::PooledConv => ("classifier", 2),
                    HeadStyle::Linear { .. } => (slot.name, 0),
                };
                config.describe(&pooled(&features), name, first, classes)
            }
            (_, HeadStyle::Linear { bias }) => {
                let bias = bias || matches!(self, Self::Linear { .. });
                thinned(pooled(&features)).linear_with(slot.name, classes, bias)
            }
            (_, HeadStyle::PooledConv) => thinned(features)
                .conv(slot.name, Conv::new(classes, 1).bias())
                .relu()
                .global_average()
                .flatten(),
        };
        logits.stage("head")
    }
}

/// How far a linear head's biases must be lifted so that SqueezeNet's ReLU passes every logit at
/// every position of every image it was trained on.
///
/// Only pooled features are at hand, and a channel's peak exceeds its mean: sixteen times is beyond
/// what sparse maps of these networks show, and a position that should exceed it all the same is
/// merely clipped, not broken.
///
/// # Shapes
///
/// - weight: `[classes, width]`, row-major
/// - features: `[images, width]`, row-major, not negative
pub fn relu_lift(weight: &[f32], bias: &[f32], features: &[f32], width: usize) -> f32 {
    const PEAK_OVER_MEAN: f32 = 16.0;
    let lowest_bias = bias.iter().copied().fold(f32::INFINITY, f32::min);
    let deepest = features
        .chunks_exact(width)
        .flat_map(|row| {
            weight.chunks_exact(width).map(move |class| {
                let down: f32 = class.iter().zip(row).map(|(w, x)| (-w).max(0.0) * x).sum();
                down
            })
        })
        .fold(0.0_f32, f32::max);
    (PEAK_OVER_MEAN * deepest - lowest_bias).max(0.0).ceil()
}
