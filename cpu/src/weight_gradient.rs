//! The gradient of a convolution's weights: a sum over the output's pixels of outer products, whose rows and columns
//! are channels of the maps where they lie.

#![allow(unsafe_code)] // Pointers into the maps, handed to the microkernel, and weights written in parallel.

use std::ops::Range;

use crate::dense::groups_together;
use crate::depthwise::Depthwise;
use crate::depthwise_gradient::depthwise_weight_gradient;
use crate::gemm::{Panel, panels};
use crate::geometry::ConvGeometry;
use crate::outer::{Outer, Pair};
use crate::simd::{Level, prefetch};
use crate::source::{Source, with_source};
use crate::threads::{Output, chunk, chunks, parallel, with_scratch};
use crate::tile::Tiling;
use crate::view::View;

/// Pixels multiplied at a time: a panel of so many stays in the first-level cache while row after row is multiplied with
/// it.
const BLOCK: usize = 128;

/// Elements of a line of the cache.
const LINE: usize = 16;

/// Rows of sums from which copying a panel costs little, and rows at most: so many stay in the second-level cache.
const ROWS: Range<usize> = 96..576;

/// Rows of sums of all panels that share what is read.
const SHARED_ROWS: usize = 2 * ROWS.end;

/// Tasks to have at least, so that no core waits long for the last one.
const TASKS: usize = 32;

/// Pixels from which a task's sums cost little beside what they are made of.
const FEWEST_PIXELS: usize = 1024;

/// The gradient of a convolution's weights, from the maps that it read and the gradient of its output, `slope`. The
/// weights are overwritten, or added to.
///
/// Sums are in 32 bits: over blocks of 128 pixels, and blocks in order. How they are divided depends on the shapes and
/// the processor's vectors, not on the number of threads.
///
/// # Shapes
/// `input` has the geometry's input channels, `slope` its output channels and the rows and columns of the output. The
/// weights are `[output, input / groups, kernel rows, kernel columns]`.
///
/// # Panics
/// If the shapes do not fit together.
pub fn weight_gradient(
    geometry: &ConvGeometry,
    input: View<'_>,
    slope: View<'_>,
    weights: &mut [f32],
    add: bool,
) {
    geometry.check();
    input.check();
    slope.check();
    assert_eq!(input.channels, geometry.input, "channels of the input");
    assert_eq!(slope.channels, geometry.output, "channels of the slope");
    assert_eq!(input.batch, slope.batch, "maps of input and slope");
    let needed = geometry.output * (geometry.input / geometry.groups) * geometry.taps();
    assert_eq!(weights.len(), needed, "weights of {geometry:?}");
    if weights.is_empty() || slope.pixels() == 0 {
        if !add {
            weights.fill(0.0);
        }
        return;
    }
    if Depthwise::suits(geometry) {
        return depthwise_weight_gradient(geometry, input, slope, weights, add);
    }
    let zeros = vec![0.0; geometry.input];
    let size = [slope.rows, slope.columns];
    with_source(geometry, input, size, &zeros, |source| {
        let work = Work::new(geometry, source, slope, Output::new(weights), add);
        work.run();
    });
}

/// One gradient.
struct Work<'a> {
    source: &'a Source,
    slope: View<'a>,
    slopes: Output,
    weights: Output,
    add: bool,
    tiling: Tiling,
    /// Whether rows are channels of the output and columns those of the input, the order of the weights of one tap.
    /// Otherwise the sums must be turned over at the end.
    upright: bool,
    taps: usize,
    /// Channels of a group that are rows, for each tap, and that are columns.
    group: [usize; 2],
    /// Groups that are multiplied as one,
    together: usize,
    /// Panels of all groups, and which of those that are multiplied as one each is of.
    panels: Vec<(usize, Panel)>,
    /// Panels of a task.
    shared: usize,
    /// Blocks into which the channels are divided that are rows.
    blocks: usize,
    /// Parts into which the pixels are divided.
    parts: usize,
    /// Which row of the sums a channel is, for each tap: `[taps][channels of a block]`.
    places: Vec<usize>,
}

