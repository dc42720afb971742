//! A batch on its way: the values that are there, their gradients, and what jobs keep.

use std::ops::{Deref, DerefMut};

use rekindle_cpu::{self as cpu, View, ViewMut};

use super::course::Course;
use super::job::Job;
use super::layout::{Buffer, Ground, Layout, Store};
use super::parameters::{Parameters, TensorId};
use super::plan::Plan;
use crate::operations::Chance;
use crate::program::{Shape, ValueId};

/// The gradients of a step, by the tensors' places; they are added up over the batches of a step. Those of the first batch
/// lie where its maps were.
#[derive(Debug, Default)]
pub struct Gradients {
    of: Vec<Option<Gradient>>,
}

/// The gradient of a tensor.
#[derive(Debug)]
pub struct Gradient {
    numbers: Numbers,
    /// Whether nothing has been written yet.
    is_new: bool,
}

#[derive(Debug)]
enum Numbers {
    Lent(Buffer),
    Own(Vec<f32>),
}

impl Deref for Gradient {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.numbers {
            Numbers::Lent(numbers) => numbers,
            Numbers::Own(numbers) => numbers,
        }
    }
}

impl DerefMut for Gradient {
    fn deref_mut(&mut self) -> &mut [f32] {
        match &mut self.numbers {
            Numbers::Lent(numbers) => numbers,
            Numbers::Own(numbers) => numbers,
        }
    }
}

impl Gradients {
    /// None yet, of so many tensors.
    pub fn new(tensors: usize) -> Self {
        Self {
            of: std::iter::repeat_with(|| None).take(tensors).collect(),
        }
    }

    /// Whether there are none of any tensor.
    pub fn is_empty(&self) -> bool {
        self.of.iter().all(Option::is_none)
    }

    /// Those of a tensor, if there are any.
    pub fn of(&self, tensor: usize) -> Option<&[f32]> {
        let gradient = self.of.get(tensor)?.as_ref()?;
        (!gradient.is_new).then_some(gradient)
    }

    /// Takes those of a tensor out.
    pub fn take(&mut self, tensor: usize) -> Option<Gradient> {
        self.of.get_mut(tensor)?.take()
    }

    /// Lets them lie apart from the maps of the next batch.
    pub fn move_out(&mut self) {
        for gradient in self.of.iter_mut().flatten() {
            if let Numbers::Lent(numbers) = &gradient.numbers {
                gradient.numbers = Numbers::Own(numbers.to_vec());
            }
        }
    }

    /// Room for those of a tensor, which was opened, and whether there are some to add to.
    pub(super) fn room(&mut self, tensor: TensorId) -> (&mut [f32], bool) {
        let Some(gradient) = &mut self.of[tensor] else {
            unreachable!("the gradient of tensor {tensor} was opened");
        };
        let is_sum = !std::mem::replace(&mut gradient.is_new, false);
        (gradient, is_sum)
    }
}

/// What a job keeps for its way back besides values.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What a batch norm by the batch's statistics was given.
    pub raw: Buffer,
    /// What a function was given whose derivative does not follow from what it makes.
    pub before: Buffer,
    /// Mean and variance of the batch.
    pub moments: [Vec<f32>; 2],
    /// What was multiplied with.
    pub factors: Buffer,
}

/// How a job is done on the way there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doing {
    /// Whether what its way back takes is kept.
    pub keeps: bool,
    /// Whether it was done before: statistics of the batch are known, and running ones have followed them.
    pub again: bool,
    /// Whether its output is wanted.
    pub makes: bool,
}

/// Running statistics that a batch has moved.
pub(super) type Moved = (TensorId, Vec<f32>);

/// What takes the time of a way: measured by whoever has a clock.
#[expect(missing_debug_implementations, reason = "a clock is a function")]
pub struct Watch<'a> {
    /// Seconds, from any moment on.
    pub clock: &'a (dyn Fn() -> f64 + Sync),
    /// Of each job, seconds there and back, added up.
    pub spent: Vec<[f64; 2]>,
}

/// A batch on its way.
#[expect(missing_debug_implementations, reason = "a clock is a function")]
pub struct Pass<'a> {
    pub(super) course: &'a Course,
    pub(super) parameters: &'a Parameters,
    /// What learns.
    pub(super) plan: &'a Plan,
    pub(super) chance: Option<Chance>,
    store: Store<'a>,
    /// Images.
    pub(super) batch: usize,
    /// The values that are there, by their roots.
    pub(super) values: Vec<Option<Buffer>>,
    /// Their gradients.
    pub(super) slopes: Vec<Option<Buffer>>,
    kept: Vec<Kept>,
    moved: Vec<Moved>,
    pub(super) doing: Doing,
    /// How many of the plan's acts are done.
    pub(super) at: usize,
    /// Whether no gradients were there when it turned round.
    pub(super) is_first: bool,
    /// What takes the time, where somebody asks.
    pub(super) watch: Option<Watch<'a>>,
}

