//! Running a graph on Burn's tensors.

use std::sync::Arc;

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::{
    gelu, hard_sigmoid, hard_swish, relu, relu6, sigmoid, silu, softmax, tanh,
};
use burn::tensor::module::{adaptive_avg_pool2d, avg_pool2d, linear, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions, PadMode};
use burn::tensor::{Device, Distribution, Tensor, TensorData};

use super::scores::{self, Scores};
use super::{Layer, filled, shard_name};
use crate::graph::{
    Attention, Conv, Graph, LayerId, Nonlinearity, Op, Part, Pool, RelativeBias, Stage, log_offsets,
};
use crate::kernels;
use crate::weights::Tensors;

/// What flows between steps.
#[derive(Debug, Clone)]
pub enum Activation {
    /// Feature maps `[N, C, H, W]`; an image batch is one too. Between the stages of a network maps
    /// are always channels first.
    Map(Tensor<4>),
    /// Token sequences `[N, T, C]`, the class token first.
    Tokens(Tensor<3>),
    /// Feature vectors `[N, F]`.
    Features(Tensor<2>),
}

impl Activation {
    /// The feature maps, where that is what this is.
    pub fn into_map(self) -> Option<Tensor<4>> {
        match self {
            Self::Map(map) => Some(map),
            Self::Tokens(_) | Self::Features(_) => None,
        }
    }

    /// The dimensions of the tensor inside.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Self::Map(map) => map.dims().to_vec(),
            Self::Tokens(tokens) => tokens.dims().to_vec(),
            Self::Features(features) => features.dims().to_vec(),
        }
    }

    /// All values in row-major order, as a flat tensor.
    pub fn flatten(self) -> Tensor<1> {
        match self {
            Self::Map(map) => map.flatten(0, 3),
            Self::Tokens(tokens) => tokens.flatten(0, 2),
            Self::Features(features) => features.flatten(0, 1),
        }
    }

    fn map(self) -> Tensor<4> {
        match self {
            Self::Map(map) => map,
            other => panic!("this step takes maps, not {:?}", other.dims()),
        }
    }

    fn tokens(self) -> Tensor<3> {
        match self {
            Self::Tokens(tokens) => tokens,
            other => panic!("this step takes tokens, not {:?}", other.dims()),
        }
    }
}

/// Applies the same steps to a tensor of any rank.
macro_rules! each_rank {
    ($activation:expr, $x:ident => $body:expr) => {
        match $activation {
            Activation::Map($x) => Activation::Map($body),
            Activation::Tokens($x) => Activation::Tokens($body),
            Activation::Features($x) => Activation::Features($body),
        }
    };
}

/// A network with its numbers: images in, features out.
#[derive(Module, Debug)]
pub struct Network {
    layers: Vec<Layer>,
    #[module(skip)]
    graph: Arc<Graph>,
}

impl Network {
    /// Makes the network, its parameters not yet filled.
    pub fn new(graph: impl Into<Arc<Graph>>, device: &Device) -> Self {
        let graph = graph.into();
        let layers = graph.layers().iter().map(|layer| Layer::new(layer, device));
        Self {
            layers: layers.collect(),
            graph,
        }
    }

    /// The network of these tensors, which bear torchvision's names. It records no gradients.
    pub fn filled(graph: impl Into<Arc<Graph>>, tensors: &Tensors, device: &Device) -> Self {
        let blank = Self::new(graph, device);
        // The names need the module that is being consumed: a copy, blank as it is, will do.
        let namer = blank.clone();
        filled(blank, tensors, &|path| namer.torch_name(&path))
    }

    /// What it is made of.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The stages, first to last.
    pub fn stages(&self) -> &[Stage] {
        self.graph.stages()
    }

    /// The stage that the parameter of this name belongs to: what freezing, rates per stage and
    /// summaries ask. `None` when there is no such parameter.
    pub fn stage_of(&self, name: &str) -> Option<usize> {
        let leaves = [".running_mean", ".running_var"];
        let parameter = leaves
            .iter()
            .find_map(|leaf| name.strip_suffix(leaf))
            .unwrap_or(name);
        let layer = self.graph.layer_of(parameter)?;
        Some(self.graph.stage_of_layer(layer))
    }

