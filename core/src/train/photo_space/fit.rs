//! Fits: one under way, how it is set up among the photos, and what is kept of it.

use std::collections::BTreeMap;

use rekindle_networks::sorting::gathered;

use super::kept::Kept;
use super::photos::{MOST_PHOTOS, PhotoSpace};
use crate::train::linear::options;
use crate::train::logistic::{
    LinearSolution, LogisticError, LogisticProblem, LogisticSolver, Progress,
};
use crate::train::recipe::LinearRecipe;

/// Multiply-adds of a piece of work.
const PIECE: usize = 30_000_000;

/// A fit under way. It owns all that it needs: photos may come and go meanwhile. To cancel it, drop it.
#[derive(Debug)]
pub struct HeadFit {
    pub(super) solver: LogisticSolver<'static>,
    /// The photos by their serials, ascending, and their labels.
    photos: Vec<(u64, usize)>,
    /// The stable ids of the classes that have photos.
    ids: Vec<usize>,
}

impl HeadFit {
    pub(super) fn new(
        space: &PhotoSpace,
        recipe: &LinearRecipe,
        classes: &[usize],
        images: &[usize],
    ) -> Result<Self, LogisticError> {
        let row_of = |label: usize| classes.iter().position(|&id| id == label);
        let mut images: Vec<usize> = images.to_vec();
        images.sort_unstable();
        images.dedup();
        images.retain(|&image| row_of(space.labels()[image]).is_some());
        let labels: Vec<usize> = images
            .iter()
            .filter_map(|&image| row_of(space.labels()[image]))
            .collect();
        let features = space.cache.plain(&images).features.into_owned();
        let problem = LogisticProblem::on_rows(features, &labels, classes.len(), options(recipe))?;
        let photos = images
            .iter()
            .map(|&image| (space.serials[image], space.labels()[image]))
            .collect();
        let ids = problem.present().iter().map(|&row| classes[row]).collect();
        let known = images.iter().all(|&image| image < space.products.len());
        let solver = if known && images.len() <= MOST_PHOTOS * space.width() {
            LogisticSolver::of_products(problem, space.products(&images))
        } else {
            LogisticSolver::of_features(problem)
        };
        let mut fit = Self {
            solver,
            photos,
            ids,
        };
        if let Some(kept) = &space.kept {
            fit.start(kept);
        }
        Ok(fit)
    }

    /// Starts from what is left of a solution.
    fn start(&mut self, kept: &Kept) {
        let width = kept.mean.len();
        let column = |id: &usize| kept.ids.iter().position(|known| known == id);
        let columns: Vec<Option<usize>> = self.ids.iter().map(column).collect();
        let weight: Vec<f64> = columns
            .iter()
            .flat_map(|column| match column {
                Some(column) => kept.weight[column * width..][..width].to_vec(),
                None => vec![0.0; width],
            })
            .collect();
        // The biases of photos less the mean of these.
        let mean = self.solver.mean();
        let bias: Vec<f64> = columns
            .iter()
            .zip(weight.chunks_exact(width.max(1)))
            .map(|(column, weight)| {
                let moved = mean.iter().zip(&kept.mean).zip(weight);
                let moved: f64 = moved.map(|((new, old), weight)| weight * (new - old)).sum();
                column.map_or(0.0, |column| kept.bias[column]) + moved
            })
            .collect();
        if !self.solver.is_among_images() {
            self.solver.start_from_weights(&weight, bias);
            return;
        }
        let count = self.photos.len();
        let mut shares = vec![0.0; count * columns.len()];
        for (at, (serial, label)) in self.photos.iter().enumerate() {
            // A photo that has changed its class would pull the wrong way.
            let Some((_, old)) = kept.shares.get(serial).filter(|(old, _)| old == label) else {
                continue;
            };
            let of = |column: &Option<usize>| column.map_or(0.0, |column| old[column]);
            let middle = columns.iter().map(of).sum::<f64>() / columns.len() as f64;
            for (row, column) in columns.iter().enumerate() {
                shares[row * count + at] = of(column) - middle;
            }
        }
        self.solver.start_from_shares(shares, bias);
    }

    /// One piece of work, about ten milliseconds of WebAssembly on a desktop processor. Nothing once
    /// the fit is done.
    ///
    /// # Errors
    ///
    /// When the objective overflows.
    pub fn step(&mut self) -> Result<Progress, LogisticError> {
        self.solver.pieces(PIECE)
    }

    /// Steps to the end.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub fn solve(&mut self) -> Result<LinearSolution, LogisticError> {
        while !self.step()?.done() {}
        Ok(self.solution())
    }

    /// The head as it stands: row k is the class that was listed k-th.
    pub fn solution(&self) -> LinearSolution {
        self.solver.solution()
    }

    /// Photos that take part.
    pub fn photos(&self) -> usize {
        self.photos.len()
    }

    /// What the next fit may start from.
    fn kept(&self) -> Kept {
        let (weight, bias) = self.solver.centred();
        let count = self.photos.len();
        let shares = match self.solver.shares() {
            None => BTreeMap::new(),
            Some(shares) => {
                let all = self.photos.iter().enumerate();
                gathered(all.map(|(at, &(serial, label))| {
                    let of_photo = shares.chunks_exact(count).map(|row| row[at]);
                    (serial, (label, of_photo.collect()))
                }))
            }
        };
        Kept {
            ids: self.ids.clone(),
            weight,
            bias,
            mean: self.solver.mean().to_vec(),
            shares,
        }
    }
}

impl PhotoSpace {
    /// Sets up a fit of the head whose row k is the class `classes[k]`, to all photos of these classes.
    /// A class without photos gets a row that is never answered.
    ///
    /// Starts from the solution last [kept](Self::keep), as far as its photos and classes are there
    /// still. The optimum does not depend on it, only the time to get there.
    ///
    /// # Errors
    ///
    /// When fewer than two classes have photos, or the recipe makes no sense for them.
    pub fn fit(&self, recipe: &LinearRecipe, classes: &[usize]) -> Result<HeadFit, LogisticError> {
        let all: Vec<usize> = (0..self.len()).collect();
        self.fit_on(recipe, classes, &all)
    }

    /// The same for some photos only, by their positions: a fold's.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit).
    ///
    /// # Panics
    ///
    /// When there is no such photo.
    pub fn fit_on(
        &self,
        recipe: &LinearRecipe,
        classes: &[usize],
        images: &[usize],
    ) -> Result<HeadFit, LogisticError> {
        HeadFit::new(self, recipe, classes, images)
    }

    /// Remembers a solution as the start of fits to come.
    pub fn keep(&mut self, fit: &HeadFit) {
        self.kept = Some(fit.kept());
    }
}
