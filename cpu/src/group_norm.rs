//! Group normalisation.

#![allow(unsafe_code)] // Loads and stores through pointers.

use macerator::{Simd, WithSimd};

use crate::activation::Activation;
use crate::elementwise::Whole;
use crate::simd::{Floats, Level, load_up_to, splat, store, store_some};
use crate::threads::{Output, chunk, chunks, parallel, with_scratch};
use crate::view::{View, ViewMut};

/// Multiply-adds in the time that the statistics of an element take: it is read twice.
const COST: usize = 4;

/// Pixels whose sums are taken in f32: few enough that nothing is rounded away, and that their channels are still in
/// the nearest cache when they are read again.
const BLOCK: usize = 32;

/// The mean of each channel over a block of pixels, and the sum of squared distances from it.
struct Moments {
    input: *const f32,
    pitch: usize,
    pixels: usize,
    channels: usize,
    means: *mut f32,
    squares: *mut f32,
}

/// Vectors of channels summed side by side.
const TOGETHER: usize = 4;

impl Moments {
    /// Those of `count` channels, a whole number of vectors or less than one.
    #[inline(always)]
    unsafe fn some<S: Simd, const VECTORS: usize>(&self, channel: usize, count: usize) {
        let lanes = S::lanes32();
        let whole = count == VECTORS * lanes;
        let each = if whole { lanes } else { count };
        // SAFETY: whoever made the block vouches for its pixels, and that there is a mean and a sum for each channel.
        unsafe {
            let input = self.input.add(channel);
            let mut sums = [splat::<S>(0.0); VECTORS];
            for pixel in 0..self.pixels {
                let from = input.add(pixel * self.pitch);
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum += load_up_to(from.add(v * lanes), each);
                }
            }
            let share = splat::<S>(1.0 / self.pixels as f32);
            let means: [Floats<S>; VECTORS] = std::array::from_fn(
                #[inline(always)]
                |v| sums[v] * share,
            );
            let mut squares = [splat::<S>(0.0); VECTORS];
            for pixel in 0..self.pixels {
                let from = input.add(pixel * self.pitch);
                for (v, sum) in squares.iter_mut().enumerate() {
                    let distance = load_up_to::<S>(from.add(v * lanes), each) - means[v];
                    *sum = distance.mul_add(distance, *sum);
                }
            }
            for v in 0..VECTORS {
                let at = channel + v * lanes;
                if whole {
                    store(self.means.add(at), means[v]);
                    store(self.squares.add(at), squares[v]);
                } else {
                    store_some(self.means.add(at), means[v], count);
                    store_some(self.squares.add(at), squares[v], count);
                }
            }
        }
    }
}

impl WithSimd for Moments {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        let lanes = S::lanes32();
        let mut channel = 0;
        // SAFETY: whoever made the block vouches for it.
        unsafe {
            while channel + TOGETHER * lanes <= self.channels {
                self.some::<S, TOGETHER>(channel, TOGETHER * lanes);
                channel += TOGETHER * lanes;
            }
            while channel < self.channels {
                let count = lanes.min(self.channels - channel);
                self.some::<S, 1>(channel, count);
                channel += count;
            }
        }
    }
}

