//! Writing a network down: each step is a method of the value that it acts on.
//!
//! A family's file reads like its paper:
//!
//! ```
//! use rekindle_networks::graph::{Conv, Norm, Options, sketch};
//!
//! let graph = sketch([3, 224, 224], &Options::default(), |image| {
//!     image
//!         .conv("conv1", Conv::new(64, 7).stride(2))
//!         .batch_norm("bn1", Norm::TORCH)
//!         .relu()
//!         .stage("stem")
//! })?;
//! assert_eq!(graph.stages()[0].shape, [64, 112, 112]);
//! # Ok::<(), rekindle_networks::graph::GraphError>(())
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Add;
use std::rc::Rc;

use super::geometry::{Conv, ConvTranspose};
use super::layer::{LayerId, LayerKind, LayerSpec, Norm};
use super::op::{
    self, Attention, Neighbourhood, Nonlinearity, Op, Packing, Pool, RelativeBias, Resample,
};
use super::{Constant, Drawn, Graph, GraphError, Node, Output, Stage};

/// What may be asked of a network beside its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// For images of some 32 pixels: the first convolution does not stride, the first pool is left
    /// out (He et al.'s CIFAR layout).
    pub small_stem: bool,
    /// Leave out the hidden layers that some networks have between the features and the classifier:
    /// what PyTorch users do with `model.classifier = torch.nn.Linear(…)`.
    pub bare: bool,
    /// Also build the auxiliary classifiers that help in training, for so many classes.
    pub auxiliary: Option<usize>,
    /// The first step turns torchvision's normalisation into Inception's.
    pub transform_input: bool,
}

/// What a network puts out, by name.
#[derive(Clone)]
pub struct Outputs(Vec<(String, Value)>);

impl Outputs {
    /// These values under these names.
    pub fn named<N: Into<String>>(outputs: impl IntoIterator<Item = (N, Value)>) -> Self {
        let outputs = outputs.into_iter();
        Self(outputs.map(|(name, value)| (name.into(), value)).collect())
    }
}

/// A single output, called `output`.
impl From<Value> for Outputs {
    fn from(value: Value) -> Self {
        Self::named([("output", value)])
    }
}

/// Writes a network down, from a value of this shape to what `describe` returns.
///
/// # Shapes
///
/// - input: without the batch; `[C, H, W]` of an image
///
/// # Errors
///
/// When the input is too small for the network, or of a size that it cannot take, and when the text is wrong: two
/// layers of one name, steps after the last stage.
pub fn sketch<O: Into<Outputs>>(
    input: impl Into<Vec<usize>>,
    options: &Options,
    describe: impl FnOnce(Value) -> O,
) -> Result<Graph, GraphError> {
    let input = input.into();
    let sheet = Rc::new(RefCell::new(Sheet {
        options: *options,
        input: input.clone(),
        ..Sheet::default()
    }));
    let outputs = describe(Value {
        id: 0,
        shape: input.clone(),
        stride: Some(1),
        sheet: Rc::clone(&sheet),
    });
    let Outputs(outputs) = outputs.into();
    let outputs: Vec<Output> = outputs
        .into_iter()
        .map(|(name, value)| Output {
            name,
            value: value.id,
            auxiliary: false,
        })
        .collect();
    let mut sheet = sheet.take();
    if let Some(node) = sheet.nodes.get(sheet.staged) {
        sheet.error.get_or_insert(GraphError {
            step: node.name.clone(),
            op: node.op.name(),
            what: "stands behind the last stage",
            input: node.shape.clone(),
        });
    }
    if let Some(error) = sheet.error {
        return Err(error);
    }
    Ok(Graph::new(Drawn {
        input,
        nodes: sheet.nodes,
        layers: sheet.layers,
        constants: sheet.constants,
        stages: sheet.stages,
        outputs: outputs.into_iter().chain(sheet.auxiliary).collect(),
        taps: sheet
            .taps
            .into_iter()
            .map(|tap| (tap.name, tap.id))
            .collect(),
        backbone_stages: sheet.backbone,
    }))
}

