//! Where a data set stands between small and large, and between like ImageNet and unlike it, and what is usual there:
//! the matrix of strategies that courses on transfer learning teach.

use serde::Serialize;

/// Up to so many photos a data set is small, …
pub const SMALL: usize = 10_000;
/// … and from so many on large.
pub const LARGE: usize = 100_000;

/// How many photos there are to learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    Small,
    Between,
    Large,
}

impl Size {
    /// Of so many photos to learn from.
    pub fn of(photos: usize) -> Self {
        match photos {
            ..=SMALL => Self::Small,
            LARGE.. => Self::Large,
            _ => Self::Between,
        }
    }
}

/// How like the photos of ImageNet photos are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    Similar,
    Somewhat,
    Dissimilar,
}

impl Likeness {
    /// From this ratio on photos are like ImageNet's, …
    const SIMILAR: f64 = 0.55;
    /// … and below this one unlike them. EfficientNet-Lite0 has 0.65 on ordinary photos of animals, fish, monuments, tools
    /// and windmills (0.45 on the last of them and fish alone), 0.34 on Fashion-MNIST's grey clothes of 28 pixels, 0.30 on
    /// pages of text and 0.17 on noise.
    const DISSIMILAR: f64 = 0.4;

    /// By how sure a network is of its own classes: the mean probability of the likeliest, as a share of its published
    /// accuracy, which is what a calibrated network's mean probability would be on ImageNet's own photos.
    pub fn of(ratio: f64) -> Self {
        match ratio {
            ratio if ratio >= Self::SIMILAR => Self::Similar,
            ratio if ratio < Self::DISSIMILAR => Self::Dissimilar,
            _ => Self::Somewhat,
        }
    }
}

/// The row and the column of the matrix in which a data set is: of a size in between, the row that is nearer; what is
/// somewhat similar stands with what is similar, as in the courses.
pub fn cell(photos: usize, ratio: Option<f64>) -> [usize; 2] {
    // Sizes are compared by their ratios.
    let middle = ((SMALL * LARGE) as f64).sqrt();
    let is_unlike = ratio.is_some_and(|ratio| Likeness::of(ratio) == Likeness::Dissimilar);
    [usize::from(photos as f64 > middle), usize::from(is_unlike)]
}

/// What is usual in each cell: small and large down, similar and dissimilar across.
pub const STRATEGIES: [[&str; 2]; 2] = [
    [
        "the head alone (--tune head)",
        "collect more photos; till then the head, and the last stages at most (--tune last)",
    ],
    [
        "the head, then the rest (--tune full)",
        "train from scratch (--tune scratch), or the head, then the rest (--tune full)",
    ],
];

/// The same as a word in JSON.
pub const CELLS: [[&str; 2]; 2] = [
    ["small_similar", "small_dissimilar"],
    ["large_similar", "large_dissimilar"],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_and_likeness_lead_to_the_cell_that_the_courses_name() {
        for (photos, ratio, cell_of, size, likeness) in [
            (128, 0.68, [0, 0], Size::Small, Likeness::Similar),
            (2_000, 0.34, [0, 1], Size::Small, Likeness::Dissimilar),
            (10_000, 0.45, [0, 0], Size::Small, Likeness::Somewhat),
            (20_000, 0.5, [0, 0], Size::Between, Likeness::Somewhat),
            (40_000, 0.9, [1, 0], Size::Between, Likeness::Similar),
            (100_000, 0.1, [1, 1], Size::Large, Likeness::Dissimilar),
            (5_000_000, 1.3, [1, 0], Size::Large, Likeness::Similar),
        ] {
            assert_eq!(cell(photos, Some(ratio)), cell_of, "{photos} {ratio}");
            assert_eq!(Size::of(photos), size);
            assert_eq!(Likeness::of(ratio), likeness);
        }
        assert_eq!(cell(100, None), [0, 0]);
        assert!(STRATEGIES[0][1].contains("collect more"));
        assert!(STRATEGIES[1][1].contains("scratch"));
    }
}
