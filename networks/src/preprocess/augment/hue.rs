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
        if saturation == 0 {
            *pixel = [most; 3];
            continue;
        }
        let sector = &sectors[hue_of(*pixel, most, range) as usize];
        *pixel = coloured(most, shares[saturation as usize], sector);
    }
}

/// Pillow's hue of a pixel that is not grey: `most` is its greatest value, `range` that less the smallest.
fn hue_of([red, green, blue]: [u8; 3], most: u8, range: f32) -> u8 {
    let from_most = |value: u8| f32::from(most - value) / range;
    let place = if red == most {
        from_most(blue) - from_most(green)
    } else if green == most {
        (2.0 + f64::from(from_most(red)) - f64::from(from_most(blue))) as f32
    } else {
        (4.0 + f64::from(from_most(green)) - f64::from(from_most(red))) as f32
    };
    let turned = f64::from(place) / 6.0 + 1.0;
    // The remainder of a division by 1, for numbers from 0 to 2.
    let turned = match turned >= 1.0 {
        true => turned - 1.0,
        false => turned,
    };
    (f64::from(turned as f32) * 255.0) as u8
}

/// Where a hue lies: in which sixth of the circle, and how far into it.
struct Sector {
    sixth: u8,
    share: f32,
}

impl Sector {
    fn of(hue: u8) -> Self {
        let place = f64::from(hue) * 6.0 / 255.0;
        let sixth = place.floor();
        Self {
            sixth: sixth as u8 % 6,
            share: (place - sixth) as f32,
        }
    }
}

/// From HSV to RGB, as Pillow does it.
fn coloured(value: u8, saturation: f32, sector: &Sector) -> [u8; 3] {
    // Rounded; no product comes near enough to a half for the sum to be inexact.
    let part = |share: f64| (f64::from(value) * share + 0.5) as u8;
    let low = part(1.0 - f64::from(saturation));
    let falling = || part(1.0 - f64::from(saturation * sector.share));
    let rising = || part(1.0 - f64::from(saturation) * (1.0 - f64::from(sector.share)));
    match sector.sixth {
        0 => [value, rising(), low],
        1 => [falling(), value, low],
        2 => [low, value, rising()],
        3 => [low, falling(), value],
        4 => [rising(), low, value],
        _ => [value, low, falling()],
    }
}
