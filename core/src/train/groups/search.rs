//! The search for groups, a piece at a time.

use rekindle_networks::sorting::order;

use super::alike::Alike;
use super::copies::Copies;
use super::grouped::Groups;
use super::joined::{Joined, Rows, to_unit_length};
use super::usual::Usual;
use super::work::{PLAIN, Work};
use crate::train::features::FeatureCache;

/// Cosine from which neighbours of one class are pictures of one recording.
const IN_A_ROW: f32 = 0.78;

/// A search for [`Groups`] under way. It owns all that it needs: photos may come and go meanwhile. To cancel it,
/// drop it.
#[derive(Debug)]
pub struct GroupSearch {
    width: usize,
    labels: Vec<usize>,
    /// The photos in the order in which they are asked: what is found depends on who comes first.
    order: Vec<usize>,
    /// The photos' features; what is usual is taken off them and they are brought to length one on the way.
    rows: Vec<f32>,
    joined: Joined,
    copies: usize,
    near_copies: usize,
    in_bursts: usize,
    /// Whether no more than copies are looked for.
    only_copies: bool,
    stage: Stage,
}

/// What is being done.
#[derive(Debug)]
enum Stage {
    Copies(Copies),
    /// Copies are known: one of each set stands for all of them.
    Usual(Vec<usize>, Usual),
    /// What is usual is taken off, from this photo on.
    Centring(Vec<usize>, Vec<f32>, usize),
    Alike(Alike),
    InARow,
    Done,
}

impl GroupSearch {
    /// Sets up a search, as [`Groups::find`].
    pub fn new(cache: &FeatureCache, contents: Option<&[u64]>) -> Self {
        let images: Vec<usize> = (0..cache.len()).collect();
        let mut joined = Joined::new(cache.len());
        let copies = Copies::new(&mut joined, contents.unwrap_or_default());
        let labels = cache.labels().to_vec();
        let order = match contents {
            Some(contents) => {
                let key = |photo: usize| (contents.get(photo), labels[photo]);
                order(images.len(), &|a, b| key(a).cmp(&key(b)))
            }
            None => images.clone(),
        };
        Self {
            width: cache.width().max(1),
            labels,
            order,
            rows: cache.plain(&images).features,
            joined,
            copies: 0,
            near_copies: 0,
            in_bursts: 0,
            only_copies: false,
            stage: Stage::Copies(copies),
        }
    }

    /// Sets up a search for copies only, as [`Groups::of_copies`].
    pub fn of_copies(cache: &FeatureCache, contents: Option<&[u64]>) -> Self {
        Self {
            only_copies: true,
            ..Self::new(cache, contents)
        }
    }

    /// One piece of work, about ten milliseconds of WebAssembly on a desktop processor. Says whether all is
    /// done; nothing is done after that.
    pub fn step(&mut self) -> bool {
        let mut work = Work::piece();
        while work.is_left() && !matches!(self.stage, Stage::Done) {
            let stage = std::mem::replace(&mut self.stage, Stage::Done);
            self.stage = self.advance(stage, &mut work);
        }
        matches!(self.stage, Stage::Done)
    }

    fn advance(&mut self, stage: Stage, work: &mut Work) -> Stage {
        let rows = Rows {
            width: self.width,
            rows: &self.rows,
        };
        match stage {
            Stage::Copies(mut copies) => match copies.step(&mut self.joined, rows, work) {
                Some(count) => {
                    self.copies = count;
                    if self.only_copies {
                        return Stage::Done;
                    }
                    let mut stood_for = vec![false; self.order.len()];
                    let mut is_first = |photo: &usize| {
                        !std::mem::replace(&mut stood_for[self.joined.root(*photo)], true)
                    };
                    let firsts = self.order.iter().copied();
                    let firsts: Vec<usize> = firsts.filter(&mut is_first).collect();
                    let usual = Usual::new(rows, &firsts, work);
                    Stage::Usual(firsts, usual)
                }
                None => Stage::Copies(copies),
            },
            Stage::Usual(firsts, mut usual) => match usual.step(rows, &self.labels, work) {
                Some(usual) => Stage::Centring(firsts, usual, 0),
                None => Stage::Usual(firsts, usual),
            },
            Stage::Centring(firsts, usual, from) => match self.centre(&usual, from, work) {
                photo if photo < self.labels.len() => Stage::Centring(firsts, usual, photo),
                _ => Stage::Alike(Alike::new(firsts, self.width)),
            },
            Stage::Alike(mut alike) => match alike.step(&mut self.joined, rows, work) {
                Some(count) => {
                    self.near_copies = count;
                    Stage::InARow
                }
                None => Stage::Alike(alike),
            },
            Stage::InARow => {
                self.in_bursts = join_in_a_row(&mut self.joined, rows, &self.labels);
                Stage::Done
            }
            Stage::Done => Stage::Done,
        }
    }

    /// Takes off what is usual, while there is work to spend. Says where to go on.
    fn centre(&mut self, usual: &[f32], from: usize, work: &mut Work) -> usize {
        let mut next = from;
        let rows = self.rows.chunks_exact_mut(self.width).skip(from);
        for row in rows {
            if !work.is_left() {
                break;
            }
            work.spend(PLAIN * self.width);
            row.iter_mut().zip(usual).for_each(|(x, usual)| *x -= usual);
            to_unit_length(row);
            next += 1;
        }
        next
    }

    /// The groups, once all is done; before that, those that have been found.
    pub fn finish(mut self) -> Groups {
        let of = (0..self.labels.len())
            .map(|photo| self.joined.root(photo))
            .collect();
        Groups::new(of, self.copies, self.near_copies, self.in_bursts)
    }
}

/// Joins neighbours of one class that are pictures of one recording. Returns how many were joined to another.
fn join_in_a_row(joined: &mut Joined, rows: Rows<'_>, labels: &[usize]) -> usize {
    let mut count = 0;
    for (before, pair) in labels.windows(2).enumerate() {
        let photo = before + 1;
        if pair[0] == pair[1]
            && joined.root(photo) != joined.root(before)
            && rows.cosine(photo, before) >= IN_A_ROW
        {
            count += usize::from(joined.join(photo, before));
        }
    }
    count
}
