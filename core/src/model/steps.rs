//! The model on tensors: run step by step, as it can be trained, and asked about batches on the device.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use burn::tensor::Tensor;

use super::Model;
use super::frozen::{Compiled, numbers, read};
use crate::device::DeviceError;
use crate::image::RgbImage;
use crate::kernels::{self, Frame};
use crate::network::{self, Activation, Head, Network};
use crate::postprocess::Prediction;
use crate::preprocess::View;

/// Backbone and head as Burn's modules. Who only classifies never needs them; who trains or runs a network
/// step by step does.
#[derive(Debug, Clone, Default)]
pub(super) struct Modules {
    backbone: Arc<OnceLock<Network>>,
    head: Arc<OnceLock<Head>>,
}

impl Modules {
    /// What stays true under another head.
    pub fn without_head(&self) -> Self {
        Self {
            backbone: Arc::clone(&self.backbone),
            head: Arc::default(),
        }
    }
}

impl Model {
    /// The backbone, as it can be trained and run step by step. It is put on the device when it is asked
    /// for first.
    pub fn backbone(&self) -> &Network {
        self.modules.backbone.get_or_init(|| {
            let graph = Arc::clone(self.backbone_graph());
            Network::filled(graph, self.backbone_tensors(), &self.device)
        })
    }

    /// The head, likewise.
    pub fn head(&self) -> &Head {
        let (slot, classes) = (self.slot(), self.card.classes.len());
        let features = self.backbone_graph().features();
        self.modules.head.get_or_init(|| {
            Head::filled(
                &self.card.head,
                slot,
                features,
                classes,
                self.head_tensors(),
                &self.device,
            )
        })
    }

    /// Puts crops on the device as one normalised batch.
    ///
    /// # Shapes
    ///
    /// - crops: as [`crate::preprocess::Preset::crop_pixels`] makes them
    /// - returns: `[N, C, crop, crop]`, as many channels as the network takes
    pub fn batch(&self, crops: &[RgbImage]) -> Tensor<4> {
        self.coloured(kernels::normalise(crops, &self.card.preset, &self.device))
    }

    /// Puts views of whole photos on the device as one batch. On graphics adapters they are cut out, resized
    /// and mirrored there, within one level in 255 of what [`crate::preprocess::Preset::apply_view`] gives.
    ///
    /// # Shapes
    ///
    /// As [`batch`](Self::batch).
    pub fn batch_of_views(&self, photos: &[(&RgbImage, View)]) -> Tensor<4> {
        self.coloured(kernels::views(photos, &self.card.preset, &self.device))
    }

    /// What the network sees of a picture that lies on the adapter; nothing is read back. `None` if the picture
    /// is too large for that.
    ///
    /// # Shapes
    ///
    /// As [`batch`](Self::batch), of one image.
    pub fn batch_of_frame(&self, frame: &Frame) -> Option<Tensor<4>> {
        let batch = kernels::of_frame(frame, &View::Plain, &self.card.preset, &self.device);
        batch.map(|batch| self.coloured(batch))
    }

    /// Grey pictures have the same in all three channels.
    fn coloured(&self, batch: Tensor<4>) -> Tensor<4> {
        batch.narrow(1, 0, self.card.channels.count())
    }

    /// Pooled features.
    ///
    /// # Shapes
    ///
    /// - images: `[N, 3, H, W]`
    /// - returns: `[N, features]`
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        network::pool(self.backbone().forward(images))
    }

    /// The same for a batch on the device.
    ///
    /// # Errors
    ///
    /// When the device fails, or the network's numbers run over.
    pub async fn read_features_of(&self, batch: Tensor<4>) -> Result<Vec<f32>, DeviceError> {
        self.ask_of(self.to_features()?, batch).await
    }

    /// Logits, as the network with this file gives them in PyTorch.
    ///
    /// # Shapes
    ///
    /// - images: `[N, 3, H, W]`
    /// - returns: `[N, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head().forward(self.backbone().forward(images))
    }

    /// Logits from what the backbone's last stage put out.
    pub fn classify(&self, activation: Activation) -> Tensor<2> {
        self.head().forward(activation)
    }

    /// The same for a batch on the device.
    ///
    /// # Errors
    ///
    /// When the device fails, or the network's numbers run over.
    pub async fn predict_of(
        &self,
        batch: Tensor<4>,
        k: usize,
    ) -> Result<Vec<Vec<Prediction>>, DeviceError> {
        let logits = self.ask_of(self.to_logits()?, batch).await?;
        Ok(self.best(self.lowered(logits)?, k))
    }

    /// The same of a batch on the device, `[N, C, H, W]`.
    pub(super) async fn ask_of(
        &self,
        compiled: &Compiled,
        batch: Tensor<4>,
    ) -> Result<Vec<f32>, DeviceError> {
        let [count, ..] = batch.dims();
        let said = match compiled {
            Compiled::Processor(processor) => {
                let data = batch.permute([0, 2, 3, 1]).into_data_async().await;
                let values: Vec<f32> = data.map_err(DeviceError::execution)?.iter().collect();
                let each = values.len() / count;
                let write = |some: Range<usize>, images: &mut [f32]| {
                    images.copy_from_slice(&values[some.start * each..some.end * each]);
                };
                processor.run(count, write).remove(0)
            }
            Compiled::Adapter(adapter) => {
                let some = batch.split(adapter.images_at_once(), 0);
                read(adapter, some.into_iter()).await?
            }
        };
        numbers(said, count)
    }
}
