//! Jobs that compute little: sums, gates, pools, and numbers put elsewhere; there and back.

use rekindle_cpu::{self as cpu, Activation};

use super::job::{Job, Kind, LeaveOut};
use super::layout::Buffer;
use super::norm::{add, scaled};
use super::pass::{Gradients, Pass};
use crate::operations::Chance;
use crate::program::{Shape, ValueId};

pub(super) fn forward(pass: &mut Pass<'_>, index: usize, job: &Job) {
    if let Kind::LeaveOut(left_out) = &job.kind {
        return leave_out(pass, index, job, *left_out);
    }
    let mut made = pass.room(job.output);
    if !pass.is_rehearsal() {
        compute(pass, job, &mut made);
    }
    pass.put(job.output, made);
}

fn compute(pass: &Pass<'_>, job: &Job, made: &mut [f32]) {
    let input = job.inputs[0];
    let x = pass.value(input);
    let (from, to) = (pass.shape(input), pass.shape(job.output));
    let output = pass.maps_mut(made, job.output);
    match &job.kind {
        Kind::Scale(factors) => {
            let scale = pass.tensor(*factors);
            cpu::affine(x, scale, &vec![0.0; scale.len()], Activation::None, output);
        }
        Kind::Affine(scale, shift) => cpu::affine(x, scale, shift, Activation::None, output),
        Kind::Activate(function) => cpu::activate(*function, x, output),
        Kind::MaxPool(pool) => cpu::max_pool(pool, x, output),
        Kind::AvgPool(pool) => cpu::avg_pool(pool, x, output),
        Kind::AdaptiveAvgPool => cpu::adaptive_avg_pool(x, output),
        Kind::Add(function) => cpu::add(x, pass.value(job.inputs[1]), *function, output),
        Kind::Gate => cpu::gate(x, pass.value(job.inputs[1]), output),
        Kind::Concat => {
            let mut output = output;
            let mut first = 0;
            for &value in &job.inputs {
                let part = pass.value(value);
                let range = first..first + part.channels;
                first = range.end;
                cpu::copy(part, output.reborrow().slice_channels(range));
            }
        }
        Kind::Chunk(start) => cpu::copy(x.slice_channels(*start..start + to.channels), output),
        Kind::Shuffle(groups) => shuffled(x.data, output.data, from.channels, *groups),
        Kind::FlattenMaps => turned(x.data, output.data, from.positions(), from.channels),
        Kind::ClassToken(token) => {
            let token = pass.tensor(*token);
            for (from, to) in images(x.data, output.data, [from, to], pass.batch) {
                to[..token.len()].copy_from_slice(token);
                to[token.len()..].copy_from_slice(from);
            }
        }
        Kind::FirstToken => {
            for (from, to) in images(x.data, output.data, [from, to], pass.batch) {
                to.copy_from_slice(&from[..to.len()]);
            }
        }
        Kind::Positions(vectors) => {
            let vectors = pass.tensor(*vectors);
            for (from, to) in images(x.data, output.data, [from, to], pass.batch) {
                for ((to, from), vector) in to.iter_mut().zip(from).zip(vectors) {
                    *to = from + vector;
                }
            }
        }
        Kind::Gather(order) => picked(x.data, output.data, [from, to], pass.batch, |at| {
            order[at].map(|at| at as usize)
        }),
        Kind::MergePatches => {
            let quarter = Shape {
                channels: from.channels,
                rows: 1,
                columns: 4 * to.positions(),
            };
            picked(x.data, output.data, [from, quarter], pass.batch, |at| {
                merged(at, from, to)
            });
        }
        Kind::Product(_)
        | Kind::BatchNorm(..)
        | Kind::LayerNorm(_)
        | Kind::Attention(_)
        | Kind::LeaveOut(_) => unreachable!("'{}' is done elsewhere", job.name),
    }
}

