//! The WGSL kernels of Rekindle, as text.
//!
//! This crate knows nothing of Burn or of any device: it hands out sources, and its tests parse,
//! validate and translate every one of them with naga, so that a plain `cargo test` catches a broken
//! shader without a GPU. Each file says what it computes, how it is tiled, its limits, and the bytes
//! and operations it costs.
//!
//! An operation is a plain description of its shape. Together with a [`Tier`] it makes a
//! [`Kernel`]: text specialised for the shape, and the number of workgroups to dispatch. Equal
//! descriptions make equal texts. Maps are channels last, sizes are constants of the text or, on software
//! adapters, numbers in a buffer of their own, and buffers may be longer than needed.

mod attention;
mod augment;
mod batch_norm;
mod conv;
mod depthwise;
mod depthwise_weight_gradient;
mod elementwise;
mod epilogue;
mod formula;
mod frozen_norm;
mod group_norm;
mod kernel;
mod matmul;
mod norm;
mod peak;
mod pixels;
mod pool;
mod product;
mod resize;
mod rows;
mod squares;
mod sums;
mod text;
mod weight_gradient;
mod window;
mod winograd;

pub use attention::Attention;
pub use augment::{Painting, Pictures};
pub use batch_norm::{BatchNormGradient, BatchNormTrain, ChannelProducts};
pub use conv::{Conv, ConvDataGradient};
pub use depthwise::{Depthwise, DepthwiseDataGradient};
pub use depthwise_weight_gradient::DepthwiseWeightGradient;
pub use elementwise::{ActivationGradient, Change, Elementwise};
pub use epilogue::{Activation, Epilogue};
pub use formula::{Formula, Term};
pub use frozen_norm::FrozenNorm;
pub use group_norm::{GroupNorm, GroupNormGradient};
pub use kernel::{Kernel, Storage, Tier};
pub use matmul::MatMul;
pub use peak::Peak;
pub use pixels::{PixelView, Pixels};
pub use pool::{AvgPool, GlobalAvgPool, MaxPool, PoolGradient};
pub use resize::{Filter, Resize, ResizeGradient};
pub use rows::{LayerNorm, LayerNormGradient, Softmax, SoftmaxGradient};
pub use squares::SquareSums;
pub use sums::ColumnSums;
pub use weight_gradient::ConvWeightGradient;
pub use window::{Side, Window};
pub use winograd::Winograd;
