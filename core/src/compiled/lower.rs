//! From a network's graph and its numbers to a program.
//!
//! Two things happen on the way. What means nothing once a network is frozen falls away: dropout,
//! stochastic depth, auxiliary classifiers. And all values become channels last, so that the steps
//! that only turn axes fall away too.

use thiserror::Error;

use super::program::{Ending, Program, SelfAttention, Shape, Step, ValueId, Weight, Work};
use super::windows;
use crate::graph::{
    Attention, Graph, LayerId, LayerKind, Node, Op, Packing, Part, RelativeBias, log_offsets,
    relative_position_index,
};
use crate::weights::{StateDict, Tensors};

/// Why a network could not be compiled.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum CompileError {
    /// A step whose numbers are not there.
    #[error("there is no tensor called '{0}'")]
    Missing(String),
}

/// Turns a graph into a program that puts out the values in `wanted`, with the tensors as its numbers.
///
/// # Errors
///
/// When a tensor that the graph names is missing.
pub fn lower<'t>(
    graph: &Graph,
    tensors: &StateDict<'t>,
    wanted: &[usize],
) -> Result<Program<'t>, CompileError> {
    let [channels, rows, columns] = graph.image();
    let image = Shape {
        rows,
        columns,
        channels,
    };
    let mut lowering = Lowering {
        graph,
        tensors,
        shapes: vec![image],
        steps: Vec::new(),
    };
    let mut values = vec![0; graph.nodes().len() + 1];
    for (index, node) in graph.nodes().iter().enumerate() {
        if node.part == Part::Main {
            let inputs: Vec<ValueId> = node.inputs.iter().map(|&value| values[value]).collect();
            values[index + 1] = lowering.node(node, &inputs)?;
        }
    }
    Ok(Program {
        outputs: wanted.iter().map(|&value| values[value]).collect(),
        shapes: lowering.shapes,
        steps: lowering.steps,
    })
}

impl Program<'_> {
    /// The same program with its only output pooled into features: maps to their means, tokens to the
    /// first of them, as [`crate::network::pool`] does.
    pub fn pooled(mut self, is_tokens: bool) -> Self {
        let Some(&last) = self.outputs.last() else {
            return self;
        };
        let shape = self.shapes[last];
        if shape.positions() == 1 {
            return self;
        }
        let features = Shape {
            rows: 1,
            columns: 1,
            ..shape
        };
        let output = self.shapes.len();
        self.shapes.push(features);
        self.steps.push(Step {
            name: "pool".to_owned(),
            work: match is_tokens {
                true => Work::FirstToken,
                false => Work::AdaptiveAvgPool,
            },
            inputs: vec![last],
            output,
        });
        self.outputs = vec![output];
        self
    }
}

/// Numbers for every layer of a graph that mean nothing: for who asks how a network is run, not what it
/// answers.
pub fn blanks(graph: &Graph) -> Tensors {
    let blank = |(name, shape): (String, Vec<usize>)| {
        let count = shape.iter().product();
        (name, (shape, vec![1.0; count].into()))
    };
    graph.tensors().map(blank).collect()
}

struct Lowering<'a, 't> {
    graph: &'a Graph,
    tensors: &'a StateDict<'t>,
    shapes: Vec<Shape>,
    steps: Vec<Step<'t>>,
}

