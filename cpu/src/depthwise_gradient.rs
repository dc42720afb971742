//! The gradient of a depthwise convolution's weights: every channel by itself, a vector of channels at a time.
//!
//! Each tap's sum runs over all outputs. A *stretch* of a line's outputs is summed in registers, some rows of taps at
//! once, so that what is read of the slopes and the input serves many taps. Stretches are added up in 32 bits, so many
//! of them (a *part*), and parts in 64. Shapes alone say where parts begin: the cores change nothing.

#![allow(unsafe_code)] // Loads and stores through pointers.

use std::ops::Range;

use macerator::{Simd, WithSimd};

use crate::geometry::ConvGeometry;
use crate::simd::{Floats, Level, first_channel, load, load_up_to, splat, store};
use crate::threads::{Output, chunk, chunks, parallel, with_scratch};
use crate::tile::many_registers;
use crate::view::View;

/// Outputs side by side whose windows overlap, as in the convolution itself. A stretch is a multiple of both.
const MANY: usize = 7;
const FEW: usize = 4;

/// Outputs of a line that are summed in registers.
const STRETCH: usize = 28;

/// Stretches that are added up in 32 bits.
const LONGEST: usize = 128;

/// Channels that a core works on at a time. More would leave the second-level cache between one row of taps and the
/// next; fewer would be read from memory in pieces.
const BLOCK: usize = 256;

/// Pieces of work, blocks of channels times parts, that are wanted for however many cores there are.
const PIECES: usize = 16;

/// Multiply-adds below which a piece is not divided further.
const SMALLEST: usize = 100_000;

/// Vectors of channels summed side by side for taps that are not tiled.
const TOGETHER: usize = 4;

/// Adds up the products of a part with a block of channels. Each is a function of its own, as the convolution's are.
type Kernel = unsafe fn(&Piece<'_>);

/// How the work is divided.
struct Division {
    blocks: usize,
    parts: usize,
    /// Stretches of a line.
    stretches: usize,
    /// Elements of a tap's sums.
    width: usize,
}

/// Some channels of some stretches, and where their products are summed.
struct Piece<'a> {
    geometry: &'a ConvGeometry,
    input: View<'a>,
    slope: View<'a>,
    stretches: Range<usize>,
    /// Stretches of a line.
    in_line: usize,
    /// `[taps][width]`
    sums: *mut f32,
    width: usize,
}

/// The gradient of the weights `[channels, 1, kernel rows, kernel columns]` of a depthwise convolution, from what the
/// convolution read and the gradient of what it wrote; added to what is there if `add` says so.
///
/// # Panics
/// If the convolution is not depthwise, or the shapes do not fit together.
pub(crate) fn depthwise_weight_gradient(
    geometry: &ConvGeometry,
    input: View<'_>,
    slope: View<'_>,
    weights: &mut [f32],
    add: bool,
) {
    check(geometry, &input, &slope, weights);
    if weights.is_empty() {
        return;
    }
    if slope.pixels() == 0 || input.pixels() == 0 {
        if !add {
            weights.fill(0.0);
        }
        return;
    }
    let level = Level::best();
    let lanes = level.lanes();
    let (channels, taps) = (geometry.output, geometry.taps());
    let division = Division::new(geometry, &slope, lanes);
    let Division { blocks, parts, .. } = division;
    let all = slope.batch * slope.rows * division.stretches;
    let size = taps * division.width;
    let pieces = blocks * parts;
    with_scratch(pieces * size, |scratch| {
        let sums = Output::new(scratch);
        let count = chunks(pieces, slope.pixels() * channels * taps);
        parallel(count, |index| {
            for piece in chunk(pieces, 1, index, count) {
                let (part, block) = (piece / blocks, piece % blocks);
                let own = chunk(channels, lanes, block, blocks);
                let piece = Piece {
                    geometry,
                    input: input.slice_channels(own.clone()),
                    slope: slope.slice_channels(own),
                    stretches: chunk(all, 1, part, parts),
                    in_line: division.stretches,
                    sums: sums.at(piece * size),
                    width: division.width,
                };
                // SAFETY: each piece has sums of its own, which it sets to zero first.
                unsafe { std::slice::from_raw_parts_mut(piece.sums, size) }.fill(0.0);
                // SAFETY: the level is one that this processor has.
                unsafe { level.run(Find(&piece))(&piece) };
            }
        });
        let scratch = &*scratch;
        let weights = Output::new(weights);
        let count = chunks(blocks, pieces * size);
        parallel(count, |index| {
            for block in chunk(blocks, 1, index, count) {
                let own = chunk(channels, lanes, block, blocks);
                // SAFETY: the weights of these channels, which are this block's.
                let weights = unsafe {
                    std::slice::from_raw_parts_mut(weights.at(own.start * taps), own.len() * taps)
                };
                let sums = scratch.chunks_exact(size).skip(block).step_by(blocks);
                gather(sums, division.width, lanes, weights, taps, add);
            }
        });
    });
}

