//! The engine on the processor: a network's program with its way back, on slices.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use super::engine::{Descent, Draws, Engine, EngineState, Enough, Goal, Learning, WrongState};
use super::given::Given;
use super::mixing::Mix;
use super::optimizer::{Number as _, Optimizer, Pace};
use super::slope::loss;
use crate::device::DeviceError;
use crate::differentiated::{
    Course, Gradient, Gradients, Ground, Layout, NoWayBack, Parameters, Pass, Plan, Waiting, Watch,
};
use crate::graph::Graph;
use crate::operations::Chance;
use crate::program::Shape;
use crate::weights::{StateDict, Tensors};

/// A network in training on the processor.
#[derive(Debug)]
pub struct Planned {
    graph: Arc<Graph>,
    parameters: Parameters,
    /// Of each tensor, whether it learns,
    learns: Vec<bool>,
    /// and whether gradients move it.
    moves: Vec<bool>,
    /// The ways to the answers from the values that were given so far.
    ways: BTreeMap<usize, Way>,
    /// Whether little is kept, and much done again.
    recomputes: bool,
    ground: Mutex<Ground>,
    /// What the optimiser keeps of each parameter, by its place and the slot's name.
    slots: BTreeMap<usize, BTreeMap<&'static str, Vec<f32>>>,
    /// The steps that each parameter has taken.
    steps: BTreeMap<usize, u64>,
    averages: Option<Parameters>,
    /// The gradients of the step that is being made.
    gradients: Gradients,
    /// The loss of the step that is being made.
    loss: Option<f32>,
    /// Those of finished steps that nobody has read.
    losses: Vec<f32>,
    /// The batch that is on its way.
    on_its_way: Option<OnItsWay>,
}

/// A batch that was begun.
#[derive(Debug)]
struct OnItsWay {
    /// The value that it was given.
    value: usize,
    /// Its images, and whether it is the first of a step: its layout.
    laid_out: (usize, bool),
    goal: Goal,
    waiting: Waiting,
    /// Its loss, once it goes back.
    loss: Option<f32>,
}

/// A way through the network, and what is done on it for what learns now.
#[derive(Debug, Clone)]
struct Way {
    course: Course,
    plan: Plan,
    /// Where all lies, by how many images go the way, and whether they are the first of a step.
    layouts: BTreeMap<(usize, bool), Layout>,
}

impl Way {
    fn new(course: Course, plan: Plan) -> Self {
        Self {
            course,
            plan,
            layouts: BTreeMap::new(),
        }
    }

    /// Sees to it that the layout for so many images is there.
    fn lay_out(&mut self, parameters: &Parameters, images: usize, is_first: bool) {
        let Self {
            course,
            plan,
            layouts,
        } = self;
        layouts
            .entry((images, is_first))
            .or_insert_with(|| Pass::rehearse(course, parameters, plan, images, true, is_first));
    }
}

impl Planned {
    /// A network in training, all of it.
    ///
    /// # Errors
    ///
    /// When a kind of step has no way back here.
    ///
    /// # Panics
    ///
    /// When a tensor of the graph is missing.
    pub fn new(graph: Arc<Graph>, tensors: &StateDict<'_>) -> Result<Self, NoWayBack> {
        let parameters = match Parameters::new(&graph, tensors) {
            Ok(parameters) => parameters,
            Err(name) => panic!("there is no tensor called '{name}'"),
        };
        let learns = vec![true; parameters.count()];
        let course = Course::new(&graph, &parameters, 0)?;
        let plan = course.plan(learns.clone());
        Ok(Self {
            ways: BTreeMap::from([(0, Way::new(course, plan))]),
            gradients: Gradients::new(parameters.count()),
            graph,
            moves: parameters.learnable(),
            learns,
            recomputes: false,
            ground: Mutex::default(),
            slots: BTreeMap::new(),
            steps: BTreeMap::new(),
            averages: None,
            loss: None,
            losses: Vec::new(),
            on_its_way: None,
            parameters,
        })
    }

