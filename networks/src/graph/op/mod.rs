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
pub use conv::{Conv, Convolution, Padding};
pub use conv_transpose::{ConvTranspose, TransposedConvolution};
pub use drop::{Dropout, StochasticDepth};
pub use layout::{ChannelsFirst, ChannelsLast, Flatten};
pub use linear::Linear;
pub use norm::{BatchNorm, ChannelLayerNorm, GroupNorm, LayerNorm};
pub use pool::{AdaptiveAvgPool, AvgPool, MaxPool, Pool};
pub use resize::{Resample, Resize};
pub use tokens::{ClassToken, FirstToken, MergePatches, PositionEmbedding, Tokens};

use super::{LayerId, LayerSpec};
use crate::onnx::{Name, OnnxError, Writer};

/// What every kind of step says about itself. There are no defaults: a new kind does not compile before every question
/// is answered.
pub(crate) trait Operation {
    /// What people call it.
    fn title(&self) -> Title;

    /// The layers whose parameters it uses.
    fn layers(&self) -> Vec<LayerId>;

    /// The shape of what it puts out, without the batch; `Err` says what the input should have been, to follow the
    /// step's name.
    fn shape(&self, inputs: &[&[usize]], layers: &[LayerSpec]) -> Result<Vec<usize>, &'static str>;

    /// Multiply-adds for one image: of convolutions, linear maps and attention, as torchvision counts them.
    fn multiply_adds(&self, site: &Site) -> u64;
}

/// How every kind of step is written into an ONNX file. It is a trait of its own, so that programs which write none do
/// not carry it.
pub(crate) trait Exported {
    /// Writes the ONNX operators that say the same, and returns the name of the value that they put out.
    fn onnx(&self, site: &Site, inputs: &[&str], writer: &mut Writer) -> Result<Name, OnnxError>;
}

/// What a kind of step is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Title {
    /// PyTorch's name for the module that does this.
    Module(&'static str),
    /// A name of ours for what is a plain function there.
    Function(&'static str),
}

/// Where a step stands in its network: what surrounds it.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    /// The network's layers.
    pub layers: &'a [LayerSpec],
    /// The shapes of what it takes.
    pub inputs: Vec<&'a [usize]>,
    /// The shape of what it puts out.
    pub output: &'a [usize],
}

impl Site<'_> {
    /// How many numbers it puts out.
    pub fn count(&self) -> u64 {
        self.output.iter().product::<usize>() as u64
    }

    /// The name of a layer's parameter: its weight is the first, its bias the second.
    pub fn parameter(&self, layer: LayerId, index: usize) -> String {
        let parameters = self.layers[layer.0].parameters();
        let name = parameters.into_iter().nth(index);
        name.map_or_else(String::new, |(name, _)| name)
    }
}

/// Channels, rows and columns of maps.
fn maps(shape: &[usize]) -> Result<[usize; 3], &'static str> {
    shape.try_into().map_err(|_| "takes maps")
}

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
