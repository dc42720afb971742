//! How well a classifier did: accuracy, per-class scores, calibration.
//!
//! Definitions are scikit-learn's (`classification_report`, `confusion_matrix`,
//! `top_k_accuracy_score`, `log_loss`). Where nothing was measured there is no number: a ratio with
//! nothing below the line and a mean over no images at all are `None`. Averages over classes count
//! such a ratio as 0, as scikit-learn does.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why predictions could not be scored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MetricsError {
    /// The probabilities are not one row of classes an image.
    #[error("{values} probabilities for {images} images of {classes} classes")]
    Shape {
        /// Probabilities given.
        values: usize,
        /// Images, by the labels.
        images: usize,
        /// Classes.
        classes: usize,
    },
    /// There are not as many predictions as labels.
    #[error("{predictions} predictions for {labels} labels")]
    Lengths {
        /// Predictions given.
        predictions: usize,
        /// Labels given.
        labels: usize,
    },
    /// A label or a prediction names a class that does not exist.
    #[error("image {image} has class {class}, but there are only {classes} classes")]
    Class {
        /// Index of the image.
        image: usize,
        /// Its class, as labelled or as predicted.
        class: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// A probability is not a number between 0 and 1.
    #[error("the probability of class {class} for image {image} is not between 0 and 1")]
    Probability {
        /// Index of the image.
        image: usize,
        /// Index of the class.
        class: usize,
    },
}

/// Predicted probabilities beside the true classes, checked.
///
/// # Shapes
/// `probabilities` is `[N, K]`, row-major, each row summing to 1.
#[derive(Clone, Copy, Debug)]
pub struct Predictions<'a> {
    probabilities: &'a [f32],
    labels: &'a [usize],
    classes: usize,
}

impl<'a> Predictions<'a> {
    /// Pairs probabilities with the true classes.
    ///
    /// # Errors
    /// If sizes do not fit, a label is out of range, or a probability is not between 0 and 1.
    pub fn new(
        probabilities: &'a [f32],
        labels: &'a [usize],
        classes: usize,
    ) -> Result<Self, MetricsError> {
        let images = labels.len();
        if images.checked_mul(classes) != Some(probabilities.len()) {
            return Err(MetricsError::Shape {
                values: probabilities.len(),
                images,
                classes,
            });
        }
        check_classes(labels, classes)?;
        // Rounding may leave a softmax a little above 1.
        let sound = |p: &f32| (0.0..=1.0 + 1e-4).contains(p);
        if let Some(at) = probabilities.iter().position(|p| !sound(p)) {
            return Err(MetricsError::Probability {
                image: at / classes,
                class: at % classes,
            });
        }
        Ok(Self {
            probabilities,
            labels,
            classes,
        })
    }

    fn rows(&self) -> impl Iterator<Item = (&'a [f32], usize)> {
        self.probabilities
            .chunks_exact(self.classes.max(1))
            .zip(self.labels.iter().copied())
    }

    /// The most probable class of each image; of equals, the first.
    pub fn top1(&self) -> Vec<usize> {
        self.rows().map(|(row, _)| argmax(row)).collect()
    }

    /// The share of images whose true class is among the `k` most probable. Of equally probable
    /// classes the first ranks higher.
    pub fn top_k_accuracy(&self, k: usize) -> Option<f64> {
        let hit = |(row, label): (&[f32], usize)| {
            let above =
                |&(class, &p): &(usize, &f32)| p > row[label] || (p == row[label] && class < label);
            f64::from(u8::from(row.iter().enumerate().filter(above).count() < k))
        };
        mean(self.rows().map(hit))
    }

    /// The mean of `-ln p(true class)`, with `p` kept away from 0 and 1 by `f32`'s epsilon as
    /// scikit-learn does, so that one certain mistake costs 15.9 and not everything.
    pub fn log_loss(&self) -> Option<f64> {
        let epsilon = f64::from(f32::EPSILON);
        let loss = |(row, label): (&[f32], usize)| {
            -f64::from(row[label]).clamp(epsilon, 1.0 - epsilon).ln()
        };
        mean(self.rows().map(loss))
    }

