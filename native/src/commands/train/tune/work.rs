//! What a tuning is of.

use super::super::learn::Learnt;
use super::super::material::Material;
use super::foreseen::Foreseen;
use crate::cli::TrainArgs;
use crate::context::Context;
use crate::dataset::Dataset;

/// One of a run's trainings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Training {
    /// Which part of the run it is, where it is not all of it.
    pub part: Option<String>,
    /// The photos that train in it.
    pub photos: usize,
}

/// What a tuning is of.
pub struct Work<'a> {
    pub args: &'a TrainArgs,
    pub dataset: &'a Dataset,
    pub material: Material<'a>,
    pub learnt: &'a Learnt,
    /// Which part of a run it is, where it is not all of it: a fold of a cross-validation.
    pub part: Option<&'a str>,
    /// All trainings of the run.
    pub trainings: &'a [Training],
    /// What other trainings tell of this one, which has nothing held back to be judged on.
    pub foreseen: Option<&'a Foreseen>,
    /// The device's name.
    pub device: &'a str,
    pub context: &'a Context,
}
