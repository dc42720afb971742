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
        let mut row = vec![0.0; self.classes];
        for photos in self.blocks() {
            let (base, width) = (photos.start * self.classes, photos.len());
            for (at, photo) in photos.enumerate() {
                let (own, share) = (self.class[photo], self.share[photo]);
                for (class, value) in row.iter_mut().enumerate() {
                    *value = logits[base + class * width + at];
                }
                let (one, rest) = softmax(&mut row, own);
                loss.value += share * one;
                loss.curvature[own] += share * rest * (1.0 - rest);
                for (class, &other) in row.iter().enumerate() {
                    loss.others[base + class * width + at] = other as f32;
                    loss.curvature[class] += share * other * (1.0 - other);
                }
            }
        }
        loss
    }

    /// The loss's derivative by the logits of one block, written to `residual`.
    pub(super) fn residual(&self, photos: Range<usize>, logits: &[f64], residual: &mut [f64]) {
        let width = photos.len();
        let mut row = vec![0.0; self.classes];
        for (at, photo) in photos.enumerate() {
            let (own, share) = (self.class[photo], self.share[photo]);
            for (class, value) in row.iter_mut().enumerate() {
                *value = logits[class * width + at];
            }
            let (_, rest) = softmax(&mut row, own);
            for (class, &other) in row.iter().enumerate() {
                residual[class * width + at] = share * other;
            }
            residual[own * width + at] = -share * rest;
        }
    }

    /// The loss at `logits + t · change`, and its derivatives by `t`.
    pub(super) fn along(&self, logits: &[f64], change: &[f64], t: f64) -> Along {
        let mut along = Along {
            value: 0.0,
            slope: 0.0,
            curvature: 0.0,
        };
        let mut row = vec![0.0; self.classes];
        for photos in self.blocks() {
            let (base, width) = (photos.start * self.classes, photos.len());
            for (at, photo) in photos.enumerate() {
                let (own, share) = (self.class[photo], self.share[photo]);
                for (class, value) in row.iter_mut().enumerate() {
                    let index = base + class * width + at;
                    *value = logits[index] + t * change[index];
                }
                let (one, _) = softmax(&mut row, own);
                let own_change = change[base + own * width + at];
                let (mut mean, mut square) = (0.0, 0.0);
                for (class, &other) in row.iter().enumerate() {
                    let change = change[base + class * width + at] - own_change;
                    mean += other * change;
                    square += other * change * change;
                }
                along.value += share * one;
                along.slope += share * mean;
                along.curvature += share * (square - mean * mean).max(0.0);
            }
        }
        along
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
