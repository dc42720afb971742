//! Convolutions and linear layers.

use super::{Maps, Random, apply, at_every_level};
use crate::{Activation, Conv, ConvGeometry, Linear, Weights};

/// What a convolution should give.
struct Expected {
    values: Vec<f64>,
    /// The largest sum of magnitudes of what is added up.
    scale: f64,
}

fn expected(
    geometry: &ConvGeometry,
    weights: &[f32],
    bias: &[f32],
    input: &Maps,
    residual: Option<&Maps>,
    shape: [usize; 4],
) -> Expected {
    let [batch, rows, columns, channels] = shape;
    let depth = geometry.input / geometry.groups;
    let width = geometry.output / geometry.groups;
    let [kernel_rows, kernel_columns] = geometry.kernel;
    let mut values = Vec::new();
    let mut scale = 1e-6f64;
    for n in 0..batch {
        for y in 0..rows {
            for x in 0..columns {
                for c in 0..channels {
                    let mut sum = bias.get(c).map_or(0.0, |&b| f64::from(b));
                    let mut size = sum.abs();
                    if let Some(residual) = residual {
                        sum += residual.at(n, y, x, c);
                        size += residual.at(n, y, x, c).abs();
                    }
                    for ky in 0..kernel_rows {
                        let row = y * geometry.stride[0] + ky * geometry.dilation[0];
                        let row = row.wrapping_sub(geometry.padding[0]);
                        if row >= input.shape[1] {
                            continue;
                        }
                        for kx in 0..kernel_columns {
                            let column = x * geometry.stride[1] + kx * geometry.dilation[1];
                            let column = column.wrapping_sub(geometry.padding[1]);
                            if column >= input.shape[2] {
                                continue;
                            }
                            for k in 0..depth {
                                let weight =
                                    ((c * depth + k) * kernel_rows + ky) * kernel_columns + kx;
                                let a = input.at(n, row, column, c / width * depth + k);
                                let term = a * f64::from(weights[weight]);
                                sum += term;
                                size += term.abs();
                            }
                        }
                    }
                    values.push(sum);
                    scale = scale.max(size);
                }
            }
        }
    }
    Expected { values, scale }
}

