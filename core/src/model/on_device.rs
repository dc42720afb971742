//! A network on a device, with what it has been compiled to there.

use std::ops::{Deref, DerefMut};
#[cfg(feature = "burn")]
use std::sync::{Arc, OnceLock};

use rekindle_networks::model::{Contents, ModelError};

use super::frozen::Frozen;
use crate::backbone::{Architecture, PretrainedWeights};
use crate::compiled::Precision;
use crate::device::{self, Device, DeviceError};
use crate::head::HeadKind;
#[cfg(feature = "burn")]
use crate::network::Network;
use crate::weights::{TensorSource, Tensors};

/// The network on the device, step by step. A model that only answers never needs it: it is compiled. Training
/// does, and whoever asks for inner values.
#[cfg(feature = "burn")]
pub(super) type Steps = Arc<OnceLock<Network>>;

/// A classifier, whole: photo in, answer out. It is what a model file holds, on a device.
#[derive(Debug, Clone)]
pub struct Model {
    contents: Contents,
    pub(super) device: Device,
    pub(super) frozen: Frozen,
    #[cfg(feature = "burn")]
    pub(super) steps: Steps,
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

    /// The same network with other numbers, as [`Contents::with_tensors`].
    ///
    /// # Panics
    ///
    /// As there.
    pub fn with_tensors(&self, tensors: &Tensors) -> Self {
        Self {
            contents: self.contents.with_tensors(tensors),
            device: self.device.clone(),
            frozen: Frozen::of(self.frozen.precision()),
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
}
