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
mod directions;
mod grouped;
mod joined;
#[cfg(test)]
mod plain;
mod search;
#[cfg(test)]
mod tests;
mod usual;
mod work;

pub use grouped::{GroupCounts, Groups};
pub use search::GroupSearch;

use super::features::FeatureCache;

impl Groups {
    /// Finds the groups of photos in the order in which they are listed: photos of a recording follow one
    /// another.
    ///
    /// `contents` are hashes of the photos' bytes, one a photo, where they are known. Then the order says nothing
    /// but which photos are neighbours: copies and near copies are the same in any other.
    pub fn find(cache: &FeatureCache, contents: Option<&[u64]>) -> Self {
        let mut search = GroupSearch::of(cache, contents);
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
}
