//! Times norms and elementwise gradients on maps and tokens: how many bytes a second they read and write, beside
//! those of a copy and of a sum.
//!
//! `cargo run --release -p rekindle-cpu --example norms -- [part of a kernel's name]`

use std::time::Instant;

use rekindle_cpu::{
    Activation, AffineSlopes, BatchNorm, View, ViewMut, accumulate, add, affine_slopes, batch_norm,
    batch_norm_slopes, copy, gate_slopes, layer_norm, layer_norm_slopes, moments, through,
};

/// Batch, rows, columns, channels.
const SHAPES: [[usize; 4]; 5] = [
    [8, 112, 112, 64],
    [32, 56, 56, 256],
    [32, 56, 56, 24],
    [32, 1, 197, 192],
    [32, 1, 197, 768],
];

/// Elements of a cache line, at whose start maps begin: vectors that straddle two lines take twice as long.
const LINE: usize = 16;

fn time(mut run: impl FnMut()) -> f64 {
    run();
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed().as_secs_f64() < 0.6 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Prints what a kernel takes that goes over so many maps.
fn print(name: &str, maps: usize, elements: usize, run: impl FnMut()) {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    if !name.contains(&wanted) {
        return;
    }
    let seconds = time(run);
    let bytes = (maps * elements * 4) as f64;
    let speed = bytes / seconds / 1e9;
    println!(
        "  {name:36} ({maps}) {:8.3} ms {speed:7.1} GB/s",
        seconds * 1e3
    );
}

fn measure(shape: [usize; 4]) {
    let [batch, rows, columns, channels] = shape;
    let elements = batch * rows * columns * channels;
    println!("{shape:?}");
    let numbers = |seed: usize, offset: f32| -> Vec<f32> {
        (0..elements + LINE)
            .map(|i| ((i + seed) * 7919 % 1009) as f32 / 504.5 - 1.0 + offset)
            .collect()
    };
    // Where derivatives are 1: gradients that became ever smaller would be slow in the end.
    let mut all = [(0, 0.0), (5, 0.0), (9, 0.0), (11, 0.0), (3, 9.0)]
        .map(|(seed, offset)| numbers(seed, offset));
    let [a, b, c, d, far] = all.each_mut().map(|data| {
        let start = data.as_ptr().align_offset(4 * LINE);
        &mut data[start..][..elements]
    });
    let view = |data| View::new(data, batch, rows, columns, channels);
    fn into(data: &mut [f32], [batch, rows, columns, channels]: [usize; 4]) -> ViewMut<'_> {
        ViewMut::new(data, batch, rows, columns, channels)
    }
    let (a, b, far) = (view(a), view(b), view(far));
    let none = Activation::None;
    let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
    let (mut of_scale, mut of_shift) = (zeros.clone(), zeros.clone());
    let mut parameters = move |run: &mut dyn FnMut(AffineSlopes<'_>)| {
        run(AffineSlopes {
            of_scale: &mut of_scale,
            of_shift: &mut of_shift,
            add: false,
        });
    };

    print("copy", 2, elements, || copy(a, into(c, shape)));
    print("add", 3, elements, || add(a, b, none, into(c, shape)));
    print("accumulate", 3, elements, || accumulate(a, into(c, shape)));
    for activation in [
        Activation::Relu,
        Activation::HardSwish,
        Activation::Silu,
        Activation::Gelu,
    ] {
        print(&format!("through {activation:?}"), 3, elements, || {
            through(activation, far, into(c, shape));
        });
    }
    print("affine_slopes", 2, elements, || {
        parameters(&mut |parameters| affine_slopes(a, b, parameters));
    });
    let (row, mut of_row) = (vec![0.5; batch * channels], vec![0.0; batch * channels]);
    print("gate_slopes of channels", 3, elements, || {
        let gate = View::new(&row, batch, 1, 1, channels);
        let of_gate = ViewMut::new(&mut of_row, batch, 1, 1, channels);
        gate_slopes(a, gate, b, Some(into(c, shape)), Some(of_gate));
    });
    if rows == 1 {
        print("layer_norm", 2, elements, || {
            layer_norm(a, &ones, &zeros, 1e-5, into(c, shape));
        });
        print("layer_norm_slopes", 3, elements, || {
            parameters(&mut |parameters| {
                let of_x = Some(into(c, shape));
                layer_norm_slopes(a, &ones, 1e-5, b, of_x, Some(parameters));
            });
        });
        return;
    }
    let (mut mean, mut variance) = (zeros.clone(), zeros.clone());
    print("moments", 1, elements, || {
        moments(a, &mut mean, &mut variance)
    });
    let norm = BatchNorm {
        mean: &mean,
        variance: &variance,
        gamma: &ones,
        beta: &zeros,
        epsilon: 1e-5,
    };
    print("batch_norm", 2, elements, || {
        batch_norm(a, &norm, None, Activation::Relu, into(c, shape));
    });
    print("batch_norm with residual", 3, elements, || {
        batch_norm(a, &norm, Some(b), Activation::Relu, into(c, shape));
    });
    print("batch_norm_slopes", 5, elements, || {
        parameters(&mut |parameters| {
            batch_norm_slopes(a, &norm, None, into(c, shape), None, parameters);
        });
    });
    print("batch_norm_slopes through relu", 7, elements, || {
        parameters(&mut |parameters| {
            let output = Some((Activation::Relu, b));
            batch_norm_slopes(a, &norm, output, into(c, shape), None, parameters);
        });
    });
    print("… and of the residual", 7, elements, || {
        parameters(&mut |parameters| {
            let output = Some((Activation::Relu, b));
            let (slope, of_x) = (into(c, shape), Some(into(d, shape)));
            batch_norm_slopes(a, &norm, output, slope, of_x, parameters);
        });
    });
}

fn main() {
    SHAPES.into_iter().for_each(measure);
}
