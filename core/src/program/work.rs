//! What the steps of a program do.

use std::borrow::Cow;

use super::Shape;
use crate::graph::{Conv, ConvTranspose, Nonlinearity, Pool, Resample};

/// What follows a step's sum before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ending {
    /// Whether the step's last input is added.
    pub residual: bool,
    /// What is applied in the end.
    pub activation: Option<Nonlinearity>,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Work<'t> {
    /// A convolution.
    Conv {
        /// Its geometry.
        conv: Conv,
        /// Channels that come in.
        input: usize,
        /// `[filters, input / groups, rows, columns]`
        weight: Weight<'t>,
        /// `[filters]`
        bias: Vec<f32>,
        /// What follows.
        ending: Ending,
    },
    /// A transposed convolution.
    ConvTranspose {
        /// Its geometry.
        conv: ConvTranspose,
        /// Channels that come in.
        input: usize,
        /// `[input, filters / groups, rows, columns]`
        weight: &'t [f32],
        /// `[filters]`
        bias: Vec<f32>,
        /// What follows.
        ending: Ending,
    },
    /// A linear map of each position.
    Linear {
        /// `[output, input]`
        weight: Weight<'t>,
        /// `[output]`
        bias: Vec<f32>,
        /// What follows.
        ending: Ending,
    },
    /// A factor and a summand for each channel.
    Affine {
        /// The factors.
        scale: Vec<f32>,
        /// The summands.
        shift: Vec<f32>,
        /// What is applied in the end.
        activation: Option<Nonlinearity>,
    },
    /// Layer norm over the channels of each position.
    LayerNorm {
        /// Factors.
        gamma: Vec<f32>,
        /// Summands.
        beta: Vec<f32>,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Norm over groups of channels and all positions of an image.
    GroupNorm {
        /// The groups.
        groups: usize,
        /// Factors.
        gamma: Vec<f32>,
        /// Summands.
        beta: Vec<f32>,
        /// Added to the variance.
        epsilon: f32,
        /// What is applied in the end.
        activation: Option<Nonlinearity>,
    },
    /// Maps with other numbers of rows and columns.
    Resize(Resample),
    /// An elementwise function.
    Activate(Nonlinearity),
    /// The largest value of each window.
    MaxPool(Pool),
    /// The mean of each window.
    AvgPool(Pool),
    /// Means over as many regions as there are outputs.
    AdaptiveAvgPool,
    /// The sum of two values.
    Add {
        /// What is applied in the end.
        activation: Option<Nonlinearity>,
    },
    /// The first value times the second, which has one number a channel, one a position, or all.
    Gate,
    /// Channels side by side.
    Concat,
    /// A stretch of the channels.
    Chunk {
        /// The first of them.
        start: usize,
    },
    /// Channels `[groups, n]` turned to `[n, groups]`.
    Shuffle {
        /// The groups.
        groups: usize,
    },
    /// The same numbers under another shape.
    Reshape,
    /// Maps in a row, channel by channel, as PyTorch flattens them.
    FlattenMaps,
    /// A token that comes before the others.
    ClassToken(Vec<f32>),
    /// The first token alone.
    FirstToken,
    /// A vector added to each position.
    Positions(Vec<f32>),
    /// Each two by two positions side by side.
    MergePatches,
    /// Positions picked out, `None` for a position of zeros.
    Gather(Vec<Option<u32>>),
    /// Values left out at random, and the others multiplied to make up for them: in training only.
    LeaveOut {
        /// The share that is left out.
        share: f64,
        /// Whether each number is drawn by itself, and not each image.
        each: bool,
    },
    /// Attention, from packed queries, keys and values.
    Attention(Box<SelfAttention>),
}

/// What a step may fold into the step before it, which makes what it takes.
#[derive(Debug)]
pub(crate) enum Folding<'w> {
    /// A factor and a summand for each channel go into weights and biases.
    Affine(&'w [f32], &'w [f32]),
    /// A function is applied before the number is stored.
    Activation(Nonlinearity),
    /// A sum is taken before the number is stored.
    Sum,
    /// Nothing: it is a step of its own.
    Nothing,
}

