//! Views of a photo: the plain one, and random ones that a classifier should answer alike.
//!
//! A view is drawn from a seed, the photo's key and the view's number alone, never from the order
//! in which photos are read, so cached features of views stay valid from run to run.

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// How one view shows a photo to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The preset's own resize and centre crop, as at prediction.
    Plain,
    /// A part of the photo, stretched to the preset's crop size: torchvision's `resized_crop`,
    /// and after it `hflip` if `flip` is set.
    Cropped {
        /// The part that is seen.
        area: CropBox,
        /// Whether left and right change places.
        flip: bool,
    },
}

/// A rectangle of a photo, in pixels from its upper left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CropBox {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl CropBox {
    /// The part of this box inside a photo of the given size, at least one pixel.
    pub(super) fn within(self, width: u32, height: u32) -> Self {
        let (left, top) = (self.left.min(width - 1), self.top.min(height - 1));
        Self {
            left,
            top,
            width: self.width.clamp(1, width - left),
            height: self.height.clamp(1, height - top),
        }
    }
}

/// Which random views are drawn: torchvision's `RandomResizedCrop` and `RandomHorizontalFlip`.
///
/// The default is torchvision's: 8 % to all of the area, proportions from 3:4 to 4:3, every second
/// view mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Augmentation {
    scale: [f32; 2],
    ratio: [f32; 2],
    flip: f32,
}

/// Why numbers do not make an [`Augmentation`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AugmentationError {
    /// The share of the area is not a range within `(0, 1]`.
    #[error("`scale` is {}..{}; it must be a range above 0 and up to 1, lower end first", .0[0], .0[1])]
    Scale([f32; 2]),
    /// The proportions are not a range of positive numbers.
    #[error("`ratio` is {}..{}; it must be a range of finite numbers above 0, lower end first", .0[0], .0[1])]
    Ratio([f32; 2]),
    /// The probability of a flip is not a probability.
    #[error("`flip` is {0}; it must be a probability from 0 to 1")]
    Flip(f32),
}

/// An augmentation as it stands in a file, not yet trusted. What it leaves out is the default.
#[derive(Deserialize)]
#[serde(rename = "Augmentation", default, deny_unknown_fields)]
struct Unchecked {
    scale: [f32; 2],
    ratio: [f32; 2],
    flip: f32,
}

impl Default for Unchecked {
    fn default() -> Self {
        let Augmentation { scale, ratio, flip } = Augmentation::default();
        Self { scale, ratio, flip }
    }
}

impl TryFrom<Unchecked> for Augmentation {
    type Error = AugmentationError;

    fn try_from(raw: Unchecked) -> Result<Self, AugmentationError> {
        Self::new(raw.scale, raw.ratio, raw.flip)
    }
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
            flip: 0.5,
        }
    }
}

impl Augmentation {
    /// Views that show between `scale[0]` and `scale[1]` of the photo's area, with a width between
    /// `ratio[0]` and `ratio[1]` times the height, mirrored with probability `flip`.
    ///
    /// # Errors
    ///
    /// [`AugmentationError`] if a range is empty, reversed or not finite, if `scale` leaves
    /// `(0, 1]`, or if `flip` is not a probability.
    pub fn new(scale: [f32; 2], ratio: [f32; 2], flip: f32) -> Result<Self, AugmentationError> {
        if !(0.0 < scale[0] && scale[0] <= scale[1] && scale[1] <= 1.0) {
            return Err(AugmentationError::Scale(scale));
        }
        if !(0.0 < ratio[0] && ratio[0] <= ratio[1] && ratio[1].is_finite()) {
            return Err(AugmentationError::Ratio(ratio));
        }
        if !(0.0..=1.0).contains(&flip) {
            return Err(AugmentationError::Flip(flip));
        }
        Ok(Self { scale, ratio, flip })
    }

    /// What a network is shown of a `width` × `height` photo: the plain view, and `augmented` random ones
    /// beside it.
    ///
    /// `key` tells photos apart and comes from their content (a hash), so that moving, renaming or
    /// listing them in another order changes no view. More views leave the first ones as they are.
    pub fn views(
        &self,
        width: u32,
        height: u32,
        seed: u64,
        key: u64,
        augmented: u32,
    ) -> impl Iterator<Item = View> {
        (0..=augmented).map(move |number| self.view(width, height, seed, key, number))
    }

    /// The view with the given number of a `width` × `height` photo: number 0 is the plain one, those
    /// after it are random.
    pub fn view(&self, width: u32, height: u32, seed: u64, key: u64, number: u32) -> View {
        if number == 0 {
            return View::Plain;
        }
        let mut random = Random::new(seed).fork(key).fork(u64::from(number));
        let area = self.crop_box(width, height, &mut random);
        View::Cropped {
            area,
            flip: random.uniform() < self.flip,
        }
    }

