//! Where the weights are sought: among the features, or among the photos.
//!
//! The penalty makes the best weights a mixture of the photos (the representer theorem), so where
//! there are fewer photos than features they are sought as each photo's coefficient: products then
//! run over the photos' inner products, `[N, N]`, which never change. Otherwise they are sought as
//! a number for each feature, scaled so that all have a similar curvature.

use std::ops::Range;

use rekindle_cpu::{Centre, Centred, Matrix, exact_logits, exact_sums};

use super::loss::{Loss, Targets, spread};
use crate::train::features::Table;

/// Multiply-adds of one product below which f64 costs nothing worth saving.
const SMALL: usize = 200_000;

/// A photo's product with itself over the photos' variance, above which f32 keeps too little of what
/// centring leaves.
const COARSE: f64 = 1000.0;

/// Features of photos, and what is known of each feature.
#[derive(Clone, Debug)]
pub(super) struct Rows<'a> {
    /// `[N, F]`.
    pub(super) features: Table<'a>,
    pub(super) width: usize,
    /// Each feature's mean over the photos, weighted.
    pub(super) mean: Vec<f64>,
    /// Each feature's variance over the photos, weighted.
    pub(super) variance: Vec<f64>,
    /// What multiplies `½ W²` for each feature, in the solver's unit.
    pub(super) penalty: Vec<f64>,
}

impl Rows<'_> {
    /// The logits of centred photos under weights, `[K, N]`.
    fn logits(&self, targets: &Targets, weight: &[f64]) -> Vec<f64> {
        let photos = targets.photos();
        let mut logits = vec![0.0; photos * targets.classes];
        exact_logits(self.features.rows(), weight, &mut logits);
        let weights = weight.chunks_exact(self.width);
        for (row, weight) in logits.chunks_exact_mut(photos).zip(weights) {
            let middle = dot(weight, &self.mean);
            row.iter_mut().for_each(|logit| *logit -= middle);
        }
        logits
    }

    /// `Σ_n factors[k, n] · (rows[n] - mean)`.
    fn sums(&self, targets: &Targets, factors: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; targets.classes * self.width];
        exact_sums(self.features.rows(), factors, &mut sums);
        let factors = factors.chunks_exact(targets.photos());
        for (sums, factors) in sums.chunks_exact_mut(self.width).zip(factors) {
            let total = factors.iter().sum::<f64>();
            for (sum, mean) in sums.iter_mut().zip(&self.mean) {
                *sum -= total * mean;
            }
        }
        sums
    }
}

/// Where the weights are sought.
#[derive(Debug)]
pub(super) enum Space {
    /// Among the features.
    Features {
        /// `W = u · step` for each feature.
        step: Vec<f64>,
        /// Whether there is so little that all products are in f64.
        is_small: bool,
    },
    /// Among the photos.
    Photos {
        /// Inner products of centred features, each over its penalty, over `size`.
        products: Matrix,
        size: f64,
    },
}

impl Space {
    /// Among the features.
    pub(super) fn features(rows: &Rows<'_>, targets: &Targets) -> Self {
        // Where all classes are equally likely the loss curves by 1/K along each class, and less
        // as the fit sharpens.
        let curvature = 0.05 / targets.classes as f64;
        let step: Vec<f64> = rows
            .penalty
            .iter()
            .zip(&rows.variance)
            .map(|(penalty, variance)| (penalty + curvature * variance).sqrt().recip())
            .collect();
        Self::Features {
            step,
            is_small: targets.photos() * targets.classes * rows.width <= SMALL,
        }
    }

    /// Among the photos, whose inner products are worked out.
    pub(super) fn photos(rows: &Rows<'_>, photos: usize) -> Self {
        let size = rows
            .variance
            .iter()
            .zip(&rows.penalty)
            .map(|(variance, penalty)| variance / penalty)
            .sum::<f64>();
        let size = if size > 0.0 { size } else { 1.0 };
        let scale: Vec<f64> = rows
            .penalty
            .iter()
            .map(|penalty| (penalty * size).sqrt().recip())
            .collect();
        let mut scaled = Vec::with_capacity(photos * rows.width);
        for row in rows.features.rows().iter() {
            let row = row.iter().zip(&rows.mean).zip(&scale);
            scaled.extend(row.map(|((&x, mean), scale)| ((f64::from(x) - mean) * scale) as f32));
        }
        let products = rekindle_cpu::gram(rows.width, &scaled);
        Self::Photos {
            products: Matrix::of_columns(photos, &products),
            size,
        }
    }

