//! LAMB's step, in two parts: where to, and how far.

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

/// The parameter moved there. How far, in learning rates: as it is long beside the direction, given the squares of both
/// lengths; one of them may be zero. Parameters without decay go as far as Adam's.
pub(super) fn moved<N: Number>(value: N, direction: N, pace: Pace, lengths: Option<[N; 2]>) -> N {
    let rate = pace.rate as f32;
    value.minus(match lengths {
        Some([parameter, of_direction]) => {
            let trust = parameter.root().ratio(of_direction.root());
            direction.by(trust.times(rate))
        }
        None => direction.times(rate),
    })
}
