//! Depthwise transposed convolutions of stride two across, which the gradients of ordinary ones are: every channel by
//! itself, a vector of channels at a time.
//!
//! Both phases of a line are computed together, so that what is read of the input serves both, and each output is
//! written once and in its place.

#![allow(unsafe_code)] // Loads and stores through pointers.

use macerator::{Simd, WithSimd};

use crate::activation::{Activation, apply_in_place};
use crate::depthwise::{Depthwise, pack};
use crate::geometry::{ConvGeometry, Filters, Weights};
use crate::simd::{Level, first_channel, load, splat, store, within};
use crate::threads::{Output, chunk, chunks, parallel};
use crate::view::{View, ViewMut};

/// Outputs from one input pixel to the next.
const STRIDE: usize = 2;

/// Pairs of outputs computed side by side.
const PAIRS: usize = 4;

/// Packed weights of such a convolution.
#[derive(Debug)]
pub(crate) struct DepthwiseTransposed {
    level: Level,
    geometry: ConvGeometry,
    /// `[taps][channels]`
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// A row of taps and the line of the input that it meets.
struct Row {
    weights: *const f32,
    input: *const f32,
}

/// What a line of outputs is made of.
struct Line<'a> {
    layer: &'a DepthwiseTransposed,
    rows: &'a [Row],
    /// Pixels of a line of the input, and from one to the next.
    in_columns: usize,
    in_pitch: usize,
    /// The first of the line's pixels, or null.
    residual: *const f32,
    residual_pitch: usize,
    output: *mut f32,
    columns: usize,
    pitch: usize,
    low: f32,
    high: f32,
}

impl DepthwiseTransposed {
    /// Whether there is code for a convolution.
    pub(crate) fn suits(level: Level, geometry: &ConvGeometry) -> bool {
        // A page's code is to be small, and by phases it comes to the same.
        !cfg!(target_family = "wasm")
            && Depthwise::suits(geometry)
            && geometry.output >= level.lanes()
            && geometry.stride[1] == STRIDE
            && geometry.dilation[1] == 1
            && [3, 5].contains(&geometry.kernel[1])
    }

    /// Packs weights `[channels, 1, kernel rows, kernel columns]`, and a bias of as many numbers as channels.
    pub(crate) fn new(
        level: Level,
        geometry: ConvGeometry,
        weights: Weights<'_>,
        bias: Vec<f32>,
    ) -> Self {
        Self {
            level,
            geometry,
            weights: pack(&geometry, &Filters::new(weights, &geometry)),
            bias,
        }
    }

    /// The convolution; the shapes have been checked.
    pub(crate) fn run(
        &self,
        input: View<'_>,
        residual: Option<View<'_>>,
        activation: Activation,
        output: ViewMut<'_>,
    ) {
        let lines = output.batch * output.rows;
        let (channels, pitch) = (self.geometry.output, output.pitch);
        let (out_rows, columns) = (output.rows, output.columns);
        let bounds = activation.bounds();
        let (low, high) = bounds.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let to = Output::new(output.data);
        let cost = input.pixels() * self.geometry.taps() + lines * columns;
        let count = chunks(lines, cost * channels);
        parallel(count, |index| {
            let mut rows = Vec::with_capacity(self.geometry.kernel[0]);
            for line in chunk(lines, 1, index, count) {
                self.rows(&input, line / out_rows, line % out_rows, &mut rows);
                let output = to.at(line * columns * pitch);
                self.level.run(Line {
                    layer: self,
                    rows: &rows,
                    in_columns: input.columns,
                    in_pitch: input.pitch,
                    residual: residual.map_or(std::ptr::null(), |residual| {
                        residual.data[line * columns * residual.pitch..].as_ptr()
                    }),
                    residual_pitch: residual.map_or(0, |residual| residual.pitch),
                    output,
                    columns,
                    pitch,
                    low,
                    high,
                });
                if bounds.is_none() {
                    // SAFETY: the line that was just written.
                    unsafe {
                        apply_in_place(self.level, activation, output, pitch, columns, channels);
                    }
                }
            }
        });
    }