impl<'t> Lowering<'_, 't> {
    /// Adds what a node does, and returns the value that stands for its output.
    fn node(&mut self, node: &Node, inputs: &[ValueId]) -> Result<ValueId, CompileError> {
        let x = inputs[0];
        let shape = self.shapes[x];
        // The graph's shapes of maps are channels first for the operations that are asked here.
        let map = || Shape {
            rows: node.shape[1],
            columns: node.shape[2],
            channels: node.shape[0],
        };
        let (work, output) = match &node.op {
            Op::Dropout(_) | Op::StochasticDepth(_) | Op::ChannelsLast | Op::ChannelsFirst => {
                return Ok(x);
            }
            Op::Conv(conv, layer) => {
                let (weight, bias) = self.weights(*layer, conv.filters, conv.bias)?;
                let work = Work::Conv {
                    conv: conv.clone(),
                    input: shape.channels,
                    weight,
                    bias,
                    ending: Ending::default(),
                };
                (work, map())
            }
            Op::Linear(layer) => {
                let work = self.linear(*layer)?;
                let channels = node.shape[node.shape.len() - 1];
                (work, shape.with_channels(channels))
            }
            Op::BatchNorm(layer) => (self.batch_norm(*layer)?, shape),
            Op::LayerNorm(layer) | Op::ChannelLayerNorm(layer) => {
                let epsilon = match self.graph.layers()[layer.0].kind {
                    LayerKind::LayerNorm { epsilon, .. } => epsilon,
                    _ => unreachable!("a layer norm's layer is one"),
                };
                let work = Work::LayerNorm {
                    gamma: self.tensor(*layer, "weight")?.to_vec(),
                    beta: self.tensor(*layer, "bias")?.to_vec(),
                    epsilon: epsilon as f32,
                };
                (work, shape)
            }
            Op::Activate(function) => (Work::Activate(*function), shape),
            Op::MaxPool(pool) => (Work::MaxPool(*pool), map()),
            Op::AvgPool(pool) => (Work::AvgPool(*pool), map()),
            Op::AdaptiveAvgPool([rows, columns]) => {
                if [*rows, *columns] == [shape.rows, shape.columns] {
                    return Ok(x);
                }
                (Work::AdaptiveAvgPool, map())
            }
            Op::Add => (Work::Add { activation: None }, shape),
            Op::Multiply => (Work::Gate, shape),
            Op::Concat => (Work::Concat, map()),
            Op::Chunk { index, .. } => {
                let start = index * node.shape[0];
                (Work::Chunk { start }, map())
            }
            Op::ChannelShuffle { groups } => (Work::Shuffle { groups: *groups }, shape),
            Op::Scale(layer) => {
                let work = Work::Affine {
                    scale: self.table(*layer)?.to_vec(),
                    shift: vec![0.0; shape.channels],
                    activation: None,
                };
                (work, shape)
            }
            Op::Affine { scale, shift } => {
                let work = Work::Affine {
                    scale: scale.clone(),
                    shift: shift.clone(),
                    activation: None,
                };
                (work, shape)
            }
            Op::Flatten => {
                let features = Shape {
                    rows: 1,
                    columns: 1,
                    channels: shape.numbers(),
                };
                match shape.positions() {
                    1 if shape == features => return Ok(x),
                    1 => (Work::Reshape, features),
                    _ => (Work::FlattenMaps, features),
                }
            }
            Op::Tokens => {
                let tokens = Shape {
                    rows: 1,
                    columns: shape.positions(),
                    ..shape
                };
                (Work::Reshape, tokens)
            }
            Op::ClassToken(layer) => {
                let tokens = Shape {
                    columns: shape.columns + 1,
                    ..shape
                };
                (Work::ClassToken(self.table(*layer)?.to_vec()), tokens)
            }
            Op::FirstToken => {
                let features = Shape {
                    columns: 1,
                    ..shape
                };
                (Work::FirstToken, features)
            }
            Op::PositionEmbedding(layer) => (Work::Positions(self.table(*layer)?.to_vec()), shape),
            Op::MergePatches => {
                let merged = Shape {
                    rows: shape.rows.div_ceil(2),
                    columns: shape.columns.div_ceil(2),
                    channels: 4 * shape.channels,
                };
                (Work::MergePatches, merged)
            }
            Op::Attention(attention) => return self.attention(node, attention, x),
        };
        Ok(self.step(&node.name, work, inputs, output))
    }

    fn step(&mut self, name: &str, work: Work<'t>, inputs: &[ValueId], shape: Shape) -> ValueId {
        let output = self.shapes.len();
        self.shapes.push(shape);
        self.steps.push(Step {
            name: name.to_owned(),
            work,
            inputs: inputs.to_vec(),
            output,
        });
        output
    }

    /// Attention as its parts: windows cut, projection, scores and mix, windows put together, and the
    /// projection of the result, which comes last so that a residual can be added in it.
    fn attention(
        &mut self,
        node: &Node,
        attention: &Attention,
        x: ValueId,
    ) -> Result<ValueId, CompileError> {
        let shape = self.shapes[x];
        let name = &node.name;
        let cut = windows::cut(attention.neighbourhood, shape);
        let sequences = Shape {
            rows: cut.windows,
            columns: cut.tokens,
            channels: shape.channels,
        };
        let gathered = match &cut.gather {
            Some(order) => self.step(name, Work::Gather(order.clone()), &[x], sequences),
            None => x,
        };
        let mut qkv = self.linear(attention.qkv)?;
        if let (Some(_), Work::Linear { bias, .. }) = (attention.logit_scale, &mut qkv) {
            // Cosine attention has no bias on its keys, whatever the file says.
            let width = bias.len() / 3;
            bias[width..2 * width].fill(0.0);
        }
        let packed = self.shapes[gathered].with_channels(3 * shape.channels);
        let qkv = self.step(name, qkv, &[gathered], packed);
        let cosine = match attention.logit_scale {
            Some(layer) => Some(
                self.table(layer)?
                    .iter()
                    .map(|&scale| f64::from(scale).min(100_f64.ln()).exp() as f32)
                    .collect(),
            ),
            None => None,
        };
        let work = Work::Attention(Box::new(SelfAttention {
            windows: cut.windows,
            tokens: cut.tokens,
            heads: attention.heads,
            depth: shape.channels / attention.heads,
            per_head: attention.packing == Packing::Head,
            scale: attention.scale as f32,
            cosine,
            bias: self.relative_bias(attention, cut.tokens)?,
            mask: cut.mask,
        }));
        let mixed = self.step(name, work, &[qkv], self.shapes[gathered]);
        let mixed = match cut.scatter {
            Some(order) => self.step(name, Work::Gather(order), &[mixed], shape),
            None => mixed,
        };
        let projection = self.linear(attention.output)?;
        let width = node.shape[node.shape.len() - 1];
        Ok(self.step(name, projection, &[mixed], shape.with_channels(width)))
    }

    /// A linear layer, or a 1×1 convolution that some networks keep in its place.
    fn linear(&self, layer: LayerId) -> Result<Work<'t>, CompileError> {
        let (output, bias) = match &self.graph.layers()[layer.0].kind {
            LayerKind::Linear { output, bias, .. } => (*output, *bias),
            LayerKind::Conv { conv, .. } => (conv.filters, conv.bias),
            _ => unreachable!("a linear map's layer is one"),
        };
        let (weight, bias) = self.weights(layer, output, bias)?;
        Ok(Work::Linear {
            weight,
            bias,
            ending: Ending::default(),
        })
    }

    /// Batch norm at work: its running statistics make it an affine map.
    fn batch_norm(&self, layer: LayerId) -> Result<Work<'t>, CompileError> {
        let LayerKind::BatchNorm { norm, .. } = self.graph.layers()[layer.0].kind else {
            unreachable!("a batch norm's layer is one")
        };
        let gamma = self.tensor(layer, "weight")?;
        let beta = self.tensor(layer, "bias")?;
        let mean = self.tensor(layer, "running_mean")?;
        let variance = self.tensor(layer, "running_var")?;
        let (scale, shift) = (0..gamma.len())
            .map(|c| {
                let scale = f64::from(gamma[c]) / (f64::from(variance[c]) + norm.epsilon).sqrt();
                let shift = f64::from(beta[c]) - f64::from(mean[c]) * scale;
                (scale as f32, shift as f32)
            })
            .unzip();
        Ok(Work::Affine {
            scale,
            shift,
            activation: None,
        })
    }

    /// What is added to scores by relative position, `[heads, tokens, tokens]`.
    fn relative_bias(
        &self,
        attention: &Attention,
        tokens: usize,
    ) -> Result<Option<Vec<f32>>, CompileError> {
        let side = (tokens as f64).sqrt().round() as usize;
        let heads = attention.heads;
        let table: Vec<f32> = match &attention.bias {
            RelativeBias::None => return Ok(None),
            RelativeBias::Table(layer) => self.table(*layer)?.to_vec(),
            RelativeBias::Continuous { hidden, output } => {
                let (weight, bias) = (
                    self.tensor(*hidden, "weight")?,
                    self.tensor(*hidden, "bias")?,
                );
                let out = self.tensor(*output, "weight")?;
                let width = bias.len();
                let mut table = Vec::new();
                for offset in log_offsets(side).chunks_exact(2) {
                    let hidden: Vec<f64> = (0..width)
                        .map(|unit| {
                            let [a, b] = [weight[2 * unit], weight[2 * unit + 1]];
                            let sum = f64::from(a) * f64::from(offset[0])
                                + f64::from(b) * f64::from(offset[1]);
                            (sum + f64::from(bias[unit])).max(0.0)
                        })
                        .collect();
                    table.extend(out.chunks_exact(width).map(|row| {
                        let sum: f64 = row
                            .iter()
                            .zip(&hidden)
                            .map(|(&w, h)| f64::from(w) * h)
                            .sum();
                        (16.0 / (1.0 + (-sum).exp())) as f32
                    }));
                }
                table
            }
        };
        let index = relative_position_index(side);
        let bias = (0..heads).flat_map(|head| index.iter().map(move |&row| (head, row)));
        Ok(Some(
            bias.map(|(head, row)| table[row * heads + head]).collect(),
        ))
    }

    /// Weight and bias of a layer; a bias that it does not have is zero.
    fn weights(
        &self,
        layer: LayerId,
        outputs: usize,
        has_bias: bool,
    ) -> Result<(Weight<'t>, Vec<f32>), CompileError> {
        let bias = match has_bias {
            true => self.tensor(layer, "bias")?.to_vec(),
            false => vec![0.0; outputs],
        };
        Ok((Weight::new(self.tensor(layer, "weight")?), bias))
    }

    fn tensor(&self, layer: LayerId, leaf: &str) -> Result<&'t [f32], CompileError> {
        let layer = &self.graph.layers()[layer.0];
        self.named(&format!("{}{}{leaf}", layer.name, layer.joint))
    }

    fn table(&self, layer: LayerId) -> Result<&'t [f32], CompileError> {
        self.named(&self.graph.layers()[layer.0].name)
    }

    fn named(&self, name: &str) -> Result<&'t [f32], CompileError> {
        match self.tensors.get(name) {
            Some(&(_, values)) => Ok(values),
            None => Err(CompileError::Missing(name.to_owned())),
        }
    }
}
