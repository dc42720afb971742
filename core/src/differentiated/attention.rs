//! Attention, there and back: scores are computed again on the way back, so that only what came in is kept.

use rekindle_cpu::{self as cpu, AttentionShape};

use super::job::{Attention, Job, RelativeBias};
use super::layout::Buffer;
use super::norm::add;
use super::pass::{Gradients, Pass};

/// The bias of each pair of positions, `[heads, tokens, tokens]`.
fn spread(table: &[f32], bias: &RelativeBias, heads: usize) -> Vec<f32> {
    let of_head = |head: usize| bias.rows.iter().map(move |&row| table[row * heads + head]);
    (0..heads).flat_map(of_head).collect()
}

/// Does something with the attention's shape, bias and mask.
fn with_shape<R>(
    pass: &Pass<'_>,
    attention: &Attention,
    body: impl FnOnce(&AttentionShape<'_>) -> R,
) -> R {
    let parts = &attention.parts;
    let bias = attention.bias.as_ref();
    let bias = bias.map(|bias| spread(pass.tensor(bias.table), bias, parts.heads));
    body(&AttentionShape {
        windows: pass.batch * parts.windows,
        tokens: parts.tokens,
        heads: parts.heads,
        depth: parts.depth,
        per_head: parts.per_head,
        scale: parts.scale,
        cosine: None,
        bias: bias.as_deref(),
        mask: parts.mask.as_deref(),
        mask_windows: parts.windows,
    })
}

pub(super) fn forward(pass: &mut Pass<'_>, job: &Job, attention: &Attention) {
    let mut made = pass.room(job.output);
    if !pass.is_rehearsal() {
        let packed = pass.value(job.inputs[0]).data;
        with_shape(pass, attention, |shape| {
            cpu::attention(shape, packed, &mut made);
        });
    }
    pass.put(job.output, made);
}

pub(super) fn backward(
    pass: &mut Pass<'_>,
    job: &Job,
    attention: &Attention,
    slope: Buffer,
    gradients: &mut Gradients,
) {
    let input = job.inputs[0];
    let mut made = pass.room(input);
    if !pass.is_rehearsal() {
        slopes(pass, job, attention, &slope, &mut made, gradients);
    }
    pass.let_be(slope);
    match pass.carries(input) {
        true => pass.add_slope(input, made),
        false => pass.let_be(made),
    }
}

fn slopes(
    pass: &Pass<'_>,
    job: &Job,
    attention: &Attention,
    slope: &[f32],
    made: &mut [f32],
    gradients: &mut Gradients,
) {
    let parts = &attention.parts;
    let bias = attention.bias.as_ref();
    let learnt = bias.filter(|bias| pass.learns(bias.table));
    let mut of_bias = learnt.map(|_| vec![0.0; parts.heads * parts.tokens * parts.tokens]);
    let packed = pass.value(job.inputs[0]).data;
    with_shape(pass, attention, |shape| {
        cpu::attention_slopes(shape, packed, slope, made, of_bias.as_deref_mut(), None);
    });
    if let (Some(bias), Some(of_bias)) = (learnt, of_bias) {
        let mut of_table = vec![0.0; pass.tensor(bias.table).len()];
        for (head, of_head) in of_bias.chunks_exact(bias.rows.len()).enumerate() {
            for (row, slope) in bias.rows.iter().zip(of_head) {
                of_table[row * parts.heads + head] += slope;
            }
        }
        add(pass, gradients, bias.table, &of_table);
    }
}
