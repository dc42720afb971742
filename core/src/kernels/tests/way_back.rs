//! The ways back that programs take on adapters, against plain definitions in 64 bits.

use burn::tensor::Tensor;

use super::{
    ACTIVATIONS, applied, compare, compare_within, numbers, on_adapters, pick, read, tensor,
};
use crate::graph::Nonlinearity;
use crate::kernels::choice::named;
use crate::kernels::way_back::*;
use rekindle_shaders::{Side, Window};

const CHANNELS: [usize; 6] = [1, 3, 4, 7, 12, 32];

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

#[test]
fn functions_go_back_by_their_derivatives() {
    on_adapters(61, |random, device| {
        let shape = [1, pick(random, &[1, 5]), 7, pick(random, &CHANNELS)];
        let count = shape.iter().product();
        let function = pick(random, &ACTIVATIONS);
        // The error function's series in 64 bits is too coarse for differences further out.
        let most = if function == Some(Nonlinearity::Gelu) {
            4.0
        } else {
            8.0
        };
        let x: Vec<f32> = numbers(random, count).iter().map(|x| most * x).collect();
        let slope = numbers(random, count);
        let activation = named(function);
        let step = 1e-5;
        let kinks = [-3.0, 0.0, 3.0, 6.0];
        // Beside a kink there is no derivative to compare with.
        let x: Vec<f32> = x
            .into_iter()
            .map(
                |x| match kinks.iter().any(|kink| (f64::from(x) - kink).abs() < 1e-3) {
                    true => 1.5,
                    false => x,
                },
            )
            .collect();
        let truth: Vec<f64> = x
            .iter()
            .zip(&slope)
            .map(|(&x, &slope)| {
                let at = |x: f64| applied(function, x);
                let x = f64::from(x);
                f64::from(slope) * (at(x + step) - at(x - step)) / (2.0 * step)
            })
            .collect();
        let kept: Vec<f32> = match activation.keeps_output() {
            true => x
                .iter()
                .map(|&x| applied(function, f64::from(x)) as f32)
                .collect(),
            false => x,
        };
        let (kept, slope) = (tensor(&kept, shape, device), tensor(&slope, shape, device));
        let found = through(activation, kept, slope);
        compare_within(1e-4, &format!("{function:?}"), &read(found), &truth);
    });
}

#[test]
fn pools_go_back_to_where_their_numbers_came_from() {
    on_adapters(62, |random, device| {
        let (batch, channels) = (pick(random, &[1, 2]), pick(random, &CHANNELS));
        let kernel = pick(random, &[1, 2, 3, 5]);
        let padding = random.below(kernel / 2 + 1);
        let side = |random: &mut crate::random::Random| {
            Side::new(
                pick(random, &[5, 8, 13]),
                kernel as u32,
                pick(random, &[1, 2, 3]),
                1,
                padding as u32,
            )
        };
        let window = Window {
            rows: side(random),
            columns: side(random),
        };
        let [from, to] = [
            [window.rows.input, window.columns.input],
            [window.rows.output, window.columns.output],
        ]
        .map(|sides| sides.map(|side| side as usize));
        let shape = [batch, from[0], from[1], channels];
        let made = [batch, to[0], to[1], channels];
        // Few different numbers, so that many are equal.
        let x: Vec<f32> = numbers(random, shape.iter().product())
            .iter()
            .map(|x| (3.0 * x).round())
            .collect();
        let slope = numbers(random, made.iter().product());
        let place = |of: [usize; 2], image: usize, row: usize, column: usize, channel: usize| {
            ((image * of[0] + row) * of[1] + column) * channels + channel
        };
        let (mut largest, mut means) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let strides = [window.rows.stride, window.columns.stride].map(|side| side as usize);
        for (index, &more) in slope.iter().enumerate() {
            let (pixel, channel) = (index / channels, index % channels);
            let (image, row, column) = (
                pixel / (to[0] * to[1]),
                pixel / to[1] % to[0],
                pixel % to[1],
            );
            let mut best: Option<usize> = None;
            let mut inside = Vec::new();
            for tap in 0..kernel * kernel {
                let y = (row * strides[0] + tap / kernel).checked_sub(padding);
                let at = (column * strides[1] + tap % kernel).checked_sub(padding);
                let (Some(y), Some(at)) = (y, at) else {
                    continue;
                };
                if y >= from[0] || at >= from[1] {
                    continue;
                }
                let at = place(from, image, y, at, channel);
                inside.push(at);
                if best.is_none_or(|best| x[at] > x[best]) {
                    best = Some(at);
                }
            }
            largest[best.unwrap()] += f64::from(more);
            for at in inside {
                means[at] += f64::from(more) / (kernel * kernel) as f64;
            }
        }
        let (x, slope) = (tensor(&x, shape, device), tensor(&slope, made, device));
        let what = format!("{window:?}, {channels} channels");
        let y = max_pooled(x.clone(), window);
        let found = max_pool_gradient(x, y, slope.clone(), window);
        compare(&format!("largest of {what}"), &read(found), &largest);
        let found = avg_pool_gradient(slope, window);
        compare(&format!("mean of {what}"), &read(found), &means);
    });
}

