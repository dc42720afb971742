//! Photos as the host prepares them for a batch: as small pictures, or as parts of photos of which the device makes the
//! pictures.

use rekindle_core::image::RgbImage;
use rekindle_core::kernels;
use rekindle_core::model::Model;
use rekindle_core::preprocess::augment::Staged;
use rekindle_core::preprocess::{AugmentRecipe, Drawn, Preset};
use rekindle_core::tune::Given;

use crate::ui::print_warning;

/// A photo of a batch.
pub enum Prepared {
    /// What the network sees.
    Picture(RgbImage),
    /// What the device makes that of.
    Staged(Box<Staged>),
}

/// Where views are made: the same pixels come out either way.
#[derive(Clone, Copy)]
pub enum Maker {
    /// On the host, in the threads that decode.
    Host,
    /// On the device, of parts of photos of up to so many bytes.
    Device(usize),
}

impl Maker {
    /// The device, if it makes this recipe's views right.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn chosen(base: &Model, recipe: &AugmentRecipe, batch: usize) -> anyhow::Result<Self> {
        if !kernels::makes_views(base.device()) {
            return Ok(Self::Host);
        }
        if pollster::block_on(base.makes_views_right(recipe))? {
            return Ok(Self::Device(kernels::share_of_upload(batch)));
        }
        print_warning(
            "the adapter does not change photos as it should: the processor does it",
            None,
        );
        Ok(Self::Host)
    }

    /// A photo in a drawn view.
    pub fn prepare(self, preset: &Preset, image: &RgbImage, drawn: &Drawn) -> Prepared {
        match self {
            Self::Host => Prepared::Picture(preset.drawn_pixels(image, drawn)),
            Self::Device(most) => Prepared::Staged(Box::new(preset.stage(image, drawn, most))),
        }
    }
}

/// A batch as the network takes it, and the height and width of its images.
pub fn batch(base: &Model, photos: Vec<Prepared>) -> (Given, Option<[usize; 2]>) {
    let (mut pictures, mut staged) = (Vec::new(), Vec::new());
    for photo in photos {
        match photo {
            Prepared::Picture(picture) => pictures.push(picture),
            Prepared::Staged(part) => staged.push(*part),
        }
    }
    // All come from one maker.
    let batch = match staged.is_empty() {
        true => base.batch(&pictures),
        false => base.batch_of_staged(&staged),
    };
    let [count, _, height, width] = batch.dims();
    (Given::images(batch), (count > 0).then_some([height, width]))
}
