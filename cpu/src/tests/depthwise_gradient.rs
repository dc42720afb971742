//! The gradient of a depthwise convolution's weights.

use super::{Maps, Random, at_every_level};
use crate::ConvGeometry;
use crate::depthwise_gradient::depthwise_weight_gradient;

fn depthwise(random: &mut Random) -> ConvGeometry {
    let channels = random.of(&[1, 2, 3, 7, 8, 16, 17, 24, 40, 64, 65, 72, 100]);
    let width = random.of(&[1, 2, 3, 3, 5, 5, 7, 7]);
    ConvGeometry {
        input: channels,
        output: channels,
        kernel: [random.of(&[1, 2, 3, 4, 5, 6, 7]), width],
        stride: [random.of(&[1, 1, 2, 3]), random.of(&[1, 1, 2, 3])],
        padding: [random.below(5), random.below(5)],
        dilation: [random.of(&[1, 1, 2]), random.of(&[1, 1, 1, 3])],
        groups: channels,
    }
}

/// Every weight's gradient, and the sum of magnitudes of what was added up for it.
fn expected(geometry: &ConvGeometry, input: &Maps, slope: &Maps) -> Vec<(f64, f64)> {
    let [batch, rows, columns, channels] = slope.shape;
    let mut sums = Vec::new();
    for c in 0..channels {
        for tap in 0..geometry.taps() {
            let place = |axis: usize, at: usize, tap: usize| {
                let place = at * geometry.stride[axis] + tap * geometry.dilation[axis];
                let place = place.checked_sub(geometry.padding[axis])?;
                (place < input.shape[axis + 1]).then_some(place)
            };
            let (mut sum, mut size) = (0.0, 0.0);
            for n in 0..batch {
                for y in 0..rows {
                    for x in 0..columns {
                        let row = place(0, y, tap / geometry.kernel[1]);
                        let column = place(1, x, tap % geometry.kernel[1]);
                        if let (Some(row), Some(column)) = (row, column) {
                            let term = slope.at(n, y, x, c) * input.at(n, row, column, c);
                            sum += term;
                            size += term.abs();
                        }
                    }
                }
            }
            sums.push((sum, size));
        }
    }
    sums
}

fn check(geometry: &ConvGeometry, input: &Maps, slope: &Maps, before: Option<&[f32]>) -> f64 {
    let expected = expected(geometry, input, slope);
    let mut weights = match before {
        Some(before) => before.to_vec(),
        None => vec![f32::NAN; expected.len()],
    };
    let add = before.is_some();
    depthwise_weight_gradient(geometry, input.view(), slope.view(), &mut weights, add);
    let mut worst = 0.0f64;
    for (at, (sum, size)) in expected.into_iter().enumerate() {
        let before = before.map_or(0.0, |before| f64::from(before[at]));
        let error = (f64::from(weights[at]) - before - sum).abs() / (size + before.abs() + 1e-9);
        assert!(
            error < 5e-7,
            "{geometry:?} at {at}: {}, not {sum}",
            weights[at]
        );
        worst = worst.max(error);
    }
    worst
}

#[test]
fn weight_gradients_of_random_depthwise_convolutions_match_their_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..200 {
            let geometry = depthwise(random);
            let batch = 1 + random.below(3);
            let size = [1 + random.below(12), 1 + random.below(40)];
            let output = [0, 1].map(|axis| {
                let reach = (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1;
                let room = (size[axis] + 2 * geometry.padding[axis]).saturating_sub(reach);
                room / geometry.stride[axis] + 1 + random.below(2)
            });
            let input = Maps::random(random, [batch, size[0], size[1], geometry.input]);
            let slope = Maps::random(random, [batch, output[0], output[1], geometry.input]);
            let before = random.floats(geometry.input * geometry.taps());
            let before = (random.below(2) == 0).then_some(&before[..]);
            worst = worst.max(check(&geometry, &input, &slope, before));
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

/// A 3×3 convolution of one map of so many pixels.
fn large(random: &mut Random, channels: usize, size: [usize; 2]) -> (ConvGeometry, Maps, Maps) {
    let geometry = ConvGeometry {
        input: channels,
        output: channels,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
        groups: channels,
    };
    let shape = [1, size[0], size[1], channels];
    let (input, slope) = (Maps::random(random, shape), Maps::random(random, shape));
    (geometry, input, slope)
}

#[test]
fn long_sums_of_numbers_of_one_sign_are_exact_to_the_last_bits() {
    at_every_level(|level, random| {
        for size in [[632, 633], [1, 400_000]] {
            let (geometry, mut input, mut slope) = large(random, 1, size);
            for value in input.data.iter_mut().chain(&mut slope.data) {
                *value = value.abs();
            }
            let worst = check(&geometry, &input, &slope, None);
            println!("{level:?}: worst error of 400 000 terms {worst:e}");
        }
    });
}

#[test]
fn one_core_and_several_give_the_same_weight_gradient() {
    let (geometry, input, slope) = large(&mut Random(5), 96, [56, 56]);
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let mut weights = vec![0.0; 96 * 9];
        pool.unwrap().install(|| {
            depthwise_weight_gradient(&geometry, input.view(), slope.view(), &mut weights, false);
        });
        weights
    });
    assert_eq!(one, three);
}

#[test]
fn a_slope_that_is_no_number_reaches_its_own_channel_only() {
    at_every_level(|_, random| {
        let (geometry, input, mut slope) = large(random, 20, [8, 8]);
        slope.data[(3 * 8 + 3) * slope.pitch + 18] = f32::NAN;
        let mut weights = vec![0.0; 20 * 9];
        depthwise_weight_gradient(&geometry, input.view(), slope.view(), &mut weights, false);
        for (at, weight) in weights.iter().enumerate() {
            assert_eq!(weight.is_nan(), at / 9 == 18, "{at}");
        }
    });
}

#[test]
fn no_pixels_have_no_gradient() {
    let (geometry, mut input, mut slope) = large(&mut Random(5), 3, [4, 4]);
    (input.shape[0], slope.shape[0]) = (0, 0);
    let mut weights = vec![1.0; 27];
    depthwise_weight_gradient(&geometry, input.view(), slope.view(), &mut weights, true);
    assert_eq!(weights, [1.0; 27]);
    depthwise_weight_gradient(&geometry, input.view(), slope.view(), &mut weights, false);
    assert_eq!(weights, [0.0; 27]);
}
