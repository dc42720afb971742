//! Products of centred features with weights in f32: what a solver finds its steps by.
//!
//! Rows are centred in registers as they are read, so that there is no second copy of them: features of very many photos
//! take most of the memory there is, and reading them most of the time. The mean is taken off in two steps, what f32
//! holds of it and the rest, which is as exact as in f64.

#![allow(unsafe_code)] // Vectors are read and written through pointers.

use std::ops::Range;

use macerator::{Simd, WithSimd};

use crate::inner::TOGETHER;
use crate::rows::Rows;
use crate::simd::{Floats, Level, can_prefetch, load, prefetch, splat, store};
use crate::threads::{Output, chunk, chunks, parallel, threads};

/// Rows that share what is loaded.
const ROWS: usize = 4;
/// Columns whose sums are formed by one core at least: whole vectors on any processor.
const STRETCH: usize = 64;

/// What rows are less, and what each column is then multiplied by.
#[derive(Clone, Debug)]
pub struct Centre {
    /// The mean, and what f32 cannot hold of it, `[F]`.
    high: Vec<f32>,
    low: Vec<f32>,
    step: Vec<f32>,
    /// The mean and the step where numbers may leave f32's range on the way.
    wide: Option<[Vec<f64>; 2]>,
}

impl Centre {
    /// Of columns' means, and what each is multiplied by once its mean is taken off.
    ///
    /// # Panics
    /// If there are not as many of the one as of the other.
    pub fn new(mean: &[f64], step: &[f64]) -> Self {
        assert_eq!(mean.len(), step.len(), "a mean and a step of each column");
        let mut centre = Self {
            high: Vec::with_capacity(mean.len()),
            low: Vec::with_capacity(mean.len()),
            step: Vec::with_capacity(mean.len()),
            wide: None,
        };
        let mut is_usual = true;
        for (mean, step) in mean.iter().zip(step) {
            let high = *mean as f32;
            centre.high.push(high);
            centre.low.push((mean - f64::from(high)) as f32);
            centre.step.push(*step as f32);
            // Steps are near one over how far a column's numbers lie from their mean: neither these nor weights times
            // steps leave the range then.
            is_usual &= (1e-15..1e15).contains(step);
        }
        centre.wide = (!is_usual).then(|| [mean.to_vec(), step.to_vec()]);
        centre
    }
}

/// Rows less their mean, each column times a step.
#[derive(Clone, Copy, Debug)]
pub struct Centred<'a> {
    /// `[N, F]`.
    pub rows: Rows<'a>,
    /// `[F]`.
    pub centre: &'a Centre,
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
        if let Some(copy) = self.copy() {
            return copy.of(width).logits(weights, logits);
        }
        // A step for each column of a row is a step for each column of the weights.
        let step = self.centre.step.iter().cycle();
        let weights: Vec<f32> = weights.iter().zip(step).map(|(w, step)| w * step).collect();
        let level = Level::best();
        let output = Output::new(logits);
        let parts = chunks(count.div_ceil(ROWS), count * width * classes);
        parallel(parts, |part| {
            level.run(Logits {
                centred: self,
                mine: chunk(count, ROWS, part, parts),
                weights: &weights,
                output,
            });
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
        if let Some(copy) = self.copy() {
            return copy.of(width).sums(factors, sums);
        }
        let level = Level::best();
        let mut unscaled = vec![0.0; sums.len()];
        let output = Output::new(&mut unscaled);
        // Each core reads as much of a row at a time as it can.
        let parts = chunks(width.div_ceil(STRETCH), count * width * classes).min(threads());
        parallel(parts, |part| {
            level.run(Sums {
                centred: self,
                mine: chunk(width, STRETCH, part, parts),
                factors,
                classes,
                output,
            });
        });
        let step = self.centre.step.iter().cycle();
        for ((sum, unscaled), step) in sums.iter_mut().zip(unscaled).zip(step) {
            *sum += unscaled * step;
        }
    }

    fn width(&self) -> usize {
        let width = self.rows.width();
        assert_eq!(self.centre.step.len(), width, "a step of each column");
        width
    }

    /// The rows that come after some, if they are to be asked for while these are read: memory's own foresight ends with
    /// a page, and a row is not much longer.
    #[inline(always)]
    fn next(&self, row: usize, height: usize, class: usize) -> Option<[&[f32]; ROWS]> {
        let after = row + height;
        let is_asked =
            can_prefetch() && class == 0 && height == ROWS && after + ROWS <= self.rows.len();
        is_asked.then(|| std::array::from_fn(|r| self.rows.row(after + r)))
    }

    /// The rows as they are meant, where f32 might not do on the way.
    fn copy(&self) -> Option<Copied> {
        let [mean, step] = self.centre.wide.as_ref()?;
        let mut rows = Vec::with_capacity(self.rows.len() * mean.len());
        for row in self.rows.iter() {
            for ((x, mean), step) in row.iter().zip(mean).zip(step) {
                rows.push(((f64::from(*x) - mean) * step) as f32);
            }
        }
        Some(Copied {
            rows,
            centre: Centre::new(&vec![0.0; mean.len()], &vec![1.0; mean.len()]),
        })
    }
}