fn check(geometry: &ConvGeometry, input: &View<'_>, slope: &View<'_>, weights: &[f32]) {
    geometry.check();
    input.check();
    slope.check();
    let channels = geometry.groups;
    assert_eq!(
        [geometry.input, geometry.output],
        [channels; 2],
        "channels of a depthwise convolution of {channels} groups"
    );
    assert_eq!(
        [input.channels, slope.channels],
        [channels; 2],
        "channels of input and slopes"
    );
    assert_eq!(input.batch, slope.batch, "maps of input and slopes");
    assert_eq!(
        weights.len(),
        channels * geometry.taps(),
        "weights of {geometry:?}"
    );
}

impl Division {
    fn new(geometry: &ConvGeometry, slope: &View<'_>, lanes: usize) -> Self {
        let channels = geometry.output;
        let blocks = channels.div_ceil(BLOCK);
        let stretches = slope.columns.div_ceil(STRETCH);
        let all = slope.batch * slope.rows * stretches;
        let cost = slope.pixels() * channels * geometry.taps();
        let wanted = PIECES.div_ceil(blocks).min(cost / SMALLEST / blocks);
        Self {
            blocks,
            parts: all.div_ceil(LONGEST).max(wanted).clamp(1, all),
            stretches,
            width: channels.div_ceil(lanes).div_ceil(blocks) * lanes,
        }
    }
}

/// Adds up the parts of a block of channels.
fn gather<'a>(
    parts: impl Iterator<Item = &'a [f32]> + Clone,
    width: usize,
    lanes: usize,
    weights: &mut [f32],
    taps: usize,
    add: bool,
) {
    let channels = weights.len() / taps;
    let mut sums = vec![0.0f64; width];
    for tap in 0..taps {
        sums.fill(0.0);
        for part in parts.clone() {
            for (sum, value) in sums.iter_mut().zip(&part[tap * width..][..width]) {
                *sum += f64::from(*value);
            }
        }
        for channel in 0..channels {
            let vector = channel / lanes;
            let lane = channel - first_channel(vector, channels, lanes);
            let weight = &mut weights[channel * taps + tap];
            let before = if add { f64::from(*weight) } else { 0.0 };
            *weight = (before + sums[vector * lanes + lane]) as f32;
        }
    }
}

/// Finds the code for pieces like this one.
struct Find<'a>(&'a Piece<'a>);

impl WithSimd for Find<'_> {
    type Output = Kernel;

    #[inline(always)]
    fn with_simd<S: Simd>(self) -> Kernel {
        let Piece {
            geometry, slope, ..
        } = self.0;
        let wide = slope.channels >= S::lanes32() && slope.columns >= FEW;
        let many = many_registers(S::lanes32());
        let seven = many && slope.columns.is_multiple_of(MANY);
        match (geometry.kernel[1], geometry.stride[1], geometry.dilation[1]) {
            (3, 1, 1) if wide && seven => tiled::<S, 3, 1, MANY, 3>,
            (3, 1, 1) if wide => tiled::<S, 3, 1, FEW, 3>,
            (3, 2, 1) if wide && seven => tiled::<S, 3, 2, MANY, 3>,
            (3, 2, 1) if wide => tiled::<S, 3, 2, FEW, 3>,
            (5, 1, 1) if wide && seven => tiled::<S, 5, 1, MANY, 3>,
            (5, 1, 1) if wide && many => tiled::<S, 5, 1, FEW, 3>,
            (5, 1, 1) if wide => tiled::<S, 5, 1, FEW, 2>,
            (5, 2, 1) if wide && seven => tiled::<S, 5, 2, MANY, 3>,
            (5, 2, 1) if wide && many => tiled::<S, 5, 2, FEW, 3>,
            (5, 2, 1) if wide => tiled::<S, 5, 2, FEW, 2>,
            (7, 1, 1) if wide && seven => tiled::<S, 7, 1, MANY, 3>,
            (7, 1, 1) if wide && many => tiled::<S, 7, 1, FEW, 3>,
            (7, 1, 1) if wide => tiled::<S, 7, 1, FEW, 1>,
            _ if slope.channels >= S::lanes32() => tap_by_tap::<S, true>,
            _ => tap_by_tap::<S, false>,
        }
    }
}

