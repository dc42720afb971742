//! Batch normalisation, and the gradients of norms.

use super::{Maps, Random, UNTOUCHED, apply, at_every_level, in_pools_alike};
use crate::{
    Activation, AffineSlopes, BatchNorm, batch_norm, batch_norm_slopes, layer_norm_slopes, moments,
};

const EPSILON: f64 = 1e-5;

fn shape(random: &mut Random) -> [usize; 4] {
    let sides = [1, 2, 3, 9, 30];
    [
        1 + random.below(3),
        random.of(&sides),
        1 + random.of(&sides),
        random.of(&[1, 3, 5, 16, 17, 24, 72, 100]),
    ]
}

/// Maps whose channels have different means and deviations.
fn uneven(random: &mut Random, shape: [usize; 4]) -> Maps {
    let mut maps = Maps::random(random, shape);
    let pitch = maps.pitch;
    for (at, x) in maps.data.iter_mut().enumerate() {
        let channel = (at % pitch) as f32;
        *x = *x * (0.5 + channel % 3.0) + channel % 7.0 - 3.0;
    }
    maps
}

/// Mean and biased variance of a channel.
fn statistics(maps: &Maps, c: usize) -> [f64; 2] {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    maps.each_pixel(|n, y, x| {
        count += 1.0;
        sum += maps.at(n, y, x, c);
    });
    let mean = sum / count;
    maps.each_pixel(|n, y, x| squares += (maps.at(n, y, x, c) - mean).powi(2));
    [mean, squares / count]
}

#[test]
fn moments_match_their_definition() {
    at_every_level(|level, random| {
        let mut worst = [0.0f64; 2];
        for round in 0..60 {
            let shape = shape(random);
            let mut x = uneven(random, shape);
            if round % 2 == 0 {
                x.data.iter_mut().for_each(|x| *x += 1000.0);
            }
            let (mut mean, mut variance) = (vec![f32::NAN; shape[3]], vec![f32::NAN; shape[3]]);
            moments(x.view(), &mut mean, &mut variance);
            for c in 0..shape[3] {
                let [expected, expected_variance] = statistics(&x, c);
                let error = (f64::from(mean[c]) - expected).abs() / expected.abs().max(1.0);
                worst[0] = worst[0].max(error);
                assert!(error < 1e-6, "{shape:?}: mean {}, not {expected}", mean[c]);
                let error = (f64::from(variance[c]) - expected_variance).abs();
                let error = error / expected_variance.max(1e-3);
                worst[1] = worst[1].max(error);
                assert!(
                    error < 1e-5,
                    "{shape:?}: {}, not {expected_variance}",
                    variance[c]
                );
            }
        }
        println!("{level:?}: worst errors {worst:?}");
    });
}

/// The first rows of every block lie far from the others: the worst for a sum around their mean.
#[test]
fn moments_of_what_begins_elsewhere_keep_their_variance() {
    at_every_level(|level, random| {
        for channels in [3, 64] {
            let mut x = Maps::random(random, [2, 300, 200, channels]);
            let row = 200 * x.pitch;
            let strips = x.data.chunks_mut(row).enumerate();
            for (at, strip) in strips.filter(|(at, _)| at % 16 == 0) {
                let level = if at % 32 == 0 { 1e4 } else { -3e3 };
                strip.iter_mut().for_each(|x| *x = *x * 0.01 + level);
            }
            let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
            moments(x.view(), &mut mean, &mut variance);
            for (c, found) in variance.into_iter().enumerate().take(5) {
                let [_, expected] = statistics(&x, c);
                let error = (f64::from(found) - expected).abs() / expected;
                println!("{level:?}: {error:e}");
                assert!(error < 1e-6, "{error:e}");
            }
        }
    });
}

/// A batch norm with its own memory.
struct Norm {
    mean: Vec<f32>,
    variance: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Norm {
    /// By the statistics of some maps.
    fn of(random: &mut Random, maps: &Maps) -> Self {
        let channels = maps.shape[3];
        let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
        moments(maps.view(), &mut mean, &mut variance);
        Self {
            mean,
            variance,
            gamma: random.floats(channels),
            beta: random.floats(channels),
        }
    }

    fn with(&self) -> BatchNorm<'_> {
        BatchNorm {
            mean: &self.mean,
            variance: &self.variance,
            gamma: &self.gamma,
            beta: &self.beta,
            epsilon: EPSILON as f32,
        }
    }
}

