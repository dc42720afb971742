//! A linear head, solved to the optimum: multinomial logistic regression on pooled features.
//!
//! Minimises, over weights `W [K, F]` and biases `b [K]`,
//!
//! ```text
//! C · Σ_i w(y_i) · -log softmax(W x_i + b)[y_i]  +  ½ Σ_kf s_f² W_kf²
//! ```
//!
//! which is convex. With [`Scaling::None`] (all `s_f = 1`) this is the objective of scikit-learn's
//! `LogisticRegression(C=C, class_weight=w)`: the biases are not penalised. The other scalings are
//! the same regression on features divided by `s_f`, written in terms of the undivided features, so
//! that the solution is always a plain linear layer. (Subtracting the features' mean as well would
//! change nothing: the free biases absorb it.)
//!
//! With two classes scikit-learn keeps one weight vector `v` where the softmax has two. At the
//! optimum `W = [-v/2, v/2]`, whose penalty is `¼‖v‖²`, so that `softmax(C) = ½ · binary(2C)`: two
//! classes at `C` here are scikit-learn's at `2C`.
//!
//! The solver works on `u = W / d` with `d_f` near the inverse root of the objective's curvature
//! along feature `f`, and on features centred on their mean. Both are exact changes of variables:
//! they leave the optimum alone and let L-BFGS reach it in tens of iterations even where features
//! differ by orders of magnitude.
//!
//! Everything runs in `f64`, on one thread and in a fixed order. Of the functions used only `exp`
//! and `ln` may differ between platforms, in their last bit.

mod problem;
mod products;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use problem::LogisticProblem;

use problem::Workspace;
use products::log_sum_exp;

use super::class_weights::{ClassWeightError, ClassWeights};
use super::lbfgs::{Lbfgs, LbfgsError, LbfgsOptions, LbfgsState, Status, norm_inf};

/// What the penalty takes for the size of a feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// Features as they are: scikit-learn's regression without a scaler.
    None,
    /// One scale for all features, the root of their mean variance. The default, because it gives
    /// `C` one meaning: the features of two backbones may differ in size by ten (EfficientNet-Lite0
    /// 0.36, SqueezeNet 1.1 3.3 on the sample photos, where unscaled the best `C` are 10 and 0.1),
    /// yet after it `C = 1` is near the best of each. Unlike [`Scaling::PerFeature`] it leaves the
    /// features' relative sizes alone, which carry information.
    #[default]
    Global,
    /// Each feature's own standard deviation, as after scikit-learn's `StandardScaler`. Lifts weak
    /// features to the rank of strong ones; a constant feature keeps the scale 1.
    PerFeature,
}

/// What to solve for, and when to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogisticOptions {
    /// Inverse strength of the penalty; above zero. Larger fits the training images more closely.
    pub c: f64,
    /// What the penalty takes for the size of a feature.
    pub scaling: Scaling,
    /// How much each class counts.
    pub class_weights: ClassWeights,
    /// When to stop. The solver sees the objective divided by `C` and the images' total weight.
    pub lbfgs: LbfgsOptions,
}

impl Default for LogisticOptions {
    fn default() -> Self {
        Self {
            c: 1.0,
            scaling: Scaling::default(),
            class_weights: ClassWeights::None,
            lbfgs: LbfgsOptions {
                gradient_tolerance: 1e-7,
                scale: 1e-2,
                ..Default::default()
            },
        }
    }
}

