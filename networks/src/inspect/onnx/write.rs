//! Steps into ONNX's operators.

use std::collections::BTreeMap;

use super::OnnxError;
use super::proto::{Attribute, Element, Message, node, tensor};
use crate::graph::{
    Attention, Conv, Graph, LayerId, LayerKind, Neighbourhood, Node, Nonlinearity, Op, Packing,
    Part, Pool, RelativeBias, log_offsets, relative_position_index, shift_mask,
};
use crate::weights::StateDict;

use Attribute::{Float, Int, Ints};

/// The name of a value in the file.
type Name = String;

/// Writes a graph's nodes and constants.
pub(super) struct Writer<'a> {
    graph: &'a Graph,
    tensors: &'a StateDict<'a>,
    body: Message,
    /// What has been written of the constants, by name.
    constants: BTreeMap<Name, ()>,
    count: usize,
    /// Where the step being written stands.
    place: String,
}

impl<'a> Writer<'a> {
    pub fn new(graph: &'a Graph, tensors: &'a StateDict<'a>) -> Self {
        Self {
            graph,
            tensors,
            body: Message::default(),
            constants: BTreeMap::new(),
            count: 0,
            place: String::new(),
        }
    }

    /// Writes all steps and returns the name of the last value.
    pub fn network(&mut self) -> Result<Name, OnnxError> {
        let mut names: Vec<Name> = vec!["image".to_owned()];
        for node in self.graph.nodes() {
            // Auxiliary classifiers help in training only.
            let name = match node.part {
                Part::Main => {
                    let inputs: Vec<Name> = node
                        .inputs
                        .iter()
                        .map(|&value| names[value].clone())
                        .collect();
                    self.place.clone_from(&node.name);
                    self.step(node, &inputs)?
                }
                Part::Auxiliary => String::new(),
            };
            names.push(name);
        }
        Ok(names.pop().unwrap_or_default())
    }

    /// Gives the last value its name, and hands out the body.
    pub fn finish(mut self, last: &str, name: &str) -> Message {
        self.body = self
            .body
            .message(1, &node("Identity", name, &[last], name, &[]));
        self.body
    }

