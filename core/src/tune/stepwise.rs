//! The engine over Burn's tensors. On adapters gradients are found by the network's program with its way back; where a step
//! has none, where Burn's own kernels are asked for, and on the processor as a referee, the network is run step by step and
//! its gradients are recorded on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use burn::tensor::{Device, Tensor, TensorData, Transaction};

use super::engine::{Descent, Draws, Engine, EngineState, Goal, Learning, WrongState};
use super::flat::{Flat, Moved};
use super::given::Given;
use super::loss;
use super::mixing::Mix;
use super::optimizer::{Optimizer, Pace, Written, written_average, written_clip};
use super::programs::{Programs, lying, numbers};
use crate::device::{DeviceError, is_processor, ran_out, recover};
use crate::differentiated::on_adapter::{answered, there_and_back};
use crate::kernels::{self, put_more, square_sum};
use crate::network::{Batch, Chance, Network, Parameter};
use crate::weights::{Numbers, Tensors};

/// The numbers of a parameter, flat, in as many parts as the parameter has.
type Parts = Vec<Tensor<1>>;

/// A network in training on Burn.
#[derive(Debug)]
pub struct Stepwise {
    network: Network,
    device: Device,
    /// Its programs, on adapters.
    programs: Option<Programs>,
    /// What the optimiser keeps of each parameter, by its name and then by the slot's.
    slots: BTreeMap<String, BTreeMap<&'static str, Parts>>,
    /// The steps that each parameter has taken.
    steps: BTreeMap<String, u64>,
    averages: BTreeMap<String, Parts>,
    /// The gradients of the step that is being made.
    gradients: BTreeMap<String, Parts>,
    /// Where the parameters that move lie side by side, from their first step on: all that is above of them is seen there.
    flat: Option<Flat>,
    /// The loss of the step that is being made.
    loss: Option<Tensor<1>>,
    /// Those of finished steps that nobody has read.
    losses: Vec<Tensor<1>>,
    /// What stands for a tensor while it is changed, so that nobody else holds it then. It is made once, because making
    /// a tensor sends something to the device.
    nothing: Tensor<1>,
}

impl Stepwise {
    /// A network in training, all of it, on the device where it lies.
    pub fn new(mut network: Network, device: &Device) -> Self {
        network.learns(|_| true);
        let goes_by_programs = !is_processor(device) && kernels::are_switched_on();
        Self {
            programs: goes_by_programs.then(|| Programs::new(&network)).flatten(),
            network,
            device: device.clone(),
            slots: BTreeMap::new(),
            steps: BTreeMap::new(),
            averages: BTreeMap::new(),
            gradients: BTreeMap::new(),
            flat: None,
            loss: None,
            losses: Vec::new(),
            nothing: Tensor::from_data(TensorData::new(vec![0.0_f32], [1]), device),
        }
    }

    /// The network as it stands.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The parameters that gradients move now, by their names.
    pub fn trained(&self) -> BTreeSet<String> {
        let all = self.network.parameters();
        all.filter(|parameter| parameter.is_trained())
            .map(|parameter| parameter.name().to_owned())
            .collect()
    }

