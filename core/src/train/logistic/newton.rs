//! Truncated Newton: minimises the regression's objective, a piece of work at a time.
//!
//! Each iteration solves for Newton's step by preconditioned conjugate gradients, only as exactly as
//! the quadratic model deserves (Nash and Sofer, *Assessing a search direction within a
//! truncated-Newton method*, Operations Research Letters 9, 1990), and then searches along it. Steps
//! are found with products in f32; values, gradients and the search are in f64, so rounding costs
//! iterations at most, never the optimum.

use serde::{Deserialize, Serialize};

use super::error::LogisticError;
use super::exact;
use super::loss::{Along, Loss, Targets, spread};
use super::options::StopOptions;
use super::space::{Rows, Space, add, dot};

/// Iterations without progress in a row that end the solve.
const MAX_FLAT: u32 = 3;
/// Conjugate gradients of one iteration at most.
const MAX_CONJUGATE: usize = 500;
/// Conjugate gradients stop once their later half gained at most this share of all,
const LOOSE: f64 = 0.2;
/// or this, once the quadratic model has proved right. (A test of the latest alone would take a
/// plateau, of which ill-conditioned problems have many, for the end.)
const TIGHT: f64 = 0.1;
/// Conjugate gradients at least before too little to gain is believed, and half of the most that an
/// earlier iteration took.
const LEAST_CONJUGATE: usize = 8;
/// How much more the objective may curve along some conjugate gradients than along others before the
/// rounding of f32 may hide where there is something to gain,
const MOST_CONDITION: f64 = 1e6;
/// and before it surely does.
const HOPELESS: f64 = 1e8;
/// Trials of one search at most.
const MAX_TRIALS: usize = 40;

/// Where a solve stands after an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// There is more to gain.
    Running,
    /// What is left to gain is below the tolerance.
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

/// The regression as the solver sees it.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) rows: &'a Rows<'a>,
    pub(super) targets: &'a Targets,
    pub(super) space: &'a Space,
    pub(super) stop: &'a StopOptions,
}

/// All that a solve depends on, besides its problem. Numbers are stored by their bits, so any
/// format brings them back exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Standing {
    /// `[K, dimensions]`.
    #[serde(with = "exact")]
    pub(super) point: Vec<f64>,
    /// `[K]`, of centred photos.
    #[serde(with = "exact")]
    pub(super) bias: Vec<f64>,
    /// The photos' logits there, `[K, N]`; empty before the first piece.
    #[serde(with = "exact")]
    pub(super) logits: Vec<f64>,
    /// The objective there.
    #[serde(with = "exact::one")]
    pub(super) value: f64,
    pub(super) iteration: usize,
    flat: u32,
    /// Whether the last iteration gained what the quadratic model promised.
    close: bool,
    /// Whether all products are to be in f64, among the features: where f32 might have hidden something.
    pub(super) precise: bool,
    /// The most conjugate gradients that an iteration took.
    reach: usize,
    pub(super) status: Status,
}

/// Newton's step being solved for.
#[derive(Clone, Debug)]
struct Conjugate {
    loss: Loss,
    step: Vec<f64>,
    step_bias: Vec<f64>,
    residual: Vec<f64>,
    residual_bias: Vec<f64>,
    direction: Vec<f64>,
    direction_logits: Vec<f64>,
    direction_bias: Vec<f64>,
    /// The residual's inner product with itself, preconditioned.
    square: f64,
    /// What the step gains, by the quadratic model, after each conjugate gradient.
    gains: Vec<f64>,
    /// The least and the most that the objective curved along one of them, preconditioned.
    curving: (f64, f64),
    /// Gradients below which a gain of nearly nothing is not believed.
    least: usize,
    solved: bool,
}

/// A minimisation under way.
#[derive(Clone, Debug)]
pub(super) struct Newton {
    pub(super) standing: Standing,
    conjugate: Option<Box<Conjugate>>,
    pub(super) gradient_norm: f64,
}

