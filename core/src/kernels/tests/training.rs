//! What only training needs: batch norm by the batch, bilinear resampling, and their gradients.

use super::{channels_last, compare, everywhere, numbers, pick, read, tensor};
use crate::kernels::batch_norm::batch_norm_train;
use crate::kernels::upsample_bilinear;

#[test]
fn batch_norms_and_their_gradients_are_right() {
    everywhere(31, |random, device| {
        let (batch, channels) = (pick(random, &[1, 2, 5]), pick(random, &[1, 3, 4, 12, 33]));
        // With a handful of numbers the gradient is a difference of equals, in any implementation.
        let (rows, columns) = (pick(random, &[2, 3, 8]), pick(random, &[4, 5, 9]));
        let shape = [batch, channels, rows, columns];
        let positions = rows * columns;
        let count = (batch * positions) as f64;
        let x: Vec<f32> = numbers(random, shape.iter().product())
            .iter()
            .map(|x| x + 3.0)
            .collect();
        let (gamma, beta) = (numbers(random, channels), numbers(random, channels));
        let g = numbers(random, x.len());
        let epsilon = 1e-5;
        let channel = |index: usize| index / positions % channels;
        let per_channel = |value: &dyn Fn(usize) -> f64| {
            let mut sums = vec![0.0; channels];
            (0..x.len()).for_each(|index| sums[channel(index)] += value(index));
            sums
        };
        let means: Vec<f64> = per_channel(&|index| f64::from(x[index]) / count);
        let variances =
            per_channel(&|index| (f64::from(x[index]) - means[channel(index)]).powi(2) / count);
        let inverse: Vec<f64> = variances
            .iter()
            .map(|v| 1.0 / (v + epsilon).sqrt())
            .collect();
        let unit =
            |index: usize| (f64::from(x[index]) - means[channel(index)]) * inverse[channel(index)];
        let y: Vec<f64> = (0..x.len())
            .map(|index| {
                let (gamma, beta) = (gamma[channel(index)], beta[channel(index)]);
                unit(index) * f64::from(gamma) + f64::from(beta)
            })
            .collect();
        let dbeta = per_channel(&|index| f64::from(g[index]));
        let dgamma = per_channel(&|index| f64::from(g[index]) * unit(index));
        let dx: Vec<f64> = (0..x.len())
            .map(|index| {
                let at = channel(index);
                let share = (dbeta[at] + unit(index) * dgamma[at]) / count;
                f64::from(gamma[at]) * inverse[at] * (f64::from(g[index]) - share)
            })
            .collect();

        let training = device.clone().autodiff();
        let x_tensor = tensor(&x, shape, &training).require_grad();
        let gamma_tensor = tensor(&gamma, [channels], &training).require_grad();
        let beta_tensor = tensor(&beta, [channels], &training).require_grad();
        let (made, mean, inverse_std) = batch_norm_train(
            x_tensor.clone(),
            gamma_tensor.clone(),
            beta_tensor.clone(),
            epsilon,
        );
        let gradients = (made.clone() * tensor(&g, shape, &training))
            .sum()
            .backward();
        let what = format!("{shape:?}");
        compare(&format!("forward, {what}"), &read(made), &y);
        compare(&format!("mean, {what}"), &read(mean), &means);
        compare(&format!("1 / std, {what}"), &read(inverse_std), &inverse);
        let found = read(x_tensor.grad(&gradients).unwrap());
        compare(&format!("gradient of x, {what}"), &found, &dx);
        let found = read(gamma_tensor.grad(&gradients).unwrap());
        compare(&format!("gradient of gamma, {what}"), &found, &dgamma);
        let found = read(beta_tensor.grad(&gradients).unwrap());
        compare(&format!("gradient of beta, {what}"), &found, &dbeta);
    });
}

/// The two pixels between which an output pixel lies, and the share of the second, as PyTorch has them.
fn between(at: usize, side: usize, out: usize, align_corners: bool) -> (usize, usize, f64) {
    let place = match align_corners {
        true => at as f64 * (side - 1) as f64 / (out.max(2) - 1) as f64,
        false => ((at as f64 + 0.5) * side as f64 / out as f64 - 0.5).max(0.0),
    };
    let first = (place.floor() as usize).min(side - 1);
    (first, (first + 1).min(side - 1), place - first as f64)
}

#[test]
fn bilinear_resampling_and_its_gradient_are_right() {
    everywhere(32, |random, device| {
        let (batch, channels) = (pick(random, &[1, 2]), pick(random, &[1, 3, 4, 12]));
        let [height, width, rows, columns] =
            [(); 4].map(|()| pick(random, &[1, 2, 3, 5, 8, 13, 20]));
        let align_corners = random.below(2) == 1;
        let (from, to) = (
            [batch, channels, height, width],
            [batch, channels, rows, columns],
        );
        let x = numbers(random, from.iter().product());
        let g = numbers(random, to.iter().product());
        let (mut y, mut dx) = (vec![0.0; g.len()], vec![0.0; x.len()]);
        for index in 0..g.len() {
            let (plane, row, column) = (
                index / (rows * columns),
                index / columns % rows,
                index % columns,
            );
            let (top, bottom, down) = between(row, height, rows, align_corners);
            let (left, right, across) = between(column, width, columns, align_corners);
            for (at_y, share_y) in [(top, 1.0 - down), (bottom, down)] {
                for (at_x, share_x) in [(left, 1.0 - across), (right, across)] {
                    let at = (plane * height + at_y) * width + at_x;
                    y[index] += share_y * share_x * f64::from(x[at]);
                    dx[at] += share_y * share_x * f64::from(g[index]);
                }
            }
        }
        let training = device.clone().autodiff();
        let x_tensor = tensor(&x, from, &training).require_grad();
        let made = upsample_bilinear(x_tensor.clone(), [rows, columns], align_corners);
        let gradients = (made.clone() * tensor(&g, to, &training)).sum().backward();
        let what = format!("{from:?} to {rows}×{columns}, corners aligned {align_corners}");
        compare(&format!("forward, {what}"), &read(made), &y);
        let found = read(x_tensor.grad(&gradients).unwrap());
        compare(&format!("gradient, {what}"), &found, &dx);
    });
}

#[test]
fn the_helper_that_turns_maps_around_is_right() {
    assert_eq!(channels_last(&[1, 2, 3, 4, 5, 6], 2, 3), [1, 4, 2, 5, 3, 6]);
}
