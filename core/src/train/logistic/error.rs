//! Why a regression cannot be set up or solved.

use thiserror::Error;

use crate::class_weights::ClassWeightError;

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
