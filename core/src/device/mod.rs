//! Where the work runs: a graphics adapter through WebGPU, or the processor.
//!
//! [`open`] honours a [`Preference`], checks that what it opened computes correctly
//! ([`self_test()`]), and says what it is. "Auto" takes a real GPU if there is one, otherwise the
//! processor; a software adapter is used only when asked for, because it is slower than the
//! processor's own path. Without the feature `burn` there is only the processor.

mod error;
#[cfg(feature = "burn")]
mod graphics;
mod opened;
mod preference;
mod probe;
#[cfg(feature = "burn")]
mod self_test;
#[cfg(feature = "burn")]
mod yardstick;

pub use error::DeviceError;
#[cfg(all(feature = "burn", not(target_family = "wasm")))]
pub use graphics::adapters;
#[cfg(feature = "burn")]
pub use graphics::shares_memory;
#[cfg(feature = "burn")]
pub(crate) use graphics::{ran_out, recover};
#[cfg(not(feature = "burn"))]
pub use opened::Device;
pub(crate) use opened::has_half;
#[cfg(feature = "burn")]
pub use opened::is_processor;
#[cfg(feature = "burn")]
pub(crate) use opened::processor;
pub use opened::{DeviceClass, DeviceInfo, OpenDevice, cpu};
pub use preference::Preference;
pub use probe::{AdapterInfo, AdapterKind, Limits, Tier};
#[cfg(feature = "burn")]
pub use self_test::{SelfTest, self_test};
#[cfg(feature = "burn")]
pub use yardstick::{Measure, Yardstick};

#[cfg(feature = "burn")]
pub use burn::tensor::Device;
/// The graphics interface beneath, for whoever fills a [`Frame`](crate::kernels::Frame).
#[cfg(feature = "burn")]
pub use burn::tensor::wgpu::wgpu;

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