/// The sheet that all values of a network are written on.
#[derive(Default)]
struct Sheet {
    input: Vec<usize>,
    nodes: Vec<Node>,
    layers: Vec<LayerSpec>,
    by_name: HashMap<String, LayerId>,
    constants: Vec<Constant>,
    stages: Vec<Stage>,
    /// The nodes that belong to a stage already.
    staged: usize,
    /// The outputs of auxiliary classifiers.
    auxiliary: Vec<Output>,
    taps: Vec<Tap>,
    /// How many stages there were when the head began.
    backbone: Option<usize>,
    scope: Vec<String>,
    options: Options,
    error: Option<GraphError>,
}

/// An inner value with a name.
struct Tap {
    name: String,
    id: usize,
    stride: Option<usize>,
}

impl Sheet {
    fn name(&self, name: &str) -> String {
        let mut parts: Vec<&str> = self.scope.iter().map(String::as_str).collect();
        if !name.is_empty() {
            parts.push(name);
        }
        parts.join(".")
    }

    /// The layer of this name; it is one layer however often it is written, as PyTorch's modules are.
    fn layer(&mut self, name: &str, joint: &'static str, kind: LayerKind) -> LayerId {
        let spec = LayerSpec {
            name: self.name(name),
            joint,
            kind,
        };
        let key = format!("{}{joint}", spec.name);
        if let Some(&known) = self.by_name.get(&key) {
            if self.layers[known.0] != spec {
                self.error.get_or_insert(GraphError {
                    step: spec.name,
                    op: "a layer",
                    what: "has the name of another",
                    input: Vec::new(),
                });
            }
            return known;
        }
        let id = LayerId(self.layers.len());
        self.by_name.insert(key, id);
        self.layers.push(spec);
        id
    }
}

/// What flows between two steps: maps `[C, H, W]` (or `[H, W, C]`), tokens `[T, C]` or features
/// `[F]`, for each image of a batch.
#[derive(Clone)]
pub struct Value {
    id: usize,
    shape: Vec<usize>,
    stride: Option<usize>,
    sheet: Rc<RefCell<Sheet>>,
}

impl Value {
    /// Its shape, without the batch.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Channels of maps that are channels first.
    pub fn channels(&self) -> usize {
        self.shape[0]
    }

    /// Rows and columns of maps that are channels first.
    pub fn size(&self) -> [usize; 2] {
        match self.shape[..] {
            [_, rows, columns] => [rows, columns],
            _ => [1, 1],
        }
    }

    /// Rows and columns of the image that the network is written for.
    pub fn input_size(&self) -> [usize; 2] {
        match self.sheet.borrow().input[..] {
            [_, rows, columns] => [rows, columns],
            _ => [1, 1],
        }
    }

    /// Length of the last axis.
    pub fn width(&self) -> usize {
        self.shape[self.shape.len() - 1]
    }

    /// What was asked of the network.
    pub fn options(&self) -> Options {
        self.sheet.borrow().options
    }

    /// Everything that `describe` writes is called `scope.…`.
    pub fn within<R>(&self, scope: impl ToString, describe: impl FnOnce(&Self) -> R) -> R {
        self.sheet.borrow_mut().scope.push(scope.to_string());
        let result = describe(self);
        self.sheet.borrow_mut().scope.pop();
        result
    }

    /// Ends a stage: it is made of all that was written since the one before it.
    pub fn stage(self, name: impl Into<String>) -> Self {
        {
            let mut sheet = self.sheet.borrow_mut();
            let nodes = sheet.staged..sheet.nodes.len();
            sheet.staged = nodes.end;
            sheet.stages.push(Stage {
                name: name.into(),
                stride: self.stride,
                channels: if self.shape.len() == 3 {
                    self.channels()
                } else {
                    self.width()
                },
                shape: self.shape.clone(),
                nodes,
                output: self.id,
            });
        }
        self
    }

    /// The hidden layers of the classifier called `name`, a stage of their own, unless a bare network
    /// was asked for: then the features end here.
    pub fn hidden_layers(&self, name: &str, describe: impl FnOnce(&Self) -> Self) -> Self {
        if self.options().bare {
            return self.clone().stage("flatten");
        }
        self.within(name, describe).stage(name)
    }

    /// An auxiliary classifier that branches off here and ends in the logits that `describe` returns, where auxiliary
    /// classifiers were asked for; it is told the number of classes. `name` is that of its module and of its output.
    pub fn auxiliary(&self, name: &str, describe: impl FnOnce(&Self, usize) -> Self) {
        self.auxiliary_output(name, name, describe);
    }

