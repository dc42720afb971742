//! Samples to light: inks without a colour profile, grey, 16 bits, alpha.

use rekindle_networks::image::RgbImage;

use super::PhotoProblem;
use super::picture::{picture_of, picture_over_white, zeroed};

/// One channel of light where `ink` (255 = full) lies over a ground that black ink left at `white`
/// (255 = no black), rounded as Pillow's conversion from CMYK to RGB rounds.
pub(super) fn ink_over(ink: u8, white: u8) -> u8 {
    let product = u32::from(ink) * u32::from(white) + 128;
    let taken = ((product >> 8) + product) >> 8;
    white.saturating_sub(taken as u8)
}

/// Samples of 16 bits, the highest byte first, rounded to 8, in place.
pub(super) fn eight_bits(samples: &mut Vec<u8>) {
    let count = samples.len() / 2;
    for at in 0..count {
        let wide = u32::from(u16::from_be_bytes([samples[2 * at], samples[2 * at + 1]]));
        samples[at] = ((wide * 255 + 32_767) / 65_535) as u8;
    }
    samples.truncate(count);
}

/// The picture of samples of 8 bits: grey, grey and alpha, RGB, or RGB and alpha by the number of `channels`.
pub(super) fn picture_of_samples(
    (width, height): (u32, u32),
    channels: usize,
    samples: Vec<u8>,
) -> Result<RgbImage, PhotoProblem> {
    match channels {
        1 => {
            let mut rgb = zeroed(3 * samples.len())?;
            for (pixel, &level) in rgb.chunks_exact_mut(3).zip(&samples) {
                pixel.fill(level);
            }
            picture_of(width, height, rgb)
        }
        2 => {
            let mut rgba = zeroed(2 * samples.len())?;
            for (pixel, from) in rgba.chunks_exact_mut(4).zip(samples.chunks_exact(2)) {
                pixel.copy_from_slice(&[from[0], from[0], from[0], from[1]]);
            }
            drop(samples);
            picture_over_white(width, height, &rgba)
        }
        3 => picture_of(width, height, samples),
        _ => picture_over_white(width, height, &samples),
    }
}