/// Rows that are centred and scaled.
struct Copied {
    rows: Vec<f32>,
    centre: Centre,
}

impl Copied {
    fn of(&self, width: usize) -> Centred<'_> {
        Centred {
            rows: Rows::all(width, &self.rows),
            centre: &self.centre,
        }
    }
}

/// What is done with a few rows and the weights or sums of a few classes at a time.
trait Tiles {
    /// How many classes there are.
    fn classes(&self) -> usize;

    /// The work of `R` rows and `C` classes; returns `C`.
    ///
    /// # Safety
    /// The rows and classes must be there, and nobody else write what comes of them.
    unsafe fn tile<S: Simd, const R: usize, const C: usize>(
        &self,
        row: usize,
        class: usize,
    ) -> usize;

    /// The work of `R` rows and all classes.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn rows<S: Simd, const R: usize>(&self, row: usize) {
        let classes = self.classes();
        // The few rows that are left over are not worth code of their own for several classes.
        if R == 1 {
            for class in 0..classes {
                // SAFETY: the caller's.
                unsafe { self.tile::<S, 1, 1>(row, class) };
            }
            return;
        }
        let mut class = 0;
        while class < classes {
            // SAFETY: the caller's.
            class += unsafe {
                match classes - class {
                    1 => self.tile::<S, R, 1>(row, class),
                    2 | 3 => self.tile::<S, R, 2>(row, class),
                    _ => self.tile::<S, R, TOGETHER>(row, class),
                }
            };
        }
    }
}

struct Logits<'a> {
    centred: &'a Centred<'a>,
    /// Rows of this part.
    mine: Range<usize>,
    /// Times the steps.
    weights: &'a [f32],
    output: Output,
}

impl Tiles for Logits<'_> {
    fn classes(&self) -> usize {
        self.weights.len() / self.centred.rows.width().max(1)
    }

    /// The products of `R` rows with `C` classes' weights; returns `C`.
    ///
    /// # Safety
    /// The rows and classes must be there, and nobody else write to their products.
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const C: usize>(
        &self,
        row: usize,
        class: usize,
    ) -> usize {
        let (count, width) = (self.centred.rows.len(), self.centred.rows.width());
        let (high, low) = (&self.centred.centre.high, &self.centred.centre.low);
        let lanes = S::lanes32();
        let whole = width / lanes * lanes;
        let rows: [&[f32]; R] = std::array::from_fn(|r| self.centred.rows.row(row + r));
        let next = self.centred.next(row, R, class);
        let weights: [&[f32]; C] =
            std::array::from_fn(|c| &self.weights[(class + c) * width..][..width]);
        let mut sums: [[Floats<S>; C]; R] = [[splat::<S>(0.0); C]; R];
        // SAFETY: rows and weights have `width` elements, and vectors end at `whole`.
        unsafe {
            for at in (0..whole).step_by(lanes) {
                let [high, low] = [high, low].map(|of| load::<S>(of.as_ptr().add(at)));
                let weights: [Floats<S>; C] =
                    std::array::from_fn(|c| load::<S>(weights[c].as_ptr().add(at)));
                for next in next.into_iter().flatten() {
                    prefetch(next.as_ptr().wrapping_add(at));
                }
                for (sums, row) in sums.iter_mut().zip(&rows) {
                    let value = load::<S>(row.as_ptr().add(at)) - high - low;
                    for (sum, weights) in sums.iter_mut().zip(weights) {
                        *sum = value.mul_add(weights, *sum);
                    }
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (c, sum) in sums.into_iter().enumerate() {
                    let mut sum = sum.reduce_add();
                    for at in whole..width {
                        sum += (rows[r][at] - high[at] - low[at]) * weights[c][at];
                    }
                    *self.output.at((class + c) * count + row + r) = sum;
                }
            }
        }
        C
    }
}