/// Kernels `WIDTH` taps wide, `COLUMNS` outputs and at most `ROWS` rows of taps at a time, for the instructions `S`,
/// which the processor must have.
unsafe fn tiled<
    S: Simd,
    const WIDTH: usize,
    const STRIDE: usize,
    const COLUMNS: usize,
    const ROWS: usize,
>(
    piece: &Piece<'_>,
) {
    struct Run<'a, const WIDTH: usize, const STRIDE: usize, const COLUMNS: usize, const ROWS: usize>(
        &'a Piece<'a>,
    );
    impl<const WIDTH: usize, const STRIDE: usize, const COLUMNS: usize, const ROWS: usize> WithSimd
        for Run<'_, WIDTH, STRIDE, COLUMNS, ROWS>
    {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self) {
            for stretch in self.0.stretches.clone() {
                self.0.tiled::<S, WIDTH, STRIDE, COLUMNS, ROWS>(stretch);
            }
        }
    }
    // SAFETY: the caller's.
    unsafe { S::vectorize(Run::<WIDTH, STRIDE, COLUMNS, ROWS>(piece)) }
}

/// Kernels of any shape, for the instructions `S`, which the processor must have; `WHOLE` says that there are enough
/// channels for a vector.
unsafe fn tap_by_tap<S: Simd, const WHOLE: bool>(piece: &Piece<'_>) {
    struct Run<'a, const WHOLE: bool>(&'a Piece<'a>);
    impl<const WHOLE: bool> WithSimd for Run<'_, WHOLE> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self) {
            for stretch in self.0.stretches.clone() {
                self.0.taps::<S, WHOLE>(stretch);
            }
        }
    }
    // SAFETY: the caller's.
    unsafe { S::vectorize(Run::<WHOLE>(piece)) }
}

/// Some rows of taps over a stretch.
#[derive(Clone, Copy)]
struct Rows {
    /// The first pixel of the input's line that the first row of taps reads.
    input: *const f32,
    /// From there to the line of the next row of taps.
    step: usize,
    /// The first pixel of the slopes' line.
    slope: *const f32,
    /// Outputs, from and to.
    from: usize,
    to: usize,
}