    /// The gradients of the step that is being made, under the parameters' names and in PyTorch's order.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub async fn gradients(&self) -> Result<Tensors, DeviceError> {
        let named = self
            .gradients
            .iter()
            .map(|(name, parts)| (name.clone(), &name[..], parts));
        self.read(named).await
    }

    /// Numbers of parameters on the host, in one read: under the first name, those of the parameter with the second.
    async fn read<'a>(
        &self,
        named: impl Iterator<Item = (String, &'a str, &'a Parts)>,
    ) -> Result<Tensors, DeviceError> {
        let parameters: BTreeMap<&str, &Parameter> = self
            .network
            .parameters()
            .map(|parameter| (parameter.name(), parameter))
            .collect();
        let named: Vec<_> = named.collect();
        if named.is_empty() {
            return Ok(Tensors::new());
        }
        let parts = named.iter().flat_map(|(_, _, parts)| *parts);
        let all = parts.fold(Transaction::default(), |all, part| {
            all.register(part.clone())
        });
        let data = all.execute_async().await.map_err(DeviceError::execution)?;
        let mut data = data.into_iter();
        let mut tensors = Tensors::new();
        for (key, name, parts) in named {
            let numbers = data.by_ref().take(parts.len());
            let numbers = numbers.map(|data| data.try_into_vec().map_err(DeviceError::execution));
            let numbers: Vec<Vec<f32>> = numbers.collect::<Result<_, _>>()?;
            let parameter = parameters[name];
            let values = Numbers::from(parameter.in_order(numbers));
            tensors.insert(key, (parameter.shape().to_vec(), values));
        }
        Ok(tensors)
    }

    /// The parts on the device of a parameter's numbers.
    fn put(
        &self,
        parameter: &Parameter,
        tensors: &Tensors,
        key: &str,
    ) -> Result<Parts, WrongState> {
        match tensors.get(key) {
            Some((shape, values)) if shape == parameter.shape() => {
                Ok(parameter.on_device(values, parameter.parts().len(), &self.device))
            }
            Some(_) => Err(WrongState(format!("'{key}' has another shape"))),
            None => Err(WrongState(format!("it has no '{key}'"))),
        }
    }

    /// Finds the gradients of a batch by the network's program, if there is one, and returns the loss.
    fn by_program(
        &mut self,
        value: usize,
        batch: &Batch,
        goal: &Goal,
        chance: Chance,
    ) -> Option<Tensor<1>> {
        let way = self.programs.as_mut()?.way_from(value)?;
        // Only what is first found of a step goes where gradients lie; what follows is added to it.
        let flat = self.flat.as_ref().filter(|_| self.gradients.is_empty());
        let place = |name: &str| Some(flat?.place(name)?.gradient.clone());
        let mut numbers = numbers(&self.network, |_| None, place, &self.device);
        // What follows the batch is changed in place: the network lets go of it meanwhile.
        for parameter in self.network.parameters_mut() {
            if parameter.is_statistic() && parameter.trains {
                parameter.parts = vec![self.nothing.clone()];
            }
        }
        let given = lying(batch.clone());
        let of_loss = |answers: Tensor<2>| {
            let answers = answers.autodiff().require_grad();
            let loss = loss::of(answers.clone(), goal);
            let mut gradients = loss.backward();
            match answers.grad_remove(&mut gradients) {
                Some(slope) => (loss.without_autodiff(), slope),
                None => unreachable!("a loss has a gradient"),
            }
        };
        let found = there_and_back(&way.course, &way.plan, &mut numbers, given, chance, of_loss);
        let mut moved: BTreeMap<usize, Tensor<1>> = found.moved.into_iter().collect();
        let mut more = BTreeMap::new();
        let parameters = self.network.parameters_mut().zip(found.gradients);
        for (index, (parameter, gradient)) in parameters.enumerate() {
            if parameter.is_statistic() && parameter.trains {
                // A norm that the way does not lead through has not moved.
                let now = moved.remove(&index);
                parameter.parts = vec![now.unwrap_or_else(|| numbers.tensors[index].clone())];
            }
            if let Some(gradient) = gradient.filter(|_| parameter.is_trained()) {
                more.insert(parameter.name().to_owned(), vec![gradient]);
            }
        }
        self.add_gradients(more);
        Some(found.loss)
    }

    /// Finds the gradients of a batch step by step, and returns the loss.
    fn step_by_step(
        &mut self,
        value: usize,
        batch: Batch,
        goal: &Goal,
        mut chance: Chance,
    ) -> Tensor<1> {
        let batch = match batch {
            Batch::Maps(maps) => Batch::Maps(maps.autodiff()),
            Batch::Tokens(tokens) => Batch::Tokens(tokens.autodiff()),
            Batch::Features(features) => Batch::Features(features.autodiff()),
        };
        let wanted = [self.network.graph().output()];
        let made = self.network.train([(value, batch)], &wanted, &mut chance);
        let loss = loss::of(logits(made), goal);
        let mut gradients = loss.backward();
        let mut more = BTreeMap::new();
        for parameter in self.network.parameters_mut() {
            let parts = parameter.parts.iter();
            let found: Vec<_> = parts
                .filter_map(|part| part.grad_remove(&mut gradients))
                .collect();
            if found.len() == parameter.parts.len() {
                more.insert(parameter.name().to_owned(), found);
            }
        }
        self.add_gradients(more);
        loss.without_autodiff()
    }

    /// Adds gradients to those of the step.
    fn add_gradients(&mut self, found: BTreeMap<String, Parts>) {
        for (name, found) in found {
            match self.gradients.get_mut(&name) {
                Some(sums) => {
                    for (sum, more) in sums.iter_mut().zip(found) {
                        match &self.flat {
                            Some(_) => put_more(sum, more),
                            None => *sum = mem::replace(sum, self.nothing.clone()) + more,
                        }
                    }
                }
                None => _ = self.gradients.insert(name, found),
            }
        }
    }

    /// What the network makes of a batch: its answers, `[N, answers]`.
    fn forward(network: &Network, given: (usize, Batch)) -> Tensor<2> {
        let wanted = [network.graph().output()];
        logits(network.run([given], &wanted))
    }

    /// A batch on the device, and which value it is.
    fn batch(&self, given: Given) -> (usize, Batch) {
        let shape = self.network.graph().shape_of(given.value);
        (given.value, given.numbers.on(&self.device, shape))
    }

    /// Moves all parameters that have gradients side by side, in as few launches as there are kinds of paces. False where that
    /// cannot be: nothing has changed then.
    fn descend_side_by_side(&mut self, descent: &Descent<'_>) -> bool {
        let optimizer = descent.optimizer;
        let mut all: Vec<(String, Moved, Written)> = Vec::with_capacity(self.gradients.len());
        for parameter in self.network.parameters() {
            let name = parameter.name();
            let (Some(found), Some(rate)) = (self.gradients.get(name), descent.rates.get(name))
            else {
                continue;
            };
            let [gradient] = &found[..] else { return false };
            let step = self.steps.get(name).copied().unwrap_or_default() + 1;
            let kept = self.slots.get(name);
            let slot = |slot: &&'static str| match kept.and_then(|kept| kept.get(slot)?.first()) {
                Some(numbers) => numbers.clone(),
                None => gradient.zeros_like(),
            };
            let moved = Moved {
                value: parameter.parts()[0].clone().without_autodiff(),
                gradient: gradient.clone(),
                slots: optimizer.slots().iter().map(slot).collect(),
            };
            let pace = descent.pace(rate, step);
            let written = optimizer.written(pace, descent.clip.is_some());
            all.push((name.to_owned(), moved, written));
        }
        if !self.flat.as_ref().is_some_and(|flat| flat.holds(&all)) {
            let Some(flat) = Flat::lay(&all, &self.device) else {
                return false;
            };
            for parameter in self.network.parameters_mut() {
                let Some(place) = flat.place(parameter.name()) else {
                    continue;
                };
                parameter.parts = vec![place.value.clone().autodiff().require_grad()];
                let slots = optimizer.slots().iter().zip(&place.slots);
                let slots = slots.map(|(&slot, numbers)| (slot, vec![numbers.clone()]));
                self.slots
                    .insert(parameter.name().to_owned(), slots.collect());
            }
            // Those without a rate do not move, and are not there.
            self.gradients.retain(|name, _| flat.place(name).is_some());
            self.flat = Some(flat);
        }
        let scale = descent.clip.and_then(|longest| self.clip(longest));
        for (name, ..) in &all {
            *self.steps.entry(name.clone()).or_default() += 1;
        }
        if let Some(flat) = &self.flat {
            flat.step(&all, scale.as_ref(), &self.device);
        }
        self.gradients.clear();
        true
    }

    /// What all gradients are to be multiplied by so that they are no longer than this together.
    fn clip(&self, longest: f64) -> Option<Tensor<1>> {
        let square = match &self.flat {
            Some(flat) => square_sum(flat.gradients(), &self.device),
            None => square_sum(self.gradients.values().flatten(), &self.device),
        };
        written_clip(longest).apply(vec![square]).pop()
    }
}

