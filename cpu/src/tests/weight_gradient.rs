//! Gradients of weights.

use super::{Maps, Random, at_every_level};
use crate::simd::Level;
use crate::{ConvGeometry, weight_gradient};

/// What they should be, and the sums of the magnitudes of what is added up.
fn expected(geometry: &ConvGeometry, input: &Maps, slope: &Maps) -> Vec<(f64, f64)> {
    let [batch, rows, columns, _] = input.shape;
    let [_, out_rows, out_columns, _] = slope.shape;
    let depth = geometry.input / geometry.groups;
    let width = geometry.output / geometry.groups;
    let taps = geometry.kernel[0] * geometry.kernel[1];
    let place = |axis: usize, at: usize, tap: usize, size: usize| {
        let at = at * geometry.stride[axis] + tap * geometry.dilation[axis];
        at.checked_sub(geometry.padding[axis])
            .filter(|&at| at < size)
    };
    let mut sums = vec![(0.0, 0.0); geometry.output * depth * taps];
    for at in 0..batch * out_rows * out_columns {
        let (n, out_y, out_x) = (
            at / out_columns / out_rows,
            at / out_columns % out_rows,
            at % out_columns,
        );
        for tap in 0..taps {
            let y = place(0, out_y, tap / geometry.kernel[1], rows);
            let x = place(1, out_x, tap % geometry.kernel[1], columns);
            let (Some(y), Some(x)) = (y, x) else { continue };
            for o in 0..geometry.output {
                for i in 0..depth {
                    let term =
                        slope.at(n, out_y, out_x, o) * input.at(n, y, x, o / width * depth + i);
                    let (sum, size) = &mut sums[(o * depth + i) * taps + tap];
                    *sum += term;
                    *size += term.abs();
                }
            }
        }
    }
    sums
}

/// A gradient, overwritten or added to what was there.
fn gradient(
    geometry: &ConvGeometry,
    input: &Maps,
    slope: &Maps,
    before: Option<&[f32]>,
) -> Vec<f32> {
    let taps = geometry.kernel[0] * geometry.kernel[1];
    let count = geometry.output * geometry.input / geometry.groups * taps;
    let mut weights = before.map_or_else(|| vec![f32::NAN; count], <[f32]>::to_vec);
    weight_gradient(
        geometry,
        input.view(),
        slope.view(),
        &mut weights,
        before.is_some(),
    );
    weights
}

/// The largest error, as a part of the magnitudes added up.
fn check(random: &mut Random, geometry: ConvGeometry, size: [usize; 2], batch: usize) -> f64 {
    let count = |axis: usize| {
        let reach = (geometry.kernel[axis] - 1) * geometry.dilation[axis] + 1;
        let padded = size[axis] + 2 * geometry.padding[axis];
        padded.saturating_sub(reach) / geometry.stride[axis] + 1
    };
    let input = Maps::random(random, [batch, size[0], size[1], geometry.input]);
    let slope = Maps::random(random, [batch, count(0), count(1), geometry.output]);
    let sums = expected(&geometry, &input, &slope);
    let before = (random.below(2) == 0).then(|| random.floats(sums.len()));
    let ours = gradient(&geometry, &input, &slope, before.as_deref());
    let mut worst = 0.0f64;
    for (at, (ours, (sum, size))) in ours.iter().zip(sums).enumerate() {
        let before = before.as_ref().map_or(0.0, |before| f64::from(before[at]));
        let error = (f64::from(*ours) - sum - before).abs() / (size + before.abs()).max(1e-30);
        assert!(
            error < 2e-6,
            "{geometry:?} of {size:?} maps {:?} at {at}: {ours}, not {}",
            input.shape,
            sum + before
        );
        worst = worst.max(error);
    }
    worst
}

