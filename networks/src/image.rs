//! The picture the pipeline starts from: 8-bit RGB, already decoded and upright.
//!
//! Decoding belongs to the shells (files natively, the canvas in a browser); from here on every
//! picture looks the same.

use std::fmt;

/// Bytes per pixel.
const CHANNELS: usize = 3;

/// An 8-bit RGB picture, rows from the top, no padding between them.
///
/// A value of this type is never empty, and its buffer always holds exactly
/// `width * height * 3` bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

/// Why a buffer is not a picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A side is zero.
    #[error("a picture of {width}×{height} pixels has nothing in it")]
    Empty {
        /// Width given, in pixels.
        width: u32,
        /// Height given, in pixels.
        height: u32,
    },
    /// The buffer does not hold `width * height` pixels.
    #[error(
        "a {width}×{height} picture with {channels} bytes per pixel takes {expected} bytes, \
         but the buffer holds {found}"
    )]
    Length {
        /// Width given, in pixels.
        width: u32,
        /// Height given, in pixels.
        height: u32,
        /// Bytes per pixel: 3 for RGB, 4 for RGBA.
        channels: usize,
        /// Bytes the picture takes.
        expected: u128,
        /// Bytes the buffer holds.
        found: usize,
    },
}

impl RgbImage {
    /// Wraps the bytes `R G B R G B …` of a `width` × `height` picture.
    ///
    /// # Errors
    ///
    /// [`ImageError::Empty`] if a side is zero, [`ImageError::Length`] if `pixels` does not hold
    /// exactly `width * height * 3` bytes.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, ImageError> {
        check(width, height, CHANNELS, pixels.len())?;
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// The same picture in grey: each pixel's luminance (ITU-R 601) in all three channels, rounded as
    /// Pillow's conversion to "L" does.
    pub fn to_grey(&self) -> Self {
        let mut grey = self.clone();
        let (each, _) = grey.pixels.as_chunks_mut::<CHANNELS>();
        for pixel in each {
            *pixel = [luminance(*pixel); CHANNELS];
        }
        grey
    }

    /// Takes the bytes `R G B A R G B A …` (alpha not premultiplied, as a canvas hands them out)
    /// and lays the picture over white, the paper colour that logos and drawings expect.
    ///
    /// # Errors
    ///
    /// As [`RgbImage::new`], for four bytes per pixel.
    pub fn from_rgba(width: u32, height: u32, rgba: &[u8]) -> Result<Self, ImageError> {
        check(width, height, 4, rgba.len())?;
        let (from, _) = rgba.as_chunks::<4>();
        let mut pixels = vec![0; from.len() * CHANNELS];
        let (to, _) = pixels.as_chunks_mut::<CHANNELS>();
        for (pixel, &[red, green, blue, alpha]) in to.iter_mut().zip(from) {
            *pixel = match alpha {
                255 => [red, green, blue],
                _ => [red, green, blue].map(|colour| over_white(colour, alpha)),
            };
        }
        Ok(Self {
            width,
            height,
            pixels,
        })
    }

    /// A picture that the crate computed itself: no side is 0 and `pixels` has the right length.
    pub(crate) fn of_size([width, height]: [u32; 2], pixels: Vec<u8>) -> Self {
        debug_assert_eq!(check(width, height, CHANNELS, pixels.len()), Ok(()));
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The bytes `R G B R G B …`, rows from the top; `width * height * 3` of them.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes of [`pixels`](Self::pixels), without a copy.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }
}

impl fmt::Debug for RgbImage {
    // Megabytes of pixel values would drown whatever message this lands in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RgbImage({}×{})", self.width, self.height)
    }
}

/// A pixel's luminance (ITU-R 601), rounded as Pillow's conversion to "L" does.
pub(crate) fn luminance(pixel: [u8; CHANNELS]) -> u8 {
    let [red, green, blue] = pixel.map(u32::from);
    ((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16) as u8
}

/// `colour` with opacity `alpha` over white, rounded to nearest.
fn over_white(colour: u8, alpha: u8) -> u8 {
    let (colour, alpha) = (u32::from(colour), u32::from(alpha));
    ((colour * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

fn check(width: u32, height: u32, channels: usize, found: usize) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::Empty { width, height });
    }
    // 128 bits: two u32 sides times four overflow 64.
    let expected = u128::from(width) * u128::from(height) * channels as u128;
    if expected != found as u128 {
        return Err(ImageError::Length {
            width,
            height,
            channels,
            expected,
            found,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_of_the_right_length_becomes_a_picture() {
        let image = RgbImage::new(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!((image.width(), image.height()), (2, 1));
        assert_eq!(image.pixels(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(format!("{image:?}"), "RgbImage(2×1)");
    }

    #[test]
    fn empty_short_and_long_buffers_are_refused() {
        assert_eq!(
            RgbImage::new(0, 4, vec![]),
            Err(ImageError::Empty {
                width: 0,
                height: 4
            })
        );
        for length in [11, 13] {
            assert!(matches!(
                RgbImage::new(2, 2, vec![0; length]),
                Err(ImageError::Length { expected: 12, .. })
            ));
        }
    }

    #[test]
    fn sides_whose_product_overflows_are_refused() {
        let error = RgbImage::from_rgba(u32::MAX, u32::MAX, &[0; 4]).unwrap_err();
        assert!(matches!(error, ImageError::Length { .. }));
    }

    #[test]
    fn alpha_is_laid_over_white() {
        let rgba = [10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 255, 128];
        let image = RgbImage::from_rgba(3, 1, &rgba).unwrap();
        // Pillow's `Image.alpha_composite` over white gives the same three pixels.
        assert_eq!(image.pixels(), [10, 20, 30, 255, 255, 255, 127, 177, 255]);
    }
}