/// Answers on the host.
async fn host(answers: Tensor<2>) -> Result<Vec<f32>, DeviceError> {
    let data = answers.into_data_async().await;
    Ok(data
        .map_err(DeviceError::execution)?
        .iter::<f32>()
        .collect())
}

/// The answers among what a run made.
fn logits<E: std::fmt::Debug>(made: Result<Vec<Batch>, E>) -> Tensor<2> {
    match made.map(|mut made| made.pop()) {
        Ok(Some(logits)) => logits.features(),
        other => unreachable!("answers follow from what is given: {other:?}"),
    }
}

/// What one parameter's part is moved by.
struct Move<'a> {
    optimizer: &'a Optimizer,
    pace: Pace,
    /// What gradients are multiplied by, if they are.
    scale: Option<&'a Tensor<1>>,
    device: &'a Device,
    nothing: &'a Tensor<1>,
}

impl Move<'_> {
    /// A part's numbers a step further, and what was its gradient; of an optimiser that measures parameters, the
    /// numbers as they are, and where to.
    fn of(&self, value: Tensor<1>, gradient: Tensor<1>, slots: &mut [Tensor<1>]) -> [Tensor<1>; 2] {
        let mut tensors = vec![value, gradient];
        tensors.extend(
            slots
                .iter_mut()
                .map(|slot| mem::replace(slot, self.nothing.clone())),
        );
        tensors.extend(self.scale.cloned());
        let written = self.optimizer.written(self.pace, self.scale.is_some());
        let mut moved = written.apply(tensors).into_iter();
        let first = [moved.next(), moved.next()];
        for (slot, now) in slots.iter_mut().zip(moved) {
            *slot = now;
        }
        first.map(|tensor| tensor.unwrap_or_else(|| self.nothing.clone()))
    }

    /// The same on the processor: one pass over memory, in place where nobody else holds the numbers.
    fn on_processor(
        &self,
        value: Tensor<1>,
        gradient: Tensor<1>,
        slots: &mut [Tensor<1>],
    ) -> [Tensor<1>; 2] {
        let gradient = match self.scale {
            Some(scale) => gradient * scale.clone(),
            None => gradient,
        };
        let measured = self.optimizer.measures_parameters().then(|| value.clone());
        let mut value = value.into_data();
        let gradient = gradient.into_data();
        let taken = slots.iter_mut();
        let mut kept: Vec<TensorData> = taken
            .map(|slot| mem::replace(slot, self.nothing.clone()).into_data())
            .collect();
        {
            let mut kept: Vec<&mut [f32]> = kept.iter_mut().map(numbers_mut).collect();
            let gradient = match gradient.as_slice::<f32>() {
                Ok(gradient) => gradient,
                Err(error) => unreachable!("gradients are f32: {error:?}"),
            };
            self.optimizer
                .sweep(self.pace, numbers_mut(&mut value), gradient, &mut kept);
        }
        for (slot, kept) in slots.iter_mut().zip(kept) {
            *slot = Tensor::from_data(kept, self.device);
        }
        let made = Tensor::from_data(value, self.device);
        match measured {
            Some(value) => [value, made],
            None => [made, self.nothing.clone()],
        }
    }

    /// The parts of a parameter as far along their directions as both are long.
    fn along(&self, parts: Vec<[Tensor<1>; 2]>) -> Parts {
        let length = |which: usize| square_sum(parts.iter().map(|part| &part[which]), self.device);
        let lengths = match self.pace.decay {
            0.0 => Vec::new(),
            _ => vec![length(0), length(1)],
        };
        let written = Optimizer::written_along(self.pace);
        let moved = parts.into_iter().flat_map(|part| {
            let tensors = part.into_iter().chain(lengths.iter().cloned());
            written.apply(tensors.collect()).into_iter().next()
        });
        moved.collect()
    }
}