/// What one task sums up.
struct Task {
    /// Channels that are rows.
    channels: Range<usize>,
    panels: Range<usize>,
    /// The sums' place among those of all tasks of one part.
    offset: usize,
}

impl<'a> Work<'a> {
    fn new(
        geometry: &ConvGeometry,
        source: &'a Source,
        slope: View<'a>,
        weights: Output,
        add: bool,
    ) -> Self {
        let tiling = Tiling::new(Level::best());
        let upright = geometry.taps() == 1;
        let depth = geometry.input / geometry.groups;
        let width = geometry.output / geometry.groups;
        let taps = source.taps();
        // With few channels, the columns of the kernel count as channels.
        let columns = geometry.taps() / taps;
        let group = if upright {
            [width, depth]
        } else {
            [depth * columns, width]
        };
        let together = groups_together(geometry.groups, group[1], tiling.lanes);
        let bundles = 0..geometry.groups / together;
        let panels = panels(&tiling, 1, 1, group[1] * together);
        let panels: Vec<(usize, Panel)> = bundles
            .flat_map(|bundle| panels.iter().map(move |panel| (bundle, *panel)))
            .collect();
        let channels = group[0] * together;
        let mut work = Self {
            source,
            slope,
            slopes: Output::reading(slope.data.as_ptr()),
            weights,
            add,
            tiling,
            upright,
            taps,
            group,
            together,
            shared: panels.len(),
            panels,
            blocks: 1,
            parts: 1,
            places: Vec::new(),
        };
        let can_divide = columns == 1;
        work.divide(slope.pixels(), channels, can_divide);
        let most = channels.div_ceil(work.blocks);
        work.places = (0..taps * most)
            .map(|at| {
                let (tap, k) = (at / most, at % most);
                let (column, channel) = (k / depth % columns, k % depth);
                match columns {
                    1 => k * taps + tap,
                    _ => (channel * taps + tap) * columns + column,
                }
            })
            .collect();
        work
    }

    /// Decides what a task is: enough of them, without making each so small that reading costs more than multiplying.
    fn divide(&mut self, pixels: usize, channels: usize, can_divide: bool) {
        let rows = channels * self.taps;
        if can_divide {
            self.blocks = rows.div_ceil(ROWS.end).min(channels);
        }
        self.shared = (SHARED_ROWS / rows.div_ceil(self.blocks)).clamp(1, self.panels.len());
        let units =
            |work: &Self| work.blocks * work.panels.len().div_ceil(work.shared) * work.parts;
        while units(self) < TASKS && self.shared > 1 {
            self.shared = self.shared.div_ceil(2);
        }
        self.parts = TASKS
            .div_ceil(units(self))
            .clamp(1, (pixels / FEWEST_PIXELS).max(1));
        if can_divide && units(self) < TASKS {
            let most = (rows / ROWS.start).clamp(1, channels).max(self.blocks);
            self.blocks = (TASKS.div_ceil(units(self)) * self.blocks).min(most);
        }
    }

    /// All tasks of one part, and the elements of their sums.
    fn tasks(&self) -> (Vec<Task>, usize) {
        let channels = self.group[0] * self.together;
        let mut tasks = Vec::new();
        let mut offset = 0;
        for first in (0..self.panels.len()).step_by(self.shared) {
            for block in 0..self.blocks {
                let task = Task {
                    channels: chunk(channels, 1, block, self.blocks),
                    panels: first..(first + self.shared).min(self.panels.len()),
                    offset,
                };
                offset += self.elements(&task);
                tasks.push(task);
            }
        }
        (tasks, offset)
    }

    /// Elements of a panel's sums.
    fn panel_elements(&self, task: &Task, panel: usize) -> usize {
        task.channels.len() * self.taps * self.width(&self.panels[panel].1)
    }

    /// Elements of a line of a panel.
    fn width(&self, panel: &Panel) -> usize {
        panel.vectors * self.tiling.lanes
    }