/// Normalises the channels of each group over all positions of an image, as `torch.nn.GroupNorm` does:
/// activation((x - mean) / √(variance + epsilon) · gamma + beta).
///
/// # Panics
/// If the groups do not divide the channels, there are not as many gammas and betas as channels, or the shapes differ.
pub fn group_norm(
    input: View<'_>,
    groups: usize,
    gamma: &[f32],
    beta: &[f32],
    epsilon: f32,
    activation: Activation,
    mut output: ViewMut<'_>,
) {
    input.check();
    output.check();
    assert_eq!(
        [input.batch, input.rows, input.columns, input.channels],
        [output.batch, output.rows, output.columns, output.channels],
        "the shapes of input and output"
    );
    let channels = input.channels;
    assert!(
        groups > 0 && channels.is_multiple_of(groups),
        "{groups} groups do not divide {channels} channels"
    );
    assert_eq!(gamma.len(), channels, "gammas");
    assert_eq!(beta.len(), channels, "betas");
    let area = input.rows * input.columns;
    if channels == 0 || input.batch * area == 0 {
        return;
    }
    let blocks = area.div_ceil(BLOCK);
    // Two rows a block, of means and of squares. What is added up in which order does not depend on the cores.
    with_scratch(input.batch * blocks * 2 * channels, |moments| {
        measure(&input, blocks, moments);
        let images = moments.chunks_exact(blocks * 2 * channels);
        for (image, moments) in images.enumerate() {
            let (scale, shift) = affine(moments, area, groups, [gamma, beta], epsilon);
            let whole = Whole::affine(input, &scale, &shift, activation);
            whole.run(&mut output, image * area..(image + 1) * area, 0);
        }
    });
}

/// The moments of every block of every image, `[image][block][mean, squares][channel]`.
fn measure(input: &View<'_>, blocks: usize, moments: &mut [f32]) {
    let level = Level::best();
    let (channels, area) = (input.channels, input.rows * input.columns);
    let all = input.batch * blocks;
    let to = Output::new(moments);
    let count = chunks(all, input.batch * area * channels * COST);
    parallel(count, |index| {
        for block in chunk(all, 1, index, count) {
            let first = block % blocks * BLOCK;
            let start = (block / blocks * area + first) * input.pitch;
            level.run(Moments {
                input: input.data[start..].as_ptr(),
                pitch: input.pitch,
                pixels: BLOCK.min(area - first),
                channels,
                means: to.at(block * 2 * channels),
                squares: to.at((block * 2 + 1) * channels),
            });
        }
    });
}

/// What an image's channels are multiplied with and what is added.
fn affine(
    moments: &[f32],
    area: usize,
    groups: usize,
    [gamma, beta]: [&[f32]; 2],
    epsilon: f32,
) -> (Vec<f32>, Vec<f32>) {
    let channels = gamma.len();
    let share = channels / groups;
    let count = (area * share) as f64;
    // Over the blocks channel by channel, over the channels of a group afterwards.
    let blocks = || {
        let blocks = moments.chunks_exact(2 * channels).enumerate();
        blocks.map(|(block, moments)| {
            let pixels = BLOCK.min(area - block * BLOCK) as f64;
            (pixels, moments.split_at(channels))
        })
    };
    let by_group = |sums: &[f64]| -> Vec<f64> {
        let groups = sums.chunks_exact(share);
        groups.map(|own| own.iter().sum::<f64>() / count).collect()
    };
    let mut sums = vec![0.0; channels];
    for (pixels, (means, _)) in blocks() {
        for (sum, mean) in sums.iter_mut().zip(means) {
            *sum += pixels * f64::from(*mean);
        }
    }
    let means = by_group(&sums);
    let centres: Vec<f64> = (0..channels).map(|at| means[at / share]).collect();
    sums.fill(0.0);
    for (pixels, (means, squares)) in blocks() {
        let own = means.iter().zip(squares).zip(&centres);
        for (sum, ((mean, squares), centre)) in sums.iter_mut().zip(own) {
            let distance = f64::from(*mean) - centre;
            *sum += pixels * distance * distance + f64::from(*squares);
        }
    }
    let variances = by_group(&sums);
    let (mut scale, mut shift) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
    for (channel, (gamma, beta)) in gamma.iter().zip(beta).enumerate() {
        let variance = variances[channel / share] + f64::from(epsilon);
        let factor = f64::from(*gamma) / variance.sqrt();
        scale.push(factor as f32);
        shift.push((f64::from(*beta) - centres[channel] * factor) as f32);
    }
    (scale, shift)
}
