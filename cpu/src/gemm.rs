//! Matrix products: packed weights, and the loops around the microkernel that keep what it reads in
//! the nearest cache.

#![allow(unsafe_code)] // Calls the microkernel with pointers.

use std::ops::Range;

use crate::activation::{Activation, apply_in_place};
use crate::geometry::Filters;
use crate::memory::Lines;
use crate::simd::{Level, MOST_LANES};
use crate::threads::{Output, chunk, chunks, parallel};
use crate::tile::{MOST_ROWS, Tiles, Tiling};

/// Elements of a row multiplied at a time: so many rows of a panel of weights stay in the first-level
/// cache while tile after tile passes over them. With vectors of eight a panel of 384 rows and the rows of a tile
/// would be just more than 32 KiB: ResNet-50 took a fifth longer with them.
const fn depth(lanes: usize) -> usize {
    if lanes == 8 { 320 } else { 384 }
}

/// Rows multiplied with one panel after the other: so many rows of [`depth`] elements stay in the
/// second-level cache. A multiple of the rows of every tile.
pub(crate) const BLOCK: usize = 96;

/// The most vectors of a panel.
const MOST_VECTORS: usize = 4;

/// Some neighbouring columns of a matrix, as wide as a tile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel {
    /// The first column.
    pub(crate) column: usize,
    /// How many columns there are; the rest of the vectors is zeros.
    pub(crate) columns: usize,
    pub(crate) vectors: usize,
    /// Where its elements begin.
    offset: usize,
}

/// The right-hand side of a product, in the order in which the microkernel reads it:
/// `[panels][taps][depth][a panel's columns]`.
#[derive(Debug)]
pub(crate) struct Packed {
    level: Level,
    tiling: Tiling,
    panels: Vec<Panel>,
    elements: Lines,
    bias: Lines,
    taps: usize,
    depth: usize,
    columns: usize,
}

/// The left-hand side of a product and where the result goes.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    /// Where each row begins, for each tap: `[taps][rows]`.
    pub(crate) pointers: &'a [*const f32],
    /// Rows of this product.
    pub(crate) rows: usize,
    /// What to start from besides the bias, or null; as the output.
    pub(crate) start: *const f32,
    /// Elements from one row of `start` to the next.
    pub(crate) start_pitch: usize,
    /// The first row's first column.
    pub(crate) output: *mut f32,
    /// Elements from one row of the output to the next.
    pub(crate) output_pitch: usize,
    /// What is done to the sums.
    pub(crate) activation: Activation,
}

/// Divides so many columns into panels without wasting lanes where the number of vectors allows it.
pub(crate) fn panels(tiling: &Tiling, taps: usize, depth: usize, columns: usize) -> Vec<Panel> {
    let lanes = tiling.lanes;
    let mut vectors = columns.div_ceil(lanes);
    let mut panels: Vec<Panel> = Vec::new();
    let mut column = 0;
    let mut offset = 0;
    while vectors > 0 {
        // A last panel of one vector would leave most registers idle: better one that is wider.
        let width = match vectors {
            few if few <= tiling.vectors => few,
            many if many == tiling.usual + 1 => many.div_ceil(2),
            _ => tiling.usual,
        };
        panels.push(Panel {
            column,
            columns: (width * lanes).min(columns - column),
            vectors: width,
            offset,
        });
        column += width * lanes;
        offset += width * lanes * taps * depth;
        vectors -= width;
    }
    panels
}

/// The rows of a matrix of one tap.
pub(crate) struct RowsOf<'a> {
    elements: Output,
    panels: &'a [Panel],
    lanes: usize,
    depth: usize,
}

impl RowsOf<'_> {
    /// Overwrites one.
    ///
    /// # Safety
    /// Nobody else may write to it meanwhile.
    pub(crate) unsafe fn fill(&self, k: usize, row: &[f32]) {
        assert!(k < self.depth);
        for panel in self.panels {
            let from = &row[panel.column..][..panel.columns];
            let to = panel.offset + k * panel.vectors * self.lanes;
            // SAFETY: a row of the panel is at least as long; the rest is the caller's.
            unsafe {
                std::ptr::copy_nonoverlapping(from.as_ptr(), self.elements.at(to), from.len());
            }
        }
    }
}

/// Overwrites a row with numbers, each times a factor.
fn fill_from<'a>(row: &mut [f32], numbers: impl Iterator<Item = &'a f32>, factors: &[f32]) {
    for ((to, from), factor) in row.iter_mut().zip(numbers).zip(factors) {
        *to = from * factor;
    }
}

