//! LAMB's step, in two parts: where to, and how far.

#[cfg(feature = "burn")]
use burn::tensor::Tensor;

use super::adam::follow;
use super::{Number, Pace};

/// timm's default.
pub(super) const fn eps() -> f64 {
    1e-6
}

/// Where to: Adam's direction, and the decay.
pub(super) fn direction<N: Number>(
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
    let mean = first.clone().times((1.0 / of_first) as f32);
    let direction = mean.over(root.and(eps as f32));
    match pace.decay {
        0.0 => direction,
        decay => direction.plus(value.times(decay as f32)),
    }
}

/// How far, in learning rates: as the parameter is long beside the direction; one of them may be zero. Parameters
/// without decay go as far as Adam's.
#[cfg(feature = "burn")]
pub(crate) fn trust(parameter: Tensor<1>, direction: Tensor<1>) -> Tensor<1> {
    let either = parameter
        .clone()
        .equal_elem(0.0)
        .bool_or(direction.clone().equal_elem(0.0));
    (parameter / direction).mask_fill(either, 1.0)
}
