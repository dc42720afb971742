//! Photos of the same bytes or the same features.

use std::collections::HashMap;

use rekindle_cpu::Rows;

use super::joined::Joined;
use super::work::{PLAIN, Work};

/// The search for copies.
#[derive(Debug)]
pub(super) struct Copies {
    /// The next photo to be looked at.
    next: usize,
    /// Photos looked at whose features are all different, by what their features are hashed to.
    first: HashMap<u64, Vec<usize>>,
    count: usize,
}

impl Copies {
    /// Joins photos of the same bytes, by their hashes. Features are compared in [`step`](Self::step).
    pub(super) fn new(joined: &mut Joined, contents: &[u64]) -> Self {
        let mut first: HashMap<u64, usize> = HashMap::new();
        let mut count = 0;
        for (photo, &content) in contents.iter().enumerate() {
            let original = *first.entry(content).or_insert(photo);
            count += usize::from(joined.join(photo, original));
        }
        Self {
            next: 0,
            first: HashMap::new(),
            count,
        }
    }

    /// Goes on while there is work to spend. At the end: how many photos were joined to another.
    pub(super) fn step(
        &mut self,
        joined: &mut Joined,
        rows: Rows<'_>,
        work: &mut Work,
    ) -> Option<usize> {
        let photos = rows.len();
        while self.next < photos {
            if !work.is_left() {
                return None;
            }
            work.spend(PLAIN * rows.width());
            let photo = self.next;
            self.next += 1;
            let row = rows.row(photo);
            let known = self.first.entry(hash(row)).or_default();
            let same = |&&other: &&usize| bits(rows.row(other)) == bits(row);
            match known.iter().find(same) {
                Some(&original) => self.count += usize::from(joined.join(photo, original)),
                None => known.push(photo),
            }
        }
        Some(self.count)
    }
}

fn bits(row: &[f32]) -> &[u32] {
    bytemuck::cast_slice(row)
}

/// As in Firefox's tables: a multiplication a number. Nobody chooses features so that they collide, and if they
/// do, it costs time only.
fn hash(row: &[f32]) -> u64 {
    bits(row).iter().fold(0, |hash: u64, &number| {
        (hash.rotate_left(5) ^ u64::from(number)).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}
