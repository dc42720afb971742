//! Running a program on the processor: packed weights, one set of buffers, no tensors in between.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rekindle_cpu as cpu;
use rekindle_cpu::{AttentionShape, ConvGeometry, View, ViewMut};

use super::pairs::pairs;
use super::place::{Place, Places, place};
use crate::graph::{Conv, Nonlinearity, Pool, Resample};
use crate::program::{Ending, Job, Program, SelfAttention, Shape, Timing, ValueId, Weight, Work};

/// A program made ready for the processor.
#[derive(Debug)]
pub struct Processor {
    shapes: Vec<Shape>,
    jobs: Vec<Job<Kind>>,
    /// Which jobs are done together with the next.
    joined: Vec<bool>,
    outputs: Vec<ValueId>,
    places: Places,
    /// Images that go through together.
    together: usize,
    /// Buffers that are not in use, for the next run.
    workspaces: Mutex<Vec<Workspace>>,
}

/// The slots of one run.
type Workspace = Vec<Vec<f32>>;

/// Numbers of weights for each image that goes through at the same time: maps of few images stay in
/// the cache, but weights must not be fetched from memory for every image anew.
const WEIGHTS_PER_IMAGE: usize = 8 << 20;

/// What a step does, with its numbers packed.
#[derive(Debug)]
enum Kind {
    /// Packed weights, which programs for other sizes of images may share.
    Conv(Arc<cpu::Conv>, Ending),
    ConvTranspose(cpu::ConvTranspose, Ending),
    Linear(Arc<cpu::Linear>, Ending),
    Affine(Vec<f32>, Vec<f32>, cpu::Activation),
    LayerNorm(Vec<f32>, Vec<f32>, f32),
    GroupNorm(usize, Vec<f32>, Vec<f32>, f32, cpu::Activation),
    Resize(cpu::Filter),
    Activate(cpu::Activation),
    MaxPool(cpu::Pool),
    AvgPool(cpu::Pool),
    AdaptiveAvgPool,
    Add(cpu::Activation),
    Gate,
    /// What is not in its place yet: values, and the channel at which they belong.
    Concat(Vec<(ValueId, usize)>),
    /// The input lies where the output is looked for.
    View,
    Shuffle(usize),
    FlattenMaps,
    ClassToken(Vec<f32>),
    FirstToken,
    Positions(Vec<f32>),
    MergePatches,
    Gather(Vec<Option<u32>>),
    Attention(Box<SelfAttention>),
}

impl Processor {
    /// Packs a program's weights and finds a place for its values.
    pub fn new(program: Program<'_>) -> Self {
        Self::like(program, None)
    }

    /// The same, but for weights that a `sibling` has packed: the program of the same numbers for images of another
    /// size, whose layers go by the same names.
    pub fn like(mut program: Program<'_>, sibling: Option<&Self>) -> Self {
        let names: Vec<String> = program.steps.iter().map(|step| step.name.clone()).collect();
        let pairs = pairs(&program);
        let mut places = place(&program, &pairs);
        let together = program.weights().div_ceil(WEIGHTS_PER_IMAGE).max(1);
        let jobs = program.jobs(|index, work, shape| match work {
            Work::Concat => Kind::Concat(std::mem::take(&mut places.copies[index])),
            work => {
                let known = sibling.and_then(|sibling| sibling.jobs.get(index));
                let known = known.filter(|known| known.name == names[index]);
                pack(work, shape, known.map(|known| &known.kind))
            }
        });
        let slot = |value: ValueId| places.values[value].slot;
        let joined = jobs.windows(2).zip(&pairs);
        let joined = joined.map(|(jobs, is_pair)| match (&jobs[0].kind, &jobs[1].kind) {
            (Kind::Conv(first, _), Kind::Conv(second, _)) => {
                // Both may be parts of one joined value, which nobody reads and writes at once.
                let apart = slot(jobs[0].inputs[0]) != slot(jobs[1].output);
                *is_pair && apart && first.joins(second)
            }
            _ => false,
        });
        let joined: Vec<bool> = joined.chain([false]).collect();
        Self {
            jobs,
            joined,
            shapes: program.shapes,
            outputs: program.outputs,
            places,
            together,
            workspaces: Mutex::default(),
        }
    }

