//! The steps that networks are made of: what each is called, puts out and costs.

use super::LayerId;

/// A two-dimensional convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// Channels it puts out.
    pub filters: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Step between outputs, per axis.
    pub stride: [usize; 2],
    /// What surrounds the input.
    pub padding: Padding,
    /// Distance between the kernel's elements, per axis.
    pub dilation: [usize; 2],
    /// Input and output channels are split into so many groups that do not see each other.
    pub groups: usize,
    /// Whether a number per filter is added.
    pub bias: bool,
}

/// What surrounds a convolution's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// So many zeros on either side of each axis.
    Symmetric([usize; 2]),
    /// TensorFlow's: as many as it takes for `⌈input / stride⌉` outputs, the odd one at the end.
    Same,
}

impl Conv {
    /// A square kernel as torchvision builds most of them: stride 1, padding that keeps the size, no
    /// bias because a batch norm follows.
    pub const fn new(filters: usize, kernel: usize) -> Self {
        Self::rectangle(filters, [kernel, kernel])
    }

    /// The same with a kernel of any shape.
    pub const fn rectangle(filters: usize, kernel: [usize; 2]) -> Self {
        Self {
            filters,
            kernel,
            stride: [1, 1],
            padding: Padding::Symmetric([(kernel[0] - 1) / 2, (kernel[1] - 1) / 2]),
            dilation: [1, 1],
            groups: 1,
            bias: false,
        }
    }

    /// With this step along both axes.
    pub const fn stride(self, stride: usize) -> Self {
        Self {
            stride: [stride, stride],
            ..self
        }
    }

    /// With so many zeros on every side.
    pub const fn padding(self, padding: usize) -> Self {
        Self {
            padding: Padding::Symmetric([padding, padding]),
            ..self
        }
    }

    /// Padded as TensorFlow does.
    pub const fn same(self) -> Self {
        Self {
            padding: Padding::Same,
            ..self
        }
    }

    /// Zeros before and after each axis of maps of this height and width.
    pub fn padding_of(&self, size: [usize; 2]) -> [(usize, usize); 2] {
        match self.padding {
            Padding::Symmetric(padding) => padding.map(|padding| (padding, padding)),
            Padding::Same => [0, 1].map(|axis| {
                let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
                let outputs = size[axis].div_ceil(self.stride[axis]);
                let total = ((outputs - 1) * self.stride[axis] + reach).saturating_sub(size[axis]);
                (total / 2, total - total / 2)
            }),
        }
    }

    /// In so many groups.
    pub const fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// With a bias.
    pub const fn bias(self) -> Self {
        Self { bias: true, ..self }
    }
}

/// A window that slides over maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Side of the window.
    pub kernel: usize,
    /// Step between windows.
    pub stride: usize,
    /// Border on every side, which a maximum never picks and an average counts as zeros.
    pub padding: usize,
    /// Whether windows that hang over the far edge count.
    pub ceil: bool,
}

impl Pool {
    /// Without padding, rounded down.
    pub const fn new(kernel: usize, stride: usize) -> Self {
        Self {
            kernel,
            stride,
            padding: 0,
            ceil: false,
        }
    }

    /// With a border.
    pub const fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// Rounded up.
    pub const fn ceil(self) -> Self {
        Self { ceil: true, ..self }
    }

    /// Outputs along an axis of `input` positions, as PyTorch counts them; `None` when the window
    /// does not fit.
    pub fn outputs(&self, input: usize) -> Option<usize> {
        let span = (input + 2 * self.padding) as isize - self.kernel as isize;
        let stride = self.stride as isize;
        if !self.ceil {
            return (span >= 0).then(|| (span / stride) as usize + 1);
        }
        // Rounded up, a window larger than the input still counts once.
        let count = usize::try_from((span + stride - 1).div_euclid(stride) + 1).ok()?;
        if count == 0 {
            return None;
        }
        // A window that would start in the far border is not counted.
        let starts_outside = (count - 1) * self.stride >= input + self.padding;
        Some(if starts_outside { count - 1 } else { count })
    }
}

