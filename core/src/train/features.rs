//! Frozen work, done once: the pooled features of every image and of every augmented view.

use std::borrow::Cow;

use rekindle_cpu::Rows;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Features of labelled images under a frozen trunk.
///
/// Every image has the same number of views; the first is the plain one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureCache {
    width: usize,
    views: usize,
    labels: Vec<usize>,
    rows: Vec<f32>,
}

/// Some or all rows of a table of features. A cache's are borrowed: features of very many photos take most of the
/// memory there is, and no second copy of them is made to train on some.
#[derive(Debug, Clone, PartialEq)]
pub struct Table<'a> {
    width: usize,
    numbers: Cow<'a, [f32]>,
    which: Option<Cow<'a, [u32]>>,
}

impl<'a> Table<'a> {
    /// All rows of a table, `[N, width]`, row-major.
    pub fn all(width: usize, numbers: impl Into<Cow<'a, [f32]>>) -> Self {
        Self {
            width,
            numbers: numbers.into(),
            which: None,
        }
    }

    /// The rows, as products take them.
    pub fn rows(&self) -> Rows<'_> {
        match &self.which {
            Some(which) => Rows::some(self.width, &self.numbers, which),
            None => Rows::all(self.width, &self.numbers),
        }
    }

    /// Length of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Numbers in all rows, those of a last, incomplete one too.
    pub fn numbers(&self) -> usize {
        match &self.which {
            Some(which) => which.len() * self.width,
            None => self.numbers.len(),
        }
    }

    /// The same rows, borrowed.
    pub fn borrowed(&self) -> Table<'_> {
        Table {
            width: self.width,
            numbers: Cow::Borrowed(&self.numbers),
            which: self.which.as_deref().map(Cow::Borrowed),
        }
    }

    /// The same rows, copied where they are not one's own.
    pub fn into_owned(self) -> Table<'static> {
        match (self.numbers, self.which) {
            (Cow::Owned(numbers), which) => Table {
                width: self.width,
                numbers: Cow::Owned(numbers),
                which: which.map(|which| Cow::Owned(which.into_owned())),
            },
            (numbers, which) => Table::all(
                self.width,
                Table {
                    width: self.width,
                    numbers,
                    which,
                }
                .gathered(),
            ),
        }
    }

    /// The rows one behind the other, `[N, width]`.
    pub fn gathered(&self) -> Vec<f32> {
        let rows = self.rows();
        let mut gathered = Vec::with_capacity(rows.len() * self.width);
        rows.iter().for_each(|row| gathered.extend_from_slice(row));
        gathered
    }
}

/// Rows picked from a cache: what a head is fitted to.
#[derive(Debug, Clone, PartialEq)]
pub struct Examples<'a> {
    /// `[N, width]`.
    pub features: Table<'a>,
    /// The class of each row.
    pub labels: Vec<usize>,
}

impl<'a> Examples<'a> {
    /// Rows and the class of each.
    ///
    /// # Shapes
    ///
    /// - features: `[N, width]`, row-major, with a label for each row
    pub fn new(width: usize, features: impl Into<Cow<'a, [f32]>>, labels: Vec<usize>) -> Self {
        Self {
            features: Table::all(width, features),
            labels,
        }
    }

    /// The rows.
    pub fn rows(&self) -> Rows<'_> {
        self.features.rows()
    }

    /// Length of a row.
    pub fn width(&self) -> usize {
        self.features.width
    }

    /// Rows there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Features that do not fit the cache.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum FeatureError {
    /// A row count or length that does not match.
    #[error("an image brought {found} features where {expected} were due")]
    Width {
        /// What the cache holds per image.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// The network put out infinities or not-a-numbers.
    #[error("the network's features are not finite: its weights or its device are broken")]
    NotFinite,
}

