//! Groups of made-up photos.

use std::collections::HashMap;

use super::joined::dot;
use super::{GroupCounts, GroupSearch, Groups};
use crate::random::Random;
use crate::train::features::FeatureCache;

/// Photos whose features are unlike one another, as pooled features are: not below zero, many at zero.
fn picture(random: &mut Random, width: usize) -> Vec<f32> {
    (0..width)
        .map(|_| (3.0 * random.uniform() - 2.0).max(0.0))
        .collect()
}

/// The same with every number off by up to so much.
fn varied(row: &[f32], by: f32, random: &mut Random) -> Vec<f32> {
    row.iter()
        .map(|x| (x + by * (2.0 * random.uniform() - 1.0)).max(0.0))
        .collect()
}

fn cache(rows: &[Vec<f32>], labels: &[usize]) -> FeatureCache {
    let mut cache = FeatureCache::new(rows[0].len(), 1);
    for (row, &label) in rows.iter().zip(labels) {
        cache.push(label, row).unwrap();
    }
    cache
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn copies_by_bytes_or_features_are_one_group_wherever_they_lie() {
    let mut random = Random::new(1);
    let mut rows: Vec<_> = (0..6).map(|_| picture(&mut random, 64)).collect();
    rows[4] = rows[1].clone();
    // Black pictures, say.
    rows.extend([vec![0.0; 64], vec![0.0; 64]]);
    let contents = [10, 11, 12, 10, 14, 15, 16, 17];
    let groups = Groups::find(&cache(&rows, &[0, 0, 0, 1, 1, 1, 0, 1]), Some(&contents));
    assert_eq!(groups.of(), [0, 1, 2, 0, 1, 5, 6, 6]);
    let counts = groups.counts();
    assert_eq!((counts.groups, counts.photos, counts.copies), (3, 6, 3));
    assert_eq!(
        (counts.near_copies, counts.in_bursts, counts.largest),
        (0, 0, 2)
    );
    assert_eq!(groups.of_classes(&[0, 0, 0, 1, 1, 1, 0, 1], 3), [4, 4, 0]);
    let labels = [0, 0, 0, 1, 1, 1, 0, 1];
    let torn = groups.torn(|a, b| labels[a] != labels[b]);
    assert_eq!(torn, [[3, 0], [4, 1], [7, 6]]);
}

#[test]
fn every_pair_that_is_alike_is_found_and_no_other() {
    let mut random = Random::new(2);
    let (mut rows, mut truth) = (Vec::new(), Vec::new());
    // More than a block, so that pairs lie across blocks; few in a block, and then a block of little else.
    for picture_number in 0..900 {
        let one = picture(&mut random, 48);
        let copies = match picture_number {
            0 => 300,
            few if few % 7 == 0 => 2,
            _ => 0,
        };
        truth.push(rows.len());
        rows.push(one.clone());
        for _ in 0..copies {
            truth.push(truth[truth.len() - 1]);
            let copy = varied(&one, 0.1, &mut random);
            assert!(cosine(&one, &copy) > 0.97);
            rows.push(copy);
        }
    }
    // Not one after the other.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    random.shuffle(&mut order);
    let mixed: Vec<_> = order.iter().map(|&row| rows[row].clone()).collect();
    let groups = Groups::find(&cache(&mixed, &vec![0; mixed.len()]), None);
    let mut first = HashMap::new();
    for (place, &row) in order.iter().enumerate() {
        let expected = *first.entry(truth[row]).or_insert(place);
        assert_eq!(groups.of()[place], expected, "photo {place}");
    }
    assert_eq!(groups.counts().near_copies, rows.len() - 900);
    assert_eq!(groups.counts().largest, 301);
}

#[test]
fn a_chain_of_likenesses_does_not_join_what_differs() {
    // A picture that turns into another in forty steps, each like the next.
    let mut random = Random::new(3);
    let (from, to) = (picture(&mut random, 256), picture(&mut random, 256));
    let mix = |share: f32| -> Vec<f32> {
        let pairs = from.iter().zip(&to);
        pairs.map(|(a, b)| a + share * (b - a)).collect()
    };
    let rows: Vec<_> = (0..=40).map(|step| mix(step as f32 / 40.0)).collect();
    assert!(
        rows.windows(2)
            .all(|pair| cosine(&pair[0], &pair[1]) > 0.99)
    );
    // Of two classes in turn, so that they are no neighbours in a burst.
    let labels: Vec<usize> = (0..=40).map(|step| step % 2).collect();
    let groups = Groups::find(&cache(&rows, &labels), None);
    assert_ne!(groups.of()[0], groups.of()[40]);
}

#[test]
fn neighbours_of_one_class_that_are_like_pictures_of_one_recording_are_a_burst() {
    const WIDTH: usize = 1024;
    let mut random = Random::new(4);
    let mut unlike = || -> Vec<f32> { (0..WIDTH).map(|_| 4.0 + random.uniform()).collect() };
    let mut rows: Vec<_> = (0..40).map(|_| unlike()).collect();
    // Eight pictures of a camera that wanders: each 0.84 like the one before, the ends unlike.
    for _ in 0..8 {
        let (last, other) = (&rows[rows.len() - 1], unlike());
        let pairs = last.iter().zip(&other);
        let next = pairs.map(|(x, y)| 4.5 + 0.84 * (x - 4.5) + 0.5426 * (y - 4.5));
        rows.push(next.collect());
    }
    let groups = Groups::find(&cache(&rows, &[0; 48]), None);
    let counts = groups.counts();
    assert_eq!((counts.in_bursts, counts.near_copies), (8, 0));
    assert!(groups.of()[39..].iter().all(|&group| group == 39));
    assert_eq!(groups.of()[..39], (0..39).collect::<Vec<_>>()[..]);

    // The same pictures in turn with others are no burst, and no more are those of two classes.
    let mut apart = rows[39..].to_vec();
    for (place, row) in rows[..39].iter().enumerate() {
        apart.insert((2 * place + 1).min(apart.len()), row.clone());
    }
    let groups = Groups::find(&cache(&apart, &[0; 48]), None);
    assert_eq!(groups.counts(), GroupCounts::default());
    let labels: Vec<usize> = (0..48).map(|photo| photo % 2).collect();
    assert_eq!(
        Groups::find(&cache(&rows, &labels), None).counts(),
        GroupCounts::default()
    );
}

#[test]
fn pictures_that_are_all_alike_are_no_burst() {
    let mut random = Random::new(5);
    let one = picture(&mut random, 256);
    let rows: Vec<_> = (0..60).map(|_| varied(&one, 0.35, &mut random)).collect();
    assert!(cosine(&rows[0], &rows[1]) > 0.8);
    let groups = Groups::find(&cache(&rows, &[0; 60]), None);
    assert_eq!(groups.counts(), GroupCounts::default());
}

#[test]
fn no_photos_and_one_are_no_group() {
    let none = Groups::find(&FeatureCache::new(8, 1), None);
    assert!(none.of().is_empty());
    let one = Groups::find(&cache(&[vec![1.0; 8]], &[0]), Some(&[1]));
    assert_eq!((one.of(), one.counts()), (&[0][..], GroupCounts::default()));
}

#[test]
fn near_copies_are_found_even_where_they_are_most_of_all_photos() {
    let mut random = Random::new(6);
    let one = picture(&mut random, 256);
    let mut rows: Vec<_> = (0..50).map(|_| varied(&one, 0.1, &mut random)).collect();
    rows.extend((0..10).map(|_| picture(&mut random, 256)));
    let labels: Vec<usize> = (0..60).map(|photo| photo % 2).collect();
    let groups = Groups::find(&cache(&rows, &labels), None);
    let counts = groups.counts();
    assert_eq!((counts.groups, counts.largest), (1, 50));
}

#[test]
fn a_search_in_pieces_is_over_in_many_steps_and_stays_over() {
    let mut random = Random::new(8);
    let one = picture(&mut random, 1280);
    let rows: Vec<_> = (0..600)
        .map(|photo| match photo % 2 {
            0 => picture(&mut random, 1280),
            _ => varied(&one, 0.1, &mut random),
        })
        .collect();
    let cache = cache(&rows, &vec![0; rows.len()]);
    let mut search = GroupSearch::new(&cache, None);
    let mut steps = 1;
    while !search.step() {
        steps += 1;
    }
    // Some 200 million multiply-adds for the directions, and the rest.
    assert!((5..40).contains(&steps), "{steps} steps");
    assert!(search.step());
    let groups = search.finish();
    assert_eq!(groups.counts().largest, 300);
    assert_eq!(groups, Groups::find(&cache, None));
}

#[test]
fn near_copies_that_come_back_at_even_distances_are_found() {
    let mut random = Random::new(9);
    let one = picture(&mut random, 256);
    let rows: Vec<_> = (0..1600)
        .map(|photo| match photo % 2 {
            0 => varied(&one, 0.1, &mut random),
            _ => picture(&mut random, 256),
        })
        .collect();
    let labels: Vec<usize> = (0..1600).map(|photo| photo % 5).collect();
    let counts = Groups::find(&cache(&rows, &labels), None).counts();
    assert_eq!((counts.groups, counts.largest), (1, 800));
}

#[test]
fn where_contents_are_known_what_belongs_together_is_found_in_any_order() {
    // More photos than are asked what is usual, a chain of likenesses that is cut somewhere, copies of other
    // bytes; each photo a class of its own, so that none is a neighbour's in a burst.
    let mut random = Random::new(7);
    let mut rows: Vec<_> = (0..700).map(|_| picture(&mut random, 48)).collect();
    let (from, to) = (picture(&mut random, 48), picture(&mut random, 48));
    rows.extend((0..=40).map(|step| -> Vec<f32> {
        let share = step as f32 / 40.0;
        let pairs = from.iter().zip(&to);
        pairs.map(|(a, b)| a + share * (b - a)).collect()
    }));
    rows.push(rows[1].clone());
    let contents: Vec<u64> = (0..rows.len())
        .map(|image| Random::new(image as u64).next_u64())
        .collect();
    let labels: Vec<usize> = (0..rows.len()).collect();
    // The groups by the contents of their photos.
    let found = |order: &[usize]| {
        let rows: Vec<_> = order.iter().map(|&photo| rows[photo].clone()).collect();
        let labels: Vec<usize> = order.iter().map(|&photo| labels[photo]).collect();
        let contents: Vec<u64> = order.iter().map(|&photo| contents[photo]).collect();
        let groups = Groups::find(&cache(&rows, &labels), Some(&contents));
        let mut members: HashMap<usize, Vec<u64>> = HashMap::new();
        for (photo, &group) in groups.of().iter().enumerate() {
            members.entry(group).or_default().push(contents[photo]);
        }
        let mut members: Vec<_> = members
            .into_values()
            .filter(|group| group.len() > 1)
            .collect();
        members.iter_mut().for_each(|group| group.sort_unstable());
        members.sort_unstable();
        members
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let here = found(&order);
    // The copies, and the pieces of the chain.
    assert!((3..20).contains(&here.len()), "{} groups", here.len());
    order.reverse();
    assert_eq!(found(&order), here);
    random.shuffle(&mut order);
    assert_eq!(found(&order), here);
}

#[test]
fn where_features_are_no_measure_only_copies_are_found() {
    let mut random = Random::new(6);
    let one = picture(&mut random, 256);
    let mut rows: Vec<_> = (0..50).map(|_| varied(&one, 0.1, &mut random)).collect();
    rows.extend((0..10).map(|_| picture(&mut random, 256)));
    rows.push(rows[3].clone());
    let labels: Vec<usize> = (0..61).map(|photo| photo % 2).collect();
    let mut contents: Vec<u64> = (0..61).collect();
    contents[20] = contents[10];
    let cache = cache(&rows, &labels);
    let all = Groups::find(&cache, Some(&contents));
    assert!(all.are_mixed(&labels));
    let copies = Groups::of_copies(&cache, Some(&contents));
    let expected = GroupCounts {
        groups: 2,
        photos: 4,
        largest: 2,
        copies: 2,
        ..GroupCounts::default()
    };
    assert_eq!(copies.counts(), expected);
    assert!(!copies.are_mixed(&labels));
    // Classes that are one recording each are no such sign.
    let by_halves: Vec<usize> = (0..61).map(|photo| usize::from(photo > 25)).collect();
    let one_each = Groups::new(
        (0..61)
            .map(|photo| if photo > 25 { 26 } else { 0 })
            .collect(),
        0,
        0,
        59,
    );
    assert!(!one_each.are_mixed(&by_halves));
}

#[test]
fn given_groups_join_those_that_are_found() {
    // Photos 0 and 2 are copies; 2 and 3 are said to be of one animal, and 4 and 5 of another.
    let found = Groups::new(vec![0, 1, 0, 3, 4, 5], 1, 0, 0);
    let given = [None, None, Some(7), Some(7), Some(9), Some(9)];
    let joined = found.joined_with(&given);
    assert_eq!(joined.of(), [0, 1, 0, 0, 4, 4]);
    let counts = joined.counts();
    assert_eq!((counts.groups, counts.photos, counts.largest), (2, 5, 3));
    assert_eq!((counts.copies, counts.given), (1, 2));
}
