//! What is alike by the definition, pair by pair, and the search held against it.

use std::collections::HashMap;

use rekindle_cpu::{self as cpu, Rows};

use super::alike::{ALIKE, Alike, BLOCK};
use super::directions::{Directions, along};
use super::joined::{Joined, Units, dot, unit_factor};
use super::work::Work;
use crate::random::Random;

/// Joins what is alike: all pairs, block by block, are compared in full.
fn plain(units: &[Vec<f32>]) -> (Vec<usize>, usize) {
    let mut joined = Joined::new(units.len());
    let mut sums: HashMap<usize, Vec<f32>> = units.iter().cloned().enumerate().collect();
    let mut count = 0;
    let blocks = (0..units.len()).step_by(BLOCK);
    let end = |start: usize| (start + BLOCK).min(units.len());
    for (first, second) in blocks.flat_map(|first| {
        let before = (0..=first).step_by(BLOCK);
        before.map(move |second| (first, second))
    }) {
        for a in first..end(first) {
            for b in second..end(second).min(a) {
                let groups = [joined.root(a), joined.root(b)];
                let [of_a, of_b] = groups.map(|group| &sums[&group]);
                let size = (dot(of_a, of_a) * dot(of_b, of_b)).sqrt();
                if groups[0] == groups[1]
                    || dot(&units[a], &units[b]) < ALIKE
                    || dot(of_a, of_b) < ALIKE * size
                {
                    continue;
                }
                let sum = of_a.iter().zip(of_b).map(|(a, b)| a + b).collect();
                joined.join(a, b);
                sums.insert(joined.root(a), sum);
                count += 1;
            }
        }
    }
    let of = (0..units.len()).map(|photo| joined.root(photo)).collect();
    (of, count)
}

/// Photos' features, `[N, width]`, and what makes units of them.
struct Photos {
    width: usize,
    rows: Vec<f32>,
    usual: Vec<f32>,
    factors: Vec<f32>,
}

impl Photos {
    fn new(width: usize, rows: Vec<f32>) -> Self {
        let count = (rows.len() / width) as f32;
        let mut usual = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            let pairs = usual.iter_mut().zip(row);
            pairs.for_each(|(usual, x)| *usual += x / count);
        }
        let factor = |row: &[f32]| unit_factor(row.iter().zip(&usual).map(|(x, usual)| x - usual));
        let factors = rows.chunks_exact(width).map(factor).collect();
        Self {
            width,
            rows,
            usual,
            factors,
        }
    }

    fn units(&self) -> Units<'_> {
        Units {
            rows: Rows::all(self.width, &self.rows),
            usual: &self.usual,
            factors: &self.factors,
        }
    }

    fn count(&self) -> usize {
        self.factors.len()
    }

    /// What the search finds.
    fn found(&self) -> (Vec<usize>, usize) {
        let mut joined = Joined::new(self.count());
        let photos = (0..self.count()).collect();
        let mut search = Alike::new(photos, self.units(), &mut Work::piece());
        let count = loop {
            let step = search.step(&mut joined, self.units(), &mut Work::piece());
            if let Some(count) = step {
                break count;
            }
        };
        let of = (0..self.count()).map(|photo| joined.root(photo)).collect();
        (of, count)
    }
}

/// Photos that vary along `dimensions` hidden ones and a little along all, about so many pictures: the photo is that
/// far off its picture. All are scattered.
fn photos(
    [count, width, dimensions, pictures]: [usize; 4],
    off: f32,
    random: &mut Random,
) -> Photos {
    let mut number = || 2.0 * random.uniform() - 1.0;
    let hidden: Vec<f32> = (0..dimensions * width).map(|_| number()).collect();
    let middles: Vec<f32> = (0..pictures * dimensions).map(|_| number()).collect();
    let mut rows = Vec::with_capacity(count * width);
    for photo in 0..count {
        let middle = &middles[photo * 7919 % pictures * dimensions..][..dimensions];
        let parts: Vec<f32> = middle.iter().map(|x| x + off * number()).collect();
        for at in 0..width {
            let each = parts.iter().zip(hidden[at..].iter().step_by(width));
            let sum: f32 = each.map(|(part, hidden)| part * hidden).sum();
            rows.push((sum + 0.2 * number()).max(-1.0));
        }
    }
    Photos::new(width, rows)
}

