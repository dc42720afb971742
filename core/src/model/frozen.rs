//! A model on the processor, compiled: made at the first question, kept for the others.

use std::sync::{Arc, OnceLock};

use burn::tensor::Device;

use super::Model;
use crate::compiled::{CompileError, Processor, Program, Tensors, fuse, lower};
use crate::device::DeviceError;
use crate::image::RgbImage;
use crate::weights::collect;

/// What a model has been compiled to so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Frozen {
    features: Arc<OnceLock<Processor>>,
    logits: Arc<OnceLock<Processor>>,
}

impl Frozen {
    /// What stays true under another head.
    pub fn without_head(&self) -> Self {
        Self {
            features: Arc::clone(&self.features),
            logits: Arc::default(),
        }
    }
}

impl Model {
    /// Pooled features of some crops by the compiled network; `None` on devices that have none.
    pub(super) async fn compiled_features(
        &self,
        crops: &[RgbImage],
    ) -> Result<Option<Vec<f32>>, DeviceError> {
        let graph = self.backbone.graph();
        self.compiled(crops, &self.frozen.features, |tensors| {
            let (output, is_tokens) = graph
                .stages()
                .last()
                .map_or((0, false), |stage| (stage.output, stage.shape.len() == 2));
            Ok(lower(graph, tensors, &[output])?.pooled(is_tokens))
        })
        .await
    }

    /// Logits of some crops by the compiled network, the head's lift still on them; `None` on devices
    /// that have none.
    pub(super) async fn compiled_logits(
        &self,
        crops: &[RgbImage],
    ) -> Result<Option<Vec<f32>>, DeviceError> {
        let graph = self.graph().map_err(DeviceError::execution)?;
        let logits = graph.stages().last().map_or(0, |stage| stage.output);
        self.compiled(crops, &self.frozen.logits, |tensors| {
            lower(&graph, tensors, &[logits])
        })
        .await
    }

    async fn compiled(
        &self,
        crops: &[RgbImage],
        kept: &OnceLock<Processor>,
        program: impl FnOnce(&Tensors) -> Result<Program, CompileError>,
    ) -> Result<Option<Vec<f32>>, DeviceError> {
        if self.device != Device::flex() {
            return Ok(None);
        }
        let processor = match kept.get() {
            Some(processor) => processor,
            None => {
                let tensors = collect(self.tensors()).await?;
                let program = program(&tensors).map_err(DeviceError::execution)?;
                kept.get_or_init(|| Processor::new(fuse(program)))
            }
        };
        let mut outputs = processor.run(crops.len(), |images| self.normalised(crops, images));
        Ok(outputs.pop())
    }

    /// Writes crops as the network takes them, channels last.
    fn normalised(&self, crops: &[RgbImage], images: &mut [f32]) {
        let preset = &self.card.preset;
        let channels = self.card.channels.count();
        let each = images.len() / crops.len();
        for (crop, image) in crops.iter().zip(images.chunks_exact_mut(each)) {
            if channels == 3 {
                rekindle_cpu::normalise(crop.pixels(), preset.mean(), preset.std(), image);
                continue;
            }
            // Grey pictures have the same in all three channels.
            let mut colour = vec![0.0; crop.pixels().len()];
            rekindle_cpu::normalise(crop.pixels(), preset.mean(), preset.std(), &mut colour);
            for (pixel, rgb) in image.chunks_exact_mut(channels).zip(colour.chunks_exact(3)) {
                pixel.copy_from_slice(&rgb[..channels]);
            }
        }
    }
}