impl Piece<'_> {
    /// The map, line and outputs of a stretch.
    #[inline(always)]
    fn place(&self, stretch: usize) -> (usize, usize, usize, usize) {
        let (line, part) = (stretch / self.in_line, stretch % self.in_line);
        let from = part * STRETCH;
        let to = (from + STRETCH).min(self.slope.columns);
        (line / self.slope.rows, line % self.slope.rows, from, to)
    }

    /// Where pixels of a stretch begin, and which rows of taps meet the map.
    #[inline(always)]
    fn rows(&self, stretch: usize) -> (Rows, usize, usize) {
        let (map, y, from, to) = self.place(stretch);
        let (first, last, row) = self.geometry.clip(0, y, self.input.rows);
        let line = (map * self.input.rows).wrapping_add(row);
        let start = line.wrapping_mul(self.input.columns * self.input.pitch);
        let own = (map * self.slope.rows + y) * self.slope.columns * self.slope.pitch;
        let rows = Rows {
            input: self.input.data.as_ptr().wrapping_add(start),
            step: self.geometry.dilation[0] * self.input.columns * self.input.pitch,
            slope: self.slope.data.as_ptr().wrapping_add(own),
            from,
            to,
        };
        (rows, first, last)
    }

    #[inline(always)]
    fn tiled<
        S: Simd,
        const WIDTH: usize,
        const STRIDE: usize,
        const COLUMNS: usize,
        const ROWS: usize,
    >(
        &self,
        stretch: usize,
    ) {
        let lanes = S::lanes32();
        let channels = self.slope.channels;
        let (start, first, last) = self.rows(stretch);
        for vector in 0..channels.div_ceil(lanes) {
            let channel = first_channel(vector, channels, lanes);
            let mut rows = start;
            rows.input = rows.input.wrapping_add(channel);
            rows.slope = rows.slope.wrapping_add(channel);
            let mut tap = first;
            while tap < last {
                let to = self
                    .sums
                    .wrapping_add(tap * WIDTH * self.width + vector * lanes);
                // SAFETY: these rows of taps lie within the map, and their sums are this piece's.
                let done = unsafe {
                    match last - tap {
                        3.. if ROWS >= 3 && last - tap != 4 => {
                            self.sum::<S, WIDTH, STRIDE, COLUMNS, 3>(rows, to)
                        }
                        2.. if ROWS >= 2 => self.sum::<S, WIDTH, STRIDE, COLUMNS, 2>(rows, to),
                        _ => self.sum::<S, WIDTH, STRIDE, COLUMNS, 1>(rows, to),
                    }
                };
                tap += done;
                rows.input = rows.input.wrapping_add(done * rows.step);
            }
        }
    }

    /// Adds `ROWS` rows of taps over a stretch to their sums; gives how many rows they were.
    ///
    /// # Safety
    /// The rows must lie within the maps, and the sums be there.
    #[inline(always)]
    unsafe fn sum<
        S: Simd,
        const WIDTH: usize,
        const STRIDE: usize,
        const COLUMNS: usize,
        const ROWS: usize,
    >(
        &self,
        rows: Rows,
        to: *mut f32,
    ) -> usize {
        let mut sums = [[splat::<S>(0.0); WIDTH]; ROWS];
        let padding = self.geometry.padding[1];
        let reach = (COLUMNS - 1) * STRIDE + WIDTH;
        let mut x = rows.from;
        // SAFETY: the caller's.
        unsafe {
            while x + COLUMNS <= rows.to {
                let start = x * STRIDE;
                if start >= padding && start - padding + reach <= self.input.columns {
                    self.tile::<S, WIDTH, STRIDE, COLUMNS, ROWS, false>(rows, x, &mut sums);
                } else {
                    self.tile::<S, WIDTH, STRIDE, COLUMNS, ROWS, true>(rows, x, &mut sums);
                }
                x += COLUMNS;
            }
            while x < rows.to {
                self.tile::<S, WIDTH, STRIDE, 1, ROWS, true>(rows, x, &mut sums);
                x += 1;
            }
            for (r, row) in sums.iter().enumerate() {
                for (t, sum) in row.iter().enumerate() {
                    let to = to.add((r * WIDTH + t) * self.width);
                    store(to, load::<S>(to) + *sum);
                }
            }
        }
        ROWS
    }

    /// Adds `COLUMNS` neighbouring outputs' products; `EDGE` says that some taps may lie outside the map.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn tile<
        S: Simd,
        const WIDTH: usize,
        const STRIDE: usize,
        const COLUMNS: usize,
        const ROWS: usize,
        const EDGE: bool,
    >(
        &self,
        rows: Rows,
        x: usize,
        sums: &mut [[Floats<S>; WIDTH]; ROWS],
    ) {
        let pitch = self.input.pitch;
        let padding = self.geometry.padding[1];
        let outside = padding.saturating_sub(x * STRIDE);
        let end = (self.input.columns + padding).saturating_sub(x * STRIDE);
        let inside = end.saturating_sub(outside);
        let first = (x * STRIDE).wrapping_sub(padding).wrapping_mul(pitch);
        let columns = Columns {
            pitch,
            outside,
            inside,
        };
        let mut slopes = [splat::<S>(0.0); COLUMNS];
        // SAFETY: the caller's; columns outside the map are passed over.
        unsafe {
            for (c, slope) in slopes.iter_mut().enumerate() {
                *slope = load::<S>(rows.slope.add((x + c) * self.slope.pitch));
            }
            // Row by row in so many words, as in `row`.
            let input = rows.input.wrapping_add(first);
            columns.row::<S, WIDTH, STRIDE, COLUMNS, EDGE>(input, &slopes, &mut sums[0]);
            if ROWS > 1 {
                let input = input.wrapping_add(rows.step);
                columns.row::<S, WIDTH, STRIDE, COLUMNS, EDGE>(input, &slopes, &mut sums[1]);
            }
            if ROWS > 2 {
                let input = input.wrapping_add(2 * rows.step);
                columns.row::<S, WIDTH, STRIDE, COLUMNS, EDGE>(input, &slopes, &mut sums[2]);
            }
        }
    }

    #[inline(always)]
    fn taps<S: Simd, const WHOLE: bool>(&self, stretch: usize) {
        let lanes = S::lanes32();
        let (mut rows, first, last) = self.rows(stretch);
        let vectors = self.slope.channels.div_ceil(lanes);
        for row in first..last {
            for column in 0..self.geometry.kernel[1] {
                let tap = row * self.geometry.kernel[1] + column;
                let mut vector = 0;
                while vector < vectors {
                    // SAFETY: the row lies within the map, and its sums are this piece's.
                    vector += unsafe {
                        if vector + TOGETHER < vectors {
                            self.tap::<S, WHOLE, TOGETHER>(rows, tap, column, vector)
                        } else {
                            self.tap::<S, WHOLE, 1>(rows, tap, column, vector)
                        }
                    };
                }
            }
            rows.input = rows.input.wrapping_add(rows.step);
        }
    }

    /// Adds one tap over a stretch to the sums of `VECTORS` vectors of channels; gives how many they were.
    ///
    /// # Safety
    /// The tap's row must lie within the maps, and the sums be there.
    #[inline(always)]
    unsafe fn tap<S: Simd, const WHOLE: bool, const VECTORS: usize>(
        &self,
        rows: Rows,
        tap: usize,
        column: usize,
        vector: usize,
    ) -> usize {
        let lanes = S::lanes32();
        let channels = self.slope.channels;
        let [_, stride] = self.geometry.stride;
        let padding = self.geometry.padding[1];
        let offset = column * self.geometry.dilation[1];
        // The outputs for which the tap lies within the map.
        let from = padding
            .saturating_sub(offset)
            .div_ceil(stride)
            .max(rows.from);
        let end = (self.input.columns + padding).saturating_sub(offset);
        let to = end.div_ceil(stride).min(rows.to);
        let count = channels.min(lanes);
        let read = |from: *const f32| {
            // SAFETY: the caller's.
            unsafe {
                match WHOLE {
                    true => load::<S>(from),
                    false => load_up_to::<S>(from, count),
                }
            }
        };
        let firsts: [usize; VECTORS] =
            std::array::from_fn(|v| first_channel(vector + v, channels, lanes));
        let mut sums = [splat::<S>(0.0); VECTORS];
        for x in from..to {
            let input =
                (rows.input).wrapping_add((x * stride + offset - padding) * self.input.pitch);
            let slope = rows.slope.wrapping_add(x * self.slope.pitch);
            for (sum, first) in sums.iter_mut().zip(firsts) {
                let value = read(input.wrapping_add(first));
                *sum = value.mul_add(read(slope.wrapping_add(first)), *sum);
            }
        }
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let to = self.sums.add(tap * self.width + (vector + v) * lanes);
                store(to, load::<S>(to) + *sum);
            }
        }
        VECTORS
    }
}