    /// Takes a batch there and back, and says how long each job took, by a clock that counts seconds: its name, there and
    /// back. Gradients of a step that was being made are forgotten.
    pub fn profile(
        &mut self,
        input: Given,
        goal: &Goal,
        clock: &(dyn Fn() -> f64 + Sync),
    ) -> Vec<(String, [f64; 2])> {
        let Given { value, numbers } = input;
        let numbers = numbers.host();
        let shape = self.graph.shape_of(value);
        let batch = numbers.len() / shape.iter().product::<usize>().max(1);
        self.forget_step();
        self.plan_way(value, batch);
        let Some(way) = self.ways.get(&value) else {
            unreachable!("the way was planned");
        };
        let shape = self.graph.shape_of(value);
        let ground = self.ground.get_mut();
        let ground = ground.unwrap_or_else(PoisonError::into_inner);
        let watch = Watch {
            clock,
            spent: vec![[0.0; 2]; way.course.names().len()],
        };
        let (parameters, layout) = (&self.parameters, &way.layouts[&(batch, true)]);
        let chance = Some(Chance::new(0));
        let spent = {
            let pass = Pass::new(&way.course, parameters, &way.plan, layout, chance, ground);
            let mut pass = pass.watched(watch);
            pass.give(|into| put_in(&numbers, shape, None, batch, into));
            let answers = pass.forward();
            let (_, slope) = loss(&answers, goal);
            pass.backward(&slope, &mut Gradients::new(parameters.count()));
            let watch = pass.take_watch();
            pass.finish();
            watch.map(|watch| watch.spent).unwrap_or_default()
        };
        way.course.names().map(str::to_owned).zip(spent).collect()
    }

    /// The parameters that gradients move now, by their names.
    pub fn trained(&self) -> BTreeSet<String> {
        let all = (0..self.parameters.count()).filter(|&tensor| self.moves[tensor]);
        all.map(|tensor| self.parameters.name(tensor).to_owned())
            .collect()
    }

    /// The gradients of the step that is being made, under the parameters' names.
    pub fn gradients(&self) -> Tensors {
        let all = 0..self.parameters.count();
        let named = all.filter_map(|tensor| {
            let values = self.gradients.of(tensor)?.to_vec();
            let shape = self.parameters.shape(tensor).to_vec();
            Some((
                self.parameters.name(tensor).to_owned(),
                (shape, values.into()),
            ))
        });
        named.collect()
    }

    /// Whether little is kept on the way there, and what is missing made again on the way back: less memory, and longer
    /// steps. The numbers are the same to the bit.
    pub fn recompute(&mut self, recomputes: bool) {
        self.recomputes = recomputes;
        self.plan_all();
    }

    /// Plans the way from a value for so many images, if that is not done yet.
    fn plan_way(&mut self, value: usize, images: usize) {
        let is_first = self.gradients.is_empty();
        if !self.ways.contains_key(&value) {
            let course = course(&self.graph, &self.parameters, value);
            let plan = self.plan(&course);
            self.ways.insert(value, Way::new(course, plan));
        }
        if let Some(way) = self.ways.get_mut(&value) {
            way.lay_out(&self.parameters, images, is_first);
        }
    }

    fn plan(&self, course: &Course) -> Plan {
        match self.recomputes {
            true => course.recomputing(self.learns.clone(), &self.parameters),
            false => course.plan(self.learns.clone()),
        }
    }

    /// Leaves the step that is being made.
    fn forget_step(&mut self) {
        self.on_its_way = None;
        self.gradients = Gradients::new(self.parameters.count());
        self.loss = None;
    }

    /// Plans anew, with memory of its own. A step that was being made is forgotten.
    fn plan_all(&mut self) {
        self.forget_step();
        let ways = mem::take(&mut self.ways);
        let planned = ways.into_iter().map(|(value, way)| {
            let plan = self.plan(&way.course);
            (value, Way::new(way.course, plan))
        });
        self.ways = planned.collect();
        self.ground = Mutex::default();
    }

    /// What all gradients are multiplied by so that they are no longer than this together, as
    /// `torch.nn.utils.clip_grad_norm_`.
    fn clip(&self, longest: f64) -> f32 {
        let all = (0..self.parameters.count()).filter_map(|tensor| self.gradients.of(tensor));
        let square: f64 = all.map(square_sum).sum();
        let scale = longest / (square.sqrt() + 1e-6);
        // What is no number stays so.
        if 1.0 < scale { 1.0 } else { scale as f32 }
    }

