//! Pillow's antialiased resize, bit for bit, computed only where it is looked at.
//!
//! Networks learned from photos that torchvision shrank with Pillow, so its arithmetic is part of
//! every pretrained weight: a separable convolution whose filter widens with the shrink factor
//! (`ImagingResample` in Pillow's `src/libImaging/Resample.c`), with 22-bit fixed-point weights and
//! an 8-bit picture between the two passes. Rounding and order show: overshoot of the bicubic
//! filter is clipped between the passes, so a resizer that takes them in another order, or has
//! 16-bit weights, differs at hard edges by more than a level.
//!
//! Only a window of the resized picture is ever computed, so a 65 535×1 photo enlarged to 224
//! pixels of height costs no more than the square the network sees of it.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::image::RgbImage;

/// The filter with which photos are resized. Both widen when shrinking, so neither aliases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Triangle filter, what torchvision's weights were mostly trained with.
    Bilinear,
    /// Catmull–Rom filter (Keys' cubic convolution with a = −1/2), sharper, usual in timm.
    Bicubic,
}

/// Fraction bits of a fixed-point weight: 32, less 8 for the pixel and 2 for overshoot and sign.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Colour channels of a pixel.
const CHANNELS: usize = 3;

/// A run of pixels along one side of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first pixel.
    pub start: u64,
    /// How many pixels, at least 1.
    pub length: u32,
}

/// What to compute along one side: the part `source` of the photo is resized to `resized` pixels,
/// of which only those in `window` are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// The part of the photo that is seen; pixels outside it do not exist for the filter.
    pub source: Span,
    /// Length of the whole resized side, in pixels. Can be far beyond what fits into memory.
    pub resized: u64,
    /// The wanted part of the resized side.
    pub window: Span,
}

/// Resizes as Pillow does and returns the window of the result, rows from the top, three bytes per
/// pixel.
///
/// The sources of both sides must lie inside `image`, the windows inside the resized picture.
/// Working memory is one side of the window times what it needs of the photo's other side.
pub(super) fn resize(
    image: &RgbImage,
    columns: Side,
    rows: Side,
    interpolation: Interpolation,
) -> Vec<u8> {
    let horizontal = Taps::new(columns, interpolation);
    let vertical = Taps::new(rows, interpolation);
    let (first_row, row_count) = vertical.reach();
    let (first_column, column_count) = horizontal.reach();
    let stride = image.width() as usize * CHANNELS;

    if vertical_first(columns, rows) {
        let seen = first_column * CHANNELS..(first_column + column_count) * CHANNELS;
        let flat = resize_columns(image.pixels(), stride, seen, 0, &vertical);
        resize_rows(&flat, column_count * CHANNELS, first_column, &horizontal)
    } else {
        let photo = &image.pixels()[first_row * stride..][..row_count * stride];
        let narrow = resize_rows(photo, stride, 0, &horizontal);
        let row_bytes = columns.window.length as usize * CHANNELS;
        resize_columns(&narrow, row_bytes, 0..row_bytes, first_row, &vertical)
    }
}

/// Which pass goes first, as observed of Pillow 13.0: the vertical one, where it takes away more
/// than two rows for every column that the horizontal one does. Earlier versions go horizontally
/// first except on extremely tall pictures: of the others, a bilinear result differs by one level
/// at most, a bicubic one by more at hard edges.
pub(super) fn vertical_first(columns: Side, rows: Side) -> bool {
    // Sides below 2³² pixels, resized ones below 2⁴⁴: far from overflow.
    let removed = |side: Side| i64::from(side.source.length) - side.resized as i64;
    removed(rows) > 0 && removed(rows) > 2 * removed(columns)
}

/// One pass, with its weights found: what adapters do it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Whether it adds up rows, and not columns.
    pub is_down: bool,
    /// For each pixel of the result the first source pixel.
    pub starts: Vec<u32>,
    /// Weights in 22 bits behind the point, `taps` for each pixel of the result; zeros at the end where a pixel has less.
    pub weights: Vec<i32>,
    /// How many weights a pixel of the result has.
    pub taps: u32,
    /// How many source pixels there are.
    pub extent: u32,
}

impl Pass {
    /// Along one side: the pass, and the first pixel of the side that it reads. Source pixels are counted from there.
    pub(super) fn new(side: Side, interpolation: Interpolation, is_down: bool) -> (u32, Self) {
        let taps = Taps::new(side, interpolation);
        let (first, extent) = taps.reach();
        let most = taps.iter().map(|(_, weights)| weights.len()).max();
        let most = most.unwrap_or(0);
        let weights = taps.iter().flat_map(|(_, weights)| {
            let rest = std::iter::repeat_n(0, most - weights.len());
            weights.iter().copied().chain(rest)
        });
        let pass = Self {
            is_down,
            starts: taps
                .iter()
                .map(|(start, _)| (start - first) as u32)
                .collect(),
            weights: weights.collect(),
            taps: most as u32,
            extent: extent as u32,
        };
        (first as u32, pass)
    }

    /// The pass that changes nothing, along a side of so many pixels.
    pub(super) fn nothing(length: u32, is_down: bool) -> Self {
        Self {
            is_down,
            starts: (0..length).collect(),
            weights: vec![1 << PRECISION_BITS; length as usize],
            taps: 1,
            extent: length,
        }
    }
}