/// Runs a random case of a geometry, and gives its relative error.
fn check(random: &mut Random, geometry: ConvGeometry, size: [usize; 2], batch: usize) -> f64 {
    let reach = |axis: usize| (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1;
    let beyond = [random.below(3), random.below(3)];
    let count = |axis: usize| {
        let room = size[axis] + geometry.padding[axis] + beyond[axis];
        room.saturating_sub(reach(axis)) / geometry.stride[axis] + 1
    };
    let shape = [batch, count(0), count(1), geometry.output];
    let input = Maps::random(random, [batch, size[0], size[1], geometry.input]);
    let residual = (random.below(2) == 0).then(|| Maps::random(random, shape));
    let depth = geometry.input / geometry.groups;
    let weights = random.floats(geometry.output * depth * geometry.taps());
    let bias = if random.below(4) == 0 {
        Vec::new()
    } else {
        random.floats(geometry.output)
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
    let conv = Conv::new(geometry, given, &bias, size);
    let mut output = Maps::output(random, shape);
    let added = residual.as_ref().map(Maps::view);
    conv.run(input.view(), added, activation, output.view_mut());
    let mut weights = weights.clone();
    for (own, factor) in weights
        .chunks_exact_mut(depth * geometry.taps())
        .zip(&factors)
    {
        own.iter_mut().for_each(|weight| *weight *= factor);
    }
    let expected = expected(&geometry, &weights, &bias, &input, residual.as_ref(), shape);
    // Winograd's errors are compared with the largest output, the others' with what was added up.
    let (limit, scale) = if conv.algorithm() == "winograd" {
        let largest = expected.values.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        (1e-4, largest)
    } else {
        (1e-5, expected.scale)
    };
    let what = format!("{} {geometry:?} {activation:?} {shape:?}", conv.algorithm());
    let [_, rows, columns, channels] = shape;
    let worst = output.compare(limit * scale.max(1.0), &what, |n, y, x, c| {
        let at = ((n * rows + y) * columns + x) * channels + c;
        apply(activation, expected.values[at])
    });
    worst / scale
}

#[test]
fn convolutions_of_random_shapes_match_their_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..300 {
            let groups = random.of(&[1, 1, 1, 2, 3, 4, 8]);
            let per_group = [1, 2, 3, 4, 5, 8, 16, 17];
            let geometry = ConvGeometry {
                input: groups * random.of(&per_group),
                output: groups * random.of(&[1, 2, 3, 4, 5, 8, 17, 24, 40, 56]),
                kernel: [random.of(&[1, 2, 3, 5]), random.of(&[1, 3, 4, 7])],
                stride: [1 + random.below(3), 1 + random.below(3)],
                padding: [random.below(4), random.below(4)],
                dilation: [random.of(&[1, 1, 2, 3]), random.of(&[1, 1, 2])],
                groups,
            };
            let size = [1 + random.below(16), 1 + random.below(16)];
            let batch = 1 + random.below(3);
            worst = worst.max(check(random, geometry, size, batch));
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

#[test]
fn depthwise_convolutions_of_random_shapes_match_their_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..300 {
            let channels = random.of(&[2, 3, 5, 8, 12, 16, 17, 24, 40, 67]);
            let kernel = random.of(&[[3, 3], [3, 3], [5, 5], [7, 7], [3, 5], [2, 1], [9, 9]]);
            let stride = random.of(&[1, 1, 2, 3]);
            let geometry = ConvGeometry {
                input: channels,
                output: channels,
                kernel,
                stride: [stride, random.of(&[stride, stride, 2])],
                padding: [random.below(5), random.below(5)],
                dilation: [random.of(&[1, 1, 1, 2]), random.of(&[1, 1, 1, 2])],
                groups: channels,
            };
            let size = [1 + random.below(20), 1 + random.below(20)];
            let batch = 1 + random.below(3);
            worst = worst.max(check(random, geometry, size, batch));
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

#[test]
fn two_convolutions_in_strips_give_what_they_give_one_after_the_other() {
    at_every_level(|level, random| {
        for _ in 0..40 {
            // Wide enough that a strip holds but a few of the rows, or whole maps.
            let channels = random.of(&[16, 33, 64]);
            let kernel = random.of(&[1, 1, 3]);
            let first = ConvGeometry {
                input: random.of(&[3, 10, 16]),
                output: channels,
                kernel: [kernel; 2],
                stride: [random.of(&[1, 2]); 2],
                padding: [kernel / 2; 2],
                dilation: [1, 1],
                groups: 1,
            };
            let kernel = random.of(&[2, 3, 3, 5]);
            let second = ConvGeometry {
                input: channels,
                output: channels,
                kernel: [kernel, random.of(&[kernel, 3])],
                stride: [random.of(&[1, 2, 6]), 1 + random.below(2)],
                padding: [random.below(7), random.below(3)],
                dilation: [random.of(&[1, 1, 2]), 1],
                groups: channels,
            };
            let batch = 1 + random.below(3);
            let size = [1 + random.below(40), random.of(&[7, 60, 130])];
            let count = |geometry: &ConvGeometry, size: [usize; 2]| {
                [0, 1].map(|axis| {
                    let reach = (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1;
                    let room = size[axis] + 2 * geometry.padding[axis];
                    room.saturating_sub(reach) / geometry.stride[axis] + 1
                })
            };
            let between = count(&first, size);
            let after = count(&second, between);
            let conv = |random: &mut Random, geometry: ConvGeometry, size| {
                let depth = geometry.input / geometry.groups;
                let weights = random.floats(geometry.output * depth * geometry.taps());
                let bias = random.floats(geometry.output);
                Conv::new(geometry, weights[..].into(), &bias, size)
            };
            let [one, two] = [(first, size), (second, between)]
                .map(|(geometry, size)| conv(random, geometry, size));
            let functions = [random.activation(), random.activation()];
            let input = Maps::random(random, [batch, size[0], size[1], first.input]);
            let mut inner = Maps::output(random, [batch, between[0], between[1], channels]);
            let mut apart = Maps::output(random, [batch, after[0], after[1], channels]);
            let mut together = apart.clone();
            one.run(input.view(), None, functions[0], inner.view_mut());
            two.run(inner.view(), None, functions[1], apart.view_mut());
            assert!(one.joins(&two) && !two.joins(&one));
            let next = (&two, functions[1]);
            let output = together.view_mut();
            one.run_before(functions[0], next, input.view(), between, output);
            let bits =
                |maps: &Maps| -> Vec<u32> { maps.data.iter().map(|x| x.to_bits()).collect() };
            assert_eq!(
                bits(&together),
                bits(&apart),
                "{level:?} {first:?} {second:?} {size:?}"
            );
        }
    });
}

#[test]
fn deep_and_wide_convolutions_are_right_across_their_blocks() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..12 {
            let kernel = random.of(&[1, 3]);
            let geometry = ConvGeometry {
                input: random.of(&[130, 385, 512, 800]),
                output: random.of(&[33, 64, 100]),
                kernel: [kernel, kernel],
                stride: [1, random.of(&[1, 2])],
                padding: [kernel / 2, kernel / 2],
                dilation: [1, 1],
                groups: 1,
            };
            let size = [3 + random.below(9), 3 + random.below(12)];
            worst = worst.max(check(random, geometry, size, 1));
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

#[test]
fn winograds_convolutions_match_their_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..12 {
            let geometry = ConvGeometry {
                input: random.of(&[32, 37, 64, 256]),
                output: random.of(&[32, 41, 64]),
                kernel: [3, 3],
                stride: [1, 1],
                padding: [random.below(2), random.below(3)],
                dilation: [1, 1],
                groups: 1,
            };
            let size = [7 + random.below(24), 9 + random.below(20)];
            let batch = 1 + random.below(2);
            worst = worst.max(check(random, geometry, size, batch));
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

#[test]
fn linear_layers_match_their_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..150 {
            let input = random.of(&[1, 3, 5, 17, 64, 100, 500]);
            let output = random.of(&[1, 3, 5, 17, 24, 40, 64, 100, 333]);
            let geometry = ConvGeometry::pointwise(input, output);
            let tokens = random.of(&[1, 1, 2, 3, 7, 8, 9, 31, 97, 200]);
            let weights = random.floats(input * output);
            let bias = random.floats(output);
            let activation = random.activation();
            let from = Maps::random(random, [1, 1, tokens, input]);
            let mut to = Maps::output(random, [1, 1, tokens, output]);
            let residual = (random.below(2) == 0).then(|| Maps::random(random, to.shape));
            let linear = Linear::new(input, output, weights[..].into(), &bias);
            let added = residual.as_ref().map(Maps::view);
            linear.run(from.view(), added, activation, to.view_mut());
            let residual = residual.as_ref();
            let expected = expected(&geometry, &weights, &bias, &from, residual, to.shape);
            let limit = 1e-5 * expected.scale.max(1.0);
            let error = to.compare(limit, "linear", |_, _, x, c| {
                apply(activation, expected.values[x * output + c])
            });
            worst = worst.max(error / expected.scale);
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

#[test]
#[should_panic(expected = "channels of the input")]
fn an_input_of_other_channels_is_refused() {
    let conv = Conv::new(
        ConvGeometry::pointwise(2, 2),
        [0.0; 4][..].into(),
        &[],
        [1, 1],
    );
    let input = Maps::random(&mut Random(1), [1, 1, 1, 3]);
    let mut output = Maps::random(&mut Random(1), [1, 1, 1, 2]);
    conv.run(input.view(), None, super::ACTIVATIONS[0], output.view_mut());
}

#[test]
fn nan_comes_through_every_kind_of_convolution() {
    at_every_level(|level, random| {
        let square = |input, output, kernel, groups| ConvGeometry {
            kernel: [kernel; 2],
            padding: [kernel / 2; 2],
            groups,
            ..ConvGeometry::pointwise(input, output)
        };
        for geometry in [
            square(40, 24, 1, 1),
            square(3, 16, 3, 1),
            square(16, 16, 3, 1),
            square(64, 64, 3, 1),
            square(24, 24, 3, 24),
            square(3, 3, 3, 3),
            square(32, 32, 5, 32),
            square(16, 32, 3, 4),
        ] {
            for activation in [
                Activation::None,
                Activation::Relu,
                Activation::Relu6,
                Activation::Silu,
            ] {
                let mut input = Maps::random(random, [1, 14, 14, geometry.input]);
                input.data[(5 * 14 + 5) * input.pitch] = f32::NAN;
                let depth = geometry.input / geometry.groups;
                let weights = random.floats(geometry.output * depth * geometry.taps());
                let conv = Conv::new(geometry, weights[..].into(), &[], [14, 14]);
                let mut output = Maps::output(random, [1, 14, 14, geometry.output]);
                conv.run(input.view(), None, activation, output.view_mut());
                let what = format!("{level:?} {} {activation:?}", conv.algorithm());
                assert!(output.at(0, 5, 5, 0).is_nan(), "{what}");
                assert!(output.at(0, 13, 13, 0).is_finite(), "{what}");
            }
        }
    });
}

#[test]
fn depthwise_kernels_are_counted_without_the_taps_beyond_the_edges() {
    let geometry = ConvGeometry {
        kernel: [3, 3],
        padding: [1, 1],
        groups: 8,
        ..ConvGeometry::pointwise(8, 8)
    };
    let conv = Conv::new(geometry, vec![0.0; 72][..].into(), &[], [7, 7]);
    // Along each axis 7 · 3 taps less the first window's first and the last one's last.
    assert_eq!(conv.multiply_adds([7, 7], [7, 7]), 19 * 19 * 8);
}