    /// The name that torchvision (or timm) gives to the parameter at `path` of this module tree.
    pub fn torch_name(&self, path: &str) -> String {
        // `layers.<index>.<leaf>`; a bare parameter has no leaf.
        let mut parts = path.splitn(3, '.').skip(1);
        let layer = parts.next().and_then(|index| index.parse::<usize>().ok());
        let Some(layer) = layer.and_then(|layer| self.graph.layers().get(layer)) else {
            return path.to_owned();
        };
        let named = |leaf: &str| format!("{}{}{leaf}", layer.name, layer.joint);
        match (parts.next(), layer.shards()) {
            (None, _) => layer.name.clone(),
            (Some(leaf), 1) => named(leaf),
            (Some(leaf), shards) => match leaf.split_once('.') {
                Some((shard, leaf)) => shard_name(&named(leaf), shard, shards),
                None => named(leaf),
            },
        }
    }

    /// The same network whose first `count` stages no longer train: no gradients reach their
    /// parameters, and their batch norms keep their running statistics.
    pub fn freeze_stages(self, count: usize) -> Self {
        let graph = Arc::clone(&self.graph);
        let layers = self.layers.into_iter().enumerate();
        let layers =
            layers.map(
                |(index, layer)| match graph.stage_of_layer(LayerId(index)) < count {
                    true => layer.freeze(),
                    false => layer,
                },
            );
        Self {
            layers: layers.collect(),
            graph,
        }
    }

    /// Runs every stage.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`, normalised
    pub fn forward(&self, images: Tensor<4>) -> Activation {
        (0..self.stages().len()).fold(Activation::Map(images), |activation, index| {
            self.run(index, activation)
        })
    }

    /// Runs one stage on what the stage before it put out.
    ///
    /// # Panics
    ///
    /// When `index` is not a stage, or the activation is not what that stage takes.
    pub fn run(&self, index: usize, input: Activation) -> Activation {
        self.run_part(index, input, Part::Main).0
    }

    /// Runs every stage and the auxiliary classifiers, where the network was built with them.
    ///
    /// # Shapes
    ///
    /// - images: `[N, C, H, W]`, normalised
    /// - returns: the features, and `[N, classes]` for each auxiliary classifier, first to last
    pub fn forward_auxiliary(&self, images: Tensor<4>) -> (Activation, Vec<Tensor<2>>) {
        let mut activation = Activation::Map(images);
        let mut logits = Vec::new();
        for index in 0..self.stages().len() {
            let (output, side) = self.run_part(index, activation, Part::Auxiliary);
            activation = output;
            logits.extend(side);
        }
        (activation, logits)
    }

    /// Runs the steps of a stage up to and with `part`.
    fn run_part(
        &self,
        index: usize,
        input: Activation,
        part: Part,
    ) -> (Activation, Vec<Tensor<2>>) {
        let stage = &self.graph.stages()[index];
        let input_value = index
            .checked_sub(1)
            .map_or(0, |before| self.graph.stages()[before].output);
        let nodes = &self.graph.nodes()[stage.nodes.clone()];
        let runs = |node: &&crate::graph::Node| node.part == Part::Main || part == Part::Auxiliary;

        // Each value is handed on by its last user, so that a tensor nobody else holds can be
        // changed in place.
        let slot = |value: usize| match value == input_value {
            true => 0,
            false => value - stage.nodes.start,
        };
        let mut uses = vec![0_usize; nodes.len() + 1];
        for node in nodes.iter().filter(runs) {
            for &value in &node.inputs {
                uses[slot(value)] += 1;
            }
        }
        uses[slot(stage.output)] += 1;
        let mut values: Vec<Option<Activation>> = vec![None; nodes.len() + 1];
        values[0] = Some(input);
        let mut take = |values: &mut Vec<Option<Activation>>, value: usize| {
            let slot = slot(value);
            uses[slot] -= 1;
            let taken = match uses[slot] {
                0 => values[slot].take(),
                _ => values[slot].clone(),
            };
            taken.unwrap_or_else(|| panic!("step {value} was not run"))
        };

        let mut side = Vec::new();
        for (offset, node) in nodes.iter().enumerate().filter(|(_, node)| runs(node)) {
            let inputs: Vec<_> = node
                .inputs
                .iter()
                .map(|&value| take(&mut values, value))
                .collect();
            let output = self.step(&node.op, inputs);
            let value = stage.nodes.start + offset + 1;
            match output {
                Activation::Features(logits)
                    if node.part == Part::Auxiliary && uses_none(&self.graph, value) =>
                {
                    side.push(logits);
                }
                output => values[offset + 1] = Some(output),
            }
        }
        (take(&mut values, stage.output), side)
    }

