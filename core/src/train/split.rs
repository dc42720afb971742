//! Dividing labelled images into training and validation sides, class by class, without tearing apart what
//! belongs together.
//!
//! Only integers and the counter-based [`Random`] decide who goes where, so the same labels, groups and seed
//! give the same split on every platform. Stratification follows the idea of Kohavi, "A Study of
//! Cross-Validation and Bootstrap for Accuracy Estimation and Model Selection" (IJCAI 1995); groups are kept
//! whole as scikit-learn's `StratifiedGroupKFold` keeps them.
//!
//! A group is what [`Groups`](super::Groups) finds: copies of a picture, a burst of one recording. It stands on
//! one side of every split, because a head that has seen one of its images knows the others. What there is
//! only one group of can therefore not be measured: the only group (or image) of a class always trains.

use std::collections::{BTreeMap, HashMap};

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
    /// Some folds would hold no image, because what belongs together stays together and the only group of a
    /// class always trains.
    #[error(
        "{folds} folds for {groups} photos or groups of photos that can be held out \
         (help: use no more folds than that, or add photos taken at another time)"
    )]
    TooFewGroups {
        /// Folds asked for.
        folds: usize,
        /// Groups and single images that can be held out.
        groups: usize,
    },
    /// Groups of another number of images.
    #[error("groups of {groups} images for {images} images")]
    Groups {
        /// Images whose groups are known.
        groups: usize,
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

/// Groups of one image each: nothing belongs together.
pub fn each_alone(images: usize) -> Vec<usize> {
    (0..images).collect()
}

/// Holds out about `fraction` of each class for validation, whole groups at a time.
///
/// `groups` says of each image which group it belongs to, by any number; see [`each_alone`].
///
/// A class of `n` images is to give `fraction · n` of them, rounded to the nearest whole number (halves
/// up), but at least one and at most `n - 1`. Its groups are held out in random order as far as they fit into
/// that share, and then the one that comes nearest to it, if it does not fit but comes nearer than none: so
/// every class with two groups or more stands on both sides, and gives exactly its share where enough of its
/// images are single. The only group of a class trains. Images of several classes in one group go together, and with them a class may give more than its
/// share. Each class draws from its own random stream, so adding images to one class leaves the split of the
/// others as it was, as long as their labels, groups and order stay the same.
///
/// # Errors
/// If `fraction` is not strictly between 0 and 1, a label is not below `classes`, or there are not as many
/// groups as labels.
pub fn stratified_split(
    labels: &[usize],
    groups: &[usize],
    classes: usize,
    fraction: f64,
    seed: u64,
) -> Result<Split, SplitError> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(SplitError::Fraction(fraction));
    }
    let Parts { parts, of_class } = Parts::new(labels, groups, classes, seed)?;
    let mut held = vec![false; parts.len()];
    // Parts of each class that are left to train on.
    let mut left: Vec<usize> = of_class.iter().map(Vec::len).collect();
    for (class, own) in of_class.iter().enumerate() {
        let size = |part: usize| parts[part].counts[&class];
        let images: usize = own.iter().map(|&part| size(part)).sum();
        if images < 2 {
            continue;
        }
        let target = ((fraction * images as f64 + 0.5) as usize).clamp(1, images - 1);
        let held_before = own.iter().filter(|&&part| held[part]);
        let mut count: usize = held_before.map(|&part| size(part)).sum();
        let free: Vec<usize> = own.iter().copied().filter(|&part| !held[part]).collect();
        let mut hold = |part: usize, left: &mut [usize]| {
            held[part] = true;
            parts[part]
                .counts
                .keys()
                .for_each(|&class| left[class] -= 1);
            size(part)
        };
        // Something of every class must be left to train on.
        let may_go =
            |part: usize, left: &[usize]| parts[part].counts.keys().all(|&class| left[class] > 1);
        // What fits, in random order; then what comes nearest, if that is nearer.
        let mut rest = Vec::new();
        for part in free {
            if count + size(part) <= target && may_go(part, &left) {
                count += hold(part, &mut left);
            } else {
                rest.push(part);
            }
        }
        let off = |part: usize| (count + size(part)).abs_diff(target);
        let last = rest.into_iter().filter(|&part| may_go(part, &left));
        if let Some(part) = last.min_by_key(|&part| off(part))
            && (count == 0 || off(part) < count.abs_diff(target))
        {
            hold(part, &mut left);
        }
    }
    let mut split = Split::default();
    for (part, held) in parts.iter().zip(held) {
        let side = if held {
            &mut split.valid
        } else {
            &mut split.train
        };
        side.extend(&part.images);
    }
    split.train.sort_unstable();
    split.valid.sort_unstable();
    Ok(split)
}