    /// How many convolutions and linear layers there are, and how many of them share their weights with another
    /// program.
    #[cfg(test)]
    pub fn shared(&self) -> [usize; 2] {
        let shares = self.jobs.iter().filter_map(|job| match &job.kind {
            Kind::Conv(conv, _) => Some(Arc::strong_count(conv) > 1),
            Kind::Linear(linear, _) => Some(Arc::strong_count(linear) > 1),
            _ => None,
        });
        let shares: Vec<bool> = shares.collect();
        [shares.len(), shares.iter().filter(|&&is| is).count()]
    }

    /// Frees the buffers that the next run would have used again.
    pub fn rest(&self) {
        let mut kept = self
            .workspaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.clear();
    }

    /// Runs a batch: images are spread over the cores, and within an image each step is.
    ///
    /// # Shapes
    ///
    /// - images: `fill` is asked for some of them at a time, and writes `[N, H, W, C]`, channels last
    /// - returns: each value that was asked for, `[N, rows, columns, channels]`
    pub fn run(
        &self,
        batch: usize,
        fill: impl Fn(Range<usize>, &mut [f32]) + Sync,
    ) -> Vec<Vec<f32>> {
        let groups: Vec<Range<usize>> = (0..batch)
            .step_by(self.together)
            .map(|first| first..(first + self.together).min(batch))
            .collect();
        let made: Vec<OnceLock<Vec<Vec<f32>>>> = groups.iter().map(|_| OnceLock::new()).collect();
        cpu::parallel(groups.len(), |index| {
            let images = groups[index].clone();
            let count = images.len();
            let mut slots = self.slots(count, |slot| fill(images, slot));
            self.each(|jobs| self.work(jobs, count, &mut slots));
            let outputs = self.outputs.iter();
            let outputs = outputs.map(|&value| self.copied(&slots, value, count));
            made[index].get_or_init(|| outputs.collect());
            self.keep(slots);
        });
        let mut outputs = vec![Vec::new(); self.outputs.len()];
        for part in made.into_iter().filter_map(OnceLock::into_inner) {
            for (whole, part) in outputs.iter_mut().zip(part) {
                whole.extend(part);
            }
        }
        outputs
    }

    /// A value's numbers, one position after the other.
    fn copied(&self, slots: &[Vec<f32>], value: ValueId, batch: usize) -> Vec<f32> {
        let shape = self.shapes[value];
        let mut values = vec![0.0; batch * shape.numbers()];
        let whole = Place {
            slot: 0,
            pitch: shape.channels,
            offset: 0,
        };
        let target = view_mut(&mut values, whole, shape, batch);
        cpu::copy(self.view(slots, value, batch), target);
        values
    }

    /// Runs a batch and says how long each step took, by a clock that counts seconds.
    pub fn profile(
        &self,
        batch: usize,
        fill: impl FnOnce(&mut [f32]),
        clock: impl Fn() -> f64 + Sync,
    ) -> Vec<Timing> {
        let mut slots = self.slots(batch, fill);
        let mut timings = Vec::with_capacity(self.jobs.len());
        self.each(|jobs| {
            let start = clock();
            self.work(jobs, batch, &mut slots);
            let sum = |of: &dyn Fn(&Job<Kind>) -> u64| jobs.iter().map(of).sum::<u64>();
            timings.push(Timing {
                name: jobs[0].name.clone(),
                kind: match jobs {
                    [job] => job.kind.name(),
                    _ => "strips",
                },
                macs: sum(&|job| job.macs) * batch as u64,
                executed: sum(&|job| self.executed(job)) * batch as u64,
                seconds: clock() - start,
            });
        });
        self.keep(slots);
        timings
    }

    /// Calls `work` with the jobs that are done together, in order.
    fn each<'a>(&'a self, mut work: impl FnMut(&'a [Job<Kind>])) {
        let mut first = 0;
        for (last, joined) in self.joined.iter().enumerate() {
            if !joined {
                work(&self.jobs[first..=last]);
                first = last + 1;
            }
        }
    }

    /// Buffers, large enough, with the images in them.
    fn slots(&self, batch: usize, fill: impl FnOnce(&mut [f32])) -> Workspace {
        let kept = self
            .workspaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut slots = kept.unwrap_or_default();
        slots.resize_with(self.places.slots.len(), Vec::new);
        for (slot, &size) in slots.iter_mut().zip(&self.places.slots) {
            if slot.len() < batch * size {
                *slot = vec![0.0; batch * size];
            }
        }
        let image = &mut slots[self.places.values[0].slot];
        fill(&mut image[..batch * self.shapes[0].numbers()]);
        slots
    }

    fn keep(&self, slots: Workspace) {
        let mut kept = self
            .workspaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.push(slots);
    }