#[test]
fn batch_norm_matches_its_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for round in 0..60 {
            let shape = shape(random);
            let x = uneven(random, shape);
            let norm = Norm::of(random, &x);
            let residual = Maps::random(random, shape);
            let added = (round % 2 == 0).then(|| residual.view());
            let activation = random.activation();
            let mut output = Maps::output(random, shape);
            batch_norm(x.view(), &norm.with(), added, activation, output.view_mut());
            let all: Vec<[f64; 2]> = (0..shape[3]).map(|c| statistics(&x, c)).collect();
            let what = format!("{shape:?}, {activation:?}");
            worst = worst.max(output.compare(3e-5, &what, |n, row, column, c| {
                let [mean, variance] = all[c];
                let unit = (x.at(n, row, column, c) - mean) / (variance + EPSILON).sqrt();
                let scaled = unit * f64::from(norm.gamma[c]) + f64::from(norm.beta[c]);
                let residual = residual.at(n, row, column, c);
                apply(
                    activation,
                    scaled + if round % 2 == 0 { residual } else { 0.0 },
                )
            }));
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

#[test]
fn batch_norm_has_its_gradients() {
    at_every_level(|level, random| {
        let mut worst = [0.0f64; 2];
        for round in 0..80 {
            let shape = shape(random);
            let channels = shape[3];
            let x = uneven(random, shape);
            let norm = Norm::of(random, &x);
            let activation = random.of(&[Activation::None, Activation::Relu, Activation::Relu6]);
            let mut kept = Maps::random(random, shape);
            kept.data
                .iter_mut()
                .for_each(|x| *x = (*x * 9.0).clamp(0.0, 6.0));
            let before = Maps::slopes(random, shape);
            let mut slope = before.clone();
            let mut of_x = Maps::output(random, shape);
            let apart = round % 2 == 0;
            let add = round % 3 == 0;
            let start = if add { 0.5 } else { f32::NAN };
            let (mut of_gamma, mut of_beta) = (vec![start; channels], vec![start; channels]);
            batch_norm_slopes(
                x.view(),
                &norm.with(),
                (round % 4 > 0).then(|| (activation, kept.view())),
                slope.view_mut(),
                apart.then(|| of_x.view_mut()),
                AffineSlopes {
                    of_scale: &mut of_gamma,
                    of_shift: &mut of_beta,
                    add,
                },
            );
            let masked = |n, row, column, c| {
                let kept = kept.at(n, row, column, c);
                let open = match activation {
                    Activation::Relu => kept > 0.0,
                    Activation::Relu6 => kept > 0.0 && kept < 6.0,
                    _ => true,
                };
                let open = open || round % 4 == 0;
                if open {
                    before.at(n, row, column, c)
                } else {
                    0.0
                }
            };
            let what = format!("{shape:?}, {activation:?}");
            if apart {
                slope.compare(0.0, &what, masked);
            }
            let pixels = shape[..3].iter().product::<usize>() as f64;
            let mut all = Vec::new();
            for c in 0..channels {
                let [mean, variance] = statistics(&x, c);
                let inverse = 1.0 / (variance + EPSILON).sqrt();
                let (mut sum, mut product) = (0.0, 0.0);
                x.each_pixel(|n, row, column| {
                    let slope = masked(n, row, column, c);
                    sum += slope;
                    product += slope * (x.at(n, row, column, c) - mean) * inverse;
                });
                all.push([mean, inverse, sum / pixels, product / pixels]);
                let start = if add { 0.5 } else { 0.0 };
                for (found, sum) in [(of_beta[c], sum), (of_gamma[c], product)] {
                    let error = (f64::from(found) - sum - start).abs() / pixels;
                    worst[0] = worst[0].max(error);
                    assert!(error < 1e-5, "{what}: {found}, not {}", sum + start);
                }
            }
            let found = if apart { &of_x } else { &slope };
            // Two positions that are nearly alike have a large factor, and with it large gradients.
            let largest = all
                .iter()
                .fold(1.0f64, |most, [_, inverse, ..]| most.max(*inverse));
            let error = found.compare(2e-5 * largest, &what, |n, row, column, c| {
                let [mean, inverse, sum, product] = all[c];
                let unit = (x.at(n, row, column, c) - mean) * inverse;
                let own = masked(n, row, column, c) - sum - unit * product;
                own * inverse * f64::from(norm.gamma[c])
            });
            worst[1] = worst[1].max(error / largest);
        }
        println!("{level:?}: worst errors {worst:?}");
    });
}

#[test]
fn layer_norm_has_its_gradients() {
    at_every_level(|level, random| {
        let mut worst = [0.0f64; 2];
        for round in 0..60 {
            let mut shape = shape(random);
            shape[3] = random.of(&[5, 16, 17, 32, 96, 100, 192]);
            let x = uneven(random, shape);
            let gamma = random.floats(shape[3]);
            let slope = Maps::random(random, shape);
            let mut of_x = Maps::output(random, shape);
            let add = round % 3 == 0;
            let start = if add { 0.5 } else { f32::NAN };
            let (mut of_gamma, mut of_beta) = (vec![start; shape[3]], vec![start; shape[3]]);
            let parameters = AffineSlopes {
                of_scale: &mut of_gamma,
                of_shift: &mut of_beta,
                add,
            };
            layer_norm_slopes(
                x.view(),
                &gamma,
                EPSILON as f32,
                slope.view(),
                (round % 4 > 0).then(|| of_x.view_mut()),
                (round % 4 < 3).then_some(parameters),
            );
            // Mean and factor of a row, and the means of slope · gamma and of slope · gamma · normalised x.
            let count = shape[3] as f64;
            let row = |n, row, column| {
                let x = &x;
                let values = || (0..shape[3]).map(move |c| (c, x.at(n, row, column, c)));
                let mean = values().map(|(_, x)| x).sum::<f64>() / count;
                let variance = values().map(|(_, x)| (x - mean).powi(2)).sum::<f64>() / count;
                let inverse = 1.0 / (variance + EPSILON).sqrt();
                let (mut sum, mut product) = (0.0, 0.0);
                for (c, x) in values() {
                    let slope = slope.at(n, row, column, c) * f64::from(gamma[c]);
                    sum += slope / count;
                    product += slope * (x - mean) * inverse / count;
                }
                [mean, inverse, sum, product]
            };
            let mut sums = vec![[if add { 0.5 } else { 0.0 }; 2]; shape[3]];
            let mut pixels = 0.0;
            let mut all = Vec::new();
            x.each_pixel(|n, y, column| {
                let [mean, inverse, ..] = row(n, y, column);
                all.push(row(n, y, column));
                pixels += 1.0;
                for (c, sums) in sums.iter_mut().enumerate() {
                    let slope = slope.at(n, y, column, c);
                    sums[0] += slope;
                    sums[1] += slope * (x.at(n, y, column, c) - mean) * inverse;
                }
            });
            if round % 4 > 0 {
                let error = of_x.compare(2e-5, &format!("{shape:?}"), |n, y, column, c| {
                    let at = (n * shape[1] + y) * shape[2] + column;
                    let [mean, inverse, sum, product] = all[at];
                    let own = slope.at(n, y, column, c) * f64::from(gamma[c]) - sum;
                    (own - (x.at(n, y, column, c) - mean) * inverse * product) * inverse
                });
                worst[1] = worst[1].max(error);
            }
            if round % 4 < 3 {
                for (c, sums) in sums.iter().enumerate() {
                    for (found, expected) in [(of_beta[c], sums[0]), (of_gamma[c], sums[1])] {
                        let error = (f64::from(found) - expected).abs() / pixels;
                        worst[0] = worst[0].max(error);
                        assert!(error < 1e-6, "{shape:?}: {found}, not {expected}");
                    }
                }
            }
        }
        println!("{level:?}: worst errors {worst:?}");
    });
}

#[test]
fn cores_do_not_change_a_bit() {
    let mut random = Random(7);
    let shape = [3, 60, 61, 40];
    let x = uneven(&mut random, shape);
    let slope = Maps::slopes(&mut random, shape);
    let output = Maps::output(&mut random, shape);
    let kept = Maps::random(&mut random, shape);
    let norm = Norm::of(&mut random, &x);
    in_pools_alike(|| {
        let (mut mean, mut variance) = (vec![0.0; 40], vec![0.0; 40]);
        moments(x.view(), &mut mean, &mut variance);
        let relu = Activation::Relu;
        let mut forwards = output.clone();
        batch_norm(
            x.view(),
            &norm.with(),
            Some(kept.view()),
            relu,
            forwards.view_mut(),
        );
        let mut of_x = slope.clone();
        let mut sums = [const { [0.0; 40] }; 4];
        let [of_scale, of_shift, of_gamma, of_beta] = &mut sums;
        batch_norm_slopes(
            x.view(),
            &norm.with(),
            Some((relu, kept.view())),
            of_x.view_mut(),
            None,
            AffineSlopes {
                of_scale,
                of_shift,
                add: false,
            },
        );
        let mut of_tokens = output.clone();
        let parameters = AffineSlopes {
            of_scale: of_gamma,
            of_shift: of_beta,
            add: false,
        };
        layer_norm_slopes(
            x.view(),
            &norm.gamma,
            1e-5,
            slope.view(),
            Some(of_tokens.view_mut()),
            Some(parameters),
        );
        let maps = [forwards.data, of_x.data, of_tokens.data].concat();
        [mean, variance, sums.concat(), maps].concat()
    });
}

#[test]
fn nan_and_nothing_come_through_norms() {
    at_every_level(|_, random| {
        let mut x = Maps::random(random, [2, 5, 5, 17]);
        x.data[3 * x.pitch + 4] = f32::NAN;
        let norm = Norm::of(random, &x);
        let alone = |values: &[f32]| {
            let nan = values.iter().enumerate().filter(|(_, x)| x.is_nan());
            nan.map(|(at, _)| at).collect::<Vec<_>>() == [4]
        };
        assert!(alone(&norm.mean) && alone(&norm.variance));
        let mut output = Maps::output(random, x.shape);
        batch_norm(
            x.view(),
            &norm.with(),
            None,
            Activation::Relu,
            output.view_mut(),
        );
        let mut slope = Maps::slopes(random, x.shape);
        let (mut of_gamma, mut of_beta) = ([0.0; 17], [0.0; 17]);
        let parameters = AffineSlopes {
            of_scale: &mut of_gamma,
            of_shift: &mut of_beta,
            add: false,
        };
        let output = Some((Activation::Relu, output.view()));
        batch_norm_slopes(
            x.view(),
            &norm.with(),
            output,
            slope.view_mut(),
            None,
            parameters,
        );
        assert!(alone(&of_gamma) && alone(&of_beta));
        x.each_pixel(|n, y, column| {
            (0..17).for_each(|c| assert_eq!(slope.at(n, y, column, c).is_nan(), c == 4));
        });
    });
    let empty = Maps {
        data: Vec::new(),
        shape: [0, 4, 4, 3],
        pitch: 3,
    };
    let norm = Norm::of(&mut Random(3), &empty);
    assert!(norm.mean.iter().chain(&norm.variance).all(|x| x.is_nan()));
    batch_norm(
        empty.view(),
        &norm.with(),
        None,
        Activation::None,
        empty.clone().view_mut(),
    );
    let mut sums = [[UNTOUCHED; 3]; 2];
    let [of_scale, of_shift] = &mut sums;
    let parameters = AffineSlopes {
        of_scale,
        of_shift,
        add: false,
    };
    layer_norm_slopes(
        empty.view(),
        &[1.0; 3],
        1e-5,
        empty.view(),
        None,
        Some(parameters),
    );
    assert_eq!(sums, [[0.0; 3]; 2]);
}
