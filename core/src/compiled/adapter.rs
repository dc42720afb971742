//! Running a program on a graphics adapter: weights laid out once, fused kernels, nothing read back in
//! between.

use burn::tensor::activation::softmax;
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::ops::{ConvOptions, PadMode};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::program::{Ending, Program, SelfAttention, Shape, Timing, ValueId, Work};
use crate::device::DeviceError;
use crate::graph::{Conv, Nonlinearity, Pool};
use crate::kernels;

/// A program made ready for a device of Burn's.
#[derive(Debug)]
pub struct Adapter {
    shapes: Vec<Shape>,
    jobs: Vec<Job>,
    outputs: Vec<ValueId>,
    /// How often each value is taken.
    uses: Vec<usize>,
}

/// A step with its numbers on the device.
#[derive(Debug)]
struct Job {
    name: String,
    macs: u64,
    kind: Kind,
    inputs: Vec<ValueId>,
    output: ValueId,
}

#[derive(Debug)]
enum Kind {
    Conv(Vec<Part>, ConvOptions<2>, Ending),
    Affine(Tensor<1>, Tensor<1>, Option<Nonlinearity>),
    LayerNorm(Tensor<1>, Tensor<1>, f64),
    Activate(Nonlinearity),
    MaxPool(Pool),
    AvgPool(Pool),
    AdaptiveAvgPool,
    Add(Option<Nonlinearity>),
    Gate,
    Concat,
    Chunk(usize),
    Shuffle(usize),
    Reshape,
    FlattenMaps,
    ClassToken(Tensor<4>),
    FirstToken,
    Positions(Tensor<4>),
    MergePatches,
    /// Which positions, and whether one of zeros is among them.
    Gather(Tensor<1, Int>, bool),
    Attention(Box<Scores>),
}

/// Some of a convolution's filters: as many as fit into one of the device's bindings.
#[derive(Debug)]
struct Part {
    /// `[rows, columns, C / groups, filters]`
    weight: Tensor<4>,
    bias: Tensor<1>,
}

/// What is added to and multiplied with attention scores.
#[derive(Debug)]
struct Scores {
    parts: SelfAttention,
    /// `[1, heads, 1, 1]`
    cosine: Option<Tensor<4>>,
    /// `[1, heads, tokens, tokens]`
    bias: Option<Tensor<4>>,
    /// `[1, windows, 1, tokens, tokens]`
    mask: Option<Tensor<5>>,
}

impl Adapter {
    /// Puts a program's numbers on the device, in the order in which kernels read them.
    pub fn new(program: Program, device: &Device) -> Self {
        let macs = program.macs();
        let shapes = program.shapes;
        let mut uses = vec![0; shapes.len()];
        let read = program.steps.iter().flat_map(|step| &step.inputs);
        for &value in read.chain(&program.outputs) {
            uses[value] += 1;
        }
        let jobs = program.steps.into_iter().zip(macs).map(|(step, macs)| Job {
            name: step.name,
            macs,
            kind: put(step.work, shapes[step.inputs[0]], device),
            inputs: step.inputs,
            output: step.output,
        });
        Self {
            jobs: jobs.collect(),
            shapes,
            outputs: program.outputs,
            uses,
        }
    }

    /// Runs a batch. Nothing is waited for: what comes back is on the device.
    ///
    /// # Shapes
    ///
    /// - images: `[N, H, W, C]`, channels last
    /// - returns: each value that was asked for, `[N, rows, columns, channels]`
    pub fn run(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let [batch, ..] = images.dims();
        let mut values = Values::new(self, images);
        for job in &self.jobs {
            let inputs = values.take_all(&job.inputs);
            let made = job.kind.run(inputs, batch, self.shapes[job.output]);
            values.put(job.output, made);
        }
        values.take_all(&self.outputs)
    }

    /// Runs a batch and says how long the device worked on each step: by its own time stamps where it
    /// has them.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn profile(
        &self,
        images: Tensor<4>,
        device: &Device,
    ) -> Result<Vec<Timing>, DeviceError> {
        let [batch, ..] = images.dims();
        let mut values = Values::new(self, images);
        let mut timings = Vec::with_capacity(self.jobs.len());
        for job in &self.jobs {
            let inputs = values.take_all(&job.inputs);
            let shape = self.shapes[job.output];
            let (made, duration) = device
                .profile(|| job.kind.run(inputs, batch, shape))
                .map_err(DeviceError::execution)?;
            values.put(job.output, made);
            // A step that only looks at memory in another way gives the device nothing to do.
            let ticks = duration.resolve().await;
            let seconds = ticks.map_or(0.0, |ticks| ticks.duration().as_secs_f64());
            timings.push(Timing {
                name: job.name.clone(),
                kind: job.kind.name(),
                macs: job.macs * batch as u64,
                seconds,
            });
        }
        Ok(timings)
    }
}

