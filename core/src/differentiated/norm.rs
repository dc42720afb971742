//! Norms, and what ends a job: a sum and a function, there and back.

use rekindle_cpu::{self as cpu, Activation, AffineSlopes, View};

use super::job::{BatchNorm, Ending, Job, LayerNorm};
use super::layout::Buffer;
use super::needs::keeps_before;
use super::pass::{Gradients, Pass};

/// Batch norm of what no product made.
pub(super) fn batch_norm(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
) {
    if pass.learns(norm.mean) {
        return by_batch(pass, index, job, norm, ending, Buffer::default());
    }
    let moments = [norm.mean, norm.variance].map(|tensor| pass.tensor(tensor));
    normalised(pass, index, job, norm, ending, &[], moments);
}

/// Batch norm by the statistics of the batch, of what a product made or, where that is no buffer, of the job's input.
pub(super) fn by_batch(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
    raw: Buffer,
) {
    let moments = match pass.doing.again {
        true => std::mem::take(&mut pass.keep(index).moments),
        false => moments(pass, job, norm, &raw),
    };
    if pass.doing.makes {
        let [mean, variance] = &moments;
        normalised(pass, index, job, norm, ending, &raw, [mean, variance]);
    }
    let is_kept = pass.keeps(job.output);
    let kept = pass.keep(index);
    kept.moments = moments;
    if is_kept {
        kept.raw = raw;
    } else {
        pass.let_be(raw);
    }
}

/// Mean and variance of the batch, which the running ones follow.
fn moments(pass: &mut Pass<'_>, job: &Job, norm: &BatchNorm, raw: &Buffer) -> [Vec<f32>; 2] {
    if pass.is_rehearsal() {
        return Default::default();
    }
    let channels = pass.shape(job.output).channels;
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    let x = given(pass, job, raw);
    let count = x.batch * x.rows * x.columns;
    cpu::moments(x, &mut mean, &mut variance);
    // PyTorch takes the unbiased variance into the running one; of a single number there is none.
    let unbiased = count as f64 / count.saturating_sub(1).max(1) as f64;
    let share = norm.momentum;
    for (tensor, batch, factor) in [
        (norm.mean, &mean, 1.0),
        (norm.variance, &variance, unbiased),
    ] {
        let pairs = pass.tensor(tensor).iter().zip(batch);
        let follow = |(&running, &batch): (&f32, &f32)| {
            (f64::from(running) * (1.0 - share) + f64::from(batch) * factor * share) as f32
        };
        let values = pairs.map(follow).collect();
        pass.moved(tensor, values);
    }
    [mean, variance]
}

/// What a batch norm is given: what a product made or, where that is nothing, the job's input.
fn given<'b>(pass: &'b Pass<'_>, job: &Job, raw: &'b [f32]) -> View<'b> {
    match raw.is_empty() {
        true => pass.value(job.inputs[0]),
        false => pass.maps(raw, job.output),
    }
}

/// Makes what a batch norm by some statistics makes of what a product made, or of the job's input, and the ending.
fn normalised(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
    raw: &[f32],
    moments: [&[f32]; 2],
) {
    let mut made = pass.room(job.output);
    let is_by_batch = pass.learns(norm.mean);
    let is_kept = pass.keeps(job.output) && keeps_before(ending, is_by_batch);
    if !pass.is_rehearsal() {
        let first = if is_kept {
            Activation::None
        } else {
            ending.activation
        };
        let residual = ending.residual.then(|| pass.value(job.inputs[1]));
        run(pass, job, norm, raw, moments, residual, first, &mut made);
    }
    match is_kept {
        true => activated(pass, index, job, ending.activation, made),
        false => pass.put(job.output, made),
    }
}

#[expect(clippy::too_many_arguments, reason = "what a norm is made of")]
fn run(
    pass: &Pass<'_>,
    job: &Job,
    norm: &BatchNorm,
    raw: &[f32],
    [mean, variance]: [&[f32]; 2],
    residual: Option<View<'_>>,
    function: Activation,
    made: &mut [f32],
) {
    let norm = cpu::BatchNorm {
        mean,
        variance,
        gamma: pass.tensor(norm.gamma),
        beta: pass.tensor(norm.beta),
        epsilon: norm.epsilon as f32,
    };
    let output = pass.maps_mut(made, job.output);
    cpu::batch_norm(given(pass, job, raw), &norm, residual, function, output);
}

/// Applies a function whose derivative follows from what it is given, which is kept.
pub(super) fn activated(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    function: Activation,
    before: Buffer,
) {
    pass.keep(index).before = before;
    if pass.doing.makes {
        apply(pass, index, job, function);
    }
}

