//! AdamW with PyTorch's defaults and PyTorch's arithmetic.
//!
//! Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, <https://arxiv.org/abs/1711.05101>.
//! Burn has one too; ours keeps its state under parameters' names, so that it can be read back without
//! blocking and restored on any device.

use std::collections::BTreeMap;

use burn::tensor::{Device, Gradients, Tensor, TensorData, Transaction};
use serde::{Deserialize, Serialize};

use crate::device::DeviceError;
use crate::network::Network;

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

/// The first and second moments of parameters by their names; where a parameter is kept in parts, theirs one after the
/// other.
pub type Moments = BTreeMap<String, Vec<[Vec<f32>; 2]>>;

/// The optimiser and its state.
#[derive(Debug, Clone)]
pub struct AdamW {
    config: AdamWConfig,
    step: usize,
    /// By the parameter's name, and by its part where it is kept in several.
    moments: BTreeMap<(String, usize), [Tensor<1>; 2]>,
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

    /// The moments, read back.
    ///
    /// # Errors
    ///
    /// When the device fails to hand them over.
    pub async fn moments(&self) -> Result<Moments, DeviceError> {
        let all = self.moments.values().flatten();
        let read = all.fold(Transaction::default(), |all, tensor| {
            all.register(tensor.clone())
        });
        let data = read.execute_async().await.map_err(DeviceError::execution)?;
        let mut numbers = data
            .iter()
            .map(|data| data.iter::<f32>().collect::<Vec<f32>>());
        let mut moments = Moments::new();
        for (name, _) in self.moments.keys() {
            if let (Some(first), Some(second)) = (numbers.next(), numbers.next()) {
                moments
                    .entry(name.clone())
                    .or_default()
                    .push([first, second]);
            }
        }
        Ok(moments)
    }

    /// Takes up on a device where another left off.
    pub fn resume(config: AdamWConfig, step: usize, moments: &Moments, device: &Device) -> Self {
        let tensor = |values: &Vec<f32>| {
            Tensor::<1>::from_data(TensorData::new(values.clone(), [values.len()]), device)
        };
        let parts = moments.iter().flat_map(|(name, parts)| {
            let parts = parts.iter().enumerate();
            parts.map(move |(part, [first, second])| {
                ((name.clone(), part), [tensor(first), tensor(second)])
            })
        });
        Self {
            config,
            step,
            moments: parts.collect(),
        }
    }

    /// Moves a network's parameters one step down their gradients; those without one stay.
    pub fn step(&mut self, network: &mut Network, gradients: &Gradients, rate: f64) {
        self.step += 1;
        let AdamWConfig {
            beta1,
            beta2,
            epsilon,
            weight_decay,
        } = self.config;
        let t = self.step as i32;
        network.descend(gradients, |name, part, weight, gradient| {
            let key = (name.to_owned(), part);
            let [first, second] = match self.moments.remove(&key) {
                Some([first, second]) => [
                    first * beta1 + gradient.clone() * (1.0 - beta1),
                    second * beta2 + gradient.square() * (1.0 - beta2),
                ],
                None => [
                    gradient.clone() * (1.0 - beta1),
                    gradient.square() * (1.0 - beta2),
                ],
            };
            let scaled = rate / (1.0 - beta1.powi(t));
            let denominator = second.clone().sqrt() / (1.0 - beta2.powi(t)).sqrt() + epsilon;
            let moved = first.clone() / denominator * scaled;
            self.moments.insert(key, [first, second]);
            weight * (1.0 - rate * weight_decay) - moved
        });
    }
}