impl FeatureCache {
    /// An empty cache for rows of `width` numbers and `views` views of each image.
    pub fn new(width: usize, views: usize) -> Self {
        Self {
            width,
            views: views.max(1),
            labels: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// A cache of rows that are there already; nothing is copied.
    ///
    /// # Shapes
    ///
    /// - labels: one for each image
    /// - rows: `[images, views, width]`, row-major, the plain view first
    ///
    /// # Errors
    ///
    /// When the count is wrong or a number is not finite.
    pub fn of_rows(
        width: usize,
        views: usize,
        labels: Vec<usize>,
        rows: Vec<f32>,
    ) -> Result<Self, FeatureError> {
        let views = views.max(1);
        let expected = labels.len() * views * width;
        if rows.len() != expected {
            return Err(FeatureError::Width {
                expected,
                found: rows.len(),
            });
        }
        if !rows.iter().all(|value| value.is_finite()) {
            return Err(FeatureError::NotFinite);
        }
        Ok(Self {
            width,
            views,
            labels,
            rows,
        })
    }

    /// Images in the cache.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Length of a feature vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Views of each image, the plain one included.
    pub fn views(&self) -> usize {
        self.views
    }

    /// The class of each image.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Adds an image by the features of all its views, the plain one first. Returns its number.
    ///
    /// # Shapes
    ///
    /// - features: `[views, width]`, row-major
    ///
    /// # Errors
    ///
    /// When the count is wrong or a number is not finite.
    pub fn push(&mut self, label: usize, features: &[f32]) -> Result<usize, FeatureError> {
        let expected = self.width * self.views;
        if features.len() != expected {
            return Err(FeatureError::Width {
                expected,
                found: features.len(),
            });
        }
        if !features.iter().all(|value| value.is_finite()) {
            return Err(FeatureError::NotFinite);
        }
        self.labels.push(label);
        self.rows.extend_from_slice(features);
        Ok(self.labels.len() - 1)
    }

    /// Forgets an image; those after it move up by one.
    pub fn remove(&mut self, image: usize) {
        if image < self.labels.len() {
            let length = self.width * self.views;
            self.labels.remove(image);
            self.rows.drain(image * length..(image + 1) * length);
        }
    }

    /// Gives an image another class.
    pub fn relabel(&mut self, image: usize, label: usize) {
        if let Some(old) = self.labels.get_mut(image) {
            *old = label;
        }
    }

    /// All rows, `[images · views, width]`.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// The features of an image's plain view.
    ///
    /// # Panics
    ///
    /// When there is no such image.
    pub fn row(&self, image: usize) -> &[f32] {
        &self.rows[image * self.views * self.width..][..self.width]
    }

    /// The plain view of some images: what validation looks at.
    pub fn plain(&self, images: &[usize]) -> Examples<'_> {
        self.pick(images, 1)
    }

    /// All views of some images: what a head is trained on.
    pub fn all_views(&self, images: &[usize]) -> Examples<'_> {
        self.pick(images, self.views)
    }

    fn pick(&self, images: &[usize], views: usize) -> Examples<'_> {
        let rows = |&image: &usize| (0..views).map(move |view| (image * self.views + view) as u32);
        let labels = |&image: &usize| std::iter::repeat_n(self.labels[image], views);
        Examples {
            features: Table {
                width: self.width,
                numbers: Cow::Borrowed(&self.rows),
                which: Some(images.iter().flat_map(rows).collect()),
            },
            labels: images.iter().flat_map(labels).collect(),
        }
    }

    /// The plain view of all images.
    pub fn plain_views(&self) -> Table<'_> {
        let which = || (0..self.labels.len()).map(|image| (image * self.views) as u32);
        Table {
            width: self.width,
            numbers: Cow::Borrowed(&self.rows),
            which: (self.views > 1).then(|| which().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_sees_the_plain_view_and_training_sees_all() {
        let mut cache = FeatureCache::new(2, 3);
        cache.push(0, &[1., 2., 3., 4., 5., 6.]).unwrap();
        cache.push(1, &[7., 8., 9., 10., 11., 12.]).unwrap();
        assert_eq!(cache.plain(&[1]).rows().row(0), [7., 8.]);
        assert_eq!(cache.all_views(&[1]).labels, [1, 1, 1]);
        cache.remove(0);
        assert_eq!(cache.plain(&[0]).rows().row(0), [7., 8.]);
    }

    #[test]
    fn rows_that_are_there_make_the_same_cache() {
        let mut cache = FeatureCache::new(2, 2);
        cache.push(0, &[1., 2., 3., 4.]).unwrap();
        cache.push(3, &[5., 6., 7., 8.]).unwrap();
        let rows: Vec<f32> = (1..=8_u8).map(f32::from).collect();
        assert_eq!(
            FeatureCache::of_rows(2, 2, vec![0, 3], rows.clone()),
            Ok(cache)
        );
        assert!(FeatureCache::of_rows(2, 2, vec![0], rows.clone()).is_err());
        let strange = rows.iter().map(|_| f32::INFINITY).collect();
        assert_eq!(
            FeatureCache::of_rows(2, 2, vec![0, 3], strange),
            Err(FeatureError::NotFinite)
        );
    }

    #[test]
    fn wrong_lengths_and_nan_are_refused() {
        let mut cache = FeatureCache::new(2, 1);
        assert_eq!(
            cache.push(0, &[1.0]),
            Err(FeatureError::Width {
                expected: 2,
                found: 1
            })
        );
        assert_eq!(
            cache.push(0, &[1.0, f32::NAN]),
            Err(FeatureError::NotFinite)
        );
        assert!(cache.is_empty());
    }
}
