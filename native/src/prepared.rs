//! Photos as the host prepares them for a network: as small pictures, or as parts of photos of which the device makes
//! the pictures.

use rekindle_core::image::RgbImage;
use rekindle_core::kernels;
use rekindle_core::model::Model;
use rekindle_core::preprocess::augment::Staged;
use rekindle_core::preprocess::{AugmentRecipe, Drawn, Preset};

use crate::ui::print_warning;

/// A photo of a batch.
pub enum Prepared {
    /// What the network sees.
    Picture(RgbImage),
    /// What the device makes that of.
    Staged(Box<Staged>),
}

/// Photos that go through a network together.
pub enum Batch {
    /// What the network sees.
    Pictures(Vec<RgbImage>),
    /// What the device makes that of.
    Staged(Vec<Staged>),
}

impl Batch {
    /// Of photos that one maker prepared.
    pub fn of(photos: impl IntoIterator<Item = Prepared>) -> Self {
        let (mut pictures, mut staged) = (Vec::new(), Vec::new());
        for photo in photos {
            match photo {
                Prepared::Picture(picture) => pictures.push(picture),
                Prepared::Staged(part) => staged.push(*part),
            }
        }
        match staged.is_empty() {
            true => Self::Pictures(pictures),
            false => Self::Staged(staged),
        }
    }
}

/// Where views are made: the same pixels come out either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// On the host, in the threads that decode.
    Host,
    /// On the device.
    Device,
}

impl Maker {
    /// The model's device, if it makes this recipe's views right.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn chosen(model: &Model, recipe: &AugmentRecipe) -> anyhow::Result<Self> {
        if !kernels::makes_views(model.device()) {
            return Ok(Self::Host);
        }
        if pollster::block_on(model.makes_views_right(recipe))? {
            return Ok(Self::Device);
        }
        print_warning(
            "the adapter does not change photos as it should: the processor does it",
            None,
        );
        Ok(Self::Host)
    }

    /// A photo in a drawn view, for a batch of at most so many photos.
    pub fn prepare(
        self,
        preset: &Preset,
        image: &RgbImage,
        drawn: &Drawn,
        batch: usize,
    ) -> Prepared {
        match self {
            Self::Host => Prepared::Picture(preset.drawn_pixels(image, drawn)),
            Self::Device => {
                let most = kernels::share_of_upload(batch);
                Prepared::Staged(Box::new(preset.stage(image, drawn, most)))
            }
        }
    }
}
