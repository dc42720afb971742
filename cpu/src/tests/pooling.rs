//! Pooling.

use super::{Maps, Random, at_every_level};
use crate::{Pool, adaptive_avg_pool, avg_pool, max_pool};

pub(super) fn shape(random: &mut Random) -> [usize; 4] {
    [
        1 + random.below(3),
        3 + random.below(12),
        3 + random.below(12),
        random.of(&[1, 3, 5, 8, 17, 32, 64, 100]),
    ]
}

pub(super) fn random_pool(random: &mut Random) -> Pool {
    let kernel = [1 + random.below(3), 1 + random.below(3)];
    Pool {
        kernel,
        stride: [1 + random.below(3), 1 + random.below(3)],
        padding: kernel.map(|kernel| random.below(kernel / 2 + 1)),
    }
}

/// The pixels of a window that lie within the map, and how many count for a mean.
pub(super) fn taps(
    pool: &Pool,
    shape: [usize; 4],
    y: usize,
    x: usize,
) -> (Vec<(usize, usize)>, u32) {
    let mut inside = Vec::new();
    let mut counted = 0;
    for ky in 0..pool.kernel[0] {
        for kx in 0..pool.kernel[1] {
            let row = y * pool.stride[0] + ky;
            let column = x * pool.stride[1] + kx;
            if row < shape[1] + 2 * pool.padding[0] && column < shape[2] + 2 * pool.padding[1] {
                counted += 1;
            }
            let row = row.wrapping_sub(pool.padding[0]);
            let column = column.wrapping_sub(pool.padding[1]);
            if row < shape[1] && column < shape[2] {
                inside.push((row, column));
            }
        }
    }
    (inside, counted)
}

/// How many windows, with those that hang over the far edge or without.
pub(super) fn windows(pool: &Pool, axis: usize, size: usize, ceil: bool) -> usize {
    let room = (size + 2 * pool.padding[axis]).saturating_sub(pool.kernel[axis]);
    if !ceil {
        return room / pool.stride[axis] + 1;
    }
    let count = room.div_ceil(pool.stride[axis]) + 1;
    // A window must begin inside the map or its padding before it.
    if (count - 1) * pool.stride[axis] >= size + pool.padding[axis] {
        count - 1
    } else {
        count
    }
}

#[test]
fn pooling_matches_its_definition() {
    at_every_level(|_, random| {
        for _ in 0..300 {
            let shape = shape(random);
            let pool = random_pool(random);
            let ceil = random.below(2) == 0;
            let size = |axis: usize| windows(&pool, axis, shape[axis + 1], ceil);
            let to = [shape[0], size(0), size(1), shape[3]];
            let input = Maps::random(random, shape);
            let taps = |y: usize, x: usize| taps(&pool, shape, y, x);
            let mut output = Maps::output(random, to);
            max_pool(&pool, input.view(), output.view_mut());
            output.compare(0.0, "max", |n, y, x, c| {
                let (inside, _) = taps(y, x);
                let values = inside.iter().map(|&(y, x)| input.at(n, y, x, c));
                values.fold(f64::NEG_INFINITY, f64::max)
            });
            let mut output = Maps::output(random, to);
            avg_pool(&pool, input.view(), output.view_mut());
            output.compare(1e-6, "mean", |n, y, x, c| {
                let (inside, counted) = taps(y, x);
                let sum: f64 = inside.iter().map(|&(y, x)| input.at(n, y, x, c)).sum();
                sum / f64::from(counted)
            });
        }
    });
}

#[test]
fn adaptive_means_match_their_definition() {
    at_every_level(|_, random| {
        for _ in 0..200 {
            let shape = shape(random);
            let size = random.of(&[[1, 1], [1, 1], [2, 2], [7, 7], [3, 5]]);
            let input = Maps::random(random, shape);
            let mut output = Maps::output(random, [shape[0], size[0], size[1], shape[3]]);
            adaptive_avg_pool(input.view(), output.view_mut());
            output.compare(2e-6, "mean", |n, y, x, c| {
                let rows = y * shape[1] / size[0]..((y + 1) * shape[1]).div_ceil(size[0]);
                let columns = x * shape[2] / size[1]..((x + 1) * shape[2]).div_ceil(size[1]);
                let count = (rows.len() * columns.len()) as f64;
                let sum: f64 = rows
                    .flat_map(|y| columns.clone().map(move |x| (y, x)))
                    .map(|(y, x)| input.at(n, y, x, c))
                    .sum();
                sum / count
            });
        }
    });
}

#[test]
fn the_largest_of_numbers_and_nan_is_nan_wherever_it_stands() {
    at_every_level(|level, random| {
        let pool = Pool {
            kernel: [3, 3],
            stride: [2, 2],
            padding: [0, 0],
        };
        for channels in [1, 8, 70] {
            for place in 0..9 {
                let mut input = Maps::random(random, [1, 3, 3, channels]);
                let at = place * input.pitch + channels - 1;
                input.data[at] = f32::NAN;
                let mut output = Maps::output(random, [1, 1, 1, channels]);
                max_pool(&pool, input.view(), output.view_mut());
                assert!(
                    output.at(0, 0, 0, channels - 1).is_nan(),
                    "{level:?} {place}"
                );
                let first = output.at(0, 0, 0, 0);
                assert!(channels == 1 || first.is_finite(), "{level:?} {place}");
            }
        }
    });
}
