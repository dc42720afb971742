//! What each kind of step keeps for the way back, and what it takes for a moment: the memory of training, read off the
//! graph. It follows what `operations` does, and what Burn's autodiff keeps of each of the tensor operations there.

use super::engine::Learning;
use crate::graph::{
    Attention, Graph, LayerId, Neighbourhood, Node, Nonlinearity, Op, RelativeBias,
};

/// Where numbers lie and are worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the machine's memory, worked on by so many threads.
    Processor {
        /// The threads.
        threads: usize,
    },
    /// In an adapter's.
    Adapter,
}

/// What a step takes beside its input and its output, in bytes. What is not said to be a thread's is for one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Costs {
    /// The inputs that are kept for the way back, by their places.
    pub inputs: Vec<usize>,
    /// What is kept beside them.
    pub own: u64,
    /// What is there for a moment on the way there.
    pub forward: u64,
    /// What is there for a moment on the way back, beside the gradients of input and output.
    pub backward: u64,
    /// What each thread takes on the way back.
    pub each_thread: u64,
    /// Whether the output is only another look at the first input.
    pub is_view: bool,
}

/// The bytes of a number.
const NUMBER: u64 = 4;

/// What is known of a step.
pub(super) struct Step<'a> {
    pub graph: &'a Graph,
    pub node: &'a Node,
    pub learning: &'a Learning,
    pub place: Place,
    /// Whether gradients reach any of its inputs.
    pub is_reached: bool,
}

