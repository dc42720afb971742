//! Convolutions that train: forward, and the gradients of input and weight.
//!
//! On WGSL our kernels read and write maps that lie channels last in memory. Tensors keep their shape
//! `[N, C, H, W]`; what changes is the order of their strides, which Burn's elementwise operations
//! preserve, so that between two convolutions nothing is moved.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};

use crate::graph::Conv;
use {
    super::adapter::{is_processor, laid_out, output, runs_wgsl, storage, tier, turned},
    super::are_switched_on,
    super::choice::{Forward, InputGradient, Sizes},
    super::launch::{launch, made},
    burn::backend::TensorMetadata,
    burn::backend::ops::{FloatTensorOps, ModuleOps},
    burn::tensor::{DType, Shape},
    burn_cubecl::Cube,
    burn_cubecl::tensor::CubeTensor,
    rekindle_shaders::{ConvWeightGradient, DepthwiseWeightGradient, Epilogue, Storage, Window},
};

/// Burn's options for a convolution of maps of this height and width: TensorFlow's padding depends on them.
pub fn conv_options(conv: &Conv, size: [usize; 2]) -> ConvOptions<2> {
    let mut options = ConvOptions::new(conv.stride, [0, 0], conv.dilation, conv.groups);
    options.padding = conv.padding_of(size);
    options
}

/// A two-dimensional convolution.
///
/// # Shapes
///
/// - x: `[N, C, H, W]`
/// - weight: `[filters, C / groups, rows, columns]`
/// - bias: `[filters]`
/// - returns: `[N, filters, rows out, columns out]`
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let product =
        <Dispatch as ConvOps>::convolve(x.into_dispatch(), weight.into_dispatch(), options);
    plus_bias(Tensor::from_dispatch(product), bias)
}

/// Maps and a number for each of their channels, where there is one.
///
/// # Shapes
///
/// - maps: `[N, C, H, W]`
/// - bias: `[C]`
pub fn plus_bias(maps: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    match bias {
        Some(bias) => {
            let [channels] = bias.dims();
            maps + bias.reshape([1, channels, 1, 1])
        }
        None => maps,
    }
}

/// A linear layer over the last axis. On adapters it is a 1×1 convolution, whose kernels a network has anyway: Burn's
/// products of matrices are a text of their own for each shape, and software adapters take seconds for each.
///
/// # Shapes
///
/// - x: `[…, inputs]`
/// - weight: `[inputs, outputs]`
/// - bias: `[outputs]`
/// - returns: `[…, outputs]`
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    if is_processor(&x.device()) || !are_switched_on() {
        return module::linear(x, weight, bias);
    }
    let [inputs, outputs] = weight.dims();
    let mut shape = x.shape();
    let rows = shape.num_elements() / inputs;
    shape[D - 1] = outputs;
    // Rows are a picture's pixels. Nothing moves in memory: axes are only named otherwise.
    let maps = x.reshape([1, rows, 1, inputs]).permute([0, 3, 1, 2]);
    let weight = weight
        .reshape([1, 1, inputs, outputs])
        .permute([3, 2, 0, 1]);
    let made = conv2d(
        maps,
        weight,
        None,
        ConvOptions::new([1, 1], [0, 0], [1, 1], 1),
    );
    let made = made.permute([0, 2, 3, 1]).reshape(shape);
    match bias {
        Some(bias) => made + bias.unsqueeze(),
        None => made,
    }
}

/// The operation, for each backend. Its default is Burn's own, which is the processor's.
#[backend_extension(Cube, Flex, Autodiff)]
pub(crate) trait ConvOps: Backend {
    /// The convolution, without a bias.
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d(x, weight, None, options)
    }

    /// The gradient of its input.
    fn data_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d_x_backward(x, weight, gradient, options)
    }

    /// The gradient of its weight.
    fn weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d_weight_backward(x, weight, gradient, options)
    }
}

impl ConvOps for Flex {}

#[derive(Debug)]
struct Convolve;

impl<B: ConvOps> Backward<B, 2> for Convolve {
    type State = (NodeId, NodeId, ConvOptions<2>);

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
            let gradient = B::data_gradient(x, weight, gradient, options.clone());
            grads.register::<B>(node.id, gradient);
        }
        if let Some(node) = weight_node {
            let gradient = B::weight_gradient(x, weight, gradient, options);
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: ConvOps, C: CheckpointStrategy> ConvOps for Autodiff<B, C> {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let prepared = Convolve
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
                let product = B::convolve(x.into_primitive(), weight.into_primitive(), options);
                prepared.finish(state, product)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::convolve(
                x.into_primitive(),
                weight.into_primitive(),
                options,
            )),
        }
    }
}

/// What makes of a tensor's order `[N, C, H, W]` channels last.
pub(super) const CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];
/// And back.
pub(super) const CHANNELS_FIRST: [usize; 4] = [0, 3, 1, 2];

fn sizes(x: &CubeTensor, weight: &CubeTensor, options: &ConvOptions<2>) -> Sizes {
    let [filters, _, rows, columns] = weight.shape().dims();
    Sizes::new(x.shape().dims(), filters, [rows, columns], options)
}

pub(super) fn suits(x: &CubeTensor) -> bool {
    runs_wgsl(x) && x.dtype == DType::F32
}

