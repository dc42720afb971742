//! A network compiled and ready on its device, and how its numbers are read back.

#[cfg(feature = "burn")]
use burn::tensor::Tensor;

#[cfg(feature = "burn")]
use crate::compiled::Adapter;
use crate::compiled::Processor;
use crate::device::DeviceError;
#[cfg(test)]
use crate::program::Program;
use crate::weights::first_strange;

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
