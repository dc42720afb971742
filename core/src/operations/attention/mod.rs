//! Multi-head self-attention.

#[cfg(feature = "burn")]
mod scores;
mod windows;

#[cfg(feature = "burn")]
use burn::tensor::activation::{relu, sigmoid, softmax};
#[cfg(feature = "burn")]
use burn::tensor::module::linear;
#[cfg(feature = "burn")]
use burn::tensor::{Tensor, TensorData};

use super::Compute;
#[cfg(feature = "burn")]
use super::{Batch, Run, only};
use crate::graph::{Attention, Node, Packing};
#[cfg(feature = "burn")]
use crate::graph::{LayerId, RelativeBias, log_offsets};
use crate::program::{CompileError, Lowering, SelfAttention, Shape, ValueId, Work};
#[cfg(feature = "burn")]
use scores::Scores;
#[cfg(feature = "burn")]
pub(crate) use scores::unit;

impl Compute for Attention {
    /// Its parts: windows cut, projection, scores and mix, windows put together, and the projection of the result, which
    /// comes last so that a residual can be added in it.
    fn lower<'t>(
        &self,
        node: &Node,
        inputs: &[ValueId],
        program: &mut Lowering<'_, 't>,
    ) -> Result<ValueId, CompileError> {
        let x = inputs[0];
        let shape = program.shape(x);
        let name = &node.name;
        let cut = windows::cut(self.neighbourhood, shape);
        let sequences = Shape {
            rows: cut.windows,
            columns: cut.tokens,
            channels: shape.channels,
        };
        let gathered = match &cut.gather {
            Some(order) => program.step(name, Work::Gather(order.clone()), &[x], sequences),
            None => x,
        };
        let mut qkv = program.linear(self.qkv)?;
        if let (Some(_), Work::Linear { bias, .. }) = (self.logit_scale, &mut qkv) {
            // Cosine attention has no bias on its keys, whatever the file says.
            let width = bias.len() / 3;
            bias[width..2 * width].fill(0.0);
        }
        let sequence = program.shape(gathered);
        let packed = sequence.with_channels(3 * shape.channels);
        let qkv = program.step(name, qkv, &[gathered], packed);
        let cosine = match self.logit_scale {
            Some(layer) => Some(
                program
                    .table(layer)?
                    .iter()
                    .map(|&scale| f64::from(scale).min(100_f64.ln()).exp() as f32)
                    .collect(),
            ),
            None => None,
        };
        let number = |name: &str| program.named(name);
        let work = Work::Attention(Box::new(SelfAttention {
            windows: cut.windows,
            tokens: cut.tokens,
            heads: self.heads,
            depth: shape.channels / self.heads,
            per_head: self.packing == Packing::Head,
            scale: self.scale as f32,
            cosine,
            bias: self.position_bias(program.layers(), cut.tokens, number)?,
            mask: cut.mask,
        }));
        let mixed = program.step(name, work, &[qkv], sequence);
        let mixed = match cut.scatter {
            Some(order) => program.step(name, Work::Gather(order), &[mixed], shape),
            None => mixed,
        };
        let projection = program.linear(self.output)?;
        let width = node.shape[node.shape.len() - 1];
        Ok(program.step(name, projection, &[mixed], shape.with_channels(width)))
    }

    #[cfg(feature = "burn")]
    fn run(&self, inputs: Vec<Batch>, run: &mut Run<'_>) -> Batch {
        match only(inputs) {
            Batch::Tokens(tokens) => Batch::Tokens(attend(self, run, tokens, None)),
            Batch::Maps(map) => Batch::Maps(scores::in_windows(self, map, |tokens, mask| {
                attend(self, run, tokens, mask)
            })),
            Batch::Features(_) => unreachable!("a single vector has nothing to attend to"),
        }
    }
}

/// Attention within each sequence of tokens.
///
/// # Shapes
///
/// - tokens: `[N, T, C]`
/// - mask: added to the scores, `[windows, T, T]`, where `N` counts whole images of `windows`
#[cfg(feature = "burn")]
fn attend(
    parts: &Attention,
    run: &Run<'_>,
    tokens: Tensor<3>,
    mask: Option<Tensor<3>>,
) -> Tensor<3> {
    let [n, t, width] = tokens.dims();
    let (weight, bias) = projection(run, parts.qkv);
    // Cosine attention has no bias on its keys, whatever the file says.
    let bias = match parts.logit_scale {
        Some(_) => {
            let none = Tensor::zeros([width], &bias.device());
            let part = |index: usize| bias.clone().narrow(0, index * width, width);
            Tensor::cat(vec![part(0), none, part(2)], 0)
        }
        None => bias,
    };
    let projected = linear(tokens, weight, Some(bias));
    let [q, k, v] = scores::unpack(projected, parts.packing, parts.heads);
    let scores = match parts.logit_scale {
        Some(scale) => {
            let scale = run.tensor::<3>(scale, 0).clamp_max(100.0_f64.ln()).exp();
            let cosine = scores::unit(q).matmul(scores::unit(k).swap_dims(2, 3));
            cosine * scale.unsqueeze::<4>()
        }
        None => (q * parts.scale).matmul(k.swap_dims(2, 3)),
    };
    let scores = Scores(scores);
    let scores = match relative_bias(parts, run, t) {
        Some(bias) => scores.plus_bias(bias),
        None => scores,
    };
    let scores = match mask {
        Some(mask) => scores.plus_mask(mask),
        None => scores,
    };
    let mixed = softmax(scores.0, 3).matmul(v);
    let (weight, bias) = projection(run, parts.output);
    let mixed = mixed.swap_dims(1, 2).reshape([n, t, width]);
    linear(mixed, weight, Some(bias))
}

/// Weight `[in, out]` and bias of a projection, which some networks keep as a 1×1 convolution.
#[cfg(feature = "burn")]
fn projection(run: &Run<'_>, layer: LayerId) -> (Tensor<2>, Tensor<1>) {
    let weight = match run.axes(layer) {
        4 => {
            let weight = run.tensor::<4>(layer, 0);
            let [output, input, _, _] = weight.dims();
            weight.reshape([output, input]).transpose()
        }
        _ => run.tensor(layer, 0),
    };
    (weight, run.tensor(layer, 1))
}

/// The bias by relative position, `[heads, T, T]`.
#[cfg(feature = "burn")]
fn relative_bias(parts: &Attention, run: &Run<'_>, t: usize) -> Option<Tensor<3>> {
    let side = (t as f64).sqrt().round() as usize;
    let table = match &parts.bias {
        RelativeBias::None => return None,
        RelativeBias::Table(table) => run.tensor(*table, 0),
        RelativeBias::Continuous { hidden, output } => {
            let weight = run.tensor::<2>(*hidden, 0);
            let offsets = log_offsets(side);
            let rows = offsets.len() / 2;
            let data = TensorData::new(offsets, [rows, 2]);
            let offsets = Tensor::<2>::from_data(data, &weight.device());
            let inner = relu(linear(offsets, weight, run.bias(*hidden)));
            let table = linear(inner, run.tensor::<2>(*output, 0), run.bias(*output));
            sigmoid(table) * 16.0
        }
    };
    Some(scores::gather_bias(table, side, parts.heads))
}
