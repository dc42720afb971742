//! How well several labels were put on images: average precision, F1, and the thresholds that make F1 best.
//!
//! Definitions are scikit-learn's (`average_precision_score`, `f1_score`, `accuracy_score`, `log_loss`). Where nothing was
//! measured there is no number: a label that no image has has no average precision, and means over labels leave it
//! out.

use rekindle_networks::sorting::order;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why predictions could not be scored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelMetricsError {
    /// Probabilities, targets and thresholds are not of the same images and labels.
    #[error("{probabilities} probabilities and {targets} targets for {labels} labels")]
    Shape {
        /// Probabilities given.
        probabilities: usize,
        /// Targets given.
        targets: usize,
        /// Labels, by the thresholds.
        labels: usize,
    },
}

/// How well one label was put on images, at its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelScores {
    /// Images that have it.
    pub support: usize,
    /// The area under the curve of precision over recall, summed by steps; it depends on no threshold.
    pub average_precision: Option<f64>,
    /// The probability from which the label is put on an image.
    pub threshold: f32,
    /// Of the images that it was put on, the share that have it.
    pub precision: Option<f64>,
    /// Of the images that have it, the share that it was put on.
    pub recall: Option<f64>,
    /// `2 TP / (2 TP + FP + FN)`; nothing where no image has it and it was put on none.
    pub f1: Option<f64>,
}

/// How well labels were put on a set of images. Shares lie between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelReport {
    /// How many images were judged.
    pub images: usize,
    /// The mean of the labels' average precisions ("mAP"), of the labels that images have.
    pub mean_average_precision: Option<f64>,
    /// F1 of all decisions together.
    pub f1_micro: Option<f64>,
    /// The mean of the labels' F1, of the labels that have one.
    pub f1_macro: Option<f64>,
    /// The share of images all of whose labels were put on rightly, and no other.
    pub subset_accuracy: Option<f64>,
    /// The mean over images and labels of `-ln` of the probability of what is true: the binary cross-entropy. It
    /// depends on no threshold.
    #[serde(default)]
    pub log_loss: Option<f64>,
    /// One entry a label, in label order.
    pub per_label: Vec<LabelScores>,
}

/// Scores probabilities against the labels that images have (1) and have not (0).
///
/// # Shapes
///
/// - probabilities, targets: `[N, K]`, row-major
/// - thresholds: `[K]`
///
/// # Errors
///
/// When they are not of the same sizes.
pub fn judge(
    probabilities: &[f32],
    targets: &[f32],
    thresholds: &[f32],
) -> Result<LabelReport, LabelMetricsError> {
    let labels = thresholds.len();
    if labels == 0 || probabilities.len() != targets.len() || !targets.len().is_multiple_of(labels)
    {
        return Err(LabelMetricsError::Shape {
            probabilities: probabilities.len(),
            targets: targets.len(),
            labels,
        });
    }
    let images = targets.len() / labels;
    let mut all = Counts::default();
    let mut per_label = Vec::with_capacity(labels);
    for (label, &threshold) in thresholds.iter().enumerate() {
        let column = Column::of(probabilities, targets, label, labels);
        let counts = column.counts(threshold);
        all.add(&counts);
        per_label.push(LabelScores {
            support: column.support(),
            average_precision: column.average_precision(),
            threshold,
            precision: ratio(counts.right, counts.right + counts.wrong),
            recall: ratio(counts.right, counts.right + counts.missed),
            f1: counts.f1(),
        });
    }
    let is_right = |at: &usize| {
        let at = at * labels;
        let pairs = probabilities[at..at + labels].iter().zip(&targets[at..]);
        let mut decided = pairs.zip(thresholds);
        decided.all(|((&p, &target), &threshold)| (p >= threshold) == (target > 0.5))
    };
    let right = (0..images).filter(is_right).count();
    Ok(LabelReport {
        images,
        mean_average_precision: mean(per_label.iter().filter_map(|one| one.average_precision)),
        f1_micro: all.f1(),
        f1_macro: mean(per_label.iter().filter_map(|one| one.f1)),
        subset_accuracy: ratio(right, images),
        log_loss: log_loss(probabilities, targets),
        per_label,
    })
}

