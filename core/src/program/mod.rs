//! What a frozen network is compiled to: fewer, larger steps that carry their numbers.

mod lowering;

pub use lowering::{CompileError, Lowering, maps};

use std::borrow::Cow;

use crate::graph::{Conv, ConvTranspose, Flow, Nonlinearity, Pool, Resample, Schedule};

/// The shape of a value for one image, channels last: maps have rows and columns, tokens stand in one
/// row, features at one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows of maps; one for tokens and features.
    pub rows: usize,
    /// Columns of maps, or tokens.
    pub columns: usize,
    /// Numbers at each position.
    pub channels: usize,
}

impl Shape {
    /// Of a graph's value that is maps `[C, H, W]`, tokens `[T, C]` or features `[F]`.
    pub fn of(shape: &[usize]) -> Self {
        let (rows, columns, channels) = match *shape {
            [channels, rows, columns] => (rows, columns, channels),
            [tokens, channels] => (1, tokens, channels),
            _ => (1, 1, shape.iter().product()),
        };
        Self {
            rows,
            columns,
            channels,
        }
    }

    /// Rows times columns.
    pub fn positions(self) -> usize {
        self.rows * self.columns
    }

    /// All its numbers.
    pub fn numbers(self) -> usize {
        self.positions() * self.channels
    }

    /// The same positions with another number of channels.
    pub fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }
}

/// A value by its place in [`Program::shapes`]; 0 is the image.
pub type ValueId = usize;

/// A frozen network: every step in the order in which it runs. Large weights stay where they are, `'t`.
#[derive(Debug, Clone)]
pub struct Program<'t> {
    /// The shape of each value.
    pub shapes: Vec<Shape>,
    /// The steps.
    pub steps: Vec<Step<'t>>,
    /// The values that were asked for, in the order of asking.
    pub outputs: Vec<ValueId>,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step<'t> {
    /// The name of the layer that it stands for: where several were fused, of the first.
    pub name: String,
    /// What it does.
    pub work: Work<'t>,
    /// What it takes. Where a step adds a residual, that comes last.
    pub inputs: Vec<ValueId>,
    /// What it puts out.
    pub output: ValueId,
}

/// What follows a step's sum before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ending {
    /// Whether the step's last input is added.
    pub residual: bool,
    /// What is applied in the end.
    pub activation: Option<Nonlinearity>,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Work<'t> {
    /// A convolution.
    Conv {
        /// Its geometry.
        conv: Conv,
        /// Channels that come in.
        input: usize,
        /// `[filters, input / groups, rows, columns]`
        weight: Weight<'t>,
        /// `[filters]`
        bias: Vec<f32>,
        /// What follows.
        ending: Ending,
    },
    /// A transposed convolution.
    ConvTranspose {
        /// Its geometry.
        conv: ConvTranspose,
        /// Channels that come in.
        input: usize,
        /// `[input, filters / groups, rows, columns]`
        weight: &'t [f32],
        /// `[filters]`
        bias: Vec<f32>,
        /// What follows.
        ending: Ending,
    },
    /// A linear map of each position.
    Linear {
        /// `[output, input]`
        weight: Weight<'t>,
        /// `[output]`
        bias: Vec<f32>,
        /// What follows.
        ending: Ending,
    },
    /// A factor and a summand for each channel.
    Affine {
        /// The factors.
        scale: Vec<f32>,
        /// The summands.
        shift: Vec<f32>,
        /// What is applied in the end.
        activation: Option<Nonlinearity>,
    },
    /// Layer norm over the channels of each position.
    LayerNorm {
        /// Factors.
        gamma: Vec<f32>,
        /// Summands.
        beta: Vec<f32>,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Norm over groups of channels and all positions of an image.
    GroupNorm {
        /// The groups.
        groups: usize,
        /// Factors.
        gamma: Vec<f32>,
        /// Summands.
        beta: Vec<f32>,
        /// Added to the variance.
        epsilon: f32,
        /// What is applied in the end.
        activation: Option<Nonlinearity>,
    },
    /// Maps with other numbers of rows and columns.
    Resize(Resample),
    /// An elementwise function.
    Activate(Nonlinearity),
    /// The largest value of each window.
    MaxPool(Pool),
    /// The mean of each window.
    AvgPool(Pool),
    /// Means over as many regions as there are outputs.
    AdaptiveAvgPool,
    /// The sum of two values.
    Add {
        /// What is applied in the end.
        activation: Option<Nonlinearity>,
    },
    /// The first value times the second, which has one number a channel, one a position, or all.
    Gate,
    /// Channels side by side.
    Concat,
    /// A stretch of the channels.
    Chunk {
        /// The first of them.
        start: usize,
    },
    /// Channels `[groups, n]` turned to `[n, groups]`.
    Shuffle {
        /// The groups.
        groups: usize,
    },
    /// The same numbers under another shape.
    Reshape,
    /// Maps in a row, channel by channel, as PyTorch flattens them.
    FlattenMaps,
    /// A token that comes before the others.
    ClassToken(Vec<f32>),
    /// The first token alone.
    FirstToken,
    /// A vector added to each position.
    Positions(Vec<f32>),
    /// Each two by two positions side by side.
    MergePatches,
    /// Positions picked out, `None` for a position of zeros.
    Gather(Vec<Option<u32>>),
    /// Attention, from packed queries, keys and values.
    Attention(Box<SelfAttention>),
}

