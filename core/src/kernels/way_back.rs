//! What a network in training does on adapters: jobs of its program and their ways back, channels last, in 32 bits.
//!
//! A kernel is launched for each of these as it is asked for, and nothing is recorded: what a way back needs is handed to
//! it. The processor has kernels of its own for all of this (`rekindle-cpu`), so there is no other implementation.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use burn_cubecl::Cube;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use rekindle_shaders::{
    Activation, ActivationGradient, AvgPool, BatchNormGradient, BatchNormTrain, Change, ColumnSums,
    Elementwise, Epilogue, FrozenNorm, LayerNormGradient, MatMul, MaxPool, PoolGradient, Softmax,
    SoftmaxGradient, Storage, Tier, Window, Winograd,
};

use super::adapter::{output, tier, turned};
use super::choice::{Forward, Sizes};
use super::conv::{CHANNELS_FIRST, gathered, gradient_of_weight, turned_back};
use super::formula::Several;
use super::launch::{launch, made, made_one};
use crate::binding::LARGEST_BINDING;

/// `activation(conv(x) + bias + residual)`.
///
/// # Shapes
///
/// - x: `[N, H, W, C]`
/// - weight: `[rows, columns, C / groups, filters]`, in whatever shape
/// - bias: `[filters]`
/// - residual, and what is returned: `[N, H out, W out, filters]`
pub(crate) fn convolved(
    x: Tensor<4>,
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    residual: Option<Tensor<4>>,
    sizes: Sizes,
    activation: Activation,
) -> Tensor<4> {
    let epilogue = Epilogue {
        bias: bias.is_some(),
        residual: residual.is_some(),
        activation,
    };
    let mut tensors = vec![x.into_dispatch(), weight.into_dispatch()];
    tensors.extend(bias.map(Tensor::into_dispatch));
    tensors.extend(residual.map(Tensor::into_dispatch));
    one(tensors, Work::Convolved { sizes, epilogue })
}

/// The gradient of a convolution's input, added to what is known of it so far.
///
/// # Shapes
///
/// - slope: `[N, H out, W out, filters]`
/// - weight: as [`convolved`] takes it
/// - so_far, and what is returned: `[N, H, W, C]`
pub(crate) fn input_gradient(
    slope: Tensor<4>,
    weight: Tensor<1>,
    so_far: Option<Tensor<4>>,
    sizes: Sizes,
) -> Tensor<4> {
    let mut tensors = vec![slope.into_dispatch(), weight.into_dispatch()];
    tensors.extend(so_far.map(Tensor::into_dispatch));
    one(tensors, Work::InputGradient(sizes))
}

/// The gradient of a convolution's weight.
///
/// # Shapes
///
/// - x: `[N, H, W, C]`
/// - slope: `[N, H out, W out, filters]`
/// - returns: `[rows · columns · C / groups · filters]`, as [`convolved`] takes the weight
pub(crate) fn weight_gradient(x: Tensor<4>, slope: Tensor<4>, sizes: Sizes) -> Tensor<1> {
    one(
        vec![x.into_dispatch(), slope.into_dispatch()],
        Work::WeightGradient(sizes),
    )
}

/// The sums of columns.
///
/// # Shapes
///
/// - rows: `[…, columns]`
/// - returns: `[columns]`
pub(crate) fn column_sums(rows: Tensor<4>) -> Tensor<1> {
    one(vec![rows.into_dispatch()], Work::ColumnSums)
}

/// Maps normalised by the batch's statistics, and what ends them: `activation(norm(x) + residual)`; the mean of each channel, and
/// the inverse of its (biased) deviation.
///
/// # Shapes
///
/// - x, residual and the first that is returned: `[N, H, W, C]`
/// - all others: `[C]`
pub(crate) fn normalised(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    residual: Option<Tensor<4>>,
    epsilon: f64,
    activation: Activation,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let work = Work::Normalised {
        epsilon: epsilon as f32,
        residual: residual.is_some(),
        activation,
    };
    let mut tensors = vec![
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
    ];
    tensors.extend(residual.map(Tensor::into_dispatch));
    let [maps, mean, inverse] = several(tensors, work);
    (
        Tensor::from_dispatch(maps),
        [mean, inverse].map(Tensor::from_dispatch),
    )
}

