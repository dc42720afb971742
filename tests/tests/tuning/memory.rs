//! How many of a step's images go through the network at a time changes what a training takes, and not what it comes
//! to; one whose device runs out of memory goes on with fewer.

use burn::tensor::{Device, Tensor, TensorData};
use pollster::block_on;
use rekindle_core::backbone::find;
use rekindle_core::device::DeviceError;
use rekindle_core::graph::Options;
use rekindle_core::network::Network;
use rekindle_core::random::{Random, hash};
use rekindle_core::tune::{
    Aims, Descent, Draws, Engine, EngineState, Given, Goal, Held, Labels, Learning, Optimizer,
    Parting, Plan, Recipe, Shown, Trainee, Trainer, TrainerState, Tune, TuneError, Wanted,
    WrongState,
};
use rekindle_core::weights::{Generated, Tensors, state_dict, take};

const SIDE: usize = 32;
const EXAMPLES: usize = 19;

/// A device that has memory for so many images at a time: beyond, it computes nonsense until it is asked, as adapters do.
struct Narrow {
    inside: Trainee,
    most: usize,
    is_full: bool,
}

impl Engine for Narrow {
    type Input = Given;

    fn learns(&mut self, learning: &Learning) {
        self.inside.learns(learning);
    }

    fn accumulate(&mut self, input: Given, goal: &Goal, draws: &Draws) {
        let Held::Device(batch) = &input.numbers else {
            unreachable!("images lie on the device");
        };
        self.is_full |= batch.dims()[0] > self.most;
        let wrong = Goal {
            share: -7.0 * goal.share,
            ..goal.clone()
        };
        let goal = if self.is_full { &wrong } else { goal };
        self.inside.accumulate(input, goal, draws);
    }

    fn descend(&mut self, descent: &Descent<'_>) {
        self.inside.descend(descent);
    }

    fn average(&mut self, kept: f64) {
        self.inside.average(kept);
    }

    async fn losses(&mut self) -> Result<Vec<f32>, DeviceError> {
        match self.is_full {
            true => Err(DeviceError::OutOfMemory),
            false => self.inside.losses().await,
        }
    }

    async fn answers(&self, input: Given, averaged: bool) -> Result<Vec<f32>, DeviceError> {
        self.inside.answers(input, averaged).await
    }

    async fn tensors(&self, averaged: bool) -> Result<Tensors, DeviceError> {
        self.inside.tensors(averaged).await
    }

    async fn state(&self) -> Result<EngineState, DeviceError> {
        self.inside.state().await
    }

    fn let_go(&mut self) {
        self.is_full = false;
        self.inside.let_go();
    }

    fn restore(&mut self, state: &EngineState) -> Result<(), WrongState> {
        self.inside.restore(state)
    }
}

/// A network whose dropout and stochastic depth draw, and whose batch norms keep their statistics.
fn begun(accumulate: usize, most: usize) -> Trainer<Narrow> {
    let device = Device::flex();
    let graph = find("efficientnet_b0").unwrap();
    let graph = graph.whole_graph([3, SIDE, SIDE], &Options::default(), 3);
    let graph = graph.unwrap().with_chance(Some(0.3), Some(0.2));
    let (tensors, _) = take(graph.tensors(), &Generated).unwrap();
    let network = Network::new(graph, &state_dict([&tensors]), &device).unwrap();
    let recipe = Recipe {
        batch: 6,
        accumulate,
        epochs: 2,
        optimizer: Optimizer::Sgd {
            momentum: 0.9,
            nesterov: false,
            weight_decay: 0.0,
        },
        lr: 1e-3,
        ..Recipe::of(Tune::Full)
    };
    let plan = Plan::new(&recipe, network.graph()).unwrap();
    let aims = Aims {
        labels: Labels::Classes((0..EXAMPLES).map(|example| example % 3).collect()),
        answers: 3,
        weights: vec![1.0; 3],
        smoothing: 0.1,
    };
    let engine = Narrow {
        inside: Trainee::new(network.graph().clone(), &state_dict([&tensors]), &device).unwrap(),
        most,
        is_full: false,
    };
    Trainer::new(engine, plan, aims, 5)
}

