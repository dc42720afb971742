//! Convolutions of compiled networks: channels last, with bias, residual and activation in one pass.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;
use burn_cubecl::Cube;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::adapter::{output, tier};
use super::choice::{Forward, Sizes, epilogue};
use super::launch::{launch, made_one};
use crate::graph::Nonlinearity;

/// `activation(conv(x) + bias + residual)`.
///
/// # Shapes
///
/// - x: `[N, H, W, C]`
/// - weight: `[rows, columns, C / groups, filters]`
/// - bias: `[filters]`
/// - residual: as what is returned
/// - returns: `[N, H out, W out, filters]`
pub fn conv_fused(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    residual: Option<Tensor<4>>,
    options: ConvOptions<2>,
    activation: Option<Nonlinearity>,
) -> Tensor<4> {
    let (x, weight, bias) = (
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    );
    Tensor::from_dispatch(match residual {
        Some(residual) => {
            let residual = residual.into_dispatch();
            Dispatch::conv_fused_onto(x, weight, bias, residual, options, activation)
        }
        None => <Dispatch as FusedOps>::conv_fused(x, weight, bias, options, activation),
    })
}

/// The product of two matrices, by the kernel that linear layers and 1×1 convolutions run on.
///
/// # Shapes
///
/// - a: `[rows, depth]`
/// - b: `[depth, columns]`
/// - returns: `[rows, columns]`
pub fn matmul(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let ([rows, depth], [_, columns]) = (a.dims(), b.dims());
    let none = Tensor::zeros([columns], &a.device());
    let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    conv_fused(
        a.reshape([1, 1, rows, depth]),
        b.reshape([1, 1, depth, columns]),
        none,
        None,
        options,
        None,
    )
    .reshape([rows, columns])
}

/// The operation, for each backend; see [`conv_fused`].
#[backend_extension(Cube, Flex)]
pub(crate) trait FusedOps: Backend {
    fn conv_fused(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        step_by_step::<Self>(x, weight, bias, None, options, activation)
    }

    fn conv_fused_onto(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        options: ConvOptions<2>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        step_by_step::<Self>(x, weight, bias, Some(residual), options, activation)
    }
}

impl FusedOps for Flex {}

fn step_by_step<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    residual: Option<FloatTensor<B>>,
    options: ConvOptions<2>,
    activation: Option<Nonlinearity>,
) -> FloatTensor<B> {
    let x = B::float_permute(x, &[0, 3, 1, 2]);
    let weight = B::float_permute(weight, &[3, 2, 0, 1]);
    let sum = B::float_permute(B::conv2d(x, weight, Some(bias), options), &[0, 2, 3, 1]);
    let sum = match residual {
        Some(residual) => B::float_add(sum, residual),
        None => sum,
    };
    activated::<B>(sum, activation)
}

/// An activation in Burn's operations.
pub(super) fn activated<B: Backend>(
    x: FloatTensor<B>,
    activation: Option<Nonlinearity>,
) -> FloatTensor<B> {
    match activation {
        None => x,
        Some(Nonlinearity::Relu) => B::relu(x),
        Some(Nonlinearity::Relu6) => B::float_clamp(x, 0.0_f32.into(), 6.0_f32.into()),
        Some(Nonlinearity::Silu) => B::float_mul(x.clone(), B::sigmoid(x)),
        Some(Nonlinearity::HardSwish) => B::float_mul(x.clone(), hard_sigmoid::<B>(x)),
        Some(Nonlinearity::HardSigmoid) => hard_sigmoid::<B>(x),
        Some(Nonlinearity::Sigmoid) => B::sigmoid(x),
        Some(Nonlinearity::Gelu) => B::gelu(x),
        Some(Nonlinearity::Tanh) => B::float_tanh(x),
    }
}

fn hard_sigmoid<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::hard_sigmoid(x, (1.0_f32 / 6.0).into(), 0.5_f32.into())
}

impl FusedOps for Cube {
    fn conv_fused(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        in_one_pass(x, weight, bias, None, options, activation)
    }

    fn conv_fused_onto(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        options: ConvOptions<2>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        in_one_pass(x, weight, bias, Some(residual), options, activation)
    }
}

fn in_one_pass(
    x: CubeTensor,
    weight: CubeTensor,
    bias: CubeTensor,
    residual: Option<CubeTensor>,
    options: ConvOptions<2>,
    activation: Option<Nonlinearity>,
) -> CubeTensor {
    let [batch, height, width, channels] = x.shape().dims();
    let [rows, columns, _, filters] = weight.shape().dims();
    let maps = [batch, channels, height, width];
    let sizes = Sizes::new(maps, filters, [rows, columns], &options);
    let conv = sizes.forward(epilogue(residual.is_some(), activation));
    let kernel = made_one(&conv, tier(&x), Forward::kernel);
    let result = output(&x, sizes.output());
    let x = into_contiguous(x);
    let weight = into_contiguous(weight);
    let residual = residual.map(into_contiguous);
    let mut buffers: Vec<&CubeTensor> = vec![&x, &weight, &bias];
    buffers.extend(&residual);
    buffers.push(&result);
    launch(&kernel, &buffers);
    result
}
