//! Our own kernels, each in two tellings: WGSL for graphics adapters and plain tensor operations for
//! the processor. Nobody above this folder needs to know which one ran.
//!
//! A kernel is an extension of Burn's backends. Its trait's default body is the processor's telling
//! (and the truth in tests); CubeCL's backend overrides it by launching a shader. This folder is the
//! only place that may speak to CubeCL.

mod adapter;
mod conv;
mod fused;
mod launch;
mod normalise;

pub use conv::conv2d;
pub use fused::conv_fused;
pub use normalise::normalise;