    fn step(&self, op: &Op, inputs: Vec<Activation>) -> Activation {
        let mut inputs = inputs.into_iter();
        let mut next = || {
            inputs
                .next()
                .unwrap_or_else(|| panic!("{} lacks an input", op.name()))
        };
        let x = next();
        match op {
            Op::Conv(conv, layer) => Activation::Map(match self.layer(*layer) {
                Layer::Conv(layer) => convolve(conv, layer, x.map()),
                Layer::ConvShards(shards) => {
                    let map = x.map();
                    side_by_side(shards, 1, |shard| convolve(conv, shard, map.clone()))
                }
                other => wrong(other),
            }),
            Op::BatchNorm(layer) => match self.layer(*layer) {
                Layer::BatchNorm(norm) => each_rank!(x, x => kernels::batch_norm(norm, x)),
                other => wrong(other),
            },
            Op::LayerNorm(layer) => match self.layer(*layer) {
                Layer::LayerNorm(norm) => each_rank!(x, x => norm.forward(x)),
                other => wrong(other),
            },
            Op::ChannelLayerNorm(layer) => Activation::Map(match self.layer(*layer) {
                Layer::LayerNorm(norm) => channels_first(norm.forward(channels_last(x.map()))),
                other => wrong(other),
            }),
            Op::Linear(layer) => match self.layer(*layer) {
                Layer::Linear(linear) => each_rank!(x, x => linear.forward(x)),
                Layer::LinearShards(shards) => each_rank!(x, x => {
                    let channels = x.shape().num_dims() - 1;
                    side_by_side(shards, channels, |shard| shard.forward(x.clone()))
                }),
                other => wrong(other),
            },
            Op::Activate(function) => each_rank!(x, x => activate(*function, x)),
            Op::MaxPool(pool) => Activation::Map(max_pool2d(x.map(), max_options(*pool))),
            Op::AvgPool(pool) => Activation::Map(avg_pool2d(x.map(), avg_options(*pool))),
            Op::AdaptiveAvgPool(size) => Activation::Map(adaptive(x.map(), *size)),
            Op::Add => match (x, next()) {
                (Activation::Map(a), Activation::Map(b)) => Activation::Map(a + b),
                (Activation::Tokens(a), Activation::Tokens(b)) => Activation::Tokens(a + b),
                (Activation::Features(a), Activation::Features(b)) => Activation::Features(a + b),
                (a, b) => panic!("cannot add {:?} and {:?}", a.dims(), b.dims()),
            },
            Op::Multiply => Activation::Map(x.map() * next().map()),
            Op::Concat => {
                let mut maps = vec![x.map()];
                maps.extend(inputs.map(Activation::map));
                Activation::Map(Tensor::cat(maps, 1))
            }
            Op::Chunk { parts, index } => {
                let map = x.map();
                let channels = map.dims()[1] / parts;
                Activation::Map(map.narrow(1, index * channels, channels))
            }
            Op::ChannelShuffle { groups } => {
                let map = x.map();
                let [n, channels, rows, columns] = map.dims();
                let turned = map
                    .reshape([n, *groups, channels / groups, rows * columns])
                    .swap_dims(1, 2);
                Activation::Map(turned.reshape([n, channels, rows, columns]))
            }
            Op::Scale(layer) => {
                let factors = self.block(*layer).unsqueeze::<4>();
                Activation::Map(x.map() * factors)
            }
            Op::Affine { scale, shift } => {
                let map = x.map();
                let constant = |values: &[f32]| {
                    let data = TensorData::new(values.to_vec(), [1, values.len(), 1, 1]);
                    Tensor::<4>::from_data(data, &map.device())
                };
                let (scale, shift) = (constant(scale), constant(shift));
                Activation::Map(map * scale + shift)
            }
            Op::Dropout(share) => {
                each_rank!(x, x => match *share > 0.0 && x.device().is_autodiff() {
                    true => burn::nn::DropoutConfig::new(*share).init().forward(x),
                    false => x,
                })
            }
            Op::StochasticDepth(share) => each_rank!(x, x => stochastic_depth(x, *share)),
            Op::ChannelsLast => Activation::Map(channels_last(x.map())),
            Op::ChannelsFirst => Activation::Map(channels_first(x.map())),
            Op::Flatten => Activation::Features(match x {
                Activation::Map(map) => map.flatten(1, 3),
                Activation::Tokens(tokens) => tokens.flatten(1, 2),
                Activation::Features(features) => features,
            }),
            Op::Tokens => Activation::Tokens(x.map().flatten::<3>(2, 3).swap_dims(1, 2)),
            Op::ClassToken(layer) => {
                let tokens = x.tokens();
                let [n, _, width] = tokens.dims();
                let class = self.block(*layer).expand([n, 1, width]);
                Activation::Tokens(Tensor::cat(vec![class, tokens], 1))
            }
            Op::FirstToken => {
                let tokens = x.tokens();
                let [n, _, width] = tokens.dims();
                Activation::Features(tokens.narrow(1, 0, 1).reshape([n, width]))
            }
            Op::PositionEmbedding(layer) => Activation::Tokens(x.tokens() + self.block(*layer)),
            Op::MergePatches => Activation::Map(merge_patches(x.map())),
            Op::Attention(attention) => match x {
                Activation::Tokens(tokens) => {
                    Activation::Tokens(self.attend(attention, tokens, None))
                }
                Activation::Map(map) => {
                    Activation::Map(scores::in_windows(attention, map, |tokens, mask| {
                        self.attend(attention, tokens, mask)
                    }))
                }
                Activation::Features(_) => panic!("a single vector has nothing to attend to"),
            },
        }
    }

