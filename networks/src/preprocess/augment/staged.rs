//! A drawn view with everything found out that adapters cannot find out to the bit: they have neither 64-bit floats nor
//! floats that are rounded alike everywhere, but whole numbers and tables.
//!
//! What a GPU makes of it is the picture that [`Preset::drawn_pixels`] makes, pixel for pixel.

use super::blend::blended;
use super::drawn::Drawn;
use super::geometry::{Way, from_quarters};
use super::operation::{Operation, erased};
use super::warp::{Fill, Filter, Map, Walk};
use super::{hue, tones};
use crate::image::RgbImage;
use crate::preprocess::placement::Placement;
use crate::preprocess::preset::Preset;
use crate::preprocess::resize::Pass;

/// A part of a photo, how it is resized, and what is done to the picture that comes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Staged {
    /// Width and height of the part, in pixels.
    pub part: [u32; 2],
    /// The part's bytes `R G B R G B …`.
    pub pixels: Vec<u8>,
    /// The two passes that resize it, in their order.
    pub passes: [Pass; 2],
    /// Width and height of the picture.
    pub size: [u32; 2],
    /// Where in the picture the resized part begins: left, top. Around it all is black.
    pub before: [u32; 2],
    /// Whether left and right of the resized part change places.
    pub mirror: bool,
    /// Whether colours become their luminance before anything else.
    pub grey: bool,
    /// What is done to the picture, in this order.
    pub deeds: Vec<Deed>,
}

/// What is done to a picture, in numbers that need no rounding.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Every byte through a table.
    Through([u8; 256]),
    /// Blended with something.
    Blend(Partner, Blend),
    /// Each channel's values made about equally frequent.
    Equalize,
    /// Each channel stretched to all of 0 to 255.
    AutoContrast,
    /// Hues turned.
    Hue {
        /// By so many 255ths of the circle.
        steps: u8,
        /// A bit for each hue that is found one too low where a colour has exactly it.
        missed: [u32; 8],
    },
    /// Each pixel's luminance in all three channels.
    Grey,
    /// Pixels from other pixels.
    Walk {
        /// Where they come from.
        walk: Walk,
        /// The colour of what comes from outside the picture.
        colour: [u8; 3],
    },
    /// Pixels from places between pixels: `x' = (columns[x][0] + rows[y][0] + plus[0]) / depth` and y' with the numbers
    /// at 1, each sum and quotient rounded to 64-bit floats. The depth is the sum at 2, if there is one.
    Warp {
        /// Each column's parts.
        columns: Vec<[f64; 3]>,
        /// Each row's parts.
        rows: Vec<[f64; 3]>,
        /// What is added.
        plus: [f64; 3],
        /// Whether there is a depth.
        has_depth: bool,
        /// What fills up, and how values between pixels are found.
        fill: Fill,
    },
    /// A part in one colour: first column and row, those behind the last.
    Erase {
        /// Left, top, right, bottom.
        edges: [u32; 4],
        /// The colour.
        colour: [u8; 3],
    },
}

/// What a picture is blended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partner {
    /// The mean of its luminance.
    Mean,
    /// Its luminance.
    Luminance,
    /// Itself, smoothed but for the edges.
    Smooth,
}

/// Pillow's blending by a factor, `from + factor · (to − from)` in 32-bit floats with the fraction cut off, as whole
/// numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blend {
    /// For each `to − from` from −255 to 255 what is added to `from`, and from which sum on the float is rounded up to
    /// the next whole number.
    pub steps: Vec<(i16, u16)>,
}

impl Blend {
    /// Of a factor.
    pub fn new(factor: f32) -> Self {
        // No sum of bytes comes so far.
        const FAR: f32 = 600.0;
        const NEVER: u16 = 256;
        let step = |difference: i16| {
            let product = factor * f32::from(difference);
            if product.is_nan() {
                // Pillow's byte of it is 0.
                return (-(FAR as i16), NEVER);
            }
            let whole = product.floor().clamp(-FAR, FAR);
            // The greater a sum, the sooner it is rounded up, by steps at powers of two.
            let sums = [0_u16, 1, 2, 4, 8, 16, 32, 64, 128];
            let rounds_up = |&sum: &u16| {
                let sum = f32::from(sum);
                product.abs() < FAR && (sum - whole) + product >= sum + 1.0
            };
            let from = sums.into_iter().find(rounds_up);
            (whole as i16, from.unwrap_or(NEVER))
        };
        Self {
            steps: (-255..=255).map(step).collect(),
        }
    }
}