    /// Finds the rows of taps that meet a line of a map's outputs.
    fn rows(&self, input: &View<'_>, map: usize, y: usize, rows: &mut Vec<Row>) {
        let [height, width] = self.geometry.kernel;
        rows.clear();
        for tap in 0..height {
            let reach = tap * self.geometry.dilation[0];
            let Some(from) = (y + self.geometry.padding[0]).checked_sub(reach) else {
                break;
            };
            let line = from / self.geometry.stride[0];
            if from % self.geometry.stride[0] == 0 && line < input.rows {
                let pixel = (map * input.rows + line) * input.columns;
                rows.push(Row {
                    weights: self.weights[tap * width * self.geometry.output..].as_ptr(),
                    input: input.data[pixel * input.pitch..].as_ptr(),
                });
            }
        }
    }
}

impl WithSimd for Line<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        match self.layer.geometry.kernel[1] {
            3 => self.line::<S, 3>(),
            _ => self.line::<S, 5>(),
        }
    }
}

impl Line<'_> {
    #[inline(always)]
    fn line<S: Simd, const WIDTH: usize>(&self) {
        let padding = self.layer.geometry.padding[1];
        let channels = self.layer.geometry.output;
        // Outputs are counted with the padding, so that each pair begins where an input pixel's window does.
        let last = (padding + self.columns - 1) / STRIDE;
        for pair in (padding / STRIDE..=last).step_by(PAIRS) {
            for vector in 0..channels.div_ceil(S::lanes32()) {
                let channel = first_channel(vector, channels, S::lanes32());
                // SAFETY: what is read are taps and pixels of the input; the line is written by this call alone.
                unsafe { self.pairs::<S, WIDTH>(pair, channel) };
            }
        }
    }

    /// Pairs of outputs from one on.
    ///
    /// # Safety
    /// A vector's channels must be there, and the line for nobody else to write.
    #[inline(always)]
    unsafe fn pairs<S: Simd, const WIDTH: usize>(&self, pair: usize, channel: usize) {
        // Pixels of the input before the first pair whose windows reach it.
        let before = (WIDTH - 1) / STRIDE;
        let channels = self.layer.geometry.output;
        let low = splat::<S>(self.low);
        let high = splat::<S>(self.high);
        // SAFETY: the caller's; pixels outside the maps are passed over.
        unsafe {
            let bias = load::<S>(self.layer.bias.as_ptr().add(channel));
            let mut sums = [[bias; STRIDE]; PAIRS];
            for row in self.rows {
                let mut taps = [bias; WIDTH];
                for (t, tap) in taps.iter_mut().enumerate() {
                    *tap = load::<S>(row.weights.add(t * channels + channel));
                }
                for at in 0..PAIRS + before {
                    let pixel = (pair + at).wrapping_sub(before);
                    if pixel >= self.in_columns {
                        continue;
                    }
                    let value = load::<S>(row.input.add(pixel * self.in_pitch + channel));
                    for (p, pair) in sums.iter_mut().enumerate() {
                        if p + before >= at && (p + before - at) * STRIDE < WIDTH {
                            let tap = (p + before - at) * STRIDE;
                            pair[0] = value.mul_add(taps[tap], pair[0]);
                            if tap + 1 < WIDTH {
                                pair[1] = value.mul_add(taps[tap + 1], pair[1]);
                            }
                        }
                    }
                }
            }
            let first = pair * STRIDE;
            for (at, sum) in sums.iter().flatten().enumerate() {
                let column = (first + at).wrapping_sub(self.layer.geometry.padding[1]);
                if column >= self.columns {
                    continue;
                }
                let mut sum = *sum;
                if !self.residual.is_null() {
                    let residual = self.residual.add(column * self.residual_pitch + channel);
                    sum += load::<S>(residual);
                }
                let to = self.output.add(column * self.pitch + channel);
                store(to, within(sum, low, high));
            }
        }
    }
}
