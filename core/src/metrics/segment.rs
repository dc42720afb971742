//! How well a network that segments did: which share of a class's pixels, labelled or answered, are both.
//!
//! Definitions are those of PASCAL VOC, of torchvision's reference training (`ConfusionMatrix` in
//! `references/segmentation/utils.py`) and, for the mean, of scikit-learn's `jaccard_score(average="macro")`: pixels
//! are counted over all photos together, those without a label do not count, and the mean is over the classes that
//! some pixel is labelled or answered with. Where nothing was measured there is no number.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::postprocess::{Mask, VOID};

/// Why a mask could not be scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MaskError {
    /// Label and answer are not of one size.
    #[error(
        "the mask has {}×{} pixels, and the photo {}×{}",
        .label[0], .label[1], .answer[0], .answer[1]
    )]
    Size {
        /// Width and height of the label.
        label: [u32; 2],
        /// Width and height of the answer, the photo's.
        answer: [u32; 2],
    },
    /// A label, or an answer, is no class.
    #[error(
        "a pixel has the label {label}, and the last of the {classes} classes is {}; {VOID} is for pixels without a label",
        classes.saturating_sub(1)
    )]
    Class {
        /// The largest label found.
        label: u8,
        /// How many classes there are.
        classes: usize,
    },
}

/// How many pixels of each label were answered with each class, over any number of photos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    classes: usize,
    /// A row for each label, a column for each answer and one more for none.
    counts: Vec<u64>,
}

/// What was measured of one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassIou {
    /// Pixels that are both, of those that are labelled or answered with the class: intersection over union.
    pub iou: Option<f64>,
    /// Pixels answered with the class, of those that are labelled with it.
    pub accuracy: Option<f64>,
    /// Pixels that are labelled with the class.
    pub labelled: u64,
    /// Labelled pixels that are answered with the class.
    pub answered: u64,
}

/// What was measured of all classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The mean of the classes' intersections over unions, of those classes that have one.
    pub mean_iou: Option<f64>,
    /// The share of the labelled pixels that are answered with their label.
    pub pixel_accuracy: Option<f64>,
    /// Pixels that have a label.
    pub labelled: u64,
    /// Each class.
    pub per_class: Vec<ClassIou>,
}