#[test]
fn what_ends_a_batch_norm_is_done_with_it() {
    on_adapters(63, |random, device| {
        let channels = pick(random, &CHANNELS);
        let shape = [2, pick(random, &[1, 4]), 5, channels];
        let count: usize = shape.iter().product();
        let rows = count / channels;
        let (x, residual) = (numbers(random, count), numbers(random, count));
        let (gamma, beta) = (numbers(random, channels), numbers(random, channels));
        let function = pick(random, &ACTIVATIONS);
        let has_residual = random.below(2) == 1;
        let epsilon = 1e-3;
        let column = |channel: usize| (0..rows).map(move |row| row * channels + channel);
        let mean =
            |channel: usize| column(channel).map(|at| f64::from(x[at])).sum::<f64>() / rows as f64;
        let means: Vec<f64> = (0..channels).map(mean).collect();
        let inverse: Vec<f64> = (0..channels)
            .map(|channel| {
                let squares = column(channel).map(|at| (f64::from(x[at]) - means[channel]).powi(2));
                1.0 / (squares.sum::<f64>() / rows as f64 + epsilon).sqrt()
            })
            .collect();
        let truth: Vec<f64> = (0..count)
            .map(|at| {
                let channel = at % channels;
                let unit = (f64::from(x[at]) - means[channel]) * inverse[channel];
                let value = unit * f64::from(gamma[channel]) + f64::from(beta[channel]);
                let more = if has_residual {
                    f64::from(residual[at])
                } else {
                    0.0
                };
                applied(function, value + more)
            })
            .collect();
        let vector = |values: &[f32]| tensor(values, [channels], device);
        let (running_mean, running_variance) =
            (numbers(random, channels), numbers(random, channels));
        let share = 0.1;
        let made = normalised(
            tensor(&x, shape, device),
            [vector(&gamma), vector(&beta)],
            Some([vector(&running_mean), vector(&running_variance)]),
            has_residual.then(|| tensor(&residual, shape, device)),
            ByBatch {
                epsilon: epsilon as f32,
                share: share as f32,
                activation: named(function),
            },
        );
        let what = format!("{function:?} on {shape:?}");
        compare(&what, &read(made.maps), &truth);
        let [mean, deviation] = made.moments.clone().map(read);
        compare("mean", &mean, &means);
        compare("inverse deviation", &deviation, &inverse);
        let toward = |from: &[f32], to: &dyn Fn(usize) -> f64| -> Vec<f64> {
            let each = from.iter().enumerate();
            each.map(|(c, &from)| f64::from(from) * (1.0 - share) + share * to(c))
                .collect()
        };
        let unbiased =
            |c: usize| (1.0 / inverse[c].powi(2) - epsilon) * rows as f64 / (rows as f64 - 1.0);
        let [now_mean, now_variance] = made.running.expect("running statistics").map(read);
        compare(
            "running mean",
            &now_mean,
            &toward(&running_mean, &|c| means[c]),
        );
        let truth_variance = toward(&running_variance, &unbiased);
        compare("running variance", &now_variance, &truth_variance);
        if !has_residual {
            let again = normalised_again(
                tensor(&x, shape, device),
                made.moments,
                [vector(&gamma), vector(&beta)],
                named(function),
            );
            compare(&format!("{what}, again"), &read(again), &truth);
        }

        // The same kept: a factor and a summand.
        let bias = (random.below(2) == 1).then(|| numbers(random, channels));
        let variance: Vec<f32> = numbers(random, channels).iter().map(|v| v + 1.1).collect();
        let [root, scale, shift] = frozen_norm(
            [&gamma, &beta, &mean, &variance].map(|values| vector(values)),
            bias.as_deref().map(vector),
            epsilon,
        )
        .map(read);
        let roots: Vec<f64> = wide(&variance)
            .iter()
            .map(|v| 1.0 / (v + epsilon).sqrt())
            .collect();
        let scales: Vec<f64> = roots.iter().zip(wide(&gamma)).map(|(r, g)| r * g).collect();
        let shifts: Vec<f64> = (0..channels)
            .map(|c| {
                let bias = bias.as_ref().map_or(0.0, |bias| f64::from(bias[c]));
                f64::from(beta[c]) + (bias - f64::from(mean[c])) * scales[c]
            })
            .collect();
        compare("root", &root, &roots);
        compare("scale", &scale, &scales);
        compare("shift", &shift, &shifts);
    });
}

