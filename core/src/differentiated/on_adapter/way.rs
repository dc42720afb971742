//! A batch's way through a course and back on an adapter, a job after the other.

use burn::tensor::Tensor;
use rekindle_cpu::{Activation, Pool};
use rekindle_shaders::Window;

use super::super::job::{Job, Kind, LeaveOut};
use super::super::plan::Act;
use super::pass::{Pass, function, window};
use super::{attention, norm, product, recorded};
use crate::kernels::way_back::{
    activated, added, avg_pool_gradient, avg_pooled, channel_products, image_products,
    max_pool_gradient, max_pooled, through,
};
use crate::kernels::{self, gate, global_average};

impl Pass<'_> {
    /// Goes forward, and returns the answers.
    ///
    /// # Shapes
    ///
    /// - returns: `[N, answers]`
    pub fn forward(&mut self) -> Tensor<2> {
        let (course, plan) = (self.course, self.plan);
        let mut answers = None;
        for (at, &act) in plan.acts.iter().enumerate() {
            if let Act::There { job, .. } = act {
                self.job(job, &course.jobs[job]);
            }
            if act == Act::Turn {
                answers = Some(self.value(course.output));
            }
            self.done(at);
            if answers.is_some() {
                break;
            }
        }
        let answers = answers.unwrap_or_else(|| unreachable!("every way turns at its answers"));
        answers.reshape([self.batch, course.shapes[course.output].numbers()])
    }

    /// Goes back from the gradient of the answers, and adds up what it finds of the tensors that learn.
    ///
    /// # Shapes
    ///
    /// - slope: `[N, answers]`
    pub fn backward(&mut self, slope: Tensor<2>) {
        let (course, plan) = (self.course, self.plan);
        let slope = slope.reshape(self.dims(course.output));
        self.set_slope(course.output, slope);
        let acts = plan.acts.iter().enumerate();
        for (at, &act) in acts.skip_while(|(_, act)| **act != Act::Turn).skip(1) {
            match act {
                Act::Back { job } => {
                    let job_there = &course.jobs[job];
                    if let Some(slope) = self.take_slope(job_there.output) {
                        self.job_back(job, job_there, slope);
                    }
                }
                Act::Remake { job } => self.remake(job, &course.jobs[job]),
                Act::Again { .. } | Act::There { .. } | Act::Turn => {
                    unreachable!("adapters keep what they made")
                }
            }
            self.done(at);
        }
    }

    /// Lets go of what nobody needs behind an act.
    fn done(&mut self, act: usize) {
        let plan = self.plan;
        for &value in &plan.done[act] {
            self.drop_value(value);
        }
    }

    /// Makes a job's output once more, of what is kept of it.
    fn remake(&mut self, index: usize, job: &Job) {
        let (before, of) = match &job.kind {
            Kind::Product(product) => {
                if let Some(norm) = product::follows(self, product) {
                    let made = norm::by_batch_again(self, index, job, &norm, product.ending);
                    return self.put(job.output, made);
                }
                (self.keep(index).before.clone(), product.ending.activation)
            }
            Kind::BatchNorm(norm, ending) if self.learns(norm.mean) => {
                let made = norm::by_batch_again(self, index, job, norm, *ending);
                return self.put(job.output, made);
            }
            Kind::BatchNorm(_, ending) => (self.keep(index).before.clone(), ending.activation),
            Kind::Activate(of) => (Some(self.value(job.inputs[0])), *of),
            _ => (None, Activation::None),
        };
        let Some(before) = before else {
            unreachable!("'{}' kept what its function was given", job.name)
        };
        self.put(job.output, activated(before, function(of)));
    }

    fn job(&mut self, index: usize, job: &Job) {
        let made = match &job.kind {
            Kind::Product(product) => return product::forward(self, index, job, product),
            Kind::BatchNorm(norm, ending) => {
                return norm::batch_norm(self, index, job, norm, *ending);
            }
            Kind::LayerNorm(norm) => return norm::layer_norm(self, job, norm),
            Kind::Scale(factors) => norm::scaled(self.value(job.inputs[0]), self.tensor(*factors)),
            Kind::Affine(scale, shift) => {
                let count = scale.len();
                let [scale, shift] = [scale, shift].map(|of| self.sent(of.clone(), [count]));
                kernels::affine(self.value(job.inputs[0]), scale, shift, None)
            }
            Kind::Activate(of) => activated(self.value(job.inputs[0]), function(*of)),
            Kind::MaxPool(pool) => max_pooled(self.value(job.inputs[0]), self.pooling(job, pool)),
            Kind::AvgPool(pool) => avg_pooled(self.value(job.inputs[0]), self.pooling(job, pool)),
            Kind::AdaptiveAvgPool if self.shape(job.output).positions() == 1 => {
                global_average(self.value(job.inputs[0]))
            }
            Kind::Add(of) => {
                let [x, y] = [0, 1].map(|input| self.value(job.inputs[input]));
                added(x, y, function(*of))
            }
            Kind::Gate => gate(self.value(job.inputs[0]), self.value(job.inputs[1])),
            Kind::LeaveOut(left_out) => self.leave_out(index, job, *left_out),
            Kind::Attention(of) if attention::is_plain(of) => attention::forward(self, job, of),
            Kind::AdaptiveAvgPool
            | Kind::Concat
            | Kind::Chunk(_)
            | Kind::Shuffle(_)
            | Kind::FlattenMaps
            | Kind::ClassToken(_)
            | Kind::FirstToken
            | Kind::Positions(_)
            | Kind::Gather(_)
            | Kind::MergePatches
            | Kind::Attention(_) => recorded::forward(self, index, job),
        };
        self.put(job.output, made);
    }

    fn job_back(&mut self, index: usize, job: &Job, slope: Tensor<4>) {
        let input = job.inputs[0];
        let of_input = match &job.kind {
            Kind::Product(product) => return product::backward(self, index, job, product, slope),
            Kind::BatchNorm(norm, ending) => {
                return norm::batch_norm_back(self, index, job, norm, *ending, slope);
            }
            Kind::LayerNorm(norm) => return norm::layer_norm_back(self, job, norm, slope),
            Kind::Scale(factors) => {
                let scale = self.tensor(*factors);
                if self.learns(*factors) {
                    let [products, _] = channel_products(self.value(input), slope.clone(), None);
                    self.gradient(*factors, products);
                }
                norm::scaled(slope, scale)
            }
            Kind::Affine(scale, _) => norm::scaled(slope, self.sent(scale.clone(), [scale.len()])),
            Kind::Activate(of) => {
                let of = function(*of);
                let kept = if of.keeps_output() { job.output } else { input };
                through(of, self.value(kept), slope)
            }
            Kind::MaxPool(pool) => {
                let window = self.pooling(job, pool);
                // Small beside what came in, and not kept: made again.
                let x = self.value(input);
                let made = max_pooled(x.clone(), window);
                max_pool_gradient(x, made, slope, window)
            }
            Kind::AvgPool(pool) => avg_pool_gradient(slope, self.pooling(job, pool)),
            Kind::AdaptiveAvgPool if self.shape(job.output).positions() == 1 => {
                avg_pool_gradient(slope, self.whole(job))
            }
            Kind::Add(of) => {
                let slope = match of {
                    Activation::None => slope,
                    of => through(function(*of), self.value(job.output), slope),
                };
                let carrying = job.inputs.iter().filter(|&&value| self.carries(value));
                for value in carrying.copied().collect::<Vec<_>>() {
                    self.add_slope(value, slope.clone());
                }
                return;
            }
            Kind::Gate => return self.gate_back(job, slope),
            Kind::LeaveOut(_) => match self.keep(index).factors.take() {
                Some(factors) => slope * factors,
                None => slope,
            },
            Kind::Attention(of) if attention::is_plain(of) => {
                attention::backward(self, job, of, slope)
            }
            Kind::AdaptiveAvgPool
            | Kind::Concat
            | Kind::Chunk(_)
            | Kind::Shuffle(_)
            | Kind::FlattenMaps
            | Kind::ClassToken(_)
            | Kind::FirstToken
            | Kind::Positions(_)
            | Kind::Gather(_)
            | Kind::MergePatches
            | Kind::Attention(_) => return recorded::backward(self, index, slope),
        };
        if self.carries(input) {
            self.add_slope(input, of_input);
        }
    }

    fn pooling(&self, job: &Job, pool: &Pool) -> Window {
        let sides = [pool.kernel, pool.stride, [1, 1], pool.padding];
        window(sides, self.shape(job.inputs[0]), self.shape(job.output))
    }

    /// A window as large as the map.
    fn whole(&self, job: &Job) -> Window {
        let from = self.shape(job.inputs[0]);
        let sides = [[from.rows, from.columns], [1, 1], [1, 1], [0, 0]];
        window(sides, from, self.shape(job.output))
    }

    /// Each of the two is a factor of the other's gradient.
    fn gate_back(&mut self, job: &Job, slope: Tensor<4>) {
        let [input, of_gate] = [job.inputs[0], job.inputs[1]];
        let (x, factors) = (self.value(input), self.value(of_gate));
        if self.carries(of_gate) {
            let [_, rows, columns, channels] = self.dims(of_gate);
            let sum = match (rows, columns) {
                (1, 1) => image_products(x, slope.clone()),
                _ => x * slope.clone(),
            };
            let sum = if channels == 1 { sum.sum_dim(3) } else { sum };
            self.add_slope(of_gate, sum);
        }
        if self.carries(input) {
            let made = gate(slope, factors);
            self.add_slope(input, made);
        }
    }

    /// Draws what is left out, and multiplies.
    fn leave_out(&mut self, index: usize, job: &Job, left_out: LeaveOut) -> Tensor<4> {
        let x = self.value(job.inputs[0]);
        let Some(chance) = self.chance else { return x };
        let shape = self.shape(job.inputs[0]);
        let each = if left_out.each { shape.numbers() } else { 1 };
        let kept = (1.0 / (1.0 - left_out.share)) as f32;
        let draws = chance.draws(left_out.place, self.batch, each);
        let factor = |draw: f32| match f64::from(draw) < left_out.share {
            true => 0.0,
            false => kept,
        };
        let factors: Vec<f32> = draws.into_iter().map(factor).collect();
        let factors = match (left_out.each, left_out.turned) {
            (false, _) => self.sent(factors, [self.batch, 1, 1, 1]),
            (true, false) => self.sent(factors, self.dims(job.inputs[0])),
            (true, true) => {
                let lying = [self.batch, shape.channels, shape.rows, shape.columns];
                self.sent(factors, lying).permute([0, 2, 3, 1])
            }
        };
        if self.carries(job.output) {
            self.keep(index).factors = Some(factors.clone());
        }
        x * factors
    }
}
