//! A network with its head, its classes and the way photos must be prepared for it.

mod frozen;
mod segment;
#[cfg(feature = "burn")]
mod steps;
#[cfg(test)]
mod tests;

pub use rekindle_networks::model::{
    Cause, Channels, Contents, FORMAT, METADATA_KEY, ModelCard, ModelError, PhotoHashes, Purpose,
    Reading, imagenet_class_of_synset, imagenet_classes, port_kernels, read_card, whole_graph,
};

pub use segment::SegmentError;

use std::ops::{Deref, DerefMut};

#[cfg(feature = "burn")]
pub use burn::tensor::Tensor;

use frozen::Frozen;
#[cfg(feature = "burn")]
use steps::Steps;

use crate::backbone::{Architecture, PretrainedWeights};
use crate::compiled::Precision;
use crate::device::{self, Device, DeviceError};
use crate::head::HeadKind;
use crate::image::RgbImage;
use crate::postprocess::{Prediction, top_k};
use crate::weights::{TensorSource, Tensors};

/// A classifier, whole: photo in, answer out. It is what a model file holds, on a device.
#[derive(Debug, Clone)]
pub struct Model {
    contents: Contents,
    device: Device,
    frozen: Frozen,
    #[cfg(feature = "burn")]
    steps: Steps,
}

impl Deref for Model {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.contents
    }
}

impl DerefMut for Model {
    fn deref_mut(&mut self) -> &mut Contents {
        &mut self.contents
    }
}

impl Model {
    /// Puts what a model file holds on a device.
    pub fn new(contents: Contents, device: &Device) -> Self {
        Self {
            contents,
            device: device.clone(),
            frozen: Frozen::default(),
            #[cfg(feature = "burn")]
            steps: Steps::default(),
        }
    }

    /// Opens a model file, as [`Contents::open`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open(bytes: Vec<u8>, device: &Device) -> Result<Self, ModelError> {
        Ok(Self::new(Contents::open(bytes)?, device))
    }

    /// A network as it was published, as [`Contents::pretrained`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn pretrained(
        architecture: &'static Architecture,
        weights: &PretrainedWeights,
        source: &dyn TensorSource,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let contents = Contents::pretrained(architecture, weights, source)?;
        Ok(Self::new(contents, device))
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The same backbone under a new head for these classes. What photos the head was trained on is for the
    /// caller to say.
    ///
    /// # Panics
    ///
    /// When the head's tensors are not those of such a head in this network.
    pub fn with_head(&self, kind: HeadKind, head: Tensors, classes: Vec<String>) -> Self {
        Self {
            contents: self.contents.with_head(kind, head, classes),
            device: self.device.clone(),
            frozen: self.frozen.without_head(),
            #[cfg(feature = "burn")]
            steps: Steps::default(),
        }
    }

    /// Chooses how answers and features are computed from now on; training stays in full precision.
    ///
    /// # Errors
    ///
    /// When the device has no half-precision floats. The processor has none.
    pub fn with_precision(self, precision: Precision) -> Result<Self, DeviceError> {
        if precision == Precision::Half && !device::has_half(&self.device) {
            return Err(DeviceError::NoHalf);
        }
        Ok(Self {
            frozen: Frozen::of(precision),
            ..self
        })
    }

    /// How answers and features are computed.
    pub fn precision(&self) -> Precision {
        self.frozen.precision()
    }

    /// Pooled features of some crops, read back.
    ///
    /// # Shapes
    ///
    /// - returns: `[N, features]`, row-major
    ///
    /// # Errors
    ///
    /// When the device fails, or the network's numbers run over.
    pub async fn read_features(&self, crops: &[RgbImage]) -> Result<Vec<f32>, DeviceError> {
        self.ask(self.to_features()?, crops).await
    }

    /// The best `k` classes for each of some crops.
    ///
    /// # Errors
    ///
    /// When the device fails, or the network's numbers run over.
    pub async fn predict(
        &self,
        crops: &[RgbImage],
        k: usize,
    ) -> Result<Vec<Vec<Prediction>>, DeviceError> {
        if crops.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.best(self.logits(crops).await?, k))
    }

    fn best(&self, logits: Vec<Vec<f32>>, k: usize) -> Vec<Vec<Prediction>> {
        let rows = logits.iter();
        rows.map(|row| top_k(row, &self.card.classes, k)).collect()
    }

    /// Logits of some crops, read back, with the head's lift taken off.
    ///
    /// # Errors
    ///
    /// When the device fails, or the network's numbers run over.
    pub async fn logits(&self, crops: &[RgbImage]) -> Result<Vec<Vec<f32>>, DeviceError> {
        let logits = self.ask(self.to_logits()?, crops).await?;
        self.lowered(logits)
    }

    /// Rows of logits, the head's lift taken off.
    fn lowered(&self, mut logits: Vec<f32>) -> Result<Vec<Vec<f32>>, DeviceError> {
        let (lift, classes) = (self.card.lift(), self.card.classes.len());
        logits.iter_mut().for_each(|logit| *logit -= lift);
        let images = logits.len() / classes;
        let logits = frozen::numbers(logits, images)?;
        Ok(logits.chunks(classes).map(<[f32]>::to_vec).collect())
    }
}
