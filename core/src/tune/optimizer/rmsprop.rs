//! RMSprop's step.

use super::number::Number;
use super::rule::{Pace, Rule, decayed};

/// PyTorch's default.
pub(super) const fn alpha() -> f64 {
    0.99
}

/// The slots are the mean square, the mean if it is taken off, and the velocity.
pub(super) struct RmsProp {
    pub(super) alpha: f64,
    pub(super) eps: f64,
    pub(super) momentum: f64,
    pub(super) pace: Pace,
}

impl<const SLOTS: usize> Rule<SLOTS> for RmsProp {
    #[inline(always)]
    fn step<N: Number>(&self, value: N, gradient: N, slots: &mut [N; SLOTS]) -> N {
        let Some((square, rest)) = slots.split_first_mut() else {
            unreachable!("RMSprop keeps mean squares")
        };
        let gradient = decayed(gradient, &value, self.pace.decay);
        let now = gradient.clone().by(gradient.clone());
        *square = square.clone().towards(now, 1.0 - self.alpha);
        let spread = match rest {
            [mean, _] => {
                *mean = mean.clone().towards(gradient.clone(), 1.0 - self.alpha);
                let of_mean = mean.clone().by(mean.clone());
                square.clone().minus(of_mean)
            }
            _ => square.clone(),
        };
        let scaled = gradient.over(spread.root().and(self.eps as f32));
        let momentum = self.pace.momentum.unwrap_or(self.momentum) as f32;
        let direction = match rest {
            [.., velocity] => {
                *velocity = velocity.clone().times(momentum).plus(scaled);
                velocity.clone()
            }
            [] => scaled,
        };
        value.minus(direction.times(self.pace.rate as f32))
    }
}
