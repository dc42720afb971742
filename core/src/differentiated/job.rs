//! What a network in training is made of: few kinds of jobs, each of which knows the way back.

use rekindle_cpu::{Activation, ConvGeometry, Pool};

use super::parameters::TensorId;
use crate::program::{SelfAttention, ValueId};

/// One job: some steps of the network that are done together.
#[derive(Debug, Clone)]
pub(super) struct Job {
    /// The first step's name.
    pub name: String,
    pub kind: Kind,
    /// What it takes; what is added in the end comes last.
    pub inputs: Vec<ValueId>,
    pub output: ValueId,
}

/// What a job does.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A convolution, or a linear map of each position, and what follows it.
    Product(Box<Product>),
    /// Batch norm of what no product made, and what follows it.
    BatchNorm(BatchNorm, Ending),
    /// Layer norm over the channels of each position.
    LayerNorm(LayerNorm),
    /// A learnt factor for each channel.
    Scale(TensorId),
    /// A factor and a summand for each channel that nothing changes.
    Affine(Vec<f32>, Vec<f32>),
    /// An elementwise function.
    Activate(Activation),
    /// The largest value of each window.
    MaxPool(Pool),
    /// The mean of each window.
    AvgPool(Pool),
    /// Means over as many regions as there are outputs.
    AdaptiveAvgPool,
    /// The sum of two values.
    Add(Activation),
    /// The first value times the second, which has one number a channel, one a position, or all.
    Gate,
    /// Channels side by side.
    Concat,
    /// A stretch of the channels, from this one on.
    Chunk(usize),
    /// Channels `[groups, n]` turned to `[n, groups]`.
    Shuffle(usize),
    /// Maps in a row, channel by channel.
    FlattenMaps,
    /// A learnt token before the others.
    ClassToken(TensorId),
    /// The first token alone.
    FirstToken,
    /// Learnt vectors added to the positions.
    Positions(TensorId),
    /// Positions picked out, `None` for a position of zeros.
    Gather(Vec<Option<u32>>),
    /// Each two by two positions side by side.
    MergePatches,
    /// Attention, from packed queries, keys and values.
    Attention(Box<Attention>),
    /// Values left out at random.
    LeaveOut(LeaveOut),
}

/// A convolution or linear map, joined with what follows it.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub geometry: ConvGeometry,
    /// Rows and columns of the maps that come in.
    pub size: [usize; 2],
    pub weight: TensorId,
    pub bias: Option<TensorId>,
    pub norm: Option<BatchNorm>,
    pub ending: Ending,
}

/// A batch norm's tensors and numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchNorm {
    pub gamma: TensorId,
    pub beta: TensorId,
    pub mean: TensorId,
    pub variance: TensorId,
    pub epsilon: f64,
    /// The share of the new batch in the running statistics.
    pub momentum: f64,
}

/// A layer norm's tensors and number.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerNorm {
    pub gamma: TensorId,
    pub beta: TensorId,
    pub epsilon: f32,
}

/// What follows before a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ending {
    /// Whether the last input is added.
    pub residual: bool,
    pub activation: Activation,
}

/// Attention and the bias that its scores learn.
#[derive(Debug, Clone)]
pub(super) struct Attention {
    /// Its bias means nothing: it is made of the table.
    pub parts: SelfAttention,
    pub bias: Option<RelativeBias>,
}

/// A bias by relative position: a table `[offsets, heads]`, and the row for each pair of positions.
#[derive(Debug, Clone)]
pub(super) struct RelativeBias {
    pub table: TensorId,
    pub rows: Vec<usize>,
}

/// What is left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaveOut {
    pub share: f64,
    /// Whether each number is drawn by itself, and not each image.
    pub each: bool,
    /// Whether they are drawn for maps channels first, and not as they lie.
    pub turned: bool,
    /// The place among the network's random steps.
    pub place: usize,
}

impl Kind {
    /// The tensors that gradients may move.
    pub(super) fn learnt(&self) -> Vec<TensorId> {
        match self {
            Self::Product(product) => {
                let mut all = vec![product.weight];
                all.extend(product.bias);
                all.extend(product.norm.iter().flat_map(|norm| [norm.gamma, norm.beta]));
                all
            }
            Self::BatchNorm(norm, _) => vec![norm.gamma, norm.beta],
            Self::LayerNorm(norm) => vec![norm.gamma, norm.beta],
            Self::Scale(tensor) | Self::ClassToken(tensor) | Self::Positions(tensor) => {
                vec![*tensor]
            }
            Self::Attention(attention) => attention.bias.iter().map(|bias| bias.table).collect(),
            Self::Affine(..)
            | Self::Activate(_)
            | Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::AdaptiveAvgPool
            | Self::Add(_)
            | Self::Gate
            | Self::Concat
            | Self::Chunk(_)
            | Self::Shuffle(_)
            | Self::FlattenMaps
            | Self::FirstToken
            | Self::Gather(_)
            | Self::MergePatches
            | Self::LeaveOut(_) => Vec::new(),
        }
    }
}
