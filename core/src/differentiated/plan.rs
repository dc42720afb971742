//! What is done of a course while some of its numbers learn: how far back gradients go, what is kept for that and what is
//! made again, and how long each value is there.

use std::ops::Range;

use rekindle_cpu::Activation;

use super::course::Course;
use super::job::{Ending, Job, Kind};
use super::parameters::TensorId;
use crate::program::ValueId;

/// What is done one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// A job, on the way there.
    There {
        job: usize,
        /// Whether what its way back takes is kept.
        keeps: bool,
    },
    /// The answers are read, and their gradient comes.
    Turn,
    /// A job once more, since nothing of it was kept.
    Again {
        job: usize,
        /// Whether its output is wanted, and not only what its way back takes.
        makes: bool,
    },
    /// A job's output once more, of what is kept for its way back anyway.
    Remake { job: usize },
    /// A job's way back.
    Back { job: usize },
}

/// What the way there and back takes, for what learns now.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of each tensor, whether it learns: whether gradients move it or, of a running statistic, whether it follows the
    /// batches.
    pub(super) learns: Vec<bool>,
    /// Of each value, whether a gradient goes back to it.
    pub(super) carries: Vec<bool>,
    pub(super) acts: Vec<Act>,
    /// Of each act, the values that nobody needs behind it, or that are made again until somebody does.
    pub(super) done: Vec<Vec<ValueId>>,
}

impl Course {
    /// What is done while these tensors learn; where none does, there is no way back.
    pub fn plan(&self, learns: Vec<bool>) -> Plan {
        let whole = 0..self.jobs.len();
        self.plan_parted(learns, &[whole])
    }

    /// The same where of each segment of jobs but the last nothing is kept but what crosses its end: the segment is gone
    /// through again before its way back.
    pub(super) fn plan_parted(&self, learns: Vec<bool>, segments: &[Range<usize>]) -> Plan {
        let carries = self.carries(&learns);
        let acts = Acts::new(self, &learns, &carries, segments).all(segments);
        let done = self.done(&acts, &learns);
        Plan {
            learns,
            carries,
            acts,
            done,
        }
    }

    /// Of each value, whether a gradient goes back to it.
    pub(super) fn carries(&self, learns: &[bool]) -> Vec<bool> {
        let mut carries = vec![false; self.shapes.len()];
        for job in &self.jobs {
            let moves = job.kind.learnt().iter().any(|&tensor| learns[tensor]);
            let has = job.inputs.iter().any(|&value| carries[self.roots[value]]);
            carries[job.output] = moves || has;
        }
        self.roots.iter().map(|&root| carries[root]).collect()
    }

    /// Of each value, the job that makes it.
    pub(super) fn makers(&self) -> Vec<Option<usize>> {
        let mut makers = vec![None; self.shapes.len()];
        for (index, job) in self.jobs.iter().enumerate() {
            makers[self.roots[job.output]] = Some(index);
        }
        makers
    }

    /// Of each value, the last job that takes it; of the answers, one behind all.
    pub(super) fn takers(&self) -> Vec<Option<usize>> {
        let mut takers = vec![None; self.shapes.len()];
        for (index, job) in self.jobs.iter().enumerate() {
            for &value in &job.inputs {
                takers[self.roots[value]] = Some(index);
            }
        }
        takers[self.roots[self.output]] = Some(self.jobs.len());
        takers
    }

    /// Of each act, the values that are there no longer than that.
    fn done(&self, acts: &[Act], learns: &[bool]) -> Vec<Vec<ValueId>> {
        let mut done = vec![Vec::new(); acts.len()];
        let mut last: Vec<Option<usize>> = vec![None; self.shapes.len()];
        last[0] = Some(0);
        for (at, &act) in acts.iter().enumerate() {
            let (uses, made) = self.touched(act, learns);
            for value in uses {
                last[self.roots[value]] = Some(at);
            }
            if let Some(value) = made {
                let root = self.roots[value];
                if let Some(before) = last[root].replace(at)
                    && before != at
                {
                    done[before].push(root);
                }
            }
        }
        for (root, at) in last.into_iter().enumerate() {
            if let Some(at) = at
                && !done.is_empty()
            {
                done[at].push(root);
            }
        }
        done
    }

    /// The values that an act takes, and the one that it makes.
    fn touched(&self, act: Act, learns: &[bool]) -> (Vec<ValueId>, Option<ValueId>) {
        match act {
            Act::There { job, .. } => {
                let job = &self.jobs[job];
                (job.inputs.clone(), Some(job.output))
            }
            Act::Again { job, makes } => {
                let job = &self.jobs[job];
                (job.inputs.clone(), makes.then_some(job.output))
            }
            Act::Turn => (vec![self.output], None),
            Act::Remake { job } => {
                let job = &self.jobs[job];
                (remade_of(job, learns), Some(job.output))
            }
            Act::Back { job } => (kept(&self.jobs[job], learns), None),
        }
    }
}

impl Plan {
    pub(super) fn learns(&self, tensor: TensorId) -> bool {
        self.learns[tensor]
    }
}