/// A batch norm that keeps its statistics, behind a product whose bias (if it has one) is not added: `1 / √(variance + ε)`,
/// and the factor and the summand of each channel.
///
/// # Shapes
///
/// - all: `[C]`
pub(crate) fn frozen_norm(
    [gamma, beta, mean, variance]: [Tensor<1>; 4],
    bias: Option<Tensor<1>>,
    epsilon: f64,
) -> [Tensor<1>; 3] {
    let mut tensors: Vec<_> = [gamma, beta, mean, variance]
        .map(Tensor::into_dispatch)
        .into();
    tensors.extend(bias.map(Tensor::into_dispatch));
    let epsilon = epsilon as f32;
    several(tensors, Work::FrozenNorm { epsilon }).map(Tensor::from_dispatch)
}

/// The gradients of what [`normalised`] was given, and of gamma and beta, from the gradient of what comes before its ending.
///
/// # Shapes
///
/// - x, slope and the first that is returned: `[N, H, W, C]`
/// - all others: `[C]`
pub(crate) fn normalised_gradients(
    x: Tensor<4>,
    slope: Tensor<4>,
    gamma: Tensor<1>,
    [mean, inverse]: [Tensor<1>; 2],
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let tensors = vec![
        x.into_dispatch(),
        slope.into_dispatch(),
        mean.into_dispatch(),
        inverse.into_dispatch(),
        gamma.into_dispatch(),
    ];
    let [of_x, of_gamma, of_beta] = several(tensors, Work::NormalisedGradients);
    (
        Tensor::from_dispatch(of_x),
        [of_gamma, of_beta].map(Tensor::from_dispatch),
    )
}

/// For each channel `Σ slope · (x − centre) · scale` and `Σ slope`.
///
/// # Shapes
///
/// - x, slope: `[N, H, W, C]`
/// - all others: `[C]`
pub(crate) fn channel_products(
    x: Tensor<4>,
    slope: Tensor<4>,
    centre: Tensor<1>,
    scale: Tensor<1>,
) -> [Tensor<1>; 2] {
    let tensors = vec![
        x.into_dispatch(),
        slope.into_dispatch(),
        centre.into_dispatch(),
        scale.into_dispatch(),
    ];
    several(tensors, Work::ChannelProducts).map(Tensor::from_dispatch)
}

/// The way back through an activation: the gradient times the derivative, by what is kept (see
/// [`Activation::keeps_output`]).
pub(crate) fn through(activation: Activation, kept: Tensor<4>, slope: Tensor<4>) -> Tensor<4> {
    if activation == Activation::None {
        return slope;
    }
    one(
        vec![slope.into_dispatch(), kept.into_dispatch()],
        Work::Through(activation),
    )
}

/// The largest number of each window.
///
/// # Shapes
///
/// - x: `[N, H, W, C]`
/// - returns: `[N, H out, W out, C]`
pub(crate) fn max_pooled(x: Tensor<4>, window: Window) -> Tensor<4> {
    one(vec![x.into_dispatch()], Work::MaxPooled(window))
}

/// The mean of each window, whose padding counts.
///
/// # Shapes
///
/// As [`max_pooled`].
pub(crate) fn avg_pooled(x: Tensor<4>, window: Window) -> Tensor<4> {
    one(vec![x.into_dispatch()], Work::AvgPooled(window))
}

/// An elementwise function.
pub(crate) fn activated(x: Tensor<4>, activation: Activation) -> Tensor<4> {
    one(vec![x.into_dispatch()], Work::Changed(activation))
}

/// `activation(x + y)`, of equal shapes.
pub(crate) fn added(x: Tensor<4>, y: Tensor<4>, activation: Activation) -> Tensor<4> {
    let tensors = vec![x.into_dispatch(), y.into_dispatch()];
    one(tensors, Work::Changed(activation))
}

