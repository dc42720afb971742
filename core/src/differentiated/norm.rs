//! Norms, and what ends a job: a sum and a function, there and back.

use rekindle_cpu::{self as cpu, Activation, AffineSlopes, Lines, View};

use super::job::{BatchNorm, Ending, Job, LayerNorm};
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
        return by_batch(pass, index, job, norm, ending, Lines::default());
    }
    let [mean, variance] = [norm.mean, norm.variance].map(|tensor| pass.tensor(tensor));
    let made = normalised(pass, index, job, norm, ending, &[], [mean, variance]);
    pass.put(job.output, made);
}

/// Batch norm by the statistics of the batch, of what a product made or, where that is empty, of the job's input.
pub(super) fn by_batch(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
    raw: Lines,
) {
    let channels = pass.shape(job.output).channels;
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    let x = given(pass, job, &raw);
    let count = x.batch * x.rows * x.columns;
    cpu::moments(x, &mut mean, &mut variance);
    let made = normalised(pass, index, job, norm, ending, &raw, [&mean, &variance]);
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
    if pass.carries(job.output) {
        let kept = pass.keep(index);
        kept.raw = raw;
        kept.moments = [mean, variance];
    } else {
        pass.pool.give(raw);
    }
    pass.put(job.output, made);
}

/// What a batch norm is given: what a product made or, where that is empty, the job's input.
fn given<'b>(pass: &'b Pass<'_>, job: &Job, raw: &'b [f32]) -> View<'b> {
    match raw.is_empty() {
        true => pass.value(job.inputs[0]),
        false => pass.maps(raw, job.output),
    }
}

/// What a batch norm by some statistics makes of what a product made, or of the job's input, and the ending.
fn normalised(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
    raw: &[f32],
    [mean, variance]: [&[f32]; 2],
) -> Lines {
    let mut made = pass.room(job.output);
    let is_kept = pass.carries(job.output) && !ending.activation.keeps_output();
    let first = if is_kept {
        Activation::None
    } else {
        ending.activation
    };
    let x = given(pass, job, raw);
    let residual = ending.residual.then(|| pass.value(job.inputs[1]));
    let output = pass.maps_mut(&mut made, job.output);
    let norm = cpu::BatchNorm {
        mean,
        variance,
        gamma: pass.tensor(norm.gamma),
        beta: pass.tensor(norm.beta),
        epsilon: norm.epsilon as f32,
    };
    cpu::batch_norm(x, &norm, residual, first, output);
    match is_kept {
        true => activated(pass, index, job, ending.activation, made),
        false => made,
    }
}

/// Applies a function whose derivative follows from what it is given, which is kept.
pub(super) fn activated(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    function: Activation,
    before: Lines,
) -> Lines {
    let mut made = pass.room(job.output);
    cpu::activate(
        function,
        pass.maps(&before, job.output),
        pass.maps_mut(&mut made, job.output),
    );
    pass.keep(index).before = before;
    made
}

/// The way back through a function and a sum.
pub(super) fn ending_back(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    ending: Ending,
    slope: Lines,
) -> Lines {
    let slope = function_back(pass, index, job, ending.activation, slope);
    if ending.residual && pass.carries(job.inputs[1]) {
        let copy = pass.copied(&slope, job.output);
        pass.add_slope(job.inputs[1], copy);
    }
    slope
}

/// The way back through a function.
fn function_back(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    function: Activation,
    mut slope: Lines,
) -> Lines {
    if function == Activation::None {
        return slope;
    }
    let before = std::mem::take(&mut pass.keep(index).before);
    let kept = match function.keeps_output() {
        true => pass.value(job.output),
        false => pass.maps(&before, job.output),
    };
    cpu::through(function, kept, pass.maps_mut(&mut slope, job.output));
    pass.pool.give(before);
    slope
}

