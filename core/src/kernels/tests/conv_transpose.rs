//! Transposed convolutions, their gradients, and their frozen form.

use burn::tensor::Device;
use rekindle_shaders::Tier;

use super::{ACTIVATIONS, adapter, applied, channels_last, compare, numbers, pick, read, tensor};
use crate::graph::ConvTranspose;
use crate::kernels::adapter::pretend;
use crate::kernels::{FrozenConvTranspose, conv_transpose2d};
use crate::random::Random;

/// A transposed convolution's sizes.
#[derive(Debug, Clone)]
struct Case {
    batch: usize,
    /// Channels and filters of a group.
    channels: usize,
    filters: usize,
    size: [usize; 2],
    conv: ConvTranspose,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        loop {
            let mut pick = |from: &[usize]| pick(random, from);
            let groups = pick(&[1, 1, 1, 2, 3, 4, 8]);
            let (channels, filters) = match pick(&[0, 1, 2]) {
                // Depthwise, when there is more than one group.
                0 => (1, 1),
                _ => (
                    pick(&[1, 2, 3, 4, 5, 8, 12, 17]),
                    pick(&[1, 2, 3, 4, 6, 8, 16, 21]),
                ),
            };
            let kernel = [pick(&[1, 2, 3, 4, 5]), pick(&[1, 2, 3, 4, 7])];
            let conv = ConvTranspose {
                stride: [pick(&[1, 2, 2, 3]), pick(&[1, 2, 2, 4])],
                padding: [pick(&[0, 1, 2]), pick(&[0, 1, 3])],
                output_padding: [pick(&[0, 0, 1, 2]), pick(&[0, 0, 1, 3])],
                dilation: [pick(&[1, 1, 2, 3]), pick(&[1, 1, 2])],
                groups,
                bias: true,
                ..ConvTranspose::rectangle(groups * filters, kernel)
            };
            // As PyTorch demands.
            let fits = [0, 1].iter().all(|&axis| {
                conv.output_padding[axis] < conv.stride[axis].max(conv.dilation[axis])
            });
            let case = Self {
                batch: pick(&[1, 1, 2]),
                channels,
                filters,
                size: [pick(&[1, 2, 3, 5, 8]), pick(&[1, 2, 4, 7, 9])],
                conv,
            };
            if fits && case.conv.outputs(case.size).is_some() {
                return case;
            }
        }
    }

    /// Calls back for every product, with the indices in the input, the weight and the output.
    fn each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let Self { conv, size, .. } = self;
        let [rows, columns] = conv.outputs(*size).unwrap();
        let (all_in, all_out) = (conv.groups * self.channels, conv.filters);
        let place = |axis: usize, at: usize, tap: usize| {
            (at * conv.stride[axis] + tap * conv.dilation[axis]).checked_sub(conv.padding[axis])
        };
        for index in 0..self.batch * all_in * size[0] * size[1] {
            let (plane, at_y, at_x) = (
                index / (size[0] * size[1]),
                index / size[1] % size[0],
                index % size[1],
            );
            let (image, channel) = (plane / all_in, plane % all_in);
            for filter in 0..self.filters {
                for tap in 0..conv.kernel[0] * conv.kernel[1] {
                    let y = place(0, at_y, tap / conv.kernel[1]);
                    let x = place(1, at_x, tap % conv.kernel[1]);
                    let (Some(y), Some(x)) = (y, x) else { continue };
                    if y >= rows || x >= columns {
                        continue;
                    }
                    let out = image * all_out + channel / self.channels * self.filters + filter;
                    visit(
                        index,
                        (channel * self.filters + filter) * conv.kernel[0] * conv.kernel[1] + tap,
                        (out * rows + y) * columns + x,
                    );
                }
            }
        }
    }
}

