//! The directions along which photos differ most: a few numbers of a photo that bound its cosine with any other.
//!
//! Along orthonormal directions, the cosine of two photos is the product of their parts along them and that of what is
//! left of each. The latter is the product of both lengths at most, so that a photo's part with that length behind it
//! has at least the photo's own cosine with any other. Features vary along few directions: some dozens leave next to
//! nothing. Which they are is found on a sample, by orthogonal iteration (Golub and Van Loan, *Matrix Computations*,
//! 8.2.4): whatever they are, the bound holds.

use rekindle_cpu::{self as cpu, Matrix};

use super::joined::{Units, dot, unit_factor};
use super::usual::some;
use super::work::{PLAIN, Work};
use crate::random::Random;

/// Directions to begin with. They are doubled as long as it pays.
const FEWEST: usize = 16;
const MOST: usize = 256;
/// Times that new directions are turned towards those along which the sample varies most.
const TURNS: usize = 2;
/// Photos whose pairs tell how much the directions tell.
const PROBED: usize = 96;
/// Photos of the sample, one in so many, within bounds.
const ONE_IN: usize = 16;
const SAMPLED: [usize; 2] = [256, 1024];
/// What rounding may do to the square of the length that is left.
const ROUNDING: f64 = 1e-5;

/// The search for directions.
#[derive(Debug)]
pub(super) struct Directions {
    width: usize,
    /// Photos that directions are for.
    photos: usize,
    /// The cosine from which pairs are looked for.
    least: f32,
    /// The sample's rows: `[width, S]` and `[S, width]`.
    across: Matrix,
    down: Matrix,
    /// Rows of other photos, and the share of their pairs that reach `least`.
    probe: Vec<f32>,
    alike: f64,
    /// `[K, width]`, orthonormal.
    found: Vec<f32>,
    /// Those that are being found.
    new: Vec<f32>,
    turns: usize,
    random: Random,
}

impl Directions {
    /// Sets up the search for directions that tell which of these photos have a cosine of `least` or more.
    pub(super) fn new(rows: Units<'_>, photos: &[usize], least: f32, work: &mut Work) -> Self {
        let width = rows.width();
        let sampled = (photos.len() / ONE_IN).clamp(SAMPLED[0], SAMPLED[1]);
        let drawn = some(photos, sampled + PROBED);
        // Half of very few.
        let every = (drawn.len() / PROBED).max(2);
        let is_probe = |place: &usize| place.is_multiple_of(every);
        let (probe, sample): (Vec<usize>, Vec<usize>) =
            (0..drawn.len()).partition(|place| is_probe(place));
        let of = |places: Vec<usize>| -> Vec<f32> {
            let rows = places.into_iter().flat_map(|place| rows.row(drawn[place]));
            rows.collect()
        };
        let (probe, sample) = (of(probe), of(sample));
        work.spend(3 * PLAIN * drawn.len() * width);
        let mut down = Matrix::zeros(sample.len() / width, width);
        for (index, row) in sample.chunks_exact(width).enumerate() {
            down.set_row(index, row);
        }
        work.spend(probe.len() / width * probe.len());
        let mut directions = Self {
            width,
            photos: photos.len(),
            least,
            across: Matrix::of_columns(width, &sample),
            down,
            alike: share_of_pairs(width, &probe, least),
            probe,
            found: Vec::new(),
            new: Vec::new(),
            turns: 0,
            // Any will do, as long as they are the same every time.
            random: Random::new(0x6772_6f75_7073),
        };
        directions.begin(FEWEST);
        directions
    }

    /// Goes on while there is work to spend. At the end: the directions, `[K, width]`.
    pub(super) fn step(&mut self, work: &mut Work) -> Option<Vec<f32>> {
        while work.is_left() {
            if self.turns < TURNS {
                self.turn(work);
                self.turns += 1;
                continue;
            }
            self.found.append(&mut self.new);
            let count = self.found.len() / self.width;
            let more = (2 * count).min(MOST).min(self.width) - count;
            if more == 0 || !self.pays(more, work) {
                return Some(std::mem::take(&mut self.found));
            }
            self.begin(more);
        }
        None
    }