fn numbers_mut(data: &mut TensorData) -> &mut [f32] {
    match data.as_mut_slice::<f32>() {
        Ok(numbers) => numbers,
        Err(error) => unreachable!("parameters are f32: {error:?}"),
    }
}

/// Images of a batch each of which is part itself and part the one before it.
fn mixed(batch: Batch, mix: &Mix) -> Batch {
    let share = mix.share;
    match (batch, mix.area) {
        (Batch::Maps(maps), Some([top, left, height, width])) => {
            let [images, channels, ..] = maps.dims();
            let area = [
                0..images,
                0..channels,
                top..top + height,
                left..left + width,
            ];
            let others = rolled(maps.clone()).slice(area.clone());
            Batch::Maps(maps.slice_assign(area, others))
        }
        (Batch::Maps(maps), None) => {
            let others = rolled(maps.clone()) * (1.0 - share);
            Batch::Maps(maps * share + others)
        }
        (Batch::Tokens(tokens), _) => {
            let others = rolled(tokens.clone()) * (1.0 - share);
            Batch::Tokens(tokens * share + others)
        }
        (Batch::Features(features), _) => {
            let others = rolled(features.clone()) * (1.0 - share);
            Batch::Features(features * share + others)
        }
    }
}

/// The last one first: `torch.roll(1, 0)`.
fn rolled<const D: usize>(batch: Tensor<D>) -> Tensor<D> {
    let count = batch.dims()[0];
    let last = batch.clone().narrow(0, count - 1, 1);
    match count {
        1 => last,
        _ => Tensor::cat(vec![last, batch.narrow(0, 0, count - 1)], 0),
    }
}

