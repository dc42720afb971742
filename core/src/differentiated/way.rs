//! A batch's way through a course and back, a job after the other.

use super::job::{Job, Kind};
use super::layout::Buffer;
use super::pass::{Doing, Gradients, Pass};
use super::plan::Act;
use super::{attention, moves, norm, product};

impl Pass<'_> {
    /// Goes forward, and returns the answers, `[N, answers]`.
    pub fn forward(&mut self) -> Vec<f32> {
        self.there(&mut || false);
        self.answers()
    }

    /// Goes forward until it is enough, asked after each job; says whether it has come to the answers.
    pub fn there(&mut self, enough: &mut dyn FnMut() -> bool) -> bool {
        let plan = self.plan;
        while let Act::There { job, keeps } = plan.acts[self.at] {
            let doing = Doing {
                keeps,
                again: false,
                makes: true,
            };
            self.job(job, doing, 0);
            self.done();
            if enough() {
                break;
            }
        }
        plan.acts[self.at] == Act::Turn
    }

    /// Reads the answers, `[N, answers]`, where the way turns round.
    pub fn answers(&mut self) -> Vec<f32> {
        let course = self.course;
        let made = self.values[course.roots[course.output]].as_deref();
        let answers = made.unwrap_or_default().to_vec();
        self.done();
        answers
    }

    /// Goes back from the gradient of the answers, `[N, answers]`, and adds up what it finds of the tensors that learn.
    pub fn backward(&mut self, slope: &[f32], gradients: &mut Gradients) {
        self.turn(slope, gradients);
        self.back(gradients, &mut || false);
    }

    /// Turns round with the gradient of the answers, `[N, answers]`, to add to these.
    pub fn turn(&mut self, slope: &[f32], gradients: &Gradients) {
        let course = self.course;
        self.is_first = gradients.is_empty();
        let mut of_answers = self.room(course.output);
        of_answers.copy_from_slice(slope);
        self.slopes[course.roots[course.output]] = Some(of_answers);
    }

    /// Goes back until it is enough, asked after each job; says whether all are done.
    pub fn back(&mut self, gradients: &mut Gradients, enough: &mut dyn FnMut() -> bool) -> bool {
        let (course, plan) = (self.course, self.plan);
        while let Some(&act) = plan.acts.get(self.at) {
            match act {
                Act::There { .. } | Act::Turn => {}
                Act::Again { job, makes } => {
                    let doing = Doing {
                        keeps: true,
                        again: true,
                        makes,
                    };
                    self.job(job, doing, 1);
                }
                Act::Remake { job } => {
                    let began = self.now();
                    self.remake(job);
                    self.spent(job, 1, began);
                }
                Act::Back { job } => {
                    let output = course.roots[course.jobs[job].output];
                    if let Some(slope) = self.slopes[output].take() {
                        let began = self.now();
                        self.open(&course.jobs[job], gradients, self.is_first);
                        self.job_back(job, &course.jobs[job], slope, gradients);
                        self.spent(job, 1, began);
                    }
                }
            }
            self.done();
            if enough() {
                break;
            }
        }
        self.at == plan.acts.len()
    }

    /// Ends an act: lets go of what nobody needs behind it.
    fn done(&mut self) {
        let plan = self.plan;
        for &value in &plan.done[self.at] {
            self.drop_value(value);
        }
        self.at += 1;
    }

    fn now(&self) -> f64 {
        self.watch.as_ref().map_or(0.0, |watch| (watch.clock)())
    }

    fn spent(&mut self, index: usize, way: usize, began: f64) {
        if let Some(watch) = &mut self.watch {
            watch.spent[index][way] += (watch.clock)() - began;
        }
    }

    fn job(&mut self, index: usize, doing: Doing, way: usize) {
        let began = self.now();
        self.doing = doing;
        let course = self.course;
        let job = &course.jobs[index];
        match &job.kind {
            Kind::Product(product) => product::forward(self, index, job, product),
            Kind::BatchNorm(norm, ending) => norm::batch_norm(self, index, job, norm, *ending),
            Kind::LayerNorm(norm) => norm::layer_norm(self, job, norm),
            Kind::Attention(attention) => attention::forward(self, job, attention),
            _ => moves::forward(self, index, job),
        }
        self.spent(index, way, began);
    }

    /// Makes a job's output of what is kept for its way back.
    fn remake(&mut self, index: usize) {
        let course = self.course;
        let job = &course.jobs[index];
        match &job.kind {
            Kind::Product(product) => {
                let norm = product.norm.as_ref();
                norm::remake(self, index, job, norm, product.ending);
            }
            Kind::BatchNorm(norm, ending) => {
                norm::remake(self, index, job, Some(norm), *ending);
            }
            Kind::LayerNorm(norm) => norm::layer_norm(self, job, norm),
            _ => moves::forward(self, index, job),
        }
    }

    fn job_back(&mut self, index: usize, job: &Job, slope: Buffer, gradients: &mut Gradients) {
        match &job.kind {
            Kind::Product(product) => {
                product::backward(self, index, job, product, slope, gradients)
            }
            Kind::BatchNorm(norm, ending) => {
                norm::batch_norm_back(self, index, job, norm, *ending, slope, gradients);
            }
            Kind::LayerNorm(norm) => norm::layer_norm_back(self, job, norm, slope, gradients),
            Kind::Attention(attention) => {
                attention::backward(self, job, attention, slope, gradients);
            }
            _ => moves::backward(self, index, job, slope, gradients),
        }
    }
}
