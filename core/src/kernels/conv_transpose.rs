//! Transposed convolutions: those that train, and those of compiled networks.
//!
//! A transposed convolution is the gradient of a convolution's input, so that on WGSL the convolution's kernels serve
//! with exchanged roles: forward runs the gradient of the input, the input's gradient is the convolution of the
//! output's, and the weight's gradient is the convolution's own, of the output's gradient and the input.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn::tensor::ops::ConvTransposeOptions;
use burn_cubecl::Cube;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::choice::{Sizes, epilogue};
use super::conv::{
    convolved, gathered, gradient_of_input, gradient_of_weight, plus_bias, suits, turned_back,
};
use super::fused::activated;
use crate::graph::{ConvTranspose, Nonlinearity};

/// A two-dimensional transposed convolution, as `torch.nn.ConvTranspose2d` has it. Whether a bias is added follows
/// from `bias`, how many filters there are from `weight`.
///
/// # Shapes
///
/// - x: `[N, C, H, W]`
/// - weight: `[C, filters / groups, rows, columns]`
/// - bias: `[filters]`
/// - returns: `[N, filters, rows out, columns out]` as [`ConvTranspose::outputs`] counts them: there must be some
pub fn conv_transpose2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: &ConvTranspose,
) -> Tensor<4> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    let sum =
        <Dispatch as ConvTransposeOps>::transposed(x, weight, conv_transpose_options(options));
    plus_bias(Tensor::from_dispatch(sum), bias)
}

/// Burn's options for a transposed convolution.
pub fn conv_transpose_options(conv: &ConvTranspose) -> ConvTransposeOptions<2> {
    ConvTransposeOptions::new(
        conv.stride,
        conv.padding,
        conv.output_padding,
        conv.dilation,
        conv.groups,
    )
}

/// The operation, for each backend. Its default is Burn's own, which is the processor's.
#[backend_extension(Cube, Flex, Autodiff)]
pub(crate) trait ConvTransposeOps: Backend {
    /// The transposed convolution, without a bias.
    fn transposed(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvTransposeOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv_transpose2d(x, weight, None, options)
    }

    /// The gradient of its input.
    fn transposed_data_gradient(
        _x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvTransposeOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv_transpose2d_x_backward(weight, gradient, options)
    }

    /// The gradient of its weight.
    fn transposed_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvTransposeOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv_transpose2d_weight_backward(x, weight, gradient, options)
    }
}

impl ConvTransposeOps for Flex {}

#[derive(Debug)]
struct Transposed;

impl<B: ConvTransposeOps> Backward<B, 2> for Transposed {
    type State = (NodeId, NodeId, ConvTransposeOptions<2>);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [x_node, weight_node] = ops.parents;
        let gradient = grads.consume::<B>(&ops.node);
        let (x, weight, options) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(weight);
        if let Some(node) = x_node {
            let (x, weight, gradient) = (x.clone(), weight.clone(), gradient.clone());
            let gradient = B::transposed_data_gradient(x, weight, gradient, options.clone());
            grads.register::<B>(node.id, gradient);
        }
        if let Some(node) = weight_node {
            let gradient = B::transposed_weight_gradient(x, weight, gradient, options);
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: ConvTransposeOps, C: CheckpointStrategy> ConvTransposeOps for Autodiff<B, C> {
    fn transposed(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvTransposeOptions<2>,
    ) -> FloatTensor<Self> {
        let prepared = Transposed
            .prepare::<C>([x.node(), weight.node()])
            .compute_bound()
            .stateful();
        match prepared {
            OpsKind::Tracked(mut prepared) => {
                let state = (
                    prepared.checkpoint(&x),
                    prepared.checkpoint(&weight),
                    options.clone(),
                );
                let sum = B::transposed(x.into_primitive(), weight.into_primitive(), options);
                prepared.finish(state, sum)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::transposed(
                x.into_primitive(),
                weight.into_primitive(),
                options,
            )),
        }
    }
}

fn sizes(x: &CubeTensor, weight: &CubeTensor, options: &ConvTransposeOptions<2>) -> Sizes {
    Sizes::transposed(x.shape().dims(), weight.shape().dims(), options)
}

impl ConvTransposeOps for Cube {
    fn transposed(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvTransposeOptions<2>,
    ) -> FloatTensor<Self> {
        if !suits(&x) {
            return Self::conv_transpose2d(x, weight, None, options);
        }
        let sizes = sizes(&x, &weight, &options);
        gradient_of_input(weight, x, &sizes)
    }

    fn transposed_data_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvTransposeOptions<2>,
    ) -> FloatTensor<Self> {
        if !suits(&gradient) {
            return Self::conv_transpose2d_x_backward(weight, gradient, options);
        }
        let sizes = sizes(&x, &weight, &options);
        convolved(gradient, weight, &sizes)
    }

    fn transposed_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvTransposeOptions<2>,
    ) -> FloatTensor<Self> {
        if !suits(&x) {
            return Self::conv_transpose2d_weight_backward(x, weight, gradient, options);
        }
        let sizes = sizes(&x, &weight, &options);
        gradient_of_weight(gradient, x, &sizes)
    }
}

