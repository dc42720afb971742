//! What is remembered of a solution: where the next fit starts.

use std::collections::BTreeMap;

/// What is remembered of a solution.
#[derive(Debug)]
pub(super) struct Kept {
    /// The stable ids of the classes that had photos.
    pub(super) ids: Vec<usize>,
    /// `[classes, features]`.
    pub(super) weight: Vec<f64>,
    /// Biases of photos less this mean.
    pub(super) bias: Vec<f64>,
    pub(super) mean: Vec<f64>,
    /// Each photo's label and share of each class's weights, where the weights were told so.
    pub(super) shares: BTreeMap<u64, (usize, Vec<f64>)>,
}
