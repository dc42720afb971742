//! Gradients through elementwise functions, gates and factors.

use super::{ACTIVATIONS, Maps, Random, UNTOUCHED, apply, at_every_level, in_pools_alike};
use crate::{
    Activation, AffineSlopes, accumulate, affine_slopes, gate_slopes, multiply, scale_images,
    through,
};

fn shape(random: &mut Random) -> [usize; 4] {
    let sides = [1, 2, 3, 9, 40];
    [
        1 + random.below(3),
        random.of(&sides),
        random.of(&sides),
        random.of(&[1, 3, 5, 8, 16, 17, 24, 40, 100]),
    ]
}

/// Central differences of the function as it is defined.
fn difference(activation: Activation, x: f64) -> f64 {
    let step = 1e-5;
    (apply(activation, x + step) - apply(activation, x - step)) / (2.0 * step)
}

/// What is kept of an input.
fn kept(activation: Activation, x: f32) -> f32 {
    if activation.keeps_output() {
        apply(activation, f64::from(x)) as f32
    } else {
        x
    }
}

/// One gradient of 1 through a function.
fn slopes(activation: Activation, kept: &[f32]) -> Vec<f32> {
    let mut slope = vec![1.0; kept.len()];
    let view = crate::View::new(kept, 1, 1, kept.len(), 1);
    let to = crate::ViewMut::new(&mut slope, 1, 1, kept.len(), 1);
    through(activation, view, to);
    slope
}

#[test]
fn derivatives_are_accurate_everywhere() {
    at_every_level(|level, _| {
        for activation in ACTIVATIONS {
            // Between the points where a function has a kink.
            let inputs: Vec<f32> = (-10_000..10_000)
                .map(|i| (i as f32 + 0.5) / 1000.0)
                .collect();
            let what: Vec<f32> = inputs.iter().map(|&x| kept(activation, x)).collect();
            let mut worst = 0.0f64;
            for (&x, slope) in inputs.iter().zip(slopes(activation, &what)) {
                let expected = difference(activation, f64::from(x));
                let error = (f64::from(slope) - expected).abs();
                assert!(
                    error <= 1e-6,
                    "{activation:?} at {x}: {slope}, not {expected}"
                );
                worst = worst.max(error);
            }
            println!("{level:?} {activation:?}: worst error {worst:e}");
        }
    });
}

/// torch.autograd's of 1 through torch.nn.functional's functions.
#[test]
fn kinks_have_pytorchs_derivatives() {
    at_every_level(|_, _| {
        let at = |activation, inputs: &[f32]| {
            let what: Vec<f32> = inputs.iter().map(|&x| kept(activation, x)).collect();
            slopes(activation, &what)
        };
        assert_eq!(at(Activation::Relu, &[0.0, -0.0, 1.0]), [0.0, 0.0, 1.0]);
        assert_eq!(at(Activation::Relu, &[f32::INFINITY]), [1.0]);
        let relu6 = at(Activation::Relu6, &[0.0, 6.0, 1e-7, 5.99]);
        assert_eq!(relu6, [0.0, 0.0, 1.0, 1.0]);
        let hard = [-3.0, 3.0, -2.999_999, 2.999_99, 0.0];
        let sixth = 1.0 / 6.0;
        let hard_sigmoid = at(Activation::HardSigmoid, &hard);
        assert_eq!(hard_sigmoid, [0.0, 0.0, sixth, sixth, sixth]);
        let hard_swish = at(Activation::HardSwish, &[-3.0, 3.0, -3.1, 3.1, 0.0]);
        assert_eq!(hard_swish, [0.0, 1.0, 0.0, 1.0, 0.5]);
    });
}

#[test]
fn derivatives_of_extremes_are_finite_and_nan_comes_through() {
    at_every_level(|level, random| {
        for activation in ACTIVATIONS {
            let extremes = [-3e38, -1e30, -1000.0, -89.0, 89.0, 1000.0, 1e30, 3e38];
            let what: Vec<f32> = extremes.iter().map(|&x| kept(activation, x)).collect();
            let found = slopes(activation, &what);
            let expected = |x: f32| match activation {
                Activation::None => 1.0,
                Activation::Sigmoid | Activation::HardSigmoid | Activation::Tanh => 0.0,
                Activation::Relu6 => 0.0,
                _ => f32::from(x > 0.0),
            };
            for (x, found) in extremes.into_iter().zip(found) {
                let error = (found - expected(x)).abs();
                assert!(error < 1e-6, "{level:?} {activation:?} at {x}: {found}");
            }
            if activation == Activation::None {
                continue;
            }
            for length in [1, 7, 40] {
                let mut what = random.floats(length);
                what[length - 1] = f32::NAN;
                let found = slopes(activation, &what);
                assert!(found[length - 1].is_nan(), "{level:?} {activation:?}");
                assert!(found[..length - 1].iter().all(|x| x.is_finite()));
            }
        }
    });
}

