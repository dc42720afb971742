//! Fewer jobs: what follows a product or a norm is done before its numbers are stored.

use rekindle_cpu::Activation;

use super::job::{Ending, Job, Kind};
use crate::program::ValueId;

/// Joins jobs with those that make what they take, where nobody else takes it.
pub(super) fn join(jobs: Vec<Job>, roots: &[ValueId], output: ValueId) -> Vec<Job> {
    let mut uses = vec![0; roots.len()];
    let all = jobs.iter().flat_map(|job| &job.inputs);
    for &value in all.chain([&output]) {
        uses[roots[value]] += 1;
    }
    let mut joined = Joined {
        jobs: Vec::with_capacity(jobs.len()),
        makers: vec![None; roots.len()],
        uses,
    };
    for job in jobs {
        joined.take(job);
    }
    joined.jobs
}

struct Joined {
    jobs: Vec<Job>,
    /// The job that makes each value.
    makers: Vec<Option<usize>>,
    /// How often each value is taken.
    uses: Vec<usize>,
}

impl Joined {
    /// Lets an earlier job do this one's work, or adds it.
    fn take(&mut self, job: Job) {
        let maker = match &job.kind {
            Kind::BatchNorm(norm, _) => {
                self.sole_maker(job.inputs[0])
                    .filter(|&maker| match &mut self.jobs[maker].kind {
                        Kind::Product(product)
                            if product.norm.is_none() && product.ending == Ending::default() =>
                        {
                            product.norm = Some(*norm);
                            true
                        }
                        _ => false,
                    })
            }
            Kind::Activate(function) => self.activate(job.inputs[0], *function),
            Kind::Add(Activation::None) => self.add(job.inputs[0], job.inputs[1]),
            _ => None,
        };
        let output = job.output;
        let index = match maker {
            Some(maker) => {
                self.jobs[maker].output = output;
                maker
            }
            None => {
                self.jobs.push(job);
                self.jobs.len() - 1
            }
        };
        self.makers[output] = Some(index);
    }

    /// The job that makes a value which nobody else takes.
    fn sole_maker(&self, value: ValueId) -> Option<usize> {
        self.makers[value].filter(|_| self.uses[value] == 1)
    }

    fn activate(&mut self, value: ValueId, function: Activation) -> Option<usize> {
        let maker = self.sole_maker(value)?;
        let activation = match &mut self.jobs[maker].kind {
            Kind::Product(product) => &mut product.ending.activation,
            Kind::BatchNorm(_, ending) => &mut ending.activation,
            // What it was given is not kept.
            Kind::Add(activation) if function.keeps_output() => activation,
            _ => return None,
        };
        let is_free = *activation == Activation::None;
        if is_free {
            *activation = function;
        }
        is_free.then_some(maker)
    }

    /// Lets the later of two jobs add what the other made.
    fn add(&mut self, a: ValueId, b: ValueId) -> Option<usize> {
        let made = |value: ValueId| self.makers[value];
        let (later, earlier) = if made(a) > made(b) { (a, b) } else { (b, a) };
        let maker = self.sole_maker(later)?;
        // Two values of one job, or a value with itself: nothing to be gained.
        if made(earlier) >= Some(maker) {
            return None;
        }
        let ending = match &mut self.jobs[maker].kind {
            Kind::Product(product) => &mut product.ending,
            Kind::BatchNorm(_, ending) => ending,
            _ => return None,
        };
        if *ending != Ending::default() {
            return None;
        }
        ending.residual = true;
        self.jobs[maker].inputs.push(earlier);
        Some(maker)
    }
}