/// The pixels of a line that neighbouring outputs read.
#[derive(Clone, Copy)]
struct Columns {
    /// From one pixel to the next, in elements.
    pitch: usize,
    /// Pixels before the map.
    outside: usize,
    /// Pixels of the map after them.
    inside: usize,
}

impl Columns {
    /// Adds one row of taps.
    ///
    /// # Safety
    /// The pixels must be readable: with `EDGE` those of the map, otherwise all.
    #[inline(always)]
    unsafe fn row<
        S: Simd,
        const WIDTH: usize,
        const STRIDE: usize,
        const COLUMNS: usize,
        const EDGE: bool,
    >(
        self,
        input: *const f32,
        slopes: &[Floats<S>; COLUMNS],
        sums: &mut [Floats<S>; WIDTH],
    ) {
        // In so many words: a loop so long is not always unrolled, and then the sums are kept in memory.
        macro_rules! pixels {
            ($($at:literal)*) => {
                // SAFETY: the caller's.
                unsafe { $(self.pixel::<S, WIDTH, STRIDE, COLUMNS, EDGE, $at>(input, slopes, sums);)* }
            };
        }
        pixels!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    }

    /// Adds the products with pixel `AT` of those that the outputs read.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn pixel<
        S: Simd,
        const WIDTH: usize,
        const STRIDE: usize,
        const COLUMNS: usize,
        const EDGE: bool,
        const AT: usize,
    >(
        self,
        input: *const f32,
        slopes: &[Floats<S>; COLUMNS],
        sums: &mut [Floats<S>; WIDTH],
    ) {
        if AT >= (COLUMNS - 1) * STRIDE + WIDTH
            || EDGE && AT.wrapping_sub(self.outside) >= self.inside
        {
            return;
        }
        // SAFETY: the caller's.
        let value = unsafe { load::<S>(input.wrapping_add(AT * self.pitch)) };
        for (c, slope) in slopes.iter().enumerate() {
            if AT >= c * STRIDE && AT - c * STRIDE < WIDTH {
                let sum = &mut sums[AT - c * STRIDE];
                *sum = value.mul_add(*slope, *sum);
            }
        }
    }
}
