//! How good a head is on images that it has not seen.

use super::features::{Examples, FeatureCache};
use super::metrics::{MetricsError, Predictions, Report};
use super::split::{SplitError, stratified_folds};
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

/// Predicts every image by a head that has not seen it: stratified k-fold cross-validation.
///
/// `answer` fits a head to the first examples, all views of the images that train, and gives its logits for
/// the second, the plain views of those held out. `on_fold` hears of each fold as it ends; when it says
/// `false` the rest is left out and `None` comes back.
///
/// # Shapes
///
/// - returns: `[images, classes]`, row-major
///
/// # Errors
///
/// When the images cannot be split into that many folds, or a fold cannot be answered.
pub async fn cross_validate<E: From<SplitError>>(
    cache: &FeatureCache,
    classes: usize,
    folds: usize,
    seed: u64,
    mut answer: impl AsyncFnMut(Examples, &Examples) -> Result<Vec<f32>, E>,
    mut on_fold: impl FnMut(usize) -> bool,
) -> Result<Option<Vec<f32>>, E> {
    let mut logits = vec![0.0; cache.len() * classes];
    let splits = stratified_folds(cache.labels(), classes, folds, seed)?;
    for (number, split) in splits.into_iter().enumerate() {
        let (train, valid) = (cache.all_views(&split.train), cache.plain(&split.valid));
        let answers = answer(train, &valid).await?;
        for (row, &image) in answers.chunks_exact(classes).zip(&split.valid) {
            logits[image * classes..(image + 1) * classes].copy_from_slice(row);
        }
        if !on_fold(number + 1) {
            return Ok(None);
        }
    }
    Ok(Some(logits))
}