fn images(batch: &[Shown]) -> Given {
    let of = |shown: &Shown| {
        let mut random = Random::new(hash(&format!("{}.{}", shown.example, shown.epoch)));
        let numbers = (0..3 * SIDE * SIDE).map(|_| random.uniform() * 4.0 - 2.0);
        numbers.collect::<Vec<f32>>()
    };
    let numbers: Vec<f32> = batch.iter().flat_map(of).collect();
    let shape = [batch.len(), 3, SIDE, SIDE];
    let data = TensorData::new(numbers, shape);
    Given::images(Tensor::from_data(data, &Device::flex()))
}

/// Trains to the end, and goes back to the last good state when the device has too little memory. Losses are read at
/// every second step. Returns the loss of each epoch, the state at the end, and the parts of the last step.
fn run(mut trainer: Trainer<Narrow>) -> (Vec<f64>, TrainerState, usize) {
    let mut good = block_on(trainer.state()).unwrap();
    let (mut losses, mut parts) = (Vec::new(), 0);
    loop {
        let outcome = match trainer.wanted() {
            Wanted::Nothing => break,
            Wanted::Step(batches) => {
                parts = batches.len();
                let inputs = batches.iter().map(|part| images(part)).collect();
                trainer.step(inputs, Some([SIDE, SIDE]));
                match trainer.position().step % 2 {
                    0 => block_on(trainer.state()).map(|state| good = state),
                    _ => Ok(()),
                }
            }
            Wanted::Judgement => block_on(trainer.judged(None)).map(|end| losses.push(end.loss)),
        };
        match outcome {
            Ok(()) => {}
            Err(TuneError::Device(error)) if error.is_for_want_of_memory() => {
                assert!(trainer.halve(good.clone(), 1).unwrap().is_some());
                good = block_on(trainer.state()).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    let state = block_on(trainer.state()).unwrap();
    (losses, state, parts)
}

fn near(one: &[f64], other: &[f64]) {
    assert_eq!(one.len(), other.len());
    for (one, other) in one.iter().zip(other) {
        assert!((one - other).abs() < 1e-4 * other, "{one} {other}");
    }
}

#[test]
fn a_step_in_parts_comes_to_what_a_whole_one_does() {
    let (whole, state, _) = run(begun(1, 99));
    let (halved, in_parts, parts) = run(begun(4, 99));
    assert_eq!(parts, 4);
    near(&halved, &whole);
    for (name, (_, values)) in &state.engine.tensors {
        let other = &in_parts.engine.tensors[name].1;
        let largest = values
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        for (one, other) in values.iter().zip(other.iter()) {
            let distance = (one - other).abs();
            assert!(
                distance <= 1e-3 * largest.max(1e-3),
                "{name}: {one} {other}"
            );
        }
    }
}

#[test]
fn a_device_without_memory_goes_on_with_smaller_parts_to_the_same_losses() {
    let (whole, _, _) = run(begun(1, 99));
    // The largest step has seven images, of which two fit: in two parts, then in four.
    let (narrow, state, parts) = run(begun(1, 2));
    near(&narrow, &whole);
    assert_eq!(parts, 4);
    let parted = [(0, 2), (0, 4)];
    assert_eq!(
        state.standing.parted,
        parted.map(|(from, parts)| Parting { from, parts })
    );
    // Who knows where it was divided comes to the same numbers without running out of memory.
    let (_, again, _) = run(begun(1, 99).divided(state.standing.parted.clone()));
    assert!(again.engine.tensors == state.engine.tensors);
}

#[test]
fn single_images_that_do_not_fit_are_no_reason_to_go_on_for_ever() {
    let mut trainer = begun(1, 0);
    let good = block_on(trainer.state()).unwrap();
    let mut times = 0;
    while trainer.halve(good.clone(), 1).unwrap().is_some() {
        times += 1;
    }
    // 7, 4, 2, 1.
    assert_eq!(times, 3);
    assert_eq!(begun(1, 0).halve(good, 4).unwrap(), Some(4));
}
