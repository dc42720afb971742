//! Convolutions as matrix products whose rows are read where they lie in the maps.

#![allow(unsafe_code)] // Pointers into the maps, handed to the product.

use std::ops::Range;

use crate::activation::Activation;
use crate::gemm::{BLOCK, Packed, Product};
use crate::geometry::{ConvGeometry, Weights};
use crate::simd::Level;
use crate::threads::{Output, chunk, chunks, parallel, with_scratch};
use crate::view::{View, ViewMut};

/// Rows per core below which the work is divided by output channels instead: fewer would not be worth
/// reading the weights for.
const FEW_ROWS: usize = 48;

/// Input channels below which whole rows of the kernel are multiplied at once.
const FEW_CHANNELS: usize = 8;

/// A multiple of the rows of every tile.
const UNIT: usize = 24;

/// Packed weights of a convolution, one matrix per group.
#[derive(Debug)]
pub(crate) struct Dense {
    geometry: ConvGeometry,
    /// With few channels, the taps of a kernel's row are neighbours in memory once the maps are
    /// padded: one long tap instead of many short ones.
    whole_rows: bool,
    groups: Vec<Packed>,
    /// What a tap reads outside the maps.
    zeros: Vec<f32>,
}

/// Maps as the taps see them.
struct Source {
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

impl Source {
    /// Where each of some outputs' windows begins, for each tap: `[taps][outputs]`.
    fn pointers(&self, outputs: Range<usize>, into: &mut Vec<*const f32>) {
        into.clear();
        let [out_rows, out_columns] = self.output;
        let first = outputs.start / out_columns;
        let left = outputs.start % out_columns;
        for tap_y in 0..self.kernel[0] {
            for tap_x in 0..self.kernel[1] {
                let shift = (tap_x * self.dilation[1]).wrapping_sub(self.padding[1]);
                let (mut line, mut from, mut todo) = (first, left, outputs.len());
                while todo > 0 {
                    let count = todo.min(out_columns - from);
                    let (map, y) = (line / out_rows, line % out_rows);
                    let row = (y * self.stride[0] + tap_y * self.dilation[0])
                        .wrapping_sub(self.padding[0]);
                    if row < self.rows {
                        let start = (map * self.rows + row) * self.columns * self.pitch;
                        let start = self.base.wrapping_add(start);
                        into.extend((from..from + count).map(|x| {
                            let column = (x * self.stride[1]).wrapping_add(shift);
                            if column < self.columns {
                                start.wrapping_add(column * self.pitch)
                            } else {
                                self.zeros
                            }
                        }));
                    } else {
                        into.extend(std::iter::repeat_n(self.zeros, count));
                    }
                    todo -= count;
                    from = 0;
                    line += 1;
                }
            }
        }
    }
}

/// How many groups to multiply as one, with zeros where they do not see each other: a group narrower
/// than a vector would leave the rest of it idle.
fn groups_together(geometry: &ConvGeometry, lanes: usize) -> usize {
    let width = geometry.output / geometry.groups;
    let most = (lanes / width.max(1)).max(1);
    (1..=most.min(geometry.groups))
        .rev()
        .find(|together| geometry.groups.is_multiple_of(*together))
        .unwrap_or(1)
}

impl Dense {
    /// Packs weights `[output, input / groups, kernel rows, kernel columns]`.
    pub(crate) fn new(
        level: Level,
        geometry: ConvGeometry,
        weights: Weights<'_>,
        bias: &[f32],
    ) -> Self {
        let [kernel_rows, kernel_columns] = geometry.kernel;
        let taps = geometry.taps();
        let whole_rows = geometry.groups == 1
            && geometry.input < FEW_CHANNELS
            && geometry.dilation[1] == 1
            && kernel_columns > 1;
        let depth = geometry.input / geometry.groups;
        let width = geometry.output / geometry.groups;
        let together = groups_together(&geometry, level.lanes());
        let groups = (0..geometry.groups / together)
            .map(|group| {
                let bias = match bias {
                    [] => &[],
                    bias => &bias[group * together * width..][..together * width],
                };
                let first = group * together * width;
                let element = |column: usize, tap: usize, k: usize| {
                    if column / width != k / depth {
                        return 0.0;
                    }
                    let output = first + column;
                    weights.numbers[(output * depth + k % depth) * taps + tap]
                        * weights.factor(output)
                };
                let width = width * together;
                if whole_rows {
                    let depth = kernel_columns * geometry.input;
                    Packed::new(level, kernel_rows, depth, width, bias, |column, row, k| {
                        let tap = row * kernel_columns + k / geometry.input;
                        element(column, tap, k % geometry.input)
                    })
                } else if together == 1 {
                    let length = depth * taps;
                    let vector = |column| {
                        let numbers = &weights.numbers[(first + column) * length..][..length];
                        (numbers, weights.factor(first + column))
                    };
                    let mut packed = Packed::zeros(level, taps, depth, width).with_bias(bias);
                    packed.fill_columns(width, vector);
                    packed
                } else {
                    Packed::new(level, taps, depth * together, width, bias, element)
                }
            })
            .collect();
        Self {
            geometry,
            whole_rows,
            groups,
            zeros: vec![0.0; geometry.input],
        }
    }

