//! From files to cached features: photos are decoded on all cores while the network works.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rekindle_core::device::DeviceError;
use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
use rekindle_core::postprocess::Prediction;
use rekindle_core::preprocess::{Augmentation, View};
use rekindle_core::train::FeatureCache;

use crate::context::Context;
use crate::photos::{DecodeOptions, PhotoError, StreamError, decode_stream};
use crate::ui::{Progress, Unit};

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
    /// and for each photo, what its content says ([`FileHash::key`](crate::hash::FileHash::key)): a
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
    let width = model.graph().features();
    let mut cache = FeatureCache::new(width, 1 + views.augmented as usize);
    let (mut features, mut failed) = (Vec::new(), Vec::new());
    let label = ("features", skipped);
    stream(model, paths, views, label, context, |step, _| {
        match step {
            Step::Unreadable(photo, error) => failed.push((photo, error)),
            Step::Batch(photos, crops) => {
                let read = pollster::block_on(model.read_features(crops));
                features.extend(read.map_err(|error| unanswered(error, model, paths, photos))?);
            }
        }
        Ok(())
    })?;
    let mut unread = failed.iter().map(|(photo, _)| *photo).peekable();
    let readable = (0..paths.len()).filter(|photo| unread.next_if_eq(photo).is_none());
    for (photo, row) in readable.zip(features.chunks_exact(width * cache.views())) {
        cache.push(labels[photo], row)?;
    }
    Ok((cache, failed))
}

/// Classifies photos and hands each answer on as soon as it is there, in the order of `paths`: the `top` best
/// classes, or what is wrong with the photo. The bar is out of the way meanwhile. `skipped` have been skipped
/// before.
pub fn predict(
    model: &Model,
    paths: &[PathBuf],
    top: usize,
    skipped: usize,
    context: &Context,
    tell: impl FnMut(usize, Result<Vec<Prediction>, PhotoError>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let ask = |crops: &[RgbImage]| pollster::block_on(model.predict(crops, top));
    answers(model, paths, skipped, context, ask, tell)
}

/// The same with what the network puts out: logits of labels, or values.
pub fn outputs(
    model: &Model,
    paths: &[PathBuf],
    skipped: usize,
    context: &Context,
    tell: impl FnMut(usize, Result<Vec<f32>, PhotoError>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let ask = |crops: &[RgbImage]| pollster::block_on(model.logits(crops));
    answers(model, paths, skipped, context, ask, tell)
}

/// Asks about photos, and hands each answer on in their order.
fn answers<T>(
    model: &Model,
    paths: &[PathBuf],
    skipped: usize,
    context: &Context,
    ask: impl Fn(&[RgbImage]) -> Result<Vec<T>, DeviceError>,
    mut tell: impl FnMut(usize, Result<T, PhotoError>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let views = Views::PLAIN;
    // What is known of photos behind one that is not answered yet.
    let (mut early, mut next) = (BTreeMap::new(), 0);
    let label = ("photos", skipped);
    stream(model, paths, views, label, context, |step, progress| {
        match step {
            Step::Unreadable(photo, error) => _ = early.insert(photo, Err(error)),
            Step::Batch(photos, crops) => {
                let answers =
                    ask(crops).map_err(|error| unanswered(error, model, paths, photos))?;
                early.extend(photos.iter().copied().zip(answers.into_iter().map(Ok)));
            }
        }
        progress.aside(|| {
            while let Some(known) = early.remove(&next) {
                tell(next, known)?;
                next += 1;
            }
            Ok(())
        })
    })
}

/// What the work on photos brings.
enum Step<'a> {
    /// Crops that go through the network together, and the photo of each.
    Batch(&'a [usize], &'a [RgbImage]),
    /// A photo without crops.
    Unreadable(usize, PhotoError),
}

/// What is said of a model that has no answer for a photo.
fn unanswered(
    error: DeviceError,
    model: &Model,
    paths: &[PathBuf],
    photos: &[usize],
) -> anyhow::Error {
    let DeviceError::NotFinite { image, .. } = error else {
        return error.into();
    };
    let network = &model.card.architecture;
    let photo = photos.get(image).map_or("a photo".into(), |&photo| {
        paths[photo].display().to_string()
    });
    anyhow::Error::new(error).context(format!("{network} has no answer for {photo}"))
}

/// Decodes, crops, and hands batches of crops, and photos that cannot be read, to `work`. The line at
/// the end begins with the label and counts what was skipped before too.
fn stream(
    model: &Model,
    paths: &[PathBuf],
    views: Views<'_>,
    (label, skipped): (&str, usize),
    context: &Context,
    mut work: impl FnMut(Step<'_>, &Progress) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let preset = model.card.preset;
    let mut progress = context
        .console
        .start(label, Unit::Items, Some(paths.len() as u64));
    let (mut readable, mut skipped) = (0, skipped);
    let (mut crops, mut photos) = (Vec::new(), Vec::new());
    let prepare = |photo: usize, image: RgbImage| -> Vec<RgbImage> {
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
    let receive = |index: usize, decoded: Result<Vec<RgbImage>, PhotoError>| {
        match decoded {
            Ok(decoded) => {
                readable += 1;
                photos.extend(decoded.iter().map(|_| index));
                crops.extend(decoded);
            }
            Err(error) => {
                skipped += 1;
                work(Step::Unreadable(index, error), &progress)?;
            }
        }
        let last = index + 1 == paths.len();
        while crops.len() >= BATCH || (last && !crops.is_empty()) {
            let batch = crops.len().min(BATCH);
            let later = (photos.split_off(batch), crops.split_off(batch));
            work(Step::Batch(&photos, &crops), &progress)?;
            (photos, crops) = later;
        }
        progress.advance();
        Ok(())
    };
    decode_stream(paths, &options, &context.interrupt, prepare, receive).map_err(|error| {
        match error {
            StreamError::Interrupted(interrupted) => anyhow::Error::new(interrupted),
            StreamError::Receiver(error) => error,
        }
    })?;
    progress.finish(&format!("{label}: {readable} read, {skipped} skipped"));
    Ok(())
}
