//! A network with its head, its classes and the way photos must be prepared for it.

mod adapt;
mod card;
mod cause;
mod channels;
mod file;
mod frozen;
mod renames;
#[cfg(feature = "burn")]
mod steps;
#[cfg(test)]
mod tests;
mod trained_on;

pub use adapt::{Purpose, Reading};
pub use card::{FORMAT, ModelCard, imagenet_class_of_synset, imagenet_classes};
pub use cause::Cause;
pub use channels::{Channels, port_kernels};
pub use file::{METADATA_KEY, ModelError, read_card};
pub use trained_on::PhotoHashes;

use std::sync::Arc;

#[cfg(feature = "burn")]
pub use burn::tensor::Tensor;

use frozen::Frozen;
#[cfg(feature = "burn")]
use steps::Modules;

use crate::backbone::{Architecture, HeadSlot, UnsupportedInput};
use crate::compiled::Precision;
use crate::device::{self, Device, DeviceError};
use crate::graph::{Graph, LayerId};
use crate::head::HeadKind;
use crate::image::RgbImage;
use crate::postprocess::{Prediction, top_k};
use crate::weights::Tensors;

/// The whole network that a card speaks of as data, from images of this height and width to the
/// logits.
///
/// # Errors
///
/// When the network cannot take such images.
pub fn whole_graph(
    architecture: &Architecture,
    card: &ModelCard,
    [height, width]: [usize; 2],
) -> Result<Graph, UnsupportedInput> {
    let (slot, classes) = (card.slot(architecture), card.classes.len());
    architecture.graph_with(
        [card.channels.count(), height, width],
        &card.options(),
        |image| card.channels.describe(image),
        |features| card.head.describe(slot, features, classes),
    )
}

/// A classifier, whole: photo in, answer out.
#[derive(Debug, Clone)]
pub struct Model {
    /// What the model file says about itself.
    pub card: ModelCard,
    architecture: &'static Architecture,
    /// From the image to the logits.
    graph: Arc<Graph>,
    /// From the image to the features.
    backbone_graph: Arc<Graph>,
    /// The numbers of each under their names in the state_dict.
    backbone: Arc<Tensors>,
    head: Arc<Tensors>,
    device: Device,
    frozen: Frozen,
    #[cfg(feature = "burn")]
    modules: Modules,
}

impl Model {
    /// The network's entry in the registry.
    pub fn architecture(&self) -> &'static Architecture {
        self.architecture
    }

    /// The head's place in the network's state_dict.
    pub fn slot(&self) -> HeadSlot {
        self.card.slot(self.architecture)
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The whole network as data, from the image to the logits.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The backbone as data, from the image to what the head is given.
    pub fn backbone_graph(&self) -> &Graph {
        &self.backbone_graph
    }

    /// Learnable numbers, of backbone and head together. Running statistics do not count.
    pub fn parameters(&self) -> usize {
        self.graph.parameter_count()
    }

    /// Learnable numbers of each stage.
    pub fn stage_parameters(&self) -> Vec<usize> {
        let graph = &self.backbone_graph;
        let mut counts = vec![0; graph.stages().len()];
        for (index, layer) in graph.layers().iter().enumerate() {
            counts[graph.stage_of_layer(LayerId(index))] += layer.parameter_count();
        }
        counts
    }

    /// Learnable numbers of the head.
    pub fn head_parameters(&self) -> usize {
        self.graph.parameter_count() - self.backbone_graph.parameter_count()
    }

    /// The same backbone under a new head for these classes. What photos the head was trained on is for the
    /// caller to say.
    ///
    /// # Panics
    ///
    /// When the head's tensors are not those of such a head in this network.
    pub fn with_head(&self, kind: HeadKind, head: Tensors, classes: Vec<String>) -> Self {
        let card = ModelCard {
            head: kind,
            classes,
            trained_on: None,
            ..self.card.clone()
        };
        let [_, height, width] = self.graph.image();
        let graph = match whole_graph(self.architecture, &card, [height, width]) {
            Ok(graph) => Arc::new(graph),
            Err(error) => unreachable!("the backbone took such images: {error}"),
        };
        let of_backbone = &self.backbone;
        for (name, shape) in graph.tensors() {
            let found = of_backbone.get(&name).or_else(|| head.get(&name));
            let found = found.map(|(shape, _)| &shape[..]);
            assert_eq!(found, Some(&shape[..]), "'{name}' of the new head");
        }
        Self {
            card,
            graph,
            head: Arc::new(head),
            frozen: self.frozen.without_head(),
            #[cfg(feature = "burn")]
            modules: self.modules.without_head(),
            ..self.clone()
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
