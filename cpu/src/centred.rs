//! Products of centred features with weights in f32: what a solver finds its steps by.
//!
//! Rows are centred and scaled a few at a time as they are read, so that there is no second copy of them: features of
//! very many photos take most of the memory there is.

#![allow(unsafe_code)] // Vectors are read and written through pointers.

use std::ops::Range;

use macerator::{Simd, WithSimd};

use crate::inner::{Inner, TOGETHER};
use crate::rows::Rows;
use crate::simd::{Floats, Level, load, splat, store};
use crate::threads::{Output, chunk, chunks, parallel};

/// Rows that are centred together: they stay in the first-level cache, or near it.
const ROWS: usize = 16;
/// Columns whose sums are formed together.
const STRETCH: usize = 256;

/// Rows less their mean, each column times a step.
#[derive(Clone, Copy, Debug)]
pub struct Centred<'a> {
    /// `[N, F]`.
    pub rows: Rows<'a>,
    /// What is taken off each column, `[F]`.
    pub mean: &'a [f64],
    /// What each column is multiplied by, `[F]`.
    pub step: &'a [f64],
}

impl Centred<'_> {
    /// `logits[k, n] = weights[k] · centred[n]`, on all cores, summed in f32 in an order that depends on nothing but
    /// the shape and the processor's instructions.
    ///
    /// # Shapes
    /// `weights` is `[K, F]` and `logits` `[K, N]`, both row-major.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn logits(&self, weights: &[f32], logits: &mut [f32]) {
        let (count, width) = (self.rows.len(), self.width());
        let classes = weights.len() / width.max(1);
        assert_eq!(weights.len(), classes * width, "elements of whole weights");
        assert_eq!(logits.len(), classes * count, "elements of the logits");
        let level = Level::best();
        let output = Output::new(logits);
        let parts = chunks(count.div_ceil(ROWS), count * width * classes);
        parallel(parts, |part| {
            let mut some = vec![0.0; ROWS * width];
            let mine = chunk(count, ROWS, part, parts);
            for from in mine.clone().step_by(ROWS) {
                let to = mine.end.min(from + ROWS);
                level.run(Logits {
                    centred: Self {
                        rows: self.rows.part(from..to),
                        ..*self
                    },
                    some: &mut some,
                    weights,
                    output: output.at(from),
                    pitch: count,
                });
            }
        });
    }

    /// `sums[k] += Σ_n factors[k, n] · centred[n]`, likewise.
    ///
    /// # Shapes
    /// `factors` is `[K, N]` and `sums` `[K, F]`, both row-major.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn sums(&self, factors: &[f32], sums: &mut [f32]) {
        let (count, width) = (self.rows.len(), self.width());
        let classes = sums.len() / width.max(1);
        assert_eq!(factors.len(), classes * count, "elements of the factors");
        assert_eq!(sums.len(), classes * width, "elements of whole sums");
        let level = Level::best();
        let output = Output::new(sums);
        let parts = chunks(width.div_ceil(STRETCH), count * width * classes);
        parallel(parts, |part| {
            let mut some = vec![0.0; ROWS * STRETCH];
            let mine = chunk(width, STRETCH, part, parts);
            for from in mine.clone().step_by(STRETCH) {
                level.run(Sums {
                    centred: *self,
                    some: &mut some,
                    stretch: from..mine.end.min(from + STRETCH),
                    factors,
                    classes,
                    output,
                });
            }
        });
    }

    fn width(&self) -> usize {
        let width = self.rows.width();
        assert_eq!(self.mean.len(), width, "a mean of each column");
        assert_eq!(self.step.len(), width, "a step of each column");
        width
    }

    /// Writes a stretch of the rows from `first` on, each `pitch` after the one before it.
    #[inline(always)]
    fn write(
        &self,
        first: usize,
        height: usize,
        stretch: &Range<usize>,
        pitch: usize,
        to: &mut [f32],
    ) {
        let (mean, step) = (&self.mean[stretch.clone()], &self.step[stretch.clone()]);
        for row in 0..height {
            let from = &self.rows.row(first + row)[stretch.clone()];
            let to = &mut to[row * pitch..][..from.len()];
            for at in 0..from.len() {
                to[at] = ((f64::from(from[at]) - mean[at]) * step[at]) as f32;
            }
        }
    }
}

struct Logits<'a> {
    centred: Centred<'a>,
    some: &'a mut [f32],
    weights: &'a [f32],
    output: *mut f32,
    pitch: usize,
}

impl WithSimd for Logits<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let (count, width) = (self.centred.rows.len(), self.centred.rows.width());
        self.centred.write(0, count, &(0..width), width, self.some);
        let inner = Inner {
            rows: self.some.as_ptr(),
            weights: self.weights.as_ptr(),
            width,
            output: self.output,
            pitch: self.pitch,
        };
        // SAFETY: rows and classes lie below what the caller checked.
        unsafe { inner.products::<S, TOGETHER>(count, self.weights.len() / width.max(1)) }
    }
}

struct Sums<'a> {
    centred: Centred<'a>,
    some: &'a mut [f32],
    stretch: Range<usize>,
    factors: &'a [f32],
    classes: usize,
    output: Output,
}

impl Sums<'_> {
    /// Adds `height` rows, from number `first` on, to `C` classes' sums.
    ///
    /// # Safety
    /// The classes must be there, and nobody else write to this stretch of them.
    #[inline(always)]
    unsafe fn add<S: Simd, const C: usize>(&self, class: usize, first: usize, height: usize) {
        let (lanes, length) = (S::lanes32(), self.stretch.len());
        let whole = length / lanes * lanes;
        let (count, width) = (self.centred.rows.len(), self.centred.rows.width());
        let factors: [&[f32]; C] =
            std::array::from_fn(|c| &self.factors[(class + c) * count + first..][..height]);
        // SAFETY: the caller's; vectors end at `whole`.
        unsafe {
            let output: [*mut f32; C] =
                std::array::from_fn(|c| self.output.at((class + c) * width + self.stretch.start));
            for at in (0..whole).step_by(lanes) {
                let mut sums: [Floats<S>; C] = [splat::<S>(0.0); C];
                for row in 0..height {
                    let value = load::<S>(self.some.as_ptr().add(row * STRETCH + at));
                    for (sum, factors) in sums.iter_mut().zip(factors) {
                        *sum = splat::<S>(factors[row]).mul_add(value, *sum);
                    }
                }
                // A few rows' sum at a time: rounding grows less than if each row were added to all before it.
                for (output, sum) in output.iter().zip(sums) {
                    let before = load::<S>(output.add(at));
                    store::<S>(output.add(at), before + sum);
                }
            }
            for at in whole..length {
                for (output, factors) in output.iter().zip(factors) {
                    let each = factors.iter().enumerate();
                    let sum: f32 = each
                        .map(|(row, factor)| factor * self.some[row * STRETCH + at])
                        .sum();
                    *output.add(at) += sum;
                }
            }
        }
    }
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let count = self.centred.rows.len();
        for first in (0..count).step_by(ROWS) {
            let height = ROWS.min(count - first);
            self.centred
                .write(first, height, &self.stretch, STRETCH, self.some);
            for class in (0..self.classes).step_by(TOGETHER) {
                // SAFETY: parts keep to their own stretches.
                unsafe {
                    match self.classes - class {
                        1 => self.add::<S, 1>(class, first, height),
                        2 => self.add::<S, 2>(class, first, height),
                        3 => self.add::<S, 3>(class, first, height),
                        _ => self.add::<S, TOGETHER>(class, first, height),
                    }
                }
            }
        }
    }
}