/// The gradient of a maximum pool's input.
///
/// # Shapes
///
/// - x, and what is returned: `[N, H, W, C]`
/// - y, slope: `[N, H out, W out, C]`
pub(crate) fn max_pool_gradient(
    x: Tensor<4>,
    y: Tensor<4>,
    slope: Tensor<4>,
    window: Window,
) -> Tensor<4> {
    let tensors = [x, y, slope].map(Tensor::into_dispatch).into();
    one(tensors, Work::MaxPoolGradient(window))
}

/// The gradient of an average pool's input, whose padding counts.
///
/// # Shapes
///
/// - slope: `[N, H out, W out, C]`
/// - returns: `[N, H, W, C]`
pub(crate) fn avg_pool_gradient(slope: Tensor<4>, window: Window) -> Tensor<4> {
    one(vec![slope.into_dispatch()], Work::AvgPoolGradient(window))
}

/// The gradient of a layer norm's input, and those of gamma and beta.
///
/// # Shapes
///
/// - x, slope, and the first that is returned: `[N, H, W, C]`
/// - all others: `[C]`
pub(crate) fn layer_norm_gradients(
    x: Tensor<4>,
    slope: Tensor<4>,
    gamma: Tensor<1>,
    epsilon: f32,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let tensors = vec![
        x.into_dispatch(),
        slope.into_dispatch(),
        gamma.into_dispatch(),
    ];
    let [of_x, of_gamma, of_beta] = several(tensors, Work::LayerNormGradients { epsilon });
    (
        Tensor::from_dispatch(of_x),
        [of_gamma, of_beta].map(Tensor::from_dispatch),
    )
}

/// The product of matrices, each of which may lie turned.
///
/// # Shapes
///
/// - a: `[batch, rows, depth]`, turned `[batch, depth, rows]`
/// - b: `[batch, depth, columns]`, turned `[batch, columns, depth]`
/// - returns: `[batch, rows, columns]`
pub(crate) fn product(a: Tensor<3>, b: Tensor<3>, turned: [bool; 2]) -> Tensor<3> {
    one(
        vec![a.into_dispatch(), b.into_dispatch()],
        Work::Product { turned },
    )
}

/// The softmax of rows.
pub(crate) fn softmax_rows(x: Tensor<3>) -> Tensor<3> {
    one(vec![x.into_dispatch()], Work::Softmax)
}

/// The gradient of what [`softmax_rows`] was given, by what it made.
pub(crate) fn softmax_gradient(made: Tensor<3>, slope: Tensor<3>) -> Tensor<3> {
    one(
        vec![made.into_dispatch(), slope.into_dispatch()],
        Work::SoftmaxGradient,
    )
}

fn one<const D: usize>(tensors: Vec<FloatTensor<Dispatch>>, work: Work) -> Tensor<D> {
    let [made] = several(tensors, work);
    Tensor::from_dispatch(made)
}

fn several<const N: usize>(
    tensors: Vec<FloatTensor<Dispatch>>,
    work: Work,
) -> [FloatTensor<Dispatch>; N] {
    let Some(tensors) = Several::of(tensors) else {
        unreachable!("one to six tensors are given: {work:?}")
    };
    match Dispatch::worked(tensors, work).try_into() {
        Ok(made) => made,
        Err(_) => unreachable!("each kind of work makes what it is asked for: {work:?}"),
    }
}

/// What is done to some tensors; see the functions above.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    Convolved {
        sizes: Sizes,
        epilogue: Epilogue,
    },
    InputGradient(Sizes),
    WeightGradient(Sizes),
    ColumnSums,
    Normalised {
        epsilon: f32,
        residual: bool,
        activation: Activation,
    },
    FrozenNorm {
        epsilon: f32,
    },
    NormalisedGradients,
    ChannelProducts,
    Through(Activation),
    /// One tensor, or the sum of two.
    Changed(Activation),
    MaxPooled(Window),
    AvgPooled(Window),
    MaxPoolGradient(Window),
    AvgPoolGradient(Window),
    LayerNormGradients {
        epsilon: f32,
    },
    Product {
        turned: [bool; 2],
    },
    Softmax,
    SoftmaxGradient,
}

