//! One operation on a picture's pixels, with its parameters: torchvision's functional operations as data.
//!
//! The reference is `torchvision.transforms.functional` on PIL images, that is Pillow's arithmetic, as everywhere in
//! this project; on tensors torchvision computes in floats and differs by a level here and there.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::geometry::{self, Affine, Way};
use super::warp::Fill;
use super::{blend, flips, hue, sharpness, tones};
use crate::image::RgbImage;
use crate::preprocess::view::CropBox;

/// An operation on a picture of 8 bits a channel; the picture keeps its size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Left and right change places (`hflip`).
    Flip,
    /// Top and bottom change places (`vflip`).
    FlipVertical,
    /// Blended with black: 0 is black, 1 the picture itself, 2 twice as bright (`adjust_brightness`).
    Brightness(f64),
    /// Blended with its mean in grey: 0 is that grey, 1 the picture itself (`adjust_contrast`).
    Contrast(f64),
    /// Blended with itself in grey: 0 is grey, 1 the picture itself (`adjust_saturation`).
    Saturation(f64),
    /// Colours turned by a share of the circle, from −0.5 to 0.5 (`adjust_hue`).
    Hue(f64),
    /// Blended with itself, smoothed: 0 is smooth, 1 the picture itself, 2 sharper (`adjust_sharpness`).
    Sharpness(f64),
    /// Each pixel's luminance in all three channels (`rgb_to_grayscale` with three channels).
    Grey,
    /// 255 less each value (`invert`).
    Invert,
    /// The upper bits of each value: so many, 1 to 8 (`posterize`).
    Posterize(u8),
    /// Values from here on are inverted (`solarize`).
    Solarize(f64),
    /// Each channel's values made about equally frequent (`equalize`).
    Equalize,
    /// Each channel stretched to all of 0 to 255 (`autocontrast`).
    AutoContrast,
    /// Turned about its middle (`rotate`).
    Rotate {
        /// Degrees, counter-clockwise.
        angle: f64,
        /// What fills up.
        fill: Fill,
    },
    /// Turned, scaled, sheared and moved (`affine`).
    Affine {
        /// Degrees, clockwise.
        angle: f64,
        /// To the right and down, in pixels.
        translate: [i32; 2],
        /// How many times as large.
        scale: f64,
        /// Degrees along both axes.
        shear: [f64; 2],
        /// The point that stays, in pixels from the upper left corner; the middle if left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        centre: Option<[f64; 2]>,
        /// What fills up.
        fill: Fill,
    },
    /// Seen from elsewhere: corners (upper left, upper right, lower right, lower left) are moved (`perspective`).
    /// Corners that make no map (three of them in a line) leave the picture as it is.
    Perspective {
        /// Where they are, in pixels.
        from: [[i32; 2]; 4],
        /// Where they shall be, in pixels.
        to: [[i32; 2]; 4],
        /// What fills up.
        fill: Fill,
    },
    /// A part in one colour (`erase`); what of it lies outside the picture is nothing.
    Erase {
        /// The part.
        area: CropBox,
        /// Its colour.
        colour: [u8; 3],
    },
}

impl Operation {
    /// The picture after this operation.
    pub fn apply(&self, image: RgbImage) -> RgbImage {
        let size = [image.width(), image.height()];
        let columns = image.width() as usize;
        match *self {
            Self::Flip => changed(image, |pixels| flips::mirror(pixels, columns)),
            Self::FlipVertical => changed(image, |pixels| flips::upside_down(pixels, columns)),
            // Pillow blends by 32-bit floats.
            Self::Brightness(factor) => {
                changed(image, |pixels| blend::brightness(pixels, factor as f32))
            }
            Self::Contrast(factor) => {
                changed(image, |pixels| blend::contrast(pixels, factor as f32))
            }
            Self::Saturation(factor) => {
                changed(image, |pixels| blend::saturation(pixels, factor as f32))
            }
            Self::Sharpness(factor) => changed(image, |pixels| {
                sharpness::sharpness(pixels, columns, factor as f32);
            }),
            Self::Hue(shift) => changed(image, |pixels| hue::hue(pixels, shift)),
            Self::Grey => image.to_grey(),
            Self::Invert => changed(image, tones::invert),
            Self::Posterize(bits) => changed(image, |pixels| tones::posterize(pixels, bits)),
            Self::Solarize(threshold) => {
                changed(image, |pixels| tones::solarize(pixels, threshold))
            }
            Self::Equalize => changed(image, tones::equalize),
            Self::AutoContrast => changed(image, tones::autocontrast),
            Self::Rotate { fill, .. }
            | Self::Affine { fill, .. }
            | Self::Perspective { fill, .. } => self.way(size).turn(image, fill),
            Self::Erase { area, colour } => {
                changed(image, |pixels| erase(pixels, size, area, colour))
            }
        }
    }

    /// Where the pixels of a picture of this size come from, if this turns it.
    pub(super) fn way(&self, size: [u32; 2]) -> Way {
        match *self {
            Self::Rotate { angle, .. } => geometry::rotation(size, angle),
            Self::Affine {
                angle,
                translate,
                scale,
                shear,
                centre,
                ..
            } => {
                let map = Affine {
                    angle,
                    translate,
                    scale,
                    shear,
                    centre,
                };
                geometry::affine(size, map)
            }
            Self::Perspective { from, to, .. } => geometry::perspective(from, to),
            _ => Way::Still,
        }
    }
}

/// The picture with its bytes changed where they are.
fn changed(image: RgbImage, change: impl FnOnce(&mut [u8])) -> RgbImage {
    let size = [image.width(), image.height()];
    let mut pixels = image.into_pixels();
    change(&mut pixels);
    RgbImage::of_size(size, pixels)
}

/// A part of a picture in one colour.
fn erase(pixels: &mut [u8], [width, height]: [u32; 2], area: CropBox, colour: [u8; 3]) {
    let [columns, rows] =
        erased([width, height], area).map(|span| span.start as usize..span.end as usize);
    let (each, _) = pixels.as_chunks_mut::<3>();
    for row in each
        .chunks_exact_mut(width as usize)
        .take(rows.end)
        .skip(rows.start)
    {
        row[columns.clone()].fill(colour);
    }
}

/// The columns and rows of a part, as far as they lie in a picture of this size.
pub(super) fn erased([width, height]: [u32; 2], area: CropBox) -> [Range<u32>; 2] {
    let span = |start: u32, length: u32, side: u32| {
        start.min(side)..start.saturating_add(length).min(side)
    };
    [
        span(area.left, area.width, width),
        span(area.top, area.height, height),
    ]
}
