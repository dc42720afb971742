//! Training a head on frozen features.
//!
//! What lies before the head is computed once per image and view ([`FeatureCache`]); then a linear
//! head is solved to the optimum ([`logistic`] for classes, [`LabelTrainer`] for several labels a photo, [`ridge`] for
//! values) or a two-layer one is trained (`mlp`).
//! `HeadTrainer` is the state machine over both: no clock, no files, every read async. Shells own
//! loops, progress and signals.

mod error;
mod features;
mod fitted;
mod groups;
#[cfg(feature = "burn")]
mod head_trainer;
mod label_head;
mod linear;
pub mod logistic;
pub mod mlp;
mod photo_space;
mod recipe;
pub mod ridge;
mod split;
mod targets;
mod validate;

pub use crate::class_weights::{ClassWeightError, ClassWeights};
pub use error::TrainError;
pub use features::{Examples, FeatureCache, FeatureError, Table};
pub use fitted::Fitted;
pub use groups::{GroupCounts, GroupSearch, Groups};
#[cfg(feature = "burn")]
pub use head_trainer::{HeadTrainer, TrainProgress, TrainState, evaluate, fit};
pub use label_head::LabelTrainer;
pub use linear::LinearTrainer;
pub use photo_space::{FoldFits, FoldProgress, HeadFit, PhotoSpace};
pub use recipe::{HeadRecipe, LinearRecipe, MlpRecipe};
pub use split::{Split, SplitError, each_alone, stratified_folds, stratified_split};
pub use targets::{TargetError, TargetRows};
pub use validate::{HeldOut, cross_validate, judge};
