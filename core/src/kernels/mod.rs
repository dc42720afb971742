//! Our own kernels, each in two tellings: WGSL for graphics adapters and plain tensor operations for
//! the processor. Nobody above this folder needs to know which one ran.
//!
//! A kernel is an extension of Burn's backends. Its trait's default body is the processor's telling
//! (and the truth in tests); CubeCL's backend overrides it by launching a shader. This folder is the
//! only place that may speak to CubeCL, and without the feature `gpu` nothing in it does.

#[cfg(feature = "gpu")]
mod adapter;
mod batch_norm;
pub(crate) mod choice;
mod conv;
#[cfg(feature = "gpu")]
mod frame;
#[cfg(feature = "gpu")]
mod fused;
#[cfg(feature = "gpu")]
mod launch;
#[cfg(feature = "gpu")]
mod maps;
mod pixels;
#[cfg(all(test, feature = "gpu"))]
mod tests;
#[cfg(feature = "gpu")]
mod tokens;
mod upsample;

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{DType, Device};

pub use batch_norm::batch_norm_train;
pub use conv::conv2d;
#[cfg(feature = "gpu")]
pub use frame::Frame;
#[cfg(feature = "gpu")]
pub use fused::{FrozenConv, matmul};
#[cfg(feature = "gpu")]
pub use maps::{activate, add, affine, avg_pool, gate, global_average, max_pool};
#[cfg(feature = "gpu")]
pub use pixels::of_frame;
pub use pixels::{normalise, views};
#[cfg(feature = "gpu")]
pub use tokens::{attention, layer_norm};
pub use upsample::upsample_bilinear;

static SWITCHED_OFF: AtomicBool = AtomicBool::new(false);

/// Whether adapters run our kernels, as they do from the start, or Burn's own, which are slower and
/// another pair of eyes: for benchmarks, and for whoever suspects a kernel.
pub fn switch(on: bool) {
    SWITCHED_OFF.store(!on, Ordering::Relaxed);
}

/// Whether our kernels may keep numbers in 16 bits on this device.
pub(crate) fn has_half(device: &Device) -> bool {
    *device != Device::flex() && device.supports_dtype(DType::F16)
}

#[cfg(feature = "gpu")]
fn are_switched_on() -> bool {
    !SWITCHED_OFF.load(Ordering::Relaxed)
}
