//! The regression itself: its data, its objective and its gradient.

use std::borrow::Cow;

use super::products::{add_products, log_sum_exp, products};
use super::{LinearSolution, LogisticError, LogisticOptions, Scaling};
use crate::train::lbfgs::dot;

/// How far below the others' mean the logit of a class without images is put. Its probability is
/// then below `exp(-30) ≈ 1e-13` whatever the photo, since the largest logit is never below the mean.
const ABSENT_LOGIT: f64 = -30.0;
/// Images taken through both matrix products together: their features stay in the second-level cache.
const PANEL: usize = 16;
/// Features are padded to a multiple of this, so that inner loops have no rest.
const LANES: usize = 8;

/// A regression, checked and measured, ready to be solved.
#[derive(Clone, Debug)]
pub struct LogisticProblem<'a> {
    /// `[N, F]`.
    features: Cow<'a, [f32]>,
    pub(super) dim: usize,
    classes: usize,
    /// The classes that have images. Only these take part in the softmax.
    pub(super) present: Vec<usize>,
    /// Each image's class, as a position in `present`.
    targets: Vec<usize>,
    /// Each image's share of the total weight.
    shares: Vec<f64>,
    /// `C` times the total weight: the objective divided by this is what the solver minimises.
    pub(super) unit: f64,
    /// Each feature's mean over the images, weighted.
    mean: Vec<f64>,
    /// What multiplies `½ W²` for each feature, in the solver's unit.
    penalty: Vec<f64>,
    /// `W = u · step` for each feature.
    step: Vec<f64>,
    /// `b = v · bias_step - W · mean`.
    bias_step: f64,
    pub(super) options: LogisticOptions,
}

impl<'a> LogisticProblem<'a> {
    /// Sets up the regression of `labels` on `features`.
    ///
    /// A class without images is allowed, for a fold may lack one: the solution gives it zero
    /// weights and a bias that no photo can lift.
    ///
    /// # Shapes
    /// `features` is `[N, F]` row-major, where `N` is the number of labels and `F = dim`.
    ///
    /// # Errors
    /// If sizes, labels or class weights do not fit, a feature is not finite, fewer than two
    /// classes have images, or `C` is not a positive, finite number.
    pub fn new(
        features: impl Into<Cow<'a, [f32]>>,
        dim: usize,
        labels: &[usize],
        classes: usize,
        options: LogisticOptions,
    ) -> Result<Self, LogisticError> {
        let features = features.into();
        let images = labels.len();
        if dim == 0 || images.checked_mul(dim) != Some(features.len()) {
            return Err(LogisticError::Shape {
                values: features.len(),
                images,
                features: dim,
            });
        }
        if !(options.c > 0.0 && options.c.is_finite()) {
            return Err(LogisticError::C(options.c));
        }
        if let Some(at) = features.iter().position(|x| !x.is_finite()) {
            return Err(LogisticError::Feature {
                image: at / dim,
                feature: at % dim,
            });
        }
        let class_weights = options.class_weights.resolve(labels, classes)?;
        let mut position = vec![None; classes];
        labels.iter().for_each(|&label| position[label] = Some(0));
        let mut present = Vec::new();
        for (class, position) in position.iter_mut().enumerate().filter(|(_, p)| p.is_some()) {
            *position = Some(present.len());
            present.push(class);
        }
        if present.len() < 2 {
            return Err(LogisticError::TooFewClasses(present.len()));
        }
        let targets = labels.iter().filter_map(|&label| position[label]).collect();
        let total: f64 = labels.iter().map(|&label| class_weights[label]).sum();
        let shares: Vec<f64> = labels
            .iter()
            .map(|&label| class_weights[label] / total)
            .collect();
        let unit = options.c * total;

        let (mean, variance) = moments(&features, dim, &shares);
        let scale = squared_scales(&features, dim, options.scaling);
        let penalty: Vec<f64> = scale.iter().map(|scale| scale / unit).collect();
        // Where all classes are equally likely the loss curves by 1/K along each class, and less
        // as the fit sharpens: a twentieth of it took the fewest iterations on the features of
        // real photos, over two backbones, all scalings and C from 0.01 to 100.
        let curvature = 0.05 / present.len() as f64;
        let step = penalty
            .iter()
            .zip(&variance)
            .map(|(penalty, variance)| (penalty + curvature * variance).sqrt().recip())
            .collect();
        Ok(Self {
            features,
            dim,
            classes,
            present,
            targets,
            shares,
            unit,
            mean,
            penalty,
            step,
            bias_step: curvature.sqrt().recip(),
            options,
        })
    }

