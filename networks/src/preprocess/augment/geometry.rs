//! Rotation, affine and perspective maps, as torchvision and Pillow compute their numbers.

use super::warp::{Fill, Map, warp};
use crate::image::RgbImage;

/// Where the pixels of a turned picture come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
    /// They stay where they are.
    Still,
    /// From pixels, without any arithmetic: so many quarters of a circle, counter-clockwise. One and three are for
    /// squares.
    Quarters(u8),
    /// From places between pixels.
    By(Map),
}

/// A picture turned, scaled, sheared and moved about a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    /// Degrees, clockwise.
    pub(super) angle: f64,
    /// To the right and down, in pixels.
    pub(super) translate: [i32; 2],
    pub(super) scale: f64,
    /// Degrees, along both axes.
    pub(super) shear: [f64; 2],
    /// The point that stays; the middle if there is none.
    pub(super) centre: Option<[f64; 2]>,
}

impl Way {
    /// The picture that it makes of this one.
    pub(super) fn turn(&self, image: RgbImage, fill: Fill) -> RgbImage {
        match self {
            Self::Still => image,
            Self::Quarters(quarters) => quarters_turned(&image, *quarters),
            Self::By(map) => warp(&image, map, fill),
        }
    }
}

/// The pixel of a picture of this size that comes to a place when it is turned by quarters of a circle.
pub(super) fn from_quarters(quarters: u8, [width, height]: [u32; 2], [x, y]: [u32; 2]) -> [u32; 2] {
    match quarters {
        1 => [width - 1 - y, x],
        2 => [width - 1 - x, height - 1 - y],
        3 => [y, height - 1 - x],
        _ => [x, y],
    }
}

/// torchvision's `rotate`: counter-clockwise about the middle of a picture of this size, by so many degrees.
pub(super) fn rotation([width, height]: [u32; 2], angle: f64) -> Way {
    let angle = angle.rem_euclid(360.0);
    // What needs no arithmetic, Pillow does without any.
    if angle == 0.0 {
        return Way::Still;
    }
    if angle == 180.0 {
        return Way::Quarters(2);
    }
    if angle == 90.0 && width == height {
        return Way::Quarters(1);
    }
    if angle == 270.0 && width == height {
        return Way::Quarters(3);
    }

    let angle = -angle.to_radians();
    let [cos, sin] = [angle.cos(), angle.sin()].map(to_15_places);
    let (x, y) = (f64::from(width) / 2.0, f64::from(height) / 2.0);
    Way::By(Map::Affine([
        cos,
        sin,
        cos * -x + sin * -y + 0.0 + x,
        -sin,
        cos,
        -sin * -x + cos * -y + 0.0 + y,
    ]))
}

/// torchvision's `affine`, for a picture of this size.
pub(super) fn affine(size: [u32; 2], affine: Affine) -> Way {
    Way::By(Map::Affine(inverse(size, affine)))
}

/// torchvision's `perspective`: the four corners `from` (upper left, upper right, lower right, lower left) are moved
/// to the corners `to`. Corners that make no map (three of them in a line) leave the picture as it is.
pub(super) fn perspective(from: [[i32; 2]; 4], to: [[i32; 2]; 4]) -> Way {
    coefficients(from, to).map_or(Way::Still, |map| Way::By(Map::Perspective(map)))
}

fn quarters_turned(image: &RgbImage, quarters: u8) -> RgbImage {
    let size = [image.width(), image.height()];
    let (each, _) = image.pixels().as_chunks::<3>();
    let mut pixels = Vec::with_capacity(image.pixels().len());
    for y in 0..size[1] {
        for x in 0..size[0] {
            let [x, y] = from_quarters(quarters, size, [x, y]);
            pixels.extend_from_slice(&each[y as usize * size[0] as usize + x as usize]);
        }
    }
    RgbImage::of_size(size, pixels)
}

/// Rounded to 15 places behind the point, as Python's `round` does it: exactly, in decimal.
fn to_15_places(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}

/// torchvision's `_get_inverse_affine_matrix`.
fn inverse(size: [u32; 2], affine: Affine) -> [f64; 6] {
    let angle = affine.angle.to_radians();
    let [shear_x, shear_y] = affine.shear.map(f64::to_radians);
    let middle = size.map(|side| f64::from(side) * 0.5);
    let [x, y] = affine.centre.unwrap_or(middle);
    let [right, down] = affine.translate.map(f64::from);

    let a = (angle - shear_y).cos() / shear_y.cos();
    let b = -(angle - shear_y).cos() * shear_x.tan() / shear_y.cos() - angle.sin();
    let c = (angle - shear_y).sin() / shear_y.cos();
    let d = -(angle - shear_y).sin() * shear_x.tan() / shear_y.cos() + angle.cos();

    let mut map = [d, -b, 0.0, -c, a, 0.0].map(|value| value / affine.scale);
    map[2] += map[0] * (-x - right) + map[1] * (-y - down);
    map[5] += map[3] * (-x - right) + map[4] * (-y - down);
    map[2] += x;
    map[5] += y;
    map
}

/// torchvision's `_get_perspective_coeffs`: the eight numbers that lead from `to` back to `from`, in 32 bits, where
/// torchvision rounds them to.
fn coefficients(from: [[i32; 2]; 4], to: [[i32; 2]; 4]) -> Option<[f64; 8]> {
    // Each row: eight factors, and what they make.
    let mut rows = [[0.0; 9]; 8];
    for (pair, (from, to)) in rows
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .zip(from.iter().zip(to))
    {
        let [x, y] = to.map(f64::from);
        let [u, v] = from.map(f64::from);
        pair[0] = [x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, u];
        pair[1] = [0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, v];
    }
    // Gauss and Jordan, with the greatest pivot of each column.
    for column in 0..8 {
        let greatest = |a: &usize, b: &usize| {
            let [a, b] = [a, b].map(|&row| rows[row][column].abs());
            a.total_cmp(&b)
        };
        let pivot = (column..8).max_by(greatest)?;
        rows.swap(column, pivot);
        let lead = rows[column];
        if lead[column].abs() < 1e-9 {
            return None;
        }
        for (index, row) in rows.iter_mut().enumerate() {
            if index != column {
                let factor = row[column] / lead[column];
                for (value, lead) in row.iter_mut().zip(lead) {
                    *value -= factor * lead;
                }
            }
        }
    }
    Some(std::array::from_fn(|index| {
        f64::from((rows[index][8] / rows[index][index]) as f32)
    }))
}
