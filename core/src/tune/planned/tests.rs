//! A step in pieces, with answers and a state in between, is the step in one go.

use pollster::block_on;

use super::*;
use crate::graph::{Conv, Norm, Options, sketch};
use crate::random::Random;
use crate::tune::trainer::{Trainer, Wanted};
use crate::tune::{Aims, Labels, NormMode, Recipe, Tune};
use crate::weights::state_dict;

const SIDE: usize = 6;
const CLASSES: usize = 3;

fn trainer(bn: NormMode) -> Trainer<Planned> {
    let graph = sketch([3, SIDE, SIDE], &Options::default(), |x| {
        let x = x
            .conv("conv", Conv::new(8, 3))
            .batch_norm("bn", Norm::TORCH);
        let x = x.relu().dropout(0.3).stage("body");
        x.adaptive_avg_pool(1, 1)
            .flatten()
            .linear("fc", CLASSES)
            .stage("head")
    });
    let graph = graph.unwrap();
    let mut random = Random::new(4);
    let mut tensors = Tensors::new();
    for (name, shape) in graph.tensors() {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| 0.5 + 0.3 * random.normal()).collect();
        let values: Vec<f32> = values.iter().map(|value| value.abs()).collect();
        tensors.insert(name, (shape, values.into()));
    }
    let recipe = Recipe {
        epochs: 2,
        batch: 4,
        accumulate: 2,
        clip: Some(0.5),
        bn,
        ..Recipe::of(Tune::Full)
    };
    let plan = crate::tune::Plan::new(&recipe, &graph).unwrap();
    let engine = Planned::new(Arc::new(graph), &state_dict([&tensors])).unwrap();
    let labels = Labels::Classes((0..9).map(|example| example % CLASSES).collect());
    Trainer::new(engine, plan, Aims::new(labels, vec![1.0; CLASSES], 0.1), 3)
}

fn images(examples: impl Iterator<Item = usize>) -> Given {
    let each = 3 * SIDE * SIDE;
    let numbers = examples.flat_map(|example| {
        let mut random = Random::new(example as u64);
        (0..each).map(move |_| random.normal())
    });
    Given::rows(0, numbers.collect())
}

/// Trains to the end; `step` takes each step.
fn trained(
    mut trainer: Trainer<Planned>,
    mut step: impl FnMut(&mut Trainer<Planned>, Vec<Given>),
) -> Vec<u8> {
    loop {
        match trainer.wanted() {
            Wanted::Nothing => break,
            Wanted::Judgement => _ = block_on(trainer.judged(None)).unwrap(),
            Wanted::Step(batches) => {
                let shown = batches
                    .iter()
                    .map(|batch| batch.iter().map(|one| one.example));
                step(&mut trainer, shown.map(images).collect());
            }
        }
    }
    let state = block_on(trainer.state()).unwrap();
    state.to_bytes(serde_json::Value::Null).unwrap()
}

#[test]
fn a_step_in_pieces_comes_to_the_same_bytes() {
    for bn in [NormMode::Frozen, NormMode::Train] {
        let whole = trained(trainer(bn), |trainer, inputs| trainer.step(inputs, None));
        let mut most = 0;
        let pieces = trained(trainer(bn), |trainer, inputs| {
            let before = block_on(trainer.engine().answers(images(0..2), false)).unwrap();
            trainer.begin(inputs, None);
            let mut pieces = 0;
            while !trainer.go_on(&mut || true) {
                assert!(trainer.is_making());
                // Until its end a step changes nothing, but that running statistics follow each of its batches.
                let within = block_on(trainer.engine().answers(images(0..2), false)).unwrap();
                assert!(within == before || bn == NormMode::Train, "{bn:?}");
                pieces += 1;
            }
            assert!(!trainer.is_making());
            most = most.max(pieces);
        });
        assert!(most >= 8, "{most} pieces");
        assert!(whole == pieces, "{bn:?}");
    }
}

#[test]
fn a_state_taken_in_the_midst_of_a_step_is_that_after_it() {
    let mut begun = trainer(NormMode::Frozen);
    let inputs = |trainer: &Trainer<Planned>| match trainer.wanted() {
        Wanted::Step(batches) => {
            let shown = batches
                .into_iter()
                .map(|batch| batch.into_iter().map(|one| one.example));
            shown.map(images).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let given = inputs(&begun);
    begun.begin(given, None);
    assert!(!begun.go_on(&mut || true));
    let state = block_on(begun.state()).unwrap();
    assert_eq!(state.standing.position.steps, 1);

    // One that is left in the midst begins again from the state.
    let given = inputs(&begun);
    begun.begin(given, None);
    assert!(!begun.go_on(&mut || true));
    begun.restore(state.clone()).unwrap();
    assert!(!begun.is_making());
    let again = block_on(begun.state()).unwrap();
    assert!(again == state);
    let given = inputs(&begun);
    begun.step(given, None);
    let mut straight = trainer(NormMode::Frozen);
    for _ in 0..2 {
        let given = inputs(&straight);
        straight.step(given, None);
    }
    let [begun, straight] = [begun, straight].map(|mut trainer| block_on(trainer.state()).unwrap());
    assert!(begun == straight);
}
