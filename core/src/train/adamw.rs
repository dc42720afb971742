//! AdamW with PyTorch's defaults and PyTorch's arithmetic.
//!
//! Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, <https://arxiv.org/abs/1711.05101>.
//! Burn has one too; ours keeps its state under parameter paths, so that it can be read back without
//! blocking and restored on any device.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Gradients, Tensor};
use serde::{Deserialize, Serialize};

/// The optimiser's settings; the defaults are `torch.optim.AdamW`'s.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Share of each weight taken off per step, times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 1e-2,
        }
    }
}

/// A parameter's two moments, flattened.
pub(super) type Moments = [Tensor<1>; 2];

/// The optimiser and its state.
#[derive(Debug, Clone)]
pub struct AdamW {
    config: AdamWConfig,
    step: usize,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// A fresh optimiser.
    pub fn new(config: AdamWConfig) -> Self {
        Self {
            config,
            step: 0,
            moments: BTreeMap::new(),
        }
    }

    /// Steps taken so far.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// The moments by parameter path.
    pub(super) fn moments(&self) -> &BTreeMap<String, Moments> {
        &self.moments
    }

    /// Takes up where another left off.
    pub(super) fn resume(
        config: AdamWConfig,
        step: usize,
        moments: BTreeMap<String, Moments>,
    ) -> Self {
        Self {
            config,
            step,
            moments,
        }
    }

    /// Moves a module's parameters one step down their gradients; those without one stay.
    pub fn step<M: Module>(&mut self, module: M, gradients: &Gradients, rate: f64) -> M {
        self.step += 1;
        module.map(&mut Stepper {
            optimiser: self,
            gradients,
            rate,
            path: Vec::new(),
        })
    }
}

struct Stepper<'a> {
    optimiser: &'a mut AdamW,
    gradients: &'a Gradients,
    rate: f64,
    path: Vec<String>,
}

impl ModuleMapper for Stepper<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(gradient) = tensor.grad(self.gradients) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let AdamWConfig {
            beta1,
            beta2,
            epsilon,
            weight_decay,
        } = self.optimiser.config;
        let shape = tensor.shape();
        let gradient = gradient.flatten::<1>(0, D - 1);
        let key = self.path.join(".");
        let [first, second] = match self.optimiser.moments.remove(&key) {
            Some([first, second]) => [
                first * beta1 + gradient.clone() * (1.0 - beta1),
                second * beta2 + gradient.square() * (1.0 - beta2),
            ],
            None => [
                gradient.clone() * (1.0 - beta1),
                gradient.square() * (1.0 - beta2),
            ],
        };
        let t = self.optimiser.step as i32;
        let rate = self.rate / (1.0 - beta1.powi(t));
        let denominator = second.clone().sqrt() / (1.0 - beta2.powi(t)).sqrt() + epsilon;
        let values = tensor.without_autodiff().flatten::<1>(0, D - 1);
        let values = values * (1.0 - self.rate * weight_decay) - first.clone() / denominator * rate;
        self.optimiser.moments.insert(key, [first, second]);
        let tensor = values.reshape(shape).autodiff().require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}
