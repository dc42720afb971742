//! Rotation, affine and perspective maps, as torchvision and Pillow compute their numbers.

use super::warp::{Fill, Map, warp};
use crate::image::RgbImage;

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

/// torchvision's `rotate`: counter-clockwise about the middle, by so many degrees.
pub(super) fn rotate(image: &RgbImage, angle: f64, fill: Fill) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let angle = angle.rem_euclid(360.0);
    // What needs no arithmetic, Pillow does without any.
    if angle == 0.0 {
        return image.clone();
    }
    if angle == 180.0 {
        return moved(image, |x, y| (width - 1 - x, height - 1 - y));
    }
    if angle == 90.0 && width == height {
        return moved(image, |x, y| (width - 1 - y, x));
    }
    if angle == 270.0 && width == height {
        return moved(image, |x, y| (y, height - 1 - x));
    }

    let angle = -angle.to_radians();
    let [cos, sin] = [angle.cos(), angle.sin()].map(to_15_places);
    let (x, y) = (
        f64::from(image.width()) / 2.0,
        f64::from(image.height()) / 2.0,
    );
    let map = [
        cos,
        sin,
        cos * -x + sin * -y + 0.0 + x,
        -sin,
        cos,
        -sin * -x + cos * -y + 0.0 + y,
    ];
    warp(image, &Map::Affine(map), fill)
}

/// torchvision's `affine`.
pub(super) fn affine(image: &RgbImage, affine: Affine, fill: Fill) -> RgbImage {
    warp(image, &Map::Affine(inverse(image, affine)), fill)
}

/// torchvision's `perspective`: the four corners `from` (upper left, upper right, lower right, lower left) are moved
/// to the corners `to`. Corners that make no map (three of them in a line) leave the picture as it is.
pub(super) fn perspective(
    image: &RgbImage,
    from: [[i32; 2]; 4],
    to: [[i32; 2]; 4],
    fill: Fill,
) -> RgbImage {
    match coefficients(from, to) {
        Some(map) => warp(image, &Map::Perspective(map), fill),
        None => image.clone(),
    }
}

/// A picture whose pixels come from these places.
fn moved(image: &RgbImage, from: impl Fn(usize, usize) -> (usize, usize)) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (each, _) = image.pixels().as_chunks::<3>();
    let mut pixels = Vec::with_capacity(image.pixels().len());
    for y in 0..height {
        for x in 0..width {
            let (x, y) = from(x, y);
            pixels.extend_from_slice(&each[y * width + x]);
        }
    }
    RgbImage::of_size([image.width(), image.height()], pixels)
}

/// Rounded to 15 places behind the point, as Python's `round` does it: exactly, in decimal.
fn to_15_places(value: f64) -> f64 {
    format!("{value:.15}").parse().unwrap_or(value)
}

/// torchvision's `_get_inverse_affine_matrix`.
fn inverse(image: &RgbImage, affine: Affine) -> [f64; 6] {
    let angle = affine.angle.to_radians();
    let [shear_x, shear_y] = affine.shear.map(f64::to_radians);
    let middle = [image.width(), image.height()].map(|side| f64::from(side) * 0.5);
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
