//! Photos joined to groups, and their features as they are compared.

use rekindle_cpu::{self as cpu, Rows};

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

/// Photos' features less what is usual, of length one. They are worked out where they are asked for, so that there is
/// no second copy of the features.
#[derive(Clone, Copy)]
pub(super) struct Units<'a> {
    pub(super) rows: Rows<'a>,
    /// `[width]`.
    pub(super) usual: &'a [f32],
    /// What brings each photo's row to length one.
    pub(super) factors: &'a [f32],
}

impl Units<'_> {
    pub(super) fn width(&self) -> usize {
        self.rows.width()
    }

    /// Numbers of a photo's row.
    pub(super) fn row(&self, photo: usize) -> impl Iterator<Item = f32> {
        let factor = self.factors[photo];
        let pairs = self.rows.row(photo).iter().zip(self.usual);
        pairs.map(move |(x, usual)| (x - usual) * factor)
    }

    /// The cosine between two photos.
    pub(super) fn cosine(&self, a: usize, b: usize) -> f32 {
        let [a, b] = [a, b].map(|photo| self.row(photo).collect::<Vec<f32>>());
        dot(&a, &b)
    }
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut product = [0.0];
    cpu::row_products(a, b, &mut product);
    product[0]
}

/// What brings a row to length one. A row of nothing stays one: it is like no other.
pub(super) fn unit_factor(row: impl Iterator<Item = f32>) -> f32 {
    let square: f64 = row.map(|x| f64::from(x) * f64::from(x)).sum();
    match square > 0.0 {
        true => (1.0 / square.sqrt()) as f32,
        false => 1.0,
    }
}

pub(super) fn to_unit_length(row: &mut [f32]) {
    let factor = unit_factor(row.iter().copied());
    row.iter_mut().for_each(|x| *x *= factor);
}
