//! Where the work runs: a graphics adapter through WebGPU, or the processor.
//!
//! [`open`] honours a [`Preference`], checks that what it opened computes correctly
//! ([`self_test()`]), and says what it is. "Auto" takes a real GPU if there is one, otherwise the
//! processor; a software adapter is used only when asked for, because it is slower than the
//! processor's own path. Without the feature `burn` there is only the processor.

#[cfg(feature = "burn")]
mod graphics;
mod probe;
#[cfg(feature = "burn")]
mod self_test;
#[cfg(feature = "burn")]
mod yardstick;

#[cfg(all(feature = "burn", not(target_family = "wasm")))]
pub use graphics::adapters;
pub use probe::{AdapterInfo, AdapterKind, Limits, Tier};
#[cfg(feature = "burn")]
pub use self_test::{SelfTest, self_test};
#[cfg(feature = "burn")]
pub use yardstick::{Measure, Yardstick};

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "burn")]
pub use burn::tensor::Device;
/// The graphics interface beneath, for whoever fills a [`Frame`].
#[cfg(feature = "burn")]
pub use burn::tensor::wgpu::wgpu;
use serde::Serialize;
use thiserror::Error;

#[cfg(feature = "burn")]
use crate::kernels::Frame;

/// The processor: without the feature `burn` there is no other.
#[cfg(not(feature = "burn"))]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device;

/// The processor: Burn's backend of that name, where there is Burn. Networks do not run on it step by step,
/// unless they are trained or somebody asks for it; frozen ones are compiled for `rekindle-cpu`.
pub(crate) fn processor() -> Device {
    #[cfg(feature = "burn")]
    return Device::flex();
    #[cfg(not(feature = "burn"))]
    Device
}

/// Whether a device is the processor.
pub(crate) fn is_processor(device: &Device) -> bool {
    *device == processor()
}

/// Which device a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    /// A real GPU if there is one, otherwise the processor.
    #[default]
    Auto,
    /// The processor, with SIMD and threads.
    Cpu,
    /// A real GPU, by its number among them; the first when none is given.
    Gpu(Option<usize>),
    /// A software adapter (lavapipe, WARP, SwiftShader): slow, for tests.
    Software,
}

impl FromStr for Preference {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu(None)),
            "software" => Ok(Self::Software),
            other => other
                .strip_prefix("gpu:")
                .and_then(|n| n.parse().ok())
                .map(|n| Self::Gpu(Some(n)))
                .ok_or_else(|| DeviceError::UnknownPreference(other.to_owned())),
        }
    }
}

/// As it is typed.
impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(None) => f.write_str("gpu"),
            Self::Gpu(Some(number)) => write!(f, "gpu:{number}"),
            Self::Software => f.write_str("software"),
        }
    }
}

/// A device that is ready for work.
#[derive(Debug, Clone)]
pub struct OpenDevice {
    /// Where tensors are put.
    pub device: Device,
    /// What it is.
    pub info: DeviceInfo,
    /// wgpu's own device and queue; the processor has none.
    #[cfg(feature = "burn")]
    graphics: Option<(wgpu::Device, wgpu::Queue)>,
}

#[cfg(feature = "burn")]
impl OpenDevice {
    /// A place on the adapter for a picture of this size; `None` on the processor, and where it is larger than
    /// the adapter's textures.
    pub fn frame(&self, width: u32, height: u32) -> Option<Frame> {
        let (device, queue) = self.graphics.as_ref()?;
        Frame::new(device, queue, width, height)
    }
}

/// What a device is, for people and manifests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceInfo {
    /// What sort of device.
    pub kind: DeviceClass,
    /// Its name as the driver gives it.
    pub name: String,
    /// The adapter behind it; the processor has none.
    pub adapter: Option<AdapterInfo>,
}

/// The sorts of device there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceClass {
    /// The processor.
    Cpu,
    /// A real graphics adapter.
    Gpu,
    /// A graphics adapter made of software.
    Software,
}

