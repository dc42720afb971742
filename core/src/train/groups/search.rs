//! The search for groups, a piece at a time.

use rekindle_networks::sorting::order;

use super::alike::Alike;
use super::copies::Copies;
use super::grouped::Groups;
use super::joined::{Joined, Units, unit_factor};
use super::usual::Usual;
use super::work::{PLAIN, Work};
use crate::train::features::{FeatureCache, Table};

/// Cosine from which neighbours of one class are pictures of one recording.
const IN_A_ROW: f32 = 0.78;

/// A search for [`Groups`] under way. To cancel it, drop it.
#[derive(Debug)]
pub struct GroupSearch<'a> {
    labels: Vec<usize>,
    /// The photos in the order in which they are asked: what is found depends on who comes first.
    order: Vec<usize>,
    /// The photos' features.
    features: Table<'a>,
    /// What is usual, once it is known, and what brings each photo's row, less that, to length one.
    usual: Vec<f32>,
    factors: Vec<f32>,
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
    /// What is usual is taken off.
    Centring(Vec<usize>),
    Alike(Box<Alike>),
    InARow,
    Done,
}

impl GroupSearch<'static> {
    /// Sets up a search, as [`Groups::find`], that owns all it needs: photos may come and go meanwhile.
    pub fn new(cache: &FeatureCache, contents: Option<&[u64]>) -> Self {
        let borrowed = GroupSearch::of(cache, contents);
        GroupSearch {
            features: borrowed.features.into_owned(),
            labels: borrowed.labels,
            order: borrowed.order,
            usual: borrowed.usual,
            factors: borrowed.factors,
            joined: borrowed.joined,
            copies: borrowed.copies,
            near_copies: borrowed.near_copies,
            in_bursts: borrowed.in_bursts,
            only_copies: borrowed.only_copies,
            stage: borrowed.stage,
        }
    }
}

impl<'a> GroupSearch<'a> {
    /// The same, which reads a cache's features where they lie.
    pub fn of(cache: &'a FeatureCache, contents: Option<&[u64]>) -> Self {
        let images: Vec<usize> = (0..cache.len()).collect();
        let mut joined = Joined::new(cache.len());
        let copies = Copies::new(&mut joined, contents.unwrap_or_default());
        let labels = cache.labels().to_vec();
        let order = match contents {
            Some(contents) => {
                let key = |photo: usize| (contents.get(photo), labels[photo]);
                order(labels.len(), &|a, b| key(a).cmp(&key(b)))
            }
            None => images,
        };
        Self {
            labels,
            order,
            features: cache.plain_views(),
            usual: Vec::new(),
            factors: Vec::new(),
            joined,
            copies: 0,
            near_copies: 0,
            in_bursts: 0,
            only_copies: false,
            stage: Stage::Copies(copies),
        }
    }

    /// Sets up a search for copies only, as [`Groups::of_copies`].
    pub fn of_copies(cache: &'a FeatureCache, contents: Option<&[u64]>) -> Self {
        Self {
            only_copies: true,
            ..Self::of(cache, contents)
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
        let rows = self.features.rows();
        let units = Units {
            rows,
            usual: &self.usual,
            factors: &self.factors,
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
                Some(usual) => {
                    self.usual = usual;
                    Stage::Centring(firsts)
                }
                None => Stage::Usual(firsts, usual),
            },
            Stage::Centring(firsts) => match self.centre(work) {
                true => {
                    let units = Units {
                        rows: self.features.rows(),
                        usual: &self.usual,
                        factors: &self.factors,
                    };
                    Stage::Alike(Box::new(Alike::new(firsts, units, work)))
                }
                false => Stage::Centring(firsts),
            },
            Stage::Alike(mut alike) => match alike.step(&mut self.joined, units, work) {
                Some(count) => {
                    self.near_copies = count;
                    Stage::InARow
                }
                None => Stage::Alike(alike),
            },
            Stage::InARow => {
                self.in_bursts = join_in_a_row(&mut self.joined, units, &self.labels);
                Stage::Done
            }
            Stage::Done => Stage::Done,
        }
    }

    /// Finds what brings photos to length one, less what is usual, while there is work to spend. Says whether that is
    /// known of all.
    fn centre(&mut self, work: &mut Work) -> bool {
        let rows = self.features.rows();
        while self.factors.len() < rows.len() && work.is_left() {
            work.spend(PLAIN * rows.width());
            let pairs = rows.row(self.factors.len()).iter().zip(&self.usual);
            let factor = unit_factor(pairs.map(|(x, usual)| x - usual));
            self.factors.push(factor);
        }
        self.factors.len() == rows.len()
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
fn join_in_a_row(joined: &mut Joined, rows: Units<'_>, labels: &[usize]) -> usize {
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
