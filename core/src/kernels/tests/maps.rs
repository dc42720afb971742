//! Pools, sums, gates, activations.

use super::{ACTIVATIONS, adapter, applied, compare, everywhere, numbers, pick, read, tensor};
use crate::graph::Pool;
use crate::kernels::{activate, add, affine, avg_pool, gate, global_average, max_pool};
use crate::random::Random;

const CHANNELS: [usize; 6] = [1, 3, 4, 7, 12, 32];
const SIDES: [usize; 6] = [1, 2, 3, 5, 8, 17];

#[test]
fn pools_are_right() {
    everywhere(11, |random, device| {
        let (batch, channels) = (pick(random, &[1, 2, 3]), pick(random, &CHANNELS));
        let kernel = pick(random, &[1, 2, 3, 5]);
        let pool = Pool {
            kernel,
            stride: pick(random, &[1, 2, 3]),
            padding: random.below(kernel / 2 + 1),
            ceil: random.below(2) == 1,
        };
        let size = [pick(random, &SIDES), pick(random, &SIDES)];
        let outputs = size.map(|side| pool.outputs(side));
        let [Some(rows), Some(columns)] = outputs else {
            return;
        };
        let shape = [batch, size[0], size[1], channels];
        let x = numbers(random, shape.iter().product());
        let (mut largest, mut means) = (Vec::new(), Vec::new());
        for index in 0..batch * rows * columns * channels {
            let (pixel, channel) = (index / channels, index % channels);
            let (image, row, column) = (
                pixel / (rows * columns),
                pixel / columns % rows,
                pixel % columns,
            );
            // A window over the padded map: what is beyond the padding does not exist at all.
            let span = |at: usize, side: usize| {
                let first = at * pool.stride;
                first..(first + kernel).min(side + 2 * pool.padding)
            };
            let (mut most, mut sum, mut count) = (f64::NEG_INFINITY, 0.0, 0);
            for y in span(row, size[0]) {
                for x_at in span(column, size[1]) {
                    count += 1;
                    let inside = |at: usize, side: usize| {
                        at.checked_sub(pool.padding).filter(|at| *at < side)
                    };
                    if let (Some(y), Some(at)) = (inside(y, size[0]), inside(x_at, size[1])) {
                        let at = ((image * size[0] + y) * size[1] + at) * channels + channel;
                        most = most.max(f64::from(x[at]));
                        sum += f64::from(x[at]);
                    }
                }
            }
            largest.push(most);
            means.push(sum / f64::from(count));
        }
        let what = format!("{pool:?} on {shape:?}");
        let found = read(max_pool(tensor(&x, shape, device), pool, [rows, columns]));
        compare(&format!("largest, {what}"), &found, &largest);
        let found = read(avg_pool(tensor(&x, shape, device), pool, [rows, columns]));
        compare(&format!("mean, {what}"), &found, &means);
    });
}

#[test]
fn global_averages_are_right() {
    everywhere(12, |random, device| {
        let (batch, channels) = (pick(random, &[1, 2, 5]), pick(random, &CHANNELS));
        let (rows, columns) = (pick(random, &SIDES), pick(random, &SIDES));
        let x = numbers(random, batch * rows * columns * channels);
        let mut truth = vec![0.0; batch * channels];
        for (index, value) in x.iter().enumerate() {
            let image = index / (rows * columns * channels);
            truth[image * channels + index % channels] +=
                f64::from(*value) / (rows * columns) as f64;
        }
        let found = read(global_average(tensor(
            &x,
            [batch, rows, columns, channels],
            device,
        )));
        compare(&format!("{rows}×{columns}×{channels}"), &found, &truth);
    });
}

#[test]
fn what_is_done_number_by_number_is_right() {
    everywhere(13, |random, device| {
        let (batch, channels) = (pick(random, &[1, 2, 5]), pick(random, &CHANNELS));
        let shape = [batch, pick(random, &SIDES), pick(random, &SIDES), channels];
        let count = shape.iter().product();
        // Wide enough for every bend of the activations.
        let wide: Vec<f32> = numbers(random, count).iter().map(|x| 5.0 * x).collect();
        let (y, scale, shift) = (
            numbers(random, count),
            numbers(random, channels),
            numbers(random, channels),
        );
        let gates = numbers(random, batch * channels);
        let activation = pick(random, &ACTIVATIONS);
        let truth = |value: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
            let each = wide.iter().enumerate();
            each.map(|(index, x)| value(index, f64::from(*x))).collect()
        };
        let x = || tensor(&wide, shape, device);
        let what = format!("{activation:?} on {shape:?}");

        let sums = truth(&|index, x| applied(activation, x + f64::from(y[index])));
        let found = add(x(), tensor(&y, shape, device), activation);
        compare(&format!("sum, {what}"), &read(found), &sums);

        let maps = truth(&|index, x| {
            let channel = index % channels;
            applied(
                activation,
                x * f64::from(scale[channel]) + f64::from(shift[channel]),
            )
        });
        let vector = |values: &[f32]| tensor(values, [channels], device);
        let found = affine(x(), vector(&scale), vector(&shift), activation);
        compare(&format!("affine map, {what}"), &read(found), &maps);

        let gated = truth(&|index, x| {
            let image = index / (count / batch);
            x * f64::from(gates[image * channels + index % channels])
        });
        let found = gate(x(), tensor(&gates, [batch, 1, 1, channels], device));
        compare(&format!("gate, {what}"), &read(found), &gated);

        let alone = truth(&|_, x| applied(activation, x));
        compare(
            &format!("alone, {what}"),
            &read(activate(x(), activation)),
            &alone,
        );
    });
}

/// What ran over somewhere must come through to the end, where it is looked for.
#[test]
fn nan_is_not_made_a_number() {
    let Some(device) = adapter() else { return };
    let mut random = Random::new(14);
    for channels in [3, 4] {
        let shape = [1, 2, 2, channels];
        let whole = numbers(&mut random, 4 * channels);
        for place in 0..4 {
            let mut x = whole.clone();
            x[place * channels] = f32::NAN;
            let pool = Pool::new(2, 2);
            let found = read(max_pool(tensor(&x, shape, &device), pool, [1, 1]));
            assert!(found[0].is_nan(), "{place} of {channels}: {found:?}");
            assert!(
                found[1..].iter().all(|value| value.is_finite()),
                "{found:?}"
            );
        }
        let mut x = whole.clone();
        x[1] = f32::NAN;
        for activation in ACTIVATIONS {
            let found = read(activate(tensor(&x, shape, &device), activation));
            assert!(found[1].is_nan(), "{activation:?} of {channels}: {found:?}");
            assert!(
                found[2..].iter().all(|value| value.is_finite()),
                "{found:?}"
            );
        }
    }
}
