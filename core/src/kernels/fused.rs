//! Convolutions of compiled networks: channels last, with bias, residual and activation in one pass.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn::tensor::ops::ConvOptions;
use burn_cubecl::Cube;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use rekindle_shaders::{Epilogue, Storage, Tier};

use super::adapter::{output, storage, tier};
use super::choice::{Forward, Sizes, epilogue};
use super::launch::{launch, made};
use crate::graph::Nonlinearity;

/// A convolution of a frozen network, its numbers laid out as the device's kernel reads them.
#[derive(Debug)]
pub struct FrozenConv {
    /// As [`FusedOps::prepared`] gave it.
    weight: Tensor<4>,
    bias: Tensor<1>,
    kernel: [usize; 2],
    options: ConvOptions<2>,
}

impl FrozenConv {
    /// Lays out weights for maps of a size.
    ///
    /// # Shapes
    ///
    /// - weight: `[rows, columns, C / groups, filters]`
    /// - bias: `[filters]`
    /// - size: rows and columns of the maps that will come in
    pub fn new(
        weight: Tensor<4>,
        bias: Tensor<1>,
        options: ConvOptions<2>,
        size: [usize; 2],
    ) -> Self {
        let [rows, columns, ..] = weight.dims();
        let weight = Dispatch::prepared(weight.into_dispatch(), options.clone(), size);
        Self {
            weight: Tensor::from_dispatch(weight),
            bias,
            kernel: [rows, columns],
            options,
        }
    }

    /// `activation(conv(x) + bias + residual)`.
    ///
    /// # Shapes
    ///
    /// - x: `[N, H, W, C]`
    /// - residual: as what is returned
    /// - returns: `[N, H out, W out, filters]`
    pub fn run(
        &self,
        x: Tensor<4>,
        residual: Option<Tensor<4>>,
        activation: Option<Nonlinearity>,
    ) -> Tensor<4> {
        let (x, weight, bias) = (
            x.into_dispatch(),
            self.weight.clone().into_dispatch(),
            self.bias.clone().into_dispatch(),
        );
        let (kernel, options) = (self.kernel, self.options.clone());
        Tensor::from_dispatch(match residual {
            Some(residual) => {
                let residual = residual.into_dispatch();
                Dispatch::conv_fused_onto(x, weight, bias, residual, kernel, options, activation)
            }
            None => Dispatch::conv_fused(x, weight, bias, kernel, options, activation),
        })
    }

    /// Whether weights of this kernel and these options would be laid out as they are here for maps of this size.
    pub fn is_for(&self, kernel: [usize; 2], options: &ConvOptions<2>, size: [usize; 2]) -> bool {
        if self.kernel != kernel || self.options != *options {
            return false;
        }
        let [numbers, _, each, filters] = self.weight.dims();
        // Whether they are transformed does not depend on the size; the side of the tiles does.
        !self.is_transformed() || {
            let maps = [1, each * options.groups, size[0], size[1]];
            let sizes = Sizes::new(maps, filters, kernel, options);
            let forward = sizes.frozen(Epilogue::default(), Storage::F32, Tier::Software);
            let length = match forward {
                Forward::Winograd(conv) => conv.weights_length() as usize,
                Forward::Dense(_) | Forward::Depthwise(_) => 0,
            };
            length == numbers * each * filters
        }
    }

    /// How many maps come out.
    pub fn filters(&self) -> usize {
        self.bias.dims()[0]
    }

    /// Numbers of the largest buffer for each image beside its input and output.
    ///
    /// # Shapes
    ///
    /// - output: rows and columns of the maps that come out
    pub fn scratch(&self, [rows, columns]: [usize; 2]) -> usize {
        if !self.is_transformed() {
            return 0;
        }
        // A tile of so many numbers, of which the window's three rows leave this side.
        let [numbers, _, channels, filters] = self.weight.dims();
        let side = numbers.isqrt() - 2;
        rows.div_ceil(side) * columns.div_ceil(side) * numbers * channels.max(filters)
    }

