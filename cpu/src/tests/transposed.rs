//! Transposed convolutions.

use super::{Maps, Random, apply, at_every_level};
use crate::{ConvGeometry, ConvTranspose, Weights};

/// What it should give, and the largest sum of magnitudes of what is added up.
fn expected(
    geometry: &ConvGeometry,
    weights: &[f32],
    bias: &[f32],
    input: &Maps,
    shape: [usize; 4],
) -> (Vec<f64>, f64) {
    let [batch, rows, columns, channels] = shape;
    let (depth, width) = (
        geometry.input / geometry.groups,
        geometry.output / geometry.groups,
    );
    let count = batch * rows * columns * channels;
    let bias = |c: usize| bias.get(c).map_or(0.0, |&b| f64::from(b));
    let mut values: Vec<f64> = (0..count).map(|at| bias(at % channels)).collect();
    let mut sizes: Vec<f64> = values.iter().map(|value| value.abs()).collect();
    let place = |axis: usize, at: usize, tap: usize, size: usize| {
        let at = at * geometry.stride[axis] + tap * geometry.dilation[axis];
        let at = at.checked_sub(geometry.padding[axis])?;
        (at < size).then_some(at)
    };
    for index in 0..batch * input.shape[1] * input.shape[2] {
        let (n, at_y, at_x) = (
            index / (input.shape[1] * input.shape[2]),
            index / input.shape[2] % input.shape[1],
            index % input.shape[2],
        );
        for tap in 0..geometry.taps() {
            let y = place(0, at_y, tap / geometry.kernel[1], rows);
            let x = place(1, at_x, tap % geometry.kernel[1], columns);
            let (Some(y), Some(x)) = (y, x) else { continue };
            for k in 0..geometry.input {
                for c in 0..width {
                    let weight = (k * width + c) * geometry.taps() + tap;
                    let term = input.at(n, at_y, at_x, k) * f64::from(weights[weight]);
                    let at = ((n * rows + y) * columns + x) * channels + k / depth * width + c;
                    values[at] += term;
                    sizes[at] += term.abs();
                }
            }
        }
    }
    (values, sizes.into_iter().fold(1.0, f64::max))
}

fn check(random: &mut Random, geometry: ConvGeometry, size: [usize; 2], batch: usize) -> f64 {
    // As many as fit, or some fewer or more.
    let count = |axis: usize, beyond: usize| {
        let reach = (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1;
        let whole = (size[axis] - 1) * geometry.stride[axis] + reach + beyond;
        whole.saturating_sub(2 * geometry.padding[axis]).max(1)
    };
    let [down, across] = [random.below(4), random.below(3)];
    let shape = [batch, count(0, down), count(1, across), geometry.output];
    let input = Maps::random(random, [batch, size[0], size[1], geometry.input]);
    let residual = (random.below(2) == 0).then(|| Maps::random(random, shape));
    let width = geometry.output / geometry.groups;
    let weights = random.floats(geometry.input * width * geometry.taps());
    let bias = match random.below(4) {
        0 => Vec::new(),
        _ => random.floats(geometry.output),
    };
    let factors = match random.below(2) {
        0 => Vec::new(),
        _ => random.floats(geometry.output),
    };
    let given = Weights {
        numbers: &weights,
        factors: &factors,
    };
    let activation = random.activation();
    let conv = ConvTranspose::new(geometry, given, &bias, size);
    let mut output = Maps::output(random, shape);
    let added = residual.as_ref().map(Maps::view);
    conv.run(input.view(), added, activation, output.view_mut());
    let depth = geometry.input / geometry.groups;
    let scaled: Vec<f32> = weights
        .iter()
        .enumerate()
        .map(|(at, weight)| {
            let (k, c) = (at / geometry.taps() / width, at / geometry.taps() % width);
            let factor = factors.get(k / depth * width + c).copied().unwrap_or(1.0);
            weight * factor
        })
        .collect();
    let (values, scale) = expected(&geometry, &scaled, &bias, &input, shape);
    let what = format!("{geometry:?} {activation:?} {shape:?}");
    let [_, rows, columns, channels] = shape;
    let worst = output.compare(1e-5 * scale, &what, |n, y, x, c| {
        let sum = values[((n * rows + y) * columns + x) * channels + c];
        let added = residual.as_ref().map_or(0.0, |added| added.at(n, y, x, c));
        apply(activation, sum + added)
    });
    worst / scale
}

#[test]
fn transposed_convolutions_of_random_shapes_match_their_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..200 {
            let groups = random.of(&[1, 1, 1, 2, 3, 8]);
            let geometry = ConvGeometry {
                input: groups * random.of(&[1, 1, 2, 3, 5, 16, 17]),
                output: groups * random.of(&[1, 1, 2, 3, 5, 8, 17, 24]),
                kernel: [random.of(&[1, 2, 3, 4, 5]), random.of(&[1, 2, 3, 4, 7])],
                stride: [random.of(&[1, 2, 2, 3]), random.of(&[1, 2, 2, 4])],
                padding: [random.below(4), random.below(3)],
                dilation: [random.of(&[1, 1, 2, 3]), random.of(&[1, 1, 2])],
                groups,
            };
            let size = [1 + random.below(8), 1 + random.below(8)];
            let batch = 1 + random.below(2);
            worst = worst.max(check(random, geometry, size, batch));
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

#[test]
fn depthwise_transposed_convolutions_match_their_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..100 {
            let channels = random.of(&[2, 4, 8, 16, 17, 24, 40]);
            let kernel = [random.of(&[1, 2, 3, 5]), random.of(&[3, 3, 5, 5, 4])];
            let geometry = ConvGeometry {
                input: channels,
                output: channels,
                kernel,
                stride: [random.of(&[1, 2, 2, 3]), 2],
                padding: [random.below(4), random.below(4)],
                dilation: [random.of(&[1, 1, 2]), 1],
                groups: channels,
            };
            let size = [1 + random.below(8), 1 + random.below(20)];
            let batch = 1 + random.below(3);
            worst = worst.max(check(random, geometry, size, batch));
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

#[test]
fn no_multiplication_with_zeros_between_pixels_is_counted() {
    let geometry = ConvGeometry {
        kernel: [2, 2],
        stride: [2, 2],
        ..ConvGeometry::pointwise(8, 4)
    };
    let conv = ConvTranspose::new(geometry, vec![0.0; 128][..].into(), &[], [5, 7]);
    // Each output pixel meets one tap.
    assert_eq!(conv.multiply_adds([5, 7], [10, 14]), 10 * 14 * 8 * 4);
}