/// Probabilities are kept away from 0 and 1 as [`Predictions::log_loss`](super::classify::Predictions::log_loss) does.
fn log_loss(probabilities: &[f32], targets: &[f32]) -> Option<f64> {
    let epsilon = f64::from(f32::EPSILON);
    let loss = |(&p, &target): (&f32, &f32)| {
        let p = f64::from(p);
        let of_truth = if target > 0.5 { p } else { 1.0 - p };
        -of_truth.clamp(epsilon, 1.0 - epsilon).ln()
    };
    mean(probabilities.iter().zip(targets).map(loss))
}

/// For each label the threshold that makes its F1 best on these images: half-way between the probabilities that it
/// divides, of equally good ones the nearest to ½. Labels that no image has keep ½. F1 on the same images at these
/// thresholds flatters.
///
/// # Shapes
///
/// As for [`judge`]; one threshold a label comes back.
pub fn best_thresholds(probabilities: &[f32], targets: &[f32], labels: usize) -> Vec<f32> {
    let best = |label| Column::of(probabilities, targets, label, labels).best_threshold();
    (0..labels).map(best).collect()
}

/// One label's probabilities, the largest first, and whether the images have it.
struct Column(Vec<(f32, bool)>);

impl Column {
    fn of(probabilities: &[f32], targets: &[f32], label: usize, labels: usize) -> Self {
        let pairs: Vec<(f32, bool)> = probabilities
            .chunks_exact(labels)
            .zip(targets.chunks_exact(labels))
            .map(|(p, target)| (p[label], target[label] > 0.5))
            .collect();
        let order = order(pairs.len(), &|a, b| pairs[b].0.total_cmp(&pairs[a].0));
        Self(order.into_iter().map(|at| pairs[at]).collect())
    }

    fn support(&self) -> usize {
        self.0.iter().filter(|(_, has)| *has).count()
    }

    /// At each distinct probability, from the largest: it, and how many images lie at or above it, and how many of
    /// them have the label.
    fn steps(&self) -> impl Iterator<Item = (f32, usize, usize)> {
        let (mut right, pairs) = (0, &self.0);
        pairs.iter().enumerate().filter_map(move |(at, &(p, has))| {
            right += usize::from(has);
            let is_last = pairs.get(at + 1).is_none_or(|next| next.0 != p);
            is_last.then_some((p, at + 1, right))
        })
    }

    /// `Σ (R_n - R_{n-1}) P_n` over thresholds, as scikit-learn's `average_precision_score`.
    fn average_precision(&self) -> Option<f64> {
        let support = self.support();
        let mut before = 0;
        let area = |(_, above, right): (f32, usize, usize)| {
            let more = (right - before) as f64 / support as f64;
            before = right;
            more * right as f64 / above as f64
        };
        (support > 0).then(|| self.steps().map(area).sum())
    }

    fn counts(&self, threshold: f32) -> Counts {
        let mut counts = Counts::default();
        for &(p, has) in &self.0 {
            match (p >= threshold, has) {
                (true, true) => counts.right += 1,
                (true, false) => counts.wrong += 1,
                (false, true) => counts.missed += 1,
                (false, false) => {}
            }
        }
        counts
    }

    fn best_threshold(&self) -> f32 {
        let support = self.support();
        if support == 0 {
            return 0.5;
        }
        let mut steps = self.steps().peekable();
        let mut best: Option<(f64, f32)> = None;
        while let Some((p, above, right)) = steps.next() {
            let f1 = 2.0 * right as f64 / (above + support) as f64;
            // Any threshold between this probability and the next divides the same way.
            let next = steps.peek().map_or(0.0, |next| next.0);
            let between = match 0.5 > next && 0.5 <= p && above == self.0.len() {
                true => 0.5,
                false => 0.5 * (p + next),
            };
            // Rounding must not put the next one above it.
            let threshold = if between > next { between } else { p };
            let off = |threshold: f32| (threshold - 0.5).abs();
            if best
                .is_none_or(|(known, at)| f1 > known || (f1 == known && off(threshold) < off(at)))
            {
                best = Some((f1, threshold));
            }
        }
        best.map_or(0.5, |(_, threshold)| threshold.clamp(0.0, 1.0))
    }
}

#[derive(Default)]
struct Counts {
    right: usize,
    wrong: usize,
    missed: usize,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.missed += other.missed;
    }

    fn f1(&self) -> Option<f64> {
        ratio(2 * self.right, 2 * self.right + self.wrong + self.missed)
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_usize);
    values.for_each(|value| (sum, count) = (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}
