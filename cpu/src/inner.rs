//! Inner products of rows with weights, in 32 bits or in 64: each is summed in the same order, whichever rows and weights
//! it shares what is loaded with.

#![allow(unsafe_code)] // Vectors are read and written through pointers.

use macerator::{ReduceAdd, Simd, VMulAdd, Vector};

/// Weights that share what is loaded at most: two rows of so many fill the registers of AVX2.
const MOST_TOGETHER: usize = 5;

/// How many of the weights that are left share what is loaded: all groups of about the same size, since small ones would
/// wait for their sums.
#[inline(always)]
pub(crate) fn together(left: usize) -> usize {
    left.div_ceil(left.div_ceil(MOST_TOGETHER).max(1))
}

/// Rows, weights, and where their products go.
pub(crate) struct Inner<T> {
    /// `[N, F]`.
    pub rows: *const T,
    /// `[K, F]`.
    pub weights: *const T,
    pub width: usize,
    /// The product of row `n` and weight `k` goes to `k · pitch + n`.
    pub output: *mut T,
    pub pitch: usize,
}

impl<T: ReduceAdd + VMulAdd> Inner<T> {
    /// All products of so many rows, `R` of which share what is loaded, with so many weights.
    ///
    /// # Safety
    /// The rows and weights must be there, and room for the products, which nobody else writes to.
    #[inline(always)]
    pub(crate) unsafe fn products<S: Simd, const R: usize>(&self, rows: usize, weights: usize) {
        let mut weight = 0;
        while weight < weights {
            let count = together(weights - weight);
            let mut row = 0;
            // SAFETY: the caller's.
            unsafe {
                while rows - row >= R {
                    match count {
                        1 => self.tile::<S, R, 1>(row, weight),
                        2 => self.tile::<S, R, 2>(row, weight),
                        3 => self.tile::<S, R, 3>(row, weight),
                        4 => self.tile::<S, R, 4>(row, weight),
                        _ => self.tile::<S, R, MOST_TOGETHER>(row, weight),
                    }
                    row += R;
                }
                // The few rows that are left over are not worth code of their own for several weights.
                for row in row..rows {
                    for weight in weight..weight + count {
                        self.tile::<S, 1, 1>(row, weight);
                    }
                }
            }
            weight += count;
        }
    }

    /// The products of `R` rows with `C` weights.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const C: usize>(&self, row: usize, weight: usize) {
        let (lanes, width) = (T::lanes::<S>(), self.width);
        let whole = width / lanes * lanes;
        let zero: Vector<S, T> = T::default().splat();
        let mut sums = [[zero; C]; R];
        // SAFETY: the caller's; vectors end at `whole`.
        unsafe {
            let rows = self.rows.add(row * width);
            let weights = self.weights.add(weight * width);
            for k in (0..whole).step_by(lanes) {
                let columns: [Vector<S, T>; C] =
                    std::array::from_fn(|c| S::load_unaligned(weights.add(c * width + k)));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value: Vector<S, T> = S::load_unaligned(rows.add(r * width + k));
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = value.mul_add(column, *sum);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (c, sum) in sums.into_iter().enumerate() {
                    let mut total = sum.reduce_add();
                    for k in whole..width {
                        total = total + *rows.add(r * width + k) * *weights.add(c * width + k);
                    }
                    *self.output.add((weight + c) * self.pitch + row + r) = total;
                }
            }
        }
    }
}
