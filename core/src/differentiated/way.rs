//! A batch's way through a course and back, a job after the other.

use rekindle_cpu::Lines;

use super::job::{Job, Kind};
use super::pass::{Gradients, Pass};
use super::{attention, moves, norm, product};

impl Pass<'_> {
    /// Goes forward, and returns the answers, `[N, answers]`.
    pub fn forward(&mut self) -> Vec<f32> {
        self.there(&mut || false);
        self.answers()
    }

    /// Goes forward until it is enough, asked after each job; says whether all are done.
    pub fn there(&mut self, enough: &mut dyn FnMut() -> bool) -> bool {
        let course = self.course;
        while let Some(job) = course.jobs.get(self.at) {
            let (index, began) = (self.at, self.now());
            self.job(index, job);
            self.spent(index, 0, began);
            match self.plan {
                Some(plan) => {
                    for &value in &plan.done_there[index] {
                        self.drop_value(value);
                    }
                }
                None => self.drop_unused(index),
            }
            self.at += 1;
            if enough() {
                break;
            }
        }
        self.at == course.jobs.len()
    }

    /// The answers, `[N, answers]`, at the end of the way there.
    pub fn answers(&self) -> Vec<f32> {
        let course = self.course;
        let count = self.batch * course.shapes[course.output].numbers();
        let answers = self.values[course.roots[course.output]].as_ref();
        answers.map_or_else(Vec::new, |answers| answers[..count].to_vec())
    }

    /// On a way that is not gone back: what no later job takes.
    fn drop_unused(&mut self, index: usize) {
        let course = self.course;
        let job = &course.jobs[index];
        for &value in &job.inputs {
            let root = course.roots[value];
            let is_taken = |later: &Job| {
                later
                    .inputs
                    .iter()
                    .any(|&other| course.roots[other] == root)
            };
            if root != course.roots[course.output] && !course.jobs[index + 1..].iter().any(is_taken)
            {
                self.drop_value(root);
            }
        }
    }

    /// Goes back from the gradient of the answers, `[N, answers]`, and adds up what it finds of the tensors that learn.
    pub fn backward(&mut self, slope: &[f32], gradients: &mut Gradients) {
        self.turn(slope);
        self.back(gradients, &mut || false);
    }

    /// Turns round at the answers, with their gradient, `[N, answers]`.
    pub fn turn(&mut self, slope: &[f32]) {
        let course = self.course;
        let mut of_answers = self.room(course.output);
        of_answers[..slope.len()].copy_from_slice(slope);
        self.slopes[course.roots[course.output]] = Some(of_answers);
    }

    /// Goes back until it is enough, asked after each job; says whether all are done.
    pub fn back(&mut self, gradients: &mut Gradients, enough: &mut dyn FnMut() -> bool) -> bool {
        let (course, Some(plan)) = (self.course, self.plan) else {
            return true;
        };
        while let Some(index) = self.at.checked_sub(1) {
            let job = &course.jobs[index];
            let mut is_done = false;
            if plan.carries[job.output]
                && let Some(slope) = self.slopes[course.roots[job.output]].take()
            {
                let began = self.now();
                self.job_back(index, job, slope, gradients);
                self.spent(index, 1, began);
                is_done = true;
            }
            for &value in &plan.done_back[index] {
                self.drop_value(value);
            }
            self.at = index;
            if is_done && enough() {
                break;
            }
        }
        self.at == 0
    }

    fn now(&self) -> f64 {
        self.watch.as_ref().map_or(0.0, |watch| (watch.clock)())
    }

    fn spent(&mut self, index: usize, way: usize, began: f64) {
        if let Some(watch) = &mut self.watch {
            watch.spent[index][way] += (watch.clock)() - began;
        }
    }

    fn job(&mut self, index: usize, job: &Job) {
        match &job.kind {
            Kind::Product(product) => product::forward(self, index, job, product),
            Kind::BatchNorm(norm, ending) => norm::batch_norm(self, index, job, norm, *ending),
            Kind::LayerNorm(norm) => norm::layer_norm(self, job, norm),
            Kind::Attention(attention) => attention::forward(self, job, attention),
            _ => moves::forward(self, index, job),
        }
    }

    fn job_back(&mut self, index: usize, job: &Job, slope: Lines, gradients: &mut Gradients) {
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
