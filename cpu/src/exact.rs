//! Products of features with weights summed in f64: what a solver's optimum is judged by.

#![allow(unsafe_code)] // Vectors are read and written through pointers.

use std::ops::Range;

use macerator::{Simd, Vector, WithSimd};

use crate::inner::{Inner, together};
use crate::rows::Rows;
use crate::simd::Level;
use crate::threads::{chunk, parallel, threads};

/// Rows that are widened to f64 together: they stay in the second-level cache.
const ROWS: usize = 16;
/// Columns whose sums are formed together: so many of `ROWS` rows stay in the first-level cache.
const STRETCH: usize = 128;

/// A vector of f64.
type Doubles<S> = Vector<S, f64>;

/// Where the parts of a parallel region write, each to its own elements.
#[derive(Clone, Copy)]
struct Output(*mut f64);

// SAFETY: the pointer is only written through where parts keep to disjoint elements.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    fn at(self, offset: usize) -> *mut f64 {
        self.0.wrapping_add(offset)
    }
}

/// `logits[k, n] = rows[n] · weights[k]`, on all cores.
///
/// # Shapes
/// `rows` are `[N, F]`, `weights` `[K, F]` and `logits` `[K, N]`, all row-major.
///
/// # Panics
/// If the lengths do not fit.
pub fn exact_logits(rows: Rows<'_>, weights: &[f64], logits: &mut [f64]) {
    let (count, width) = (rows.len(), rows.width());
    let classes = weights.len() / width.max(1);
    assert_eq!(weights.len(), classes * width, "elements of whole weights");
    assert_eq!(logits.len(), classes * count, "elements of the logits");
    let level = Level::best();
    let output = Output(logits.as_mut_ptr());
    let parts = parts(count.div_ceil(ROWS), count * width * classes);
    parallel(parts, |part| {
        let mut wide = vec![0.0; ROWS * width];
        let mine = chunk(count, ROWS, part, parts);
        let mut from = mine.start;
        while from < mine.end {
            let height = ROWS.min(mine.end - from);
            level.run(Logits {
                rows: rows.part(from..from + height),
                wide: &mut wide,
                weights,
                output: output.at(from),
                pitch: count,
            });
            from += height;
        }
    });
}

/// `sums[k] += Σ_n factors[k, n] · rows[n]`, on all cores.
///
/// # Shapes
/// `rows` are `[N, F]`, `factors` `[K, N]` and `sums` `[K, F]`, all row-major.
///
/// # Panics
/// If the lengths do not fit.
pub fn exact_sums(rows: Rows<'_>, factors: &[f64], sums: &mut [f64]) {
    let (count, width) = (rows.len(), rows.width());
    let classes = sums.len() / width.max(1);
    assert_eq!(factors.len(), classes * count, "elements of the factors");
    assert_eq!(sums.len(), classes * width, "elements of whole sums");
    let level = Level::best();
    let output = Output(sums.as_mut_ptr());
    let parts = parts(width.div_ceil(STRETCH), count * width * classes);
    parallel(parts, |part| {
        let mut wide = [0.0; ROWS * STRETCH];
        let mine = chunk(width, STRETCH, part, parts);
        let mut from = mine.start;
        while from < mine.end {
            let to = mine.end.min(from + STRETCH);
            level.run(Sums {
                rows,
                wide: &mut wide,
                stretch: from..to,
                factors,
                classes,
                output,
            });
            from = to;
        }
    });
}

/// The weighted mean and variance of each column, on all cores; the shares add up to one.
///
/// # Shapes
/// `rows` are `[N, F]` row-major, `shares` `[N]`, the answers `[F]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn exact_moments(rows: Rows<'_>, shares: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let width = rows.width();
    assert_eq!(rows.len(), shares.len(), "a share of each row");
    let level = Level::best();
    let (mut mean, mut variance) = (vec![0.0; width], vec![0.0; width]);
    let outputs = [Output(mean.as_mut_ptr()), Output(variance.as_mut_ptr())];
    let parts = parts(width.div_ceil(STRETCH), 2 * rows.len() * width);
    parallel(parts, |part| {
        let mine = chunk(width, STRETCH, part, parts);
        level.run(Moments {
            rows,
            shares,
            stretch: mine,
            outputs,
        });
    });
    (mean, variance)
}

/// Into how many parts to divide the work: no sum depends on it.
fn parts(pieces: usize, cost: usize) -> usize {
    match threads() {
        1 => 1,
        threads => (threads * 4).min(cost / 50_000).min(pieces).max(1),
    }
}

struct Logits<'a> {
    rows: Rows<'a>,
    wide: &'a mut [f64],
    weights: &'a [f64],
    output: *mut f64,
    pitch: usize,
}

