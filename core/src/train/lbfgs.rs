//! L-BFGS: minimises a smooth function of many variables from its values and gradients.
//!
//! The two-loop recursion and the strong-Wolfe line search follow Nocedal and Wright, *Numerical
//! Optimization* (2nd edition, 2006), algorithms 7.4, 3.5 and 3.6. Near the optimum, where
//! differences of values drown in rounding, a step is also accepted on its slopes alone, by the
//! approximate Wolfe conditions of Hager and Zhang (SIAM J. Optim. 16, 2005).
//!
//! The solver is a state machine: one [`Lbfgs::step`] is one iteration, and a solver restored from
//! [`Lbfgs::state`] goes on bit for bit as the interrupted one would have. All sums run in a fixed
//! order, so where the objective repeats exactly, the whole solve does.

mod exact;
mod line_search;
#[cfg(test)]
mod tests;

use line_search::{Search, Trial, search};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Iterations without progress in a row that end the solve.
const MAX_FLAT: u32 = 3;

/// When to stop, and how much to remember.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LbfgsOptions {
    /// Pairs of steps and gradient changes kept to model the curvature. More pairs mean fewer
    /// iterations and more memory, `2 · memory` vectors of the variables' length.
    pub memory: usize,
    /// Iterations after which to give up.
    pub max_iterations: usize,
    /// Converged once the gradient's largest entry is at most this times the objective's size,
    /// `max(|f|, scale)`.
    pub gradient_tolerance: f64,
    /// An iteration that lowers the objective by no more than this times its size made no progress.
    pub value_tolerance: f64,
    /// The objective's size near zero, below which relative tolerances become absolute.
    pub scale: f64,
}

impl Default for LbfgsOptions {
    fn default() -> Self {
        Self {
            memory: 10,
            max_iterations: 1000,
            gradient_tolerance: 1e-8,
            value_tolerance: 1e-16,
            scale: 1.0,
        }
    }
}

/// Where a solve stands after an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// There is more to gain.
    Running,
    /// The gradient has vanished: this is a stationary point.
    Converged,
    /// Arithmetic precision is exhausted: no step lowers the objective further.
    NoProgress,
    /// The iteration limit came first.
    IterationLimit,
}

impl Status {
    /// Whether further steps would change nothing.
    pub fn is_done(self) -> bool {
        self != Self::Running
    }
}

/// Why a solve cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LbfgsError {
    /// The objective or its gradient is infinite or not a number, and no shorter step avoids that.
    #[error(
        "the objective is not finite at iteration {iteration} (help: look for infinite or \
         missing values in the data, or values so large that they overflow)"
    )]
    NonFinite {
        /// Iterations completed before.
        iteration: usize,
    },
    /// A saved state contradicts itself or the problem it is restored for.
    #[error("this saved solver state does not fit: {0} (help: start the solve afresh)")]
    State(&'static str),
}

/// All that a solve depends on, besides its options and objective. Numbers are stored by their
/// bits, so any format brings them back exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LbfgsState {
    #[serde(with = "exact")]
    point: Vec<f64>,
    /// Value and gradient at `point`; none before the first step.
    here: Option<Evaluation>,
    /// Oldest first.
    pairs: Vec<Pair>,
    iteration: usize,
    evaluations: usize,
    flat: u32,
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Evaluation {
    #[serde(with = "exact::one")]
    value: f64,
    #[serde(with = "exact")]
    gradient: Vec<f64>,
}

/// One observation of the curvature along a step: `change ≈ Hessian · step`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair {
    #[serde(with = "exact")]
    step: Vec<f64>,
    #[serde(with = "exact")]
    change: Vec<f64>,
    /// `step · change`, above zero.
    #[serde(with = "exact::one")]
    curvature: f64,
}

/// A minimisation under way.
#[derive(Clone, Debug)]
pub struct Lbfgs {
    options: LbfgsOptions,
    state: LbfgsState,
}

impl Lbfgs {
    /// A solve that starts at `start`.
    pub fn new(start: Vec<f64>, options: LbfgsOptions) -> Self {
        let state = LbfgsState {
            point: start,
            here: None,
            pairs: Vec::new(),
            iteration: 0,
            evaluations: 0,
            flat: 0,
            status: Status::Running,
        };
        Self { options, state }
    }