/// Why a regression cannot be set up or solved.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum LogisticError {
    /// The features are not one row an image.
    #[error("{values} feature values for {images} images of {features} features each")]
    Shape {
        /// Values given.
        values: usize,
        /// Images, by the labels.
        images: usize,
        /// Features an image should have; at least one.
        features: usize,
    },
    /// A feature is infinite or not a number.
    #[error(
        "feature {feature} of image {image} is not finite (help: check the backbone's weights)"
    )]
    Feature {
        /// Index of the image.
        image: usize,
        /// Index of the feature.
        feature: usize,
    },
    /// All images are of one class, or there are none: there is nothing to tell apart.
    #[error("only {0} of the classes have images (help: give images of at least two classes)")]
    TooFewClasses(usize),
    /// The inverse penalty is not a positive, finite number.
    #[error("C is {0} (help: choose a finite number above zero, such as 1)")]
    C(f64),
    /// A solution to start from has another number of features.
    #[error("the solution to start from has {found} features, the problem {features}")]
    WarmStart {
        /// Features of the solution.
        found: usize,
        /// Features of the problem.
        features: usize,
    },
    /// Class weights or labels do not fit the classes.
    #[error(transparent)]
    ClassWeights(#[from] ClassWeightError),
    /// The solve failed.
    #[error(transparent)]
    Lbfgs(#[from] LbfgsError),
}

/// A linear head: `logits = x · weightᵀ + bias`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearSolution {
    /// `[classes, features]`, row-major.
    pub weight: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
    /// The objective reached, as defined at the top of this module.
    pub objective: f64,
    /// Iterations it took.
    pub iterations: usize,
}

impl LinearSolution {
    /// The logits of images.
    ///
    /// # Shapes
    /// `features` is `[N, F]`, the answer `[N, K]`, both row-major. A last, incomplete row of
    /// `features` is not answered.
    pub fn logits(&self, features: &[f32]) -> Vec<f32> {
        let dim = self.features();
        let rows = features.chunks_exact(dim.max(1));
        let mut logits = Vec::with_capacity(rows.len() * self.bias.len());
        for row in rows {
            for (class, &bias) in self.bias.iter().enumerate() {
                let weight = &self.weight[class * dim..(class + 1) * dim];
                let products = row
                    .iter()
                    .zip(weight)
                    .map(|(&x, &w)| f64::from(x) * f64::from(w));
                logits.push((products.sum::<f64>() + f64::from(bias)) as f32);
            }
        }
        logits
    }

    /// The probabilities of images, `softmax(logits)`.
    ///
    /// # Shapes
    /// As for [`LinearSolution::logits`].
    pub fn probabilities(&self, features: &[f32]) -> Vec<f32> {
        let mut values = self.logits(features);
        for row in values.chunks_exact_mut(self.bias.len().max(1)) {
            let logits: Vec<f64> = row.iter().map(|&logit| f64::from(logit)).collect();
            let log_sum = log_sum_exp(&logits);
            for (value, logit) in row.iter_mut().zip(logits) {
                *value = (logit - log_sum).exp() as f32;
            }
        }
        values
    }

    fn features(&self) -> usize {
        self.weight.len() / self.bias.len().max(1)
    }
}

/// A regression being solved: one [`LogisticSolver::step`] is one iteration.
#[derive(Clone, Debug)]
pub struct LogisticSolver<'a> {
    problem: LogisticProblem<'a>,
    lbfgs: Lbfgs,
    work: Workspace,
}

/// What an interrupted solve needs to go on, besides its problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogisticState {
    lbfgs: LbfgsState,
}

/// Where a solve stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Iterations completed.
    pub iteration: usize,
    /// The objective, as defined at the top of this module.
    pub objective: f64,
    /// The largest entry of the gradient, in the solver's own variables and unit.
    pub gradient_norm: f64,
    /// Whether, and why, the solve is over.
    pub status: Status,
}

impl Progress {
    /// Whether further steps would change nothing.
    pub fn done(&self) -> bool {
        self.status.is_done()
    }
}

impl<'a> LogisticSolver<'a> {
    /// Starts from zero weights.
    pub fn new(problem: LogisticProblem<'a>) -> Self {
        let start = vec![0.0; problem.present.len() * (problem.dim + 1)];
        Self::at(problem, start)
    }