    /// Multiply-adds that are carried out for one image; see [`cpu::Conv::multiply_adds`].
    pub fn multiply_adds(&self) -> u64 {
        self.jobs.iter().map(|job| self.executed(job)).sum()
    }

    /// Those of one step.
    fn executed(&self, job: &Job<Kind>) -> u64 {
        let size = |value: ValueId| [self.shapes[value].rows, self.shapes[value].columns];
        match &job.kind {
            Kind::Conv(conv, _) => conv.multiply_adds(size(job.inputs[0]), size(job.output)),
            Kind::ConvTranspose(conv, _) => {
                conv.multiply_adds(size(job.inputs[0]), size(job.output))
            }
            _ => job.macs,
        }
    }

    /// What each step is made into, for listings: name, kind of kernel.
    pub fn listing(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let jobs = self.jobs.iter();
        jobs.map(|job| (job.name.as_str(), job.kind.name()))
    }

    /// Does two convolutions together.
    fn in_strips(
        &self,
        first: &Job<Kind>,
        second: &Job<Kind>,
        batch: usize,
        slots: &mut [Vec<f32>],
    ) {
        let (Kind::Conv(conv, ending), Kind::Conv(next, last)) = (&first.kind, &second.kind) else {
            unreachable!("only convolutions are done together");
        };
        let place = self.places.values[second.output];
        let mut written = std::mem::take(&mut slots[place.slot]);
        let output = view_mut(&mut written, place, self.shapes[second.output], batch);
        let between = self.shapes[first.output];
        conv.run_before(
            activation(ending.activation),
            (next, activation(last.activation)),
            self.view(slots, first.inputs[0], batch),
            [between.rows, between.columns],
            output,
        );
        slots[place.slot] = written;
    }

