//! A training that is saved after each of its steps and taken up by a new trainer ends with the same bytes as one that
//! nobody interrupted.

use std::collections::BTreeSet;

use burn::tensor::{Device, Tensor, TensorData};
use pollster::block_on;
use rekindle_core::backbone::find;
use rekindle_core::graph::Options;
use rekindle_core::network::Network;
use rekindle_core::random::{Random, hash};
use rekindle_core::tune::{
    Aims, Average, Better, Given, Judgement, Labels, Mixing, NormMode, Optimizer, PhaseRecipe,
    Plan, Recipe, Schedule, Shown, Trainee, Trainer, TrainerState, Tune, Wanted,
};
use rekindle_core::weights::{Generated, Tensors, state_dict, take};
use serde_json::json;

const SIDE: usize = 32;
const EXAMPLES: usize = 9;
const CLASSES: usize = 3;

/// First all trains, then the last stages alone, at another rate.
fn recipe(optimizer: Optimizer) -> Recipe {
    let phase = |train: &[&str], lr| PhaseRecipe {
        train: train.iter().map(|part| (*part).to_owned()).collect(),
        epochs: 2,
        lr: Some(lr),
    };
    Recipe {
        batch: 4,
        accumulate: 2,
        optimizer,
        schedule: Schedule::Plateau {
            factor: 0.5,
            patience: 0,
            threshold: 1e-4,
            cooldown: 0,
            floor: 0.0,
            better: Better::Lower,
        },
        mixing: Mixing {
            mixup: 0.4,
            cutmix: 1.0,
        },
        ema: Some(Average {
            decay: 0.9,
            warmup: true,
        }),
        bn: NormMode::Train,
        clip: Some(1.0),
        label_smoothing: 0.1,
        soup: true,
        phases: vec![phase(&["all"], 1e-3), phase(&["stage4", "head"], 1e-4)],
        ..Recipe::of(Tune::Full)
    }
}

fn begun(optimizer: Optimizer) -> Trainer<Trainee> {
    let device = Device::flex();
    let architecture = find("mobilenet_v3_small").unwrap();
    // With its dropout.
    let graph = architecture.whole_graph([3, SIDE, SIDE], &Options::default(), CLASSES);
    let graph = graph.unwrap();
    let (tensors, report) = take(graph.tensors(), &Generated).unwrap();
    assert!(report.missing.is_empty(), "{report:?}");
    let network = Network::new(graph, &state_dict([&tensors]), &device).unwrap();
    let plan = Plan::new(&recipe(optimizer), network.graph()).unwrap();
    let aims = Aims {
        labels: Labels::Classes((0..EXAMPLES).map(|example| example % CLASSES).collect()),
        answers: CLASSES,
        weights: vec![1.0; CLASSES],
        smoothing: 0.1,
    };
    Trainer::new(
        Trainee::new(network.graph().clone(), &state_dict([&tensors]), &device).unwrap(),
        plan,
        aims,
        3,
    )
}

fn images(batch: &[Shown]) -> Given {
    let of = |shown: &Shown| {
        let mut random = Random::new(hash(&format!("{}.{}", shown.example, shown.epoch)));
        let numbers = (0..3 * SIDE * SIDE).map(|_| random.uniform() * 4.0 - 2.0);
        numbers.collect::<Vec<f32>>()
    };
    let numbers: Vec<f32> = batch.iter().flat_map(of).collect();
    let shape = [batch.len(), 3, SIDE, SIDE];
    Given::images(Tensor::from_data(
        TensorData::new(numbers, shape),
        &Device::flex(),
    ))
}

/// What one rate is taken times in each step, and how the training ends.
struct Ended {
    factors: Vec<f64>,
    bytes: Vec<u8>,
    interruptions: usize,
}

/// Runs a training to its end, with `between` before whatever it wants.
fn run(
    mut trainer: Trainer<Trainee>,
    between: impl Fn(Trainer<Trainee>) -> (Trainer<Trainee>, bool),
) -> Ended {
    // Worse and worse in a phase, so that the plateau's rate falls.
    let scores = [0.5, 0.4, 0.3, 0.6];
    let losses = [1.0, 1.1, 1.2, 1.3];
    let (mut factors, mut epoch, mut interruptions) = (Vec::new(), 0, 0);
    loop {
        let (next, was_interrupted) = between(trainer);
        trainer = next;
        interruptions += usize::from(was_interrupted);
        match trainer.wanted() {
            Wanted::Step(parts) => {
                factors.push(trainer.factor());
                let inputs = parts.iter().map(|part| images(part)).collect();
                trainer.step(inputs, Some([SIDE, SIDE]));
            }
            Wanted::Judgement => {
                let judgement = Judgement {
                    score: scores[epoch],
                    loss: losses[epoch],
                };
                block_on(trainer.judged(Some(judgement))).unwrap();
                epoch += 1;
            }
            Wanted::Nothing => break,
        }
    }
    let state = block_on(trainer.state()).unwrap();
    Ended {
        factors,
        bytes: state.to_bytes(json!("end")).unwrap(),
        interruptions,
    }
}