    /// The same where its output has another name than its module.
    pub fn auxiliary_output(
        &self,
        output: &str,
        module: &str,
        describe: impl FnOnce(&Self, usize) -> Self,
    ) {
        let Some(classes) = self.options().auxiliary else {
            return;
        };
        let value = self.within(module, |x| describe(x, classes));
        self.sheet.borrow_mut().auxiliary.push(Output {
            name: output.to_owned(),
            value: value.id,
            auxiliary: true,
        });
    }

    /// Gives this inner value a name: it can be asked for when the network runs, and found again on the sheet.
    pub fn tap(self, name: impl Into<String>) -> Self {
        let (name, id, stride) = (name.into(), self.id, self.stride);
        {
            let mut sheet = self.sheet.borrow_mut();
            if sheet.taps.iter().any(|tap| tap.name == name) {
                sheet.error.get_or_insert(GraphError {
                    step: name.clone(),
                    op: "a value",
                    what: "has the name of another",
                    input: self.shape.clone(),
                });
            }
            sheet.taps.push(Tap { name, id, stride });
        }
        self
    }

    /// Says that the head begins here: the stages so far are the backbone.
    pub fn begin_head(&self) {
        let mut sheet = self.sheet.borrow_mut();
        sheet.backbone = Some(sheet.stages.len());
    }

    /// The inner value of this name, or what the stage of this name puts out: where a skip connection, a pyramid's
    /// level or a second branch begins. That there is none is told when the network has been written down; the text
    /// then goes on with this value.
    pub fn tapped(&self, name: &str) -> Self {
        let mut sheet = self.sheet.borrow_mut();
        let tap = sheet.taps.iter().find(|tap| tap.name == name);
        let tap = tap.map(|tap| (tap.id, tap.stride));
        let stage = sheet.stages.iter().find(|stage| stage.name == name);
        let Some((id, stride)) = tap.or(stage.map(|stage| (stage.output, stage.stride))) else {
            sheet.error.get_or_insert(GraphError {
                step: name.to_owned(),
                op: "a value",
                what: "is looked for and was not written",
                input: self.shape.clone(),
            });
            drop(sheet);
            return self.clone();
        };
        let shape = match id.checked_sub(1) {
            Some(node) => sheet.nodes[node].shape.clone(),
            None => sheet.input.clone(),
        };
        Self {
            id,
            shape,
            stride,
            sheet: Rc::clone(&self.sheet),
        }
    }

    /// A convolution.
    pub fn conv(&self, name: &str, conv: Conv) -> Self {
        let layer = self.layer(
            name,
            LayerKind::Conv {
                input: self.channels(),
                conv: conv.clone(),
            },
        );
        let stride = conv.stride[0];
        self.step(name, op::Convolution { conv, layer })
            .strided(stride)
    }

    /// A transposed convolution.
    pub fn conv_transpose(&self, name: &str, conv: ConvTranspose) -> Self {
        let input = self.channels();
        let kind = LayerKind::ConvTranspose {
            input,
            conv: conv.clone(),
        };
        let layer = self.layer(name, kind);
        let stride = conv.stride[0];
        let value = self.step(name, op::TransposedConvolution { conv, layer });
        let finer = |before: usize| before.is_multiple_of(stride).then_some(before / stride);
        Self {
            stride: self.stride.and_then(finer),
            ..value
        }
    }

    /// Maps resized to so many rows and columns.
    pub fn resize(&self, size: [usize; 2], resample: Resample) -> Self {
        let rows = self.size()[0];
        let value = self.step("", op::Resize { size, resample });
        let scaled = |before: usize| {
            let pixels = before * rows;
            (size[0] > 0 && pixels.is_multiple_of(size[0])).then(|| pixels / size[0])
        };
        Self {
            stride: self.stride.and_then(scaled),
            ..value
        }
    }

    /// The first convolution of a network: it keeps the resolution where a small stem was asked for.
    pub fn stem_conv(&self, name: &str, conv: Conv) -> Self {
        if !self.options().small_stem {
            return self.conv(name, conv);
        }
        let small = Conv::new(conv.filters, 3);
        self.conv(name, if conv.bias { small.bias() } else { small })
    }

