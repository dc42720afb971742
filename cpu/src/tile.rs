//! The microkernel: a tile of a matrix product, held in registers over the whole reduction.

#![allow(unsafe_code)] // Everything here is reached through pointers.

use std::marker::PhantomData;

use macerator::{Simd, WithSimd};

use crate::simd::{Floats, Level, load, prefetch, splat, store, within};

/// The most rows that a tile has.
pub(crate) const MOST_ROWS: usize = 8;

/// What a run of tiles multiplies, one tile below the other.
///
/// Row r of the output is the sum over taps t and k below `depth` of
/// `pointers[t * stride + r][offset + k]` times the weights of (t, k): the rows are read where they lie,
/// which makes a convolution and a matrix product the same thing.
#[derive(Clone, Copy)]
pub(crate) struct Tiles {
    /// Where each row begins, for each tap.
    pub(crate) pointers: *const *const f32,
    /// Pointers from one tap to the next.
    pub(crate) stride: usize,
    /// Taps of the reduction.
    pub(crate) taps: usize,
    /// Elements of each row to read before which nothing is.
    pub(crate) offset: usize,
    /// Elements of each row that are multiplied.
    pub(crate) depth: usize,
    /// `[taps][depth][vectors]`
    pub(crate) weights: *const f32,
    /// A panel's width of numbers to start from, or null for zeros.
    pub(crate) bias: *const f32,
    /// What else to start from, one row for each of the output's, or null.
    pub(crate) start: *const f32,
    /// Elements from one row of `start` to the next.
    pub(crate) start_pitch: usize,
    /// Where the result goes.
    pub(crate) output: *mut f32,
    /// Elements from one row of the output to the next.
    pub(crate) output_pitch: usize,
    /// The result is at least this,
    pub(crate) low: f32,
    /// and at most this.
    pub(crate) high: f32,
    /// How many tiles.
    pub(crate) tiles: usize,
    /// What will be read next, fetched meanwhile from further away: any address,
    pub(crate) ahead: *const f32,
    /// and how many bytes of it for each row of the weights.
    pub(crate) ahead_step: usize,
}

/// A run of tiles that can be computed for every size of tile.
pub(crate) trait TileRun {
    /// Computes it.
    ///
    /// # Safety
    /// Whoever made the run vouches for every pointer in it.
    unsafe fn compute<S: Simd, const ROWS: usize, const VECTORS: usize>(&self);
}

/// Computes a run of tiles.
pub(crate) type TileKernel<T> = unsafe fn(&T);

impl TileRun for Tiles {
    #[inline(always)]
    unsafe fn compute<S: Simd, const ROWS: usize, const VECTORS: usize>(&self) {
        let lanes = S::lanes32();
        let run = self;
        let mut pointers = run.pointers;
        let mut start = run.start;
        let mut output = run.output;
        let mut ahead = run.ahead;
        for _ in 0..run.tiles {
            // SAFETY: whoever made the run vouches for every pointer in it.
            unsafe {
                let mut sums = [[splat::<S>(0.0); VECTORS]; ROWS];
                if !run.bias.is_null() {
                    for v in 0..VECTORS {
                        let bias = load::<S>(run.bias.add(v * lanes));
                        for row in &mut sums {
                            row[v] = bias;
                        }
                    }
                }
                if !start.is_null() {
                    for (r, row) in sums.iter_mut().enumerate() {
                        for (v, sum) in row.iter_mut().enumerate() {
                            *sum += load::<S>(start.add(r * run.start_pitch + v * lanes));
                        }
                    }
                    start = start.add(ROWS * run.start_pitch);
                }
                let mut weights = run.weights;
                for tap in 0..run.taps {
                    let mut rows = [std::ptr::null::<f32>(); ROWS];
                    for (r, row) in rows.iter_mut().enumerate() {
                        *row = (*pointers.add(tap * run.stride + r)).add(run.offset);
                    }
                    for k in 0..run.depth {
                        let mut columns = [splat::<S>(0.0); VECTORS];
                        for (v, column) in columns.iter_mut().enumerate() {
                            *column = load::<S>(weights.add(v * lanes));
                        }
                        for (r, row) in sums.iter_mut().enumerate() {
                            let factor: Floats<S> = splat(*rows[r].add(k));
                            for (v, sum) in row.iter_mut().enumerate() {
                                *sum = factor.mul_add(columns[v], *sum);
                            }
                        }
                        weights = weights.add(VECTORS * lanes);
                        prefetch(ahead);
                        ahead = ahead.wrapping_byte_add(run.ahead_step);
                    }
                }
                let low = splat::<S>(run.low);
                let high = splat::<S>(run.high);
                for (r, row) in sums.iter().enumerate() {
                    for (v, sum) in row.iter().enumerate() {
                        store(
                            output.add(r * run.output_pitch + v * lanes),
                            within(*sum, low, high),
                        );
                    }
                }
                pointers = pointers.add(ROWS);
                output = output.add(ROWS * run.output_pitch);
            }
        }
    }
}

struct OfSize<'a, T, const ROWS: usize, const VECTORS: usize>(&'a T);

impl<T: TileRun, const ROWS: usize, const VECTORS: usize> WithSimd
    for OfSize<'_, T, ROWS, VECTORS>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        // SAFETY: `entry`'s caller's.
        unsafe { self.0.compute::<S, ROWS, VECTORS>() }
    }
}

