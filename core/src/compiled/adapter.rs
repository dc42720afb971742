//! Running a program on a graphics adapter: weights laid out once, fused kernels, nothing read back in
//! between.

use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{DType, Device, Tensor};

use super::precision::Precision;
use super::upload::{Kind, Scores, Upload};
use crate::binding::LARGEST_BINDING;
use crate::device::DeviceError;
use crate::graph::{Schedule, Values};
use crate::kernels::{self, FrozenConv};
use crate::operations::{merge_patches, unit};
use crate::program::{Job, Program, SelfAttention, Shape, Timing, ValueId};

/// A program made ready for a device of Burn's.
#[derive(Debug)]
pub struct Adapter {
    shapes: Vec<Shape>,
    jobs: Vec<Job<Kind>>,
    outputs: Vec<ValueId>,
    /// How long each value is needed.
    schedule: Schedule,
    /// Bytes of the largest buffer of one image.
    largest: usize,
    precision: Precision,
}

impl Adapter {
    /// Puts a program's numbers on the device, in the order in which kernels read them.
    pub fn new(program: Program<'_>, device: &Device, precision: Precision) -> Self {
        Self::like(program, device, precision, None)
    }

    /// The same, but for convolutions whose numbers a `sibling` has on the device: the program of the same numbers,
    /// in the same precision, for images of another size, whose layers go by the same names.
    pub fn like(
        mut program: Program<'_>,
        device: &Device,
        precision: Precision,
        sibling: Option<&Self>,
    ) -> Self {
        let upload = Upload { device, precision };
        let schedule = program.schedule();
        let names: Vec<String> = program.steps.iter().map(|step| step.name.clone()).collect();
        let jobs = program.jobs(|index, work, shape| {
            let known = sibling.and_then(|sibling| sibling.jobs.get(index));
            let known = known.filter(|known| known.name == names[index]);
            upload.put(work, shape, known.map(|known| &known.kind))
        });
        let shapes = program.shapes;
        let values = shapes.iter().map(|shape| shape.numbers());
        let scratch = jobs.iter().map(|job| job.kind.scratch(shapes[job.output]));
        // Numbers of 16 bits are cast to 32 where Burn sums them up.
        let largest = size_of::<f32>() * values.chain(scratch).max().unwrap_or(1);
        Self {
            jobs,
            shapes,
            outputs: program.outputs,
            schedule,
            largest,
            precision,
        }
    }

    /// The largest batch of which everything in between fits into bindings of WebGPU's default limits.
    /// Where an adapter has more to give, this many keep it busy.
    pub fn images_at_once(&self) -> usize {
        (LARGEST_BINDING / self.largest.max(1)).max(1)
    }

    /// Whether everything in between fits into bindings of WebGPU's default limits for one image at least.
    pub fn fits(&self) -> bool {
        self.largest <= LARGEST_BINDING
    }

    /// Runs a batch of no more than [`images_at_once`](Self::images_at_once). Nothing is waited for: what
    /// comes back is on the device.
    ///
    /// # Shapes
    ///
    /// - images: `[N, H, W, C]`, channels last
    /// - returns: each value that was asked for, `[N, rows, columns, channels]`
    pub fn run(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let [batch, ..] = images.dims();
        let mut values = self.values(images);
        for job in &self.jobs {
            let inputs = job.inputs.iter().map(|&value| values.take(value)).collect();
            let made = job.kind.run(inputs, batch, self.shapes[job.output]);
            values.put(job.output, made);
        }
        let outputs = self.outputs.iter().map(|&value| values.take(value));
        outputs.map(|value| value.cast(DType::F32)).collect()
    }

