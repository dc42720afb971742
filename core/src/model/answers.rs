//! What a compiled model says: features, logits, the best classes, and how long it takes.

use std::ops::Range;

#[cfg(feature = "burn")]
use burn::tensor::Tensor;

use super::frozen::compiled;
use super::on_device::Model;
#[cfg(feature = "burn")]
use super::ready::read;
use super::ready::{Compiled, numbers};
#[cfg(feature = "burn")]
use crate::compiled::Adapter;
use crate::compiled::{Processor, fuse, lower};
use crate::device::DeviceError;
#[cfg(feature = "burn")]
use crate::device::is_processor;
use crate::graph::Graph;
use crate::image::RgbImage;
use crate::postprocess::{Prediction, top_k};
use crate::program::{Program, Timing};

impl Model {
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

    pub(super) fn best(&self, logits: Vec<Vec<f32>>, k: usize) -> Vec<Vec<Prediction>> {
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

    /// Logits of images that lie on the model's adapter, normalised; read back, with the head's lift taken off.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`
    ///
    /// # Errors
    ///
    /// When the device fails, or the network's numbers run over.
    ///
    /// # Panics
    ///
    /// On the processor, which takes pixels.
    #[cfg(feature = "burn")]
    pub async fn logits_of(&self, images: Tensor<4>) -> Result<Vec<Vec<f32>>, DeviceError> {
        let Compiled::Adapter(adapter) = self.to_logits()? else {
            panic!("images lie on an adapter")
        };
        let [count, ..] = images.dims();
        let each = adapter.images_at_once();
        let some = (0..count).step_by(each).map(|first| {
            let images = images.clone();
            images.narrow(0, first, each.min(count - first))
        });
        let logits = read(adapter, some).await?;
        self.lowered(logits)
    }

    /// Rows of logits, the head's lift taken off.
    pub(super) fn lowered(&self, mut logits: Vec<f32>) -> Result<Vec<Vec<f32>>, DeviceError> {
        let (lift, classes) = (self.card.lift(), self.card.classes.len());
        logits.iter_mut().for_each(|logit| *logit -= lift);
        let images = logits.len() / classes;
        let logits = numbers(logits, images)?;
        Ok(logits.chunks(classes).map(<[f32]>::to_vec).collect())
    }

    /// The network to its pooled features, compiled now if this is the first question.
    pub(super) fn to_features(&self) -> Result<&Compiled, DeviceError> {
        compiled(&self.frozen.features, || {
            let features = self.graph().value("features");
            let features = features.ok_or(DeviceError::execution("it has no pooled features"))?;
            self.compile_like(self.graph(), features, None)
        })
    }

    /// The network to its logits, the head's lift still on them, likewise.
    pub(super) fn to_logits(&self) -> Result<&Compiled, DeviceError> {
        compiled(&self.frozen.logits, || {
            let graph = self.graph();
            self.compile_like(graph, graph.output(), None)
        })
    }

    /// What puts out a value of the network's graph at some size of pictures. Weights that a `sibling`, compiled
    /// for another size, has packed already are shared with it.
    pub(super) fn compile_like(
        &self,
        graph: &Graph,
        wanted: usize,
        sibling: Option<&Compiled>,
    ) -> Result<Compiled, DeviceError> {
        let tensors = self.state_dict();
        let program = lower(graph, &tensors, &[wanted]).map_err(DeviceError::execution)?;
        Ok(self.placed(program, sibling))
    }

    /// What a compiled network says of some crops.
    pub(super) async fn ask(
        &self,
        compiled: &Compiled,
        crops: &[RgbImage],
    ) -> Result<Vec<f32>, DeviceError> {
        let said = match compiled {
            Compiled::Processor(processor) => {
                let write = |some: Range<usize>, images: &mut [f32]| {
                    self.normalised(&crops[some], images);
                };
                processor.run(crops.len(), write).remove(0)
            }
            #[cfg(feature = "burn")]
            Compiled::Adapter(adapter) => {
                let some = crops.chunks(adapter.images_at_once());
                read(adapter, some.map(|crops| self.batch(crops))).await?
            }
        };
        numbers(said, crops.len())
    }

    /// The program with its numbers where the model's device wants them.
    fn placed(&self, program: Program<'_>, sibling: Option<&Compiled>) -> Compiled {
        let program = fuse(program);
        #[cfg(feature = "burn")]
        if !is_processor(&self.device) {
            let precision = self.frozen.precision();
            let sibling = match sibling {
                Some(Compiled::Adapter(adapter)) => Some(adapter),
                _ => None,
            };
            let adapter = Adapter::like(program, &self.device, precision, sibling);
            return Compiled::Adapter(adapter);
        }
        let sibling = match sibling {
            Some(Compiled::Processor(processor)) => Some(processor),
            _ => None,
        };
        Compiled::Processor(Processor::like(program, sibling))
    }

    /// Multiply-adds that the compiled network carries out for one image: fewer than it is made of where
    /// convolutions are done by Winograd's method.
    ///
    /// # Errors
    ///
    /// When the network cannot be compiled for the device.
    pub fn multiply_adds(&self) -> Result<u64, DeviceError> {
        Ok(match self.to_logits()? {
            Compiled::Processor(processor) => processor.multiply_adds(),
            #[cfg(feature = "burn")]
            Compiled::Adapter(adapter) => adapter.multiply_adds(),
        })
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
        match self.to_logits()? {
            Compiled::Processor(processor) => {
                let write = |images: &mut [f32]| self.normalised(crops, images);
                Ok(processor.profile(crops.len(), write, clock))
            }
            #[cfg(feature = "burn")]
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
