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
    Activation, ActivationGradient, AvgPool, BatchNormGradient, BatchNormTrain, Change,
    ChannelProducts, ColumnSums, Elementwise, Epilogue, FrozenNorm, LayerNormGradient, MatMul,
    MaxPool, PoolGradient, Softmax, SoftmaxGradient, Storage, Tier, Window, Winograd,
};

use super::adapter::{output, tier};
use super::choice::{Forward, Sizes};
use super::conv::{gathered, weight_gradient_into};
use super::formula::{Several, own};
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
/// - place, where it is put if there is one, and what is returned: `[rows · columns · C / groups · filters]`, as [`convolved`]
///   takes the weight
pub(crate) fn weight_gradient(
    x: Tensor<4>,
    slope: Tensor<4>,
    place: Option<Tensor<1>>,
    sizes: Sizes,
) -> Tensor<1> {
    let mut tensors = vec![x.into_dispatch(), slope.into_dispatch()];
    tensors.extend(place.map(Tensor::into_dispatch));
    one(tensors, Work::WeightGradient(sizes))
}

/// The sums of columns.
///
/// # Shapes
///
/// - rows: `[…, columns]`
/// - place, where they are put if there is one, and what is returned: `[columns]`
pub(crate) fn column_sums(rows: Tensor<4>, place: Option<Tensor<1>>) -> Tensor<1> {
    let mut tensors = vec![rows.into_dispatch()];
    tensors.extend(place.map(Tensor::into_dispatch));
    one(tensors, Work::ColumnSums)
}

/// What [`normalised`] makes.
pub(crate) struct Normalised {
    /// `activation(norm(x) + residual)`, `[N, H, W, C]`
    pub maps: Tensor<4>,
    /// The mean of each channel, and the inverse of its (biased) deviation, `[C]`
    pub moments: [Tensor<1>; 2],
    /// Running mean and variance as the batch leaves them, if there are any, `[C]`
    pub running: Option<[Tensor<1>; 2]>,
}

/// What a batch norm by the batch's statistics does besides normalising.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByBatch {
    /// ε.
    pub epsilon: f32,
    /// The share of the way to the batch's statistics that running ones go.
    pub share: f32,
    /// What is applied last.
    pub activation: Activation,
}

/// Maps normalised by the batch's statistics, and what ends them: `activation(norm(x) + residual)`. Running statistics follow as
/// PyTorch has it, the variance to the unbiased one; they are changed in place where nobody else holds them.
///
/// # Shapes
///
/// - x, residual: `[N, H, W, C]`
/// - all others: `[C]`
pub(crate) fn normalised(
    x: Tensor<4>,
    [gamma, beta]: [Tensor<1>; 2],
    running: Option<[Tensor<1>; 2]>,
    residual: Option<Tensor<4>>,
    norm: ByBatch,
) -> Normalised {
    let work = Work::Normalised {
        norm,
        follows: running.is_some(),
    };
    let mut tensors = vec![
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
    ];
    tensors.extend(running.into_iter().flatten().map(Tensor::into_dispatch));
    tensors.extend(residual.map(Tensor::into_dispatch));
    let mut made = all(tensors, work).into_iter();
    let mut next = || match made.next() {
        Some(made) => made,
        None => unreachable!("a norm makes maps and moments"),
    };
    let maps = Tensor::from_dispatch(next());
    let moments = [(); 2].map(|()| Tensor::from_dispatch(next()));
    let rest: Vec<Tensor<1>> = made.map(Tensor::from_dispatch).collect();
    Normalised {
        maps,
        moments,
        running: rest.try_into().ok(),
    }
}

