//! Pooling.

#![allow(unsafe_code)] // Loads and stores through pointers.

use std::ops::Range;

use macerator::{Simd, WithSimd};

use crate::simd::{Floats, Level, larger, load, load_some, splat, store, store_some};
use crate::threads::{Output, chunk, chunks, parallel};
use crate::view::{View, ViewMut};

/// The windows of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Pixels from one window to the next, down and across.
    pub stride: [usize; 2],
    /// Rows above and columns to the left of the map, and as many on the other sides.
    pub padding: [usize; 2],
}

/// A region of a map and what its sum or maximum is multiplied by.
struct Region {
    map: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    scale: f32,
}

/// Reduces a region to one pixel.
struct Reduce<'a> {
    maximum: bool,
    input: &'a View<'a>,
    region: Region,
    output: *mut f32,
}

/// Vectors reduced side by side.
const TOGETHER: usize = 4;

impl Reduce<'_> {
    #[inline(always)]
    fn pixels<S: Simd, const VECTORS: usize, const MAXIMUM: bool>(
        &self,
        channel: usize,
        count: usize,
    ) {
        let lanes = S::lanes32();
        let whole = count == VECTORS * lanes;
        let first = if MAXIMUM { f32::NEG_INFINITY } else { 0.0 };
        let mut sums: [Floats<S>; VECTORS] = [splat::<S>(first); VECTORS];
        let Region {
            map,
            rows,
            columns,
            scale,
        } = &self.region;
        for row in rows.clone() {
            let line = (map * self.input.rows + row) * self.input.columns;
            for column in columns.clone() {
                // SAFETY: regions lie within the maps.
                unsafe {
                    let from = (self.input.data.as_ptr())
                        .add((line + column) * self.input.pitch + channel);
                    for (v, sum) in sums.iter_mut().enumerate() {
                        let value = if whole {
                            load::<S>(from.add(v * lanes))
                        } else {
                            load_some::<S>(from, count)
                        };
                        *sum = if MAXIMUM {
                            larger(*sum, value)
                        } else {
                            *sum + value
                        };
                    }
                }
            }
        }
        for (v, sum) in sums.iter().enumerate() {
            let value = if MAXIMUM { *sum } else { *sum * splat(*scale) };
            // SAFETY: the pixel is this region's.
            unsafe {
                let to = self.output.add(channel + v * lanes);
                if whole {
                    store(to, value);
                } else {
                    store_some(to, value, count);
                }
            }
        }
    }

    #[inline(always)]
    fn all<S: Simd, const MAXIMUM: bool>(&self) {
        let lanes = S::lanes32();
        let channels = self.input.channels;
        let mut channel = 0;
        while channel + TOGETHER * lanes <= channels {
            self.pixels::<S, TOGETHER, MAXIMUM>(channel, TOGETHER * lanes);
            channel += TOGETHER * lanes;
        }
        while channel < channels {
            let count = lanes.min(channels - channel);
            self.pixels::<S, 1, MAXIMUM>(channel, count);
            channel += count;
        }
    }
}

impl WithSimd for Reduce<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        if self.maximum {
            self.all::<S, true>();
        } else {
            self.all::<S, false>();
        }
    }
}

/// Reduces the region that belongs to each pixel of the output.
fn reduce(
    maximum: bool,
    input: View<'_>,
    output: ViewMut<'_>,
    cost: usize,
    region: impl Fn(usize, usize) -> (Range<usize>, Range<usize>, f32) + Sync,
) {
    input.check();
    output.check();
    assert_eq!(input.batch, output.batch, "maps of input and output");
    assert_eq!(
        input.channels, output.channels,
        "channels of input and output"
    );
    let level = Level::best();
    let pixels = output.pixels();
    let (rows, columns, pitch) = (output.rows, output.columns, output.pitch);
    let to = Output::new(output.data);
    let count = chunks(pixels, pixels * input.channels * cost);
    parallel(count, |index| {
        for pixel in chunk(pixels, 1, index, count) {
            let line = pixel / columns;
            let (from_rows, from_columns, scale) = region(line % rows, pixel % columns);
            level.run(Reduce {
                maximum,
                input: &input,
                region: Region {
                    map: line / rows,
                    rows: from_rows,
                    columns: from_columns,
                    scale,
                },
                output: to.at(pixel * pitch),
            });
        }
    });
}

