//! Attention, there and back: scores are computed again on the way back, so that only what came in is kept.

use rekindle_cpu::{self as cpu, AttentionShape, Lines};

use super::job::{Attention, Job, RelativeBias};
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
    let counts = [job.inputs[0], job.output].map(|value| pass.batch * pass.shape(value).numbers());
    let packed = pass.value(job.inputs[0]).data;
    with_shape(pass, attention, |shape| {
        cpu::attention(shape, &packed[..counts[0]], &mut made[..counts[1]]);
    });
    pass.put(job.output, made);
}

pub(super) fn backward(
    pass: &mut Pass<'_>,
    job: &Job,
    attention: &Attention,
    slope: Lines,
    gradients: &mut Gradients,
) {
    let (input, parts) = (job.inputs[0], &attention.parts);
    let mut made = pass.room(input);
    let counts = [input, job.output].map(|value| pass.batch * pass.shape(value).numbers());
    let learnt = attention
        .bias
        .as_ref()
        .filter(|bias| pass.learns(bias.table));
    let mut of_bias = learnt.map(|_| vec![0.0; parts.heads * parts.tokens * parts.tokens]);
    let packed = pass.value(input).data;
    with_shape(pass, attention, |shape| {
        cpu::attention_slopes(
            shape,
            &packed[..counts[0]],
            &slope[..counts[1]],
            &mut made[..counts[0]],
            of_bias.as_deref_mut(),
            None,
        );
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
    pass.pool.give(slope);
    match pass.carries(input) {
        true => pass.add_slope(input, made),
        false => pass.pool.give(made),
    }
}
