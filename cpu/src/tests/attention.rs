//! Attention.

use super::{Maps, at_every_level};
use crate::{AttentionShape, attention};

#[test]
fn attention_of_random_shapes_matches_its_definition() {
    at_every_level(|level, random| {
        let mut worst = 0.0f64;
        for _ in 0..100 {
            let windows = 1 + random.below(4);
            let tokens = random.of(&[1, 2, 5, 16, 49, 50, 64, 131]);
            let heads = 1 + random.below(4);
            let depth = random.of(&[1, 3, 8, 16, 24, 32, 64]);
            let mask_windows = random.of(&[1, windows]);
            let square = tokens * tokens;
            let cosine = (random.below(3) == 0).then(|| random.floats(heads));
            let bias = (random.below(2) == 0).then(|| random.floats(heads * square));
            let mask = (random.below(2) == 0).then(|| {
                let masked = |random: &mut super::Random| random.of(&[0.0, 0.0, -100.0]);
                (0..mask_windows * square)
                    .map(|_| masked(random))
                    .collect::<Vec<f32>>()
            });
            let shape = AttentionShape {
                windows,
                tokens,
                heads,
                depth,
                per_head: random.below(2) == 0,
                scale: 1.0 / (depth as f32).sqrt(),
                cosine: cosine.as_deref(),
                bias: bias.as_deref(),
                mask: mask.as_deref(),
                mask_windows,
            };
            let width = heads * depth;
            let qkv = random.floats(windows * tokens * 3 * width);
            let mut output = Maps {
                data: vec![f32::NAN; windows * tokens * width],
                shape: [windows, 1, tokens, width],
                pitch: width,
            };
            attention(&shape, &qkv, &mut output.data);

            let vector = |window: usize, token: usize, head: usize, part: usize| -> Vec<f64> {
                let within = if shape.per_head {
                    (head * 3 + part) * depth
                } else {
                    (part * heads + head) * depth
                };
                let start = (window * tokens + token) * 3 * width + within;
                qkv[start..start + depth]
                    .iter()
                    .map(|&x| f64::from(x))
                    .collect()
            };
            let unit = |v: Vec<f64>| -> Vec<f64> {
                let length = v.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
                v.iter().map(|x| x / length).collect()
            };
            let mut expected = vec![0.0; output.data.len()];
            for window in 0..windows {
                for head in 0..heads {
                    for token in 0..tokens {
                        let query = vector(window, token, head, 0);
                        let scores: Vec<f64> = (0..tokens)
                            .map(|other| {
                                let key = vector(window, other, head, 1);
                                let (query, key, scale) = match shape.cosine {
                                    Some(factors) => {
                                        (unit(query.clone()), unit(key), factors[head])
                                    }
                                    None => (query.clone(), key, shape.scale),
                                };
                                let score: f64 = query.iter().zip(&key).map(|(q, k)| q * k).sum();
                                let at = token * tokens + other;
                                let of = |m: Option<&[f32]>, i: usize| {
                                    m.map_or(0.0, |m| f64::from(m[i * square + at]))
                                };
                                score * f64::from(scale)
                                    + of(shape.bias, head)
                                    + of(shape.mask, window % mask_windows)
                            })
                            .collect();
                        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                        let powers: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
                        let sum: f64 = powers.iter().sum();
                        for (other, power) in powers.iter().enumerate() {
                            let value = vector(window, other, head, 2);
                            for (c, value) in value.iter().enumerate() {
                                expected[(window * tokens + token) * width + head * depth + c] +=
                                    power / sum * value;
                            }
                        }
                    }
                }
            }
            let error = output.compare(1e-5, "attention", |n, _, x, c| {
                expected[(n * tokens + x) * width + c]
            });
            worst = worst.max(error);
        }
        println!("{level:?}: worst error {worst:e}");
    });
}
