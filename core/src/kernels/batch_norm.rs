//! Batch norm in training: the statistics of the batch, gradients through them, and what is kept of them.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, Flex, backend_extension};
use burn::tensor::Tensor;
use {
    super::adapter::{laid_out, runs_wgsl, tier, turned},
    super::conv::{CHANNELS_FIRST, CHANNELS_LAST},
    super::way_back,
    burn_cubecl::Cube,
    rekindle_shaders::Activation,
};

/// What batch norm in training makes.
#[derive(Debug, Clone)]
pub struct BatchNormalised<const D: usize> {
    /// What came in, normalised.
    pub output: Tensor<D>,
    /// The mean of each channel, `[C]`.
    pub mean: Tensor<1>,
    /// The unbiased variance of each channel, `[C]`: the one that PyTorch's running variance takes in, where Burn's own
    /// module takes the biased one.
    pub variance: Tensor<1>,
}

/// Batch norm by the statistics of the batch, of maps, tokens or features.
///
/// # Shapes
///
/// - x: `[N, C, …]`
/// - gamma, beta: `[C]`
pub fn batch_norm_by_batch<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> BatchNormalised<D> {
    let shape = x.shape();
    let (images, channels) = (shape[0], shape[1]);
    let positions = shape.num_elements() / images / channels;
    // Maps keep their rows and columns; features have one position.
    let maps = match shape.num_dims() {
        4 => x.reshape([images, channels, shape[2], shape[3]]),
        _ => x.reshape([images, channels, positions, 1]),
    };
    let (maps, mean, inverse_std) = batch_norm_train(maps, gamma, beta, epsilon);
    let each = (images * positions) as f64;
    let unbiased = each / (each - 1.0).max(1.0);
    BatchNormalised {
        output: maps.reshape(shape),
        mean,
        variance: (inverse_std.powi_scalar(-2) - epsilon) * unbiased,
    }
}

/// Maps normalised by their own statistics: the result, the mean of each channel and the inverse of its
/// (biased) standard deviation. The statistics take no gradients.
///
/// # Shapes
///
/// - x: `[N, C, H, W]`
/// - gamma, beta: `[C]`
pub(super) fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let (gamma, beta) = (gamma.into_dispatch(), beta.into_dispatch());
    let made = <Dispatch as BatchNormOps>::by_batch(x.into_dispatch(), gamma, beta, epsilon);
    (
        Tensor::from_dispatch(made.maps),
        Tensor::from_dispatch(made.mean),
        Tensor::from_dispatch(made.inverse_std),
    )
}

/// What normalising by the batch makes.
#[derive(ExtensionType)]
pub(crate) struct ByBatch<B: Backend> {
    maps: FloatTensor<B>,
    mean: FloatTensor<B>,
    inverse_std: FloatTensor<B>,
}

/// The gradients of input, gamma and beta.
#[derive(ExtensionType)]
pub(crate) struct ByBatchGradients<B: Backend> {
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
}

/// The operation, for each backend. Its default is Burn's own, which is the processor's.
#[backend_extension(Cube, Flex, Autodiff)]
pub(crate) trait BatchNormOps: Backend {
    fn by_batch(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> ByBatch<Self> {
        in_steps::<Self>(x, gamma, beta, epsilon)
    }

    fn by_batch_gradients(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        inverse_std: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> ByBatchGradients<Self> {
        gradients_in_steps::<Self>(x, gamma, mean, inverse_std, gradient, epsilon)
    }
}

impl BatchNormOps for Flex {}

fn in_steps<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    epsilon: f64,
) -> ByBatch<B> {
    let made = B::batch_norm_train(x, gamma, beta, epsilon);
    let std = B::float_sqrt(B::float_add_scalar(made.variance, epsilon.into()));
    ByBatch {
        maps: made.output,
        mean: made.mean,
        inverse_std: B::float_recip(std),
    }
}

fn gradients_in_steps<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    mean: FloatTensor<B>,
    inverse_std: FloatTensor<B>,
    gradient: FloatTensor<B>,
    epsilon: f64,
) -> ByBatchGradients<B> {
    let squared = B::float_mul(inverse_std.clone(), inverse_std);
    let variance = B::float_sub_scalar(B::float_recip(squared), epsilon.into());
    let made = B::batch_norm_train_backward(x, gamma, mean, variance, epsilon, gradient);
    ByBatchGradients {
        x: made.x_grad,
        gamma: made.gamma_grad,
        beta: made.beta_grad,
    }
}

