//! Logits of a whole photo in, the probability of each label and whether it is one of the photo's out.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::sorting::order;

/// One label of an answer. As JSON:
/// `{"label":…,"index":…,"probability":…,"logit":…,"threshold":…,"on":…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelAnswer {
    /// The label's name.
    pub label: String,
    /// Its position among the model's labels.
    pub index: usize,
    /// How probable it is, whatever the other labels are, from 0 to 1.
    pub probability: f32,
    /// The network's raw output for it.
    pub logit: f32,
    /// The probability from which it is one of the photo's.
    pub threshold: f32,
    /// Whether it is one of the photo's.
    pub on: bool,
}

/// The probability of a label by itself, `1 / (1 + exp(-logit))`; NaN gives 0.
pub fn sigmoid(logit: f32) -> f32 {
    if logit.is_nan() {
        return 0.0;
    }
    (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32
}

/// Every label with its probability, the most probable first, equal ones in their own order.
///
/// # Shapes
///
/// - logits: `[labels]`, as many as there are names and thresholds
pub fn labels(logits: &[f32], names: &[String], thresholds: &[f32]) -> Vec<LabelAnswer> {
    let answer = |index: usize| {
        let logit = logits[index];
        let (probability, threshold) = (
            sigmoid(logit),
            thresholds.get(index).copied().unwrap_or(0.5),
        );
        let label = names.get(index).cloned();
        LabelAnswer {
            label: label.unwrap_or_else(|| index.to_string()),
            index,
            probability,
            logit,
            threshold,
            on: probability >= threshold,
        }
    };
    // NaN last.
    let descending = |a: f32, b: f32| -> Ordering {
        let apart = || a.is_nan().cmp(&b.is_nan());
        b.partial_cmp(&a).unwrap_or_else(apart)
    };
    let order = order(logits.len(), &|a, b| descending(logits[a], logits[b]));
    order.into_iter().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_agrees_with_pytorch_and_stands_any_number() {
        // torch.sigmoid(torch.tensor([-3.0, 0.0, 0.5, 4.0]))
        let expected = [0.047_425_87, 0.5, 0.622_459_35, 0.982_013_76];
        for (logit, expected) in [-3.0, 0.0, 0.5, 4.0].into_iter().zip(expected) {
            assert!((sigmoid(logit) - expected).abs() < 1e-7);
        }
        let odd = [
            f32::NEG_INFINITY,
            f32::MIN,
            f32::MAX,
            f32::INFINITY,
            f32::NAN,
        ];
        assert_eq!(odd.map(sigmoid), [0.0, 0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn labels_stand_by_themselves_each_by_its_own_threshold() {
        let names = ["a", "b", "c", "d"].map(String::from);
        let answers = labels(&[0.0, 2.0, f32::NAN, 0.0], &names, &[0.6, 0.5, 0.5, 0.4]);
        let seen: Vec<_> = answers.iter().map(|one| (&*one.label, one.on)).collect();
        assert_eq!(seen, [("b", true), ("a", false), ("d", true), ("c", false)]);
        assert_eq!(answers[0].probability, sigmoid(2.0));
    }
}