    /// Moves a parameter along its gradient.
    fn step(
        &mut self,
        tensor: usize,
        mut gradient: Gradient,
        scale: Option<f32>,
        pace: Pace,
        by: &Optimizer,
    ) {
        if let Some(scale) = scale {
            gradient.iter_mut().for_each(|number| *number *= scale);
        }
        let count = gradient.len();
        let kept = self.slots.entry(tensor).or_default();
        for slot in by.slots() {
            kept.entry(slot).or_insert_with(|| vec![0.0; count]);
        }
        // In the optimiser's order, which is not that of their names.
        let mut slots: Vec<Vec<f32>> = by
            .slots()
            .iter()
            .map(|slot| kept.get_mut(slot).map(mem::take).unwrap_or_default())
            .collect();
        let mut parts: Vec<&mut [f32]> = slots.iter_mut().map(|slot| &mut slot[..]).collect();
        let values = self.parameters.values_mut(tensor);
        match by.measures_parameters() {
            false => by.sweep(pace, values, &gradient, &mut parts),
            true => {
                let mut moved = values.clone();
                by.sweep(pace, &mut moved, &gradient, &mut parts);
                Optimizer::along(pace, values, &moved);
            }
        }
        for (slot, numbers) in by.slots().iter().zip(slots) {
            kept.insert(slot, numbers);
        }
    }

    /// Numbers of parameters by names that are made of their own.
    fn put(&self, tensors: &Tensors, key: &str, tensor: usize) -> Result<Vec<f32>, WrongState> {
        match tensors.get(key) {
            Some((shape, values)) if shape == self.parameters.shape(tensor) => Ok(values.to_vec()),
            Some(_) => Err(WrongState(format!("'{key}' has another shape"))),
            None => Err(WrongState(format!("it has no '{key}'"))),
        }
    }
}

/// The way from a value to the answers.
fn course(graph: &Graph, parameters: &Parameters, value: usize) -> Course {
    match Course::new(graph, parameters, value) {
        Ok(course) => course,
        Err(error) => unreachable!("the whole network has a way back: {error}"),
    }
}

fn square_sum(numbers: &[f32]) -> f64 {
    numbers
        .iter()
        .map(|&number| f64::from(number).powi(2))
        .sum()
}

/// Writes a batch as it is given, channels first, as it is worked on, channels last, its images mixed.
fn put_in(numbers: &[f32], shape: &[usize], mix: Option<&Mix>, batch: usize, into: &mut [f32]) {
    let (each, lying) = (numbers.len() / batch.max(1), Shape::of(shape));
    let is_turned = shape.len() == 3;
    for (image, into) in into.chunks_exact_mut(each.max(1)).enumerate() {
        let own = &numbers[image * each..][..each];
        let other = &numbers[Mix::partner(image, batch) * each..][..each];
        let share = mix.map(|mix| mix.share as f32);
        let at = |from: usize| match (mix, share) {
            (
                Some(Mix {
                    area: Some([top, left, rows, columns]),
                    ..
                }),
                _,
            ) if is_turned => {
                let position = from % lying.positions();
                let (row, column) = (position / lying.columns, position % lying.columns);
                let is_inside =
                    (*top..top + rows).contains(&row) && (*left..left + columns).contains(&column);
                if is_inside { other[from] } else { own[from] }
            }
            (Some(_), Some(share)) => own[from] * share + other[from] * (1.0 - share),
            _ => own[from],
        };
        match is_turned {
            false => into
                .iter_mut()
                .enumerate()
                .for_each(|(place, to)| *to = at(place)),
            true => {
                let (positions, channels) = (lying.positions(), lying.channels);
                for (position, to) in into.chunks_exact_mut(channels).enumerate() {
                    for (channel, to) in to.iter_mut().enumerate() {
                        *to = at(channel * positions + position);
                    }
                }
            }
        }
    }
}

impl Engine for Planned {
    type Input = Given;

