//! What compiled networks do with maps beside convolution: pools, sums, gates, factors. Channels last.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use burn_cubecl::Cube;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use rekindle_shaders::{AvgPool, Change, Elementwise, GlobalAvgPool, MaxPool, Side, Window};

use super::adapter::{output, storage, tier};
use super::choice::named;
use super::fused::activated;
use super::group_norm;
use super::launch::{launch, made_one};
use super::resize;
use crate::graph::{Nonlinearity, Pool, Resample};

/// The largest number of each window.
///
/// # Shapes
///
/// - x: `[N, H, W, C]`
/// - size: rows and columns that come out
/// - returns: `[N, rows, columns, C]`
pub fn max_pool(x: Tensor<4>, pool: Pool, size: [usize; 2]) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::max_pool(x.into_dispatch(), pool, size))
}

/// The mean of each window; padding counts as zeros.
///
/// # Shapes
///
/// As [`max_pool`].
pub fn avg_pool(x: Tensor<4>, pool: Pool, size: [usize; 2]) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::avg_pool(x.into_dispatch(), pool, size))
}

/// The mean of each map.
///
/// # Shapes
///
/// - x: `[N, H, W, C]`
/// - returns: `[N, 1, 1, C]`
pub fn global_average(x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::global_average(x.into_dispatch()))
}

/// `activation(x + y)`, of equal shapes.
pub fn add(x: Tensor<4>, y: Tensor<4>, activation: Option<Nonlinearity>) -> Tensor<4> {
    let (x, y) = (x.into_dispatch(), y.into_dispatch());
    Tensor::from_dispatch(Dispatch::add(x, y, activation))
}

/// `activation(x · scale + shift)`.
///
/// # Shapes
///
/// - x: `[N, H, W, C]`
/// - scale, shift: `[C]`
pub fn affine(
    x: Tensor<4>,
    scale: Tensor<1>,
    shift: Tensor<1>,
    activation: Option<Nonlinearity>,
) -> Tensor<4> {
    let (scale, shift) = (scale.into_dispatch(), shift.into_dispatch());
    Tensor::from_dispatch(Dispatch::affine(
        x.into_dispatch(),
        scale,
        shift,
        activation,
    ))
}

/// Maps times a gate: one number a channel, one a position, or as many as there are.
///
/// # Shapes
///
/// - x: `[N, H, W, C]`
/// - gate: `[N, 1, 1, C]`, `[N, H, W, 1]` or `[N, H, W, C]`
pub fn gate(x: Tensor<4>, gate: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::gate(x.into_dispatch(), gate.into_dispatch()))
}

/// An elementwise function.
pub fn activate(x: Tensor<4>, activation: Option<Nonlinearity>) -> Tensor<4> {
    match activation {
        None => x,
        Some(_) => Tensor::from_dispatch(Dispatch::activate(x.into_dispatch(), activation)),
    }
}

/// `activation(group_norm(x))`; see [`group_norm`](super::group_norm()).
///
/// # Shapes
///
/// - x: `[N, H, W, C]`, C a multiple of `groups`
/// - gamma, beta: `[C]`
pub fn frozen_group_norm(
    x: Tensor<4>,
    groups: usize,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    activation: Option<Nonlinearity>,
) -> Tensor<4> {
    let (x, gamma, beta) = (
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
    );
    let made = Dispatch::group_norm_last(x, groups, gamma, beta, epsilon, activation);
    Tensor::from_dispatch(made)
}

/// Maps resized to `size` rows and columns; see [`resize`](super::resize()).
///
/// # Shapes
///
/// - x: `[N, H, W, C]`
/// - returns: `[N, size[0], size[1], C]`
pub fn frozen_resize(x: Tensor<4>, size: [usize; 2], filter: Resample) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::resize_last(x.into_dispatch(), size, filter))
}

/// The operations, for each backend. Their defaults are the processor's.
#[backend_extension(Cube, Flex)]
pub(crate) trait MapOps: Backend {
    fn max_pool(x: FloatTensor<Self>, pool: Pool, _size: [usize; 2]) -> FloatTensor<Self> {
        let x = Self::float_permute(x, &[0, 3, 1, 2]);
        let (kernel, stride) = ([pool.kernel; 2], [pool.stride; 2]);
        let pooled = Self::max_pool2d(x, kernel, stride, [pool.padding; 2], [1, 1], pool.ceil);
        Self::float_permute(pooled, &[0, 2, 3, 1])
    }

    fn avg_pool(x: FloatTensor<Self>, pool: Pool, _size: [usize; 2]) -> FloatTensor<Self> {
        let x = Self::float_permute(x, &[0, 3, 1, 2]);
        let (kernel, stride) = ([pool.kernel; 2], [pool.stride; 2]);
        let pooled = Self::avg_pool2d(x, kernel, stride, [pool.padding; 2], true, pool.ceil);
        Self::float_permute(pooled, &[0, 2, 3, 1])
    }

    fn global_average(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let [n, rows, columns, channels] = x.shape().dims();
        let x = Self::float_reshape(x, Shape::new([n, rows * columns, channels]));
        Self::float_reshape(Self::float_mean_dim(x, 1), Shape::new([n, 1, 1, channels]))
    }

    fn add(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        activated::<Self>(Self::float_add(x, y), activation)
    }

