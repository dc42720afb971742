//! Convolutions and linear maps on their way there and back.
//!
//! A batch norm that keeps its statistics is a factor and a summand of each filter: there it is part of the weights, and
//! of it nothing is kept. On the way back it is that once more: what the weights as they are used would be moved by tells
//! what the layer's own, the norm's factors and its summands are moved by, because the sum over all positions of
//! (gradient × product) is the sum over the weights of (weight × its gradient).

use rekindle_cpu::{self as cpu, Activation, ConvGeometry, Weights};

use super::job::{BatchNorm, Job, Product};
use super::layout::Buffer;
use super::needs::keeps_before;
use super::norm;
use super::pass::{Gradients, Pass};

/// Factor and summand of each filter that a batch norm is by its running statistics.
struct Frozen {
    /// `1 / √(variance + ε)`.
    inverse: Vec<f32>,
    scale: Vec<f32>,
    /// Of what comes out, a bias of the product included.
    shift: Vec<f32>,
}

impl Frozen {
    fn of(pass: &Pass<'_>, product: &Product, norm: &BatchNorm) -> Self {
        let [gamma, beta, mean, variance] =
            [norm.gamma, norm.beta, norm.mean, norm.variance].map(|tensor| pass.tensor(tensor));
        let bias = product.bias.map(|bias| pass.tensor(bias));
        let mut frozen = Self {
            inverse: Vec::with_capacity(gamma.len()),
            scale: Vec::with_capacity(gamma.len()),
            shift: Vec::with_capacity(gamma.len()),
        };
        for c in 0..gamma.len() {
            let inverse = 1.0 / (f64::from(variance[c]) + norm.epsilon).sqrt();
            let scale = f64::from(gamma[c]) * inverse;
            let bias = bias.map_or(0.0, |bias| f64::from(bias[c]));
            let shift = f64::from(beta[c]) + (bias - f64::from(mean[c])) * scale;
            frozen.inverse.push(inverse as f32);
            frozen.scale.push(scale as f32);
            frozen.shift.push(shift as f32);
        }
        frozen
    }
}

/// Whether the batch norm behind a product takes the batch's statistics.
fn follows(pass: &Pass<'_>, product: &Product) -> Option<BatchNorm> {
    product.norm.filter(|norm| pass.learns(norm.mean))
}

pub(super) fn forward(pass: &mut Pass<'_>, index: usize, job: &Job, product: &Product) {
    let mut made = pass.room(job.output);
    if let Some(norm) = follows(pass, product) {
        if !pass.is_rehearsal() {
            let bias = product.bias.map_or(&[][..], |bias| pass.tensor(bias));
            let weights = pass.tensor(product.weight).into();
            let conv = cpu::Conv::new(product.geometry, weights, bias, product.size);
            let output = pass.maps_mut(&mut made, job.output);
            conv.run(pass.value(job.inputs[0]), None, Activation::None, output);
        }
        return norm::by_batch(pass, index, job, &norm, product.ending, made);
    }
    let function = product.ending.activation;
    let is_kept = pass.keeps(job.output) && keeps_before(product.ending, false);
    if !pass.is_rehearsal() {
        let first = if is_kept { Activation::None } else { function };
        run(pass, job, product, first, &mut made);
    }
    match is_kept {
        true => norm::activated(pass, index, job, function, made),
        false => pass.put(job.output, made),
    }
}

/// The product with what ends it, where a batch norm behind it is a part of the weights.
fn run(pass: &Pass<'_>, job: &Job, product: &Product, function: Activation, made: &mut [f32]) {
    let bias = product.bias.map_or(&[][..], |bias| pass.tensor(bias));
    let frozen = product.norm.map(|norm| Frozen::of(pass, product, &norm));
    let (factors, bias) = match &frozen {
        Some(frozen) => (&frozen.scale[..], &frozen.shift[..]),
        None => (&[][..], bias),
    };
    let weights = Weights {
        numbers: pass.tensor(product.weight),
        factors,
    };
    let conv = cpu::Conv::new(product.geometry, weights, bias, product.size);
    let residual = product.ending.residual.then(|| pass.value(job.inputs[1]));
    let output = pass.maps_mut(made, job.output);
    conv.run(pass.value(job.inputs[0]), residual, function, output);
}

pub(super) fn backward(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    product: &Product,
    slope: Buffer,
    gradients: &mut Gradients,
) {
    let slope = match follows(pass, product) {
        Some(norm) => {
            norm::by_batch_back(pass, index, job, &norm, product.ending, slope, gradients)
        }
        None => norm::ending_back(pass, index, job, product.ending, slope),
    };
    let kept_norm = product.norm.filter(|norm| !pass.learns(norm.mean));
    let frozen = kept_norm.map(|norm| (norm, Frozen::of(pass, product, &norm)));
    match &frozen {
        Some((norm, frozen)) => of_scaled(pass, job, product, norm, frozen, &slope, gradients),
        None if pass.is_rehearsal() => {}
        None => of_plain(pass, job, product, &slope, gradients),
    }
    if pass.carries(job.inputs[0]) {
        let scale = frozen
            .as_ref()
            .map_or(&[][..], |(_, frozen)| &frozen.scale[..]);
        of_input(pass, job, product, scale, &slope);
    }
    pass.let_be(slope);
}