#[test]
fn sums_over_channels_are_right() {
    on_adapters(64, |random, device| {
        let channels = pick(random, &CHANNELS);
        let shape = [pick(random, &[1, 3]), pick(random, &[1, 17]), 9, channels];
        let count: usize = shape.iter().product();
        let (x, slope) = (numbers(random, count), numbers(random, count));
        let (centre, scale) = (numbers(random, channels), numbers(random, channels));
        let (mut products, mut sums) = (vec![0.0; channels], vec![0.0; channels]);
        for at in 0..count {
            let c = at % channels;
            let unit = (f64::from(x[at]) - f64::from(centre[c])) * f64::from(scale[c]);
            products[c] += f64::from(slope[at]) * unit;
            sums[c] += f64::from(slope[at]);
        }
        let vector = |values: &[f32]| tensor(values, [channels], device);
        let slopes = slope;
        let slope = tensor(&slopes, shape, device);
        let found = channel_products(
            tensor(&x, shape, device),
            slope.clone(),
            Some([vector(&centre), vector(&scale)]),
        );
        let [first, second] = found.map(read);
        compare("products", &first, &products);
        compare("sums", &second, &sums);
        let each = count / shape[0];
        let mut by_image = vec![0.0; shape[0] * channels];
        for (at, (x, slope)) in wide(&x).iter().zip(wide(&slopes)).enumerate() {
            by_image[at / each * channels + at % channels] += x * slope;
        }
        let found = image_products(tensor(&x, shape, device), slope.clone());
        compare("products of each image", &read(found), &by_image);
        let mut plain = vec![0.0; channels];
        for (at, sum) in by_image.iter().enumerate() {
            plain[at % channels] += sum;
        }
        let [found, _] = channel_products(tensor(&x, shape, device), slope.clone(), None);
        compare("plain products", &read(found), &plain);
        compare("column sums", &read(column_sums(slope, None)), &sums);
    });
}

#[test]
fn batch_norms_go_back_through_their_functions() {
    on_adapters(67, |random, device| {
        let channels = pick(random, &CHANNELS);
        let shape = [2, pick(random, &[1, 4]), 5, channels];
        let count: usize = shape.iter().product();
        let rows = count / channels;
        let (x, slope) = (numbers(random, count), numbers(random, count));
        let (gamma, beta) = (numbers(random, channels), numbers(random, channels));
        let function = pick(random, &ACTIVATIONS);
        let epsilon = 1e-3;
        let kinks = [-3.0, 0.0, 3.0, 6.0];
        let step = 1e-5;
        let near = |value: f64| kinks.iter().any(|kink| (value - kink).abs() < 1e-3);
        let (mut of_gamma, mut of_beta) = (vec![0.0; channels], vec![0.0; channels]);
        let mut of_x = vec![0.0; count];
        let (mut means, mut inverses) = (vec![0.0_f32; channels], vec![0.0_f32; channels]);
        for c in 0..channels {
            let places: Vec<usize> = (0..rows).map(|row| row * channels + c).collect();
            let mean = places.iter().map(|&at| f64::from(x[at])).sum::<f64>() / rows as f64;
            let distances = places.iter().map(|&at| (f64::from(x[at]) - mean).powi(2));
            let inverse = 1.0 / (distances.sum::<f64>() / rows as f64 + epsilon).sqrt();
            (means[c], inverses[c]) = (mean as f32, inverse as f32);
            let (gamma, beta) = (f64::from(gamma[c]), f64::from(beta[c]));
            let mut slopes = Vec::with_capacity(rows);
            for &at in &places {
                let unit = (f64::from(x[at]) - mean) * inverse;
                let before = unit * gamma + beta;
                // The function's derivative by differences: there is none to compare with beside a kink.
                if near(before) {
                    return;
                }
                let by = applied(function, before + step) - applied(function, before - step);
                let slope = f64::from(slope[at]) * by / (2.0 * step);
                of_gamma[c] += slope * unit;
                of_beta[c] += slope;
                slopes.push((at, unit, slope));
            }
            for (at, unit, slope) in slopes {
                let share = (of_beta[c] + unit * of_gamma[c]) / rows as f64;
                of_x[at] = gamma * inverse * (slope - share);
            }
        }
        let vector = |values: &[f32]| tensor(values, [channels], device);
        let (found, [found_gamma, found_beta]) = normalised_gradients(
            tensor(&x, shape, device),
            tensor(&slope, shape, device),
            [vector(&means), vector(&inverses)],
            [vector(&gamma), vector(&beta)],
            None,
            named(function),
        );
        let what = format!("{function:?} on {shape:?}");
        compare_within(1e-3, &format!("x, {what}"), &read(found), &of_x);
        compare_within(
            1e-3,
            &format!("gamma, {what}"),
            &read(found_gamma),
            &of_gamma,
        );
        compare_within(1e-3, &format!("beta, {what}"), &read(found_beta), &of_beta);
    });
}

