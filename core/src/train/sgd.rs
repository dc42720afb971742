//! Stochastic gradient descent with momentum over whole networks, as PyTorch's `torch.optim.SGD`.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Gradients, Tensor};

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
    velocities: HashMap<ParamId, Tensor<1>>,
}

impl Sgd {
    /// An optimiser that has not taken a step.
    pub fn new(config: SgdConfig) -> Self {
        Self {
            config,
            velocities: HashMap::new(),
        }
    }

    /// Takes one step: every parameter that has a gradient moves against it.
    pub fn step<M: Module>(&mut self, module: M, gradients: &Gradients, rate: f64) -> M {
        module.map(&mut Step {
            sgd: self,
            gradients,
            rate,
        })
    }
}

struct Step<'a> {
    sgd: &'a mut Sgd,
    gradients: &'a Gradients,
    rate: f64,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let SgdConfig {
            momentum,
            weight_decay,
        } = self.sgd.config;
        let id = param.id;
        let Some(gradient) = param.val().grad(self.gradients) else {
            return param;
        };
        param.map(|weight| {
            let weight = weight.inner();
            let shape = weight.shape();
            let direction = match weight_decay {
                0.0 => gradient,
                decay => gradient + weight.clone() * decay,
            };
            let velocity = match self.sgd.velocities.remove(&id) {
                Some(last) => last.reshape(shape) * momentum + direction,
                None => direction,
            };
            let flat = velocity.clone().flatten(0, D - 1);
            self.sgd.velocities.insert(id, flat);
            Tensor::from_inner(weight - velocity * self.rate).require_grad()
        })
    }
}