/// Overwrites the first columns of a panel with vectors, `[depth][taps]`, each times a factor.
fn fill_panel<'a>(
    elements: &mut [f32],
    width: usize,
    taps: usize,
    columns: usize,
    vector: impl Fn(usize) -> (&'a [f32], f32),
) {
    /// Rows and columns that are transposed at a time, in registers.
    const SQUARE: usize = 4;
    let length = elements.len() / width;
    let depth = length / taps;
    let row_of = |at: usize| match taps {
        1 => at,
        _ => at % taps * depth + at / taps,
    };
    let whole = columns / SQUARE * SQUARE;
    for column in (0..whole).step_by(SQUARE) {
        let vectors: [_; SQUARE] = std::array::from_fn(|c| vector(column + c));
        let squares = vectors.map(|(vector, _)| vector[..length].as_chunks::<SQUARE>());
        let target = &mut elements[column..];
        for k in 0..length / SQUARE {
            let square = squares.map(|(chunks, _)| chunks[k]);
            for r in 0..SQUARE {
                let row: [f32; SQUARE] = std::array::from_fn(|c| square[c][r] * vectors[c].1);
                target[row_of(k * SQUARE + r) * width..][..SQUARE].copy_from_slice(&row);
            }
        }
        for k in length / SQUARE * SQUARE..length {
            for (c, (vector, factor)) in vectors.iter().enumerate() {
                target[row_of(k) * width + c] = vector[k] * factor;
            }
        }
    }
    for column in whole..columns {
        let (vector, factor) = vector(column);
        for (k, from) in vector.iter().enumerate() {
            elements[row_of(k) * width + column] = from * factor;
        }
    }
}

impl Packed {
    /// Room for a matrix of zeros.
    pub(crate) fn zeros(level: Level, taps: usize, depth: usize, columns: usize) -> Self {
        let tiling = Tiling::new(level);
        let panels = panels(&tiling, taps, depth, columns);
        let padded = columns.div_ceil(tiling.lanes) * tiling.lanes;
        Self {
            level,
            tiling,
            panels,
            elements: Lines::zeros(padded * taps * depth),
            bias: Lines::zeros(padded),
            taps,
            depth,
            columns,
        }
    }

    /// Packs the matrix whose element in a column, for a tap and a place within the tap, `element`
    /// gives.
    pub(crate) fn new(
        level: Level,
        taps: usize,
        depth: usize,
        columns: usize,
        bias: &[f32],
        element: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let mut packed = Self::zeros(level, taps, depth, columns).with_bias(bias);
        let elements = packed.elements.as_mut_slice();
        for panel in &packed.panels {
            let width = panel.vectors * packed.tiling.lanes;
            for tap in 0..taps {
                for k in 0..depth {
                    let row = panel.offset + (tap * depth + k) * width;
                    for column in 0..panel.columns {
                        elements[row + column] = element(panel.column + column, tap, k);
                    }
                }
            }
        }
        packed
    }

    /// The bias of the columns.
    pub(crate) fn with_bias(mut self, bias: &[f32]) -> Self {
        self.bias.as_mut_slice()[..bias.len()].copy_from_slice(bias);
        self
    }

    /// Overwrites the first columns with vectors, `[depth][taps]`, each times a factor.
    pub(crate) fn fill_columns<'a>(
        &mut self,
        columns: usize,
        vector: impl Fn(usize) -> (&'a [f32], f32) + Sync,
    ) {
        let (taps, lanes) = (self.taps, self.tiling.lanes);
        let length = taps * self.depth;
        let elements = Output::new(self.elements.as_mut_slice());
        let panels = &self.panels;
        let count = chunks(panels.len(), length * columns);
        parallel(count, |index| {
            for panel in &panels[chunk(panels.len(), 1, index, count)] {
                let width = panel.vectors * lanes;
                let start = elements.at(panel.offset);
                // SAFETY: a panel's elements, which one chunk writes.
                let elements = unsafe { std::slice::from_raw_parts_mut(start, width * length) };
                let columns = panel.columns.min(columns.saturating_sub(panel.column));
                fill_panel(elements, width, taps, columns, |c| vector(panel.column + c));
            }
        });
    }