impl WithSimd for Logits<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let (count, width) = (self.rows.len(), self.rows.width());
        for (wide, narrow) in self
            .wide
            .chunks_exact_mut(width.max(1))
            .zip(self.rows.iter())
        {
            for (wide, &narrow) in wide.iter_mut().zip(narrow) {
                *wide = f64::from(narrow);
            }
        }
        let inner = Inner {
            rows: self.wide.as_ptr(),
            weights: self.weights.as_ptr(),
            width,
            output: self.output,
            pitch: self.pitch,
        };
        // SAFETY: rows and classes lie below what the caller checked.
        unsafe { inner.products::<S, 2>(count, self.weights.len() / width.max(1)) }
    }
}

struct Sums<'a> {
    rows: Rows<'a>,
    wide: &'a mut [f64; ROWS * STRETCH],
    stretch: Range<usize>,
    factors: &'a [f64],
    classes: usize,
    output: Output,
}

impl Sums<'_> {
    /// Adds `height` widened rows, from number `first` on, to `C` classes' sums.
    ///
    /// # Safety
    /// The classes must be there, and nobody else write to this stretch of them.
    #[inline(always)]
    unsafe fn add<S: Simd, const C: usize>(&self, class: usize, first: usize, height: usize) {
        let (lanes, length) = (S::lanes64(), self.stretch.len());
        let whole = length / lanes * lanes;
        let (count, width) = (self.rows.len(), self.rows.width());
        let factors: [&[f64]; C] =
            std::array::from_fn(|c| &self.factors[(class + c) * count + first..][..height]);
        // SAFETY: the caller's; vectors end at `whole`.
        unsafe {
            let output: [*mut f64; C] =
                std::array::from_fn(|c| self.output.at((class + c) * width + self.stretch.start));
            for at in (0..whole).step_by(lanes) {
                let mut sums: [Doubles<S>; C] =
                    std::array::from_fn(|c| S::load_unaligned(output[c].add(at)));
                for row in 0..height {
                    let value: Doubles<S> =
                        S::load_unaligned(self.wide.as_ptr().add(row * STRETCH + at));
                    for (sum, factors) in sums.iter_mut().zip(factors) {
                        let factor: Doubles<S> = macerator::Scalar::splat(factors[row]);
                        *sum = factor.mul_add(value, *sum);
                    }
                }
                for (output, sum) in output.iter().zip(sums) {
                    S::store_unaligned(output.add(at), sum);
                }
            }
            for at in whole..length {
                for (output, factors) in output.iter().zip(factors) {
                    for (row, factor) in factors.iter().enumerate() {
                        *output.add(at) += factor * self.wide[row * STRETCH + at];
                    }
                }
            }
        }
    }
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let count = self.rows.len();
        for first in (0..count).step_by(ROWS) {
            let height = ROWS.min(count - first);
            for row in 0..height {
                let narrow = &self.rows.row(first + row)[self.stretch.clone()];
                for (wide, &narrow) in self.wide[row * STRETCH..].iter_mut().zip(narrow) {
                    *wide = f64::from(narrow);
                }
            }
            let mut class = 0;
            while class < self.classes {
                let count = together(self.classes - class);
                // SAFETY: parts keep to their own stretches.
                unsafe {
                    match count {
                        1 => self.add::<S, 1>(class, first, height),
                        2 => self.add::<S, 2>(class, first, height),
                        3 => self.add::<S, 3>(class, first, height),
                        4 => self.add::<S, 4>(class, first, height),
                        _ => self.add::<S, 5>(class, first, height),
                    }
                }
                class += count;
            }
        }
    }
}

struct Moments<'a> {
    rows: Rows<'a>,
    shares: &'a [f64],
    stretch: Range<usize>,
    outputs: [Output; 2],
}

impl WithSimd for Moments<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        if self.stretch.is_empty() {
            return;
        }
        // SAFETY: parts keep to their own stretches, which lie within the outputs.
        let [mean, variance] = self.outputs.map(|output| unsafe {
            std::slice::from_raw_parts_mut(output.at(self.stretch.start), self.stretch.len())
        });
        let rows = || self.rows.iter().zip(self.shares);
        for (row, share) in rows() {
            for (mean, &x) in mean.iter_mut().zip(&row[self.stretch.clone()]) {
                *mean += share * f64::from(x);
            }
        }
        for (row, share) in rows() {
            let row = &row[self.stretch.clone()];
            for ((variance, &x), mean) in variance.iter_mut().zip(row).zip(&*mean) {
                let off = f64::from(x) - mean;
                *variance += share * off * off;
            }
        }
    }
}
