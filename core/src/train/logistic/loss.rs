//! The softmax loss of all photos at their logits, and its first and second derivatives by them.
//!
//! Values of photos are held class by class, `[K, N]`. Everything is worked out from the classes that are *not* the photo's own, so that photos which
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
}

/// What is known of the loss at some logits.
#[derive(Clone, Debug, Default)]
pub(super) struct Loss {
    /// The mean loss, weighted.
    pub(super) value: f64,
    /// Each class's probability for each photo, `[K, N]`; zero for the photo's own class.
    pub(super) others: Vec<f32>,
    /// `Σ share · p (1 - p)` of each class.
    pub(super) curvature: Vec<f64>,
    /// The largest `share · p` of each class over the photos of others, and `share · (1 - p)` over its own.
    pub(super) most: Vec<f64>,
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
    /// Its number among the photos, and how many there are.
    number: usize,
    photos: usize,
    /// Its class, and its share of the total weight.
    own: usize,
    share: f64,
    loss: f64,
    /// The probabilities of the classes that are not its own (zero for its own), and what they add up to.
    others: &'a [f64],
    rest: f64,
}

impl Photo<'_> {
    /// Where its value of a class lies, `[K, N]`.
    fn index(&self, class: usize) -> usize {
        class * self.photos + self.number
    }
}

impl Targets {
    pub(super) fn photos(&self) -> usize {
        self.class.len()
    }

    /// The loss at some logits, `[K, N]`.
    pub(super) fn loss(&self, logits: &[f64]) -> Loss {
        let mut loss = Loss {
            value: 0.0,
            others: vec![0.0; logits.len()],
            curvature: vec![0.0; self.classes],
            most: vec![0.0; self.classes],
        };
        self.each(logits, |photo| {
            loss.value += photo.share * photo.loss;
            loss.curvature[photo.own] += photo.share * photo.rest * (1.0 - photo.rest);
            loss.most[photo.own] = loss.most[photo.own].max(photo.share * photo.rest);
            for (class, &other) in photo.others.iter().enumerate() {
                loss.others[photo.index(class)] = other as f32;
                loss.curvature[class] += photo.share * other * (1.0 - other);
                loss.most[class] = loss.most[class].max(photo.share * other);
            }
        });
        loss
    }

    /// The loss's derivative by the logits, both `[K, N]`.
    pub(super) fn residual(&self, logits: &[f64]) -> Vec<f64> {
        let mut residual = vec![0.0; logits.len()];
        self.each(logits, |photo| {
            for (class, &other) in photo.others.iter().enumerate() {
                residual[photo.index(class)] = photo.share * other;
            }
            residual[photo.index(photo.own)] = -photo.share * photo.rest;
        });
        residual
    }

    /// The loss at `logits + t · change`, and its derivatives by `t`.
    pub(super) fn along(&self, logits: &[f64], change: &[f64], t: f64) -> Along {
        let mut along = Along {
            value: 0.0,
            slope: 0.0,
            curvature: 0.0,
        };
        let moved = logits.iter().zip(change);
        let moved: Vec<f64> = moved.map(|(logit, change)| logit + t * change).collect();
        self.each(&moved, |photo| {
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
        along
    }

    /// Visits the photos with what the softmax of their logits, `[K, N]`, comes to.
    fn each(&self, logits: &[f64], mut visit: impl FnMut(Photo<'_>)) {
        let photos = self.photos();
        let mut row = vec![0.0; self.classes];
        for (number, &own) in self.class.iter().enumerate() {
            for (class, value) in row.iter_mut().enumerate() {
                *value = logits[class * photos + number];
            }
            let (loss, rest) = softmax(&mut row, own);
            visit(Photo {
                number,
                photos,
                own,
                share: self.share[number],
                loss,
                rest,
                others: &row,
            });
        }
    }

    /// Overwrites changes of some photos' logits, `[K, photos]`, by those of the loss's derivative: the Hessian's
    /// product, `share · (diag(p) - p pᵀ) · change`. Returns `change · product`.
    pub(super) fn bend(&self, photos: Range<usize>, loss: &Loss, change: &mut [f64]) -> f64 {
        let width = photos.len();
        let class = &self.class[photos.clone()];
        let share = &self.share[photos.clone()];
        let others = || {
            let all = loss.others.chunks_exact(self.photos());
            all.map(|row| &row[photos.clone()])
        };
        let own: Vec<f64> = class
            .iter()
            .enumerate()
            .map(|(at, own)| change[own * width + at])
            .collect();
        let mut mean = vec![0.0; width];
        for (change, others) in change.chunks_exact_mut(width).zip(others()) {
            for (((mean, change), own), &other) in mean.iter_mut().zip(change).zip(&own).zip(others)
            {
                *change -= own;
                *mean += f64::from(other) * *change;
            }
        }
        let (mut total, mut product) = (vec![0.0; width], 0.0);
        for (change, others) in change.chunks_exact_mut(width).zip(others()) {
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

/// Adds biases to logits, `[K, N]`.
pub(super) fn spread(logits: &mut [f64], bias: &[f64]) {
    let photos = logits.len() / bias.len().max(1);
    for (row, bias) in logits.chunks_exact_mut(photos.max(1)).zip(bias) {
        row.iter_mut().for_each(|logit| *logit += bias);
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
