//! Layer normalisation.

#![allow(unsafe_code)] // Loads and stores through pointers.

use macerator::{Simd, WithSimd};

use crate::columns::AffineSlopes;
use crate::elementwise::{same_shape, same_shapes};
use crate::grid::Grid;
use crate::simd::{
    Floats, Level, add_to, load, load_some, load_some_or, load_up_to, splat, store, store_some,
    store_up_to, vectors,
};
use crate::threads::{Output, chunk, chunks, parallel, with_scratch};
use crate::view::{View, ViewMut};

/// Multiply-adds in the time that an element takes: it is read three times.
const COST: usize = 6;

struct Rows<'a> {
    input: *const f32,
    input_pitch: usize,
    output: *mut f32,
    output_pitch: usize,
    rows: usize,
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
}

/// Adds up what `of` makes of every element of a row; it makes nothing of `neutral`.
///
/// # Safety
/// `width` elements must be readable.
#[inline(always)]
unsafe fn sum<S: Simd>(
    row: *const f32,
    width: usize,
    of: impl Fn(Floats<S>) -> Floats<S>,
    neutral: f32,
) -> f32 {
    let lanes = S::lanes32();
    let mut sums = [splat::<S>(0.0); 4];
    let mut at = 0;
    // SAFETY: the caller's.
    unsafe {
        while at + 4 * lanes <= width {
            for (s, sum) in sums.iter_mut().enumerate() {
                *sum += of(load(row.add(at + s * lanes)));
            }
            at += 4 * lanes;
        }
        while at + lanes <= width {
            sums[0] += of(load(row.add(at)));
            at += lanes;
        }
        let mut total = ((sums[0] + sums[1]) + (sums[2] + sums[3])).reduce_add();
        if at < width {
            total += of(load_some_or(row.add(at), width - at, neutral)).reduce_add();
        }
        total
    }
}

/// The inner product of two rows.
///
/// # Safety
/// `width` elements must be readable of both.
#[inline(always)]
pub(crate) unsafe fn dot<S: Simd>(a: *const f32, b: *const f32, width: usize) -> f32 {
    let lanes = S::lanes32();
    let mut sums = [splat::<S>(0.0); 2];
    let whole = width / lanes * lanes;
    // SAFETY: the caller's.
    unsafe {
        for (vector, at) in (0..whole).step_by(lanes).enumerate() {
            let sum = &mut sums[vector % 2];
            *sum = load::<S>(a.add(at)).mul_add(load(b.add(at)), *sum);
        }
        let mut total = (sums[0] + sums[1]).reduce_add();
        for at in whole..width {
            total += *a.add(at) * *b.add(at);
        }
        total
    }
}

/// The mean of a row and 1 / √(variance + epsilon).
///
/// # Safety
/// `width` elements must be readable.
#[inline(always)]
unsafe fn statistics<S: Simd>(row: *const f32, width: usize, epsilon: f32) -> (f32, f32) {
    // SAFETY: the caller's.
    unsafe {
        let mean = sum::<S>(
            row,
            width,
            #[inline(always)]
            |x| x,
            0.0,
        ) / width as f32;
        let center = splat::<S>(mean);
        let squares = sum::<S>(
            row,
            width,
            #[inline(always)]
            |x| {
                let x = x - center;
                x * x
            },
            mean,
        );
        (mean, 1.0 / (squares / width as f32 + epsilon).sqrt())
    }
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let lanes = S::lanes32();
        let width = self.gamma.len();
        for row in 0..self.rows {
            // SAFETY: whoever made it vouches for its rows.
            unsafe {
                let input = self.input.add(row * self.input_pitch);
                let output = self.output.add(row * self.output_pitch);
                let (mean, scale) = statistics::<S>(input, width, self.epsilon);
                let (center, scale) = (splat::<S>(mean), splat::<S>(scale));
                let (gamma, beta) = (self.gamma.as_ptr(), self.beta.as_ptr());
                let mut at = 0;
                while at + lanes <= width {
                    let x = (load::<S>(input.add(at)) - center) * scale;
                    store(
                        output.add(at),
                        x.mul_add(load(gamma.add(at)), load(beta.add(at))),
                    );
                    at += lanes;
                }
                if at < width {
                    let rest = width - at;
                    let x = (load_some::<S>(input.add(at), rest) - center) * scale;
                    let gamma = load_some(gamma.add(at), rest);
                    let beta = load_some(beta.add(at), rest);
                    store_some(output.add(at), x.mul_add(gamma, beta), rest);
                }
            }
        }
    }
}

