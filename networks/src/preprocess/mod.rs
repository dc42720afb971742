//! Photo in, network input out: resize, crop, normalise.
//!
//! What a network should be fed belongs to its weights, so the [`Preset`] travels in the model
//! file. The pixels are those of torchvision's `Resize` (on a PIL image), `CenterCrop`, `ToTensor`
//! and `Normalize`, in that order: resize and crop to the bit, the numbers to the last one or two.

pub mod augment;
mod placement;
mod preset;
mod resize;
mod view;

use std::borrow::Cow;

pub use augment::{AugmentRecipe, Augmentation, AugmentationError, Drawn};
pub use placement::Placement;
pub use preset::{MAX_SIDE, Preset, PresetError};
pub use resize::{Interpolation, Pass, Side, Span};
pub use view::{CropBox, View};

use crate::image::RgbImage;

/// A photo so long that a network which is to see all of it cannot be given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a photo of {}×{} pixels would be {}×{} for the network, whose sides may be {MAX_SIDE} at most",
    .photo[0], .photo[1], .resized[0], .resized[1]
)]
pub struct TooLong {
    /// The photo's width and height, in pixels.
    pub photo: [u32; 2],
    /// What they would be for the network.
    pub resized: [u64; 2],
}

impl Preset {
    /// Where what the network sees lies in a photo of this width and height.
    pub fn placement(&self, photo: [u32; 2]) -> Placement {
        Placement::new(self, photo, &View::Plain)
    }

    /// Whether a network that is to see whole photos sees all of one of this width and height; one that sees a
    /// crop does not ask.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if the photo's longer side would be longer than [`MAX_SIDE`].
    pub fn sees_whole(&self, photo: [u32; 2]) -> Result<(), TooLong> {
        let seen = self.placement(photo);
        let resized = [seen.columns.resized, seen.rows.resized];
        match self.crop.is_none() && resized.into_iter().any(|side| side > u64::from(MAX_SIDE)) {
            true => Err(TooLong { photo, resized }),
            false => Ok(()),
        }
    }

    /// The network's input for a photo.
    ///
    /// # Shapes
    ///
    /// Returns `[3, H, W]` for the height and width of [`Preset::placement`], row-major: the whole red plane,
    /// then green, then blue.
    pub fn apply(&self, image: &RgbImage) -> Vec<f32> {
        self.normalise(&self.crop_pixels(image))
    }

    /// The network's input for one view of a photo; `apply` is the view [`View::Plain`].
    ///
    /// # Shapes
    ///
    /// Returns `[3, H, W]`, as [`Preset::apply`] does.
    pub fn apply_view(&self, image: &RgbImage, view: &View) -> Vec<f32> {
        self.normalise(&self.view_pixels(image, view))
    }

    /// The part of the photo that the network sees, before normalisation: `crop`×`crop` pixels, or all of it.
    pub fn crop_pixels(&self, image: &RgbImage) -> RgbImage {
        self.view_pixels(image, &View::Plain)
    }