    fn step(&mut self, node: &Node, inputs: &[Name]) -> Result<Name, OnnxError> {
        let x = inputs[0].as_str();
        let shape = self.input_shape(node);
        Ok(match &node.op {
            Op::Conv(conv, layer) => self.conv(x, conv, *layer, &shape)?,
            Op::BatchNorm(layer) => self.batch_norm(x, *layer)?,
            Op::LayerNorm(layer) => self.layer_norm(x, *layer)?,
            Op::ChannelLayerNorm(layer) => {
                let last = self.transpose(x, &[0, 2, 3, 1]);
                let normed = self.layer_norm(&last, *layer)?;
                self.transpose(&normed, &[0, 3, 1, 2])
            }
            Op::Linear(layer) => self.linear(x, *layer)?,
            Op::Activate(function) => self.activate(x, *function),
            Op::MaxPool(pool) => self.pool("MaxPool", x, *pool, &[]),
            Op::AvgPool(pool) => self.pool("AveragePool", x, *pool, &[Int("count_include_pad", 1)]),
            Op::AdaptiveAvgPool(size) => self.adaptive(x, *size, &shape),
            Op::Add => self.op("Add", &[x, &inputs[1]], &[]),
            Op::Multiply => self.op("Mul", &[x, &inputs[1]], &[]),
            Op::Concat => {
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                self.op("Concat", &inputs, &[Int("axis", 1)])
            }
            Op::Chunk { index, .. } => {
                let width = node.shape[0];
                self.slice(x, 1, index * width, (index + 1) * width)
            }
            Op::ChannelShuffle { groups } => {
                let [channels, rows, columns] = [shape[0], shape[1], shape[2]];
                let split = self.reshape(x, &[*groups, channels / groups, rows * columns]);
                let turned = self.transpose(&split, &[0, 2, 1, 3]);
                self.reshape(&turned, &[channels, rows, columns])
            }
            Op::Scale(layer) => {
                let factors = self.parameter(*layer, 0)?;
                self.op("Mul", &[x, &factors], &[])
            }
            Op::Affine { scale, shift } => {
                let channels = [1, scale.len(), 1, 1];
                let scale = self.floats("scale", &channels, scale);
                let shift = self.floats("shift", &channels, shift);
                let scaled = self.op("Mul", &[x, &scale], &[]);
                self.op("Add", &[&scaled, &shift], &[])
            }
            // They do nothing once trained.
            Op::Dropout(_) | Op::StochasticDepth(_) => x.to_owned(),
            Op::ChannelsLast => self.transpose(x, &[0, 2, 3, 1]),
            Op::ChannelsFirst => self.transpose(x, &[0, 3, 1, 2]),
            Op::Flatten => self.op("Flatten", &[x], &[Int("axis", 1)]),
            Op::Tokens => {
                let flat = self.reshape(x, &[shape[0], shape[1] * shape[2]]);
                self.transpose(&flat, &[0, 2, 1])
            }
            Op::ClassToken(layer) => self.class_token(x, *layer)?,
            Op::FirstToken => {
                let zero = self.scalar("first", 0);
                self.op("Gather", &[x, &zero], &[Int("axis", 1)])
            }
            Op::PositionEmbedding(layer) => {
                let positions = self.parameter(*layer, 0)?;
                self.op("Add", &[x, &positions], &[])
            }
            Op::MergePatches => self.merge_patches(x, &shape),
            Op::Attention(attention) => match shape.len() {
                2 => self.attend(x, attention, shape[0], shape[1], None)?,
                _ => self.in_windows(x, attention, &shape)?,
            },
        })
    }

    fn input_shape(&self, node: &Node) -> Vec<usize> {
        match node.inputs[0] {
            0 => self.graph.image().to_vec(),
            value => self.graph.nodes()[value - 1].shape.clone(),
        }
    }

    // Operators

