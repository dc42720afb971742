//! Steps on a graphics adapter are those on the processor, whatever the optimiser: gradients that are added up and
//! clipped, rates and momenta that change, moving averages.

#![cfg(feature = "burn")]
#![allow(clippy::unwrap_used)] // helpers of tests, where a panic is the report

use pollster::block_on;
use rekindle_core::device::{Device, Preference, open};
use rekindle_core::graph::{Graph, Options, sketch};
use rekindle_core::head::{HeadKind, HeadSlot, MlpConfig};
use rekindle_core::network::Network;
use rekindle_core::random::Random;
use rekindle_core::tune::{
    Descent, Draws, Engine as _, EngineState, Given, Goal, Loss, Optimizer, Rate, Stepwise,
};
use rekindle_core::weights::{Generated, Tensors, state_dict, take};

const FEATURES: usize = 6;
const CLASSES: usize = 3;
const IMAGES: usize = 5;

/// Two layers, with norms before and between them.
fn graph() -> Graph {
    let head = HeadKind::Mlp(MlpConfig {
        hidden: 9,
        dropout: 0.0,
    });
    let graph = sketch([FEATURES], &Options::default(), |features| {
        head.on_features(HeadSlot::linear("fc"), features, CLASSES)
            .stage("head")
    });
    graph.unwrap()
}

/// What an engine holds after four steps of two batches each.
fn trained(optimizer: &Optimizer, device: &Device) -> EngineState {
    let graph = graph();
    let (start, _) = take(graph.tensors(), &Generated).unwrap();
    let rate = |decays| Rate { rate: 1e-2, decays };
    let rates = start
        .keys()
        .map(|name| (name.clone(), rate(name.ends_with("weight"))))
        .collect();
    let network = Network::new(graph, &state_dict([&start]), device).unwrap();
    let mut engine = Stepwise::new(network, device);
    let mut random = Random::new(11);
    for step in 0..4_u32 {
        for batch in 0..2 {
            let features = (0..IMAGES * FEATURES).map(|_| 3.0 * random.uniform() - 1.0);
            let wanted = (0..IMAGES * CLASSES).map(|place| {
                let class = (place / CLASSES + step as usize) % CLASSES;
                if place % CLASSES == class { 1.0 } else { 0.0 }
            });
            let goal = Goal {
                loss: Loss::CrossEntropy,
                wanted: wanted.collect(),
                counts: None,
                answers: CLASSES,
                share: 0.1,
            };
            let draws = Draws {
                seed: 3,
                batch: u64::from(step),
                first: batch * IMAGES,
                mix: None,
            };
            let given = Given::rows(0, features.collect());
            engine.accumulate(given, &goal, &draws);
        }
        engine.descend(&Descent {
            optimizer,
            rates: &rates,
            factor: 1.0 / f64::from(1 + step),
            momentum: (step > 1).then_some(0.8),
            // Shorter than the gradients are at first, and longer than they ever are.
            clip: [Some(0.05), Some(1e3), None][step as usize % 3],
        });
        engine.average(0.9);
    }
    let losses = block_on(engine.losses()).unwrap();
    assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
    block_on(engine.state()).unwrap()
}

fn near(what: &str, found: &Tensors, truth: &Tensors) {
    assert!(found.keys().eq(truth.keys()), "{what}");
    for (name, (shape, truth)) in truth {
        let (found_shape, found) = &found[name];
        assert_eq!(found_shape, shape, "{what}: {name}");
        let largest = truth.iter().fold(1e-6_f32, |most, x| most.max(x.abs()));
        for (place, (found, truth)) in found.iter().zip(truth.iter()).enumerate() {
            // Written so that what is not a number fails.
            let is_near = (found - truth).abs() <= 1e-3 * largest;
            assert!(is_near, "{what}: {name}[{place}] is {found}, not {truth}");
        }
    }
}

#[test]
fn every_optimiser_clipped_and_averaged_steps_on_an_adapter_as_on_the_processor() {
    let adapter = match block_on(open(Preference::Software)) {
        Ok(adapter) => adapter.device,
        Err(error) if std::env::var_os("REKINDLE_NO_SOFTWARE_GPU").is_some() => {
            return println!("skipped, as asked: {error}");
        }
        Err(error) => panic!("{error}: set REKINDLE_NO_SOFTWARE_GPU=1 to go without"),
    };
    for name in Optimizer::NAMES {
        // Decay is in all of them, and epsilons are so large that rounding does not decide where gradients are small.
        let optimizer = match Optimizer::named(name).unwrap().with_weight_decay(0.1) {
            Optimizer::Sgd { weight_decay, .. } => Optimizer::Sgd {
                momentum: 0.9,
                nesterov: true,
                weight_decay,
            },
            Optimizer::RmsProp { weight_decay, .. } => Optimizer::RmsProp {
                alpha: 0.9,
                eps: 1e-3,
                momentum: 0.5,
                centered: true,
                weight_decay,
            },
            Optimizer::AdamW {
                betas,
                weight_decay,
                ..
            } => Optimizer::AdamW {
                betas,
                eps: 1e-3,
                weight_decay,
            },
            Optimizer::Adam {
                betas,
                weight_decay,
                ..
            } => Optimizer::Adam {
                betas,
                eps: 1e-3,
                weight_decay,
            },
            Optimizer::Lamb {
                betas,
                weight_decay,
                ..
            } => Optimizer::Lamb {
                betas,
                eps: 1e-3,
                weight_decay,
            },
        };
        let [found, truth] = [&adapter, &Device::flex()].map(|device| trained(&optimizer, device));
        near(&format!("{name}: numbers"), &found.tensors, &truth.tensors);
        near(
            &format!("{name}: averages"),
            &found.averages,
            &truth.averages,
        );
        near(&format!("{name}: slots"), &found.slots, &truth.slots);
        assert_eq!(found.steps, truth.steps, "{name}");
    }
}
