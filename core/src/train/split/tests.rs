//! Splits and folds: shares, groups, seeds, contents.

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
            let split = stratified_split(
                &labels,
                &each_alone(labels.len()),
                None,
                classes,
                fraction,
                seed,
            )
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
    let split = stratified_split(&[0; 5], &each_alone(5), None, 1, 0.5, 7).unwrap();
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
            let splits = stratified_folds(&labels, &alone, None, classes, folds, seed);
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
    let split = |seed| stratified_split(&labels, &alone, None, 4, 0.25, seed).unwrap();
    let folds = |seed| stratified_folds(&labels, &alone, None, 4, 5, seed).unwrap();
    assert_eq!(split(1), split(1));
    assert_ne!(split(1), split(2));
    assert_eq!(folds(1), folds(1));
    assert_ne!(folds(1), folds(2));
}

/// The same images in another order: which of them stands at each place.
fn reordered(images: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images).collect();
    Random::new(seed).fork(2).shuffle(&mut order);
    order
}

#[test]
fn where_contents_are_known_the_order_of_the_list_decides_nothing() {
    for (labels, groups, classes, seed) in grouped().filter(|case| case.0.len() >= 2) {
        // Copies of one content stand in one group, as `Groups` finds them, whatever their classes.
        let mut keys: Vec<u64> = (0..labels.len())
            .map(|image| Random::new(image as u64).next_u64())
            .collect();
        for image in (3..labels.len()).step_by(7) {
            keys[image] = keys[image - 3];
        }
        let mut groups = groups;
        for image in (3..labels.len()).step_by(7) {
            let (from, to) = (groups[image], groups[image - 3]);
            groups
                .iter_mut()
                .filter(|group| **group == from)
                .for_each(|group| *group = to);
        }
        let order = reordered(labels.len(), seed);
        let moved =
            |values: &[usize]| -> Vec<usize> { order.iter().map(|&image| values[image]).collect() };
        let moved_keys: Vec<u64> = order.iter().map(|&image| keys[image]).collect();
        // Class and content of the images on each side, in order of the contents.
        let told = |split: Split, keys: &[u64], labels: &[usize]| {
            let split = split.by_content(keys, labels);
            [split.train, split.valid].map(|side| {
                let image = |image: &usize| (keys[*image], labels[*image]);
                side.iter().map(image).collect::<Vec<_>>()
            })
        };
        let here = stratified_split(&labels, &groups, Some(&keys), classes, 0.3, seed);
        let there = stratified_split(
            &moved(&labels),
            &moved(&groups),
            Some(&moved_keys),
            classes,
            0.3,
            seed,
        );
        assert_eq!(
            told(here.unwrap(), &keys, &labels),
            told(there.unwrap(), &moved_keys, &moved(&labels))
        );
        let here = stratified_folds(&labels, &groups, Some(&keys), classes, 3, seed);
        let there = stratified_folds(
            &moved(&labels),
            &moved(&groups),
            Some(&moved_keys),
            classes,
            3,
            seed,
        );
        match (here, there) {
            (Ok(here), Ok(there)) => {
                for (here, there) in here.into_iter().zip(there) {
                    assert_eq!(
                        told(here, &keys, &labels),
                        told(there, &moved_keys, &moved(&labels))
                    );
                }
            }
            (here, there) => assert_eq!(here.err(), there.err()),
        }
    }
}

#[test]
fn what_is_drawn_by_content_is_drawn_at_random() {
    // Two in five, of every image equally often.
    let labels = [0; 25];
    let keys: Vec<u64> = (0..25).map(|image| Random::new(image).next_u64()).collect();
    let mut held = [0_u32; 25];
    for seed in 0..2_000 {
        let split = stratified_split(&labels, &each_alone(25), Some(&keys), 1, 0.4, seed).unwrap();
        assert_eq!(split.valid.len(), 10);
        split.valid.iter().for_each(|&image| held[image] += 1);
    }
    // Six standard deviations of a binomial.
    assert!(
        held.iter().all(|count| count.abs_diff(800) < 132),
        "{held:?}"
    );
    let error = SplitError::Keys { keys: 2, images: 3 };
    let few = stratified_split(&[0; 3], &[0, 1, 2], Some(&[1, 2]), 1, 0.5, 0);
    assert_eq!(few, Err(error));
}

#[test]
fn new_images_of_one_class_leave_the_others_where_they_were() {
    let before: Vec<usize> = (0..30).map(|image| image % 3).collect();
    let after = [before.clone(), vec![2; 11]].concat();
    let old = stratified_split(&before, &each_alone(30), None, 3, 0.3, 5).unwrap();
    let new = stratified_split(&after, &each_alone(41), None, 3, 0.3, 5).unwrap();
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
        stratified_folds(&labels, &alone, None, 2, 1, 0),
        Err(SplitError::TooFewFolds(1))
    );
    assert_eq!(
        stratified_folds(&labels, &alone, None, 2, 4, 0),
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
        stratified_folds(&labels, &alone, None, 1, 2, 0),
        Err(label.clone())
    );
    assert_eq!(
        stratified_split(&labels, &alone, None, 1, 0.5, 0),
        Err(label)
    );
    for bad in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(matches!(
            stratified_split(&labels, &alone, None, 2, bad, 0),
            Err(SplitError::Fraction(_))
        ));
    }
    assert_eq!(
        stratified_split(&[], &[], None, 2, 0.5, 0),
        Ok(Split::default())
    );
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
            let split = stratified_split(&labels, &groups, None, classes, fraction, seed).unwrap();
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
        let split = stratified_split(&labels, &groups, None, 2, 0.25, seed).unwrap();
        // Twelve of 48: the six go or not, the single ones make up for them; the thirty never fit.
        assert_eq!(count(&split.valid, &labels, 0), 12);
        assert_eq!(count(&split.valid, &labels, 1), 10);
        assert!(split.train.contains(&0));
    }
    // Two groups only: the smaller one is held out, whatever its share.
    let two: Vec<usize> = (0..40).map(|image| usize::from(image >= 25)).collect();
    let split = stratified_split(&[0; 40], &two, None, 1, 0.1, 3).unwrap();
    assert_eq!(split.valid, (25..40).collect::<Vec<_>>());
    // One only: there is nothing to measure by.
    let split = stratified_split(&[0; 40], &[7; 40], None, 1, 0.1, 3).unwrap();
    assert!(split.valid.is_empty());
}

#[test]
fn folds_keep_groups_whole_are_never_empty_and_always_train_every_class() {
    for (labels, groups, classes, seed) in grouped().filter(|case| case.0.len() >= 2) {
        for folds in [2, 3, 5, 10] {
            let splits = match stratified_folds(&labels, &groups, None, classes, folds, seed) {
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
    let splits = stratified_folds(&labels, &groups, None, 2, 5, 4).unwrap();
    for split in &splits {
        // Two bursts and four single ones of each class.
        assert_eq!(count(&split.valid, &labels, 0), 20);
        assert_eq!(count(&split.valid, &labels, 1), 20);
    }
    let too_many = stratified_folds(&[0; 40], &[1; 40], None, 1, 2, 0);
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
    assert_eq!(
        stratified_split(&labels, &[0, 1], None, 2, 0.5, 0),
        Err(error)
    );
}
