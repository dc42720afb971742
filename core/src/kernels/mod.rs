//! Our own kernels. Each has two implementations: WGSL for graphics adapters, and plain tensor operations for the
//! processor. Nobody above this folder needs to know which one ran.
//!
//! A kernel is an extension of Burn's backends. Its trait's default body is the processor's implementation (and the
//! truth in tests); CubeCL's backend overrides it by launching a shader. This folder is the only place that may speak
//! to CubeCL.
//!
//! [`conv2d`], [`conv_transpose2d`], [`batch_norm_by_batch`], [`group_norm()`] and [`resize()`] take maps channels first and have
//! gradients, as [`linear`] has. The others, and what is called `Frozen` or `frozen`, serve compiled networks: channels last, in 32 or
//! 16 bits, without gradients. `compute` and `square_sum` serve optimisers.

mod adapter;
mod augment;
mod batch_norm;
pub(crate) mod choice;
mod conv;
mod conv_transpose;
mod formula;
mod frame;
mod fused;
mod group_norm;
mod launch;
mod maps;
mod moves;
mod peak;
mod pixels;
mod resize;
mod slices;
#[cfg(test)]
mod tests;
mod tokens;
mod watch;
pub(crate) mod way_back;

use std::sync::atomic::{AtomicBool, Ordering};

pub use augment::{made_views, makes_views, share_of_upload};
pub use batch_norm::{BatchNormalised, batch_norm_by_batch};
pub use conv::{conv_options, conv2d, linear, plus_bias};
pub use conv_transpose::{FrozenConvTranspose, conv_transpose_options, conv_transpose2d};
pub(crate) use formula::{compute, square_sum};
pub use frame::Frame;
pub use fused::{FrozenConv, matmul};
pub use group_norm::group_norm;
pub use maps::{
    activate, add, affine, avg_pool, frozen_group_norm, frozen_resize, gate, global_average,
    max_pool,
};
pub use moves::{ScoreTerms, after_token, attention_in_steps, picked, shuffled};
pub use peak::multiply_adds;
pub use pixels::of_frame;
pub use pixels::{normalise, views};
pub use resize::resize;
pub(crate) use slices::{compute_by_block, part_of, put, put_more};
pub use tokens::{attention, layer_norm};
pub use watch::{Launched, Watch};

static SWITCHED_OFF: AtomicBool = AtomicBool::new(false);

/// Whether adapters run our kernels, as they do from the start, or Burn's own, which are slower and
/// another pair of eyes: for benchmarks, and for whoever suspects a kernel.
pub fn switch(on: bool) {
    SWITCHED_OFF.store(!on, Ordering::Relaxed);
}

/// Whether adapters run our kernels now.
pub(crate) fn are_switched_on() -> bool {
    !SWITCHED_OFF.load(Ordering::Relaxed)
}