impl Pool {
    /// Where window `at` begins and ends on an axis, and how far it would reach with the padding.
    pub(crate) fn window(&self, axis: usize, at: usize, size: usize) -> (Range<usize>, usize) {
        let padding = self.padding[axis];
        let start = at * self.stride[axis];
        let end = (start + self.kernel[axis]).min(size + 2 * padding);
        let counted = end.saturating_sub(start);
        let inside = |at: usize| at.saturating_sub(padding).min(size);
        (inside(start)..inside(end), counted)
    }
}

/// The largest of each window; padding never wins. The output's size says how many windows there are.
///
/// # Panics
/// If the shapes do not fit together.
pub fn max_pool(pool: &Pool, input: View<'_>, output: ViewMut<'_>) {
    let cost = pool.kernel[0] * pool.kernel[1];
    reduce(true, input, output, cost, |y, x| {
        let (rows, _) = pool.window(0, y, input.rows);
        let (columns, _) = pool.window(1, x, input.columns);
        (rows, columns, 1.0)
    });
}

/// The mean of each window. Padding counts as zeros; what hangs over its far edge does not count.
///
/// # Panics
/// If the shapes do not fit together.
pub fn avg_pool(pool: &Pool, input: View<'_>, output: ViewMut<'_>) {
    let cost = pool.kernel[0] * pool.kernel[1];
    reduce(false, input, output, cost, |y, x| {
        let (rows, high) = pool.window(0, y, input.rows);
        let (columns, wide) = pool.window(1, x, input.columns);
        (rows, columns, 1.0 / (high * wide) as f32)
    });
}

/// Means of regions as equal as they can be: PyTorch's.
///
/// # Panics
/// If the shapes do not fit together.
pub fn adaptive_avg_pool(input: View<'_>, output: ViewMut<'_>) {
    let (out_rows, out_columns) = (output.rows, output.columns);
    let area = input.rows * input.columns;
    if out_rows * out_columns == 1 {
        return global_mean(input, output);
    }
    let cost = area.div_ceil((out_rows * out_columns).max(1));
    reduce(false, input, output, cost, |y, x| {
        let rows = adaptive_bounds(y, input.rows, out_rows);
        let columns = adaptive_bounds(x, input.columns, out_columns);
        let scale = 1.0 / (rows.len() * columns.len()) as f32;
        (rows, columns, scale)
    });
}

/// Where region `at` of `count` begins and ends on an axis.
pub(crate) fn adaptive_bounds(at: usize, size: usize, count: usize) -> Range<usize> {
    at * size / count..((at + 1) * size).div_ceil(count)
}

/// Means over whole maps: divided by channels, as there may be one map only.
fn global_mean(input: View<'_>, output: ViewMut<'_>) {
    /// Channels in the smallest share.
    const UNIT: usize = 64;
    input.check();
    output.check();
    assert_eq!(input.batch, output.batch, "maps of input and output");
    assert_eq!(
        input.channels, output.channels,
        "channels of input and output"
    );
    let level = Level::best();
    let area = input.rows * input.columns;
    let parts = input.channels.div_ceil(UNIT);
    let pieces = input.batch * parts;
    let pitch = output.pitch;
    let to = Output::new(output.data);
    let count = chunks(pieces, pieces * UNIT * area);
    parallel(count, |index| {
        for piece in chunk(pieces, 1, index, count) {
            let (map, part) = (piece / parts, piece % parts);
            let channels = part * UNIT..((part + 1) * UNIT).min(input.channels);
            let some = input.slice_channels(channels.clone());
            level.run(Reduce {
                maximum: false,
                input: &some,
                region: Region {
                    map,
                    rows: 0..input.rows,
                    columns: 0..input.columns,
                    scale: 1.0 / area as f32,
                },
                output: to.at(map * pitch + channels.start),
            });
        }
    });
}
