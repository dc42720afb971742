//! A model compiled for its device: made at the first question, kept for the others.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use burn::tensor::Device;

use super::Model;
use crate::compiled::{
    Adapter, CompileError, Precision, Processor, Program, Tensors, Timing, fuse, lower,
};
use crate::device::DeviceError;
use crate::image::RgbImage;
use crate::weights::collect;

/// What a model has been compiled to so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Frozen {
    precision: Precision,
    features: Arc<OnceLock<Compiled>>,
    logits: Arc<OnceLock<Compiled>>,
}

/// A program, ready for the device.
#[derive(Debug)]
enum Compiled {
    Processor(Processor),
    Adapter(Adapter),
}

impl Frozen {
    /// What stays true under another head.
    pub fn without_head(&self) -> Self {
        Self {
            precision: self.precision,
            features: Arc::clone(&self.features),
            logits: Arc::default(),
        }
    }

    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Nothing compiled yet, for this precision.
    pub fn of(precision: Precision) -> Self {
        Self {
            precision,
            ..Self::default()
        }
    }
}

impl Model {
    /// Pooled features of some crops by the compiled network.
    pub(super) async fn compiled_features(
        &self,
        crops: &[RgbImage],
    ) -> Result<Vec<f32>, DeviceError> {
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

    /// Logits of some crops by the compiled network, the head's lift still on them.
    pub(super) async fn compiled_logits(
        &self,
        crops: &[RgbImage],
    ) -> Result<Vec<f32>, DeviceError> {
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
        kept: &OnceLock<Compiled>,
        program: impl FnOnce(&Tensors) -> Result<Program, CompileError>,
    ) -> Result<Vec<f32>, DeviceError> {
        match self.ready(kept, program).await? {
            Compiled::Processor(processor) => {
                let write = |some: Range<usize>, images: &mut [f32]| {
                    self.normalised(&crops[some], images);
                };
                Ok(processor.run(crops.len(), write).remove(0))
            }
            Compiled::Adapter(adapter) => {
                let images = self.batch(crops).permute([0, 2, 3, 1]);
                let output = adapter.run(images).remove(0).into_data_async().await;
                let data = output.map_err(DeviceError::execution)?;
                Ok(data.iter::<f32>().collect())
            }
        }
    }

    /// The compiled network, made now if this is the first question.
    async fn ready<'a>(
        &self,
        kept: &'a OnceLock<Compiled>,
        program: impl FnOnce(&Tensors) -> Result<Program, CompileError>,
    ) -> Result<&'a Compiled, DeviceError> {
        if let Some(compiled) = kept.get() {
            return Ok(compiled);
        }
        let tensors = collect(self.tensors()).await?;
        let program = fuse(program(&tensors).map_err(DeviceError::execution)?);
        Ok(kept.get_or_init(|| match self.device == Device::flex() {
            true => Compiled::Processor(Processor::new(program)),
            false => {
                let precision = self.frozen.precision;
                Compiled::Adapter(Adapter::new(program, &self.device, precision))
            }
        }))
    }

    /// How long each step of the compiled network takes on some crops, from pixels to logits. The clock
    /// counts seconds; adapters use their own.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn profile(
        &self,
        crops: &[RgbImage],
        clock: impl Fn() -> f64 + Sync,
    ) -> Result<Vec<Timing>, DeviceError> {
        let graph = self.graph().map_err(DeviceError::execution)?;
        let logits = graph.stages().last().map_or(0, |stage| stage.output);
        let program = |tensors: &Tensors| lower(&graph, tensors, &[logits]);
        match self.ready(&self.frozen.logits, program).await? {
            Compiled::Processor(processor) => {
                let write = |images: &mut [f32]| self.normalised(crops, images);
                Ok(processor.profile(crops.len(), write, clock))
            }
            Compiled::Adapter(adapter) => {
                let images = self.batch(crops).permute([0, 2, 3, 1]);
                adapter.profile(images, &self.device).await
            }
        }
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