    /// The first pool of a network: there is none in a small stem.
    pub fn stem_pool(&self, pool: Pool) -> Self {
        if self.options().small_stem {
            return self.clone();
        }
        self.max_pool(pool)
    }

    /// Batch norm.
    pub fn batch_norm(&self, name: &str, norm: Norm) -> Self {
        let channels = self.channels();
        let layer = self.layer(name, LayerKind::BatchNorm { channels, norm });
        self.step(name, op::BatchNorm { layer })
    }

    /// Group norm.
    pub fn group_norm(&self, name: &str, groups: usize, epsilon: f64) -> Self {
        let channels = self.channels();
        let layer = self.layer(name, LayerKind::GroupNorm { channels, epsilon });
        self.step(name, op::GroupNorm { layer, groups })
    }

    /// Layer norm over the last axis.
    pub fn layer_norm(&self, name: &str, epsilon: f64) -> Self {
        let width = self.width();
        let layer = self.layer(name, LayerKind::LayerNorm { width, epsilon });
        self.step(name, op::LayerNorm { layer })
    }

    /// Layer norm over the channels of maps.
    pub fn channel_layer_norm(&self, name: &str, epsilon: f64) -> Self {
        let width = self.channels();
        let layer = self.layer(name, LayerKind::LayerNorm { width, epsilon });
        self.step(name, op::ChannelLayerNorm { layer })
    }

    /// A linear map of the last axis, with a bias.
    pub fn linear(&self, name: &str, output: usize) -> Self {
        self.linear_with(name, output, true)
    }

    /// A linear map of the last axis, with or without a bias.
    pub fn linear_with(&self, name: &str, output: usize, bias: bool) -> Self {
        let layer = self.layer(
            name,
            LayerKind::Linear {
                input: self.width(),
                output,
                bias,
            },
        );
        self.step(name, op::Linear { layer })
    }

    /// An elementwise function.
    pub fn activate(&self, function: Nonlinearity) -> Self {
        self.step("", op::Activate(function))
    }

    /// max(0, x)
    pub fn relu(&self) -> Self {
        self.activate(Nonlinearity::Relu)
    }

    /// The largest value of each window.
    pub fn max_pool(&self, pool: Pool) -> Self {
        self.step("", op::MaxPool(pool)).strided(pool.stride)
    }

    /// The mean of each window.
    pub fn avg_pool(&self, pool: Pool) -> Self {
        self.step("", op::AvgPool(pool)).strided(pool.stride)
    }

    /// Means over `rows` × `columns` regions.
    pub fn adaptive_avg_pool(&self, rows: usize, columns: usize) -> Self {
        let value = self.step(
            "",
            op::AdaptiveAvgPool {
                size: [rows, columns],
            },
        );
        Self {
            stride: None,
            ..value
        }
    }

    /// These maps times a gate.
    pub fn multiply(&self, gate: &Self) -> Self {
        self.step_of(&[self, gate], "", op::Multiply)
    }

