//! What turns features into logits: the part that is always trained anew.

mod mlp;
mod slot;

pub use mlp::{MAX_HIDDEN, MlpConfig};
pub use slot::{HeadSlot, HeadStyle};

use serde::{Deserialize, Serialize};

use crate::graph::{Conv, Outputs, Value};

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

    /// Writes such a head for that place down, from what the backbone puts out to the answers: one output called
    /// `logits`, and the pooled `features` on the way or beside it; a head of a network's own has outputs of its own.
    pub fn describe(&self, slot: HeadSlot, x: Value, classes: usize) -> Outputs {
        x.begin_head();
        if let HeadStyle::Own(text) = slot.style {
            return text(&x, classes);
        }
        let features = match x.shape().len() {
            3 => x.global_average().flatten(),
            2 => x.first_token(),
            _ => x.clone(),
        };
        let features = features.tap("features");
        let logits = match (self, slot.style) {
            (Self::Original | Self::Linear { .. }, HeadStyle::PooledConv) => slot
                .thinned(x)
                .conv(slot.name, Conv::new(classes, 1).bias())
                .relu()
                .global_average()
                .flatten(),
            _ => self.on_features(slot, features, classes),
        };
        Outputs::named([("logits", logits.stage("head"))])
    }

    /// Writes such a head for that place down, from pooled features to logits. SqueezeNet's linear layer is its
    /// convolution at a single position, without the ReLU that a [lift](Self::Linear) makes up for.
    pub fn on_features(&self, slot: HeadSlot, features: Value, classes: usize) -> Value {
        match (self, slot.style) {
            (Self::Mlp(config), HeadStyle::PooledConv) => {
                // `Sequential(AdaptiveAvgPool2d(1), Flatten(), …)`: two entries come first.
                config.describe(&features, "classifier", 2, classes)
            }
            (Self::Mlp(config), _) => config.describe(&features, slot.name, 0, classes),
            (_, style) => {
                let bias = !matches!(
                    (self, style),
                    (Self::Original, HeadStyle::Linear { bias: false })
                );
                slot.thinned(features).linear_with(slot.name, classes, bias)
            }
        }
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
pub fn relu_lift<'a>(
    weight: &[f32],
    bias: &[f32],
    features: impl Iterator<Item = &'a [f32]>,
    width: usize,
) -> f32 {
    const PEAK_OVER_MEAN: f32 = 16.0;
    let lowest_bias = bias.iter().copied().fold(f32::INFINITY, f32::min);
    let deepest = features
        .flat_map(|row| {
            weight.chunks_exact(width).map(move |class| {
                let down: f32 = class.iter().zip(row).map(|(w, x)| (-w).max(0.0) * x).sum();
                down
            })
        })
        .fold(0.0_f32, f32::max);
    (PEAK_OVER_MEAN * deepest - lowest_bias).max(0.0).ceil()
}