    fn affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        let [channels] = scale.shape().dims();
        let wide = |vector| Self::float_reshape(vector, Shape::new([1, 1, 1, channels]));
        let scaled = Self::float_mul(x, wide(scale));
        activated::<Self>(Self::float_add(scaled, wide(shift)), activation)
    }

    fn gate(x: FloatTensor<Self>, gate: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_mul(x, gate)
    }

    fn activate(x: FloatTensor<Self>, activation: Option<Nonlinearity>) -> FloatTensor<Self> {
        activated::<Self>(x, activation)
    }

    fn group_norm_last(
        x: FloatTensor<Self>,
        groups: usize,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        let x = Self::float_permute(x, &[0, 3, 1, 2]);
        let made = group_norm::in_steps::<Self>(x, groups, gamma, beta, epsilon);
        activated::<Self>(Self::float_permute(made.maps, &[0, 2, 3, 1]), activation)
    }

    fn resize_last(x: FloatTensor<Self>, size: [usize; 2], filter: Resample) -> FloatTensor<Self> {
        let x = Self::float_permute(x, &[0, 3, 1, 2]);
        let resized = resize::in_steps::<Self>(x, size, filter);
        Self::float_permute(resized, &[0, 2, 3, 1])
    }
}

impl MapOps for Flex {}

/// The window of a pool over maps of this shape.
fn window(pool: Pool, [height, width]: [usize; 2], [rows, columns]: [usize; 2]) -> Window {
    let side = |input: usize, output: usize| Side {
        input: input as u32,
        output: output as u32,
        kernel: pool.kernel as u32,
        stride: pool.stride as u32,
        dilation: 1,
        padding: pool.padding as u32,
    };
    Window {
        rows: side(height, rows),
        columns: side(width, columns),
    }
}

/// Runs an elementwise kernel on `x` and what comes with it.
fn change(
    x: CubeTensor,
    change: Change,
    others: Vec<CubeTensor>,
    activation: Option<Nonlinearity>,
) -> CubeTensor {
    let [batch, rows, columns, channels] = x.shape().dims();
    let result = output(&x, [batch, rows, columns, channels]);
    let operation = Elementwise {
        batch: batch as u32,
        pixels: (rows * columns) as u32,
        channels: channels as u32,
        change,
        activation: named(activation),
        storage: storage(&x),
    };
    let kernel = made_one(&operation, tier(&x), Elementwise::kernel);
    let x = into_contiguous(x);
    let others: Vec<_> = others.into_iter().map(into_contiguous).collect();
    let mut buffers = vec![&x];
    buffers.extend(&others);
    buffers.push(&result);
    launch(&kernel, &buffers);
    result
}

impl MapOps for Cube {
    fn max_pool(x: FloatTensor<Self>, pool: Pool, size: [usize; 2]) -> FloatTensor<Self> {
        let [batch, height, width, channels] = x.shape().dims();
        let operation = MaxPool {
            batch: batch as u32,
            channels: channels as u32,
            window: window(pool, [height, width], size),
            storage: storage(&x),
        };
        let kernel = made_one(&operation, tier(&x), MaxPool::kernel);
        let result = output(&x, [batch, size[0], size[1], channels]);
        launch(&kernel, &[&into_contiguous(x), &result]);
        result
    }

    fn avg_pool(x: FloatTensor<Self>, pool: Pool, size: [usize; 2]) -> FloatTensor<Self> {
        let [batch, height, width, channels] = x.shape().dims();
        let operation = AvgPool {
            batch: batch as u32,
            channels: channels as u32,
            window: window(pool, [height, width], size),
            count_include_pad: true,
            storage: storage(&x),
        };
        let kernel = made_one(&operation, tier(&x), AvgPool::kernel);
        let result = output(&x, [batch, size[0], size[1], channels]);
        launch(&kernel, &[&into_contiguous(x), &result]);
        result
    }

    fn global_average(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let [batch, rows, columns, channels] = x.shape().dims();
        let operation = GlobalAvgPool {
            batch: batch as u32,
            pixels: (rows * columns) as u32,
            channels: channels as u32,
            storage: storage(&x),
        };
        let kernel = made_one(&operation, tier(&x), GlobalAvgPool::kernel);
        let result = output(&x, [batch, 1, 1, channels]);
        launch(&kernel, &[&into_contiguous(x), &result]);
        result
    }

    fn add(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        change(x, Change::Add, vec![y], activation)
    }

    fn affine(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        change(x, Change::Affine, vec![scale, shift], activation)
    }

    fn gate(x: FloatTensor<Self>, gate: FloatTensor<Self>) -> FloatTensor<Self> {
        let [_, rows, columns, channels] = gate.shape().dims();
        match [rows, columns, channels] == [1, 1, x.shape()[3]] {
            true => change(x, Change::Gate, vec![gate], None),
            false => Self::float_mul(x, gate),
        }
    }

    fn activate(x: FloatTensor<Self>, activation: Option<Nonlinearity>) -> FloatTensor<Self> {
        change(x, Change::Nothing, Vec::new(), activation)
    }

    fn group_norm_last(
        x: FloatTensor<Self>,
        groups: usize,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        group_norm::channels_last(x, groups, [gamma, beta], epsilon, activation).maps
    }

    fn resize_last(x: FloatTensor<Self>, size: [usize; 2], filter: Resample) -> FloatTensor<Self> {
        resize::channels_last(x, size, filter)
    }
}
