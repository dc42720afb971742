//! What trains a network: what suits its device, and in a module without Burn its program on the processor.

#[cfg(not(feature = "gpu"))]
use rekindle_core::tune::Planned;
#[cfg(feature = "gpu")]
use rekindle_core::tune::Trainee;
use rekindle_core::{graph::Graph, model::Model};

use crate::error::Failure;

/// A network in training.
#[cfg(feature = "gpu")]
pub type Engine = Trainee;

/// A network in training.
#[cfg(not(feature = "gpu"))]
pub type Engine = Planned;

/// A network of a model's numbers in training, all of it.
///
/// # Errors
///
/// When a tensor is missing.
#[cfg(feature = "gpu")]
pub fn in_training(graph: Graph, model: &Model) -> Result<Engine, Failure> {
    Trainee::new(graph, &model.state_dict(), model.device()).map_err(Failure::unexpected)
}

/// A network of a model's numbers in training, all of it.
///
/// # Errors
///
/// When a kind of step has no way back on the processor.
#[cfg(not(feature = "gpu"))]
pub fn in_training(graph: Graph, model: &Model) -> Result<Engine, Failure> {
    let planned = Planned::new(graph.into(), &model.state_dict());
    planned.map_err(|error| {
        Failure::unsupported(
            error.to_string(),
            "Take another network, a browser with WebGPU, or the command line.",
        )
    })
}