    /// Room for what a run makes, with the images in it. Each value is handed on by its last user, so that its buffer can
    /// be used again.
    fn values(&self, images: Tensor<4>) -> Values<Tensor<4>> {
        let mut values = self.schedule.values();
        values.put(0, images.cast(self.precision.dtype()));
        values
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
        let mut values = self.values(images);
        let mut timings = Vec::with_capacity(self.jobs.len());
        for job in &self.jobs {
            let inputs = job.inputs.iter().map(|&value| values.take(value)).collect();
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
                executed: self.executed(job) * batch as u64,
                seconds,
            });
        }
        Ok(timings)
    }

    /// Multiply-adds that are carried out for one image: fewer than the network is made of where a
    /// convolution is done by Winograd's method.
    pub fn multiply_adds(&self) -> u64 {
        self.jobs.iter().map(|job| self.executed(job)).sum()
    }

    /// Those of one step.
    fn executed(&self, job: &Job<Kind>) -> u64 {
        match &job.kind {
            Kind::Conv(parts, _) => {
                let shape = self.shapes[job.output];
                let size = [shape.rows, shape.columns];
                let parts = parts.iter().map(|part| part.multiply_adds(size));
                parts.sum::<Option<u64>>().unwrap_or(job.macs)
            }
            _ => job.macs,
        }
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Conv(parts, _) => parts.first().map_or("conv", FrozenConv::kind),
            Self::ConvTranspose(..) => "transposed",
            Self::Affine(..) => "affine",
            Self::GroupNorm(..) => "group norm",
            Self::Resize(_) => "resize",
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

    /// Numbers of the largest buffer for each image beside what comes in and goes out.
    fn scratch(&self, output: Shape) -> usize {
        match self {
            Self::Conv(parts, _) => {
                let size = [output.rows, output.columns];
                let parts = parts.iter().map(|part| part.scratch(size));
                parts.max().unwrap_or(0)
            }
            Self::Attention(scores) if !scores.is_plain => {
                let parts = &scores.parts;
                parts.windows * parts.heads * parts.tokens * parts.tokens
            }
            _ => 0,
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
            Self::Conv(parts, ending) => {
                let residual = ending.residual.then(&mut next);
                let mut start = 0;
                let made = parts.iter().map(|part| {
                    let filters = part.filters();
                    let residual = residual.clone().map(|residual| match parts.len() {
                        1 => residual,
                        _ => residual.narrow(3, start, filters),
                    });
                    start += filters;
                    part.run(x.clone(), residual, ending.activation)
                });
                let mut made: Vec<_> = made.collect();
                match made.len() {
                    1 => made.remove(0),
                    _ => Tensor::cat(made, 3),
                }
            }
            Self::ConvTranspose(conv, ending) => {
                let residual = ending.residual.then(&mut next);
                conv.run(x, residual, ending.activation)
            }
            Self::GroupNorm(groups, gamma, beta, epsilon, function) => {
                let (gamma, beta) = (gamma.clone(), beta.clone());
                kernels::frozen_group_norm(x, *groups, gamma, beta, *epsilon, *function)
            }
            Self::Resize(resample) => {
                kernels::frozen_resize(x, [shape.rows, shape.columns], *resample)
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
                let stored = x.dtype();
                let pooled = adaptive_avg_pool2d(channels_first(x.cast(DType::F32)), size);
                channels_last(pooled).cast(stored)
            }
            Self::Add(function) => kernels::add(x, next(), *function),
            Self::Gate => kernels::gate(x, next()),
            Self::Concat => {
                let mut all = vec![x];
                all.extend(inputs);
                Tensor::cat(all, 3)
            }
            Self::Chunk(start) => x.narrow(3, *start, shape.channels),
            Self::Shuffle(groups) => kernels::shuffled(x, *groups),
            Self::Reshape => x.reshape(dims),
            Self::FlattenMaps => channels_first(x).reshape(dims),
            Self::ClassToken(token) => kernels::after_token(token.clone(), x),
            Self::FirstToken => x.narrow(2, 0, 1),
            Self::Positions(vectors) => x + vectors.clone(),
            Self::MergePatches => merge_patches(x),
            Self::Gather(order, has_zeros) => {
                kernels::picked(x, order.clone(), *has_zeros).reshape(dims)
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
            ..
        } = self.parts;
        let sequences = batch * windows;
        if self.is_plain {
            let packed = packed.reshape([sequences, tokens, 3 * heads * depth]);
            let bias = self.terms.bias.clone();
            let bias = bias.map(|bias| bias.reshape([heads, tokens, tokens]));
            return kernels::attention(packed, heads, bias);
        }
        // Step by step, in full precision: Burn's sums are taken in what its numbers are stored in.
        let stored = packed.dtype();
        let made = kernels::attention_in_steps(
            packed.cast(DType::F32),
            &self.parts,
            self.terms.clone(),
            unit,
        );
        made.cast(stored)
    }
}

fn channels_first(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 3, 1, 2])
}

fn channels_last(x: Tensor<4>) -> Tensor<4> {
    x.permute([0, 2, 3, 1])
}
