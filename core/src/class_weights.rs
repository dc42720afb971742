//! How much each class counts in the loss.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How to weigh the classes of an uneven data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// Every image counts the same.
    #[default]
    None,
    /// Every class counts the same: an image of class `k` weighs `n / (K · n_k)`, scikit-learn's
    /// `class_weight="balanced"`. `K` counts the classes that have images; one without any gets
    /// the weight 1, which nothing then uses.
    Balanced,
    /// One weight a class, in class order.
    Given(Vec<f64>),
}

/// Why class weights could not be worked out.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ClassWeightError {
    /// The list of given weights has another length than the list of classes.
    #[error("{given} class weights for {classes} classes (help: give one weight a class)")]
    Count {
        /// How many weights were given.
        given: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// A given weight is not a positive, finite number.
    #[error("class {class} has the weight {weight} (help: weights are finite and above zero)")]
    NotPositive {
        /// Index of the class.
        class: usize,
        /// The weight as given.
        weight: f64,
    },
    /// A label names a class that does not exist.
    #[error("image {image} has label {label}, but there are only {classes} classes")]
    Label {
        /// Index of the image in the label list.
        image: usize,
        /// Its label.
        label: usize,
        /// How many classes there are.
        classes: usize,
    },
}

impl ClassWeights {
    /// The weight of each class for images with these labels, in class order.
    ///
    /// # Errors
    /// If given weights do not fit the classes, or a label is out of range.
    pub fn resolve(&self, labels: &[usize], classes: usize) -> Result<Vec<f64>, ClassWeightError> {
        let mut counts = vec![0usize; classes];
        for (image, &label) in labels.iter().enumerate() {
            *counts.get_mut(label).ok_or(ClassWeightError::Label {
                image,
                label,
                classes,
            })? += 1;
        }
        match self {
            Self::None => Ok(vec![1.0; classes]),
            Self::Balanced => {
                let present = counts.iter().filter(|&&count| count > 0).count();
                let weight = |&count: &usize| match count {
                    0 => 1.0,
                    _ => labels.len() as f64 / (present as f64 * count as f64),
                };
                Ok(counts.iter().map(weight).collect())
            }
            Self::Given(weights) if weights.len() != classes => Err(ClassWeightError::Count {
                given: weights.len(),
                classes,
            }),
            Self::Given(weights) => {
                let bad = |weight: &f64| !(weight.is_finite() && *weight > 0.0);
                match weights.iter().position(bad) {
                    Some(class) => Err(ClassWeightError::NotPositive {
                        class,
                        weight: weights[class],
                    }),
                    None => Ok(weights.clone()),
                }
            }
        }
    }

    /// What each of several labels counts where it is there, then what each counts where it is not, of images with these
    /// labels: balanced, both sides of a label count the same.
    ///
    /// # Shapes
    ///
    /// - rows: `[N, labels]`, 0 or 1
    /// - returns: `[2 · labels]`
    ///
    /// # Errors
    /// If weights are given, which belong to classes.
    pub fn of_labels(&self, rows: &[f32], labels: usize) -> Result<Vec<f64>, ClassWeightError> {
        let mut weights = vec![1.0; 2 * labels];
        match self {
            Self::None => {}
            Self::Given(given) => {
                return Err(ClassWeightError::Count {
                    given: given.len(),
                    classes: 0,
                });
            }
            Self::Balanced => {
                for label in 0..labels {
                    let column = rows.iter().skip(label).step_by(labels);
                    let sides: Vec<usize> =
                        column.map(|&there| usize::from(there == 0.0)).collect();
                    let each = self.resolve(&sides, 2)?;
                    (weights[label], weights[labels + label]) = (each[0], each[1]);
                }
            }
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_labels_give_presence_and_absence_the_same_total() {
        // Of four images two have the first label and one the second; nobody has the third.
        let rows = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let weights = ClassWeights::Balanced.of_labels(&rows, 3).unwrap();
        let expected = [1.0, 2.0, 1.0, 1.0, 2.0 / 3.0, 1.0];
        for (found, expected) in weights.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{weights:?}");
        }
        assert_eq!(ClassWeights::None.of_labels(&rows, 3).unwrap(), [1.0; 6]);
        assert!(
            ClassWeights::Given(vec![1.0; 3])
                .of_labels(&rows, 3)
                .is_err()
        );
    }

    #[test]
    fn balanced_weights_give_every_class_the_same_total() {
        let labels = [0, 0, 0, 0, 1, 1, 2];
        let weights = ClassWeights::Balanced.resolve(&labels, 3).unwrap();
        for (class, count) in [4.0, 2.0, 1.0].into_iter().enumerate() {
            assert!((weights[class] * count - 7.0 / 3.0).abs() < 1e-12);
        }
    }

    #[test]
    fn an_absent_class_does_not_change_the_others() {
        let with = ClassWeights::Balanced.resolve(&[0, 0, 2], 3).unwrap();
        let without = ClassWeights::Balanced.resolve(&[0, 0, 1], 2).unwrap();
        assert_eq!([with[0], with[2]], [without[0], without[1]]);
    }

    #[test]
    fn weights_that_do_not_fit_are_refused() {
        let given = |weights: &[f64]| ClassWeights::Given(weights.to_vec()).resolve(&[0, 1], 2);
        assert_eq!(
            given(&[1.0]),
            Err(ClassWeightError::Count {
                given: 1,
                classes: 2
            })
        );
        for bad in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            assert!(matches!(
                given(&[1.0, bad]),
                Err(ClassWeightError::NotPositive { class: 1, .. })
            ));
        }
        assert_eq!(given(&[0.5, 2.0]), Ok(vec![0.5, 2.0]));
        assert_eq!(
            ClassWeights::None.resolve(&[0, 3], 3),
            Err(ClassWeightError::Label {
                image: 1,
                label: 3,
                classes: 3
            })
        );
    }

    #[test]
    fn no_images_is_no_error() {
        assert_eq!(ClassWeights::Balanced.resolve(&[], 2), Ok(vec![1.0, 1.0]));
    }
}
