//! The two-layer head with numbers, as Burn's modules.

use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, Relu};
use burn::tensor::{Device, Tensor, TensorData};

use crate::head::MlpConfig;
use crate::kernels;
use crate::random::Random;

#[derive(Module, Debug)]
enum MlpLayer {
    Norm(BatchNorm),
    Linear(Linear),
    Relu(Relu),
    Dropout(Dropout),
}

/// BatchNorm–Linear–ReLU–BatchNorm–Dropout–Linear, an `nn.Sequential` to PyTorch.
#[derive(Module, Debug)]
pub struct MlpHead {
    layers: Vec<MlpLayer>,
}

impl MlpHead {
    /// Builds the head, its parameters not yet filled.
    pub fn new(config: &MlpConfig, features: usize, classes: usize, device: &Device) -> Self {
        Self::assemble(config, features, classes, device, |from, to| {
            LinearConfig::new(from, to).init(device)
        })
    }

    /// Builds the head as PyTorch initialises it: `torch.nn.Linear` draws weights and biases alike
    /// from U(−1/√fan_in, 1/√fan_in). The same numbers on every device.
    pub fn random(
        config: &MlpConfig,
        features: usize,
        classes: usize,
        random: &mut Random,
        device: &Device,
    ) -> Self {
        Self::assemble(config, features, classes, device, |from, to| {
            let bound = 1.0 / (from as f32).sqrt();
            let mut draw = |count: usize| -> Vec<f32> {
                (0..count)
                    .map(|_| (2.0 * random.uniform() - 1.0) * bound)
                    .collect()
            };
            let weight = TensorData::new(draw(from * to), [from, to]);
            let bias = TensorData::new(draw(to), [to]);
            Linear {
                weight: Param::from_data(weight, device),
                bias: Some(Param::from_data(bias, device)),
            }
        })
    }

    fn assemble(
        config: &MlpConfig,
        features: usize,
        classes: usize,
        device: &Device,
        mut linear: impl FnMut(usize, usize) -> Linear,
    ) -> Self {
        Self {
            layers: vec![
                MlpLayer::Norm(BatchNormConfig::new(features).init(device)),
                MlpLayer::Linear(linear(features, config.hidden)),
                MlpLayer::Relu(Relu::new()),
                MlpLayer::Norm(BatchNormConfig::new(config.hidden).init(device)),
                MlpLayer::Dropout(DropoutConfig::new(config.dropout).init()),
                MlpLayer::Linear(linear(config.hidden, classes)),
            ],
        }
    }

    /// Logits from pooled features, nothing dropped. Batch norms use their running statistics, unless
    /// the features are on an autodiff device.
    ///
    /// # Shapes
    ///
    /// - features: `[N, features]`
    /// - returns: `[N, classes]`
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.run(features, |x, _| x)
    }

    /// Logits in training: on an autodiff device the batch norms use and update the batch's
    /// statistics. What dropout drops is drawn from `random`, so that it repeats on every device;
    /// Burn's own draws from the device, whose stream all threads share.
    ///
    /// # Shapes
    ///
    /// - features: `[N, features]`
    /// - returns: `[N, classes]`
    pub fn forward_train(&self, features: Tensor<2>, random: &mut Random) -> Tensor<2> {
        self.run(features, |x, share| {
            let [rows, columns] = x.dims();
            let kept = 1.0 / (1.0 - share);
            let mask: Vec<f32> = (0..rows * columns)
                .map(|_| {
                    if f64::from(random.uniform()) < share {
                        0.0
                    } else {
                        kept as f32
                    }
                })
                .collect();
            let mask = Tensor::from_data(TensorData::new(mask, [rows, columns]), &x.device());
            x * mask
        })
    }

    fn run(
        &self,
        features: Tensor<2>,
        mut drop: impl FnMut(Tensor<2>, f64) -> Tensor<2>,
    ) -> Tensor<2> {
        self.layers.iter().fold(features, |x, layer| match layer {
            MlpLayer::Norm(norm) => kernels::batch_norm(norm, x),
            MlpLayer::Linear(linear) => linear.forward(x),
            MlpLayer::Relu(activation) => activation.forward(x),
            MlpLayer::Dropout(dropout) => drop(x, dropout.prob),
        })
    }
}
