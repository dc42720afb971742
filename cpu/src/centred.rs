//! Centred features' products with weights and, with what becomes of these, the features' own sums, in one pass over
//! them: what a solver finds its steps by.
//!
//! Features of very many photos take most of the memory there is, and reading them much of the time. So there is no
//! second copy of them: a few rows at a time are centred into a buffer that stays in the nearest caches, multiplied
//! there, and multiplied again with what their products turned into. The mean is taken off in two steps, what f32 holds
//! of it and the rest, which is as exact as in f64.

#![allow(unsafe_code)] // Vectors are read and written through pointers.

use std::ops::Range;
use std::sync::Mutex;

use macerator::{Simd, WithSimd};

use crate::inner::{Inner, together};
use crate::rows::Rows;
use crate::simd::{Floats, Level, MOST_LANES, can_prefetch, load, prefetch, splat, store};
use crate::threads::{Output, chunk, parallel, with_scratch};

/// Numbers of the rows that are centred together: half of a second-level cache, in which the weights lie, too.
const TOGETHER_NUMBERS: usize = 48 << 10;
/// How many rows that may be.
const TOGETHER_ROWS: Range<usize> = 8..64;
/// Rows of a part, whose sums are in f32. Parts' sums are added up in f64.
const PART: usize = 256;
/// Parts at most, and how many rows there are for each class and part at least: parts' sums take a quarter of the
/// features' memory at most.
const MOST_PARTS: usize = 64;
const ROWS_OF_CLASS: usize = 4;

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
            // Steps are near one over how far a column's numbers lie from their mean: numbers times steps do not leave
            // the range then.
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
    /// Products there and back, on all cores: of some rows at a time, `logits[k, n] = weights[k] · centred[n]`, which
    /// `turn` overwrites by factors, and `sums[k] += Σ_n factors[k, n] · centred[n]`. All is summed in an order that
    /// depends on nothing but the shape and the processor's instructions: a few hundred rows in f32, these in f64.
    ///
    /// `turn` is told which rows they are, and what became of those before them in the same part; what became of each
    /// part is handed back, part after part.
    ///
    /// # Shapes
    /// `weights` and `sums` are `[K, F]`, logits and factors `[K, rows]`, all row-major.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn there_and_back<T: Default + Send>(
        &self,
        weights: &[f32],
        sums: &mut [f64],
        turn: impl Fn(Range<usize>, &mut [f32], &mut T) + Sync,
    ) -> Vec<T> {
        let (count, width) = (self.rows.len(), self.rows.width());
        assert_eq!(self.centre.step.len(), width, "a step of each column");
        let classes = weights.len() / width.max(1);
        assert_eq!(weights.len(), classes * width, "elements of whole weights");
        assert_eq!(sums.len(), weights.len(), "sums for all weights");
        if classes == 0 || count == 0 {
            return Vec::new();
        }
        // Whole lines, an odd number of them, so that columns of neighbouring rows do not share a place in the cache.
        let pitch = (width.div_ceil(MOST_LANES) | 1) * MOST_LANES;
        let mut padded = vec![0.0; classes * pitch];
        for (to, from) in padded
            .chunks_exact_mut(pitch)
            .zip(weights.chunks_exact(width))
        {
            to[..width].copy_from_slice(from);
        }
        let most = (count / (ROWS_OF_CLASS * classes)).clamp(1, MOST_PARTS);
        let parts = count.div_ceil(PART).min(most);
        let level = Level::best();
        let height =
            (TOGETHER_NUMBERS / pitch / 2 * 2).clamp(TOGETHER_ROWS.start, TOGETHER_ROWS.end);
        let told: Vec<Mutex<T>> = (0..parts).map(|_| Mutex::default()).collect();
        with_scratch(parts * classes * pitch, |of_parts| {
            let output = Output::new(of_parts);
            parallel(parts, |part| {
                let mut mine = T::default();
                with_scratch(height * (pitch + classes), |scratch| {
                    let (values, logits) = scratch.split_at_mut(height * pitch);
                    level.run(Part {
                        centred: self,
                        rows: chunk(count, 1, part, parts),
                        weights: &padded,
                        classes,
                        pitch,
                        height,
                        values,
                        logits,
                        sums: output.at(part * classes * pitch),
                        turn: &turn,
                        told: &mut mine,
                    });
                });
                if let Ok(mut told) = told[part].lock() {
                    *told = mine;
                }
            });
            for of_part in of_parts.chunks_exact(classes * pitch) {
                let rows = sums
                    .chunks_exact_mut(width)
                    .zip(of_part.chunks_exact(pitch));
                for (sums, of_part) in rows {
                    for (sum, of_part) in sums.iter_mut().zip(of_part) {
                        *sum += f64::from(*of_part);
                    }
                }
            }
        });
        let told = told.into_iter().map(|told| told.into_inner());
        told.map(|told| told.unwrap_or_else(|poisoned| poisoned.into_inner()))
            .collect()
    }

    /// Centres some rows, `[rows, pitch]`; what is behind their columns becomes zero.
    #[inline(always)]
    fn copy<S: Simd>(&self, rows: Range<usize>, pitch: usize, to: &mut [f32]) {
        let Centre {
            high,
            low,
            step,
            wide,
        } = self.centre;
        let (lanes, width) = (S::lanes32(), high.len());
        for (to, number) in to.chunks_exact_mut(pitch).zip(rows) {
            let row = self.rows.row(number);
            let mut at = 0;
            match wide {
                Some([mean, step]) => {
                    for (f, to) in to[..width].iter_mut().enumerate() {
                        *to = ((f64::from(row[f]) - mean[f]) * step[f]) as f32;
                    }
                    at = width;
                }
                None => {
                    while at + lanes <= width {
                        // SAFETY: a vector ends within the columns.
                        unsafe {
                            let [row, high, low, step] =
                                [row, high, low, step].map(|of| load::<S>(of.as_ptr().add(at)));
                            store::<S>(to.as_mut_ptr().add(at), (row - high - low) * step);
                        }
                        at += lanes;
                    }
                }
            }
            for (f, to) in to.iter_mut().enumerate().skip(at) {
                *to = match f < width {
                    true => (row[f] - high[f] - low[f]) * step[f],
                    false => 0.0,
                };
            }
        }
    }
}

