//! A program's numbers on a device, in the order and precision in which kernels read them.

use std::sync::Arc;

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::precision::Precision;
use crate::binding::LARGEST_BINDING;
use crate::graph::{Nonlinearity, Pool, Resample};
use crate::kernels::{FrozenConv, FrozenConvTranspose, ScoreTerms, conv_options};
use crate::program::{Ending, SelfAttention, Shape, Work};

/// What a step does, with its numbers on the device.
#[derive(Debug)]
pub(super) enum Kind {
    /// As many filters at a time as fit into one of the device's bindings. Programs for other sizes of images may
    /// share them.
    Conv(Arc<Vec<FrozenConv>>, Ending),
    ConvTranspose(FrozenConvTranspose, Ending),
    Affine(Tensor<1>, Tensor<1>, Option<Nonlinearity>),
    GroupNorm(usize, Tensor<1>, Tensor<1>, f64, Option<Nonlinearity>),
    Resize(Resample),
    LayerNorm(Tensor<1>, Tensor<1>, f64),
    Activate(Nonlinearity),
    MaxPool(Pool),
    AvgPool(Pool),
    AdaptiveAvgPool,
    Add(Option<Nonlinearity>),
    Gate,
    Concat,
    Chunk(usize),
    Shuffle(usize),
    Reshape,
    FlattenMaps,
    ClassToken(Tensor<4>),
    FirstToken,
    Positions(Tensor<4>),
    MergePatches,
    /// Which positions, and whether one of zeros is among them.
    Gather(Tensor<1, Int>, bool),
    Attention(Box<Scores>),
}

/// What is added to and multiplied with attention scores.
#[derive(Debug)]
pub(super) struct Scores {
    pub parts: SelfAttention,
    /// It is what our kernel does: one scale, nothing masked, queries, keys and values side by side.
    pub is_plain: bool,
    pub terms: ScoreTerms,
}

/// Where numbers go, and how they are kept there.
#[derive(Clone, Copy)]
pub(super) struct Upload<'a> {
    pub device: &'a Device,
    pub precision: Precision,
}