    /// Among the photos, whose inner products less some vector are known, `[N, N]`, on and below the
    /// diagonal. None where rounding has left too little of them: where that vector lies far away.
    pub(super) fn of_products(
        rows: &Rows<'_>,
        targets: &Targets,
        products: Vec<f32>,
    ) -> Option<Self> {
        // Only where all features count the same are products of features products of weights.
        let penalty = rows.penalty[0];
        if rows.penalty.iter().any(|other| *other != penalty) {
            return None;
        }
        let variance = rows.variance.iter().sum::<f64>();
        let own = products.iter().step_by(targets.photos() + 1);
        let largest = own.fold(0.0f32, |largest, own| largest.max(*own));
        if !(variance > 0.0 && f64::from(largest) < COARSE * variance) {
            return None;
        }
        Some(Self::Photos {
            products: Matrix::of_centred(products, &targets.share, variance),
            size: variance / penalty,
        })
    }

    /// Numbers of a class's weights.
    pub(super) fn dimensions(&self, rows: &Rows<'_>) -> usize {
        match self {
            Self::Features { .. } => rows.width,
            Self::Photos { products, .. } => products.columns(),
        }
    }

    /// The weights `[K, F]` at a point `[K, dimensions]`.
    pub(super) fn weight(&self, rows: &Rows<'_>, targets: &Targets, point: &[f64]) -> Vec<f64> {
        match self {
            Self::Features { step, .. } => point
                .chunks_exact(rows.width)
                .flat_map(|point| point.iter().zip(step).map(|(u, step)| u * step))
                .collect(),
            Self::Photos { .. } => {
                let mut weight = rows.sums(targets, point);
                for weight in weight.chunks_exact_mut(rows.width) {
                    let pairs = weight.iter_mut().zip(&rows.penalty);
                    pairs.for_each(|(weight, penalty)| *weight /= penalty);
                }
                weight
            }
        }
    }

    /// The point at which the weights are these, if they are sought among the features.
    pub(super) fn point(&self, weight: &[f64]) -> Option<Vec<f64>> {
        let Self::Features { step, .. } = self else {
            return None;
        };
        let rows = weight.chunks_exact(step.len());
        Some(
            rows.flat_map(|weight| weight.iter().zip(step).map(|(weight, step)| weight / step))
                .collect(),
        )
    }

    /// The logits at a point, less the biases, in f64.
    pub(super) fn exact(&self, rows: &Rows<'_>, targets: &Targets, point: &[f64]) -> Vec<f64> {
        rows.logits(targets, &self.weight(rows, targets, point))
    }

    /// The penalty's inner product of two points, the second with its logits less the biases.
    pub(super) fn penalty(&self, rows: &Rows<'_>, a: &[f64], b: &[f64], logits: &[f64]) -> f64 {
        match self {
            Self::Photos { .. } => dot(a, logits),
            Self::Features { step, .. } => {
                let mut sum = 0.0;
                for (a, b) in a.chunks_exact(rows.width).zip(b.chunks_exact(rows.width)) {
                    for feature in 0..rows.width {
                        let weight = rows.penalty[feature] * step[feature] * step[feature];
                        sum += weight * a[feature] * b[feature];
                    }
                }
                sum
            }
        }
    }

    /// Turns a residual into the objective's gradient at a point: adds the penalty's, both in f64.
    /// (Among the photos, the gradient's coefficients are the point's plus the residual.)
    pub(super) fn gradient(
        &self,
        rows: &Rows<'_>,
        targets: &Targets,
        point: &[f64],
        residual: Vec<f64>,
    ) -> Vec<f64> {
        match self {
            Self::Photos { .. } => {
                let mut gradient = residual;
                add(&mut gradient, 1.0, point);
                balance(targets, &mut gradient);
                gradient
            }
            Self::Features { step, .. } => {
                let mut gradient = rows.sums(targets, &residual);
                let pairs = gradient
                    .chunks_exact_mut(rows.width)
                    .zip(point.chunks_exact(rows.width));
                for (gradient, point) in pairs {
                    for feature in 0..rows.width {
                        let penalty = rows.penalty[feature] * step[feature] * point[feature];
                        gradient[feature] = step[feature] * (gradient[feature] + penalty);
                    }
                }
                gradient
            }
        }
    }