/// The work on some rows.
struct Part<'a, T, F> {
    centred: &'a Centred<'a>,
    rows: Range<usize>,
    /// `[K, pitch]`
    weights: &'a [f32],
    classes: usize,
    pitch: usize,
    /// Rows that are centred together,
    height: usize,
    /// `[height, pitch]`,
    values: &'a mut [f32],
    /// and their logits, `[K, height]`.
    logits: &'a mut [f32],
    /// `[K, pitch]`, of this part alone.
    sums: *mut f32,
    turn: &'a F,
    told: &'a mut T,
}

impl<T, F: Fn(Range<usize>, &mut [f32], &mut T)> WithSimd for Part<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let (classes, pitch) = (self.classes, self.pitch);
        let mut from = self.rows.start;
        while from < self.rows.end {
            let rows = from..self.rows.end.min(from + self.height);
            let count = rows.len();
            let values = &mut self.values[..count * pitch];
            let logits = &mut self.logits[..count * classes];
            self.centred.copy::<S>(rows.clone(), pitch, values);
            let inner = Inner {
                rows: values.as_ptr(),
                weights: self.weights.as_ptr(),
                width: pitch,
                output: logits.as_mut_ptr(),
                pitch: count,
            };
            // SAFETY: there are so many rows and weights, and so many products.
            unsafe { inner.products::<S, 2>(count, classes) };
            (self.turn)(rows.clone(), logits, self.told);
            let sums = Sums {
                values: values.as_ptr(),
                factors: logits.as_ptr(),
                count,
                classes,
                pitch,
                sums: self.sums,
                is_first: from == self.rows.start,
            };
            let after = self.rows.end.min(rows.end + self.height);
            // SAFETY: parts keep to their own sums.
            unsafe { sums.add_all::<S>(self.centred.rows, rows.end..after) };
            from = rows.end;
        }
    }
}

/// `sums[k] += Σ_n factors[k, n] · values[n]`.
struct Sums {
    /// `[count, pitch]`
    values: *const f32,
    /// `[K, count]`
    factors: *const f32,
    count: usize,
    classes: usize,
    pitch: usize,
    /// `[K, pitch]`
    sums: *mut f32,
    /// Whether there are no sums yet to add to.
    is_first: bool,
}

impl Sums {
    /// All of them; meanwhile rows that come next are asked for: memory's own foresight ends with a page, and a row is
    /// not much longer.
    ///
    /// # Safety
    /// Everything must be there, and nobody else write to the sums.
    #[inline(always)]
    unsafe fn add_all<S: Simd>(&self, rows: Rows<'_>, after: Range<usize>) {
        for at in (0..self.pitch).step_by(2 * S::lanes32()) {
            if can_prefetch() {
                for row in after.clone() {
                    prefetch(rows.row(row).as_ptr().wrapping_add(at));
                }
            }
            let mut class = 0;
            while class < self.classes {
                let count = together(self.classes - class);
                // SAFETY: the caller's.
                unsafe {
                    match count {
                        1 => self.columns::<S, 1>(at, class),
                        2 => self.columns::<S, 2>(at, class),
                        3 => self.columns::<S, 3>(at, class),
                        4 => self.columns::<S, 4>(at, class),
                        _ => self.columns::<S, 5>(at, class),
                    }
                }
                class += count;
            }
        }
    }

    /// Those of two vectors, or of the last one, and `C` classes.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn columns<S: Simd, const C: usize>(&self, at: usize, class: usize) {
        let is_last = at + S::lanes32() == self.pitch;
        // SAFETY: the caller's.
        unsafe {
            match is_last {
                true => self.tile::<S, C, 1>(at, class),
                false => self.tile::<S, C, 2>(at, class),
            }
        }
    }

    /// Those of `V` vectors and `C` classes.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn tile<S: Simd, const C: usize, const V: usize>(&self, at: usize, class: usize) {
        let lanes = S::lanes32();
        let mut sums = [[splat::<S>(0.0); V]; C];
        // SAFETY: the caller's.
        unsafe {
            let mut values = self.values.add(at);
            let factors = self.factors.add(class * self.count);
            for row in 0..self.count {
                let value: [Floats<S>; V] =
                    std::array::from_fn(|v| load::<S>(values.add(v * lanes)));
                for (c, sums) in sums.iter_mut().enumerate() {
                    let factor: Floats<S> = splat(*factors.add(c * self.count + row));
                    for (sum, value) in sums.iter_mut().zip(value) {
                        *sum = factor.mul_add(value, *sum);
                    }
                }
                values = values.add(self.pitch);
            }
            for (c, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    let to = self.sums.add((class + c) * self.pitch + at + v * lanes);
                    let sum = if self.is_first {
                        sum
                    } else {
                        load::<S>(to) + sum
                    };
                    store::<S>(to, sum);
                }
            }
        }
    }
}
