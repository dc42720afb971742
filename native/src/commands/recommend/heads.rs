//! Heads on frozen features: a network's features of the sample, and how good a head on them is on photos that it has
//! not seen.

use std::time::Instant;

use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
use rekindle_core::train::{
    ClassWeights, Examples, FeatureCache, Fitted, Groups, HeadRecipe, HeadTrainer, LinearRecipe,
    Split, evaluate, stratified_folds,
};

use super::clock::Clock;
use crate::cli::CacheArgs;
use crate::commands::train;
use crate::context::Context;
use crate::dataset::{self, Dataset};
use crate::features::Drawn;

/// Folds of a cross-validation, where so many can be made.
pub const FOLDS: usize = 5;

/// The head of every candidate: `train`'s own.
const HEAD: HeadRecipe = HeadRecipe::Linear(LinearRecipe {
    c: None,
    class_weights: ClassWeights::None,
});

/// A head's figures.
#[derive(Debug, Clone)]
pub struct Head {
    /// Of each photo of the sample, whether a head that has not seen it names its class; nothing of those that every
    /// head has seen.
    pub right: Vec<Option<bool>>,
    /// Seconds of solving it for each photo that it learns from.
    pub fit: f64,
    /// Seconds a photo, decoded and sent through the network, and without decoding.
    pub photo: f64,
    pub forward: f64,
}

/// The features of all photos of a data set that can be read; the others are left out of it. Photos that are known are
/// neither decoded nor asked about, and what was computed when time is up is kept.
///
/// # Errors
///
/// When the device fails, a class is left without photos, or the work is [halted](Clock::halted).
pub fn features(
    model: &Model,
    dataset: &mut Dataset,
    cache: &CacheArgs,
    context: &Context,
) -> anyhow::Result<FeatureCache> {
    // The plain view alone, of which nothing is drawn.
    let views = Drawn {
        augmented: 0,
        seed: 0,
    };
    train::extract(
        &model.card.architecture,
        dataset,
        model,
        views,
        cache,
        context,
    )
}

/// The seconds that a photo takes in the compiled network. Measured on pictures of no content, on which speed does not
/// depend.
pub fn seconds_forward(model: &Model, clock: &Clock) -> anyhow::Result<f64> {
    const BATCH: usize = 8;
    let side = model.card.preset.side();
    let pixels = vec![127; 3 * side as usize * side as usize];
    let picture = RgbImage::new(side, side, pixels)?;
    let crops = vec![picture; BATCH];
    let ask = || pollster::block_on(model.read_features(&crops));
    // The first compiles.
    ask()?;
    clock.check()?;
    let begun = Instant::now();
    ask()?;
    Ok(begun.elapsed().as_secs_f64() / BATCH as f64)
}

/// How the sample is divided: the folder's own parts, or as many folds up to [`FOLDS`] as its groups allow. None where
/// nothing can be held back.
pub fn splits(dataset: &Dataset, cache: &FeatureCache, groups: &Groups, seed: u64) -> Vec<Split> {
    let contents: Vec<u64> = dataset.items.iter().map(|item| item.hash.key()).collect();
    let by_content = |split: Split| split.by_content(&contents, cache.labels());
    if dataset.holds_some_back() {
        let is_train = |row: &usize| {
            let part = dataset.items[*row].split;
            part.is_none_or(|part| part == dataset::Split::Train)
        };
        let (train, valid) = (0..cache.len()).partition(is_train);
        return vec![by_content(Split { train, valid })];
    }
    let classes = dataset.classes.len();
    let (labels, groups) = (cache.labels(), groups.of());
    let made = (2..=FOLDS).rev().find_map(|folds| {
        stratified_folds(labels, groups, Some(&contents), classes, folds, seed).ok()
    });
    made.unwrap_or_default()
        .into_iter()
        .map(by_content)
        .collect()
}

/// Asks heads about photos that they have not seen, a head for each split.
///
/// # Errors
///
/// When a head cannot be solved, or the work is [halted](Clock::halted).
pub fn validated(
    model: &Model,
    cache: &FeatureCache,
    classes: usize,
    splits: &[Split],
    seed: u64,
    clock: &Clock,
) -> anyhow::Result<(Vec<Option<bool>>, f64)> {
    let mut right = vec![None; cache.len()];
    let (mut seconds, mut learnt) = (0.0, 0);
    for split in splits {
        let begun = Instant::now();
        let fitted = solve(model, cache.all_views(&split.train), classes, seed, clock)?;
        let answers = answers(model, &fitted, cache, split)?;
        seconds += begun.elapsed().as_secs_f64();
        learnt += split.train.len();
        for (&photo, is_right) in split.valid.iter().zip(answers) {
            right[photo] = Some(is_right);
        }
        clock.check()?;
    }
    Ok((right, seconds / learnt.max(1) as f64))
}

/// Solves a head on examples.
///
/// # Errors
///
/// When it cannot be solved, or the work is [halted](Clock::halted).
pub fn solve(
    model: &Model,
    examples: Examples,
    classes: usize,
    seed: u64,
    clock: &Clock,
) -> anyhow::Result<Fitted> {
    let (slot, device) = (model.slot(), model.device());
    let mut trainer = HeadTrainer::new(&HEAD, examples, classes, slot, seed, None, device)?;
    while !pollster::block_on(trainer.step())?.finished {
        clock.check()?;
    }
    Ok(pollster::block_on(trainer.head())?)
}

/// Whether a head is right about each photo held back by a split.
pub fn answers(
    model: &Model,
    fitted: &Fitted,
    cache: &FeatureCache,
    split: &Split,
) -> anyhow::Result<Vec<bool>> {
    let valid = cache.plain(&split.valid);
    let logits = pollster::block_on(evaluate(fitted, &valid, model.slot(), model.device()))?;
    Ok(are_right(&logits, &valid.labels, fitted.classes))
}

/// Whether the likeliest class of each row of logits is the right one; of equals the first counts.
pub fn are_right(logits: &[f32], labels: &[usize], classes: usize) -> Vec<bool> {
    let rows = logits.chunks_exact(classes.max(1)).zip(labels);
    let is_right = |(row, &label): (&[f32], &usize)| {
        let above = |(class, &logit): (usize, &f32)| {
            logit > row[label] || (logit == row[label] && class < label)
        };
        !row.iter().enumerate().any(above)
    };
    rows.map(is_right).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_logits_is_the_answer() {
        let logits = [0.1, 0.5, 0.5, 2.0, -1.0, 0.0];
        assert_eq!(are_right(&logits, &[1, 0], 3), [true, true]);
        assert_eq!(are_right(&logits, &[2, 1], 3), [false, false]);
        assert!(are_right(&[f32::NAN, 1.0], &[1], 2)[0]);
    }
}