    /// The expected calibration error: how far the confidence in the top class is from the share of
    /// times it is right, on average over `bins` equally wide bins `(low, high]` of confidence.
    /// Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), who use 15.
    pub fn calibration_error(&self, bins: usize) -> Option<f64> {
        let bins = bins.max(1);
        let mut gaps = vec![0.0; bins];
        for (row, label) in self.rows() {
            let top = argmax(row);
            let confidence = f64::from(row[top]);
            let bin = ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
            gaps[bin] += confidence - f64::from(u8::from(top == label));
        }
        let total: f64 = gaps.iter().map(|gap| gap.abs()).sum();
        (!self.labels.is_empty()).then(|| total / self.labels.len() as f64)
    }

    /// Everything at once.
    pub fn report(&self) -> Report {
        let confusion = ConfusionMatrix::count(self.labels, &self.top1(), self.classes);
        Report {
            images: self.labels.len(),
            accuracy: confusion.accuracy(),
            top5_accuracy: self.top_k_accuracy(5),
            log_loss: self.log_loss(),
            calibration_error: self.calibration_error(15),
            per_class: confusion.per_class(),
            macro_average: confusion.macro_average(),
            weighted_average: confusion.weighted_average(),
            confusion,
        }
    }
}

/// How well a classifier did on a set of images. Shares lie between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How many images were judged.
    pub images: usize,
    /// The share answered rightly.
    pub accuracy: Option<f64>,
    /// The share whose true class is among the five most probable.
    pub top5_accuracy: Option<f64>,
    /// See [`Predictions::log_loss`].
    pub log_loss: Option<f64>,
    /// See [`Predictions::calibration_error`]; 15 bins.
    pub calibration_error: Option<f64>,
    /// One entry a class, in class order.
    pub per_class: Vec<Scores>,
    /// See [`ConfusionMatrix::macro_average`].
    pub macro_average: Option<Scores>,
    /// See [`ConfusionMatrix::weighted_average`].
    pub weighted_average: Option<Scores>,
    /// Which class was taken for which.
    pub confusion: ConfusionMatrix,
}

impl Report {
    /// The same figures, class by class of those alone that have images or were answered: their
    /// indices, ascending, and a report whose classes, rows and columns they are, in that order.
    /// Of a thousand classes a folder seldom holds more than a few.
    pub fn measured(&self) -> (Vec<usize>, Self) {
        let rows = self.confusion.rows();
        let columns = |row: usize, kept: &[usize]| kept.iter().map(|&at| rows[row][at]).collect();
        let kept: Vec<usize> = (0..rows.len())
            .filter(|&class| self.per_class[class].f1.is_some())
            .collect();
        let report = Self {
            per_class: kept.iter().map(|&class| self.per_class[class]).collect(),
            confusion: ConfusionMatrix {
                rows: kept.iter().map(|&row| columns(row, &kept)).collect(),
            },
            ..self.clone()
        };
        (kept, report)
    }
}

/// The scores of one class, or of several on average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Of the images answered with this class, the share that are of it; `None` if there are none.
    pub precision: Option<f64>,
    /// Of the images of this class, the share answered with it; `None` if there are none.
    pub recall: Option<f64>,
    /// The harmonic mean of precision and recall; `None` if there are neither.
    pub f1: Option<f64>,
    /// How many images are of this class.
    pub support: usize,
}

/// Which class was taken for which, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix {
    /// One row a true class, one column a predicted class.
    rows: Vec<Vec<usize>>,
}

