//! A batch's way through a course and back, a job after the other.

use super::job::{Job, Kind};
use super::layout::Buffer;
use super::pass::{Doing, Gradients, Pass};
use super::plan::Act;
use super::{attention, moves, norm, product};

impl Pass<'_> {
    /// Goes forward, and returns the answers, `[N, answers]`.
    pub fn forward(&mut self) -> Vec<f32> {
        let (course, plan) = (self.course, self.plan);
        let mut answers = Vec::new();
        for (at, &act) in plan.acts.iter().enumerate() {
            let is_turn = act == Act::Turn;
            match act {
                Act::There { job, keeps } => {
                    let doing = Doing {
                        act: at,
                        keeps,
                        again: false,
                        makes: true,
                    };
                    self.job(job, doing, 0);
                }
                _ => {
                    let made = self.values[course.roots[course.output]].as_deref();
                    answers = made.unwrap_or_default().to_vec();
                }
            }
            self.done(at);
            if is_turn {
                break;
            }
        }
        answers
    }

    /// Goes back from the gradient of the answers, `[N, answers]`, and adds up what it finds of the tensors that learn.
    pub fn backward(&mut self, slope: &[f32], gradients: &mut Gradients) {
        let (course, plan) = (self.course, self.plan);
        let acts = plan.acts.iter().enumerate();
        let mut acts = acts.skip_while(|(_, act)| **act != Act::Turn).skip(1);
        let is_first = gradients.is_empty();
        let mut of_answers = self.room(course.output);
        of_answers.copy_from_slice(slope);
        self.slopes[course.roots[course.output]] = Some(of_answers);
        for (at, &act) in &mut acts {
            match act {
                Act::There { .. } | Act::Turn => {}
                Act::Again { job, makes } => {
                    let doing = Doing {
                        act: at,
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
                        self.open(&course.jobs[job], gradients, is_first);
                        self.job_back(job, &course.jobs[job], slope, gradients);
                        self.spent(job, 1, began);
                    }
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