    /// Maps side by side along the channels.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn concat(values: &[Self]) -> Self {
        let inputs: Vec<&Self> = values.iter().collect();
        values[0].step_of(&inputs, "", op::Concat)
    }

    /// The channels in two halves.
    pub fn halves(&self) -> (Self, Self) {
        let half = |index| self.step("", op::Chunk { parts: 2, index });
        (half(0), half(1))
    }

    /// Channels of the groups in turn.
    pub fn shuffle(&self, groups: usize) -> Self {
        self.step("", op::ChannelShuffle { groups })
    }

    /// A learnt factor for each channel of maps.
    pub fn scale(&self, name: &str) -> Self {
        let shape = vec![self.channels(), 1, 1];
        let layer = self.layer(name, LayerKind::Table(shape));
        self.step(name, op::Scale { layer })
    }

    /// A constant factor and summand for each channel.
    pub fn affine(&self, scale: Vec<f32>, shift: Vec<f32>) -> Self {
        self.step("", op::Affine { scale, shift })
    }

    /// In training, zeroes this share of the values.
    pub fn dropout(&self, share: f64) -> Self {
        self.step("", op::Dropout { share })
    }

    /// In training, zeroes this share of the images' residual branches.
    pub fn stochastic_depth(&self, share: f64) -> Self {
        self.step("", op::StochasticDepth { share })
    }

    /// `[C, H, W]` to `[H, W, C]`.
    pub fn channels_last(&self) -> Self {
        self.step("", op::ChannelsLast)
    }

    /// `[H, W, C]` to `[C, H, W]`.
    pub fn channels_first(&self) -> Self {
        self.step("", op::ChannelsFirst)
    }

    /// Everything in a row.
    pub fn flatten(&self) -> Self {
        let value = self.step("", op::Flatten);
        Self {
            stride: None,
            ..value
        }
    }

    /// The means of all maps.
    pub fn global_average(&self) -> Self {
        self.adaptive_avg_pool(1, 1)
    }

    /// `[C, H, W]` to `[H·W, C]`.
    pub fn tokens(&self) -> Self {
        self.step("", op::Tokens)
    }

    /// A learnt token comes before the others.
    pub fn class_token(&self, name: &str) -> Self {
        let layer = self.layer(name, LayerKind::Table(vec![1, 1, self.width()]));
        self.step(name, op::ClassToken { layer })
    }

    /// The first token stands for all.
    pub fn first_token(&self) -> Self {
        let value = self.step("", op::FirstToken);
        Self {
            stride: None,
            ..value
        }
    }

    /// Adds a learnt vector to each token.
    pub fn position_embedding(&self, name: &str) -> Self {
        let layer = self.layer(name, LayerKind::Table(vec![1, self.shape[0], self.width()]));
        self.step(name, op::PositionEmbedding { layer })
    }

    /// Each two by two positions of `[H, W, C]` side by side.
    pub fn merge_patches(&self) -> Self {
        self.step("", op::MergePatches).strided(2)
    }

    /// Self-attention, called `name` and made of what `parts` says.
    pub fn attention(&self, name: &str, parts: &AttentionParts) -> Self {
        self.within(name, |x| {
            let width = x.width();
            let linear = |name: &str, joint, input, output, bias| {
                let kind = LayerKind::Linear {
                    input,
                    output,
                    bias,
                };
                x.sheet.borrow_mut().layer(name, joint, kind)
            };
            let project = |name: &str, joint, input, output| {
                if !parts.pointwise {
                    return linear(name, joint, input, output, true);
                }
                let conv = Conv::new(output, 1).bias();
                let kind = LayerKind::Conv { input, conv };
                x.sheet.borrow_mut().layer(name, joint, kind)
            };
            let table = |name: &str, shape: Vec<usize>| x.layer(name, LayerKind::Table(shape));
            let [qkv, joint, output] = parts.names;
            let qkv = project(qkv, joint, width, 3 * width);
            let output_width = parts.output.unwrap_or(width);
            let output = project(output, ".", width, output_width);
            let (bias, logit_scale) = match parts.bias {
                PositionBias::None => (RelativeBias::None, None),
                PositionBias::Table { side, name } => {
                    let layer = table(name, vec![(2 * side - 1).pow(2), parts.heads]);
                    (RelativeBias::Table(layer), None)
                }
                PositionBias::Cosine => {
                    let scale = table("logit_scale", vec![parts.heads, 1, 1]);
                    let hidden = linear("cpb_mlp.0", ".", 2, 512, true);
                    let output = linear("cpb_mlp.2", ".", 512, parts.heads, false);
                    (RelativeBias::Continuous { hidden, output }, Some(scale))
                }
            };
            let attention = Attention {
                heads: parts.heads,
                neighbourhood: parts.neighbourhood,
                qkv,
                packing: parts.packing,
                output,
                bias,
                scale: parts.scale,
                logit_scale,
            };
            x.step("", attention)
        })
    }

    /// A tensor that torchvision's state_dict carries though it follows from the network's shape.
    pub fn constant(&self, name: &str, shape: Vec<usize>, values: Vec<f32>) {
        let mut sheet = self.sheet.borrow_mut();
        let name = sheet.name(name);
        sheet.constants.push(Constant {
            name,
            shape,
            values,
        });
    }

    fn layer(&self, name: &str, kind: LayerKind) -> LayerId {
        self.sheet.borrow_mut().layer(name, ".", kind)
    }

    fn step(&self, name: &str, op: impl Into<Op>) -> Self {
        self.step_of(&[self], name, op)
    }

    fn step_of(&self, inputs: &[&Self], name: &str, op: impl Into<Op>) -> Self {
        let op = op.into();
        let mut sheet = self.sheet.borrow_mut();
        let shapes: Vec<&[usize]> = inputs.iter().map(|value| value.shape.as_slice()).collect();
        let name = sheet.name(name);
        let shape = op.facts().shape(&shapes, &sheet.layers);
        let shape = shape.unwrap_or_else(|what| {
            // The first mistake is the one to tell.
            let guess = guess(&op, &shapes, &sheet.layers);
            sheet.error.get_or_insert_with(|| GraphError {
                step: name.clone(),
                op: op.name(),
                what,
                input: self.shape.clone(),
            });
            guess
        });
        sheet.nodes.push(Node {
            name,
            op,
            inputs: inputs.iter().map(|value| value.id).collect(),
            shape: shape.clone(),
        });
        Self {
            id: sheet.nodes.len(),
            shape,
            stride: self.stride,
            sheet: Rc::clone(&self.sheet),
        }
    }

    fn strided(self, factor: usize) -> Self {
        Self {
            stride: self.stride.map(|stride| stride * factor),
            ..self
        }
    }
}

