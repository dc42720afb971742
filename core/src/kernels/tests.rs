//! Every kernel against float64 on random shapes, for every class of adapters, on whatever adapter
//! there is. Outputs hold no numbers before a kernel runs (see [`super::adapter::output`]), so what it
//! forgets to write shows.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use std::sync::OnceLock;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use rekindle_shaders::Tier;

use super::adapter::pretend;
use super::{conv_fused, conv2d, matmul};
use crate::device::{self, Preference};
use crate::graph::Nonlinearity;
use crate::random::Random;

/// Largest difference from the truth, relative to the largest number of it.
const ALLOWED: f64 = 1e-4;

const ACTIVATIONS: [Option<Nonlinearity>; 9] = [
    None,
    Some(Nonlinearity::Relu),
    Some(Nonlinearity::Relu6),
    Some(Nonlinearity::Silu),
    Some(Nonlinearity::HardSwish),
    Some(Nonlinearity::HardSigmoid),
    Some(Nonlinearity::Sigmoid),
    Some(Nonlinearity::Gelu),
    Some(Nonlinearity::Tanh),
];

/// The software adapter; `None` where the tests were told that there is none.
fn adapter() -> Option<Device> {
    // A process opens it once, however many tests ask at the same time.
    static OPENED: OnceLock<Option<Device>> = OnceLock::new();
    let open = || match pollster::block_on(device::open(Preference::Software)) {
        Ok(open) => Some(open.device),
        Err(error) if std::env::var_os("REKINDLE_NO_SOFTWARE_GPU").is_some() => {
            println!("skipped, as asked: {error}");
            None
        }
        Err(error) => panic!("{error}: set REKINDLE_NO_SOFTWARE_GPU=1 to go without"),
    };
    OPENED.get_or_init(open).clone()
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = pollster::block_on(tensor.into_data_async()).unwrap();
    data.iter::<f32>().collect()
}

fn compare(what: &str, found: &[f32], truth: &[f64]) -> f64 {
    assert_eq!(found.len(), truth.len(), "{what}");
    let largest = truth
        .iter()
        .fold(1e-6_f64, |most, value| most.max(value.abs()));
    let mut worst = 0.0_f64;
    for (index, (&found, &truth)) in found.iter().zip(truth).enumerate() {
        let error = (f64::from(found) - truth).abs() / largest;
        // Written so that what is not a number fails.
        assert!(
            error <= ALLOWED,
            "{what}: number {index} is {found}, should be {truth}"
        );
        worst = worst.max(error);
    }
    worst
}

fn numbers(random: &mut Random, count: usize) -> Vec<f32> {
    (0..count).map(|_| 2.0 * random.uniform() - 1.0).collect()
}

fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// A convolution's sizes.
#[derive(Debug, Clone)]
struct Case {
    batch: usize,
    groups: usize,
    /// Channels and filters of a group.
    channels: usize,
    filters: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Before and after, per axis.
    padding: [(usize, usize); 2],
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let mut pick = |from: &[usize]| from[random.below(from.len())];
        loop {
            let groups = pick(&[1, 1, 1, 1, 2, 3, 4, 8, 13]);
            let (channels, filters) = match pick(&[0, 1, 2]) {
                // Depthwise, when there is more than one group.
                0 => (1, 1),
                _ => (
                    pick(&[1, 2, 3, 4, 5, 8, 12, 17, 32]),
                    pick(&[1, 2, 3, 4, 6, 8, 16, 21, 40]),
                ),
            };
            let case = Self {
                batch: pick(&[1, 1, 2, 3]),
                groups,
                channels,
                filters,
                size: [
                    pick(&[1, 2, 3, 5, 7, 8, 12, 19]),
                    pick(&[1, 2, 4, 5, 7, 9, 13, 16]),
                ],
                kernel: [pick(&[1, 1, 2, 3, 3, 5]), pick(&[1, 1, 2, 3, 3, 7])],
                stride: [pick(&[1, 1, 2, 3]), pick(&[1, 1, 2, 3])],
                dilation: [pick(&[1, 1, 1, 2, 3]), pick(&[1, 1, 1, 2])],
                padding: [
                    (pick(&[0, 1, 2]), pick(&[0, 1, 2])),
                    (pick(&[0, 1, 3]), pick(&[0, 1, 3])),
                ],
            };
            let work = case.batch * groups * channels * filters * case.size[0] * case.size[1];
            if case.fits() && work * case.kernel[0] * case.kernel[1] < 3_000_000 {
                return case;
            }
        }
    }

    fn span(&self, axis: usize) -> usize {
        let (before, after) = self.padding[axis];
        self.size[axis] + before + after
    }

    fn reach(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }

    fn fits(&self) -> bool {
        (0..2).all(|axis| self.span(axis) >= self.reach(axis))
    }

    fn outputs(&self) -> [usize; 2] {
        [0, 1].map(|axis| (self.span(axis) - self.reach(axis)) / self.stride[axis] + 1)
    }

    fn options(&self) -> ConvOptions<2> {
        let mut options = ConvOptions::new(self.stride, [0, 0], self.dilation, self.groups);
        options.padding = self.padding;
        options
    }

    /// Calls back for every product of the convolution, with the indices in the output, the input and
    /// the weight: `[N, C, H, W]` and `[filters, C / groups, rows, columns]`.
    fn each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let [rows, columns] = self.outputs();
        let [height, width] = self.size;
        let (all_in, all_out) = (self.groups * self.channels, self.groups * self.filters);
        let places = |axis: usize, output: usize, length: usize| {
            let case = self.clone();
            (0..case.kernel[axis]).filter_map(move |tap| {
                let at = output * case.stride[axis] + tap * case.dilation[axis];
                let at = at.checked_sub(case.padding[axis].0)?;
                (at < length).then_some((tap, at))
            })
        };
        for n in 0..self.batch {
            for filter in 0..all_out {
                let group = filter / self.filters;
                for row in 0..rows {
                    for column in 0..columns {
                        let out = ((n * all_out + filter) * rows + row) * columns + column;
                        for (ky, y) in places(0, row, height) {
                            for (kx, x) in places(1, column, width) {
                                for c in 0..self.channels {
                                    let channel = group * self.channels + c;
                                    visit(
                                        out,
                                        ((n * all_in + channel) * height + y) * width + x,
                                        ((filter * self.channels + c) * self.kernel[0] + ky)
                                            * self.kernel[1]
                                            + kx,
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn applied(function: Option<Nonlinearity>, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let hard_sigmoid = |x: f64| (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match function {
        None => x,
        Some(Nonlinearity::Relu) => x.max(0.0),
        Some(Nonlinearity::Relu6) => x.clamp(0.0, 6.0),
        Some(Nonlinearity::Silu) => x * sigmoid(x),
        Some(Nonlinearity::HardSwish) => x * hard_sigmoid(x),
        Some(Nonlinearity::HardSigmoid) => hard_sigmoid(x),
        Some(Nonlinearity::Sigmoid) => sigmoid(x),
        Some(Nonlinearity::Gelu) => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        Some(Nonlinearity::Tanh) => x.tanh(),
    }
}

/// The error function by its series, good to 1e-12 for |x| < 6.
fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// `[N, C, positions]` to `[N, positions, C]`.
fn channels_last<T: Copy>(values: &[T], channels: usize, positions: usize) -> Vec<T> {
    (0..values.len())
        .map(|index| {
            let (pixel, channel) = (index / channels, index % channels);
            let (image, position) = (pixel / positions, pixel % positions);
            values[(image * channels + channel) * positions + position]
        })
        .collect()
}

/// Forward, both gradients, and the fused form of one random convolution.
fn check(case: &Case, random: &mut Random, device: &Device) -> f64 {
    let what = format!("{case:?}");
    let [height, width] = case.size;
    let [rows, columns] = case.outputs();
    let (all_in, all_out) = (case.groups * case.channels, case.groups * case.filters);
    let x_shape = [case.batch, all_in, height, width];
    let w_shape = [all_out, case.channels, case.kernel[0], case.kernel[1]];
    let y_shape = [case.batch, all_out, rows, columns];
    let x = numbers(random, x_shape.iter().product());
    let w = numbers(random, w_shape.iter().product());
    let g = numbers(random, y_shape.iter().product());
    let b = numbers(random, all_out);
    let r = numbers(random, g.len());

    let (mut y, mut dx, mut dw) = (vec![0.0; g.len()], vec![0.0; x.len()], vec![0.0; w.len()]);
    case.each(|out, from, weight| {
        y[out] += f64::from(x[from]) * f64::from(w[weight]);
        dx[from] += f64::from(g[out]) * f64::from(w[weight]);
        dw[weight] += f64::from(g[out]) * f64::from(x[from]);
    });

    let training = device.clone().autodiff();
    let x_tensor = tensor(&x, x_shape, &training).require_grad();
    let w_tensor = tensor(&w, w_shape, &training).require_grad();
    let made = conv2d(x_tensor.clone(), w_tensor.clone(), None, case.options());
    assert_eq!(made.dims(), y_shape, "{what}");
    let gradients = (made.clone() * tensor(&g, y_shape, &training))
        .sum()
        .backward();
    let mut worst = compare(&format!("forward of {what}"), &read(made), &y);
    let found = read(x_tensor.grad(&gradients).unwrap());
    worst = worst.max(compare(&format!("data gradient of {what}"), &found, &dx));
    let found = read(w_tensor.grad(&gradients).unwrap());
    worst = worst.max(compare(&format!("weight gradient of {what}"), &found, &dw));

    // Channels last, with everything that can follow.
    let activation = ACTIVATIONS[random.below(9)];
    let has_residual = random.below(2) == 1;
    let fused: Vec<f64> = (0..y.len())
        .map(|index| {
            let filter = index / (rows * columns) % all_out;
            let residual = if has_residual {
                f64::from(r[index])
            } else {
                0.0
            };
            applied(activation, y[index] + f64::from(b[filter]) + residual)
        })
        .collect();
    let x_last = channels_last(&x, all_in, height * width);
    let r_last = channels_last(&r, all_out, rows * columns);
    let hwio = tensor(&w, w_shape, device).permute([2, 3, 1, 0]);
    let y_last = [case.batch, rows, columns, all_out];
    let made = conv_fused(
        tensor(&x_last, [case.batch, height, width, all_in], device),
        hwio,
        tensor(&b, [all_out], device),
        has_residual.then(|| tensor(&r_last, y_last, device)),
        case.options(),
        activation,
    );
    let truth = channels_last(&fused, all_out, rows * columns);
    let what = format!("fused {activation:?}, residual {has_residual}, {what}");
    worst.max(compare(&what, &read(made), &truth))
}

fn convolutions(tier: Tier, seed: u64, count: usize) {
    let Some(device) = adapter() else { return };
    pretend(tier);
    let mut random = Random::new(seed);
    let mut worst = 0.0_f64;
    for _ in 0..count {
        let case = Case::random(&mut random);
        worst = worst.max(check(&case, &mut random, &device));
    }
    println!("{tier:?}: worst of {count} random convolutions {worst:.1e}");
}

#[test]
fn convolutions_are_right_on_software_adapters() {
    convolutions(Tier::Software, 1, 120);
}

#[test]
fn convolutions_are_right_on_phones() {
    convolutions(Tier::Baseline, 2, 60);
}

#[test]
fn convolutions_are_right_on_desktops() {
    convolutions(Tier::Roomy, 3, 60);
}

#[test]
fn matrix_products_are_right() {
    let Some(device) = adapter() else { return };
    let mut random = Random::new(4);
    for tier in [Tier::Software, Tier::Baseline, Tier::Roomy] {
        pretend(tier);
        for _ in 0..10 {
            let mut side = || 1 + random.below(70);
            let (rows, depth, columns) = (side(), side(), side());
            let a = numbers(&mut random, rows * depth);
            let b = numbers(&mut random, depth * columns);
            let mut truth = vec![0.0; rows * columns];
            for (index, truth) in truth.iter_mut().enumerate() {
                let (row, column) = (index / columns, index % columns);
                *truth = (0..depth)
                    .map(|k| f64::from(a[row * depth + k]) * f64::from(b[k * columns + column]))
                    .sum();
            }
            let found = matmul(
                tensor(&a, [rows, depth], &device),
                tensor(&b, [depth, columns], &device),
            );
            let what = format!("{rows}×{depth}×{columns} on {tier:?}");
            compare(&what, &read(found), &truth);
        }
    }
}

/// The tensor operations that stand in for kernels where there is no adapter are right too.
#[test]
fn the_processors_telling_is_right() {
    let mut random = Random::new(5);
    for _ in 0..60 {
        let case = Case::random(&mut random);
        check(&case, &mut random, &Device::flex());
    }
}