pub(super) fn backward(
    pass: &mut Pass<'_>,
    index: usize,
    job: &Job,
    mut slope: Buffer,
    gradients: &mut Gradients,
) {
    let input = job.inputs[0];
    let (from, to) = (pass.shape(input), pass.shape(job.output));
    match &job.kind {
        Kind::Scale(factors) => {
            let scale = pass.tensor(*factors);
            if pass.learns(*factors) && !pass.is_rehearsal() {
                let (mut products, mut sums) = (vec![0.0; scale.len()], vec![0.0; scale.len()]);
                let of_output = pass.maps(&slope, job.output);
                cpu::affine_slopes(
                    pass.value(input),
                    of_output,
                    cpu::AffineSlopes {
                        of_scale: &mut products,
                        of_shift: &mut sums,
                        add: false,
                    },
                );
                add(pass, gradients, *factors, &products);
            }
            if pass.carries(input) {
                let made = scaled(pass, job, &slope, scale);
                pass.add_slope(input, made);
            }
        }
        Kind::Affine(scale, _) => {
            let made = scaled(pass, job, &slope, scale);
            pass.add_slope(input, made);
        }
        Kind::Activate(function) => {
            let kept = if function.keeps_output() {
                job.output
            } else {
                input
            };
            through(pass, *function, kept, job, &mut slope);
            return pass.add_slope(input, slope);
        }
        Kind::MaxPool(pool) => of_input(pass, job, &slope, |pass, slope, made| {
            cpu::max_pool_slopes(pool, pass.value(input), slope, made);
        }),
        Kind::AvgPool(pool) => of_input(pass, job, &slope, |_, slope, made| {
            cpu::avg_pool_slopes(pool, slope, made);
        }),
        Kind::AdaptiveAvgPool => of_input(pass, job, &slope, |_, slope, made| {
            cpu::adaptive_avg_pool_slopes(slope, made);
        }),
        Kind::Add(function) => {
            through(pass, *function, job.output, job, &mut slope);
            let carrying: Vec<_> = job
                .inputs
                .iter()
                .copied()
                .filter(|&value| pass.carries(value))
                .collect();
            if let &[a, b] = &carrying[..] {
                let copy = pass.copied(&slope, job.output);
                pass.add_slope(a, copy);
                return pass.add_slope(b, slope);
            }
            if let Some(&value) = carrying.first() {
                return pass.add_slope(value, slope);
            }
        }
        Kind::Gate => {
            let gate = job.inputs[1];
            let [mut of_x, mut of_gate] = [input, gate].map(|value| match pass.carries(value) {
                true => Some(pass.room(value)),
                false => None,
            });
            if !pass.is_rehearsal() {
                let of_output = pass.maps(&slope, job.output);
                cpu::gate_slopes(
                    pass.value(input),
                    pass.value(gate),
                    of_output,
                    of_x.as_mut().map(|made| pass.maps_mut(made, input)),
                    of_gate.as_mut().map(|made| pass.maps_mut(made, gate)),
                );
            }
            for (value, made) in [(input, of_x), (gate, of_gate)] {
                if let Some(made) = made {
                    pass.add_slope(value, made);
                }
            }
        }
        Kind::Concat => {
            let mut first = 0;
            for &value in &job.inputs {
                let channels = pass.shape(value).channels;
                let range = first..first + channels;
                first = range.end;
                if pass.carries(value) {
                    let mut made = pass.room(value);
                    if !pass.is_rehearsal() {
                        let part = pass.maps(&slope, job.output).slice_channels(range);
                        cpu::copy(part, pass.maps_mut(&mut made, value));
                    }
                    pass.add_slope(value, made);
                }
            }
        }
        Kind::Chunk(start) => {
            let so_far = pass.slope_so_far(input);
            let mut whole = so_far.unwrap_or_else(|| {
                let mut none = pass.room(input);
                none.fill(0.0);
                none
            });
            if !pass.is_rehearsal() {
                let whole = pass.maps_mut(&mut whole, input);
                let part = whole.slice_channels(*start..start + to.channels);
                cpu::accumulate(pass.maps(&slope, job.output), part);
            }
            pass.set_slope(input, whole);
        }
        Kind::Shuffle(groups) => of_input(pass, job, &slope, |_, slope, made| {
            // Turned back, the groups are as many as each had channels.
            shuffled(slope.data, made.data, to.channels, to.channels / groups);
        }),
        Kind::FlattenMaps => of_input(pass, job, &slope, |_, slope, made| {
            turned(slope.data, made.data, from.channels, from.positions());
        }),
        Kind::ClassToken(token) => {
            let width = to.channels;
            if !pass.is_rehearsal() {
                let firsts = slope.chunks_exact(to.numbers()).take(pass.batch);
                let sum = summed(firsts.map(|image| &image[..width]), width);
                add(pass, gradients, *token, &sum);
            }
            if pass.carries(input) {
                of_input(pass, job, &slope, |pass, slope, made| {
                    for (from, to) in images(slope.data, made.data, [to, from], pass.batch) {
                        to.copy_from_slice(&from[width..]);
                    }
                });
            }
        }
        Kind::FirstToken => of_input(pass, job, &slope, |pass, slope, made| {
            for (from, to) in images(slope.data, made.data, [to, from], pass.batch) {
                to[..from.len()].copy_from_slice(from);
                to[from.len()..].fill(0.0);
            }
        }),
        Kind::Positions(vectors) => {
            if pass.learns(*vectors) && !pass.is_rehearsal() {
                let images = slope.chunks_exact(to.numbers()).take(pass.batch);
                let sum = summed(images, to.numbers());
                add(pass, gradients, *vectors, &sum);
            }
            if pass.carries(input) {
                return pass.add_slope(input, slope);
            }
        }
        Kind::Gather(order) => of_input(pass, job, &slope, |pass, slope, made| {
            put_back(slope.data, made.data, [from, to], pass.batch, |at| {
                order[at].map(|at| at as usize)
            });
        }),
        Kind::MergePatches => {
            let quarter = Shape {
                channels: from.channels,
                rows: 1,
                columns: 4 * to.positions(),
            };
            of_input(pass, job, &slope, |pass, slope, made| {
                put_back(slope.data, made.data, [from, quarter], pass.batch, |at| {
                    merged(at, from, to)
                });
            });
        }
        Kind::LeaveOut(left_out) => {
            let factors = std::mem::take(&mut pass.keep(index).factors);
            multiply(pass, job, *left_out, &factors, &mut slope);
            pass.let_be(factors);
            return pass.add_slope(input, slope);
        }
        Kind::Product(_) | Kind::BatchNorm(..) | Kind::LayerNorm(_) | Kind::Attention(_) => {
            unreachable!("'{}' is done elsewhere", job.name)
        }
    }
    pass.let_be(slope);
}

