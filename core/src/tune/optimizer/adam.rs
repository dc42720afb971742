//! Adam's step, which AdamW shares.

use super::number::Number;
use super::rule::{Pace, Rule, decayed};

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

/// The two moments of a gradient, and what makes up for their start at zero.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    betas: [f64; 2],
    eps: f32,
    /// What the first moment is multiplied by.
    of_first: f64,
    /// What the root of the second is multiplied by.
    of_root: f32,
}

impl Moments {
    /// Those of a step; a schedule may change the first of the betas.
    pub(super) fn new([first, second]: [f64; 2], eps: f64, pace: Pace) -> Self {
        let first = pace.momentum.unwrap_or(first);
        let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(pace.step).unwrap_or(i32::MAX));
        Self {
            betas: [first, second],
            eps: eps as f32,
            of_first: 1.0 / correction(first),
            of_root: (1.0 / correction(second).sqrt()) as f32,
        }
    }

    /// Takes a gradient in.
    #[inline(always)]
    pub(super) fn follow<N: Number>(&self, gradient: N, [first, second]: &mut [N; 2]) {
        let square = gradient.clone().by(gradient.clone());
        *first = first.clone().towards(gradient, 1.0 - self.betas[0]);
        *second = second.clone().towards(square, 1.0 - self.betas[1]);
    }

    /// So many times the first over the root of the second, but for the correction of the first.
    #[inline(always)]
    pub(super) fn direction<N: Number>(&self, times: f64, [first, second]: &[N; 2]) -> N {
        let root = second.clone().root().times(self.of_root).and(self.eps);
        first
            .clone()
            .times((times * self.of_first) as f32)
            .over(root)
    }
}

/// Adam, whose decay is part of the gradient.
pub(super) struct Adam {
    pub(super) moments: Moments,
    pub(super) pace: Pace,
}

impl Rule<2> for Adam {
    #[inline(always)]
    fn step<N: Number>(&self, value: N, gradient: N, slots: &mut [N; 2]) -> N {
        let gradient = decayed(gradient, &value, self.pace.decay);
        self.moments.follow(gradient, slots);
        value.minus(self.moments.direction(self.pace.rate, slots))
    }
}

/// AdamW, whose decay is taken off beside it.
pub(super) struct AdamW {
    pub(super) moments: Moments,
    pub(super) pace: Pace,
}

impl Rule<2> for AdamW {
    #[inline(always)]
    fn step<N: Number>(&self, value: N, gradient: N, slots: &mut [N; 2]) -> N {
        let value = value.times((1.0 - self.pace.rate * self.pace.decay) as f32);
        self.moments.follow(gradient, slots);
        value.minus(self.moments.direction(self.pace.rate, slots))
    }
}
