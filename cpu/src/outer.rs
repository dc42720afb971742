//! The microkernel of outer products: a tile of a sum over pixels of products of their channels, held in registers.

#![allow(unsafe_code)] // Everything here is reached through pointers.

use macerator::Simd;

use crate::simd::{Floats, load, prefetch, splat, store};
use crate::tile::TileRun;

/// What is multiplied at one place of the reduction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    /// The rows' numbers, each of which is multiplied
    pub(crate) row: *const f32,
    /// with this line of the panel.
    pub(crate) line: usize,
}

/// A run of tiles, one below the other: row r of the sums gets the sum over pairs of `row[offset + r]` times a line of
/// the panel.
#[derive(Clone, Copy)]
pub(crate) struct Outer {
    pub(crate) pairs: *const Pair,
    /// How many of them.
    pub(crate) count: usize,
    /// `[lines][a panel's width]`
    pub(crate) panel: *const f32,
    /// The first row's place among the numbers of a pair.
    pub(crate) offset: usize,
    /// `[rows][a panel's width]`
    pub(crate) sums: *mut f32,
    /// Which row of the sums each row is.
    pub(crate) places: *const usize,
    /// Whether there are no sums yet to add to.
    pub(crate) first: bool,
    /// How far from a row's numbers lie others that will be read next, fetched meanwhile from further away.
    pub(crate) ahead: usize,
    /// How many tiles.
    pub(crate) tiles: usize,
}

impl TileRun for Outer {
    #[inline(always)]
    unsafe fn compute<S: Simd, const ROWS: usize, const VECTORS: usize>(&self) {
        let lanes = S::lanes32();
        for tile in 0..self.tiles {
            let mut sums = [[splat::<S>(0.0); VECTORS]; ROWS];
            // SAFETY: whoever made the run vouches for every pointer in it.
            unsafe {
                for at in 0..self.count {
                    let pair = *self.pairs.add(at);
                    let from = pair.row.add(self.offset + tile * ROWS);
                    prefetch(from.wrapping_add(self.ahead));
                    let line = self.panel.add(pair.line * VECTORS * lanes);
                    let mut columns = [splat::<S>(0.0); VECTORS];
                    for (v, column) in columns.iter_mut().enumerate() {
                        *column = load::<S>(line.add(v * lanes));
                    }
                    for (r, row) in sums.iter_mut().enumerate() {
                        let factor: Floats<S> = splat(*from.add(r));
                        for (v, sum) in row.iter_mut().enumerate() {
                            *sum = factor.mul_add(columns[v], *sum);
                        }
                    }
                }
                for (r, row) in sums.iter().enumerate() {
                    let place = *self.places.add(tile * ROWS + r);
                    let to = self.sums.add(place * VECTORS * lanes);
                    for (v, sum) in row.iter().enumerate() {
                        let to = to.add(v * lanes);
                        let sum = if self.first {
                            *sum
                        } else {
                            load::<S>(to) + *sum
                        };
                        store(to, sum);
                    }
                }
            }
        }
    }
}
