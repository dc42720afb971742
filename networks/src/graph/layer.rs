//! The parts of a network that hold parameters.

use super::geometry::{Conv, ConvTranspose};

/// A layer of a graph, by its place in [`super::Graph::layers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(pub usize);

/// What a layer is, before it has numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSpec {
    /// The module's name in the state_dict.
    pub name: String,
    /// What stands between that name and `weight` or `bias`: a dot, but an underscore in PyTorch's
    /// `in_proj_weight`.
    pub joint: &'static str,
    /// Its kind and size.
    pub kind: LayerKind,
}

/// The kinds of layers.
#[derive(Debug, Clone, PartialEq)]
pub enum LayerKind {
    /// A convolution of so many input channels.
    Conv {
        /// Channels that come in.
        input: usize,
        /// The rest.
        conv: Conv,
    },
    /// A transposed convolution of so many input channels.
    ConvTranspose {
        /// Channels that come in.
        input: usize,
        /// The rest.
        conv: ConvTranspose,
    },
    /// Group norm.
    GroupNorm {
        /// Channels.
        channels: usize,
        /// Added to the variance.
        epsilon: f64,
    },
    /// Batch norm.
    BatchNorm {
        /// Channels.
        channels: usize,
        /// Its numbers.
        norm: Norm,
    },
    /// Layer norm.
    LayerNorm {
        /// Length of the axis it normalises.
        width: usize,
        /// Added to the variance.
        epsilon: f64,
    },
    /// A linear map.
    Linear {
        /// Features that come in.
        input: usize,
        /// Features that go out.
        output: usize,
        /// Whether a number per output is added.
        bias: bool,
    },
    /// A bare parameter of this shape.
    Table(Vec<usize>),
}

/// Batch norm's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// Added to the variance.
    pub epsilon: f64,
    /// The share of the new batch in the running statistics.
    pub momentum: f64,
}

impl Norm {
    /// PyTorch's defaults.
    pub const TORCH: Self = Self::new(1e-5, 0.1);

    /// These numbers.
    pub const fn new(epsilon: f64, momentum: f64) -> Self {
        Self { epsilon, momentum }
    }
}

impl LayerSpec {
    /// Its learnable parameters: name in the state_dict and shape, as PyTorch has them.
    pub fn parameters(&self) -> Vec<(String, Vec<usize>)> {
        let pair = |weight: Vec<usize>, bias: Option<usize>| {
            let mut all = vec![(self.tensor("weight"), weight)];
            all.extend(bias.map(|length| (self.tensor("bias"), vec![length])));
            all
        };
        match &self.kind {
            LayerKind::Conv { input, conv } => pair(
                vec![
                    conv.filters,
                    input / conv.groups,
                    conv.kernel[0],
                    conv.kernel[1],
                ],
                conv.bias.then_some(conv.filters),
            ),
            LayerKind::ConvTranspose { input, conv } => {
                let [rows, columns] = conv.kernel;
                let filters = conv.filters / conv.groups;
                let bias = conv.bias.then_some(conv.filters);
                pair(vec![*input, filters, rows, columns], bias)
            }
            LayerKind::BatchNorm { channels: n, .. }
            | LayerKind::GroupNorm { channels: n, .. }
            | LayerKind::LayerNorm { width: n, .. } => pair(vec![*n], Some(*n)),
            LayerKind::Linear {
                input,
                output,
                bias,
            } => pair(vec![*output, *input], bias.then_some(*output)),
            LayerKind::Table(shape) => vec![(self.name.clone(), shape.clone())],
        }
    }

    /// Its tensors in the state_dict: the parameters and, for batch norm, the running statistics.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let mut tensors = self.parameters();
        if let LayerKind::BatchNorm { channels, .. } = self.kind {
            for leaf in ["running_mean", "running_var"] {
                tensors.push((self.tensor(leaf), vec![channels]));
            }
        }
        tensors
    }

    /// How many learnable numbers it has.
    pub fn parameter_count(&self) -> usize {
        let parameters = self.parameters();
        parameters
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum()
    }

    /// The name in the state_dict of its tensor `weight`, `bias`, `running_mean` or `running_var`.
    pub fn tensor(&self, leaf: &str) -> String {
        format!("{}{}{leaf}", self.name, self.joint)
    }

    /// What comes in and goes out of a linear map, or of a 1×1 convolution that some networks keep in its place.
    pub fn projection(&self) -> Option<[usize; 2]> {
        match &self.kind {
            LayerKind::Linear { input, output, .. } => Some([*input, *output]),
            LayerKind::Conv { input, conv } if conv.kernel == [1, 1] => {
                Some([*input, conv.filters])
            }
            _ => None,
        }
    }

    /// Multiply-adds of a [projection](Self::projection) at so many positions.
    pub fn multiply_adds_at(&self, positions: u64) -> u64 {
        let [input, output] = self.projection().unwrap_or_default();
        positions * (input * output) as u64
    }
}