    /// Overwrites all rows with the weights of the outputs from `first` on, which lie next to one another for each
    /// input of their group.
    pub(crate) fn fill_turned(&mut self, weights: &Filters<'_>, first: usize) {
        let (step, taps) = (weights.output_step(), weights.taps());
        let count = chunks(self.depth, self.taps * self.depth * self.columns);
        let lanes = self.tiling.lanes;
        let elements = Output::new(self.elements.as_mut_slice());
        let this = &*self;
        parallel(count, |index| {
            for panel in &this.panels {
                let width = panel.vectors * lanes;
                let factors: [f32; MOST_VECTORS * MOST_LANES] =
                    std::array::from_fn(|c| weights.factor(first + panel.column + c));
                for k in chunk(this.depth, 1, index, count) {
                    let numbers = weights.from(first + panel.column, k);
                    for (tap, &at) in taps.iter().enumerate() {
                        let row = panel.offset + (tap * this.depth + k) * width;
                        // SAFETY: rows of the panel; no two chunks have a row in common.
                        let row = unsafe {
                            std::slice::from_raw_parts_mut(elements.at(row), panel.columns)
                        };
                        let numbers = &numbers[at..];
                        if step == 1 {
                            fill_from(row, numbers.iter(), &factors);
                        } else {
                            fill_from(row, numbers.iter().step_by(step), &factors);
                        }
                    }
                }
            }
        });
    }

    /// Overwrites one row of a matrix of one tap.
    pub(crate) fn fill_row(&mut self, k: usize, row: &[f32]) {
        // SAFETY: nobody else writes.
        unsafe { self.rows().fill(k, row) };
    }

