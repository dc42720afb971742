//! The regression itself: its data, checked and measured.

use std::borrow::Cow;

use rekindle_cpu::{self as cpu, exact_moments};

use super::error::LogisticError;
use super::loss::{Targets, spread};
use super::options::{LogisticOptions, Scaling};
use super::solution::LinearSolution;
use super::space::{Rows, Space, dot};
use crate::train::features::Table;

/// How far below the others' mean the logit of a class without images is put. Its probability is
/// then below `exp(-30) ≈ 1e-13` whatever the photo, since the largest logit is never below the mean.
const ABSENT_LOGIT: f64 = -30.0;

/// A regression, checked and measured, ready to be solved.
#[derive(Clone, Debug)]
pub struct LogisticProblem<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) targets: Targets,
    classes: usize,
    /// The classes that have images. Only these take part in the softmax.
    pub(super) present: Vec<usize>,
    /// `C` times the total weight: the objective divided by this is what the solver minimises.
    pub(super) unit: f64,
    /// The images' total weight.
    pub(super) total: f64,
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
        Self::on_rows(Table::all(dim, features), labels, classes, options)
    }

    /// The same on rows that lie somewhere: `features` has one for each label.
    ///
    /// # Errors
    /// As [`LogisticProblem::new`].
    pub fn on_rows(
        features: Table<'a>,
        labels: &[usize],
        classes: usize,
        options: LogisticOptions,
    ) -> Result<Self, LogisticError> {
        let (images, dim) = (labels.len(), features.width());
        if dim == 0 || images.checked_mul(dim) != Some(features.numbers()) {
            return Err(LogisticError::Shape {
                values: features.numbers(),
                images,
                features: dim,
            });
        }
        if !(options.c > 0.0 && options.c.is_finite()) {
            return Err(LogisticError::C(options.c));
        }
        for (image, row) in features.rows().iter().enumerate() {
            if let Some(feature) = row.iter().position(|x| !x.is_finite()) {
                return Err(LogisticError::Feature { image, feature });
            }
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
        let class = labels.iter().filter_map(|&label| position[label]).collect();
        let total: f64 = labels.iter().map(|&label| class_weights[label]).sum();
        let share: Vec<f64> = labels
            .iter()
            .map(|&label| class_weights[label] / total)
            .collect();
        let unit = options.c * total;

        let (mean, variance) = exact_moments(features.rows(), &share);
        let scale = squared_scales(features.rows(), options.scaling, (&share, &variance));
        let penalty = scale.iter().map(|scale| scale / unit).collect();
        Ok(Self {
            rows: Rows {
                features,
                width: dim,
                mean,
                variance,
                penalty,
            },
            targets: Targets {
                classes: present.len(),
                class,
                share,
            },
            classes,
            present,
            unit,
            total,
            options,
        })
    }

    /// The images' features.
    #[cfg(feature = "burn")]
    pub(in crate::train) fn features(&self) -> cpu::Rows<'_> {
        self.rows.features.rows()
    }

    /// The classes that have images.
    pub(in crate::train) fn present(&self) -> &[usize] {
        &self.present
    }

    /// The objective at a given head, as [the module](super) defines it. Classes without images
    /// do not count.
    ///
    /// # Errors
    /// If the head has another number of features.
    pub fn objective(&self, head: &LinearSolution) -> Result<f64, LogisticError> {
        let (weight, bias) = self.weight_of(head)?;
        let width = self.rows.width;
        let mut value = 0.0;
        for weight in weight.chunks_exact(width) {
            for (weight, penalty) in weight.iter().zip(&self.rows.penalty) {
                value += 0.5 * penalty * weight * weight;
            }
        }
        let space = Space::Features {
            step: vec![1.0; width],
            is_small: true,
        };
        let mut logits = space.exact(&self.rows, &self.targets, &weight);
        spread(&mut logits, &bias);
        Ok(self.unit * (value + self.targets.loss(&logits).value))
    }

    /// The number of images and that of features.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.targets.photos(), self.rows.width)
    }

    /// A head's weights and the biases that belong to centred photos, of the classes that have
    /// images. Classes that it does not know start at zero.
    pub(super) fn weight_of(
        &self,
        head: &LinearSolution,
    ) -> Result<(Vec<f64>, Vec<f64>), LogisticError> {
        let (dim, classes) = (self.rows.width, self.present.len());
        let known = head.bias.len();
        if known == 0 || head.weight.len() != known * dim {
            let found = head.features();
            return Err(LogisticError::WarmStart {
                found,
                features: dim,
            });
        }
        let (mut weight, mut bias) = (vec![0.0; classes * dim], vec![0.0; classes]);
        for (position, &class) in self.present.iter().enumerate().filter(|(_, c)| **c < known) {
            let target = &mut weight[position * dim..(position + 1) * dim];
            for (wide, &narrow) in target.iter_mut().zip(&head.weight[class * dim..]) {
                *wide = f64::from(narrow);
            }
            bias[position] = f64::from(head.bias[class]) + dot(target, &self.rows.mean);
        }
        Ok((weight, bias))
    }

    /// The head of some weights and biases of centred photos, with the freedom that the loss leaves
    /// used up: the logits of the classes that have images sum to zero for every photo, which also
    /// makes the penalty smallest.
    pub(super) fn head(&self, exact: &[f64], bias_of_centred: &[f64]) -> (Vec<f32>, Vec<f32>) {
        let (dim, classes) = (self.rows.width, self.present.len());
        let mut weight = vec![0.0f32; self.classes * dim];
        let mut bias = vec![ABSENT_LOGIT as f32; self.classes];
        let mut free = bias_of_centred.to_vec();
        for feature in 0..dim {
            let at = |position: usize| exact[position * dim + feature];
            let middle = (0..classes).map(at).sum::<f64>() / classes as f64;
            for (position, &class) in self.present.iter().enumerate() {
                let value = at(position) - middle;
                weight[class * dim + feature] = value as f32;
                free[position] -= value * self.rows.mean[feature];
            }
        }
        let middle = free.iter().sum::<f64>() / classes as f64;
        for (free, &class) in free.iter().zip(&self.present) {
            bias[class] = (free - middle) as f32;
        }
        (weight, bias)
    }
}

/// The square of what the penalty takes for each feature's size. Class weights have no say in it,
/// as they have none in scikit-learn's `StandardScaler`.
fn squared_scales(
    features: cpu::Rows<'_>,
    scaling: Scaling,
    (share, weighted): (&[f64], &[f64]),
) -> Vec<f64> {
    let (images, dim) = (share.len(), features.width());
    let variance = || match share.iter().all(|other| *other == share[0]) {
        true => weighted.to_vec(),
        false => exact_moments(features, &vec![1.0 / images as f64; images]).1,
    };
    let or_one = |scale: f64| if scale > 0.0 { scale } else { 1.0 };
    match scaling {
        Scaling::None => vec![1.0; dim],
        Scaling::Global => vec![or_one(variance().iter().sum::<f64>() / dim as f64); dim],
        Scaling::PerFeature => variance().into_iter().map(or_one).collect(),
    }
}
