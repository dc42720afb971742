//! torchvision's `adjust_hue`: to Pillow's HSV of 8 bits each, the hue turned, and back.

/// Turns the hue by `shift` of the whole circle, from −0.5 to 0.5.
pub(super) fn hue(pixels: &mut [u8], shift: f64) {
    // Cut off to whole steps of 1/255 and wrapped, as torchvision does it.
    let steps = (shift * 255.0) as i32 as u8;
    let sectors: [Sector; 256] =
        std::array::from_fn(|hue| Sector::of((hue as u8).wrapping_add(steps)));
    let shares: [f32; 256] = std::array::from_fn(|value| (value as f64 / 255.0) as f32);
    let (each, _) = pixels.as_chunks_mut::<3>();
    for pixel in each {
        let [red, green, blue] = *pixel;
        let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
        // A grey pixel has no hue to turn.
        if most == least {
            continue;
        }
        let range = f32::from(most - least);
        let saturation = (f64::from(range / f32::from(most)) * 255.0) as u8;
        let sector = &sectors[hue_of(*pixel, most, range) as usize];
        *pixel = coloured(most, shares[saturation as usize], sector);
    }
}

/// Pillow's hue of a pixel that is not grey: `most` is its greatest value, `range` that less the smallest.
///
/// Colours of neighbouring pixels lie anywhere, so there is nothing to branch on that a processor could foresee.
fn hue_of([red, green, blue]: [u8; 3], most: u8, range: f32) -> u8 {
    let third = match (red == most, green == most) {
        (true, _) => [0, blue, green],
        (false, true) => [2, red, blue],
        (false, false) => [4, green, red],
    };
    let [before, here, there] = third;
    let from_most = |value: u8| f64::from(f32::from(most - value) / range);
    // Pillow takes the first difference in 32 bits: in 64 it is exact, and then rounded once, too.
    let place = (f64::from(before) + from_most(here) - from_most(there)) as f32;
    let turned = f64::from(place) / 6.0 + 1.0;
    // The remainder of a division by 1, for numbers from 0 to 2.
    let turned = turned - f64::from(u8::from(turned >= 1.0));
    (f64::from(turned as f32) * 255.0) as u8
}

/// Where a hue lies.
struct Sector {
    /// How far into its sixth of the circle.
    share: f32,
    /// What red, green and blue are in this sixth: the value itself (0), falling (1), rising (2) or low (3).
    parts: [u8; 3],
}

impl Sector {
    fn of(hue: u8) -> Self {
        let place = f64::from(hue) * 6.0 / 255.0;
        let sixth = place.floor();
        Self {
            share: (place - sixth) as f32,
            parts: match sixth as u8 {
                1 => [1, 0, 3],
                2 => [3, 0, 2],
                3 => [3, 1, 0],
                4 => [2, 3, 0],
                5 => [0, 3, 1],
                // 6 is 0 again.
                _ => [0, 2, 3],
            },
        }
    }
}

/// From HSV to RGB, as Pillow does it.
fn coloured(value: u8, saturation: f32, sector: &Sector) -> [u8; 3] {
    // Rounded; no product comes near enough to a half for the sum to be inexact.
    let part = |share: f64| (f64::from(value) * share + 0.5) as u8;
    let all = [
        value,
        part(1.0 - f64::from(saturation * sector.share)),
        part(1.0 - f64::from(saturation) * (1.0 - f64::from(sector.share))),
        part(1.0 - f64::from(saturation)),
    ];
    sector.parts.map(|part| all[usize::from(part & 3)])
}