/// The operations, on adapters.
#[backend_extension(Cube, Flex)]
pub(crate) trait WayBackOps: Backend {
    fn worked(#[extension_type] _tensors: Several<Self>, work: Work) -> Vec<FloatTensor<Self>> {
        unreachable!("the processor trains by kernels of its own: {work:?}")
    }
}

impl WayBackOps for Flex {}

impl WayBackOps for Cube {
    fn worked(tensors: Several<Self>, work: Work) -> Vec<FloatTensor<Self>> {
        let given: Vec<CubeTensor> = tensors.all().into_iter().map(into_contiguous).collect();
        let tier = tier(&given[0]);
        let all: Vec<&CubeTensor> = given.iter().collect();
        match (work, &all[..]) {
            (Work::Convolved { sizes, epilogue }, &[x, weight, ref ending @ ..]) => {
                let forward = within_bindings(&sizes, epilogue, tier);
                vec![forward_by(
                    &forward,
                    &sizes,
                    [x, weight],
                    ending,
                    tier,
                    false,
                )]
            }
            (Work::InputGradient(sizes), &[slope, weight, ref so_far @ ..]) => {
                let epilogue = Epilogue {
                    residual: !so_far.is_empty(),
                    ..Epilogue::default()
                };
                vec![of_input(&sizes, epilogue, [slope, weight], so_far, tier)]
            }
            (Work::WeightGradient(sizes), &[x, slope]) => {
                let taken = [x, slope].map(|maps| as_maps_first(maps.clone()));
                let [x, slope] = taken;
                vec![flat(gradient_of_weight(x, slope, &sizes))]
            }
            (Work::ColumnSums, &[rows]) => vec![summed(rows, tier)],
            (
                Work::Normalised {
                    epsilon,
                    residual,
                    activation,
                },
                all,
            ) => by_batch(all, epsilon, residual, activation, tier),
            (Work::FrozenNorm { epsilon }, all) => {
                let [channels] = all[0].shape().dims();
                let norm = FrozenNorm {
                    channels: channels as u32,
                    epsilon,
                    bias: all.len() > 4,
                };
                let results = [0; 3].map(|_| output(all[0], [channels]));
                let [inverse, scale, shift] = &results;
                let kernel = made_one(&norm, tier, FrozenNorm::kernel);
                launch(&kernel, &[all, &[inverse, scale, shift]].concat());
                results.into()
            }
            (Work::NormalisedGradients, &[x, slope, mean, inverse, gamma]) => {
                let [of_gamma, of_beta] = products([x, slope, mean, inverse], tier);
                let of_x = output(x, maps_of(x));
                let norm = gradient_of(x);
                let kernels = made(&norm, tier, BatchNormGradient::kernels);
                let last = [x, slope, mean, inverse, gamma, &of_gamma, &of_beta, &of_x];
                launch(&kernels[2], &last);
                vec![of_x, of_gamma, of_beta]
            }
            (Work::ChannelProducts, &[x, slope, centre, scale]) => {
                products([x, slope, centre, scale], tier).into()
            }
            (Work::Through(activation), &[slope, kept]) => {
                let operation = ActivationGradient {
                    count: slope.shape().num_elements() as u32,
                    activation,
                };
                let result = output(slope, maps_of(slope));
                let kernel = made_one(&operation, tier, ActivationGradient::kernel);
                launch(&kernel, &[slope, kept, &result]);
                vec![result]
            }
            (Work::Changed(activation), all) => {
                let [batch, rows, columns, channels] = maps_of(all[0]);
                let operation = Elementwise {
                    batch: batch as u32,
                    pixels: (rows * columns) as u32,
                    channels: channels as u32,
                    change: if all.len() > 1 {
                        Change::Add
                    } else {
                        Change::Nothing
                    },
                    activation,
                    storage: Storage::F32,
                };
                let result = output(all[0], maps_of(all[0]));
                let kernel = made_one(&operation, tier, Elementwise::kernel);
                launch(&kernel, &[all, &[&result]].concat());
                vec![result]
            }
            (Work::MaxPooled(window), &[x]) => {
                let (batch, channels, result) = pooled(x, window);
                let operation = MaxPool {
                    batch,
                    channels,
                    window,
                    storage: Storage::F32,
                };
                launch(&made_one(&operation, tier, MaxPool::kernel), &[x, &result]);
                vec![result]
            }
            (Work::AvgPooled(window), &[x]) => {
                let (batch, channels, result) = pooled(x, window);
                let operation = AvgPool {
                    batch,
                    channels,
                    window,
                    count_include_pad: true,
                    storage: Storage::F32,
                };
                launch(&made_one(&operation, tier, AvgPool::kernel), &[x, &result]);
                vec![result]
            }
            (Work::MaxPoolGradient(window), &[x, y, slope]) => {
                let result = pooled_back(slope, window, true);
                let kernel = made_one(&result.0, tier, PoolGradient::kernel);
                launch(&kernel, &[x, y, slope, &result.1]);
                vec![result.1]
            }
            (Work::AvgPoolGradient(window), &[slope]) => {
                let result = pooled_back(slope, window, false);
                let kernel = made_one(&result.0, tier, PoolGradient::kernel);
                launch(&kernel, &[slope, &result.1]);
                vec![result.1]
            }
            (Work::LayerNormGradients { epsilon }, &[x, slope, gamma]) => {
                of_layer_norm([x, slope, gamma], epsilon, tier)
            }
            (Work::Product { turned }, &[a, b]) => vec![multiplied(a, b, turned, tier)],
            (Work::Softmax, &[x]) => {
                let [batch, rows, columns] = x.shape().dims();
                let operation = Softmax {
                    rows: (batch * rows) as u32,
                    columns: columns as u32,
                    storage: Storage::F32,
                };
                let result = output(x, [batch, rows, columns]);
                launch(&made_one(&operation, tier, Softmax::kernel), &[x, &result]);
                vec![result]
            }
            (Work::SoftmaxGradient, &[y, slope]) => {
                let [batch, rows, columns] = y.shape().dims();
                let operation = SoftmaxGradient {
                    rows: (batch * rows) as u32,
                    columns: columns as u32,
                };
                let result = output(y, [batch, rows, columns]);
                let kernel = made_one(&operation, tier, SoftmaxGradient::kernel);
                launch(&kernel, &[y, slope, &result]);
                vec![result]
            }
            (work, all) => unreachable!("{} tensors for {work:?}", all.len()),
        }
    }
}