/// What has been made and not been used up.
struct Values {
    values: Vec<Option<Tensor<4>>>,
    left: Vec<usize>,
}

impl Values {
    fn new(adapter: &Adapter, images: Tensor<4>) -> Self {
        let mut values = vec![None; adapter.shapes.len()];
        values[0] = Some(images);
        Self {
            values,
            left: adapter.uses.clone(),
        }
    }

    fn put(&mut self, value: ValueId, made: Tensor<4>) {
        self.values[value] = Some(made);
    }

    /// Each value is handed on by its last user, so that its buffer can be used again.
    fn take_all(&mut self, wanted: &[ValueId]) -> Vec<Tensor<4>> {
        let taken = wanted.iter().map(|&value| {
            self.left[value] -= 1;
            let taken = match self.left[value] {
                0 => self.values[value].take(),
                _ => self.values[value].clone(),
            };
            taken.unwrap_or_else(|| panic!("value {value} was not made"))
        });
        taken.collect()
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Conv(parts, options, _) => match parts.first().map(|part| part.weight.dims()) {
                Some([1, 1, ..]) => "1x1",
                Some([_, _, 1, filters]) if options.groups == filters => "depthwise",
                _ => "conv",
            },
            Self::Affine(..) => "affine",
            Self::LayerNorm(..) => "layer norm",
            Self::Activate(_) => "activate",
            Self::MaxPool(_) | Self::AvgPool(_) | Self::AdaptiveAvgPool => "pool",
            Self::Add(_) => "add",
            Self::Gate => "gate",
            Self::Attention(_) => "attention",
            Self::Chunk(_) | Self::Reshape | Self::FirstToken => "view",
            Self::Concat
            | Self::Shuffle(_)
            | Self::FlattenMaps
            | Self::ClassToken(_)
            | Self::Positions(_)
            | Self::MergePatches
            | Self::Gather(..) => "move",
        }
    }

    fn run(&self, inputs: Vec<Tensor<4>>, batch: usize, shape: Shape) -> Tensor<4> {
        let dims = [batch, shape.rows, shape.columns, shape.channels];
        let mut inputs = inputs.into_iter();
        let mut next = || {
            inputs
                .next()
                .unwrap_or_else(|| panic!("a step lacks an input"))
        };
        let x = next();
        match self {
            Self::Conv(parts, options, ending) => {
                let residual = ending.residual.then(&mut next);
                let mut start = 0;
                let made = parts.iter().map(|part| {
                    let [filters] = part.bias.dims();
                    let residual = residual.clone().map(|residual| match parts.len() {
                        1 => residual,
                        _ => residual.narrow(3, start, filters),
                    });
                    start += filters;
                    kernels::conv_fused(
                        x.clone(),
                        part.weight.clone(),
                        part.bias.clone(),
                        residual,
                        options.clone(),
                        ending.activation,
                    )
                });
                let mut made: Vec<_> = made.collect();
                match made.len() {
                    1 => made.remove(0),
                    _ => Tensor::cat(made, 3),
                }
            }
            Self::Affine(scale, shift, function) => {
                kernels::affine(x, scale.clone(), shift.clone(), *function)
            }
            Self::LayerNorm(gamma, beta, epsilon) => {
                kernels::layer_norm(x, gamma.clone(), beta.clone(), *epsilon)
            }
            Self::Activate(function) => kernels::activate(x, Some(*function)),
            Self::MaxPool(pool) => kernels::max_pool(x, *pool, [shape.rows, shape.columns]),
            Self::AvgPool(pool) => kernels::avg_pool(x, *pool, [shape.rows, shape.columns]),
            Self::AdaptiveAvgPool if shape.positions() == 1 => kernels::global_average(x),
            Self::AdaptiveAvgPool => {
                let size = [shape.rows, shape.columns];
                channels_last(adaptive_avg_pool2d(channels_first(x), size))
            }
            Self::Add(function) => kernels::add(x, next(), *function),
            Self::Gate => kernels::gate(x, next()),
            Self::Concat => {
                let mut all = vec![x];
                all.extend(inputs);
                Tensor::cat(all, 3)
            }
            Self::Chunk(start) => x.narrow(3, *start, shape.channels),
            Self::Shuffle(groups) => x
                .reshape([batch, shape.positions(), *groups, shape.channels / groups])
                .swap_dims(2, 3)
                .reshape(dims),
            Self::Reshape => x.reshape(dims),
            Self::FlattenMaps => channels_first(x).reshape(dims),
            Self::ClassToken(token) => {
                let token = token.clone().expand([batch, 1, 1, shape.channels]);
                Tensor::cat(vec![token, x], 2)
            }
            Self::FirstToken => x.narrow(2, 0, 1),
            Self::Positions(vectors) => x + vectors.clone(),
            Self::MergePatches => merge_patches(x, shape),
            Self::Gather(order, has_zeros) => {
                let [_, rows, columns, channels] = x.dims();
                let rows = x.reshape([batch, rows * columns, channels]);
                let rows = match has_zeros {
                    true => rows.pad([(0, 0), (0, 1), (0, 0)], PadMode::Constant(0.0)),
                    false => rows,
                };
                rows.select(1, order.clone()).reshape(dims)
            }
            Self::Attention(scores) => scores.attend(x, batch).reshape(dims),
        }
    }
}

