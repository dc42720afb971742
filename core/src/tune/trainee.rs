//! A network in training, by the engine that suits its device: its program with the way back on the processor, step by
//! step elsewhere, and where a step has no way back of our own.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::engine::{Descent, Draws, Engine, EngineState, Enough, Goal, Learning, WrongState};
use super::given::Given;
use super::planned::{Planned, Untrainable};
#[cfg(feature = "burn")]
use super::stepwise::Stepwise;
#[cfg(feature = "burn")]
use crate::device::is_processor;
use crate::device::{Device, DeviceError};
use crate::graph::Graph;
#[cfg(feature = "burn")]
use crate::network::{MissingTensor, Network};
use crate::weights::{StateDict, Tensors};

/// A network in training.
#[derive(Debug)]
pub enum Trainee {
    /// By its program.
    Planned(Box<Planned>),
    /// Step by step.
    #[cfg(feature = "burn")]
    Stepwise(Box<Stepwise>),
}

impl Trainee {
    /// A network in training on a device, all of it.
    ///
    /// # Errors
    ///
    /// When a tensor is missing; without the feature `burn`, also when a kind of step has no way back.
    pub fn new(
        graph: impl Into<Arc<Graph>>,
        tensors: &StateDict<'_>,
        device: &Device,
    ) -> Result<Self, Untrainable> {
        let graph = graph.into();
        #[cfg(feature = "burn")]
        if !is_processor(device) {
            return Self::step_by_step(graph, tensors, device);
        }
        match Planned::new(Arc::clone(&graph), tensors) {
            Ok(planned) => Ok(Self::Planned(Box::new(planned))),
            #[cfg(feature = "burn")]
            Err(Untrainable::NoWayBack(_)) => Self::step_by_step(graph, tensors, device),
            Err(error) => {
                // Without Burn there is no other device.
                let _ = device;
                Err(error)
            }
        }
    }

    #[cfg(feature = "burn")]
    fn step_by_step(
        graph: Arc<Graph>,
        tensors: &StateDict<'_>,
        device: &Device,
    ) -> Result<Self, Untrainable> {
        let network = Network::new(graph, tensors, device);
        let network = network.map_err(|MissingTensor(name)| Untrainable::Missing(name))?;
        Ok(Self::Stepwise(Box::new(Stepwise::new(network, device))))
    }

    /// The parameters that gradients move now, by their names.
    pub fn trained(&self) -> BTreeSet<String> {
        match self {
            Self::Planned(engine) => engine.trained(),
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.trained(),
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
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.gradients().await,
        }
    }
}

impl Engine for Trainee {
    type Input = Given;

    fn learns(&mut self, learning: &Learning) {
        match self {
            Self::Planned(engine) => engine.learns(learning),
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.learns(learning),
        }
    }

    fn accumulate(&mut self, input: Given, goal: &Goal, draws: &Draws) {
        match self {
            Self::Planned(engine) => engine.accumulate(input, goal, draws),
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.accumulate(input, goal, draws),
        }
    }

    fn begin(&mut self, input: Given, goal: &Goal, draws: &Draws) {
        match self {
            Self::Planned(engine) => engine.begin(input, goal, draws),
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.begin(input, goal, draws),
        }
    }

    fn go_on(&mut self, enough: Enough<'_>) -> bool {
        match self {
            Self::Planned(engine) => engine.go_on(enough),
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.go_on(enough),
        }
    }

    fn descend(&mut self, descent: &Descent<'_>) {
        match self {
            Self::Planned(engine) => engine.descend(descent),
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.descend(descent),
        }
    }

    fn average(&mut self, kept: f64) {
        match self {
            Self::Planned(engine) => engine.average(kept),
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.average(kept),
        }
    }

    async fn losses(&mut self) -> Result<Vec<f32>, DeviceError> {
        match self {
            Self::Planned(engine) => engine.losses().await,
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.losses().await,
        }
    }

    async fn answers(&self, input: Given, averaged: bool) -> Result<Vec<f32>, DeviceError> {
        match self {
            Self::Planned(engine) => engine.answers(input, averaged).await,
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.answers(input, averaged).await,
        }
    }

    async fn tensors(&self, averaged: bool) -> Result<Tensors, DeviceError> {
        match self {
            Self::Planned(engine) => engine.tensors(averaged).await,
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.tensors(averaged).await,
        }
    }

    async fn state(&self) -> Result<EngineState, DeviceError> {
        match self {
            Self::Planned(engine) => engine.state().await,
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.state().await,
        }
    }

    fn let_go(&mut self) {
        match self {
            Self::Planned(engine) => engine.let_go(),
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.let_go(),
        }
    }

    fn restore(&mut self, state: &EngineState) -> Result<(), WrongState> {
        match self {
            Self::Planned(engine) => engine.restore(state),
            #[cfg(feature = "burn")]
            Self::Stepwise(engine) => engine.restore(state),
        }
    }
}
