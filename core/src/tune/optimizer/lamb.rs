//! LAMB's step, in two parts: where to, and how far.

#[cfg(feature = "burn")]
use burn::tensor::Tensor;

use super::adam::Moments;
use super::number::Number;
use super::rule::{Pace, Rule};

/// timm's default.
pub(super) const fn eps() -> f64 {
    1e-6
}

/// Where to: Adam's direction, and the decay.
pub(super) struct Lamb {
    pub(super) moments: Moments,
    pub(super) pace: Pace,
}

impl Rule<2> for Lamb {
    #[inline(always)]
    fn step<N: Number>(&self, value: N, gradient: N, slots: &mut [N; 2]) -> N {
        self.moments.follow(gradient, slots);
        let direction = self.moments.direction(1.0, slots);
        match self.pace.decay {
            0.0 => direction,
            decay => direction.plus(value.times(decay as f32)),
        }
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