/// A transposed convolution of a frozen network, its numbers laid out as the device's kernel reads them.
#[derive(Debug)]
pub struct FrozenConvTranspose {
    /// As [`FusedTransposeOps::prepared_transposed`] gave it.
    weight: Tensor<4>,
    bias: Tensor<1>,
    /// The weight's shape before.
    shape: [usize; 4],
    options: ConvTransposeOptions<2>,
}

impl FrozenConvTranspose {
    /// Lays out weights.
    ///
    /// # Shapes
    ///
    /// - weight: `[C, filters / groups, rows, columns]`
    /// - bias: `[filters]`
    pub fn new(weight: Tensor<4>, bias: Tensor<1>, conv: &ConvTranspose) -> Self {
        let (shape, options) = (weight.dims(), conv_transpose_options(conv));
        let weight = Dispatch::prepared_transposed(weight.into_dispatch(), options.clone());
        Self {
            weight: Tensor::from_dispatch(weight),
            bias,
            shape,
            options,
        }
    }

    /// `activation(conv_transpose(x) + bias + residual)`.
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
        let (shape, options) = (self.shape, self.options.clone());
        Tensor::from_dispatch(match residual {
            Some(residual) => {
                let residual = residual.into_dispatch();
                Dispatch::transposed_onto(x, weight, bias, residual, shape, options, activation)
            }
            None => Dispatch::transposed_fused(x, weight, bias, shape, options, activation),
        })
    }
}

/// The operations, for each backend; see [`FrozenConvTranspose`].
///
/// `shape` is the weight's, `[C, filters / groups, rows, columns]`: prepared weights need not show it any more.
#[backend_extension(Cube, Flex)]
pub(crate) trait FusedTransposeOps: Backend {
    /// The weights as the other operations want them.
    fn prepared_transposed(
        weight: FloatTensor<Self>,
        _options: ConvTransposeOptions<2>,
    ) -> FloatTensor<Self> {
        weight
    }

    fn transposed_fused(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        _shape: [usize; 4],
        options: ConvTransposeOptions<2>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        step_by_step::<Self>(x, weight, bias, None, options, activation)
    }

    fn transposed_onto(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        _shape: [usize; 4],
        options: ConvTransposeOptions<2>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        step_by_step::<Self>(x, weight, bias, Some(residual), options, activation)
    }
}

impl FusedTransposeOps for Flex {}

fn step_by_step<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    residual: Option<FloatTensor<B>>,
    options: ConvTransposeOptions<2>,
    activation: Option<Nonlinearity>,
) -> FloatTensor<B> {
    let x = B::float_permute(x, &[0, 3, 1, 2]);
    let sum = B::conv_transpose2d(x, weight, Some(bias), options);
    let sum = B::float_permute(sum, &[0, 2, 3, 1]);
    let sum = match residual {
        Some(residual) => B::float_add(sum, residual),
        None => sum,
    };
    activated::<B>(sum, activation)
}

impl FusedTransposeOps for Cube {
    fn prepared_transposed(
        weight: FloatTensor<Self>,
        options: ConvTransposeOptions<2>,
    ) -> FloatTensor<Self> {
        turned_back(weight, options.groups)
    }

    fn transposed_fused(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: [usize; 4],
        options: ConvTransposeOptions<2>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        fused(x, weight, bias, None, shape, &options, activation)
    }

    fn transposed_onto(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        shape: [usize; 4],
        options: ConvTransposeOptions<2>,
        activation: Option<Nonlinearity>,
    ) -> FloatTensor<Self> {
        fused(x, weight, bias, Some(residual), shape, &options, activation)
    }
}

fn fused(
    x: CubeTensor,
    weight: CubeTensor,
    bias: CubeTensor,
    residual: Option<CubeTensor>,
    shape: [usize; 4],
    options: &ConvTransposeOptions<2>,
    activation: Option<Nonlinearity>,
) -> CubeTensor {
    let [batch, height, width, channels] = x.shape().dims();
    let sizes = Sizes::transposed([batch, channels, height, width], shape, options);
    let epilogue = epilogue(residual.is_some(), activation);
    let x = into_contiguous(x);
    let residual = residual.map(into_contiguous);
    let mut ending = vec![&bias];
    ending.extend(&residual);
    gathered(&weight, &x, &sizes, epilogue, &ending)
}
