//! torchvision's `adjust_hue`: to Pillow's HSV of 8 bits each, the hue turned, and back.

/// Turns the hue by `shift` of the whole circle, from −0.5 to 0.5.
pub(super) fn hue(pixels: &mut [u8], shift: f64) {
    let steps = steps(shift);
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

/// A shift, cut off to whole steps of 1/255 and wrapped, as torchvision does it.
pub(super) fn steps(shift: f64) -> u8 {
    (shift * 255.0) as i32 as u8
}

/// Which whole hues Pillow's floats miss by one from below, a bit each. A colour's hue is a proper fraction of whole
/// numbers; cutting off what follows the point gives Pillow's hue of every colour but for those where nothing does, and
/// there it depends on the hue alone.
pub(super) fn missed() -> [u32; 8] {
    let mut missed = [0; 8];
    // Where the greatest value is 85 more than the smallest, every whole hue occurs.
    const RANGE: u8 = 85;
    for sixth in 0..6_u32 {
        for into in 0..=RANGE {
            let twice = u32::from(RANGE) * sixth + u32::from(into);
            let middle = if sixth % 2 == 0 { into } else { RANGE - into };
            let pixel = match sixth {
                0 => [RANGE, middle, 0],
                1 => [middle, RANGE, 0],
                2 => [0, RANGE, middle],
                3 => [0, middle, RANGE],
                4 => [middle, 0, RANGE],
                _ => [RANGE, 0, middle],
            };
            let hue = twice / 2 % 255;
            if twice.is_multiple_of(2) && u32::from(hue_of(pixel, RANGE, RANGE.into())) < hue {
                missed[hue as usize / 32] |= 1 << (hue % 32);
            }
        }
    }
    missed
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers alone, as adapters turn hues.
    fn turned([red, green, blue]: [u8; 3], steps: u8, missed: &[u32; 8]) -> [u8; 3] {
        let [most, least] = [red.max(green).max(blue), red.min(green).min(blue)].map(u32::from);
        if most == least {
            return [red, green, blue];
        }
        let range = most - least;
        let [r, g, b] = [red, green, blue].map(u32::from);
        let place = match (r == most, g == most) {
            (true, _) => 6 * range + g - b,
            (false, true) => 2 * range + b - r,
            (false, false) => 4 * range + r - g,
        } % (6 * range);
        let hue = place * 255 / (6 * range);
        let is_whole = place * 255 % (6 * range) == 0;
        let below = u32::from(is_whole) & (missed[hue as usize / 32] >> (hue % 32));
        let hue = u32::from(((hue - below) as u8).wrapping_add(steps));
        let saturation = range * 255 / most;
        let (sixth, share) = (2 * hue / 85, 2 * hue % 85);
        let part = |away: u32| ((2 * most * (21_675 - saturation * away) + 21_675) / 43_350) as u8;
        let (falling, rising, low) = (part(share), part(85 - share), part(85));
        let most = most as u8;
        match sixth {
            1 => [falling, most, low],
            2 => [low, most, rising],
            3 => [low, falling, most],
            4 => [rising, low, most],
            5 => [most, low, falling],
            _ => [most, rising, low],
        }
    }

    #[test]
    fn whole_numbers_turn_every_colour_as_pillows_floats_do() {
        let missed = missed();
        assert_ne!(missed, [0; 8]);
        // Every distance of the three values; the greatest in few places, since hues do not depend on it.
        let mut colours = Vec::new();
        for range in 1..=255_u8 {
            for middle in 0..=range {
                for most in [range, range.max(128), 255] {
                    let [a, b, c] = [most, most - middle, most - range];
                    colours.extend([a, b, c, a, c, b, b, a, c, c, a, b, b, c, a, c, b, a]);
                }
            }
        }
        for shift in [-0.5, -0.13, 0.0, 0.3] {
            let mut expected = colours.clone();
            hue(&mut expected, shift);
            let (each, _) = colours.as_chunks::<3>();
            for (&pixel, expected) in each.iter().zip(expected.as_chunks::<3>().0) {
                let found = turned(pixel, steps(shift), &missed);
                assert_eq!(&found, expected, "{pixel:?} {shift}");
            }
        }
    }
}
