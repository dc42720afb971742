//! A head with numbers, as Burn's modules.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::{Activation, MlpHead, filled, global_average, pool};
use crate::backbone::{HeadSlot, HeadStyle};
use crate::head::HeadKind;
use crate::weights::Tensors;

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
            (HeadKind::Mlp(config), _) => {
                Self::Mlp(MlpHead::new(config, features, classes, device))
            }
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
                global_average(relu(conv.forward(map)))
            }
            (_, activation) => self.forward_features(pool(activation)),
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
