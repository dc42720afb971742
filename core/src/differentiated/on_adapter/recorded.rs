//! Jobs that put numbers elsewhere, and attention: done by Burn's operations on tensors that record the gradients of this
//! one job.

use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Int, Tensor, TensorData};

use super::super::job::{Attention, Job, Kind};
use super::pass::{Pass, Recorded};
use crate::kernels::{self, ScoreTerms};
use crate::operations::{merge_patches, unit};

pub(super) fn forward(pass: &mut Pass<'_>, index: usize, job: &Job) -> Tensor<4> {
    if !pass.carries(job.output) {
        let inputs = job.inputs.iter().map(|&value| pass.value(value)).collect();
        let tensor = job.kind.learnt().first().map(|&tensor| pass.tensor(tensor));
        return expressed(pass, job, inputs, tensor);
    }
    let mut followed = Vec::new();
    let inputs = job.inputs.iter().map(|&value| {
        let numbers = pass.value(value).autodiff();
        if !pass.carries(value) {
            return numbers;
        }
        let numbers = numbers.require_grad();
        followed.push((value, numbers.clone()));
        numbers
    });
    let inputs = inputs.collect();
    let tensor = job.kind.learnt().first().map(|&tensor| {
        let numbers = pass.tensor(tensor).autodiff();
        (tensor, numbers.set_require_grad(pass.learns(tensor)))
    });
    let made = expressed(
        pass,
        job,
        inputs,
        tensor.clone().map(|(_, numbers)| numbers),
    );
    let answer = made.clone().without_autodiff();
    pass.keep(index).recorded = Some(Recorded {
        inputs: followed,
        tensor: tensor.filter(|&(tensor, _)| pass.learns(tensor)),
        made,
    });
    answer
}

pub(super) fn backward(pass: &mut Pass<'_>, index: usize, slope: Tensor<4>) {
    let Some(recorded) = pass.keep(index).recorded.take() else {
        unreachable!("a job that is gone back through was recorded")
    };
    // The gradient of this sum by what the job made is the gradient that came.
    let mut gradients = (recorded.made * slope.autodiff()).sum().backward();
    for (value, numbers) in recorded.inputs {
        if let Some(made) = numbers.grad_remove(&mut gradients) {
            pass.add_slope(value, made);
        }
    }
    if let Some((tensor, numbers)) = recorded.tensor
        && let Some(made) = numbers.grad_remove(&mut gradients)
    {
        pass.gradient(tensor, made);
    }
}

/// What a job makes, in Burn's operations.
fn expressed(
    pass: &Pass<'_>,
    job: &Job,
    inputs: Vec<Tensor<4>>,
    tensor: Option<Tensor<1>>,
) -> Tensor<4> {
    let dims = pass.dims(job.output);
    let to = pass.shape(job.output);
    let mut inputs = inputs.into_iter();
    let mut next = || match inputs.next() {
        Some(input) => input,
        None => unreachable!("'{}' takes something", job.name),
    };
    let x = next();
    let table = |shape: [usize; 4]| match tensor.clone() {
        Some(tensor) => tensor.reshape(shape),
        None => unreachable!("'{}' has a tensor of its own", job.name),
    };
    match &job.kind {
        Kind::AdaptiveAvgPool => {
            let first = x.permute([0, 3, 1, 2]);
            adaptive_avg_pool2d(first, [to.rows, to.columns]).permute([0, 2, 3, 1])
        }
        Kind::Concat => {
            let mut all = vec![x];
            all.extend(inputs);
            Tensor::cat(all, 3)
        }
        Kind::Chunk(start) => x.narrow(3, *start, to.channels),
        Kind::Shuffle(groups) => kernels::shuffled(x, *groups),
        Kind::FlattenMaps => x.permute([0, 3, 1, 2]).reshape(dims),
        Kind::ClassToken(_) => kernels::after_token(table([1, 1, 1, to.channels]), x),
        Kind::FirstToken => x.narrow(2, 0, 1),
        Kind::Positions(_) => x + table([1, to.rows, to.columns, to.channels]),
        Kind::MergePatches => merge_patches(x),
        Kind::Gather(order) => {
            let zeros = pass.shape(job.inputs[0]).positions();
            let has_zeros = order.iter().any(Option::is_none);
            let order = order
                .iter()
                .map(|at| at.map_or(zeros as i32, |at| at as i32));
            let order: Vec<i32> = order.collect();
            let order = TensorData::new(order.clone(), [order.len()]);
            let order = Tensor::<1, Int>::from_data(order, &x.device());
            kernels::picked(x, order, has_zeros).reshape(dims)
        }
        Kind::Attention(attention) => {
            let terms = terms(&x, attention, tensor);
            kernels::attention_in_steps(x, &attention.parts, terms, unit).reshape(dims)
        }
        _ => unreachable!("'{}' is done elsewhere", job.name),
    }
}

/// What is added to an attention's scores: its mask, and the bias that its table is for each pair of positions.
fn terms(x: &Tensor<4>, attention: &Attention, table: Option<Tensor<1>>) -> ScoreTerms {
    let parts = &attention.parts;
    let (tokens, heads, device) = (parts.tokens, parts.heads, x.device());
    let bias = attention.bias.as_ref().zip(table).map(|(bias, table)| {
        let [count] = table.dims();
        let rows: Vec<i32> = bias.rows.iter().map(|&row| row as i32).collect();
        let rows = TensorData::new(rows.clone(), [rows.len()]);
        let rows = Tensor::<1, Int>::from_data(rows, &device);
        let picked = table.reshape([count / heads, heads]).select(0, rows);
        picked.swap_dims(0, 1).reshape([1, heads, tokens, tokens])
    });
    let mask = parts.mask.as_ref().map(|mask| {
        let shape = [1, parts.windows, 1, tokens, tokens];
        Tensor::<5>::from_data(TensorData::new(mask.clone(), shape), &device)
    });
    ScoreTerms {
        cosine: None,
        bias,
        mask,
    }
}
