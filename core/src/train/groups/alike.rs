//! Photos that are nearly the same, wherever they stand.
//!
//! Comparing all pairs takes a product of the features with themselves. It is done block by block on a few
//! random directions first (Johnson and Lindenstrauss 1984), and only what is alike there is compared in full.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use rekindle_cpu as cpu;

use super::joined::{Joined, Units, dot, to_unit_length};
use super::work::{PIECE, Work};
use crate::random::Random;

/// Cosine from which two photos are nearly the same, wherever they stand.
pub(super) const ALIKE: f32 = 0.86;

/// Random directions that photos are compared along first.
const DIRECTIONS: usize = 128;
/// How far the cosine along them may be off: six standard deviations, `(1 − cos²) / √DIRECTIONS` each.
const SLACK: f32 = 6.0 * (1.0 - ALIKE * ALIKE) / 11.3;
/// Rows and columns that are compared at a time.
const BLOCK: usize = 256;
/// Photos that are turned to the directions at a time.
const TURNED: usize = 64;
/// Where one in so many pairs of a block is alike along the directions, products of its whole rows are
/// faster than theirs one by one.
const DENSE: usize = 64;

/// The search for photos that are alike. What is joined already must be alike as a whole, so that no chain of
/// likenesses joins what differs.
#[derive(Debug)]
pub(super) struct Alike {
    /// The photos that are compared.
    photos: Vec<usize>,
    directions: Vec<f32>,
    /// Each photo along the directions, of length one again: as many as have been turned.
    along: Vec<f32>,
    /// The next block of pairs: where its rows and its columns begin.
    next: [usize; 2],
    block: Block,
    /// The sums of groups of more than one photo, by their first.
    sums: HashMap<usize, Vec<f32>>,
    count: usize,
}

/// The pairs of a block that are alike along the directions, as places among the photos.
#[derive(Debug, Default)]
struct Block {
    pairs: Vec<[usize; 2]>,
    /// The next of them.
    next: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    /// Whether whole rows are compared in full.
    is_dense: bool,
    /// The rows that have been, and their cosines with all columns.
    compared: Range<usize>,
    cosines: Vec<f32>,
}

impl Alike {
    pub(super) fn new(photos: Vec<usize>, width: usize) -> Self {
        // Any directions will do, as long as they are the same every time.
        let mut random = Random::new(0x6772_6f75_7073);
        let directions = (0..DIRECTIONS * width)
            .map(|_| if random.uniform() < 0.5 { -1.0 } else { 1.0 })
            .collect();
        Self {
            along: Vec::with_capacity(photos.len() * DIRECTIONS),
            photos,
            directions,
            next: [0, 0],
            block: Block::default(),
            sums: HashMap::new(),
            count: 0,
        }
    }

    /// Goes on while there is work to spend. At the end: how many photos were joined to another.
    pub(super) fn step(
        &mut self,
        joined: &mut Joined,
        rows: Units<'_>,
        work: &mut Work,
    ) -> Option<usize> {
        while work.is_left() {
            if self.along.len() < self.photos.len() * DIRECTIONS {
                self.turn_some(rows, work);
            } else if self.block.next < self.block.pairs.len() {
                self.join_next_pair(joined, rows, work);
            } else if !self.next_block(work) {
                return Some(self.count);
            }
        }
        None
    }

    /// Turns the next photos to the directions.
    fn turn_some(&mut self, rows: Units<'_>, work: &mut Work) {
        let turned = self.along.len() / DIRECTIONS;
        let end = (turned + TURNED).min(self.photos.len());
        work.spend((end - turned) * rows.width() * DIRECTIONS);
        let some = gathered(rows, &self.photos[turned..end]);
        let start = self.along.len();
        self.along.resize(end * DIRECTIONS, 0.0);
        let along = &mut self.along[start..];
        multiply(&some, &self.directions, rows.width(), along);
        along.chunks_exact_mut(DIRECTIONS).for_each(to_unit_length);
    }

