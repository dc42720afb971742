//! What a network should be fed, as a model file says it.

use serde::{Deserialize, Serialize};

use super::resize::Interpolation;

/// Largest side, in pixels, that a preset may ask for and that a network is given of a photo.
pub const MAX_SIDE: u32 = 4096;

/// How a photo becomes a network's input: shorter side to `resize` pixels, centre crop of
/// `crop`×`crop`, then `(value / 255 − mean) / std` for each channel.
///
/// Without a crop the network sees the whole photo in its own aspect, as networks do that answer for each
/// pixel. Of a photo that would become longer than [`MAX_SIDE`] it sees the middle: [`Preset::sees_whole`]
/// tells.
///
/// As JSON, `{"resize":256,"crop":224,"interpolation":"bilinear","mean":[…],"std":[…]}`, `crop` absent or
/// `null` for whole photos; a preset read from a file is checked like one made by [`Preset::new`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Preset {
    // Open to the crate for its tables of constants; everyone else comes through `new` or serde.
    pub(crate) resize: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crop: Option<u32>,
    pub(crate) interpolation: Interpolation,
    pub(crate) mean: [f32; 3],
    pub(crate) std: [f32; 3],
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) grey: bool,
}

/// Why numbers do not make a [`Preset`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PresetError {
    /// `resize` or `crop` is out of range.
    #[error("the preset's `{field}` is {value} pixels; it must be between 1 and {MAX_SIDE}")]
    Size {
        /// `resize` or `crop`.
        field: &'static str,
        /// Pixels asked for.
        value: u32,
    },
    /// A mean is infinite or not a number.
    #[error("the preset's mean of channel {channel} is {value}; it must be a finite number")]
    Mean {
        /// 0 is red, 1 green, 2 blue.
        channel: usize,
        /// The value found.
        value: f32,
    },
    /// A standard deviation is zero, negative, infinite or not a number.
    #[error("the preset's std of channel {channel} is {value}; it must be finite and above 0")]
    Std {
        /// 0 is red, 1 green, 2 blue.
        channel: usize,
        /// The value found.
        value: f32,
    },
}

/// A preset as it stands in a file, not yet trusted.
#[derive(Deserialize)]
#[serde(rename = "Preset", deny_unknown_fields)]
struct Unchecked {
    resize: u32,
    #[serde(default)]
    crop: Option<u32>,
    interpolation: Interpolation,
    mean: [f32; 3],
    std: [f32; 3],
    #[serde(default)]
    grey: bool,
}

impl TryFrom<Unchecked> for Preset {
    type Error = PresetError;

    fn try_from(raw: Unchecked) -> Result<Self, PresetError> {
        let preset = Self {
            resize: raw.resize,
            crop: raw.crop,
            interpolation: raw.interpolation,
            mean: raw.mean,
            std: raw.std,
            grey: raw.grey,
        };
        preset.check()?;
        Ok(preset)
    }
}

impl Preset {
    /// What torchvision's first ImageNet weights (`IMAGENET1K_V1`) expect of ResNet, SqueezeNet
    /// and ViT-B/16: 256, cropped to 224, bilinear, with ImageNet's own statistics.
    pub const IMAGENET: Self = Self {
        resize: 256,
        crop: Some(224),
        interpolation: Interpolation::Bilinear,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        grey: false,
    };

    /// What timm's `tf_efficientnet_lite0` expects: crop 224 at `crop_pct` 0.875 (so 256), bicubic,
    /// values from −1 to 1.
    pub const EFFICIENTNET_LITE0: Self = Self {
        resize: 256,
        crop: Some(224),
        interpolation: Interpolation::Bicubic,
        mean: [0.5; 3],
        std: [0.5; 3],
        grey: false,
    };

    /// What torchvision's segmentation networks expect: the whole photo, its shorter side 520 pixels, bilinear,
    /// with ImageNet's own statistics (`torchvision.transforms._presets.SemanticSegmentation`).
    pub const SEGMENTATION: Self = Self {
        resize: 520,
        crop: None,
        ..Self::IMAGENET
    };

