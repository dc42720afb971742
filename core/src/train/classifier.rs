//! A whole network in training.

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Int, Tensor, TensorData};

use super::Sgd;
use crate::device::DeviceError;
use crate::image::RgbImage;
use crate::model::Model;
use crate::network::{Head, Network};

/// A backbone and a head whose parameters take gradients.
#[derive(Module, Debug)]
pub struct Classifier {
    /// The backbone.
    pub backbone: Network,
    /// The head.
    pub head: Head,
}

impl Classifier {
    /// The parts of a model, made ready to train.
    pub fn of(model: &Model) -> Self {
        Self {
            backbone: model.backbone().clone().train(),
            head: model.head().clone().train(),
        }
    }

    /// Logits.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`, normalised
    /// - returns: `[N, classes]`
    pub fn logits(&self, images: Tensor<4>) -> Tensor<2> {
        self.head.forward(self.backbone.forward(images))
    }

    /// The mean cross-entropy of a batch.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`, normalised
    /// - labels: `[N]`
    pub fn loss(&self, images: Tensor<4>, labels: Tensor<1, Int>) -> Tensor<1> {
        let criterion = CrossEntropyLossConfig::new().init(&labels.device());
        criterion.forward(self.logits(images), labels)
    }

    /// One step on some crops: their loss, its gradients, and every parameter moved. Returns the
    /// network after the step, and the loss before it.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn step(
        self,
        model: &Model,
        crops: &[RgbImage],
        labels: &[usize],
        sgd: &mut Sgd,
        rate: f64,
    ) -> Result<(Self, f32), DeviceError> {
        let device = model.device().clone().autodiff();
        let labels: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
        let labels = TensorData::new(labels, [crops.len()]);
        let images = Tensor::from_inner(model.batch(crops));
        let loss = self.loss(images, Tensor::from_data(labels, &device));
        let moved = sgd.step(self, &loss.backward(), rate);
        let loss = loss.into_data_async().await;
        let loss = loss.map_err(DeviceError::execution)?.iter::<f32>().next();
        Ok((moved, loss.unwrap_or(f32::NAN)))
    }
}