/// Divides the images into `folds` parts for cross-validation and returns one [`Split`] a part: the part
/// validates, all others train. Every image validates exactly once, but for those that belong to the only
/// group of a class: they train in every fold, since a head that never saw their class could say nothing of
/// them.
///
/// Single images are dealt out class by class like cards, each class starting at the fold where the last
/// one stopped. So where no images belong together the folds' sizes differ by at most one image, and so do
/// the images any class has in them; a class smaller than `folds` lies in that many different folds. Groups
/// are dealt out before, the largest first, each to the fold that has the least of its classes. What is too
/// large to be spread makes uneven folds; no fold is empty.
///
/// # Errors
/// If `folds` is below 2, above the number of images, or above the number of groups that can be held out, if
/// a label is not below `classes`, or if there are not as many groups as labels.
pub fn stratified_folds(
    labels: &[usize],
    groups: &[usize],
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
    let Parts { parts, of_class } = Parts::new(labels, groups, classes, seed)?;
    let is_only = |class: &usize| of_class[*class].len() < 2;
    let can_go = |part: &&Part| !part.counts.keys().any(is_only);
    let (mut large, single): (Vec<&Part>, Vec<&Part>) = parts
        .iter()
        .filter(can_go)
        .partition(|part| part.images.len() > 1);
    if folds > large.len() + single.len() {
        return Err(SplitError::TooFewGroups {
            folds,
            groups: large.len() + single.len(),
        });
    }
    large.sort_by_key(|part| std::cmp::Reverse(part.images.len()));

    let mut class_sizes = vec![0_usize; classes];
    labels.iter().for_each(|&label| class_sizes[label] += 1);
    let mut class_counts = vec![vec![0_usize; classes]; folds];
    let mut counts = vec![0_usize; folds];
    let mut fold_of = vec![None; labels.len()];
    let mut turn = 0;
    for part in large.into_iter().chain(single) {
        // How much there is already of what comes: none in an empty fold, which is therefore taken first.
        let crowd = |fold: usize| -> f64 {
            let share = |(&class, &count): (&usize, &usize)| {
                (count * class_counts[fold][class]) as f64 / class_sizes[class] as f64
            };
            part.counts.iter().map(share).sum()
        };
        let fold = (0..folds)
            .map(|step| (turn + step) % folds)
            .min_by(|&a, &b| {
                crowd(a)
                    .total_cmp(&crowd(b))
                    .then(counts[a].cmp(&counts[b]))
            })
            .unwrap_or_default();
        for (&class, &count) in &part.counts {
            class_counts[fold][class] += count;
        }
        counts[fold] += part.images.len();
        part.images
            .iter()
            .for_each(|&image| fold_of[image] = Some(fold));
        turn = (fold + 1) % folds;
    }
    let part = |fold: usize| {
        let (valid, train) = (0..labels.len()).partition(|&image| fold_of[image] == Some(fold));
        Split { train, valid }
    };
    Ok((0..folds).map(part).collect())
}

/// Images that stand on one side.
struct Part {
    images: Vec<usize>,
    /// How many of each class that is in it.
    counts: BTreeMap<usize, usize>,
}

struct Parts {
    parts: Vec<Part>,
    /// The parts with images of each class, in the random order in which that class draws them.
    of_class: Vec<Vec<usize>>,
}

impl Parts {
    fn new(
        labels: &[usize],
        groups: &[usize],
        classes: usize,
        seed: u64,
    ) -> Result<Self, SplitError> {
        if groups.len() != labels.len() {
            return Err(SplitError::Groups {
                groups: groups.len(),
                images: labels.len(),
            });
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut of_class = vec![Vec::new(); classes];
        let mut part_of: HashMap<usize, usize> = HashMap::new();
        for (class, images) in shuffled_classes(labels, classes, seed)?
            .into_iter()
            .enumerate()
        {
            for image in images {
                let part = *part_of.entry(groups[image]).or_insert_with(|| {
                    parts.push(Part {
                        images: Vec::new(),
                        counts: BTreeMap::new(),
                    });
                    parts.len() - 1
                });
                parts[part].images.push(image);
                let count = parts[part].counts.entry(class).or_default();
                *count += 1;
                if *count == 1 {
                    of_class[class].push(part);
                }
            }
        }
        Ok(Self { parts, of_class })
    }
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
                let split =
                    stratified_split(&labels, &each_alone(labels.len()), classes, fraction, seed)
                        .unwrap();
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
        let split = stratified_split(&[0; 5], &each_alone(5), 1, 0.5, 7).unwrap();
        assert_eq!((split.train.len(), split.valid.len()), (2, 3));
    }