/// Why no device could be had, or why one failed.
#[derive(Debug, Clone, Error)]
pub enum DeviceError {
    /// A word that names no device.
    #[error("'{0}' names no device: say auto, cpu, gpu, gpu:N or software")]
    UnknownPreference(String),
    /// A GPU was asked for and there is none.
    #[error("there is no {wanted} here (found: {found})")]
    NotFound {
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// A GPU was asked for and this build has none of what drives it.
    #[error("this build has no graphics support")]
    NoGraphics,
    /// The driver refused.
    #[error("the graphics adapter could not be opened: {0}")]
    Open(String),
    /// The device computes wrongly.
    #[error(
        "{device} computes wrongly: its {operation} is off by {error:.1e} (allowed {allowed:.0e}); use --device cpu"
    )]
    Wrong {
        /// The device's name.
        device: String,
        /// Which operation.
        operation: &'static str,
        /// The relative error seen.
        error: f32,
        /// The relative error allowed.
        allowed: f32,
    },
    /// Half precision was asked for.
    #[error(
        "this device has no half-precision floats (WebGPU's shader-f16); leave --precision at full"
    )]
    NoHalf,
    /// A tensor that no buffer of the device can hold.
    #[error(
        "the device has no buffer of {} MiB: take fewer images at a time, or smaller ones",
        .bytes.div_ceil(1 << 20)
    )]
    TooLarge {
        /// Its bytes.
        bytes: u64,
    },
    /// A network's numbers ran over on the way, so that there is no answer.
    #[error("the network gives {found} instead of an answer: its numbers run over")]
    NotFinite {
        /// NaN or an infinity.
        found: &'static str,
        /// Which of the images that were asked about: the first of which this is true.
        image: usize,
    },
    /// The device failed while it worked: lost, or out of memory.
    #[error("the device failed: {0}")]
    Execution(String),
}

impl DeviceError {
    /// From what Burn says of a failure. It has no kind for buffers that are too large, only the words of
    /// CubeCL's `BufferTooBig` at the end of a chain.
    pub fn execution(error: impl fmt::Display) -> Self {
        let text = error.to_string();
        let refused = text.split_once("can't allocate buffer of size: ");
        let bytes = refused.and_then(|(_, rest)| rest.lines().next()?.trim().parse().ok());
        match bytes {
            Some(bytes) => Self::TooLarge { bytes },
            None => Self::Execution(text),
        }
    }
}

/// The processor.
pub fn cpu() -> OpenDevice {
    OpenDevice {
        device: processor(),
        info: DeviceInfo {
            kind: DeviceClass::Cpu,
            name: "processor".to_owned(),
            adapter: None,
        },
        #[cfg(feature = "burn")]
        graphics: None,
    }
}

/// Whether the device may keep a frozen network's numbers in 16 bits.
pub(crate) fn has_half(device: &Device) -> bool {
    #[cfg(feature = "burn")]
    return !is_processor(device) && device.supports_dtype(burn::tensor::DType::F16);
    #[cfg(not(feature = "burn"))]
    !is_processor(device)
}

/// Opens a device, and makes sure that it computes correctly.
///
/// A device opened before is handed out again.
///
/// # Errors
///
/// When there is no such device, the driver refuses, or the self-test fails.
pub async fn open(preference: Preference) -> Result<OpenDevice, DeviceError> {
    #[cfg(feature = "burn")]
    if let Some(adapter) = graphics::open(preference).await? {
        return Ok(adapter);
    }
    #[cfg(not(feature = "burn"))]
    if matches!(preference, Preference::Gpu(_) | Preference::Software) {
        return Err(DeviceError::NoGraphics);
    }
    Ok(cpu())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_is_too_large_is_told_by_its_size() {
        let chain =
            "An IO error happened\nCaused by:\n  can't allocate buffer of size: 157286400\n\n";
        let error = DeviceError::execution(chain);
        assert!(error.to_string().contains("150 MiB"), "{error}");
        let other = DeviceError::execution("lost");
        assert_eq!(other.to_string(), "the device failed: lost");
    }

    #[test]
    fn preferences_are_read_as_people_write_them() {
        assert_eq!(
            "gpu:1".parse::<Preference>().unwrap(),
            Preference::Gpu(Some(1))
        );
        assert_eq!("gpu".parse::<Preference>().unwrap(), Preference::Gpu(None));
        assert_eq!(
            "software".parse::<Preference>().unwrap(),
            Preference::Software
        );
        for wrong in ["", "cuda", "gpu:", "gpu:x", "gpu:-1"] {
            assert!(wrong.parse::<Preference>().is_err(), "{wrong}");
        }
    }
}
