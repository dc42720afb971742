//! Numbers put elsewhere, channels last, by Burn's own operations, which record gradients where they are asked to.

use burn::tensor::activation::softmax;
use burn::tensor::ops::PadMode;
use burn::tensor::{Int, Tensor};

use crate::program::SelfAttention;

/// Channels `[groups, n]` of each position turned to `[n, groups]`.
///
/// # Shapes
///
/// - x, and what is returned: `[N, H, W, C]`
pub fn shuffled(x: Tensor<4>, groups: usize) -> Tensor<4> {
    let [batch, rows, columns, channels] = x.dims();
    x.reshape([batch, rows * columns, groups, channels / groups])
        .swap_dims(2, 3)
        .reshape([batch, rows, columns, channels])
}

/// A token before the others of each sequence.
///
/// # Shapes
///
/// - token: `[1, 1, 1, C]`
/// - x: `[N, 1, T, C]`
pub fn after_token(token: Tensor<4>, x: Tensor<4>) -> Tensor<4> {
    let [batch, _, _, channels] = x.dims();
    Tensor::cat(vec![token.expand([batch, 1, 1, channels]), x], 2)
}

/// Positions picked out, of which the one behind the last is one of zeros.
///
/// # Shapes
///
/// - x: `[N, H, W, C]`
/// - order: `[positions]`
/// - returns: `[N, positions, C]`
pub fn picked(x: Tensor<4>, order: Tensor<1, Int>, has_zeros: bool) -> Tensor<3> {
    let [batch, rows, columns, channels] = x.dims();
    let rows = x.reshape([batch, rows * columns, channels]);
    let rows = match has_zeros {
        true => rows.pad([(0, 0), (0, 1), (0, 0)], PadMode::Constant(0.0)),
        false => rows,
    };
    rows.select(1, order)
}

/// What is added to and multiplied with the scores of attention.
#[derive(Debug, Clone, Default)]
pub struct ScoreTerms {
    /// Cosine attention: what scores are multiplied by, `[1, heads, 1, 1]`.
    pub cosine: Option<Tensor<4>>,
    /// `[1, heads, tokens, tokens]`
    pub bias: Option<Tensor<4>>,
    /// `[1, windows, 1, tokens, tokens]`
    pub mask: Option<Tensor<5>>,
}

/// Attention step by step: the matrix of scores is made.
///
/// # Shapes
///
/// - packed: `[N·windows·tokens, 3·heads·depth]`, in whatever shape
/// - returns: `[N·windows, tokens, heads·depth]`
pub fn attention_in_steps(
    packed: Tensor<4>,
    parts: &SelfAttention,
    terms: ScoreTerms,
    unit: impl Fn(Tensor<4>) -> Tensor<4>,
) -> Tensor<3> {
    let &SelfAttention {
        windows,
        tokens,
        heads,
        depth,
        per_head,
        scale,
        ..
    } = parts;
    let sequences = packed.shape().num_elements() / (tokens * 3 * heads * depth);
    let [q, k, v] = [0, 1, 2].map(|part| {
        let packed = packed.clone();
        let picked = match per_head {
            false => packed
                .reshape([sequences, tokens, 3, heads * depth])
                .narrow(2, part, 1)
                .reshape([sequences, tokens, heads, depth]),
            true => packed
                .reshape([sequences * tokens, heads, 3, depth])
                .narrow(2, part, 1)
                .reshape([sequences, tokens, heads, depth]),
        };
        picked.swap_dims(1, 2)
    });
    let scores = match terms.cosine {
        Some(factor) => unit(q).matmul(unit(k).swap_dims(2, 3)) * factor,
        None => (q * scale).matmul(k.swap_dims(2, 3)),
    };
    let scores = match terms.bias {
        Some(bias) => scores + bias,
        None => scores,
    };
    let scores = match terms.mask {
        Some(mask) => {
            let split = scores.reshape([sequences / windows, windows, heads, tokens, tokens]);
            (split + mask).reshape([sequences, heads, tokens, tokens])
        }
        None => scores,
    };
    let mixed = softmax(scores, 3).matmul(v);
    mixed
        .swap_dims(1, 2)
        .reshape([sequences, tokens, heads * depth])
}