    /// A residual preconditioned, by the diagonal of the Hessian where that is known, and the
    /// result's logits where products run over photos.
    pub(super) fn precondition(
        &self,
        rows: &Rows<'_>,
        residual: &[f64],
        curvature: &[f64],
    ) -> (Vec<f64>, Vec<f64>) {
        match self {
            Self::Photos { products, size } => {
                let mut logits = vec![0.0; residual.len()];
                let narrowed = narrow(residual, products.depth());
                widened(&narrowed, &mut logits, |rows, logits| {
                    products.multiply(rows, logits)
                });
                logits.iter_mut().for_each(|logit| *logit *= size);
                (residual.to_vec(), logits)
            }
            Self::Features { step, .. } => {
                let mut point = residual.to_vec();
                for (point, curvature) in point.chunks_exact_mut(rows.width).zip(curvature) {
                    for feature in 0..rows.width {
                        let diagonal = rows.penalty[feature] + curvature * rows.variance[feature];
                        point[feature] /= diagonal * step[feature] * step[feature];
                    }
                }
                (point, Vec::new())
            }
        }
    }

    /// The inner product of a residual with a preconditioned one.
    pub(super) fn inner(&self, residual: &[f64], point: &[f64], logits: &[f64]) -> f64 {
        match self {
            Self::Photos { .. } => dot(residual, logits),
            Self::Features { .. } => dot(residual, point),
        }
    }

    /// The Hessian's product with a direction (a point, its logits, biases), in f32 where it is dear
    /// unless it is to be `precise`: the point's and the biases' part, and the direction's curvature.
    pub(super) fn hessian(
        &self,
        rows: &Rows<'_>,
        targets: &Targets,
        loss: &Loss,
        (point, logits, bias): (&[f64], &[f64], &[f64]),
        precise: bool,
    ) -> (Vec<f64>, Vec<f64>, f64) {
        let photos = targets.photos();
        let mut product = point.to_vec();
        let mut bent = Bent::default();
        let penalty = self.penalty(rows, point, point, logits);
        match self {
            Self::Photos { .. } => {
                let change = bent.turn(targets, loss, 0..photos, logits.iter().copied(), bias);
                add(&mut product, 1.0, change);
                balance(targets, &mut product);
            }
            Self::Features { step, is_small } => {
                for product in product.chunks_exact_mut(rows.width) {
                    for feature in 0..rows.width {
                        product[feature] *= rows.penalty[feature] * step[feature] * step[feature];
                    }
                }
                if precise || *is_small {
                    let logits = self.exact(rows, targets, point);
                    let change = bent.turn(targets, loss, 0..photos, logits.into_iter(), bias);
                    let sums = rows.sums(targets, change);
                    let pairs = product
                        .chunks_exact_mut(rows.width)
                        .zip(sums.chunks_exact(rows.width));
                    for (product, sums) in pairs {
                        for feature in 0..rows.width {
                            product[feature] += step[feature] * sums[feature];
                        }
                    }
                } else {
                    let centred = Centred {
                        rows: rows.features.rows(),
                        centre: &Centre::new(&rows.mean, step),
                    };
                    bent = quick(&centred, targets, loss, (point, bias), &mut product);
                }
            }
        }
        (product, bent.of_bias, penalty + bent.curved)
    }

    /// Multiply-adds of one [`hessian`](Self::hessian) and [`precondition`](Self::precondition).
    pub(super) fn cost(&self, rows: &Rows<'_>, targets: &Targets, precise: bool) -> usize {
        if precise {
            return 2 * self.exact_cost(rows, targets);
        }
        let each = match self {
            Self::Photos { products, .. } => products.depth(),
            Self::Features { .. } => 2 * rows.width,
        };
        // A vector's few passes and the softmax cost about as much as so many multiply-adds.
        targets.photos() * targets.classes * (each + 40)
    }

    /// Multiply-adds of one [`exact`](Self::exact) product, in f64, which take twice as long.
    pub(super) fn exact_cost(&self, rows: &Rows<'_>, targets: &Targets) -> usize {
        let passes = match self {
            Self::Photos { .. } => 2,
            Self::Features { .. } => 1,
        };
        2 * passes * targets.photos() * targets.classes * rows.width
    }
}

/// What became of changes of photos' logits.
#[derive(Debug, Default)]
struct Bent {
    /// Of the last photos: how the loss's derivative changes, `[K, photos]`.
    change: Vec<f64>,
    /// That, summed over the photos.
    of_bias: Vec<f64>,
    /// How much the loss curves.
    curved: f64,
}