#[test]
fn gradients_of_weights_of_random_shapes_match_their_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..150 {
            let groups = random.of(&[1, 1, 1, 2, 3, 8]);
            let kernel = random.of(&[[1, 1], [1, 1], [3, 3], [2, 2], [7, 7], [1, 5], [4, 3]]);
            let geometry = ConvGeometry {
                input: groups * random.of(&[1, 2, 3, 4, 8, 17, 24]),
                output: groups * random.of(&[1, 2, 3, 4, 8, 17, 33]),
                kernel,
                stride: [random.of(&[1, 1, 2, 3]), random.of(&[1, 1, 2, 4])],
                padding: [random.below(4), random.below(4)],
                dilation: [random.of(&[1, 1, 2]), random.of(&[1, 1, 3])],
                groups,
            };
            let size = [1 + random.below(12), 1 + random.below(12)];
            let batch = 1 + random.below(3);
            worst = worst.max(check(random, geometry, size, batch));
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

/// Shapes whose pixels, channels and panels are all divided.
const LARGE: [(ConvGeometry, [usize; 2]); 4] = [
    (convolution(20, 70, [3, 3], 1, 1), [53, 49]),
    (convolution(3, 17, [7, 7], 1, 2), [90, 101]),
    (convolution(24, 24, [3, 3], 3, 1), [61, 50]),
    (convolution(33, 130, [1, 1], 1, 2), [110, 90]),
];

const fn convolution(
    input: usize,
    output: usize,
    kernel: [usize; 2],
    groups: usize,
    stride: usize,
) -> ConvGeometry {
    ConvGeometry {
        input,
        output,
        kernel,
        stride: [stride; 2],
        padding: [kernel[0] / 2, kernel[1] / 2],
        dilation: [1, 1],
        groups,
    }
}

#[test]
fn gradients_of_weights_are_right_across_blocks_and_parts() {
    at_every_level(|level, random| {
        // The scalar code is slow, and divides as the others do.
        let some = if level.lanes() == 1 { 1 } else { LARGE.len() };
        for (geometry, size) in &LARGE[..some] {
            let worst = check(random, *geometry, *size, 1);
            println!("{level:?} {size:?}: worst error {worst:e}");
        }
    });
}

#[test]
fn gradients_of_weights_do_not_depend_on_threads() {
    let mut random = Random(7);
    let with = |threads: usize, work: &(dyn Fn() -> Vec<f32> + Sync)| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(work)
    };
    for (geometry, size) in &LARGE {
        let input = Maps::random(&mut random, [2, size[0], size[1], geometry.input]);
        let out = size.map(|n| n.div_ceil(geometry.stride[0]));
        let slope = Maps::random(&mut random, [2, out[0], out[1], geometry.output]);
        let run = || gradient(geometry, &input, &slope, None);
        assert!(with(1, &run) == with(3, &run), "{geometry:?}");
    }
}

#[test]
fn sums_over_many_pixels_keep_their_precision() {
    let mut random = Random(3);
    let geometry = ConvGeometry::pointwise(3, 2);
    let mut input = Maps::random(&mut random, [1, 400, 1000, 3]);
    let mut slope = Maps::random(&mut random, [1, 400, 1000, 2]);
    // Of one sign, so that the sums grow.
    for value in input.data.iter_mut().chain(&mut slope.data) {
        *value = value.abs();
    }
    let sums = expected(&geometry, &input, &slope);
    for level in Level::all() {
        let _forced = level.force();
        let ours = gradient(&geometry, &input, &slope, None);
        for (ours, (sum, size)) in ours.iter().zip(&sums) {
            let error = (f64::from(*ours) - sum).abs() / size;
            assert!(error < 1e-6, "{level:?}: {error:e}");
        }
    }
}

#[test]
fn gradients_of_weights_carry_nan() {
    let mut random = Random(5);
    let geometry = convolution(5, 9, [3, 3], 1, 1);
    let input = Maps::random(&mut random, [1, 6, 6, 5]);
    let mut slope = Maps::random(&mut random, [1, 6, 6, 9]);
    let at = 14 * slope.pitch + 4;
    slope.data[at] = f32::NAN;
    let weights = gradient(&geometry, &input, &slope, None);
    for (at, weight) in weights.iter().enumerate() {
        assert_eq!(weight.is_nan(), at / 45 == 4, "weight {at}");
    }
}

#[test]
fn no_maps_have_no_gradient() {
    let geometry = ConvGeometry::pointwise(3, 2);
    let [input, slope] = [3, 2].map(|channels| Maps {
        data: Vec::new(),
        shape: [0, 4, 4, channels],
        pitch: channels,
    });
    assert_eq!(gradient(&geometry, &input, &slope, None), [0.0; 6]);
    assert_eq!(
        gradient(&geometry, &input, &slope, Some(&[1.0; 6])),
        [1.0; 6]
    );
}
