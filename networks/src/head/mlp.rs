//! The two-layer head: batch norm, a hidden layer, ReLU, batch norm, dropout, a linear layer.

use serde::{Deserialize, Serialize};

use crate::graph::{Norm, Value};

/// The widest hidden layer: more than twice the features of any network. A model's card may claim any number,
/// and tables are made of cards alone.
pub const MAX_HIDDEN: usize = 1 << 16;

/// The shape of such a head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MlpConfig {
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Share of hidden activations dropped in training.
    pub dropout: f64,
}

impl MlpConfig {
    /// Hidden units for each feature, where nobody chooses another width.
    pub const WIDENING: usize = 2;

    /// The share that is dropped, where nobody chooses another.
    pub const DROPOUT: f64 = 0.5;

    /// Writes the head down as an `nn.Sequential` called `name`, whose entries are counted from
    /// `first`.
    pub fn describe(&self, features: &Value, name: &str, first: usize, classes: usize) -> Value {
        features.within(name, |x| {
            let entry = |index: usize| (first + index).to_string();
            x.batch_norm(&entry(0), Norm::TORCH)
                .linear(&entry(1), self.hidden)
                .relu()
                .batch_norm(&entry(3), Norm::TORCH)
                .dropout(self.dropout)
                .linear(&entry(5), classes)
        })
    }
}