    /// `RandomResizedCrop.get_params` of torchvision: ten tries at an area and proportion that fit
    /// into the photo, then the largest central part with an allowed proportion.
    fn crop_box(&self, width: u32, height: u32, random: &mut Random) -> CropBox {
        let (full_width, full_height) = (f64::from(width), f64::from(height));
        let log_ratio = self.ratio.map(|ratio| f64::from(ratio).ln());
        for _ in 0..10 {
            let area = full_width * full_height * between(self.scale.map(f64::from), random);
            let ratio = between(log_ratio, random).exp();
            let crop_width = (area * ratio).sqrt().round_ties_even();
            let crop_height = (area / ratio).sqrt().round_ties_even();
            let fits = |crop: f64, full: f64| 0.0 < crop && crop <= full;
            if fits(crop_width, full_width) && fits(crop_height, full_height) {
                let (crop_width, crop_height) = (crop_width as u32, crop_height as u32);
                let top = random.below((height - crop_height) as usize + 1) as u32;
                let left = random.below((width - crop_width) as usize + 1) as u32;
                return CropBox {
                    left,
                    top,
                    width: crop_width,
                    height: crop_height,
                };
            }
        }

        let [narrowest, widest] = self.ratio.map(f64::from);
        let proportion = full_width / full_height;
        let (crop_width, crop_height) = if proportion < narrowest {
            (width, (full_width / narrowest).round_ties_even() as u32)
        } else if proportion > widest {
            ((full_height * widest).round_ties_even() as u32, height)
        } else {
            (width, height)
        };
        // A photo one pixel wide and a tall, narrow ratio round to nothing; one pixel is the least.
        let (crop_width, crop_height) = (crop_width.clamp(1, width), crop_height.clamp(1, height));
        CropBox {
            left: (width - crop_width) / 2,
            top: (height - crop_height) / 2,
            width: crop_width,
            height: crop_height,
        }
    }
}

/// A number spread evenly between the two ends.
fn between([low, high]: [f64; 2], random: &mut Random) -> f64 {
    low + (high - low) * f64::from(random.uniform())
}

/// Swaps left and right of a picture `width` pixels wide, three bytes per pixel.
pub(super) fn mirror(pixels: &mut [u8], width: usize) {
    for row in pixels.chunks_exact_mut(width * 3) {
        row.reverse();
        // Reversing the bytes has turned every R G B into B G R.
        for pixel in row.chunks_exact_mut(3) {
            pixel.swap(0, 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_depends_on_seed_key_and_number_alone() {
        let views = Augmentation::default();
        let draw = |seed, key, number| views.view(640, 480, seed, key, number);
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        for other in [draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)] {
            assert_ne!(draw(1, 2, 3), other);
        }
        assert_eq!(draw(1, 2, 0), View::Plain);
    }

    #[test]
    fn so_many_views_are_augmented_beside_the_plain_one() {
        let draw = |augmented| -> Vec<View> {
            let views = Augmentation::default();
            views.views(640, 480, 1, 2, augmented).collect()
        };
        assert_eq!(draw(0), [View::Plain]);
        let five = draw(5);
        assert_eq!(five.len(), 6);
        assert_eq!(five.iter().filter(|&&view| view == View::Plain).count(), 1);
        let different: std::collections::HashSet<_> = five.iter().collect();
        assert_eq!(different.len(), 6);
        assert_eq!(draw(2), five[..3]);
    }

    #[test]
    fn boxes_lie_inside_photos_of_any_shape() {
        let wide_open = Augmentation::new([0.001, 1.0], [0.01, 100.0], 0.5).unwrap();
        for views in [Augmentation::default(), wide_open] {
            for (width, height) in [
                (1, 1),
                (1, 65_535),
                (65_535, 1),
                (2, 3),
                (31, 17),
                (640, 480),
            ] {
                for number in 1..200 {
                    let View::Cropped { area, .. } = views.view(width, height, 5, 6, number) else {
                        panic!("only number 0 is plain");
                    };
                    assert!(
                        area.width > 0 && area.left + area.width <= width,
                        "{area:?}"
                    );
                    assert!(
                        area.height > 0 && area.top + area.height <= height,
                        "{area:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn flip_follows_its_probability() {
        for (probability, expected) in [(0.0, 0..=0), (0.25, 2_350..=2_650), (1.0, 10_000..=10_000)]
        {
            let views = Augmentation::new([0.5, 1.0], [0.75, 1.25], probability).unwrap();
            let flipped = (1..=10_000)
                .filter(|&number| {
                    matches!(
                        views.view(64, 64, 1, 1, number),
                        View::Cropped { flip: true, .. }
                    )
                })
                .count();
            assert!(
                expected.contains(&flipped),
                "{flipped} of 10000 at {probability}"
            );
        }
    }

    #[test]
    fn nonsense_ranges_are_refused() {
        let scale = |low, high| Augmentation::new([low, high], [0.75, 1.25], 0.5);
        assert_eq!(scale(0.0, 1.0), Err(AugmentationError::Scale([0.0, 1.0])));
        assert!(scale(0.5, 0.4).is_err());
        assert!(scale(0.5, 1.5).is_err());
        assert!(scale(f32::NAN, 1.0).is_err());
        assert!(Augmentation::new([0.5, 1.0], [0.0, 1.0], 0.5).is_err());
        assert!(Augmentation::new([0.5, 1.0], [1.0, f32::INFINITY], 0.5).is_err());
        let flip = Augmentation::new([0.5, 1.0], [1.0, 1.0], 1.5);
        assert_eq!(flip, Err(AugmentationError::Flip(1.5)));
    }

    #[test]
    fn json_fills_gaps_with_the_default_and_is_checked() {
        let partial: Augmentation = serde_json::from_str(r#"{"scale":[0.5,1.0]}"#).unwrap();
        assert_eq!(
            partial,
            Augmentation {
                scale: [0.5, 1.0],
                ..Augmentation::default()
            }
        );
        assert!(serde_json::from_str::<Augmentation>(r#"{"flip":2}"#).is_err());
        let view = View::Cropped {
            area: CropBox {
                left: 1,
                top: 2,
                width: 3,
                height: 4,
            },
            flip: true,
        };
        assert_eq!(
            serde_json::to_string(&view).unwrap(),
            r#"{"cropped":{"area":{"left":1,"top":2,"width":3,"height":4},"flip":true}}"#
        );
    }
}
