//! Bilinear upsampling that trains; Burn's gradient knows only the nearest pixel on graphics adapters.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Shape, Tensor};
use {
    super::adapter::{laid_out, output, runs_wgsl, tier, turned},
    super::conv::{CHANNELS_FIRST, CHANNELS_LAST},
    super::launch::{launch, made_one},
    burn::backend::ops::ModuleOps,
    burn::tensor::DType,
    burn_cubecl::Cube,
    rekindle_shaders::Bilinear,
};

/// Maps resampled to `size` rows and columns, as `torch.nn.functional.interpolate(mode="bilinear")`
/// does.
///
/// # Shapes
///
/// - x: `[N, C, H, W]`
/// - returns: `[N, C, size[0], size[1]]`
pub fn upsample_bilinear(x: Tensor<4>, size: [usize; 2], align_corners: bool) -> Tensor<4> {
    let x = x.into_dispatch();
    Tensor::from_dispatch(<Dispatch as UpsampleOps>::upsample(x, size, align_corners))
}

/// The operation, for each backend. Its default is Burn's own, which is the processor's.
#[backend_extension(Cube, Flex, Autodiff)]
pub(crate) trait UpsampleOps: Backend {
    fn upsample(x: FloatTensor<Self>, size: [usize; 2], align_corners: bool) -> FloatTensor<Self> {
        Self::interpolate(x, size, options(align_corners))
    }

    /// The gradient of maps of `size`.
    fn upsample_gradient(
        gradient: FloatTensor<Self>,
        size: [usize; 2],
        align_corners: bool,
    ) -> FloatTensor<Self> {
        let [n, channels, rows, columns] = gradient.shape().dims();
        // Only its shape is asked for.
        let x = Self::float_zeros(
            Shape::new([n, channels, size[0], size[1]]),
            &gradient.device(),
            gradient.dtype().into(),
        );
        Self::interpolate_backward(x, gradient, [rows, columns], options(align_corners))
    }
}

impl UpsampleOps for Flex {}

fn options(align_corners: bool) -> InterpolateOptions {
    InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(align_corners)
}

#[derive(Debug)]
struct Upsample;

impl<B: UpsampleOps> Backward<B, 1> for Upsample {
    type State = ([usize; 2], bool);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let gradient = grads.consume::<B>(&ops.node);
        let (size, align_corners) = ops.state;
        if let Some(node) = node {
            let gradient = B::upsample_gradient(gradient, size, align_corners);
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: UpsampleOps, C: CheckpointStrategy> UpsampleOps for Autodiff<B, C> {
    fn upsample(x: FloatTensor<Self>, size: [usize; 2], align_corners: bool) -> FloatTensor<Self> {
        let [_, _, rows, columns] = x.shape().dims();
        let prepared = Upsample.prepare::<C>([x.node()]).compute_bound().stateful();
        match prepared {
            OpsKind::Tracked(prepared) => {
                let made = B::upsample(x.into_primitive(), size, align_corners);
                prepared.finish(([rows, columns], align_corners), made)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::upsample(x.into_primitive(), size, align_corners))
            }
        }
    }

    fn upsample_gradient(
        _gradient: FloatTensor<Self>,
        _size: [usize; 2],
        _align_corners: bool,
    ) -> FloatTensor<Self> {
        panic!("upsampling can be differentiated once");
    }
}

fn resampling(shape: [usize; 4], size: [usize; 2], align_corners: bool) -> Bilinear {
    let [batch, channels, height, width] = shape.map(|length| length as u32);
    Bilinear {
        batch,
        channels,
        height,
        width,
        out_height: size[0] as u32,
        out_width: size[1] as u32,
        align_corners,
    }
}

impl UpsampleOps for Cube {
    fn upsample(x: FloatTensor<Self>, size: [usize; 2], align_corners: bool) -> FloatTensor<Self> {
        if !runs_wgsl(&x) || x.dtype != DType::F32 {
            return Self::interpolate(x, size, options(align_corners));
        }
        let shape: [usize; 4] = x.shape().dims();
        let operation = resampling(shape, size, align_corners);
        let kernel = made_one(&operation, tier(&x), Bilinear::kernel);
        let made = output(&x, [shape[0], size[0], size[1], shape[1]]);
        launch(&kernel, &[&laid_out(x, CHANNELS_LAST), &made]);
        turned(made, CHANNELS_FIRST)
    }

    /// Always ours: Burn has none here.
    fn upsample_gradient(
        gradient: FloatTensor<Self>,
        size: [usize; 2],
        align_corners: bool,
    ) -> FloatTensor<Self> {
        let [batch, channels, rows, columns] = gradient.shape().dims();
        let shape = [batch, channels, size[0], size[1]];
        let operation = resampling(shape, [rows, columns], align_corners);
        let kernel = made_one(
            &("gradient", operation),
            tier(&gradient),
            |(_, it), tier| it.gradient(tier),
        );
        let made = output(&gradient, [batch, size[0], size[1], channels]);
        launch(&kernel, &[&laid_out(gradient, CHANNELS_LAST), &made]);
        turned(made, CHANNELS_FIRST)
    }
}
