//! Why training stopped.

use thiserror::Error;

use super::logistic::LogisticError;
use super::mlp::MlpError;
use super::ridge::RidgeError;
use super::split::SplitError;
use crate::device::DeviceError;

/// Why a head could not be trained.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The linear solver's trouble.
    #[error(transparent)]
    Linear(#[from] LogisticError),
    /// The two-layer trainer's trouble.
    #[error(transparent)]
    Mlp(#[from] MlpError),
    /// The trouble of regressing values.
    #[error(transparent)]
    Ridge(#[from] RidgeError),
    /// The images cannot be split that way.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A state of another kind of training.
    #[error("this state belongs to a head of another kind")]
    State,
}
