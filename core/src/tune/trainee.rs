//! A network in training, by the engine that suits its device: its program with the way back on the processor, step by
//! step elsewhere, and where a step has no way back of our own.

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::tensor::Device;
use thiserror::Error;

use super::engine::{Descent, Draws, Engine, EngineState, Enough, Goal, Learning, WrongState};
use super::given::Given;
use super::planned::Planned;
use super::stepwise::Stepwise;
use crate::device::{DeviceError, is_processor};
use crate::graph::Graph;
use crate::network::{MissingTensor, Network};
use crate::weights::{StateDict, Tensors};

/// Why nothing is computed again on the way back of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "it belongs to training on the processor by our own way back, and here steps are trained one by one"
)]
pub struct KeepsAll;

/// A network in training.
#[derive(Debug)]
pub enum Trainee {
    /// By its program.
    Planned(Box<Planned>),
    /// Step by step.
    Stepwise(Box<Stepwise>),
}

impl Trainee {
    /// A network in training on a device, all of it.
    ///
    /// # Errors
    ///
    /// When a tensor is missing.
    pub fn new(
        graph: impl Into<Arc<Graph>>,
        tensors: &StateDict<'_>,
        device: &Device,
    ) -> Result<Self, MissingTensor> {
        let graph = graph.into();
        if is_processor(device)
            && let Ok(planned) = Planned::new(Arc::clone(&graph), tensors)
        {
            return Ok(Self::Planned(Box::new(planned)));
        }
        let network = Network::new(graph, tensors, device)?;
        Ok(Self::Stepwise(Box::new(Stepwise::new(network, device))))
    }

    /// Whether little is kept on the way there, and what is missing made again on the way back: less memory, and longer
    /// steps. The numbers are the same to the bit.
    ///
    /// # Errors
    ///
    /// When it is wanted of a network that trains step by step.
    pub fn recompute(&mut self, recomputes: bool) -> Result<(), KeepsAll> {
        match self {
            Self::Planned(engine) => engine.recompute(recomputes),
            Self::Stepwise(_) if recomputes => return Err(KeepsAll),
            Self::Stepwise(_) => {}
        }
        Ok(())
    }

    /// The parameters that gradients move now, by their names.
    pub fn trained(&self) -> BTreeSet<String> {
        match self {
            Self::Planned(engine) => engine.trained(),
            Self::Stepwise(engine) => engine.trained(),
        }
    }

    /// Takes a batch there and back, and says how long each job of its program took there and back, by a clock that
    /// counts seconds; nothing where the network trains step by step.
    pub fn profile(
        &mut self,
        input: Given,
        goal: &Goal,
        clock: &(dyn Fn() -> f64 + Sync),
    ) -> Option<Vec<(String, [f64; 2])>> {
        match self {
            Self::Planned(engine) => Some(engine.profile(input, goal, clock)),
            Self::Stepwise(_) => None,
        }
    }

    /// The gradients of the step that is being made, under the parameters' names and in PyTorch's order.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn gradients(&self) -> Result<Tensors, DeviceError> {
        match self {
            Self::Planned(engine) => Ok(engine.gradients()),
            Self::Stepwise(engine) => engine.gradients().await,
        }
    }
}

impl Engine for Trainee {
    type Input = Given;

    fn learns(&mut self, learning: &Learning) {
        match self {
            Self::Planned(engine) => engine.learns(learning),
            Self::Stepwise(engine) => engine.learns(learning),
        }
    }

    fn accumulate(&mut self, input: Given, goal: &Goal, draws: &Draws) {
        match self {
            Self::Planned(engine) => engine.accumulate(input, goal, draws),
            Self::Stepwise(engine) => engine.accumulate(input, goal, draws),
        }
    }

    fn begin(&mut self, input: Given, goal: &Goal, draws: &Draws) {
        match self {
            Self::Planned(engine) => engine.begin(input, goal, draws),
            Self::Stepwise(engine) => engine.begin(input, goal, draws),
        }
    }

    fn go_on(&mut self, enough: Enough<'_>) -> bool {
        match self {
            Self::Planned(engine) => engine.go_on(enough),
            Self::Stepwise(engine) => engine.go_on(enough),
        }
    }

    fn descend(&mut self, descent: &Descent<'_>) {
        match self {
            Self::Planned(engine) => engine.descend(descent),
            Self::Stepwise(engine) => engine.descend(descent),
        }
    }

    fn average(&mut self, kept: f64) {
        match self {
            Self::Planned(engine) => engine.average(kept),
            Self::Stepwise(engine) => engine.average(kept),
        }
    }

    async fn losses(&mut self) -> Result<Vec<f32>, DeviceError> {
        match self {
            Self::Planned(engine) => engine.losses().await,
            Self::Stepwise(engine) => engine.losses().await,
        }
    }

    async fn answers(&self, input: Given, averaged: bool) -> Result<Vec<f32>, DeviceError> {
        match self {
            Self::Planned(engine) => engine.answers(input, averaged).await,
            Self::Stepwise(engine) => engine.answers(input, averaged).await,
        }
    }

    async fn tensors(&self, averaged: bool) -> Result<Tensors, DeviceError> {
        match self {
            Self::Planned(engine) => engine.tensors(averaged).await,
            Self::Stepwise(engine) => engine.tensors(averaged).await,
        }
    }

    async fn state(&self) -> Result<EngineState, DeviceError> {
        match self {
            Self::Planned(engine) => engine.state().await,
            Self::Stepwise(engine) => engine.state().await,
        }
    }

    fn let_go(&mut self) {
        match self {
            Self::Planned(engine) => engine.let_go(),
            Self::Stepwise(engine) => engine.let_go(),
        }
    }

    fn restore(&mut self, state: &EngineState) -> Result<(), WrongState> {
        match self {
            Self::Planned(engine) => engine.restore(state),
            Self::Stepwise(engine) => engine.restore(state),
        }
    }
}
