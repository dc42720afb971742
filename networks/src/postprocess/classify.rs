//! Logits of a whole photo in, probabilities and the best classes out.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::sorting::order;

/// One class of an answer. As JSON: `{"class":…,"index":…,"probability":…,"logit":…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The class's name.
    pub class: String,
    /// Its position among the model's classes.
    pub index: usize,
    /// Its softmax probability, from 0 to 1.
    pub probability: f32,
    /// The network's raw output for it.
    pub logit: f32,
}

/// Turns logits into probabilities that add up to 1.
///
/// Logits of any size are fine: the largest is subtracted first. A NaN counts as −∞, so one broken
/// output does not spoil the rest; logits of +∞ share everything between them. Where no logit says
/// anything (all NaN or −∞) every probability is 0.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    // `f32::max` skips NaN.
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return vec![0.0; logits.len()];
    }
    let exponentials: Vec<f64> = logits
        .iter()
        .map(|&logit| match logit {
            _ if logit.is_nan() => 0.0,
            // ∞ − ∞ would be NaN.
            _ if logit == max => 1.0,
            _ => (f64::from(logit) - f64::from(max)).exp(),
        })
        .collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials
        .iter()
        .map(|exponential| (exponential / sum) as f32)
        .collect()
}

/// The `k` best classes, best first; equal logits in the order of the classes, NaN last.
///
/// Gives all classes if there are fewer than `k`. A logit beyond the end of `classes` is named by
/// its number.
pub fn top_k(logits: &[f32], classes: &[String], k: usize) -> Vec<Prediction> {
    let probabilities = softmax(logits);
    let mut order = order(logits.len(), &|a, b| descending(logits[a], logits[b]));
    order.truncate(k);
    order
        .into_iter()
        .map(|index| Prediction {
            class: classes
                .get(index)
                .cloned()
                .unwrap_or_else(|| index.to_string()),
            index,
            probability: probabilities[index],
            logit: logits[index],
        })
        .collect()
}

/// Larger first, −0 equal to 0, NaN after everything.
fn descending(a: f32, b: f32) -> Ordering {
    b.partial_cmp(&a)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: &[f32], expected: &[f32]) {
        assert_eq!(actual.len(), expected.len());
        for (a, b) in actual.iter().zip(expected) {
            assert!((a - b).abs() < 1e-7, "{actual:?} is not {expected:?}");
        }
    }

    #[test]
    fn softmax_agrees_with_pytorch() {
        // torch.softmax(torch.tensor([1.0, 2.0, 3.0, -4.5]), 0)
        let expected = [0.089_997_455, 0.244_638_46, 0.664_996_27, 0.000_367_799_05];
        close(&softmax(&[1.0, 2.0, 3.0, -4.5]), &expected);
    }

    #[test]
    fn softmax_stands_shifts_that_overflow_exp() {
        close(
            &softmax(&[1001.0, 1002.0, 1003.0, 995.5]),
            &softmax(&[1.0, 2.0, 3.0, -4.5]),
        );
        close(&softmax(&[f32::MAX, f32::MIN]), &[1.0, 0.0]);
    }

    #[test]
    fn softmax_keeps_nan_and_infinity_from_spreading() {
        close(&softmax(&[0.0, f32::NAN, 0.0]), &[0.5, 0.0, 0.5]);
        close(
            &softmax(&[1.0, f32::INFINITY, f32::INFINITY]),
            &[0.0, 0.5, 0.5],
        );
        close(&softmax(&[1.0, f32::NEG_INFINITY]), &[1.0, 0.0]);
        close(&softmax(&[f32::NAN, f32::NEG_INFINITY]), &[0.0, 0.0]);
        close(&softmax(&[]), &[]);
    }

    #[test]
    fn the_best_come_first_and_ties_in_class_order() {
        let classes: Vec<String> = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
        let logits = [0.0, 2.0, f32::NAN, 2.0, -0.0];
        let indices = |k| -> Vec<usize> {
            top_k(&logits, &classes, k)
                .iter()
                .map(|prediction| prediction.index)
                .collect()
        };
        assert_eq!(indices(2), [1, 3]);
        assert_eq!(indices(99), [1, 3, 0, 4, 2]);
        assert_eq!(indices(0), [0; 0]);
        let best = &top_k(&logits, &classes, 1)[0];
        assert_eq!((best.class.as_str(), best.logit), ("b", 2.0));
        assert_eq!(best.probability, softmax(&logits)[1]);
    }

    #[test]
    fn missing_names_are_numbers() {
        assert_eq!(top_k(&[0.0, 1.0], &["a".into()], 1)[0].class, "1");
    }
}