impl Newton {
    /// Goes on in another space, where the same weights are this point, with products in f64.
    pub(super) fn go_on_at(&mut self, point: Vec<f64>) {
        let (iteration, bias) = (self.standing.iteration, self.standing.bias.clone());
        *self = Self::new(point, bias);
        self.standing.iteration = iteration;
        self.standing.precise = true;
    }

    pub(super) fn new(point: Vec<f64>, bias: Vec<f64>) -> Self {
        Self::restore(Standing {
            point,
            bias,
            logits: Vec::new(),
            value: f64::NAN,
            iteration: 0,
            flat: 0,
            close: false,
            precise: false,
            reach: 0,
            status: Status::Running,
        })
    }

    pub(super) fn restore(standing: Standing) -> Self {
        Self {
            standing,
            conjugate: None,
            gradient_norm: f64::NAN,
        }
    }

    /// Does a piece of work that cannot be divided: the start, a gradient, a conjugate gradient or
    /// a search. Returns what it cost, in multiply-adds.
    pub(super) fn piece(&mut self, at: Setting<'_>) -> Result<usize, LogisticError> {
        let exact = at.space.exact_cost(at.rows, at.targets);
        if self.standing.status.is_done() {
            return Ok(0);
        }
        if self.standing.logits.is_empty() {
            self.start(at)?;
            return Ok(exact);
        }
        match self.conjugate.take() {
            None => {
                self.begin(at)?;
                Ok(exact)
            }
            Some(mut conjugate) if !conjugate.solved => {
                let aim = at.stop.tolerance * self.standing.value;
                conjugate.advance(at, aim, self.standing.close, self.standing.precise);
                self.conjugate = Some(conjugate);
                Ok(at.space.cost(at.rows, at.targets, self.standing.precise))
            }
            Some(conjugate) => {
                self.search(at, &conjugate)?;
                Ok(exact)
            }
        }
    }

    /// The logits and the value of the start; from zero where that is better.
    fn start(&mut self, at: Setting<'_>) -> Result<(), LogisticError> {
        let standing = &mut self.standing;
        let mut logits = at.space.exact(at.rows, at.targets, &standing.point);
        let penalty = 0.5
            * at.space
                .penalty(at.rows, &standing.point, &standing.point, &logits);
        spread(&mut logits, &standing.bias);
        let value = penalty + at.targets.loss(&logits).value;
        let level = (at.targets.classes as f64).ln();
        if value <= level {
            standing.value = value;
            standing.logits = logits;
            return Ok(());
        }
        standing.point.fill(0.0);
        standing.bias.fill(0.0);
        standing.logits = vec![0.0; logits.len()];
        standing.value = level;
        if at.stop.max_iterations == 0 {
            standing.status = Status::IterationLimit;
        }
        Ok(())
    }

    /// The gradient, and the first direction.
    fn begin(&mut self, at: Setting<'_>) -> Result<(), LogisticError> {
        let Setting {
            rows,
            targets,
            space,
            ..
        } = at;
        let standing = &mut self.standing;
        let classes = targets.classes;
        let loss = targets.loss(&standing.logits);
        let residual = targets.residual(&standing.logits);
        let of_class = residual.chunks_exact(targets.photos());
        let residual_bias: Vec<f64> = of_class.map(|row| -row.iter().sum::<f64>()).collect();
        let mut residual = space.gradient(rows, targets, &standing.point, residual);
        residual.iter_mut().for_each(|value| *value = -*value);
        if residual.iter().any(|value| !value.is_finite()) {
            return Err(LogisticError::NonFinite {
                iteration: standing.iteration,
            });
        }
        let (direction, direction_logits) = space.precondition(rows, &residual, &loss.curvature);
        let direction_bias = divided(&residual_bias, &loss.curvature);
        let square = space.inner(&residual, &direction, &direction_logits)
            + dot(&residual_bias, &direction_bias);
        self.gradient_norm = square.max(0.0).sqrt();
        let aim = at.stop.tolerance * standing.value;
        // Among the photos the Hessian is nowhere below the preconditioner.
        let bounded = matches!(space, Space::Photos { .. }) && 0.5 * square <= aim;
        if square.is_nan() || square <= 0.0 || bounded {
            standing.status = Status::Converged;
            return Ok(());
        }
        if standing.iteration >= at.stop.max_iterations {
            standing.status = Status::IterationLimit;
            return Ok(());
        }
        self.conjugate = Some(Box::new(Conjugate {
            loss,
            step: vec![0.0; residual.len()],
            step_bias: vec![0.0; classes],
            residual,
            residual_bias,
            direction,
            direction_logits,
            direction_bias,
            square,
            gains: Vec::new(),
            curving: match space {
                // Nowhere less than the penalty, which is the preconditioner.
                Space::Photos { .. } => (1.0, 0.0),
                Space::Features { .. } => (f64::INFINITY, 0.0),
            },
            least: LEAST_CONJUGATE.max(standing.reach / 2),
            solved: false,
        }));
        Ok(())
    }

