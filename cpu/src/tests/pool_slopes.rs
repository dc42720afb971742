//! Gradients of poolings.

use super::pooling::{random_pool, shape, taps, windows};
use super::{Maps, Random, at_every_level};
use crate::{Pool, adaptive_avg_pool_slopes, avg_pool_slopes, max_pool_slopes};

/// Spreads slopes over the pixels of each window, with a factor for each.
fn spread(
    shape: [usize; 4],
    slope: &Maps,
    of: impl Fn(usize, usize, usize, usize) -> Vec<(usize, usize, f64)>,
) -> impl Fn(usize, usize, usize, usize) -> f64 {
    let [_, rows, columns, channels] = shape;
    let at = move |n, y, x, c| ((n * rows + y) * columns + x) * channels + c;
    let mut sums = vec![0.0; shape.iter().product()];
    let [batch, out_rows, out_columns, _] = slope.shape;
    for n in 0..batch {
        for y in 0..out_rows {
            for x in 0..out_columns {
                for c in 0..channels {
                    for (row, column, factor) in of(n, y, x, c) {
                        sums[at(n, row, column, c)] += factor * slope.at(n, y, x, c);
                    }
                }
            }
        }
    }
    move |n, y, x, c| sums[at(n, y, x, c)]
}

/// A pooling, the shape of what it reads, and slopes.
fn case(random: &mut Random) -> (Pool, [usize; 4], Maps) {
    let (pool, shape, ceil) = (random_pool(random), shape(random), random.below(2) == 0);
    let size = |axis: usize| windows(&pool, axis, shape[axis + 1], ceil);
    let slope = Maps::random(random, [shape[0], size(0), size(1), shape[3]]);
    (pool, shape, slope)
}

#[test]
fn slopes_of_means_are_spread_over_their_windows() {
    at_every_level(|_, random| {
        for _ in 0..200 {
            let (pool, shape, slope) = case(random);
            let mut of_input = Maps::output(random, shape);
            avg_pool_slopes(&pool, slope.view(), of_input.view_mut());
            let expected = spread(shape, &slope, |_, y, x, _| {
                let (inside, counted) = taps(&pool, shape, y, x);
                let factor = 1.0 / f64::from(counted);
                inside.into_iter().map(|(y, x)| (y, x, factor)).collect()
            });
            of_input.compare(2e-6, "mean", expected);
        }
    });
}

#[test]
fn slopes_of_adaptive_means_are_spread_over_their_regions() {
    at_every_level(|_, random| {
        for _ in 0..100 {
            let shape = shape(random);
            let size = random.of(&[[1, 1], [1, 1], [2, 2], [7, 7], [3, 5]]);
            let slope = Maps::random(random, [shape[0], size[0], size[1], shape[3]]);
            let mut of_input = Maps::output(random, shape);
            adaptive_avg_pool_slopes(slope.view(), of_input.view_mut());
            let expected = spread(shape, &slope, |_, y, x, _| {
                let rows = y * shape[1] / size[0]..((y + 1) * shape[1]).div_ceil(size[0]);
                let columns = x * shape[2] / size[1]..((x + 1) * shape[2]).div_ceil(size[1]);
                let factor = 1.0 / (rows.len() * columns.len()) as f64;
                rows.flat_map(|y| columns.clone().map(move |x| (y, x, factor)))
                    .collect()
            });
            of_input.compare(3e-6, "mean", expected);
        }
    });
}

#[test]
fn the_first_of_the_largest_elements_has_the_slope_and_the_last_nan() {
    at_every_level(|_, random| {
        for _ in 0..200 {
            let (pool, shape, slope) = case(random);
            let mut input = Maps::random(random, shape);
            for value in &mut input.data {
                // Many that are equal.
                *value = random.of(&[-1.0, 0.0, 2.0, 2.0, 3.0, f32::NEG_INFINITY]);
                if random.below(20) == 0 {
                    *value = f32::NAN;
                }
            }
            let mut of_input = Maps::output(random, shape);
            max_pool_slopes(&pool, input.view(), slope.view(), of_input.view_mut());
            let expected = spread(shape, &slope, |n, y, x, c| {
                let (inside, _) = taps(&pool, shape, y, x);
                // As PyTorch has it.
                let mut most = f64::NEG_INFINITY;
                let mut place = inside.first().copied();
                for (y, x) in inside {
                    let value = input.at(n, y, x, c);
                    if value > most || value.is_nan() {
                        (most, place) = (value, Some((y, x)));
                    }
                }
                place.into_iter().map(|(y, x)| (y, x, 1.0)).collect()
            });
            of_input.compare(2e-6, "largest", expected);
        }
    });
}

#[test]
fn one_core_and_several_give_the_same_slopes_of_a_pooling() {
    let random = &mut Random(7);
    let pool = Pool {
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1, 1],
    };
    let shape = [2, 56, 56, 64];
    let input = Maps::random(random, shape);
    let slope = Maps::random(random, [2, 28, 28, 64]);
    let [one, three] = [1, 3].map(|threads| {
        let workers = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let mut made = [(); 2].map(|()| Maps::output(&mut Random(7), shape));
        workers.unwrap().install(|| {
            max_pool_slopes(&pool, input.view(), slope.view(), made[0].view_mut());
            avg_pool_slopes(&pool, slope.view(), made[1].view_mut());
        });
        made.map(|maps| maps.data)
    });
    assert_eq!(one, three);
}
