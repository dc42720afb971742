//! Group normalisation.

use super::{Maps, apply, at_every_level};
use crate::group_norm;

#[test]
fn group_norm_matches_its_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..100 {
            let groups = random.of(&[1, 2, 3, 8, 32]);
            let share = random.of(&[1, 2, 3, 5, 8]);
            // More pixels than are summed at a time, and fewer.
            let sides = [1, 3, 8, 13, 20];
            let shape = [
                1 + random.below(3),
                random.of(&sides),
                random.of(&sides),
                groups * share,
            ];
            let mut input = Maps::random(random, shape);
            let offset = random.of(&[0.0, 3.0, -10.0]);
            input.data.iter_mut().for_each(|x| *x += offset);
            // Channels of a group that lie apart.
            let pitch = input.pitch;
            let apart = input.data.iter_mut().enumerate();
            apart.for_each(|(at, x)| *x += (at % pitch % 3) as f32);
            let (gamma, beta) = (random.floats(shape[3]), random.floats(shape[3]));
            let activation = random.activation();
            let mut output = Maps::output(random, shape);
            group_norm(
                input.view(),
                groups,
                &gamma,
                &beta,
                1e-2,
                activation,
                output.view_mut(),
            );
            let count = (shape[1] * shape[2] * share) as f64;
            let over_group = |n: usize, group: usize, of: &dyn Fn(f64) -> f64| {
                let mut sum = 0.0;
                for pixel in 0..shape[1] * shape[2] {
                    for c in group * share..(group + 1) * share {
                        sum += of(input.at(n, pixel / shape[2], pixel % shape[2], c));
                    }
                }
                sum / count
            };
            let statistics: Vec<(f64, f64)> = (0..shape[0] * groups)
                .map(|at| {
                    let (n, group) = (at / groups, at % groups);
                    let mean = over_group(n, group, &|x| x);
                    let variance = over_group(n, group, &|x| (x - mean).powi(2));
                    (mean, 1.0 / (variance + 1e-2).sqrt())
                })
                .collect();
            let what = format!("{shape:?} in {groups} groups, {activation:?}");
            worst = worst.max(output.compare(3e-5, &what, |n, y, x, c| {
                let (mean, inverse) = statistics[n * groups + c / share];
                let unit = (input.at(n, y, x, c) - mean) * inverse;
                apply(activation, unit * f64::from(gamma[c]) + f64::from(beta[c]))
            }));
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

/// A sum over that many numbers in f32 alone would be off by some percent.
#[test]
fn a_group_of_many_numbers_far_from_zero_keeps_its_variance() {
    at_every_level(|_, random| {
        let mut input = Maps::random(random, [1, 160, 160, 4]);
        input.data.iter_mut().for_each(|x| *x += 100.0);
        let mut output = Maps::output(random, input.shape);
        let (gamma, beta) = ([1.0; 4], [0.0; 4]);
        let none = crate::Activation::None;
        group_norm(
            input.view(),
            1,
            &gamma,
            &beta,
            1e-5,
            none,
            output.view_mut(),
        );
        let all = || (0..160 * 160 * 4).map(|at| input.at(0, at / 640, at / 4 % 160, at % 4));
        let count = 160.0 * 160.0 * 4.0;
        let mean = all().sum::<f64>() / count;
        let variance = all().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        output.compare(1e-4, "far from zero", |_, y, x, c| {
            (input.at(0, y, x, c) - mean) / (variance + 1e-5).sqrt()
        });
    });
}