    /// One word for listings.
    pub(crate) fn name(&self) -> &'static str {
        match (self.whole_rows, self.geometry.groups, self.geometry.taps()) {
            (true, ..) => "rows",
            (_, 1, 1) => "gemm",
            (_, 1, _) => "indirect",
            _ => "grouped",
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
        let geometry = &self.geometry;
        if !self.whole_rows {
            let source = Source {
                base: input.data.as_ptr(),
                rows: input.rows,
                columns: input.columns,
                pitch: input.pitch,
                kernel: geometry.kernel,
                stride: geometry.stride,
                padding: geometry.padding,
                dilation: geometry.dilation,
                output: [output.rows, output.columns],
                zeros: self.zeros.as_ptr(),
            };
            return self.multiply(&source, residual, activation, output);
        }
        let rows = (output.rows - 1) * geometry.stride[0]
            + (geometry.kernel[0] - 1) * geometry.dilation[0]
            + 1;
        let columns = (output.columns - 1) * geometry.stride[1] + geometry.kernel[1];
        let channels = geometry.input;
        with_scratch(input.batch * rows * columns * channels, |padded| {
            pad(input, geometry.padding, [rows, columns], padded);
            let source = Source {
                base: padded.as_ptr(),
                rows,
                columns,
                pitch: channels,
                kernel: [geometry.kernel[0], 1],
                stride: geometry.stride,
                padding: [0, 0],
                dilation: geometry.dilation,
                output: [output.rows, output.columns],
                zeros: self.zeros.as_ptr(),
            };
            self.multiply(&source, residual, activation, output);
        });
    }

    fn multiply(
        &self,
        source: &Source,
        residual: Option<View<'_>>,
        activation: Activation,
        output: ViewMut<'_>,
    ) {
        let pixels = output.pixels();
        let packed = &self.groups[0];
        let (width, depth) = (packed.columns(), packed.depth());
        let panels = packed.panels() * self.groups.len();
        let cost = pixels * packed.taps() * depth * width * self.groups.len();
        let (by_rows, by_panels) = divide(pixels, panels, cost);
        let pitch = output.pitch;
        let output = Output::new(output.data);
        let (start, start_pitch) = match &residual {
            Some(residual) => (residual.data.as_ptr(), residual.pitch),
            None => (std::ptr::null(), 0),
        };
        let start = Output::reading(start);
        parallel(by_rows * by_panels, |index| {
            let rows = chunk(pixels, UNIT.min(pixels), index % by_rows, by_rows);
            let mine = chunk(panels, 1, index / by_rows, by_panels);
            let mut pointers = Vec::with_capacity(packed.taps() * BLOCK.min(rows.len()));
            let blocks = rows.len().div_ceil(BLOCK);
            for block in 0..blocks {
                let inner = chunk(rows.len(), UNIT.min(BLOCK), block, blocks);
                let (from, count) = (rows.start + inner.start, inner.len());
                source.pointers(from..from + count, &mut pointers);
                let mut panel = mine.start;
                while panel < mine.end {
                    let group = panel / packed.panels();
                    let first = panel % packed.panels();
                    let last = (first + mine.end - panel).min(packed.panels());
                    if group > 0 && (panel == mine.start || first == 0) {
                        let shift = if panel == mine.start { group } else { 1 };
                        for pointer in &mut pointers {
                            *pointer = pointer.wrapping_add(shift * depth);
                        }
                    }
                    let product = Product {
                        pointers: &pointers,
                        rows: count,
                        start: if start.is_null() {
                            std::ptr::null()
                        } else {
                            start.at(from * start_pitch + group * width).cast_const()
                        },
                        start_pitch,
                        output: output.at(from * pitch + group * width),
                        output_pitch: pitch,
                        activation,
                    };
                    // SAFETY: the views were checked; chunks differ in their rows or in their panels.
                    unsafe { self.groups[group].multiply(&product, first..last) };
                    panel += last - first;
                }
            }
        });
    }
}

/// Into how many parts to divide the rows and the panels.
fn divide(rows: usize, panels: usize, cost: usize) -> (usize, usize) {
    let count = chunks(rows.div_ceil(UNIT) * panels, cost);
    if rows / count >= FEW_ROWS {
        return (count, 1);
    }
    let by_panels = count.min(panels);
    ((count / by_panels).clamp(1, rows.div_ceil(UNIT)), by_panels)
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
