//! From files to cached features: photos are decoded on all cores while the network works.

use std::path::PathBuf;

use anyhow::Context as _;
use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
use rekindle_core::postprocess::Prediction;
use rekindle_core::preprocess::{Augmentation, View};
use rekindle_core::train::FeatureCache;

use crate::commands::Context;
use crate::photos::{DecodeOptions, PhotoError, StreamError, decode_stream};
use crate::ui::Unit;

/// Crops that go through the network together. Larger batches gain little on a processor and cost
/// memory.
const BATCH: usize = 8;

/// Which augmented views are made of each photo, beside the plain one.
#[derive(Debug, Clone, Copy)]
pub struct Views<'a> {
    /// How many.
    pub augmented: u32,
    /// What they follow from,
    pub seed: u64,
    /// and for each photo, what its content says ([`FileHash::key`](crate::dataset::FileHash::key)): a
    /// photo keeps its views under another name and among other photos.
    pub keys: &'a [u64],
}

impl Views<'_> {
    /// The plain view alone.
    pub const PLAIN: Self = Self {
        augmented: 0,
        seed: 0,
        keys: &[],
    };

    fn of(self, image: &RgbImage, photo: usize) -> Vec<View> {
        let key = self.keys.get(photo).copied().unwrap_or_default();
        let (width, height) = (image.width(), image.height());
        Augmentation::default()
            .views(width, height, self.seed, key, self.augmented)
            .collect()
    }
}

/// Computes the features of labelled photos; `skipped` have been skipped before.
///
/// Returns the cache and the photos that could not be read, by their position in `paths`; the cache
/// holds the others in order.
pub fn extract(
    model: &Model,
    paths: &[PathBuf],
    labels: &[usize],
    views: Views<'_>,
    skipped: usize,
    context: &Context,
) -> anyhow::Result<(FeatureCache, Vec<(usize, PhotoError)>)> {
    let width = model.backbone_graph().features();
    let mut cache = FeatureCache::new(width, 1 + views.augmented as usize);
    let mut features = Vec::new();
    let mut readable = Vec::new();
    let failed = stream(
        model,
        paths,
        views,
        ("features", skipped),
        context,
        &mut readable,
        |batch| {
            features.extend(pollster::block_on(model.read_features(batch))?);
            Ok(())
        },
    )?;
    for (&photo, row) in readable
        .iter()
        .zip(features.chunks_exact(width * cache.views()))
    {
        cache.push(labels[photo], row)?;
    }
    Ok((cache, failed))
}

/// What came of classifying photos, which are named by their position in the list.
pub struct Answers {
    /// The best classes of each photo that could be read, in order.
    pub answers: Vec<(usize, Vec<Prediction>)>,
    /// The others, in order.
    pub failed: Vec<(usize, PhotoError)>,
}

/// Classifies photos: the `top` best classes of each; `skipped` have been skipped before.
pub fn predict(
    model: &Model,
    paths: &[PathBuf],
    top: usize,
    skipped: usize,
    context: &Context,
) -> anyhow::Result<Answers> {
    let mut answers = Vec::new();
    let mut readable = Vec::new();
    let failed = stream(
        model,
        paths,
        Views::PLAIN,
        ("photos", skipped),
        context,
        &mut readable,
        |batch| {
            answers.extend(pollster::block_on(model.predict(batch, top))?);
            Ok(())
        },
    )?;
    Ok(Answers {
        answers: readable.into_iter().zip(answers).collect(),
        failed,
    })
}

/// Decodes, crops, and hands batches of crops to `work`. `readable` gets the photos that made it. The line at the
/// end begins with the label and counts what was skipped before too.
fn stream(
    model: &Model,
    paths: &[PathBuf],
    views: Views<'_>,
    (label, skipped): (&str, usize),
    context: &Context,
    readable: &mut Vec<usize>,
    mut work: impl FnMut(&[RgbImage]) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<(usize, PhotoError)>> {
    let preset = model.card.preset;
    let mut progress = context
        .console
        .start(label, Unit::Items, Some(paths.len() as u64));
    let mut failed = Vec::new();
    let mut batch: Vec<RgbImage> = Vec::new();
    let crops = |photo: usize, image: RgbImage| -> Vec<RgbImage> {
        let views = views.of(&image, photo);
        let crop = |view| preset.view_pixels(&image, view);
        views.iter().map(crop).collect()
    };
    let options = DecodeOptions {
        limits: context.limits,
        // Photos wait as crops, of which there may be many for each.
        ahead: (4 * BATCH).div_ceil(1 + views.augmented as usize),
        ..DecodeOptions::default()
    };
    let receive = |index: usize, crops: Result<Vec<RgbImage>, PhotoError>| {
        match crops {
            Ok(crops) => {
                readable.push(index);
                batch.extend(crops);
            }
            Err(error) => failed.push((index, error)),
        }
        let last = index + 1 == paths.len();
        while batch.len() >= BATCH || (last && !batch.is_empty()) {
            let rest = batch.split_off(batch.len().min(BATCH));
            work(&batch)?;
            batch = rest;
        }
        progress.advance();
        Ok(())
    };
    decode_stream(paths, &options, &context.interrupt, crops, receive)
        .map_err(|error| match error {
            StreamError::Interrupted(interrupted) => anyhow::Error::new(interrupted),
            StreamError::Receiver(error) => error,
        })
        .context("the photos could not be worked through")?;
    progress.finish(&format!(
        "{label}: {} read, {} skipped",
        readable.len(),
        skipped + failed.len()
    ));
    Ok(failed)
}
