//! The photos: their features, the inner products between them, and the last solution.

use rekindle_cpu::row_products;

use super::kept::Kept;
use crate::train::features::{FeatureCache, FeatureError};
use crate::train::logistic::LinearSolution;

/// Photos for each feature above which inner products are not worth their room and time.
pub(super) const MOST_PHOTOS: usize = 2;

/// Photos by their features, the inner products between them, and the last solution.
///
/// Labels are the classes' stable ids: any numbers that the caller chooses, and never uses again for
/// another class.
#[derive(Debug)]
pub struct PhotoSpace {
    pub(super) cache: FeatureCache,
    /// What is taken off the features before they are multiplied: products of centred features do not
    /// depend on it, but their rounding does.
    pub(super) reference: Vec<f32>,
    /// Each photo's products with those before it and itself, for the first photos.
    pub(super) products: Vec<Vec<f32>>,
    /// What each photo is called here, ascending.
    pub(super) serials: Vec<u64>,
    /// Serials given so far.
    given: u64,
    /// Changes so far.
    pub(super) revision: u64,
    pub(super) kept: Option<Kept>,
}

impl PhotoSpace {
    /// No photos yet, of so many features each.
    pub fn new(width: usize) -> Self {
        Self {
            cache: FeatureCache::new(width, 1),
            reference: Vec::new(),
            products: Vec::new(),
            serials: Vec::new(),
            given: 0,
            revision: 0,
            kept: None,
        }
    }

    /// Adds a photo and its inner products with the others. Returns its position.
    ///
    /// # Errors
    ///
    /// When the number of features is wrong or one is not finite.
    pub fn push(&mut self, label: usize, features: &[f32]) -> Result<usize, FeatureError> {
        let position = self.cache.push(label, features)?;
        if self.reference.is_empty() {
            self.reference = features.to_vec();
        }
        self.serials.push(self.given);
        self.given += 1;
        self.revision += 1;
        // Two rows a photo where some are missing, so that they catch up.
        for _ in 0..2 {
            if self.products.len() < self.len().min(MOST_PHOTOS * self.width()) {
                self.add_products();
            }
        }
        Ok(position)
    }

    /// Works out the first row of products that is missing.
    fn add_products(&mut self) {
        let count = self.products.len();
        let width = self.width().max(1);
        let centred = |image: usize, into: &mut Vec<f32>| {
            let row = self.cache.row(image).iter().zip(&self.reference);
            into.extend(row.map(|(x, reference)| x - reference));
        };
        let mut row = Vec::with_capacity(width);
        centred(count, &mut row);
        let mut products = vec![0.0; count + 1];
        // A few photos at a time: their centred features stay in the first-level cache.
        let mut some = Vec::with_capacity(4 * width);
        for (index, products) in products.chunks_mut(4).enumerate() {
            some.clear();
            (0..products.len()).for_each(|at| centred(4 * index + at, &mut some));
            row_products(&some, &row, products);
        }
        self.products.push(products);
    }

    /// Forgets a photo; those after it move up by one. Nothing where there is no such photo.
    pub fn remove(&mut self, image: usize) {
        if image >= self.len() {
            return;
        }
        self.cache.remove(image);
        self.serials.remove(image);
        self.revision += 1;
        if image < self.products.len() {
            self.products.remove(image);
            for row in &mut self.products[image..] {
                row.remove(image);
            }
        }
    }

    /// Gives a photo another class.
    pub fn relabel(&mut self, image: usize, label: usize) {
        self.cache.relabel(image, label);
        self.revision += 1;
    }

    /// Forgets all photos of a class. Returns the positions that they had, ascending.
    pub fn remove_label(&mut self, label: usize) -> Vec<usize> {
        let labels = self.labels().iter().enumerate();
        let gone: Vec<usize> = labels
            .filter(|(_, of)| **of == label)
            .map(|(image, _)| image)
            .collect();
        gone.iter().rev().for_each(|&image| self.remove(image));
        gone
    }

    /// Photos there are.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Features of a photo.
    pub fn width(&self) -> usize {
        self.cache.width()
    }

    /// The class of each photo.
    pub fn labels(&self) -> &[usize] {
        self.cache.labels()
    }

    /// A photo's features.
    ///
    /// # Panics
    ///
    /// When there is no such photo.
    pub fn features(&self, image: usize) -> &[f32] {
        self.cache.row(image)
    }

    /// The photos' features as a cache.
    pub fn cache(&self) -> &FeatureCache {
        &self.cache
    }

    /// Forgets what was kept: the next fit starts from nothing.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// The logits of some photos, by their positions.
    ///
    /// # Shapes
    ///
    /// - returns: `[images, classes]`, row-major
    ///
    /// # Panics
    ///
    /// When there is no such photo.
    pub fn logits(&self, solution: &LinearSolution, images: &[usize]) -> Vec<f32> {
        solution.logits_of(self.cache.plain(images).rows())
    }

    /// The products of some photos, in ascending order, on and below the diagonal of `[N, N]`.
    pub(super) fn products(&self, images: &[usize]) -> Vec<f32> {
        let count = images.len();
        let mut products = vec![0.0; count * count];
        for (row, &image) in images.iter().enumerate() {
            let known = &self.products[image];
            let row = &mut products[row * count..][..row + 1];
            for (product, &other) in row.iter_mut().zip(images) {
                *product = known[other];
            }
        }
        products
    }
}
