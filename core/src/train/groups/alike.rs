//! Photos that are nearly the same, wherever they stand.
//!
//! Every photo is compared with all before it: first by a few numbers of each, which tell of most pairs that they are
//! not alike, and of the others in full.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rekindle_cpu::{self as cpu, Matrix};

use super::directions::{Directions, along};
use super::joined::{Joined, Units, dot};
use super::work::{PIECE, PLAIN, Work};

/// Cosine from which two photos are nearly the same, wherever they stand.
pub(super) const ALIKE: f32 = 0.86;

/// What a bound may have lost to rounding.
const ROUNDING: f32 = 1e-4;
/// Rows and columns that are compared at a time.
pub(super) const BLOCK: usize = 256;
/// Bits of a word.
const WORD: usize = 64;
/// Photos that are turned to the directions at a time.
const TURNED: usize = 64;
/// Pairs of groups that are remembered at most.
const REMEMBERED: usize = 1 << 16;

/// The search for photos that are alike. What is joined already must be alike as a whole, so that no chain of
/// likenesses joins what differs.
#[derive(Debug)]
pub(super) struct Alike {
    /// The photos that are compared.
    photos: Vec<usize>,
    /// The search for directions, then these.
    search: Option<Directions>,
    directions: Vec<f32>,
    /// Photos along the directions, `[N, width]`: as many as have been turned.
    along: Vec<f32>,
    width: usize,
    /// The next block of pairs: where its rows and its columns begin.
    next: [usize; 2],
    /// The rows of the next block.
    rows: Option<Matrix>,
    /// Blocks of which it is known which pairs may be alike, the last first.
    blocks: Vec<Block>,
    groups: GroupsOfAlike,
    count: usize,
}

/// The pairs of a block that may be alike, as places among the photos.
#[derive(Debug)]
struct Block {
    rows: Range<usize>,
    columns: Range<usize>,
    /// A bit a pair, `[BLOCK, BLOCK]`.
    pairs: Vec<u64>,
    /// The word that is looked at.
    at: usize,
}

/// What is known of groups of photos that are alike.
#[derive(Debug, Default)]
struct GroupsOfAlike {
    /// The sums of groups of more than one photo, by their first.
    sums: HashMap<usize, Sum>,
    unlike: Unlike,
    /// The last photo of which others were asked for, its group, and its row if that was needed.
    last: Option<usize>,
    group: usize,
    row: Vec<f32>,
    other: Vec<f32>,
}

#[derive(Debug)]
struct Sum {
    photos: usize,
    row: Vec<f32>,
}

/// Pairs of groups that are not alike, and how many photos each had. Not all of them are known: each has one place, which
/// the last that asks for it takes.
#[derive(Debug, Default)]
struct Unlike(Vec<[u32; 4]>);

impl Unlike {
    fn pair([a, b]: [usize; 2], photos: [usize; 2]) -> (usize, [u32; 4]) {
        let place = (a as u32).wrapping_mul(0x9E37_79B1) ^ (b as u32).wrapping_mul(0x85EB_CA77);
        let [first, second] = photos;
        let pair = [a, b, first, second].map(|number| number as u32);
        (place as usize % REMEMBERED, pair)
    }

    fn holds(&self, groups: [usize; 2], photos: [usize; 2]) -> bool {
        let (place, pair) = Self::pair(groups, photos);
        self.0.get(place) == Some(&pair)
    }

    fn keep(&mut self, groups: [usize; 2], photos: [usize; 2]) {
        let (place, pair) = Self::pair(groups, photos);
        // No group is of no photos, so nothing is held yet.
        self.0.resize(REMEMBERED, [0; 4]);
        self.0[place] = pair;
    }
}

