//! The softmax loss of all photos at their logits, and its first and second derivatives by them.
//!
//! Photos are handled in blocks, each of which holds its values class by class: `[K, block]`.
//! Everything is worked out from the classes that are *not* the photo's own, so that photos which
//! are all but certain keep the leading digits of what little loss is left to them.

use std::ops::Range;

/// A photo's class, and how much it counts.
#[derive(Clone, Debug)]
pub(super) struct Targets {
    /// Classes that have photos.
    pub(super) classes: usize,
    /// Each photo's class.
    pub(super) class: Vec<usize>,
    /// Each photo's share of the total weight.
    pub(super) share: Vec<f64>,
    /// Photos of a block.
    pub(super) block: usize,
}

/// What is known of the loss at some logits.
#[derive(Clone, Debug, Default)]
pub(super) struct Loss {
    /// The mean loss, weighted.
    pub(super) value: f64,
    /// Each class's probability for each photo, in blocks; zero for the photo's own class.
    pub(super) others: Vec<f32>,
    /// `Σ share · p (1 - p)` of each class.
    pub(super) curvature: Vec<f64>,
}

/// The loss along a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Along {
    pub(super) value: f64,
    pub(super) slope: f64,
    pub(super) curvature: f64,
}

/// What the softmax of a photo's logits comes to.
struct Photo<'a> {
    /// Its place in its block, which is so wide.
    at: usize,
    width: usize,
    /// Its class, and its share of the total weight.
    own: usize,
    share: f64,
    loss: f64,
    /// The probabilities of the classes that are not its own (zero for its own), and what they add up to.
    others: &'a [f64],
    rest: f64,
}

impl Photo<'_> {
    /// Where its value of a class lies in its block, `[K, block]`.
    fn index(&self, class: usize) -> usize {
        class * self.width + self.at
    }
}

impl Targets {
    pub(super) fn photos(&self) -> usize {
        self.class.len()
    }

    /// The photos of each block.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (block, photos) = (self.block.max(1), self.photos());
        (0..photos)
            .step_by(block)
            .map(move |start| start..photos.min(start + block))
    }

    /// The loss at some logits, `[blocks, K, block]`.
    pub(super) fn loss(&self, logits: &[f64]) -> Loss {
        let mut loss = Loss {
            value: 0.0,
            others: vec![0.0; logits.len()],
            curvature: vec![0.0; self.classes],
        };
        for photos in self.blocks() {
            let base = photos.start * self.classes;
            self.each(photos, &logits[base..], |photo| {
                loss.value += photo.share * photo.loss;
                loss.curvature[photo.own] += photo.share * photo.rest * (1.0 - photo.rest);
                for (class, &other) in photo.others.iter().enumerate() {
                    loss.others[base + photo.index(class)] = other as f32;
                    loss.curvature[class] += photo.share * other * (1.0 - other);
                }
            });
        }
        loss
    }

    /// The loss's derivative by the logits of one block, written to `residual`.
    pub(super) fn residual(&self, photos: Range<usize>, logits: &[f64], residual: &mut [f64]) {
        self.each(photos, logits, |photo| {
            for (class, &other) in photo.others.iter().enumerate() {
                residual[photo.index(class)] = photo.share * other;
            }
            residual[photo.index(photo.own)] = -photo.share * photo.rest;
        });
    }

    /// The loss at `logits + t · change`, and its derivatives by `t`.
    pub(super) fn along(&self, logits: &[f64], change: &[f64], t: f64) -> Along {
        let mut along = Along {
            value: 0.0,
            slope: 0.0,
            curvature: 0.0,
        };
        let mut moved = Vec::new();
        for photos in self.blocks() {
            let base = photos.start * self.classes;
            let change = &change[base..photos.end * self.classes];
            moved.clear();
            let logits = logits[base..].iter().zip(change);
            moved.extend(logits.map(|(logit, change)| logit + t * change));
            self.each(photos, &moved, |photo| {
                let own_change = change[photo.index(photo.own)];
                let (mut mean, mut square) = (0.0, 0.0);
                for (class, &other) in photo.others.iter().enumerate() {
                    let change = change[photo.index(class)] - own_change;
                    mean += other * change;
                    square += other * change * change;
                }
                along.value += photo.share * photo.loss;
                along.slope += photo.share * mean;
                along.curvature += photo.share * (square - mean * mean).max(0.0);
            });
        }
        along
    }

    /// Visits the photos of a block with what the softmax of their logits, `[K, block]`, comes to.
    fn each(&self, photos: Range<usize>, logits: &[f64], mut visit: impl FnMut(Photo<'_>)) {
        let width = photos.len();
        let mut row = vec![0.0; self.classes];
        for (at, number) in photos.enumerate() {
            let own = self.class[number];
            for (class, value) in row.iter_mut().enumerate() {
                *value = logits[class * width + at];
            }
            let (loss, rest) = softmax(&mut row, own);
            visit(Photo {
                at,
                width,
                own,
                share: self.share[number],
                loss,
                rest,
                others: &row,
            });
        }
    }

    /// Overwrites a block's changes of the logits by those of the loss's derivative: the Hessian's
    /// product, `share · (diag(p) - p pᵀ) · change`. Returns `change · product`; `others` is the
    /// block's part of [`Loss::others`].
    pub(super) fn bend(&self, photos: Range<usize>, others: &[f32], change: &mut [f64]) -> f64 {
        let width = photos.len();
        let class = &self.class[photos.clone()];
        let share = &self.share[photos];
        let own: Vec<f64> = class
            .iter()
            .enumerate()
            .map(|(at, own)| change[own * width + at])
            .collect();
        let mut mean = vec![0.0; width];
        let rows = change
            .chunks_exact_mut(width)
            .zip(others.chunks_exact(width));
        for (change, others) in rows {
            for (((mean, change), own), &other) in mean.iter_mut().zip(change).zip(&own).zip(others)
            {
                *change -= own;
                *mean += f64::from(other) * *change;
            }
        }
        let (mut total, mut product) = (vec![0.0; width], 0.0);
        let rows = change
            .chunks_exact_mut(width)
            .zip(others.chunks_exact(width));
        for (change, others) in rows {
            for at in 0..width {
                let bent = share[at] * f64::from(others[at]) * (change[at] - mean[at]);
                product += bent * change[at];
                total[at] += bent;
                change[at] = bent;
            }
        }
        for (at, own) in class.iter().enumerate() {
            change[own * width + at] -= total[at];
        }
        product
    }
}

/// Turns logits into the probabilities of the classes that are not the photo's own (zero for its
/// own). Returns the loss and what the others add up to.
fn softmax(row: &mut [f64], own: usize) -> (f64, f64) {
    let mine = row[own];
    let highest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut rest = 0.0;
    for (class, value) in row.iter_mut().enumerate() {
        *value = if class == own {
            0.0
        } else {
            (*value - highest).exp()
        };
        rest += *value;
    }
    let all = rest + (mine - highest).exp();
    row.iter_mut().for_each(|value| *value /= all);
    let loss = if mine == highest {
        rest.ln_1p()
    } else {
        highest - mine + all.ln()
    };
    (loss, rest / all)
}