/// The weights of a layer: a tensor's numbers, those of each output times a factor.
#[derive(Debug, Clone)]
pub struct Weight<'t> {
    numbers: &'t [f32],
    /// Empty while all of them are one.
    factors: Vec<f32>,
}

impl<'t> Weight<'t> {
    /// A tensor as it is, its outputs along the first axis.
    pub fn new(numbers: &'t [f32]) -> Self {
        Self {
            numbers,
            factors: Vec::new(),
        }
    }

    /// How many numbers there are.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// Multiplies the numbers of each output with another factor.
    pub fn scale(&mut self, factors: &[f32]) {
        if self.factors.is_empty() {
            self.factors = factors.to_vec();
            return;
        }
        for (all, factor) in self.factors.iter_mut().zip(factors) {
            *all *= factor;
        }
    }

    /// The numbers as they are in the tensor.
    pub fn plain(&self) -> &'t [f32] {
        self.numbers
    }

    /// What the numbers of each output are to be multiplied by; empty if by nothing.
    pub fn factors(&self) -> &[f32] {
        &self.factors
    }

    /// The numbers, multiplied.
    pub fn numbers(&self) -> Cow<'t, [f32]> {
        let reach = self.numbers.len() / self.factors.len().max(1);
        if self.factors.is_empty() || reach == 0 {
            return Cow::Borrowed(self.numbers);
        }
        let mut scaled = Vec::with_capacity(self.numbers.len());
        for (row, factor) in self.numbers.chunks_exact(reach).zip(&self.factors) {
            scaled.extend(row.iter().map(|number| number * factor));
        }
        Cow::Owned(scaled)
    }
}

/// Attention within each of some sequences.
#[derive(Debug, Clone)]
pub struct SelfAttention {
    /// Sequences of an image.
    pub windows: usize,
    /// Positions in each.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Width of a head.
    pub depth: usize,
    /// Whether the projection is packed `[heads, 3, depth]` and not `[3, heads, depth]`.
    pub per_head: bool,
    /// What scores are multiplied by.
    pub scale: f32,
    /// Cosine attention: what the scores of each head are multiplied by instead.
    pub cosine: Option<Vec<f32>>,
    /// Added to the scores, `[heads, tokens, tokens]`.
    pub bias: Option<Vec<f32>>,
    /// Added to the scores of each window, `[windows, tokens, tokens]`.
    pub mask: Option<Vec<f32>>,
}

/// A step made ready for a device: what it does there is a `K`.
#[derive(Debug)]
pub(crate) struct Job<K> {
    pub name: String,
    /// Multiply-adds for one image.
    pub macs: u64,
    pub kind: K,
    pub inputs: Vec<ValueId>,
    pub output: ValueId,
}

/// How long one step took.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// The step's name.
    pub name: String,
    /// The kind of kernel that did it.
    pub kind: &'static str,
    /// Multiply-adds that the step is made of, for the whole batch; zero for what is none of convolution,
    /// linear map and attention.
    pub macs: u64,
    /// Those that are carried out: Winograd's method saves some.
    pub executed: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Program<'_> {
    /// How long each of its values is needed.
    pub(crate) fn schedule(&self) -> Schedule {
        let mut flows = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            flows.push(Flow {
                inputs: &step.inputs,
                output: step.output,
            });
        }
        match Schedule::new(&flows, &[0], &self.outputs) {
            Ok(schedule) => schedule,
            Err(error) => unreachable!("a program's values follow from the image: {error}"),
        }
    }

    /// Numbers of all weights.
    pub(crate) fn weights(&self) -> usize {
        let count = |step: &Step| match &step.work {
            Work::Conv { weight, .. } | Work::Linear { weight, .. } => weight.count(),
            Work::ConvTranspose { weight, .. } => weight.len(),
            _ => 0,
        };
        self.steps.iter().map(count).sum()
    }

    /// The steps as jobs: `ready` is given each one's number, its work and the shape of its first input.
    pub(crate) fn jobs<K>(
        &mut self,
        mut ready: impl FnMut(usize, Work<'_>, Shape) -> K,
    ) -> Vec<Job<K>> {
        let macs = self.macs();
        let steps = std::mem::take(&mut self.steps).into_iter().zip(macs);
        let jobs = steps.enumerate().map(|(index, (step, macs))| Job {
            name: step.name,
            macs,
            kind: ready(index, step.work, self.shapes[step.inputs[0]]),
            inputs: step.inputs,
            output: step.output,
        });
        jobs.collect()
    }

    /// Multiply-adds of each step, for one image.
    fn macs(&self) -> Vec<u64> {
        let count = |step: &Step| {
            let positions = self.shapes[step.output].positions();
            match &step.work {
                Work::Conv { weight, .. } | Work::Linear { weight, .. } => {
                    positions * weight.count()
                }
                // Each input pixel meets all weights.
                Work::ConvTranspose { weight, .. } => {
                    self.shapes[step.inputs[0]].positions() * weight.len()
                }
                Work::Attention(parts) => {
                    2 * parts.windows * parts.tokens * parts.tokens * parts.heads * parts.depth
                }
                _ => 0,
            }
        };
        self.steps.iter().map(|step| count(step) as u64).collect()
    }
}
