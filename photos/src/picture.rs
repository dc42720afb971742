//! What every format gives: a picture that can be decoded, and buffers and pictures of a size that memory allows.

use image::metadata::Orientation;
use rekindle_networks::image::RgbImage;

use super::error::PhotoProblem;

/// A picture whose header has been read and found acceptable: nothing of its size is allocated yet.
pub(super) trait Picture {
    /// Bytes that decoding holds at its height.
    fn memory(&self) -> u64;

    /// How the stored picture has to be turned.
    fn orientation(&self) -> Orientation {
        Orientation::NoTransforms
    }

    /// The picture as it is stored, in 8-bit RGB over white.
    ///
    /// # Errors
    /// Damage, missing parts, and what is found out too late to be told from the header.
    fn decode(self: Box<Self>) -> Result<RgbImage, PhotoProblem>;
}

/// A buffer of zeros, or an error where the allocator would abort. What is not written to costs nothing.
pub(super) fn zeroed(len: usize) -> Result<Vec<u8>, PhotoProblem> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| PhotoProblem::OutOfMemory)
}

/// A picture of these bytes, three a pixel.
pub(super) fn picture_of(width: u32, height: u32, rgb: Vec<u8>) -> Result<RgbImage, PhotoProblem> {
    RgbImage::new(width, height, rgb).map_err(inconsistent)
}

/// A picture of these bytes, four a pixel, over white.
pub(super) fn picture_over_white(
    width: u32,
    height: u32,
    rgba: &[u8],
) -> Result<RgbImage, PhotoProblem> {
    RgbImage::from_rgba(width, height, rgba).map_err(inconsistent)
}

fn inconsistent(error: rekindle_networks::image::ImageError) -> PhotoProblem {
    PhotoProblem::Corrupt(error.to_string())
}
