//! Brightness, contrast, saturation: each blends the picture with one that lacks what is meant, as Pillow's
//! `ImageEnhance` does. A factor of 0 gives that other picture, 1 the picture itself, more than 1 its opposite.
//!
//! Pillow blends in 32-bit floats and cuts the fraction off; the same sums are computed here, for all values of a
//! byte once where the other picture has one colour.

use crate::image::luminance;

/// Pillow's `ImagingBlend` for one byte.
pub(super) fn blended(from: u8, to: u8, factor: f32) -> u8 {
    // `as` cuts off the fraction and stops at 0 and 255.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

/// Every byte through a table.
pub(super) fn mapped(pixels: &mut [u8], table: &[u8; 256]) {
    for value in pixels {
        *value = table[*value as usize];
    }
}

/// torchvision's `adjust_brightness`: blended with black.
pub(super) fn brightness(pixels: &mut [u8], factor: f32) {
    mapped(
        pixels,
        &std::array::from_fn(|value| blended(0, value as u8, factor)),
    );
}

/// torchvision's `adjust_contrast`: blended with the mean of the picture in grey.
pub(super) fn contrast(pixels: &mut [u8], factor: f32) {
    let (each, _) = pixels.as_chunks::<3>();
    let sum: u64 = each.iter().map(|&pixel| u64::from(luminance(pixel))).sum();
    let mean = (sum as f64 / each.len() as f64 + 0.5) as u8;
    mapped(
        pixels,
        &std::array::from_fn(|value| blended(mean, value as u8, factor)),
    );
}

/// torchvision's `adjust_saturation`: blended with the picture in grey.
pub(super) fn saturation(pixels: &mut [u8], factor: f32) {
    let (each, _) = pixels.as_chunks_mut::<3>();
    for pixel in each {
        let grey = luminance(*pixel);
        *pixel = pixel.map(|value| blended(grey, value, factor));
    }
}
