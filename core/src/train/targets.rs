//! What networks are to put out that do not classify: labels of which a photo may have several, and values.

use rekindle_networks::sorting::sorted;
use thiserror::Error;

/// What a network is to put out for each of some images, a row an image: 1 for every label that the image has and 0
/// for the others, or its values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TargetRows {
    width: usize,
    rows: Vec<f32>,
}

/// Targets that are not one row of numbers an image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// The numbers are not one row an image.
    #[error("{values} targets are no rows of {width}")]
    Shape {
        /// Numbers given.
        values: usize,
        /// Numbers of a row.
        width: usize,
    },
    /// A number is infinite or none.
    #[error("target {target} of image {image} is not finite")]
    NotFinite {
        /// Index of the image.
        image: usize,
        /// Index of the number in its row.
        target: usize,
    },
}

impl TargetRows {
    /// Targets of images.
    ///
    /// # Shapes
    ///
    /// - rows: `[N, width]`, row-major
    ///
    /// # Errors
    ///
    /// When the numbers are not whole rows, or not finite.
    pub fn new(width: usize, rows: Vec<f32>) -> Result<Self, TargetError> {
        if width == 0 || !rows.len().is_multiple_of(width) {
            let values = rows.len();
            return Err(TargetError::Shape { values, width });
        }
        match rows.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(TargetError::NotFinite {
                image: at / width,
                target: at % width,
            }),
            None => Ok(Self { width, rows }),
        }
    }

    /// Labels or values of each image.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.rows.len() / self.width.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows, `[N, width]`, row-major.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// The row of an image.
    ///
    /// # Panics
    ///
    /// When there is no such image.
    pub fn row(&self, image: usize) -> &[f32] {
        &self.rows[image * self.width..][..self.width]
    }

    /// One label's or value's column.
    pub fn column(&self, at: usize) -> impl Iterator<Item = f32> {
        self.rows
            .chunks_exact(self.width.max(1))
            .map(move |row| row[at])
    }

    /// The rows of some images, each as often as the image has views.
    ///
    /// # Panics
    ///
    /// When there is no such image.
    pub fn pick(&self, images: &[usize], views: usize) -> Self {
        let mut rows = Vec::with_capacity(images.len() * views * self.width);
        for &image in images {
            (0..views).for_each(|_| rows.extend_from_slice(self.row(image)));
        }
        Self {
            width: self.width,
            rows,
        }
    }

    /// The stratum of each image by its labels, and how many strata there are: the rarest of its labels; images
    /// without labels are a stratum of their own, the last. Dividing each stratum evenly divides every label that
    /// is rare evenly, as the iterative stratification of Sechidis et al. (ECML PKDD 2011) does, which takes labels
    /// up in the same order; frequent labels, which chance divides well, are left to it.
    pub fn label_strata(&self) -> (Vec<usize>, usize) {
        let mut counts = vec![0_usize; self.width];
        for row in self.rows.chunks_exact(self.width.max(1)) {
            let on = row.iter().zip(&mut counts).filter(|(on, _)| **on > 0.5);
            on.for_each(|(_, count)| *count += 1);
        }
        let rarest = |row: &[f32]| {
            let on = (0..self.width).filter(|&label| row[label] > 0.5);
            on.min_by_key(|&label| counts[label]).unwrap_or(self.width)
        };
        let strata = self.rows.chunks_exact(self.width.max(1)).map(rarest);
        (strata.collect(), self.width + 1)
    }

    /// The stratum of each image by its first value, and how many strata there are: as many images in each, as far
    /// as equal values allow, ten strata at most and some five groups of images in each. `groups` says which images
    /// belong together. A stratum of a single group, of which nothing could be held out, joins the one beside it.
    pub fn value_strata(&self, groups: &[usize]) -> (Vec<usize>, usize) {
        const MOST: usize = 10;
        const GROUPS: usize = 5;
        let firsts: Vec<f32> = self.column(0).collect();
        let order = sorted((0..firsts.len()).collect(), |&a: &usize, &b: &usize| {
            firsts[a].total_cmp(&firsts[b])
        });
        let mut kinds = sorted(groups.to_vec(), Ord::cmp);
        kinds.dedup();
        let wanted = (kinds.len() / GROUPS).clamp(1, MOST);
        let mut strata = vec![0; firsts.len()];
        let (mut stratum, mut from) = (0, 0);
        for (place, &image) in order.iter().enumerate() {
            let is_new = place > 0 && firsts[order[place - 1]] < firsts[image];
            let due = place * wanted / order.len() > from * wanted / order.len();
            let stands =
                |part: &[usize]| part.iter().any(|&other| groups[other] != groups[part[0]]);
            if is_new && due && stands(&order[from..place]) && stands(&order[place..]) {
                (stratum, from) = (stratum + 1, place);
            }
            strata[image] = stratum;
        }
        (strata, stratum + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_rows_of_finite_numbers() {
        assert_eq!(
            TargetRows::new(2, vec![1.0; 3]),
            Err(TargetError::Shape {
                values: 3,
                width: 2
            })
        );
        assert_eq!(
            TargetRows::new(2, vec![1.0, 2.0, 3.0, f32::NAN]),
            Err(TargetError::NotFinite {
                image: 1,
                target: 1
            })
        );
        let rows = TargetRows::new(2, vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(
            rows.pick(&[1, 0], 2).rows(),
            [3.0, 4.0, 3.0, 4.0, 1.0, 2.0, 1.0, 2.0]
        );
        assert_eq!(rows.column(1).collect::<Vec<_>>(), [2.0, 4.0]);
    }

    #[test]
    fn labels_stratify_by_the_rarest() {
        // Label 0 three times, 1 twice, 2 once.
        let rows = [[1., 0., 0.], [1., 1., 0.], [1., 1., 1.], [0., 0., 0.]];
        let rows = TargetRows::new(3, rows.concat()).unwrap();
        assert_eq!(rows.label_strata(), (vec![0, 1, 2, 3], 4));
    }

    #[test]
    fn values_stratify_by_quantiles_that_equal_values_do_not_tear_and_groups_fill() {
        let alone: Vec<usize> = (0..100).collect();
        let rows = TargetRows::new(1, (0..100).map(|at| (at * 37 % 100) as f32).collect()).unwrap();
        let (strata, count) = rows.value_strata(&alone);
        assert_eq!(count, 10);
        for (image, stratum) in strata.iter().enumerate() {
            assert_eq!(*stratum, (image * 37 % 100) / 10);
        }
        let equal = TargetRows::new(1, vec![4.0; 100]).unwrap();
        assert_eq!(equal.value_strata(&alone).1, 1);
        // Every value belongs to one group: a stratum holds two groups at least.
        let groups: Vec<usize> = (0..100).map(|at| at / 20).collect();
        let rows = TargetRows::new(1, groups.iter().map(|&group| group as f32).collect()).unwrap();
        let (strata, count) = rows.value_strata(&groups);
        assert_eq!(count, 1, "{strata:?}");
        let groups: Vec<usize> = (0..100).map(|at| at / 5).collect();
        let rows = TargetRows::new(1, groups.iter().map(|&group| group as f32).collect()).unwrap();
        let (strata, count) = rows.value_strata(&groups);
        assert!(count > 2);
        for stratum in 0..count {
            let members = (0..100).filter(|&image| strata[image] == stratum);
            let mut kinds: Vec<_> = members.map(|image| groups[image]).collect();
            kinds.dedup();
            assert!(kinds.len() > 1, "{strata:?}");
        }
    }
}