impl ConfusionMatrix {
    /// Counts predictions against the true classes.
    ///
    /// # Errors
    /// If there are more of one than of the other, or a class is out of range.
    pub fn new(
        labels: &[usize],
        predictions: &[usize],
        classes: usize,
    ) -> Result<Self, MetricsError> {
        if labels.len() != predictions.len() {
            let (predictions, labels) = (predictions.len(), labels.len());
            return Err(MetricsError::Lengths {
                predictions,
                labels,
            });
        }
        check_classes(labels, classes)?;
        check_classes(predictions, classes)?;
        Ok(Self::count(labels, predictions, classes))
    }

    fn count(labels: &[usize], predictions: &[usize], classes: usize) -> Self {
        let mut rows = vec![vec![0; classes]; classes];
        for (&label, &prediction) in labels.iter().zip(predictions) {
            rows[label][prediction] += 1;
        }
        Self { rows }
    }

    /// The counts: one row a true class, one column a predicted class.
    pub fn rows(&self) -> &[Vec<usize>] {
        &self.rows
    }

    /// How many images were counted.
    pub fn images(&self) -> usize {
        self.rows.iter().flatten().sum()
    }

    /// The share answered rightly.
    pub fn accuracy(&self) -> Option<f64> {
        let right: usize = self
            .rows
            .iter()
            .enumerate()
            .map(|(class, row)| row[class])
            .sum();
        ratio(right, self.images())
    }

    /// The scores of each class, in class order.
    pub fn per_class(&self) -> Vec<Scores> {
        let scores = |(class, row): (usize, &Vec<usize>)| {
            let (right, support) = (row[class], row.iter().sum());
            let answered = self.answered(class);
            Scores {
                precision: ratio(right, answered),
                recall: ratio(right, support),
                f1: ratio(2 * right, answered + support),
                support,
            }
        };
        self.rows.iter().enumerate().map(scores).collect()
    }

    /// The plain mean over the classes: each counts the same, however few images it has. A class
    /// that neither has images nor was ever answered is left out.
    pub fn macro_average(&self) -> Option<Scores> {
        let weight = |class: usize, scores: &Scores| {
            f64::from(u8::from(scores.support > 0 || self.answered(class) > 0))
        };
        self.average(weight)
    }

    /// The mean over the classes, weighted by their numbers of images.
    pub fn weighted_average(&self) -> Option<Scores> {
        self.average(|_, scores| scores.support as f64)
    }

    fn average(&self, weight: impl Fn(usize, &Scores) -> f64) -> Option<Scores> {
        let (mut precision, mut recall, mut f1) = (0.0, 0.0, 0.0);
        let (mut support, mut total) = (0, 0.0);
        for (class, scores) in self.per_class().iter().enumerate() {
            let weight = weight(class, scores);
            total += weight;
            precision += weight * scores.precision.unwrap_or(0.0);
            recall += weight * scores.recall.unwrap_or(0.0);
            f1 += weight * scores.f1.unwrap_or(0.0);
            support += scores.support;
        }
        (total > 0.0).then(|| Scores {
            precision: Some(precision / total),
            recall: Some(recall / total),
            f1: Some(f1 / total),
            support,
        })
    }

    fn answered(&self, class: usize) -> usize {
        self.rows.iter().map(|row| row[class]).sum()
    }
}

fn check_classes(values: &[usize], classes: usize) -> Result<(), MetricsError> {
    match values
        .iter()
        .enumerate()
        .find(|(_, class)| **class >= classes)
    {
        Some((image, &class)) => Err(MetricsError::Class {
            image,
            class,
            classes,
        }),
        None => Ok(()),
    }
}