/// Forward, the gradients, and the frozen form of one random transposed convolution.
fn check(case: &Case, random: &mut Random, device: &Device) {
    let what = format!("{case:?}");
    let conv = &case.conv;
    let [height, width] = case.size;
    let [rows, columns] = conv.outputs(case.size).unwrap();
    let (all_in, all_out) = (conv.groups * case.channels, conv.filters);
    let x_shape = [case.batch, all_in, height, width];
    let w_shape = [all_in, case.filters, conv.kernel[0], conv.kernel[1]];
    let y_shape = [case.batch, all_out, rows, columns];
    let x = numbers(random, x_shape.iter().product());
    let w = numbers(random, w_shape.iter().product());
    let b = numbers(random, all_out);
    let g = numbers(random, y_shape.iter().product());
    let r = numbers(random, g.len());
    let filter = |index: usize| index / (rows * columns) % all_out;
    let mut y: Vec<f64> = (0..g.len()).map(|at| f64::from(b[filter(at)])).collect();
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; all_out]);
    case.each(|from, weight, out| {
        y[out] += f64::from(x[from]) * f64::from(w[weight]);
        dx[from] += f64::from(g[out]) * f64::from(w[weight]);
        dw[weight] += f64::from(g[out]) * f64::from(x[from]);
    });
    (0..g.len()).for_each(|at| db[filter(at)] += f64::from(g[at]));

    let training = device.clone().autodiff();
    let x_tensor = tensor(&x, x_shape, &training).require_grad();
    let w_tensor = tensor(&w, w_shape, &training).require_grad();
    let b_tensor = tensor(&b, [all_out], &training).require_grad();
    let made = conv_transpose2d(
        x_tensor.clone(),
        w_tensor.clone(),
        Some(b_tensor.clone()),
        conv,
    );
    assert_eq!(made.dims(), y_shape, "{what}");
    let gradients = (made.clone() * tensor(&g, y_shape, &training))
        .sum()
        .backward();
    compare(&format!("forward of {what}"), &read(made), &y);
    let found = read(x_tensor.grad(&gradients).unwrap());
    compare(&format!("gradient of x of {what}"), &found, &dx);
    let found = read(w_tensor.grad(&gradients).unwrap());
    compare(&format!("gradient of the weight of {what}"), &found, &dw);
    let found = read(b_tensor.grad(&gradients).unwrap());
    compare(&format!("gradient of the bias of {what}"), &found, &db);

    // Channels last, with everything that can follow.
    let activation = pick(random, &ACTIVATIONS);
    let has_residual = random.below(2) == 1;
    let fused: Vec<f64> = (0..y.len())
        .map(|index| {
            let residual = if has_residual {
                f64::from(r[index])
            } else {
                0.0
            };
            applied(activation, y[index] + residual)
        })
        .collect();
    let x_last = channels_last(&x, all_in, height * width);
    let r_last = channels_last(&r, all_out, rows * columns);
    let y_last = [case.batch, rows, columns, all_out];
    let (weight, bias) = (tensor(&w, w_shape, device), tensor(&b, [all_out], device));
    let made = FrozenConvTranspose::new(weight, bias, conv).run(
        tensor(&x_last, [case.batch, height, width, all_in], device),
        has_residual.then(|| tensor(&r_last, y_last, device)),
        activation,
    );
    let truth = channels_last(&fused, all_out, rows * columns);
    let what = format!("fused {activation:?}, residual {has_residual}, {what}");
    compare(&what, &read(made), &truth);
}

#[test]
fn transposed_convolutions_and_their_gradients_are_right() {
    let mut random = Random::new(35);
    (0..40).for_each(|_| check(&Case::random(&mut random), &mut random, &Device::flex()));
    let Some(device) = adapter() else { return };
    // Each phase of a stride is a text of its own, twice, and each text takes the driver a moment.
    for (tier, times) in [(Tier::Software, 12), (Tier::Baseline, 3), (Tier::Roomy, 2)] {
        pretend(tier);
        (0..times).for_each(|_| check(&Case::random(&mut random), &mut random, &device));
    }
}