    /// Starts from the solution of a similar problem, such as the same photos and one more. The
    /// optimum does not depend on the start; the nearer it lies, the fewer iterations.
    ///
    /// The old classes must be the first of the new ones, in the same order.
    ///
    /// # Errors
    /// If the solution has another number of features.
    pub fn warm(
        problem: LogisticProblem<'a>,
        from: &LinearSolution,
    ) -> Result<Self, LogisticError> {
        let mut start = problem.point(from)?;
        // A class that had no images before starts level, not from the bias that kept it out.
        let (dim, classes) = (problem.dim, problem.present.len());
        for position in 0..classes {
            if start[position * dim..(position + 1) * dim]
                .iter()
                .all(|weight| *weight == 0.0)
            {
                start[classes * dim + position] = 0.0;
            }
        }
        Ok(Self::at(problem, start))
    }

    fn at(problem: LogisticProblem<'a>, start: Vec<f64>) -> Self {
        let lbfgs = Lbfgs::new(start, problem.options.lbfgs);
        Self {
            problem,
            lbfgs,
            work: Workspace::default(),
        }
    }

    /// Takes up a solve where [`LogisticSolver::state`] left it; what follows is bit for bit what
    /// would have followed without the interruption.
    ///
    /// # Errors
    /// If the state is damaged or belongs to another problem.
    pub fn restore(
        problem: LogisticProblem<'a>,
        state: LogisticState,
    ) -> Result<Self, LogisticError> {
        let lbfgs = Lbfgs::restore(state.lbfgs, problem.options.lbfgs)?;
        if lbfgs.point().len() != problem.present.len() * (problem.dim + 1) {
            return Err(LbfgsError::State("its problem has another size").into());
        }
        let mut work = Workspace::default();
        if let Some(stored) = lbfgs.value() {
            // The objective is a fingerprint of features, labels and options together.
            let mut gradient = vec![0.0; lbfgs.point().len()];
            let value = problem.evaluate(lbfgs.point(), &mut gradient, &mut work);
            if (value - stored).abs() > 1e-9 * stored.abs() {
                return Err(LbfgsError::State("its problem has other data or options").into());
            }
        }
        Ok(Self {
            problem,
            lbfgs,
            work,
        })
    }

    /// The regression being solved.
    pub fn problem(&self) -> &LogisticProblem<'a> {
        &self.problem
    }

    /// What [`LogisticSolver::restore`] needs, besides the problem.
    pub fn state(&self) -> LogisticState {
        LogisticState {
            lbfgs: self.lbfgs.state(),
        }
    }

    /// Does one iteration; nothing once the solve is over.
    ///
    /// # Errors
    /// If the objective overflows.
    pub fn step(&mut self) -> Result<Progress, LogisticError> {
        let Self {
            problem,
            lbfgs,
            work,
        } = self;
        let status = lbfgs.step(|point, gradient| problem.evaluate(point, gradient, work))?;
        Ok(Progress {
            iteration: lbfgs.iteration(),
            objective: problem.unit * lbfgs.value().unwrap_or(f64::INFINITY),
            gradient_norm: norm_inf(lbfgs.gradient().unwrap_or_default()),
            status,
        })
    }

    /// Steps until done.
    ///
    /// # Errors
    /// As for [`LogisticSolver::step`].
    pub fn solve(&mut self) -> Result<LinearSolution, LogisticError> {
        while !self.step()?.done() {}
        Ok(self.solution())
    }

    /// The head at the best point so far.
    pub fn solution(&self) -> LinearSolution {
        let point = self.lbfgs.point();
        let (weight, bias) = self.problem.head(point);
        let evaluate = || {
            let mut gradient = vec![0.0; point.len()];
            self.problem
                .evaluate(point, &mut gradient, &mut Workspace::default())
        };
        LinearSolution {
            weight,
            bias,
            objective: self.problem.unit * self.lbfgs.value().unwrap_or_else(evaluate),
            iterations: self.lbfgs.iteration(),
        }
    }
}
