//! The processor's kernels for networks, frozen or in training: f32, channels last, on slices.
//!
//! Weights are packed in the order in which the microkernel reads them, once or, in training, in each step; maps are read where they lie. What instructions the processor has is found
//! out when weights are packed or a kernel is called, never in an inner loop. [`Matrix`], [`gram`], [`Centred`] and
//! the products in f64 serve the solver of linear heads.
//!
//! From the outside in: [`Conv`] and [`Linear`] choose an algorithm by shape, the dense ones are matrix
//! products over rows given by pointers, and those are tiles held in registers.

mod activation;
mod arena;
mod attention;
mod attention_slopes;
mod batch_norm;
mod centred;
mod column_sums;
mod columns;
mod conv;
mod dense;
mod depthwise;
mod depthwise_gradient;
mod depthwise_transposed;
mod derivative;
mod elementwise;
mod exact;
mod gemm;
mod geometry;
mod grid;
mod group_norm;
mod inner;
mod matrix;
mod memory;
mod norm;
mod outer;
mod peak;
mod pool;
mod pool_slopes;
mod resize;
mod rows;
mod simd;
mod slope;
mod source;
mod strips;
#[cfg(not(target_family = "wasm"))]
mod team;
mod threads;
mod tile;
mod transposed;
mod view;
mod weight_gradient;
mod winograd;

#[cfg(test)]
mod tests;

pub use activation::Activation;
pub use arena::{Arena, Loan};
pub use attention::{AttentionShape, attention};
pub use attention_slopes::attention_slopes;
pub use batch_norm::{BatchNorm, batch_norm, batch_norm_slopes, moments};
pub use centred::{Centre, Centred};
pub use column_sums::column_sums;
pub use columns::AffineSlopes;
pub use conv::{Conv, Linear};
pub use elementwise::{activate, activate_in_place, add, affine, copy, gate, normalise};
pub use exact::{exact_logits, exact_moments, exact_sums};
pub use geometry::{ConvGeometry, Weights};
pub use group_norm::group_norm;
pub use matrix::{Matrix, gram, row_products};
pub use memory::Lines;
pub use norm::{layer_norm, layer_norm_slopes};
pub use peak::multiply_adds;
pub use pool::{Pool, adaptive_avg_pool, avg_pool, max_pool};
pub use pool_slopes::{adaptive_avg_pool_slopes, avg_pool_slopes, max_pool_slopes};
pub use resize::{Filter, nearest, resize};
pub use rows::Rows;
pub use slope::{accumulate, affine_slopes, gate_slopes, multiply, scale_images, through};
pub use threads::parallel;
pub use transposed::ConvTranspose;
pub use view::{View, ViewMut};
pub use weight_gradient::weight_gradient;