#[derive(Debug)]
struct Normalise;

impl<B: BatchNormOps> Backward<B, 3> for Normalise {
    // The input and gamma are kept as checkpoints; the statistics as the forward pass found them.
    type State = (NodeId, NodeId, FloatTensor<B>, FloatTensor<B>, f64);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [x_node, gamma_node, beta_node] = ops.parents;
        let gradient = grads.consume::<B>(&ops.node);
        let (x, gamma, mean, inverse_std, epsilon) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let gamma = checkpointer.retrieve_node_output::<FloatTensor<B>>(gamma);
        let made = B::by_batch_gradients(x, gamma, mean, inverse_std, gradient, epsilon);
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

impl<B: BatchNormOps, C: CheckpointStrategy> BatchNormOps for Autodiff<B, C> {
    fn by_batch(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> ByBatch<Self> {
        let prepared = Normalise
            .prepare::<C>([x.node(), gamma.node(), beta.node()])
            .compute_bound()
            .stateful();
        let run = |x: FloatTensor<Self>, gamma: FloatTensor<Self>| {
            let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
            B::by_batch(x, gamma, beta.into_primitive(), epsilon)
        };
        let (maps, made) = match prepared {
            OpsKind::Tracked(mut prepared) => {
                let (x_state, gamma_state) = (prepared.checkpoint(&x), prepared.checkpoint(&gamma));
                let made = run(x, gamma);
                let (mean, inverse_std) = (made.mean.clone(), made.inverse_std.clone());
                let state = (x_state, gamma_state, mean, inverse_std, epsilon);
                (prepared.finish(state, made.maps.clone()), made)
            }
            OpsKind::UnTracked(prepared) => {
                let made = run(x, gamma);
                (prepared.finish(made.maps.clone()), made)
            }
        };
        ByBatch {
            maps,
            mean: FloatTensor::<Self>::new(made.mean),
            inverse_std: FloatTensor::<Self>::new(made.inverse_std),
        }
    }

    fn by_batch_gradients(
        _x: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _mean: FloatTensor<Self>,
        _inverse_std: FloatTensor<Self>,
        _gradient: FloatTensor<Self>,
        _epsilon: f64,
    ) -> ByBatchGradients<Self> {
        panic!("batch norm can be differentiated once");
    }
}

impl BatchNormOps for Cube {
    fn by_batch(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> ByBatch<Self> {
        if !runs_wgsl(&x) {
            return in_steps::<Self>(x, gamma, beta, epsilon);
        }
        let norm = way_back::ByBatch {
            epsilon: epsilon as f32,
            share: 0.0,
            activation: Activation::None,
        };
        let tier = tier(&x);
        let x = laid_out(x, CHANNELS_LAST);
        let [maps, mean, inverse_std] =
            way_back::by_batch([&x, &gamma, &beta], &[], None, norm, tier);
        ByBatch {
            maps: turned(maps, CHANNELS_FIRST),
            mean,
            inverse_std,
        }
    }

    fn by_batch_gradients(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        inverse_std: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> ByBatchGradients<Self> {
        if !runs_wgsl(&x) {
            return gradients_in_steps::<Self>(x, gamma, mean, inverse_std, gradient, epsilon);
        }
        let tier = tier(&x);
        let [x, dy] = [x, gradient].map(|maps| laid_out(maps, CHANNELS_LAST));
        // Without a function the summands are not asked for: the factors stand in for them.
        let given = [&x, &dy, &mean, &inverse_std, &gamma, &gamma];
        let [dx, gamma, beta] = way_back::of_norm(given, &[], Activation::None, tier);
        ByBatchGradients {
            x: turned(dx, CHANNELS_FIRST),
            gamma,
            beta,
        }
    }
}
