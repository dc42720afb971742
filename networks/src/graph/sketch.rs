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

use super::layer::{LayerId, LayerKind, LayerSpec, Norm};
use super::op::{Attention, Conv, Neighbourhood, Nonlinearity, Op, Packing, Pool, RelativeBias};
use super::{Constant, Graph, GraphError, Node, Part, Stage};

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

/// Writes a network down.
///
/// # Shapes
///
/// - image: `[C, H, W]`
///
/// # Errors
///
/// When the image is too small for the network, or of a size that it cannot take.
pub fn sketch(
    image: [usize; 3],
    options: &Options,
    describe: impl FnOnce(Value) -> Value,
) -> Result<Graph, GraphError> {
    let sheet = Rc::new(RefCell::new(Sheet {
        nodes: Vec::new(),
        layers: Vec::new(),
        by_name: HashMap::new(),
        constants: Vec::new(),
        stages: Vec::new(),
        staged: 0,
        scope: Vec::new(),
        part: Part::Main,
        options: *options,
        error: None,
    }));
    let input = Value {
        id: 0,
        shape: image.to_vec(),
        stride: Some(1),
        sheet: Rc::clone(&sheet),
    };
    describe(input);
    let sheet = sheet.borrow();
    if let Some(error) = &sheet.error {
        return Err(error.clone());
    }
    Ok(Graph::new(
        image,
        sheet.nodes.clone(),
        sheet.layers.clone(),
        sheet.constants.clone(),
        sheet.stages.clone(),
    ))
}

/// The sheet that all values of a network are written on.
struct Sheet {
    nodes: Vec<Node>,
    layers: Vec<LayerSpec>,
    by_name: HashMap<String, LayerId>,
    constants: Vec<Constant>,
    stages: Vec<Stage>,
    /// The nodes that belong to a stage already.
    staged: usize,
    scope: Vec<String>,
    part: Part,
    options: Options,
    error: Option<GraphError>,
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

    /// An auxiliary classifier that branches off here and ends in the logits that `describe` returns,
    /// where auxiliary classifiers were asked for; it is told the number of classes.
    pub fn auxiliary(&self, name: &str, describe: impl FnOnce(&Self, usize) -> Self) {
        let Some(classes) = self.options().auxiliary else {
            return;
        };
        self.sheet.borrow_mut().part = Part::Auxiliary;
        self.within(name, |x| describe(x, classes));
        self.sheet.borrow_mut().part = Part::Main;
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
        self.step(name, Op::Conv(conv, layer)).strided(stride)
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
        self.step(name, Op::BatchNorm(layer))
    }

    /// Layer norm over the last axis.
    pub fn layer_norm(&self, name: &str, epsilon: f64) -> Self {
        let width = self.width();
        let layer = self.layer(name, LayerKind::LayerNorm { width, epsilon });
        self.step(name, Op::LayerNorm(layer))
    }

    /// Layer norm over the channels of maps.
    pub fn channel_layer_norm(&self, name: &str, epsilon: f64) -> Self {
        let width = self.channels();
        let layer = self.layer(name, LayerKind::LayerNorm { width, epsilon });
        self.step(name, Op::ChannelLayerNorm(layer))
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
        let mut value = self.step(name, Op::Linear(layer));
        if let Some(last) = value.shape.last_mut() {
            *last = output;
        }
        value.settle()
    }

    /// An elementwise function.
    pub fn activate(&self, function: Nonlinearity) -> Self {
        self.step("", Op::Activate(function))
    }

    /// max(0, x)
    pub fn relu(&self) -> Self {
        self.activate(Nonlinearity::Relu)
    }

    /// The largest value of each window.
    pub fn max_pool(&self, pool: Pool) -> Self {
        self.step("", Op::MaxPool(pool)).strided(pool.stride)
    }

    /// The mean of each window.
    pub fn avg_pool(&self, pool: Pool) -> Self {
        self.step("", Op::AvgPool(pool)).strided(pool.stride)
    }

    /// Means over `rows` × `columns` regions.
    pub fn adaptive_avg_pool(&self, rows: usize, columns: usize) -> Self {
        let value = self.step("", Op::AdaptiveAvgPool([rows, columns]));
        Self {
            stride: None,
            ..value
        }
    }

    /// These maps times a gate.
    pub fn multiply(&self, gate: &Self) -> Self {
        self.step_of(&[self, gate], "", Op::Multiply)
    }

