//! Plain attention there and back: scores are computed again on the way back, so that only what came in is kept.

use burn::tensor::Tensor;

use super::super::job::{Attention, Job};
use super::pass::Pass;
use crate::kernels::{self, way_back};
use crate::program::SelfAttention;

/// Whether it is what the kernels here do: one scale, nothing masked or added, queries, keys and values side by side, heads
/// of a multiple of four numbers.
pub(super) fn is_plain(attention: &Attention) -> bool {
    let parts = &attention.parts;
    let is_scaled = (parts.scale * parts.scale * parts.depth as f32 - 1.0).abs() < 1e-5;
    is_scaled
        && !parts.per_head
        && parts.mask.is_none()
        && parts.cosine.is_none()
        && attention.bias.is_none()
        && parts.depth.is_multiple_of(4)
}

/// Sequences of the batch, positions, heads, and the width of a head.
fn sizes(pass: &Pass<'_>, parts: &SelfAttention) -> [usize; 4] {
    let sequences = pass.batch * parts.windows;
    [sequences, parts.tokens, parts.heads, parts.depth]
}

pub(super) fn forward(pass: &Pass<'_>, job: &Job, attention: &Attention) -> Tensor<4> {
    let [sequences, tokens, heads, depth] = sizes(pass, &attention.parts);
    let packed = pass.value(job.inputs[0]);
    let packed = packed.reshape([sequences, tokens, 3 * heads * depth]);
    kernels::attention(packed, heads, None).reshape(pass.dims(job.output))
}

/// From the gradient of what came out to that of what came in.
pub(super) fn backward(
    pass: &Pass<'_>,
    job: &Job,
    attention: &Attention,
    slope: Tensor<4>,
) -> Tensor<4> {
    let [sequences, tokens, heads, depth] = sizes(pass, &attention.parts);
    let scale = attention.parts.scale;
    let all = sequences * heads;
    let packed = pass.value(job.inputs[0]);
    // Each head's queries, keys and values by themselves.
    let apart = packed
        .reshape([sequences, tokens, 3, heads, depth])
        .permute([2, 0, 3, 1, 4])
        .reshape([3, all, tokens, depth]);
    let [q, k, v] = [0, 1, 2].map(|part| {
        let part = apart.clone().narrow(0, part, 1);
        part.reshape([all, tokens, depth])
    });
    let slope = slope
        .reshape([sequences, tokens, heads, depth])
        .swap_dims(1, 2)
        .reshape([all, tokens, depth]);
    let q = q * scale;
    let weights = way_back::softmax_rows(way_back::product(q.clone(), k.clone(), [false, true]));
    let of_v = way_back::product(weights.clone(), slope.clone(), [true, false]);
    let of_weights = way_back::product(slope, v, [false, true]);
    let of_scores = way_back::softmax_gradient(weights, of_weights);
    let of_q = way_back::product(of_scores.clone(), k, [false, false]) * scale;
    let of_k = way_back::product(of_scores, q, [true, false]);
    Tensor::cat(vec![of_q, of_k, of_v], 0)
        .reshape([3, sequences, heads, tokens, depth])
        .permute([1, 3, 0, 2, 4])
        .reshape(pass.dims(job.inputs[0]))
}
