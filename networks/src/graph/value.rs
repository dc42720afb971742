//! The words of the language: each step of a network is a method of the value that it acts on.

use std::cell::RefCell;
use std::ops::Add;
use std::rc::Rc;

use super::geometry::{Conv, ConvTranspose};
use super::layer::{LayerId, LayerKind, LayerSpec, Norm};
use super::op::{
    self, Attention, Neighbourhood, Nonlinearity, Op, Packing, Pool, RelativeBias, Resample,
};
use super::sheet::{Options, Sheet, Tap};
use super::{Constant, GraphError, Node, Output, Stage};

/// What flows between two steps: maps `[C, H, W]` (or `[H, W, C]`), tokens `[T, C]` or features
/// `[F]`, for each image of a batch.
#[derive(Clone)]
pub struct Value {
    pub(super) id: usize,
    pub(super) shape: Vec<usize>,
    pub(super) stride: Option<usize>,
    pub(super) sheet: Rc<RefCell<Sheet>>,
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
