//! What to train and how, as data: it travels in the run folder and in the model file.

use serde::{Deserialize, Serialize};

use crate::class_weights::ClassWeights;
use crate::head::MlpConfig;

/// A head and the way to train it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum HeadRecipe {
    /// A linear layer, solved to the optimum.
    Linear(LinearRecipe),
    /// Two layers, trained by AdamW.
    Mlp {
        /// Width of the hidden layer; twice the features when not given.
        hidden: Option<usize>,
        /// Share of hidden activations dropped in training.
        dropout: f64,
        /// The training itself.
        #[serde(flatten)]
        training: MlpRecipe,
        /// How much each class counts.
        class_weights: ClassWeights,
    },
}

/// How a linear head is solved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LinearRecipe {
    /// Inverse strength of the penalty, scikit-learn's `C` on the features as they are. When not
    /// given it is one over the features' mean variance, which suits every backbone: features of two
    /// networks may differ in size by ten, and the best `C` by a hundred.
    pub c: Option<f64>,
    /// How much each class counts.
    #[serde(default)]
    pub class_weights: ClassWeights,
}

impl Default for HeadRecipe {
    fn default() -> Self {
        Self::linear()
    }
}

impl HeadRecipe {
    /// A linear layer, its penalty chosen from the features.
    pub const fn linear() -> Self {
        Self::Linear(LinearRecipe {
            c: None,
            class_weights: ClassWeights::None,
        })
    }

    /// A two-layer head: hidden layer, ReLU, dropout, classifier.
    pub const fn mlp() -> Self {
        Self::Mlp {
            hidden: None,
            dropout: MlpConfig::DROPOUT,
            training: MlpRecipe::USUAL,
            class_weights: ClassWeights::None,
        }
    }

    /// How much each class counts.
    pub fn class_weights(&self) -> &ClassWeights {
        match self {
            Self::Linear(linear) => &linear.class_weights,
            Self::Mlp { class_weights, .. } => class_weights,
        }
    }

    /// The same recipe with other class weights.
    pub fn with_class_weights(mut self, weights: ClassWeights) -> Self {
        match &mut self {
            Self::Linear(linear) => linear.class_weights = weights,
            Self::Mlp { class_weights, .. } => *class_weights = weights,
        }
        self
    }
}

/// How a two-layer head is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MlpRecipe {
    /// Passes over the images.
    pub epochs: usize,
    /// Images per step.
    pub batch: usize,
    /// The first learning rate; it falls along a half cosine.
    pub rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl MlpRecipe {
    /// What is done where nobody says otherwise: rate and decay are PyTorch's defaults of AdamW.
    pub const USUAL: Self = Self {
        epochs: 30,
        batch: 32,
        rate: 1e-3,
        weight_decay: 1e-2,
    };
}

impl Default for MlpRecipe {
    fn default() -> Self {
        Self::USUAL
    }
}