/// The gradients of the weights and the bias.
fn of_plain(
    pass: &mut Pass<'_>,
    job: &Job,
    product: &Product,
    slope: &[f32],
    gradients: &mut Gradients,
) {
    let slope = pass.maps(slope, job.output);
    if pass.learns(product.weight) {
        let (room, is_sum) = gradients.room(product.weight);
        let input = pass.value(job.inputs[0]);
        cpu::weight_gradient(&product.geometry, input, slope, room, is_sum);
    }
    if let Some(bias) = product.bias.filter(|&bias| pass.learns(bias)) {
        let (room, is_sum) = gradients.room(bias);
        cpu::column_sums(slope, room, is_sum);
    }
}

/// The same where a batch norm that keeps its statistics is part of the weights.
fn of_scaled(
    pass: &mut Pass<'_>,
    job: &Job,
    product: &Product,
    of_norm: &BatchNorm,
    frozen: &Frozen,
    slope: &[f32],
    gradients: &mut Gradients,
) {
    let [of_weight, of_gamma, of_beta] =
        [product.weight, of_norm.gamma, of_norm.beta].map(|tensor| pass.learns(tensor));
    let of_bias = product.bias.filter(|&bias| pass.learns(bias));
    let weights = pass.tensor(product.weight);
    if pass.is_rehearsal() {
        if of_weight || of_gamma {
            let whole = pass.take(weights.len());
            pass.let_be(whole);
        }
        return;
    }
    let slope = pass.maps(slope, job.output);
    let mut sums = vec![0.0; slope.channels];
    if of_gamma || of_beta || of_bias.is_some() {
        cpu::column_sums(slope, &mut sums, false);
    }
    let reach = weights.len() / slope.channels.max(1);
    if of_weight || of_gamma {
        let mut whole = pass.take(weights.len());
        let input = pass.value(job.inputs[0]);
        cpu::weight_gradient(&product.geometry, input, slope, &mut whole, false);
        if of_gamma {
            let mean = pass.tensor(of_norm.mean);
            let bias = product.bias.map(|bias| pass.tensor(bias));
            let filters = weights.chunks_exact(reach).zip(whole.chunks_exact(reach));
            let of_filter = |(c, (weights, moved)): (usize, (&[f32], &[f32]))| {
                let products = weights.iter().zip(moved);
                let sum: f64 = products.map(|(&w, &g)| f64::from(w) * f64::from(g)).sum();
                let off = bias.map_or(0.0, |bias| f64::from(bias[c])) - f64::from(mean[c]);
                ((sum + off * f64::from(sums[c])) * f64::from(frozen.inverse[c])) as f32
            };
            let made: Vec<f32> = filters.enumerate().map(of_filter).collect();
            norm::add(pass, gradients, of_norm.gamma, &made);
        }
        if of_weight {
            let (room, is_sum) = gradients.room(product.weight);
            let filters = room.chunks_exact_mut(reach).zip(whole.chunks_exact(reach));
            for ((room, moved), scale) in filters.zip(&frozen.scale) {
                for (room, moved) in room.iter_mut().zip(moved) {
                    *room = moved * scale + if is_sum { *room } else { 0.0 };
                }
            }
        }
        pass.let_be(whole);
    }
    norm::add(pass, gradients, of_norm.beta, &sums);
    if let Some(bias) = of_bias {
        let scaled = sums.iter().zip(&frozen.scale);
        let scaled: Vec<f32> = scaled.map(|(sum, scale)| sum * scale).collect();
        norm::add(pass, gradients, bias, &scaled);
    }
}

/// The gradient of what came in: the transposed convolution of that of what went out.
fn of_input(pass: &mut Pass<'_>, job: &Job, product: &Product, scale: &[f32], slope: &[f32]) {
    let geometry = ConvGeometry {
        input: product.geometry.output,
        output: product.geometry.input,
        ..product.geometry
    };
    let weights = pass.tensor(product.weight);
    let mut scaled = match scale.is_empty() {
        true => Buffer::default(),
        false => pass.take(weights.len()),
    };
    let back = (!pass.is_rehearsal()).then(|| {
        let reach = weights.len() / scale.len().max(1);
        let filters = scaled
            .chunks_exact_mut(reach)
            .zip(weights.chunks_exact(reach));
        for ((to, from), scale) in filters.zip(scale) {
            for (to, from) in to.iter_mut().zip(from) {
                *to = from * scale;
            }
        }
        let numbers = if scale.is_empty() {
            weights
        } else {
            &scaled[..]
        };
        let shape = pass.shape(job.output);
        cpu::ConvTranspose::new(geometry, numbers.into(), &[], [shape.rows, shape.columns])
    });
    pass.let_be(scaled);
    let input = job.inputs[0];
    let so_far = pass.slope_so_far(input);
    let mut made = pass.room(input);
    if let Some(back) = back {
        let residual = so_far.as_ref().map(|so_far| pass.maps(so_far, input));
        let output = pass.maps_mut(&mut made, input);
        let slope = pass.maps(slope, job.output);
        back.run(slope, residual, Activation::None, output);
    }
    pass.let_be(so_far.unwrap_or_default());
    pass.set_slope(input, made);
}