    fn view<'a>(&self, slots: &'a [Vec<f32>], value: ValueId, batch: usize) -> View<'a> {
        let (place, shape) = (self.places.values[value], self.shapes[value]);
        View {
            data: &slots[place.slot][place.offset..],
            batch,
            rows: shape.rows,
            columns: shape.columns,
            channels: shape.channels,
            pitch: place.pitch,
        }
    }

    /// Copies what does not lie in its place of a joined value yet.
    fn join(
        &self,
        copies: &[(ValueId, usize)],
        place: Place,
        batch: usize,
        slots: &mut [Vec<f32>],
    ) {
        let mut written = std::mem::take(&mut slots[place.slot]);
        for &(value, offset) in copies {
            let there = Place { offset, ..place };
            let target = view_mut(&mut written, there, self.shapes[value], batch);
            cpu::copy(self.view(slots, value, batch), target);
        }
        slots[place.slot] = written;
    }

    /// Does one job, or two together.
    fn work(&self, jobs: &[Job<Kind>], batch: usize, slots: &mut [Vec<f32>]) {
        let (job, next) = (&jobs[0], jobs.get(1));
        if let (false, Some(next)) = (cfg!(target_family = "wasm"), next) {
            return self.in_strips(job, next, batch, slots);
        }
        let place = self.places.values[job.output];
        let shape = self.shapes[job.output];
        match &job.kind {
            Kind::View => return,
            Kind::Concat(copies) => return self.join(copies, place, batch, slots),
            _ => {}
        }
        // The output's slot is never an input's: out of the table, it can be written while they are
        // read.
        let mut written = std::mem::take(&mut slots[place.slot]);
        let input = |number: usize| self.view(slots, job.inputs[number], batch);
        let residual = |ending: &Ending| ending.residual.then(|| input(job.inputs.len() - 1));
        let x = input(0);
        let output = view_mut(&mut written, place, shape, batch);
        match &job.kind {
            Kind::Conv(conv, ending) => {
                conv.run(x, residual(ending), activation(ending.activation), output);
            }
            Kind::ConvTranspose(conv, ending) => {
                conv.run(x, residual(ending), activation(ending.activation), output);
            }
            Kind::Linear(linear, ending) => {
                linear.run(x, residual(ending), activation(ending.activation), output);
            }
            Kind::Affine(scale, shift, function) => cpu::affine(x, scale, shift, *function, output),
            Kind::LayerNorm(gamma, beta, epsilon) => {
                cpu::layer_norm(x, gamma, beta, *epsilon, output);
            }
            Kind::GroupNorm(groups, gamma, beta, epsilon, function) => {
                cpu::group_norm(x, *groups, gamma, beta, *epsilon, *function, output);
            }
            Kind::Resize(filter) => cpu::resize(*filter, x, output),
            Kind::Activate(function) => cpu::activate(*function, x, output),
            Kind::MaxPool(pool) => cpu::max_pool(pool, x, output),
            Kind::AvgPool(pool) => cpu::avg_pool(pool, x, output),
            Kind::AdaptiveAvgPool => cpu::adaptive_avg_pool(x, output),
            Kind::Add(function) => cpu::add(x, input(1), *function, output),
            Kind::Gate => cpu::gate(x, input(1), output),
            Kind::View | Kind::Concat(_) => {}
            Kind::Shuffle(groups) => each_position(x, output, |from, to| {
                let each = from.len() / groups;
                for (channel, value) in from.iter().enumerate() {
                    to[channel % each * groups + channel / each] = *value;
                }
            }),
            Kind::FlattenMaps => flatten_maps(x, output),
            Kind::ClassToken(token) => class_token(x, token, output),
            Kind::FirstToken => {
                let first = View { columns: 1, ..x };
                each_image(
                    first,
                    output,
                    |from, to| {
                        to[..x.channels].copy_from_slice(&from[..x.channels]);
                    },
                    x.rows * x.columns * x.pitch,
                );
            }
            Kind::Positions(vectors) => {
                let whole = x.rows * x.columns * x.channels;
                let images = x.data.chunks(whole).zip(output.data.chunks_mut(whole));
                for (from, to) in images.take(batch) {
                    for ((to, from), vector) in to.iter_mut().zip(from).zip(vectors) {
                        *to = from + vector;
                    }
                }
            }
            Kind::MergePatches => merge_patches(x, output),
            Kind::Gather(order) => gather(x, order, output),
            Kind::Attention(parts) => {
                let shape = AttentionShape {
                    windows: batch * parts.windows,
                    tokens: parts.tokens,
                    heads: parts.heads,
                    depth: parts.depth,
                    per_head: parts.per_head,
                    scale: parts.scale,
                    cosine: parts.cosine.as_deref(),
                    bias: parts.bias.as_deref(),
                    mask: parts.mask.as_deref(),
                    mask_windows: parts.windows,
                };
                let positions = batch * parts.windows * parts.tokens;
                let width = parts.heads * parts.depth;
                cpu::attention(
                    &shape,
                    &x.data[..3 * positions * width],
                    &mut output.data[..positions * width],
                );
            }
        }
        slots[place.slot] = written;
    }
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Conv(conv, _) => conv.algorithm(),
            Self::ConvTranspose(..) => "transposed",
            Self::Linear(..) => "linear",
            Self::Affine(..) => "affine",
            Self::LayerNorm(..) => "layer norm",
            Self::GroupNorm(..) => "group norm",
            Self::Resize(_) => "resize",
            Self::Activate(_) => "activate",
            Self::MaxPool(_) | Self::AvgPool(_) | Self::AdaptiveAvgPool => "pool",
            Self::Add(_) => "add",
            Self::Gate => "gate",
            Self::Concat(copies) if copies.is_empty() => "in place",
            Self::View => "in place",
            Self::Attention(_) => "attention",
            Self::Concat(_)
            | Self::Shuffle(_)
            | Self::FlattenMaps
            | Self::ClassToken(_)
            | Self::FirstToken
            | Self::Positions(_)
            | Self::MergePatches
            | Self::Gather(_) => "move",
        }
    }
}

