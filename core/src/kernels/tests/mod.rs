//! Every kernel against float64 on random shapes, for every class of adapters, on whatever adapter
//! there is. Outputs hold no numbers before a kernel runs (see [`super::adapter::output`]), so what it
//! forgets to write shows.

#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

mod augment;
mod conv_transpose;
mod convolutions;
mod differences;
mod formula;
mod group_norm;
mod half;
mod maps;
mod peak;
mod pixels;
mod pytorch;
mod resize;
mod tokens;
mod training;
mod way_back;

use std::sync::OnceLock;

use burn::tensor::{Device, Tensor, TensorData};
use rekindle_shaders::Tier;

use super::adapter::pretend;
use crate::device::{self, OpenDevice, Preference};
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

/// The software adapter, or a real one where `REKINDLE_TEST_ADAPTER` names it (`gpu`); `None` where the tests
/// were told that there is none.
fn adapter() -> Option<Device> {
    opened().map(|open| open.device)
}

fn opened() -> Option<OpenDevice> {
    // A process opens it once, however many tests ask at the same time.
    static OPENED: OnceLock<Option<OpenDevice>> = OnceLock::new();
    let named = std::env::var("REKINDLE_TEST_ADAPTER");
    let preference = named.map_or(Preference::Software, |name| name.parse().unwrap());
    let open = || match pollster::block_on(device::open(preference)) {
        Ok(open) => Some(open),
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
    compare_within(ALLOWED, what, found, truth)
}

fn compare_within(allowed: f64, what: &str, found: &[f32], truth: &[f64]) -> f64 {
    assert_eq!(found.len(), truth.len(), "{what}");
    let largest = truth
        .iter()
        .fold(1e-6_f64, |most, value| most.max(value.abs()));
    let mut worst = 0.0_f64;
    for (index, (&found, &truth)) in found.iter().zip(truth).enumerate() {
        let error = (f64::from(found) - truth).abs() / largest;
        // Written so that what is not a number fails.
        assert!(
            error <= allowed,
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

/// Runs a check with random sizes for every class of adapters.
fn on_adapters(seed: u64, check: impl Fn(&mut Random, &Device)) {
    everywhere(seed, |random, device| {
        if *device != Device::flex() {
            check(random, device);
        }
    });
}

/// Runs a check with random sizes for every class of adapters, and where there is none.
fn everywhere(seed: u64, check: impl Fn(&mut Random, &Device)) {
    let mut random = Random::new(seed);
    (0..12).for_each(|_| check(&mut random, &Device::flex()));
    let Some(device) = adapter() else { return };
    // Each size is a text of its own but on software adapters, and each text takes the driver a moment.
    for (tier, times) in [(Tier::Software, 24), (Tier::Baseline, 6), (Tier::Roomy, 6)] {
        pretend(tier);
        (0..times).for_each(|_| check(&mut random, &device));
    }
}

/// One of them, at random.
fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len())]
}