#[test]
fn what_is_alike_is_what_comparing_all_pairs_in_full_says() {
    let mut random = Random::new(21);
    let mut joined = Vec::new();
    for (shape, off) in [
        // Nothing but noise: directions tell little, and as many as pay are taken.
        ([600, 48, 1, 1], 0.0),
        ([300, 512, 1, 1], 0.0),
        // Few hidden dimensions, as features have; pictures that run into one another, so that most pairs that are
        // alike are of groups that are not.
        ([900, 96, 6, 30], 0.5),
        ([900, 96, 6, 900], 0.0),
        ([700, 64, 3, 400], 0.2),
        // Near copies of few pictures, of many, of one.
        ([1100, 64, 20, 7], 0.2),
        ([600, 128, 24, 250], 0.1),
        ([530, 33, 9, 1], 0.6),
        // Fewer than there are directions, and fewer numbers.
        ([9, 64, 4, 3], 0.1),
        ([2, 8, 2, 1], 0.0),
        ([300, 5, 3, 9], 0.3),
        ([300, 1, 1, 9], 0.3),
    ] {
        let photos = photos(shape, off, &mut random);
        let units: Vec<Vec<f32>> = (0..photos.count())
            .map(|photo| photos.units().row(photo).collect())
            .collect();
        let (of, count) = plain(&units);
        assert_eq!(photos.found(), (of, count), "{shape:?}");
        joined.push(count);
    }
    // Both kinds were there: nothing to be joined, and nearly all.
    assert_eq!(joined[1], 0);
    assert!(
        joined[5] > 1000 && (100..880).contains(&joined[2]),
        "{joined:?}"
    );
}

#[test]
fn photos_of_nothing_and_of_one_direction_are_compared_rightly() {
    // Rows that are what is usual, and others that all lie on one line through it.
    let rows: Vec<f32> = (0..40)
        .flat_map(|photo: u8| [f32::from(photo % 3) - 1.0; 24])
        .take(39 * 24)
        .collect();
    let photos = Photos::new(24, rows);
    let units: Vec<Vec<f32>> = (0..39)
        .map(|photo| photos.units().row(photo).collect())
        .collect();
    assert_eq!(photos.found(), plain(&units));
}

#[test]
fn products_along_directions_are_never_less_than_cosines() {
    let mut random = Random::new(22);
    for (shape, off) in [
        ([200, 96, 6, 30], 0.5),
        ([200, 40, 1, 1], 0.0),
        ([60, 80, 30, 60], 0.1),
    ] {
        let photos = photos(shape, off, &mut random);
        let (units, width, count) = (photos.units(), photos.width, photos.count());
        let all: Vec<usize> = (0..count).collect();
        let mut search = Directions::new(units, &all, ALIKE, &mut Work::piece());
        let directions = loop {
            if let Some(directions) = search.step(&mut Work::piece()) {
                break directions;
            }
        };
        let rows: Vec<f32> = all.iter().flat_map(|&photo| units.row(photo)).collect();
        let bounds = along(&directions, &rows, width);
        let bounds = cpu::gram(directions.len() / width + 1, &bounds);
        let mut over = 0.0;
        for (at, bound) in bounds.iter().enumerate() {
            let [a, b] = [at / count, at % count].map(|row| &rows[row * width..][..width]);
            assert!(*bound >= dot(a, b) - 1e-5, "{shape:?}: {bound}");
            over += f64::from(bound - dot(a, b)) / bounds.len() as f64;
        }
        // And they tell something where features vary along few directions.
        assert!(over < 0.75, "{shape:?}: {over}");
    }
}
