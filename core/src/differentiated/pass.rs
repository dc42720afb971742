//! A batch on its way: the values that are there, their gradients, and what jobs keep.

use rekindle_cpu::{self as cpu, Lines, View, ViewMut};

use super::course::Course;
use super::parameters::{Parameters, TensorId};
use super::plan::Plan;
use super::pool::Pool;
use crate::operations::Chance;
use crate::program::{Shape, ValueId};

/// The gradients of a step, by the tensors' places; they are added up over the batches of a step.
#[derive(Debug, Clone, Default)]
pub struct Gradients {
    of: Vec<Option<Vec<f32>>>,
}

impl Gradients {
    /// None yet, of so many tensors.
    pub fn new(tensors: usize) -> Self {
        Self {
            of: vec![None; tensors],
        }
    }

    /// Those of a tensor, if there are any.
    pub fn of(&self, tensor: usize) -> Option<&[f32]> {
        self.of.get(tensor)?.as_deref()
    }

    /// Takes those of a tensor out.
    pub fn take(&mut self, tensor: usize) -> Option<Vec<f32>> {
        self.of.get_mut(tensor)?.take()
    }

    /// Room for those of a tensor of so many numbers, and whether there are some to add to.
    pub(super) fn room(&mut self, tensor: TensorId, count: usize) -> (&mut Vec<f32>, bool) {
        let is_there = self.of[tensor].is_some();
        (
            self.of[tensor].get_or_insert_with(|| vec![0.0; count]),
            is_there,
        )
    }
}

/// What a job keeps for its way back besides values.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// What a batch norm by the batch's statistics was given.
    pub raw: Lines,
    /// What a function was given whose derivative does not follow from what it makes.
    pub before: Lines,
    /// Mean and variance of the batch.
    pub moments: [Vec<f32>; 2],
    /// What was multiplied with.
    pub factors: Lines,
}

/// Running statistics that a batch has moved.
pub(super) type Moved = (TensorId, Vec<f32>);

/// How long each job took.
#[expect(missing_debug_implementations, reason = "a clock is a function")]
pub struct Watch<'a> {
    /// What counts seconds.
    pub clock: &'a (dyn Fn() -> f64 + Sync),
    /// Seconds of each job there and back, added up.
    pub spent: Vec<[f64; 2]>,
}

/// A batch on its way.
#[expect(missing_debug_implementations, reason = "a clock is a function")]
pub struct Pass<'a> {
    pub(super) course: &'a Course,
    pub(super) parameters: &'a Parameters,
    /// What learns; nothing on a way that is not gone back.
    pub(super) plan: Option<&'a Plan>,
    pub(super) chance: Option<Chance>,
    pub(super) pool: &'a mut Pool,
    /// Images.
    pub(super) batch: usize,
    /// The values that are there, by their roots.
    pub(super) values: Vec<Option<Lines>>,
    /// Their gradients.
    pub(super) slopes: Vec<Option<Lines>>,
    kept: Vec<Kept>,
    moved: Vec<Moved>,
    /// The jobs that are done: up to this one on the way there, this one and those behind it on the way back.
    pub(super) at: usize,
    /// What takes the time, where somebody asks.
    pub(super) watch: Option<Watch<'a>>,
}

/// A batch that waits between two jobs, so that others have the processor and the network meanwhile.
#[derive(Debug)]
pub struct Waiting {
    chance: Option<Chance>,
    batch: usize,
    values: Vec<Option<Lines>>,
    slopes: Vec<Option<Lines>>,
    kept: Vec<Kept>,
    moved: Vec<Moved>,
    at: usize,
}

impl<'a> Pass<'a> {
    /// Lets a batch wait. It knows its way by places: [`go_on`](Self::go_on) with the same course and plan.
    pub fn wait(self) -> Waiting {
        Waiting {
            chance: self.chance,
            batch: self.batch,
            values: self.values,
            slopes: self.slopes,
            kept: self.kept,
            moved: self.moved,
            at: self.at,
        }
    }

    /// Goes on with a batch that waited.
    pub fn go_on(
        course: &'a Course,
        parameters: &'a Parameters,
        plan: &'a Plan,
        pool: &'a mut Pool,
        waiting: Waiting,
    ) -> Self {
        Self {
            values: waiting.values,
            slopes: waiting.slopes,
            kept: waiting.kept,
            moved: waiting.moved,
            at: waiting.at,
            watch: None,
            course,
            parameters,
            plan: Some(plan),
            chance: waiting.chance,
            pool,
            batch: waiting.batch,
        }
    }

    /// A batch of so many images before its first job: nothing is kept and left out on a way without `plan` and `chance`.
    pub fn new(
        course: &'a Course,
        parameters: &'a Parameters,
        plan: Option<&'a Plan>,
        chance: Option<Chance>,
        pool: &'a mut Pool,
        batch: usize,
    ) -> Self {
        Self {
            values: vec![None; course.shapes.len()],
            slopes: vec![None; course.shapes.len()],
            kept: vec![Kept::default(); course.jobs.len()],
            moved: Vec::new(),
            at: 0,
            watch: None,
            course,
            parameters,
            plan,
            chance,
            pool,
            batch,
        }
    }

    /// The same, timed.
    pub fn watched(self, watch: Watch<'a>) -> Self {
        Self {
            watch: Some(watch),
            ..self
        }
    }

