//! A regression being solved, an iteration or a piece of one at a time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::LogisticError;
use super::loss::{Targets, spread};
use super::newton::{Newton, Setting, Standing, Status};
use super::problem::LogisticProblem;
use super::solution::LinearSolution;
use super::space::{Rows, Space};

/// A regression being solved: one [`LogisticSolver::step`] is one iteration.
#[derive(Clone, Debug)]
pub struct LogisticSolver<'a> {
    problem: LogisticProblem<'a>,
    space: Arc<Space>,
    pub(super) newton: Newton,
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
    /// The objective, as [the module](super) defines it.
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

    pub(super) fn cold(problem: LogisticProblem<'a>, among_images: bool) -> Self {
        let space = Self::space(&problem, among_images);
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

    pub(super) fn space(problem: &LogisticProblem<'a>, images: bool) -> Space {
        match images {
            true => Space::photos(&problem.rows, problem.targets.photos()),
            false => Space::features(&problem.rows, &problem.targets),
        }
    }

    /// Starts from zero weights, among the images, whose inner products are known: those of their
    /// features, each less the same vector, whichever. Among the features where these products are too
    /// coarse.
    ///
    /// # Shapes
    /// `products` is `[N, N]`; only what lies on and below the diagonal is read.
    pub(in crate::train) fn of_products(problem: LogisticProblem<'a>, products: Vec<f32>) -> Self {
        let Some(space) = Space::of_products(&problem.rows, &problem.targets, products) else {
            return Self::of_features(problem);
        };
        Self::within(problem, space)
    }

    /// Starts from zero weights, among the features.
    pub(in crate::train) fn of_features(problem: LogisticProblem<'a>) -> Self {
        Self::cold(problem, false)
    }

    /// Whether the weights are sought among the images.
    pub(in crate::train) fn is_among_images(&self) -> bool {
        matches!(*self.space, Space::Photos { .. })
    }

    /// The images' mean, weighted.
    pub(in crate::train) fn mean(&self) -> &[f64] {
        &self.problem.rows.mean
    }

    /// The weights `[K, F]` and the biases of centred images, of the classes that have images.
    pub(in crate::train) fn centred(&self) -> (Vec<f64>, Vec<f64>) {
        let (rows, targets) = (&self.problem.rows, &self.problem.targets);
        let standing = &self.newton.standing;
        let weight = self.space.weight(rows, targets, &standing.point);
        (weight, standing.bias.clone())
    }

    /// Each image's share of each class's weights `[K, N]`, in a measure that does not depend on how
    /// many images there are. None where weights are sought among the features.
    pub(in crate::train) fn shares(&self) -> Option<Vec<f64>> {
        let point = self.newton.standing.point.iter();
        self.is_among_images()
            .then(|| point.map(|share| share * self.problem.total).collect())
    }

    /// Starts from such shares, and biases of centred images.
    pub(in crate::train) fn start_from_shares(&mut self, mut shares: Vec<f64>, bias: Vec<f64>) {
        let total = self.problem.total;
        shares.iter_mut().for_each(|share| *share /= total);
        self.newton = Newton::new(shares, bias);
    }

    /// Starts from weights, where they are sought among the features, and biases of centred images.
    pub(in crate::train) fn start_from_weights(&mut self, weight: &[f64], bias: Vec<f64>) {
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
        self.iterate()
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
    pub(in crate::train) fn pieces(
        &mut self,
        multiply_adds: usize,
    ) -> Result<Progress, LogisticError> {
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
pub(super) fn objective(rows: &Rows<'_>, targets: &Targets, space: &Space, at: &Standing) -> f64 {
    let mut logits = space.exact(rows, targets, &at.point);
    let penalty = space.penalty(rows, &at.point, &at.point, &logits);
    spread(&mut logits, &at.bias);
    0.5 * penalty + targets.loss(&logits).value
}
