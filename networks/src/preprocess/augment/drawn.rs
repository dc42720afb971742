//! One view of one photo, with every number drawn.

use serde::{Deserialize, Serialize};

use super::area;
use super::operation::Operation;
use super::recipe::AugmentRecipe;
use super::warp::Fill;
use crate::image::{RgbImage, luminance};
use crate::preprocess::placement::Placement;
use crate::preprocess::preset::Preset;
use crate::preprocess::view::View;
use crate::random::{Random, hash};

/// What a network sees of a photo, drawn: a part of it, and what is done to that part's pixels.
///
/// The `view` (crop, resize, mirror) is what `rekindle-core` does on a graphics adapter, too; the `operations` work
/// on the small picture behind it, the one that the network sees, before it is normalised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drawn {
    /// Which part of the photo.
    pub view: View,
    /// What is done to its pixels, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
}

impl Drawn {
    /// A view, and nothing more.
    pub const fn of(view: View) -> Self {
        Self {
            view,
            operations: Vec::new(),
        }
    }

    /// Whether the photo is seen as at prediction.
    pub fn is_plain(&self) -> bool {
        self.view == View::Plain && self.operations.is_empty()
    }

    /// A number that tells what is drawn by its content, the same on every machine and in every run: what caches
    /// are keyed by.
    pub fn key(&self) -> u64 {
        // A structure of numbers and names is always written; if not, its debug text tells it apart, too.
        hash(&serde_json::to_string(self).unwrap_or_else(|_| format!("{self:?}")))
    }

    /// Does the operations to the picture that the view shows.
    pub fn finish(&self, seen: RgbImage) -> RgbImage {
        self.operations
            .iter()
            .fold(seen, |seen, operation| operation.apply(seen))
    }
}

/// The parts of a recipe, each with random numbers of its own: what one draws changes no other.
enum Part {
    Crop = 1,
    Flip,
    VerticalFlip,
    Automatic,
    Jitter,
    Grey,
    Rotation,
    Affine,
    Perspective,
    Erasing,
}

impl AugmentRecipe {
    /// What a network with this preset sees of a photo of this width and height.
    ///
    /// It follows from the recipe, `seed`, `key` (which tells photos apart by their content, a hash) and `number`
    /// (the epoch or the view, from 0) alone; where photos lie and which come before does not matter. Numbers, keys
    /// and seeds that differ give independent draws. Distributions are torchvision's.
    ///
    /// [`Preset::drawn_pixels`] makes the picture.
    pub fn draw(
        &self,
        preset: &Preset,
        photo: [u32; 2],
        seed: u64,
        key: u64,
        number: u64,
    ) -> Drawn {
        let stream = Random::new(seed).fork(key).fork(number);
        let random = |part: Part| stream.fork(part as u64);
        let happens = |part, p: f64| f64::from(random(part).uniform()) < p;
        let mut operations = Vec::new();

        let flip = happens(Part::Flip, self.flip);
        let view = match self.crop {
            Some(crop) => View::Cropped {
                area: area::crop(photo, crop.scale, crop.ratio, &mut random(Part::Crop)),
                flip,
            },
            None => {
                operations.extend(flip.then_some(Operation::Flip));
                View::Plain
            }
        };
        let size = Placement::new(preset, photo, &view).size;
        let fill = Fill {
            filter: self.filter,
            colour: match preset.is_grey() {
                true => [luminance(self.fill); 3],
                false => self.fill,
            },
        };

        if happens(Part::VerticalFlip, self.vertical_flip) {
            operations.push(Operation::FlipVertical);
        }
        if let Some(part) = self.automatic {
            operations.extend(part.draw(size, fill, &mut random(Part::Automatic)));
        }
        if let Some(part) = self.jitter {
            operations.extend(part.draw(&mut random(Part::Jitter)));
        }
        if happens(Part::Grey, self.grey) {
            operations.push(Operation::Grey);
        }
        if let Some(part) = self.rotation {
            operations.push(part.draw(fill, &mut random(Part::Rotation)));
        }
        if let Some(part) = self.affine {
            operations.push(part.draw(size, fill, &mut random(Part::Affine)));
        }
        if let Some(part) = self.perspective {
            operations.extend(part.draw(size, fill, &mut random(Part::Perspective)));
        }
        if let Some(part) = self.erasing {
            operations.extend(part.draw(size, preset, &mut random(Part::Erasing)));
        }
        Drawn { view, operations }
    }
}
