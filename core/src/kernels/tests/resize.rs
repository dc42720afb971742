//! Resizing of maps, its gradient, and its frozen form.

use super::{channels_last, compare, compare_within, everywhere, numbers, pick, read, tensor};
use crate::graph::Resample;
use crate::kernels::{frozen_resize, resize};

/// Which pixels along an axis one of the output is made of, and how much of each, as PyTorch has them.
fn made_of(at: usize, side: usize, out: usize, filter: Resample) -> [(usize, f64); 2] {
    match filter {
        Resample::Nearest => {
            let scale = side as f32 / out as f32;
            let nearest = (at as f32 * scale).floor() as usize;
            [(nearest.min(side - 1), 1.0), (0, 0.0)]
        }
        Resample::Bilinear => {
            let place = ((at as f64 + 0.5) * side as f64 / out as f64 - 0.5).max(0.0);
            let first = (place.floor() as usize).min(side - 1);
            let share = place - first as f64;
            [(first, 1.0 - share), ((first + 1).min(side - 1), share)]
        }
    }
}

#[test]
fn resizing_and_its_gradient_are_right() {
    everywhere(32, |random, device| {
        let (batch, channels) = (pick(random, &[1, 2]), pick(random, &[1, 3, 4, 12]));
        let [height, width, rows, columns] =
            [(); 4].map(|()| pick(random, &[1, 2, 3, 5, 8, 13, 20, 23, 46]));
        let filter = pick(random, &Resample::ALL);
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
            for (at_y, share_y) in made_of(row, height, rows, filter) {
                for (at_x, share_x) in made_of(column, width, columns, filter) {
                    let at = (plane * height + at_y) * width + at_x;
                    y[index] += share_y * share_x * f64::from(x[at]);
                    dx[at] += share_y * share_x * f64::from(g[index]);
                }
            }
        }
        let training = device.clone().autodiff();
        let x_tensor = tensor(&x, from, &training).require_grad();
        let made = resize(x_tensor.clone(), [rows, columns], filter);
        let gradients = (made.clone() * tensor(&g, to, &training)).sum().backward();
        let what = format!("{filter:?}, {from:?} to {rows}×{columns}");
        compare(&format!("forward, {what}"), &read(made), &y);
        let found = read(x_tensor.grad(&gradients).unwrap());
        compare(&format!("gradient, {what}"), &found, &dx);

        let last = channels_last(&x, channels, height * width);
        let x_tensor = tensor(&last, [batch, height, width, channels], device);
        let found = read(frozen_resize(x_tensor, [rows, columns], filter));
        let truth = channels_last(&y, channels, rows * columns);
        compare(&format!("frozen, {what}"), &found, &truth);
    });
}

/// Sides at which PyTorch's rounding picks another pixel than whole numbers would.
#[test]
fn the_nearest_pixel_is_pytorchs_to_the_last_bit() {
    everywhere(33, |random, device| {
        let sides = [[2, 82], [3, 123], [14, 46], [16, 122], [18, 114], [20, 108]];
        let [side, out] = pick(random, &sides);
        let x: Vec<f32> = (0..side).map(|at| at as f32).collect();
        let truth: Vec<f64> = (0..out)
            .map(|at| made_of(at, side, out, Resample::Nearest)[0].0 as f64)
            .collect();
        let exact = |at: usize| (at * side / out) as f64;
        assert!((0..out).any(|at| truth[at] != exact(at)));
        let x = tensor(&x, [1, 1, side, 1], device);
        let found = read(resize(x, [out, 1], Resample::Nearest));
        compare_within(0.0, &format!("{side} to {out}"), &found, &truth);
    });
}
