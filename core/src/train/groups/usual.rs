//! What all classes have in common: the mean of the classes' means.

use rekindle_cpu::{self as cpu, Rows};

use super::joined::to_unit_length;
use super::work::Work;
use crate::random::Random;

/// Cosine of whole features from which two photos are much the same, where what is usual is looked for: more
/// than that would hide what they have in common.
const MUCH_THE_SAME: f32 = 0.9;
/// Where all photos look alike, they are much the same only within this share of the way from the cosine of
/// photos that differ to one.
const OF_THE_WAY: f32 = 0.3;
/// Photos whose pairs tell how alike photos are that differ: one pair in ten is less so. A recording that
/// makes up nine photos in ten leaves as many pairs of which it is only one half.
const COMPARED: usize = 100;
/// Photos that are asked what is usual.
const MOST_ASKED: usize = 500;

/// The mean of the classes' means, so that a large class does not count for more than the others. Of what looks
/// much the same only one photo is asked, and of very many photos only some: a recording that makes up most of a
/// data set is not what is usual in it.
#[derive(Debug)]
pub(super) struct Usual {
    /// Those who may be asked.
    photos: Vec<usize>,
    /// The next of them.
    next: usize,
    much_the_same: f32,
    /// Those who have been asked, and their rows, of length one.
    asked: Vec<usize>,
    units: Vec<f32>,
}

impl Usual {
    pub(super) fn new(rows: Rows<'_>, photos: &[usize], work: &mut Work) -> Self {
        let compared = some(photos, COMPARED);
        work.spend(compared.len() * compared.len() / 2 * rows.width());
        let units: Vec<f32> = compared
            .into_iter()
            .flat_map(|photo| unit(rows.row(photo)))
            .collect();
        Self {
            photos: some(photos, MOST_ASKED),
            next: 0,
            much_the_same: much_the_same(&units, rows.width()),
            asked: Vec::new(),
            units: Vec::new(),
        }
    }

    /// Goes on while there is work to spend. At the end: what is usual, `[width]`.
    pub(super) fn step(
        &mut self,
        rows: Rows<'_>,
        labels: &[usize],
        work: &mut Work,
    ) -> Option<Vec<f32>> {
        let mut cosines = Vec::new();
        while let Some(&photo) = self.photos.get(self.next) {
            if !work.is_left() {
                return None;
            }
            work.spend((self.asked.len() + 1) * rows.width());
            self.next += 1;
            let unit = unit(rows.row(photo));
            cosines.resize(self.asked.len(), 0.0);
            cpu::row_products(&self.units, &unit, &mut cosines);
            if cosines.iter().all(|&cosine| cosine < self.much_the_same) {
                self.asked.push(photo);
                self.units.extend(unit);
            }
        }
        Some(self.mean(rows, labels))
    }

    fn mean(&self, rows: Rows<'_>, labels: &[usize]) -> Vec<f32> {
        let classes = labels.iter().max().map_or(0, |most| most + 1);
        let mut counts = vec![0_usize; classes];
        let asked = || self.asked.iter().copied();
        asked().for_each(|photo| counts[labels[photo]] += 1);
        let present = counts.iter().filter(|&&count| count > 0).count();
        let mut mean = vec![0.0_f64; rows.width()];
        for photo in asked() {
            let weight = 1.0 / (present * counts[labels[photo]]) as f64;
            let pairs = mean.iter_mut().zip(rows.row(photo));
            pairs.for_each(|(mean, &x)| *mean += weight * f64::from(x));
        }
        mean.into_iter().map(|mean| mean as f32).collect()
    }
}

/// So many photos at most, drawn from all and in their order: every tenth might be the same picture every time.
pub(super) fn some(photos: &[usize], most: usize) -> Vec<usize> {
    let mut drawn: Vec<usize> = (0..photos.len()).collect();
    if drawn.len() > most {
        // Any will do, as long as they are the same every time.
        Random::new(0x0075_7375_616c).shuffle(&mut drawn);
        drawn.truncate(most);
        drawn.sort_unstable();
    }
    drawn.into_iter().map(|at| photos[at]).collect()
}

fn unit(row: &[f32]) -> Vec<f32> {
    let mut unit = row.to_vec();
    to_unit_length(&mut unit);
    unit
}

/// The cosine from which photos are much the same among photos such as these, whose rows are of length one.
fn much_the_same(photos: &[f32], width: usize) -> f32 {
    let mut cosines: Vec<f32> = Vec::new();
    for (index, photo) in photos.chunks_exact(width).enumerate() {
        let pairs = cosines.len();
        cosines.resize(pairs + index, 0.0);
        cpu::row_products(&photos[..index * width], photo, &mut cosines[pairs..]);
    }
    if cosines.is_empty() {
        return MUCH_THE_SAME;
    }
    let tenth = cosines.len() / 10;
    let (_, &mut of_unlike, _) = cosines.select_nth_unstable_by(tenth, f32::total_cmp);
    MUCH_THE_SAME.max(1.0 - OF_THE_WAY * (1.0 - of_unlike))
}
