//! Photos joined to groups, and their features as they are compared.

use rekindle_cpu as cpu;

/// Photos joined so far: a forest whose roots are the first photos of their groups.
#[derive(Debug)]
pub(super) struct Joined(Vec<usize>);

impl Joined {
    pub(super) fn new(photos: usize) -> Self {
        Self((0..photos).collect())
    }

    pub(super) fn root(&mut self, mut photo: usize) -> usize {
        while self.0[photo] != photo {
            self.0[photo] = self.0[self.0[photo]];
            photo = self.0[photo];
        }
        photo
    }

    /// Joins two groups; says whether they were two.
    pub(super) fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
        a != b
    }
}

/// Rows of numbers, one a photo.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) width: usize,
    pub(super) rows: &'a [f32],
}

impl<'a> Rows<'a> {
    pub(super) fn row(&self, photo: usize) -> &'a [f32] {
        &self.rows[photo * self.width..(photo + 1) * self.width]
    }

    /// The cosine between two photos whose rows are of length one.
    pub(super) fn cosine(&self, a: usize, b: usize) -> f32 {
        dot(self.row(a), self.row(b))
    }
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut product = [0.0];
    cpu::row_products(a, b, &mut product);
    product[0]
}

/// A row of nothing stays one: it is like no other.
pub(super) fn to_unit_length(row: &mut [f32]) {
    let square: f64 = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if square > 0.0 {
        let factor = (1.0 / square.sqrt()) as f32;
        row.iter_mut().for_each(|x| *x *= factor);
    }
}