impl Bent {
    /// Adds some photos, given how their logits change but for the biases, `[K, photos]`. Returns how the loss's
    /// derivative changes.
    fn turn(
        &mut self,
        targets: &Targets,
        loss: &Loss,
        photos: Range<usize>,
        logits: impl Iterator<Item = f64>,
        bias: &[f64],
    ) -> &[f64] {
        let width = photos.len();
        self.change.clear();
        self.change.extend(logits);
        spread(&mut self.change, bias);
        self.curved += targets.bend(photos, loss, &mut self.change);
        self.of_bias.resize(targets.classes, 0.0);
        let rows = self.change.chunks_exact(width);
        for (sum, row) in self.of_bias.iter_mut().zip(rows) {
            *sum += row.iter().sum::<f64>();
        }
        &self.change
    }
}

/// Adds to `product` what the loss's part of the Hessian makes of a direction (a point and biases) among the features,
/// with products in f32.
fn quick(
    centred: &Centred<'_>,
    targets: &Targets,
    loss: &Loss,
    (point, bias): (&[f64], &[f64]),
    product: &mut [f64],
) -> Bent {
    let width = centred.rows.width();
    let (weights, sizes) = narrow(point, width);
    // What factors are divided by, so that none is lost to f32's range: numbers about as large as they become.
    let largest = |sizes: &[f64]| sizes.iter().fold(0.0f64, |most, size| most.max(size.abs()));
    let size = largest(&sizes).max(largest(bias));
    let usual = |size: f64| if size > 0.0 { size } else { 1.0 };
    let scales: Vec<f64> = loss.most.iter().map(|most| usual(most * size)).collect();
    let mut sums = vec![0.0; product.len()];
    let parts = centred.there_and_back(&weights, &mut sums, |photos, values, bent: &mut Bent| {
        let count = photos.len();
        let classes = values.chunks_exact(count).zip(&sizes);
        let logits = classes.flat_map(|(row, size)| row.iter().map(move |x| f64::from(*x) * size));
        let change = bent.turn(targets, loss, photos, logits, bias);
        let rows = change.chunks_exact(count).zip(&scales);
        for (values, (change, scale)) in values.chunks_exact_mut(count).zip(rows) {
            for (value, change) in values.iter_mut().zip(change) {
                *value = (change / scale) as f32;
            }
        }
    });
    let rows = product
        .chunks_exact_mut(width)
        .zip(sums.chunks_exact(width));
    for ((product, sums), scale) in rows.zip(&scales) {
        add(product, *scale, sums);
    }
    parts.into_iter().fold(Bent::default(), |mut all, part| {
        all.curved += part.curved;
        all.of_bias.resize(targets.classes, 0.0);
        add(&mut all.of_bias, 1.0, &part.of_bias);
        all
    })
}

/// Makes the photos' coefficients add up to zero in each class, as they do at the optimum. What is
/// taken off, a multiple of the photos' shares, changes no weight, for centred photos' mean is zero; but
/// in f32 it would leave its rounding.
fn balance(targets: &Targets, coefficients: &mut [f64]) {
    for row in coefficients.chunks_exact_mut(targets.photos()) {
        let sum = row.iter().sum::<f64>();
        add(row, -sum, &targets.share);
    }
}

/// Rows as f32, each divided by its largest magnitude so that none is lost to f32's range.
fn narrow(values: &[f64], width: usize) -> (Vec<f32>, Vec<f64>) {
    let mut narrow = Vec::with_capacity(values.len());
    let mut factors = Vec::new();
    for row in values.chunks_exact(width) {
        let largest = row.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        let factor = if largest > 0.0 { largest } else { 1.0 };
        narrow.extend(row.iter().map(|x| (x / factor) as f32));
        factors.push(factor);
    }
    (narrow, factors)
}

/// A product in f32 of what [`narrow`] made, which `multiply` writes over zeros.
fn widened(
    (rows, factors): &(Vec<f32>, Vec<f64>),
    output: &mut [f64],
    multiply: impl FnOnce(&[f32], &mut [f32]),
) {
    let mut quick = vec![0.0; output.len()];
    multiply(rows, &mut quick);
    let columns = (output.len() / factors.len().max(1)).max(1);
    let rows = output
        .chunks_exact_mut(columns)
        .zip(quick.chunks_exact(columns));
    for ((output, quick), factor) in rows.zip(factors) {
        for (output, &quick) in output.iter_mut().zip(quick) {
            *output = f64::from(quick) * factor;
        }
    }
}

/// The inner product, summed in eight interleaved parts: fast, and always in the same order.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a
        .remainder()
        .iter()
        .zip(b.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (a, b) in a.zip(b) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// `target += factor · values`.
pub(super) fn add(target: &mut [f64], factor: f64, values: &[f64]) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += factor * value;
    }
}
