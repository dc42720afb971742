//! A whole network in training.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Int, Tensor, TensorData};

use super::Sgd;
use crate::device::DeviceError;
use crate::image::RgbImage;
use crate::model::Model;
use crate::network::{Batch, Chance, Network};

/// A network of classes whose parameters take gradients, and the chance that its training draws from.
#[derive(Debug, Clone)]
pub struct Classifier {
    network: Network,
    chance: Chance,
}

impl Classifier {
    /// A model's network, made ready to train; `seed` decides what is left out at random.
    pub fn of(model: &Model, seed: u64) -> Self {
        Self::new(model.network().clone(), seed)
    }

    /// A network that puts out logits, likewise.
    pub fn new(network: Network, seed: u64) -> Self {
        Self {
            network: network.trainable(),
            chance: Chance::new(seed),
        }
    }

    /// The network as it stands.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Logits in training, at this step.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`, normalised
    /// - returns: `[N, classes]`
    pub fn logits(&mut self, images: Tensor<4>) -> Tensor<2> {
        let wanted = [self.network.graph().output()];
        let given = [(0, Batch::Maps(images.autodiff()))];
        let made = self.network.train(given, &wanted, &mut self.chance);
        match made.map(|mut made| made.pop()) {
            Ok(Some(logits)) => logits.features(),
            other => unreachable!("logits follow from the image: {other:?}"),
        }
    }

    /// The mean cross-entropy of a batch.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`, normalised
    /// - labels: `[N]`
    pub fn loss(&mut self, images: Tensor<4>, labels: Tensor<1, Int>) -> Tensor<1> {
        let logits = self.logits(images);
        let criterion = CrossEntropyLossConfig::new().init(&logits.device());
        criterion.forward(logits, labels)
    }

    /// Moves every parameter down the gradients of a loss, and goes on to the next step.
    pub fn descend(&mut self, loss: &Tensor<1>, sgd: &mut Sgd, rate: f64) {
        sgd.step(&mut self.network, &loss.backward(), rate);
        self.chance.advance();
    }

    /// One step on some crops: their loss, its gradients, and every parameter moved. Returns the loss before the step.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn step(
        &mut self,
        model: &Model,
        crops: &[RgbImage],
        labels: &[usize],
        sgd: &mut Sgd,
        rate: f64,
    ) -> Result<f32, DeviceError> {
        let device = model.device().clone().autodiff();
        let labels: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
        let labels = TensorData::new(labels, [crops.len()]);
        let loss = self.loss(model.batch(crops), Tensor::from_data(labels, &device));
        self.descend(&loss, sgd, rate);
        let loss = loss.into_data_async().await;
        let loss = loss.map_err(DeviceError::execution)?.iter::<f32>().next();
        Ok(loss.unwrap_or(f32::NAN))
    }
}
