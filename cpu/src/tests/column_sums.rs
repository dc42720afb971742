//! Gradients of biases.

use super::{Maps, Random, at_every_level};
use crate::column_sums;

fn sums(maps: &Maps, before: Option<&[f32]>) -> Vec<f32> {
    let mut sums = before.map_or_else(|| vec![f32::NAN; maps.shape[3]], <[f32]>::to_vec);
    column_sums(maps.view(), &mut sums, before.is_some());
    sums
}

#[test]
fn sums_of_channels_match_their_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for index in 0..60 {
            let shape = match index {
                0 => [1, 1, 100_000, 5],
                _ => [
                    random.below(4),
                    1 + random.below(40),
                    1 + random.below(40),
                    random.of(&[1, 2, 3, 16, 17, 33, 64, 100]),
                ],
            };
            let maps = Maps::random(random, shape);
            let before = (random.below(2) == 0).then(|| random.floats(shape[3]));
            for (c, ours) in sums(&maps, before.as_deref()).iter().enumerate() {
                let start = before.as_ref().map_or(0.0, |before| f64::from(before[c]));
                let (mut sum, mut size) = (start, start.abs());
                for pixel in 0..shape[..3].iter().product() {
                    let value = f64::from(maps.data[pixel * maps.pitch + c]);
                    sum += value;
                    size += value.abs();
                }
                let error = (f64::from(*ours) - sum).abs() / size.max(1e-30);
                assert!(error < 1e-6, "{shape:?} channel {c}: {ours}, not {sum}");
                worst = worst.max(error);
            }
        }
        println!("{level:?}: worst error {worst:e}");
    });
}

#[test]
fn sums_of_channels_do_not_depend_on_threads_and_carry_nan() {
    let mut maps = Maps::random(&mut Random(3), [3, 97, 101, 19]);
    let last = maps.data.len() - maps.pitch + 7;
    maps.data[last] = f32::NAN;
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(|| sums(&maps, None))
    });
    let bits = |sums: &[f32]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&one), bits(&three));
    for (channel, sum) in one.iter().enumerate() {
        assert_eq!(sum.is_nan(), channel == 7);
    }
}
