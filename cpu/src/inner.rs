//! Inner products of rows with weights, in 32 bits or in 64: each is summed in the same order, whichever rows and weights
//! it shares what is loaded with.

#![allow(unsafe_code)] // Vectors are read and written through pointers.

use macerator::{ReduceAdd, Simd, VMulAdd, Vector};

/// Weights that share what is loaded.
pub(crate) const TOGETHER: usize = 4;

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
        for weight in (0..weights).step_by(TOGETHER) {
            let mut row = 0;
            while row < rows {
                // SAFETY: the caller's.
                unsafe {
                    match (rows - row >= R, weights - weight) {
                        (true, 1) => self.tile::<S, R, 1>(row, weight),
                        (true, 2) => self.tile::<S, R, 2>(row, weight),
                        (true, 3) => self.tile::<S, R, 3>(row, weight),
                        (true, _) => self.tile::<S, R, TOGETHER>(row, weight),
                        (false, 1) => self.tile::<S, 1, 1>(row, weight),
                        (false, 2) => self.tile::<S, 1, 2>(row, weight),
                        (false, 3) => self.tile::<S, 1, 3>(row, weight),
                        (false, _) => self.tile::<S, 1, TOGETHER>(row, weight),
                    }
                }
                row += if rows - row >= R { R } else { 1 };
            }
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