/// The way back through a batch norm by the batch's statistics and what ends it: to the gradient of what it was given.
pub(super) fn by_batch_back(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    norm: &BatchNorm,
    ending: Ending,
    slope: Lines,
    gradients: &mut Gradients,
) -> Lines {
    // The kernel goes back through what only cuts off by itself.
    let function = ending.activation;
    let cuts_off = matches!(function, Activation::Relu | Activation::Relu6);
    let mut slope = match cuts_off {
        true => slope,
        false => function_back(pass, index, job, function, slope),
    };
    let kept = pass.take_kept(index);
    let to_residual = ending.residual && pass.carries(job.inputs[1]);
    let mut apart = to_residual.then(|| pass.room(job.output));
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
    pass.pool.give(kept.raw);
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
    slope: Lines,
    gradients: &mut Gradients,
) {
    let input = job.inputs[0];
    if pass.learns(norm.mean) {
        let slope = by_batch_back(pass, index, job, norm, ending, slope, gradients);
        return match pass.carries(input) {
            true => pass.add_slope(input, slope),
            false => pass.pool.give(slope),
        };
    }
    let slope = ending_back(pass, index, job, ending, slope);
    let [gamma, mean, variance] =
        [norm.gamma, norm.mean, norm.variance].map(|tensor| pass.tensor(tensor));
    let inverse: Vec<f64> = variance
        .iter()
        .map(|&variance| 1.0 / (f64::from(variance) + norm.epsilon).sqrt())
        .collect();
    let channels = gamma.len();
    let (mut products, mut sums) = (vec![0.0; channels], vec![0.0; channels]);
    if pass.learns(norm.gamma) || pass.learns(norm.beta) {
        let of_output = pass.maps(&slope, job.output);
        match pass.learns(norm.gamma) {
            true => cpu::affine_slopes(
                pass.value(input),
                of_output,
                AffineSlopes {
                    of_scale: &mut products,
                    of_shift: &mut sums,
                    add: false,
                },
            ),
            false => cpu::column_sums(of_output, &mut sums, false),
        }
        for c in 0..channels {
            let made = f64::from(products[c]) - f64::from(mean[c]) * f64::from(sums[c]);
            products[c] = (made * inverse[c]) as f32;
        }
        add(pass, gradients, norm.gamma, &products);
        add(pass, gradients, norm.beta, &sums);
    }
    if !pass.carries(input) {
        return pass.pool.give(slope);
    }
    let scale: Vec<f32> = inverse
        .iter()
        .zip(gamma)
        .map(|(i, &g)| (i * f64::from(g)) as f32)
        .collect();
    let scaled = scaled(pass, job, &slope, &scale);
    pass.pool.give(slope);
    pass.add_slope(input, scaled);
}

/// A gradient times a factor for each channel.
pub(super) fn scaled(pass: &mut Pass<'_>, job: &Job, slope: &[f32], scale: &[f32]) -> Lines {
    let mut made = pass.room(job.output);
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
    let (room, _) = gradients.room(tensor, more.len());
    for (room, more) in room.iter_mut().zip(more) {
        *room += more;
    }
}

pub(super) fn layer_norm(pass: &mut Pass<'_>, job: &Job, norm: &LayerNorm) {
    let mut made = pass.room(job.output);
    let (gamma, beta) = (pass.tensor(norm.gamma), pass.tensor(norm.beta));
    let output = pass.maps_mut(&mut made, job.output);
    cpu::layer_norm(pass.value(job.inputs[0]), gamma, beta, norm.epsilon, output);
    pass.put(job.output, made);
}

pub(super) fn layer_norm_back(
    pass: &mut Pass<'_>,
    job: &Job,
    norm: &LayerNorm,
    slope: Lines,
    gradients: &mut Gradients,
) {
    let input = job.inputs[0];
    let mut made = pass.carries(input).then(|| pass.room(input));
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
    pass.pool.give(slope);
    if let Some(made) = made {
        pass.add_slope(input, made);
    }
}
