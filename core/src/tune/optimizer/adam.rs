//! Adam's step, which AdamW shares.

use super::{Number, Pace};

/// PyTorch's defaults.
pub(super) const fn betas() -> [f64; 2] {
    [0.9, 0.999]
}

pub(super) const fn eps() -> f64 {
    1e-8
}

pub(super) const fn decoupled_decay() -> f64 {
    1e-2
}

/// The betas at a step, of which a schedule may change the first.
pub(super) fn with([first, second]: [f64; 2], pace: Pace) -> [f64; 2] {
    [pace.momentum.unwrap_or(first), second]
}

/// The moments with a gradient taken in, and what makes up for their start at zero.
pub(super) fn follow<N: Number>(
    [beta1, beta2]: [f64; 2],
    pace: Pace,
    gradient: N,
    first: &mut N,
    second: &mut N,
) -> [f64; 2] {
    let square = gradient.clone().by(gradient.clone());
    *first = first.clone().towards(gradient, 1.0 - beta1);
    *second = second.clone().towards(square, 1.0 - beta2);
    let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(pace.step).unwrap_or(i32::MAX));
    [correction(beta1), correction(beta2)]
}

pub(super) fn step<N: Number>(
    betas: [f64; 2],
    eps: f64,
    pace: Pace,
    value: N,
    gradient: N,
    first: &mut N,
    second: &mut N,
) -> N {
    let [of_first, of_second] = follow(betas, pace, gradient, first, second);
    let root = second.clone().root().times((1.0 / of_second.sqrt()) as f32);
    let moved = first.clone().over(root.and(eps as f32));
    value.minus(moved.times((pace.rate / of_first) as f32))
}