    /// Elements of a task's sums.
    fn elements(&self, task: &Task) -> usize {
        let panels = task.panels.clone();
        panels.map(|panel| self.panel_elements(task, panel)).sum()
    }

    fn run(&self) {
        let (tasks, elements) = self.tasks();
        let pixels = self.slope.pixels();
        let cost = pixels * elements;
        if self.parts == 1 {
            return each(tasks.len(), cost, |index| {
                let task = &tasks[index];
                with_scratch(self.elements(task), |sums| {
                    self.sum(task, 0..pixels, sums);
                    self.write(task, sums);
                });
            });
        }
        with_scratch(self.parts * elements, |sums| {
            let all = Output::new(sums);
            each(self.parts * tasks.len(), cost, |index| {
                let (part, task) = (index / tasks.len(), &tasks[index % tasks.len()]);
                let start = all.at(part * elements + task.offset);
                // SAFETY: each task has its own sums in each part.
                let sums = unsafe { std::slice::from_raw_parts_mut(start, self.elements(task)) };
                self.sum(task, chunk(pixels, 1, part, self.parts), sums);
            });
            let (total, rest) = sums.split_at_mut(elements);
            add_up(total, rest);
            let total = &*total;
            each(tasks.len(), elements, |index| {
                let task = &tasks[index];
                self.write(task, &total[task.offset..][..self.elements(task)]);
            });
        });
    }

    /// Sums up a task's products over some pixels, which are not none.
    fn sum(&self, task: &Task, pixels: Range<usize>, sums: &mut [f32]) {
        let blocks = pixels.len().div_ceil(BLOCK);
        let most = pixels.len().min(BLOCK);
        let width = task
            .panels
            .clone()
            .map(|panel| self.width(&self.panels[panel].1))
            .max()
            .unwrap_or(0);
        let mut windows = Windows {
            pairs: Vec::with_capacity(self.taps * most),
            ends: Vec::with_capacity(self.taps),
            lines: Vec::with_capacity(most),
            ahead: self.ahead(most),
        };
        with_scratch(most * width, |packed| {
            for block in 0..blocks {
                let inner = chunk(pixels.len(), 1, block, blocks);
                let from = pixels.start + inner.start;
                windows.find(self, from..from + inner.len());
                let mut offset = 0;
                for panel in task.panels.clone() {
                    let elements = self.panel_elements(task, panel);
                    let sums = &mut sums[offset..][..elements];
                    offset += elements;
                    self.multiply(task, panel, &windows, packed, sums, block == 0);
                }
            }
        });
    }

    /// How far it is to what rows and panels of the next block of so many pixels read, about.
    fn ahead(&self, pixels: usize) -> [usize; 2] {
        let [input, slope] = [self.source.step(), self.slope.pitch].map(|step| step * pixels);
        if self.upright {
            [slope, input]
        } else {
            [input, slope]
        }
    }

    /// Adds the products of a block of pixels to the sums of a panel, or begins with them.
    fn multiply(
        &self,
        task: &Task,
        panel: usize,
        windows: &Windows,
        packed: &mut [f32],
        sums: &mut [f32],
        first: bool,
    ) {
        let (bundle, panel) = &self.panels[panel];
        let [row, column] = self.group.map(|each| bundle * self.together * each);
        // SAFETY: the views were checked: every line has the channels of the panel, and there is room for all lines.
        unsafe {
            windows.pack(
                column + panel.column,
                panel.columns,
                packed,
                self.width(panel),
            );
        }
        let most = self.places.len() / self.taps;
        let mut from = 0;
        for (tap, &end) in windows.ends.iter().enumerate() {
            let pairs = &windows.pairs[from..end];
            from = end;
            let mut k = 0;
            for (height, tiles) in self.tiling.heights(task.channels.len(), panel.vectors) {
                let outer = Outer {
                    pairs: pairs.as_ptr(),
                    count: pairs.len(),
                    panel: packed.as_ptr(),
                    offset: row + task.channels.start + k,
                    sums: sums.as_mut_ptr(),
                    ahead: if tap == 0 { windows.ahead[0] } else { 0 },
                    places: self.places[tap * most + k..].as_ptr(),
                    first,
                    tiles,
                };
                // SAFETY: every row has the task's channels, and the sums have a row for each of them and each tap.
                unsafe { self.tiling.kernel(height, panel.vectors)(&outer) };
                k += height * tiles;
            }
        }
    }

