//! How much memory a batch takes on its way there and back: what [`Pass`](super::Pass) will lend, without lending it.

use super::course::Course;
use super::job::{Job, Kind};
use super::parameters::Parameters;
use super::plan::Plan;
use crate::graph::Graph;
use crate::program::ValueId;

/// The bytes that so many images and their gradients hold at most on their way from the value `given` to the answers and
/// back, while the tensors learn that `learns` says; nothing where a step has no way back here.
pub fn pass_bytes(
    graph: &Graph,
    given: usize,
    images: usize,
    learns: impl Fn(&str) -> bool,
) -> Option<u64> {
    // Nobody reads them, so they take no memory.
    let parameters = Parameters::zeros(graph);
    let course = Course::new(graph, &parameters, given).ok()?;
    let all = 0..parameters.count();
    let plan = course.plan(all.map(|tensor| learns(parameters.name(tensor))).collect());
    let walk = Walk {
        course: &course,
        plan: &plan,
        parameters: &parameters,
        images,
        now: 0,
        most: 0,
    };
    Some(size_of::<f32>() as u64 * walk.most() as u64)
}

struct Walk<'a> {
    course: &'a Course,
    plan: &'a Plan,
    parameters: &'a Parameters,
    images: usize,
    /// Numbers that are held now, and at most.
    now: usize,
    most: usize,
}

impl Walk<'_> {
    fn of(&self, value: ValueId) -> usize {
        self.images * self.course.shapes[value].numbers()
    }

    fn take(&mut self, count: usize) {
        self.now += count;
        self.most = self.most.max(self.now);
    }

    /// There for a moment.
    fn touch(&mut self, count: usize) {
        self.most = self.most.max(self.now + count);
    }

    fn most(mut self) -> usize {
        let (course, plan) = (self.course, self.plan);
        let mut own = vec![0; course.jobs.len()];
        self.take(self.of(0));
        for (index, job) in course.jobs.iter().enumerate() {
            self.take(self.of(job.output));
            own[index] = self.own(job);
            self.take(own[index]);
            self.touch(self.packed(job));
            self.now -= plan.done_there[index]
                .iter()
                .map(|&value| self.of(value))
                .sum::<usize>();
        }
        let mut has_slope = vec![false; course.shapes.len()];
        has_slope[course.roots[course.output]] = true;
        self.take(self.of(course.output));
        for (index, job) in course.jobs.iter().enumerate().rev() {
            if plan.carries[job.output] {
                self.back(job, &mut has_slope);
                self.now -= own[index];
            }
            self.now -= plan.done_back[index]
                .iter()
                .map(|&value| self.of(value))
                .sum::<usize>();
        }
        self.most
    }

    /// A job on its way back: the gradient of what it made goes, those of what it took come.
    fn back(&mut self, job: &Job, has_slope: &mut [bool]) {
        let mut moment = 0;
        if let Kind::Product(product) = &job.kind {
            let weights = self.parameters.values(product.weight).len();
            let is_scaled = product
                .norm
                .is_some_and(|norm| !self.plan.learns(norm.mean));
            // Gradients of the weights as they are used, then those weights, and these packed.
            moment = if is_scaled { 2 * weights } else { weights };
        }
        for &value in &job.inputs {
            let root = self.course.roots[value];
            if !self.plan.carries[value] {
                continue;
            }
            match has_slope[root] {
                // Made apart, and added.
                true => moment += self.of(value),
                false => {
                    has_slope[root] = true;
                    self.take(self.of(value));
                }
            }
        }
        self.touch(moment);
        self.now -= self.of(job.output);
    }

    /// What a job keeps beside its output.
    fn own(&self, job: &Job) -> usize {
        if !self.plan.carries[job.output] {
            return 0;
        }
        let (norm, ending) = match &job.kind {
            Kind::Product(product) => (product.norm, product.ending),
            Kind::BatchNorm(_, ending) => (None, *ending),
            Kind::LeaveOut(left_out) => {
                return if left_out.each {
                    self.of(job.output)
                } else {
                    self.images
                };
            }
            _ => return 0,
        };
        let follows = norm.is_some_and(|norm| self.plan.learns(norm.mean));
        let kept = usize::from(follows) + usize::from(!ending.activation.keeps_output());
        kept * self.of(job.output)
    }

    /// A job's packed weights.
    fn packed(&self, job: &Job) -> usize {
        match &job.kind {
            Kind::Product(product) => self.parameters.values(product.weight).len(),
            _ => 0,
        }
    }
}