/// The shape of maps, channels last.
fn maps_of(x: &CubeTensor) -> [usize; 4] {
    x.shape().dims()
}

/// Maps that lie channels last, as those who know them channels first see them.
fn as_maps_first(x: CubeTensor) -> CubeTensor {
    turned(x, CHANNELS_FIRST)
}

/// All numbers in the order in which they lie.
fn flat(mut tensor: CubeTensor) -> CubeTensor {
    let count = tensor.shape().num_elements();
    tensor.meta.shape = Shape::new([count]);
    tensor.meta.strides = [1].into();
    tensor
}

/// How a convolution is done whose batch is not cut: by Winograd's method where its scratch memory fits into a binding.
fn within_bindings(sizes: &Sizes, epilogue: Epilogue, tier: Tier) -> Forward {
    match sizes.frozen(epilogue, Storage::F32, tier) {
        Forward::Winograd(conv)
            if conv
                .scratch()
                .iter()
                .any(|&numbers| numbers as usize * size_of::<f32>() > LARGEST_BINDING) =>
        {
            sizes.forward(epilogue, Storage::F32)
        }
        forward => forward,
    }
}

/// A convolution forward, or what is computed as one, from weights that are transformed first where the method wants it.
fn forward_by(
    forward: &Forward,
    sizes: &Sizes,
    [x, weight]: [&CubeTensor; 2],
    ending: &[&CubeTensor],
    tier: Tier,
    is_turned: bool,
) -> CubeTensor {
    let result = output(x, sizes.output());
    let kernels = made(forward, tier, Forward::kernels);
    match (forward, &kernels[..]) {
        (Forward::Winograd(conv), [input, products, last]) => {
            let transformed = output(x, [conv.weights_length() as usize]);
            let transform =
                made_one(
                    &(*conv, is_turned),
                    tier,
                    |(conv, is_turned), tier| match is_turned {
                        true => conv.turned_weights(tier),
                        false => conv.weights(tier),
                    },
                );
            launch(&transform, &[weight, &transformed]);
            let [tiles, sums] = conv.scratch().map(|numbers| output(x, [numbers as usize]));
            launch(input, &[x, &tiles]);
            launch(products, &[&tiles, &transformed, &sums]);
            launch(last, &[&[&sums], ending, &[&result]].concat());
        }
        (_, kernels) => launch(&kernels[0], &[&[x, weight], ending, &[&result]].concat()),
    }
    result
}