/// A batch that waits between two jobs, so that others have the processor and the network meanwhile.
#[derive(Debug)]
pub struct Waiting {
    chance: Option<Chance>,
    values: Vec<Option<Buffer>>,
    slopes: Vec<Option<Buffer>>,
    kept: Vec<Kept>,
    moved: Vec<Moved>,
    doing: Doing,
    at: usize,
    is_first: bool,
    /// Buffers that were taken so far.
    taken: usize,
}

impl<'a> Pass<'a> {
    /// Lets a batch wait. Its buffers stay lent.
    pub fn wait(self) -> Waiting {
        Waiting {
            taken: self.store.taken(),
            chance: self.chance,
            values: self.values,
            slopes: self.slopes,
            kept: self.kept,
            moved: self.moved,
            doing: self.doing,
            at: self.at,
            is_first: self.is_first,
        }
    }

    /// Goes on with a batch that waited. It knows its way by places alone: course, plan, layout and ground must be those
    /// that it began with.
    pub fn go_on(
        course: &'a Course,
        parameters: &'a Parameters,
        plan: &'a Plan,
        layout: &'a Layout,
        ground: &'a Ground,
        waiting: Waiting,
    ) -> Self {
        Self {
            store: Store::back_on(ground, layout, waiting.taken),
            values: waiting.values,
            slopes: waiting.slopes,
            kept: waiting.kept,
            moved: waiting.moved,
            doing: waiting.doing,
            at: waiting.at,
            is_first: waiting.is_first,
            watch: None,
            course,
            parameters,
            plan,
            chance: waiting.chance,
            batch: layout.batch,
        }
    }

    /// A batch before its first job, of as many images as the layout is for; it must be that of this plan. Nothing is left
    /// out on a way without `chance`.
    pub fn new(
        course: &'a Course,
        parameters: &'a Parameters,
        plan: &'a Plan,
        layout: &'a Layout,
        chance: Option<Chance>,
        ground: &'a mut Ground,
    ) -> Self {
        let store = Store::on(ground, layout);
        Self::with(course, parameters, plan, store, chance, layout.batch)
    }

    fn with(
        course: &'a Course,
        parameters: &'a Parameters,
        plan: &'a Plan,
        store: Store<'a>,
        chance: Option<Chance>,
        batch: usize,
    ) -> Self {
        let none = || std::iter::repeat_with(|| None).take(course.shapes.len());
        let kept = std::iter::repeat_with(Kept::default);
        Self {
            values: none().collect(),
            slopes: none().collect(),
            kept: kept.take(course.jobs.len()).collect(),
            moved: Vec::new(),
            watch: None,
            doing: Doing {
                keeps: false,
                again: false,
                makes: true,
            },
            at: 0,
            is_first: true,
            course,
            parameters,
            plan,
            chance,
            store,
            batch,
        }
    }

    /// Where everything lies on the way there and back that so many images go by a plan. Nothing is computed for it, and
    /// of the parameters only their lengths are asked for. `draws` says whether anything is left out on that way, `is_first`
    /// whether no gradients are there before it.
    pub fn rehearse(
        course: &Course,
        parameters: &Parameters,
        plan: &Plan,
        batch: usize,
        draws: bool,
        is_first: bool,
    ) -> Layout {
        let chance = draws.then(|| Chance::new(0));
        let store = Store::rehearsal();
        let mut pass = Pass::with(course, parameters, plan, store, chance, batch);
        pass.give(|_| ());
        pass.forward();
        let mut gradients = Gradients::new(parameters.count());
        if !is_first {
            let there = || Gradient {
                numbers: Numbers::Own(Vec::new()),
                is_new: false,
            };
            gradients.of.fill_with(|| Some(there()));
        }
        pass.backward(&[], &mut gradients);
        pass.let_go();
        pass.store.layout(batch)
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
        fill(&mut given);
        self.values[0] = Some(given);
    }

    /// Lets go of everything, and returns the running statistics as the batch has moved them.
    pub fn finish(mut self) -> Vec<(usize, Vec<f32>)> {
        self.let_go();
        self.moved
    }

