//! Stochastic gradient descent's step.

use super::{Number, Pace};

/// With gradient `g` and momentum `μ`: `v ← μ·v + g`, `w ← w − rate·v`; Nesterov moves by `g + μ·v` instead.
pub(super) fn step<N: Number>(
    momentum: f64,
    nesterov: bool,
    pace: Pace,
    value: N,
    gradient: N,
    slots: &mut [N],
) -> N {
    let direction = match slots {
        [] => gradient,
        [velocity, ..] => {
            *velocity = velocity
                .clone()
                .times(momentum as f32)
                .plus(gradient.clone());
            match nesterov {
                true => gradient.plus(velocity.clone().times(momentum as f32)),
                false => velocity.clone(),
            }
        }
    };
    value.minus(direction.times(pace.rate as f32))
}
