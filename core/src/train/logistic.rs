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
//! The solver is a truncated Newton method ([`Status`] says how it ended). It seeks the weights among
//! the features, scaled to similar curvature, or, where there are fewer images than features, among
//! the images: the best weights are a mixture of them, and products then run over the images' inner
//! products. Features are centred on their mean. All these are exact changes of variables: they leave
//! the optimum alone.
//!
//! Steps are found with products in f32; values, gradients and how far to go are in f64. On one kind of
//! processor the same call gives the same numbers, whatever the number of its cores; between two kinds
//! they may differ in the last bits.

mod exact;
mod loss;
mod newton;
mod problem;
mod space;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use newton::Status;
pub use problem::LogisticProblem;

use loss::Targets;
use newton::{Newton, Setting, Standing};
use space::{Rows, Space};

use super::class_weights::{ClassWeightError, ClassWeights};

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
    /// When to stop.
    pub stop: StopOptions,
}

/// When a solve is over.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StopOptions {
    /// Converged after an iteration that was expected to lower the objective by at most this share of
    /// it. What is left to gain then is less still.
    pub tolerance: f64,
    /// Iterations after which to give up.
    pub max_iterations: usize,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self {
            tolerance: 1e-10,
            max_iterations: 200,
        }
    }
}

impl Default for LogisticOptions {
    fn default() -> Self {
        Self {
            c: 1.0,
            scaling: Scaling::default(),
            class_weights: ClassWeights::None,
            stop: StopOptions::default(),
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
    /// The objective is infinite or not a number.
    #[error(
        "the objective is not finite at iteration {iteration} (help: look for values in the data \
         so large that they overflow)"
    )]
    NonFinite {
        /// Iterations completed before.
        iteration: usize,
    },
    /// The photos are not those that this was set up for.
    #[error("the photos have changed meanwhile (help: start again)")]
    Changed,
    /// A saved state contradicts itself or the problem it is restored for.
    #[error("this saved solver state does not fit: {0} (help: start the solve afresh)")]
    State(&'static str),
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
        let (dim, classes) = (self.features().max(1), self.bias.len());
        let rows = features.len() / dim;
        let weight: Vec<f64> = self.weight.iter().copied().map(f64::from).collect();
        let mut by_class = vec![0.0; rows * classes];
        rekindle_cpu::exact_logits(dim, &features[..rows * dim], &weight, &mut by_class);
        let mut logits = vec![0.0; rows * classes];
        let classes = by_class.chunks_exact(rows.max(1)).zip(&self.bias);
        for (class, (of_class, &bias)) in classes.enumerate() {
            for (row, logit) in logits.chunks_exact_mut(self.bias.len()).zip(of_class) {
                row[class] = (logit + f64::from(bias)) as f32;
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
    space: Arc<Space>,
    newton: Newton,
}

/// What an interrupted solve needs to go on, besides its problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogisticState {
    /// Whether the weights are sought among the images.
    images: bool,
    standing: Standing,
}

/// Where a solve stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Iterations completed.
    pub iteration: usize,
    /// The objective, as defined at the top of this module.
    pub objective: f64,
    /// The gradient's length, in the solver's own variables and unit.
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
        let (images, features) = problem.shape();
        let among_images = images <= features;
        Self::cold(problem, among_images)
    }

    fn cold(problem: LogisticProblem<'a>, among_images: bool) -> Self {
        let (problem, space) = Self::space(problem, among_images);
        Self::within(problem, space)
    }

    fn within(problem: LogisticProblem<'a>, space: Space) -> Self {
        let classes = problem.targets.classes;
        let point = vec![0.0; classes * space.dimensions(&problem.rows)];
        Self {
            problem,
            space: Arc::new(space),
            newton: Newton::new(point, vec![0.0; classes]),
        }
    }

