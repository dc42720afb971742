//! Where a tuning's batches come from: photos decoded and changed at random ahead of it, or values at a cut that were
//! computed once.

use std::path::PathBuf;

use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
use rekindle_core::preprocess::{AugmentRecipe, Drawn, Preset, View};
use rekindle_core::random::hash;
use rekindle_core::rows::Encoding;
use rekindle_core::tune::{Given, Shown};

use crate::activations::{Activations, Known, Rows, Store, Views, WAITING};
use crate::awaited::{Awaited, ahead};
use crate::context::Context;
use crate::dataset::Dataset;
use crate::hash::FileHash;
use crate::memory;
use crate::ordered::Ahead;
use crate::photos::{DecodeOptions, LoadOptions, Loader, load};
use crate::prepared::{Maker, Prepared};

/// The photos of a tuning: those that train come first, then those held back.
pub struct Photos {
    pub paths: Vec<PathBuf>,
    pub contents: Vec<FileHash>,
    /// How many train.
    pub trained: usize,
}

impl Photos {
    /// Of a data set: the rows of those that train, and of those held back.
    pub fn of(dataset: &Dataset, train: &[usize], held: &[usize]) -> Self {
        let items = || {
            let rows = train.iter().chain(held);
            rows.map(|&row| &dataset.items[row])
        };
        Self {
            paths: items().map(|item| item.path.clone()).collect(),
            contents: items().map(|item| item.hash).collect(),
            trained: train.len(),
        }
    }
}

/// How photos are shown to a network.
#[derive(Clone, Copy)]
pub struct Showing<'a> {
    pub photos: &'a Photos,
    pub preset: Preset,
    pub augment: &'a AugmentRecipe,
    pub seed: u64,
}

impl Showing<'_> {
    /// How a photo that trains is shown the so many'th time.
    pub fn drawn(&self, photo: usize, number: u64, image: &RgbImage) -> Drawn {
        let size = [image.width(), image.height()];
        let key = self.photos.contents[photo].key();
        self.augment
            .draw(&self.preset, size, self.seed, key, number)
    }

    /// Whether every showing of a photo is the same.
    fn is_plain(&self) -> bool {
        *self.augment == AugmentRecipe::default()
    }

    /// Photos decoded and prepared ahead while `body` takes them: those of some steps, in order, each with the number of
    /// its epoch.
    pub fn load<T: Send, R>(
        &self,
        shown: impl Iterator<Item = Shown> + Send,
        context: &Context,
        prepare: impl Fn(usize, u64, &RgbImage) -> T + Sync,
        body: impl FnOnce(&mut Loader<'_, T>) -> R,
    ) -> R {
        let showings = shown.map(|shown| (shown.example, shown.epoch));
        let prepare =
            |(photo, number): (usize, u64), image: &RgbImage| prepare(photo, number, image);
        let options = LoadOptions {
            decode: DecodeOptions {
                limits: context.limits,
                ..DecodeOptions::default()
            },
            // Small photos are decoded once.
            keep: memory::free_bytes().unwrap_or(0) / 8,
        };
        let paths = &self.photos.paths;
        load(paths, showings, &options, &context.interrupt, prepare, body)
    }
}

/// The next photos of a loader.
pub fn next<T>(
    loader: &mut Loader<'_, T>,
    count: usize,
    photos: &Photos,
) -> anyhow::Result<Vec<T>> {
    let mut crops = Vec::with_capacity(count);
    for _ in 0..count {
        match loader.next()? {
            Some((_, Ok(crop))) => crops.push(crop),
            Some(((photo, _), Err(error))) => {
                let path = photos.paths[photo].display();
                return Err(anyhow::Error::new(error)
                    .context(format!("{path} could be read before, and now it cannot")));
            }
            None => break,
        }
    }
    Ok(crops)
}

/// The views of photos of which values are kept: `count` random ones of each that trains, the plain one of each held
/// back.
pub struct Kept<'a> {
    showing: Showing<'a>,
    maker: Maker,
    /// What each view follows from, but for the photo.
    keys: Vec<u64>,
}