    /// Compares the next block along the directions. Says whether there was one.
    fn next_block(&mut self, work: &mut Work) -> bool {
        let [first, second] = self.next;
        let count = self.photos.len();
        if first >= count {
            return false;
        }
        let rows = first..(first + BLOCK).min(count);
        let columns = second..(second + BLOCK).min(rows.end);
        self.next = match columns.end == rows.end {
            true => [rows.end, 0],
            false => [first, columns.end],
        };
        work.spend(rows.len() * columns.len() * DIRECTIONS);
        let along =
            |range: &Range<usize>| &self.along[range.start * DIRECTIONS..range.end * DIRECTIONS];
        let mut cosines = vec![0.0; rows.len() * columns.len()];
        multiply(along(&rows), along(&columns), DIRECTIONS, &mut cosines);
        let mut pairs = Vec::new();
        for (row, cosines) in rows.clone().zip(cosines.chunks_exact(columns.len())) {
            for (column, &cosine) in columns.clone().zip(cosines) {
                if column < row && cosine >= ALIKE - SLACK {
                    pairs.push([row, column]);
                }
            }
        }
        self.block = Block {
            is_dense: pairs.len() * DENSE > rows.len() * columns.len(),
            pairs,
            next: 0,
            compared: rows.start..rows.start,
            rows,
            columns,
            cosines,
        };
        true
    }

    /// Joins the next pair of the block if it is alike.
    fn join_next_pair(&mut self, joined: &mut Joined, rows: Units<'_>, work: &mut Work) {
        let [row, column] = self.block.pairs[self.block.next];
        self.block.next += 1;
        let (a, b) = (self.photos[row], self.photos[column]);
        let roots = (joined.root(a), joined.root(b));
        work.spend(1);
        if roots.0 == roots.1 {
            return;
        }
        let cosine = match self.block.is_dense {
            true => self.block.cosine(row, column, rows, &self.photos, work),
            false => {
                work.spend(rows.width());
                rows.cosine(a, b)
            }
        };
        if cosine < ALIKE {
            return;
        }
        work.spend(3 * rows.width());
        let (a, b) = roots;
        if !are_alike(&self.sums, rows, a, b) {
            return;
        }
        let mut sum = self
            .sums
            .remove(&a)
            .unwrap_or_else(|| rows.row(a).collect());
        let other = self.sums.remove(&b);
        let other = other.unwrap_or_else(|| rows.row(b).collect());
        sum.iter_mut().zip(other).for_each(|(sum, x)| *sum += x);
        joined.join(a, b);
        self.sums.insert(joined.root(a), sum);
        self.count += 1;
    }
}

impl Block {
    /// The cosine of a pair, from products of whole rows with all columns.
    fn cosine(
        &mut self,
        row: usize,
        column: usize,
        rows: Units<'_>,
        photos: &[usize],
        work: &mut Work,
    ) -> f32 {
        let columns = self.columns.len();
        if !self.compared.contains(&row) {
            let some = (PIECE / 3 / (columns * rows.width())).max(1);
            self.compared = row..(row + some).min(self.rows.end);
            work.spend(self.compared.len() * columns * rows.width());
            let above = gathered(rows, &photos[self.compared.clone()]);
            let below = gathered(rows, &photos[self.columns.clone()]);
            self.cosines.resize(self.compared.len() * columns, 0.0);
            multiply(&above, &below, rows.width(), &mut self.cosines);
        }
        self.cosines[(row - self.compared.start) * columns + column - self.columns.start]
    }
}

/// Whether two groups are alike, each taken together.
fn are_alike(sums: &HashMap<usize, Vec<f32>>, rows: Units<'_>, a: usize, b: usize) -> bool {
    let of = |group: usize| match sums.get(&group) {
        Some(sum) => Cow::Borrowed(&sum[..]),
        None => Cow::Owned(rows.row(group).collect()),
    };
    let (a, b) = (of(a), of(b));
    dot(&a, &b) >= ALIKE * (dot(&a, &a) * dot(&b, &b)).sqrt()
}

fn gathered(rows: Units<'_>, photos: &[usize]) -> Vec<f32> {
    let mut gathered = Vec::with_capacity(photos.len() * rows.width());
    photos
        .iter()
        .for_each(|&photo| gathered.extend(rows.row(photo)));
    gathered
}

/// Every row of one matrix times every row of another, `[above, below]`.
fn multiply(above: &[f32], below: &[f32], width: usize, products: &mut [f32]) {
    let [rows, columns] = [above, below].map(|matrix| matrix.len() / width);
    let linear = cpu::Linear::new(width, columns, below.into(), &[]);
    cpu::in_pool(|| {
        linear.run(
            cpu::View::new(above, 1, 1, rows, width),
            None,
            cpu::Activation::None,
            cpu::ViewMut::new(products, 1, 1, rows, columns),
        );
    });
}