impl WithSimd for Logits<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let mut row = self.mine.start;
        while row < self.mine.end {
            // SAFETY: parts keep to their own rows.
            unsafe {
                if self.mine.end - row >= ROWS {
                    self.rows::<S, ROWS>(row);
                    row += ROWS;
                } else {
                    self.rows::<S, 1>(row);
                    row += 1;
                }
            }
        }
    }
}

struct Sums<'a> {
    centred: &'a Centred<'a>,
    /// Columns of this part.
    mine: Range<usize>,
    factors: &'a [f32],
    classes: usize,
    output: Output,
}

impl Tiles for Sums<'_> {
    fn classes(&self) -> usize {
        self.classes
    }

    /// Adds `R` rows to `C` classes' sums; returns `C`.
    ///
    /// # Safety
    /// The rows and classes must be there, and nobody else write to these columns of them.
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const C: usize>(
        &self,
        row: usize,
        class: usize,
    ) -> usize {
        let (count, width) = (self.centred.rows.len(), self.centred.rows.width());
        let (high, low) = (&self.centred.centre.high, &self.centred.centre.low);
        let (lanes, mine) = (S::lanes32(), &self.mine);
        let whole = mine.start + mine.len() / lanes * lanes;
        let rows: [&[f32]; R] = std::array::from_fn(|r| self.centred.rows.row(row + r));
        let next = self.centred.next(row, R, class);
        let factor = |c: usize, r: usize| self.factors[(class + c) * count + row + r];
        let factors: [[Floats<S>; R]; C] =
            std::array::from_fn(|c| std::array::from_fn(|r| splat::<S>(factor(c, r))));
        // SAFETY: rows have `width` elements, sums too, and vectors end at `whole`.
        unsafe {
            let output: [*mut f32; C] =
                std::array::from_fn(|c| self.output.at((class + c) * width));
            for at in (mine.start..whole).step_by(lanes) {
                let [high, low] = [high, low].map(|of| load::<S>(of.as_ptr().add(at)));
                for next in next.into_iter().flatten() {
                    prefetch(next.as_ptr().wrapping_add(at));
                }
                let values: [Floats<S>; R] =
                    std::array::from_fn(|r| load::<S>(rows[r].as_ptr().add(at)) - high - low);
                for (output, factors) in output.iter().zip(&factors) {
                    // A few rows' sum at a time: rounding grows less than if each were added to all before it.
                    let mut sum = splat::<S>(0.0);
                    for (value, factor) in values.iter().zip(factors) {
                        sum = value.mul_add(*factor, sum);
                    }
                    store::<S>(output.add(at), load::<S>(output.add(at)) + sum);
                }
            }
            for at in whole..mine.end {
                for (c, output) in output.iter().enumerate() {
                    let each = rows.iter().enumerate();
                    let sum: f32 = each
                        .map(|(r, row)| factor(c, r) * (row[at] - high[at] - low[at]))
                        .sum();
                    *output.add(at) += sum;
                }
            }
        }
        C
    }
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let count = self.centred.rows.len();
        let whole = count / ROWS * ROWS;
        // SAFETY: parts keep to their own columns.
        unsafe {
            for row in (0..whole).step_by(ROWS) {
                self.rows::<S, ROWS>(row);
            }
            for row in whole..count {
                self.rows::<S, 1>(row);
            }
        }
    }
}