/// Makes the gradient of a job's only input of that of its output.
fn of_input(
    pass: &mut Pass<'_>,
    job: &Job,
    slope: &[f32],
    make: impl FnOnce(&Pass<'_>, cpu::View<'_>, cpu::ViewMut<'_>),
) {
    let input = job.inputs[0];
    let mut made = pass.room(input);
    if !pass.is_rehearsal() {
        make(
            pass,
            pass.maps(slope, job.output),
            pass.maps_mut(&mut made, input),
        );
    }
    pass.add_slope(input, made);
}

/// The way back through a function, by one of the job's values.
fn through(pass: &Pass<'_>, function: Activation, kept: ValueId, job: &Job, slope: &mut [f32]) {
    if function != Activation::None && !pass.is_rehearsal() {
        let slope = pass.maps_mut(slope, job.output);
        cpu::through(function, pass.value(kept), slope);
    }
}

/// What is read and what is written of each image, by the shapes of both.
fn images<'n>(
    from: &'n [f32],
    to: &'n mut [f32],
    [read, written]: [Shape; 2],
    batch: usize,
) -> impl Iterator<Item = (&'n [f32], &'n mut [f32])> {
    let from = from.chunks_exact(read.numbers());
    from.zip(to.chunks_exact_mut(written.numbers())).take(batch)
}

/// The sum of some rows.
fn summed<'r>(rows: impl Iterator<Item = &'r [f32]>, width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for row in rows {
        for (sum, more) in sum.iter_mut().zip(row) {
            *sum += more;
        }
    }
    sum
}

/// Draws what is left out, and multiplies.
fn leave_out(pass: &mut Pass<'_>, index: usize, job: &Job, left_out: LeaveOut) {
    let factors = pass.chance.map(|chance| drawn(pass, job, left_out, chance));
    if pass.doing.makes {
        let input = job.inputs[0];
        let mut made = match pass.take_last(input) {
            Some(numbers) => numbers,
            None => {
                let mut made = pass.room(job.output);
                if !pass.is_rehearsal() {
                    made.copy_from_slice(pass.value(input).data);
                }
                made
            }
        };
        if let Some(factors) = &factors {
            multiply(pass, job, left_out, factors, &mut made);
        }
        pass.put(job.output, made);
    }
    let factors = factors.unwrap_or_default();
    match pass.keeps(job.output) {
        true => pass.keep(index).factors = factors,
        false => pass.let_be(factors),
    }
}