    /// Maps side by side along the channels.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn concat(values: &[Self]) -> Self {
        let inputs: Vec<&Self> = values.iter().collect();
        values[0].step_of(&inputs, "", Op::Concat)
    }

    /// The channels in two halves.
    pub fn halves(&self) -> (Self, Self) {
        let half = |index| self.step("", Op::Chunk { parts: 2, index });
        (half(0), half(1))
    }

    /// Channels of the groups in turn.
    pub fn shuffle(&self, groups: usize) -> Self {
        self.step("", Op::ChannelShuffle { groups })
    }

    /// A learnt factor for each channel of maps.
    pub fn scale(&self, name: &str) -> Self {
        let shape = vec![self.channels(), 1, 1];
        let layer = self.layer(name, LayerKind::Table(shape));
        self.step(name, Op::Scale(layer))
    }

    /// A constant factor and summand for each channel.
    pub fn affine(&self, scale: Vec<f32>, shift: Vec<f32>) -> Self {
        self.step("", Op::Affine { scale, shift })
    }

    /// In training, zeroes this share of the values.
    pub fn dropout(&self, share: f64) -> Self {
        self.step("", Op::Dropout(share))
    }

    /// In training, zeroes this share of the images' residual branches.
    pub fn stochastic_depth(&self, share: f64) -> Self {
        self.step("", Op::StochasticDepth(share))
    }

    /// `[C, H, W]` to `[H, W, C]`.
    pub fn channels_last(&self) -> Self {
        self.step("", Op::ChannelsLast)
    }

    /// `[H, W, C]` to `[C, H, W]`.
    pub fn channels_first(&self) -> Self {
        self.step("", Op::ChannelsFirst)
    }

    /// Everything in a row.
    pub fn flatten(&self) -> Self {
        let value = self.step("", Op::Flatten);
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
        self.step("", Op::Tokens)
    }

    /// A learnt token comes before the others.
    pub fn class_token(&self, name: &str) -> Self {
        let layer = self.layer(name, LayerKind::Table(vec![1, 1, self.width()]));
        self.step(name, Op::ClassToken(layer))
    }

    /// The first token stands for all.
    pub fn first_token(&self) -> Self {
        let value = self.step("", Op::FirstToken);
        Self {
            stride: None,
            ..value
        }
    }

    /// Adds a learnt vector to each token.
    pub fn position_embedding(&self, name: &str) -> Self {
        let layer = self.layer(name, LayerKind::Table(vec![1, self.shape[0], self.width()]));
        self.step(name, Op::PositionEmbedding(layer))
    }

    /// Each two by two positions of `[H, W, C]` side by side.
    pub fn merge_patches(&self) -> Self {
        self.step("", Op::MergePatches).strided(2)
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
            let op = Op::Attention(Attention {
                heads: parts.heads,
                neighbourhood: parts.neighbourhood,
                qkv,
                packing: parts.packing,
                output,
                bias,
                scale: parts.scale,
                logit_scale,
            });
            let mut value = x.step("", op);
            if let Some(last) = value.shape.last_mut() {
                *last = output_width;
            }
            value.settle()
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

    fn step(&self, name: &str, op: Op) -> Self {
        self.step_of(&[self], name, op)
    }

    fn step_of(&self, inputs: &[&Self], name: &str, op: Op) -> Self {
        let mut sheet = self.sheet.borrow_mut();
        let shapes: Vec<&[usize]> = inputs.iter().map(|value| value.shape.as_slice()).collect();
        let name = sheet.name(name);
        let shape = op.shape(&shapes).unwrap_or_else(|what| {
            // The first mistake is the one to tell; the rest of the sketch goes on from a guess that
            // has the right channels.
            sheet.error.get_or_insert_with(|| GraphError {
                step: name.clone(),
                op: op.name(),
                what,
                input: self.shape.clone(),
            });
            let mut guess = self.shape.clone();
            match &op {
                Op::Conv(conv, _) => guess = vec![conv.filters, 1, 1],
                Op::Concat => guess[0] = shapes.iter().map(|shape| shape[0]).sum(),
                _ => {}
            }
            guess
        });
        let part = sheet.part;
        sheet.nodes.push(Node {
            name,
            op,
            inputs: inputs.iter().map(|value| value.id).collect(),
            shape: shape.clone(),
            part,
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

    /// Writes this value's shape back to the step that made it.
    fn settle(self) -> Self {
        if let Some(node) = self.sheet.borrow_mut().nodes.get_mut(self.id - 1) {
            node.shape.clone_from(&self.shape);
        }
        self
    }
}

/// The sum of two values.
impl Add for Value {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.step_of(&[&self, &other], "", Op::Add)
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
