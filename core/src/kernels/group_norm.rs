//! Group norm: the channels of each group normalised over all positions of an image (Wu and He 2018,
//! <https://arxiv.org/abs/1803.08494>), and its gradients.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension,
};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::Cube;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use rekindle_shaders::{GroupNorm, GroupNormGradient};

use super::adapter::{laid_out, output, output_of, storage, tier, turned};
use super::choice::named;
use super::conv::{CHANNELS_FIRST, CHANNELS_LAST, suits};
use super::launch::{launch, made};
use crate::graph::Nonlinearity;

/// `(x − mean) / √(variance + epsilon) · gamma + beta`, as `torch.nn.GroupNorm` has it: mean and biased variance
/// are those of a group of channels, over all positions of an image. It is the same in training and afterwards.
///
/// # Shapes
///
/// - x: `[N, C, H, W]`, C a multiple of `groups`
/// - gamma, beta: `[C]`
/// - returns: like x
pub fn group_norm(
    x: Tensor<4>,
    groups: usize,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> Tensor<4> {
    let (x, gamma, beta) = (
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
    );
    let made = <Dispatch as GroupNormOps>::by_group(x, groups, gamma, beta, epsilon);
    Tensor::from_dispatch(made.maps)
}

/// What normalising by groups makes: the result, and the mean of each channel's group and the inverse of its
/// standard deviation, `[N, C, 1, 1]`.
#[derive(ExtensionType)]
pub(crate) struct ByGroup<B: Backend> {
    pub maps: FloatTensor<B>,
    pub mean: FloatTensor<B>,
    pub inverse_std: FloatTensor<B>,
}

/// The gradients of input, gamma and beta.
#[derive(ExtensionType)]
pub(crate) struct ByGroupGradients<B: Backend> {
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
}

/// The operation, for each backend. Its default, step by step, is the processor's.
#[backend_extension(Cube, Flex, Autodiff)]
pub(crate) trait GroupNormOps: Backend {
    fn by_group(
        x: FloatTensor<Self>,
        groups: usize,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> ByGroup<Self> {
        in_steps::<Self>(x, groups, gamma, beta, epsilon)
    }

    fn by_group_gradients(
        x: FloatTensor<Self>,
        groups: usize,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        inverse_std: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> ByGroupGradients<Self> {
        gradients_in_steps::<Self>(x, groups, gamma, mean, inverse_std, gradient)
    }
}

impl GroupNormOps for Flex {}

/// One number a channel, as maps.
fn wide<B: Backend>(vector: FloatTensor<B>) -> FloatTensor<B> {
    let [channels] = vector.shape().dims();
    B::float_reshape(vector, Shape::new([1, channels, 1, 1]))
}

/// `[N, groups, 1]` as one number a channel of each image.
fn for_channels<B: Backend>(numbers: FloatTensor<B>, channels: usize) -> FloatTensor<B> {
    let [n, groups, _] = numbers.shape().dims();
    let each = B::float_expand(numbers, Shape::new([n, groups, channels / groups]));
    B::float_reshape(each, Shape::new([n, channels, 1, 1]))
}

pub(super) fn in_steps<B: Backend>(
    x: FloatTensor<B>,
    groups: usize,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    epsilon: f64,
) -> ByGroup<B> {
    let [n, channels, rows, columns] = x.shape().dims();
    let each = channels / groups * rows * columns;
    let grouped = B::float_reshape(x, Shape::new([n, groups, each]));
    let mean = B::float_mean_dim(grouped.clone(), 2);
    let centred = B::float_sub(grouped, mean.clone());
    let squares = B::float_mul(centred.clone(), centred.clone());
    let variance = B::float_mean_dim(squares, 2);
    let std = B::float_sqrt(B::float_add_scalar(variance, epsilon.into()));
    let inverse_std = B::float_recip(std);
    let unit = B::float_mul(centred, inverse_std.clone());
    let unit = B::float_reshape(unit, Shape::new([n, channels, rows, columns]));
    let scaled = B::float_mul(unit, wide::<B>(gamma));
    ByGroup {
        maps: B::float_add(scaled, wide::<B>(beta)),
        mean: for_channels::<B>(mean, channels),
        inverse_std: for_channels::<B>(inverse_std, channels),
    }
}

fn gradients_in_steps<B: Backend>(
    x: FloatTensor<B>,
    groups: usize,
    gamma: FloatTensor<B>,
    mean: FloatTensor<B>,
    inverse_std: FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> ByGroupGradients<B> {
    let [n, channels, rows, columns] = x.shape().dims();
    let unit = B::float_mul(B::float_sub(x, mean), inverse_std.clone());
    let gamma = wide::<B>(gamma);
    // Σ over the positions of each channel of each image.
    let summed = |maps| B::float_sum_dims(maps, &[2, 3]);
    let products = summed(B::float_mul(gradient.clone(), unit.clone()));
    let slopes = summed(gradient.clone());
    let over_images = |sums| {
        let sum = B::float_sum_dim(sums, 0);
        B::float_reshape(sum, Shape::new([channels]))
    };
    // What each number of a group has to do with the group's mean and variance.
    let share = |sums: FloatTensor<B>| {
        let sums = B::float_mul(sums, gamma.clone());
        let sums = B::float_reshape(sums, Shape::new([n, groups, channels / groups]));
        let sum = for_channels::<B>(B::float_sum_dim(sums, 2), channels);
        let each = channels / groups * rows * columns;
        B::float_div_scalar(sum, (each as f64).into())
    };
    let shares = B::float_add(
        share(slopes.clone()),
        B::float_mul(unit, share(products.clone())),
    );
    let direct = B::float_mul(gradient, gamma.clone());
    ByGroupGradients {
        x: B::float_mul(B::float_sub(direct, shares), inverse_std),
        gamma: over_images(products),
        beta: over_images(slopes),
    }
}

#[derive(Debug)]
struct Normalise;

impl<B: GroupNormOps> Backward<B, 3> for Normalise {
    // The input and gamma are kept as checkpoints; the statistics as the forward pass found them.
    type State = (NodeId, NodeId, usize, FloatTensor<B>, FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [x_node, gamma_node, beta_node] = ops.parents;
        let gradient = grads.consume::<B>(&ops.node);
        let (x, gamma, groups, mean, inverse_std) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let gamma = checkpointer.retrieve_node_output::<FloatTensor<B>>(gamma);
        let made = B::by_group_gradients(x, groups, gamma, mean, inverse_std, gradient);
        for (node, gradient) in [
            (x_node, made.x),
            (gamma_node, made.gamma),
            (beta_node, made.beta),
        ] {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: GroupNormOps, C: CheckpointStrategy> GroupNormOps for Autodiff<B, C> {
    fn by_group(
        x: FloatTensor<Self>,
        groups: usize,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> ByGroup<Self> {
        let prepared = Normalise
            .prepare::<C>([x.node(), gamma.node(), beta.node()])
            .compute_bound()
            .stateful();
        let run = |x: FloatTensor<Self>, gamma: FloatTensor<Self>| {
            let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
            B::by_group(x, groups, gamma, beta.into_primitive(), epsilon)
        };
        let (maps, made) = match prepared {
            OpsKind::Tracked(mut prepared) => {
                let (x_state, gamma_state) = (prepared.checkpoint(&x), prepared.checkpoint(&gamma));
                let made = run(x, gamma);
                let (mean, inverse_std) = (made.mean.clone(), made.inverse_std.clone());
                let state = (x_state, gamma_state, groups, mean, inverse_std);
                (prepared.finish(state, made.maps.clone()), made)
            }
            OpsKind::UnTracked(prepared) => {
                let made = run(x, gamma);
                (prepared.finish(made.maps.clone()), made)
            }
        };
        ByGroup {
            maps,
            mean: FloatTensor::<Self>::new(made.mean),
            inverse_std: FloatTensor::<Self>::new(made.inverse_std),
        }
    }

    fn by_group_gradients(
        _x: FloatTensor<Self>,
        _groups: usize,
        _gamma: FloatTensor<Self>,
        _mean: FloatTensor<Self>,
        _inverse_std: FloatTensor<Self>,
        _gradient: FloatTensor<Self>,
    ) -> ByGroupGradients<Self> {
        panic!("group norm can be differentiated once");
    }
}

/// Normalised maps, and mean and inverse standard deviation as the kernels leave them, `[N, C]`.
pub(super) struct Normalised {
    pub maps: CubeTensor,
    mean: CubeTensor,
    inverse_std: CubeTensor,
}

/// The forward pass of maps that lie channels last, and come out so.
pub(super) fn channels_last(
    x: CubeTensor,
    groups: usize,
    [gamma, beta]: [CubeTensor; 2],
    epsilon: f64,
    activation: Option<Nonlinearity>,
) -> Normalised {
    let [batch, height, width, channels] = x.shape().dims();
    let norm = GroupNorm {
        images: batch as u32,
        rows: (height * width) as u32,
        channels: channels as u32,
        groups: groups as u32,
        epsilon: epsilon as f32,
        activation: named(activation),
        storage: storage(&x),
    };
    let tier = tier(&x);
    let sums = || output_of(&x, [batch, channels], DType::F32);
    let (channel_mean, squares, mean, inverse_std) = (sums(), sums(), sums(), sums());
    let parts = output_of(&x, [norm.scratch(tier) as usize], DType::F32);
    let maps = output(&x, [batch, height, width, channels]);
    let [x, gamma, beta] = [x, gamma, beta].map(into_contiguous);
    let buffers: [&[&CubeTensor]; 4] = [
        &[&x, &parts],
        &[&parts, &channel_mean, &squares],
        &[&channel_mean, &squares, &mean, &inverse_std],
        &[&x, &mean, &inverse_std, &gamma, &beta, &maps],
    ];
    let kernels = made(&norm, tier, GroupNorm::kernels);
    for (kernel, buffers) in kernels.iter().zip(buffers) {
        launch(kernel, buffers);
    }
    Normalised {
        maps,
        mean,
        inverse_std,
    }
}

impl GroupNormOps for Cube {
    fn by_group(
        x: FloatTensor<Self>,
        groups: usize,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> ByGroup<Self> {
        if !suits(&x) {
            return in_steps::<Self>(x, groups, gamma, beta, epsilon);
        }
        let x = turned(x, CHANNELS_LAST);
        let made = channels_last(x, groups, [gamma, beta], epsilon, None);
        let as_maps = |numbers: CubeTensor| {
            let [n, channels] = numbers.shape().dims();
            Self::float_reshape(numbers, Shape::new([n, channels, 1, 1]))
        };
        ByGroup {
            maps: turned(made.maps, CHANNELS_FIRST),
            mean: as_maps(made.mean),
            inverse_std: as_maps(made.inverse_std),
        }
    }

    fn by_group_gradients(
        x: FloatTensor<Self>,
        groups: usize,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        inverse_std: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> ByGroupGradients<Self> {
        if !suits(&x) {
            return gradients_in_steps::<Self>(x, groups, gamma, mean, inverse_std, gradient);
        }
        let [batch, channels, height, width] = x.shape().dims();
        let norm = GroupNormGradient {
            images: batch as u32,
            rows: (height * width) as u32,
            channels: channels as u32,
            groups: groups as u32,
        };
        let tier = tier(&x);
        let sums = || output(&x, [batch, channels]);
        let (products, slopes) = (sums(), sums());
        let (product_share, slope_share) = (sums(), sums());
        let (dgamma, dbeta) = (output(&x, [channels]), output(&x, [channels]));
        let parts = output(&x, [norm.scratch(tier) as usize]);
        let dx = output(&x, [batch, height, width, channels]);
        let x = laid_out(x, CHANNELS_LAST);
        let dy = laid_out(gradient, CHANNELS_LAST);
        let gamma = into_contiguous(gamma);
        let (shares, statistics) = ([&product_share, &slope_share], [&mean, &inverse_std]);
        let buffers: [&[&[&CubeTensor]]; 4] = [
            &[&[&x, &dy], &statistics, &[&parts]],
            &[&[&parts, &products, &slopes]],
            &[&[&products, &slopes, &gamma], &shares, &[&dgamma, &dbeta]],
            &[&[&x, &dy], &statistics, &[&gamma], &shares, &[&dx]],
        ];
        let kernels = made(&norm, tier, GroupNormGradient::kernels);
        for (kernel, buffers) in kernels.iter().zip(buffers) {
            launch(kernel, &buffers.concat());
        }
        ByGroupGradients {
            x: turned(dx, CHANNELS_FIRST),
            gamma: dgamma,
            beta: dbeta,
        }
    }
}