/// Makes a job's output of what its function was given.
fn apply(pass: &mut Pass<'_>, index: usize, job: &Job, function: Activation) {
    let mut made = pass.room(job.output);
    if !pass.is_rehearsal() {
        let before = pass.maps(&pass.kept(index).before, job.output);
        cpu::activate(function, before, pass.maps_mut(&mut made, job.output));
    }
    pass.put(job.output, made);
}

/// Makes a job's output of what is kept for its way back.
pub(super) fn remake(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: Option<&BatchNorm>,
    ending: Ending,
) {
    let by_batch = norm.filter(|norm| pass.learns(norm.mean));
    match by_batch {
        Some(norm) if !keeps_before(ending, true) => {
            let made = renormalised(pass, index, job, norm, ending.activation);
            pass.put(job.output, made);
        }
        _ => apply(pass, index, job, ending.activation),
    }
}

/// What a batch norm by the batch's statistics made, and a function of it, once more.
fn renormalised(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    function: Activation,
) -> Buffer {
    let mut made = pass.room(job.output);
    if !pass.is_rehearsal() {
        let kept = pass.kept(index);
        let [mean, variance] = &kept.moments;
        let moments: [&[f32]; 2] = [mean, variance];
        run(
            pass, job, norm, &kept.raw, moments, None, function, &mut made,
        );
    }
    made
}

/// The way back through a function and a sum.
pub(super) fn ending_back(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    ending: Ending,
    mut slope: Buffer,
) -> Buffer {
    let before = std::mem::take(&mut pass.keep(index).before);
    function_back(pass, job, ending.activation, &before, &mut slope);
    pass.let_be(before);
    if ending.residual && pass.carries(job.inputs[1]) {
        let copy = pass.copied(&slope, job.output);
        pass.add_slope(job.inputs[1], copy);
    }
    slope
}

/// The way back through a function, by its output or what it was given before.
fn function_back(
    pass: &mut Pass<'_>,
    job: &Job,
    function: Activation,
    before: &[f32],
    slope: &mut [f32],
) {
    if function == Activation::None || pass.is_rehearsal() {
        return;
    }
    let kept = match function.keeps_output() {
        true => pass.value(job.output),
        false => pass.maps(before, job.output),
    };
    cpu::through(function, kept, pass.maps_mut(slope, job.output));
}

/// The way back through a batch norm by the batch's statistics and what ends it: to the gradient of what it was given.
pub(super) fn by_batch_back(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
    mut slope: Buffer,
    gradients: &mut Gradients,
) -> Buffer {
    // The kernel goes back through what only cuts off by itself.
    let function = ending.activation;
    let cuts_off = matches!(function, Activation::Relu | Activation::Relu6);
    if !cuts_off && function != Activation::None {
        let before = match function.keeps_output() || keeps_before(ending, true) {
            true => std::mem::take(&mut pass.keep(index).before),
            false => renormalised(pass, index, job, norm, Activation::None),
        };
        function_back(pass, job, function, &before, &mut slope);
        pass.let_be(before);
    }
    let kept = pass.take_kept(index);
    let to_residual = ending.residual && pass.carries(job.inputs[1]);
    let mut apart = to_residual.then(|| pass.room(job.output));
    if !pass.is_rehearsal() {
        let x = given(pass, job, &kept.raw);
        let (mut of_gamma, mut of_beta) = (vec![0.0; x.channels], vec![0.0; x.channels]);
        let [mean, variance] = &kept.moments;
        cpu::batch_norm_slopes(
            x,
            &cpu::BatchNorm {
                mean,
                variance,
                gamma: pass.tensor(norm.gamma),
                beta: pass.tensor(norm.beta),
                epsilon: norm.epsilon as f32,
            },
            cuts_off.then(|| (function, pass.value(job.output))),
            pass.maps_mut(&mut slope, job.output),
            apart.as_mut().map(|apart| pass.maps_mut(apart, job.output)),
            AffineSlopes {
                of_scale: &mut of_gamma,
                of_shift: &mut of_beta,
                add: false,
            },
        );
        add(pass, gradients, norm.gamma, &of_gamma);
        add(pass, gradients, norm.beta, &of_beta);
    }
    pass.let_be(kept.raw);
    match apart {
        Some(of_x) => {
            pass.add_slope(job.inputs[1], slope);
            of_x
        }
        None => slope,
    }
}

