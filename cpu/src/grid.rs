//! How pixels are divided into blocks whose sums are added up, in order, with any number of cores.

use crate::elementwise::whole_vectors;
use crate::simd::Level;
use crate::threads::{chunk, chunks, parallel};

/// Elements of a block: those of two maps stay in the second cache.
const BLOCK: usize = 32 * 1024;

/// Rows of a block: enough that what becomes of it is small beside it, and few enough that sums in f32 lose nothing.
const ROWS: [usize; 2] = [32, 512];

/// Multiply-adds in the time that an element takes: it waits for memory.
const COST: usize = 4;

/// How pixels are divided into blocks of rows. It depends on the shape and on the vectors, never on the cores.
///
/// Where pixels lie without gaps, as many make one row as it takes to fill whole vectors.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    pixels: usize,
    pub(crate) channels: usize,
    /// Pixels of a row.
    pub(crate) fold: usize,
    /// Rows of a block.
    block: usize,
}

/// Rows of a block: all have the same width.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    /// The first pixel.
    pub(crate) first: usize,
    pub(crate) rows: usize,
    pub(crate) width: usize,
}

impl Grid {
    /// Of so many pixels of maps, all of which are `dense` or not.
    pub(crate) fn new(pixels: usize, channels: usize, dense: bool) -> Self {
        let fold = match dense {
            true => whole_vectors(channels, Level::best().lanes()),
            false => 1,
        };
        let rows = (BLOCK / (fold * channels).max(1)).clamp(ROWS[0], ROWS[1]);
        Self {
            pixels,
            channels,
            fold,
            // A multiple of what is added up at once.
            block: rows / 8 * 8,
        }
    }

    /// Elements of a row.
    pub(crate) fn width(&self) -> usize {
        self.fold * self.channels
    }

    /// Blocks of one map.
    pub(crate) fn blocks(&self) -> usize {
        self.pixels.div_ceil(self.block * self.fold)
    }

    /// The rows of a block, and the row of what pixels are left.
    pub(crate) fn pieces(&self, block: usize) -> [Piece; 2] {
        let first = block * self.block * self.fold;
        let pixels = (self.block * self.fold).min(self.pixels - first);
        let (rows, rest) = (pixels / self.fold, pixels % self.fold);
        let whole = Piece {
            first,
            rows,
            width: self.width(),
        };
        let left = Piece {
            first: first + rows * self.fold,
            rows: usize::from(rest > 0),
            width: rest * self.channels,
        };
        [whole, left]
    }

    /// Calls `body` with every block of `maps` maps, `map · blocks + block`, on all cores.
    pub(crate) fn each(&self, maps: usize, body: impl Fn(usize) + Sync) {
        let all = maps * self.blocks();
        let count = chunks(all, maps * self.pixels * self.channels * COST);
        parallel(count, |index| chunk(all, 1, index, count).for_each(&body));
    }

    /// Numbers for each channel as often as a row has them.
    pub(crate) fn row(&self, of: impl Fn(usize) -> f32) -> Vec<f32> {
        let one: Vec<f32> = (0..self.channels).map(of).collect();
        one.repeat(self.fold)
    }

    /// Sums of each channel over all blocks, in order: `sums` holds `K` rows for each.
    pub(crate) fn join<const K: usize>(&self, sums: &[f32]) -> [Vec<f64>; K] {
        let width = self.width();
        let mut wide: [Vec<f64>; K] = std::array::from_fn(|_| vec![0.0; width]);
        for block in sums.chunks_exact(K * width) {
            for (into, from) in wide.iter_mut().zip(block.chunks_exact(width)) {
                for (into, from) in into.iter_mut().zip(from) {
                    *into += f64::from(*from);
                }
            }
        }
        wide.map(|wide| self.folded(&wide))
    }

    /// The sums of channels over the pixels of a row.
    fn folded(&self, wide: &[f64]) -> Vec<f64> {
        let mut channels = vec![0.0; self.channels];
        for pixel in wide.chunks_exact(self.channels) {
            for (into, from) in channels.iter_mut().zip(pixel) {
                *into += from;
            }
        }
        channels
    }

    /// Mean and sum of squared distances from it for each channel, from every block's
    /// [`Moments`](crate::columns::Moments).
    pub(crate) fn join_moments(&self, moments: &[f32]) -> [Vec<f64>; 2] {
        let width = self.width();
        // Pixels that a block has in a column.
        let counts = |block: usize| {
            let [whole, left] = self.pieces(block);
            move |at: usize| (whole.rows + usize::from(at < left.width)) as f64
        };
        let (mut sums, mut squares) = (vec![0.0; width], vec![0.0; width]);
        let blocks = || {
            let blocks = moments.chunks_exact(3 * width).enumerate();
            blocks.map(|(block, rows)| {
                let (centre, rows) = rows.split_at(width);
                let (sum, square) = rows.split_at(width);
                (counts(block), centre, sum, square)
            })
        };
        for (count, centre, sum, _) in blocks() {
            for at in 0..width {
                sums[at] += count(at) * f64::from(centre[at]) + f64::from(sum[at]);
            }
        }
        let mut means = self.folded(&sums);
        means.iter_mut().for_each(|sum| *sum /= self.pixels as f64);
        let wide = means.repeat(self.fold);
        for (count, centre, sum, square) in blocks() {
            for at in 0..width {
                // Distances from the mean instead of from the block's centre.
                let (moved, sum) = (f64::from(centre[at]) - wide[at], f64::from(sum[at]));
                squares[at] += f64::from(square[at]) + moved * (2.0 * sum + count(at) * moved);
            }
        }
        [means, self.folded(&squares)]
    }
}
