//! Stochastic gradient descent's step.

use super::number::Number;
use super::rule::{Pace, Rule, decayed};

/// With gradient `g` and momentum `μ`: `v ← μ·v + g`, `w ← w − rate·v`; Nesterov moves by `g + μ·v` instead. Without
/// momentum there is no slot for `v`, which is then `g`.
pub(super) struct Sgd {
    pub(super) momentum: f64,
    pub(super) nesterov: bool,
    pub(super) pace: Pace,
}

impl<const SLOTS: usize> Rule<SLOTS> for Sgd {
    #[inline(always)]
    fn step<N: Number>(&self, value: N, gradient: N, slots: &mut [N; SLOTS]) -> N {
        let gradient = decayed(gradient, &value, self.pace.decay);
        let momentum = self.pace.momentum.unwrap_or(self.momentum) as f32;
        let direction = match &mut slots[..] {
            [] => gradient,
            [velocity, ..] => {
                *velocity = velocity.clone().times(momentum).plus(gradient.clone());
                match self.nesterov {
                    true => gradient.plus(velocity.clone().times(momentum)),
                    false => velocity.clone(),
                }
            }
        };
        value.minus(direction.times(self.pace.rate as f32))
    }
}
