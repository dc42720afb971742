//! RMSprop's step.

use super::{Number, Pace};

/// PyTorch's default.
pub(super) const fn alpha() -> f64 {
    0.99
}

/// The slots are the mean square, the mean if it is taken off, and the velocity.
pub(super) fn step<N: Number>(
    [alpha, eps, momentum]: [f64; 3],
    pace: Pace,
    value: N,
    gradient: N,
    slots: &mut [N],
) -> N {
    let Some((square, rest)) = slots.split_first_mut() else {
        unreachable!("RMSprop keeps mean squares")
    };
    let now = gradient.clone().by(gradient.clone());
    *square = square.clone().towards(now, 1.0 - alpha);
    let spread = match rest {
        [mean, _] => {
            *mean = mean.clone().towards(gradient.clone(), 1.0 - alpha);
            let of_mean = mean.clone().by(mean.clone());
            square.clone().minus(of_mean)
        }
        _ => square.clone(),
    };
    let scaled = gradient.over(spread.root().and(eps as f32));
    let direction = match rest {
        [.., velocity] => {
            *velocity = velocity.clone().times(momentum as f32).plus(scaled);
            velocity.clone()
        }
        [] => scaled,
    };
    value.minus(direction.times(pace.rate as f32))
}