    /// Writes a task's sums where they belong among the weights.
    fn write(&self, task: &Task, sums: &[f32]) {
        let mut offset = 0;
        for index in task.panels.clone() {
            let (bundle, panel) = &self.panels[index];
            let sums_of_panel = &sums[offset..];
            offset += self.panel_elements(task, index);
            let pitch = self.width(panel);
            for group in 0..self.together {
                let [channels, columns] = [
                    task.channels.clone(),
                    panel.column..panel.column + panel.columns,
                ];
                let rows = within(&channels, group, self.group[0]);
                let columns = within(&columns, group, self.group[1]);
                if rows.is_empty() || columns.is_empty() {
                    continue;
                }
                let first = (rows.start - channels.start) * self.taps * pitch;
                let block = Sums {
                    numbers: &sums_of_panel[first + columns.start - panel.column..],
                    pitch,
                    rows: rows.len() * self.taps,
                    columns: columns.len(),
                };
                let group_first =
                    (bundle * self.together + group) * self.group[0] * self.group[1] * self.taps;
                let [row, column] = [
                    rows.start - group * self.group[0],
                    columns.start - group * self.group[1],
                ];
                let length = self.group[0] * self.taps;
                // SAFETY: no two tasks have a weight in common.
                unsafe {
                    if self.upright {
                        let to = self.weights.at(group_first + row * self.group[1] + column);
                        block.copy(to, self.group[1], self.add);
                    } else {
                        let to = self
                            .weights
                            .at(group_first + column * length + row * self.taps);
                        block.turn_over(to, length, self.add);
                    }
                }
            }
        }
    }
}

/// The part of a range of channels that belongs to a group.
fn within(channels: &Range<usize>, group: usize, each: usize) -> Range<usize> {
    let start = channels.start.max(group * each);
    start..channels.end.min((group + 1) * each).max(start)
}

/// What is multiplied for a block of pixels.
struct Windows {
    /// For one tap after the other, the pixels whose windows lie within the map there.
    pairs: Vec<Pair>,
    /// Where the pairs of each tap end.
    ends: Vec<usize>,
    /// Where the lines of a panel are read.
    lines: Vec<*const f32>,
    /// How far it is to what the next block reads, of rows and of lines.
    ahead: [usize; 2],
}

impl Windows {
    fn find(&mut self, work: &Work<'_>, pixels: Range<usize>) {
        let Self {
            pairs, ends, lines, ..
        } = self;
        pairs.clear();
        ends.clear();
        lines.clear();
        let slope = |pixel: usize| work.slopes.at(pixel * work.slope.pitch).cast_const();
        if !work.upright {
            lines.extend(pixels.clone().map(slope));
        }
        for tap in 0..work.taps {
            work.source.pieces(tap, pixels.clone(), |piece| {
                let input = |at: usize| piece.start.wrapping_add(at * piece.step);
                let places = 0..piece.inside;
                if work.upright {
                    let first = lines.len();
                    lines.extend(places.clone().map(input));
                    pairs.extend(places.map(|at| Pair {
                        row: slope(piece.output + at),
                        line: first + at,
                    }));
                } else {
                    let first = piece.output - pixels.start;
                    pairs.extend(places.map(|at| Pair {
                        row: input(at),
                        line: first + at,
                    }));
                }
            });
            ends.push(pairs.len());
        }
    }

