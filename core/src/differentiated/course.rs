//! From a network's graph to the jobs of its training.

use rekindle_cpu::{Activation, ConvGeometry};
use thiserror::Error;

use super::job::RelativeBias as Bias;
use super::job::{Attention, BatchNorm, Ending, Job, Kind, LayerNorm, LeaveOut, Product};
use super::join::join;
use super::parameters::{Parameters, TensorId};
use crate::compiled::{activation, geometry, pool as of_pool};
use crate::graph::{Graph, LayerId, LayerKind, Node, Op, RelativeBias, relative_position_index};
use crate::lower::lower;
use crate::program::{CompileError, Condition, Program, Shape, Step, ValueId, Work};

/// The way through a network in training, from one of its values to its answers.
#[derive(Debug, Clone)]
pub struct Course {
    /// The shape of each value; 0 is what is given.
    pub(super) shapes: Vec<Shape>,
    /// The value whose numbers each value has under another shape: itself but for reshaped ones.
    pub(super) roots: Vec<ValueId>,
    pub(super) jobs: Vec<Job>,
    pub(super) output: ValueId,
}

/// Why a network cannot be trained in this way.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum NoWayBack {
    /// A kind of step that has no way back here.
    #[error("'{name}' ({kind}) has no way back by our own kernels")]
    Step {
        /// Where it stands.
        name: String,
        /// What it does.
        kind: &'static str,
    },
    /// The network does not lead to answers.
    #[error(transparent)]
    Compile(#[from] CompileError),
}

impl Course {
    /// The way of a graph from the value `given` (0 is the image) to its answers.
    ///
    /// # Errors
    ///
    /// When a step has no way back here, or the answers do not follow from the value.
    pub fn new(graph: &Graph, numbers: &Parameters, given: usize) -> Result<Self, NoWayBack> {
        let tensors = numbers.state_dict();
        let program = lower(
            graph,
            &tensors,
            Condition::InTraining,
            given,
            &[graph.output()],
        )?;
        Writing::new(graph, numbers, &program).course(&program)
    }
}

impl Course {
    /// The names of its jobs, each the first step's that it does.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.jobs.iter().map(|job| job.name.as_str())
    }

    /// Of each value, the job that makes it.
    pub(super) fn makers(&self) -> Vec<Option<usize>> {
        let mut makers = vec![None; self.shapes.len()];
        for (index, job) in self.jobs.iter().enumerate() {
            makers[self.roots[job.output]] = Some(index);
        }
        makers
    }

    /// Of each value, the last job that takes it; of the answers, one behind all.
    pub(super) fn takers(&self) -> Vec<Option<usize>> {
        let mut takers = vec![None; self.shapes.len()];
        for (index, job) in self.jobs.iter().enumerate() {
            for &value in &job.inputs {
                takers[self.roots[value]] = Some(index);
            }
        }
        takers[self.roots[self.output]] = Some(self.jobs.len());
        takers
    }
}

/// A course being written.
struct Writing<'a> {
    graph: &'a Graph,
    numbers: &'a Parameters,
    shapes: &'a [Shape],
    /// Of each node, how many before it draw at random.
    places: Vec<usize>,
}

impl<'a> Writing<'a> {
    fn new(graph: &'a Graph, numbers: &'a Parameters, program: &'a Program<'_>) -> Self {
        Self {
            graph,
            numbers,
            shapes: &program.shapes,
            places: graph.random_places(),
        }
    }

    fn course(&self, program: &Program<'_>) -> Result<Course, NoWayBack> {
        let mut roots: Vec<ValueId> = (0..self.shapes.len()).collect();
        let mut jobs = Vec::with_capacity(program.steps.len());
        // A node that is an attention has two linear maps: the first makes queries, keys and values.
        let mut before = None;
        for step in &program.steps {
            if matches!(step.work, Work::Reshape) {
                roots[step.output] = roots[step.inputs[0]];
                continue;
            }
            let is_second = before == Some(step.node);
            if matches!(step.work, Work::Linear { .. }) {
                before = Some(step.node);
            }
            jobs.push(Job {
                name: step.name.clone(),
                kind: self.kind(step, is_second)?,
                inputs: step.inputs.clone(),
                output: step.output,
            });
        }
        let output = program.outputs[0];
        Ok(Course {
            jobs: join(jobs, &roots, output),
            shapes: self.shapes.to_vec(),
            roots,
            output,
        })
    }