/// What a step can do beside its own work, before it stores a number.
#[derive(Debug)]
pub(crate) enum Tail<'w, 't> {
    /// Take factors into its weights and summands into its biases, add a residual, and apply a function.
    Scaled(&'w mut Weight<'t>, &'w mut Vec<f32>, &'w mut Ending),
    /// Add a residual, and apply a function. A transposed convolution's weights are not in the order of its outputs.
    Ending(&'w mut Ending),
    /// Apply a function.
    Activation(&'w mut Option<Nonlinearity>),
    /// Nothing.
    Nothing,
}

/// What a program's passes ask of each kind of work. Nothing here has a default: a new kind does not compile before every
/// question is answered.
impl<'t> Work<'t> {
    /// Numbers of its weights, of which a processor keeps as much in its caches as it can.
    pub(crate) fn weights(&self) -> usize {
        match self {
            Self::Conv { weight, .. } | Self::Linear { weight, .. } => weight.count(),
            Self::ConvTranspose { weight, .. } => weight.len(),
            Self::Affine { .. }
            | Self::LayerNorm { .. }
            | Self::GroupNorm { .. }
            | Self::Resize(_)
            | Self::Activate(_)
            | Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::AdaptiveAvgPool
            | Self::Add { .. }
            | Self::Gate
            | Self::Concat
            | Self::Chunk { .. }
            | Self::Shuffle { .. }
            | Self::Reshape
            | Self::FlattenMaps
            | Self::ClassToken(_)
            | Self::FirstToken
            | Self::Positions(_)
            | Self::MergePatches
            | Self::Gather(_)
            | Self::LeaveOut { .. }
            | Self::Attention(_) => 0,
        }
    }

    /// Multiply-adds for one image: each output position of a convolution and a linear map meets all weights, each input
    /// position of a transposed convolution does.
    pub(crate) fn multiply_adds(&self, input: Shape, output: Shape) -> usize {
        match self {
            Self::ConvTranspose { weight, .. } => input.positions() * weight.len(),
            Self::Attention(parts) => {
                2 * parts.windows * parts.tokens * parts.tokens * parts.heads * parts.depth
            }
            other => output.positions() * other.weights(),
        }
    }

    /// What it may fold into the step before it.
    pub(crate) fn folding(&self) -> Folding<'_> {
        match self {
            Self::Affine {
                scale,
                shift,
                activation: None,
            } => Folding::Affine(scale, shift),
            Self::Activate(function) => Folding::Activation(*function),
            Self::Add { activation: None } => Folding::Sum,
            Self::Affine { .. }
            | Self::Add { .. }
            | Self::Conv { .. }
            | Self::ConvTranspose { .. }
            | Self::Linear { .. }
            | Self::LayerNorm { .. }
            | Self::GroupNorm { .. }
            | Self::Resize(_)
            | Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::AdaptiveAvgPool
            | Self::Gate
            | Self::Concat
            | Self::Chunk { .. }
            | Self::Shuffle { .. }
            | Self::Reshape
            | Self::FlattenMaps
            | Self::ClassToken(_)
            | Self::FirstToken
            | Self::Positions(_)
            | Self::MergePatches
            | Self::Gather(_)
            | Self::LeaveOut { .. }
            | Self::Attention(_) => Folding::Nothing,
        }
    }

    /// What it can do beside its own work.
    pub(crate) fn tail(&mut self) -> Tail<'_, 't> {
        match self {
            Self::Conv {
                weight,
                bias,
                ending,
                ..
            }
            | Self::Linear {
                weight,
                bias,
                ending,
            } => Tail::Scaled(weight, bias, ending),
            Self::ConvTranspose { ending, .. } => Tail::Ending(ending),
            Self::Affine { activation, .. }
            | Self::GroupNorm { activation, .. }
            | Self::Add { activation } => Tail::Activation(activation),
            Self::LayerNorm { .. }
            | Self::Resize(_)
            | Self::Activate(_)
            | Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::AdaptiveAvgPool
            | Self::Gate
            | Self::Concat
            | Self::Chunk { .. }
            | Self::Shuffle { .. }
            | Self::Reshape
            | Self::FlattenMaps
            | Self::ClassToken(_)
            | Self::FirstToken
            | Self::Positions(_)
            | Self::MergePatches
            | Self::Gather(_)
            | Self::LeaveOut { .. }
            | Self::Attention(_) => Tail::Nothing,
        }
    }
}

/// The weights of a layer: a tensor's numbers, those of each output times a factor.
#[derive(Debug, Clone)]
pub struct Weight<'t> {
    numbers: &'t [f32],
    /// Empty while all of them are one.
    factors: Vec<f32>,
}

impl<'t> Weight<'t> {
    /// A tensor as it is, its outputs along the first axis.
    pub fn new(numbers: &'t [f32]) -> Self {
        Self {
            numbers,
            factors: Vec::new(),
        }
    }

    /// How many numbers there are.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// Multiplies the numbers of each output with another factor.
    pub fn scale(&mut self, factors: &[f32]) {
        if self.factors.is_empty() {
            self.factors = factors.to_vec();
            return;
        }
        for (all, factor) in self.factors.iter_mut().zip(factors) {
            *all *= factor;
        }
    }

    /// The numbers as they are in the tensor.
    pub fn plain(&self) -> &'t [f32] {
        self.numbers
    }

    /// What the numbers of each output are to be multiplied by; empty if by nothing.
    pub fn factors(&self) -> &[f32] {
        &self.factors
    }

    /// The numbers, multiplied.
    pub fn numbers(&self) -> Cow<'t, [f32]> {
        let reach = self.numbers.len() / self.factors.len().max(1);
        if self.factors.is_empty() || reach == 0 {
            return Cow::Borrowed(self.numbers);
        }
        let mut scaled = Vec::with_capacity(self.numbers.len());
        for (row, factor) in self.numbers.chunks_exact(reach).zip(&self.factors) {
            scaled.extend(row.iter().map(|number| number * factor));
        }
        Cow::Owned(scaled)
    }
}

/// Attention within each of some sequences.
#[derive(Debug, Clone)]
pub struct SelfAttention {
    /// Sequences of an image.
    pub windows: usize,
    /// Positions in each.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub depth: usize,
    /// Whether the projection is packed `[heads, 3, depth]` and not `[3, heads, depth]`.
    pub per_head: bool,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Cosine attention: what the scores of each head are multiplied by instead.
    pub cosine: Option<Vec<f32>>,
    /// Added to the scores, `[heads, tokens, tokens]`.
    pub bias: Option<Vec<f32>>,
    /// Added to the scores of each window, `[windows, tokens, tokens]`.
    pub mask: Option<Vec<f32>>,
}
