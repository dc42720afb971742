//! How good a head is on images that it has not seen.

use std::collections::BTreeMap;

use super::features::{Examples, FeatureCache};
use super::split::Split;
use crate::metrics::classify::{MetricsError, Predictions, Report};
use crate::postprocess::softmax;

/// Compares logits with the true classes.
///
/// # Shapes
///
/// - logits: `[N, classes]`, row-major
///
/// # Errors
///
/// When sizes do not fit or a label is out of range.
pub fn judge(logits: &[f32], labels: &[usize], classes: usize) -> Result<Report, MetricsError> {
    let probabilities: Vec<f32> = logits
        .chunks_exact(classes.max(1))
        .flat_map(softmax)
        .collect();
    Ok(Predictions::new(&probabilities, labels, classes)?.report())
}

/// What heads say of images that they have not seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeldOut {
    /// The images, ascending.
    pub images: Vec<usize>,
    /// Their logits, `[images, classes]`, row-major.
    pub logits: Vec<f32>,
}

/// Predicts images by heads that have not seen them: cross-validation over the splits that
/// [`stratified_folds`](super::stratified_folds) makes.
///
/// `answer` fits a head to the first examples, all views of the images that train, and gives its logits for
/// the second, the plain views of those held out. `on_fold` hears of each fold as it ends; when it says
/// `false` the rest is left out and `None` comes back.
///
/// # Errors
///
/// When a fold cannot be answered.
pub async fn cross_validate<'a, E>(
    cache: &'a FeatureCache,
    classes: usize,
    splits: &[Split],
    mut answer: impl AsyncFnMut(Examples<'a>, &Examples<'a>) -> Result<Vec<f32>, E>,
    mut on_fold: impl FnMut(usize) -> bool,
) -> Result<Option<HeldOut>, E> {
    let mut rows = BTreeMap::new();
    for (number, split) in splits.iter().enumerate() {
        let (train, valid) = (cache.all_views(&split.train), cache.plain(&split.valid));
        let answers = answer(train, &valid).await?;
        let each = answers.chunks_exact(classes).map(<[f32]>::to_vec);
        rows.extend(split.valid.iter().copied().zip(each));
        if !on_fold(number + 1) {
            return Ok(None);
        }
    }
    Ok(Some(HeldOut {
        images: rows.keys().copied().collect(),
        logits: rows.into_values().flatten().collect(),
    }))
}
