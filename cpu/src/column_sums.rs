//! Sums of maps over their pixels: the gradient of a bias.

#![allow(unsafe_code)] // Vectors are read and written through pointers, and parts in parallel.

use macerator::{Simd, WithSimd};

use crate::simd::{Level, load, store};
use crate::threads::{chunk, chunks, parallel, with_scratch};
use crate::view::View;

/// Pixels that are summed up in 32 bits.
const BLOCK: usize = 64;

/// Pixels that share the loading and storing of sums.
const TOGETHER: usize = 4;

/// Elements of a part from which handing it over costs little, and parts at most.
const PART: usize = 1 << 15;
const MOST_PARTS: usize = 64;

/// The sum over pixels of each channel, which is the gradient of a bias where `slope` is the gradient of a layer's
/// output. The sums are overwritten, or added to.
///
/// Blocks of 64 pixels are summed up in 32 bits, and blocks in order in 64 bits. How they are divided depends on the
/// shapes, not on the number of threads.
///
/// # Shapes
/// `sums` has a number for each channel.
///
/// # Panics
/// If there are not as many.
pub fn column_sums(slope: View<'_>, sums: &mut [f32], add: bool) {
    slope.check();
    assert_eq!(sums.len(), slope.channels, "sums of channels");
    let (pixels, channels) = (slope.pixels(), slope.channels);
    let parts = (pixels * channels / PART).clamp(1, MOST_PARTS.min(pixels.max(1)));
    let mut totals = vec![0.0f64; parts * channels];
    let each = Totals(totals.as_mut_ptr());
    let level = Level::best();
    let sum = |part: usize| {
        // SAFETY: each part has its own totals.
        let totals = unsafe { std::slice::from_raw_parts_mut(each.of(part * channels), channels) };
        add_part(level, slope, chunk(pixels, 1, part, parts), totals);
    };
    match chunks(parts, pixels * channels) {
        1 => (0..parts).for_each(sum),
        _ => parallel(parts, sum),
    }
    for (channel, sum) in sums.iter_mut().enumerate() {
        let of_parts = totals[channel..].iter().step_by(channels);
        let before = if add { f64::from(*sum) } else { 0.0 };
        *sum = (before + of_parts.sum::<f64>()) as f32;
    }
}

/// Where the parts write.
struct Totals(*mut f64);

// SAFETY: each part writes to its own.
unsafe impl Sync for Totals {}

impl Totals {
    fn of(&self, offset: usize) -> *mut f64 {
        self.0.wrapping_add(offset)
    }
}

/// Adds up some pixels, block by block.
fn add_part(level: Level, slope: View<'_>, pixels: std::ops::Range<usize>, totals: &mut [f64]) {
    let channels = slope.channels;
    if channels == 0 {
        return;
    }
    with_scratch(channels, |sums| {
        for from in pixels.clone().step_by(BLOCK) {
            let data = &slope.data[from * slope.pitch..];
            let block = Block {
                data,
                pitch: slope.pitch,
                pixels: BLOCK.min(pixels.end - from),
                sums: &mut *sums,
            };
            level.run(block);
            for (total, sum) in totals.iter_mut().zip(&*sums) {
                *total += f64::from(*sum);
            }
        }
    });
}

/// The sums of a block of pixels, overwritten.
struct Block<'a> {
    data: &'a [f32],
    pitch: usize,
    pixels: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self) {
        self.sums.fill(0.0);
        let whole = self.pixels / TOGETHER * TOGETHER;
        for pixel in (0..whole).step_by(TOGETHER) {
            self.add::<S, TOGETHER>(pixel);
        }
        for pixel in whole..self.pixels {
            self.add::<S, 1>(pixel);
        }
    }
}

impl Block<'_> {
    /// Adds so many neighbouring pixels.
    #[inline(always)]
    fn add<S: Simd, const PIXELS: usize>(&mut self, pixel: usize) {
        let (lanes, channels) = (S::lanes32(), self.sums.len());
        let rows: [&[f32]; PIXELS] =
            std::array::from_fn(|at| &self.data[(pixel + at) * self.pitch..][..channels]);
        let whole = channels / lanes * lanes;
        for channel in (0..whole).step_by(lanes) {
            // SAFETY: vectors end at `whole`.
            unsafe {
                let to = self.sums.as_mut_ptr().add(channel);
                let mut sum = load::<S>(to);
                for row in rows {
                    sum += load::<S>(row.as_ptr().add(channel));
                }
                store(to, sum);
            }
        }
        for channel in whole..channels {
            for row in rows {
                self.sums[channel] += row[channel];
            }
        }
    }
}