/// The gradient of a convolution's input: by Winograd's method where the convolution could go that way, too.
fn of_input(
    sizes: &Sizes,
    epilogue: Epilogue,
    [slope, weight]: [&CubeTensor; 2],
    so_far: &[&CubeTensor],
    tier: Tier,
) -> CubeTensor {
    if let Some(conv) = turned_winograd(sizes, epilogue, tier) {
        let forward = Forward::Winograd(conv);
        return forward_by(
            &forward,
            &sizes.mirrored(),
            [slope, weight],
            so_far,
            tier,
            true,
        );
    }
    let Window { rows, columns } = sizes.window;
    let [down, across] = [rows, columns].map(|side| side.kernel as usize);
    let each = sizes.channels / sizes.groups;
    let mut weight = weight.clone();
    let shape = [down, across, each, sizes.filters];
    weight.meta.shape = Shape::new(shape);
    weight.meta.strides = [
        across * each * sizes.filters,
        each * sizes.filters,
        sizes.filters,
        1,
    ]
    .into();
    // As PyTorch has it, which is what is turned.
    let weight = turned(weight, [3, 2, 0, 1]);
    let weight = turned_back(weight, sizes.groups);
    gathered(&weight, slope, sizes, epilogue, so_far)
}

/// Winograd's method for the gradient of a convolution's input, where it is possible and known to win.
fn turned_winograd(sizes: &Sizes, epilogue: Epilogue, tier: Tier) -> Option<Winograd> {
    let Window { rows, columns } = sizes.window;
    let goes = [rows, columns]
        .iter()
        .all(|side| side.stride == 1 && side.padding < side.kernel);
    if !goes {
        return None;
    }
    match within_bindings(&sizes.mirrored(), epilogue, tier) {
        Forward::Winograd(conv) => Some(conv),
        Forward::Dense(_) | Forward::Depthwise(_) => None,
    }
}

fn gradient_of(x: &CubeTensor) -> BatchNormGradient {
    let [batch, rows, columns, channels] = maps_of(x);
    BatchNormGradient {
        rows: (batch * rows * columns) as u32,
        channels: channels as u32,
    }
}

/// `Σ slope · (x − centre) · scale` and `Σ slope` of each channel.
fn products([x, slope, centre, scale]: [&CubeTensor; 4], tier: Tier) -> [CubeTensor; 2] {
    let norm = gradient_of(x);
    let channels = norm.channels as usize;
    let kernels = made(&norm, tier, BatchNormGradient::kernels);
    let sums = [output(x, [channels]), output(x, [channels])];
    let scratch = output(x, [norm.scratch(tier) as usize]);
    launch(&kernels[0], &[x, slope, centre, scale, &scratch]);
    launch(&kernels[1], &[&scratch, &sums[0], &sums[1]]);
    sums
}

fn summed(rows: &CubeTensor, tier: Tier) -> CubeTensor {
    let shape = rows.shape();
    let columns = shape[shape.num_dims() - 1];
    let sums = ColumnSums {
        rows: (shape.num_elements() / columns) as u32,
        columns: columns as u32,
    };
    let result = output(rows, [columns]);
    let kernels = made(&sums, tier, ColumnSums::kernels);
    match &kernels[..] {
        [parts, join] => {
            let scratch = output(rows, [sums.scratch(tier) as usize]);
            launch(parts, &[rows, &scratch]);
            launch(join, &[&scratch, &result]);
        }
        kernels => launch(&kernels[0], &[rows, &result]),
    }
    result
}