/// Packs a step's numbers.
/// Packs a step's weights, unless the same step of a sibling has them: `known`.
fn pack(work: Work<'_>, input_shape: Shape, known: Option<&Kind>) -> Kind {
    match work {
        Work::Conv {
            conv,
            input,
            weight,
            bias,
            ending,
        } => {
            let size = [input_shape.rows, input_shape.columns];
            let geometry = geometry(&conv, input, size);
            let packed = match known {
                Some(Kind::Conv(known, _)) if known.is_for(&geometry, size) => Arc::clone(known),
                _ => Arc::new(cpu::Conv::new(geometry, given(&weight), &bias, size)),
            };
            Kind::Conv(packed, ending)
        }
        Work::ConvTranspose {
            conv,
            input,
            weight,
            bias,
            ending,
        } => {
            let geometry = ConvGeometry {
                input,
                output: conv.filters,
                kernel: conv.kernel,
                stride: conv.stride,
                padding: conv.padding,
                dilation: conv.dilation,
                groups: conv.groups,
            };
            let weights = cpu::Weights {
                numbers: weight,
                factors: &[],
            };
            let size = [input_shape.rows, input_shape.columns];
            Kind::ConvTranspose(
                cpu::ConvTranspose::new(geometry, weights, &bias, size),
                ending,
            )
        }
        Work::Linear {
            weight,
            bias,
            ending,
        } => {
            let (input, output) = (weight.count() / bias.len(), bias.len());
            let packed = match known {
                Some(Kind::Linear(known, _)) if known.size() == [input, output] => {
                    Arc::clone(known)
                }
                _ => Arc::new(cpu::Linear::new(input, output, given(&weight), &bias)),
            };
            Kind::Linear(packed, ending)
        }
        Work::Affine {
            scale,
            shift,
            activation: function,
        } => Kind::Affine(scale, shift, activation(function)),
        Work::LayerNorm {
            gamma,
            beta,
            epsilon,
        } => Kind::LayerNorm(gamma, beta, epsilon),
        Work::GroupNorm {
            groups,
            gamma,
            beta,
            epsilon,
            activation: function,
        } => Kind::GroupNorm(groups, gamma, beta, epsilon, activation(function)),
        Work::Resize(Resample::Nearest) => Kind::Resize(cpu::Filter::Nearest),
        Work::Resize(Resample::Bilinear) => Kind::Resize(cpu::Filter::Bilinear),
        Work::Activate(function) => Kind::Activate(activation(Some(function))),
        Work::MaxPool(p) => Kind::MaxPool(pool(p)),
        Work::AvgPool(p) => Kind::AvgPool(pool(p)),
        Work::AdaptiveAvgPool => Kind::AdaptiveAvgPool,
        Work::Add {
            activation: function,
        } => Kind::Add(activation(function)),
        Work::Gate => Kind::Gate,
        Work::Concat => Kind::Concat(Vec::new()),
        Work::Chunk { .. } | Work::Reshape => Kind::View,
        Work::Shuffle { groups } => Kind::Shuffle(groups),
        Work::FlattenMaps => Kind::FlattenMaps,
        Work::ClassToken(token) => Kind::ClassToken(token),
        Work::FirstToken => Kind::FirstToken,
        Work::Positions(vectors) => Kind::Positions(vectors),
        Work::MergePatches => Kind::MergePatches,
        Work::Gather(order) => Kind::Gather(order),
        Work::LeaveOut { .. } => unreachable!("a network that answers leaves nothing out"),
        Work::Attention(parts) => Kind::Attention(parts),
    }
}

fn given<'a>(weight: &'a Weight<'_>) -> cpu::Weights<'a> {
    cpu::Weights {
        numbers: weight.plain(),
        factors: weight.factors(),
    }
}

/// The geometry for maps of this size: TensorFlow's padding depends on it.
pub(crate) fn geometry(conv: &Conv, input: usize, size: [usize; 2]) -> ConvGeometry {
    let padding = conv.padding_of(size).map(|(before, _)| before);
    ConvGeometry {
        input,
        output: conv.filters,
        kernel: conv.kernel,
        stride: conv.stride,
        padding,
        dilation: conv.dilation,
        groups: conv.groups,
    }
}

pub(crate) fn pool(pool: Pool) -> cpu::Pool {
    cpu::Pool {
        kernel: [pool.kernel; 2],
        stride: [pool.stride; 2],
        padding: [pool.padding; 2],
    }
}

pub(crate) fn activation(function: Option<Nonlinearity>) -> cpu::Activation {
    match function {
        None => cpu::Activation::None,
        Some(Nonlinearity::Relu) => cpu::Activation::Relu,
        Some(Nonlinearity::Relu6) => cpu::Activation::Relu6,
        Some(Nonlinearity::Silu) => cpu::Activation::Silu,
        Some(Nonlinearity::HardSwish) => cpu::Activation::HardSwish,
        Some(Nonlinearity::HardSigmoid) => cpu::Activation::HardSigmoid,
        Some(Nonlinearity::Sigmoid) => cpu::Activation::Sigmoid,
        Some(Nonlinearity::Gelu) => cpu::Activation::Gelu,
        Some(Nonlinearity::Tanh) => cpu::Activation::Tanh,
    }
}

fn view_mut(data: &mut [f32], place: Place, shape: Shape, batch: usize) -> ViewMut<'_> {
    ViewMut {
        data: &mut data[place.offset..],
        batch,
        rows: shape.rows,
        columns: shape.columns,
        channels: shape.channels,
        pitch: place.pitch,
    }
}