#[test]
fn operations_in_place_match_their_definition() {
    at_every_level(|_, random| {
        for _ in 0..60 {
            let shape = shape(random);
            let from = Maps::random(random, shape);
            let before = Maps::slopes(random, shape);

            let activation = random.activation();
            let mut into = before.clone();
            through(activation, from.view(), into.view_mut());
            into.compare(2e-6, "through", |n, y, x, c| {
                let kept = from.at(n, y, x, c);
                // The input of the function, of which its output is what was kept.
                let derivative = match activation {
                    Activation::None => 1.0,
                    Activation::Relu | Activation::Relu6 => f64::from(u8::from(kept > 0.0)),
                    Activation::HardSigmoid => f64::from(u8::from(kept > 0.0)) / 6.0,
                    Activation::Sigmoid => kept * (1.0 - kept),
                    Activation::Tanh => 1.0 - kept * kept,
                    _ => difference(activation, kept),
                };
                before.at(n, y, x, c) * derivative
            });

            let mut into = before.clone();
            accumulate(from.view(), into.view_mut());
            into.compare(1e-7, "accumulate", |n, y, x, c| {
                from.at(n, y, x, c) + before.at(n, y, x, c)
            });

            let mut into = before.clone();
            multiply(from.view(), into.view_mut());
            into.compare(1e-7, "multiply", |n, y, x, c| {
                from.at(n, y, x, c) * before.at(n, y, x, c)
            });

            let mut into = before.clone();
            let factors = random.floats(shape[0]);
            scale_images(&factors, into.view_mut());
            into.compare(1e-7, "scale images", |n, y, x, c| {
                f64::from(factors[n]) * before.at(n, y, x, c)
            });
        }
    });
}

