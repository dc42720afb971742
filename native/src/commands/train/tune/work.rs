//! What a tuning is of.

use super::super::learn::Learnt;
use super::super::material::Material;
use crate::cli::TrainArgs;
use crate::context::Context;
use crate::dataset::Dataset;

/// What a tuning is of.
pub struct Work<'a> {
    pub args: &'a TrainArgs,
    pub dataset: &'a Dataset,
    pub material: Material<'a>,
    pub learnt: &'a Learnt,
    /// The device's name.
    pub device: &'a str,
    pub context: &'a Context,
}
