//! Solving a linear head to its optimum, by its recipe.

use super::features::Examples;
use super::logistic::{
    LinearSolution, LogisticError, LogisticOptions, LogisticProblem, LogisticSolver, LogisticState,
    Progress, Scaling,
};
use super::recipe::LinearRecipe;

/// A recipe as the solver takes it.
pub(super) fn options(recipe: &LinearRecipe) -> LogisticOptions {
    LogisticOptions {
        c: recipe.c.unwrap_or(1.0),
        scaling: match recipe.c {
            Some(_) => Scaling::None,
            None => Scaling::Global,
        },
        class_weights: recipe.class_weights.clone(),
        ..LogisticOptions::default()
    }
}

/// Solves a linear head, an iteration a step, on the processor: all it needs are features.
pub struct LinearTrainer<'a>(LogisticSolver<'a>);

impl<'a> LinearTrainer<'a> {
    /// Sets up a solve.
    ///
    /// `start` is the solution of a similar problem, such as the same photos and one more: the
    /// optimum does not depend on it, only the time to get there.
    ///
    /// # Errors
    ///
    /// When the recipe or the examples make no sense: fewer than two classes with images, features
    /// that are not finite, weights for another number of classes.
    pub fn new(
        recipe: &LinearRecipe,
        examples: Examples<'a>,
        classes: usize,
        start: Option<&LinearSolution>,
    ) -> Result<Self, LogisticError> {
        let Examples { features, labels } = examples;
        let problem = LogisticProblem::on_rows(features, &labels, classes, options(recipe))?;
        Ok(Self(match start {
            Some(solution) => LogisticSolver::warm(problem, solution)?,
            None => LogisticSolver::new(problem),
        }))
    }

    /// One iteration.
    ///
    /// # Errors
    ///
    /// When the objective overflows.
    pub fn step(&mut self) -> Result<Progress, LogisticError> {
        self.0.step()
    }

    /// Steps to the end.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn solve(mut self) -> Result<LinearSolution, LogisticError> {
        while !self.step()?.done() {}
        Ok(self.solution())
    }

    /// The solution as it stands.
    pub fn solution(&self) -> LinearSolution {
        self.0.solution()
    }

    /// The examples' features.
    #[cfg(feature = "burn")]
    pub(super) fn rows(&self) -> rekindle_cpu::Rows<'_> {
        self.0.problem().features()
    }

    /// All that is needed to go on later.
    pub fn state(&self) -> LogisticState {
        self.0.state()
    }

    /// Goes back to a state of a solve with the same recipe and examples.
    ///
    /// # Errors
    ///
    /// When the state belongs to another problem.
    pub fn restore(&mut self, state: LogisticState) -> Result<(), LogisticError> {
        self.0 = LogisticSolver::restore(self.0.problem().clone(), state)?;
        Ok(())
    }
}