    /// Moves along the step as far as is best, and decides whether to go on.
    fn search(&mut self, at: Setting<'_>, found: &Conjugate) -> Result<(), LogisticError> {
        let Setting {
            rows,
            targets,
            space,
            ..
        } = at;
        let (standing, gain) = (&mut self.standing, found.gain());
        let mut change = space.exact(rows, targets, &found.step);
        let bent = space.penalty(rows, &found.step, &found.step, &change);
        let slope = space.penalty(rows, &standing.point, &found.step, &change);
        spread(&mut change, &found.step_bias);
        let from = standing.value;
        let here = targets.along(&standing.logits, &change, 0.0);
        let penalty = from - here.value;
        let trial = |t: f64| {
            let Along {
                value,
                slope: of_loss,
                curvature,
            } = targets.along(&standing.logits, &change, t);
            Along {
                value: value + penalty + t * slope + 0.5 * t * t * bent,
                slope: of_loss + slope + t * bent,
                curvature: curvature + bent,
            }
        };
        let condition = found.curving.1 / found.curving.0;
        let risky = !standing.precise && condition > MOST_CONDITION;
        let among_photos = matches!(space, Space::Photos { .. });
        let Some((t, value)) = line_search(from, here.slope + slope, trial) else {
            if risky || among_photos {
                standing.precise = true;
            } else {
                standing.status = Status::NoProgress;
            }
            return Ok(());
        };
        add(&mut standing.point, t, &found.step);
        add(&mut standing.bias, t, &found.step_bias);
        add(&mut standing.logits, t, &change);
        standing.value = value;
        standing.iteration += 1;
        let (gained, expected) = (from - value, gain);
        standing.reach = standing.reach.max(found.gains.len());
        standing.flat = if gained > f64::EPSILON * value.abs() {
            0
        } else {
            standing.flat + 1
        };
        standing.close = (0.7..1.3).contains(&t) && (0.7..1.3).contains(&(gained / expected));
        standing.status = if expected <= at.stop.tolerance * value {
            Status::Converged
        } else if standing.flat >= MAX_FLAT {
            Status::NoProgress
        } else if standing.iteration >= at.stop.max_iterations {
            Status::IterationLimit
        } else {
            Status::Running
        };
        let ends = matches!(standing.status, Status::Converged | Status::NoProgress);
        let doubtful = ends || !(0.1..).contains(&(gained / expected)) || condition > HOPELESS;
        if risky && doubtful || among_photos && standing.status == Status::NoProgress {
            standing.precise = true;
            standing.flat = 0;
            standing.status = Status::Running;
        }
        Ok(())
    }
}

impl Conjugate {
    /// What the step so far gains, by the quadratic model.
    fn gain(&self) -> f64 {
        self.gains.last().copied().unwrap_or(0.0)
    }

