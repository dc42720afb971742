//! Gradients of poolings: each pixel of the input collects from the windows that it lies in.
//!
//! Nothing is written twice, and what is added up for a pixel is in the order of the windows, so cores divide the
//! pixels as they like.

#![allow(unsafe_code)] // Loads and stores through pointers.

use std::ops::Range;

use macerator::{Simd, WithSimd};

use crate::pool::{Pool, adaptive_bounds};
use crate::simd::{Floats, Level, first_channel, load, load_some, splat, store, store_some};
use crate::threads::{Output, chunk, chunks, parallel, with_scratch};
use crate::view::{View, ViewMut};

/// Rows of the input whose largest elements are looked for before anything is collected: what is found stays in the
/// second-level cache.
const ROWS: usize = 16;

/// The windows that each row and each column of the input lies in.
struct Covering {
    rows: Vec<Range<usize>>,
    columns: Vec<Range<usize>>,
}

/// For each place of an axis, the windows that it lies in, where both ends of windows only ever grow.
fn covering(size: usize, windows: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut covering = vec![0..0; size];
    for (index, window) in windows.iter().enumerate() {
        for place in &mut covering[window.clone()] {
            if place.start == place.end {
                place.start = index;
            }
            place.end = index + 1;
        }
    }
    covering
}

fn check(input: [usize; 4], slope: &View<'_>, of_input: &ViewMut<'_>) {
    slope.check();
    of_input.check();
    let [batch, .., channels] = input;
    let own = [
        of_input.batch,
        of_input.rows,
        of_input.columns,
        of_input.channels,
    ];
    assert_eq!(own, input, "the shapes of the input and its gradient");
    assert_eq!(
        [slope.batch, slope.channels],
        [batch, channels],
        "maps and channels of the slopes"
    );
}

fn shape(of_input: &ViewMut<'_>) -> [usize; 4] {
    [
        of_input.batch,
        of_input.rows,
        of_input.columns,
        of_input.channels,
    ]
}

/// The gradient of what [`max_pool`](crate::max_pool) read, from what it read and the gradient of what it wrote.
///
/// Each window's slope goes to the first of its largest elements, row by row. NaN counts as the largest; of several the
/// last has it, as in PyTorch.
///
/// # Shapes
/// `of_input`, which is overwritten, has `input`'s shape; `slope` has that of the pooling's output.
///
/// # Panics
/// If the shapes do not fit together.
pub fn max_pool_slopes(pool: &Pool, input: View<'_>, slope: View<'_>, of_input: ViewMut<'_>) {
    input.check();
    check(
        [input.batch, input.rows, input.columns, input.channels],
        &slope,
        &of_input,
    );
    let channels = input.channels;
    if of_input.pixels() == 0 || channels == 0 {
        return;
    }
    let windows = |axis: usize, count: usize, size: usize| -> Vec<Range<usize>> {
        (0..count).map(|at| pool.window(axis, at, size).0).collect()
    };
    let rows = windows(0, slope.rows, input.rows);
    let columns = windows(1, slope.columns, input.columns);
    let covering = Covering {
        rows: covering(input.rows, &rows),
        columns: covering(input.columns, &columns),
    };
    let level = Level::best();
    let pitch = of_input.pitch;
    let to = Output::new(of_input.data);
    let blocks = input.rows.div_ceil(ROWS);
    let pieces = input.batch * blocks;
    let cost = slope.pixels() * pool.kernel[0] * pool.kernel[1] + input.pixels();
    let count = chunks(pieces, cost * channels);
    parallel(count, |index| {
        for piece in chunk(pieces, 1, index, count) {
            let (map, block) = (piece / blocks, piece % blocks);
            let lines = block * ROWS..((block + 1) * ROWS).min(input.rows);
            let met = lines
                .clone()
                .map(|line| &covering.rows[line])
                .filter(|met| !met.is_empty());
            let first = met.clone().map(|met| met.start).min().unwrap_or(0);
            let last = met.map(|met| met.end).max().unwrap_or(first);
            let line = slope.columns * channels;
            with_scratch((last - first) * line, |places| {
                for (row, places) in (first..last).zip(places.chunks_exact_mut(line.max(1))) {
                    level.run(Largest {
                        input: &input,
                        map,
                        rows: rows[row].clone(),
                        columns: &columns,
                        places,
                    });
                }
                for row in lines {
                    level.run(Collect::<true> {
                        slope: &slope,
                        map,
                        place: (row * input.columns) as i32,
                        rows: covering.rows[row].clone(),
                        columns: &covering.columns,
                        first,
                        places,
                        scales: &[],
                        output: to.at((map * input.rows + row) * input.columns * pitch),
                        pitch,
                    });
                }
            });
        }
    });
}