    /// The photo, in the colours that the network sees.
    fn coloured<'a>(&self, image: &'a RgbImage) -> Cow<'a, RgbImage> {
        match self.grey {
            true => Cow::Owned(image.to_grey()),
            false => Cow::Borrowed(image),
        }
    }

    /// What one view of the photo shows the network, before normalisation.
    ///
    /// A crop box that reaches beyond the photo is cut off at its edges.
    pub fn view_pixels(&self, image: &RgbImage, view: &View) -> RgbImage {
        let image = &*self.coloured(image);
        let seen = Placement::new(self, [image.width(), image.height()], view);
        let mut pixels = resize::resize(image, seen.columns, seen.rows, self.interpolation);
        if seen.mirror {
            augment::mirror(&mut pixels, seen.columns.window.length as usize);
        }
        RgbImage::of_size(seen.size, seen.pad(pixels))
    }

    /// What one augmented view of the photo shows the network, before normalisation: torchvision's transforms with
    /// the drawn numbers, the crop first, from the whole photo, the others on the small picture.
    pub fn drawn_pixels(&self, image: &RgbImage, drawn: &Drawn) -> RgbImage {
        drawn.finish(self.view_pixels(image, &drawn.view))
    }

    /// `(value / 255 − mean) / std` in f32, channel by channel.
    ///
    /// # Shapes
    ///
    /// A picture of W×H pixels gives `[3, H, W]`, row-major.
    pub fn normalise(&self, pixels: &RgbImage) -> Vec<f32> {
        let bytes = pixels.pixels();
        let mut output = Vec::with_capacity(bytes.len());
        for (channel, table) in self.tables().into_iter().enumerate() {
            let values = bytes.iter().skip(channel).step_by(3);
            output.extend(values.map(|&value| table[value as usize]));
        }
        output
    }

    /// `(value / 255 − mean) / std` in f32 of each of the 256 values of red, green and blue: the same numbers as value
    /// by value, without a division for each.
    pub fn tables(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            std::array::from_fn(|value| (value as f32 / 255.0 - mean) / std)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(change: impl FnOnce(&mut serde_json::Value)) -> Result<Preset, serde_json::Error> {
        let mut value = serde_json::to_value(Preset::IMAGENET).unwrap();
        change(&mut value);
        serde_json::from_value(value)
    }

    #[test]
    fn json_is_the_documented_one_and_comes_back_equal() {
        let text = serde_json::to_string(&Preset::IMAGENET).unwrap();
        assert_eq!(
            text,
            r#"{"resize":256,"crop":224,"interpolation":"bilinear","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}"#
        );
        assert_eq!(
            serde_json::from_str::<Preset>(&text).unwrap(),
            Preset::IMAGENET
        );
    }

    #[test]
    fn hostile_json_is_refused_with_the_field_named() {
        let zero = json(|preset| preset["crop"] = 0.into()).unwrap_err();
        assert!(zero.to_string().contains("`crop` is 0 pixels"), "{zero}");
        let huge = json(|preset| preset["resize"] = 4097.into()).unwrap_err();
        assert!(
            huge.to_string().contains("`resize` is 4097 pixels"),
            "{huge}"
        );
        let flat = json(|preset| preset["std"][1] = 0.into()).unwrap_err();
        assert!(flat.to_string().contains("std of channel 1 is 0"), "{flat}");
        // Finite in the file, infinite as f32.
        let mean = json(|preset| preset["mean"][2] = 1e300.into()).unwrap_err();
        assert!(
            mean.to_string().contains("mean of channel 2 is inf"),
            "{mean}"
        );
        assert!(json(|preset| preset["crop"] = (-1).into()).is_err());
        assert!(json(|preset| preset["interpolation"] = "lanczos".into()).is_err());
        assert!(json(|preset| preset["stretch"] = true.into()).is_err());
    }

    #[test]
    fn other_sizes_keep_the_proportion_of_resize_to_crop() {
        let at = |crop| {
            Preset::IMAGENET
                .with_size(crop)
                .map(|preset| preset.resize())
        };
        assert_eq!(at(224), Ok(256));
        // timm: floor(288 / 0.875) = 329.
        assert_eq!(at(288), Ok(329));
        assert_eq!(
            at(0),
            Err(PresetError::Size {
                field: "resize",
                value: 0
            })
        );
        assert_eq!(
            at(4096),
            Err(PresetError::Size {
                field: "resize",
                value: 4681
            })
        );
        assert!(at(u32::MAX).is_err());
    }

    #[test]
    fn a_preset_without_a_crop_says_so_by_leaving_it_out() {
        let text = serde_json::to_string(&Preset::SEGMENTATION).unwrap();
        assert_eq!(
            text,
            r#"{"resize":520,"interpolation":"bilinear","mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}"#
        );
        let back = serde_json::from_str::<Preset>(&text).unwrap();
        assert_eq!(back, Preset::SEGMENTATION);
        let null = json(|preset| {
            preset["crop"] = serde_json::Value::Null;
            preset["resize"] = 520.into();
        });
        assert_eq!(null.unwrap(), Preset::SEGMENTATION);
        let smaller = Preset::SEGMENTATION.with_size(128).unwrap();
        assert_eq!((smaller.resize(), smaller.crop()), (128, None));
        assert!(Preset::SEGMENTATION.with_size(4097).is_err());
    }

    #[test]
    fn whole_photos_are_seen_in_their_aspect_up_to_the_largest_side() {
        let seen = |photo| Preset::SEGMENTATION.placement(photo).size;
        // torchvision: the longer side is cut off to whole pixels.
        assert_eq!(seen([500, 375]), [693, 520]);
        assert_eq!(seen([375, 500]), [520, 693]);
        assert_eq!(seen([1, 1]), [520, 520]);
        let whole = |photo| Preset::SEGMENTATION.sees_whole(photo);
        assert_eq!(whole([7 * 520, 520]), Ok(()));
        // 520 × 4096 / 520.
        assert_eq!(whole([520, 4096]), Ok(()));
        let line = whole([1, 10_000]).unwrap_err();
        assert_eq!(line.resized, [520, 5_200_000]);
        assert!(line.to_string().contains("1×10000"), "{line}");
        // What is seen of it all the same fits into memory.
        let photo = RgbImage::new(1, 10_000, vec![0; 30_000]).unwrap();
        let pixels = Preset::SEGMENTATION.crop_pixels(&photo);
        assert_eq!((pixels.width(), pixels.height()), (520, MAX_SIDE));
        assert_eq!(Preset::IMAGENET.sees_whole([1, 10_000]), Ok(()));
    }

    #[test]
    fn a_plane_of_one_colour_normalises_to_three_constants() {
        let red = RgbImage::new(2, 2, [255, 0, 127].repeat(4)).unwrap();
        let input = Preset::EFFICIENTNET_LITE0.normalise(&red);
        assert_eq!(input[..8], [1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0]);
        assert!(
            input[8..].iter().all(|x| (x + 1.0 / 255.0).abs() < 1e-6),
            "{input:?}"
        );
    }

    #[test]
    fn a_line_of_65535_pixels_costs_no_more_than_its_middle() {
        let line: Vec<u8> = (0..65_535u32).flat_map(|x| [(x % 251) as u8; 3]).collect();
        for (width, height) in [(65_535, 1), (1, 65_535)] {
            // Whole, this would be a picture of 14 or 268 million × the crop's pixels.
            let photo = RgbImage::new(width, height, line.clone()).unwrap();
            for crop in [224, 1792] {
                let preset = Preset::EFFICIENTNET_LITE0.with_size(crop).unwrap();
                assert_eq!(preset.apply(&photo).len(), (3 * crop * crop) as usize);
            }
        }
    }
}