/// What each number, or each image, is multiplied with.
fn drawn(pass: &mut Pass<'_>, job: &Job, left_out: LeaveOut, chance: Chance) -> Buffer {
    let shape = pass.shape(job.inputs[0]);
    let each = if left_out.each { shape.numbers() } else { 1 };
    let mut factors = pass.take(pass.batch * each);
    if !pass.is_rehearsal() {
        let kept = (1.0 / (1.0 - left_out.share)) as f32;
        let draws = chance.draws(left_out.place, pass.batch, each);
        for (factor, draw) in factors.iter_mut().zip(draws) {
            *factor = match f64::from(draw) < left_out.share {
                true => 0.0,
                false => kept,
            };
        }
    }
    if !left_out.turned {
        return factors;
    }
    let mut lying = pass.take(pass.batch * each);
    if !pass.is_rehearsal() {
        turned(&factors, &mut lying, shape.channels, shape.positions());
    }
    pass.let_be(factors);
    lying
}

fn multiply(pass: &Pass<'_>, job: &Job, left_out: LeaveOut, factors: &[f32], numbers: &mut [f32]) {
    if pass.is_rehearsal() {
        return;
    }
    let maps = pass.maps_mut(numbers, job.output);
    match left_out.each {
        true => cpu::multiply(pass.maps(factors, job.output), maps),
        false => cpu::scale_images(&factors[..pass.batch], maps),
    }
}

/// `[rows, columns]` of each image to `[columns, rows]`.
fn turned(from: &[f32], to: &mut [f32], rows: usize, columns: usize) {
    let whole = rows * columns;
    for (from, to) in from.chunks_exact(whole).zip(to.chunks_exact_mut(whole)) {
        for (row, values) in from.chunks_exact(columns).enumerate() {
            for (column, value) in values.iter().enumerate() {
                to[column * rows + row] = *value;
            }
        }
    }
}

/// Channels `[groups, n]` of each position to `[n, groups]`.
fn shuffled(from: &[f32], to: &mut [f32], channels: usize, groups: usize) {
    let each = channels / groups;
    for (from, to) in from
        .chunks_exact(channels)
        .zip(to.chunks_exact_mut(channels))
    {
        for (channel, value) in from.iter().enumerate() {
            to[channel % each * groups + channel / each] = *value;
        }
    }
}

/// Positions of each image picked out; zeros where there is none.
fn picked(
    from: &[f32],
    to: &mut [f32],
    [source, target]: [Shape; 2],
    batch: usize,
    at: impl Fn(usize) -> Option<usize>,
) {
    let width = source.channels;
    for (from, to) in images(from, to, [source, target], batch) {
        for (position, to) in to.chunks_exact_mut(width).enumerate() {
            match at(position) {
                Some(at) => to.copy_from_slice(&from[at * width..][..width]),
                None => to.fill(0.0),
            }
        }
    }
}

/// The way back of [`picked`], which picks no position twice.
fn put_back(
    from: &[f32],
    to: &mut [f32],
    [source, target]: [Shape; 2],
    batch: usize,
    at: impl Fn(usize) -> Option<usize>,
) {
    let width = source.channels;
    for (from, to) in images(from, to, [target, source], batch) {
        to.fill(0.0);
        for (position, from) in from.chunks_exact(width).enumerate() {
            if let Some(at) = at(position) {
                to[at * width..][..width].copy_from_slice(from);
            }
        }
    }
}

/// Of quarter `at` of merged patches, the position that it is: the upper left, lower left, upper right and lower right of
/// each two by two.
fn merged(at: usize, from: Shape, to: Shape) -> Option<usize> {
    let (index, part) = (at / 4, at % 4);
    let row = 2 * (index / to.columns) + part % 2;
    let column = 2 * (index % to.columns) + part / 2;
    (row < from.rows && column < from.columns).then_some(row * from.columns + column)
}