    fn space(mut problem: LogisticProblem<'a>, images: bool) -> (LogisticProblem<'a>, Space) {
        let space = if images {
            problem.targets.block = problem.targets.photos();
            Space::photos(&problem.rows, problem.targets.photos())
        } else {
            Space::features(&problem.rows, &problem.targets)
        };
        (problem, space)
    }

    /// Starts from zero weights, among the images, whose inner products are known: those of their
    /// features, each less the same vector, whichever. Among the features where these products are too
    /// coarse.
    ///
    /// # Shapes
    /// `products` is `[N, N]`; only what lies on and below the diagonal is read.
    pub(super) fn of_products(mut problem: LogisticProblem<'a>, products: Vec<f32>) -> Self {
        problem.targets.block = problem.targets.photos();
        let Some(space) = Space::of_products(&problem.rows, &problem.targets, products) else {
            problem.divide();
            return Self::of_features(problem);
        };
        Self::within(problem, space)
    }

    /// Starts from zero weights, among the features.
    pub(super) fn of_features(problem: LogisticProblem<'a>) -> Self {
        Self::cold(problem, false)
    }

    /// Whether the weights are sought among the images.
    pub(super) fn is_among_images(&self) -> bool {
        matches!(*self.space, Space::Photos { .. })
    }

    /// The images' mean, weighted.
    pub(super) fn mean(&self) -> &[f64] {
        &self.problem.rows.mean
    }

    /// The weights `[K, F]` and the biases of centred images, of the classes that have images.
    pub(super) fn centred(&self) -> (Vec<f64>, Vec<f64>) {
        let (rows, targets) = (&self.problem.rows, &self.problem.targets);
        let standing = &self.newton.standing;
        let weight = self.space.weight(rows, targets, &standing.point);
        (weight, standing.bias.clone())
    }

    /// Each image's share of each class's weights `[K, N]`, in a measure that does not depend on how
    /// many images there are. None where weights are sought among the features.
    pub(super) fn shares(&self) -> Option<Vec<f64>> {
        let point = self.newton.standing.point.iter();
        self.is_among_images()
            .then(|| point.map(|share| share * self.problem.total).collect())
    }

    /// Starts from such shares, and biases of centred images.
    pub(super) fn start_from_shares(&mut self, mut shares: Vec<f64>, bias: Vec<f64>) {
        let total = self.problem.total;
        shares.iter_mut().for_each(|share| *share /= total);
        self.newton = Newton::new(shares, bias);
    }

    /// Starts from weights, where they are sought among the features, and biases of centred images.
    pub(super) fn start_from_weights(&mut self, weight: &[f64], bias: Vec<f64>) {
        if let Some(point) = self.space.point(weight) {
            self.newton = Newton::new(point, bias);
        }
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
        let (weight, mut bias) = problem.weight_of(from)?;
        // A class that had no images before starts level, not from the bias that kept it out.
        for (weight, bias) in weight.chunks_exact(problem.rows.width).zip(&mut bias) {
            if weight.iter().all(|weight| *weight == 0.0) {
                *bias = 0.0;
            }
        }
        // Any weights can be told by features; not all are mixtures of these images.
        let mut solver = Self::cold(problem, false);
        solver.start_from_weights(&weight, bias);
        Ok(solver)
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
        let standing = state.standing;
        let mut solver = Self::cold(problem, state.images);
        let (targets, rows) = (&solver.problem.targets, &solver.problem.rows);
        let classes = targets.classes;
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        let sizes = standing.point.len() == solver.newton.standing.point.len()
            && standing.bias.len() == classes
            && (standing.logits.is_empty() || standing.logits.len() == classes * targets.photos());
        if !sizes {
            return Err(LogisticError::State("its problem has another size"));
        }
        if !(finite(&standing.point) && finite(&standing.bias) && finite(&standing.logits)) {
            return Err(LogisticError::State("a variable is not finite"));
        }
        if !standing.logits.is_empty() {
            // The objective is a fingerprint of features, labels and options together.
            let value = objective(rows, targets, &solver.space, &standing);
            let difference = (value - standing.value).abs();
            if difference.is_nan() || difference > 1e-9 * standing.value.abs() {
                return Err(LogisticError::State(
                    "its problem has other data or options",
                ));
            }
        }
        solver.newton = Newton::restore(standing);
        Ok(solver)
    }

