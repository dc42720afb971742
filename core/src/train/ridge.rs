//! A linear head for values, solved in closed form: ridge regression, of several values at once.
//!
//! Minimises, over weights `W [K, F]` and biases `b [K]`,
//!
//! ```text
//! Σ_i ‖W x_i + b - y_i‖²  +  α ‖W‖²
//! ```
//!
//! as scikit-learn's `Ridge(alpha=α)` does: the biases are not penalised. The optimum follows from one system of
//! linear equations, among the features or, where there are fewer images than features, among the images; all values
//! share it. Sums are in f64.

use rekindle_cpu::{Rows, exact_logits, exact_moments, exact_sums};
use thiserror::Error;

use super::features::Examples;
use super::logistic::LinearSolution;
use super::recipe::LinearRecipe;
use super::targets::TargetRows;

/// Images whose products are summed up together: their differences from the mean are held in f64.
const BLOCK: usize = 1024;

/// Why values could not be regressed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RidgeError {
    /// There is not one row of values an image, or no image at all.
    #[error("{targets} rows of values for {images} images")]
    Shape {
        /// Rows of values.
        targets: usize,
        /// Images.
        images: usize,
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
    /// The inverse penalty is not a positive, finite number.
    #[error("C is {0} (help: choose a finite number above zero, such as 1)")]
    C(f64),
    /// The equations have no finite solution.
    #[error(
        "the regression has no finite solution (help: choose a smaller C, or look for values so large that they \
         overflow)"
    )]
    NonFinite,
}

/// Solves the regression. `α` is one over the recipe's `C`; where it gives none, `α` is the sum of the features'
/// variances: the prior under which features explain half of what the values differ by, whatever the network's
/// features are multiplied by and however many they are.
///
/// # Errors
///
/// When there is not one row of values an example, a feature is not finite, `C` is no positive number, or numbers
/// overflow.
pub fn solve(
    recipe: &LinearRecipe,
    examples: &Examples<'_>,
    targets: &TargetRows,
) -> Result<LinearSolution, RidgeError> {
    let (images, width) = (targets.len(), examples.width());
    if images == 0 || width == 0 || examples.features.numbers() != images * width {
        return Err(RidgeError::Shape {
            targets: images,
            images: examples.len(),
        });
    }
    let rows = examples.rows();
    for (image, row) in rows.iter().enumerate() {
        if let Some(feature) = row.iter().position(|x| !x.is_finite()) {
            return Err(RidgeError::Feature { image, feature });
        }
    }
    if let Some(c) = recipe.c.filter(|c| !(*c > 0.0 && c.is_finite())) {
        return Err(RidgeError::C(c));
    }
    let values = targets.width();
    let share = 1.0 / images as f64;
    let (mean, variance) = exact_moments(rows, &vec![share; images]);
    let total: f64 = variance.iter().sum();
    let alpha = match recipe.c {
        Some(c) => 1.0 / c,
        None if total > 0.0 => total,
        None => 1.0,
    };
    let middle: Vec<f64> = (0..values)
        .map(|value| targets.column(value).map(f64::from).sum::<f64>() * share)
        .collect();
    // What the values differ by from their means, `[K, N]`.
    let apart: Vec<f64> = (0..values)
        .flat_map(|value| targets.column(value).map(move |y| (value, y)))
        .map(|(value, y)| f64::from(y) - middle[value])
        .collect();
    let problem = Problem {
        rows,
        mean: &mean,
        alpha,
    };
    let weight = match images <= width {
        true => problem.among_images(&apart)?,
        false => problem.among_features(&apart)?,
    };
    let weight: Vec<f32> = weight.into_iter().map(|weight| weight as f32).collect();
    let dot = |row: &[f32]| -> f64 {
        let pairs = row.iter().zip(&mean);
        pairs.map(|(&w, mean)| f64::from(w) * mean).sum()
    };
    let bias: Vec<f32> = weight
        .chunks_exact(width)
        .zip(&middle)
        .map(|(row, middle)| (middle - dot(row)) as f32)
        .collect();
    let mut solution = LinearSolution {
        weight,
        bias,
        objective: 0.0,
        iterations: 1,
    };
    let pairs = solution.logits_of(rows);
    let loss: f64 = pairs
        .iter()
        .zip(targets.rows())
        .map(|(&ours, &y)| (f64::from(ours) - f64::from(y)).powi(2))
        .sum();
    let penalty: f64 = solution.weight.iter().map(|&w| f64::from(w).powi(2)).sum();
    solution.objective = loss + alpha * penalty;
    match solution.objective.is_finite() {
        true => Ok(solution),
        false => Err(RidgeError::NonFinite),
    }
}

