//! Each gradient that is ours against finite differences of its own forward pass, on the processor and on the adapter:
//! what holds even if the formula that a test knows is as wrong as the kernel's.

use burn::tensor::{Device, Tensor};

use super::{adapter, numbers, read, tensor};
use crate::graph::{Conv, ConvTranspose, Resample};
use crate::kernels::batch_norm::batch_norm_train;
use crate::kernels::{conv_options, conv_transpose2d, conv2d, group_norm, resize};
use crate::random::Random;

/// Half of the distance between the two points whose difference is taken: large enough for 32 bits, small enough that
/// the third derivative of a norm does not show.
const STEP: f32 = 1.0 / 64.0;
/// Largest difference, relative to what a gradient of that length comes to along such a direction.
const ALLOWED: f64 = 2e-3;

/// A function of flat inputs, with its shapes within.
type Run<'a> = &'a dyn Fn(&[Tensor<1>]) -> Tensor<4>;

/// Compares the gradient of each input along random directions with the differences of what `run` makes of it.
fn check(what: &str, random: &mut Random, inputs: &[Vec<f32>], run: Run<'_>) {
    let given = |device: &Device| -> Vec<Tensor<1>> {
        let tensors = inputs.iter();
        tensors.map(|x| tensor(x, [x.len()], device)).collect()
    };
    let devices = [Some(Device::flex()), adapter()];
    for device in devices.into_iter().flatten() {
        let shape = run(&given(&device)).dims();
        let weights = numbers(random, shape.iter().product());
        let value = |inputs: &[Tensor<1>]| -> f64 {
            let made = read(run(inputs));
            let pairs = made.iter().zip(&weights);
            pairs.map(|(&y, &g)| f64::from(y) * f64::from(g)).sum()
        };
        let training = device.clone().autodiff();
        let leaves: Vec<Tensor<1>> = given(&training)
            .into_iter()
            .map(Tensor::require_grad)
            .collect();
        let gradients = (run(&leaves) * tensor(&weights, shape, &training))
            .sum()
            .backward();
        for (at, leaf) in leaves.iter().enumerate() {
            let gradient = read(leaf.grad(&gradients).unwrap());
            let length = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
            let length = length.sqrt();
            assert!(length > 1e-3, "{what}, input {at}: no gradient");
            for _ in 0..3 {
                let direction: Vec<f32> = numbers(random, gradient.len());
                let moved = |by: f32| {
                    let mut inputs = given(&device);
                    let moved =
                        inputs[at].clone() + tensor(&direction, [direction.len()], &device) * by;
                    inputs[at] = moved;
                    value(&inputs)
                };
                let found = (moved(STEP) - moved(-STEP)) / (2.0 * f64::from(STEP));
                let pairs = gradient.iter().zip(&direction);
                let said: f64 = pairs.map(|(&g, &v)| f64::from(g) * f64::from(v)).sum();
                // Written so that what is not a number fails.
                assert!(
                    (found - said).abs() <= ALLOWED * length,
                    "{what}, input {at}, {device:?}: the difference is {found}, the gradient says {said} of {length}"
                );
            }
        }
    }
}

fn maps(flat: &Tensor<1>, shape: [usize; 4]) -> Tensor<4> {
    flat.clone().reshape(shape)
}

#[test]
fn convolutions_gradients_are_differences() {
    let mut random = Random::new(51);
    let cases = [
        (Conv::new(8, 3).stride(2), 4),
        (Conv::new(8, 1), 4),
        (Conv::new(8, 3).groups(2).dilation(2), 4),
        // Each channel by itself, and a kernel that is reached by Winograd's method where one is used.
        (Conv::new(8, 5).groups(8), 8),
        (Conv::new(16, 3), 16),
    ];
    for (conv, channels) in cases {
        let x = [2, channels, 9, 8];
        let w = [
            conv.filters,
            channels / conv.groups,
            conv.kernel[0],
            conv.kernel[1],
        ];
        let inputs = [x, w].map(|shape| numbers(&mut random, shape.iter().product()));
        let inputs = [&inputs[..], &[numbers(&mut random, conv.filters)]].concat();
        check(&format!("{conv:?}"), &mut random, &inputs, &|given| {
            let options = conv_options(&conv, [x[2], x[3]]);
            conv2d(
                maps(&given[0], x),
                maps(&given[1], w),
                Some(given[2].clone()),
                options,
            )
        });
    }
}

#[test]
fn transposed_convolutions_gradients_are_differences() {
    let mut random = Random::new(52);
    let conv = ConvTranspose {
        filters: 3,
        kernel: [3, 2],
        stride: [2, 1],
        padding: [1, 0],
        output_padding: [1, 0],
        dilation: [1, 2],
        groups: 2,
        bias: true,
    };
    let (x, w) = ([2, 4, 5, 6], [4, 3, 3, 2]);
    let mut inputs = [x, w]
        .map(|shape| numbers(&mut random, shape.iter().product()))
        .to_vec();
    inputs.push(numbers(&mut random, 6));
    check("a transposed convolution", &mut random, &inputs, &|given| {
        let bias = Some(given[2].clone());
        conv_transpose2d(maps(&given[0], x), maps(&given[1], w), bias, &conv)
    });
}

#[test]
fn norms_gradients_are_differences() {
    let mut random = Random::new(53);
    let x = [3, 6, 5, 4];
    let made = |random: &mut Random, by: f32| -> Vec<f32> {
        numbers(random, 6).iter().map(|value| value + by).collect()
    };
    let inputs = [
        numbers(&mut random, x.iter().product()),
        made(&mut random, 1.5),
        made(&mut random, 0.0),
    ];
    check("batch norm", &mut random, &inputs, &|given| {
        batch_norm_train(maps(&given[0], x), given[1].clone(), given[2].clone(), 1e-5).0
    });
    check("group norm", &mut random, &inputs, &|given| {
        group_norm(
            maps(&given[0], x),
            3,
            given[1].clone(),
            given[2].clone(),
            1e-5,
        )
    });
}

#[test]
fn resizings_gradients_are_differences() {
    let mut random = Random::new(54);
    for filter in Resample::ALL {
        for (from, to) in [([5, 4], [9, 11]), ([9, 11], [5, 4])] {
            let x = [2, 3, from[0], from[1]];
            let inputs = [numbers(&mut random, x.iter().product())];
            check(&format!("{filter:?}"), &mut random, &inputs, &|given| {
                resize(maps(&given[0], x), to, filter)
            });
        }
    }
}
