//! Dividing labelled images into training and validation sides, class by class.
//!
//! Only integers and the counter-based [`Random`] decide who goes where, so the same labels and
//! seed give the same split on every platform. Stratification follows the idea of Kohavi, "A Study
//! of Cross-Validation and Bootstrap for Accuracy Estimation and Model Selection" (IJCAI 1995).

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::random::Random;

/// Which images train and which validate: indices into the label list, ascending, no index twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Images to train on.
    pub train: Vec<usize>,
    /// Images held out.
    pub valid: Vec<usize>,
}

/// Why images could not be divided.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SplitError {
    /// The held-out share is not between 0 and 1.
    #[error("cannot hold out a share of {0} (help: choose a number above 0 and below 1)")]
    Fraction(f64),
    /// Cross-validation needs at least two folds.
    #[error("{0} folds cannot validate each other (help: use 2 or more)")]
    TooFewFolds(usize),
    /// Some folds would hold no image.
    #[error("{folds} folds for {images} images (help: use no more folds than images)")]
    TooManyFolds {
        /// Folds asked for.
        folds: usize,
        /// Images there are.
        images: usize,
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

/// Holds out about `fraction` of each class for validation.
///
/// A class of `n` images gives `fraction · n` of them, rounded to the nearest whole number (halves
/// up), but at least one and at most `n - 1`: so every class with two images or more stands on
/// both sides. The only image of a class trains. Each class draws from its own random stream, so
/// adding images to one class leaves the split of the others as it was, as long as their labels
/// and their order stay the same.
///
/// # Errors
/// If `fraction` is not strictly between 0 and 1, or a label is not below `classes`.
pub fn stratified_split(
    labels: &[usize],
    classes: usize,
    fraction: f64,
    seed: u64,
) -> Result<Split, SplitError> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(SplitError::Fraction(fraction));
    }
    let mut split = Split::default();
    for members in shuffled_classes(labels, classes, seed)? {
        let held = match members.len() {
            0 | 1 => 0,
            n => ((fraction * n as f64 + 0.5) as usize).clamp(1, n - 1),
        };
        let (valid, train) = members.split_at(held);
        split.valid.extend(valid);
        split.train.extend(train);
    }
    split.train.sort_unstable();
    split.valid.sort_unstable();
    Ok(split)
}

/// Divides the images into `folds` parts for cross-validation and returns one [`Split`] a part:
/// the part validates, all others train. Every image validates exactly once.
///
/// The classes are dealt out one after the other like cards, each class starting at the fold where
/// the last one stopped. So the folds' sizes differ by at most one image, and so do the images any
/// class has in them; a class smaller than `folds` lies in that many different folds. A class with
/// a single image is missing from the training side of the fold that validates it.
///
/// # Errors
/// If `folds` is below 2 or above the number of images, or a label is not below `classes`.
pub fn stratified_folds(
    labels: &[usize],
    classes: usize,
    folds: usize,
    seed: u64,
) -> Result<Vec<Split>, SplitError> {
    if folds < 2 {
        return Err(SplitError::TooFewFolds(folds));
    }
    if folds > labels.len() {
        return Err(SplitError::TooManyFolds {
            folds,
            images: labels.len(),
        });
    }
    let dealt = shuffled_classes(labels, classes, seed)?;
    let mut fold_of = vec![0; labels.len()];
    for (turn, image) in dealt.into_iter().flatten().enumerate() {
        fold_of[image] = turn % folds;
    }
    let part = |fold: usize| {
        let (valid, train) = (0..labels.len()).partition(|&image| fold_of[image] == fold);
        Split { train, valid }
    };
    Ok((0..folds).map(part).collect())
}

