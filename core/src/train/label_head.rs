//! A linear head for several labels, solved to the optimum: a logistic regression for each label by itself.

use super::features::Examples;
use super::linear;
use super::logistic::{
    LinearSolution, LogisticError, LogisticOptions, LogisticProblem, LogisticSolver,
};
use super::recipe::LinearRecipe;
use super::targets::TargetRows;
use crate::class_weights::ClassWeights;

/// How far from zero the logit of a label is put that all images have, or none: what can be learnt from them says
/// nothing else. The probability is then within `exp(-30) ≈ 1e-13` of 1 or 0.
const CERTAIN_LOGIT: f64 = 30.0;

/// Solves one label after the other.
///
/// Each label's weights `v` and bias `a` minimise
///
/// ```text
/// C · Σ_i w_i · log(1 + exp(-±(v x_i + a)))  +  ½ ‖v‖²
/// ```
///
/// as scikit-learn's `OneVsRestClassifier(LogisticRegression(C=C))` does, where `C` is the recipe's; when it gives
/// none, one over the features' mean variance. Balanced class weights balance each label's images against the others.
/// A solution's objective is the sum over all labels.
#[derive(Debug, Clone)]
pub struct LabelTrainer<'a> {
    examples: &'a Examples<'a>,
    targets: &'a TargetRows,
    options: LogisticOptions,
    solution: LinearSolution,
    next: usize,
}

impl<'a> LabelTrainer<'a> {
    /// Sets up a solve.
    ///
    /// # Errors
    ///
    /// When there is not one row of targets an example, or the recipe weighs classes that it names: labels have none.
    pub fn new(
        recipe: &LinearRecipe,
        examples: &'a Examples<'a>,
        targets: &'a TargetRows,
    ) -> Result<Self, LogisticError> {
        if examples.is_empty() || targets.len() != examples.len() {
            return Err(LogisticError::Shape {
                values: targets.rows().len(),
                images: examples.len(),
                features: targets.width(),
            });
        }
        let mut options = linear::options(recipe);
        // Two classes of a softmax at C are one regression at 2C: see the module `logistic`.
        options.c *= 0.5;
        let labels = targets.width();
        Ok(Self {
            examples,
            targets,
            options,
            solution: LinearSolution {
                weight: vec![0.0; labels * examples.width()],
                bias: vec![0.0; labels],
                objective: 0.0,
                iterations: 0,
            },
            next: 0,
        })
    }

    /// Labels solved so far, and in all.
    pub fn progress(&self) -> (usize, usize) {
        (self.next, self.targets.width())
    }

    /// Solves the next label. Says whether that was the last.
    ///
    /// # Errors
    ///
    /// As [`LogisticProblem::new`], and when the objective overflows.
    pub fn step(&mut self) -> Result<bool, LogisticError> {
        let (label, labels) = self.progress();
        if label == labels {
            return Ok(true);
        }
        let has: Vec<usize> = self
            .targets
            .column(label)
            .map(|on| usize::from(on > 0.5))
            .collect();
        let count = has.iter().sum::<usize>();
        let width = self.examples.width();
        if count == 0 || count == has.len() {
            let sign = if count == 0 { -1.0 } else { 1.0 };
            self.solution.bias[label] = (sign * CERTAIN_LOGIT) as f32;
        } else {
            let features = self.examples.features.borrowed();
            let problem = LogisticProblem::on_rows(features, &has, 2, self.options.clone())?;
            let mut solver = LogisticSolver::new(problem);
            while !solver.step()?.done() {}
            let pair = solver.solution();
            let weight = &mut self.solution.weight[label * width..][..width];
            let (without, with) = pair.weight.split_at(width);
            for (weight, (a, b)) in weight.iter_mut().zip(with.iter().zip(without)) {
                *weight = a - b;
            }
            self.solution.bias[label] = pair.bias[1] - pair.bias[0];
            // Half the objective of the one regression.
            self.solution.objective += 2.0 * pair.objective;
            self.solution.iterations += pair.iterations;
        }
        self.next += 1;
        Ok(self.next == labels)
    }

    /// Solves all labels.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn solve(mut self) -> Result<LinearSolution, LogisticError> {
        while !self.step()? {}
        Ok(self.solution)
    }

    /// The solution as it stands; labels not yet solved are all zero.
    pub fn solution(&self) -> &LinearSolution {
        &self.solution
    }

    /// Whether classes are weighed in a way that labels have: not at all, or balanced.
    pub fn takes(weights: &ClassWeights) -> bool {
        matches!(weights, ClassWeights::None | ClassWeights::Balanced)
    }
}
