//! Stochastic gradient descent with momentum, as PyTorch's `torch.optim.SGD`.

use std::collections::BTreeMap;

use burn::tensor::{Gradients, Tensor};

use crate::network::Network;

/// What the optimiser needs to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdConfig {
    /// How much of the last step's direction is kept.
    pub momentum: f64,
    /// What part of each parameter is added to its gradient.
    pub weight_decay: f64,
}

/// The optimiser and what it remembers: for each parameter, the direction of its last step.
///
/// With gradient `g`, decay `λ` and momentum `μ`: `v ← μ·v + g + λ·w`, then `w ← w − rate·v`; the first
/// direction is the gradient itself.
#[derive(Debug, Clone)]
pub struct Sgd {
    config: SgdConfig,
    /// By the parameter's name, and by its part where it is kept in several.
    velocities: BTreeMap<(String, usize), Tensor<1>>,
}

impl Sgd {
    /// An optimiser that has not taken a step.
    pub fn new(config: SgdConfig) -> Self {
        Self {
            config,
            velocities: BTreeMap::new(),
        }
    }

    /// Takes one step: every parameter that has a gradient moves against it.
    pub fn step(&mut self, network: &mut Network, gradients: &Gradients, rate: f64) {
        let SgdConfig {
            momentum,
            weight_decay,
        } = self.config;
        network.descend(gradients, |name, part, weight, gradient| {
            let direction = match weight_decay {
                0.0 => gradient,
                decay => gradient + weight.clone() * decay,
            };
            let key = (name.to_owned(), part);
            let velocity = match self.velocities.remove(&key) {
                Some(last) => last * momentum + direction,
                None => direction,
            };
            self.velocities.insert(key, velocity.clone());
            weight - velocity * rate
        });
    }
}
