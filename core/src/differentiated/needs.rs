//! What the way back of each job takes, what of it is kept, and what is made again of what is.

use std::ops::Range;

use rekindle_cpu::Activation;

use super::course::Course;
use super::job::{Ending, Job, Kind};
use super::parameters::TensorId;
use super::parting::Parting;
use crate::program::ValueId;

/// What is done again before the way back of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redone {
    /// A job; whether its output is wanted, and not only what its way back takes.
    Job { job: usize, makes: bool },
    /// A job's output, of what is kept for its way back.
    Output { job: usize },
}

/// A course while some of its numbers learn.
pub(super) struct Needs<'a> {
    pub(super) course: &'a Course,
    pub(super) learns: &'a [bool],
    /// Of each value, whether a gradient goes back to it,
    pub(super) carries: &'a [bool],
    /// the job that makes it,
    makers: Vec<Option<usize>>,
    /// and the last one that takes it.
    takers: Vec<Option<usize>>,
}

impl<'a> Needs<'a> {
    pub(super) fn new(course: &'a Course, learns: &'a [bool], carries: &'a [bool]) -> Self {
        Self {
            course,
            learns,
            carries,
            makers: course.makers(),
            takers: course.takers(),
        }
    }

    /// The job that makes a value.
    pub(super) fn maker(&self, value: ValueId) -> Option<usize> {
        self.makers[self.course.roots[value]]
    }

    /// Whether a job behind a part takes a value that is made in it or before it.
    pub(super) fn crosses(&self, value: ValueId, part: &Range<usize>) -> bool {
        let taker = self.takers[self.course.roots[value]];
        taker.is_none_or(|taker| taker >= part.end)
    }

    /// Whether a job's output can be made of what is kept for its way back, by a pass over memory.
    pub(super) fn is_cheap(&self, job: &Job, parting: &Parting) -> bool {
        let of_norm = |is_by_batch: bool, ending: Ending| {
            let is_unmixed = is_by_batch && !ending.residual && parting.remakes;
            is_unmixed || !ending.activation.keeps_output()
        };
        let is_cheap = match &job.kind {
            Kind::Product(product) => of_norm(
                product.norm.is_some_and(|norm| self.learns[norm.mean]),
                product.ending,
            ),
            Kind::BatchNorm(norm, ending) => of_norm(self.learns[norm.mean], *ending),
            Kind::Activate(function) => !function.keeps_output(),
            Kind::LayerNorm(_) => parting.remakes,
            _ => false,
        };
        is_cheap && self.carries[self.course.roots[job.output]]
    }

    /// Whether a job's way back takes something that is no value.
    pub(super) fn keeps_own(&self, job: &Job) -> bool {
        self.carries[self.course.roots[job.output]] && keeps_own(job, self.learns)
    }

    /// Whether a value stays from when it is first made until it is needed last, although it is made in a part (or before
    /// it) of which little else is kept.
    pub(super) fn stays(&self, value: ValueId, part: &Range<usize>, parting: &Parting) -> bool {
        match self.maker(value).filter(|maker| part.contains(maker)) {
            Some(maker) => {
                self.crosses(value, part)
                    || (parting.holds[maker] && !self.is_cheap(&self.course.jobs[maker], parting))
            }
            None => true,
        }
    }

    /// The job whose output, this value, is not kept but made of what is kept for the job's way back.
    pub(super) fn cheap_maker(
        &self,
        value: ValueId,
        part: &Range<usize>,
        parting: &Parting,
    ) -> Option<usize> {
        let maker = self.maker(value)?;
        let is_cheap = self.is_cheap(&self.course.jobs[maker], parting);
        (is_cheap && !self.crosses(value, part)).then_some(maker)
    }

