//! A model compiled for its device: made at the first question, kept for the others.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use burn::tensor::Tensor;

use super::Model;
#[cfg(feature = "gpu")]
use crate::compiled::Adapter;
use crate::compiled::{CompileError, Precision, Processor, Program, Tensors, Timing, fuse, lower};
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

/// What a network is asked about.
pub(super) enum Pictures<'a> {
    /// Squares of bytes, as [`crate::preprocess::Preset`] cuts them out.
    Crops(&'a [RgbImage]),
    /// Numbers on the device, `[N, C, H, W]`.
    Batch(Tensor<4>),
}

/// A program, ready for the device.
#[derive(Debug)]
enum Compiled {
    Processor(Processor),
    #[cfg(feature = "gpu")]
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
    /// Pooled features of some pictures by the compiled network.
    pub(super) async fn compiled_features(
        &self,
        pictures: Pictures<'_>,
    ) -> Result<Vec<f32>, DeviceError> {
        let graph = self.backbone.graph();
        self.compiled(pictures, &self.frozen.features, |tensors| {
            let (output, is_tokens) = graph
                .stages()
                .last()
                .map_or((0, false), |stage| (stage.output, stage.shape.len() == 2));
            Ok(lower(graph, tensors, &[output])?.pooled(is_tokens))
        })
        .await
    }

    /// Logits of some pictures by the compiled network, the head's lift still on them.
    pub(super) async fn compiled_logits(
        &self,
        pictures: Pictures<'_>,
    ) -> Result<Vec<f32>, DeviceError> {
        let graph = self.graph().map_err(DeviceError::execution)?;
        let logits = graph.stages().last().map_or(0, |stage| stage.output);
        self.compiled(pictures, &self.frozen.logits, |tensors| {
            lower(&graph, tensors, &[logits])
        })
        .await
    }

    async fn compiled(
        &self,
        pictures: Pictures<'_>,
        kept: &OnceLock<Compiled>,
        program: impl FnOnce(Tensors) -> Result<Program, CompileError>,
    ) -> Result<Vec<f32>, DeviceError> {
        match (self.ready(kept, program).await?, pictures) {
            (Compiled::Processor(processor), Pictures::Crops(crops)) => {
                let write = |some: Range<usize>, images: &mut [f32]| {
                    self.normalised(&crops[some], images);
                };
                Ok(processor.run(crops.len(), write).remove(0))
            }
            (Compiled::Processor(processor), Pictures::Batch(batch)) => {
                let [count, ..] = batch.dims();
                let data = batch.permute([0, 2, 3, 1]).into_data_async().await;
                let values: Vec<f32> = data.map_err(DeviceError::execution)?.iter().collect();
                let each = values.len() / count;
                let write = |some: Range<usize>, images: &mut [f32]| {
                    images.copy_from_slice(&values[some.start * each..some.end * each]);
                };
                Ok(processor.run(count, write).remove(0))
            }
            #[cfg(feature = "gpu")]
            (Compiled::Adapter(adapter), pictures) => {
                let images = match pictures {
                    Pictures::Crops(crops) => self.batch(crops),
                    Pictures::Batch(batch) => batch,
                };
                let images = images.permute([0, 2, 3, 1]);
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
        program: impl FnOnce(Tensors) -> Result<Program, CompileError>,
    ) -> Result<&'a Compiled, DeviceError> {
        if let Some(compiled) = kept.get() {
            return Ok(compiled);
        }
        let tensors = collect(self.tensors()).await?;
        let program = fuse(program(tensors).map_err(DeviceError::execution)?);
        Ok(kept.get_or_init(|| self.placed(program)))
    }

    /// The program with its numbers where the model's device wants them.
    fn placed(&self, program: Program) -> Compiled {
        #[cfg(feature = "gpu")]
        if self.device != burn::tensor::Device::flex() {
            let precision = self.frozen.precision;
            return Compiled::Adapter(Adapter::new(program, &self.device, precision));
        }
        Compiled::Processor(Processor::new(program))
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
        let program = |tensors: Tensors| lower(&graph, tensors, &[logits]);
        match self.ready(&self.frozen.logits, program).await? {
            Compiled::Processor(processor) => {
                let write = |images: &mut [f32]| self.normalised(crops, images);
                Ok(processor.profile(crops.len(), write, clock))
            }
            #[cfg(feature = "gpu")]
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