/// Normalises every pixel over its channels: (x - mean) / √(variance + epsilon) · gamma + beta.
///
/// # Panics
/// If there are not as many gammas and betas as channels, or the shapes differ.
pub fn layer_norm(input: View<'_>, gamma: &[f32], beta: &[f32], epsilon: f32, output: ViewMut<'_>) {
    same_shape(&input, &output);
    assert_eq!(gamma.len(), input.channels, "gammas");
    assert_eq!(beta.len(), input.channels, "betas");
    if input.channels == 0 {
        return;
    }
    let level = Level::best();
    let pixels = output.pixels();
    let pitch = output.pitch;
    let to = Output::new(output.data);
    let count = chunks(pixels, pixels * input.channels * COST);
    parallel(count, |index| {
        let mine = chunk(pixels, 1, index, count);
        if mine.is_empty() {
            return;
        }
        level.run(Rows {
            input: input.data[mine.start * input.pitch..].as_ptr(),
            input_pitch: input.pitch,
            output: to.at(mine.start * pitch),
            output_pitch: pitch,
            rows: mine.len(),
            gamma,
            beta,
            epsilon,
        });
    });
}

/// Rows whose gradients are computed side by side.
const SIDE_BY_SIDE: usize = 4;

/// Gradients of a block of rows.
struct Slopes<'a> {
    x: *const f32,
    x_pitch: usize,
    slope: *const f32,
    slope_pitch: usize,
    /// The gradients of x, and from one row to the next; if they are wanted.
    of_x: Option<(*mut f32, usize)>,
    rows: usize,
    gamma: &'a [f32],
    epsilon: f32,
    /// Two rows, to which those of beta and of gamma are added; if they are wanted.
    sums: Option<[*mut f32; 2]>,
}

/// Where a row lies, and its statistics.
#[derive(Clone, Copy)]
struct Row {
    x: *const f32,
    slope: *const f32,
    mean: f32,
    scale: f32,
}

impl Row {
    /// The slope and the normalised x at a column.
    ///
    /// # Safety
    /// `count` elements must be readable there.
    #[inline(always)]
    unsafe fn at<S: Simd>(&self, at: usize, count: usize) -> (Floats<S>, Floats<S>) {
        // SAFETY: the caller's.
        unsafe {
            let x = load_up_to::<S>(self.x.add(at), count) - splat(self.mean);
            (load_up_to(self.slope.add(at), count), x * splat(self.scale))
        }
    }
}