impl Scores {
    /// `[N·windows·tokens, 3·heads·depth]` in whatever shape to `[N·windows, tokens, heads·depth]`.
    fn attend(&self, packed: Tensor<4>, batch: usize) -> Tensor<3> {
        let SelfAttention {
            windows,
            tokens,
            heads,
            depth,
            per_head,
            scale,
            ..
        } = self.parts;
        let sequences = batch * windows;
        let is_plain = (scale * scale * depth as f32 - 1.0).abs() < 1e-5;
        if is_plain && !per_head && self.cosine.is_none() && self.mask.is_none() {
            let packed = packed.reshape([sequences, tokens, 3 * heads * depth]);
            let bias = self.bias.clone();
            let bias = bias.map(|bias| bias.reshape([heads, tokens, tokens]));
            return kernels::attention(packed, heads, bias);
        }
        let [q, k, v] = [0, 1, 2].map(|part| {
            let packed = packed.clone();
            let picked = match per_head {
                false => packed
                    .reshape([sequences, tokens, 3, heads * depth])
                    .narrow(2, part, 1)
                    .reshape([sequences, tokens, heads, depth]),
                true => packed
                    .reshape([sequences * tokens, heads, 3, depth])
                    .narrow(2, part, 1)
                    .reshape([sequences, tokens, heads, depth]),
            };
            picked.swap_dims(1, 2)
        });
        let scores = match &self.cosine {
            Some(factor) => unit(q).matmul(unit(k).swap_dims(2, 3)) * factor.clone(),
            None => (q * scale).matmul(k.swap_dims(2, 3)),
        };
        let scores = match &self.bias {
            Some(bias) => scores + bias.clone(),
            None => scores,
        };
        let scores = match &self.mask {
            Some(mask) => {
                let split = scores.reshape([batch, windows, heads, tokens, tokens]);
                (split + mask.clone()).reshape([sequences, heads, tokens, tokens])
            }
            None => scores,
        };
        let mixed = softmax(scores, 3).matmul(v);
        mixed
            .swap_dims(1, 2)
            .reshape([sequences, tokens, heads * depth])
    }
}

