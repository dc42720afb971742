//! What differences between measured accuracies mean: intervals, and whether two candidates that were asked about the
//! same photos can be told apart.

use serde::Serialize;

/// The normal deviate of a two-sided interval that holds the truth 19 times of 20.
const Z: f64 = 1.959_963_984_540_054;

/// An estimate's interval, of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// Whether it holds a number.
    pub fn holds(&self, number: f64) -> bool {
        self.low <= number && number <= self.high
    }
}

/// Wilson's score interval of a share: so many right of so many (E. B. Wilson, "Probable Inference", 1927). Nothing is
/// known of none.
pub fn wilson(right: usize, of: usize) -> Interval {
    of_share(right as f64 / of as f64, of)
}

/// The same of a share that was estimated from so many photos in another way than by counting.
pub fn of_share(share: f64, of: usize) -> Interval {
    if of == 0 {
        return Interval {
            low: 0.0,
            high: 1.0,
        };
    }
    let n = of as f64;
    let spread = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / spread;
    let half = Z / spread * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Interval {
        low: (centre - half).max(0.0),
        high: (centre + half).min(1.0),
    }
}

/// The mean of differences, photo by photo, and its interval. One photo more on either side is taken to differ, as
/// Agresti and Min do for paired shares ("Simple Improved Confidence Intervals for Comparing Matched Proportions",
/// 2005): of few photos that all agree nothing certain follows.
pub fn difference(differences: &[f64]) -> (f64, Interval) {
    let n = differences.len() as f64 + 2.0;
    let sum: f64 = differences.iter().sum();
    let squares = differences.iter().map(|one| one * one).sum::<f64>() + 2.0;
    let mean = sum / n;
    let error = ((squares / n - mean * mean).max(0.0) / n).sqrt();
    let plain = match differences.is_empty() {
        true => 0.0,
        false => sum / differences.len() as f64,
    };
    let interval = Interval {
        low: (mean - Z * error).max(-1.0),
        high: (mean + Z * error).min(1.0),
    };
    (plain, interval)
}

/// The sum of differences that were measured apart, and its interval: errors that know nothing of each other add up as
/// the sides of a right angle do.
pub fn sum(parts: &[(f64, Interval)]) -> (f64, Interval) {
    if let [only] = parts {
        return *only;
    }
    let (mut plain, mut centre, mut half) = (0.0, 0.0, 0.0_f64);
    for (mean, interval) in parts {
        plain += mean;
        centre += (interval.high + interval.low) / 2.0;
        half = half.hypot((interval.high - interval.low) / 2.0);
    }
    let interval = Interval {
        low: (centre - half).max(-1.0),
        high: (centre + half).min(1.0),
    };
    (plain.clamp(-1.0, 1.0), interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_s_interval_is_the_one_that_is_published() {
        // scipy.stats.binomtest(right, of).proportion_ci(method="wilson").
        for (right, of, low, high) in [
            (24, 26, 0.758_584, 0.978_645),
            (0, 10, 0.0, 0.277_533),
            (10, 10, 0.722_467, 1.0),
            (834, 1000, 0.809_669, 0.855_775),
        ] {
            let found = wilson(right, of);
            assert!((found.low - low).abs() < 1e-5, "{found:?}");
            assert!((found.high - high).abs() < 1e-5, "{found:?}");
        }
        assert_eq!(
            wilson(0, 0),
            Interval {
                low: 0.0,
                high: 1.0
            }
        );
    }

    #[test]
    fn differences_are_certain_where_many_photos_say_the_same() {
        let of = |better: usize, worse: usize, same: usize| {
            let mut all = vec![1.0; better];
            all.extend(vec![-1.0; worse]);
            all.extend(vec![0.0; same]);
            difference(&all)
        };
        let (mean, interval) = of(3, 0, 23);
        assert!((mean - 3.0 / 26.0).abs() < 1e-12 && interval.holds(0.0));
        // Three photos that all say the same say nothing yet.
        assert!(of(3, 0, 0).1.holds(0.0));
        assert!(of(0, 0, 0).1.holds(0.0));
        let (mean, interval) = of(18, 2, 380);
        assert!((mean - 0.04).abs() < 1e-12 && interval.low > 0.0);
        // By hand: n 402, sum 16, squares 22.
        let error = ((22.0 / 402.0 - (16.0_f64 / 402.0).powi(2)) / 402.0).sqrt();
        assert!((interval.low - (16.0 / 402.0 - 1.96 * error)).abs() < 1e-5);
        let (_, interval) = of(2, 18, 380);
        assert!(interval.high < 0.0);
    }

    #[test]
    fn what_was_measured_apart_adds_up_with_its_errors() {
        let interval = |low, high| Interval { low, high };
        let (mean, all) = sum(&[(0.1, interval(0.07, 0.13)), (-0.02, interval(-0.06, 0.02))]);
        assert!((mean - 0.08).abs() < 1e-12);
        assert!((all.low - 0.03).abs() < 1e-12 && (all.high - 0.13).abs() < 1e-12);
        assert_eq!(sum(&[(0.5, interval(0.1, 0.9))]).1, interval(0.1, 0.9));
        assert_eq!(sum(&[]), (0.0, interval(0.0, 0.0)));
        assert_eq!(of_share(0.75, 20), wilson(15, 20));
    }
}