fn by_batch(
    all: &[&CubeTensor],
    epsilon: f32,
    residual: bool,
    activation: Activation,
    tier: Tier,
) -> Vec<CubeTensor> {
    let &[x, gamma, beta, ref ending @ ..] = all else {
        unreachable!("a norm takes maps, gamma and beta")
    };
    let [batch, rows, columns, channels] = maps_of(x);
    let norm = BatchNormTrain {
        rows: (batch * rows * columns) as u32,
        channels: channels as u32,
        epsilon,
        residual,
        activation,
    };
    let [mean, inverse] = [output(x, [channels]), output(x, [channels])];
    let scratch = output(x, [norm.scratch(tier) as usize]);
    let maps = output(x, maps_of(x));
    let kernels = made(&norm, tier, BatchNormTrain::kernels);
    launch(&kernels[0], &[x, &scratch]);
    launch(&kernels[1], &[&scratch, &mean, &inverse]);
    let first = [x, &mean, &inverse, gamma, beta];
    launch(&kernels[2], &[&first[..], ending, &[&maps]].concat());
    vec![maps, mean, inverse]
}

/// How many images and channels there are, and room for what a window makes of them.
fn pooled(x: &CubeTensor, window: Window) -> (u32, u32, CubeTensor) {
    let [batch, _, _, channels] = maps_of(x);
    let Window { rows, columns } = window;
    let shape = [
        batch,
        rows.output as usize,
        columns.output as usize,
        channels,
    ];
    (batch as u32, channels as u32, output(x, shape))
}

fn pooled_back(slope: &CubeTensor, window: Window, largest: bool) -> (PoolGradient, CubeTensor) {
    let [batch, _, _, channels] = maps_of(slope);
    let operation = PoolGradient {
        batch: batch as u32,
        channels: channels as u32,
        window,
        largest,
    };
    let Window { rows, columns } = window;
    let shape = [batch, rows.input as usize, columns.input as usize, channels];
    (operation, output(slope, shape))
}

fn of_layer_norm([x, slope, gamma]: [&CubeTensor; 3], epsilon: f32, tier: Tier) -> Vec<CubeTensor> {
    let [batch, rows, columns, channels] = maps_of(x);
    let norm = LayerNormGradient {
        rows: (batch * rows * columns) as u32,
        columns: channels as u32,
        epsilon,
    };
    let stats = output(x, [2 * norm.rows as usize]);
    let of_x = output(x, maps_of(x));
    let [of_gamma, of_beta] = [output(x, [channels]), output(x, [channels])];
    let scratch = output(x, [norm.scratch(tier) as usize]);
    let kernel = made_one(&("of input", norm), tier, |(_, norm), tier| {
        norm.of_input(tier)
    });
    launch(&kernel, &[x, slope, gamma, &stats, &of_x]);
    let kernels = made(&norm, tier, LayerNormGradient::of_parameters);
    launch(&kernels[0], &[x, slope, &stats, &scratch]);
    launch(&kernels[1], &[&scratch, &of_gamma, &of_beta]);
    vec![of_x, of_gamma, of_beta]
}

fn multiplied(a: &CubeTensor, b: &CubeTensor, turned: [bool; 2], tier: Tier) -> CubeTensor {
    let ([batch, a_rows, a_columns], [_, b_rows, b_columns]) = (a.shape().dims(), b.shape().dims());
    let [turned_a, turned_b] = turned;
    let (rows, depth) = if turned_a {
        (a_columns, a_rows)
    } else {
        (a_rows, a_columns)
    };
    let columns = if turned_b { b_rows } else { b_columns };
    let operation = MatMul {
        batch: batch as u32,
        rows: rows as u32,
        depth: depth as u32,
        columns: columns as u32,
        turned_a,
        turned_b,
        epilogue: Epilogue::default(),
        storage: Storage::F32,
    };
    let result = output(a, [batch, rows, columns]);
    let kernel = made_one(&operation, tier, MatMul::kernel);
    launch(&kernel, &[a, b, &result]);
    result
}