impl Upload<'_> {
    /// Puts a step's numbers on the device, unless the same step of a sibling has those of its convolution there:
    /// `known`.
    pub fn put(&self, work: Work<'_>, input: Shape, known: Option<&Kind>) -> Kind {
        let there = |filters: usize, kernel: [usize; 2], options: &ConvOptions<2>, size| {
            let Some(Kind::Conv(parts, _)) = known else {
                return None;
            };
            let all: usize = parts.iter().map(FrozenConv::filters).sum();
            let is_same =
                all == filters && parts.iter().all(|part| part.is_for(kernel, options, size));
            is_same.then(|| Arc::clone(parts))
        };
        match work {
            Work::Conv {
                conv,
                input: channels,
                weight,
                bias,
                ending,
            } => {
                let size = [input.rows, input.columns];
                let kernel = [channels / conv.groups, conv.kernel[0], conv.kernel[1]];
                let options = conv_options(&conv, size);
                let parts = there(bias.len(), conv.kernel, &options, size).unwrap_or_else(|| {
                    Arc::new(self.parts(&weight.numbers(), &bias, kernel, &options, size))
                });
                Kind::Conv(parts, ending)
            }
            Work::ConvTranspose {
                conv,
                input: channels,
                weight,
                bias,
                ending,
            } => {
                let [rows, columns] = conv.kernel;
                let shape = [channels, conv.filters / conv.groups, rows, columns];
                let weight = self.numbers(weight.to_vec(), shape);
                let bias = self.vector(bias);
                Kind::ConvTranspose(FrozenConvTranspose::new(weight, bias, &conv), ending)
            }
            Work::GroupNorm {
                groups,
                gamma,
                beta,
                epsilon,
                activation,
            } => {
                let (gamma, beta) = (self.vector(gamma), self.vector(beta));
                Kind::GroupNorm(groups, gamma, beta, f64::from(epsilon), activation)
            }
            Work::Resize(resample) => Kind::Resize(resample),
            Work::Linear {
                weight,
                bias,
                ending,
            } => {
                let kernel = [weight.count() / bias.len(), 1, 1];
                let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
                let parts = there(bias.len(), [1, 1], &options, [1, 1]).unwrap_or_else(|| {
                    Arc::new(self.parts(&weight.numbers(), &bias, kernel, &options, [1, 1]))
                });
                Kind::Conv(parts, ending)
            }
            Work::Affine {
                scale,
                shift,
                activation,
            } => Kind::Affine(self.vector(scale), self.vector(shift), activation),
            Work::LayerNorm {
                gamma,
                beta,
                epsilon,
            } => Kind::LayerNorm(self.vector(gamma), self.vector(beta), f64::from(epsilon)),
            Work::Activate(function) => Kind::Activate(function),
            Work::MaxPool(pool) => Kind::MaxPool(pool),
            Work::AvgPool(pool) => Kind::AvgPool(pool),
            Work::AdaptiveAvgPool => Kind::AdaptiveAvgPool,
            Work::Add { activation } => Kind::Add(activation),
            Work::Gate => Kind::Gate,
            Work::Concat => Kind::Concat,
            Work::Chunk { start } => Kind::Chunk(start),
            Work::Shuffle { groups } => Kind::Shuffle(groups),
            Work::Reshape => Kind::Reshape,
            Work::FlattenMaps => Kind::FlattenMaps,
            Work::ClassToken(token) => {
                let length = token.len();
                Kind::ClassToken(self.numbers(token, [1, 1, 1, length]))
            }
            Work::FirstToken => Kind::FirstToken,
            Work::Positions(vectors) => {
                let shape = [1, input.rows, input.columns, input.channels];
                Kind::Positions(self.numbers(vectors, shape))
            }
            Work::MergePatches => Kind::MergePatches,
            Work::Gather(order) => {
                let zeros = input.positions() as i32;
                let has_zeros = order.iter().any(Option::is_none);
                let order: Vec<i32> = order
                    .iter()
                    .map(|position| position.map_or(zeros, |position| position as i32))
                    .collect();
                let count = order.len();
                let order = Tensor::from_data(TensorData::new(order, [count]), self.device);
                Kind::Gather(order, has_zeros)
            }
            Work::LeaveOut { .. } => unreachable!("a network that answers leaves nothing out"),
            Work::Attention(parts) => Kind::Attention(Box::new(self.scores(*parts))),
        }
    }

    fn scores(&self, mut parts: SelfAttention) -> Scores {
        let (heads, tokens, windows) = (parts.heads, parts.tokens, parts.windows);
        let (cosine, bias, mask) = (parts.cosine.take(), parts.bias.take(), parts.mask.take());
        let is_scaled = (parts.scale * parts.scale * parts.depth as f32 - 1.0).abs() < 1e-5;
        let is_plain = is_scaled && !parts.per_head && cosine.is_none() && mask.is_none();
        // What Burn adds up is kept in full precision.
        let sums = Upload {
            precision: if is_plain {
                self.precision
            } else {
                Precision::Full
            },
            ..*self
        };
        Scores {
            parts,
            is_plain,
            terms: ScoreTerms {
                cosine: cosine.map(|values| sums.numbers(values, [1, heads, 1, 1])),
                bias: bias.map(|values| sums.numbers(values, [1, heads, tokens, tokens])),
                mask: mask.map(|values| sums.numbers(values, [1, windows, 1, tokens, tokens])),
            },
        }
    }

    /// `[filters, C / groups, rows, columns]`, as many filters at a time as WebGPU's default limits
    /// bind. A convolution in groups is not cut: each group has inputs of its own, and the largest of
    /// the zoo takes half a binding.
    fn parts(
        &self,
        weight: &[f32],
        bias: &[f32],
        kernel: [usize; 3],
        options: &ConvOptions<2>,
        size: [usize; 2],
    ) -> Vec<FrozenConv> {
        let reach = kernel.iter().product::<usize>();
        let each = match options.groups {
            1 => LARGEST_BINDING / size_of::<f32>() / reach,
            _ => bias.len(),
        };
        let each = each.clamp(1, bias.len());
        let parts = weight.chunks(each * reach).zip(bias.chunks(each));
        let parts = parts.map(|(weight, bias)| self.part(weight, bias, kernel, options, size));
        parts.collect()
    }

    /// `[filters, C / groups, rows, columns]` as the kernels read it.
    fn part(
        &self,
        weight: &[f32],
        bias: &[f32],
        kernel: [usize; 3],
        options: &ConvOptions<2>,
        size: [usize; 2],
    ) -> FrozenConv {
        let [channels, rows, columns] = kernel;
        let filters = bias.len();
        let reach = channels * rows * columns;
        let taps = rows * columns;
        let mut turned = vec![0.0; weight.len()];
        for (filter, from) in weight.chunks_exact(reach).enumerate() {
            for (index, value) in from.iter().enumerate() {
                let (channel, tap) = (index / taps, index % taps);
                turned[(tap * channels + channel) * filters + filter] = *value;
            }
        }
        let weight = self.numbers(turned, [rows, columns, channels, filters]);
        FrozenConv::new(weight, self.vector(bias.to_vec()), options.clone(), size)
    }

    fn vector(&self, values: Vec<f32>) -> Tensor<1> {
        let length = values.len();
        self.numbers(values, [length])
    }

    fn numbers<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        let options = (self.device, self.precision.dtype());
        Tensor::from_data(TensorData::new(values, shape), options)
    }
}
