//! Which examples make up which step: a function of the seed, the epoch and the labels alone, so that a run that
//! goes on where it stopped sees what it would have seen, however many epochs there are.

use std::collections::BTreeMap;
use std::ops::Range;

use rekindle_networks::random::{Random, hash};
use serde::{Deserialize, Serialize};

/// How the examples of an epoch are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Each example once, in random order.
    #[default]
    Shuffled,
    /// As many draws with replacement as there are examples, each of any class with the same chance: PyTorch's
    /// `WeightedRandomSampler` with the inverse of each class's size.
    Balanced,
}

/// The examples of an epoch, first to last. `labels` holds the class of each example; where examples have no classes,
/// any equal numbers do.
pub fn epoch(seed: u64, epoch: u64, labels: &[usize], sampler: Sampler) -> Vec<usize> {
    let mut random = Random::new(seed).fork(hash("order")).fork(epoch);
    match sampler {
        Sampler::Shuffled => {
            let mut order: Vec<usize> = (0..labels.len()).collect();
            random.shuffle(&mut order);
            order
        }
        Sampler::Balanced => {
            let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (example, &label) in labels.iter().enumerate() {
                classes.entry(label).or_default().push(example);
            }
            let classes: Vec<Vec<usize>> = classes.into_values().collect();
            let mut draw = || {
                let class = &classes[random.below(classes.len())];
                class[random.below(class.len())]
            };
            labels.iter().map(|_| draw()).collect()
        }
    }
}

/// The batches of an epoch of so many examples, as ranges of its order. A last example that would be alone joins the
/// batch before it: batch norm has no variance of a single example.
pub fn batches(count: usize, batch: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let batch = batch.max(1);
    let is_alone = batch > 1 && count > batch && count % batch == 1;
    let steps = count.div_ceil(batch) - usize::from(is_alone);
    (0..steps).map(move |step| {
        let end = match step + 1 == steps {
            true => count,
            false => (step + 1) * batch,
        };
        step * batch..end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_shows_each_example_once_and_every_order_is_as_likely() {
        let labels = vec![0; 1000];
        let mut seen = epoch(3, 5, &labels, Sampler::Shuffled);
        assert_eq!(seen, epoch(3, 5, &labels, Sampler::Shuffled));
        assert_ne!(seen, epoch(3, 6, &labels, Sampler::Shuffled));
        assert_ne!(seen, epoch(4, 5, &labels, Sampler::Shuffled));
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        let mut counts: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
        for number in 0..6000 {
            let order = epoch(11, number, &[0, 1, 2], Sampler::Shuffled);
            *counts.entry(order).or_default() += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(
            counts.values().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
        assert!(epoch(1, 1, &[], Sampler::Shuffled).is_empty());
    }

    #[test]
    fn balanced_epochs_show_every_class_alike_and_each_of_its_examples_alike() {
        // 10, 90 and 900 examples; the class 1 has none.
        let labels: Vec<usize> = (0..1000)
            .map(|example| match example {
                0..10 => 0,
                10..100 => 2,
                _ => 3,
            })
            .collect();
        let mut classes = [0_usize; 4];
        let mut examples = vec![0_usize; 1000];
        for number in 0..30 {
            let order = epoch(7, number, &labels, Sampler::Balanced);
            assert_eq!(order.len(), 1000);
            for example in order {
                classes[labels[example]] += 1;
                examples[example] += 1;
            }
        }
        // 10 000 draws each; a deviation is 82.
        assert_eq!(classes[1], 0);
        for class in [0, 2, 3] {
            assert!(classes[class].abs_diff(10_000) < 330, "{classes:?}");
        }
        // 1000 draws each; a deviation is 31.
        assert!(
            examples[..10]
                .iter()
                .all(|&count| count.abs_diff(1000) < 130)
        );
        assert!(examples[10..100].iter().all(|&count| count > 60));
        assert!(epoch(1, 1, &[], Sampler::Balanced).is_empty());
    }

    #[test]
    fn batches_cover_an_epoch_and_none_is_of_one() {
        for count in 0..70 {
            for batch in 0..20 {
                let all: Vec<_> = batches(count, batch).collect();
                let covered: Vec<usize> = all.iter().cloned().flatten().collect();
                assert_eq!(covered, (0..count).collect::<Vec<_>>());
                for range in &all {
                    assert!(!range.is_empty() && range.len() <= batch.max(1) + 1);
                    assert!(
                        range.len() > 1 || count == 1 || batch <= 1,
                        "{count} {batch}"
                    );
                }
                let long = all
                    .iter()
                    .filter(|range| range.len() > batch.max(1))
                    .count();
                assert!(long <= 1);
            }
        }
        assert_eq!(batches(9, 4).collect::<Vec<_>>(), [0..4, 4..9]);
        assert_eq!(batches(10, 4).collect::<Vec<_>>(), [0..4, 4..8, 8..10]);
        assert_eq!(batches(1, 4).last(), Some(0..1));
    }
}