struct Problem<'a> {
    rows: Rows<'a>,
    mean: &'a [f64],
    alpha: f64,
}

impl Problem<'_> {
    fn centred(&self, rows: Rows<'_>) -> Vec<f64> {
        rows.iter()
            .flat_map(|row| {
                row.iter()
                    .zip(self.mean)
                    .map(|(&x, mean)| f64::from(x) - mean)
            })
            .collect()
    }

    /// `W [K, F]` as mixtures of the images: `(X Xᵀ + α I) a = y`, `W = aᵀ X`, for centred `X`.
    fn among_images(&self, apart: &[f64]) -> Result<Vec<f64>, RidgeError> {
        let (width, images) = (self.rows.width(), self.rows.len());
        let centred = self.centred(self.rows);
        let mut products = vec![0.0; images * images];
        exact_logits(self.rows, &centred, &mut products);
        for (row, products) in centred
            .chunks_exact(width)
            .zip(products.chunks_exact_mut(images))
        {
            let off: f64 = row.iter().zip(self.mean).map(|(x, mean)| x * mean).sum();
            products.iter_mut().for_each(|product| *product -= off);
        }
        let factor = Cholesky::of(products, images, self.alpha)?;
        let mut mixtures = apart.to_vec();
        mixtures
            .chunks_exact_mut(images)
            .for_each(|values| factor.solve(values));
        let mut weight = vec![0.0; apart.len() / images * width];
        exact_sums(self.rows, &mixtures, &mut weight);
        for (weight, mixture) in weight
            .chunks_exact_mut(width)
            .zip(mixtures.chunks_exact(images))
        {
            let sum: f64 = mixture.iter().sum();
            let pairs = weight.iter_mut().zip(self.mean);
            pairs.for_each(|(weight, mean)| *weight -= sum * mean);
        }
        Ok(weight)
    }

    /// `(Xᵀ X + α I) W = Xᵀ y`, for centred `X`.
    fn among_features(&self, apart: &[f64]) -> Result<Vec<f64>, RidgeError> {
        let (width, images) = (self.rows.width(), self.rows.len());
        let mut products = vec![0.0; width * width];
        for first in (0..images).step_by(BLOCK) {
            let rows = self.rows.part(first..images.min(first + BLOCK));
            let count = rows.len();
            let centred = self.centred(rows);
            let mut factors = vec![0.0; centred.len()];
            for (image, row) in centred.chunks_exact(width).enumerate() {
                for (feature, &x) in row.iter().enumerate() {
                    factors[feature * count + image] = x;
                }
            }
            // One of the two being centred is enough: what is centred sums to nothing.
            exact_sums(rows, &factors, &mut products);
        }
        let mut weight = vec![0.0; apart.len() / images * width];
        exact_sums(self.rows, apart, &mut weight);
        let factor = Cholesky::of(products, width, self.alpha)?;
        weight
            .chunks_exact_mut(width)
            .for_each(|values| factor.solve(values));
        Ok(weight)
    }
}

/// `L` with `L Lᵀ = A + α I`, of which what lies on and below the diagonal counts.
struct Cholesky {
    factor: Vec<f64>,
    size: usize,
}

impl Cholesky {
    fn of(mut matrix: Vec<f64>, size: usize, alpha: f64) -> Result<Self, RidgeError> {
        for row in 0..size {
            let (above, own) = matrix.split_at_mut(row * size);
            own[row] += alpha;
            for column in 0..row {
                let other = &above[column * size..];
                let sum = dot(&own[..column], &other[..column]);
                own[column] = (own[column] - sum) / other[column];
            }
            let rest = own[row] - dot(&own[..row], &own[..row]);
            if !(rest > 0.0 && rest.is_finite()) {
                return Err(RidgeError::NonFinite);
            }
            own[row] = rest.sqrt();
        }
        Ok(Self {
            factor: matrix,
            size,
        })
    }

    fn solve(&self, values: &mut [f64]) {
        let size = self.size;
        for row in 0..size {
            let own = &self.factor[row * size..];
            values[row] = (values[row] - dot(&own[..row], &values[..row])) / own[row];
        }
        for row in (0..size).rev() {
            let own = &self.factor[row * size..];
            values[row] /= own[row];
            let known = values[row];
            let pairs = values[..row].iter_mut().zip(own);
            pairs.for_each(|(value, factor)| *value -= factor * known);
        }
    }
}

/// Summed in eight strands, which processors add side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut strands = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a
        .remainder()
        .iter()
        .zip(b.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a.zip(b) {
        for (strand, (a, b)) in strands.iter_mut().zip(a.iter().zip(b)) {
            *strand += a * b;
        }
    }
    strands.iter().sum::<f64>() + rest
}