impl<'a> Kept<'a> {
    pub fn new(showing: Showing<'a>, count: usize, maker: Maker) -> Self {
        let text = serde_json::to_string(showing.augment).unwrap_or_default();
        let key = |view: usize| hash(&format!("{text} seed {} view {view}", showing.seed));
        // Where nothing is drawn there is one view.
        let count = if showing.is_plain() { 1 } else { count };
        Self {
            showing,
            maker,
            keys: (0..count).map(key).collect(),
        }
    }

    fn rows<'r>(&'r self, model: &'r Model, value: usize) -> Rows<'r> {
        let photos = self.showing.photos;
        Rows {
            model,
            value,
            paths: &photos.paths,
            contents: &photos.contents,
            views: self,
        }
    }
}

/// The key of the view that shows a photo as at prediction.
const PLAIN: u64 = 0;

impl Views for Kept<'_> {
    fn keys(&self, photo: usize) -> Vec<u64> {
        match photo < self.showing.photos.trained && !self.showing.is_plain() {
            true => self.keys.clone(),
            false => vec![PLAIN],
        }
    }

    fn prepare(&self, photo: usize, image: &RgbImage, wanted: &[usize]) -> Vec<Prepared> {
        let showing = &self.showing;
        let is_plain = photo >= showing.photos.trained || showing.is_plain();
        let prepare = |&view: &usize| {
            let drawn = match is_plain {
                true => Drawn::of(View::Plain),
                false => showing.drawn(photo, view as u64, image),
            };
            self.maker.prepare(&showing.preset, image, &drawn, WAITING)
        };
        wanted.iter().map(prepare).collect()
    }
}

/// Values at a cut, of all photos.
pub struct AtCut<'a> {
    activations: Activations<'a>,
    value: usize,
    views: &'a Kept<'a>,
}

impl<'a> AtCut<'a> {
    /// Computes and keeps what is not there yet.
    pub fn open(
        model: &'a Model,
        value: usize,
        views: &'a Kept<'a>,
        store: &Store,
        context: &'a Context,
    ) -> anyhow::Result<Self> {
        let photos = views.showing.photos;
        let rows = views.rows(model, value);
        let mut activations = Activations::open(rows, Encoding::Half, store, context)?;
        context
            .console
            .note(&format!("values to keep: {}", activations.plan()));
        let filled = activations.fill("values", 0)?;
        if let Some((photo, error)) = filled.unreadable.into_iter().next() {
            let path = photos.paths[photo].display();
            return Err(anyhow::Error::new(error)
                .context(format!("{path} could be read before, and now it cannot")));
        }
        Ok(Self {
            activations,
            value,
            views,
        })
    }

    /// The values of photos in their views, as the network takes them.
    pub fn given(&self, shown: &[Shown]) -> anyhow::Result<Given> {
        let known = self.activations.known(&self.wanted(shown));
        self.completed(shown, known)
    }

    /// Reads the values of batches ahead, a bounded number of them, while `body` takes one after the other. What is
    /// not kept is left to who takes them.
    pub fn ahead<R>(
        &self,
        batches: impl Iterator<Item = Vec<Shown>> + Send,
        size: usize,
        context: &Context,
        body: impl FnOnce(&mut Values<'_>) -> R,
    ) -> R {
        /// Bytes of values that lie ready.
        const MOST: usize = 64 << 20;
        let bytes = 4 * size * self.activations.width();
        let far = Ahead {
            threads: 2,
            most: (MOST / bytes.max(1)).min(16),
        };
        let read = |shown: &Vec<Shown>| self.activations.known(&self.wanted(shown));
        ahead(batches, far, &context.interrupt, read, body)
    }

    /// The values of photos of which some are known.
    pub fn completed(&self, shown: &[Shown], known: Known) -> anyhow::Result<Given> {
        let values = self.activations.completed(&self.wanted(shown), known)?;
        Ok(Given::rows(self.value, values))
    }

    /// Photos and their views.
    fn wanted(&self, shown: &[Shown]) -> Vec<(usize, usize)> {
        let view = |photo: usize, epoch: u64| match photo < self.views.showing.photos.trained {
            true => epoch as usize % self.views.keys.len(),
            false => 0,
        };
        let each = shown.iter();
        each.map(|shown| (shown.example, view(shown.example, shown.epoch)))
            .collect()
    }
}

/// Batches with what is known of their values, read ahead.
pub type Values<'a> = Awaited<'a, Vec<Shown>, Known>;

#[cfg(test)]
mod tests;
