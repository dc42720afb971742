//! Convolutions, their gradients, their fused forms, and products.

use burn::tensor::Device;
use burn::tensor::ops::ConvOptions;
use rekindle_shaders::Tier;

use super::{ACTIVATIONS, adapter, applied, channels_last, compare, numbers, read, tensor};
use crate::kernels::adapter::pretend;
use crate::kernels::choice::{Sizes, named as named_activation};
use crate::kernels::{FrozenConv, conv2d, matmul, way_back};
use crate::random::Random;

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
    let bias = tensor(&b, [all_out], device);
    let made = FrozenConv::new(hwio, bias, case.options(), case.size).run(
        tensor(&x_last, [case.batch, height, width, all_in], device),
        has_residual.then(|| tensor(&r_last, y_last, device)),
        activation,
    );
    let truth = channels_last(&fused, all_out, rows * columns);
    let named = format!("fused {activation:?}, residual {has_residual}, {what}");
    worst = worst.max(compare(&named, &read(made), &truth));
    // Mostly the same kernels again: every third is enough.
    if *device == Device::flex() || random.below(3) > 0 {
        return worst;
    }

    // As a program in training does it: weights as they lie, gradients added to those that are known.
    let sizes = Sizes::new(x_shape, all_out, case.kernel, &case.options());
    let lying = |values: &[f32], channels: usize, size: [usize; 2]| {
        let values = channels_last(values, channels, size[0] * size[1]);
        tensor(&values, [case.batch, size[0], size[1], channels], device)
    };
    let weight = tensor(&w, w_shape, device)
        .permute([2, 3, 1, 0])
        .reshape([w.len()]);
    let (x_maps, slope) = (
        lying(&x, all_in, case.size),
        lying(&g, all_out, [rows, columns]),
    );
    let (bias, residual) = (
        tensor(&b, [all_out], device),
        lying(&r, all_out, [rows, columns]),
    );
    let made = way_back::convolved(
        x_maps.clone(),
        weight.clone(),
        Some(bias),
        has_residual.then_some(residual),
        sizes,
        named_activation(activation),
    );
    worst = worst.max(compare(
        &format!("in training {named}"),
        &read(made),
        &truth,
    ));
    let so_far = numbers(random, x.len());
    let sum: Vec<f64> = dx
        .iter()
        .zip(&so_far)
        .map(|(dx, more)| dx + f64::from(*more))
        .collect();
    let made = way_back::input_gradient(
        slope.clone(),
        weight,
        Some(lying(&so_far, all_in, case.size)),
        sizes,
    );
    let truth = channels_last(&sum, all_in, height * width);
    worst = worst.max(compare(
        &format!("input gradient of {what}"),
        &read(made),
        &truth,
    ));
    let made = way_back::weight_gradient(x_maps, slope, None, sizes);
    let [filters, channels, down, across] = w_shape;
    let made = made
        .reshape([down, across, channels, filters])
        .permute([3, 2, 0, 1]);
    worst.max(compare(
        &format!("weight gradient, lying, of {what}"),
        &read(made),
        &dw,
    ))
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
    convolutions(Tier::Baseline, 2, 40);
}

#[test]
fn convolutions_are_right_on_desktops() {
    convolutions(Tier::Roomy, 3, 40);
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
fn the_processors_implementation_is_right() {
    let mut random = Random::new(5);
    for _ in 0..60 {
        let case = Case::random(&mut random);
        check(&case, &mut random, &Device::flex());
    }
}

/// Windows and channels for which software adapters and the largest GPUs transform weights, in both tile sizes.
#[test]
fn convolutions_by_winograds_method_are_right() {
    let Some(device) = adapter() else { return };
    let mut random = Random::new(6);
    for tier in [Tier::Software; 24].into_iter().chain([Tier::Full; 4]) {
        pretend(tier);
        let mut between = |low: usize, high: usize| low + random.below(high - low);
        let case = Case {
            batch: between(1, 4),
            groups: 1,
            channels: between(16, 36),
            filters: between(16, 36),
            size: [between(3, 16), between(3, 16)],
            kernel: [3, 3],
            stride: [1, 1],
            dilation: [1, 1],
            padding: [
                (between(0, 3), between(0, 3)),
                (between(0, 3), between(0, 3)),
            ],
        };
        let weight = tensor(&[1.0; 9 * 256], [3, 3, 16, 16], &device);
        let bias = tensor(&[0.0; 16], [16], &device);
        let frozen = FrozenConv::new(weight, bias, case.options(), case.size);
        assert_eq!(frozen.kind(), "winograd");
        check(&case, &mut random, &device);
    }
}