    /// Takes up a solve where [`Lbfgs::state`] left it; give it the same options and objective.
    ///
    /// # Errors
    /// If the state's parts do not fit each other or hold numbers that are not finite.
    pub fn restore(state: LbfgsState, options: LbfgsOptions) -> Result<Self, LbfgsError> {
        let n = state.point.len();
        let fits = |values: &[f64]| values.len() == n && values.iter().all(|v| v.is_finite());
        if !fits(&state.point) {
            return Err(LbfgsError::State("a variable is not finite"));
        }
        if let Some(here) = &state.here
            && !(here.value.is_finite() && fits(&here.gradient))
        {
            return Err(LbfgsError::State("its gradient does not fit its variables"));
        }
        let sound = |p: &Pair| {
            fits(&p.step) && fits(&p.change) && p.curvature.is_finite() && p.curvature > 0.0
        };
        if !state.pairs.iter().all(sound) {
            return Err(LbfgsError::State("its history does not fit its variables"));
        }
        if state.pairs.len() > options.memory {
            return Err(LbfgsError::State(
                "its history is longer than the options allow",
            ));
        }
        Ok(Self { options, state })
    }

    /// All that is needed to [`restore`](Lbfgs::restore) this solve.
    pub fn state(&self) -> LbfgsState {
        self.state.clone()
    }

    /// The best point so far.
    pub fn point(&self) -> &[f64] {
        &self.state.point
    }

    /// The objective there; none before the first step.
    pub fn value(&self) -> Option<f64> {
        self.state.here.as_ref().map(|here| here.value)
    }

    /// The gradient there; none before the first step.
    pub fn gradient(&self) -> Option<&[f64]> {
        self.state
            .here
            .as_ref()
            .map(|here| here.gradient.as_slice())
    }

    /// Iterations completed.
    pub fn iteration(&self) -> usize {
        self.state.iteration
    }

    /// Times the objective was evaluated.
    pub fn evaluations(&self) -> usize {
        self.state.evaluations
    }

    /// Where the solve stands.
    pub fn status(&self) -> Status {
        self.state.status
    }

    /// Does one iteration; nothing once the solve is done.
    ///
    /// `objective` gets a point, fills in the gradient there and returns the value.
    ///
    /// # Errors
    /// If the objective is not finite at the start, or at every trial point however near. The
    /// solve then stays at its best point and may be read, saved or stepped again.
    pub fn step(
        &mut self,
        mut objective: impl FnMut(&[f64], &mut [f64]) -> f64,
    ) -> Result<Status, LbfgsError> {
        if self.state.status.is_done() {
            return Ok(self.state.status);
        }
        let here = match self.state.here.take() {
            Some(here) => here,
            None => self.first(&mut objective)?,
        };
        let result = self.iterate(&here, &mut objective);
        let Ok(Some(next)) = result else {
            self.state.here = Some(here);
            return result.map(|_| self.state.status);
        };
        self.advance(here, next);
        Ok(self.state.status)
    }

    /// The value and gradient of the start.
    fn first(
        &mut self,
        objective: &mut impl FnMut(&[f64], &mut [f64]) -> f64,
    ) -> Result<Evaluation, LbfgsError> {
        let mut gradient = vec![0.0; self.state.point.len()];
        let value = objective(&self.state.point, &mut gradient);
        self.state.evaluations += 1;
        if !value.is_finite() || gradient.iter().any(|g| !g.is_finite()) {
            return Err(LbfgsError::NonFinite { iteration: 0 });
        }
        Ok(Evaluation { value, gradient })
    }

