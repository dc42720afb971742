//! Norms, and what ends a job: a sum and a function, there and back.

use burn::tensor::Tensor;
use rekindle_shaders::Activation;

use super::super::job::{BatchNorm, Ending, Job, LayerNorm};
use super::super::needs::keeps_before;
use super::pass::{Pass, function};
use crate::kernels::way_back::{
    ByBatch, channel_products, column_sums, frozen_norm, layer_norm_gradients, normalised,
    normalised_again, normalised_gradients, through,
};
use crate::kernels::{self, way_back};

/// Batch norm of what no product made.
pub(super) fn batch_norm(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
) {
    let x = pass.value(job.inputs[0]);
    if pass.learns(norm.mean) {
        return by_batch(pass, index, job, norm, ending, x, false);
    }
    let [_, scale, shift] = by_running(pass, norm);
    let made = kernels::affine(x, scale, shift, None);
    let made = match ending.residual {
        true => kernels::add(made, pass.value(job.inputs[1]), None),
        false => made,
    };
    let made = match function(ending.activation) {
        Activation::None => made,
        function if pass.carries(job.output) && keeps_before(ending, false) => {
            activated(pass, index, function, made)
        }
        // Nothing goes back by what it was given.
        function => way_back::activated(made, function),
    };
    pass.put(job.output, made);
}

/// `1 / √(variance + ε)`, factor and summand by the running statistics.
fn by_running(pass: &Pass<'_>, norm: &BatchNorm) -> [Tensor<1>; 3] {
    let tensors = [norm.gamma, norm.beta, norm.mean, norm.variance];
    frozen_norm(
        tensors.map(|tensor| pass.tensor(tensor)),
        None,
        norm.epsilon,
    )
}

/// Batch norm by the statistics of the batch, of what a product made or of a value.
pub(super) fn by_batch(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
    x: Tensor<4>,
    is_made: bool,
) {
    let residual = ending.residual.then(|| pass.value(job.inputs[1]));
    let is_kept = pass.carries(job.output) && keeps_before(ending, true);
    let function = function(ending.activation);
    let by = ByBatch {
        epsilon: norm.epsilon as f32,
        share: norm.momentum as f32,
        activation: if is_kept { Activation::None } else { function },
    };
    let weights = [norm.gamma, norm.beta].map(|tensor| pass.tensor(tensor));
    let running = [norm.mean, norm.variance].map(|tensor| pass.take_tensor(tensor, &weights[0]));
    let made = normalised(x.clone(), weights, Some(running), residual, by);
    let running = made.running.into_iter().flatten();
    for (tensor, numbers) in [norm.mean, norm.variance].into_iter().zip(running) {
        pass.moved(tensor, numbers);
    }
    if pass.carries(job.output) {
        let kept = pass.keep(index);
        kept.raw = is_made.then_some(x);
        kept.moments = Some(made.moments);
    }
    let made = match is_kept {
        true => activated(pass, index, function, made.maps),
        false => made.maps,
    };
    pass.put(job.output, made);
}

/// What a batch norm by the batch's statistics made, once more, of what is kept of it.
pub(super) fn by_batch_again(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
) -> Tensor<4> {
    let function = function(ending.activation);
    if let Some(before) = pass.keep(index).before.clone() {
        return way_back::activated(before, function);
    }
    let kept = pass.keep(index);
    let (raw, moments) = (kept.raw.clone(), kept.moments.clone());
    let x = raw.unwrap_or_else(|| pass.value(job.inputs[0]));
    let weights = [norm.gamma, norm.beta].map(|tensor| pass.tensor(tensor));
    normalised_again(x, known(moments), weights, function)
}

/// The moments that a norm kept.
fn known(moments: Option<[Tensor<1>; 2]>) -> [Tensor<1>; 2] {
    match moments {
        Some(moments) => moments,
        None => unreachable!("a norm that is gone back through kept its statistics"),
    }
}

/// Applies a function whose derivative follows from what it is given, which is kept where it is needed again.
pub(super) fn activated(
    pass: &mut Pass<'_>,
    index: usize,
    ending: Activation,
    before: Tensor<4>,
) -> Tensor<4> {
    let made = way_back::activated(before.clone(), ending);
    pass.keep(index).before = Some(before);
    made
}