    /// A preset from its parts.
    ///
    /// `resize` is the length in pixels to which the photo's shorter side is brought, `crop` the
    /// side of the square taken from its middle. A crop larger than the resized photo is filled up
    /// with black, as torchvision does. `mean` and `std` are per channel, for values in `[0, 1]`.
    ///
    /// # Errors
    ///
    /// [`PresetError`] if a size is not in `1..=MAX_SIDE`, a mean is not finite, or a standard
    /// deviation is not finite and positive.
    pub fn new(
        resize: u32,
        crop: u32,
        interpolation: Interpolation,
        mean: [f32; 3],
        std: [f32; 3],
    ) -> Result<Self, PresetError> {
        let preset = Self {
            resize,
            crop: Some(crop),
            interpolation,
            mean,
            std,
            grey: false,
        };
        preset.check()?;
        Ok(preset)
    }

    /// This preset for whole photos, in their own aspect.
    #[must_use]
    pub const fn without_crop(self) -> Self {
        Self { crop: None, ..self }
    }

    /// Whether photos can be prepared with these values. They can with those of every preset that
    /// [`Preset::new`] made or that was read from a file.
    ///
    /// # Errors
    ///
    /// As [`Preset::new`].
    pub fn check(&self) -> Result<(), PresetError> {
        let crop = self.crop.map(|crop| ("crop", crop));
        for (field, value) in [("resize", self.resize)].into_iter().chain(crop) {
            if !(1..=MAX_SIDE).contains(&value) {
                return Err(PresetError::Size { field, value });
            }
        }
        for (channel, value) in self.mean.into_iter().enumerate() {
            if !value.is_finite() {
                return Err(PresetError::Mean { channel, value });
            }
        }
        for (channel, value) in self.std.into_iter().enumerate() {
            if !(value.is_finite() && value > 0.0) {
                return Err(PresetError::Std { channel, value });
            }
        }
        Ok(())
    }

    /// This preset for another input size: `crop` becomes the side of the square, and `resize`
    /// follows in proportion, rounded down as timm does. Without a crop, `resize` becomes that size.
    ///
    /// # Errors
    ///
    /// [`PresetError::Size`] if either leaves `1..=MAX_SIDE`.
    pub fn with_size(self, side: u32) -> Result<Self, PresetError> {
        let resize = match self.crop {
            None => u64::from(side),
            Some(crop) => u64::from(side) * u64::from(self.resize) / u64::from(crop),
        };
        let sized = Self {
            resize: u32::try_from(resize).unwrap_or(u32::MAX),
            crop: self.crop.map(|_| side),
            ..self
        };
        sized.check()?;
        Ok(sized)
    }

    /// This preset for grey pictures: colours become their luminance, three times over, before
    /// anything else, as torchvision's `Grayscale(num_output_channels=3)` makes it.
    pub fn greyscale(self) -> Self {
        Self { grey: true, ..self }
    }

    /// This preset with the same normalisation for all three channels, the mean of theirs: what a
    /// network of one channel is given.
    pub fn with_one_normalisation(self) -> Self {
        let mean = |of: [f32; 3]| [of.iter().sum::<f32>() / 3.0; 3];
        Self {
            mean: mean(self.mean),
            std: mean(self.std),
            ..self
        }
    }

    /// Whether colours are turned into their luminance.
    pub fn is_grey(&self) -> bool {
        self.grey
    }

    /// Length of the resized photo's shorter side, in pixels.
    pub fn resize(&self) -> u32 {
        self.resize
    }

    /// Side of the square the network sees, in pixels; `None` where it sees whole photos.
    pub fn crop(&self) -> Option<u32> {
        self.crop
    }

    /// Side in pixels of the square that the network sees of a square photo, and of every photo where there is a
    /// crop: the size at which networks are counted, drawn, measured and exported.
    pub fn side(&self) -> u32 {
        self.crop.unwrap_or(self.resize)
    }

    /// The filter with which photos are resized.
    pub fn interpolation(&self) -> Interpolation {
        self.interpolation
    }

    /// What is subtracted from red, green and blue, for values in `[0, 1]`.
    pub fn mean(&self) -> [f32; 3] {
        self.mean
    }

    /// What red, green and blue are divided by after that.
    pub fn std(&self) -> [f32; 3] {
        self.std
    }
}