impl Slopes<'_> {
    /// Those of `R` rows.
    ///
    /// # Safety
    /// Whoever made the block vouches for its rows.
    #[inline(always)]
    unsafe fn some<S: Simd, const R: usize>(&self, first: usize) {
        let width = self.gamma.len();
        let gamma = self.gamma.as_ptr();
        let nothing = Row {
            x: self.x,
            slope: self.slope,
            mean: 0.0,
            scale: 0.0,
        };
        let mut rows = [nothing; R];
        for (r, row) in rows.iter_mut().enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let x = self.x.add((first + r) * self.x_pitch);
                let (mean, scale) = statistics::<S>(x, width, self.epsilon);
                *row = Row {
                    x,
                    slope: self.slope.add((first + r) * self.slope_pitch),
                    mean,
                    scale,
                };
            }
        }
        // Σ slope · gamma and Σ slope · gamma · normalised x of each row.
        let mut means = [[splat::<S>(0.0); 2]; R];
        vectors::<S>(
            width,
            #[inline(always)]
            |at, count| {
                // SAFETY: the caller's. Behind the last column, slopes are zero.
                unsafe {
                    let gamma = load_up_to::<S>(gamma.add(at), count);
                    let mut own = [splat::<S>(0.0); 2];
                    for (row, means) in rows.iter().zip(&mut means) {
                        let (slope, unit) = row.at::<S>(at, count);
                        own[0] += slope;
                        own[1] = slope.mul_add(unit, own[1]);
                        let slope = slope * gamma;
                        means[0] += slope;
                        means[1] = slope.mul_add(unit, means[1]);
                    }
                    if let Some(sums) = self.sums {
                        add_to(sums[0].add(at), own[0], count);
                        add_to(sums[1].add(at), own[1], count);
                    }
                }
            },
        );
        let Some((of_x, pitch)) = self.of_x else {
            return;
        };
        for (r, (row, [sum, product])) in rows.iter().zip(means).enumerate() {
            let mean = splat::<S>(sum.reduce_add() / width as f32);
            let slant = splat::<S>(product.reduce_add() / width as f32);
            vectors::<S>(
                width,
                #[inline(always)]
                |at, count| {
                    // SAFETY: the caller's.
                    unsafe {
                        let (slope, unit) = row.at::<S>(at, count);
                        let own = slope * load_up_to(gamma.add(at), count) - mean;
                        let value = (own - unit * slant) * splat(row.scale);
                        store_up_to(of_x.add((first + r) * pitch + at), value, count);
                    }
                },
            );
        }
    }
}

impl WithSimd for Slopes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let whole = self.rows / SIDE_BY_SIDE * SIDE_BY_SIDE;
        // SAFETY: whoever made the block vouches for its rows.
        unsafe {
            for row in (0..whole).step_by(SIDE_BY_SIDE) {
                self.some::<S, SIDE_BY_SIDE>(row);
            }
            for row in whole..self.rows {
                self.some::<S, 1>(row);
            }
        }
    }
}

/// The gradients of [`layer_norm`]: of x, of gamma (the scales) and of beta (the shifts), those that are asked for.
/// `slope` is the gradient of what came out; mean and variance are computed from x again.
///
/// # Panics
/// If there are not as many gammas and gradients of parameters as channels, or the shapes differ.
pub fn layer_norm_slopes(
    x: View<'_>,
    gamma: &[f32],
    epsilon: f32,
    slope: View<'_>,
    of_x: Option<ViewMut<'_>>,
    parameters: Option<AffineSlopes<'_>>,
) {
    same_shapes(&x, &slope);
    if let Some(of_x) = &of_x {
        same_shape(&x, of_x);
    }
    assert_eq!(gamma.len(), x.channels, "gammas");
    if let Some(parameters) = &parameters {
        parameters.check(x.channels);
    }
    if x.channels == 0 {
        return;
    }
    let of_x = of_x.map(|of_x| (Output::new(of_x.data), of_x.pitch));
    let level = Level::best();
    let (grid, width) = (Grid::new(x.pixels(), x.channels, false), x.channels);
    let wanted = parameters.is_some();
    let length = if wanted { grid.blocks() * 2 * width } else { 0 };
    with_scratch(length, |sums| {
        sums.fill(0.0);
        let to = Output::new(sums);
        grid.each(1, |block| {
            let [piece, _] = grid.pieces(block);
            let at = block * 2 * width;
            level.run(Slopes {
                x: x.data[piece.first * x.pitch..].as_ptr(),
                x_pitch: x.pitch,
                slope: slope.data[piece.first * slope.pitch..].as_ptr(),
                slope_pitch: slope.pitch,
                of_x: of_x.map(|(of_x, pitch)| (of_x.at(piece.first * pitch), pitch)),
                rows: piece.rows,
                gamma,
                epsilon,
                sums: wanted.then(|| [to.at(at), to.at(at + width)]),
            });
        });
        if let Some(mut parameters) = parameters {
            let [shifts, scales] = grid.join(sums);
            parameters.write(&scales, &shifts);
        }
    });
}
