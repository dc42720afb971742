//! A device that is ready for work, and what it is; the processor always is.

#[cfg(feature = "burn")]
use burn::tensor::Device;
#[cfg(feature = "burn")]
use burn::tensor::wgpu::wgpu;
use serde::Serialize;

use super::probe::AdapterInfo;
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
pub fn is_processor(device: &Device) -> bool {
    *device == processor()
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
    pub(super) graphics: Option<(wgpu::Device, wgpu::Queue)>,
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