/// The way back through a function and a sum.
pub(super) fn through_ending(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    ending: Ending,
    slope: Tensor<4>,
) -> Tensor<4> {
    let activation = function(ending.activation);
    let slope = match activation {
        Activation::None => slope,
        _ => {
            let before = pass.keep(index).before.take();
            let kept = match before {
                Some(before) if !activation.keeps_output() => before,
                _ => pass.value(job.output),
            };
            through(activation, kept, slope)
        }
    };
    if ending.residual && pass.carries(job.inputs[1]) {
        pass.add_slope(job.inputs[1], slope.clone());
    }
    slope
}

/// The way back through a batch norm by the batch's statistics and what ends it: to the gradient of what it was given.
pub(super) fn by_batch_back(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
    slope: Tensor<4>,
) -> Tensor<4> {
    // Without a residual the function's derivative follows from what the norm was given.
    let (slope, activation) = match ending.residual {
        true => (
            through_ending(pass, index, job, ending, slope),
            Activation::None,
        ),
        false => (slope, function(ending.activation)),
    };
    let kept = pass.take_kept(index);
    let x = match kept.raw {
        Some(raw) => raw,
        None => pass.value(job.inputs[0]),
    };
    let weights = [norm.gamma, norm.beta].map(|tensor| pass.tensor(tensor));
    let places = pass.places([norm.gamma, norm.beta]);
    let (of_x, [of_gamma, of_beta]) =
        normalised_gradients(x, slope, known(kept.moments), weights, places, activation);
    pass.gradient(norm.gamma, of_gamma);
    pass.gradient(norm.beta, of_beta);
    of_x
}

/// Batch norm's way back where no product comes before it.
pub(super) fn batch_norm_back(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
    slope: Tensor<4>,
) {
    let input = job.inputs[0];
    if pass.learns(norm.mean) {
        let slope = by_batch_back(pass, index, job, norm, ending, slope);
        if pass.carries(input) {
            pass.add_slope(input, slope);
        }
        return;
    }
    let slope = through_ending(pass, index, job, ending, slope);
    let [inverse, scale, _] = by_running(pass, norm);
    if pass.learns(norm.gamma) {
        let (x, mean) = (pass.value(input), pass.tensor(norm.mean));
        let [of_gamma, of_beta] = channel_products(x, slope.clone(), Some([mean, inverse]));
        pass.gradient(norm.gamma, of_gamma);
        pass.gradient(norm.beta, of_beta);
    } else if pass.learns(norm.beta) {
        let place = pass.place(norm.beta);
        pass.gradient(norm.beta, column_sums(slope.clone(), place));
    }
    if pass.carries(input) {
        pass.add_slope(input, scaled(slope, scale));
    }
}

/// A gradient times a factor for each channel.
pub(super) fn scaled(slope: Tensor<4>, scale: Tensor<1>) -> Tensor<4> {
    let ([batch, rows, columns, channels], [count]) = (slope.dims(), scale.dims());
    // One image whose rows are all positions: the gate is the same for each.
    let all = slope.reshape([1, batch * rows, columns, channels]);
    kernels::gate(all, scale.reshape([1, 1, 1, count])).reshape([batch, rows, columns, channels])
}

pub(super) fn layer_norm(pass: &mut Pass<'_>, job: &Job, norm: &LayerNorm) {
    let (gamma, beta) = (pass.tensor(norm.gamma), pass.tensor(norm.beta));
    let x = pass.value(job.inputs[0]);
    let made = kernels::layer_norm(x, gamma, beta, f64::from(norm.epsilon));
    pass.put(job.output, made);
}

pub(super) fn layer_norm_back(pass: &mut Pass<'_>, job: &Job, norm: &LayerNorm, slope: Tensor<4>) {
    let input = job.inputs[0];
    let (x, gamma) = (pass.value(input), pass.tensor(norm.gamma));
    let places = pass.places([norm.gamma, norm.beta]);
    let (of_x, [of_gamma, of_beta]) = layer_norm_gradients(x, slope, gamma, places, norm.epsilon);
    pass.gradient(norm.gamma, of_gamma);
    pass.gradient(norm.beta, of_beta);
    if pass.carries(input) {
        pass.add_slope(input, of_x);
    }
}
