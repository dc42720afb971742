//! Elementwise functions and layer normalisation.

use super::{ACTIVATIONS, Maps, Random, apply, at_every_level};
use crate::{
    Activation, activate, activate_in_place, add, affine, copy, gate, layer_norm, normalise,
};

fn shape(random: &mut Random) -> [usize; 4] {
    [
        1 + random.below(3),
        1 + random.below(9),
        1 + random.below(9),
        random.of(&[1, 3, 5, 8, 16, 17, 40, 100]),
    ]
}

#[test]
fn functions_are_accurate_everywhere() {
    at_every_level(|level, _| {
        for activation in ACTIVATIONS {
            let inputs: Vec<f32> = (-40_000..=40_000).map(|i| i as f32 / 1000.0).collect();
            let mut outputs = inputs.clone();
            activate_in_place(activation, &mut outputs);
            let mut worst = 0.0f64;
            for (&x, &y) in inputs.iter().zip(&outputs) {
                let expected = apply(activation, f64::from(x));
                let error = (f64::from(y) - expected).abs() / expected.abs().max(1.0);
                assert!(error <= 2e-6, "{activation:?} of {x}: {y}, not {expected}");
                worst = worst.max(error);
            }
            println!("{level:?} {activation:?}: worst error {worst:e}");
        }
    });
}

#[test]
fn functions_of_extremes_are_finite() {
    at_every_level(|_, _| {
        for activation in ACTIVATIONS {
            let mut values = [-1e30, -1000.0, -89.0, 89.0, 1000.0, 1e30];
            activate_in_place(activation, &mut values);
            assert!(
                values.iter().all(|x| x.is_finite()),
                "{activation:?}: {values:?}"
            );
        }
    });
}

#[test]
fn elementwise_operations_match_their_definition() {
    at_every_level(|_, random| {
        for _ in 0..150 {
            let shape = shape(random);
            let activation = random.activation();
            let a = Maps::random(random, shape);
            let b = Maps::random(random, shape);

            let mut output = Maps::output(random, shape);
            activate(activation, a.view(), output.view_mut());
            output.compare(2e-6, "activate", |n, y, x, c| {
                apply(activation, a.at(n, y, x, c))
            });

            let mut output = Maps::output(random, shape);
            add(a.view(), b.view(), activation, output.view_mut());
            output.compare(2e-6, "add", |n, y, x, c| {
                apply(activation, a.at(n, y, x, c) + b.at(n, y, x, c))
            });

            let mut output = Maps::output(random, shape);
            gate(a.view(), b.view(), output.view_mut());
            output.compare(1e-6, "gate", |n, y, x, c| {
                a.at(n, y, x, c) * b.at(n, y, x, c)
            });

            let channels = Maps::random(random, [shape[0], 1, 1, shape[3]]);
            let mut output = Maps::output(random, shape);
            gate(a.view(), channels.view(), output.view_mut());
            output.compare(1e-6, "gate of channels", |n, y, x, c| {
                a.at(n, y, x, c) * channels.at(n, 0, 0, c)
            });

            let pixels = Maps::random(random, [shape[0], shape[1], shape[2], 1]);
            let mut output = Maps::output(random, shape);
            gate(a.view(), pixels.view(), output.view_mut());
            output.compare(1e-6, "gate of pixels", |n, y, x, c| {
                a.at(n, y, x, c) * pixels.at(n, y, x, 0)
            });

            let (scale, shift) = (random.floats(shape[3]), random.floats(shape[3]));
            let mut output = Maps::output(random, shape);
            affine(a.view(), &scale, &shift, activation, output.view_mut());
            output.compare(2e-6, "affine", |n, y, x, c| {
                let scaled = a.at(n, y, x, c) * f64::from(scale[c]);
                apply(activation, scaled + f64::from(shift[c]))
            });

            let mut output = Maps::output(random, shape);
            copy(a.view(), output.view_mut());
            output.compare(0.0, "copy", |n, y, x, c| a.at(n, y, x, c));
        }
    });
}

#[test]
fn layer_norm_matches_its_definition() {
    at_every_level(|_, random| {
        for _ in 0..150 {
            let mut shape = shape(random);
            shape[3] = random.of(&[5, 16, 17, 32, 96, 100, 768]);
            let mut input = Maps::random(random, shape);
            let offset = random.of(&[0.0, 3.0, -10.0]);
            input.data.iter_mut().for_each(|x| *x += offset);
            let (gamma, beta) = (random.floats(shape[3]), random.floats(shape[3]));
            let mut output = Maps::output(random, shape);
            layer_norm(input.view(), &gamma, &beta, 1e-5, output.view_mut());
            output.compare(1e-4, "layer norm", |n, y, x, c| {
                let row: Vec<f64> = (0..shape[3]).map(|c| input.at(n, y, x, c)).collect();
                let mean = row.iter().sum::<f64>() / row.len() as f64;
                let variance =
                    row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
                (row[c] - mean) / (variance + 1e-5).sqrt() * f64::from(gamma[c])
                    + f64::from(beta[c])
            });
        }
    });
}

#[test]
fn bytes_are_normalised() {
    let bytes: Vec<u8> = (0..=255).cycle().take(768 * 7).collect();
    let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let mut output = vec![f32::NAN; bytes.len()];
    normalise(&bytes, mean, deviation, &mut output);
    for (at, (&byte, &value)) in bytes.iter().zip(&output).enumerate() {
        let expected = (f32::from(byte) / 255.0 - mean[at % 3]) / deviation[at % 3];
        assert!(
            (value - expected).abs() < 2e-6,
            "{byte}: {value}, not {expected}"
        );
    }
}

#[test]
fn nothing_is_done_to_nothing() {
    let empty = Maps {
        data: Vec::new(),
        shape: [0, 4, 4, 8],
        pitch: 8,
    };
    activate(Activation::Gelu, empty.view(), empty.clone().view_mut());
    copy(empty.view(), empty.clone().view_mut());
    add(
        empty.view(),
        empty.view(),
        Activation::Relu,
        empty.clone().view_mut(),
    );
    layer_norm(
        empty.view(),
        &[1.0; 8],
        &[0.0; 8],
        1e-5,
        empty.clone().view_mut(),
    );
}

/// As in PyTorch: somebody who looks at the end must see that something ran over on the way.
#[test]
fn nan_comes_through_every_function() {
    at_every_level(|level, random| {
        for activation in ACTIVATIONS {
            for length in [1, 7, 40] {
                let mut values = random.floats(length);
                values[length - 1] = f32::NAN;
                activate_in_place(activation, &mut values);
                let (last, rest) = values.split_last().unwrap();
                assert!(last.is_nan(), "{level:?} {activation:?}: {last}");
                assert!(rest.iter().all(|value| value.is_finite()));
            }
            let a = Maps::random(random, [1, 1, 3, 33]);
            let mut b = Maps::random(random, [1, 1, 3, 33]);
            b.data[32] = f32::NAN;
            let mut output = Maps::output(random, [1, 1, 3, 33]);
            add(a.view(), b.view(), activation, output.view_mut());
            assert!(output.at(0, 0, 0, 32).is_nan(), "{level:?} {activation:?}");
            assert!(output.at(0, 0, 1, 0).is_finite());
        }
    });
}