    fn learns(&mut self, learning: &Learning) {
        let Learning {
            parameters,
            statistics,
        } = learning;
        let all = (0..self.parameters.count()).map(|tensor| self.parameters.name(tensor));
        self.moves = all.clone().map(|name| parameters.contains(name)).collect();
        let follows = all.map(|name| statistics.contains(name));
        let moves = self.moves.iter();
        self.learns = moves
            .zip(follows)
            .map(|(moves, follows)| *moves || follows)
            .collect();
        self.slots.retain(|tensor, _| self.moves[*tensor]);
        self.steps.retain(|tensor, _| self.moves[*tensor]);
        self.plan_all();
    }

    fn accumulate(&mut self, input: Given, goal: &Goal, draws: &Draws) {
        self.begin(input, goal, draws);
        self.go_on(&mut || false);
    }

    fn begin(&mut self, input: Given, goal: &Goal, draws: &Draws) {
        let Given { value, numbers } = input;
        let numbers = numbers.host();
        let shape = self.graph.shape_of(value);
        let batch = numbers.len() / shape.iter().product::<usize>().max(1);
        // What a batch before this one left lies among its maps.
        self.gradients.move_out();
        self.plan_way(value, batch);
        let Some(way) = self.ways.get(&value) else {
            unreachable!("the way was planned");
        };
        let shape = self.graph.shape_of(value);
        let chance = Some(Chance::at(draws.seed, draws.batch).behind(draws.first));
        let ground = self.ground.get_mut();
        let ground = ground.unwrap_or_else(PoisonError::into_inner);
        let laid_out = (batch, self.gradients.is_empty());
        let (parameters, layout) = (&self.parameters, &way.layouts[&laid_out]);
        let mut pass = Pass::new(&way.course, parameters, &way.plan, layout, chance, ground);
        pass.give(|into| put_in(&numbers, shape, draws.mix.as_ref(), batch, into));
        self.on_its_way = Some(OnItsWay {
            value,
            laid_out,
            goal: goal.clone(),
            waiting: pass.wait(),
            loss: None,
        });
    }

    fn go_on(&mut self, enough: Enough<'_>) -> bool {
        let Some(batch) = self.on_its_way.take() else {
            return true;
        };
        let Some(way) = self.ways.get(&batch.value) else {
            unreachable!("the way was planned");
        };
        let ground = self.ground.get_mut();
        let ground = ground.unwrap_or_else(PoisonError::into_inner);
        let mut pass = Pass::go_on(
            &way.course,
            &self.parameters,
            &way.plan,
            &way.layouts[&batch.laid_out],
            ground,
            batch.waiting,
        );
        let mut of_batch = batch.loss;
        if of_batch.is_none() && pass.there(enough) {
            let (loss, slope) = loss(&pass.answers(), &batch.goal);
            of_batch = Some(loss);
            pass.turn(&slope, &self.gradients);
        }
        let Some(loss) = of_batch.filter(|_| pass.back(&mut self.gradients, enough)) else {
            self.on_its_way = Some(OnItsWay {
                waiting: pass.wait(),
                loss: of_batch,
                ..batch
            });
            return false;
        };
        for (tensor, values) in pass.finish() {
            *self.parameters.values_mut(tensor) = values;
        }
        self.loss = Some(self.loss.unwrap_or_default() + loss);
        true
    }

    fn descend(&mut self, descent: &Descent<'_>) {
        let scale = descent.clip.map(|longest| self.clip(longest));
        let by = descent.optimizer;
        for tensor in 0..self.parameters.count() {
            let Some(gradient) = self.gradients.take(tensor) else {
                continue;
            };
            let Some(rate) = descent.rates.get(self.parameters.name(tensor)) else {
                continue;
            };
            let step = self.steps.entry(tensor).or_default();
            *step += 1;
            let pace = descent.pace(rate, *step);
            self.step(tensor, gradient, scale, pace, by);
        }
        self.losses.extend(self.loss.take());
    }

    fn average(&mut self, kept: f64) {
        let Some(averages) = &mut self.averages else {
            self.averages = Some(self.parameters.clone());
            return;
        };
        for tensor in 0..self.parameters.count() {
            let now = self.parameters.values(tensor);
            for (average, &now) in averages.values_mut(tensor).iter_mut().zip(now) {
                *average = average.towards(now, 1.0 - kept);
            }
        }
    }