    /// The regression being solved.
    pub fn problem(&self) -> &LogisticProblem<'a> {
        &self.problem
    }

    /// What [`LogisticSolver::restore`] needs, besides the problem: how things stood after the last
    /// iteration that is complete.
    pub fn state(&self) -> LogisticState {
        LogisticState {
            images: matches!(*self.space, Space::Photos { .. }),
            standing: self.newton.standing.clone(),
        }
    }

    /// Does one iteration; nothing once the solve is over.
    ///
    /// # Errors
    /// If the objective overflows.
    pub fn step(&mut self) -> Result<Progress, LogisticError> {
        rekindle_cpu::in_pool(|| self.iterate())
    }

    fn iterate(&mut self) -> Result<Progress, LogisticError> {
        let before = self.newton.standing.iteration;
        let standing = |solver: &Self| {
            let standing = &solver.newton.standing;
            (standing.iteration, standing.status.is_done())
        };
        while standing(self) == (before, false) {
            self.piece()?;
        }
        Ok(self.progress())
    }

    /// Does pieces of work until about so many multiply-adds are done, or an iteration is.
    ///
    /// # Errors
    /// As for [`LogisticSolver::step`].
    pub(super) fn pieces(&mut self, multiply_adds: usize) -> Result<Progress, LogisticError> {
        let mut done = 0;
        while done < multiply_adds && !self.newton.standing.status.is_done() {
            done += self.piece()?;
        }
        Ok(self.progress())
    }

    /// One piece of work; what it cost, in multiply-adds.
    fn piece(&mut self) -> Result<usize, LogisticError> {
        let cost = self.newton.piece(Setting {
            rows: &self.problem.rows,
            targets: &self.problem.targets,
            space: &self.space,
            stop: &self.problem.options.stop,
        })?;
        if self.newton.standing.precise && self.is_among_images() {
            // Among the images, many mixtures are nearly the same weights: f64 would not help.
            let (weight, _) = self.centred();
            self.problem.divide();
            self.space = Arc::new(Space::features(&self.problem.rows, &self.problem.targets));
            if let Some(point) = self.space.point(&weight) {
                self.newton.go_on_at(point);
            }
        }
        Ok(cost)
    }

    fn progress(&self) -> Progress {
        let standing = &self.newton.standing;
        Progress {
            iteration: standing.iteration,
            objective: self.problem.unit * standing.value,
            gradient_norm: self.newton.gradient_norm,
            status: standing.status,
        }
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
        let (rows, targets) = (&self.problem.rows, &self.problem.targets);
        let standing = &self.newton.standing;
        let exact = self.space.weight(rows, targets, &standing.point);
        let (weight, bias) = self.problem.head(&exact, &standing.bias);
        let value = if standing.logits.is_empty() {
            objective(rows, targets, &self.space, standing)
        } else {
            standing.value
        };
        LinearSolution {
            weight,
            bias,
            objective: self.problem.unit * value,
            iterations: standing.iteration,
        }
    }
}

/// The objective where a solve stands, in the solver's unit, worked out afresh.
fn objective(rows: &Rows<'_>, targets: &Targets, space: &Space, at: &Standing) -> f64 {
    let mut logits = space.exact(rows, targets, &at.point);
    let penalty = space.penalty(rows, &at.point, &at.point, &logits);
    newton::spread(targets, &mut logits, &at.bias);
    0.5 * penalty + targets.loss(&logits).value
}

/// `ln Σ exp`, without overflow.
fn log_sum_exp(logits: &[f64]) -> f64 {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers = logits.iter().map(|logit| (logit - highest).exp());
    highest + powers.sum::<f64>().ln()
}