    /// Attention within each sequence of tokens.
    ///
    /// # Shapes
    ///
    /// - tokens: `[N, T, C]`
    /// - mask: added to the scores, `[windows, T, T]`, where `N` counts whole images of `windows`
    fn attend(&self, parts: &Attention, tokens: Tensor<3>, mask: Option<Tensor<3>>) -> Tensor<3> {
        let [n, t, width] = tokens.dims();
        let (weight, bias) = self.projection(parts.qkv);
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
                let scale = self.block(scale).clamp_max(100.0_f64.ln()).exp();
                let cosine = scores::unit(q).matmul(scores::unit(k).swap_dims(2, 3));
                cosine * scale.unsqueeze::<4>()
            }
            None => (q * parts.scale).matmul(k.swap_dims(2, 3)),
        };
        let scores = Scores(scores);
        let scores = match self.relative_bias(parts, t) {
            Some(bias) => scores.plus_bias(bias),
            None => scores,
        };
        let scores = match mask {
            Some(mask) => scores.plus_mask(mask),
            None => scores,
        };
        let mixed = softmax(scores.0, 3).matmul(v);
        let (weight, bias) = self.projection(parts.output);
        let mixed = mixed.swap_dims(1, 2).reshape([n, t, width]);
        linear(mixed, weight, Some(bias))
    }

    /// Weight `[in, out]` and bias of a projection, which some networks keep as a 1×1 convolution.
    fn projection(&self, layer: LayerId) -> (Tensor<2>, Tensor<1>) {
        let (weight, bias) = match self.layer(layer) {
            Layer::Linear(linear) => (linear.weight.val(), &linear.bias),
            Layer::Conv(conv) => {
                let weight = conv.weight.val();
                let [output, input, _, _] = weight.dims();
                (weight.reshape([output, input]).transpose(), &conv.bias)
            }
            other => wrong(other),
        };
        let bias = bias.as_ref().unwrap_or_else(|| wrong(self.layer(layer)));
        (weight, bias.val())
    }

    /// The bias by relative position, `[heads, T, T]`.
    fn relative_bias(&self, parts: &Attention, t: usize) -> Option<Tensor<3>> {
        let side = (t as f64).sqrt().round() as usize;
        let table = match &parts.bias {
            RelativeBias::None => return None,
            RelativeBias::Table(table) => match self.layer(*table) {
                Layer::Matrix(table) => table.val(),
                other => wrong(other),
            },
            RelativeBias::Continuous { hidden, output } => {
                let (Layer::Linear(hidden), Layer::Linear(output)) =
                    (self.layer(*hidden), self.layer(*output))
                else {
                    panic!("a continuous bias is made by linear layers")
                };
                let device = hidden.weight.device();
                let offsets = log_offsets(side);
                let rows = offsets.len() / 2;
                let offsets = Tensor::<2>::from_data(TensorData::new(offsets, [rows, 2]), &device);
                let table = output.forward(relu(hidden.forward(offsets)));
                sigmoid(table) * 16.0
            }
        };
        Some(scores::gather_bias(table, side, parts.heads))
    }

    fn layer(&self, layer: LayerId) -> &Layer {
        &self.layers[layer.0]
    }

    fn block(&self, layer: LayerId) -> Tensor<3> {
        match self.layer(layer) {
            Layer::Block(block) => block.val(),
            other => wrong(other),
        }
    }
}