    #[test]
    fn folds_validate_every_image_once_and_are_even_in_total_and_in_each_class() {
        for (labels, classes, seed) in cases().filter(|case| case.0.len() >= 2) {
            for folds in [2, 3, 5, labels.len()] {
                if folds > labels.len() {
                    continue;
                }
                let alone = each_alone(labels.len());
                let splits = stratified_folds(&labels, &alone, classes, folds, seed);
                // The only image of a class always trains: nobody else could know the class.
                let all: Vec<usize> = (0..labels.len()).collect();
                let is_measured = |image: &usize| count(&all, &labels, labels[*image]) > 1;
                let measured: Vec<usize> = all.iter().copied().filter(is_measured).collect();
                if measured.len() < folds {
                    let groups = measured.len();
                    assert_eq!(splits, Err(SplitError::TooFewGroups { folds, groups }));
                    continue;
                }
                let splits = splits.unwrap();
                assert_eq!(splits.len(), folds);
                let mut validated: Vec<usize> = Vec::new();
                for split in &splits {
                    assert_partition(split, labels.len());
                    validated.extend(&split.valid);
                }
                validated.sort_unstable();
                assert_eq!(validated, measured);
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
        let alone = each_alone(60);
        let split = |seed| stratified_split(&labels, &alone, 4, 0.25, seed).unwrap();
        let folds = |seed| stratified_folds(&labels, &alone, 4, 5, seed).unwrap();
        assert_eq!(split(1), split(1));
        assert_ne!(split(1), split(2));
        assert_eq!(folds(1), folds(1));
        assert_ne!(folds(1), folds(2));
    }

    #[test]
    fn new_images_of_one_class_leave_the_others_where_they_were() {
        let before: Vec<usize> = (0..30).map(|image| image % 3).collect();
        let after = [before.clone(), vec![2; 11]].concat();
        let old = stratified_split(&before, &each_alone(30), 3, 0.3, 5).unwrap();
        let new = stratified_split(&after, &each_alone(41), 3, 0.3, 5).unwrap();
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
        let alone = each_alone(3);
        assert_eq!(
            stratified_folds(&labels, &alone, 2, 1, 0),
            Err(SplitError::TooFewFolds(1))
        );
        assert_eq!(
            stratified_folds(&labels, &alone, 2, 4, 0),
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
        assert_eq!(
            stratified_folds(&labels, &alone, 1, 2, 0),
            Err(label.clone())
        );
        assert_eq!(stratified_split(&labels, &alone, 1, 0.5, 0), Err(label));
        for bad in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(matches!(
                stratified_split(&labels, &alone, 2, bad, 0),
                Err(SplitError::Fraction(_))
            ));
        }
        assert_eq!(stratified_split(&[], &[], 2, 0.5, 0), Ok(Split::default()));
    }

    /// The same labels with groups of many sizes, some of images of several classes.
    fn grouped() -> impl Iterator<Item = (Vec<usize>, Vec<usize>, usize, u64)> {
        cases()
            .map(|(labels, classes, seed)| {
                let mut random = Random::new(seed).fork(1);
                let most = 1 + random.below(labels.len().max(1));
                let groups = labels.iter().map(|label| {
                    // Every fifth image may be in a group with other classes.
                    let class = if random.below(5) == 0 { 0 } else { *label };
                    class * 1000 + random.below(most)
                });
                (groups.collect(), labels, classes, seed)
            })
            .map(|(groups, labels, classes, seed)| (labels, groups, classes, seed))
    }

    fn assert_whole(split: &Split, groups: &[usize]) {
        let of = |images: &[usize]| -> std::collections::HashSet<usize> {
            images.iter().map(|&image| groups[image]).collect()
        };
        assert!(of(&split.train).is_disjoint(&of(&split.valid)), "{split:?}");
    }

    /// Groups that have images of a class.
    fn groups_of(class: usize, labels: &[usize], groups: &[usize]) -> usize {
        let own = labels
            .iter()
            .zip(groups)
            .filter(|(label, _)| **label == class);
        own.map(|(_, group)| group)
            .collect::<std::collections::HashSet<_>>()
            .len()
    }

    #[test]
    fn a_group_stands_on_one_side_and_every_class_still_trains() {
        for (labels, groups, classes, seed) in grouped() {
            for fraction in [0.01, 0.2, 0.5, 0.99] {
                let split = stratified_split(&labels, &groups, classes, fraction, seed).unwrap();
                assert_partition(&split, labels.len());
                assert_whole(&split, &groups);
                for class in 0..classes {
                    let has = labels.contains(&class);
                    assert_eq!(count(&split.train, &labels, class) > 0, has);
                }
            }
        }
    }

    #[test]
    fn a_class_of_two_groups_stands_on_both_sides_as_near_to_its_share_as_they_allow() {
        // A burst of thirty, one of six, and twelve single photos; the other class is single throughout.
        let labels: Vec<usize> = (0..88).map(|image| usize::from(image >= 48)).collect();
        let groups: Vec<usize> = (0..88)
            .map(|image| match image {
                0..30 => 0,
                30..36 => 1,
                image => image,
            })
            .collect();
        for seed in 0..50 {
            let split = stratified_split(&labels, &groups, 2, 0.25, seed).unwrap();
            // Twelve of 48: the six go or not, the single ones make up for them; the thirty never fit.
            assert_eq!(count(&split.valid, &labels, 0), 12);
            assert_eq!(count(&split.valid, &labels, 1), 10);
            assert!(split.train.contains(&0));
        }
        // Two groups only: the smaller one is held out, whatever its share.
        let two: Vec<usize> = (0..40).map(|image| usize::from(image >= 25)).collect();
        let split = stratified_split(&[0; 40], &two, 1, 0.1, 3).unwrap();
        assert_eq!(split.valid, (25..40).collect::<Vec<_>>());
        // One only: there is nothing to measure by.
        let split = stratified_split(&[0; 40], &[7; 40], 1, 0.1, 3).unwrap();
        assert!(split.valid.is_empty());
    }

    #[test]
    fn folds_keep_groups_whole_are_never_empty_and_always_train_every_class() {
        for (labels, groups, classes, seed) in grouped().filter(|case| case.0.len() >= 2) {
            for folds in [2, 3, 5, 10] {
                let splits = match stratified_folds(&labels, &groups, classes, folds, seed) {
                    Ok(splits) => splits,
                    Err(SplitError::TooManyFolds { .. } | SplitError::TooFewGroups { .. }) => {
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                };
                let mut validated: Vec<usize> = Vec::new();
                for split in &splits {
                    assert_partition(split, labels.len());
                    assert_whole(split, &groups);
                    assert!(!split.valid.is_empty());
                    for class in (0..classes).filter(|class| labels.contains(class)) {
                        assert!(count(&split.train, &labels, class) > 0);
                    }
                    validated.extend(&split.valid);
                }
                validated.sort_unstable();
                // Each once, but for what is grouped with the only group of a class.
                let lone: std::collections::HashSet<usize> = (0..labels.len())
                    .filter(|&image| groups_of(labels[image], &labels, &groups) < 2)
                    .map(|image| groups[image])
                    .collect();
                let measured: Vec<usize> = (0..labels.len())
                    .filter(|&image| !lone.contains(&groups[image]))
                    .collect();
                assert_eq!(validated, measured);
            }
        }
    }

    #[test]
    fn groups_are_spread_over_the_folds_as_evenly_as_their_sizes_allow() {
        // Ten bursts of eight photos and twenty single ones, of each of two classes.
        let labels: Vec<usize> = (0..200).map(|image| image / 100).collect();
        let groups: Vec<usize> = (0..200)
            .map(|image| match image % 100 {
                burst if burst < 80 => image / 100 * 1000 + burst / 8,
                _ => 5000 + image,
            })
            .collect();
        let splits = stratified_folds(&labels, &groups, 2, 5, 4).unwrap();
        for split in &splits {
            // Two bursts and four single ones of each class.
            assert_eq!(count(&split.valid, &labels, 0), 20);
            assert_eq!(count(&split.valid, &labels, 1), 20);
        }
        let too_many = stratified_folds(&[0; 40], &[1; 40], 1, 2, 0);
        let groups = 0;
        assert_eq!(too_many, Err(SplitError::TooFewGroups { folds: 2, groups }));
    }

    #[test]
    fn groups_of_other_images_are_refused() {
        let error = SplitError::Groups {
            groups: 2,
            images: 3,
        };
        let labels = [0, 0, 1];
        assert_eq!(stratified_split(&labels, &[0, 1], 2, 0.5, 0), Err(error));
    }
}