    /// One conjugate gradient. `aim` is what need not be gained.
    fn advance(&mut self, at: Setting<'_>, aim: f64, close: bool, precise: bool) {
        let Setting {
            rows,
            targets,
            space,
            ..
        } = at;
        let along = (
            &self.direction[..],
            &self.direction_logits[..],
            &self.direction_bias[..],
        );
        let (product, product_bias, curved) =
            space.hessian(rows, targets, &self.loss, along, precise);
        let length = self.square / curved;
        let gain = 0.5 * length * self.square;
        if !(curved > 0.0 && gain.is_finite()) {
            // Rounding has had its way: the step so far will do.
            self.solved = true;
            return;
        }
        self.curving = (
            self.curving.0.min(1.0 / length),
            self.curving.1.max(1.0 / length),
        );
        add(&mut self.step, length, &self.direction);
        add(&mut self.step_bias, length, &self.direction_bias);
        add(&mut self.residual, -length, &product);
        add(&mut self.residual_bias, -length, &product_bias);
        let gain = self.gain() + gain;
        self.gains.push(gain);
        let count = self.gains.len();
        let late = gain - self.gains[count.div_ceil(2) - 1];
        let enough = if gain <= 10.0 * aim {
            count >= self.least && late <= (TIGHT * gain).max(0.1 * aim)
        } else {
            count > 1 && late <= gain * if close { TIGHT } else { LOOSE }
        };
        if enough || count >= MAX_CONJUGATE {
            self.solved = true;
            return;
        }
        let (next, logits) = space.precondition(rows, &self.residual, &self.loss.curvature);
        let next_bias = divided(&self.residual_bias, &self.loss.curvature);
        let square =
            space.inner(&self.residual, &next, &logits) + dot(&self.residual_bias, &next_bias);
        if square.is_nan() || square <= 0.0 {
            self.solved = true;
            return;
        }
        let keep = square / self.square;
        self.square = square;
        let follow = |direction: &mut [f64], next: &[f64]| {
            for (direction, next) in direction.iter_mut().zip(next) {
                *direction = next + keep * *direction;
            }
        };
        follow(&mut self.direction, &next);
        follow(&mut self.direction_logits, &logits);
        follow(&mut self.direction_bias, &next_bias);
    }
}

fn divided(values: &[f64], by: &[f64]) -> Vec<f64> {
    let least = by.iter().copied().fold(0.0, f64::max) * 1e-9 + f64::MIN_POSITIVE;
    let pairs = values.iter().zip(by);
    pairs.map(|(value, by)| value / by.max(least)).collect()
}

/// A step length along which the value falls enough, near the best: Newton's method on the line,
/// kept within what brackets the best. `None` where no step lowers the value.
///
/// Near the optimum, where differences of values drown in rounding, a length is also accepted on
/// its slopes alone (Hager and Zhang, SIAM J. Optim. 16, 2005).
fn line_search(from: f64, slope: f64, trial: impl Fn(f64) -> Along) -> Option<(f64, f64)> {
    if !(slope < 0.0 && slope.is_finite()) {
        return None;
    }
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut best: Option<(f64, f64)> = None;
    let mut length = 1.0;
    for count in 1..=MAX_TRIALS {
        let at = trial(length);
        let falls = at.value <= from + 1e-4 * length * slope;
        let level = at.value <= from + 1e-14 * from.abs() && at.slope <= -0.9998 * slope;
        let fine = at.value.is_finite() && at.slope.is_finite() && (falls || level);
        if fine && best.is_none_or(|(_, value)| at.value <= value) {
            best = Some((length, at.value));
        }
        if fine && at.slope.abs() <= -0.1 * slope {
            break;
        }
        if best.is_some() && count >= 5 {
            break;
        }
        if !fine || at.slope > 0.0 {
            high = length;
        } else {
            low = length;
        }
        let newton = length - at.slope / at.curvature;
        let most = if high.is_finite() { high } else { 10.0 * low };
        let margin = 0.05 * (most - low);
        length = if newton.is_finite() {
            newton.clamp(low + margin, most - margin)
        } else {
            0.5 * (low + most)
        };
        if !fine {
            length = length.min(0.5 * (low + most));
        }
    }
    best
}