/// The names of tensors whose bits differ.
fn moved(before: &Tensors, after: &Tensors) -> BTreeSet<String> {
    let names = before
        .iter()
        .filter(|(name, (_, values))| values[..] != after[*name].1[..]);
    names.map(|(name, _)| name.clone()).collect()
}

fn goes_on(optimizer: Optimizer) {
    let whole = run(begun(optimizer), |trainer| (trainer, false));
    // Of nine examples, four make up a step, and the last does not stand alone: two steps an epoch.
    assert_eq!(whole.factors, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let stopped = run(begun(optimizer), |mut trainer| {
        let state = block_on(trainer.state()).unwrap();
        let bytes = state.to_bytes(json!({"seed": 3})).unwrap();
        let (state, note) = TrainerState::from_bytes(&bytes).unwrap();
        assert_eq!(note, json!({"seed": 3}));
        let wanted = trainer.wanted();
        let mut another = begun(optimizer);
        another.restore(state).unwrap();
        assert_eq!(another.wanted(), wanted);
        (another, true)
    });
    assert_eq!(stopped.interruptions, 8 + 4 + 1);
    assert_eq!(whole.factors, stopped.factors);
    assert!(whole.bytes == stopped.bytes, "interruptions change numbers");
}

#[test]
fn an_interrupted_training_with_adamw_ends_with_the_same_bytes() {
    goes_on(Optimizer::ADAMW);
}

#[test]
fn an_interrupted_training_with_momentum_ends_with_the_same_bytes() {
    goes_on(Optimizer::named("sgd").unwrap());
}

#[test]
fn a_training_taken_up_in_its_second_phase_has_that_phases_rates_and_freezing() {
    let mut trainer = begun(Optimizer::ADAMW);
    while trainer.position().phase == 0 || trainer.position().step == 0 {
        match trainer.wanted() {
            Wanted::Step(parts) => {
                let inputs = parts.iter().map(|part| images(part)).collect();
                trainer.step(inputs, Some([SIDE, SIDE]));
            }
            _ => _ = block_on(trainer.judged(None)).unwrap(),
        }
    }
    let bytes = block_on(trainer.state())
        .unwrap()
        .to_bytes(json!(null))
        .unwrap();
    let (before, _) = TrainerState::from_bytes(&bytes).unwrap();
    let mut another = begun(Optimizer::ADAMW);
    another.restore(before.clone()).unwrap();
    let phase = another.phase().unwrap().clone();
    assert_eq!(phase, another.plan().phases[1]);
    assert!(phase.rates.values().all(|rate| rate.rate == 1e-4));
    assert_eq!(another.engine().trained(), phase.learning.parameters);
    let slots = before
        .engine
        .slots
        .keys()
        .map(|key| key.split_once('/').unwrap().1);
    assert_eq!(
        slots.map(str::to_owned).collect::<BTreeSet<_>>(),
        phase.learning.parameters
    );

    let Wanted::Step(parts) = another.wanted() else {
        panic!("the epoch has a second step");
    };
    let inputs = parts.iter().map(|part| images(part)).collect();
    another.step(inputs, Some([SIDE, SIDE]));
    let after = block_on(another.state()).unwrap();
    let changed = moved(&before.engine.tensors, &after.engine.tensors);
    let learning = &phase.learning;
    let may: BTreeSet<String> = learning
        .parameters
        .union(&learning.statistics)
        .cloned()
        .collect();
    assert!(changed.is_subset(&may), "{:?}", changed.difference(&may));
    assert!(changed.len() > may.len() / 2);
    // Adam's second step in this phase is about as long as its rate.
    let (name, (_, weights)) = after
        .engine
        .tensors
        .iter()
        .find(|(name, _)| name.starts_with("classifier.3.w"))
        .unwrap();
    let steps = weights
        .iter()
        .zip(&before.engine.tensors[name].1[..])
        .map(|(a, b)| (a - b).abs());
    let longest = steps.fold(0.0, f32::max);
    assert!(longest > 2e-5 && longest < 2e-4, "{longest:.1e}");
}

#[test]
fn a_state_of_another_place_is_refused() {
    let mut trainer = begun(Optimizer::ADAMW);
    let mut state = block_on(trainer.state()).unwrap();
    state.standing.position.epoch = 99;
    assert!(trainer.restore(state.clone()).is_err());
    state.standing.position.epoch = 0;
    state.engine.tensors.remove("classifier.3.weight");
    assert!(trainer.restore(state).is_err());
}
