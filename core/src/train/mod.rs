//! Training a head on frozen features.
//!
//! What lies before the head is computed once per image and view ([`FeatureCache`]); then a linear
//! head is solved to the optimum ([`logistic`] for classes, [`LabelTrainer`] for several labels a photo, [`ridge`] for
//! values) or a two-layer one is trained (`mlp`).
//! `HeadTrainer` is the state machine over both: no clock, no files, every read async. Shells own
//! loops, progress and signals.

#[cfg(feature = "burn")]
mod adamw;
mod class_weights;
#[cfg(feature = "burn")]
mod classifier;
mod error;
mod features;
mod fitted;
mod groups;
#[cfg(feature = "burn")]
mod head_trainer;
mod label_head;
mod linear;
pub mod logistic;
#[cfg(feature = "burn")]
pub mod mlp;
mod photo_space;
mod recipe;
pub mod ridge;
#[cfg(feature = "burn")]
mod sgd;
mod split;
mod targets;
mod validate;

#[cfg(feature = "burn")]
pub use adamw::{AdamW, AdamWConfig};
pub use class_weights::{ClassWeightError, ClassWeights};
#[cfg(feature = "burn")]
pub use classifier::Classifier;
pub use error::TrainError;
pub use features::{Examples, FeatureCache, FeatureError};
pub use fitted::Fitted;
pub use groups::{GroupCounts, GroupSearch, Groups};
#[cfg(feature = "burn")]
pub use head_trainer::{HeadTrainer, TrainProgress, TrainState, evaluate, fit};
pub use label_head::LabelTrainer;
pub use linear::LinearTrainer;
pub use photo_space::{FoldFits, FoldProgress, HeadFit, PhotoSpace};
pub use recipe::{HeadRecipe, LinearRecipe, MlpRecipe};
#[cfg(feature = "burn")]
pub use sgd::{Sgd, SgdConfig};
pub use split::{Split, SplitError, each_alone, stratified_folds, stratified_split};
pub use targets::{TargetError, TargetRows};
pub use validate::{HeldOut, cross_validate, judge};