impl Step<'_> {
    /// Whether a layer has parameters that train.
    fn learns(&self, layer: LayerId) -> bool {
        let layer = &self.graph.layers()[layer.0];
        let parameters = layer.parameters();
        let mut names = parameters.iter().map(|(name, _)| name);
        names.any(|name| self.learning.parameters.contains(name))
    }

    /// Whether any of its layers do.
    pub fn any_learns(&self) -> bool {
        let layers = self.node.op.layers();
        layers.into_iter().any(|layer| self.learns(layer))
    }

    /// Whether a batch norm takes the statistics of the batch.
    fn follows(&self, layer: LayerId) -> bool {
        let name = self.graph.layers()[layer.0].tensor("running_mean");
        self.learning.statistics.contains(&name)
    }

    fn input(&self) -> u64 {
        let value = self.node.inputs.first().copied().unwrap_or(0);
        NUMBER * numbers(self.graph.shape_of(value))
    }

    fn output(&self) -> u64 {
        NUMBER * numbers(&self.node.shape)
    }

    /// Truths, one for each number of so many bytes: a byte each on the processor, a word each on adapters.
    fn truths(&self, bytes: u64) -> u64 {
        match self.place {
            Place::Processor { .. } => bytes / NUMBER,
            Place::Adapter => bytes,
        }
    }

    /// What the step takes.
    pub fn costs(&self) -> Costs {
        let (x, y) = (self.input(), self.output());
        let (reached, learns) = (self.is_reached, self.any_learns());
        let tracked = reached || learns;
        let kept = |is_kept: bool| if is_kept { vec![0] } else { Vec::new() };
        let view = Costs {
            is_view: true,
            ..Costs::default()
        };
        match &self.node.op {
            Op::Convolution(op) => {
                let [rows, columns] = op.conv.kernel;
                let window = (rows * columns) as u64;
                let is_whole = op.conv.groups == 1;
                // The processor's copy of the maps with channels last, and on the way back those of maps and gradient
                // as the gradient of the weight reads them; the gradient of the input is put together from a column
                // for each position.
                let copied = match (self.place, is_whole) {
                    (Place::Processor { .. }, true) => x,
                    (Place::Processor { .. }, false) => 0,
                    (Place::Adapter, _) => x,
                };
                let columns = match self.place {
                    Place::Processor { .. } => {
                        let channels = self.graph.shape_of(self.node.inputs[0])[0] as u64;
                        let positions = numbers(&self.node.shape[1..]);
                        NUMBER * window * channels / op.conv.groups as u64 * positions
                    }
                    Place::Adapter => 0,
                };
                Costs {
                    inputs: kept(tracked),
                    forward: if window > 1 { copied } else { 0 },
                    backward: if learns && is_whole { 2 * x + y } else { 0 },
                    each_thread: if reached { columns } else { 0 },
                    ..Costs::default()
                }
            }
            Op::TransposedConvolution(_) => Costs {
                inputs: kept(tracked),
                forward: y,
                backward: x + 2 * y,
                ..Costs::default()
            },
            Op::Resize(_) => Costs::default(),
            Op::BatchNorm(op) if self.follows(op.layer) => Costs {
                inputs: kept(tracked),
                forward: 2 * x,
                backward: 3 * x,
                ..Costs::default()
            },
            // A factor and a summand: the way back to the factor needs what came in.
            Op::BatchNorm(_) | Op::Scale(_) => Costs {
                inputs: kept(learns),
                forward: x,
                backward: if learns { x } else { 0 },
                ..Costs::default()
            },
            Op::GroupNorm(_) => Costs {
                inputs: kept(tracked),
                forward: 2 * x,
                backward: 4 * x,
                ..Costs::default()
            },
            // What is centred, and what is normalised where its factor trains.
            Op::LayerNorm(_) | Op::ChannelLayerNorm(_) => Costs {
                own: x * (u64::from(reached) + u64::from(learns)),
                forward: 2 * x,
                backward: 3 * x,
                ..Costs::default()
            },
            Op::Linear(_) => Costs {
                inputs: kept(learns),
                ..Costs::default()
            },
            Op::Activate(op) => {
                let (keeps, own) = match op.0 {
                    Nonlinearity::Relu | Nonlinearity::Gelu | Nonlinearity::Sigmoid => (true, 0),
                    Nonlinearity::Tanh => (false, y),
                    // What lay beyond either end.
                    Nonlinearity::Relu6 | Nonlinearity::HardSigmoid => (false, 2 * self.truths(y)),
                    Nonlinearity::Silu => (true, y),
                    Nonlinearity::HardSwish => (true, y + 2 * self.truths(y)),
                };
                Costs {
                    inputs: kept(reached && keeps),
                    own: if reached { own } else { 0 },
                    forward: y,
                    backward: y,
                    ..Costs::default()
                }
            }
            // Which of the numbers was the greatest, in whole numbers of 8 bytes, or of 4 on adapters.
            Op::MaxPool(_) => {
                let places = match self.place {
                    Place::Processor { .. } => 2 * y,
                    Place::Adapter => y,
                };
                Costs {
                    inputs: kept(reached),
                    own: if reached { places } else { 0 },
                    ..Costs::default()
                }
            }
            Op::AvgPool(_) => Costs {
                inputs: kept(reached),
                ..Costs::default()
            },
            Op::AdaptiveAvgPool(op) => Costs {
                inputs: kept(reached && op.size != [1, 1]),
                ..Costs::default()
            },
            Op::Add(_) | Op::Concat(_) | Op::ChannelShuffle(_) | Op::MergePatches(_) => {
                Costs::default()
            }
            Op::Multiply(_) => Costs {
                inputs: if reached { vec![0, 1] } else { Vec::new() },
                backward: x,
                ..Costs::default()
            },
            Op::Affine(_) => Costs {
                forward: y,
                ..Costs::default()
            },
            // The factors; of stochastic depth it is one for each image.
            Op::Dropout(op) => Costs {
                own: if reached && op.share > 0.0 { y } else { 0 },
                ..Costs::default()
            },
            Op::StochasticDepth(_) | Op::ClassToken(_) | Op::PositionEmbedding(_) => {
                Costs::default()
            }
            Op::Chunk(_)
            | Op::ChannelsLast(_)
            | Op::ChannelsFirst(_)
            | Op::Flatten(_)
            | Op::Tokens(_)
            | Op::FirstToken(_) => view,
            Op::Attention(op) => self.attention(op),
        }
    }

    /// Attention keeps its windows, queries, keys and values, the exponentials and the shares that they come to, and
    /// the mixed values.
    fn attention(&self, op: &Attention) -> Costs {
        let shape = self.graph.shape_of(self.node.inputs[0]);
        let width = shape.last().copied().unwrap_or(1);
        let positions = numbers(shape) / (width as u64).max(1);
        let (windows, tokens) = match (op.neighbourhood, shape) {
            (Neighbourhood::Block { side } | Neighbourhood::Grid { side }, [rows, columns, _]) => {
                ((rows / side * (columns / side)) as u64, side * side)
            }
            (Neighbourhood::Window { side, .. }, [rows, columns, _]) => {
                let windows = rows.div_ceil(side) * columns.div_ceil(side);
                (windows as u64, side * side)
            }
            _ => (1, positions as usize),
        };
        let tokens = tokens as u64;
        let sequence = NUMBER * windows * tokens * width as u64;
        let scores = NUMBER * windows * tokens * tokens * op.heads as u64;
        let is_cut = !matches!(op.neighbourhood, Neighbourhood::All);
        let is_tracked = self.is_reached || self.any_learns();
        // Cosine attention keeps queries and keys as they were before they were scaled to length one, too, and the
        // cosines.
        let cosine = match op.logit_scale {
            Some(_) => 2 * sequence + scores,
            None => 0,
        };
        let biased = match op.bias {
            RelativeBias::None => 0,
            _ => scores,
        };
        let kept = (3 + 1) * sequence + 2 * scores + cosine;
        Costs {
            inputs: if is_tracked && !is_cut {
                vec![0]
            } else {
                Vec::new()
            },
            own: match is_tracked {
                true => kept + if is_cut { sequence } else { 0 },
                false => 0,
            },
            forward: match is_tracked {
                true => scores + biased + 2 * sequence,
                false => 4 * sequence + 2 * scores,
            },
            backward: 2 * scores + 4 * sequence,
            ..Costs::default()
        }
    }
}

/// Numbers of a shape.
pub(super) fn numbers(shape: &[usize]) -> u64 {
    shape.iter().map(|&side| side as u64).product()
}