impl Preset {
    /// What a network sees of a photo as drawn, ready for an adapter. A part that takes more than `most` bytes, there or
    /// between the passes, is resized here; where operations lead too far out of the picture for an adapter's numbers,
    /// all is done here.
    pub fn stage(&self, image: &RgbImage, drawn: &Drawn, most: usize) -> Staged {
        let photo = [image.width(), image.height()];
        let seen = Placement::new(self, photo, &drawn.view);
        let Some(deeds) = deeds(&drawn.operations, seen.size) else {
            return Staged::of(self.drawn_pixels(image, drawn), Vec::new());
        };
        let (left, columns) = Pass::new(seen.columns, self.interpolation, false);
        let (top, rows) = Pass::new(seen.rows, self.interpolation, true);
        let part = [columns.extent, rows.extent];
        let passes = match seen.is_vertical_first() {
            true => [rows, columns],
            false => [columns, rows],
        };
        let pixels = |[width, height]: [u32; 2]| width as usize * height as usize;
        if 3 * pixels(part) > most || 4 * pixels(between(part, &passes[0])) > most {
            return Staged::of(self.view_pixels(image, &drawn.view), deeds);
        }
        let row = 3 * photo[0] as usize;
        let taken = 3 * left as usize..3 * (left + part[0]) as usize;
        let rows_of_photo = image.pixels().chunks_exact(row);
        let rows_of_part = rows_of_photo.skip(top as usize).take(part[1] as usize);
        Staged {
            part,
            pixels: rows_of_part
                .flat_map(|row| &row[taken.clone()])
                .copied()
                .collect(),
            passes,
            size: seen.size,
            before: seen.before,
            mirror: seen.mirror,
            grey: self.grey,
            deeds,
        }
    }
}

impl Staged {
    /// A picture, and what is still to be done to it.
    pub fn of(picture: RgbImage, deeds: Vec<Deed>) -> Self {
        let size = [picture.width(), picture.height()];
        Self {
            part: size,
            pixels: picture.into_pixels(),
            passes: [Pass::nothing(size[0], false), Pass::nothing(size[1], true)],
            size,
            before: [0; 2],
            mirror: false,
            grey: false,
            deeds,
        }
    }

    /// Width and height of what lies between the two passes.
    pub fn between(&self) -> [u32; 2] {
        between(self.part, &self.passes[0])
    }
}

/// What the first pass makes of a part of this width and height.
fn between([width, height]: [u32; 2], first: &Pass) -> [u32; 2] {
    let made = first.starts.len() as u32;
    match first.is_down {
        true => [width, made],
        false => [made, height],
    }
}

/// Operations on a picture of this size; `None` if one leads too far away.
fn deeds(operations: &[Operation], size: [u32; 2]) -> Option<Vec<Deed>> {
    let mut deeds = Vec::with_capacity(operations.len());
    for operation in operations {
        deeds.extend(deed(operation, size)?);
    }
    Some(deeds)
}

