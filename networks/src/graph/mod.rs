//! A network as data: steps, the layers whose parameters they use, and the stages they form.
//!
//! Every network is written down once ([`sketch()`]), by the family's file in [`crate::backbone`].
//! From that one text follow what would otherwise be written again and again: how it runs
//! (`rekindle_core::network`), what its parameters are called, what it costs, which stage a parameter belongs
//! to, its summary, its diagram and its ONNX form.

mod attention;
mod conv_transpose;
mod init;
mod layer;
mod op;
mod resample;
mod sketch;

pub use attention::{log_offsets, relative_position_index, shift_mask};
pub use conv_transpose::ConvTranspose;
pub use init::{Init, InitRules, Scratch};
pub use layer::{LARGEST_BINDING, LayerId, LayerKind, LayerSpec, Norm};
pub use op::{
    Attention, Conv, Neighbourhood, Nonlinearity, Op, Packing, Padding, Pool, RelativeBias,
};
pub use resample::Resample;
pub use sketch::{AttentionParts, Options, PositionBias, Value, sketch};

use std::ops::Range;

use thiserror::Error;

/// One step of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands: PyTorch's name of the module, or of the module around it.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// The values it takes: 0 is the image, `n` is what node `n − 1` puts out.
    pub inputs: Vec<usize>,
    /// The shape of what it puts out, without the batch.
    pub shape: Vec<usize>,
    /// Which part of the network it belongs to.
    pub part: Part,
}

/// The parts of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What leads from the image to the features.
    Main,
    /// An auxiliary classifier, run in training only.
    Auxiliary,
}

/// One named stretch of a network, which can run alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The name people know it by: `layer3`, `blocks.4`, `encoder_layer_11`.
    pub name: String,
    /// Input pixels per output position along each axis, counted from the image; `None` where
    /// positions have been averaged away.
    pub stride: Option<usize>,
    /// Channels (maps), width (tokens) or length (features) of what it puts out.
    pub channels: usize,
    /// The shape of what it puts out for one image of the size that the network was built for.
    pub shape: Vec<usize>,
    /// Its nodes.
    pub nodes: Range<usize>,
    /// The value it puts out.
    pub output: usize,
}

/// A tensor of torchvision's state_dict that is no parameter and follows from the network's shape,
/// such as Swin's index of relative positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub values: Vec<f32>,
}

/// An image that a network cannot take.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{op} at '{step}' {what}: it is given {input:?}")]
pub struct GraphError {
    step: String,
    op: &'static str,
    what: &'static str,
    input: Vec<usize>,
}

/// A whole network, without numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    image: [usize; 3],
    nodes: Vec<Node>,
    layers: Vec<LayerSpec>,
    constants: Vec<Constant>,
    stages: Vec<Stage>,
    /// The stage of each layer.
    layer_stages: Vec<usize>,
}

impl Graph {
    fn new(
        image: [usize; 3],
        nodes: Vec<Node>,
        layers: Vec<LayerSpec>,
        constants: Vec<Constant>,
        stages: Vec<Stage>,
    ) -> Self {
        let mut layer_stages = vec![0; layers.len()];
        // From the last: a layer that serves several belongs to the first of them.
        for (index, stage) in stages.iter().enumerate().rev() {
            for node in &nodes[stage.nodes.clone()] {
                for layer in node.op.layers() {
                    layer_stages[layer.0] = index;
                }
            }
        }
        Self {
            image,
            nodes,
            layers,
            constants,
            stages,
            layer_stages,
        }
    }

    /// The same network without what is drawn at random in training: dropout and stochastic depth let
    /// everything through. Two libraries that draw differently can then be compared.
    pub fn without_randomness(mut self) -> Self {
        for node in &mut self.nodes {
            if let Op::Dropout(share) | Op::StochasticDepth(share) = &mut node.op {
                *share = 0.0;
            }
        }
        self
    }

    /// The shape of the image it was written for, `[C, H, W]`.
    pub fn image(&self) -> [usize; 3] {
        self.image
    }

    /// Its steps, first to last.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Its layers.
    pub fn layers(&self) -> &[LayerSpec] {
        &self.layers
    }

    /// Its stages, first to last.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The value that the last stage puts out.
    pub fn output(&self) -> usize {
        self.stages.last().map_or(0, |stage| stage.output)
    }

    /// Its shape, for one image: `[C, H, W]`, `[T, C]` or `[F]`.
    pub fn shape(&self) -> &[usize] {
        self.stages.last().map_or(&[], |stage| &stage.shape)
    }

    /// The tensors of the state_dict that are no parameters.
    pub fn constants(&self) -> &[Constant] {
        &self.constants
    }

    /// The stage of a layer.
    pub fn stage_of_layer(&self, layer: LayerId) -> usize {
        self.layer_stages[layer.0]
    }

    /// The layer that the parameter of this name belongs to.
    pub fn layer_of(&self, parameter: &str) -> Option<LayerId> {
        self.layers
            .iter()
            .position(|layer| {
                parameter
                    .strip_prefix(layer.name.as_str())
                    .is_some_and(|rest| {
                        rest.is_empty()
                            || (rest.starts_with(layer.joint) && !rest[1..].contains('.'))
                    })
            })
            .map(LayerId)
    }

    /// The tensors of its state_dict, name and shape, constants aside.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.layers.iter().flat_map(LayerSpec::tensors)
    }

    /// Learnable numbers.
    pub fn parameter_count(&self) -> usize {
        self.layers.iter().map(LayerSpec::parameter_count).sum()
    }

    /// Length of the feature vector that a head is given: channels of maps, width of tokens.
    pub fn features(&self) -> usize {
        self.stages.last().map_or(0, |stage| stage.channels)
    }

    /// Multiply-adds of one image through the main part: convolutions, linear maps and attention, as
    /// torchvision counts them.
    pub fn macs(&self) -> u64 {
        let main = self.nodes.iter().filter(|node| node.part == Part::Main);
        main.map(|node| self.node_macs(node)).sum()
    }

    /// Multiply-adds of one step.
    pub fn node_macs(&self, node: &Node) -> u64 {
        let count = |shape: &[usize]| shape.iter().product::<usize>() as u64;
        let linear = |layer: LayerId, positions: u64| match self.layers[layer.0].kind {
            LayerKind::Linear { input, output, .. } => positions * (input * output) as u64,
            _ => 0,
        };
        match &node.op {
            Op::Conv(conv, layer) => match self.layers[layer.0].kind {
                LayerKind::Conv { input, .. } => {
                    let reach = conv.kernel[0] * conv.kernel[1] * input / conv.groups;
                    count(&node.shape) * reach as u64
                }
                _ => 0,
            },
            Op::Linear(layer) => linear(*layer, count(&node.shape[..node.shape.len() - 1])),
            Op::Attention(attention) => {
                let width = node.shape[node.shape.len() - 1] as u64;
                let (windows, tokens) = attention::windows(attention, &node.shape);
                let (windows, tokens) = (windows as u64, tokens as u64);
                let positions = windows * tokens;
                let bias = match &attention.bias {
                    RelativeBias::Continuous { hidden, output } => {
                        let offsets = attention::offsets(tokens as usize) as u64;
                        linear(*hidden, offsets) + linear(*output, offsets)
                    }
                    RelativeBias::None | RelativeBias::Table(_) => 0,
                };
                bias + linear(attention.qkv, positions)
                    + linear(attention.output, positions)
                    + 2 * windows * tokens * tokens * width
            }
            _ => 0,
        }
    }
}
