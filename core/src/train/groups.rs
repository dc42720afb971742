//! Which photos belong together: copies of one picture, pictures that are nearly the same, bursts of one
//! recording. A split that tears them apart measures how well a head remembers, not how well it recognises.
//!
//! Copies have the same bytes or the same features. For everything else features decide, by the cosine between
//! them once what all classes have in common is taken off: the mean of the classes' means. What is left says how
//! a photo differs from what is usual here, and so one threshold serves networks whose features are of many
//! kinds, and photos that all look alike (letters, X-rays) as well as photos of everything.
//!
//! The thresholds were measured with SqueezeNet 1.1 and EfficientNet-Lite0 on the project's 128 sample photos. No
//! two of them are more than 0.77 alike, and one pair in a hundred is more than 0.50. A photo is alike to what was
//! made of it by (the least of 19 in 20): 0.93 as a JPEG of quality 75, 0.97 brighter by a tenth, 0.96 with text
//! across its foot, 0.90 cut by a twentieth, 0.88 mirrored, 0.90 turned by two degrees. Neighbours in bursts are
//! alike by 0.86 if the hand wanders by 1 to 2.5 % of the picture's width from one to the next (and turns, comes
//! nearer, and there is noise), by 0.75 if it wanders by 5 %. Of 22 bursts of eight pictures among the samples,
//! nothing was joined wrongly and every picture rightly, but for 3 to 8 in 154 of those of 5 %. Of 300 scanned
//! digits, which are all much alike, a tenth to a third was joined to some others, never most of a class.
//! Where there are only two classes and one of them is a single recording, it may fall into two or three
//! groups: half of how it differs from what is usual is then its own.
//!
//! [`GroupSearch`] does it a piece at a time, [`Groups::find`] in one go.

mod alike;
mod copies;
mod joined;
mod search;
#[cfg(test)]
mod tests;
mod usual;

use std::collections::HashMap;

use serde::Serialize;

pub use search::GroupSearch;

use super::features::FeatureCache;

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
}

impl Groups {
    /// Finds the groups of photos in the order in which they are listed: photos of a recording follow one
    /// another.
    ///
    /// `contents` are hashes of the photos' bytes, one a photo, where they are known. Then the order says nothing
    /// but which photos are neighbours: copies and near copies are the same in any other.
    pub fn find(cache: &FeatureCache, contents: Option<&[u64]>) -> Self {
        let mut search = GroupSearch::new(cache, contents);
        while !search.step() {}
        search.finish()
    }

    /// Finds copies only, by bytes and by features to the last bit: what can be said where features are no
    /// measure of likeness, as those of a network that was never trained.
    pub fn of_copies(cache: &FeatureCache, contents: Option<&[u64]>) -> Self {
        let mut search = GroupSearch::of_copies(cache, contents);
        while !search.step() {}
        search.finish()
    }

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

    /// Photos by the first of their group, and why how many were joined to another.
    fn new(of: Vec<usize>, copies: usize, near_copies: usize, in_bursts: usize) -> Self {
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
        };
        Self { of, counts }
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
        let mut pairs: Vec<(usize, usize)> = labels
            .iter()
            .copied()
            .zip(self.of.iter().copied())
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut counts = vec![0; classes];
        for (label, _) in pairs {
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