/// Puts a step's numbers on the device.
fn put(work: Work, input: Shape, device: &Device) -> Kind {
    let vector = |values: Vec<f32>| {
        let length = values.len();
        Tensor::<1>::from_data(TensorData::new(values, [length]), device)
    };
    let channels = |values: Vec<f32>| {
        let length = values.len();
        Tensor::<4>::from_data(TensorData::new(values, [1, 1, 1, length]), device)
    };
    match work {
        Work::Conv {
            conv,
            input: channels,
            weight,
            bias,
            ending,
        } => {
            let options = options(&conv, [input.rows, input.columns]);
            let kernel = [channels / conv.groups, conv.kernel[0], conv.kernel[1]];
            Kind::Conv(vec![part(&weight, &bias, kernel, device)], options, ending)
        }
        Work::Linear {
            weight,
            bias,
            ending,
        } => {
            let reach = weight.len() / bias.len();
            // As many outputs at a time as WebGPU's default limits bind.
            const MOST: usize = (128 << 20) / size_of::<f32>();
            let each = (MOST / reach).clamp(1, bias.len());
            let parts = weight.chunks(each * reach).zip(bias.chunks(each));
            let parts = parts.map(|(weight, bias)| part(weight, bias, [reach, 1, 1], device));
            let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
            Kind::Conv(parts.collect(), options, ending)
        }
        Work::Affine {
            scale,
            shift,
            activation,
        } => Kind::Affine(vector(scale), vector(shift), activation),
        Work::LayerNorm {
            gamma,
            beta,
            epsilon,
        } => Kind::LayerNorm(vector(gamma), vector(beta), f64::from(epsilon)),
        Work::Activate(function) => Kind::Activate(function),
        Work::MaxPool(pool) => Kind::MaxPool(pool),
        Work::AvgPool(pool) => Kind::AvgPool(pool),
        Work::AdaptiveAvgPool => Kind::AdaptiveAvgPool,
        Work::Add { activation } => Kind::Add(activation),
        Work::Gate => Kind::Gate,
        Work::Concat => Kind::Concat,
        Work::Chunk { start } => Kind::Chunk(start),
        Work::Shuffle { groups } => Kind::Shuffle(groups),
        Work::Reshape => Kind::Reshape,
        Work::FlattenMaps => Kind::FlattenMaps,
        Work::ClassToken(token) => Kind::ClassToken(channels(token)),
        Work::FirstToken => Kind::FirstToken,
        Work::Positions(vectors) => {
            let shape = [1, input.rows, input.columns, input.channels];
            let data = TensorData::new(vectors, shape);
            Kind::Positions(Tensor::from_data(data, device))
        }
        Work::MergePatches => Kind::MergePatches,
        Work::Gather(order) => {
            let zeros = input.positions() as i32;
            let has_zeros = order.iter().any(Option::is_none);
            let order: Vec<i32> = order
                .iter()
                .map(|position| position.map_or(zeros, |position| position as i32))
                .collect();
            let count = order.len();
            let order = Tensor::from_data(TensorData::new(order, [count]), device);
            Kind::Gather(order, has_zeros)
        }
        Work::Attention(parts) => Kind::Attention(Box::new(scores(*parts, device))),
    }
}

fn scores(mut parts: SelfAttention, device: &Device) -> Scores {
    let (heads, tokens, windows) = (parts.heads, parts.tokens, parts.windows);
    let cosine = parts
        .cosine
        .take()
        .map(|values| Tensor::from_data(TensorData::new(values, [1, heads, 1, 1]), device));
    let bias = parts.bias.take().map(|values| {
        Tensor::from_data(TensorData::new(values, [1, heads, tokens, tokens]), device)
    });
    let mask = parts.mask.take().map(|values| {
        let shape = [1, windows, 1, tokens, tokens];
        Tensor::from_data(TensorData::new(values, shape), device)
    });
    Scores {
        parts,
        cosine,
        bias,
        mask,
    }
}

/// `[filters, C / groups, rows, columns]` as the kernels read it.
fn part(weight: &[f32], bias: &[f32], kernel: [usize; 3], device: &Device) -> Part {
    let [channels, rows, columns] = kernel;
    let filters = bias.len();
    let reach = channels * rows * columns;
    let taps = rows * columns;
    let mut turned = vec![0.0; weight.len()];
    for (filter, from) in weight.chunks_exact(reach).enumerate() {
        for (index, value) in from.iter().enumerate() {
            let (channel, tap) = (index / taps, index % taps);
            turned[(tap * channels + channel) * filters + filter] = *value;
        }
    }
    let shape = [rows, columns, channels, filters];
    Part {
        weight: Tensor::from_data(TensorData::new(turned, shape), device),
        bias: Tensor::from_data(TensorData::new(bias.to_vec(), [filters]), device),
    }
}

/// Burn's options for maps of this size: TensorFlow's padding depends on it.
fn options(conv: &Conv, size: [usize; 2]) -> ConvOptions<2> {
    let mut options = ConvOptions::new(conv.stride, [0, 0], conv.dilation, conv.groups);
    options.padding = conv.padding_of(size);
    options
}

fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}

fn channels_last(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
}

/// Rows scaled to length one, as `torch.nn.functional.normalize` does.
fn unit(x: Tensor<4>) -> Tensor<4> {
    let length = x.clone().powi_scalar(2).sum_dim(3).sqrt().clamp_min(1e-12);
    x / length
}

/// The upper left, lower left, upper right and lower right of each two by two positions; what is
/// missing is zero.
fn merge_patches(x: Tensor<4>, shape: Shape) -> Tensor<4> {
    let [batch, rows, columns, channels] = x.dims();
    let x = match rows % 2 + columns % 2 {
        0 => x,
        _ => x.pad(
            [(0, 0), (0, rows % 2), (0, columns % 2), (0, 0)],
            PadMode::Constant(0.0),
        ),
    };
    x.reshape([batch, shape.rows, 2, shape.columns, 2, channels])
        .permute([0, 1, 3, 4, 2, 5])
        .reshape([batch, shape.rows, shape.columns, 4 * channels])
}