impl Pixels {
    /// Nothing counted yet, of so many classes.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            counts: vec![0; classes * (classes + 1)],
        }
    }

    /// Whether a mask may be the label of a photo of this width and height.
    ///
    /// # Errors
    ///
    /// [`MaskError`] if it has another size, or names a class that there is not.
    pub fn check(&self, label: &Mask, photo: [u32; 2]) -> Result<(), MaskError> {
        if label.size() != photo {
            return Err(MaskError::Size {
                label: label.size(),
                answer: photo,
            });
        }
        self.check_classes(label)
    }

    fn check_classes(&self, mask: &Mask) -> Result<(), MaskError> {
        match mask.largest_class() {
            Some(label) if usize::from(label) >= self.classes => Err(MaskError::Class {
                label,
                classes: self.classes,
            }),
            _ => Ok(()),
        }
    }

    /// Counts a photo's pixels. Those whose label is [`VOID`] do not count; a labelled pixel whose answer is `VOID` is
    /// answered wrongly.
    ///
    /// # Errors
    ///
    /// [`MaskError`] if label and answer are not of one size, or name a class that there is not; nothing is counted
    /// then.
    pub fn add(&mut self, label: &Mask, answer: &Mask) -> Result<(), MaskError> {
        self.check(label, answer.size())?;
        self.check_classes(answer)?;
        for (&label, &answer) in label.labels().iter().zip(answer.labels()) {
            if label != VOID {
                let column = usize::from(answer).min(self.classes);
                self.counts[usize::from(label) * (self.classes + 1) + column] += 1;
            }
        }
        Ok(())
    }

    /// How many pixels of a label were answered with a class.
    fn count(&self, label: usize, answer: usize) -> u64 {
        self.counts[label * (self.classes + 1) + answer]
    }

    /// What all that was counted says.
    pub fn report(&self) -> Report {
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let (mut right, mut all) = (0, 0);
        let class = |class: usize| {
            let both = self.count(class, class);
            let labelled: u64 = (0..=self.classes)
                .map(|answer| self.count(class, answer))
                .sum();
            let answered: u64 = (0..self.classes)
                .map(|label| self.count(label, class))
                .sum();
            right += both;
            all += labelled;
            ClassIou {
                iou: share(both, labelled + answered - both),
                accuracy: share(both, labelled),
                labelled,
                answered,
            }
        };
        let per_class: Vec<_> = (0..self.classes).map(class).collect();
        let ious: Vec<f64> = per_class.iter().filter_map(|class| class.iou).collect();
        let mean = ious.iter().sum::<f64>() / ious.len() as f64;
        Report {
            mean_iou: (!ious.is_empty()).then_some(mean),
            pixel_accuracy: share(right, all),
            labelled: all,
            per_class,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(labels: [[u8; 5]; 4]) -> Mask {
        Mask::new(5, 4, labels.concat()).unwrap()
    }

    const LABEL: [[u8; 5]; 4] = [
        [0, 0, 0, 1, 1],
        [0, 0, 2, 1, 1],
        [0, 2, 2, VOID, VOID],
        [2, 2, 2, 2, 0],
    ];
    const ANSWER: [[u8; 5]; 4] = [
        [0, 0, 1, 1, 1],
        [0, 0, 2, 2, 1],
        [0, 0, 2, 1, 2],
        [2, 2, 2, 0, 0],
    ];

    fn close(found: Option<f64>, expected: f64) {
        let difference = found.map(|found| (found - expected).abs());
        assert!(
            difference.is_some_and(|d| d < 1e-12),
            "{found:?} {expected}"
        );
    }

    #[test]
    fn shares_of_pixels_are_torchvisions_and_scikit_learns() {
        let mut pixels = Pixels::new(4);
        pixels.add(&mask(LABEL), &mask(ANSWER)).unwrap();
        let report = pixels.report();
        // torchvision's ConfusionMatrix on the same: acc_global, acc, iu; class 3 is nan there.
        close(report.pixel_accuracy, 14.0 / 18.0);
        let accuracies = [6.0 / 7.0, 0.75, 5.0 / 7.0];
        // jaccard_score(label[label != 255], answer[label != 255], average=None) and average="macro".
        let ious = [2.0 / 3.0, 0.6, 0.625];
        for (class, (accuracy, iou)) in accuracies.into_iter().zip(ious).enumerate() {
            close(report.per_class[class].accuracy, accuracy);
            close(report.per_class[class].iou, iou);
        }
        close(report.mean_iou, 0.630_555_555_555_555_5);
        assert_eq!(report.labelled, 18);
        let nothing = report.per_class[3];
        assert_eq!((nothing.iou, nothing.accuracy), (None, None));
        assert_eq!((nothing.labelled, nothing.answered), (0, 0));
        let first = report.per_class[0];
        assert_eq!((first.labelled, first.answered), (7, 8));
    }

    #[test]
    fn a_class_that_is_only_answered_counts_as_missed() {
        let mut answer = ANSWER;
        answer[0][0] = 3;
        let mut pixels = Pixels::new(4);
        pixels.add(&mask(LABEL), &mask(answer)).unwrap();
        let report = pixels.report();
        // jaccard_score's [0.5555…, 0.6, 0.625, 0] and their mean.
        close(report.per_class[3].iou, 0.0);
        close(report.mean_iou, 0.445_138_888_888_888_86);
        close(report.pixel_accuracy, 13.0 / 18.0);
    }

    #[test]
    fn pixels_are_counted_over_photos_and_void_is_left_out() {
        let (mut twice, mut once) = (Pixels::new(4), Pixels::new(4));
        once.add(&mask(LABEL), &mask(ANSWER)).unwrap();
        for _ in 0..2 {
            twice.add(&mask(LABEL), &mask(ANSWER)).unwrap();
        }
        twice.add(&mask([[VOID; 5]; 4]), &mask(ANSWER)).unwrap();
        assert_eq!(twice.report().mean_iou, once.report().mean_iou);
        assert_eq!(twice.report().labelled, 36);
        // What a network did not see of a photo is no class's, and not right.
        let mut unseen = Pixels::new(4);
        unseen.add(&mask(LABEL), &mask([[VOID; 5]; 4])).unwrap();
        let report = unseen.report();
        assert_eq!(
            (report.pixel_accuracy, report.mean_iou),
            (Some(0.0), Some(0.0))
        );
        assert_eq!(Pixels::new(4).report().mean_iou, None);
        assert_eq!(Pixels::new(4).report().pixel_accuracy, None);
    }

    #[test]
    fn masks_that_do_not_fit_are_refused_and_not_counted() {
        let mut pixels = Pixels::new(2);
        let small = Mask::new(2, 2, vec![0; 4]).unwrap();
        let size = pixels.add(&mask(LABEL), &small).unwrap_err();
        assert_eq!(
            size.to_string(),
            "the mask has 5×4 pixels, and the photo 2×2"
        );
        let class = pixels.add(&mask(LABEL), &mask(LABEL)).unwrap_err();
        assert_eq!(
            class,
            MaskError::Class {
                label: 2,
                classes: 2
            }
        );
        assert_eq!(pixels, Pixels::new(2));
    }
}
