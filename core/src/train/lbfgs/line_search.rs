//! The line search of L-BFGS: how far to go along a direction.

use super::{Evaluation, dot};

/// Sufficient decrease: the share of the decrease promised by the slope a step must bring.
const DECREASE: f64 = 1e-4;
/// Curvature: the share of the slope a step may leave. The book's choice for quasi-Newton methods.
const CURVATURE: f64 = 0.9;
/// How far, relative to the objective, rounding may lift it in a step that its slopes recommend.
pub(super) const ROUNDING: f64 = 1e-12;
/// Trial points in one line search. A sound objective needs one or two.
const MAX_TRIALS: usize = 30;

/// A point that was tried.
pub(super) struct Trial {
    pub(super) point: Vec<f64>,
    pub(super) at: Evaluation,
}

/// What a search brought.
pub(super) struct Search {
    pub(super) found: Option<Trial>,
    /// Whether the objective could be computed anywhere along the direction.
    pub(super) any_finite: bool,
}

/// Looks along `direction` for a point that satisfies the strong Wolfe conditions.
///
/// Algorithms 3.5 (bracket) and 3.6 (zoom) in one loop: `low` is the best point with sufficient
/// decrease so far, `high` the other end of an interval known to hold an acceptable point.
/// The first trial is the whole of `direction`.
pub(super) fn search(
    from: &[f64],
    here: &Evaluation,
    direction: &[f64],
    slope: f64,
    mut objective: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Search {
    let start = Sample {
        at: 0.0,
        value: here.value,
        slope,
    };
    let (mut low, mut high) = (start, None::<Sample>);
    let (mut length, mut any_finite) = (1.0, false);
    let mut best = None;
    for _ in 0..MAX_TRIALS {
        let point: Vec<f64> = from
            .iter()
            .zip(direction)
            .map(|(x, d)| x + length * d)
            .collect();
        let mut gradient = vec![0.0; point.len()];
        let value = objective(&point, &mut gradient);
        let mut sample = Sample {
            at: length,
            value,
            slope: dot(direction, &gradient),
        };
        if sample.value.is_finite() && sample.slope.is_finite() {
            any_finite = true;
        } else {
            // Past the edge of what can be computed: as bad as can be, so that we turn back.
            sample = Sample {
                at: length,
                value: f64::INFINITY,
                slope: f64::NAN,
            };
        }
        let trial = Trial {
            point,
            at: Evaluation { value, gradient },
        };
        if sample.is_acceptable(&start) {
            return Search {
                found: Some(trial),
                any_finite,
            };
        }
        if !sample.decreases(&start) || sample.value >= low.value {
            high = Some(sample);
        } else {
            let turned = match high {
                Some(high) => sample.slope * (high.at - low.at) >= 0.0,
                None => sample.slope >= 0.0,
            };
            if turned {
                high = Some(low);
            }
            low = sample;
            best = Some(trial);
        }
        length = match high {
            None => 4.0 * length,
            Some(high) => low.between(&high),
        };
        let width = high.map_or(f64::INFINITY, |high| (high.at - low.at).abs());
        if width <= f64::EPSILON * low.at.max(f64::EPSILON) || !length.is_finite() {
            break;
        }
    }
    // A point with sufficient decrease is worth having even where the slope stays steep.
    Search {
        found: best,
        any_finite,
    }
}

/// The objective along the search direction.
#[derive(Clone, Copy)]
struct Sample {
    at: f64,
    value: f64,
    slope: f64,
}

impl Sample {
    fn decreases(&self, start: &Sample) -> bool {
        self.value <= start.value + DECREASE * self.at * start.slope
    }

    fn is_acceptable(&self, start: &Sample) -> bool {
        let strong = self.decreases(start) && self.slope.abs() <= -CURVATURE * start.slope;
        let approximate = self.value <= start.value + ROUNDING * start.value.abs()
            && self.slope >= CURVATURE * start.slope
            && self.slope <= (2.0 * DECREASE - 1.0) * start.slope;
        strong || approximate
    }

    /// Where to look between two samples: the minimum of the cubic through them (equation 3.59),
    /// kept a tenth of the interval away from both ends so that the interval always shrinks.
    fn between(&self, other: &Sample) -> f64 {
        let width = other.at - self.at;
        let d1 = self.slope + other.slope - 3.0 * (self.value - other.value) / -width;
        let d2 = width.signum() * (d1 * d1 - self.slope * other.slope).sqrt();
        let share = 1.0 - (other.slope + d2 - d1) / (other.slope - self.slope + 2.0 * d2);
        // A sample beyond the computable, or a cubic without a minimum, leaves no number here.
        let share = if share.is_finite() {
            share.clamp(0.1, 0.9)
        } else {
            0.5
        };
        self.at + share * width
    }
}
