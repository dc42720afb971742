//! Group norm, its gradients, and its frozen form.

use super::{
    ACTIVATIONS, applied, channels_last, compare, everywhere, numbers, pick, read, tensor,
};
use crate::kernels::{frozen_group_norm, group_norm};

/// In float64: the result, and the gradients of x, gamma and beta for the gradient `g` of the result.
struct Truth {
    y: Vec<f64>,
    dx: Vec<f64>,
    dgamma: Vec<f64>,
    dbeta: Vec<f64>,
}

fn normalised(
    [x, gamma, beta, g]: [&[f32]; 4],
    shape: [usize; 4],
    groups: usize,
    epsilon: f64,
) -> Truth {
    let [_, channels, rows, columns] = shape;
    let (positions, each) = (rows * columns, channels / groups * rows * columns);
    let mut truth = Truth {
        y: vec![0.0; x.len()],
        dx: vec![0.0; x.len()],
        dgamma: vec![0.0; channels],
        dbeta: vec![0.0; channels],
    };
    for first in (0..x.len()).step_by(each) {
        let all = first..first + each;
        let count = each as f64;
        let at = |index: usize| f64::from(x[index]);
        let mean = all.clone().map(at).sum::<f64>() / count;
        let squares = all.clone().map(|index| (at(index) - mean).powi(2));
        let inverse = 1.0 / (squares.sum::<f64>() / count + epsilon).sqrt();
        let unit = |index: usize| (at(index) - mean) * inverse;
        let channel = |index: usize| index / positions % channels;
        let slope = |index: usize| f64::from(g[index]) * f64::from(gamma[channel(index)]);
        let slopes = all.clone().map(slope).sum::<f64>() / count;
        let products = all.clone().map(|index| slope(index) * unit(index));
        let products = products.sum::<f64>() / count;
        for index in all {
            let channel = channel(index);
            truth.y[index] = unit(index) * f64::from(gamma[channel]) + f64::from(beta[channel]);
            truth.dx[index] = inverse * (slope(index) - slopes - unit(index) * products);
            truth.dgamma[channel] += f64::from(g[index]) * unit(index);
            truth.dbeta[channel] += f64::from(g[index]);
        }
    }
    truth
}

#[test]
fn group_norms_and_their_gradients_are_right() {
    everywhere(34, |random, device| {
        let batch = pick(random, &[1, 2, 3]);
        let (groups, share) = (
            pick(random, &[1, 2, 3, 4, 8]),
            pick(random, &[1, 2, 3, 4, 8]),
        );
        let channels = groups * share;
        // With a handful of numbers the gradient is a difference of equals, in any implementation.
        let (rows, columns) = (pick(random, &[2, 3, 8, 12]), pick(random, &[4, 5, 9, 13]));
        let shape = [batch, channels, rows, columns];
        // Groups, and channels in them, that lie apart and far from zero.
        let x: Vec<f32> = numbers(random, shape.iter().product())
            .iter()
            .enumerate()
            .map(|(index, x)| x + 3.0 + (index / (rows * columns) % 7) as f32 / 5.0)
            .collect();
        let (gamma, beta) = (numbers(random, channels), numbers(random, channels));
        let g = numbers(random, x.len());
        let epsilon = 1e-5;
        let truth = normalised([&x, &gamma, &beta, &g], shape, groups, epsilon);

        let training = device.clone().autodiff();
        let x_tensor = tensor(&x, shape, &training).require_grad();
        let gamma_tensor = tensor(&gamma, [channels], &training).require_grad();
        let beta_tensor = tensor(&beta, [channels], &training).require_grad();
        let made = group_norm(
            x_tensor.clone(),
            groups,
            gamma_tensor.clone(),
            beta_tensor.clone(),
            epsilon,
        );
        let gradients = (made.clone() * tensor(&g, shape, &training))
            .sum()
            .backward();
        let what = format!("{shape:?} in {groups} groups");
        compare(&format!("forward, {what}"), &read(made), &truth.y);
        let found = read(x_tensor.grad(&gradients).unwrap());
        compare(&format!("gradient of x, {what}"), &found, &truth.dx);
        let found = read(gamma_tensor.grad(&gradients).unwrap());
        compare(&format!("gradient of gamma, {what}"), &found, &truth.dgamma);
        let found = read(beta_tensor.grad(&gradients).unwrap());
        compare(&format!("gradient of beta, {what}"), &found, &truth.dbeta);

        let activation = pick(random, &ACTIVATIONS);
        let positions = rows * columns;
        let last = channels_last(&x, channels, positions);
        let found = frozen_group_norm(
            tensor(&last, [batch, rows, columns, channels], device),
            groups,
            tensor(&gamma, [channels], device),
            tensor(&beta, [channels], device),
            epsilon,
            activation,
        );
        let truth: Vec<f64> = channels_last(&truth.y, channels, positions)
            .into_iter()
            .map(|y| applied(activation, y))
            .collect();
        compare(
            &format!("frozen, {activation:?}, {what}"),
            &read(found),
            &truth,
        );
    });
}
