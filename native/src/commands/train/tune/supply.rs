//! What brings the batches of a phase, and answers what the photos held back are.

use std::borrow::Cow;

use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
use rekindle_core::tune::{Engine as _, Given, Shown, Trainee, Trainer};

use super::source::{self, AtCut, Kept, Showing, Values};
use crate::activations::Store;
use crate::cli::CacheArgs;
use crate::context::Context;
use crate::photos::Loader;
use crate::prepared::{Batch, Maker, Prepared};

/// Images that are answered together when an epoch is judged.
const ANSWERED: usize = 32;

/// What brings the batches of a phase, and answers what the held-out photos are.
pub trait Supply {
    /// The batches of a step, and the height and width of images, where they are some.
    fn step(&mut self, batches: &[Vec<Shown>]) -> anyhow::Result<(Vec<Given>, Option<[usize; 2]>)>;

    /// Logits of the photos held back.
    fn answers(&mut self, trainer: &Trainer<Trainee>) -> anyhow::Result<Vec<f32>>;

    /// The share of the time since it began in which photos, or their values, were waited for.
    fn waited(&self) -> f64;
}

/// What the batches of a phase are made from.
pub struct Supplier<'a> {
    /// The network as the phase finds it.
    pub model: Cow<'a, Model>,
    pub showing: Showing<'a>,
    /// The value that does not change in the phase: 0, the images, where everything behind them does.
    pub cut: usize,
    /// Views of each photo of which values at the cut are kept.
    pub views: usize,
    /// The photos of a batch.
    pub batch: usize,
    pub cache: &'a CacheArgs,
    pub context: &'a Context,
}

impl<'a> Supplier<'a> {
    /// That of the phase in which a trainer stands; nothing where it is done.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn of(
        trainer: &Trainer<Trainee>,
        base: &'a Model,
        showing: Showing<'a>,
        cache: &'a CacheArgs,
        context: &'a Context,
    ) -> anyhow::Result<Option<Self>> {
        let Some(phase) = trainer.phase() else {
            return Ok(None);
        };
        let recipe = &trainer.plan().recipe;
        let model = match phase.cut {
            0 => Cow::Borrowed(base),
            // What stands before the cut is as it was when tuning began, or as earlier phases left it.
            _ => {
                let before = pollster::block_on(trainer.engine().tensors(false))?;
                Cow::Owned(base.with_tensors(&before))
            }
        };
        Ok(Some(Self {
            model,
            showing,
            cut: phase.cut,
            views: recipe.views.min(phase.epochs),
            batch: recipe.batch,
            cache,
            context,
        }))
    }

    /// Brings these batches, in their order, while `body` takes them: photos decoded ahead, or values at the cut, which
    /// are computed once for each view and read ahead.
    ///
    /// # Errors
    ///
    /// Those of `body`, and when a photo, the disk or the device fails.
    pub fn bring<R>(
        &self,
        batches: impl Iterator<Item = Vec<Shown>> + Send,
        body: impl FnOnce(&mut dyn Supply) -> anyhow::Result<R>,
    ) -> anyhow::Result<R> {
        let Self {
            showing, context, ..
        } = *self;
        let model = &*self.model;
        let maker = Maker::chosen(model, showing.augment)?;
        if self.cut == 0 {
            let prepare = |photo, number, image: &_| {
                let drawn = showing.drawn(photo, number, image);
                maker.prepare(&showing.preset, image, &drawn, self.batch)
            };
            return showing.load(batches.flatten(), context, prepare, |loader| {
                body(&mut Images {
                    loader,
                    showing,
                    base: model,
                    context,
                })
            });
        }
        let store = Store::chosen(self.cache.no_cache, self.cache.cache_budget);
        let kept = Kept::new(showing, self.views, maker);
        let at_cut = AtCut::open(model, self.cut, &kept, &store, context)?;
        let photos = showing.photos;
        let held = photos.trained..photos.paths.len();
        at_cut.ahead(batches, self.batch, context, |values| {
            body(&mut AtCutOf {
                at_cut: &at_cut,
                values,
                held,
                context,
            })
        })
    }
}