impl Engine for Stepwise {
    type Input = Given;

    fn learns(&mut self, learning: &Learning) {
        let Learning {
            parameters,
            statistics,
        } = learning;
        self.network
            .learns(|parameter| match parameter.is_statistic() {
                true => statistics.contains(parameter.name()),
                false => parameters.contains(parameter.name()),
            });
        if let Some(programs) = &mut self.programs {
            let all = self.network.parameters();
            programs.learn(all.map(|parameter| parameter.trains).collect());
        }
        self.slots.retain(|name, _| parameters.contains(name));
        self.steps.retain(|name, _| parameters.contains(name));
        self.gradients.clear();
        self.flat = None;
    }

    fn accumulate(&mut self, input: Given, goal: &Goal, draws: &Draws) {
        let (value, batch) = self.batch(input);
        let batch = match &draws.mix {
            Some(mix) => mixed(batch, mix),
            None => batch,
        };
        let chance = Chance::at(draws.seed, draws.batch).behind(draws.first);
        let loss = match self.by_program(value, &batch, goal, chance) {
            Some(loss) => loss,
            None => self.step_by_step(value, batch, goal, chance),
        };
        self.loss = Some(match self.loss.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
    }

    fn descend(&mut self, descent: &Descent<'_>) {
        if self.programs.is_some()
            && !descent.optimizer.measures_parameters()
            && self.descend_side_by_side(descent)
        {
            self.losses.extend(self.loss.take());
            return;
        }
        self.flat = None;
        let scale = descent.clip.and_then(|longest| self.clip(longest));
        let optimizer = descent.optimizer;
        let on_processor = is_processor(&self.device);
        let mut gradients = mem::take(&mut self.gradients);
        for parameter in self.network.parameters_mut() {
            let name = parameter.name().to_owned();
            let (Some(found), Some(rate)) = (gradients.remove(&name), descent.rates.get(&name))
            else {
                continue;
            };
            let step = self.steps.entry(name.clone()).or_default();
            *step += 1;
            let pace = descent.pace(rate, *step);
            let kept = self.slots.entry(name).or_default();
            for slot in optimizer.slots() {
                let empty = || found.iter().map(Tensor::zeros_like).collect();
                kept.entry(slot).or_insert_with(empty);
            }
            let work = Move {
                optimizer,
                pace,
                scale: scale.as_ref(),
                device: &self.device,
                nothing: &self.nothing,
            };
            let mut moved = Vec::with_capacity(found.len());
            for (place, gradient) in found.into_iter().enumerate() {
                let part = mem::replace(&mut parameter.parts[place], self.nothing.clone());
                let value = part.without_autodiff();
                let mut slots: Vec<Tensor<1>> = Vec::with_capacity(kept.len());
                for slot in optimizer.slots() {
                    if let Some(parts) = kept.get_mut(slot) {
                        slots.push(mem::replace(&mut parts[place], self.nothing.clone()));
                    }
                }
                moved.push(match on_processor {
                    true => work.on_processor(value, gradient, &mut slots),
                    false => work.of(value, gradient, &mut slots),
                });
                for (slot, numbers) in optimizer.slots().iter().zip(slots) {
                    if let Some(parts) = kept.get_mut(slot) {
                        parts[place] = numbers;
                    }
                }
            }
            let moved = match optimizer.measures_parameters() {
                true => work.along(moved),
                false => moved.into_iter().map(|[value, _]| value).collect(),
            };
            let moved = moved.into_iter();
            parameter.parts = moved.map(|part| part.autodiff().require_grad()).collect();
        }
        self.losses.extend(self.loss.take());
    }

    fn average(&mut self, kept: f64) {
        let written = written_average(kept);
        for parameter in self.network.parameters() {
            let parts = parameter.parts().iter();
            let now: Vec<_> = parts.map(|part| part.clone().without_autodiff()).collect();
            // What lies side by side changes in place, whoever else sees it.
            let lies = self
                .flat
                .as_ref()
                .and_then(|flat| flat.place(parameter.name()));
            match self.averages.get_mut(parameter.name()) {
                Some(averages) => {
                    for (average, now) in averages.iter_mut().zip(now) {
                        let before = mem::replace(average, self.nothing.clone());
                        if let Some(after) = written.apply(vec![before, now]).into_iter().next() {
                            *average = after;
                        }
                    }
                }
                None => {
                    let own = |now: Tensor<1>| if lies.is_some() { now * 1.0 } else { now };
                    let now = now.into_iter().map(own).collect();
                    self.averages.insert(parameter.name().to_owned(), now);
                }
            }
        }
    }

    async fn losses(&mut self) -> Result<Vec<f32>, DeviceError> {
        let losses = mem::take(&mut self.losses);
        if losses.is_empty() {
            return Ok(Vec::new());
        }
        let data = Tensor::cat(losses, 0).into_data_async().await;
        // What an adapter puts out once its memory was full means nothing.
        if ran_out(&self.device) {
            return Err(DeviceError::OutOfMemory);
        }
        Ok(data
            .map_err(DeviceError::execution)?
            .iter::<f32>()
            .collect())
    }

    async fn answers(&self, input: Given, averaged: bool) -> Result<Vec<f32>, DeviceError> {
        let (value, batch) = self.batch(input);
        if let Some(course) = self
            .programs
            .as_ref()
            .and_then(|programs| programs.course(value))
        {
            let averages = |name: &str| self.averages.get(name).filter(|_| averaged);
            let mut numbers = numbers(&self.network, averages, |_| None, &self.device);
            let answers = answered(&course, &mut numbers, lying(batch));
            return host(answers).await;
        }
        let mut network = self.network.clone().answering();
        if averaged {
            for parameter in network.parameters_mut() {
                if let Some(average) = self.averages.get(parameter.name()) {
                    parameter.parts.clone_from(average);
                }
            }
        }
        host(Self::forward(&network, (value, batch))).await
    }

    async fn tensors(&self, averaged: bool) -> Result<Tensors, DeviceError> {
        if averaged && !self.averages.is_empty() {
            let named = self
                .averages
                .iter()
                .map(|(name, parts)| (name.clone(), &name[..], parts));
            return self.read(named).await;
        }
        self.network.tensors().await
    }

    async fn state(&self) -> Result<EngineState, DeviceError> {
        let averages = self
            .averages
            .iter()
            .map(|(name, parts)| (name.clone(), &name[..], parts));
        let slots = self.slots.iter().flat_map(|(name, slots)| {
            let slots = slots.iter();
            slots.map(move |(slot, parts)| (format!("{slot}/{name}"), &name[..], parts))
        });
        Ok(EngineState {
            tensors: self.network.tensors().await?,
            averages: self.read(averages).await?,
            slots: self.read(slots).await?,
            steps: self.steps.clone(),
        })
    }

    fn let_go(&mut self) {
        for parameter in self.network.parameters_mut() {
            parameter.parts.fill(self.nothing.clone());
        }
        self.averages.clear();
        self.slots.clear();
        self.gradients.clear();
        self.flat = None;
        self.loss = None;
        self.losses.clear();
        recover(&self.device);
        self.nothing = Tensor::from_data(TensorData::new(vec![0.0_f32], [1]), &self.device);
    }

    fn restore(&mut self, state: &EngineState) -> Result<(), WrongState> {
        let mut network = self.network.clone();
        let mut averages = BTreeMap::new();
        let mut slots: BTreeMap<String, BTreeMap<&'static str, Parts>> = BTreeMap::new();
        for parameter in network.parameters_mut() {
            let name = parameter.name().to_owned();
            let takes = parameter.is_trained();
            let parts = self.put(parameter, &state.tensors, &name)?.into_iter();
            if !state.averages.is_empty() {
                averages.insert(name.clone(), self.put(parameter, &state.averages, &name)?);
            }
            for &slot in Optimizer::SLOTS {
                let key = format!("{slot}/{name}");
                if state.slots.contains_key(&key) {
                    let parts = self.put(parameter, &state.slots, &key)?;
                    slots.entry(name.clone()).or_default().insert(slot, parts);
                }
            }
            parameter.parts = parts
                .map(|part| part.autodiff().set_require_grad(takes))
                .collect();
        }
        self.network = network;
        self.averages = averages;
        self.slots = slots;
        self.steps = state.steps.clone();
        self.gradients.clear();
        self.flat = None;
        self.loss = None;
        self.losses.clear();
        Ok(())
    }
}
