//! Operations that give every value of a channel another one, as Pillow's `ImageOps` does.

use super::blend::mapped;

/// torchvision's `invert`.
pub(super) fn invert(pixels: &mut [u8]) {
    for value in pixels {
        *value = 255 - *value;
    }
}

/// torchvision's `posterize`: the upper `bits` of every value, of 1 to 8.
pub(super) fn posterize(pixels: &mut [u8], bits: u8) {
    let mask = u8::MAX << (8 - bits.clamp(1, 8));
    for value in pixels {
        *value &= mask;
    }
}

/// torchvision's `solarize`: values from `threshold` on are inverted.
pub(super) fn solarize(pixels: &mut [u8], threshold: f64) {
    mapped(
        pixels,
        &std::array::from_fn(|value| match (value as f64) < threshold {
            true => value as u8,
            false => 255 - value as u8,
        }),
    );
}

/// torchvision's `equalize`: every channel's values spread so that each is about as frequent.
pub(super) fn equalize(pixels: &mut [u8]) {
    each_channel(pixels, |counts| {
        let last = counts.iter().rev().find(|&&count| count > 0).copied();
        let several = counts.iter().filter(|&&count| count > 0).count() > 1;
        let step = (counts.iter().sum::<u64>() - last.unwrap_or(0)) / 255;
        if !several || step == 0 {
            return std::array::from_fn(|value| value as u8);
        }
        let mut below = step / 2;
        counts.map(|count| {
            let value = (below / step).min(255) as u8;
            below += count;
            value
        })
    });
}

/// torchvision's `autocontrast`: every channel stretched to all values from 0 to 255.
pub(super) fn autocontrast(pixels: &mut [u8]) {
    each_channel(pixels, |counts| {
        let least = counts.iter().position(|&count| count > 0).unwrap_or(0);
        let most = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        if most <= least {
            return std::array::from_fn(|value| value as u8);
        }
        let scale = 255.0 / (most - least) as f64;
        let offset = -(least as f64) * scale;
        std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
    });
}

/// Gives each channel its own table, made from how often each value occurs in it.
fn each_channel(pixels: &mut [u8], table: impl Fn([u64; 256]) -> [u8; 256]) {
    let (each, _) = pixels.as_chunks_mut::<3>();
    let mut counts = [[0_u64; 256]; 3];
    for pixel in each.iter() {
        for (counts, &value) in counts.iter_mut().zip(pixel) {
            counts[value as usize] += 1;
        }
    }
    let tables = counts.map(table);
    for pixel in each {
        for (value, table) in pixel.iter_mut().zip(&tables) {
            *value = table[*value as usize];
        }
    }
}