    /// Takes the times.
    pub fn take_watch(&mut self) -> Option<Watch<'a>> {
        self.watch.take()
    }

    /// Room for what is given, `[N, rows, columns, channels]`, to be filled by `fill`.
    pub fn give(&mut self, fill: impl FnOnce(&mut [f32])) {
        let mut given = self.room(0);
        let count = self.batch * self.course.shapes[0].numbers();
        fill(&mut given[..count]);
        self.values[0] = Some(given);
    }

    /// Lets go of everything, and returns the running statistics as the batch has moved them.
    pub fn finish(mut self) -> Vec<(usize, Vec<f32>)> {
        for buffer in self.values.drain(..).chain(self.slopes.drain(..)).flatten() {
            self.pool.give(buffer);
        }
        for kept in self.kept.drain(..) {
            for buffer in [kept.raw, kept.before, kept.factors] {
                self.pool.give(buffer);
            }
        }
        self.moved
    }

    /// Whether a tensor learns on this way.
    pub(super) fn learns(&self, tensor: TensorId) -> bool {
        self.plan.is_some_and(|plan| plan.learns(tensor))
    }

    /// Whether a gradient goes back to a value.
    pub(super) fn carries(&self, value: ValueId) -> bool {
        self.plan.is_some_and(|plan| plan.carries[value])
    }

    /// The shape of a value for one image.
    pub(super) fn shape(&self, value: ValueId) -> Shape {
        self.course.shapes[value]
    }

    /// A tensor's numbers.
    pub(super) fn tensor(&self, tensor: TensorId) -> &'a [f32] {
        self.parameters.values(tensor)
    }

    /// A buffer for a value's numbers, which mean nothing yet.
    pub(super) fn room(&mut self, value: ValueId) -> Lines {
        self.pool
            .take(self.batch * self.course.shapes[value].numbers())
    }

    /// Buffer, as maps of a value's shape.
    pub(super) fn maps<'b>(&self, numbers: &'b [f32], value: ValueId) -> View<'b> {
        let shape = self.shape(value);
        View::new(
            numbers,
            self.batch,
            shape.rows,
            shape.columns,
            shape.channels,
        )
    }

    /// Buffer, as maps of a value's shape, to be written.
    pub(super) fn maps_mut<'b>(&self, numbers: &'b mut [f32], value: ValueId) -> ViewMut<'b> {
        let shape = self.shape(value);
        ViewMut::new(
            numbers,
            self.batch,
            shape.rows,
            shape.columns,
            shape.channels,
        )
    }

    /// A value that is there.
    pub(super) fn value(&self, value: ValueId) -> View<'_> {
        match &self.values[self.course.roots[value]] {
            Some(numbers) => self.maps(numbers, value),
            None => unreachable!("value {value} is not there"),
        }
    }

    /// A copy of a value's numbers.
    pub(super) fn copied(&mut self, numbers: &[f32], value: ValueId) -> Lines {
        let mut copy = self.room(value);
        let count = self.batch * self.shape(value).numbers();
        copy[..count].copy_from_slice(&numbers[..count]);
        copy
    }

    /// A value's numbers, if nobody needs them any more: what a job can change in place.
    pub(super) fn take_last(&mut self, index: usize, value: ValueId) -> Option<Lines> {
        let root = self.course.roots[value];
        let is_done = match self.plan {
            Some(plan) => plan.done_there[index].contains(&root),
            None => false,
        };
        if is_done {
            self.values[root].take()
        } else {
            None
        }
    }

    /// Keeps what a job made.
    pub(super) fn put(&mut self, value: ValueId, numbers: Lines) {
        self.values[self.course.roots[value]] = Some(numbers);
    }

    pub(super) fn keep(&mut self, index: usize) -> &mut Kept {
        &mut self.kept[index]
    }

    pub(super) fn take_kept(&mut self, index: usize) -> Kept {
        std::mem::take(&mut self.kept[index])
    }

    /// Running statistics as the batch leaves them.
    pub(super) fn moved(&mut self, tensor: TensorId, values: Vec<f32>) {
        self.moved.push((tensor, values));
    }

    /// What is known of a value's gradient so far, to be added to.
    pub(super) fn slope_so_far(&mut self, value: ValueId) -> Option<Lines> {
        self.slopes[self.course.roots[value]].take()
    }

    /// Adds to a value's gradient.
    pub(super) fn add_slope(&mut self, value: ValueId, more: Lines) {
        let root = self.course.roots[value];
        if let Some(mut sum) = self.slopes[root].take() {
            cpu::accumulate(self.maps(&more, value), self.maps_mut(&mut sum, value));
            self.pool.give(more);
            self.slopes[root] = Some(sum);
            return;
        }
        self.slopes[root] = Some(more);
    }

    /// Puts back what was taken by [`slope_so_far`](Self::slope_so_far), or stands in its place.
    pub(super) fn set_slope(&mut self, value: ValueId, slope: Lines) {
        self.slopes[self.course.roots[value]] = Some(slope);
    }

    /// Lets a value's buffer go.
    pub(super) fn drop_value(&mut self, root: ValueId) {
        if let Some(buffer) = self.values[root].take() {
            self.pool.give(buffer);
        }
    }
}
