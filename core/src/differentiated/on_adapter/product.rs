//! Convolutions and linear maps on their way there and back; see the processor's `product.rs` for what a batch norm that keeps
//! its statistics is here.

use burn::tensor::Tensor;
use rekindle_shaders::Activation;

use super::super::job::{BatchNorm, Job, Product};
use super::super::needs::keeps_before;
use super::norm::{self, through_ending};
use super::pass::{Pass, function, window};
use crate::kernels::choice::Sizes;
use crate::kernels::way_back::{
    channel_products, column_sums, convolved, frozen_norm, input_gradient, weight_gradient,
};

/// Factor and summand of each filter that a batch norm is by its running statistics.
struct Frozen {
    inverse: Tensor<1>,
    scale: Tensor<1>,
    /// Of what comes out, a bias of the product included.
    shift: Tensor<1>,
}

fn sizes(pass: &Pass<'_>, job: &Job, product: &Product) -> Sizes {
    let geometry = &product.geometry;
    let sides = [
        geometry.kernel,
        geometry.stride,
        geometry.dilation,
        geometry.padding,
    ];
    // Positions of tokens are those of a map: a value's shape says how many.
    let (from, to) = (pass.shape(job.inputs[0]), pass.shape(job.output));
    Sizes {
        batch: pass.batch,
        channels: geometry.input,
        filters: geometry.output,
        groups: geometry.groups,
        window: window(sides, from, to),
    }
}

/// The batch norm behind a product, if it takes the batch's statistics.
pub(super) fn follows(pass: &Pass<'_>, product: &Product) -> Option<BatchNorm> {
    product.norm.filter(|norm| pass.learns(norm.mean))
}

/// The batch norm behind a product, if it keeps its statistics.
fn frozen(pass: &Pass<'_>, product: &Product) -> Option<(BatchNorm, Frozen)> {
    let norm = product.norm.filter(|norm| !pass.learns(norm.mean))?;
    let tensors = [norm.gamma, norm.beta, norm.mean, norm.variance];
    let [inverse, scale, shift] = frozen_norm(
        tensors.map(|tensor| pass.tensor(tensor)),
        product.bias.map(|bias| pass.tensor(bias)),
        norm.epsilon,
    );
    Some((
        norm,
        Frozen {
            inverse,
            scale,
            shift,
        },
    ))
}

/// Weights times a factor for each filter.
fn scaled(weight: Tensor<1>, scale: &Tensor<1>) -> Tensor<1> {
    let ([count], [filters]) = (weight.dims(), scale.dims());
    let rows = weight.reshape([1, 1, count / filters, filters]);
    norm::scaled(rows, scale.clone()).reshape([count])
}

pub(super) fn forward(pass: &mut Pass<'_>, index: usize, job: &Job, product: &Product) {
    let sizes = sizes(pass, job, product);
    let (x, weight) = (pass.value(job.inputs[0]), pass.tensor(product.weight));
    let bias = product.bias.map(|bias| pass.tensor(bias));
    if let Some(norm) = follows(pass, product) {
        let raw = convolved(x, weight, bias, None, sizes, Activation::None);
        let raw = raw.reshape(pass.dims(job.output));
        return norm::by_batch(pass, index, job, &norm, product.ending, raw, true);
    }
    let (weight, bias) = match frozen(pass, product) {
        Some((_, frozen)) => (scaled(weight, &frozen.scale), Some(frozen.shift)),
        None => (weight, bias),
    };
    let residual = product.ending.residual.then(|| pass.value(job.inputs[1]));
    let ending = function(product.ending.activation);
    let is_kept = pass.carries(job.output) && keeps_before(product.ending, false);
    let first = if is_kept { Activation::None } else { ending };
    let made = convolved(x, weight, bias, residual, sizes, first);
    let made = made.reshape(pass.dims(job.output));
    let made = match is_kept {
        true => norm::activated(pass, index, ending, made),
        false => made,
    };
    pass.put(job.output, made);
}

pub(super) fn backward(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    product: &Product,
    slope: Tensor<4>,
) {
    let sizes = sizes(pass, job, product);
    let slope = match follows(pass, product) {
        Some(norm) => norm::by_batch_back(pass, index, job, &norm, product.ending, slope),
        None => through_ending(pass, index, job, product.ending, slope),
    };
    let frozen = frozen(pass, product);
    match &frozen {
        Some((norm, frozen)) => of_scaled(pass, job, product, (norm, frozen), sizes, &slope),
        None => of_plain(pass, job, product, sizes, &slope),
    }
    let input = job.inputs[0];
    if pass.carries(input) {
        let weight = pass.tensor(product.weight);
        let weight = match &frozen {
            Some((_, frozen)) => scaled(weight, &frozen.scale),
            None => weight,
        };
        let so_far = pass.take_slope(input);
        let made = input_gradient(slope, weight, so_far, sizes);
        pass.set_slope(input, made.reshape(pass.dims(input)));
    }
}

fn of_plain(pass: &mut Pass<'_>, job: &Job, product: &Product, sizes: Sizes, slope: &Tensor<4>) {
    if pass.learns(product.weight) {
        let place = pass.place(product.weight);
        let made = weight_gradient(pass.value(job.inputs[0]), slope.clone(), place, sizes);
        pass.gradient(product.weight, made);
    }
    if let Some(bias) = product.bias.filter(|&bias| pass.learns(bias)) {
        let place = pass.place(bias);
        pass.gradient(bias, column_sums(slope.clone(), place));
    }
}

/// The same where a batch norm that keeps its statistics is part of the weights.
fn of_scaled(
    pass: &mut Pass<'_>,
    job: &Job,
    product: &Product,
    (norm, frozen): (&BatchNorm, &Frozen),
    sizes: Sizes,
    slope: &Tensor<4>,
) {
    let [of_weight, of_gamma, of_beta] =
        [product.weight, norm.gamma, norm.beta].map(|tensor| pass.learns(tensor));
    let of_bias = product.bias.filter(|&bias| pass.learns(bias));
    let has_sums = of_gamma || of_beta || of_bias.is_some();
    let sums = has_sums.then(|| column_sums(slope.clone(), None));
    if of_weight || of_gamma {
        let whole = weight_gradient(pass.value(job.inputs[0]), slope.clone(), None, sizes);
        if let Some(sums) = sums.clone().filter(|_| of_gamma) {
            let filters = sizes.filters;
            let rows = |flat: Tensor<1>| {
                let [count] = flat.dims();
                flat.reshape([1, 1, count / filters, filters])
            };
            let [products, _] =
                channel_products(rows(pass.tensor(product.weight)), rows(whole.clone()), None);
            let mean = pass.tensor(norm.mean);
            let off = match product.bias {
                Some(bias) => pass.tensor(bias) - mean,
                None => mean.neg(),
            };
            let made = (products + off * sums) * frozen.inverse.clone();
            pass.gradient(norm.gamma, made);
        }
        if of_weight {
            pass.gradient(product.weight, scaled(whole, &frozen.scale));
        }
    }
    if let Some(sums) = sums {
        if let Some(bias) = of_bias {
            pass.gradient(bias, sums.clone() * frozen.scale.clone());
        }
        pass.gradient(norm.beta, sums);
    }
}
