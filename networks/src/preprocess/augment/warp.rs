//! Pictures turned, sheared, moved and tilted: Pillow's `Image.transform`, to the bit.
//!
//! A map says for every pixel of the result where in the picture it comes from. What comes from outside the picture
//! has the colour that fills up.

use serde::{Deserialize, Serialize};

use crate::image::RgbImage;

/// How a value between pixels is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The pixel that the place lies in.
    Nearest,
    /// The four pixels around the place, by how near they are.
    #[default]
    Bilinear,
}

/// What fills up, and how values between pixels are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// How a value between pixels is found.
    pub filter: Filter,
    /// The colour of what comes from outside the picture.
    pub colour: [u8; 3],
}

/// From a pixel's place in the result to its place in the picture, in pixels from the upper left corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Map {
    /// `x' = m[0]·x + m[1]·y + m[2]`, `y' = m[3]·x + m[4]·y + m[5]`.
    Affine([f64; 6]),
    /// The same, both divided by `m[6]·x + m[7]·y + 1`.
    Perspective([f64; 8]),
}

/// The picture that the map makes of this one.
pub(super) fn warp(image: &RgbImage, map: &Map, fill: Fill) -> RgbImage {
    let source = Source::new(image);
    let size = [image.width(), image.height()];
    let pixels = match (map, fill.filter) {
        (Map::Affine(map), Filter::Nearest) => source.nearest_affine(map, fill.colour),
        (Map::Affine(map), Filter::Bilinear) => source.bilinear(affine(map), fill.colour),
        (Map::Perspective(map), Filter::Nearest) => {
            source.each(|x, y| source.nearest(perspective(map)(x, y)), fill.colour)
        }
        (Map::Perspective(map), Filter::Bilinear) => source.bilinear(perspective(map), fill.colour),
    };
    RgbImage::of_size(size, pixels)
}

/// Where the middle of a pixel comes from.
fn affine(map: &[f64; 6]) -> impl Fn(u32, u32) -> [f64; 2] {
    let [a, b, c, d, e, f] = *map;
    move |x, y| {
        let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
        [a * x + b * y + c, d * x + e * y + f]
    }
}

fn perspective(map: &[f64; 8]) -> impl Fn(u32, u32) -> [f64; 2] {
    let [a, b, c, d, e, f, g, h] = *map;
    move |x, y| {
        let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
        let depth = g * x + h * y + 1.0;
        [(a * x + b * y + c) / depth, (d * x + e * y + f) / depth]
    }
}

/// The picture that pixels are taken from.
struct Source<'a> {
    pixels: &'a [[u8; 3]],
    width: u32,
    height: u32,
}

impl<'a> Source<'a> {
    fn new(image: &'a RgbImage) -> Self {
        let (pixels, _) = image.pixels().as_chunks();
        Self {
            pixels,
            width: image.width(),
            height: image.height(),
        }
    }

    /// A picture of the same size, pixel by pixel; `None` is filled up.
    fn each(&self, at: impl Fn(u32, u32) -> Option<[u8; 3]>, colour: [u8; 3]) -> Vec<u8> {
        let mut pixels = vec![0; self.pixels.len() * 3];
        let (targets, _) = pixels.as_chunks_mut::<3>();
        for (y, row) in (0..).zip(targets.chunks_exact_mut(self.width as usize)) {
            for (x, target) in (0..).zip(row) {
                *target = at(x, y).unwrap_or(colour);
            }
        }
        pixels
    }

    /// The pixel in this column and row, if there is one.
    fn at(&self, x: i64, y: i64) -> Option<[u8; 3]> {
        let inside = |place: i64, side: u32| (0..i64::from(side)).contains(&place);
        let place = || y as usize * self.width as usize + x as usize;
        (inside(x, self.width) && inside(y, self.height)).then(|| self.pixels[place()])
    }

    /// The pixel that a place lies in, if it lies in the picture.
    fn nearest(&self, [x, y]: [f64; 2]) -> Option<[u8; 3]> {
        self.at(whole(x), whole(y))
    }

    /// Pillow's `bilinear_filter32RGB` for every pixel.
    fn bilinear(&self, from: impl Fn(u32, u32) -> [f64; 2], colour: [u8; 3]) -> Vec<u8> {
        let (width, height) = (f64::from(self.width), f64::from(self.height));
        // The two pixels beside a place, inside the picture, and how far it is from the first.
        let beside = |place: f64, side: u32| {
            let place = place - 0.5;
            let first = if place < 0.0 { -1 } else { place as i32 };
            let share = place - f64::from(first);
            let second = (first + 1).min(side as i32 - 1);
            (first.max(0) as usize, second as usize, share)
        };
        let at = |x, y| {
            let [x, y] = from(x, y);
            // Not a number lies nowhere.
            if !(x >= 0.0 && x < width && y >= 0.0 && y < height) {
                return None;
            }
            let (left, right, across) = beside(x, self.width);
            let (above, below, down) = beside(y, self.height);
            let [above, below] = [above, below].map(|row| row * self.width as usize);
            let corners = [above + left, above + right, below + left, below + right];
            let [a, b, c, d] = corners.map(|place| self.pixels[place].map(f64::from));
            Some(std::array::from_fn(|channel| {
                let upper = a[channel] + (b[channel] - a[channel]) * across;
                let lower = c[channel] + (d[channel] - c[channel]) * across;
                (upper + (lower - upper) * down) as u8
            }))
        };
        self.each(at, colour)
    }