    /// Finds the next point, or says in `status` why there is none.
    fn iterate(
        &mut self,
        here: &Evaluation,
        objective: &mut impl FnMut(&[f64], &mut [f64]) -> f64,
    ) -> Result<Option<Trial>, LbfgsError> {
        if norm_inf(&here.gradient) <= self.options.gradient_tolerance * self.size(here.value) {
            self.state.status = Status::Converged;
            return Ok(None);
        }
        if self.state.iteration >= self.options.max_iterations {
            self.state.status = Status::IterationLimit;
            return Ok(None);
        }
        loop {
            let direction = self.direction(&here.gradient);
            let slope = dot(&direction, &here.gradient);
            let search = if slope < 0.0 && slope.is_finite() {
                let state = &mut self.state;
                search(&state.point, here, &direction, slope, |point, gradient| {
                    state.evaluations += 1;
                    objective(point, gradient)
                })
            } else {
                Search {
                    found: None,
                    any_finite: true,
                }
            };
            if search.found.is_some() {
                return Ok(search.found);
            }
            // A history gone stale can point astray: forget it, and try straight downhill once.
            if !self.state.pairs.is_empty() {
                self.state.pairs.clear();
                continue;
            }
            if !search.any_finite {
                return Err(LbfgsError::NonFinite {
                    iteration: self.state.iteration,
                });
            }
            self.state.status = Status::NoProgress;
            return Ok(None);
        }
    }

    /// Moves to `next`, learns the curvature on the way, and decides whether to go on.
    fn advance(&mut self, here: Evaluation, next: Trial) {
        let state = &mut self.state;
        let step: Vec<f64> = next
            .point
            .iter()
            .zip(&state.point)
            .map(|(a, b)| a - b)
            .collect();
        let change: Vec<f64> = next
            .at
            .gradient
            .iter()
            .zip(&here.gradient)
            .map(|(a, b)| a - b)
            .collect();
        let curvature = dot(&step, &change);
        // Only a clearly positive curvature keeps the modelled Hessian positive definite.
        if curvature > f64::EPSILON * dot(&change, &change) && self.options.memory > 0 {
            if state.pairs.len() == self.options.memory {
                state.pairs.remove(0);
            }
            state.pairs.push(Pair {
                step,
                change,
                curvature,
            });
        }
        state.point = next.point;
        state.iteration += 1;
        let size = next.at.value.abs().max(self.options.scale);
        let gained = here.value - next.at.value;
        state.flat = if gained > self.options.value_tolerance * size {
            0
        } else {
            state.flat + 1
        };
        state.status = if norm_inf(&next.at.gradient) <= self.options.gradient_tolerance * size {
            Status::Converged
        } else if state.flat >= MAX_FLAT {
            Status::NoProgress
        } else if state.iteration >= self.options.max_iterations {
            Status::IterationLimit
        } else {
            Status::Running
        };
        state.here = Some(next.at);
    }

    fn size(&self, value: f64) -> f64 {
        value.abs().max(self.options.scale)
    }

    /// Minus the modelled inverse Hessian times the gradient (two-loop recursion, algorithm 7.4).
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let pairs = &self.state.pairs;
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut weights = vec![0.0; pairs.len()];
        for (pair, weight) in pairs.iter().zip(&mut weights).rev() {
            *weight = dot(&pair.step, &direction) / pair.curvature;
            add_scaled(&mut direction, -*weight, &pair.change);
        }
        let scale = match pairs.last() {
            // Equation 7.20: the curvature along the latest step.
            Some(pair) => pair.curvature / dot(&pair.change, &pair.change),
            // Nothing is known yet: try a step of length one, or less where the slope is gentle.
            None => 1.0 / dot(gradient, gradient).sqrt().max(1.0),
        };
        direction.iter_mut().for_each(|d| *d *= scale);
        for (pair, weight) in pairs.iter().zip(&weights) {
            let correction = weight - dot(&pair.change, &direction) / pair.curvature;
            add_scaled(&mut direction, correction, &pair.step);
        }
        direction
    }
}

/// The inner product, summed in eight interleaved parts: fast, and always in the same order.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a
        .remainder()
        .iter()
        .zip(b.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (a, b) in a.zip(b) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// `target += factor · values`.
fn add_scaled(target: &mut [f64], factor: f64, values: &[f64]) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += factor * value;
    }
}

/// The largest magnitude; not a number where any entry is not.
pub(crate) fn norm_inf(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest: f64, value| {
        if value.is_nan() {
            f64::NAN
        } else {
            largest.max(value.abs())
        }
    })
}