/// The gradient of what [`avg_pool`](crate::avg_pool) read.
///
/// # Shapes
/// `of_input`, which is overwritten, has the shape of what was pooled; `slope` has that of the pooling's output.
///
/// # Panics
/// If the shapes do not fit together.
pub fn avg_pool_slopes(pool: &Pool, slope: View<'_>, of_input: ViewMut<'_>) {
    let (rows, columns) = (of_input.rows, of_input.columns);
    mean_slopes(
        slope,
        of_input,
        |at| pool.window(0, at, rows),
        |at| pool.window(1, at, columns),
    );
}

/// The gradient of what [`adaptive_avg_pool`](crate::adaptive_avg_pool) read.
///
/// # Shapes
/// As for [`avg_pool_slopes`].
///
/// # Panics
/// If the shapes do not fit together.
pub fn adaptive_avg_pool_slopes(slope: View<'_>, of_input: ViewMut<'_>) {
    let (rows, columns) = (of_input.rows, of_input.columns);
    let window = |at: usize, size: usize, count: usize| {
        let bounds = adaptive_bounds(at, size, count);
        (bounds.clone(), bounds.len())
    };
    mean_slopes(
        slope,
        of_input,
        |at| window(at, rows, slope.rows),
        |at| window(at, columns, slope.columns),
    );
}

/// The gradient of means over windows, of which each axis says what they hold and how long they count.
fn mean_slopes(
    slope: View<'_>,
    of_input: ViewMut<'_>,
    row: impl Fn(usize) -> (Range<usize>, usize),
    column: impl Fn(usize) -> (Range<usize>, usize),
) {
    check(shape(&of_input), &slope, &of_input);
    let [batch, rows, columns, channels] = shape(&of_input);
    if of_input.pixels() == 0 || channels == 0 {
        return;
    }
    let (row_windows, high): (Vec<_>, Vec<_>) = (0..slope.rows).map(row).unzip();
    let (column_windows, wide): (Vec<_>, Vec<_>) = (0..slope.columns).map(column).unzip();
    let covering = Covering {
        rows: covering(rows, &row_windows),
        columns: covering(columns, &column_windows),
    };
    let area = |window: usize| high[window / slope.columns] * wide[window % slope.columns];
    let windows = slope.rows * slope.columns;
    let scales: Vec<f32> = (0..windows)
        .map(|window| 1.0 / area(window) as f32)
        .collect();
    let level = Level::best();
    let pitch = of_input.pitch;
    let to = Output::new(of_input.data);
    let lines = batch * rows;
    let met = |all: &[Range<usize>]| all.iter().map(|met| met.len()).max().unwrap_or(0);
    let cost = met(&covering.rows) * met(&covering.columns) + 1;
    let count = chunks(lines, lines * columns * channels * cost);
    parallel(count, |index| {
        for line in chunk(lines, 1, index, count) {
            level.run(Collect::<false> {
                slope: &slope,
                map: line / rows,
                place: 0,
                rows: covering.rows[line % rows].clone(),
                columns: &covering.columns,
                first: 0,
                places: &[],
                scales: &scales,
                output: to.at(line * columns * pitch),
                pitch,
            });
        }
    });
}

/// Vectors of channels at a time, where there are so many.
const TOGETHER: usize = 4;

/// Some neighbouring channels: whole vectors, or else fewer than one has.
#[derive(Clone, Copy)]
struct Channels {
    first: usize,
    some: Option<usize>,
}

impl Channels {
    /// All channels, `VECTORS` vectors at a time, the last of which overlap those before them.
    #[inline(always)]
    fn all<S: Simd, const VECTORS: usize>(channels: usize) -> impl Iterator<Item = Self> {
        let width = VECTORS * S::lanes32();
        let some = (channels < width).then_some(channels);
        (0..channels.div_ceil(width)).map(move |index| Self {
            first: first_channel(index, channels, width),
            some,
        })
    }

    /// Those of the pixel at a pointer.
    ///
    /// # Safety
    /// They must be readable.
    #[inline(always)]
    unsafe fn read<S: Simd, const VECTORS: usize>(self, from: *const f32) -> [Floats<S>; VECTORS] {
        let mut vectors = [splat::<S>(0.0); VECTORS];
        for (v, vector) in vectors.iter_mut().enumerate() {
            // SAFETY: the caller's.
            *vector = unsafe {
                let from = from.add(self.first + v * S::lanes32());
                match self.some {
                    Some(count) => load_some(from, count),
                    None => load(from),
                }
            };
        }
        vectors
    }

    /// Writes them to the pixel at a pointer.
    ///
    /// # Safety
    /// They must be writable.
    #[inline(always)]
    unsafe fn write<S: Simd, const VECTORS: usize>(
        self,
        to: *mut f32,
        vectors: [Floats<S>; VECTORS],
    ) {
        for (v, vector) in vectors.into_iter().enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let to = to.add(self.first + v * S::lanes32());
                match self.some {
                    Some(count) => store_some(to, vector, count),
                    None => store(to, vector),
                }
            }
        }
    }
}