    fn let_go(&mut self) {
        for buffer in self.values.drain(..).chain(self.slopes.drain(..)).flatten() {
            self.store.give(buffer);
        }
        for kept in self.kept.drain(..) {
            for buffer in [kept.raw, kept.before, kept.factors] {
                self.store.give(buffer);
            }
        }
    }

    /// Whether this is only to find out what is taken when: nothing is computed.
    pub(super) fn is_rehearsal(&self) -> bool {
        self.store.is_rehearsal()
    }

    /// Makes room for the gradients of what a job learns: that of the first batch of a step among the maps of its way,
    /// that of a later one, should there be none yet, apart.
    pub(super) fn open(&mut self, job: &Job, gradients: &mut Gradients, is_first: bool) {
        for tensor in job.kind.learnt() {
            if !self.learns(tensor) || gradients.of[tensor].is_some() {
                continue;
            }
            let count = self.tensor(tensor).len();
            let numbers = match is_first {
                true => Numbers::Lent(self.take(count)),
                false => Numbers::Own(vec![0.0; count]),
            };
            gradients.of[tensor] = Some(Gradient {
                numbers,
                is_new: true,
            });
        }
    }

    /// Whether a tensor learns on this way.
    pub(super) fn learns(&self, tensor: TensorId) -> bool {
        self.plan.learns(tensor)
    }

    /// Whether a gradient goes back to a value.
    pub(super) fn carries(&self, value: ValueId) -> bool {
        self.plan.carries[value]
    }

    /// Whether something is kept now for the way back of the job that makes a value.
    pub(super) fn keeps(&self, value: ValueId) -> bool {
        self.doing.keeps && self.plan.carries[value]
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
    pub(super) fn room(&mut self, value: ValueId) -> Buffer {
        self.take(self.batch * self.course.shapes[value].numbers())
    }

    /// A buffer of so many numbers, which mean nothing yet.
    pub(super) fn take(&mut self, count: usize) -> Buffer {
        self.store.take(count)
    }

    /// Lets a buffer go.
    pub(super) fn let_be(&mut self, buffer: Buffer) {
        self.store.give(buffer);
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
    pub(super) fn copied(&mut self, numbers: &[f32], value: ValueId) -> Buffer {
        let mut copy = self.room(value);
        copy.copy_from_slice(numbers);
        copy
    }

    /// A value's numbers, if nobody needs them any more: what a job can change in place.
    pub(super) fn take_last(&mut self, value: ValueId) -> Option<Buffer> {
        let root = self.course.roots[value];
        match self.plan.done[self.at].contains(&root) {
            true => self.values[root].take(),
            false => None,
        }
    }

    /// Keeps what a job made.
    pub(super) fn put(&mut self, value: ValueId, numbers: Buffer) {
        self.values[self.course.roots[value]] = Some(numbers);
    }

    pub(super) fn keep(&mut self, index: usize) -> &mut Kept {
        &mut self.kept[index]
    }

    pub(super) fn kept(&self, index: usize) -> &Kept {
        &self.kept[index]
    }

    pub(super) fn take_kept(&mut self, index: usize) -> Kept {
        std::mem::take(&mut self.kept[index])
    }

    /// Running statistics as the batch leaves them.
    pub(super) fn moved(&mut self, tensor: TensorId, values: Vec<f32>) {
        self.moved.push((tensor, values));
    }

    /// What is known of a value's gradient so far, to be added to.
    pub(super) fn slope_so_far(&mut self, value: ValueId) -> Option<Buffer> {
        self.slopes[self.course.roots[value]].take()
    }

    /// Adds to a value's gradient.
    pub(super) fn add_slope(&mut self, value: ValueId, more: Buffer) {
        let root = self.course.roots[value];
        let Some(mut sum) = self.slopes[root].take() else {
            self.slopes[root] = Some(more);
            return;
        };
        if !self.is_rehearsal() {
            cpu::accumulate(self.maps(&more, value), self.maps_mut(&mut sum, value));
        }
        self.let_be(more);
        self.slopes[root] = Some(sum);
    }

    /// Puts back what was taken by [`slope_so_far`](Self::slope_so_far), or stands in its place.
    pub(super) fn set_slope(&mut self, value: ValueId, slope: Buffer) {
        self.slopes[self.course.roots[value]] = Some(slope);
    }

    /// Lets a value's buffer go.
    pub(super) fn drop_value(&mut self, root: ValueId) {
        if let Some(buffer) = self.values[root].take() {
            self.store.give(buffer);
        }
    }
}