/// Photos as they are decoded.
struct Images<'a, 'l, 'p> {
    loader: &'a mut Loader<'l, Prepared>,
    showing: Showing<'p>,
    base: &'a Model,
    context: &'a Context,
}

impl Supply for Images<'_, '_, '_> {
    fn step(&mut self, batches: &[Vec<Shown>]) -> anyhow::Result<(Vec<Given>, Option<[usize; 2]>)> {
        let mut given = Vec::with_capacity(batches.len());
        let mut size = None;
        for batch in batches {
            let photos = source::next(self.loader, batch.len(), self.showing.photos)?;
            let images = match Batch::of(photos) {
                Batch::Pictures(pictures) => self.base.batch(&pictures),
                Batch::Staged(staged) => self.base.batch_of_staged(&staged),
            };
            let [count, _, height, width] = images.dims();
            size = (count > 0).then_some([height, width]);
            given.push(Given::images(images));
        }
        Ok((given, size))
    }

    fn answers(&mut self, trainer: &Trainer<Trainee>) -> anyhow::Result<Vec<f32>> {
        let tensors = pollster::block_on(trainer.engine().tensors(trainer.is_averaged()))?;
        held_out(
            &self.base.with_tensors(&tensors),
            self.showing,
            self.context,
        )
    }

    fn waited(&self) -> f64 {
        self.loader.waited()
    }
}

/// Values at a cut, and which photos are held back.
struct AtCutOf<'a, 'v, 'c> {
    at_cut: &'a AtCut<'c>,
    /// The values of the batches to come, read ahead.
    values: &'a mut Values<'v>,
    held: std::ops::Range<usize>,
    context: &'a Context,
}

impl Supply for AtCutOf<'_, '_, '_> {
    fn step(&mut self, batches: &[Vec<Shown>]) -> anyhow::Result<(Vec<Given>, Option<[usize; 2]>)> {
        let mut given = Vec::with_capacity(batches.len());
        for batch in batches {
            given.push(match self.values.next()? {
                Some((shown, known)) if shown == *batch => self.at_cut.completed(batch, known)?,
                _ => self.at_cut.given(batch)?,
            });
        }
        Ok((given, None))
    }

    fn answers(&mut self, trainer: &Trainer<Trainee>) -> anyhow::Result<Vec<f32>> {
        let held: Vec<Shown> = self.held.clone().map(plain).collect();
        // Where memory is short in training, it is short here, too.
        let at_once = ANSWERED.min(4 * trainer.largest_step().div_ceil(trainer.parts()));
        let some = held.chunks(at_once).map(<[Shown]>::to_vec);
        self.at_cut.ahead(some, at_once, self.context, |values| {
            let mut logits = Vec::new();
            while let Some((shown, known)) = values.next()? {
                let given = self.at_cut.completed(&shown, known)?;
                let engine = trainer.engine();
                logits.extend(pollster::block_on(
                    engine.answers(given, trainer.is_averaged()),
                )?);
            }
            Ok(logits)
        })
    }

    fn waited(&self) -> f64 {
        self.values.waited()
    }
}

/// A photo as it is seen at prediction.
fn plain(example: usize) -> Shown {
    Shown { example, epoch: 0 }
}

/// The logits of a model for the photos held back.
pub fn held_out(
    model: &Model,
    showing: Showing<'_>,
    context: &Context,
) -> anyhow::Result<Vec<f32>> {
    let photos = showing.photos;
    let held = photos.trained..photos.paths.len();
    let count = held.len();
    let prepare = |_, _, image: &RgbImage| showing.preset.crop_pixels(image);
    showing.load(held.map(plain), context, prepare, |loader| {
        let mut logits = Vec::new();
        let mut done = 0;
        while done < count {
            let crops = source::next(loader, ANSWERED.min(count - done), photos)?;
            done += crops.len();
            for row in pollster::block_on(model.logits(&crops))? {
                logits.extend(row);
            }
        }
        Ok(logits)
    })
}