/// A pixel's number within its map, as a vector that is only ever compared with others of its kind.
#[inline(always)]
fn mark<S: Simd>(pixel: i32) -> Floats<S> {
    // So many integers f32 tells apart; no window has more pixels.
    splat((pixel & 0xff_ffff) as f32)
}

/// Finds where the largest elements of a line of windows are.
struct Largest<'a> {
    input: &'a View<'a>,
    map: usize,
    rows: Range<usize>,
    columns: &'a [Range<usize>],
    /// The pixel, a mark for each window and channel.
    places: &'a mut [f32],
}

impl WithSimd for Largest<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        match self.input.channels >= TOGETHER * S::lanes32() {
            true => self.line::<S, TOGETHER>(),
            false => self.line::<S, 1>(),
        }
    }
}

impl Largest<'_> {
    #[inline(always)]
    fn line<S: Simd, const VECTORS: usize>(self) {
        let View {
            columns,
            channels,
            pitch,
            ..
        } = *self.input;
        let start = self.map * self.input.rows * columns * pitch;
        let map = self.input.data.as_ptr().wrapping_add(start);
        let windows = self
            .columns
            .iter()
            .zip(self.places.chunks_exact_mut(channels));
        for (across, places) in windows {
            for some in Channels::all::<S, VECTORS>(channels) {
                let mut most = [splat::<S>(f32::NEG_INFINITY); VECTORS];
                let start = self.rows.start * columns + across.start;
                let mut places_of_most = [mark::<S>(start as i32); VECTORS];
                for row in self.rows.clone() {
                    for column in across.clone() {
                        let pixel = row * columns + column;
                        // SAFETY: windows lie within the map.
                        let values = unsafe { some.read::<S, VECTORS>(map.add(pixel * pitch)) };
                        let own = mark::<S>(pixel as i32);
                        let all = most.iter_mut().zip(&mut places_of_most).zip(values);
                        for ((most, place), value) in all {
                            let larger = value.gt(*most).select(own, *place);
                            *place = value.eq(value).select(larger, own);
                            let larger = value.gt(*most).select(value, *most);
                            // Not equal to itself: NaN.
                            *most = value.eq(value).select(larger, value);
                        }
                    }
                }
                // SAFETY: the window's channels.
                unsafe { some.write(places.as_mut_ptr(), places_of_most) };
            }
        }
    }
}

/// Collects the slopes of a line of pixels: those of windows whose largest they are, or of all of them.
struct Collect<'a, const LARGEST: bool> {
    slope: &'a View<'a>,
    map: usize,
    /// The first pixel's number within the map.
    place: i32,
    /// The windows that the line lies in, up and down.
    rows: Range<usize>,
    columns: &'a [Range<usize>],
    /// The row of windows where `places` begins.
    first: usize,
    places: &'a [f32],
    /// What each window's slope is multiplied by, where the windows are means.
    scales: &'a [f32],
    output: *mut f32,
    pitch: usize,
}

impl<const LARGEST: bool> WithSimd for Collect<'_, LARGEST> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        match self.slope.channels >= TOGETHER * S::lanes32() {
            true => self.line::<S, TOGETHER>(),
            false => self.line::<S, 1>(),
        }
    }
}

impl<const LARGEST: bool> Collect<'_, LARGEST> {
    #[inline(always)]
    fn line<S: Simd, const VECTORS: usize>(self) {
        let View {
            rows,
            columns,
            channels,
            pitch,
            ..
        } = *self.slope;
        let start = self.map * rows * columns * pitch;
        let map = self.slope.data.as_ptr().wrapping_add(start);
        for (x, across) in self.columns.iter().enumerate() {
            let own = mark::<S>(self.place + x as i32);
            for some in Channels::all::<S, VECTORS>(channels) {
                let zero = splat::<S>(0.0);
                let mut sums = [zero; VECTORS];
                for row in self.rows.clone() {
                    for column in across.clone() {
                        let window = row * columns + column;
                        // SAFETY: the windows are there.
                        let slopes = unsafe { some.read::<S, VECTORS>(map.add(window * pitch)) };
                        if LARGEST {
                            let at = (window - self.first * columns) * channels;
                            // SAFETY: as above.
                            let places =
                                unsafe { some.read::<S, VECTORS>(self.places.as_ptr().add(at)) };
                            for ((sum, slope), place) in sums.iter_mut().zip(slopes).zip(places) {
                                *sum += place.eq(own).select(slope, zero);
                            }
                        } else {
                            let scale = splat::<S>(self.scales[window]);
                            for (sum, slope) in sums.iter_mut().zip(slopes) {
                                *sum = slope.mul_add(scale, *sum);
                            }
                        }
                    }
                }
                // SAFETY: the line is written by this call alone.
                unsafe { some.write(self.output.wrapping_add(x * self.pitch), sums) };
            }
        }
    }
}
