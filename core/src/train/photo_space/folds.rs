//! Cross-validation, in pieces.

use super::fit::HeadFit;
use super::photos::PhotoSpace;
use crate::train::logistic::LogisticError;
use crate::train::recipe::LinearRecipe;
use crate::train::split::Split;

/// A cross-validation under way: every photo is answered by a head that has not seen it. To cancel it,
/// drop it.
#[derive(Debug)]
pub struct FoldFits {
    recipe: LinearRecipe,
    classes: Vec<usize>,
    splits: Vec<Split>,
    revision: u64,
    done: usize,
    fit: Option<HeadFit>,
    logits: Vec<f32>,
}

/// Where a cross-validation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldProgress {
    /// Folds that are done.
    pub done: usize,
    /// Folds in all.
    pub folds: usize,
}

impl FoldProgress {
    /// Whether all are done.
    pub fn done(&self) -> bool {
        self.done == self.folds
    }
}

impl FoldFits {
    /// Sets up a cross-validation of [`PhotoSpace::fit`] with the same recipe and classes; `splits` say
    /// by positions which photos train and which are answered. Every fold starts from the solution that
    /// was kept.
    pub fn new(
        space: &PhotoSpace,
        recipe: &LinearRecipe,
        classes: &[usize],
        splits: Vec<Split>,
    ) -> Self {
        Self {
            recipe: recipe.clone(),
            classes: classes.to_vec(),
            logits: vec![0.0; space.len() * classes.len()],
            revision: space.revision,
            done: 0,
            fit: None,
            splits,
        }
    }

    /// One piece of work, as [`HeadFit::step`]. Nothing once all is done.
    ///
    /// # Errors
    ///
    /// [`LogisticError::Changed`] when the photos have changed since this was set up, and what a fit may
    /// say.
    pub fn step(&mut self, space: &PhotoSpace) -> Result<FoldProgress, LogisticError> {
        if space.revision != self.revision {
            return Err(LogisticError::Changed);
        }
        let Some(split) = self.splits.get(self.done) else {
            return Ok(self.progress());
        };
        let Some(fit) = &mut self.fit else {
            let fit = space.fit_on(&self.recipe, &self.classes, &split.train)?;
            self.fit = Some(fit);
            return Ok(self.progress());
        };
        if fit.step()?.done() {
            let answers = space.logits(&fit.solution(), &split.valid);
            let classes = self.classes.len();
            for (row, &image) in answers.chunks_exact(classes.max(1)).zip(&split.valid) {
                self.logits[image * classes..(image + 1) * classes].copy_from_slice(row);
            }
            self.fit = None;
            self.done += 1;
        }
        Ok(self.progress())
    }

    fn progress(&self) -> FoldProgress {
        FoldProgress {
            done: self.done,
            folds: self.splits.len(),
        }
    }

    /// Each photo's logits by the head that has not seen it, once its fold is done; zeros for photos
    /// that no fold holds back.
    ///
    /// # Shapes
    ///
    /// - returns: `[photos, classes]`, row-major
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }
}
