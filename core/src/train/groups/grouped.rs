//! Photos in groups, and what follows for splits of them.

use std::collections::HashMap;

use rekindle_networks::sorting::sorted;
use serde::Serialize;

use super::joined::Joined;

/// Photos in groups that no split may tear apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    of: Vec<usize>,
    counts: GroupCounts,
}

/// How many photos belong together, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GroupCounts {
    /// Groups of two photos or more.
    pub groups: usize,
    /// Photos in them.
    pub photos: usize,
    /// Photos of the largest.
    pub largest: usize,
    /// Photos that are copies of another, by bytes or by features.
    pub copies: usize,
    /// Photos that are nearly the same as another, and no copies.
    pub near_copies: usize,
    /// Photos that belong to others of one recording, and are neither.
    pub in_bursts: usize,
    /// Photos that belong to others because somebody said so, and are none of these.
    pub given: usize,
}

impl Groups {
    /// Whether features seem to tell nothing apart: one group holds most photos of two classes or more. A burst is
    /// of one recording, and people put a recording into one class.
    pub fn are_mixed(&self, labels: &[usize]) -> bool {
        let mut sizes: HashMap<usize, usize> = HashMap::new();
        let mut members: HashMap<(usize, usize), usize> = HashMap::new();
        for (&label, &group) in labels.iter().zip(&self.of) {
            *sizes.entry(label).or_default() += 1;
            *members.entry((group, label)).or_default() += 1;
        }
        let mut held: HashMap<usize, usize> = HashMap::new();
        for ((group, label), count) in members {
            let size = sizes.get(&label).copied().unwrap_or_default();
            // Of very few photos nothing can be said.
            if size >= 4 && 2 * count > size {
                *held.entry(group).or_default() += 1;
            }
        }
        held.values().any(|&classes| classes > 1)
    }

    /// Photos none of which belongs to another.
    pub fn alone(photos: usize) -> Self {
        Self::new((0..photos).collect(), 0, 0, 0)
    }

    /// Photos by the first of their group, and why how many were joined to another.
    pub(super) fn new(of: Vec<usize>, copies: usize, near_copies: usize, in_bursts: usize) -> Self {
        let mut sizes = vec![0_usize; of.len()];
        of.iter().for_each(|&group| sizes[group] += 1);
        let large = || sizes.iter().copied().filter(|&size| size > 1);
        let counts = GroupCounts {
            groups: large().count(),
            photos: large().sum(),
            largest: large().max().unwrap_or_default(),
            copies,
            near_copies,
            in_bursts,
            given: 0,
        };
        Self { of, counts }
    }

    /// The same groups, joined where `given` says that photos belong together: photos of one number do; those
    /// without a number stay as they are.
    #[must_use]
    pub fn joined_with(self, given: &[Option<usize>]) -> Self {
        let counts = self.counts;
        let mut joined = Joined::new(self.of.len());
        for (photo, &group) in self.of.iter().enumerate() {
            joined.join(photo, group);
        }
        let mut first: HashMap<usize, usize> = HashMap::new();
        let mut more = 0;
        for (photo, group) in given.iter().enumerate().take(self.of.len()) {
            let Some(group) = group else { continue };
            let other = *first.entry(*group).or_insert(photo);
            more += usize::from(joined.join(photo, other));
        }
        let of = (0..self.of.len()).map(|photo| joined.root(photo)).collect();
        let mut groups = Self::new(of, counts.copies, counts.near_copies, counts.in_bursts);
        groups.counts.given = more;
        groups
    }

    /// The group of each photo: the number of its first photo.
    pub fn of(&self) -> &[usize] {
        &self.of
    }

    /// How many there are.
    pub fn counts(&self) -> GroupCounts {
        self.counts
    }

    /// Groups of each class: what can be held out of it, at most all but one.
    pub fn of_classes(&self, labels: &[usize], classes: usize) -> Vec<usize> {
        let pairs = labels.iter().zip(&self.of);
        let mut pairs = sorted(pairs.collect(), Ord::cmp);
        pairs.dedup();
        let mut counts = vec![0; classes];
        for (&label, _) in pairs {
            if let Some(count) = counts.get_mut(label) {
                *count += 1;
            }
        }
        counts
    }

    /// Pairs of photos of one group of which `differ` says that they should not be in one: a photo and the
    /// first of its group that is unlike it.
    pub fn torn(&self, differ: impl Fn(usize, usize) -> bool) -> Vec<[usize; 2]> {
        let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
        let mut torn = Vec::new();
        for (photo, &group) in self.of.iter().enumerate() {
            let before = members.entry(group).or_default();
            if let Some(&other) = before.iter().find(|&&other| differ(photo, other)) {
                torn.push([photo, other]);
            }
            // One of a kind is enough to be compared with.
            if before.iter().all(|&other| differ(photo, other)) {
                before.push(photo);
            }
        }
        torn
    }
}
