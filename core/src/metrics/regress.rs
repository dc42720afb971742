//! How far estimated values are off: the coefficient of determination and mean errors.
//!
//! Definitions are scikit-learn's (`r2_score`, `mean_absolute_error`, `root_mean_squared_error`,
//! `mean_squared_error`). Where nothing was
//! measured there is no number.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why estimates could not be scored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueMetricsError {
    /// Estimates and true values are not rows of the same size.
    #[error("{estimates} estimates for {targets} values in rows of {width}")]
    Shape {
        /// Estimates given.
        estimates: usize,
        /// True values given.
        targets: usize,
        /// Values of a row.
        width: usize,
    },
}

/// How far the estimates of one value are off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueScores {
    /// `1 - Σ(y - ŷ)² / Σ(y - ȳ)²`: 1 where all is right, 0 for who always says the mean, below for who is worse.
    /// Nothing of fewer than two images, or where all have one value.
    pub r2: Option<f64>,
    /// The mean of `|y - ŷ|`, in the value's own unit.
    pub mae: Option<f64>,
    /// The root of the mean of `(y - ŷ)²`, likewise.
    pub rmse: Option<f64>,
}

/// How far the estimates of all values are off on a set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueReport {
    /// How many images were judged.
    pub images: usize,
    /// The mean over the values that have one, each counting the same.
    pub r2: Option<f64>,
    /// The mean over the values.
    pub mae: Option<f64>,
    /// The mean over the values.
    pub rmse: Option<f64>,
    /// The mean of `(y - ŷ)²` over images and values.
    #[serde(default)]
    pub mse: Option<f64>,
    /// One entry a value, in their order.
    pub per_value: Vec<ValueScores>,
}

/// Scores estimates against true values.
///
/// # Shapes
///
/// - estimates, targets: `[N, width]`, row-major
///
/// # Errors
///
/// When they are not of the same sizes.
pub fn judge(
    estimates: &[f32],
    targets: &[f32],
    width: usize,
) -> Result<ValueReport, ValueMetricsError> {
    if width == 0 || estimates.len() != targets.len() || !targets.len().is_multiple_of(width) {
        return Err(ValueMetricsError::Shape {
            estimates: estimates.len(),
            targets: targets.len(),
            width,
        });
    }
    let images = targets.len() / width;
    let count = images as f64;
    let scores = |value: usize| {
        let column = |all: &[f32]| -> Vec<f64> {
            let rows = all.chunks_exact(width);
            rows.map(|row| f64::from(row[value])).collect()
        };
        let (ours, theirs) = (column(estimates), column(targets));
        let middle = theirs.iter().sum::<f64>() / count;
        let off = || ours.iter().zip(&theirs).map(|(ours, theirs)| ours - theirs);
        let squares: f64 = off().map(|off| off * off).sum();
        let spread: f64 = theirs.iter().map(|y| (y - middle).powi(2)).sum();
        ValueScores {
            r2: (images > 1 && spread > 0.0).then(|| 1.0 - squares / spread),
            mae: (images > 0).then(|| off().map(f64::abs).sum::<f64>() / count),
            rmse: (images > 0).then(|| (squares / count).sqrt()),
        }
    };
    let per_value: Vec<ValueScores> = (0..width).map(scores).collect();
    let mean = |of: fn(&ValueScores) -> Option<f64>| {
        let known: Vec<f64> = per_value.iter().filter_map(of).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    };
    Ok(ValueReport {
        images,
        r2: mean(|one| one.r2),
        mae: mean(|one| one.mae),
        rmse: mean(|one| one.rmse),
        mse: mean(|one| one.rmse.map(|rmse| rmse * rmse)),
        per_value,
    })
}
