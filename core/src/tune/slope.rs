//! How far answers are off, and which way they would be less so, on the host.

use super::engine::{Goal, Loss};

/// A batch's part of a step's loss, and its gradient by the answers, `[N, answers]`. Sums are taken in 64 bits.
pub(super) fn loss(answers: &[f32], goal: &Goal) -> (f32, Vec<f32>) {
    let width = goal.answers.max(1);
    let mut slope = vec![0.0; answers.len()];
    let mut sum = 0.0;
    let rows = answers
        .chunks_exact(width)
        .zip(slope.chunks_exact_mut(width));
    for (row, (answers, slope)) in rows.enumerate() {
        let range = row * width..(row + 1) * width;
        let wanted = &goal.wanted[range.clone()];
        sum += match goal.loss {
            Loss::CrossEntropy => cross_entropy(answers, wanted, goal.share, slope),
            _ => {
                let counts = goal.counts.as_ref().map(|counts| &counts[range]);
                one_by_one(answers, wanted, counts, goal, slope)
            }
        };
    }
    ((sum * goal.share) as f32, slope)
}

/// `−Σ t·log softmax(x)` of one example.
fn cross_entropy(answers: &[f32], wanted: &[f32], share: f64, slope: &mut [f32]) -> f64 {
    let largest = answers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = answers.iter().map(|&x| f64::from(x - largest).exp());
    let total: f64 = powers.sum();
    let weight: f64 = wanted.iter().copied().map(f64::from).sum();
    let mut sum = 0.0;
    for ((&x, &t), slope) in answers.iter().zip(wanted).zip(slope) {
        let log = f64::from(x - largest) - total.ln();
        let t = f64::from(t);
        sum -= t * log;
        *slope = ((log.exp() * weight - t) * share) as f32;
    }
    sum
}

/// Losses of which each answer has one of its own.
fn one_by_one(
    answers: &[f32],
    wanted: &[f32],
    counts: Option<&[f32]>,
    goal: &Goal,
    slope: &mut [f32],
) -> f64 {
    let mut sum = 0.0;
    for (at, slope) in slope.iter_mut().enumerate() {
        let (x, t) = (f64::from(answers[at]), f64::from(wanted[at]));
        let (term, by_x) = match goal.loss {
            Loss::BinaryCrossEntropy => {
                let count = counts.map_or(1.0, |counts| f64::from(counts[at]));
                let absent = x.max(0.0) + (-x.abs()).exp().ln_1p();
                (absent * count - x * t, count / (1.0 + (-x).exp()) - t)
            }
            Loss::Huber { delta } => {
                let distance = (x - t).abs();
                let near = distance.min(delta);
                let term = near * near * 0.5 + (distance - near) * delta;
                (term, (x - t).clamp(-delta, delta))
            }
            Loss::MeanSquare | Loss::CrossEntropy => ((x - t).powi(2), 2.0 * (x - t)),
        };
        sum += term;
        *slope = (by_x * goal.share) as f32;
    }
    sum
}