    async fn losses(&mut self) -> Result<Vec<f32>, DeviceError> {
        Ok(mem::take(&mut self.losses))
    }

    async fn answers(&self, input: Given, averaged: bool) -> Result<Vec<f32>, DeviceError> {
        let Given { value, numbers } = input;
        let numbers = numbers.host();
        let parameters = match &self.averages {
            Some(averages) if averaged => averages,
            _ => &self.parameters,
        };
        let own;
        let course = match self.ways.get(&value) {
            Some(way) => &way.course,
            None => {
                own = course(&self.graph, parameters, value);
                &own
            }
        };
        let shape = self.graph.shape_of(value);
        let batch = numbers.len() / shape.iter().product::<usize>().max(1);
        // Nothing learns on the way to answers, and nothing is kept.
        let plan = course.plan(vec![false; parameters.count()]);
        let layout = Pass::rehearse(course, parameters, &plan, batch, false, true);
        let mut ground = self.ground.lock().unwrap_or_else(PoisonError::into_inner);
        // In the midst of a step gradients lie there.
        let mut other = Ground::default();
        let ground = match ground.is_lent() {
            true => &mut other,
            false => &mut *ground,
        };
        let mut pass = Pass::new(course, parameters, &plan, &layout, None, ground);
        pass.give(|into| put_in(&numbers, shape, None, batch, into));
        let answers = pass.forward();
        pass.finish();
        Ok(answers)
    }

    async fn tensors(&self, averaged: bool) -> Result<Tensors, DeviceError> {
        Ok(match &self.averages {
            Some(averages) if averaged => averages.tensors(),
            _ => self.parameters.tensors(),
        })
    }

    async fn state(&self) -> Result<EngineState, DeviceError> {
        let mut slots = Tensors::new();
        for (&tensor, kept) in &self.slots {
            let (name, shape) = (self.parameters.name(tensor), self.parameters.shape(tensor));
            for (slot, values) in kept {
                slots.insert(
                    format!("{slot}/{name}"),
                    (shape.to_vec(), values.clone().into()),
                );
            }
        }
        let steps = self.steps.iter();
        Ok(EngineState {
            tensors: self.parameters.tensors(),
            averages: self
                .averages
                .as_ref()
                .map(Parameters::tensors)
                .unwrap_or_default(),
            slots,
            steps: steps
                .map(|(&tensor, &steps)| (self.parameters.name(tensor).to_owned(), steps))
                .collect(),
        })
    }

    fn let_go(&mut self) {
        for tensor in 0..self.parameters.count() {
            *self.parameters.values_mut(tensor) = Vec::new();
        }
        self.averages = None;
        self.slots.clear();
        self.forget_step();
        self.ground = Mutex::default();
        self.losses.clear();
    }

    fn restore(&mut self, state: &EngineState) -> Result<(), WrongState> {
        let mut parameters = self.parameters.clone();
        let mut averages = (!state.averages.is_empty()).then(|| parameters.clone());
        let mut slots: BTreeMap<usize, BTreeMap<&'static str, Vec<f32>>> = BTreeMap::new();
        let mut steps = BTreeMap::new();
        for tensor in 0..parameters.count() {
            let name = self.parameters.name(tensor);
            *parameters.values_mut(tensor) = self.put(&state.tensors, name, tensor)?;
            if let Some(averages) = &mut averages {
                *averages.values_mut(tensor) = self.put(&state.averages, name, tensor)?;
            }
            for &slot in Optimizer::SLOTS {
                let key = format!("{slot}/{name}");
                if state.slots.contains_key(&key) {
                    let values = self.put(&state.slots, &key, tensor)?;
                    slots.entry(tensor).or_default().insert(slot, values);
                }
            }
            steps.extend(state.steps.get(name).map(|&count| (tensor, count)));
        }
        self.parameters = parameters;
        self.averages = averages;
        self.slots = slots;
        self.steps = steps;
        self.forget_step();
        self.losses.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
