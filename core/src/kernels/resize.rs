//! Resizing of maps that trains.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{IndexingUpdateOp, Shape, Tensor, TensorData};
use {
    super::adapter::{laid_out, output, runs_wgsl, storage, tier, turned},
    super::conv::{CHANNELS_FIRST, CHANNELS_LAST},
    super::launch::{launch, made_one},
    burn::tensor::DType,
    burn_cubecl::Cube,
    burn_cubecl::kernel::into_contiguous,
    burn_cubecl::tensor::CubeTensor,
    rekindle_shaders::{Filter, Resize, ResizeGradient},
};

use crate::graph::Resample;

/// Maps resized to `size` rows and columns, as `torch.nn.functional.interpolate(size=…)` does with the mode
/// `"nearest"` or `"bilinear"` (`align_corners=False`, no antialiasing).
///
/// # Shapes
///
/// - x: `[N, C, H, W]`
/// - returns: `[N, C, size[0], size[1]]`
pub fn resize(x: Tensor<4>, size: [usize; 2], filter: Resample) -> Tensor<4> {
    let x = x.into_dispatch();
    Tensor::from_dispatch(<Dispatch as ResizeOps>::resized(x, size, filter))
}

/// The operation, for each backend. Its default is the processor's.
#[backend_extension(Cube, Flex, Autodiff)]
pub(crate) trait ResizeOps: Backend {
    fn resized(x: FloatTensor<Self>, size: [usize; 2], filter: Resample) -> FloatTensor<Self> {
        in_steps::<Self>(x, size, filter)
    }

    /// The gradient of maps of `size`.
    fn resize_gradient(
        gradient: FloatTensor<Self>,
        size: [usize; 2],
        filter: Resample,
    ) -> FloatTensor<Self> {
        let [n, channels, rows, columns] = gradient.shape().dims();
        let zeros = |rows, columns| {
            Self::float_zeros(
                Shape::new([n, channels, rows, columns]),
                &gradient.device(),
                gradient.dtype().into(),
            )
        };
        match filter {
            // Of the input, only its shape is asked for.
            Resample::Bilinear => {
                let x = zeros(size[0], size[1]);
                Self::interpolate_backward(x, gradient, [rows, columns], bilinear())
            }
            Resample::Nearest => {
                let add = |sums, axis: usize, picked, gradient| {
                    let update = IndexingUpdateOp::Add;
                    Self::float_select_assign(sums, axis, picked, gradient, update)
                };
                let device = gradient.device();
                let picked = |input, output| picked::<Self>(input, output, &device);
                let narrow = zeros(rows, size[1]);
                let low = zeros(size[0], size[1]);
                let narrow = add(narrow, 3, picked(size[1], columns), gradient);
                add(low, 2, picked(size[0], rows), narrow)
            }
        }
    }
}

impl ResizeOps for Flex {}

fn bilinear() -> InterpolateOptions {
    InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false)
}

/// Which of `input` pixels each of `output` is nearest to. Burn's own rule rounds otherwise than PyTorch's.
fn picked<B: Backend>(input: usize, output: usize, device: &B::Device) -> IntTensor<B> {
    let picked: Vec<i32> = (0..output)
        .map(|at| rekindle_cpu::nearest(at, input, output) as i32)
        .collect();
    B::int_from_data(TensorData::new(picked, [output]), device)
}

/// Maps resized by Burn's own operations.
pub(super) fn in_steps<B: Backend>(
    x: FloatTensor<B>,
    size: [usize; 2],
    filter: Resample,
) -> FloatTensor<B> {
    match filter {
        Resample::Bilinear => B::interpolate(x, size, bilinear()),
        Resample::Nearest => {
            let [_, _, rows, columns] = x.shape().dims();
            let device = x.device();
            let x = B::float_select(x, 2, picked::<B>(rows, size[0], &device));
            B::float_select(x, 3, picked::<B>(columns, size[1], &device))
        }
    }
}

#[derive(Debug)]
struct Resized;

impl<B: ResizeOps> Backward<B, 1> for Resized {
    type State = ([usize; 2], Resample);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let gradient = grads.consume::<B>(&ops.node);
        let (size, filter) = ops.state;
        if let Some(node) = node {
            let gradient = B::resize_gradient(gradient, size, filter);
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: ResizeOps, C: CheckpointStrategy> ResizeOps for Autodiff<B, C> {
    fn resized(x: FloatTensor<Self>, size: [usize; 2], filter: Resample) -> FloatTensor<Self> {
        let [_, _, rows, columns] = x.shape().dims();
        let prepared = Resized.prepare::<C>([x.node()]).compute_bound().stateful();
        match prepared {
            OpsKind::Tracked(prepared) => {
                let made = B::resized(x.into_primitive(), size, filter);
                prepared.finish(([rows, columns], filter), made)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::resized(x.into_primitive(), size, filter))
            }
        }
    }

    fn resize_gradient(
        _gradient: FloatTensor<Self>,
        _size: [usize; 2],
        _filter: Resample,
    ) -> FloatTensor<Self> {
        panic!("resizing can be differentiated once");
    }
}

/// In the shaders' words.
fn named(filter: Resample) -> Filter {
    match filter {
        Resample::Nearest => Filter::Nearest,
        Resample::Bilinear => Filter::Bilinear,
    }
}

/// The forward pass of maps that lie channels last, and come out so.
pub(super) fn channels_last(x: CubeTensor, size: [usize; 2], filter: Resample) -> CubeTensor {
    let [batch, height, width, channels] = x.shape().dims();
    let operation = Resize {
        batch: batch as u32,
        channels: channels as u32,
        input: [height as u32, width as u32],
        output: size.map(|side| side as u32),
        filter: named(filter),
        storage: storage(&x),
    };
    let kernel = made_one(&operation, tier(&x), Resize::kernel);
    let made = output(&x, [batch, size[0], size[1], channels]);
    launch(&kernel, &[&into_contiguous(x), &made]);
    made
}

impl ResizeOps for Cube {
    fn resized(x: FloatTensor<Self>, size: [usize; 2], filter: Resample) -> FloatTensor<Self> {
        if !runs_wgsl(&x) || x.dtype != DType::F32 {
            return in_steps::<Self>(x, size, filter);
        }
        turned(
            channels_last(turned(x, CHANNELS_LAST), size, filter),
            CHANNELS_FIRST,
        )
    }

    /// Always ours: for bilinear resizing Burn has none here.
    fn resize_gradient(
        gradient: FloatTensor<Self>,
        size: [usize; 2],
        filter: Resample,
    ) -> FloatTensor<Self> {
        let [batch, channels, rows, columns] = gradient.shape().dims();
        let operation = ResizeGradient {
            batch: batch as u32,
            channels: channels as u32,
            input: size.map(|side| side as u32),
            output: [rows as u32, columns as u32],
            filter: named(filter),
        };
        let kernel = made_one(&operation, tier(&gradient), ResizeGradient::kernel);
        let made = output(&gradient, [batch, size[0], size[1], channels]);
        launch(&kernel, &[&laid_out(gradient, CHANNELS_LAST), &made]);
        turned(made, CHANNELS_FIRST)
    }
}