/// The images of each class in random order.
fn shuffled_classes(
    labels: &[usize],
    classes: usize,
    seed: u64,
) -> Result<Vec<Vec<usize>>, SplitError> {
    let mut members = vec![Vec::new(); classes];
    for (image, &label) in labels.iter().enumerate() {
        members
            .get_mut(label)
            .ok_or(SplitError::Label {
                image,
                label,
                classes,
            })?
            .push(image);
    }
    let random = Random::new(seed);
    for (class, images) in members.iter_mut().enumerate() {
        random.fork(class as u64).shuffle(images);
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random labels of many shapes: few and many images, empty, tiny and lopsided classes.
    fn cases() -> impl Iterator<Item = (Vec<usize>, usize, u64)> {
        (0..300u64).map(|case| {
            let mut random = Random::new(case);
            let classes = 1 + random.below(12);
            let images = random.below(80);
            // The product of two draws favours low classes, so that high ones come out tiny.
            let label = |random: &mut Random| random.below(1 + random.clone().below(classes));
            let labels = (0..images).map(|_| label(&mut random)).collect();
            (labels, classes, case)
        })
    }

    fn count(images: &[usize], labels: &[usize], class: usize) -> usize {
        images
            .iter()
            .filter(|&&image| labels[image] == class)
            .count()
    }

    fn assert_partition(split: &Split, images: usize) {
        assert!(split.train.is_sorted() && split.valid.is_sorted());
        let mut all = [split.train.clone(), split.valid.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..images).collect::<Vec<_>>());
    }

    #[test]
    fn a_hold_out_keeps_every_class_on_both_sides_at_the_asked_share() {
        for (labels, classes, seed) in cases() {
            for fraction in [0.01, 0.2, 0.5, 0.99] {
                let split = stratified_split(&labels, classes, fraction, seed).unwrap();
                assert_partition(&split, labels.len());
                for class in 0..classes {
                    let train = count(&split.train, &labels, class);
                    let valid = count(&split.valid, &labels, class);
                    let size = train + valid;
                    if size < 2 {
                        assert_eq!(valid, 0);
                        continue;
                    }
                    assert!(train >= 1 && valid >= 1);
                    let exact = fraction * size as f64;
                    assert!((valid as f64 - exact).abs() <= 0.5 || valid == 1 || train == 1);
                }
            }
        }
    }

    #[test]
    fn halves_are_held_out_upwards() {
        let split = stratified_split(&[0; 5], 1, 0.5, 7).unwrap();
        assert_eq!((split.train.len(), split.valid.len()), (2, 3));
    }

    #[test]
    fn folds_validate_every_image_once_and_are_even_in_total_and_in_each_class() {
        for (labels, classes, seed) in cases().filter(|case| case.0.len() >= 2) {
            for folds in [2, 3, 5, labels.len()] {
                if folds > labels.len() {
                    continue;
                }
                let splits = stratified_folds(&labels, classes, folds, seed).unwrap();
                assert_eq!(splits.len(), folds);
                let mut validated: Vec<usize> = Vec::new();
                for split in &splits {
                    assert_partition(split, labels.len());
                    validated.extend(&split.valid);
                }
                validated.sort_unstable();
                assert_eq!(validated, (0..labels.len()).collect::<Vec<_>>());
                let spread = |size: &dyn Fn(&Split) -> usize| {
                    let sizes = || splits.iter().map(size);
                    sizes().max().unwrap() - sizes().min().unwrap()
                };
                assert!(spread(&|split| split.valid.len()) <= 1);
                for class in 0..classes {
                    assert!(spread(&|split| count(&split.valid, &labels, class)) <= 1);
                }
            }
        }
    }

    #[test]
    fn the_seed_and_nothing_else_decides() {
        let labels: Vec<usize> = (0..60).map(|image| image % 4).collect();
        let split = |seed| stratified_split(&labels, 4, 0.25, seed).unwrap();
        let folds = |seed| stratified_folds(&labels, 4, 5, seed).unwrap();
        assert_eq!(split(1), split(1));
        assert_ne!(split(1), split(2));
        assert_eq!(folds(1), folds(1));
        assert_ne!(folds(1), folds(2));
    }

    #[test]
    fn new_images_of_one_class_leave_the_others_where_they_were() {
        let before: Vec<usize> = (0..30).map(|image| image % 3).collect();
        let after = [before.clone(), vec![2; 11]].concat();
        let old = stratified_split(&before, 3, 0.3, 5).unwrap();
        let new = stratified_split(&after, 3, 0.3, 5).unwrap();
        let of_others = |split: &Split| {
            split
                .valid
                .iter()
                .copied()
                .filter(|&i| after[i] != 2)
                .collect()
        };
        let (old, new): (Vec<_>, Vec<_>) = (of_others(&old), of_others(&new));
        assert_eq!(old, new);
    }

    #[test]
    fn impossible_requests_are_typed_errors() {
        let labels = [0, 1, 0];
        assert_eq!(
            stratified_folds(&labels, 2, 1, 0),
            Err(SplitError::TooFewFolds(1))
        );
        assert_eq!(
            stratified_folds(&labels, 2, 4, 0),
            Err(SplitError::TooManyFolds {
                folds: 4,
                images: 3
            })
        );
        let label = SplitError::Label {
            image: 1,
            label: 1,
            classes: 1,
        };
        assert_eq!(stratified_folds(&labels, 1, 2, 0), Err(label.clone()));
        assert_eq!(stratified_split(&labels, 1, 0.5, 0), Err(label));
        for bad in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(matches!(
                stratified_split(&labels, 2, bad, 0),
                Err(SplitError::Fraction(_))
            ));
        }
        assert_eq!(stratified_split(&[], 2, 0.5, 0), Ok(Split::default()));
    }
}