    fn op(&mut self, op: &str, inputs: &[&str], attributes: &[Attribute<'_>]) -> Name {
        self.count += 1;
        let output = format!("v{}", self.count);
        let name = match self.place.is_empty() {
            true => format!("{op}_{}", self.count),
            false => format!("{}/{op}_{}", self.place, self.count),
        };
        let body = std::mem::take(&mut self.body);
        self.body = body.message(1, &node(op, &name, inputs, &output, attributes));
        output
    }

    /// To `[batch, shape…]`.
    fn reshape(&mut self, x: &str, shape: &[usize]) -> Name {
        let axes = std::iter::once(-1).chain(shape.iter().map(|&axis| axis as i64));
        let axes = self.ints("shape", &axes.collect::<Vec<_>>());
        self.op("Reshape", &[x, &axes], &[])
    }

    fn transpose(&mut self, x: &str, order: &[i64]) -> Name {
        self.op("Transpose", &[x], &[Ints("perm", order.to_vec())])
    }

    fn slice(&mut self, x: &str, axis: i64, from: usize, to: usize) -> Name {
        let from = self.ints("from", &[from as i64]);
        let to = self.ints("to", &[to as i64]);
        let axes = self.ints("axes", &[axis]);
        self.op("Slice", &[x, &from, &to, &axes], &[])
    }

    fn pad_maps(&mut self, x: &str, below: usize, right: usize) -> Name {
        if below + right == 0 {
            return x.to_owned();
        }
        let (below, right) = (below as i64, right as i64);
        let pads = self.ints("pads", &[0, 0, 0, 0, 0, below, right, 0]);
        self.op("Pad", &[x, &pads], &[])
    }

    // Layers

    fn conv(
        &mut self,
        x: &str,
        conv: &Conv,
        layer: LayerId,
        shape: &[usize],
    ) -> Result<Name, OnnxError> {
        let [rows, columns] = conv.padding_of([shape[1], shape[2]]);
        let pads = [rows.0, columns.0, rows.1, columns.1];
        let both = |pair: [usize; 2]| pair.iter().map(|&n| n as i64).collect::<Vec<_>>();
        let attributes = [
            Ints("kernel_shape", both(conv.kernel)),
            Ints("strides", both(conv.stride)),
            Ints("pads", pads.iter().map(|&n| n as i64).collect()),
            Ints("dilations", both(conv.dilation)),
            Int("group", conv.groups as i64),
        ];
        let weight = self.parameter(layer, 0)?;
        let mut inputs = vec![x, &weight];
        let bias;
        if conv.bias {
            bias = self.parameter(layer, 1)?;
            inputs.push(&bias);
        }
        Ok(self.op("Conv", &inputs, &attributes))
    }

    fn batch_norm(&mut self, x: &str, layer: LayerId) -> Result<Name, OnnxError> {
        let spec = &self.graph.layers()[layer.0];
        let epsilon = match spec.kind {
            LayerKind::BatchNorm { norm, .. } => norm.epsilon,
            _ => 1e-5,
        };
        let statistics = |leaf: &str| format!("{}{}{leaf}", spec.name, spec.joint);
        let [mean, variance] = [statistics("running_mean"), statistics("running_var")];
        let weight = self.parameter(layer, 0)?;
        let bias = self.parameter(layer, 1)?;
        self.state(&mean)?;
        self.state(&variance)?;
        Ok(self.op(
            "BatchNormalization",
            &[x, &weight, &bias, &mean, &variance],
            &[Float("epsilon", epsilon as f32)],
        ))
    }

    fn layer_norm(&mut self, x: &str, layer: LayerId) -> Result<Name, OnnxError> {
        let epsilon = match self.graph.layers()[layer.0].kind {
            LayerKind::LayerNorm { epsilon, .. } => epsilon,
            _ => 1e-5,
        };
        let weight = self.parameter(layer, 0)?;
        let bias = self.parameter(layer, 1)?;
        Ok(self.op(
            "LayerNormalization",
            &[x, &weight, &bias],
            &[Int("axis", -1), Float("epsilon", epsilon as f32)],
        ))
    }

    fn linear(&mut self, x: &str, layer: LayerId) -> Result<Name, OnnxError> {
        let names = self.graph.layers()[layer.0].parameters();
        let (_, weight) = self.values(&names[0].0)?;
        let bias = match names.get(1) {
            Some((name, _)) => Some(self.values(name)?.1),
            None => None,
        };
        Ok(self.projected(x, &names[0].0, weight, bias))
    }

    /// `x · weightᵀ + bias` over the last axis; `weight` is PyTorch's `[out, in]`.
    fn projected(&mut self, x: &str, name: &str, weight: &[f32], bias: Option<&[f32]>) -> Name {
        let output = match bias {
            Some(bias) => bias.len(),
            None => self.tensors.get(name).map_or(1, |(shape, _)| shape[0]),
        };
        let input = weight.len() / output;
        let transposed: Vec<f32> = (0..weight.len())
            .map(|index| weight[index % output * input + index / output])
            .collect();
        let matrix = self.named_floats(&format!("{name}.T"), &[input, output], &transposed);
        let product = self.op("MatMul", &[x, &matrix], &[]);
        match bias {
            Some(bias) => {
                let bias = self.named_floats(&format!("{name}.bias"), &[output], bias);
                self.op("Add", &[&product, &bias], &[])
            }
            None => product,
        }
    }

    fn activate(&mut self, x: &str, function: Nonlinearity) -> Name {
        match function {
            Nonlinearity::Relu => self.op("Relu", &[x], &[]),
            Nonlinearity::Relu6 => {
                let low = self.floats("low", &[], &[0.0]);
                let high = self.floats("high", &[], &[6.0]);
                self.op("Clip", &[x, &low, &high], &[])
            }
            Nonlinearity::Sigmoid => self.op("Sigmoid", &[x], &[]),
            Nonlinearity::Silu => {
                let gate = self.op("Sigmoid", &[x], &[]);
                self.op("Mul", &[x, &gate], &[])
            }
            Nonlinearity::HardSigmoid => {
                let attributes = [Float("alpha", 1.0 / 6.0), Float("beta", 0.5)];
                self.op("HardSigmoid", &[x], &attributes)
            }
            Nonlinearity::HardSwish => self.op("HardSwish", &[x], &[]),
            Nonlinearity::Gelu => self.op("Gelu", &[x], &[]),
            Nonlinearity::Tanh => self.op("Tanh", &[x], &[]),
        }
    }

    fn pool(&mut self, op: &str, x: &str, pool: Pool, more: &[Attribute<'_>]) -> Name {
        let (kernel, stride) = (pool.kernel as i64, pool.stride as i64);
        let mut attributes = vec![
            Ints("kernel_shape", vec![kernel; 2]),
            Ints("strides", vec![stride; 2]),
            Ints("pads", vec![pool.padding as i64; 4]),
            Int("ceil_mode", i64::from(pool.ceil)),
        ];
        attributes.extend(more.iter().cloned());
        self.op(op, &[x], &attributes)
    }

    /// The mean over a rectangle is the mean over its rows of the means over its columns: two matrix
    /// products, whatever the sizes.
    fn adaptive(&mut self, x: &str, [rows, columns]: [usize; 2], shape: &[usize]) -> Name {
        if [rows, columns] == [1, 1] {
            return self.op("GlobalAveragePool", &[x], &[]);
        }
        if [rows, columns] == shape[1..] {
            return x.to_owned();
        }
        let means = |from: usize, to: usize| -> Vec<f32> {
            let mut matrix = vec![0.0; to * from];
            for region in 0..to {
                let start = region * from / to;
                let end = ((region + 1) * from).div_ceil(to);
                matrix[region * from + start..region * from + end].fill(1.0 / (end - start) as f32);
            }
            matrix
        };
        let (height, width) = (shape[1], shape[2]);
        let down = self.floats("row_means", &[rows, height], &means(height, rows));
        // [columns, width] to [width, columns]
        let across = means(width, columns);
        let across: Vec<f32> = (0..across.len())
            .map(|index| across[index % columns * width + index / columns])
            .collect();
        let across = self.floats("column_means", &[width, columns], &across);
        let x = self.op("MatMul", &[&down, x], &[]);
        self.op("MatMul", &[&x, &across], &[])
    }

    fn class_token(&mut self, x: &str, layer: LayerId) -> Result<Name, OnnxError> {
        let token = self.parameter(layer, 0)?;
        // As many copies as there are images: the batch's length, then [batch, 1, 1].
        let attributes = [Int("start", 0), Int("end", 1)];
        let batch = self.op("Shape", &[x], &attributes);
        let ones = self.ints("ones", &[1, 1]);
        let shape = self.op("Concat", &[&batch, &ones], &[Int("axis", 0)]);
        let tokens = self.op("Expand", &[&token, &shape], &[]);
        Ok(self.op("Concat", &[&tokens, x], &[Int("axis", 1)]))
    }

    fn merge_patches(&mut self, x: &str, shape: &[usize]) -> Name {
        let [height, width, channels] = [shape[0], shape[1], shape[2]];
        let x = self.pad_maps(x, height % 2, width % 2);
        let (rows, columns) = (height.div_ceil(2), width.div_ceil(2));
        let split = self.reshape(&x, &[rows, 2, columns, 2, channels]);
        let turned = self.transpose(&split, &[0, 1, 3, 4, 2, 5]);
        self.reshape(&turned, &[rows, columns, 4 * channels])
    }

    // Attention

    /// Attention within each sequence of `t` tokens of this width; `mask` is `[windows, t, t]`.
    fn attend(
        &mut self,
        x: &str,
        parts: &Attention,
        t: usize,
        width: usize,
        mask: Option<(usize, Vec<f32>)>,
    ) -> Result<Name, OnnxError> {
        let (heads, depth) = (parts.heads, width / parts.heads);
        let qkv = self.project(x, parts.qkv, parts.logit_scale.map(|_| width))?;
        let packed = match parts.packing {
            Packing::Projection => {
                let split = self.reshape(&qkv, &[t, 3, heads, depth]);
                self.transpose(&split, &[2, 0, 3, 1, 4])
            }
            Packing::Head => {
                let split = self.reshape(&qkv, &[t, heads, 3, depth]);
                self.transpose(&split, &[3, 0, 2, 1, 4])
            }
        };
        let part = |writer: &mut Self, index: i64| {
            let index = writer.scalar("part", index);
            writer.op("Gather", &[&packed, &index], &[Int("axis", 0)])
        };
        let [q, k, v] = [part(self, 0), part(self, 1), part(self, 2)];
        let [q, k] = match parts.logit_scale {
            Some(_) => [self.unit(&q), self.unit(&k)],
            None => [q, k],
        };
        let scale = match parts.logit_scale {
            Some(layer) => {
                let name = self.graph.layers()[layer.0].name.clone();
                let (_, values) = self.values(&name)?;
                let most = 100.0_f32.ln();
                let values: Vec<f32> = values.iter().map(|v| v.min(most).exp()).collect();
                self.floats("logit_scale", &[1, heads, 1, 1], &values)
            }
            None => self.floats("attention_scale", &[], &[parts.scale as f32]),
        };
        let k = self.transpose(&k, &[0, 1, 3, 2]);
        let q = match parts.logit_scale {
            Some(_) => q,
            None => self.op("Mul", &[&q, &scale], &[]),
        };
        let mut scores = self.op("MatMul", &[&q, &k], &[]);
        if parts.logit_scale.is_some() {
            scores = self.op("Mul", &[&scores, &scale], &[]);
        }
        if let Some(bias) = self.relative_bias(parts, t)? {
            let bias = self.floats("position_bias", &[1, heads, t, t], &bias);
            scores = self.op("Add", &[&scores, &bias], &[]);
        }
        if let Some((windows, mask)) = mask {
            let mask = self.floats("shift_mask", &[1, windows, 1, t, t], &mask);
            let split = self.reshape(&scores, &[windows, heads, t, t]);
            let masked = self.op("Add", &[&split, &mask], &[]);
            scores = self.reshape(&masked, &[heads, t, t]);
        }
        let shares = self.op("Softmax", &[&scores], &[Int("axis", -1)]);
        let mixed = self.op("MatMul", &[&shares, &v], &[]);
        let mixed = self.transpose(&mixed, &[0, 2, 1, 3]);
        let mixed = self.reshape(&mixed, &[t, width]);
        self.project(&mixed, parts.output, None)
    }

    /// A projection; `keyless` is the width of a packed one whose keys get no bias.
    fn project(
        &mut self,
        x: &str,
        layer: LayerId,
        keyless: Option<usize>,
    ) -> Result<Name, OnnxError> {
        let names = self.graph.layers()[layer.0].parameters();
        let (_, weight) = self.values(&names[0].0)?;
        let mut bias = self.values(&names[1].0)?.1.to_vec();
        if let Some(width) = keyless {
            bias[width..2 * width].fill(0.0);
        }
        Ok(self.projected(x, &names[0].0, weight, Some(&bias)))
    }

    /// Rows scaled to length one.
    fn unit(&mut self, x: &str) -> Name {
        let last = self.ints("last", &[-1]);
        let length = self.op("ReduceL2", &[x, &last], &[Int("keepdims", 1)]);
        let least = self.floats("least", &[], &[1e-12]);
        let length = self.op("Max", &[&length, &least], &[]);
        self.op("Div", &[x, &length], &[])
    }

    /// The bias by relative position, `[heads, t, t]`.
    fn relative_bias(&self, parts: &Attention, t: usize) -> Result<Option<Vec<f32>>, OnnxError> {
        let heads = parts.heads;
        let side = (t as f64).sqrt().round() as usize;
        let table: Vec<f32> = match &parts.bias {
            RelativeBias::None => return Ok(None),
            RelativeBias::Table(layer) => {
                let name = &self.graph.layers()[layer.0].name;
                self.values(name)?.1.to_vec()
            }
            RelativeBias::Continuous { hidden, output } => {
                let names = |layer: &LayerId| self.graph.layers()[layer.0].parameters();
                let (hidden, output) = (names(hidden), names(output));
                let weight1 = &self.values(&hidden[0].0)?.1;
                let bias1 = &self.values(&hidden[1].0)?.1;
                let weight2 = &self.values(&output[0].0)?.1;
                let width = bias1.len();
                let offsets = log_offsets(side);
                offsets
                    .chunks_exact(2)
                    .flat_map(|offset| {
                        let inner: Vec<f32> = (0..width)
                            .map(|n| {
                                let [a, b] = [weight1[2 * n], weight1[2 * n + 1]];
                                (a * offset[0] + b * offset[1] + bias1[n]).max(0.0)
                            })
                            .collect();
                        (0..heads).map(move |head| {
                            let row = &weight2[head * width..(head + 1) * width];
                            let sum: f32 = row.iter().zip(&inner).map(|(w, x)| w * x).sum();
                            16.0 / (1.0 + (-sum).exp())
                        })
                    })
                    .collect()
            }
        };
        let index = relative_position_index(side);
        let of_head = |head: usize| index.iter().map(move |&row| row * heads + head);
        let bias = (0..heads).flat_map(of_head).map(|at| table[at]).collect();
        Ok(Some(bias))
    }

    /// Cuts maps `[H, W, C]` into windows, attends in each, and puts them together again.
    fn in_windows(
        &mut self,
        x: &str,
        parts: &Attention,
        shape: &[usize],
    ) -> Result<Name, OnnxError> {
        let [height, width, channels] = [shape[0], shape[1], shape[2]];
        match parts.neighbourhood {
            Neighbourhood::All => {
                let t = height * width;
                let tokens = self.reshape(x, &[t, channels]);
                let mixed = self.attend(&tokens, parts, t, channels, None)?;
                let output = match self.graph.layers()[parts.output.0].parameters().first() {
                    Some((_, shape)) => shape[0],
                    None => channels,
                };
                Ok(self.reshape(&mixed, &[height, width, output]))
            }
            Neighbourhood::Block { side } => {
                self.tiled(x, parts, [height, width], side, channels, None)
            }
            Neighbourhood::Grid { side } => {
                let (rows, columns) = (height / side, width / side);
                let t = side * side;
                let split = self.reshape(x, &[side, rows, side, columns, channels]);
                let grids = self.transpose(&split, &[0, 2, 4, 1, 3, 5]);
                let grids = self.reshape(&grids, &[t, channels]);
                let mixed = self.attend(&grids, parts, t, channels, None)?;
                let mixed = self.reshape(&mixed, &[rows, columns, side, side, channels]);
                let mixed = self.transpose(&mixed, &[0, 3, 1, 4, 2, 5]);
                Ok(self.reshape(&mixed, &[height, width, channels]))
            }
            Neighbourhood::Window { side, shift } => {
                let full = [height, width].map(|length| length.next_multiple_of(side));
                let shifts = full.map(|length| if side >= length { 0 } else { shift });
                let mut x = self.pad_maps(x, full[0] - height, full[1] - width);
                x = self.rolled(&x, 1, shifts[0], full[0]);
                x = self.rolled(&x, 2, shifts[1], full[1]);
                let windows = full[0] / side * (full[1] / side);
                let mask = (shifts != [0, 0]).then(|| (windows, shift_mask(full, side, shifts)));
                x = self.tiled(&x, parts, full, side, channels, mask)?;
                x = self.rolled(&x, 1, (full[0] - shifts[0]) % full[0], full[0]);
                x = self.rolled(&x, 2, (full[1] - shifts[1]) % full[1], full[1]);
                if full[0] > height {
                    x = self.slice(&x, 1, 0, height);
                }
                if full[1] > width {
                    x = self.slice(&x, 2, 0, width);
                }
                Ok(x)
            }
        }
    }

    /// Attention in the windows that tile a map.
    fn tiled(
        &mut self,
        x: &str,
        parts: &Attention,
        [height, width]: [usize; 2],
        side: usize,
        channels: usize,
        mask: Option<(usize, Vec<f32>)>,
    ) -> Result<Name, OnnxError> {
        let (rows, columns, t) = (height / side, width / side, side * side);
        let split = self.reshape(x, &[rows, side, columns, side, channels]);
        let windows = self.transpose(&split, &[0, 1, 3, 2, 4, 5]);
        let windows = self.reshape(&windows, &[t, channels]);
        let mixed = self.attend(&windows, parts, t, channels, mask)?;
        let mixed = self.reshape(&mixed, &[rows, columns, side, side, channels]);
        let mixed = self.transpose(&mixed, &[0, 1, 3, 2, 4, 5]);
        Ok(self.reshape(&mixed, &[height, width, channels]))
    }

    /// Everything moved towards the start of an axis, with wrap-around.
    fn rolled(&mut self, x: &str, axis: i64, by: usize, length: usize) -> Name {
        if by == 0 {
            return x.to_owned();
        }
        let tail = self.slice(x, axis, by, length);
        let head = self.slice(x, axis, 0, by);
        self.op("Concat", &[&tail, &head], &[Int("axis", axis)])
    }

    // Constants

    fn values(&self, name: &str) -> Result<(&'a [usize], &'a [f32]), OnnxError> {
        self.tensors
            .get(name)
            .copied()
            .ok_or_else(|| OnnxError::Missing {
                name: name.to_owned(),
            })
    }

    /// A layer's parameter, under its name in the state_dict.
    fn parameter(&mut self, layer: LayerId, index: usize) -> Result<Name, OnnxError> {
        let (name, _) = self.graph.layers()[layer.0].parameters().swap_remove(index);
        self.state(&name)?;
        Ok(name)
    }

    /// Writes a tensor of the state_dict.
    fn state(&mut self, name: &str) -> Result<(), OnnxError> {
        let (shape, values) = self.values(name)?;
        self.named_floats(name, shape, values);
        Ok(())
    }

    fn named_floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Name {
        if self.constants.insert(name.to_owned(), ()).is_none() {
            let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let body = std::mem::take(&mut self.body);
            self.body = body.message(5, &tensor(name, shape, Element::Float, &raw));
        }
        name.to_owned()
    }

    /// A constant of this step's own.
    fn floats(&mut self, what: &str, shape: &[usize], values: &[f32]) -> Name {
        self.count += 1;
        let name = format!("{what}_{}", self.count);
        self.named_floats(&name, shape, values)
    }

    fn ints(&mut self, what: &str, values: &[i64]) -> Name {
        self.int_tensor(what, &[values.len()], values)
    }

    fn scalar(&mut self, what: &str, value: i64) -> Name {
        self.int_tensor(what, &[], &[value])
    }

    fn int_tensor(&mut self, what: &str, shape: &[usize], values: &[i64]) -> Name {
        self.count += 1;
        let name = format!("{what}_{}", self.count);
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let body = std::mem::take(&mut self.body);
        self.body = body.message(5, &tensor(&name, shape, Element::Int64, &raw));
        name
    }
}
