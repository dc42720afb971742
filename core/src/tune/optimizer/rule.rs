//! A rule at a step, and what it is given.

use super::number::Number;

/// What a step needs to know of one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The learning rate.
    pub rate: f64,
    /// The weight decay: the optimiser's, or 0.
    pub decay: f64,
    /// The steps that the parameter has taken, this one counted.
    pub step: u64,
    /// The momentum, or the first of the betas, where a schedule changes it.
    pub momentum: Option<f64>,
}

/// A rule at a step: how a number moves of which so many slots are kept.
pub(super) trait Rule<const SLOTS: usize>: Sync {
    fn step<N: Number>(&self, value: N, gradient: N, slots: &mut [N; SLOTS]) -> N;
}

/// What is done with a rule.
pub(super) trait Work {
    type Made;
    fn with<const SLOTS: usize>(self, rule: &impl Rule<SLOTS>) -> Self::Made;
}

/// A gradient with the decay in it, as all optimisers but those with a decay of their own take it.
#[inline(always)]
pub(super) fn decayed<N: Number>(gradient: N, value: &N, decay: f64) -> N {
    match decay {
        0.0 => gradient,
        decay => gradient.plus(value.clone().times(decay as f32)),
    }
}
