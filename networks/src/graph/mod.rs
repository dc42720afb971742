//! A network as data: steps, the layers whose parameters they use, and the stages they form.
//!
//! Every network is written down once ([`sketch()`]), from the image to the answers, by the family's file in
//! [`crate::backbone`] and the head behind it. From that one text follow what would otherwise be written again and
//! again: how it runs (`rekindle_core::network`), what its parameters are called, what it costs, which stage a
//! parameter belongs to, its summary, its diagram and its ONNX form.

mod geometry;
mod init;
mod layer;
mod op;
mod schedule;
mod sheet;
mod sketch;
mod value;

pub use geometry::{Conv, ConvTranspose, Padding};
pub use init::{Init, InitRules, Scratch};
pub use layer::{LayerId, LayerKind, LayerSpec, Norm};
pub use op::{
    Activate, AdaptiveAvgPool, Add, Affine, Attention, AvgPool, BatchNorm, ChannelLayerNorm,
    ChannelShuffle, ChannelsFirst, ChannelsLast, Chunk, ClassToken, Concat, Convolution, Dropout,
    FirstToken, Flatten, GroupNorm, LayerNorm, Linear, MaxPool, MergePatches, Multiply,
    Neighbourhood, Nonlinearity, Op, Packing, Pool, PositionEmbedding, RelativeBias, Resample,
    Resize, Scale, StochasticDepth, Tokens, TransposedConvolution, log_offsets,
    relative_position_index, shift_mask,
};
pub use schedule::{Flow, Schedule, Unreachable, Values};
pub use sheet::Options;
pub use sketch::{Outputs, sketch};
pub use value::{AttentionParts, PositionBias, Value};

use std::ops::Range;

use thiserror::Error;

use op::Site;

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
}

/// One named stretch of a network.
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

/// A value that a network is there for, or one that helps in its training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name: `logits`, `out`, `aux`.
    pub name: String,
    /// The value.
    pub value: usize,
    /// Whether it is an auxiliary classifier's: it takes part in training, and is computed otherwise only if somebody
    /// asks for it by name.
    pub auxiliary: bool,
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

/// An image that a network cannot take, or a network that was written down wrongly.
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
    input: Vec<usize>,
    nodes: Vec<Node>,
    layers: Vec<LayerSpec>,
    constants: Vec<Constant>,
    stages: Vec<Stage>,
    outputs: Vec<Output>,
    taps: Vec<(String, usize)>,
    backbone_stages: usize,
    /// The stage of each layer.
    layer_stages: Vec<usize>,
    /// The nodes that lead to an output which is not auxiliary, first to last.
    main: Vec<usize>,
}

/// What a sketch is made of before it is a graph.
struct Drawn {
    input: Vec<usize>,
    nodes: Vec<Node>,
    layers: Vec<LayerSpec>,
    constants: Vec<Constant>,
    stages: Vec<Stage>,
    outputs: Vec<Output>,
    taps: Vec<(String, usize)>,
    backbone_stages: Option<usize>,
}

impl Graph {
    fn new(drawn: Drawn) -> Self {
        let Drawn {
            input,
            nodes,
            layers,
            constants,
            stages,
            outputs,
            taps,
            backbone_stages,
        } = drawn;
        let backbone_stages = backbone_stages.unwrap_or(stages.len());
        let mut layer_stages = vec![0; layers.len()];
        // From the last: a layer that serves several belongs to the first of them.
        for (index, stage) in stages.iter().enumerate().rev() {
            for node in &nodes[stage.nodes.clone()] {
                for layer in node.op.layers() {
                    layer_stages[layer.0] = index;
                }
            }
        }
        let mut graph = Self {
            input,
            nodes,
            layers,
            constants,
            stages,
            outputs,
            taps,
            backbone_stages,
            layer_stages,
            main: Vec::new(),
        };
        let wanted: Vec<usize> = graph.main_outputs().map(|output| output.value).collect();
        graph.main = match graph.schedule(&[0], &wanted) {
            Ok(schedule) => schedule.steps().to_vec(),
            Err(error) => unreachable!("a sketch's values follow from its input: {error}"),
        };
        graph
    }

    /// The same network without what is drawn at random in training: dropout and stochastic depth let
    /// everything through. Two libraries that draw differently can then be compared.
    pub fn without_randomness(mut self) -> Self {
        for node in &mut self.nodes {
            if let Op::Dropout(Dropout { share }) | Op::StochasticDepth(StochasticDepth { share }) =
                &mut node.op
            {
                *share = 0.0;
            }
        }
        self
    }

    /// The same network with other shares of what is drawn at random in training: of what is dropped on the way to its
    /// outputs (before the last layer and, as torchvision's `dropout` has it, between hidden ones), and of the blocks left out, which grows from block to block up to the share that is given (Huang et
    /// al., <https://arxiv.org/abs/1603.09382>). Where nothing is given, they stay; a step that a network does not have
    /// is not put in.
    pub fn with_chance(&self, dropout: Option<f64>, depth: Option<f64>) -> Self {
        let mut graph = self.clone();
        let is_depth = |node: &&Node| matches!(node.op, Op::StochasticDepth(_));
        let blocks = self.nodes.iter().filter(is_depth).count();
        let mut block = 0;
        for (index, node) in graph.nodes.iter_mut().enumerate() {
            match &mut node.op {
                Op::Dropout(Dropout { share }) if self.main.contains(&index) => {
                    *share = dropout.unwrap_or(*share);
                }
                Op::StochasticDepth(StochasticDepth { share }) => {
                    let grown = |share: f64| share * block as f64 / (blocks - 1).max(1) as f64;
                    *share = depth.map_or(*share, grown);
                    block += 1;
                }
                _ => {}
            }
        }
        graph
    }