    /// Multiply-adds for each image by Winograd's method; `None` where there are as many as the convolution
    /// is made of.
    ///
    /// # Shapes
    ///
    /// - output: rows and columns of the maps that come out
    pub fn multiply_adds(&self, [rows, columns]: [usize; 2]) -> Option<u64> {
        let [numbers, _, channels, filters] = self.weight.dims();
        let side = numbers.isqrt().saturating_sub(2);
        let tiles = || rows.div_ceil(side) * columns.div_ceil(side);
        self.is_transformed()
            .then(|| (tiles() * numbers * channels * filters) as u64)
    }

    /// Whether the weights are Winograd's.
    fn is_transformed(&self) -> bool {
        self.weight.dims()[0] != self.kernel[0]
    }

    /// What it is, for tables.
    pub fn kind(&self) -> &'static str {
        let [_, _, channels, filters] = self.weight.dims();
        match self.kernel {
            [1, 1] => "1x1",
            _ if self.is_transformed() => "winograd",
            _ if channels == 1 && self.options.groups == filters => "depthwise",
            _ => "conv",
        }
    }
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
    let none = Tensor::zeros([columns], (&a.device(), a.dtype()));
    let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    let linear = FrozenConv::new(b.reshape([1, 1, depth, columns]), none, options, [1, 1]);
    linear
        .run(a.reshape([rows, 1, 1, depth]), None, None)
        .reshape([rows, columns])
}

/// The operations, for each backend; see [`FrozenConv`].
///
/// `kernel` is the window's rows and columns: prepared weights need not show them any more.
#[backend_extension(Cube, Flex)]
pub(crate) trait FusedOps: Backend {
    /// The weights as the other operations want them, on maps of this size.
    fn prepared(
        weight: FloatTensor<Self>,
        _options: ConvOptions<2>,
        _size: [usize; 2],
    ) -> FloatTensor<Self> {
        weight
    }

    fn conv_fused(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        _kernel: [usize; 2],
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
        _kernel: [usize; 2],
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
    fn prepared(
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
        [height, width]: [usize; 2],
    ) -> FloatTensor<Self> {
        let weight = into_contiguous(weight);
        let [rows, columns, each, filters] = weight.shape().dims();
        let maps = [1, each * options.groups, height, width];
        let sizes = Sizes::new(maps, filters, [rows, columns], &options);
        let tier = tier(&weight);
        match sizes.frozen(Epilogue::default(), storage(&weight), tier) {
            Forward::Winograd(conv) => {
                let numbers = conv.weights_length() as usize / (each * filters);
                let transformed = output(&weight, [numbers, 1, each, filters]);
                launch(&Arc::new(conv.weights(tier)), &[&weight, &transformed]);
                transformed
            }
            Forward::Dense(_) | Forward::Depthwise(_) => weight,
        }
    }

    fn conv_fused(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        kernel: [usize; 2],
        options: ConvOptions<2>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        fused(x, weight, bias, None, kernel, options, activation)
    }

    fn conv_fused_onto(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        kernel: [usize; 2],
        options: ConvOptions<2>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        fused(x, weight, bias, Some(residual), kernel, options, activation)
    }
}

fn fused(
    x: CubeTensor,
    weight: CubeTensor,
    bias: CubeTensor,
    residual: Option<CubeTensor>,
    kernel: [usize; 2],
    options: ConvOptions<2>,
    activation: Option<Nonlinearity>,
) -> CubeTensor {
    let [batch, height, width, channels] = x.shape().dims();
    let maps = [batch, channels, height, width];
    let sizes = Sizes::new(maps, weight.shape()[3], kernel, &options);
    let tier = tier(&x);
    let epilogue = epilogue(residual.is_some(), activation);
    let conv = sizes.frozen(epilogue, storage(&x), tier);
    let kernels = made(&conv, tier, Forward::kernels);
    let result = output(&x, sizes.output());
    let x = into_contiguous(x);
    let residual = residual.map(into_contiguous);
    let mut ending: Vec<&CubeTensor> = vec![&bias];
    ending.extend(&residual);
    ending.push(&result);
    match (conv, &kernels[..]) {
        (Forward::Winograd(conv), [input, products, last]) => {
            let [tiles, sums] = conv.scratch().map(|numbers| output(&x, [numbers as usize]));
            launch(input, &[&x, &tiles]);
            launch(products, &[&tiles, &weight, &sums]);
            launch(last, &[&[&sums], &ending[..]].concat());
        }
        (_, kernels) => launch(&kernels[0], &[&[&x, &weight], &ending[..]].concat()),
    }
    result
}