#[test]
fn layer_norms_go_back() {
    on_adapters(65, |random, device| {
        let (rows, columns) = (
            pick(random, &[1, 6, 70]),
            pick(random, &[1, 3, 16, 100, 600]),
        );
        let (x, slope) = (
            numbers(random, rows * columns),
            numbers(random, rows * columns),
        );
        let gamma = numbers(random, columns);
        let epsilon = 1e-3_f32;
        let mut of_x = Vec::new();
        let (mut of_gamma, mut of_beta) = (vec![0.0; columns], vec![0.0; columns]);
        let width = columns as f64;
        for (x, slope) in x.chunks_exact(columns).zip(slope.chunks_exact(columns)) {
            let (x, slope) = (wide(x), wide(slope));
            let mean = x.iter().sum::<f64>() / width;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
            let inverse = 1.0 / (variance + f64::from(epsilon)).sqrt();
            let unit: Vec<f64> = x.iter().map(|x| (x - mean) * inverse).collect();
            let scaled: Vec<f64> = slope
                .iter()
                .zip(&gamma)
                .map(|(s, &g)| s * f64::from(g))
                .collect();
            let sum = scaled.iter().sum::<f64>() / width;
            let product = scaled.iter().zip(&unit).map(|(s, u)| s * u).sum::<f64>() / width;
            of_x.extend(
                scaled
                    .iter()
                    .zip(&unit)
                    .map(|(s, u)| inverse * (s - sum - u * product)),
            );
            for column in 0..columns {
                of_gamma[column] += slope[column] * unit[column];
                of_beta[column] += slope[column];
            }
        }
        let shape = [1, 1, rows, columns];
        let (made, found) = layer_norm_gradients(
            tensor(&x, shape, device),
            tensor(&slope, shape, device),
            tensor(&gamma, [columns], device),
            None,
            epsilon,
        );
        let what = format!("{rows}×{columns}");
        compare(&format!("input, {what}"), &read(made), &of_x);
        let [gamma, beta] = found.map(read);
        compare(&format!("gamma, {what}"), &gamma, &of_gamma);
        compare(&format!("beta, {what}"), &beta, &of_beta);
    });
}

#[test]
fn products_of_turned_matrices_and_softmaxes_are_right() {
    on_adapters(66, |random, device| {
        let batch = pick(random, &[1, 3]);
        let [rows, depth, columns] = [0; 3].map(|_| pick(random, &[1, 4, 9, 33]));
        let turned = [random.below(2) == 1, random.below(2) == 1];
        let (a, b) = (
            numbers(random, batch * rows * depth),
            numbers(random, batch * depth * columns),
        );
        let mut truth = vec![0.0; batch * rows * columns];
        for (index, truth) in truth.iter_mut().enumerate() {
            let (matrix, row, column) = (
                index / (rows * columns),
                index / columns % rows,
                index % columns,
            );
            *truth = (0..depth)
                .map(|k| {
                    let from_a = match turned[0] {
                        true => k * rows + row,
                        false => row * depth + k,
                    };
                    let from_b = match turned[1] {
                        true => column * depth + k,
                        false => k * columns + column,
                    };
                    let a = a[matrix * rows * depth + from_a];
                    f64::from(a) * f64::from(b[matrix * depth * columns + from_b])
                })
                .sum();
        }
        let shape = |turned: bool, rows, columns| match turned {
            true => [batch, columns, rows],
            false => [batch, rows, columns],
        };
        let made = product(
            tensor(&a, shape(turned[0], rows, depth), device),
            tensor(&b, shape(turned[1], depth, columns), device),
            turned,
        );
        compare(&format!("{turned:?}"), &read(made.clone()), &truth);

        let slope = numbers(random, truth.len());
        let (mut soft, mut back) = (Vec::new(), Vec::new());
        for (row, slope) in truth.chunks_exact(columns).zip(slope.chunks_exact(columns)) {
            let most = row.iter().copied().fold(f64::MIN, f64::max);
            let all: Vec<f64> = row.iter().map(|x| (x - most).exp()).collect();
            let sum: f64 = all.iter().sum();
            let made: Vec<f64> = all.iter().map(|x| x / sum).collect();
            let mean: f64 = made.iter().zip(slope).map(|(p, &s)| p * f64::from(s)).sum();
            back.extend(
                made.iter()
                    .zip(slope)
                    .map(|(p, &s)| p * (f64::from(s) - mean)),
            );
            soft.extend(made);
        }
        let made: Tensor<3> = softmax_rows(made);
        compare("softmax", &read(made.clone()), &soft);
        let slope = tensor(&slope, [batch, rows, columns], device);
        compare("back", &read(softmax_gradient(made, slope)), &back);
    });
}