    /// The shape of what it was written for, without the batch: `[C, H, W]` of an image.
    pub fn input(&self) -> &[usize] {
        &self.input
    }

    /// Its steps, first to last.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The steps that lead to its outputs, and their places among all. The others are auxiliary classifiers, and what
    /// only somebody needs who asks for it by name.
    pub fn main(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.main.iter().map(|&index| (index, &self.nodes[index]))
    }

    /// Its layers.
    pub fn layers(&self) -> &[LayerSpec] {
        &self.layers
    }

    /// Its stages, first to last.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// How many of its stages are the backbone: those from the input on. The rest is the head.
    pub fn backbone_stages(&self) -> usize {
        self.backbone_stages
    }

    /// Whether a layer belongs to the head.
    pub fn is_of_head(&self, layer: LayerId) -> bool {
        self.stage_of_layer(layer) >= self.backbone_stages
    }

    /// The tensors of the backbone's layers, or of the head's, name and shape, constants aside.
    pub fn tensors_of(&self, head: bool) -> impl Iterator<Item = (String, Vec<usize>)> {
        let layers = self.layers.iter().enumerate();
        let layers = layers.filter(move |(index, _)| self.is_of_head(LayerId(*index)) == head);
        layers.flat_map(|(_, layer)| layer.tensors())
    }

    /// The steps of a stage that lead to the network's outputs.
    pub fn main_of_stage(&self, stage: &Stage) -> impl Iterator<Item = &Node> {
        let is_there = |index: &usize| stage.nodes.contains(index);
        let places = self
            .main
            .iter()
            .copied()
            .filter(is_there)
            .collect::<Vec<_>>();
        places.into_iter().map(|index| &self.nodes[index])
    }

    /// What it puts out, auxiliary classifiers last.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// What it is there for: the outputs that are not auxiliary.
    pub fn main_outputs(&self) -> impl Iterator<Item = &Output> {
        self.outputs.iter().filter(|output| !output.auxiliary)
    }

    /// The value of this name: an output's, an inner value's that was given a name, or what a stage puts out.
    pub fn value(&self, name: &str) -> Option<usize> {
        let output = self.outputs.iter().find(|output| output.name == name);
        let tap = || self.taps.iter().find(|(tap, _)| tap == name);
        let stage = || self.stages.iter().find(|stage| stage.name == name);
        let found = output.map(|output| output.value);
        let found = found.or_else(|| tap().map(|&(_, value)| value));
        found.or_else(|| stage().map(|stage| stage.output))
    }

    /// The inner values that were given names, in the order of their naming.
    pub fn taps(&self) -> &[(String, usize)] {
        &self.taps
    }

    /// The shape of a value, without the batch.
    pub fn shape_of(&self, value: usize) -> &[usize] {
        match value.checked_sub(1) {
            Some(node) => &self.nodes[node].shape,
            None => &self.input,
        }
    }

    /// The value that it puts out first; the input, where it puts out nothing.
    pub fn output(&self) -> usize {
        self.main_outputs().next().map_or(0, |output| output.value)
    }

    /// The steps that lead from some values to others.
    ///
    /// # Errors
    ///
    /// When a value is needed that is not given.
    pub fn schedule(&self, given: &[usize], wanted: &[usize]) -> Result<Schedule, Unreachable> {
        let mut steps = Vec::with_capacity(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            steps.push(Flow {
                inputs: &node.inputs,
                output: index + 1,
            });
        }
        Schedule::new(&steps, given, wanted)
    }

    /// Of each node, how many before it draw at random in training: its own place among those.
    pub fn random_places(&self) -> Vec<usize> {
        let mut count = 0;
        let place = |node: &Node| {
            let own = count;
            count += usize::from(matches!(node.op, Op::Dropout(_) | Op::StochasticDepth(_)));
            own
        };
        self.nodes.iter().map(place).collect()
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

    /// The stage that a tensor of the state_dict belongs to: what freezing, rates per stage and summaries ask. `None`
    /// when there is no such tensor.
    pub fn stage_of(&self, tensor: &str) -> Option<usize> {
        Some(self.stage_of_layer(self.layer_of(tensor)?))
    }

    /// The tensors of its state_dict, name and shape, constants aside.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.layers.iter().flat_map(LayerSpec::tensors)
    }

    /// Learnable numbers.
    pub fn parameter_count(&self) -> usize {
        self.layers.iter().map(LayerSpec::parameter_count).sum()
    }

    /// Length of the feature vector that a head is given: that of the value called `features`, or else the channels of
    /// maps and the width of tokens that the last stage puts out.
    pub fn features(&self) -> usize {
        let pooled = self
            .value("features")
            .and_then(|value| self.shape_of(value).last());
        let last = || self.stages.last().map_or(0, |stage| stage.channels);
        pooled.copied().unwrap_or_else(last)
    }

    /// Multiply-adds of one image on the way to its outputs: convolutions, linear maps and attention, as
    /// torchvision counts them.
    pub fn macs(&self) -> u64 {
        self.main().map(|(_, node)| self.node_macs(node)).sum()
    }

    /// Multiply-adds of one step.
    pub fn node_macs(&self, node: &Node) -> u64 {
        node.op.facts().multiply_adds(&self.site(node))
    }

    /// What surrounds a step.
    pub(crate) fn site<'a>(&'a self, node: &'a Node) -> Site<'a> {
        let inputs = node.inputs.iter().map(|&value| self.shape_of(value));
        Site {
            layers: &self.layers,
            inputs: inputs.collect(),
            output: &node.shape,
        }
    }
}