    /// The objective at a given head, as defined at the top of this module. Classes without images
    /// do not count.
    ///
    /// # Errors
    /// If the head has another number of features.
    pub fn objective(&self, head: &LinearSolution) -> Result<f64, LogisticError> {
        let point = self.point(head)?;
        let mut gradient = vec![0.0; point.len()];
        Ok(self.unit * self.evaluate(&point, &mut gradient, &mut Workspace::default()))
    }

    /// The objective and its gradient in the solver's variables and unit.
    pub(super) fn evaluate(
        &self,
        point: &[f64],
        gradient: &mut [f64],
        work: &mut Workspace,
    ) -> f64 {
        let (dim, classes) = (self.dim, self.present.len());
        let stride = dim.next_multiple_of(LANES);
        work.resize(stride, classes);
        let (scaled, free) = point.split_at(classes * dim);
        let (scaled_gradient, free_gradient) = gradient.split_at_mut(classes * dim);

        let mut value = 0.0;
        for (class, scaled) in scaled.chunks_exact(dim).enumerate() {
            let weight = &mut work.weight[class * stride..][..dim];
            for feature in 0..dim {
                weight[feature] = scaled[feature] * self.step[feature];
                value += 0.5 * self.penalty[feature] * weight[feature] * weight[feature];
            }
            work.bias[class] = free[class] * self.bias_step - dot(weight, &self.mean);
        }
        work.gradient.fill(0.0);
        free_gradient.fill(0.0);

        let images = self.features.chunks(PANEL * dim);
        let targets = self.targets.chunks(PANEL).zip(self.shares.chunks(PANEL));
        for (images, (targets, shares)) in images.zip(targets) {
            let rows = targets.len();
            for (row, image) in work
                .panel
                .chunks_exact_mut(stride)
                .zip(images.chunks_exact(dim))
            {
                for (wide, &narrow) in row.iter_mut().zip(image) {
                    *wide = f64::from(narrow);
                }
            }
            let panel = &work.panel[..rows * stride];
            products(panel, &work.weight, stride, &mut work.residual);
            let residuals = work.residual.chunks_exact_mut(classes);
            for ((logits, &target), &share) in residuals.zip(targets).zip(shares) {
                logits
                    .iter_mut()
                    .zip(&work.bias)
                    .for_each(|(logit, bias)| *logit += bias);
                let log_sum = log_sum_exp(logits);
                value += share * (log_sum - logits[target]);
                for logit in logits.iter_mut() {
                    *logit = share * (*logit - log_sum).exp();
                }
                logits[target] -= share;
                free_gradient
                    .iter_mut()
                    .zip(&*logits)
                    .for_each(|(sum, r)| *sum += r);
            }
            add_products(
                panel,
                &work.residual[..rows * classes],
                stride,
                &mut work.gradient,
            );
        }

        for (class, scaled_gradient) in scaled_gradient.chunks_exact_mut(dim).enumerate() {
            let raw = &work.gradient[class * stride..][..dim];
            let weight = &work.weight[class * stride..][..dim];
            let residual = free_gradient[class];
            for feature in 0..dim {
                let centred = raw[feature] - residual * self.mean[feature];
                let slope = centred + self.penalty[feature] * weight[feature];
                scaled_gradient[feature] = self.step[feature] * slope;
            }
        }
        free_gradient.iter_mut().for_each(|g| *g *= self.bias_step);
        value
    }