/// After a mistake the rest of the text goes on from a shape that has the right channels: what the step would put out
/// for maps that are large enough, at one position.
fn guess(op: &Op, inputs: &[&[usize]], layers: &[LayerSpec]) -> Vec<usize> {
    const LARGE: usize = 5040;
    let large: Vec<Vec<usize>> = inputs
        .iter()
        .map(|shape| match shape[..] {
            [channels, _, _] => vec![channels, LARGE, LARGE],
            _ => shape.to_vec(),
        })
        .collect();
    let large: Vec<&[usize]> = large.iter().map(Vec::as_slice).collect();
    match op.facts().shape(&large, layers).as_deref() {
        Ok(&[channels, _, _]) => vec![channels, 1, 1],
        Ok(shape) => shape.to_vec(),
        Err(_) => inputs[0].to_vec(),
    }
}

/// The sum of two values.
impl Add for Value {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.step_of(&[&self, &other], "", op::Add)
    }
}

/// What an attention is made of, before its layers are there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionParts {
    /// Heads.
    pub heads: usize,
    /// Who attends to whom.
    pub neighbourhood: Neighbourhood,
    /// The packed projection's name, what joins it to `weight`, and the output projection's name.
    pub names: [&'static str; 3],
    /// The layout of queries, keys and values.
    pub packing: Packing,
    /// What is added by relative position.
    pub bias: PositionBias,
    /// What dot products are multiplied by.
    pub scale: f64,
    /// Whether the projections are 1×1 convolutions in the file.
    pub pointwise: bool,
    /// The width that it puts out, where that differs from what comes in.
    pub output: Option<usize>,
}

impl AttentionParts {
    /// Every token to every other, in so many heads of tokens of this width, with torchvision's
    /// names for linear projections.
    pub fn new(heads: usize, width: usize) -> Self {
        Self {
            heads,
            neighbourhood: Neighbourhood::All,
            names: ["qkv", ".", "proj"],
            packing: Packing::Projection,
            bias: PositionBias::None,
            scale: ((width / heads) as f64).powf(-0.5),
            pointwise: false,
            output: None,
        }
    }
}

