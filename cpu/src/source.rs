//! Maps as the taps of a convolution see them: rows of a matrix, given by pointers.

#![allow(unsafe_code)] // Pointers into the maps, and lines written in parallel.

use std::ops::Range;

use crate::geometry::ConvGeometry;
use crate::threads::{Output, chunk, chunks, parallel, with_scratch};
use crate::view::View;

/// Input channels below which whole rows of the kernel are multiplied at once.
const FEW_CHANNELS: usize = 8;

/// Whether the taps of a kernel's row are taken as one: with few channels they are neighbours in memory once the
/// maps are padded, one long tap instead of many short ones.
pub(crate) fn reads_whole_rows(geometry: &ConvGeometry) -> bool {
    geometry.groups == 1
        && geometry.input < FEW_CHANNELS
        && geometry.dilation[1] == 1
        && geometry.kernel[1] > 1
}

/// Maps as the taps see them.
pub(crate) struct Source {
    base: *const f32,
    rows: usize,
    columns: usize,
    pitch: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    output: [usize; 2],
    zeros: *const f32,
}

// SAFETY: the pointers are only read through, and outlive the parallel region.
unsafe impl Sync for Source {}

/// Neighbouring outputs of a row, as one tap sees them: some whose window lies left of the map there, some within, some
/// right of it.
pub(crate) struct Piece {
    pub(crate) before: usize,
    pub(crate) inside: usize,
    pub(crate) after: usize,
    /// The first output within.
    pub(crate) output: usize,
    /// What it reads,
    pub(crate) start: *const f32,
    /// and elements from there to what the next one reads.
    pub(crate) step: usize,
}

impl Source {
    /// Taps, row by row of the kernel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Elements of the maps for each output.
    pub(crate) fn step(&self) -> usize {
        self.stride[0] * self.stride[1] * self.pitch
    }

    /// The columns of the output whose windows lie within the map at a column of the kernel.
    fn inside(&self, tap: usize) -> Range<usize> {
        let (stride, padding) = (self.stride[1], self.padding[1]);
        let place = tap * self.dilation[1];
        let end = (self.columns + padding)
            .saturating_sub(place)
            .div_ceil(stride);
        let end = end.min(self.output[1]);
        padding.saturating_sub(place).div_ceil(stride).min(end)..end
    }

    /// Calls `each` with the pieces of some outputs, in order, as a tap sees them.
    pub(crate) fn pieces(&self, tap: usize, outputs: Range<usize>, mut each: impl FnMut(Piece)) {
        let [out_rows, out_columns] = self.output;
        let [tap_y, tap_x] = [tap / self.kernel[1], tap % self.kernel[1]];
        let inside = self.inside(tap_x);
        let shift = (tap_x * self.dilation[1]).wrapping_sub(self.padding[1]);
        let line = outputs.start / out_columns;
        let (mut map, mut y) = (line / out_rows, line % out_rows);
        let (mut output, mut from) = (outputs.start, outputs.start % out_columns);
        while output < outputs.end {
            let to = out_columns.min(from + outputs.end - output);
            let row = (y * self.stride[0] + tap_y * self.dilation[0]).wrapping_sub(self.padding[0]);
            let (first, last) = if row < self.rows {
                (inside.start.clamp(from, to), inside.end.clamp(from, to))
            } else {
                (from, from)
            };
            let column = (first * self.stride[1]).wrapping_add(shift);
            let line = (map * self.rows).wrapping_add(row);
            let pixel = line.wrapping_mul(self.columns).wrapping_add(column);
            each(Piece {
                before: first - from,
                inside: last - first,
                after: to - last,
                output: output + first - from,
                start: self.base.wrapping_add(pixel.wrapping_mul(self.pitch)),
                step: self.stride[1] * self.pitch,
            });
            output += to - from;
            from = 0;
            y += 1;
            if y == out_rows {
                (map, y) = (map + 1, 0);
            }
        }
    }

    /// Where each of some outputs' windows begins, for each tap: `[taps][outputs]`.
    pub(crate) fn pointers(&self, outputs: Range<usize>, into: &mut Vec<*const f32>) {
        into.clear();
        for tap in 0..self.taps() {
            self.pieces(tap, outputs.clone(), |piece| {
                into.extend(std::iter::repeat_n(self.zeros, piece.before));
                into.extend((0..piece.inside).map(|at| piece.start.wrapping_add(at * piece.step)));
                into.extend(std::iter::repeat_n(self.zeros, piece.after));
            });
        }
    }
}

/// Lends `work` the maps as the taps of a convolution see them whose output has so many rows and columns; there is a tap
/// for each row of the kernel only where [`reads_whole_rows`] says so. `zeros` is what is read outside the maps.
pub(crate) fn with_source(
    geometry: &ConvGeometry,
    input: View<'_>,
    output: [usize; 2],
    zeros: &[f32],
    work: impl FnOnce(&Source),
) {
    if !reads_whole_rows(geometry) {
        return work(&Source {
            base: input.data.as_ptr(),
            rows: input.rows,
            columns: input.columns,
            pitch: input.pitch,
            kernel: geometry.kernel,
            stride: geometry.stride,
            padding: geometry.padding,
            dilation: geometry.dilation,
            output,
            zeros: zeros.as_ptr(),
        });
    }
    let rows =
        (output[0] - 1) * geometry.stride[0] + (geometry.kernel[0] - 1) * geometry.dilation[0] + 1;
    let columns = (output[1] - 1) * geometry.stride[1] + geometry.kernel[1];
    let channels = geometry.input;
    with_scratch(input.batch * rows * columns * channels, |padded| {
        pad(input, geometry.padding, [rows, columns], padded);
        work(&Source {
            base: padded.as_ptr(),
            rows,
            columns,
            pitch: channels,
            kernel: [geometry.kernel[0], 1],
            stride: geometry.stride,
            padding: [0, 0],
            dilation: geometry.dilation,
            output,
            zeros: zeros.as_ptr(),
        });
    });
}

/// Copies maps into larger ones with zeros around them, cutting off what is not wanted.
fn pad(input: View<'_>, padding: [usize; 2], size: [usize; 2], padded: &mut [f32]) {
    let [rows, columns] = size;
    let channels = input.channels;
    let lines = input.batch * rows;
    let left = padding[1].min(columns);
    let kept = input.columns.min(columns - left);
    let output = Output::new(padded);
    let count = chunks(lines, lines * columns * channels);
    parallel(count, |index| {
        for line in chunk(lines, 1, index, count) {
            // SAFETY: each line is written by one chunk, and lies within the slice.
            let to = unsafe {
                let length = columns * channels;
                std::slice::from_raw_parts_mut(output.at(line * length), length)
            };
            let row = (line % rows).wrapping_sub(padding[0]);
            if row >= input.rows {
                to.fill(0.0);
                continue;
            }
            let start = (line / rows * input.rows + row) * input.columns * input.pitch;
            to[..left * channels].fill(0.0);
            to[(left + kept) * channels..].fill(0.0);
            let to = &mut to[left * channels..(left + kept) * channels];
            if input.is_dense() {
                to.copy_from_slice(&input.data[start..start + kept * channels]);
            } else {
                for (x, pixel) in to.chunks_exact_mut(channels).enumerate() {
                    pixel.copy_from_slice(&input.data[start + x * input.pitch..][..channels]);
                }
            }
        }
    });
}