    /// A head in the solver's variables. Classes it does not know start at zero.
    pub(super) fn point(&self, head: &LinearSolution) -> Result<Vec<f64>, LogisticError> {
        let (dim, classes) = (self.dim, self.present.len());
        let known = head.bias.len();
        if known == 0 || head.weight.len() != known * dim {
            let found = head.features();
            return Err(LogisticError::WarmStart {
                found,
                features: dim,
            });
        }
        let mut point = vec![0.0; classes * (dim + 1)];
        let (scaled, free) = point.split_at_mut(classes * dim);
        for (position, &class) in self.present.iter().enumerate().filter(|(_, c)| **c < known) {
            let weight = &head.weight[class * dim..(class + 1) * dim];
            let mut bias = f64::from(head.bias[class]);
            for feature in 0..dim {
                let weight = f64::from(weight[feature]);
                scaled[position * dim + feature] = weight / self.step[feature];
                bias += weight * self.mean[feature];
            }
            free[position] = bias / self.bias_step;
        }
        Ok(point)
    }

    /// The head at a point, with the freedom that the loss leaves used up: the logits of the
    /// classes that have images sum to zero for every photo, which also makes the penalty smallest.
    pub(super) fn head(&self, point: &[f64]) -> (Vec<f32>, Vec<f32>) {
        let (dim, classes) = (self.dim, self.present.len());
        let mut weight = vec![0.0f32; self.classes * dim];
        let mut bias = vec![ABSENT_LOGIT as f32; self.classes];
        let (scaled, free) = point.split_at(classes * dim);
        let mut exact: Vec<f64> = free.iter().map(|free| free * self.bias_step).collect();
        for feature in 0..dim {
            let at = |position: usize| scaled[position * dim + feature] * self.step[feature];
            let middle = (0..classes).map(at).sum::<f64>() / classes as f64;
            for (position, &class) in self.present.iter().enumerate() {
                let value = at(position) - middle;
                weight[class * dim + feature] = value as f32;
                exact[position] -= value * self.mean[feature];
            }
        }
        let middle = exact.iter().sum::<f64>() / classes as f64;
        for (exact, &class) in exact.iter().zip(&self.present) {
            bias[class] = (exact - middle) as f32;
        }
        (weight, bias)
    }
}

/// The weighted mean and variance of each feature.
fn moments(features: &[f32], dim: usize, shares: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut mean, mut variance) = (vec![0.0; dim], vec![0.0; dim]);
    for (image, share) in features.chunks_exact(dim).zip(shares) {
        mean.iter_mut()
            .zip(image)
            .for_each(|(sum, &x)| *sum += share * f64::from(x));
    }
    for (image, share) in features.chunks_exact(dim).zip(shares) {
        for feature in 0..dim {
            let off = f64::from(image[feature]) - mean[feature];
            variance[feature] += share * off * off;
        }
    }
    (mean, variance)
}

/// The square of what the penalty takes for each feature's size. Class weights have no say in it,
/// as they have none in scikit-learn's `StandardScaler`.
fn squared_scales(features: &[f32], dim: usize, scaling: Scaling) -> Vec<f64> {
    let images = features.len() / dim;
    let variance = || moments(features, dim, &vec![1.0 / images as f64; images]).1;
    let or_one = |scale: f64| if scale > 0.0 { scale } else { 1.0 };
    match scaling {
        Scaling::None => vec![1.0; dim],
        Scaling::Global => vec![or_one(variance().iter().sum::<f64>() / dim as f64); dim],
        Scaling::PerFeature => variance().into_iter().map(or_one).collect(),
    }
}

/// Buffers of one evaluation, kept between evaluations. Rows are padded with zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Workspace {
    /// `[K, stride]`.
    weight: Vec<f64>,
    /// `[K]`.
    bias: Vec<f64>,
    /// `[PANEL, stride]`: features of the images at hand.
    panel: Vec<f64>,
    /// `[PANEL, K]`: their logits, then the loss's derivative by them.
    residual: Vec<f64>,
    /// `[K, stride]`.
    gradient: Vec<f64>,
}

impl Workspace {
    fn resize(&mut self, stride: usize, classes: usize) {
        self.weight.resize(classes * stride, 0.0);
        self.bias.resize(classes, 0.0);
        self.panel.resize(PANEL * stride, 0.0);
        self.residual.resize(PANEL * classes, 0.0);
        self.gradient.resize(classes * stride, 0.0);
    }
}
