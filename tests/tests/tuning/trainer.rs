//! The trainer itself: its own order of examples, its schedule, its averages.

use burn::tensor::Device;
use pollster::block_on;
use rekindle_core::network::Network;
use rekindle_core::tune::{
    Aims, Engine as _, Given, Labels, Plan, PlanError, Recipe, Shown, Trainee, Trainer, Wanted,
};
use rekindle_core::weights::state_dict;

use crate::follow::{PROCESSOR, compare};
use crate::golden::{Case, Told, floats};

pub const SEED: u64 = 7;

fn aims(case: &Case<'_>, recipe: &Recipe, classes: Vec<usize>) -> Aims {
    Aims {
        labels: Labels::Classes(classes),
        answers: case.classes,
        weights: vec![1.0; case.classes],
        smoothing: recipe.label_smoothing,
    }
}

/// A case's ten steps as one epoch: the recipe, and of which class each example is, so that each image of the golden
/// is what the trainer asks for at its place.
pub fn asked(case: &Case<'_>) -> (Recipe, Vec<usize>) {
    let device = Device::flex();
    let (graph, start) = case.graph();
    let network = Network::new(graph, &state_dict([&start]), &device).unwrap();
    let mut recipe = case.recipe();
    recipe.epochs = 1;
    let plan = Plan::new(&recipe, network.graph()).unwrap();
    let count = case.steps * case.batch();
    // The order follows from the seed and the number of examples alone.
    let asking = Trainer::new(
        Trainee::new(network.graph().clone(), &state_dict([&start]), &device).unwrap(),
        plan,
        aims(case, &recipe, vec![0; count]),
        SEED,
    );
    let mut classes = vec![usize::MAX; count];
    let mut steps = 0;
    for (step, parts) in asking.ahead().enumerate() {
        let shown: Vec<Shown> = parts.into_iter().flatten().collect();
        assert_eq!(shown.len(), case.batch());
        for (shown, class) in shown.into_iter().zip(case.classes_of(step)) {
            assert_eq!(shown.epoch, 0);
            classes[shown.example] = class;
        }
        steps += 1;
    }
    assert_eq!(steps, case.steps);
    assert!(
        classes.iter().all(|&class| class < case.classes),
        "every example is shown once"
    );
    (recipe, classes)
}

/// Takes a case's ten steps as one epoch.
fn trainer_follows(name: &str) {
    let device = Device::flex();
    let told = Told::read();
    let case = told.case(name);
    let (recipe, classes) = asked(&case);
    let (graph, start) = case.graph();
    let network = Network::new(graph, &state_dict([&start]), &device).unwrap();
    let plan = Plan::new(&recipe, network.graph()).unwrap();
    let aims = aims(&case, &recipe, classes);
    let mut trainer = Trainer::new(
        Trainee::new(network.graph().clone(), &state_dict([&start]), &device).unwrap(),
        plan,
        aims,
        SEED,
    );
    let rates = floats(case.get("rates"));
    for (step, rate) in rates.iter().enumerate() {
        let Wanted::Step(parts) = trainer.wanted() else {
            panic!("{name} wants another step");
        };
        assert_eq!(parts.len(), recipe.accumulate);
        let found = trainer.factor() * recipe.lr;
        assert!(
            (found - rate).abs() <= 1e-6 * rate,
            "{name} step {step}: {found}, PyTorch {rate}"
        );
        let images = case.images(step);
        let image = images.len() / case.batch();
        let mut first = 0;
        let inputs = parts.iter().map(|part| {
            let images = &images[first * image..][..part.len() * image];
            first += part.len();
            Given::images(case.tensor(images, &device))
        });
        let inputs = inputs.collect();
        trainer.step(inputs, Some([case.side, case.side]));
    }
    assert_eq!(trainer.wanted(), Wanted::Judgement);
    let end = block_on(trainer.judged(None)).unwrap();
    let losses = floats(case.get("losses"));
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(
        (end.loss - mean).abs() < PROCESSOR.loss * mean,
        "{name}: {}, PyTorch {mean}",
        end.loss
    );
    assert!(end.is_best && end.ends_phase);
    assert_eq!(trainer.wanted(), Wanted::Nothing);
    let tensors = block_on(trainer.engine().tensors(false)).unwrap();
    compare(&told, &case, &tensors, &start, false, PROCESSOR);
    if recipe.ema.is_some() {
        let (_, _, best) = trainer.best().next().unwrap();
        compare(&told, &case, best, &start, true, PROCESSOR);
    }
}

#[test]
fn the_trainer_moves_numbers_as_pytorch() {
    // Cases in which decay pulls at what recipes let it pull at. Of a vision transformer it does not matter how a step
    // is split.
    trainer_follows("everything");
    trainer_follows("adamw_mobilenet");
    trainer_follows("last_mobilenet_spared");
}

#[test]
fn a_training_of_nothing_is_refused() {
    let told = Told::read();
    let case = told.case("last_mobilenet");
    let (graph, _) = case.graph();
    let mut recipe = case.recipe();
    for frozen in [
        vec!["all".to_owned()],
        vec!["backbone".to_owned(), "head".to_owned()],
    ] {
        recipe.freeze = frozen;
        let refused = Plan::new(&recipe, &graph).unwrap_err();
        assert!(matches!(refused, PlanError::Nothing(_)), "{refused}");
    }
}
