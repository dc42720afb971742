//! What only training needs: batch norm by the batch, and its gradients.

use super::{channels_last, compare, everywhere, numbers, pick, read, tensor};
use crate::kernels::batch_norm::batch_norm_train;
use crate::kernels::linear;

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

#[test]
fn the_helper_that_turns_maps_around_is_right() {
    assert_eq!(channels_last(&[1, 2, 3, 4, 5, 6], 2, 3), [1, 4, 2, 5, 3, 6]);
}

#[test]
fn linear_layers_and_their_gradients_are_right() {
    everywhere(37, |random, device| {
        let inputs = pick(random, &[1, 3, 4, 12, 65]);
        let (outputs, rows) = (
            pick(random, &[1, 2, 8, 10, 33]),
            pick(random, &[1, 2, 7, 64]),
        );
        let x = numbers(random, 2 * rows * inputs);
        let (weight, bias) = (numbers(random, inputs * outputs), numbers(random, outputs));
        let g = numbers(random, 2 * rows * outputs);
        let at = |values: &[f32], place: usize| f64::from(values[place]);
        let (mut y, mut dx) = (vec![0.0; g.len()], vec![0.0; x.len()]);
        let (mut dweight, mut dbias) = (vec![0.0; weight.len()], vec![0.0; outputs]);
        for row in 0..2 * rows {
            for (output, dbias) in dbias.iter_mut().enumerate() {
                let place = row * outputs + output;
                y[place] = at(&bias, output);
                *dbias += at(&g, place);
                for input in 0..inputs {
                    let (from, of) = (row * inputs + input, input * outputs + output);
                    y[place] += at(&x, from) * at(&weight, of);
                    dx[from] += at(&g, place) * at(&weight, of);
                    dweight[of] += at(&g, place) * at(&x, from);
                }
            }
        }
        let training = device.clone().autodiff();
        let x = tensor(&x, [2, rows, inputs], &training).require_grad();
        let weight = tensor(&weight, [inputs, outputs], &training).require_grad();
        let bias = tensor(&bias, [outputs], &training).require_grad();
        let made = linear(x.clone(), weight.clone(), Some(bias.clone()));
        assert_eq!(made.dims(), [2, rows, outputs]);
        compare("y", &read(made.clone().without_autodiff()), &y);
        let g = tensor(&g, [2, rows, outputs], &training);
        let gradients = (made * g).sum().backward();
        compare("dx", &read(x.grad(&gradients).unwrap()), &dx);
        compare("dweight", &read(weight.grad(&gradients).unwrap()), &dweight);
        compare("dbias", &read(bias.grad(&gradients).unwrap()), &dbias);
    });
}