/// What is added to scores by relative position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionBias {
    /// Nothing.
    None,
    /// A learnt table.
    Table {
        /// Side of the windows it is for.
        side: usize,
        /// Its name.
        name: &'static str,
    },
    /// Swin v2's perceptron, with cosine attention.
    Cosine,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_is_written_twice_serves_two_steps_and_is_counted_once() {
        let graph = sketch([3, 8, 8], &Options::default(), |image| {
            let stem = image.conv("stem", Conv::new(4, 1).bias()).stage("stem");
            let head = |x: &Value| x.within("head", |x| x.conv("conv", Conv::new(4, 3).bias()));
            let once = head(&stem);
            let twice = head(&once);
            (once + twice).stage("head")
        })
        .unwrap();
        assert_eq!(graph.layers().len(), 2);
        assert_eq!(graph.parameter_count(), 3 * 4 + 4 + 4 * 4 * 9 + 4);
        let of = |name: &str| {
            graph
                .nodes()
                .iter()
                .filter(|node| node.name == name)
                .count()
        };
        assert_eq!(of("head.conv"), 2);
        // It works twice all the same.
        assert_eq!(graph.macs(), 8 * 8 * (3 * 4 + 2 * 4 * 4 * 9));
        assert_eq!(graph.stage_of_layer(LayerId(1)), 1);
    }

    #[test]
    fn outputs_taps_and_stages_are_found_by_name_and_side_branches_are_left_out() {
        let options = Options {
            auxiliary: Some(7),
            ..Options::default()
        };
        let graph = sketch([3, 8, 8], &options, |image| {
            let stem = image.conv("stem", Conv::new(4, 3)).tap("low").stage("stem");
            stem.auxiliary_output("aux", "aux_classifier", |x, classes| {
                x.conv("0", Conv::new(classes, 1))
            });
            let deep = stem
                .max_pool(Pool::new(2, 2))
                .conv("deep", Conv::new(4, 1))
                .stage("deep");
            let pooled = deep.global_average().flatten().tap("features");
            assert_eq!(pooled.shape(), [4]);
            let low = deep.tapped("low");
            assert_eq!((low.size(), deep.input_size()), ([8, 8], [8, 8]));
            let joined = Value::concat(&[low.max_pool(Pool::new(2, 2)), deep]);
            Outputs::named([("out", joined.stage("head"))])
        })
        .unwrap();
        let names: Vec<_> = graph
            .outputs()
            .iter()
            .map(|o| (o.name.as_str(), o.auxiliary))
            .collect();
        assert_eq!(names, [("out", false), ("aux", true)]);
        assert_eq!(graph.shape_of(graph.value("aux").unwrap()), [7, 8, 8]);
        assert_eq!(graph.shape_of(graph.output()), [8, 4, 4]);
        assert_eq!(graph.shape_of(graph.value("deep").unwrap()), [4, 4, 4]);
        assert_eq!(graph.features(), 4);
        // The auxiliary convolution and the pool for the features are on no way to the output.
        let main: Vec<_> = graph.main().map(|(_, node)| node.op.name()).collect();
        assert_eq!(
            main,
            ["Conv2d", "MaxPool2d", "Conv2d", "MaxPool2d", "Concat"]
        );
        assert_eq!(graph.macs(), 64 * 4 * 27 + 16 * 4 * 4);
        let aux = graph.layer_of("aux_classifier.0.weight").unwrap();
        assert_eq!(graph.stages()[graph.stage_of_layer(aux)].name, "deep");
    }

    #[test]
    fn a_network_may_begin_with_anything() {
        let graph = sketch([16], &Options::default(), |x| {
            x.linear("fc", 3).stage("head")
        });
        assert_eq!(graph.unwrap().shape_of(1), [3]);
    }

    #[test]
    fn a_text_that_is_wrong_is_told_and_not_run() {
        let behind = sketch([3, 8, 8], &Options::default(), |x| {
            x.relu().stage("all").conv("late", Conv::new(4, 1))
        });
        let behind = behind.unwrap_err().to_string();
        assert!(
            behind.contains("'late' stands behind the last stage"),
            "{behind}"
        );
        let missing = sketch([3, 8, 8], &Options::default(), |x| {
            x.relu().tapped("nowhere").stage("all")
        });
        let missing = missing.unwrap_err().to_string();
        assert!(missing.contains("'nowhere'"), "{missing}");
        // Of several mistakes the first is told; the text is read to its end all the same.
        let small = sketch([3, 2, 2], &Options::default(), |x| {
            let pooled = x.max_pool(Pool::new(3, 2));
            pooled
                .conv("wide", Conv::new(8, 5).padding(0))
                .flatten()
                .linear("fc", 2)
                .stage("all")
        });
        assert!(small.unwrap_err().to_string().starts_with("MaxPool2d"));
    }

    #[test]
    fn two_layers_of_one_name_are_an_error() {
        let error = sketch([3, 8, 8], &Options::default(), |image| {
            image
                .conv("a", Conv::new(4, 1))
                .conv("a", Conv::new(4, 1))
                .stage("all")
        })
        .unwrap_err();
        assert!(
            error.to_string().contains("'a' has the name of another"),
            "{error}"
        );
    }
}
