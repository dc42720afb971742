//! Where a network's head sits, and what stands there.

use crate::graph::{Options, Outputs, Value};

/// The place of the classifier in torchvision's state_dict, and what it does there.
#[derive(Debug, Clone, Copy)]
pub struct HeadSlot {
    /// The module's name: `fc`, `classifier`, `heads.head`.
    pub name: &'static str,
    /// What stands there.
    pub style: HeadStyle,
    /// The share of the features that torchvision drops before it in training.
    pub dropout: f64,
    /// The module that the last layer takes the place of in a bare network ([`Options::bare`]), where
    /// there are hidden layers to leave out.
    pub bare: Option<&'static str>,
}

impl HeadSlot {
    const fn new(name: &'static str, style: HeadStyle) -> Self {
        Self {
            name,
            style,
            dropout: 0.0,
            bare: None,
        }
    }

    /// A linear layer of that name.
    pub const fn linear(name: &'static str) -> Self {
        Self::new(name, HeadStyle::Linear { bias: true })
    }

    /// A linear layer of that name that adds nothing.
    pub const fn linear_without_bias(name: &'static str) -> Self {
        Self::new(name, HeadStyle::Linear { bias: false })
    }

    /// SqueezeNet's convolution.
    pub const fn pooled_conv(name: &'static str) -> Self {
        Self::new(name, HeadStyle::PooledConv)
    }

    /// A head that is written down by the network's family.
    pub const fn own(name: &'static str, text: fn(&Value, usize) -> Outputs) -> Self {
        Self::new(name, HeadStyle::Own(text))
    }

    /// With this share of the features dropped before it in training.
    pub const fn dropout(self, dropout: f64) -> Self {
        Self { dropout, ..self }
    }

    /// Behind hidden layers which, with it, are the module of this name.
    pub const fn bare(self, bare: &'static str) -> Self {
        Self {
            bare: Some(bare),
            ..self
        }
    }

    /// Features as the last layer is given them: in training, some are dropped.
    pub(super) fn thinned(&self, features: Value) -> Value {
        match self.dropout {
            0.0 => features,
            share => features.dropout(share),
        }
    }

    /// The place of the head in a network of these options.
    pub fn for_options(self, options: &Options) -> Self {
        match self.bare {
            Some(name) if options.bare => Self::linear(name),
            _ => self,
        }
    }
}

/// What a network's head is made of.
#[derive(Debug, Clone, Copy)]
pub enum HeadStyle {
    /// Pooled features into a linear layer.
    Linear {
        /// Whether a number per class is added.
        bias: bool,
    },
    /// SqueezeNet's: a 1×1 convolution on the maps, ReLU, then the global average.
    PooledConv,
    /// A text of its own, from what the backbone puts out and the number of classes to the answers: the heads of dense
    /// tasks, which are not solved but trained.
    Own(fn(&Value, usize) -> Outputs),
}
