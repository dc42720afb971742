//! What turns features into logits: the part that is always trained anew.

mod mlp;

pub use mlp::{MlpConfig, MlpHead};

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::backbone::{Activation, HeadSlot, HeadStyle};
use crate::graph::{Conv, Value};
use crate::neck;
use crate::weights::{Tensors, filled};

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
}

/// A classifier.
#[derive(Module, Debug)]
pub enum Head {
    /// Pooled features into a linear layer.
    Linear(Linear),
    /// SqueezeNet's: a 1×1 convolution over the maps, ReLU, then the global average.
    PooledConv(Conv2d),
    /// A small perceptron on pooled features.
    Mlp(MlpHead),
}

impl Head {
    /// Builds a head of this kind for that place, its parameters not yet filled.
    pub fn new(
        kind: &HeadKind,
        slot: HeadSlot,
        features: usize,
        classes: usize,
        device: &Device,
    ) -> Self {
        match (kind, slot.style) {
            (HeadKind::Mlp(config), _) => Self::Mlp(config.init(features, classes, device)),
            (_, HeadStyle::Linear { bias }) => Self::Linear(
                LinearConfig::new(features, classes)
                    .with_bias(bias || matches!(kind, HeadKind::Linear { .. }))
                    .init(device),
            ),
            (_, HeadStyle::PooledConv) => {
                Self::PooledConv(Conv2dConfig::new([features, classes], [1, 1]).init(device))
            }
        }
    }

    /// A head of these tensors, which bear their names in the state_dict. It records no gradients.
    pub fn filled(
        kind: &HeadKind,
        slot: HeadSlot,
        features: usize,
        classes: usize,
        tensors: &Tensors,
        device: &Device,
    ) -> Self {
        let blank = Self::new(kind, slot, features, classes, device);
        // The names need the module that is being consumed: a copy, blank as it is, will do.
        let namer = blank.clone();
        filled(blank, tensors, &|path| namer.state_name(slot, path))
    }

    /// Writes a head of this kind for that place down, from the features to the logits.
    pub fn describe(kind: &HeadKind, slot: HeadSlot, features: Value, classes: usize) -> Value {
        let pooled = |x: &Value| match x.shape().len() {
            3 => x.global_average().flatten(),
            2 => x.first_token(),
            _ => x.clone(),
        };
        let thinned = |x: Value| match slot.dropout {
            0.0 => x,
            share => x.dropout(share),
        };
        let logits = match (kind, slot.style) {
            (HeadKind::Mlp(config), style) => {
                let (name, first) = match style {
                    HeadStyle::PooledConv => ("classifier", 2),
                    HeadStyle::Linear { .. } => (slot.name, 0),
                };
                config.describe(&pooled(&features), name, first, classes)
            }
            (_, HeadStyle::Linear { bias }) => {
                let bias = bias || matches!(kind, HeadKind::Linear { .. });
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

    /// The name in the state_dict of the parameter at `path` of this module tree.
    pub fn state_name(&self, slot: HeadSlot, path: String) -> String {
        let prefix = self.torch_prefix(slot);
        format!("{prefix}.{}", self.torch_name(slot, path))
    }

    /// The name of the module that holds the head's parameters in the state_dict.
    ///
    /// A perceptron takes the place of the network's last module; SqueezeNet's whole `classifier`
    /// makes room for it, and pools first.
    pub fn torch_prefix(&self, slot: HeadSlot) -> &'static str {
        match (self, slot.style) {
            (Self::Mlp(_), HeadStyle::PooledConv) => "classifier",
            _ => slot.name,
        }
    }

    /// The name that PyTorch gives to the parameter at `path` below [`Head::torch_prefix`].
    pub fn torch_name(&self, slot: HeadSlot, path: String) -> String {
        match (self, slot.style) {
            // `Sequential(AdaptiveAvgPool2d(1), Flatten(), …)`: two entries come first.
            (Self::Mlp(_), HeadStyle::PooledConv) => match path.split_once('.') {
                Some(("layers", rest)) => match rest.split_once('.') {
                    Some((index, leaf)) => {
                        let index: usize = index.parse().unwrap_or_default();
                        format!("{}.{leaf}", index + 2)
                    }
                    None => path,
                },
                _ => path,
            },
            (Self::Mlp(_), _) => path.strip_prefix("layers.").unwrap_or(&path).to_owned(),
            _ => path,
        }
    }

    /// Logits from what the backbone put out.
    ///
    /// # Shapes
    ///
    /// - returns: `[N, classes]`
    pub fn forward(&self, activation: Activation) -> Tensor<2> {
        match (self, activation) {
            (Self::PooledConv(conv), Activation::Map(map)) => {
                neck::global_average(relu(conv.forward(map)))
            }
            (_, activation) => self.forward_features(neck::pool(activation)),
        }
    }

    /// Logits from pooled features.
    ///
    /// For [`Head::PooledConv`] this leaves the ReLU out, which is exact for heads that Rekindle
    /// trained (their biases are lifted above it) and for no others.
    ///
    /// # Shapes
    ///
    /// - features: `[N, features]`
    /// - returns: `[N, classes]`
    pub fn forward_features(&self, features: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear(linear) => linear.forward(features),
            Self::Mlp(mlp) => mlp.forward(features),
            Self::PooledConv(conv) => {
                let [n, width] = features.dims();
                let logits = conv.forward(features.reshape([n, width, 1, 1]));
                let [n, classes, _, _] = logits.dims();
                logits.reshape([n, classes])
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