/// Compiled for the instructions `S`, which the processor must have.
unsafe fn entry<T: TileRun, S: Simd, const ROWS: usize, const VECTORS: usize>(run: &T) {
    // SAFETY: the caller's.
    unsafe { S::vectorize(OfSize::<T, ROWS, VECTORS>(run)) }
}

/// How wide and high the tiles are with a set of instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiling {
    /// f32 in a vector.
    pub(crate) lanes: usize,
    /// The most vectors side by side.
    pub(crate) vectors: usize,
    /// The vectors of a panel, unless its place asks for another width.
    pub(crate) usual: usize,
    level: Level,
}

/// Whether there are thirty-two registers of vectors, not sixteen.
pub(crate) const fn many_registers(lanes: usize) -> bool {
    lanes == 16 || cfg!(target_arch = "aarch64")
}

/// Whether a browser compiles this. It has fifteen registers of vectors, and keeps the numbers of all a tile's rows in
/// some of them where we would read one after the other: what then finds no room is written to memory at each step.
const IN_PAGE: bool = cfg!(target_family = "wasm");

/// Sums that are held in registers: three quarters of the registers there are.
const fn sums(lanes: usize) -> usize {
    if many_registers(lanes) { 24 } else { 12 }
}

impl Tiling {
    /// The tiles of a set of instructions.
    pub(crate) fn new(level: Level) -> Self {
        let lanes = level.lanes();
        let many = sums(lanes) == 24;
        Self {
            lanes,
            vectors: if many { 4 } else { 3 },
            usual: if many { 4 } else { 2 },
            level,
        }
    }

    /// The most rows of a tile so many vectors wide.
    pub(crate) fn rows(&self, vectors: usize) -> usize {
        match vectors {
            1 => MOST_ROWS,
            // Twelve sums would leave no register free, and the compiler would keep one in memory.
            3 if self.usual == 2 => 3,
            2 if IN_PAGE => 4,
            _ => (sums(self.lanes) / vectors).min(MOST_ROWS),
        }
    }

    /// How to cover so many rows with tiles so many vectors wide: heights, and tiles of each. They differ by one row at
    /// most: a last tile of one or two rows would take as long as one of four.
    pub(crate) fn heights(
        &self,
        rows: usize,
        vectors: usize,
    ) -> impl Iterator<Item = (usize, usize)> {
        let count = rows.div_ceil(self.rows(vectors));
        let (height, higher) = (rows / count.max(1), rows % count.max(1));
        [(height + 1, higher), (height, count - higher)]
            .into_iter()
            .filter(|&(_, count)| count > 0)
    }

    /// The code for tiles of a size; `rows` at most what [`Tiling::rows`] says.
    pub(crate) fn kernel<T: TileRun>(&self, rows: usize, vectors: usize) -> TileKernel<T> {
        self.level.run(Find {
            rows,
            vectors,
            run: PhantomData,
        })
    }
}

struct Find<T> {
    rows: usize,
    vectors: usize,
    run: PhantomData<T>,
}

impl<T: TileRun> WithSimd for Find<T> {
    type Output = TileKernel<T>;

    #[inline(always)]
    fn with_simd<S: Simd>(self) -> TileKernel<T> {
        let many = sums(S::lanes32()) == 24;
        match (self.vectors, self.rows) {
            (1, 1) => entry::<T, S, 1, 1>,
            (1, 2) => entry::<T, S, 2, 1>,
            (1, 3) => entry::<T, S, 3, 1>,
            (1, 4) => entry::<T, S, 4, 1>,
            (1, 5) => entry::<T, S, 5, 1>,
            (1, 6) => entry::<T, S, 6, 1>,
            (1, 7) => entry::<T, S, 7, 1>,
            (1, 8) => entry::<T, S, 8, 1>,
            (2, 1) => entry::<T, S, 1, 2>,
            (2, 2) => entry::<T, S, 2, 2>,
            (2, 3) => entry::<T, S, 3, 2>,
            (2, 4) => entry::<T, S, 4, 2>,
            (2, 5) => entry::<T, S, 5, 2>,
            (2, 6) => entry::<T, S, 6, 2>,
            (2, 7) if many => entry::<T, S, 7, 2>,
            (2, 8) if many => entry::<T, S, 8, 2>,
            (3, 1) => entry::<T, S, 1, 3>,
            (3, 2) => entry::<T, S, 2, 3>,
            (3, 3) => entry::<T, S, 3, 3>,
            (3, 4) if many => entry::<T, S, 4, 3>,
            (3, 5) if many => entry::<T, S, 5, 3>,
            (3, 6) if many => entry::<T, S, 6, 3>,
            (3, 7) if many => entry::<T, S, 7, 3>,
            (3, 8) if many => entry::<T, S, 8, 3>,
            (4, 1) if many => entry::<T, S, 1, 4>,
            (4, 2) if many => entry::<T, S, 2, 4>,
            (4, 3) if many => entry::<T, S, 3, 4>,
            (4, 4) if many => entry::<T, S, 4, 4>,
            (4, 5) if many => entry::<T, S, 5, 4>,
            (4, 6) if many => entry::<T, S, 6, 4>,
            (vectors, rows) => unreachable!("no tile of {rows} rows and {vectors} vectors"),
        }
    }
}