/// What [`normalised`] made, once more: no residual, and the statistics are known.
///
/// # Shapes
///
/// - x, and what is returned: `[N, H, W, C]`
/// - all others: `[C]`
pub(crate) fn normalised_again(
    x: Tensor<4>,
    moments: [Tensor<1>; 2],
    weights: [Tensor<1>; 2],
    activation: Activation,
) -> Tensor<4> {
    let rest = moments.into_iter().chain(weights);
    let tensors = [x.into_dispatch()]
        .into_iter()
        .chain(rest.map(Tensor::into_dispatch));
    one(tensors.collect(), Work::NormalisedAgain(activation))
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

/// The gradients of what [`normalised`] was given without a residual, and of gamma and beta, from the gradient of what the
/// function behind it made.
///
/// # Shapes
///
/// - x, slope and the first that is returned: `[N, H, W, C]`
/// - all others, among them places for the gradients of gamma and beta: `[C]`
pub(crate) fn normalised_gradients(
    x: Tensor<4>,
    slope: Tensor<4>,
    moments: [Tensor<1>; 2],
    weights: [Tensor<1>; 2],
    places: Option<[Tensor<1>; 2]>,
    activation: Activation,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let maps = [x, slope].map(Tensor::into_dispatch);
    let rest = moments.into_iter().chain(weights);
    let rest = rest.chain(places.into_iter().flatten());
    let tensors = maps.into_iter().chain(rest.map(Tensor::into_dispatch));
    let work = Work::NormalisedGradients(activation);
    let [of_x, of_gamma, of_beta] = several(tensors.collect(), work);
    (
        Tensor::from_dispatch(of_x),
        [of_gamma, of_beta].map(Tensor::from_dispatch),
    )
}

/// For each channel `Σ slope · (x − centre) · scale`, or `Σ slope · x`, and `Σ slope`.
///
/// # Shapes
///
/// - x, slope: `[N, H, W, C]`
/// - all others: `[C]`
pub(crate) fn channel_products(
    x: Tensor<4>,
    slope: Tensor<4>,
    centre_and_scale: Option<[Tensor<1>; 2]>,
) -> [Tensor<1>; 2] {
    let centred = centre_and_scale.into_iter().flatten();
    let tensors = [x, slope].map(Tensor::into_dispatch).into_iter();
    let tensors = tensors.chain(centred.map(Tensor::into_dispatch));
    let work = Work::ChannelProducts { by_image: false };
    several(tensors.collect(), work).map(Tensor::from_dispatch)
}

/// For each channel of each image `Σ slope · x`.
///
/// # Shapes
///
/// - x, slope: `[N, H, W, C]`
/// - returns: `[N, 1, 1, C]`
pub(crate) fn image_products(x: Tensor<4>, slope: Tensor<4>) -> Tensor<4> {
    let [images, _, _, channels] = x.dims();
    let tensors = [x, slope].map(Tensor::into_dispatch).into();
    let [products, _] = several(tensors, Work::ChannelProducts { by_image: true });
    Tensor::<1>::from_dispatch(products).reshape([images, 1, 1, channels])
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
/// - all others, among them places for the gradients of gamma and beta: `[C]`
pub(crate) fn layer_norm_gradients(
    x: Tensor<4>,
    slope: Tensor<4>,
    gamma: Tensor<1>,
    places: Option<[Tensor<1>; 2]>,
    epsilon: f32,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let mut tensors = vec![
        x.into_dispatch(),
        slope.into_dispatch(),
        gamma.into_dispatch(),
    ];
    tensors.extend(places.into_iter().flatten().map(Tensor::into_dispatch));
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
    match all(tensors, work).try_into() {
        Ok(made) => made,
        Err(_) => unreachable!("each kind of work makes what it is asked for: {work:?}"),
    }
}

fn all(tensors: Vec<FloatTensor<Dispatch>>, work: Work) -> Vec<FloatTensor<Dispatch>> {
    match Several::of(tensors) {
        Some(tensors) => Dispatch::worked(tensors, work),
        None => unreachable!("one to eight tensors are given: {work:?}"),
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
        norm: ByBatch,
        follows: bool,
    },
    NormalisedAgain(Activation),
    FrozenNorm {
        epsilon: f32,
    },
    NormalisedGradients(Activation),
    ChannelProducts {
        by_image: bool,
    },
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
        let changes = |place: usize| match work {
            Work::Normalised { follows, .. } => follows && (3..5).contains(&place),
            _ => false,
        };
        let given = tensors.all().into_iter().map(into_contiguous).enumerate();
        let given = given.map(|(place, tensor)| match changes(place) {
            true => own(tensor),
            false => tensor,
        });
        let given: Vec<CubeTensor> = given.collect();
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
            (Work::WeightGradient(sizes), &[x, slope, ref place @ ..]) => {
                let Window { rows, columns } = sizes.window;
                let taps = (rows.kernel * columns.kernel) as usize;
                let count = taps * sizes.channels / sizes.groups * sizes.filters;
                let result = placed(place, x, count);
                weight_gradient_into(&result, [x, slope], &sizes);
                vec![result]
            }
            (Work::ColumnSums, &[rows, ref place @ ..]) => vec![summed(rows, place, tier)],
            (Work::Normalised { norm, follows }, &[x, gamma, beta, ref rest @ ..]) => {
                let (running, residual) = rest.split_at(if follows { 2 } else { 0 });
                let residual = residual.first().copied();
                let made = by_batch([x, gamma, beta], running, residual, norm, tier);
                let running = running.iter().map(|&running| running.clone());
                made.into_iter().chain(running).collect()
            }
            (Work::NormalisedAgain(activation), &[x, mean, inverse, gamma, beta]) => {
                let norm = ByBatch {
                    epsilon: 0.0,
                    share: 0.0,
                    activation,
                };
                let kernels = made(
                    &in_training(x, norm, false, false),
                    tier,
                    BatchNormTrain::kernels,
                );
                let maps = output(x, maps_of(x));
                launch(&kernels[2], &[x, mean, inverse, gamma, beta, &maps]);
                vec![maps]
            }
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
            (
                Work::NormalisedGradients(activation),
                &[x, slope, mean, inverse, gamma, beta, ref places @ ..],
            ) => {
                let given = [x, slope, mean, inverse, gamma, beta];
                of_norm(given, places, activation, tier).into()
            }
            (Work::ChannelProducts { by_image }, &[x, slope, ref centred @ ..]) => {
                products([x, slope], centred, by_image, tier).into()
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
            (Work::LayerNormGradients { epsilon }, &[x, slope, gamma, ref places @ ..]) => {
                of_layer_norm([x, slope, gamma], places, epsilon, tier)
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

/// The place for a result, or room for it.
fn placed(places: &[&CubeTensor], like: &CubeTensor, count: usize) -> CubeTensor {
    match places {
        [] => output(like, [count]),
        [place, ..] => (*place).clone(),
    }
}

/// Places for two results, or room for them.
fn both_placed(places: &[&CubeTensor], like: &CubeTensor, count: usize) -> [CubeTensor; 2] {
    let (first, second) = places.split_at(places.len() / 2);
    [first, second].map(|place| placed(place, like, count))
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
    let weight = taken_back(weight, sizes);
    gathered(&weight, slope, sizes, epilogue, so_far)
}

/// Weights `[rows, columns, C / groups, filters]` as [`gathered`] reads them, `[rows, columns, filters / groups, C]`.
fn taken_back(weight: &CubeTensor, sizes: &Sizes) -> CubeTensor {
    let Window { rows, columns } = sizes.window;
    let taps = (rows.kernel * columns.kernel) as usize;
    let (each, per) = (sizes.channels / sizes.groups, sizes.filters / sizes.groups);
    let mut weight = weight.clone();
    if each == 1 && per == 1 {
        return weight;
    }
    let groups = sizes.groups;
    weight.meta.shape = Shape::new([taps, per, groups, each]);
    weight.meta.strides = [each * sizes.filters, 1, per, sizes.filters].into();
    into_contiguous(weight)
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

/// The gradients of what a norm was given, of gamma and of beta.
pub(super) fn of_norm(
    [x, slope, mean, inverse, gamma, beta]: [&CubeTensor; 6],
    places: &[&CubeTensor],
    activation: Activation,
    tier: Tier,
) -> [CubeTensor; 3] {
    let [batch, rows, columns, channels] = maps_of(x);
    let norm = BatchNormGradient {
        rows: (batch * rows * columns) as u32,
        channels: channels as u32,
        activation,
    };
    let kernels = made(&norm, tier, BatchNormGradient::kernels);
    let [of_gamma, of_beta] = both_placed(places, x, channels);
    let sums = output(x, [2 * channels]);
    let scratch = output(x, [norm.scratch(tier) as usize]);
    let of_x = output(x, maps_of(x));
    let first = [x, slope, mean, inverse];
    let weights = [gamma, beta];
    let ends = activation != Activation::None;
    let parts: &[&CubeTensor] = if ends { &weights } else { &[] };
    launch(&kernels[0], &[&first, parts, &[&scratch]].concat());
    launch(&kernels[1], &[&scratch, &of_gamma, &of_beta, &sums]);
    let last = if ends { &weights[..] } else { &weights[..1] };
    launch(&kernels[2], &[&first, last, &[&sums, &of_x]].concat());
    [of_x, of_gamma, of_beta]
}

/// `Σ slope · (x − centre) · scale` and `Σ slope` of each channel, of all images or of each.
fn products(
    [x, slope]: [&CubeTensor; 2],
    centred: &[&CubeTensor],
    by_image: bool,
    tier: Tier,
) -> [CubeTensor; 2] {
    let [batch, rows, columns, channels] = maps_of(x);
    let images = if by_image { batch } else { 1 };
    let sums = ChannelProducts {
        images: images as u32,
        rows: (batch / images * rows * columns) as u32,
        channels: channels as u32,
        centred: !centred.is_empty(),
    };
    let kernels = made(&sums, tier, ChannelProducts::kernels);
    let made = [(); 2].map(|()| output(x, [images * channels]));
    let scratch = output(x, [sums.scratch(tier) as usize]);
    launch(&kernels[0], &[&[x, slope], centred, &[&scratch]].concat());
    launch(&kernels[1], &[&scratch, &made[0], &made[1]]);
    made
}

fn summed(rows: &CubeTensor, place: &[&CubeTensor], tier: Tier) -> CubeTensor {
    let shape = rows.shape();
    let columns = shape[shape.num_dims() - 1];
    let sums = ColumnSums {
        rows: (shape.num_elements() / columns) as u32,
        columns: columns as u32,
    };
    let result = placed(place, rows, columns);
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

fn in_training(x: &CubeTensor, norm: ByBatch, residual: bool, follows: bool) -> BatchNormTrain {
    let [batch, rows, columns, channels] = maps_of(x);
    BatchNormTrain {
        rows: (batch * rows * columns) as u32,
        channels: channels as u32,
        epsilon: norm.epsilon,
        share: follows.then_some(norm.share),
        residual,
        activation: norm.activation,
    }
}

/// Maps normalised by the batch's statistics, and these; running ones are changed in place.
pub(super) fn by_batch(
    [x, gamma, beta]: [&CubeTensor; 3],
    running: &[&CubeTensor],
    residual: Option<&CubeTensor>,
    norm: ByBatch,
    tier: Tier,
) -> [CubeTensor; 3] {
    let norm = in_training(x, norm, residual.is_some(), !running.is_empty());
    let channels = norm.channels as usize;
    let [mean, inverse] = [output(x, [channels]), output(x, [channels])];
    let scratch = output(x, [norm.scratch(tier) as usize]);
    let maps = output(x, maps_of(x));
    let kernels = made(&norm, tier, BatchNormTrain::kernels);
    launch(&kernels[0], &[x, &scratch]);
    launch(
        &kernels[1],
        &[&[&scratch, &mean, &inverse], running].concat(),
    );
    let mut last = vec![x, &mean, &inverse, gamma, beta];
    last.extend(residual);
    last.push(&maps);
    launch(&kernels[2], &last);
    [maps, mean, inverse]
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

fn of_layer_norm(
    [x, slope, gamma]: [&CubeTensor; 3],
    places: &[&CubeTensor],
    epsilon: f32,
    tier: Tier,
) -> Vec<CubeTensor> {
    let [batch, rows, columns, channels] = maps_of(x);
    let norm = LayerNormGradient {
        rows: (batch * rows * columns) as u32,
        columns: channels as u32,
        epsilon,
    };
    let stats = output(x, [2 * norm.rows as usize]);
    let of_x = output(x, maps_of(x));
    let [of_gamma, of_beta] = both_placed(places, x, channels);
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