    fn kind(&self, step: &Step<'_>, is_second: bool) -> Result<Kind, NoWayBack> {
        let node = &self.graph.nodes()[step.node];
        let input = self.shapes[step.inputs[0]];
        Ok(match &step.work {
            Work::Conv {
                conv,
                input: channels,
                ..
            } => {
                let size = [input.rows, input.columns];
                let geometry = geometry(conv, *channels, size);
                self.product(layer(node, is_second), geometry, size)
            }
            Work::Linear { weight, bias, .. } => {
                let (from, to) = (weight.count() / bias.len(), bias.len());
                let size = [input.rows, input.columns];
                self.product(
                    layer(node, is_second),
                    ConvGeometry::pointwise(from, to),
                    size,
                )
            }
            Work::Affine { scale, shift, .. } => match &node.op {
                Op::BatchNorm(op) => Kind::BatchNorm(self.batch_norm(op.layer), Ending::default()),
                Op::Scale(op) => Kind::Scale(self.numbers.of_layer(op.layer, 0)),
                _ => Kind::Affine(scale.clone(), shift.clone()),
            },
            Work::LayerNorm { epsilon, .. } => {
                let layer = layer(node, false);
                Kind::LayerNorm(LayerNorm {
                    gamma: self.numbers.of_layer(layer, 0),
                    beta: self.numbers.of_layer(layer, 1),
                    epsilon: *epsilon,
                })
            }
            Work::Activate(function) => Kind::Activate(activation(Some(*function))),
            Work::MaxPool(pool) => Kind::MaxPool(of_pool(*pool)),
            Work::AvgPool(pool) => Kind::AvgPool(of_pool(*pool)),
            Work::AdaptiveAvgPool => Kind::AdaptiveAvgPool,
            Work::Add { .. } => Kind::Add(Activation::None),
            Work::Gate => Kind::Gate,
            Work::Concat => Kind::Concat,
            Work::Chunk { start } => Kind::Chunk(*start),
            Work::Shuffle { groups } => Kind::Shuffle(*groups),
            Work::FlattenMaps => Kind::FlattenMaps,
            Work::ClassToken(_) => Kind::ClassToken(self.first_tensor(node)),
            Work::FirstToken => Kind::FirstToken,
            Work::Positions(_) => Kind::Positions(self.first_tensor(node)),
            Work::MergePatches => Kind::MergePatches,
            Work::Gather(order) => Kind::Gather(order.clone()),
            Work::Attention(parts) if parts.cosine.is_none() => {
                let mut parts = (**parts).clone();
                parts.bias = None;
                let bias = match &node.op {
                    Op::Attention(op) => match &op.bias {
                        RelativeBias::None => None,
                        RelativeBias::Table(table) => Some(Bias {
                            table: self.numbers.of_layer(*table, 0),
                            rows: relative_position_index(
                                (parts.tokens as f64).sqrt().round() as usize
                            ),
                        }),
                        RelativeBias::Continuous { .. } => {
                            return Err(none(step, "attention with a continuous bias"));
                        }
                    },
                    _ => None,
                };
                Kind::Attention(Box::new(Attention { parts, bias }))
            }
            Work::LeaveOut { share, each } => Kind::LeaveOut(LeaveOut {
                share: *share,
                each: *each,
                turned: *each && node.shape.len() == 3,
                place: self.places[step.node],
            }),
            Work::Attention(_) => return Err(none(step, "cosine attention")),
            Work::ConvTranspose { .. } => return Err(none(step, "transposed convolution")),
            Work::GroupNorm { .. } => return Err(none(step, "group norm")),
            Work::Resize(_) => return Err(none(step, "resizing")),
            Work::Reshape => unreachable!("another shape is no job"),
        })
    }

    fn product(&self, layer: LayerId, geometry: ConvGeometry, size: [usize; 2]) -> Kind {
        let spec = &self.graph.layers()[layer.0];
        let bias = (spec.parameters().len() > 1).then(|| self.numbers.of_layer(layer, 1));
        Kind::Product(Box::new(Product {
            geometry,
            size,
            weight: self.numbers.of_layer(layer, 0),
            bias,
            norm: None,
            ending: Ending::default(),
        }))
    }

    fn batch_norm(&self, layer: LayerId) -> BatchNorm {
        let [gamma, beta, mean, variance] =
            [0, 1, 2, 3].map(|index| self.numbers.of_layer(layer, index));
        let norm = match &self.graph.layers()[layer.0].kind {
            LayerKind::BatchNorm { norm, .. } => *norm,
            other => unreachable!("a batch norm's layer is {other:?}"),
        };
        BatchNorm {
            gamma,
            beta,
            mean,
            variance,
            epsilon: norm.epsilon,
            momentum: norm.momentum,
        }
    }

    fn first_tensor(&self, node: &Node) -> TensorId {
        self.numbers.of_layer(layer(node, false), 0)
    }
}

/// The layer whose numbers a step has; of the two linear maps of an attention, which one is asked for.
fn layer(node: &Node, is_second: bool) -> LayerId {
    match &node.op {
        Op::Attention(op) if is_second => op.output,
        Op::Attention(op) => op.qkv,
        op => match op.layers()[..] {
            [layer] => layer,
            ref layers => unreachable!("'{}' has {} layers", node.name, layers.len()),
        },
    }
}

fn none(step: &Step<'_>, kind: &'static str) -> NoWayBack {
    NoWayBack::Step {
        name: step.name.clone(),
        kind,
    }
}