    /// What is done again before the way back of a part of which nothing was kept but what stays and what jobs hold.
    pub(super) fn redone(&self, part: &Range<usize>, parting: &Parting) -> Vec<Redone> {
        let course = self.course;
        let mut wanted = vec![false; course.shapes.len()];
        let mut open = Vec::new();
        for job in &course.jobs[part.clone()] {
            if !self.carries[course.roots[job.output]] {
                continue;
            }
            open.extend(kept(job, self.learns));
            while let Some(value) = open.pop() {
                let cheap = self.cheap_maker(value, part, parting);
                match cheap.filter(|maker| parting.twice && part.contains(maker)) {
                    Some(maker) => open.extend(remade_of(&course.jobs[maker], self.learns)),
                    None => wanted[course.roots[value]] = true,
                }
            }
        }
        let mut all = Vec::new();
        for index in part.clone().rev() {
            let job = &course.jobs[index];
            let makes = wanted[course.roots[job.output]] && !self.stays(job.output, part, parting);
            let own = self.keeps_own(job);
            if makes && own && parting.holds[index] {
                all.push(Redone::Output { job: index });
                for value in remade_of(job, self.learns) {
                    wanted[course.roots[value]] = true;
                }
            } else if makes || (own && !parting.holds[index]) {
                all.push(Redone::Job { job: index, makes });
                for &value in &job.inputs {
                    wanted[course.roots[value]] = true;
                }
            }
        }
        all.reverse();
        all
    }
}

/// The values that a job takes or makes, and needs again on its way back.
pub(super) fn kept(job: &Job, learns: &[bool]) -> Vec<ValueId> {
    let input = job.inputs[0];
    let any = |tensors: Vec<TensorId>| tensors.iter().any(|&tensor| learns[tensor]);
    let of_output = |ending: Ending| match ending.activation {
        Activation::None => false,
        function => function.keeps_output(),
    };
    let mut kept = Vec::new();
    match &job.kind {
        Kind::Product(product) => {
            let norm = product.norm.iter().flat_map(|norm| [norm.gamma, norm.mean]);
            if any([product.weight].into_iter().chain(norm).collect()) {
                kept.push(input);
            }
            if of_output(product.ending) {
                kept.push(job.output);
            }
        }
        Kind::BatchNorm(norm, ending) => {
            if any(vec![norm.gamma, norm.mean]) {
                kept.push(input);
            }
            if of_output(*ending) {
                kept.push(job.output);
            }
        }
        Kind::Activate(function) => kept.push(match function.keeps_output() {
            true => job.output,
            false => input,
        }),
        Kind::Add(Activation::None) => {}
        Kind::Add(_) => kept.push(job.output),
        Kind::Scale(factors) => {
            if learns[*factors] {
                kept.push(input);
            }
        }
        // Each is a factor of the other's gradient.
        Kind::Gate => kept.extend(&job.inputs),
        Kind::LayerNorm(_) | Kind::MaxPool(_) | Kind::Attention(_) => kept.push(input),
        Kind::Affine(..)
        | Kind::AvgPool(_)
        | Kind::AdaptiveAvgPool
        | Kind::Concat
        | Kind::Chunk(_)
        | Kind::Shuffle(_)
        | Kind::FlattenMaps
        | Kind::ClassToken(_)
        | Kind::FirstToken
        | Kind::Positions(_)
        | Kind::Gather(_)
        | Kind::MergePatches
        | Kind::LeaveOut(_) => {}
    }
    kept
}

/// Whether a job by the statistics of the batch, or not, keeps what its function was given: where the function's derivative
/// follows from that alone, and it does not follow from what else is kept.
pub(super) fn keeps_before(ending: Ending, is_by_batch: bool) -> bool {
    !ending.activation.keeps_output() && (ending.residual || !is_by_batch)
}

/// Whether a job's way back takes something that is no value.
fn keeps_own(job: &Job, learns: &[bool]) -> bool {
    match &job.kind {
        Kind::Product(product) => {
            let is_by_batch = product.norm.is_some_and(|norm| learns[norm.mean]);
            is_by_batch || keeps_before(product.ending, is_by_batch)
        }
        Kind::BatchNorm(norm, ending) => keeps_before(*ending, learns[norm.mean]),
        Kind::LeaveOut(_) => true,
        _ => false,
    }
}

/// The values of which a job's output can be made again; what the job keeps itself is there beside them.
pub(super) fn remade_of(job: &Job, learns: &[bool]) -> Vec<ValueId> {
    match &job.kind {
        Kind::Product(_) => Vec::new(),
        Kind::BatchNorm(norm, ending) if keeps_before(*ending, learns[norm.mean]) => Vec::new(),
        _ => vec![job.inputs[0]],
    }
}