impl Alike {
    pub(super) fn new(photos: Vec<usize>, rows: Units<'_>, work: &mut Work) -> Self {
        Self {
            search: (photos.len() > 1).then(|| Directions::new(rows, &photos, ALIKE, work)),
            photos,
            directions: Vec::new(),
            along: Vec::new(),
            width: 0,
            next: [0, 0],
            rows: None,
            blocks: Vec::new(),
            groups: GroupsOfAlike::default(),
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
        if self.photos.len() < 2 {
            return Some(0);
        }
        while work.is_left() {
            if let Some(search) = &mut self.search {
                let Some(directions) = search.step(work) else {
                    continue;
                };
                self.search = None;
                self.width = directions.len() / rows.width() + 1;
                self.along.reserve_exact(self.photos.len() * self.width);
                self.directions = directions;
            } else if self.along.len() < self.photos.len() * self.width {
                self.turn_some(rows, work);
            } else if let Some(block) = self.blocks.last_mut() {
                match block.next() {
                    Some(pair) => {
                        let pair = pair.map(|place| self.photos[place]);
                        work.spend(1);
                        self.count += usize::from(self.groups.join(pair, joined, rows, work));
                    }
                    None => drop(self.blocks.pop()),
                }
            } else if !self.next_blocks(work) {
                return Some(self.count);
            }
        }
        None
    }

    /// Turns the next photos to the directions.
    fn turn_some(&mut self, rows: Units<'_>, work: &mut Work) {
        let turned = self.along.len() / self.width;
        let end = (turned + TURNED).min(self.photos.len());
        work.spend((end - turned) * rows.width() * (self.width + PLAIN));
        let some = self.photos[turned..end].iter();
        let some: Vec<f32> = some.flat_map(|&photo| rows.row(photo)).collect();
        let turned = along(&self.directions, &some, rows.width());
        self.along.extend(turned);
    }

    /// Compares the next blocks of some rows along the directions. Says whether there were any.
    fn next_blocks(&mut self, work: &mut Work) -> bool {
        let ([first, second], count, width) = (self.next, self.photos.len(), self.width);
        if first >= count {
            return false;
        }
        let along = &self.along;
        let of = |range: &Range<usize>| &along[range.start * width..range.end * width];
        let rows = first..(first + BLOCK).min(count);
        let matrix = &*self
            .rows
            .get_or_insert_with(|| Matrix::of_columns(width, of(&rows)));
        let some = (PIECE / (BLOCK * BLOCK * width)).max(1);
        let starts = (second..rows.end).step_by(BLOCK).take(some);
        let columns: Vec<Range<usize>> = starts
            .map(|start| start..(start + BLOCK).min(rows.end))
            .collect();
        let end = columns.last().map_or(rows.end, |columns| columns.end);
        work.spend(rows.len() * (end - second) * width);
        let found: Vec<Mutex<Vec<u64>>> = columns.iter().map(|_| Mutex::default()).collect();
        cpu::parallel(columns.len(), |index| {
            let pairs = pairs(matrix, of(&columns[index]), width);
            *found[index].lock().unwrap_or_else(PoisonError::into_inner) = pairs;
        });
        let blocks = columns
            .into_iter()
            .zip(found)
            .map(|(columns, pairs)| Block {
                rows: rows.clone(),
                columns,
                pairs: pairs.into_inner().unwrap_or_else(PoisonError::into_inner),
                at: 0,
            });
        self.blocks = blocks.rev().collect();
        self.next = match end == rows.end {
            true => [rows.end, 0],
            false => [first, end],
        };
        if end == rows.end {
            self.rows = None;
        }
        true
    }
}

/// Which rows of a matrix may be alike to which columns, a bit a pair, `[BLOCK, BLOCK]`.
fn pairs(rows: &Matrix, columns: &[f32], width: usize) -> Vec<u64> {
    /// Bounds that are looked at together.
    const TOGETHER: usize = 16;
    let height = rows.columns();
    let mut bounds = vec![0.0; height * (columns.len() / width)];
    rows.multiply(columns, &mut bounds);
    let mut pairs = vec![0; BLOCK * BLOCK / WORD];
    for (column, bounds) in bounds.chunks_exact(height).enumerate() {
        for (some, bounds) in bounds.chunks(TOGETHER).enumerate() {
            let bits = bounds.iter().zip(0..);
            let mut bits = bits.fold(0_u32, |bits, (bound, place)| {
                bits | u32::from(*bound >= ALIKE - ROUNDING) << place
            });
            while bits != 0 {
                let row = some * TOGETHER + bits.trailing_zeros() as usize;
                pairs[row * (BLOCK / WORD) + column / WORD] |= 1 << (column % WORD);
                bits &= bits - 1;
            }
        }
    }
    pairs
}

impl Block {
    /// The next pair, row after row.
    fn next(&mut self) -> Option<[usize; 2]> {
        while let Some(word) = self.pairs.get_mut(self.at) {
            if *word == 0 {
                self.at += 1;
                continue;
            }
            let bit = word.trailing_zeros() as usize;
            *word &= *word - 1;
            let row = self.rows.start + self.at / (BLOCK / WORD);
            let column = self.columns.start + self.at % (BLOCK / WORD) * WORD + bit;
            if column < row {
                return Some([row, column]);
            }
        }
        None
    }
}

impl GroupsOfAlike {
    /// Joins the groups of two photos if these are alike, and so are the groups, each taken together. Says whether
    /// they were joined.
    fn join(
        &mut self,
        [a, b]: [usize; 2],
        joined: &mut Joined,
        rows: Units<'_>,
        work: &mut Work,
    ) -> bool {
        if self.last != Some(a) {
            self.last = Some(a);
            self.group = joined.root(a);
            self.row.clear();
        }
        let groups = [self.group, joined.root(b)];
        if groups[0] == groups[1] {
            return false;
        }
        let photos = groups.map(|group| self.sums.get(&group).map_or(1, |sum| sum.photos));
        if photos != [1, 1] && self.unlike.holds(groups, photos) {
            return false;
        }
        work.spend(PLAIN * rows.width());
        if self.row.is_empty() {
            self.row.extend(rows.row(a));
        }
        self.other.clear();
        self.other.extend(rows.row(b));
        if dot(&self.row, &self.other) < ALIKE {
            return false;
        }
        work.spend(PLAIN * rows.width());
        if !self.are_alike(groups, rows) {
            self.unlike.keep(groups, photos);
            return false;
        }
        let [a, b] = groups.map(|group| {
            let sum = self.sums.remove(&group);
            sum.map_or_else(|| rows.row(group).collect(), |sum| sum.row)
        });
        let row = a.into_iter().zip(b).map(|(a, b)| a + b).collect();
        joined.join(groups[0], groups[1]);
        let photos = photos[0] + photos[1];
        self.group = joined.root(groups[0]);
        self.sums.insert(self.group, Sum { photos, row });
        true
    }

    fn are_alike(&self, groups: [usize; 2], rows: Units<'_>) -> bool {
        let [a, b] = groups.map(|group| match self.sums.get(&group) {
            Some(sum) => Cow::Borrowed(&sum.row[..]),
            None => Cow::Owned(rows.row(group).collect()),
        });
        dot(&a, &b) >= ALIKE * (dot(&a, &a) * dot(&b, &b)).sqrt()
    }
}
