//! What brings the batches of a phase, and answers what the photos held back are.

use rekindle_core::image::RgbImage;
use rekindle_core::model::Model;
use rekindle_core::tune::{Engine as _, Given, Shown, Stepwise, Trainer};

use super::prepared::{self, Prepared};
use super::source::{self, AtCut, Showing, Values};
use crate::context::Context;
use crate::photos::Loader;

/// Images that are answered together when an epoch is judged.
const ANSWERED: usize = 32;

/// What brings the batches of a phase, and answers what the held-out photos are.
pub trait Supply {
    /// The batches of a step, and the height and width of images, where they are some.
    fn step(&mut self, batches: &[Vec<Shown>]) -> anyhow::Result<(Vec<Given>, Option<[usize; 2]>)>;

    /// Logits of the photos held back.
    fn answers(&mut self, trainer: &Trainer<Stepwise>) -> anyhow::Result<Vec<f32>>;
}

/// Photos as they are decoded.
pub struct Images<'a, 'l, 'p> {
    pub loader: &'a mut Loader<'l, Prepared>,
    pub showing: Showing<'p>,
    pub base: &'a Model,
    pub context: &'a Context,
}

impl Supply for Images<'_, '_, '_> {
    fn step(&mut self, batches: &[Vec<Shown>]) -> anyhow::Result<(Vec<Given>, Option<[usize; 2]>)> {
        let mut given = Vec::with_capacity(batches.len());
        let mut size = None;
        for batch in batches {
            let photos = source::next(self.loader, batch.len(), self.showing.photos)?;
            let (images, of_images) = prepared::batch(self.base, photos);
            given.push(images);
            size = of_images;
        }
        Ok((given, size))
    }

    fn answers(&mut self, trainer: &Trainer<Stepwise>) -> anyhow::Result<Vec<f32>> {
        let tensors = pollster::block_on(trainer.engine().tensors(trainer.is_averaged()))?;
        held_out(
            &self.base.with_tensors(&tensors),
            self.showing,
            self.context,
        )
    }
}

/// Values at a cut, and which photos are held back.
pub struct AtCutOf<'a, 'v, 'c> {
    pub at_cut: &'a AtCut<'c>,
    /// The values of the batches to come, read ahead.
    pub values: &'a mut Values<'v>,
    pub held: std::ops::Range<usize>,
    pub context: &'a Context,
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

    fn answers(&mut self, trainer: &Trainer<Stepwise>) -> anyhow::Result<Vec<f32>> {
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