/// Batch norm's way back where no product comes before it.
pub(super) fn batch_norm_back(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
    slope: Buffer,
    gradients: &mut Gradients,
) {
    let input = job.inputs[0];
    if pass.learns(norm.mean) {
        let slope = by_batch_back(pass, index, job, norm, ending, slope, gradients);
        return match pass.carries(input) {
            true => pass.add_slope(input, slope),
            false => pass.let_be(slope),
        };
    }
    let slope = ending_back(pass, index, job, ending, slope);
    let [gamma, variance] = [norm.gamma, norm.variance].map(|tensor| pass.tensor(tensor));
    let inverse: Vec<f64> = variance
        .iter()
        .map(|&variance| 1.0 / (f64::from(variance) + norm.epsilon).sqrt())
        .collect();
    if !pass.is_rehearsal() {
        of_frozen(pass, job, norm, &inverse, &slope, gradients);
    }
    if !pass.carries(input) {
        return pass.let_be(slope);
    }
    let scale: Vec<f32> = inverse
        .iter()
        .zip(gamma)
        .map(|(i, &g)| (i * f64::from(g)) as f32)
        .collect();
    let scaled = scaled(pass, job, &slope, &scale);
    pass.let_be(slope);
    pass.add_slope(input, scaled);
}

/// The gradients of the factors and summands of a batch norm that keeps its statistics.
fn of_frozen(
    pass: &Pass<'_>,
    job: &Job,
    norm: &BatchNorm,
    inverse: &[f64],
    slope: &[f32],
    gradients: &mut Gradients,
) {
    if !pass.learns(norm.gamma) && !pass.learns(norm.beta) {
        return;
    }
    let (mut products, mut sums) = (vec![0.0; inverse.len()], vec![0.0; inverse.len()]);
    let of_output = pass.maps(slope, job.output);
    match pass.learns(norm.gamma) {
        true => cpu::affine_slopes(
            pass.value(job.inputs[0]),
            of_output,
            AffineSlopes {
                of_scale: &mut products,
                of_shift: &mut sums,
                add: false,
            },
        ),
        false => cpu::column_sums(of_output, &mut sums, false),
    }
    let moments = pass.tensor(norm.mean).iter().zip(inverse);
    for ((product, &sum), (&mean, inverse)) in products.iter_mut().zip(&sums).zip(moments) {
        *product = ((f64::from(*product) - f64::from(mean) * f64::from(sum)) * inverse) as f32;
    }
    add(pass, gradients, norm.gamma, &products);
    add(pass, gradients, norm.beta, &sums);
}

/// A gradient times a factor for each channel.
pub(super) fn scaled(pass: &mut Pass<'_>, job: &Job, slope: &[f32], scale: &[f32]) -> Buffer {
    let mut made = pass.room(job.output);
    if pass.is_rehearsal() {
        return made;
    }
    let nothing = vec![0.0; scale.len()];
    let output = pass.maps_mut(&mut made, job.output);
    cpu::affine(
        pass.maps(slope, job.output),
        scale,
        &nothing,
        Activation::None,
        output,
    );
    made
}

/// Adds to the gradient of a tensor, if it learns.
pub(super) fn add(pass: &Pass<'_>, gradients: &mut Gradients, tensor: usize, more: &[f32]) {
    if !pass.learns(tensor) {
        return;
    }
    let (room, is_sum) = gradients.room(tensor);
    for (room, more) in room.iter_mut().zip(more) {
        *room = more + if is_sum { *room } else { 0.0 };
    }
}

pub(super) fn layer_norm(pass: &mut Pass<'_>, job: &Job, norm: &LayerNorm) {
    let mut made = pass.room(job.output);
    if !pass.is_rehearsal() {
        let (gamma, beta) = (pass.tensor(norm.gamma), pass.tensor(norm.beta));
        let output = pass.maps_mut(&mut made, job.output);
        cpu::layer_norm(pass.value(job.inputs[0]), gamma, beta, norm.epsilon, output);
    }
    pass.put(job.output, made);
}

pub(super) fn layer_norm_back(
    pass: &mut Pass<'_>,
    job: &Job,
    norm: &LayerNorm,
    slope: Buffer,
    gradients: &mut Gradients,
) {
    let input = job.inputs[0];
    let mut made = pass.carries(input).then(|| pass.room(input));
    if !pass.is_rehearsal() {
        let gamma = pass.tensor(norm.gamma);
        let (mut of_gamma, mut of_beta) = (vec![0.0; gamma.len()], vec![0.0; gamma.len()]);
        let learns = pass.learns(norm.gamma) || pass.learns(norm.beta);
        cpu::layer_norm_slopes(
            pass.value(input),
            gamma,
            norm.epsilon,
            pass.maps(&slope, job.output),
            made.as_mut().map(|made| pass.maps_mut(made, input)),
            learns.then_some(AffineSlopes {
                of_scale: &mut of_gamma,
                of_shift: &mut of_beta,
                add: false,
            }),
        );
        add(pass, gradients, norm.gamma, &of_gamma);
        add(pass, gradients, norm.beta, &of_beta);
    }
    pass.let_be(slope);
    if let Some(made) = made {
        pass.add_slope(input, made);
    }
}