/// An elementwise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nonlinearity {
    /// max(0, x)
    Relu,
    /// min(max(0, x), 6)
    Relu6,
    /// x · sigmoid(x)
    Silu,
    /// x · relu6(x + 3) / 6
    HardSwish,
    /// relu6(x + 3) / 6
    HardSigmoid,
    /// 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// x · Φ(x), by the error function
    Gelu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Nonlinearity {
    /// PyTorch's name for the module.
    pub const fn torch_name(self) -> &'static str {
        match self {
            Self::Relu => "ReLU",
            Self::Relu6 => "ReLU6",
            Self::Silu => "SiLU",
            Self::HardSwish => "Hardswish",
            Self::HardSigmoid => "Hardsigmoid",
            Self::Sigmoid => "Sigmoid",
            Self::Gelu => "GELU",
            Self::Tanh => "Tanh",
        }
    }
}

/// Which positions attend to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbourhood {
    /// Every token to every other.
    All,
    /// Square windows of this side, moved by this shift; maps are padded to whole windows (Swin).
    Window {
        /// Side of a window.
        side: usize,
        /// How far windows are shifted down and right, with wrap-around.
        shift: usize,
    },
    /// Square windows of this side that tile the map exactly (MaxViT's "block").
    Block {
        /// Side of a window.
        side: usize,
    },
    /// A square grid of this side spread over the whole map (MaxViT's "grid").
    Grid {
        /// Side of the grid.
        side: usize,
    },
}

/// How queries, keys and values lie in the packed projection's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// `[3, heads, depth]`: all queries, all keys, all values.
    Projection,
    /// `[heads, 3, depth]`: head by head.
    Head,
}

/// What is added to attention scores by relative position.
#[derive(Debug, Clone, PartialEq)]
pub enum RelativeBias {
    /// Nothing.
    None,
    /// A learnt table of `[(2·side − 1)², heads]`.
    Table(LayerId),
    /// A small perceptron over log-spaced offsets (Swin v2).
    Continuous {
        /// Its hidden layer.
        hidden: LayerId,
        /// Its output layer.
        output: LayerId,
    },
}

/// Multi-head self-attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// Heads.
    pub heads: usize,
    /// Who attends to whom.
    pub neighbourhood: Neighbourhood,
    /// The packed projection to queries, keys and values.
    pub qkv: LayerId,
    /// Their layout.
    pub packing: Packing,
    /// The projection of the result.
    pub output: LayerId,
    /// The bias by relative position.
    pub bias: RelativeBias,
    /// What scores are multiplied by, when they are dot products.
    pub scale: f64,
    /// Cosine attention's learnt scale per head, in logarithms (Swin v2).
    pub logit_scale: Option<LayerId>,
}

/// One step of a network.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A convolution over maps `[C, H, W]`.
    Conv(Conv, LayerId),
    /// Batch norm over channels.
    BatchNorm(LayerId),
    /// Layer norm over the last axis.
    LayerNorm(LayerId),
    /// Layer norm over the channels of maps.
    ChannelLayerNorm(LayerId),
    /// A linear map of the last axis.
    Linear(LayerId),
    /// An elementwise function.
    Activate(Nonlinearity),
    /// The largest value of each window.
    MaxPool(Pool),
    /// The mean of each window.
    AvgPool(Pool),
    /// Means over as many regions as there shall be outputs.
    AdaptiveAvgPool([usize; 2]),
    /// The sum of two values.
    Add,
    /// Maps times a gate: one number per channel, or one for each position.
    Multiply,
    /// Maps or tokens side by side along the channels.
    Concat,
    /// A part of the channels.
    Chunk {
        /// How many parts.
        parts: usize,
        /// Which of them.
        index: usize,
    },
    /// Channels `[groups, n]` turned to `[n, groups]`.
    ChannelShuffle {
        /// The groups.
        groups: usize,
    },
    /// A learnt factor per channel.
    Scale(LayerId),
    /// A constant factor and summand per channel.
    Affine {
        /// The factors.
        scale: Vec<f32>,
        /// The summands.
        shift: Vec<f32>,
    },
    /// In training, zeroes this share of the values.
    Dropout(f64),
    /// In training, zeroes this share of the images' residual branches.
    StochasticDepth(f64),
    /// `[C, H, W]` to `[H, W, C]`.
    ChannelsLast,
    /// `[H, W, C]` to `[C, H, W]`.
    ChannelsFirst,
    /// Everything in a row.
    Flatten,
    /// `[C, H, W]` to `[H·W, C]`, positions in reading order.
    Tokens,
    /// `[T, C]` to `[1 + T, C]`: a learnt token comes first.
    ClassToken(LayerId),
    /// `[T, C]` to `[C]`: the first token stands for all.
    FirstToken,
    /// Adds a learnt vector to each token.
    PositionEmbedding(LayerId),
    /// `[H, W, C]` to `[⌈H/2⌉, ⌈W/2⌉, 4C]`: each two by two positions side by side.
    MergePatches,
    /// Self-attention over tokens `[T, C]` or maps `[H, W, C]`.
    Attention(Attention),
}

