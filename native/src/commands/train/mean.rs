//! What several trainings come to together.

use serde::Serialize;

/// A mean over folds, and its standard error.
#[derive(Clone, Copy, Serialize)]
pub struct Mean {
    pub mean: f64,
    pub standard_error: f64,
}

impl Mean {
    /// Nothing of fewer than two figures.
    pub fn of(all: &[f64]) -> Option<Self> {
        let count = all.len() as f64;
        if count < 2.0 {
            return None;
        }
        let mean = all.iter().sum::<f64>() / count;
        let square = all.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Some(Self {
            mean,
            standard_error: (square / count).sqrt(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_mean_is_that_of_its_sample() {
        // numpy: std([0.9, 1.0, 0.8], ddof=1) / sqrt(3)
        let of = Mean::of(&[0.9, 1.0, 0.8]).unwrap();
        assert!((of.mean - 0.9).abs() < 1e-12);
        assert!((of.standard_error - 0.057_735_026_918_962_55).abs() < 1e-12);
        assert!(Mean::of(&[0.9]).is_none());
    }
}
