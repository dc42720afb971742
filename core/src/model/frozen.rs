//! A model compiled for its device: made at the first question, kept for the others.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

#[cfg(feature = "burn")]
use burn::tensor::Tensor;

use super::Model;
use super::segment::Sizes;
#[cfg(feature = "burn")]
use crate::compiled::Adapter;
use crate::compiled::{Precision, Processor, fuse, lower};
use crate::device::DeviceError;
#[cfg(feature = "burn")]
use crate::device::is_processor;
use crate::graph::Graph;
use crate::image::RgbImage;
use crate::program::{Program, Timing};
use crate::weights::first_strange;

/// What a model has been compiled to so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Frozen {
    precision: Precision,
    features: Arc<OnceLock<Compiled>>,
    logits: Arc<OnceLock<Compiled>>,
    /// To the logits, for pictures of some sizes.
    pub sizes: Sizes,
}

/// A program, ready for the device.
#[derive(Debug)]
pub(super) enum Compiled {
    Processor(Processor),
    #[cfg(feature = "burn")]
    Adapter(Adapter),
}

impl Compiled {
    /// Whether the device can hold what is made of one image.
    pub fn fits(&self) -> bool {
        match self {
            Self::Processor(_) => true,
            #[cfg(feature = "burn")]
            Self::Adapter(adapter) => adapter.fits(),
        }
    }

    /// Frees what is kept between runs to be used again.
    pub fn rest(&self) {
        match self {
            Self::Processor(processor) => processor.rest(),
            // The device's own pool is shared by all that runs there.
            #[cfg(feature = "burn")]
            Self::Adapter(_) => {}
        }
    }
}

#[cfg(test)]
impl Compiled {
    /// What computes nothing: it puts out its image.
    pub fn nothing() -> Self {
        let shape = crate::program::Shape {
            rows: 1,
            columns: 1,
            channels: 1,
        };
        let program = Program {
            shapes: vec![shape],
            steps: Vec::new(),
            outputs: vec![0],
        };
        Self::Processor(Processor::new(program))
    }
}

impl Frozen {
    /// What stays true under another head.
    pub fn without_head(&self) -> Self {
        Self {
            precision: self.precision,
            features: Arc::clone(&self.features),
            logits: Arc::default(),
            sizes: Sizes::default(),
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

/// What `kept` holds, or else what is made now.
fn compiled(
    kept: &OnceLock<Compiled>,
    make: impl FnOnce() -> Result<Compiled, DeviceError>,
) -> Result<&Compiled, DeviceError> {
    match kept.get() {
        Some(compiled) => Ok(compiled),
        None => {
            let compiled = make()?;
            Ok(kept.get_or_init(|| compiled))
        }
    }
}

/// What a network put out for some images, if all of it is numbers. Weights that are numbers may still be so
/// large that sums run over, in 16 bits sooner; from there on NaN and infinities go through to the end, where
/// they would pass for an answer.
pub(super) fn numbers(values: Vec<f32>, images: usize) -> Result<Vec<f32>, DeviceError> {
    match first_strange(&values) {
        None => Ok(values),
        Some((index, found)) => Err(DeviceError::NotFinite {
            found,
            image: index / (values.len() / images.max(1)).max(1),
        }),
    }
}

/// What an adapter puts out for batches one after the other, on the host.
#[cfg(feature = "burn")]
pub(super) async fn read(
    adapter: &Adapter,
    batches: impl Iterator<Item = Tensor<4>>,
) -> Result<Vec<f32>, DeviceError> {
    let outputs = batches.map(|batch| adapter.run(batch.permute([0, 2, 3, 1])).remove(0));
    let outputs: Vec<_> = outputs.collect();
    if outputs.is_empty() {
        return Ok(Vec::new());
    }
    let data = Tensor::cat(outputs, 0).into_data_async().await;
    Ok(data
        .map_err(DeviceError::execution)?
        .iter::<f32>()
        .collect())
}

impl Model {
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
            let precision = self.frozen.precision;
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
