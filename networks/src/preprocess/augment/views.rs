//! Views of a photo: the plain one, and random ones that a classifier should answer alike.
//!
//! A view is drawn from a seed, the photo's key and the view's number alone, never from the order
//! in which photos are read, so cached features of views stay valid from run to run.

use serde::{Deserialize, Serialize};

use super::area::crop;
use crate::preprocess::view::View;
use crate::random::Random;

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
        let [scale, ratio] = [self.scale, self.ratio].map(|range| range.map(f64::from));
        let area = crop([width, height], scale, ratio, &mut random);
        View::Cropped {
            area,
            flip: random.uniform() < self.flip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preprocess::view::CropBox;

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