/// The acts of a plan, being written.
struct Acts<'a> {
    course: &'a Course,
    learns: &'a [bool],
    carries: &'a [bool],
    /// Of each value, the job that makes it,
    makers: Vec<Option<usize>>,
    /// and of each job, its segment.
    segments: Vec<usize>,
    /// Of each value, whether a job of a later segment than its maker's takes it.
    crosses: Vec<bool>,
    /// Of each job, whether its output has been made again.
    remade: Vec<bool>,
    acts: Vec<Act>,
}

impl<'a> Acts<'a> {
    fn new(
        course: &'a Course,
        learns: &'a [bool],
        carries: &'a [bool],
        ranges: &[Range<usize>],
    ) -> Self {
        let mut segments = vec![0; course.jobs.len() + 1];
        for (segment, range) in ranges.iter().enumerate() {
            segments[range.clone()].fill(segment);
        }
        segments[course.jobs.len()] = ranges.len();
        let makers = course.makers();
        let pairs = makers.iter().zip(course.takers());
        let crosses = pairs.map(|(maker, taker)| match (maker, taker) {
            (Some(maker), Some(taker)) => segments[*maker] < segments[taker],
            _ => true,
        });
        Self {
            course,
            learns,
            carries,
            crosses: crosses.collect(),
            makers,
            segments,
            remade: vec![false; course.jobs.len()],
            acts: Vec::new(),
        }
    }

    fn all(mut self, segments: &[Range<usize>]) -> Vec<Act> {
        let last = segments.len().saturating_sub(1);
        for job in 0..self.course.jobs.len() {
            let keeps = self.segments[job] == last;
            self.acts.push(Act::There { job, keeps });
        }
        self.acts.push(Act::Turn);
        for (index, segment) in segments.iter().enumerate().rev() {
            if index < last {
                self.again(segment);
            }
            for job in segment.clone().rev() {
                if !self.carries[self.course.jobs[job].output] {
                    continue;
                }
                for value in kept(&self.course.jobs[job], self.learns) {
                    self.remake(value);
                }
                self.acts.push(Act::Back { job });
            }
        }
        self.acts
    }

    /// The job whose output, this value, is not kept but made of what is kept for the job's way back.
    fn cheap_maker(&self, value: ValueId) -> Option<usize> {
        let root = self.course.roots[value];
        let maker = self.makers[root]?;
        let job = &self.course.jobs[maker];
        let is_cheap = match &job.kind {
            Kind::Product(product) => !product.ending.activation.keeps_output(),
            Kind::BatchNorm(_, ending) => !ending.activation.keeps_output(),
            Kind::Activate(function) => !function.keeps_output(),
            _ => false,
        };
        (is_cheap && self.carries[root] && !self.crosses[root]).then_some(maker)
    }

    /// Sees to it that a value is there.
    fn remake(&mut self, value: ValueId) {
        let Some(maker) = self.cheap_maker(value) else {
            return;
        };
        if std::mem::replace(&mut self.remade[maker], true) {
            return;
        }
        for value in remade_of(&self.course.jobs[maker], self.learns) {
            self.remake(value);
        }
        self.acts.push(Act::Remake { job: maker });
    }

    /// The jobs of a segment that are done again before its way back.
    fn again(&mut self, segment: &Range<usize>) {
        let course = self.course;
        let mut wanted = vec![false; course.shapes.len()];
        let mut want = |value: ValueId, through: bool| {
            let mut open = vec![value];
            while let Some(value) = open.pop() {
                match self.cheap_maker(value).filter(|_| through) {
                    Some(maker) => open.extend(remade_of(&course.jobs[maker], self.learns)),
                    None => wanted[course.roots[value]] = true,
                }
            }
        };
        for job in &course.jobs[segment.clone()] {
            if self.carries[job.output] {
                for value in kept(job, self.learns) {
                    want(value, true);
                }
            }
        }
        let mut all = Vec::new();
        for index in segment.clone().rev() {
            let job = &course.jobs[index];
            let root = course.roots[job.output];
            let makes = wanted[root] && !self.crosses[root];
            if makes || (self.carries[root] && keeps_own(job, self.learns)) {
                all.push(Act::Again { job: index, makes });
                for &value in &job.inputs {
                    wanted[course.roots[value]] = true;
                }
            }
        }
        self.acts.extend(all.into_iter().rev());
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

/// How many maps of its output's size a job holds for the way back, its output among them.
pub(super) fn held(job: &Job, learns: &[bool]) -> usize {
    1 + usize::from(keeps_own(job, learns))
}

/// The values of which a job's output can be made again; what the job keeps itself is there beside them.
fn remade_of(job: &Job, learns: &[bool]) -> Vec<ValueId> {
    match &job.kind {
        Kind::Product(_) => Vec::new(),
        Kind::BatchNorm(norm, ending) if keeps_before(*ending, learns[norm.mean]) => Vec::new(),
        _ => vec![job.inputs[0]],
    }
}
