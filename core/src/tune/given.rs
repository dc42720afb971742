//! What a training is fed: a value of the network for some images, from main memory or where the device has it.

#[cfg(feature = "burn")]
use burn::tensor::Tensor;

#[cfg(feature = "burn")]
use crate::device::Device;
#[cfg(feature = "burn")]
use crate::network::Batch;

/// A batch: a value of the network, and what it is for some images.
#[derive(Debug, Clone)]
pub struct Given {
    /// Which value: 0 is the image, a stage's output where what lies before it is frozen.
    pub value: usize,
    /// What it is.
    pub numbers: Held,
}

/// Numbers, where they lie.
#[derive(Debug, Clone)]
pub enum Held {
    /// In main memory, row-major: `[N, C, H, W]`, `[N, T, C]` or `[N, F]`.
    Host(Vec<f32>),
    /// On a device.
    #[cfg(feature = "burn")]
    Device(Batch),
}

impl Given {
    /// A value of some images from main memory.
    ///
    /// # Shapes
    ///
    /// - numbers: `[N, …]`, row-major, each image in the value's own shape
    pub fn rows(value: usize, numbers: Vec<f32>) -> Self {
        Self {
            value,
            numbers: Held::Host(numbers),
        }
    }

    /// A value of some images on a device.
    #[cfg(feature = "burn")]
    pub fn on_device(value: usize, batch: Batch) -> Self {
        Self {
            value,
            numbers: Held::Device(batch),
        }
    }

    /// Images on a device, normalised.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`
    #[cfg(feature = "burn")]
    pub fn images(images: Tensor<4>) -> Self {
        Self::on_device(0, Batch::Maps(images))
    }
}

impl Held {
    /// The numbers in main memory: those on a device are the processor's.
    pub(super) fn host(self) -> Vec<f32> {
        match self {
            Self::Host(numbers) => numbers,
            #[cfg(feature = "burn")]
            Self::Device(batch) => match batch.flatten().into_data().try_into_vec() {
                Ok(numbers) => numbers,
                Err(error) => unreachable!("a batch on the processor is f32: {error:?}"),
            },
        }
    }

    /// The numbers on a device, each image in this shape.
    #[cfg(feature = "burn")]
    pub(super) fn on(self, device: &Device, shape: &[usize]) -> Batch {
        match self {
            Self::Host(numbers) => Batch::of_rows(numbers, shape, device),
            Self::Device(batch) => batch,
        }
    }
}