    fn begin(&mut self, count: usize) {
        let count = count.min(self.width);
        let random = &mut self.random;
        self.new = (0..count * self.width)
            .map(|_| random.uniform() - 0.5)
            .collect();
        self.turns = 0;
    }

    /// Turns the new directions towards those along which the sample varies most, beside those that are found.
    fn turn(&mut self, work: &mut Work) {
        let (width, count) = (self.width, self.new.len() / self.width);
        let sampled = self.across.columns();
        work.spend(2 * count * sampled * width);
        let mut parts = vec![0.0; count * sampled];
        let (across, down, new) = (&self.across, &self.down, &mut self.new);
        across.multiply(new, &mut parts);
        down.multiply(&parts, new);
        let before = self.found.len();
        work.spend(4 * count * (before + self.new.len()));
        let mut all = std::mem::take(&mut self.found);
        for direction in self.new.chunks_exact_mut(width) {
            orthonormalise(direction, &all);
            all.extend_from_slice(direction);
        }
        all.truncate(before);
        self.found = all;
    }

    /// Whether so many more directions would spare more than they take: what they cost each pair and each photo, for
    /// pairs that are compared in vain.
    fn pays(&self, more: usize, work: &mut Work) -> bool {
        let count = self.found.len() / self.width;
        work.spend(self.probe.len() * (count + PROBED));
        let bounds = along(&self.found, &self.probe, self.width);
        let share = share_of_pairs(count + 1, &bounds, self.least);
        let photos = self.photos as f64;
        let pairs = photos * (photos - 1.0) / 2.0;
        let in_vain = (share - self.alike).max(0.0) * (PLAIN * self.width) as f64;
        let each = (2 * TURNS * self.across.columns()) as f64 + photos;
        pairs * (in_vain - more as f64) > each * (more * self.width) as f64
    }
}

/// Photos along directions, and what length is left of each, `[N, K + 1]`: their inner products are nowhere less than the
/// photos' own.
///
/// # Shapes
///
/// `directions` are `[K, width]`, `rows`, of length one, `[N, width]`.
pub(super) fn along(directions: &[f32], rows: &[f32], width: usize) -> Vec<f32> {
    let (count, photos) = (directions.len() / width, rows.len() / width);
    let matrix = Matrix::of_columns(width, directions);
    let mut parts = vec![0.0; photos * count];
    matrix.multiply(rows, &mut parts);
    let mut along = Vec::with_capacity(photos * (count + 1));
    for part in parts.chunks_exact(count.max(1)) {
        let square: f64 = part.iter().map(|x| f64::from(*x).powi(2)).sum();
        along.extend_from_slice(part);
        along.push(((1.0 - square).max(0.0) + ROUNDING).sqrt() as f32);
    }
    along
}

/// The share of pairs of different rows whose product is `least` or more.
fn share_of_pairs(width: usize, rows: &[f32], least: f32) -> f64 {
    let count = rows.len() / width;
    let products = cpu::gram(width, rows);
    let reached = products.iter().enumerate();
    let reached = reached.filter(|(at, product)| at % count < at / count && **product >= least);
    reached.count() as f64 / (count * count.saturating_sub(1) / 2).max(1) as f64
}

/// Takes off a direction what lies along others, and brings it to length one; to nothing where nothing is left.
fn orthonormalise(direction: &mut [f32], others: &[f32]) {
    let factor = unit_factor(direction.iter().copied());
    direction.iter_mut().for_each(|x| *x *= factor);
    let width = direction.len();
    let mut parts = vec![0.0; others.len() / width];
    // Twice is enough (Giraud, Langou and Rozložník 2005).
    for _ in 0..2 {
        cpu::row_products(others, direction, &mut parts);
        for (other, part) in others.chunks_exact(width).zip(&parts) {
            let pairs = direction.iter_mut().zip(other);
            pairs.for_each(|(x, other)| *x -= part * other);
        }
    }
    let left = dot(direction, direction).sqrt();
    let factor = if left > 1e-3 { 1.0 / left } else { 0.0 };
    direction.iter_mut().for_each(|x| *x *= factor);
}