/// A convolution, by our own kernels where the device runs them.
fn convolve(conv: &Conv, layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    let options = kernels::conv_options(conv, [height, width]);
    kernels::conv2d(x, layer.weight.val(), bias, options)
}

/// What the parts of a layer make, put together along an axis.
fn side_by_side<S, const D: usize>(
    shards: &[S],
    axis: usize,
    part: impl FnMut(&S) -> Tensor<D>,
) -> Tensor<D> {
    Tensor::cat(shards.iter().map(part).collect(), axis)
}

fn wrong(layer: &Layer) -> ! {
    panic!("the graph and its layers do not belong together: {layer:?}")
}

/// Whether nothing takes this value.
fn uses_none(graph: &Graph, value: usize) -> bool {
    graph
        .nodes()
        .iter()
        .all(|node| !node.inputs.contains(&value))
}

fn activate<const D: usize>(function: Nonlinearity, x: Tensor<D>) -> Tensor<D> {
    match function {
        Nonlinearity::Relu => relu(x),
        Nonlinearity::Relu6 => relu6(x),
        Nonlinearity::Silu => silu(x),
        Nonlinearity::HardSwish => hard_swish(x),
        Nonlinearity::HardSigmoid => hard_sigmoid(x, 1.0 / 6.0, 0.5),
        Nonlinearity::Sigmoid => sigmoid(x),
        Nonlinearity::Gelu => gelu(x),
        Nonlinearity::Tanh => tanh(x),
    }
}

fn max_options(pool: Pool) -> MaxPoolOptions<2> {
    MaxPoolOptions::new([pool.kernel; 2])
        .with_stride([pool.stride; 2])
        .with_padding([pool.padding; 2])
        .with_ceil_mode(pool.ceil)
}

fn avg_options(pool: Pool) -> AvgPoolOptions<2> {
    AvgPoolOptions::new([pool.kernel; 2])
        .with_stride([pool.stride; 2])
        .with_padding([pool.padding; 2])
        .with_count_include_pad(true)
        .with_ceil_mode(pool.ceil)
}

fn adaptive(map: Tensor<4>, [rows, columns]: [usize; 2]) -> Tensor<4> {
    let [n, channels, height, width] = map.dims();
    match (rows, columns) {
        (1, 1) => map
            .reshape([n, channels, height * width])
            .mean_dim(2)
            .reshape([n, channels, 1, 1]),
        _ if [rows, columns] == [height, width] => map,
        _ => adaptive_avg_pool2d(map, [rows, columns]),
    }
}

/// Zeroes whole images of a residual branch and makes up for it in the others, in training only
/// (Huang et al., <https://arxiv.org/abs/1603.09382>; torchvision's mode "row").
fn stochastic_depth<const D: usize>(x: Tensor<D>, share: f64) -> Tensor<D> {
    if share == 0.0 || !x.device().is_autodiff() {
        return x;
    }
    let mut shape = [1; D];
    shape[0] = x.dims()[0];
    let kept = Tensor::<D>::random(shape, Distribution::Bernoulli(1.0 - share), &x.device());
    x * (kept / (1.0 - share))
}

/// `[N, C, H, W]` to `[N, H, W, C]`.
fn channels_last(map: Tensor<4>) -> Tensor<4> {
    map.permute([0, 2, 3, 1])
}

/// `[N, H, W, C]` to `[N, C, H, W]`.
fn channels_first(map: Tensor<4>) -> Tensor<4> {
    map.permute([0, 3, 1, 2])
}

/// `[N, H, W, C]` to `[N, ⌈H/2⌉, ⌈W/2⌉, 4C]`: the upper left, lower left, upper right and lower right
/// of each four positions; a missing last row or column is zero.
fn merge_patches(map: Tensor<4>) -> Tensor<4> {
    let [n, height, width, channels] = map.dims();
    let (odd_rows, odd_columns) = (height % 2, width % 2);
    let map = match odd_rows + odd_columns {
        0 => map,
        _ => map.pad(
            [(0, 0), (0, odd_rows), (0, odd_columns), (0, 0)],
            PadMode::Constant(0.0),
        ),
    };
    let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
    // [N, rows, 2, columns, 2, C] → [N, rows, columns, 2 (column), 2 (row), C]
    map.reshape([n, rows, 2, columns, 2, channels])
        .permute([0, 1, 3, 4, 2, 5])
        .reshape([n, rows, columns, 4 * channels])
}