/// The first of the largest; 0 where there is none.
fn argmax(values: &[f32]) -> usize {
    let later = |best: usize, at: usize| if values[at] > values[best] { at } else { best };
    (1..values.len()).fold(0, later)
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_images_give_no_numbers_instead_of_wrong_ones() {
        for classes in [0, 1, 3] {
            let report = Predictions::new(&[], &[], classes).unwrap().report();
            assert_eq!((report.images, report.per_class.len()), (0, classes));
            let means = [report.accuracy, report.top5_accuracy, report.log_loss];
            assert_eq!(means, [None; 3]);
            assert_eq!(report.calibration_error, None);
            assert_eq!(
                (report.macro_average, report.weighted_average),
                (None, None)
            );
        }
    }

    #[test]
    fn what_was_not_measured_is_no_number_and_null_in_json() {
        // Two images of class 0, one of them taken for class 2; nothing of class 1 and 3.
        let probabilities = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let report = Predictions::new(&probabilities, &[0, 0], 4).unwrap();
        let report = report.report();
        let scores = |class: usize| {
            let scores = report.per_class[class];
            (scores.precision, scores.recall, scores.f1)
        };
        assert_eq!(scores(0), (Some(1.0), Some(0.5), Some(2.0 / 3.0)));
        assert_eq!(scores(1), (None, None, None));
        assert_eq!(scores(2), (Some(0.0), None, Some(0.0)));
        let json = serde_json::to_value(report.per_class[1]).unwrap();
        let nothing = serde_json::json!({
            "precision": null, "recall": null, "f1": null, "support": 0
        });
        assert_eq!(json, nothing);

        let (classes, measured) = report.measured();
        assert_eq!(classes, [0, 2]);
        assert_eq!(measured.confusion.rows(), [[1, 1], [0, 0]]);
        assert_eq!(measured.per_class.len(), 2);
        assert_eq!(measured.accuracy, Some(0.5));
        assert_eq!(measured.macro_average, report.macro_average);
    }

    #[test]
    fn a_single_class_is_always_right() {
        let report = Predictions::new(&[1.0, 1.0], &[0, 0], 1).unwrap().report();
        assert_eq!(
            (report.accuracy, report.top5_accuracy),
            (Some(1.0), Some(1.0))
        );
        assert!(report.log_loss.unwrap() < 1e-6);
        assert_eq!(report.calibration_error, Some(0.0));
        let scores = Scores {
            precision: Some(1.0),
            recall: Some(1.0),
            f1: Some(1.0),
            support: 2,
        };
        assert_eq!(report.macro_average, Some(scores));
    }

    #[test]
    fn of_equally_probable_classes_the_first_ranks_higher() {
        let predictions = Predictions::new(&[0.25; 8], &[0, 2], 4).unwrap();
        assert_eq!(predictions.top1(), [0, 0]);
        let accuracies = [0, 1, 2, 3, 9].map(|k| predictions.top_k_accuracy(k));
        assert_eq!(accuracies, [0.0, 0.5, 0.5, 1.0, 1.0].map(Some));
    }

    #[test]
    fn a_certain_mistake_costs_a_finite_loss() {
        let loss = Predictions::new(&[1.0, 0.0], &[1], 2)
            .unwrap()
            .log_loss()
            .unwrap();
        assert!((loss - 15.942385).abs() < 1e-5);
    }

    #[test]
    fn what_does_not_fit_is_a_typed_error() {
        let error = |p: &[f32], labels: &[usize]| Predictions::new(p, labels, 2).err();
        assert!(matches!(
            error(&[0.5], &[0]),
            Some(MetricsError::Shape { .. })
        ));
        assert_eq!(
            error(&[0.5, 0.5], &[2]),
            Some(MetricsError::Class {
                image: 0,
                class: 2,
                classes: 2
            })
        );
        for bad in [-0.1, 1.1, f32::NAN] {
            let error = error(&[0.5, 0.5, 0.5, bad], &[0, 1]);
            assert_eq!(
                error,
                Some(MetricsError::Probability { image: 1, class: 1 })
            );
        }
        assert_eq!(
            ConfusionMatrix::new(&[0], &[0, 1], 2),
            Err(MetricsError::Lengths {
                predictions: 2,
                labels: 1
            })
        );
        assert!(ConfusionMatrix::new(&[0], &[2], 2).is_err());
    }

    #[test]
    fn a_report_survives_json() {
        let report = Predictions::new(&[0.75, 0.25, 0.5, 0.5], &[0, 1], 2)
            .unwrap()
            .report();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