/// The weighted pixels behind one pixel of the result.
struct Tap {
    /// The first source pixel.
    start: usize,
    /// Where its weights lie.
    weights: Range<usize>,
}

/// Everything one pass needs: for each pixel of the window, its source pixels and their weights.
struct Taps {
    taps: Vec<Tap>,
    weights: Vec<i32>,
}

impl Taps {
    /// `precompute_coeffs` and `normalize_coeffs_8bpc` of Pillow, for the pixels of the window.
    fn new(side: Side, interpolation: Interpolation) -> Self {
        let length = side.source.length;
        let scale = f64::from(length) / side.resized as f64;
        // Shrinking widens the filter so that no source pixel is skipped: the antialiasing.
        let filter_scale = scale.max(1.0);
        let support = interpolation.support() * filter_scale;

        let mut taps = Vec::with_capacity(side.window.length as usize);
        let mut weights = Vec::new();
        let mut exact = Vec::new();
        for offset in 0..u64::from(side.window.length) {
            let center = ((side.window.start + offset) as f64 + 0.5) * scale;
            // `as` truncates and stops at the limits of u32, as Pillow's cast and clamp do.
            let first = (center - support + 0.5) as u32;
            let end = ((center + support + 0.5) as u32).min(length);

            exact.clear();
            exact.extend((first..end).map(|x| {
                interpolation.weight((f64::from(x) - center + 0.5) * (1.0 / filter_scale))
            }));
            let sum: f64 = exact.iter().sum();
            let begin = weights.len();
            weights.extend(exact.iter().map(|weight| fixed(weight / sum)));
            taps.push(Tap {
                start: side.source.start as usize + first as usize,
                weights: begin..weights.len(),
            });
        }
        // A side that keeps its length has weights of exactly 0 and 1, which pass pixels through
        // untouched, so unlike Pillow this needs no case of its own.
        Self { taps, weights }
    }

    /// First source pixel that any tap reads, and how many there are up to the last one.
    fn reach(&self) -> (usize, usize) {
        let first = self.taps.iter().map(|tap| tap.start).min().unwrap_or(0);
        let end = self
            .taps
            .iter()
            .map(|tap| tap.start + tap.weights.len())
            .max()
            .unwrap_or(0);
        (first, end - first)
    }

    /// Each pixel's first source pixel and its weights.
    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.taps
            .iter()
            .map(|tap| (tap.start, &self.weights[tap.weights.clone()]))
    }
}

/// The horizontal pass: every row becomes one of the window's width.
///
/// The rows of `pixels` are `stride` bytes long and start at the photo's column `first_column`.
fn resize_rows(pixels: &[u8], stride: usize, first_column: usize, taps: &Taps) -> Vec<u8> {
    let mut output = vec![0; pixels.len() / stride * taps.taps.len() * CHANNELS];
    let (targets, _) = output.as_chunks_mut::<CHANNELS>();
    let rows = pixels.chunks_exact(stride);
    for (row, targets) in rows.zip(targets.chunks_exact_mut(taps.taps.len())) {
        let (row, _) = row.as_chunks::<CHANNELS>();
        for ((start, weights), target) in taps.iter().zip(targets) {
            let run = &row[start - first_column..][..weights.len()];
            let (mut red, mut green, mut blue) = (HALF, HALF, HALF);
            for (pixel, &weight) in run.iter().zip(weights) {
                red += i32::from(pixel[0]) * weight;
                green += i32::from(pixel[1]) * weight;
                blue += i32::from(pixel[2]) * weight;
            }
            *target = [clip(red), clip(green), clip(blue)];
        }
    }
    output
}

/// The vertical pass, over the bytes `seen` of every row: whole rows are added up at a time.
///
/// The rows of `pixels` are `stride` bytes long and start at the photo's row `first_row`.
fn resize_columns(
    pixels: &[u8],
    stride: usize,
    seen: Range<usize>,
    first_row: usize,
    taps: &Taps,
) -> Vec<u8> {
    let mut output = Vec::with_capacity(seen.len() * taps.taps.len());
    let mut sums = vec![HALF; seen.len()];
    for (start, weights) in taps.iter() {
        sums.fill(HALF);
        let rows = pixels[(start - first_row) * stride..].chunks_exact(stride);
        for (row, weight) in rows.zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(&row[seen.clone()]) {
                *sum += i32::from(value) * weight;
            }
        }
        output.extend(sums.iter().map(|&sum| clip(sum)));
    }
    output
}

/// One half in fixed point, so that dropping the fraction rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// A weight in fixed point, rounded half away from zero as in Pillow.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << PRECISION_BITS)).round() as i32
}

/// A fixed-point sum as a byte.
fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

impl Interpolation {
    /// Half the filter's width when enlarging, in source pixels.
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    /// The filter at distance `x` from its centre.
    fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic => {
                // Keys' cubic convolution with a = −1/2 (Catmull–Rom), in Pillow's own order of
                // operations.
                const A: f64 = -0.5;
                if x < 1.0 {
                    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * A
                } else {
                    0.0
                }
            }
        }
    }
}
