//! Frozen networks' kernels with numbers of 16 bits: sums are taken in 32, so that only what is stored is
//! rounded, once.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, Tensor};
use half::f16;
use rekindle_shaders::Tier;

use super::{adapter, compare_within, numbers, pick, read, tensor};
use crate::device::has_half;
use crate::graph::{ConvTranspose, Nonlinearity, Pool, Resample};
use crate::kernels::adapter::pretend;
use crate::kernels::{
    FrozenConv, FrozenConvTranspose, add, affine, attention, avg_pool, frozen_group_norm,
    frozen_resize, gate, global_average, layer_norm, max_pool,
};
use crate::random::Random;

/// Half of the distance between neighbours below one, and a little for what the sums round.
const ALLOWED: f64 = 6e-4;

fn halves_of(random: &mut Random, count: usize) -> Vec<f32> {
    let rounded = numbers(random, count).into_iter();
    rounded.map(|x| f16::from_f32(x).to_f32()).collect()
}

fn full<const D: usize>(made: Tensor<D>) -> Vec<f32> {
    assert_eq!(made.dtype(), DType::F16);
    read(made.cast(DType::F32))
}

/// The same operation in full precision, on the same numbers, is the truth: it has tests of its own.
fn compare(what: &str, found: &[f32], truth: Vec<f32>) {
    let truth: Vec<f64> = truth.into_iter().map(f64::from).collect();
    compare_within(ALLOWED, what, found, &truth);
}

#[test]
fn sixteen_bits_round_once() {
    let Some(device) = adapter() else { return };
    if !has_half(&device) {
        println!("skipped: this adapter has no half-precision floats");
        return;
    }
    let mut random = Random::new(41);
    for (tier, times) in [(Tier::Software, 12), (Tier::Baseline, 3), (Tier::Full, 3)] {
        pretend(tier);
        for _ in 0..times {
            let (batch, side) = (pick(&mut random, &[1, 2]), pick(&mut random, &[3, 7, 12]));
            let channels = pick(&mut random, &[1, 3, 8, 20]);
            let filters = pick(&mut random, &[1, 4, 10, 32]);
            let kernel = pick(&mut random, &[1, 3]);
            let is_depthwise = random.below(3) == 0;
            let (filters, groups) = match is_depthwise {
                true => (channels, channels),
                false => (filters, 1),
            };
            let shape = [batch, side, side, channels];
            let w_shape = [kernel, kernel, channels / groups, filters];
            let x = halves_of(&mut random, shape.iter().product());
            let w = halves_of(&mut random, w_shape.iter().product());
            let b = halves_of(&mut random, filters);
            let options = ConvOptions::new([1, 1], [kernel / 2; 2], [1, 1], groups);
            let relu = Some(Nonlinearity::Relu);
            let conv = |dtype: DType| {
                let weight = tensor(&w, w_shape, &device).cast(dtype);
                let bias = tensor(&b, [filters], &device).cast(dtype);
                let frozen = FrozenConv::new(weight, bias, options.clone(), [side, side]);
                frozen.run(tensor(&x, shape, &device).cast(dtype), None, relu)
            };
            let what = format!("{shape:?}, {w_shape:?} on {tier:?}");
            let [half, whole] = [DType::F16, DType::F32].map(conv);
            compare(&format!("convolution {what}"), &full(half), read(whole));

            let maps = |dtype: DType| -> Vec<Tensor<1>> {
                let vector = |from: usize| {
                    let numbers = some_of(&x, from, channels);
                    tensor(&numbers, [channels], &device).cast(dtype)
                };
                let gates = |dtype| {
                    let numbers = some_of(&x, 5, batch * channels);
                    tensor(&numbers, [batch, 1, 1, channels], &device).cast(dtype)
                };
                let x = || tensor(&x, shape, &device).cast(dtype);
                vec![
                    max_pool(x(), Pool::new(2, 1), [side - 1, side - 1]).flatten(0, 3),
                    avg_pool(x(), Pool::new(2, 1), [side - 1, side - 1]).flatten(0, 3),
                    global_average(x()).flatten(0, 3),
                    add(x(), x(), relu).flatten(0, 3),
                    affine(x(), vector(1), vector(2), None).flatten(0, 3),
                    gate(x(), gates(dtype)).flatten(0, 3),
                    layer_norm(x(), vector(3), vector(4), 1e-5).flatten(0, 3),
                    frozen_group_norm(x(), 1, vector(3), vector(4), 1e-2, relu).flatten(0, 3),
                    frozen_resize(x(), [5, 9], Resample::Bilinear).flatten(0, 3),
                    frozen_resize(x(), [9, 2], Resample::Nearest).flatten(0, 3),
                ]
            };
            let halves = maps(DType::F16).into_iter();
            for (index, (half, whole)) in halves.zip(maps(DType::F32)).enumerate() {
                compare(&format!("{index} of maps {what}"), &full(half), read(whole));
            }

            let transposed = |dtype: DType| {
                let conv = ConvTranspose::new(filters, kernel).stride(2).groups(groups);
                let shape = [channels, filters / groups, kernel, kernel];
                let weight = tensor(&w, shape, &device).cast(dtype);
                let bias = tensor(&b, [filters], &device).cast(dtype);
                let frozen = FrozenConvTranspose::new(weight, bias, &conv);
                frozen.run(
                    tensor(&x, [batch, side, side, channels], &device).cast(dtype),
                    None,
                    relu,
                )
            };
            let [half, whole] = [DType::F16, DType::F32].map(transposed);
            compare(
                &format!("transposed convolution {what}"),
                &full(half),
                read(whole),
            );

            let (tokens, heads) = (side, 2);
            let packed = halves_of(&mut random, batch * tokens * 3 * heads * 8);
            let bias = halves_of(&mut random, heads * tokens * tokens);
            let attend = |dtype: DType| {
                let packed = tensor(&packed, [batch, tokens, 3 * heads * 8], &device).cast(dtype);
                let bias = tensor(&bias, [heads, tokens, tokens], &device).cast(dtype);
                attention(packed, heads, Some(bias))
            };
            let [half, whole] = [DType::F16, DType::F32].map(attend);
            compare(&format!("attention {what}"), &full(half), read(whole));
        }
    }
}

/// As many of these numbers as wanted, from the one of this index on, over and over.
fn some_of(numbers: &[f32], from: usize, count: usize) -> Vec<f32> {
    numbers
        .iter()
        .cycle()
        .skip(from)
        .take(count)
        .copied()
        .collect()
}