    /// Copies some columns of the lines to a panel, with zeros up to its width.
    ///
    /// # Safety
    /// Every line must have those columns.
    unsafe fn pack(&self, column: usize, columns: usize, packed: &mut [f32], width: usize) {
        for (line, to) in self.lines.iter().zip(packed.chunks_exact_mut(width)) {
            // SAFETY: the caller's.
            let from = unsafe { std::slice::from_raw_parts(line.add(column), columns) };
            let (to, rest) = to.split_at_mut(columns);
            // Calls to copy so little would take longer than copying.
            let (from, from_end) = from.as_chunks::<LINE>();
            let (to, to_end) = to.as_chunks_mut::<LINE>();
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
                prefetch(from.as_ptr().wrapping_add(self.ahead[1]));
            }
            to_end.copy_from_slice(from_end);
            rest.fill(0.0);
        }
    }
}

/// A block of sums.
struct Sums<'a> {
    numbers: &'a [f32],
    /// Elements from one row to the next.
    pitch: usize,
    rows: usize,
    columns: usize,
}

impl Sums<'_> {
    /// Writes or adds row after row.
    ///
    /// # Safety
    /// Rows of the columns must be writable `pitch` elements apart.
    unsafe fn copy(&self, to: *mut f32, pitch: usize, add: bool) {
        for (row, from) in self.numbers.chunks(self.pitch).take(self.rows).enumerate() {
            let from = &from[..self.columns];
            // SAFETY: the caller's.
            let to = unsafe { std::slice::from_raw_parts_mut(to.add(row * pitch), self.columns) };
            if add {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            } else {
                to.copy_from_slice(from);
            }
        }
    }

    /// Writes or adds column after column.
    ///
    /// # Safety
    /// Rows as long as the columns are high must be writable `pitch` elements apart.
    unsafe fn turn_over(&self, to: *mut f32, pitch: usize, add: bool) {
        /// Rows and columns that are turned over at a time, in registers.
        const SQUARE: usize = 4;
        let [rows, columns] = [self.rows, self.columns].map(|count| count / SQUARE * SQUARE);
        let put = |row: usize, column: usize| {
            let from = self.numbers[row * self.pitch + column];
            // SAFETY: the caller's.
            let to = unsafe { &mut *to.add(column * pitch + row) };
            *to = if add { *to + from } else { from };
        };
        for column in (0..columns).step_by(SQUARE) {
            // SAFETY: the caller's.
            let mut lines: [&mut [f32]; SQUARE] = std::array::from_fn(|c| unsafe {
                std::slice::from_raw_parts_mut(to.add((column + c) * pitch), self.rows)
            });
            for row in (0..rows).step_by(SQUARE) {
                let square: [[f32; SQUARE]; SQUARE] = std::array::from_fn(|r| {
                    let from = &self.numbers[(row + r) * self.pitch + column..][..SQUARE];
                    std::array::from_fn(|c| from[c])
                });
                for (c, line) in lines.iter_mut().enumerate() {
                    let turned: [f32; SQUARE] = std::array::from_fn(|r| square[r][c]);
                    let to = &mut line[row..][..SQUARE];
                    if add {
                        to.iter_mut().zip(turned).for_each(|(to, from)| *to += from);
                    } else {
                        to.copy_from_slice(&turned);
                    }
                }
            }
        }
        for column in 0..self.columns {
            let from = if column < columns { rows } else { 0 };
            (from..self.rows).for_each(|row| put(row, column));
        }
    }
}

/// Adds sums of other parts, in order.
fn add_up(total: &mut [f32], rest: &[f32]) {
    let elements = total.len();
    let count = chunks(elements, rest.len());
    let total = Output::new(total);
    parallel(count, |index| {
        let mine = chunk(elements, 16, index, count);
        // SAFETY: each chunk adds to its own elements.
        let to = unsafe { std::slice::from_raw_parts_mut(total.at(mine.start), mine.len()) };
        for part in rest.chunks_exact(elements) {
            to.iter_mut()
                .zip(&part[mine.clone()])
                .for_each(|(to, from)| *to += from);
        }
    });
}

/// Calls `body` for every task, on all cores unless there is too little to do.
fn each(tasks: usize, cost: usize, body: impl Fn(usize) + Sync) {
    match chunks(tasks, cost) {
        1 => (0..tasks).for_each(body),
        _ => parallel(tasks, body),
    }
}