    /// The rows of a matrix of one tap, which several threads may write.
    pub(crate) fn rows(&mut self) -> RowsOf<'_> {
        RowsOf {
            elements: Output::new(self.elements.as_mut_slice()),
            panels: &self.panels,
            lanes: self.tiling.lanes,
            depth: self.depth,
        }
    }

    /// Overwrites the rows of a matrix of one tap.
    pub(crate) fn fill_rows<'a>(&mut self, row: impl Fn(usize) -> &'a [f32]) {
        for k in 0..self.depth {
            self.fill_row(k, row(k));
        }
    }

    /// Columns of the matrix.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Panels into which the columns are divided.
    pub(crate) fn panels(&self) -> usize {
        self.panels.len()
    }

    /// The first column of a panel.
    pub(crate) fn first_column(&self, panel: usize) -> usize {
        self.panels[panel].column
    }

    /// Taps of the reduction.
    pub(crate) fn taps(&self) -> usize {
        self.taps
    }

    /// Elements of a tap.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Multiplies rows with some of the panels.
    ///
    /// # Safety
    /// Every pointer must lead to `depth` elements; the output's rows must be writable in the columns
    /// of those panels, and those of `start` readable, unless it is null. Nobody else may write there
    /// meanwhile.
    pub(crate) unsafe fn multiply(&self, product: &Product<'_>, panels: Range<usize>) {
        debug_assert!(product.pointers.len() >= self.taps * product.rows);
        // A single tile reads each panel once: no reason to do it in parts.
        let limit = if product.rows <= MOST_ROWS {
            usize::MAX
        } else {
            depth(self.tiling.lanes)
        };
        if self.depth > limit {
            let parts = self.depth.div_ceil(limit);
            for tap in 0..self.taps {
                for part in 0..parts {
                    let from = self.depth * part / parts;
                    let to = self.depth * (part + 1) / parts;
                    // SAFETY: the caller's.
                    unsafe { self.part(product, panels.clone(), tap..tap + 1, from..to) }
                }
            }
        } else {
            let together = (limit / self.depth.max(1)).clamp(1, self.taps);
            let parts = self.taps.div_ceil(together);
            for part in 0..parts {
                let from = self.taps * part / parts;
                let to = self.taps * (part + 1) / parts;
                // SAFETY: the caller's.
                unsafe { self.part(product, panels.clone(), from..to, 0..self.depth) }
            }
        }
    }

    /// Adds up a part of the reduction.
    ///
    /// # Safety
    /// As [`Packed::multiply`].
    unsafe fn part(
        &self,
        product: &Product<'_>,
        panels: Range<usize>,
        taps: Range<usize>,
        depth: Range<usize>,
    ) {
        let first = taps.start == 0 && depth.start == 0;
        let last = taps.end == self.taps && depth.end == self.depth;
        let bounds = product.activation.bounds();
        let (low, high) = bounds
            .filter(|_| last)
            .unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        let skipped = taps.start * self.depth + depth.start;
        let length = taps.len() * depth.len();
        let base = self.elements.as_slice().as_ptr();
        for index in panels.clone() {
            let panel = &self.panels[index];
            let width = panel.vectors * self.tiling.lanes;
            // The next panel of this part, or the first of the next part.
            let next = if index + 1 < panels.end {
                let next = &self.panels[index + 1];
                next.offset + skipped * next.vectors * self.tiling.lanes
            } else {
                let next = &self.panels[panels.start];
                next.offset + (skipped + length) * next.vectors * self.tiling.lanes
            };
            let count = product.rows.div_ceil(self.tiling.rows(panel.vectors));
            let bytes = width * size_of::<f32>();
            // SAFETY: a panel's elements, and the columns that the caller vouches for.
            let tiles = unsafe {
                let output = product.output.add(panel.column);
                let (start, start_pitch) = if !first {
                    (output.cast_const(), product.output_pitch)
                } else if product.start.is_null() {
                    (std::ptr::null(), 0)
                } else {
                    (product.start.add(panel.column), product.start_pitch)
                };
                Tiles {
                    pointers: product.pointers.as_ptr().add(taps.start * product.rows),
                    stride: product.rows,
                    taps: taps.len(),
                    offset: depth.start,
                    depth: depth.len(),
                    weights: base.add(panel.offset + skipped * width),
                    bias: if first {
                        self.bias.as_slice().as_ptr().add(panel.column)
                    } else {
                        std::ptr::null()
                    },
                    start,
                    start_pitch,
                    output,
                    output_pitch: product.output_pitch,
                    low,
                    high,
                    tiles: 0,
                    ahead: base.wrapping_add(next),
                    ahead_step: bytes.div_ceil(count.max(1)),
                }
            };
            // SAFETY: the caller's.
            unsafe {
                self.panel(panel, tiles, product.rows);
                if last && bounds.is_none() {
                    apply_in_place(
                        self.level,
                        product.activation,
                        tiles.output,
                        product.output_pitch,
                        product.rows,
                        panel.columns,
                    );
                }
            }
        }
    }

    /// Covers `rows` rows with tiles.
    ///
    /// # Safety
    /// As [`Packed::multiply`].
    unsafe fn panel(&self, panel: &Panel, mut tiles: Tiles, rows: usize) {
        for (height, count) in self.tiling.heights(rows, panel.vectors) {
            tiles.tiles = count;
            // SAFETY: the caller's.
            unsafe {
                if panel.columns == panel.vectors * self.tiling.lanes {
                    self.tiling.kernel(height, panel.vectors)(&tiles);
                } else {
                    self.ragged(panel, tiles, height);
                }
                let rows = count * height;
                tiles.pointers = tiles.pointers.add(rows);
                tiles.output = tiles.output.add(rows * tiles.output_pitch);
                let fetched = count * tiles.taps * tiles.depth * tiles.ahead_step;
                tiles.ahead = tiles.ahead.wrapping_byte_add(fetched);
                if !tiles.start.is_null() {
                    tiles.start = tiles.start.add(rows * tiles.start_pitch);
                }
            }
        }
    }

    /// A run of tiles whose last vector is not full: computed aside, and what is wanted copied.
    ///
    /// # Safety
    /// As [`Packed::multiply`].
    unsafe fn ragged(&self, panel: &Panel, tiles: Tiles, height: usize) {
        let mut aside = [0.0f32; MOST_ROWS * MOST_VECTORS * MOST_LANES];
        let width = panel.vectors * self.tiling.lanes;
        let aside = aside.as_mut_ptr();
        let kernel = self.tiling.kernel(height, panel.vectors);
        for tile in 0..tiles.tiles {
            let row = tile * height;
            // SAFETY: the buffer holds the largest tile; the rest is the caller's.
            unsafe {
                let output = tiles.output.add(row * tiles.output_pitch);
                let mut one = Tiles {
                    tiles: 1,
                    pointers: tiles.pointers.add(row),
                    output: aside,
                    output_pitch: width,
                    ..tiles
                };
                if !tiles.start.is_null() {
                    for r in 0..height {
                        std::ptr::copy_nonoverlapping(
                            tiles.start.add((row + r) * tiles.start_pitch),
                            aside.add(r * width),
                            panel.columns,
                        );
                    }
                    one.start = aside;
                    one.start_pitch = width;
                }
                kernel(&one);
                for r in 0..height {
                    std::ptr::copy_nonoverlapping(
                        aside.add(r * width),
                        output.add(r * tiles.output_pitch),
                        panel.columns,
                    );
                }
            }
        }
    }
}