#[test]
fn gates_have_their_gradients() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for round in 0..60 {
            let shape = shape(random);
            let [batch, rows, columns, channels] = shape;
            let gate_shape =
                random.of(&[shape, [batch, rows, columns, 1], [batch, 1, 1, channels]]);
            let x = Maps::random(random, shape);
            let gate = Maps::random(random, gate_shape);
            let slope = Maps::random(random, shape);
            let mut of_x = Maps::output(random, shape);
            let mut of_gate = Maps::output(random, gate_shape);
            gate_slopes(
                x.view(),
                gate.view(),
                slope.view(),
                (round % 3 > 0).then(|| of_x.view_mut()),
                (round % 3 < 2).then(|| of_gate.view_mut()),
            );
            let within = |at: usize, of: usize| at.min(of - 1);
            if round % 3 > 0 {
                of_x.compare(1e-7, "of x", |n, row, column, c| {
                    let (y, x) = (within(row, gate_shape[1]), within(column, gate_shape[2]));
                    slope.at(n, row, column, c) * gate.at(n, y, x, within(c, gate_shape[3]))
                });
            }
            if round % 3 < 2 {
                // What shares a number of the gate.
                let range = |axis: usize, at: usize| match gate_shape[axis] == shape[axis] {
                    true => at..at + 1,
                    false => 0..shape[axis],
                };
                let error = of_gate.compare(2e-5, "of the gate", |n, y, x_, c| {
                    let mut sum = 0.0;
                    for row in range(1, y) {
                        for column in range(2, x_) {
                            for c in range(3, c) {
                                sum += slope.at(n, row, column, c) * x.at(n, row, column, c);
                            }
                        }
                    }
                    sum
                });
                worst = worst.max(error);
            }
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

#[test]
fn factors_and_summands_have_their_gradients() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..60 {
            let shape = shape(random);
            let x = Maps::random(random, shape);
            let slope = Maps::random(random, shape);
            let add = random.below(2) == 1;
            let start = if add { 0.5 } else { f32::NAN };
            let (mut of_scale, mut of_shift) = (vec![start; shape[3]], vec![start; shape[3]]);
            let parameters = AffineSlopes {
                of_scale: &mut of_scale,
                of_shift: &mut of_shift,
                add,
            };
            affine_slopes(x.view(), slope.view(), parameters);
            let start = if add { 0.5 } else { 0.0 };
            for c in 0..shape[3] {
                let mut sums = [start; 3];
                x.each_pixel(|n, row, column| {
                    let (x, slope) = (x.at(n, row, column, c), slope.at(n, row, column, c));
                    sums[0] += slope * x;
                    sums[1] += slope;
                    sums[2] += slope.abs();
                });
                for (found, expected) in [(of_scale[c], sums[0]), (of_shift[c], sums[1])] {
                    let error = (f64::from(found) - expected).abs() / sums[2].max(1.0);
                    assert!(error <= 1e-6, "{shape:?}, {c}: {found}, not {expected}");
                    worst = worst.max(error);
                }
            }
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

/// Ones that are not representable, so that every addition rounds.
#[test]
fn a_sum_over_very_many_positions_keeps_its_digits() {
    at_every_level(|level, random| {
        let shape = [1, 640, 640, 3];
        let x = Maps::random(random, shape);
        let mut slope = Maps::random(random, shape);
        slope.data.iter_mut().for_each(|x| *x = x.abs() + 0.1);
        let (mut of_scale, mut of_shift) = ([0.0; 3], [0.0; 3]);
        let parameters = AffineSlopes {
            of_scale: &mut of_scale,
            of_shift: &mut of_shift,
            add: false,
        };
        affine_slopes(x.view(), slope.view(), parameters);
        for (c, found) in of_shift.into_iter().enumerate() {
            let mut sum = 0.0;
            slope.each_pixel(|n, row, column| sum += slope.at(n, row, column, c));
            let error = (f64::from(found) - sum).abs() / sum;
            println!("{level:?}: {error:e}");
            assert!(error < 2e-7, "{error:e}");
        }
    });
}

#[test]
fn cores_do_not_change_a_bit() {
    let mut random = Random(7);
    let shape = [3, 60, 61, 24];
    let (x, slope) = (
        Maps::random(&mut random, shape),
        Maps::random(&mut random, shape),
    );
    let gate = Maps::random(&mut random, [3, 1, 1, 24]);
    let output = Maps::output(&mut random, shape);
    let gates = Maps::output(&mut random, [3, 1, 1, 24]);
    in_pools_alike(|| {
        let (mut of_scale, mut of_shift) = ([0.0; 24], [0.0; 24]);
        let parameters = AffineSlopes {
            of_scale: &mut of_scale,
            of_shift: &mut of_shift,
            add: false,
        };
        affine_slopes(x.view(), slope.view(), parameters);
        let (mut of_x, mut of_gate) = (output.clone(), gates.clone());
        gate_slopes(
            x.view(),
            gate.view(),
            slope.view(),
            Some(of_x.view_mut()),
            Some(of_gate.view_mut()),
        );
        [&of_scale[..], &of_shift, &of_x.data, &of_gate.data].concat()
    });
}

#[test]
fn nothing_has_no_gradients() {
    let empty = |shape| Maps {
        data: Vec::new(),
        shape,
        pitch: 8,
    };
    let maps = empty([0, 4, 4, 8]);
    accumulate(maps.view(), maps.clone().view_mut());
    scale_images(&[], maps.clone().view_mut());
    through(Activation::Gelu, maps.view(), maps.clone().view_mut());
    gate_slopes(
        maps.view(),
        empty([0, 1, 1, 8]).view(),
        maps.view(),
        Some(maps.clone().view_mut()),
        Some(empty([0, 1, 1, 8]).view_mut()),
    );
    let (mut of_scale, mut of_shift) = ([UNTOUCHED; 8], [UNTOUCHED; 8]);
    let parameters = AffineSlopes {
        of_scale: &mut of_scale,
        of_shift: &mut of_shift,
        add: false,
    };
    affine_slopes(maps.view(), maps.view(), parameters);
    assert_eq!([of_scale, of_shift], [[0.0; 8]; 2]);
    // A map of no positions leaves its gate without a gradient.
    let none = empty([2, 0, 4, 8]);
    let gate = Maps::output(&mut Random(3), [2, 1, 1, 8]);
    let mut of_gate = gate.clone();
    gate_slopes(
        none.view(),
        gate.view(),
        none.view(),
        None,
        Some(of_gate.view_mut()),
    );
    of_gate.compare(0.0, "of no positions", |_, _, _, _| 0.0);
}
