//! Training a head on frozen features.
//!
//! What lies before the head is computed once per image and view ([`FeatureCache`]); then a linear
//! head is solved to the optimum ([`logistic`]) or a two-layer one is trained ([`mlp`]).
//! [`HeadTrainer`] is the state machine over both: no clock, no files, every read async. Shells own
//! loops, progress and signals.

mod adamw;
mod class_weights;
mod classifier;
mod features;
mod fitted;
mod head_trainer;
mod linear;
pub mod logistic;
pub mod metrics;
pub mod mlp;
mod photo_space;
mod recipe;
mod sgd;
mod split;

pub use adamw::{AdamW, AdamWConfig};
pub use class_weights::{ClassWeightError, ClassWeights};
pub use classifier::Classifier;
pub use features::{Examples, FeatureCache, FeatureError};
pub use fitted::Fitted;
pub use head_trainer::{
    HeadTrainer, TrainError, TrainProgress, TrainState, cross_validate, evaluate, fit, judge,
};
pub use linear::LinearTrainer;
pub use photo_space::{FoldFits, FoldProgress, HeadFit, PhotoSpace};
pub use recipe::{HeadRecipe, LinearRecipe};
pub use sgd::{Sgd, SgdConfig};
pub use split::{Split, SplitError, stratified_folds, stratified_split};
