//! From files to cached features: photos are decoded on all cores while the network works.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rekindle_core::device::DeviceError;
use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
use rekindle_core::postprocess::Prediction;
use rekindle_core::preprocess::{self, AugmentRecipe, Augmentation, Preset};
use rekindle_core::rows::Encoding;
use rekindle_core::train::FeatureCache;

use crate::activations::{self, Activations, Rows, Store, WAITING};
use crate::context::Context;
use crate::hash::{FileHash, hash_text};
use crate::models::unanswered;
use crate::photos::{DecodeOptions, PhotoError, StreamError, decode_stream};
use crate::prepared::{Maker, Prepared};
use crate::ui::{Progress, Unit};

/// Crops that go through the network together. Larger batches gain little on a processor and cost
/// memory.
const BATCH: usize = 8;

/// Plans below this many bytes are not worth a line.
const WORTH_SAYING: u64 = 100_000_000;

/// Which augmented views are made of each photo, beside the plain one.
#[derive(Debug, Clone, Copy)]
pub struct Drawn {
    /// How many.
    pub augmented: u32,
    /// What they follow from, beside the photo's content: a photo keeps its views under another name and among other
    /// photos.
    pub seed: u64,
}

/// Labelled photos.
#[derive(Debug, Clone, Copy)]
pub struct Photos<'a> {
    /// Their files,
    pub paths: &'a [PathBuf],
    /// the class of each,
    pub labels: &'a [usize],
    /// what each holds,
    pub contents: &'a [FileHash],
    /// and how many others have been skipped before.
    pub skipped: usize,
}

/// The views of photos, as `preset` crops them.
struct Cropped<'a> {
    drawn: Drawn,
    preset: Preset,
    contents: &'a [FileHash],
    maker: Maker,
    /// For each view, a number that says how it is drawn.
    keys: Vec<u64>,
}

impl<'a> Cropped<'a> {
    fn new(drawn: Drawn, preset: Preset, contents: &'a [FileHash], maker: Maker) -> Self {
        let recipe = Augmentation::default();
        let key = |view: u32| match view {
            0 => 0,
            _ => hash_text(&format!("{recipe:?} seed {} view {view}", drawn.seed)).key(),
        };
        Self {
            drawn,
            preset,
            contents,
            maker,
            keys: (0..=drawn.augmented).map(key).collect(),
        }
    }
}

impl activations::Views for Cropped<'_> {
    fn keys(&self, _photo: usize) -> Vec<u64> {
        self.keys.clone()
    }

    fn prepare(&self, photo: usize, image: &RgbImage, wanted: &[usize]) -> Vec<Prepared> {
        let (width, height) = (image.width(), image.height());
        let (seed, key) = (self.drawn.seed, self.contents[photo].key());
        let recipe = Augmentation::default();
        let prepare = |&view: &usize| {
            let view = recipe.view(width, height, seed, key, view as u32);
            let drawn = preprocess::Drawn::of(view);
            self.maker.prepare(&self.preset, image, &drawn, WAITING)
        };
        wanted.iter().map(prepare).collect()
    }
}

/// The features of labelled photos: from the store those that were computed before, the others computed and kept
/// there.
///
/// `label` is what the bar calls the work.
///
/// Returns the cache and the photos that could not be read, by their position in `paths`; the cache
/// holds the others in order.
pub fn extract(
    label: &str,
    model: &Model,
    photos: Photos<'_>,
    drawn: Drawn,
    store: &Store,
    context: &Context,
) -> anyhow::Result<(FeatureCache, Vec<(usize, PhotoError)>)> {
    let Photos {
        paths,
        labels,
        contents,
        skipped,
    } = photos;
    let value = model.graph().value("features");
    let value = value.ok_or(DeviceError::execution("it has no pooled features"))?;
    let maker = match drawn.augmented {
        // Nothing is changed at random.
        0 => Maker::Host,
        _ => Maker::chosen(model, &AugmentRecipe::standard())?,
    };
    let views = Cropped::new(drawn, model.card.preset, contents, maker);
    let rows = Rows {
        model,
        value,
        paths,
        contents,
        views: &views,
    };
    let mut activations = Activations::open(rows, Encoding::Full, store, context)?;
    let plan = activations.plan();
    if store.budget() > 0
        && (plan.bytes - plan.there.min(plan.bytes) >= WORTH_SAYING || !plan.fits())
    {
        context.console.note(&format!("features to keep: {plan}"));
    }
    let width = activations.width();
    let of_a_photo = width * views.keys.len();
    let mut features = vec![0.0; paths.len() * of_a_photo];
    let filled = activations.each(label, skipped, |photo, view, row| {
        features[photo * of_a_photo + view * width..][..width].copy_from_slice(row);
        Ok(())
    })?;
    // In place: of many photos there is no room for two copies.
    let mut unread = filled.unreadable.iter().map(|(photo, _)| *photo).peekable();
    let mut read = Vec::with_capacity(paths.len());
    for (photo, &label) in labels.iter().enumerate() {
        if unread.next_if_eq(&photo).is_none() {
            let from = photo * of_a_photo;
            features.copy_within(from..from + of_a_photo, read.len() * of_a_photo);
            read.push(label);
        }
    }
    features.truncate(read.len() * of_a_photo);
    let cache = FeatureCache::of_rows(width, views.keys.len(), read, features)?;
    Ok((cache, filled.unreadable))
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
    // What is known of photos behind one that is not answered yet.
    let (mut early, mut next) = (BTreeMap::new(), 0);
    let label = ("photos", skipped);
    stream(model, paths, label, context, |step, progress| {
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

/// Decodes, crops, and hands batches of crops, and photos that cannot be read, to `work`. The line at
/// the end begins with the label and counts what was skipped before too.
fn stream(
    model: &Model,
    paths: &[PathBuf],
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
    let prepare = |_, image: RgbImage| preset.crop_pixels(&image);
    let options = DecodeOptions {
        limits: context.limits,
        ahead: 4 * BATCH,
        ..DecodeOptions::default()
    };
    let receive = |index: usize, decoded: Result<RgbImage, PhotoError>| {
        match decoded {
            Ok(decoded) => {
                readable += 1;
                photos.push(index);
                crops.push(decoded);
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