impl Op {
    /// PyTorch's name for the module that does this; `None` for what is a plain function there.
    pub fn torch_module(&self) -> Option<&'static str> {
        Some(match self {
            Self::Conv(..) => "Conv2d",
            Self::BatchNorm(_) => "BatchNorm2d",
            Self::LayerNorm(_) => "LayerNorm",
            Self::ChannelLayerNorm(_) => "LayerNorm2d",
            Self::Linear(_) => "Linear",
            Self::Activate(function) => function.torch_name(),
            Self::MaxPool(_) => "MaxPool2d",
            Self::AvgPool(_) => "AvgPool2d",
            Self::AdaptiveAvgPool(_) => "AdaptiveAvgPool2d",
            Self::Dropout(_) => "Dropout",
            Self::StochasticDepth(_) => "StochasticDepth",
            Self::ChannelsLast | Self::ChannelsFirst => "Permute",
            Self::Attention(attention) => match attention.neighbourhood {
                Neighbourhood::All => "MultiheadAttention",
                Neighbourhood::Window { .. } => "ShiftedWindowAttention",
                Neighbourhood::Block { .. } | Neighbourhood::Grid { .. } => {
                    "RelativePositionalMultiHeadAttention"
                }
            },
            _ => return None,
        })
    }

    /// What it is called where PyTorch has no module: in diagrams and messages.
    pub fn name(&self) -> &'static str {
        self.torch_module().unwrap_or(match self {
            Self::Add => "Add",
            Self::Multiply => "Multiply",
            Self::Concat => "Concat",
            Self::Chunk { .. } => "Chunk",
            Self::ChannelShuffle { .. } => "ChannelShuffle",
            Self::Scale(_) => "LayerScale",
            Self::Affine { .. } => "Affine",
            Self::Flatten => "Flatten",
            Self::Tokens => "Tokens",
            Self::ClassToken(_) => "ClassToken",
            Self::FirstToken => "FirstToken",
            Self::PositionEmbedding(_) => "PositionEmbedding",
            Self::MergePatches => "PatchMerging",
            _ => "Step",
        })
    }

    /// The layers whose parameters it uses.
    pub fn layers(&self) -> Vec<LayerId> {
        match self {
            Self::Conv(_, layer)
            | Self::BatchNorm(layer)
            | Self::LayerNorm(layer)
            | Self::ChannelLayerNorm(layer)
            | Self::Linear(layer)
            | Self::Scale(layer)
            | Self::ClassToken(layer)
            | Self::PositionEmbedding(layer) => vec![*layer],
            Self::Attention(attention) => {
                let mut layers = vec![attention.qkv, attention.output];
                match &attention.bias {
                    RelativeBias::None => {}
                    RelativeBias::Table(table) => layers.push(*table),
                    RelativeBias::Continuous { hidden, output } => {
                        layers.extend([*hidden, *output]);
                    }
                }
                layers.extend(attention.logit_scale);
                layers
            }
            _ => Vec::new(),
        }
    }

    /// The shape of what it puts out, without the batch; `Err` says what the input should have been.
    pub(super) fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>, &'static str> {
        let first = inputs[0];
        let map = |shape: &[usize]| -> Result<[usize; 3], &'static str> {
            shape.try_into().map_err(|_| "takes maps")
        };
        Ok(match self {
            Self::Conv(conv, _) => {
                let [_, rows, columns] = map(first)?;
                let out = |axis: usize, input: usize| match conv.padding {
                    Padding::Same => Some(input.div_ceil(conv.stride[axis])),
                    Padding::Symmetric(padding) => {
                        let reach = conv.dilation[axis] * (conv.kernel[axis] - 1) + 1;
                        let span = (input + 2 * padding[axis]).checked_sub(reach)?;
                        Some(span / conv.stride[axis] + 1)
                    }
                };
                let fits = "needs a larger input than its kernel";
                vec![
                    conv.filters,
                    out(0, rows).ok_or(fits)?,
                    out(1, columns).ok_or(fits)?,
                ]
            }
            Self::MaxPool(pool) | Self::AvgPool(pool) => {
                let [channels, rows, columns] = map(first)?;
                let fits = "needs a larger input than its window";
                vec![
                    channels,
                    pool.outputs(rows).ok_or(fits)?,
                    pool.outputs(columns).ok_or(fits)?,
                ]
            }
            Self::AdaptiveAvgPool([rows, columns]) => vec![map(first)?[0], *rows, *columns],
            Self::Add => {
                if inputs[0] != inputs[1] {
                    return Err("adds values of different shapes");
                }
                first.to_vec()
            }
            Self::Multiply => first.to_vec(),
            Self::Concat => {
                let mut shape = first.to_vec();
                if inputs.iter().any(|other| other[1..] != first[1..]) {
                    return Err("joins maps of different sizes");
                }
                shape[0] = inputs.iter().map(|shape| shape[0]).sum();
                shape
            }
            Self::Chunk { parts, .. } => {
                let mut shape = first.to_vec();
                shape[0] /= parts;
                shape
            }
            Self::ChannelsLast => {
                let [channels, rows, columns] = map(first)?;
                vec![rows, columns, channels]
            }
            Self::ChannelsFirst => {
                let [rows, columns, channels] = map(first)?;
                vec![channels, rows, columns]
            }
            Self::Flatten => vec![first.iter().product()],
            Self::Tokens => {
                let [channels, rows, columns] = map(first)?;
                vec![rows * columns, channels]
            }
            Self::ClassToken(_) => vec![first[0] + 1, first[1]],
            Self::FirstToken => vec![first[1]],
            Self::MergePatches => {
                let [rows, columns, channels] = map(first)?;
                vec![rows.div_ceil(2), columns.div_ceil(2), 4 * channels]
            }
            Self::Attention(attention) => {
                if let Neighbourhood::Block { side } | Neighbourhood::Grid { side } =
                    attention.neighbourhood
                {
                    let [rows, columns, _] = map(first)?;
                    if !rows.is_multiple_of(side) || !columns.is_multiple_of(side) {
                        return Err("needs maps that divide into its windows");
                    }
                }
                first.to_vec()
            }
            // The rest keeps the shape; a linear layer's width is set by whoever makes it.
            _ => first.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_count_their_outputs_as_pytorch_does() {
        // torch.nn.MaxPool2d(3, 2, ceil_mode=True) on 111 → 55; MaxPool2d(2, 2, ceil_mode=True) on
        // 7 → 4; MaxPool2d(3, 2, 1) on 112 → 56; MaxPool2d(2, 2, 1, ceil_mode=True) on 3 → 2.
        assert_eq!(Pool::new(3, 2).ceil().outputs(111), Some(55));
        assert_eq!(Pool::new(2, 2).ceil().outputs(7), Some(4));
        assert_eq!(Pool::new(3, 2).padding(1).outputs(112), Some(56));
        assert_eq!(Pool::new(2, 2).padding(1).ceil().outputs(3), Some(2));
        assert_eq!(Pool::new(3, 2).outputs(2), None);
        assert_eq!(Pool::new(3, 2).ceil().outputs(2), Some(1));
    }
}
