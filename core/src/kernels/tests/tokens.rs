//! Layer norm and attention.

use super::{compare, everywhere, numbers, pick, read, tensor};
use crate::kernels::{attention, layer_norm};

#[test]
fn layer_norms_are_right() {
    everywhere(21, |random, device| {
        let (rows, columns) = (
            pick(random, &[1, 2, 7, 50]),
            pick(random, &[1, 3, 32, 97, 600]),
        );
        // Far from zero: the mean must be taken off before anything is squared.
        let x: Vec<f32> = numbers(random, rows * columns)
            .iter()
            .map(|x| x + 9.0)
            .collect();
        let (gamma, beta) = (numbers(random, columns), numbers(random, columns));
        let epsilon = 1e-5;
        let mut truth = Vec::new();
        for row in x.chunks(columns) {
            let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
            let mean = row.iter().sum::<f64>() / columns as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / columns as f64;
            let unit = |x: f64| (x - mean) / (variance + epsilon).sqrt();
            truth.extend(
                row.iter().enumerate().map(|(column, x)| {
                    unit(*x) * f64::from(gamma[column]) + f64::from(beta[column])
                }),
            );
        }
        let found = layer_norm(
            tensor(&x, [1, 1, rows, columns], device),
            tensor(&gamma, [columns], device),
            tensor(&beta, [columns], device),
            epsilon,
        );
        compare(&format!("{rows}×{columns}"), &read(found), &truth);
    });
}

#[test]
fn attention_is_right() {
    everywhere(22, |random, device| {
        let (sequences, tokens) = (pick(random, &[1, 2, 3]), pick(random, &[1, 2, 5, 17, 50]));
        let (heads, depth) = (pick(random, &[1, 2, 3]), pick(random, &[4, 8, 20, 32, 6]));
        let width = 3 * heads * depth;
        let packed: Vec<f32> = numbers(random, sequences * tokens * width)
            .iter()
            .map(|x| 3.0 * x)
            .collect();
        let bias = numbers(random, heads * tokens * tokens);
        let has_bias = random.below(2) == 1;
        let at = |sequence: usize, token: usize, which: usize, head: usize, number: usize| {
            let row = (sequence * tokens + token) * width;
            f64::from(packed[row + (which * heads + head) * depth + number])
        };
        let mut truth = Vec::new();
        for index in 0..sequences * tokens * heads {
            let (sequence, query, head) = (
                index / (tokens * heads),
                index / heads % tokens,
                index % heads,
            );
            let scores: Vec<f64> = (0..tokens)
                .map(|key| {
                    let products = (0..depth)
                        .map(|n| at(sequence, query, 0, head, n) * at(sequence, key, 1, head, n));
                    let score = products.sum::<f64>() / (depth as f64).sqrt();
                    let bias = f64::from(bias[(head * tokens + query) * tokens + key]);
                    if has_bias { score + bias } else { score }
                })
                .collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let sum: f64 = weights.iter().sum();
            truth.extend((0..depth).map(|n| {
                let values = (0..tokens).map(|key| weights[key] * at(sequence, key, 2, head, n));
                values.sum::<f64>() / sum
            }));
        }
        let found = attention(
            tensor(&packed, [sequences, tokens, width], device),
            heads,
            has_bias.then(|| tensor(&bias, [heads, tokens, tokens], device)),
        );
        let what = format!("{sequences}×{tokens}×{heads}×{depth}, bias {has_bias}");
        compare(&what, &read(found), &truth);
    });
}