impl ConvOps for Cube {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        if !suits(&x) {
            return Self::conv2d(x, weight, None, options);
        }
        let sizes = sizes(&x, &weight, &options);
        convolved(x, weight, &sizes)
    }

    fn data_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        if !suits(&x) {
            return Self::conv2d_x_backward(x, weight, gradient, options);
        }
        let sizes = sizes(&x, &weight, &options);
        gradient_of_input(weight, gradient, &sizes)
    }

    fn weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        if !suits(&x) {
            return Self::conv2d_weight_backward(x, weight, gradient, options);
        }
        let sizes = sizes(&x, &weight, &options);
        gradient_of_weight(x, gradient, &sizes)
    }
}

/// A convolution by our kernels, of maps and weights in PyTorch's order.
pub(super) fn convolved(x: CubeTensor, weight: CubeTensor, sizes: &Sizes) -> CubeTensor {
    let result = output(&x, sizes.output());
    let conv = sizes.forward(Epilogue::default(), Storage::F32);
    let kernel = &made(&conv, tier(&x), Forward::kernels)[0];
    let x = laid_out(x, CHANNELS_LAST);
    // [filters, C / groups, rows, columns] → [rows, columns, C / groups, filters]
    let weight = laid_out(weight, [2, 3, 1, 0]);
    launch(kernel, &[&x, &weight, &result]);
    turned(result, CHANNELS_FIRST)
}

/// The gradient of a convolution's input by our kernels, of a gradient and weights in PyTorch's order.
pub(super) fn gradient_of_input(
    weight: CubeTensor,
    gradient: CubeTensor,
    sizes: &Sizes,
) -> CubeTensor {
    let weight = turned_back(weight, sizes.groups);
    let gradient = laid_out(gradient, CHANNELS_LAST);
    let made = gathered(&weight, &gradient, sizes, Epilogue::default(), &[]);
    turned(made, CHANNELS_FIRST)
}

/// Weights `[groups · F, C, rows, columns]` as [`gathered`] reads them, `[rows, columns, F, groups · C]`.
pub(super) fn turned_back(weight: CubeTensor, groups: usize) -> CubeTensor {
    let [filters, each, rows, columns] = weight.shape().dims();
    let per = filters / groups;
    let parts = Shape::new([groups, per, each, rows, columns]);
    let turned = laid_out(Cube::float_reshape(weight, parts), [3, 4, 1, 0, 2]);
    Cube::float_reshape(turned, Shape::new([rows, columns, per, groups * each]))
}

/// The gradient of a convolution's input, which is a transposed convolution: channels last, with what follows.
pub(super) fn gathered(
    weight: &CubeTensor,
    gradient: &CubeTensor,
    sizes: &Sizes,
    epilogue: Epilogue,
    ending: &[&CubeTensor],
) -> CubeTensor {
    let result = output(gradient, sizes.input());
    let backward = sizes.backward(epilogue, storage(gradient));
    let mut buffers = vec![gradient, weight];
    buffers.extend(ending);
    buffers.push(&result);
    for kernel in made(&backward, tier(gradient), InputGradient::kernels).iter() {
        launch(kernel, &buffers);
    }
    result
}

/// The gradient of a convolution's weight by our kernels, in PyTorch's order.
pub(super) fn gradient_of_weight(x: CubeTensor, gradient: CubeTensor, sizes: &Sizes) -> CubeTensor {
    let Window { rows, columns } = sizes.window;
    let each = sizes.channels / sizes.groups;
    let taps = [rows, columns].map(|side| side.kernel as usize);
    let result = output(&x, [taps[0], taps[1], each, sizes.filters]);
    let maps = [x, gradient].map(|maps| laid_out(maps, CHANNELS_LAST));
    weight_gradient_into(&result, [&maps[0], &maps[1]], sizes);
    // [rows, columns, C / groups, filters] → [filters, C / groups, rows, columns]
    turned(result, [3, 2, 0, 1])
}

/// The gradient of a convolution's weight, `[rows, columns, C / groups, filters]`, of maps that lie channels last.
pub(super) fn weight_gradient_into(
    result: &CubeTensor,
    [x, gradient]: [&CubeTensor; 2],
    sizes: &Sizes,
) {
    let tier = tier(x);
    let (kernels, scratch) = match sizes.is_depthwise() {
        true => {
            let sum = DepthwiseWeightGradient {
                batch: sizes.batch as u32,
                channels: sizes.channels as u32,
                window: sizes.window,
            };
            let kernels = made(&sum, tier, DepthwiseWeightGradient::kernels);
            (kernels, sum.scratch(tier))
        }
        false => {
            let sum = ConvWeightGradient {
                batch: sizes.batch as u32,
                channels: sizes.channels as u32,
                out_channels: sizes.filters as u32,
                groups: sizes.groups as u32,
                window: sizes.window,
            };
            let kernels = made(&sum, tier, ConvWeightGradient::kernels);
            (kernels, sum.scratch(tier))
        }
    };
    match &kernels[..] {
        [all] => launch(all, &[x, gradient, result]),
        [parts, sum] => {
            let scratch = output(x, [scratch as usize]);
            launch(parts, &[x, gradient, &scratch]);
            launch(sum, &[&scratch, result]);
        }
        _ => unreachable!("one pass or two"),
    }
}