/// An operation on a picture of this size: nothing if it changes nothing, `None` if it leads too far away.
fn deed(operation: &Operation, size: [u32; 2]) -> Option<Option<Deed>> {
    let through = |change: &dyn Fn(&mut [u8])| {
        let mut table = std::array::from_fn(|value| value as u8);
        change(&mut table);
        Deed::Through(table)
    };
    let blend = |with, factor: f64| Deed::Blend(with, Blend::new(factor as f32));
    let walk = |from: &dyn Fn(u32, u32) -> [u32; 2], colour| Deed::Walk {
        walk: Walk::of_pixels(size, from),
        colour,
    };
    let [width, height] = size;
    Some(Some(match *operation {
        Operation::Flip => walk(&|x, y| [width - 1 - x, y], [0; 3]),
        Operation::FlipVertical => walk(&|x, y| [x, height - 1 - y], [0; 3]),
        Operation::Brightness(factor) => through(&|table| {
            let each = table.iter_mut();
            each.for_each(|value| *value = blended(0, *value, factor as f32));
        }),
        Operation::Contrast(factor) => blend(Partner::Mean, factor),
        Operation::Saturation(factor) => blend(Partner::Luminance, factor),
        // Smaller ones have nothing but edges.
        Operation::Sharpness(_) if width < 3 || height < 3 => return Some(None),
        Operation::Sharpness(factor) => blend(Partner::Smooth, factor),
        Operation::Hue(shift) => Deed::Hue {
            steps: hue::steps(shift),
            missed: hue::missed(),
        },
        Operation::Grey => Deed::Grey,
        Operation::Invert => through(&|table| tones::invert(table)),
        Operation::Posterize(bits) => through(&|table| tones::posterize(table, bits)),
        Operation::Solarize(threshold) => through(&|table| tones::solarize(table, threshold)),
        Operation::Equalize => Deed::Equalize,
        Operation::AutoContrast => Deed::AutoContrast,
        Operation::Rotate { fill, .. }
        | Operation::Affine { fill, .. }
        | Operation::Perspective { fill, .. } => match operation.way(size) {
            Way::Still => return Some(None),
            Way::Quarters(quarters) => {
                let from = |x, y| from_quarters(quarters, size, [x, y]);
                walk(&from, fill.colour)
            }
            Way::By(Map::Affine(map)) if fill.filter == Filter::Nearest => Deed::Walk {
                walk: Walk::new(&map, size)?,
                colour: fill.colour,
            },
            Way::By(map) => warped(&map, size, fill)?,
        },
        Operation::Erase { area, colour } => {
            let [columns, rows] = erased(size, area);
            Deed::Erase {
                edges: [columns.start, rows.start, columns.end, rows.end],
                colour,
            }
        }
    }))
}

fn warped(map: &Map, [width, height]: [u32; 2], fill: Fill) -> Option<Deed> {
    let (factors, plus, has_depth) = match *map {
        Map::Affine([a, b, c, d, e, f]) => ([[a, b], [d, e], [0.0; 2]], [c, f, 1.0], false),
        Map::Perspective([a, b, c, d, e, f, g, h]) => ([[a, b], [d, e], [g, h]], [c, f, 1.0], true),
    };
    let along = |axis: usize, side: u32| -> Vec<[f64; 3]> {
        let middle = |at: u32| f64::from(at) + 0.5;
        (0..side)
            .map(|at| factors.map(|factor| factor[axis] * middle(at)))
            .collect()
    };
    let (columns, rows) = (along(0, width), along(1, height));
    let all = columns.iter().chain(&rows).chain([&plus]).flatten();
    let is_finite = all.copied().all(f64::is_finite);
    is_finite.then_some(Deed::Warp {
        columns,
        rows,
        plus,
        has_depth,
        fill,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn steps_blend_all_bytes_as_pillows_floats_do() {
        let mut random = Random::new(9);
        let drawn = (0..40).map(|_| 4.0 * random.uniform());
        let special = [
            0.0,
            1e-40,
            1e-9,
            0.1,
            0.5,
            1.0,
            1.1,
            2.0,
            3e38,
            f32::INFINITY,
        ];
        for factor in drawn.chain(special) {
            let blend = Blend::new(factor);
            for from in 0..=255_u8 {
                for to in 0..=255_u8 {
                    let (step, up) = blend.steps[255 + usize::from(to) - usize::from(from)];
                    let sum = i16::from(from) + step;
                    let sum = sum + i16::from(sum >= up.cast_signed());
                    let expected = blended(from, to, factor);
                    assert_eq!(
                        sum.clamp(0, 255),
                        i16::from(expected),
                        "{factor} {from} {to}"
                    );
                }
            }
        }
    }

    #[test]
    fn parts_that_take_too_much_are_resized_before() {
        let preset = Preset::IMAGENET.with_size(32).unwrap();
        let photo = RgbImage::new(90, 60, vec![7; 3 * 90 * 60]).unwrap();
        let drawn = Drawn::of(crate::preprocess::View::Plain);
        let staged = preset.stage(&photo, &drawn, 3 * 90 * 60);
        // The middle of the photo, and what the filter reaches of what lies beside it.
        assert!(
            staged.part[0] > 50 && staged.part[0] < 90,
            "{:?}",
            staged.part
        );
        assert_eq!(
            staged.pixels.len() as u32,
            3 * staged.part[0] * staged.part[1]
        );
        let seen = preset.crop_pixels(&photo);
        assert_eq!(
            preset.stage(&photo, &drawn, 4000),
            Staged::of(seen, Vec::new())
        );
    }
}
