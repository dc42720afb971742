//! The steps that networks are made of: one file for each kind, or for a few that belong together.
//!
//! What a step is, is said in its file and nowhere else in this crate: what it is called, the layers it uses, the
//! shape and cost of what it puts out, its ONNX form. How it is run and compiled is said in `rekindle_core::operations`,
//! in a file of the same name.

mod activation;
mod arithmetic;
mod attention;
mod channels;
mod conv;
mod conv_transpose;
mod drop;
mod layout;
mod linear;
mod norm;
mod operation;
mod pool;
mod resize;
mod tokens;

pub use activation::{Activate, Nonlinearity};
pub use arithmetic::{Add, Affine, Multiply, Scale};
pub use attention::{
    Attention, Neighbourhood, Packing, RelativeBias, log_offsets, relative_position_index,
    shift_mask,
};
pub use channels::{ChannelShuffle, Chunk, Concat};
pub use conv::Convolution;
pub use conv_transpose::TransposedConvolution;
pub use drop::{Dropout, StochasticDepth};
pub use layout::{ChannelsFirst, ChannelsLast, Flatten};
pub use linear::Linear;
pub use norm::{BatchNorm, ChannelLayerNorm, GroupNorm, LayerNorm};
pub use pool::{AdaptiveAvgPool, AvgPool, MaxPool, Pool};
pub use resize::{Resample, Resize};
pub use tokens::{ClassToken, FirstToken, MergePatches, PositionEmbedding, Tokens};

use super::layer::LayerId;
pub(crate) use operation::Site;
use operation::{Exported, Operation, Title};

/// Declares [`Op`] with a variant for each kind of step, and the only places where this crate tells them apart.
macro_rules! operations {
    ($($(#[doc = $doc:literal])* $kind:ident,)*) => {
        /// One step of a network.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Op {
            $($(#[doc = $doc])* $kind($kind),)*
        }

        impl Op {
            /// What this kind of step says about itself.
            pub(crate) fn facts(&self) -> &dyn Operation {
                match self {
                    $(Self::$kind(op) => op,)*
                }
            }

            /// How this kind of step is written into an ONNX file.
            pub(crate) fn exported(&self) -> &dyn Exported {
                match self {
                    $(Self::$kind(op) => op,)*
                }
            }
        }

        $(impl From<$kind> for Op {
            fn from(op: $kind) -> Self {
                Self::$kind(op)
            }
        })*
    };
}

operations! {
    /// A convolution over maps `[C, H, W]`.
    Convolution,
    /// A transposed convolution over maps `[C, H, W]`.
    TransposedConvolution,
    /// Maps `[C, H, W]` with other numbers of rows and columns.
    Resize,
    /// Batch norm over channels.
    BatchNorm,
    /// Norm over groups of channels and all positions.
    GroupNorm,
    /// Layer norm over the last axis.
    LayerNorm,
    /// Layer norm over the channels of maps.
    ChannelLayerNorm,
    /// A linear map of the last axis.
    Linear,
    /// An elementwise function.
    Activate,
    /// The largest value of each window.
    MaxPool,
    /// The mean of each window.
    AvgPool,
    /// Means over as many regions as there shall be outputs.
    AdaptiveAvgPool,
    /// The sum of two values.
    Add,
    /// Maps times a gate: one number per channel, or one for each position.
    Multiply,
    /// Maps side by side along the channels.
    Concat,
    /// A part of the channels.
    Chunk,
    /// Channels `[groups, n]` turned to `[n, groups]`.
    ChannelShuffle,
    /// A learnt factor per channel.
    Scale,
    /// A constant factor and summand per channel.
    Affine,
    /// In training, zeroes a share of the values.
    Dropout,
    /// In training, zeroes a share of the images' residual branches.
    StochasticDepth,
    /// `[C, H, W]` to `[H, W, C]`.
    ChannelsLast,
    /// `[H, W, C]` to `[C, H, W]`.
    ChannelsFirst,
    /// Everything in a row.
    Flatten,
    /// `[C, H, W]` to `[H·W, C]`, positions in reading order.
    Tokens,
    /// `[T, C]` to `[1 + T, C]`: a learnt token comes first.
    ClassToken,
    /// `[T, C]` to `[C]`: the first token stands for all.
    FirstToken,
    /// Adds a learnt vector to each token.
    PositionEmbedding,
    /// `[H, W, C]` to `[⌈H/2⌉, ⌈W/2⌉, 4C]`: each two by two positions side by side.
    MergePatches,
    /// Self-attention over tokens `[T, C]` or maps `[H, W, C]`.
    Attention,
}

impl Op {
    /// PyTorch's name for the module that does this; `None` for what is a plain function there.
    pub fn torch_module(&self) -> Option<&'static str> {
        match self.facts().title() {
            Title::Module(name) => Some(name),
            Title::Function(_) => None,
        }
    }

    /// What it is called in diagrams and messages: PyTorch's name where it has one.
    pub fn name(&self) -> &'static str {
        match self.facts().title() {
            Title::Module(name) | Title::Function(name) => name,
        }
    }

    /// The layers whose parameters it uses.
    pub fn layers(&self) -> Vec<LayerId> {
        self.facts().layers()
    }
}