/// Applies `act` to the channels of each position.
fn each_position(input: View, output: ViewMut, act: impl Fn(&[f32], &mut [f32])) {
    let positions = input.batch * input.rows * input.columns;
    let from = input.data.chunks(input.pitch);
    let to = output.data.chunks_mut(output.pitch);
    for (from, to) in from.zip(to).take(positions) {
        act(&from[..input.channels], &mut to[..output.channels]);
    }
}

/// Applies `act` to each image, which is `stride` numbers long in the input.
fn each_image(input: View, output: ViewMut, act: impl Fn(&[f32], &mut [f32]), stride: usize) {
    let size = output.rows * output.columns * output.pitch;
    let images = input.data.chunks(stride).zip(output.data.chunks_mut(size));
    for (from, to) in images.take(input.batch) {
        act(from, to);
    }
}

fn flatten_maps(input: View, output: ViewMut) {
    let positions = input.rows * input.columns;
    let act = |from: &[f32], to: &mut [f32]| {
        for (position, values) in from.chunks(input.pitch).take(positions).enumerate() {
            for (channel, value) in values[..input.channels].iter().enumerate() {
                to[channel * positions + position] = *value;
            }
        }
    };
    each_image(input, output, act, positions * input.pitch);
}

fn class_token(input: View, token: &[f32], output: ViewMut) {
    let act = |from: &[f32], to: &mut [f32]| {
        let (first, rest) = to.split_at_mut(token.len());
        first.copy_from_slice(token);
        rest.copy_from_slice(from);
    };
    each_image(input, output, act, input.columns * input.channels);
}

/// The upper left, lower left, upper right and lower right of each two by two positions; what is
/// missing is zero.
fn merge_patches(input: View, output: ViewMut) {
    let (rows, columns, channels) = (output.rows, output.columns, input.channels);
    let act = |from: &[f32], to: &mut [f32]| {
        for (index, merged) in to.chunks_mut(4 * channels).take(rows * columns).enumerate() {
            for (part, target) in merged.chunks_mut(channels).enumerate() {
                let row = 2 * (index / columns) + part % 2;
                let column = 2 * (index % columns) + part / 2;
                if row < input.rows && column < input.columns {
                    let at = (row * input.columns + column) * input.pitch;
                    target.copy_from_slice(&from[at..at + channels]);
                } else {
                    target.fill(0.0);
                }
            }
        }
    };
    let stride = input.rows * input.columns * input.pitch;
    each_image(input, output, act, stride);
}

fn gather(input: View, order: &[Option<u32>], output: ViewMut) {
    let (channels, pitch) = (input.channels, input.pitch);
    let act = |from: &[f32], to: &mut [f32]| {
        for (position, target) in order.iter().zip(to.chunks_mut(channels)) {
            match position {
                Some(position) => {
                    let at = *position as usize * pitch;
                    target.copy_from_slice(&from[at..at + channels]);
                }
                None => target.fill(0.0),
            }
        }
    };
    let stride = input.rows * input.columns * pitch;
    each_image(input, output, act, stride);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::find;
    use crate::compiled::{fuse, lower};
    use crate::graph::Options;
    use crate::weights::{Generated, state_dict, take};

    #[test]
    fn what_is_done_in_strips_gives_the_bits_of_one_step_after_the_other() {
        for name in ["mobilenet_v3_large", "efficientnet_lite0"] {
            let side = 224;
            let architecture = find(name).unwrap();
            let graph = architecture.whole_graph([3, side, side], &Options::default(), 10);
            let graph = graph.unwrap();
            let (tensors, _) = take(graph.tensors(), &Generated).unwrap();
            let tensors = state_dict([&tensors]);
            let program = lower(&graph, &tensors, &[graph.output()]).unwrap();
            let mut processor = Processor::new(fuse(program));
            let fill = |images: Range<usize>, slot: &mut [f32]| {
                for (at, number) in slot.iter_mut().enumerate() {
                    *number = ((at + images.start) % 251) as f32 / 125.0 - 1.0;
                }
            };
            let bits = |processor: &Processor| -> Vec<u32> {
                let outputs = processor.run(2, fill).concat();
                outputs.iter().map(|number| number.to_bits()).collect()
            };
            let in_strips = bits(&processor);
            let mut joined = processor.joined.iter();
            assert!(joined.any(|joined| *joined), "{name}");
            processor.joined.fill(false);
            assert_eq!(in_strips, bits(&processor), "{name}");
        }
    }
}
