//! Layer normalisation.

#![allow(unsafe_code)] // Loads and stores through pointers.

use macerator::{Simd, WithSimd};

use crate::simd::{Floats, Level, load, load_some, load_some_or, splat, store, store_some};
use crate::threads::{Output, chunk, chunks, parallel};
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
                let mean = sum::<S>(
                    input,
                    width,
                    #[inline(always)]
                    |x| x,
                    0.0,
                ) / width as f32;
                let center = splat::<S>(mean);
                let squares = sum::<S>(
                    input,
                    width,
                    #[inline(always)]
                    |x| {
                        let x = x - center;
                        x * x
                    },
                    mean,
                );
                let scale = splat::<S>(1.0 / (squares / width as f32 + self.epsilon).sqrt());
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
    input.check();
    output.check();
    assert_eq!(
        [input.batch, input.rows, input.columns, input.channels],
        [output.batch, output.rows, output.columns, output.channels],
        "the shapes of input and output"
    );
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