    /// Pillow's `ImagingTransformAffine`, which adds up places in one of three ways.
    fn nearest_affine(&self, map: &[f64; 6], colour: [u8; 3]) -> Vec<u8> {
        if let Some(walk) = Walk::new(map, [self.width, self.height]) {
            let at = |x: u32, y: u32| {
                let [x, y] = walk.at(x, y);
                self.at(x.into(), y.into())
            };
            return self.each(at, colour);
        }
        let [a, b, c, d, e, f] = *map;
        let mut pixels = Vec::with_capacity(self.pixels.len() * 3);
        let mut start = [c + b * 0.5 + a * 0.5, f + e * 0.5 + d * 0.5];
        for _ in 0..self.height {
            let mut place = start;
            for _ in 0..self.width {
                pixels.extend_from_slice(&self.nearest(place).unwrap_or(colour));
                place = [place[0] + a, place[1] + d];
            }
            start = [start[0] + b, start[1] + e];
        }
        pixels
    }
}

/// Places in a picture as sums of a column's and a row's part, in whole numbers: 16 bits before the point, 16 behind
/// it. Sums wrap around, as Pillow's do.
#[derive(Debug, Clone, PartialEq)]
pub struct Walk {
    /// Each column's part of x and y.
    pub columns: Vec<[i32; 2]>,
    /// Each row's part of x and y.
    pub rows: Vec<[i32; 2]>,
}

impl Walk {
    /// The two of Pillow's ways to walk through a picture of this size that such sums can say; `None` for maps that
    /// lead too far away.
    pub(super) fn new(map: &[f64; 6], size: [u32; 2]) -> Option<Self> {
        let [a, b, c, d, e, f] = *map;
        let [width, height] = size;
        if b == 0.0 && d == 0.0 {
            // What lies outside may as well lie just outside.
            let clamped = |places: Vec<i64>, side: u32| {
                let places = places.into_iter();
                places.map(move |place| (place.clamp(-1, side.into()) as i32) << 16)
            };
            let columns = clamped(steps(c + a * 0.5, a, width), width);
            let rows = clamped(steps(f + e * 0.5, e, height), height);
            return Some(Self {
                columns: columns.map(|x| [x, 0]).collect(),
                rows: rows.map(|y| [0, y]).collect(),
            });
        }
        let corners = [[0, 0], [0, height], [width, 0], [width, height]];
        let small = corners.into_iter().all(|corner| {
            let [x, y] = corner.map(f64::from);
            (x * a + y * b + c).abs() < 32_768.0 && (x * d + y * e + f).abs() < 32_768.0
        });
        if !small {
            return None;
        }
        let fixed = |value: f64| (value * 65_536.0 + 0.5).floor() as i32;
        let [right, down] = [[a, d], [b, e]].map(|step| step.map(fixed));
        let start = [c + a * 0.5 + b * 0.5, f + d * 0.5 + e * 0.5].map(fixed);
        let times = |step: [i32; 2], count: u32| step.map(|step| step.wrapping_mul(count as i32));
        let from_start = |moved: [i32; 2]| [0, 1].map(|axis| start[axis].wrapping_add(moved[axis]));
        Some(Self {
            columns: (0..width).map(|x| times(right, x)).collect(),
            rows: (0..height).map(|y| from_start(times(down, y))).collect(),
        })
    }

    /// The walk of pixels that come from other pixels, where these are sums of a column's and a row's part.
    pub(super) fn of_pixels(
        [width, height]: [u32; 2],
        from: &dyn Fn(u32, u32) -> [u32; 2],
    ) -> Self {
        let fixed = |x, y| from(x, y).map(|place| place.cast_signed() << 16);
        let first = fixed(0, 0);
        let beside = |place: [i32; 2]| [0, 1].map(|axis: usize| place[axis] - first[axis]);
        Self {
            columns: (0..width).map(|x| beside(fixed(x, 0))).collect(),
            rows: (0..height).map(|y| fixed(0, y)).collect(),
        }
    }

    /// The pixel that comes to a place.
    fn at(&self, x: u32, y: u32) -> [i32; 2] {
        let (column, row) = (self.columns[x as usize], self.rows[y as usize]);
        [0, 1].map(|axis: usize| column[axis].wrapping_add(row[axis]) >> 16)
    }
}

/// The pixel that a place along one side lies in; −1 before the first.
fn whole(place: f64) -> i64 {
    match place < 0.0 {
        true => -1,
        false => place as i64,
    }
}

/// The pixels along one side, a step apart, added up one by one as Pillow does it.
fn steps(start: f64, step: f64, count: u32) -> Vec<i64> {
    let places = std::iter::successors(Some(start), |place| Some(place + step));
    places.take(count as usize).map(whole).collect()
}
