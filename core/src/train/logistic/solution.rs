//! The head that a regression gives.

use rekindle_cpu::Rows;
use serde::{Deserialize, Serialize};

/// A linear head: `logits = x · weightᵀ + bias`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearSolution {
    /// `[classes, features]`, row-major.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
    /// The objective reached, as [the module](super) defines it.
    pub objective: f64,
    /// Iterations it took.
    pub iterations: usize,
}

impl LinearSolution {
    /// The logits of images.
    ///
    /// # Shapes
    /// `features` is `[N, F]`, the answer `[N, K]`, both row-major. A last, incomplete row of
    /// `features` is not answered.
    pub fn logits(&self, features: &[f32]) -> Vec<f32> {
        self.logits_of(Rows::all(self.features().max(1), features))
    }

    /// The same of rows that lie somewhere.
    ///
    /// # Panics
    /// If rows have another length than the weights.
    pub fn logits_of(&self, features: Rows<'_>) -> Vec<f32> {
        let (rows, classes) = (features.len(), self.bias.len());
        let weight: Vec<f64> = self.weight.iter().copied().map(f64::from).collect();
        let mut by_class = vec![0.0; rows * classes];
        rekindle_cpu::exact_logits(features, &weight, &mut by_class);
        let mut logits = vec![0.0; rows * classes];
        let classes = by_class.chunks_exact(rows.max(1)).zip(&self.bias);
        for (class, (of_class, &bias)) in classes.enumerate() {
            for (row, logit) in logits.chunks_exact_mut(self.bias.len()).zip(of_class) {
                row[class] = (logit + f64::from(bias)) as f32;
            }
        }
        logits
    }

    /// The probabilities of images, `softmax(logits)`.
    ///
    /// # Shapes
    /// As for [`LinearSolution::logits`].
    pub fn probabilities(&self, features: &[f32]) -> Vec<f32> {
        let mut values = self.logits(features);
        for row in values.chunks_exact_mut(self.bias.len().max(1)) {
            let logits: Vec<f64> = row.iter().map(|&logit| f64::from(logit)).collect();
            let log_sum = log_sum_exp(&logits);
            for (value, logit) in row.iter_mut().zip(logits) {
                *value = (logit - log_sum).exp() as f32;
            }
        }
        values
    }

    /// How many features it takes.
    pub(super) fn features(&self) -> usize {
        self.weight.len() / self.bias.len().max(1)
    }
}

/// `ln Σ exp`, without overflow.
fn log_sum_exp(logits: &[f64]) -> f64 {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers = logits.iter().map(|logit| (logit - highest).exp());
    highest + powers.sum::<f64>().ln()
}
